#include "agg/work_parts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/line.h"
#include "base/parse.h"
#include "record/writer.h"

const char *const mb_stamp_names[] = { "batch", "batch_time", "source",
	"offset" };

bool
mb_work_passes(const struct mb_work *w)
{
	return !mb_query_aggregates(w->cfg.query);
}

/* Records that pass in their own format keep their bytes. */
static bool
converts(const struct mb_work *w)
{
	return mb_work_passes(w) && w->cfg.out_format != w->stream.format;
}

/* The columns are those of the first record. */
static bool
finds_columns(const struct mb_work *w)
{
	return converts(w) && w->stream.format == MB_NDJSON &&
	    w->cfg.out_format != MB_LINES;
}

bool
mb_work_needs_order(const struct mb_work *w)
{
	return (finds_columns(w) && !w->has_columns) ||
	    (mb_work_passes(w) && w->cfg.is_stamped && w->stream.n_places == 0);
}

/*
 * Findings.
 */

void
mb_work_open_findings(const struct mb_work *w, struct findings *f)
{
	mb_groups_open(&f->groups, w->cfg.query, w->seed);
	f->saw = mb_zalloc(w->cfg.query->fields.n * sizeof *f->saw);
}

static void
close_findings(struct findings *f)
{
	mb_groups_close(f->groups);
	free(f->saw);
}

void
mb_work_forget_findings(const struct mb_work *w, struct findings *f)
{
	if (f->groups == NULL)
		return;
	mb_groups_reset(f->groups);
	memset(f->saw, 0, w->cfg.query->fields.n * sizeof *f->saw);
}

void
mb_work_add_findings(const struct mb_work *w, struct findings *f,
    struct findings *from)
{
	if (from->groups == NULL)
		return;
	mb_groups_merge(f->groups, from->groups);
	for (size_t i = 0; i < w->cfg.query->fields.n; i++)
		f->saw[i] |= from->saw[i];
	mb_work_forget_findings(w, from);
}

/* What the query needs, whatever the stream. */
static int
equip(struct mb_work *w, struct worker *worker, struct mb_err *err)
{
	struct mb_field_set fields = w->cfg.query->fields;

	mb_work_open_findings(w, &worker->found);
	/* The query knows all the fields, so the set stays as it is. */
	if (w->cfg.query->where != NULL && mb_expr_open(&worker->where,
	    w->cfg.query->where, &fields, err) < 0)
		return -1;
	assert(fields.n == w->cfg.query->fields.n);
	return 0;
}

int
mb_work_open(struct mb_work **out, const struct mb_work_config *cfg,
    struct mb_err *err)
{
	struct mb_work *w = mb_zalloc(sizeof *w);

	*out = NULL;
	*w = (struct mb_work){ .cfg = *cfg };
	if (w->cfg.n_threads == 0)
		w->cfg.n_threads = 1;
	w->n_jobs = w->cfg.n_threads * JOBS_PER_THREAD;
	w->reading = mb_reading_open();
	w->workers = mb_zalloc(w->cfg.n_threads * sizeof *w->workers);
	w->jobs = mb_zalloc((1 + w->n_jobs) * sizeof *w->jobs);
	if (mb_random(&w->seed, sizeof w->seed, err) < 0)
		goto fail;
	if (equip(w, &w->workers[0], err) < 0)
		goto fail;
	*out = w;
	return 0;
fail:
	mb_work_close(w);
	return -1;
}

static void
close_readers(struct mb_work *w)
{
	for (unsigned i = 0; i < w->cfg.n_threads; i++) {
		mb_reader_close(w->workers[i].reader);
		mb_reader_close(w->workers[i].whole);
		w->workers[i].reader = w->workers[i].whole = NULL;
	}
	w->is_open = false;
}

void
mb_work_close(struct mb_work *w)
{
	if (w == NULL)
		return;
	mb_crew_close(w->crew);
	mb_reading_close(w->reading);
	close_readers(w);
	for (unsigned i = 0; i < w->cfg.n_threads; i++) {
		mb_expr_close(w->workers[i].where);
		close_findings(&w->workers[i].found);
		mb_buf_release(&w->workers[i].text);
		mb_buf_release(&w->workers[i].block);
	}
	close_findings(&w->sure);
	for (unsigned i = 0; i <= w->n_jobs; i++) {
		mb_buf_release(&w->jobs[i].data);
		mb_buf_release(&w->jobs[i].rows);
		mb_arena_release(&w->jobs[i].arena);
		free(w->jobs[i].rejects);
	}
	free(w->workers);
	free(w->jobs);
	free(w->rejects);
	mb_names_release(&w->numbered);
	mb_names_release(&w->columns);
	mb_arena_release(&w->arena);
	mb_buf_release(&w->rows);
	free(w);
}

