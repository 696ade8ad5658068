#include "source/stream.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "journal/lines.h"
#include "source/pin.h"

static void
tell(struct mb_chain *c, const char *what)
{
	c->w->tell(c->w->arg, c->path->name, what);
}

void
mb_chain_explain(struct mb_chain *c, const char *path, int error)
{
	mb_buf_reset(&c->why);
	mb_show(&c->why, mb_str(path));
	mb_buf_addf(&c->why, ": %s", strerror(error));
}

int
mb_chain_hide(struct mb_chain *c, struct mb_err *err)
{
	const char *why = mb_buf_str(&c->why);

	if (!c->w->options->follows)
		return mb_fail(err, MB_EIO, "%s", why);
	if (!(c->path->flags & MB_PATH_TOLD))
		c->w->tell(c->w->arg, NULL, why);
	c->path->flags |= MB_PATH_TOLD;
	c->is_hidden = true;
	return MB_CHAIN_AGAIN;
}

int
mb_chain_hide_for(struct mb_chain *c, const char *why, struct mb_err *err)
{
	mb_buf_reset(&c->why);
	mb_buf_adds(&c->why, why);
	return mb_chain_hide(c, err) < 0 ? -1 : 0;
}

int
mb_chain_excuse(struct mb_chain *c, struct mb_err *err)
{
	struct mb_err why = *err;

	if (err->code != MB_EIO || !c->w->options->follows)
		return -1;
	*err = (struct mb_err){ 0 };
	return mb_chain_hide_for(c, why.msg, err);
}

/* What a link leads to; NULL: it is none.  The caller frees it. */
static char *
target_of(const char *path)
{
	char text[PATH_MAX];

	return readlink(path, text, sizeof text) < 0 ? NULL :
	    realpath(path, NULL);
}

/* The steady time that a file's own times mean. */
static int64_t
steady_us(const struct mb_chain *c, int64_t ns)
{
	int64_t age_us = (c->w->wall_ns - ns) / 1000;

	return c->w->now_us - (age_us > 0 ? age_us : 0);
}

/* Where does it end for us?  Without -f where it ends now. */
static int
set_end(struct mb_chain *c, struct mb_stream *t, struct mb_err *err)
{
	const struct mb_look *at_start = &c->path->look;
	bool is_as_found = at_start->state == MB_PATH_FILE &&
	    mb_inode_equal(&at_start->inode, &t->seen.inode);

	if (c->w->options->follows)
		return 0;
	mb_input_final(t->input, t->is_live && c->w->options->is_final);
	return mb_content_seal(t->file.content, t->is_live && is_as_found ?
	    at_start->size : UINT64_MAX, err);
}

int
mb_stream_open(struct mb_chain *c, struct mb_located *file,
    const struct mb_generation *known, bool is_live, struct mb_err *err)
{
	struct mb_chain_world *w = c->w;
	struct mb_stream *t = mb_alloc(sizeof *t);
	char *target;

	*t = (struct mb_stream){
		.file = *file, .seen = file->look, .is_live = is_live,
		.whole_ns = file->look.mtime_ns,
		.grown_us = steady_us(c, mb_look_latest_ns(&file->look)),
	};
	*file = (struct mb_located){ .fd = -1 };
	c->streams = mb_realloc_array(c->streams, c->n + 1,
	    sizeof *c->streams);
	c->streams[c->n++] = t;
	t->input = mb_input_add(w->cutter, c->path->rank, known != NULL ?
	    known->source : c->path->name, MB_NONE, t->file.content, known);
	/* See mb_successor_settle. */
	mb_input_hold(t->input, is_live && known == NULL &&
	    (c->n > 1 || c->after_ns != INT64_MAX));
	if (known == NULL) {
		target = is_live ? target_of(c->path->name) : NULL;
		mb_input_locate(t->input, t->seen.inode.dev,
		    t->seen.inode.ino, t->seen.inode.born_ns, target);
		free(target);
	}
	if (w->options->pins && mb_pin_add(w->journal, t->file.fd,
	    t->file.path, &t->seen.inode, err) < 0)
		return -1;
	return set_end(c, t, err);
}

static void
stop_using(struct mb_chain *c, struct mb_stream *t)
{
	if (t->is_in_use)
		mb_emitter_use(c->w->emitter, mb_input_generation(t->input),
		    NULL);
	t->is_in_use = false;
}

void
mb_stream_close(struct mb_chain *c, size_t i)
{
	struct mb_stream *t = c->streams[i];

	c->has_after = true;
	if (!mb_input_is_held(t->input)) {
		c->after = t->seen.inode;
		c->after_ns = t->seen.mtime_ns;
	}
	stop_using(c, t);
	mb_input_remove(c->w->cutter, t->input);
	mb_located_release(&t->file);
	free(t);
	c->n--;
	memmove(c->streams + i, c->streams + i + 1, (c->n - i) *
	    sizeof *c->streams);
}

