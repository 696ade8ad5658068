#include "sink/intake.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "record/writer.h"

int
mb_intake_begin(struct mb_intake *s, const struct mb_begin *b,
    struct mb_err *err)
{
	const struct mb_sink_options *o = s->columns->options;
	struct mb_reader_config config = {
		.format = s->columns->format, .delimiter = b->delimiter,
		.record_limit = b->record_limit, .n_nulls = o->n_nulls,
		.wants_all = true,
	};

	for (size_t i = 0; i < b->n_fields; i++)
		s->has_aggregates |= b->fields[i].agg != NULL;
	s->nulls = mb_realloc_array(s->nulls, o->n_nulls, sizeof *s->nulls);
	for (size_t i = 0; i < o->n_nulls; i++)
		s->nulls[i] = mb_str(o->nulls[i]);
	config.nulls = s->nulls;
	mb_reader_open(&s->reader, &config);
	return mb_intake_again(s, err);
}

int
mb_intake_again(struct mb_intake *s, struct mb_err *err)
{
	const struct mb_names *header = &s->columns->header;

	mb_buf_reset(&s->rest);
	s->n_records = 0;
	return mb_reader_begin(s->reader, header->n > 0 ? header : NULL, 0,
	    err);
}

/* The record can't be taken. */
static int
reject(const struct mb_intake *s, struct mb_str record, const char *why,
    struct mb_err *err)
{
	const struct mb_sink_options *o = s->columns->options;
	const char *place = s->columns->place;

	if (s->has_aggregates)
		return mb_fail(err, MB_EDATA, "%s: record %" PRIu64 " of the "
		    "batch, a row of aggregates: %s", place, s->n_records, why);
	if (o->on_bad == MB_BAD_FAIL)
		return mb_fail(err, MB_EDATA, "%s: record %" PRIu64 " of the "
		    "batch: %s", place, s->n_records, why);
	if (o->reject != NULL)
		return o->reject(o->reject_arg, s->n_records, record, why,
		    err);
	return 0;
}

static const char *
explain(struct mb_intake *s, const struct mb_column *c, struct mb_value v,
    const char *why)
{
	enum { SHOWN = 40 };

	mb_buf_reset(&s->why);
	mb_buf_adds(&s->why, "column ");
	mb_show(&s->why, mb_str(c->name));
	mb_buf_addf(&s->why, ": %s", why);
	if (v.kind != MB_NULL) {
		mb_buf_adds(&s->why, ": \"");
		mb_show(&s->why, (struct mb_str){ v.p,
		    v.len < SHOWN ? v.len : SHOWN });
		mb_buf_adds(&s->why, v.len > SHOWN ? "…\"" : "\"");
	}
	return mb_buf_str(&s->why);
}

static void
reserve_values(struct mb_intake *s)
{
	if (s->cap_values >= s->columns->n)
		return;
	s->cap_values = s->columns->n + 16;
	s->values = mb_realloc_array(s->values, s->cap_values,
	    sizeof *s->values);
}

/* The values of an ndjson record by column; a reason if a key is none. */
static const char *
align_members(struct mb_intake *s, const struct mb_row *row)
{
	struct mb_columns *columns = s->columns;
	size_t stranger;

	for (;;) {
		struct mb_err e = { 0 };
		char *name;
		int rc;

		reserve_values(s);
		if (mb_row_align(s->values, &columns->names, row->names,
		    row->values, row->n, &stranger))
			return NULL;
		mb_buf_reset(&s->why);
		if (!mb_columns_can_add(columns)) {
			mb_buf_adds(&s->why, "no column \"");
			mb_show(&s->why, row->names[stranger]);
			mb_buf_adds(&s->why, "\" in the table");
			return mb_buf_str(&s->why);
		}
		if (memchr(row->names[stranger].p, '\0',
		    row->names[stranger].len) != NULL)
			return "a key with \\u0000 in it can't be a column";
		mb_buf_add(&s->why, row->names[stranger].p,
		    row->names[stranger].len);
		name = mb_buf_take(&s->why);
		rc = mb_columns_new(columns, name, &e);
		free(name);
		if (rc < 0) {
			mb_buf_adds(&s->why, e.msg);
			return mb_buf_str(&s->why);
		}
	}
}

static int
take_row(struct mb_intake *s, const struct mb_row *row,
    mb_intake_row_fn *take, void *arg, struct mb_err *err)
{
	struct mb_columns *columns = s->columns;
	const char *why = row->bad;

	s->n_records++;
	if (why == NULL && columns->format == MB_NDJSON)
		why = align_members(s, row);
	if (why != NULL)
		return reject(s, row->raw, why, err);
	if (columns->format != MB_NDJSON) {
		if (!columns->is_mapped &&
		    mb_columns_number(columns, row->n, err) < 0)
			return -1;
		reserve_values(s);
		for (size_t i = 0; i < row->n; i++)
			s->values[columns->column_of[i]] = row->values[i];
	}
	return take(arg, row->raw, err);
}

