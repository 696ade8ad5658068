/*
 * outcome.h - what becomes of a planned batch, decided and journalled.
 *
 *	PLANNED -> COMMITTED	[mb_outcome_commit]
 *	PLANNED -> PLANNED	[mb_outcome_fail]
 *	PLANNED -> PARKED	[mb_outcome_fail, after so many; mb_outcome_park]
 *	PARKED  -> PLANNED	[mb_outcome_unpark]
 *	PARKED  -> VOID		[mb_outcome_requeue]
 *
 * Whoever calls one of these holds MB_LOCK_COMMIT, so that nobody else steps
 * between the decision and the line.  They take the append lock themselves
 * and decide on all that stands before their line.  Where locks don't hold
 * the lines may come in another order than the deeds; then
 *
 * O1. a `commit` is written for a planned or parked batch only, and
 * O2. whatever is written here, the sink's marker has the last word: a batch
 *     that is parked, unparked or requeued while it is in the sink is found
 *     there, under each of its numbers, before it is written again.
 */
#ifndef MB_JOURNAL_OUTCOME_H
#define MB_JOURNAL_OUTCOME_H

#include "journal/journal.h"
#include "journal/lines.h"

/* A batch that somebody has in hand and would commit. */
struct mb_claim {
	uint64_t batch;
	struct mb_hash digest;
	uint64_t hello_run;	/* of the stream that it came with */
	bool is_replay;		/* then parked ones may be committed, too */
	bool is_ordered;
	bool is_dry;		/* those before it were not told either */
};

/*
 * May it be committed, by the state as it was read under the commit lock?
 * 1; 0 and *why, a constant: it is to be dropped; or -1: MB_EBUSY (a later
 * mb-collect has started, a batch before it isn't settled), MB_ECORRUPT (not
 * the journal's batch).  Pure.
 */
MB_CHECK int mb_outcome_may_commit(const struct mb_state *s,
    const struct mb_claim *claim, const char **why, struct mb_err *err);

/* Is the stream's collector no longer the last one? */
bool mb_outcome_is_superseded(const struct mb_state *s, uint64_t hello_run);

/*
 * Append the `commit`, unless somebody was faster (O1).  Not synced.  1; or 0,
 * and nothing was written, if the state's told_batch isn't *told any more: who
 * tells of rows has to know what the sink holds after those before him.
 * told NULL: no rows.
 */
MB_CHECK int mb_outcome_commit(struct mb_journal *j,
    const struct mb_commit *c, const uint64_t *told, struct mb_err *err);

struct mb_failure {
	uint64_t batch;
	uint64_t run;		/* who says so */
	uint64_t hello_run;	/* of the stream that it came with */
	int64_t time_ms;
	int status;		/* what it exits with: 64, 65, 70, 75 */
	const char *reason;	/* what stands in quotes is left out: the
				   journal holds no records */
	uint64_t park_after;	/* attempts; 0: never */
};

/*
 * Append the `fail` of a planned or parked batch and, if that makes it
 * park_after attempts (over all runs; those with status 75 don't count),
 * `park`.  1: the batch is parked, so one may go on; 0: it isn't.
 *
 * Not synced: it rides with the next plan.  A power cut that takes it leaves
 * the batch planned, and it is tried again, with what `fail` lines are left to
 * count.  Those behind it that were committed meanwhile are in the sink, whose
 * marker has the batch as a hole: so it comes in once, or is parked once more.
 * What a plan's `settled` lets others delete is behind that plan's sync, and
 * nothing that a parked batch needs (tests/power: the verb "parking").
 */
MB_CHECK int mb_outcome_fail(struct mb_journal *j, const struct mb_failure *f,
    struct mb_err *err);

/*
 * By hand.  MB_EUSAGE: the batch isn't in a state for it.  To park one that is
 * parked, and so on, is no error: 0 instead of 1.
 */
MB_CHECK int mb_outcome_park(struct mb_journal *j, uint64_t batch,
    uint64_t run, int64_t time_ms, const char *reason, struct mb_err *err);
MB_CHECK int mb_outcome_unpark(struct mb_journal *j, uint64_t batch,
    uint64_t run, int64_t time_ms, struct mb_err *err);

/*
 * Plan the ranges of a parked batch again, under the next number, *as, and
 * sync it; is_gone[i]: the i-th range is lost.  The journal must have been
 * hardened.  0: it was requeued before, as *as.
 */
MB_CHECK int mb_outcome_requeue(struct mb_journal *j, uint64_t batch,
    const bool *is_gone, uint64_t run, int64_t time_ms, uint64_t *as,
    struct mb_err *err);

#endif