/* What the stream needs: its format is known. */
static void
open_reader(struct mb_work *w, struct worker *worker)
{
	const struct mb_query *q = w->cfg.query;
	struct mb_reader_config cfg = {
		.format = w->format, .delimiter = w->delimiter,
		.record_limit = w->record_limit,
		.nulls = w->cfg.nulls, .n_nulls = w->cfg.n_nulls,
		.fields = q->fields.v, .n_fields = q->fields.n,
		.isa = w->cfg.isa,
	};

	mb_reader_open(&worker->reader, &cfg);
	cfg.wants_all = true;
	if (mb_work_passes(w) && w->format != w->cfg.out_format)
		mb_reader_open(&worker->whole, &cfg);
}

int
mb_work_equip(struct mb_work *w, struct worker *worker, struct mb_err *err)
{
	if (worker->found.groups == NULL && equip(w, worker, err) < 0)
		return -1;
	if (worker->reader == NULL)
		open_reader(w, worker);
	return 0;
}

static void
open_readers(struct mb_work *w, const struct mb_stream *s)
{
	close_readers(w);
	w->format = s->format;
	w->delimiter = s->delimiter;
	w->record_limit = s->record_limit;
	open_reader(w, &w->workers[0]);
	w->is_open = true;
}

/* Give back what a large batch needed. */
static void
shrink(struct mb_buf *b)
{
	mb_buf_reset(b);
	if (b->cap > KEPT)
		mb_buf_release(b);
}

void
mb_work_reset(struct mb_work *w)
{
	mb_work_drop_jobs(w);
	w->is_reading = false;
	w->has_doubted = false;
	for (unsigned i = 0; i < w->cfg.n_threads; i++) {
		mb_work_forget_findings(w, &w->workers[i].found);
		mb_buf_release(&w->workers[i].block);
	}
	mb_work_forget_findings(w, &w->sure);
	w->counts = (struct mb_work_counts){ 0 };
	w->has_columns = false;
	w->sequence = 0;
	w->n_bytes = 0;
	mb_work_forget_rejects(w);
	shrink(&w->rows);
	for (unsigned i = 0; i <= w->n_jobs; i++) {
		mb_buf_release(&w->jobs[i].data);
		shrink(&w->jobs[i].rows);
	}
}

/* Columns of records passed through, where they are known by now. */
static void
set_columns(struct mb_work *w)
{
	struct mb_names names = { 0 };

	if (!mb_work_passes(w) || w->has_columns || finds_columns(w))
		return;
	if (w->stream.format == MB_LINES)
		mb_names_add(&names, MB_STR("line"));
	else if (w->stream.format != MB_NDJSON && w->stream.header != NULL)
		mb_names_copy(&names, w->stream.header);
	else
		return;
	mb_names_reset(&w->columns);
	mb_names_copy(&w->columns, &names);
	mb_names_release(&names);
	w->has_columns = true;
}

int
mb_work_begin(struct mb_work *w, const struct mb_stream *s,
    struct mb_err *err)
{
	if (!w->is_open || w->format != s->format ||
	    w->delimiter != s->delimiter || w->record_limit != s->record_limit)
		open_readers(w, s);
	w->stream = *s;
	w->off = s->off;
	w->n_seen = 0;
	w->read_from = 0;
	w->is_parallel = false;
	mb_names_reset(&w->numbered);
	set_columns(w);
	return mb_reader_begin(w->workers[0].reader, s->header, s->off, err);
}

/*
 * One record.
 */

const struct mb_place *
mb_places_find(const struct mb_place *places, size_t n, uint64_t off)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (places[middle].from <= off)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? &places[low - 1] : NULL;
}

