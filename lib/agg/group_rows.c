#include "agg/group_parts.h"

#include <stdlib.h>
#include <string.h>

#include "agg/accum.h"
#include "base/parse.h"

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

void
mb_group_cursor_init(struct mb_group_cursor *c, const struct mb_groups *g)
{
	*c = (struct mb_group_cursor){ .g = g, .results = mb_realloc_array(NULL,
	    g->q->n_aggs * MB_ROWS, sizeof *c->results) };
}

void
mb_group_cursor_release(struct mb_group_cursor *c)
{
	mb_buf_release(&c->text);
	free(c->results);
	*c = (struct mb_group_cursor){ 0 };
}

/* What begins at the cursor's place, in the order of one part. */
static struct span
rest_of_span(const struct mb_group_cursor *c)
{
	struct span s = ((const struct span *)(void *)c->g->spans.p)[c->span];

	s.begin += c->at;
	return s;
}

/* Past n groups, of n_rest in the span. */
static void
step(struct mb_group_cursor *c, size_t n, size_t n_rest)
{
	c->n -= n;
	c->at = n < n_rest ? c->at + n : 0;
	c->span += n == n_rest;
}

void
mb_group_cursor_deal(struct mb_group_cursor *from, struct mb_group_cursor *to,
    size_t n)
{
	n = n < from->n ? n : from->n;
	to->span = from->span;
	to->at = from->at;
	to->n = n;
	if (from->g->sorted != NULL) {
		from->at += n;
		from->n -= n;
		return;
	}
	while (n > 0) {
		struct span s = rest_of_span(from);
		size_t n_rest = s.end - s.begin, k = n < n_rest ? n : n_rest;

		step(from, k, n_rest);
		n -= k;
	}
}

/* The next groups, at most MB_ROWS, where they are; how many. */
static size_t
take_groups(struct mb_group_cursor *c)
{
	size_t n = 0;

	while (n < MB_ROWS && c->n > 0) {
		struct span s = rest_of_span(c);
		size_t n_rest = s.end - s.begin;
		size_t end = c->n < n_rest ? s.begin + c->n : s.end, i;

		for (i = s.begin; n < MB_ROWS && i < end; i++) {
			struct mb_group_key *group = mb_keys_group(
			    s.part->keys, s.part->order != NULL ?
			    s.part->order[i] : i);

			c->groups[n] = (char *)group;
			n += !mb_group_is_gone(group);
		}
		step(c, i - s.begin, n_rest);
	}
	return n;
}

static size_t
take_sorted(struct mb_group_cursor *c)
{
	struct mb_group_key *const *sorted = c->g->sorted + c->at;
	size_t n = c->n < MB_ROWS ? c->n : MB_ROWS;

	memcpy(c->groups, sorted, n * sizeof *c->groups);
	c->at += n;
	c->n -= n;
	/* They come from afar: by the time of the next call they are here. */
	for (size_t i = n; i < 2 * n && i < n + c->n; i++)
		__builtin_prefetch(sorted[i]);
	return n;
}

size_t
mb_group_cursor_next(struct mb_group_cursor *c)
{
	return c->g->sorted != NULL ? take_sorted(c) : take_groups(c);
}

int
mb_group_cursor_results(struct mb_group_cursor *c, size_t n,
    struct mb_err *err)
{
	const struct mb_groups *g = c->g;
	const struct mb_query *q = g->q;

	mb_buf_reset(&c->text);
	mb_buf_reserve(&c->text, n * q->n_aggs * MB_ACCUM_TEXT);
	for (size_t i = 0; i < q->n_aggs; i++) {
		const struct mb_aggregate *a = &q->aggs[i];
		const struct mb_slot *s = &q->slots[a->slot];
		size_t done = mb_accum_results(a->op, s->kind, c->groups,
		    g->state_off + s->off, n, &c->text,
		    c->results + i * MB_ROWS, err);

		if (done < n) {
			name_culprit(g, a, c->groups[done], err);
			return -1;
		}
	}
	return (int)n;
}

int
mb_groups_next(struct mb_groups *g, struct mb_value *values, size_t stride,
    struct mb_err *err)
{
	const struct mb_query *q = g->q;
	const struct mb_group_cursor *c = &g->cursor;
	int n = mb_group_cursor_results(&g->cursor,
	    mb_group_cursor_next(&g->cursor), err);

	for (size_t i = 0; n > 0 && i < (size_t)n; i++, values += stride) {
		for (size_t k = 0; k < q->n_keys; k++)
			values[k] = mb_group_cursor_key(c, i, k);
		for (size_t k = 0; k < q->n_aggs; k++)
			values[q->n_keys + k] = c->results[k * MB_ROWS + i];
	}
	return n;
}
