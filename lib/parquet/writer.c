#include "parquet/writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#include "parquet/chunk.h"
#include "parquet/footer.h"

enum {
	GROUP_BYTES = 128 << 20,
	PAGE_BYTES = 1 << 20,
	LEAST_PAGE_BYTES = 16 << 10,
	ALL_PAGES_BYTES = 64 << 20,	/* of all columns together */
};

/* A column over the whole file. */
struct total {
	struct mb_parquet_stats stats;
	struct mb_kept_bounds bounds;
};

struct mb_parquet_writer {
	struct mb_parquet_vector vector;	/* first: writer.h relies on it */
	mb_parquet_write_fn *write;
	void *arg;
	uint64_t group_bytes;
	struct mb_footer footer;
	struct mb_parquet_column *columns;
	struct mb_chunk *chunks;
	struct total *totals;
	struct mb_parquet_stats *stats;		/* for finish */
	uint64_t *groups;
	size_t n;				/* leaves */
	struct mb_chunk_tools tools;
	struct mb_buf head;			/* of the file */
	uint64_t off;				/* bytes given to write */
	uint64_t group_rows, rows;
	uint64_t raw_bytes;			/* of the row group */
	bool is_finished;
};

static int
put(struct mb_parquet_writer *w, const void *p, size_t len, struct mb_err *err)
{
	if (len > 0 && w->write(w->arg, p, len, err) < 0)
		return -1;
	w->off += len;
	return 0;
}

static size_t
page_bytes(const struct mb_parquet_options *o, size_t n)
{
	size_t most = o->page_bytes > 0 ? o->page_bytes : PAGE_BYTES;

	if (o->page_bytes == 0 && most > ALL_PAGES_BYTES / n)
		most = ALL_PAGES_BYTES / n;
	return most < LEAST_PAGE_BYTES && o->page_bytes == 0 ?
	    LEAST_PAGE_BYTES : most;
}

static void
open_columns(struct mb_parquet_writer *w, const struct mb_parquet_options *o)
{
	size_t bytes;

	w->n = w->footer.n_leaves;
	w->columns = mb_zalloc(w->n * sizeof *w->columns);
	w->chunks = mb_zalloc(w->n * sizeof *w->chunks);
	w->totals = mb_zalloc(w->n * sizeof *w->totals);
	bytes = page_bytes(o, w->n);
	for (size_t i = 0; i < w->n; i++) {
		const struct mb_footer_leaf *leaf = &w->footer.leaves[i];
		struct mb_chunk *c = &w->chunks[i];

		c->type = leaf->type;
		c->top = leaf->top;
		c->has_repeats = leaf->has_repeats;
		c->page_bytes = bytes;
		c->page_rows = bytes / 8;
		mb_chunk_open(c, o->seed);
		w->columns[i].top = leaf->top;
		w->columns[i].is_float = c->order == MB_ORDER_FLOAT;
		w->columns[i].is_wide = c->order == MB_ORDER_WIDE;
		w->columns[i].vector = &w->vector;
	}
}

int
mb_parquet_writer_open(struct mb_parquet_writer **out,
    const struct mb_parquet_options *o, mb_parquet_write_fn *write, void *arg,
    struct mb_err *err)
{
	struct mb_parquet_writer *w = mb_zalloc(sizeof *w);

	*out = NULL;
	w->write = write;
	w->arg = arg;
	w->group_bytes = o->group_bytes > 0 ? o->group_bytes : GROUP_BYTES;
	if (mb_footer_open(&w->footer, o, err) < 0 ||
	    mb_press_open(&w->tools.press, o->codec, o->level, err) < 0) {
		mb_parquet_writer_close(w);
		return -1;
	}
	open_columns(w, o);
	*out = w;
	return 0;
}

void
mb_parquet_writer_close(struct mb_parquet_writer *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->n; i++) {
		free(w->columns[i].slots);
		free(w->columns[i].levels);
		mb_buf_release(&w->columns[i].bytes);
		mb_chunk_release(&w->chunks[i]);
		mb_kept_bounds_release(&w->totals[i].bounds);
	}
	free(w->columns);
	free(w->chunks);
	free(w->totals);
	free(w->stats);
	free(w->groups);
	mb_footer_release(&w->footer);
	mb_chunk_tools_release(&w->tools);
	free(w);
}

