/*
 * follow.h - the files that mb-collect reads: found, opened, watched.
 *
 * An operand is a name, a glob or a directory.  Every path has a chain of
 * generations (chain.h), each an input of the cutter.  Only so many files as
 * descriptors allow are open; one in which nothing happens gives way to one
 * in which something does, and costs a few hundred bytes.
 */
#ifndef MB_SOURCE_FOLLOW_H
#define MB_SOURCE_FOLLOW_H

#include <stdbool.h>

#include "source/chain.h"
#include "source/cut.h"
#include "source/emit.h"

struct mb_follow;

MB_CHECK int mb_follow_open(struct mb_follow **out,
    const struct mb_follow_options *options, struct mb_journal *j,
    struct mb_cutter *c, struct mb_emitter *e, struct mb_err *err);
void mb_follow_close(struct mb_follow *f);

/*
 * Add an operand.  A name that never existed is MB_EUSAGE, unless files are
 * followed or the journal knows it.
 */
MB_CHECK int mb_follow_add(struct mb_follow *f, unsigned rank,
    const char *operand, struct mb_err *err);

/*
 * Look for files that have come, grown, moved on or were truncated, and open
 * what is to be read.  Cheap enough to be called whenever mb-collect wakes.
 * What has become final or lost is appended to the journal.
 */
MB_CHECK int mb_follow_refresh(struct mb_follow *f, struct mb_err *err);

/* The input has become another generation: read it anew. */
MB_CHECK int mb_follow_renew(struct mb_follow *f, struct mb_input *in,
    struct mb_err *err);

/*
 * A batch was planned, and its plan is synced: let the emitter read from what
 * is open.  settled: as the plan says; what only settled batches need of pins
 * is removed.
 */
MB_CHECK int mb_follow_planned(struct mb_follow *f, uint64_t settled,
    struct mb_err *err);

/*
 * Is there more than what is open now?  EAGER: refresh again at once, after
 * what was scanned is in a batch.  WAITING: soon, also without -f: half a line
 * in a file that was just rotated away, say.
 */
enum mb_follow_more { MB_FOLLOW_NOTHING, MB_FOLLOW_WAITING, MB_FOLLOW_EAGER };
enum mb_follow_more mb_follow_more(const struct mb_follow *f);

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
 * stands before is in batches.  Others than the first became notices.
 */
MB_CHECK int mb_follow_trouble(struct mb_follow *f, struct mb_err *err);

/* Something to tell the user, once, or NULL; borrowed until the next call. */
const char *mb_follow_notice(struct mb_follow *f);

#endif
