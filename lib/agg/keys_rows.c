#include "agg/keys_parts.h"

#include <string.h>

enum {
	NEAR = 512 * 1024,	/* the processor; more bytes aren't */
	AHEAD = 48,		/* rows; 24 and 96 are slower */
};

static inline const struct mb_view *
view_of(const struct mb_rows *rows, size_t field)
{
	return rows->view + field * MB_ROWS;
}

/* Is all of the table near the processor? */
static bool
is_near(const struct mb_keys *t)
{
	return t->cells.size * sizeof(struct mb_cell) +
	    t->n * t->group_size <= NEAR;
}

/*
 * The loops over rows are short, each for one key or for one step, so that
 * what they need stays in registers, and a wrong guess about a cell holds up
 * nothing but the next cells.
 */

/* Mix key k, which is v, into the hashes of the rows. */
MB_KEY_INLINE void
hash_column(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, const struct mb_key_way way)
{
	const struct seeds seeds = t->seeds;
	const bool is_first = k == 0, is_last = k + 1 == t->n_keys;
	const char *base = rows->p;
	const size_t n = rows->n;

	for (size_t i = 0; i < n; i++) {
		uint64_t hash = is_first ? seeds.word[0] : t->hashes[i];
		uint64_t word[4];

		way.set(word, base + v[i].start, v[i].len,
		    v[i].kind == MB_NULL, way.width);
		hash = hash_words(&seeds, hash, word, way.width);
		t->hashes[i] = is_last ? finish(hash) : hash;
	}
}

/* Which rows have another key k than the group that was found? */
MB_KEY_INLINE void
compare_column(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, char *const *groups,
    const struct mb_key_way way)
{
	const char *base = rows->p;
	const size_t n = rows->n;

	for (size_t i = 0; i < n; i++) {
		const struct mb_group_key *group = (const void *)groups[i];
		const char *p = base + v[i].start;
		uint64_t word[4];

		way.set(word, p, v[i].len, v[i].kind == MB_NULL, way.width);
		t->is_missed[i] |= way.differs(&group[k], word, p,
		    v[i].len, way.width);
	}
}

/* Key k of the groups that the rows have made. */
MB_KEY_INLINE void
fill_column(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, size_t n_before,
    const struct mb_key_way way)
{
	for (size_t i = n_before; i < t->n; i++) {
		const struct mb_view *from = &v[t->waiting[i - n_before]];
		struct mb_group_key *key = &group_at(t, i)[k];
		const char *p = rows->p + from->start;
		uint64_t word[4];

		way.set(word, p, from->len, from->kind == MB_NULL, way.width);
		memcpy(key, word, sizeof *key);
		mb_group_key_set_kind(key, (enum mb_kind)from->kind);
		if (way.width != MB_WIDTH_SHORT && is_long(key))
			key->whole = mb_keys_keep(t, p, from->len);
	}
}

struct mb_key_column {
	void (*hash)(struct mb_keys *, const struct mb_rows *,
	    const struct mb_view *, size_t k);
	void (*fill)(struct mb_keys *, const struct mb_rows *,
	    const struct mb_view *, size_t k, size_t n_before);
	void (*compare)(struct mb_keys *, const struct mb_rows *,
	    const struct mb_view *, size_t k, char *const *groups);
};

static void
hash_short(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k)
{
	hash_column(t, rows, v, k, mb_key_short);
}

static void
fill_short(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, size_t n_before)
{
	fill_column(t, rows, v, k, n_before, mb_key_short);
}

static void
compare_short(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, char *const *groups)
{
	compare_column(t, rows, v, k, groups, mb_key_short);
}

static void
hash_middle(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k)
{
	hash_column(t, rows, v, k, mb_key_middle);
}

static void
fill_middle(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, size_t n_before)
{
	fill_column(t, rows, v, k, n_before, mb_key_middle);
}

static void
compare_middle(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, char *const *groups)
{
	compare_column(t, rows, v, k, groups, mb_key_middle);
}

#if defined(__x86_64__)
MB_AVX512 static void
hash_middle_avx512(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k)
{
	hash_column(t, rows, v, k, mb_key_middle_avx512);
}

MB_AVX512 static void
compare_middle_avx512(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, char *const *groups)
{
	compare_column(t, rows, v, k, groups, mb_key_middle_avx512);
}
#endif

