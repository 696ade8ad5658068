/*
 * delta.c - batches into a Delta table: rows and marker in one version of its
 * log.
 *
 *	IDLE -> STAGING		[begin]
 *	STAGING -> STAGED	[stage: the data files are whole]
 *	STAGED -> STAGED	[commit, as often as it takes]
 *	any -> IDLE		[abort]
 *
 * D1. A version is added by put-if-absent, behind the newest one, and only if
 *     the marker that the log shows up to there is the one that the caller
 *     has seen: whoever adds a version in between makes the name taken, and
 *     everything is looked at again.
 * D2. What a version leads to, and its own bytes, are durable before it has its
 *     name: data files under theirs, how far the sources were read.  In which
 *     order doesn't matter, so these syncs run side by side.
 * D3. Whether a commit happened is told by the log alone: its txnId is in it.
 * D4. What we don't support is refused before anything is written.
 *
 * The table's format is lib/delta's affair; of what is ours the marker is
 * deltamark.c's, the columns deltashape.c's, their types deltaguess.c's, the
 * data files deltafiles.c's, what follows a commit deltacare.c's.  Here they
 * come together.
 */
#include "sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/opt.h"
#include "delta/commit.h"
#include "delta/crc.h"
#include "delta/gate.h"
#include "delta/state.h"
#include "durable/stage.h"
#include "sink/deltacare.h"
#include "sink/deltafiles.h"
#include "sink/deltaguess.h"
#include "sink/deltahome.h"
#include "sink/deltamark.h"
#include "sink/deltaplace.h"
#include "sink/deltaredo.h"
#include "sink/deltashape.h"
#include "sink/held.h"
#include "sink/intake.h"

enum {
	MAX_COLUMNS = 10000,
	MAX_RACES = 50,			/* then mb-commit waits a little */
	FIRST_WAIT_US = 1000, LAST_WAIT_US = 100000,
};

enum stage { IDLE, STAGING, STAGED };

struct delta_sink {
	struct mb_sink head;
	char *place;		/* "delta:PATH", for messages */
	struct mb_deltahome home;
	struct mb_delta_state state;
	bool is_fresh;		/* state can be advanced, not only loaded */
	bool is_poisoned;	/* nobody knows what is durable */
	bool is_unknown;	/* a commit of this batch may have happened */
	bool is_ahead;		/* --dry-run: of what the log says */
	struct mb_buf outlook;

	struct mb_deltaplace *place_file;	/* NULL: not yet needed */

	struct mb_deltacare care;

	/* The batch, and the table as it is to be with it. */
	enum stage stage;
	uint64_t batch;
	struct mb_hash digest;
	struct mb_columns columns;
	struct mb_intake intake;
	bool is_decided, has_place;
	bool is_held;		/* types are open: records wait … */
	bool is_again;		/* … and are read once more */
	struct mb_held held;
	struct mb_deltafiles *files;
	struct mb_deltashape shape;
	struct mb_deltaredo replaced;	/* --redo: what it takes the place of */
	char *base_meta;	/* of the table when the batch began */
	char txn_id[MB_UUID_LEN + 1];
	uint64_t n_rows;
};

static struct delta_sink *
self(struct mb_sink *sink)
{
	return (struct delta_sink *)sink;
}

static bool
has_table(const struct delta_sink *s)
{
	return s->state.version >= 0;
}

static size_t
n_files(const struct delta_sink *s)
{
	return s->files == NULL ? 0 : mb_deltafiles_n(s->files);
}

/*
 * The table as the log tells.
 */
static int
refresh(struct delta_sink *s, struct mb_err *err)
{
	int rc;

	if (s->is_ahead)
		return 0;
	if (s->home.log.dirfd < 0) {
		rc = mb_deltahome_open(&s->home, err);
		if (rc <= 0)
			return rc;
	}
	rc = s->is_fresh ? mb_delta_state_advance(&s->state, &s->home.log, err) :
	    mb_delta_state_load(&s->state, &s->home.log, err);
	s->is_fresh = rc == 0;
	if (rc < 0)
		return -1;
	mb_delta_crc_read(&s->state, &s->home.log);
	free(s->head.target_id);
	s->head.target_id = has_table(s) ? mb_strdup(s->state.meta.id) : NULL;
	return 0;
}

