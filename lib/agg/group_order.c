#include "agg/group_parts.h"

#include <stdlib.h>
#include <string.h>

/* What --sort compares: numbers, then texts, null last. */
struct sort_key {
	enum { SORT_NUMBER, SORT_TEXT, SORT_NULL } rank;
	struct mb_str text;
	struct mb_number number;
};

struct sort_row {
	struct mb_group_key *group;
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
set_sort_keys(struct sort_row *row, size_t n_keys)
{
	for (size_t k = 0; k < n_keys; k++) {
		const struct mb_group_key *key = &row->group[k];
		struct sort_key *to = &row->keys[k];

		to->text = mb_group_key_text(key);
		to->rank = mb_group_key_kind(key) == MB_NULL ? SORT_NULL :
		    mb_number_parse(&to->number, to->text) ?
		    SORT_NUMBER : SORT_TEXT;
	}
}

static void
sort_by_keys(struct mb_groups *g)
{
	size_t n_keys = g->q->n_keys, n = mb_groups_count(g), n_rows = 0;
	struct sort_row *rows = mb_realloc_array(NULL, n, sizeof *rows);
	struct sort_key *keys = mb_realloc_array(NULL, n * n_keys,
	    sizeof *keys);

	for (size_t p = 0; p < g->n_parts; p++)
		for (size_t i = 0; i < mb_keys_count(g->parts[p]->keys); i++) {
			struct mb_group_key *group = mb_keys_group(
			    g->parts[p]->keys, i);
			struct sort_row *row = &rows[n_rows];

			if (mb_group_is_gone(group))
				continue;
			*row = (struct sort_row){ group,
				keys + n_rows++ * n_keys };
			set_sort_keys(row, n_keys);
		}
	qsort_r(rows, n, sizeof *rows, compare_rows, &n_keys);
	g->sorted = mb_realloc_array(NULL, n, sizeof *g->sorted);
	for (size_t i = 0; i < n; i++)
		g->sorted[i] = rows[i].group;
	free(keys);
	free(rows);
}

/*
 * By first appearance: first the groups of each part.
 */

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
 * They are nearly in order as they stand: those of odd records come a little
 * late, and may be many.  So what is in order is taken out, and from the others
 * again, as long as that is worth it.
 */
static void
sort_by_ordinals(struct mb_groups *g)
{
	enum { LEVELS = 256 };	/* a quarter less at each */
	size_t n = mb_keys_count(g->keys);
	uint32_t *spare = mb_realloc_array(NULL, n, sizeof *spare);
	size_t begin[LEVELS], n_levels = 0, at = 0, n_rising;

	g->order = mb_realloc_array(NULL, n, sizeof *g->order);
	for (size_t i = 0; i < n; i++)
		g->order[i] = (uint32_t)i;

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

/*
 * Then those of all parts.  A block of records is one thread's, and so are the
 * groups that appeared in it: they make a span.
 */

static uint64_t
ordinal_at(const struct span *s)
{
	return ordinal_of(s->part, s->part->order != NULL ?
	    s->part->order[s->begin] : (uint32_t)s->begin);
}

/* How many of them come before the ordinal; in order, and mostly many. */
static size_t
count_before(const struct span *s, uint64_t ordinal)
{
	size_t low = 0, high = 1, n = s->end - s->begin;
	struct span at = *s;

	for (; high < n; high *= 2) {
		at.begin = s->begin + high;
		if (ordinal_at(&at) > ordinal)
			break;
		low = high;
	}
	high = high < n ? high : n;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		at.begin = s->begin + middle;
		if (ordinal_at(&at) > ordinal)
			high = middle;
		else
			low = middle;
	}
	return high;
}

/* The rest of the parts: the first comes first, and to which ordinal? */
static uint64_t
put_first(struct span *rest, size_t n)
{
	uint64_t least = ordinal_at(&rest[0]), next = UINT64_MAX;

	for (size_t i = 1; i < n; i++) {
		uint64_t ordinal = ordinal_at(&rest[i]);
		struct span s = rest[i];

		if (ordinal > least) {
			next = ordinal < next ? ordinal : next;
			continue;
		}
		rest[i] = rest[0];
		rest[0] = s;
		next = least;
		least = ordinal;
	}
	return next;
}

static void
list_spans(struct mb_groups *g)
{
	struct span *rest = mb_realloc_array(NULL, g->n_parts, sizeof *rest);
	size_t n = 0;

	for (size_t i = 0; i < g->n_parts; i++) {
		rest[n] = (struct span){ g->parts[i], 0,
			mb_keys_count(g->parts[i]->keys) };
		n += rest[n].end > 0;
	}
	while (n > 0) {
		uint64_t next = put_first(rest, n);
		struct span s = rest[0];

		s.end = s.begin + count_before(&s, next);
		mb_buf_add(&g->spans, &s, sizeof s);
		rest[0].begin = s.end;
		if (rest[0].begin == rest[0].end)
			rest[0] = rest[--n];
	}
	free(rest);
}

int
mb_groups_finish(struct mb_groups *g, bool is_sorted, struct mb_err *err)
{
	/* Without keys there is one group. */
	if (g->q->n_keys == 0)
		(void)mb_keys_find(g->keys, NULL, NULL, 0);
	if (mb_groups_unite(g, err) < 0)
		return -1;
	g->cursor.span = g->cursor.at = 0;
	g->cursor.n = mb_groups_count(g);
	if (is_sorted && g->q->n_keys > 0) {
		sort_by_keys(g);
		return 0;
	}
	for (size_t i = 0; i < g->n_parts; i++)
		if (!mb_keys_are_in_order(g->parts[i]->keys))
			sort_by_ordinals(g->parts[i]);
	g->cursor.n += g->n_gone;	/* they stand among the others */
	list_spans(g);
	return 0;
}
