/*
 * ordinals.h - in which record was each group first seen?
 *
 * Groups are numbered from 0.  As long as the ordinals rise with the numbers,
 * as they do where one thread reads ordinary records, a group costs a byte and
 * a little; once one is out of order each costs eight.
 */
#ifndef MB_AGG_ORDINALS_H
#define MB_AGG_ORDINALS_H

#include <stdbool.h>

#include "base/mem.h"

/* Zeros are an empty one. */
struct mb_ordinals {
	size_t n;
	uint64_t greatest;	/* none is greater */
	bool is_mixed;		/* they don't rise, or needn't */

	/* private */
	uint64_t base;		/* of the last run */
	struct mb_buf runs;	/* not mixed: struct run, … */
	struct mb_buf index;	/* … settled: where to look for them … */
	struct mb_region steps;	/* … and by number the byte to add */
	struct mb_region whole;	/* mixed: by number */
};

/* Forget all; a large memory is given back. */
void mb_ordinals_reset(struct mb_ordinals *o);
void mb_ordinals_release(struct mb_ordinals *o);

/* Of the next number, whatever it is. */
void mb_ordinals_add_any(struct mb_ordinals *o, uint64_t ordinal);

/* The same, where it is mostly a little greater than the one before. */
static inline void
mb_ordinals_add(struct mb_ordinals *o, uint64_t ordinal)
{
	if (o->n < o->steps.size && ordinal >= o->greatest &&
	    ordinal - o->base <= UINT8_MAX && o->n > 0) {
		o->steps.p[o->n++] = (char)(ordinal - o->base);
		o->greatest = ordinal;
	} else {
		mb_ordinals_add_any(o, ordinal);
	}
}

/* Those of n > 0 numbers from `begin` on. */
void mb_ordinals_read(const struct mb_ordinals *o, size_t begin, size_t n,
    uint64_t *out);

/* A smaller one than it was. */
void mb_ordinals_lower(struct mb_ordinals *o, size_t i, uint64_t ordinal);

/* Those before `end` won't be asked for again; their memory is given back. */
void mb_ordinals_forget(struct mb_ordinals *o, size_t end);

/* None will be added; those of single numbers are found faster from here on. */
void mb_ordinals_settle(struct mb_ordinals *o);

/* Number i will soon be asked for: load it, and don't wait. */
static inline void
mb_ordinals_touch(const struct mb_ordinals *o, size_t i)
{
	(void)*(const volatile char *)(o->is_mixed ? o->whole.p +
	    i * sizeof(uint64_t) : o->steps.p + i);
}

static inline uint64_t
mb_ordinals_at(const struct mb_ordinals *o, size_t i)
{
	uint64_t ordinal;

	if (o->is_mixed)
		return ((const uint64_t *)(const void *)o->whole.p)[i];
	mb_ordinals_read(o, i, 1, &ordinal);
	return ordinal;
}

#endif
