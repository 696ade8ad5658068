#include "agg/column.h"

#include <string.h>

#include "agg/eight.h"
#include "base/load.h"
#include "base/number.h"

enum { ODD = 254, MAX_DIGITS = 18, WORD_LIMIT = 99999999 };

static const uint64_t ones = 0x0101010101010101;

/* Eight digits, as numbers, the first in the lowest byte. */
static inline uint64_t
join_digits(uint64_t t)
{
	t = t * 2561 >> 8;
	t = (t & 0x00ff00ff00ff00ff) * 6553601 >> 16;
	return (t & 0x0000ffff0000ffff) * 42949672960001 >> 32;
}

/* From 1 to 8 bytes without sign: the places, or ODD. */
static inline unsigned
read_word(uint64_t *units, const char *p, size_t len)
{
	unsigned shift = (unsigned)(64 - 8 * len), point;
	uint64_t t, bad;

	/* The last byte on top, and zeros in front of the first. */
	t = (mb_load_8(p) ^ ones * '0') << shift;
	bad = ((t + ones * 0x76) | t) & ones * 0x80;
	if (bad == 0) {
		*units = join_digits(t);
		return 0;
	}
	/* One point, but not behind the last digit: close the gap. */
	point = (unsigned)__builtin_ctzll(bad) & ~7u;
	if (point == 56 || (bad & (bad - 1)) != 0 ||
	    (t >> point & 0xff) != ('.' ^ '0'))
		return ODD;
	*units = join_digits((t & ~(uint64_t)0 << point << 8) |
	    (t & (((uint64_t)1 << point) - 1)) << 8);
	return 7 - point / 8;
}

static unsigned
read_long(uint64_t *units, const char *p, size_t len)
{
	const char *end = p + len, *point = NULL;
	uint64_t v = 0;

	if (len > MAX_DIGITS + 1)
		return ODD;
	for (; p < end; p++) {
		unsigned digit = (unsigned char)*p - (unsigned)'0';

		if (digit < 10)
			v = v * 10 + digit;
		else if (*p == '.' && point == NULL)
			point = p;
		else
			return ODD;
	}
	if ((point == NULL && len > MAX_DIGITS) || point == end - 1)
		return ODD;
	*units = v;
	return point != NULL ? (unsigned)(end - point) - 1 : 0;
}

/* Bring all values to the scale; what then is too large is odd. */
static bool
widen(struct mb_column *c, size_t n, bool *odd)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (c->places[i] >= c->scale)
			continue;	/* or null */
		if (__builtin_mul_overflow(c->units[i], (int64_t)
		    mb_power_of_ten(c->scale - c->places[i]), &c->units[i]))
			any = odd[i] = true;
	}
	return any;
}

/* What a column is like; `least` and `most` are of places. */
struct gist {
	unsigned least, most;
	size_t n_values;
	uint64_t longest;	/* units of those longer than a word */
	bool has_odd;
};

/* The value i, which isn't null. */
static inline void
read_value(struct mb_column *c, struct gist *gist, bool *odd, const char *p,
    const struct mb_view *view, size_t i)
{
	size_t len = view[i].len;
	bool is_negative;
	uint64_t units = 0;
	unsigned places;

	p += view[i].start;
	is_negative = *p == '-';
	p += is_negative;
	len -= is_negative;
	if (len - 1 < 8) {
		places = read_word(&units, p, len);
	} else {
		places = len == 0 ? ODD : read_long(&units, p, len);
		gist->longest = units > gist->longest ? units : gist->longest;
	}
	c->units[i] = is_negative ? -(int64_t)units : (int64_t)units;
	c->places[i] = (uint8_t)places;
	if (places == ODD) {
		gist->has_odd = odd[i] = true;
		c->places[i] = MB_COLUMN_NULL;
		return;
	}
	gist->most = places > gist->most ? places : gist->most;
	gist->least = places < gist->least ? places : gist->least;
}

static void
read_one_by_one(struct mb_column *c, struct gist *gist, bool *odd,
    const char *p, const struct mb_view *view, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (view[i].len == 0) {
			gist->n_values--;
			c->units[i] = 0;
			c->places[i] = MB_COLUMN_NULL;
		} else {
			read_value(c, gist, odd, p, view, i);
		}
	}
}

