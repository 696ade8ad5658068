#include "sink/convert.h"

#include <inttypes.h>
#include <stdlib.h>

#include "record/reader.h"
#include "record/writer.h"

struct mb_convert {
	const struct mb_sink_options *options;
	enum mb_format from, to;
	char delimiter;
	bool passes;		/* the bytes go through as they are */
	uint64_t rows, seen;
	char last;		/* byte written */

	/* Where they don't pass. */
	struct mb_reader *reader;
	struct mb_str *nulls;
	struct mb_names columns;
	bool has_columns, wrote_header;
	size_t header_len;
	struct mb_value *row;

	/* With partition_by. */
	struct mb_parts *parts;
	bool wants_header;
	size_t n_keys;
	struct mb_str *key_names;	/* of their columns */
	struct mb_value *keys;
	struct mb_names rest;		/* the columns beside them */
	struct mb_str *rest_names;	/* of a row; ndjson */
	struct mb_value *rest_row;
	bool has_keys;			/* key_at and rest are known */
	size_t *key_at;			/* in columns */
};

static const char no_rest[] = "--partition-by: no other field is left";

/* The columns of the batch are known: which are the keys, which the rest? */
static int
find_keys(struct mb_convert *c, struct mb_err *err)
{
	const struct mb_sink_options *o = c->options;
	struct mb_buf known = { 0 };

	for (size_t i = 0; i < c->n_keys; i++) {
		ssize_t at = mb_names_find(&c->columns,
		    mb_str(o->partition_by[i]));

		if (at < 0) {
			mb_names_show(&known, &c->columns);
			mb_fail(err, MB_EUSAGE, "--partition-by: no field "
			    "\"%s\"; there are: %s", o->partition_by[i],
			    mb_buf_str(&known));
			mb_buf_release(&known);
			return -1;
		}
		c->key_at[i] = (size_t)at;
		c->key_names[i] = c->columns.v[at];
	}
	for (size_t i = 0; i < c->columns.n; i++) {
		size_t k = 0;

		while (k < c->n_keys && c->key_at[k] != i)
			k++;
		if (k == c->n_keys)
			mb_names_add(&c->rest, c->columns.v[i]);
	}
	if (c->rest.n == 0)
		return mb_fail(err, MB_EUSAGE, no_rest);
	c->has_keys = true;
	return 0;
}

static int
open_keys(struct mb_convert *c, struct mb_err *err)
{
	const struct mb_sink_options *o = c->options;

	c->n_keys = o->n_partition_by;
	if (c->n_keys > MB_PARTS_DEPTH)
		return mb_fail(err, MB_EUSAGE, "--partition-by: more than %d "
		    "fields", MB_PARTS_DEPTH);
	for (size_t i = 0; i < c->n_keys; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(o->partition_by[i], o->partition_by[k]) ==
			    0)
				return mb_fail(err, MB_EUSAGE,
				    "--partition-by: \"%s\" twice",
				    o->partition_by[i]);
	c->key_names = mb_realloc_array(NULL, c->n_keys, sizeof *c->key_names);
	c->key_at = mb_realloc_array(NULL, c->n_keys, sizeof *c->key_at);
	c->keys = mb_realloc_array(NULL, c->n_keys, sizeof *c->keys);
	/* In ndjson a field is where it is; absent is null. */
	for (size_t i = 0; i < c->n_keys; i++)
		c->key_names[i] = mb_str(o->partition_by[i]);
	return c->has_columns ? find_keys(c, err) : 0;
}

static int
open_reader(struct mb_convert *c, const struct mb_begin *b,
    struct mb_err *err)
{
	const struct mb_sink_options *o = c->options;
	struct mb_reader_config config = {
		.format = c->from, .delimiter = b->delimiter,
		.record_limit = b->record_limit, .n_nulls = o->n_nulls,
		.wants_all = true,
	};

	c->nulls = mb_realloc_array(NULL, o->n_nulls, sizeof *c->nulls);
	for (size_t i = 0; i < o->n_nulls; i++)
		c->nulls[i] = mb_str(o->nulls[i]);
	config.nulls = c->nulls;
	mb_reader_open(&c->reader, &config);
	return mb_reader_begin(c->reader, b->has_fields ? &c->columns : NULL,
	    0, err);
}