static void
set_row_probe(const struct mb_keys *t, struct probe *probe,
    const struct mb_rows *rows, const struct mb_view *v)
{
	set_probe(t, probe, rows->p + v->start, v->len, v->kind == MB_NULL);
}

static void
hash_any(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k)
{
	for (size_t i = 0; i < rows->n; i++) {
		uint64_t hash = k == 0 ? t->seeds.word[0] : t->hashes[i];
		struct probe probe;

		set_row_probe(t, &probe, rows, &v[i]);
		hash = hash_words(&t->seeds, hash, probe.word, MB_WIDTH_ANY);
		t->hashes[i] = k + 1 == t->n_keys ? finish(hash) : hash;
	}
}

static void
fill_any(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, size_t n_before)
{
	for (size_t i = n_before; i < t->n; i++) {
		const struct mb_view *from = &v[t->waiting[i - n_before]];
		struct probe probe;

		set_row_probe(t, &probe, rows, from);
		mb_keys_set_key(t, &group_at(t, i)[k], &probe,
		    (enum mb_kind)from->kind);
	}
}

static void
compare_any(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *v, size_t k, char *const *groups)
{
	for (size_t i = 0; i < rows->n; i++) {
		const struct mb_group_key *group = (const void *)groups[i];
		struct probe probe;

		set_row_probe(t, &probe, rows, &v[i]);
		t->is_missed[i] |= !is_key(&group[k], &probe);
	}
}

static const struct mb_key_column narrow = { hash_short, fill_short,
	compare_short };

/* How the keys of a column are looked at. */
static const struct mb_key_column *
column_of(const struct mb_rows *rows, const struct mb_view *v)
{
	static const struct mb_key_column middle = { hash_middle, fill_middle,
		compare_middle };
	static const struct mb_key_column any = { hash_any, fill_any, compare_any };
	size_t longest = 0;

	/* Bits of all are quickly had, and nearly always enough. */
	for (size_t i = 0; i < rows->n; i++)
		longest |= v[i].len;
	if (longest > MB_KEY_SHORT) {
		longest = 0;
		for (size_t i = 0; i < rows->n; i++)
			longest = v[i].len > longest ? v[i].len : longest;
	}
	if (longest > MB_KEY_MIDDLE)
		return &any;
	if (longest <= MB_KEY_SHORT)
		return &narrow;
#if defined(__x86_64__)
	static const struct mb_key_column middle_avx512 = { hash_middle_avx512,
		fill_middle, compare_middle_avx512 };

	if (rows->isa == MB_ISA_AVX512)
		return &middle_avx512;
#endif
	return &middle;
}

/*
 * All steps at one go for one or two short keys, whose words all stay in
 * registers, where the table is near.
 */
MB_KEY_INLINE void
guess_short(struct mb_keys *t, const struct mb_rows *rows,
    const struct mb_view *a, const struct mb_view *b, uint32_t *numbers)
{
	const char *base = rows->p;
	const size_t n = rows->n;

	for (size_t i = 0; i < n; i++) {
		uint64_t word[4], more[4], hash;
		const struct mb_group_key *group;
		uint32_t entry;
		bool is_missed;

		set_words(word, base + a[i].start, a[i].len,
		    a[i].kind == MB_NULL, MB_WIDTH_SHORT);
		hash = hash_words(&t->seeds, t->seeds.word[0], word,
		    MB_WIDTH_SHORT);
		if (b != NULL) {
			set_words(more, base + b[i].start, b[i].len,
			    b[i].kind == MB_NULL, MB_WIDTH_SHORT);
			hash = hash_words(&t->seeds, hash, more,
			    MB_WIDTH_SHORT);
		}
		entry = first_entry(t, finish(hash));
		numbers[i] = entry - (entry > 0);
		group = group_at(t, numbers[i]);
		is_missed = (entry == 0) | differs(&group[0], word, NULL,
		    0, MB_WIDTH_SHORT);
		if (b != NULL)
			is_missed |= differs(&group[1], more, NULL, 0,
			    MB_WIDTH_SHORT);
		t->is_missed[i] = is_missed;
	}
}

