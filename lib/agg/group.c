#include "agg/group.h"

#include <assert.h>
#include <stdlib.h>

#include "agg/accum.h"
#include "agg/column.h"
#include "base/hash.h"
#include "base/parse.h"

/*
 * A key in 16 bytes.  Up to SHORT bytes stand in it, with zeros behind;
 * longer ones elsewhere.
 */
enum { SHORT = 12, LONG = (1 << 28) - 1 };

struct key {
	/*
	 * From the lowest: 28 bits of the length, or LONG; a bit for null; 3
	 * bits of the kind, which don't count when keys are compared.
	 */
	uint32_t meta;
	char text[4];		/* of a long one the first bytes, too */
	union {
		char rest[SHORT - 4];
		const struct text *whole;	/* of a long one */
	};
};

enum { IS_NULL = 1 << 28, KIND = 29 };

struct text {
	size_t len;
	char p[];
};

/* A key that is looked for. */
struct probe {
	uint64_t word[2];	/* the key's without its kind; of a long one
				   the second is a hash of its text */
	const char *p;
	size_t len;
};

/* The states follow at state_off. */
struct group {
	uint64_t ordinal;	/* of its first record */
	struct key key[];
};

/* A value that a group has seen (MB_SLOT_DISTINCT). */
struct seen {
	uint64_t hash;
	uint32_t group;
	uint32_t slot;
	size_t len;
	char text[];
};

/* Open addressing. */
struct table {
	struct mb_region cells;
	size_t size;		/* a power of two, or 0 */
};

struct cell {
	uint32_t tag;		/* of the hash; most misses end here */
	uint32_t entry;		/* 0 is free, else an index + 1 */
};

struct mb_groups {
	const struct mb_query *q;
	uint64_t seed[2];
	size_t state_off;	/* in a group */
	size_t group_size;
	struct mb_arena arena;

	struct table table;
	struct mb_region groups;	/* in the order of appearance */
	size_t n;
	uint32_t *order;	/* in which they come out; NULL: this one */

	struct table seen_table;
	struct seen **seen;
	size_t n_seen, seen_cap;

	struct mb_number *numbers;	/* of the record in hand */
	bool *has_number;
	struct mb_number_count *counts;
	size_t next;			/* row */
	struct mb_buf text;		/* of the row in hand */

	/* Rows in hand; the probe for key k of row i is [k * MB_ROWS + i]. */
	struct mb_column *columns;	/* by number */
	struct probe *probes;
	uint64_t hashes[MB_ROWS];
	uint32_t entries[MB_ROWS];
	char *found[MB_ROWS];
};

void
mb_groups_open(struct mb_groups **out, const struct mb_query *q,
    uint64_t seed)
{
	struct mb_groups *g = mb_zalloc(sizeof *g);
	size_t n = q->n_numbers;

	*g = (struct mb_groups){ .q = q };
	/* Two numbers out of one, which nobody knows either. */
	g->seed[0] = mb_hash64("keys", 4, seed);
	g->seed[1] = mb_hash64("more", 4, seed);
	g->state_off = sizeof(struct group) + q->n_keys * sizeof(struct key);
	g->group_size = g->state_off + q->state_size;
	g->numbers = mb_realloc_array(NULL, n, sizeof *g->numbers);
	g->has_number = mb_realloc_array(NULL, n, sizeof *g->has_number);
	g->counts = mb_zalloc(n * sizeof *g->counts);
	g->columns = mb_realloc_array(NULL, n, sizeof *g->columns);
	g->probes = mb_realloc_array(NULL, q->n_keys * MB_ROWS,
	    sizeof *g->probes);
	*out = g;
}

/* What a large batch needed is not kept for the small ones after. */
enum { KEPT = 64 * 1024 };

static void
clear(struct mb_region *r, size_t n_used)
{
	if (r->size > KEPT)
		mb_region_release(r);
	else if (r->size > 0)
		memset(r->p, 0, n_used < r->size ? n_used : r->size);
}

