/*
 * fault.c - a preloaded library that breaks things, and one that remembers.
 *
 * It stands between a program and libc at every call that changes what
 * survives.  In *fault mode* it counts these calls and, at the Nth, kills the
 * process or makes the call fail.  In *log mode* it writes down what each
 * call did, so that tests/power can build the tree that a power cut would
 * have left.  The product knows nothing of it.  Everything is told by the
 * environment:
 *
 *   MB_FAULT_PROG=NAME   only in this program (basename of the executable),
 *                        so that the environment of a whole pipeline selects
 *                        one of its processes; all without it
 *   MB_FAULT_CALLS=LIST  what counts, of
 *                          open   open with O_CREAT or O_TRUNC, creat
 *                          write  to regular files
 *                          pipe   to anything else, but not descriptor 2
 *                          sync   fsync, fdatasync, sync_file_range, ...
 *                          name   rename, link, unlink, mkdir, rmdir
 *                          size   ftruncate, truncate, fallocate
 *                          read   from anything
 *                          wait   poll, nanosleep, waiting for a lock
 *                        (default open,write,sync,name,size: the durable
 *                        calls)
 *   MB_FAULT_MODE=       die        SIGKILL just before the call
 *                        tear       half of a write, then SIGKILL
 *                        stop       SIGSTOP just before the call: whoever
 *                                   sends SIGCONT makes a zombie of it
 *                        E...       fail with EIO, ENOSPC, EINTR, EDQUOT,
 *                                   EACCES, EROFS or EMFILE
 *                        short      half of a write or read is done
 *                        one        one byte of it
 *                        eintr-all  each call is interrupted once first
 *                        short-all  each write and read is cut short once
 *   MB_FAULT_AT=N        at the Nth call, from 1
 *   MB_FAULT_STICKY=1    and at every one after it (a full disk stays full)
 *   MB_FAULT_FILE=TEXT   only calls on a file whose path has TEXT in it count
 *   MB_FAULT_WHILE=F     and only as long as there is a file F
 *   MB_FAULT_REPORT=F    append to F: "fired PROG PID N CALL WHAT" when the
 *                        fault happens, "count PROG PID N" at a normal exit
 *   MB_FAULT_LOG=F       log mode: append to F what each call has changed
 *   MB_FAULT_TIME=S      the wall clock stands still at S seconds since 1970
 *   MB_FAULT_DEVICE=N    files are on a device of this number, as after a reboot
 *   MB_FAULT_JITTER=N    programs mb-* are slow at these calls, and at waiting
 *                        and reading: each process, seeded by N and its id, in
 *                        its own way, from not at all to 3 ms a call
 *
 * A mode counts only the calls that it can touch: `short` sees writes and
 * reads, EINTR what Linux lets be interrupted on a local file (not fsync).
 *
 * A full disk (ENOSPC, EDQUOT) does not refuse what needs no room: opening a
 * file that is there, making one shorter.
 *
 * A failed fsync does what Linux does: it is reported once, the dirty pages
 * are dropped, and the next fsync succeeds without having written them.
 *
 * Calls inside libc itself (stdio, mkstemp) do not pass here.  tests/power
 * notices when something has changed a file that the log doesn't know.
 *
 * The log is text, one line per change, a write followed by its bytes; files
 * are inode numbers, names stand with the inode of their directory:
 *
 *   PROG:PID create DIR INO NAME      PROG:PID write INO OFF LEN\nBYTES\n
 *   PROG:PID mkdir DIR INO NAME       PROG:PID size INO SIZE
 *   PROG:PID link DIR INO NAME        PROG:PID sync INO
 *   PROG:PID unlink DIR INO NAME      PROG:PID lost INO     (failed fsync)
 *   PROG:PID rename DIR DIR2 INO NAME\tNAME2      (or exchange)
 *   PROG:PID syncall
 *
 * In log mode a lock over all processes makes each call and its line one
 * step, so the order of the lines is the order of the changes.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <linux/openat2.h>

enum {
	C_OPEN = 1, C_WRITE = 2, C_PIPE = 4, C_SYNC = 8, C_NAME = 16,
	C_SIZE = 32, C_READ = 64, C_WAIT = 128,
	C_DURABLE = C_OPEN | C_WRITE | C_SYNC | C_NAME | C_SIZE,
	C_TRANSFER = C_WRITE | C_PIPE | C_READ,
	C_INTERRUPTIBLE = C_TRANSFER | C_OPEN | C_WAIT,
};

enum mode { M_NONE, M_DIE, M_STOP, M_TEAR, M_ERRNO, M_SHORT, M_ONE, M_EINTR_ALL,
	M_SHORT_ALL };

/* What a call must do: nothing (0), fail with this errno (> 0), or these. */
enum { DO_SHORT = -1, DO_ONE = -2, DO_TEAR = -3 };

