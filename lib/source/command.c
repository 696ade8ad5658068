#include "source/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/parse.h"
#include "base/signals.h"
#include "durable/lock.h"

enum {
	GRACE = 5000000,	/* us from TERM to KILL */
	MAX_HEADER = 64 * 1024,	/* in the environment; the kernel takes 128 */
};

struct mb_command {
	char *const *argv, *const *env;
	int64_t timeout_us;
	struct rlimit files;
};

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	    access(path, X_OK) == 0;
}

/* Is it there, where execvp will look for it? */
static bool
is_there(const char *name, char *const env[])
{
	const char *dir = "/bin:/usr/bin", *end;
	struct mb_buf path = { 0 };
	bool is_found = false;

	if (strchr(name, '/') != NULL)
		return is_program(name);
	for (; *env != NULL; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			dir = *env + 5;
	for (; !is_found; dir = end + 1) {
		end = dir + strcspn(dir, ":");
		mb_buf_reset(&path);
		if (end > dir) {
			mb_buf_add(&path, dir, (size_t)(end - dir));
			mb_buf_addc(&path, '/');
		}
		mb_buf_adds(&path, name);
		is_found = is_program(mb_buf_str(&path));
		if (*end == '\0')
			break;
	}
	mb_buf_release(&path);
	return is_found;
}

int
mb_command_open(struct mb_command **out, char *const argv[],
    char *const env[], int64_t timeout_us, struct mb_err *err)
{
	struct mb_command *c;
	struct rlimit files;

	*out = NULL;
	if (!is_there(argv[0], env))
		return mb_fail(err, MB_EUSAGE, "-- %s: no such program%s",
		    argv[0], strchr(argv[0], '/') != NULL ? "" : " in $PATH");
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return mb_fail_sys(err, "getrlimit");
	c = mb_alloc(sizeof *c);
	*c = (struct mb_command){
		.argv = argv, .env = env, .timeout_us = timeout_us,
		.files = files,
	};
	*out = c;
	return 0;
}

void
mb_command_close(struct mb_command *c)
{
	free(c);
}

/* A file without a name in <journal>.d. */
static int
open_input(struct mb_journal *j, struct mb_err *err)
{
	int dirfd = mb_journal_dirfd(j), fd;
	char random[17], name[32];

	fd = mb_openat(dirfd, ".", O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0)
		return fd;
	/* Some file systems can't. */
	if (mb_random_hex(random, 8, err) < 0)
		return -1;
	snprintf(name, sizeof name, ".mb-%s.tmp", random);
	fd = mb_openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return mb_fail_sys(err, "create %s.d/%s", mb_journal_path(j),
		    name);
	unlinkat(dirfd, name, 0);
	return fd;
}

static void
add_variable(struct mb_buf *out, const char *name, struct mb_str value)
{
	mb_buf_adds(out, name);
	mb_buf_add(out, value.p, value.len);
	mb_buf_addc(out, '\0');
}

static bool
is_ours(const char *variable)
{
	static const char *const names[] = {
		"MB_JOURNAL=", "MB_BATCH=", "MB_TOKEN=", "MB_TIME=",
		"MB_HEADER=", "MB_FORMAT=",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/*
 * Our environment with the batch in it.  An array whose texts are in *text or
 * in ours; the caller frees it.  It is made before the fork, because nothing
 * that allocates may run after it.
 */
static char **
make_environment(const struct mb_command *c, struct mb_journal *j,
    const struct mb_batch *b, const char *format, struct mb_str header,
    struct mb_buf *text)
{
	char time[MB_TIME_LEN + 1], number[24], **out;
	size_t n = 0;

	mb_format_time(time, b->time_ms);
	snprintf(number, sizeof number, "%" PRIu64, b->number);
	if (header.len > 0 && header.p[header.len - 1] == '\n')
		header.len--;
	add_variable(text, "MB_JOURNAL=", mb_str(mb_journal_path(j)));
	add_variable(text, "MB_BATCH=", mb_str(number));
	add_variable(text, "MB_TOKEN=", mb_str(b->digest.hex));
	add_variable(text, "MB_TIME=", mb_str(time));
	add_variable(text, "MB_FORMAT=", mb_str(format));
	/* One that no environment can hold is on standard input, too. */
	if (header.len <= MAX_HEADER &&
	    (header.len == 0 || memchr(header.p, '\0', header.len) == NULL))
		add_variable(text, "MB_HEADER=", header);
	while (c->env[n] != NULL)
		n++;
	out = mb_realloc_array(NULL, n + 7, sizeof *out);
	n = 0;
	for (char *const *v = c->env; *v != NULL; v++)
		if (!is_ours(*v))
			out[n++] = *v;
	for (char *p = text->p; p < text->p + text->len; p += strlen(p) + 1)
		out[n++] = p;
	out[n] = NULL;
	return out;
}

/* Between fork and exec; only what a signal handler might call. */
static void
become(const struct mb_command *c, char **env, int input, int lock,
    int report)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	int why;

	setpgid(0, 0);
	sigaction(SIGPIPE, &dfl, NULL);		/* we ignore them */
	sigaction(SIGXFSZ, &dfl, NULL);
	if (dup2(input, STDIN_FILENO) >= 0 && fcntl(lock, F_SETFD, 0) == 0 &&
	    setrlimit(RLIMIT_NOFILE, &c->files) == 0)
		execvpe(c->argv[0], c->argv, env);
	why = errno;
	(void)!write(report, &why, sizeof why);
	_exit(127);
}

/* Start it: its pid, or -1. */
static pid_t
start(const struct mb_command *c, char **env, int input, int lock,
    struct mb_err *err)
{
	int ends[2], why = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return mb_fail_sys(err, "pipe");
	pid = fork();
	if (pid == 0)
		become(c, env, input, lock, ends[1]);
	why = errno;
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		errno = why;
		return mb_fail_sys(err, "fork");
	}
	setpgid(pid, pid);	/* both do, so that nobody has to wait */
	do
		n = read(ends[0], &why, sizeof why);
	while (n < 0 && errno == EINTR);
	close(ends[0]);
	if (n != (ssize_t)sizeof why)
		return pid;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return mb_fail(err, why == ENOMEM || why == EAGAIN || why == EMFILE ||
	    why == ENFILE || why == EIO ? MB_EIO : MB_EUSAGE,
	    "-- %s: %s", c->argv[0], strerror(why));
}

/* Has it ended, without being reaped?  Waits until `deadline`; -1: none. */
static bool
has_ended(pid_t pid, int pidfd, int64_t deadline)
{
	int64_t nap_us = 200;

	for (;;) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		siginfo_t info = { 0 };
		int64_t left;

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT |
		    WNOHANG) == 0 && info.si_pid == pid)
			return true;
		left = deadline < 0 ? 1000000 : deadline -
		    mb_clock_steady_us();
		if (left <= 0)
			return false;
		if (pidfd >= 0) {
			(void)poll(&p, 1, (int)(left / 1000 < 1000 ?
			    left / 1000 + 1 : 1000));
			continue;
		}
		mb_clock_sleep(nap_us < left ? nap_us : left);
		if (nap_us < 20000)
			nap_us *= 2;
	}
}

