/*
 * marker.h - what a sink knows of a journal, and what follows from it.
 *
 * The marker is the first and the last batch in the sink, the digest of the
 * last, and the holes: batches between the two that are not there.  It moves
 * in the same atomic step as the data.  A batch is in the sink if it lies in
 * [first, last] and is no hole.
 *
 * Everything here decides and touches nothing; tests/model runs these very
 * functions over random histories.
 *
 * I1. A batch is in the sink at most once: it is only added where
 *     mb_marker_has says no, by compare and swap of the whole marker.
 * I2. A number that was passed over without rows of its own in the sink is a
 *     hole, unless its commit had no rows.
 * I3. One equal digest proves an equal history: digests are chained.
 */
#ifndef MB_SINK_MARKER_H
#define MB_SINK_MARKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/mem.h"
#include "journal/state.h"

struct mb_marker {
	bool exists;		/* false: the sink knows nothing of us */
	uint64_t first, last;
	struct mb_hash digest;	/* of last */
	uint64_t *holes;	/* rising */
	size_t n_holes;
};

void mb_marker_release(struct mb_marker *m);
void mb_marker_copy(struct mb_marker *to, const struct mb_marker *from);
bool mb_marker_eq(const struct mb_marker *a, const struct mb_marker *b);

bool mb_marker_has(const struct mb_marker *m, uint64_t batch);

/*
 * The first of these numbers that it has: the batch's own, then those that it
 * had before; MB_NONE.
 */
uint64_t mb_marker_find(const struct mb_marker *m, uint64_t batch,
    const uint64_t *from, size_t n_from);

/*
 * How many batches it holds.  Every move of a marker raises this number, so
 * a sink that holds fewer than a `commit` has said was restored from an older
 * copy, also where only a hole was filled since.
 */
uint64_t mb_marker_count(const struct mb_marker *m);

/*
 * The marker after `batch` has been added, which it must not hold yet (I1).
 * What the journal's state says of the numbers passed over makes the holes
 * (I2).  is_copy: the target isn't the journal's own, so every number passed
 * over is a hole.
 */
void mb_marker_add(struct mb_marker *m, uint64_t batch,
    const struct mb_hash *digest, const struct mb_state *s, bool is_copy);

/*
 * Holes as text: "3,5-7"; "" for none.  parse: MB_ECORRUPT if it isn't that,
 * or lies outside of (first, last), which must be set before.
 */
void mb_marker_put_holes(struct mb_buf *out, const struct mb_marker *m);
MB_CHECK int mb_marker_parse_holes(struct mb_marker *m, const char *text,
    struct mb_err *err);

/* What mb-commit compares at `hello`. */
struct mb_greeting {
	const struct mb_state *state;
	const struct mb_marker *marker;
	const char *target;	/* as given: "dir:/abs/out" */
	const char *target_id;	/* NULL: the target isn't there yet */
	bool is_replay;
	bool is_copy;		/* it settles nothing, whatever the target is */
	bool has_no_marker;	/* standard output: nothing to compare */
	bool accepts_new;	/* --new-target */
	bool redoes;		/* --redo: what is missing will be put back */
};

enum mb_welcome {
	MB_OWN,		/* the journal's own target: commits settle */
	MB_COPY,	/* another one: settles nothing */
};

/*
 * May this stream be committed there?  The answer, or -1: MB_ECORRUPT with a
 * line that says which of journal and sink was lost, copied or restored.
 */
MB_CHECK int mb_marker_greet(const struct mb_greeting *g, struct mb_err *err);

/*
 * Does the target lack batches that were committed there, or was it made anew?
 * As long as --redo has not put them all back no other batch may come in: the
 * number that it holds would then be as if nothing were missing.
 */
bool mb_marker_is_behind(const struct mb_greeting *g);

/*
 * May a `commit` with rows (or of a batch that was found) tell the journal
 * that the sink has `batch`?  *held is what it says of the sink.  The journal
 * has been read to its end; the marker was read after the last line that told
 * of rows, or moved by our own step since.
 *
 * MB_ECORRUPT, and nothing must be told: the sink was replaced between the
 * step and this.  Others can have stepped and told meanwhile only where locks
 * don't hold; they had no reason to refuse it, and after them nobody would.
 */
MB_CHECK int mb_marker_tell(const struct mb_greeting *g, uint64_t batch,
    uint64_t *held, struct mb_err *err);

/*
 * Was the batch, which is put back and has no rows, counted as held?  One that
 * was found may have had none then, too; if it was taken for a hole when later
 * ones were put back, the target holds one less than before for good.
 */
bool mb_marker_is_emptied(const struct mb_marker *m, const struct mb_batch *b);

#endif
