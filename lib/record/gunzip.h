/*
 * gunzip.h - gzip as it comes: known by content, of any number of members.
 *
 * Bytes go in in pieces of any size.  Zeros behind the last member are
 * padding; anything else there is an error.
 *
 * Whoever wants to begin in the middle later asks for points: places from
 * which decompression goes on with nothing but up to 32 KiB of the output
 * before them.  A member's checksum is verified at its end also then.
 */
#ifndef MB_RECORD_GUNZIP_H
#define MB_RECORD_GUNZIP_H

#include <stdbool.h>
#include <stdint.h>
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

/* How many bytes of input lie before the point that it stands at. */
uint64_t mb_gunzip_in(const struct mb_gunzip *g);

enum { MB_GUNZIP_WINDOW = 32768 };

struct mb_gunzip_point {
	uint64_t in, out;	/* bytes before it */
	bool is_inside;		/* of a member; else at one's start, and the
				   rest is 0 */
	unsigned bits;		/* of the byte before `in`, its high ones, that
				   lie behind the point */
	unsigned char byte;	/* that byte */
	uint32_t crc, len;	/* of the member's output before it */
	struct mb_str window;	/* the output before it */
};

/*
 * Catch the first point at or behind the output offset `out`.  It is there
 * from the read on that came upon it until the next call of either; NULL:
 * none yet.  The window is borrowed.
 */
void mb_gunzip_want_point(struct mb_gunzip *g, uint64_t out);
const struct mb_gunzip_point *mb_gunzip_point(struct mb_gunzip *g);

/*
 * Begin anew at a point; {0} is the very beginning.  The next byte to give is
 * the one at point->in.  MB_EDATA: it is no point.
 */
MB_CHECK int mb_gunzip_resume(struct mb_gunzip *g,
    const struct mb_gunzip_point *point, struct mb_err *err);

/*
 * The input ends here.  MB_EDATA: in the middle of a member; a file that
 * still grows may be complete later.
 */
MB_CHECK int mb_gunzip_finish(const struct mb_gunzip *g, struct mb_err *err);

#endif
