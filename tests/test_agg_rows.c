/* Rows at once, by each set of instructions, against one value at a time. */
#include "agg/cells.h"
#include "agg/column.h"
#include "agg/distinct.h"
#include "agg/key_words.h"
#include "agg/keys.h"
#include "agg/memo.h"
#include "agg/ordinals.h"
#include "agg/totals.h"
#include "base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "new_seed.h"

/* The next of the instructions that the rows can be worked on with. */
static bool
next_isa(struct mb_rows *rows)
{
	while (rows->isa < MB_ISA_AVX512)
		if (mb_isa_is_there(++rows->isa) && rows->isa != MB_ISA_NONE)
			return true;
	rows->isa = MB_ISA_BEST;
	return false;
}

/* A number as people write them, or what only looks like one. */
static void
add_number_like(struct mb_buf *b)
{
	static const char *const like[] = { "", "-", "--1", "+1", ".", "-.",
		".5", "5.", "-.5", "1.2.3", "1e3", "1x", "x", "0", "-0", "00",
		"0.0", "12345678", "-1234567", "-12345678", "1234567.",
		".1234567", "1234.567", "123456789", "999999999999999999",
		"9999999999999999999", "0.000000000000000001", "-9.99", " 1",
		"1 ", "12\xae", "\xb0", "1\xff.5", "true", "1,5", "1/5",
		"1:5" };

	switch (rand() % 4) {
	case 0:
		mb_buf_adds(b, like[(size_t)rand() %
		    (sizeof like / sizeof *like)]);
		return;
	case 1:
		mb_buf_addf(b, "%d", rand() % 100000 - 1000);
		return;
	case 2:
		mb_buf_addf(b, "%.*f", rand() % 6,
		    (rand() % 2000000 - 1000000) / 1e3);
		return;
	default:
		for (int n = rand() % 12; n > 0; n--)
			mb_buf_addc(b, "0123456789.-"[rand() % 12]);
	}
}

/* What a column reads is what mb_number_parse reads, by any instructions. */
static void
check_column(const struct mb_rows *rows)
{
	struct mb_column c;
	bool odd[MB_ROWS] = { false }, any, any_odd = false;
	size_t n_values = 0, n_uniform = 0;

	memset(&c, 0xa5, sizeof c);
	any = mb_column_read(&c, rows, rows->view, odd);
	for (size_t i = 0; i < rows->n; i++) {
		struct mb_str text = { rows->p + rows->view[i].start,
			rows->view[i].len };
		struct mb_number want;
		bool is_number = mb_number_parse(&want, text);

		n_values += text.len > 0;
		any_odd |= odd[i];
		if (odd[i])
			continue;	/* left to mb_number_parse */
		if (text.len == 0) {
			assert_int_equal(c.places[i], MB_COLUMN_NULL);
			continue;
		}
		if (!is_number || want.is_double || c.places[i] > c.scale ||
		    c.places[i] != want.places || (mb_int128)c.units[i] !=
		    want.units * (mb_int128)mb_power_of_ten(c.scale -
		    want.places))
			fail_msg("isa %d: \"%.*s\" is %lld, %u places of %u",
			    rows->isa, (int)text.len, text.p,
			    (long long)c.units[i], c.places[i], c.scale);
		n_uniform += c.places[i] == c.scale;
	}
	assert_int_equal(any, any_odd);
	assert_int_equal(c.n_values, n_values);
	if (c.is_uniform)
		assert_int_equal(n_uniform, rows->n);
}

static void
test_columns(void **state)
{
	static struct mb_view view[MB_ROWS];
	struct mb_buf text = { 0 };
	struct mb_rows rows = { .view = view };
	bool odd[MB_ROWS] = { false };
	struct mb_column c;

	(void)state;
	new_seed();
	for (int round = 0; round < 2000; round++) {
		mb_buf_reset(&text);
		rows.n = (size_t)(rand() % (MB_ROWS + 1));
		for (size_t i = 0; i < MB_ROWS; i++) {
			size_t start = text.len;

			if (round % 3 == 0)
				mb_buf_addf(&text, "%d.%d", rand() % 1000,
				    rand() % 10);
			else if (round % 3 == 1 && rand() % 64 != 0)
				/* Alike, but for few. */
				mb_buf_addf(&text, "%.*f", round / 3 % 5,
				    (rand() % 1000000) / 1e4);
			else
				add_number_like(&text);
			/* Behind the rows there is what there is. */
			view[i] = i < rows.n ? (struct mb_view){
				.start = (uint32_t)start,
				.len = (uint16_t)(text.len - start) } :
			    (struct mb_view){ UINT32_MAX, 8, 0 };
			mb_buf_addc(&text, rand() % 2 ? ',' : '\n');
		}
		for (int i = 0; i < MB_VIEW_SLACK; i++)
			mb_buf_addc(&text, '7');
		rows.p = text.p;
		while (next_isa(&rows))
			check_column(&rows);
		rows.isa = MB_ISA_PORTABLE;
		memset(odd, 0, sizeof odd);
		(void)mb_column_read(&c, &rows, view, odd);
		/* Plain numbers are not left to the slow path. */
		for (size_t i = 0; i < rows.n && round % 3 == 0; i++)
			assert_false(odd[i]);
		if (round % 3 == 0 && rows.n > 0)
			assert_true(c.is_uniform);
	}
	mb_buf_release(&text);
}

