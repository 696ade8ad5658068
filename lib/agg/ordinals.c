#include "agg/ordinals.h"

#include <assert.h>

enum { KEPT = 64 * 1024 };	/* bytes */

/* From a number on, up to the next run's, ordinals are the base and a step. */
struct run {
	uint64_t base;
	size_t first;
};

static const struct run *
runs_of(const struct mb_ordinals *o)
{
	return (const void *)o->runs.p;
}

static size_t
n_runs(const struct mb_ordinals *o)
{
	return o->runs.len / sizeof(struct run);
}

static uint64_t *
whole_of(const struct mb_ordinals *o)
{
	return (void *)o->whole.p;
}

static void
shrink(struct mb_region *r)
{
	if (r->size > KEPT)
		mb_region_release(r);
}

void
mb_ordinals_reset(struct mb_ordinals *o)
{
	mb_buf_reset(&o->runs);
	if (o->runs.cap > KEPT)
		mb_buf_release(&o->runs);
	mb_buf_release(&o->index);
	shrink(&o->steps);
	shrink(&o->whole);
	o->n = 0;
	o->greatest = 0;
	o->is_mixed = false;
}

void
mb_ordinals_release(struct mb_ordinals *o)
{
	mb_buf_release(&o->runs);
	mb_buf_release(&o->index);
	mb_region_release(&o->steps);
	mb_region_release(&o->whole);
	*o = (struct mb_ordinals){ 0 };
}

/* Twice as much as is needed, of what costs nothing until it is used. */
static void
reserve(struct mb_region *r, size_t size)
{
	if (size > r->size)
		mb_region_grow(r, 2 * size);
}

/* From here on each is kept whole. */
static void
mix(struct mb_ordinals *o)
{
	if (o->is_mixed)
		return;
	reserve(&o->whole, (o->n + 1) * sizeof(uint64_t));
	if (o->n > 0)
		mb_ordinals_read(o, 0, o->n, whole_of(o));
	o->is_mixed = true;
	mb_buf_release(&o->runs);
	mb_buf_release(&o->index);
	mb_region_release(&o->steps);
}

void
mb_ordinals_add_any(struct mb_ordinals *o, uint64_t ordinal)
{
	struct run run = { ordinal, o->n };

	if (o->n > 0 && ordinal < o->greatest)
		mix(o);
	if (ordinal > o->greatest)
		o->greatest = ordinal;
	if (o->is_mixed) {
		reserve(&o->whole, (o->n + 1) * sizeof ordinal);
		whole_of(o)[o->n++] = ordinal;
		return;
	}
	reserve(&o->steps, o->n + 1);
	if (o->n == 0 || ordinal - o->base > UINT8_MAX) {
		mb_buf_add(&o->runs, &run, sizeof run);
		o->base = ordinal;
	}
	o->steps.p[o->n++] = (char)(ordinal - o->base);
}

/*
 * The last of the runs low … high - 1 that begins at a number or before it;
 * the first of them does.
 */
static size_t
find_among(const struct run *runs, size_t low, size_t high, size_t number)
{
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (runs[middle].first <= number)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The index has the runs of each STRIDE-th number, and at its end the last. */
enum { STRIDE = 256 };

void
mb_ordinals_settle(struct mb_ordinals *o)
{
	size_t run = 0;

	if (o->is_mixed || o->n == 0 || o->index.len > 0)
		return;
	for (size_t i = 0; i < o->n; i += STRIDE) {
		while (run + 1 < n_runs(o) && runs_of(o)[run + 1].first <= i)
			run++;
		mb_buf_add(&o->index, &run, sizeof run);
	}
	run = n_runs(o) - 1;
	mb_buf_add(&o->index, &run, sizeof run);
}

/* The run of a number. */
static const struct run *
find_run(const struct mb_ordinals *o, size_t i)
{
	const size_t *index = (const void *)o->index.p;
	size_t low = 0, high = n_runs(o);

	if (o->index.len > 0) {
		low = index[i / STRIDE];
		high = index[i / STRIDE + 1] + 1;
	}
	return &runs_of(o)[find_among(runs_of(o), low, high, i)];
}

void
mb_ordinals_read(const struct mb_ordinals *o, size_t begin, size_t n,
    uint64_t *out)
{
	const struct run *run, *end;

	assert(n > 0 && begin + n <= o->n);
	if (o->is_mixed) {
		memcpy(out, whole_of(o) + begin, n * sizeof *out);
		return;
	}
	run = find_run(o, begin);
	end = runs_of(o) + n_runs(o);
	for (size_t i = begin; i < begin + n; i++) {
		if (run + 1 < end && run[1].first == i)
			run++;
		*out++ = run->base + (unsigned char)o->steps.p[i];
	}
}

void
mb_ordinals_lower(struct mb_ordinals *o, size_t i, uint64_t ordinal)
{
	mix(o);
	whole_of(o)[i] = ordinal;
}

void
mb_ordinals_forget(struct mb_ordinals *o, size_t end)
{
	if (o->is_mixed)
		mb_region_forget(&o->whole, 0, end * sizeof(uint64_t));
}
