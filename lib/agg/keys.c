#include "agg/keys.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agg/cells.h"
#include "agg/key_words.h"
#include "agg/memo.h"
#include "agg/ordinals.h"
#include "base/hash.h"

enum {
	KEPT = 64 * 1024,	/* bytes */
	NEAR = 512 * 1024,	/* the processor; more isn't */
	AHEAD = 48,		/* rows; 24 and 96 are slower */
};

/* A key that is looked for. */
struct probe {
	uint64_t word[4];
	const char *p;
	size_t len;
};

struct seeds {
	uint64_t word[4];
	uint64_t bare;		/* what words of zeros are mixed to */
};

struct mb_keys {
	size_t n_keys;
	struct seeds seeds;
	size_t state_off;	/* in a group */
	size_t group_size;
	struct mb_arena arena;	/* of long texts */

	struct mb_memo memo;	/* in front of the table */
	struct mb_cells cells;
	struct mb_region groups;
	size_t n;
	struct mb_ordinals ordinals;
	size_t n_forgotten;	/* bytes of the groups */

	/* In hand; the probe for key k of row i is [k * MB_ROWS + i]. */
	struct probe *probes;
	const struct column **columns;	/* by key */
	uint64_t hashes[MB_ROWS];
	char *guesses[MB_ROWS];	/* groups */
	bool is_missed[MB_ROWS];	/* the group isn't the guess */
	uint32_t at[MB_ROWS];		/* the cell where looking ended */
	uint16_t first[MB_ROWS];	/* rows whose groups are to be made */
};

void
mb_keys_open(struct mb_keys **out, size_t n_keys, size_t state_size,
    uint64_t seed)
{
	struct mb_keys *t = mb_zalloc(sizeof *t);

	*t = (struct mb_keys){ .n_keys = n_keys };
	/* Numbers out of one, which nobody knows either. */
	for (unsigned i = 0; i < 4; i++)
		t->seeds.word[i] = mb_hash64(&"keys"[i], 1, seed);
	t->seeds.bare = mb_mix(t->seeds.word[2], t->seeds.word[3]);
	t->state_off = n_keys * sizeof(struct mb_group_key);
	t->group_size = t->state_off + state_size;
	t->probes = mb_realloc_array(NULL, n_keys * MB_ROWS,
	    sizeof *t->probes);
	t->columns = mb_realloc_array(NULL, n_keys, sizeof *t->columns);
	mb_memo_init(&t->memo, seed);
	*out = t;
}

void
mb_keys_close(struct mb_keys *t)
{
	if (t == NULL)
		return;
	mb_memo_release(&t->memo);
	mb_cells_release(&t->cells);
	mb_region_release(&t->groups);
	mb_ordinals_release(&t->ordinals);
	mb_arena_release(&t->arena);
	free(t->probes);
	free(t->columns);
	free(t);
}

void
mb_keys_reset(struct mb_keys *t)
{
	mb_memo_reset(&t->memo);
	mb_cells_reset(&t->cells);
	if (t->groups.size > KEPT)
		mb_region_release(&t->groups);
	else if (t->n > 0)
		memset(t->groups.p, 0, t->n * t->group_size);
	mb_ordinals_reset(&t->ordinals);
	mb_arena_reset(&t->arena);
	t->n = 0;
	t->n_forgotten = 0;
}

size_t
mb_keys_count(const struct mb_keys *t)
{
	return t->n;
}

bool
mb_keys_are_in_order(const struct mb_keys *t)
{
	return !t->ordinals.is_mixed;
}

uint64_t
mb_keys_ordinal(const struct mb_keys *t, size_t i)
{
	return mb_ordinals_at(&t->ordinals, i);
}

bool
mb_keys_lower_ordinal(struct mb_keys *t, size_t i, uint64_t ordinal)
{
	/* Where there are few groups, the last of them is long ago. */
	if (ordinal >= t->ordinals.greatest ||
	    ordinal >= mb_ordinals_at(&t->ordinals, i))
		return false;
	mb_ordinals_lower(&t->ordinals, i, ordinal);
	return true;
}

size_t
mb_keys_state_off(const struct mb_keys *t)
{
	return t->state_off;
}

struct mb_group_key *
mb_keys_group(const struct mb_keys *t, size_t i)
{
	return (struct mb_group_key *)(t->groups.p + i * t->group_size);
}

