/*
 * mem.h - memory: borrowed strings, growing buffers, arenas.
 *
 * Running out of memory prints one line and ends the process with status 75.
 * Dying at any instruction is normal for us, so this is safe and spares every
 * caller a branch.  Hence a size that comes from input must meet a limit
 * before memory is asked for.
 */
#ifndef MB_BASE_MEM_H
#define MB_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

void *mb_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mb_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mb_realloc(void *p, size_t size) __attribute__((returns_nonnull));
char *mb_strdup(const char *s) __attribute__((malloc, returns_nonnull));

/*
 * Keep what is freed for what comes next, up to 64 MiB, instead of giving it
 * back to the system: for a program that does the same over and over.
 */
void mb_mem_keep(void);

/* n * size with an overflow check; use it for arrays. */
void *mb_realloc_array(void *p, size_t n, size_t size)
    __attribute__((returns_nonnull));

/* Borrowed bytes; pass it by value.  Not NUL-terminated. */
struct mb_str {
	const char *p;
	size_t len;
};

#define MB_STR(literal) ((struct mb_str){ literal, sizeof(literal) - 1 })

static inline struct mb_str
mb_str(const char *s)
{
	return (struct mb_str){ s, strlen(s) };
}

static inline int
mb_str_eq(struct mb_str a, struct mb_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/*
 * Owned bytes that grow; {0} is a valid empty one.  After mb_buf_str the
 * bytes are followed by a NUL that len does not count.
 */
struct mb_buf {
	char *p;
	size_t len, cap;
};

void mb_buf_reserve(struct mb_buf *b, size_t extra);
void mb_buf_add(struct mb_buf *b, const void *p, size_t len);
void mb_buf_addc(struct mb_buf *b, char c);
void mb_buf_adds(struct mb_buf *b, const char *s);
void mb_buf_addf(struct mb_buf *b, const char *fmt, ...) MB_PRINTF(2, 3);
char *mb_buf_str(struct mb_buf *b);	/* NUL-terminated, still owned by b */
char *mb_buf_take(struct mb_buf *b);	/* likewise, ownership moves; b is {0} */
void mb_buf_reset(struct mb_buf *b);	/* empty, keeps the memory */
void mb_buf_release(struct mb_buf *b);	/* frees; b is {0} */

/*
 * Memory that is freed all at once.  {0} is valid and empty.  Pointers stay
 * valid until reset or release; reset keeps one block for reuse.
 */
struct mb_arena {
	struct mb_arena_block *head;
};

void *mb_arena_alloc(struct mb_arena *a, size_t size)
    __attribute__((returns_nonnull));
char *mb_arena_dup(struct mb_arena *a, const void *p, size_t len);
/* What is in `from` now belongs to a; `from` is {0}. */
void mb_arena_join(struct mb_arena *a, struct mb_arena *from);
void mb_arena_reset(struct mb_arena *a);
void mb_arena_release(struct mb_arena *a);

/*
 * One array that grows large, and may move when it does.  {0} is valid and
 * empty; what is new is zero.  Memory that nobody touched costs nothing.
 */
struct mb_region {
	char *p;
	size_t size;
};

void mb_region_grow(struct mb_region *r, size_t size);	/* to at least */
void mb_region_release(struct mb_region *r);

/*
 * The bytes from `begin` to `end` are about to be written: they stay as they
 * are, and memory is there for them.  Where something new is read before it is
 * written, this saves one of two page faults.
 */
void mb_region_touch(struct mb_region *r, size_t begin, size_t end);

/*
 * The bytes from `begin` to `end`, so many that they stay in a cache, will be
 * written soon: their memory comes at once, not page by page.
 */
void mb_region_populate(struct mb_region *r, size_t begin, size_t end);

/*
 * The bytes from `begin` to `end` are not needed any more: what they are now
 * isn't known, and most of their memory is given back.
 */
void mb_region_forget(struct mb_region *r, size_t begin, size_t end);

#endif
