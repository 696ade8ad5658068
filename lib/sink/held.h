/*
 * held.h - records that wait for the types of their columns.
 *
 * While a column's type is being inferred its values can't be converted, so
 * records are kept as they came, to be read again: in memory, and from some
 * size on in a file.
 *
 *	mb_held_add, mb_held_spill	in this order, any number of times
 *	mb_held_rewind, mb_held_next	all bytes again
 */
#ifndef MB_SINK_HELD_H
#define MB_SINK_HELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

enum { MB_HELD_MEMORY = 16 * 1024 * 1024 };

struct mb_held {
	struct mb_buf memory;
	int fd;			/* owned; -1: none */
	uint64_t size;		/* of the file */
	uint64_t off;		/* while reading */
	bool gave_memory;
};

/* Before the first use. */
void mb_held_init(struct mb_held *h);

void mb_held_add(struct mb_held *h, struct mb_str records);

/* Is it time to spill? */
bool mb_held_is_full(const struct mb_held *h);

/*
 * Move what is in memory to the file.  `fd` is an empty file without a name,
 * which is taken over; -1: the one that there is already.
 */
MB_CHECK int mb_held_spill(struct mb_held *h, int fd, struct mb_err *err);

/*
 * The bytes in their order, borrowed until the next call, in pieces that may
 * end within a record.  1 a piece, 0 the end.
 */
MB_CHECK int mb_held_rewind(struct mb_held *h, struct mb_err *err);
MB_CHECK int mb_held_next(struct mb_held *h, struct mb_str *out,
    struct mb_err *err);

/* Forget the records, and the file. */
void mb_held_reset(struct mb_held *h);
void mb_held_release(struct mb_held *h);

#endif
