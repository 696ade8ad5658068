/*
 * outlet.h - bytes on their way to a reader, who may be slow.
 *
 * Small pieces leave together: every write wakes the reader.  Large ones are
 * not copied where they can be lent.  While a pipe is full, what else there
 * is to do is done.
 */
#ifndef MB_SOURCE_OUTLET_H
#define MB_SOURCE_OUTLET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

struct mb_outlet {
	int fd;
	const char *name;	/* for messages; "standard output", if
				   nobody sets it */
	int now_fd;		/* the same pipe, not waiting for room; -1 */
	bool may_lend;
	struct mb_buf pending;	/* put, and not yet written */
	/* Does a little work; false: there is none. */
	bool (*meanwhile)(void *arg);
	void *arg;
};

/* fd is borrowed. */
void mb_outlet_init(struct mb_outlet *o, int fd);
void mb_outlet_release(struct mb_outlet *o);

/* Copy bytes; they leave with what comes next, or with mb_outlet_flush. */
MB_CHECK int mb_outlet_put(struct mb_outlet *o, const void *p, size_t len,
    struct mb_err *err);

/*
 * Bytes in whole pages of which none is ever written again, as those of a
 * keep: a pipe takes the pages themselves.
 */
MB_CHECK int mb_outlet_lend(struct mb_outlet *o, const void *p, size_t len,
    struct mb_err *err);

MB_CHECK int mb_outlet_flush(struct mb_outlet *o, struct mb_err *err);

#endif
