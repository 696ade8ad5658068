/*
 * gzindex.h - places in a gzip file at which decompression can begin.
 *
 * They are kept beside the journal, in <journal>.d/gz/, a file for each gzip
 * file, known by its first bytes wherever it is (mb-journal(5)).  It is made
 * as the file is read, and nothing relies on it: it is never synced, and what
 * is damaged or belongs to another file is removed and made anew.  So nothing
 * here fails; at the worst there is no place, and one begins at the start.
 *
 * A place costs up to 33 KiB on the disk and 200 bytes of memory.  Their
 * distance grows with the offset, so that their number grows with its
 * logarithm: 216 for the first GiB, 900 for the first 256.
 */
#ifndef MB_SOURCE_GZINDEX_H
#define MB_SOURCE_GZINDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"
#include "record/gunzip.h"

enum { MB_GZ_HEAD = 4096 };	/* the bytes by which a file is known */

struct mb_gzindex;

/* `head` is the hash of the file's first MB_GZ_HEAD bytes. */
struct mb_gzindex *mb_gzindex_open(struct mb_journal *j,
    const struct mb_hash *head);
void mb_gzindex_close(struct mb_gzindex *x);

/*
 * The last place at or before `off` of the decompressed bytes of `fd`, the
 * gzip file; false: there is none.  The window is put into *window, from
 * which *out borrows it.
 */
bool mb_gzindex_find(struct mb_gzindex *x, int fd, uint64_t off,
    struct mb_gunzip_point *out, struct mb_buf *window);

/* From which offset on another place is wanted. */
uint64_t mb_gzindex_next(const struct mb_gzindex *x);

/* Keep it, if it lies at or behind mb_gzindex_next. */
void mb_gzindex_add(struct mb_gzindex *x, int fd,
    const struct mb_gunzip_point *p);

#endif
