/* lib/parquet: bits, codecs, dictionaries, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/hash.h"
#include "parquet/bits.h"
#include "parquet/bounds.h"
#include "parquet/codec.h"
#include "parquet/dictionary.h"
#include "parquet/format.h"
#include "parquet/thrift.h"
#include "parquet/writer.h"
#include "random.h"

static void
hybrids_come_back_at_every_width(void **state)
{
	enum { MOST = 700 };
	uint32_t v[MOST], back[MOST];
	uint8_t bytes[MOST];
	struct mb_buf out = { 0 };

	(void)state;
	for (unsigned width = 0; width <= 32; width++)
		for (size_t n = 0; n <= MOST; n += 1 + n / 3) {
			uint64_t mask = ((uint64_t)1 << width) - 1;
			uint32_t value = 0;
			struct mb_hybrid h;

			/* runs of all lengths between noise */
			for (size_t i = 0; i < n; i++) {
				if (i % 100 < 30 || random_bits() % 20 == 0)
					value = (uint32_t)(random_bits() &
					    mask);
				v[i] = value;
				bytes[i] = (uint8_t)value;
			}
			mb_buf_reset(&out);
			mb_hybrid_put(&out, v, n, width);
			mb_hybrid_begin(&h, (struct mb_str){ out.p, out.len },
			    width);
			/* in two pieces */
			assert_true(mb_hybrid_take(&h, back, n / 3));
			assert_true(mb_hybrid_take(&h, back + n / 3,
			    n - n / 3));
			assert_memory_equal(v, back, n * sizeof *v);
			if (width > 8)
				continue;
			mb_buf_reset(&out);
			mb_hybrid_put_bytes(&out, bytes, n, width);
			mb_hybrid_begin(&h, (struct mb_str){ out.p, out.len },
			    width);
			assert_true(mb_hybrid_take(&h, back, n));
			assert_memory_equal(v, back, n * sizeof *v);
		}
	mb_buf_release(&out);
}

/* Runs that end anywhere, over more than one buffer of any kind. */
static void
levels_of_long_pages_come_back(void **state)
{
	enum { N = 100000 };
	uint8_t *v = mb_alloc(N);
	uint32_t *back = mb_alloc(N * sizeof *back);

	(void)state;
	for (int turn = 0; turn < 20; turn++) {
		struct mb_buf out = { 0 };
		struct mb_hybrid h;

		for (size_t i = 0; i < N;) {
			uint64_t bits = random_bits();
			size_t run = 1 + (bits >> 33) %
			    (turn < 10 ? 300 : 12000);

			for (; run > 0 && i < N; run--)
				v[i++] = bits & 3;
		}
		mb_hybrid_put_bytes(&out, v, N, 2);
		mb_hybrid_begin(&h, (struct mb_str){ out.p, out.len }, 2);
		assert_true(mb_hybrid_take(&h, back, N));
		for (size_t i = 0; i < N; i++)
			if (back[i] != v[i])
				fail_msg("turn %d: level %zu", turn, i);
		mb_buf_release(&out);
	}
	free(v);
	free(back);
}

static void
hybrids_that_are_cut_are_noticed(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		unsigned width;
		size_t n;
		bool good;
	} cases[] = {
		{ "\x10\x05", 2, 3, 8, true },
		{ "\x10\x05", 2, 3, 9, false },		/* nothing follows */
		{ "\x10", 1, 3, 1, false },		/* no value */
		{ "\x00\x05\x10\x05", 4, 3, 1, false },	/* a run of none */
		{ "\x03\x88\xc6\xfa", 4, 3, 8, true },
		{ "\x03\x88\xc6", 3, 3, 8, false },
		{ "\x03\x88\xc6", 3, 3, 5, true },	/* padding left out */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, 3, 1, false },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, 3, 1, false },
		{ "\x03", 1, 0, 8, true },
		{ "", 0, 0, 1, false },
	};
	uint32_t v[16];
	struct mb_hybrid h;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mb_hybrid_begin(&h, (struct mb_str){ cases[i].in,
		    cases[i].len }, cases[i].width);
		if (mb_hybrid_take(&h, v, cases[i].n) != cases[i].good)
			fail_msg("case %zu", i);
	}
}

