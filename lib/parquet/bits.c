#include "parquet/bits.h"

#include <stdlib.h>

enum {
	BLOCK = 128,		/* deltas */
	MINIBLOCKS = 4,
	MINIBLOCK = BLOCK / MINIBLOCKS,
};

void
mb_bits_put_varint(struct mb_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		mb_buf_addc(b, (char)(v | 0x80));
	mb_buf_addc(b, (char)v);
}

bool
mb_bits_take_varint(struct mb_str *in, uint64_t *v)
{
	uint8_t byte;

	*v = 0;
	for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
		byte = (uint8_t)*in->p++;
		in->len--;
		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

/*
 * Packing.  The width is a constant in each instance, so that the compiler
 * unrolls the loops and no shift depends on data.
 */

static inline __attribute__((always_inline)) void
pack_8(uint8_t *out, const uint32_t *v, unsigned width)
{
	uint64_t word = 0;
	unsigned used = 0, at = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < 8; i++) {
		word |= (uint64_t)v[i] << used;
		used += width;
		if (used >= 32) {
			uint32_t low = (uint32_t)word;

			memcpy(out + at, &low, 4);
			at += 4;
			word >>= 32;
			used -= 32;
		}
	}
	/* 8 values take whole bytes; up to 3 are left. */
	if (used > 0)
		memcpy(out + at, &word, used / 8);
}

#define PACK(w)							\
	case w:							\
		for (size_t g = 0; g < groups; g++)		\
			pack_8(out + g * (w), v + g * 8, w);	\
		break;

static void
pack_groups(uint8_t *out, const uint32_t *v, size_t groups, unsigned width)
{
	switch (width) {
	PACK(1) PACK(2) PACK(3) PACK(4) PACK(5) PACK(6) PACK(7) PACK(8)
	PACK(9) PACK(10) PACK(11) PACK(12) PACK(13) PACK(14) PACK(15) PACK(16)
	PACK(17) PACK(18) PACK(19) PACK(20) PACK(21) PACK(22) PACK(23)
	PACK(24) PACK(25) PACK(26) PACK(27) PACK(28) PACK(29) PACK(30)
	PACK(31) PACK(32)
	default:
		break;
	}
}

/* n values, the last group filled up with zeros. */
static void
put_packed(struct mb_buf *out, const uint32_t *v, size_t n, unsigned width)
{
	size_t groups = n / 8, rest = n % 8;
	uint32_t last[8] = { 0 };

	mb_bits_put_varint(out, (groups + (rest > 0)) << 1 | 1);
	mb_buf_reserve(out, (groups + 1) * width + 8);
	pack_groups((uint8_t *)out->p + out->len, v, groups, width);
	out->len += groups * width;
	if (rest == 0)
		return;
	for (size_t i = 0; i < rest; i++)
		last[i] = v[groups * 8 + i];
	pack_groups((uint8_t *)out->p + out->len, last, 1, width);
	out->len += width;
}

static void
put_run(struct mb_buf *out, uint32_t v, size_t n, unsigned width)
{
	mb_bits_put_varint(out, (uint64_t)n << 1);
	for (unsigned i = 0; i < width; i += 8)
		mb_buf_addc(out, (char)(v >> i));
}

static inline bool
is_constant_8(const uint32_t *v)
{
	uint32_t first = v[0], diff = 0;

	for (unsigned i = 1; i < 8; i++)
		diff |= v[i] ^ first;
	return diff == 0;
}

/* How many from the first on are equal to it. */
static size_t
run_length(const uint32_t *v, size_t n)
{
	size_t i = 1;

	while (i < n && v[i] == v[0])
		i++;
	return i;
}

