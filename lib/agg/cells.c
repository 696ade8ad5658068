#include "agg/cells.h"

#include <assert.h>
#include <string.h>

enum {
	LEAST = 64,
	SMALL = 4096,		/* cells that fit the first-level cache */
	KEPT = 64 * 1024,	/* bytes */
};

/*
 * A small table is at most a quarter full, so that nearly all is found in the
 * first cell, and foreseen; of a large one three of four cells, as what isn't
 * in the cache, and memory that is new, cost more than a second look.
 */
static size_t
most_of(size_t size)
{
	return size <= SMALL ? size / 4 : size / 4 * 3;
}

static void
set_size(struct mb_cells *t, size_t size)
{
	t->size = size;
	t->shift = 64 - (unsigned)__builtin_ctzll(size);
	t->mask = size <= SMALL ? SIZE_MAX : ~(size_t)(MB_CELLS_LINE - 1);
	mb_region_grow(&t->region, size * sizeof(struct mb_cell));
}

static size_t
place(struct mb_cells *t, struct mb_cell cell)
{
	struct mb_cell *cells = mb_cells_of(t);
	size_t i = mb_cells_begin(t, (uint64_t)cell.tag << 32);

	while (cells[i].entry != 0)
		i = (i + 1) & (t->size - 1);
	cells[i] = cell;
	return i;
}

/*
 * True, and the cell is placed, if what it met on its way is to stay: that is
 * so from `begin` on.
 */
static bool
place_behind(struct mb_cells *t, struct mb_cell cell, size_t begin)
{
	size_t home = mb_cells_begin(t, (uint64_t)cell.tag << 32), at;

	if (home < begin)
		return false;
	at = place(t, cell);
	if (at >= home)
		return true;
	mb_cells_of(t)[at] = (struct mb_cell){ 0 };
	return false;
}

/*
 * The cells of a line mostly go to the same two lines, where those before are:
 * n tells how many.  False: this one doesn't.
 */
static inline bool
place_next(struct mb_cells *t, struct mb_cell cell, size_t line, size_t n[2])
{
	size_t home = mb_cells_begin(t, (uint64_t)cell.tag << 32);
	size_t *next = &n[home / MB_CELLS_LINE % 2];
	struct mb_cell *to = mb_cells_of(t) + home + *next;

	if (home / MB_CELLS_LINE / 2 != line || *next == MB_CELLS_LINE ||
	    to->entry != 0)
		return false;
	*to = cell;
	++*next;
	return true;
}

/*
 * Twice the size, where it stands, block by block from its end: a cell's new
 * place is at about twice the old one, where all has been taken away already.
 * A cell that lay far behind its place, or that finds the end full, may meet
 * some that are still to be taken away, and has to wait until that is done.
 */
static void
grow(struct mb_cells *t)
{
	enum { BLOCK = 512 };
	struct mb_cell block[BLOCK], *cells;
	struct mb_buf waiting = { 0 };
	const bool by_lines = t->size > SMALL;
	size_t begin = t->size, n = begin < BLOCK ? begin : BLOCK;
	size_t n_placed[2] = { 0, 0 };

	set_size(t, 2 * t->size);
	cells = mb_cells_of(t);
	while (begin > 0) {
		begin -= n;
		mb_region_touch(&t->region, 2 * begin * sizeof *cells,
		    2 * (begin + n) * sizeof *cells);
		memcpy(block, cells + begin, n * sizeof *block);
		memset(cells + begin, 0, n * sizeof *block);
		for (size_t i = 0; i < n; i++) {
			size_t line = (begin + i) / MB_CELLS_LINE;

			if (i % MB_CELLS_LINE == 0)
				n_placed[0] = n_placed[1] = 0;
			if (block[i].entry == 0) {
				/* Nothing stands behind a free one. */
				if (by_lines)
					i |= MB_CELLS_LINE - 1;
				continue;
			}
			if (!(by_lines &&
			    place_next(t, block[i], line, n_placed)) &&
			    !place_behind(t, block[i], begin))
				mb_buf_add(&waiting, &block[i], sizeof *block);
		}
	}
	for (size_t i = 0; i < waiting.len; i += sizeof *block) {
		memcpy(block, waiting.p + i, sizeof *block);
		(void)place(t, *block);
	}
	mb_buf_release(&waiting);
}

void
mb_cells_reserve(struct mb_cells *t, size_t n, size_t more)
{
	if (n + more <= most_of(t->size))
		return;
	assert(n + more <= most_of((size_t)1 << 32));
	if (t->size == 0)
		set_size(t, LEAST);
	while (n + more > most_of(t->size))
		grow(t);
}

void
mb_cells_place(struct mb_cells *t, uint64_t hash, size_t number)
{
	(void)place(t, (struct mb_cell){ mb_cells_tag(hash),
		(uint32_t)number + 1 });
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
