#include "sink/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sink/positions.h"

struct mb_session {
	struct mb_session_options o;
	enum mb_welcome welcome;
	struct mb_marker marker;	/* as last read or moved */
	uint64_t told;			/* the state's told_batch, when the two
					   were compared */
	bool puts_back;		/* --redo found the target without some */
	bool has_committed;
	bool is_refused;		/* the batch was not even tried */
	struct mb_position_list positions;
};

static const struct mb_state *
state_of(const struct mb_session *s)
{
	return mb_journal_state(s->o.journal);
}

static void
say(const struct mb_session *s, uint64_t batch, const char *what)
{
	if (s->o.say != NULL)
		s->o.say(s->o.arg, batch, what);
}

static int
lock_commit(struct mb_session *s, struct mb_err *err)
{
	return mb_journal_lock(s->o.journal, MB_LOCK_COMMIT, false, -1, err) <
	    0 ? -1 : 0;
}

/* Read the marker again, and make it durable. */
static int
look_up(struct mb_session *s, struct mb_err *err)
{
	mb_marker_release(&s->marker);
	return mb_sink_lookup(s->o.sink, &s->marker, err);
}

static struct mb_greeting
greeting(const struct mb_session *s)
{
	return (struct mb_greeting){
		.state = state_of(s), .marker = &s->marker,
		.target = mb_sink_target(s->o.sink),
		.target_id = mb_sink_target_id(s->o.sink),
		.is_replay = s->o.is_replay, .is_copy = s->o.is_copy,
		.has_no_marker = s->o.has_no_marker,
		.accepts_new = s->o.accepts_new,
		.redoes = s->o.redoes,
	};
}

/*
 * Does the marker, as last read, fit the journal's state?  Sets s->welcome.
 * Pure but for that: it is asked again for each batch.
 */
static int
compare(struct mb_session *s, struct mb_err *err)
{
	struct mb_greeting g = greeting(s);
	int rc;

	/* Once a batch is there it is the one. */
	g.accepts_new = g.accepts_new && !s->has_committed;
	rc = mb_marker_greet(&g, err);
	if (rc < 0)
		return -1;
	s->welcome = (enum mb_welcome)rc;
	s->told = g.state->told_batch;
	return 0;
}

/*
 * Others may have committed since the marker was read, and the sink may have
 * been restored behind our back: compare before every step.
 */
static int
compare_again(struct mb_session *s, struct mb_err *err)
{
	struct mb_err first = { 0 };

	if (mb_journal_refresh(s->o.journal, err) < 0)
		return -1;
	if (compare(s, &first) == 0)
		return 0;
	return look_up(s, err) < 0 ? -1 : compare(s, err);
}

/* What a `commit` or `redo` says of the target. */
static struct mb_commit
told_commit(const struct mb_session *s, uint64_t batch, uint64_t rows,
    uint64_t records)
{
	struct mb_commit c = {
		.batch = batch, .run = s->o.run,
		.time_ms = mb_clock_wall_ms(), .rows = rows,
		.records = records, .target = mb_sink_target(s->o.sink),
		.target_id = mb_sink_target_id(s->o.sink),
	};

	if (c.target_id == NULL)
		c.target_id = "";	/* not made yet: no rows so far */
	return c;
}

/* The number under which the marker has the batch; MB_NONE: it doesn't. */
static uint64_t
number_in_sink(const struct mb_session *s, const struct mb_batch *b)
{
	return mb_marker_find(&s->marker, b->number, b->from, b->n_from);
}

/* Append the `commit` of a batch that the sink had under the number `as`. */
static int
settle(struct mb_session *s, const struct mb_batch *b, uint64_t as,
    struct mb_err *err)
{
	struct mb_commit c = told_commit(s, b->number, 0,
	    mb_batch_records(b));
	struct mb_greeting g = greeting(s);
	struct mb_buf line = { 0 };
	int rc;

	c.was_found = true;
	if (mb_marker_tell(&g, as, &c.held, err) < 0)
		return -1;
	if (as != b->number)
		c.as = &as;
	mb_put_commit(&line, &c);
	rc = mb_journal_write(s->o.journal, &line, err);
	mb_buf_release(&line);
	return rc;
}

/*
 * Every batch that is planned or parked, and in the sink, gets its `commit`
 * (a, b, c).
 */