/*
 * Keys.
 */

void
mb_group_key_set_kind(struct mb_group_key *key, enum mb_kind kind)
{
	key->meta = (key->meta & ((1u << MB_KEY_KIND) - 1)) |
	    (uint32_t)kind << MB_KEY_KIND;
}

/* Of any text, with nothing readable behind it. */
static void
set_probe(const struct mb_keys *t, struct probe *probe, const char *p,
    size_t len, bool is_null)
{
	char padded[MB_KEY_MIDDLE] = { 0 };

	_Static_assert((int)MB_KEY_MIDDLE <= (int)MB_VIEW_SLACK, "views can be read");
	_Static_assert(offsetof(struct mb_group_key, rest) ==
	    offsetof(struct mb_group_key, text) + 4 &&
	    sizeof(struct mb_group_key) == 16, "two words, and the text in one piece");
	*probe = (struct probe){ .p = p, .len = len };
	if (len <= MB_KEY_MIDDLE) {
		memcpy(padded, p, len);
		set_words(probe->word, padded, len, is_null, MB_WIDTH_MIDDLE);
		return;
	}
	probe->word[0] = head_of(meta_of(len, is_null), load_4(p));
	probe->word[1] = mb_hash64(p, len, t->seeds.word[0]);
}

static void
set_probe_of_key(const struct mb_keys *t, struct probe *probe,
    const struct mb_group_key *key)
{
	struct mb_str text = mb_group_key_text(key);

	set_probe(t, probe, text.p, text.len, (key->meta & MB_KEY_NULL) != 0);
}

/*
 * Mix a key's words into the hash of those before.  Words of zeros add
 * nothing, so that a short key has one hash however it is looked at.
 */
MB_KEY_INLINE uint64_t
hash_words(const struct seeds *seeds, uint64_t hash, const uint64_t word[4],
    enum mb_key_width width)
{
	hash = mb_mix(hash ^ word[0], seeds->word[1] ^ word[1]);
	if (width != MB_WIDTH_SHORT)
		hash ^= seeds->bare ^ mb_mix(seeds->word[2] ^ word[2],
		    seeds->word[3] ^ word[3]);
	return hash;
}

/*
 * One product is nearly linear in the digits of a short key, and under one
 * seed in a hundred, counted numbers then fell into few cells.
 */
static inline uint64_t
finish(uint64_t hash)
{
	return mb_mix(hash, 0x9e3779b97f4a7c15u);
}

static uint64_t
hash_probes(const struct mb_keys *t, size_t i)
{
	uint64_t hash = t->seeds.word[0];

	for (size_t k = 0; k < t->n_keys; k++)
		hash = hash_words(&t->seeds, hash, t->probes[k * MB_ROWS + i].word,
		    MB_WIDTH_ANY);
	return finish(hash);
}

static bool
is_key(const struct mb_group_key *key, const struct probe *probe)
{
	if (probe->len <= MB_KEY_MIDDLE)
		return !differs(key, probe->word, probe->p, probe->len,
		    MB_WIDTH_MIDDLE);
	return (key->meta & MB_KEY_LEN) == meta_of(probe->len, false) &&
	    key->whole->len == probe->len &&
	    memcmp(key->whole->p, probe->p, probe->len) == 0;
}

/* Does the group have the keys of the probes i? */
static inline bool
has_keys(const struct mb_keys *t, const struct mb_group_key *group, size_t i)
{
	for (size_t k = 0; k < t->n_keys; k++)
		if (!is_key(&group[k], &t->probes[k * MB_ROWS + i]))
			return false;
	return true;
}

/*
 * The table.
 */

/* The entry of the group with the keys of the probes i, or 0. */
static uint32_t
look_up(const struct mb_keys *t, size_t i)
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	uint32_t tag = mb_cells_tag(t->hashes[i]);
	size_t at = mb_cells_begin(&t->cells, t->hashes[i]);

	if (t->cells.size == 0)
		return 0;
	for (; cells[at].entry != 0; at = (at + 1) & (t->cells.size - 1))
		if (cells[at].tag == tag &&
		    has_keys(t, mb_keys_group(t, cells[at].entry - 1), i))
			return cells[at].entry;
	return 0;
}

