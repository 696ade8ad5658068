#include "source/chain.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "journal/lines.h"
#include "source/pin.h"

struct stream {
	struct mb_located file;
	struct mb_input *input;
	struct mb_look seen;	/* of fd, before the last scan */
	int64_t whole_ns;	/* last written, while it was whole */
	int64_t grown_us;	/* steady time of the last growth */
	bool is_live, is_ending;
	bool is_broken;		/* it doesn't hold what was read of it, and
				   what does can't be found out now */
	bool is_in_use;		/* the emitter reads from our content */
	bool was_damaged;	/* and the user was told */
};

struct mb_chain {
	struct mb_chain_world *w;
	struct mb_path *path;
	struct stream **streams;	/* the eldest first */
	size_t n;
	/*
	 * Where the last stream has been closed, or there was none: what the
	 * next file has to be younger than.
	 */
	bool has_after;
	struct mb_inode after;		/* ino 0: not known */
	int64_t after_ns;		/* INT64_MAX: only the path counts */
	uint64_t born_ns;		/* and a rotated one that it was born
					   since then; 0 */
	struct mb_look tried;		/* of the path, when the next file was */
	int64_t tried_us;		/* looked for in vain; and when */
	bool is_waiting, was_waiting;	/* was: when that was tried */
	bool is_hidden, was_hidden;	/* something can't be observed */
	struct mb_buf why;
};

struct mb_path *
mb_chain_path(const struct mb_chain *c)
{
	return c->path;
}

static const struct mb_state *
state(const struct mb_chain *c)
{
	return mb_journal_state(c->w->journal);
}

static void
tell(struct mb_chain *c, const char *what)
{
	c->w->tell(c->w->arg, c->path->name, what);
}

/*
 * Unobservable is not gone.  Said once, and tried again; without -f it is an
 * error, or records would be passed over in silence.
 */
static int
hide(struct mb_chain *c, struct mb_err *err)
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

/* What is open stays so, as it may have no name any more.  0, -1. */
static int
hide_stream(struct mb_chain *c, const char *why, struct mb_err *err)
{
	mb_buf_reset(&c->why);
	mb_buf_adds(&c->why, why);
	return hide(c, err) < 0 ? -1 : 0;
}

/* An error that says only that something couldn't be looked at.  0, -1. */
static int
excuse(struct mb_chain *c, struct mb_err *err)
{
	struct mb_err why = *err;

	if (err->code != MB_EIO || !c->w->options->follows)
		return -1;
	*err = (struct mb_err){ 0 };
	return hide_stream(c, why.msg, err);
}

/* What a link leads to; NULL: it is none.  The caller frees it. */
static char *
target_of(const char *path)
{
	char text[PATH_MAX];

	return readlink(path, text, sizeof text) < 0 ? NULL :
	    realpath(path, NULL);
}

