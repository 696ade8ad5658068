/*
 * writer.h - rows into a Parquet file.
 *
 * Values are put column by column, in the order of the schema or not, one row
 * after the other; the file goes out in one pass, so the output may be a pipe.
 *
 *	mb_parquet_writer_open(&w, &options, write, arg, err)
 *	for each row
 *		for each column
 *			mb_parquet_put_…(mb_parquet_column(w, i), …)
 *		mb_parquet_end_row(w, err)
 *	mb_parquet_finish(w, &file, err)
 *	mb_parquet_writer_close(w)
 *
 * The same rows and options make the same bytes: there is no clock and no
 * chance in them (nor does the seed show).
 *
 * A row group is held in memory, compressed, until it is complete; beyond it
 * a column takes at most a few MiB (less, the more columns there are).
 *
 * Every reader that we know (Spark, DuckDB, polars, pyarrow, delta-rs) takes
 * what is written: pages of version 1; dictionaries, and where they don't pay
 * DELTA_BINARY_PACKED for integers, DELTA_LENGTH_BYTE_ARRAY for bytes, PLAIN
 * for the rest; a page index where a chunk has more than one page.
 *
 * Levels.  A column below groups says with each entry how much of its path is
 * there.  Its definition level counts the optional and repeated nodes that
 * are, from the root; a value has the highest.  One node of a path may be
 * repeated: the first element of a row is an entry like any other, each
 * further one is announced by mb_parquet_repeat.  For a map
 *
 *	optional config (MAP) { repeated key_value { required text key;
 *	    optional text value } }
 *
 * no map is put_absent(c, 0) in both columns, an empty one put_absent(c, 1),
 * {a: x, b: null} is put(key, a), put(value, x), repeat(key), repeat(value),
 * put(key, b), put_null(value).
 */
#ifndef MB_PARQUET_WRITER_H
#define MB_PARQUET_WRITER_H

#include "base/err.h"
#include "parquet/types.h"

struct mb_parquet_writer;

/* Gets every piece of the file, in order; nothing is ever gone back to. */
typedef int mb_parquet_write_fn(void *arg, const void *p, size_t len,
    struct mb_err *err);

struct mb_parquet_options {
	const struct mb_parquet_node *schema;	/* borrowed while opening */
	size_t n_schema;
	enum mb_parquet_codec codec;	/* see mb_parquet_best_codec */
	int level;			/* 0: the codec's usual one */
	uint64_t group_bytes;		/* of raw values; 0: 128 MiB */
	size_t page_bytes;		/* 0: 1 MiB, less for many columns */
	const char *version;		/* of mb, for created_by */
	uint64_t seed;			/* for hash tables: any random bits */
};

/* zstd, or gzip where mb was built without. */
enum mb_parquet_codec mb_parquet_best_codec(void);

/* none snappy gzip zstd.  MB_EUSAGE: no such codec, not built in. */
MB_CHECK int mb_parquet_codec_parse(enum mb_parquet_codec *out,
    const char *text, struct mb_err *err);

/*
 * MB_EUSAGE: the schema can't be: two columns of one name (also but for case,
 * because Spark can't tell them apart), no column, a decimal's digits; a codec
 * that isn't built in.
 */
MB_CHECK int mb_parquet_writer_open(struct mb_parquet_writer **out,
    const struct mb_parquet_options *options, mb_parquet_write_fn *write,
    void *arg, struct mb_err *err);
void mb_parquet_writer_close(struct mb_parquet_writer *w);

/* Leaf i of the schema, from 0.  Valid until close. */
struct mb_parquet_column *mb_parquet_column(struct mb_parquet_writer *w,
    size_t i);

/*
 * One entry.  The column's kind decides which put is right; an integer is cut
 * to its width, so check it before.  A decimal is put as its unscaled value.
 * Text must be UTF-8 (readers refuse the file otherwise).  Bytes are copied.
 */
static inline void mb_parquet_put_int(struct mb_parquet_column *c, int64_t v);
static inline void mb_parquet_put_double(struct mb_parquet_column *c,
    double v);
static inline void mb_parquet_put_bytes(struct mb_parquet_column *c,
    const void *p, size_t len);
static inline void mb_parquet_put_decimal(struct mb_parquet_column *c,
    mb_int128 v);

/* The leaf itself is null, what is above it is there. */
static inline void mb_parquet_put_null(struct mb_parquet_column *c);

/* The path ends at this definition level, below that of a null. */
void mb_parquet_put_absent(struct mb_parquet_column *c, unsigned level);

/* The next entry is one more of the same row, not the first. */
void mb_parquet_repeat(struct mb_parquet_column *c);

/*
 * The row is complete: each column has got its entries.  MB_EBUG: it hasn't,
 * or there is a null in a required column (noticed some rows later).  Else
 * what `write` says.  After a failure only close may follow.
 */
static inline MB_CHECK int mb_parquet_end_row(struct mb_parquet_writer *w,
    struct mb_err *err);

/*
 * The same for many rows at once: n entries into each column, none of which
 * is repeated, then end_rows.  Entry i is null where is_null[i]; is_null NULL:
 * none is.  Of bytes MB_PARQUET_SLACK can be read from the start of each
 * value, whatever they are.
 */
enum { MB_PARQUET_SLACK = 32 };
void mb_parquet_put_ints(struct mb_parquet_column *c, const int64_t *v,
    const bool *is_null, size_t n);
void mb_parquet_put_doubles(struct mb_parquet_column *c, const double *v,
    const bool *is_null, size_t n);
void mb_parquet_put_decimals(struct mb_parquet_column *c, const mb_int128 *v,
    const bool *is_null, size_t n);