/* The same bytes stand in this file: go on there. */
static int
move_stream(struct mb_chain *c, struct mb_stream *t, struct mb_located *file,
    bool is_live, struct mb_err *err)
{
	struct mb_located old = t->file;

	t->file = *file;
	*file = (struct mb_located){ .fd = -1 };
	t->seen = t->file.look;
	t->whole_ns = t->seen.mtime_ns;
	t->is_live = is_live;
	t->is_broken = false;
	t->grown_us = steady_us(c, mb_look_latest_ns(&t->seen));
	mb_input_replace(t->input, t->file.content);
	if (t->is_in_use)
		mb_emitter_use(c->w->emitter, mb_input_generation(t->input),
		    t->file.content);
	mb_located_release(&old);
	return set_end(c, t, err);
}

int
mb_chain_lose(struct mb_chain *c, uint64_t generation, uint64_t start, uint64_t end,
    struct mb_err *err)
{
	struct mb_buf text = { 0 };

	mb_buf_adds(&text, "was replaced or truncated; it is read anew from "
	    "its start");
	if (end != MB_NONE)
		mb_buf_addf(&text, ", and its bytes %" PRIu64 " to %" PRIu64
		    " are lost", start, end);
	else
		mb_buf_addf(&text, ", and what it had behind byte %" PRIu64
		    ", if anything, is lost", start);
	if (c->w->options->is_strict) {
		mb_fail(err, MB_EDATA, "%s: %s (--strict)", c->path->name,
		    mb_buf_str(&text));
		mb_buf_release(&text);
		return -1;
	}
	tell(c, mb_buf_str(&text));
	mb_buf_release(&text);
	if (generation == MB_NONE)
		return 0;
	mb_put_lost(&c->w->lines, &(struct mb_lost){
		.generation = generation, .start = start, .end = end,
		.time_ms = c->w->wall_ns / 1000000,
		.reason = "the file was replaced or truncated",
	});
	return 0;
}

static int
matches_input(const struct mb_sought *what, struct mb_content *content,
    struct mb_err *err)
{
	return mb_input_matches(what->arg, content, err);
}

int
mb_stream_find_copy(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct mb_stream *t = c->streams[i];
	uint64_t id = mb_input_generation(t->input);
	uint64_t planned = mb_input_planned(t->input);
	uint64_t seen = mb_input_read(t->input);
	struct mb_sought what = {
		.path = c->path->name, .inode = t->file.look.inode,
		.evidence = mb_input_evidence(t->input),
		.matches = matches_input, .arg = t->input,
	};
	enum mb_locate_result found = MB_LOCATE_GONE;
	struct mb_located l;
	int64_t after_ns;
	bool was_held;

	if (what.evidence > 0)
		found = mb_locate(&l, c->w->journal, &what, true, &c->why);
	switch (found) {
	case MB_LOCATE_FOUND:
		return move_stream(c, t, &l, false, err);
	case MB_LOCATE_UNSURE:
		if (mb_chain_hide(c, err) < 0)
			return -1;
		t->is_broken = true;
		mb_input_unscan(c->w->cutter, t->input);
		return 0;
	case MB_LOCATE_GONE:
		break;
	}
	if (seen > planned && what.evidence > 0) {
		if (mb_chain_lose(c, id, planned, seen, err) < 0)
			return -1;
	} else if (what.evidence > 0) {
		tell(c, "was replaced or truncated; it is read anew from its "
		    "start");
	}
	if (id != MB_NONE)
		mb_put_final(&c->w->lines, id);
	c->w->is_done(c->w->arg, &t->seen.inode, id);
	after_ns = t->whole_ns;
	was_held = mb_input_is_held(t->input);
	mb_stream_close(c, i);
	/* What has been rotated since then was not in it. */
	if (!was_held || c->after_ns == INT64_MAX) {
		c->after.ino = 0;
		c->after_ns = after_ns;
	}
	return 0;
}

int
mb_stream_check(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct mb_stream *t = c->streams[i];
	struct mb_look before = t->seen;
	int rc;

	t->seen = mb_look_fd(t->file.fd);
	if (t->seen.state != MB_PATH_FILE) {
		mb_chain_explain(c, t->file.path, t->seen.error);
		t->seen = before;
		return mb_chain_hide(c, err) < 0 ? -1 : 0;
	}
	if (mb_input_trouble(t->input) != NULL && mb_chain_hide_for(c,
	    mb_input_trouble(t->input), err) < 0)
		return -1;
	if (t->is_broken || mb_input_has_changed(t->input))
		return mb_stream_find_copy(c, i, err);
	if (t->seen.size == before.size && t->seen.mtime_ns ==
	    before.mtime_ns)
		return 0;
	t->grown_us = c->w->now_us;
	/* What has only grown is compared before it is planned. */
	if (t->seen.size > before.size)
		rc = 1;
	else if (t->seen.size < before.size &&
	    mb_input_evidence(t->input) == 0)
		rc = 0;		/* it had something that we never read */
	else
		rc = mb_input_check(t->input, err);
	if (rc > 0)
		t->whole_ns = t->seen.mtime_ns;
	if (rc < 0) {
		t->seen = before;
		return mb_chain_excuse(c, err);
	}
	return rc > 0 ? 0 : mb_stream_find_copy(c, i, err);
}

