/*
 * query.h - what mb-agg is asked for: -k, -a and --where.
 *
 * Add the options in any order, then finish once; after that a query is
 * read-only.  {0} is a valid empty query, which passes records through.
 *
 * An aggregate reads its result from a slot, and aggregates over the same
 * field share one: sum and avg are two views of the same sum.
 */
#ifndef MB_AGG_QUERY_H
#define MB_AGG_QUERY_H

#include "record/field.h"

enum mb_agg_op {
	MB_COUNT, MB_DISTINCT, MB_FIRST, MB_LAST, MB_SUM, MB_AVG, MB_MIN,
	MB_MAX, MB_VAR, MB_STDDEV
};

/* What a slot keeps of its field. */
enum mb_slot_kind {
	MB_SLOT_RECORDS,	/* how many records; no field */
	MB_SLOT_VALUES,		/* how many that aren't null */
	MB_SLOT_DISTINCT,	/* how many different ones */
	MB_SLOT_FIRST,
	MB_SLOT_LAST,
	MB_SLOT_SUM,
	MB_SLOT_MOMENTS,	/* sum, and sum of squares */
	MB_SLOT_RANGE,		/* least and greatest */
};

struct mb_slot {
	enum mb_slot_kind kind;
	size_t field;		/* in mb_query.fields */
	size_t number;		/* in mb_query.numbers, for sums and ranges */
	size_t off;		/* of its state, in a group's */
};

struct mb_key {
	const char *name;	/* of the column */
	size_t field;
};

struct mb_aggregate {
	enum mb_agg_op op;
	const char *name;
	const char *field_name;	/* for messages; NULL: none */
	size_t slot;
};

struct mb_query {
	struct mb_field_set fields;	/* all that are needed */
	struct mb_key *keys;
	size_t n_keys;
	struct mb_aggregate *aggs;
	size_t n_aggs;
	struct mb_slot *slots;
	size_t n_slots;
	size_t state_size;		/* of all slots of a group */
	size_t *numbers;		/* fields that must be numbers */
	size_t n_numbers;
	const char *where;		/* as written; NULL: all records */

	/* private */
	struct mb_arena arena;
};

/* Each may be repeated, and adds.  MB_EUSAGE. */
MB_CHECK int mb_query_add_keys(struct mb_query *q, const char *list,
    struct mb_err *err);
MB_CHECK int mb_query_add_aggregates(struct mb_query *q, const char *list,
    struct mb_err *err);

/* Borrows the text.  A second one is MB_EUSAGE. */
MB_CHECK int mb_query_set_where(struct mb_query *q, const char *text,
    struct mb_err *err);

/*
 * Lay out the slots; keys alone get a count.  `stamps` are the names of
 * columns that stand before the keys.  MB_EUSAGE: two columns alike.
 */
MB_CHECK int mb_query_finish(struct mb_query *q, const char *const *stamps,
    size_t n_stamps, struct mb_err *err);

/* Does it aggregate, or pass records through? */
bool mb_query_aggregates(const struct mb_query *q);

const char *mb_agg_op_name(enum mb_agg_op op);

void mb_query_release(struct mb_query *q);

#endif
