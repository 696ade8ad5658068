#include "agg/memo.h"

#include <stdlib.h>
#include <string.h>

#include "agg/eight.h"
#include "base/hash.h"
#include "base/load.h"

/*
 * A key takes 1, 2 or 4 words, and all keys of a row as many: its text, zeros
 * behind, and in the last byte its length and whether it is null.  One or two
 * keys that are very short share a word: their texts, one behind the other,
 * and in the last byte both lengths and which are null.
 *
 * Entries are in buckets of two; one that finds its bucket full has no place.
 * An entry is up to 4 words and the group's number + 1, in 2, 4 or 8 words.
 */
enum form {
	NO_FORM,
	ALL_IN_ONE,
	ONE_EACH,
	TWO_EACH,
	FOUR_EACH,
};
static const unsigned char words_of_form[] = { 0, 0, 1, 2, 4 };	/* a key's */

enum {
	MOST_WORDS = 4,
	SHARED_TEXT = 7,	/* bytes in a shared word */
	SHARED_KEYS = 2,
	FIRST_BITS = 10,
	MOST_BITS = 13,
	NULL_BIT = 0x80,
	KEY_BIT = 0x40,		/* so that no key is all zeros */
};

#define INLINE static inline __attribute__((always_inline))

void
mb_memo_init(struct mb_memo *m, uint64_t seed)
{
	*m = (struct mb_memo){ 0 };
	for (unsigned i = 0; i < MOST_WORDS; i++)
		m->factor[i] = mb_hash64(&"memo"[i], 1, seed) | 1;
}

void
mb_memo_release(struct mb_memo *m)
{
	free(m->entries);
	m->entries = NULL;
	m->bits = 0;
}

/* Words from one entry to the next. */
INLINE size_t
stride_of(unsigned n_words)
{
	return n_words == 1 ? 2 : n_words < MOST_WORDS ? 4 : 8;
}

static size_t
n_entries(const struct mb_memo *m)
{
	return (size_t)2 << m->bits;
}

void
mb_memo_reset(struct mb_memo *m)
{
	if (m->bits > FIRST_BITS) {
		mb_memo_release(m);
		m->form = NO_FORM;
	} else if (m->n_used > 0) {
		memset(m->entries, 0, n_entries(m) *
		    stride_of(m->n_words) * sizeof *m->entries);
	}
	m->n_used = 0;
}

/* Rows as words. */

INLINE uint64_t
last_byte(uint64_t byte)
{
	return byte << 56;
}

INLINE unsigned
tag_of(size_t len, bool is_null)
{
	return (unsigned)len | KEY_BIT | (is_null ? NULL_BIT : 0);
}

INLINE void
load_key(uint64_t *word, const char *base, const struct mb_view *v,
    const unsigned key_words)
{
	/* Ones in the first bytes. */
	static const unsigned char ones[64] = { 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const unsigned char *mask = ones + 32 - v->len;
	const char *p = base + v->start;

	_Static_assert(MB_VIEW_SLACK >= 32, "views can be read");
	for (unsigned i = 0; i < key_words; i++)
		word[i] = mb_load_8(p + 8 * i) & mb_load_8(mask + 8 * i);
	word[key_words - 1] |= last_byte(tag_of(v->len,
	    v->kind == MB_NULL));
}

/* The last byte of a shared word, as far as key i is concerned. */
INLINE uint64_t
shared_tag(size_t i, size_t len, bool is_null)
{
	return (uint64_t)len << 3 * i | (uint64_t)is_null << (6 + i);
}

INLINE uint64_t
load_shared(const struct mb_rows *rows, const size_t *fields, size_t i,
    const unsigned n_keys)
{
	uint64_t text = 0, tag = 0;
	unsigned bits = 0;

	for (unsigned k = 0; k < n_keys; k++) {
		const struct mb_view *v = rows->view + fields[k] * MB_ROWS + i;
		uint64_t ones = ((uint64_t)1 << 8 * v->len) - 1;

		text |= (mb_load_8(rows->p + v->start) & ones) << bits;
		tag |= shared_tag(k, v->len, v->kind == MB_NULL);
		bits += 8 * v->len;
	}
	return text | tag << 56;
}

INLINE void
load_row(uint64_t *word, const struct mb_rows *rows, const size_t *fields,
    size_t i, const unsigned n_keys, const enum form form)
{
	const unsigned n = words_of_form[form];

	if (form == ALL_IN_ONE)
		word[0] = load_shared(rows, fields, i, n_keys);
	for (unsigned k = 0; k < n_keys && form != ALL_IN_ONE; k++)
		load_key(word + k * n, rows->p,
		    rows->view + fields[k] * MB_ROWS + i, n);
}

INLINE unsigned
count_words(enum form form, size_t n_keys)
{
	return form == ALL_IN_ONE ? 1 : words_of_form[form] * (unsigned)n_keys;
}

INLINE size_t
bucket_of(const uint64_t *factor, unsigned bits, const uint64_t *word,
    const unsigned n_words)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < n_words; i++)
		hash += word[i] * factor[i];
	return hash >> (64 - bits);
}

