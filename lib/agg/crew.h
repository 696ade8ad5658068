/*
 * crew.h - threads that work through jobs; results are taken in order.
 *
 * Jobs are numbered slots 0 … n_jobs - 1, used round and round; what is in
 * them is the caller's.  They are begun in the order in which they were
 * posted, so a job may wait for something that the job before it does.
 *
 * One thread, the caller's, posts and waits, and while it would only wait it
 * is the worker 0:
 *
 *	if (mb_crew_is_full(c)) { job = mb_crew_wait(c); take its result }
 *	fill the slot mb_crew_next(c); mb_crew_post(c);
 *	...
 *	while ((job = mb_crew_wait(c)) >= 0) take its result
 */
#ifndef MB_AGG_CREW_H
#define MB_AGG_CREW_H

#include <stdbool.h>

#include "base/err.h"

struct mb_crew;

/*
 * `work` runs in the thread `worker`, 0 … n_threads - 1; 0 is the caller's.
 * MB_EIO.
 */
MB_CHECK int mb_crew_open(struct mb_crew **out, unsigned n_threads,
    unsigned n_jobs, void (*work)(void *context, unsigned worker,
    unsigned job), void *context, struct mb_err *err);

/* Waits for the jobs in hand; posted ones that none has begun are dropped. */
void mb_crew_close(struct mb_crew *c);

bool mb_crew_is_full(const struct mb_crew *c);
unsigned mb_crew_next(const struct mb_crew *c);
void mb_crew_post(struct mb_crew *c);

/*
 * Wait for the oldest job not yet waited for, and do what has not been begun
 * meanwhile; -1: there is none.
 */
int mb_crew_wait(struct mb_crew *c);

#endif
