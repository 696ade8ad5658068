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
 *     fields, and these are quoted.
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
 * Bytes.  Text is stored as TEXT if it is UTF-8 without a NUL, and as a BLOB
 * of the same bytes otherwise, because SQLite promises nothing for other
 * text.  Both are exact, and equal bytes always become the same value.
 *
 * Numbers.  SQLite has no decimals.  In a NUMERIC (or DECIMAL) column they
 * are stored as an integer or as the nearest double, which keeps 15 digits;
 * sums read them back as 15 digits and add those.
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

#else

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/exact.h"
#include "base/io.h"
#include "base/parse.h"
#include "record/reader.h"
#include "record/writer.h"
#include "sink/rows.h"

enum {
	BUSY_MS = 1000,		/* mb-commit tries again, with back-off */
	DIGITS = 15,		/* decimal digits that a double keeps */
};

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

/* A column of the target that can be written. */
struct column {
	char *name;
	struct mb_type type;
	bool is_guessed;	/* the type is inferred from this batch; until
				   then values are staged as they came */
	struct mb_guess guess;
	bool is_aggregate;
	bool is_not_null;
	bool is_rowid;		/* INTEGER PRIMARY KEY: null is a new one */
	bool has_default;
	bool is_in_batch;
	bool is_key;
	bool has_rule;		/* named in --merge */
	enum mb_merge_how how;
};

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

	struct mb_str *nulls;

	/* The batch. */
	enum stage stage;
	bool had_table;		/* at begin */
	bool has_aggregates;
	enum mb_format format;
	struct mb_reader *reader;
	struct mb_names header;	/* of the fields; not for ndjson */
	bool is_mapped;		/* fields to columns */
	size_t *column_of;	/* [header.n] */
	struct column *columns;
	size_t n_columns;
	struct mb_names names;	/* of the columns */
	struct mb_value *values;	/* [n_columns]: a record's */
	size_t cap_values;
	size_t n_stage;		/* columns of temp.mb_stage; 0: not there */
	sqlite3_stmt *insert;	/* into it */
	struct mb_buf rest;	/* bytes that are no whole record yet */
	struct mb_buf tagged, why;
	uint64_t n_records, n_rows;
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

static void
put_name(struct mb_buf *sql, const char *name)
{
	mb_buf_addc(sql, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"')
			mb_buf_addc(sql, '"');
		mb_buf_addc(sql, *name);
	}
	mb_buf_addc(sql, '"');
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

/*
 * A table of ours carries its id as a comment, right behind the parenthesis:
 * there it survives VACUUM, .dump and every ALTER TABLE.
 */
static bool
id_in_sql(char *id, const char *table, const char *sql)
{
	struct mb_buf head = { 0 };
	bool found;

	mb_buf_adds(&head, "CREATE TABLE ");
	put_name(&head, table);
	mb_buf_adds(&head, " (/* mb ");
	found = strncmp(sql, head.p, head.len) == 0 &&
	    strnlen(sql + head.len, MB_HASH_LEN) == MB_HASH_LEN &&
	    mb_is_hex((struct mb_str){ sql + head.len, MB_HASH_LEN },
	    MB_HASH_LEN);
	if (found) {
		memcpy(id, sql + head.len, MB_HASH_LEN);
		id[MB_HASH_LEN] = '\0';
	}
	mb_buf_release(&head);
	return found;
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
	if (id_in_sql(id, s->table, text_of(st, 2)))
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
 * Columns and their types.
 */
static struct column *
add_column(struct sqlite_sink *s, const char *name)
{
	struct column *c;

	s->columns = mb_realloc_array(s->columns, s->n_columns + 1,
	    sizeof *s->columns);
	c = &s->columns[s->n_columns++];
	*c = (struct column){ .name = mb_strdup(name) };
	mb_names_add(&s->names, mb_str(name));
	return c;
}

static struct column *
find_column(struct sqlite_sink *s, const char *name)
{
	ssize_t i = mb_names_index(&s->names, mb_str(name));

	return i < 0 ? NULL : &s->columns[i];
}

static int
fail_no_column(struct sqlite_sink *s, const char *what, const char *name,
    struct mb_err *err)
{
	struct mb_buf list = { 0 };

	mb_names_show(&list, &s->names);
	mb_fail(err, MB_EUSAGE, "%s: %s\"%s\"; there are: %s", s->place, what,
	    name, mb_buf_str(&list));
	mb_buf_release(&list);
	return -1;
}

/* What --schema's types are called in CREATE TABLE. */
static void
put_declared(struct mb_buf *sql, struct mb_type t)
{
	static const char *const names[] = {
		[MB_TYPE_BOOL] = "BOOLEAN", [MB_TYPE_INT] = "INTEGER",
		[MB_TYPE_INT32] = "INT32", [MB_TYPE_FLOAT] = "REAL",
		[MB_TYPE_DOUBLE] = "REAL", [MB_TYPE_TEXT] = "TEXT",
		[MB_TYPE_BINARY] = "BLOB", [MB_TYPE_DATE] = "DATE",
		[MB_TYPE_TIMESTAMP] = "TIMESTAMP",
		[MB_TYPE_TIMESTAMP_NTZ] = "TIMESTAMP_NTZ",
		[MB_TYPE_DECIMAL] = "NUMERIC", [MB_TYPE_ANY] = "",
	};

	if (t.kind == MB_TYPE_DECIMAL && t.precision > 0)
		mb_buf_addf(sql, "DECIMAL(%u,%u)", t.precision, t.scale);
	else
		mb_buf_adds(sql, names[t.kind]);
}

static bool
contains(const char *upper, const char *word)
{
	return strstr(upper, word) != NULL;
}

/*
 * And back, for tables of any origin: the names above, else what SQLite's
 * rules of affinity make of the declared type.
 */
static struct mb_type
type_of_declared(const char *declared)
{
	struct mb_type t = { .kind = MB_TYPE_DECIMAL };
	unsigned precision, scale = 0;
	char upper[64], *paren;
	size_t n = 0;

	for (; declared[n] != '\0' && n < sizeof upper - 1; n++)
		upper[n] = declared[n] >= 'a' && declared[n] <= 'z' ?
		    (char)(declared[n] - 'a' + 'A') : declared[n];
	upper[n] = '\0';
	if (strcmp(upper, "BOOLEAN") == 0 || strcmp(upper, "BOOL") == 0)
		t.kind = MB_TYPE_BOOL;
	else if (strcmp(upper, "DATE") == 0)
		t.kind = MB_TYPE_DATE;
	else if (strcmp(upper, "TIMESTAMP") == 0)
		t.kind = MB_TYPE_TIMESTAMP;
	else if (strcmp(upper, "TIMESTAMP_NTZ") == 0)
		t.kind = MB_TYPE_TIMESTAMP_NTZ;
	else if (strcmp(upper, "INT32") == 0)
		t.kind = MB_TYPE_INT32;
	else if (contains(upper, "INT"))
		t.kind = MB_TYPE_INT;
	else if (contains(upper, "CHAR") || contains(upper, "CLOB") ||
	    contains(upper, "TEXT"))
		t.kind = MB_TYPE_TEXT;
	else if (contains(upper, "BLOB"))
		t.kind = MB_TYPE_BINARY;
	else if (upper[0] == '\0' || strcmp(upper, "ANY") == 0)
		t.kind = MB_TYPE_ANY;
	else if (contains(upper, "REAL") || contains(upper, "FLOA") ||
	    contains(upper, "DOUB"))
		t.kind = MB_TYPE_DOUBLE;
	else if (strncmp(upper, "NUMERIC", 7) != 0 &&
	    strncmp(upper, "DECIMAL", 7) != 0)
		t.kind = MB_TYPE_ANY;	/* DATETIME, MONEY, … */
	else if ((paren = strchr(upper, '(')) != NULL &&
	    sscanf(paren, "(%2u,%2u", &precision, &scale) >= 1 &&
	    precision >= 1 && precision <= MB_DIGITS && scale <= precision) {
		t.precision = (uint8_t)precision;
		t.scale = (uint8_t)scale;
	}
	return t;
}

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
	struct column *c;
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
		c = add_column(s, text_of(st, 0));
		c->type = type_of_declared(text_of(st, 1));
		c->is_not_null = sqlite3_column_int(st, 2) != 0;
		c->has_default = sqlite3_column_type(st, 3) != SQLITE_NULL;
		if (sqlite3_column_int(st, 4) != 0 && n_pk++ == 0 &&
		    sqlite3_stricmp(text_of(st, 1), "INTEGER") == 0)
			pk = s->n_columns - 1;
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
		c = &s->columns[pk];
		c->is_rowid = rc == 0;
		c->is_not_null &= !c->is_rowid;
	}
	return read_strict(s, err);
}

