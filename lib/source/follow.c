#include "source/follow.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "journal/lines.h"
#include "source/locate.h"
#include "source/pin.h"

enum {
	STEP_FREELY = 64,	/* so many chains are looked at each time, and
				   those of which there are signs; of more,
				   each has its turn */
	BEGIN_FOR = 300000,	/* us at a time */
	TRY_AGAIN = 500000,	/* us: what couldn't be decided */
	FORGET_EVERY = 10000000,
	FORGET_AT_ONCE = 1000,
	SEARCH_AT_ONCE = 50,	/* of those to be forgotten: what they were is
				   compared with what others hold */
	TICK_NS = 10000000,	/* the clock of files lags behind */
	USUAL = 4096,		/* paths in the queue: of more, give back */
};

/* A pin that goes when `until` is settled. */
struct unpin {
	struct mb_inode inode;
	uint64_t until;
};

struct mb_follow {
	struct mb_follow_options options;
	struct mb_chain_world world;
	struct mb_watch *watch;
	struct mb_chain **chains;
	size_t n_chains;
	struct mb_path **queue;		/* to be begun, in order, [next, n) */
	size_t n_queue, next_queue, cap_queue;
	struct mb_path **again;		/* to be tried again */
	size_t n_again, cap_again;
	int64_t again_us, forgot_us;
	size_t turn;			/* of the chains */
	bool is_crowded;		/* no room for what is queued */
	bool may_forget;
	bool seeks_lost;		/* what went while nobody looked */
	uint64_t *missed;		/* final, and no path had them last time */
	size_t n_missed;
	struct unpin *unpins;
	size_t n_unpins;
	char **notices;
	size_t n_notices;
	char *shown;
	uint64_t rest;			/* of a file that was closed */
	char *rest_name;
	struct mb_err trouble;		/* the first gzip file's */
};

static void
tell(void *arg, const char *path, const char *what)
{
	struct mb_follow *f = arg;
	struct mb_buf text = { 0 };

	if (path != NULL) {
		mb_show(&text, mb_str(path));
		mb_buf_adds(&text, ": ");
	}
	mb_buf_adds(&text, what);
	f->notices = mb_realloc_array(f->notices, f->n_notices + 1,
	    sizeof *f->notices);
	f->notices[f->n_notices++] = mb_buf_take(&text);
}

const char *
mb_follow_notice(struct mb_follow *f)
{
	free(f->shown);
	f->shown = NULL;
	if (f->n_notices == 0)
		return NULL;
	f->shown = f->notices[0];
	f->n_notices--;
	memmove(f->notices, f->notices + 1, f->n_notices * sizeof *f->notices);
	return f->shown;
}

static bool
is_open(void *arg, const struct mb_inode *inode, const struct mb_chain *but)
{
	struct mb_follow *f = arg;

	for (size_t i = 0; i < f->n_chains; i++)
		if (f->chains[i] != but &&
		    mb_chain_has_file(f->chains[i], inode))
			return true;
	return false;
}

static bool
is_in_hand(void *arg, const char *path, const struct mb_located *l,
    const struct mb_chain *but)
{
	struct mb_follow *f = arg;

	for (size_t i = 0; i < f->n_chains; i++)
		if (f->chains[i] != but &&
		    mb_chain_may_hold(f->chains[i], path, l))
			return true;
	return false;
}

static bool
is_reading(void *arg, uint64_t generation)
{
	struct mb_follow *f = arg;

	for (size_t i = 0; i < f->n_chains; i++)
		if (mb_chain_has_generation(f->chains[i], generation))
			return true;
	return false;
}

/* It is known as long as a path leads to its file; see forget. */
static void
is_done(void *arg, const struct mb_inode *inode, uint64_t generation)
{
	struct mb_follow *f = arg;
	uint64_t next = mb_journal_state(f->world.journal)->next_batch;
	size_t n = mb_watch_count(f->watch);

	for (size_t i = 0; i < n && generation != MB_NONE; i++) {
		struct mb_path *p = mb_watch_at(f->watch, i);

		if (p->look.state == MB_PATH_FILE && p->user == NULL &&
		    mb_inode_equal(&p->look.inode, inode))
			p->generation = generation;
	}
	f->may_forget = true;
	if (!f->options.pins)
		return;
	f->unpins = mb_realloc_array(f->unpins, f->n_unpins + 1,
	    sizeof *f->unpins);
	f->unpins[f->n_unpins++] = (struct unpin){ *inode, next };
}

