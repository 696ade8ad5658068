/*
 * mb-commit - commit each batch to a target, atomically and exactly once.
 *
 *	STAGED [mb_sink_stage] -> commit lock -> journal says it may
 *	-> sink step, with marker [mb_sink_commit] -> `commit` appended
 *
 * Only mb-commit knows the sink.  Its marker decides what is committed; the
 * journal follows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/signals.h"
#include "common.h"
#include "frame/frame.h"
#include "journal/journal.h"
#include "journal/lines.h"
#include "journal/rejects.h"
#include "record/names.h"
#include "record/split.h"
#include "sink/options.h"
#include "sink/sink.h"

enum {
	KEY_GZIP = MB_OPT_LONG, KEY_MERGE_ON, KEY_MERGE, KEY_SCHEMA,
	KEY_ON_BAD, KEY_RETRY_FOR, KEY_PLAIN, KEY_NEW_TARGET, KEY_NULL,
	KEY_NO_HEADER,
};

static const struct mb_opt opts[] = {
	{ 'j', "journal", "FILE", "the journal (default $MB_JOURNAL, else the "
	    "frames')" },
	{ 'o', "output", "FORMAT", "csv, tsv, ndjson or lines, for dir: and - "
	    "(default: as it comes)" },
	{ KEY_GZIP, "gzip", NULL, "compress the files of dir:" },
	{ KEY_MERGE_ON, "merge-on", "FIELDS", "update rows with these keys, "
	    "insert new ones; null equals null (sqlite:)" },
	{ KEY_MERGE, "merge", "COL:HOW,...", "replace, sum, min, max or keep "
	    "(default replace)" },
	{ KEY_SCHEMA, "schema", "COL:TYPE,...", "types of a table that is made "
	    "(default: inferred from the first batch)" },
	{ KEY_ON_BAD, "on-bad", "reject|skip|fail", "records that don't fit "
	    "(default reject)" },
	{ KEY_NULL, "null", "TEXT", "a field that is TEXT is null; may be "
	    "repeated" },
	{ KEY_RETRY_FOR, "retry-for", "TIME", "try again, with back-off, while "
	    "that can help (default 30s)" },
	{ KEY_PLAIN, "plain", NULL, "take a stream without frames: one batch, "
	    "at-least-once" },
	{ 'F', "format", "FORMAT", "of a plain stream: csv, tsv, ndjson, "
	    "lines" },
	{ 'd', "delimiter", "CHAR", "of a plain csv stream (default ,)" },
	{ KEY_NO_HEADER, "no-header", NULL, "a plain csv or tsv stream has no "
	    "header" },
	{ KEY_NEW_TARGET, "new-target", NULL, "go on although the target isn't "
	    "the one, or lacks what, the journal knows" },
	MB_OPT_COMMON,
	{ 0 }
};

static const struct mb_cmd cmd = {
	.name = "mb-commit",
	.usage = "[options] TARGET",
	.summary = "Commit each batch to dir:PATH, sqlite:FILE#TABLE or - "
	    "(standard output), atomically and exactly once.",
	.opts = opts,
};

struct config {
	const char *journal, *target;
	struct mb_sink_options sink;
	int64_t retry_us;
	bool is_plain, has_header;
	const char *format;
	char delimiter;
	struct mb_common common;
	struct mb_arena arena;		/* what the option lists are in */
};

struct committer {
	const struct config *cfg;
	struct mb_sink_options sink_options;
	struct mb_frame_reader *in;
	struct mb_journal *journal;	/* NULL: a plain stream */
	struct mb_hello *hello;
	struct mb_sink *sink;
	enum mb_welcome welcome;
	struct mb_marker marker;	/* as last read or moved */
	uint64_t run;
	bool is_ordered, has_committed;
	struct mb_progress *progress;
	struct mb_arena arena;		/* hello */

	/* The batch in hand. */
	struct mb_arena batch_arena;
	struct mb_begin *begin;
	bool is_dropped;
	bool is_refused;	/* it was not tried: no failed attempt */
	struct mb_split split;
	struct mb_rejects *rejects;
	uint64_t n_records;		/* read so far */
	struct mb_report report;

	int upstream;			/* status of `done` */
};

