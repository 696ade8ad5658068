/*
 * Of frames each batch is one:
 *
 *	begin		remembered; records that are passed through follow it
 *			at once, as soon as their columns are known
 *	records		[mb_work_feed]
 *	end		rejects kept, durably; rows written; end passed on
 *	abort		passed on, also for what can't be aggregated
 */
#include "agg.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agg/reject.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/line.h"
#include "base/parse.h"
#include "base/signals.h"
#include "journal/rejects.h"

struct batch {
	const struct mb_begin *begin;
	struct mb_names header;
	char number[24], time[MB_TIME_LEN + 1];
	struct mb_stream stream;
	bool has_begun;			/* our begin is written, no end yet */
	uint64_t n_bytes;		/* of records that arrived */
	uint64_t n_rows;		/* written */
	struct mb_buf kept;		/* all of it, for --stamp */
	struct mb_err failed;		/* why it will be aborted */
	int64_t started_us;
};

/* The journal of the stream: its lock, and where rejects go. */
static int
join_pipeline(struct agg *a, struct mb_err *err)
{
	const struct mb_hello *h = a->hello;
	const char *path = mb_journal_choose(a->cfg->journal,
	    getenv("MB_JOURNAL"), h->journal);
	uint64_t run_number;
	int rc;

	if (path == NULL)
		return 0;	/* rejects will miss it */
	if (mb_progress_open_journal(a->progress, &a->journal, path, 0,
	    err) < 0)
		return -1;
	if (strcmp(mb_journal_state(a->journal)->id, h->id) != 0)
		return mb_fail(err, MB_EUSAGE, "%s: not the journal of these "
		    "frames, which is %s", path, h->journal);
	if (h->is_replay)
		return 0;
	rc = mb_journal_lock(a->journal, MB_LOCK_PIPELINE, true, 10000000,
	    err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EBUSY, "%s: another mb-collect has "
		    "begun", path);
	return mb_journal_run(a->journal, &run_number, "agg", h->run,
	    a->cfg->argv, mb_clock_wall_ms(), err);
}

/*
 * A later mb-collect sends its batches again, and waits for us to go: between
 * two batches we do.  The journal was read when the last one had been passed
 * on, since nobody waits for us then.  A batch too many does no harm: mb-commit
 * drops it.
 */
static int
check_collector(struct agg *a, struct mb_err *err)
{
	const struct mb_state *s;

	if (a->journal == NULL || a->hello->is_replay)
		return 0;
	s = mb_journal_state(a->journal);
	if (s->collector_run == MB_NONE || s->collector_run <= a->hello->run)
		return 0;
	return mb_fail(err, MB_EBUSY, "%s: a later mb-collect has begun; "
	    "leaving the batches to it", mb_journal_path(a->journal));
}

/* The batch has left. */
static int
look_around(struct agg *a, struct mb_err *err)
{
	return a->journal == NULL ? 0 : mb_journal_refresh(a->journal, err);
}

static int
take_hello(struct agg *a, const struct mb_hello *h, struct mb_err *err)
{
	if (a->cfg->rejects != NULL)
		return mb_fail(err, MB_EUSAGE, "--rejects: for plain streams; "
		    "those of frames are kept beside the journal");
	/* From here on a signal lets the stream run out. */
	if (mb_signals_open(err) < 0)
		return -1;
	a->hello = mb_hello_copy(h, &a->stream_arena);
	a->is_framed_out = !a->cfg->is_plain && !isatty(STDOUT_FILENO);
	if (join_pipeline(a, err) < 0)
		return -1;
	if (!a->is_framed_out)
		return 0;
	mb_frame_put_hello(&a->out, a->hello);
	a->has_hello = true;
	return agg_flush(a, err);
}

/* What is known of an input field, by the name that it has there. */
static const struct mb_field *
find_field(const struct mb_begin *b, struct mb_str name)
{
	for (size_t i = 0; i < b->n_fields; i++)
		if (mb_str_eq(mb_str(b->fields[i].name), name))
			return &b->fields[i];
	return NULL;
}

