/*
 * marks_ways.h - private to marks.c: how each set of instructions goes through
 * 64 bytes.
 */
#ifndef MB_RECORD_MARKS_WAYS_H
#define MB_RECORD_MARKS_WAYS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "base/load.h"
#include "record/marks.h"

enum { STEP = 64 };

#define INLINE static inline __attribute__((always_inline))

/* A bit for each byte of a step that is … */
struct masks {
	uint64_t lf, cr, delimiter;
	uint64_t quote;		/* csv; tsv: a backslash */
	uint64_t watched;	/* MB_MARKS_WATCHED */
	uint64_t is_odd;	/* csv: … up to which quotes are odd in number */
};

/* The same where that is all there should be. */
struct plain_masks {
	uint64_t lf, cr;
	uint64_t marks;		/* LF or the delimiter */
};

/* The same in ndjson. */
struct json_masks {
	uint64_t quote, slash;
	uint64_t control;	/* below 0x20 */
	uint64_t high;		/* above 0x7f */
	uint64_t watched;
};

/*
 * Up to three bytes to be looked for at once.  Their lower halves must differ:
 * each stands, in a table, where its lower half says, and at the other places
 * stands what doesn't belong there.
 */
struct odd {
	char byte[3];
	char table[16];
};
static const struct odd odd_csv = { { '"', '\r', MB_MARKS_WATCHED },
	{ [0] = 1, [2] = '"', [13] = '\r', [14] = MB_MARKS_WATCHED } };
static const struct odd odd_tsv = { { '\\', '\\', MB_MARKS_WATCHED },
	{ [0] = 1, [12] = '\\', [14] = MB_MARKS_WATCHED } };
static const struct odd odd_line = { { MB_MARKS_WATCHED, MB_MARKS_WATCHED,
	MB_MARKS_WATCHED }, { [0] = 1, [14] = MB_MARKS_WATCHED } };

/* How one set of instructions does it. */
struct way {
	void (*masks)(struct masks *, const char *, char delimiter, char quote);
	/* Of the step at p, and of the next; whether anything is odd in them. */
	bool (*plain)(struct plain_masks *, const char *, char delimiter,
	    const struct odd *odd);
	bool (*plain_two)(struct plain_masks *, struct plain_masks *,
	    const char *, char delimiter, const struct odd *odd);
	void (*json)(struct json_masks *, const char *);
	/* Those that make a good escape of two; may leave some out. */
	uint64_t (*escapes)(const char *);
	/* Write base + the place of each bit; may write 64 numbers. */
	void (*put)(uint16_t *out, uint64_t mask, unsigned base);
	/* The same, with MB_MARK_QUOTED where `quoted` has the i-th bit. */
	void (*put_quoted)(uint16_t *out, uint64_t mask, uint64_t quoted,
	    unsigned base);
	/* Write the first n bits as bytes; may write 64. */
	void (*put_flags)(unsigned char *out, uint64_t bits, unsigned n);
	/* Bit i: the i-th bit of `mask` that is set is in `of`, too. */
	uint64_t (*extract)(uint64_t of, uint64_t mask);
	/* Bit i: the exclusive or of bits 0 … i. */
	uint64_t (*xor_before)(uint64_t);
};

/*
 * C.
 */

/* 0x80 in each byte of x that is zero, gathered. */
INLINE uint64_t
zeros(uint64_t x)
{
	const uint64_t low = 0x7f7f7f7f7f7f7f7f;

	x = ~(((x & low) + low) | x | low);
	return (x >> 7) * 0x0102040810204080u >> 56;
}

INLINE uint64_t
all(char c)
{
	return 0x0101010101010101u * (unsigned char)c;
}

INLINE void
masks_portable(struct masks *m, const char *p, char delimiter, char quote)
{
	*m = (struct masks){ 0 };
	for (int i = 0; i < STEP; i += 8) {
		uint64_t word = mb_load_8(p + i);

		m->lf |= zeros(word ^ all('\n')) << i;
		m->cr |= zeros(word ^ all('\r')) << i;
		m->delimiter |= zeros(word ^ all(delimiter)) << i;
		m->quote |= zeros(word ^ all(quote)) << i;
		m->watched |= zeros(word ^ all(MB_MARKS_WATCHED)) << i;
	}
}

