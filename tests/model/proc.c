/*
 * The processes, one step of design.md's section 6 at a time.  What decides
 * (state, marker, greeting) is the code of lib/; what is done in between two
 * steps of one process, any other may do anything.
 */
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "sink/positions.h"

enum {
	/* collector */
	C_ADOPT, C_LOCK, C_RUN, C_RUN_SYNC, C_WAIT, C_HARDEN, C_FORGET, C_HELLO, C_TODO,
	C_NEXT, C_SPOOL, C_SPOOL_SYNC, C_PLAN, C_PLAN_SYNC, C_DELETE, C_EMIT,
	C_CHECKPOINT, C_FOREIGN, C_DONE,
	/* committer */
	M_HELLO, M_PIPELINE, M_LOCK, M_LOOKUP, M_GREET, M_READ, M_TAKE,
	M_CHECK, M_STEP, M_SYNC, M_COMMIT, M_REDO_SYNC,
	/* replayer */
	R_READ, R_HARDEN_IT, R_HELLO, R_FRAME, R_DONE,
	/* admin */
	A_HARDEN, A_LOCK, A_WRITE, A_SYNC,
};

const char *
proc_name(const struct world *w, const struct proc *p)
{
	static const char *const names[] = {
		"collect", "commit", "replay", "admin",
	};
	static char name[64];

	if (!w->is_traced)	/* most are not read by anybody */
		return names[p->kind];
	snprintf(name, sizeof name, "%s%s.%d(run %" PRId64 ")",
	    names[p->kind], p->j == &w->journals[0] ? "" : "'",
	    (int)(p - w->procs), (int64_t)p->run);
	return name;
}

static void
release(struct proc *p)
{
	p->is_alive = p->is_stopped = false;
	p->holds_collector = p->holds_pipeline = p->holds_commit = false;
	if (p->in != NULL) {
		p->in->has_reader = false;
		p->in->n = 0;
	}
	if (p->out != NULL)
		p->out->has_writer = false;
	p->in = p->out = NULL;
	mb_marker_release(&p->marker);
	mb_marker_release(&p->next);
	mb_buf_release(&p->place);
}

void
proc_kill(struct world *w, struct proc *p, const char *why)
{
	trace(w, "%s: %s", proc_name(w, p), why);
	release(p);
}

static bool
leave(struct world *w, struct proc *p, const char *why)
{
	proc_kill(w, p, why);
	return true;
}

/* Exit 65: journal and sink don't fit together, or one is damaged. */
static bool
refuse(struct world *w, struct proc *p, const char *why)
{
	w->c->refusals++;
	p->j->refused_runs++;
	if (!w->is_tampered && !w->locks_vanish)
		fail(w, "refused, though nobody harmed anything: %s", why);
	return leave(w, p, why);
}

static bool
append(struct world *w, struct proc *p)
{
	bool is_done = journal_write(w, p->j);

	mb_buf_reset(&w->line);
	return is_done;
}

/*
 * A sync, for which the process dies if it fails, now or for another who had
 * the file open at the same time.
 */
static bool
sync_journal(struct world *w, struct proc *p)
{
	if (chance(w, w->p_sync)) {
		trace(w, "%s: sync fails", proc_name(w, p));
		w->c->failed_syncs++;
		disk_sync_fails(w, &p->j->disk);
		for (unsigned i = 0; i < MAX_PROCS; i++)
			if (w->procs[i].is_alive && w->procs[i].j == p->j)
				w->procs[i].sees_error = true;
	}
	if (p->sees_error) {
		proc_kill(w, p, "75, a sync failed");
		return false;
	}
	disk_sync(&p->j->disk);
	p->synced = p->j->disk.vol.len - p->j->open_len;
	return true;
}

static bool
harden(struct world *w, struct proc *p)
{
	struct journal *j = p->j;

	if (!breaks(w, R_HARDEN))
		disk_rewrite(&j->disk, j->open_len + j->state.synced);
	return sync_journal(w, p);
}

static void
put_run(struct world *w, const struct proc *p, const char *role, uint64_t of)
{
	size_t start = w->line.len;

	mb_line_begin(&w->line, "run");
	mb_line_u64(&w->line, "run", p->run);
	mb_line_str(&w->line, "role", role);
	if (of != MB_NONE)
		mb_line_u64(&w->line, "of", of);
	mb_line_i64(&w->line, "pid", p - w->procs);
	mb_line_str(&w->line, "host", "h");
	mb_line_time(&w->line, "time", (int64_t)w->now);
	mb_line_seal(&w->line, start);
}

static bool
is_held(const struct world *w, const struct journal *j, size_t lock)
{
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		const struct proc *p = &w->procs[i];

		if (p->is_alive && p->j == j &&
		    *(const bool *)((const char *)p + lock))
			return !w->locks_vanish;
	}
	return false;
}
#define HELD(w, j, lock) is_held(w, j, offsetof(struct proc, lock))

static bool
can_send(const struct proc *p)
{
	return p->out->n < PIPE_SIZE;
}

static void
send(struct world *w, const struct proc *p, struct msg m)
{
	p->out->queue[p->out->n++] = m;
	if (m.verb == FRAME) {
		p->j->is_emitted[m.batch] = true;
		trace(w, "%s: frame %" PRIu64, proc_name(w, p), m.batch);
	}
}

/* The frame of a batch that the journal still knows. */
static struct msg
frame_of(const struct world *w, const struct proc *p,
    const struct mb_batch *b)
{
	uint32_t mask = 0;

	for (uint64_t r = b->ranges[0].start; r < b->ranges[0].end; r++)
		mask |= (uint32_t)1 << r;
	return (struct msg){
		.verb = w->is_pipe && (mask & ~p->j->spool) != 0 ? ABORT :
		    FRAME,
		.batch = b->number, .digest = b->digest,
		.rows = mask & ~w->blank, .run = p->run,
	};
}

