#include "agg/group_parts.h"

#include <stdlib.h>
#include <string.h>

#include "agg/accum.h"
#include "agg/crew.h"
#include "base/load.h"
#include "record/writer.h"

/*
 * Where there are many groups, most have short keys and numbers of a few
 * digits, which are copied whole words at a time, whatever their length.
 */

/* Are its results numbers, or null? */
static inline bool
is_number(enum mb_agg_op op)
{
	return op != MB_FIRST && op != MB_LAST;
}

/* Bytes that the rows in hand need at most, where their results are numbers. */
static size_t
room_for_numbers(const struct mb_group_cursor *c, size_t n, size_t prefix)
{
	const struct mb_query *q = c->g->q;
	size_t room = n * (prefix + q->n_keys * (MB_CSV_ROOM(MB_KEY_SHORT) +
	    1) + q->n_aggs * (MB_CSV_ROOM(MB_ACCUM_TEXT) + 1));

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < q->n_keys; k++) {
			size_t len = mb_group_cursor_key(c, i, k).len;

			if (len > MB_KEY_SHORT)
				room += MB_CSV_ROOM(len);
		}
	return room;
}

/* The same of any results. */
static size_t
room_for(const struct mb_group_cursor *c, size_t n, size_t prefix)
{
	const struct mb_query *q = c->g->q;
	size_t room = room_for_numbers(c, n, prefix);

	for (size_t k = 0; k < q->n_aggs; k++)
		for (size_t i = 0; i < n && !is_number(q->aggs[k].op); i++)
			room += MB_CSV_ROOM(c->results[k * MB_ROWS + i].len);
	return room;
}

