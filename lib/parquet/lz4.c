/*
 * LZ4's raw blocks.  A block is sequences: a byte of two lengths (literals,
 * match), 15 is continued in bytes of 255 and a last one below; the literals;
 * the match's distance, two bytes; a match has 4 bytes at least.  The last
 * sequence ends with its literals.
 */
#include "parquet/codec.h"

static bool
take_length(struct mb_str *in, size_t *len)
{
	uint8_t byte;

	if (*len < 15)
		return true;
	do {
		if (in->len == 0)
			return false;
		byte = (uint8_t)*in->p++;
		in->len--;
		*len += byte;	/* at most 255 for each byte of input */
	} while (byte == 255);
	return true;
}

bool
mb_lz4_get(void *out, size_t len, struct mb_str in)
{
	uint8_t *start = out, *p = out, *end = start + len;
	size_t literals, match, distance;
	uint8_t token;

	while (in.len > 0) {
		token = (uint8_t)*in.p++;
		in.len--;
		literals = token >> 4;
		if (!take_length(&in, &literals) || literals > in.len ||
		    literals > (size_t)(end - p))
			return false;
		if (literals > 0)
			memcpy(p, in.p, literals);
		p += literals;
		in.p += literals;
		in.len -= literals;
		if (in.len == 0)
			break;
		if (in.len < 2)
			return false;
		distance = (uint8_t)in.p[0] | (size_t)(uint8_t)in.p[1] << 8;
		in.p += 2;
		in.len -= 2;
		match = token & 15;
		if (!take_length(&in, &match))
			return false;
		match += 4;
		if (distance == 0 || distance > (size_t)(p - start) ||
		    match > (size_t)(end - p))
			return false;
		/* They may overlap: byte by byte is what is meant. */
		for (; match > 0; match--, p++)
			*p = p[-(ptrdiff_t)distance];
	}
	return p == end;
}
