/*
 * model - the marker rules and the recovery, over random histories.
 *
 *	model [--histories N] [--seed S] [--break RULE]...
 *	model [--break RULE]... SEED	one history, with everything that happens
 *	model --self-test		each rule broken on purpose is noticed
 *	model --list			the rules
 *
 * A history is a small world in memory: a source of up to 31 records, a
 * journal with its locks and spool, two sinks (the journal's own, and one
 * that gets copies), and processes that take the steps of design.md,
 * section 6, one at a time in random order: collectors, committers, replays,
 * park, unpark and requeue.  At any step a process may die (also in the middle of a
 * line), stop for long and go on as a zombie, a sync may fail, the power may
 * be cut; the journal or the sink may be replaced by an older copy, the sink
 * made anew, the journal's directory copied.  In a part of the histories the
 * locks don't hold (as on a network file system), but for the append lock.
 * In the end everybody is left to run without faults.
 *
 * What decides is not modelled, but called: mb_state_apply and everything of
 * journal/state.h that reads and writes lines, mb_state_may_commit, and
 * mb_marker_* with mb_marker_greet.
 *
 * Invariants, after every step of a sink or at the end of a history:
 *
 *  V1. No record is in a sink twice, ever.
 *  V2. In the end each record that gives rows is in the sink, safe from a
 *      power cut; or somebody harmed journal or sink, and mb refuses.
 *  V3. Without harm nobody is refused (unless locks don't hold; and not even
 *      then in the end), and the journal is never taken for damaged.
 *  V4. The marker holds a batch if, and only if, its rows are in the sink or
 *      it has none.
 *  V5. A batch that was emitted is never planned anew with another digest.
 *  V6. What a batch still needs is never deleted from the spool.
 *  V7. With --ordered, batches go in in order; but one that was requeued has
 *      given up its place: VOID is as good as COMMITTED to those behind it.
 *      Also when a power cut takes the requeue back: who saw it may have
 *      committed a later one before it was synced.
 *  V8. Left alone, a pipeline comes to its end.
 *
 * With a requeued batch its records have two numbers, so V1 and V2 also say
 * that it is in the sink under one of them.  Batches with a poisoned record
 * fail, and with --park-after are parked, until the poison is gone.
 *
 * A failure prints the seed; with it as argument the history is told.
 */
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const struct rule_text rules[N_RULES] = {
	[R_MARKER_SYNC] = { "marker-sync",
	    "a marker that is found is not made durable" },
	[R_PLAN_SYNC] = { "plan-sync", "a frame is written before its plan is "
	    "synced" },
	[R_CAS] = { "cas", "the sink's step doesn't compare the marker, and "
	    "nobody looks for a later collector" },
	[R_HOLES] = { "holes", "parked numbers that are passed over count as "
	    "present" },
	[R_SPOOL_AT_COMMIT] = { "spool-at-commit", "the spool is deleted at "
	    "`commit`, not when a synced plan says settled" },
	[R_SPOOL_AT_PLAN] = { "spool-at-plan", "the spool is deleted by a "
	    "plan that isn't synced" },
	[R_SPOOL_PARKED] = { "spool-parked", "parked batches lose their "
	    "spool" },
	[R_REPLAY_HARDEN] = { "replay-harden", "mb-replay emits a plan that "
	    "may not be durable" },
	[R_HARDEN] = { "harden", "a starting collector syncs, but doesn't "
	    "write again what a failed sync may have lost" },
	[R_REGREET] = { "regreet", "after the marker has moved, it is read, "
	    "but not compared with the journal" },
	[R_DIGEST] = { "digest", "digests are not compared" },
	[R_GREET_LAST] = { "greet-last", "a sink that is behind the journal "
	    "is accepted" },
	[R_GREET_HELD] = { "greet-held", "only the last batch is compared, "
	    "not how many the sink held" },
	[R_GREET_LOCK] = { "greet-lock", "journal and marker are compared "
	    "without the commit lock" },
	[R_COMMIT_EARLY] = { "commit-early", "`commit` is written before the "
	    "sink is durable" },
	[R_COPY_SETTLES] = { "copy-settles", "a commit into another target "
	    "settles" },
	[R_ORDER] = { "order", "earlier batches need not be settled" },
	[R_CUT] = { "cut", "a torn tail is not cut before one appends" },
	[R_FOUND] = { "found", "nobody asks whether the sink has a batch" },
	[R_CHECKPOINT_SYNC] = { "checkpoint-sync", "a checkpoint vouches for "
	    "what isn't synced" },
	[R_GREET_EACH] = { "greet-each", "marker and journal are compared at "
	    "hello only, not for each batch" },
	[R_REQUEUE_FORMER] = { "requeue-former", "a requeued batch is looked up "
	    "under its new number only" },
	[R_REQUEUE_AS] = { "requeue-as", "a requeued batch that was found counts "
	    "as there under its new number" },
	[R_REQUEUE_VOID] = { "requeue-void", "a committer doesn't see that its "
	    "batch is void, and nobody compares the marker" },
	[R_REQUEUE_SYNC] = { "requeue-sync", "a live collector sends a requeued "
	    "batch whose plan it has only seen" },
	[R_VOID_KEPT] = { "void-kept", "void batches are forgotten, and so count "
	    "as batches without rows" },
	[R_PARK_ORDERED] = { "park-ordered", "with --ordered later batches "
	    "don't wait for parked ones" },
	[R_COPY_FORMER] = { "copy-former", "a copy looks for a requeued batch "
	    "under its new number only, and takes void ones" },
	[R_REDO_THERE] = { "redo-there", "--redo doesn't ask whether the sink has "
	    "the batch" },
	[R_REDO_ORDER] = { "redo-order", "--redo puts batches back in any "
	    "order, also with --ordered" },
	[R_REDO_SYNC] = { "redo-sync", "`redo` rides with the next line" },
	[R_REDO_HELD] = { "redo-held", "the first batch that --redo puts back "
	    "makes the sink complete" },
	[R_REDO_NEW] = { "redo-new", "a batch that is new may come in while "
	    "--redo has not put back all others" },
	[R_ADOPT_OPEN] = { "adopt-open", "--adopt forgets what is parked" },
	[R_ADOPT_HARDEN] = { "adopt-harden", "--adopt believes a marker that "
	    "may not be durable" },
	[R_TELL_LAST] = { "tell-last", "a `commit` is written although the "
	    "sink lacks the batch of the one before" },
	[R_FORGOTTEN] = { "forgotten", "a marker whose last batch the journal "
	    "has forgotten is accepted" },
};

