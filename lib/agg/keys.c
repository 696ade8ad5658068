#include "agg/keys_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {			/* bytes */
	KEPT = 64 * 1024,
	MANY = 1 << 20,		/* from here on they will be more, … */
	SOON = 256 * 1024,	/* … and so much comes at once */
};

void
mb_keys_open(struct mb_keys **out, size_t n_keys, size_t state_size,
    uint64_t seed)
{
	struct mb_keys *t = mb_zalloc(sizeof *t);

	*t = (struct mb_keys){ .n_keys = n_keys };
	/* Numbers out of one, which nobody knows either. */
	for (unsigned i = 0; i < 4; i++)
		t->seeds.word[i] = mb_hash64(&"keys"[i], 1, seed);
	t->seeds.bare = mb_mix(t->seeds.word[2], t->seeds.word[3]);
	/* The first tells, also where there are none, that the group is gone. */
	t->state_off = (n_keys > 0 ? n_keys : 1) * sizeof(struct mb_group_key);
	t->group_size = t->state_off + state_size;
	t->probes = mb_realloc_array(NULL, n_keys * MB_ROWS,
	    sizeof *t->probes);
	t->columns = mb_realloc_array(NULL, n_keys, sizeof *t->columns);
	mb_memo_init(&t->memo, seed);
	*out = t;
}

void
mb_keys_close(struct mb_keys *t)
{
	if (t == NULL)
		return;
	mb_memo_release(&t->memo);
	mb_cells_release(&t->cells);
	mb_region_release(&t->groups);
	mb_ordinals_release(&t->ordinals);
	mb_arena_release(&t->arena);
	free(t->probes);
	free(t->columns);
	free(t);
}

void
mb_keys_reset(struct mb_keys *t)
{
	mb_memo_reset(&t->memo);
	mb_cells_reset(&t->cells);
	if (t->groups.size > KEPT)
		mb_region_release(&t->groups);
	else if (t->n > 0)
		memset(t->groups.p, 0, t->n * t->group_size);
	mb_ordinals_reset(&t->ordinals);
	mb_arena_reset(&t->arena);
	t->n = 0;
	t->n_there = t->n_forgotten = 0;
}

size_t
mb_keys_count(const struct mb_keys *t)
{
	return t->n;
}

bool
mb_keys_are_in_order(const struct mb_keys *t)
{
	return !t->ordinals.is_mixed;
}

uint64_t
mb_keys_ordinal(const struct mb_keys *t, size_t i)
{
	return mb_ordinals_at(&t->ordinals, i);
}

bool
mb_keys_lower_ordinal(struct mb_keys *t, size_t i, uint64_t ordinal)
{
	/* Where there are few groups, the last of them is long ago. */
	if (ordinal >= t->ordinals.greatest ||
	    ordinal >= mb_ordinals_at(&t->ordinals, i))
		return false;
	mb_ordinals_lower(&t->ordinals, i, ordinal);
	return true;
}

size_t
mb_keys_state_off(const struct mb_keys *t)
{
	return t->state_off;
}

struct mb_group_key *
mb_keys_group(const struct mb_keys *t, size_t i)
{
	return group_at(t, i);
}

/*
 * The table.
 */

uint32_t
mb_keys_look_up(const struct mb_keys *t, size_t i)
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	uint32_t tag = mb_cells_tag(t->hashes[i]);
	size_t at = mb_cells_begin(&t->cells, t->hashes[i]);

	if (t->cells.size == 0)
		return 0;
	for (; cells[at].entry != 0; at = (at + 1) & (t->cells.size - 1))
		if (cells[at].tag == tag &&
		    has_keys(t, group_at(t, cells[at].entry - 1), i))
			return cells[at].entry;
	return 0;
}

void
mb_keys_reserve(struct mb_keys *t, size_t n)
{
	/* A key at the end is looked at with what would be behind it. */
	size_t size = (t->n + n) * t->group_size + MB_KEY_MIDDLE;

	if (size > t->groups.size)
		mb_region_grow(&t->groups, 2 * size);
	if (size > MANY && size > t->n_there) {
		t->n_there = t->groups.size - size < SOON ? t->groups.size :
		    size + SOON;
		mb_region_populate(&t->groups, size, t->n_there);
	}
	mb_cells_reserve(&t->cells, t->n, n);
}

uint32_t
mb_keys_append(struct mb_keys *t, uint64_t hash, uint64_t ordinal)
{
	mb_keys_reserve(t, 1);
	mb_cells_place(&t->cells, hash, t->n);
	mb_ordinals_add(&t->ordinals, ordinal);
	return (uint32_t)t->n++;
}

const struct mb_long_key *
mb_keys_keep(struct mb_keys *t, const char *p, size_t len)
{
	struct mb_long_key *whole = mb_arena_alloc(&t->arena, sizeof *whole +
	    (len > MB_KEY_MIDDLE ? len : MB_KEY_MIDDLE));

	whole->len = len;
	memcpy(whole->p, p, len);
	if (len < MB_KEY_MIDDLE)
		memset(whole->p + len, 0, MB_KEY_MIDDLE - len);
	return whole;
}

void
mb_keys_set_key(struct mb_keys *t, struct mb_group_key *key,
    const struct probe *probe, enum mb_kind kind)
{
	memcpy(key, probe->word, sizeof *key);
	mb_group_key_set_kind(key, kind);
	if (is_long(key))
		key->whole = mb_keys_keep(t, probe->p, probe->len);
}