static bool
take_deltas(struct mb_str in, bool is_32, int64_t *out, size_t n, size_t piece)
{
	struct mb_delta d;

	if (!mb_delta_begin(&d, in, is_32) || d.left != n)
		return false;
	for (size_t len; n > 0; out += len, n -= len) {
		len = n < piece ? n : piece;
		if (!mb_delta_take(&d, out, len))
			return false;
	}
	assert_int_equal(d.left, 0);
	assert_false(mb_delta_take(&d, out, 1));
	return true;
}

static void
check_deltas(const uint64_t *v, size_t n, bool is_32)
{
	struct mb_buf out = { 0 };
	int64_t *back = mb_realloc_array(NULL, n + 1, sizeof *back);
	struct mb_str in;

	mb_delta_put(&out, v, n, is_32);
	assert_in_range(mb_delta_size(v, n, is_32) + 20, out.len,
	    out.len + 40 + n / 20);
	mb_buf_addc(&out, 'x');
	in = (struct mb_str){ out.p, out.len };
	for (size_t piece = 1; piece < n + 2; piece = piece * 3 + 4) {
		assert_true(take_deltas(in, is_32, back, n, piece));
		for (size_t i = 0; i < n; i++)
			assert_int_equal(back[i], is_32 ? (int32_t)v[i] :
			    (int64_t)v[i]);
	}
	assert_true(mb_delta_skip(&in));
	assert_int_equal(in.len, 1);
	/* cut anywhere, on the heap so that reading beyond is noticed */
	for (size_t len = 0; len + 1 < out.len; len += 1 + len / 7) {
		char *copy = mb_alloc(len);

		memcpy(copy, out.p, len);
		in = (struct mb_str){ copy, len };
		assert_false(mb_delta_skip(&in));
		assert_false(take_deltas(in, is_32, back, n, n + 1));
		free(copy);
	}
	free(back);
	mb_buf_release(&out);
}

static void
deltas_come_back_however_far_apart(void **state)
{
	enum { MOST = 600 };
	uint64_t v[MOST];

	(void)state;
	for (size_t n = 0; n <= MOST; n += 1 + n / 2)
		for (unsigned width = 0; width <= 64; width += 1) {
			uint64_t mask = width == 64 ? UINT64_MAX :
			    ((uint64_t)1 << width) - 1;

			for (size_t i = 0; i < n; i++)
				v[i] = (random_bits() & mask) - mask / 2;
			check_deltas(v, n, false);
			check_deltas(v, n, true);
		}
	for (size_t i = 0; i < MOST; i++)
		v[i] = i % 2 == 0 ? (uint64_t)INT64_MIN : INT64_MAX;
	check_deltas(v, MOST, false);
	for (size_t i = 0; i < MOST; i++)
		v[i] = i % 2 == 0 ? (uint64_t)INT32_MIN : INT32_MAX;
	check_deltas(v, MOST, true);
	for (size_t i = 0; i < MOST; i++)
		v[i] = i * 1000;
	assert_true(mb_delta_size(v, MOST, false) < 60);
}

static void
codecs_come_back_and_notice_damage(void **state)
{
	static const enum mb_parquet_codec codecs[] = {
		MB_PARQUET_CODEC_NONE, MB_PARQUET_CODEC_SNAPPY,
		MB_PARQUET_CODEC_GZIP, MB_PARQUET_CODEC_ZSTD,
	};
	struct mb_buf text = { 0 }, out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
		struct mb_err err = { 0 };
		struct mb_press *p;

		if (codecs[i] == MB_PARQUET_CODEC_ZSTD && !mb_has_zstd) {
			assert_int_equal(mb_press_open(&p, codecs[i], 0,
			    &err), -1);
			assert_int_equal(err.code, MB_EUSAGE);
			continue;
		}
		assert_int_equal(mb_press_open(&p, codecs[i], 0, &err), 0);
		for (size_t n = 0; n < 300000; n = n * 3 + 1) {
			char *back = mb_alloc(n + 1);

			mb_buf_reset(&text);
			while (text.len < n)
				mb_buf_addf(&text, random_bits() % 3 == 0 ?
				    "%llx" : "the same again and again, ",
				    (unsigned long long)random_bits());
			mb_buf_reset(&out);
			mb_press_put(p, &out, (struct mb_str){ text.p, n });
			assert_int_equal(mb_unpress(codecs[i], back, n,
			    (struct mb_str){ out.p, out.len }, &err), 0);
			if (n > 0)
				assert_memory_equal(back, text.p, n);
			/* too long, too short, cut */
			assert_int_equal(mb_unpress(codecs[i], back, n + 1,
			    (struct mb_str){ out.p, out.len }, &err), -1);
			assert_int_equal(err.code, MB_EDATA);
			err.code = MB_OK;
			assert_int_equal(n == 0 ? -1 : mb_unpress(codecs[i],
			    back, n - 1, (struct mb_str){ out.p, out.len },
			    &err), -1);
			err.code = MB_OK;
			assert_int_equal(n == 0 ? -1 : mb_unpress(codecs[i],
			    back, n, (struct mb_str){ out.p, out.len - 1 },
			    &err), -1);
			err.code = MB_OK;
			free(back);
		}
		mb_press_close(p);
	}
	mb_buf_release(&text);
	mb_buf_release(&out);
}