static const char *
type_of_op(enum mb_agg_op op)
{
	switch (op) {
	case MB_COUNT:
	case MB_DISTINCT:
		return "int";
	case MB_AVG:
	case MB_VAR:
	case MB_STDDEV:
		return "double";
	default:
		return NULL;	/* as the values are */
	}
}

/* The fields of what we write; false: not known. */
static bool
fill_fields(struct agg *a, const struct mb_begin *in, struct mb_begin *out)
{
	static const char *const stamp_types[] = { "int", "timestamp", "text",
		"int" };
	const struct mb_query *q = &a->cfg->query;
	struct mb_names columns = { 0 };
	size_t n_stamps = !a->cfg->is_stamped ? 0 : agg_aggregates(a) ? MB_STAMPS :
	    MB_STAMPS_PASSED;
	struct mb_field *fields;
	bool ok = agg_list_columns(a, &columns);

	out->has_fields = ok;
	out->n_fields = columns.n;
	fields = mb_arena_alloc(&a->batch_arena,
	    (columns.n + 1) * sizeof *fields);
	for (size_t i = 0; i < columns.n; i++) {
		const struct mb_field *same = NULL;

		fields[i] = (struct mb_field){
			.name = mb_arena_dup(&a->batch_arena, columns.v[i].p,
			    columns.v[i].len) };
		if (i < n_stamps) {
			fields[i].type = stamp_types[i];
			continue;
		}
		if (!agg_aggregates(a))
			same = find_field(in, columns.v[i]);
		else if (i < n_stamps + q->n_keys)
			same = find_field(in,
			    q->fields.v[q->keys[i - n_stamps].field]);
		else
			fields[i].type = type_of_op(
			    q->aggs[i - n_stamps - q->n_keys].op);
		if (same != NULL) {
			fields[i].type = same->type;
			fields[i].agg = same->agg;
		}
		if (agg_aggregates(a) && i >= n_stamps + q->n_keys)
			fields[i].agg = mb_agg_op_name(
			    q->aggs[i - n_stamps - q->n_keys].op);
	}
	out->fields = fields;
	mb_names_release(&columns);
	return ok;
}

/* Our begin, once: the ranges end here, since the bytes are others now. */
static int
put_begin(struct agg *a, struct batch *b, struct mb_err *err)
{
	struct mb_begin out = *b->begin;
	char name[40];

	if (b->has_begun)
		return 0;
	b->has_begun = true;
	if (!a->is_framed_out) {
		snprintf(name, sizeof name, "batch %s", b->number);
		return agg_put_header(a, name, err);
	}
	out.ranges = NULL;
	out.n_ranges = 0;
	out.format = mb_format_name(a->out_format);
	out.delimiter = agg_delimiter_of(a, a->out_format);
	(void)fill_fields(a, b->begin, &out);
	mb_frame_put_begin(&a->out, a->hello->tag, &out);
	return 0;
}

/* What goes before the records of a batch, and isn't the batch's fault. */
static int
begin_batch(struct agg *a, struct batch *b, const struct mb_begin *begin,
    struct mb_err *err)
{
	const struct config *cfg = a->cfg;
	enum mb_format format = cfg->format;
	char delimiter = cfg->delimiter;

