#include "record/gunzip.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* How zlib is to be set: a gzip member, or bare deflate from a point on. */
enum { GZIP = 15 + 16, RAW = -15 };

struct mb_gunzip {
	z_stream z;
	enum {
		BEFORE,		/* between members, or at the very beginning */
		INSIDE,
		TRAILER,	/* behind the data of a member that was RAW */
		PADDING,	/* in zeros behind the last member */
	} place;
	bool has_member;
	bool is_full;		/* zlib filled `out`, so it may hold more */
	uint64_t in, out;	/* counts, from the beginning of the file */

	/* RAW: what zlib doesn't look after. */
	bool is_raw;
	uint32_t crc, len;
	unsigned char trailer[8];
	size_t n_trailer;

	uint64_t wanted;	/* a point from here on; UINT64_MAX: none */
	bool has_point;
	unsigned char last;	/* the byte before `in` */
	struct mb_gunzip_point point;
	unsigned char window[MB_GUNZIP_WINDOW];
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
	g->wanted = UINT64_MAX;
	if (inflateInit2(&g->z, GZIP) != Z_OK) {
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

uint64_t
mb_gunzip_in(const struct mb_gunzip *g)
{
	return g->in;
}

/* Is it between two members, so that the input may end here? */
static bool
is_between(const struct mb_gunzip *g)
{
	return g->place == BEFORE || g->place == PADDING;
}

void
mb_gunzip_want_point(struct mb_gunzip *g, uint64_t out)
{
	g->wanted = out;
	g->has_point = false;
}

const struct mb_gunzip_point *
mb_gunzip_point(struct mb_gunzip *g)
{
	return g->has_point ? &g->point : NULL;
}

/* Here is a place to begin at. */
static void
catch_point(struct mb_gunzip *g)
{
	uInt len = 0;

	g->point = (struct mb_gunzip_point){
		.in = g->in, .out = g->out, .is_inside = g->place == INSIDE
	};
	if (g->place == INSIDE) {
		g->point.bits = (unsigned)g->z.data_type & 7;
		g->point.byte = g->last;
		g->point.crc = g->is_raw ? g->crc : (uint32_t)g->z.adler;
		g->point.len = g->is_raw ? g->len : (uint32_t)g->z.total_out;
		inflateGetDictionary(&g->z, g->window, &len);
	}
	g->point.window = (struct mb_str){ (char *)g->window, len };
	g->has_point = true;
	g->wanted = UINT64_MAX;
}

int
mb_gunzip_resume(struct mb_gunzip *g, const struct mb_gunzip_point *point,
    struct mb_err *err)
{
	g->has_member = point->in > 0;
	g->place = point->is_inside ? INSIDE : BEFORE;
	g->is_raw = point->is_inside;
	g->is_full = g->has_point = false;
	g->wanted = UINT64_MAX;
	g->in = point->in;
	g->out = point->out;
	g->last = point->byte;
	g->crc = point->crc;
	g->len = point->len;
	if (inflateReset2(&g->z, g->is_raw ? RAW : GZIP) != Z_OK ||
	    point->bits > 7 || (point->bits > 0 && inflatePrime(&g->z,
	    (int)point->bits, point->byte >> (8 - point->bits)) != Z_OK) ||
	    point->window.len > MB_GUNZIP_WINDOW ||
	    (point->window.len > 0 && inflateSetDictionary(&g->z,
	    (const Bytef *)point->window.p, (uInt)point->window.len) != Z_OK))
		return mb_fail(err, MB_EDATA, "gzip: not a place to begin at");
	return 0;
}

static void
consume(struct mb_gunzip *g, struct mb_str *in, size_t n)
{
	if (n > 0)
		g->last = (unsigned char)in->p[n - 1];
	in->p += n;
	in->len -= n;
	g->in += n;
}

/* Between members: step over padding; false if nothing is left of *in. */
static bool
find_member(struct mb_gunzip *g, struct mb_str *in)
{
	while (g->has_member && in->len > 0 && in->p[0] == '\0') {
		consume(g, in, 1);
		g->place = PADDING;
	}
	return in->len > 0;
}

static int
begin_member(struct mb_gunzip *g, struct mb_err *err)
{
	if (g->place == PADDING)
		return mb_fail(err, MB_EDATA,
		    "gzip: other bytes behind the padding");
	if (g->out >= g->wanted)
		catch_point(g);
	(void)inflateReset2(&g->z, GZIP);
	g->is_raw = false;
	g->place = INSIDE;
	return 0;
}

static void
end_member(struct mb_gunzip *g)
{
	g->place = BEFORE;
	g->has_member = true;
	g->is_full = false;
}

static uint32_t
little_endian(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

/* The checksum and the length behind a member that zlib began RAW. */
static int
check_trailer(struct mb_gunzip *g, struct mb_str *in, struct mb_err *err)
{
	size_t n = sizeof g->trailer - g->n_trailer;

	if (n > in->len)
		n = in->len;
	memcpy(g->trailer + g->n_trailer, in->p, n);
	consume(g, in, n);
	g->n_trailer += n;
	if (g->n_trailer < sizeof g->trailer)
		return 0;
	if (little_endian(g->trailer) != g->crc)
		return mb_fail(err, MB_EDATA, "gzip: incorrect data check");
	if (little_endian(g->trailer + 4) != g->len)
		return mb_fail(err, MB_EDATA, "gzip: incorrect length check");
	end_member(g);
	return 0;
}

static unsigned
at_most_uint(size_t n)
{
	return n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

/* One call of zlib: the count of bytes that came out. */
static ssize_t
inflate_some(struct mb_gunzip *g, struct mb_str *in, void *out, unsigned room,
    struct mb_err *err)
{
	unsigned given = at_most_uint(in->len), n;
	int rc;

	g->z.next_in = (Bytef *)(uintptr_t)in->p;
	g->z.avail_in = given;
	g->z.next_out = out;
	g->z.avail_out = room;
	/* Z_BLOCK stops where a block ends: only there a point can be. */
	rc = inflate(&g->z, g->out >= g->wanted ? Z_BLOCK : Z_NO_FLUSH);
	consume(g, in, given - g->z.avail_in);
	g->is_full = g->z.avail_out == 0;
	n = room - g->z.avail_out;
	g->out += n;
	if (g->is_raw) {
		g->crc = (uint32_t)crc32(g->crc, out, n);
		g->len += n;
	}
	if (rc == Z_STREAM_END && g->is_raw) {
		g->place = TRAILER;
		g->n_trailer = 0;
		g->is_full = false;
	} else if (rc == Z_STREAM_END) {
		end_member(g);
	} else if (rc != Z_OK && rc != Z_BUF_ERROR && n > 0) {
		g->is_full = true;	/* it fails again; this much is good */
	} else if (rc != Z_OK && rc != Z_BUF_ERROR) {
		return mb_fail(err, MB_EDATA, "gzip: %s",
		    g->z.msg != NULL ? g->z.msg : "damaged");
	} else if (g->out >= g->wanted && (g->z.data_type & 0xc0) == 0x80) {
		catch_point(g);		/* behind a block, not the last */
	}
	return n;
}

ssize_t
mb_gunzip_read(struct mb_gunzip *g, struct mb_str *in, void *out, size_t cap,
    struct mb_err *err)
{
	unsigned room = at_most_uint(cap < SSIZE_MAX ? cap : SSIZE_MAX);
	ssize_t n;

	for (;;) {
		if (g->place == TRAILER && in->len > 0 &&
		    check_trailer(g, in, err) < 0)
			return -1;
		if (g->place == TRAILER)
			return 0;
		if (g->place != INSIDE) {
			if (!find_member(g, in))
				return 0;
			if (begin_member(g, err) < 0)
				return -1;
		}
		/* Without input zlib may still hold output. */
		if (in->len == 0 && !g->is_full)
			return 0;
		n = inflate_some(g, in, out, room, err);
		if (n != 0)
			return n;
	}
}

int
mb_gunzip_finish(const struct mb_gunzip *g, struct mb_err *err)
{
	if (!is_between(g))
		return mb_fail(err, MB_EDATA,
		    "gzip: the file ends in the middle of its data");
	return 0;
}