uint32_t
mb_keys_find(struct mb_keys *t, const struct mb_value *values,
    const size_t *fields, uint64_t ordinal)
{
	const bool has_memo = t->n <= MB_MEMO_GROUPS;
	struct mb_group_key *group;
	uint32_t entry;

	if (has_memo && mb_memo_find_one(&t->memo, values, fields, t->n_keys,
	    &entry))
		return entry;
	for (size_t k = 0; k < t->n_keys; k++) {
		const struct mb_value *v = &values[fields[k]];

		set_probe(t, &t->probes[k * MB_ROWS], v->p, v->len,
		    v->kind == MB_NULL);
	}
	t->hashes[0] = hash_probes(t, 0);
	entry = mb_keys_look_up(t, 0);
	if (entry != 0) {
		if (has_memo)
			mb_memo_learn_one(&t->memo, values, fields, t->n_keys,
			    entry - 1);
		return entry - 1;
	}
	entry = mb_keys_append(t, t->hashes[0], ordinal);
	group = mb_keys_group(t, entry);
	for (size_t k = 0; k < t->n_keys; k++)
		mb_keys_set_key(t, &group[k], &t->probes[k * MB_ROWS],
		    values[fields[k]].kind);
	return entry;
}

/*
 * Many groups.
 */

void
mb_keys_locate(const struct mb_keys *t, const uint32_t *numbers, size_t n,
    char **groups)
{
	for (size_t i = 0; i < n; i++)
		groups[i] = (char *)mb_keys_group(t, numbers[i]);
}

static void
set_probe_of_key(const struct mb_keys *t, struct probe *probe,
    const struct mb_group_key *key)
{
	struct mb_str text = mb_group_key_text(key);

	set_probe(t, probe, text.p, text.len, (key->meta & MB_KEY_NULL) != 0);
}

/* Of a group that is in a table. */
static uint64_t
hash_group(const struct mb_keys *t, const struct mb_group_key *group)
{
	uint64_t hash = t->seeds.word[0];

	for (size_t k = 0; k < t->n_keys; k++) {
		const struct mb_group_key *key = &group[k];
		struct probe probe = { .word = { mb_load_8(key) &
		    MB_KEY_BUT_KIND, mb_load_8(key->rest) } };

		if (is_long(key))
			set_probe_of_key(t, &probe, key);
		hash = hash_words(&t->seeds, hash, probe.word, MB_WIDTH_ANY);
	}
	return finish(hash);
}

/* The entry of the group that has the keys of this one, or 0. */
static uint32_t
look_up_group(const struct mb_keys *t, const struct mb_group_key *group,
    uint64_t hash)
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	size_t at = mb_cells_begin(&t->cells, hash);

	for (; cells[at].entry != 0; at = (at + 1) & (t->cells.size - 1))
		if (cells[at].tag == mb_cells_tag(hash) && have_same_keys(t,
		    group_at(t, cells[at].entry - 1), group))
			break;
	return cells[at].entry;
}

/*
 * Most are new, or the first with their tag: what isn't near was fetched for
 * many at once.  Those that have the tag of another, or whose cell one before
 * has taken, are looked for.
 */
void
mb_keys_merge(struct mb_keys *t, const struct mb_keys *from, size_t begin,
    size_t n, uint32_t *numbers, bool *is_new, bool *is_earlier)
{
	uint64_t ordinals[MB_ROWS];

	mb_ordinals_read(&from->ordinals, begin, n, ordinals);
	for (size_t i = 0; i < n; i++)
		t->hashes[i] = hash_group(t, group_at(from, begin + i));
	/* From here on nothing moves. */
	mb_keys_reserve(t, n);
	(void)mb_keys_guess(t, n, numbers);
	for (size_t i = 0; i < n; i++) {
		const struct mb_group_key *group = group_at(from, begin + i);
		struct mb_cell *cell = &mb_cells_of(&t->cells)[t->at[i]];
		const bool is_free = cell->entry == 0;
		bool is_there = !t->is_missed[i] && have_same_keys(t,
		    (const void *)t->guesses[i], group);
		uint32_t entry;

		if (!is_there && !is_free) {
			entry = look_up_group(t, group, t->hashes[i]);
			is_there = entry != 0;
			numbers[i] = entry - is_there;
		}
		is_new[i] = !is_there;
		if (is_there) {
			is_earlier[i] = mb_keys_lower_ordinal(t, numbers[i],
			    ordinals[i]);
			continue;
		}
		if (is_free) {
			*cell = (struct mb_cell){ mb_cells_tag(t->hashes[i]),
				(uint32_t)t->n + 1 };
			mb_ordinals_add(&t->ordinals, ordinals[i]);
			numbers[i] = (uint32_t)t->n++;
		} else {
			numbers[i] = mb_keys_append(t, t->hashes[i],
			    ordinals[i]);
		}
		memcpy(group_at(t, numbers[i]), group, t->group_size);
	}
}

void
mb_keys_forget(struct mb_keys *t, size_t end)
{
	enum { STEP = 4 << 20 };	/* a call for each page would cost */
	size_t size = end * t->group_size;

	mb_cells_release(&t->cells);
	if (end < t->n && size - t->n_forgotten < STEP)
		return;
	mb_region_forget(&t->groups, t->n_forgotten, size);
	mb_ordinals_forget(&t->ordinals, end);
	t->n_forgotten = size;
}

void
mb_keys_join(struct mb_keys *t, struct mb_keys *from)
{
	mb_arena_join(&t->arena, &from->arena);
}

uint64_t
mb_keys_probes(const struct mb_keys *t)
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	uint64_t n = 0;

	for (size_t i = 0; i < t->cells.size; i++)
		if (cells[i].entry != 0)
			n += ((i - mb_cells_begin(&t->cells, hash_group(t,
			    mb_keys_group(t, cells[i].entry - 1)))) &
			    (t->cells.size - 1)) + 1;
	return n;
}