INLINE uint64_t
differs(const uint64_t *entry, const uint64_t *word, const unsigned n_words)
{
	uint64_t differ = 0;

	for (unsigned i = 0; i < n_words; i++)
		differ |= entry[i] ^ word[i];
	return differ;
}

/* A shared word may be all zeros, as one that isn't there is. */
INLINE bool
is_there(const uint64_t *entry, const uint64_t *word, const unsigned n_words)
{
	return (differs(entry, word, n_words) == 0) &
	    (n_words > 1 || entry[n_words] != 0);
}

/* One or the other, without a branch that nothing foresees. */
INLINE uint64_t
choose(bool second, uint64_t a, uint64_t b)
{
	return a ^ ((a ^ b) & (0 - (uint64_t)second));
}

INLINE void
find(struct mb_memo *m, const struct mb_rows *rows, const size_t *fields,
    uint32_t *numbers, const unsigned n_keys, const enum form form)
{
	const unsigned n_words = count_words(form, n_keys), bits = m->bits;
	const size_t stride = stride_of(n_words), n = rows->n;
	const uint64_t *entries = m->entries;
	const uint64_t factor[MOST_WORDS] = { m->factor[0], m->factor[1],
		m->factor[2], m->factor[3] };
	size_t n_missed = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t word[MOST_WORDS];
		const uint64_t *entry;
		bool first, second;

		load_row(word, rows, fields, i, n_keys, form);
		entry = entries + 2 * stride * bucket_of(factor, bits, word,
		    n_words);
		first = is_there(entry, word, n_words);
		second = is_there(entry + stride, word, n_words);
		numbers[i] = (uint32_t)choose(second, entry[n_words],
		    entry[stride + n_words]) - 1;
		m->is_missed[i] = !(first | second);
		n_missed += !(first | second);
	}
	m->n_missed = n_missed;
}

#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f," \
    "avx512bw,avx512dq,avx512vl,avx512vbmi2")))

/* What isn't asked for isn't read. */
AVX512 INLINE __m128i
load_two_words(const char *base, const struct mb_view *v)
{
	return _mm_mask_set1_epi8(_mm_maskz_loadu_epi8((__mmask16)_bzhi_u32(
	    0xffff, v->len), base + v->start), 0x8000, (char)tag_of(v->len,
	    v->kind == MB_NULL));
}

AVX512 INLINE __m256i
load_four_words(const char *base, const struct mb_view *v)
{
	return _mm256_mask_set1_epi8(_mm256_maskz_loadu_epi8(_bzhi_u32(
	    UINT32_MAX, v->len), base + v->start), 0x80000000u,
	    (char)tag_of(v->len, v->kind == MB_NULL));
}

