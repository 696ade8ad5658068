/*
 * sqlite.c - batches into a table of an SQLite database.
 *
 *	IDLE -> STAGING		[begin]
 *	STAGING -> STAGED	[stage]
 *	STAGED -> STAGED	[commit, as often as it takes]
 *	any -> IDLE		[abort]
 *
 * Where things are.  Staged rows are in temp.mb_stage, on the connection that
 * commits them; temporary tables live in a file of their own that SQLite has
 * already unlinked, so memory is bounded and nothing stays behind.  Staging
 * takes no lock on the database.  commit() is one transaction: it takes the
 * write lock, reads the marker again, moves the rows over, moves the marker.
 *
 * S1. The marker is compared under the write lock of the transaction that
 *     moves it, together with the rows.
 * S2. Nothing is written into a database before the first commit, unless a
 *     marker of this journal is in it.
 * S3. Nothing of a record is ever part of an SQL text but the names of its
 *     fields, and these are quoted (sqltext.h).
 *
 * After an error.  BEGIN IMMEDIATE that finds the lock taken has done nothing
 * (MB_EBUSY).  When COMMIT fails with an I/O error the connection goes on to
 * be used, and that is on purpose: it knows what the file says as of the last
 * good commit (in WAL mode frames that were written but not synced aren't in
 * the index that readers go by), while a new connection could take such
 * frames for committed, although the kernel may have dropped their pages
 * after the failed sync.  The next commit writes the same frames over.  The
 * staged rows were committed to the temporary database long before, which a
 * rollback of ours doesn't touch.
 *
 * Here is what needs SQLite itself.  The statements' texts are in sqltext,
 * what becomes of a value and of a sum in sqlvalue, the way from records to
 * rows in intake and columns.
 */
#include "sink/sink.h"

#ifdef MB_NO_SQLITE

int
mb_sink_open_sqlite(struct mb_sink **out, const char *file_and_table,
    const struct mb_sink_options *options, struct mb_err *err)
{
	(void)out;
	(void)options;
	return mb_fail(err, MB_EUSAGE, "sqlite:%s: this mb was built without "
	    "SQLite (make SQLITE=yes)", file_and_table);
}

int
mb_sink_find_sqlite(struct mb_found *out, const char *file_and_table,
    const char *journal_path, struct mb_err *err)
{
	(void)out;
	(void)journal_path;
	return mb_fail(err, MB_EUSAGE, "sqlite:%s: this mb was built without "
	    "SQLite (make SQLITE=yes)", file_and_table);
}

#else

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/io.h"
#include "sink/columns.h"
#include "sink/deletes.h"
#include "sink/intake.h"
#include "sink/positions.h"
#include "sink/sqltext.h"
#include "sink/sqlvalue.h"

enum { BUSY_MS = 1000 };	/* mb-commit tries again, with back-off */

/* What the id of a table begins with that we haven't made. */
#define FOREIGN "foreign:"

/*
 * journal	id of the journal
 * table	where its batches are
 * journal_path	where the journal was; NULL once another one took its place
 * target_id	id of the table: the one in its CREATE TABLE, or one that we
 *		gave a table that others made
 * first, last	batches of this journal that are here, but for the holes
 * digest	of batch `last`
 * holes	"3,5-7"
 * times_checked	writing it is how a marker of unknown durability is
 *		made durable; without meaning
 *
 * Not STRICT: one such table and no SQLite before 3.37 opens the file.
 */
static const char create_commits[] =
	"CREATE TABLE IF NOT EXISTS main.mb_commits ("
	"journal TEXT NOT NULL, "
	"\"table\" TEXT NOT NULL COLLATE NOCASE, "
	"journal_path TEXT, "
	"target_id TEXT NOT NULL, "
	"first INTEGER NOT NULL, "
	"last INTEGER NOT NULL, "
	"digest TEXT NOT NULL, "
	"holes TEXT NOT NULL, "
	"times_checked INTEGER NOT NULL DEFAULT 0, "
	"PRIMARY KEY (journal, \"table\"))";

/*
 * How far the sources have been read: sink.h, mb_positions.  '' as key has
 * what is open.
 */
static const char create_positions[] =
	"CREATE TABLE IF NOT EXISTS main.mb_positions ("
	"journal TEXT NOT NULL, "
	"\"table\" TEXT NOT NULL COLLATE NOCASE, "
	"key TEXT NOT NULL, "
	"position TEXT NOT NULL, "
	"run INTEGER NOT NULL, "
	"PRIMARY KEY (journal, \"table\", key)) WITHOUT ROWID";

enum stage { IDLE, STAGING, STAGED };

struct sqlite_sink {
	struct mb_sink head;
	sqlite3 *db;
	char *file;		/* absolute */
	char *table;		/* as it is spelt there, once it is there */
	char *place;		/* FILE#TABLE, for messages */
	bool has_table;
	bool is_strict;
	bool id_is_fresh;	/* made up by us, not yet in the database */
	bool has_synced_names;	/* of the database and its WAL */
	bool is_poisoned;	/* that failed: only close may follow */

	/* The batch. */
	enum stage stage;
	uint64_t batch;
	struct mb_columns columns;
	struct mb_intake intake;
	struct mb_deletes *deletes;	/* NULL: no --delete-when */
	size_t n_stage;		/* columns of temp.mb_stage; 0: not there */
	sqlite3_stmt *insert;	/* into it */
	struct mb_buf tagged;
	uint64_t n_rows;
};

static struct sqlite_sink *
self(struct mb_sink *sink)
{
	return (struct sqlite_sink *)sink;
}

/*
 * SQLite's errors.
 */
static enum mb_code
code_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return MB_EBUSY;
	case SQLITE_ERROR:	/* the table has changed, a sum is too large */
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
		return MB_EDATA;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return MB_ECORRUPT;
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
		return MB_EBUG;
	default:
		return MB_EIO;
	}
}

static int
fail_sql(const struct sqlite_sink *s, struct mb_err *err)
{
	int rc = sqlite3_extended_errcode(s->db);
	int e = sqlite3_system_errno(s->db);

	if (((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) &&
	    e != 0)
		return mb_fail(err, code_of(rc), "%s: %s: %s", s->place,
		    sqlite3_errmsg(s->db), strerror(e));
	return mb_fail(err, code_of(rc), "%s: %s", s->place,
	    sqlite3_errmsg(s->db));
}

static int
run(struct sqlite_sink *s, const char *sql, struct mb_err *err)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return fail_sql(s, err);
	return 0;
}

