#include "agg/group.h"

#include <stdlib.h>
#include <string.h>

#include "agg/accum.h"
#include "agg/column.h"
#include "agg/distinct.h"
#include "agg/keys.h"
#include "agg/totals.h"
#include "base/hash.h"
#include "base/parse.h"

struct mb_groups {
	const struct mb_query *q;
	struct mb_keys *keys;
	size_t *key_fields;	/* in the query's order */
	size_t state_off;	/* in a group */
	struct mb_distinct distinct;	/* MB_SLOT_DISTINCT */
	struct mb_arena arena;	/* of states */
	struct mb_totals *totals;	/* that aren't in the states yet */
	uint32_t *order;	/* in which groups come out; NULL: as added */

	struct mb_number *numbers;	/* of the record in hand */
	bool *has_number;
	struct mb_number_count *counts;
	size_t next;			/* row */
	struct mb_buf text;		/* of the row in hand */

	/* Rows in hand. */
	struct mb_column *columns;	/* by number */
	uint32_t found[MB_ROWS];	/* the group of each */
	char *groups[MB_ROWS];		/* where it is */
};

void
mb_groups_open(struct mb_groups **out, const struct mb_query *q,
    uint64_t seed)
{
	struct mb_groups *g = mb_zalloc(sizeof *g);
	size_t n = q->n_numbers;

	*g = (struct mb_groups){ .q = q };
	mb_keys_open(&g->keys, q->n_keys, q->state_size, seed);
	g->distinct.seed = mb_hash64("seen", 4, seed);
	g->state_off = mb_keys_state_off(g->keys);
	g->key_fields = mb_realloc_array(NULL, q->n_keys,
	    sizeof *g->key_fields);
	for (size_t k = 0; k < q->n_keys; k++)
		g->key_fields[k] = q->keys[k].field;
	g->numbers = mb_realloc_array(NULL, n, sizeof *g->numbers);
	g->has_number = mb_realloc_array(NULL, n, sizeof *g->has_number);
	g->counts = mb_zalloc(n * sizeof *g->counts);
	g->columns = mb_realloc_array(NULL, n, sizeof *g->columns);
	mb_totals_open(&g->totals, q);
	*out = g;
}

void
mb_groups_reset(struct mb_groups *g)
{
	mb_keys_reset(g->keys);
	mb_totals_reset(g->totals);
	mb_distinct_reset(&g->distinct);
	free(g->order);
	g->order = NULL;
	g->next = 0;
	memset(g->counts, 0, g->q->n_numbers * sizeof *g->counts);
	mb_arena_reset(&g->arena);
}

void
mb_groups_close(struct mb_groups *g)
{
	if (g == NULL)
		return;
	mb_keys_close(g->keys);
	mb_totals_close(g->totals);
	mb_distinct_release(&g->distinct);
	free(g->key_fields);
	free(g->order);
	free(g->numbers);
	free(g->has_number);
	free(g->counts);
	free(g->columns);
	mb_buf_release(&g->text);
	mb_arena_release(&g->arena);
	free(g);
}

static void *
state_of(const struct mb_groups *g, struct mb_group_key *group, size_t slot)
{
	return (char *)group + g->state_off + g->q->slots[slot].off;
}

/* Has the group seen this value in this slot?  If not, it now has. */
static void
see(struct mb_groups *g, uint32_t i, size_t slot, const char *p, size_t len)
{
	if (mb_distinct_see(&g->distinct, i, (uint32_t)slot, p, len))
		mb_accum_add_distinct(state_of(g, mb_keys_group(g->keys, i),
		    slot));
}

/*
 * Records.
 */

/*
 * Before anything is added: a bad record counts nowhere.  But its numbers are
 * seen: a field that has some is not one without any.
 */
static bool
read_numbers(struct mb_groups *g, const struct mb_value *values,
    size_t *culprit)
{
	bool is_good = true;

	for (size_t i = 0; i < g->q->n_numbers; i++) {
		const struct mb_value *v = &values[g->q->numbers[i]];

		g->has_number[i] = false;
		if (v->len == 0)
			continue;	/* null, or as good as */
		g->counts[i].n_values++;
		if (mb_number_parse(&g->numbers[i], mb_value_str(*v))) {
			g->has_number[i] = true;
			g->counts[i].n_numbers++;
		} else if (is_good) {
			*culprit = g->q->numbers[i];
			is_good = false;
		}
	}
	return is_good;
}

