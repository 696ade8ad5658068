/*
 * convert.h - the rows of a batch as the bytes of a file: as they came, or in
 * another format.
 *
 * Records that keep their format keep their bytes, unless they are spread over
 * partitions: then the partition fields are taken out.  Shared by the sinks
 * that write text.
 */
#ifndef MB_SINK_CONVERT_H
#define MB_SINK_CONVERT_H

#include "sink/parts.h"
#include "sink/sink.h"

struct mb_convert;

/*
 * Begin a batch: `out` gets the header, where the format has one.  Options
 * and begin are borrowed until close.
 *
 * MB_EUSAGE: a partition field isn't there, or nothing is left beside them.
 */
MB_CHECK int mb_convert_open(struct mb_convert **c,
    const struct mb_sink_options *options, const struct mb_begin *b,
    struct mb_buf *out, struct mb_err *err);

/*
 * From here on the rows go to their partitions, borrowed until close, and
 * nothing to `out`.  To be called before the first row, with partition_by.
 */
void mb_convert_spread(struct mb_convert *c, struct mb_parts *parts);

/* The format that is written: "csv", … */
const char *mb_convert_format(const struct mb_convert *c);

/* Append whole records, n of them. */
MB_CHECK int mb_convert_add(struct mb_convert *c, struct mb_str records,
    uint64_t n, struct mb_buf *out, struct mb_err *err);

/* How many of the first bytes that were written are the header; 0: none. */
size_t mb_convert_header(const struct mb_convert *c);

/* Rows written so far; rejects excluded. */
uint64_t mb_convert_rows(const struct mb_convert *c);

void mb_convert_close(struct mb_convert *c);

#endif