static int
prepare(struct sqlite_sink *s, sqlite3_stmt **out, const char *sql,
    struct mb_err *err)
{
	if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) != SQLITE_OK)
		return fail_sql(s, err);
	return 0;
}

/* 1 a row, 0 the end. */
static int
step(struct sqlite_sink *s, sqlite3_stmt *st, struct mb_err *err)
{
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return fail_sql(s, err);
	}
}

static void
bind_str(sqlite3_stmt *st, int i, const char *text)
{
	sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

static const char *
text_of(sqlite3_stmt *st, int i)
{
	const char *text = (const char *)sqlite3_column_text(st, i);

	return text == NULL ? "" : text;
}

/* Does the query (with ?1) give a row? */
static int
ask(struct sqlite_sink *s, const char *sql, const char *arg,
    struct mb_err *err)
{
	sqlite3_stmt *st;
	int rc;

	if (prepare(s, &st, sql, err) < 0)
		return -1;
	bind_str(st, 1, arg);
	rc = step(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

/* End whatever transaction is open, also one that SQLite has ended itself. */
static void
rollback(struct sqlite_sink *s)
{
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

/*
 * The target: which table it is.
 */
static void
set_target_id(struct sqlite_sink *s, const char *id)
{
	free(s->head.target_id);
	s->head.target_id = id == NULL ? NULL : mb_strdup(id);
	s->id_is_fresh = false;
}

static int
has_commits(struct sqlite_sink *s, struct mb_err *err)
{
	return ask(s, "SELECT 1 FROM main.sqlite_master WHERE type = 'table' "
	    "AND name = ?1", "mb_commits", err);
}

/*
 * A table that others made has the id that the first journal gave it.  One
 * that we made has lost its comment only if it was dropped and made anew by
 * others; a fresh id says that.
 */
static int
find_foreign_id(struct sqlite_sink *s, struct mb_err *err)
{
	char id[sizeof FOREIGN + MB_HASH_LEN] = FOREIGN;
	sqlite3_stmt *st;
	int rc = has_commits(s, err);

	if (rc < 0)
		return -1;
	if (rc > 0) {
		if (prepare(s, &st, "SELECT target_id FROM main.mb_commits "
		    "WHERE \"table\" = ?1 AND target_id LIKE '" FOREIGN "%'",
		    err) < 0)
			return -1;
		bind_str(st, 1, s->table);
		rc = step(s, st, err);
		if (rc > 0)
			set_target_id(s, text_of(st, 0));
		sqlite3_finalize(st);
		if (rc != 0)
			return rc > 0 ? 0 : -1;
	}
	if (s->id_is_fresh)
		return 0;
	if (mb_random_hex(id + strlen(FOREIGN), MB_HASH_LEN / 2, err) < 0)
		return -1;
	set_target_id(s, id);
	s->id_is_fresh = true;
	return 0;
}

/* Is the table there, how is it spelt, and which one is it? */
static int
read_table(struct sqlite_sink *s, struct mb_err *err)
{
	char id[MB_HASH_LEN + 1];
	sqlite3_stmt *st;
	int rc;

	if (prepare(s, &st, "SELECT type, name, sql FROM main.sqlite_master "
	    "WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE",
	    err) < 0)
		return -1;
	bind_str(st, 1, s->table);
	rc = step(s, st, err);
	if (rc < 0)
		goto out;
	s->has_table = rc > 0;
	if (!s->has_table) {
		set_target_id(s, NULL);
		goto out;
	}
	if (strcmp(text_of(st, 0), "view") == 0 ||
	    sqlite3_strnicmp(text_of(st, 2), "CREATE VIRTUAL", 14) == 0) {
		rc = mb_fail(err, MB_EUSAGE, "%s: is not an ordinary table",
		    s->place);
		goto out;
	}
	if (strcmp(s->table, text_of(st, 1)) != 0) {
		free(s->table);
		s->table = mb_strdup(text_of(st, 1));
	}
	if (mb_sqltext_id(id, s->table, text_of(st, 2)))
		set_target_id(s, id);
	else
		rc = find_foreign_id(s, err);
out:
	sqlite3_finalize(st);
	return rc < 0 ? -1 : 0;
}

/*
 * Read it again: it must still be the table that we have told of.  That it
 * has come to be since is fine, as far as its columns are (compare_columns).
 */
static int
reread_table(struct sqlite_sink *s, struct mb_err *err)
{
	char *id = s->head.target_id == NULL || s->id_is_fresh ? NULL :
	    mb_strdup(s->head.target_id);
	int rc = read_table(s, err);

	if (rc == 0 && id != NULL && (s->head.target_id == NULL ||
	    strcmp(s->head.target_id, id) != 0)) {
		rc = mb_fail(err, MB_ECORRUPT, "%s: was dropped or made anew "
		    "while we were at work", s->place);
		set_target_id(s, id);
	}
	free(id);
	return rc;
}

/*
 * The marker.
 */
static int
read_marker(struct sqlite_sink *s, struct mb_marker *m, struct mb_err *err)
{
	sqlite3_stmt *st;
	int rc = has_commits(s, err);

	*m = (struct mb_marker){ 0 };
	if (rc <= 0)
		return rc;
	if (prepare(s, &st, "SELECT first, last, digest, holes "
	    "FROM main.mb_commits WHERE journal = ?1 AND \"table\" = ?2",
	    err) < 0)
		return -1;
	bind_str(st, 1, s->head.options->journal);
	bind_str(st, 2, s->table);
	rc = step(s, st, err);
	if (rc > 0) {
		m->exists = true;
		m->first = (uint64_t)sqlite3_column_int64(st, 0);
		m->last = (uint64_t)sqlite3_column_int64(st, 1);
		if (m->first > m->last ||
		    !mb_is_hex(mb_str(text_of(st, 2)), MB_HASH_LEN))
			rc = mb_fail(err, MB_ECORRUPT, "%s: damaged marker "
			    "in mb_commits", s->place);
		else
			memcpy(m->digest.hex, text_of(st, 2), MB_HASH_LEN);
		if (rc > 0 &&
		    mb_marker_parse_holes(m, text_of(st, 3), err) < 0)
			rc = mb_wrap(err, "%s", s->place);
	}
	sqlite3_finalize(st);
	if (rc < 0)
		mb_marker_release(m);
	return rc < 0 ? -1 : 0;
}

/*
 * Has another journal been where ours is, and left its batches here?  Then it
 * was lost, and to begin anew would double what it had committed.
 */
static int
check_journal(struct sqlite_sink *s, struct mb_err *err)
{
	const struct mb_sink_options *o = s->head.options;
	sqlite3_stmt *st;
	int rc;

	if (o->accepts_new || !s->has_table || o->journal_path == NULL)
		return 0;
	rc = has_commits(s, err);
	if (rc <= 0)
		return rc;
	if (prepare(s, &st, "SELECT first, last, journal FROM main.mb_commits "
	    "WHERE \"table\" = ?1 AND journal_path = ?2 AND journal <> ?3",
	    err) < 0)
		return -1;
	bind_str(st, 1, s->table);
	bind_str(st, 2, o->journal_path);
	bind_str(st, 3, o->journal);
	rc = step(s, st, err);
	if (rc > 0)
		rc = mb_fail(err, MB_ECORRUPT, "%s: has batches %s-%s of "
		    "another journal that was at %s (id %s): it was lost or "
		    "made anew; --new-target begins a new stream", s->place,
		    text_of(st, 0), text_of(st, 1), o->journal_path,
		    text_of(st, 2));
	sqlite3_finalize(st);
	return rc;
}

/*
 * Whoever moved the marker may have died before its sync, and what recovery
 * found may be in the page cache alone.  A checkpoint that gets to the end of
 * the WAL syncs the WAL, copies all of it and syncs the database: nothing
 * safer can be asked for.  Where readers keep it from that, or there is no
 * WAL, a transaction that changes a page is synced with all that precedes it
 * (synchronous=EXTRA: and the removal of a rollback journal, too).
 */
static int
make_durable(struct sqlite_sink *s, struct mb_err *err)
{
	int n_log = -1, n_done = -1, rc;
	sqlite3_stmt *st;

	rc = sqlite3_wal_checkpoint_v2(s->db, "main",
	    SQLITE_CHECKPOINT_PASSIVE, &n_log, &n_done);
	if (rc == SQLITE_OK && n_log >= 0 && n_log == n_done)
		return 0;
	if (rc != SQLITE_OK && code_of(rc) != MB_EBUSY)
		return fail_sql(s, err);
	if (run(s, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	if (prepare(s, &st, "UPDATE main.mb_commits SET times_checked = "
	    "times_checked + 1 WHERE journal = ?1 AND \"table\" = ?2",
	    err) < 0)
		goto fail;
	bind_str(st, 1, s->head.options->journal);
	bind_str(st, 2, s->table);
	rc = step(s, st, err);
	sqlite3_finalize(st);
	if (rc < 0 || run(s, "COMMIT", err) < 0)
		goto fail;
	return 0;
fail:
	rollback(s);
	return -1;
}

/*
 * SQLite syncs the directory when it has made its WAL, but takes no notice of
 * a failure; then a power cut loses the WAL's name, and what is committed in
 * it.  So we sync it too, once per run, before anyone is told of a commit.
 */
static int
sync_names(struct sqlite_sink *s, struct mb_err *err)
{
	char *dir, *slash;
	int fd, rc;

	if (s->is_poisoned)
		return mb_fail(err, MB_EIO, "sqlite:%s: a sync of its "
		    "directory has failed before", s->place);
	if (s->has_synced_names)
		return 0;
	dir = mb_strdup(s->file);
	slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	fd = mb_openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	rc = fd < 0 ? mb_fail_sys(err, "open %s", dir) :
	    mb_fsync(fd, dir, err);
	if (fd >= 0)
		close(fd);
	free(dir);
	s->has_synced_names = rc == 0;
	s->is_poisoned = rc < 0;
	return rc;
}

/* Leave the transaction in which rows are staged, with the rows. */
static int
end_staging(struct sqlite_sink *s, struct mb_err *err)
{
	sqlite3_reset(s->insert);
	if (!sqlite3_get_autocommit(s->db))
		return run(s, "COMMIT", err);
	return 0;
}

static int
lookup(struct mb_sink *sink, struct mb_marker *out, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);

	*out = (struct mb_marker){ 0 };
	/* One transaction: table and marker as of the same moment. */
	if (s->is_poisoned)
		return sync_names(s, err);
	if (end_staging(s, err) < 0 || run(s, "BEGIN", err) < 0)
		return -1;
	if (read_table(s, err) < 0 || check_journal(s, err) < 0 ||
	    read_marker(s, out, err) < 0 || run(s, "COMMIT", err) < 0)
		goto fail;
	if (out->exists && (make_durable(s, err) < 0 ||
	    sync_names(s, err) < 0))
		goto fail;
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return 0;
fail:
	rollback(s);
	mb_marker_release(out);
	return -1;
}

/*
 * The columns of a table that is there.
 */
static int
read_strict(struct sqlite_sink *s, struct mb_err *err)
{
	int rc;

	s->is_strict = false;
	/* Before 3.37 there was neither this pragma nor what it tells. */
	if (sqlite3_libversion_number() < 3037000)
		return 0;
	rc = ask(s, "SELECT 1 FROM pragma_table_list WHERE schema = 'main' "
	    "AND name = ?1 AND strict", s->table, err);
	s->is_strict = rc > 0;
	return rc < 0 ? -1 : 0;
}

static int
read_columns(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_column *c;
	size_t pk = SIZE_MAX;
	sqlite3_stmt *st;
	int n_pk = 0, rc;

	if (prepare(s, &st, "SELECT name, type, \"notnull\", dflt_value, pk, "
	    "hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
	    err) < 0)
		return -1;
	bind_str(st, 1, s->table);
	while ((rc = step(s, st, err)) > 0) {
		if (sqlite3_column_int(st, 5) != 0)
			continue;	/* generated */
		c = mb_columns_add(&s->columns, text_of(st, 0));
		c->type = mb_sqltext_type(text_of(st, 1));
		c->is_not_null = sqlite3_column_int(st, 2) != 0;
		c->has_default = sqlite3_column_type(st, 3) != SQLITE_NULL;
		if (sqlite3_column_int(st, 4) != 0 && n_pk++ == 0 &&
		    sqlite3_stricmp(text_of(st, 1), "INTEGER") == 0)
			pk = s->columns.n - 1;
	}
	sqlite3_finalize(st);
	if (rc < 0)
		return -1;
	/* The key is the rowid itself if no index had to be made for it. */
	if (pk != SIZE_MAX && n_pk == 1) {
		rc = ask(s, "SELECT 1 FROM pragma_index_list(?1, 'main') "
		    "WHERE origin = 'pk'", s->table, err);
		if (rc < 0)
			return -1;
		c = &s->columns.v[pk];
		c->is_rowid = rc == 0;
		c->is_not_null &= !c->is_rowid;
	}
	return read_strict(s, err);
}

/*
 * Staging.
 */
static void
clear_batch(struct sqlite_sink *s)
{
	mb_columns_reset(&s->columns);
	mb_intake_reset(&s->intake);
	s->n_rows = 0;
	s->stage = IDLE;
}

static void
abort_batch(struct mb_sink *sink)
{
	struct sqlite_sink *s = self(sink);

	if (s->stage == IDLE)
		return;
	sqlite3_reset(s->insert);
	rollback(s);
	/* Rows that can't be deleted now are, or fail, at the next begin. */
	if (s->n_stage > 0)
		sqlite3_exec(s->db, "DELETE FROM temp.mb_stage", NULL, NULL,
		    NULL);
	clear_batch(s);
}

/* Run the statement whose text is in sql. */
static int
run_text(struct sqlite_sink *s, struct mb_buf *sql, struct mb_err *err)
{
	int rc = run(s, mb_buf_str(sql), err);

	mb_buf_release(sql);
	return rc;
}

/* An empty temp.mb_stage as wide as the columns. */
static int
clear_stage(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };

	if (s->n_stage == s->columns.n && s->n_stage > 0)
		return run(s, "DELETE FROM temp.mb_stage", err);
	sqlite3_finalize(s->insert);
	s->insert = NULL;
	s->n_stage = 0;
	if (run(s, "DROP TABLE IF EXISTS temp.mb_stage", err) < 0)
		return -1;
	mb_sqltext_put_create_stage(&sql, &s->columns);
	if (run_text(s, &sql, err) < 0)
		return -1;
	s->n_stage = s->columns.n;
	return 0;
}

/* ndjson: columns turn up as records come. */
static int
widen_stage(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };

	sqlite3_finalize(s->insert);
	s->insert = NULL;
	for (; s->n_stage < s->columns.n; s->n_stage++) {
		mb_sqltext_put_widen_stage(&sql, s->n_stage);
		if (run_text(s, &sql, err) < 0)
			return -1;
	}
	return 0;
}

static int
prepare_insert(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	int rc;

	mb_sqltext_put_insert_stage(&sql, &s->columns);
	rc = prepare(s, &s->insert, mb_buf_str(&sql), err);
	mb_buf_release(&sql);
	return rc;
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
	if (run(s, "BEGIN", err) < 0)
		goto fail;
	if (reread_table(s, err) < 0)
		goto fail;
	s->columns.had_table = s->has_table;
	if (s->has_table && read_columns(s, err) < 0)
		goto fail;
	if (mb_columns_begin(&s->columns, format, b, err) < 0 ||
	    run(s, "COMMIT", err) < 0)
		goto fail;
	if (mb_intake_begin(&s->intake, b, err) < 0 ||
	    clear_stage(s, err) < 0)
		goto fail;
	if (s->deletes != NULL && mb_deletes_begin(s->deletes, b,
	    s->columns.header.n > 0 && format != MB_LINES ?
	    &s->columns.header : NULL, err) < 0)
		goto fail;
	/* Of temp alone: no lock on the database is taken by it. */
	if (run(s, "BEGIN", err) < 0)
		goto fail;
	return 0;
fail:
	abort_batch(sink);
	return -1;
}

static int
bind_value(sqlite3_stmt *st, int i, const struct mb_sqlvalue *v)
{
	switch (v->kind) {
	case MB_SQL_INTEGER:
		return sqlite3_bind_int64(st, i, v->i);
	case MB_SQL_REAL:
		return sqlite3_bind_double(st, i, v->d);
	case MB_SQL_TEXT:
		return sqlite3_bind_text64(st, i, v->bytes.p, v->bytes.len,
		    SQLITE_STATIC, SQLITE_UTF8);
	case MB_SQL_BLOB:
		return sqlite3_bind_blob64(st, i, v->bytes.p, v->bytes.len,
		    SQLITE_STATIC);
	default:
		return sqlite3_bind_null(st, i);
	}
}

static void
return_value(sqlite3_context *ctx, const struct mb_sqlvalue *v)
{
	switch (v->kind) {
	case MB_SQL_INTEGER:
		sqlite3_result_int64(ctx, v->i);
		break;
	case MB_SQL_REAL:
		sqlite3_result_double(ctx, v->d);
		break;
	case MB_SQL_TEXT:
		sqlite3_result_text64(ctx, v->bytes.p, v->bytes.len,
		    SQLITE_TRANSIENT, SQLITE_UTF8);
		break;
	case MB_SQL_BLOB:
		sqlite3_result_blob64(ctx, v->bytes.p, v->bytes.len,
		    SQLITE_TRANSIENT);
		break;
	default:
		sqlite3_result_null(ctx);
		break;
	}
}

/*
 * While a column's type is being inferred its values are staged as a byte
 * that tells their kind and the bytes; mb_typed makes values of them.
 */
static char
tag_of(enum mb_kind kind)
{
	return (char)('0' + (int)kind);
}

static const char *
bind_tagged(struct sqlite_sink *s, int i, struct mb_value v)
{
	int rc;

	if (v.kind == MB_NULL) {
		rc = sqlite3_bind_null(s->insert, i);
	} else {
		mb_buf_reset(&s->tagged);
		mb_buf_addc(&s->tagged, tag_of(v.kind));
		mb_buf_add(&s->tagged, v.p, v.len);
		rc = sqlite3_bind_blob64(s->insert, i, s->tagged.p,
		    s->tagged.len, SQLITE_TRANSIENT);
	}
	return rc == SQLITE_OK ? NULL : "too long";
}

/* mb_typed(tagged, column) */
static void
typed_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	const struct sqlite_sink *s = sqlite3_user_data(ctx);
	const struct mb_column *c = &s->columns.v[sqlite3_value_int(argv[1])];
	const char *p = sqlite3_value_blob(argv[0]), *why;
	struct mb_value v = mb_value_null();
	struct mb_sqlvalue out;

	(void)argc;
	if (p != NULL)
		v = (struct mb_value){ .p = p + 1,
			.len = (size_t)sqlite3_value_bytes(argv[0]) - 1,
			.kind = (enum mb_kind)(*p - '0') };
	why = mb_sqlvalue_set(&out, c, s->is_strict, v);
	if (why != NULL)
		sqlite3_result_error(ctx, why, -1);
	else
		return_value(ctx, &out);
}

static int
stage_row(void *arg, struct mb_str record, struct mb_err *err)
{
	struct sqlite_sink *s = arg;
	const struct mb_value *values = s->intake.values;
	const char *why;
	int deletes = 0;

	if (s->n_stage < s->columns.n && widen_stage(s, err) < 0)
		return -1;
	if (s->insert == NULL && prepare_insert(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->columns.n; i++) {
		struct mb_column *c = &s->columns.v[i];
		struct mb_sqlvalue out;

		if (!c->is_in_batch) {
			sqlite3_bind_null(s->insert, (int)i + 1);
			continue;
		}
		if (c->is_guessed)
			why = bind_tagged(s, (int)i + 1, values[i]);
		else if ((why = mb_sqlvalue_set(&out, c, s->is_strict,
		    values[i])) == NULL &&
		    bind_value(s->insert, (int)i + 1, &out) != SQLITE_OK)
			why = "too long";
		if (why != NULL)
			return mb_intake_reject(&s->intake, record, i, why,
			    err);
	}
	/* Only what is taken counts for the types. */
	for (size_t i = 0; i < s->columns.n; i++)
		if (s->columns.v[i].is_guessed)
			mb_guess_add(&s->columns.v[i].guess, values[i]);
	if (s->deletes != NULL) {
		deletes = mb_deletes_selects(s->deletes, record, err);
		if (deletes < 0)
			return -1;
	}
	sqlite3_bind_int(s->insert, (int)s->columns.n + 1, deletes);
	if (step(s, s->insert, err) < 0)
		return -1;
	sqlite3_reset(s->insert);
	s->n_rows++;
	return 0;
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
	if (s->n_rows > 0 && mb_columns_settle(&s->columns, err) < 0)
		return -1;
	if (end_staging(s, err) < 0)
		return -1;
	s->stage = STAGED;
	*rows = s->n_rows;
	return 0;
}

/*
 * Sums in SQL: mb_sum_int, mb_sum_real and mb_sum_decimal(there, added,
 * column).  Null is skipped.
 */
static bool
sum_of_null(sqlite3_context *ctx, sqlite3_value **argv)
{
	for (int i = 0; i < 2; i++)
		if (sqlite3_value_type(argv[i]) == SQLITE_NULL) {
			sqlite3_result_value(ctx, argv[1 - i]);
			return true;
		}
	return false;
}

static struct mb_sqlvalue
number_of(sqlite3_value *v)
{
	switch (sqlite3_value_type(v)) {
	case SQLITE_INTEGER:
		return (struct mb_sqlvalue){ .kind = MB_SQL_INTEGER,
			.i = sqlite3_value_int64(v) };
	case SQLITE_FLOAT:
		return (struct mb_sqlvalue){ .kind = MB_SQL_REAL,
			.d = sqlite3_value_double(v) };
	default:	/* text and blobs can't be summed */
		return (struct mb_sqlvalue){ .kind = MB_SQL_TEXT };
	}
}

static void
sum(sqlite3_context *ctx, sqlite3_value **argv, mb_sqlvalue_sum_fn *add_up)
{
	const struct sqlite_sink *s = sqlite3_user_data(ctx);
	struct mb_sqlvalue there, added, total;
	struct mb_err err = { 0 };

	if (sum_of_null(ctx, argv))
		return;
	there = number_of(argv[0]);
	added = number_of(argv[1]);
	if (add_up(&total, &there, &added, &err) < 0) {
		mb_wrap(&err, "sum of column %.100s",
		    s->columns.v[sqlite3_value_int(argv[2])].name);
		sqlite3_result_error(ctx, err.msg, -1);
		return;
	}
	return_value(ctx, &total);
}

static void
sum_int_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	sum(ctx, argv, mb_sqlvalue_sum_int);
}

static void
sum_real_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	sum(ctx, argv, mb_sqlvalue_sum_real);
}

static void
sum_decimal_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	sum(ctx, argv, mb_sqlvalue_sum_decimal);
}