/*
 * Keys.
 */

enum { N_FIELDS = 3 };

/* A key out of few, of any length up to `longest`. */
static void
add_key_like(struct mb_buf *b, int longest)
{
	int kind = rand() % 8, len = rand() % (longest + 1);

	for (int i = 0; i < len; i++)
		mb_buf_addc(b, kind == 0 ? '\0' : (char)('a' + (i * 7 +
		    kind) % 26));
	/* Equal but for the last byte, too. */
	if (len > 0)
		b->p[b->len - 1] = (char)('0' + rand() % 3);
}

/* Rows of keys; fields N_FIELDS for which the views are made. */
static void
make_key_rows(struct mb_rows *rows, struct mb_buf *text, int longest)
{
	mb_buf_reset(text);
	rows->n = (size_t)(rand() % (MB_ROWS + 1));
	for (size_t i = 0; i < rows->n; i++) {
		rows->record[i] = (uint16_t)i;
		for (size_t f = 0; f < N_FIELDS; f++) {
			struct mb_view *v = &rows->view[f * MB_ROWS + i];
			size_t start = text->len;

			add_key_like(text, longest);
			v->start = (uint32_t)start;
			v->len = (uint16_t)(text->len - start);
			v->kind = v->len > 0 || rand() % 2 ? MB_TEXT :
			    MB_NULL;
			mb_buf_addc(text, ',');
		}
	}
	for (int i = 0; i < MB_VIEW_SLACK; i++)
		mb_buf_addc(text, (char)rand());
	rows->p = text->p;
}

/* The group of each row is what mb_keys_find says, with the row's ordinal. */
static void
check_keys(struct mb_keys *t, struct mb_keys *one, const struct mb_rows *rows,
    const size_t *fields, size_t n_keys, uint64_t ordinal)
{
	uint32_t numbers[MB_ROWS];
	char *groups[MB_ROWS];

	mb_keys_find_rows(t, rows, fields, ordinal, numbers);
	mb_keys_locate(t, numbers, rows->n, groups);
	for (size_t i = 0; i < rows->n; i++) {
		struct mb_value values[N_FIELDS];
		struct mb_group_key *group;
		uint32_t want;

		for (size_t f = 0; f < N_FIELDS; f++)
			values[f] = mb_view_value(rows,
			    &rows->view[f * MB_ROWS + i]);
		want = mb_keys_find(one, values, fields, ordinal + i);
		if (numbers[i] != want)
			fail_msg("isa %d: row %zu of %zu: group %u, not %u",
			    rows->isa, i, rows->n, numbers[i], want);
		group = mb_keys_group(t, want);
		assert_ptr_equal(groups[i], group);
		assert_int_equal(mb_keys_ordinal(t, want),
		    mb_keys_ordinal(one, want));
		for (size_t k = 0; k < n_keys; k++) {
			struct mb_str text = mb_group_key_text(&group[k]);
			struct mb_value v = values[fields[k]];

			assert_int_equal(text.len, v.len);
			assert_memory_equal(text.p, v.p, v.len);
			assert_int_equal(mb_group_key_kind(&group[k]),
			    v.kind);
		}
	}
	assert_int_equal(mb_keys_count(t), mb_keys_count(one));
}

/* A text and what is known of it, with bytes before and behind it. */
struct sample {
	char bytes[4 + 128];
	size_t len;
	bool is_null;
};

static bool
is_same_sample(const struct sample *a, const struct sample *b)
{
	return a->len == b->len && a->is_null == b->is_null &&
	    memcmp(a->bytes + 4, b->bytes + 4, a->len) == 0;
}

/* Groups' keys and words, each with each; equal tags are too rare for this. */
static void
check_words(const struct mb_group_key *const *keys,
    const struct sample *samples, size_t n, const struct mb_key_way *way)
{
	const size_t most = way->width == MB_WIDTH_SHORT ? MB_KEY_SHORT :
	    MB_KEY_MIDDLE;

	for (size_t i = 0; i < n; i++) {
		const struct sample *s = &samples[i];
		const char *p = s->bytes + 4;
		uint64_t word[4];

		for (size_t k = 0; k < n && s->len <= most; k++) {
			bool got;

			way->set(word, p, s->len, s->is_null, way->width);
			got = way->differs(keys[k], word, p, s->len,
			    way->width);
			if (got == is_same_sample(s, &samples[k]))
				fail_msg("\"%.*s\" and \"%.*s\"",
				    (int)s->len, p, (int)samples[k].len,
				    samples[k].bytes + 4);
		}
	}
}