static void
add_reject(struct mb_work *w, struct job *job, const struct mb_row *row,
    const char *reason)
{
	job->counts.n_rejects++;
	if (!w->cfg.keeps_rejects && job->n_rejects > 0)
		return;
	if (job->n_rejects == job->cap_rejects) {
		job->cap_rejects = job->cap_rejects == 0 ? 8 :
		    job->cap_rejects * 2;
		job->rejects = mb_realloc_array(job->rejects,
		    job->cap_rejects, sizeof *job->rejects);
	}
	job->rejects[job->n_rejects++] = (struct mb_row_reject){
		.number = job->counts.n_records,
		.off = row->off, .end = row->end,
		.data = { mb_arena_dup(&job->arena, row->raw.p, row->raw.len),
		    row->raw.len },
		.reason = mb_arena_dup(&job->arena, reason, strlen(reason)),
	};
}

/*
 * Why the reader calls it bad.  Without a header the crew's readers were given
 * the first record's width as one; the message must not tell.
 */
static const char *
reason_of(const struct mb_work *w, struct worker *worker, const char *reason)
{
	static const char header[] = ", the header has ";
	const char *at = strstr(reason, header);

	if (w->stream.header != NULL || at == NULL)
		return reason;
	mb_buf_reset(&worker->text);
	mb_buf_add(&worker->text, reason, (size_t)(at - reason));
	mb_buf_adds(&worker->text, ", the first record has ");
	mb_buf_adds(&worker->text, at + sizeof header - 1);
	return mb_buf_str(&worker->text);
}

/* `bytes: not a number: "abc"` */
static const char *
not_a_number(struct worker *worker, struct mb_str field, struct mb_value v)
{
	struct mb_buf *b = &worker->text;

	mb_buf_reset(b);
	mb_show(b, field);
	mb_buf_adds(b, ": not a number: \"");
	mb_show(b, (struct mb_str){ v.p, v.len < 60 ? v.len : 60 });
	mb_buf_adds(b, v.len > 60 ? "...\"" : "\"");
	return mb_buf_str(b);
}

/* The values of batch, batch_time, source and offset; digits need 21 bytes. */
static void
stamp(const struct mb_work *w, const struct job *job, uint64_t off,
    struct mb_value *values, char *digits)
{
	const struct mb_place *place = mb_places_find(w->stream.places,
	    w->stream.n_places, off);
	const char *source = place != NULL ? place->source : NULL;
	size_t i = 21, end = i;

	/* Without places one thread does it all, so that it can count. */
	off = place != NULL ? place->start + (off - place->from) :
	    w->counts.n_records + job->counts.n_records;
	do
		digits[--i] = (char)('0' + off % 10);
	while ((off /= 10) > 0);
	for (int k = 0; k < MB_STAMPS_PASSED; k++)
		values[k] = mb_value_null();
	if (w->stream.batch != NULL)
		values[0] = (struct mb_value){ w->stream.batch,
			strlen(w->stream.batch), MB_NUMBER };
	if (w->stream.batch_time != NULL)
		values[1] = (struct mb_value){ w->stream.batch_time,
			strlen(w->stream.batch_time), MB_TEXT };
	if (source != NULL)
		values[2] = (struct mb_value){ source, strlen(source),
			MB_TEXT };
	values[3] = (struct mb_value){ digits + i, end - i, MB_NUMBER };
}

/* A record with its own bytes, and perhaps with stamps in front. */
static void
pass_bytes(struct mb_work *w, struct job *job, const struct mb_row *row)
{
	struct mb_value values[MB_STAMPS_PASSED];
	struct mb_str names[MB_STAMPS_PASSED];
	struct mb_str raw = row->raw;
	struct mb_buf *out = &job->rows;
	char digits[21];

	if (w->cfg.is_stamped) {
		stamp(w, job, row->off, values, digits);
		for (int i = 0; i < MB_STAMPS_PASSED; i++)
			names[i] = mb_str(mb_stamp_names[i]);
		mb_write_row(out, w->cfg.out_format, w->cfg.out_delimiter,
		    names, values, MB_STAMPS_PASSED);
		assert(out->len > 0 && out->p[out->len - 1] == '\n');
		out->len--;
		if (w->cfg.out_format == MB_NDJSON) {
			/* {"batch":…} and {…}: one object. */
			out->len--;
			while (*raw.p != '{')
				raw = (struct mb_str){ raw.p + 1,
					raw.len - 1 };
			raw = (struct mb_str){ raw.p + 1, raw.len - 1 };
			if (raw.p[strspn(raw.p, " \t\r")] != '}')
				mb_buf_addc(out, ',');
		} else {
			mb_buf_addc(out, w->cfg.out_format == MB_CSV ?
			    w->cfg.out_delimiter : '\t');
		}
	}
	mb_buf_add(out, raw.p, raw.len);
	/* The last one may have no end. */
	if (raw.len == 0 || (raw.p[raw.len - 1] != '\n' &&
	    !(w->cfg.out_format == MB_CSV && raw.p[raw.len - 1] == '\r')))
		mb_buf_addc(out, '\n');
}