static inline void
fetch_cells(const struct mb_keys *t, size_t i)
{
	__builtin_prefetch(&mb_cells_of(&t->cells)[mb_cells_begin(&t->cells,
	    t->hashes[i])], 1);
}

/*
 * The group of row i, if the cell that was found for it is one's; else it is
 * missed, and a new one's cell may be there.  1 or 0.
 */
MB_KEY_INLINE size_t
guess_group(struct mb_keys *t, size_t i, size_t at, uint32_t *number,
    bool is_far)
{
	uint32_t entry = mb_cells_of(&t->cells)[at].entry;

	t->at[i] = (uint32_t)at;
	t->is_missed[i] = entry == 0;
	/* What no group has is compared with one, too, in vain. */
	*number = entry - (entry > 0);
	t->guesses[i] = (char *)group_at(t, *number);
	if (is_far)
		__builtin_prefetch(t->guesses[i], 1);
	return entry > 0;
}

/*
 * The first group with the tag of each row.  What isn't near is fetched some
 * rows ahead, all at once would be more than can be under way; a row whose
 * line is full without it waits for the next line until all have been looked
 * at.  How many have one?
 */
MB_KEY_INLINE size_t
guess_groups(struct mb_keys *t, size_t n, uint32_t *numbers,
    bool (*look)(const struct mb_cell *cells, size_t last, size_t *at,
    uint32_t tag))
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	const size_t last = t->cells.size - 1;
	const bool is_far = !is_near(t);
	size_t n_found = 0, n_waiting = 0;

	for (size_t i = 0; i < AHEAD && i < n && is_far; i++)
		fetch_cells(t, i);
	for (size_t i = 0; i < n; i++) {
		size_t at = mb_cells_begin(&t->cells, t->hashes[i]);

		if (is_far && i + AHEAD < n)
			fetch_cells(t, i + AHEAD);
		if (look(cells, last, &at, mb_cells_tag(t->hashes[i]))) {
			n_found += guess_group(t, i, at, &numbers[i], is_far);
		} else {
			__builtin_prefetch(&cells[at], 1);
			t->at[i] = (uint32_t)at;
			t->waiting[n_waiting++] = (uint16_t)i;
		}
	}
	for (size_t k = 0; k < n_waiting; k++) {
		size_t i = t->waiting[k], at = t->at[i];

		while (!look(cells, last, &at, mb_cells_tag(t->hashes[i])))
			;
		n_found += guess_group(t, i, at, &numbers[i], is_far);
	}
	return n_found;
}

#if defined(__x86_64__)
MB_AVX512 static size_t
guess_by_lines(struct mb_keys *t, size_t n, uint32_t *numbers)
{
	return guess_groups(t, n, numbers, look_at_line);
}
#endif

size_t
mb_keys_guess(struct mb_keys *t, size_t n, uint32_t *numbers)
{
#if defined(__x86_64__)
	if (t->isa == MB_ISA_AVX512 && t->cells.mask != SIZE_MAX)
		return guess_by_lines(t, n, numbers);
#endif
	return guess_groups(t, n, numbers, look_at_cells);
}

/* The group of row i, looked for alone, and added if there is none. */
static uint32_t
find_row(struct mb_keys *t, const struct mb_rows *rows, const size_t *fields,
    uint64_t ordinal, size_t i, bool has_hash)
{
	struct mb_group_key *group;
	uint32_t entry;

	for (size_t k = 0; k < t->n_keys; k++)
		set_row_probe(t, &t->probes[k * MB_ROWS + i], rows,
		    &view_of(rows, fields[k])[i]);
	if (!has_hash)
		t->hashes[i] = hash_probes(t, i);
	entry = mb_keys_look_up(t, i);
	if (entry != 0)
		return entry - 1;
	entry = mb_keys_append(t, t->hashes[i], ordinal + rows->record[i]);
	group = group_at(t, entry);
	for (size_t k = 0; k < t->n_keys; k++)
		mb_keys_set_key(t, &group[k], &t->probes[k * MB_ROWS + i],
		    (enum mb_kind)view_of(rows, fields[k])[i].kind);
	return entry;
}

