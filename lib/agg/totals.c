#include "agg/totals.h"

#include <stdlib.h>
#include <string.h>

#include "base/number.h"

enum {
	NEAR = 256 * 1024,	/* bytes of words that stay near */
};

/*
 * A group's words begin with how many rows there were.  Then come those of
 * each number:
 *
 *	its sum, if wanted
 *	of its squares the lower halves' sum and the upper halves', if wanted
 *	the least and the greatest, if wanted
 *	how many aren't null; a bit for each number of places seen.  Not kept
 *	until a column isn't uniform: all rows, and the scale, until then
 *
 * and of each slot that counts values how many were null.
 *
 * Where there are few groups each has several of them, lanes, by turns, so that
 * an addition seldom waits for the one before.
 */
enum { PER_NUMBER = 7 };

struct number {
	bool has_sum, has_squares, has_range, is_used;
	size_t at;		/* of its words */
	size_t count_at;

	/* Of the totals that are there. */
	unsigned scale;
	bool is_mixed;		/* the last two words are kept */
	uint64_t bound;		/* no sum is larger */

	/* Of the rows in hand. */
	bool is_taken;
	int64_t factor;
};

struct mb_totals {
	const struct mb_query *q;
	struct number *numbers;
	size_t *nulls_at;	/* by slot */
	bool *is_taken;		/* by slot */
	size_t width;		/* words of a group */
	int64_t *fresh;		/* as they begin */
	int64_t *words;
	size_t n, cap;		/* lanes */
	unsigned lane_bits;	/* 1 << lane_bits of each group */
	bool is_off;		/* too many groups */
	int64_t *at[MB_ROWS];	/* of the rows in hand */
};

void
mb_totals_open(struct mb_totals **out, const struct mb_query *q)
{
	struct mb_totals *t = mb_zalloc(sizeof *t);
	size_t width = 1, n;

	t->q = q;
	t->numbers = mb_zalloc((q->n_numbers + 1) * sizeof *t->numbers);
	t->nulls_at = mb_zalloc((q->n_slots + 1) * sizeof *t->nulls_at);
	t->is_taken = mb_zalloc((q->n_slots + 1) * sizeof *t->is_taken);
	n = 1 + PER_NUMBER * q->n_numbers + q->n_slots;
	t->fresh = mb_zalloc(n * sizeof *t->fresh);
	for (size_t i = 0; i < q->n_slots; i++) {
		const struct mb_slot *s = &q->slots[i];
		struct number *x = &t->numbers[s->number];

		if (s->kind == MB_SLOT_VALUES)
			t->nulls_at[i] = width++;
		if (s->kind < MB_SLOT_SUM)
			continue;
		x->is_used = true;
		x->has_sum |= s->kind != MB_SLOT_RANGE;
		x->has_squares |= s->kind == MB_SLOT_MOMENTS;
		x->has_range |= s->kind == MB_SLOT_RANGE;
	}
	for (size_t i = 0; i < q->n_numbers; i++) {
		struct number *x = &t->numbers[i];

		x->at = width;
		width += x->has_sum + 2 * x->has_squares;
		if (x->has_range) {
			t->fresh[width++] = INT64_MAX;
			t->fresh[width++] = INT64_MIN;
		}
		x->count_at = width;
		width += 2;
	}
	t->width = width;
	*out = t;
}

void
mb_totals_close(struct mb_totals *t)
{
	if (t == NULL)
		return;
	free(t->numbers);
	free(t->nulls_at);
	free(t->is_taken);
	free(t->fresh);
	free(t->words);
	free(t);
}

void
mb_totals_reset(struct mb_totals *t)
{
	t->n = 0;
	for (size_t i = 0; i < t->q->n_numbers; i++) {
		t->numbers[i].scale = 0;
		t->numbers[i].is_mixed = false;
		t->numbers[i].bound = 0;
	}
}

/* A group of eight gets the first row again after eight; of many, at random. */
static unsigned
lane_bits_of(size_t n_groups)
{
	return n_groups == 1 ? 3 : n_groups <= 8 ? 2 : n_groups <= 32 ? 1 : 0;
}