static bool
parked_batch_needs(const struct mb_state *s, const struct mb_inode *inode)
{
	for (size_t i = 0; i < s->n_batches; i++) {
		const struct mb_batch *b = &s->batches[i];

		if (b->state != MB_PARKED)
			continue;
		for (size_t k = 0; k < b->n_ranges; k++) {
			const struct mb_generation *g = mb_state_generation(s,
			    b->ranges[k].generation);

			if (g != NULL && g->dev == inode->dev &&
			    g->ino == inode->ino)
				return true;
		}
	}
	return false;
}

static int
unpin(struct mb_follow *f, uint64_t settled, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(f->world.journal);
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < f->n_unpins; i++) {
		struct unpin u = f->unpins[i];

		if (rc < 0 || (u.until > 0 && (settled == MB_NONE ||
		    settled + 1 < u.until)) ||
		    parked_batch_needs(s, &u.inode))
			f->unpins[kept++] = u;
		else if (!is_open(f, &u.inode, NULL))
			rc = mb_pin_remove(f->world.journal, &u.inode, err);
	}
	f->n_unpins = kept;
	return rc;
}

/* At the start: what may still be read, or sent again. */
static bool
is_pin_needed(void *arg, const struct mb_inode *inode)
{
	const struct mb_state *s = mb_journal_state(
	    ((struct mb_follow *)arg)->world.journal);

	for (size_t i = 0; i < s->n_generations; i++) {
		const struct mb_generation *g = &s->generations[i];

		if (g->dev != inode->dev || g->ino != inode->ino)
			continue;
		if (!g->is_final)
			return true;
		for (size_t b = 0; b < s->n_batches; b++)
			for (size_t k = 0; k < s->batches[b].n_ranges; k++)
				if (s->batches[b].ranges[k].generation ==
				    g->id)
					return true;
	}
	return false;
}

int
mb_follow_open(struct mb_follow **out, const struct mb_follow_options *options,
    struct mb_journal *j, struct mb_cutter *c, struct mb_emitter *e,
    struct mb_err *err)
{
	struct mb_follow *f = mb_alloc(sizeof *f);

	*f = (struct mb_follow){
		.options = *options, .may_forget = true, .seeks_lost = true
	};
	f->watch = mb_watch_open(&(struct mb_watch_options){
		.follows = options->follows, .except = mb_journal_path(j),
		.tell = tell, .arg = f,
	});
	f->world = (struct mb_chain_world){
		.options = &f->options, .journal = j, .cutter = c,
		.emitter = e, .known = mb_known_open(j), .watch = f->watch,
		.listing = mb_listing_open(),
		.began_ns = mb_clock_wall_us() * 1000 - TICK_NS,
		.arg = f, .tell = tell, .is_open = is_open,
		.is_in_hand = is_in_hand,
		.is_reading = is_reading, .is_done = is_done,
	};
	*out = f;
	if (options->pins && mb_pin_sweep(j, is_pin_needed, f, err) < 0) {
		mb_follow_close(f);
		*out = NULL;
		return -1;
	}
	return 0;
}

void
mb_follow_close(struct mb_follow *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n_chains; i++)
		mb_chain_close(f->chains[i]);
	for (size_t i = 0; i < f->n_notices; i++)
		free(f->notices[i]);
	mb_watch_close(f->watch);
	mb_known_close(f->world.known);
	mb_listing_close(f->world.listing);
	mb_buf_release(&f->world.lines);
	free(f->chains);
	free(f->queue);
	free(f->again);
	free(f->unpins);
	free(f->missed);
	free(f->notices);
	free(f->shown);
	free(f->rest_name);
	free(f);
}

static void
push(struct mb_path ***v, size_t *n, size_t *cap, struct mb_path *p)
{
	if (*n == *cap) {
		*cap = *cap * 2 + 16;
		*v = mb_realloc_array(*v, *cap, sizeof **v);
	}
	(*v)[(*n)++] = p;
}

static void
try_again(struct mb_follow *f, struct mb_path *p)
{
	if (f->n_again == 0)
		f->again_us = f->world.now_us + TRY_AGAIN;
	push(&f->again, &f->n_again, &f->cap_again, p);
}