/* The keys of the groups from `begin` on, of the rows that wait. */
static void
make_groups(struct mb_keys *t, const struct mb_rows *rows,
    const size_t *fields, uint64_t ordinal, size_t begin)
{
	for (size_t i = begin; i < t->n; i++)
		mb_ordinals_add(&t->ordinals, ordinal +
		    rows->record[t->waiting[i - begin]]);
	for (size_t k = 0; k < t->n_keys; k++)
		t->columns[k]->fill(t, rows, view_of(rows, fields[k]), k,
		    begin);
}

/*
 * The groups of rows that are missed.  Where there are many groups most are
 * new: they get their numbers at once, and their keys later all together.
 * What has the tag of another, or what a row before has made, is looked for.
 */
static void
find_missed(struct mb_keys *t, const struct mb_rows *rows,
    const size_t *fields, uint64_t ordinal, uint32_t *numbers)
{
	struct mb_cell *cells = mb_cells_of(&t->cells);
	size_t n_made = t->n;

	for (size_t i = 0; i < rows->n; i++) {
		struct mb_cell *cell = &cells[t->at[i]];

		if (!t->is_missed[i])
			continue;
		if (cell->entry == 0) {
			numbers[i] = (uint32_t)t->n;
			t->waiting[t->n - n_made] = (uint16_t)i;
			*cell = (struct mb_cell){ mb_cells_tag(t->hashes[i]),
				(uint32_t)++t->n };
			continue;
		}
		make_groups(t, rows, fields, ordinal, n_made);
		numbers[i] = find_row(t, rows, fields, ordinal, i, true);
		n_made = t->n;
	}
	make_groups(t, rows, fields, ordinal, n_made);
}

/* Rows of a table that may be large, or that have long keys. */
static void
find_by_steps(struct mb_keys *t, const struct mb_rows *rows,
    const size_t *fields, uint64_t ordinal, uint32_t *numbers)
{
	size_t n_found;

	for (size_t k = 0; k < t->n_keys; k++)
		t->columns[k]->hash(t, rows, view_of(rows, fields[k]), k);
	/* From here on nothing moves. */
	mb_keys_reserve(t, rows->n);
	t->isa = rows->isa;
	n_found = mb_keys_guess(t, rows->n, numbers);
	for (size_t k = 0; k < t->n_keys && n_found > 0; k++)
		t->columns[k]->compare(t, rows, view_of(rows, fields[k]), k,
		    t->guesses);
	find_missed(t, rows, fields, ordinal, numbers);
}

/*
 * Rows of short keys in a table that is near: true, and numbers, but of those
 * missed.
 */
static bool
guess_at_one_go(struct mb_keys *t, const struct mb_rows *rows,
    const size_t *fields, uint32_t *numbers)
{
	bool is_short = t->n_keys <= 2 && t->n > 0 && is_near(t);

	for (size_t k = 0; k < t->n_keys; k++) {
		t->columns[k] = column_of(rows, view_of(rows, fields[k]));
		is_short &= t->columns[k] == &narrow;
	}
	if (is_short && t->n_keys == 1)
		guess_short(t, rows, view_of(rows, fields[0]), NULL, numbers);
	else if (is_short)
		guess_short(t, rows, view_of(rows, fields[0]),
		    view_of(rows, fields[1]), numbers);
	return is_short;
}

void
mb_keys_find_rows(struct mb_keys *t, const struct mb_rows *rows,
    const size_t *fields, uint64_t ordinal, uint32_t *numbers)
{
	bool has_memo = false;

	if (t->n_keys == 0) {
		memset(numbers, 0, rows->n * sizeof *numbers);
		memset(t->is_missed, t->n == 0, rows->n);
	} else {
		has_memo = t->n > 0 && mb_memo_find(&t->memo, rows, fields,
		    t->n_keys, t->n, numbers);
		if (has_memo && t->memo.n_missed == 0)
			return;
		if (has_memo && t->memo.n_missed <= rows->n / 8) {
			memcpy(t->is_missed, t->memo.is_missed, rows->n);
		} else if (!guess_at_one_go(t, rows, fields, numbers)) {
			find_by_steps(t, rows, fields, ordinal, numbers);
			memset(t->is_missed, 0, rows->n);
		}
	}
	for (size_t i = 0; i < rows->n; i++)
		if (t->is_missed[i])
			numbers[i] = find_row(t, rows, fields, ordinal, i,
			    false);
	if (has_memo)
		mb_memo_learn(&t->memo, rows, fields, t->n_keys, numbers);
}
