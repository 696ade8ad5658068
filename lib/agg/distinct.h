/*
 * distinct.h - which values each slot of each group has seen.
 */
#ifndef MB_AGG_DISTINCT_H
#define MB_AGG_DISTINCT_H

#include <stdbool.h>

#include "agg/cells.h"
#include "record/rows.h"

/* A value, where it was seen first. */
struct mb_seen {
	uint64_t hash;
	uint32_t group, slot;
	size_t len;
	char text[];
};

/* With a seed, and else zeros, it is an empty one. */
struct mb_distinct {
	uint64_t seed;
	struct mb_cells cells;
	struct mb_seen **seen;
	size_t n, cap;
	struct mb_arena arena;
};

/* Is the value new to this slot of the group?  It now has been seen. */
bool mb_distinct_see(struct mb_distinct *d, uint32_t group, uint32_t slot,
    const char *p, size_t len);

/*
 * The same of rows, row i of the group groups[i], for the values of the view;
 * a null is never new.
 */
void mb_distinct_see_rows(struct mb_distinct *d, const uint32_t *groups,
    uint32_t slot, const struct mb_rows *rows, const struct mb_view *view,
    bool *is_new);

/*
 * The same of n <= MB_ROWS values that another one has seen; value i is one of
 * our group groups[i].
 */
void mb_distinct_see_others(struct mb_distinct *d,
    const struct mb_seen *const *others, const uint32_t *groups, size_t n,
    bool *is_new);

void mb_distinct_reset(struct mb_distinct *d);
void mb_distinct_release(struct mb_distinct *d);

#endif