/* One key of four words, or two keys of two. */
AVX512 INLINE void
find_wide(struct mb_memo *m, const struct mb_rows *rows, const size_t *fields,
    uint32_t *numbers, const unsigned n_keys)
{
	const struct mb_view *view = rows->view + fields[0] * MB_ROWS;
	const struct mb_view *more = rows->view + fields[n_keys - 1] * MB_ROWS;
	const __m256i factor = _mm256_loadu_si256((const void *)m->factor);
	const uint64_t *entries = m->entries;
	const unsigned bits = 64 - m->bits;
	const size_t stride = stride_of(4), n = rows->n;
	size_t n_missed = 0;

	for (size_t i = 0; i < n; i++) {
		__m256i word = n_keys == 1 ? load_four_words(rows->p,
		    &view[i]) : _mm256_set_m128i(load_two_words(rows->p,
		    &more[i]), load_two_words(rows->p, &view[i]));
		__m256i hash = _mm256_mullo_epi64(word, factor);
		__m128i sum = _mm_add_epi64(_mm256_castsi256_si128(hash),
		    _mm256_extracti128_si256(hash, 1));
		const uint64_t *entry;
		unsigned first, second;

		sum = _mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum));
		entry = entries + 2 * stride *
		    ((uint64_t)_mm_cvtsi128_si64(sum) >> bits);
		first = _mm256_cmpneq_epi64_mask(word,
		    _mm256_loadu_si256((const void *)entry));
		second = _mm256_cmpneq_epi64_mask(word,
		    _mm256_loadu_si256((const void *)(entry + stride)));
		numbers[i] = (uint32_t)choose(second == 0, entry[4],
		    entry[stride + 4]) - 1;
		m->is_missed[i] = (first != 0) & (second != 0);
		n_missed += (first != 0) & (second != 0);
	}
	m->n_missed = n_missed;
}
#endif

#if defined(__x86_64__)
/* The first two words of four entries. */
AVX512 INLINE __m512i
load_entries(const uint64_t *entries, const uint64_t *at)
{
	__m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)
	    (entries + at[0])));

	v = _mm512_inserti64x2(v, _mm_loadu_si128((const void *)(entries +
	    at[2])), 1);
	v = _mm512_inserti64x2(v, _mm_loadu_si128((const void *)(entries +
	    at[4])), 2);
	return _mm512_inserti64x2(v, _mm_loadu_si128((const void *)(entries +
	    at[6])), 3);
}

/*
 * Which of eight rows have the words of the entries `at`.  Of two words, rows
 * of even and of odd number stand side by side, word by word.
 */
AVX512 INLINE __mmask8
have_words(const uint64_t *entries, __m512i at, const __m512i *word,
    const unsigned n_words)
{
	uint64_t place[8];
	unsigned even, odd;
	__mmask8 found = 0xff;

	if (n_words == 2) {
		_mm512_storeu_si512(place, at);
		even = _mm512_cmpeq_epi64_mask(load_entries(entries, place),
		    _mm512_unpacklo_epi64(word[0], word[1]));
		odd = _mm512_cmpeq_epi64_mask(load_entries(entries, place + 1),
		    _mm512_unpackhi_epi64(word[0], word[1]));
		return (__mmask8)((even & even >> 1 & 0x55) |
		    (odd & odd >> 1 & 0x55) << 1);
	}
	for (unsigned k = 0; k < n_words; k++)
		found = _mm512_mask_cmpeq_epi64_mask(found, word[k],
		    _mm512_i64gather_epi64(at, (const long long *)entries + k,
		    8));
	return found;
}

/*
 * Keys of a word each, eight rows at a time.  Second places are looked at only
 * where they are needed, so the table is to be sparse.
 */