#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f," \
    "avx512bw,avx512dq,avx512vl,avx512vbmi2")))

/* join_digits of eight words. */
AVX512 static inline __m512i
join_eight(__m512i t)
{
	t = _mm512_maddubs_epi16(t, _mm512_set1_epi16(1 << 8 | 10));
	t = _mm512_madd_epi16(t, _mm512_set1_epi32(1 << 16 | 100));
	return _mm512_add_epi64(_mm512_mul_epu32(t,
	    _mm512_set1_epi64(10000)), _mm512_srli_epi64(t, 32));
}

/*
 * Where there is a byte that is no digit: it must be a point, the only one,
 * and not the last byte.  Takes it out; those that are bad.
 */
AVX512 static inline __attribute__((always_inline)) __mmask8
close_gaps(__m512i *t, __m512i *places, __m512i other, __mmask8 pointed)
{
	const __m512i zero = _mm512_setzero_si512();
	const __m512i one = _mm512_set1_epi64(1);
	/* 1 at the first such byte. */
	__m512i at = _mm512_srli_epi64(_mm512_and_epi64(other,
	    _mm512_sub_epi64(zero, other)), 7);
	__m512i below = _mm512_sub_epi64(at, one);
	__m512i above = _mm512_sub_epi64(zero, _mm512_slli_epi64(at, 8));
	__mmask8 bad = _mm512_mask_test_epi64_mask(pointed,
	    _mm512_andnot_epi64(_mm512_or_epi64(above, below),
	    _mm512_set1_epi8(-1)),
	    _mm512_xor_epi64(*t, _mm512_set1_epi8('.' ^ '0'))) |
	    _mm512_mask_test_epi64_mask(pointed, other,
	    _mm512_sub_epi64(other, one)) |
	    _mm512_mask_testn_epi64_mask(pointed, above, above);

	*t = _mm512_mask_or_epi64(*t, pointed, _mm512_and_epi64(*t, above),
	    _mm512_slli_epi64(_mm512_and_epi64(*t, below), 8));
	*places = _mm512_maskz_mov_epi64(pointed, _mm512_sad_epu8(
	    _mm512_and_epi64(above, _mm512_set1_epi8(1)), zero));
	return bad;
}

/* Eight values as they stand, and of which of them something must be asked. */
struct eight {
	__m512i v;		/* the views */
	__m512i len;
	__m512i text;		/* the first eight bytes of each */
	__m512i digits;		/* … as numbers, zeros in front */
	__m512i other;		/* 0x80 where there is no digit */
};

/* For texts of up to eight bytes: the last one on top, zeros in front. */
AVX512 static inline __attribute__((always_inline)) void
align_eight(struct eight *e)
{
	e->digits = _mm512_sllv_epi64(_mm512_xor_epi64(e->text,
	    _mm512_set1_epi8('0')), _mm512_sub_epi64(_mm512_set1_epi64(64),
	    _mm512_slli_epi64(e->len, 3)));
	e->other = _mm512_and_epi64(_mm512_or_epi64(e->digits,
	    _mm512_add_epi8(e->digits, _mm512_set1_epi8(0x76))),
	    _mm512_set1_epi8((char)0x80));
}

/* Places of a gist, in each eighth value. */
struct places {
	__m512i least, most;
};

