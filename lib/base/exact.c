#include "base/exact.h"

#include <assert.h>
#include <math.h>

/*
 * Three kinds of integers, from narrow to wide:
 *
 *   units    128 bits inside the sum; enough for nearly everything
 *   fixed    a window of 64-bit words over a very long fixed-point number,
 *            which grows to where numbers are added; it holds the decimals
 *            that units can't, and all doubles
 *   big      sign and magnitude on the stack, for the results
 *
 * The first power of a number is kept in units of 10^-38 and 2^-1088, its
 * square in the squares of these: whole words below the smallest double.
 */
enum {
	FRACTION_WORDS = 17,	/* 2^-1074 is the smallest double */
	BIG_WORDS = 128,	/* squares of doubles as decimals need 75 */
};

struct fixed {
	uint64_t *word;		/* two's complement, low word first */
	unsigned first;		/* the place of word[0] */
	unsigned len, cap;
};

struct mb_exact_wide {
	struct fixed decimal, binary;
};

/*
 * Make the window reach from word `first` to one word beyond `end`.  That
 * word takes the carries: at most one an addition, so it never turns over.
 */
static void
fixed_cover(struct fixed *f, unsigned first, unsigned end,
    struct mb_arena *arena)
{
	unsigned old_first = f->first, old_end = f->first + f->len;
	unsigned new_first, new_end, len;
	uint64_t *word = f->word, sign = 0;

	if (f->len == 0) {
		new_first = first;
		new_end = end + 1;
	} else {
		if (first >= old_first && end < old_end)
			return;
		sign = (int64_t)word[f->len - 1] < 0 ? UINT64_MAX : 0;
		new_first = first < old_first ? first : old_first;
		new_end = end + 1 > old_end ? end + 1 : old_end;
	}
	len = new_end - new_first;
	if (len > f->cap) {
		f->cap = f->cap == 0 ? 4 : f->cap;
		while (f->cap < len)
			f->cap *= 2;
		word = mb_arena_alloc(arena, f->cap * sizeof *word);
	}
	if (f->len > 0)
		memmove(word + (old_first - new_first), f->word,
		    f->len * sizeof *word);
	else
		old_first = old_end = new_end;
	for (unsigned i = new_first; i < old_first; i++)
		word[i - new_first] = 0;
	for (unsigned i = old_end; i < new_end; i++)
		word[i - new_first] = sign;
	f->word = word;
	f->first = new_first;
	f->len = len;
}

/* Add or subtract a magnitude of n words whose lowest is word `first`. */
static void
fixed_add(struct fixed *f, const uint64_t *mag, unsigned n, unsigned first,
    bool is_negative, struct mb_arena *arena)
{
	uint64_t *word;
	bool carry = false;

	fixed_cover(f, first, first + n, arena);
	word = f->word + (first - f->first);
	for (unsigned i = 0; i < n || carry; i++) {
		uint64_t v = i < n ? mag[i] : 0, sum;

		if (is_negative) {
			carry = __builtin_sub_overflow(word[i], carry, &sum);
			carry |= __builtin_sub_overflow(sum, v, &sum);
		} else {
			carry = __builtin_add_overflow(word[i], carry, &sum);
			carry |= __builtin_add_overflow(sum, v, &sum);
		}
		word[i] = sum;
		if (word + i == f->word + f->len - 1)
			break;		/* the sign absorbs what is left */
	}
}

struct big {
	bool is_negative;
	unsigned len;		/* without zero words at the top */
	uint64_t word[BIG_WORDS];
};

static void
big_trim(struct big *b)
{
	while (b->len > 0 && b->word[b->len - 1] == 0)
		b->len--;
}

static void
big_set(struct big *b, mb_uint128 magnitude, bool is_negative)
{
	b->is_negative = is_negative;
	b->word[0] = (uint64_t)magnitude;
	b->word[1] = (uint64_t)(magnitude >> 64);
	b->len = 2;
	big_trim(b);
}

static void
big_set_signed(struct big *b, mb_int128 v)
{
	big_set(b, v < 0 ? -(mb_uint128)v : (mb_uint128)v, v < 0);
}

