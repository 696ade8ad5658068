/*
 * intake.h - the bytes of a batch, as rows of values by column.
 *
 * For sinks whose targets have columns.  Records come in pieces and are read
 * in order; each that is good becomes a row, handed to the sink with its
 * values in the order of the columns, and each that is not is reported as
 * --on-bad says.  Records of one batch have one run of numbers, from 1.
 */
#ifndef MB_SINK_INTAKE_H
#define MB_SINK_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "record/reader.h"
#include "sink/columns.h"

/* Ordinary records that follow each other, at most MB_ROWS. */
struct mb_intake_rows {
	struct mb_str raw;	/* all of them */
	enum mb_isa isa;	/* to be used on them */
	const char *base;	/* rows.h: what the views count from */
	const struct mb_view *const *view;	/* [columns->n]: [n] of each;
						   NULL: not in the batch */
	size_t n;
};

/*
 * 1: the rows are taken, all of them.  0: nothing has happened, they come one
 * by one.
 */
typedef int mb_intake_rows_fn(void *arg, const struct mb_intake_rows *rows,
    struct mb_err *err);

struct mb_intake {
	struct mb_columns *columns;	/* set by the sink; borrowed */
	mb_intake_rows_fn *take_rows;	/* likewise; NULL: one by one */

	/*
	 * [columns->n]: the row's; where !is_in_batch, nothing.  They borrow
	 * from the record, for the time of the call.
	 */
	struct mb_value *values;

	/* private */
	size_t cap_values;
	const struct mb_view **view;
	size_t cap_view;
	struct mb_str *nulls;
	struct mb_reader *reader;
	struct mb_buf rest;	/* bytes that are no whole record yet */
	struct mb_buf why;
	uint64_t n_records;
	bool has_aggregates;
};

/* Take the row in `values`, or reject its record with one of the below. */
typedef int mb_intake_row_fn(void *arg, struct mb_str record,
    struct mb_err *err);

/* Begin a batch, after mb_columns_begin. */
MB_CHECK int mb_intake_begin(struct mb_intake *s, const struct mb_begin *b,
    struct mb_err *err);

/*
 * Read more of the batch; at its end what is left, a last record without
 * newline.  With ndjson and no table yet there may be more columns at each row
 * than at the one before.
 *
 * Errors: those of `take` and of reject, and MB_EUSAGE: the first record of a
 * batch without header doesn't go with the table.
 */
MB_CHECK int mb_intake_add(struct mb_intake *s, struct mb_str records,
    mb_intake_row_fn *take, void *arg, struct mb_err *err);
MB_CHECK int mb_intake_end(struct mb_intake *s, mb_intake_row_fn *take,
    void *arg, struct mb_err *err);

/*
 * Read the batch again, or as much of it as the sink has kept: what was taken,
 * record by record, comes by mb_intake_add and _end once more.
 */
MB_CHECK int mb_intake_again(struct mb_intake *s, struct mb_err *err);

/*
 * The row can't be taken because of its value in this column.  0: so be it.
 * MB_EDATA: the batch must fail, by --on-bad or since it is one of
 * aggregates.
 */
MB_CHECK int mb_intake_reject(struct mb_intake *s, struct mb_str record,
    size_t column, const char *why, struct mb_err *err);

void mb_intake_reset(struct mb_intake *s);
void mb_intake_release(struct mb_intake *s);

#endif
