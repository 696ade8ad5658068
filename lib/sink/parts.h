/*
 * parts.h - the rows of a batch, spread over the files of its partitions.
 *
 * Rows wait in memory, a buffer for each partition, until they are put into
 * the files of a tree (durable/tree.h) all at once.  So one file is open at a
 * time, and memory is bounded by MB_PARTS_MEMORY and a little for each
 * partition.
 *
 * Where a row goes is told by the order of rows alone, and so is what is in
 * the files: a batch that is written again has the same bytes.
 */
#ifndef MB_SINK_PARTS_H
#define MB_SINK_PARTS_H

#include "durable/tree.h"
#include "record/value.h"
#include "sink/sink.h"

enum {
	MB_PARTS_MEMORY = 32 * 1024 * 1024,
	MB_PARTS_MAX = 100000,		/* in a batch */
	MB_PARTS_DEPTH = 32,		/* fields */
};

struct mb_parts;

/* The files are called `name`, and compressed by gzip where that is said. */
void mb_parts_open(struct mb_parts **out, const char *name, bool gzip);
void mb_parts_close(struct mb_parts *p);

/*
 * Where does a row with these values of the partition fields go?  *out takes
 * its bytes until the next call; *is_new: it is the first of its file.
 *
 * *bad: why the row can't go anywhere, a constant; NULL.  MB_EDATA: there are
 * too many partitions.
 */
MB_CHECK int mb_parts_route(struct mb_parts *p, const struct mb_str *names,
    const struct mb_value *values, size_t n, struct mb_buf **out,
    bool *is_new, const char **bad, struct mb_err *err);

/* Is it time to flush? */
bool mb_parts_is_full(const struct mb_parts *p);

/* Append what waits to its files. */
MB_CHECK int mb_parts_flush(struct mb_parts *p, struct mb_tree *t,
    struct mb_err *err);

#endif