/* What read_word does, for those that are in `all`; longer ones one by one. */
AVX512 static inline __attribute__((always_inline)) void
read_eight(struct mb_column *c, struct gist *gist, struct places *seen,
    bool *odd, const char *p, const struct mb_view *view, size_t i,
    __mmask8 all)
{
	const __m512i zero = _mm512_setzero_si512();
	const __m512i one = _mm512_set1_epi64(1);
	struct eight e;
	__mmask8 there, longer, negative, bad = 0, pointed;
	__m512i t, places = zero;

	e.v = _mm512_maskz_loadu_epi64(all, &view[i]);
	e.len = _mm512_and_epi64(_mm512_srli_epi64(e.v, 32),
	    _mm512_set1_epi64(0xffff));
	there = _mm512_test_epi64_mask(e.len, e.len);
	e.text = mb_eight_words(p, &view[i], e.v, there);
	longer = _mm512_cmpgt_epu64_mask(e.len, _mm512_set1_epi64(8));
	negative = _mm512_cmpeq_epi64_mask(_mm512_and_epi64(e.text,
	    _mm512_set1_epi64(0xff)), _mm512_set1_epi64('-'));
	/* Mostly a column has signs, or points, or hasn't any. */
	if (negative != 0) {
		e.text = _mm512_mask_srli_epi64(e.text, negative, e.text, 8);
		e.len = _mm512_mask_sub_epi64(e.len, negative, e.len, one);
		bad = _mm512_mask_testn_epi64_mask(negative, e.len, e.len);
	}
	align_eight(&e);
	t = e.digits;
	pointed = _mm512_test_epi64_mask(e.other, e.other);
	if (pointed != 0)
		bad |= close_gaps(&t, &places, e.other, pointed);
	t = join_eight(t);
	_mm512_storeu_si512(&c->units[i], _mm512_maskz_mov_epi64(there,
	    _mm512_mask_sub_epi64(t, negative, zero, t)));
	bad = (__mmask8)((bad & there) & ~longer);
	gist->n_values -= (unsigned)__builtin_popcount(all & ~there);
	all = (__mmask8)(there & ~longer & ~bad);
	seen->most = _mm512_mask_max_epu64(seen->most, all, seen->most,
	    places);
	seen->least = _mm512_mask_min_epu64(seen->least, all, seen->least,
	    places);
	places = _mm512_mask_mov_epi64(_mm512_set1_epi64(MB_COLUMN_NULL), all,
	    places);
	_mm_storel_epi64((__m128i *)&c->places[i],
	    _mm512_cvtepi64_epi8(places));
	for (; bad != 0; bad &= (__mmask8)(bad - 1)) {
		odd[i + (unsigned)__builtin_ctz(bad)] = true;
		gist->has_odd = true;
	}
	for (; longer != 0; longer &= (__mmask8)(longer - 1))
		read_value(c, gist, odd, p, view,
		    i + (unsigned)__builtin_ctz(longer));
}

AVX512 static inline __attribute__((always_inline)) void
load_eight(struct eight *e, const char *p, const struct mb_view *view)
{
	e->v = _mm512_loadu_si512(view);
	e->len = _mm512_and_epi64(_mm512_srli_epi64(e->v, 32),
	    _mm512_set1_epi64(0xffff));
	e->text = mb_eight_words(p, view, e->v, 0xff);
	align_eight(e);
}

/*
 * Most columns have values that are alike: no longer than a word, without sign,
 * and with the point, if any, at one place.  For sixteen of these there is
 * little to be asked.  False: they aren't.
 */
