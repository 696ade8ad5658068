/*
 * reject.h - where records came from, and how the bad ones are kept.
 *
 * A frame's ranges tell the source and the offset of every record, as long
 * as nothing between mb-collect and here has changed the bytes; if something
 * did, only the record's number in the batch is left.
 */
#ifndef MB_AGG_REJECT_H
#define MB_AGG_REJECT_H

#include "agg/work.h"
#include "frame/frame.h"

/*
 * The places of the frame's ranges, given that `total` bytes of records
 * arrived; out has room for n.  0: that isn't what was sent.
 */
size_t mb_places_make(struct mb_place *out, const struct mb_extent *ranges,
    size_t n, uint64_t total);

/*
 * Append one line of NDJSON for --rejects: source, offset, record, length,
 * reason, data (data_hex if it isn't UTF-8).
 */
void mb_reject_put(struct mb_buf *out, const struct mb_row_reject *r,
    const struct mb_place *place);

/* `access.csv: byte 123: reason`, or `record 12: reason`, for a person. */
void mb_reject_say(struct mb_buf *out, const struct mb_row_reject *r,
    const struct mb_place *place);

#endif