static void
test_key_words(void **state)
{
	enum { N = 300 };
	static struct sample samples[N];
	const struct mb_group_key *keys[N];
	const size_t field = 0;
	uint32_t numbers[N];
	struct mb_buf text = { 0 };
	struct mb_keys *t;

	(void)state;
	new_seed();
	mb_keys_open(&t, 1, 8, (uint64_t)rand());
	mb_buf_reserve(&text, 1);	/* the first key may be empty */
	for (size_t i = 0; i < N; i++) {
		struct sample *s = &samples[i];
		struct mb_value v = { .p = s->bytes + 4 };

		mb_buf_reset(&text);
		add_key_like(&text, i % 4 == 0 ? 3 : i % 4 == 1 ? 14 : 31);
		for (size_t k = 0; k < sizeof s->bytes; k++)
			s->bytes[k] = (char)rand();
		s->len = text.len;
		memcpy(s->bytes + 4, text.p, text.len);
		s->is_null = s->len == 0 && rand() % 2;
		v.len = s->len;
		v.kind = s->is_null ? MB_NULL : rand() % 2 ? MB_TEXT :
		    MB_NUMBER;
		numbers[i] = mb_keys_find(t, &v, &field, 0);
	}
	for (size_t i = 0; i < N; i++)
		keys[i] = mb_keys_group(t, numbers[i]);
	check_words(keys, samples, N, &mb_key_short);
	check_words(keys, samples, N, &mb_key_middle);
#if defined(__x86_64__)
	if (mb_isa_is_there(MB_ISA_AVX512))
		check_words(keys, samples, N, &mb_key_middle_avx512);
#endif
	mb_keys_close(t);
	mb_buf_release(&text);
}

static void
test_keys(void **state)
{
	static const int longest[] = { 3, 7, 12, 15, 28, 31, 70 };
	static const size_t fields[N_FIELDS] = { 2, 0, 1 };
	static struct mb_view view[N_FIELDS * MB_ROWS];
	struct mb_rows rows = { .view = view };
	struct mb_buf text = { 0 };

	(void)state;
	new_seed();
	for (size_t n_keys = 0; n_keys <= N_FIELDS; n_keys++) {
		while (next_isa(&rows)) {
			struct mb_keys *t, *one;

			mb_keys_open(&t, n_keys, 8, (uint64_t)rand());
			mb_keys_open(&one, n_keys, 8, (uint64_t)rand());
			/* Narrow ones first: each width must find them. */
			for (int round = 0; round < 140; round++) {
				make_key_rows(&rows, &text, round < 70 ?
				    longest[round / 10] :
				    longest[rand() % 7]);
				check_keys(t, one, &rows, fields, n_keys,
				    (uint64_t)round * MB_ROWS);
			}
			/* Nothing is left of them. */
			mb_keys_reset(t);
			assert_int_equal(mb_keys_count(t), 0);
			mb_keys_reset(one);
			make_key_rows(&rows, &text, 28);
			check_keys(t, one, &rows, fields, n_keys, 0);
			mb_keys_close(t);
			mb_keys_close(one);
		}
	}
	mb_buf_release(&text);
}

/* A record whose keys are at the end of what can be read. */
static void
check_memo_one(struct mb_memo *m, const struct mb_rows *rows, size_t i,
    const size_t *fields, size_t n_keys, uint32_t want)
{
	struct mb_value values[N_FIELDS];
	char *texts[N_FIELDS];
	uint32_t number;

	for (size_t f = 0; f < N_FIELDS; f++) {
		struct mb_value v = mb_view_value(rows,
		    &rows->view[f * MB_ROWS + i]);

		texts[f] = mb_alloc(v.len);
		if (v.len > 0)
			memcpy(texts[f], v.p, v.len);
		values[f] = (struct mb_value){ texts[f], v.len, v.kind };
	}
	if (mb_memo_find_one(m, values, fields, n_keys, &number)) {
		assert_int_equal(number, want);
	} else {
		mb_memo_learn_one(m, values, fields, n_keys, want);
	}
	for (size_t f = 0; f < N_FIELDS; f++)
		free(texts[f]);
}

/* Keys that were learned are found again, all but few, and no others. */
static void
check_memo(struct mb_rows *rows, struct mb_buf *text, size_t n_keys,
    int longest)
{
	static const size_t fields[N_FIELDS] = { 1, 2, 0 };
	uint32_t numbers[MB_ROWS], want[MB_ROWS];
	size_t n_found = 0, n_missed = 0, n_groups;
	struct mb_keys *t;
	struct mb_memo m;

	mb_memo_init(&m, (uint64_t)rand());
	mb_keys_open(&t, n_keys, 8, (uint64_t)rand());
	for (int round = 0; round < 90; round++) {
		make_key_rows(rows, text, longest);
		mb_keys_find_rows(t, rows, fields, 0, want);
		n_groups = mb_keys_count(t);
		if (n_groups == 0 || !mb_memo_find(&m, rows, fields, n_keys,
		    n_groups, numbers)) {
			/* They are too many, or too long. */
			assert_true(n_groups == 0 || n_groups > 1024 ||
			    (size_t)(longest / 8 + 1) * n_keys > 4);
			continue;
		}
		for (size_t i = 0; i < rows->n; i++) {
			if (m.is_missed[i])
				numbers[i] = want[i];
			if (numbers[i] != want[i])
				fail_msg("isa %d: row %zu: group %u, not %u",
				    rows->isa, i, numbers[i], want[i]);
			check_memo_one(&m, rows, i, fields, n_keys, want[i]);
		}
		n_missed += round < 50 ? 0 : m.n_missed;
		n_found += round < 50 ? 0 : rows->n - m.n_missed;
		mb_memo_learn(&m, rows, fields, n_keys, numbers);
		if (round == 20)
			mb_memo_reset(&m);
	}
	/* There are at most 768, nearly all seen since the reset. */
	if (n_keys == 1 && longest < 32)
		assert_true(n_found > 4 * n_missed);
	mb_keys_close(t);
	mb_memo_release(&m);
}

