/*
 * sqlite.c - batches into a table of an SQLite database.
 *
 *	IDLE -> STAGING		[begin]
 *	STAGING -> STAGED	[stage]
 *	STAGED -> STAGED	[commit, as often as it takes]
 *	any -> IDLE		[abort]
 *
 * commit() is one transaction: it takes the write lock, reads the marker
 * again, moves the staged rows over, moves the marker.
 *
 * S1. The marker is compared under the write lock of the transaction that
 *     moves it, together with the rows.
 * S2. Nothing is written into a database before the first commit, unless a
 *     marker of this journal is in it.
 * S3. Nothing of a record is ever part of an SQL text but the names of its
 *     fields, and these are quoted (sqltext.h).
 *
 * Here is the protocol.  The connection is in sqldb, the table in sqltable,
 * the rows on their way in sqlstage, marker and positions in sqlmark; the
 * statements' texts are in sqltext, what becomes of a value and of a sum in
 * sqlvalue, the way from records to rows in intake and columns.
 */
#include "sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "sink/deletes.h"
#include "sink/intake.h"
#include "sink/sqlmark.h"
#include "sink/sqlstage.h"
#include "sink/sqltable.h"
#include "sink/sqltext.h"

enum stage { IDLE, STAGING, STAGED };

struct sqlite_sink {
	struct mb_sink head;
	struct mb_sqldb *db;
	char *file;		/* absolute */
	char *place;		/* FILE#TABLE, for messages */
	struct mb_sqltable table;

	/* The batch. */
	enum stage stage;
	uint64_t batch;
	struct mb_columns columns;
	struct mb_intake intake;
	struct mb_deletes *deletes;	/* NULL: no --delete-when */
	struct mb_sqlstage staged;
};

static struct sqlite_sink *
self(struct mb_sink *sink)
{
	return (struct sqlite_sink *)sink;
}

/* The table has been looked at, or made. */
static void
tell_id(struct sqlite_sink *s)
{
	const char *id = s->table.seen.id;

	free(s->head.target_id);
	s->head.target_id = id == NULL ? NULL : mb_strdup(id);
}

static struct mb_sqlmark
mark_of(const struct sqlite_sink *s)
{
	return (struct mb_sqlmark){ .db = s->db, .place = s->place,
		.table = s->table.name, .journal = s->head.options->journal,
		.journal_path = s->head.options->journal_path };
}

static int
check_journal(const struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_sqlmark m = mark_of(s);

	if (s->head.options->accepts_new || !s->table.seen.is_there)
		return 0;
	return mb_sqlmark_check_journal(&m, err);
}

static int
read_marker(const struct sqlite_sink *s, struct mb_marker *out,
    struct mb_err *err)
{
	struct mb_sqlmark m = mark_of(s);

	return mb_sqlmark_read(out, &m, err);
}

/*
 * Whoever moved the marker may have died before its sync, and what recovery
 * found may be in the page cache alone.  Where a checkpoint can't mend that, a
 * transaction that changes a page is synced with all that precedes it.
 */
static int
make_durable(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_sqlmark m = mark_of(s);
	int rc = mb_sqldb_checkpoint(s->db, err);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (mb_sqldb_run(s->db, "BEGIN IMMEDIATE", err) == 0 &&
	    mb_sqlmark_touch(&m, err) == 0 &&
	    mb_sqldb_run(s->db, "COMMIT", err) == 0)
		return 0;
	mb_sqldb_rollback(s->db);
	return -1;
}

static int
lookup(struct mb_sink *sink, struct mb_marker *out, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);

	*out = (struct mb_marker){ 0 };
	if (mb_sqlstage_end(&s->staged, err) < 0)
		return -1;
	/* One transaction: table and marker as of the same moment. */
	if (mb_sqldb_run(s->db, "BEGIN", err) < 0)
		return -1;
	if (mb_sqltable_read(&s->table, err) < 0 ||
	    check_journal(s, err) < 0 || read_marker(s, out, err) < 0 ||
	    mb_sqldb_run(s->db, "COMMIT", err) < 0)
		goto fail;
	tell_id(s);
	if (out->exists && (make_durable(s, err) < 0 ||
	    mb_sqldb_sync_names(s->db, err) < 0))
		goto fail;
	mb_sqldb_trust(s->db);
	return 0;
