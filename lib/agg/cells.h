/*
 * cells.h - from a hash to the numbers of what has it; open addressing.
 *
 * What is numbered, from 0, is the caller's, and so is comparing it: of
 * 64 bits of hash a cell keeps 32, and most of what is different ends there.
 *
 *	mb_cells_reserve	before a number is placed; all again, if it
 *				says so
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
	size_t size;		/* a power of two, or 0 */
};

static inline struct mb_cell *
mb_cells_of(const struct mb_cells *t)
{
	return (struct mb_cell *)t->region.p;
}

/* Where to begin to look; then the next ones, round and round. */
static inline size_t
mb_cells_begin(const struct mb_cells *t, uint64_t hash)
{
	return hash & (t->size - 1);
}

static inline uint32_t
mb_cells_tag(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/* Room for one more than n; true: there is more, and nothing in it. */
bool mb_cells_reserve(struct mb_cells *t, size_t n);
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
