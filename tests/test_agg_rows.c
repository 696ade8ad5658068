/* Rows at once, by each set of instructions, against one value at a time. */
#include "agg/column.h"
#include "agg/key_words.h"
#include "agg/keys.h"
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
		for (rows.isa = MB_ISA_PORTABLE; rows.isa <= MB_ISA_AVX512;
		    rows.isa++)
			if (mb_isa_is_there(rows.isa))
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

	mb_keys_find_rows(t, rows, fields, ordinal, numbers, groups);
	for (size_t i = 0; i < rows->n; i++) {
		struct mb_value values[N_FIELDS];
		struct mb_group *group;
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
		assert_int_equal(group->ordinal,
		    mb_keys_group(one, want)->ordinal);
		for (size_t k = 0; k < n_keys; k++) {
			struct mb_str text = mb_group_key_text(&group->key[k]);
			struct mb_value v = values[fields[k]];

			assert_int_equal(text.len, v.len);
			assert_memory_equal(text.p, v.p, v.len);
			assert_int_equal(mb_group_key_kind(&group->key[k]),
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
		keys[i] = mb_keys_group(t, numbers[i])->key;
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
	static const int longest[] = { 3, 12, 13, 28, 29, 70 };
	static const size_t fields[N_FIELDS] = { 2, 0, 1 };
	static struct mb_view view[N_FIELDS * MB_ROWS];
	struct mb_rows rows = { .view = view };
	struct mb_buf text = { 0 };

	(void)state;
	new_seed();
	for (size_t n_keys = 0; n_keys <= N_FIELDS; n_keys++) {
		for (rows.isa = MB_ISA_PORTABLE; rows.isa <= MB_ISA_AVX512;
		    rows.isa++) {
			struct mb_keys *t, *one;

			if (!mb_isa_is_there(rows.isa))
				continue;
			mb_keys_open(&t, n_keys, 8, (uint64_t)rand());
			mb_keys_open(&one, n_keys, 8, (uint64_t)rand());
			/* Narrow ones first: each width must find them. */
			for (int round = 0; round < 120; round++) {
				make_key_rows(&rows, &text, round < 60 ?
				    longest[round / 10] :
				    longest[rand() % 6]);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_key_words),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
