/*
 * What a journal needs not keep: checkpoints, so that opening it is quick, and
 * rewriting, so that it doesn't grow for ever (I3 and I4 of journal.c).
 */
#include "journal/private.h"

#include <inttypes.h>
#include <malloc.h>
#include <string.h>

#include "journal/lines.h"

enum {
	CHECKPOINT_EVERY = 256 * 1024,	/* bytes of lines, at least */
	REWRITE_FROM = 64 * 1024,	/* bytes of file, at least */
};

/*
 * Append a checkpoint; the append lock is held, and all before is synced.  Who
 * dies in the middle of its parts leaves lines that say nothing.
 */
static int
put_checkpoint(struct mb_journal *j, struct mb_err *err)
{
	struct mb_checkpoint c = { 0 };
	struct mb_buf line = { 0 };
	uint64_t from = j->pos;
	bool has_more = true;
	int rc;

	rc = mb_journal_sync(j, err);
	while (rc == 0 && has_more) {
		mb_buf_reset(&line);
		has_more = mb_put_checkpoint_line(&line, &j->state, from, &c);
		rc = mb_journal_write(j, &line, err);
	}
	j->checkpoint_pos = j->pos;
	j->checkpoint_len = j->pos - from;
	/*
	 * What a part took to write and to parse lies in many pieces, which
	 * the allocator keeps by itself.
	 */
	mb_buf_release(&line);
	if (c.n_parts > 0)
		(void)malloc_trim(0);
	return rc;
}

/*
 * The state just before the plan of batch `keep`, and the logical offset of
 * that plan.  1 found, 0 not.
 */
static int
state_before(struct mb_journal *j, struct mb_state *s, uint64_t keep,
    uint64_t *where, struct mb_buf *open, struct mb_err *err)
{
	struct mb_scan r = { .name = j->path, .fd = j->fd };
	int rc;

	mb_state_init(s, false);
	while ((rc = mb_scan_next(&r, err)) > 0) {
		if (!r.is_good) {
			rc = mb_fail(err, MB_ECORRUPT, "%s: damaged at byte %"
			    PRIu64, j->path, r.off);
			break;
		}
		if (open->len == 0)
			mb_buf_add(open, r.line.p, r.line.len);
		if (mb_scan_is(r.line, "plan") && s->next_batch == keep) {
			*where = j->base + (r.off - j->head_len);
			break;
		}
		if (mb_journal_fold(&r, s, err) < 0) {
			rc = -1;
			break;
		}
	}
	mb_buf_release(&r.buf);
	return rc;
}

/* The `open` line of a rewritten file. */
void
mb_journal_put_open(struct mb_buf *out, const char *id, uint64_t base)
{
	size_t start = out->len;

	mb_line_begin(out, "open");
	mb_line_u64(out, "version", 1);
	mb_line_str(out, "id", id);
	mb_line_u64(out, "base", base);
	mb_line_seal(out, start);
}

static int
rewrite(struct mb_journal *j, uint64_t keep, struct mb_err *err)
{
	struct mb_stage *stage = NULL;
	struct mb_buf head = { 0 }, open = { 0 };
	struct mb_checkpoint c = { 0 };
	struct mb_state before;
	uint64_t where = 0;
	int rc = state_before(j, &before, keep, &where, &open, err);

	if (rc <= 0)
		goto out;
	rc = -1;
	if (mb_stage_open_in(&stage, j->dfd, j->dirfd, j->name, 0600, err) < 0)
		goto out;
	mb_journal_put_open(&head, j->state.id, where);
	for (bool has_more = true; has_more; mb_buf_reset(&head)) {
		has_more = mb_put_checkpoint_line(&head, &before, where, &c);
		if (mb_stage_write(stage, head.p, head.len, err) < 0)
			goto out;
	}
	if (mb_journal_copy(j, stage, mb_journal_place(j, where),
	    mb_journal_place(j, j->pos), err) < 0)
		goto out;
	if (mb_stage_replace(stage, err) < 0)
		goto out;
	rc = mb_journal_catch_up(j, err);
	if (rc == 0) {
		j->synced = j->pos;
		j->first_batch = before.next_batch;
	}
out:
	mb_stage_close(stage);
	mb_state_release(&before);
	mb_buf_release(&head);
	mb_buf_release(&open);
	return rc;
}

int
mb_journal_tidy(struct mb_journal *j, uint64_t retain, struct mb_err *err)
{
	uint64_t since = j->pos - j->checkpoint_pos, settled;
	bool wants_checkpoint = since >= CHECKPOINT_EVERY &&
	    since >= 2 * j->checkpoint_len;
	bool wants_rewrite;
	int rc = 0;

	settled = j->state.settled == MB_NONE ? 0 : j->state.settled + 1;
	if (retain == 0)
		retain = 1;	/* the rewrite begins at a plan */
	wants_rewrite = retain != MB_NONE && settled > j->first_batch &&
	    (settled - j->first_batch) / 2 > retain &&
	    j->pos - j->base >= REWRITE_FROM;
	if (!wants_checkpoint && !wants_rewrite)
		return 0;
	if (mb_journal_enter(j, err) < 0)
		return -1;
	if (wants_checkpoint)
		rc = put_checkpoint(j, err);
	if (rc == 0 && wants_rewrite)
		rc = rewrite(j, settled - retain, err);
	mb_journal_leave(j);
	return rc;
}

int
mb_journal_prune(struct mb_journal *j, struct mb_err *err)
{
	bool is_needless = false;
	int rc = 0;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	/* It begins at a plan: the last settled one. */
	if (j->state.settled != MB_NONE && j->state.settled > j->first_batch)
		rc = rewrite(j, j->state.settled, err);
	else
		is_needless = true;
	mb_journal_leave(j);
	return rc < 0 ? -1 : !is_needless;
}