static bool ready;
static bool active;		/* a fault is set for this program */
static enum mode mode;
static int mode_errno;
static unsigned calls = C_DURABLE;
static unsigned long at;
static bool sticky;
static const char *only_file, *only_while;
static unsigned long count;
static int report_fd = -1, log_fd = -1;
static long fixed_time = -1, device = -1;
static uint64_t jitter;	/* 0: none */
static unsigned jitter_odds, jitter_us;
static char prog[64];
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

/* The real function, also under a sanitizer that has its own in between. */
#define REAL(ret, name, ...) \
	static ret (*real)(__VA_ARGS__); \
	if (real == NULL) \
		*(void **)&real = dlsym(RTLD_NEXT, #name)

static const struct {
	const char *name;
	unsigned bit;
} classes[] = {
	{ "open", C_OPEN }, { "write", C_WRITE }, { "pipe", C_PIPE },
	{ "sync", C_SYNC }, { "name", C_NAME }, { "size", C_SIZE },
	{ "read", C_READ }, { "wait", C_WAIT },
};

static const struct {
	const char *name;
	enum mode mode;
	int err;
} modes[] = {
	{ "die", M_DIE, 0 }, { "stop", M_STOP, 0 }, { "tear", M_TEAR, 0 },
	{ "short", M_SHORT, 0 }, { "one", M_ONE, 0 }, { "eintr-all", M_EINTR_ALL, 0 },
	{ "short-all", M_SHORT_ALL, 0 }, { "EIO", M_ERRNO, EIO },
	{ "ENOSPC", M_ERRNO, ENOSPC }, { "EINTR", M_ERRNO, EINTR },
	{ "EDQUOT", M_ERRNO, EDQUOT }, { "EACCES", M_ERRNO, EACCES },
	{ "EROFS", M_ERRNO, EROFS }, { "EMFILE", M_ERRNO, EMFILE },
};

static void
complain(const char *what, const char *value)
{
	char line[256];
	int n = snprintf(line, sizeof line, "fault: %s: %s\n", what, value);

	syscall(SYS_write, 2, line, (size_t)n);
	syscall(SYS_exit_group, 99);
}

static int
open_aside(const char *path)
{
	int fd, high;

	if (path == NULL || *path == '\0')
		return -1;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path,
	    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		complain("cannot open", path);
	/* Out of the way of a program that counts on low numbers. */
	high = fcntl(fd, F_DUPFD_CLOEXEC, 700);
	if (high >= 0) {
		syscall(SYS_close, fd);
		fd = high;
	}
	return fd;
}

static void
parse_calls(const char *list)
{
	calls = 0;
	while (*list != '\0') {
		size_t len = strcspn(list, ","), i;

		for (i = 0; i < sizeof classes / sizeof *classes; i++)
			if (strlen(classes[i].name) == len &&
			    memcmp(classes[i].name, list, len) == 0)
				break;
		if (i == sizeof classes / sizeof *classes)
			complain("MB_FAULT_CALLS", list);
		calls |= classes[i].bit;
		list += len + (list[len] == ',');
	}
}

static void
parse_mode(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof modes / sizeof *modes; i++)
		if (strcmp(modes[i].name, name) == 0)
			break;
	if (i == sizeof modes / sizeof *modes)
		complain("MB_FAULT_MODE", name);
	mode = modes[i].mode;
	mode_errno = modes[i].err;
	switch (mode) {
	case M_TEAR:
		calls &= C_WRITE | C_PIPE;
		break;
	case M_SHORT: case M_ONE: case M_SHORT_ALL:
		calls &= C_TRANSFER;
		break;
	case M_EINTR_ALL:
		calls &= C_INTERRUPTIBLE;
		break;
	default:
		if (mode_errno == EINTR)
			calls &= C_INTERRUPTIBLE;
	}
}

static bool
is_selected(const char *want)
{
	char exe[4096];
	ssize_t n;
	const char *base;

	if (want == NULL || *want == '\0')
		return true;
	if (strcmp(want, prog) == 0)
		return true;
	n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (n <= 0)
		return false;
	exe[n] = '\0';
	base = strrchr(exe, '/');
	return strcmp(want, base ? base + 1 : exe) == 0;
}

/* One step of splitmix64: numbers that look random, each thread its own. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/*
 * How slow this process is: as fast as ever, now and then for long, or a
 * little all the time.  What one of them has done before another begins is
 * what differs, and no load of a machine makes it differ so much.
 */
static void
parse_jitter(const char *seed)
{
	static const struct {
		unsigned odds, us;
	} ways[] = { { 1, 0 }, { 16, 20000 }, { 4, 5000 }, { 1, 300 }, { 1, 3000 } };
	uint64_t way;

	if (strncmp(prog, "mb-", 3) != 0)
		return;
	jitter = strtoul(seed, NULL, 10) << 32 ^ (unsigned long)getpid();
	way = next_random(&jitter) % (sizeof ways / sizeof *ways);
	jitter_odds = ways[way].odds;
	jitter_us = ways[way].us;
}

