#include "source/chain.h"

#include <stdlib.h>
#include <string.h>

#include "journal/lines.h"
#include "source/stream.h"
#include "source/successor.h"

struct mb_path *
mb_chain_path(const struct mb_chain *c)
{
	return c->path;
}

void
mb_chain_close(struct mb_chain *c)
{
	if (c == NULL)
		return;
	while (c->n > 0)
		mb_stream_close(c, c->n - 1);
	free(c->streams);
	mb_buf_release(&c->why);
	free(c);
}

static void
tell_damage(struct mb_chain *c)
{
	struct mb_buf text = { 0 };
	const char *why;

	for (size_t i = 0; i < c->n && c->w->options->follows; i++) {
		struct mb_stream *t = c->streams[i];
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
		struct mb_stream *t = c->streams[i];

		if (mb_input_contributes(t->input) || t->is_ending ||
		    !mb_stream_is_drained(t))
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

		if (mb_stream_check(c, i, err) < 0)
			return -1;
		i += c->n == n;
	}
	if (c->w->options->follows && c->n > 0 &&
	    c->streams[c->n - 1]->is_live &&
	    mb_stream_turn(c, c->streams[c->n - 1], err) < 0)
		return -1;
	for (size_t i = 0; i < c->n; ) {
		size_t n = c->n;

		if (!c->streams[i]->is_live && mb_stream_leave(c, i, err) < 0)
			return -1;
		i += c->n == n;
	}
	rc = mb_successor_is_due(c) ? mb_successor_try(c, err) : 0;
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
		return mb_chain_hide_for(c, mb_input_trouble(in), err);
	if (mb_input_is_held(in))
		rc = mb_input_check(in, err);
	return rc < 0 ? mb_chain_excuse(c, err) : rc > 0 ? mb_successor_settle(c, i, err) :
	    mb_stream_find_copy(c, i, err);
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

	while ((g = mb_state_elder(mb_chain_state(c), g)) != NULL)
		if (!g->is_final && !c->w->is_reading(c->w->arg, g->id)) {
			ids = mb_realloc_array(ids, n + 1, sizeof *ids);
			ids[n++] = g->id;
		}
	while (rc == 0 && n-- > 0) {
		struct mb_sought what;
		struct mb_located l;

		g = mb_state_generation(mb_chain_state(c), ids[n]);
		what = sought(c, g);
		switch (mb_locate(&l, c->w->journal, &what, true, &c->why)) {
		case MB_LOCATE_FOUND:
			rc = c->w->is_open(c->w->arg, &l.look.inode, NULL) ?
			    0 : mb_stream_open(c, &l, g, false, err);
			mb_located_release(&l);
			break;
		case MB_LOCATE_UNSURE:
			rc = mb_chain_hide(c, err);
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
		mb_chain_explain(c, c->path->name, c->path->look.error);
		return mb_chain_hide(c, err);
	case MB_PATH_FILE:
		break;
	}
	if (!g->is_final && g->anchored > 0 &&
	    mb_chain_lose(c, g->id, g->end, MB_NONE, err) < 0)
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
		return mb_chain_hide(c, err);
	case MB_LOCATE_GONE:
		return begin_without(c, g, err);
	case MB_LOCATE_FOUND:
		break;
	}
	is_live = strcmp(l.path, c->path->name) == 0;
	if (is_live)
		c->path->generation = g->id;
	rc = mb_content_reaches(l.content, g->end + 1, err);
	if (rc < 0 && mb_chain_excuse(c, err) == 0) {
		mb_located_release(&l);
		return MB_CHAIN_AGAIN;
	}
	if (rc < 0 || (!is_live && c->w->is_open(c->w->arg, &l.look.inode,
	    c))) {
		/* Likewise, not yet planned. */
	} else if (rc > 0 || !g->is_final) {
		rc = mb_stream_open(c, &l, g, is_live, err);
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
		rc = mb_successor_begin(c, err);
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
		struct mb_stream *t = c->streams[i];
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
		struct mb_stream *t = c->streams[i];

		if (mb_input_contributes(t->input) || !mb_stream_is_drained(t))
			return false;
	}
	return true;
}

void
mb_chain_planned(struct mb_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct mb_stream *t = c->streams[i];
		uint64_t id = mb_input_generation(t->input);

		if (t->is_in_use || id == MB_NONE)
			continue;
		mb_emitter_use(c->w->emitter, id, t->file.content);
		t->is_in_use = true;
		mb_known_add(c->w->known, mb_state_generation(mb_chain_state(c), id));
		if (t->is_live)
			c->path->generation = id;
	}
}

uint64_t
mb_chain_rest(const struct mb_chain *c)
{
	struct mb_stream *t = c->n > 0 ? c->streams[c->n - 1] : NULL;

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
