/*
 * follow.h - the files that mb-collect reads: found, opened, watched.
 *
 * An operand is a name, a glob or a directory.  Every file becomes an input
 * of the cutter.  inotify says when to look; what is true is asked of stat
 * and of the content.
 */
#ifndef MB_SOURCE_FOLLOW_H
#define MB_SOURCE_FOLLOW_H

#include <stdbool.h>

#include "source/cut.h"
#include "source/emit.h"

struct mb_follow;

struct mb_follow_options {
	bool follows;		/* -f: files may come and grow */
	bool is_final;		/* --final */
};

struct mb_follow *mb_follow_open(const struct mb_follow_options *options,
    struct mb_journal *j, struct mb_cutter *c, struct mb_emitter *e);
void mb_follow_close(struct mb_follow *f);

/*
 * Add an operand.  A name that never existed is MB_EUSAGE, unless files are
 * followed or the journal knows it.
 */
MB_CHECK int mb_follow_add(struct mb_follow *f, unsigned rank,
    const char *operand, struct mb_err *err);

/*
 * Look for files that have come, were replaced or truncated.  Cheap enough
 * to be called whenever mb-collect wakes.
 */
MB_CHECK int mb_follow_refresh(struct mb_follow *f, struct mb_err *err);

/* The input has become another generation: read it anew. */
MB_CHECK int mb_follow_renew(struct mb_follow *f, struct mb_input *in,
    struct mb_err *err);

/* A batch was planned: let the emitter read from what is open. */
void mb_follow_planned(struct mb_follow *f);

/* To be polled for POLLIN; -1 where there is no inotify.  drain: read it. */
int mb_follow_fd(const struct mb_follow *f);
void mb_follow_drain(struct mb_follow *f);

/*
 * Bytes behind the last newline that wait for their end; *name is the file.
 * 0: none.
 */
uint64_t mb_follow_rest(const struct mb_follow *f, const char **name);

/*
 * Without -f, when all was read: -1 if a gzip file ends in the middle of its
 * data (MB_EBUSY: there may be more later) or is damaged (MB_EDATA).  What
 * stands before is in batches.  Others than the first become notices.
 */
MB_CHECK int mb_follow_trouble(struct mb_follow *f, struct mb_err *err);

/* Something to tell the user, once, or NULL; borrowed until the next call. */
const char *mb_follow_notice(struct mb_follow *f);

#endif