/*
 * The collector.
 */

/*
 * Note the records whose spool may go: those that only batches up to `settled`
 * had, and that nothing needs by what the journal says now.  What it says is
 * about to be synced, or was just now; a `commit` that is read later may be
 * lost in a power cut, and then its batch needs them once more.
 */
static void
note_spare(const struct world *w, struct proc *p, uint64_t settled)
{
	const struct journal *j = p->j;

	p->spare = 0;
	if (!w->is_pipe || settled == MB_NONE)
		return;
	for (uint64_t k = 0; k <= settled; k++)
		p->spare |= j->plan[k];
	for (size_t i = 0; i < j->state.n_batches; i++) {
		const struct mb_batch *b = &j->state.batches[i];

		if (b->number > settled || b->state == MB_PLANNED ||
		    (b->state == MB_PARKED && !breaks(w, R_SPOOL_PARKED)))
			p->spare &= ~j->plan[b->number];
	}
}

static void
delete_spool(struct world *w, struct proc *p)
{
	struct journal *j = p->j;

	if (breaks(w, R_SPOOL_AT_COMMIT))
		note_spare(w, p, j->state.settled);
	if ((j->spool & p->spare) == 0)
		return;
	trace(w, "%s: delete the spool of records %x", proc_name(w, p),
	    j->spool & p->spare);
	j->spool &= ~p->spare;
	j->spool_safe &= ~p->spare;
}

/* The records that come next. */
static uint32_t
next_records(const struct proc *p)
{
	uint32_t all = ((uint32_t)1 << p->count) - 1;

	return all << journal_position(p->j);
}

static bool
plan(struct world *w, struct proc *p)
{
	struct journal *j = p->j;
	const struct mb_state *s = &j->state;
	uint64_t start = journal_position(j), generation = 0;
	char source[] = "-";
	uint32_t mask = next_records(p);
	struct mb_batch b = { 0 };
	struct mb_range r;

	if (!w->is_pipe)
		p->has_generation = s->next_generation > 0;
	if (!p->has_generation) {
		struct mb_generation g = {
			.id = s->next_generation, .source = source,
			.spool = w->is_pipe ? p->run : MB_NONE,
			.format = "lines", .delimiter = ',', .start = start,
		};

		mb_put_source(&w->line, &g);
		generation = g.id;
		p->has_generation = true;
	} else if (w->is_pipe) {
		generation = s->next_generation - 1;
	}
	r = (struct mb_range){
		.generation = generation, .start = start,
		.end = start + p->count, .records = p->count,
	};
	r.hash = r.head = r.tail = mb_hash_bytes(&r.start, 2 * sizeof r.start);
	b.number = s->next_batch;
	b.time_ms = (int64_t)w->now;
	b.run = p->run;
	b.settled = s->settled;
	b.ranges = &r;
	b.n_ranges = 1;
	b.digest = mb_state_digest(s, &b);
	if (b.number >= MAX_BATCHES) {
		fail(w, "too many batches");
		return true;
	}
	if (j->is_emitted[b.number] && !w->is_tampered &&
	    strcmp(j->digest[b.number].hex, b.digest.hex) != 0)
		fail(w, "batch %" PRIu64 " was emitted, and is planned anew",
		    b.number);
	mb_put_plan(&w->line, &b, p->synced);
	/* Lines before the plan may be whole if we die in it. */
	if (!append(w, p))
		return true;
	j->plan[b.number] = mask;
	j->digest[b.number] = b.digest;
	note_spare(w, p, b.settled);
	if (breaks(w, R_SPOOL_AT_PLAN))
		delete_spool(w, p);
	p->pc = C_PLAN_SYNC;
	return true;
}

static bool
emit(struct world *w, struct proc *p, uint64_t number)
{
	const struct mb_batch *b = mb_state_batch(&p->j->state, number);
	struct msg m;

	if (b == NULL)		/* settled and forgotten in the meantime */
		return true;
	m = frame_of(w, p, b);
	m.is_replay = false;
	send(w, p, m);
	return true;
}

/* What was planned since, in order: ours, and what was requeued beside us. */
static bool
step_emit(struct world *w, struct proc *p)
{
	const struct mb_state *s = &p->j->state;
	const struct mb_batch *b;

	while (p->next_emit < s->next_batch) {
		b = mb_state_batch(s, p->next_emit);
		if (b == NULL || b->state != MB_PLANNED) {
			p->next_emit++;
			continue;
		}
		if (b->run != p->run && p->next_emit >= p->hardened) {
			p->pc = C_FOREIGN;
			return true;
		}
		if (!can_send(p))
			return false;
		return emit(w, p, p->next_emit++);
	}
	p->pc = chance(w, breaks(w, R_CHECKPOINT_SYNC) ? 400 : 80) ?
	    C_CHECKPOINT : C_NEXT;
	return true;
}

/* What the sink knows of the journal; false: there is nothing. */
static bool
ask_sink(struct world *w, struct mb_state *s)
{
	struct version *v = sink_seen(&w->sinks[0]);
	char id[24];
	struct mb_found found = {
		.marker = v->marker, .target = mb_strdup(w->sinks[0].target),
	};
	struct mb_err err = { 0 };
	int fd = memfd_create("places", MFD_CLOEXEC);

	snprintf(id, sizeof id, "%" PRIu64, v->id);
	found.target_id = mb_strdup(id);
	memset(found.journal, 'a', MB_ID_LEN);
	if (fd < 0 || mb_pwrite_all(fd, v->places.p, v->places.len, 0,
	    "places", &err) < 0 ||
	    mb_positions_gather(&found, fd, "places", &err) < 0)
		fail(w, "places: %s", err.msg);
	close(fd);
	if (breaks(w, R_ADOPT_OPEN)) {
		mb_buf_reset(&found.open);
		mb_buf_adds(&found.open, "[]");
	}
	/* Seconds since the epoch are more than there ever were runs. */
	if (mb_positions_adopt(s, &found, 1000000 + (int64_t)w->now * 1000,
	    &err) < 0)
		fail(w, "adopt: %s", err.msg);
	found.marker = (struct mb_marker){ 0 };
	free(found.target);
	free(found.target_id);
	mb_buf_release(&found.positions);
	mb_buf_release(&found.open);
	return true;
}