static void
enqueue(struct mb_follow *f, struct mb_path *p)
{
	if (p->flags & MB_PATH_QUEUED)
		return;
	p->flags |= MB_PATH_QUEUED;
	push(&f->queue, &f->n_queue, &f->cap_queue, p);
}

/* No path of ours any more. */
static void
drop(struct mb_follow *f, struct mb_path *p)
{
	f->may_forget = true;
	for (size_t i = 0; i < f->n_again; i++)
		if (f->again[i] == p)
			f->again[i--] = f->again[--f->n_again];
	if (p->flags & MB_PATH_QUEUED)
		for (size_t i = f->next_queue; i < f->n_queue; i++)
			if (f->queue[i] == p)
				f->queue[i] = NULL;
	mb_watch_drop(f->watch, p);
}

static void
notice_trouble(struct mb_follow *f, const struct mb_chain *c)
{
	const char *why, *name = mb_chain_path(c)->name;
	enum mb_gz_trouble t = mb_chain_trouble(c, &why);

	if (t == MB_GZ_FINE)
		return;
	if (f->trouble.code != MB_OK)
		tell(f, name, why);
	else
		mb_fail(&f->trouble, t == MB_GZ_CUT ? MB_EBUSY : MB_EDATA,
		    "%s: %s", name, why);
}

static void
close_chain(struct mb_follow *f, size_t i)
{
	struct mb_chain *c = f->chains[i];
	struct mb_path *p = mb_chain_path(c);
	uint64_t rest = mb_chain_rest(c);

	if (!f->options.follows) {
		p->flags |= MB_PATH_THROUGH;
		notice_trouble(f, c);
		if (rest > 0 && f->rest == 0) {
			f->rest = rest;
			f->rest_name = mb_strdup(p->name);
		}
	}
	p->user = NULL;
	f->may_forget = true;
	mb_chain_close(c);
	f->n_chains--;
	memmove(f->chains + i, f->chains + i + 1, (f->n_chains - i) *
	    sizeof *f->chains);
}

/*
 * A file that stands as the last plan left it, and was not written since then,
 * has nothing new: the stat alone says so.
 */
static bool
is_as_planned(const struct mb_follow *f, struct mb_path *p)
{
	enum { MARGIN_MS = 2000 };	/* clocks of files are coarse */
	const struct mb_generation *g = mb_state_newest(
	    mb_journal_state(f->world.journal), p->name);

	if (g == NULL || g->spool != MB_NONE || g->anchored == 0 ||
	    g->is_final || !mb_inode_equal(&p->look.inode,
	    &(struct mb_inode){ g->dev, g->ino, g->born_ns }) ||
	    p->look.size != g->end ||
	    p->look.mtime_ns / 1000000 > g->time_ms - MARGIN_MS)
		return false;
	p->generation = g->id;
	return true;
}

/* A path looks different: is there something to begin? */
static int
consider(struct mb_follow *f, struct mb_path *p, struct mb_err *err)
{
	bool is_known = mb_state_newest(mb_journal_state(f->world.journal),
	    p->name) != NULL;

	if (p->user != NULL)
		p->flags |= MB_PATH_CHANGED;
	if (p->user != NULL || (p->flags & MB_PATH_THROUGH))
		return 0;
	switch (p->look.state) {
	case MB_PATH_ABSENT:
		f->world.gone_us = mb_clock_steady_us();
		if (is_known && p->is_named && !f->options.follows)
			tell(f, p->name, "is not there now");
		if (is_known) {
			enqueue(f, p);
			return 0;
		}
		if (p->is_named && !f->options.follows)
			return mb_fail(err, MB_EUSAGE, "%s: no such file",
			    p->name);
		if (!p->is_named)
			drop(f, p);
		return 0;
	case MB_PATH_HIDDEN:
	case MB_PATH_FILE:
		break;
	}
	if (p->look.state == MB_PATH_FILE && !p->look.is_regular &&
	    !p->is_named)
		return 0;
	if (p->look.state == MB_PATH_FILE && p->look.is_regular &&
	    ((p->look.size == 0 && !is_known) || is_as_planned(f, p)))
		return 0;
	enqueue(f, p);
	return 0;
}

/* Close one in which nothing happens.  The one that has been so longest. */
static bool
make_room(struct mb_follow *f)
{
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < f->n_chains; i++)
		if (mb_chain_is_settled(f->chains[i]) &&
		    mb_chain_is_caught_up(f->chains[i]) &&
		    (best == SIZE_MAX || mb_chain_grown_us(f->chains[i]) <
		    mb_chain_grown_us(f->chains[best])))
			best = i;
	if (best == SIZE_MAX)
		return false;
	/* Whatever happens to the file from now on looks different. */
	close_chain(f, best);
	return true;
}