static int
add_new_column(struct sqlite_sink *s, const char *name,
    const struct mb_field *field, struct mb_err *err)
{
	struct mb_type type = { .kind = MB_TYPE_TEXT };
	struct column *c;
	bool is_given;

	if (s->n_columns == (size_t)sqlite3_limit(s->db, SQLITE_LIMIT_COLUMN,
	    -1))
		return mb_fail(err, MB_EUSAGE, "%s: more than %zu fields, "
		    "which is SQLite's limit", s->place, s->n_columns);
	for (size_t i = 0; i < s->n_columns; i++)
		if (sqlite3_stricmp(s->columns[i].name, name) == 0)
			return mb_fail(err, MB_EUSAGE, "%s: fields \"%s\" and "
			    "\"%s\" would be one column", s->place,
			    s->columns[i].name, name);
	if (mb_column_type(&type, &is_given, name, field, s->head.options,
	    err) < 0)
		return -1;
	c = add_column(s, name);
	c->type = type;
	c->is_guessed = !is_given;
	c->is_aggregate = field != NULL && field->agg != NULL;
	c->is_in_batch = true;
	return 0;
}

/* --schema may name columns that the batch doesn't have. */
static int
add_schema_columns(struct sqlite_sink *s, struct mb_err *err)
{
	const struct mb_sink_options *o = s->head.options;

	for (size_t i = 0; i < o->n_schema; i++) {
		if (find_column(s, o->schema[i].name) != NULL)
			continue;
		if (add_new_column(s, o->schema[i].name, NULL, err) < 0)
			return -1;
		s->columns[s->n_columns - 1].is_in_batch =
		    s->format == MB_NDJSON;
	}
	return 0;
}

/* Which columns are keys, and what becomes of the others. */
static int
resolve_merge(struct sqlite_sink *s, struct mb_err *err)
{
	const struct mb_sink_options *o = s->head.options;
	struct column *c;

	for (size_t k = 0; k < o->n_merge_on; k++) {
		ssize_t f = mb_names_find(&s->header, mb_str(o->merge_on[k]));

		c = f >= 0 ? &s->columns[s->column_of[f]] :
		    find_column(s, o->merge_on[k]);
		if (c == NULL || !c->is_in_batch)
			return fail_no_column(s, "--merge-on: no field ",
			    o->merge_on[k], err);
		c->is_key = true;
		c->is_not_null |= c->is_rowid;
	}
	for (size_t k = 0; k < o->n_merge; k++) {
		c = find_column(s, o->merge[k].name);
		if (c == NULL)
			return fail_no_column(s, "--merge: no column ",
			    o->merge[k].name, err);
		if (c->is_key)
			return mb_fail(err, MB_EUSAGE, "%s: --merge: %s is "
			    "one of the keys", s->place, c->name);
		c->has_rule = true;
		c->how = o->merge[k].how;
	}
	return 0;
}

/* Bring the fields of s->header to columns, by name. */
static int
map_fields(struct sqlite_sink *s, const struct mb_field *fields,
    struct mb_err *err)
{
	struct column *c;