/* Compare what stands under the name with all that we hold. */
static void
compare_file(struct mb_chain *c, struct mb_stream *t, struct mb_at_path *at,
    const struct mb_located *l)
{
	struct mb_err err = { 0 };
	int rc;

	at->inode = l->look.inode;
	at->evidence = mb_input_evidence(t->input);
	at->content = MB_CONTENT_NOTHING;
	if (at->evidence == 0)
		return;
	rc = mb_input_matches(t->input, l->content, &err);
	/* More in ours than in the other: it is no copy of it. */
	if (rc > 0 && mb_content_reaches(t->file.content, l->look.size + 1,
	    &err) > 0 && mb_content_reaches(l->content, t->seen.size, &err) ==
	    0)
		rc = 0;
	at->content = rc < 0 ? MB_CONTENT_HIDDEN : rc > 0 ?
	    MB_CONTENT_EQUAL : MB_CONTENT_DIFFERS;
	if (rc < 0) {
		mb_buf_reset(&c->why);
		mb_buf_adds(&c->why, err.msg);
	}
}

int
mb_stream_turn(struct mb_chain *c, struct mb_stream *t, struct mb_err *err)
{
	struct mb_path *p = c->path;
	struct mb_held held = {
		.inode = t->seen.inode, .is_whole = true,
		.is_unlinked = t->seen.n_links == 0,
	};
	struct mb_at_path at = { 0 };
	struct mb_located l = { .fd = -1 };
	int rc = 0;

	mb_watch_look(p);
	at.state = p->look.state;
	at.inode = p->look.inode;
	if (at.state == MB_PATH_HIDDEN)
		mb_chain_explain(c, p->name, p->look.error);
	if (at.state == MB_PATH_FILE && (at.inode.ino != held.inode.ino ||
	    at.inode.dev != held.inode.dev)) {
		switch (mb_locate_open(&l, c->w->journal, p->name, &c->why)) {
		case MB_LOCATE_GONE:
			at.state = MB_PATH_ABSENT;
			break;
		case MB_LOCATE_UNSURE:
			at.state = MB_PATH_HIDDEN;
			break;
		case MB_LOCATE_FOUND:
			compare_file(c, t, &at, &l);
			break;
		}
	}
	switch (mb_identity_turn(&held, &at)) {
	case MB_TURN_STAY:
		break;
	case MB_TURN_WAIT:
		/* What we hold goes on; only its successor has to wait. */
		rc = mb_chain_hide(c, err) < 0 ? -1 : 0;
		break;
	case MB_TURN_MOVED:
		rc = move_stream(c, t, &l, true, err);
		break;
	case MB_TURN_LOST:	/* was looked for before */
	case MB_TURN_ROTATED:
	case MB_TURN_LEFT:
		t->is_live = false;
		t->grown_us = c->w->now_us;
		break;
	}
	mb_located_release(&l);
	return rc;
}

bool
mb_stream_is_drained(const struct mb_stream *t)
{
	struct mb_err ignored = { 0 };

	return mb_input_is_read(t->input) && mb_content_reaches(
	    t->file.content, mb_input_read(t->input) + 1, &ignored) == 0;
}

static bool
is_quiet(const struct mb_chain *c, const struct mb_stream *t)
{
	return c->w->now_us - t->grown_us >= c->w->options->rotate_wait_us;
}

/* Nothing more is expected: half a line is a record. */
static int
end_stream(struct mb_stream *t, struct mb_err *err)
{
	if (mb_content_seal(t->file.content, UINT64_MAX, err) < 0)
		return -1;
	mb_input_final(t->input, true);
	t->is_ending = true;
	return 0;
}

/* Everything is in batches.  1: closed, 0: it has grown all the same. */
static int
finish(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct mb_stream *t = c->streams[i];
	uint64_t id = mb_input_generation(t->input);
	const struct mb_generation *g = mb_state_generation(mb_chain_state(c), id);
	struct mb_located file;
	bool is_live = t->is_live;

	mb_content_unseal(t->file.content);
	if (c->w->options->follows) {
		int rc = mb_content_reaches(t->file.content,
		    mb_input_read(t->input) + 1, err);

		if (rc < 0)
			return -1;
		if (rc > 0 && g != NULL) {
			file = t->file;
			t->file = (struct mb_located){ .fd = -1 };
			mb_stream_close(c, i);
			file.look = mb_look_fd(file.fd);
			return mb_stream_open(c, &file, g, is_live, err);
		}
	}
	if (id != MB_NONE)
		mb_put_final(&c->w->lines, id);
	c->w->is_done(c->w->arg, &t->seen.inode, id);
	mb_stream_close(c, i);
	return 1;
}

int
mb_stream_leave(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct mb_stream *t = c->streams[i];

	if (t->is_ending)
		return mb_input_is_done(t->input) && finish(c, i, err) < 0 ?
		    -1 : 0;
	return is_quiet(c, t) && mb_stream_is_drained(t) ? end_stream(t, err) : 0;
}
