/*
 * exact.h - sums without rounding.
 *
 * A sum keeps what was added to it exactly: decimals as decimals, doubles as
 * the binary fractions that they are.  So neither the order of the numbers
 * nor how they were split among several sums that are merged later can show
 * in a result, and a result that is a double was rounded once.
 *
 * A sum is a plain struct, {0} is the empty one.  Most sums live in it alone;
 * where that becomes too narrow they take memory from the arena that is
 * passed to add and merge, which must be the same one all its life.
 */
#ifndef MB_BASE_EXACT_H
#define MB_BASE_EXACT_H

#include "base/number.h"

struct mb_exact_wide;

/* A sum of numbers, or of their squares. */
struct mb_exact {
	mb_int128 units;		/* of 10^-(places), or 10^-(2 places) */
	struct mb_exact_wide *wide;	/* what doesn't fit units; or NULL */
	uint8_t places;			/* the most of any number added */
	bool has_double;
};

struct mb_sum {
	struct mb_exact x;
	uint64_t n;			/* how many numbers were added */
};

void mb_sum_add(struct mb_sum *s, const struct mb_number *n,
    struct mb_arena *arena);
void mb_sum_merge(struct mb_sum *into, const struct mb_sum *from,
    struct mb_arena *arena);

/*
 * The sum: exact, with the most places of any number added, or a double if
 * one of them was.  MB_EDATA: more than 38 digits, or beyond the doubles.
 */
MB_CHECK int mb_sum_total(const struct mb_sum *s, struct mb_number *out,
    struct mb_err *err);

/* The exact quotient sum / n, rounded once.  n > 0. */
double mb_sum_mean(const struct mb_sum *s);

/* The sum of the numbers and of their squares. */
struct mb_moments {
	struct mb_sum sum;
	struct mb_exact squares;
};

void mb_moments_add(struct mb_moments *m, const struct mb_number *n,
    struct mb_arena *arena);
void mb_moments_merge(struct mb_moments *into, const struct mb_moments *from,
    struct mb_arena *arena);

/*
 * The variance of the sample, divided by n - 1, exact and rounded once; of
 * the deviation, its root, rounded once more.  n > 1.  MB_EDATA: beyond the
 * doubles.
 */
MB_CHECK int mb_moments_variance(const struct mb_moments *m, double *out,
    struct mb_err *err);
MB_CHECK int mb_moments_deviation(const struct mb_moments *m, double *out,
    struct mb_err *err);

#endif