/* A record in another format.  False: it is bad, and why. */
static bool
pass_converted(struct mb_work *w, struct worker *worker, struct job *job,
    const struct mb_row *row, const char **why)
{
	struct mb_err ignored = { 0 };
	struct mb_arena arena = { 0 };
	struct mb_str raw = row->raw;
	struct mb_row all;
	struct mb_value *values, *to;
	const struct mb_str *names;
	char digits[21];
	size_t n_stamps = w->cfg.is_stamped ? MB_STAMPS_PASSED : 0;
	size_t n, stranger;
	bool ok = true;

	/* The crew's blocks come after this was done, and all look at it. */
	if (w->stream.header == NULL && !w->is_parallel && !w->is_reading)
		mb_names_number(&w->numbered, mb_reader_width(worker->reader));
	/* The first reader has judged the record; this one can't fail. */
	if (mb_reader_begin(worker->whole, w->stream.header != NULL ?
	    w->stream.header : &w->numbered, row->off, &ignored) < 0 ||
	    mb_reader_next(worker->whole, &raw, true, &all, &ignored) <= 0 ||
	    all.bad != NULL) {
		*why = all.bad != NULL ? all.bad : "it can't be converted";
		return false;
	}
	if (finds_columns(w) && !w->has_columns) {
		mb_names_reset(&w->columns);
		for (size_t i = 0; i < all.n; i++)
			mb_names_add(&w->columns, all.names[i]);
		w->has_columns = true;
	}
	names = all.names;
	n = all.n;
	if (w->has_columns && w->stream.format == MB_NDJSON) {
		names = w->columns.v;
		n = w->columns.n;
	} else if (names == NULL) {
		names = w->numbered.v;
	}
	values = mb_arena_alloc(&arena, (n_stamps + n) * sizeof *values);
	to = values + n_stamps;
	if (w->has_columns && w->stream.format == MB_NDJSON) {
		ok = mb_row_align(to, &w->columns, all.names, all.values,
		    all.n, &stranger);
		if (!ok) {
			mb_buf_reset(&worker->text);
			mb_buf_adds(&worker->text, "the batch's first record "
			    "has no \"");
			mb_show(&worker->text, all.names[stranger]);
			mb_buf_addc(&worker->text, '"');
			*why = mb_buf_str(&worker->text);
		}
	} else if (n > 0) {
		memcpy(to, all.values, n * sizeof *to);
	}
	if (ok && n_stamps > 0) {
		struct mb_str *named = mb_arena_alloc(&arena,
		    (n_stamps + n) * sizeof *named);

		stamp(w, job, row->off, values, digits);
		for (size_t i = 0; i < n_stamps; i++)
			named[i] = mb_str(mb_stamp_names[i]);
		for (size_t i = 0; i < n; i++)
			named[n_stamps + i] = names[i];
		names = named;
	}
	if (ok)
		mb_write_row(&job->rows, w->cfg.out_format,
		    w->cfg.out_delimiter, names, values, n_stamps + n);
	mb_arena_release(&arena);
	return ok;
}

static void
take_row(struct mb_work *w, struct worker *worker, struct job *job,
    const struct mb_row *row)
{
	const struct mb_query *q = w->cfg.query;
	const char *why;
	size_t culprit;

	job->counts.n_records++;
	if (row->bad != NULL) {
		add_reject(w, job, row, reason_of(w, worker, row->bad));
		return;
	}
	if (worker->where != NULL &&
	    !mb_expr_selects(worker->where, row->values))
		return;
	if (!mb_work_passes(w)) {
		if (!mb_groups_add(worker->found.groups, row->values,
		    job->sequence << 32 | job->counts.n_records, &culprit))
			add_reject(w, job, row, not_a_number(worker,
			    q->fields.v[culprit], row->values[culprit]));
		return;
	}
	if (!converts(w)) {
		pass_bytes(w, job, row);
	} else if (!pass_converted(w, worker, job, row, &why)) {
		add_reject(w, job, row, why);
		return;
	}
	job->counts.n_passed++;
}