	s->column_of = mb_realloc_array(s->column_of, s->header.n,
	    sizeof *s->column_of);
	for (size_t i = 0; i < s->header.n; i++) {
		const char *name = s->header.v[i].p;

		if (!s->had_table && add_new_column(s, name,
		    fields == NULL ? NULL : &fields[i], err) < 0)
			return -1;
		c = find_column(s, name);
		if (c == NULL)
			return fail_no_column(s, "no column ", name, err);
		if (s->had_table && c->is_in_batch)
			return mb_fail(err, MB_EUSAGE, "%s: two fields \"%s\"",
			    s->place, name);
		c->is_in_batch = true;
		s->column_of[i] = (size_t)(c - s->columns);
	}
	if (!s->had_table && add_schema_columns(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->n_columns; i++) {
		c = &s->columns[i];
		if (!c->is_in_batch && c->is_not_null && !c->has_default)
			return mb_fail(err, MB_EUSAGE, "%s: the batch has no "
			    "field \"%s\", which must not be null", s->place,
			    c->name);
	}
	if (resolve_merge(s, err) < 0)
		return -1;
	s->is_mapped = true;
	return 0;
}

/*
 * Staging.
 */
static void
clear_batch(struct sqlite_sink *s)
{
	for (size_t i = 0; i < s->n_columns; i++)
		free(s->columns[i].name);
	s->n_columns = 0;
	mb_names_reset(&s->names);
	mb_names_reset(&s->header);
	mb_reader_close(s->reader);
	s->reader = NULL;
	s->is_mapped = s->has_aggregates = false;
	mb_buf_reset(&s->rest);
	s->n_records = s->n_rows = 0;
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

/* An empty temp.mb_stage as wide as the columns. */
static int
clear_stage(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	int rc = -1;

	if (s->n_stage == s->n_columns && s->n_stage > 0)
		return run(s, "DELETE FROM temp.mb_stage", err);
	sqlite3_finalize(s->insert);
	s->insert = NULL;
	s->n_stage = 0;
	if (run(s, "DROP TABLE IF EXISTS temp.mb_stage", err) < 0)
		return -1;
	mb_buf_adds(&sql, "CREATE TABLE temp.mb_stage (n INTEGER PRIMARY KEY");
	for (size_t i = 0; i < s->n_columns; i++)
		mb_buf_addf(&sql, ", c%zu", i);
	mb_buf_addc(&sql, ')');
	if (run(s, mb_buf_str(&sql), err) == 0) {
		s->n_stage = s->n_columns;
		rc = 0;
	}
	mb_buf_release(&sql);
	return rc;
}

/* ndjson: columns turn up as records come. */
static int
widen_stage(struct sqlite_sink *s, struct mb_err *err)
{
	char sql[64];

	sqlite3_finalize(s->insert);
	s->insert = NULL;
	for (; s->n_stage < s->n_columns; s->n_stage++) {
		snprintf(sql, sizeof sql,
		    "ALTER TABLE temp.mb_stage ADD COLUMN c%zu", s->n_stage);
		if (run(s, sql, err) < 0)
			return -1;
	}
	return 0;
}

static int
prepare_insert(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	int rc;

	mb_buf_adds(&sql, "INSERT INTO temp.mb_stage VALUES (NULL");
	for (size_t i = 0; i < s->n_columns; i++)
		mb_buf_addf(&sql, ", ?%zu", i + 1);
	mb_buf_addc(&sql, ')');
	rc = prepare(s, &s->insert, mb_buf_str(&sql), err);
	mb_buf_release(&sql);
	return rc;
}

static int
begin_reader(struct sqlite_sink *s, const struct mb_begin *b,
    struct mb_err *err)
{
	struct mb_reader_config config = {
		.format = s->format, .delimiter = b->delimiter,
		.record_limit = b->record_limit, .nulls = s->nulls,
		.n_nulls = s->head.options->n_nulls, .wants_all = true,
	};

	mb_reader_open(&s->reader, &config);
	return mb_reader_begin(s->reader, s->header.n > 0 ? &s->header : NULL,
	    0, err);
}

static int
begin_columns(struct sqlite_sink *s, const struct mb_begin *b,
    struct mb_err *err)
{
	if (s->had_table && read_columns(s, err) < 0)
		return -1;
	if (s->format == MB_NDJSON) {
		for (size_t i = 0; i < s->n_columns; i++)
			s->columns[i].is_in_batch = true;
		if (s->had_table)
			return resolve_merge(s, err);
		for (size_t i = 0; i < b->n_fields; i++)
			if (add_new_column(s, b->fields[i].name, &b->fields[i],
			    err) < 0)
				return -1;
		return add_schema_columns(s, err);
	}
	if (s->format == MB_LINES)
		mb_names_number(&s->header, 0);
	if (s->format == MB_LINES)
		mb_names_add(&s->header, MB_STR("line"));
	else if (b->has_fields)
		for (size_t i = 0; i < b->n_fields; i++)
			mb_names_add(&s->header, mb_str(b->fields[i].name));
	if (s->header.n == 0)
		return 0;	/* by its first record */
	return map_fields(s, s->header.n == b->n_fields ? b->fields : NULL,
	    err);
}

static int
begin(struct mb_sink *sink, const struct mb_begin *b, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);

	abort_batch(sink);
	if (mb_merge_check(sink->options, b, err) < 0 ||
	    mb_format_parse(&s->format, b->format, err) < 0)
		return -1;
	for (size_t i = 0; i < b->n_fields; i++)
		s->has_aggregates |= b->fields[i].agg != NULL;
	s->stage = STAGING;
	if (run(s, "BEGIN", err) < 0)
		goto fail;
	if (reread_table(s, err) < 0)
		goto fail;
	s->had_table = s->has_table;
	if (begin_columns(s, b, err) < 0 || run(s, "COMMIT", err) < 0)
		goto fail;
	if (begin_reader(s, b, err) < 0 || clear_stage(s, err) < 0)
		goto fail;
	/* Of temp alone: no lock on the database is taken by it. */
	if (run(s, "BEGIN", err) < 0)
		goto fail;
	return 0;
fail:
	abort_batch(sink);
	return -1;
}

/* A value as SQLite will store it. */
struct sql_value {
	int type;
	int64_t i;
	double d;
	struct mb_str bytes;
};

/* UTF-8, and without a NUL? */
static bool
is_text(struct mb_str s)
{
	size_t i = 0;

	while (i < s.len && (signed char)s.p[i] > 0)
		i++;
	if (i == s.len)
		return true;
	return memchr(s.p + i, '\0', s.len - i) == NULL && mb_is_utf8(s);
}

static const char *
decimal_to_sql(struct sql_value *out, struct mb_number n)
{
	unsigned digits = mb_number_trim(&n);

	if (n.places == 0 && n.units >= INT64_MIN && n.units <= INT64_MAX) {
		out->type = SQLITE_INTEGER;
		out->i = (int64_t)n.units;
	} else if (digits <= DIGITS) {
		out->type = SQLITE_FLOAT;
		out->d = mb_number_double(&n);
	} else {
		return "more than 15 digits";
	}
	return NULL;
}

/* NULL, or why the value doesn't fit. */
static const char *
to_sql(struct sql_value *out, const struct sqlite_sink *s,
    const struct column *c, struct mb_value v)
{
	struct mb_cell cell;
	const char *why = mb_cell_set(&cell, c->type, v);
	enum mb_type_kind kind = c->type.kind;

	if (why != NULL)
		return why;
	out->bytes = cell.text;
	switch (cell.kind) {
	case MB_CELL_NULL:
		out->type = SQLITE_NULL;
		return c->is_not_null ? "null, which it must not be" : NULL;
	case MB_CELL_INT:
		out->type = SQLITE_INTEGER;
		out->i = cell.i;
		/* SQLite's own functions take these as text. */
		if (kind == MB_TYPE_DATE || kind == MB_TYPE_TIMESTAMP ||
		    kind == MB_TYPE_TIMESTAMP_NTZ)
			out->type = SQLITE_TEXT;
		return NULL;
	case MB_CELL_REAL:
		out->type = SQLITE_FLOAT;
		out->d = cell.d;
		return NULL;
	case MB_CELL_DECIMAL:
		why = decimal_to_sql(out, cell.n);
		if (why != NULL && kind == MB_TYPE_ANY) {
			out->type = SQLITE_TEXT;
			return NULL;
		}
		return why;
	default:
		out->type = kind == MB_TYPE_BINARY || !is_text(cell.text) ?
		    SQLITE_BLOB : SQLITE_TEXT;
		if (s->is_strict && kind == MB_TYPE_TEXT &&
		    out->type == SQLITE_BLOB)
			return "not UTF-8, and the table is STRICT";
		return NULL;
	}
}

static int
bind_value(sqlite3_stmt *st, int i, const struct sql_value *v)
{
	switch (v->type) {
	case SQLITE_INTEGER:
		return sqlite3_bind_int64(st, i, v->i);
	case SQLITE_FLOAT:
		return sqlite3_bind_double(st, i, v->d);
	case SQLITE_TEXT:
		return sqlite3_bind_text64(st, i, v->bytes.p, v->bytes.len,
		    SQLITE_STATIC, SQLITE_UTF8);
	case SQLITE_BLOB:
		return sqlite3_bind_blob64(st, i, v->bytes.p, v->bytes.len,
		    SQLITE_STATIC);
	default:
		return sqlite3_bind_null(st, i);
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
	const struct column *c = &s->columns[sqlite3_value_int(argv[1])];
	const char *p = sqlite3_value_blob(argv[0]), *why;
	struct mb_value v = mb_value_null();
	struct sql_value out;

	(void)argc;
	if (p != NULL)
		v = (struct mb_value){ .p = p + 1,
			.len = (size_t)sqlite3_value_bytes(argv[0]) - 1,
			.kind = (enum mb_kind)(*p - '0') };
	why = to_sql(&out, s, c, v);
	if (why != NULL) {
		sqlite3_result_error(ctx, why, -1);
		return;
	}
	switch (out.type) {
	case SQLITE_INTEGER:
		sqlite3_result_int64(ctx, out.i);
		break;
	case SQLITE_FLOAT:
		sqlite3_result_double(ctx, out.d);
		break;
	case SQLITE_TEXT:
		sqlite3_result_text64(ctx, out.bytes.p, out.bytes.len,
		    SQLITE_TRANSIENT, SQLITE_UTF8);
		break;
	case SQLITE_BLOB:
		sqlite3_result_blob64(ctx, out.bytes.p, out.bytes.len,
		    SQLITE_TRANSIENT);
		break;
	default:
		sqlite3_result_null(ctx);
		break;
	}
}

/* The record can't be taken. */
static int
reject(struct sqlite_sink *s, struct mb_str record, const char *why,
    struct mb_err *err)
{
	const struct mb_sink_options *o = s->head.options;

	if (s->has_aggregates)
		return mb_fail(err, MB_EDATA, "%s: record %" PRIu64 " of the "
		    "batch, a row of aggregates: %s", s->place, s->n_records,
		    why);
	if (o->on_bad == MB_BAD_FAIL)
		return mb_fail(err, MB_EDATA, "%s: record %" PRIu64 " of the "
		    "batch: %s", s->place, s->n_records, why);
	if (o->on_bad == MB_BAD_REJECT && o->reject != NULL)
		return o->reject(o->reject_arg, s->n_records, record, why,
		    err);
	return 0;
}

static const char *
explain(struct sqlite_sink *s, const struct column *c, struct mb_value v,
    const char *why)
{
	enum { SHOWN = 40 };

	mb_buf_reset(&s->why);
	mb_buf_adds(&s->why, "column ");
	mb_show(&s->why, mb_str(c->name));
	mb_buf_addf(&s->why, ": %s", why);
	if (v.kind != MB_NULL) {
		mb_buf_adds(&s->why, ": \"");
		mb_show(&s->why, (struct mb_str){ v.p,
		    v.len < SHOWN ? v.len : SHOWN });
		mb_buf_adds(&s->why, v.len > SHOWN ? "…\"" : "\"");
	}
	return mb_buf_str(&s->why);
}

static int
stage_values(struct sqlite_sink *s, struct mb_str record, struct mb_err *err)
{
	const char *why;

	if (s->n_stage < s->n_columns && widen_stage(s, err) < 0)
		return -1;
	if (s->insert == NULL && prepare_insert(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->n_columns; i++) {
		struct column *c = &s->columns[i];
		struct sql_value out;

		if (!c->is_in_batch) {
			sqlite3_bind_null(s->insert, (int)i + 1);
			continue;
		}
		if (c->is_guessed)
			why = bind_tagged(s, (int)i + 1, s->values[i]);
		else if ((why = to_sql(&out, s, c, s->values[i])) == NULL &&
		    bind_value(s->insert, (int)i + 1, &out) != SQLITE_OK)
			why = "too long";
		if (why != NULL)
			return reject(s, record, explain(s, c, s->values[i],
			    why), err);
	}
	/* Only what is taken counts for the types. */
	for (size_t i = 0; i < s->n_columns; i++)
		if (s->columns[i].is_guessed)
			mb_guess_add(&s->columns[i].guess, s->values[i]);
	if (step(s, s->insert, err) < 0)
		return -1;
	sqlite3_reset(s->insert);
	s->n_rows++;
	return 0;
}

static void
reserve_values(struct sqlite_sink *s)
{
	if (s->cap_values >= s->n_columns)
		return;
	s->cap_values = s->n_columns + 16;
	s->values = mb_realloc_array(s->values, s->cap_values,
	    sizeof *s->values);
}

/* The values of an ndjson record by column; a reason if a key is none. */
static const char *
align_members(struct sqlite_sink *s, const struct mb_row *row)
{
	size_t stranger;

	for (;;) {
		struct mb_err e = { 0 };
		char *name;
		int rc;

		reserve_values(s);
		if (mb_row_align(s->values, &s->names, row->names, row->values,
		    row->n, &stranger))
			return NULL;
		mb_buf_reset(&s->why);
		if (s->had_table) {
			mb_buf_adds(&s->why, "no column \"");
			mb_show(&s->why, row->names[stranger]);
			mb_buf_adds(&s->why, "\" in the table");
			return mb_buf_str(&s->why);
		}
		if (memchr(row->names[stranger].p, '\0',
		    row->names[stranger].len) != NULL)
			return "a key with \\u0000 in it can't be a column";
		mb_buf_add(&s->why, row->names[stranger].p,
		    row->names[stranger].len);
		name = mb_buf_take(&s->why);
		rc = add_new_column(s, name, NULL, &e);
		free(name);
		if (rc < 0) {
			mb_buf_adds(&s->why, e.msg);
			return mb_buf_str(&s->why);
		}
	}
}

static int
take_row(struct sqlite_sink *s, const struct mb_row *row, struct mb_err *err)
{
	const char *why = row->bad;

	s->n_records++;
	if (why == NULL && s->format == MB_NDJSON)
		why = align_members(s, row);
	if (why != NULL)
		return reject(s, row->raw, why, err);
	if (s->format != MB_NDJSON) {
		if (!s->is_mapped) {
			mb_names_number(&s->header, row->n);
			if (map_fields(s, NULL, err) < 0)
				return -1;
		}
		reserve_values(s);
		for (size_t i = 0; i < row->n; i++)
			s->values[s->column_of[i]] = row->values[i];
	}
	return stage_values(s, row->raw, err);
}

static int
take_records(struct sqlite_sink *s, struct mb_str *data, bool is_last,
    struct mb_err *err)
{
	struct mb_row row;
	int rc;

	while ((rc = mb_reader_next(s->reader, data, is_last, &row, err)) > 0)
		if (take_row(s, &row, err) < 0)
			return -1;
	return rc;
}

static int
add(struct mb_sink *sink, struct mb_str records, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);
	struct mb_str data = records;
	struct mb_buf rest = { 0 };
	int rc;

	/* A last record without newline, or a CR: it comes again with more. */
	if (s->rest.len > 0) {
		mb_buf_add(&s->rest, records.p, records.len);
		data = (struct mb_str){ s->rest.p, s->rest.len };
	}
	rc = take_records(s, &data, false, err);
	if (data.len > 0)
		mb_buf_add(&rest, data.p, data.len);
	mb_buf_reset(&s->rest);
	if (data.len > 0) {
		mb_buf_release(&s->rest);
		s->rest = rest;
	}
	return rc;
}

/* The types are decided. */
static int
settle_types(struct sqlite_sink *s, struct mb_err *err)
{
	for (size_t i = 0; i < s->n_columns; i++) {
		struct column *c = &s->columns[i];
		bool is_sum = c->has_rule && c->how == MB_MERGE_SUM;

		if (c->is_guessed) {
			c->type = mb_guess_type(&c->guess);
			/*
			 * A sum (min, max, …) that is whole in the first
			 * batch need not stay so, and an aggregate that
			 * doesn't fit stops the stream.
			 */
			if ((is_sum && !c->guess.has_value) ||
			    (c->is_aggregate && c->type.kind == MB_TYPE_INT))
				c->type.kind = MB_TYPE_DECIMAL;
		}
		if (is_sum && !mb_type_is_number(c->type))
			return mb_fail(err, MB_EUSAGE, "%s: --merge %s:sum: "
			    "the column isn't a number", s->place, c->name);
	}
	return 0;
}

static int
stage(struct mb_sink *sink, uint64_t *rows, struct mb_err *err)
{
	struct sqlite_sink *s = self(sink);
	struct mb_str data = { s->rest.p == NULL ? "" : s->rest.p,
		s->rest.len };

	if (take_records(s, &data, true, err) < 0)
		return -1;
	mb_buf_reset(&s->rest);
	if (s->n_rows > 0) {
		if (s->n_columns == 0)
			return mb_fail(err, MB_EDATA, "%s: no record has a "
			    "field: a table can't be made of that", s->place);
		if (s->format == MB_NDJSON && !s->had_table &&
		    resolve_merge(s, err) < 0)
			return -1;
		if (settle_types(s, err) < 0)
			return -1;
	}
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

static void
fail_sum(sqlite3_context *ctx, sqlite3_value **argv, const char *why)
{
	const struct sqlite_sink *s = sqlite3_user_data(ctx);
	char text[256];

	snprintf(text, sizeof text, "sum of column %.100s: %s",
	    s->columns[sqlite3_value_int(argv[2])].name, why);
	sqlite3_result_error(ctx, text, -1);
}

static void
sum_int_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	int64_t total;

	(void)argc;
	if (sum_of_null(ctx, argv))
		return;
	if (sqlite3_value_type(argv[0]) != SQLITE_INTEGER)
		fail_sum(ctx, argv, "what is there is not a whole number");
	else if (__builtin_add_overflow(
	    (int64_t)sqlite3_value_int64(argv[0]),
	    (int64_t)sqlite3_value_int64(argv[1]), &total))
		fail_sum(ctx, argv, "more than 64 bits");
	else
		sqlite3_result_int64(ctx, total);
}

static bool
is_number(sqlite3_value *v)
{
	int type = sqlite3_value_type(v);

	return type == SQLITE_INTEGER || (type == SQLITE_FLOAT &&
	    isfinite(sqlite3_value_double(v)));
}

static void
sum_real_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	double total;

	(void)argc;
	if (sum_of_null(ctx, argv))
		return;
	total = sqlite3_value_double(argv[0]) + sqlite3_value_double(argv[1]);
	if (!is_number(argv[0]) || !is_number(argv[1]))
		fail_sum(ctx, argv, "what is there is not a number");
	else if (!isfinite(total))
		fail_sum(ctx, argv, "out of range");
	else
		sqlite3_result_double(ctx, total);
}

/*
 * The decimal of up to 15 digits that a stored double stands for; itself, if
 * it stands for none.
 */
static struct mb_number
decimal_of_double(double d)
{
	struct mb_number n = { .is_double = true, .real = d }, exact = { 0 };
	char text[32];
	int places;
	double power = 1;

	/*
	 * Both sides of the division are whole and exact, so it gives the
	 * double nearest to that decimal.  Most numbers end here.
	 */
	for (unsigned p = 0; p <= 6; p++, power *= 10) {
		double units = nearbyint(d * power);

		if (fabs(units) < 1e15 && units / power == d)
			return (struct mb_number){ .places = (uint8_t)p,
			    .units = (mb_int128)units };
	}
	/* -d.dddddddddddddde-XX */
	snprintf(text, sizeof text, "%.*e", DIGITS - 1, d);
	for (const char *p = text; *p != 'e'; p++)
		if (*p >= '0' && *p <= '9')
			exact.units = exact.units * 10 + (*p - '0');
	if (text[0] == '-')
		exact.units = -exact.units;
	places = DIGITS - 1 - (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	for (; places > 0 && exact.units % 10 == 0; places--)
		exact.units /= 10;
	if (places > MB_DIGITS || places < DIGITS - MB_DIGITS)
		return n;
	if (places < 0)
		exact.units *= (mb_int128)mb_power_of_ten((unsigned)-places);
	else
		exact.places = (uint8_t)places;
	return mb_number_double(&exact) == d ? exact : n;
}

static struct mb_number
number_of(sqlite3_value *v)
{
	if (sqlite3_value_type(v) == SQLITE_INTEGER)
		return (struct mb_number){ .units = sqlite3_value_int64(v) };
	return decimal_of_double(sqlite3_value_double(v));
}

static void
sum_decimal_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	struct mb_number a, b, total;
	struct mb_arena arena = { 0 };
	struct mb_sum sum = { 0 };
	struct sql_value out = { 0 };
	struct mb_err err = { 0 };

	(void)argc;
	if (sum_of_null(ctx, argv))
		return;
	if (!is_number(argv[0]) || !is_number(argv[1])) {
		fail_sum(ctx, argv, "what is there is not a number");
		return;
	}
	a = number_of(argv[0]);
	b = number_of(argv[1]);
	mb_sum_add(&sum, &a, &arena);
	mb_sum_add(&sum, &b, &arena);
	if (mb_sum_total(&sum, &total, &err) < 0)
		fail_sum(ctx, argv, err.msg);
	else if (total.is_double)
		sqlite3_result_double(ctx, total.real);
	else if (decimal_to_sql(&out, total) != NULL)
		fail_sum(ctx, argv, "more than 15 digits");
	else if (out.type == SQLITE_INTEGER)
		sqlite3_result_int64(ctx, out.i);
	else
		sqlite3_result_double(ctx, out.d);
	mb_arena_release(&arena);
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
static void
put_target(struct mb_buf *sql, const struct sqlite_sink *s)
{
	mb_buf_adds(sql, "main.");
	put_name(sql, s->table);
}

/*
 * Columns that the batch lacks get null, but where null is forbidden, and
 * where it would only mean a default.
 */
static bool
is_inserted(const struct column *c)
{
	return c->is_in_batch || !c->is_not_null;
}

static int
create_table(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	char id[MB_HASH_LEN + 1];
	int rc = -1;

	if (mb_random_hex(id, MB_HASH_LEN / 2, err) < 0)
		return -1;
	mb_buf_adds(&sql, "CREATE TABLE ");
	put_target(&sql, s);
	mb_buf_addf(&sql, " (/* mb %s */ ", id);
	for (size_t i = 0; i < s->n_columns; i++) {
		if (i > 0)
			mb_buf_adds(&sql, ", ");
		put_name(&sql, s->columns[i].name);
		mb_buf_addc(&sql, ' ');
		put_declared(&sql, s->columns[i].type);
	}
	mb_buf_addc(&sql, ')');
	if (run(s, mb_buf_str(&sql), err) < 0)
		goto out;
	set_target_id(s, id);
	rc = 0;
out:
	mb_buf_release(&sql);
	return rc;
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
		const struct column *c = find_column(s, text_of(st, 0));

		n += c != NULL && mb_type_eq(c->type,
		    type_of_declared(text_of(st, 1)));
	}
	sqlite3_finalize(st);
	if (rc == 0 && n < s->n_columns)
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

	for (size_t i = 0; i < s->n_columns; i++) {
		n_keys += s->columns[i].is_key;
		if (s->columns[i].is_key && s->columns[i].is_rowid)
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
		const struct column *c = find_column(s, text_of(st, 1));

		if (index != sqlite3_column_int(st, 0))
			n_found = 0;
		index = sqlite3_column_int(st, 0);
		n_found += c != NULL && c->is_key;
		found |= n_found == n_keys;
	}
	sqlite3_finalize(st);
	return rc < 0 ? -1 : found;
}

/*
 * An index that finds keys, null among them.  It isn't unique: SQLite takes
 * nulls in unique indexes for different, and users may keep what they like in
 * a table of theirs.  Keys that are there twice are noticed when they are met.
 */
static int
create_key_index(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 }, name = { 0 }, keys = { 0 };
	int rc = has_key_index(s, err);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	mb_buf_addf(&name, "mb_key %s", s->table);
	for (size_t i = 0; i < s->n_columns; i++) {
		if (!s->columns[i].is_key)
			continue;
		mb_buf_addf(&name, " %s", s->columns[i].name);
		if (keys.len > 0)
			mb_buf_adds(&keys, ", ");
		put_name(&keys, s->columns[i].name);
	}
	mb_buf_adds(&sql, "CREATE INDEX IF NOT EXISTS main.");
	put_name(&sql, mb_buf_str(&name));
	mb_buf_adds(&sql, " ON ");
	put_name(&sql, s->table);
	mb_buf_addf(&sql, " (%s)", mb_buf_str(&keys));
	rc = run(s, mb_buf_str(&sql), err);
	mb_buf_release(&sql);
	mb_buf_release(&name);
	mb_buf_release(&keys);
	return rc;
}