static int
check_gate(const struct delta_sink *s, struct mb_err *err)
{
	if (has_table(s) && mb_delta_gate_append(&s->state.protocol,
	    &s->state.meta, &s->state.schema, err) < 0)
		return mb_wrap(err, "%s", s->place);
	return 0;
}

/*
 * Has another journal been where ours is, and left its batches here?  Then it
 * was lost, and to begin anew would double what it had committed.
 */
static int
check_journal(const struct delta_sink *s, struct mb_err *err)
{
	const struct mb_sink_options *o = s->head.options;
	const char *other;

	if (o->accepts_new || o->journal_path == NULL ||
	    o->journal_path[0] == '\0')
		return 0;
	other = mb_deltamark_other(&s->state, o->journal, o->journal_path);
	if (other == NULL)
		return 0;
	return mb_fail(err, MB_ECORRUPT, "%s: has batches of another journal "
	    "that was at %s (id %.32s): it was lost or made anew; "
	    "--new-target begins a new stream", s->place, o->journal_path,
	    other);
}

static int
read_marker(const struct delta_sink *s, struct mb_marker *m,
    struct mb_err *err)
{
	if (mb_deltamark_read(m, &s->state, s->head.options->journal, err) < 0)
		return mb_wrap(err, "%s", s->place);
	return 0;
}

static int
lookup(struct mb_sink *sink, struct mb_marker *out, struct mb_err *err)
{
	struct delta_sink *s = self(sink);

	*out = (struct mb_marker){ 0 };
	if (s->is_poisoned)
		return mb_fail(err, MB_EIO, "%s: a commit has failed before, "
		    "and nobody knows how far it came", s->place);
	if (refresh(s, err) < 0 || check_journal(s, err) < 0 ||
	    read_marker(s, out, err) < 0)
		return -1;
	if (s->home.is_dry)
		return 0;
	/*
	 * A version's bytes are synced before its name is given (by us) or
	 * when they are read (others'); what may be missing is the name.
	 */
	if (out->exists && mb_fsync(s->home.log.dirfd, s->place, err) < 0) {
		s->is_poisoned = true;
		return -1;
	}
	return s->home.log.tmpfd < 0 ? 0 : mb_stage_sweep(s->home.log.tmpfd, err);
}

/*
 * Staging.
 */
static void
clear_batch(struct delta_sink *s)
{
	if (s->files != NULL && !s->is_unknown)
		mb_deltafiles_unname(s->files);
	mb_deltafiles_close(s->files);
	s->files = NULL;
	mb_columns_reset(&s->columns);
	mb_intake_reset(&s->intake);
	mb_held_reset(&s->held);
	mb_deltashape_reset(&s->shape);
	mb_deltaredo_release(&s->replaced);
	free(s->base_meta);
	s->base_meta = NULL;
	s->state.awaits = NULL;
	s->state.has_seen = false;
	s->is_decided = s->is_held = s->is_again = false;
	s->has_place = s->is_unknown = false;
	s->n_rows = 0;
	s->stage = IDLE;
}

static void
abort_batch(struct mb_sink *sink)
{
	clear_batch(self(sink));
}

static int
begin(struct mb_sink *sink, const struct mb_begin *b, struct mb_err *err)
{
	struct delta_sink *s = self(sink);
	enum mb_format format;

	clear_batch(s);
	if (mb_format_parse(&format, b->format, err) < 0)
		return -1;
	if (refresh(s, err) < 0 || check_gate(s, err) < 0 ||
	    mb_delta_uuid(s->txn_id, err) < 0)
		return -1;
	s->stage = STAGING;
	mb_deltacare_begin(&s->care, b->time_ms);
	s->batch = b->batch;
	s->digest = b->digest;
	s->columns.had_table = has_table(s);
	if (has_table(s)) {
		s->base_meta = mb_strdup(s->state.meta.text);
		mb_deltashape_begin(&s->shape, &s->columns, &s->state);
	}
	if (mb_columns_begin(&s->columns, format, b, err) < 0 ||
	    mb_intake_begin(&s->intake, b, err) < 0) {
		clear_batch(s);
		return -1;
	}
	return 0;
}