	/* Of a batch that was aborted threads may still look at the header. */
	if (a->work != NULL)
		mb_work_reset(a->work);
	mb_arena_reset(&a->batch_arena);
	b->begin = begin = mb_begin_copy(begin, &a->batch_arena);
	b->has_begun = false;
	b->n_bytes = b->n_rows = 0;
	b->failed = (struct mb_err){ 0 };
	b->started_us = mb_clock_steady_us();
	mb_buf_reset(&b->kept);
	mb_names_reset(&b->header);
	snprintf(b->number, sizeof b->number, "%" PRIu64, begin->batch);
	mb_format_time(b->time, begin->time_ms);
	if (!cfg->has_format && mb_format_parse(&format, begin->format, err) <
	    0)
		return -1;
	if (delimiter == '\0')
		delimiter = strcmp(begin->format, "csv") == 0 ?
		    begin->delimiter : ',';
	if (agg_set_formats(a, format, delimiter, err) < 0)
		return -1;
	for (size_t i = 0; i < begin->n_fields; i++)
		mb_names_add(&b->header, mb_str(begin->fields[i].name));
	b->stream = (struct mb_stream){
		.format = format, .delimiter = agg_delimiter_of(a, format),
		.record_limit = begin->record_limit,
		.header = begin->has_fields && !cfg->no_header &&
		    mb_format_has_header(format) ? &b->header : NULL,
		.batch = b->number, .batch_time = b->time,
	};
	if (agg_check_stamps(a, b->stream.header, err) < 0 ||
	    mb_work_begin(a->work, &b->stream, err) < 0)
		return mb_wrap(err, "batch %s", b->number);
	return 0;
}

/* --stamp of records passed through has to see the whole batch first. */
static bool
keeps_batch(const struct agg *a)
{
	return a->cfg->is_stamped && !agg_aggregates(a);
}

static int
feed_batch(struct agg *a, struct batch *b, struct mb_str *data, bool is_last,
    struct mb_err *err)
{
	const char *start = data->p;
	size_t n;

	if (b->failed.code != MB_OK) {
		data->p += data->len;
		data->len = 0;
	} else if (mb_work_feed(a->work, data, is_last, err) < 0) {
		return mb_wrap(err, "batch %s", b->number);
	}
	b->n_bytes += (size_t)(data->p - start);
	(void)mb_work_rejects(a->work, &n);
	if (n > 0 && a->cfg->on_bad == ON_BAD_FAIL &&
	    b->failed.code == MB_OK) {
		/* Which source it was is known at the batch's end. */
		b->failed.code = MB_EDATA;
		b->n_bytes += data->len;
		data->p += data->len;
		data->len = 0;
	}
	if (b->failed.code == MB_OK && mb_work_rows(a->work)->len > 0) {
		if (put_begin(a, b, err) < 0 || agg_put_passed(a, err) < 0)
			return -1;
	}
	return 0;
}

static int
put_abort(struct agg *a, struct batch *b, int status, const char *why,
    struct mb_err *err)
{
	if (!a->is_framed_out) {
		/* Rows without frames can't be taken back. */
		a->status = status;
		return 0;
	}
	if (put_begin(a, b, err) < 0)
		return -1;
	mb_frame_put_abort(&a->out, a->hello->tag, b->begin->batch, status,
	    why);
	b->has_begun = false;
	return agg_flush(a, err) < 0 ? -1 : look_around(a, err);
}

static void
say_failed(struct agg *a, const struct batch *b, const char *why)
{
	struct mb_buf text = { 0 };

	mb_buf_addf(&text, "batch %s failed: ", b->number);
	mb_show(&text, mb_str(why));
	mb_progress_say(a->progress, mb_buf_str(&text));
	mb_buf_release(&text);
}

/* The batch can't be aggregated: somebody has to look at it. */
static int
fail_batch(struct agg *a, struct batch *b, struct mb_err *err)
{
	int status = mb_exit_status(b->failed.code);

	say_failed(a, b, b->failed.msg);
	a->status = status;
	return put_abort(a, b, status, b->failed.msg, err);
}