/* SELECT of what is_inserted, from temp.mb_stage in order. */
static void
put_select(struct mb_buf *sql, const struct sqlite_sink *s)
{
	bool is_first = true;

	mb_buf_adds(sql, "SELECT ");
	for (size_t i = 0; i < s->n_columns; i++) {
		if (!is_inserted(&s->columns[i]))
			continue;
		if (!is_first)
			mb_buf_adds(sql, ", ");
		is_first = false;
		mb_buf_addf(sql, s->columns[i].is_guessed ?
		    "mb_typed(c%zu, %zu)" : "c%zu", i, i);
	}
	mb_buf_adds(sql, " FROM temp.mb_stage ORDER BY n");
}

/* INSERT INTO the target and the names of its columns. */
static void
put_insert(struct mb_buf *sql, const struct sqlite_sink *s)
{
	bool is_first = true;

	mb_buf_adds(sql, "INSERT INTO ");
	put_target(sql, s);
	mb_buf_adds(sql, " (");
	for (size_t i = 0; i < s->n_columns; i++) {
		if (!is_inserted(&s->columns[i]))
			continue;
		if (!is_first)
			mb_buf_adds(sql, ", ");
		is_first = false;
		put_name(sql, s->columns[i].name);
	}
	mb_buf_adds(sql, ") ");
}

