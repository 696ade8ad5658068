/*
 * deltafiles.h - the rows of a batch as data files of a Delta table: one
 * Parquet file for each partition that they have.
 *
 *	WRITING -> FINISHED [finish: whole; their syncs are begun]
 *	FINISHED -> NAMED [name: those of their directories, too]
 *	NAMED -> DURABLE [settle: all have ended]
 *
 * The names are random, and lead nowhere until a commit names them.  Those of
 * partitions are in directories as in Hive.
 */
#ifndef MB_SINK_DELTAFILES_H
#define MB_SINK_DELTAFILES_H

#include "delta/schema.h"
#include "parquet/writer.h"
#include "sink/cells.h"
#include "sink/columns.h"
#include "sink/deltahome.h"
#include "sink/intake.h"

struct mb_deltafiles;

struct mb_deltafiles_options {
	struct mb_deltahome *home;
	enum mb_parquet_codec codec;
	/*
	 * Where a column's values come from and what they become: the columns
	 * of the table in its order, those the batch has no field for left
	 * out (but the first, if there would be none).
	 */
	const struct mb_columns *columns;
	const struct mb_delta_schema *schema;
	const struct mb_delta_meta *meta;	/* whose properties hold */
};

/* Would a put take it for this column?  NULL, or why not (a constant). */
const char *mb_deltafiles_check(const struct mb_delta_column *to,
    struct mb_type type, struct mb_value v);
/* All of them? */
bool mb_deltafiles_check_views(const struct mb_delta_column *to,
    struct mb_type type, struct mb_views views);

/* All is borrowed and must outlive the files. */
MB_CHECK int mb_deltafiles_open(struct mb_deltafiles **out,
    const struct mb_deltafiles_options *options, struct mb_err *err);
void mb_deltafiles_close(struct mb_deltafiles *f);

/*
 * Put a row, whose values are in the order of options->columns.  1; or 0: a
 * value doesn't fit, nothing was put, *column and *why (a constant) tell.
 */
MB_CHECK int mb_deltafiles_put(struct mb_deltafiles *f,
    const struct mb_value *values, size_t *column, const char **why,
    struct mb_err *err);

/*
 * Put rows of the batch, all of them: 1; or 0: nothing was put, they have to
 * be put one by one (a value may not fit, or the table has partitions).
 */
MB_CHECK int mb_deltafiles_put_rows(struct mb_deltafiles *f,
    const struct mb_intake_rows *rows, struct mb_err *err);

/* All rows are here: whole files. */
MB_CHECK int mb_deltafiles_finish(struct mb_deltafiles *f,
    struct mb_err *err);

/* Give them their names, unless they have them.  MB_EIO. */
MB_CHECK int mb_deltafiles_name(struct mb_deltafiles *f, struct mb_err *err);

/* Bytes and names are durable.  MB_EIO: only close may follow. */
MB_CHECK int mb_deltafiles_settle(struct mb_deltafiles *f,
    struct mb_err *err);

/* Take the names back: no commit leads to them, for certain. */
void mb_deltafiles_unname(struct mb_deltafiles *f);

/* A finished file.  Borrowed. */
struct mb_deltafile {
	const char *path;	/* as it stands in the log: a URI */
	const char *partition;	/* the object partitionValues */
	const char *stats;
	uint64_t size, rows;
};

size_t mb_deltafiles_n(const struct mb_deltafiles *f);
struct mb_deltafile mb_deltafiles_at(const struct mb_deltafiles *f, size_t i);

#endif
