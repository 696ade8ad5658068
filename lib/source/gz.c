/*
 * A cursor decompresses forwards.  It keeps what came last, because anchors
 * are read a little behind what was scanned.  There are two of them; whoever
 * reads elsewhere moves the one that was used longest ago.
 */
#include "source/gz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "record/gunzip.h"
#include "source/gzindex.h"

enum {
	CURSORS = 2,
	INPUT = 16 * 1024,
	KEPT = 144 * 1024,	/* more than a chunk and an anchor */
	RECENT = KEPT + 64 * 1024,
	FAR = 1 << 20,		/* farther away a place is worth looking for */
};

struct cursor {
	struct mb_gunzip *gunzip;	/* NULL: not in use */
	uint64_t in;			/* of the file: up to here it was read */
	char *input;			/* the bytes before `in` */
	size_t n_input;
	struct mb_str pending;		/* of them, not decompressed yet */
	uint64_t out;			/* decompressed up to here */
	char *recent;			/* the bytes before `out` */
	size_t n_recent;
	uint64_t used;			/* when; by mb_gz.clock */
};

struct mb_gz {
	int fd;
	char *name;
	struct mb_journal *journal;
	uint64_t limit;
	struct cursor cursors[CURSORS];
	uint64_t clock;
	char head[MB_GZ_HEAD];		/* the file's first bytes, as read */
	size_t n_head;
	char first[MB_ANCHOR];		/* the first decompressed ones */
	size_t n_first;
	struct mb_gzindex *index;	/* NULL: not needed yet */
	struct mb_buf window;
	enum mb_gz_trouble trouble;
	char why[160];
	struct stat damaged;		/* what the file was like then */
};

struct mb_gz *
mb_gz_open(int fd, const char *name, struct mb_journal *j)
{
	struct mb_gz *z = mb_zalloc(sizeof *z);

	z->fd = fd;
	z->name = mb_strdup(name);
	z->journal = j;
	z->limit = UINT64_MAX;
	return z;
}

static void
close_cursor(struct cursor *c)
{
	mb_gunzip_close(c->gunzip);
	free(c->input);
	free(c->recent);
	*c = (struct cursor){ 0 };
}

static void
forget(struct mb_gz *z)
{
	for (size_t i = 0; i < CURSORS; i++)
		close_cursor(&z->cursors[i]);
	mb_gzindex_close(z->index);
	z->index = NULL;
	z->n_head = z->n_first = 0;
	z->trouble = MB_GZ_FINE;
}

void
mb_gz_close(struct mb_gz *z)
{
	if (z == NULL)
		return;
	forget(z);
	mb_buf_release(&z->window);
	free(z->name);
	free(z);
}

void
mb_gz_limit(struct mb_gz *z, uint64_t size)
{
	z->limit = size;
}

enum mb_gz_trouble
mb_gz_trouble(const struct mb_gz *z, const char **why)
{
	*why = z->why;
	return z->trouble;
}

static void
set_trouble(struct mb_gz *z, enum mb_gz_trouble trouble, uint64_t in,
    const char *what)
{
	z->trouble = trouble;
	snprintf(z->why, sizeof z->why, "at byte %" PRIu64 ": %.100s", in,
	    what);
	if (trouble == MB_GZ_DAMAGED && fstat(z->fd, &z->damaged) < 0)
		z->damaged = (struct stat){ 0 };
}

/* A damaged file that was written to since may be whole now. */
static void
try_again(struct mb_gz *z)
{
	struct stat st;

	if (z->trouble == MB_GZ_DAMAGED && fstat(z->fd, &st) == 0 &&
	    (st.st_size != z->damaged.st_size ||
	    st.st_mtim.tv_sec != z->damaged.st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != z->damaged.st_mtim.tv_nsec))
		forget(z);
}

/* The index; NULL while the file is too short for one. */
static struct mb_gzindex *
need_index(struct mb_gz *z)
{
	struct mb_hash head;

	if (z->index == NULL && z->n_head == sizeof z->head &&
	    z->journal != NULL) {
		head = mb_hash_bytes(z->head, z->n_head);
		z->index = mb_gzindex_open(z->journal, &head);
	}
	return z->index;
}