static int
append_rows(struct sqlite_sink *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	int rc;

	put_insert(&sql, s);
	put_select(&sql, s);
	rc = run(s, mb_buf_str(&sql), err);
	mb_buf_release(&sql);
	return rc;
}

/* What becomes of a column of a row that is there; ?N is the new value. */
static void
put_rule(struct mb_buf *sql, const struct column *c, size_t index, int n)
{
	static const char *const sums[] = {
		[MB_TYPE_INT] = "int", [MB_TYPE_INT32] = "int",
		[MB_TYPE_FLOAT] = "real", [MB_TYPE_DOUBLE] = "real",
		[MB_TYPE_DECIMAL] = "decimal", [MB_TYPE_ANY] = "decimal",
	};
	struct mb_buf name = { 0 };
	const char *q;

	put_name(&name, c->name);
	q = mb_buf_str(&name);
	mb_buf_addf(sql, "%s = ", q);
	switch (c->how) {
	case MB_MERGE_SUM:
		mb_buf_addf(sql, "mb_sum_%s(%s, ?%d, %zu)",
		    sums[c->type.kind], q, n, index);
		break;
	case MB_MERGE_MIN:
	case MB_MERGE_MAX:
		mb_buf_addf(sql, "CASE WHEN ?%d IS NULL OR %s %s ?%d "
		    "THEN %s ELSE ?%d END", n, q,
		    c->how == MB_MERGE_MIN ? "<=" : ">=", n, q, n);
		break;
	default:
		mb_buf_addf(sql, "?%d", n);
		break;
	}
	mb_buf_release(&name);
}