bool
mb_groups_add(struct mb_groups *g, const struct mb_value *values,
    uint64_t ordinal, size_t *culprit)
{
	const struct mb_query *q = g->q;
	struct mb_group_key *group;
	uint32_t found;

	if (!read_numbers(g, values, culprit))
		return false;
	found = mb_keys_find(g->keys, values, g->key_fields, ordinal);
	group = mb_keys_group(g->keys, found);
	/* Odd ones among rows come late. */
	if (mb_keys_lower_ordinal(g->keys, found, ordinal))
		for (size_t k = 0; k < q->n_keys; k++)
			mb_group_key_set_kind(&group[k],
			    values[q->keys[k].field].kind);
	for (size_t i = 0; i < q->n_slots; i++) {
		const struct mb_slot *s = &q->slots[i];
		struct mb_value v = s->kind == MB_SLOT_RECORDS ?
		    mb_value_null() : values[s->field];

		if (s->kind == MB_SLOT_DISTINCT) {
			if (v.kind != MB_NULL)
				see(g, found, i, v.p, v.len);
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

/* The values of a slot of the rows, whose groups are found. */
static void
see_rows(struct mb_groups *g, size_t slot, const struct mb_rows *rows,
    const struct mb_view *view)
{
	bool is_new[MB_ROWS];

	mb_distinct_see_rows(&g->distinct, g->found, (uint32_t)slot, rows,
	    view, is_new);
	for (size_t i = 0; i < rows->n; i++)
		if (is_new[i])
			mb_accum_add_distinct(state_of(g,
			    mb_keys_group(g->keys, g->found[i]), slot));
}

static void
put_total(void *context, size_t group, size_t slot,
    const struct mb_total *total)
{
	struct mb_groups *g = context;

	mb_accum_add_total(g->q->slots[slot].kind,
	    state_of(g, mb_keys_group(g->keys, group), slot), total,
	    &g->arena);
}

/* The totals into the states. */
static void
settle(struct mb_groups *g)
{
	mb_totals_each(g->totals, put_total, g);
	mb_totals_reset(g->totals);
}

void
mb_groups_add_rows(struct mb_groups *g, struct mb_rows *rows,
    uint64_t ordinal)
{
	const struct mb_query *q = g->q;
	const bool *is_taken;
	bool is_located = false;
	size_t n_groups;

	read_columns(g, rows);
	if (rows->n == 0)
		return;
	for (size_t i = 0; i < q->n_numbers; i++) {
		g->counts[i].n_values += g->columns[i].n_values;
		g->counts[i].n_numbers += g->columns[i].n_values;
	}
	mb_keys_find_rows(g->keys, rows, g->key_fields, ordinal, g->found);
	n_groups = mb_keys_count(g->keys);
	while (!mb_totals_begin(g->totals, rows, g->columns, n_groups))
		settle(g);
	is_taken = mb_totals_add(g->totals, rows, g->columns, n_groups,
	    g->found);
	for (size_t i = 0; i < q->n_slots; i++) {
		if (is_taken[i])
			continue;
		const struct mb_slot *s = &q->slots[i];
		const struct mb_view *v = s->kind == MB_SLOT_RECORDS ? NULL :
		    view_of(rows, s->field);

		if (s->kind == MB_SLOT_DISTINCT) {
			see_rows(g, i, rows, v);
			continue;
		}
		if (!is_located)
			mb_keys_locate(g->keys, g->found, rows->n, g->groups);
		is_located = true;
		mb_accum_add_rows(s->kind, g->groups, g->state_off + s->off,
		    rows, v, s->kind >= MB_SLOT_SUM ?
		    &g->columns[s->number] : NULL, ordinal, &g->arena);
	}
}

struct mb_number_count
mb_groups_numbers(const struct mb_groups *g, size_t i)
{
	return g->counts[i];
}

/* Groups begin … begin + n - 1 of `from` into ours: g->found says which. */
static void
merge_some(struct mb_groups *g, struct mb_groups *from, size_t begin,
    size_t n)
{
	const struct mb_query *q = g->q;
	bool is_new[MB_ROWS], is_earlier[MB_ROWS];

	mb_keys_merge(g->keys, from->keys, begin, n, g->found, is_new,
	    is_earlier);
	for (size_t i = 0; i < n; i++) {
		struct mb_group_key *group = mb_keys_group(g->keys, g->found[i]);
		struct mb_group_key *other = mb_keys_group(from->keys, begin + i);

		/* As it was first written, so it is shown. */
		if (!is_new[i] && is_earlier[i])
			memcpy(group, other, q->n_keys * sizeof *group);
		for (size_t s = 0; s < q->n_slots; s++)
			if (!is_new[i])
				mb_accum_merge(q->slots[s].kind,
				    state_of(g, group, s),
				    state_of(from, other, s), &g->arena);
			else if (q->slots[s].kind == MB_SLOT_DISTINCT)
				/* What it has seen is counted anew. */
				memset(state_of(g, group, s), 0,
				    mb_accum_size(MB_SLOT_DISTINCT));
	}
}

void
mb_groups_merge(struct mb_groups *g, struct mb_groups *from)
{
	size_t n_from = mb_keys_count(from->keys);
	uint32_t *merged;

	settle(g);
	settle(from);
	merged = from->distinct.n == 0 ? NULL :
	    mb_realloc_array(NULL, n_from, sizeof *merged);

	for (size_t begin = 0; begin < n_from; begin += MB_ROWS) {
		size_t n = n_from - begin < MB_ROWS ? n_from - begin :
		    MB_ROWS;

		merge_some(g, from, begin, n);
		mb_keys_forget(from->keys, begin + n);
		if (merged != NULL)
			memcpy(merged + begin, g->found, n * sizeof *merged);
	}
	for (size_t i = 0; i < from->distinct.n; i++) {
		const struct mb_seen *s = from->distinct.seen[i];

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
	size_t n_keys = g->q->n_keys, n = mb_keys_count(g->keys);
	struct sort_row *rows = mb_realloc_array(NULL, n, sizeof *rows);
	struct sort_key *keys = mb_realloc_array(NULL, n * n_keys,
	    sizeof *keys);

	for (size_t i = 0; i < n; i++) {
		rows[i] = (struct sort_row){ (uint32_t)i, keys + i * n_keys };
		for (size_t k = 0; k < n_keys; k++) {
			const struct mb_group_key *key = &mb_keys_group(
			    g->keys, i)[k];
			struct sort_key *to = &rows[i].keys[k];

			to->text = mb_group_key_text(key);
			to->rank = mb_group_key_kind(key) == MB_NULL ? SORT_NULL :
			    mb_number_parse(&to->number, to->text) ?
			    SORT_NUMBER : SORT_TEXT;
		}
	}
	qsort_r(rows, n, sizeof *rows, compare_rows, &n_keys);
	for (size_t i = 0; i < n; i++)
		g->order[i] = rows[i].group;
	free(keys);
	free(rows);
}

static uint64_t
ordinal_of(const struct mb_groups *g, uint32_t group)
{
	return mb_keys_ordinal(g->keys, group);
}

/* Where the run that begins at `i` ends: the groups up to there are in order. */
static size_t
end_of_run(const struct mb_groups *g, const uint32_t *order, size_t i,
    size_t n)
{
	while (++i < n && ordinal_of(g, order[i - 1]) <
	    ordinal_of(g, order[i]))
		;
	return i < n ? i : n;
}

/* Two runs, [0, middle) and [middle, n), into one, in `to`. */
static void
join_runs(const struct mb_groups *g, const uint32_t *from, size_t middle,
    size_t n, uint32_t *to)
{
	size_t a = 0, b = middle, k = 0;

	while (a < middle && b < n)
		to[k++] = ordinal_of(g, from[a]) < ordinal_of(g, from[b]) ?
		    from[a++] : from[b++];
	memcpy(to + k, from + a, (middle - a) * sizeof *to);
	k += middle - a;
	memcpy(to + k, from + b, (n - b) * sizeof *to);
}

/* Join run after run, two by two, until there is one. */
static void
sort_runs(const struct mb_groups *g, uint32_t *order, uint32_t *spare,
    size_t n)
{
	while (end_of_run(g, order, 0, n) < n) {
		for (size_t i = 0; i < n; ) {
			size_t middle = end_of_run(g, order, i, n);
			size_t end = middle < n ?
			    end_of_run(g, order, middle, n) : n;

			join_runs(g, order + i, middle - i, end - i,
			    spare + i);
			i = end;
		}
		memcpy(order, spare, n * sizeof *order);
	}
}

/*
 * Put those first that are greater than all before them; how many there are.
 * The others follow as they were.
 */
static size_t
put_rising_first(const struct mb_groups *g, uint32_t *order, uint32_t *spare,
    size_t n)
{
	size_t n_rising = 0, n_others = 0;
	uint64_t greatest = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t ordinal = ordinal_of(g, order[i]);

		if (i == 0 || ordinal > greatest) {
			greatest = ordinal;
			order[n_rising++] = order[i];
		} else {
			spare[n_others++] = order[i];
		}
	}
	memcpy(order + n_rising, spare, n_others * sizeof *order);
	return n_rising;
}

/*
 * By first appearance.  The groups of each worker are nearly in order as they
 * stand: those of odd records come a little late, and may be many.  So what is
 * in order is taken out, and from the others again, as long as that is worth
 * it.
 */
static void
sort_by_ordinals(struct mb_groups *g, size_t n)
{
	enum { LEVELS = 256 };	/* a quarter less at each */
	uint32_t *spare = mb_realloc_array(NULL, n, sizeof *spare);
	size_t begin[LEVELS], n_levels = 0, at = 0, n_rising;

	for (;;) {
		n_rising = put_rising_first(g, g->order + at, spare, n - at);
		if (n_rising == n - at)
			break;
		if (n_rising < (n - at) / 4 || n_levels == LEVELS) {
			sort_runs(g, g->order + at, spare, n - at);
			break;
		}
		begin[n_levels++] = at;
		at += n_rising;
	}
	while (n_levels-- > 0) {
		join_runs(g, g->order + begin[n_levels], at - begin[n_levels],
		    n - begin[n_levels], spare);
		at = begin[n_levels];
		memcpy(g->order + at, spare, (n - at) * sizeof *spare);
	}
	free(spare);
}

void
mb_groups_finish(struct mb_groups *g, bool is_sorted)
{
	size_t n;

	settle(g);
	/* Without keys there is one group. */
	if (g->q->n_keys == 0)
		(void)mb_keys_find(g->keys, NULL, NULL, 0);
	n = mb_keys_count(g->keys);
	is_sorted = is_sorted && g->q->n_keys > 0;
	if (n < 2 || (!is_sorted && mb_keys_are_in_order(g->keys)))
		return;
	g->order = mb_realloc_array(NULL, n, sizeof *g->order);
	for (size_t i = 0; i < n; i++)
		g->order[i] = (uint32_t)i;
	if (is_sorted)
		sort_by_keys(g);
	else
		sort_by_ordinals(g, n);
}

/* "status=200, country=de" for a message. */
static void
describe(const struct mb_groups *g, const struct mb_group_key *group,
    struct mb_buf *out)
{
	for (size_t i = 0; i < g->q->n_keys; i++) {
		struct mb_str text = mb_group_key_text(&group[i]);

		if (i > 0)
			mb_buf_adds(out, ", ");
		mb_buf_adds(out, g->q->keys[i].name);
		mb_buf_addc(out, '=');
		mb_show(out, (struct mb_str){ text.p,
		    text.len < 40 ? text.len : 40 });
	}
}

/* "bytes_sum of status=200, country=de: " before what is in err. */
static void
name_culprit(const struct mb_groups *g, const struct mb_aggregate *a,
    const void *group, struct mb_err *err)
{
	struct mb_buf who = { 0 };

	describe(g, group, &who);
	mb_wrap(err, "%s%s%s", a->name, who.len > 0 ? " of " : "",
	    mb_buf_str(&who));
	mb_buf_release(&who);
}

int
mb_groups_next(struct mb_groups *g, struct mb_value *values, size_t stride,
    struct mb_err *err)
{
	const struct mb_query *q = g->q;
	size_t n = mb_keys_count(g->keys) - g->next;

	n = n < MB_ROWS ? n : MB_ROWS;
	for (size_t i = 0; i < n; i++)
		g->found[i] = g->order != NULL ? g->order[g->next + i] :
		    (uint32_t)(g->next + i);
	mb_keys_locate(g->keys, g->found, n, g->groups);
	for (size_t i = 0; i < n && g->order != NULL; i++)
		__builtin_prefetch(g->groups[i]);
	g->next += n;
	for (size_t k = 0; k < q->n_keys; k++)
		for (size_t i = 0; i < n; i++) {
			const struct mb_group_key *group =
			    (const void *)g->groups[i];
			struct mb_str text = mb_group_key_text(&group[k]);

			values[i * stride + k] = (struct mb_value){ text.p,
				text.len, mb_group_key_kind(&group[k]) };
		}
	mb_buf_reset(&g->text);
	mb_buf_reserve(&g->text, n * q->n_aggs * MB_ACCUM_TEXT);
	for (size_t i = 0; i < q->n_aggs; i++) {
		const struct mb_aggregate *a = &q->aggs[i];
		const struct mb_slot *s = &q->slots[a->slot];
		size_t done = mb_accum_results(a->op, s->kind, g->groups,
		    g->state_off + s->off, n, &g->text,
		    values + q->n_keys + i, stride, err);

		if (done < n) {
			name_culprit(g, a, g->groups[done], err);
			return -1;
		}
	}
	return (int)n;
}

size_t
mb_groups_count(const struct mb_groups *g)
{
	return mb_keys_count(g->keys);
}

uint64_t
mb_groups_probes(const struct mb_groups *g)
{
	return mb_keys_probes(g->keys);
}