struct mb_parquet_column *
mb_parquet_column(struct mb_parquet_writer *w, size_t i)
{
	assert(i < w->n);
	return &w->columns[i];
}

/* Room for n entries. */
void
mb_parquet_grow(struct mb_parquet_column *c, size_t n)
{
	size_t levels = c->n_levels + n, slots = c->n_slots + 2 * n;

	if (levels > c->cap_levels) {
		c->cap_levels = 2 * levels < MB_PARQUET_VECTOR ?
		    MB_PARQUET_VECTOR : 2 * levels;
		c->levels = mb_realloc(c->levels, c->cap_levels);
	}
	if (slots > c->cap_slots) {
		c->cap_slots = 2 * slots < MB_PARQUET_VECTOR ?
		    MB_PARQUET_VECTOR : 2 * slots;
		c->slots = mb_realloc_array(c->slots, c->cap_slots,
		    sizeof *c->slots);
	}
	/* A row of many elements doesn't wait for its fellows. */
	if (c->n_levels > MB_PARQUET_VECTOR)
		c->vector->is_full = true;
}

void
mb_parquet_put_absent(struct mb_parquet_column *c, unsigned level)
{
	assert(level < c->top);
	mb_parquet_put_level(c, level);
}

void
mb_parquet_repeat(struct mb_parquet_column *c)
{
	c->repeats = 0x80;
}

/*
 * Many entries at once.  Without branches: each value is stored, and the next
 * one overwrites it if it was null.
 */

static void
put_many_levels(struct mb_parquet_column *c, const bool *is_null, size_t n)
{
	uint8_t *to;

	mb_parquet_grow(c, n);
	to = c->levels + c->n_levels;
	c->n_levels += n;
	if (is_null == NULL)
		memset(to, c->top, n);
	for (size_t i = 0; is_null != NULL && i < n; i++)
		to[i] = (uint8_t)(c->top - is_null[i]);
}

static size_t
is_there(const bool *is_null, size_t i)
{
	return is_null == NULL || !is_null[i];
}

void
mb_parquet_put_ints(struct mb_parquet_column *c, const int64_t *v,
    const bool *is_null, size_t n)
{
	uint64_t *to;

	put_many_levels(c, is_null, n);
	to = c->slots + c->n_slots;
	for (size_t i = 0; c->is_wide && i < n; i++) {
		to[0] = (uint64_t)v[i];
		to[1] = (uint64_t)(v[i] >> 63);
		to += 2 * is_there(is_null, i);
	}
	for (size_t i = 0; !c->is_wide && i < n; i++) {
		*to = (uint64_t)v[i];
		to += is_there(is_null, i);
	}
	c->n_slots = (size_t)(to - c->slots);
}

void
mb_parquet_put_decimals(struct mb_parquet_column *c, const mb_int128 *v,
    const bool *is_null, size_t n)
{
	uint64_t *to;

	put_many_levels(c, is_null, n);
	to = c->slots + c->n_slots;
	for (size_t i = 0; i < n; i++) {
		to[0] = (uint64_t)v[i];
		to[1] = (uint64_t)(v[i] >> 64);
		to += is_there(is_null, i) << c->is_wide;
	}
	c->n_slots = (size_t)(to - c->slots);
}

void
mb_parquet_put_doubles(struct mb_parquet_column *c, const double *v,
    const bool *is_null, size_t n)
{
	uint64_t *to;

	put_many_levels(c, is_null, n);
	to = c->slots + c->n_slots;
	for (size_t i = 0; i < n; i++) {
		*to = mb_parquet_slot(v[i], c->is_float);
		to += is_there(is_null, i);
	}
	c->n_slots = (size_t)(to - c->slots);
}

void
mb_parquet_put_texts(struct mb_parquet_column *c, const struct mb_str *v,
    const bool *is_null, size_t n)
{
	struct mb_buf *b = &c->bytes;
	uint64_t *to;

	put_many_levels(c, is_null, n);
	to = c->slots + c->n_slots;
	for (size_t i = 0; i < n; i++) {
		size_t len = v[i].len;

		if (!is_there(is_null, i))
			continue;
		*to++ = len;
		if (b->cap - b->len < len + MB_PARQUET_SLACK)
			mb_buf_reserve(b, len + MB_PARQUET_SLACK);
		/* Of a fixed length it costs no call. */
		if (len <= MB_PARQUET_SLACK)
			memcpy(b->p + b->len, v[i].p, MB_PARQUET_SLACK);
		else
			memcpy(b->p + b->len, v[i].p, len);
		b->len += len;
	}
	c->n_slots = (size_t)(to - c->slots);
	if (b->len > MB_PARQUET_VECTOR_BYTES)
		c->vector->is_full = true;
}

