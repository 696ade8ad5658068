/*
 * tree.h - write a directory with files that is there as a whole or not at
 * all.
 *
 * What stage.h is for a file: all is written under a temporary name of its
 * own, ".mb-<random>.tmp", which is locked while the writer lives, is made
 * durable, and becomes visible under `name` in one step.  mb_stage_sweep takes
 * away what dead writers have left.
 *
 * One file is open at a time, however many there are.
 */
#ifndef MB_DURABLE_TREE_H
#define MB_DURABLE_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mb_tree;

/* Start the directory `name` in `dirfd`, which is borrowed. */
MB_CHECK int mb_tree_open(struct mb_tree **out, int dirfd, const char *name,
    struct mb_err *err);

/*
 * Append to the file at `path`, "a/b/file", below the directory; the
 * directories on the way are made.
 */
MB_CHECK int mb_tree_append(struct mb_tree *t, const char *path,
    const void *p, size_t len, struct mb_err *err);

/* How many bytes were appended so far. */
uint64_t mb_tree_size(const struct mb_tree *t);

/*
 * Make all of it durable, still under the temporary name.  Nothing may be
 * appended afterwards.  A failure is final: only close may follow.
 */
MB_CHECK int mb_tree_sync(struct mb_tree *t, struct mb_err *err);

/*
 * Make the directory visible without replacing; on success it survives power
 * loss.  Syncs first what is not yet synced.  Errors: those of
 * mb_stage_publish.
 */
MB_CHECK int mb_tree_publish(struct mb_tree *t, struct mb_err *err);

/*
 * The same in the place of a directory that is there, if one is; the two
 * change places in one step, and the old one is removed.
 */
MB_CHECK int mb_tree_replace(struct mb_tree *t, struct mb_err *err);

/* Free it; what was not published is removed.  NULL is fine. */
void mb_tree_close(struct mb_tree *t);

/* Remove a directory with all that is in it, as far as that goes. */
void mb_tree_remove(int dirfd, const char *name);

#endif