static int
parse_args(struct config *cfg, int argc, char **argv, struct mb_err *err)
{
	enum mb_format format;
	const char *arg;
	int key;

	while ((key = mb_opt_next(&cmd, &argc, &argv, &arg, err)) > 0)
		switch (key) {
		case 'j':
			cfg->journal = arg;
			break;
		case 'o':
			if (mb_format_parse(&format, arg, err) < 0)
				return mb_wrap(err, "--output");
			cfg->sink.format = arg;
			break;
		case KEY_GZIP:
			cfg->sink.gzip = true;
			break;
		case KEY_MERGE_ON:
			if (mb_sink_parse_merge_on(&cfg->sink, &cfg->arena,
			    arg, err) < 0)
				return mb_wrap(err, "--merge-on");
			break;
		case KEY_MERGE:
			if (mb_sink_parse_merge(&cfg->sink, &cfg->arena, arg,
			    err) < 0)
				return mb_wrap(err, "--merge");
			break;
		case KEY_SCHEMA:
			if (mb_sink_parse_schema(&cfg->sink, &cfg->arena, arg,
			    err) < 0)
				return mb_wrap(err, "--schema");
			break;
		case KEY_ON_BAD:
			if (mb_sink_parse_on_bad(&cfg->sink.on_bad, arg,
			    err) < 0)
				return mb_wrap(err, "--on-bad");
			break;
		case KEY_NULL:
			mb_sink_add_null(&cfg->sink, arg);
			break;
		case KEY_RETRY_FOR:
			if (mb_parse_duration(&cfg->retry_us, arg, err) < 0)
				return mb_wrap(err, "--retry-for");
			break;
		case KEY_PLAIN:
			cfg->is_plain = true;
			break;
		case 'F':
			if (mb_format_parse(&format, arg, err) < 0)
				return mb_wrap(err, "--format");
			cfg->format = arg;
			break;
		case 'd':
			if (mb_delimiter_parse(&cfg->delimiter, arg, err) < 0)
				return mb_wrap(err, "--delimiter");
			break;
		case KEY_NO_HEADER:
			cfg->has_header = false;
			break;
		case KEY_NEW_TARGET:
			cfg->sink.accepts_new = true;
			break;
		default:
			key = mb_common_option(&cfg->common, &cmd, key, arg,
			    err);
			if (key != 0)
				return key;
			break;
		}
	if (key < 0)
		return -1;
	if (argc != 1)
		return mb_fail(err, MB_EUSAGE, argc == 0 ? "no TARGET: give "
		    "dir:PATH, sqlite:FILE#TABLE or -" :
		    "more than one TARGET");
	if (cfg->sink.n_merge > 0 && cfg->sink.n_merge_on == 0)
		return mb_fail(err, MB_EUSAGE, "--merge: needs --merge-on");
	cfg->target = argv[0];
	return 0;
}

static void
say(struct committer *c, uint64_t batch, const char *what)
{
	char text[600];

	snprintf(text, sizeof text, "batch %" PRIu64 ": %s", batch, what);
	mb_progress_say(c->progress, text);
}

/*
 * The journal's side.
 */

/* Is this stream's collector still the last one? */
static bool
is_superseded(const struct committer *c)
{
	const struct mb_state *s = mb_journal_state(c->journal);

	return s->collector_run != MB_NONE &&
	    s->collector_run > c->hello->run;
}

static int
put_commit(struct committer *c, uint64_t batch, uint64_t rows, bool was_found,
    uint64_t records, struct mb_buf *out, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	struct mb_commit line = {
		.batch = batch, .run = c->run, .time_ms = mb_clock_wall_ms(),
		.rows = rows, .was_found = was_found, .records = records,
		.held = was_found || rows > 0 ?
		    mb_marker_count(&c->marker) : 0,
		.target = mb_sink_target(c->sink),
		.target_id = mb_sink_target_id(c->sink),
	};

	if (line.target_id == NULL)
		line.target_id = "";	/* not made yet: no rows so far */
	/* Two committers may append in another order than they stepped. */
	if (line.held > 0 && line.held < s->held && !c->cfg->sink.accepts_new)
		line.held = s->held;
	mb_buf_reset(out);
	mb_put_commit(out, &line);
	return mb_journal_write(c->journal, out, err);
}