static int
choose_codec(const struct delta_sink *s, enum mb_parquet_codec *out,
    struct mb_err *err)
{
	const char *option = s->head.options->codec;
	const char *property = mb_delta_property(&s->shape.meta,
	    "delta.parquet.compression.codec");
	struct mb_err ignored = { 0 };
	char name[16];
	size_t n;

	*out = mb_parquet_best_codec();
	if (option != NULL)
		return mb_parquet_codec_parse(out, option, err);
	if (property == NULL || strlen(property) >= sizeof name)
		return 0;
	for (n = 0; property[n] != '\0'; n++)
		name[n] = (char)(property[n] >= 'A' && property[n] <= 'Z' ?
		    property[n] + 32 : property[n]);
	name[n] = '\0';
	/* One that we can't write may be replaced, by the protocol. */
	if (mb_parquet_codec_parse(out, strcmp(name, "uncompressed") == 0 ?
	    "none" : name, &ignored) < 0)
		*out = mb_parquet_best_codec();
	return 0;
}

static int
open_files(struct delta_sink *s, struct mb_err *err)
{
	struct mb_deltafiles_options o = { .home = &s->home,
		.columns = &s->columns, .schema = &s->shape.schema,
		.meta = &s->shape.meta };

	if (mb_deltashape_settle(&s->shape, &s->columns, &s->state,
	    mb_clock_wall_ms(), err) < 0 ||
	    choose_codec(s, &o.codec, err) < 0 ||
	    mb_deltahome_make(&s->home, err) < 0)
		return -1;
	return mb_deltafiles_open(&s->files, &o, err);
}

/*
 * At the first row: are all types known?  Those of columns that ndjson may
 * still bring aren't.
 */
static int
decide(struct delta_sink *s, struct mb_err *err)
{
	s->is_decided = true;
	s->is_held = s->columns.format == MB_NDJSON &&
	    mb_columns_can_add(&s->columns);
	for (size_t i = 0; i < s->columns.n; i++)
		s->is_held |= s->columns.v[i].is_guessed;
	return s->is_held ? 0 : open_files(s, err);
}

static int
spill(struct delta_sink *s, struct mb_err *err)
{
	int fd = -1;

	if (s->held.fd < 0 && mb_deltahome_scratch(&s->home, &fd, err) < 0)
		return -1;
	return mb_held_spill(&s->held, fd, err);
}

static int
hold(struct delta_sink *s, struct mb_str records, size_t n,
    struct mb_err *err)
{
	mb_held_add(&s->held, records);
	s->n_rows += n;
	return mb_held_is_full(&s->held) ? spill(s, err) : 0;
}

static int
hold_row(struct delta_sink *s, struct mb_str record, struct mb_err *err)
{
	size_t column;
	const char *why = mb_deltaguess_row(&s->columns, &s->shape,
	    s->intake.values, &column);

	return why != NULL ? mb_intake_reject(&s->intake, record, column, why,
	    err) : hold(s, record, 1, err);
}

/* 1, or 0: not all of them can be held. */
static int
hold_rows(struct delta_sink *s, const struct mb_intake_rows *rows,
    struct mb_err *err)
{
	if (!mb_deltaguess_rows(&s->columns, &s->shape, rows))
		return 0;
	return hold(s, rows->raw, rows->n, err) < 0 ? -1 : 1;
}

static int
take_row(void *arg, struct mb_str record, struct mb_err *err)
{
	struct delta_sink *s = arg;
	size_t column;
	const char *why;
	int rc;

	if (!s->is_decided && decide(s, err) < 0)
		return -1;
	if (s->is_held)
		return hold_row(s, record, err);
	rc = mb_deltafiles_put(s->files, s->intake.values, &column, &why, err);
	if (rc == 0 && s->is_again)
		return mb_fail(err, MB_EDATA, "%s: column \"%s\": %s",
		    s->place, s->columns.v[column].name, why);
	if (rc == 0)
		return mb_intake_reject(&s->intake, record, column, why, err);
	s->n_rows++;
	return rc < 0 ? -1 : 0;
}

