/*
 * command.h - run the user's command for a batch.
 *
 * Its standard input is a file without a name that holds the whole batch: so
 * it can't take half of a batch for a whole one when we die, may read it or
 * not, and never keeps us waiting.  Standard output and error are ours.  The
 * arguments go to exec as they are.
 *
 * It runs as a process group of its own.  While it runs it holds the
 * pipeline lock, also when we have died: the next mb-collect waits for it.
 *
 *	started -> DONE		exit status 0; what it left behind lives on
 *	started -> FAILED	another status, or a signal
 *	started -> FAILED	time-out: TERM to the group, KILL after GRACE
 *
 * What is left of the group after a failure is killed, so that two attempts
 * never run at the same time.
 */
#ifndef MB_SOURCE_COMMAND_H
#define MB_SOURCE_COMMAND_H

#include <stdint.h>

#include "journal/journal.h"
#include "source/emit.h"

struct mb_command;

/*
 * argv is the command, env our environment; both are borrowed and end with
 * NULL.  What it is to inherit of our limits is what they are now.
 * timeout_us 0: none.
 *
 * MB_EUSAGE: there is no such program.
 */
MB_CHECK int mb_command_open(struct mb_command **out, char *const argv[],
    char *const env[], int64_t timeout_us, struct mb_err *err);
void mb_command_close(struct mb_command *c);

enum mb_command_result {
	MB_COMMAND_DONE,
	MB_COMMAND_FAILED,
	MB_COMMAND_GONE,	/* not run: the batch's bytes are not there */
};

struct mb_command_end {
	enum mb_command_result result;
	int status;		/* for the journal: 64, 65, or 75: try again */
	enum mb_code code;	/* for us, if nobody tries again */
	char why[300];		/* "load.sh: exit status 3" */
};

/*
 * Run it for batch b of the journal.  The emitter is plain; it is made to
 * write into the command's input.
 *
 * Errors, which say nothing of the batch: MB_EIO (no room for the input, no
 * process), MB_EUSAGE (the program can't be run).
 */
MB_CHECK int mb_command_run(struct mb_command *c, struct mb_journal *j,
    struct mb_emitter *e, const struct mb_batch *b,
    struct mb_command_end *end, struct mb_err *err);

#endif