/*
 * One history.
 */

static void
set_up(struct world *w, uint64_t seed, uint64_t broken, bool is_traced,
    struct counts *c)
{
	static const unsigned odds[] = { 0, 0, 5, 10, 20, 40 };
	/* A copied journal takes the most luck to go wrong. */
	static const unsigned harms[] = { 1, 2, 3, 4, 4, 4, 5, 6, 7, 7 };

	*w = (struct world){
		.seed = seed, .rng = seed * 0x2545f4914f6cdd1d + 1,
		.broken = broken, .is_traced = is_traced, .c = c,
	};
	c->histories++;
	w->is_pipe = chance(w, 500);
	w->locks_vanish = chance(w, 250);
	w->is_ordered = chance(w, 200);
	w->can_park = chance(w, 500);
	w->can_replay = chance(w, 500);
	w->can_copy = chance(w, 300);
	w->p_crash = odds[pick(w, 6)];
	w->p_power = odds[pick(w, 5)];
	w->p_stop = odds[pick(w, 6)];
	w->p_sync = chance(w, 200) ? 50 : 0;
	w->tamper = chance(w, 350) ? harms[pick(w, 10)] : 0;
	w->snapshot_at = 10 + pick(w, 100);
	w->tamper_at = w->snapshot_at + pick(w, 70);
	w->n_records = 6 + pick(w, 16);
	w->available = pick(w, 6);
	for (unsigned i = 0; i < w->n_records; i++)
		if (chance(w, 300))
			w->blank |= (uint32_t)1 << i;
	if (w->tamper == 2 || breaks(w, R_COPY_FORMER))
		w->can_park = w->can_replay = true;
	w->can_copy |= breaks(w, R_COPY_FORMER);
	/* Locks that don't hold, and a sink that is replaced meanwhile. */
	w->is_racing = chance(w, 50) || breaks(w, R_TELL_LAST);
	if (w->is_racing) {
		w->locks_vanish = w->can_replay = w->can_park = true;
		w->tamper = 2 + pick(w, 2);
	}
	if (chance(w, 300)) {
		w->park_after = chance(w, 700) ? 1 + pick(w, 3) : 0;
		for (unsigned i = 0; i < w->n_records; i++)
			if (chance(w, 150))
				w->poison |= (uint32_t)1 << i;
	}
	if (w->tamper == 4)
		w->is_pipe = false;	/* both would read one pipe */
	if (breaks(w, R_ADOPT_OPEN) || breaks(w, R_ADOPT_HARDEN)) {
		w->tamper = 7;
		w->p_power = 40;
	}
	if (breaks(w, R_REQUEUE_SYNC)) {
		w->can_park = true;
		w->tamper = 0;
		w->p_power = 40;
	}
	if (w->tamper == 7) {
		/* What was spooled is lost, too; a copy knows other numbers. */
		w->is_pipe = w->can_copy = false;
	}
	/* What was in a pipe is gone when it is committed. */
	w->can_redo = (w->tamper == 2 || w->tamper == 3) && !w->is_racing &&
	    !w->is_pipe && chance(w, 700);
	journal_create(&w->journals[0]);
	w->n_journals = 1;
	w->sinks[0] = (struct sink){ .target = "dir:/out", .n = 1 };
	w->sinks[1] = (struct sink){ .target = "dir:/copy", .n = 1 };
	trace(w, "%s, %u records, blank %" PRIx32 "%s%s%s",
	    w->is_pipe ? "pipe" : "file", w->n_records, w->blank,
	    w->locks_vanish ? ", locks don't hold" : "",
	    w->is_ordered ? ", ordered" : "",
	    w->tamper != 0 ? ", will be harmed" : "");
}

