/*
 * bits.h - how Parquet packs small integers: the hybrid of runs and packed
 * bits (levels, dictionary codes) and DELTA_BINARY_PACKED.
 *
 * Encoders append to a buffer and can't fail.  Decoders are given hostile
 * bytes; they return false where these end too early or make no sense, and
 * never write more than was asked for.
 */
#ifndef MB_PARQUET_BITS_H
#define MB_PARQUET_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/* How many bits it takes: 0 for 0. */
static inline unsigned
mb_bit_width(uint64_t v)
{
	return v == 0 ? 0 : 64 - (unsigned)__builtin_clzll(v);
}

void mb_bits_put_varint(struct mb_buf *b, uint64_t v);
bool mb_bits_take_varint(struct mb_str *in, uint64_t *v);

/* Append n values of this width, 0 … 32, as runs and packed groups. */
void mb_hybrid_put(struct mb_buf *out, const uint32_t *v, size_t n,
    unsigned width);
/* The same for bytes. */
void mb_hybrid_put_bytes(struct mb_buf *out, const uint8_t *v, size_t n,
    unsigned width);

/* Reads one value after the other. */
struct mb_hybrid {
	struct mb_str in;
	unsigned width;
	uint64_t run, packed;	/* values left in the run, the packed groups */
	uint32_t value;		/* of the run */
	uint64_t bits;		/* position in the packed groups, in bits */
};

/* width ≤ 32 */
void mb_hybrid_begin(struct mb_hybrid *h, struct mb_str in, unsigned width);
bool mb_hybrid_take(struct mb_hybrid *h, uint32_t *out, size_t n);

/*
 * Integers as packed differences.  With is_32 they wrap at 32 bits, and what
 * is above these doesn't count.  _size tells what _put would append.
 */
void mb_delta_put(struct mb_buf *out, const uint64_t *v, size_t n, bool is_32);
size_t mb_delta_size(const uint64_t *v, size_t n, bool is_32);

/* Reads one value after the other. */
struct mb_delta {
	struct mb_str in;
	bool is_32;		/* results are signed 32 bits */
	uint64_t left;		/* values still to come */

	/* private */
	uint64_t block, n_minis, mini;	/* sizes */
	uint64_t value, least;
	const uint8_t *widths;		/* of the block's miniblocks */
	uint64_t at_mini, left_mini;	/* of the current one */
	bool has_first;
	uint64_t bits;			/* position in the miniblock */
};

/* False: no header.  The number of values is d->left. */
bool mb_delta_begin(struct mb_delta *d, struct mb_str in, bool is_32);
bool mb_delta_take(struct mb_delta *d, int64_t *out, size_t n);

/* Move *in behind all the values that begin there, without decoding them. */
bool mb_delta_skip(struct mb_str *in);

#endif