/* n records from the i-th on, whatever they are. */
static int
take_each(struct mb_intake *s, size_t i, size_t n, mb_intake_row_fn *take,
    void *arg, struct mb_err *err)
{
	struct mb_row row;

	for (size_t end = i + n; i < end; i++)
		if (mb_reader_read(s->reader, i, &row, err) < 0 ||
		    take_row(s, &row, take, arg, err) < 0)
			return -1;
	return 0;
}

/* n ordinary records: row k of `rows`, which is record i, and so on. */
static int
take_run(struct mb_intake *s, const struct mb_rows *rows, size_t k, size_t i,
    size_t n, mb_intake_row_fn *take, void *arg, struct mb_err *err)
{
	const struct mb_columns *columns = s->columns;
	struct mb_intake_rows run = { .isa = rows->isa, .base = rows->p, .n = n,
		.raw = mb_reader_raw(s->reader, i, n) };
	int rc;

	if (s->cap_view < columns->n) {
		s->cap_view = columns->n + 16;
		s->view = mb_realloc_array(s->view, s->cap_view,
		    sizeof *s->view);
	}
	for (size_t c = 0; c < columns->n; c++)
		s->view[c] = NULL;
	for (size_t f = 0; f < columns->header.n; f++)
		s->view[columns->column_of[f]] = rows->view + f * MB_ROWS + k;
	run.view = s->view;
	rc = s->take_rows(arg, &run, err);
	if (rc == 0)
		return take_each(s, i, n, take, arg, err);
	s->n_records += n;
	return rc < 0 ? -1 : 0;
}

/* What mb_reader_ahead has found, in order. */
static int
take_ahead(struct mb_intake *s, const struct mb_rows *rows,
    mb_intake_row_fn *take, void *arg, struct mb_err *err)
{
	size_t i = 0, k = 0, n;
	int rc = 0;

	for (; rc == 0 && i < rows->n_records; i += n) {
		for (n = 0; k + n < rows->n && rows->record[k + n] == i + n;)
			n++;
		if (n > 0) {
			rc = take_run(s, rows, k, i, n, take, arg, err);
			k += n;
		} else {
			n = 1;
			rc = take_each(s, i, n, take, arg, err);
		}
	}
	return rc;
}

static int
take_records(struct mb_intake *s, struct mb_str *data, bool is_last,
    mb_intake_row_fn *take, void *arg, struct mb_err *err)
{
	const struct mb_rows *rows;
	struct mb_row row;
	int rc = 1;

	while (rc > 0) {
		/* Which field goes where is known once one was taken. */
		rows = s->take_rows != NULL && s->columns->is_mapped ?
		    mb_reader_ahead(s->reader, *data) : NULL;
		if (rows != NULL) {
			if (take_ahead(s, rows, take, arg, err) < 0)
				return -1;
			mb_reader_pass(s->reader, data);
			continue;
		}
		rc = mb_reader_next(s->reader, data, is_last, &row, err);
		if (rc > 0 && take_row(s, &row, take, arg, err) < 0)
			return -1;
	}
	return rc;
}

int
mb_intake_add(struct mb_intake *s, struct mb_str records,
    mb_intake_row_fn *take, void *arg, struct mb_err *err)
{
	struct mb_str data = records;
	struct mb_buf rest = { 0 };
	int rc;

	/* A last record without newline, or a CR: it comes again with more. */
	if (s->rest.len > 0) {
		mb_buf_add(&s->rest, records.p, records.len);
		data = (struct mb_str){ s->rest.p, s->rest.len };
	}
	rc = take_records(s, &data, false, take, arg, err);
	if (data.len > 0)
		mb_buf_add(&rest, data.p, data.len);
	mb_buf_reset(&s->rest);
	if (data.len > 0) {
		mb_buf_release(&s->rest);
		s->rest = rest;
	}
	return rc;
}

int
mb_intake_end(struct mb_intake *s, mb_intake_row_fn *take, void *arg,
    struct mb_err *err)
{
	struct mb_str data = { s->rest.p == NULL ? "" : s->rest.p,
		s->rest.len };

	if (take_records(s, &data, true, take, arg, err) < 0)
		return -1;
	mb_buf_reset(&s->rest);
	return 0;
}

int
mb_intake_reject(struct mb_intake *s, struct mb_str record, size_t column,
    const char *why, struct mb_err *err)
{
	return reject(s, record, explain(s, &s->columns->v[column],
	    s->values[column], why), err);
}

void
mb_intake_reset(struct mb_intake *s)
{
	mb_reader_close(s->reader);
	s->reader = NULL;
	s->has_aggregates = false;
	mb_buf_reset(&s->rest);
	s->n_records = 0;
}

void
mb_intake_release(struct mb_intake *s)
{
	mb_intake_reset(s);
	free(s->values);
	free(s->view);
	free(s->nulls);
	mb_buf_release(&s->rest);
	mb_buf_release(&s->why);
}
