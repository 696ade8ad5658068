/*
 * mb-commit - commit each batch to a target, atomically and exactly once.
 *
 * Frames in, records split off and given to the sink; when and how a batch is
 * committed is the session's to decide (sink/session.h).
 */
#include "commit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/signals.h"
#include "frame/frame.h"
#include "journal/journal.h"
#include "journal/rejects.h"
#include "record/names.h"
#include "record/split.h"
#include "sink/session.h"

enum { IDLE_MS = 5 };	/* without input so long; a `done` comes at once */

struct committer {
	const struct config *cfg;
	struct mb_sink_options sink_options;
	struct mb_frame_reader *in;
	struct mb_journal *journal;	/* NULL: a plain stream */
	struct mb_hello *hello;
	struct mb_sink *sink;
	struct mb_session *session;
	uint64_t run;
	struct mb_progress *progress;
	const char *format;		/* of a plain stream; NULL: to be seen */
	bool has_header;
	bool is_inside;			/* mb-collect -- CMD */
	struct mb_arena arena;		/* hello */

	/* The batch in hand. */
	struct mb_arena batch_arena;
	struct mb_begin *begin;
	bool is_dropped;	/* not wanted, or it has failed */
	struct mb_split split;
	struct mb_rejects *rejects;
	uint64_t n_bad;			/* records that weren't taken */
	struct mb_buf first_bad;	/* which it was, and why */
	uint64_t n_records;		/* read so far */
	struct mb_report report;

	int upstream;			/* status of `done` */
	struct mb_err failure;		/* of the first batch that was parked */
};

static void
say(void *arg, uint64_t batch, const char *what)
{
	struct committer *c = arg;
	char text[600];

	snprintf(text, sizeof text, "batch %" PRIu64 ": %s", batch, what);
	mb_progress_say(c->progress, text);
}

static int
reject(void *arg, uint64_t record, struct mb_str data, const char *reason,
    struct mb_err *err)
{
	struct committer *c = arg;

	(void)err;
	if (c->n_bad++ == 0) {
		mb_buf_reset(&c->first_bad);
		mb_buf_addf(&c->first_bad, "record %" PRIu64 ": ", record);
		mb_show(&c->first_bad, mb_str(reason));
	}
	if (c->rejects != NULL)
		mb_rejects_add(c->rejects, &(struct mb_rejected){
			.record = record, .length = data.len, .data = data,
			.reason = reason,
		});
	return 0;
}

/* What is set aside is never set aside in silence. */
static void
say_rejects(struct committer *c)
{
	struct mb_buf text = { 0 };

	if (c->n_bad == 0)
		return;
	if (c->journal != NULL)
		mb_buf_addf(&text, "batch %" PRIu64 ": ", c->begin->batch);
	mb_buf_addf(&text, "%" PRIu64 " bad record%s %s; the first: %s",
	    c->n_bad, c->n_bad == 1 ? "" : "s",
	    c->cfg->sink.on_bad == MB_BAD_SKIP || c->journal == NULL ?
	    "skipped" : "rejected", mb_buf_str(&c->first_bad));
	mb_progress_say(c->progress, mb_buf_str(&text));
	mb_buf_release(&text);
}

static void
notice(void *arg, const char *text)
{
	struct committer *c = arg;

	mb_progress_say(c->progress, text);
}