/* Every batch that is PLANNED and in the sink gets its `commit`. */
static int
settle_found(struct committer *c, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	struct mb_buf line = { 0 };
	size_t i = 0;
	int rc = 0;

	while (rc == 0 && i < s->n_batches) {
		const struct mb_batch *b = &s->batches[i];
		uint64_t number = b->number;

		i++;
		if (b->state == MB_COMMITTED || b->state == MB_VOID ||
		    !mb_marker_has(&c->marker, number))
			continue;
		rc = put_commit(c, number, 0, true, mb_batch_records(b), &line,
		    err);
		i = 0;		/* settled ones were dropped */
	}
	mb_buf_release(&line);
	return rc;
}

/*
 * Does the marker, as last read, fit the journal's state?  Sets c->welcome.
 * Pure but for that: it is asked again for each batch.
 */
static int
compare(struct committer *c, struct mb_err *err)
{
	struct mb_greeting g = {
		.state = mb_journal_state(c->journal), .marker = &c->marker,
		.target = mb_sink_target(c->sink),
		.target_id = mb_sink_target_id(c->sink),
		.is_replay = c->hello->is_replay,
		.has_no_marker = strcmp(c->cfg->target, "-") == 0,
		/* Once a batch is there it is the one. */
		.accepts_new = c->cfg->sink.accepts_new && !c->has_committed,
	};
	int rc = mb_marker_greet(&g, err);

	if (rc < 0)
		return -1;
	c->welcome = (enum mb_welcome)rc;
	return 0;
}

/* Read the marker again, and make it durable. */
static int
look_up(struct committer *c, struct mb_err *err)
{
	mb_marker_release(&c->marker);
	return mb_sink_lookup(c->sink, &c->marker, err);
}

/* At `hello`, under the commit lock. */
static int
greet(struct committer *c, struct mb_err *err)
{
	int rc;

	if (look_up(c, err) < 0 || mb_journal_enter(c->journal, err) < 0)
		return -1;
	rc = compare(c, err);
	if (rc == 0 && c->welcome == MB_OWN)
		rc = settle_found(c, err);
	mb_journal_leave(c->journal);
	return rc;
}

static int
lock_commit(struct committer *c, struct mb_err *err)
{
	return mb_journal_lock(c->journal, MB_LOCK_COMMIT, false, -1, err) <
	    0 ? -1 : 0;
}

static int
reject(void *arg, uint64_t record, struct mb_str data, const char *reason,
    struct mb_err *err)
{
	struct committer *c = arg;

	(void)err;
	if (c->rejects != NULL)
		mb_rejects_add(c->rejects, &(struct mb_rejected){
			.record = record, .length = data.len, .data = data,
			.reason = reason,
		});
	return 0;
}

static int
open_sink(struct committer *c, struct mb_err *err)
{
	c->sink_options = c->cfg->sink;
	c->sink_options.reject = reject;
	c->sink_options.reject_arg = c;
	c->sink_options.journal = c->journal != NULL ?
	    mb_journal_state(c->journal)->id :
	    "00000000000000000000000000000000";
	c->sink_options.journal_path = c->journal != NULL ?
	    mb_journal_path(c->journal) : "";
	return mb_sink_open(&c->sink, c->cfg->target, &c->sink_options, err);
}

static int
join(struct committer *c, const struct mb_hello *h, char **argv,
    struct mb_err *err)
{
	const char *path, *notice;
	int rc;

	c->hello = mb_hello_copy(h, &c->arena);
	path = mb_journal_choose(c->cfg->journal, getenv("MB_JOURNAL"),
	    c->hello->journal);
	if (path == NULL)
		return mb_fail(err, MB_EUSAGE, "%s: no such journal here, or "
		    "another user's: give -j FILE", c->hello->journal);
	if (mb_journal_open(&c->journal, path, 0, err) < 0)
		return -1;
	while ((notice = mb_journal_notice(c->journal)) != NULL)
		mb_progress_say(c->progress, notice);
	if (strcmp(mb_journal_state(c->journal)->id, c->hello->id) != 0)
		return mb_fail(err, MB_EUSAGE, "%s: is journal %.8s, but the "
		    "frames are of %.8s", mb_journal_path(c->journal),
		    mb_journal_state(c->journal)->id, c->hello->id);
	if (!c->hello->is_replay && mb_journal_lock(c->journal,
	    MB_LOCK_PIPELINE, true, -1, err) < 0)
		return -1;
	if (mb_journal_run(c->journal, &c->run, "commit", c->hello->run, argv,
	    mb_clock_wall_ms(), err) < 0)
		return -1;
	if (is_superseded(c))
		return mb_fail(err, MB_EBUSY, "%s: a later mb-collect has "
		    "started", mb_journal_path(c->journal));
	if (open_sink(c, err) < 0 || lock_commit(c, err) < 0)
		return -1;
	rc = greet(c, err);
	mb_journal_unlock(c->journal, MB_LOCK_COMMIT);
	return rc;
}