static int
define_functions(struct sqlite_sink *s, struct mb_err *err)
{
	static const struct {
		const char *name;
		int n_args;
		void (*call)(sqlite3_context *, int, sqlite3_value **);
	} functions[] = {
		{ "mb_typed", 2, typed_function },
		{ "mb_sum_int", 3, sum_int_function },
		{ "mb_sum_real", 3, sum_real_function },
		{ "mb_sum_decimal", 3, sum_decimal_function },
	};

	/* DIRECTONLY: nothing in the file's schema can call them. */
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		if (sqlite3_create_function_v2(s->db, functions[i].name,
		    functions[i].n_args, SQLITE_UTF8 | SQLITE_DETERMINISTIC |
		    SQLITE_DIRECTONLY, s, functions[i].call, NULL, NULL,
		    NULL) != SQLITE_OK)
			return fail_sql(s, err);
	return 0;
}

/*
 * The commit.
 */
static int
create_table(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	char id[MB_HASH_LEN + 1];

	if (mb_random_hex(id, MB_HASH_LEN / 2, err) < 0)
		return -1;
	mb_sqltext_put_create(&sql, s->table, id, &s->columns);
	if (run_text(s, &sql, err) < 0)
		return -1;
	set_target_id(s, id);
	return 0;
}

/*
 * The table wasn't there when the batch was staged, and now it is: another
 * journal began at the same time.  Had it been there, would the rows be the
 * same?
 */
