/*
 * held.h - rows that wait for the types of their columns.
 *
 * While a column's type is being inferred its values can't be converted, so
 * whole rows are kept as they came: in memory, and from some size on in a
 * file.  Each row knows how many columns there were; further ones are null.
 *
 *	mb_held_add, mb_held_spill	in this order, any number of times
 *	mb_held_rewind, mb_held_next	all rows again
 */
#ifndef MB_SINK_HELD_H
#define MB_SINK_HELD_H

#include <stdbool.h>
#include <stdint.h>

#include "record/value.h"

enum { MB_HELD_MEMORY = 16 * 1024 * 1024 };

struct mb_held {
	struct mb_buf memory;
	int fd;			/* owned; -1: none */
	uint64_t size;		/* of the file */
	/* While reading. */
	uint64_t off;
	size_t at;
};

/* Before the first use. */
void mb_held_init(struct mb_held *h);

void mb_held_add(struct mb_held *h, const struct mb_value *values, size_t n);

/* Is it time to spill, and is there no file yet? */
bool mb_held_is_full(const struct mb_held *h);

/*
 * Move what is in memory to the file.  `fd` is an empty file without a name,
 * which is taken over; -1: the one that there is already.
 */
MB_CHECK int mb_held_spill(struct mb_held *h, int fd, struct mb_err *err);

/*
 * The values are borrowed until the next call; columns beyond those of the
 * row are null.  1 a row, 0 the end.
 */
MB_CHECK int mb_held_rewind(struct mb_held *h, struct mb_err *err);
MB_CHECK int mb_held_next(struct mb_held *h, struct mb_value *values,
    size_t n, struct mb_err *err);

/* Forget the rows, and the file. */
void mb_held_reset(struct mb_held *h);
void mb_held_release(struct mb_held *h);

#endif
