/*
 * journal.h - the file that all tools of a pipeline share.
 *
 * One append-only file of checked lines (mb-journal(5)) and, beside it, the
 * directory <journal>.d with the lock file and what else the pipeline keeps.
 *
 * Order of calls for a change, so that every writer decides on everything
 * that stands before its line:
 *
 *	mb_journal_enter	takes the append lock, reads what others wrote
 *	  look at mb_journal_state, decide
 *	mb_journal_write	appends lines and folds them into the state
 *	mb_journal_leave	drops the append lock
 *	mb_journal_sync		where the line must survive before one goes on
 *
 * Nobody reads input between enter and leave.
 *
 * Offsets.  A logical offset counts the bytes after the file's head (its
 * `open` line, and the checkpoint that a rewrite puts behind it), and goes on
 * counting over rewrites.  `synced` in plan and checkpoint lines is one.
 */
#ifndef MB_JOURNAL_JOURNAL_H
#define MB_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "durable/lock.h"
#include "journal/state.h"

struct mb_journal;

/* The bytes of <journal>.d/lock, in the order in which they are taken. */
enum mb_journal_lock {
	MB_LOCK_COLLECTOR,	/* mb-collect; its life */
	MB_LOCK_PIPELINE,	/* mb-agg, mb-commit: shared; from hello to exit */
	MB_LOCK_COMMIT,		/* one batch: "all staged" to its line appended */
	MB_LOCK_APPEND,		/* taken by mb_journal_enter */
};

enum {
	MB_JOURNAL_CREATE = 1,	/* make it if it isn't there */
	MB_JOURNAL_ALL = 2,	/* keep settled batches in the state too */
	MB_JOURNAL_SHARED = 4,	/* also on a network file system */
};

/*
 * Open the journal at `path` and read it.  A torn tail is cut.
 *
 * Errors: MB_EUSAGE (not there, or on a network file system), MB_ECORRUPT
 * (damaged, with the offset; or <journal>.d belongs to another journal),
 * MB_EIO.
 */
MB_CHECK int mb_journal_open(struct mb_journal **out, const char *path,
    int flags, struct mb_err *err);
void mb_journal_close(struct mb_journal *j);

/*
 * The same; while it waits for another process that does something there, it
 * calls `waits` once, with the path as given, after two seconds of that.  (The
 * kernel doesn't tell which process has such a lock.)
 */
MB_CHECK int mb_journal_open_telling(struct mb_journal **out,
    const char *path, int flags, void (*waits)(void *arg, const char *path),
    void *arg, struct mb_err *err);

/*
 * As mb_journal_open with MB_JOURNAL_CREATE; but a journal that isn't there is
 * not a new one: it has this state, and its id: 1.  One that is there must be
 * it, and is left as it is: 0.  MB_EUSAGE: another one is there.
 */
MB_CHECK int mb_journal_adopt(struct mb_journal **out, const char *path,
    int flags, const struct mb_state *s, struct mb_err *err);

/* The absolute path of a journal that need not be there; the caller frees. */
MB_CHECK int mb_journal_absolute(char **out, const char *path,
    struct mb_err *err);

const struct mb_state *mb_journal_state(const struct mb_journal *j);
const char *mb_journal_path(const struct mb_journal *j);	/* absolute */

/*
 * A message about a torn tail that was cut since the last call, or NULL.
 * Borrowed until the next call.
 */
const char *mb_journal_notice(struct mb_journal *j);

/* mb_lock_take on the journal's lock file: 1 held, 0 busy. */
MB_CHECK int mb_journal_lock(struct mb_journal *j, enum mb_journal_lock byte,
    bool is_shared, int64_t wait_us, struct mb_err *err);
void mb_journal_unlock(struct mb_journal *j, enum mb_journal_lock byte);

/*
 * A lock of its own on MB_LOCK_PIPELINE, shared, for a process to inherit: it
 * lasts as long as that one has the descriptor, whatever becomes of us.  The
 * caller drops and closes it.
 */
MB_CHECK int mb_journal_lend_pipeline(struct mb_journal *j,
    struct mb_lock **out, struct mb_err *err);

/* Read what others have appended, without a lock; cuts nothing. */
MB_CHECK int mb_journal_refresh(struct mb_journal *j, struct mb_err *err);

MB_CHECK int mb_journal_enter(struct mb_journal *j, struct mb_err *err);
/*
 * Fold sealed lines into the state and append them, between enter and leave.
 * On failure a part of them may be in the file, as a torn tail; only leave
 * and close may follow.
 */
MB_CHECK int mb_journal_write(struct mb_journal *j, const struct mb_buf *lines,
    struct mb_err *err);
void mb_journal_leave(struct mb_journal *j);

/* All that was read or written so far survives a power loss. */
MB_CHECK int mb_journal_sync(struct mb_journal *j, struct mb_err *err);

/* Enter, write, leave. */
MB_CHECK int mb_journal_append(struct mb_journal *j,
    const struct mb_buf *lines, struct mb_err *err);

/* The logical offset up to which we know the file to be synced. */
uint64_t mb_journal_synced(const struct mb_journal *j);

/*
 * Seen is not durable: write again, in place, what no line vouches for, and
 * sync it.  To be called before one acts on what was read at the start.
 */
MB_CHECK int mb_journal_harden(struct mb_journal *j, struct mb_err *err);

/*
 * Append a `run` line: role "collect", "agg", "commit" or "replay"; `of` is
 * the collector's run that this one belongs to, or MB_NONE.  *run gets the
 * number.
 */
MB_CHECK int mb_journal_run(struct mb_journal *j, uint64_t *run,
    const char *role, uint64_t of, char *const argv[], int64_t time_ms,
    struct mb_err *err);

/*
 * For the collector, now and then: append a checkpoint when enough lines
 * follow the last one, and rewrite the file when more than twice `retain`
 * committed batches are in it (MB_NONE: never).
 */
MB_CHECK int mb_journal_tidy(struct mb_journal *j, uint64_t retain,
    struct mb_err *err);

/* <journal>.d; borrowed. */
int mb_journal_dirfd(const struct mb_journal *j);

/*
 * Rewrite the file now, without what is settled but for the last such batch;
 * the collector lock must be held.  1; 0: there is nothing to drop.
 */
MB_CHECK int mb_journal_prune(struct mb_journal *j, struct mb_err *err);

/* Open (and make) a directory in <journal>.d; the caller closes it. */
MB_CHECK int mb_journal_subdir(struct mb_journal *j, const char *name,
    struct mb_err *err);

/*
 * Which journal a tool uses: the option, else $MB_JOURNAL, else the path in
 * the frame if that file belongs to us; NULL if none of them.
 */
const char *mb_journal_choose(const char *option, const char *environment,
    const char *frame);

#endif
