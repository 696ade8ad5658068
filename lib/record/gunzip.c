#include "record/gunzip.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

struct mb_gunzip {
	z_stream z;
	enum {
		BEFORE,		/* between members, or at the very beginning */
		INSIDE,
		PADDING,	/* in zeros behind the last member */
	} place;
	bool has_member;
	bool is_full;		/* zlib filled `out`, so it may hold more */
};

bool
mb_is_gzip(struct mb_str head)
{
	/* The third byte: deflate is the only method there is. */
	return head.len >= 3 && memcmp(head.p, "\x1f\x8b\x08", 3) == 0;
}

/* With these zlib never lacks memory. */
static voidpf
alloc_for_zlib(voidpf unused, uInt n, uInt size)
{
	(void)unused;
	return mb_realloc_array(NULL, n, size);
}

static void
free_for_zlib(voidpf unused, voidpf p)
{
	(void)unused;
	free(p);
}

int
mb_gunzip_open(struct mb_gunzip **out, struct mb_err *err)
{
	struct mb_gunzip *g = mb_zalloc(sizeof *g);

	*out = NULL;
	g->z.zalloc = alloc_for_zlib;
	g->z.zfree = free_for_zlib;
	if (inflateInit2(&g->z, 15 + 16) != Z_OK) {	/* 16: gzip only */
		free(g);
		return mb_fail(err, MB_EBUG, "zlib %s is not the one that "
		    "mb was built with", zlibVersion());
	}
	*out = g;
	return 0;
}

void
mb_gunzip_close(struct mb_gunzip *g)
{
	if (g == NULL)
		return;
	inflateEnd(&g->z);
	free(g);
}

/* Between members: step over padding; false if nothing is left of *in. */
static bool
find_member(struct mb_gunzip *g, struct mb_str *in)
{
	if (g->has_member)
		for (; in->len > 0 && in->p[0] == '\0'; in->p++, in->len--)
			g->place = PADDING;
	return in->len > 0;
}

static unsigned
at_most_uint(size_t n)
{
	return n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

ssize_t
mb_gunzip_read(struct mb_gunzip *g, struct mb_str *in, void *out, size_t cap,
    struct mb_err *err)
{
	unsigned given, room = at_most_uint(cap < SSIZE_MAX ? cap : SSIZE_MAX);
	int rc;

	for (;;) {
		if (g->place != INSIDE) {
			if (!find_member(g, in))
				return 0;
			if (g->place == PADDING)
				return mb_fail(err, MB_EDATA,
				    "gzip: other bytes behind the padding");
			inflateReset(&g->z);
			g->place = INSIDE;
		}
		/* Without input zlib may still hold output. */
		if (in->len == 0 && !g->is_full)
			return 0;
		given = at_most_uint(in->len);
		g->z.next_in = (Bytef *)(uintptr_t)in->p;
		g->z.avail_in = given;
		g->z.next_out = out;
		g->z.avail_out = room;
		rc = inflate(&g->z, Z_NO_FLUSH);
		in->p += given - g->z.avail_in;
		in->len -= given - g->z.avail_in;
		g->is_full = g->z.avail_out == 0;
		if (rc == Z_STREAM_END) {
			g->place = BEFORE;
			g->has_member = true;
			g->is_full = false;
		} else if (rc != Z_OK && rc != Z_BUF_ERROR) {
			return mb_fail(err, MB_EDATA, "gzip: %s",
			    g->z.msg != NULL ? g->z.msg : "damaged");
		}
		if (g->z.avail_out < room)
			return (ssize_t)(room - g->z.avail_out);
	}
}

int
mb_gunzip_finish(const struct mb_gunzip *g, struct mb_err *err)
{
	if (g->place == INSIDE)
		return mb_fail(err, MB_EDATA,
		    "gzip: the file ends in the middle of its data");
	return 0;
}
