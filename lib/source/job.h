/*
 * job.h - a batch and the user's command, until the one or the other wins.
 *
 *	PLANNED -> COMMITTED	the command ended with 0; synced, since no
 *				marker will tell [mb_outcome_commit]
 *	PLANNED -> PLANNED	an attempt failed [mb_outcome_fail]
 *	PLANNED -> PARKED	and it was the last of park_after
 *
 * A command that was killed with us, or ended before its `commit` was synced,
 * is run again with the same token: at-least-once, unless it remembers that.
 */
#ifndef MB_SOURCE_JOB_H
#define MB_SOURCE_JOB_H

#include "source/command.h"

struct mb_job {
	struct mb_journal *journal;
	struct mb_emitter *emitter;	/* plain */
	struct mb_command *command;
	uint64_t run;			/* the collector's */
	uint64_t max_retries;		/* after the first attempt */
	uint64_t park_after;		/* attempts, over all runs; 0: never */
	void (*say)(void *arg, uint64_t batch, const char *text);
	void *arg;
};

/*
 * 1: the batch is committed; 0: it is parked, or another has settled it;
 * either way the next one's turn has come.  -1: it is given up for now.
 */
MB_CHECK int mb_job_do(const struct mb_job *job, uint64_t batch,
    struct mb_err *err);

#endif
