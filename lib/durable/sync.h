/*
 * sync.h - syncs that wait together.
 *
 * A sync is a wait for the disk.  Files and directories that must all be
 * durable before the next step, but in no order among themselves, need not
 * wait one after the other: each sync is begun as soon as there is something
 * to be synced, runs beside its caller, and is awaited where the order
 * matters.
 *
 * What a sync promises is unchanged: once it was awaited without an error, all
 * that was written before it began is durable.  What is written meanwhile may
 * be or not.
 */
#ifndef MB_DURABLE_SYNC_H
#define MB_DURABLE_SYNC_H

#include "base/err.h"

/* The threads; they are started when they are first needed. */
struct mb_syncs;

void mb_syncs_open(struct mb_syncs **out);
/* All that was begun must have been awaited.  NULL is fine. */
void mb_syncs_close(struct mb_syncs *s);

/* One that was begun; {NULL} is none. */
struct mb_sync;

/*
 * Begin to sync the file or directory, which must stay open until it was
 * awaited; the name, for messages, likewise.  Without syncs (NULL) it is done
 * here and now.
 */
struct mb_sync *mb_sync_begin(struct mb_syncs *s, int fd, const char *name);

/*
 * Wait for its end, and free it; NULL is fine, and needs no wait.  As for
 * every sync a failure is final: what was written may be lost, and to try
 * again would only seem to succeed.  MB_EIO.
 */
MB_CHECK int mb_sync_await(struct mb_sync **sync, struct mb_err *err);

/* The same where nobody needs to know any more. */
void mb_sync_forget(struct mb_sync **sync);

#endif