static void
dawdle(void)
{
	static __thread uint64_t state;
	struct timespec t = {0};
	uint64_t r;

	if (state == 0)
		state = jitter ^ (unsigned long)syscall(SYS_gettid) << 40;
	r = next_random(&state);
	if (r % jitter_odds != 0)
		return;
	t.tv_nsec = (long)((r >> 8) % jitter_us * 1000);
	syscall(SYS_nanosleep, &t, NULL);
}

__attribute__((constructor)) static void
init(void)
{
	const char *v;

	if (ready)
		return;
	ready = true;
	snprintf(prog, sizeof prog, "%s",
	    program_invocation_short_name ? program_invocation_short_name : "?");
	if ((v = getenv("MB_FAULT_TIME")) != NULL && *v != '\0')
		fixed_time = strtol(v, NULL, 10);
	if ((v = getenv("MB_FAULT_DEVICE")) != NULL && *v != '\0')
		device = strtol(v, NULL, 10);
	if ((v = getenv("MB_FAULT_JITTER")) != NULL && *v != '\0')
		parse_jitter(v);
	log_fd = open_aside(getenv("MB_FAULT_LOG"));
	if (!is_selected(getenv("MB_FAULT_PROG")))
		return;
	if ((v = getenv("MB_FAULT_CALLS")) != NULL && *v != '\0')
		parse_calls(v);
	if ((v = getenv("MB_FAULT_MODE")) != NULL && *v != '\0')
		parse_mode(v);
	if ((v = getenv("MB_FAULT_AT")) != NULL)
		at = strtoul(v, NULL, 10);
	sticky = getenv("MB_FAULT_STICKY") != NULL;
	only_file = getenv("MB_FAULT_FILE");
	only_while = getenv("MB_FAULT_WHILE");
	report_fd = open_aside(getenv("MB_FAULT_REPORT"));
	active = true;
}

static void
report(const char *what, unsigned long n, const char *call, const char *arg)
{
	char line[4400];
	int len;

	if (report_fd < 0)
		return;
	len = snprintf(line, sizeof line, "%s %s %d %lu %s %s\n", what, prog,
	    (int)getpid(), n, call, arg);
	if (len >= (int)sizeof line)
		len = sizeof line - 1;
	syscall(SYS_write, report_fd, line, (size_t)len);
}

__attribute__((destructor)) static void
at_exit(void)
{
	if (active)
		report("count", __atomic_load_n(&count, __ATOMIC_SEQ_CST), "-",
		    "-");
}

static void
die(void)
{
	for (;;)
		syscall(SYS_kill, getpid(), SIGKILL);
}

/*
 * Interrupt or shorten every other call of a thread: the one that follows
 * upon a broken one goes through, so that a loop that tries again ends.
 */
static bool
is_first_try(unsigned class)
{
	static __thread unsigned broken;

	broken ^= class;
	return (broken & class) != 0;
}

static const char *
fd_name(int fd, char *buf, size_t size)
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size - 1);
	if (n < 0)
		n = 0;
	buf[n] = '\0';
	return buf;
}

/* Count a call; `path` or, without one, `fd` tells which in the report. */
static int
fault(unsigned class, const char *call, int fd, const char *path)
{
	char buf[4096];
	unsigned long n;
	int saved = errno;

	if (!ready)
		init();
	if (jitter_us != 0 && class != 0)
		dawdle();
	if (!active || !(calls & class) || (only_file != NULL && strstr(
	    path ? path : fd_name(fd, buf, sizeof buf), only_file) == NULL) ||
	    (only_while != NULL && syscall(SYS_faccessat, AT_FDCWD,
	    only_while, F_OK) != 0)) {
		errno = saved;
		return 0;
	}
	n = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
	if (mode == M_EINTR_ALL)
		return is_first_try(class) ? EINTR : 0;
	if (mode == M_SHORT_ALL)
		return is_first_try(class) ? (n % 4 < 2 ? DO_ONE : DO_SHORT) : 0;
	if (mode == M_NONE || n < at || (n > at && !sticky) || at == 0)
		return 0;
	if (n == at)
		report("fired", n, call,
		    path ? path : fd_name(fd, buf, sizeof buf));
	errno = saved;
	switch (mode) {
	case M_DIE:
		die();
		return 0;
	case M_STOP:
		syscall(SYS_kill, getpid(), SIGSTOP);
		return 0;
	case M_TEAR:
		return DO_TEAR;
	case M_SHORT:
		return DO_SHORT;
	case M_ONE:
		return DO_ONE;
	default:
		return mode_errno;
	}
}