static void
explain(const struct mb_command *c, int status, struct mb_command_end *end)
{
	const char *name = c->argv[0];

	end->result = MB_COMMAND_FAILED;
	if (WIFSIGNALED(status)) {
		snprintf(end->why, sizeof end->why,
		    "%.200s: killed by signal %d", name, WTERMSIG(status));
		return;
	}
	status = WEXITSTATUS(status);
	if (status == 0)
		end->result = MB_COMMAND_DONE;
	/* What it says in our language we pass on. */
	if (status == 64 || status == 75)
		end->status = status;
	if (status == 64 || status == 65)
		end->code = status == 64 ? MB_EUSAGE : MB_EDATA;
	snprintf(end->why, sizeof end->why, "%.200s: exit status %d", name,
	    status);
}

/* Wait for its end, or make one. */
static void
wait_for_end(const struct mb_command *c, pid_t pid,
    struct mb_command_end *end)
{
	int64_t deadline = c->timeout_us > 0 ? mb_clock_steady_us() +
	    c->timeout_us : -1;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
	bool is_late = !has_ended(pid, pidfd, deadline);
	siginfo_t info = { 0 };

	if (is_late) {
		kill(-pid, SIGTERM);
		if (!has_ended(pid, pidfd, mb_clock_steady_us() + GRACE)) {
			kill(-pid, SIGKILL);
			(void)has_ended(pid, pidfd, -1);
		}
	}
	if (pidfd >= 0)
		close(pidfd);
	/* Not yet reaped, its number is that of its group and of no other. */
	(void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	if (is_late || info.si_code != CLD_EXITED || info.si_status != 0)
		kill(-pid, SIGKILL);
	mb_signals_lead(0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	explain(c, status, end);
	if (!is_late)
		return;
	end->result = MB_COMMAND_FAILED;
	end->status = 65;
	end->code = MB_EBUSY;
	snprintf(end->why, sizeof end->why, "%.200s: not done after %" PRId64
	    " ms", c->argv[0], c->timeout_us / 1000);
}

/* The batch's format; its ranges and rejects all have the same. */
static const char *
format_of(struct mb_journal *j, const struct mb_batch *b)
{
	const struct mb_generation *g = NULL;

	if (b->n_ranges > 0)
		g = mb_state_generation(mb_journal_state(j),
		    b->ranges[b->n_ranges - 1].generation);
	return g != NULL ? g->format : "lines";
}

int
mb_command_run(struct mb_command *c, struct mb_journal *j,
    struct mb_emitter *e, const struct mb_batch *b,
    struct mb_command_end *end, struct mb_err *err)
{
	uint64_t number = b->number;
	enum mb_emit_result result;
	struct mb_lock *lock = NULL;
	struct mb_buf text = { 0 };
	char **env = NULL;
	const char *why;
	pid_t pid = -1;
	int input, rc = -1;

	*end = (struct mb_command_end){ .status = 65, .code = MB_EBUSY };
	input = open_input(j, err);
	if (input < 0)
		return -1;
	mb_emitter_to(e, input, "its input");
	if (mb_emit_batch(e, b, &result, &why, err) < 0) {
		mb_wrap(err, "%s", c->argv[0]);
		goto out;
	}
	if (result != MB_EMIT_WHOLE) {
		end->result = MB_COMMAND_GONE;
		end->code = MB_EDATA;
		snprintf(end->why, sizeof end->why, "%.290s", why);
		rc = 0;
		goto out;
	}
	b = mb_state_batch(mb_journal_state(j), number);
	if (b == NULL) {
		mb_fail(err, MB_EBUG, "batch %" PRIu64 " is not in the state",
		    number);
		goto out;
	}
	if (lseek(input, 0, SEEK_SET) < 0) {
		mb_fail_sys(err, "input of %s", c->argv[0]);
		goto out;
	}
	if (mb_journal_lend_pipeline(j, &lock, err) < 0)
		goto out;
	env = make_environment(c, j, b, format_of(j, b),
	    mb_emitter_header(e), &text);
	pid = start(c, env, input, mb_lock_fd(lock), err);
	if (pid < 0)
		goto out;
	mb_signals_lead(pid);
	wait_for_end(c, pid, end);
	rc = 0;
out:
	/* Whoever it left behind holds this, too, but no lock any more. */
	if (lock != NULL)
		mb_lock_drop(lock, MB_LOCK_PIPELINE);
	mb_lock_close(lock);
	mb_emitter_to(e, -1, "no input");
	close(input);
	mb_buf_release(&text);
	free(env);
	return rc;
}
