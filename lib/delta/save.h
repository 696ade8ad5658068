/*
 * save.h - writing a checkpoint, so that reading needn't begin at version 0.
 *
 * It is written from the checkpoint before it and the commits since, and
 * these alone are held in memory.  Others can do without it, and it changes
 * nothing that the log says: a failure is no failure of a commit.
 */
#ifndef MB_DELTA_SAVE_H
#define MB_DELTA_SAVE_H

#include "delta/state.h"

/*
 * Is it time?  After delta.checkpointInterval versions, if this is set; else
 * after 10, if the commits are twice as large as the checkpoint, after 100, if
 * they are an eighth, after 1000 in any case: reading them stays cheap, and
 * writing is in proportion.  Never where the table's properties ask more of a
 * checkpoint than we write.
 */
bool mb_delta_save_is_due(const struct mb_delta_state *s);

/*
 * Write the checkpoint of s->version and _last_checkpoint.  now_ms: tombstones
 * that have expired by then are left out.  s->checkpoint… follow.
 */
MB_CHECK int mb_delta_save(struct mb_delta_state *s,
    const struct mb_delta_log *l, int64_t now_ms, struct mb_err *err);

/*
 * "interval 1 week", "interval 36 hours" in milliseconds; false: it isn't
 * one that we understand.
 */
bool mb_delta_parse_interval(const char *text, int64_t *ms);

#endif