#define FAIL_IF_TOLD(class, call, fd, path) do { \
	int told_ = fault(class, call, fd, path); \
	if (told_ > 0) { \
		errno = told_; \
		return -1; \
	} \
} while (0)

static bool
needs_room(void)
{
	return mode == M_ERRNO &&
	    (mode_errno == ENOSPC || mode_errno == EDQUOT);
}

static bool
exists(int dirfd, const char *path)
{
	int saved = errno;
	bool yes = faccessat(dirfd, path, F_OK, 0) == 0;

	errno = saved;
	return yes;
}

static bool
grows(int fd, off_t size)
{
	struct stat st;

	return fstat(fd, &st) < 0 || size > st.st_size;
}

static size_t
cut_length(int told, size_t len)
{
	if (len < 2)
		return len;
	if (told == DO_ONE)
		return 1;
	return told == DO_SHORT || told == DO_TEAR ? len / 2 : len;
}

static bool
is_file(int fd)
{
	struct stat st;
	int saved = errno;
	bool yes;

	yes = fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
	errno = saved;
	return yes;
}

static unsigned
write_class(int fd)
{
	if (fd == 2)
		return 0;
	return is_file(fd) ? C_WRITE : C_PIPE;
}

/* ---- log mode ---- */

static bool
logging(void)
{
	if (!ready)
		init();
	return log_fd >= 0;
}

static void
lock_log(void)
{
	int saved = errno;

	pthread_mutex_lock(&log_mutex);
	while (syscall(SYS_flock, log_fd, LOCK_EX) < 0 && errno == EINTR)
		;
	errno = saved;
}

static void
unlock_log(void)
{
	int saved = errno;

	syscall(SYS_flock, log_fd, LOCK_UN);
	pthread_mutex_unlock(&log_mutex);
	errno = saved;
}

__attribute__((format(printf, 3, 4))) static void
log_line(const void *data, size_t data_len, const char *fmt, ...)
{
	char line[9000];
	struct iovec iov[3];
	int saved = errno, len;
	va_list ap;

	len = snprintf(line, sizeof line, "%s:%d ", prog, (int)getpid());
	va_start(ap, fmt);
	len += vsnprintf(line + len, sizeof line - (size_t)len, fmt, ap);
	va_end(ap);
	line[len++] = '\n';
	iov[0] = (struct iovec){ line, (size_t)len };
	iov[1] = (struct iovec){ (void *)(uintptr_t)data, data_len };
	iov[2] = (struct iovec){ (void *)(uintptr_t)"\n", data != NULL };
	if (syscall(SYS_writev, log_fd, iov, 3) !=
	    (long)((size_t)len + data_len + (data != NULL)))
		complain("log", strerror(errno));
	errno = saved;
}

static unsigned long
inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (unsigned long)st.st_ino : 0;
}

/* A name as the log has it: its directory's inode, its last component. */
struct place {
	unsigned long dir;
	unsigned long ino;	/* 0 if the name doesn't exist */
	off_t size;
	char name[256];
};

static struct place
look_up(int dirfd, const char *path)
{
	struct place at_place = {0};
	char dir[4096];
	const char *base;
	struct stat st;
	size_t len = strlen(path);
	int saved = errno;

	while (len > 1 && path[len - 1] == '/')
		len--;
	for (base = path + len; base > path && base[-1] != '/'; base--)
		;
	snprintf(dir, sizeof dir, "%.*s", (int)(base - path), path);
	snprintf(at_place.name, sizeof at_place.name, "%.*s",
	    (int)(path + len - base), base);
	if (fstatat(dirfd, *dir ? dir : ".", &st, 0) == 0)
		at_place.dir = (unsigned long)st.st_ino;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		at_place.ino = (unsigned long)st.st_ino;
		at_place.size = st.st_size;
	}
	errno = saved;
	return at_place;
}

static void
log_name(const char *verb, const struct place *p, unsigned long ino)
{
	log_line(NULL, 0, "%s %lu %lu %s", verb, p->dir, ino, p->name);
}

/* After a write through the descriptor's own position. */
static void
log_written(int fd, const void *data, size_t len)
{
	off_t end = lseek(fd, 0, SEEK_CUR);
	int flags = fcntl(fd, F_GETFL);

	log_line(data, len, "write %lu %lld %zu", inode_of(fd),
	    (long long)end - (long long)len, len);
	if (flags & O_DSYNC)
		log_line(NULL, 0, "sync %lu", inode_of(fd));
}

static void
log_written_at(int fd, const void *data, size_t len, off_t off)
{
	log_line(data, len, "write %lu %lld %zu", inode_of(fd), (long long)off,
	    len);
	if (fcntl(fd, F_GETFL) & O_DSYNC)
		log_line(NULL, 0, "sync %lu", inode_of(fd));
}

/* ---- open ---- */