static void
tear_down(struct world *w)
{
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		mb_marker_release(&w->procs[i].marker);
		mb_marker_release(&w->procs[i].next);
		mb_buf_release(&w->procs[i].place);
	}
	for (unsigned i = 0; i < w->n_journals; i++)
		journal_release(&w->journals[i]);
	for (unsigned i = 0; i < N_SINKS; i++)
		for (unsigned k = 0; k < w->sinks[i].n; k++)
			version_release(&w->sinks[i].v[k]);
	version_release(&w->old_sink);
	mb_buf_release(&w->old_journal);
	mb_buf_release(&w->line);
}

static struct proc *
any_alive(struct world *w)
{
	unsigned at = pick(w, MAX_PROCS);

	for (unsigned i = 0; i < MAX_PROCS; i++) {
		struct proc *p = &w->procs[(at + i) % MAX_PROCS];

		if (p->is_alive)
			return p;
	}
	return NULL;
}

static void
kill_all(struct world *w, const struct journal *j, const char *why)
{
	for (unsigned i = 0; i < MAX_PROCS; i++)
		if (w->procs[i].is_alive && (j == NULL || w->procs[i].j == j))
			proc_kill(w, &w->procs[i], why);
}

/* One step of anybody who can take one. */
static bool
run_one(struct world *w)
{
	unsigned at = pick(w, MAX_PROCS);

	for (unsigned i = 0; i < MAX_PROCS; i++) {
		struct proc *p = &w->procs[(at + i) % MAX_PROCS];

		if (!p->is_alive || p->is_stopped)
			continue;
		if (proc_step(w, p))
			return true;
	}
	return false;
}

