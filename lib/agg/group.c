#include "agg/group_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agg/accum.h"
#include "base/hash.h"

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
	g->parts = mb_realloc_array(NULL, 1, sizeof *g->parts);
	g->parts[0] = g;
	g->n_parts = 1;
	mb_group_cursor_init(&g->cursor, g);
	*out = g;
}

void
mb_groups_reset(struct mb_groups *g)
{
	/* Rows that were not asked for may still be under way. */
	mb_csv_pieces_close(g->pieces);
	g->pieces = NULL;
	mb_keys_reset(g->keys);
	mb_totals_reset(g->totals);
	mb_distinct_reset(&g->distinct);
	g->n_parts = 1;
	free(g->order);
	free(g->sorted);
	g->order = NULL;
	g->sorted = NULL;
	mb_buf_reset(&g->spans);
	g->n_gone = 0;
	memset(g->counts, 0, g->q->n_numbers * sizeof *g->counts);
	mb_arena_reset(&g->arena);
}

void
mb_groups_close(struct mb_groups *g)
{
	if (g == NULL)
		return;
	mb_csv_pieces_close(g->pieces);
	mb_group_cursor_release(&g->cursor);
	mb_keys_close(g->keys);
	mb_totals_close(g->totals);
	mb_distinct_release(&g->distinct);
	free(g->key_fields);
	free(g->parts);
	free(g->order);
	free(g->sorted);
	mb_buf_release(&g->spans);
	free(g->numbers);
	free(g->has_number);
	free(g->counts);
	free(g->columns);
	mb_arena_release(&g->arena);
	free(g);
}

/* Has the group seen this value in this slot?  If not, it now has. */
static void
see(struct mb_groups *g, uint32_t group, size_t slot, const char *p,
    size_t len)
{
	if (mb_distinct_see(&g->distinct, group, (uint32_t)slot, p, len))
		mb_accum_add_distinct(state_of(g,
		    mb_keys_group(g->keys, group), slot));
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

void
mb_groups_settle(struct mb_groups *g)
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
		mb_groups_settle(g);
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

static void
add_counts(struct mb_groups *g, const struct mb_groups *from)
{
	for (size_t i = 0; i < g->q->n_numbers; i++) {
		g->counts[i].n_values += from->counts[i].n_values;
		g->counts[i].n_numbers += from->counts[i].n_numbers;
	}
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

	assert(from->n_parts == 1);
	mb_groups_settle(g);
	mb_groups_settle(from);
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
	mb_keys_join(g->keys, from->keys);
	mb_arena_join(&g->arena, &from->arena);
	add_counts(g, from);
}

void
mb_groups_include(struct mb_groups *g, struct mb_groups *from)
{
	size_t n = g->n_parts + from->n_parts;

	g->parts = mb_realloc_array(g->parts, n, sizeof *g->parts);
	memcpy(g->parts + g->n_parts, from->parts,
	    from->n_parts * sizeof *g->parts);
	g->n_parts = n;
	add_counts(g, from);
}

size_t
mb_groups_count(const struct mb_groups *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n_parts; i++)
		n += mb_keys_count(g->parts[i]->keys);
	return n - g->n_gone;
}
