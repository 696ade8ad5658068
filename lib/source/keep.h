/*
 * keep.h - bytes that were read to be cut, kept until they are emitted.
 *
 * So what leaves is what was checksummed, the very same memory, and nothing
 * has to be read, or unpacked, a second time.
 *
 * A keep is the memory; what was kept of one input (struct mb_kept) is a row
 * of pieces in it.  A byte is written once, by the read that fills the room,
 * and never again: where it has been emitted or forgotten, its page is given
 * back to the system before anything else is read there.  Pages may therefore
 * be lent to a pipe (vmsplice): whatever its reader does with them, however
 * long it holds them, they don't change.  Only the first, small part of what
 * is kept is memory that is used again, and is not to be lent.
 *
 * What doesn't fit is not kept, and then read again.  That is no error.
 */
#ifndef MB_SOURCE_KEEP_H
#define MB_SOURCE_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct mb_keep;

/*
 * At most about max bytes, in use only as far as something is kept.  With max
 * 0 nothing but the small part.
 */
struct mb_keep *mb_keep_open(size_t max);
void mb_keep_close(struct mb_keep *k);

/*
 * Where the next len bytes may be read to.  NULL: there is no room.  It stays
 * the same until some of it is added to something.
 */
char *mb_keep_room(struct mb_keep *k, size_t len);

/* No room for so many, but there will be when something has left. */
bool mb_keep_is_full(const struct mb_keep *k, size_t len);

/* Bytes of memory that are in use. */
size_t mb_keep_used(const struct mb_keep *k);

struct mb_piece {
	const char *p;
	size_t len;
	unsigned block;		/* of the keep */
};

/* The bytes [start, end) of an input.  {0} is a valid empty one. */
struct mb_kept {
	struct mb_keep *keep;
	uint64_t start, end;
	struct mb_piece *pieces;
	size_t first, n;	/* pieces[first, n) */
	size_t given;		/* by mb_kept_next, of the first piece */
};

/*
 * The first len bytes of the room, which were just read there, are those at
 * `off`.  If that isn't where the kept ones end, those are forgotten.
 */
void mb_kept_add(struct mb_kept *kept, struct mb_keep *k, size_t len,
    uint64_t off);
/* Forget the bytes from `off` on. */
void mb_kept_cut(struct mb_kept *kept, uint64_t off);
void mb_kept_release(struct mb_kept *kept);

/*
 * Take from the front: up to `end`, one piece.  false: nothing is left before
 * it.  *may_lend: its pages may be lent.  The bytes are borrowed until the
 * next call, which gives them back.
 */
bool mb_kept_next(struct mb_kept *kept, uint64_t end, struct mb_str *out,
    bool *may_lend);

/*
 * What was kept of a batch, input by input, in the order of its ranges.  {0}
 * is a valid empty one.
 */
struct mb_parcel {
	struct {
		uint64_t generation;
		struct mb_kept kept;
	} *v;
	size_t first, n;	/* v[first, n) */
};

/* Move the bytes of a generation before `off` into the parcel. */
void mb_parcel_add(struct mb_parcel *parcel, uint64_t generation,
    struct mb_kept *kept, uint64_t off);
/*
 * Bytes that begin with [start, end) of a generation, or NULL if not all of
 * these are here.  What stands before them is given back.
 */
struct mb_kept *mb_parcel_find(struct mb_parcel *parcel, uint64_t generation,
    uint64_t start, uint64_t end);
void mb_parcel_reset(struct mb_parcel *parcel);
void mb_parcel_release(struct mb_parcel *parcel);

#endif