static void
test_memo(void **state)
{
	static struct mb_view view[N_FIELDS * MB_ROWS];
	struct mb_rows rows = { .view = view };
	struct mb_buf text = { 0 };

	(void)state;
	new_seed();
	while (next_isa(&rows)) {
		for (size_t n_keys = 1; n_keys <= N_FIELDS; n_keys++) {
			check_memo(&rows, &text, n_keys, 2);
			check_memo(&rows, &text, n_keys, 3);
			check_memo(&rows, &text, n_keys, 7);
			check_memo(&rows, &text, n_keys, 15);
			check_memo(&rows, &text, n_keys, 31);
			check_memo(&rows, &text, n_keys, 40);
		}
	}
	mb_buf_release(&text);
}

/*
 * Totals.
 */

enum { N_GROUPS = 40 };

/* A column of some kind, which changes seldom. */
static void
make_column(struct mb_column *c, size_t n, int kind)
{
	const int64_t most = kind / 8 % 4 == 3 ? (int64_t)1 << 58 :
	    kind / 8 % 4 == 2 ? (int64_t)1 << 40 : 99999;
	const unsigned scale = kind % 8 < 4 ? 2 : kind % 8 < 6 ? 0 : 5;
	const bool is_mixed = kind / 32 % 2 != 0;

	*c = (struct mb_column){ .scale = scale, .limit = (uint64_t)most,
		.is_uniform = true };
	for (size_t i = 0; i < n; i++) {
		int64_t units = ((int64_t)rand() << 31 | rand()) % (2 * most) -
		    most;
		unsigned places = is_mixed && i > 0 ?
		    (unsigned)rand() % (scale + 1) : scale;

		if (is_mixed && rand() % 4 == 0) {
			c->places[i] = MB_COLUMN_NULL;
			c->is_uniform = false;
			continue;
		}
		/* No more digits than places. */
		units -= units % (int64_t)mb_power_of_ten(scale - places);
		c->units[i] = units;
		c->places[i] = (uint8_t)places;
		c->is_uniform &= places == scale;
		c->n_values++;
	}
}

/* States of all groups: one value after the other, and by totals. */
struct states {
	const struct mb_query *q;
	char *p;
	struct mb_arena arena;
};

static void *
state_in(struct states *s, size_t group, size_t slot)
{
	return s->p + group * s->q->state_size + s->q->slots[slot].off;
}

static void
put_total(void *context, size_t group, size_t slot,
    const struct mb_total *total)
{
	struct states *s = context;

	mb_accum_add_total(s->q->slots[slot].kind, state_in(s, group, slot),
	    total, &s->arena);
}

static void
open_states(struct states *s, const struct mb_query *q)
{
	*s = (struct states){ .q = q, .p = mb_zalloc(N_GROUPS *
	    q->state_size) };
}

static void
close_states(struct states *s)
{
	free(s->p);
	mb_arena_release(&s->arena);
}

static void
check_states(struct states *a, struct states *b, size_t n_groups)
{
	struct mb_buf x = { 0 }, y = { 0 };
	struct mb_err err = { 0 };

	mb_buf_reserve(&x, MB_ACCUM_TEXT);
	mb_buf_reserve(&y, MB_ACCUM_TEXT);
	for (size_t g = 0; g < n_groups; g++)
		for (size_t i = 0; i < a->q->n_aggs; i++) {
			const struct mb_aggregate *agg = &a->q->aggs[i];
			enum mb_slot_kind kind = a->q->slots[agg->slot].kind;
			char *first = state_in(a, g, agg->slot);
			char *second = state_in(b, g, agg->slot);
			struct mb_value v, w;

			mb_buf_reset(&x);
			mb_buf_reset(&y);
			assert_int_equal(mb_accum_results(agg->op, kind,
			    &first, 0, 1, &x, &v, &err), 1);
			assert_int_equal(mb_accum_results(agg->op, kind,
			    &second, 0, 1, &y, &w, &err), 1);
			if (v.len != w.len || memcmp(v.p, w.p, v.len) != 0)
				fail_msg("%s of group %zu: %.*s, not %.*s",
				    agg->name, g, (int)w.len, w.p, (int)v.len,
				    v.p);
		}
	mb_buf_release(&x);
	mb_buf_release(&y);
}