static int
take_rows(void *arg, const struct mb_intake_rows *rows, struct mb_err *err)
{
	struct delta_sink *s = arg;
	int rc;

	if (!s->is_decided && decide(s, err) < 0)
		return -1;
	if (s->is_held)
		return hold_rows(s, rows, err);
	rc = mb_deltafiles_put_rows(s->files, rows, err);
	s->n_rows += rc > 0 ? rows->n : 0;
	return rc;
}

static int
add(struct mb_sink *sink, struct mb_str records, struct mb_err *err)
{
	struct delta_sink *s = self(sink);

	return mb_intake_add(&s->intake, records, take_row, s, err);
}

/* The types are known now: what was held is read again, into files. */
static int
release_held(struct delta_sink *s, struct mb_err *err)
{
	struct mb_str piece;
	int rc;

	s->is_held = false;
	s->is_again = true;
	s->n_rows = 0;
	if (mb_intake_again(&s->intake, err) < 0 ||
	    mb_held_rewind(&s->held, err) < 0)
		return -1;
	while ((rc = mb_held_next(&s->held, &piece, err)) > 0)
		if (mb_intake_add(&s->intake, piece, take_row, s, err) < 0)
			return -1;
	if (rc == 0)
		rc = mb_intake_end(&s->intake, take_row, s, err);
	mb_held_reset(&s->held);
	return rc;
}

static int
stage(struct mb_sink *sink, uint64_t *rows, struct mb_err *err)
{
	struct delta_sink *s = self(sink);

	if (mb_intake_end(&s->intake, take_row, s, err) < 0)
		return -1;
	s->stage = STAGED;
	*rows = s->n_rows;
	if (s->n_rows == 0)
		return 0;
	if (mb_columns_settle(&s->columns, err) < 0)
		return -1;
	if (s->is_held && (open_files(s, err) < 0 || release_held(s, err) < 0))
		return -1;
	return mb_deltafiles_finish(s->files, err);
}

/*
 * The commit.
 */

/* Is everything as it was when the batch began, as far as it matters? */
static int
compare_table(struct delta_sink *s, struct mb_err *err)
{
	struct mb_delta_meta was = { 0 };
	int rc = 0;

	if (s->base_meta == NULL && !has_table(s))
		return 0;
	if (s->base_meta != NULL && !has_table(s))
		return mb_fail(err, MB_ECORRUPT, "%s: was dropped while we "
		    "were at work", s->place);
	if (s->base_meta != NULL && strcmp(s->base_meta,
	    s->state.meta.text) == 0)
		return check_gate(s, err);
	if (s->base_meta != NULL) {
		rc = mb_delta_meta_parse(&was, mb_str(s->base_meta), err);
		if (rc == 0 && strcmp(was.id, s->state.meta.id) != 0)
			rc = mb_fail(err, MB_ECORRUPT, "%s: was dropped or "
			    "made anew while we were at work", s->place);
		mb_delta_meta_release(&was);
	}
	if (rc < 0 || check_gate(s, err) < 0 || mb_deltashape_compare(&s->shape,
	    &s->columns, &s->state, err) < 0)
		return -1;
	/* Another has made the table, or changed it: his stands. */
	mb_buf_reset(&s->shape.creation);
	free(s->base_meta);
	s->base_meta = mb_strdup(s->state.meta.text);
	return 0;
}

static void
put_adds(const struct delta_sink *s, struct mb_buf *out, int64_t now_ms)
{
	size_t n = n_files(s);
	char batch[64], files[24];
	const struct mb_delta_tag tags[] = {
		{ "mb.batch", batch }, { "mb.files", files },
	};

	snprintf(batch, sizeof batch, "%.32s/%" PRIu64,
	    s->head.options->journal, s->batch);
	snprintf(files, sizeof files, "%zu", n);
	for (size_t i = 0; i < n; i++) {
		struct mb_deltafile f = mb_deltafiles_at(s->files, i);

		mb_delta_put_add(out, &(struct mb_delta_add){
			.path = f.path, .partition = f.partition,
			.size = f.size, .time_ms = now_ms, .is_change = true,
			.stats = f.stats, .tags = tags, .n_tags = 2,
		});
	}
}

