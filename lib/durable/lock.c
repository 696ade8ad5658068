#include "durable/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"

struct mb_lock {
	int fd;
};

int
mb_lock_open(struct mb_lock **out, int dirfd, const char *name,
    struct mb_err *err)
{
	struct mb_lock *l;
	int fd = mb_openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);

	*out = NULL;
	if (fd < 0)
		return mb_fail_sys(err, "open %s", name);
	l = mb_alloc(sizeof *l);
	*l = (struct mb_lock){ .fd = fd };
	*out = l;
	return 0;
}

/* 1 done, 0 busy, -1 with errno. */
static int
set(const struct mb_lock *l, unsigned byte, short type, int cmd)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	while (fcntl(l->fd, cmd, &fl) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return 0;
		if (errno != EINTR)
			return -1;
	}
	return 1;
}

int
mb_lock_take(struct mb_lock *l, unsigned byte, bool is_shared,
    int64_t wait_us, struct mb_err *err)
{
	short type = is_shared ? F_RDLCK : F_WRLCK;
	int64_t deadline = wait_us > 0 ? mb_clock_steady_us() + wait_us : 0;
	int64_t nap_us = 1000;
	int rc;

	if (wait_us < 0) {
		rc = set(l, byte, type, F_OFD_SETLKW);
		return rc < 0 ? mb_fail_sys(err, "lock") : rc;
	}
	/* The kernel has no lock with a time-out: ask, sleep, ask again. */
	while ((rc = set(l, byte, type, F_OFD_SETLK)) == 0) {
		if (wait_us == 0 || mb_clock_steady_us() >= deadline)
			return 0;
		mb_clock_sleep(nap_us);
		if (nap_us < 20000)
			nap_us *= 2;
	}
	return rc < 0 ? mb_fail_sys(err, "lock") : 1;
}

void
mb_lock_drop(struct mb_lock *l, unsigned byte)
{
	/* Unlocking can only fail for a bad descriptor, a defect of ours. */
	if (set(l, byte, F_UNLCK, F_OFD_SETLK) < 0)
		abort();
}

int
mb_lock_fd(const struct mb_lock *l)
{
	return l->fd;
}

void
mb_lock_close(struct mb_lock *l)
{
	if (l == NULL)
		return;
	close(l->fd);
	free(l);
}