/* The fixed-point number in units of the word `origin`, which it reaches. */
static void
big_set_fixed(struct big *b, const struct fixed *f, unsigned origin)
{
	bool is_negative = f->len > 0 && (int64_t)f->word[f->len - 1] < 0;
	uint64_t carry = 1;

	b->is_negative = is_negative;
	b->len = 0;
	if (f->len == 0)
		return;
	assert(f->first >= origin && f->first - origin + f->len <= BIG_WORDS);
	while (b->len < f->first - origin)
		b->word[b->len++] = 0;
	for (unsigned i = 0; i < f->len; i++) {
		uint64_t w = f->word[i];

		if (is_negative) {
			w = ~w + carry;
			carry = carry && w == 0;
		}
		b->word[b->len++] = w;
	}
	big_trim(b);
}

static void
big_multiply(struct big *out, const struct big *a, const struct big *b)
{
	assert(out != a && out != b && a->len + b->len <= BIG_WORDS);
	out->is_negative = a->is_negative != b->is_negative;
	out->len = a->len + b->len;
	memset(out->word, 0, out->len * sizeof *out->word);
	for (unsigned i = 0; i < a->len; i++) {
		uint64_t carry = 0;

		for (unsigned k = 0; k < b->len; k++) {
			mb_uint128 v = (mb_uint128)a->word[i] * b->word[k] +
			    out->word[i + k] + carry;

			out->word[i + k] = (uint64_t)v;
			carry = (uint64_t)(v >> 64);
		}
		out->word[i + b->len] = carry;
	}
	big_trim(out);
}

static void
big_times(struct big *b, mb_uint128 factor)
{
	struct big f, copy = *b;

	big_set(&f, factor, false);
	big_multiply(b, &copy, &f);
}

static void
big_times_power(struct big *b, unsigned n)
{
	for (; n > MB_DIGITS; n -= MB_DIGITS)
		big_times(b, mb_power_of_ten(MB_DIGITS));
	if (n > 0)
		big_times(b, mb_power_of_ten(n));
}

static void
big_shift(struct big *b, unsigned bits)
{
	unsigned words = bits / 64;

	bits %= 64;
	if (b->len == 0)
		return;
	assert(b->len + words + 1 <= BIG_WORDS);
	memmove(b->word + words, b->word, b->len * sizeof *b->word);
	memset(b->word, 0, words * sizeof *b->word);
	b->len += words;
	if (bits > 0) {
		b->word[b->len] = 0;
		for (unsigned i = b->len; i > words; i--)
			b->word[i] = b->word[i] << bits |
			    b->word[i - 1] >> (64 - bits);
		b->word[words] <<= bits;
		b->len++;
		big_trim(b);
	}
}

static int
big_compare_magnitude(const struct big *a, const struct big *b)
{
	if (a->len != b->len)
		return a->len > b->len ? 1 : -1;
	for (unsigned i = a->len; i-- > 0;)
		if (a->word[i] != b->word[i])
			return a->word[i] > b->word[i] ? 1 : -1;
	return 0;
}

/* |a| -= |b|, where |a| >= |b| */
static void
big_take_magnitude(struct big *a, const struct big *b)
{
	bool borrow = false;

	for (unsigned i = 0; i < a->len && (i < b->len || borrow); i++) {
		uint64_t w = i < b->len ? b->word[i] : 0;
		uint64_t v;

		borrow = __builtin_sub_overflow(a->word[i], borrow, &v);
		borrow |= __builtin_sub_overflow(v, w, &a->word[i]);
	}
	big_trim(a);
}

static void
big_add(struct big *a, const struct big *b)
{
	bool carry = false;

	if (a->is_negative != b->is_negative) {
		if (big_compare_magnitude(a, b) >= 0) {
			big_take_magnitude(a, b);
		} else {
			struct big copy = *b;

			big_take_magnitude(&copy, a);
			*a = copy;
		}
		return;
	}
	assert(a->len < BIG_WORDS && b->len < BIG_WORDS);
	while (a->len <= b->len)
		a->word[a->len++] = 0;
	a->word[a->len++] = 0;
	for (unsigned i = 0; i < a->len && (i < b->len || carry); i++) {
		uint64_t w = i < b->len ? b->word[i] : 0;
		uint64_t v;

		carry = __builtin_add_overflow(a->word[i], carry, &v);
		carry |= __builtin_add_overflow(v, w, &a->word[i]);
	}
	big_trim(a);
}