static void
crash(struct world *w)
{
	struct proc *p = any_alive(w);

	if (p == NULL)
		return;
	w->c->crashes++;
	if (!p->is_stopped && chance(w, 500)) {
		/* In the write of its next step, if it has one. */
		w->is_dying = true;
		(void)proc_step(w, p);
		w->is_dying = false;
	}
	if (p->is_alive)
		proc_kill(w, p, "killed");
}

static void
stop_or_go_on(struct world *w)
{
	struct proc *p = any_alive(w);

	if (p == NULL)
		return;
	p->is_stopped = !p->is_stopped;
	w->c->zombies += !p->is_stopped && p->was_overtaken;
	if (p->is_stopped)
		p->was_overtaken = false;
	trace(w, "%s: %s", proc_name(w, p), p->is_stopped ? "stopped" :
	    "goes on");
}

static void
power_cut(struct world *w)
{
	w->c->power_cuts++;
	trace(w, "power cut");
	kill_all(w, NULL, "killed");
	for (unsigned i = 0; i < w->n_journals; i++)
		journal_power_cut(w, &w->journals[i]);
	for (unsigned i = 0; i < N_SINKS; i++)
		sink_power_cut(w, &w->sinks[i]);
}

static void
snapshot(struct world *w)
{
	struct journal *j = &w->journals[0];

	mb_buf_reset(&w->old_journal);
	mb_buf_add(&w->old_journal, j->disk.vol.p, j->disk.vol.len);
	version_release(&w->old_sink);
	version_copy(&w->old_sink, sink_seen(&w->sinks[0]));
	w->has_snapshot = true;
}

static void
harm(struct world *w)
{
	struct version none = { 0 };
	struct journal *j = &w->journals[0], *copy = &w->journals[1];

	w->is_tampered = true;
	switch (w->tamper) {
	case 1:
		trace(w, "the journal is restored from an older copy");
		w->c->restored_journals++;
		kill_all(w, NULL, "killed");
		journal_restore(j, &w->old_journal);
		break;
	case 2:
	case 5:
		trace(w, "the sink is restored from an older copy");
		w->c->restored_sinks++;
		if (chance(w, 500))
			kill_all(w, NULL, "killed");
		sink_set(&w->sinks[0], &w->old_sink);
		break;
	case 3:
	case 6:
		trace(w, "the sink is removed");
		w->c->recreated_sinks++;
		if (chance(w, 500))
			kill_all(w, NULL, "killed");
		sink_set(&w->sinks[0], &none);
		/* Made anew and empty, by another. */
		if (chance(w, 300))
			w->sinks[0].v[0].id = ++w->next_sink_id;
		break;
	case 4:
		trace(w, "the journal is copied");
		w->c->copied_journals++;
		*copy = *j;
		copy->disk = (struct disk){ 0 };
		mb_state_init(&copy->state, false);
		journal_restore(copy, &w->old_journal);
		w->n_journals = 2;
		break;
	case 7:
		trace(w, "the journal is lost");
		if (chance(w, 500) || !sink_seen(&w->sinks[0])->marker.exists)
			kill_all(w, NULL, "killed");
		j->is_lost = true;
		break;
	}
	w->has_accepted = w->tamper == 5 || w->tamper == 6;
	w->is_put_back = w->tamper == 7;
}

/* Any batch, and more often one that was requeued or is void. */
static uint64_t
any_batch(struct world *w, const struct journal *j)
{
	const struct mb_state *s = &j->state;
	const struct mb_batch *b;

	if (s->n_batches > 0 && chance(w, 500)) {
		b = &s->batches[pick(w, (unsigned)s->n_batches)];
		if (b->state == MB_VOID || b->n_from > 0)
			return b->number;
	}
	return pick(w, (unsigned)s->next_batch);
}

