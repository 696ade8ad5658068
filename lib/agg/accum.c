#include "agg/accum.h"

#include <assert.h>

struct tally {			/* records, values, distinct */
	uint64_t n;
};

struct pick {			/* first, last */
	char *p;
	uint64_t ordinal;
	uint32_t len, cap;
	enum mb_kind kind;
	bool is_set;
};

struct range {
	struct mb_number least, greatest;
	uint8_t places;		/* the most seen */
	bool is_set;
};

size_t
mb_accum_size(enum mb_slot_kind kind)
{
	size_t size = 0;

	switch (kind) {
	case MB_SLOT_RECORDS:
	case MB_SLOT_VALUES:
	case MB_SLOT_DISTINCT:
		size = sizeof(struct tally);
		break;
	case MB_SLOT_FIRST:
	case MB_SLOT_LAST:
		size = sizeof(struct pick);
		break;
	case MB_SLOT_SUM:
		size = sizeof(struct mb_sum);
		break;
	case MB_SLOT_MOMENTS:
		size = sizeof(struct mb_moments);
		break;
	case MB_SLOT_RANGE:
		size = sizeof(struct range);
		break;
	}
	return (size + 15) & ~(size_t)15;
}

static void
set_pick(struct pick *pick, struct mb_value value, uint64_t ordinal,
    struct mb_arena *arena)
{
	if (value.len > pick->cap) {
		/* Room to grow: the last value changes with each record. */
		pick->cap = (uint32_t)value.len < 16 ? 16 :
		    (uint32_t)value.len + (uint32_t)value.len / 2;
		pick->p = mb_arena_alloc(arena, pick->cap);
	}
	if (value.len > 0)
		memcpy(pick->p, value.p, value.len);
	pick->len = (uint32_t)value.len;
	pick->kind = value.kind;
	pick->ordinal = ordinal;
	pick->is_set = true;
}

/* Of equal values the exact one stays, whatever came first. */
static bool
replaces(const struct mb_number *n, const struct mb_number *old, int sign)
{
	int c = mb_number_compare(n, old) * sign;

	return c > 0 || (c == 0 && old->is_double);
}

static void
extend_range(struct range *r, const struct mb_number *least,
    const struct mb_number *greatest, unsigned places)
{
	if (places > r->places)
		r->places = (uint8_t)places;
	if (!r->is_set || replaces(least, &r->least, -1))
		r->least = *least;
	if (!r->is_set || replaces(greatest, &r->greatest, 1))
		r->greatest = *greatest;
	r->is_set = true;
}

void
mb_accum_add(enum mb_slot_kind kind, void *state, struct mb_value value,
    const struct mb_number *number, uint64_t ordinal, struct mb_arena *arena)
{
	struct pick *pick = state;

	switch (kind) {
	case MB_SLOT_RECORDS:
		((struct tally *)state)->n++;
		break;
	case MB_SLOT_VALUES:
		((struct tally *)state)->n += value.kind != MB_NULL;
		break;
	case MB_SLOT_DISTINCT:
		break;
	case MB_SLOT_FIRST:
		if (value.kind != MB_NULL &&
		    (!pick->is_set || ordinal < pick->ordinal))
			set_pick(pick, value, ordinal, arena);
		break;
	case MB_SLOT_LAST:
		if (value.kind != MB_NULL &&
		    (!pick->is_set || ordinal >= pick->ordinal))
			set_pick(pick, value, ordinal, arena);
		break;
	case MB_SLOT_SUM:
		if (number != NULL)
			mb_sum_add(state, number, arena);
		break;
	case MB_SLOT_MOMENTS:
		if (number != NULL)
			mb_moments_add(state, number, arena);
		break;
	case MB_SLOT_RANGE:
		if (number != NULL)
			extend_range(state, number, number,
			    number->is_double ? 0 : number->places);
		break;
	}
}

void
mb_accum_merge(enum mb_slot_kind kind, void *into, const void *from,
    struct mb_arena *arena)
{
	const struct range *range = from;
	const struct pick *theirs = from;
	struct pick *ours = into;

	switch (kind) {
	case MB_SLOT_RECORDS:
	case MB_SLOT_VALUES:
		((struct tally *)into)->n += ((const struct tally *)from)->n;
		break;
	case MB_SLOT_DISTINCT:
		break;
	case MB_SLOT_FIRST:
		if (theirs->is_set &&
		    (!ours->is_set || theirs->ordinal < ours->ordinal))
			*ours = *theirs;
		break;
	case MB_SLOT_LAST:
		if (theirs->is_set &&
		    (!ours->is_set || theirs->ordinal > ours->ordinal))
			*ours = *theirs;
		break;
	case MB_SLOT_SUM:
		mb_sum_merge(into, from, arena);
		break;
	case MB_SLOT_MOMENTS:
		mb_moments_merge(into, from, arena);
		break;
	case MB_SLOT_RANGE:
		if (range->is_set)
			extend_range(into, &range->least, &range->greatest,
			    range->places);
		break;
	}
}

void
mb_accum_add_distinct(void *state)
{
	((struct tally *)state)->n++;
}

/* The text appended since `start` is a number. */
static struct mb_value
as_number(const struct mb_buf *text, size_t start)
{
	return (struct mb_value){ text->p + start, text->len - start,
		MB_NUMBER };
}

static void
bound(const struct range *r, enum mb_agg_op op, struct mb_buf *text)
{
	struct mb_number n = op == MB_MIN ? r->least : r->greatest;

	mb_number_widen(&n, r->places);
	mb_number_format(text, &n);
}

int
mb_accum_result(enum mb_agg_op op, enum mb_slot_kind kind,
    const void *state, struct mb_buf *text, struct mb_value *out,
    struct mb_err *err)
{
	/* Moments begin with their sum. */
	const struct mb_moments *moments = state;
	const struct mb_sum *sum = state;
	const struct range *range = state;
	const struct pick *pick = state;
	size_t start = text->len;
	struct mb_number n;
	double d;

	*out = mb_value_null();
	switch (op) {
	case MB_COUNT:
	case MB_DISTINCT:
		n = (struct mb_number){
			.units = (mb_int128)((const struct tally *)state)->n };
		mb_number_format(text, &n);
		break;
	case MB_FIRST:
	case MB_LAST:
		if (pick->is_set)
			*out = (struct mb_value){ pick->p, pick->len,
				pick->kind };
		if (pick->is_set && pick->len == 0)
			out->p = "";
		return 0;
	case MB_SUM:
		if (sum->n == 0)
			return 0;
		if (mb_sum_total(sum, &n, err) < 0)
			return -1;
		mb_number_format(text, &n);
		break;
	case MB_AVG:
		if (sum->n == 0)
			return 0;
		mb_double_format(text, mb_sum_mean(sum));
		break;
	case MB_VAR:
	case MB_STDDEV:
		assert(kind == MB_SLOT_MOMENTS);
		if (sum->n < 2)
			return 0;
		if ((op == MB_VAR ? mb_moments_variance(moments, &d, err) :
		    mb_moments_deviation(moments, &d, err)) < 0)
			return -1;
		mb_double_format(text, d);
		break;
	case MB_MIN:
	case MB_MAX:
		if (!range->is_set)
			return 0;
		bound(range, op, text);
		break;
	}
	assert(text->len - start <= MB_ACCUM_TEXT);
	*out = as_number(text, start);
	return 0;
}