/* Room for n more groups, which are all zeros. */
static void
reserve(struct mb_keys *t, size_t n)
{
	/* A key at the end is looked at with what would be behind it. */
	size_t size = (t->n + n) * t->group_size + MB_KEY_MIDDLE;

	if (size > t->groups.size)
		mb_region_grow(&t->groups, 2 * size);
	mb_cells_reserve(&t->cells, t->n, n);
}

/* A new group with this hash, in the table, all zeros; its number. */
static uint32_t
append_group(struct mb_keys *t, uint64_t hash, uint64_t ordinal)
{
	reserve(t, 1);
	mb_cells_place(&t->cells, hash, t->n);
	mb_ordinals_add(&t->ordinals, ordinal);
	return (uint32_t)t->n++;
}

static const struct mb_long_key *
keep_long(struct mb_keys *t, const char *p, size_t len)
{
	struct mb_long_key *whole = mb_arena_alloc(&t->arena, sizeof *whole +
	    (len > MB_KEY_MIDDLE ? len : MB_KEY_MIDDLE));

	whole->len = len;
	memcpy(whole->p, p, len);
	if (len < MB_KEY_MIDDLE)
		memset(whole->p + len, 0, MB_KEY_MIDDLE - len);
	return whole;
}

static void
set_key(struct mb_keys *t, struct mb_group_key *key, const struct probe *probe,
    enum mb_kind kind)
{
	memcpy(key, probe->word, sizeof *key);
	mb_group_key_set_kind(key, kind);
	if (is_long(key))
		key->whole = keep_long(t, probe->p, probe->len);
}

uint32_t
mb_keys_find(struct mb_keys *t, const struct mb_value *values,
    const size_t *fields, uint64_t ordinal)
{
	const bool has_memo = t->n <= MB_MEMO_GROUPS;
	struct mb_group_key *group;
	uint32_t entry;

	if (has_memo && mb_memo_find_one(&t->memo, values, fields, t->n_keys,
	    &entry))
		return entry;
	for (size_t k = 0; k < t->n_keys; k++) {
		const struct mb_value *v = &values[fields[k]];

		set_probe(t, &t->probes[k * MB_ROWS], v->p, v->len,
		    v->kind == MB_NULL);
	}
	t->hashes[0] = hash_probes(t, 0);
	entry = look_up(t, 0);
	if (entry != 0) {
		if (has_memo)
			mb_memo_learn_one(&t->memo, values, fields, t->n_keys,
			    entry - 1);
		return entry - 1;
	}
	entry = append_group(t, t->hashes[0], ordinal);
	group = mb_keys_group(t, entry);
	for (size_t k = 0; k < t->n_keys; k++)
		set_key(t, &group[k], &t->probes[k * MB_ROWS],
		    values[fields[k]].kind);
	return entry;
}

/*
 * Rows.
 */

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

/* The first entry with this hash's tag, or 0. */
static inline uint32_t
first_entry(const struct mb_keys *t, uint64_t hash)
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	uint32_t tag = mb_cells_tag(hash);
	size_t at = mb_cells_begin(&t->cells, hash);

	while (cells[at].entry != 0 && cells[at].tag != tag)
		at = (at + 1) & (t->cells.size - 1);
	return cells[at].entry;
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
		const struct mb_view *from = &v[t->first[i - n_before]];
		struct mb_group_key *key = &mb_keys_group(t, i)[k];
		const char *p = rows->p + from->start;
		uint64_t word[4];

		way.set(word, p, from->len, from->kind == MB_NULL, way.width);
		memcpy(key, word, sizeof *key);
		mb_group_key_set_kind(key, (enum mb_kind)from->kind);
		if (way.width != MB_WIDTH_SHORT && is_long(key))
			key->whole = keep_long(t, p, from->len);
	}
}

struct column {
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
		const struct mb_view *from = &v[t->first[i - n_before]];
		struct probe probe;