AVX512 INLINE void
find_by_eight(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, uint32_t *numbers, const unsigned n_keys)
{
	const __m512i ones = _mm512_set1_epi64(-1);
	const __m128i shift = _mm_cvtsi32_si128(64 - (int)m->bits);
	const size_t stride = stride_of(n_keys), n = rows->n;
	const uint64_t *entries = m->entries;
	size_t n_missed = 0;

	for (size_t i = 0; i < n; i += 8) {
		__mmask8 all = (__mmask8)_bzhi_u32(0xff,
		    n - i < 8 ? (unsigned)(n - i) : 8), found;
		__m512i word[MOST_WORDS], at, hash = _mm512_setzero_si512();
		uint64_t place[8];

		for (unsigned k = 0; k < n_keys; k++) {
			const struct mb_view *view = rows->view +
			    fields[k] * MB_ROWS + i;
			__m512i v = _mm512_maskz_loadu_epi64(all, view);
			__m512i len = _mm512_and_epi64(_mm512_srli_epi64(v,
			    32), _mm512_set1_epi64(7));
			__mmask8 null = _mm512_testn_epi64_mask(v,
			    _mm512_set1_epi64(0xffll << 48));
			__m512i tag = _mm512_or_epi64(_mm512_slli_epi64(len,
			    56), _mm512_set1_epi64((long long)KEY_BIT << 56));

			word[k] = mb_eight_words(rows->p, view, v,
			    (__mmask8)(all & ~null));
			tag = _mm512_mask_or_epi64(tag, null, tag,
			    _mm512_set1_epi64((long long)((uint64_t)NULL_BIT <<
			    56)));
			/* tag | (word & ~(ones << 8 len)) */
			word[k] = _mm512_ternarylogic_epi64(tag, word[k],
			    _mm512_sllv_epi64(ones, _mm512_slli_epi64(len,
			    3)), 0xf4);
			hash = _mm512_add_epi64(hash, _mm512_mullo_epi64(
			    word[k], _mm512_set1_epi64(
			    (long long)m->factor[k])));
		}
		at = _mm512_slli_epi64(_mm512_srl_epi64(hash, shift),
		    stride == 4 ? 3 : 4);
		found = (__mmask8)(all & have_words(entries, at, word,
		    n_keys));
		if (found != all) {
			at = _mm512_mask_add_epi64(at, (__mmask8)~found, at,
			    _mm512_set1_epi64((long long)stride));
			found |= (__mmask8)(all & have_words(entries, at, word,
			    n_keys));
			n_missed += (unsigned)__builtin_popcount(all & ~found);
		}
		_mm512_storeu_si512(place, at);
		for (unsigned k = 0; k < 8; k++)
			numbers[i + k] = (uint32_t)entries[place[k] +
			    n_keys] - 1;
		_mm_storel_epi64((__m128i *)(m->is_missed + i),
		    _mm_maskz_set1_epi8((__mmask16)(all & ~found), 1));
	}
	m->n_missed = n_missed;
}

/*
 * The first two entries' words of eight buckets, of a word each, and the
 * numbers; at[i] is where the i-th begins.
 */
AVX512 INLINE void
load_shared_entries(const uint64_t *entries, __m512i at, __m512i *words,
    __m512i *numbers)
{
	uint64_t place[8];
	__m512i even, odd;

	_mm512_storeu_si512(place, at);
	even = load_entries(entries, place);
	odd = load_entries(entries, place + 1);
	*words = _mm512_unpacklo_epi64(even, odd);
	*numbers = _mm512_unpackhi_epi64(even, odd);
}

/* A word of each of the views' texts, zeros behind. */
AVX512 INLINE __m512i
load_texts(const struct mb_rows *rows, const struct mb_view *view, __m512i v,
    __m512i bits, __mmask8 there)
{
	return _mm512_andnot_epi64(_mm512_sllv_epi64(_mm512_set1_epi64(-1),
	    bits), mb_eight_words(rows->p, view, v, there));
}

