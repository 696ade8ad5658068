/*
 * gunzip.h - gzip as it comes: known by content, of any number of members.
 *
 * Bytes go in in pieces of any size.  Zeros behind the last member are
 * padding; anything else there is an error.
 */
#ifndef MB_RECORD_GUNZIP_H
#define MB_RECORD_GUNZIP_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/mem.h"

/* Do these first bytes begin a gzip member?  Ask with at least 3. */
bool mb_is_gzip(struct mb_str head);

struct mb_gunzip;

MB_CHECK int mb_gunzip_open(struct mb_gunzip **out, struct mb_err *err);
void mb_gunzip_close(struct mb_gunzip *g);

/*
 * Decompress from *in, which is advanced, into out: the count, at most cap
 * (> 0).  0: all of *in is used, give more, or finish.  What was returned
 * stays good whatever follows.
 *
 * MB_EDATA: not gzip, or damaged.
 */
MB_CHECK ssize_t mb_gunzip_read(struct mb_gunzip *g, struct mb_str *in,
    void *out, size_t cap, struct mb_err *err);

/*
 * The input ends here.  MB_EDATA: in the middle of a member; a file that
 * still grows may be complete later.
 */
MB_CHECK int mb_gunzip_finish(const struct mb_gunzip *g, struct mb_err *err);

#endif
