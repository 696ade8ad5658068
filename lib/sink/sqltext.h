/*
 * sqltext.h - the texts of the sink's SQL statements.
 *
 * Pure functions: from names, types and columns to text, and back from the
 * text of a schema.  Nothing of a record is ever part of an SQL text but the
 * names of its fields, and these are quoted.
 *
 * The statements speak of temp.mb_stage: n, the order of the rows, d, whether
 * the row deletes its key, and c0, c1, …, one for each column; and they call
 * functions of the connection:
 *
 *	mb_typed(staged, column)		a value staged before its
 *						column's type was known
 *	mb_sum_int(there, added, column)	for --merge
 *	mb_sum_real(there, added, column)
 *	mb_sum_decimal(there, added, column)
 *
 * `column` is the index in the columns.  put functions append to `sql`.
 */
#ifndef MB_SINK_SQLTEXT_H
#define MB_SINK_SQLTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "sink/columns.h"

/* The type of a declared one, in a table of any origin. */
struct mb_type mb_sqltext_type(const char *declared);

/*
 * CREATE TABLE with the id, MB_HASH_LEN hex digits, as a comment right behind
 * the parenthesis: there it survives VACUUM, .dump and every ALTER TABLE.
 */
void mb_sqltext_put_create(struct mb_buf *sql, const char *table,
    const char *id, const struct mb_columns *columns);

/*
 * The id in the text that the schema has of the table; false: it isn't one of
 * ours.  id has MB_HASH_LEN + 1 bytes.
 */
bool mb_sqltext_id(char *id, const char *table, const char *schema);

/*
 * CREATE INDEX, one that finds keys, null among them.  It isn't unique: SQLite
 * takes nulls in unique indexes for different, and users may keep what they
 * like in a table of theirs.
 */
void mb_sqltext_put_key_index(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns);

/* CREATE TABLE temp.mb_stage, as wide as the columns. */
void mb_sqltext_put_create_stage(struct mb_buf *sql,
    const struct mb_columns *columns);
/* One more column for it, the i-th from 0. */
void mb_sqltext_put_widen_stage(struct mb_buf *sql, size_t i);
/* INSERT into it; ?1 … are the columns, and the one after them is d. */
void mb_sqltext_put_insert_stage(struct mb_buf *sql,
    const struct mb_columns *columns);

/*
 * SELECT the staged rows in order, the columns that are inserted
 * (mb_column_is_inserted); with_deletes: and d, the last.
 */
void mb_sqltext_put_select(struct mb_buf *sql,
    const struct mb_columns *columns, bool with_deletes);

/* DELETE what has the keys of one row of the SELECT; ?1 … are its values. */
void mb_sqltext_put_delete(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns);

/* DELETE the rows whose column `batch` is ?1. */
void mb_sqltext_put_delete_batch(struct mb_buf *sql, const char *table);

/* INSERT all that SELECT gives. */
void mb_sqltext_put_append(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns);

/* INSERT one row of the SELECT; ?1 … are its values. */
void mb_sqltext_put_insert(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns);

/*
 * UPDATE by the rules of --merge what has the keys of one row of the SELECT;
 * ?1 … are its values.  It changes as many rows as have these keys, also if
 * no rule changes anything.
 */
void mb_sqltext_put_update(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns);

#endif
