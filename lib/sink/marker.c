#include "sink/marker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

void
mb_marker_release(struct mb_marker *m)
{
	free(m->holes);
	*m = (struct mb_marker){ 0 };
}

void
mb_marker_copy(struct mb_marker *to, const struct mb_marker *from)
{
	*to = *from;
	to->holes = mb_realloc_array(NULL, from->n_holes, sizeof *to->holes);
	if (from->n_holes > 0)
		memcpy(to->holes, from->holes,
		    from->n_holes * sizeof *to->holes);
}

bool
mb_marker_eq(const struct mb_marker *a, const struct mb_marker *b)
{
	if (!a->exists || !b->exists)
		return a->exists == b->exists;
	return a->first == b->first && a->last == b->last &&
	    strcmp(a->digest.hex, b->digest.hex) == 0 &&
	    a->n_holes == b->n_holes && (a->n_holes == 0 ||
	    memcmp(a->holes, b->holes, a->n_holes * sizeof *a->holes) == 0);
}

/* The index of the first hole that isn't below `batch`. */
static size_t
hole_index(const struct mb_marker *m, uint64_t batch)
{
	size_t low = 0, high = m->n_holes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->holes[mid] < batch)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool
mb_marker_has(const struct mb_marker *m, uint64_t batch)
{
	size_t i;

	if (!m->exists || batch < m->first || batch > m->last)
		return false;
	i = hole_index(m, batch);
	return i == m->n_holes || m->holes[i] != batch;
}

uint64_t
mb_marker_find(const struct mb_marker *m, uint64_t batch,
    const uint64_t *from, size_t n_from)
{
	if (mb_marker_has(m, batch))
		return batch;
	for (size_t i = 0; i < n_from; i++)
		if (mb_marker_has(m, from[i]))
			return from[i];
	return MB_NONE;
}

uint64_t
mb_marker_count(const struct mb_marker *m)
{
	return m->exists ? m->last - m->first + 1 - m->n_holes : 0;
}

/*
 * Is batch `number`, which was passed over, there as far as it goes: did it
 * have no rows?  One that isn't kept any more is settled; later than the last
 * commit that had rows, it had none.
 */
static bool
had_no_rows(const struct mb_state *s, uint64_t number)
{
	const struct mb_batch *b = mb_state_batch(s, number);

	if (b == NULL)
		return s->rows_batch == MB_NONE || number > s->rows_batch;
	return b->state == MB_COMMITTED && !mb_batch_has_rows(b);
}

/* Insert [from, to) where holes may stand. */
static void
insert_holes(struct mb_marker *m, uint64_t from, uint64_t to,
    const struct mb_state *s, bool is_copy)
{
	for (uint64_t k = from; k < to; k++) {
		size_t i;

		if (!is_copy && had_no_rows(s, k))
			continue;
		i = hole_index(m, k);
		m->holes = mb_realloc_array(m->holes, m->n_holes + 1,
		    sizeof *m->holes);
		memmove(m->holes + i + 1, m->holes + i,
		    (m->n_holes - i) * sizeof *m->holes);
		m->holes[i] = k;
		m->n_holes++;
	}
}

void
mb_marker_add(struct mb_marker *m, uint64_t batch,
    const struct mb_hash *digest, const struct mb_state *s, bool is_copy)
{
	size_t i;

	if (!m->exists) {
		m->exists = true;
		m->first = m->last = batch;
		m->digest = *digest;
	} else if (batch > m->last) {
		insert_holes(m, m->last + 1, batch, s, is_copy);
		m->last = batch;
		m->digest = *digest;
	} else if (batch < m->first) {
		/* Only --redo comes from behind over batches without rows. */
		insert_holes(m, batch + 1, m->first, s, is_copy);
		m->first = batch;
	} else {
		i = hole_index(m, batch);
		assert(i < m->n_holes && m->holes[i] == batch);	/* I1 */
		m->n_holes--;
		memmove(m->holes + i, m->holes + i + 1,
		    (m->n_holes - i) * sizeof *m->holes);
	}
}

void
mb_marker_put_holes(struct mb_buf *out, const struct mb_marker *m)
{
	for (size_t i = 0, k; i < m->n_holes; i = k) {
		for (k = i + 1; k < m->n_holes &&
		    m->holes[k] == m->holes[k - 1] + 1; k++)
			;
		if (i > 0)
			mb_buf_addc(out, ',');
		mb_buf_addf(out, "%" PRIu64, m->holes[i]);
		if (k > i + 1)
			mb_buf_addf(out, "-%" PRIu64, m->holes[k - 1]);
	}
}

static bool
parse_number(const char **p, uint64_t *out)
{
	uint64_t v = 0;

	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++)
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	*out = v;
	return true;
}

int
mb_marker_parse_holes(struct mb_marker *m, const char *text,
    struct mb_err *err)
{
	uint64_t from, to, after = m->first;
	const char *p = text;

	while (*p != '\0') {
		if (!parse_number(&p, &from))
			goto bad;
		to = from;
		if (*p == '-') {
			p++;
			if (!parse_number(&p, &to))
				goto bad;
		}
		if (from <= after || to < from || to >= m->last)
			goto bad;
		after = to;
		m->holes = mb_realloc_array(m->holes,
		    m->n_holes + (to - from + 1), sizeof *m->holes);
		for (; from <= to; from++)
			m->holes[m->n_holes++] = from;
		if (*p == ',' && p[1] != '\0')
			p++;
		else if (*p != '\0')
			goto bad;
	}
	return 0;
bad:
	return mb_fail(err, MB_ECORRUPT, "marker: bad holes: \"%s\"", text);
}

