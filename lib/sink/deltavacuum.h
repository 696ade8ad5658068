/*
 * deltavacuum.h - removing what nobody needs of a Delta table.
 *
 * It is no part of a batch, and may fail, or be killed, at any point: what
 * isn't done is done another time.
 */
#ifndef MB_SINK_DELTAVACUUM_H
#define MB_SINK_DELTAVACUUM_H

#include "delta/state.h"

/* All borrowed. */
struct mb_deltavacuum {
	int rootfd;			/* of the table */
	const struct mb_delta_log *log;
	struct mb_delta_state *state;
};

/*
 * Remove data files that no version needs any more: those that were removed
 * longer ago than delta.deletedFileRetentionDuration (1 week), and those as
 * old as that which no version has ever named.  And of the log what is older
 * than delta.logRetentionDuration (30 days), as far as a checkpoint that is
 * older than that covers it, which is read to see that it is whole; and
 * checkpoints, but one an hour.  *n_files: how many were removed.  The state
 * is advanced.
 */
MB_CHECK int mb_deltavacuum_run(const struct mb_deltavacuum *t,
    int64_t now_ms, uint64_t *n_files, struct mb_err *err);

#endif
