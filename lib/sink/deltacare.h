/*
 * deltacare.h - what follows the commits of a Delta table, in its time: small
 * files are joined, checkpoints written, what nobody needs is removed.
 *
 * None of it is the batch's: what fails is told, and tried again another time.
 */
#ifndef MB_SINK_DELTACARE_H
#define MB_SINK_DELTACARE_H

#include "sink/deltatidy.h"
#include "sink/sink.h"

struct mb_deltacare {
	const struct mb_sink_options *options;
	struct mb_deltasmall *small;	/* NULL: without --compact-to */
	bool has_stuck;			/* they can't be joined */
	int64_t batch_ms, interval_ms;	/* of the last batch */
	uint64_t rate;			/* bytes joined by ms */
	int64_t vacuum_ms;		/* when it was; 0: not yet */
	int64_t save_from;		/* no checkpoint before this version,
					   because one has failed */
};

/* Options are borrowed; the table's state gets an observer if it needs one. */
void mb_deltacare_open(struct mb_deltacare *c,
    const struct mb_sink_options *options, struct mb_delta_state *state);
void mb_deltacare_close(struct mb_deltacare *c);

/* A batch of this time has begun: work is measured by the time between two. */
void mb_deltacare_begin(struct mb_deltacare *c, int64_t time_ms);

/*
 * A batch was committed, and t->state is at the version that has it.
 * *is_fresh: it still can be advanced; *is_poisoned: a commit may have
 * happened or not.
 */
void mb_deltacare_run(struct mb_deltacare *c, struct mb_deltatidy *t,
    bool *is_fresh, bool *is_poisoned);

#endif