static void
put_header(struct mb_convert *c, struct mb_buf *out)
{
	size_t before = out->len;

	mb_write_header(out, c->to, c->delimiter, c->columns.v, c->columns.n);
	c->header_len = out->len - before;
	c->wrote_header = true;
}

int
mb_convert_open(struct mb_convert **out, const struct mb_sink_options *o,
    const struct mb_begin *b, struct mb_buf *bytes, struct mb_err *err)
{
	struct mb_convert *c = mb_zalloc(sizeof *c);

	*out = NULL;
	*c = (struct mb_convert){ .options = o, .last = '\n' };
	if (mb_format_parse(&c->from, b->format, err) < 0 ||
	    mb_format_parse(&c->to, o->format != NULL ? o->format : b->format,
	    err) < 0)
		goto fail;
	c->delimiter = c->to == c->from ? b->delimiter :
	    mb_delimiter_of(c->to);
	c->passes = c->from == c->to && o->n_partition_by == 0;
	for (size_t i = 0; i < b->n_fields; i++)
		mb_names_add(&c->columns, mb_str(b->fields[i].name));
	c->has_columns = b->has_fields;
	if (!c->passes && open_reader(c, b, err) < 0)
		goto fail;
	if (!c->passes && c->from == MB_LINES) {
		mb_names_add(&c->columns, mb_str("line"));
		c->has_columns = true;
	}
	c->wants_header = c->has_columns || c->from == MB_NDJSON;
	if (o->n_partition_by > 0 && open_keys(c, err) < 0)
		goto fail;
	if (c->has_columns && mb_format_has_header(c->to) &&
	    o->n_partition_by == 0)
		put_header(c, bytes);
	*out = c;
	return 0;
fail:
	mb_convert_close(c);
	return -1;
}

void
mb_convert_close(struct mb_convert *c)
{
	if (c == NULL)
		return;
	mb_reader_close(c->reader);
	mb_names_release(&c->columns);
	mb_names_release(&c->rest);
	free(c->key_names);
	free(c->key_at);
	free(c->keys);
	free(c->rest_names);
	free(c->rest_row);
	free(c->nulls);
	free(c->row);
	free(c);
}

void
mb_convert_spread(struct mb_convert *c, struct mb_parts *parts)
{
	c->parts = parts;
}

const char *
mb_convert_format(const struct mb_convert *c)
{
	return mb_format_name(c->to);
}

size_t
mb_convert_header(const struct mb_convert *c)
{
	return c->header_len;
}

uint64_t
mb_convert_rows(const struct mb_convert *c)
{
	return c->rows;
}

static int
reject(struct mb_convert *c, struct mb_str raw, const char *why,
    struct mb_err *err)
{
	const struct mb_sink_options *o = c->options;

	if (o->on_bad == MB_BAD_FAIL)
		return mb_fail(err, MB_EDATA, "record %" PRIu64 ": %s",
		    c->seen, why);
	if (o->reject == NULL)
		return 0;
	return o->reject(o->reject_arg, c->seen, raw, why, err);
}

/* The columns of ndjson rows are those of the batch's first record. */
static void
learn_columns(struct mb_convert *c, const struct mb_row *row)
{
	if (c->has_columns)
		return;
	if (row->names == NULL)
		mb_names_number(&c->columns, row->n);
	else
		for (size_t i = 0; i < row->n; i++)
			mb_names_add(&c->columns, row->names[i]);
	for (size_t i = 0; i < c->n_keys && c->from == MB_NDJSON; i++)
		if (mb_names_index(&c->columns, c->key_names[i]) < 0)
			mb_names_add(&c->columns, c->key_names[i]);
	c->has_columns = true;
}

/*
 * A row of ndjson that stays ndjson: its own fields but for the keys, which
 * are null where they are absent.
 */
static size_t
take_keys(struct mb_convert *c, const struct mb_str *names,
    const struct mb_value *values, size_t n)
{
	size_t n_rest = 0, k;

	c->rest_names = mb_realloc_array(c->rest_names, n + 1,
	    sizeof *c->rest_names);
	for (size_t i = 0; i < c->n_keys; i++)
		c->keys[i] = mb_value_null();
	for (size_t i = 0; i < n; i++) {
		for (k = 0; k < c->n_keys &&
		    !mb_str_eq(names[i], c->key_names[k]); k++)
			;
		if (k < c->n_keys) {
			c->keys[k] = values[i];
			continue;
		}
		c->rest_names[n_rest] = names[i];
		c->rest_row[n_rest++] = values[i];
	}
	return n_rest;
}

