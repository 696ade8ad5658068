/*
 * scan.h - the lines of a file, good and bad, one after the other.
 *
 * For the files of this room.  Nothing is decided here.
 */
#ifndef MB_JOURNAL_SCAN_H
#define MB_JOURNAL_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/line.h"
#include "base/mem.h"

enum { MB_SCAN_CHUNK = 256 * 1024 };

/*
 * Lines of the file, read in chunks; {0} but for fd and name at first, and
 * buf is to be released in the end.  After `next` has returned 1, line is
 * good or bad as is_good says, and off and end are its place.
 */
struct mb_scan {
	int fd;
	const char *name;
	uint64_t off, end;	/* mb_journal_place */
	struct mb_buf buf;	/* what was read from `from` on */
	uint64_t from;
	bool at_end;		/* the file has no more than that */
	struct mb_str line;	/* without the newline */
	bool has_newline, is_good;
};

/* The next line: 1, or 0 at the end. */
MB_CHECK int mb_scan_next(struct mb_scan *r, struct mb_err *err);
/* Place it; the buffer is kept. */
void mb_scan_seek(struct mb_scan *r, uint64_t off);

/* Is it a line of this kind, by its first member? */
bool mb_scan_is(struct mb_str line, const char *verb);
/* Up to where does the line, a good one, know the file to be synced? */
bool mb_scan_synced(struct mb_str line, uint64_t *synced);

#endif
