#include "agg/work_parts.h"

enum {
	/* mb_work_read returns with so much; without, all come in the end. */
	ROWS = 64 * 1024,
	REJECTS = 1,
	FED = 4 << 20,	/* at least; until what has stopped a reading is past */

	/* What a wrong guess costs is so much, to be read again. */
	GUESSED = 256 << 20,
	/* Before each guess the groups are merged, if they are few. */
	FEW = 4096,
};

static void
reset_job(struct job *job)
{
	job->counts = (struct mb_work_counts){ 0 };
	job->n_rejects = 0;
	job->is_guess = job->looks_for_control = job->is_control = false;
	mb_arena_reset(&job->arena);
	mb_buf_reset(&job->rows);
	job->err = (struct mb_err){ 0 };
}

/* Without a header the first record tells how many fields there are. */
static const struct mb_names *
header_of(const struct mb_work *w)
{
	if (w->stream.header != NULL || w->numbered.n == 0)
		return w->stream.header;
	return &w->numbered;
}

/* The bytes of a job's block. */
static int
find_bytes(struct mb_work *w, struct worker *worker, struct job *job,
    struct mb_str *data)
{
	uint64_t pos;

	*data = (struct mb_str){ job->data.p, job->data.len };
	if (!job->is_read)
		return 0;
	if (mb_reading_take(w->reading, &job->block, &worker->block, data,
	    &pos, &job->err) < 0)
		return -1;
	job->off = pos + w->shift;
	return 0;
}

/*
 * Where a job has come to that was to go through the bytes up to `end`: others
 * may have to know.
 */
static void
report(struct mb_work *w, struct job *job, uint64_t end)
{
	if (job->is_guess) {
		if (!job->is_control && job->n_rejects == 0 &&
		    job->err.code == MB_OK)
			return;
		mb_reading_doubt(w->reading);
		reset_job(job);
	} else if (job->looks_for_control) {
		/* Of a line that is too long some is gone from the data. */
		mb_reading_leave(w->reading, (size_t)(end - job->end),
		    job->is_control);
	}
}

/* Runs in a thread of the crew. */
static void
run_job(void *context, unsigned number, unsigned slot)
{
	struct mb_work *w = context;
	struct worker *worker = &w->workers[number];
	struct job *job = &w->jobs[1 + slot];
	struct mb_str data;
	uint64_t end = 0;

	reset_job(job);
	job->is_guess = job->is_read && w->way == MB_READING_GUESSED;
	job->looks_for_control = job->is_read && w->way != MB_READING_IN_TURN;
	job->end = 0;
	/* The bytes first, if it isn't well equipped: others wait for them. */
	if (find_bytes(w, worker, job, &data) == 0) {
		job->end = job->off;
		end = job->off + data.len;
		if (mb_work_equip(w, worker, &job->err) == 0 &&
		    mb_reader_begin(worker->reader, header_of(w), job->off,
		    &job->err) == 0)
			(void)mb_work_take(w, worker, job, &data,
			    !job->is_read || w->way != MB_READING_ALONE);
	}
	report(w, job, end);
}

/* Put a job's results behind those of the jobs before. */
static int
collect(struct mb_work *w, struct job *job, struct mb_err *err)
{
	size_t n = w->cfg.keeps_rejects ? job->n_rejects :
	    job->n_rejects > 0 && w->counts.n_rejects == 0;

	if (w->n_rejects + n > w->cap_rejects) {
		w->cap_rejects = 2 * (w->n_rejects + n);
		w->rejects = mb_realloc_array(w->rejects, w->cap_rejects,
		    sizeof *w->rejects);
	}
	for (size_t i = 0; i < n; i++) {
		struct mb_row_reject r = job->rejects[i];

		r.number += w->counts.n_records;
		r.data.p = mb_arena_dup(&w->arena, r.data.p, r.data.len);
		r.reason = mb_arena_dup(&w->arena, r.reason,
		    strlen(r.reason));
		w->rejects[w->n_rejects++] = r;
	}
	w->counts.n_records += job->counts.n_records;
	w->counts.n_rejects += job->counts.n_rejects;
	w->counts.n_passed += job->counts.n_passed;
	mb_buf_add(&w->rows, job->rows.p, job->rows.len);
	if (job->err.code != MB_OK)
		return mb_fail(err, job->err.code, "%s", job->err.msg);
	return 0;
}

