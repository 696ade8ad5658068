/*
 * footer.h - what stands behind the data of a Parquet file: page indexes, the
 * schema, row groups with their statistics.  For writing.
 */
#ifndef MB_PARQUET_FOOTER_H
#define MB_PARQUET_FOOTER_H

#include "parquet/chunk.h"

struct mb_footer_leaf {
	const char *name;		/* its path, joined by points */
	struct mb_str *path;
	size_t n_path;
	struct mb_parquet_type type;
	uint8_t top;
	bool has_repeats;
};

struct mb_footer_group {
	uint64_t off, rows;
	struct mb_footer_chunk *chunks;		/* [n_leaves] */
};

struct mb_footer {
	struct mb_footer_leaf *leaves;
	size_t n_leaves;
	struct mb_footer_group *groups;
	size_t n_groups;

	/* private */
	size_t cap_groups;
	struct mb_arena arena;
	struct mb_parquet_node *schema;
	size_t n_schema;
	enum mb_parquet_codec codec;
	const char *version;
	struct mb_buf column_indexes, offset_indexes;
};

/* Copies the schema, checks it.  Errors as mb_parquet_writer_open. */
MB_CHECK int mb_footer_open(struct mb_footer *f,
    const struct mb_parquet_options *o, struct mb_err *err);
void mb_footer_release(struct mb_footer *f);

void mb_footer_begin_group(struct mb_footer *f, uint64_t off, uint64_t rows);

/* Note a complete chunk of the group, whose first page stands at off. */
void mb_footer_add_chunk(struct mb_footer *f, size_t leaf,
    const struct mb_chunk *c, uint64_t off);

/* Append everything that follows the data, which ends at off. */
MB_CHECK int mb_footer_put(struct mb_footer *f, struct mb_buf *out,
    uint64_t off, uint64_t rows, struct mb_err *err);

#endif
