/*
 * Snappy's raw format: the length as a varint, then elements.  The two low
 * bits of an element's first byte say what it is:
 *
 *	0	literals: length - 1 in the other six bits, or, from 60 on, in
 *		1 … 4 bytes
 *	1	copy of 4 … 11 bytes (3 bits), distance of 11 bits
 *	2, 3	copy of 1 … 64 bytes (6 bits), distance in 2 or 4 bytes
 *
 * We write blocks of 64 KiB that don't refer to one another: copies with 2
 * bytes of distance.
 */
#include "base/load.h"
#include "parquet/bits.h"
#include "parquet/codec.h"

static bool
take_le(struct mb_str *in, size_t bytes, size_t *v)
{
	*v = 0;
	if (in->len < bytes)
		return false;
	for (size_t i = 0; i < bytes; i++)
		*v |= (size_t)(uint8_t)in->p[i] << 8 * i;
	in->p += bytes;
	in->len -= bytes;
	return true;
}

bool
mb_snappy_get(void *out, size_t len, struct mb_str in)
{
	uint8_t *start = out, *p = out, *end = start + len;
	size_t n, distance;
	uint64_t total;
	uint8_t tag;

	if (!mb_bits_take_varint(&in, &total) || total != len)
		return false;
	while (in.len > 0) {
		tag = (uint8_t)*in.p++;
		in.len--;
		if ((tag & 3) == 0) {
			n = tag >> 2;
			if (n >= 60 && !take_le(&in, n - 59, &n))
				return false;
			n++;
			if (n > in.len || n > (size_t)(end - p))
				return false;
			memcpy(p, in.p, n);
			p += n;
			in.p += n;
			in.len -= n;
			continue;
		}
		if ((tag & 3) == 1) {
			n = 4 + (tag >> 2 & 7);
			if (!take_le(&in, 1, &distance))
				return false;
			distance |= (size_t)(tag >> 5) << 8;
		} else {
			n = 1 + (size_t)(tag >> 2);
			if (!take_le(&in, (tag & 3) == 2 ? 2 : 4, &distance))
				return false;
		}
		if (distance == 0 || distance > (size_t)(p - start) ||
		    n > (size_t)(end - p))
			return false;
		if (distance >= n) {
			memcpy(p, p - distance, n);
			p += n;
			continue;
		}
		for (; n > 0; n--, p++)
			*p = p[-(ptrdiff_t)distance];
	}
	return p == end;
}

static void
put_literals(struct mb_buf *out, const char *p, size_t n)
{
	size_t bytes = n <= 256 ? 1 : n <= 65536 ? 2 : 4;

	if (n == 0)
		return;
	if (n <= 60) {
		mb_buf_addc(out, (char)((n - 1) << 2));
	} else {
		mb_buf_addc(out, (char)((59 + bytes) << 2));
		for (size_t i = 0; i < bytes; i++)
			mb_buf_addc(out, (char)((n - 1) >> 8 * i));
	}
	mb_buf_add(out, p, n);
}

static void
put_copy(struct mb_buf *out, size_t distance, size_t n)
{
	size_t len;

	for (; n > 0; n -= len) {
		len = n < 64 ? n : 64;
		mb_buf_addc(out, (char)((len - 1) << 2 | 2));
		mb_buf_addc(out, (char)distance);
		mb_buf_addc(out, (char)(distance >> 8));
	}
}

/* How many bytes are equal, of n at most. */
static size_t
match_length(const char *a, const char *b, size_t n)
{
	uint64_t differs;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		differs = mb_load_8(a + i) ^ mb_load_8(b + i);
		if (differs != 0)
			return i + (size_t)__builtin_ctzll(differs) / 8;
	}
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* At most 64 KiB, so that the table's places take two bytes each. */
static void
put_block(struct mb_buf *out, const char *p, size_t len)
{
	enum { HASH_BITS = 13 };
	uint16_t table[1 << HASH_BITS] = { 0 };
	size_t at = 1, start = 0, step = 32, had, n;
	uint16_t *slot;

	while (at + 4 < len) {
		slot = &table[mb_load_4(p + at) * 0x9e3779b1u >>
		    (32 - HASH_BITS)];
		had = *slot;
		*slot = (uint16_t)at;
		if (mb_load_4(p + had) != mb_load_4(p + at)) {
			/* The longer nothing is found the faster we go. */
			at += step++ / 32;
			continue;
		}
		n = 4 + match_length(p + had + 4, p + at + 4, len - at - 4);
		put_literals(out, p + start, at - start);
		put_copy(out, at - had, n);
		start = at += n;
		step = 32;
	}
	put_literals(out, p + start, len - start);
}

void
mb_snappy_put(struct mb_buf *out, struct mb_str in)
{
	enum { BLOCK = 1 << 16 };
	size_t len;

	mb_bits_put_varint(out, in.len);
	/* Room for the worst, once. */
	mb_buf_reserve(out, in.len + in.len / BLOCK * 8 + 16);
	for (; in.len > 0; in.p += len, in.len -= len) {
		len = in.len < BLOCK ? in.len : BLOCK;
		put_block(out, in.p, len);
	}
}