void
mb_work_drop_jobs(struct mb_work *w)
{
	while (w->crew != NULL && mb_crew_wait(w->crew) >= 0)
		;
}

static int
wait_for_jobs(struct mb_work *w, struct mb_err *err)
{
	int slot, rc = 0;

	while (w->crew != NULL && (slot = mb_crew_wait(w->crew)) >= 0)
		if (rc == 0)
			rc = collect(w, &w->jobs[1 + slot], err);
	return rc;
}

/* The slot of the next job; if need be its last result is taken. */
static int
next_job(struct mb_work *w, struct job **out, struct mb_err *err)
{
	int slot;

	if (mb_crew_is_full(w->crew)) {
		slot = mb_crew_wait(w->crew);
		if (collect(w, &w->jobs[1 + slot], err) < 0)
			return -1;
	}
	*out = &w->jobs[1 + mb_crew_next(w->crew)];
	(*out)->sequence = w->sequence++;
	return 0;
}

static int
post(struct mb_work *w, const char *p, size_t len, struct mb_err *err)
{
	struct job *job;

	if (next_job(w, &job, err) < 0)
		return -1;
	mb_buf_reset(&job->data);
	mb_buf_add(&job->data, p, len);
	job->is_read = false;
	job->off = w->off;
	mb_crew_post(w->crew);
	return 0;
}

static int
post_block(struct mb_work *w, const struct mb_reading_block *b,
    struct mb_err *err)
{
	struct job *job;

	if (next_job(w, &job, err) < 0)
		return -1;
	job->is_read = true;
	job->block = *b;
	mb_crew_post(w->crew);
	return 0;
}

/* Hand on what is whole and at least so long. */
static int
post_whole(struct mb_work *w, struct mb_str *data, size_t at_least,
    struct mb_err *err)
{
	size_t len = (size_t)(w->split.complete - w->off);

	if (len < at_least || len == 0)
		return 0;
	if (post(w, data->p, len, err) < 0)
		return -1;
	data->p += len;
	data->len -= len;
	w->off += len;
	return 0;
}

/* From here on, which is between two records, one thread goes on. */
static int
go_alone(struct mb_work *w, struct mb_err *err)
{
	if (wait_for_jobs(w, err) < 0)
		return -1;
	w->is_parallel = false;
	w->n_seen = 0;
	return mb_reader_begin(w->workers[0].reader, header_of(w), w->off,
	    err);
}

static int
feed_crew(struct mb_work *w, struct mb_str *data, bool is_last,
    struct mb_err *err)
{
	uint64_t end = w->off + data->len, n;
	enum mb_split_result rc = MB_SPLIT_MORE;

	do {
		while (w->split.off < end) {
			size_t len = (size_t)(end - w->split.off);

			(void)mb_split_scan(&w->split,
			    data->p + (w->split.off - w->off),
			    len < BLOCK ? len : BLOCK, UINT64_MAX, &n);
			if (post_whole(w, data, BLOCK, err) < 0)
				return -1;
		}
		if (is_last)
			rc = mb_split_finish(&w->split, &n);
	} while (rc != MB_SPLIT_MORE);
	if (post_whole(w, data, is_last ? 0 : BLOCK / 2, err) < 0)
		return -1;
	if (is_last || mb_split_keep(&w->split) <= w->split.complete)
		return 0;
	/*
	 * A line that is already too long is for a reader, which needs no
	 * memory for it; the crew's blocks would.
	 */
	if (post_whole(w, data, 0, err) < 0 || go_alone(w, err) < 0)
		return -1;
	w->jobs[0].end = UINT64_MAX;	/* no record ends here */
	return 0;
}

/*
 * From here on, which is between two records, the stream's blocks are for
 * the crew.
 */
