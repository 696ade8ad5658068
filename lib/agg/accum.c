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

/*
 * Sums, moments and ranges of decimals.  `head` tells what is in the others:
 *
 *	0			nothing
 *	MB_WIDE in its top byte	a pointer to the wide state
 *	else			from the top: a byte of scale + 1; a byte of
 *				the most places seen, at most the scale; 48
 *				bits of how many values
 *
 * Units are of 10^-scale, in squares of 10^-(2 scale).  So many values don't
 * come.  A sum has 64 bits: where there are many groups, memory is what they
 * cost, and few records go into each.
 */
struct decimals {
	uint64_t head;
	union {
		struct {
			int64_t least, greatest;
		} range;
		int64_t sum;
		struct {		/* halves of 128 bits */
			uint64_t low, high;
			uint64_t square_low, square_high;
		} moments;
		void *wide;
	};
};

enum { WIDE = 255, SCALE = 56, MOST = 48, MAX_SCALE = 18 };

struct wide_range {
	struct mb_number least, greatest;
	uint8_t places;		/* the most seen */
	bool is_set;
};

size_t
mb_accum_size(enum mb_slot_kind kind)
{
	switch (kind) {
	case MB_SLOT_RECORDS:
	case MB_SLOT_VALUES:
	case MB_SLOT_DISTINCT:
		return sizeof(struct tally);
	case MB_SLOT_FIRST:
	case MB_SLOT_LAST:
		return sizeof(struct pick);
	case MB_SLOT_SUM:
		return offsetof(struct decimals, sum) + sizeof(int64_t);
	case MB_SLOT_RANGE:
		return offsetof(struct decimals, range.greatest) +
		    sizeof(int64_t);
	case MB_SLOT_MOMENTS:
		break;
	}
	return sizeof(struct decimals);
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
extend_range(struct wide_range *r, const struct mb_number *least,
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

/*
 * Decimals, narrow and wide.
 */

static inline unsigned
scale_of(uint64_t head)
{
	return (unsigned)(head >> SCALE) - 1;
}

static inline unsigned
most_of(uint64_t head)
{
	return (unsigned)(head >> MOST) & 0xff;
}

static inline bool
is_wide(const struct decimals *d)
{
	return d->head >> SCALE == WIDE;
}

static inline uint64_t
count_of(const struct decimals *d)
{
	return d->head & (((uint64_t)1 << MOST) - 1);
}

static inline mb_int128
join(uint64_t low, uint64_t high)
{
	return (mb_int128)((mb_uint128)high << 64 | low);
}

/* Of a sum, or of moments. */
static inline mb_int128
sum_of(enum mb_slot_kind kind, const struct decimals *d)
{
	return kind == MB_SLOT_SUM ? d->sum :
	    join(d->moments.low, d->moments.high);
}

static inline mb_int128
squares_of(const struct decimals *d)
{
	return join(d->moments.square_low, d->moments.square_high);
}

/* False, and nothing done, if it doesn't fit. */
static inline bool
set_sum(enum mb_slot_kind kind, struct decimals *d, mb_int128 units)
{
	if (kind == MB_SLOT_SUM) {
		if (units != (int64_t)units)
			return false;
		d->sum = (int64_t)units;
	} else {
		d->moments.low = (uint64_t)units;
		d->moments.high = (uint64_t)(units >> 64);
	}
	return true;
}

static inline void
set_squares(struct decimals *d, mb_int128 units)
{
	d->moments.square_low = (uint64_t)units;
	d->moments.square_high = (uint64_t)(units >> 64);
}

/* Units with only so many places as were seen; there is no remainder. */
static mb_int128
to_places(const struct decimals *d, mb_int128 units, unsigned power)
{
	unsigned n = power * (scale_of(d->head) - most_of(d->head));

	return n == 0 ? units : units / (mb_int128)mb_power_of_ten(n);
}

/* The wide state of what a narrow one holds. */
static struct mb_sum
to_sum(enum mb_slot_kind kind, const struct decimals *d)
{
	if (is_wide(d))
		return *(const struct mb_sum *)d->wide;
	if (d->head == 0)
		return (struct mb_sum){ 0 };
	return (struct mb_sum){ .n = count_of(d), .x = {
		.units = to_places(d, sum_of(kind, d), 1),
		.places = (uint8_t)most_of(d->head) } };
}

static struct mb_moments
to_moments(const struct decimals *d)
{
	if (is_wide(d))
		return *(const struct mb_moments *)d->wide;
	if (d->head == 0)
		return (struct mb_moments){ 0 };
	return (struct mb_moments){ .sum = to_sum(MB_SLOT_MOMENTS, d), .squares = {
		.units = to_places(d, squares_of(d), 2),
		.places = (uint8_t)most_of(d->head) } };
}

static struct wide_range
to_range(const struct decimals *d)
{
	uint8_t most = (uint8_t)most_of(d->head);

	if (is_wide(d))
		return *(const struct wide_range *)d->wide;
	if (d->head == 0)
		return (struct wide_range){ 0 };
	return (struct wide_range){ .is_set = true, .places = most,
		.least = { .places = most,
		    .units = to_places(d, d->range.least, 1) },
		.greatest = { .places = most,
		    .units = to_places(d, d->range.greatest, 1) } };
}

static void
widen(enum mb_slot_kind kind, struct decimals *d, struct mb_arena *arena)
{
	void *wide;

	if (is_wide(d))
		return;
	if (kind == MB_SLOT_SUM) {
		wide = mb_arena_alloc(arena, sizeof(struct mb_sum));
		*(struct mb_sum *)wide = to_sum(kind, d);
	} else if (kind == MB_SLOT_MOMENTS) {
		wide = mb_arena_alloc(arena, sizeof(struct mb_moments));
		*(struct mb_moments *)wide = to_moments(d);
	} else {
		wide = mb_arena_alloc(arena, sizeof(struct wide_range));
		*(struct wide_range *)wide = to_range(d);
	}
	d->wide = wide;
	d->head = (uint64_t)WIDE << SCALE;
}

/* *v times 10^n, n <= MB_DIGITS; false if that exceeds 128 bits. */
static bool
scale_up(mb_int128 *v, unsigned n)
{
	return !__builtin_mul_overflow(*v, (mb_int128)mb_power_of_ten(n), v);
}

/* To a larger scale; false, and nothing done, if it doesn't fit. */
static bool
rescale(enum mb_slot_kind kind, struct decimals *d, unsigned scale)
{
	unsigned n = scale - scale_of(d->head);
	mb_int128 sum, squares = 0, least, greatest;

	if (kind == MB_SLOT_RANGE) {
		least = d->range.least;
		greatest = d->range.greatest;
		if (!scale_up(&least, n) || !scale_up(&greatest, n) ||
		    least != (int64_t)least || greatest != (int64_t)greatest)
			return false;
		d->range.least = (int64_t)least;
		d->range.greatest = (int64_t)greatest;
	} else {
		sum = sum_of(kind, d);
		if (kind == MB_SLOT_MOMENTS)
			squares = squares_of(d);
		if (!scale_up(&sum, n) || !scale_up(&squares, 2 * n) ||
		    !set_sum(kind, d, sum))
			return false;
		if (kind == MB_SLOT_MOMENTS)
			set_squares(d, squares);
	}
	d->head += (uint64_t)n << SCALE;
	return true;
}

/*
 * Add narrow to narrow, of one scale; false, and nothing done, if it doesn't
 * fit.
 */
static bool
add_narrow(enum mb_slot_kind kind, struct decimals *d,
    const struct decimals *more)
{
	mb_int128 sum, squares = 0;
	unsigned most = most_of(more->head);

	if (kind == MB_SLOT_RANGE) {
		if (more->range.least < d->range.least)
			d->range.least = more->range.least;
		if (more->range.greatest > d->range.greatest)
			d->range.greatest = more->range.greatest;
	} else {
		if (__builtin_add_overflow(sum_of(kind, d),
		    sum_of(kind, more), &sum) ||
		    (kind == MB_SLOT_MOMENTS && __builtin_add_overflow(
		    squares_of(d), squares_of(more), &squares)) ||
		    !set_sum(kind, d, sum))
			return false;
		if (kind == MB_SLOT_MOMENTS)
			set_squares(d, squares);
	}
	d->head += count_of(more);
	if (most > most_of(d->head))
		d->head += (uint64_t)(most - most_of(d->head)) << MOST;
	return true;
}

static void
merge_decimals(enum mb_slot_kind kind, struct decimals *into,
    const struct decimals *from, struct mb_arena *arena)
{
	struct decimals copy;
	struct mb_moments moments;
	struct wide_range range;
	struct mb_sum sum;

	if (from->head == 0)
		return;
	if (into->head == 0 && !is_wide(from)) {
		memcpy(into, from, mb_accum_size(kind));
		return;
	}
	if (!is_wide(into) && !is_wide(from)) {
		unsigned scale = scale_of(from->head);

		memcpy(&copy, from, mb_accum_size(kind));
		if ((scale_of(into->head) < scale ?
		    rescale(kind, into, scale) :
		    rescale(kind, &copy, scale_of(into->head))) &&
		    add_narrow(kind, into, &copy))
			return;
	}
	widen(kind, into, arena);
	switch (kind) {
	case MB_SLOT_SUM:
		sum = to_sum(kind, from);
		mb_sum_merge(into->wide, &sum, arena);
		break;
	case MB_SLOT_MOMENTS:
		moments = to_moments(from);
		mb_moments_merge(into->wide, &moments, arena);
		break;
	default:
		range = to_range(from);
		extend_range(into->wide, &range.least, &range.greatest,
		    range.places);
	}
}

/*
 * The sum, whose head is this one, grows by units of its own scale; false if
 * that doesn't fit.
 */
static inline bool
grow_sum(struct decimals *d, uint64_t head, int64_t units)
{
	int64_t sum;

	if (__builtin_add_overflow(d->sum, units, &sum))
		return false;
	d->sum = sum;
	d->head = head + 1;
	return true;
}

/*
 * 128 bits grow; false if that doesn't fit.  By halves, which compilers keep
 * in registers; the upper one of `more` has a bit to spare.
 */
static inline bool
grow_halves(uint64_t *low, uint64_t *high, mb_int128 more)
{
	bool carry = __builtin_add_overflow(*low, (uint64_t)more, low);

	return !__builtin_add_overflow((int64_t)*high,
	    (int64_t)(more >> 64) + carry, (int64_t *)high);
}

static inline bool
grow_moments(struct decimals *d, int64_t units)
{
	uint64_t low = d->moments.low, high = d->moments.high;
	uint64_t square_low = d->moments.square_low;
	uint64_t square_high = d->moments.square_high;

	if (!grow_halves(&low, &high, units) || !grow_halves(&square_low,
	    &square_high, (mb_int128)units * units))
		return false;
	d->moments.low = low;
	d->moments.high = high;
	d->moments.square_low = square_low;
	d->moments.square_high = square_high;
	d->head++;
	return true;
}

static inline void
grow_range(struct decimals *d, int64_t v)
{
	d->range.least = v < d->range.least ? v : d->range.least;
	d->range.greatest = v > d->range.greatest ? v : d->range.greatest;
	d->head++;
}

static inline bool
grow(enum mb_slot_kind kind, struct decimals *d, int64_t units)
{
	switch (kind) {
	case MB_SLOT_SUM:
		return grow_sum(d, d->head, units);
	case MB_SLOT_MOMENTS:
		return grow_moments(d, units);
	default:
		grow_range(d, units);
		return true;
	}
}

/* Of a state of one value. */
static inline uint64_t
first_head(unsigned places, unsigned scale)
{
	return (uint64_t)(scale + 1) << SCALE | (uint64_t)places << MOST | 1;
}

/* One number, as units of 10^-scale that were written with `places`. */
static void
add_units(enum mb_slot_kind kind, struct decimals *d, int64_t units,
    unsigned places, unsigned scale, struct mb_arena *arena)
{
	struct decimals one = { .head = first_head(places, scale) };

	/* Mostly it is like those before, or the first. */
	if (d->head >> MOST == one.head >> MOST && grow(kind, d, units))
		return;
	if (kind == MB_SLOT_RANGE)
		one.range.least = one.range.greatest = units;
	else
		(void)set_sum(kind, &one, units);
	if (kind == MB_SLOT_MOMENTS)
		set_squares(&one, (mb_int128)units * units);
	if (d->head == 0)
		memcpy(d, &one, mb_accum_size(kind));
	else
		merge_decimals(kind, d, &one, arena);
}

static void
add_number(enum mb_slot_kind kind, struct decimals *d,
    const struct mb_number *n, struct mb_arena *arena)
{
	if (!n->is_double && n->places <= MAX_SCALE &&
	    n->units == (int64_t)n->units) {
		add_units(kind, d, (int64_t)n->units, n->places, n->places,
		    arena);
		return;
	}
	widen(kind, d, arena);
	if (kind == MB_SLOT_SUM)
		mb_sum_add(d->wide, n, arena);
	else if (kind == MB_SLOT_MOMENTS)
		mb_moments_add(d->wide, n, arena);
	else
		extend_range(d->wide, n, n, n->is_double ? 0 : n->places);
}

/* Is what the state holds to stay, against what came with the ordinal? */
static inline bool
stays(enum mb_slot_kind kind, const struct pick *pick, uint64_t ordinal)
{
	return pick->is_set && (kind == MB_SLOT_FIRST ?
	    pick->ordinal <= ordinal : pick->ordinal > ordinal);
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
	case MB_SLOT_LAST:
		if (value.kind != MB_NULL && !stays(kind, pick, ordinal))
			set_pick(pick, value, ordinal, arena);
		break;
	case MB_SLOT_SUM:
	case MB_SLOT_MOMENTS:
	case MB_SLOT_RANGE:
		if (number != NULL)
			add_number(kind, state, number, arena);
		break;
	}
}

/*
 * Rows.  The loops below do what add_units does where that is nothing but an
 * addition, and leave to it what is more.
 */

/*
 * Is the state narrow, of at least this scale, and has seen the places?  An
 * empty one has a scale below 0, a wide one a very large one.
 */
static inline bool
is_ready(uint64_t head, unsigned scale, unsigned places)
{
	return scale_of(head) - scale <= MAX_SCALE && most_of(head) >= places;
}

/* Of a state's scale; the factor is nearly always 1. */
static inline mb_int128
times_power(int64_t units, unsigned n)
{
	static const int64_t power[MAX_SCALE + 1] = { 1, 10, 100, 1000, 10000,
		100000, 1000000, 10000000, 100000000, 1000000000, 10000000000,
		100000000000, 1000000000000, 10000000000000, 100000000000000,
		1000000000000000, 10000000000000000, 100000000000000000,
		1000000000000000000 };

	return (mb_int128)units * power[n];
}

/*
 * Above MOST, the head of a narrow state that has the scale and has seen the
 * places of a uniform column, as nearly all have: a value is then added as it
 * is.  Of other columns something that no head has there.
 */
static inline uint64_t
top_of(const struct mb_column *c)
{
	return c->is_uniform ? (uint64_t)(c->scale + 1) << (SCALE - MOST) |
	    c->scale : UINT64_MAX;
}

static void
add_sums(char *const *groups, size_t off, size_t n,
    const struct mb_column *c, struct mb_arena *arena)
{
	const uint64_t top = top_of(c);
	/* An empty state is one of no values so far. */
	const uint64_t empty = c->is_uniform ? top << MOST : 0;

	for (size_t i = 0; i < n; i++) {
		struct decimals *d = (struct decimals *)(groups[i] + off);
		uint64_t head = d->head == 0 ? empty : d->head;
		unsigned places = c->places[i];
		mb_int128 units = c->units[i];
		bool is_alike = head >> MOST == top;

		if (!is_alike && places == MB_COLUMN_NULL)
			continue;
		if (!is_alike && is_ready(d->head, c->scale, places)) {
			units = times_power(c->units[i],
			    scale_of(d->head) - c->scale);
			is_alike = units == (int64_t)units;
		}
		if (is_alike && grow_sum(d, head, (int64_t)units))
			continue;
		add_units(MB_SLOT_SUM, d, c->units[i], places, c->scale,
		    arena);
	}
}

static void
add_moments(char *const *groups, size_t off, size_t n,
    const struct mb_column *c, struct mb_arena *arena)
{
	const uint64_t top = top_of(c);

	for (size_t i = 0; i < n; i++) {
		struct decimals *d = (struct decimals *)(groups[i] + off);
		unsigned places = c->places[i];
		int64_t units = c->units[i];

		if (places == MB_COLUMN_NULL)
			continue;
		if ((d->head >> MOST != top &&
		    (!is_ready(d->head, c->scale, places) ||
		    scale_of(d->head) != c->scale)) ||
		    !grow_moments(d, units))
			add_units(MB_SLOT_MOMENTS, d, units, places, c->scale,
			    arena);
	}
}

static void
add_ranges(char *const *groups, size_t off, size_t n,
    const struct mb_column *c, struct mb_arena *arena)
{
	const uint64_t top = top_of(c);

	for (size_t i = 0; i < n; i++) {
		struct decimals *d = (struct decimals *)(groups[i] + off);
		unsigned places = c->places[i];
		mb_int128 units;

		if (d->head >> MOST == top) {
			grow_range(d, c->units[i]);
			continue;
		}
		if (places == MB_COLUMN_NULL)
			continue;
		if (is_ready(d->head, c->scale, places)) {
			units = times_power(c->units[i],
			    scale_of(d->head) - c->scale);
			if (units == (int64_t)units) {
				grow_range(d, (int64_t)units);
				continue;
			}
		}
		add_units(MB_SLOT_RANGE, d, c->units[i], places, c->scale,
		    arena);
	}
}

/* From that end from which nearly all are looked at in vain. */
static void
add_picks(enum mb_slot_kind kind, char *const *groups, size_t off,
    const struct mb_rows *rows, const struct mb_view *view,
    uint64_t ordinal, struct mb_arena *arena)
{
	for (size_t k = 0; k < rows->n; k++) {
		size_t i = kind == MB_SLOT_FIRST ? k : rows->n - 1 - k;
		struct pick *pick = (struct pick *)(groups[i] + off);
		uint64_t at = ordinal + rows->record[i];

		if (view[i].kind != MB_NULL && !stays(kind, pick, at))
			set_pick(pick, mb_view_value(rows, &view[i]), at,
			    arena);
	}
}

void
mb_accum_add_rows(enum mb_slot_kind kind, char *const *groups, size_t off,
    const struct mb_rows *rows, const struct mb_view *view,
    const struct mb_column *column, uint64_t ordinal, struct mb_arena *arena)
{
	size_t n = rows->n;

	switch (kind) {
	case MB_SLOT_RECORDS:
		for (size_t i = 0; i < n; i++)
			((struct tally *)(groups[i] + off))->n++;
		break;
	case MB_SLOT_VALUES:
		for (size_t i = 0; i < n; i++)
			((struct tally *)(groups[i] + off))->n +=
			    view[i].kind != MB_NULL;
		break;
	case MB_SLOT_DISTINCT:
		break;
	case MB_SLOT_FIRST:
	case MB_SLOT_LAST:
		add_picks(kind, groups, off, rows, view, ordinal, arena);
		break;
	case MB_SLOT_SUM:
		add_sums(groups, off, n, column, arena);
		break;
	case MB_SLOT_MOMENTS:
		add_moments(groups, off, n, column, arena);
		break;
	case MB_SLOT_RANGE:
		add_ranges(groups, off, n, column, arena);
		break;
	}
}

void
mb_accum_add_total(enum mb_slot_kind kind, void *state,
    const struct mb_total *total, struct mb_arena *arena)
{
	struct decimals one = { .head = (uint64_t)(total->scale + 1) << SCALE |
		(uint64_t)total->places << MOST | total->n };

	if (kind < MB_SLOT_SUM) {
		((struct tally *)state)->n += total->n;
		return;
	}
	if (kind == MB_SLOT_RANGE) {
		one.range.least = total->least;
		one.range.greatest = total->greatest;
	} else {
		(void)set_sum(kind, &one, total->sum);
	}
	if (kind == MB_SLOT_MOMENTS)
		set_squares(&one, total->squares);
	merge_decimals(kind, state, &one, arena);
}

void
mb_accum_merge(enum mb_slot_kind kind, void *into, const void *from,
    struct mb_arena *arena)
{
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
	case MB_SLOT_MOMENTS:
	case MB_SLOT_RANGE:
		merge_decimals(kind, into, from, arena);
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
bound(const struct wide_range *r, enum mb_agg_op op, struct mb_buf *text)
{
	struct mb_number n = op == MB_MIN ? r->least : r->greatest;

	mb_number_widen(&n, r->places);
	mb_number_format(text, &n);
}

/* At `to`, where there is room for MB_ACCUM_TEXT bytes. */
static inline struct mb_value
put_decimal(char *to, int64_t units, unsigned places)
{
	const char *end = to + 1;

	/* A group of many has often but a few records. */
	if (places == 0 && units >= 0 && units < 10)
		*to = (char)('0' + units);
	else
		end = mb_decimal_put(to, units, places);
	return (struct mb_value){ to, (size_t)(end - to), MB_NUMBER };
}

/* Of any state that isn't plain; 0 or -1. */
static int
say(enum mb_agg_op op, enum mb_slot_kind kind, const void *state,
    struct mb_buf *text, struct mb_value *out, struct mb_err *err)
{
	const struct pick *pick = state;
	struct mb_moments moments;
	struct wide_range range;
	size_t start = text->len;
	struct mb_number n;
	double d;

	*out = mb_value_null();
	switch (op) {
	case MB_COUNT:
	case MB_DISTINCT:
		break;		/* always plain */
	case MB_FIRST:
	case MB_LAST:
		if (pick->is_set)
			*out = (struct mb_value){ pick->p, pick->len,
				pick->kind };
		if (pick->is_set && pick->len == 0)
			out->p = "";
		return 0;
	case MB_SUM:
	case MB_AVG:
		/* Moments have the sum. */
		if (kind == MB_SLOT_MOMENTS)
			moments = to_moments(state);
		else
			moments.sum = to_sum(kind, state);
		if (moments.sum.n == 0)
			return 0;
		if (op == MB_AVG) {
			mb_double_format(text, mb_sum_mean(&moments.sum));
			break;
		}
		if (mb_sum_total(&moments.sum, &n, err) < 0)
			return -1;
		mb_number_format(text, &n);
		break;
	case MB_VAR:
	case MB_STDDEV:
		assert(kind == MB_SLOT_MOMENTS);
		moments = to_moments(state);
		if (moments.sum.n < 2)
			return 0;
		if ((op == MB_VAR ? mb_moments_variance(&moments, &d, err) :
		    mb_moments_deviation(&moments, &d, err)) < 0)
			return -1;
		mb_double_format(text, d);
		break;
	case MB_MIN:
	case MB_MAX:
		range = to_range(state);
		if (!range.is_set)
			return 0;
		bound(&range, op, text);
		break;
	}
	assert(text->len - start <= MB_ACCUM_TEXT);
	*out = as_number(text, start);
	return 0;
}

/* Is the result a decimal of 64 bits that is written as it stands? */
static inline bool
is_plain(enum mb_agg_op op, enum mb_slot_kind kind, const void *state,
    int64_t *units, unsigned *places)
{
	const struct decimals *d = state;
	mb_int128 result;

	if (op == MB_COUNT || op == MB_DISTINCT) {
		*units = (int64_t)((const struct tally *)state)->n;
		*places = 0;
		return true;
	}
	if (op != MB_SUM && op != MB_MIN && op != MB_MAX)
		return false;
	/* Neither empty nor wide; all its places were seen. */
	*places = scale_of(d->head);
	if (*places > MAX_SCALE || *places != most_of(d->head))
		return false;
	result = op == MB_MIN ? d->range.least : op == MB_MAX ?
	    d->range.greatest : sum_of(kind, d);
	*units = (int64_t)result;
	return result == *units;
}

char *
mb_accum_put_plain(enum mb_agg_op op, enum mb_slot_kind kind,
    const void *state, char *to)
{
	struct mb_value v;
	unsigned places;
	int64_t units;

	if (!is_plain(op, kind, state, &units, &places))
		return NULL;
	v = put_decimal(to, units, places);
	return to + v.len;
}

size_t
mb_accum_results(enum mb_agg_op op, enum mb_slot_kind kind,
    char *const *groups, size_t off, size_t n, struct mb_buf *text,
    struct mb_value *out, struct mb_err *err)
{
	const size_t start = text->len;
	size_t i;

	assert(text->cap - text->len >= n * MB_ACCUM_TEXT);
	for (i = 0; i < n; i++) {
		const void *state = groups[i] + off;
		unsigned places;
		int64_t units;

		/* Each in its own place: none waits for those before. */
		text->len = start + i * MB_ACCUM_TEXT;
		if (is_plain(op, kind, state, &units, &places))
			out[i] = put_decimal(text->p + text->len, units,
			    places);
		else if (say(op, kind, state, text, &out[i], err) < 0)
			break;
	}
	text->len = start + i * MB_ACCUM_TEXT;
	return i;
}
