/*
 * codec.h - compressed pages.
 *
 * The size of what comes out of decompression is known before; input that
 * makes more or less is damaged.
 */
#ifndef MB_PARQUET_CODEC_H
#define MB_PARQUET_CODEC_H

#include "base/err.h"
#include "parquet/types.h"

/* Keeps what compressing needs from page to page. */
struct mb_press;

/* MB_EUSAGE: the codec isn't built in, or only read; no such level. */
MB_CHECK int mb_press_open(struct mb_press **out, enum mb_parquet_codec codec,
    int level, struct mb_err *err);
void mb_press_close(struct mb_press *p);

/* Append the compressed bytes. */
void mb_press_put(struct mb_press *p, struct mb_buf *out, struct mb_str in);

/*
 * Decompress to exactly len bytes.  The message says what is wrong, not
 * where.  MB_EDATA, MB_EUSAGE (the codec isn't built in).
 */
MB_CHECK int mb_unpress(enum mb_parquet_codec codec, void *out, size_t len,
    struct mb_str in, struct mb_err *err);

/* What only codec.c calls; each in a file of its own. */
bool mb_snappy_get(void *out, size_t len, struct mb_str in);
void mb_snappy_put(struct mb_buf *out, struct mb_str in);
bool mb_lz4_get(void *out, size_t len, struct mb_str in);

extern const bool mb_has_zstd;
struct mb_zstd;
struct mb_zstd *mb_zstd_open(void);
void mb_zstd_close(struct mb_zstd *z);
bool mb_zstd_level(int *level);		/* 0 becomes the usual one */
void mb_zstd_put(struct mb_zstd *z, struct mb_buf *out, struct mb_str in,
    int level);
bool mb_zstd_get(void *out, size_t len, struct mb_str in);

#endif
