/*
 * group_parts.h - what the parts of mb_groups share; for nobody else.
 *
 *	group.c		records and rows go in; groups merge
 *	group_unite.c	groups of several threads, where they stand
 *	group_order.c	in which order the groups come out
 *	group_rows.c	as rows
 *	group_csv.c	as rows of csv, by several threads if they are many
 */
#ifndef MB_AGG_GROUP_PARTS_H
#define MB_AGG_GROUP_PARTS_H

#include "agg/column.h"
#include "agg/distinct.h"
#include "agg/group.h"
#include "agg/keys.h"
#include "agg/totals.h"

/* Where groups come out, up to MB_ROWS of them at once. */
struct mb_group_cursor {
	const struct mb_groups *g;
	size_t span, at, n;	/* the next, and how many may still follow */

	/* In hand. */
	char *groups[MB_ROWS];
	struct mb_buf text;		/* of the results */
	struct mb_value *results;	/* by aggregate */
};

struct mb_groups {
	const struct mb_query *q;
	struct mb_keys *keys;
	size_t *key_fields;	/* in the query's order */
	size_t state_off;	/* in a group */
	struct mb_distinct distinct;	/* MB_SLOT_DISTINCT */
	struct mb_arena arena;	/* of states */
	struct mb_totals *totals;	/* that aren't in the states yet */

	/* Itself, and those whose groups come out with ours. */
	struct mb_groups **parts;
	size_t n_parts;

	/* Finished: in which order groups come out, sorted, or by spans. */
	uint32_t *order;	/* of our own; NULL: as they were added */
	struct mb_group_key **sorted;
	struct mb_buf spans;	/* struct span, … */
	size_t n_gone;		/* of the groups of all parts */
	struct mb_group_cursor cursor;
	struct mb_csv_pieces *pieces;	/* where threads go on from it */

	struct mb_number *numbers;	/* of the record in hand */
	bool *has_number;
	struct mb_number_count *counts;

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

/* Groups of one part that come out one after the other; some may be gone. */
struct span {
	const struct mb_groups *part;
	size_t begin, end;	/* in its order */
};

/* The totals into the states; group.c. */
void mb_groups_settle(struct mb_groups *g);

/* Of groups with the same keys one is to stay; group_unite.c. */
MB_CHECK int mb_groups_unite(struct mb_groups *g, struct mb_err *err);

/*
 * group_rows.c
 */

void mb_group_cursor_init(struct mb_group_cursor *c,
    const struct mb_groups *g);
void mb_group_cursor_release(struct mb_group_cursor *c);

/* The next n groups of `from`, some of which may be gone, are for `to`. */
void mb_group_cursor_deal(struct mb_group_cursor *from,
    struct mb_group_cursor *to, size_t n);

/* Take the next groups, at most MB_ROWS, in hand; how many. */
size_t mb_group_cursor_next(struct mb_group_cursor *c);

/* The results of the n groups in hand: n, or -1. */
MB_CHECK int mb_group_cursor_results(struct mb_group_cursor *c, size_t n,
    struct mb_err *err);

static inline const struct mb_group_key *
mb_group_cursor_keys(const struct mb_group_cursor *c, size_t row)
{
	return (const void *)c->groups[row];
}

static inline struct mb_value
mb_group_cursor_key(const struct mb_group_cursor *c, size_t row, size_t k)
{
	const struct mb_group_key *key = &mb_group_cursor_keys(c, row)[k];
	struct mb_str text = mb_group_key_text(key);

	return (struct mb_value){ text.p, text.len, mb_group_key_kind(key) };
}

/*
 * group_csv.c
 */

void mb_csv_pieces_close(struct mb_csv_pieces *all);

#endif
