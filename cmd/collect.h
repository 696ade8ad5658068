/*
 * collect.h - mb-collect's parts: what they share.
 *
 *	mb-collect.c		the loop: batches are cut, planned, emitted
 *	collect_options.c	the options
 *	collect_start.c		from the journal's path to the first new batch
 */
#ifndef MB_CMD_COLLECT_H
#define MB_CMD_COLLECT_H

#include "common.h"
#include "journal/journal.h"
#include "source/cut.h"
#include "source/emit.h"
#include "source/follow.h"
#include "source/job.h"
#include "source/pipe.h"

struct config {
	const char *journal, *adopt;
	struct mb_cut_options cut;
	struct mb_follow_options follow;
	int64_t interval_us, wait_us;
	uint64_t retain;
	bool once, again, is_shared;
	int64_t timeout_us;
	uint64_t max_retries, park_after;
	const char *command_option;	/* given, and of use only for CMD */
	struct mb_common common;
	char **files;
	int n_files;
	char **command;			/* NULL: frames are written */
};

struct collector {
	const struct config *cfg;
	struct mb_journal *journal;
	uint64_t run;
	struct mb_cutter *cutter;
	struct mb_emitter *emitter;
	struct mb_command *command;	/* NULL: frames are written */
	struct mb_job job;
	struct mb_follow *follow;
	struct mb_pipe *pipe;		/* NULL: standard input isn't one */
	struct mb_progress *progress;
	uint64_t next_emit;		/* the first that was never emitted */
	uint64_t awaited;		/* whose bytes we said we wait for */
	bool follows;			/* -f, and there is what can grow */
	bool is_plain;			/* a terminal reads us */
	bool has_cut;			/* and not waited since */
	struct mb_report report;	/* of the batch in hand */
};

/*
 * collect_options.c
 */

extern const struct mb_cmd collect_cmd;

/* The command line.  0; 1: it was answered, as by --help; -1. */
MB_CHECK int collect_parse(struct config *cfg, int argc, char **argv,
    struct mb_err *err);

/*
 * collect_start.c
 */

/* How many files may be open at a time; our limit is raised for it. */
size_t collect_allow_many_files(void);

/* Open the journal, or make it; with --adopt from what the target knows. */
MB_CHECK int collect_open_journal(struct collector *c, struct mb_err *err);

/*
 * Recovery is start-up.  Be the journal's only collector, with a run of its
 * own; then no tool of a former pipeline is left, and all that the journal says
 * is durable.  `argv` is the line as given.  MB_EBUSY: another one lives.
 */
MB_CHECK int collect_recover(struct collector *c, char **argv,
    struct mb_err *err);

/* The operands, or standard input. */
MB_CHECK int collect_add_sources(struct collector *c, struct mb_err *err);

/*
 * mb-collect.c
 */

/* Tell the user what journal and files have to say. */
void collect_pass_notices(struct collector *c);

#endif
