#include "record/marks.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "base/line.h"
#include "base/load.h"
#include "record/split.h"

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
	uint64_t odd;		/* one of some others */
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
	void (*plain)(struct plain_masks *, const char *, char delimiter,
	    const struct odd *odd);
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

INLINE void
plain_portable(struct plain_masks *m, const char *p, char delimiter,
    const struct odd *odd)
{
	*m = (struct plain_masks){ 0 };
	for (int i = 0; i < STEP; i += 8) {
		uint64_t word = mb_load_8(p + i);

		m->lf |= zeros(word ^ all('\n')) << i;
		m->cr |= zeros(word ^ all('\r')) << i;
		m->marks |= zeros(word ^ all(delimiter)) << i;
		for (int k = 0; k < 3; k++)
			m->odd |= zeros(word ^ all(odd->byte[k])) << i;
	}
	m->marks |= m->lf;
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

AVX2 INLINE void
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
	m->odd = gather_bits(
	    _mm256_cmpeq_epi8(a, _mm256_shuffle_epi8(table, a)),
	    _mm256_cmpeq_epi8(b, _mm256_shuffle_epi8(table, b)));
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

AVX512 INLINE void
plain_avx512(struct plain_masks *m, const char *p, char delimiter,
    const struct odd *odd)
{
	__m512i v = _mm512_loadu_si512(p);
	__m512i table = _mm512_broadcast_i32x4(
	    _mm_loadu_si128((const __m128i *)odd->table));

	m->lf = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\n'));
	m->cr = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\r'));
	m->marks = _kor_mask64(m->lf,
	    _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(delimiter)));
	m->odd = _mm512_cmpeq_epi8_mask(v, _mm512_shuffle_epi8(table, v));
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

INLINE void
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
	m->odd = gather_neon(is_odd[0], is_odd[1], is_odd[2], is_odd[3]);
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

/*
 * Csv, tsv and lines.
 */

/* How far a look has come. */
struct walk {
	size_t at;
	uint32_t n_marks, n_ends;
	uint64_t crs, watched;

	/* 1: the byte before is … */
	uint64_t after_end;		/* the last of a record, … */
	uint64_t after_special;		/* … one that the masks have, … */
	uint64_t after_close;		/* … a quote that closes, … */
	uint64_t after_close_cr;	/* … and then a CR before a LF */

	uint64_t inside;	/* ones: the byte before is inside quotes */
	unsigned n_inner;	/* line ends there */
	uint64_t is_coded;	/* 1: the field we are in is */
	uint64_t codes;		/* not 0: there were any */
};

/* What a step holds. */
struct block {
	uint64_t ends;		/* the last bytes of records */
	uint64_t marks;		/* … and of fields */
	uint64_t behind;	/* is between a closing quote and here nothing,
				   or a CR that belongs to a LF? */
	uint64_t codes;		/* the second bytes of `""`; backslashes */
};

/* A blank line is odd, and in tsv one of a CR, too. */
INLINE uint64_t
find_blank(const struct walk *w, const struct masks *m, uint64_t ends)
{
	return (ends << 1 | w->after_end) & (m->lf | m->cr);
}

/*
 * Csv with quotes or a CR, and the step behind.  False: it is odd.
 *
 * As little as possible is done with each step: a quote opens where outside is
 * the byte before, so that this need not be asked of a delimiter, nor of what
 * is behind an end.  The byte behind a closing quote at a step's end is judged
 * with the next step, as the record goes on there; but whether a CR is an end
 * must be known, and there may be few of them.
 */
INLINE bool
judge_quotes(struct block *b, struct walk *w, const struct masks *m,
    const struct masks *next)
{
	const uint64_t special = m->delimiter | m->lf | m->cr | m->quote;
	const uint64_t inside = m->is_odd ^ w->inside;
	const uint64_t opens = m->quote & inside, closes = m->quote & ~inside;
	const uint64_t after_close = closes << 1 | w->after_close;
	uint64_t ends = m->lf, odd;

	b->behind = after_close;
	if ((m->cr | w->after_close_cr) != 0) {
		uint64_t lf_next = m->lf >> 1 | next->lf << (STEP - 1);
		uint64_t close_cr = after_close & m->cr & lf_next;

		ends |= m->cr & ~lf_next;
		b->behind |= close_cr << 1 | w->after_close_cr;
		w->after_close_cr = close_cr >> (STEP - 1);
		w->crs |= m->cr;
	}
	b->ends = ends & ~inside;
	b->marks = b->ends | (m->delimiter & ~inside);
	b->codes = after_close & opens;
	odd = (opens & ~(special << 1 | w->after_special)) |
	    (after_close & ~special) | find_blank(w, m, b->ends);
	w->after_special = special >> (STEP - 1);
	w->after_close = closes >> (STEP - 1);
	w->inside = 0 - (inside >> (STEP - 1));
	if ((odd | (ends & inside)) == 0)
		return true;
	w->n_inner += (unsigned)__builtin_popcountll(ends & inside);
	return odd == 0 && w->n_inner < MB_LINE_LIMIT;
}

INLINE bool
judge_slashes(struct block *b, struct walk *w, const struct masks *m)
{
	b->ends = m->lf;
	b->marks = m->lf | m->delimiter;
	b->behind = 0;
	b->codes = m->quote;
	w->crs |= m->cr;
	return find_blank(w, m, m->lf) == 0;
}

/* Of the marks those that end a field with one of the codes. */
INLINE uint64_t
find_coded(struct walk *w, uint64_t codes, uint64_t marks)
{
	uint64_t sum;
	bool carry;

	/*
	 * What is between two marks are ones: a code that is added carries to
	 * the mark behind it.
	 */
	carry = __builtin_add_overflow(~marks, codes, &sum);
	carry |= __builtin_add_overflow(sum, w->is_coded, &sum);
	w->is_coded = carry;
	return sum & marks;
}

INLINE void
pass(struct walk *w, struct mb_marks *out, uint64_t ends, uint64_t marks)
{
	out->ends[w->at / STEP] = ends;
	w->n_ends += (uint32_t)__builtin_popcountll(ends);
	w->n_marks += (uint32_t)__builtin_popcountll(marks);
	w->after_end = ends >> (STEP - 1);
	w->at += STEP;
}

INLINE const struct odd *
odd_of(enum mb_format format)
{
	return format == MB_CSV ? &odd_csv : format == MB_TSV ? &odd_tsv :
	    &odd_line;
}

/* Put down the marks of a step that is plain. */
INLINE void
put_plain(struct walk *w, struct mb_marks *out, const struct plain_masks *m,
    const enum mb_format format, const struct way way)
{
	uint64_t marks = format == MB_LINES ? m->lf : m->marks;

	if (format != MB_CSV)
		w->crs |= m->cr;
	way.put(out->mark + MB_MARKS_FIRST + w->n_marks, marks,
	    (unsigned)w->at);
	pass(w, out, m->lf, marks);
}

/* A blank line in a step that is plain; `before` is the step before. */
INLINE uint64_t
has_blank(const struct plain_masks *m, uint64_t after_end,
    const enum mb_format format)
{
	uint64_t is_first = m->lf << 1 | after_end;

	return format == MB_LINES ? 0 : is_first &
	    (format == MB_TSV ? m->lf | m->cr : m->lf);
}

/*
 * As long as there is nothing but delimiters and LF.  Two steps at a time take
 * a fifth less than one by one.
 */
INLINE void
walk_plain(struct walk *w, struct mb_marks *out, const char *p, size_t len,
    const enum mb_format format, char delimiter, const struct way way)
{
	const struct odd *odd = odd_of(format);
	struct plain_masks a, b;

	for (; len - w->at >= 2 * STEP; ) {
		way.plain(&a, p + w->at, delimiter, odd);
		way.plain(&b, p + w->at + STEP, delimiter, odd);
		if (format == MB_LINES)
			w->watched |= a.odd | b.odd;
		else if ((a.odd | b.odd) != 0)
			break;
		if ((has_blank(&a, w->after_end, format) |
		    has_blank(&b, a.lf >> (STEP - 1), format)) != 0)
			break;
		put_plain(w, out, &a, format, way);
		put_plain(w, out, &b, format, way);
	}
	for (; len - w->at >= STEP; ) {
		way.plain(&a, p + w->at, delimiter, odd);
		if (format == MB_LINES)
			w->watched |= a.odd;
		else if (a.odd != 0)
			break;
		if (has_blank(&a, w->after_end, format) != 0)
			break;
		put_plain(w, out, &a, format, way);
	}
	if (w->at > 0)
		w->after_special = w->after_end | (p[w->at - 1] == delimiter);
}

INLINE void
see(struct masks *m, const char *p, const enum mb_format format,
    char delimiter, const struct way way)
{
	way.masks(m, p, delimiter, format == MB_CSV ? '"' : '\\');
	if (format == MB_CSV)
		m->is_odd = way.xor_before(m->quote);
}

/*
 * Whatever there is, up to the first that is odd.  What the next step holds is
 * seen before this one is judged: the processor would get to it too late.
 */
INLINE void
walk_coded(struct walk *w, struct mb_marks *out, const char *p, size_t len,
    const enum mb_format format, char delimiter, const struct way way)
{
	uint16_t *mark = out->mark + MB_MARKS_FIRST;
	struct masks m, next;
	struct block b;

	memset(out->is_coded, 0, w->n_marks);
	see(&next, p + w->at, format, delimiter, way);
	while (len - w->at >= STEP) {
		uint64_t coded;

		m = next;
		see(&next, p + w->at + STEP, format, delimiter, way);
		if (!(format == MB_CSV ? judge_quotes(&b, w, &m, &next) :
		    judge_slashes(&b, w, &m)))
			break;
		w->codes |= b.codes;
		w->watched |= m.watched;
		coded = find_coded(w, b.codes, b.marks);
		way.put_quoted(mark + w->n_marks, b.marks,
		    way.extract(b.behind, b.marks), (unsigned)w->at);
		way.put_flags(out->is_coded + w->n_marks,
		    way.extract(coded, b.marks),
		    (unsigned)__builtin_popcountll(b.marks));
		pass(w, out, b.ends, b.marks);
	}
}

INLINE bool
is_end(const struct mb_marks *m, uint32_t i)
{
	uint32_t place = mb_marks_place(m, i);

	return m->ends[place / STEP] >> place % STEP & 1;
}

/*
 * Do all records have the width?  Plain marks are either delimiters or LF,
 * which is quicker to see than whether they are ends.
 */
INLINE bool
are_as_wide(const struct mb_marks *m, size_t width, const char *p,
    bool is_plain)
{
	const uint16_t *end = m->mark + MB_MARKS_FIRST + width - 1;
	unsigned char differs = 0;
	bool ok = true;

	if (width == 0 || m->n_ends * width > m->n_marks)
		return false;
	/* If so many marks are ends, there are no others. */
	for (size_t i = 0; i < m->n_ends && is_plain; i++)
		differs |= (unsigned char)(p[end[i * width]] ^ '\n');
	for (size_t i = 0; i < m->n_ends && !is_plain; i++)
		ok &= is_end(m, (uint32_t)((i + 1) * width - 1));
	return ok && differs == 0;
}

INLINE void
list_ends(struct mb_marks *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->n_marks; i++) {
		m->end[n] = (uint16_t)i;
		n += is_end(m, i);
	}
}

