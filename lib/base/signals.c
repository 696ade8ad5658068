#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* The only mutable globals: a signal handler has no argument to find them by. */
static volatile sig_atomic_t count;
static volatile sig_atomic_t group;
static int ends[2] = { -1, -1 };

static void
on_signal(int sig)
{
	int saved = errno;
	ssize_t n;

	count++;
	if (count > 1) {
		if (group > 0)
			kill(-group, sig);
		/* Blocked here, so it comes when we return. */
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	n = write(ends[1], "", 1);
	(void)n;
	errno = saved;
}

int
mb_signals_open(struct mb_err *err)
{
	struct sigaction sa = {
		.sa_handler = on_signal, .sa_flags = SA_RESTART
	};
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return mb_fail_sys(err, "pipe");
	/* nohup and background jobs of a shell ignore them; so do we. */
	if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	return 0;
}

void
mb_signals_lead(pid_t leader)
{
	group = leader;
}

int
mb_signal_count(void)
{
	return count;
}

int
mb_signal_fd(void)
{
	return ends[0];
}

bool
mb_reader_has_gone(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLNVAL));
}
