#include "sink/sqldb.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/io.h"

enum { BUSY_MS = 1000 };	/* mb-commit tries again, with back-off */

struct mb_sqldb {
	sqlite3 *db;
	char *file;
	const char *place;
	bool has_synced_names;
	bool is_poisoned;	/* that failed */
};

struct mb_statement {
	sqlite3_stmt *st;
	struct mb_sqldb *db;
};

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
fail_sql(const struct mb_sqldb *db, struct mb_err *err)
{
	int rc = sqlite3_extended_errcode(db->db);
	int e = sqlite3_system_errno(db->db);

	if (((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) &&
	    e != 0)
		return mb_fail(err, code_of(rc), "%s: %s: %s", db->place,
		    sqlite3_errmsg(db->db), strerror(e));
	return mb_fail(err, code_of(rc), "%s: %s", db->place,
	    sqlite3_errmsg(db->db));
}

/*
 * The connection.
 */
static int
connect(struct mb_sqldb *db, struct mb_err *err)
{
	if (sqlite3_open_v2(db->file, &db->db, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		if (db->db == NULL)
			return mb_fail(err, MB_EIO, "%s: out of memory",
			    db->place);
		return fail_sql(db, err);
	}
	sqlite3_extended_result_codes(db->db, 1);
	sqlite3_busy_timeout(db->db, BUSY_MS);
	sqlite3_db_config(db->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	/*
	 * EXTRA also syncs the directory after a rollback journal was
	 * removed: were it back after a power cut, the commit would be gone.
	 */
	return mb_sqldb_run(db, "PRAGMA synchronous = EXTRA; "
	    "PRAGMA temp_store = FILE; PRAGMA temp.journal_mode = MEMORY",
	    err);
}

int
mb_sqldb_open(struct mb_sqldb **out, const char *file, const char *place,
    struct mb_err *err)
{
	struct mb_sqldb *db = mb_zalloc(sizeof *db);

	*db = (struct mb_sqldb){ .file = mb_strdup(file), .place = place };
	if (connect(db, err) < 0) {
		mb_sqldb_close(db);
		return -1;
	}
	*out = db;
	return 0;
}

void
mb_sqldb_close(struct mb_sqldb *db)
{
	if (db == NULL)
		return;
	if (db->db != NULL)
		mb_sqldb_rollback(db);
	sqlite3_close(db->db);
	free(db->file);
	free(db);
}

size_t
mb_sqldb_max_columns(const struct mb_sqldb *db)
{
	return (size_t)sqlite3_limit(db->db, SQLITE_LIMIT_COLUMN, -1);
}

bool
mb_sqldb_knows_strict(void)
{
	return sqlite3_libversion_number() >= 3037000;
}

static int
fail_if_poisoned(const struct mb_sqldb *db, struct mb_err *err)
{
	return !db->is_poisoned ? 0 : mb_fail(err, MB_EIO, "%s: a sync of its "
	    "directory has failed before", db->place);
}

int
mb_sqldb_run(struct mb_sqldb *db, const char *sql, struct mb_err *err)
{
	if (fail_if_poisoned(db, err) < 0)
		return -1;
	if (sqlite3_exec(db->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return fail_sql(db, err);
	return 0;
}

int
mb_sqldb_run_text(struct mb_sqldb *db, struct mb_buf *sql, struct mb_err *err)
{
	int rc = mb_sqldb_run(db, mb_buf_str(sql), err);

	mb_buf_release(sql);
	return rc;
}

int
mb_sqldb_ask(struct mb_sqldb *db, const char *sql, const char *arg,
    struct mb_err *err)
{
	struct mb_statement *st;
	int rc;

	if (mb_statement_open(&st, db, sql, err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, arg);
	rc = mb_statement_next(st, err);
	mb_statement_close(st);
	return rc;
}

bool
mb_sqldb_is_in_transaction(const struct mb_sqldb *db)
{
	return !sqlite3_get_autocommit(db->db);
}

void
mb_sqldb_rollback(struct mb_sqldb *db)
{
	if (mb_sqldb_is_in_transaction(db))
		sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
}

int
mb_sqldb_n_changes(const struct mb_sqldb *db)
{
	return sqlite3_changes(db->db);
}

/*
 * One that gets to the end of the WAL syncs the WAL, copies all of it and
 * syncs the database: nothing safer can be asked for.
 */
int
mb_sqldb_checkpoint(struct mb_sqldb *db, struct mb_err *err)
{
	int n_log = -1, n_done = -1, rc;

	rc = sqlite3_wal_checkpoint_v2(db->db, "main",
	    SQLITE_CHECKPOINT_PASSIVE, &n_log, &n_done);
	if (rc != SQLITE_OK)
		return code_of(rc) == MB_EBUSY ? 0 : fail_sql(db, err);
	return n_log >= 0 && n_log == n_done;
}

void
mb_sqldb_trust(struct mb_sqldb *db)
{
	sqlite3_db_config(db->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

int
mb_sqldb_sync_names(struct mb_sqldb *db, struct mb_err *err)
{
	char *dir, *slash;
	int fd, rc;

	if (fail_if_poisoned(db, err) < 0)
		return -1;
	if (db->has_synced_names)
		return 0;
	dir = mb_strdup(db->file);
	slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	fd = mb_openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	rc = fd < 0 ? mb_fail_sys(err, "open %s", dir) :
	    mb_fsync(fd, dir, err);
	if (fd >= 0)
		close(fd);
	free(dir);
	db->has_synced_names = rc == 0;
	db->is_poisoned = rc < 0;
	return rc;
}

/*
 * Functions.
 */
struct call {
	const struct mb_sqldb_function *f;
	void *arg;
};

static struct mb_sqlvalue
value_of(sqlite3_value *v)
{
	struct mb_sqlvalue out = { .kind = MB_SQL_NULL };
	const char *p;

	switch (sqlite3_value_type(v)) {
	case SQLITE_INTEGER:
		out.kind = MB_SQL_INTEGER;
		out.i = sqlite3_value_int64(v);
		break;
	case SQLITE_FLOAT:
		out.kind = MB_SQL_REAL;
		out.d = sqlite3_value_double(v);
		break;
	case SQLITE_TEXT:
		out.kind = MB_SQL_TEXT;
		out.bytes.p = (const char *)sqlite3_value_text(v);
		out.bytes.len = (size_t)sqlite3_value_bytes(v);
		break;
	case SQLITE_BLOB:
		out.kind = MB_SQL_BLOB;
		p = sqlite3_value_blob(v);
		out.bytes.p = p == NULL ? "" : p;	/* no byte isn't null */
		out.bytes.len = (size_t)sqlite3_value_bytes(v);
		break;
	}
	return out;
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

static void
call_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	const struct call *c = sqlite3_user_data(ctx);
	struct mb_sqlvalue args[MB_SQLDB_MAX_ARGS], out;
	struct mb_err err = { 0 };

	for (int i = 0; i < argc; i++)
		args[i] = value_of(argv[i]);
	if (c->f->call(c->arg, &out, args, &err) < 0)
		sqlite3_result_error(ctx, err.msg, -1);
	else
		return_value(ctx, &out);
}

int
mb_sqldb_define(struct mb_sqldb *db, const struct mb_sqldb_function *f,
    void *arg, struct mb_err *err)
{
	struct call *c = mb_alloc(sizeof *c);

	*c = (struct call){ .f = f, .arg = arg };
	/* SQLite frees c, also if it fails. */
	if (sqlite3_create_function_v2(db->db, f->name, f->n_args,
	    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, c,
	    call_function, NULL, NULL, free) != SQLITE_OK)
		return fail_sql(db, err);
	return 0;
}

/*
 * Statements.
 */
int
mb_statement_open(struct mb_statement **out, struct mb_sqldb *db,
    const char *sql, struct mb_err *err)
{
	sqlite3_stmt *st;

	*out = NULL;
	if (fail_if_poisoned(db, err) < 0)
		return -1;
	if (sqlite3_prepare_v2(db->db, sql, -1, &st, NULL) != SQLITE_OK)
		return fail_sql(db, err);
	*out = mb_alloc(sizeof **out);
	**out = (struct mb_statement){ .st = st, .db = db };
	return 0;
}

int
mb_statement_open_text(struct mb_statement **out, struct mb_sqldb *db,
    struct mb_buf *sql, struct mb_err *err)
{
	int rc = mb_statement_open(out, db, mb_buf_str(sql), err);

	mb_buf_release(sql);
	return rc;
}

void
mb_statement_close(struct mb_statement *st)
{
	if (st == NULL)
		return;
	sqlite3_finalize(st->st);
	free(st);
}

int
mb_statement_next(struct mb_statement *st, struct mb_err *err)
{
	if (fail_if_poisoned(st->db, err) < 0)
		return -1;
	switch (sqlite3_step(st->st)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return fail_sql(st->db, err);
	}
}

void
mb_statement_reset(struct mb_statement *st)
{
	if (st != NULL)
		sqlite3_reset(st->st);
}

void
mb_statement_bind_text(struct mb_statement *st, int i, const char *text)
{
	sqlite3_bind_text(st->st, i, text, -1, SQLITE_STATIC);
}

void
mb_statement_bind_number(struct mb_statement *st, int i, uint64_t n)
{
	sqlite3_bind_int64(st->st, i, (sqlite3_int64)n);
}

static bool
bind(struct mb_statement *st, int i, const struct mb_sqlvalue *v,
    sqlite3_destructor_type bytes)
{
	switch (v->kind) {
	case MB_SQL_INTEGER:
		return sqlite3_bind_int64(st->st, i, v->i) == SQLITE_OK;
	case MB_SQL_REAL:
		return sqlite3_bind_double(st->st, i, v->d) == SQLITE_OK;
	case MB_SQL_TEXT:
		return sqlite3_bind_text64(st->st, i, v->bytes.p,
		    v->bytes.len, bytes, SQLITE_UTF8) == SQLITE_OK;
	case MB_SQL_BLOB:
		return sqlite3_bind_blob64(st->st, i, v->bytes.p,
		    v->bytes.len, bytes) == SQLITE_OK;
	default:
		return sqlite3_bind_null(st->st, i) == SQLITE_OK;
	}
}

bool
mb_statement_bind(struct mb_statement *st, int i, const struct mb_sqlvalue *v)
{
	return bind(st, i, v, SQLITE_STATIC);
}

bool
mb_statement_bind_copy(struct mb_statement *st, int i,
    const struct mb_sqlvalue *v)
{
	return bind(st, i, v, SQLITE_TRANSIENT);
}

void
mb_statement_bind_row(struct mb_statement *st, struct mb_statement *row)
{
	for (int i = 0; i < sqlite3_bind_parameter_count(st->st); i++)
		sqlite3_bind_value(st->st, i + 1,
		    sqlite3_column_value(row->st, i));
}

int
mb_statement_width(const struct mb_statement *row)
{
	return sqlite3_column_count(row->st);
}

bool
mb_statement_is_null(struct mb_statement *row, int i)
{
	return sqlite3_column_type(row->st, i) == SQLITE_NULL;
}

int64_t
mb_statement_number(struct mb_statement *row, int i)
{
	return sqlite3_column_int64(row->st, i);
}

const char *
mb_statement_text(struct mb_statement *row, int i)
{
	const char *text = (const char *)sqlite3_column_text(row->st, i);

	return text == NULL ? "" : text;
}
