/*
 * metadata.h - a Parquet file's footer, read and checked.
 *
 * Everything in it is borrowed from the footer's bytes or owned by the arena.
 * What the rest of the reader relies on is checked here: the tree has the
 * shape that it says, each row group has a chunk for each leaf, and each
 * chunk lies in the file before the footer.
 */
#ifndef MB_PARQUET_METADATA_H
#define MB_PARQUET_METADATA_H

#include "parquet/format.h"
#include "parquet/reader.h"

struct mb_meta_leaf {
	struct mb_parquet_leaf leaf;	/* what the user sees */
	enum mb_physical physical;
	int64_t scale;		/* times: units by which a value is multiplied
				   to microseconds; negative: divided */
	bool is_unsigned;	/* INT32 */
	bool has_order;		/* bounds are in the order of the type */
};

struct mb_meta_chunk {
	uint64_t start, end;		/* of all its pages */
	uint64_t n_entries;
	enum mb_parquet_codec codec;
	const char *refusal;		/* NULL: it can be read */
	bool has_null_count, has_min, has_max;
	uint64_t null_count;
	struct mb_str min, max;		/* as PLAIN has them */
};

struct mb_meta_group {
	uint64_t rows;
	struct mb_meta_chunk *chunks;	/* [n_leaves] */
};

struct mb_metadata {
	struct mb_meta_leaf *leaves;
	size_t n_leaves;
	struct mb_meta_group *groups;
	size_t n_groups;
	uint64_t rows;
	struct mb_arena arena;
};

/*
 * `footer` is borrowed; in the file it stands at off.  The message has the
 * place but not the file.
 */
MB_CHECK int mb_metadata_read(struct mb_metadata *m, struct mb_str footer,
    uint64_t off, struct mb_err *err);
void mb_metadata_release(struct mb_metadata *m);

/*
 * A value of the leaf out of its PLAIN bytes (without the length of bytes),
 * which are as many as its physical type has.  False: it has no value that we
 * could hold.
 */
bool mb_meta_value(const struct mb_meta_leaf *l, struct mb_str plain,
    union mb_parquet_value *out);
/* The same for an integer that is decoded already. */
bool mb_meta_int(const struct mb_meta_leaf *l, int64_t v,
    union mb_parquet_value *out);

/* Bytes of a value; 0: they vary, or are bits. */
uint32_t mb_meta_width(const struct mb_meta_leaf *l);

#endif