static void
test_totals(void **state)
{
	static const char *const lists[] = { "count,sum:a,max:b",
		"avg:a,min:a,max:a,count:b", "var:a,sum:b,min:b,count",
		"stddev:a,sum:a,max:a,count:a", "max:a", "count",
		"sum:a,sum:b", "max:a,sum:b", "min:a,min:b", "avg:a,max:a,min:b",
		"sum:a,sum:b,max:c", "max:a,avg:b,min:b,sum:c,max:c" };
	enum { N_LISTS = sizeof lists / sizeof *lists };
	static struct mb_view view[4 * MB_ROWS];
	static struct mb_column columns[3];
	struct mb_rows rows = { .view = view };
	struct mb_err err = { 0 };
	size_t n_taken = 0, n_slots = 0;

	(void)state;
	new_seed();
	for (int round = 0; round < 300; round++) {
		struct states one, many;
		struct mb_totals *t;
		struct mb_query q = { 0 };
		size_t n_groups = round % 5 == 0 ? 1 : 1 + (size_t)rand() %
		    (N_GROUPS - 1);
		int kinds[3] = { rand() % 64, rand() % 64, rand() % 64 };

		if (mb_query_add_aggregates(&q, lists[round % N_LISTS], &err) < 0 ||
		    mb_query_finish(&q, NULL, 0, &err) < 0)
			fail_msg("%s", err.msg);
		open_states(&one, &q);
		open_states(&many, &q);
		mb_totals_open(&t, &q);
		for (int batch = 0; batch < 40; batch++) {
			uint32_t numbers[MB_ROWS];
			const bool *is_taken;

			rows.n = (size_t)(1 + rand() % MB_ROWS);
			if (round % 5 != 0 && rand() % 4 == 0 &&
			    n_groups < N_GROUPS)
				n_groups++;
			for (size_t i = 0; i < q.n_numbers; i++) {
				if (rand() % 8 == 0)
					kinds[i] = rand() % 64;
				make_column(&columns[i], rows.n, kinds[i]);
			}
			for (size_t i = 0; i < rows.n; i++) {
				numbers[i] = (uint32_t)((size_t)rand() %
				    n_groups);
				for (size_t f = 0; f < q.fields.n; f++)
					view[f * MB_ROWS + i].kind =
					    batch % 3 == 0 && rand() % 3 == 0 ?
					    MB_NULL : MB_TEXT;
			}
			while (!mb_totals_begin(t, &rows, columns, n_groups)) {
				mb_totals_each(t, put_total, &many);
				mb_totals_reset(t);
			}
			is_taken = mb_totals_add(t, &rows, columns, n_groups,
			    numbers);
			for (size_t s = 0; s < q.n_slots; s++) {
				const struct mb_slot *slot = &q.slots[s];
				const struct mb_column *c =
				    &columns[slot->number];

				n_slots++;
				n_taken += is_taken[s];
				for (size_t i = 0; i < rows.n; i++) {
					struct mb_number x = {
						.units = c->units[i] /
						    (mb_int128)mb_power_of_ten(
						    c->places[i] > c->scale ?
						    0 : c->scale -
						    c->places[i]),
						.places = c->places[i] };
					struct mb_value v = {
						.p = "", .kind = slot->kind ==
						    MB_SLOT_RECORDS ? MB_NULL :
						    view[slot->field *
						    MB_ROWS + i].kind };

					mb_accum_add(slot->kind, state_in(&one,
					    numbers[i], s), v, c->places[i] ==
					    MB_COLUMN_NULL ? NULL : &x, 0,
					    &one.arena);
					if (is_taken[s])
						continue;
					mb_accum_add(slot->kind, state_in(
					    &many, numbers[i], s), v,
					    c->places[i] == MB_COLUMN_NULL ?
					    NULL : &x, 0, &many.arena);
				}
			}
		}
		mb_totals_each(t, put_total, &many);
		check_states(&one, &many, n_groups);
		mb_totals_close(t);
		close_states(&one);
		close_states(&many);
		mb_query_release(&q);
	}
	/* It isn't that all was left to the states. */
	assert_true(n_taken > n_slots / 2 && n_taken < n_slots);
}

/* A search for each hash comes to its number before it comes to a free cell. */
static void
check_cells(const struct mb_cells *t, const uint64_t *hashes, size_t n)
{
	const struct mb_cell *cells = mb_cells_of(t);

	for (size_t i = 0; i < n; i++) {
		size_t at = mb_cells_begin(t, hashes[i]);

		for (; cells[at].entry != i + 1; at = (at + 1) & (t->size - 1))
			if (cells[at].entry == 0)
				fail_msg("%zu of %zu in %zu cells: not found",
				    i, n, t->size);
		assert_int_equal(cells[at].tag, mb_cells_tag(hashes[i]));
	}
}