static unsigned
big_bits(const struct big *b)
{
	if (b->len == 0)
		return 0;
	return b->len * 64 -
	    (unsigned)__builtin_clzll(b->word[b->len - 1]);
}

/*
 * The double that is nearest to significand * 2^exponent, to even when there
 * are two; the top bit of significand is set, and has_rest says that the
 * value is a little more.  Infinite when too large.
 */
static double
round_once(uint64_t significand, int exponent, bool has_rest)
{
	uint64_t kept, half;
	int drop = 11;		/* of 64 bits, 53 stay */

	if (exponent + drop < -1074)
		drop = -1074 - exponent;	/* fewer near zero */
	if (drop > 64)
		return 0;
	half = (uint64_t)1 << (drop - 1);
	kept = drop == 64 ? 0 : significand >> drop;
	if (significand & half &&
	    (kept & 1 || has_rest || significand & (half - 1)))
		kept++;
	return ldexp((double)kept, exponent + drop);
}

/*
 * The nearest double to num / den, den > 0.  Both are used up.  One bit at a
 * time: this runs once a group, and is easy to believe.
 */
static double
quotient(struct big *num, struct big *den)
{
	bool is_negative = num->is_negative;
	unsigned num_bits = big_bits(num), den_bits = big_bits(den);
	int exponent = (int)num_bits - (int)den_bits;
	uint64_t q = 0;
	double d;

	assert(den_bits > 0);
	if (num_bits == 0)
		return 0;
	if (num_bits <= 53 && den_bits <= 53) {
		d = (double)num->word[0] / (double)den->word[0];
		return is_negative ? -d : d;
	}
	/* Of equal length, so that 1/2 < num / den < 2. */
	if (exponent > 0)
		big_shift(den, (unsigned)exponent);
	else
		big_shift(num, (unsigned)-exponent);
	num->is_negative = den->is_negative = false;
	if (big_compare_magnitude(num, den) < 0) {
		big_shift(num, 1);
		exponent--;
	}
	for (int i = 0; i < 64; i++) {
		q <<= 1;
		if (big_compare_magnitude(num, den) >= 0) {
			big_take_magnitude(num, den);
			q |= 1;
		}
		big_shift(num, 1);
	}
	d = round_once(q, exponent - 63, num->len > 0);
	return is_negative ? -d : d;
}

static struct mb_exact_wide *
widen(struct mb_exact *e, struct mb_arena *arena)
{
	if (e->wide == NULL) {
		e->wide = mb_arena_alloc(arena, sizeof *e->wide);
		*e->wide = (struct mb_exact_wide){ 0 };
	}
	return e->wide;
}

/* Add magnitude / 10^(power * places) to the wide decimals. */
static void
add_wide(struct mb_exact *e, unsigned power, struct big *b, unsigned places,
    struct mb_arena *arena)
{
	big_times_power(b, power * (MB_DIGITS - places));
	if (b->len > 0)
		fixed_add(&widen(e, arena)->decimal, b->word, b->len, 0,
		    b->is_negative, arena);
}

static void
spill(struct mb_exact *e, unsigned power, struct mb_arena *arena)
{
	struct big b;

	big_set_signed(&b, e->units);
	add_wide(e, power, &b, e->places, arena);
	e->units = 0;
}

/* *v times 10^n; false, and nothing done, if that exceeds 128 bits. */
static bool
scale(mb_int128 *v, unsigned n)
{
	mb_int128 scaled;

	if (*v == 0 || n == 0)
		return true;
	if (n > MB_DIGITS ||
	    __builtin_mul_overflow(*v, (mb_int128)mb_power_of_ten(n), &scaled))
		return false;
	*v = scaled;
	return true;
}

/* Add units / 10^(power * places). */
static void
add_units(struct mb_exact *e, unsigned power, mb_int128 units,
    unsigned places, struct mb_arena *arena)
{
	mb_int128 scaled = units;
	struct big b;

	if (places > e->places) {
		if (!scale(&e->units, power * (places - e->places)))
			spill(e, power, arena);
		e->places = (uint8_t)places;
	}
	if (scale(&scaled, power * (e->places - places)) &&
	    !__builtin_add_overflow(e->units, scaled, &scaled)) {
		e->units = scaled;
		return;
	}
	big_set_signed(&b, units);
	add_wide(e, power, &b, places, arena);
}

