/* The only file that knows libzstd; without it (ZSTD=no) it says so. */
#include "parquet/codec.h"

#ifndef MB_NO_ZSTD

#include <zstd.h>

const bool mb_has_zstd = true;

struct mb_zstd *
mb_zstd_open(void)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();

	/* Running out of memory ends the process, as everywhere. */
	if (z == NULL)
		mb_alloc(SIZE_MAX / 2);
	return (struct mb_zstd *)z;
}

void
mb_zstd_close(struct mb_zstd *z)
{
	ZSTD_freeCCtx((ZSTD_CCtx *)z);
}

bool
mb_zstd_level(int *level)
{
	if (*level == 0)
		*level = 1;
	return *level >= 1 && *level <= ZSTD_maxCLevel();
}

void
mb_zstd_put(struct mb_zstd *z, struct mb_buf *out, struct mb_str in,
    int level)
{
	size_t n, room = ZSTD_compressBound(in.len);

	mb_buf_reserve(out, room);
	n = ZSTD_compressCCtx((ZSTD_CCtx *)z, out->p + out->len, room, in.p,
	    in.len, level);
	/* There is room, and no memory to lack but the context's. */
	if (ZSTD_isError(n))
		mb_alloc(SIZE_MAX / 2);
	out->len += n;
}

bool
mb_zstd_get(void *out, size_t len, struct mb_str in)
{
	return ZSTD_decompress(out, len, in.p, in.len) == len;
}

#else

const bool mb_has_zstd = false;

struct mb_zstd *
mb_zstd_open(void)
{
	return NULL;
}

void
mb_zstd_close(struct mb_zstd *z)
{
	(void)z;
}

bool
mb_zstd_level(int *level)
{
	(void)level;
	return false;
}

void
mb_zstd_put(struct mb_zstd *z, struct mb_buf *out, struct mb_str in,
    int level)
{
	(void)z, (void)out, (void)in, (void)level;
}

bool
mb_zstd_get(void *out, size_t len, struct mb_str in)
{
	(void)out, (void)len, (void)in;
	return false;
}

#endif
