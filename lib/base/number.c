#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const uint64_t small_power[20] = {
	1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u,
	1000000000u, 10000000000u, 100000000000u, 1000000000000u,
	10000000000000u, 100000000000000u, 1000000000000000u,
	10000000000000000u, 100000000000000000u, 1000000000000000000u,
	10000000000000000000u,
};

/* Powers of ten that a double holds exactly. */
static const double exact_power[23] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
	1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* Integers up to this one are doubles too. */
static const mb_int128 max_whole = (mb_int128)1 << 53;

mb_uint128
mb_power_of_ten(unsigned n)
{
	if (n < 20)
		return small_power[n];
	return (mb_uint128)small_power[19] * small_power[n - 19];
}

static bool
is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * What strtod needs at most: so many digits decide every rounding, one more
 * that isn't zero stands for all the rest.
 */
enum { DECISIVE_DIGITS = 800 };

/*
 * The nearest double to 0.d1d2d3… * 10^exponent, where the digits stand in
 * [p, end), perhaps with a point among them.
 */
static double
nearest_double(const char *p, const char *end, int64_t exponent)
{
	char text[DECISIVE_DIGITS + 40];
	size_t n = 0;
	bool rest = false;

	text[n++] = '.';
	for (; p < end; p++) {
		if (*p == '.')
			continue;
		if (n == 1 && *p == '0')
			exponent--;
		else if (n <= DECISIVE_DIGITS)
			text[n++] = *p;
		else
			rest |= *p != '0';
	}
	if (rest)
		text[n++] = '1';
	snprintf(text + n, sizeof text - n, "e%lld", (long long)exponent);
	return strtod(text, NULL);
}

/*
 * The general case: [p, end) begins with a digit or a point.  `is_negative`
 * was found in front of it.
 */
static bool
parse_any(struct mb_number *out, const char *p, const char *end,
    bool is_negative)
{
	const char *first = NULL, *last = p;	/* digits but leading zeros */
	int64_t n_whole = 0, n_places = 0, exponent = 0;
	bool has_digit = false, has_point = false, has_exponent = false;
	mb_uint128 units = 0;
	double d;

	for (; p < end && (is_digit(*p) || (*p == '.' && !has_point)); p++) {
		if (*p == '.') {
			has_point = true;
			continue;
		}
		has_digit = true;
		if (first == NULL && *p == '0' && !has_point)
			continue;
		if (first == NULL)
			first = p;
		last = p + 1;
		if (has_point)
			n_places++;
		else
			n_whole++;
		if (n_whole + n_places <= MB_DIGITS)
			units = units * 10 + (unsigned)(*p - '0');
	}
	if (!has_digit)
		return false;
	if (p < end && (*p == 'e' || *p == 'E')) {
		bool minus = false;

		has_exponent = true;
		if (++p < end && (*p == '-' || *p == '+'))
			minus = *p++ == '-';
		if (p == end || !is_digit(*p))
			return false;
		for (; p < end && is_digit(*p); p++)
			if (exponent < 1000000000)
				exponent = exponent * 10 + (*p - '0');
		if (minus)
			exponent = -exponent;
	}
	if (p != end)
		return false;
	if (!has_exponent && n_whole + n_places <= MB_DIGITS) {
		*out = (struct mb_number){ .places = (uint8_t)n_places,
		    .units = is_negative ? -(mb_int128)units :
		    (mb_int128)units };
		return true;
	}
	d = first == NULL ? 0 : nearest_double(first, last,
	    exponent + n_whole);
	if (isinf(d))
		return false;
	/* d + 0 would keep the sign of a zero that has underflowed. */
	*out = (struct mb_number){ .is_double = true,
	    .real = d == 0 ? 0 : is_negative ? -d : d };
	return true;
}

bool
mb_number_parse(struct mb_number *out, struct mb_str text)
{
	const char *p = text.p, *end = text.p + text.len, *start;
	bool is_negative = false;
	uint64_t units = 0;
	unsigned places = 0;

	while (p < end && is_blank(*p))
		p++;
	while (p < end && is_blank(end[-1]))
		end--;
	if (p == end)
		return false;
	if (*p == '-' || *p == '+')
		is_negative = *p++ == '-';
	if (end - p > 19)
		return parse_any(out, p, end, is_negative);

	/* Nearly all numbers are short, and need one word. */
	start = p;
	for (; p < end && is_digit(*p); p++)
		units = units * 10 + (unsigned)(*p - '0');
	if (p == start)
		return parse_any(out, start, end, is_negative);
	if (p < end) {
		if (*p++ != '.')
			return parse_any(out, start, end, is_negative);
		places = (unsigned)(end - p);
		for (; p < end && is_digit(*p); p++)
			units = units * 10 + (unsigned)(*p - '0');
		if (p < end)
			return parse_any(out, start, end, is_negative);
	}
	out->is_double = false;
	out->places = (uint8_t)places;
	out->units = is_negative ? -(mb_int128)units : (mb_int128)units;
	return true;
}