static int
gather_crew(struct mb_work *w, struct mb_err *err)
{
	size_t width = mb_reader_width(w->workers[0].reader);

	/* Once: jobs that are under way look at it. */
	if (w->stream.header == NULL && width > 0 && w->numbered.n == 0)
		mb_names_number(&w->numbered, width);
	if (w->crew != NULL)
		return 0;
	return mb_crew_open(&w->crew, w->cfg.n_threads, w->n_jobs, run_job, w,
	    err);
}

static int
go_parallel(struct mb_work *w, struct mb_err *err)
{
	if (gather_crew(w, err) < 0)
		return -1;
	mb_split_init(&w->split, w->stream.format, w->stream.delimiter,
	    w->stream.record_limit, w->off);
	w->is_parallel = true;
	return 0;
}

/* Is the stream large enough for blocks, and do these make its records? */
static bool
may_be_cut(const struct mb_work *w)
{
	bool is_table = w->stream.format == MB_CSV ||
	    w->stream.format == MB_TSV;

	return w->n_bytes > ALONE && !mb_work_needs_order(w) && (!is_table ||
	    w->stream.header != NULL ||
	    mb_reader_width(w->workers[0].reader) > 0);
}

static bool
may_go_parallel(const struct mb_work *w)
{
	return w->cfg.n_threads > 1 && may_be_cut(w);
}

/*
 * In the caller's thread, in steps, so that what follows may still be for
 * the crew: 1 if it is, 0 if all was looked at.
 */
static int
feed_alone(struct mb_work *w, struct mb_str *data, bool is_last,
    struct mb_err *err)
{
	struct job *job = &w->jobs[0];
	struct mb_str rest;
	size_t len;

	for (;;) {
		/* Never less than what the reader has seen and not taken. */
		len = data->len;
		if (w->cfg.n_threads > 1 && len - w->n_seen > BLOCK)
			len = w->n_seen + BLOCK;
		rest = (struct mb_str){ data->p, len };
		reset_job(job);
		job->sequence = w->sequence++;
		if (mb_work_take(w, &w->workers[0], job, &rest,
		    is_last && len == data->len) < 0)
			return mb_fail(err, job->err.code, "%s",
			    job->err.msg);
		if (collect(w, job, err) < 0)
			return -1;
		w->off += len - rest.len;
		if (w->n_bytes <= ALONE)
			w->n_bytes += len - rest.len;
		w->n_seen = rest.len;
		rest.len += data->len - len;	/* and what wasn't offered */
		*data = rest;
		if (w->n_seen == rest.len ||
		    (w->cfg.stops_at_reject && w->counts.n_rejects > 0))
			return 0;
		if (w->off == job->end && may_go_parallel(w))
			return 1;
	}
}

int
mb_work_feed(struct mb_work *w, struct mb_str *data, bool is_last,
    struct mb_err *err)
{
	int rc;

	/* Behind a record; in the middle of one its reader has to go on. */
	if (!w->is_parallel &&
	    (w->off != w->jobs[0].end || !may_go_parallel(w))) {
		rc = feed_alone(w, data, is_last, err);
		if (rc <= 0)
			return rc;
	}
	if (!w->is_parallel && go_parallel(w, err) < 0)
		return -1;
	if (feed_crew(w, data, is_last, err) < 0)
		return -1;
	/* The caller may begin another stream, or look at the counts. */
	return is_last ? wait_for_jobs(w, err) : 0;
}

bool
mb_work_may_read(const struct mb_work *w)
{
	return may_be_cut(w) && w->off >= w->read_from &&
	    (w->is_parallel || w->off == w->jobs[0].end);
}

static void
begin_reading(struct mb_work *w, const struct mb_span *span,
    enum mb_reading_way way)
{
	w->way = way;
	mb_reading_begin(w->reading, span, way, w->stream.format,
	    w->stream.delimiter, w->stream.record_limit);
}

/*
 * Is it worth while to guess?  What came of that can be forgotten as long as it
 * is groups; and to keep them apart must be cheap.
 */
