#include "agg/group_parts.h"

#include <string.h>

#include "agg/accum.h"
#include "base/load.h"
#include "base/parse.h"
#include "record/writer.h"

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

/* The group that comes out i-th. */
static inline uint32_t
group_of(const struct mb_groups *g, size_t i)
{
	return g->order != NULL ? g->order[i] : (uint32_t)i;
}

/*
 * The next groups, at most MB_ROWS: where they are, and the results.  How
 * many, or -1.
 */
static int
take(struct mb_groups *g, struct mb_err *err)
{
	const struct mb_query *q = g->q;
	const size_t n_groups = mb_keys_count(g->keys);
	size_t n = n_groups - g->next;

	n = n < MB_ROWS ? n : MB_ROWS;
	for (size_t i = 0; i < n; i++)
		g->found[i] = group_of(g, g->next + i);
	mb_keys_locate(g->keys, g->found, n, g->groups);
	g->next += n;
	/* They come from afar: by the time of the next call they are here. */
	for (size_t i = g->next; i < g->next + n && i < n_groups; i++)
		__builtin_prefetch(mb_keys_group(g->keys, group_of(g, i)));
	mb_buf_reset(&g->text);
	mb_buf_reserve(&g->text, n * q->n_aggs * MB_ACCUM_TEXT);
	for (size_t i = 0; i < q->n_aggs; i++) {
		const struct mb_aggregate *a = &q->aggs[i];
		const struct mb_slot *s = &q->slots[a->slot];
		size_t done = mb_accum_results(a->op, s->kind, g->groups,
		    g->state_off + s->off, n, &g->text,
		    g->results + i * MB_ROWS, err);

		if (done < n) {
			name_culprit(g, a, g->groups[done], err);
			return -1;
		}
	}
	return (int)n;
}

static inline const struct mb_group_key *
keys_of(const struct mb_groups *g, size_t i)
{
	return (const void *)g->groups[i];
}

static struct mb_value
value_of(const struct mb_group_key *key)
{
	struct mb_str text = mb_group_key_text(key);

	return (struct mb_value){ text.p, text.len, mb_group_key_kind(key) };
}

int
mb_groups_next(struct mb_groups *g, struct mb_value *values, size_t stride,
    struct mb_err *err)
{
	const struct mb_query *q = g->q;
	int n = take(g, err);

	for (size_t i = 0; n > 0 && i < (size_t)n; i++, values += stride) {
		for (size_t k = 0; k < q->n_keys; k++)
			values[k] = value_of(&keys_of(g, i)[k]);
		for (size_t k = 0; k < q->n_aggs; k++)
			values[q->n_keys + k] = g->results[k * MB_ROWS + i];
	}
	return n;
}

/*
 * Rows of csv.  Where there are many groups, most have short keys and numbers
 * of a few digits, which are copied whole words at a time, whatever their
 * length.
 */

/* Are its results numbers, or null? */
static inline bool
is_number(enum mb_agg_op op)
{
	return op != MB_FIRST && op != MB_LAST;
}

/* Bytes that the rows in hand need at most. */
static size_t
room_for(const struct mb_groups *g, size_t n, size_t prefix)
{
	const struct mb_query *q = g->q;
	size_t room = n * (prefix + q->n_keys * (MB_CSV_ROOM(MB_KEY_SHORT) +
	    1) + q->n_aggs * (MB_CSV_ROOM(MB_ACCUM_TEXT) + 1));

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < q->n_keys; k++) {
			size_t len = value_of(&keys_of(g, i)[k]).len;

			if (len > MB_KEY_SHORT)
				room += MB_CSV_ROOM(len);
		}
	for (size_t k = 0; k < q->n_aggs; k++)
		for (size_t i = 0; i < n && !is_number(q->aggs[k].op); i++)
			room += MB_CSV_ROOM(g->results[k * MB_ROWS + i].len);
	return room;
}

static inline char *
put_key(char *to, const struct mb_group_key *key, char delimiter)
{
	size_t len = key->meta & MB_KEY_LEN;

	if (len == 0 || len > MB_KEY_SHORT ||
	    !mb_csv_is_bare(mb_load_4(key->text), mb_load_8(key->rest),
	    delimiter))
		return mb_csv_put(to, value_of(key), delimiter);
	memcpy(to, key->text, sizeof key->text);
	memcpy(to + sizeof key->text, key->rest, sizeof key->rest);
	return to + len;
}

/* Null, or a number that needs no quotes. */
static inline char *
put_number(char *to, const struct mb_value *v)
{
	enum { WORD = 8 };

	if (v->len > 0)
		memcpy(to, v->p, WORD);
	if (v->len > WORD)
		memcpy(to + WORD, v->p + WORD, MB_ACCUM_TEXT - WORD);
	return to + v->len;
}

int
mb_groups_next_csv(struct mb_groups *g, struct mb_buf *out,
    struct mb_str prefix, char delimiter, struct mb_err *err)
{
	const bool are_bare = !mb_csv_may_split_numbers(delimiter);
	const struct mb_query *q = g->q;
	int n = take(g, err);
	char *to;

	if (n <= 0)
		return n;
	mb_buf_reserve(out, room_for(g, (size_t)n, prefix.len));
	to = out->p + out->len;
	for (size_t i = 0; i < (size_t)n; i++) {
		if (prefix.len > 0)
			memcpy(to, prefix.p, prefix.len);
		to += prefix.len;
		for (size_t k = 0; k < q->n_keys; k++) {
			to = put_key(to, &keys_of(g, i)[k], delimiter);
			*to++ = delimiter;
		}
		for (size_t k = 0; k < q->n_aggs; k++) {
			const struct mb_value *v =
			    &g->results[k * MB_ROWS + i];

			to = are_bare && is_number(q->aggs[k].op) ?
			    put_number(to, v) :
			    mb_csv_put(to, *v, delimiter);
			*to++ = delimiter;
		}
		to[-1] = '\n';
	}
	out->len = (size_t)(to - out->p);
	return n;
}
