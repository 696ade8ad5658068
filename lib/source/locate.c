#include "source/locate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/parse.h"
#include "source/pin.h"

void
mb_located_release(struct mb_located *l)
{
	mb_content_close(l->content);
	free(l->path);
	*l = (struct mb_located){ .fd = -1 };
}

const char *
mb_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int
matches_generation(const struct mb_sought *what, struct mb_content *c,
    struct mb_err *err)
{
	const struct mb_generation *g = what->arg;
	struct mb_hash head = mb_hash_unpack(&g->head);
	struct mb_hash tail = mb_hash_unpack(&g->tail);
	int rc = mb_content_matches(c, g->anchored, &head, &tail, err);

	/* Rejects may stand behind the last range. */
	return rc > 0 && g->end > g->anchored ?
	    mb_content_reaches(c, g->end, err) : rc;
}

struct mb_sought
mb_sought_generation(const struct mb_generation *g)
{
	return (struct mb_sought){
		.path = g->source, .target = g->target,
		.inode = { g->dev, g->ino, g->born_ns },
		.evidence = g->anchored < MB_ANCHOR ? g->anchored : MB_ANCHOR,
		.matches = matches_generation,
		.arg = (void *)(uintptr_t)g,
	};
}

static enum mb_locate_result
hide(struct mb_buf *why, const char *path, const char *text)
{
	mb_buf_reset(why);
	mb_show(why, mb_str(path));
	mb_buf_addf(why, ": %s", text);
	return MB_LOCATE_UNSURE;
}

/* The same for an error, which names the file itself. */
static enum mb_locate_result
hide_for(struct mb_buf *why, const struct mb_err *err)
{
	mb_buf_reset(why);
	mb_buf_adds(why, err->msg);
	return MB_LOCATE_UNSURE;
}

enum mb_locate_result
mb_locate_open(struct mb_located *out, struct mb_journal *j,
    const char *path, struct mb_buf *why)
{
	struct mb_look look;
	int fd = mb_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY,
	    0);

	*out = (struct mb_located){ .fd = -1 };
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ?
		    MB_LOCATE_GONE : hide(why, path, strerror(errno));
	look = mb_look_fd(fd);
	if (look.state != MB_PATH_FILE || !look.is_regular) {
		close(fd);
		return look.state != MB_PATH_FILE ?
		    hide(why, path, strerror(look.error)) : MB_LOCATE_GONE;
	}
	*out = (struct mb_located){
		.fd = fd, .path = mb_strdup(path), .look = look,
		.content = mb_content_take(fd, path, j),
	};
	return MB_LOCATE_FOUND;
}

enum mb_identity
mb_locate_judge(const struct mb_sought *what, const struct mb_located *l,
    enum mb_place place, struct mb_buf *why)
{
	enum mb_content_says says = MB_CONTENT_NOTHING;
	struct mb_err err = { 0 };
	int rc;

	if (what->evidence > 0) {
		rc = what->matches(what, l->content, &err);
		says = rc < 0 ? MB_CONTENT_HIDDEN : rc > 0 ?
		    MB_CONTENT_EQUAL : MB_CONTENT_DIFFERS;
		if (rc < 0)
			hide_for(why, &err);
	}
	return mb_identity_judge(&what->inode, &l->look.inode, place, says,
	    what->evidence);
}

/* While a directory changes, what was read of it counts for little. */
enum {
	TRIES = 20,
	MOST = 1000,		/* candidates; no rotation keeps more */
};

/* The search: the best so far. */
struct search {
	struct mb_journal *journal;
	const struct mb_sought *what;
	struct mb_buf *why;
	struct mb_listing *listing;
	int64_t since_us;	/* as of mb_sought */
	struct mb_located best;
	bool is_sure, was_hidden;
	bool has_moved;		/* something changed while we looked */
};

static void
consider(struct search *s, const char *path, enum mb_place place)
{
	struct mb_located l;
	enum mb_locate_result rc = mb_locate_open(&l, s->journal, path,
	    s->why);
	enum mb_identity is;

	if (rc != MB_LOCATE_FOUND) {
		s->was_hidden |= rc == MB_LOCATE_UNSURE;
		return;
	}
	is = mb_locate_judge(s->what, &l, place, s->why);
	s->was_hidden |= is == MB_IDENTITY_UNSURE;
	if (is == MB_IDENTITY_SAME ||
	    (is == MB_IDENTITY_PERHAPS && s->best.path == NULL)) {
		mb_located_release(&s->best);
		s->best = l;
		s->is_sure = is == MB_IDENTITY_SAME;
		return;
	}
	mb_located_release(&l);
}