fail:
	mb_sqldb_rollback(s->db);
	mb_marker_release(out);
	return -1;
}

/*
 * Staging.
 */
static void
abort_batch(struct mb_sink *sink)
{
	struct sqlite_sink *s = self(sink);

	if (s->stage == IDLE)
		return;
	mb_sqlstage_abort(&s->staged);
	mb_columns_reset(&s->columns);
	mb_intake_reset(&s->intake);
	s->stage = IDLE;
}

/* The batch's columns, with the table's as of now. */
static int
begin_columns(struct sqlite_sink *s, enum mb_format format,
    const struct mb_begin *b, struct mb_err *err)
{
	if (mb_sqldb_run(s->db, "BEGIN", err) < 0 ||
	    mb_sqltable_reread(&s->table, err) < 0)
		return -1;
	s->columns.had_table = s->table.seen.is_there;
	if (s->columns.had_table &&
	    mb_sqltable_read_columns(&s->table, &s->columns, err) < 0)
		return -1;
	if (mb_columns_begin(&s->columns, format, b, err) < 0)
		return -1;
	return mb_sqldb_run(s->db, "COMMIT", err);
}

static int
begin(struct mb_sink *sink, const struct mb_begin *b, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);
	enum mb_format format;

	abort_batch(sink);
	if (mb_merge_check(sink->options, b, err) < 0 ||
	    mb_format_parse(&format, b->format, err) < 0)
		return -1;
	s->stage = STAGING;
	s->batch = b->batch;
	if (begin_columns(s, format, b, err) < 0 ||
	    mb_intake_begin(&s->intake, b, err) < 0 ||
	    mb_sqlstage_begin(&s->staged, err) < 0)
		goto fail;
	if (s->deletes != NULL && mb_deletes_begin(s->deletes, b,
	    s->columns.header.n > 0 && format != MB_LINES ?
	    &s->columns.header : NULL, err) < 0)
		goto fail;
	tell_id(s);
	return 0;
fail:
	tell_id(s);
	abort_batch(sink);
	return -1;
}

static int
stage_row(void *arg, struct mb_str record, struct mb_err *err)
{
	struct sqlite_sink *s = arg;
	const struct mb_value *values = s->intake.values;
	const char *why;
	size_t column;
	int rc, deletes = 0;

	rc = mb_sqlstage_set(&s->staged, values, &column, &why, err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_intake_reject(&s->intake, record, column, why, err);
	/* Only what is taken counts for the types. */
	for (size_t i = 0; i < s->columns.n; i++)
		if (s->columns.v[i].is_guessed)
			mb_guess_add(&s->columns.v[i].guess, values[i]);
	if (s->deletes != NULL) {
		deletes = mb_deletes_selects(s->deletes, record, err);
		if (deletes < 0)
			return -1;
	}
	return mb_sqlstage_add(&s->staged, deletes != 0, err);
}

static int
add(struct mb_sink *sink, struct mb_str records, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);

	return mb_intake_add(&s->intake, records, stage_row, s, err);
}

static int
stage(struct mb_sink *sink, uint64_t *rows, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);

	if (mb_intake_end(&s->intake, stage_row, s, err) < 0)
		return -1;
	if (s->staged.n_rows > 0 && mb_columns_settle(&s->columns, err) < 0)
		return -1;
	if (mb_sqlstage_end(&s->staged, err) < 0)
		return -1;
	s->stage = STAGED;
	*rows = s->staged.n_rows;
	return 0;
}

/*
 * The commit.
 */

/* Under the write lock: is everything as it was when we looked? */
static int
compare_target(struct sqlite_sink *s, const struct mb_marker *was,
    struct mb_err *err)
{
	struct mb_marker now = { 0 };
	int rc = -1;

	if (mb_sqltable_reread(&s->table, err) < 0 ||
	    check_journal(s, err) < 0 || read_marker(s, &now, err) < 0)
		goto out;
	if (!mb_marker_eq(&now, was)) {
		mb_fail(err, MB_EEXIST, "%s: the marker of this journal has "
		    "moved", s->place);
		goto out;
	}
	if (s->columns.had_table && !s->table.seen.is_there) {
		mb_fail(err, MB_ECORRUPT, "%s: was dropped while we were at "
		    "work", s->place);
		goto out;
	}
	if (!s->columns.had_table && s->table.seen.is_there &&
	    mb_sqltable_compare_columns(&s->table, &s->columns, err) < 0)
		goto out;
	rc = 0;
out:
	mb_marker_release(&now);
	return rc;
}