/*
 * Rows
 */

/* How many of the column's entries begin a row. */
static size_t
count_rows(const struct mb_parquet_column *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_levels; i++)
		n += c->levels[i] < 0x80;
	return n;
}

static int
check_column(const struct mb_parquet_writer *w, size_t i, struct mb_err *err)
{
	const struct mb_parquet_column *c = &w->columns[i];

	/* A null in a required column looks like a repetition. */
	if ((w->chunks[i].has_repeats ? count_rows(c) : c->n_levels) !=
	    w->vector.rows || (c->top == 0 &&
	    c->n_slots >> c->is_wide != c->n_levels))
		return mb_fail(err, MB_EBUG, "column %s: not one entry for "
		    "each row, or null where it can't be",
		    w->footer.leaves[i].name);
	return 0;
}

static int
write_chunk(struct mb_parquet_writer *w, size_t i, struct mb_err *err)
{
	struct mb_chunk *c = &w->chunks[i];
	struct total *t = &w->totals[i];
	uint64_t start = w->off;

	if (put(w, c->dictionary_page.p, c->dictionary_page.len, err) < 0 ||
	    put(w, c->data.p, c->data.len, err) < 0)
		return -1;
	mb_footer_add_chunk(&w->footer, i, c, start);
	t->stats.n_entries += c->n_entries;
	t->stats.n_nulls += c->n_nulls;
	t->stats.n_nans += c->n_nans;
	t->stats.bytes += w->off - start;
	mb_kept_bounds_merge(&t->bounds, c->order, &c->bounds.b);
	mb_chunk_reset(c);
	return 0;
}

static int
end_group(struct mb_parquet_writer *w, struct mb_err *err)
{
	if (w->group_rows == 0)
		return 0;
	if (w->off == 0 && put(w, MB_PARQUET_MAGIC, 4, err) < 0)
		return -1;
	mb_footer_begin_group(&w->footer, w->off, w->group_rows);
	for (size_t i = 0; i < w->n; i++)
		if (mb_chunk_end(&w->chunks[i], &w->tools, err) < 0 ||
		    write_chunk(w, i, err) < 0)
			return mb_wrap(err, "column %s",
			    w->footer.leaves[i].name);
	w->group_rows = 0;
	w->raw_bytes = 0;
	return 0;
}

/* Give a column's entries of the first rows away; the others move up. */
static int
flush_column(struct mb_parquet_writer *w, size_t i, size_t rows,
    struct mb_err *err)
{
	struct mb_parquet_column *c = &w->columns[i];
	size_t levels = 0, slots = 0, bytes = 0;

	if (rows < w->vector.rows) {	/* so it has no repetitions */
		levels = c->n_levels - rows;
		for (size_t k = rows; k < c->n_levels; k++)
			slots += c->levels[k] == c->top;
		slots <<= c->is_wide;
		for (size_t k = c->n_slots - slots; c->bytes.len > 0 &&
		    k < c->n_slots; k++)
			bytes += c->slots[k];
		c->n_levels -= levels;
		c->n_slots -= slots;
		c->bytes.len -= bytes;
	}
	w->raw_bytes += c->n_slots * sizeof *c->slots + c->bytes.len;
	uint8_t *next_level = c->levels + c->n_levels;
	uint64_t *next_slot = c->slots + c->n_slots;
	size_t next_byte = c->bytes.len;

	if (mb_chunk_add(&w->chunks[i], c, &w->tools, err) < 0)
		return mb_wrap(err, "column %s", w->footer.leaves[i].name);
	if (levels > 0)
		memmove(c->levels, next_level, levels);
	if (slots > 0)
		memmove(c->slots, next_slot, slots * sizeof *c->slots);
	if (bytes > 0)
		memmove(c->bytes.p, c->bytes.p + next_byte, bytes);
	c->n_levels = levels;
	c->n_slots = slots;
	c->bytes.len = bytes;
	return 0;
}