struct candidate {
	char *path;
	int rank;		/* the same inode first, then siblings */
};

static int
compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->rank != y->rank ? x->rank - y->rank :
	    strcmp(x->path, y->path);
}

/* The files beside a path that may be it. */
struct candidates {
	const struct mb_sought *what;
	const char *path;
	struct mb_buf family;	/* the beginning of their names */
	struct candidate *v;
	size_t n;
};

static void
add_candidate(void *arg, const struct mb_listed *e)
{
	struct candidates *c = arg;
	const char *base = mb_base_name(c->path);
	bool is_it = e->ino == c->what->inode.ino;
	struct mb_buf path = { 0 };

	if ((!is_it && !mb_is_sibling(c->family.p, e->name)) ||
	    strcmp(e->name, base) == 0 || e->is_directory)
		return;
	mb_buf_add(&path, c->path, (size_t)(base - c->path));
	mb_buf_adds(&path, e->name);
	c->v = mb_realloc_array(c->v, c->n + 1, sizeof *c->v);
	c->v[c->n++] = (struct candidate){ mb_buf_take(&path), !is_it };
}

/* Of 100,000 neighbours only those that the name or the inode speaks for. */
static void
find_candidates(struct candidates *c, struct mb_listing *l)
{
	const char *base = mb_base_name(c->path);

	/* What began as app.log.1 may be app.log.2.gz by now. */
	mb_buf_add(&c->family, base, mb_rotated_base(base) > 0 ?
	    mb_rotated_base(base) : strlen(base));
	mb_listing_search(l, mb_buf_str(&c->family), c->what->inode.ino,
	    add_candidate, c);
	if (c->n > 0)
		qsort(c->v, c->n, sizeof *c->v, compare_candidates);
}

static void
search_beside(struct search *s, const char *path)
{
	struct candidates c = { .what = s->what, .path = path };
	struct mb_err err = { 0 };

	if (mb_listing_read(s->listing, path, s->since_us, &err) < 0) {
		hide_for(s->why, &err);
		s->was_hidden = true;
		return;
	}
	find_candidates(&c, s->listing);
	for (size_t i = 0; i < c.n; i++) {
		if (!s->is_sure && i < MOST)
			consider(s, c.v[i].path, mb_is_sibling(c.family.p,
			    mb_base_name(c.v[i].path)) ? MB_PLACE_SIBLING :
			    MB_PLACE_ELSEWHERE);
		free(c.v[i].path);
	}
	/* What was a candidate may have been renamed since. */
	if (!s->is_sure && !(c.n == 0 ? mb_listing_was_still(s->listing) :
	    mb_listing_is_still(s->listing)))
		s->has_moved = true;
	free(c.v);
	mb_buf_release(&c.family);
}

bool
mb_locate_has_candidates(const struct mb_sought *what, struct mb_err *err)
{
	struct candidates c = { .what = what, .path = what->path };

	if (mb_listing_read(what->listing, what->path, what->since_us, err) <
	    0 || !mb_listing_was_still(what->listing))
		return true;
	find_candidates(&c, what->listing);
	for (size_t i = 0; i < c.n; i++)
		free(c.v[i].path);
	free(c.v);
	mb_buf_release(&c.family);
	return c.n > 0;
}

/* What the symbolic link leads to now: its neighbours may be what it was. */
static void
search_target(struct search *s, const char *path)
{
	char *real = realpath(path, NULL);

	if (real != NULL && strcmp(real, path) != 0)
		search_beside(s, real);
	free(real);
}

static void
search(struct search *s, bool elsewhere)
{
	struct mb_buf pin = { 0 };

	s->was_hidden = s->has_moved = false;
	if (!elsewhere)
		consider(s, s->what->path, MB_PLACE_NAME);
	if (!s->is_sure && s->what->target != NULL)
		consider(s, s->what->target, MB_PLACE_ELSEWHERE);
	if (!s->is_sure) {
		mb_pin_path(&pin, s->journal, &s->what->inode);
		consider(s, mb_buf_str(&pin), MB_PLACE_ELSEWHERE);
		mb_buf_release(&pin);
	}
	if (!s->is_sure)
		search_beside(s, s->what->path);
	if (!s->is_sure)
		search_target(s, s->what->path);
}

