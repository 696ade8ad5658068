#include "base/exact.h"
#include "base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <time.h>

#include <cmocka.h>

#define NINES_38 "99999999999999999999999999999999999999"
#define ZEROS_38 "00000000000000000000000000000000000000"

static void
new_seed(void)
{
	const char *wish = getenv("MB_SEED");
	unsigned seed = wish != NULL ? (unsigned)strtoul(wish, NULL, 10) :
	    (unsigned)time(NULL);

	print_message("MB_SEED=%u\n", seed);
	srand(seed);
}

static void
test_parse(void **state)
{
	static const struct {
		const char *in;
		const char *out;	/* NULL: text */
		bool is_double;
		unsigned places;
	} cases[] = {
		{ "0", "0", false, 0 },
		{ "-0", "0", false, 0 },
		{ "-0.00", "0.00", false, 2 },
		{ "007", "7", false, 0 },
		{ "+5", "5", false, 0 },
		{ "-5", "-5", false, 0 },
		{ " 12\t", "12", false, 0 },
		{ "5.", "5", false, 0 },
		{ ".5", "0.5", false, 1 },
		{ "-.50", "-0.50", false, 2 },
		{ "0.10", "0.10", false, 2 },
		{ "1234567890123456789", "1234567890123456789", false, 0 },
		{ "9999999999999999999", "9999999999999999999", false, 0 },
		{ "18446744073709551616", "18446744073709551616", false, 0 },
		{ "-999999999999999999.9", "-999999999999999999.9", false, 1 },
		{ NINES_38, NINES_38, false, 0 },
		{ "0" NINES_38, NINES_38, false, 0 },
		{ "0.0" "1" "000000000000000000000000000000000000",
		    "0.01000000000000000000000000000000000000", false, 38 },
		{ "0." ZEROS_38, "0." ZEROS_38, false, 38 },
		{ "1" ZEROS_38, "1e38", true, 0 },
		{ "0.0" ZEROS_38, "0", true, 0 },
		{ "0.00" ZEROS_38 "1", "1e-41", true, 0 },
		{ "1e0", "1", true, 0 },
		{ "1E3", "1000", true, 0 },
		{ "-1.5e+2", "-150", true, 0 },
		{ "-0e0", "0", true, 0 },
		{ "1e-400", "0", true, 0 },
		{ "-1e-400", "0", true, 0 },
		{ ".5e1", "5", true, 0 },
		{ "5.e1", "50", true, 0 },
		{ "0.1e0", "0.1", true, 0 },
		{ "1.7976931348623157e308", "1.7976931348623157e308", true, 0 },
		{ "1e309", NULL, false, 0 },
		{ "-1e309", NULL, false, 0 },
		{ "1e99999999999999999999", NULL, false, 0 },
		{ "0e99999999999999999999", "0", true, 0 },
		{ "", NULL, false, 0 },
		{ " ", NULL, false, 0 },
		{ "-", NULL, false, 0 },
		{ "+", NULL, false, 0 },
		{ ".", NULL, false, 0 },
		{ "-.", NULL, false, 0 },
		{ "+-1", NULL, false, 0 },
		{ "- 1", NULL, false, 0 },
		{ "1 2", NULL, false, 0 },
		{ "1,5", NULL, false, 0 },
		{ "1.2.3", NULL, false, 0 },
		{ "1e", NULL, false, 0 },
		{ "1e+", NULL, false, 0 },
		{ "e5", NULL, false, 0 },
		{ ".e5", NULL, false, 0 },
		{ "1e5.0", NULL, false, 0 },
		{ "0x10", NULL, false, 0 },
		{ "1_000", NULL, false, 0 },
		{ "NaN", NULL, false, 0 },
		{ "nan", NULL, false, 0 },
		{ "Inf", NULL, false, 0 },
		{ "-inf", NULL, false, 0 },
		{ "infinity", NULL, false, 0 },
		{ "true", NULL, false, 0 },
		{ "12abc", NULL, false, 0 },
		{ "1\n", NULL, false, 0 },
		{ "12345678901234567890x", NULL, false, 0 },
		{ "\xc2\xa0" "1", NULL, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_number n;
		struct mb_buf b = { 0 };
		bool ok = mb_number_parse(&n, mb_str(cases[i].in));

		if (ok != (cases[i].out != NULL))
			fail_msg("\"%s\": %s", cases[i].in,
			    ok ? "a number" : "no number");
		if (!ok)
			continue;
		mb_number_format(&b, &n);
		if (strcmp(mb_buf_str(&b), cases[i].out) != 0 ||
		    n.is_double != cases[i].is_double ||
		    (!n.is_double && n.places != cases[i].places))
			fail_msg("\"%s\": got %s%s, %d places", cases[i].in,
			    b.p, n.is_double ? " (double)" : "", n.places);
		mb_buf_release(&b);
	}
	/* The end is the length's, not a NUL's. */
	struct mb_number n;

	assert_false(mb_number_parse(&n, (struct mb_str){ "12\0003", 4 }));
	assert_true(mb_number_parse(&n, (struct mb_str){ "1234", 2 }));
	assert_true(n.units == 12);
}

static void
test_long_digits(void **state)
{
	static const struct {
		const char *head;
		unsigned zeros;
		const char *tail;
		double d;
	} cases[] = {
		{ "0.", 900, "1e901", 1 },
		{ "1", 900, "e-900", 1 },
		{ "0.", 20000, "25e20001", 2.5 },
		{ "1", 20000, "e-20000", 1 },
		/* Half way between two doubles, and a little more. */
		{ "9007199254740993.", 3000, "e0", 9007199254740992.0 },
		{ "9007199254740993.", 3000, "1e0", 9007199254740994.0 },
		{ "9007199254740993.", 3000, "1", 9007199254740994.0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_buf b = { 0 };
		struct mb_number n;

		mb_buf_adds(&b, cases[i].head);
		for (unsigned k = 0; k < cases[i].zeros; k++)
			mb_buf_addc(&b, '0');
		mb_buf_adds(&b, cases[i].tail);
		if (!mb_number_parse(&n, (struct mb_str){ b.p, b.len }) ||
		    !n.is_double || n.real != cases[i].d)
			fail_msg("case %zu: got %.17g", i, n.real);
		mb_buf_release(&b);
	}
}

static void
test_double_format(void **state)
{
	static const struct {
		double in;
		const char *out;
	} cases[] = {
		{ 0, "0" }, { -0.0, "0" }, { 1, "1" }, { -1.5, "-1.5" },
		{ 0.1, "0.1" }, { 0.3, "0.3" },
		{ 0.1 + 0.2, "0.30000000000000004" },
		{ 1.0 / 3, "0.3333333333333333" },
		{ 2.0 / 3, "0.6666666666666666" },
		{ 100, "100" }, { 1e15, "1000000000000000" },
		{ 9007199254740993.0, "9007199254740992" },
		{ 1e20, "100000000000000000000" },
		{ 123456789012345680000.0, "123456789012345680000" },
		{ 1e21, "1e21" }, { -1e21, "-1e21" }, { 1.5e300, "1.5e300" },
		{ 999999999999999900000.0, "999999999999999900000" },
		{ 1e-6, "0.000001" }, { 1.5e-6, "0.0000015" },
		{ 1e-7, "1e-7" }, { 9.99e-7, "9.99e-7" },
		{ 5e-324, "5e-324" }, { 1e-323, "1e-323" },
		{ 2.2250738585072014e-308, "2.2250738585072014e-308" },
		{ 1.7976931348623157e308, "1.7976931348623157e308" },
		/* Powers of two, whose neighbours are unevenly far. */
		{ 0x1p-44, "5.684341886080802e-14" },
		{ 0x1p-1022, "2.2250738585072014e-308" },
		{ 0x1p976, "6.386688990511104e293" },
		{ 9.5367431640625e-07, "9.5367431640625e-7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_buf b = { 0 };

		mb_double_format(&b, cases[i].in);
		if (strcmp(mb_buf_str(&b), cases[i].out) != 0)
			fail_msg("%a: got %s, not %s", cases[i].in, b.p,
			    cases[i].out);
		mb_buf_release(&b);
	}
}

static void
test_compare(void **state)
{
	/* In strictly rising order; '=' joins equal ones to those before. */
	static const char *const order[] = {
		"-1e300", "-" NINES_38, "-" NINES_38 "e0", "-1e0", "=-1",
		"=-1.000", "-0.5", "=-5e-1", "-1e-300", "0", "=0e0", "=0.000",
		"5e-324", "0.00000000000000000000000000000000000001",
		"0.0000000000000000000000000000000000001", "1e-37",
		"0.1", "1e-1", "0.10000000000000000555111512312578270212",
		"0.2999999999999999", "3e-1", "0.3", "1", "=1.0", "=1e0",
		"1.0000000000000000000000000000000000001",
		"9007199254740992e0", "=9007199254740992",
		"9007199254740993", "9007199254740994e0",
		"=9007199254740994.0000", "1e38",
		NINES_38, NINES_38 "000", "1e300",
	};
	const size_t n = sizeof order / sizeof *order;
	int rank[sizeof order / sizeof *order];

	(void)state;
	rank[0] = 0;
	for (size_t i = 1; i < n; i++)
		rank[i] = rank[i - 1] + (order[i][0] != '=');
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			struct mb_number a, b;
			int got, want = (rank[i] > rank[k]) -
			    (rank[i] < rank[k]);

			assert_true(mb_number_parse(&a,
			    mb_str(order[i] + (order[i][0] == '='))));
			assert_true(mb_number_parse(&b,
			    mb_str(order[k] + (order[k][0] == '='))));
			got = mb_number_compare(&a, &b);
			if (got != want)
				fail_msg("%s against %s: got %d", order[i],
				    order[k], got);
		}
}

enum { MAX_VALUES = 100 };

/* What a vector says of its numbers, worked out in parts merged at random. */
static void
work_out(struct mb_buf *out, const struct mb_number *v, unsigned n,
    unsigned n_parts)
{
	struct mb_arena arena = { 0 };
	struct mb_moments part[8] = { 0 };
	struct mb_number total, low = v[0], high = v[0];
	struct mb_err err = { 0 };
	unsigned most = 0;
	double d;

	for (unsigned i = 0; i < n; i++) {
		int c = mb_number_compare(&v[i], &low);

		if (c < 0 || (c == 0 && !v[i].is_double))
			low = v[i];
		c = mb_number_compare(&v[i], &high);
		if (c > 0 || (c == 0 && !v[i].is_double))
			high = v[i];
		if (!v[i].is_double && v[i].places > most)
			most = v[i].places;
		mb_moments_add(&part[(unsigned)rand() % n_parts], &v[i],
		    &arena);
	}
	while (n_parts > 1) {
		unsigned into = (unsigned)rand() % --n_parts;

		mb_moments_merge(&part[into], &part[n_parts], &arena);
	}
	assert_int_equal(part->sum.n, n);
	if (mb_sum_total(&part->sum, &total, &err) < 0)
		mb_buf_addc(out, '!');
	else
		mb_number_format(out, &total);
	mb_buf_addc(out, ';');
	mb_double_format(out, mb_sum_mean(&part->sum));
	mb_buf_addc(out, ';');
	err = (struct mb_err){ 0 };
	if (n > 1 && mb_moments_variance(part, &d, &err) < 0)
		mb_buf_addc(out, '!');
	else if (n > 1)
		mb_double_format(out, d);
	mb_buf_addc(out, ';');
	mb_number_widen(&low, most);
	mb_number_format(out, &low);
	mb_buf_addc(out, ';');
	mb_number_widen(&high, most);
	mb_number_format(out, &high);
	mb_arena_release(&arena);
}

static void
shuffle(struct mb_number *v, unsigned n)
{
	for (unsigned i = n; i > 1; i--) {
		unsigned k = (unsigned)rand() % i;
		struct mb_number t = v[i - 1];

		v[i - 1] = v[k];
		v[k] = t;
	}
}

static void
test_vectors(void **state)
{
	const char *dir = strrchr(__FILE__, '/');
	char path[4096], line[8192];
	unsigned n_lines = 0;
	FILE *f;

	(void)state;
	new_seed();
	snprintf(path, sizeof path, "%.*s/vectors/numbers.txt",
	    (int)(dir - __FILE__), __FILE__);
	f = fopen(path, "r");
	if (f == NULL)
		fail_msg("%s: run the tests from the top", path);
	while (fgets(line, sizeof line, f) != NULL) {
		struct mb_number v[MAX_VALUES];
		struct mb_buf b = { 0 };
		unsigned n = 0;
		char *want, *p = line, *end;

		line[strcspn(line, "\n")] = '\0';
		want = strchr(line, ';');
		assert_non_null(want);
		*want++ = '\0';
		for (;;) {
			end = p + strcspn(p, ",");
			assert_true(n < MAX_VALUES);
			if (!mb_number_parse(&v[n++], (struct mb_str){ p,
			    (size_t)(end - p) }))
				fail_msg("no number: %s", p);
			if (*end == '\0')
				break;
			p = end + 1;
		}
		for (unsigned parts = 1; parts <= 8; parts++) {
			mb_buf_reset(&b);
			work_out(&b, v, n, parts);
			if (strcmp(mb_buf_str(&b), want) != 0)
				fail_msg("%s\n got %s\nwant %s", line, b.p,
				    want);
			shuffle(v, n);
		}
		mb_buf_release(&b);
		n_lines++;
	}
	fclose(f);
	assert_true(n_lines >= 400);
}

/* Decimals of every length and scale, against printf's digits. */
static void
test_decimals(void **state)
{
	static const int64_t edges[] = { 0, 9, 10, 99999999, 100000000,
		9999999999999999, 10000000000000000, INT64_MAX, INT64_MIN };

	(void)state;
	new_seed();
	for (int i = 0; i < 60000; i++) {
		uint64_t bits = (uint64_t)rand() << 42 ^
		    (uint64_t)rand() << 21 ^ (uint64_t)rand();
		int64_t units = (size_t)i < sizeof edges / sizeof *edges * 19 ?
		    edges[i / 19] : (int64_t)(bits << 1) >> rand() % 64;
		unsigned places = (unsigned)i % 19, n;
		char digits[40], want[48], got[MB_DECIMAL_TEXT + 1];

		snprintf(digits, sizeof digits, "%0*llu", (int)places + 1,
		    units < 0 ? -(unsigned long long)units :
		    (unsigned long long)units);
		n = (unsigned)strlen(digits) - places;
		snprintf(want, sizeof want, "%s%.*s%s%s",
		    units < 0 ? "-" : "", (int)n, digits,
		    places > 0 ? "." : "", digits + n);
		*mb_decimal_put(got, units, places) = '\0';
		assert_string_equal(got, want);
	}
}

/* Random doubles read back from as few digits as %.*g ever needs. */
static void
test_shortest(void **state)
{

	(void)state;
	new_seed();
	for (int i = 0; i < 30000; i++) {
		uint64_t bits = (uint64_t)rand() << 42 ^
		    (uint64_t)rand() << 21 ^ (uint64_t)rand();
		struct mb_buf b = { 0 };
		char text[40];
		size_t n_digits = 0, n_least;
		double d;

		if (i % 4 == 0)		/* every power of two and so on */
			bits = (uint64_t)(i / 4 % 2046 + 1) << 52;
		if (i % 4 == 1)
			bits &= UINT64_MAX >> 12;	/* near zero */
		memcpy(&d, &bits, sizeof d);
		if (isnan(d) || isinf(d))
			continue;
		mb_double_format(&b, d);
		if (strtod(mb_buf_str(&b), NULL) != d)
			fail_msg("%a: %s", d, b.p);
		for (const char *p = b.p; *p != '\0' && *p != 'e'; p++)
			n_digits += *p != '.' && *p != '-' &&
			    (*p != '0' || n_digits > 0);
		while (n_digits > 1 && strchr(b.p, 'e') == NULL &&
		    strchr(b.p, '.') == NULL && n_digits > 17)
			n_digits--;
		for (n_least = 1; n_least < 17; n_least++) {
			snprintf(text, sizeof text, "%.*e", (int)n_least - 1,
			    d);
			if (strtod(text, NULL) == d)
				break;
		}
		if (n_digits > n_least && strpbrk(b.p, ".e") != NULL)
			fail_msg("%a: %s, but %s", d, b.p, text);
		mb_buf_release(&b);
	}
}

/* Against 128-bit arithmetic, with values small enough for it. */
static void
test_small_moments(void **state)
{

	(void)state;
	new_seed();
	for (int round = 0; round < 2000; round++) {
		struct mb_arena arena = { 0 };
		struct mb_moments m = { 0 };
		mb_int128 sum = 0, squares = 0;
		int n = 2 + rand() % 50;
		struct mb_err err = { 0 };
		double got, want;

		for (int i = 0; i < n; i++) {
			struct mb_number v = { .units = rand() % 20001 -
			    10000 };

			sum += v.units;
			squares += v.units * v.units;
			mb_moments_add(&m, &v, &arena);
		}
		want = (double)(n * squares - sum * sum) /
		    (double)(n * (n - 1));
		assert_int_equal(mb_moments_variance(&m, &got, &err), 0);
		if (got != want || mb_sum_mean(&m.sum) != (double)sum / n)
			fail_msg("round %d: %.17g, not %.17g", round, got,
			    want);
		assert_int_equal(mb_moments_deviation(&m, &got, &err), 0);
		assert_true(got == sqrt(want));
		mb_arena_release(&arena);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_long_digits),
		cmocka_unit_test(test_decimals),
		cmocka_unit_test(test_double_format),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_shortest),
		cmocka_unit_test(test_small_moments),
	};

	return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
