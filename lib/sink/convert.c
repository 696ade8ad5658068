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
};

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
	c->passes = c->from == c->to;
	for (size_t i = 0; i < b->n_fields; i++)
		mb_names_add(&c->columns, mb_str(b->fields[i].name));
	c->has_columns = b->has_fields;
	if (!c->passes && open_reader(c, b, err) < 0)
		goto fail;
	if (!c->passes && c->from == MB_LINES) {
		mb_names_add(&c->columns, mb_str("line"));
		c->has_columns = true;
	}
	if (c->has_columns && mb_format_has_header(c->to)) {
		put_header(c, bytes);
	}
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
	free(c->nulls);
	free(c->row);
	free(c);
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
	c->has_columns = true;
}

static int
put_row(struct mb_convert *c, const struct mb_row *row, struct mb_buf *out,
    struct mb_err *err)
{
	struct mb_buf why = { 0 };
	size_t stranger;
	int rc;

	learn_columns(c, row);
	if (!c->wrote_header && c->from == MB_NDJSON &&
	    mb_format_has_header(c->to)) {
		put_header(c, out);
	}
	if (c->from != MB_NDJSON) {
		mb_write_row(out, c->to, c->delimiter, c->columns.v,
		    row->values, row->n);
		c->rows++;
		return 0;
	}
	c->row = mb_realloc_array(c->row, c->columns.n + 1, sizeof *c->row);
	if (mb_row_align(c->row, &c->columns, row->names, row->values, row->n,
	    &stranger)) {
		mb_write_row(out, c->to, c->delimiter, c->columns.v, c->row,
		    c->columns.n);
		c->rows++;
		return 0;
	}
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
