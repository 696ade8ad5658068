#include "sink/deletes.h"

#include <stdlib.h>

#include "agg/expr.h"
#include "record/reader.h"

struct mb_deletes {
	const struct mb_sink_options *options;
	struct mb_expr *expr;
	struct mb_field_set fields;
	struct mb_str *nulls;
	struct mb_reader *reader;
};

int
mb_deletes_open(struct mb_deletes **out, const struct mb_sink_options *o,
    struct mb_err *err)
{
	struct mb_deletes *d = mb_zalloc(sizeof *d);

	*out = NULL;
	d->options = o;
	if (mb_expr_open(&d->expr, o->delete_when, &d->fields, err) < 0) {
		mb_deletes_close(d);
		return mb_wrap(err, "--delete-when");
	}
	d->nulls = mb_realloc_array(NULL, o->n_nulls, sizeof *d->nulls);
	for (size_t i = 0; i < o->n_nulls; i++)
		d->nulls[i] = mb_str(o->nulls[i]);
	*out = d;
	return 0;
}

void
mb_deletes_close(struct mb_deletes *d)
{
	if (d == NULL)
		return;
	mb_reader_close(d->reader);
	mb_expr_close(d->expr);
	mb_field_set_release(&d->fields);
	free(d->nulls);
	free(d);
}

int
mb_deletes_begin(struct mb_deletes *d, const struct mb_begin *b,
    const struct mb_names *header, struct mb_err *err)
{
	struct mb_reader_config config = {
		.delimiter = b->delimiter, .record_limit = b->record_limit,
		.nulls = d->nulls, .n_nulls = d->options->n_nulls,
		.fields = d->fields.v, .n_fields = d->fields.n,
	};

	mb_reader_close(d->reader);
	d->reader = NULL;
	if (mb_format_parse(&config.format, b->format, err) < 0)
		return -1;
	mb_reader_open(&d->reader, &config);
	return mb_reader_begin(d->reader, header, 0, err) < 0 ?
	    mb_wrap(err, "--delete-when") : 0;
}

int
mb_deletes_selects(struct mb_deletes *d, struct mb_str record,
    struct mb_err *err)
{
	struct mb_row row;
	int rc = mb_reader_next(d->reader, &record, true, &row, err);

	if (rc <= 0)
		return rc;
	return row.bad == NULL && mb_expr_selects(d->expr, row.values);
}