INLINE void
look_rows(struct mb_marks *out, const char *p, size_t len, size_t width,
    const enum mb_format format, char delimiter, const struct way way)
{
	struct walk w = { .after_end = 1, .after_special = 1 };

	bool is_plain;

	walk_plain(&w, out, p, len, format, delimiter, way);
	is_plain = format == MB_LINES || len - w.at < STEP;
	if (!is_plain)
		walk_coded(&w, out, p, len, format, delimiter, way);
	out->n_marks = w.n_marks;
	out->n_ends = w.n_ends;
	out->has_cr = w.crs != 0;
	out->has_codes = w.codes != 0;
	out->has_watched = w.watched != 0;
	if (format == MB_LINES || are_as_wide(out, width, p, is_plain))
		out->width = format == MB_LINES ? 1 : (uint32_t)width;
	else
		list_ends(out);
}

/*
 * Strings of ndjson.
 */

/* What goes on from step to step. */
struct strings {
	uint64_t is_escaped;	/* 1: the first byte, by one before */
	unsigned n_inside;	/* bytes of a sequence that was judged */
	const char *pair;	/* the `u` of the second half of a pair */
};

/* The bytes behind a backslash that is none itself, and so on. */
INLINE uint64_t
find_escaped(struct strings *s, uint64_t slash)
{
	const uint64_t odd = 0xaaaaaaaaaaaaaaaau;
	uint64_t begins = slash & ~s->is_escaped, ends, escaped;

	/*
	 * A run of them that begins at an even place is carried by the
	 * subtraction to where it ends; one at an odd place likewise from the
	 * ones in between.
	 */
	ends = ((begins << 1 | odd) - begins) ^ odd;
	escaped = ends ^ (slash | s->is_escaped);
	s->is_escaped = (ends & slash) >> (STEP - 1);
	return escaped;
}