/* mb-collect --adopt */
static void
adopt(struct world *w, struct journal *j)
{
	struct mb_state s;

	for (unsigned i = 0; i < MAX_PROCS; i++)
		j->had_survivors |= w->procs[i].is_alive &&
		    w->procs[i].kind == COMMITTER && w->procs[i].j == j &&
		    w->procs[i].run != MB_NONE;
	if (!breaks(w, R_ADOPT_HARDEN))
		sink_sync(&w->sinks[0]);
	if (!sink_seen(&w->sinks[0])->marker.exists) {
		journal_adopt(j, NULL);
		return;
	}
	if (ask_sink(w, &s))
		journal_adopt(j, &s);
	mb_state_release(&s);
	w->c->adopted++;
	trace(w, "journal: made anew from %s", w->sinks[0].target);
}

static bool
step_collector(struct world *w, struct proc *p)
{
	struct journal *j = p->j;
	const struct mb_state *s = &j->state;

	if (!p->out->has_reader)
		return leave(w, p, "75, no reader");
	if (p->pc == C_HARDEN || p->pc == C_PLAN || p->pc == C_CHECKPOINT ||
	    p->pc == C_FOREIGN) {
		if (!journal_enter(w, j))
			return refuse(w, p, "damaged journal");
		if (s->collector_run != p->run)
			return leave(w, p, "75, a later collector");
	}
	switch (p->pc) {
	case C_ADOPT:
		if (j->is_lost)
			adopt(w, j);
		break;
	case C_LOCK:
		if (HELD(w, j, holds_collector))
			return leave(w, p, "75, another collector");
		p->holds_collector = true;
		break;
	case C_RUN:
		if (!journal_enter(w, j))
			return refuse(w, p, "damaged journal");
		p->run = s->next_run;
		put_run(w, p, "collect", MB_NONE);
		if (!append(w, p))
			return true;
		for (unsigned i = 0; i < MAX_PROCS; i++)
			if (w->procs[i].is_stopped && w->procs[i].j == j)
				w->procs[i].was_overtaken = true;
		break;
	case C_RUN_SYNC:
		if (!sync_journal(w, p))
			return true;
		break;
	case C_WAIT:
		if (HELD(w, j, holds_pipeline))
			return false;
		break;
	case C_HARDEN:
		if (!harden(w, p))
			return true;
		note_spare(w, p, s->settled);
		p->next_emit = p->hardened = s->next_batch;
		p->n_todo = 0;
		for (size_t i = 0; i < s->n_batches; i++)
			if (s->batches[i].state == MB_PLANNED)
				p->todo[p->n_todo++] = s->batches[i].number;
		break;
	case C_FORGET:
		delete_spool(w, p);
		break;
	case C_HELLO:
		send(w, p, (struct msg){ .verb = HELLO, .run = p->run });
		break;
	case C_TODO:
		if (p->at == p->n_todo)
			break;
		if (!can_send(p))
			return false;
		return emit(w, p, p->todo[p->at++]);
	case C_NEXT:
		if (chance(w, 200))
			delete_spool(w, p);
		if (p->next_emit < s->next_batch && chance(w, 500)) {
			p->pc = C_EMIT;
			return true;
		}
		if (journal_position(j) >= p->end) {
			p->pc = C_DONE;
			return true;
		}
		if (journal_position(j) >= w->available)
			return false;
		p->count = 1 + pick(w, 4);
		if (p->count > w->available - journal_position(j))
			p->count = w->available - journal_position(j);
		if (!w->is_pipe) {
			p->pc = C_PLAN;
			return true;
		}
		break;
	case C_SPOOL:
		j->spool |= next_records(p);
		break;
	case C_SPOOL_SYNC:
		j->spool_safe |= next_records(p);
		break;
	case C_PLAN:
		return plan(w, p);
	case C_PLAN_SYNC:
		if (!breaks(w, R_PLAN_SYNC) && !sync_journal(w, p))
			return true;
		if (chance(w, 300))
			p->pc = C_EMIT - 1;
		break;
	case C_DELETE:
		delete_spool(w, p);
		break;
	case C_EMIT:
		return step_emit(w, p);
	case C_FOREIGN:
		if (!breaks(w, R_REQUEUE_SYNC) && !harden(w, p))
			return true;
		p->hardened = s->next_batch;
		p->pc = C_EMIT;
		return true;
	case C_CHECKPOINT:
		if (breaks(w, R_CHECKPOINT_SYNC))
			p->synced = j->disk.vol.len - j->open_len;
		else if (!sync_journal(w, p))
			return true;
		w->c->checkpoints++;
		mb_put_checkpoint(&w->line, s, p->synced);
		if (!append(w, p))
			return true;
		p->pc = C_NEXT;
		return true;
	case C_DONE:
		if (!can_send(p))
			return false;
		send(w, p, (struct msg){ .verb = DONE });
		return leave(w, p, "done");
	}
	p->pc++;
	return true;
}

/*
 * The committer.
 */