/* Read the file's first bytes, or more of them. */
static int
read_head(struct mb_gz *z, struct mb_err *err)
{
	ssize_t n;

	if (z->n_head == sizeof z->head)
		return 0;
	n = mb_pread_full(z->fd, z->head, sizeof z->head, 0, z->name, err);
	if (n < 0)
		return -1;
	z->n_head = (size_t)n;
	return 0;
}

/* The next bytes of the file: 1, or 0 if there are none. */
static int
read_input(struct mb_gz *z, struct cursor *c, struct mb_err *err)
{
	uint64_t left = z->limit > c->in ? z->limit - c->in : 0;
	char last[MB_GZ_HEAD];
	size_t keep = 0;
	ssize_t n;

	if (left == 0)
		return 0;
	/* Enough to know the file by stays, when little comes. */
	if (c->n_input > 0) {
		keep = c->n_input < sizeof last ? c->n_input : sizeof last;
		memcpy(last, c->input + c->n_input - keep, keep);
	}
	n = mb_pread_full(z->fd, c->input + keep, left < INPUT ?
	    (size_t)left : INPUT, c->in, z->name, err);
	if (n <= 0)
		return (int)n;
	memcpy(c->input, last, keep);
	c->n_input = keep + (size_t)n;
	c->in += (uint64_t)n;
	c->pending = (struct mb_str){ c->input + keep, (size_t)n };
	return 1;
}

static void
keep_point(struct mb_gz *z, struct cursor *c)
{
	const struct mb_gunzip_point *p = mb_gunzip_point(c->gunzip);
	struct mb_gzindex *x;

	if (p == NULL)
		return;
	x = need_index(z);
	if (x == NULL) {
		mb_gunzip_want_point(c->gunzip, p->out + FAR);
		return;
	}
	mb_gzindex_add(x, z->fd, p);
	mb_gunzip_want_point(c->gunzip, mb_gzindex_next(x));
}

/* Decompress some more: the count, or 0 at the end, whose trouble is set. */
static ssize_t
advance(struct mb_gz *z, struct cursor *c, struct mb_err *err)
{
	struct mb_err why = { 0 };
	ssize_t n;
	int rc;

	if (c->n_recent == RECENT) {
		memmove(c->recent, c->recent + RECENT - KEPT, KEPT);
		c->n_recent = KEPT;
	}
	for (;;) {
		n = mb_gunzip_read(c->gunzip, &c->pending, c->recent +
		    c->n_recent, RECENT - c->n_recent, &why);
		if (n < 0) {
			set_trouble(z, MB_GZ_DAMAGED,
			    mb_gunzip_in(c->gunzip), why.msg);
			return 0;
		}
		keep_point(z, c);
		if (n > 0)
			break;
		rc = read_input(z, c, err);
		if (rc < 0)
			return -1;
		if (rc > 0)
			continue;
		if (mb_gunzip_finish(c->gunzip, &why) < 0)
			set_trouble(z, MB_GZ_CUT, c->in, why.msg);
		else
			z->trouble = MB_GZ_FINE;
		return 0;
	}
	c->n_recent += (size_t)n;
	c->out += (uint64_t)n;
	if (z->n_first < sizeof z->first && c->n_recent == c->out) {
		z->n_first = c->n_recent < sizeof z->first ? c->n_recent :
		    sizeof z->first;
		memcpy(z->first, c->recent, z->n_first);
	}
	return n;
}

/* Begin with a cursor at a place. */
static int
move(struct mb_gz *z, struct cursor *c, const struct mb_gunzip_point *p,
    struct mb_err *err)
{
	if (c->gunzip == NULL) {
		if (mb_gunzip_open(&c->gunzip, err) < 0)
			return -1;
		c->input = mb_alloc(INPUT + MB_GZ_HEAD);
		c->recent = mb_alloc(RECENT);
	}
	if (mb_gunzip_resume(c->gunzip, p, err) < 0)
		return -1;
	c->in = p->in;
	c->out = p->out;
	c->n_input = c->n_recent = 0;
	c->pending = (struct mb_str){ 0 };
	/* Only where there is much an index is opened. */
	mb_gunzip_want_point(c->gunzip, z->index != NULL ?
	    mb_gzindex_next(z->index) : FAR);
	return 0;
}