INLINE int
hex_4(const char *p)
{
	int value = 0;

	for (int i = 0; i < 4; i++) {
		unsigned digit = (unsigned char)p[i] - (unsigned)'0';

		if (digit > 9) {
			digit = ((unsigned char)p[i] | 0x20) - (unsigned)'a';
			if (digit > 5)
				return -1;
			digit += 10;
		}
		value = value * 16 + (int)digit;
	}
	return value;
}

/* Is the escape good whose `u` is here?  So much can be read. */
static bool
is_good_unicode(struct strings *s, const char *p)
{
	int code, other;

	if (p == s->pair)
		return true;
	code = hex_4(p + 1);
	if (code < 0xd800 || code > 0xdfff)
		return code >= 0;
	if (code > 0xdbff || p[5] != '\\' || p[6] != 'u')
		return false;
	other = hex_4(p + 7);
	s->pair = p + 6;
	return other >= 0xdc00 && other <= 0xdfff;
}

static uint64_t
find_bad_escapes(struct strings *s, const char *p, uint64_t escaped)
{
	uint64_t bad = 0;

	for (; escaped != 0; escaped &= escaped - 1) {
		const char *c = p + __builtin_ctzll(escaped);
		bool is_good;

		switch (*c) {
		case '"':
		case '\\':
		case '/':
		case 'b':
		case 'f':
		case 'n':
		case 'r':
		case 't':
			is_good = true;
			break;
		case 'u':
			is_good = is_good_unicode(s, c);
			break;
		default:
			is_good = false;
		}
		if (!is_good)
			bad |= escaped & -escaped;
	}
	return bad;
}

