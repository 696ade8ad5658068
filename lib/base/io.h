/*
 * io.h - whole reads and writes: interruptions and short counts end here.
 */
#ifndef MB_BASE_IO_H
#define MB_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Write all of it; `name` is for the message.  MB_EIO, MB_EPIPE. */
MB_CHECK int mb_write_all(int fd, const void *p, size_t len, const char *name,
    struct mb_err *err);
MB_CHECK int mb_pwrite_all(int fd, const void *p, size_t len, uint64_t off,
    const char *name, struct mb_err *err);

/* Read up to len bytes; fewer only at the end of the file.  The count. */
MB_CHECK ssize_t mb_pread_full(int fd, void *p, size_t len, uint64_t off,
    const char *name, struct mb_err *err);

/* One read: the count, 0 at the end.  EINTR is retried. */
MB_CHECK ssize_t mb_read_some(int fd, void *p, size_t len, const char *name,
    struct mb_err *err);

/* fsync and fdatasync, retried after EINTR; any other failure is final. */
MB_CHECK int mb_fsync(int fd, const char *name, struct mb_err *err);
MB_CHECK int mb_fdatasync(int fd, const char *name, struct mb_err *err);

/* open and openat, with O_CLOEXEC, retried after EINTR; -1 with errno. */
MB_CHECK int mb_openat(int dirfd, const char *path, int flags, int mode);

#endif