static int
open_any(const char *call, int dirfd, const char *path, int flags, mode_t m,
    struct open_how *how, size_t how_size)
{
	static int (*real)(int, const char *, int, ...);
	static long (*real_syscall)(long, ...);
	bool changes = (flags & (O_CREAT | O_TRUNC)) != 0 ||
	    (flags & O_TMPFILE) == O_TMPFILE;
	struct place before = {0};
	int fd;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "openat");
	if (real_syscall == NULL)
		*(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
	if (changes) {
		if (!needs_room() || !exists(dirfd, path))
			FAIL_IF_TOLD(C_OPEN, call, -1, path);
		if (logging()) {
			lock_log();
			before = look_up(dirfd, path);
		}
	}
	fd = how ? (int)real_syscall(SYS_openat2, (long)dirfd, path, how,
	    how_size) : real(dirfd, path, flags, m);
	if (changes && logging()) {
		if (fd >= 0 && (flags & O_TMPFILE) == O_TMPFILE)
			log_line(NULL, 0, "create 0 %lu -", inode_of(fd));
		else if (fd >= 0 && before.ino == 0)
			log_name("create", &before, inode_of(fd));
		else if (fd >= 0 && (flags & O_TRUNC) && before.size > 0)
			log_line(NULL, 0, "size %lu 0", inode_of(fd));
		unlock_log();
	}
	return fd;
}

#define OPEN_MODE(flags, m) \
	mode_t m = 0; \
	if ((flags) & (O_CREAT | O_TMPFILE)) { \
		va_list ap; \
		va_start(ap, flags); \
		m = va_arg(ap, mode_t); \
		va_end(ap); \
	}

int
open(const char *path, int flags, ...)
{
	OPEN_MODE(flags, m)
	return open_any("open", AT_FDCWD, path, flags, m, NULL, 0);
}

int
open64(const char *path, int flags, ...)
{
	OPEN_MODE(flags, m)
	return open_any("open", AT_FDCWD, path, flags, m, NULL, 0);
}

int
openat(int dirfd, const char *path, int flags, ...)
{
	OPEN_MODE(flags, m)
	return open_any("openat", dirfd, path, flags, m, NULL, 0);
}

int
openat64(int dirfd, const char *path, int flags, ...)
{
	OPEN_MODE(flags, m)
	return open_any("openat", dirfd, path, flags, m, NULL, 0);
}

int
creat(const char *path, mode_t m)
{
	return open_any("creat", AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, m,
	    NULL, 0);
}

int
creat64(const char *path, mode_t m)
{
	return creat(path, m);
}

/* ---- write ---- */

ssize_t
write(int fd, const void *buf, size_t len)
{
	REAL(ssize_t, write, int, const void *, size_t);
	unsigned class = write_class(fd);
	int told = fault(class, "write", fd, NULL);
	ssize_t n;

	if (told > 0) {
		errno = told;
		return -1;
	}
	len = cut_length(told, len);
	if (class == C_WRITE && logging()) {
		lock_log();
		n = real(fd, buf, len);
		if (n > 0)
			log_written(fd, buf, (size_t)n);
		unlock_log();
	} else {
		n = real(fd, buf, len);
	}
	if (told == DO_TEAR)
		die();
	return n;
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t off)
{
	REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
	unsigned class = write_class(fd);
	int told = fault(class, "pwrite", fd, NULL);
	ssize_t n;

	if (told > 0) {
		errno = told;
		return -1;
	}
	len = cut_length(told, len);
	if (class == C_WRITE && logging()) {
		lock_log();
		n = real(fd, buf, len, off);
		if (n > 0)
			log_written_at(fd, buf, (size_t)n, off);
		unlock_log();
	} else {
		n = real(fd, buf, len, off);
	}
	if (told == DO_TEAR)
		die();
	return n;
}

ssize_t
pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	return pwrite(fd, buf, len, off);
}

