#include "source/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"

enum {
	TOGETHER = 64 * 1024,
	LEND_FROM = 64 * 1024,	/* less is copied as fast */
};

void
mb_outlet_init(struct mb_outlet *o, int fd)
{
	char path[64];
	struct stat st;

	*o = (struct mb_outlet){ .fd = fd, .name = "standard output",
	    .now_fd = -1 };
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return;
	o->may_lend = true;
	/*
	 * O_NONBLOCK on fd would be everybody's who has it.  (RWF_NOWAIT is
	 * refused by named pipes, and by others after the first vmsplice.)
	 */
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	o->now_fd = mb_openat(AT_FDCWD, path, O_WRONLY | O_NONBLOCK, 0);
}

void
mb_outlet_release(struct mb_outlet *o)
{
	if (o->now_fd >= 0)
		close(o->now_fd);
	mb_buf_release(&o->pending);
}

/* One call; it waits for room if it may. */
static ssize_t
send_some(const struct mb_outlet *o, const struct iovec *iov, bool lends,
    bool waits)
{
	ssize_t n;

	do
		n = lends ? vmsplice(o->fd, iov, 1, waits ? 0 :
		    SPLICE_F_NONBLOCK) :
		    write(waits ? o->fd : o->now_fd, iov->iov_base,
		    iov->iov_len);
	while (n < 0 && errno == EINTR);
	return n;
}

/* What a kernel, or a sandbox, says that doesn't have the call. */
static bool
is_refusal(void)
{
	return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ||
	    errno == EPERM;
}

/* There is no room: 0, and *is_idle if there was nothing else to do. */
static int
pass_time(struct mb_outlet *o, bool *is_idle, struct mb_err *err)
{
	struct pollfd fd = { .fd = o->fd, .events = POLLOUT };

	if (!*is_idle)
		*is_idle = !o->meanwhile(o->arg);
	else if (poll(&fd, 1, -1) < 0 && errno != EINTR)
		return mb_fail_sys(err, "poll %s", o->name);
	return 0;
}

static int
send_all(struct mb_outlet *o, const char *p, size_t len, bool lends,
    struct mb_err *err)
{
	bool is_idle = o->meanwhile == NULL;

	while (len > 0) {
		struct iovec iov = { (void *)(uintptr_t)p, len };
		bool waits = is_idle || o->now_fd < 0;
		ssize_t n;

		lends = lends && o->may_lend;
		n = send_some(o, &iov, lends, waits);
		if (n >= 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			if (pass_time(o, &is_idle, err) < 0)
				return -1;
		} else if (lends && is_refusal()) {
			o->may_lend = false;
		} else {
			return mb_fail_sys(err, "write %s", o->name);
		}
	}
	return 0;
}

int
mb_outlet_flush(struct mb_outlet *o, struct mb_err *err)
{
	int rc = send_all(o, o->pending.p, o->pending.len, false, err);

	mb_buf_reset(&o->pending);
	return rc;
}

int
mb_outlet_put(struct mb_outlet *o, const void *p, size_t len,
    struct mb_err *err)
{
	if (o->pending.len + len > TOGETHER && mb_outlet_flush(o, err) < 0)
		return -1;
	if (len > TOGETHER)
		return send_all(o, p, len, false, err);
	mb_buf_add(&o->pending, p, len);
	return 0;
}

int
mb_outlet_lend(struct mb_outlet *o, const void *p, size_t len,
    struct mb_err *err)
{
	if (!o->may_lend || len < LEND_FROM)
		return mb_outlet_put(o, p, len, err);
	return mb_outlet_flush(o, err) < 0 ? -1 :
	    send_all(o, p, len, true, err);
}
