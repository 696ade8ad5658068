/*
 * totals.h - what rows add to groups, as plain words near the processor.
 *
 * A state (accum.h) can take any number, and asks each time which it is.  Most
 * batches of rows hold numbers that are alike and small; these are added up
 * here, in words of 64 bits that can't overflow, and now and then the totals
 * are put into the states.  That doesn't show: states merge in any order.
 *
 *	mb_totals_begin		rows; first settle, if it says so
 *	mb_totals_add		the rows it began with
 *	…
 *	to settle: mb_totals_each, each put into its state; mb_totals_reset
 */
#ifndef MB_AGG_TOTALS_H
#define MB_AGG_TOTALS_H

#include "agg/accum.h"
#include "agg/column.h"
#include "agg/query.h"

struct mb_totals;

/* The query is borrowed. */
void mb_totals_open(struct mb_totals **out, const struct mb_query *q);
void mb_totals_close(struct mb_totals *t);

/* Forget them all. */
void mb_totals_reset(struct mb_totals *t);

/*
 * Before these rows, of n_groups groups in all.  Column i is the query's i-th
 * number, nothing in it odd.  False: what is there must be settled first.
 */
bool mb_totals_begin(struct mb_totals *t, const struct mb_rows *rows,
    const struct mb_column *columns, size_t n_groups);

/*
 * Add them; row i is of the group numbers[i].  Which slots were added is told
 * by slot: the others, and all if the groups don't fit, are left to the states.
 */
const bool *mb_totals_add(struct mb_totals *t, const struct mb_rows *rows,
    const struct mb_column *columns, size_t n_groups,
    const uint32_t *numbers);

/*
 * Call `put` for each slot of each group that has a total; several times, where
 * there are few groups.  A slot of kinds other than those that are added isn't
 * put.
 */
void mb_totals_each(const struct mb_totals *t, void (*put)(void *context,
    size_t group, size_t slot, const struct mb_total *total), void *context);

#endif