/* now NULL: what s->replaced has is replaced, and the marker stays. */
static void
put_commit(const struct delta_sink *s, struct mb_buf *out,
    const struct mb_marker *was, const struct mb_marker *now, int64_t now_ms)
{
	const struct mb_sink_options *o = s->head.options;

	mb_delta_put_info(out, &(struct mb_delta_info){
		.time_ms = now_ms,
		.in_commit_ms = mb_delta_state_next_time(&s->state, now_ms),
		.operation = now != NULL ? "WRITE" :
		    "REPLACE BATCH",
		.is_append = now != NULL, .txn_id = s->txn_id,
		.version = MB_VERSION, .journal = o->journal,
		.digest = s->digest.hex, .batch = s->batch,
	});
	mb_buf_add(out, s->shape.creation.p, s->shape.creation.len);
	if (now != NULL)
		mb_deltamark_put(out, &s->state, o->journal,
		    o->journal_path != NULL ? o->journal_path : "", was, now,
		    now_ms);
	else
		mb_deltamark_put_empty(out, &s->state, o->journal, s->batch,
		    n_files(s) == 0, now_ms);
	for (size_t i = 0; now == NULL && i < s->replaced.n; i++)
		mb_delta_put_remove(out, mb_str(s->replaced.v[i]), true,
		    now_ms);
	put_adds(s, out, now_ms);
}

/*
 * How far the sources have been read, once for the batch; *sync is to be
 * awaited.
 */
static int
put_place(struct delta_sink *s, const struct mb_marker *was,
    struct mb_sync **sync, struct mb_err *err)
{
	if (s->head.positions == NULL || s->has_place || s->home.is_dry)
		return 0;
	if (s->place_file == NULL)
		mb_deltaplace_open(&s->place_file, s->home.log.tmpfd,
		    s->head.options->journal);
	if (mb_deltaplace_put(s->place_file, s->batch, s->head.positions, was,
	    s->home.syncs, sync, err) < 0)
		return mb_wrap(err, "%s", s->place);
	return 0;
}

/*
 * Write the version, and wait for all that it leads to (D2); mb_delta_log_add
 * is the next step.
 */
static int
stage_version(struct delta_sink *s, struct mb_stage **out, struct mb_str text,
    struct mb_sync **place, struct mb_err *err)
{
	if (mb_delta_log_stage(out, &s->home.log, s->state.version + 1, text,
	    err) < 0)
		return -1;
	if (mb_sync_await(place, err) == 0) {
		s->has_place = true;
		if (s->files == NULL || mb_deltafiles_settle(s->files, err) == 0)
			return 0;
	}
	mb_stage_close(*out);
	return -1;
}

/* What the commit does, for --dry-run. */
static void
explain(struct delta_sink *s)
{
	size_t n = n_files(s);
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += mb_deltafiles_at(s->files, i).size;
	mb_buf_reset(&s->outlook);
	mb_buf_addf(&s->outlook, "version %" PRId64 ", %zu file%s, %" PRIu64
	    " bytes", s->state.version + 1, n, n == 1 ? "" : "s", bytes);
	if (s->replaced.n > 0)
		mb_buf_addf(&s->outlook, " in the place of %zu",
		    s->replaced.n);
	mb_deltashape_explain(&s->outlook, &s->shape, has_table(s));
}

static const char *
outlook(struct mb_sink *sink)
{
	return mb_buf_str(&self(sink)->outlook);
}

/* May the batch be replaced, and which files are that? */
static int
find_replaced(struct delta_sink *s, struct mb_err *err)
{
	if (mb_delta_property_is_true(&s->state.meta, "delta.appendOnly"))
		return mb_fail(err, MB_EUSAGE, "%s: --redo: nothing may be "
		    "removed from it (delta.appendOnly)", s->place);
	if (s->is_ahead)
		return mb_fail(err, MB_EUSAGE, "--redo: what a --dry-run has "
		    "only supposed can't be replaced");
	return mb_deltaredo_find(&s->replaced, s->head.options->journal,
	    s->batch, &s->state, &s->home.log, err);
}

/*
 * One attempt; now NULL: to replace what is there.  1 done, 0 somebody was
 * faster, -1.
 */
