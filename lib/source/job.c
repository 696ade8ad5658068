#include "source/job.h"

#include <inttypes.h>
#include <poll.h>

#include "base/clock.h"
#include "base/signals.h"
#include "journal/outcome.h"

enum { FIRST_PAUSE = 200000, LONGEST_PAUSE = 30000000 };	/* us */

static int
lock_commit(const struct mb_job *job, struct mb_err *err)
{
	return mb_journal_lock(job->journal, MB_LOCK_COMMIT, false, -1, err) <
	    0 ? -1 : 0;
}

/* Is it still ours to do?  1, or 0: another has settled it, and we said so. */
static int
may_do(const struct mb_job *job, uint64_t batch, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(job->journal);
	struct mb_claim claim = { .batch = batch, .hello_run = job->run };
	const struct mb_batch *b;
	const char *why;
	int rc;

	if (mb_journal_refresh(job->journal, err) < 0)
		return -1;
	b = mb_state_batch(s, batch);
	if (b != NULL)
		claim.digest = b->digest;
	rc = mb_outcome_may_commit(s, &claim, &why, err);
	if (rc == 0)
		job->say(job->arg, batch, why);
	return rc;
}

/* The command has done it.  No marker will tell, so the line is synced. */
static int
settle(const struct mb_job *job, uint64_t batch, uint64_t records,
    struct mb_err *err)
{
	struct mb_commit line = {
		.batch = batch, .run = job->run,
		.time_ms = mb_clock_wall_ms(), .records = records,
		.target = "", .target_id = "",
	};
	int rc;

	if (lock_commit(job, err) < 0)
		return -1;
	rc = may_do(job, batch, err);
	if (rc > 0 && mb_outcome_commit(job->journal, &line, NULL, err) <
	    0)
		rc = -1;
	mb_journal_unlock(job->journal, MB_LOCK_COMMIT);
	if (rc > 0 && mb_journal_sync(job->journal, err) < 0)
		rc = -1;
	return rc;
}

/* An attempt has failed: 1 if the batch is parked now, else 0. */
static int
note_failure(const struct mb_job *job, uint64_t batch,
    const struct mb_command_end *end, struct mb_err *err)
{
	struct mb_failure f = {
		.batch = batch, .run = job->run, .hello_run = job->run,
		.time_ms = mb_clock_wall_ms(), .status = end->status,
		.reason = end->why, .park_after = job->park_after,
	};
	int rc;

	if (lock_commit(job, err) < 0)
		return -1;
	rc = mb_outcome_fail(job->journal, &f, err);
	mb_journal_unlock(job->journal, MB_LOCK_COMMIT);
	/* Attempts count over runs, also if the power fails in between. */
	if (rc >= 0 && mb_journal_sync(job->journal, err) < 0)
		rc = -1;
	return rc;
}

static void
say(const struct mb_job *job, uint64_t batch, const char *what,
    const char *then)
{
	struct mb_buf text = { 0 };

	mb_buf_addf(&text, "%s; %s", what, then);
	job->say(job->arg, batch, mb_buf_str(&text));
	mb_buf_release(&text);
}

static int
give_up(const struct mb_command_end *end, uint64_t batch, struct mb_err *err)
{
	return mb_fail(err, end->code, "batch %" PRIu64 ": %s", batch,
	    end->why);
}

/* A pause that a signal ends. */
static void
pause_for(int64_t us)
{
	struct pollfd p = { .fd = mb_signal_fd(), .events = POLLIN };

	if (mb_signal_count() == 0)
		(void)poll(&p, 1, (int)(us / 1000));
}

int
mb_job_do(const struct mb_job *job, uint64_t batch, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(job->journal);
	int64_t pause_us = FIRST_PAUSE;

	for (uint64_t tries = 1;; tries++) {
		struct mb_command_end end;
		const struct mb_batch *b;
		uint64_t records;
		int rc = may_do(job, batch, err);

		if (rc <= 0)
			return rc;
		b = mb_state_batch(s, batch);
		records = mb_batch_records(b);
		if (mb_command_run(job->command, job->journal, job->emitter,
		    b, &end, err) < 0)
			return mb_wrap(err, "batch %" PRIu64, batch);
		if (end.result == MB_COMMAND_DONE)
			return settle(job, batch, records, err);
		rc = note_failure(job, batch, &end, err);
		if (rc > 0)
			say(job, batch, end.why, "parked");
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		b = mb_state_batch(s, batch);
		if (b == NULL || b->n_fails > job->max_retries ||
		    tries > job->max_retries || mb_signal_count() > 0 ||
		    end.result == MB_COMMAND_GONE)
			return give_up(&end, batch, err);
		say(job, batch, end.why, "trying again");
		pause_for(pause_us);
		if (mb_signal_count() > 0)
			return give_up(&end, batch, err);
		pause_us = pause_us * 4 < LONGEST_PAUSE ? pause_us * 4 :
		    LONGEST_PAUSE;
	}
}