static void
foreign_blocks_are_read(void **state)
{
	static const struct {
		enum mb_parquet_codec codec;
		const char *in;
		size_t len;
		const char *out;	/* NULL: damaged */
		size_t out_len;
	} cases[] = {
		/* literals, then a copy that overlaps itself */
		{ MB_PARQUET_CODEC_SNAPPY, "\x08\x04" "ab" "\x16\x02\x00", 7,
		    "abababab", 8 },
		{ MB_PARQUET_CODEC_SNAPPY, "\x08\x04" "ab" "\x09\x02", 6,
		    "ab" "ababab", 8 },
		{ MB_PARQUET_CODEC_SNAPPY, "\x08\x04" "ab" "\x17\x02\0\0\0", 9,
		    "abababab", 8 },
		{ MB_PARQUET_CODEC_SNAPPY, "\x08\x04" "ab" "\x09\x03", 6,
		    NULL, 8 },			/* before the beginning */
		{ MB_PARQUET_CODEC_SNAPPY, "\x08\x04" "ab" "\x09\x00", 6,
		    NULL, 8 },
		{ MB_PARQUET_CODEC_SNAPPY, "\x05\xf0\x04" "abcde", 8,
		    "abcde", 5 },
		{ MB_PARQUET_CODEC_SNAPPY, "\x05\xf0\x05" "abcde", 8, NULL,
		    5 },
		{ MB_PARQUET_CODEC_SNAPPY, "\x05\xfc\xff\xff\xff\xff" "abcde",
		    11, NULL, 5 },
		{ MB_PARQUET_CODEC_LZ4_RAW, "\x22" "ab" "\x02\x00", 5,
		    "abababab", 8 },
		{ MB_PARQUET_CODEC_LZ4_RAW, "\x22" "ab" "\x02\x00\x10" "z", 7,
		    "ababababz", 9 },
		{ MB_PARQUET_CODEC_LZ4_RAW, "\x22" "ab" "\x03\x00", 5, NULL,
		    8 },
		{ MB_PARQUET_CODEC_LZ4_RAW, "\x22" "ab" "\x00\x00", 5, NULL,
		    8 },
		{ MB_PARQUET_CODEC_LZ4_RAW, "\xf0\x01" "0123456789abcdef", 18,
		    "0123456789abcdef", 16 },
		{ MB_PARQUET_CODEC_LZ4_RAW, "\xf0\xff\xff\xff", 4, NULL, 16 },
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		bool good = mb_unpress(cases[i].codec, out, cases[i].out_len,
		    (struct mb_str){ cases[i].in, cases[i].len }, &err) == 0;

		if (good != (cases[i].out != NULL) || (good &&
		    memcmp(out, cases[i].out, cases[i].out_len) != 0))
			fail_msg("case %zu: %s", i, err.msg);
	}
}