/* Append the `commit`, where mb_marker_tell agrees; true if it is there. */
static bool
put_commit(struct world *w, struct proc *p, uint64_t batch, bool was_found,
    const uint64_t *as, uint64_t rows)
{
	struct mb_state *s = &p->j->state;
	char id[24];
	uint64_t told = s->told_batch;
	struct mb_err err = { 0 };
	struct mb_commit c = {
		.batch = batch, .run = p->run, .time_ms = (int64_t)w->now,
		.was_found = was_found, .rows = rows,
		.as = breaks(w, R_REQUEUE_AS) ? NULL : as,
		.target = p->sink->target, .target_id = id,
	};
	struct mb_greeting g = {
		.state = s, .marker = &p->marker, .target = c.target,
		.target_id = id, .accepts_new = p->accepts_new,
		.redoes = p->redoes,
	};
	int rc = 0;

	snprintf(id, sizeof id, "%" PRIu64, p->target_id);
	if (breaks(w, R_TELL_LAST))
		s->told_batch = MB_NONE;
	if ((was_found || rows > 0) && !breaks(w, R_GREET_EACH))
		rc = mb_marker_tell(&g, as != NULL ? *as : batch, &c.held,
		    &err);
	s->told_batch = told;
	if (rc < 0) {
		(void)refuse(w, p, err.msg);
		return false;
	}
	mb_put_commit(&w->line, &c);
	w->c->found += was_found;
	w->c->found_as += as != NULL;
	return append(w, p);
}

/* The number under which the marker has the batch; MB_NONE: it doesn't. */
static uint64_t
number_in_sink(const struct world *w, const struct proc *p,
    const struct mb_batch *b)
{
	return breaks(w, R_FOUND) ? MB_NONE : mb_marker_find(&p->marker,
	    b->number, b->from, breaks(w, R_REQUEUE_FORMER) ? 0 : b->n_from);
}

/* Its `commit`, then. */
static bool
put_found(struct world *w, struct proc *p, const struct mb_batch *b,
    uint64_t as)
{
	return put_commit(w, p, b->number, true,
	    as != b->number ? &as : NULL, 0);
}

/* -1 refused, else enum mb_welcome. */
static int
greet_as(struct world *w, struct proc *p, struct mb_state *s,
    struct mb_err *err)
{
	uint64_t held = s->held;
	struct mb_marker marker = p->marker;
	const struct mb_batch *b = mb_state_batch(s, marker.last);
	char id[24];
	struct mb_greeting g = {
		.state = s, .marker = &marker, .target = p->sink->target,
		.target_id = p->target_id == 0 ? NULL : id,
		.is_replay = p->is_replay,
		.accepts_new = p->accepts_new || breaks(w, R_GREET_LAST),
		.redoes = p->redoes,
	};
	int rc;

	snprintf(id, sizeof id, "%" PRIu64, p->target_id);
	if (breaks(w, R_DIGEST) && marker.exists)
		marker.digest = b != NULL ? b->digest : s->rows_digest;
	if (breaks(w, R_FORGOTTEN) && marker.exists && b == NULL &&
	    marker.last != s->rows_batch && !p->is_replay)
		return MB_OWN;
	if (breaks(w, R_GREET_HELD))
		s->held = 0;
	rc = mb_marker_greet(&g, err);
	s->held = held;
	p->told = s->told_batch;
	return rc;
}

static int
greet(struct world *w, struct proc *p, struct mb_err *err)
{
	struct mb_state all;
	int rc;

	if (!p->redoes)
		return greet_as(w, p, &p->j->state, err);
	journal_read_all(p->j, &all);
	rc = greet_as(w, p, &all, err);
	mb_state_release(&all);
	return rc;
}

/* The marker was read, and the journal; do they fit? */
static bool
step_greet(struct world *w, struct proc *p)
{
	struct journal *j = p->j;
	const struct mb_state *s = &j->state;
	struct mb_err err = { 0 };
	int welcome;

	if (!journal_enter(w, j))
		return refuse(w, p, "damaged journal");
	if (!p->is_replay && !breaks(w, R_CAS) && s->collector_run != MB_NONE &&
	    s->collector_run > p->hello_run)
		return leave(w, p, "75, a later collector");
	if (!(p->after_greet == M_CHECK && breaks(w, R_REGREET))) {
		welcome = greet(w, p, &err);
		if (welcome < 0)
			return refuse(w, p, err.msg);
		p->is_copy = welcome == MB_COPY;
	}
	p->run = s->next_run;
	if (p->after_greet == M_READ)
		put_run(w, p, "commit", p->hello_run);
	if (w->line.len > 0 && !append(w, p))
		return true;
	for (size_t i = 0; i < s->n_batches; ) {
		const struct mb_batch *b = &s->batches[i++];
		uint64_t as = number_in_sink(w, p, b);

		if ((b->state != MB_PLANNED && b->state != MB_PARKED) ||
		    as == MB_NONE ||
		    (p->is_copy && !breaks(w, R_COPY_SETTLES)))
			continue;
		if (!put_found(w, p, b, as))
			return true;
		i = 0;		/* settled ones were dropped */
	}
	if (p->after_greet == M_READ)
		p->holds_commit = false;
	p->pc = p->after_greet;
	return true;
}

/* The batch is over; for the next one. */
static bool
drop(struct world *w, struct proc *p, const char *why)
{
	if (why != NULL) {
		trace(w, "%s: drops %" PRIu64 ": %s", proc_name(w, p),
		    p->msg.batch, why);
		w->c->dropped++;
	}
	p->holds_commit = false;
	p->pc = M_READ;
	return true;
}

/* An attempt that says something of the batch; it may be parked. */
static bool
step_failure(struct world *w, struct proc *p, const struct mb_batch *b)
{
	bool parks = w->park_after > 0 && b->state == MB_PLANNED &&
	    (!w->is_ordered || breaks(w, R_PARK_ORDERED)) &&
	    b->n_attempts + 1 >= w->park_after;
	bool goes_on = parks || b->state == MB_PARKED;

	w->c->failed++;
	mb_put_fail(&w->line, b->number, p->run, (int64_t)w->now, 65,
	    "poison");
	if (parks)
		mb_put_park(&w->line, b->number, p->run, (int64_t)w->now,
		    NULL);
	w->c->parked += parks;
	if (!append(w, p))
		return true;
	return goes_on ? drop(w, p, "failed, and parked") :
	    leave(w, p, "65, failed");
}