/* Can it give the byte at `off` by what it has, or by going on? */
static bool
is_before(const struct cursor *c, uint64_t off)
{
	return c->gunzip != NULL && off >= c->out - c->n_recent;
}

/* The cursor for `off`: the one that is nearest, or one that is moved. */
static int
choose(struct mb_gz *z, uint64_t off, struct cursor **out, struct mb_err *err)
{
	struct cursor *best = NULL, *oldest = &z->cursors[0];
	struct mb_gunzip_point p = { 0 };
	struct mb_gzindex *x;

	for (size_t i = 0; i < CURSORS; i++) {
		struct cursor *c = &z->cursors[i];

		if (is_before(c, off) && (best == NULL || c->out > best->out))
			best = c;
		if (c->gunzip == NULL ||
		    (oldest->gunzip != NULL && c->used < oldest->used))
			oldest = c;
	}
	*out = best != NULL ? best : oldest;
	if (best != NULL && (off < best->out || off - best->out <= FAR))
		return 0;
	x = off > FAR ? need_index(z) : NULL;
	if (x != NULL && !mb_gzindex_find(x, z->fd, off, &p, &z->window))
		p = (struct mb_gunzip_point){ 0 };
	if (best != NULL && p.out < best->out + FAR)
		return 0;		/* going on is as quick */
	*out = oldest;
	return move(z, oldest, &p, err);
}

ssize_t
mb_gz_read(struct mb_gz *z, void *p, size_t len, uint64_t off,
    struct mb_err *err)
{
	struct cursor *c;
	size_t done = 0;

	try_again(z);
	if (read_head(z, err) < 0)
		return -1;
	if (off + len <= z->n_first) {
		memcpy(p, z->first + off, len);
		return (ssize_t)len;
	}
	if (choose(z, off, &c, err) < 0)
		return -1;
	c->used = ++z->clock;
	while (done < len) {
		uint64_t at = off + done;
		size_t n;

		if (at >= c->out) {
			ssize_t came = advance(z, c, err);

			if (came < 0)
				return -1;
			if (came == 0)
				break;
			continue;
		}
		n = (size_t)(c->out - at);
		if (n > len - done)
			n = len - done;
		memcpy((char *)p + done, c->recent + c->n_recent -
		    (size_t)(c->out - at), n);
		done += n;
	}
	return (ssize_t)done;
}

int
mb_gz_reaches(struct mb_gz *z, uint64_t len, struct mb_err *err)
{
	char last;
	ssize_t n;

	if (len == 0)
		return 1;
	for (size_t i = 0; i < CURSORS; i++)
		if (z->cursors[i].out >= len)
			return 1;
	n = mb_gz_read(z, &last, 1, len - 1, err);
	return n < 0 ? -1 : n == 1;
}

/* Do these bytes stand in the file at `off`? */
static int
compare(struct mb_gz *z, const char *bytes, size_t len, uint64_t off,
    struct mb_err *err)
{
	char now[MB_GZ_HEAD];
	ssize_t n = mb_pread_full(z->fd, now, len, off, z->name, err);

	if (n < 0)
		return -1;
	return (size_t)n == len && memcmp(now, bytes, len) == 0;
}

int
mb_gz_refresh(struct mb_gz *z, struct mb_err *err)
{
	int rc = compare(z, z->head, z->n_head, 0, err);

	for (size_t i = 0; i < CURSORS && rc > 0; i++) {
		const struct cursor *c = &z->cursors[i];
		size_t n = c->n_input < MB_GZ_HEAD ? c->n_input : MB_GZ_HEAD;

		if (n > 0)
			rc = compare(z, c->input + c->n_input - n, n,
			    c->in - n, err);
	}
	if (rc == 0)
		forget(z);
	return rc < 0 ? -1 : 0;
}