static void
dictionaries_number_values_as_they_appear(void **state)
{
	enum { N = 5000 };
	static const enum mb_shape shapes[] = { MB_SHAPE_SLOT, MB_SHAPE_WIDE,
		MB_SHAPE_BYTES };
	uint64_t slots[2 * N];
	uint32_t codes[N];

	(void)state;
	for (size_t k = 0; k < 9; k++) {
		struct mb_dictionary d = { .shape = shapes[k % 3],
			.seed = random_bits() };
		size_t distinct = k < 3 ? 7 : k < 6 ? 900 : N, next = 0;
		struct mb_buf bytes = { 0 };
		size_t *first = mb_zalloc(N * sizeof *first);

		for (size_t i = 0; i < N; i++) {
			uint64_t v = random_bits() % distinct;

			if (d.shape == MB_SHAPE_BYTES) {
				size_t had = bytes.len;

				/* all lengths, equal beginnings */
				for (size_t j = v % 40; j > 0; j--)
					mb_buf_addc(&bytes, 'a');
				mb_buf_addf(&bytes, "%llu",
				    (unsigned long long)v);
				slots[i] = bytes.len - had;
			} else if (d.shape == MB_SHAPE_WIDE) {
				slots[2 * i] = v % 3;
				slots[2 * i + 1] = v / 3;
			} else {
				slots[i] = v;
			}
			first[i] = v;
		}
		mb_buf_reserve(&bytes, MB_DICTIONARY_SLACK);
		mb_dictionary_codes(&d, codes, slots, bytes.p, N);
		for (size_t i = 0; i < N; i++) {
			size_t j = 0;

			while (first[j] != first[i])
				j++;
			if (j == i)
				assert_int_equal(codes[i], next++);
			else
				assert_int_equal(codes[i], codes[j]);
		}
		assert_int_equal(d.n, next);
		mb_dictionary_reset(&d);
		assert_int_equal(d.n, 0);
		mb_dictionary_codes(&d, codes, slots, bytes.p, 1);
		assert_int_equal(codes[0], 0);
		mb_dictionary_release(&d);
		mb_buf_release(&bytes);
		free(first);
	}
}

static void
cut_bounds_still_bound(void **state)
{
	static const struct {
		const char *in;
		bool is_text;
		size_t chars, bytes;
		const char *min, *max;	/* max NULL: there is none */
	} cases[] = {
		{ "abc", true, 3, 9, "abc", "abc" },
		{ "abc", true, 2, 9, "ab", "ac" },
		{ "abc", true, 9, 2, "ab", "ac" },
		{ "", true, 1, 1, "", "" },
		{ "a\x7f" "b", true, 2, 9, "a\x7f", "a\xc2\x80" },
		{ "\xc3\xa4\xc3\xb6", true, 1, 9, "\xc3\xa4", "\xc3\xa5" },
		{ "\xc3\xa4\xc3\xb6", true, 9, 3, "\xc3\xa4", "\xc3\xa5" },
		{ "\xc3\xa4\xc3\xb6", true, 9, 1, "", NULL },
		{ "\xdf\xbfz", true, 1, 9, "\xdf\xbf", "\xe0\xa0\x80" },
		{ "\xed\x9f\xbfz", true, 1, 9, "\xed\x9f\xbf",
		    "\xee\x80\x80" },		/* over the surrogates */
		{ "\xef\xbf\xbfz", true, 1, 9, "\xef\xbf\xbf",
		    "\xf0\x90\x80\x80" },
		{ "\xf4\x8f\xbf\xbfz", true, 1, 9, "\xf4\x8f\xbf\xbf", NULL },
		{ "b\xf4\x8f\xbf\xbfz", true, 2, 9, "b\xf4\x8f\xbf\xbf", "c" },
		{ "ab\xff", false, 2, 2, "ab", "ac" },
		{ "a\xff\xff\xff", false, 3, 3, "a\xff\xff", "b" },
		{ "\xff\xff\xff", false, 2, 2, "\xff\xff", NULL },
		{ "\xc3\xa4\xc3\xb6", false, 3, 3, "\xc3\xa4\xc3",
		    "\xc3\xa4\xc4" },
	};
	struct mb_buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_str in = mb_str(cases[i].in), s = in;
		bool has, min_cut, max_cut;

		min_cut = mb_parquet_cut_min(&s, cases[i].is_text,
		    cases[i].chars, cases[i].bytes);
		max_cut = mb_parquet_cut_max(&out, &has, in,
		    cases[i].is_text, cases[i].chars, cases[i].bytes);
		if (!mb_str_eq(s, mb_str(cases[i].min)) ||
		    min_cut != (s.len < in.len) || max_cut != min_cut ||
		    has != (cases[i].max != NULL) || (has && !mb_str_eq(
		    (struct mb_str){ out.p, out.len },
		    mb_str(cases[i].max))))
			fail_msg("case %zu: %.*s", i, (int)out.len, out.p);
	}
	mb_buf_release(&out);
}