static bool
must_stop(const struct mb_work *w, const struct job *job)
{
	return job->n_rejects > 0 && (w->cfg.stops_at_reject || job->is_guess);
}

/* Many records at once, and the odd ones among them one by one. */
static int
take_ahead(struct mb_work *w, struct worker *worker, struct job *job,
    struct mb_rows *rows)
{
	uint64_t before = job->counts.n_records;
	struct mb_row row;

	if (worker->where != NULL)
		mb_expr_select(worker->where, rows, w->cfg.query->fields.n);
	mb_groups_add_rows(worker->found.groups, rows,
	    (job->sequence << 32) + before + 1);
	for (size_t i = 0; i < rows->n_odd; i++) {
		job->counts.n_records = before + rows->odd[i];
		if (mb_reader_read(worker->reader, rows->odd[i], &row,
		    &job->err) < 0)
			return -1;
		take_row(w, worker, job, &row);
		if (must_stop(w, job))
			return 0;
	}
	job->counts.n_records = before + rows->n_records;
	return 0;
}

/* Must the job stop in front of these records? */
static bool
is_control(struct job *job, const char *p, size_t len)
{
	return job->looks_for_control &&
	    (job->is_control = mb_reading_is_control(p, len));
}

/* The same of records that are to be taken at once. */
static bool
is_control_ahead(const struct mb_reader *reader, struct job *job,
    const struct mb_rows *rows)
{
	struct mb_str raw;

	if (!job->looks_for_control || !mb_reader_may_have_control(reader))
		return false;
	raw = mb_reader_raw(reader, 0, rows->n_records);
	return is_control(job, raw.p, raw.len);
}

int
mb_work_take(struct mb_work *w, struct worker *worker, struct job *job,
    struct mb_str *data, bool is_last)
{
	struct mb_rows *rows;
	struct mb_row row;
	const char *p;
	int rc;

	if (mb_work_passes(w) && is_control(job, data->p, data->len))
		return 0;
	for (;;) {
		if (!mb_work_passes(w) && (rows = mb_reader_ahead(worker->reader,
		    *data)) != NULL) {
			if (is_control_ahead(worker->reader, job, rows))
				return 0;
			if ((rc = take_ahead(w, worker, job, rows)) < 0)
				break;
			mb_reader_pass(worker->reader, data);
			job->end = mb_reader_off(worker->reader);
		} else {
			p = data->p;
			rc = mb_reader_next(worker->reader, data, is_last,
			    &row, &job->err);
			if (rc <= 0)
				break;
			if (!mb_work_passes(w) &&
			    is_control(job, p, (size_t)(data->p - p)))
				return 0;
			take_row(w, worker, job, &row);
			job->end = row.end;
		}
		if (must_stop(w, job))
			break;
	}
	if (w->stream.format == MB_NDJSON)
		for (size_t i = 0; i < w->cfg.query->fields.n; i++)
			worker->found.saw[i] |= mb_reader_saw(worker->reader, i);
	return rc < 0 ? -1 : 0;
}

int
mb_work_next(struct mb_work *w, struct mb_value *values, size_t stride,
    struct mb_err *err)
{
	return mb_groups_next(w->workers[0].found.groups, values, stride, err);
}

int
mb_work_next_csv(struct mb_work *w, struct mb_buf *out, struct mb_str prefix,
    char delimiter, struct mb_err *err)
{
	return mb_groups_next_csv(w->workers[0].found.groups, out, prefix,
	    delimiter, err);
}

struct mb_buf *
mb_work_rows(struct mb_work *w)
{
	return &w->rows;
}

const struct mb_names *
mb_work_columns(const struct mb_work *w)
{
	return w->has_columns ? &w->columns : NULL;
}

struct mb_work_counts
mb_work_counts(const struct mb_work *w)
{
	return w->counts;
}

const struct mb_row_reject *
mb_work_rejects(const struct mb_work *w, size_t *n)
{
	*n = w->n_rejects;
	return w->rejects;
}

void
mb_work_forget_rejects(struct mb_work *w)
{
	w->n_rejects = 0;
	mb_arena_reset(&w->arena);
}

bool
mb_work_saw(const struct mb_work *w, size_t i)
{
	return w->workers[0].found.saw[i];
}

bool
mb_work_lacks_numbers(const struct mb_work *w, size_t i)
{
	struct mb_number_count c = mb_groups_numbers(
	    w->workers[0].found.groups, i);

	return c.n_values > 0 && c.n_numbers == 0;
}