static int
try_commit(struct delta_sink *s, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	struct mb_marker current = { 0 };
	struct mb_buf text = { 0 };
	struct mb_err why = { 0 };
	struct mb_stage *version;
	struct mb_sync *place = NULL;
	int rc = -1;

	s->state.awaits = s->txn_id;
	if (refresh(s, err) < 0)
		return -1;
	if (s->state.has_seen) {	/* D3: it was ours */
		if (mb_fsync(s->home.log.dirfd, s->place, err) == 0)
			return 1;
		s->is_poisoned = s->is_unknown = true;
		return -1;
	}
	if (compare_table(s, err) < 0 || check_journal(s, err) < 0 ||
	    read_marker(s, &current, err) < 0)
		goto out;
	if (!mb_marker_eq(&current, was)) {
		mb_fail(err, MB_EEXIST, "%s: the marker of this journal has "
		    "moved", s->place);
		goto out;
	}
	if ((now != NULL ? put_place(s, was, &place, err) :
	    find_replaced(s, err)) < 0)
		goto out;
	if (s->files != NULL && mb_deltafiles_name(s->files, err) < 0)
		goto out;
	put_commit(s, &text, was, now, mb_clock_wall_ms());
	if (s->home.is_dry) {
		explain(s);
		rc = 1;
		if (now == NULL)	/* files are looked for in the log */
			goto out;
		s->is_ahead = true;
		if (mb_delta_state_suppose(&s->state, &s->home.log,
		    (struct mb_str){ text.p, text.len }, err) < 0)
			rc = -1;
		goto out;
	}
	if (stage_version(s, &version, (struct mb_str){ text.p, text.len },
	    &place, err) < 0)
		goto out;
	if (mb_delta_log_add(&s->home.log, version, &why) == 0) {	/* D1 */
		/* It has happened, whatever reading it again may say. */
		s->is_fresh = mb_delta_state_apply(&s->state, &s->home.log,
		    (struct mb_str){ text.p, text.len }, &why) == 0;
		rc = 1;
	} else if (why.code == MB_EEXIST) {
		rc = 0;
	} else {
		s->is_poisoned = s->is_unknown = true;
		*err = why;
	}
out:
	mb_sync_forget(&place);
	mb_marker_release(&current);
	mb_buf_release(&text);
	return rc;
}

/* Wait a random part of a span that doubles: nobody keeps step. */
static void
wait_a_little(int64_t *span_us)
{
	struct mb_err ignored = { 0 };
	uint64_t random;

	if (mb_random(&random, sizeof random, &ignored) < 0)
		random = (uint64_t)*span_us;
	mb_clock_sleep((int64_t)(random % (uint64_t)*span_us) + 1);
	if (*span_us < LAST_WAIT_US)
		*span_us *= 2;
}

static void
take_care(struct delta_sink *s)
{
	const struct mb_sink_options *o = s->head.options;
	struct mb_deltatidy t = { .rootfd = s->home.rootfd,
		.log = &s->home.log, .state = &s->state,
		.journal = o->journal, .syncs = s->home.syncs };
	struct mb_err err = { 0 };

	if (choose_codec(s, &t.codec, &err) == 0)
		mb_deltacare_run(&s->care, &t, &s->is_fresh, &s->is_poisoned);
	else if (o->notice != NULL)
		o->notice(o->notice_arg, err.msg);
}

/* now NULL: see try_commit. */
static int
commit_or_redo(struct delta_sink *s, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	int64_t span_us = FIRST_WAIT_US;
	int rc = 0;

	if (s->is_poisoned)
		return mb_fail(err, MB_EIO, "%s: a commit has failed before",
		    s->place);
	for (int i = 0; i < MAX_RACES; i++) {
		rc = try_commit(s, was, now, err);
		if (rc != 0)
			break;
		wait_a_little(&span_us);
	}
	if (rc == 0)
		return mb_fail(err, MB_EBUSY, "%s: others were faster %d "
		    "times", s->place, MAX_RACES);
	if (rc < 0)
		return -1;
	s->is_unknown = true;	/* the files belong to the table now */
	free(s->head.target_id);
	s->head.target_id = mb_strdup(s->state.meta.id != NULL ?
	    s->state.meta.id : s->shape.meta.id);
	if (!s->home.is_dry)
		take_care(s);
	return 0;
}

