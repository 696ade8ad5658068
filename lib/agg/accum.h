/*
 * accum.h - the state of one slot of one group.
 *
 * A state is mb_accum_size bytes, aligned to 8; zeros are the empty one.
 * Any number of states merge in any order into the one that a single pass
 * would have made: first and last go by the records' ordinals, sums don't
 * round.  Counting different values is group.c's, which keeps the values.
 *
 * Numbers are added up in a word, or two where there are squares, as decimals
 * of one scale.  What doesn't fit there (doubles, many digits) turns a state
 * into a wide one, in an arena: exact.h.  Which of the two a state is doesn't show in its result.
 *
 * What a state needs beyond its bytes comes from arenas, which must live as
 * long; what merge takes from the other state stays in the other's, which must
 * live as long, too, or be joined to ours.
 */
#ifndef MB_AGG_ACCUM_H
#define MB_AGG_ACCUM_H

#include "agg/column.h"
#include "agg/query.h"
#include "base/exact.h"
#include "record/value.h"

size_t mb_accum_size(enum mb_slot_kind kind);

/*
 * Add a record.  `value` is the slot's field, `number` what it reads as:
 * NULL if it is null.  Ordinals rise with the records of the input.
 */
void mb_accum_add(enum mb_slot_kind kind, void *state, struct mb_value value,
    const struct mb_number *number, uint64_t ordinal, struct mb_arena *arena);

/*
 * The same for rows at once, of one slot: the state of row i is `off` bytes
 * behind groups[i], its record's ordinal is `ordinal` + record[i].  `view` is
 * the slot's field, `column` the numbers in it; each NULL where the kind has
 * no use for it.
 */
void mb_accum_add_rows(enum mb_slot_kind kind, char *const *groups,
    size_t off, const struct mb_rows *rows, const struct mb_view *view,
    const struct mb_column *column, uint64_t ordinal, struct mb_arena *arena);

/* What n records, or values, come to; of numbers in units of 10^-scale. */
struct mb_total {
	uint64_t n;			/* > 0 */
	unsigned scale, places;		/* the most seen, at most the scale */
	int64_t sum;
	mb_int128 squares;		/* in units of 10^(-2 scale) */
	int64_t least, greatest;
};

/* Add them at once; for the kinds of counts and numbers. */
void mb_accum_add_total(enum mb_slot_kind kind, void *state,
    const struct mb_total *total, struct mb_arena *arena);

void mb_accum_merge(enum mb_slot_kind kind, void *into, const void *from,
    struct mb_arena *arena);

/* One more different value (MB_SLOT_DISTINCT). */
void mb_accum_add_distinct(void *state);

/*
 * What `op` says of n states, each `off` bytes behind its group.  Texts are
 * appended to `text`, and must not move, so that it must have n *
 * MB_ACCUM_TEXT bytes to spare; or they are in the states.  Those of numbers
 * begin in steps of so many bytes, all of which may be read.
 *
 * For how many it went well; fewer than n: the next one is out of range, and
 * the error says so.
 */
enum { MB_ACCUM_TEXT = 64 };

MB_CHECK size_t mb_accum_results(enum mb_agg_op op, enum mb_slot_kind kind,
    char *const *groups, size_t off, size_t n, struct mb_buf *text,
    struct mb_value *out, struct mb_err *err);

/*
 * What `op` says of one state, put at `to`, where there is room for
 * MB_ACCUM_TEXT bytes: behind it.  NULL: it isn't simply a number of 64 bits.
 */
char *mb_accum_put_plain(enum mb_agg_op op, enum mb_slot_kind kind,
    const void *state, char *to);

#endif