INLINE bool
plain_portable(struct plain_masks *m, const char *p, char delimiter,
    const struct odd *odd)
{
	uint64_t any = 0;

	*m = (struct plain_masks){ 0 };
	for (int i = 0; i < STEP; i += 8) {
		uint64_t word = mb_load_8(p + i);

		m->lf |= zeros(word ^ all('\n')) << i;
		m->cr |= zeros(word ^ all('\r')) << i;
		m->marks |= zeros(word ^ all(delimiter)) << i;
		for (int k = 0; k < 3; k++)
			any |= zeros(word ^ all(odd->byte[k]));
	}
	m->marks |= m->lf;
	return any != 0;
}

INLINE bool
plain_two_portable(struct plain_masks *a, struct plain_masks *b, const char *p,
    char delimiter, const struct odd *odd)
{
	bool first = plain_portable(a, p, delimiter, odd);
	bool second = plain_portable(b, p + STEP, delimiter, odd);

	return first | second;
}

INLINE void
json_portable(struct json_masks *m, const char *p)
{
	*m = (struct json_masks){ 0 };
	for (int i = 0; i < STEP; i += 8) {
		uint64_t word = mb_load_8(p + i);

		m->quote |= zeros(word ^ all('"')) << i;
		m->slash |= zeros(word ^ all('\\')) << i;
		m->control |= zeros(word & all((char)0xe0)) << i;
		m->high |= zeros(~word & all((char)0x80)) << i;
		m->watched |= zeros(word ^ all(MB_MARKS_WATCHED)) << i;
	}
}

INLINE uint64_t
escapes_portable(const char *p)
{
	(void)p;
	return 0;
}

INLINE void
put_portable(uint16_t *out, uint64_t mask, unsigned base)
{
	for (; mask != 0; mask &= mask - 1)
		*out++ = (uint16_t)(base + (unsigned)__builtin_ctzll(mask));
}

INLINE void
set_quoted(uint16_t *out, uint64_t quoted)
{
	for (; quoted != 0; quoted &= quoted - 1)
		out[__builtin_ctzll(quoted)] |= MB_MARK_QUOTED;
}

INLINE void
put_quoted_portable(uint16_t *out, uint64_t mask, uint64_t quoted,
    unsigned base)
{
	put_portable(out, mask, base);
	set_quoted(out, quoted);
}

INLINE void
put_flags_portable(unsigned char *out, uint64_t bits, unsigned n)
{
	memset(out, 0, n);
	for (; bits != 0; bits &= bits - 1)
		out[__builtin_ctzll(bits)] = 1;
}

INLINE uint64_t
extract_portable(uint64_t of, uint64_t mask)
{
	uint64_t bits = 0;

	for (of &= mask; of != 0; of &= of - 1)
		bits |= (uint64_t)1 << __builtin_popcountll(mask &
		    ((of & -of) - 1));
	return bits;
}

INLINE uint64_t
xor_before_portable(uint64_t x)
{
	for (int i = 1; i < STEP; i *= 2)
		x ^= x << i;
	return x;
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt," \
    "pclmul")))
#define AVX512 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,pclmul,avx512f," \
    "avx512bw,avx512vl,avx512vbmi2")))

AVX2 INLINE uint64_t
gather_bits(__m256i a, __m256i b)
{
	return (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32 |
	    (uint32_t)_mm256_movemask_epi8(a);
}

AVX2 INLINE uint64_t
equal_avx2(__m256i a, __m256i b, char c)
{
	__m256i want = _mm256_set1_epi8(c);

	return gather_bits(_mm256_cmpeq_epi8(a, want),
	    _mm256_cmpeq_epi8(b, want));
}

AVX2 INLINE void
masks_avx2(struct masks *m, const char *p, char delimiter, char quote)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(p + 32));

	m->lf = equal_avx2(a, b, '\n');
	m->cr = equal_avx2(a, b, '\r');
	m->delimiter = equal_avx2(a, b, delimiter);
	m->quote = equal_avx2(a, b, quote);
	m->watched = equal_avx2(a, b, MB_MARKS_WATCHED);
}