/*
 * Can the column be added to what is there, and how?  False: it could be, if
 * nothing were there.
 */
static bool
prepare(struct number *x, const struct mb_column *c, size_t n, bool is_empty)
{
	const uint64_t most = x->has_squares ? (uint64_t)1 << 31 :
	    (uint64_t)1 << 53;
	uint64_t limit = c->limit;

	if (is_empty)
		x->scale = c->scale;
	x->is_taken = false;
	if (c->scale > x->scale)
		return c->limit >= most;	/* it won't be taken anyway */
	x->factor = (int64_t)mb_power_of_ten(x->scale - c->scale);
	if (__builtin_mul_overflow(limit, (uint64_t)x->factor, &limit) ||
	    limit >= most)
		return true;
	if (x->bound + n * limit > (uint64_t)1 << 62)
		return false;
	x->bound += n * limit;
	x->is_taken = true;
	return true;
}

bool
mb_totals_begin(struct mb_totals *t, const struct mb_rows *rows,
    const struct mb_column *columns, size_t n_groups)
{
	bool ok = true;

	t->is_off = n_groups * t->width * sizeof *t->words > NEAR;
	if (t->is_off)
		return t->n == 0;
	if (t->n > 0 && t->lane_bits != lane_bits_of(n_groups))
		return false;
	for (size_t i = 0; i < t->q->n_numbers; i++)
		ok &= prepare(&t->numbers[i], &columns[i], rows->n, t->n == 0);
	if (!ok)
		return false;
	t->lane_bits = lane_bits_of(n_groups);
	return true;
}

/* Words for so many groups; the new ones are fresh. */
static void
make_room(struct mb_totals *t, size_t n)
{
	const size_t size = t->width * sizeof *t->words;

	if (n > t->cap) {
		t->cap = 2 * n;
		t->words = mb_realloc_array(t->words, t->cap, size);
	}
	for (; t->n < n; t->n++)
		memcpy(t->words + t->n * t->width, t->fresh, size);
}

/* From now on what isn't null is counted, and places are noted. */
static void
mix(struct mb_totals *t, struct number *x)
{
	if (x->is_mixed)
		return;
	for (size_t i = 0; i < t->n; i++) {
		int64_t *w = t->words + i * t->width;

		w[x->count_at] = w[0];
		w[x->count_at + 1] = w[0] > 0 ? (int64_t)1 << x->scale : 0;
	}
	x->is_mixed = true;
}

#define INLINE static inline __attribute__((always_inline))

/* A copy for each of what is wanted, so that each does only that. */
INLINE void
add_column(int64_t *const *at, size_t begin, const struct mb_column *c,
    size_t n, int64_t factor, const bool is_mixed, const bool has_sum,
    const bool has_squares, const bool has_range)
{
	const size_t range = begin + has_sum + 2 * has_squares;
	const size_t count = range + 2 * has_range;

	for (size_t i = 0; i < n; i++) {
		int64_t *w = at[i], u = c->units[i];
		bool is_value = true;

		if (is_mixed) {
			unsigned places = c->places[i];

			is_value = places != MB_COLUMN_NULL;
			u *= factor;
			w[count] += is_value;
			w[count + 1] |= (int64_t)is_value << (places & 31);
		}
		/* A null has no units. */
		if (has_sum)
			w[begin] += u;
		if (has_squares) {
			uint64_t square = (uint64_t)(u * u);

			w[begin + 1] += (int64_t)(square & UINT32_MAX);
			w[begin + 2] += (int64_t)(square >> 32);
		}
		if (has_range && is_value) {
			if (u < w[range])
				w[range] = u;
			if (u > w[range + 1])
				w[range + 1] = u;
		}
	}
}

