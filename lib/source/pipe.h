/*
 * pipe.h - standard input as a source: read, spooled, and cut from the spool.
 *
 * Each run of a pipe is a generation of its own, so that half a line at the
 * end of one is never glued to the next.  What an earlier run has spooled and
 * not planned goes first.  With `again` the sender repeats everything from
 * byte 0 each time: the generation goes on, and what the journal has is
 * skipped, and verified.
 */
#ifndef MB_SOURCE_PIPE_H
#define MB_SOURCE_PIPE_H

#include <stdbool.h>

#include "source/cut.h"
#include "source/emit.h"

struct mb_pipe;

/*
 * Take fd (borrowed) as a source.  `run` names the spool of what is new.
 */
MB_CHECK int mb_pipe_open(struct mb_pipe **out, int fd, unsigned rank,
    uint64_t run, bool again, struct mb_journal *j, struct mb_cutter *c,
    struct mb_emitter *e, struct mb_err *err);
void mb_pipe_close(struct mb_pipe *p);

/* Does it want to read, so that fd is worth polling? */
bool mb_pipe_wants(const struct mb_pipe *p);

/*
 * fd is readable: read some and spool it.
 * Errors: MB_EDATA: with `again`, it isn't what it was.
 */
MB_CHECK int mb_pipe_read(struct mb_pipe *p, struct mb_err *err);

/* Move on from what earlier runs have left.  Call it before each scan. */
MB_CHECK int mb_pipe_refresh(struct mb_pipe *p, struct mb_err *err);

/* The pipe has ended, and nothing of earlier runs is left: no more comes. */
bool mb_pipe_has_ended(const struct mb_pipe *p);

/* Is it still what earlier runs have left, all of which is here? */
bool mb_pipe_is_left(const struct mb_pipe *p);

/* What was scanned survives: call it before its plan is written. */
MB_CHECK int mb_pipe_sync(struct mb_pipe *p, struct mb_err *err);

/*
 * A plan that says `settled` was synced just now: let the emitter read from
 * what is open, and note what only settled batches needed.  Call it before
 * the journal is read again: what is read later may be taken back by a power
 * cut, and a batch whose `commit` is lost needs its bytes once more.
 */
void mb_pipe_planned(struct mb_pipe *p, uint64_t settled);

/* Remove what mb_pipe_planned has noted; best after the batch was emitted. */
MB_CHECK int mb_pipe_release(struct mb_pipe *p, struct mb_err *err);

#endif
