/*
 * memo.h - which group had these keys, where there are few groups.
 *
 * In front of the table of keys.h.  The keys of a row, together no more than
 * some words, are looked up as these words: what is found has them and no
 * others, so that nothing else need be looked at.  What isn't found says
 * nothing: where there are so few groups, nearly all are soon learned.
 *
 *	mb_memo_find		if it is true:
 *	mb_memo_learn		once all numbers are known
 */
#ifndef MB_AGG_MEMO_H
#define MB_AGG_MEMO_H

#include "record/rows.h"

enum { MB_MEMO_GROUPS = 1024 };	/* with more of them it isn't used */

struct mb_memo {
	size_t n_missed;	/* by the last find: how many, and which */
	bool is_missed[MB_ROWS];

	/* private */
	uint64_t factor[4];
	uint64_t *entries;
	unsigned bits;		/* of buckets */
	unsigned form, n_words;	/* of a row's keys */
	size_t n_used;
};

/* Which rows fall together can't be known without the seed. */
void mb_memo_init(struct mb_memo *m, uint64_t seed);
void mb_memo_release(struct mb_memo *m);

/* Forget all. */
void mb_memo_reset(struct mb_memo *m);

/*
 * The numbers of the rows' groups, but of those missed.  False: this isn't for
 * a memo.  There are n_groups > 0 of them, of n_keys > 0 keys.
 */
bool mb_memo_find(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, size_t n_keys, size_t n_groups, uint32_t *numbers);

/* The numbers of those missed, too, are known now. */
void mb_memo_learn(struct mb_memo *m, const struct mb_rows *rows,
    const size_t *fields, size_t n_keys, const uint32_t *numbers);

/*
 * The same for a record, once rows were learned: its group's number, or false;
 * and then what it is.
 */
bool mb_memo_find_one(const struct mb_memo *m, const struct mb_value *values,
    const size_t *fields, size_t n_keys, uint32_t *number);
void mb_memo_learn_one(struct mb_memo *m, const struct mb_value *values,
    const size_t *fields, size_t n_keys, uint32_t number);

#endif
