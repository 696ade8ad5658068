#include "agg/group.h"

#include <stdlib.h>

#include "agg/accum.h"
#include "base/hash.h"
#include "base/parse.h"

struct key {
	const char *p;
	uint32_t len;
	enum mb_kind kind;
};

/* One block of the arena: this, the keys, and at state_off the states. */
struct group {
	uint64_t hash;
	uint64_t ordinal;	/* of its first record */
	struct group *merged;	/* where its records are now */
	struct key key[];
};

/* A value that a group has seen (MB_SLOT_DISTINCT). */
struct seen {
	uint64_t hash;
	struct group *group;
	uint32_t slot;
	uint32_t len;
	char text[];
};

/* Open addressing; entry 0 is free, else an index + 1. */
struct table {
	struct cell {
		uint32_t tag;	/* of the hash; most misses end here */
		uint32_t entry;
	} *cells;
	size_t size;		/* a power of two, or 0 */
};

struct mb_groups {
	const struct mb_query *q;
	uint64_t seed;
	size_t state_off;	/* in a group */
	size_t group_size;
	struct mb_arena arena;

	struct table table;
	struct group **groups;	/* in order of appearance until finish */
	size_t n, cap;

	struct table seen_table;
	struct seen **seen;
	size_t n_seen, seen_cap;

	struct mb_number *numbers;	/* of the record in hand */
	bool *has_number;
	struct mb_number_count *counts;
	size_t next;			/* row */
	struct mb_buf text;		/* of the row in hand */
};

void
mb_groups_open(struct mb_groups **out, const struct mb_query *q,
    uint64_t seed)
{
	struct mb_groups *g = mb_zalloc(sizeof *g);
	size_t n = q->n_numbers;

	*g = (struct mb_groups){ .q = q, .seed = seed };
	g->state_off = sizeof(struct group) + q->n_keys * sizeof(struct key);
	g->state_off = (g->state_off + 15) & ~(size_t)15;
	g->group_size = g->state_off + q->state_size;
	g->numbers = mb_realloc_array(NULL, n, sizeof *g->numbers);
	g->has_number = mb_realloc_array(NULL, n, sizeof *g->has_number);
	g->counts = mb_zalloc(n * sizeof *g->counts);
	*out = g;
}

static void
table_clear(struct table *t)
{
	/* What a large batch needed is not kept for the small ones after. */
	if (t->size > 4096) {
		free(t->cells);
		*t = (struct table){ 0 };
	} else if (t->size > 0) {
		memset(t->cells, 0, t->size * sizeof *t->cells);
	}
}

void
mb_groups_reset(struct mb_groups *g)
{
	table_clear(&g->table);
	table_clear(&g->seen_table);
	if (g->cap > 4096) {
		free(g->groups);
		g->groups = NULL;
		g->cap = 0;
	}
	if (g->seen_cap > 4096) {
		free(g->seen);
		g->seen = NULL;
		g->seen_cap = 0;
	}
	g->n = g->n_seen = g->next = 0;
	memset(g->counts, 0, g->q->n_numbers * sizeof *g->counts);
	mb_arena_reset(&g->arena);
}

void
mb_groups_close(struct mb_groups *g)
{
	if (g == NULL)
		return;
	free(g->table.cells);
	free(g->groups);
	free(g->seen_table.cells);
	free(g->seen);
	free(g->numbers);
	free(g->has_number);
	free(g->counts);
	mb_buf_release(&g->text);
	mb_arena_release(&g->arena);
	free(g);
}

static void *
state_of(const struct mb_groups *g, struct group *group, size_t slot)
{
	return (char *)group + g->state_off + g->q->slots[slot].off;
}

static void
table_place(struct table *t, uint64_t hash, size_t entry)
{
	size_t i = hash & (t->size - 1);

	while (t->cells[i].entry != 0)
		i = (i + 1) & (t->size - 1);
	t->cells[i] = (struct cell){ (uint32_t)(hash >> 32),
		(uint32_t)entry + 1 };
}

