/*
 * cells.h - from a hash to the numbers of what has it; open addressing.
 *
 * What is numbered, from 0, is the caller's, and so is comparing it: of
 * 64 bits of hash a cell keeps the upper 32, and most of what is different
 * ends there.  They also tell where to begin to look, so that what lies
 * further on has the greater hash, but for what was in the way: the table
 * grows from one end to the other, and needs nobody's hash.
 *
 * A large table is looked through by cache lines, each from its first cell on.
 *
 *	mb_cells_reserve	before numbers are placed
 *	mb_cells_place
 */
#ifndef MB_AGG_CELLS_H
#define MB_AGG_CELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

struct mb_cell {
	uint32_t tag;		/* the hash's upper half */
	uint32_t entry;		/* 0 is free, else the number + 1 */
};

/* Zeros are an empty one. */
struct mb_cells {
	struct mb_region region;
	size_t size;		/* a power of two, at most 2^32; or 0 */
	unsigned shift;		/* 64 less its logarithm */
	size_t mask;		/* of what begins a search */
};

enum { MB_CELLS_LINE = 8 };	/* cells, in a large table */

static inline struct mb_cell *
mb_cells_of(const struct mb_cells *t)
{
	return (struct mb_cell *)t->region.p;
}

/* Where to begin to look, if there are any; then the next ones, all round. */
static inline size_t
mb_cells_begin(const struct mb_cells *t, uint64_t hash)
{
	return (hash >> t->shift) & t->mask;
}

static inline uint32_t
mb_cells_tag(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/* Room for `more` beside n that are placed. */
void mb_cells_reserve(struct mb_cells *t, size_t n, size_t more);
void mb_cells_place(struct mb_cells *t, uint64_t hash, size_t number);

/* Forget all; what was large is given back. */
void mb_cells_reset(struct mb_cells *t);
void mb_cells_release(struct mb_cells *t);

/* Two words into one, of which no bit is like one of theirs. */
static inline uint64_t
mb_mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#endif