/* Is it in the copy under an earlier number, or will it be under a later? */
static bool
is_copied(const struct world *w, const struct proc *p)
{
	const struct mb_batch *b;
	struct mb_state all;
	bool is;

	journal_read_all(p->j, &all);
	b = mb_state_batch(&all, p->msg.batch);
	is = b != NULL && !breaks(w, R_COPY_FORMER) &&
	    (b->state == MB_VOID || mb_marker_find(&p->marker, b->number,
	    b->from, b->n_from) != MB_NONE);
	mb_state_release(&all);
	return is;
}

/* What --adopt would need, beside the marker; by the state as it is now. */
static void
put_place(struct proc *p)
{
	struct mb_position_list list = { 0 };

	mb_positions_tell(&list, &p->j->state, p->msg.batch, &p->next);
	mb_buf_reset(&p->place);
	mb_line_begin(&p->place, "batch");
	mb_line_u64(&p->place, "batch", p->msg.batch);
	mb_positions_put(&p->place, &list.positions);
	mb_line_seal(&p->place, 0);
	mb_positions_release(&list);
}

/* Has everything before it to be there first, and isn't? */
static bool
is_out_of_order(const struct world *w, const struct proc *p,
    const struct mb_state *all, uint64_t number)
{
	if (!w->is_ordered || breaks(w, R_REDO_ORDER))
		return false;
	if (p->marker.exists && number < p->marker.last)
		return true;
	for (size_t i = 0; i < all->n_batches; i++) {
		const struct mb_batch *b = &all->batches[i];

		if (b->number < number && mb_batch_has_rows(b) &&
		    mb_marker_find(&p->marker, b->number, b->from,
		    b->n_from) == MB_NONE)
			return true;
	}
	return false;
}

/*
 * A committed batch is to be written again.  One that is there comes out the
 * same, so all that is left of it is its line.
 */
static bool
step_redo(struct world *w, struct proc *p, const struct mb_state *all,
    const struct mb_batch *b)
{
	uint64_t as = mb_marker_find(&p->marker, b->number, b->from,
	    b->n_from);

	if (strcmp(b->digest.hex, p->msg.digest.hex) != 0)
		return refuse(w, p, "not the journal's batch");
	if (breaks(w, R_REDO_THERE))
		as = MB_NONE;
	if (as != MB_NONE && as != b->number)
		return leave(w, p, "64, it is there under another number");
	if (as == MB_NONE && is_out_of_order(w, p, all, b->number))
		return leave(w, p, "64, others come first");
	p->is_redo = true;
	p->is_emptied = p->msg.rows == 0 && mb_marker_is_emptied(&p->marker, b);
	mb_marker_release(&p->next);
	mb_marker_copy(&p->next, &p->marker);
	p->pc = M_COMMIT;
	if (as != MB_NONE || p->msg.rows == 0)
		return true;
	if (!mb_marker_has(&p->marker, b->number))
		mb_marker_add(&p->next, b->number, &p->msg.digest, all, false);
	p->pc = M_STEP;
	return true;
}

static bool
is_behind(const struct proc *p)
{
	char id[24];
	struct mb_greeting g = {
		.state = &p->j->state, .marker = &p->marker,
		.target = p->sink->target,
		.target_id = p->target_id == 0 ? NULL : id,
	};

	snprintf(id, sizeof id, "%" PRIu64, p->target_id);
	return mb_marker_is_behind(&g);
}

/* Is it for step_redo, and done? */
static bool
try_redo(struct world *w, struct proc *p)
{
	const struct mb_batch *b;
	struct mb_state all;
	bool is;

	p->is_redo = false;
	if (!p->redoes || p->is_copy)
		return false;
	journal_read_all(p->j, &all);
	b = mb_state_batch(&all, p->msg.batch);
	is = b != NULL && b->state == MB_COMMITTED;
	if (is)
		(void)step_redo(w, p, &all, b);
	mb_state_release(&all);
	return is;
}

