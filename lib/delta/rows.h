/*
 * rows.h - actions as the rows of a checkpoint in Parquet.
 */
#ifndef MB_DELTA_ROWS_H
#define MB_DELTA_ROWS_H

#include "delta/schema.h"
#include "parquet/writer.h"

struct mb_delta_rows;

/*
 * Begin a checkpoint file; see writer.h for `write`.  parsed: the columns of
 * the table, borrowed, if there are to be those of parsed.h; else NULL.
 */
MB_CHECK int mb_delta_rows_open(struct mb_delta_rows **out,
    const struct mb_delta_schema *parsed, mb_parquet_write_fn *write,
    void *arg, struct mb_err *err);
void mb_delta_rows_close(struct mb_delta_rows *r);

/*
 * A row for the action of this name: txn, add, remove, metaData, protocol or
 * domainMetadata.  Members that checkpoints don't keep are left out.
 */
MB_CHECK int mb_delta_rows_put(struct mb_delta_rows *r, const char *name,
    struct mb_str object, struct mb_err *err);

uint64_t mb_delta_rows_n(const struct mb_delta_rows *r);

/* *size: of the file. */
MB_CHECK int mb_delta_rows_finish(struct mb_delta_rows *r, uint64_t *size,
    struct mb_err *err);

#endif