static int64_t
latest_ns(const struct mb_look *look)
{
	return look->mtime_ns > look->ctime_ns ? look->mtime_ns :
	    look->ctime_ns;
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
set_end(struct mb_chain *c, struct stream *t, struct mb_err *err)
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

/* Read a file, from where the journal knows it; NULL: a new generation. */
static int
open_stream(struct mb_chain *c, struct mb_located *file,
    const struct mb_generation *known, bool is_live, struct mb_err *err)
{
	struct mb_chain_world *w = c->w;
	struct stream *t = mb_alloc(sizeof *t);
	char *target;

	*t = (struct stream){
		.file = *file, .seen = file->look, .is_live = is_live,
		.whole_ns = file->look.mtime_ns,
		.grown_us = steady_us(c, latest_ns(&file->look)),
	};
	*file = (struct mb_located){ .fd = -1 };
	c->streams = mb_realloc_array(c->streams, c->n + 1,
	    sizeof *c->streams);
	c->streams[c->n++] = t;
	t->input = mb_input_add(w->cutter, c->path->rank, known != NULL ?
	    known->source : c->path->name, MB_NONE, t->file.content, known);
	/* See settle_order. */
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
stop_using(struct mb_chain *c, struct stream *t)
{
	if (t->is_in_use)
		mb_emitter_use(c->w->emitter, mb_input_generation(t->input),
		    NULL);
	t->is_in_use = false;
}

static void
close_stream(struct mb_chain *c, size_t i)
{
	struct stream *t = c->streams[i];

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

void
mb_chain_close(struct mb_chain *c)
{
	if (c == NULL)
		return;
	while (c->n > 0)
		close_stream(c, c->n - 1);
	free(c->streams);
	mb_buf_release(&c->why);
	free(c);
}

/* The same bytes stand in this file: go on there. */
static int
move_stream(struct mb_chain *c, struct stream *t, struct mb_located *file,
    bool is_live, struct mb_err *err)
{
	struct mb_located old = t->file;

	t->file = *file;
	*file = (struct mb_located){ .fd = -1 };
	t->seen = t->file.look;
	t->whole_ns = t->seen.mtime_ns;
	t->is_live = is_live;
	t->is_broken = false;
	t->grown_us = steady_us(c, latest_ns(&t->seen));
	mb_input_replace(t->input, t->file.content);
	if (t->is_in_use)
		mb_emitter_use(c->w->emitter, mb_input_generation(t->input),
		    t->file.content);
	mb_located_release(&old);
	return set_end(c, t, err);
}

/*
 * Bytes are gone.  `end` MB_NONE: nobody knows how many.
 */
static int
lose(struct mb_chain *c, uint64_t generation, uint64_t start, uint64_t end,
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

/*
 * A file doesn't hold any more what was read of it.  It may have been copied
 * before it was truncated; then what is left is in the copy.
 */
static int
find_copy(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct stream *t = c->streams[i];
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
		if (hide(c, err) < 0)
			return -1;
		t->is_broken = true;
		mb_input_unscan(c->w->cutter, t->input);
		return 0;
	case MB_LOCATE_GONE:
		break;
	}
	if (seen > planned && what.evidence > 0) {
		if (lose(c, id, planned, seen, err) < 0)
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
	close_stream(c, i);
	/* What has been rotated since then was not in it. */
	if (!was_held || c->after_ns == INT64_MAX) {
		c->after.ino = 0;
		c->after_ns = after_ns;
	}
	return 0;
}

/* It has grown, or changed, or hasn't. */
static int
check_stream(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct stream *t = c->streams[i];
	struct mb_look before = t->seen;
	int rc;

	t->seen = mb_look_fd(t->file.fd);
	if (t->seen.state != MB_PATH_FILE) {
		mb_buf_reset(&c->why);
		mb_show(&c->why, mb_str(t->file.path));
		mb_buf_addf(&c->why, ": %s", strerror(t->seen.error));
		t->seen = before;
		return hide(c, err) < 0 ? -1 : 0;
	}
	if (mb_input_trouble(t->input) != NULL && hide_stream(c,
	    mb_input_trouble(t->input), err) < 0)
		return -1;
	if (t->is_broken || mb_input_has_changed(t->input))
		return find_copy(c, i, err);
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
		return excuse(c, err);
	}
	return rc > 0 ? 0 : find_copy(c, i, err);
}

/* Compare what stands under the name with all that we hold. */
static void
compare_file(struct mb_chain *c, struct stream *t, struct mb_at_path *at,
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

/* Does the path still lead to the live file? */
static int
turn(struct mb_chain *c, struct stream *t, struct mb_err *err)
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
	if (at.state == MB_PATH_HIDDEN) {
		mb_buf_reset(&c->why);
		mb_show(&c->why, mb_str(p->name));
		mb_buf_addf(&c->why, ": %s", strerror(p->look.error));
	}
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
		(void)hide(c, err);
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

/* Has everything been scanned that is there now?  If nobody knows, it hasn't. */
static bool
is_drained(struct stream *t)
{
	struct mb_err ignored = { 0 };

	return mb_input_is_read(t->input) && mb_content_reaches(
	    t->file.content, mb_input_read(t->input) + 1, &ignored) == 0;
}

static bool
is_quiet(const struct mb_chain *c, const struct stream *t)
{
	return c->w->now_us - t->grown_us >= c->w->options->rotate_wait_us;
}

/* Nothing more is expected: half a line is a record. */
static int
end_stream(struct stream *t, struct mb_err *err)
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
	struct stream *t = c->streams[i];
	uint64_t id = mb_input_generation(t->input);
	const struct mb_generation *g = mb_state_generation(state(c), id);
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
			close_stream(c, i);
			file.look = mb_look_fd(file.fd);
			return open_stream(c, &file, g, is_live, err);
		}
	}
	if (id != MB_NONE)
		mb_put_final(&c->w->lines, id);
	c->w->is_done(c->w->arg, &t->seen.inode, id);
	close_stream(c, i);
	return 1;
}

/* A leaving stream.  0, -1. */
static int
leave(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct stream *t = c->streams[i];

	if (t->is_ending)
		return mb_input_is_done(t->input) && finish(c, i, err) < 0 ?
		    -1 : 0;
	return is_quiet(c, t) && is_drained(t) ? end_stream(t, err) : 0;
}

/* What mb_locate_next is asked for. */
struct next {
	struct mb_chain *chain;
	const struct mb_located *live;	/* what the path leads to; its path
					   NULL: to nothing */
	bool is_early;			/* time will tell */
};

/*
 * Is the rotated file a copy of the live one?  Then it isn't what was before
 * it; but of a few equal bytes nobody knows.  While it is new, it may be a copy
 * in the making: of all of the live file, or, the copier having just made it,
 * of nothing yet.  1, 0; -1 can't be said now.
 */
static int
is_copy(struct next *next, const struct mb_located *l)
{
	struct mb_chain *c = next->chain;
	int64_t age_ns = c->w->wall_ns - latest_ns(&l->look);
	struct mb_err err = { 0 };
	uint64_t len;
	int rc;

	if (next->live->path == NULL)
		return 0;
	rc = mb_content_begins(l->content, next->live->content, &len, &err);
	if (rc <= 0) {
		mb_buf_reset(&c->why);
		mb_buf_adds(&c->why, err.msg);
		return rc;
	}
	next->is_early = age_ns < (len > 0 ? (int64_t)MB_COPYING_S *
	    1000000000 : c->w->options->rotate_wait_us * 1000);
	if (next->is_early)
		return -1;
	return len == 0 || len >= MB_IDENTITY_STRONG;
}

/* For mb_locate_next: of this source, or open already. */
static int
is_known(void *arg, const struct mb_located *l)
{
	struct next *next = arg;
	struct mb_chain *c = next->chain;
	const struct mb_generation *g;
	struct mb_err err = { 0 };
	int rc;

	if (next->live->path != NULL && mb_inode_equal(
	    &next->live->look.inode, &l->look.inode))
		return 2;
	if (l->look.inode.born_ns < c->born_ns ||
	    c->w->is_open(c->w->arg, &l->look.inode, NULL))
		return 1;
	/*
	 * A copy of what is being read; of a few bytes only what is left of it
	 * when it has gone, or was compressed.
	 */
	for (size_t i = 0; i < c->n; i++) {
		const struct stream *t = c->streams[i];

		if ((mb_input_evidence(t->input) >= MB_IDENTITY_STRONG ||
		    mb_look_fd(t->file.fd).n_links == 0 ||
		    !mb_content_is_plain(l->content)) &&
		    mb_input_matches(t->input, l->content, &err) > 0)
			return 1;
	}
	rc = mb_known_find(c->w->known, l->path, l, c->w->wall_ns, &g,
	    &c->why);
	return rc != 0 ? rc : is_copy(next, l);
}

/*
 * The oldest rotated file that comes after what was read of the path, and
 * before what the path leads to now, and that was never read.
 */
static enum mb_locate_result
find_unread(struct mb_chain *c, struct mb_located *out, struct next *next)
{
	const struct mb_inode *inode = c->after.ino != 0 ? &c->after : NULL;
	int64_t after_ns = c->after_ns;

	*out = (struct mb_located){ .fd = -1 };
	/* The last one that had something. */
	for (size_t i = c->n; i-- > 0; )
		if (!mb_input_is_held(c->streams[i]->input)) {
			inode = &c->streams[i]->seen.inode;
			after_ns = c->streams[i]->seen.mtime_ns;
			break;
		}
	if (after_ns == INT64_MAX)
		return MB_LOCATE_GONE;
	return mb_locate_next(out, c->w->journal, c->path->name, inode,
	    after_ns, is_known, next, &c->why);
}

/* What a new file under a name may be, that it need not be read. */
enum fresh { NEW, GOES_ON, NOT_NEW, UNDECIDED };

struct hold {
	struct mb_chain *chain;
	const struct mb_located *file;
};

/*
 * A rotated sibling of a path that is read: whether it is a copy of it, or
 * what was rotated away from it, is for that path's chain to say first.
 */
static int
is_held_by(void *arg, const char *base)
{
	const struct hold *h = arg;
	struct mb_chain *c = h->chain;
	struct mb_path *p = mb_watch_find(c->w->watch, base);
	const struct mb_look *look = &h->file->look;
	struct mb_err err = { 0 };
	struct mb_located l;
	bool is_prefix;
	uint64_t len;

	if (p == NULL || p == c->path)
		return 0;
	if (p->user != NULL && mb_looks_rotated(mb_base_name(base),
	    mb_base_name(c->path->name)) && (!mb_chain_is_settled(p->user) ||
	    c->w->wall_ns - latest_ns(look) <
	    c->w->options->rotate_wait_us * 1000))
		return 1;
	if (mb_locate_open(&l, c->w->journal, base, &c->why) !=
	    MB_LOCATE_FOUND)
		return 0;
	is_prefix = mb_content_begins(h->file->content, l.content, &len, &err)
	    > 0 && len > 0;
	mb_located_release(&l);
	return is_prefix;
}

/* What is the file under the name, which no generation of this name is? */
static enum fresh
judge_fresh(struct mb_chain *c, const struct mb_located *l,
    const struct mb_generation **g, struct mb_err *err)
{
	struct hold hold = { c, l };
	struct mb_path *p = c->path, *other;
	int rc;

	if (c->w->is_open(c->w->arg, &l->look.inode, c))
		return NOT_NEW;
	rc = mb_known_find(c->w->known, p->name, l, c->w->wall_ns, g,
	    &c->why);
	if (rc < 0)
		return UNDECIDED;
	if (rc > 0) {
		p->generation = (*g)->id;
		if (c->w->is_reading(c->w->arg, (*g)->id))
			return NOT_NEW;
		other = mb_watch_find(c->w->watch, (*g)->source);
		if (other != NULL && other != p && other->look.state ==
		    MB_PATH_FILE && mb_inode_equal(&other->look.inode,
		    &l->look.inode))
			return NOT_NEW;
		rc = mb_content_reaches(l->content, (*g)->end + 1, err);
		return rc < 0 ? UNDECIDED : rc > 0 ? GOES_ON : NOT_NEW;
	}
	return c->w->is_in_hand(c->w->arg, p->name, l, c) ||
	    mb_known_bases(p->name, is_held_by, &hold) != 0 ? UNDECIDED : NEW;
}

/* Begin with what stands under the name, as something new. */
static int
begin_fresh(struct mb_chain *c, struct mb_located *l, struct mb_err *err)
{
	const struct mb_generation *g = NULL;

	switch (judge_fresh(c, l, &g, err)) {
	case NEW:
	case GOES_ON:
		return open_stream(c, l, g, true, err) < 0 ? -1 :
		    MB_CHAIN_READS;
	case NOT_NEW:
		return MB_CHAIN_IDLE;
	case UNDECIDED:
		break;
	}
	c->is_waiting = true;
	return err->code != MB_OK && excuse(c, err) < 0 ? -1 : MB_CHAIN_AGAIN;
}

/* It can't be said yet what comes next. */
static int
wait_for_next(struct mb_chain *c, const struct next *next, struct mb_err *err)
{
	c->is_waiting = true;
	return next->is_early || !c->w->options->follows ? MB_CHAIN_AGAIN :
	    hide(c, err);
}

/*
 * The turn of the next file: the oldest rotated one that was never read, else
 * what the path leads to.  That is opened first: should it be rotated away
 * while we look for the others, it is recognised among them.  A
 * mb_chain_result, -1.
 */
static int
begin_next(struct mb_chain *c, struct mb_err *err)
{
	struct mb_located at_path, l;
	struct next next = { .chain = c, .live = &at_path };
	int rc = MB_CHAIN_IDLE;

	if (mb_locate_open(&at_path, c->w->journal, c->path->name, &c->why) ==
	    MB_LOCATE_UNSURE)
		return hide(c, err);
	switch (find_unread(c, &l, &next)) {
	case MB_LOCATE_FOUND:
		rc = open_stream(c, &l, NULL, false, err) < 0 ? -1 :
		    MB_CHAIN_READS;
		break;
	case MB_LOCATE_UNSURE:
		rc = wait_for_next(c, &next, err);
		break;
	case MB_LOCATE_GONE:
		if (at_path.path != NULL)
			rc = begin_fresh(c, &at_path, err);
		break;
	}
	mb_located_release(&at_path);
	return rc;
}

/*
 * A file was empty, or not read yet, when its turn came.  It may have been
 * filled, copied and truncated since then, more than once, before anything was
 * read of it; what it was is in its copies.  So these are looked for when its
 * first bytes were read: from then on a truncation shows in itself.  If there
 * are any, the file has its turn after them; of what was read nothing is in a
 * batch.
 */
static int
settle_order(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct stream *t = c->streams[i];
	struct next next = { .chain = c, .live = &t->file };
	enum mb_locate_result found;
	struct mb_located l;

	t->file.look = mb_look_fd(t->file.fd);
	found = find_unread(c, &l, &next);
	mb_located_release(&l);
	if (found == MB_LOCATE_GONE) {
		mb_input_hold(t->input, false);
		return 0;
	}
	close_stream(c, i);
	if (found == MB_LOCATE_UNSURE) {
		c->tried = c->path->look;
		c->tried_us = c->w->now_us;
		if (wait_for_next(c, &next, err) < 0)
			return -1;
		c->was_waiting = true;
	}
	return 0;
}

/* May the next file begin? */
static bool
is_next_due(struct mb_chain *c)
{
	struct stream *last;

	if (c->n == 0)
		return c->has_after;
	last = c->streams[c->n - 1];
	if (last->is_live || (mb_input_is_held(last->input) &&
	    mb_input_contributes(last->input)) || !is_drained(last))
		return false;
	/* Half a line: whole records of the next must not pass it. */
	if (mb_input_rest(last->input) > 0)
		c->is_waiting = true;
	return mb_input_rest(last->input) == 0;
}

/* A directory with many files isn't read for nothing all the time. */
static int
try_next(struct mb_chain *c, struct mb_err *err)
{
	enum { TRY_EVERY = 1000000 };
	int rc;

	if (c->w->options->follows)
		mb_watch_look(c->path);
	if (c->tried_us != 0 && mb_look_equal(&c->tried, &c->path->look) &&
	    c->w->now_us - c->tried_us < TRY_EVERY) {
		c->is_waiting = c->was_waiting;
		c->is_hidden |= c->was_hidden;
		return MB_CHAIN_AGAIN;
	}
	c->tried = c->path->look;
	c->tried_us = c->w->now_us;
	rc = begin_next(c, err);
	c->was_waiting = c->is_waiting;
	c->was_hidden = c->is_hidden;
	if (rc == MB_CHAIN_READS)
		c->tried_us = 0;
	return rc;
}

static void
tell_damage(struct mb_chain *c)
{
	struct mb_buf text = { 0 };
	const char *why;

	for (size_t i = 0; i < c->n && c->w->options->follows; i++) {
		struct stream *t = c->streams[i];
		bool is_damaged = mb_content_trouble(t->file.content, &why) ==
		    MB_GZ_DAMAGED;

		if (is_damaged && !t->was_damaged) {
			mb_buf_reset(&text);
			mb_buf_addf(&text, "%s; what stands before it is "
			    "taken", why);
			c->w->tell(c->w->arg, t->file.path,
			    mb_buf_str(&text));
		}
		t->was_damaged = is_damaged;
	}
	mb_buf_release(&text);
}

/*
 * Without -f: everything is read and in batches.  A rotated file that is not
 * yet quiet isn't final: the next run looks at it again.
 */
static bool
is_through(struct mb_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct stream *t = c->streams[i];

		if (mb_input_contributes(t->input) || t->is_ending ||
		    !is_drained(t))
			return false;
	}
	return true;
}

