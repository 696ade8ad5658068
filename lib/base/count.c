#include "base/count.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/load.h"

uint64_t
mb_count_newlines_portable(const char *p, size_t len)
{
	const uint64_t low = 0x7f7f7f7f7f7f7f7f, even = 0x00ff00ff00ff00ff;
	uint64_t n = 0;

	/* Eight counters in a word, added up before one can overflow. */
	while (len >= 8) {
		size_t words = len / 8 < 255 ? len / 8 : 255;
		uint64_t counters = 0;

		for (size_t i = 0; i < words; i++, p += 8) {
			uint64_t x = mb_load_8(p) ^
			    0x0101010101010101 * '\n';

			/* 0x80 in each byte of x that is zero */
			counters += ~(((x & low) + low) | x | low) >> 7;
		}
		n += ((counters & even) + (counters >> 8 & even)) *
		    0x0001000100010001 >> 48;
		len -= words * 8;
	}
	for (; len > 0; len--)
		n += *p++ == '\n';
	return n;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static __m256i
newlines(const char *p)
{
	return _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)p),
	    _mm256_set1_epi8('\n'));
}

/* The same with 32 counters in a register. */
__attribute__((target("avx2"))) static uint64_t
count_wide(const char *p, size_t len)
{
	const __m256i zero = _mm256_setzero_si256();
	__m256i sums = zero;
	uint64_t parts[4];

	while (len >= 128) {
		size_t steps = len / 128 < 63 ? len / 128 : 63;
		__m256i counters = zero;

		for (size_t i = 0; i < steps; i++, p += 128)
			counters = _mm256_sub_epi8(counters, _mm256_add_epi8(
			    _mm256_add_epi8(newlines(p), newlines(p + 32)),
			    _mm256_add_epi8(newlines(p + 64),
			    newlines(p + 96))));
		sums = _mm256_add_epi64(sums, _mm256_sad_epu8(counters, zero));
		len -= steps * 128;
	}
	_mm256_storeu_si256((__m256i *)parts, sums);
	return parts[0] + parts[1] + parts[2] + parts[3] +
	    mb_count_newlines_portable(p, len);
}
#endif

uint64_t
mb_count_newlines(const char *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return count_wide(p, len);
#endif
	return mb_count_newlines_portable(p, len);
}