static bool
may_guess(const struct mb_work *w, const struct mb_span *span)
{
	size_t n = 0;

	for (unsigned i = 0; i < w->cfg.n_threads; i++)
		if (w->workers[i].found.groups != NULL)
			n += mb_groups_count(w->workers[i].found.groups);
	return w->cfg.n_threads > 1 && !mb_work_passes(w) && !w->has_doubted &&
	    n <= FEW && span->end - span->pos > BLOCK;
}

static void
swap_findings(struct findings *a, struct findings *b)
{
	struct findings was = *a;

	*a = *b;
	*b = was;
}

/* What is sure goes out of the way of what is only guessed … */
static void
set_sure_apart(struct mb_work *w)
{
	struct findings *found = &w->workers[0].found;

	for (unsigned i = 1; i < w->cfg.n_threads; i++)
		mb_work_add_findings(w, found, &w->workers[i].found);
	if (w->sure.groups == NULL)
		mb_work_open_findings(w, &w->sure);
	swap_findings(found, &w->sure);
}

/* … and comes back, to that or in its place. */
static void
bring_sure_back(struct mb_work *w, bool was_right)
{
	struct findings *found = &w->workers[0].found;

	if (!was_right) {
		for (unsigned i = 0; i < w->cfg.n_threads; i++)
			mb_work_forget_findings(w, &w->workers[i].found);
		swap_findings(found, &w->sure);
	} else {
		mb_work_add_findings(w, found, &w->sure);
	}
}

/* Some of the span, if the guess is right. */
static int
read_guessed(struct mb_work *w, struct mb_span *span, struct mb_err *err)
{
	struct mb_work_counts counts = w->counts;
	struct mb_span part = *span;
	struct mb_reading_block b;

	if (part.end - part.pos > GUESSED)
		part.end = part.pos + GUESSED;
	set_sure_apart(w);
	begin_reading(w, &part, MB_READING_GUESSED);
	while (mb_reading_next(w->reading, &b))
		if (post_block(w, &b, err) < 0)
			return -1;
	if (wait_for_jobs(w, err) < 0)
		return -1;
	/* Nothing at all is no good guess either. */
	w->has_doubted = mb_reading_is_doubtful(w->reading) ||
	    mb_reading_pos(w->reading) == span->pos;
	bring_sure_back(w, !w->has_doubted);
	if (w->has_doubted)
		w->counts = counts;
	else
		span->pos = mb_reading_pos(w->reading);
	return 0;
}

int
mb_work_read(struct mb_work *w, struct mb_span *span, struct mb_err *err)
{
	struct mb_reading_block b;

	if (!w->is_reading) {
		/* The crew is told the width that one thread has found. */
		if (gather_crew(w, err) < 0 || go_alone(w, err) < 0)
			return -1;
		w->shift = w->off - span->pos;
		while (may_guess(w, span))
			if (read_guessed(w, span, err) < 0)
				return -1;
		begin_reading(w, span, w->cfg.n_threads == 1 ?
		    MB_READING_ALONE : MB_READING_IN_TURN);
		w->is_reading = true;
	}
	while (mb_reading_next(w->reading, &b)) {
		if (post_block(w, &b, err) < 0)
			return -1;
		if (w->rows.len >= ROWS || w->n_rejects >= REJECTS)
			return 1;
	}
	if (wait_for_jobs(w, err) < 0)
		return -1;
	w->is_reading = false;
	span->pos = mb_reading_pos(w->reading);
	w->off = w->jobs[0].end = span->pos + w->shift;
	w->read_from = w->off + FED;
	return go_alone(w, err);
}

int
mb_work_finish(struct mb_work *w, bool is_sorted, struct mb_err *err)
{
	struct findings *found = &w->workers[0].found;

	if (wait_for_jobs(w, err) < 0)
		return -1;
	for (unsigned i = 1; i < w->cfg.n_threads; i++) {
		const struct findings *from = &w->workers[i].found;

		if (from->groups == NULL)
			continue;	/* it had nothing to do */
		mb_groups_include(found->groups, from->groups);
		for (size_t k = 0; k < w->cfg.query->fields.n; k++)
			found->saw[k] |= from->saw[k];
	}
	return mb_work_passes(w) ? 0 :
	    mb_groups_finish(found->groups, is_sorted, err);
}