static inline char *
put_key(char *to, const struct mb_group_cursor *c, size_t row, size_t k,
    char delimiter)
{
	const struct mb_group_key *key = mb_group_cursor_keys(c, row) + k;
	size_t len = key->meta & MB_KEY_LEN;

	if (len == 0 || len > MB_KEY_SHORT ||
	    !mb_csv_is_bare(mb_load_4(key->text), mb_load_8(key->rest),
	    delimiter))
		return mb_csv_put(to, mb_group_cursor_key(c, row, k), delimiter);
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

/* What is before the results. */
static inline char *
put_keys(char *to, const struct mb_group_cursor *c, size_t row,
    struct mb_str prefix, char delimiter)
{
	if (prefix.len > 0)
		memcpy(to, prefix.p, prefix.len);
	to += prefix.len;
	for (size_t k = 0; k < c->g->q->n_keys; k++) {
		to = put_key(to, c, row, k, delimiter);
		*to++ = delimiter;
	}
	return to;
}

/*
 * The rows in hand, if all results are simply numbers, which then need no place
 * before this one.  False: they aren't, and nothing was appended.
 */
static bool
put_plain_rows(const struct mb_group_cursor *c, size_t n, struct mb_buf *out,
    struct mb_str prefix, char delimiter)
{
	const struct mb_query *q = c->g->q;
	char *to;

	mb_buf_reserve(out, room_for_numbers(c, n, prefix.len));
	to = out->p + out->len;
	for (size_t i = 0; i < n; i++) {
		to = put_keys(to, c, i, prefix, delimiter);
		for (size_t k = 0; k < q->n_aggs; k++) {
			const struct mb_slot *s = &q->slots[q->aggs[k].slot];

			to = mb_accum_put_plain(q->aggs[k].op, s->kind,
			    c->groups[i] + c->g->state_off + s->off, to);
			if (to == NULL)
				return false;
			*to++ = delimiter;
		}
		to[-1] = '\n';
	}
	out->len = (size_t)(to - out->p);
	return true;
}

/* The next rows of the cursor, appended; how many. */
static int
put_rows(struct mb_group_cursor *c, struct mb_buf *out, struct mb_str prefix,
    char delimiter, struct mb_err *err)
{
	const bool are_bare = !mb_csv_may_split_numbers(delimiter);
	const struct mb_query *q = c->g->q;
	size_t n = mb_group_cursor_next(c);
	char *to;

	if (n == 0 || (are_bare && put_plain_rows(c, n, out, prefix,
	    delimiter)))
		return (int)n;
	if (mb_group_cursor_results(c, n, err) < 0)
		return -1;
	mb_buf_reserve(out, room_for(c, n, prefix.len));
	to = out->p + out->len;
	for (size_t i = 0; i < n; i++) {
		to = put_keys(to, c, i, prefix, delimiter);
		for (size_t k = 0; k < q->n_aggs; k++) {
			const struct mb_value *v =
			    &c->results[k * MB_ROWS + i];

			to = are_bare && is_number(q->aggs[k].op) ?
			    put_number(to, v) :
			    mb_csv_put(to, *v, delimiter);
			*to++ = delimiter;
		}
		to[-1] = '\n';
	}
	out->len = (size_t)(to - out->p);
	return (int)n;
}

/*
 * Side by side: pieces of the groups are dealt out, and their rows gathered in
 * the same order.
 */

enum {
	MANY = 64 * 1024,		/* groups that are worth it */
	PIECE = 64 * MB_ROWS,		/* 16 and 256 are slower */
	PIECES_PER_THREAD = 3,
	LINE = 128,			/* as in work_parts.h */
};

struct piece {
	struct mb_group_cursor cursor;
	struct mb_buf rows;
	int n_rows;			/* or -1 */
	struct mb_err err;
	char apart[LINE];
};

struct mb_csv_pieces {
	struct mb_crew *crew;
	struct piece *pieces;
	unsigned n_pieces;
	struct mb_str prefix;		/* the caller's */
	char delimiter;
};

static void
put_piece(void *context, unsigned worker, unsigned number)
{
	struct mb_csv_pieces *all = context;
	struct piece *p = &all->pieces[number];
	int n;

	(void)worker;
	p->n_rows = 0;
	p->err = (struct mb_err){ 0 };
	mb_buf_reset(&p->rows);
	do {
		n = put_rows(&p->cursor, &p->rows, all->prefix,
		    all->delimiter, &p->err);
		p->n_rows = n < 0 ? -1 : p->n_rows + n;
	} while (n > 0);
}

static int
open_pieces(struct mb_groups *g, struct mb_str prefix, char delimiter,
    struct mb_err *err)
{
	struct mb_csv_pieces *all = mb_zalloc(sizeof *all);
	unsigned n = (unsigned)g->n_parts;

	g->pieces = all;
	*all = (struct mb_csv_pieces){ .prefix = prefix, .delimiter = delimiter,
		.n_pieces = n * PIECES_PER_THREAD };
	all->pieces = mb_zalloc(all->n_pieces * sizeof *all->pieces);
	for (unsigned i = 0; i < all->n_pieces; i++)
		mb_group_cursor_init(&all->pieces[i].cursor, g);
	return mb_crew_open(&all->crew, n, all->n_pieces, put_piece, all, err);
}

void
mb_csv_pieces_close(struct mb_csv_pieces *all)
{
	if (all == NULL)
		return;
	mb_crew_close(all->crew);
	for (unsigned i = 0; i < all->n_pieces; i++) {
		mb_group_cursor_release(&all->pieces[i].cursor);
		mb_buf_release(&all->pieces[i].rows);
	}
	free(all->pieces);
	free(all);
}

/* The rows of the next piece that has some. */
static int
gather_rows(struct mb_groups *g, struct mb_buf *out, struct mb_err *err)
{
	struct mb_csv_pieces *all = g->pieces;
	struct piece *p;
	int slot;

	do {
		while (g->cursor.n > 0 && !mb_crew_is_full(all->crew)) {
			p = &all->pieces[mb_crew_next(all->crew)];
			mb_group_cursor_deal(&g->cursor, &p->cursor, PIECE);
			mb_crew_post(all->crew);
		}
		slot = mb_crew_wait(all->crew);
		if (slot < 0)
			return 0;
		p = &all->pieces[slot];
		mb_buf_add(out, p->rows.p, p->rows.len);
	} while (p->n_rows == 0);
	if (p->n_rows < 0)
		return mb_fail(err, p->err.code, "%s", p->err.msg);
	return p->n_rows;
}

int
mb_groups_next_csv(struct mb_groups *g, struct mb_buf *out,
    struct mb_str prefix, char delimiter, struct mb_err *err)
{
	if (g->pieces == NULL && g->n_parts > 1 && g->cursor.n >= MANY &&
	    open_pieces(g, prefix, delimiter, err) < 0)
		return -1;
	return g->pieces != NULL ? gather_rows(g, out, err) :
	    put_rows(&g->cursor, out, prefix, delimiter, err);
}
