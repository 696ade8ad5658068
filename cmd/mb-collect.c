/*
 * mb-collect - cut a stream of records into batches, and journal them.
 *
 *	bytes scanned -> batch taken, anchors verified [mb_cut_take]
 *	-> plan appended and synced [plan] -> frame written [mb_emit_batch]
 *
 * A plan is synced before its frame is written: whoever sees a batch can rely
 * on getting the same ranges again.
 */
#include "collect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/signals.h"
#include "journal/lines.h"

enum {
	LOOK_EVERY_US = 200000,	/* even if nothing tells us to */
	SETTLING_MS = 5,	/* by then a batch is mostly committed */
};

static void
say(struct collector *c, const char *text)
{
	mb_progress_say(c->progress, text);
}

void
collect_pass_notices(struct collector *c)
{
	const char *text;

	while ((text = mb_journal_notice(c->journal)) != NULL)
		say(c, text);
	while (c->follow != NULL &&
	    (text = mb_follow_notice(c->follow)) != NULL)
		say(c, text);
}

static void
say_of_batch(void *arg, uint64_t batch, const char *what)
{
	struct collector *c = arg;
	struct mb_buf text = { 0 };

	mb_buf_addf(&text, "batch %" PRIu64 ": %s", batch, what);
	say(c, mb_buf_str(&text));
	mb_buf_release(&text);
}

/* CMD for a batch; it says itself what it has to say. */
static int
run_command(struct collector *c, const struct mb_batch *b, struct mb_err *err)
{
	int64_t started = mb_clock_steady_us();
	struct mb_batch shown = {
		.number = b->number, .time_ms = b->time_ms, .run = b->run
	};
	int rc;

	/* The state forgets a batch when it is settled. */
	for (size_t i = 0; i < b->n_ranges; i++)
		mb_batch_add_range(&shown, &b->ranges[i]);
	rc = mb_job_do(&c->job, b->number, err);
	c->report.emit_us = mb_clock_steady_us() - started;
	if (rc > 0)
		mb_progress_batch(c->progress, mb_journal_state(c->journal),
		    &shown, &c->report);
	mb_batch_release(&shown);
	return rc < 0 ? -1 : 0;
}

static int
emit(struct collector *c, uint64_t number, struct mb_err *err)
{
	enum mb_emit_result result;
	int64_t started = mb_clock_steady_us();
	const struct mb_batch *b;
	const char *why;

	b = mb_state_batch(mb_journal_state(c->journal), number);
	if (b == NULL)
		return mb_fail(err, MB_EBUG, "batch %" PRIu64 " is not in "
		    "the state", number);
	if (c->command != NULL)
		return run_command(c, b, err);
	if (mb_emit_batch(c->emitter, b, &result, &why, err) < 0)
		return -1;
	if (result != MB_EMIT_WHOLE)
		say_of_batch(c, number, why);
	c->report.emit_us = mb_clock_steady_us() - started;
	b = mb_state_batch(mb_journal_state(c->journal), number);
	if (b != NULL)
		mb_progress_batch(c->progress, mb_journal_state(c->journal), b,
		    &c->report);
	return 0;
}

/* Poll until something happens to us; MB_EPIPE if our reader has gone. */
static int
rest_for(struct collector *c, int ms, struct mb_err *err)
{
	struct pollfd fds[2] = {
		{ .fd = mb_signal_fd(), .events = POLLIN },
		{ .fd = c->command != NULL ? -1 : STDOUT_FILENO },
	};

	if (poll(fds, 2, ms) < 0 && errno != EINTR)
		return mb_fail_sys(err, "poll");
	if (fds[1].revents & (POLLERR | POLLNVAL)) {
		errno = EPIPE;
		return mb_fail_sys(err, "standard output");
	}
	return 0;
}

/*
 * For mb_emitter_wait.  Who follows says it once, and waits until the bytes can
 * be read, or somebody parks the batch.
 */
