/*
 * group_parts.h - what the parts of mb_groups share; for nobody else.
 *
 *	group.c		records and rows go in; groups merge
 *	group_order.c	in which order the groups come out
 *	group_rows.c	as rows
 */
#ifndef MB_AGG_GROUP_PARTS_H
#define MB_AGG_GROUP_PARTS_H

#include "agg/column.h"
#include "agg/distinct.h"
#include "agg/group.h"
#include "agg/keys.h"
#include "agg/totals.h"

struct mb_groups {
	const struct mb_query *q;
	struct mb_keys *keys;
	size_t *key_fields;	/* in the query's order */
	size_t state_off;	/* in a group */
	struct mb_distinct distinct;	/* MB_SLOT_DISTINCT */
	struct mb_arena arena;	/* of states */
	struct mb_totals *totals;	/* that aren't in the states yet */
	uint32_t *order;	/* in which groups come out; NULL: as added */

	struct mb_number *numbers;	/* of the record in hand */
	bool *has_number;
	struct mb_number_count *counts;
	size_t next;			/* row to come out */
	struct mb_buf text;		/* of the rows in hand */
	struct mb_value *results;	/* of rows in hand, by aggregate */

	/* Rows in hand. */
	struct mb_column *columns;	/* by number */
	uint32_t found[MB_ROWS];	/* the group of each */
	char *groups[MB_ROWS];		/* where it is */
};

static inline void *
state_of(const struct mb_groups *g, struct mb_group_key *group, size_t slot)
{
	return (char *)group + g->state_off + g->q->slots[slot].off;
}

/* The totals into the states; group.c. */
void mb_groups_settle(struct mb_groups *g);

#endif
