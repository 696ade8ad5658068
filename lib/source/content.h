/*
 * content.h - the bytes of one generation, by offset, wherever they are.
 *
 * Files are read with pread and never mapped: whoever truncates a mapped file
 * kills its reader.
 *
 * A gzip file is known by its first bytes, and its content is what it holds:
 * offsets count decompressed bytes.  Nobody else needs to know.  Whoever
 * reads at 0 (or compares anchors) has the file looked at anew: it may have
 * become another.
 */
#ifndef MB_SOURCE_CONTENT_H
#define MB_SOURCE_CONTENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "journal/journal.h"
#include "source/gz.h"
#include "source/spool.h"

struct mb_content;

/*
 * Open the bytes of `g`, wherever they are now (locate.c).  1, or 0 with *gone
 * (a static text) if they are nowhere.  What can't be looked at isn't gone:
 * MB_EIO.  Journal borrowed.
 */
MB_CHECK int mb_content_open(struct mb_content **out, struct mb_journal *j,
    const struct mb_generation *g, const char **gone, struct mb_err *err);

/* The same over a spool that the caller keeps. */
struct mb_content *mb_content_of_spool(struct mb_spool *s);
/* And over a descriptor or a spool that it closes with itself. */
struct mb_content *mb_content_take(int fd, const char *name,
    struct mb_journal *j);
struct mb_content *mb_content_take_spool(struct mb_spool *s);

/* Up to len bytes; fewer only where the content ends. */
MB_CHECK ssize_t mb_content_read(struct mb_content *c, void *p, size_t len,
    uint64_t off, struct mb_err *err);

/*
 * Are there `len` bytes?  1 or 0.  Ask this and not for the size, which for
 * some contents nobody knows before having read all of it.
 */
MB_CHECK int mb_content_reaches(struct mb_content *c, uint64_t len,
    struct mb_err *err);

/*
 * Of its file no byte behind the first `size` counts; UINT64_MAX: none that
 * isn't there now.  To be called again as often as one likes; unseal: it may
 * grow.  A spool isn't sealed.
 */
MB_CHECK int mb_content_seal(struct mb_content *c, uint64_t size,
    struct mb_err *err);
void mb_content_unseal(struct mb_content *c);

/* Is going back a little as cheap as going on?  Not in a gzip file. */
bool mb_content_is_plain(const struct mb_content *c);

/* What is wrong with a gzip file where its content ends; see gz.h. */
enum mb_gz_trouble mb_content_trouble(const struct mb_content *c,
    const char **why);

/*
 * The anchors at `end`: hashes of the first and of the last
 * min(MB_ANCHOR, end) bytes before it.  1, or 0 if it is shorter.
 */
MB_CHECK int mb_content_anchors(struct mb_content *c, uint64_t end,
    struct mb_hash *head, struct mb_hash *tail, struct mb_err *err);

/*
 * Does it have these anchors at `end`?  1 or 0.  Where the head differs,
 * nothing more is read.
 */
MB_CHECK int mb_content_matches(struct mb_content *c, uint64_t end,
    const struct mb_hash *head, const struct mb_hash *tail,
    struct mb_err *err);

/*
 * Does `b` begin with all that `a` (a file's) holds, as far as 4 KiB at its
 * beginning and at its end tell?  1 or 0; *len: how much that is, if 1.
 */
MB_CHECK int mb_content_begins(struct mb_content *a, struct mb_content *b,
    uint64_t *len, struct mb_err *err);

void mb_content_close(struct mb_content *c);

#endif
