#include "parquet/values.h"

#include "base/load.h"

enum {
	PIECE = 256,
	LONG_BYTES = 4 << 20,	/* values made for one call, roughly */
};

static const char too_short[] = "a page that ends before its values";
static const char beyond[] = "a value that we can't hold";
static const char damaged[] = "damaged values";

static const char *
begin_booleans(struct mb_values *v, struct mb_str body)
{
	uint32_t len;

	if (body.len < 4)
		return too_short;
	len = mb_load_4(body.p);
	if (len > body.len - 4)
		return too_short;
	mb_hybrid_begin(&v->codes, (struct mb_str){ body.p + 4, len }, 1);
	return NULL;
}

static const char *
begin_codes(struct mb_values *v, struct mb_str body)
{
	unsigned width;

	if (body.len == 0) {	/* of no values */
		mb_hybrid_begin(&v->codes, body, 0);
		return NULL;
	}
	width = (uint8_t)body.p[0];
	if (width > 32)
		return "dictionary codes of more than 32 bits";
	mb_hybrid_begin(&v->codes, (struct mb_str){ body.p + 1,
	    body.len - 1 }, width);
	return NULL;
}

/* The lengths stand in front; where the bytes begin is told by their end. */
static const char *
begin_lengths(struct mb_values *v, struct mb_str body)
{
	struct mb_str rest = body;

	if (!mb_delta_skip(&rest) || !mb_delta_begin(&v->delta, body, true))
		return damaged;
	v->in = rest;
	return NULL;
}

const char *
mb_values_begin(struct mb_values *v, int64_t encoding, struct mb_str body)
{
	enum mb_physical p = v->leaf->physical;
	bool is_bytes = p == MB_BYTE_ARRAY || p == MB_FIXED;

	v->encoding = encoding;
	v->in = body;
	v->bit = 0;
	v->at = 0;
	switch (encoding) {
	case MB_PLAIN:
		return NULL;
	case MB_PLAIN_DICTIONARY:
	case MB_RLE_DICTIONARY:
		v->encoding = MB_RLE_DICTIONARY;
		return begin_codes(v, body);
	case MB_RLE:
		if (p == MB_BOOLEAN)
			return begin_booleans(v, body);
		break;
	case MB_DELTA_BINARY_PACKED:
		if (p != MB_INT32 && p != MB_INT64)
			break;
		return mb_delta_begin(&v->delta, body, p == MB_INT32) ? NULL :
		    damaged;
	case MB_DELTA_LENGTH_BYTE_ARRAY:
		if (p == MB_BYTE_ARRAY)
			return begin_lengths(v, body);
		break;
	case MB_DELTA_BYTE_ARRAY:
		if (!is_bytes)
			break;
		if (!mb_delta_begin(&v->prefixes, body, true) ||
		    !mb_delta_skip(&body))
			return damaged;
		mb_buf_reset(&v->last);
		return begin_lengths(v, body);
	case MB_BYTE_STREAM_SPLIT:
		if (p == MB_BOOLEAN || p == MB_BYTE_ARRAY || p == MB_INT96)
			break;
		if (body.len % mb_meta_width(v->leaf) != 0)
			return damaged;
		v->stride = body.len / mb_meta_width(v->leaf);
		return NULL;
	default:
		return "values of an unknown encoding";
	}
	return "an encoding that doesn't go with the column's type";
}

/* Step over n bytes of what is left. */
static bool
take_bytes(struct mb_str *in, size_t n, struct mb_str *out)
{
	if (n > in->len)
		return false;
	*out = (struct mb_str){ in->p, n };
	in->p += n;
	in->len -= n;
	return true;
}

static const char *
take_plain(const struct mb_meta_leaf *leaf, struct mb_str *in,
    union mb_parquet_value *out, size_t n)
{
	size_t width = mb_meta_width(leaf);
	struct mb_str s;

	for (size_t i = 0; i < n; i++) {
		if (width == 0) {
			if (!take_bytes(in, 4, &s))
				return too_short;
			if (!take_bytes(in, mb_load_4(s.p), &s))
				return too_short;
		} else if (!take_bytes(in, width, &s)) {
			return too_short;
		}
		if (!mb_meta_value(leaf, s, &out[i]))
			return beyond;
	}
	return NULL;
}

static const char *
take_bits(struct mb_values *v, union mb_parquet_value *out, size_t n)
{
	if (n > v->in.len * 8 - v->bit)
		return too_short;
	for (size_t i = 0; i < n; i++, v->bit++)
		out[i].i = v->in.p[v->bit / 8] >> v->bit % 8 & 1;
	return NULL;
}

