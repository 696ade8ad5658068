#include "journal/outcome.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool
mb_outcome_is_superseded(const struct mb_state *s, uint64_t hello_run)
{
	return s->collector_run != MB_NONE && s->collector_run > hello_run;
}

int
mb_outcome_may_commit(const struct mb_state *s, const struct mb_claim *claim,
    const char **why, struct mb_err *err)
{
	const struct mb_batch *b = mb_state_batch(s, claim->batch);

	*why = NULL;
	if (!claim->is_replay &&
	    mb_outcome_is_superseded(s, claim->hello_run))
		return mb_fail(err, MB_EBUSY, "dropped: a later mb-collect "
		    "has started");
	if (claim->batch >= s->next_batch)
		return mb_fail(err, MB_ECORRUPT, "is not in the journal");
	if (b == NULL || b->state == MB_COMMITTED) {
		*why = "is committed already; dropped";
		return 0;
	}
	if (strcmp(b->digest.hex, claim->digest.hex) != 0)
		return mb_fail(err, MB_ECORRUPT, "is not what the journal has "
		    "planned");
	if (b->state == MB_VOID) {
		*why = "is void; dropped";
		return 0;
	}
	if (b->state == MB_PARKED && !claim->is_replay) {
		*why = "is parked; dropped";
		return 0;
	}
	if (!claim->is_dry && !mb_state_may_commit(s, claim->batch, claim->is_ordered))
		return mb_fail(err, MB_EBUSY, "a batch before it is not "
		    "settled");
	return 1;
}

static bool
is_open(const struct mb_batch *b)
{
	return b != NULL && (b->state == MB_PLANNED || b->state == MB_PARKED);
}

int
mb_outcome_commit(struct mb_journal *j, const struct mb_commit *c,
    const uint64_t *told, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(j);
	struct mb_buf line = { 0 };
	int rc = 1;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	if (is_open(mb_state_batch(s, c->batch))) {
		if (told != NULL && s->told_batch != *told) {
			rc = 0;
		} else {
			mb_put_commit(&line, c);
			if (mb_journal_write(j, &line, err) < 0)
				rc = -1;
		}
	}
	mb_journal_leave(j);
	mb_buf_release(&line);
	return rc;
}

static void
leave_out_quotes(struct mb_buf *out, const char *text)
{
	for (bool is_quoted = false; *text != '\0'; text++)
		if (*text == '"') {
			is_quoted = !is_quoted;
			mb_buf_adds(out, is_quoted ? "\"..." : "\"");
		} else if (!is_quoted) {
			mb_buf_addc(out, *text);
		}
}

int
mb_outcome_fail(struct mb_journal *j, const struct mb_failure *f,
    struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(j);
	struct mb_buf lines = { 0 }, kept = { 0 };
	const struct mb_batch *b;
	bool is_parked = false;
	int rc = 0;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	b = mb_state_batch(s, f->batch);
	if (is_open(b) && !mb_outcome_is_superseded(s, f->hello_run)) {
		leave_out_quotes(&kept, f->reason);
		mb_put_fail(&lines, f->batch, f->run, f->time_ms, f->status,
		    mb_buf_str(&kept));
		is_parked = b->state == MB_PARKED;
		if (!is_parked && f->park_after > 0 &&
		    mb_fail_counts(f->status) &&
		    b->n_attempts + 1 >= f->park_after) {
			mb_put_park(&lines, f->batch, f->run, f->time_ms,
			    mb_buf_str(&kept));
			is_parked = true;
		}
		rc = mb_journal_write(j, &lines, err);
	}
	mb_journal_leave(j);
	mb_buf_release(&kept);
	mb_buf_release(&lines);
	return rc < 0 ? -1 : is_parked;
}

/* The batch, which must be in the state `from`; 0 if it is in `to`. */
static int
find(const struct mb_state *s, uint64_t number, enum mb_batch_state from,
    enum mb_batch_state to, const struct mb_batch **out, struct mb_err *err)
{
	const struct mb_batch *b = mb_state_batch(s, number);

	*out = b;
	if (number >= s->next_batch)
		return mb_fail(err, MB_EUSAGE, "batch %" PRIu64 ": not "
		    "planned yet; the next will be %" PRIu64, number,
		    s->next_batch);
	if (b == NULL)
		return mb_fail(err, MB_EUSAGE, "batch %" PRIu64 ": is settled "
		    "and not in the journal any more", number);
	if (b->state == from)
		return 1;
	if (b->state == to)
		return 0;
	return mb_fail(err, MB_EUSAGE, "batch %" PRIu64 ": is %s, not %s",
	    number, mb_batch_state_name(b->state), mb_batch_state_name(from));
}

int
mb_outcome_park(struct mb_journal *j, uint64_t batch, uint64_t run,
    int64_t time_ms, const char *reason, struct mb_err *err)
{
	struct mb_buf line = { 0 };
	const struct mb_batch *b;
	int rc;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	rc = find(mb_journal_state(j), batch, MB_PLANNED, MB_PARKED, &b, err);
	if (rc > 0) {
		mb_put_park(&line, batch, run, time_ms, reason);
		if (mb_journal_write(j, &line, err) < 0)
			rc = -1;
	}
	mb_journal_leave(j);
	mb_buf_release(&line);
	return rc;
}

int
mb_outcome_unpark(struct mb_journal *j, uint64_t batch, uint64_t run,
    int64_t time_ms, struct mb_err *err)
{
	struct mb_buf line = { 0 };
	const struct mb_batch *b;
	int rc;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	rc = find(mb_journal_state(j), batch, MB_PARKED, MB_PLANNED, &b, err);
	if (rc > 0) {
		mb_put_unpark(&line, batch, run, time_ms);
		if (mb_journal_write(j, &line, err) < 0)
			rc = -1;
	}
	mb_journal_leave(j);
	mb_buf_release(&line);
	return rc;
}

int
mb_outcome_requeue(struct mb_journal *j, uint64_t batch, const bool *is_gone,
    uint64_t run, int64_t time_ms, uint64_t *as, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(j);
	struct mb_buf line = { 0 };
	const struct mb_batch *old;
	struct mb_batch b;
	int rc;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	old = mb_state_batch(s, batch);
	if (old != NULL && old->requeued_as != MB_NONE) {
		*as = old->requeued_as;
		rc = 0;
	} else {
		rc = find(s, batch, MB_PARKED, MB_PARKED, &old, err);
	}
	if (rc > 0) {
		mb_state_requeue(s, old, is_gone, &b);
		b.run = run;
		b.time_ms = time_ms > s->time_ms ? time_ms : s->time_ms;
		*as = b.number;
		mb_put_plan(&line, &b, mb_journal_synced(j));
		if (mb_journal_write(j, &line, err) < 0)
			rc = -1;
		mb_batch_release(&b);
	}
	mb_journal_leave(j);
	mb_buf_release(&line);
	if (rc > 0 && mb_journal_sync(j, err) < 0)
		rc = -1;
	return rc;
}