int
mb_chain_step(struct mb_chain *c, struct mb_err *err)
{
	int rc;

	c->is_waiting = c->is_hidden = false;
	for (size_t i = 0; i < c->n; ) {
		size_t n = c->n;

		if (check_stream(c, i, err) < 0)
			return -1;
		i += c->n == n;
	}
	if (c->w->options->follows && c->n > 0 &&
	    c->streams[c->n - 1]->is_live &&
	    turn(c, c->streams[c->n - 1], err) < 0)
		return -1;
	for (size_t i = 0; i < c->n; ) {
		size_t n = c->n;

		if (!c->streams[i]->is_live && leave(c, i, err) < 0)
			return -1;
		i += c->n == n;
	}
	rc = is_next_due(c) ? try_next(c, err) : 0;
	if (rc < 0)
		return -1;
	tell_damage(c);
	if (!c->is_hidden)
		c->path->flags &= (uint8_t)~MB_PATH_TOLD;
	if (c->n == 0 && (rc != MB_CHAIN_AGAIN || c->w->options->follows ||
	    !c->is_waiting))
		return rc == MB_CHAIN_AGAIN ? rc : MB_CHAIN_IDLE;
	return c->w->options->follows || c->is_waiting ||
	    !is_through(c) ? err->code != MB_OK ? -1 : MB_CHAIN_READS :
	    MB_CHAIN_IDLE;
}

