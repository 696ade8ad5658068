/*
 * known.h - is a file something that the journal knows already?
 *
 * A glob or a directory also names what rotation has made of its files: the
 * same content under another name is not read again.
 */
#ifndef MB_SOURCE_KNOWN_H
#define MB_SOURCE_KNOWN_H

#include "journal/journal.h"
#include "source/locate.h"

enum { MB_COPYING_S = 10 };	/* no copy pauses for longer */

struct mb_known;

/* The generations of files that the journal's state has now. */
struct mb_known *mb_known_open(struct mb_journal *j);
void mb_known_close(struct mb_known *k);

/* One more. */
void mb_known_add(struct mb_known *k, const struct mb_generation *g);

/*
 * The newest generation that the file at `path`, which is open, holds: one
 * that has this name, one of which the name is a rotated sibling, or one with
 * the same inode.  1, 0, or -1: it can't be said now (`why` as in locate.h),
 * also where it may be a copy that is not yet complete.  now_ns: of the wall
 * clock.
 */
int mb_known_find(struct mb_known *k, const char *path,
    const struct mb_located *l, int64_t now_ns,
    const struct mb_generation **out, struct mb_buf *why);

/*
 * The names of which `path` may be a sibling, longest first: `each` is called
 * until it returns other than 0, which is returned.
 */
int mb_known_bases(const char *path, int (*each)(void *arg,
    const char *base), void *arg);

#endif
