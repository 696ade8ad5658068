/*
 * deletes.h - --delete-when: which rows of a merge delete their key.
 *
 * The expression is that of mb-agg --where, over the fields of the record as
 * it came.
 */
#ifndef MB_SINK_DELETES_H
#define MB_SINK_DELETES_H

#include "record/names.h"
#include "sink/sink.h"

struct mb_deletes;

/* Options are borrowed.  MB_EUSAGE: what is wrong with the expression. */
MB_CHECK int mb_deletes_open(struct mb_deletes **out,
    const struct mb_sink_options *options, struct mb_err *err);
void mb_deletes_close(struct mb_deletes *d);

/*
 * Begin a batch; `header` as for mb_reader_begin, borrowed until the next.
 * MB_EUSAGE: it lacks a field.
 */
MB_CHECK int mb_deletes_begin(struct mb_deletes *d, const struct mb_begin *b,
    const struct mb_names *header, struct mb_err *err);

/* Does this record, a good one with its line end, delete its key?  1 or 0. */
MB_CHECK int mb_deletes_selects(struct mb_deletes *d, struct mb_str record,
    struct mb_err *err);

#endif
