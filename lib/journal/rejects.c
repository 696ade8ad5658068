#include "journal/rejects.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "durable/stage.h"

enum {
	KEPT = 1 << 20,		/* of a record */
	IN_MEMORY = 1 << 20,	/* then the lines go to the stage */
};

struct mb_rejects {
	struct mb_journal *journal;
	uint64_t batch;
	char name[128];
	uint64_t n;
	struct mb_buf lines;
	int dirfd;
	struct mb_stage *stage;
	struct mb_err err;	/* the first failure, told by publish */
};

struct mb_rejects *
mb_rejects_open(struct mb_journal *j, const char *stage, uint64_t batch)
{
	struct mb_rejects *r = mb_alloc(sizeof *r);

	*r = (struct mb_rejects){ .journal = j, .batch = batch, .dirfd = -1 };
	snprintf(r->name, sizeof r->name, "%s-%09" PRIu64 ".ndjson", stage,
	    batch);
	return r;
}

uint64_t
mb_rejects_count(const struct mb_rejects *r)
{
	return r->n;
}

static int
spill(struct mb_rejects *r, struct mb_err *err)
{
	struct mb_buf head = { 0 };
	int rc;

	if (r->stage == NULL) {
		r->dirfd = mb_journal_subdir(r->journal, "rejects", err);
		if (r->dirfd < 0 || mb_stage_sweep(r->dirfd, err) < 0 ||
		    mb_stage_open(&r->stage, r->dirfd, r->name, 0600, err) < 0)
			return -1;
		mb_line_begin(&head, "rejects");
		mb_line_str(&head, "journal",
		    mb_journal_state(r->journal)->id);
		mb_line_u64(&head, "batch", r->batch);
		mb_line_seal(&head, 0);
		rc = mb_stage_write(r->stage, head.p, head.len, err);
		mb_buf_release(&head);
		if (rc < 0)
			return -1;
	}
	rc = mb_stage_write(r->stage, r->lines.p, r->lines.len, err);
	mb_buf_reset(&r->lines);
	return rc;
}

void
mb_rejects_add(struct mb_rejects *r, const struct mb_rejected *x)
{
	struct mb_str data = x->data;

	r->n++;
	if (r->err.code != MB_OK)
		return;
	if (data.len > KEPT)
		data.len = KEPT;
	mb_line_open(&r->lines, NULL, '{');
	mb_line_u64(&r->lines, "batch", r->batch);
	if (x->source != NULL) {
		mb_line_bytes(&r->lines, "source", mb_str(x->source));
		mb_line_u64(&r->lines, "offset", x->offset);
	}
	if (x->record != MB_NONE)
		mb_line_u64(&r->lines, "record", x->record);
	mb_line_u64(&r->lines, "length", x->length);
	mb_line_str(&r->lines, "reason", x->reason);
	mb_line_bytes(&r->lines, "data", data);
	mb_line_close(&r->lines, '}');
	mb_buf_addc(&r->lines, '\n');
	if (r->lines.len > IN_MEMORY)
		(void)spill(r, &r->err);
}

/* One call, for it is made for every batch, and mostly nothing is there. */
static int
remove_old(struct mb_rejects *r, struct mb_err *err)
{
	char path[sizeof "rejects/" + sizeof r->name];

	snprintf(path, sizeof path, "rejects/%s", r->name);
	if (unlinkat(mb_journal_dirfd(r->journal), path, 0) < 0 &&
	    errno != ENOENT)
		return mb_fail_sys(err, "remove %s.d/%s",
		    mb_journal_path(r->journal), path);
	return 0;
}

int
mb_rejects_publish(struct mb_rejects *r, struct mb_err *err)
{
	if (r->err.code != MB_OK) {
		*err = r->err;
		return -1;
	}
	if (r->n == 0)
		return remove_old(r, err);
	if (spill(r, err) < 0 || mb_stage_replace(r->stage, err) < 0)
		return mb_wrap(err, "rejects");
	return 0;
}

void
mb_rejects_close(struct mb_rejects *r)
{
	if (r == NULL)
		return;
	mb_stage_close(r->stage);
	if (r->dirfd >= 0)
		close(r->dirfd);
	mb_buf_release(&r->lines);
	free(r);
}