static int
begin(struct mb_follow *f, struct mb_path *p, struct mb_err *err)
{
	struct mb_chain *c;
	int rc;

	p->flags &= (uint8_t)~MB_PATH_QUEUED;
	if (f->options.follows) {
		bool was_there = p->look.state != MB_PATH_ABSENT;

		mb_watch_look(p);
		if (was_there && p->look.state == MB_PATH_ABSENT)
			f->world.gone_us = mb_clock_steady_us();
	}
	rc = mb_chain_begin(&c, &f->world, p, err);
	switch (rc) {
	case MB_CHAIN_READS:
		f->chains = mb_realloc_array(f->chains, f->n_chains + 1,
		    sizeof *f->chains);
		f->chains[f->n_chains++] = c;
		p->user = c;
		return 0;
	case MB_CHAIN_AGAIN:
		if (f->options.follows)
			try_again(f, p);
		return 0;
	case MB_CHAIN_GONE:
		/* A hint that it came again may have been read before. */
		mb_watch_look(p);
		if (p->look.state == MB_PATH_ABSENT)
			drop(f, p);
		else
			try_again(f, p);
		return 0;
	case MB_CHAIN_IDLE:
		return 0;
	default:
		return -1;
	}
}

static int
begin_queued(struct mb_follow *f, struct mb_err *err)
{
	f->is_crowded = false;
	while (f->next_queue < f->n_queue) {
		struct mb_path *p = f->queue[f->next_queue];

		if (f->n_chains >= f->options.max_open && !make_room(f)) {
			f->is_crowded = true;
			return 0;
		}
		f->next_queue++;
		if (p != NULL && begin(f, p, err) < 0)
			return -1;
		/* What is open must not wait while many are looked for. */
		if (f->options.follows && mb_clock_steady_us() -
		    f->world.now_us > BEGIN_FOR)
			return 0;
	}
	f->next_queue = f->n_queue = 0;
	if (f->cap_queue > USUAL) {
		free(f->queue);
		f->queue = NULL;
		f->cap_queue = 0;
	}
	return 0;
}

/* One chain; *i moves on to the next. */
static int
step(struct mb_follow *f, size_t *i, int rc)
{
	struct mb_path *p = mb_chain_path(f->chains[*i]);

	if (rc == MB_CHAIN_READS) {
		++*i;
		return 0;
	}
	if (rc < 0)
		return -1;
	close_chain(f, *i);
	if (rc == MB_CHAIN_AGAIN)
		try_again(f, p);
	else if (f->options.follows)
		mb_watch_again(f->watch, p);
	return 0;
}

static int
step_chains(struct mb_follow *f, struct mb_err *err)
{
	size_t n = f->n_chains, from = f->turn < n ? f->turn : 0;
	size_t to = from + STEP_FREELY;
	bool all = n <= STEP_FREELY || !f->options.follows;

	f->turn = to;
	for (size_t i = 0, k = 0; i < f->n_chains; k++) {
		struct mb_chain *c = f->chains[i];
		struct mb_path *p = mb_chain_path(c);

		if (!all && (k < from || k >= to) && mb_chain_is_settled(c) &&
		    !(p->flags & MB_PATH_CHANGED)) {
			i++;
			continue;
		}
		p->flags &= (uint8_t)~MB_PATH_CHANGED;
		if (step(f, &i, mb_chain_step(c, err)) < 0)
			return -1;
	}
	return 0;
}

static int
compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool
has_id(const uint64_t *sorted, size_t n, uint64_t id)
{
	return n > 0 && bsearch(&id, sorted, n, sizeof id, compare_ids) !=
	    NULL;
}

/*
 * A directory that isn't there now may be on a file system that isn't mounted:
 * unobservable is not gone.  One that was removed has a parent on the same.
 */
static bool
is_mounted(const struct mb_generation *g)
{
	char *dir = mb_strdup(g->source), *slash;
	struct mb_look look = { .state = MB_PATH_ABSENT };

	while (look.state == MB_PATH_ABSENT &&
	    (slash = strrchr(dir, '/')) != NULL) {
		*slash = '\0';
		look = mb_look_at(slash == dir ? "/" : dir);
	}
	free(dir);
	return look.state == MB_PATH_FILE && look.inode.dev == g->dev;
}