enum mb_locate_result
mb_locate(struct mb_located *out, struct mb_journal *j,
    const struct mb_sought *what, bool elsewhere, struct mb_buf *why)
{
	struct search s = {
		.journal = j, .what = what, .why = why, .best = { .fd = -1 },
		.since_us = what->listing != NULL ? what->since_us :
		    MB_LISTING_ANEW,
		.listing = what->listing != NULL ? what->listing :
		    mb_listing_open(),
	};

	for (int i = 0; i < TRIES && (i == 0 || s.has_moved); i++) {
		if (i > 0)
			mb_listing_pause();
		mb_located_release(&s.best);
		search(&s, elsewhere);
		s.since_us = MB_LISTING_ANEW;
	}
	if (what->listing == NULL)
		mb_listing_close(s.listing);
	*out = s.best;
	/* Where one is hidden, a mere resemblance is no answer. */
	if (s.is_sure || (s.best.path != NULL && !s.was_hidden))
		return MB_LOCATE_FOUND;
	mb_located_release(out);
	return s.was_hidden ? MB_LOCATE_UNSURE : MB_LOCATE_GONE;
}

struct sibling {
	char *name;
	int64_t mtime_ns;
	struct mb_inode inode;
};

static struct mb_rotated
rotated(const struct sibling *s)
{
	return (struct mb_rotated){ s->name, s->mtime_ns };
}

/* The siblings that rotation has made.  at: the one with this inode. */
struct siblings {
	const struct mb_buf *dir;
	const char *base;
	const struct mb_inode *inode;
	struct sibling *v;
	size_t n, at;
};

static void
add_sibling(void *arg, const struct mb_listed *e)
{
	struct siblings *s = arg;
	struct mb_buf path = { 0 };
	struct mb_look look;

	if (!mb_looks_rotated(s->base, e->name))
		return;
	mb_buf_add(&path, s->dir->p, s->dir->len);
	mb_buf_adds(&path, e->name);
	look = mb_look_at(mb_buf_str(&path));
	mb_buf_release(&path);
	if (look.state != MB_PATH_FILE || !look.is_regular)
		return;
	if (s->inode != NULL && mb_inode_equal(s->inode, &look.inode))
		s->at = s->n;
	s->v = mb_realloc_array(s->v, s->n + 1, sizeof *s->v);
	s->v[s->n++] = (struct sibling){
		mb_strdup(e->name), look.mtime_ns, look.inode
	};
}

/* gzip is at it, as long as the original is there. */
static bool
is_being_compressed(const struct sibling *v, size_t n, size_t i)
{
	size_t len = strlen(v[i].name);

	if (len < 3 || strcmp(v[i].name + len - 3, ".gz") != 0)
		return false;
	for (size_t k = 0; k < n; k++)
		if (v[k].name != NULL && strncmp(v[k].name, v[i].name,
		    len - 3) == 0 && v[k].name[len - 3] == '\0')
			return true;
	return false;
}

/* Of those not taken yet that came after `after`, the oldest; SIZE_MAX. */
static size_t
oldest(const struct sibling *v, size_t n, const char *base,
    const struct mb_rotated *after)
{
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < n; i++) {
		struct mb_rotated it = rotated(&v[i]), old;

		if (it.name == NULL || !mb_is_successor(base, after, &it) ||
		    is_being_compressed(v, n, i))
			continue;
		if (best != SIZE_MAX) {
			old = rotated(&v[best]);
			if (!mb_is_successor(base, &it, &old))
				continue;
		}
		best = i;
	}
	return best;
}

static void
release_siblings(struct sibling *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].name);
	free(v);
}

