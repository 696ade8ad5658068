/*
 * deltatidy.h - keeping a Delta table that is appended to all the time fit to
 * be read: small files are joined.
 *
 * It is no part of a batch, and may fail, or be killed, at any point: what
 * isn't done is done another time.
 */
#ifndef MB_SINK_DELTATIDY_H
#define MB_SINK_DELTATIDY_H

#include "delta/state.h"
#include "parquet/types.h"
#include "sink/deltasmall.h"

struct mb_deltatidy {
	/* All borrowed. */
	int rootfd;			/* of the table */
	const struct mb_delta_log *log;
	struct mb_delta_state *state;
	struct mb_deltasmall *small;	/* the state's observer */
	const char *journal;
	struct mb_syncs *syncs;
	enum mb_parquet_codec codec;

	/* Set by join: a commit was tried, and nobody knows whether it came
	   through; and bytes that were read for it. */
	bool is_unknown;
	uint64_t joined_bytes;
};

/*
 * Join files, if there are some to be joined within `budget` bytes, in a
 * version that changes no rows (dataChange false).  The state is advanced.
 * 1 joined, 0 there was nothing to do, or others were in the way.
 *
 * MB_EDATA: a file can't be read; trying again soon won't help.
 */
MB_CHECK int mb_deltatidy_join(struct mb_deltatidy *t, uint64_t budget,
    int64_t now_ms, struct mb_err *err);

#endif
