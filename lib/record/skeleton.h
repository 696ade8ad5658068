/*
 * skeleton.h - ndjson records of which nothing but the values is new.
 *
 * Where one record after the other has the same keys in the same order, all
 * the text between their values can be known in advance, and so can the
 * number of marks (marks.h) in front of each: every value is found without
 * the one before it.  A skeleton is that text of a record; it is learned from
 * one that shape.h has found to be good, and what has such a skeleton and
 * good values is a good record, too.
 *
 * Several are kept.  Which one a record may have is guessed from its first
 * bytes and from the record before.
 */
#ifndef MB_RECORD_SKELETON_H
#define MB_RECORD_SKELETON_H

#include <stdbool.h>

#include "record/marks.h"
#include "record/rows.h"

struct mb_skeletons;

enum { MB_BONES = 64 };		/* values of a record, plus 1 */

/* A text between values, and the value behind it. */
struct mb_bone {
	struct mb_str text;	/* borrowed; without the quotes of values */
	bool is_string;		/* the value */
	int field;		/* that the value is, or -1 */
	uint64_t resets;	/* fields that were found in vain, by bits */
};

void mb_skeletons_open(struct mb_skeletons **out, size_t n_fields);
void mb_skeletons_close(struct mb_skeletons *s);

/*
 * Before rows, once for many.  False: not these; lately most of what was
 * looked for wasn't there, and looking costs more than it saves.
 */
bool mb_skeletons_begin(struct mb_skeletons *s);

/*
 * Add rows for records from p + rows->start[rows->n_records] on as long as
 * they have a skeleton that is known, as mb_shape_rows does; all views of such
 * a row are set.  Returns `last`
 * of the last one's, and `before` if there is none.
 */
unsigned mb_skeletons_rows(struct mb_skeletons *s, const struct mb_marks *m,
    uint32_t *at, const char *p, struct mb_rows *rows, uint64_t *seen,
    unsigned before);

/*
 * The record in front of which mb_skeletons_rows has stopped was found to be
 * good; its key is a hash of its bones.  True: they are asked for.
 */
bool mb_skeletons_wants(struct mb_skeletons *s, uint64_t key);

/* Those are they, the last one without a value.  `last` is the caller's. */
void mb_skeletons_learn(struct mb_skeletons *s, uint64_t key,
    const struct mb_bone *bones, size_t n_bones, unsigned last);

#endif