/* Keep the rejects of the batch; a file of an earlier attempt is replaced. */
static int
publish_rejects(struct agg *a, struct batch *b, const struct mb_place *places,
    size_t n_places, struct mb_err *err)
{
	const struct mb_row_reject *r;
	struct mb_rejects *file;
	size_t n;
	int rc;

	r = mb_work_rejects(a->work, &n);
	if (a->journal == NULL && n > 0)
		return mb_fail(err, MB_EUSAGE, "batch %s: no journal at hand "
		    "to keep rejects beside; give -j, or --on-bad skip or "
		    "fail", b->number);
	if (a->journal == NULL)
		return 0;
	file = mb_rejects_open(a->journal, a->cfg->stage, b->begin->batch);
	for (size_t i = 0; i < n; i++) {
		const struct mb_place *p = mb_places_find(places, n_places,
		    r[i].off);

		mb_rejects_add(file, &(struct mb_rejected){
		    .source = p != NULL ? p->source : NULL,
		    .offset = p != NULL ? p->start + (r[i].off - p->from) :
		    MB_NONE,
		    .record = r[i].number, .length = r[i].end - r[i].off,
		    .data = r[i].data, .reason = r[i].reason });
	}
	rc = mb_rejects_publish(file, err);
	mb_rejects_close(file);
	return rc;
}

/* Keep the rejects, or let them fail the batch. */
static int
settle_rejects(struct agg *a, struct batch *b, const struct mb_place *places,
    size_t n_places, struct mb_err *err)
{
	struct mb_work_counts counts = mb_work_counts(a->work);
	const struct mb_row_reject *r;
	struct mb_buf first = { 0 }, line = { 0 };
	size_t n;

	if (a->cfg->on_bad == ON_BAD_REJECT &&
	    publish_rejects(a, b, places, n_places, err) < 0)
		return -1;
	r = mb_work_rejects(a->work, &n);
	if (n == 0)
		return 0;
	mb_reject_say(&first, r, mb_places_find(places, n_places, r->off));
	if (a->cfg->on_bad == ON_BAD_FAIL) {
		b->failed = (struct mb_err){ 0 };
		mb_fail(&b->failed, MB_EDATA, "%s", mb_buf_str(&first));
	} else {
		mb_buf_addf(&line, "batch %s: %" PRIu64 " bad record%s %s; "
		    "the first: %s", b->number, counts.n_rejects,
		    counts.n_rejects == 1 ? "" : "s",
		    a->cfg->on_bad == ON_BAD_SKIP ? "skipped" : "rejected",
		    mb_buf_str(&first));
		mb_progress_say(a->progress, mb_buf_str(&line));
	}
	mb_buf_release(&first);
	mb_buf_release(&line);
	return 0;
}

/* -v and --progress: what the journal knows of the batch. */
static void
report_batch(struct agg *a, const struct batch *b)
{
	const struct mb_batch *batch;
	struct mb_report report = {
		.emit_us = mb_clock_steady_us() - b->started_us,
	};

	if (a->journal == NULL ||
	    (!a->cfg->common.is_verbose && !a->cfg->common.is_json))
		return;
	batch = mb_state_batch(mb_journal_state(a->journal), b->begin->batch);
	if (batch != NULL)
		mb_progress_batch(a->progress, mb_journal_state(a->journal),
		    batch, &report);
}