static int
compare_columns(struct sqlite_sink *s, struct mb_err *err)
{
	sqlite3_stmt *st;
	size_t n = 0;
	int rc;

	if (prepare(s, &st, "SELECT name, type FROM "
	    "pragma_table_xinfo(?1, 'main')", err) < 0)
		return -1;
	bind_str(st, 1, s->table);
	while ((rc = step(s, st, err)) > 0) {
		const struct mb_column *c = mb_columns_find(&s->columns, text_of(st, 0));

		n += c != NULL && mb_type_eq(c->type,
		    mb_sqltext_type(text_of(st, 1)));
	}
	sqlite3_finalize(st);
	if (rc == 0 && n < s->columns.n)
		rc = mb_fail(err, MB_EBUSY, "%s: was just made by another, "
		    "with other columns than this batch has; start again",
		    s->place);
	return rc;
}

/* Is there a plain index of ours or others that begins with the keys? */
static int
has_key_index(struct sqlite_sink *s, struct mb_err *err)
{
	sqlite3_stmt *st;
	size_t n_keys = 0, n_found = 0;
	int rc, index = -1;
	bool found = false;

	for (size_t i = 0; i < s->columns.n; i++) {
		n_keys += s->columns.v[i].is_key;
		if (s->columns.v[i].is_key && s->columns.v[i].is_rowid)
			return 1;
	}
	if (prepare(s, &st, "SELECT l.seq, x.name FROM "
	    "pragma_index_list(?1, 'main') l, "
	    "pragma_index_xinfo(l.name, 'main') x "
	    "WHERE NOT l.partial AND x.key AND x.seqno < ?2 "
	    "ORDER BY l.seq", err) < 0)
		return -1;
	bind_str(st, 1, s->table);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)n_keys);
	while ((rc = step(s, st, err)) > 0) {
		const struct mb_column *c = mb_columns_find(&s->columns, text_of(st, 1));

		if (index != sqlite3_column_int(st, 0))
			n_found = 0;
		index = sqlite3_column_int(st, 0);
		n_found += c != NULL && c->is_key;
		found |= n_found == n_keys;
	}
	sqlite3_finalize(st);
	return rc < 0 ? -1 : found;
}