/* A database that we make is in WAL mode: its readers needn't wait. */
static int
begin_database(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_statement *st;
	bool is_empty;
	int rc;

	if (mb_statement_open(&st, s->db, "PRAGMA main.page_count", err) < 0)
		return -1;
	rc = mb_statement_next(st, err);
	is_empty = rc > 0 && mb_statement_number(st, 0) == 0;
	mb_statement_close(st);
	if (rc < 0)
		return -1;
	return !is_empty ? 0 : mb_sqldb_run(s->db,
	    "PRAGMA main.journal_mode = WAL", err);
}

/* The staged rows, by whichever way is the target's. */
static int
move_rows(struct sqlite_sink *s, struct mb_err *err)
{
	return s->head.options->n_merge_on > 0 ?
	    mb_sqlstage_merge(&s->staged, err) :
	    mb_sqlstage_append(&s->staged, err);
}

/* Table and rows, marker and positions. */
static int
write_batch(struct sqlite_sink *s, const struct mb_marker *now,
    struct mb_err *err)
{
	struct mb_sqlmark m = mark_of(s);

	if (!s->table.seen.is_there &&
	    mb_sqltable_create(&s->table, &s->columns, err) < 0)
		return -1;
	if (s->head.options->n_merge_on > 0 &&
	    mb_sqltable_have_key_index(&s->table, &s->columns, err) < 0)
		return -1;
	if (move_rows(s, err) < 0)
		return -1;
	if (mb_sqlmark_write(&m, now, s->table.seen.id, err) < 0)
		return -1;
	return mb_sqlmark_write_positions(&m, s->head.positions, err);
}

static int
commit(struct mb_sink *sink, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);
	struct mb_sqltable_seen before = mb_sqltable_keep(&s->table);

	if (!s->columns.had_table && begin_database(s, err) < 0)
		goto fail;
	if (mb_sqldb_run(s->db, "BEGIN IMMEDIATE", err) < 0 ||
	    compare_target(s, was, err) < 0 ||
	    write_batch(s, now, err) < 0 ||
	    mb_sqldb_run(s->db, "COMMIT", err) < 0)
		goto fail;
	s->table.seen.id_is_fresh = false;
	tell_id(s);
	mb_sqltable_seen_release(&before);
	return mb_sqldb_sync_names(s->db, err);
fail:
	/* Also what we know of the table is as before. */
	mb_sqldb_rollback(s->db);
	mb_sqltable_put_back(&s->table, &before);
	return -1;
}

/*
 * Which rows were the batch's?  Appended ones say so in the column `batch` of
 * mb-agg --stamp, as long as no other journal writes to the table.  Merged
 * ones can be merged again if no rule adds up, and nothing came later.
 */
static int
check_redo(struct sqlite_sink *s, const struct mb_marker *was,
    struct mb_err *err)
{
	const struct mb_sink_options *o = s->head.options;
	const struct mb_column *c = mb_columns_find(&s->columns, "batch");
	struct mb_sqlmark m = mark_of(s);
	int rc;

	for (size_t i = 0; i < o->n_merge; i++)
		if (o->merge[i].how != MB_MERGE_REPLACE &&
		    o->merge[i].how != MB_MERGE_KEEP)
			return mb_fail(err, MB_EUSAGE, "%s: --redo: what was "
			    "merged by sum, min or max can't be told from the "
			    "rest", s->place);
	if (o->n_merge_on > 0) {
		if (s->batch != was->last)
			return mb_fail(err, MB_EUSAGE, "%s: --redo: later "
			    "batches have been merged over it", s->place);
		return 0;
	}
	rc = c == NULL || !c->is_in_batch || s->staged.n_rows == 0 ? 0 :
	    mb_sqlstage_is_all(&s->staged, (size_t)(c - s->columns.v),
	    s->batch, err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EUSAGE, "%s: --redo: which rows are the "
		    "batch's only a column \"batch\" can tell (mb-agg "
		    "--stamp), in each of the new rows", s->place);
	rc = mb_sqlmark_is_shared(&m, err);
	if (rc > 0)
		return mb_fail(err, MB_EUSAGE, "%s: --redo: other journals "
		    "commit to the table, too", s->place);
	return rc;
}