/* Make room for one more; true if the table is new and to be filled. */
static bool
table_reserve(struct table *t, size_t n_entries)
{
	if (n_entries + 1 <= t->size / 2)
		return false;
	t->size = t->size == 0 ? 64 : t->size * 2;
	free(t->cells);
	t->cells = mb_zalloc(t->size * sizeof *t->cells);
	return true;
}

static uint64_t
hash_keys(const struct mb_groups *g, const struct mb_value *values)
{
	const struct mb_query *q = g->q;
	uint64_t hash = g->seed;

	/* Null is told from empty text by another seed. */
	for (size_t i = 0; i < q->n_keys; i++) {
		const struct mb_value *v = &values[q->keys[i].field];

		hash = mb_hash64(v->p, v->len,
		    hash ^ (v->kind == MB_NULL ? 1 : 0));
	}
	return hash;
}

static bool
same_text(const struct key *k, const char *p, size_t len, bool is_null)
{
	return k->len == len && (k->kind == MB_NULL) == is_null &&
	    memcmp(k->p, p, len) == 0;
}

static bool
has_keys(const struct mb_groups *g, const struct group *group,
    const struct mb_value *values)
{
	for (size_t i = 0; i < g->q->n_keys; i++) {
		const struct mb_value *v = &values[g->q->keys[i].field];

		if (!same_text(&group->key[i], v->p, v->len,
		    v->kind == MB_NULL))
			return false;
	}
	return true;
}

/* Put a group into the table and the list. */
static void
insert(struct mb_groups *g, struct group *group)
{
	if (g->n == g->cap) {
		g->cap = g->cap == 0 ? 64 : g->cap * 2;
		g->groups = mb_realloc_array(g->groups, g->cap,
		    sizeof *g->groups);
	}
	if (table_reserve(&g->table, g->n))
		for (size_t i = 0; i < g->n; i++)
			table_place(&g->table, g->groups[i]->hash, i);
	table_place(&g->table, group->hash, g->n);
	g->groups[g->n++] = group;
}

static struct group *
find_group(struct mb_groups *g, const struct mb_value *values,
    uint64_t ordinal)
{
	const struct mb_query *q = g->q;
	uint64_t hash = hash_keys(g, values);
	uint32_t tag = (uint32_t)(hash >> 32);
	size_t mask = g->table.size - 1;
	struct group *group;

	if (g->table.size > 0)
		for (size_t i = hash & mask; g->table.cells[i].entry != 0;
		    i = (i + 1) & mask) {
			if (g->table.cells[i].tag != tag)
				continue;
			group = g->groups[g->table.cells[i].entry - 1];
			if (group->hash == hash && has_keys(g, group, values))
				return group;
		}
	group = mb_arena_alloc(&g->arena, g->group_size);
	memset(group, 0, g->group_size);
	group->hash = hash;
	group->ordinal = ordinal;
	for (size_t i = 0; i < q->n_keys; i++) {
		const struct mb_value *v = &values[q->keys[i].field];

		group->key[i] = (struct key){
			mb_arena_dup(&g->arena, v->p, v->len),
			(uint32_t)v->len, v->kind };
	}
	insert(g, group);
	return group;
}

/* Has the group seen this value in this slot?  If not, it now has. */
static void
see(struct mb_groups *g, struct group *group, size_t slot, const char *p,
    size_t len)
{
	/* Groups have different addresses and ordinals; hashes may repeat. */
	uint64_t hash = mb_hash64(p, len, g->seed ^ group->hash ^
	    (slot + 1) * 0x9e3779b97f4a7c15u);
	uint32_t tag = (uint32_t)(hash >> 32);
	size_t mask = g->seen_table.size - 1;
	struct seen *s;

	if (g->seen_table.size > 0)
		for (size_t i = hash & mask; g->seen_table.cells[i].entry != 0;
		    i = (i + 1) & mask) {
			if (g->seen_table.cells[i].tag != tag)
				continue;
			s = g->seen[g->seen_table.cells[i].entry - 1];
			if (s->hash == hash && s->group == group &&
			    s->slot == slot && s->len == len &&
			    memcmp(s->text, p, len) == 0)
				return;
		}
	s = mb_arena_alloc(&g->arena, sizeof *s + len);
	*s = (struct seen){ .hash = hash, .group = group,
		.slot = (uint32_t)slot, .len = (uint32_t)len };
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
	mb_accum_add_distinct(state_of(g, group, slot));
}

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