static int
commit(struct mb_sink *sink, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	return commit_or_redo(self(sink), was, now, err);
}

static int
redo(struct mb_sink *sink, const struct mb_marker *was, struct mb_err *err)
{
	return commit_or_redo(self(sink), was, NULL, err);
}

/*
 * Opening.
 */
static void
close_sink(struct mb_sink *sink)
{
	struct delta_sink *s = self(sink);

	clear_batch(s);
	mb_delta_state_release(&s->state);
	mb_deltacare_close(&s->care);
	mb_deltaplace_close(s->place_file);
	mb_columns_release(&s->columns);
	mb_intake_release(&s->intake);
	mb_held_release(&s->held);
	mb_deltashape_release(&s->shape);
	mb_deltahome_close(&s->home);
	mb_buf_release(&s->outlook);
	free(s->place);
	free(s);
}

static const struct mb_sink_ops ops = {
	.close = close_sink, .lookup = lookup, .begin = begin, .add = add,
	.stage = stage, .commit = commit, .redo = redo, .abort = abort_batch,
	.outlook = outlook,
};

int
mb_sink_open_delta(struct mb_sink **out, const char *path,
    const struct mb_sink_options *options, struct mb_err *err)
{
	struct delta_sink *s = mb_zalloc(sizeof *s);
	struct mb_buf target = { 0 };
	enum mb_parquet_codec codec;
	char *absolute;

	*s = (struct delta_sink){
		.head = { .ops = &ops, .options = options },
	};
	mb_delta_state_release(&s->state);	/* of no table */
	mb_held_init(&s->held);
	mb_deltahome_init(&s->home, NULL, NULL);
	mb_deltacare_open(&s->care, options, &s->state);
	if (options->codec != NULL && mb_parquet_codec_parse(&codec,
	    options->codec, err) < 0) {
		mb_wrap(err, "--codec");
		goto fail;
	}
	if (mb_sink_resolve(&absolute, "delta", path, err) < 0)
		goto fail;
	mb_buf_addf(&target, "delta:%s", absolute);
	s->head.target = mb_buf_take(&target);
	s->place = mb_strdup(s->head.target);
	if (!options->is_dry &&
	    mb_sink_may_write(absolute, true, s->place, err) < 0) {
		free(absolute);
		goto fail;
	}
	mb_deltahome_init(&s->home, absolute, s->place);
	s->home.is_dry = options->is_dry;
	s->columns = (struct mb_columns){ .options = options,
		.place = s->place, .limit_of = "mb", .limit = MAX_COLUMNS,
		.can_grow = options->evolves, .needs_digits = true };
	s->intake.columns = &s->columns;
	s->intake.take_rows = take_rows;
	if (refresh(s, err) < 0 || check_gate(s, err) < 0)
		goto fail;
	*out = &s->head;
	return 0;
fail:
	mb_sink_close(&s->head);
	return -1;
}

int
mb_sink_find_delta(struct mb_found *out, const char *path,
    const char *journal_path, struct mb_err *err)
{
	static const struct mb_sink_options none = { 0 };
	struct mb_sink *sink;
	struct delta_sink *s;
	const char *journal;
	int rc = -1;

	if (mb_sink_open_delta(&sink, path, &none, err) < 0)
		return -1;
	s = self(sink);
	journal = mb_deltamark_other(&s->state, "", journal_path);
	if (journal == NULL) {
		mb_fail(err, MB_EUSAGE, "%s: has no batches of a journal at "
		    "%s", s->place, journal_path);
		goto out;
	}
	snprintf(out->journal, sizeof out->journal, "%.32s", journal);
	if (mb_deltamark_read(&out->marker, &s->state, out->journal,
	    err) < 0 || mb_deltaplace_gather(out, s->home.log.tmpfd, out->journal,
	    err) < 0) {
		mb_wrap(err, "%s", s->place);
		goto out;
	}
	out->target = mb_strdup(sink->target);
	out->target_id = mb_strdup(sink->target_id);
	rc = 0;
out:
	mb_sink_close(sink);
	return rc;
}
