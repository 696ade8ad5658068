/*
 * Joining.  The new file is written first; then, as with any commit, the log
 * is read on and every file that is to be removed must still be there: what
 * somebody else has rewritten, deleted from or removed would come back to life
 * otherwise.
 */
#include "sink/deltatidy.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/opt.h"
#include "delta/commit.h"
#include "delta/gate.h"
#include "sink/deltajoin.h"

enum { MAX_RACES = 5 };

static void
put_join(const struct mb_deltatidy *t, struct mb_buf *out,
    const struct mb_deltasmall_file *v, size_t n,
    const struct mb_deltajoin *j, const char *txn_id, int64_t now_ms)
{
	char tag[48];

	mb_delta_put_info(out, &(struct mb_delta_info){
		.time_ms = now_ms, .operation = "OPTIMIZE",
		.in_commit_ms = mb_delta_state_next_time(t->state, now_ms),
		.txn_id = txn_id, .version = MB_VERSION,
	});
	for (size_t i = 0; i < n; i++)
		mb_delta_put_remove(out, v[i].action, false, now_ms);
	snprintf(tag, sizeof tag, "%.32s/%u", t->journal, v[0].level + 1);
	mb_delta_put_add(out, &(struct mb_delta_add){
		.path = j->path, .partition = v[0].partition,
		.size = j->file.size, .time_ms = now_ms,
		.stats = j->file.stats, .n_tags = 1,
		.tags = &(struct mb_delta_tag){ "mb.joined", tag },
	});
}

/* Is everything as it was when the files were read? */
static bool
is_as_before(const struct mb_deltatidy *t, const struct mb_deltasmall_file *v,
    size_t n, const char *meta)
{
	struct mb_err ignored = { 0 };

	if (strcmp(meta, t->state->meta.text) != 0 || mb_delta_gate_append(
	    &t->state->protocol, &t->state->meta, &t->state->schema,
	    &ignored) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!mb_deltasmall_has(t->small, v[i].action))
			return false;
	return true;
}

static int
commit_join(struct mb_deltatidy *t, const struct mb_deltasmall_file *v,
    size_t n, struct mb_deltajoin *j, const char *meta, int64_t now_ms,
    struct mb_err *err)
{
	char txn_id[MB_UUID_LEN + 1];
	struct mb_buf text = { 0 };
	int rc = 0;

	if (mb_delta_uuid(txn_id, err) < 0)
		return -1;
	for (int i = 0; rc == 0 && i < MAX_RACES; i++) {
		struct mb_err why = { 0 };
		struct mb_stage *stage;

		t->state->awaits = txn_id;
		t->state->has_seen = false;
		rc = mb_delta_state_advance(t->state, t->log, err);
		if (rc == 0 && t->state->has_seen)
			rc = 1;
		else if (rc == 0 && !is_as_before(t, v, n, meta))
			break;
		if (rc == 0)
			rc = mb_datafile_name(&j->file, err);
		if (rc != 0)
			break;
		mb_buf_reset(&text);
		put_join(t, &text, v, n, j, txn_id, now_ms);
		rc = mb_delta_log_stage(&stage, t->log, t->state->version + 1,
		    (struct mb_str){ text.p, text.len }, err);
		if (rc == 0 && mb_datafile_settle(&j->file, err) < 0) {
			mb_stage_close(stage);
			rc = -1;
		}
		if (rc < 0)
			break;
		if (mb_delta_log_add(t->log, stage, &why) == 0) {
			rc = mb_delta_state_apply(t->state, t->log,
			    (struct mb_str){ text.p, text.len }, err) < 0 ?
			    -1 : 1;
			t->is_unknown = rc < 0;
		} else if (why.code != MB_EEXIST) {
			*err = why;
			t->is_unknown = true;
			rc = -1;
		}
	}
	t->state->awaits = NULL;
	t->state->has_seen = false;
	mb_buf_release(&text);
	return rc;
}

int
mb_deltatidy_join(struct mb_deltatidy *t, uint64_t budget, int64_t now_ms,
    struct mb_err *err)
{
	struct mb_deltasmall_file v[MB_DELTA_JOIN];
	struct mb_deltajoin j = { .dirfd = t->rootfd,
		.tmpfd = t->log->tmpfd, .syncs = t->syncs, .codec = t->codec,
		.schema = &t->state->schema, .meta = &t->state->meta };
	struct mb_arena arena = { 0 };
	size_t n = mb_deltasmall_choose(t->small, budget, v);
	char *meta;
	int rc;

	t->is_unknown = false;
	t->joined_bytes = 0;
	if (n == 0)
		return 0;
	/* What was chosen goes as soon as the log is read on. */
	for (size_t i = 0; i < n; i++) {
		t->joined_bytes += v[i].size;
		v[i].action.p = mb_arena_dup(&arena, v[i].action.p,
		    v[i].action.len);
		v[i].partition = mb_arena_dup(&arena, v[i].partition,
		    strlen(v[i].partition));
	}
	meta = mb_strdup(t->state->meta.text);
	rc = mb_deltajoin_run(&j, v, n, err);
	if (rc > 0) {
		rc = commit_join(t, v, n, &j, meta, now_ms, err);
		if (rc <= 0 && !t->is_unknown)
			mb_datafile_unname(&j.file);
	} else if (rc == 0) {
		rc = mb_fail(err, MB_EDATA, "%s: its small files can't be "
		    "joined: their columns aren't the table's", t->log->place);
	}
	mb_deltajoin_release(&j);
	mb_arena_release(&arena);
	free(meta);
	return rc;
}