int
mb_chain_renew(struct mb_chain *c, struct mb_input *in, struct mb_err *err)
{
	size_t i = 0;
	int rc = 0;

	while (c->streams[i]->input != in)
		i++;
	if (mb_input_trouble(in) != NULL)
		return hide_stream(c, mb_input_trouble(in), err);
	if (mb_input_is_held(in))
		rc = mb_input_check(in, err);
	return rc < 0 ? excuse(c, err) : rc > 0 ? settle_order(c, i, err) :
	    find_copy(c, i, err);
}

static struct mb_sought
sought(const struct mb_chain *c, const struct mb_generation *g)
{
	struct mb_sought what = mb_sought_generation(g);

	if (c->path->look.state == MB_PATH_ABSENT) {
		what.listing = c->w->listing;
		what.since_us = c->w->gone_us;
	}
	return what;
}

/*
 * Elders that had not become quiet when we died: the oldest first.  Their
 * successor has begun, so what they had then was read.
 */
static int
begin_elders(struct mb_chain *c, const struct mb_generation *newest,
    struct mb_err *err)
{
	const struct mb_generation *g = newest;
	uint64_t *ids = NULL;
	size_t n = 0;
	int rc = 0;

	while ((g = mb_state_elder(state(c), g)) != NULL)
		if (!g->is_final && !c->w->is_reading(c->w->arg, g->id)) {
			ids = mb_realloc_array(ids, n + 1, sizeof *ids);
			ids[n++] = g->id;
		}
	while (rc == 0 && n-- > 0) {
		struct mb_sought what;
		struct mb_located l;

		g = mb_state_generation(state(c), ids[n]);
		what = sought(c, g);
		switch (mb_locate(&l, c->w->journal, &what, true, &c->why)) {
		case MB_LOCATE_FOUND:
			rc = c->w->is_open(c->w->arg, &l.look.inode, NULL) ?
			    0 : open_stream(c, &l, g, false, err);
			mb_located_release(&l);
			break;
		case MB_LOCATE_UNSURE:
			rc = hide(c, err);
			break;
		case MB_LOCATE_GONE:
			mb_put_final(&c->w->lines, g->id);
			break;
		}
	}
	free(ids);
	return rc;
}