/* Tables that grow, also where many hashes are alike or near the end. */
static void
test_cells(void **state)
{
	enum { N = 30000 };
	static uint64_t hashes[N];
	struct mb_cells t = { 0 };

	(void)state;
	new_seed();
	for (int kind = 0; kind < 5; kind++) {
		size_t size = 0;

		for (size_t i = 0; i < N; i++) {
			uint64_t hash = (uint64_t)rand() << 33 ^
			    (uint64_t)rand() << 20 ^ (uint64_t)rand();

			if (kind == 1)		/* at the end, and round it */
				hash = i % 2 ? hash | UINT64_MAX << 48 :
				    hash >> 20;
			if (kind == 2)		/* few begin a search */
				hash &= ~(uint64_t)0 >> 3 | 0x3 << 20;
			if (kind == 3 && i % 20 != 0)
				hash = hashes[i - 1];
			if (kind == 4)		/* one piece, far too full */
				hash = (hash >> 20) + ((uint64_t)3 << 60);
			hashes[i] = hash;
			mb_cells_reserve(&t, i, 1);
			if (t.size != size && i > 0)
				check_cells(&t, hashes, i);
			size = t.size;
			/* The last two would take minutes. */
			if ((kind == 1 || kind == 4) && i > 6000)
				break;
			mb_cells_place(&t, hash, i);
		}
		mb_cells_reset(&t);
	}
	mb_cells_release(&t);
}

/*
 * So many keys that some have another's tag: each gets the next number, and
 * is found again.
 */
static void
test_many_keys(void **state)
{
	enum { N = 400000 };
	static struct mb_view view[MB_ROWS];
	static const size_t field = 0;
	struct mb_rows rows = { .view = view };
	uint32_t numbers[MB_ROWS];
	char *groups[MB_ROWS];
	struct mb_buf text = { 0 };
	struct mb_keys *t;

	(void)state;
	new_seed();
	while (next_isa(&rows)) {
		mb_keys_open(&t, 1, 8, (uint64_t)rand());
		for (size_t begin = 0; begin < 2 * N; begin += MB_ROWS) {
			mb_buf_reset(&text);
			rows.n = MB_ROWS;
			for (size_t i = 0; i < rows.n; i++) {
				size_t start = text.len;

				mb_buf_addf(&text, "k%zu", (begin + i) % N);
				view[i] = (struct mb_view){ (uint32_t)start,
					(uint16_t)(text.len - start),
					MB_PLAIN };
				rows.record[i] = (uint16_t)i;
			}
			mb_buf_reserve(&text, MB_VIEW_SLACK);
			rows.p = text.p;
			mb_keys_find_rows(t, &rows, &field, begin, numbers);
			mb_keys_locate(t, numbers, rows.n, groups);
			for (size_t i = 0; i < rows.n; i++) {
				size_t want = (begin + i) % N;

				assert_int_equal(numbers[i], want);
				assert_ptr_equal(groups[i],
				    mb_keys_group(t, want));
				assert_int_equal(mb_keys_ordinal(t, want),
				    want);
			}
		}
		assert_int_equal(mb_keys_count(t), N);
		assert_true(mb_keys_probes(t) < 8 * N);
		mb_keys_close(t);
	}
	mb_buf_release(&text);
}

/* Keys first … first + n - 1; that of x has an ordinal from 4 x to 4 x + 3. */
static void
add_range(struct mb_keys *t, struct mb_rows *rows, size_t first, size_t n,
    size_t shift)
{
	static struct mb_view view[MB_ROWS];
	static const size_t field = 0;
	struct mb_buf text = { 0 };
	uint32_t numbers[MB_ROWS];

	rows->view = view;
	for (size_t begin = first; begin < first + n; begin += rows->n) {
		mb_buf_reset(&text);
		rows->n = first + n - begin < MB_ROWS ? first + n - begin :
		    MB_ROWS;
		for (size_t i = 0; i < rows->n; i++) {
			size_t start = text.len;

			mb_buf_addf(&text, "%s%zu", (begin + i) % 5 == 0 ?
			    "a key that is held elsewhere, " : "k",
			    begin + i);
			view[i] = (struct mb_view){ (uint32_t)start,
				(uint16_t)(text.len - start), MB_PLAIN };
			rows->record[i] = (uint16_t)(4 * i +
			    (begin + i + shift) % 4);
		}
		mb_buf_reserve(&text, MB_VIEW_SLACK);
		rows->p = text.p;
		mb_keys_find_rows(t, rows, &field, 4 * begin, numbers);
	}
	mb_buf_release(&text);
}

static void
check_union(void *context, struct mb_group_ref stays, struct mb_group_ref goes)
{
	struct mb_keys **tables = context;
	const struct mb_group_key *a = mb_keys_group(tables[stays.table],
	    stays.number);
	const struct mb_group_key *b = mb_keys_group(tables[goes.table],
	    goes.number);
	struct mb_str x = mb_group_key_text(a), y = mb_group_key_text(b);

	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.p, y.p, x.len);
	assert_false(mb_group_is_gone(a) || mb_group_is_gone(b));
	assert_true(mb_keys_ordinal(tables[stays.table], stays.number) <
	    mb_keys_ordinal(tables[goes.table], goes.number));
}

/*
 * Tables of any size: of each key one group stays, the first, whatever the
 * shares that they are united by.
 */