static int
settle_found(struct mb_session *s, struct mb_err *err)
{
	const struct mb_state *state = state_of(s);
	uint64_t as;
	size_t i = 0;

	while (i < state->n_batches) {
		const struct mb_batch *b = &state->batches[i++];

		if (b->state == MB_COMMITTED || b->state == MB_VOID)
			continue;
		as = number_in_sink(s, b);
		if (as == MB_NONE)
			continue;
		if (settle(s, b, as, err) < 0)
			return -1;
		i = 0;		/* settled ones were dropped */
	}
	return 0;
}

/* Under the commit lock. */
static int
greet(struct mb_session *s, struct mb_err *err)
{
	int rc;

	if (look_up(s, err) < 0 || mb_journal_enter(s->o.journal, err) < 0)
		return -1;
	rc = compare(s, err);
	if (rc == 0 && s->welcome == MB_OWN)
		rc = settle_found(s, err);
	mb_journal_leave(s->o.journal);
	return rc;
}

int
mb_session_open(struct mb_session **out, const struct mb_session_options *o,
    struct mb_err *err)
{
	struct mb_session *s = mb_zalloc(sizeof *s);
	int rc;

	s->o = *o;
	s->welcome = MB_COPY;
	if (o->journal == NULL) {
		rc = mb_sink_lookup(o->sink, &s->marker, err);
	} else if (o->is_dry) {
		rc = look_up(s, err);
		if (rc == 0)
			rc = compare(s, err);
	} else {
		rc = lock_commit(s, err);
		if (rc == 0) {
			rc = greet(s, err);
			mb_journal_unlock(o->journal, MB_LOCK_COMMIT);
		}
	}
	if (rc < 0) {
		mb_session_close(s);
		s = NULL;
	}
	*out = s;
	return rc;
}

void
mb_session_close(struct mb_session *s)
{
	if (s == NULL)
		return;
	mb_marker_release(&s->marker);
	mb_positions_release(&s->positions);
	free(s);
}

const struct mb_marker *
mb_session_marker(const struct mb_session *s)
{
	return &s->marker;
}

/* Is it a committed batch that is to be written again? */
static bool
is_redo(const struct mb_session *s, uint64_t number)
{
	const struct mb_batch *b;

	if (!s->o.redoes || !s->o.is_replay)
		return false;
	if (s->welcome == MB_COPY)
		return mb_marker_has(&s->marker, number);
	b = mb_state_batch(state_of(s), number);
	return b != NULL && b->state == MB_COMMITTED;
}

int
mb_session_wants(struct mb_session *s, const struct mb_begin *b,
    struct mb_err *err)
{
	const struct mb_batch *known = NULL;
	bool is_there;

	s->is_refused = false;
	if (s->o.journal == NULL)
		return 1;
	if (s->welcome == MB_OWN) {
		if (mb_journal_refresh(s->o.journal, err) < 0)
			return -1;
		known = mb_state_batch(state_of(s), b->batch);
		is_there = b->batch < state_of(s)->next_batch &&
		    (known == NULL || known->state == MB_COMMITTED);
	} else {
		is_there = mb_marker_has(&s->marker, b->batch);
	}
	/* Else its `commit` would have been told at the start. */
	if (s->o.is_dry && s->welcome == MB_OWN && known != NULL)
		is_there |= number_in_sink(s, known) != MB_NONE;
	if (!is_there || is_redo(s, b->batch))
		return 1;
	say(s, b->batch, "is committed already; dropped");
	return 0;
}

/*
 * After a step that didn't succeed: the marker moved, or nobody knows.  Only
 * the sink can tell.  What it says is compared with the journal before it is
 * believed, because a copy of the journal may have moved it.
 */
static int
look_after(struct mb_session *s, const struct mb_err *first,
    struct mb_err *err)
{
	if (look_up(s, err) < 0) {
		*err = *first;	/* the cause */
		return -1;
	}
	return s->o.journal != NULL ? compare(s, err) : 0;
}

/*
 * Does the marker, after a step that didn't succeed, have the batch?  Without a
 * journal others may have taken its number; ours is the one with our digest.
 */
static bool
is_in_sink(const struct mb_session *s, const struct mb_begin *b)
{
	if (s->o.journal != NULL)
		return mb_marker_has(&s->marker, b->batch);
	return s->marker.exists && s->marker.last == b->batch &&
	    strcmp(s->marker.digest.hex, b->digest.hex) == 0;
}