/*
 * A batch.
 */

/*
 * May the batch be committed?  1 yes, 0 it is dropped (said why), -1.  The
 * commit lock is held and the journal read.
 */
static int
may_commit(struct committer *c, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	uint64_t number = c->begin->batch;
	const struct mb_batch *b = mb_state_batch(s, number);

	if (is_superseded(c))
		return mb_fail(err, MB_EBUSY, "dropped: a later mb-collect "
		    "has started");
	if (number >= s->next_batch)
		return mb_fail(err, MB_ECORRUPT, "is not in the journal");
	if (b == NULL || b->state == MB_COMMITTED) {
		say(c, number, "is committed already; dropped");
		return 0;
	}
	if (strcmp(b->digest.hex, c->begin->digest.hex) != 0)
		return mb_fail(err, MB_ECORRUPT, "is not what the journal has "
		    "planned");
	if (b->state != MB_PLANNED &&
	    !(c->hello->is_replay && b->state == MB_PARKED)) {
		say(c, number, b->state == MB_PARKED ? "is parked; dropped" :
		    "is void; dropped");
		return 0;
	}
	if (!mb_state_may_commit(s, number, c->is_ordered))
		return mb_fail(err, MB_EBUSY, "a batch before it is not "
		    "settled");
	return 1;
}

/*
 * One attempt at the sink's step.  1 done, 0 try again later (*why says what
 * it was), -1 it can't be done.
 */
static int
try_step(struct committer *c, bool is_copy, struct mb_err *why,
    struct mb_err *err)
{
	static const struct mb_state nothing = { .rows_batch = MB_NONE };
	uint64_t number = c->begin->batch;
	struct mb_marker now;
	struct mb_err first = { 0 };
	int rc;

	if (mb_marker_has(&c->marker, number))
		return 1;
	mb_marker_copy(&now, &c->marker);
	mb_marker_add(&now, number, &c->begin->digest, c->journal != NULL ?
	    mb_journal_state(c->journal) : &nothing, is_copy);
	rc = mb_sink_commit(c->sink, &c->marker, &now, &first);
	if (rc == 0) {
		mb_marker_release(&c->marker);
		c->marker = now;
		c->has_committed = true;
		return 1;
	}
	mb_marker_release(&now);
	*why = first;
	if (first.code == MB_EBUSY)
		return 0;
	if (first.code != MB_EEXIST && first.code != MB_EIO) {
		*err = first;
		return -1;
	}
	/*
	 * The marker moved, or nobody knows: only the sink can tell.  What it
	 * says is compared with the journal before it is believed, because a
	 * copy of the journal may have moved it.
	 */
	if (look_up(c, err) < 0) {
		*err = first;	/* the cause */
		return -1;
	}
	if (c->journal != NULL && compare(c, err) < 0)
		return -1;
	if (mb_marker_has(&c->marker, number))
		return 1;
	if (first.code == MB_EEXIST)
		return 0;
	*err = first;
	return -1;
}

/* Append the `commit`, or `fail`; the append lock is taken and dropped. */
static int
append_commit(struct committer *c, uint64_t rows, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	struct mb_buf line = { 0 };
	const struct mb_batch *b;
	int rc = 0;

	if (mb_journal_enter(c->journal, err) < 0)
		return -1;
	b = mb_state_batch(s, c->begin->batch);
	if (b != NULL && b->state != MB_COMMITTED && b->state != MB_VOID)
		rc = put_commit(c, c->begin->batch, rows, false,
		    c->begin->records, &line, err);
	mb_journal_leave(c->journal);
	mb_buf_release(&line);
	return rc;
}