static void
table_clear(struct table *t)
{
	clear(&t->cells, t->size * sizeof(struct cell));
	if (t->cells.size == 0)
		t->size = 0;
}

void
mb_groups_reset(struct mb_groups *g)
{
	table_clear(&g->table);
	table_clear(&g->seen_table);
	clear(&g->groups, g->n * g->group_size);
	if (g->seen_cap > 4096) {
		free(g->seen);
		g->seen = NULL;
		g->seen_cap = 0;
	}
	free(g->order);
	g->order = NULL;
	g->n = g->n_seen = g->next = 0;
	memset(g->counts, 0, g->q->n_numbers * sizeof *g->counts);
	mb_arena_reset(&g->arena);
}

void
mb_groups_close(struct mb_groups *g)
{
	if (g == NULL)
		return;
	mb_region_release(&g->table.cells);
	mb_region_release(&g->seen_table.cells);
	mb_region_release(&g->groups);
	free(g->order);
	free(g->seen);
	free(g->numbers);
	free(g->has_number);
	free(g->counts);
	free(g->columns);
	free(g->probes);
	mb_buf_release(&g->text);
	mb_arena_release(&g->arena);
	free(g);
}

/*
 * The table.
 */

static struct cell *
cells_of(const struct table *t)
{
	return (struct cell *)t->cells.p;
}

static void
table_place(struct table *t, uint64_t hash, size_t entry)
{
	struct cell *cells = cells_of(t);
	size_t i = hash & (t->size - 1);

	while (cells[i].entry != 0)
		i = (i + 1) & (t->size - 1);
	cells[i] = (struct cell){ (uint32_t)(hash >> 32),
		(uint32_t)entry + 1 };
}

/* Make room for one more; true if the table is new and to be filled. */
static bool
table_reserve(struct table *t, size_t n_entries)
{
	/* Three of five cells full: what is found costs less than two looks. */
	if (n_entries + 1 <= t->size / 5 * 3)
		return false;
	assert(n_entries < UINT32_MAX);
	/* What is there is used again: fresh memory costs more than filling. */
	if (t->size > 0)
		memset(t->cells.p, 0, t->size * sizeof(struct cell));
	t->size = t->size == 0 ? 64 : t->size * 2;
	mb_region_grow(&t->cells, t->size * sizeof(struct cell));
	return true;
}

/*
 * Keys.
 */

static struct group *
group_at(const struct mb_groups *g, size_t i)
{
	return (struct group *)(g->groups.p + i * g->group_size);
}

static void *
state_of(const struct mb_groups *g, struct group *group, size_t slot)
{
	return (char *)group + g->state_off + g->q->slots[slot].off;
}

static struct mb_str
key_text(const struct key *k)
{
	uint32_t len = k->meta & LONG;

	return len == LONG ?
	    (struct mb_str){ k->whole->p, k->whole->len } :
	    (struct mb_str){ k->text, len };
}

static enum mb_kind
key_kind(const struct key *k)
{
	return (enum mb_kind)(k->meta >> KIND);
}

static void
set_kind(struct key *k, enum mb_kind kind)
{
	k->meta = (k->meta & ((1u << KIND) - 1)) | (uint32_t)kind << KIND;
}

static inline void
words_of(uint64_t word[2], const struct key *k)
{
	struct key copy = *k;

	copy.meta &= (1u << KIND) - 1;
	memcpy(word, &copy, sizeof copy);
}

/* What isn't short, or has nothing readable behind it. */
static void
set_probe(const struct mb_groups *g, struct probe *probe, const char *p,
    size_t len, bool is_null)
{
	struct key k = { .meta = LONG };

	_Static_assert(sizeof k == sizeof probe->word, "no gaps");
	_Static_assert(offsetof(struct key, rest) ==
	    offsetof(struct key, text) + 4, "the text is in one piece");
	if (len <= SHORT)
		k.meta = (uint32_t)len | (is_null ? IS_NULL : 0);
	memcpy((char *)&k + offsetof(struct key, text), p,
	    len <= SHORT ? len : 4);
	memcpy(probe->word, &k, sizeof k);
	if (len > SHORT)
		probe->word[1] = mb_hash64(p, len, g->seed[0]);
	probe->p = p;
	probe->len = len;
}