double
mb_number_double(const struct mb_number *n)
{
	char digits[MB_DIGITS + 1];
	mb_uint128 rest;
	size_t i = sizeof digits;
	double d;

	if (n->is_double)
		return n->real;
	if (n->units <= max_whole && n->units >= -max_whole && n->places <= 22)
		return (double)n->units / exact_power[n->places];
	rest = n->units < 0 ? -(mb_uint128)n->units : (mb_uint128)n->units;
	while (rest > 0) {
		digits[--i] = (char)('0' + (int)(rest % 10));
		rest /= 10;
	}
	d = nearest_double(digits + i, digits + sizeof digits,
	    (int64_t)(sizeof digits - i) - n->places);
	return n->units < 0 ? -d : d;
}

void
mb_number_widen(struct mb_number *n, unsigned places)
{
	const mb_int128 limit = (mb_int128)mb_power_of_ten(MB_DIGITS - 1);

	if (n->is_double)
		return;
	while (n->places < places && n->units < limit && n->units > -limit) {
		n->units *= 10;
		n->places++;
	}
}

static int
sign_of(mb_int128 v)
{
	return (v > 0) - (v < 0);
}

static int
compare_exact(const struct mb_number *a, const struct mb_number *b)
{
	mb_int128 scaled;

	if (a->places < b->places)
		return -compare_exact(b, a);
	/* Too large to be brought to a's places is larger than a. */
	if (__builtin_mul_overflow(b->units,
	    (mb_int128)mb_power_of_ten(a->places - b->places), &scaled))
		return -sign_of(b->units);
	return (a->units > scaled) - (a->units < scaled);
}

/* Up to 256 bits. */
struct wide {
	mb_uint128 hi, lo;
};

static struct wide
times(mb_uint128 a, uint64_t b)
{
	mb_uint128 low = (mb_uint128)(uint64_t)a * b;
	mb_uint128 high = (mb_uint128)(uint64_t)(a >> 64) * b + (low >> 64);

	return (struct wide){ high >> 64, high << 64 | (uint64_t)low };
}

static struct wide
shifted(mb_uint128 a, int bits)
{
	if (bits == 0)
		return (struct wide){ 0, a };
	if (bits >= 128)
		return (struct wide){ a << (bits - 128), 0 };
	return (struct wide){ a >> (128 - bits), a << bits };
}

/* Exact against double, when the nearest double to `a` is `d`: who is more? */
static int
compare_near(const struct mb_number *a, double d)
{
	mb_uint128 units = a->units < 0 ? -(mb_uint128)a->units :
	    (mb_uint128)a->units;
	struct wide left, right;
	uint64_t mantissa;
	int exponent, order;

	if (d == 0)
		return 0;	/* 10^-38 doesn't underflow, so a is 0 too */
	mantissa = (uint64_t)ldexp(frexp(fabs(d), &exponent), 53);
	exponent -= 53;
	/* units / 10^places against mantissa * 2^exponent */
	right = times(mb_power_of_ten(a->places), mantissa);
	left = (struct wide){ 0, units };
	if (exponent < 0) {
		/*
		 * Both sides are about 53 + 127 bits at most, as they are
		 * nearly equal; nothing is shifted out.
		 */
		left = shifted(units, -exponent);
	} else {
		right = shifted(right.lo, exponent);
	}
	order = left.hi != right.hi ? (left.hi > right.hi ? 1 : -1) :
	    (left.lo > right.lo) - (left.lo < right.lo);
	return a->units < 0 ? -order : order;
}

int
mb_number_compare(const struct mb_number *a, const struct mb_number *b)
{
	double x, y;

	if (!a->is_double && !b->is_double) {
		if (a->places == b->places)
			return (a->units > b->units) - (a->units < b->units);
		return compare_exact(a, b);
	}
	/* Rounding keeps the order, but may make two numbers one. */
	x = mb_number_double(a);
	y = mb_number_double(b);
	if (x != y)
		return x < y ? -1 : 1;
	if (!a->is_double)
		return compare_near(a, y);
	if (!b->is_double)
		return -compare_near(b, x);
	return 0;
}

/*
 * Eight digits at once, the first in the lowest byte: halves, and again
 * halves.  The reciprocals are exact for so few digits.
 */
static inline uint64_t
digits_of(uint32_t v)
{
	uint64_t t = v / 10000 | (uint64_t)(v % 10000) << 32, q;

	q = (t * 10486 >> 20) & 0x0000007f0000007f;	/* / 100 */
	t = q | (t - q * 100) << 16;
	q = (t * 103 >> 10) & 0x000f000f000f000f;	/* / 10 */
	return q | (t - q * 10) << 8;
}

static inline char *
store_digits(char *to, uint64_t digits, unsigned n)
{
	digits |= 0x3030303030303030;
	memcpy(to, &digits, 8);
	return to + n;
}

/*
 * How many digits there are is nothing that can be foreseen, so up to eight
 * take no branch; what is stored behind them doesn't matter.
 */
enum { EIGHT = 100000000 };

