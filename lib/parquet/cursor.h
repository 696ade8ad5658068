/*
 * cursor.h - for reader.c: how a cursor comes to be.  What it does is told in
 * reader.h.
 */
#ifndef MB_PARQUET_CURSOR_H
#define MB_PARQUET_CURSOR_H

#include "parquet/metadata.h"

/* All is borrowed but `path`, which moves. */
struct mb_parquet_cursor *mb_cursor_make(int fd, const char *name,
    struct mb_buf *path, const struct mb_meta_leaf *leaf,
    const struct mb_meta_chunk *chunk, uint64_t rows);

#endif
