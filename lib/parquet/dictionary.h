/*
 * dictionary.h - a column's distinct values, numbered as they appear.
 *
 * Values come as slots, see writer.h: one of 64 bits, two for a wide one, or
 * the length of bytes.  What is equal is decided by bits: 0.0 and -0.0 are two
 * values.
 */
#ifndef MB_PARQUET_DICTIONARY_H
#define MB_PARQUET_DICTIONARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/number.h"

enum mb_shape { MB_SHAPE_SLOT, MB_SHAPE_WIDE, MB_SHAPE_BYTES };

struct mb_dictionary_entry {
	uint64_t a, b;		/* a slot; two; or the first 16 bytes */
	uint32_t off, len;	/* of bytes, in `bytes` */
};

struct mb_dictionary {
	enum mb_shape shape;
	uint64_t seed;

	struct mb_dictionary_entry *v;	/* by code */
	size_t n;
	struct mb_buf bytes;

	/* private */
	size_t cap;
	uint64_t *table;	/* high half of the hash, code + 1; 0 is free */
	size_t table_size;
};

/* {.shape = …, .seed = …} is an empty one. */
void mb_dictionary_reset(struct mb_dictionary *d);
void mb_dictionary_release(struct mb_dictionary *d);

/*
 * The codes of n values; new ones are added.  `bytes` are theirs, one after
 * the other; MB_DICTIONARY_SLACK bytes more can be read there.
 */
enum { MB_DICTIONARY_SLACK = 16 };
void mb_dictionary_codes(struct mb_dictionary *d, uint32_t *codes,
    const uint64_t *slots, const char *bytes, size_t n);

#endif