static void
add_number(struct mb_totals *t, const struct number *x,
    const struct mb_column *c, size_t n)
{
	const size_t at = x->at;

	switch ((x->is_mixed ? 8 : 0) | x->has_sum << 2 | x->has_squares << 1 |
	    x->has_range) {
#define CASE(mixed, sum, squares, range) \
	case (mixed) << 3 | (sum) << 2 | (squares) << 1 | (range): \
		add_column(t->at, at, c, n, x->factor, mixed, sum, squares, \
		    range); \
		break
	CASE(0, 1, 1, 0);
	CASE(0, 1, 1, 1);
	CASE(1, 0, 0, 1);
	CASE(1, 1, 0, 0);
	CASE(1, 1, 0, 1);
	CASE(1, 1, 1, 0);
	CASE(1, 1, 1, 1);
#undef CASE
	}
}

/* A number that is no more than a sum, a range, or both of what isn't null. */
struct plain {
	const int64_t *units;
	size_t at;		/* of its words */
	enum { NOTHING, SUM, RANGE, SUM_AND_RANGE } kind;
};

INLINE void
add_plain(int64_t *w, const struct plain *x, size_t i, const unsigned kind)
{
	int64_t u = x->units[i], *range = w + x->at + (kind & SUM);

	if ((kind & SUM) != 0)
		w[x->at] += u;
	if ((kind & RANGE) != 0 && u < range[0])
		range[0] = u;
	if ((kind & RANGE) != 0 && u > range[1])
		range[1] = u;
}

/*
 * Two of them at once; with the first two the rows are found, and counted.
 * One pass for each thing to be done took twice as long.
 */
INLINE void
add_two(struct mb_totals *t, const uint32_t *numbers, size_t n,
    const struct plain *x, const struct plain *y, const bool is_first,
    const unsigned x_kind, const unsigned y_kind)
{
	const struct plain a = *x, b = *y;
	const unsigned bits = t->lane_bits, mask = (1u << bits) - 1;
	const size_t width = t->width;
	int64_t *const words = t->words, **at = t->at;

	for (size_t i = 0; i < n; i++) {
		int64_t *w;

		if (is_first) {
			w = words + ((size_t)numbers[i] << bits |
			    ((unsigned)i & mask)) * width;
			at[i] = w;
			w[0]++;
		} else {
			w = at[i];
		}
		if (x_kind != NOTHING)
			add_plain(w, &a, i, x_kind);
		if (y_kind != NOTHING)
			add_plain(w, &b, i, y_kind);
	}
}

static void
add_pair(struct mb_totals *t, const uint32_t *numbers, size_t n,
    const struct plain pair[2], bool is_first)
{
	const struct plain *x = &pair[pair[0].kind < pair[1].kind];
	const struct plain *y = &pair[pair[0].kind >= pair[1].kind];

	switch (is_first << 4 | x->kind << 2 | y->kind) {
#define CASE(first, x_kind, y_kind) \
	case (first) << 4 | (x_kind) << 2 | (y_kind): \
		add_two(t, numbers, n, x, y, first, x_kind, y_kind); \
		break
#define CASES(x_kind, y_kind) \
	CASE(0, x_kind, y_kind); \
	CASE(1, x_kind, y_kind)
	CASE(1, NOTHING, NOTHING);
	CASES(SUM, NOTHING);
	CASES(RANGE, NOTHING);
	CASES(SUM_AND_RANGE, NOTHING);
	CASES(SUM, SUM);
	CASES(RANGE, SUM);
	CASES(RANGE, RANGE);
	CASES(SUM_AND_RANGE, SUM);
	CASES(SUM_AND_RANGE, RANGE);
	CASES(SUM_AND_RANGE, SUM_AND_RANGE);
#undef CASES
#undef CASE
	}
}

static bool
is_plain(const struct number *x)
{
	return x->is_used && x->is_taken && !x->is_mixed && !x->has_squares;
}