/* Vectors go through write, so that there is one way to break a write. */
static char *
gather(const struct iovec *iov, int n_iov, size_t *len)
{
	char *all, *p;

	*len = 0;
	for (int i = 0; i < n_iov; i++)
		*len += iov[i].iov_len;
	p = all = malloc(*len + 1);
	if (all == NULL)
		complain("out of memory", "writev");
	for (int i = 0; i < n_iov; i++) {
		memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	return all;
}

ssize_t
writev(int fd, const struct iovec *iov, int n_iov)
{
	size_t len;
	char *all = gather(iov, n_iov, &len);
	ssize_t n = write(fd, all, len);
	int saved = errno;

	free(all);
	errno = saved;
	return n;
}

ssize_t
pwritev(int fd, const struct iovec *iov, int n_iov, off_t off)
{
	size_t len;
	char *all = gather(iov, n_iov, &len);
	ssize_t n = pwrite(fd, all, len, off);
	int saved = errno;

	free(all);
	errno = saved;
	return n;
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int n_iov, off_t off)
{
	return pwritev(fd, iov, n_iov, off);
}

/* Always into a pipe. */
ssize_t
vmsplice(int fd, const struct iovec *iov, size_t n_iov, unsigned how)
{
	REAL(ssize_t, vmsplice, int, const struct iovec *, size_t, unsigned);
	int told = fault(write_class(fd), "vmsplice", fd, NULL);
	struct iovec first;
	ssize_t n;

	if (told > 0) {
		errno = told;
		return -1;
	}
	if (told == 0 || n_iov == 0)
		return real(fd, iov, n_iov, how);
	first = iov[0];
	first.iov_len = cut_length(told, first.iov_len);
	n = real(fd, &first, 1, how);
	if (told == DO_TEAR)
		die();
	return n;
}

/* Copies between descriptors become plain ones: the log needs the bytes. */
static ssize_t
copy_slowly(int in, off_t *in_off, int out, off_t *out_off, size_t len)
{
	static char buf[65536];
	ssize_t got, put;

	if (len > sizeof buf)
		len = sizeof buf;
	got = in_off ? pread(in, buf, len, *in_off) : read(in, buf, len);
	if (got <= 0)
		return got;
	put = out_off ? pwrite(out, buf, (size_t)got, *out_off) :
	    write(out, buf, (size_t)got);
	if (put < 0)
		return put;
	if (in_off)
		*in_off += put;
	else if (put < got)
		lseek(in, put - got, SEEK_CUR);
	if (out_off)
		*out_off += put;
	return put;
}

ssize_t
copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len,
    unsigned flags)
{
	(void)flags;
	return copy_slowly(in, in_off, out, out_off, len);
}

ssize_t
sendfile(int out, int in, off_t *off, size_t len)
{
	REAL(ssize_t, sendfile, int, int, off_t *, size_t);

	if (is_file(out))
		return copy_slowly(in, off, out, NULL, len);
	FAIL_IF_TOLD(C_PIPE, "sendfile", out, NULL);
	return real(out, in, off, len);
}

ssize_t
sendfile64(int out, int in, off_t *off, size_t len)
{
	return sendfile(out, in, off, len);
}

/* ---- sync ---- */

static int
sync_fd(int (*real)(int), const char *call, int fd)
{
	int told = fault(C_SYNC, call, fd, NULL), rc;

	if (!logging()) {
		if (told > 0) {
			errno = told;
			return -1;
		}
		return real(fd);
	}
	lock_log();
	if (told > 0) {
		log_line(NULL, 0, "lost %lu", inode_of(fd));
		errno = told;
		rc = -1;
	} else {
		rc = real(fd);
		if (rc == 0)
			log_line(NULL, 0, "sync %lu", inode_of(fd));
	}
	unlock_log();
	return rc;
}

int
fsync(int fd)
{
	REAL(int, fsync, int);
	return sync_fd(real, "fsync", fd);
}

int
fdatasync(int fd)
{
	REAL(int, fdatasync, int);
	return sync_fd(real, "fdatasync", fd);
}

int
syncfs(int fd)
{
	REAL(int, syncfs, int);
	int rc;

	FAIL_IF_TOLD(C_SYNC, "syncfs", fd, NULL);
	rc = real(fd);
	if (rc == 0 && logging()) {
		lock_log();
		log_line(NULL, 0, "syncall");
		unlock_log();
	}
	return rc;
}

/* It starts writing, and promises nothing: the log leaves it out. */
int
sync_file_range(int fd, off64_t off, off64_t len, unsigned flags)
{
	REAL(int, sync_file_range, int, off64_t, off64_t, unsigned);

	FAIL_IF_TOLD(C_SYNC, "sync_file_range", fd, NULL);
	return real(fd, off, len, flags);
}

/* ---- size ---- */

int
ftruncate(int fd, off_t size)
{
	REAL(int, ftruncate, int, off_t);
	int rc;

	if (!needs_room() || grows(fd, size))
		FAIL_IF_TOLD(C_SIZE, "ftruncate", fd, NULL);
	if (!logging())
		return real(fd, size);
	lock_log();
	rc = real(fd, size);
	if (rc == 0)
		log_line(NULL, 0, "size %lu %lld", inode_of(fd), (long long)size);
	unlock_log();
	return rc;
}

int
ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

int
truncate(const char *path, off_t size)
{
	REAL(int, truncate, const char *, off_t);
	int rc;

	FAIL_IF_TOLD(C_SIZE, "truncate", -1, path);
	if (!logging())
		return real(path, size);
	lock_log();
	rc = real(path, size);
	if (rc == 0)
		log_line(NULL, 0, "size %lu %lld", look_up(AT_FDCWD, path).ino,
		    (long long)size);
	unlock_log();
	return rc;
}

int
truncate64(const char *path, off_t size)
{
	return truncate(path, size);
}