/* The journal holds no record content: what a message quotes is left out. */
static void
leave_out_quotes(struct mb_buf *out, const char *text)
{
	for (bool is_quoted = false; *text != '\0'; text++)
		if (*text == '"') {
			is_quoted = !is_quoted;
			mb_buf_adds(out, is_quoted ? "\"..." : "\"");
		} else if (!is_quoted) {
			mb_buf_addc(out, *text);
		}
}

static void
append_fail(struct committer *c, uint64_t batch, const char *reason)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	struct mb_err ignored = { 0 };
	struct mb_buf line = { 0 }, kept = { 0 };
	const struct mb_batch *b;

	/* What the sink has did not fail, whatever happened then. */
	if (c->welcome == MB_COPY || mb_marker_has(&c->marker, batch) ||
	    mb_journal_enter(c->journal, &ignored) < 0)
		return;
	b = mb_state_batch(s, batch);
	if (b != NULL && b->state == MB_PLANNED && !is_superseded(c)) {
		leave_out_quotes(&kept, reason);
		mb_put_fail(&line, batch, c->run, mb_clock_wall_ms(),
		    65,
		    mb_buf_str(&kept));
		if (mb_journal_write(c->journal, &line, &ignored) < 0)
			mb_progress_say(c->progress, ignored.msg);
	}
	mb_journal_leave(c->journal);
	mb_buf_release(&kept);
	mb_buf_release(&line);
}

/*
 * Others may have committed since the marker was read, and the sink may have
 * been restored behind our back: compare before every step.
 */
static int
compare_again(struct committer *c, struct mb_err *err)
{
	struct mb_err first = { 0 };

	if (mb_journal_refresh(c->journal, err) < 0)
		return -1;
	if (compare(c, &first) == 0)
		return 0;
	return look_up(c, err) < 0 ? -1 : compare(c, err);
}

/* One attempt, under the commit lock: as try_step; dropped counts as done. */
static int
attempt(struct committer *c, uint64_t rows, struct mb_err *why,
    struct mb_err *err)
{
	bool is_copy;
	int rc;

	if (c->journal == NULL)
		return rows > 0 ? try_step(c, true, why, err) : 1;
	if (lock_commit(c, err) < 0)
		return -1;
	rc = compare_again(c, err);
	is_copy = c->welcome == MB_COPY;
	if (rc == 0)
		rc = is_copy ? 1 : may_commit(c, err);
	c->is_refused = rc < 0;
	c->is_dropped = rc == 0;
	if (rc == 0)
		rc = 1;
	else if (rc > 0 && rows > 0)
		rc = try_step(c, is_copy, why, err);
	if (rc > 0 && !c->is_dropped && !is_copy &&
	    append_commit(c, rows, err) < 0)
		rc = -1;
	mb_journal_unlock(c->journal, MB_LOCK_COMMIT);
	return rc;
}

/* Wait a random part of a span that doubles: nobody keeps step. */
static void
back_off(int64_t *span_us)
{
	uint64_t random = 0;
	struct mb_err ignored = { 0 };

	if (mb_random(&random, sizeof random, &ignored) < 0)
		random = (uint64_t)*span_us;
	mb_clock_sleep((int64_t)(random % (uint64_t)*span_us) + 1);
	if (*span_us < 1000000)
		*span_us *= 2;
}

static int
commit_batch(struct committer *c, uint64_t rows, struct mb_err *err)
{
	int64_t deadline = mb_clock_steady_us() + c->cfg->retry_us;
	int64_t span_us = 2000;
	struct mb_err why = { 0 };
	int rc;

	while ((rc = attempt(c, rows, &why, err)) == 0) {
		if (mb_clock_steady_us() >= deadline) {
			*err = why;
			return -1;
		}
		back_off(&span_us);
		why = (struct mb_err){ 0 };
	}
	return rc < 0 ? -1 : 0;
}