static void
add_double(struct mb_exact *e, unsigned power, double d,
    struct mb_arena *arena)
{
	uint64_t bits, mag[4] = { 0 };
	mb_uint128 v;
	unsigned exponent, place, shift;

	e->has_double = true;
	if (d == 0)
		return;
	memcpy(&bits, &d, sizeof bits);
	v = bits & (((uint64_t)1 << 52) - 1);
	exponent = (unsigned)(bits >> 52) & 0x7ff;
	if (exponent > 0)
		v |= (uint64_t)1 << 52;
	else
		exponent = 1;
	/* The last bit of v stands for 2^(exponent - 1075). */
	place = power * (exponent + FRACTION_WORDS * 64 - 1075);
	if (power == 2)
		v *= v;
	shift = place % 64;
	mag[0] = (uint64_t)v << shift;
	mag[1] = (uint64_t)(v >> (64 - shift));
	if (shift > 0)
		mag[2] = (uint64_t)(v >> 64) >> (64 - shift);
	fixed_add(&widen(e, arena)->binary, mag, power + 1, place / 64,
	    power == 1 && d < 0, arena);
}

static void
fixed_merge(struct fixed *into, const struct fixed *from,
    struct mb_arena *arena)
{
	struct big b;

	if (from->len == 0)
		return;
	big_set_fixed(&b, from, from->first);
	fixed_add(into, b.word, b.len, from->first, b.is_negative, arena);
}

static void
merge(struct mb_exact *into, unsigned power, const struct mb_exact *from,
    struct mb_arena *arena)
{
	add_units(into, power, from->units, from->places, arena);
	into->has_double |= from->has_double;
	if (from->wide == NULL)
		return;
	widen(into, arena);
	fixed_merge(&into->wide->decimal, &from->wide->decimal, arena);
	fixed_merge(&into->wide->binary, &from->wide->binary, arena);
}

/*
 * A result's units, the same for everything that enters it: decimals of
 * 10^-(places), binary fractions of 2^-(64 * words), or their squares.
 */
struct units {
	unsigned places, words;
};

static void
refine(struct units *u, const struct mb_exact *e, unsigned power)
{
	unsigned words;

	if (e->places > u->places)
		u->places = e->places;
	if (e->wide == NULL)
		return;
	if (e->wide->decimal.len > 0)
		u->places = MB_DIGITS;
	words = e->wide->binary.len > 0 &&
	    e->wide->binary.first < power * FRACTION_WORDS ?
	    power * FRACTION_WORDS - e->wide->binary.first : 0;
	words = (words + power - 1) / power;
	if (words > u->words)
		u->words = words;
}

/* All of it in units of u, to the power. */
static void
collect(struct big *out, const struct mb_exact *e, unsigned power,
    const struct units *u)
{
	struct big b;

	big_set_signed(out, e->units);
	big_times_power(out, power * (u->places - e->places));
	if (e->wide != NULL) {
		big_set_fixed(&b, &e->wide->decimal, 0);
		big_add(out, &b);
	}
	big_shift(out, power * u->words * 64);
	if (e->wide == NULL)
		return;
	big_set_fixed(&b, &e->wide->binary,
	    power * (FRACTION_WORDS - u->words));
	big_times_power(&b, power * u->places);
	big_add(out, &b);
}

/* What one is, in units of u, to the power. */
static void
collect_one(struct big *out, unsigned power, const struct units *u)
{
	big_set(out, 1, false);
	big_times_power(out, power * u->places);
	big_shift(out, power * u->words * 64);
}

void
mb_sum_add(struct mb_sum *s, const struct mb_number *n,
    struct mb_arena *arena)
{
	s->n++;
	if (n->is_double)
		add_double(&s->x, 1, n->real, arena);
	else
		add_units(&s->x, 1, n->units, n->places, arena);
}

void
mb_sum_merge(struct mb_sum *into, const struct mb_sum *from,
    struct mb_arena *arena)
{
	into->n += from->n;
	merge(&into->x, 1, &from->x, arena);
}