/* A row whose values are those of c->columns, or its own in ndjson. */
static int
put_apart(struct mb_convert *c, struct mb_str raw, const struct mb_str *names,
    const struct mb_value *values, size_t n, struct mb_err *err)
{
	bool is_own = c->to == MB_NDJSON && c->from == MB_NDJSON, is_new;
	const struct mb_str *rest_names = c->rest.v;
	size_t n_rest = 0, k;
	struct mb_buf *out;
	const char *bad;

	c->rest_row = mb_realloc_array(c->rest_row, n + 1,
	    sizeof *c->rest_row);
	if (is_own) {
		n_rest = take_keys(c, names, values, n);
		rest_names = c->rest_names;
	} else {
		for (size_t i = 0; i < n; i++) {
			for (k = 0; k < c->n_keys && c->key_at[k] != i; k++)
				;
			if (k < c->n_keys)
				c->keys[k] = values[i];
			else
				c->rest_row[n_rest++] = values[i];
		}
	}
	if (mb_parts_route(c->parts, c->key_names, c->keys, c->n_keys, &out,
	    &is_new, &bad, err) < 0)
		return -1;
	if (bad != NULL)
		return reject(c, raw, bad, err);
	if (is_new && c->wants_header)
		mb_write_header(out, c->to, c->delimiter, rest_names, n_rest);
	mb_write_row(out, c->to, c->delimiter, rest_names, c->rest_row,
	    n_rest);
	c->rows++;
	return 0;
}

/* A row of c->columns. */
static int
put_values(struct mb_convert *c, const struct mb_row *row,
    const struct mb_value *values, size_t n, struct mb_buf *out,
    struct mb_err *err)
{
	if (c->parts != NULL)
		return put_apart(c, row->raw, c->columns.v, values, n, err);
	mb_write_row(out, c->to, c->delimiter, c->columns.v, values, n);
	c->rows++;
	return 0;
}

static int
put_row(struct mb_convert *c, const struct mb_row *row, struct mb_buf *out,
    struct mb_err *err)
{
	struct mb_buf why = { 0 };
	size_t stranger;
	int rc;

	if (c->from == MB_NDJSON && c->to == MB_NDJSON)
		return put_apart(c, row->raw, row->names, row->values, row->n,
		    err);
	learn_columns(c, row);
	if (c->n_keys > 0 && !c->has_keys && find_keys(c, err) < 0)
		return -1;
	if (!c->wrote_header && c->from == MB_NDJSON && c->parts == NULL &&
	    mb_format_has_header(c->to)) {
		put_header(c, out);
	}
	if (c->from != MB_NDJSON)
		return put_values(c, row, row->values, row->n, out, err);
	c->row = mb_realloc_array(c->row, c->columns.n + 1, sizeof *c->row);
	if (mb_row_align(c->row, &c->columns, row->names, row->values, row->n,
	    &stranger))
		return put_values(c, row, c->row, c->columns.n, out, err);
	mb_buf_adds(&why, "a key that the first record doesn't have: ");
	mb_buf_add(&why, row->names[stranger].p, row->names[stranger].len);
	rc = reject(c, row->raw, mb_buf_str(&why), err);
	mb_buf_release(&why);
	return rc;
}

int
mb_convert_add(struct mb_convert *c, struct mb_str records, uint64_t n,
    struct mb_buf *out, struct mb_err *err)
{
	struct mb_row row;
	int rc;

	if (c->passes) {
		mb_buf_add(out, records.p, records.len);
		c->rows += n;
		return 0;
	}
	while ((rc = mb_reader_next(c->reader, &records, true, &row, err)) >
	    0) {
		c->seen++;
		rc = row.bad != NULL ? reject(c, row.raw, row.bad, err) :
		    put_row(c, &row, out, err);
		if (rc < 0)
			return -1;
	}
	return rc;
}