static uint64_t
find_bad_utf8(struct strings *s, const char *p, uint64_t high)
{
	uint64_t bad = 0;

	high &= ~(((uint64_t)1 << s->n_inside) - 1);
	s->n_inside = 0;
	while (high != 0) {
		unsigned i = (unsigned)__builtin_ctzll(high);
		size_t n = mb_utf8_length(p + i, 4);

		if (n == 0) {
			bad |= (uint64_t)1 << i;
			n = 1;
		}
		if (i + n >= STEP) {
			s->n_inside = i + (unsigned)n - STEP;
			break;
		}
		high &= ~(uint64_t)0 << (i + n);
	}
	return bad;
}

/*
 * Nothing is called in the inner loop: the constants in its registers would
 * have to be made anew with each step.
 */
INLINE void
look_json(struct mb_marks *out, const char *p, size_t len,
    const struct way way)
{
	struct strings s = { 0 };
	uint64_t slashes = 0, watched = 0, marks = 0, doubtful = 0;
	uint16_t *to = out->mark + MB_MARKS_FIRST;
	struct json_masks m = { 0 };

	for (size_t at = 0; len - at >= STEP; at += STEP) {
		for (; len - at >= STEP; at += STEP) {
			way.json(&m, p + at);
			slashes |= out->slashes[at / STEP] = m.slash;
			watched |= m.watched;
			marks = m.quote | m.control;
			doubtful = 0;
			/* Which steps have some can't be foreseen. */
			if (slashes != 0) {
				uint64_t escaped = find_escaped(&s, m.slash);

				marks &= ~(escaped & m.quote);
				doubtful = escaped & ~way.escapes(p + at);
			}
			if ((doubtful | m.high | s.n_inside) != 0)
				break;
			way.put(to, marks, (unsigned)at);
			to += __builtin_popcountll(marks);
		}
		if (len - at < STEP)
			break;
		if (doubtful != 0)
			marks |= find_bad_escapes(&s, p + at, doubtful);
		if ((m.high | s.n_inside) != 0)
			marks |= find_bad_utf8(&s, p + at, m.high);
		way.put(to, marks, (unsigned)at);
		to += __builtin_popcountll(marks);
	}
	out->n_marks = (uint32_t)(to - out->mark) - MB_MARKS_FIRST;
	out->has_escapes = slashes != 0;
	out->has_watched = watched != 0;
}

