/*
 * keys_parts.h - what the parts of mb_keys share; for nobody else.
 *
 *	keys.c		the table; one record; groups of another table
 *	keys_rows.c	rows at once
 *	keys_unite.c	groups of several tables, where they stand
 */
#ifndef MB_AGG_KEYS_PARTS_H
#define MB_AGG_KEYS_PARTS_H

#include "agg/cells.h"
#include "agg/key_words.h"
#include "agg/keys.h"
#include "agg/memo.h"
#include "agg/ordinals.h"
#include "base/hash.h"

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
	size_t n_there, n_forgotten;	/* bytes of the groups */

	enum mb_isa isa;	/* of the rows so far */

	/* In hand; the probe for key k of row i is [k * MB_ROWS + i]. */
	struct probe *probes;
	const struct mb_key_column **columns;	/* by key */
	uint64_t hashes[MB_ROWS];
	char *guesses[MB_ROWS];	/* groups */
	bool is_missed[MB_ROWS];	/* the group isn't the guess */
	uint32_t at[MB_ROWS];		/* the cell where looking ended */
	uint16_t waiting[MB_ROWS];	/* rows that wait, for a line of cells or
					   for their groups to be made */
};

static inline struct mb_group_key *
group_at(const struct mb_keys *t, size_t i)
{
	return (struct mb_group_key *)(t->groups.p + i * t->group_size);
}

/*
 * Keys that are looked for.
 */

/* Of any text, with nothing readable behind it. */
static inline void
set_probe(const struct mb_keys *t, struct probe *probe, const char *p,
    size_t len, bool is_null)
{
	char padded[MB_KEY_MIDDLE] = { 0 };

	_Static_assert((int)MB_KEY_MIDDLE <= (int)MB_VIEW_SLACK,
	    "views can be read");
	_Static_assert(offsetof(struct mb_group_key, rest) ==
	    offsetof(struct mb_group_key, text) + 4 &&
	    sizeof(struct mb_group_key) == 16,
	    "two words, and the text in one piece");
	*probe = (struct probe){ .p = p, .len = len };
	if (len <= MB_KEY_MIDDLE) {
		memcpy(padded, p, len);
		set_words(probe->word, padded, len, is_null, MB_WIDTH_MIDDLE);
		return;
	}
	probe->word[0] = head_of(meta_of(len, is_null), mb_load_4(p));
	probe->word[1] = mb_hash64(p, len, t->seeds.word[0]);
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

static inline uint64_t
hash_probes(const struct mb_keys *t, size_t i)
{
	uint64_t hash = t->seeds.word[0];

	for (size_t k = 0; k < t->n_keys; k++)
		hash = hash_words(&t->seeds, hash, t->probes[k * MB_ROWS + i].word,
		    MB_WIDTH_ANY);
	return finish(hash);
}

static inline bool
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

/* Are the keys of the groups, both of tables, the same? */
static inline bool
have_same_keys(const struct mb_keys *t, const struct mb_group_key *a,
    const struct mb_group_key *b)
{
	for (size_t k = 0; k < t->n_keys; k++, a++, b++) {
		if (((mb_load_8(a) ^ mb_load_8(b)) & MB_KEY_BUT_KIND) != 0)
			return false;
		if (is_long(a) ? a->whole->len != b->whole->len ||
		    memcmp(a->whole->p, b->whole->p, a->whole->len) != 0 :
		    mb_load_8(a->rest) != mb_load_8(b->rest))
			return false;
	}
	return true;
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
 * Where is the first cell with the tag, or the first free one, from *at on?
 * False: not in that line, and *at is where the next one begins.
 */
MB_KEY_INLINE bool
look_at_cells(const struct mb_cell *cells, size_t last, size_t *at,
    uint32_t tag)
{
	do {
		const struct mb_cell *cell = &cells[*at];

		if (cell->entry == 0 || cell->tag == tag)
			return true;
		*at = (*at + 1) & last;
	} while (*at % MB_CELLS_LINE != 0);
	return false;
}

#if defined(__x86_64__)
/* The same in a large table, where looking begins with a line. */
MB_AVX512 MB_KEY_INLINE bool
look_at_line(const struct mb_cell *cells, size_t last, size_t *at,
    uint32_t tag)
{
	__m512i line = _mm512_loadu_si512(&cells[*at]);
	unsigned used = _mm512_test_epi32_mask(line, line) >> 1 & 0x5555;
	unsigned same = _mm512_cmpeq_epi32_mask(line,
	    _mm512_set1_epi32((int)tag)) & used;
	/* The free ones are behind: which it is, nothing foresees. */
	unsigned ends = same | (used ^ 0x5555);

	if (ends == 0) {
		*at = (*at + MB_CELLS_LINE) & last;
		return false;
	}
	*at += (unsigned)__builtin_ctz(ends) / 2;
	return true;
}
#endif

/*
 * keys.c
 */

/* The entry of the group with the keys of the probes i, or 0. */
uint32_t mb_keys_look_up(const struct mb_keys *t, size_t i);

/* Room for n more groups, which are all zeros. */
void mb_keys_reserve(struct mb_keys *t, size_t n);

/* A new group with this hash, in the table, all zeros; its number. */
uint32_t mb_keys_append(struct mb_keys *t, uint64_t hash, uint64_t ordinal);

/* A text that a key points to. */
const struct mb_long_key *mb_keys_keep(struct mb_keys *t, const char *p,
    size_t len);
void mb_keys_set_key(struct mb_keys *t, struct mb_group_key *key,
    const struct probe *probe, enum mb_kind kind);

/*
 * keys_rows.c
 */

/*
 * The first group with the tag of each of n hashes; if there is none, it is
 * missed, and t->at is where a new one's cell may be.  How many have one?
 */
size_t mb_keys_guess(struct mb_keys *t, size_t n, uint32_t *numbers);

#endif
