#include "replay.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "journal/leftovers.h"
#include "journal/outcome.h"
#include "journal/repair.h"

static int MB_PRINTF(2, 3)
print(struct mb_err *err, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vprintf(fmt, ap);
	va_end(ap);
	return rc < 0 ? mb_fail_sys(err, "standard output") : 0;
}

static int
print_requeued(uint64_t number, const char *was, uint64_t as, uint64_t n_lost,
    struct mb_err *err)
{
	return n_lost > 0 ? print(err, "batch %" PRIu64 ": %srequeued as %"
	    PRIu64 ", without %" PRIu64 " records\n", number, was, as, n_lost) :
	    print(err, "batch %" PRIu64 ": %srequeued as %" PRIu64 "\n",
	    number, was, as);
}

/*
 * Requeue: first see what is left, without any lock; a range that goes after
 * that makes the new batch fail like any other.
 */
static int
requeue(struct replay *r, uint64_t run, uint64_t number, struct mb_err *err)
{
	enum mb_emit_result result;
	const struct mb_batch *b;
	bool *is_gone;
	const char *why;
	uint64_t as, n_lost = 0;
	int rc = 0;

	if (replay_find(r, number, &b, err) < 0)
		return -1;
	if (b->requeued_as != MB_NONE)
		return print_requeued(number, "was ", b->requeued_as, 0, err);
	is_gone = mb_realloc_array(NULL, b->n_ranges, sizeof *is_gone);
	for (size_t i = 0; i < b->n_ranges && rc == 0; i++) {
		rc = mb_verify_range(r->emitter, &b->ranges[i], &result, &why,
		    err);
		is_gone[i] = result != MB_EMIT_WHOLE;
		if (rc < 0 || !is_gone[i])
			continue;
		n_lost += b->ranges[i].records;
		rc = print(err, "batch %" PRIu64 ": lost %" PRIu64
		    " records: %s\n", number, b->ranges[i].records, why);
	}
	if (rc == 0 && mb_journal_lock(r->journal, MB_LOCK_COMMIT, false, -1,
	    err) < 0)
		rc = -1;
	if (rc == 0) {
		rc = mb_outcome_requeue(r->journal, number, is_gone, run,
		    mb_clock_wall_ms(), &as, err);
		mb_journal_unlock(r->journal, MB_LOCK_COMMIT);
	}
	free(is_gone);
	if (rc < 0)
		return -1;
	return print_requeued(number, rc > 0 ? "" : "was ", as, n_lost, err);
}

static int
park_or_unpark(struct replay *r, uint64_t run, uint64_t number,
    struct mb_err *err)
{
	bool parks = r->cfg->verb == PARK;
	int rc;

	if (mb_journal_lock(r->journal, MB_LOCK_COMMIT, false, -1, err) < 0)
		return -1;
	rc = parks ? mb_outcome_park(r->journal, number, run,
	    mb_clock_wall_ms(), "by hand", err) :
	    mb_outcome_unpark(r->journal, number, run, mb_clock_wall_ms(),
	    err);
	mb_journal_unlock(r->journal, MB_LOCK_COMMIT);
	if (rc < 0)
		return -1;
	return print(err, "batch %" PRIu64 ": %s%s\n", number,
	    rc > 0 ? "" : "was ", parks ? "parked" : "planned");
}

int
replay_change(struct replay *r, char **argv, struct mb_err *err)
{
	static const char *const names[] = {
		[PARK] = "--park", [UNPARK] = "--unpark",
		[REQUEUE] = "--requeue",
	};
	const struct config *cfg = r->cfg;
	uint64_t from, to, run;

	if (replay_parse_range(cfg->verb_arg, &from, &to, err) < 0)
		return mb_wrap(err, "%s", names[cfg->verb]);
	if (replay_enter(r, argv, &run, err) < 0)
		return -1;
	for (; from <= to; from++)
		if ((cfg->verb == REQUEUE ? requeue : park_or_unpark)(r, run,
		    from, err) < 0)
			return mb_wrap(err, "%s", names[cfg->verb]);
	return mb_journal_sync(r->journal, err);
}

int
replay_prune(struct replay *r, char **argv, struct mb_err *err)
{
	uint64_t before = r->state->n_batches, run, n_files;
	int rc = mb_journal_lock(r->journal, MB_LOCK_COLLECTOR, false, 0,
	    err);

	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EBUSY, "--prune: %s: in use by "
		    "mb-collect", mb_journal_path(r->journal));
	if (replay_enter(r, argv, &run, err) < 0)
		return -1;
	rc = mb_journal_prune(r->journal, err);
	if (rc < 0 || mb_leftovers_remove(r->journal, &n_files, err) < 0)
		return mb_wrap(err, "--prune");
	if (rc == 0 && n_files == 0)
		return print(err, "nothing to drop\n");
	if (rc > 0 && print(err, "dropped what is settled of %" PRIu64
	    " batches\n", before) < 0)
		return -1;
	return n_files == 0 ? 0 : print(err, "removed %" PRIu64 " files with "
	    "rejected records or torn tails of what was dropped\n", n_files);
}

/* That the journal was mended stands in it, and that it is whole is seen. */
static int
note_repair(const struct config *cfg, int flags, char **argv,
    struct mb_err *err)
{
	struct mb_journal *j;
	uint64_t number;
	int rc;

	if (mb_journal_open(&j, cfg->journal, flags | MB_JOURNAL_ALL, err) < 0)
		return -1;
	rc = mb_journal_run(j, &number, "replay", MB_NONE, argv,
	    mb_clock_wall_ms(), err);
	if (rc == 0)
		rc = mb_journal_sync(j, err);
	mb_journal_close(j);
	return rc;
}

int
replay_repair(const struct config *cfg, char **argv, struct mb_err *err)
{
	int flags = cfg->is_shared ? MB_JOURNAL_SHARED : 0, rc;
	struct mb_repair r = { 0 };
	char *kept = NULL;

	rc = cfg->says_yes ?
	    mb_repair_mend(&r, &kept, cfg->journal, flags, err) :
	    mb_repair_look(&r, cfg->journal, flags, err);
	if (rc == 0)
		rc = print(err, "%s", mb_buf_str(&r.says));
	if (rc == 0 && kept != NULL)
		rc = note_repair(cfg, flags, argv, err) < 0 ? -1 :
		    print(err, "mended; the journal as it was is %s\n", kept);
	else if (rc == 0 && r.verdict == MB_REPAIR_NEEDLESS)
		rc = print(err, "nothing to mend\n");
	else if (rc == 0)
		rc = mb_fail(err, MB_ECORRUPT, "%s: is damaged, and %s",
		    cfg->journal, r.verdict == MB_REPAIR_HOPELESS ?
		    "can't be mended; nothing was changed" : "nothing was "
		    "changed: --repair --yes mends it, and keeps a copy");
	mb_repair_release(&r);
	free(kept);
	return rc;
}