/*
 * One attempt at the sink's step.  1 done, 0 try again later (*why says what
 * it was), -1 it can't be done.
 */
static int
try_step(struct mb_session *s, const struct mb_begin *b, bool is_copy,
    struct mb_err *why, struct mb_err *err)
{
	static const struct mb_state nothing = { .rows_batch = MB_NONE };
	const struct mb_state *state = s->o.journal != NULL ? state_of(s) :
	    &nothing;
	const struct mb_positions *positions = NULL;
	struct mb_err first = { 0 };
	struct mb_marker now;
	int rc;

	if (is_in_sink(s, b))
		return 1;
	if (s->o.journal == NULL && mb_marker_has(&s->marker, b->batch))
		return mb_fail(err, MB_EBUSY, "%s: another stream without "
		    "frames was faster", mb_sink_target(s->o.sink));
	mb_marker_copy(&now, &s->marker);
	mb_marker_add(&now, b->batch, &b->digest, state, is_copy);
	if (!is_copy) {
		mb_positions_tell(&s->positions, state, b->batch, &now);
		positions = &s->positions.positions;
	}
	rc = mb_sink_commit(s->o.sink, &s->marker, &now, positions, &first);
	if (rc == 0) {
		mb_marker_release(&s->marker);
		s->marker = now;
		s->has_committed = true;
		return 1;
	}
	mb_marker_release(&now);
	*why = first;
	if (first.code == MB_EBUSY)
		return 0;
	if (first.code != MB_EEXIST && first.code != MB_EIO) {
		*err = first;
		return -1;
	}
	if (look_after(s, &first, err) < 0)
		return -1;
	if (is_in_sink(s, b))
		return 1;
	if (first.code == MB_EEXIST)
		return 0;
	*err = first;
	return -1;
}

/*
 * Append the `commit` of a batch that has been written.  Only where locks
 * don't hold can others have told of rows since we compared; then the marker
 * is read again, because somebody may have put the sink back to what it was
 * before our step, or theirs.
 */
static int
tell(struct mb_session *s, const struct mb_begin *b, uint64_t rows,
    struct mb_err *err)
{
	struct mb_commit c = told_commit(s, b->batch, rows, b->records);
	struct mb_greeting g;
	int rc;

	if (rows == 0)
		return mb_outcome_commit(s->o.journal, &c, NULL, err);
	do {
		if (s->told != state_of(s)->told_batch && look_up(s, err) < 0)
			return -1;
		s->told = state_of(s)->told_batch;
		g = greeting(s);
		c.target_id = g.target_id != NULL ? g.target_id : "";
		if (mb_marker_tell(&g, b->batch, &c.held, err) < 0)
			return -1;
		rc = mb_outcome_commit(s->o.journal, &c, &s->told, err);
	} while (rc == 0);
	return rc;
}

/*
 * The journal's side of a new batch.  1 committed, 0 try again, -1; *is_dropped
 * if it isn't to be committed at all.
 */
static int
attempt_new(struct mb_session *s, const struct mb_begin *b, uint64_t rows,
    bool *is_dropped, struct mb_err *why, struct mb_err *err)
{
	struct mb_claim claim = {
		.batch = b->batch, .digest = b->digest,
		.hello_run = s->o.hello_run, .is_replay = s->o.is_replay,
		.is_ordered = s->o.is_ordered, .is_dry = s->o.is_dry,
	};
	const struct mb_batch *known;
	const char *text;
	uint64_t as;
	int rc = mb_outcome_may_commit(state_of(s), &claim, &text, err);

	if (rc <= 0) {
		*is_dropped = rc == 0;
		if (rc == 0)
			say(s, b->batch, text);
		return rc == 0 ? 1 : -1;
	}
	/* Its number is in the marker only by an attempt of ours. */
	known = mb_state_batch(state_of(s), b->batch);
	as = number_in_sink(s, known);
	if (as != MB_NONE && as != b->batch) {
		*is_dropped = true;
		say(s, b->batch, "is there under an earlier number; dropped");
		if (s->o.is_dry)
			return 1;
		rc = mb_journal_enter(s->o.journal, err);
		if (rc < 0)
			return -1;
		rc = settle_found(s, err);
		mb_journal_leave(s->o.journal);
		return rc < 0 ? -1 : 1;
	}
	s->is_refused = false;
	if (rows > 0) {
		rc = try_step(s, b, false, why, err);
		if (rc <= 0)
			return rc;
	}
	return s->o.is_dry ? 1 : tell(s, b, rows, err);
}

