#include "agg/cells.h"

#include <assert.h>
#include <string.h>

enum {
	SMALL = 4096,		/* cells that fit the first-level cache */
	KEPT = 64 * 1024,	/* bytes */
};

/*
 * A small table is at most a quarter full, so that nearly all is found in the
 * first cell, and foreseen; of a large one three of five cells, as what isn't
 * in the cache costs more than a second look.
 */
static size_t
most_of(size_t size)
{
	return size <= SMALL ? size / 4 : size / 5 * 3;
}

bool
mb_cells_reserve(struct mb_cells *t, size_t n)
{
	if (n + 1 <= most_of(t->size))
		return false;
	assert(n < UINT32_MAX);
	/* What is there is used again: fresh memory costs more than filling. */
	if (t->size > 0)
		memset(t->region.p, 0, t->size * sizeof(struct mb_cell));
	t->size = t->size == 0 ? 64 : t->size * 2;
	mb_region_grow(&t->region, t->size * sizeof(struct mb_cell));
	return true;
}

void
mb_cells_place(struct mb_cells *t, uint64_t hash, size_t number)
{
	struct mb_cell *cells = mb_cells_of(t);
	size_t i = mb_cells_begin(t, hash);

	while (cells[i].entry != 0)
		i = (i + 1) & (t->size - 1);
	cells[i] = (struct mb_cell){ mb_cells_tag(hash),
		(uint32_t)number + 1 };
}

void
mb_cells_reset(struct mb_cells *t)
{
	if (t->region.size > KEPT)
		mb_cells_release(t);
	else if (t->size > 0)
		memset(t->region.p, 0, t->size * sizeof(struct mb_cell));
}

void
mb_cells_release(struct mb_cells *t)
{
	mb_region_release(&t->region);
	t->size = 0;
}