static int
on_begin(struct committer *c, const struct mb_begin *b, struct mb_err *err)
{
	const struct mb_batch *known;
	enum mb_format format;

	mb_arena_reset(&c->batch_arena);
	c->begin = mb_begin_copy(b, &c->batch_arena);
	c->report = (struct mb_report){ .is_commit = true };
	c->is_dropped = c->is_refused = false;
	c->n_records = 0;
	if (c->journal != NULL) {
		if (c->welcome == MB_OWN) {
			if (mb_journal_refresh(c->journal, err) < 0)
				return -1;
			known = mb_state_batch(mb_journal_state(c->journal),
			    b->batch);
			c->is_dropped = b->batch < mb_journal_state(
			    c->journal)->next_batch && (known == NULL ||
			    known->state == MB_COMMITTED);
		} else {
			c->is_dropped = mb_marker_has(&c->marker, b->batch);
		}
		if (c->is_dropped)
			say(c, b->batch, "is committed already; dropped");
		else
			c->rejects = mb_rejects_open(c->journal, "commit",
			    b->batch);
	}
	if (c->is_dropped)
		return 0;
	if (mb_format_parse(&format, b->format, err) < 0)
		return -1;
	mb_split_init(&c->split, format, b->delimiter, b->record_limit, 0);
	return mb_sink_begin(c->sink, c->begin, err);
}

/* The splitter rejects a line, so no reader gets to see it. */
static int
reject_line(struct committer *c, struct mb_str line, struct mb_err *err)
{
	uint64_t number = ++c->n_records;

	if (c->cfg->sink.on_bad == MB_BAD_FAIL)
		return mb_fail(err, MB_EDATA, "record %" PRIu64 ": %s",
		    number, c->split.why);
	if (c->cfg->sink.on_bad == MB_BAD_SKIP)
		return 0;
	return reject(c, number, line, c->split.why, err);
}

/* Whole records, n of them, for the sink. */
static int
give(struct committer *c, const char *p, uint64_t len, uint64_t n,
    struct mb_err *err)
{
	c->n_records += n;
	return len == 0 ? 0 : mb_sink_add(c->sink,
	    (struct mb_str){ p, (size_t)len }, n, err);
}

/* Give the sink the whole records of what is here. */
static int
on_data(struct committer *c, struct mb_str data, bool is_last,
    struct mb_err *err)
{
	/* data begins at split.complete: what was not consumed comes again. */
	uint64_t start = c->split.complete, end = start + data.len;
	uint64_t from = start, n, total = 0;
	bool has_finished = false;

	if (c->is_dropped) {
		mb_frame_consume(c->in, data.len);
		return 0;
	}
	while (!has_finished && (c->split.off < end || is_last)) {
		enum mb_split_result found;

		if (c->split.off < end) {
			found = mb_split_scan(&c->split, data.p +
			    (c->split.off - start), end - c->split.off,
			    UINT64_MAX, &n);
		} else {
			found = mb_split_finish(&c->split, &n);
			has_finished = found != MB_SPLIT_REJECT;
		}
		total += n;
		if (found != MB_SPLIT_REJECT)
			continue;
		if (give(c, data.p + (from - start), c->split.start - from,
		    total, err) < 0 ||
		    reject_line(c, (struct mb_str){
		    data.p + (c->split.start - start),
		    (size_t)(c->split.complete - c->split.start) }, err) < 0)
			return -1;
		from = c->split.complete;
		total = 0;
	}
	if (give(c, data.p + (from - start), c->split.complete - from, total,
	    err) < 0)
		return -1;
	mb_frame_consume(c->in, (size_t)(c->split.complete - start));
	return 0;
}

/* The state forgets a batch when it is settled; `begin` still knows it. */
static void
report(struct committer *c)
{
	const struct mb_begin *b = c->begin;
	struct mb_batch shown = {
		.number = b->batch, .time_ms = b->time_ms,
		.run = c->hello != NULL ? c->hello->run : 0,
	};
	struct mb_range range = { .records = b->records };

	for (size_t i = 0; i < b->n_ranges; i++) {
		range = (struct mb_range){
			.generation = b->ranges[i].generation,
			.start = b->ranges[i].start, .end = b->ranges[i].end,
			.records = b->ranges[i].records,
		};
		mb_batch_add_range(&shown, &range);
	}
	if (b->n_ranges == 0)	/* a filter was between: only the count */
		mb_batch_add_range(&shown, &range);
	if (c->journal != NULL)
		mb_progress_batch(c->progress, mb_journal_state(c->journal),
		    &shown, &c->report);
	mb_batch_release(&shown);
}