static void
set_probe_of_key(const struct mb_groups *g, struct probe *probe,
    const struct key *k)
{
	struct mb_str text = key_text(k);

	set_probe(g, probe, text.p, text.len, (k->meta & IS_NULL) != 0);
}

/* The same for the keys of rows, which have slack. */
static inline void
set_probe_fast(const struct mb_groups *g, struct probe *probe, const char *p,
    const struct mb_view *v)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	static const uint32_t low[SHORT + 1] = { 0, 0xff, 0xffff, 0xffffff,
		~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u };
	static const uint64_t high[SHORT + 1] = { 0, 0, 0, 0, 0, 0xff, 0xffff,
		0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff,
		0xffffffffffffff, ~(uint64_t)0 };
	uint32_t first;
	uint64_t rest;

	if (v->len <= SHORT) {
		memcpy(&first, p, 4);
		memcpy(&rest, p + 4, 8);
		probe->word[0] = (uint64_t)(first & low[v->len]) << 32 |
		    v->len | (v->kind == MB_NULL ? IS_NULL : 0);
		probe->word[1] = rest & high[v->len];
		return;
	}
#endif
	set_probe(g, probe, p, v->len, v->kind == MB_NULL);
}

/* The whole product of two words, folded. */
static inline uint64_t
mix(uint64_t a, uint64_t b)
{
	mb_uint128 product = (mb_uint128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * One product is nearly linear in the digits of a short key, and under one
 * seed in a hundred, counted numbers then fell into few cells.
 */
static inline uint64_t
finish(uint64_t hash)
{
	return mix(hash, 0x9e3779b97f4a7c15u);
}

/* Hash the keys of n probes. */
static void
hash_probes(struct mb_groups *g, size_t n)
{
	for (size_t i = 0; i < n; i++)
		g->hashes[i] = g->seed[0];
	for (size_t k = 0; k < g->q->n_keys; k++) {
		const struct probe *probe = g->probes + k * MB_ROWS;

		for (size_t i = 0; i < n; i++)
			g->hashes[i] = mix(g->hashes[i] ^ probe[i].word[0],
			    g->seed[1] ^ probe[i].word[1]);
	}
	for (size_t i = 0; i < n; i++)
		g->hashes[i] = finish(g->hashes[i]);
}

/* Of a group that is in the table, to be placed in another one. */
static uint64_t
hash_group(const struct mb_groups *g, const struct group *group)
{
	uint64_t hash = g->seed[0];

	for (size_t k = 0; k < g->q->n_keys; k++) {
		struct probe probe;

		if ((group->key[k].meta & LONG) == LONG)
			set_probe_of_key(g, &probe, &group->key[k]);
		else
			words_of(probe.word, &group->key[k]);
		hash = mix(hash ^ probe.word[0], g->seed[1] ^ probe.word[1]);
	}
	return finish(hash);
}

/* Does the group have the keys of the probes i? */
static inline bool
has_keys(const struct mb_groups *g, const struct group *group, size_t i)
{
	for (size_t k = 0; k < g->q->n_keys; k++) {
		const struct probe *probe = &g->probes[k * MB_ROWS + i];
		const struct key *key = &group->key[k];
		uint64_t word[2];

		words_of(word, key);
		if (word[0] != probe->word[0])
			return false;
		if ((key->meta & LONG) != LONG) {
			if (word[1] != probe->word[1])
				return false;
		} else if (key->whole->len != probe->len ||
		    memcmp(key->whole->p, probe->p, probe->len) != 0) {
			return false;
		}
	}
	return true;
}

/* The entry of the group with the keys of the probes i, or 0. */
static uint32_t
look_up(const struct mb_groups *g, size_t i)
{
	const struct cell *cells = cells_of(&g->table);
	size_t mask = g->table.size - 1, at = g->hashes[i] & mask;
	uint32_t tag = (uint32_t)(g->hashes[i] >> 32);

	for (; g->table.size > 0 && cells[at].entry != 0; at = (at + 1) & mask)
		if (cells[at].tag == tag &&
		    has_keys(g, group_at(g, cells[at].entry - 1), i))
			return cells[at].entry;
	return 0;
}

/*
 * The same for n of them, in rounds, so that what isn't in the cache is
 * fetched for many at once.
 */
static void
look_up_rows(struct mb_groups *g, size_t n)
{
	const struct cell *cells = cells_of(&g->table);
	size_t mask = g->table.size - 1;

	if (g->table.size == 0) {
		memset(g->entries, 0, n * sizeof *g->entries);
		return;
	}
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(&cells[g->hashes[i] & mask]);
	for (size_t i = 0; i < n; i++) {
		uint32_t tag = (uint32_t)(g->hashes[i] >> 32);
		size_t at = g->hashes[i] & mask;

		while (cells[at].entry != 0 && cells[at].tag != tag)
			at = (at + 1) & mask;
		g->entries[i] = cells[at].entry;
		__builtin_prefetch(group_at(g, cells[at].entry - 1));
	}
	for (size_t i = 0; i < n; i++)
		if (g->entries[i] != 0 &&
		    !has_keys(g, group_at(g, g->entries[i] - 1), i))
			g->entries[i] = look_up(g, i);
}

/* Place all groups; their cells are fetched some rounds ahead. */
static void
fill_table(struct mb_groups *g)
{
	enum { AHEAD = 16 };
	const struct cell *cells = cells_of(&g->table);
	size_t mask = g->table.size - 1;
	uint64_t hashes[AHEAD];

	for (size_t i = 0; i < g->n + AHEAD; i++) {
		if (i >= AHEAD)
			table_place(&g->table, hashes[i % AHEAD], i - AHEAD);
		if (i < g->n) {
			hashes[i % AHEAD] = hash_group(g, group_at(g, i));
			__builtin_prefetch(&cells[hashes[i % AHEAD] & mask],
			    1);
		}
	}
}

/* A new group with this hash, in the table, all zeros; its entry. */
static uint32_t
append_group(struct mb_groups *g, uint64_t hash)
{
	size_t size = (g->n + 1) * g->group_size;

	if (size > g->groups.size)
		mb_region_grow(&g->groups, 2 * size);
	if (table_reserve(&g->table, g->n))
		fill_table(g);
	table_place(&g->table, hash, g->n);
	return (uint32_t)++g->n;
}

/* A new group for the probes i, whose values are of these kinds. */
static uint32_t
add_group(struct mb_groups *g, size_t i, const enum mb_kind *kinds,
    uint64_t ordinal)
{
	uint32_t entry = append_group(g, g->hashes[i]);
	struct group *group = group_at(g, entry - 1);

	group->ordinal = ordinal;
	for (size_t k = 0; k < g->q->n_keys; k++) {
		const struct probe *probe = &g->probes[k * MB_ROWS + i];
		struct key *key = &group->key[k];
		struct text *whole;

		memcpy(key, probe->word, sizeof *key);
		set_kind(key, kinds[k]);
		if ((key->meta & LONG) != LONG)
			continue;
		whole = mb_arena_alloc(&g->arena, sizeof *whole + probe->len);
		whole->len = probe->len;
		memcpy(whole->p, probe->p, probe->len);
		key->whole = whole;
	}
	return entry;
}

/* Has the group seen this value in this slot?  If not, it now has. */
static void
see(struct mb_groups *g, uint32_t group, size_t slot, const char *p,
    size_t len)
{
	uint64_t hash = mb_hash64(p, len, g->seed[0] ^
	    mix(g->seed[1] ^ group, slot + 0x9e3779b97f4a7c15u));
	uint32_t tag = (uint32_t)(hash >> 32);
	const struct cell *cells = cells_of(&g->seen_table);
	size_t mask = g->seen_table.size - 1;
	struct seen *s;

	if (g->seen_table.size > 0)
		for (size_t i = hash & mask; cells[i].entry != 0;
		    i = (i + 1) & mask) {
			if (cells[i].tag != tag)
				continue;
			s = g->seen[cells[i].entry - 1];
			if (s->hash == hash && s->group == group &&
			    s->slot == slot && s->len == len &&
			    memcmp(s->text, p, len) == 0)
				return;
		}
	s = mb_arena_alloc(&g->arena, sizeof *s + len);
	*s = (struct seen){ .hash = hash, .group = group,
		.slot = (uint32_t)slot, .len = len };
	memcpy(s->text, p, len);
	if (g->n_seen == g->seen_cap) {
		g->seen_cap = g->seen_cap == 0 ? 64 : g->seen_cap * 2;
		g->seen = mb_realloc_array(g->seen, g->seen_cap,
		    sizeof *g->seen);
	}
	if (table_reserve(&g->seen_table, g->n_seen))
		for (size_t i = 0; i < g->n_seen; i++)
			table_place(&g->seen_table, g->seen[i]->hash, i);
	table_place(&g->seen_table, hash, g->n_seen);
	g->seen[g->n_seen++] = s;
	mb_accum_add_distinct(state_of(g, group_at(g, group), slot));
}

/*
 * Records.
 */

/* Before anything is added: a bad record counts nowhere. */
static bool
read_numbers(struct mb_groups *g, const struct mb_value *values,
    size_t *culprit)
{
	for (size_t i = 0; i < g->q->n_numbers; i++) {
		const struct mb_value *v = &values[g->q->numbers[i]];

		g->has_number[i] = false;
		if (v->len == 0)
			continue;	/* null, or as good as */
		g->counts[i].n_values++;
		if (!mb_number_parse(&g->numbers[i], mb_value_str(*v))) {
			*culprit = g->q->numbers[i];
			return false;
		}
		g->has_number[i] = true;
		g->counts[i].n_numbers++;
	}
	return true;
}

static struct group *
find_group(struct mb_groups *g, const struct mb_value *values,
    uint64_t ordinal)
{
	size_t n_keys = g->q->n_keys;
	uint32_t entry;

	for (size_t k = 0; k < n_keys; k++) {
		const struct mb_value *v = &values[g->q->keys[k].field];

		set_probe(g, &g->probes[k * MB_ROWS], v->p, v->len,
		    v->kind == MB_NULL);
	}
	hash_probes(g, 1);
	entry = look_up(g, 0);
	if (entry == 0) {
		enum mb_kind *kinds = mb_realloc_array(NULL, n_keys,
		    sizeof *kinds);

		for (size_t k = 0; k < n_keys; k++)
			kinds[k] = values[g->q->keys[k].field].kind;
		entry = add_group(g, 0, kinds, ordinal);
		free(kinds);
	}
	return group_at(g, entry - 1);
}

bool
mb_groups_add(struct mb_groups *g, const struct mb_value *values,
    uint64_t ordinal, size_t *culprit)
{
	const struct mb_query *q = g->q;
	struct group *group;

	if (!read_numbers(g, values, culprit))
		return false;
	group = find_group(g, values, ordinal);
	if (ordinal < group->ordinal) {
		/* Odd ones among rows come late. */
		group->ordinal = ordinal;
		for (size_t k = 0; k < q->n_keys; k++)
			set_kind(&group->key[k],
			    values[q->keys[k].field].kind);
	}
	for (size_t i = 0; i < q->n_slots; i++) {
		const struct mb_slot *s = &q->slots[i];
		struct mb_value v = s->kind == MB_SLOT_RECORDS ?
		    mb_value_null() : values[s->field];

		if (s->kind == MB_SLOT_DISTINCT) {
			if (v.kind != MB_NULL)
				see(g, (uint32_t)(((char *)group -
				    g->groups.p) / g->group_size), i, v.p,
				    v.len);
			continue;
		}
		mb_accum_add(s->kind, state_of(g, group, i), v,
		    s->kind >= MB_SLOT_SUM && g->has_number[s->number] ?
		    &g->numbers[s->number] : NULL, ordinal, &g->arena);
	}
	return true;
}

/*
 * Rows.
 */

static const struct mb_view *
view_of(const struct mb_rows *rows, size_t field)
{
	return rows->view + field * MB_ROWS;
}

/* Read the numbers; rows with what isn't easily read become odd. */
static void
read_columns(struct mb_groups *g, struct mb_rows *rows)
{
	const struct mb_query *q = g->q;
	bool odd[MB_ROWS] = { false }, any = false;

	for (size_t i = 0; i < q->n_numbers; i++)
		any |= mb_column_read(&g->columns[i], rows,
		    view_of(rows, q->numbers[i]), odd);
	if (!any)
		return;
	mb_rows_drop(rows, q->fields.n, odd, true);
	for (size_t i = 0; i < q->n_numbers; i++)
		(void)mb_column_read(&g->columns[i], rows,
		    view_of(rows, q->numbers[i]), odd);
}

/* g->found: the group of each row. */
static void
find_groups(struct mb_groups *g, const struct mb_rows *rows,
    uint64_t ordinal)
{
	const struct mb_query *q = g->q;
	enum mb_kind *kinds = NULL;

	for (size_t k = 0; k < q->n_keys; k++) {
		const struct mb_view *v = view_of(rows, q->keys[k].field);
		struct probe *probe = g->probes + k * MB_ROWS;

		for (size_t i = 0; i < rows->n; i++)
			set_probe_fast(g, &probe[i], rows->p + v[i].start,
			    &v[i]);
	}
	hash_probes(g, rows->n);
	look_up_rows(g, rows->n);
	for (size_t i = 0; i < rows->n; i++) {
		if (g->entries[i] != 0)
			continue;
		/* Another row may have brought it by now. */
		g->entries[i] = look_up(g, i);
		if (g->entries[i] != 0)
			continue;
		if (kinds == NULL)
			kinds = mb_realloc_array(NULL, q->n_keys,
			    sizeof *kinds);
		for (size_t k = 0; k < q->n_keys; k++)
			kinds[k] = (enum mb_kind)view_of(rows,
			    q->keys[k].field)[i].kind;
		g->entries[i] = add_group(g, i, kinds,
		    ordinal + rows->record[i]);
	}
	free(kinds);
	/* Only now: groups have moved. */
	for (size_t i = 0; i < rows->n; i++)
		g->found[i] = (char *)group_at(g, g->entries[i] - 1);
}

void
mb_groups_add_rows(struct mb_groups *g, struct mb_rows *rows,
    uint64_t ordinal)
{
	const struct mb_query *q = g->q;

	read_columns(g, rows);
	if (rows->n == 0)
		return;
	for (size_t i = 0; i < q->n_numbers; i++) {
		g->counts[i].n_values += g->columns[i].n_values;
		g->counts[i].n_numbers += g->columns[i].n_values;
	}
	find_groups(g, rows, ordinal);
	for (size_t i = 0; i < q->n_slots; i++) {
		const struct mb_slot *s = &q->slots[i];
		const struct mb_view *v = s->kind == MB_SLOT_RECORDS ? NULL :
		    view_of(rows, s->field);

		if (s->kind == MB_SLOT_DISTINCT) {
			for (size_t k = 0; k < rows->n; k++)
				if (v[k].kind != MB_NULL)
					see(g, g->entries[k] - 1, i,
					    rows->p + v[k].start, v[k].len);
			continue;
		}
		mb_accum_add_rows(s->kind, g->found, g->state_off + s->off,
		    rows, v, s->kind >= MB_SLOT_SUM ?
		    &g->columns[s->number] : NULL, ordinal, &g->arena);
	}
}

struct mb_number_count
mb_groups_numbers(const struct mb_groups *g, size_t i)
{
	return g->counts[i];
}

/* Groups begin … begin + n - 1 of `from` into ours; entries say which. */
static void
merge_some(struct mb_groups *g, struct mb_groups *from, size_t begin,
    size_t n)
{
	const struct mb_query *q = g->q;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < q->n_keys; k++)
			set_probe_of_key(g, &g->probes[k * MB_ROWS + i],
			    &group_at(from, begin + i)->key[k]);
	hash_probes(g, n);
	look_up_rows(g, n);
	for (size_t i = 0; i < n; i++) {
		struct group *other = group_at(from, begin + i), *group;

		if (g->entries[i] == 0) {
			/* As it is; what it has seen is counted anew. */
			g->entries[i] = append_group(g, g->hashes[i]);
			group = group_at(g, g->entries[i] - 1);
			memcpy(group, other, g->group_size);
			for (size_t s = 0; s < q->n_slots; s++)
				if (q->slots[s].kind == MB_SLOT_DISTINCT)
					memset(state_of(g, group, s), 0,
					    mb_accum_size(MB_SLOT_DISTINCT));
			continue;
		}
		group = group_at(g, g->entries[i] - 1);
		if (other->ordinal < group->ordinal) {
			/* As it was first written, so it is shown. */
			group->ordinal = other->ordinal;
			memcpy(group->key, other->key,
			    q->n_keys * sizeof *group->key);
		}
		for (size_t s = 0; s < q->n_slots; s++)
			mb_accum_merge(q->slots[s].kind,
			    state_of(g, group, s), state_of(from, other, s),
			    &g->arena);
	}
}

void
mb_groups_merge(struct mb_groups *g, struct mb_groups *from)
{
	uint32_t *merged = from->n_seen == 0 ? NULL :
	    mb_realloc_array(NULL, from->n, sizeof *merged);

	for (size_t begin = 0; begin < from->n; begin += MB_ROWS) {
		size_t n = from->n - begin < MB_ROWS ? from->n - begin :
		    MB_ROWS;

		merge_some(g, from, begin, n);
		for (size_t i = 0; i < n && merged != NULL; i++)
			merged[begin + i] = g->entries[i] - 1;
	}
	for (size_t i = 0; i < from->n_seen; i++) {
		const struct seen *s = from->seen[i];

		see(g, merged[s->group], s->slot, s->text, s->len);
	}
	free(merged);
	for (size_t i = 0; i < g->q->n_numbers; i++) {
		g->counts[i].n_values += from->counts[i].n_values;
		g->counts[i].n_numbers += from->counts[i].n_numbers;
	}
}

/*
 * Coming out.
 */

/* What --sort compares: numbers, then texts, null last. */
struct sort_key {
	enum { SORT_NUMBER, SORT_TEXT, SORT_NULL } rank;
	struct mb_str text;
	struct mb_number number;
};

struct sort_row {
	uint32_t group;
	struct sort_key *keys;
};

static int
compare_rows(const void *left, const void *right, void *n_keys)
{
	const struct sort_row *a = left, *b = right;

	for (size_t i = 0; i < *(const size_t *)n_keys; i++) {
		const struct sort_key *x = &a->keys[i], *y = &b->keys[i];
		size_t len = x->text.len < y->text.len ? x->text.len :
		    y->text.len;
		int c;

		if (x->rank != y->rank)
			return x->rank < y->rank ? -1 : 1;
		if (x->rank == SORT_NUMBER) {
			c = mb_number_compare(&x->number, &y->number);
			if (c != 0)
				return c;
		}
		/* 1 and 1.0 are two groups of equal value. */
		c = memcmp(x->text.p, y->text.p, len);
		if (c != 0)
			return c;
		if (x->text.len != y->text.len)
			return x->text.len < y->text.len ? -1 : 1;
	}
	return 0;
}

static void
sort_by_keys(struct mb_groups *g)
{
	size_t n_keys = g->q->n_keys;
	struct sort_row *rows = mb_realloc_array(NULL, g->n, sizeof *rows);
	struct sort_key *keys = mb_realloc_array(NULL,
	    g->n * n_keys, sizeof *keys);

	for (size_t i = 0; i < g->n; i++) {
		rows[i] = (struct sort_row){ (uint32_t)i, keys + i * n_keys };
		for (size_t k = 0; k < n_keys; k++) {
			const struct key *key = &group_at(g, i)->key[k];
			struct sort_key *to = &rows[i].keys[k];

			to->text = key_text(key);
			to->rank = key_kind(key) == MB_NULL ? SORT_NULL :
			    mb_number_parse(&to->number, to->text) ?
			    SORT_NUMBER : SORT_TEXT;
		}
	}
	qsort_r(rows, g->n, sizeof *rows, compare_rows, &n_keys);
	for (size_t i = 0; i < g->n; i++)
		g->order[i] = rows[i].group;
	free(keys);
	free(rows);
}

static int
compare_ordinals(const void *left, const void *right, void *groups)
{
	uint64_t a = group_at(groups, *(const uint32_t *)left)->ordinal;
	uint64_t b = group_at(groups, *(const uint32_t *)right)->ordinal;

	return a < b ? -1 : a > b;
}

void
mb_groups_finish(struct mb_groups *g, bool is_sorted)
{
	size_t i;

	if (g->q->n_keys == 0 && g->n == 0)
		(void)find_group(g, NULL, 0);
	is_sorted = is_sorted && g->q->n_keys > 0;
	for (i = 1; i < g->n; i++)
		if (is_sorted || group_at(g, i - 1)->ordinal >
		    group_at(g, i)->ordinal)
			break;
	if (i >= g->n)
		return;
	g->order = mb_realloc_array(NULL, g->n, sizeof *g->order);
	for (i = 0; i < g->n; i++)
		g->order[i] = (uint32_t)i;
	if (is_sorted)
		sort_by_keys(g);
	else
		qsort_r(g->order, g->n, sizeof *g->order, compare_ordinals, g);
}

/* "status=200, country=de" for a message. */
static void
describe(const struct mb_groups *g, const struct group *group,
    struct mb_buf *out)
{
	for (size_t i = 0; i < g->q->n_keys; i++) {
		struct mb_str text = key_text(&group->key[i]);

		if (i > 0)
			mb_buf_adds(out, ", ");
		mb_buf_adds(out, g->q->keys[i].name);
		mb_buf_addc(out, '=');
		mb_show(out, (struct mb_str){ text.p,
		    text.len < 40 ? text.len : 40 });
	}
}

int
mb_groups_next(struct mb_groups *g, struct mb_value *values,
    struct mb_err *err)
{
	const struct mb_query *q = g->q;
	struct mb_buf who = { 0 };
	struct group *group;

	if (g->next == g->n)
		return 0;
	group = group_at(g, g->order != NULL ? g->order[g->next] : g->next);
	g->next++;
	for (size_t i = 0; i < q->n_keys; i++) {
		struct mb_str text = key_text(&group->key[i]);

		values[i] = (struct mb_value){ text.p, text.len,
			key_kind(&group->key[i]) };
	}
	mb_buf_reset(&g->text);
	mb_buf_reserve(&g->text, q->n_aggs * MB_ACCUM_TEXT);
	for (size_t i = 0; i < q->n_aggs; i++) {
		const struct mb_aggregate *a = &q->aggs[i];

		if (mb_accum_result(a->op, q->slots[a->slot].kind,
		    state_of(g, group, a->slot), &g->text,
		    &values[q->n_keys + i], err) == 0)
			continue;
		describe(g, group, &who);
		mb_wrap(err, "%s%s%s", a->name, who.len > 0 ? " of " : "",
		    mb_buf_str(&who));
		mb_buf_release(&who);
		return -1;
	}
	return 1;
}

size_t
mb_groups_count(const struct mb_groups *g)
{
	return g->n;
}

uint64_t
mb_groups_probes(const struct mb_groups *g)
{
	const struct cell *cells = cells_of(&g->table);
	uint64_t n = 0;

	for (size_t i = 0; i < g->table.size; i++)
		if (cells[i].entry != 0)
			n += ((i - hash_group(g, group_at(g,
			    cells[i].entry - 1))) & (g->table.size - 1)) + 1;
	return n;
}