static inline char *
put_eight(char *to, uint32_t v)
{
	uint64_t digits = digits_of(v);
	unsigned zeros = (unsigned)__builtin_ctzll(digits |
	    (uint64_t)1 << 56) / 8;

	return store_digits(to, digits >> 8 * zeros, 8 - zeros);
}

static char *
put_digits(char *to, uint64_t v)
{
	if (v >= EIGHT)
		return store_digits(put_digits(to, v / EIGHT),
		    digits_of((uint32_t)(v % EIGHT)), 8);
	return put_eight(to, (uint32_t)v);
}

char *
mb_decimal_put(char *to, int64_t units, unsigned places)
{
	uint64_t v = (uint64_t)units, power = small_power[places];
	char *point;

	*to = '-';
	to += units < 0;
	v = units < 0 ? -v : v;
	if (places == 0)
		return v < EIGHT ? put_eight(to, (uint32_t)v) :
		    put_digits(to, v);
	point = put_digits(to, v / power);
	/* A 1 in front keeps the zeros; it makes room for the point. */
	to = put_digits(point, power + v % power);
	*point = '.';
	return to;
}

void
mb_number_format(struct mb_buf *out, const struct mb_number *n)
{
	/* A sign, a point, and at least one digit in front of it. */
	char text[MB_DIGITS + 4];
	size_t i = sizeof text;
	mb_uint128 rest;
	uint64_t part;
	unsigned n_digits = 0;

	if (n->is_double) {
		mb_double_format(out, n->real);
		return;
	}
	if (n->places <= 18 && n->units == (int64_t)n->units) {
		mb_buf_reserve(out, MB_DECIMAL_TEXT);
		out->len = (size_t)(mb_decimal_put(out->p + out->len,
		    (int64_t)n->units, n->places) - out->p);
		return;
	}
	rest = n->units < 0 ? -(mb_uint128)n->units : (mb_uint128)n->units;
	do {
		/* 128-bit division is slow: 19 digits at a time, if at all. */
		if (rest < small_power[19]) {
			part = (uint64_t)rest;
			rest = 0;
		} else {
			part = (uint64_t)(rest % small_power[19]);
			rest /= small_power[19];
		}
		for (int k = 0; k < 19 && (rest > 0 || part > 0 ||
		    n_digits <= n->places); k++) {
			if (n_digits == n->places && n->places > 0)
				text[--i] = '.';
			text[--i] = (char)('0' + part % 10);
			part /= 10;
			n_digits++;
		}
	} while (rest > 0 || n_digits <= n->places);
	if (n->units < 0)
		text[--i] = '-';
	mb_buf_add(out, text + i, sizeof text - i);
}

/*
 * The digits of |d| without zeros at the end, as few as read back; *exponent
 * is that of the first: d1.d2d3… * 10^exponent.
 */
static void
shortest_digits(char digits[20], int *exponent, double d)
{
	int unused, n;
	char text[40];
	/*
	 * 15 digits survive in every normal double, so that a text of up to
	 * 15 is found at once.  Small doubles have fewer.
	 */
	int from = d < 2.2250738585072014e-308 ? 1 : 15;

	for (int precision = from; precision <= 17; precision++) {
		snprintf(text, sizeof text, "%.*e", precision - 1, d);
		if (strtod(text, NULL) == d)
			break;
		/*
		 * Below a power of two the doubles lie twice as close as
		 * above: what is nearest may belong to the lower neighbour,
		 * while the next text above is still ours.
		 */
		if (frexp(d, &unused) == 0.5 && precision > 1) {
			char *last = strchr(text, 'e') - 1;

			if (*last != '9') {
				++*last;
				if (strtod(text, NULL) == d)
					break;
			}
		}
	}
	n = 0;
	digits[n++] = text[0];
	if (text[1] == '.')
		for (const char *p = text + 2; *p != 'e'; p++)
			digits[n++] = *p;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	digits[n] = '\0';
	*exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
}

void
mb_double_format(struct mb_buf *out, double d)
{
	char digits[20];
	int exponent, n;

	if (d == 0) {
		mb_buf_addc(out, '0');
		return;
	}
	if (d < 0) {
		mb_buf_addc(out, '-');
		d = -d;
	}
	if (d <= (double)max_whole && d == floor(d)) {
		mb_buf_addf(out, "%llu", (unsigned long long)d);
		return;
	}
	shortest_digits(digits, &exponent, d);
	n = (int)strlen(digits);
	if (exponent < -6 || exponent >= 21) {
		mb_buf_addc(out, digits[0]);
		if (n > 1) {
			mb_buf_addc(out, '.');
			mb_buf_add(out, digits + 1, (size_t)n - 1);
		}
		mb_buf_addf(out, "e%d", exponent);
		return;
	}
	if (exponent < 0) {
		mb_buf_adds(out, "0.");
		for (int i = -1; i > exponent; i--)
			mb_buf_addc(out, '0');
		mb_buf_add(out, digits, (size_t)n);
		return;
	}
	for (int i = 0; i <= exponent || i < n; i++) {
		if (i == exponent + 1)
			mb_buf_addc(out, '.');
		mb_buf_addc(out, i < n ? digits[i] : '0');
	}
}