/* All numbers, the plain ones two by two; the first two may be none. */
static void
add_numbers(struct mb_totals *t, const struct mb_column *columns, size_t n,
    const uint32_t *numbers)
{
	struct plain pair[2] = { { .kind = NOTHING }, { .kind = NOTHING } };
	size_t n_pair = 0;
	bool is_first = true;

	for (size_t i = 0; i < t->q->n_numbers; i++) {
		const struct number *x = &t->numbers[i];

		if (!is_plain(x))
			continue;
		pair[n_pair++] = (struct plain){ columns[i].units, x->at,
			(x->has_sum ? SUM : 0) | (x->has_range ? RANGE : 0) };
		if (n_pair < 2)
			continue;
		add_pair(t, numbers, n, pair, is_first);
		is_first = false;
		n_pair = 0;
	}
	if (n_pair < 2)
		pair[1].kind = NOTHING;
	if (n_pair == 1 || is_first)
		add_pair(t, numbers, n, pair, is_first);
	for (size_t i = 0; i < t->q->n_numbers; i++) {
		const struct number *x = &t->numbers[i];

		if (x->is_used && x->is_taken && !is_plain(x))
			add_number(t, x, &columns[i], n);
	}
}

static void
add_nulls(struct mb_totals *t, size_t at, const struct mb_view *view, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++)
		any |= view[i].kind == MB_NULL;
	for (size_t i = 0; i < n && any; i++)
		t->at[i][at] += view[i].kind == MB_NULL;
}

const bool *
mb_totals_add(struct mb_totals *t, const struct mb_rows *rows,
    const struct mb_column *columns, size_t n_groups, const uint32_t *numbers)
{
	const struct mb_query *q = t->q;
	const size_t n = rows->n;

	memset(t->is_taken, false, q->n_slots * sizeof *t->is_taken);
	if (t->is_off)
		return t->is_taken;
	make_room(t, n_groups << t->lane_bits);
	for (size_t i = 0; i < q->n_numbers; i++)
		if (!t->numbers[i].is_taken || !columns[i].is_uniform ||
		    columns[i].scale != t->numbers[i].scale)
			mix(t, &t->numbers[i]);
	add_numbers(t, columns, n, numbers);
	for (size_t i = 0; i < q->n_slots; i++) {
		const struct mb_slot *s = &q->slots[i];

		if (s->kind == MB_SLOT_VALUES)
			add_nulls(t, t->nulls_at[i],
			    rows->view + s->field * MB_ROWS, n);
		t->is_taken[i] = s->kind == MB_SLOT_RECORDS ||
		    s->kind == MB_SLOT_VALUES || (s->kind >= MB_SLOT_SUM &&
		    t->numbers[s->number].is_taken);
	}
	return t->is_taken;
}

/* What the words w say of a number. */
static struct mb_total
total_of(const struct number *x, const int64_t *w)
{
	size_t at = x->at + x->has_sum;
	struct mb_total total = { .n = (uint64_t)w[0], .scale = x->scale,
		.places = x->scale };

	if (x->is_mixed) {
		total.n = (uint64_t)w[x->count_at];
		if (total.n > 0)
			total.places = 63 - (unsigned)__builtin_clzll((uint64_t)
			    w[x->count_at + 1]);
	}
	if (x->has_sum)
		total.sum = w[x->at];
	if (x->has_squares) {
		total.squares = w[at] + (mb_int128)w[at + 1] * ((mb_int128)1 <<
		    32);
		at += 2;
	}
	if (x->has_range) {
		total.least = w[at];
		total.greatest = w[at + 1];
	}
	return total;
}

void
mb_totals_each(const struct mb_totals *t, void (*put)(void *context,
    size_t group, size_t slot, const struct mb_total *total), void *context)
{
	for (size_t i = 0; i < t->n; i++) {
		const int64_t *w = t->words + i * t->width;

		for (size_t s = 0; s < t->q->n_slots && w[0] > 0; s++) {
			const struct mb_slot *slot = &t->q->slots[s];
			struct mb_total total = { .n = (uint64_t)w[0] };

			if (slot->kind == MB_SLOT_DISTINCT ||
			    slot->kind == MB_SLOT_FIRST ||
			    slot->kind == MB_SLOT_LAST)
				continue;
			if (slot->kind == MB_SLOT_VALUES)
				total.n -= (uint64_t)w[t->nulls_at[s]];
			else if (slot->kind >= MB_SLOT_SUM)
				total = total_of(&t->numbers[slot->number], w);
			if (total.n > 0)
				put(context, i >> t->lane_bits, s, &total);
		}
	}
}