static int
delete_batch(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	struct mb_statement *st;
	int rc;

	mb_sqltext_put_delete_batch(&sql, s->table.name);
	if (mb_statement_open_text(&st, s->db, &sql, err) < 0)
		return -1;
	mb_statement_bind_number(st, 1, s->batch);
	rc = mb_statement_next(st, err);
	mb_statement_close(st);
	return rc;
}

static int
redo(struct mb_sink *sink, const struct mb_marker *was, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);
	bool is_merge = sink->options->n_merge_on > 0;

	if (mb_sqldb_run(s->db, "BEGIN IMMEDIATE", err) < 0 ||
	    compare_target(s, was, err) < 0 || check_redo(s, was, err) < 0)
		goto fail;
	if (!is_merge && delete_batch(s, err) < 0)
		goto fail;
	if (s->staged.n_rows > 0 && move_rows(s, err) < 0)
		goto fail;
	if (mb_sqldb_run(s->db, "COMMIT", err) < 0)
		goto fail;
	return mb_sqldb_sync_names(s->db, err);
fail:
	mb_sqldb_rollback(s->db);
	return -1;
}

/*
 * Opening.
 */
static void
close_sink(struct mb_sink *sink)
{
	struct sqlite_sink *s = self(sink);

	/* The connection's functions look at the columns. */
	mb_sqlstage_release(&s->staged);
	mb_sqldb_close(s->db);
	mb_sqltable_release(&s->table);
	mb_columns_release(&s->columns);
	mb_intake_release(&s->intake);
	mb_deletes_close(s->deletes);
	free(s->file);
	free(s->place);
	free(s);
}

static const struct mb_sink_ops ops = {
	.close = close_sink, .lookup = lookup, .begin = begin, .add = add,
	.stage = stage, .commit = commit, .redo = redo, .abort = abort_batch,
};

/* Beside the file others are made: the log of its WAL mode. */
static int
may_write(const struct sqlite_sink *s, struct mb_err *err)
{
	char *dir = mb_strdup(s->file), *slash = strrchr(dir, '/');
	int rc;

	slash[slash == dir] = '\0';
	rc = mb_sink_may_write(s->file, false, s->file, err);
	if (rc == 0)
		rc = mb_sink_may_write(dir, true, dir, err);
	free(dir);
	return rc;
}

/*
 * Find the file, made empty if it isn't there: SQLite would make it, too, but
 * not by umask.  One that is there isn't opened, since to close a descriptor
 * drops the locks that SQLite holds on the file elsewhere in the process.
 */
static int
find_file(struct sqlite_sink *s, const char *path, struct mb_err *err)
{
	struct stat st;
	int fd;

	fd = mb_openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL, 0666);
	if (fd >= 0)
		close(fd);
	else if (errno == ENOENT || errno == ENOTDIR || errno == EISDIR ||
	    mb_sink_is_refused(errno))
		return mb_fail(err, MB_EUSAGE, "%s: %s", path,
		    strerror(errno));
	else if (errno != EEXIST)
		return mb_fail_sys(err, "%s", path);
	if (stat(path, &st) < 0 || (s->file = realpath(path, NULL)) == NULL)
		return mb_fail_sys(err, "%s", path);
	if (!S_ISREG(st.st_mode))
		return mb_fail(err, MB_EUSAGE, "%s: is not a file", path);
	return may_write(s, err);
}

/* The same, but it must be there. */
static int
find_there(struct sqlite_sink *s, const char *path, struct mb_err *err)
{
	s->file = realpath(path, NULL);
	if (s->file == NULL)
		return mb_fail(err, MB_EUSAGE, "%s: %s", path,
		    strerror(errno));
	return 0;
}

static int
open_database(struct sqlite_sink *s, struct mb_err *err)
{
	if (mb_sqldb_open(&s->db, s->file, s->place, err) < 0)
		return -1;
	s->table.db = s->db;
	s->columns.limit = mb_sqldb_max_columns(s->db);
	return mb_sqlstage_open(&s->staged, s->db, err);
}