static int
on_end(struct committer *c, struct mb_err *err)
{
	int64_t started = mb_clock_steady_us();
	uint64_t rows;
	int rc;

	if (c->is_dropped)
		return 0;
	rc = mb_sink_stage(c->sink, &rows, err);
	if (rc == 0 && c->rejects != NULL && mb_rejects_count(c->rejects) > 0)
		rc = mb_rejects_publish(c->rejects, err);
	c->report.stage_us = mb_clock_steady_us() - started;
	started = mb_clock_steady_us();
	if (rc == 0)
		rc = commit_batch(c, rows, err);
	c->report.commit_us = mb_clock_steady_us() - started;
	mb_sink_abort(c->sink);
	if (rc < 0)
		return -1;
	mb_rejects_close(c->rejects);
	c->rejects = NULL;
	c->report.rows = rows;
	c->report.target = mb_sink_target(c->sink);
	if (!c->is_dropped)
		report(c);
	return 0;
}

/* The last tool's status speaks for all. */
static enum mb_code
code_of(int status)
{
	switch (status) {
	case 64:
		return MB_EUSAGE;
	case 65:
		return MB_EDATA;
	case 70:
		return MB_EBUG;
	}
	return MB_EBUSY;
}

static int
on_abort(struct committer *c, const struct mb_frame_event *ev,
    struct mb_err *err)
{
	if (c->is_dropped)
		return 0;	/* the sink has it; its bytes may be gone */
	return mb_fail(err, code_of(ev->status), "%s", ev->error);
}

static int
on_event(struct committer *c, const struct mb_frame_event *ev, char **argv,
    struct mb_err *err)
{
	switch (ev->kind) {
	case MB_FRAME_HELLO:
		return join(c, ev->hello, argv, err);
	case MB_FRAME_BEGIN:
		return on_begin(c, ev->begin, err);
	case MB_FRAME_DATA:
		return on_data(c, ev->data, ev->is_last, err);
	case MB_FRAME_END:
		return on_end(c, err);
	case MB_FRAME_ABORT:
		return on_abort(c, ev, err);
	case MB_FRAME_DONE:
		c->upstream = ev->status;
		return 0;
	}
	return 0;
}

static int
commit_frames(struct committer *c, char **argv, struct mb_err *err)
{
	struct mb_frame_event ev;
	int rc;

	while ((rc = mb_frame_next(c->in, &ev, err)) > 0)
		if (on_event(c, &ev, argv, err) < 0) {
			if (c->begin == NULL || err->code == MB_EPIPE)
				return -1;
			mb_wrap(err, "batch %" PRIu64, c->begin->batch);
			if (!c->is_refused)
				append_fail(c, c->begin->batch, err->msg);
			return -1;
		}
	if (rc == 0 && c->upstream != 0)
		return mb_fail(err, code_of(c->upstream), "the batches end here: what is "
		    "upstream ended with status %d", c->upstream);
	return rc;
}

/*
 * What a plain stream is: its format and header.  *used bytes of `head` are
 * not records.  1, or 0 if more bytes are needed.
 */
static int
find_start(struct committer *c, struct mb_str head, bool is_all,
    struct mb_begin *b, struct mb_names *names, size_t *used,
    struct mb_err *err)
{
	const struct config *cfg = c->cfg;
	enum mb_format format;
	uint64_t n = 0;
	const char *why;

	if (head.len < 3 && !is_all)
		return 0;
	*used = mb_bom_len(head);
	if (cfg->format == NULL)
		format = mb_format_of_content(head);
	else if (mb_format_parse(&format, cfg->format, err) < 0)
		return -1;
	b->format = mb_format_name(format);
	b->delimiter = format == MB_CSV && cfg->delimiter != '\0' ?
	    cfg->delimiter : mb_delimiter_of(format);
	b->record_limit = MB_RECORD_LIMIT;
	if (!mb_format_has_header(format) || !cfg->has_header)
		return 1;
	mb_split_init(&c->split, format, b->delimiter, 0, *used);
	if (mb_split_scan(&c->split, head.p + *used, head.len - *used, 1, &n) ==
	    MB_SPLIT_MORE && is_all)
		(void)mb_split_finish(&c->split, &n);
	if (n == 0)
		return is_all ? 1 : 0;
	if (!mb_names_parse(names, format, b->delimiter, (struct mb_str){
	    head.p + c->split.start, (size_t)(c->split.complete -
	    c->split.start) }, &why))
		return mb_fail(err, MB_EDATA, "the header: %s", why);
	*used = (size_t)c->split.complete;
	b->has_fields = true;
	return 1;
}

