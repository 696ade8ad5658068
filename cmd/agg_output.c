#include "agg.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/parse.h"
#include "record/writer.h"

bool
agg_aggregates(const struct agg *a)
{
	return mb_query_aggregates(&a->cfg->query);
}

int
agg_flush(struct agg *a, struct mb_err *err)
{
	int rc = mb_write_all(STDOUT_FILENO, a->out.p, a->out.len, "standard output",
	    err);

	mb_buf_reset(&a->out);
	return rc;
}

/* What stands between fields: -d is for csv. */
char
agg_delimiter_of(const struct agg *a, enum mb_format format)
{
	return format == MB_CSV ? a->delimiter : mb_delimiter_of(format);
}

static int
flush_if_full(struct agg *a, struct mb_err *err)
{
	return a->out.len < AGG_FLUSH ? 0 : agg_flush(a, err);
}

/* The columns of what we write; false: they aren't known (yet). */
bool
agg_list_columns(const struct agg *a, struct mb_names *out)
{
	const struct mb_query *q = &a->cfg->query;
	const struct mb_names *passed = mb_work_columns(a->work);
	int n_stamps = !a->cfg->is_stamped ? 0 : agg_aggregates(a) ? MB_STAMPS :
	    MB_STAMPS_PASSED;

	mb_names_reset(out);
	if (!agg_aggregates(a) && passed == NULL)
		return false;
	for (int i = 0; i < n_stamps; i++)
		mb_names_add(out, mb_str(mb_stamp_names[i]));
	for (size_t i = 0; i < q->n_keys; i++)
		mb_names_add(out, mb_str(q->keys[i].name));
	for (size_t i = 0; i < q->n_aggs; i++)
		mb_names_add(out, mb_str(q->aggs[i].name));
	for (size_t i = 0; !agg_aggregates(a) && i < passed->n; i++)
		mb_names_add(out, passed->v[i]);
	return true;
}

int
agg_check_stamps(const struct agg *a, const struct mb_names *header,
    struct mb_err *err)
{
	if (agg_aggregates(a) || !a->cfg->is_stamped || header == NULL)
		return 0;
	for (int i = 0; i < MB_STAMPS_PASSED; i++)
		if (mb_names_index(header, mb_str(mb_stamp_names[i])) >= 0)
			return mb_fail(err, MB_EUSAGE, "--stamp: the records "
			    "have a column \"%s\" already", mb_stamp_names[i]);
	return 0;
}

/*
 * The header of plain rows, once, as soon as it is known.  Later batches and
 * files must have the same columns.
 */
int
agg_put_header(struct agg *a, const char *name, struct mb_err *err)
{
	struct mb_names columns = { 0 };
	int rc = 0;

	if (agg_list_columns(a, &columns)) {
		if (!a->has_header) {
			mb_names_copy(&a->header, &columns);
			mb_write_header(&a->out, a->out_format,
			    agg_delimiter_of(a, a->out_format), columns.v,
			    columns.n);
			a->has_header = true;
		} else if (mb_format_has_header(a->out_format) &&
		    !mb_names_equal(&a->header, &columns)) {
			rc = mb_fail(err, MB_EDATA, "%s: other columns than "
			    "what came before", name);
		}
	}
	mb_names_release(&columns);
	return rc;
}

/* Rows of records passed through. */
int
agg_put_passed(struct agg *a, struct mb_err *err)
{
	struct mb_buf *rows = mb_work_rows(a->work);

	mb_buf_add(&a->out, rows->p, rows->len);
	mb_buf_reset(rows);
	return flush_if_full(a, err);
}

/* batch and batch_time; the environment's need not be a number. */
static void
stamp(struct mb_value *values, const char *batch, const char *batch_time)
{
	values[0] = batch == NULL ? mb_value_null() :
	    (struct mb_value){ batch, strlen(batch), MB_PLAIN };
	values[1] = batch_time == NULL ? mb_value_null() :
	    (struct mb_value){ batch_time, strlen(batch_time), MB_TEXT };
}

/* The next rows that mb_work_next gives; how many, 0 or -1. */
static int
put_rows(struct agg *a, const struct mb_names *columns,
    struct mb_value *values, size_t n_stamps, struct mb_err *err)
{
	int n_rows = mb_work_next(a->work, values + n_stamps, columns->n, err);

