/*
 * expr.h - --where: which records are selected.
 *
 *	test  = operand ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") operand
 *	      | operand ["not"] "in" "(" literal {"," literal} ")"
 *	      | operand ("~" | "!~") text
 *	      | operand "is" ["not"] "null"
 *	      | "(" expr ")"
 *	expr  = tests joined by "not", "and", "or", binding in this order
 *
 * A bare word is a field, a bare number a number; texts stand in '…' or "…",
 * where a backslash takes a quote or a backslash, makes \n, \r and \t, and
 * before anything else stands for itself, as in regular expressions.
 *
 * A number compares as number, a text by bytes, two fields as numbers if both
 * are.  Null, or a text where a number is needed, makes a test unknown; what
 * is unknown is not selected, and neither is its `not`.
 */
#ifndef MB_AGG_EXPR_H
#define MB_AGG_EXPR_H

#include "record/field.h"
#include "record/rows.h"
#include "record/value.h"

enum { MB_EXPR_DEPTH = 100 };	/* of parentheses */

struct mb_expr;

/*
 * The fields that it needs are added to `fields`.  The text is borrowed.
 * MB_EUSAGE, naming the byte.  An expression belongs to one thread (regexec
 * locks what it works on).
 */
MB_CHECK int mb_expr_open(struct mb_expr **out, const char *text,
    struct mb_field_set *fields, struct mb_err *err);
void mb_expr_close(struct mb_expr *e);

/* Is the record selected?  values[i] is the field fields.v[i]. */
bool mb_expr_selects(struct mb_expr *e, const struct mb_value *values);

/* Take out of the rows those that aren't selected. */
void mb_expr_select(struct mb_expr *e, struct mb_rows *rows, size_t n_fields);

#endif
