/*
 * lock.h - advisory locks on single bytes of one file.
 *
 * They are open-file-description locks (fcntl(2), F_OFD_SETLK): they belong
 * to the opened mb_lock, not to the process, and the kernel drops them when
 * the last descriptor is closed, so also when the process dies.  The file is
 * never replaced or removed, because a lock on a removed file locks nobody
 * out.
 */
#ifndef MB_DURABLE_LOCK_H
#define MB_DURABLE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct mb_lock;

/* Open or create the file (0600).  dirfd and name are borrowed by the call. */
MB_CHECK int mb_lock_open(struct mb_lock **out, int dirfd, const char *name,
    struct mb_err *err);

/*
 * Take the lock on `byte`, waiting up to wait_us (0: not at all; negative: as
 * long as it takes).  Returns 1 when it is held, 0 when it stayed busy.
 * Taking a lock again that this mb_lock holds changes its kind.
 */
MB_CHECK int mb_lock_take(struct mb_lock *l, unsigned byte, bool is_shared,
    int64_t wait_us, struct mb_err *err);

void mb_lock_drop(struct mb_lock *l, unsigned byte);

/* The descriptor, for reading and writing what the file says; borrowed. */
int mb_lock_fd(const struct mb_lock *l);

void mb_lock_close(struct mb_lock *l);

#endif
