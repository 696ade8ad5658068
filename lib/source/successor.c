#include "source/successor.h"

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
	int64_t age_ns = c->w->wall_ns - mb_look_latest_ns(&l->look);
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
		const struct mb_stream *t = c->streams[i];

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
	    c->w->wall_ns - mb_look_latest_ns(look) <
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
		return mb_stream_open(c, l, g, true, err) < 0 ? -1 :
		    MB_CHAIN_READS;
	case NOT_NEW:
		return MB_CHAIN_IDLE;
	case UNDECIDED:
		break;
	}
	c->is_waiting = true;
	return err->code != MB_OK && mb_chain_excuse(c, err) < 0 ? -1 : MB_CHAIN_AGAIN;
}

/* It can't be said yet what comes next. */
static int
wait_for_next(struct mb_chain *c, const struct next *next, struct mb_err *err)
{
	c->is_waiting = true;
	return next->is_early || !c->w->options->follows ? MB_CHAIN_AGAIN :
	    mb_chain_hide(c, err);
}

/*
 * The turn of the next file: the oldest rotated one that was never read, else
 * what the path leads to.  That is opened first: should it be rotated away
 * while we look for the others, it is recognised among them.  A
 * mb_chain_result, -1.
 */
int
mb_successor_begin(struct mb_chain *c, struct mb_err *err)
{
	struct mb_located at_path, l;
	struct next next = { .chain = c, .live = &at_path };
	int rc = MB_CHAIN_IDLE;

	if (mb_locate_open(&at_path, c->w->journal, c->path->name, &c->why) ==
	    MB_LOCATE_UNSURE)
		return mb_chain_hide(c, err);
	switch (find_unread(c, &l, &next)) {
	case MB_LOCATE_FOUND:
		rc = mb_stream_open(c, &l, NULL, false, err) < 0 ? -1 :
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
int
mb_successor_settle(struct mb_chain *c, size_t i, struct mb_err *err)
{
	struct mb_stream *t = c->streams[i];
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
	mb_stream_close(c, i);
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
bool
mb_successor_is_due(struct mb_chain *c)
{
	struct mb_stream *last;

	if (c->n == 0)
		return c->has_after;
	last = c->streams[c->n - 1];
	if (last->is_live || (mb_input_is_held(last->input) &&
	    mb_input_contributes(last->input)) || !mb_stream_is_drained(last))
		return false;
	/* Half a line: whole records of the next must not pass it. */
	if (mb_input_rest(last->input) > 0)
		c->is_waiting = true;
	return mb_input_rest(last->input) == 0;
}

/* A directory with many files isn't read for nothing all the time. */
int
mb_successor_try(struct mb_chain *c, struct mb_err *err)
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
	rc = mb_successor_begin(c, err);
	c->was_waiting = c->is_waiting;
	c->was_hidden = c->is_hidden;
	if (rc == MB_CHAIN_READS)
		c->tried_us = 0;
	return rc;
}