void
mb_hybrid_put(struct mb_buf *out, const uint32_t *v, size_t n, unsigned width)
{
	/*
	 * A run costs its own header and that of the packed groups behind it;
	 * shorter ones are better packed.
	 */
	size_t worth = width == 0 ? 8 : 8 * (1 + 4 / width);
	size_t start = 0, at = 0, run;

	while (at + 8 <= n) {
		if (!is_constant_8(v + at) ||
		    (run = run_length(v + at, n - at)) < worth) {
			at += 8;
			continue;
		}
		if (at > start)
			put_packed(out, v + start, at - start, width);
		put_run(out, v[at], run, width);
		start = at += run;
	}
	if (start == n)
		return;
	if (run_length(v + start, n - start) == n - start)
		put_run(out, v[start], n - start, width);
	else
		put_packed(out, v + start, n - start, width);
}

void
mb_hybrid_put_bytes(struct mb_buf *out, const uint8_t *v, size_t n,
    unsigned width)
{
	uint32_t *wide;

	/* Levels are mostly all the same. */
	if (n > 0 && memcmp(v, v + 1, n - 1) == 0) {
		put_run(out, v[0], n, width);
		return;
	}
	/* At once: only the last group of all may be filled up. */
	wide = mb_realloc_array(NULL, n, sizeof *wide);
	for (size_t i = 0; i < n; i++)
		wide[i] = v[i];
	mb_hybrid_put(out, wide, n, width);
	free(wide);
}

void
mb_hybrid_begin(struct mb_hybrid *h, struct mb_str in, unsigned width)
{
	*h = (struct mb_hybrid){ .in = in, .width = width };
}

/* Up to 57 bits from a position in bits on; the bytes are there. */
static inline uint64_t
peek(const uint8_t *p, size_t len, uint64_t bit)
{
	uint64_t word = 0;
	size_t at = (size_t)(bit / 8), n = len - at;

	memcpy(&word, p + at, n < 8 ? n : 8);
	return word >> bit % 8;
}

static bool
next_run(struct mb_hybrid *h)
{
	uint64_t head, len;
	size_t bytes = (h->width + 7) / 8;

	/* What was packed is used up: step over it. */
	h->in.p += h->bits / 8;
	h->in.len -= h->bits / 8;
	h->bits = 0;
	if (!mb_bits_take_varint(&h->in, &head) || head >> 1 == 0)
		return false;
	if ((head & 1) == 0) {
		if (h->in.len < bytes)
			return false;
		h->run = head >> 1;
		h->value = 0;
		memcpy(&h->value, h->in.p, bytes);
		h->in.p += bytes;
		h->in.len -= bytes;
		return true;
	}
	len = head >> 1;
	/* Some writers leave out the end of the last group. */
	if (h->width > 0 && len > h->in.len / h->width + 1)
		return false;
	if (len > UINT32_MAX)
		return false;
	h->packed = len * 8;
	return true;
}

bool
mb_hybrid_take(struct mb_hybrid *h, uint32_t *out, size_t n)
{
	uint64_t mask = h->width == 32 ? UINT32_MAX : (1u << h->width) - 1;
	size_t len;

	while (n > 0) {
		if (h->run > 0) {
			len = h->run < n ? (size_t)h->run : n;
			for (size_t i = 0; i < len; i++)
				out[i] = h->value;
			h->run -= len;
		} else if (h->packed > 0) {
			len = h->packed < n ? (size_t)h->packed : n;
			if ((h->bits + len * h->width + 7) / 8 > h->in.len)
				return false;
			for (size_t i = 0; i < len; i++) {
				out[i] = (uint32_t)(peek((const uint8_t *)
				    h->in.p, h->in.len, h->bits) & mask);
				h->bits += h->width;
			}
			h->packed -= len;
		} else {
			if (!next_run(h))
				return false;
			continue;
		}
		out += len;
		n -= len;
	}
	return true;
}

