/*
 * replay.h - mb-replay's parts: what they share.
 *
 *	mb-replay.c		which batches; verify them, send them again
 *	replay_options.c	the options
 *	replay_table.c		the table of batches, and all of one
 *	replay_verbs.c		what changes the journal, by hand
 */
#ifndef MB_CMD_REPLAY_H
#define MB_CMD_REPLAY_H

#include "common.h"
#include "journal/journal.h"
#include "source/emit.h"

/* What becomes of batches by hand. */
enum verb { NO_VERB, PARK, UNPARK, REQUEUE };

struct config {
	const char *journal, *show;
	enum verb verb;
	bool prunes, repairs, says_yes;
	const char *verb_arg;
	bool json, failed, verify, is_plain, is_shared;
	struct mb_common common;
	char **numbers;
	int n_numbers;
};

struct replay {
	const struct config *cfg;
	struct mb_journal *journal;
	const struct mb_state *state;
	struct mb_emitter *emitter;
	struct mb_progress *progress;
	uint64_t *numbers;	/* asked for, rising in each operand */
	size_t n_numbers;
};

/*
 * replay_options.c
 */

extern const struct mb_cmd replay_cmd;

/* The command line.  0; 1: it was answered, as by --help; -1. */
MB_CHECK int replay_parse(struct config *cfg, int argc, char **argv,
    struct mb_err *err);

/* "17" or "17-20". */
MB_CHECK int replay_parse_range(const char *text, uint64_t *from,
    uint64_t *to, struct mb_err *err);

/*
 * mb-replay.c
 */

/* A batch that the journal must have: MB_EUSAGE. */
MB_CHECK int replay_find(const struct replay *r, uint64_t number,
    const struct mb_batch **out, struct mb_err *err);

/* Before anything is written: what we saw is durable, and we have a run. */
MB_CHECK int replay_enter(struct replay *r, char **argv, uint64_t *run,
    struct mb_err *err);

/*
 * replay_table.c
 */

/* All batches: a row each, or with --json an object. */
MB_CHECK int replay_list(struct replay *r, struct mb_err *err);

/* --show. */
MB_CHECK int replay_show(struct replay *r, struct mb_err *err);

/*
 * replay_verbs.c
 */

/* --park, --unpark and --requeue. */
MB_CHECK int replay_change(struct replay *r, char **argv, struct mb_err *err);

/* --prune.  No collector may be there: it decides what is kept. */
MB_CHECK int replay_prune(struct replay *r, char **argv, struct mb_err *err);

/* --repair.  The journal need not be one that can be opened. */
MB_CHECK int replay_repair(const struct config *cfg, char **argv,
    struct mb_err *err);

#endif
