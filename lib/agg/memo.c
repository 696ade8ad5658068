#include "agg/memo.h"

#include <stdlib.h>
#include <string.h>

#include "agg/eight.h"
#include "base/hash.h"
#include "base/load.h"

/*
 * A key takes 1, 2 or 4 words, and all keys of a row as many: its text, zeros
 * behind, and in the last byte its length and whether it is null.  Entries are
 * in buckets of two; one that finds its bucket full has no place.
 *
 * An entry is up to 4 words and the group's number + 1, in 4 or 8 words.
 */
enum {
	MOST_WORDS = 4,
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
	return n_words < MOST_WORDS ? 4 : 8;
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
		m->key_words = 0;
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

INLINE void
load_row(uint64_t *word, const struct mb_rows *rows, const size_t *fields,
    size_t i, const unsigned n_keys, const unsigned key_words)
{
	for (unsigned k = 0; k < n_keys; k++)
		load_key(word + k * key_words, rows->p,
		    rows->view + fields[k] * MB_ROWS + i, key_words);
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

/* One or the other, without a branch that nothing foresees. */
INLINE uint64_t
choose(bool second, uint64_t a, uint64_t b)
{
	return a ^ ((a ^ b) & (0 - (uint64_t)second));
}

INLINE void
find(struct mb_memo *m, const struct mb_rows *rows, const size_t *fields,
    uint32_t *numbers, const unsigned n_keys, const unsigned key_words)
{
	const unsigned n_words = n_keys * key_words, bits = m->bits;
	const size_t stride = stride_of(n_words), n = rows->n;
	const uint64_t *entries = m->entries;
	const uint64_t factor[MOST_WORDS] = { m->factor[0], m->factor[1],
		m->factor[2], m->factor[3] };
	size_t n_missed = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t word[MOST_WORDS];
		const uint64_t *entry;
		bool first, second;

		load_row(word, rows, fields, i, n_keys, key_words);
		entry = entries + 2 * stride * bucket_of(factor, bits, word,
		    n_words);
		first = differs(entry, word, n_words) == 0;
		second = differs(entry + stride, word, n_words) == 0;
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

AVX512 static void
find_narrow_avx512(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, uint32_t *numbers, size_t n_keys)
{
	switch (n_keys) {
	case 1:
		find_by_eight(m, rows, fields, numbers, 1);
		break;
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
 * How many words the longest key takes; 0: too many.  Bits of all lengths are
 * quickly had, more so of whole views, and say it.
 */
static unsigned
words_of_keys(const struct mb_rows *rows, const size_t *fields, size_t n_keys)
{
	union {
		uint64_t word;
		struct mb_view view;
	} all = { 0 };

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
		all.word |= a | b | c | d;
	}
	return all.view.len < 8 ? 1 : all.view.len < 16 ? 2 :
	    all.view.len < 32 ? 4 : 0;
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
	if (rows->isa == MB_ISA_AVX512 && m->key_words == 1) {
		find_narrow_avx512(m, rows, fields, numbers, n_keys);
		return;
	}
	if (rows->isa == MB_ISA_AVX512 && m->n_words == 4) {
		find_wide_avx512(m, rows, fields, numbers, n_keys);
		return;
	}
#endif
	switch (n_keys * 8 + m->key_words) {
#define CASE(keys, words) \
	case (keys) * 8 + (words): \
		find(m, rows, fields, numbers, keys, words); \
		break
	CASE(1, 1);
	CASE(1, 2);
	CASE(1, 4);
	CASE(2, 1);
	CASE(2, 2);
	CASE(3, 1);
	CASE(4, 1);
#undef CASE
	}
}

bool
mb_memo_find(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, size_t n_keys, size_t n_groups, uint32_t *numbers)
{
	unsigned key_words;

	m->n_missed = 0;
	if (n_keys > MOST_WORDS || n_groups > MB_MEMO_GROUPS)
		return false;
	key_words = words_of_keys(rows, fields, n_keys);
	/* One kind of words at a time, the longest that were needed. */
	if (key_words < m->key_words && key_words != 0)
		key_words = m->key_words;
	if (key_words == 0 || n_keys * key_words > MOST_WORDS)
		return false;
	if (key_words != m->key_words) {
		m->key_words = key_words;
		make_empty(m, FIRST_BITS, (unsigned)n_keys * key_words);
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
	const unsigned spread = m->key_words == 1 ? 4 : 2;

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
		load_row(word, rows, fields, i, (unsigned)n_keys,
		    m->key_words);
		learn(m, word, numbers[i]);
	}
}

/* The words of a record; false: they are too long. */
static bool
set_words(const struct mb_memo *m, uint64_t word[MOST_WORDS],
    const struct mb_value *values, const size_t *fields, size_t n_keys)
{
	memset(word, 0, MOST_WORDS * sizeof *word);
	for (size_t k = 0; k < n_keys; k++, word += m->key_words) {
		const struct mb_value *v = &values[fields[k]];

		if (v->len >= 8 * m->key_words)
			return false;
		memcpy(word, v->p, v->len);
		word[m->key_words - 1] |= last_byte(tag_of(v->len,
		    v->kind == MB_NULL));
	}
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
		if (differs(entry, word, m->n_words) == 0) {
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