AVX2 INLINE bool
plain_avx2(struct plain_masks *m, const char *p, char delimiter,
    const struct odd *odd)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(p + 32));
	__m256i table = _mm256_broadcastsi128_si256(
	    _mm_loadu_si128((const __m128i *)odd->table));

	m->lf = equal_avx2(a, b, '\n');
	m->cr = equal_avx2(a, b, '\r');
	m->marks = m->lf | equal_avx2(a, b, delimiter);
	a = _mm256_or_si256(_mm256_cmpeq_epi8(a, _mm256_shuffle_epi8(table,
	    a)), _mm256_cmpeq_epi8(b, _mm256_shuffle_epi8(table, b)));
	return _mm256_movemask_epi8(a) != 0;
}

AVX2 INLINE bool
plain_two_avx2(struct plain_masks *a, struct plain_masks *b, const char *p,
    char delimiter, const struct odd *odd)
{
	bool first = plain_avx2(a, p, delimiter, odd);
	bool second = plain_avx2(b, p + STEP, delimiter, odd);

	return first | second;
}

AVX2 INLINE void
json_avx2(struct json_masks *m, const char *p)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(p + 32));
	__m256i low = _mm256_set1_epi8(0x20);

	m->quote = equal_avx2(a, b, '"');
	m->slash = equal_avx2(a, b, '\\');
	m->high = gather_bits(a, b);
	m->watched = equal_avx2(a, b, MB_MARKS_WATCHED);
	/* As signed numbers, what is above 0x7f is below 0x20, too. */
	m->control = gather_bits(_mm256_cmpgt_epi8(low, a),
	    _mm256_cmpgt_epi8(low, b)) & ~m->high;
}

/*
 * For each half of a byte: which upper halves, a bit for each of 2, 5, 6 and
 * 7, go with it in one of `"/`, `\`, `bfn` and `rt`.
 */
#define LOWER_HALVES 0, 0, 1 | 4 | 8, 0, 8, 0, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1
#define UPPER_HALVES 0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0

AVX2 INLINE uint64_t
escapes_avx2(const char *p)
{
	const __m256i lower = _mm256_setr_epi8(LOWER_HALVES, LOWER_HALVES);
	const __m256i upper = _mm256_setr_epi8(UPPER_HALVES, UPPER_HALVES);
	const __m256i half = _mm256_set1_epi8(0x0f);
	uint64_t others = 0;

	for (int i = 0; i < STEP; i += 32) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(p + i));
		__m256i both = _mm256_and_si256(_mm256_shuffle_epi8(lower,
		    _mm256_and_si256(v, half)), _mm256_shuffle_epi8(upper,
		    _mm256_and_si256(_mm256_srli_epi16(v, 4), half)));

		others |= (uint64_t)(uint32_t)_mm256_movemask_epi8(
		    _mm256_cmpeq_epi8(both, _mm256_setzero_si256())) << i;
	}
	return ~others;
}

/* Eight at a time: most branches are then foreseen. */
AVX2 INLINE void
put_avx2(uint16_t *out, uint64_t mask, unsigned base)
{
	while (mask != 0) {
		for (int i = 0; i < 8; i++) {
			out[i] = (uint16_t)(base + (unsigned)_tzcnt_u64(mask));
			mask = _blsr_u64(mask);
		}
		out += 8;
	}
}

AVX2 INLINE void
put_quoted_avx2(uint16_t *out, uint64_t mask, uint64_t quoted, unsigned base)
{
	put_avx2(out, mask, base);
	set_quoted(out, quoted);
}

AVX2 INLINE uint64_t
extract_avx2(uint64_t of, uint64_t mask)
{
	return _pext_u64(of, mask);
}

