/*
 * stage.h - write a file that is either whole or absent.
 *
 * The bytes go to a temporary name in the same directory and become visible
 * under `name` in one step: a reader sees nothing or everything, also after a
 * power loss.
 *
 * Every attempt has a temporary name of its own, ".mb-<random>.tmp", and
 * holds a flock(2) on it while it lives.  Two writers therefore never touch
 * each other's bytes, and whoever sweeps a directory can tell an attempt
 * that is under way from one whose writer has died.
 */
#ifndef MB_DURABLE_STAGE_H
#define MB_DURABLE_STAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "durable/sync.h"

struct mb_stage;

/*
 * Start the file `name` in `dirfd`, with permissions `mode` (umask applies).
 * dirfd is borrowed and must outlive the stage; the name is copied.
 */
MB_CHECK int mb_stage_open(struct mb_stage **out, int dirfd, const char *name,
    mode_t mode, struct mb_err *err);

/*
 * The same with the temporary name in another directory of the file system,
 * one that is ours to sweep.
 */
MB_CHECK int mb_stage_open_in(struct mb_stage **out, int tmp_dirfd, int dirfd,
    const char *name, mode_t mode, struct mb_err *err);

/*
 * Start a file ahead of its name, and make it durable, empty: what is written
 * to it later is synced in a third of the time that a new file takes.
 * mb_stage_name then says what it will be; 0: somebody has removed it since,
 * and only close may follow.
 */
MB_CHECK int mb_stage_prepare(struct mb_stage **out, int dirfd, mode_t mode,
    struct mb_err *err);
MB_CHECK int mb_stage_name(struct mb_stage *s, const char *name);

/* Append; buffered. */
MB_CHECK int mb_stage_write(struct mb_stage *s, const void *p, size_t len,
    struct mb_err *err);

/* How many bytes were written so far. */
uint64_t mb_stage_size(const struct mb_stage *s);

/*
 * Make the bytes durable, still under the temporary name.  Nothing may be
 * written afterwards.  A failure is final: only close may follow.
 */
MB_CHECK int mb_stage_sync(struct mb_stage *s, struct mb_err *err);

/*
 * All is written: begin to make it durable, beside what else is to be done.
 * sync then awaits it, and so does publish.
 */
MB_CHECK int mb_stage_sync_begin(struct mb_stage *s, struct mb_syncs *syncs,
    struct mb_err *err);

/*
 * Make the file visible without replacing; on success it survives power
 * loss.  Syncs the bytes first where mb_stage_sync has not.
 *
 * Errors: MB_EEXIST if `name` is already there (it is left alone); MB_EIO if
 * the system refused.  After MB_EIO the file may or may not be visible, so
 * publishing must be safe to repeat with a new stage.
 */
MB_CHECK int mb_stage_publish(struct mb_stage *s, struct mb_err *err);

/* The same, replacing what is there. */
MB_CHECK int mb_stage_replace(struct mb_stage *s, struct mb_err *err);

/*
 * The same as publish, but nothing is synced or awaited: for a file that
 * everybody can do without, and that nobody takes for whole when it is not;
 * or for one whose name leads nowhere before its bytes, and the directory,
 * were synced by the caller.  After a power loss it may be gone, empty or
 * torn.
 */
MB_CHECK int mb_stage_offer(struct mb_stage *s, struct mb_err *err);

/* Free the stage; what was not published is removed.  NULL is fine. */
void mb_stage_close(struct mb_stage *s);

/*
 * Remove what dead writers have left in the directory, also those of tree.h.
 * Attempts that are under way are left alone.
 */
MB_CHECK int mb_stage_sweep(int dirfd, struct mb_err *err);

/* Open the directory `path`, made with 0777 & ~umask (its parents are not). */
MB_CHECK int mb_dir_open(const char *path, mode_t mode, struct mb_err *err);

#endif