/*
 * UPDATE of the row with the keys of a staged row, whose values are ?1 …, as
 * put_select gives them.
 */
static void
put_update(struct mb_buf *sql, const struct sqlite_sink *s)
{
	const char *sep = "";
	size_t n_set = 0;
	int n;

	mb_buf_adds(sql, "UPDATE ");
	put_target(sql, s);
	mb_buf_adds(sql, " SET ");
	n = 0;
	for (size_t i = 0; i < s->n_columns; i++) {
		const struct column *c = &s->columns[i];

		n += is_inserted(c);
		if (!c->is_in_batch || c->is_key || c->how == MB_MERGE_KEEP)
			continue;
		if (n_set++ > 0)
			mb_buf_adds(sql, ", ");
		put_rule(sql, c, i, n);
	}
	/* Nothing to change: but the row must be found. */
	for (size_t i = 0; i < s->n_columns && n_set == 0; i++)
		if (s->columns[i].is_key) {
			put_name(sql, s->columns[i].name);
			mb_buf_adds(sql, " = ");
			put_name(sql, s->columns[i].name);
			n_set++;
		}
	mb_buf_adds(sql, " WHERE ");
	n = 0;
	for (size_t i = 0; i < s->n_columns; i++) {
		n += is_inserted(&s->columns[i]);
		if (!s->columns[i].is_key)
			continue;
		mb_buf_adds(sql, sep);
		put_name(sql, s->columns[i].name);
		mb_buf_addf(sql, " IS ?%d", n);	/* null is null */
		sep = " AND ";
	}
}

