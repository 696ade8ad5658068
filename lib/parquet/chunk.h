/*
 * chunk.h - the pages of one column in one row group, in the making.
 *
 * How a chunk is encoded is decided when enough of its values are known, or
 * all of them:
 *
 *	UNDECIDED -> CODES	a dictionary pays		[decide]
 *	UNDECIDED -> VALUES	it doesn't			[decide]
 *	CODES -> VALUES		the dictionary is full		[add]
 *
 * Pages are compressed as soon as they are full; what is held is small.
 */
#ifndef MB_PARQUET_CHUNK_H
#define MB_PARQUET_CHUNK_H

#include "parquet/bounds.h"
#include "parquet/codec.h"
#include "parquet/dictionary.h"
#include "parquet/format.h"
#include "parquet/writer.h"

/* What chunks share, because only one is worked on at a time. */
struct mb_chunk_tools {
	struct mb_press *press;
	struct mb_buf raw, packed, bound;
	uint32_t *seen;			/* by code: the last page that had it */
	size_t n_seen;
	uint32_t page;
};

void mb_chunk_tools_release(struct mb_chunk_tools *t);

/* A data page, for the page index. */
struct mb_chunk_page {
	uint64_t off;		/* in `data` */
	uint32_t len;		/* with its header */
	uint64_t first_row;
	uint64_t n_nulls;
	bool has_values, has_bounds;
	struct mb_bounds bounds;	/* of numbers */
	size_t min_off, max_off;	/* of bytes, in `index_bytes` */
	uint32_t min_len, max_len;	/* and shortened */
	bool min_is_cut, max_is_cut;
};

struct mb_chunk {
	/* Set by the opener. */
	struct mb_parquet_type type;
	uint8_t top;		/* definition level of a value; 0: required */
	bool has_repeats;
	size_t page_bytes, page_rows;

	/* The result, after mb_chunk_end. */
	struct mb_buf dictionary_page, data;
	struct mb_chunk_page *pages;
	size_t n_pages;
	uint64_t raw_size;	/* of all pages, uncompressed, with headers */
	uint64_t n_entries, n_rows, n_nulls, n_nans;
	uint32_t code_pages, value_pages;
	enum mb_encoding value_encoding;	/* where there are value_pages */
	struct mb_kept_bounds bounds;
	struct mb_buf index_bytes;

	/* Private. */
	enum { MB_CHUNK_UNDECIDED, MB_CHUNK_CODES, MB_CHUNK_VALUES } mode;
	enum mb_order order;
	enum mb_physical physical;
	uint32_t fixed_len;
	struct mb_dictionary dictionary;
	uint64_t plain_bytes;		/* of all values */
	size_t half_values;		/* early ones, and the dictionary's */
	uint64_t half_size;		/* size after them */
	size_t cap_pages;

	/* What is not in a page yet: entries, and values as codes or slots. */
	struct mb_buf levels;		/* one byte each, as in writer.h */
	size_t held_entries, held_values;
	uint32_t *codes;
	size_t cap_codes;
	uint64_t *slots;
	size_t cap_slots;
	struct mb_buf bytes;
};

void mb_chunk_open(struct mb_chunk *c, uint64_t seed);
void mb_chunk_release(struct mb_chunk *c);
void mb_chunk_reset(struct mb_chunk *c);	/* for the next row group */

/* Take over the column's entries, which are whole rows, and empty it. */
MB_CHECK int mb_chunk_add(struct mb_chunk *c, struct mb_parquet_column *column,
    struct mb_chunk_tools *t, struct mb_err *err);
/* All are in. */
MB_CHECK int mb_chunk_end(struct mb_chunk *c, struct mb_chunk_tools *t,
    struct mb_err *err);

#endif