/* What the journal says the digest of batch `number` is; NULL: forgotten. */
static const struct mb_hash *
digest_of(const struct mb_state *s, uint64_t number)
{
	const struct mb_batch *b = mb_state_batch(s, number);

	if (b != NULL)
		return &b->digest;
	return number == s->rows_batch ? &s->rows_digest : NULL;
}

/* Is the marker's history ours, as far as it goes? */
static int
compare_history(const struct mb_greeting *g, struct mb_err *err)
{
	const struct mb_state *s = g->state;
	const struct mb_marker *m = g->marker;
	const struct mb_hash *ours;

	if (m->last >= s->next_batch)
		return mb_fail(err, MB_ECORRUPT, "%s: has batch %" PRIu64
		    ", which the journal has not planned yet: the journal is "
		    "a copy or was restored from an older one (if there is no "
		    "newer one, move it away and make one with mb-collect "
		    "--adopt)", g->target, m->last);
	ours = digest_of(s, m->last);
	if (ours != NULL && strcmp(ours->hex, m->digest.hex) != 0)
		return mb_fail(err, MB_ECORRUPT, "%s: its batch %" PRIu64
		    " is not the journal's batch %" PRIu64 ": the journal is "
		    "a copy or was restored from an older one (if there is no "
		    "newer one, move it away and make one with mb-collect "
		    "--adopt)", g->target, m->last, m->last);
	return 0;
}

/* Is a batch that the journal says was committed with rows not there? */
static bool
lacks(const struct mb_greeting *g, uint64_t batch)
{
	return batch != MB_NONE && !g->has_no_marker &&
	    !mb_marker_has(g->marker, batch);
}

static int
refuse_older(const struct mb_greeting *g, uint64_t batch, struct mb_err *err)
{
	return mb_fail(err, MB_ECORRUPT, "%s: lacks batch %" PRIu64
	    ", which was committed: it was restored from an older copy; "
	    "--redo puts back what is replayed, --new-target goes on without",
	    g->target, batch);
}

int
mb_marker_greet(const struct mb_greeting *g, struct mb_err *err)
{
	const struct mb_state *s = g->state;
	bool is_other = s->target_id != NULL && (g->target_id == NULL ||
	    strcmp(s->target_id, g->target_id) != 0);

	if (g->marker->exists && compare_history(g, err) < 0)
		return -1;
	if (g->is_copy)
		return MB_COPY;
	if (is_other && g->is_replay && strcmp(s->target, g->target) != 0)
		return MB_COPY;
	if (g->accepts_new)
		return MB_OWN;
	if (g->redoes && (!is_other || strcmp(s->target, g->target) == 0))
		return MB_OWN;
	if (is_other && strcmp(s->target, g->target) != 0)
		return mb_fail(err, MB_ECORRUPT, "%s: the journal commits to "
		    "%s; --new-target changes that", g->target, s->target);
	if (is_other)
		return mb_fail(err, MB_ECORRUPT, "%s: is not the target that "
		    "the journal committed to: it was %s; --redo puts back "
		    "what is replayed, --new-target goes on with it",
		    g->target, g->target_id == NULL ? "removed" :
		    "dropped and made anew");
	if (lacks(g, s->rows_batch))
		return refuse_older(g, s->rows_batch, err);
	/*
	 * Beyond the last commit with rows, the sink can only hold what is
	 * still planned or parked, and that isn't forgotten.
	 */
	if (g->marker->exists && digest_of(s, g->marker->last) == NULL)
		return mb_fail(err, MB_ECORRUPT, "%s: has rows of batch %"
		    PRIu64 ", which had none by the journal: the journal is a "
		    "copy or was restored from an older one", g->target,
		    g->marker->last);
	if (!g->has_no_marker && mb_marker_count(g->marker) < s->held)
		return mb_fail(err, MB_ECORRUPT, "%s: holds %" PRIu64
		    " batches, but held %" PRIu64 " after the last commit: it "
		    "was restored from an older copy; --redo puts back what "
		    "is replayed, --new-target goes on without", g->target,
		    mb_marker_count(g->marker), s->held);
	return MB_OWN;
}

bool
mb_marker_is_behind(const struct mb_greeting *g)
{
	const struct mb_state *s = g->state;

	if (g->has_no_marker)
		return false;
	return mb_marker_count(g->marker) < s->held ||
	    (s->target_id != NULL && (g->target_id == NULL ||
	    strcmp(s->target_id, g->target_id) != 0));
}

int
mb_marker_tell(const struct mb_greeting *g, uint64_t batch, uint64_t *held,
    struct mb_err *err)
{
	const struct mb_state *s = g->state;

	*held = g->has_no_marker ? 0 : mb_marker_count(g->marker);
	if (g->accepts_new)
		return 0;
	if (!g->redoes && lacks(g, batch))
		return refuse_older(g, batch, err);
	if (!g->redoes && lacks(g, s->told_batch))
		return refuse_older(g, s->told_batch, err);
	/*
	 * Two committers may tell in another order than they stepped, and
	 * what is to be put back is still missing.
	 */
	if (!g->has_no_marker && *held < s->held)
		*held = s->held;
	return 0;
}

bool
mb_marker_is_emptied(const struct mb_marker *m, const struct mb_batch *b)
{
	return mb_batch_has_rows(b) && m->exists && b->number > m->first &&
	    b->number < m->last && !mb_marker_has(m, b->number);
}