bool
mb_groups_add(struct mb_groups *g, const struct mb_value *values,
    uint64_t ordinal, size_t *culprit)
{
	const struct mb_query *q = g->q;
	struct group *group;

	if (!read_numbers(g, values, culprit))
		return false;
	group = find_group(g, values, ordinal);
	for (size_t i = 0; i < q->n_slots; i++) {
		const struct mb_slot *s = &q->slots[i];
		struct mb_value v = s->kind == MB_SLOT_RECORDS ?
		    mb_value_null() : values[s->field];

		if (s->kind == MB_SLOT_DISTINCT) {
			if (v.kind != MB_NULL)
				see(g, group, i, v.p, v.len);
			continue;
		}
		mb_accum_add(s->kind, state_of(g, group, i), v,
		    s->kind >= MB_SLOT_SUM && g->has_number[s->number] ?
		    &g->numbers[s->number] : NULL, ordinal, &g->arena);
	}
	return true;
}

struct mb_number_count
mb_groups_numbers(const struct mb_groups *g, size_t i)
{
	return g->counts[i];
}

/* The group of g that has the keys of `other`, or NULL. */
static struct group *
find_same(struct mb_groups *g, uint64_t hash, const struct group *other)
{
	size_t mask = g->table.size - 1, k;
	struct group *group;

	if (g->table.size == 0)
		return NULL;
	for (size_t i = hash & mask; g->table.cells[i].entry != 0;
	    i = (i + 1) & mask) {
		group = g->groups[g->table.cells[i].entry - 1];
		if (group->hash != hash)
			continue;
		for (k = 0; k < g->q->n_keys; k++)
			if (!same_text(&group->key[k], other->key[k].p,
			    other->key[k].len, other->key[k].kind == MB_NULL))
				break;
		if (k == g->q->n_keys)
			return group;
	}
	return NULL;
}

static uint64_t
rehash(const struct mb_groups *g, const struct group *group)
{
	uint64_t hash = g->seed;

	for (size_t i = 0; i < g->q->n_keys; i++)
		hash = mb_hash64(group->key[i].p, group->key[i].len,
		    hash ^ (group->key[i].kind == MB_NULL ? 1 : 0));
	return hash;
}

static void
merge_group(struct mb_groups *g, struct mb_groups *from, struct group *other)
{
	const struct mb_query *q = g->q;
	uint64_t hash = g->seed == from->seed ? other->hash :
	    rehash(g, other);
	struct group *group = find_same(g, hash, other);

	if (group == NULL) {
		/* It moves as it is; what it has seen is counted anew. */
		other->hash = hash;
		for (size_t i = 0; i < q->n_slots; i++)
			if (q->slots[i].kind == MB_SLOT_DISTINCT)
				memset(state_of(g, other, i), 0,
				    mb_accum_size(MB_SLOT_DISTINCT));
		other->merged = other;
		insert(g, other);
		return;
	}
	if (other->ordinal < group->ordinal) {
		/* As it was first written, so it is shown. */
		group->ordinal = other->ordinal;
		memcpy(group->key, other->key, q->n_keys * sizeof *group->key);
	}
	for (size_t i = 0; i < q->n_slots; i++)
		mb_accum_merge(q->slots[i].kind, state_of(g, group, i),
		    state_of(from, other, i), &g->arena);
	other->merged = group;
}