/* n values of `width` ≤ 64 bits from this bit on, the lowest first. */
static void
unpack(uint64_t *out, const void *p, uint64_t bit, size_t n,
    unsigned width)
{
	const uint8_t *bytes = p;
	size_t len = (size_t)(bit + n * width + 7) / 8;
	uint64_t mask = width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
	uint64_t low;

	if (width == 0) {
		memset(out, 0, n * sizeof *out);
		return;
	}
	for (size_t i = 0; i < n; i++, bit += width) {
		low = peek(bytes, len, bit);
		if (bit % 8 + width > 64)
			low |= (uint64_t)bytes[bit / 8 + 8] <<
			    (64 - bit % 8);
		out[i] = low & mask;
	}
}

/*
 * DELTA_BINARY_PACKED: a header, then blocks of 128 deltas, each with its
 * least delta and four widths, one per miniblock.
 */

static uint64_t
zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static int64_t
narrow(uint64_t v, bool is_32)
{
	return is_32 ? (int32_t)(uint32_t)v : (int64_t)v;
}

/*
 * The deltas behind v[at], less their least; the widths of the miniblocks.
 * Those that the end doesn't reach have width 0.
 */
static size_t
delta_block(const uint64_t *v, size_t n, size_t at, bool is_32,
    uint64_t *deltas, int64_t *least, uint8_t *widths)
{
	size_t len = n - 1 - at < BLOCK ? n - 1 - at : BLOCK;
	uint64_t limit = is_32 ? UINT32_MAX : UINT64_MAX, any;
	int64_t d;

	*least = INT64_MAX;
	for (size_t i = 0; i < len; i++) {
		d = narrow(v[at + i + 1] - v[at + i], is_32);
		deltas[i] = (uint64_t)d;
		if (d < *least)
			*least = d;
	}
	for (size_t i = 0; i < len; i++)
		deltas[i] = (deltas[i] - (uint64_t)*least) & limit;
	memset(deltas + len, 0, (BLOCK - len) * sizeof *deltas);
	for (size_t m = 0; m < MINIBLOCKS; m++) {
		any = 0;
		for (size_t i = 0; i < MINIBLOCK; i++)
			any |= deltas[m * MINIBLOCK + i];
		widths[m] = (uint8_t)mb_bit_width(any);
	}
	return len;
}

static void
pack_miniblock(struct mb_buf *out, const uint64_t *v, unsigned width)
{
	uint8_t *p;
	uint64_t word = 0;
	unsigned used = 0;

	mb_buf_reserve(out, MINIBLOCK * 8 + 8);
	p = (uint8_t *)out->p + out->len;
	out->len += MINIBLOCK / 8 * width;
	for (size_t i = 0; width > 0 && i < MINIBLOCK; i++) {
		word |= v[i] << used;
		if (used + width < 64) {
			used += width;
			continue;
		}
		memcpy(p, &word, 8);
		p += 8;
		/* What didn't fit; a shift by 64 is none. */
		word = used > 0 ? v[i] >> (64 - used) : 0;
		used = used + width - 64;
	}
	memcpy(p, &word, used / 8);
}

void
mb_delta_put(struct mb_buf *out, const uint64_t *v, size_t n, bool is_32)
{
	uint64_t deltas[BLOCK];
	uint8_t widths[MINIBLOCKS];
	int64_t least;
	size_t len;

	mb_bits_put_varint(out, BLOCK);
	mb_bits_put_varint(out, MINIBLOCKS);
	mb_bits_put_varint(out, n);
	mb_bits_put_varint(out, n > 0 ? zigzag(narrow(v[0], is_32)) : 0);
	for (size_t at = 0; at + 1 < n; at += len) {
		len = delta_block(v, n, at, is_32, deltas, &least, widths);
		mb_bits_put_varint(out, zigzag(least));
		mb_buf_add(out, widths, MINIBLOCKS);
		for (size_t m = 0; m * MINIBLOCK < len; m++)
			pack_miniblock(out, deltas + m * MINIBLOCK, widths[m]);
	}
}

