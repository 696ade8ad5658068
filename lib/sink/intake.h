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

struct mb_intake {
	struct mb_columns *columns;	/* set by the sink; borrowed */

	/*
	 * [columns->n]: the row's; where !is_in_batch, nothing.  They borrow
	 * from the record, for the time of the call.
	 */
	struct mb_value *values;

	/* private */
	size_t cap_values;
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
 * The row can't be taken because of its value in this column.  0: so be it.
 * MB_EDATA: the batch must fail, by --on-bad or since it is one of
 * aggregates.
 */
MB_CHECK int mb_intake_reject(struct mb_intake *s, struct mb_str record,
    size_t column, const char *why, struct mb_err *err);

void mb_intake_reset(struct mb_intake *s);
void mb_intake_release(struct mb_intake *s);

#endif