static int
check_target(struct sqlite_sink *s, struct mb_err *err)
{
	int rc = -1;

	if (mb_sqldb_run(s->db, "BEGIN", err) < 0)
		return -1;
	if (mb_sqltable_read(&s->table, err) == 0 &&
	    check_journal(s, err) == 0)
		rc = mb_sqldb_run(s->db, "COMMIT", err);
	mb_sqldb_rollback(s->db);
	tell_id(s);
	return rc;
}

static char *
join(const char *prefix, const char *file, const char *table)
{
	struct mb_buf b = { 0 };

	mb_buf_addf(&b, "%s%s#%s", prefix, file, table);
	return mb_buf_take(&b);
}

static int
open_sink(struct sqlite_sink **out, const char *file_and_table,
    const struct mb_sink_options *options, bool finds, struct mb_err *err)
{
	const char *hash = strrchr(file_and_table, '#');
	struct sqlite_sink *s;
	char *path, *id;
	int rc;

	if (hash == NULL || hash == file_and_table || hash[1] == '\0')
		return mb_fail(err, MB_EUSAGE, "sqlite:%s: say which table: "
		    "sqlite:FILE#TABLE", file_and_table);
	if (strncasecmp(hash + 1, "sqlite_", 7) == 0 ||
	    strcasecmp(hash + 1, "mb_commits") == 0 ||
	    strcasecmp(hash + 1, "mb_positions") == 0)
		return mb_fail(err, MB_EUSAGE, "sqlite:%s: this name is "
		    "reserved", file_and_table);
	s = mb_zalloc(sizeof *s);
	s->head = (struct mb_sink){ .ops = &ops, .options = options };
	s->place = mb_strdup(file_and_table);
	s->table = (struct mb_sqltable){ .place = s->place,
		.name = mb_strdup(hash + 1) };
	s->columns = (struct mb_columns){ .options = options,
		.place = s->place, .limit_of = "SQLite" };
	s->intake.columns = &s->columns;
	s->staged = (struct mb_sqlstage){ .table = &s->table,
		.columns = &s->columns };
	if (options->delete_when != NULL &&
	    mb_deletes_open(&s->deletes, options, err) < 0)
		goto fail;
	path = mb_strdup(file_and_table);
	path[hash - file_and_table] = '\0';
	rc = finds ? find_there(s, path, err) : find_file(s, path, err);
	free(path);
	if (rc < 0 || open_database(s, err) < 0 ||
	    (!finds && check_target(s, err) < 0))
		goto fail;
	s->head.target = join("sqlite:", s->file, s->table.name);
	*out = s;
	return 0;
fail:
	id = s->head.target_id;
	close_sink(&s->head);
	free(id);
	return -1;
}

int
mb_sink_open_sqlite(struct mb_sink **out, const char *file_and_table,
    const struct mb_sink_options *options, struct mb_err *err)
{
	struct sqlite_sink *s;

	if (open_sink(&s, file_and_table, options, false, err) < 0)
		return -1;
	*out = &s->head;
	return 0;
}

/*
 * Finding a journal that was lost.
 */
static int
find(struct sqlite_sink *s, struct mb_found *out, const char *journal_path,
    struct mb_err *err)
{
	struct mb_sqlmark m;

	if (mb_sqltable_read(&s->table, err) < 0)
		return -1;
	m = mark_of(s);
	m.journal_path = journal_path;
	if (mb_sqlmark_find_journal(out, &m, err) < 0)
		return -1;
	m.journal = out->journal;
	if (!s->table.seen.is_there)
		return mb_fail(err, MB_EUSAGE, "%s: the table is gone",
		    s->place);
	if (mb_sqlmark_read(&out->marker, &m, err) < 0 ||
	    mb_sqlmark_find_positions(out, &m, err) < 0)
		return -1;
	out->target = join("sqlite:", s->file, s->table.name);
	out->target_id = mb_strdup(s->table.seen.id);
	return 0;
}

int
mb_sink_find_sqlite(struct mb_found *out, const char *file_and_table,
    const char *journal_path, struct mb_err *err)
{
	struct mb_sink_options none = { 0 };
	struct sqlite_sink *s;
	int rc = -1;

	if (open_sink(&s, file_and_table, &none, true, err) < 0)
		return -1;
	if (mb_sqldb_run(s->db, "BEGIN", err) == 0 &&
	    find(s, out, journal_path, err) == 0)
		rc = mb_sqldb_run(s->db, "COMMIT", err);
	mb_sink_close(&s->head);
	return rc;
}
