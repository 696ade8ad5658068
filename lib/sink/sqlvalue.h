/*
 * sqlvalue.h - a value as SQLite stores it.
 *
 * A value becomes one that says exactly the same, or is refused; so does a
 * sum.
 *
 * Bytes.  Text is stored as TEXT if it is UTF-8 without a NUL, and as a BLOB
 * of the same bytes otherwise, because SQLite promises nothing for other
 * text.  Both are exact, and equal bytes always become the same value.
 *
 * Numbers.  SQLite has no decimals.  In a NUMERIC (or DECIMAL) column they
 * are stored as an integer or as the nearest double, which keeps 15 digits;
 * sums read them back as 15 digits and add those.
 */
#ifndef MB_SINK_SQLVALUE_H
#define MB_SINK_SQLVALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "sink/columns.h"

enum mb_sqlvalue_kind {
	MB_SQL_NULL,
	MB_SQL_INTEGER,	/* i */
	MB_SQL_REAL,	/* d */
	MB_SQL_TEXT,	/* bytes; borrowed */
	MB_SQL_BLOB,	/* likewise */
};

struct mb_sqlvalue {
	enum mb_sqlvalue_kind kind;
	int64_t i;
	double d;
	struct mb_str bytes;
};

/*
 * What the column stores for v; is_strict: of a STRICT table.  NULL, or why
 * it doesn't fit (a constant).
 */
MB_CHECK const char *mb_sqlvalue_set(struct mb_sqlvalue *out,
    const struct mb_column *c, bool is_strict, struct mb_value v);

/*
 * The sum of what is there and what is added, neither of them null: of whole
 * numbers, of doubles, of decimals.
 *
 * MB_EDATA: what is there is no such number, or the sum can't be stored.
 */
typedef int mb_sqlvalue_sum_fn(struct mb_sqlvalue *out,
    const struct mb_sqlvalue *there, const struct mb_sqlvalue *added,
    struct mb_err *err);

mb_sqlvalue_sum_fn mb_sqlvalue_sum_int;
mb_sqlvalue_sum_fn mb_sqlvalue_sum_real;
mb_sqlvalue_sum_fn mb_sqlvalue_sum_decimal;

#endif