/* Under the commit lock: may this batch go in? */
static bool
step_check(struct world *w, struct proc *p)
{
	struct journal *j = p->j;
	const struct mb_state *s = &j->state;
	const struct mb_batch *b;
	struct mb_err err = { 0 };
	uint64_t as;
	int welcome;
	bool has;

	if (!journal_enter(w, j))
		return refuse(w, p, "damaged journal");
	if (!p->is_replay && !breaks(w, R_CAS) && s->collector_run > p->hello_run)
		return leave(w, p, "75, a later collector");
	/*
	 * Does the marker as last read fit the journal as it is now?  Others
	 * have committed since; or the sink was restored to what we know.
	 */
	if (!breaks(w, R_GREET_EACH) && !breaks(w, R_REGREET)) {
		welcome = greet(w, p, &err);
		if (welcome < 0) {
			trace(w, "%s: %s", proc_name(w, p), err.msg);
			p->after_greet = M_CHECK;
			p->pc = M_LOOKUP;
			return true;
		}
		p->is_copy = welcome == MB_COPY;
	}
	if (try_redo(w, p))
		return true;
	if (p->redoes && !p->is_copy && !breaks(w, R_REDO_NEW) &&
	    is_behind(p))
		return leave(w, p, "64, others are missing");
	has = mb_marker_has(&p->marker, p->msg.batch) && !breaks(w, R_FOUND);
	b = mb_state_batch(s, p->msg.batch);
	if (p->is_copy) {
		if (has || is_copied(w, p))
			return drop(w, p, "the copy has it");
		if (p->msg.verb == ABORT)
			return leave(w, p, "abort");
		if (p->msg.rows == 0)
			return drop(w, p, NULL);
		goto go_on;
	}
	if (p->msg.batch >= s->next_batch)
		return refuse(w, p, "a batch that the journal hasn't planned");
	if (b != NULL && b->state == MB_VOID && breaks(w, R_REQUEUE_VOID))
		goto go_on;
	if (b == NULL || b->state == MB_COMMITTED || b->state == MB_VOID)
		return drop(w, p, "settled");
	if (b->state == MB_PARKED && !p->is_replay)
		return drop(w, p, "parked");
	if (strcmp(b->digest.hex, p->msg.digest.hex) != 0)
		return refuse(w, p, "not the journal's batch");
	as = number_in_sink(w, p, b);
	if (as != MB_NONE)
		return put_found(w, p, b, as) ? drop(w, p, "found") : true;
	if (p->msg.verb == ABORT) {
		if (!w->is_tampered)
			fail(w, "bytes of batch %" PRIu64 " are gone, and it "
			    "isn't in the sink", b->number);
		return refuse(w, p, "bytes are gone");
	}
	if (!breaks(w, R_ORDER) &&
	    !mb_state_may_commit(s, b->number, w->is_ordered &&
	    !breaks(w, R_PARK_ORDERED)))
		return leave(w, p, "75, an earlier batch isn't settled");
	if (((uint32_t)p->msg.rows & w->poison) != 0)
		return step_failure(w, p, b);
	if (p->msg.rows == 0) {
		return put_commit(w, p, b->number, false, NULL, 0) ?
		    drop(w, p, NULL) : true;
	}
go_on:
	mb_marker_release(&p->next);
	mb_marker_copy(&p->next, &p->marker);
	if (!mb_marker_has(&p->marker, p->msg.batch))
		mb_marker_add(&p->next, p->msg.batch, &p->msg.digest, s,
		    p->is_copy);
	if (breaks(w, R_VOID_KEPT)) {
		size_t kept = 0;

		for (size_t i = 0; i < p->next.n_holes; i++) {
			b = mb_state_batch(s, p->next.holes[i]);
			if (b == NULL || b->state != MB_VOID)
				p->next.holes[kept++] = p->next.holes[i];
		}
		p->next.n_holes = kept;
	}
	if (breaks(w, R_HOLES)) {
		size_t kept = 0;

		for (size_t i = 0; i < p->next.n_holes; i++) {
			b = mb_state_batch(s, p->next.holes[i]);
			if (b == NULL || !b->was_parked)
				p->next.holes[kept++] = p->next.holes[i];
		}
		p->next.n_holes = kept;
	}
	if (w->tamper == 7)
		put_place(p);
	p->pc = M_STEP;
	return true;
}

static bool
step_sink(struct world *w, struct proc *p)
{
	const struct version *seen = sink_seen(p->sink);
	uint32_t rows = (uint32_t)p->msg.rows;
	struct version *v;

	if (!breaks(w, R_CAS) && !breaks(w, R_REQUEUE_VOID) &&
	    !mb_marker_eq(&seen->marker, &p->marker)) {
		trace(w, "%s: the marker has moved", proc_name(w, p));
		w->c->cas_failures++;
		p->after_greet = M_CHECK;
		p->pc = M_LOOKUP;
		return true;
	}
	/* A copy from before a hole is filled is the hardest to tell. */
	if (seen->marker.exists && p->msg.batch < seen->marker.last &&
	    !p->is_copy && w->tamper == 2 && !w->is_tampered) {
		version_release(&w->old_sink);
		version_copy(&w->old_sink, seen);
		w->tamper_at = w->now + 1 + pick(w, 8);
	}
	/* So is one that changes while somebody has stepped, and not told. */
	if (w->is_racing && !w->is_tampered && !w->is_ending && !p->is_copy &&
	    chance(w, 250)) {
		version_release(&w->old_sink);
		version_copy(&w->old_sink, seen);
		w->tamper_at = w->now + 1 + pick(w, 3);
		p->is_stopped = chance(w, 700);
	}
	v = sink_push(p->sink);
	if (v->id == 0)
		v->id = ++w->next_sink_id;
	if ((v->rows & rows) != 0)
		fail(w, "batch %" PRIu64 ": records are in %s twice",
		    p->msg.batch, p->sink->target);
	if (w->is_ordered && !p->is_copy && !w->is_tampered &&
	    seen->marker.exists && p->msg.batch < seen->marker.last &&
	    !p->j->was_requeued[p->msg.batch])
		fail(w, "batch %" PRIu64 " went in out of order",
		    p->msg.batch);
	/* What was requeued is put back under its new number. */
	for (uint64_t k = 0; w->is_ordered && p->is_redo && k < p->msg.batch;
	    k++)
		if (!p->j->was_requeued[k] &&
		    (p->j->plan[k] & ~w->blank & ~v->rows) != 0)
			fail(w, "batch %" PRIu64 " was put back before %"
			    PRIu64, p->msg.batch, k);
	if (w->tamper == 7)
		mb_buf_add(&v->places, p->place.p, p->place.len);
	v->rows |= rows;
	v->content[p->msg.batch] = 1;
	mb_marker_release(&v->marker);
	mb_marker_copy(&v->marker, &p->next);
	w->c->commits++;
	w->c->copies += p->is_copy;
	trace(w, "%s: batch %" PRIu64 " into %s", proc_name(w, p),
	    p->msg.batch, p->sink->target);
	sink_check(w, p->sink);
	p->pc = breaks(w, R_COMMIT_EARLY) ? M_COMMIT : M_SYNC;
	return true;
}