/* As they were all at one moment. */
static enum mb_locate_result
list_siblings(struct siblings *s, struct mb_buf *why)
{
	struct mb_listing *l = mb_listing_open();
	struct mb_err err = { 0 };
	int rc = 0;

	for (int i = 0; i <= TRIES; i++) {
		if (i > 0)
			mb_listing_pause();
		release_siblings(s->v, s->n);
		s->v = NULL;
		s->n = 0;
		s->at = SIZE_MAX;
		rc = mb_listing_read(l, s->dir->p, MB_LISTING_ANEW, &err);
		if (rc < 0)
			break;
		mb_listing_search(l, s->base, 0, add_sibling, s);
		if (mb_listing_is_still(l))
			break;
	}
	mb_listing_close(l);
	return rc == 0 ? MB_LOCATE_GONE : hide_for(why, &err);
}

static enum mb_locate_result
open_sibling(struct mb_located *out, struct mb_journal *j,
    const struct mb_buf *dir, const struct sibling *s, struct mb_buf *why)
{
	struct mb_buf name = { 0 };
	enum mb_locate_result result;

	mb_buf_add(&name, dir->p, dir->len);
	mb_buf_adds(&name, s->name);
	result = mb_locate_open(out, j, mb_buf_str(&name), why);
	/* Renamed meanwhile, so that the order is another. */
	if (result == MB_LOCATE_GONE || (result == MB_LOCATE_FOUND &&
	    !mb_inode_equal(&out->look.inode, &s->inode))) {
		mb_located_release(out);
		result = hide(why, name.p, "is being renamed");
	}
	mb_buf_release(&name);
	return result;
}

enum mb_locate_result
mb_locate_next(struct mb_located *out, struct mb_journal *j,
    const char *path, const struct mb_inode *inode, int64_t mtime_ns,
    int (*is_known)(void *arg, const struct mb_located *l), void *arg,
    struct mb_buf *why)
{
	const char *base = mb_base_name(path);
	struct mb_rotated after = { NULL, mtime_ns };
	struct mb_buf dir = { 0 }, after_name = { 0 };
	struct siblings s = { .dir = &dir, .base = base, .inode = inode };
	enum mb_locate_result result;
	size_t next;
	int known = 0;

	*out = (struct mb_located){ .fd = -1 };
	mb_buf_add(&dir, path, (size_t)(base - path));
	mb_buf_str(&dir);
	result = list_siblings(&s, why);
	if (s.at != SIZE_MAX) {
		mb_buf_adds(&after_name, s.v[s.at].name);
		after.name = mb_buf_str(&after_name);
	}
	while (result == MB_LOCATE_GONE && known != 2 &&
	    (next = oldest(s.v, s.n, base, &after)) != SIZE_MAX) {
		result = open_sibling(out, j, &dir, &s.v[next], why);
		free(s.v[next].name);
		s.v[next].name = NULL;
		if (result != MB_LOCATE_FOUND)
			break;
		known = is_known(arg, out);
		if (known == 0)
			break;
		result = known > 0 ? MB_LOCATE_GONE :
		    hide(why, out->path, "can't be compared");
		mb_located_release(out);
	}
	release_siblings(s.v, s.n);
	mb_buf_release(&dir);
	mb_buf_release(&after_name);
	return result;
}

/*
 * For the emitter.  Where nothing is surely it, what stands under the name is
 * read, unless that is known to be its successor: the checksum of the range
 * decides.
 */
int
mb_content_open(struct mb_content **out, struct mb_journal *j,
    const struct mb_generation *g, const char **gone, struct mb_err *err)
{
	struct mb_sought what = mb_sought_generation(g);
	enum mb_locate_result found;
	struct mb_buf why = { 0 };
	struct mb_spool *spool;
	struct mb_located l;

	*out = NULL;
	if (g->spool != MB_NONE) {
		if (mb_spool_open(&spool, j, g->spool, g->end, MB_SPOOL_READ,
		    err) < 0)
			return -1;
		*out = mb_content_take_spool(spool);
		return 1;
	}
	found = mb_locate(&l, j, &what, false, &why);
	if (found == MB_LOCATE_GONE && !g->is_final)
		found = mb_locate_open(&l, j, g->source, &why);
	if (found == MB_LOCATE_UNSURE)
		mb_fail(err, MB_EIO, "%s", mb_buf_str(&why));
	if (found == MB_LOCATE_GONE)
		*gone = "is gone";
	if (found == MB_LOCATE_FOUND) {
		*out = l.content;
		l.content = NULL;
		mb_located_release(&l);
	}
	mb_buf_release(&why);
	return found == MB_LOCATE_UNSURE ? -1 : found == MB_LOCATE_FOUND;
}
