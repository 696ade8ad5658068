/*
 * rows.h - from a record's fields to values of a target's types.
 *
 * For sinks whose columns have types: what the types are, which of them fits
 * a batch (inference), and whether a value fits one.  Pure functions.
 */
#ifndef MB_SINK_ROWS_H
#define MB_SINK_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/number.h"
#include "record/value.h"
#include "sink/sink.h"

enum mb_type_kind {
	MB_TYPE_BOOL, MB_TYPE_INT, MB_TYPE_INT32, MB_TYPE_FLOAT,
	MB_TYPE_DOUBLE, MB_TYPE_TEXT, MB_TYPE_BINARY, MB_TYPE_DATE,
	MB_TYPE_TIMESTAMP, MB_TYPE_TIMESTAMP_NTZ,
	MB_TYPE_DECIMAL,	/* precision 0: as many digits as come */
	MB_TYPE_ANY,		/* by its looks; not in --schema */
};

struct mb_type {
	enum mb_type_kind kind;
	uint8_t precision, scale;	/* decimal(p,s) */
};

bool mb_type_eq(struct mb_type a, struct mb_type b);
bool mb_type_is_number(struct mb_type t);

/* As in --schema: "int", "decimal(10,2)", also "decimal".  MB_EUSAGE. */
MB_CHECK int mb_type_parse(struct mb_type *out, const char *text,
    struct mb_err *err);

/* A value of one of the types. */
enum mb_cell_kind {
	MB_CELL_NULL,
	MB_CELL_INT,	/* i; a bool is 0 or 1; a date days, a time
			   microseconds since the epoch */
	MB_CELL_REAL,	/* d */
	MB_CELL_DECIMAL,	/* n, exact */
	MB_CELL_BYTES,	/* text alone */
};

struct mb_cell {
	enum mb_cell_kind kind;
	struct mb_str text;	/* of every kind, as it came; borrowed */
	union {
		int64_t i;
		double d;
		struct mb_number n;
	};
};

/*
 * Make the value one of this type.  NULL, or why it doesn't fit (a constant).
 *
 * Where a number is needed any text that reads as one will do, if nothing is
 * lost: 3.0 is an int, 3.5 is none.
 */
MB_CHECK const char *mb_cell_set(struct mb_cell *out, struct mb_type type,
    struct mb_value v);

/* The number without zeros at its end; how many digits has it then? */
unsigned mb_number_trim(struct mb_number *exact);

/*
 * Inference: what a column's values have been so far.  {0} is none.  The type
 * is the first of these that holds them all as they are:
 *
 *	bool	JSON true and false
 *	int	64 bits
 *	decimal	up to MB_GUESS_DIGITS digits, or an int
 *	double	those that read back from a double with the same digits
 *	text
 *
 * A number in csv or tsv that begins with a plus or with a zero before other
 * digits (a postcode) is text.  A column of nulls is text.
 */
enum { MB_GUESS_DIGITS = 15 };

struct mb_guess {
	bool has_value;
	bool has_bool, has_number, has_text;
	bool beyond_int, beyond_decimal, beyond_double;
};

void mb_guess_add(struct mb_guess *g, struct mb_value v);
struct mb_type mb_guess_type(const struct mb_guess *g);

/*
 * The type that options or frame give the column, in this order; false: none,
 * so it is to be inferred.  MB_EUSAGE: there is no such type.
 */
MB_CHECK int mb_column_type(struct mb_type *out, bool *is_given,
    const char *name, const struct mb_field *field,
    const struct mb_sink_options *options, struct mb_err *err);

/*
 * Can this batch be merged as the options say?  A column that was computed
 * for one batch needs a rule in --merge, what was averaged can't be summed,
 * and the keys must be fields, as far as these are known yet.  MB_EUSAGE.
 */
MB_CHECK int mb_merge_check(const struct mb_sink_options *options,
    const struct mb_begin *b, struct mb_err *err);

#endif