/* The line of a batch that was written again; no marker would tell of it. */
static bool
step_redone(struct world *w, struct proc *p)
{
	struct mb_err err = { 0 };
	char id[24];
	struct mb_commit c = {
		.batch = p->msg.batch, .run = p->run,
		.time_ms = (int64_t)w->now, .target = p->sink->target,
		.rows = (uint64_t)__builtin_popcountll(p->msg.rows),
		.target_id = id,
	};
	struct mb_greeting g = {
		.state = &p->j->state, .marker = &p->marker,
		.target = c.target, .target_id = id, .redoes = true,
	};

	snprintf(id, sizeof id, "%" PRIu64, p->target_id);
	if (mb_marker_tell(&g, c.batch, &c.held, &err) < 0)
		return refuse(w, p, err.msg);
	c.held -= c.is_emptied = p->is_emptied;
	mb_put_redo(&w->line, &c, &p->msg.digest);
	w->c->redone++;
	if (append(w, p))
		p->pc = M_REDO_SYNC;
	if (breaks(w, R_REDO_HELD))
		p->j->state.held = mb_marker_count(&p->marker);
	return true;
}

static bool
step_commit(struct world *w, struct proc *p)
{
	const struct mb_batch *b;

	if (!journal_enter(w, p->j))
		return refuse(w, p, "damaged journal");
	if (p->is_redo)
		return step_redone(w, p);
	b = mb_state_batch(&p->j->state, p->msg.batch);
	/* Others have told since our step: what does the sink hold now? */
	if (p->msg.rows != 0 && p->j->state.told_batch != p->told) {
		sink_sync(p->sink);
		mb_marker_release(&p->marker);
		mb_marker_copy(&p->marker, &sink_seen(p->sink)->marker);
		p->target_id = sink_seen(p->sink)->id;
	}
	if (b != NULL && (b->state == MB_PLANNED || b->state == MB_PARKED) &&
	    !put_commit(w, p, b->number, false, NULL,
	    (uint64_t)__builtin_popcountll(p->msg.rows)))
		return true;
	if (breaks(w, R_COMMIT_EARLY)) {
		p->pc = M_SYNC;
		return true;
	}
	return drop(w, p, NULL);
}

static bool
step_committer(struct world *w, struct proc *p)
{
	switch (p->pc) {
	case M_HELLO:
	case M_READ:
		if (p->in->n == 0) {
			if (p->in->has_writer)
				return false;
			return leave(w, p, "75, no done");
		}
		p->msg = p->in->queue[0];
		memmove(p->in->queue, p->in->queue + 1,
		    --p->in->n * sizeof p->msg);
		if (p->msg.verb == DONE)
			return leave(w, p, "done");
		p->pc = M_TAKE;
		if (p->msg.verb == HELLO) {
			p->hello_run = p->msg.run;
			p->is_replay = p->msg.is_replay;
			p->after_greet = M_READ;
			p->pc = p->is_replay ? M_LOCK : M_PIPELINE;
		}
		return true;
	case M_PIPELINE:
		p->holds_pipeline = true;
		break;
	case M_LOCK:
	case M_TAKE:
		if (p->pc == M_LOCK && breaks(w, R_GREET_LOCK))
			break;
		if (HELD(w, p->j, holds_commit))
			return false;
		p->holds_commit = true;
		break;
	case M_LOOKUP:
		if (!breaks(w, R_MARKER_SYNC))
			sink_sync(p->sink);
		mb_marker_release(&p->marker);
		mb_marker_copy(&p->marker, &sink_seen(p->sink)->marker);
		p->target_id = sink_seen(p->sink)->id;
		break;
	case M_GREET:
		return step_greet(w, p);
	case M_CHECK:
		return step_check(w, p);
	case M_STEP:
		return step_sink(w, p);
	case M_SYNC:
		sink_sync(p->sink);
		if (breaks(w, R_COMMIT_EARLY))
			return drop(w, p, NULL);
		/* FALLTHROUGH */
	case M_COMMIT:
		if (p->next.exists) {
			mb_marker_release(&p->marker);
			p->marker = p->next;
			p->next = (struct mb_marker){ 0 };
			p->target_id = sink_seen(p->sink)->id;
		}
		if (p->pc == M_COMMIT)
			return step_commit(w, p);
		if (p->is_copy && !breaks(w, R_COPY_SETTLES))
			return drop(w, p, NULL);
		break;
	case M_REDO_SYNC:
		if (!breaks(w, R_REDO_SYNC) && !sync_journal(w, p))
			return true;
		return drop(w, p, NULL);
	}
	p->pc++;
	return true;
}

/*
 * mb-replay N, and park, unpark and requeue.
 */

/* The frame of a batch that is to be replayed; false: there is none. */
static bool
find_frame(const struct world *w, const struct proc *p, struct msg *m)
{
	const struct mb_batch *b;
	struct mb_state all;

	if (p->redoes)
		journal_read_all(p->j, &all);
	else
		mb_state_init(&all, false);
	b = mb_state_batch(p->redoes ? &all : &p->j->state, p->batch);
	if (b != NULL)
		*m = frame_of(w, p, b);
	mb_state_release(&all);
	return b != NULL;
}

static bool
step_replayer(struct world *w, struct proc *p)
{
	struct msg m;

	if (!p->out->has_reader)
		return leave(w, p, "75, no reader");
	switch (p->pc) {
	case R_READ:
		if (!journal_enter(w, p->j))
			return refuse(w, p, "damaged journal");
		if (!find_frame(w, p, &m))
			return leave(w, p, "nothing to replay");
		p->run = p->j->state.next_run;
		put_run(w, p, "replay", MB_NONE);
		if (!append(w, p))
			return true;
		break;
	case R_HARDEN_IT:
		if (!journal_enter(w, p->j))
			return refuse(w, p, "damaged journal");
		if (!breaks(w, R_REPLAY_HARDEN) && !harden(w, p))
			return true;
		break;
	case R_HELLO:
		send(w, p, (struct msg){ .verb = HELLO, .run = p->run,
		    .is_replay = true });
		break;
	case R_FRAME:
		if (!find_frame(w, p, &m))
			return leave(w, p, "settled meanwhile");
		m.is_replay = true;
		send(w, p, m);
		w->c->replays++;
		break;
	case R_DONE:
		if (!can_send(p))
			return false;
		send(w, p, (struct msg){ .verb = DONE });
		return leave(w, p, "done");
	}
	p->pc++;
	return true;
}