/* Its file is nowhere. */
static int
begin_without(struct mb_chain *c, const struct mb_generation *g,
    struct mb_err *err)
{
	switch (c->path->look.state) {
	case MB_PATH_ABSENT:
		/* It may come back; a name that nobody waits for doesn't. */
		if (c->path->is_named)
			return MB_CHAIN_IDLE;
		mb_put_final(&c->w->lines, g->id);
		return MB_CHAIN_GONE;
	case MB_PATH_HIDDEN:
		mb_buf_reset(&c->why);
		mb_show(&c->why, mb_str(c->path->name));
		mb_buf_addf(&c->why, ": %s", strerror(c->path->look.error));
		return hide(c, err);
	case MB_PATH_FILE:
		break;
	}
	if (!g->is_final && g->anchored > 0 &&
	    lose(c, g->id, g->end, MB_NONE, err) < 0)
		return -1;
	if (!g->is_final)
		mb_put_final(&c->w->lines, g->id);
	c->has_after = true;
	if (g->time_ms > 0)
		c->after_ns = g->time_ms * 1000000;
	return MB_CHAIN_READS;
}

/* Go on with a generation that the journal knows. */
static int
begin_known(struct mb_chain *c, const struct mb_generation *g,
    struct mb_err *err)
{
	struct mb_sought what = sought(c, g);
	struct mb_located l;
	bool is_live;
	int rc;