static void
test_unite_keys(void **state)
{
	enum { N_TABLES = 4 };
	static const struct {
		size_t first, n;
	} cases[][N_TABLES] = {
		{ { 0, 60000 }, { 30000, 60000 }, { 0, 90000 }, { 80000, 90000 } },
		{ { 0, 60000 }, { 100, 50 }, { 0, 0 }, { 59990, 60000 } },
		{ { 7, 40 }, { 0, 60000 }, { 7, 41 }, { 8, 41 } },
		{ { 0, 45 }, { 0, 45 }, { 10, 30 }, { 44, 46 } },
		{ { 0, 0 }, { 0, 1 }, { 0, 0 }, { 0, 1 } },
	};
	struct mb_rows rows = { 0 };

	(void)state;
	new_seed();
	while (next_isa(&rows))
		for (size_t c = 0; c < 5 * 3; c++) {
			const unsigned n_shares = 1 + 3 * (unsigned)(c % 3);
			struct mb_keys *tables[N_TABLES];
			uint64_t seed = (uint64_t)rand();
			size_t n = 0, n_gone = 0, n_keys = 0, end = 0;

			for (size_t i = 0; i < N_TABLES; i++) {
				size_t first = cases[c / 3][i].first;
				size_t last = first + cases[c / 3][i].n;

				mb_keys_open(&tables[i], 1, 8, seed);
				add_range(tables[i], &rows, first,
				    last - first, i);
				mb_keys_settle(tables[i]);
				n += mb_keys_count(tables[i]);
				end = last > end ? last : end;
			}
			for (size_t x = 0; x < end; x++) {
				bool has = false;

				for (size_t i = 0; i < N_TABLES; i++)
					has |= x - cases[c / 3][i].first <
					    cases[c / 3][i].n;
				n_keys += has;
			}
			for (unsigned i = 0; i < n_shares; i++)
				n_gone += mb_keys_unite(tables, N_TABLES, i,
				    n_shares, check_union, tables);
			assert_int_equal(n - n_gone, n_keys);
			for (uint32_t i = 0; i < N_TABLES; i++)
				for (uint32_t k = 0; k <
				    mb_keys_count(tables[i]); k++) {
					struct mb_group_ref heir =
					    mb_keys_heir(tables, (struct
					    mb_group_ref){ i, k });

					assert_int_equal(heir.table == i,
					    !mb_group_is_gone(mb_keys_group(
					    tables[i], k)));
				}
			for (size_t i = 0; i < N_TABLES; i++)
				mb_keys_close(tables[i]);
		}
}

/*
 * Sums beyond 64 bits, and back: states that rows were added to, and that were
 * merged, against 128 bits.
 */
static void
test_large_sums(void **state)
{
	enum { N_STATES = 8, N_STEPS = 4000 };
	static struct mb_column c;
	struct mb_rows rows = { .n = 1 };
	const size_t size = mb_accum_size(MB_SLOT_SUM);
	char *states = mb_zalloc(N_STATES * size), *groups[1];
	mb_int128 sums[N_STATES] = { 0 };
	unsigned places[N_STATES] = { 0 };
	bool has_any[N_STATES] = { false };
	struct mb_arena arena = { 0 };
	struct mb_buf got = { 0 }, want = { 0 };

	(void)state;
	new_seed();
	for (size_t step = 0; step < N_STEPS; step++) {
		size_t i = (size_t)rand() % N_STATES;
		size_t k = (size_t)rand() % N_STATES;
		struct mb_number sum = { 0 };
		struct mb_value value;
		struct mb_err err = { 0 };
		/* Now up, now down, by as much as there is room for. */
		int64_t units = step / 50 % 2 == 0 ? INT64_MAX - rand() :
		    INT64_MIN + rand();

		units = rand() % 4 == 0 ? units / 1000 : units;
		c = (struct mb_column){ .scale = (unsigned)rand() % 3,
			.is_uniform = rand() % 2, .n_values = 1,
			.limit = UINT64_MAX };
		c.units[0] = units;
		c.places[0] = (uint8_t)c.scale;
		groups[0] = states + i * size;
		if (rand() % 10 == 0 && i != k && has_any[k]) {
			mb_accum_merge(MB_SLOT_SUM, groups[0],
			    states + k * size, &arena);
			sums[i] += sums[k];
			if (places[i] < places[k])
				places[i] = places[k];
			memset(states + k * size, 0, size);
			sums[k] = 0;
			places[k] = 0;
			has_any[k] = false;
		} else {
			mb_accum_add_rows(MB_SLOT_SUM, groups, 0, &rows, NULL,
			    &c, 0, &arena);
			sums[i] += units * (mb_int128)mb_power_of_ten(2 -
			    c.scale);
			if (places[i] < c.scale)
				places[i] = c.scale;
		}
		has_any[i] = true;
		sum.places = (uint8_t)places[i];
		sum.units = sums[i] / (mb_int128)mb_power_of_ten(2 -
		    places[i]);
		mb_buf_reset(&want);
		mb_number_format(&want, &sum);
		mb_buf_reset(&got);
		mb_buf_reserve(&got, MB_ACCUM_TEXT);
		assert_int_equal(mb_accum_results(MB_SUM, MB_SLOT_SUM, groups,
		    0, 1, &got, &value, &err), 1);
		if (!mb_str_eq(mb_value_str(value), mb_str(mb_buf_str(&want))))
			fail_msg("step %zu: %.*s, not %s", step,
			    (int)value.len, value.p, mb_buf_str(&want));
	}
	mb_buf_release(&got);
	mb_buf_release(&want);
	mb_arena_release(&arena);
	free(states);
}