/* "day = '2026-11-23', status = NULL" for a message. */
static void
put_keys(struct mb_buf *out, const struct sqlite_sink *s, sqlite3_stmt *row)
{
	const char *sep = "";
	int n = 0;

	for (size_t i = 0; i < s->n_columns; i++) {
		int k = n;

		n += is_inserted(&s->columns[i]);
		if (!s->columns[i].is_key)
			continue;
		mb_buf_addf(out, "%s%s ", sep, s->columns[i].name);
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
	struct mb_buf sql = { 0 }, keys = { 0 };
	int rc = -1, n = 0;

	put_select(&sql, s);
	if (prepare(s, &row, mb_buf_str(&sql), err) < 0)
		goto out;
	mb_buf_reset(&sql);
	put_update(&sql, s);
	if (prepare(s, &update, mb_buf_str(&sql), err) < 0)
		goto out;
	mb_buf_reset(&sql);
	put_insert(&sql, s);
	mb_buf_adds(&sql, "VALUES (");
	for (size_t i = 0; i < s->n_columns; i++)
		if (is_inserted(&s->columns[i])) {
			mb_buf_addf(&sql, n > 0 ? ", ?%d" : "?%d", n + 1);
			n++;
		}
	mb_buf_addc(&sql, ')');
	if (prepare(s, &insert, mb_buf_str(&sql), err) < 0)
		goto out;
	while ((rc = step(s, row, err)) > 0) {
		if (run_with(s, update, row, err) < 0)
			goto fail;
		n = sqlite3_changes(s->db);
		if (n == 0 && run_with(s, insert, row, err) < 0)
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
	if (s->had_table && !s->has_table) {
		mb_fail(err, MB_ECORRUPT, "%s: was dropped while we were at "
		    "work", s->place);
		goto out;
	}
	if (!s->had_table && s->has_table && compare_columns(s, err) < 0)
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

	if (!s->had_table && begin_database(s, err) < 0)
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
	if (write_marker(s, now, err) < 0 || run(s, "COMMIT", err) < 0)
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
	clear_batch(s);
	free(s->columns);
	free(s->values);
	free(s->column_of);
	free(s->nulls);
	mb_names_release(&s->names);
	mb_names_release(&s->header);
	mb_buf_release(&s->rest);
	mb_buf_release(&s->tagged);
	mb_buf_release(&s->why);
	free(s->file);
	free(s->table);
	free(s->place);
	free(s);
}

static const struct mb_sink_ops ops = {
	.close = close_sink, .lookup = lookup, .begin = begin, .add = add,
	.stage = stage, .commit = commit, .abort = abort_batch,
};

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
	else if (errno == ENOENT || errno == ENOTDIR || errno == EISDIR)
		return mb_fail(err, MB_EUSAGE, "%s: %s", path,
		    strerror(errno));
	else if (errno != EEXIST)
		return mb_fail_sys(err, "%s", path);
	if (stat(path, &st) < 0 || (s->file = realpath(path, NULL)) == NULL)
		return mb_fail_sys(err, "%s", path);
	if (!S_ISREG(st.st_mode))
		return mb_fail(err, MB_EUSAGE, "%s: is not a file", path);
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

int
mb_sink_open_sqlite(struct mb_sink **out, const char *file_and_table,
    const struct mb_sink_options *options, struct mb_err *err)
{
	const char *hash = strrchr(file_and_table, '#');
	struct sqlite_sink *s;
	char *path, *id;
	int rc;

	if (hash == NULL || hash == file_and_table || hash[1] == '\0')
		return mb_fail(err, MB_EUSAGE, "sqlite:%s: say which table: "
		    "sqlite:FILE#TABLE", file_and_table);
	if (sqlite3_strnicmp(hash + 1, "sqlite_", 7) == 0 ||
	    sqlite3_stricmp(hash + 1, "mb_commits") == 0)
		return mb_fail(err, MB_EUSAGE, "sqlite:%s: this name is "
		    "reserved", file_and_table);
	s = mb_zalloc(sizeof *s);
	s->head = (struct mb_sink){ .ops = &ops, .options = options };
	s->table = mb_strdup(hash + 1);
	s->place = mb_strdup(file_and_table);
	s->nulls = mb_realloc_array(NULL, options->n_nulls, sizeof *s->nulls);
	for (size_t i = 0; i < options->n_nulls; i++)
		s->nulls[i] = mb_str(options->nulls[i]);
	path = mb_strdup(file_and_table);
	path[hash - file_and_table] = '\0';
	rc = find_file(s, path, err);
	free(path);
	if (rc < 0 || open_database(s, err) < 0 || check_target(s, err) < 0)
		goto fail;
	s->head.target = join("sqlite:", s->file, s->table);
	*out = &s->head;
	return 0;
fail:
	id = s->head.target_id;
	close_sink(&s->head);
	free(id);
	return -1;
}

#endif
