#include "sink/deltacare.h"

#include "base/clock.h"
#include "delta/crc.h"
#include "delta/save.h"
#include "sink/deltavacuum.h"

enum {
	LEAST_BUDGET = 4 * 1024 * 1024,	/* bytes to be joined at a time … */
	FIRST_RATE = 10000,		/* … and by ms, till it is known */
	LONGEST_MS = 60000,
	VACUUM_MS = 3600000,
	SAVE_LATER = 100,		/* versions, after a failure */
};

void
mb_deltacare_open(struct mb_deltacare *c,
    const struct mb_sink_options *options, struct mb_delta_state *state)
{
	*c = (struct mb_deltacare){ .options = options, .rate = FIRST_RATE };
	if (options->compact_to > 0 && options->journal != NULL) {
		mb_deltasmall_open(&c->small, options->journal,
		    options->compact_to);
		state->observer = mb_deltasmall_observer(c->small);
	}
}

void
mb_deltacare_close(struct mb_deltacare *c)
{
	mb_deltasmall_close(c->small);
	c->small = NULL;
}

void
mb_deltacare_begin(struct mb_deltacare *c, int64_t time_ms)
{
	c->interval_ms = c->batch_ms == 0 ? 0 : time_ms - c->batch_ms;
	c->batch_ms = time_ms;
}

/*
 * Join at most as much as takes half of the time from one batch to the next,
 * by what it took so far.
 */
static uint64_t
budget(const struct mb_deltacare *c)
{
	int64_t ms = c->interval_ms < LONGEST_MS ? c->interval_ms :
	    LONGEST_MS;
	uint64_t bytes = ms <= 0 ? 0 : c->rate * (uint64_t)ms / 2;

	return bytes < LEAST_BUDGET ? LEAST_BUDGET : bytes;
}

/* It is none of the batch, but somebody should know. */
static void
give_notice(const struct mb_deltacare *c, const struct mb_err *err)
{
	const struct mb_sink_options *o = c->options;

	if (o->notice != NULL)
		o->notice(o->notice_arg, err->msg);
}

static void
join_files(struct mb_deltacare *c, struct mb_deltatidy *t, bool *is_fresh,
    bool *is_poisoned)
{
	int64_t started = mb_clock_steady_us(), took;
	struct mb_err err = { 0 };
	int rc = mb_deltatidy_join(t, budget(c), mb_clock_wall_ms(), &err);

	if (rc > 0)
		mb_delta_crc_write(t->state, t->log);
	took = (mb_clock_steady_us() - started) / 1000;
	if (rc > 0 && took > 0)
		c->rate = (c->rate + t->joined_bytes / (uint64_t)took) / 2 + 1;
	if (rc >= 0)
		return;
	c->has_stuck = err.code == MB_EDATA;
	*is_fresh = false;
	*is_poisoned |= t->is_unknown;
	give_notice(c, &err);
}

static void
save(struct mb_deltacare *c, struct mb_deltatidy *t, int64_t now_ms)
{
	bool was_known = t->state->totals.is_known;
	struct mb_err err = { 0 };

	if (t->state->version < c->save_from ||
	    !mb_delta_save_is_due(t->state))
		return;
	if (mb_delta_save(t->state, t->log, now_ms, &err) == 0) {
		if (!was_known)
			mb_delta_crc_write(t->state, t->log);
		return;
	}
	c->save_from = t->state->version + SAVE_LATER;
	give_notice(c, &err);
}

static void
vacuum(struct mb_deltacare *c, struct mb_deltatidy *t, int64_t now_ms,
    bool *is_fresh)
{
	struct mb_deltavacuum v = { .rootfd = t->rootfd, .log = t->log,
		.state = t->state };
	struct mb_err err = { 0 };
	uint64_t n;

	if (now_ms - c->vacuum_ms < VACUUM_MS)
		return;
	c->vacuum_ms = now_ms;
	if (mb_deltavacuum_run(&v, now_ms, &n, &err) == 0)
		return;
	*is_fresh = false;
	give_notice(c, &err);
}

void
mb_deltacare_run(struct mb_deltacare *c, struct mb_deltatidy *t,
    bool *is_fresh, bool *is_poisoned)
{
	int64_t now_ms = mb_clock_wall_ms();

	t->small = c->small;
	if (*is_fresh)
		mb_delta_crc_write(t->state, t->log);
	if (*is_fresh && c->small != NULL && !c->has_stuck)
		join_files(c, t, is_fresh, is_poisoned);
	if (*is_fresh)
		save(c, t, now_ms);
	if (*is_fresh && c->options->vacuums)
		vacuum(c, t, now_ms, is_fresh);
}
