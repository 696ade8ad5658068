/*
 * values.h - the values of a data page, decoded piece by piece.
 *
 * Nothing is decoded before it is asked for, so that a page which claims two
 * thousand million values in five bytes costs no memory.
 */
#ifndef MB_PARQUET_VALUES_H
#define MB_PARQUET_VALUES_H

#include "parquet/bits.h"
#include "parquet/metadata.h"

struct mb_values {
	const struct mb_meta_leaf *leaf;
	int64_t encoding;
	struct mb_str in;		/* what is left of PLAIN */
	uint64_t bit;			/* of PLAIN booleans */
	struct mb_hybrid codes;
	struct mb_delta delta;		/* values, or lengths of bytes */
	struct mb_delta prefixes;
	struct mb_buf last;		/* DELTA_BYTE_ARRAY: the value before */
	struct mb_buf bytes;		/* values that stand nowhere whole */
	size_t stride, at;		/* BYTE_STREAM_SPLIT */
	const union mb_parquet_value *dictionary;
	size_t n_dictionary;
};

/*
 * Begin a page; dictionary and body are borrowed.  NULL, or why it can't be
 * read.
 */
MB_CHECK const char *mb_values_begin(struct mb_values *v, int64_t encoding,
    struct mb_str body);

/*
 * The next n values or, where these are long, some fewer: *n says how many.
 * Borrowed until the next call.
 */
MB_CHECK const char *mb_values_take(struct mb_values *v,
    union mb_parquet_value *out, size_t *n);

/* Decode a dictionary page: n values, for out[n]. */
MB_CHECK const char *mb_values_dictionary(const struct mb_meta_leaf *leaf,
    struct mb_str body, union mb_parquet_value *out, size_t n);

void mb_values_release(struct mb_values *v);

#endif
