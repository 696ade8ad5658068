#include "agg/distinct.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { NEAR = 4096 };	/* so many values are near the processor */

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

static uint64_t
hash_of(const struct mb_distinct *d, uint32_t group, uint32_t slot,
    const char *p, size_t len)
{
	return mb_hash64(p, len, mb_mix(d->seed ^ group,
	    slot + 0x9e3779b97f4a7c15u));
}

static bool
see(struct mb_distinct *d, const struct mb_seen *seen, const char *p)
{
	struct mb_seen *s;

	if (look_up(d, seen, p) != NULL)
		return false;
	s = mb_arena_alloc(&d->arena, sizeof *s + seen->len);
	*s = *seen;
	memcpy(s->text, p, seen->len);
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : d->cap * 2;
		d->seen = mb_realloc_array(d->seen, d->cap, sizeof *d->seen);
	}
	mb_cells_reserve(&d->cells, d->n, 1);
	mb_cells_place(&d->cells, s->hash, d->n);
	d->seen[d->n++] = s;
	return true;
}

bool
mb_distinct_see(struct mb_distinct *d, uint32_t group, uint32_t slot,
    const char *p, size_t len)
{
	struct mb_seen seen = { .group = group, .slot = slot, .len = len,
		.hash = hash_of(d, group, slot, p, len) };

	return see(d, &seen, p);
}

/* The first that has the tag is nearly always it. */
static uint32_t
first_entry(const struct mb_distinct *d, uint64_t hash)
{
	const struct mb_cell *cells = mb_cells_of(&d->cells);
	size_t i = mb_cells_begin(&d->cells, hash);

	while (cells[i].entry != 0 && cells[i].tag != mb_cells_tag(hash))
		i = (i + 1) & (d->cells.size - 1);
	return cells[i].entry;
}

/*
 * What isn't near the processor, fetched for n values at once: cells, what
 * they point to, and the values there.
 */
static void
fetch(const struct mb_distinct *d, const uint64_t *hashes, size_t n)
{
	uint32_t entries[MB_ROWS];

	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(mb_cells_of(&d->cells) +
		    mb_cells_begin(&d->cells, hashes[i]));
	for (size_t i = 0; i < n; i++) {
		entries[i] = first_entry(d, hashes[i]);
		if (entries[i] > 0)
			__builtin_prefetch(&d->seen[entries[i] - 1]);
	}
	for (size_t i = 0; i < n; i++)
		if (entries[i] > 0)
			__builtin_prefetch(d->seen[entries[i] - 1]);
}

void
mb_distinct_see_rows(struct mb_distinct *d, const uint32_t *groups,
    uint32_t slot, const struct mb_rows *rows, const struct mb_view *view,
    bool *is_new)
{
	uint64_t hashes[MB_ROWS];

	for (size_t i = 0; i < rows->n; i++)
		hashes[i] = hash_of(d, groups[i], slot,
		    rows->p + view[i].start, view[i].len);
	if (d->n > NEAR)
		fetch(d, hashes, rows->n);
	for (size_t i = 0; i < rows->n; i++) {
		struct mb_seen seen = { .group = groups[i], .slot = slot,
			.len = view[i].len, .hash = hashes[i] };

		is_new[i] = view[i].kind != MB_NULL &&
		    see(d, &seen, rows->p + view[i].start);
	}
}

void
mb_distinct_see_others(struct mb_distinct *d,
    const struct mb_seen *const *others, const uint32_t *groups, size_t n,
    bool *is_new)
{
	uint64_t hashes[MB_ROWS];

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		hashes[i] = hash_of(d, groups[i], others[i]->slot,
		    others[i]->text, others[i]->len);
	if (d->n > NEAR)
		fetch(d, hashes, n);
	for (size_t i = 0; i < n; i++) {
		struct mb_seen seen = { .group = groups[i],
			.slot = others[i]->slot, .len = others[i]->len,
			.hash = hashes[i] };

		is_new[i] = see(d, &seen, others[i]->text);
	}
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
