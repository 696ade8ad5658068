/*
 * deltamark.h - the marker of a journal in a Delta table: its `txn` actions.
 *
 *	appId		version
 *	mb:ID		the last batch
 *	mb:ID#first	the first
 *	mb:ID#digest	the first half of the last one's digest …
 *	mb:ID#digest2	… and the second
 *	mb:ID#path	63 bits of a hash of the journal's path; 0: another
 *			journal has taken its place
 *	mb:ID/17	0: batch 17 is a hole; 1: it was one; 2: it is there,
 *			and was replaced by no rows (--redo)
 *
 * A version is 64 bits with a sign, and a digest 128.  Pure functions.
 */
#ifndef MB_SINK_DELTAMARK_H
#define MB_SINK_DELTAMARK_H

#include "delta/state.h"
#include "sink/marker.h"

/* MB_ECORRUPT: parts of it are missing, or don't fit one another. */
MB_CHECK int mb_deltamark_read(struct mb_marker *out,
    const struct mb_delta_state *s, const char *journal, struct mb_err *err);

/* Append the actions that move the marker from `was` to `now`. */
void mb_deltamark_put(struct mb_buf *out, const struct mb_delta_state *s,
    const char *journal, const char *path, const struct mb_marker *was,
    const struct mb_marker *now, int64_t time_ms);

/* Has the batch been replaced by no rows? */
bool mb_deltamark_is_empty(const struct mb_delta_state *s,
    const char *journal, uint64_t batch);

/* Append what tells so from now on, or no longer; nothing if it is known. */
void mb_deltamark_put_empty(struct mb_buf *out,
    const struct mb_delta_state *s, const char *journal, uint64_t batch,
    bool is_empty, int64_t time_ms);

/*
 * Another journal that was at this path and has batches in the table: its id
 * (32 digits, borrowed), or NULL.
 */
const char *mb_deltamark_other(const struct mb_delta_state *s,
    const char *journal, const char *path);

#endif
