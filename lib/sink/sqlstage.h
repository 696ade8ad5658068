/*
 * sqlstage.h - the rows of a batch on their way into a table.
 *
 * Staged rows are in temp.mb_stage (sqltext.h), on the connection that commits
 * them; temporary tables live in a file of their own that SQLite has already
 * unlinked, so memory is bounded and nothing stays behind.  Staging takes no
 * lock on the database, and what is staged stays staged whatever becomes of
 * the transaction that moves it.
 *
 *	mb_sqlstage_begin	empty, and in a transaction of temp alone
 *	mb_sqlstage_set		a row's values, or why it can't be taken
 *	mb_sqlstage_add		… and the row
 *	mb_sqlstage_end		all are there
 *	mb_sqlstage_append	in a transaction of the caller's, as often as
 *	mb_sqlstage_merge	it takes: move them to the table
 *
 * Errors are those of sqldb.h and what is said here.
 */
#ifndef MB_SINK_SQLSTAGE_H
#define MB_SINK_SQLSTAGE_H

#include "sink/columns.h"
#include "sink/sqldb.h"
#include "sink/sqltable.h"

struct mb_sqlstage {
	/* Set by the sink; borrowed. */
	const struct mb_sqltable *table;
	const struct mb_columns *columns;

	uint64_t n_rows;	/* of this batch */

	/* private */
	struct mb_sqldb *db;
	size_t n_columns;	/* of temp.mb_stage; 0: it isn't there */
	struct mb_statement *insert;
	struct mb_buf tagged;
};

/*
 * Make ready a connection, once: define the functions that the statements
 * call.  The stage must stay where it is until the connection is closed, and
 * be released before.
 */
MB_CHECK int mb_sqlstage_open(struct mb_sqlstage *s, struct mb_sqldb *db,
    struct mb_err *err);
void mb_sqlstage_release(struct mb_sqlstage *s);

MB_CHECK int mb_sqlstage_begin(struct mb_sqlstage *s, struct mb_err *err);

/*
 * The values of a row, by column; borrowed until add.  There may be more
 * columns than at the row before.  1.  0: it can't be taken because of the
 * value in *column, and *why is a constant.
 */
MB_CHECK int mb_sqlstage_set(struct mb_sqlstage *s,
    const struct mb_value *values, size_t *column, const char **why,
    struct mb_err *err);
/* Add the row; or, when merging, the one that deletes its key. */
MB_CHECK int mb_sqlstage_add(struct mb_sqlstage *s, bool deletes,
    struct mb_err *err);

/* Leave the transaction with the rows.  Nothing if it has been left. */
MB_CHECK int mb_sqlstage_end(struct mb_sqlstage *s, struct mb_err *err);

/* Forget the rows.  Whatever transaction is open is rolled back. */
void mb_sqlstage_abort(struct mb_sqlstage *s);

/* Do all rows have this number in the column?  1 or 0. */
MB_CHECK int mb_sqlstage_is_all(struct mb_sqlstage *s, size_t column,
    uint64_t number, struct mb_err *err);

/* Insert the rows, in order. */
MB_CHECK int mb_sqlstage_append(struct mb_sqlstage *s, struct mb_err *err);
/*
 * Merge them by --merge-on and --merge, row by row and in order, so that rows
 * of one key fold.  MB_EDATA: a key is there more than once.
 */
MB_CHECK int mb_sqlstage_merge(struct mb_sqlstage *s, struct mb_err *err);

#endif