static int
await_bytes(void *arg, uint64_t number, struct mb_err *err)
{
	enum { AGAIN_MS = 500 };
	struct collector *c = arg;
	struct mb_err trouble = *err;
	struct mb_buf text = { 0 };
	const struct mb_batch *b;

	if (!c->cfg->follow.follows || mb_signal_count() > 0)
		return -1;
	if (c->awaited != number) {
		mb_buf_addf(&text, "%s; tried again until it can be read, or "
		    "is parked", err->msg);
		say_of_batch(c, number, mb_buf_str(&text));
		mb_buf_release(&text);
		c->awaited = number;
	}
	*err = (struct mb_err){ 0 };
	if (rest_for(c, AGAIN_MS, err) < 0 ||
	    mb_journal_refresh(c->journal, err) < 0)
		return -1;
	if (mb_signal_count() > 0) {
		*err = trouble;
		return -1;
	}
	b = mb_state_batch(mb_journal_state(c->journal), number);
	return b != NULL && b->state == MB_PLANNED;
}

/* Every batch that was planned and not committed, in order. */
static int
emit_planned(struct collector *c, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	uint64_t *numbers = NULL;
	size_t n = 0;
	int rc = 0;

	numbers = mb_realloc_array(NULL, s->n_batches, sizeof *numbers);
	for (size_t i = 0; i < s->n_batches; i++)
		if (s->batches[i].state == MB_PLANNED)
			numbers[n++] = s->batches[i].number;
	for (size_t i = 0; i < n && rc == 0 && mb_signal_count() == 0; i++) {
		const struct mb_batch *b = mb_state_batch(s, numbers[i]);

		if (b != NULL && b->state == MB_PLANNED)
			rc = emit(c, numbers[i], err);
	}
	free(numbers);
	return rc;
}

/*
 * What was planned since the last call, in order: our own batch, and those
 * that mb-replay --requeue has planned in the meantime.  Of these we have only
 * seen the plan, and seen is not durable.
 */
static int
emit_new(struct collector *c, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	const struct mb_batch *b;
	bool is_durable = false;

	for (; c->next_emit < s->next_batch; c->next_emit++) {
		b = mb_state_batch(s, c->next_emit);
		if (b != NULL && b->run != c->run && !is_durable) {
			if (mb_journal_harden(c->journal, err) < 0)
				return -1;
			is_durable = true;
			b = mb_state_batch(s, c->next_emit);
		}
		if (b == NULL || b->state != MB_PLANNED)
			continue;
		if (emit(c, c->next_emit, err) < 0)
			return -1;
	}
	return 0;
}

/* What is set aside is never set aside in silence. */
static void
say_rejects(struct collector *c, const struct mb_batch *b)
{
	const struct mb_reject *first = b->rejects;
	const struct mb_generation *g;
	struct mb_buf text = { 0 };

	if (b->n_rejects == 0)
		return;
	g = mb_state_generation(mb_journal_state(c->journal),
	    first->generation);
	mb_buf_addf(&text, "%zu bad record%s rejected; the first: ",
	    b->n_rejects, b->n_rejects == 1 ? "" : "s");
	mb_show(&text, mb_str(g == NULL ? "?" : strcmp(g->source, "-") == 0 ?
	    "standard input" : g->source));
	mb_buf_addf(&text, ": byte %" PRIu64 ": %s", first->start,
	    first->reason);
	say_of_batch(c, b->number, mb_buf_str(&text));
	mb_buf_release(&text);
}

/* (2) in the life of a batch: the plan, appended and synced. */
static int
plan(struct collector *c, struct mb_batch *b, const struct mb_buf *sources,
    struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	struct mb_buf lines = { 0 };
	int64_t now = mb_clock_wall_ms();
	int rc = -1;

	if (c->pipe != NULL && mb_pipe_sync(c->pipe, err) < 0)
		return -1;
	if (mb_journal_enter(c->journal, err) < 0)
		return -1;
	if (s->collector_run != c->run) {
		mb_fail(err, MB_EBUSY, "%s: a later mb-collect has taken over",
		    mb_journal_path(c->journal));
		goto out;
	}
	b->number = s->next_batch;
	b->run = c->run;
	b->settled = s->settled;
	b->time_ms = now > s->time_ms ? now : s->time_ms;
	b->digest = mb_state_digest(s, b);
	mb_buf_add(&lines, sources->p, sources->len);
	mb_put_plan(&lines, b, mb_journal_synced(c->journal));
	rc = mb_journal_write(c->journal, &lines, err);
out:
	mb_journal_leave(c->journal);
	mb_buf_release(&lines);
	return rc < 0 ? -1 : mb_journal_sync(c->journal, err);
}

