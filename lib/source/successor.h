/*
 * successor.h - which file of a chain comes next.
 *
 * The oldest rotated one that comes after what was read, and was never read;
 * else what the path leads to.  A rotated file may be a copy of what is read,
 * or a copy in the making, and a new one may be known under another name: what
 * can't be said yet is waited for (c->is_waiting).
 *
 * For chain.c alone.  Where something can't be observed: stream.h.
 */
#ifndef MB_SOURCE_SUCCESSOR_H
#define MB_SOURCE_SUCCESSOR_H

#include "source/stream.h"

/* May the next file begin? */
bool mb_successor_is_due(struct mb_chain *c);

/* Begin with it.  A mb_chain_result, -1. */
MB_CHECK int mb_successor_begin(struct mb_chain *c, struct mb_err *err);
/* Likewise, but a directory isn't read for nothing all the time. */
MB_CHECK int mb_successor_try(struct mb_chain *c, struct mb_err *err);

/*
 * The first bytes of the i-th stream, which is held, were read: has it its
 * turn now?  Else it is closed, and comes again after what is before it.
 */
MB_CHECK int mb_successor_settle(struct mb_chain *c, size_t i,
    struct mb_err *err);

#endif