	/* Renamed, and read under its new name. */
	if (c->w->is_reading(c->w->arg, g->id))
		return MB_CHAIN_IDLE;
	switch (mb_locate(&l, c->w->journal, &what, false, &c->why)) {
	case MB_LOCATE_UNSURE:
		return hide(c, err);
	case MB_LOCATE_GONE:
		return begin_without(c, g, err);
	case MB_LOCATE_FOUND:
		break;
	}
	is_live = strcmp(l.path, c->path->name) == 0;
	if (is_live)
		c->path->generation = g->id;
	rc = mb_content_reaches(l.content, g->end + 1, err);
	if (rc < 0 && excuse(c, err) == 0) {
		mb_located_release(&l);
		return MB_CHAIN_AGAIN;
	}
	if (rc < 0 || (!is_live && c->w->is_open(c->w->arg, &l.look.inode,
	    c))) {
		/* Likewise, not yet planned. */
	} else if (rc > 0 || !g->is_final) {
		rc = open_stream(c, &l, g, is_live, err);
	} else if (!is_live) {
		c->has_after = true;
		c->after = l.look.inode;
		c->after_ns = l.look.mtime_ns;
	}
	mb_located_release(&l);
	return rc < 0 ? -1 : c->n > 0 || c->has_after ? MB_CHAIN_READS :
	    MB_CHAIN_IDLE;
}

