#include "agg/distinct.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static const struct mb_seen *
look_up(const struct mb_distinct *d, const struct mb_seen *want,
    const char *p)
{
	const struct mb_cell *cells = mb_cells_of(&d->cells);
	uint32_t tag = mb_cells_tag(want->hash);
	size_t i = mb_cells_begin(&d->cells, want->hash);

	if (d->cells.size == 0)
		return NULL;
	for (; cells[i].entry != 0; i = (i + 1) & (d->cells.size - 1)) {
		const struct mb_seen *s;

		if (cells[i].tag != tag)
			continue;
		s = d->seen[cells[i].entry - 1];
		if (s->hash == want->hash && s->group == want->group &&
		    s->slot == want->slot && s->len == want->len &&
		    memcmp(s->text, p, s->len) == 0)
			return s;
	}
	return NULL;
}

bool
mb_distinct_see(struct mb_distinct *d, uint32_t group, uint32_t slot,
    const char *p, size_t len)
{
	struct mb_seen seen = { .group = group, .slot = slot, .len = len,
		.hash = mb_hash64(p, len, mb_mix(d->seed ^ group,
		    slot + 0x9e3779b97f4a7c15u)) }, *s;

	if (look_up(d, &seen, p) != NULL)
		return false;
	s = mb_arena_alloc(&d->arena, sizeof *s + len);
	*s = seen;
	memcpy(s->text, p, len);
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : d->cap * 2;
		d->seen = mb_realloc_array(d->seen, d->cap, sizeof *d->seen);
	}
	mb_cells_reserve(&d->cells, d->n, 1);
	mb_cells_place(&d->cells, s->hash, d->n);
	d->seen[d->n++] = s;
	return true;
}

void
mb_distinct_reset(struct mb_distinct *d)
{
	mb_cells_reset(&d->cells);
	if (d->cap > 4096) {
		free(d->seen);
		d->seen = NULL;
		d->cap = 0;
	}
	d->n = 0;
	mb_arena_reset(&d->arena);
}

void
mb_distinct_release(struct mb_distinct *d)
{
	mb_cells_release(&d->cells);
	free(d->seen);
	mb_arena_release(&d->arena);
	*d = (struct mb_distinct){ 0 };
}