/* As attempt_new, into another target than the journal's own. */
static int
attempt_copy(struct mb_session *s, const struct mb_begin *b, uint64_t rows,
    bool *is_dropped, struct mb_err *why, struct mb_err *err)
{
	const struct mb_batch *known = mb_state_batch(state_of(s), b->batch);
	uint64_t as = known == NULL ? MB_NONE : number_in_sink(s, known);

	if (known != NULL && strcmp(known->digest.hex, b->digest.hex) != 0)
		return mb_fail(err, MB_ECORRUPT, "is not what the journal has "
		    "planned");
	if (known != NULL && known->state == MB_VOID)
		say(s, b->batch, "is void; dropped");
	else if (as != MB_NONE && as != b->batch)
		say(s, b->batch, "is there under an earlier number; dropped");
	else {
		s->is_refused = false;
		return rows > 0 ? try_step(s, b, true, why, err) : 1;
	}
	*is_dropped = true;
	return 1;
}

/* A batch that is to be put back: what has to be there before it? */
static int
check_order(struct mb_session *s, uint64_t number, struct mb_err *err)
{
	const struct mb_state *state = state_of(s);

	if (!s->o.is_ordered)
		return 0;
	if (s->marker.exists && number < s->marker.last)
		return mb_fail(err, MB_EUSAGE, "--redo: later batches have "
		    "been merged over it");
	for (size_t i = 0; i < state->n_batches; i++) {
		const struct mb_batch *b = &state->batches[i];

		if (b->number < number && mb_batch_has_rows(b) &&
		    number_in_sink(s, b) == MB_NONE)
			return mb_fail(err, MB_EUSAGE, "--redo: batch %" PRIu64
			    " has to be put back before it", b->number);
	}
	return 0;
}

static int
append_redo(struct mb_session *s, const struct mb_begin *b, uint64_t rows,
    struct mb_err *err)
{
	struct mb_commit c = told_commit(s, b->batch, rows, b->records);
	struct mb_greeting g = greeting(s);
	struct mb_buf line = { 0 };
	int rc;

	if (mb_marker_tell(&g, b->batch, &c.held, err) < 0)
		return -1;
	c.is_emptied = rows == 0 && mb_marker_is_emptied(&s->marker,
	    mb_state_batch(state_of(s), b->batch));
	if (c.is_emptied)
		c.held--;
	mb_put_redo(&line, &c, &b->digest);
	rc = mb_journal_append(s->o.journal, &line, err);
	mb_buf_release(&line);
	/* No marker tells of a lost `redo`, as it does of a `commit`. */
	return rc < 0 ? -1 : mb_journal_sync(s->o.journal, err);
}

/* As try_step, in the place of rows that are there. */
static int
try_redo(struct mb_session *s, struct mb_err *why, struct mb_err *err)
{
	struct mb_err first = { 0 };

	if (mb_sink_redo(s->o.sink, &s->marker, &first) == 0)
		return 1;
	*why = first;
	if (first.code == MB_EBUSY)
		return 0;
	if (first.code != MB_EEXIST && first.code != MB_EIO) {
		*err = first;
		return -1;
	}
	if (look_after(s, &first, err) < 0)
		return -1;
	if (first.code == MB_EEXIST)
		return 0;
	*err = first;
	return -1;
}

static bool
is_behind(const struct mb_session *s)
{
	struct mb_greeting g = greeting(s);

	return mb_marker_is_behind(&g);
}

/* As attempt_new, of a batch that is committed. */
static int
attempt_redo(struct mb_session *s, const struct mb_begin *b, uint64_t rows,
    bool is_copy, struct mb_err *why, struct mb_err *err)
{
	const struct mb_batch *known = is_copy ? NULL :
	    mb_state_batch(state_of(s), b->batch);
	int rc = 1;

	if (known != NULL && strcmp(known->digest.hex, b->digest.hex) != 0)
		return mb_fail(err, MB_ECORRUPT, "is not what the journal has "
		    "planned");
	if (known != NULL && known->n_from > 0 &&
	    number_in_sink(s, known) != b->batch &&
	    number_in_sink(s, known) != MB_NONE)
		return mb_fail(err, MB_EUSAGE, "--redo: it is there under an "
		    "earlier number");
	s->is_refused = false;
	s->puts_back |= !is_copy && is_behind(s);
	if (!mb_marker_has(&s->marker, b->batch)) {
		if (check_order(s, b->batch, err) < 0)
			return -1;
		if (rows > 0)
			rc = try_step(s, b, is_copy, why, err);
	} else {
		rc = try_redo(s, why, err);
		/* A line that puts batches back was killed, and is tried again. */
		if (rc < 0 && err->code == MB_EUSAGE && s->puts_back) {
			say(s, b->batch, "is there already; kept");
			*err = (struct mb_err){ 0 };
			rc = 1;
		}
	}
	if (rc > 0 && !is_copy && !s->o.is_dry && append_redo(s, b, rows, err) < 0)
		return -1;
	return rc;
}

