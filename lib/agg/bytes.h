/*
 * bytes.h - the bytes of a plain stream, gzip undone.
 *
 * Offsets count from the stream's first byte, decompressed; a byte order mark
 * counts but is not given.
 */
#ifndef MB_AGG_BYTES_H
#define MB_AGG_BYTES_H

#include <stdbool.h>

#include "frame/frame.h"

struct mb_bytes;

/* The reader is borrowed, is not framed, and was not read from. */
void mb_bytes_open(struct mb_bytes **out, struct mb_frame_reader *r,
    const char *name);
void mb_bytes_close(struct mb_bytes *b);

/*
 * All bytes that are here and not consumed, from mb_bytes_off on; *is_last:
 * none will follow.  At the first call at least 3, if there are so many.
 * Every call brings more, or sets is_last.  Borrowed until the next call.
 * MB_EDATA: damaged gzip.
 */
MB_CHECK int mb_bytes_next(struct mb_bytes *b, struct mb_str *data,
    bool *is_last, struct mb_err *err);
void mb_bytes_consume(struct mb_bytes *b, size_t len);

/* As mb_frame_file and mb_frame_skip; what is gzip'ed is no such file. */
bool mb_bytes_file(const struct mb_bytes *b, int *fd, uint64_t *pos);
MB_CHECK int mb_bytes_skip(struct mb_bytes *b, uint64_t pos,
    struct mb_err *err);

uint64_t mb_bytes_off(const struct mb_bytes *b);

#endif
