#include "parquet/pages.h"

#include <inttypes.h>
#include <zlib.h>

#include "base/io.h"
#include "parquet/codec.h"
#include "parquet/thrift.h"

enum {
	HEADER_BYTES = 1 << 12,		/* read ahead for a header */
	MAX_HEADER = 16 << 20,
	MAX_PAGE = 1 << 30,
};

int
mb_pages_read(int fd, const char *name, void *p, size_t len, uint64_t off,
    struct mb_err *err)
{
	ssize_t n = mb_pread_full(fd, p, len, off, name, err);

	if (n < 0)
		return -1;
	if ((size_t)n < len)
		return mb_fail(err, MB_EDATA, "at byte %" PRIu64 ": the file "
		    "has become shorter", off + (uint64_t)n);
	return 0;
}

/* A PageHeader with the one of its inner structs that belongs to it. */
struct header {
	int64_t type, raw_size, size, n_entries, encoding;
	int64_t level_encoding, repeat_encoding;
	int64_t levels_len, repeats_len;	/* version 2 */
	bool has_crc, is_compressed;
	uint32_t crc;
};

static void
read_inner(struct mb_thrift_in *in, struct header *h, int id)
{
	struct mb_thrift_field f;

	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f)) {
		if (f.id == 1)
			h->n_entries = mb_thrift_int(in, f);
		else if (f.id == (id == 8 ? 4 : 2))
			h->encoding = mb_thrift_int(in, f);
		else if (id == 5 && f.id == 3)
			h->level_encoding = mb_thrift_int(in, f);
		else if (id == 5 && f.id == 4)
			h->repeat_encoding = mb_thrift_int(in, f);
		else if (id == 8 && f.id == 5)
			h->levels_len = mb_thrift_int(in, f);
		else if (id == 8 && f.id == 6)
			h->repeats_len = mb_thrift_int(in, f);
		else if (id == 8 && f.id == 7)
			h->is_compressed = mb_thrift_bool(in, f);
		else
			mb_thrift_skip(in, f);
	}
}

static void
read_header(struct mb_thrift_in *in, struct header *h)
{
	struct mb_thrift_field f;

	*h = (struct header){ .type = -1, .raw_size = -1, .size = -1,
		.n_entries = -1, .encoding = -1, .level_encoding = MB_RLE,
		.repeat_encoding = MB_RLE, .is_compressed = true };
	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f)) {
		if (f.id == 1) {
			h->type = mb_thrift_int(in, f);
		} else if (f.id == 2) {
			h->raw_size = mb_thrift_int(in, f);
		} else if (f.id == 3) {
			h->size = mb_thrift_int(in, f);
		} else if (f.id == 4) {
			h->crc = (uint32_t)mb_thrift_int(in, f);
			h->has_crc = true;
		} else if ((f.id == 5 || f.id == 7 || f.id == 8) &&
		    f.type == MB_THRIFT_STRUCT) {
			read_inner(in, h, f.id);
		} else {
			mb_thrift_skip(in, f);
		}
	}
}

/* Have len bytes from off on in the window; they are in the chunk. */
static int
fill_window(struct mb_pages *p, uint64_t off, size_t len, struct mb_err *err)
{
	size_t skip;

	if (off >= p->window_off && off - p->window_off <= p->window.len &&
	    p->window.len - (size_t)(off - p->window_off) >= len)
		return 0;
	/* Keep what is there of it. */
	if (off >= p->window_off && off - p->window_off < p->window.len) {
		skip = (size_t)(off - p->window_off);
		p->window.len -= skip;
		memmove(p->window.p, p->window.p + skip, p->window.len);
	} else {
		mb_buf_reset(&p->window);
	}
	p->window_off = off;
	mb_buf_reserve(&p->window, len - p->window.len);
	if (mb_pages_read(p->fd, p->name, p->window.p + p->window.len,
	    len - p->window.len, off + p->window.len, err) < 0)
		return -1;
	p->window.len = len;
	return 0;
}

/* The header at p->off, and how long it is. */
static int
take_header(struct mb_pages *p, struct header *h, size_t *len,
    struct mb_err *err)
{
	uint64_t left = p->chunk->end - p->off;
	struct mb_thrift_in in;
	size_t want = HEADER_BYTES;

	for (;;) {
		const uint8_t *start;

		if (want > left)
			want = (size_t)left;
		if (fill_window(p, p->off, want, err) < 0)
			return -1;
		start = (const uint8_t *)p->window.p + (p->off -
		    p->window_off);
		in = (struct mb_thrift_in){ .start = start, .p = start,
			.end = start + want };
		read_header(&in, h);
		if (in.bad == NULL)
			break;
		if (want == left || want >= MAX_HEADER)
			return mb_fail(err, MB_EDATA, "at byte %" PRIu64
			    ": page header: %s", p->off + in.bad_off, in.bad);
		want *= 4;		/* it may only be cut short */
	}
	*len = (size_t)(in.p - in.start);
	return 0;
}

