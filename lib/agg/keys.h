/*
 * keys.h - groups by their keys: which group does a record belong to?
 *
 * Keys are equal when their text is; null is a key of its own, and so is the
 * empty text.  A group is its keys, and behind them `state_size` bytes that
 * are the caller's, at first zeros.  Groups are numbered from 0 in the order in
 * which they were added; as they grow in number they move.  Its ordinal, that
 * of its first record, a group has elsewhere.
 *
 * The table is seeded: which keys collide can't be known outside.
 *
 * Tables of several threads become one, either by merging, group by group, or
 * by uniting them where they stand: of groups with the same keys one stays, and
 * the others are gone.
 */
#ifndef MB_AGG_KEYS_H
#define MB_AGG_KEYS_H

#include "record/rows.h"
#include "record/value.h"

/*
 * A key in 16 bytes.  Up to MB_KEY_SHORT bytes stand in it, with zeros
 * behind; longer ones elsewhere.
 */
enum {
	MB_KEY_SHORT = 12,
	MB_KEY_LEN = (1 << 28) - 1,	/* of meta; this or more */
	MB_KEY_NULL = 1 << 28,
	MB_KEY_KIND = 29,
	MB_KEY_GONE = 7,	/* for a kind */
};

struct mb_long_key {
	size_t len;
	char p[];
};

struct mb_group_key {
	/*
	 * From the lowest: 28 bits of the length, which saturate; a bit for
	 * null; 3 bits of the kind, which don't count when keys are compared.
	 */
	uint32_t meta;
	char text[4];		/* of a long one the first bytes, too */
	union {
		char rest[MB_KEY_SHORT - 4];
		const struct mb_long_key *whole;	/* of a long one */
	};
};

static inline struct mb_str
mb_group_key_text(const struct mb_group_key *key)
{
	size_t len = key->meta & MB_KEY_LEN;

	return len > MB_KEY_SHORT ?
	    (struct mb_str){ key->whole->p, key->whole->len } :
	    (struct mb_str){ key->text, len };
}

static inline enum mb_kind
mb_group_key_kind(const struct mb_group_key *key)
{
	return (enum mb_kind)(key->meta >> MB_KEY_KIND);
}

static inline void
mb_group_key_set_kind(struct mb_group_key *key, enum mb_kind kind)
{
	key->meta = (key->meta & ((1u << MB_KEY_KIND) - 1)) |
	    (uint32_t)kind << MB_KEY_KIND;
}

struct mb_keys;

void mb_keys_open(struct mb_keys **out, size_t n_keys, size_t state_size,
    uint64_t seed);
void mb_keys_close(struct mb_keys *t);

/* Forget all groups; a large memory is given back. */
void mb_keys_reset(struct mb_keys *t);

size_t mb_keys_count(const struct mb_keys *t);

/* Do the ordinals rise with the groups' numbers?  False if that isn't sure. */
bool mb_keys_are_in_order(const struct mb_keys *t);

uint64_t mb_keys_ordinal(const struct mb_keys *t, size_t i);

/*
 * A record belongs to group i: true, and its ordinal is now the group's, if it
 * is before it.
 */
bool mb_keys_lower_ordinal(struct mb_keys *t, size_t i, uint64_t ordinal);

size_t mb_keys_state_off(const struct mb_keys *t);	/* in a group */
struct mb_group_key *mb_keys_group(const struct mb_keys *t, size_t i);

/*
 * The group of a record whose keys are values[fields[0 … n_keys - 1]]; if it
 * is new it gets the ordinal.
 */
uint32_t mb_keys_find(struct mb_keys *t, const struct mb_value *values,
    const size_t *fields, uint64_t ordinal);

/*
 * The same for rows, whose keys are the views of these fields: the numbers of
 * the groups.  A new one gets `ordinal` plus its record.
 */
void mb_keys_find_rows(struct mb_keys *t, const struct mb_rows *rows,
    const size_t *fields, uint64_t ordinal, uint32_t *numbers);

/* Where n groups are, until one is added. */
void mb_keys_locate(const struct mb_keys *t, const uint32_t *numbers,
    size_t n, char **groups);

/*
 * Which of ours have the keys of the groups begin … begin + n - 1 of `from`,
 * n <= MB_ROWS, of as many keys and as large?  One that we lack is added as a
 * whole, ordinal, states and all, and is_new; of others *is_earlier tells that
 * `from` had it first, whose ordinal it then has.  Until mb_keys_join the texts
 * of its keys stay with `from`.
 */
void mb_keys_merge(struct mb_keys *t, const struct mb_keys *from,
    size_t begin, size_t n, uint32_t *numbers, bool *is_new,
    bool *is_earlier);

/*
 * The groups before number `end` of one that is being merged into another are
 * not needed any more, but for what they point to; from now on only reset and
 * close may follow, and the rest of the merge.  Call it again as that goes on.
 */
void mb_keys_forget(struct mb_keys *t, size_t end);

/* All of `from` has been merged: the texts of its keys are ours. */
void mb_keys_join(struct mb_keys *t, struct mb_keys *from);

/*
 * No key is looked for any more, from here on to reset or close, and the table
 * may be united with others.
 */
void mb_keys_settle(struct mb_keys *t);

struct mb_group_ref {
	uint32_t table, number;
};

/*
 * Unite settled tables, which have as many keys and the same seed.  All keys
 * fall into n_shares, which threads may go through side by side.
 *
 * Of groups with the same keys the one whose record was first stays as it is.
 * For each of the others `unite` is called, after which it is gone.  How many
 * went.
 */
size_t mb_keys_unite(struct mb_keys *const *tables, size_t n_tables,
    unsigned share, unsigned n_shares, void (*unite)(void *context,
    struct mb_group_ref stays, struct mb_group_ref goes), void *context);

/* One that is gone has no keys and no states any more. */
static inline bool
mb_group_is_gone(const struct mb_group_key *group)
{
	return group->meta >> MB_KEY_KIND == MB_KEY_GONE;
}

/* The group that has stayed instead of this one; or itself. */
struct mb_group_ref mb_keys_heir(struct mb_keys *const *tables,
    struct mb_group_ref group);

/*
 * For tests: how many cells are looked at until each group is found, all
 * groups together.
 */
uint64_t mb_keys_probes(const struct mb_keys *t);

#endif