static int
open_sink(struct committer *c, struct mb_err *err)
{
	c->sink_options = c->cfg->sink;
	c->sink_options.notice = notice;
	c->sink_options.notice_arg = c;
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
open_journal_at(struct committer *c, const char *path, int flags,
    struct mb_err *err)
{
	const char *notice;

	if (mb_progress_open_journal(c->progress, &c->journal, path, flags,
	    err) < 0)
		return -1;
	while ((notice = mb_journal_notice(c->journal)) != NULL)
		mb_progress_say(c->progress, notice);
	return 0;
}

static int
open_journal(struct committer *c, struct mb_err *err)
{
	const char *path = mb_journal_choose(c->cfg->journal,
	    getenv("MB_JOURNAL"), c->hello->journal);

	if (path == NULL)
		return mb_fail(err, MB_EUSAGE, "%s: no such journal here, or "
		    "another user's: give -j FILE", c->hello->journal);
	/* What is replayed may have been settled long ago. */
	if (open_journal_at(c, path, c->hello->is_replay ? MB_JOURNAL_ALL : 0,
	    err) < 0)
		return -1;
	if (strcmp(mb_journal_state(c->journal)->id, c->hello->id) != 0)
		return mb_fail(err, MB_EUSAGE, "%s: is journal %.8s, but the "
		    "frames are of %.8s", mb_journal_path(c->journal),
		    mb_journal_state(c->journal)->id, c->hello->id);
	return 0;
}

static bool
is_ordered(const struct config *cfg)
{
	return cfg->is_ordered || cfg->sink.n_merge_on > 0;
}

static int
open_session(struct committer *c, struct mb_err *err)
{
	struct mb_session_options o = {
		.journal = c->journal, .sink = c->sink, .run = c->run,
		.has_no_marker = strcmp(c->cfg->target, "-") == 0,
		.is_copy = c->is_inside, .accepts_new = c->cfg->sink.accepts_new,
		.redoes = c->cfg->redoes, .is_dry = c->cfg->sink.is_dry,
		.is_ordered = is_ordered(c->cfg),
		.park_after = c->cfg->park_after,
		.retry_us = c->cfg->retry_us, .say = say, .arg = c,
	};

	if (c->hello != NULL) {
		o.hello_run = c->hello->run;
		o.is_replay = c->hello->is_replay;
	}
	return mb_session_open(&c->session, &o, err);
}

static int
join(struct committer *c, const struct mb_hello *h, char **argv,
    struct mb_err *err)
{
	c->hello = mb_hello_copy(h, &c->arena);
	if (open_journal(c, err) < 0)
		return -1;
	if (c->cfg->sink.is_dry)
		return open_sink(c, err) < 0 ? -1 : open_session(c, err);
	if (!c->hello->is_replay && mb_journal_lock(c->journal,
	    MB_LOCK_PIPELINE, true, -1, err) < 0)
		return -1;
	if (mb_journal_run(c->journal, &c->run, "commit", c->hello->run, argv,
	    mb_clock_wall_ms(), err) < 0)
		return -1;
	if (mb_outcome_is_superseded(mb_journal_state(c->journal),
	    c->hello->run))
		return mb_fail(err, MB_EBUSY, "%s: a later mb-collect has "
		    "started", mb_journal_path(c->journal));
	if (open_sink(c, err) < 0)
		return -1;
	return open_session(c, err);
}

/*
 * A batch.
 */

static int
on_begin(struct committer *c, const struct mb_begin *b, struct mb_err *err)
{
	enum mb_format format;
	int rc;

	mb_arena_reset(&c->batch_arena);
	c->begin = mb_begin_copy(b, &c->batch_arena);
	c->report = (struct mb_report){ .is_commit = true };
	c->is_dropped = true;
	c->n_records = c->n_bad = 0;
	rc = mb_session_wants(c->session, c->begin, err);
	if (rc <= 0)
		return rc;
	c->is_dropped = false;
	if (c->journal != NULL && c->cfg->sink.on_bad == MB_BAD_REJECT &&
	    !c->cfg->sink.is_dry)
		c->rejects = mb_rejects_open(c->journal, "commit", b->batch);
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

/* Nothing of the batch in hand is left. */
static void
leave_batch(struct committer *c)
{
	mb_sink_abort(c->sink);
	mb_rejects_close(c->rejects);
	c->rejects = NULL;
}

/* --dry-run: what would have become of the batch. */
static void
foretell(const struct committer *c, uint64_t rows)
{
	if (c->is_dropped)
		return;		/* as was said */
	printf("batch %" PRIu64 ": %" PRIu64 " row%s", c->begin->batch, rows,
	    rows == 1 ? "" : "s");
	if (c->n_bad > 0)
		printf(", %" PRIu64 " rejected", c->n_bad);
	printf(": %s\n", rows == 0 ? "no commit" : mb_sink_outlook(c->sink));
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
	if (rc == 0) {
		rc = mb_session_commit(c->session, c->begin, rows, err);
		c->is_dropped = rc == 0;
	}
	c->report.commit_us = mb_clock_steady_us() - started;
	if (rc < 0)
		return -1;
	if (c->cfg->sink.is_dry)
		foretell(c, rows);
	leave_batch(c);
	c->report.rows = rows;
	c->report.target = mb_sink_target(c->sink);
	if (!c->is_dropped && !c->cfg->sink.is_dry) {
		say_rejects(c);
		report(c);
	}
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

/*
 * The batch in hand has failed.  0: it is parked, and what comes of it still
 * is dropped; -1: this is the end.
 */
static int
on_failure(struct committer *c, struct mb_err *err)
{
	if (c->session == NULL || c->begin == NULL || err->code == MB_EPIPE)
		return -1;
	if (mb_session_fail(c->session, c->begin, err) == 0) {
		if (c->cfg->park_after > 0 && is_ordered(c->cfg))
			mb_wrap(err, "not parked, since later ones wait for "
			    "it (%s)", c->cfg->is_ordered ? "--ordered" :
			    "--merge-on");
		mb_wrap(err, "batch %" PRIu64, c->begin->batch);
		return -1;
	}
	leave_batch(c);
	c->is_dropped = true;
	mb_wrap(err, "batch %" PRIu64 ": is parked", c->begin->batch);
	mb_progress_say(c->progress, err->msg);
	if (c->failure.code == MB_OK)
		c->failure = *err;
	*err = (struct mb_err){ 0 };
	return 0;
}

/* The next event; between batches that come now and then the sink may rest. */
static int
next_event(struct committer *c, struct mb_frame_event *ev, struct mb_err *err)
{
	if (c->sink != NULL && mb_frame_is_idle(c->in, IDLE_MS))
		mb_sink_rest(c->sink);
	return mb_frame_next(c->in, ev, err);
}

static int
commit_frames(struct committer *c, char **argv, struct mb_err *err)
{
	struct mb_frame_event ev;
	int rc;

	while ((rc = next_event(c, &ev, err)) > 0)
		if (on_event(c, &ev, argv, err) < 0 && on_failure(c, err) < 0)
			return -1;
	if (rc == 0 && c->failure.code != MB_OK)
		*err = c->failure;
	else if (rc == 0 && c->upstream != 0)
		mb_fail(err, code_of(c->upstream), "the batches end here: "
		    "what is upstream ended with status %d", c->upstream);
	return err->code == MB_OK ? 0 : -1;
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
	if (c->format == NULL)
		format = mb_format_of_content(head);
	else if (mb_format_parse(&format, c->format, err) < 0)
		return -1;
	b->format = mb_format_name(format);
	b->delimiter = format == MB_CSV && cfg->delimiter != '\0' ?
	    cfg->delimiter : mb_delimiter_of(format);
	b->record_limit = MB_RECORD_LIMIT;
	if (!mb_format_has_header(format) || !c->has_header)
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

/* Commit a stream without frames as the batch b. */
static int
commit_rows(struct committer *c, struct mb_begin *b, struct mb_err *err)
{
	struct mb_names names = { 0 };
	struct mb_field *fields = NULL;
	struct mb_frame_event ev;
	size_t used;
	int rc;

	while ((rc = mb_frame_next(c->in, &ev, err)) > 0) {
		if (c->begin == NULL) {
			rc = find_start(c, ev.data, ev.is_last, b, &names,
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
			b->fields = fields;
			b->n_fields = names.n;
			rc = on_begin(c, b, err);
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
	/* Nothing at all has no rows either. */
	if (rc == 0 && c->begin != NULL)
		rc = on_end(c, err);
	mb_names_release(&names);
	free(fields);
	return rc;
}

/* A stream without frames is one batch, under the next free number. */
static int
commit_plain(struct committer *c, struct mb_err *err)
{
	struct mb_begin b = {
		.settled = MB_NONE, .time_ms = mb_clock_wall_ms(),
	};
	const struct mb_marker *marker;

	/* By this it is told from others that take the same number. */
	if (mb_random_hex(b.digest.hex, MB_HASH_LEN / 2, err) < 0)
		return -1;
	c->format = c->cfg->format;
	c->has_header = c->cfg->has_header;
	if (open_sink(c, err) < 0 || open_session(c, err) < 0)
		return -1;
	marker = mb_session_marker(c->session);
	b.batch = marker->exists ? marker->last + 1 : 0;
	return commit_rows(c, &b, err);
}

/* Are we in a command that mb-collect runs for a batch? */
static bool
is_inside_command(void)
{
	return getenv("MB_TOKEN") != NULL && getenv("MB_BATCH") != NULL &&
	    getenv("MB_JOURNAL") != NULL;
}

/*
 * Inside mb-collect -- CMD the rows are those of its batch: they are there
 * once, however often CMD is run.  The journal is mb-collect's to write.
 */
static int
commit_inside(struct committer *c, struct mb_err *err)
{
	const char *header = getenv("MB_HEADER");
	struct mb_begin b = { .settled = MB_NONE };
	const struct mb_batch *known;
	struct stat st;

	/* A plain pipe whose writer has died looks like one that is done. */
	if (fstat(STDIN_FILENO, &st) < 0 || !S_ISREG(st.st_mode))
		return mb_fail(err, MB_EUSAGE, "standard input: a pipe may "
		    "end early unnoticed: write the rows into a file first, "
		    "or give --plain (at-least-once)");
	if (st.st_size > 0 && mb_frame_is_empty(c->in))
		return mb_fail(err, MB_EUSAGE, "standard input: another "
		    "program has read it");
	if (mb_parse_count(&b.batch, getenv("MB_BATCH"), err) < 0)
		return mb_wrap(err, "$MB_BATCH");
	if (open_journal_at(c, c->cfg->journal != NULL ? c->cfg->journal :
	    getenv("MB_JOURNAL"), 0, err) < 0)
		return -1;
	known = mb_state_batch(mb_journal_state(c->journal), b.batch);
	if (known == NULL || strcmp(known->digest.hex, getenv("MB_TOKEN")) !=
	    0)
		return mb_fail(err, MB_EUSAGE, "%s: has no open batch %"
		    PRIu64 " with this $MB_TOKEN", mb_journal_path(c->journal),
		    b.batch);
	b.digest = known->digest;
	b.time_ms = known->time_ms;
	b.records = mb_batch_records(known);
	c->is_inside = true;
	c->format = c->cfg->format;
	c->has_header = c->cfg->has_header;
	if (c->format == NULL) {
		c->format = getenv("MB_FORMAT");
		c->has_header &= header == NULL || *header != '\0';
	}
	if (open_sink(c, err) < 0 || open_session(c, err) < 0)
		return -1;
	return commit_rows(c, &b, err);
}

static int
commit(const struct config *cfg, char **argv, struct mb_err *err)
{
	struct committer c = { .cfg = cfg };
	bool is_stream = strcmp(cfg->target, "-") == 0;
	int rc;

	c.progress = mb_progress_open(&cfg->common, commit_cmd.name);
	rc = mb_frame_open(&c.in, STDIN_FILENO, "standard input",
	    is_stream ? STDOUT_FILENO : -1, err);
	if (rc == 0 && mb_frame_is_framed(c.in)) {
		/* From here on the stream decides when we end. */
		rc = mb_signals_open(err);
		if (rc == 0)
			rc = commit_frames(&c, argv, err);
	} else if (rc == 0 && cfg->is_plain) {
		rc = commit_plain(&c, err);
	} else if (rc == 0 && is_inside_command()) {
		rc = commit_inside(&c, err);
	} else if (rc == 0 && mb_frame_is_empty(c.in)) {
		rc = mb_fail(err, MB_EBUSY, "standard input is empty: what is "
		    "upstream has died");
	} else if (rc == 0) {
		rc = mb_fail(err, MB_EDATA, "standard input: no frames: a "
		    "filter took them, or give --plain (at-least-once)");
	}
	mb_rejects_close(c.rejects);
	mb_session_close(c.session);
	mb_sink_close(c.sink);
	mb_journal_close(c.journal);
	mb_frame_close(c.in);
	mb_progress_close(c.progress);
	mb_buf_release(&c.first_bad);
	mb_arena_release(&c.batch_arena);
	mb_arena_release(&c.arena);
	return rc;
}

int
main(int argc, char **argv)
{
	struct config cfg;
	struct mb_err err = { 0 };
	char **args = mb_realloc_array(NULL, (size_t)argc + 1, sizeof *args);

	mb_common_start();
	mb_mem_keep();		/* each batch asks for it anew */
	/* getopt moves the operands; the journal gets the line as given. */
	memcpy(args, argv, ((size_t)argc + 1) * sizeof *args);
	if (commit_parse(&cfg, argc, argv, &err) == 0)
		(void)commit(&cfg, args, &err);
	free(args);
	mb_sink_options_release(&cfg.sink);
	mb_arena_release(&cfg.arena);
	return mb_finish(commit_cmd.name, &err);
}