/* Keys that share a word, eight rows at a time. */
AVX512 INLINE void
find_shared(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, uint32_t *numbers, const unsigned n_keys)
{
	const __m512i factor = _mm512_set1_epi64((long long)m->factor[0]);
	const __m512i len_bits = _mm512_set1_epi64(SHARED_TEXT << 3);
	const __m128i shift = _mm_cvtsi32_si128(64 - (int)m->bits);
	const struct mb_view *view = rows->view + fields[0] * MB_ROWS;
	const struct mb_view *more = rows->view + fields[n_keys - 1] * MB_ROWS;
	const size_t n = rows->n;
	size_t n_missed = 0;

	for (size_t i = 0; i < n; i += 8) {
		__mmask8 all = (__mmask8)_bzhi_u32(0xff,
		    n - i < 8 ? (unsigned)(n - i) : 8), null, found, second;
		__m512i v = _mm512_maskz_loadu_epi64(all, view + i);
		/* Of a text; a length is in bits 3 to 5. */
		__m512i bits = _mm512_and_epi64(_mm512_srli_epi64(v, 29),
		    len_bits), word, tag, at, have, number;

		null = _mm512_testn_epi64_mask(v, _mm512_set1_epi64(0xffll <<
		    48));
		word = load_texts(rows, view + i, v, bits,
		    (__mmask8)(all & ~null));
		tag = _mm512_mask_or_epi64(_mm512_srli_epi64(bits, 3), null,
		    _mm512_srli_epi64(bits, 3), _mm512_set1_epi64(1 << 6));
		if (n_keys == 2) {
			__m512i w = _mm512_maskz_loadu_epi64(all, more + i);
			__m512i more_bits = _mm512_and_epi64(
			    _mm512_srli_epi64(w, 29), len_bits);

			null = _mm512_testn_epi64_mask(w,
			    _mm512_set1_epi64(0xffll << 48));
			word = _mm512_or_epi64(word, _mm512_sllv_epi64(
			    load_texts(rows, more + i, w, more_bits,
			    (__mmask8)(all & ~null)), bits));
			tag = _mm512_or_epi64(tag, more_bits);
			tag = _mm512_mask_or_epi64(tag, null, tag,
			    _mm512_set1_epi64(1 << 7));
		}
		word = _mm512_or_epi64(word, _mm512_slli_epi64(tag, 56));
		at = _mm512_slli_epi64(_mm512_srl_epi64(_mm512_mullo_epi64(
		    word, factor), shift), 2);
		load_shared_entries(m->entries, at, &have, &number);
		found = _mm512_mask_cmpeq_epi64_mask(
		    _mm512_test_epi64_mask(number, number), word, have);
		if ((found & all) != all) {
			__m512i other;

			load_shared_entries(m->entries, _mm512_add_epi64(at,
			    _mm512_set1_epi64(2)), &have, &other);
			second = _mm512_mask_cmpeq_epi64_mask((__mmask8)
			    (_mm512_test_epi64_mask(other, other) & ~found),
			    word, have);
			number = _mm512_mask_mov_epi64(number, second, other);
			found |= second;
			n_missed += (unsigned)__builtin_popcount(all & ~found);
		}
		_mm256_storeu_si256((void *)(numbers + i),
		    _mm512_cvtepi64_epi32(_mm512_sub_epi64(number,
		    _mm512_set1_epi64(1))));
		_mm_storel_epi64((__m128i *)(m->is_missed + i),
		    _mm_maskz_set1_epi8((__mmask16)(all & ~found), 1));
	}
	m->n_missed = n_missed;
}

AVX512 static void
find_shared_avx512(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, uint32_t *numbers, size_t n_keys)
{
	if (n_keys == 1)
		find_shared(m, rows, fields, numbers, 1);
	else
		find_shared(m, rows, fields, numbers, 2);
}

AVX512 static void
find_narrow_avx512(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, uint32_t *numbers, size_t n_keys)
{
	switch (n_keys) {
	case 2:
		find_by_eight(m, rows, fields, numbers, 2);
		break;
	case 3:
		find_by_eight(m, rows, fields, numbers, 3);
		break;
	default:
		find_by_eight(m, rows, fields, numbers, 4);
	}
}
#endif

/*
 * The form that all keys fit, or NO_FORM.  Bits of all lengths are quickly had,
 * more so of whole views, and say it.
 */