/* The line that is asked for, if the batch is in the state for it. */
static bool
put_admin(struct world *w, struct proc *p)
{
	struct journal *j = p->j;
	const struct mb_batch *b = mb_state_batch(&j->state, p->batch);
	struct mb_batch again;
	bool is_gone = false;

	if (b == NULL || b->state != (p->admin == PARK ? MB_PLANNED :
	    MB_PARKED))
		return false;
	if (p->admin == PARK) {
		mb_put_park(&w->line, p->batch, p->run, (int64_t)w->now,
		    "asked for");
		return true;
	}
	if (p->admin == UNPARK) {
		mb_put_unpark(&w->line, p->batch, p->run, (int64_t)w->now);
		return true;
	}
	if (j->state.next_batch == MAX_BATCHES)
		return false;
	mb_state_requeue(&j->state, b, &is_gone, &again);
	again.run = p->run;
	again.time_ms = (int64_t)w->now;
	mb_put_plan(&w->line, &again, p->synced);
	/* Noted before: if we die in it nobody sees it. */
	if (j->is_emitted[again.number] && !w->is_tampered &&
	    strcmp(j->digest[again.number].hex, again.digest.hex) != 0)
		fail(w, "batch %" PRIu64 " was emitted, and is planned anew",
		    again.number);
	j->plan[again.number] = j->plan[p->batch];
	j->digest[again.number] = again.digest;
	j->was_requeued[p->batch] = true;
	mb_batch_release(&again);
	return true;
}

static bool
step_admin(struct world *w, struct proc *p)
{
	switch (p->pc) {
	case A_HARDEN:
		if (!journal_enter(w, p->j))
			return refuse(w, p, "damaged journal");
		p->run = p->j->state.next_run;
		put_run(w, p, "replay", MB_NONE);
		if (!append(w, p) || !harden(w, p))
			return true;
		break;
	case A_LOCK:
		if (HELD(w, p->j, holds_commit))
			return false;
		p->holds_commit = true;
		break;
	case A_WRITE:
		if (!journal_enter(w, p->j))
			return refuse(w, p, "damaged journal");
		if (!put_admin(w, p))
			return leave(w, p, "nothing to do");
		if (!append(w, p))
			return true;
		w->c->parked += p->admin == PARK;
		w->c->requeued += p->admin == REQUEUE;
		break;
	case A_SYNC:
		/* The hardest time to die, so it is not left to chance. */
		if (p->admin == REQUEUE && chance(w, 300))
			return leave(w, p, "killed before its sync");
		return sync_journal(w, p) ? leave(w, p, "done") : true;
	}
	p->pc++;
	return true;
}

bool
proc_step(struct world *w, struct proc *p)
{
	static bool (*const steps[])(struct world *, struct proc *) = {
		step_collector, step_committer, step_replayer, step_admin,
	};

	return steps[p->kind](w, p);
}

/*
 * Starting them.
 */

static struct proc *
new_proc(struct world *w, enum kind kind, int pc, struct journal *j)
{
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		struct proc *p = &w->procs[i];

		if (p->is_alive)
			continue;
		*p = (struct proc){
			.kind = kind, .pc = pc, .is_alive = true, .j = j,
			.run = MB_NONE,
		};
		return p;
	}
	return NULL;
}

static unsigned
n_free(const struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MAX_PROCS; i++)
		n += !w->procs[i].is_alive;
	return n;
}

static struct pipe *
new_pipe(struct world *w)
{
	struct pipe *pipe = w->pipes;

	/* Each is held by a process, and there are as many of them. */
	while (pipe->has_reader || pipe->has_writer)
		pipe++;
	*pipe = (struct pipe){ .has_reader = true, .has_writer = true };
	return pipe;
}

static void
start_pair(struct world *w, enum kind kind, int pc, struct journal *j,
    struct sink *sink, struct proc **from, struct proc **to)
{
	*from = new_proc(w, kind, pc, j);
	*to = new_proc(w, COMMITTER, M_HELLO, j);
	(*from)->out = (*to)->in = new_pipe(w);
	(*to)->sink = sink;
}

void
start_pipeline(struct world *w, struct journal *j, unsigned end,
    bool accepts_new)
{
	struct proc *collector, *committer;

	if (n_free(w) < 2)
		return;
	start_pair(w, COLLECTOR, C_ADOPT, j, &w->sinks[0], &collector,
	    &committer);
	collector->end = end;
	committer->accepts_new = accepts_new;
	trace(w, "start %s", proc_name(w, collector));
}

static void
start_replayer(struct world *w, struct journal *j, uint64_t batch,
    struct sink *sink, bool redoes)
{
	struct proc *replayer, *committer;

	if (n_free(w) < 2)
		return;
	start_pair(w, REPLAYER, R_READ, j, sink, &replayer, &committer);
	replayer->batch = batch;
	replayer->redoes = committer->redoes = redoes;
	trace(w, "start %s of %" PRIu64 " into %s%s", proc_name(w, replayer),
	    batch, sink->target, redoes ? ", again" : "");
}

void
start_replay(struct world *w, struct journal *j, uint64_t batch,
    struct sink *sink)
{
	start_replayer(w, j, batch, sink, false);
}

void
start_redo(struct world *w, struct journal *j, uint64_t batch)
{
	start_replayer(w, j, batch, &w->sinks[0], true);
}

void
start_admin(struct world *w, struct journal *j, uint64_t batch,
    enum admin admin)
{
	static const char *const names[] = { "park", "unpark", "requeue" };
	struct proc *p = n_free(w) > 0 ? new_proc(w, ADMIN, A_HARDEN, j) :
	    NULL;

	if (p == NULL)
		return;
	p->batch = batch;
	p->admin = admin;
	trace(w, "start %s: %s %" PRIu64, proc_name(w, p), names[admin],
	    batch);
}