/* A product without carries, by ones. */
AVX2 INLINE uint64_t
xor_before_avx2(uint64_t x)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(
	    _mm_cvtsi64_si128((long long)x), _mm_set1_epi8(-1), 0));
}

AVX512 INLINE void
masks_avx512(struct masks *m, const char *p, char delimiter, char quote)
{
	__m512i v = _mm512_loadu_si512(p);

	m->lf = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\n'));
	m->cr = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\r'));
	m->delimiter = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(delimiter));
	m->quote = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(quote));
	m->watched = _mm512_cmpeq_epi8_mask(v,
	    _mm512_set1_epi8(MB_MARKS_WATCHED));
}

/* Zeros where a byte is odd. */
AVX512 INLINE __m512i
plain_step_avx512(struct plain_masks *m, const char *p, char delimiter,
    const struct odd *odd)
{
	__m512i v = _mm512_loadu_si512(p);
	__m512i table = _mm512_broadcast_i32x4(
	    _mm_loadu_si128((const __m128i *)odd->table));

	m->lf = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\n'));
	m->cr = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\r'));
	m->marks = _kor_mask64(m->lf,
	    _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(delimiter)));
	return _mm512_xor_si512(v, _mm512_shuffle_epi8(table, v));
}

AVX512 INLINE bool
plain_avx512(struct plain_masks *m, const char *p, char delimiter,
    const struct odd *odd)
{
	__m512i v = plain_step_avx512(m, p, delimiter, odd);

	return _mm512_testn_epi8_mask(v, v) != 0;
}

AVX512 INLINE bool
plain_two_avx512(struct plain_masks *a, struct plain_masks *b, const char *p,
    char delimiter, const struct odd *odd)
{
	__m512i v = _mm512_min_epu8(plain_step_avx512(a, p, delimiter, odd),
	    plain_step_avx512(b, p + STEP, delimiter, odd));

	return _mm512_testn_epi8_mask(v, v) != 0;
}

AVX512 INLINE void
json_avx512(struct json_masks *m, const char *p)
{
	__m512i v = _mm512_loadu_si512(p);

	m->quote = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('"'));
	m->slash = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\\'));
	m->control = _mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(0x20));
	m->high = _mm512_movepi8_mask(v);
	m->watched = _mm512_cmpeq_epi8_mask(v,
	    _mm512_set1_epi8(MB_MARKS_WATCHED));
}

AVX512 INLINE uint64_t
escapes_avx512(const char *p)
{
	const __m512i lower = _mm512_broadcast_i32x4(
	    _mm_setr_epi8(LOWER_HALVES));
	const __m512i upper = _mm512_broadcast_i32x4(
	    _mm_setr_epi8(UPPER_HALVES));
	const __m512i half = _mm512_set1_epi8(0x0f);
	__m512i v = _mm512_loadu_si512(p);

	return _mm512_test_epi8_mask(_mm512_shuffle_epi8(lower,
	    _mm512_and_si512(v, half)), _mm512_shuffle_epi8(upper,
	    _mm512_and_si512(_mm512_srli_epi16(v, 4), half)));
}

AVX512 INLINE void
put_quoted_avx512(uint16_t *out, uint64_t mask, uint64_t quoted, unsigned base)
{
	static const _Alignas(64) char places[64] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
		18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33,
		34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49,
		50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
	};
	__m512i found = _mm512_maskz_compress_epi8(mask,
	    _mm512_load_si512(places));
	__m512i from = _mm512_set1_epi16((short)base);
	__m512i flag = _mm512_set1_epi16((short)MB_MARK_QUOTED);
	__m512i v = _mm512_add_epi16(from, _mm512_cvtepu8_epi16(
	    _mm512_castsi512_si256(found)));

	_mm512_storeu_si512(out, _mm512_mask_add_epi16(v, (__mmask32)quoted,
	    v, flag));
	if (__builtin_popcountll(mask) > 32) {
		v = _mm512_add_epi16(from, _mm512_cvtepu8_epi16(
		    _mm512_extracti64x4_epi64(found, 1)));
		_mm512_storeu_si512(out + 32, _mm512_mask_add_epi16(v,
		    (__mmask32)(quoted >> 32), v, flag));
	}
}

