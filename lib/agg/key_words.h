/*
 * key_words.h - private to mb_keys and its test: a key as words.
 *
 * A key that is looked for is four words: of a text up to MB_KEY_MIDDLE bytes
 * what struct mb_group_key begins with, without the kind, and then the rest of
 * the text, with zeros behind; of a longer one the second is a hash of it.
 * Here the words of a text are made and compared with a group's key, which is
 * what a record costs most where there are few groups.
 */
#ifndef MB_AGG_KEY_WORDS_H
#define MB_AGG_KEY_WORDS_H

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "agg/keys.h"
#include "base/load.h"

#define MB_KEY_INLINE static inline __attribute__((always_inline))

enum { MB_KEY_MIDDLE = 28 };

/* The longest of some keys is at most MB_KEY_SHORT, MB_KEY_MIDDLE, or longer. */
enum mb_key_width { MB_WIDTH_SHORT, MB_WIDTH_MIDDLE, MB_WIDTH_ANY };

static inline bool
is_long(const struct mb_group_key *key)
{
	return (key->meta & MB_KEY_LEN) > MB_KEY_SHORT;
}

/* What struct mb_group_key begins with. */
static inline uint64_t
head_of(uint32_t meta, uint32_t text)
{
	return (uint64_t)text << 32 | meta;
}

#define MB_KEY_BUT_KIND head_of((1u << MB_KEY_KIND) - 1, UINT32_MAX)

static inline uint32_t
meta_of(size_t len, bool is_null)
{
	return (uint32_t)(len < MB_KEY_LEN ? len : MB_KEY_LEN) |
	    (is_null ? MB_KEY_NULL : 0);
}

/* Ones in the first `len` bytes of MB_KEY_MIDDLE, zeros behind. */
static inline const char *
mask_of(size_t len)
{
	static const unsigned char ones[2 * MB_KEY_MIDDLE] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	};

	return (const char *)ones + MB_KEY_MIDDLE - len;
}

/*
 * The words of a text of this width, which isn't MB_WIDTH_ANY, and of which
 * MB_KEY_MIDDLE bytes can be read.
 */
MB_KEY_INLINE void
set_words(uint64_t word[4], const char *p, size_t len, bool is_null,
    enum mb_key_width width)
{
	const char *mask = mask_of(len);

	word[0] = head_of(meta_of(len, is_null),
	    mb_load_4(p) & mb_load_4(mask));
	word[1] = mb_load_8(p + 4) & mb_load_8(mask + 4);
	if (width == MB_WIDTH_SHORT)
		return;
	word[2] = mb_load_8(p + 12) & mb_load_8(mask + 12);
	word[3] = mb_load_8(p + 20) & mb_load_8(mask + 20);
}

/*
 * Where the text of a key stands.  Whether keys are long can't be foreseen
 * where some are, and a wrong guess would cost more than all the rest: hence
 * no branch, and nothing that a compiler makes one of.
 */
static inline const char *
text_of(const struct mb_group_key *key)
{
	uint64_t near = (uint64_t)(uintptr_t)key->text;
	uint64_t far = (uint64_t)(uintptr_t)key->whole +
	    offsetof(struct mb_long_key, p);
	uint64_t mask = 0 - (uint64_t)is_long(key);

	return (const char *)(uintptr_t)((near & ~mask) | (far & mask));
}

/* Has the key other words than these, of a text that isn't wider? */
MB_KEY_INLINE bool
differs(const struct mb_group_key *key, const uint64_t word[4],
    const char *text, size_t len, enum mb_key_width width)
{
	uint64_t first = (mb_load_8(key) & MB_KEY_BUT_KIND) ^ word[0];
	const char *mask = mask_of(len), *p;

	(void)text;
	if (width == MB_WIDTH_SHORT)
		return (first | (mb_load_8(key->rest) ^ word[1])) != 0;
	p = text_of(key);
	return (first | ((mb_load_8(p + 4) & mb_load_8(mask + 4)) ^ word[1]) |
	    ((mb_load_8(p + 12) & mb_load_8(mask + 12)) ^ word[2]) |
	    ((mb_load_8(p + 20) & mb_load_8(mask + 20)) ^ word[3])) != 0;
}

/* How it is done: known where it is compiled, so that all comes in line. */
struct mb_key_way {
	enum mb_key_width width;
	void (*set)(uint64_t word[4], const char *p, size_t len,
	    bool is_null, enum mb_key_width width);
	bool (*differs)(const struct mb_group_key *key,
	    const uint64_t word[4], const char *p, size_t len,
	    enum mb_key_width width);
};

static const struct mb_key_way mb_key_short = { MB_WIDTH_SHORT, set_words,
	differs };
static const struct mb_key_way mb_key_middle = { MB_WIDTH_MIDDLE, set_words,
	differs };

#if defined(__x86_64__)
#define MB_AVX512 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f," \
    "avx512bw,avx512vl,avx512vbmi2")))

/*
 * The text, at most MB_KEY_MIDDLE bytes, where it is in a key's words; what isn't
 * asked for isn't read.
 */
MB_AVX512 MB_KEY_INLINE __m256i
load_text(const char *p, size_t len)
{
	return _mm256_maskz_loadu_epi8(_bzhi_u32(UINT32_MAX,
	    (unsigned)len) << 4, p - 4);
}

MB_AVX512 MB_KEY_INLINE void
set_words_avx512(uint64_t word[4], const char *p, size_t len, bool is_null,
    enum mb_key_width width)
{
	__m256i text = load_text(p, len);
	__m128i high = _mm256_extracti128_si256(text, 1);

	(void)width;
	word[0] = (uint64_t)_mm256_extract_epi64(text, 0) |
	    meta_of(len, is_null);
	word[1] = (uint64_t)_mm256_extract_epi64(text, 1);
	word[2] = (uint64_t)_mm_extract_epi64(high, 0);
	word[3] = (uint64_t)_mm_extract_epi64(high, 1);
}

MB_AVX512 MB_KEY_INLINE bool
differs_avx512(const struct mb_group_key *key, const uint64_t word[4],
    const char *p, size_t len, enum mb_key_width width)
{
	__m256i text = load_text(p, len);
	__m256i other = load_text(text_of(key), len);

	(void)width;
	return (((uint32_t)word[0] ^ key->meta) << (32 - MB_KEY_KIND) |
	    _mm256_cmpneq_epi8_mask(text, other)) != 0;
}

static const struct mb_key_way mb_key_middle_avx512 = { MB_WIDTH_MIDDLE,
	set_words_avx512, differs_avx512 };
#endif

#endif
