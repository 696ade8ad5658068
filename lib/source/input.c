#include "source/cut_parts.h"

#include <stdlib.h>
#include <string.h>

void
mb_input_free_rejects(struct mb_input *in)
{
	for (size_t i = 0; i < in->n_rejects; i++)
		free(in->rejects[i].reason);
	in->n_rejects = 0;
}

void
mb_input_free(struct mb_input *in)
{
	mb_input_free_rejects(in);
	free(in->rejects);
	free(in->ranges);
	free(in->old_fields);
	free(in->old_format);
	free(in->trouble);
	mb_generation_release(&in->g);
	mb_hasher_close(in->hasher);
	mb_buf_release(&in->tail);
	mb_kept_release(&in->kept);
	free(in->seen);
	free(in);
}

bool
mb_input_note_trouble(struct mb_input *in, struct mb_err *err)
{
	if (err->code != MB_EIO || in->g.spool != MB_NONE)
		return false;
	free(in->trouble);
	in->trouble = mb_strdup(err->msg);
	*err = (struct mb_err){ 0 };
	return true;
}

void
mb_input_end_trouble(struct mb_input *in)
{
	free(in->trouble);
	in->trouble = NULL;
}

const char *
mb_input_trouble(const struct mb_input *in)
{
	return in->trouble;
}

void
mb_input_replace(struct mb_input *in, struct mb_content *content)
{
	in->content = content;
	in->has_changed = false;
}

void
mb_input_hold(struct mb_input *in, bool is_held)
{
	in->is_held = is_held;
}

bool
mb_input_is_held(const struct mb_input *in)
{
	return in->is_held;
}

void
mb_input_final(struct mb_input *in, bool is_final)
{
	in->is_final = is_final;
}

bool
mb_input_contributes(const struct mb_input *in)
{
	return in->records > 0 || in->n_ranges > 0 || in->n_rejects > 0;
}

bool
mb_input_is_done(const struct mb_input *in)
{
	return in->is_exhausted && !in->has_changed &&
	    !mb_input_contributes(in);
}

const char *
mb_input_source(const struct mb_input *in)
{
	return in->g.source;
}

uint64_t
mb_input_generation(const struct mb_input *in)
{
	return in->is_known ? in->g.id : MB_NONE;
}

uint64_t
mb_input_planned(const struct mb_input *in)
{
	return in->g.end;
}

bool
mb_input_is_read(const struct mb_input *in)
{
	return in->is_at_end;
}

uint64_t
mb_input_read(const struct mb_input *in)
{
	return in->has_start ? in->split.off : in->g.end + in->looked;
}

uint64_t
mb_input_rest(const struct mb_input *in)
{
	return in->has_start ? in->split.off - in->split.complete :
	    in->looked;
}

/*
 * The anchors at `end`.  A spool's first bytes may have been removed; they
 * are ours and do not change, so the head is the one before.
 */
int
mb_input_anchors(struct mb_input *in, uint64_t end, struct mb_hash *head,
    struct mb_hash *tail, struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	ssize_t n;

	if (in->g.spool == MB_NONE || in->g.anchored < MB_ANCHOR)
		return mb_content_anchors(in->content, end, head, tail, err);
	n = mb_content_read(in->content, bytes, sizeof bytes,
	    end - sizeof bytes, err);
	if (n < 0)
		return -1;
	*head = mb_hash_unpack(&in->g.head);
	*tail = mb_hash_bytes(bytes, sizeof bytes);
	return n == (ssize_t)sizeof bytes;
}

void
mb_input_remember(struct mb_input *in, const char *p, uint64_t from)
{
	size_t len, keep;

	if (in->split.off <= from) {
		uint64_t back = from - in->split.off;

		in->n_seen -= back < in->n_seen ? (size_t)back : in->n_seen;
		return;
	}
	len = (size_t)(in->split.off - from);
	keep = len < MB_ANCHOR ? MB_ANCHOR - len : 0;
	if (in->seen == NULL)
		in->seen = mb_alloc(MB_ANCHOR);
	if (keep > in->n_seen)
		keep = in->n_seen;
	memmove(in->seen, in->seen + in->n_seen - keep, keep);
	if (len > MB_ANCHOR) {
		p += len - MB_ANCHOR;
		len = MB_ANCHOR;
	}
	memcpy(in->seen + keep, p, len);
	in->n_seen = keep + len;
}

int
mb_input_follows(struct mb_input *in, struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	ssize_t n;

	if (in->n_seen == 0 || in->g.spool != MB_NONE ||
	    !mb_content_is_plain(in->content))
		return 1;
	n = mb_content_read(in->content, bytes, in->n_seen, in->split.off -
	    in->n_seen, err);
	return n < 0 ? -1 : (size_t)n == in->n_seen &&
	    memcmp(bytes, in->seen, in->n_seen) == 0;
}

bool
mb_input_has_changed(const struct mb_input *in)
{
	return in->has_changed;
}

uint64_t
mb_input_evidence(const struct mb_input *in)
{
	uint64_t n = in->g.anchored > in->n_seen ? in->g.anchored : in->n_seen;

	return n < MB_ANCHOR ? n : MB_ANCHOR;
}

/*
 * A file that was truncated and written anew may have grown beyond what was
 * read of it, so that only these comparisons tell: that of the journal's
 * anchors, and, since what was scanned is not yet in the journal, that of the
 * bytes themselves.
 */
int
mb_input_matches(struct mb_input *in, struct mb_content *c,
    struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	ssize_t n;
	int rc;

	if (mb_input_evidence(in) == 0)
		return 0;
	rc = mb_content_reaches(c, mb_input_read(in), err);
	if (rc > 0 && in->g.anchored > 0) {
		struct mb_hash head = mb_hash_unpack(&in->g.head);
		struct mb_hash tail = mb_hash_unpack(&in->g.tail);

		rc = mb_content_matches(c, in->g.anchored, &head, &tail, err);
	}
	if (rc <= 0 || in->n_seen == 0)
		return rc;
	n = mb_content_read(c, bytes, in->n_seen, in->split.off - in->n_seen,
	    err);
	if (n < 0)
		return -1;
	return (size_t)n == in->n_seen &&
	    memcmp(bytes, in->seen, in->n_seen) == 0;
}

int
mb_input_check(struct mb_input *in, struct mb_err *err)
{
	if (in->g.spool != MB_NONE)
		return 1;
	if (in->has_changed)
		return 0;
	if (mb_input_evidence(in) == 0)
		return mb_content_reaches(in->content, mb_input_read(in), err);
	return mb_input_matches(in, in->content, err);
}