size_t
mb_delta_size(const uint64_t *v, size_t n, bool is_32)
{
	uint64_t deltas[BLOCK];
	uint8_t widths[MINIBLOCKS];
	int64_t least;
	size_t len, size = 10;

	for (size_t at = 0; at + 1 < n; at += len) {
		len = delta_block(v, n, at, is_32, deltas, &least, widths);
		size += 1 + mb_bit_width(zigzag(least)) / 7 + MINIBLOCKS;
		for (size_t m = 0; m * MINIBLOCK < len; m++)
			size += MINIBLOCK / 8 * widths[m];
	}
	return size;
}

bool
mb_delta_begin(struct mb_delta *d, struct mb_str in, bool is_32)
{
	uint64_t first;

	*d = (struct mb_delta){ .in = in, .is_32 = is_32 };
	if (!mb_bits_take_varint(&d->in, &d->block) ||
	    !mb_bits_take_varint(&d->in, &d->n_minis) ||
	    !mb_bits_take_varint(&d->in, &d->left) ||
	    !mb_bits_take_varint(&d->in, &first))
		return false;
	if (d->n_minis == 0 || d->n_minis > 1024 || d->block == 0 ||
	    d->block > 1 << 20 || d->block % (d->n_minis * 32) != 0)
		return false;
	d->mini = d->block / d->n_minis;
	d->value = first >> 1 ^ (0 - (first & 1));
	d->at_mini = d->n_minis;
	return true;
}

/* Step to the next miniblock; false: there is none, or not all of it. */
static bool
next_miniblock(struct mb_delta *d)
{
	uint64_t least;
	unsigned width;
	size_t len;

	/* What was read of the last one; the rest of it is padding. */
	if (d->widths != NULL) {
		len = (size_t)d->mini / 8 * d->widths[d->at_mini];
		d->in.p += len;
		d->in.len -= len;
		d->at_mini++;
	}
	if (d->at_mini == d->n_minis) {
		if (!mb_bits_take_varint(&d->in, &least) ||
		    d->in.len < d->n_minis)
			return false;
		d->least = least >> 1 ^ (0 - (least & 1));
		d->widths = (const uint8_t *)d->in.p;
		d->in.p += d->n_minis;
		d->in.len -= d->n_minis;
		d->at_mini = 0;
	}
	width = d->widths[d->at_mini];
	d->left_mini = d->mini;
	d->bits = 0;
	return width <= 64 && d->in.len >= (size_t)d->mini / 8 * width;
}

bool
mb_delta_take(struct mb_delta *d, int64_t *out, size_t n)
{
	enum { PIECE = 64 };
	uint64_t piece[PIECE];
	size_t len;

	if (n > d->left)
		return false;
	d->left -= n;
	if (n > 0 && !d->has_first) {
		d->has_first = true;
		*out++ = narrow(d->value, d->is_32);
		n--;
	}
	while (n > 0) {
		if (d->left_mini == 0 && !next_miniblock(d)) {
			d->widths = NULL;
			return false;
		}
		len = n < PIECE ? n : PIECE;
		len = len < d->left_mini ? len : (size_t)d->left_mini;
		unpack(piece, d->in.p, d->bits, len,
		    d->widths[d->at_mini]);
		for (size_t i = 0; i < len; i++) {
			d->value += d->least + piece[i];
			out[i] = narrow(d->value, d->is_32);
		}
		d->bits += len * d->widths[d->at_mini];
		d->left_mini -= len;
		out += len;
		n -= len;
	}
	return true;
}

bool
mb_delta_skip(struct mb_str *in)
{
	struct mb_delta d;
	uint64_t left;
	size_t len;

	if (!mb_delta_begin(&d, *in, false))
		return false;
	for (left = d.left > 0 ? d.left - 1 : 0; left > 0;) {
		if (!next_miniblock(&d))
			return false;
		left -= d.mini < left ? d.mini : left;
	}
	if (d.widths != NULL) {
		len = (size_t)d.mini / 8 * d.widths[d.at_mini];
		d.in.p += len;
		d.in.len -= len;
	}
	*in = d.in;
	return true;
}