static enum form
form_of_keys(const struct mb_rows *rows, const size_t *fields, size_t n_keys)
{
	union {
		uint64_t word;
		struct mb_view view;
	} all;
	size_t longest = 0, sum = 0;

	_Static_assert(sizeof all == sizeof(struct mb_view), "a word");
	for (size_t k = 0; k < n_keys; k++) {
		const struct mb_view *v = rows->view + fields[k] * MB_ROWS;
		uint64_t a = 0, b = 0, c = 0, d = 0;
		size_t i;

		for (i = 0; i + 4 <= rows->n; i += 4) {
			a |= mb_load_8(&v[i]);
			b |= mb_load_8(&v[i + 1]);
			c |= mb_load_8(&v[i + 2]);
			d |= mb_load_8(&v[i + 3]);
		}
		for (; i < rows->n; i++)
			a |= mb_load_8(&v[i]);
		all.word = a | b | c | d;
		longest |= all.view.len;
		sum += all.view.len;
	}
	if (sum <= SHARED_TEXT && n_keys <= SHARED_KEYS)
		return ALL_IN_ONE;
	return longest < 8 ? ONE_EACH : longest < 16 ? TWO_EACH :
	    longest < 32 ? FOUR_EACH : NO_FORM;
}

/* Entries of so many words, none yet. */
static void
make_empty(struct mb_memo *m, unsigned bits, unsigned n_words)
{
	free(m->entries);
	m->bits = bits;
	m->n_words = n_words;
	m->n_used = 0;
	m->entries = mb_zalloc(n_entries(m) * stride_of(n_words) *
	    sizeof *m->entries);
}

#if defined(__x86_64__)
AVX512 static void
find_wide_avx512(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, uint32_t *numbers, size_t n_keys)
{
	if (n_keys == 1)
		find_wide(m, rows, fields, numbers, 1);
	else
		find_wide(m, rows, fields, numbers, 2);
}
#endif

static void
find_rows(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, size_t n_keys, uint32_t *numbers)
{
#if defined(__x86_64__)
	if (rows->isa == MB_ISA_AVX512 && m->form == ALL_IN_ONE) {
		find_shared_avx512(m, rows, fields, numbers, n_keys);
		return;
	}
	if (rows->isa == MB_ISA_AVX512 && m->form == ONE_EACH) {
		find_narrow_avx512(m, rows, fields, numbers, n_keys);
		return;
	}
	if (rows->isa == MB_ISA_AVX512 && m->n_words == 4) {
		find_wide_avx512(m, rows, fields, numbers, n_keys);
		return;
	}
#endif
	switch (n_keys * 8 + m->form) {
#define CASE(keys, form) \
	case (keys) * 8 + (form): \
		find(m, rows, fields, numbers, keys, form); \
		break
	CASE(1, ALL_IN_ONE);
	CASE(1, TWO_EACH);
	CASE(1, FOUR_EACH);
	CASE(2, ALL_IN_ONE);
	CASE(2, ONE_EACH);
	CASE(2, TWO_EACH);
	CASE(3, ONE_EACH);
	CASE(4, ONE_EACH);
#undef CASE
	}
}

bool
mb_memo_find(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, size_t n_keys, size_t n_groups, uint32_t *numbers)
{
	enum form form;

	m->n_missed = 0;
	if (n_keys > MOST_WORDS || n_groups > MB_MEMO_GROUPS)
		return false;
	form = form_of_keys(rows, fields, n_keys);
	/* One form at a time, the widest that was needed. */
	if (form < m->form && form != NO_FORM)
		form = m->form;
	if (form == NO_FORM || count_words(form, n_keys) > MOST_WORDS)
		return false;
	if (form != m->form) {
		m->form = form;
		make_empty(m, FIRST_BITS, count_words(form, n_keys));
	}
	find_rows(m, rows, fields, n_keys, numbers);
	return true;
}

