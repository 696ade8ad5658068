/*
 * group.h - the groups of a batch, and their rows.
 *
 * Records go in one by one with rising ordinals; rows come out in the order
 * in which their groups first appeared, or sorted by their keys.  Groups that
 * were made of different records merge, or are united in the end, and nothing
 * tells afterwards.
 *
 * Keys are equal when their text is; null is a key of its own, and so is the
 * empty text.  The table is seeded: which keys collide can't be known
 * outside, and the order of the output doesn't depend on it.
 */
#ifndef MB_AGG_GROUP_H
#define MB_AGG_GROUP_H

#include "agg/query.h"
#include "base/number.h"
#include "record/rows.h"
#include "record/value.h"

struct mb_groups;

/* The query is borrowed.  Groups to be merged need not have one seed. */
void mb_groups_open(struct mb_groups **out, const struct mb_query *q,
    uint64_t seed);
void mb_groups_close(struct mb_groups *g);

/* Forget all groups; a large memory is given back. */
void mb_groups_reset(struct mb_groups *g);

/*
 * Add a record: values[i] is the query's field i.  True if it was added.
 * False: a value that must be a number isn't; nothing was added, and *culprit
 * is its field.
 */
bool mb_groups_add(struct mb_groups *g, const struct mb_value *values,
    uint64_t ordinal, size_t *culprit);

/*
 * Add rows; view i is the query's field i, and record r has the ordinal
 * `ordinal` + r.  Those with a number that only mb_groups_add can read, or
 * refuse, are moved to the odd ones instead.
 */
void mb_groups_add_rows(struct mb_groups *g, struct mb_rows *rows,
    uint64_t ordinal);

/*
 * Of the i-th field that must be numbers (mb_query.numbers): how many values
 * were there, and how many of them were numbers, since the last reset.
 */
struct mb_number_count {
	uint64_t n_values, n_numbers;
};
struct mb_number_count mb_groups_numbers(const struct mb_groups *g, size_t i);

/*
 * Take in the groups of `from`, which includes no others.  It is good for
 * nothing then but to be reset or closed; nothing of it is needed.
 */
void mb_groups_merge(struct mb_groups *g, struct mb_groups *from);

/*
 * The groups of `from`, which has the same seed, are to come out with ours.  It
 * must live, untouched, until ours have been reset or closed.
 */
void mb_groups_include(struct mb_groups *g, struct mb_groups *from);

/*
 * No record goes in any more.  Without keys there is one group, if empty.  Where
 * groups are many, as many threads as have made them put them together: MB_EIO
 * if there are none.
 */
MB_CHECK int mb_groups_finish(struct mb_groups *g, bool is_sorted,
    struct mb_err *err);

/*
 * The next rows, at most MB_ROWS: keys, then aggregates, those of row r into
 * values[r * stride …].  How many; 0: the end.  Borrowed until the next call.
 * MB_EDATA: a result is out of range; the message names column and group.
 */
MB_CHECK int mb_groups_next(struct mb_groups *g, struct mb_value *values,
    size_t stride, struct mb_err *err);

/*
 * The next rows, any number of them, appended to `out`, as csv of two columns or
 * more: `prefix`, with a delimiter at its end if it isn't empty, then keys and
 * aggregates.  How many, and the same errors; besides, MB_EIO: where groups
 * are many, threads make rows.  Until the end the prefix must stay, and be the
 * same.
 */
MB_CHECK int mb_groups_next_csv(struct mb_groups *g, struct mb_buf *out,
    struct mb_str prefix, char delimiter, struct mb_err *err);

/* How many there are; while records go in, too. */
size_t mb_groups_count(const struct mb_groups *g);

#endif