int
mb_chain_begin(struct mb_chain **out, struct mb_chain_world *w,
    struct mb_path *p, struct mb_err *err)
{
	const struct mb_generation *g = mb_state_newest(
	    mb_journal_state(w->journal), p->name);
	struct mb_chain *c = mb_alloc(sizeof *c);
	int rc = MB_CHAIN_READS;

	*out = NULL;
	*c = (struct mb_chain){
		.w = w, .path = p, .after_ns = INT64_MAX
	};
	if (p->look.state == MB_PATH_FILE && !p->look.is_regular) {
		if (p->is_named)
			rc = mb_fail(err, MB_EUSAGE, "%s: not a regular file",
			    p->name);
		else
			rc = MB_CHAIN_IDLE;
	} else if (g != NULL && g->spool == MB_NONE && !g->is_forgotten) {
		rc = begin_elders(c, g, err);
		if (rc == 0)
			rc = begin_known(c, g, err);
	} else {
		c->has_after = true;
		if (w->options->follows && p->is_named) {
			c->after_ns = w->began_ns;
			c->born_ns = (uint64_t)w->began_ns;
		}
	}
	if (rc == MB_CHAIN_READS && c->n == 0)
		rc = begin_next(c, err);
	if (rc == MB_CHAIN_READS || (rc == MB_CHAIN_AGAIN && c->is_waiting &&
	    !w->options->follows)) {
		*out = c;
		return MB_CHAIN_READS;
	}
	/* What it held is known under another name. */
	if (rc == MB_CHAIN_IDLE && p->look.state == MB_PATH_ABSENT &&
	    !p->is_named)
		rc = MB_CHAIN_GONE;
	mb_chain_close(c);
	return rc;
}