static void
something_happens(struct world *w)
{
	struct journal *j = &w->journals[pick(w, w->n_journals)];
	unsigned n_alive = 0;

	if (w->now == w->snapshot_at)
		snapshot(w);
	if (w->tamper != 0 && w->now == w->tamper_at)
		harm(w);
	if (chance(w, 100) && w->available < w->n_records)
		w->available++;
	if (chance(w, w->p_power)) {
		power_cut(w);
		return;
	}
	if (chance(w, w->p_crash))
		crash(w);
	if (chance(w, w->p_stop))
		stop_or_go_on(w);
	for (unsigned i = 0; i < MAX_PROCS; i++)
		n_alive += w->procs[i].is_alive && !w->procs[i].is_stopped;
	if (chance(w, n_alive == 0 ? 500 : 15))
		start_pipeline(w, j, chance(w, 500) ? w->available :
		    w->n_records, w->has_accepted);
	if (j->is_lost) {
		(void)run_one(w);
		return;
	}
	if (w->can_replay && j->state.next_batch > 0 && chance(w, 25))
		start_replay(w, j, any_batch(w, j),
		    &w->sinks[w->can_copy && j->pos > 0 &&
		    j->state.target != NULL && chance(w, 400)]);
	if (w->can_park && j->state.next_batch > 0 && chance(w, 30))
		start_admin(w, j, pick(w, (unsigned)j->state.next_batch),
		    chance(w, 500) ? PARK : chance(w, 500) ? UNPARK : REQUEUE);
	if (w->can_redo && w->is_tampered && j->pos > 0 &&
	    j->state.next_batch > 0 && chance(w, 60))
		start_redo(w, j, pick(w, (unsigned)j->state.next_batch));
	(void)run_one(w);
}

/* Until all have ended. */
static void
run_out(struct world *w)
{
	unsigned steps = 0;

	while (w->failure[0] == '\0' && any_alive(w) != NULL) {
		w->now++;
		if (run_one(w) && ++steps < 5000)
			continue;
		fail(w, "%s, and nobody can go on", proc_name(w,
		    any_alive(w)));
	}
}

static bool
is_done(const struct world *w, const struct journal *j)
{
	for (size_t i = 0; i < j->state.n_batches; i++)
		if (j->state.batches[i].state == MB_PLANNED ||
		    j->state.batches[i].state == MB_PARKED)
			return false;
	return journal_position(j) == w->n_records;
}

/*
 * A journal's pipeline is left alone, and what is parked comes back.  True
 * if it came to its end, false if it was refused.
 */
static bool
finish(struct world *w, struct journal *j)
{
	bool accepts_new = w->has_accepted;
	unsigned n_lost = 0;

	for (unsigned round = 0; round < 40; round++) {
		if (!journal_enter(w, j))
			return false;
		if (round > 0 && !j->is_lost && is_done(w, j))
			return true;
		j->refused_runs = 0;
		for (size_t i = 0; !j->is_lost && i < j->state.n_batches; i++) {
			const struct mb_batch *b = &j->state.batches[i];

			if (b->state != MB_PARKED)
				continue;
			if (chance(w, 600))
				start_admin(w, j, b->number,
				    chance(w, 500) ? UNPARK : REQUEUE);
			else
				start_replay(w, j, b->number, &w->sinks[0]);
			break;
		}
		run_out(w);
		if (w->failure[0] == '\0' && (j->is_lost || round % 2 == 0)) {
			start_pipeline(w, j, w->n_records, accepts_new);
			run_out(w);
		}
		if (w->failure[0] == '\0' && j->refused_runs > 0 &&
		    w->can_redo && w->is_put_back && j->was_cut &&
		    !accepts_new) {
			/*
			 * The sink was lost before a `commit` was synced, which
			 * the power cut took: of that batch nothing is known
			 * but that the sink held one more.
			 */
			trace(w, "what is there is accepted");
			accepts_new = true;
			continue;
		}
		if (w->failure[0] == '\0' && j->refused_runs > 0 &&
		    j->had_survivors && n_lost++ < 2) {
			/* Whoever was left had stepped after --adopt had looked: it is
			   refused, and says what to do. */
			trace(w, "the journal is moved away");
			j->is_lost = true;
			continue;
		}
		if (w->failure[0] != '\0' || (j->refused_runs > 0 &&
		    (w->is_tampered || round > 0)))
			return false;
	}
	fail(w, "left alone, the pipeline doesn't come to its end");
	return false;
}