/* Values of rows are new if they are one by one, in many and in few groups. */
static void
test_distinct(void **state)
{
	struct mb_distinct many = { .seed = 1 }, one = { .seed = 2 };
	struct mb_view view[MB_ROWS];
	struct mb_rows rows = { .view = view };
	struct mb_buf text = { 0 };
	uint32_t groups[MB_ROWS];
	bool is_new[MB_ROWS];

	(void)state;
	new_seed();
	for (int round = 0; round < 200; round++) {
		int n_values = round < 100 ? 300 : 30000;

		mb_buf_reset(&text);
		rows.n = (size_t)rand() % MB_ROWS + 1;
		for (size_t i = 0; i < rows.n; i++) {
			size_t start = text.len;

			groups[i] = (uint32_t)rand() % 3;
			if (rand() % 10 > 0)
				mb_buf_addf(&text, "%.*s%d", rand() % 2 * 40,
				    "a text that is longer than most, by far",
				    rand() % n_values);
			view[i] = (struct mb_view){ (uint32_t)start,
				(uint16_t)(text.len - start), MB_TEXT };
			if (view[i].len == 0 && rand() % 2)
				view[i].kind = MB_NULL;
		}
		mb_buf_reserve(&text, MB_VIEW_SLACK);
		rows.p = text.p;
		mb_distinct_see_rows(&many, groups, (uint32_t)round % 2, &rows,
		    view, is_new);
		for (size_t i = 0; i < rows.n; i++)
			assert_int_equal(is_new[i], view[i].kind != MB_NULL &&
			    mb_distinct_see(&one, groups[i],
			    (uint32_t)round % 2, rows.p + view[i].start,
			    view[i].len));
		assert_int_equal(many.n, one.n);
	}
	assert_true(many.n > 8000);	/* most of them not near */
	mb_distinct_release(&many);
	mb_distinct_release(&one);
	mb_buf_release(&text);
}

/* Against an array: rising ones, and after something came late any. */
static void
test_ordinals(void **state)
{
	enum { N = 20000 };
	struct mb_ordinals o = { 0 };
	uint64_t *want = mb_zalloc(N * sizeof *want);
	uint64_t *got = mb_zalloc(N * sizeof *got);

	(void)state;
	new_seed();
	for (int round = 0; round < 40; round++) {
		size_t n = (size_t)rand() % N + 1;
		size_t late = round % 3 == 0 ? n : (size_t)rand() % n;
		uint64_t ordinal = (uint64_t)rand(), greatest = 0;
		bool is_mixed = false;

		for (size_t i = 0; i < n; i++) {
			int by = rand() % 100;

			ordinal += by == 0 ? (uint64_t)1 << 32 :
			    by < 5 ? 254 + (unsigned)rand() % 5 :
			    (unsigned)rand() % 4;
			want[i] = ordinal;
			if (i > late && rand() % 50 == 0)
				want[i] -= (uint64_t)rand() % (ordinal + 1);
			mb_ordinals_add(&o, want[i]);
			is_mixed |= want[i] < greatest;
			greatest = want[i] > greatest ? want[i] : greatest;
			assert_int_equal(o.is_mixed, is_mixed);
			assert_int_equal(o.greatest, greatest);
			if (i > late && rand() % 200 == 0) {
				size_t k = (size_t)rand() % (i + 1);

				want[k] -= (uint64_t)rand() % (want[k] + 1);
				mb_ordinals_lower(&o, k, want[k]);
				is_mixed = true;
			}
		}
		for (int k = 0; k < 200; k++) {
			size_t begin = (size_t)rand() % n;
			size_t len = (size_t)rand() % (n - begin) + 1;

			assert_int_equal(mb_ordinals_at(&o, begin),
			    want[begin]);
			mb_ordinals_read(&o, begin, len, got);
			assert_memory_equal(got, want + begin,
			    len * sizeof *got);
		}
		mb_ordinals_settle(&o);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(mb_ordinals_at(&o, i), want[i]);
		mb_ordinals_forget(&o, n / 2);
		assert_int_equal(mb_ordinals_at(&o, n - 1), want[n - 1]);
		mb_ordinals_reset(&o);
	}
	mb_ordinals_release(&o);
	free(want);
	free(got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_large_sums),
		cmocka_unit_test(test_ordinals),
		cmocka_unit_test(test_distinct),
		cmocka_unit_test(test_key_words),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_unite_keys),
		cmocka_unit_test(test_memo),
		cmocka_unit_test(test_totals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