/*
 * Keep at most two batches beyond the last commit once a committer is there,
 * but wait for it a second at most: a filter may hold back an `end`.
 */
static int
wait_for_commits(struct collector *c, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	int64_t until = mb_clock_steady_us() + 1000000, nap_us = 100;

	for (;;) {
		uint64_t done = s->last_commit == MB_NONE ? 0 :
		    s->last_commit + 1;

		if (s->committer_of != c->run || s->next_batch < done + 2 ||
		    mb_clock_steady_us() >= until || mb_signal_count() > 0)
			return 0;
		mb_clock_sleep(nap_us);
		if (nap_us < 2000)
			nap_us *= 2;
		if (mb_journal_refresh(c->journal, err) < 0)
			return -1;
		if (mb_reader_has_gone(STDOUT_FILENO))
			return 0;	/* the next write will tell */
	}
}

/* Take what was scanned as a batch: 1, or 0 if a source has changed. */
static int
cut(struct collector *c, struct mb_err *err)
{
	struct mb_batch b = { 0 };
	struct mb_buf sources = { 0 };
	struct mb_input *changed;
	int64_t started;
	int rc = -1;

	if (wait_for_commits(c, err) < 0)
		return -1;
	c->report = (struct mb_report){ 0 };
	started = mb_clock_steady_us();
	rc = mb_cut_take(c->cutter, &b, &sources, &changed, err);
	if (rc == 0) {
		rc = mb_follow_renew(c->follow, changed, err);
		goto out;
	}
	if (rc < 0)
		goto out;
	c->report.take_us = mb_clock_steady_us() - started;
	started = mb_clock_steady_us();
	rc = plan(c, &b, &sources, err);
	c->report.plan_us = mb_clock_steady_us() - started;
	if (rc < 0)
		goto out;
	say_rejects(c, &b);
	mb_cut_planned(c->cutter);
	rc = mb_follow_planned(c->follow, b.settled, err);
	if (c->pipe != NULL)
		mb_pipe_planned(c->pipe, b.settled);
	if (rc == 0)
		rc = emit_new(c, err);
	if (rc == 0 && c->pipe != NULL)
		rc = mb_pipe_release(c->pipe, err);
	if (rc == 0)
		rc = mb_journal_tidy(c->journal, c->cfg->retain, err);
	if (rc == 0)
		rc = 1;
out:
	mb_batch_release(&b);
	mb_buf_release(&sources);
	return rc;
}

/* The next point of the grid, which is aligned to the epoch. */
static int64_t
next_tick(const struct config *cfg)
{
	int64_t wall = mb_clock_wall_us(), steady = mb_clock_steady_us();

	if (cfg->interval_us == 0)
		return steady;
	return steady + cfg->interval_us - wall % cfg->interval_us;
}

/*
 * poll, and where there is time read meanwhile what became of the last batch:
 * else that is done when the next line has come, and waits.
 */
static int
wait_after_batch(struct collector *c, struct pollfd *fds, int n, int ms,
    struct mb_err *err)
{
	int rc;

	if (!c->has_cut || ms <= SETTLING_MS)
		return poll(fds, (nfds_t)n, ms);
	c->has_cut = false;
	rc = poll(fds, (nfds_t)n, SETTLING_MS);
	if (rc != 0)
		return rc;
	if (mb_journal_refresh(c->journal, err) < 0)
		return -1;
	return poll(fds, (nfds_t)n, ms - SETTLING_MS);
}

/*
 * Sleep until there may be something to do: a tick, input on the pipe, a
 * change of a file, a signal.  MB_EPIPE if our reader has gone.
 */