/* No codec makes more out of less than this. */
static bool
is_credible(enum mb_parquet_codec codec, uint64_t raw, uint64_t packed)
{
	static const uint32_t most[] = {
		[MB_PARQUET_CODEC_NONE] = 1, [MB_PARQUET_CODEC_SNAPPY] = 32,
		[MB_PARQUET_CODEC_GZIP] = 1100,
		[MB_PARQUET_CODEC_LZ4_RAW] = 256,
		[MB_PARQUET_CODEC_ZSTD] = 1 << 16,
	};

	return raw / most[codec] <= packed + 64;
}

static int
check_header(const struct mb_pages *p, const struct header *h, size_t len,
    struct mb_err *err)
{
	uint64_t left = p->chunk->end - p->off - len;
	bool is_compressed = h->type != MB_DATA_PAGE_V2 || h->is_compressed;
	const char *why = NULL;

	if (h->type < 0 || h->size < 0 || h->raw_size < 0)
		why = "page header: lacks type or sizes";
	else if ((uint64_t)h->size > left)
		why = "a page that is longer than its column";
	else if (h->raw_size > MAX_PAGE || (is_compressed &&
	    !is_credible(p->chunk->codec, (uint64_t)h->raw_size,
	    (uint64_t)h->size)))
		why = "a page of an incredible size";
	else if (h->type != MB_INDEX_PAGE && h->type <= MB_DATA_PAGE_V2 &&
	    (h->n_entries < 0 || h->n_entries > INT32_MAX ||
	    h->encoding < 0))
		why = "page header: lacks the number of values or encoding";
	else if (h->type == MB_DATA_PAGE && (h->level_encoding != MB_RLE &&
	    h->level_encoding != MB_BIT_PACKED))
		why = "levels of an unknown encoding";
	else if (h->type == MB_DATA_PAGE_V2 && (h->levels_len < 0 ||
	    h->repeats_len < 0 || h->levels_len > h->size ||
	    h->repeats_len > h->size - h->levels_len ||
	    h->levels_len + h->repeats_len > h->raw_size))
		why = "a page whose levels are longer than it";
	if (why != NULL)
		return mb_fail(err, MB_EDATA, "at byte %" PRIu64 ": %s",
		    p->off, why);
	return 0;
}

static int
decompress(struct mb_pages *p, const struct header *h, struct mb_str in,
    struct mb_page *out, struct mb_err *err)
{
	size_t levels = 0, len;
	enum mb_parquet_codec codec = p->chunk->codec;

	if (h->type == MB_DATA_PAGE_V2) {
		levels = (size_t)(h->repeats_len + h->levels_len);
		out->repeats = (struct mb_str){ in.p,
			(size_t)h->repeats_len };
		out->levels = (struct mb_str){ in.p + h->repeats_len,
			(size_t)h->levels_len };
		in.p += levels;
		in.len -= levels;
		if (!h->is_compressed)
			codec = MB_PARQUET_CODEC_NONE;
	}
	len = (size_t)h->raw_size - levels;
	out->body = (struct mb_str){ in.p, in.len };
	/* Some writers compress nothing to nothing. */
	if (codec == MB_PARQUET_CODEC_NONE || (len == 0 && in.len == 0)) {
		if (in.len != len)
			return mb_fail(err, MB_EDATA, "at byte %" PRIu64
			    ": a page of two sizes", p->off);
		return 0;
	}
	mb_buf_reset(&p->raw);
	mb_buf_reserve(&p->raw, len + 1);
	if (mb_unpress(codec, p->raw.p, len, in, err) < 0)
		return mb_wrap(err, "at byte %" PRIu64, p->off);
	p->raw.len = len;
	out->body = (struct mb_str){ p->raw.p, len };
	return 0;
}

int
mb_pages_next(struct mb_pages *p, struct mb_page *out, struct mb_err *err)
{
	struct mb_str in;
	struct header h;
	size_t len = 0;

	for (;;) {
		if (p->off >= p->chunk->end)
			return 0;
		if (take_header(p, &h, &len, err) < 0 ||
		    check_header(p, &h, len, err) < 0 ||
		    fill_window(p, p->off, len + (size_t)h.size, err) < 0)
			return -1;
		/* Data and dictionaries are all that we need. */
		if (h.type != MB_INDEX_PAGE && h.type <= MB_DATA_PAGE_V2)
			break;
		p->off += len + (uint64_t)h.size;
	}
	in = (struct mb_str){ p->window.p + (p->off - p->window_off) + len,
		(size_t)h.size };
	if (h.has_crc && crc32_z(0, (const Bytef *)in.p, in.len) != h.crc)
		return mb_fail(err, MB_EDATA, "at byte %" PRIu64
		    ": a page whose checksum is wrong", p->off);
	*out = (struct mb_page){ .off = p->off,
		.type = (enum mb_page_type)h.type, .encoding = h.encoding,
		.n_entries = (uint32_t)h.n_entries,
		.is_v2 = h.type == MB_DATA_PAGE_V2,
		.repeats = { "", 0 }, .levels = { "", 0 } };
	if (decompress(p, &h, in, out, err) < 0)
		return -1;
	p->off += len + (uint64_t)h.size;
	return 1;
}

void
mb_pages_release(struct mb_pages *p)
{
	mb_buf_release(&p->window);
	mb_buf_release(&p->raw);
}
