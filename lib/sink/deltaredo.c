#include "sink/deltaredo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "delta/checkpoint.h"
#include "delta/fields.h"
#include "delta/files.h"
#include "sink/deltamark.h"

struct search {
	struct mb_deltaredo *out;
	char tag[64];
	uint64_t n_files;	/* that there should be; 0: not told */
	struct mb_delta_files tail;
};

/* An add of the table: is it one of the batch's? */
static void
look_at(struct search *s, struct mb_str action)
{
	struct mb_fields f = { 0 }, tags = { 0 };
	struct mb_buf text = { 0 };
	struct mb_str object;

	/* Most files are not; what else has these bytes is told below. */
	if (memmem(action.p, action.len, s->tag, strlen(s->tag)) == NULL)
		return;
	if (mb_fields_set(&f, action) == NULL &&
	    mb_fields_raw(&f, "tags", '{', &object) &&
	    mb_fields_set(&tags, object) == NULL &&
	    mb_fields_text(&tags, "mb.batch", &text) &&
	    strcmp(mb_buf_str(&text), s->tag) == 0) {
		if (mb_fields_text(&tags, "mb.files", &text))
			s->n_files = strtoull(mb_buf_str(&text), NULL, 10);
		mb_buf_reset(&text);
		mb_buf_add(&text, action.p, action.len);
		s->out->v = mb_realloc_array(s->out->v, s->out->n + 1,
		    sizeof *s->out->v);
		s->out->v[s->out->n++] = mb_buf_take(&text);
	}
	mb_fields_release(&f);
	mb_fields_release(&tags);
	mb_buf_release(&text);
}

/* A file of the checkpoint, unless a commit since has touched it. */
static int
take_line(void *arg, struct mb_str line, struct mb_err *err)
{
	struct search *s = arg;
	struct mb_str action;
	bool is_add, is_newer;
	int rc = mb_delta_file_of_line(line, &action, &is_add, err);

	if (rc <= 0 || !is_add)
		return rc < 0 ? -1 : 0;
	if (mb_delta_files_has(&s->tail, action, &is_newer, err) < 0)
		return -1;
	if (!is_newer)
		look_at(s, action);
	return 0;
}

static int
search(struct search *s, const struct mb_delta_state *state,
    const struct mb_delta_log *l, struct mb_err *err)
{
	int rc = 1;

	if (mb_delta_files_read_tail(&s->tail, state, l, err) < 0)
		return -1;
	if (state->checkpoint.version >= 0)
		rc = mb_delta_checkpoint_read(l, &state->checkpoint,
		    MB_DELTA_WANTS_FILES, take_line, s, err);
	if (rc <= 0)
		return rc < 0 ? -1 : mb_fail(err, MB_EBUSY, "%s: the "
		    "checkpoint of version %" PRId64 " has gone", l->place,
		    state->checkpoint.version);
	for (size_t i = 0; i < s->tail.keys.n; i++)
		if (s->tail.v[i].is_add)
			look_at(s, mb_str(s->tail.v[i].text));
	return 0;
}

int
mb_deltaredo_find(struct mb_deltaredo *out, const char *journal,
    uint64_t batch, const struct mb_delta_state *state,
    const struct mb_delta_log *l, struct mb_err *err)
{
	struct search s = { .out = out };
	int rc;

	mb_deltaredo_release(out);
	snprintf(s.tag, sizeof s.tag, "%.32s/%" PRIu64, journal, batch);
	rc = search(&s, state, l, err);
	mb_delta_files_release(&s.tail);
	if (rc < 0)
		return -1;
	if (out->n == 0 && mb_deltamark_is_empty(state, journal, batch))
		return 0;
	if (out->n == s.n_files && out->n > 0)
		return 0;
	return mb_fail(err, MB_EUSAGE, "%s: --redo: %s of the batch's files "
	    "is there as it was written: joined with others (--compact-to), "
	    "rewritten or removed, so its rows can't be told from the rest",
	    l->place, out->n == 0 ? "none" : "not every one");
}

void
mb_deltaredo_release(struct mb_deltaredo *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i]);
	free(r->v);
	*r = (struct mb_deltaredo){ 0 };
}