static const char *
take_codes(struct mb_values *v, union mb_parquet_value *out, size_t n)
{
	uint32_t codes[PIECE];
	size_t len;

	for (; n > 0; out += len, n -= len) {
		len = n < PIECE ? n : PIECE;
		if (!mb_hybrid_take(&v->codes, codes, len))
			return too_short;
		for (size_t i = 0; i < len; i++) {
			if (v->encoding == MB_RLE) {
				out[i].i = codes[i];
				continue;
			}
			if (codes[i] >= v->n_dictionary)
				return "a value that isn't in the dictionary";
			out[i] = v->dictionary[codes[i]];
		}
	}
	return NULL;
}

static const char *
take_deltas(struct mb_values *v, union mb_parquet_value *out, size_t n)
{
	int64_t ints[PIECE];
	size_t len;

	for (; n > 0; out += len, n -= len) {
		len = n < PIECE ? n : PIECE;
		if (!mb_delta_take(&v->delta, ints, len))
			return too_short;
		for (size_t i = 0; i < len; i++)
			if (!mb_meta_int(v->leaf, ints[i], &out[i]))
				return beyond;
	}
	return NULL;
}

static const char *
take_lengths(struct mb_values *v, union mb_parquet_value *out, size_t n)
{
	int64_t lens[PIECE];
	struct mb_str s;
	size_t len;

	for (; n > 0; out += len, n -= len) {
		len = n < PIECE ? n : PIECE;
		if (!mb_delta_take(&v->delta, lens, len))
			return too_short;
		for (size_t i = 0; i < len; i++) {
			if (lens[i] < 0 || !take_bytes(&v->in,
			    (size_t)lens[i], &s))
				return too_short;
			if (!mb_meta_value(v->leaf, s, &out[i]))
				return beyond;
		}
	}
	return NULL;
}

/* Each value is the beginning of the one before, and more. */
static const char *
take_prefixed(struct mb_values *v, union mb_parquet_value *out, size_t *n)
{
	size_t most = *n < PIECE ? *n : PIECE, at;
	struct mb_str ends[PIECE], s;
	int64_t prefix, len;

	mb_buf_reset(&v->bytes);
	for (*n = 0; *n < most && v->bytes.len < LONG_BYTES; ++*n) {
		if (!mb_delta_take(&v->prefixes, &prefix, 1) ||
		    !mb_delta_take(&v->delta, &len, 1))
			return too_short;
		if (prefix < 0 || (uint64_t)prefix > v->last.len || len < 0 ||
		    !take_bytes(&v->in, (size_t)len, &s))
			return damaged;
		v->last.len = (size_t)prefix;
		mb_buf_add(&v->last, s.p, s.len);
		if (v->leaf->physical == MB_FIXED &&
		    v->last.len != v->leaf->leaf.fixed_len)
			return damaged;
		mb_buf_add(&v->bytes, v->last.p, v->last.len);
		ends[*n].len = v->last.len;
	}
	/* Only now do they stand still. */
	at = 0;
	for (size_t i = 0; i < *n; i++) {
		s = (struct mb_str){ v->bytes.p != NULL ? v->bytes.p + at :
		    "", ends[i].len };
		at += s.len;
		if (!mb_meta_value(v->leaf, s, &out[i]))
			return beyond;
	}
	return NULL;
}

/* Byte k of each value stands in the k-th part. */
static const char *
take_split(struct mb_values *v, union mb_parquet_value *out, size_t *n)
{
	size_t width = mb_meta_width(v->leaf), most = LONG_BYTES / width;
	char *p;

	if (*n > most)
		*n = most;
	if (*n > v->stride - v->at)
		return too_short;
	mb_buf_reset(&v->bytes);
	mb_buf_reserve(&v->bytes, *n * width);
	for (size_t i = 0; i < *n; i++, v->at++) {
		p = v->bytes.p + i * width;
		for (size_t k = 0; k < width; k++)
			p[k] = v->in.p[k * v->stride + v->at];
		if (!mb_meta_value(v->leaf, (struct mb_str){ p, width },
		    &out[i]))
			return beyond;
	}
	return NULL;
}

const char *
mb_values_take(struct mb_values *v, union mb_parquet_value *out, size_t *n)
{
	if (*n == 0)
		return NULL;
	switch (v->encoding) {
	case MB_PLAIN:
		if (v->leaf->physical == MB_BOOLEAN)
			return take_bits(v, out, *n);
		return take_plain(v->leaf, &v->in, out, *n);
	case MB_DELTA_BINARY_PACKED:
		return take_deltas(v, out, *n);
	case MB_DELTA_LENGTH_BYTE_ARRAY:
		return take_lengths(v, out, *n);
	case MB_DELTA_BYTE_ARRAY:
		return take_prefixed(v, out, n);
	case MB_BYTE_STREAM_SPLIT:
		return take_split(v, out, n);
	default:
		return take_codes(v, out, *n);
	}
}

const char *
mb_values_dictionary(const struct mb_meta_leaf *leaf, struct mb_str body,
    union mb_parquet_value *out, size_t n)
{
	return take_plain(leaf, &body, out, n);
}

void
mb_values_release(struct mb_values *v)
{
	mb_buf_release(&v->last);
	mb_buf_release(&v->bytes);
}