/* Keys that are there twice are noticed when they are met. */
static int
create_key_index(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	int rc = has_key_index(s, err);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	mb_sqltext_put_key_index(&sql, s->table, &s->columns);
	return run_text(s, &sql, err);
}

static int
append_rows(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };

	mb_sqltext_put_append(&sql, s->table, &s->columns);
	return run_text(s, &sql, err);
}

/* "day = '2026-11-23', status = NULL" for a message. */
static void
put_keys(struct mb_buf *out, const struct sqlite_sink *s, sqlite3_stmt *row)
{
	const char *sep = "";
	int n = 0;

	for (size_t i = 0; i < s->columns.n; i++) {
		int k = n;

		n += mb_column_is_inserted(&s->columns.v[i]);
		if (!s->columns.v[i].is_key)
			continue;
		mb_buf_addf(out, "%s%s ", sep, s->columns.v[i].name);
		sep = ", ";
		if (sqlite3_column_type(row, k) == SQLITE_NULL)
			mb_buf_adds(out, "null");
		else
			mb_buf_addf(out, "\"%.60s\"", text_of(row, k));
	}
}

static int
run_with(struct sqlite_sink *s, sqlite3_stmt *st, sqlite3_stmt *row,
    struct mb_err *err)
{
	int rc;

	for (int i = 0; i < sqlite3_bind_parameter_count(st); i++)
		sqlite3_bind_value(st, i + 1, sqlite3_column_value(row, i));
	rc = step(s, st, err);
	sqlite3_reset(st);
	return rc;
}

