/*
 * sqldb.h - a connection to an SQLite database, and its statements.
 *
 * The only file behind which there is sqlite3.h.  Every error begins with the
 * place that the connection was opened for:
 *
 *	MB_EBUSY	another connection has the lock; nothing has happened
 *	MB_EDATA	the statement doesn't go with what is there
 *	MB_ECORRUPT	the file is damaged, or no database
 *	MB_EIO		the system refused; the outcome of a COMMIT is unknown
 *
 * After MB_EIO the connection goes on to be used, and that is on purpose: it
 * knows what the file says as of the last good commit (in WAL mode frames that
 * were written but not synced aren't in the index that readers go by), while a
 * new connection could take such frames for committed, although the kernel may
 * have dropped their pages after the failed sync.  The next commit writes the
 * same frames over.
 */
#ifndef MB_SINK_SQLDB_H
#define MB_SINK_SQLDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink/sqlvalue.h"

struct mb_sqldb;
struct mb_statement;

/*
 * Connect to a file that is there, by its absolute path; one of zero bytes is
 * an empty database.  `place` is borrowed.  Nothing is read or locked yet.
 */
MB_CHECK int mb_sqldb_open(struct mb_sqldb **out, const char *file,
    const char *place, struct mb_err *err);
/* Rolls back.  Its statements must be closed before.  NULL is fine. */
void mb_sqldb_close(struct mb_sqldb *db);

/* How many columns a table can have. */
size_t mb_sqldb_max_columns(const struct mb_sqldb *db);
/* Does this SQLite know of STRICT tables? */
bool mb_sqldb_knows_strict(void);

/* Run statements that give no rows and take no values. */
MB_CHECK int mb_sqldb_run(struct mb_sqldb *db, const char *sql,
    struct mb_err *err);
/* Likewise, and release the text. */
MB_CHECK int mb_sqldb_run_text(struct mb_sqldb *db, struct mb_buf *sql,
    struct mb_err *err);
/* Does the query (with ?1) give a row?  1 or 0. */
MB_CHECK int mb_sqldb_ask(struct mb_sqldb *db, const char *sql,
    const char *arg, struct mb_err *err);

/* Has a BEGIN been run that no COMMIT, ROLLBACK or error has ended? */
bool mb_sqldb_is_in_transaction(const struct mb_sqldb *db);
/* End whatever transaction is open, also one that SQLite has ended itself. */
void mb_sqldb_rollback(struct mb_sqldb *db);
/* How many rows the last INSERT, UPDATE or DELETE has changed. */
int mb_sqldb_n_changes(const struct mb_sqldb *db);

/*
 * Make durable what is committed, whoever committed it.  1: done.  0: it can't
 * be in this way, as there is no WAL or readers are in it; then a commit that
 * changes a page does it.
 */
MB_CHECK int mb_sqldb_checkpoint(struct mb_sqldb *db, struct mb_err *err);

/*
 * The database was read and is sound: close may move its WAL into it.  Until
 * then it doesn't, because a connection that could not read the database may
 * take its WAL for empty, and closing it would delete what is committed there.
 */
void mb_sqldb_trust(struct mb_sqldb *db);

/*
 * Make durable the names of the database and its WAL, once in the life of the
 * connection; to be called after a commit and before anyone is told of it.
 * SQLite syncs the directory when it has made its WAL, but takes no notice of
 * a failure; then a power cut loses the WAL's name, and what is committed in
 * it.  After a failure only close may follow: everything else fails with
 * MB_EIO.
 */
MB_CHECK int mb_sqldb_sync_names(struct mb_sqldb *db, struct mb_err *err);

/*
 * A function for SQL: *out from the n_args values in `args`, which borrow for
 * the time of the call, as *out may.  -1: the statement fails with MB_EDATA
 * and this message.
 */
typedef int mb_sqldb_fn(void *arg, struct mb_sqlvalue *out,
    const struct mb_sqlvalue *args, struct mb_err *err);

enum { MB_SQLDB_MAX_ARGS = 3 };

struct mb_sqldb_function {
	const char *name;
	int n_args;		/* 1 … MB_SQLDB_MAX_ARGS */
	mb_sqldb_fn *call;
};

/*
 * Nothing in the file's schema can call it.  `f` and `arg` are borrowed for
 * the life of the connection.
 */
MB_CHECK int mb_sqldb_define(struct mb_sqldb *db,
    const struct mb_sqldb_function *f, void *arg, struct mb_err *err);

/*
 * A statement.  Parameters ?1 … are numbered from 1, the columns of a row from
 * 0.  *out is NULL after a failure.
 */
MB_CHECK int mb_statement_open(struct mb_statement **out, struct mb_sqldb *db,
    const char *sql, struct mb_err *err);
/* Likewise, and release the text. */
MB_CHECK int mb_statement_open_text(struct mb_statement **out,
    struct mb_sqldb *db, struct mb_buf *sql, struct mb_err *err);
void mb_statement_close(struct mb_statement *st);	/* NULL is fine */

/*
 * 1: a row, whose columns can be read until the next call.  0: the end.  After
 * 0 and -1 comes reset, or close.
 */
MB_CHECK int mb_statement_next(struct mb_statement *st, struct mb_err *err);
/* Make ready to be run once more; what is bound stays.  NULL is fine. */
void mb_statement_reset(struct mb_statement *st);

/* NULL is null.  The text is borrowed until it is bound anew. */
void mb_statement_bind_text(struct mb_statement *st, int i, const char *text);
void mb_statement_bind_number(struct mb_statement *st, int i, uint64_t n);
/* The value's bytes are borrowed likewise.  false: they are too many. */
MB_CHECK bool mb_statement_bind(struct mb_statement *st, int i,
    const struct mb_sqlvalue *v);
/* The same, but the bytes are copied. */
MB_CHECK bool mb_statement_bind_copy(struct mb_statement *st, int i,
    const struct mb_sqlvalue *v);
/* Every parameter gets the value of the row's column in the same place. */
void mb_statement_bind_row(struct mb_statement *st, struct mb_statement *row);

int mb_statement_width(const struct mb_statement *row);
bool mb_statement_is_null(struct mb_statement *row, int i);
int64_t mb_statement_number(struct mb_statement *row, int i);
/* "" for null.  Borrowed until the next row. */
const char *mb_statement_text(struct mb_statement *row, int i);

#endif