AVX512 INLINE void
put_avx512(uint16_t *out, uint64_t mask, unsigned base)
{
	put_quoted_avx512(out, mask, 0, base);
}

AVX512 INLINE void
put_flags_avx512(unsigned char *out, uint64_t bits, unsigned n)
{
	(void)n;
	_mm512_storeu_si512(out, _mm512_movm_epi8(bits));
}
#endif

#if defined(__aarch64__)
INLINE uint64_t
gather_neon(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
	const uint8x16_t bit = { 1, 2, 4, 8, 16, 32, 64, 128,
		1, 2, 4, 8, 16, 32, 64, 128 };
	uint8x16_t ab = vpaddq_u8(vandq_u8(a, bit), vandq_u8(b, bit));
	uint8x16_t cd = vpaddq_u8(vandq_u8(c, bit), vandq_u8(d, bit));

	ab = vpaddq_u8(ab, cd);
	ab = vpaddq_u8(ab, ab);
	return vgetq_lane_u64(vreinterpretq_u64_u8(ab), 0);
}

INLINE uint64_t
equal_neon(const uint8x16_t v[4], char c)
{
	uint8x16_t want = vdupq_n_u8((uint8_t)c);

	return gather_neon(vceqq_u8(v[0], want), vceqq_u8(v[1], want),
	    vceqq_u8(v[2], want), vceqq_u8(v[3], want));
}

INLINE void
load_neon(uint8x16_t v[4], const char *p)
{
	for (int i = 0; i < 4; i++)
		v[i] = vld1q_u8((const uint8_t *)p + 16 * i);
}

INLINE void
masks_neon(struct masks *m, const char *p, char delimiter, char quote)
{
	uint8x16_t v[4];

	load_neon(v, p);
	m->lf = equal_neon(v, '\n');
	m->cr = equal_neon(v, '\r');
	m->delimiter = equal_neon(v, delimiter);
	m->quote = equal_neon(v, quote);
	m->watched = equal_neon(v, MB_MARKS_WATCHED);
}

INLINE bool
plain_neon(struct plain_masks *m, const char *p, char delimiter,
    const struct odd *odd)
{
	uint8x16_t table = vld1q_u8((const uint8_t *)odd->table);
	uint8x16_t half = vdupq_n_u8(15), v[4], is_odd[4];

	load_neon(v, p);
	for (int i = 0; i < 4; i++)
		is_odd[i] = vceqq_u8(v[i], vqtbl1q_u8(table,
		    vandq_u8(v[i], half)));
	m->lf = equal_neon(v, '\n');
	m->cr = equal_neon(v, '\r');
	m->marks = m->lf | equal_neon(v, delimiter);
	return vmaxvq_u8(vorrq_u8(vorrq_u8(is_odd[0], is_odd[1]),
	    vorrq_u8(is_odd[2], is_odd[3]))) != 0;
}

INLINE bool
plain_two_neon(struct plain_masks *a, struct plain_masks *b, const char *p,
    char delimiter, const struct odd *odd)
{
	bool first = plain_neon(a, p, delimiter, odd);
	bool second = plain_neon(b, p + STEP, delimiter, odd);

	return first | second;
}

INLINE void
json_neon(struct json_masks *m, const char *p)
{
	uint8x16_t v[4], low = vdupq_n_u8(0x20), high = vdupq_n_u8(0x80);

	load_neon(v, p);
	m->quote = equal_neon(v, '"');
	m->slash = equal_neon(v, '\\');
	m->control = gather_neon(vcltq_u8(v[0], low), vcltq_u8(v[1], low),
	    vcltq_u8(v[2], low), vcltq_u8(v[3], low));
	m->high = gather_neon(vcgeq_u8(v[0], high), vcgeq_u8(v[1], high),
	    vcgeq_u8(v[2], high), vcgeq_u8(v[3], high));
	m->watched = equal_neon(v, MB_MARKS_WATCHED);
}
#endif

#endif