/* A copy for each format, so that each does only what it needs. */
INLINE void
look(struct mb_marks *out, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len, const struct way way)
{
	switch (format) {
	case MB_CSV:
		look_rows(out, p, len, width, MB_CSV, delimiter, way);
		break;
	case MB_TSV:
		look_rows(out, p, len, width, MB_TSV, delimiter, way);
		break;
	case MB_LINES:
		look_rows(out, p, len, width, MB_LINES, delimiter, way);
		break;
	case MB_NDJSON:
		look_json(out, p, len, way);
		break;
	}
}

static void
look_portable(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_portable, plain_portable, json_portable, escapes_portable, put_portable,
	    put_quoted_portable, put_flags_portable, extract_portable,
	    xor_before_portable });
}

#if defined(__x86_64__)
AVX2 static void
look_avx2(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_avx2, plain_avx2, json_avx2, escapes_avx2, put_avx2, put_quoted_avx2,
	    put_flags_portable, extract_avx2, xor_before_avx2 });
}

AVX512 static void
look_avx512(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_avx512, plain_avx512, json_avx512, escapes_avx512, put_avx512,
	    put_quoted_avx512, put_flags_avx512, extract_avx2,
	    xor_before_avx2 });
}
#elif defined(__aarch64__)
static void
look_neon(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_neon, plain_neon, json_neon, escapes_portable, put_portable,
	    put_quoted_portable, put_flags_portable, extract_portable,
	    xor_before_portable });
}
#endif

void
mb_marks_look(struct mb_marks *m, enum mb_isa isa, enum mb_format format,
    char delimiter, size_t width, const char *p, size_t len)
{
	m->n_marks = m->n_ends = m->width = 0;
	m->has_cr = m->has_codes = m->has_escapes = m->has_watched = false;
	m->mark[MB_MARKS_FIRST - 1] = UINT16_MAX;
	if (len < STEP + MB_MARKS_SLACK)
		return;
	len -= MB_MARKS_SLACK;
	if (len > MB_MARKS_REACH)
		len = MB_MARKS_REACH;
	switch (isa) {
#if defined(__x86_64__)
	case MB_ISA_AVX512:
		look_avx512(m, format, delimiter, width, p, len);
		return;
	case MB_ISA_AVX2:
		look_avx2(m, format, delimiter, width, p, len);
		return;
#elif defined(__aarch64__)
	case MB_ISA_NEON:
		look_neon(m, format, delimiter, width, p, len);
		return;
#endif
	default:
		look_portable(m, format, delimiter, width, p, len);
	}
}