static int
end_batch(struct agg *a, struct batch *b, struct mb_err *err)
{
	const struct mb_begin *begin = b->begin;
	struct mb_place *places = mb_arena_alloc(&a->batch_arena,
	    (begin->n_ranges + 1) * sizeof *places);
	size_t n_places, mark;
	struct mb_str nothing = MB_STR("");

	if (keeps_batch(a)) {
		struct mb_str all = { b->kept.p, b->kept.len };

		n_places = mb_places_make(places, begin->ranges,
		    begin->n_ranges, all.len);
		b->stream.places = places;
		b->stream.n_places = n_places;
		if (mb_work_begin(a->work, &b->stream, err) < 0 ||
		    feed_batch(a, b, all.len > 0 ? &all : &nothing, true,
		    err) < 0)
			return -1;
		if (b->kept.cap > AGG_FLUSH)
			mb_buf_release(&b->kept);
	} else {
		if (feed_batch(a, b, &nothing, true, err) < 0)
			return -1;
		n_places = mb_places_make(places, begin->ranges,
		    begin->n_ranges, b->n_bytes);
	}
	if (mb_work_finish(a->work, a->cfg->is_sorted, err) < 0 ||
	    settle_rejects(a, b, places, n_places, err) < 0)
		return -1;
	if (b->failed.code != MB_OK)
		return fail_batch(a, b, err);
	agg_warn_missing(a);
	mark = a->out.len;
	if (put_begin(a, b, err) < 0)
		return -1;
	b->n_rows = mb_work_counts(a->work).n_passed;
	if (agg_aggregates(a) && agg_put_groups(a, b->number, b->time, &b->n_rows,
	    err) < 0) {
		if (err->code != MB_EDATA)
			return -1;
		/* The batch's fault: take its rows back, and say so. */
		b->failed = *err;
		*err = (struct mb_err){ 0 };
		if (a->is_framed_out) {
			a->out.len = mark;
			b->has_begun = false;
		}
		return fail_batch(a, b, err);
	}
	if (a->is_framed_out)
		mb_frame_put_end(&a->out, a->hello->tag, begin->batch,
		    b->n_rows);
	b->has_begun = false;
	if (agg_flush(a, err) < 0 || look_around(a, err) < 0)
		return -1;
	report_batch(a, b);
	return 0;
}

/* One event; 1: the stream is done, with *status. */
static int
take_event(struct agg *a, struct batch *b, struct mb_frame_reader *reader,
    const struct mb_frame_event *ev, int *status, struct mb_err *err)
{
	struct mb_str data = ev->data;

	switch (ev->kind) {
	case MB_FRAME_HELLO:
		return take_hello(a, ev->hello, err);
	case MB_FRAME_BEGIN:
		return check_collector(a, err) < 0 ? -1 :
		    begin_batch(a, b, ev->begin, err);
	case MB_FRAME_DATA:
		if (keeps_batch(a)) {
			mb_buf_add(&b->kept, data.p, data.len);
			data.p += data.len;
		} else if (feed_batch(a, b, &data, ev->is_last, err) < 0) {
			return -1;
		}
		mb_frame_consume(reader, (size_t)(data.p - ev->data.p));
		return 0;
	case MB_FRAME_END:
		return end_batch(a, b, err);
	case MB_FRAME_ABORT:
		b->failed = (struct mb_err){ .code = MB_EDATA };
		if (!a->is_framed_out)
			say_failed(a, b, ev->error);
		return put_abort(a, b, ev->status, ev->error, err);
	case MB_FRAME_DONE:
		*status = ev->status;
		if (a->is_framed_out)
			mb_frame_put_done(&a->out, a->hello->tag, ev->status);
		return agg_flush(a, err) < 0 ? -1 : 1;
	}
	return mb_fail(err, MB_EBUG, "an event without a case");
}

int
agg_run_frames(struct agg *a, struct mb_frame_reader *reader, struct mb_err *err)
{
	struct batch b = { 0 };
	struct mb_frame_event ev;
	struct mb_err ignored = { 0 };
	int rc, status = 0;

	while ((rc = mb_frame_next(reader, &ev, err)) > 0) {
		rc = take_event(a, &b, reader, &ev, &status, err);
		if (rc < 0)
			break;
	}
	/*
	 * What can't be right by trying again is passed on, if no batch of
	 * ours is open; for everything else the missing done speaks.
	 */
	if (rc < 0 && a->has_hello && !b.has_begun &&
	    (err->code == MB_EUSAGE || err->code == MB_EDATA)) {
		mb_buf_reset(&a->out);
		mb_frame_put_done(&a->out, a->hello->tag,
		    mb_exit_status(err->code));
		(void)agg_flush(a, &ignored);
	}
	if (rc == 0 && status != 0)
		a->status = status;
	if (rc < 0) {
		/* As in begin_batch. */
		mb_work_close(a->work);
		a->work = NULL;
	}
	mb_names_release(&b.header);
	mb_buf_release(&b.kept);
	return rc;
}