/* Only allocation is modelled; the log notes the size that came of it. */
int
fallocate(int fd, int how, off_t off, off_t len)
{
	REAL(int, fallocate, int, int, off_t, off_t);
	struct stat st;
	int rc;

	FAIL_IF_TOLD(C_SIZE, "fallocate", fd, NULL);
	if (!logging())
		return real(fd, how, off, len);
	lock_log();
	rc = real(fd, how, off, len);
	if (rc == 0 && fstat(fd, &st) == 0)
		log_line(NULL, 0, "size %lu %lld", inode_of(fd),
		    (long long)st.st_size);
	unlock_log();
	return rc;
}

int
fallocate64(int fd, int how, off_t off, off_t len)
{
	return fallocate(fd, how, off, len);
}

int
posix_fallocate(int fd, off_t off, off_t len)
{
	return fallocate(fd, 0, off, len) < 0 ? errno : 0;
}

int
posix_fallocate64(int fd, off_t off, off_t len)
{
	return posix_fallocate(fd, off, len);
}

/* ---- names ---- */

static int
link_any(const char *call, int dirfd, const char *path, int dirfd2,
    const char *path2, int flags)
{
	static int (*real)(int, const char *, int, const char *, int);
	int rc;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "linkat");
	FAIL_IF_TOLD(C_NAME, call, -1, path2);
	if (!logging())
		return real(dirfd, path, dirfd2, path2, flags);
	lock_log();
	rc = real(dirfd, path, dirfd2, path2, flags);
	if (rc == 0) {
		struct place p = look_up(dirfd2, path2);

		log_name("link", &p, p.ino);
	}
	unlock_log();
	return rc;
}

int
link(const char *path, const char *path2)
{
	return link_any("link", AT_FDCWD, path, AT_FDCWD, path2, 0);
}

int
linkat(int dirfd, const char *path, int dirfd2, const char *path2, int flags)
{
	return link_any("linkat", dirfd, path, dirfd2, path2, flags);
}

static int
unlink_any(const char *call, int dirfd, const char *path, int flags)
{
	static int (*real)(int, const char *, int);
	struct place p;
	int rc;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "unlinkat");
	FAIL_IF_TOLD(C_NAME, call, -1, path);
	if (!logging())
		return real(dirfd, path, flags);
	lock_log();
	p = look_up(dirfd, path);
	rc = real(dirfd, path, flags);
	if (rc == 0)
		log_name("unlink", &p, p.ino);
	unlock_log();
	return rc;
}

int
unlink(const char *path)
{
	return unlink_any("unlink", AT_FDCWD, path, 0);
}

int
unlinkat(int dirfd, const char *path, int flags)
{
	return unlink_any("unlinkat", dirfd, path, flags);
}

int
rmdir(const char *path)
{
	return unlink_any("rmdir", AT_FDCWD, path, AT_REMOVEDIR);
}

int
remove(const char *path)
{
	int rc = unlink_any("remove", AT_FDCWD, path, 0);

	if (rc < 0 && errno == EISDIR)
		rc = unlink_any("remove", AT_FDCWD, path, AT_REMOVEDIR);
	return rc;
}

static int
rename_any(const char *call, int dirfd, const char *path, int dirfd2,
    const char *path2, unsigned flags)
{
	static int (*real)(int, const char *, int, const char *, unsigned);
	struct place from, to;
	int rc;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "renameat2");
	FAIL_IF_TOLD(C_NAME, call, -1, path2);
	if (!logging())
		return real(dirfd, path, dirfd2, path2, flags);
	lock_log();
	from = look_up(dirfd, path);
	to = look_up(dirfd2, path2);
	rc = real(dirfd, path, dirfd2, path2, flags);
	/* Two names of one file: rename does nothing, by POSIX. */
	if (rc == 0 && from.ino != to.ino)
		log_line(NULL, 0, "%s %lu %lu %lu %s\t%s",
		    flags & 2 ? "exchange" : "rename", from.dir, to.dir,
		    from.ino, from.name, to.name);
	unlock_log();
	return rc;
}

int
rename(const char *path, const char *path2)
{
	return rename_any("rename", AT_FDCWD, path, AT_FDCWD, path2, 0);
}

int
renameat(int dirfd, const char *path, int dirfd2, const char *path2)
{
	return rename_any("renameat", dirfd, path, dirfd2, path2, 0);
}

int
renameat2(int dirfd, const char *path, int dirfd2, const char *path2,
    unsigned flags)
{
	return rename_any("renameat2", dirfd, path, dirfd2, path2, flags);
}