/* One attempt, under the commit lock. */
static int
attempt(struct mb_session *s, const struct mb_begin *b, uint64_t rows,
    bool *is_dropped, struct mb_err *why, struct mb_err *err)
{
	bool is_copy;
	int rc;

	s->is_refused = s->o.journal != NULL;
	if (s->o.journal == NULL)
		return rows > 0 ? try_step(s, b, true, why, err) : 1;
	if (!s->o.is_dry && lock_commit(s, err) < 0)
		return -1;
	rc = compare_again(s, err);
	is_copy = s->welcome == MB_COPY;
	if (rc < 0) {
		;
	} else if (is_redo(s, b->batch)) {
		rc = attempt_redo(s, b, rows, is_copy, why, err);
	} else if (!is_copy && s->o.redoes && is_behind(s)) {
		rc = mb_fail(err, MB_EUSAGE, "--redo: what the target lacks "
		    "has to be put back before it");
	} else if (!is_copy) {
		rc = attempt_new(s, b, rows, is_dropped, why, err);
	} else {
		rc = attempt_copy(s, b, rows, is_dropped, why, err);
	}
	if (!s->o.is_dry)
		mb_journal_unlock(s->o.journal, MB_LOCK_COMMIT);
	return rc;
}

/* Wait a random part of a span that doubles: nobody keeps step. */
static void
back_off(int64_t *span_us)
{
	uint64_t random = 0;
	struct mb_err ignored = { 0 };

	if (mb_random(&random, sizeof random, &ignored) < 0)
		random = (uint64_t)*span_us;
	mb_clock_sleep((int64_t)(random % (uint64_t)*span_us) + 1);
	if (*span_us < 1000000)
		*span_us *= 2;
}

int
mb_session_commit(struct mb_session *s, const struct mb_begin *b,
    uint64_t rows, struct mb_err *err)
{
	int64_t deadline = mb_clock_steady_us() + s->o.retry_us;
	int64_t span_us = 2000;
	struct mb_err why = { 0 };
	bool is_dropped = false;
	int rc;

	while ((rc = attempt(s, b, rows, &is_dropped, &why, err)) == 0) {
		if (mb_clock_steady_us() >= deadline) {
			*err = why;
			return -1;
		}
		back_off(&span_us);
		why = (struct mb_err){ 0 };
	}
	if (rc < 0)
		return -1;
	return !is_dropped;
}

int
mb_session_fail(struct mb_session *s, const struct mb_begin *b,
    const struct mb_err *why)
{
	struct mb_err err = { 0 };
	struct mb_failure f = {
		.batch = b->batch, .run = s->o.run,
		.hello_run = s->o.is_replay ? MB_NONE : s->o.hello_run,
		.time_ms = mb_clock_wall_ms(),
		.status = mb_exit_status(why->code), .reason = why->msg,
		.park_after = s->o.is_ordered ? 0 : s->o.park_after,
	};
	int rc;

	/* What the sink has did not fail, whatever happened then. */
	if (s->o.journal == NULL || s->o.is_dry || s->is_refused ||
	    s->welcome == MB_COPY || mb_marker_has(&s->marker, b->batch))
		return 0;
	rc = lock_commit(s, &err);
	if (rc == 0) {
		rc = mb_outcome_fail(s->o.journal, &f, &err);
		mb_journal_unlock(s->o.journal, MB_LOCK_COMMIT);
	}
	if (rc < 0)
		say(s, b->batch, err.msg);
	/*
	 * One that is replayed and was parked before is left where it is; in
	 * the stream somebody has parked it meanwhile, that it can go on.
	 */
	return rc > 0 && (s->o.park_after > 0 || !s->o.is_replay);
}