		set_row_probe(t, &probe, rows, from);
		set_key(t, &mb_keys_group(t, i)[k], &probe,
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

static const struct column narrow = { hash_short, fill_short,
	compare_short };

/* How the keys of a column are looked at. */
static const struct column *
column_of(const struct mb_rows *rows, const struct mb_view *v)
{
	static const struct column middle = { hash_middle, fill_middle,
		compare_middle };
	static const struct column any = { hash_any, fill_any, compare_any };
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
	static const struct column middle_avx512 = { hash_middle_avx512,
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
		group = mb_keys_group(t, numbers[i]);
		is_missed = (entry == 0) | differs(&group[0], word, NULL,
		    0, MB_WIDTH_SHORT);
		if (b != NULL)
			is_missed |= differs(&group[1], more, NULL, 0,
			    MB_WIDTH_SHORT);
		t->is_missed[i] = is_missed;
	}
}

/*
 * Where the first cell with the tag is, or the first free one.
 */
MB_KEY_INLINE size_t
look_at_cells(const struct mb_cell *cells, size_t last, size_t at,
    uint32_t tag)
{
	while (cells[at].entry != 0 && cells[at].tag != tag)
		at = (at + 1) & last;
	return at;
}

#if defined(__x86_64__)
/* The same in a large table, a line at a time. */
MB_AVX512 MB_KEY_INLINE size_t
look_at_lines(const struct mb_cell *cells, size_t last, size_t at,
    uint32_t tag)
{
	const __m512i want = _mm512_set1_epi32((int)tag);

	for (;; at = (at + MB_CELLS_LINE) & last) {
		__m512i line = _mm512_loadu_si512(&cells[at]);
		unsigned used = _mm512_test_epi32_mask(line, line) >> 1 &
		    0x5555;
		unsigned same = _mm512_cmpeq_epi32_mask(line, want) & used;
		/* The free ones are behind: which it is, nothing foresees. */
		unsigned ends = same | (used ^ 0x5555);

		if (ends != 0)
			return at + (unsigned)__builtin_ctz(ends) / 2;
	}
}
#endif

static inline void
fetch_cells(const struct mb_keys *t, size_t i)
{
	__builtin_prefetch(&mb_cells_of(&t->cells)[mb_cells_begin(&t->cells,
	    t->hashes[i])], 1);
}

/*
 * The first group with the tag of each row; if there is none, it is missed,
 * and t->at is where a new one's cell may be.  What isn't near is fetched some
 * rows ahead, all at once would be more than can be under way.  How many have
 * one?
 */
MB_KEY_INLINE size_t
guess_groups(struct mb_keys *t, size_t n, uint32_t *numbers,
    size_t (*look)(const struct mb_cell *cells, size_t last, size_t at,
    uint32_t tag))
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	const size_t last = t->cells.size - 1;
	const bool is_far = !is_near(t);
	size_t n_found = 0;

	for (size_t i = 0; i < AHEAD && i < n && is_far; i++)
		fetch_cells(t, i);
	for (size_t i = 0; i < n; i++) {
		if (is_far && i + AHEAD < n)
			fetch_cells(t, i + AHEAD);
		size_t at = look(cells, last, mb_cells_begin(&t->cells,
		    t->hashes[i]), mb_cells_tag(t->hashes[i]));
		uint32_t entry = cells[at].entry;

		t->at[i] = (uint32_t)at;
		t->is_missed[i] = entry == 0;
		n_found += entry > 0;
		/* What no group has is compared with one, too, in vain. */
		numbers[i] = entry - (entry > 0);
		t->guesses[i] = (char *)mb_keys_group(t, numbers[i]);
		if (is_far)
			__builtin_prefetch(t->guesses[i], 1);
	}
	return n_found;
}

static size_t
guess_by_cells(struct mb_keys *t, size_t n, uint32_t *numbers)
{
	return guess_groups(t, n, numbers, look_at_cells);
}

#if defined(__x86_64__)
MB_AVX512 static size_t
guess_by_lines(struct mb_keys *t, size_t n, uint32_t *numbers)
{
	return guess_groups(t, n, numbers, look_at_lines);
}
#endif

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
	entry = look_up(t, i);
	if (entry != 0)
		return entry - 1;
	entry = append_group(t, t->hashes[i], ordinal + rows->record[i]);
	group = mb_keys_group(t, entry);
	for (size_t k = 0; k < t->n_keys; k++)
		set_key(t, &group[k], &t->probes[k * MB_ROWS + i],
		    (enum mb_kind)view_of(rows, fields[k])[i].kind);
	return entry;
}