static bool
is_committed(struct journal *j, uint64_t number)
{
	const struct mb_batch *b;
	struct mb_state all;
	bool is;

	journal_read_all(j, &all);
	b = mb_state_batch(&all, number);
	is = b != NULL && b->state == MB_COMMITTED;
	mb_state_release(&all);
	return is;
}

/* All that is committed is put back; from then on nobody may refuse. */
static void
put_back(struct world *w, struct journal *j)
{
	for (uint64_t k = 0; w->failure[0] == '\0' && journal_enter(w, j) &&
	    k < j->state.next_batch; k++) {
		if (!is_committed(j, k))
			continue;
		start_redo(w, j, k);
		run_out(w);
	}
	if (w->failure[0] == '\0' && chance(w, 500))
		power_cut(w);
	w->is_put_back = w->failure[0] == '\0';
}

static void
in_the_end(struct world *w)
{
	uint32_t wanted = (((uint32_t)1 << w->n_records) - 1) & ~w->blank;
	bool finished[N_JOURNALS] = { false };

	trace(w, "from here on without faults");
	w->is_ending = true;
	w->p_sync = 0;
	w->available = w->n_records;
	w->poison = 0;
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		struct proc *p = &w->procs[i];

		if (!p->is_alive || !p->is_stopped)
			continue;
		p->is_stopped = false;
		w->c->zombies += p->was_overtaken;
		if (chance(w, 300))
			proc_kill(w, p, "killed");
	}
	run_out(w);
	if (w->can_redo && w->is_tampered)
		put_back(w, &w->journals[0]);
	for (unsigned i = 0; i < w->n_journals && w->failure[0] == '\0'; i++) {
		finished[i] = finish(w, &w->journals[i]);
		if (!finished[i] && (!w->is_tampered || w->is_put_back))
			fail(w, "the pipeline was refused in the end");
	}
	for (unsigned i = 0; i < w->n_journals && w->failure[0] == '\0'; i++) {
		uint32_t rows;

		if (!finished[i] || w->has_accepted)
			continue;
		if (i == 0 && chance(w, 500))
			power_cut(w);
		rows = sink_seen(&w->sinks[0])->rows;
		if (rows != wanted)
			fail(w, "the sink has records %" PRIx32 ", not %"
			    PRIx32, rows, wanted);
	}
	for (unsigned i = 0; i < N_SINKS; i++)
		sink_check(w, &w->sinks[i]);
}

/* False: an invariant was violated; `failure` says which. */
static bool
run_history(uint64_t seed, uint64_t broken, bool is_traced, struct counts *c,
    char failure[256])
{
	struct world w;
	unsigned n_steps;

	set_up(&w, seed, broken, is_traced, c);
	n_steps = 40 + pick(&w, 170);
	while (w.now < n_steps && w.failure[0] == '\0') {
		w.now++;
		something_happens(&w);
	}
	if (w.failure[0] == '\0')
		in_the_end(&w);
	c->steps += w.now;
	memcpy(failure, w.failure, sizeof w.failure);
	tear_down(&w);
	return failure[0] == '\0';
}

/*
 * Many.
 */

