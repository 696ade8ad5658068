/*
 * gz.h - the bytes that a gzip file holds, by their offset.
 *
 * Any number of members, one after the other, are one content.  Reading goes
 * on where it was; elsewhere it begins at a place of the index (gzindex.h), so
 * that no offset is far away.  Two readers, one behind the other, do not
 * disturb each other: the cutter and the emitter.
 *
 * While a file is read it takes 0.3 MB, twice that where two readers are apart.
 *
 * A file may grow, and may be cut off in the middle of its data: it ends there
 * until more comes.  Where its data is damaged it ends, too.  What was
 * decompressed before either is good.
 */
#ifndef MB_SOURCE_GZ_H
#define MB_SOURCE_GZ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "journal/journal.h"

struct mb_gz;

/* fd, name and journal are borrowed.  Nothing is read yet. */
struct mb_gz *mb_gz_open(int fd, const char *name, struct mb_journal *j);
void mb_gz_close(struct mb_gz *z);

/* No byte of the file behind the first `size` counts; UINT64_MAX: all do. */
void mb_gz_limit(struct mb_gz *z, uint64_t size);

/*
 * Up to len decompressed bytes; fewer only where the content ends.  Damage is
 * no error, see mb_gz_trouble.  MB_EIO.
 */
MB_CHECK ssize_t mb_gz_read(struct mb_gz *z, void *p, size_t len, uint64_t off,
    struct mb_err *err);

/* Are there `len` decompressed bytes?  1 or 0. */
MB_CHECK int mb_gz_reaches(struct mb_gz *z, uint64_t len, struct mb_err *err);

/*
 * Are the bytes of the file that we rely on still there?  If they aren't,
 * everything is forgotten, and what is read from now on is read anew.  Call it
 * before anchors are compared.
 */
MB_CHECK int mb_gz_refresh(struct mb_gz *z, struct mb_err *err);

enum mb_gz_trouble {
	MB_GZ_FINE,		/* or not known yet */
	MB_GZ_CUT,		/* ends in the middle of its data */
	MB_GZ_DAMAGED,
};

/*
 * What is wrong where the content ended when it was last read to its end;
 * *why (borrowed until the next call of anything) says at which byte.
 */
enum mb_gz_trouble mb_gz_trouble(const struct mb_gz *z, const char **why);

#endif
