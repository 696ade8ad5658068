/*
 * eight.h - eight values of a column at once; for who has AVX-512.
 */
#ifndef MB_AGG_EIGHT_H
#define MB_AGG_EIGHT_H

#if defined(__x86_64__)

#include <immintrin.h>

#include "record/rows.h"

#define MB_EIGHT __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f," \
    "avx512bw,avx512dq,avx512vl,avx512vbmi2"))) static inline \
    __attribute__((always_inline))

/*
 * The first word of each of those that are `there` of eight views, which v
 * holds, too.  To gather words takes longer than to load them one by one, but
 * reads only what is asked for.
 */
MB_EIGHT __m512i
mb_eight_words(const char *p, const struct mb_view *view, __m512i v,
    __mmask8 there)
{
	__m128i pair[4];

	if (there != 0xff)
		return _mm512_mask_i64gather_epi64(_mm512_setzero_si512(),
		    there, _mm512_and_epi64(v, _mm512_set1_epi64(0xffffffff)),
		    p, 1);
	for (int i = 0; i < 4; i++)
		pair[i] = _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(
		    _mm_loadl_epi64((const void *)(p + view[2 * i].start))),
		    (const void *)(p + view[2 * i + 1].start)));
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(
	    pair[1], pair[0])), _mm256_set_m128i(pair[3], pair[2]), 1);
}

#endif
#endif
