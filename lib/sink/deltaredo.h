/*
 * deltaredo.h - the files in a Delta table that have the rows of one batch,
 * for --redo.
 *
 * They are known by their tags: mb.batch, which batch of which journal, and
 * mb.files, how many it has.  Only where all of them are as they were written
 * can it be told which rows are the batch's: one that was joined with others
 * (--compact-to), rewritten or removed by somebody has lost its tag.
 */
#ifndef MB_SINK_DELTAREDO_H
#define MB_SINK_DELTAREDO_H

#include "delta/state.h"

/* {0} is empty. */
struct mb_deltaredo {
	char **v;		/* their adds, as in the log */
	size_t n;
};

/*
 * Find them, at the version that the state is at; *out is replaced.  Memory is
 * in proportion to the commits since the checkpoint.
 *
 * MB_EUSAGE: they are not all there.
 */
MB_CHECK int mb_deltaredo_find(struct mb_deltaredo *out, const char *journal,
    uint64_t batch, const struct mb_delta_state *s,
    const struct mb_delta_log *l, struct mb_err *err);
void mb_deltaredo_release(struct mb_deltaredo *r);

#endif
