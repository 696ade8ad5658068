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

/* n values of `width` bits, packed from the lowest bit on; width ≤ 64. */
void mb_bits_unpack(uint64_t *out, const void *p, size_t n, unsigned width);

/*
 * Integers as packed differences.  With is_32 they wrap at 32 bits, and what
 * is above these doesn't count.  _size tells what _put would append.
 */
void mb_delta_put(struct mb_buf *out, const uint64_t *v, size_t n, bool is_32);
size_t mb_delta_size(const uint64_t *v, size_t n, bool is_32);

/*
 * The values at the start of *in, which is moved behind them.  The page must
 * hold at most `most`; *n is how many there were.  The results of is_32 are
 * signed.
 */
bool mb_delta_take(struct mb_str *in, bool is_32, int64_t *out, size_t most,
    size_t *n);

#endif