static void
print_counts(const struct counts *c, double seconds)
{
	printf("model: %" PRIu64 " batches committed, %" PRIu64 " found, %"
	    PRIu64 " of them under an earlier number, %" PRIu64 " failed, %"
	    PRIu64 " requeued, %" PRIu64 " dropped, %" PRIu64
	    " moved markers, %" PRIu64 " parked, %" PRIu64 " replayed, %"
	    PRIu64 " redone, %" PRIu64 " adopted, %" PRIu64 " copied; %"
	    PRIu64 " refusals, %" PRIu64 " restored journals, %" PRIu64 " copied ones, %" PRIu64
	    " restored sinks, %" PRIu64 " removed ones; %" PRIu64 " failed "
	    "syncs, %" PRIu64 " torn lines, %" PRIu64 " checkpoints; %.1f s\n",
	    c->commits, c->found, c->found_as, c->failed, c->requeued,
	    c->dropped, c->cas_failures, c->parked,
	    c->replays, c->redone, c->adopted, c->copies, c->refusals,
	    c->restored_journals,
	    c->copied_journals, c->restored_sinks, c->recreated_sinks,
	    c->failed_syncs, c->torn, c->checkpoints, seconds);
	printf("model: %" PRIu64 " histories, %" PRIu64 " steps, %" PRIu64
	    " crashes, %" PRIu64 " power cuts, %" PRIu64 " zombies\n",
	    c->histories, c->steps, c->crashes, c->power_cuts, c->zombies);
}

static double
seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) +
	    (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static int
run_many(uint64_t n, uint64_t seed, uint64_t broken)
{
	struct counts c = { 0 };
	struct timespec start;
	char failure[256];

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t i = 0; i < n; i++) {
		if (run_history(seed + i, broken, false, &c, failure))
			continue;
		printf("model: history %" PRIu64 ": %s\n", seed + i, failure);
		return 1;
	}
	print_counts(&c, seconds_since(&start));
	return 0;
}

/* The model can fail. */
static int
self_test(uint64_t n, uint64_t seed)
{
	struct counts c = { 0 };
	struct timespec start;
	char failure[256];
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned r = 0; r < N_RULES; r++) {
		struct counts ignored = { 0 };
		char same[256];
		uint64_t i = 0;

		while (i < n && (run_history(seed + i, (uint64_t)1 << r, false,
		    &c, failure) || !run_history(seed + i, 0, false, &ignored,
		    same)))
			i++;
		if (i == n)
			rc = 1;
		printf("model: --break %-16s %s %" PRIu64 "%s%s\n",
		    rules[r].name, i == n ? "NOT NOTICED in" :
		    "noticed in history", i == n ? n : seed + i,
		    i == n ? "" : ": ", i == n ? "" : failure);
	}
	print_counts(&c, seconds_since(&start));
	return rc;
}

static int
usage(void)
{
	fprintf(stderr, "usage: model [--histories N] [--seed S] "
	    "[--break RULE]... [SEED]\n       model --self-test | --list\n");
	return 64;
}

int
main(int argc, char **argv)
{
	uint64_t n = 0, seed = 1, broken = 0;
	bool is_self_test = false;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		unsigned r = 0;
		char *end;

		if (strcmp(argv[i], "--list") == 0) {
			for (r = 0; r < N_RULES; r++)
				printf("%-16s %s\n", rules[r].name,
				    rules[r].what);
			return 0;
		} else if (strcmp(argv[i], "--self-test") == 0) {
			is_self_test = true;
		} else if (strcmp(argv[i], "--histories") == 0 && value) {
			n = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--seed") == 0 && value) {
			seed = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--break") == 0 && value) {
			while (r < N_RULES && strcmp(rules[r].name, value) != 0)
				r++;
			if (r == N_RULES)
				return usage();
			broken |= (uint64_t)1 << r;
			i++;
		} else {
			struct counts c = { 0 };
			char failure[256];

			seed = strtoull(argv[i], &end, 10);
			if (*argv[i] == '\0' || *end != '\0')
				return usage();
			if (run_history(seed, broken, true, &c, failure)) {
				printf("model: history %" PRIu64 ": good\n",
				    seed);
				return 0;
			}
			printf("model: history %" PRIu64 ": %s\n", seed,
			    failure);
			return 1;
		}
	}
	/* Some rules take luck: one in 60,000 histories notices greet-held. */
	if (is_self_test)
		return self_test(n != 0 ? n : 1000000, seed);
	return run_many(n != 0 ? n : 100000, seed, broken);
}