AVX512 static inline __attribute__((always_inline)) bool
read_alike(struct mb_column *c, struct gist *gist, const char *p,
    const struct mb_view *view, size_t i)
{
	const __m512i eight = _mm512_set1_epi64(8), one = _mm512_set1_epi64(1);
	struct eight a, b;
	__m512i point, below, byte;
	unsigned places;
	__mmask8 differ;

	load_eight(&a, p, view + i);
	load_eight(&b, p, view + i + 8);
	point = _mm512_broadcastq_epi64(_mm512_castsi512_si128(a.other));
	differ = _mm512_cmpge_epu64_mask(_mm512_sub_epi64(a.len, one), eight) |
	    _mm512_cmpge_epu64_mask(_mm512_sub_epi64(b.len, one), eight) |
	    _mm512_cmpneq_epi64_mask(a.other, point) |
	    _mm512_cmpneq_epi64_mask(b.other, point);
	if (differ != 0)
		return false;
	places = 0;
	if (_mm512_test_epi64_mask(point, point) != 0) {
		uint64_t at = (uint64_t)_mm_cvtsi128_si64(
		    _mm512_castsi512_si128(point));

		if ((at & (at - 1)) != 0 || at >> 63 != 0)
			return false;
		places = 7 - (unsigned)__builtin_ctzll(at) / 8;
		byte = _mm512_sub_epi64(_mm512_slli_epi64(point, 1),
		    _mm512_srli_epi64(point, 7));
		point = _mm512_and_epi64(byte, _mm512_set1_epi8('.' ^ '0'));
		if ((_mm512_cmpneq_epi64_mask(_mm512_and_epi64(a.digits,
		    byte), point) | _mm512_cmpneq_epi64_mask(_mm512_and_epi64(
		    b.digits, byte), point)) != 0)
			return false;
		/* What is below goes up by a byte. */
		below = _mm512_sub_epi64(_mm512_set1_epi64((long long)(at >>
		    7)), one);
		a.digits = _mm512_add_epi64(_mm512_andnot_epi64(
		    _mm512_or_epi64(below, byte), a.digits),
		    _mm512_slli_epi64(_mm512_and_epi64(a.digits, below), 8));
		b.digits = _mm512_add_epi64(_mm512_andnot_epi64(
		    _mm512_or_epi64(below, byte), b.digits),
		    _mm512_slli_epi64(_mm512_and_epi64(b.digits, below), 8));
	}
	_mm512_storeu_si512(&c->units[i], join_eight(a.digits));
	_mm512_storeu_si512(&c->units[i + 8], join_eight(b.digits));
	_mm_storeu_si128((__m128i *)&c->places[i],
	    _mm_set1_epi8((char)places));
	gist->most = places > gist->most ? places : gist->most;
	gist->least = places < gist->least ? places : gist->least;
	return true;
}

/* Where some aren't alike, the next ones are asked ever less often. */
AVX512 static void
read_by_eight(struct mb_column *c, struct gist *gist, bool *odd,
    const char *p, const struct mb_view *view, size_t n)
{
	struct places seen = { _mm512_set1_epi64(MB_COLUMN_NULL),
		_mm512_setzero_si512() };
	size_t next_try = 0, step = 16;
	unsigned least, most;

	for (size_t i = 0; i < n; i += 16) {
		if (i >= next_try && n - i >= 16) {
			if (read_alike(c, gist, p, view, i))
				continue;
			step += 16;
			next_try = i + step;
		}
		for (size_t k = i; k < i + 16 && k < n; k += 8)
			read_eight(c, gist, &seen, odd, p, view, k,
			    (__mmask8)_bzhi_u32(0xff, n - k < 8 ?
			    (unsigned)(n - k) : 8));
	}
	most = (unsigned)_mm512_reduce_max_epu64(seen.most);
	least = (unsigned)_mm512_reduce_min_epu64(seen.least);
	gist->most = most > gist->most ? most : gist->most;
	gist->least = least < gist->least ? least : gist->least;
}
#endif

bool
mb_column_read_views(struct mb_column *c, enum mb_isa isa, const char *p,
    const struct mb_view *view, size_t n, bool *odd)
{
	struct gist gist = { .least = MB_COLUMN_NULL, .n_values = n };

#if defined(__x86_64__)
	if (isa == MB_ISA_AVX512)
		read_by_eight(c, &gist, odd, p, view, n);
	else
#endif
		read_one_by_one(c, &gist, odd, p, view, n);
	(void)isa;
	c->scale = gist.most;
	c->n_values = gist.n_values;
	c->limit = gist.longest > WORD_LIMIT ? gist.longest : WORD_LIMIT;
	if (gist.least < gist.most && __builtin_mul_overflow(c->limit,
	    (uint64_t)mb_power_of_ten(gist.most - gist.least), &c->limit))
		c->limit = UINT64_MAX;
	c->is_uniform = gist.n_values == n && !gist.has_odd &&
	    gist.least == gist.most;
	return (gist.least < gist.most && widen(c, n, odd)) || gist.has_odd;
}

bool
mb_column_read(struct mb_column *c, const struct mb_rows *rows,
    const struct mb_view *view, bool *odd)
{
	return mb_column_read_views(c, rows->isa, rows->p, view, rows->n, odd);
}