void mb_parquet_put_texts(struct mb_parquet_column *c, const struct mb_str *v,
    const bool *is_null, size_t n);
MB_CHECK int mb_parquet_end_rows(struct mb_parquet_writer *w, size_t n,
    struct mb_err *err);

/* Take back what was put since the last end_row or end_rows. */
void mb_parquet_drop_row(struct mb_parquet_writer *w);

/* A column as a whole, for the log of a table. */
struct mb_parquet_stats {
	uint64_t n_entries;	/* nulls included; a list's are its elements */
	uint64_t n_nulls;	/* all entries without a value */
	uint64_t n_nans;
	uint64_t bytes;		/* in the file */
	/*
	 * The least and greatest value, if any; NaN doesn't count.  Exact and
	 * whole, also long bytes; mb_parquet_cut_min and _max shorten them.
	 * A zero that is the least is -0.0, the greatest +0.0.
	 */
	bool has_bounds;
	union mb_parquet_value min, max;
};

struct mb_parquet_file {
	uint64_t size;
	uint64_t rows;
	const struct mb_parquet_stats *stats;	/* [leaves]; valid till close */
	size_t n_stats;
	const uint64_t *groups;			/* offset of each row group */
	size_t n_groups;
};

/*
 * Write what is left, and the footer.  A file of no rows is whole, too.  The
 * caller syncs.
 */
MB_CHECK int mb_parquet_finish(struct mb_parquet_writer *w,
    struct mb_parquet_file *out, struct mb_err *err);

/*
 * Shorten a bound to so many characters (text: code points, never cut within
 * one; binary: bytes) and as many bytes: still not above the least, not below
 * the greatest.  True if it was cut.  cut_max fails to shorten where all is
 * 0xff or U+10FFFF; *has_bound tells.
 */
bool mb_parquet_cut_min(struct mb_str *bound, bool is_text, size_t max_chars,
    size_t max_bytes);
bool mb_parquet_cut_max(struct mb_buf *out, bool *has_bound,
    struct mb_str bound, bool is_text, size_t max_chars, size_t max_bytes);

/*
 * Private, here for the inline functions: the entries of a few rows, before
 * anything is made of them.
 */
enum {
	MB_PARQUET_VECTOR = 1024,	/* rows, unless they are long */
	MB_PARQUET_VECTOR_BYTES = 1 << 18,
};

struct mb_parquet_column {
	uint64_t *slots;	/* values: an int, a double's or float's bits,
				   the length of bytes; a decimal of over 18
				   digits takes two, the low one first */
	size_t n_slots, cap_slots;
	uint8_t *levels;	/* definition; bit 7: repeated */
	size_t n_levels, cap_levels;
	struct mb_buf bytes;
	uint8_t top;		/* level of a value */
	uint8_t repeats;	/* bit 7, if announced */
	bool is_float, is_wide;
	struct mb_parquet_vector *vector;
};

/* The writer's first member. */
struct mb_parquet_vector {
	size_t rows;
	bool is_full;
};

int mb_parquet_flush_vector(struct mb_parquet_writer *w, struct mb_err *err);
void mb_parquet_grow(struct mb_parquet_column *c, size_t n);

static inline void
mb_parquet_put_level(struct mb_parquet_column *c, unsigned level)
{
	if (c->n_levels == c->cap_levels || c->n_slots + 2 > c->cap_slots)
		mb_parquet_grow(c, 1);
	c->levels[c->n_levels++] = (uint8_t)(level | c->repeats);
	c->repeats = 0;
}

static inline void
mb_parquet_put_int(struct mb_parquet_column *c, int64_t v)
{
	mb_parquet_put_level(c, c->top);
	c->slots[c->n_slots++] = (uint64_t)v;
	if (c->is_wide)
		c->slots[c->n_slots++] = (uint64_t)(v >> 63);
}

/* The bits of a double, or of the float that is nearest. */
static inline uint64_t
mb_parquet_slot(double v, bool is_float)
{
	uint64_t bits;
	uint32_t half;
	float f = (float)v;

	memcpy(&bits, &v, sizeof bits);
	memcpy(&half, &f, sizeof half);
	return is_float ? half : bits;
}

static inline void
mb_parquet_put_double(struct mb_parquet_column *c, double v)
{
	mb_parquet_put_level(c, c->top);
	c->slots[c->n_slots++] = mb_parquet_slot(v, c->is_float);
}

static inline void
mb_parquet_put_bytes(struct mb_parquet_column *c, const void *p, size_t len)
{
	mb_parquet_put_level(c, c->top);
	c->slots[c->n_slots++] = len;
	if (c->bytes.cap - c->bytes.len < len)
		mb_buf_reserve(&c->bytes, len);
	if (len > 0)
		memcpy(c->bytes.p + c->bytes.len, p, len);
	c->bytes.len += len;
	if (c->bytes.len > MB_PARQUET_VECTOR_BYTES)
		c->vector->is_full = true;
}

static inline void
mb_parquet_put_decimal(struct mb_parquet_column *c, mb_int128 v)
{
	mb_parquet_put_level(c, c->top);
	c->slots[c->n_slots++] = (uint64_t)v;
	if (c->is_wide)
		c->slots[c->n_slots++] = (uint64_t)(v >> 64);
}

static inline void
mb_parquet_put_null(struct mb_parquet_column *c)
{
	mb_parquet_put_level(c, c->top - 1u);
}

static inline int
mb_parquet_end_row(struct mb_parquet_writer *w, struct mb_err *err)
{
	struct mb_parquet_vector *v = (struct mb_parquet_vector *)w;

	if (++v->rows < MB_PARQUET_VECTOR && !v->is_full)
		return 0;
	return mb_parquet_flush_vector(w, err);
}

#endif
