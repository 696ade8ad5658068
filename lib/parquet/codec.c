#include "parquet/codec.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "parquet/writer.h"
#include "record/gunzip.h"

static const struct {
	const char *name;
	enum mb_parquet_codec codec;
} codecs[] = {
	{ "none", MB_PARQUET_CODEC_NONE },
	{ "snappy", MB_PARQUET_CODEC_SNAPPY },
	{ "gzip", MB_PARQUET_CODEC_GZIP },
	{ "zstd", MB_PARQUET_CODEC_ZSTD },
};

enum { N_CODECS = sizeof codecs / sizeof *codecs };

enum mb_parquet_codec
mb_parquet_best_codec(void)
{
	return mb_has_zstd ? MB_PARQUET_CODEC_ZSTD : MB_PARQUET_CODEC_GZIP;
}

int
mb_parquet_codec_parse(enum mb_parquet_codec *out, const char *text,
    struct mb_err *err)
{
	for (size_t i = 0; i < N_CODECS; i++)
		if (strcmp(codecs[i].name, text) == 0) {
			*out = codecs[i].codec;
			if (*out == MB_PARQUET_CODEC_ZSTD && !mb_has_zstd)
				return mb_fail(err, MB_EUSAGE,
				    "mb was built without zstd");
			return 0;
		}
	return mb_fail(err, MB_EUSAGE, "not a codec: \"%s\" (there are none "
	    "snappy gzip zstd)", text);
}

static const char *
codec_name(enum mb_parquet_codec codec)
{
	for (size_t i = 0; i < N_CODECS; i++)
		if (codecs[i].codec == codec)
			return codecs[i].name;
	return "lz4";
}

struct mb_press {
	enum mb_parquet_codec codec;
	int level;
	struct mb_zstd *zstd;
	bool has_z;
	z_stream z;
};

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

static int
open_gzip(struct mb_press *p, struct mb_err *err)
{
	if (p->level == 0)
		p->level = 1;
	if (p->level < 1 || p->level > 9)
		return mb_fail(err, MB_EUSAGE, "gzip has levels 1 to 9");
	p->z.zalloc = alloc_for_zlib;
	p->z.zfree = free_for_zlib;
	/* 16: with the header and trailer of gzip, which has no time in it. */
	if (deflateInit2(&p->z, p->level, Z_DEFLATED, 15 + 16, 9,
	    Z_DEFAULT_STRATEGY) != Z_OK)
		return mb_fail(err, MB_EBUG, "zlib %s is not the one that mb "
		    "was built with", zlibVersion());
	p->has_z = true;
	return 0;
}

int
mb_press_open(struct mb_press **out, enum mb_parquet_codec codec, int level,
    struct mb_err *err)
{
	struct mb_press *p = mb_zalloc(sizeof *p);

	*out = NULL;
	p->codec = codec;
	p->level = level;
	switch (codec) {
	case MB_PARQUET_CODEC_NONE:
	case MB_PARQUET_CODEC_SNAPPY:
		break;
	case MB_PARQUET_CODEC_GZIP:
		if (open_gzip(p, err) < 0)
			goto fail;
		break;
	case MB_PARQUET_CODEC_ZSTD:
		if (!mb_has_zstd) {
			mb_fail(err, MB_EUSAGE, "mb was built without zstd");
			goto fail;
		}
		if (!mb_zstd_level(&p->level)) {
			mb_fail(err, MB_EUSAGE, "zstd has no level %d", level);
			goto fail;
		}
		p->zstd = mb_zstd_open();
		break;
	default:
		mb_fail(err, MB_EUSAGE, "codec %d is only read", (int)codec);
		goto fail;
	}
	*out = p;
	return 0;
fail:
	mb_press_close(p);
	return -1;
}

void
mb_press_close(struct mb_press *p)
{
	if (p == NULL)
		return;
	mb_zstd_close(p->zstd);
	if (p->has_z)
		deflateEnd(&p->z);
	free(p);
}

static void
put_gzip(z_stream *z, struct mb_buf *out, struct mb_str in)
{
	size_t len;
	int rc;

	deflateReset(z);
	z->next_in = (Bytef *)(uintptr_t)in.p;
	do {
		len = in.len < INT_MAX ? in.len : INT_MAX;
		in.len -= len;
		z->avail_in = (uInt)len;
		do {
			mb_buf_reserve(out, z->avail_in / 8 + 4096);
			len = out->cap - out->len;
			if (len > INT_MAX)
				len = INT_MAX;
			z->next_out = (Bytef *)out->p + out->len;
			z->avail_out = (uInt)len;
			rc = deflate(z, in.len > 0 ? Z_NO_FLUSH : Z_FINISH);
			out->len += len - z->avail_out;
		} while (z->avail_out == 0 || (in.len == 0 &&
		    rc != Z_STREAM_END));
	} while (in.len > 0);
}

void
mb_press_put(struct mb_press *p, struct mb_buf *out, struct mb_str in)
{
	switch (p->codec) {
	case MB_PARQUET_CODEC_SNAPPY:
		mb_snappy_put(out, in);
		break;
	case MB_PARQUET_CODEC_GZIP:
		put_gzip(&p->z, out, in);
		break;
	case MB_PARQUET_CODEC_ZSTD:
		mb_zstd_put(p->zstd, out, in, p->level);
		break;
	default:
		mb_buf_add(out, in.p, in.len);
		break;
	}
}

/* One member after the other, as some writers make them. */
static int
get_gzip(uint8_t *out, size_t len, struct mb_str in, struct mb_err *err)
{
	struct mb_gunzip *g;
	uint8_t beyond;
	ssize_t n;
	int rc = -1;

	if (mb_gunzip_open(&g, err) < 0)
		return -1;
	while (len > 0) {
		n = mb_gunzip_read(g, &in, out, len, err);
		if (n < 0)
			goto out;
		if (n == 0)
			break;
		out += n;
		len -= (size_t)n;
	}
	n = mb_gunzip_read(g, &in, &beyond, 1, err);
	if (n < 0 || mb_gunzip_finish(g, err) < 0)
		goto out;
	if (len > 0 || n > 0)
		mb_fail(err, MB_EDATA, "gzip: not of the size that it says");
	else
		rc = 0;
out:
	mb_gunzip_close(g);
	return rc;
}

int
mb_unpress(enum mb_parquet_codec codec, void *out, size_t len,
    struct mb_str in, struct mb_err *err)
{
	bool good = false;

	switch (codec) {
	case MB_PARQUET_CODEC_NONE:
		good = in.len == len;
		if (good && len > 0)
			memcpy(out, in.p, len);
		break;
	case MB_PARQUET_CODEC_SNAPPY:
		good = mb_snappy_get(out, len, in);
		break;
	case MB_PARQUET_CODEC_LZ4_RAW:
		good = mb_lz4_get(out, len, in);
		break;
	case MB_PARQUET_CODEC_GZIP:
		return get_gzip(out, len, in, err);
	case MB_PARQUET_CODEC_ZSTD:
		if (!mb_has_zstd)
			return mb_fail(err, MB_EUSAGE, "compressed by zstd, "
			    "and mb was built without it");
		good = mb_zstd_get(out, len, in);
		break;
	}
	if (!good)
		return mb_fail(err, MB_EDATA, "%s: damaged",
		    codec_name(codec));
	return 0;
}