/* The sum as an exact number, or false if it has too many digits. */
static bool
total_exact(const struct mb_sum *s, struct mb_number *out)
{
	const mb_int128 limit = (mb_int128)mb_power_of_ten(MB_DIGITS);
	const struct units u = { .places = MB_DIGITS };
	mb_int128 units = s->x.units;
	struct big b;

	if (s->x.wide != NULL) {
		/* Back to its places: there is no remainder. */
		collect(&b, &s->x, 1, &u);
		for (unsigned n = MB_DIGITS - s->x.places; n > 0; n--) {
			mb_uint128 rest = 0;

			for (unsigned i = b.len; i-- > 0;) {
				rest = rest << 64 | b.word[i];
				b.word[i] = (uint64_t)(rest / 10);
				rest %= 10;
			}
			big_trim(&b);
		}
		if (big_bits(&b) > 127)
			return false;
		units = (mb_int128)((mb_uint128)(b.len > 1 ? b.word[1] : 0) <<
		    64 | (b.len > 0 ? b.word[0] : 0));
		if (b.is_negative)
			units = -units;
	}
	if (units >= limit || units <= -limit)
		return false;
	*out = (struct mb_number){ .places = s->x.places, .units = units };
	return true;
}

int
mb_sum_total(const struct mb_sum *s, struct mb_number *out,
    struct mb_err *err)
{
	struct units u = { 0 };
	struct big num, den;
	double d;

	if (!s->x.has_double) {
		if (!total_exact(s, out))
			return mb_fail(err, MB_EDATA,
			    "the sum has more than %d digits", MB_DIGITS);
		return 0;
	}
	refine(&u, &s->x, 1);
	collect(&num, &s->x, 1, &u);
	collect_one(&den, 1, &u);
	d = quotient(&num, &den);
	if (isinf(d))
		return mb_fail(err, MB_EDATA,
		    "the sum is beyond the range of a double");
	*out = (struct mb_number){ .is_double = true, .real = d };
	return 0;
}

double
mb_sum_mean(const struct mb_sum *s)
{
	struct units u = { 0 };
	struct big num, den;

	refine(&u, &s->x, 1);
	collect(&num, &s->x, 1, &u);
	collect_one(&den, 1, &u);
	big_times(&den, s->n);
	return quotient(&num, &den);
}

void
mb_moments_add(struct mb_moments *m, const struct mb_number *n,
    struct mb_arena *arena)
{
	struct big b, copy;

	mb_sum_add(&m->sum, n, arena);
	if (n->is_double) {
		add_double(&m->squares, 2, n->real, arena);
	} else if (n->units <= INT64_MAX && n->units >= -INT64_MAX) {
		add_units(&m->squares, 2, n->units * n->units, n->places,
		    arena);
	} else {
		add_units(&m->squares, 2, 0, n->places, arena);
		big_set_signed(&copy, n->units);
		big_multiply(&b, &copy, &copy);
		add_wide(&m->squares, 2, &b, n->places, arena);
	}
}

void
mb_moments_merge(struct mb_moments *into, const struct mb_moments *from,
    struct mb_arena *arena)
{
	mb_sum_merge(&into->sum, &from->sum, arena);
	merge(&into->squares, 2, &from->squares, arena);
}

int
mb_moments_variance(const struct mb_moments *m, double *out,
    struct mb_err *err)
{
	uint64_t n = m->sum.n;
	struct units u = { 0 };
	struct big x, num, den;

	/* (n * sum of squares - square of the sum) / (n * (n - 1)) */
	refine(&u, &m->sum.x, 1);
	refine(&u, &m->squares, 2);
	collect(&x, &m->sum.x, 1, &u);
	big_multiply(&den, &x, &x);
	den.is_negative = true;
	collect(&num, &m->squares, 2, &u);
	big_times(&num, n);
	big_add(&num, &den);
	collect_one(&den, 2, &u);
	big_times(&den, (mb_uint128)n * (n - 1));
	*out = quotient(&num, &den);
	if (isinf(*out))
		return mb_fail(err, MB_EDATA,
		    "the variance is beyond the range of a double");
	return 0;
}

int
mb_moments_deviation(const struct mb_moments *m, double *out,
    struct mb_err *err)
{
	if (mb_moments_variance(m, out, err) < 0)
		return -1;
	*out = sqrt(*out);
	return 0;
}