static int
wait_for_work(struct collector *c, int64_t tick, struct mb_err *err)
{
	const struct config *cfg = c->cfg;
	struct pollfd fds[4];
	int64_t now = mb_clock_steady_us(), us = LOOK_EVERY_US;
	int n = 0, pipe_at = -1, inotify_at = -1;

	fds[n++] = (struct pollfd){ .fd = mb_signal_fd(), .events = POLLIN };
	/* With CMD nobody reads us. */
	fds[n++] = (struct pollfd){
		.fd = c->command != NULL ? -1 : STDOUT_FILENO
	};
	if (c->pipe != NULL && mb_pipe_wants(c->pipe)) {
		pipe_at = n;
		fds[n++] = (struct pollfd){ .fd = STDIN_FILENO,
			.events = POLLIN };
	}
	if (cfg->interval_us == 0 && mb_follow_fd(c->follow) >= 0) {
		inotify_at = n;
		fds[n++] = (struct pollfd){ .fd = mb_follow_fd(c->follow),
			.events = POLLIN };
	}
	if (cfg->interval_us > 0 && tick - now < us)
		us = tick > now ? tick - now : 0;
	n = wait_after_batch(c, fds, n, (int)((us + 999) / 1000), err);
	if (n < 0 && err->code == MB_OK && errno == EINTR)
		return 0;
	if (n < 0)
		return mb_fail_sys(err, "poll");
	if (n == 0)
		mb_cut_rest(c->cutter);
	if (fds[1].revents & (POLLERR | POLLNVAL)) {
		errno = EPIPE;
		return mb_fail_sys(err, "standard output");
	}
	if (inotify_at >= 0 && fds[inotify_at].revents != 0)
		mb_follow_drain(c->follow);
	if (pipe_at >= 0 && fds[pipe_at].revents != 0)
		return mb_pipe_read(c->pipe, err);
	return 0;
}

/* While the reader is slow; an error comes again when it is its turn. */
static bool
scan_ahead(void *arg)
{
	struct collector *c = arg;
	struct mb_err ignored = { 0 };

	return mb_cut_step(c->cutter, &ignored) == MB_CUT_MORE;
}

/* Scan what is there; 1 if the batch is full, 0 if no more bytes are here. */
static int
scan(struct collector *c, struct mb_err *err)
{
	int rc;

	if (c->pipe != NULL && mb_pipe_refresh(c->pipe, err) < 0)
		return -1;
	while ((rc = mb_cut_scan(c->cutter, err)) == MB_CUT_MORE)
		if (mb_signal_count() > 0)
			break;
	return rc < 0 ? -1 : rc == MB_CUT_FULL;
}

/*
 * The loop: batches are cut on the grid while something may still come, and
 * one after the other when everything is here.
 */
static int
run_batches(struct collector *c, struct mb_err *err)
{
	const struct config *cfg = c->cfg;
	int64_t tick = next_tick(cfg);
	enum mb_follow_more more;
	bool waits, is_due, is_full;
	int rc;

	while (mb_signal_count() == 0) {
		if (mb_follow_refresh(c->follow, err) < 0)
			return -1;
		collect_pass_notices(c);
		rc = scan(c, err);
		if (rc < 0)
			return -1;
		waits = c->follows ||
		    (c->pipe != NULL && !mb_pipe_has_ended(c->pipe));
		more = mb_follow_more(c->follow);
		/*
		 * Files that wait for a place among the open ones are due, and
		 * what an earlier run's pipe has left: ours isn't read before.
		 */
		is_due = !waits || more == MB_FOLLOW_EAGER ||
		    (c->pipe != NULL && mb_pipe_is_left(c->pipe)) ||
		    cfg->interval_us == 0 || mb_clock_steady_us() >= tick;
		if (rc > 0 || (is_due && mb_cut_has_batch(c->cutter))) {
			is_full = rc > 0;
			rc = cut(c, err);
			if (rc < 0)
				return -1;
			c->has_cut = true;
			/* Where nothing was taken it is due still. */
			if (rc > 0 && !is_full)
				tick = next_tick(cfg);
			if (cfg->once && rc > 0)
				return 0;
			continue;
		}
		if (!waits && more == MB_FOLLOW_NOTHING)
			return 0;
		if (!waits && more == MB_FOLLOW_EAGER)
			continue;
		if (mb_journal_refresh(c->journal, err) < 0 ||
		    emit_new(c, err) < 0)
			return -1;
		if (cfg->interval_us > 0 && mb_clock_steady_us() >= tick)
			tick = next_tick(cfg);
		if (wait_for_work(c, tick, err) < 0)
			return -1;
	}
	return 0;
}