/* Row by row and in order, so that rows of one key fold. */
static int
merge_rows(struct sqlite_sink *s, struct mb_err *err)
{
	sqlite3_stmt *row = NULL, *update = NULL, *insert = NULL;
	sqlite3_stmt *delete = NULL;
	struct mb_buf sql = { 0 }, keys = { 0 };
	bool deletes;
	int rc = -1, n;

	mb_sqltext_put_select(&sql, &s->columns, true);
	if (prepare(s, &row, mb_buf_str(&sql), err) < 0)
		goto out;
	mb_buf_reset(&sql);
	mb_sqltext_put_update(&sql, s->table, &s->columns);
	if (prepare(s, &update, mb_buf_str(&sql), err) < 0)
		goto out;
	mb_buf_reset(&sql);
	mb_sqltext_put_insert(&sql, s->table, &s->columns);
	if (prepare(s, &insert, mb_buf_str(&sql), err) < 0)
		goto out;
	mb_buf_reset(&sql);
	mb_sqltext_put_delete(&sql, s->table, &s->columns);
	if (prepare(s, &delete, mb_buf_str(&sql), err) < 0)
		goto out;
	while ((rc = step(s, row, err)) > 0) {
		deletes = sqlite3_column_int(row,
		    sqlite3_column_count(row) - 1) != 0;
		if (run_with(s, deletes ? delete : update, row, err) < 0)
			goto fail;
		n = sqlite3_changes(s->db);
		if (n == 0 && !deletes && run_with(s, insert, row, err) < 0)
			goto fail;
		if (n > 1) {
			put_keys(&keys, s, row);
			mb_fail(err, MB_EDATA, "%s: can't merge into it: the "
			    "key %s is there %d times", s->place,
			    mb_buf_str(&keys), n);
			goto fail;
		}
	}
	goto out;
fail:
	rc = -1;
out:
	sqlite3_finalize(row);
	sqlite3_finalize(update);
	sqlite3_finalize(insert);
	sqlite3_finalize(delete);
	mb_buf_release(&sql);
	mb_buf_release(&keys);
	return rc;
}

static int
write_marker(struct sqlite_sink *s, const struct mb_marker *m,
    struct mb_err *err)
{
	const struct mb_sink_options *o = s->head.options;
	struct mb_buf holes = { 0 };
	sqlite3_stmt *st = NULL;
	int rc = -1;

	if (o->journal == NULL || !m->exists)
		return 0;	/* a plain stream */
	if (run(s, create_commits, err) < 0)
		goto out;
	/* Another journal that was here has been accepted as lost. */
	if (prepare(s, &st, "UPDATE main.mb_commits SET journal_path = NULL "
	    "WHERE \"table\" = ?1 AND journal_path = ?2 AND journal <> ?3",
	    err) < 0)
		goto out;
	bind_str(st, 1, s->table);
	bind_str(st, 2, o->journal_path);
	bind_str(st, 3, o->journal);
	if (step(s, st, err) < 0)
		goto out;
	sqlite3_finalize(st);
	st = NULL;
	if (prepare(s, &st, "INSERT INTO main.mb_commits (journal, \"table\", "
	    "journal_path, target_id, first, last, digest, holes) "
	    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
	    "ON CONFLICT (journal, \"table\") DO UPDATE SET "
	    "journal_path = ?3, target_id = ?4, first = ?5, last = ?6, "
	    "digest = ?7, holes = ?8", err) < 0)
		goto out;
	mb_marker_put_holes(&holes, m);
	bind_str(st, 1, o->journal);
	bind_str(st, 2, s->table);
	bind_str(st, 3, o->journal_path);
	bind_str(st, 4, s->head.target_id);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)m->first);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)m->last);
	bind_str(st, 7, m->digest.hex);
	bind_str(st, 8, mb_buf_str(&holes));
	rc = step(s, st, err);
out:
	sqlite3_finalize(st);
	mb_buf_release(&holes);
	return rc;
}