bool
mb_chain_has(const struct mb_chain *c, const struct mb_input *in)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->streams[i]->input == in)
			return true;
	return false;
}

bool
mb_chain_has_file(const struct mb_chain *c, const struct mb_inode *inode)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->streams[i]->seen.inode.ino == inode->ino &&
		    c->streams[i]->seen.inode.dev == inode->dev)
			return true;
	return false;
}

/* The name without what rotation adds to it. */
static size_t
family_len(const char *path)
{
	const char *name = mb_base_name(path);
	size_t len = mb_rotated_base(name);

	return (size_t)(name - path) + (len > 0 ? len : strlen(name));
}

bool
mb_chain_may_hold(const struct mb_chain *c, const char *path,
    const struct mb_located *l)
{
	size_t len = family_len(path);

	if (len != family_len(c->path->name) ||
	    memcmp(path, c->path->name, len) != 0)
		return false;
	for (size_t i = 0; i < c->n; i++) {
		struct stream *t = c->streams[i];
		struct mb_err ignored = { 0 };
		uint64_t n = 0;

		if (mb_input_generation(t->input) == MB_NONE &&
		    (mb_content_begins(l->content, t->file.content, &n,
		    &ignored) > 0 || mb_content_begins(t->file.content,
		    l->content, &n, &ignored) > 0) && n > 0 &&
		    (!mb_content_is_plain(l->content) ||
		    !mb_content_is_plain(t->file.content)))
			return true;
	}
	return false;
}

bool
mb_chain_has_generation(const struct mb_chain *c, uint64_t id)
{
	for (size_t i = 0; i < c->n; i++)
		if (mb_input_generation(c->streams[i]->input) == id)
			return true;
	return false;
}

bool
mb_chain_is_settled(const struct mb_chain *c)
{
	return c->n == 1 && c->streams[0]->is_live;
}

bool
mb_chain_waits(const struct mb_chain *c)
{
	return c->is_waiting;
}

int64_t
mb_chain_grown_us(const struct mb_chain *c)
{
	return c->streams[c->n - 1]->grown_us;
}

bool
mb_chain_is_caught_up(const struct mb_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct stream *t = c->streams[i];

		if (mb_input_contributes(t->input) || !is_drained(t))
			return false;
	}
	return true;
}

void
mb_chain_planned(struct mb_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct stream *t = c->streams[i];
		uint64_t id = mb_input_generation(t->input);

		if (t->is_in_use || id == MB_NONE)
			continue;
		mb_emitter_use(c->w->emitter, id, t->file.content);
		t->is_in_use = true;
		mb_known_add(c->w->known, mb_state_generation(state(c), id));
		if (t->is_live)
			c->path->generation = id;
	}
}

uint64_t
mb_chain_rest(const struct mb_chain *c)
{
	struct stream *t = c->n > 0 ? c->streams[c->n - 1] : NULL;

	return t != NULL && mb_input_is_read(t->input) ?
	    mb_input_rest(t->input) : 0;
}

enum mb_gz_trouble
mb_chain_trouble(const struct mb_chain *c, const char **why)
{
	enum mb_gz_trouble t = MB_GZ_FINE;

	for (size_t i = 0; i < c->n && t == MB_GZ_FINE; i++)
		t = mb_content_trouble(c->streams[i]->file.content, why);
	return t;
}
