/*
 * deltasmall.h - the small files that a journal has in a Delta table.
 *
 * It watches the log (state.h, observer), so that it knows at any version
 * which files of the journal are there: those that mb wrote for it, smaller
 * than they should be, whole (without a deletion vector).  They are told
 * apart by their tags:
 *
 *	mb.batch = ID/17	as it was committed: level 0
 *	mb.joined = ID/2	joined from files of the level below
 *
 * Files of one level and partition are joined when there are MB_DELTA_JOIN of
 * them, so that each row is written again once per level, and the number of
 * files grows with the logarithm of the number of batches.
 */
#ifndef MB_SINK_DELTASMALL_H
#define MB_SINK_DELTASMALL_H

#include "delta/state.h"

enum { MB_DELTA_JOIN = 16 };

struct mb_deltasmall;

struct mb_deltasmall_file {
	struct mb_str action;	/* the add, as in the log */
	const char *partition;	/* the object partitionValues */
	uint64_t size;
	unsigned level;
};

/* target: files of half of this size are large enough. */
void mb_deltasmall_open(struct mb_deltasmall **out, const char *journal,
    uint64_t target);
void mb_deltasmall_close(struct mb_deltasmall *s);

/* To be given to the state; borrowed. */
struct mb_delta_observer *mb_deltasmall_observer(struct mb_deltasmall *s);

/*
 * Files to be joined, of one level and partition, in the order in which they
 * came: as many as are needed for `target` or MB_DELTA_JOIN, or a quarter as
 * many if no more fit into `budget` bytes.  0: there are none.  v has room for
 * MB_DELTA_JOIN; borrowed until the log is read on.
 */
size_t mb_deltasmall_choose(const struct mb_deltasmall *s, uint64_t budget,
    struct mb_deltasmall_file *v);

/* Is a file of this add still there? */
bool mb_deltasmall_has(const struct mb_deltasmall *s, struct mb_str action);

#endif