static int
write_position(struct sqlite_sink *s, sqlite3_stmt *st, const char *key,
    const char *text, uint64_t run_number, struct mb_err *err)
{
	int rc;

	bind_str(st, 3, key);
	bind_str(st, 4, text);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)run_number);
	rc = step(s, st, err);
	sqlite3_reset(st);
	return rc;
}

/* Is there one under the key that is further?  1, 0, -1. */
static int
is_position_kept(struct sqlite_sink *s, sqlite3_stmt *kept,
    const struct mb_position *p, struct mb_err *err)
{
	int rc;

	bind_str(kept, 3, p->key);
	rc = step(s, kept, err);
	if (rc > 0)
		rc = !mb_position_is_further(p->json, text_of(kept, 0));
	sqlite3_reset(kept);
	return rc;
}

static int
write_positions(struct sqlite_sink *s, struct mb_err *err)
{
	const struct mb_positions *p = s->head.positions;
	sqlite3_stmt *st = NULL, *kept = NULL;
	int rc;

	if (p == NULL)
		return 0;
	if (run(s, create_positions, err) < 0)
		return -1;
	if (prepare(s, &st, "INSERT OR REPLACE INTO main.mb_positions "
	    "(journal, \"table\", key, position, run) "
	    "VALUES (?1, ?2, ?3, ?4, ?5)", err) < 0)
		return -1;
	rc = prepare(s, &kept, "SELECT position FROM main.mb_positions "
	    "WHERE journal = ?1 AND \"table\" = ?2 AND key = ?3", err);
	if (rc < 0)
		goto out;
	bind_str(st, 1, s->head.options->journal);
	bind_str(st, 2, s->table);
	bind_str(kept, 1, s->head.options->journal);
	bind_str(kept, 2, s->table);
	rc = write_position(s, st, "", p->open, p->run, err);
	for (size_t i = 0; i < p->n && rc == 0; i++) {
		rc = is_position_kept(s, kept, &p->v[i], err);
		if (rc == 0)
			rc = write_position(s, st, p->v[i].key, p->v[i].json,
			    p->run, err);
		else if (rc > 0)
			rc = 0;
	}
out:
	sqlite3_finalize(st);
	sqlite3_finalize(kept);
	return rc;
}

/* Under the write lock: is everything as it was when we looked? */
static int
compare_target(struct sqlite_sink *s, const struct mb_marker *was,
    struct mb_err *err)
{
	struct mb_marker now = { 0 };
	int rc = -1;

	if (reread_table(s, err) < 0 || check_journal(s, err) < 0 ||
	    read_marker(s, &now, err) < 0)
		goto out;
	if (!mb_marker_eq(&now, was)) {
		mb_fail(err, MB_EEXIST, "%s: the marker of this journal has "
		    "moved", s->place);
		goto out;
	}
	if (s->columns.had_table && !s->has_table) {
		mb_fail(err, MB_ECORRUPT, "%s: was dropped while we were at "
		    "work", s->place);
		goto out;
	}
	if (!s->columns.had_table && s->has_table && compare_columns(s, err) < 0)
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
	sqlite3_stmt *st;
	bool is_empty;
	int rc;

	if (prepare(s, &st, "PRAGMA main.page_count", err) < 0)
		return -1;
	rc = step(s, st, err);
	is_empty = rc > 0 && sqlite3_column_int64(st, 0) == 0;
	sqlite3_finalize(st);
	if (rc < 0)
		return -1;
	return is_empty ? run(s, "PRAGMA main.journal_mode = WAL", err) : 0;
}

static int
commit(struct mb_sink *sink, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);
	bool is_merge = sink->options->n_merge_on > 0;
	char *id = sink->target_id == NULL ? NULL :
	    mb_strdup(sink->target_id);
	bool was_fresh = s->id_is_fresh, had = s->has_table;

	if (!s->columns.had_table && begin_database(s, err) < 0)
		goto fail;
	if (run(s, "BEGIN IMMEDIATE", err) < 0)
		goto fail;
	if (compare_target(s, was, err) < 0)
		goto fail;
	if (!s->has_table && create_table(s, err) < 0)
		goto fail;
	if (is_merge && create_key_index(s, err) < 0)
		goto fail;
	if ((is_merge ? merge_rows : append_rows)(s, err) < 0)
		goto fail;
	if (write_marker(s, now, err) < 0 || write_positions(s, err) < 0 ||
	    run(s, "COMMIT", err) < 0)
		goto fail;
	s->has_table = true;
	s->id_is_fresh = false;
	free(id);
	return sync_names(s, err);
fail:
	/* Also what we know of the table is as before. */
	rollback(s);
	set_target_id(s, id);
	s->id_is_fresh = was_fresh;
	s->has_table = had;
	free(id);
	return -1;
}

/* Do all staged rows have the batch's number in this column? */
static int
is_stamped(struct sqlite_sink *s, size_t column, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	sqlite3_stmt *st;
	int rc;

	mb_buf_addf(&sql, "SELECT 1 FROM temp.mb_stage WHERE c%zu IS NOT ?1",
	    column);
	rc = prepare(s, &st, mb_buf_str(&sql), err);
	mb_buf_release(&sql);
	if (rc < 0)
		return -1;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)s->batch);
	rc = step(s, st, err);
	sqlite3_finalize(st);
	return rc < 0 ? -1 : rc == 0;
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
	rc = c == NULL || !c->is_in_batch || s->n_rows == 0 ? 0 :
	    is_stamped(s, (size_t)(c - s->columns.v), err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EUSAGE, "%s: --redo: which rows are the "
		    "batch's only a column \"batch\" can tell (mb-agg "
		    "--stamp), in each of the new rows", s->place);
	rc = ask(s, "SELECT 1 FROM main.mb_commits WHERE \"table\" = ?1 AND "
	    "journal <> (SELECT max(journal) FROM main.mb_commits WHERE "
	    "\"table\" = ?1)", s->table, err);
	if (rc > 0)
		return mb_fail(err, MB_EUSAGE, "%s: --redo: other journals "
		    "commit to the table, too", s->place);
	return rc;
}