static int
mkdir_any(const char *call, int dirfd, const char *path, mode_t m)
{
	static int (*real)(int, const char *, mode_t);
	int rc;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "mkdirat");
	FAIL_IF_TOLD(C_NAME, call, -1, path);
	if (!logging())
		return real(dirfd, path, m);
	lock_log();
	rc = real(dirfd, path, m);
	if (rc == 0) {
		struct place p = look_up(dirfd, path);

		log_name("mkdir", &p, p.ino);
	}
	unlock_log();
	return rc;
}

int
mkdir(const char *path, mode_t m)
{
	return mkdir_any("mkdir", AT_FDCWD, path, m);
}

int
mkdirat(int dirfd, const char *path, mode_t m)
{
	return mkdir_any("mkdirat", dirfd, path, m);
}

/* ---- reading and waiting: only to be interrupted and cut short ---- */

ssize_t
read(int fd, void *buf, size_t len)
{
	REAL(ssize_t, read, int, void *, size_t);
	int told = fault(C_READ, "read", fd, NULL);

	if (told > 0) {
		errno = told;
		return -1;
	}
	return real(fd, buf, cut_length(told, len));
}

int
statx(int fd, const char *name, int flags, unsigned mask, struct statx *st)
{
	REAL(int, statx, int, const char *, int, unsigned, struct statx *);
	int rc = real(fd, name, flags, mask, st);

	if (!ready)
		init();
	if (rc == 0 && device >= 0) {
		st->stx_dev_major = 0;
		st->stx_dev_minor = (unsigned)device;
	}
	return rc;
}

ssize_t
pread(int fd, void *buf, size_t len, off_t off)
{
	REAL(ssize_t, pread, int, void *, size_t, off_t);
	int told = fault(C_READ, "pread", fd, NULL);

	if (told > 0) {
		errno = told;
		return -1;
	}
	return real(fd, buf, cut_length(told, len), off);
}

ssize_t
pread64(int fd, void *buf, size_t len, off_t off)
{
	return pread(fd, buf, len, off);
}

int
poll(struct pollfd *fds, nfds_t n, int timeout)
{
	REAL(int, poll, struct pollfd *, nfds_t, int);

	if (timeout != 0)
		FAIL_IF_TOLD(C_WAIT, "poll", -1, "-");
	return real(fds, n, timeout);
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts,
    const sigset_t *set)
{
	REAL(int, ppoll, struct pollfd *, nfds_t, const struct timespec *,
	    const sigset_t *);

	if (ts == NULL || ts->tv_sec != 0 || ts->tv_nsec != 0)
		FAIL_IF_TOLD(C_WAIT, "ppoll", -1, "-");
	return real(fds, n, ts, set);
}

int
nanosleep(const struct timespec *ts, struct timespec *left)
{
	REAL(int, nanosleep, const struct timespec *, struct timespec *);
	int told = fault(C_WAIT, "nanosleep", -1, "-");

	if (told > 0) {
		if (left)
			*left = *ts;
		errno = told;
		return -1;
	}
	return real(ts, left);
}

int
clock_nanosleep(clockid_t clock, int flags, const struct timespec *ts,
    struct timespec *left)
{
	REAL(int, clock_nanosleep, clockid_t, int, const struct timespec *,
	    struct timespec *);
	int told = fault(C_WAIT, "clock_nanosleep", -1, "-");

	if (told > 0) {
		if (left && !(flags & TIMER_ABSTIME))
			*left = *ts;
		return told;
	}
	return real(clock, flags, ts, left);
}

int
fcntl(int fd, int cmd, ...)
{
	REAL(int, fcntl, int, int, ...);
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (cmd == F_SETLKW || cmd == F_OFD_SETLKW)
		FAIL_IF_TOLD(C_WAIT, "fcntl", fd, NULL);
	return real(fd, cmd, arg);
}

int
fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fcntl(fd, cmd, arg);
}

/* ---- calls that have no function of their own ---- */

long
syscall(long nr, ...)
{
	REAL(long, syscall, long, ...);
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	switch (nr) {
	case SYS_openat2: {
		struct open_how *how = (struct open_how *)a[2];

		return open_any("openat2", (int)a[0], (const char *)a[1],
		    (int)how->flags, 0, how, (size_t)a[3]);
	}
	case SYS_renameat2:
		return rename_any("renameat2", (int)a[0], (const char *)a[1],
		    (int)a[2], (const char *)a[3], (unsigned)a[4]);
	default:
		return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
}

/* ---- a clock that stands still ---- */

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	REAL(int, clock_gettime, clockid_t, struct timespec *);

	if (fixed_time >= 0 &&
	    (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		*ts = (struct timespec){ .tv_sec = fixed_time };
		return 0;
	}
	return real(clock, ts);
}

int
timespec_get(struct timespec *ts, int base)
{
	return clock_gettime(CLOCK_REALTIME, ts) == 0 ? base : 0;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	*tv = (struct timeval){ .tv_sec = ts.tv_sec,
		.tv_usec = ts.tv_nsec / 1000 };
	return 0;
}