static int
flush_rows(struct mb_parquet_writer *w, size_t rows, struct mb_err *err)
{
	for (size_t i = 0; i < w->n; i++)
		if (check_column(w, i, err) < 0 ||
		    flush_column(w, i, rows, err) < 0)
			return -1;
	w->group_rows += rows;
	w->rows += rows;
	w->vector = (struct mb_parquet_vector){ .rows = w->vector.rows -
	    rows };
	return w->raw_bytes >= w->group_bytes ? end_group(w, err) : 0;
}

int
mb_parquet_flush_vector(struct mb_parquet_writer *w, struct mb_err *err)
{
	return flush_rows(w, w->vector.rows, err);
}

/* How many rows would a vector have if they had come one by one? */
static size_t
full_rows(const struct mb_parquet_writer *w)
{
	size_t rows = MB_PARQUET_VECTOR;

	for (size_t i = 0; i < w->n; i++) {
		const struct mb_parquet_column *c = &w->columns[i];
		size_t bytes = 0, slot = 0, k = 0;

		if (c->bytes.len <= MB_PARQUET_VECTOR_BYTES)
			continue;
		for (; bytes <= MB_PARQUET_VECTOR_BYTES; k++)
			if (c->levels[k] == c->top)
				bytes += c->slots[slot++];
		rows = k < rows ? k : rows;
	}
	return rows;
}

int
mb_parquet_end_rows(struct mb_parquet_writer *w, size_t n, struct mb_err *err)
{
	size_t rows;

	w->vector.rows += n;
	while (w->vector.rows >= (rows = full_rows(w)))
		if (flush_rows(w, rows, err) < 0)
			return -1;
	return 0;
}

void
mb_parquet_drop_row(struct mb_parquet_writer *w)
{
	size_t left;

	for (size_t i = 0; i < w->n; i++) {
		struct mb_parquet_column *c = &w->columns[i];

		left = w->chunks[i].has_repeats ? count_rows(c) : c->n_levels;
		c->repeats = 0;
		while (left > w->vector.rows) {
			uint8_t level = c->levels[--c->n_levels];

			left -= level < 0x80 || !w->chunks[i].has_repeats;
			if ((level & 0x7f) != c->top)
				continue;
			c->n_slots -= c->is_wide ? 2 : 1;
			if (w->chunks[i].order == MB_ORDER_BYTES)
				c->bytes.len -= c->slots[c->n_slots];
		}
	}
}

/*
 * The end
 */

static void
tell(struct mb_parquet_writer *w, struct mb_parquet_file *out)
{
	w->stats = mb_zalloc(w->n * sizeof *w->stats);
	for (size_t i = 0; i < w->n; i++) {
		struct mb_bounds b = w->totals[i].bounds.b;
		enum mb_order order = w->chunks[i].order;

		/* Of pages that had -0.0 and 0.0. */
		mb_bounds_settle(&b, order);
		if (order == MB_ORDER_INT &&
		    w->chunks[i].type.kind == MB_PARQUET_DECIMAL) {
			b.min.decimal = b.min.i;
			b.max.decimal = b.max.i;
		}
		w->stats[i] = w->totals[i].stats;
		w->stats[i].has_bounds = b.has;
		w->stats[i].min = b.min;
		w->stats[i].max = b.max;
	}
	w->groups = mb_zalloc(w->footer.n_groups * sizeof *w->groups);
	for (size_t i = 0; i < w->footer.n_groups; i++)
		w->groups[i] = w->footer.groups[i].off;
	*out = (struct mb_parquet_file){ .size = w->off, .rows = w->rows,
		.stats = w->stats, .n_stats = w->n, .groups = w->groups,
		.n_groups = w->footer.n_groups };
}

int
mb_parquet_finish(struct mb_parquet_writer *w, struct mb_parquet_file *out,
    struct mb_err *err)
{
	struct mb_buf tail = { 0 };
	int rc = -1;

	assert(!w->is_finished);
	w->is_finished = true;
	if (mb_parquet_flush_vector(w, err) < 0 || end_group(w, err) < 0)
		return -1;
	if (w->off == 0 && put(w, MB_PARQUET_MAGIC, 4, err) < 0)
		return -1;
	if (mb_footer_put(&w->footer, &tail, w->off, w->rows, err) == 0 &&
	    put(w, tail.p, tail.len, err) == 0) {
		tell(w, out);
		rc = 0;
	}
	mb_buf_release(&tail);
	return rc;
}