/* The keys of the groups from `begin` on, of rows first[0] and so on. */
static void
make_groups(struct mb_keys *t, const struct mb_rows *rows,
    const size_t *fields, uint64_t ordinal, size_t begin)
{
	for (size_t i = begin; i < t->n; i++)
		mb_ordinals_add(&t->ordinals, ordinal +
		    rows->record[t->first[i - begin]]);
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
			t->first[t->n - n_made] = (uint16_t)i;
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
	reserve(t, rows->n);
#if defined(__x86_64__)
	if (rows->isa == MB_ISA_AVX512 && t->cells.mask != SIZE_MAX)
		n_found = guess_by_lines(t, rows->n, numbers);
	else
#endif
		n_found = guess_by_cells(t, rows->n, numbers);
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

void
mb_keys_locate(const struct mb_keys *t, const uint32_t *numbers, size_t n,
    char **groups)
{
	for (size_t i = 0; i < n; i++)
		groups[i] = (char *)mb_keys_group(t, numbers[i]);
}

/*
 * The groups of the n probes, in rounds, so that what isn't near is fetched
 * for many at once.
 */
static void
look_up_all(struct mb_keys *t, size_t n, uint32_t *entries)
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);

	if (t->cells.size == 0) {
		memset(entries, 0, n * sizeof *entries);
		return;
	}
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(&cells[mb_cells_begin(&t->cells,
		    t->hashes[i])]);
	for (size_t i = 0; i < n; i++) {
		entries[i] = first_entry(t, t->hashes[i]);
		__builtin_prefetch(mb_keys_group(t, entries[i] - 1));
	}
	for (size_t i = 0; i < n; i++)
		if (entries[i] != 0 &&
		    !has_keys(t, mb_keys_group(t, entries[i] - 1), i))
			entries[i] = look_up(t, i);
}

void
mb_keys_merge(struct mb_keys *t, const struct mb_keys *from, size_t begin,
    size_t n, uint32_t *numbers, bool *is_new, bool *is_earlier)
{
	uint64_t ordinals[MB_ROWS];

	mb_ordinals_read(&from->ordinals, begin, n, ordinals);
	for (size_t i = 0; i < n; i++) {
		const struct mb_group_key *group = mb_keys_group(from,
		    begin + i);

		for (size_t k = 0; k < t->n_keys; k++)
			set_probe_of_key(t, &t->probes[k * MB_ROWS + i],
			    &group[k]);
		t->hashes[i] = hash_probes(t, i);
	}
	look_up_all(t, n, numbers);
	for (size_t i = 0; i < n; i++) {
		is_new[i] = numbers[i] == 0;
		if (is_new[i]) {
			numbers[i] = append_group(t, t->hashes[i],
			    ordinals[i]);
			memcpy(mb_keys_group(t, numbers[i]),
			    mb_keys_group(from, begin + i), t->group_size);
		} else {
			numbers[i]--;
			is_earlier[i] = mb_keys_lower_ordinal(t, numbers[i],
			    ordinals[i]);
		}
	}
}

/* Of a group that is in the table. */
static uint64_t
hash_group(const struct mb_keys *t, const struct mb_group_key *group)
{
	uint64_t hash = t->seeds.word[0];

	for (size_t k = 0; k < t->n_keys; k++) {
		const struct mb_group_key *key = &group[k];
		struct probe probe = { .word = { load_8((const char *)key) &
		    MB_KEY_BUT_KIND, load_8(key->rest) } };

		if (is_long(key))
			set_probe_of_key(t, &probe, key);
		hash = hash_words(&t->seeds, hash, probe.word, MB_WIDTH_ANY);
	}
	return finish(hash);
}

void
mb_keys_forget(struct mb_keys *t, size_t end)
{
	enum { STEP = 4 << 20 };	/* a call for each page would cost */
	size_t size = end * t->group_size;

	mb_cells_release(&t->cells);
	if (end < t->n && size - t->n_forgotten < STEP)
		return;
	mb_region_forget(&t->groups, t->n_forgotten, size);
	mb_ordinals_forget(&t->ordinals, end);
	t->n_forgotten = size;
}

uint64_t
mb_keys_probes(const struct mb_keys *t)
{
	const struct mb_cell *cells = mb_cells_of(&t->cells);
	uint64_t n = 0;

	for (size_t i = 0; i < t->cells.size; i++)
		if (cells[i].entry != 0)
			n += ((i - mb_cells_begin(&t->cells, hash_group(t,
			    mb_keys_group(t, cells[i].entry - 1)))) &
			    (t->cells.size - 1)) + 1;
	return n;
}