/* A stream without frames is one batch, under the next free number. */
static int
commit_plain(struct committer *c, struct mb_err *err)
{
	struct mb_begin b = { .settled = MB_NONE };
	struct mb_names names = { 0 };
	struct mb_field *fields = NULL;
	struct mb_frame_event ev;
	size_t used;
	int rc;

	c->welcome = MB_COPY;
	if (open_sink(c, err) < 0 ||
	    mb_sink_lookup(c->sink, &c->marker, err) < 0)
		return -1;
	b.batch = c->marker.exists ? c->marker.last + 1 : 0;
	b.time_ms = mb_clock_wall_ms();
	b.digest = mb_hash_bytes("plain", 5);
	while ((rc = mb_frame_next(c->in, &ev, err)) > 0) {
		if (c->begin == NULL) {
			rc = find_start(c, ev.data, ev.is_last, &b, &names,
			    &used, err);
			if (rc == 0)
				continue;
			if (rc < 0)
				break;
			fields = mb_realloc_array(NULL, names.n,
			    sizeof *fields);
			for (size_t i = 0; i < names.n; i++)
				fields[i] = (struct mb_field){
					.name = names.v[i].p
				};
			b.fields = fields;
			b.n_fields = names.n;
			rc = on_begin(c, &b, err);
			if (rc < 0)
				break;
			mb_frame_consume(c->in, used);
			ev.data.p += used;
			ev.data.len -= used;
		}
		rc = on_data(c, ev.data, ev.is_last, err);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = on_end(c, err);
	mb_names_release(&names);
	free(fields);
	return rc;
}

static int
commit(const struct config *cfg, char **argv, struct mb_err *err)
{
	struct committer c = {
		.cfg = cfg, .is_ordered = cfg->sink.n_merge_on > 0
	};
	bool is_stream = strcmp(cfg->target, "-") == 0;
	int rc;

	c.progress = mb_progress_open(&cfg->common, cmd.name);
	rc = mb_frame_open(&c.in, STDIN_FILENO, "standard input",
	    is_stream ? STDOUT_FILENO : -1, err);
	if (rc == 0 && mb_frame_is_framed(c.in)) {
		/* From here on the stream decides when we end. */
		rc = mb_signals_open(err);
		if (rc == 0)
			rc = commit_frames(&c, argv, err);
	} else if (rc == 0 && cfg->is_plain) {
		rc = commit_plain(&c, err);
	} else if (rc == 0 && mb_frame_is_empty(c.in)) {
		rc = mb_fail(err, MB_EBUSY, "standard input is empty: what is "
		    "upstream has died");
	} else if (rc == 0) {
		rc = mb_fail(err, MB_EDATA, "standard input: no frames: a "
		    "filter took them, or give --plain (at-least-once)");
	}
	mb_rejects_close(c.rejects);
	mb_sink_close(c.sink);
	mb_marker_release(&c.marker);
	mb_journal_close(c.journal);
	mb_frame_close(c.in);
	mb_progress_close(c.progress);
	mb_arena_release(&c.batch_arena);
	mb_arena_release(&c.arena);
	return rc;
}

int
main(int argc, char **argv)
{
	struct config cfg = { .retry_us = 30000000, .has_header = true };
	struct mb_err err = { 0 };
	char **args = mb_realloc_array(NULL, (size_t)argc + 1, sizeof *args);

	mb_common_start();
	/* getopt moves the operands; the journal gets the line as given. */
	memcpy(args, argv, ((size_t)argc + 1) * sizeof *args);
	if (parse_args(&cfg, argc, argv, &err) == 0)
		(void)commit(&cfg, args, &err);
	free(args);
	mb_sink_options_release(&cfg.sink);
	mb_arena_release(&cfg.arena);
	return mb_finish(cmd.name, &err);
}
