/*
 * checkpoint.h - checkpoints: what the log says, in one place.
 *
 * Read are all kinds: one file or several parts, version 2 in Parquet or JSON
 * with sidecars.  Whatever it is, its rows come as lines of JSON, one action
 * each, as if they stood in a commit.
 */
#ifndef MB_DELTA_CHECKPOINT_H
#define MB_DELTA_CHECKPOINT_H

#include "delta/log.h"

enum mb_delta_wants {
	MB_DELTA_WANTS_STATE = 1,	/* all but files; without their cost */
	MB_DELTA_WANTS_FILES = 2,	/* add and remove, also of sidecars */
};

/*
 * 1, or 0 if a file of it isn't there (any more).  MB_EDATA: it is damaged;
 * the errors of fn.  After 0 or an error fn may have been told a part.
 */
MB_CHECK int mb_delta_checkpoint_read(const struct mb_delta_log *l,
    const struct mb_delta_checkpoint *c, unsigned wants,
    mb_delta_line_fn *fn, void *arg, struct mb_err *err);

#endif