void
mb_groups_merge(struct mb_groups *g, struct mb_groups *from)
{
	for (size_t i = 0; i < from->n; i++)
		merge_group(g, from, from->groups[i]);
	for (size_t i = 0; i < from->n_seen; i++) {
		const struct seen *s = from->seen[i];

		see(g, s->group->merged, s->slot, s->text, s->len);
	}
	for (size_t i = 0; i < g->q->n_numbers; i++) {
		g->counts[i].n_values += from->counts[i].n_values;
		g->counts[i].n_numbers += from->counts[i].n_numbers;
	}
}

/* What --sort compares: numbers, then texts, null last. */
struct sort_key {
	enum { SORT_NUMBER, SORT_TEXT, SORT_NULL } rank;
	struct mb_number number;
};

struct sort_row {
	struct group *group;
	struct sort_key *keys;
};

static int
compare_rows(const void *left, const void *right, void *n_keys)
{
	const struct sort_row *a = left, *b = right;

	for (size_t i = 0; i < *(const size_t *)n_keys; i++) {
		const struct key *x = &a->group->key[i];
		const struct key *y = &b->group->key[i];
		size_t len = x->len < y->len ? x->len : y->len;
		int c;

		if (a->keys[i].rank != b->keys[i].rank)
			return a->keys[i].rank < b->keys[i].rank ? -1 : 1;
		if (a->keys[i].rank == SORT_NUMBER) {
			c = mb_number_compare(&a->keys[i].number,
			    &b->keys[i].number);
			if (c != 0)
				return c;
		}
		/* 1 and 1.0 are two groups of equal value. */
		c = memcmp(x->p, y->p, len);
		if (c != 0)
			return c;
		if (x->len != y->len)
			return x->len < y->len ? -1 : 1;
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
		rows[i] = (struct sort_row){ g->groups[i], keys + i * n_keys };
		for (size_t k = 0; k < n_keys; k++) {
			const struct key *key = &g->groups[i]->key[k];

			rows[i].keys[k].rank = key->kind == MB_NULL ?
			    SORT_NULL :
			    mb_number_parse(&rows[i].keys[k].number,
			    (struct mb_str){ key->p, key->len }) ?
			    SORT_NUMBER : SORT_TEXT;
		}
	}
	qsort_r(rows, g->n, sizeof *rows, compare_rows, &n_keys);
	for (size_t i = 0; i < g->n; i++)
		g->groups[i] = rows[i].group;
	free(keys);
	free(rows);
}

static int
compare_ordinals(const void *left, const void *right)
{
	const struct group *a = *(struct group *const *)left;
	const struct group *b = *(struct group *const *)right;

	return a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

void
mb_groups_finish(struct mb_groups *g, bool is_sorted)
{
	size_t i;

	if (g->q->n_keys == 0 && g->n == 0)
		(void)find_group(g, NULL, 0);
	if (is_sorted && g->q->n_keys > 0 && g->n > 1) {
		sort_by_keys(g);
		return;
	}
	for (i = 1; i < g->n; i++)
		if (g->groups[i - 1]->ordinal > g->groups[i]->ordinal)
			break;
	if (i < g->n)
		qsort(g->groups, g->n, sizeof *g->groups, compare_ordinals);
}

/* "status=200, country=de" for a message. */
static void
describe(const struct mb_groups *g, const struct group *group,
    struct mb_buf *out)
{
	for (size_t i = 0; i < g->q->n_keys; i++) {
		size_t len = group->key[i].len;

		if (i > 0)
			mb_buf_adds(out, ", ");
		mb_buf_adds(out, g->q->keys[i].name);
		mb_buf_addc(out, '=');
		mb_show(out, (struct mb_str){ group->key[i].p,
		    len < 40 ? len : 40 });
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
	group = g->groups[g->next++];
	for (size_t i = 0; i < q->n_keys; i++)
		values[i] = (struct mb_value){ group->key[i].p,
			group->key[i].len, group->key[i].kind };
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
