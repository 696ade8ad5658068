/*
 * A row is, for each value, a byte that tells its kind, a 32-bit length and
 * the bytes.  It never leaves the process, so the order of bytes is the
 * machine's.
 */
#include "sink/apart.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

/* Whole rows in the file. */
struct stretch {
	uint64_t off;
	size_t len;
};

struct group {
	struct mb_buf rows;	/* behind those in the file */
	struct stretch *v;
	size_t n;
};

struct mb_apart {
	size_t n_values;
	struct group *v;
	size_t n, cap;
	size_t in_memory;	/* bytes of all groups */
	int fd;			/* -1: none */
	uint64_t size;		/* of the file */

	/* While reading. */
	const struct group *now;
	size_t next;		/* stretch; n: the rows in memory */
	struct mb_buf read;
	struct mb_str rest;	/* of the stretch in hand */
};

void
mb_apart_open(struct mb_apart **out, size_t n_values)
{
	struct mb_apart *a = mb_zalloc(sizeof *a);

	a->n_values = n_values;
	a->fd = -1;
	*out = a;
}

void
mb_apart_close(struct mb_apart *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->n; i++) {
		mb_buf_release(&a->v[i].rows);
		free(a->v[i].v);
	}
	free(a->v);
	mb_buf_release(&a->read);
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

static struct group *
find_group(struct mb_apart *a, size_t i)
{
	if (i >= a->cap) {
		size_t cap = i * 2 + 64;

		a->v = mb_realloc_array(a->v, cap, sizeof *a->v);
		memset(a->v + a->cap, 0, (cap - a->cap) * sizeof *a->v);
		a->cap = cap;
	}
	if (i >= a->n)
		a->n = i + 1;
	return &a->v[i];
}

void
mb_apart_add(struct mb_apart *a, size_t group, const struct mb_value *values)
{
	struct mb_buf *b = &find_group(a, group)->rows;
	size_t start = b->len;

	for (size_t i = 0; i < a->n_values; i++) {
		uint32_t len = (uint32_t)values[i].len;

		mb_buf_addc(b, (char)values[i].kind);
		mb_buf_add(b, &len, sizeof len);
		mb_buf_add(b, values[i].p, len);
	}
	a->in_memory += b->len - start;
}

bool
mb_apart_has(const struct mb_apart *a, size_t group)
{
	return group < a->n && (a->v[group].n > 0 ||
	    a->v[group].rows.len > 0);
}

bool
mb_apart_is_full(const struct mb_apart *a)
{
	return a->in_memory >= MB_APART_MEMORY;
}

bool
mb_apart_needs_file(const struct mb_apart *a)
{
	return a->fd < 0;
}

int
mb_apart_spill(struct mb_apart *a, int fd, struct mb_err *err)
{
	if (fd >= 0)
		a->fd = fd;
	for (size_t i = 0; i < a->n; i++) {
		struct group *g = &a->v[i];

		if (g->rows.len == 0)
			continue;
		if (mb_pwrite_all(a->fd, g->rows.p, g->rows.len, a->size,
		    "rows that wait", err) < 0)
			return -1;
		g->v = mb_realloc_array(g->v, g->n + 1, sizeof *g->v);
		g->v[g->n++] = (struct stretch){ a->size, g->rows.len };
		a->size += g->rows.len;
		/* The next rows may be another group's. */
		mb_buf_release(&g->rows);
	}
	a->in_memory = 0;
	return 0;
}

void
mb_apart_begin(struct mb_apart *a, size_t group)
{
	a->now = find_group(a, group);
	a->next = 0;
	a->rest = (struct mb_str){ 0 };
}

/* The next stretch of the group: 1, 0 there is none, -1. */
static int
read_stretch(struct mb_apart *a, struct mb_err *err)
{
	const struct group *g = a->now;
	const struct stretch *s;
	ssize_t n;

	if (a->next > g->n)
		return 0;
	if (a->next == g->n) {
		a->rest = (struct mb_str){ g->rows.p, g->rows.len };
	} else {
		s = &g->v[a->next];
		mb_buf_reset(&a->read);
		mb_buf_reserve(&a->read, s->len);
		n = mb_pread_full(a->fd, a->read.p, s->len, s->off,
		    "rows that wait", err);
		if (n < 0)
			return -1;
		if ((size_t)n < s->len)
			return mb_fail(err, MB_EIO, "rows that wait: the file "
			    "was cut");
		a->rest = (struct mb_str){ a->read.p, s->len };
	}
	a->next++;
	return 1;
}

int
mb_apart_next(struct mb_apart *a, struct mb_value *values, struct mb_err *err)
{
	const char *p;
	uint32_t len;

	while (a->rest.len == 0) {
		int rc = read_stretch(a, err);

		if (rc <= 0)
			return rc;
	}
	p = a->rest.p;
	for (size_t i = 0; i < a->n_values; i++) {
		memcpy(&len, p + 1, sizeof len);
		values[i] = (struct mb_value){ p + 1 + sizeof len, len,
			(enum mb_kind)*p };
		p += 1 + sizeof len + len;
	}
	a->rest.len -= (size_t)(p - a->rest.p);
	a->rest.p = p;
	return 1;
}