static void
place(struct mb_memo *m, const uint64_t *word, uint64_t number)
{
	const size_t stride = stride_of(m->n_words);
	uint64_t *entry = m->entries + 2 * stride * bucket_of(m->factor,
	    m->bits, word, m->n_words);

	for (int i = 0; i < 2; i++, entry += stride) {
		if (entry[m->n_words] == 0) {
			memcpy(entry, word, m->n_words * sizeof *entry);
			entry[m->n_words] = number;
			m->n_used++;
			return;
		}
		if (differs(entry, word, m->n_words) == 0)
			return;
	}
}

static void
grow(struct mb_memo *m)
{
	const size_t n = n_entries(m), stride = stride_of(m->n_words);
	uint64_t *old = m->entries;

	m->entries = NULL;
	make_empty(m, m->bits + 1, m->n_words);
	for (size_t i = 0; i < n; i++)
		if (old[i * stride + m->n_words] != 0)
			place(m, old + i * stride,
			    old[i * stride + m->n_words]);
	free(old);
}

/* A number for these words, if there is a place. */
static void
learn(struct mb_memo *m, const uint64_t *word, uint32_t number)
{
	/* Full buckets are to be rare, or second places: find_by_eight. */
	const unsigned spread = m->form <= ONE_EACH ? 4 : 2;

	place(m, word, (uint64_t)number + 1);
	if (m->bits < MOST_BITS && m->n_used << spread > (size_t)1 << m->bits)
		grow(m);
}

void
mb_memo_learn(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, size_t n_keys, const uint32_t *numbers)
{
	uint64_t word[MOST_WORDS];

	if (m->n_missed == 0)
		return;
	for (size_t i = 0; i < rows->n; i++) {
		if (!m->is_missed[i])
			continue;
		load_row(word, rows, fields, i, (unsigned)n_keys, m->form);
		learn(m, word, numbers[i]);
	}
}

/* The words of a record; false: they are too long. */
static bool
set_words(const struct mb_memo *m, uint64_t word[MOST_WORDS],
    const struct mb_value *values, const size_t *fields, size_t n_keys)
{
	const unsigned n = words_of_form[m->form];
	char shared[SHARED_TEXT + 1] = { 0 };
	uint64_t tag = 0;
	size_t len = 0;

	memset(word, 0, MOST_WORDS * sizeof *word);
	for (size_t k = 0; k < n_keys; k++) {
		const struct mb_value *v = &values[fields[k]];

		if (m->form == ALL_IN_ONE) {
			if (v->len > SHARED_TEXT - len)
				return false;
			memcpy(shared + len, v->p, v->len);
			len += v->len;
			tag |= shared_tag(k, v->len, v->kind == MB_NULL);
			continue;
		}
		if (v->len >= 8 * n)
			return false;
		memcpy(word + k * n, v->p, v->len);
		word[k * n + n - 1] |= last_byte(tag_of(v->len,
		    v->kind == MB_NULL));
	}
	if (m->form == ALL_IN_ONE)
		word[0] = mb_load_8(shared) | tag << 56;
	return true;
}

bool
mb_memo_find_one(const struct mb_memo *m, const struct mb_value *values,
    const size_t *fields, size_t n_keys, uint32_t *number)
{
	const size_t stride = stride_of(m->n_words);
	uint64_t word[MOST_WORDS];
	const uint64_t *entry;

	if (m->n_used == 0 || !set_words(m, word, values, fields, n_keys))
		return false;
	entry = m->entries + 2 * stride * bucket_of(m->factor, m->bits, word,
	    m->n_words);
	for (int i = 0; i < 2; i++, entry += stride)
		if (is_there(entry, word, m->n_words)) {
			*number = (uint32_t)entry[m->n_words] - 1;
			return true;
		}
	return false;
}

void
mb_memo_learn_one(struct mb_memo *m, const struct mb_value *values,
    const size_t *fields, size_t n_keys, uint32_t number)
{
	uint64_t word[MOST_WORDS];

	if (m->n_used > 0 && set_words(m, word, values, fields, n_keys))
		learn(m, word, number);
}
