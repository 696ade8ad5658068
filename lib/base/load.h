/*
 * load.h - words of bytes that may lie anywhere.
 *
 * The first byte is the lowest of the word: a shift to the right passes over
 * text, and what is counted from the lowest bit is counted from its beginning.
 * What Parquet stores is that way, too.  Of a processor that has it the other
 * way round nothing was ever tried, so it is refused here.
 */
#ifndef MB_BASE_LOAD_H
#define MB_BASE_LOAD_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "mb needs a little-endian processor, as x86-64 and arm64 are"
#endif

static inline uint64_t
mb_load_8(const void *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

static inline uint32_t
mb_load_4(const void *p)
{
	uint32_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

#endif
