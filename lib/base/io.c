#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int
mb_write_all(int fd, const void *p, size_t len, const char *name,
    struct mb_err *err)
{
	const char *from = p;
	ssize_t n;

	while (len > 0) {
		n = write(fd, from, len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return mb_fail_sys(err, "write %s", name);
		}
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

int
mb_pwrite_all(int fd, const void *p, size_t len, uint64_t off,
    const char *name, struct mb_err *err)
{
	const char *from = p;
	ssize_t n;

	while (len > 0) {
		n = pwrite(fd, from, len, (off_t)off);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return mb_fail_sys(err, "write %s", name);
		}
		from += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t
mb_pread_full(int fd, void *p, size_t len, uint64_t off, const char *name,
    struct mb_err *err)
{
	char *to = p;
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(fd, to + done, len - done, (off_t)(off + done));
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return mb_fail_sys(err, "read %s", name);
		}
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t
mb_read_some(int fd, void *p, size_t len, const char *name,
    struct mb_err *err)
{
	ssize_t n;

	do
		n = read(fd, p, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return mb_fail_sys(err, "read %s", name);
	return n;
}

int
mb_fsync(int fd, const char *name, struct mb_err *err)
{
	int rc;

	do
		rc = fsync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? mb_fail_sys(err, "sync %s", name) : 0;
}

int
mb_fdatasync(int fd, const char *name, struct mb_err *err)
{
	int rc;

	do
		rc = fdatasync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? mb_fail_sys(err, "sync %s", name) : 0;
}

int
mb_openat(int dirfd, const char *path, int flags, int mode)
{
	int fd;

	do
		fd = openat(dirfd, path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	return fd;
}
