/*
 * reader.h - the columns of a Parquet file.
 *
 * Reads what Spark, delta-rs, DuckDB, polars, pyarrow and we write: pages of
 * version 1 and 2, every encoding of the format but those of ALP and the dead
 * ones, uncompressed, snappy, gzip, zstd or LZ4_RAW; flat columns, and such as
 * have one repeated node in their path (lists, maps).  A column of another
 * shape or kind stands in the schema and is refused when it is asked for.
 *
 * The file may be hostile: nothing in it makes us crash, loop or take memory
 * that isn't in proportion to it.  What is wrong with it is MB_EDATA, and the
 * message says where: "NAME: at byte N: …".  Page checksums are verified.
 *
 *	mb_parquet_reader_open(&r, fd, name, err)
 *	for each row group g
 *		mb_parquet_cursor_open(&c, r, leaf, g, err)
 *		while (mb_parquet_cursor_row(c, &entries, err) > 0)
 *		mb_parquet_cursor_close(c)
 *	mb_parquet_reader_close(r)
 */
#ifndef MB_PARQUET_READER_H
#define MB_PARQUET_READER_H

#include <sys/types.h>

#include "base/err.h"
#include "parquet/types.h"

struct mb_parquet_reader;
struct mb_parquet_cursor;

/*
 * Reads the footer.  MB_EDATA: not a Parquet file, damaged, encrypted.  `name`
 * is copied; fd is borrowed until close.
 */
MB_CHECK int mb_parquet_reader_open(struct mb_parquet_reader **out, int fd,
    const char *name, struct mb_err *err);
void mb_parquet_reader_close(struct mb_parquet_reader *r);

enum mb_parquet_physical {
	MB_PARQUET_P_BOOLEAN, MB_PARQUET_P_INT32, MB_PARQUET_P_INT64,
	MB_PARQUET_P_INT96, MB_PARQUET_P_FLOAT, MB_PARQUET_P_DOUBLE,
	MB_PARQUET_P_BYTES, MB_PARQUET_P_FIXED,
};

/* A column. */
struct mb_parquet_leaf {
	const struct mb_str *path;	/* names, from below the root */
	size_t n_path;
	struct mb_parquet_type type;
	enum mb_parquet_physical physical;
	uint32_t fixed_len;
	int32_t field_id;		/* -1: none */
	uint8_t top;			/* definition level of a value */
	uint8_t repeated;		/* definition level from which on a
					   list has an element; 0: no list */
	const char *refusal;		/* why it can't be read; NULL: it can */
};

size_t mb_parquet_n_leaves(const struct mb_parquet_reader *r);
const struct mb_parquet_leaf *mb_parquet_leaf(
    const struct mb_parquet_reader *r, size_t i);

/*
 * The leaf of this path, n names; "*" stands for any name (engines name the
 * repeated group differently).  -1: there is none.
 */
ssize_t mb_parquet_find(const struct mb_parquet_reader *r,
    const char *const *path, size_t n);

size_t mb_parquet_n_groups(const struct mb_parquet_reader *r);
uint64_t mb_parquet_group_rows(const struct mb_parquet_reader *r, size_t group);

/*
 * Bounds of a leaf in a row group, as the file claims them: only where their
 * order is the one that we know, and they make sense.  Bytes may be cut.
 */
struct mb_parquet_claims {
	bool has_null_count;
	uint64_t null_count;
	bool has_bounds;
	union mb_parquet_value min, max;
};
void mb_parquet_claims(const struct mb_parquet_reader *r, size_t leaf,
    size_t group, struct mb_parquet_claims *out);

/*
 * MB_EDATA also where the leaf has a refusal.  The reader must outlive the
 * cursor.
 */
MB_CHECK int mb_parquet_cursor_open(struct mb_parquet_cursor **out,
    struct mb_parquet_reader *r, size_t leaf, size_t group,
    struct mb_err *err);
void mb_parquet_cursor_close(struct mb_parquet_cursor *c);

/* An entry: a value, or how far its path is there (levels: see writer.h). */
struct mb_parquet_entry {
	union mb_parquet_value value;
	uint8_t level;		/* the leaf's `top`: it is a value */
	bool is_repeated;	/* one more of the same row */
};

/*
 * The entries of the next row: of a flat column always one.  Returns 1, 0 at
 * the end of the row group.  Borrowed until the next call.
 */
struct mb_parquet_entries {
	const struct mb_parquet_entry *v;
	size_t n;
};
MB_CHECK int mb_parquet_cursor_row(struct mb_parquet_cursor *c,
    struct mb_parquet_entries *out, struct mb_err *err);

#endif