	for (int i = 0; i < n_rows; i++)
		mb_write_row(&a->out, a->out_format,
		    agg_delimiter_of(a, a->out_format), columns->v,
		    values + (size_t)i * columns->n, columns->n);
	return n_rows;
}

/* Rows of groups. */
int
agg_put_groups(struct agg *a, const char *batch, const char *batch_time,
    uint64_t *n_rows, struct mb_err *err)
{
	const char delimiter = agg_delimiter_of(a, a->out_format);
	const size_t n_stamps = a->cfg->is_stamped ? MB_STAMPS : 0;
	struct mb_names columns = { 0 };
	struct mb_buf stamps = { 0 };
	struct mb_value *values;
	bool is_csv;
	int rc;

	(void)agg_list_columns(a, &columns);
	is_csv = a->out_format == MB_CSV && columns.n > 1;
	values = mb_realloc_array(NULL, columns.n * MB_ROWS, sizeof *values);
	for (size_t i = 0; n_stamps > 0 && i < MB_ROWS; i++)
		stamp(values + i * columns.n, batch, batch_time);
	if (is_csv && n_stamps > 0) {
		mb_write_row(&stamps, MB_CSV, delimiter, columns.v, values,
		    n_stamps);
		stamps.p[stamps.len - 1] = delimiter;	/* the row goes on */
	}
	*n_rows = 0;
	for (;;) {
		rc = is_csv ? mb_work_next_csv(a->work, &a->out,
		    (struct mb_str){ stamps.p, stamps.len }, delimiter, err) :
		    put_rows(a, &columns, values, n_stamps, err);
		if (rc <= 0)
			break;
		*n_rows += (uint64_t)rc;
		/* Frames wait: a later group may still fail the batch. */
		if (!a->is_framed_out && flush_if_full(a, err) < 0) {
			rc = -1;
			break;
		}
	}
	mb_buf_release(&stamps);
	free(values);
	mb_names_release(&columns);
	return rc;
}

/* `no record has the field "x"`, once each. */
void
agg_warn_missing(struct agg *a)
{
	const struct mb_query *q = &a->cfg->query;
	struct mb_work_counts counts = mb_work_counts(a->work);

	if (a->format != MB_NDJSON || counts.n_records == counts.n_rejects)
		return;
	for (size_t i = 0; i < q->fields.n; i++) {
		struct mb_buf text = { 0 };

		if (a->seen[i])
			continue;
		a->seen[i] = true;
		if (mb_work_saw(a->work, i))
			continue;
		mb_buf_adds(&text, "warning: no record has the field \"");
		mb_show(&text, q->fields.v[i]);
		mb_buf_addc(&text, '"');
		mb_progress_say(a->progress, mb_buf_str(&text));
		mb_buf_release(&text);
	}
}

/* Choose the output's format, and open the work for it. */
int
agg_set_formats(struct agg *a, enum mb_format format, char delimiter,
    struct mb_err *err)
{
	const struct config *cfg = a->cfg;
	enum mb_format out = cfg->has_out_format ? cfg->out_format : format;
	struct mb_work_config work = {
		.query = &cfg->query, .nulls = cfg->nulls,
		.n_nulls = cfg->n_nulls, .n_threads = cfg->n_threads,
		.is_stamped = cfg->is_stamped,
		.keeps_rejects = cfg->on_bad == ON_BAD_REJECT &&
		    (a->hello != NULL || cfg->rejects != NULL),
		.stops_at_reject = cfg->on_bad == ON_BAD_FAIL,
		.isa = cfg->isa,
	};

	if (!cfg->has_out_format && out == MB_LINES &&
	    (agg_aggregates(a) || cfg->is_stamped))
		out = MB_CSV;
	/* The header was written in the first format. */
	if (a->work != NULL && !a->is_framed_out && (out != a->out_format ||
	    (!cfg->has_out_format && format != a->format)))
		return mb_fail(err, MB_EUSAGE, "%s behind %s; give -F or -o",
		    mb_format_name(format), mb_format_name(a->format));
	a->format = format;
	if (a->work != NULL && out == a->out_format &&
	    delimiter == a->delimiter)
		return 0;
	mb_work_close(a->work);
	a->out_format = out;
	a->delimiter = delimiter;
	work.out_format = out;
	work.out_delimiter = agg_delimiter_of(a, out);
	return mb_work_open(&a->work, &work, err);
}