static void
decimals_take_the_least_bytes(void **state)
{
	static const uint8_t cases[][2] = { { 1, 1 }, { 2, 1 }, { 3, 2 },
		{ 4, 2 }, { 5, 3 }, { 9, 4 }, { 18, 8 }, { 19, 9 }, { 20, 9 },
		{ 21, 9 }, { 22, 10 }, { 38, 16 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(mb_decimal_len(cases[i][0]), cases[i][1]);
}

static void
thrift_skips_what_it_doesnt_know(void **state)
{
	struct mb_buf buf = { 0 };
	struct mb_thrift_out o = { .buf = &buf };
	struct mb_thrift_field f;
	struct mb_thrift_in in;
	size_t seen = 0;

	(void)state;
	mb_thrift_put_i32(&o, 1, -7);
	mb_thrift_begin(&o, 20);		/* unknown, of every kind */
	mb_thrift_put_bool(&o, 1, true);
	mb_thrift_put_i8(&o, 2, 3);
	mb_thrift_put_list(&o, 3, MB_THRIFT_STRUCT, 20);
	for (int i = 0; i < 20; i++) {
		mb_thrift_begin_element(&o);
		mb_thrift_put_bytes(&o, 300, mb_str("x"));
		mb_thrift_end(&o);
	}
	mb_thrift_put_list(&o, 4, MB_THRIFT_TRUE, 2);
	mb_thrift_add_bool(&o, true);
	mb_thrift_add_bool(&o, false);
	mb_thrift_end(&o);
	mb_thrift_put_i64(&o, 21, INT64_MIN);
	mb_thrift_put_list(&o, 22, MB_THRIFT_I32, 2);
	mb_thrift_add_i32(&o, 5);
	mb_thrift_add_i32(&o, 6);
	mb_thrift_end(&o);

	for (size_t len = 0; len <= buf.len; len++) {
		char *copy = mb_alloc(len);

		memcpy(copy, buf.p, len);
		in = (struct mb_thrift_in){ .start = (uint8_t *)copy,
			.p = (uint8_t *)copy, .end = (uint8_t *)copy + len };
		seen = 0;
		mb_thrift_enter(&in);
		while (mb_thrift_next(&in, &f)) {
			seen++;
			if (f.id == 1) {
				assert_true(mb_thrift_int(&in, f) ==
				    (in.bad == NULL ? -7 : 0));
			} else if (f.id == 21) {
				assert_true(mb_thrift_int(&in, f) ==
				    (in.bad == NULL ? INT64_MIN : 0));
			} else {
				mb_thrift_skip(&in, f);
			}
		}
		assert_int_equal(in.bad == NULL, len == buf.len);
		free(copy);
	}
	assert_int_equal(seen, 4);
	mb_buf_release(&buf);
}

static void
thrift_nested_too_deep_is_refused(void **state)
{
	char deep[1000];
	struct mb_thrift_in in = { .start = (uint8_t *)deep,
		.p = (uint8_t *)deep, .end = (uint8_t *)deep + sizeof deep };
	struct mb_thrift_field f;

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		/* structs in structs; lists of one list */
		memset(deep, kind == 0 ? 0x1c : 0x19, sizeof deep);
		in.p = in.start;
		in.bad = NULL;
		in.depth = 0;
		mb_thrift_enter(&in);
		while (mb_thrift_next(&in, &f))
			mb_thrift_skip(&in, f);
		assert_string_equal(in.bad, "metadata is nested too deep");
		assert_in_range(in.bad_off, 10, 20);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hybrids_come_back_at_every_width),
		cmocka_unit_test(levels_of_long_pages_come_back),
		cmocka_unit_test(hybrids_that_are_cut_are_noticed),
		cmocka_unit_test(deltas_come_back_however_far_apart),
		cmocka_unit_test(codecs_come_back_and_notice_damage),
		cmocka_unit_test(foreign_blocks_are_read),
		cmocka_unit_test(dictionaries_number_values_as_they_appear),
		cmocka_unit_test(cut_bounds_still_bound),
		cmocka_unit_test(decimals_take_the_least_bytes),
		cmocka_unit_test(thrift_skips_what_it_doesnt_know),
		cmocka_unit_test(thrift_nested_too_deep_is_refused),
	};

	return cmocka_run_group_tests(tests, random_seed, NULL);
}