/*
 * A file that is renamed or compressed has no path for a moment.  So whoever
 * follows looks twice, FORGET_EVERY apart.  What went while nobody looked is
 * searched for.
 */
static bool
is_gone(struct mb_follow *f, const struct mb_generation *g, int64_t since_us,
    size_t *n_compared)
{
	struct mb_sought what = mb_sought_generation(g);
	struct mb_err ignored = { 0 };
	struct mb_buf why = { 0 };
	struct mb_located l;
	bool is;

	if (!is_mounted(g))
		return false;
	if (f->options.follows && g->is_final)
		return has_id(f->missed, f->n_missed, g->id);
	what.listing = f->world.listing;
	what.since_us = since_us;
	if (mb_look_at(g->source).state == MB_PATH_ABSENT &&
	    g->target == NULL && !mb_locate_has_candidates(&what, &ignored))
		return true;
	if (*n_compared == SEARCH_AT_ONCE)
		return false;
	++*n_compared;
	is = mb_locate(&l, f->world.journal, &what, false, &why) ==
	    MB_LOCATE_GONE;
	mb_located_release(&l);
	mb_buf_release(&why);
	return is;
}

/*
 * May it be forgotten, if no file has it?  What is final; and of what went
 * while nobody looked, at the start, what this run would have found.  The
 * newest of a path that may come again stays: what is rotated after it is its
 * successor.
 */
static bool
is_over(const struct mb_follow *f, const struct mb_generation *g)
{
	const struct mb_state *s = mb_journal_state(f->world.journal);

	if (g->is_forgotten || g->spool != MB_NONE)
		return false;
	if (!g->is_final)
		return f->seeks_lost &&
		    mb_watch_find(f->watch, g->source) == NULL &&
		    mb_watch_would_find(f->watch, g->source);
	return mb_state_newest(s, g->source) != g ||
	    mb_watch_find(f->watch, g->source) == NULL;
}

static int
compare_sources(const void *a, const void *b)
{
	const struct mb_generation *x = *(const struct mb_generation *const *)a;
	const struct mb_generation *y = *(const struct mb_generation *const *)b;
	int rc = strcmp(x->source, y->source);

	return rc != 0 ? rc : compare_ids(&x->id, &y->id);
}

/* Generations that are over, and that no path has; by their sources. */
static size_t
list_over(struct mb_follow *f, const struct mb_generation ***out)
{
	const struct mb_state *s = mb_journal_state(f->world.journal);
	size_t n = mb_watch_count(f->watch), n_over = 0;
	size_t most = f->seeks_lost ? s->n_generations : FORGET_AT_ONCE;
	uint64_t *ids = mb_realloc_array(NULL, n, sizeof *ids);
	uint64_t *inodes = mb_realloc_array(NULL, n, sizeof *inodes);

	*out = mb_realloc_array(NULL, most, sizeof **out);
	for (size_t i = 0; i < n; i++) {
		const struct mb_path *p = mb_watch_at(f->watch, i);

		ids[i] = p->generation;
		inodes[i] = p->look.state == MB_PATH_FILE ?
		    p->look.inode.ino : 0;
	}
	if (n > 0) {
		qsort(ids, n, sizeof *ids, compare_ids);
		qsort(inodes, n, sizeof *inodes, compare_ids);
	}
	for (size_t i = 0; i < s->n_generations; i++) {
		const struct mb_generation *g = &s->generations[i];

		if (!is_over(f, g) || has_id(ids, n, g->id) ||
		    has_id(inodes, n, g->ino) || is_reading(f, g->id))
			continue;
		if (n_over == most) {
			f->may_forget = true;
			break;
		}
		(*out)[n_over++] = g;
	}
	if (n_over > 0)
		qsort(*out, n_over, sizeof **out, compare_sources);
	free(ids);
	free(inodes);
	return n_over;
}