static void
tell_rest(struct collector *c)
{
	struct mb_buf text = { 0 };
	const char *name;
	uint64_t rest = mb_follow_rest(c->follow, &name);

	if (rest == 0 || c->cfg->follow.follows || mb_signal_count() > 0)
		return;
	mb_show(&text, mb_str(name));
	mb_buf_addf(&text, ": %" PRIu64 " bytes after the last whole record "
	    "wait for their end (--final takes them now)", rest);
	say(c, mb_buf_str(&text));
	mb_buf_release(&text);
}

static int
collect(const struct config *cfg, char **argv, struct mb_err *err)
{
	struct collector c = {
		.cfg = cfg, .awaited = MB_NONE,
		.is_plain = cfg->command != NULL || isatty(STDOUT_FILENO),
	};
	struct mb_follow_options follow = cfg->follow;
	struct mb_err ignored = { 0 };
	bool has_said_hello = false;
	int rc = -1;

	/* Before anything is planned: is it there? */
	if (cfg->command != NULL && mb_command_open(&c.command, cfg->command,
	    environ, cfg->timeout_us, err) < 0)
		return -1;
	/* A full pipe of 64 KiB costs a wake-up for every chunk. */
	if (c.command == NULL)
		(void)fcntl(STDOUT_FILENO, F_SETPIPE_SZ, 1 << 20);
	follow.max_open = collect_allow_many_files();
	c.progress = mb_progress_open(&cfg->common, collect_cmd.name);
	if (collect_open_journal(&c, err) < 0 ||
	    collect_recover(&c, argv, err) < 0 ||
	    mb_emitter_open(&c.emitter, c.journal, STDOUT_FILENO, c.is_plain,
	    cfg->cut.record_limit, err) < 0)
		goto out;
	c.cutter = mb_cut_open(&cfg->cut, c.journal);
	mb_emitter_bring(c.emitter, mb_cut_parcel(c.cutter));
	mb_emitter_wait(c.emitter, await_bytes, &c);
	if (!cfg->once)
		mb_emitter_meanwhile(c.emitter, scan_ahead, &c);
	if (mb_follow_open(&c.follow, &follow, c.journal, c.cutter, c.emitter,
	    err) < 0)
		goto out;
	c.next_emit = mb_journal_state(c.journal)->next_batch;
	c.job = (struct mb_job){
		.journal = c.journal, .emitter = c.emitter,
		.command = c.command, .run = c.run,
		.max_retries = cfg->max_retries,
		.park_after = cfg->park_after, .say = say_of_batch, .arg = &c,
	};
	if (c.command == NULL) {
		if (mb_emit_hello(c.emitter, c.run, false, err) < 0)
			goto out;
		has_said_hello = true;
	}
	rc = emit_planned(&c, err);
	if (rc == 0 && mb_signal_count() == 0)
		rc = collect_add_sources(&c, err);
	if (rc == 0)
		rc = run_batches(&c, err);
	if (rc == 0)
		rc = mb_follow_trouble(c.follow, err);
	if (rc == 0)
		tell_rest(&c);
	collect_pass_notices(&c);
out:
	if (has_said_hello && mb_emit_done(c.emitter,
	    mb_exit_status(err->code), rc < 0 ? &ignored : err) < 0)
		rc = -1;
	mb_progress_close(c.progress);
	mb_pipe_close(c.pipe);
	mb_follow_close(c.follow);
	mb_cut_close(c.cutter);
	mb_emitter_close(c.emitter);
	mb_journal_close(c.journal);
	mb_command_close(c.command);
	return rc;
}

int
main(int argc, char **argv)
{
	struct config cfg;
	struct mb_err err = { 0 };
	char **args = mb_realloc_array(NULL, (size_t)argc + 1, sizeof *args);

	mb_common_start();
	/* getopt moves the operands; the journal gets the line as given. */
	memcpy(args, argv, ((size_t)argc + 1) * sizeof *args);
	if (mb_signals_open(&err) == 0 &&
	    collect_parse(&cfg, argc, argv, &err) == 0)
		(void)collect(&cfg, args, &err);
	free(args);
	return mb_finish(collect_cmd.name, &err);
}
