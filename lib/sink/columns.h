/*
 * columns.h - the columns of a target table, as one batch meets them.
 *
 * For sinks whose targets have columns with names and types.  Which columns
 * there are, which field of the batch goes to which, what their types come to
 * (given, the table's or inferred), and which of them are keys or have a rule
 * in --merge.
 *
 * The columns of a table that is there stand: the sink adds them, then the
 * batch is brought to them.  Where there is no table, or it can grow, the
 * batch's fields, --schema and, for ndjson, the keys of its records make
 * columns.
 *
 *	mb_columns_add		each column of a table that is there
 *	mb_columns_begin	what is known of the batch's fields
 *	mb_columns_number	csv and tsv without a header: by a first record
 *	mb_columns_new		ndjson into a new table: a key not seen before
 *	mb_columns_settle	all records are here: types and rules are final
 *	mb_columns_reset	for the next batch
 */
#ifndef MB_SINK_COLUMNS_H
#define MB_SINK_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "record/names.h"
#include "sink/rows.h"

/* A column of the target that can be written. */
struct mb_column {
	char *name;
	struct mb_type type;
	bool is_guessed;	/* the type is inferred from this batch; it is
				   final only once it is settled */
	struct mb_guess guess;
	bool is_aggregate;
	bool is_not_null;
	bool is_rowid;		/* SQLite's INTEGER PRIMARY KEY: null is a new
				   one */
	bool has_default;
	bool is_in_batch;
	bool is_key;
	bool has_rule;		/* named in --merge */
	enum mb_merge_how how;
};

struct mb_columns {
	/* Set by the sink before the first batch; borrowed. */
	const struct mb_sink_options *options;
	const char *place;	/* the target, for messages */
	const char *limit_of;	/* whose limit: "SQLite" */
	size_t limit;		/* how many columns there can be */
	bool can_grow;		/* columns may be added to a table that is
				   there */
	bool needs_digits;	/* a decimal must say how many digits it has,
				   so none is inferred: int or double */

	/* Set by the sink before each batch: is the table there? */
	bool had_table;

	struct mb_column *v;
	size_t n;
	struct mb_names names;	/* of the columns */
	enum mb_format format;
	struct mb_names header;	/* of the batch's fields; not for ndjson */
	size_t *column_of;	/* [header.n], once is_mapped */
	bool is_mapped;
};

/* A column of the table that is there.  Borrowed until the next one. */
struct mb_column *mb_columns_add(struct mb_columns *s, const char *name);

/* By exactly this name; NULL if there is none. */
struct mb_column *mb_columns_find(const struct mb_columns *s,
    const char *name);

/*
 * The batch's format and fields.  Where no field is known yet they come with
 * the first record (mb_columns_number, mb_columns_new).
 *
 * MB_EUSAGE: field and table, --schema or --merge don't go together.
 */
MB_CHECK int mb_columns_begin(struct mb_columns *s, enum mb_format format,
    const struct mb_begin *b, struct mb_err *err);

/* The fields are "1" … "n".  Errors as above. */
MB_CHECK int mb_columns_number(struct mb_columns *s, size_t n,
    struct mb_err *err);

/* Can a batch bring columns? */
bool mb_columns_can_add(const struct mb_columns *s);

/* One more column, if there can be.  MB_EUSAGE: there can't. */
MB_CHECK int mb_columns_new(struct mb_columns *s, const char *name,
    struct mb_err *err);

/*
 * Every record that was taken has been shown to the guesses: decide the
 * types.  MB_EDATA: there is no column.  MB_EUSAGE: the options don't go with
 * the columns.
 */
MB_CHECK int mb_columns_settle(struct mb_columns *s, struct mb_err *err);

/*
 * Is the column part of a new row?  Columns that the batch lacks get null,
 * but where null is forbidden, and where it would only mean a default.
 */
bool mb_column_is_inserted(const struct mb_column *c);

/* Forget the batch and all columns. */
void mb_columns_reset(struct mb_columns *s);
void mb_columns_release(struct mb_columns *s);

#endif