/* Forget those, where no file has them any more. */
static void
forget(struct mb_follow *f)
{
	int64_t since_us = mb_clock_steady_us();
	size_t n_over, n_gone = 0, n_missed = 0, n_compared = 0;
	const struct mb_generation **over;
	uint64_t *gone, *missed;

	if (!f->may_forget || f->next_queue < f->n_queue || f->n_again > 0 ||
	    (f->options.follows &&
	    f->world.now_us - f->forgot_us < FORGET_EVERY))
		return;
	f->forgot_us = f->world.now_us;
	f->may_forget = false;
	n_over = list_over(f, &over);
	f->seeks_lost = !f->options.follows;
	gone = mb_realloc_array(NULL, n_over, sizeof *gone);
	missed = mb_realloc_array(NULL, n_over, sizeof *missed);
	for (size_t i = 0; i < n_over; i++)
		if (is_gone(f, over[i], since_us, &n_compared))
			gone[n_gone++] = over[i]->id;
		else
			missed[n_missed++] = over[i]->id;
	if (n_missed > 0)
		qsort(missed, n_missed, sizeof *missed, compare_ids);
	if (n_gone > 0)
		mb_put_forget(&f->world.lines, gone, n_gone);
	free(f->missed);
	f->missed = missed;
	f->n_missed = n_missed;
	f->may_forget |= f->options.follows && n_missed > 0;
	free(gone);
	free(over);
}

/* What the chains have to say.  Not synced: it would be found again. */
static int
write_lines(struct mb_follow *f, struct mb_err *err)
{
	int rc;

	if (f->world.lines.len == 0)
		return 0;
	rc = mb_journal_append(f->world.journal, &f->world.lines, err);
	mb_buf_reset(&f->world.lines);
	return rc;
}

static void
set_clocks(struct mb_follow *f)
{
	f->world.now_us = mb_clock_steady_us();
	f->world.wall_ns = mb_clock_wall_us() * 1000;
}

int
mb_follow_refresh(struct mb_follow *f, struct mb_err *err)
{
	struct mb_path *p;

	set_clocks(f);
	if (f->n_again > 0 && f->world.now_us >= f->again_us) {
		for (size_t i = 0; i < f->n_again; i++)
			enqueue(f, f->again[i]);
		f->n_again = 0;
	}
	if (mb_watch_refresh(f->watch, f->world.now_us, err) < 0)
		return -1;
	while ((p = mb_watch_next(f->watch)) != NULL)
		if (consider(f, p, err) < 0)
			return -1;
	if (step_chains(f, err) < 0 || begin_queued(f, err) < 0)
		return -1;
	forget(f);
	return write_lines(f, err);
}

int
mb_follow_add(struct mb_follow *f, unsigned rank, const char *operand,
    struct mb_err *err)
{
	struct mb_path *named;

	return mb_watch_add(f->watch, rank, operand, &named, err);
}

int
mb_follow_renew(struct mb_follow *f, struct mb_input *in, struct mb_err *err)
{
	size_t i = 0;
	int rc;

	set_clocks(f);
	while (i < f->n_chains && !mb_chain_has(f->chains[i], in))
		i++;
	if (i == f->n_chains)
		return mb_fail(err, MB_EBUG, "%s: an input without a file",
		    mb_input_source(in));
	rc = mb_chain_renew(f->chains[i], in, err);
	return rc == 0 ? 0 : step(f, &i, rc);
}

int
mb_follow_planned(struct mb_follow *f, uint64_t settled, struct mb_err *err)
{
	for (size_t i = 0; i < f->n_chains; i++)
		mb_chain_planned(f->chains[i]);
	return f->n_unpins > 0 ? unpin(f, settled, err) : 0;
}

enum mb_follow_more
mb_follow_more(const struct mb_follow *f)
{
	if (f->next_queue < f->n_queue)
		return MB_FOLLOW_EAGER;
	if (f->options.follows)
		return MB_FOLLOW_NOTHING;
	for (size_t i = 0; i < f->n_chains; i++)
		if (mb_chain_waits(f->chains[i]))
			return MB_FOLLOW_WAITING;
	return f->n_chains > 0 ? MB_FOLLOW_EAGER : MB_FOLLOW_NOTHING;
}

int
mb_follow_fd(const struct mb_follow *f)
{
	return mb_watch_fd(f->watch);
}

void
mb_follow_drain(struct mb_follow *f)
{
	mb_watch_drain(f->watch);
}

uint64_t
mb_follow_rest(const struct mb_follow *f, const char **name)
{
	*name = f->rest_name;
	return f->rest;
}

int
mb_follow_trouble(struct mb_follow *f, struct mb_err *err)
{
	if (f->trouble.code == MB_OK)
		return 0;
	return mb_fail(err, f->trouble.code, "%s", f->trouble.msg);
}
