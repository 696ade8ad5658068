/*
 * mb-replay - the batches of a journal: list, show, verify, and send again.
 *
 * A replay is frames like those of mb-collect, marked as such.  What becomes
 * of them is mb-commit's to decide: a batch that is committed already changes
 * nothing.
 */
#include "replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "record/split.h"

static void
add_number(struct replay *r, uint64_t number)
{
	r->numbers = mb_realloc_array(r->numbers, r->n_numbers + 1,
	    sizeof *r->numbers);
	r->numbers[r->n_numbers++] = number;
}

int
replay_find(const struct replay *r, uint64_t number,
    const struct mb_batch **out, struct mb_err *err)
{
	*out = mb_state_batch(r->state, number);
	if (*out != NULL)
		return 0;
	if (number >= r->state->next_batch)
		return mb_fail(err, MB_EUSAGE, "batch %" PRIu64 ": not "
		    "planned yet; the next will be %" PRIu64, number,
		    r->state->next_batch);
	return mb_fail(err, MB_EUSAGE, "batch %" PRIu64 ": is not in the "
	    "journal any more (mb-collect --retain)", number);
}

/* Which batches are asked for. */
static int
choose(struct replay *r, struct mb_err *err)
{
	const struct config *cfg = r->cfg;
	const struct mb_batch *b;
	uint64_t from, to;

	for (int i = 0; i < cfg->n_numbers; i++) {
		if (replay_parse_range(cfg->numbers[i], &from, &to, err) < 0)
			return -1;
		for (; from <= to; from++) {
			if (replay_find(r, from, &b, err) < 0)
				return -1;
			add_number(r, from);
		}
	}
	if (cfg->n_numbers > 0)
		return 0;
	for (size_t i = 0; i < r->state->n_batches; i++) {
		b = &r->state->batches[i];
		if (!cfg->failed || b->state == MB_PARKED ||
		    (b->state == MB_PLANNED && b->n_fails > 0))
			add_number(r, b->number);
	}
	return 0;
}

/* 0 all is well, 1 something differs. */
static int
verify(struct replay *r, struct mb_err *err)
{
	static const char *const words[] = {
		[MB_EMIT_WHOLE] = "ok", [MB_EMIT_GONE] = "gone",
		[MB_EMIT_DIFFERS] = "differs",
	};
	enum mb_emit_result result;
	const struct mb_batch *b;
	const char *why;
	bool differs = false;

	for (size_t i = 0; i < r->n_numbers; i++) {
		if (replay_find(r, r->numbers[i], &b, err) < 0 ||
		    mb_verify_batch(r->emitter, b, &result, &why, err) < 0)
			return -1;
		differs = differs || result == MB_EMIT_DIFFERS;
		if (printf("%" PRIu64 " %s%s%s\n", b->number, words[result],
		    why != NULL ? ": " : "", why != NULL ? why : "") < 0)
			return mb_fail_sys(err, "standard output");
	}
	return differs;
}

int
replay_enter(struct replay *r, char **argv, uint64_t *run, struct mb_err *err)
{
	/* Seen is not durable, also for us. */
	if (mb_journal_harden(r->journal, err) < 0)
		return -1;
	return mb_journal_run(r->journal, run, "replay", MB_NONE, argv,
	    mb_clock_wall_ms(), err);
}

static int
replay(struct replay *r, char **argv, struct mb_err *err)
{
	struct mb_report report = { 0 };
	struct mb_err lost = { 0 };	/* the first batch that was not whole */
	enum mb_emit_result result;
	const struct mb_batch *b;
	const char *why;
	uint64_t run;
	int64_t started;

	if (replay_enter(r, argv, &run, err) < 0 ||
	    mb_emit_hello(r->emitter, run, true, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_numbers; i++) {
		started = mb_clock_steady_us();
		if (replay_find(r, r->numbers[i], &b, err) < 0 ||
		    mb_emit_batch(r->emitter, b, &result, &why, err) < 0)
			return -1;
		report.emit_us = mb_clock_steady_us() - started;
		mb_progress_batch(r->progress, r->state, b, &report);
		if (result != MB_EMIT_WHOLE)
			mb_fail(&lost, MB_EDATA, "batch %" PRIu64 ": %s",
			    b->number, why);
		if (mb_signal_count() > 0)
			break;
	}
	if (mb_emit_done(r->emitter, mb_exit_status(lost.code), err) < 0)
		return -1;
	*err = lost;
	return lost.code == MB_OK ? 0 : -1;
}

static int
run(const struct config *cfg, char **argv, struct mb_err *err)
{
	int flags = MB_JOURNAL_ALL | (cfg->is_shared ? MB_JOURNAL_SHARED : 0);
	struct replay r = { .cfg = cfg };
	const char *notice;
	int rc = -1;

	if (cfg->repairs)
		return replay_repair(cfg, argv, err);
	r.progress = mb_progress_open(&cfg->common, replay_cmd.name);
	if (mb_progress_open_journal(r.progress, &r.journal, cfg->journal,
	    flags, err) < 0)
		goto out;
	while ((notice = mb_journal_notice(r.journal)) != NULL)
		mb_progress_say(r.progress, notice);
	r.state = mb_journal_state(r.journal);
	if (mb_emitter_open(&r.emitter, r.journal, STDOUT_FILENO,
	    cfg->is_plain || isatty(STDOUT_FILENO), MB_RECORD_LIMIT, err) < 0)
		goto out;
	if (cfg->prunes)
		rc = replay_prune(&r, argv, err);
	else if (cfg->verb != NO_VERB)
		rc = replay_change(&r, argv, err);
	else if (cfg->show != NULL)
		rc = replay_show(&r, err);
	else if (cfg->verify)
		rc = choose(&r, err) < 0 ? -1 : verify(&r, err);
	else if (cfg->failed || cfg->n_numbers > 0)
		rc = choose(&r, err) < 0 ? -1 : replay(&r, argv, err);
	else
		rc = replay_list(&r, err);
out:
	mb_emitter_close(r.emitter);
	mb_journal_close(r.journal);
	mb_progress_close(r.progress);
	free(r.numbers);
	return rc;
}

int
main(int argc, char **argv)
{
	struct config cfg;
	struct mb_err err = { 0 };
	char **args = mb_realloc_array(NULL, (size_t)argc + 1, sizeof *args);
	int rc = 0, status;

	mb_common_start();
	memcpy(args, argv, ((size_t)argc + 1) * sizeof *args);
	if (mb_signals_open(&err) == 0 &&
	    replay_parse(&cfg, argc, argv, &err) == 0)
		rc = run(&cfg, args, &err);
	free(args);
	status = mb_finish(replay_cmd.name, &err);
	return status == 0 && rc > 0 ? 1 : status;
}