static int
delete_batch(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	sqlite3_stmt *st;
	int rc;

	mb_sqltext_put_delete_batch(&sql, s->table);
	rc = prepare(s, &st, mb_buf_str(&sql), err);
	mb_buf_release(&sql);
	if (rc < 0)
		return -1;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)s->batch);
	rc = step(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

static int
redo(struct mb_sink *sink, const struct mb_marker *was, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);
	bool is_merge = sink->options->n_merge_on > 0;

	if (run(s, "BEGIN IMMEDIATE", err) < 0)
		goto fail;
	if (compare_target(s, was, err) < 0 || check_redo(s, was, err) < 0)
		goto fail;
	if (!is_merge && delete_batch(s, err) < 0)
		goto fail;
	if (s->n_rows > 0 && (is_merge ? merge_rows : append_rows)(s, err) < 0)
		goto fail;
	if (run(s, "COMMIT", err) < 0)
		goto fail;
	return sync_names(s, err);
fail:
	rollback(s);
	return -1;
}

/*
 * Opening.
 */
static void
close_sink(struct mb_sink *sink)
{
	struct sqlite_sink *s = self(sink);

	/* Before the batch: its functions look at the columns. */
	sqlite3_finalize(s->insert);
	s->insert = NULL;
	if (s->db != NULL)
		rollback(s);
	sqlite3_close(s->db);
	mb_columns_release(&s->columns);
	mb_intake_release(&s->intake);
	mb_deletes_close(s->deletes);
	mb_buf_release(&s->tagged);
	free(s->file);
	free(s->table);
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
	if (sqlite3_open_v2(s->file, &s->db, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		if (s->db == NULL)
			return mb_fail(err, MB_EIO, "%s: out of memory",
			    s->place);
		return fail_sql(s, err);
	}
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	s->columns.limit = (size_t)sqlite3_limit(s->db, SQLITE_LIMIT_COLUMN,
	    -1);
	/*
	 * A connection that could not read the database may take its WAL for
	 * empty, and closing it would delete what is committed there.
	 */
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	/*
	 * EXTRA also syncs the directory after a rollback journal was
	 * removed: were it back after a power cut, the commit would be gone.
	 */
	if (run(s, "PRAGMA synchronous = EXTRA; PRAGMA temp_store = FILE; "
	    "PRAGMA temp.journal_mode = MEMORY", err) < 0)
		return -1;
	return define_functions(s, err);
}

static int
check_target(struct sqlite_sink *s, struct mb_err *err)
{
	int rc = -1;

	if (run(s, "BEGIN", err) < 0)
		return -1;
	if (read_table(s, err) == 0 && check_journal(s, err) == 0)
		rc = run(s, "COMMIT", err);
	rollback(s);
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
	if (sqlite3_strnicmp(hash + 1, "sqlite_", 7) == 0 ||
	    sqlite3_stricmp(hash + 1, "mb_commits") == 0 ||
	    sqlite3_stricmp(hash + 1, "mb_positions") == 0)
		return mb_fail(err, MB_EUSAGE, "sqlite:%s: this name is "
		    "reserved", file_and_table);
	s = mb_zalloc(sizeof *s);
	s->head = (struct mb_sink){ .ops = &ops, .options = options };
	s->table = mb_strdup(hash + 1);
	s->place = mb_strdup(file_and_table);
	s->columns = (struct mb_columns){ .options = options,
		.place = s->place, .limit_of = "SQLite" };
	s->intake.columns = &s->columns;
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
	s->head.target = join("sqlite:", s->file, s->table);
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

/* The journal that was at this path; there must be one. */
static int
find_journal(struct sqlite_sink *s, struct mb_found *out,
    const char *journal_path, struct mb_err *err)
{
	sqlite3_stmt *st;
	int rc = has_commits(s, err);

	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EUSAGE, "%s: no journal has committed "
		    "there", s->place);
	if (prepare(s, &st, "SELECT journal FROM main.mb_commits "
	    "WHERE \"table\" = ?1 AND journal_path = ?2", err) < 0)
		return -1;
	bind_str(st, 1, s->table);
	bind_str(st, 2, journal_path);
	rc = step(s, st, err);
	if (rc > 0 && mb_is_hex(mb_str(text_of(st, 0)), MB_ID_LEN)) {
		memcpy(out->journal, text_of(st, 0), MB_ID_LEN);
		rc = step(s, st, err);
		if (rc > 0)
			rc = mb_fail(err, MB_EUSAGE, "%s: several journals "
			    "have been at %s", s->place, journal_path);
	} else if (rc >= 0) {
		rc = mb_fail(err, MB_EUSAGE, "%s: has no batches of a journal "
		    "at %s", s->place, journal_path);
	}
	sqlite3_finalize(st);
	return rc;
}

static int
find_positions(struct sqlite_sink *s, struct mb_found *out,
    struct mb_err *err)
{
	sqlite3_stmt *st;
	bool has_open = false;
	int rc = ask(s, "SELECT 1 FROM main.sqlite_master WHERE "
	    "type = 'table' AND name = ?1", "mb_positions", err);

	if (rc < 0)
		return -1;
	mb_buf_addc(&out->positions, '[');
	if (rc > 0) {
		if (prepare(s, &st, "SELECT key = '', position, run "
		    "FROM main.mb_positions WHERE journal = ?1 AND "
		    "\"table\" = ?2", err) < 0)
			return -1;
		bind_str(st, 1, out->journal);
		bind_str(st, 2, s->table);
		while ((rc = step(s, st, err)) > 0) {
			uint64_t used = (uint64_t)sqlite3_column_int64(st, 2);

			if (used > out->run)
				out->run = used;
			if (sqlite3_column_int(st, 0) != 0) {
				mb_buf_adds(&out->open, text_of(st, 1));
				has_open = true;
				continue;
			}
			if (out->positions.len > 1)
				mb_buf_addc(&out->positions, ',');
			mb_buf_adds(&out->positions, text_of(st, 1));
		}
		sqlite3_finalize(st);
		if (rc < 0)
			return -1;
	}
	mb_buf_addc(&out->positions, ']');
	return has_open ? 0 : mb_fail(err, MB_EUSAGE, "%s: has batches of "
	    "which it isn't known how far the sources were read", s->place);
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
	if (run(s, "BEGIN", err) < 0 || read_table(s, err) < 0 ||
	    find_journal(s, out, journal_path, err) < 0)
		goto out;
	none.journal = out->journal;
	if (!s->has_table) {
		mb_fail(err, MB_EUSAGE, "%s: the table is gone", s->place);
		goto out;
	}
	if (read_marker(s, &out->marker, err) < 0 ||
	    find_positions(s, out, err) < 0)
		goto out;
	out->target = join("sqlite:", s->file, s->table);
	out->target_id = mb_strdup(s->head.target_id);
	rc = run(s, "COMMIT", err);
out:
	rollback(s);
	mb_sink_close(&s->head);
	return rc;
}

#endif
