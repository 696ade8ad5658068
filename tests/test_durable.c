#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "durable/lock.h"
#include "durable/stage.h"
#include "durable/sync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A directory of its own for each test, open as `at`. */
static char place[64];
static int at;

static int
set_up(void **state)
{
	(void)state;
	snprintf(place, sizeof place, "/tmp/mb-durable.XXXXXX");
	if (mkdtemp(place) == NULL)
		return -1;
	at = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return at < 0 ? -1 : 0;
}

/* The names in it, in the order in which they are found. */
static const char *
names(int dirfd)
{
	static char text[512];
	DIR *d = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *e;

	text[0] = '\0';
	while ((e = readdir(d)) != NULL) {
		size_t len = strlen(text);

		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			snprintf(text + len, sizeof text - len, "%s%s",
			    len > 0 ? " " : "", e->d_name);
	}
	closedir(d);
	return text;
}

static int
tear_down(void **state)
{
	char all[512], *save, *name;

	(void)state;
	snprintf(all, sizeof all, "%s", names(at));
	for (name = strtok_r(all, " ", &save); name != NULL;
	    name = strtok_r(NULL, " ", &save))
		if (unlinkat(at, name, 0) < 0)
			unlinkat(at, name, AT_REMOVEDIR);
	close(at);
	return rmdir(place);
}

static void
good(int rc, const struct mb_err *err)
{
	if (rc < 0)
		fail_msg("%s", err->msg);
}

/* A child that has done its part and now holds what it holds. */
static pid_t
child(int (*part)(void))
{
	char ready = 0;
	int fd[2];
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		ready = part() == 0;
		(void)!write(fd[1], &ready, 1);
		for (;;)
			pause();
	}
	assert_int_equal(read(fd[0], &ready, 1), 1);
	assert_int_equal(ready, 1);
	close(fd[0]);
	close(fd[1]);
	return pid;
}

static void
kill_child(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* ---- lock ---- */

static struct mb_lock *
open_lock(void)
{
	struct mb_err err = { 0 };
	struct mb_lock *l;

	good(mb_lock_open(&l, at, "lock", &err), &err);
	return l;
}

/* What two that opened the same file may hold, in one process. */
static void
test_lock_kinds(void **state)
{
	enum { NO = -1, EXCLUSIVE = 0, SHARED = 1 };
	static const struct {
		unsigned byte;
		int kind;	/* of the one */
		unsigned other_byte;
		int other_kind;
		int taken;	/* by the other */
	} cases[] = {
		{ 0, EXCLUSIVE, 0, EXCLUSIVE, 0 },
		{ 0, EXCLUSIVE, 0, SHARED, 0 },
		{ 0, SHARED, 0, EXCLUSIVE, 0 },
		{ 0, SHARED, 0, SHARED, 1 },
		{ 0, NO, 0, EXCLUSIVE, 1 },
		{ 0, EXCLUSIVE, 1, EXCLUSIVE, 1 },
		{ 1, EXCLUSIVE, 0, EXCLUSIVE, 1 },
		{ 7, EXCLUSIVE, 7, EXCLUSIVE, 0 },
		{ 1000, EXCLUSIVE, 1001, SHARED, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_lock *a = open_lock(), *b = open_lock();
		struct mb_err err = { 0 };

		if (cases[i].kind != NO)
			assert_int_equal(mb_lock_take(a, cases[i].byte,
			    cases[i].kind == SHARED, 0, &err), 1);
		if (mb_lock_take(b, cases[i].other_byte,
		    cases[i].other_kind == SHARED, 0, &err) != cases[i].taken)
			fail_msg("case %zu: %s", i, err.msg);
		assert_int_equal(err.code, MB_OK);
		mb_lock_close(a);
		assert_int_equal(mb_lock_take(b, cases[i].byte, false, 0,
		    &err), 1);
		mb_lock_close(b);
	}
}

static void
test_lock_change(void **state)
{
	struct mb_lock *a = open_lock(), *b = open_lock();
	struct mb_err err = { 0 };
	struct stat st;

	(void)state;
	/* Again is fine; another kind changes it. */
	assert_int_equal(mb_lock_take(a, 0, false, 0, &err), 1);
	assert_int_equal(mb_lock_take(a, 0, false, 0, &err), 1);
	assert_int_equal(mb_lock_take(a, 0, true, 0, &err), 1);
	assert_int_equal(mb_lock_take(b, 0, true, 0, &err), 1);
	assert_int_equal(mb_lock_take(a, 0, false, 0, &err), 0);
	/* Drop gives up one byte. */
	assert_int_equal(mb_lock_take(a, 1, false, 0, &err), 1);
	mb_lock_drop(a, 0);
	mb_lock_drop(a, 5);	/* not held: fine */
	assert_int_equal(mb_lock_take(b, 0, false, 0, &err), 1);
	assert_int_equal(mb_lock_take(b, 1, false, 0, &err), 0);

	assert_int_equal(fstat(mb_lock_fd(a), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fcntl(mb_lock_fd(a), F_GETFD) & FD_CLOEXEC,
	    FD_CLOEXEC);
	mb_lock_close(a);
	mb_lock_close(b);
	mb_lock_close(NULL);
	assert_string_equal(names(at), "lock");	/* never removed */
}

static void
test_lock_open_refused(void **state)
{
	struct mb_lock *l = (struct mb_lock *)place;
	struct mb_err err = { 0 };

	(void)state;
	assert_int_equal(mb_lock_open(&l, at, "no/lock", &err), -1);
	assert_int_equal(err.code, MB_EIO);
	assert_non_null(strstr(err.msg, "open no/lock: "));
	assert_null(l);
	err = (struct mb_err){ 0 };
	assert_int_equal(symlinkat("elsewhere", at, "link"), 0);
	assert_int_equal(mb_lock_open(&l, at, "link", &err), -1);
	assert_string_equal(names(at), "link");
}

static int
lock_byte_3(void)
{
	struct mb_err err = { 0 };
	struct mb_lock *l;

	return mb_lock_open(&l, at, "lock", &err) == 0 &&
	    mb_lock_take(l, 3, false, 0, &err) == 1 ? 0 : -1;
}

static void
test_lock_wait(void **state)
{
	struct mb_lock *l = open_lock();
	struct mb_err err = { 0 };
	int64_t start, took;
	pid_t pid, killer;
	int status;

	(void)state;
	pid = child(lock_byte_3);
	start = mb_clock_steady_us();
	assert_int_equal(mb_lock_take(l, 3, false, 60000, &err), 0);
	took = mb_clock_steady_us() - start;
	if (took < 60000 || took > 60000000)
		fail_msg("waited %lld us", (long long)took);
	assert_int_equal(mb_lock_take(l, 2, false, 0, &err), 1);

	/* Death drops it, and whoever waits has it. */
	for (int waits = 0; waits < 3; waits++) {
		if (waits == 0) {
			kill_child(pid);
			assert_int_equal(mb_lock_take(l, 3, false, 0, &err),
			    1);
		} else {
			pid = child(lock_byte_3);
			killer = fork();
			if (killer == 0) {
				mb_clock_sleep(30000);
				_exit(kill(pid, SIGKILL) < 0);
			}
			assert_int_equal(mb_lock_take(l, 3, false,
			    waits == 1 ? 20000000 : -1, &err), 1);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_int_equal(waitpid(killer, &status, 0), killer);
			assert_int_equal(status, 0);
		}
		mb_lock_drop(l, 3);
	}
	assert_int_equal(err.code, MB_OK);
	mb_lock_close(l);
}

/* ---- sync ---- */

/*
 * More than there are threads, in one order and awaited in another; what
 * can't be synced (a pipe) fails, and nothing else does.
 */
static void
test_sync(void **state)
{
	enum { N = 40, BAD = 17 };
	struct mb_syncs *all[2] = { NULL, NULL };
	int fd[N], ends[2];

	(void)state;
	mb_syncs_open(&all[0]);		/* the other: none */
	assert_int_equal(pipe(ends), 0);
	for (int i = 0; i < N; i++)
		fd[i] = i == BAD ? ends[1] : i == 3 ? at :
		    openat(at, ".", O_RDWR | O_TMPFILE, 0600);
	for (int round = 0; round < 20; round++) {
		struct mb_sync *sync[N];
		int n_bad = 0;

		for (int i = 0; i < N; i++)
			sync[i] = mb_sync_begin(all[round % 2], fd[i], i == BAD ?
			    "the pipe" : "a file");
		for (int i = 0; i < N; i++) {
			/* All of them, each in its turn. */
			int at_once = (i * 7 + round) % N;
			struct mb_err err = { 0 };

			if (mb_sync_await(&sync[at_once], &err) < 0) {
				assert_int_equal(at_once, BAD);
				assert_int_equal(err.code, MB_EIO);
				assert_non_null(strstr(err.msg, "the pipe"));
				n_bad++;
			} else {
				assert_int_equal(err.code, MB_OK);
			}
			assert_null(sync[at_once]);
			good(mb_sync_await(&sync[at_once], &err), &err);
		}
		assert_int_equal(n_bad, 1);
	}
	for (int i = 0; i < N; i++)
		if (fd[i] != at)
			close(fd[i]);
	close(ends[0]);
	mb_syncs_close(all[0]);
	mb_syncs_close(NULL);
}

/* A failure that is not the first is not the cause. */
static void
test_sync_err(void **state)
{
	struct mb_err err = { 0 };
	struct mb_syncs *all;
	struct mb_sync *sync;
	int ends[2];

	(void)state;
	mb_syncs_open(&all);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(mb_fail(&err, MB_EDATA, "the cause"), -1);
	sync = mb_sync_begin(all, ends[0], "the pipe");
	assert_int_equal(mb_sync_await(&sync, &err), -1);
	assert_string_equal(err.msg, "the cause");
	sync = mb_sync_begin(all, ends[0], "the pipe");
	mb_sync_forget(&sync);
	assert_null(sync);
	close(ends[0]);
	close(ends[1]);
	mb_syncs_close(all);
}

/* ---- stage ---- */

static struct mb_stage *
start(const char *name, const char *text)
{
	struct mb_err err = { 0 };
	struct mb_stage *s;

	good(mb_stage_open(&s, at, name, 0666, &err), &err);
	good(mb_stage_write(s, text, strlen(text), &err), &err);
	return s;
}

static void
holds(const char *name, const char *text)
{
	char got[256];
	int fd = openat(at, name, O_RDONLY);
	ssize_t n = read(fd, got, sizeof got - 1);

	if (n < 0)
		fail_msg("%s: %s", name, strerror(errno));
	got[n] = '\0';
	assert_string_equal(got, text);
	close(fd);
}

static void
test_stage_publish(void **state)
{
	struct mb_err err = { 0 };
	struct mb_stage *s, *other;
	struct stat before, after;

	(void)state;
	s = start("file", "whole");
	assert_int_equal(faccessat(at, "file", F_OK, 0), -1);
	good(mb_stage_sync(s, &err), &err);
	assert_int_equal(faccessat(at, "file", F_OK, 0), -1);
	good(mb_stage_publish(s, &err), &err);
	assert_string_equal(names(at), "file");
	holds("file", "whole");
	mb_stage_close(s);
	holds("file", "whole");

	/* Two writers of one name: the second is refused. */
	s = start("two", "first");
	other = start("two", "second");
	good(mb_stage_publish(s, &err), &err);
	assert_int_equal(fstatat(at, "two", &before, 0), 0);
	assert_int_equal(mb_stage_publish(other, &err), -1);
	assert_int_equal(err.code, MB_EEXIST);
	assert_non_null(strstr(err.msg, "two"));
	holds("two", "first");
	mb_stage_close(other);
	mb_stage_close(s);
	holds("two", "first");
	assert_int_equal(fstatat(at, "two", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);

	/* Neither does it follow or replace a link. */
	assert_int_equal(symlinkat("nowhere", at, "link"), 0);
	err = (struct mb_err){ 0 };
	s = start("link", "x");
	assert_int_equal(mb_stage_publish(s, &err), -1);
	assert_int_equal(err.code, MB_EEXIST);
	mb_stage_close(s);

	/* Replace does; a reader of the old one keeps it. */
	err = (struct mb_err){ 0 };
	s = start("two", "third");
	holds("two", "first");
	good(mb_stage_replace(s, &err), &err);
	holds("two", "third");
	mb_stage_close(s);
	s = start("three", "anew");
	good(mb_stage_replace(s, &err), &err);
	mb_stage_close(s);
	holds("three", "anew");

	/* Nothing is also something. */
	s = start("empty", "");
	good(mb_stage_publish(s, &err), &err);
	mb_stage_close(s);
	holds("empty", "");
	assert_null(strstr(names(at), ".mb-"));
}

static void
test_stage_close(void **state)
{
	struct mb_err err = { 0 };
	struct mb_stage *s;

	(void)state;
	s = start("file", "x");
	assert_non_null(strstr(names(at), ".mb-"));
	mb_stage_close(s);
	assert_string_equal(names(at), "");
	s = start("file", "x");
	good(mb_stage_sync(s, &err), &err);
	mb_stage_close(s);
	assert_string_equal(names(at), "");
	mb_stage_close(NULL);

	/* After sync nothing may be written, and publish still works. */
	s = start("file", "x");
	good(mb_stage_sync(s, &err), &err);
	good(mb_stage_sync(s, &err), &err);
	assert_int_equal(mb_stage_write(s, "y", 1, &err), -1);
	assert_int_equal(err.code, MB_EBUG);
	err = (struct mb_err){ 0 };
	good(mb_stage_publish(s, &err), &err);
	assert_int_equal(mb_stage_size(s), 1);
	mb_stage_close(s);
	holds("file", "x");

	assert_int_equal(mb_stage_open(&s, -1, "file", 0666, &err), -1);
	assert_int_equal(err.code, MB_EIO);
	assert_null(s);
}

/* A sync that was begun is awaited by whatever needs it. */
static void
test_stage_sync_begin(void **state)
{
	struct mb_err err = { 0 };
	struct mb_syncs *syncs;
	struct mb_stage *s;

	(void)state;
	mb_syncs_open(&syncs);
	s = start("file", "x");
	good(mb_stage_sync_begin(s, syncs, &err), &err);
	assert_int_equal(mb_stage_write(s, "y", 1, &err), -1);
	assert_int_equal(err.code, MB_EBUG);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_stage_sync_begin(s, syncs, &err), -1);
	assert_int_equal(err.code, MB_EBUG);
	err = (struct mb_err){ 0 };
	good(mb_stage_publish(s, &err), &err);
	mb_stage_close(s);
	holds("file", "x");

	/* The name before the sync has ended. */
	s = start("early", "z");
	good(mb_stage_sync_begin(s, syncs, &err), &err);
	good(mb_stage_offer(s, &err), &err);
	holds("early", "z");
	good(mb_stage_sync(s, &err), &err);
	mb_stage_close(s);
	holds("early", "z");

	/* Nobody waits for it. */
	s = start("never", "x");
	good(mb_stage_sync_begin(s, syncs, &err), &err);
	mb_stage_close(s);
	assert_int_equal(faccessat(at, "never", F_OK, 0), -1);
	assert_null(strstr(names(at), ".mb-"));
	mb_syncs_close(syncs);
}

/* A file that is made first and named later. */
static void
test_stage_prepare(void **state)
{
	struct mb_err err = { 0 };
	struct mb_stage *s, *other;
	char all[512];

	(void)state;
	good(mb_stage_prepare(&s, at, 0666, &err), &err);
	assert_non_null(strstr(names(at), ".mb-"));
	good(mb_stage_sweep(at, &err), &err);
	assert_int_equal(mb_stage_name(s, "file"), 1);
	good(mb_stage_write(s, "abc", 3, &err), &err);
	good(mb_stage_publish(s, &err), &err);
	mb_stage_close(s);
	assert_string_equal(names(at), "file");
	holds("file", "abc");

	/* Not used. */
	good(mb_stage_prepare(&s, at, 0666, &err), &err);
	mb_stage_close(s);
	assert_string_equal(names(at), "file");

	/* Removed by somebody who doesn't ask. */
	good(mb_stage_prepare(&s, at, 0666, &err), &err);
	snprintf(all, sizeof all, "%s", strstr(names(at), ".mb-"));
	all[strcspn(all, " ")] = '\0';
	assert_int_equal(unlinkat(at, all, 0), 0);
	assert_string_equal(names(at), "file");
	assert_int_equal(mb_stage_name(s, "other"), 0);
	mb_stage_close(s);
	other = start("other", "x");
	good(mb_stage_publish(other, &err), &err);
	mb_stage_close(other);
	holds("other", "x");

	assert_int_equal(mb_stage_prepare(&s, -1, 0666, &err), -1);
	assert_int_equal(err.code, MB_EIO);
	assert_null(s);
}

/* Pieces below, at and above the buffer: all of them, in order. */
static void
test_stage_size(void **state)
{
	static const size_t pieces[] = {
		0, 1, 65534, 1, 65536, 65535, 3, 200000, 5, 65537, 40000,
		40000, 0, 7,
	};
	struct mb_buf all = { 0 };
	struct mb_err err = { 0 };
	struct mb_stage *s;
	struct stat st;
	char *got;
	int fd;

	(void)state;
	good(mb_stage_open(&s, at, "file", 0666, &err), &err);
	for (size_t i = 0; i < COUNT(pieces); i++) {
		size_t from = all.len;

		for (size_t k = 0; k < pieces[i]; k++)
			mb_buf_addc(&all, (char)(all.len * 31 + all.len / 997));
		good(mb_stage_write(s, all.p + from, pieces[i], &err), &err);
		assert_int_equal(mb_stage_size(s), all.len);
	}
	good(mb_stage_publish(s, &err), &err);
	assert_int_equal(mb_stage_size(s), all.len);
	mb_stage_close(s);
	fd = openat(at, "file", O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, all.len);
	got = mb_alloc(all.len);
	assert_int_equal(mb_pread_full(fd, got, all.len, 0, "file", &err),
	    all.len);
	assert_memory_equal(got, all.p, all.len);
	close(fd);
	free(got);
	mb_buf_release(&all);
}

static void
test_stage_mode(void **state)
{
	static const struct {
		mode_t mode, mask, expected;
	} cases[] = {
		{ 0666, 022, 0644 }, { 0600, 022, 0600 }, { 0666, 077, 0600 },
		{ 0666, 0, 0666 }, { 0644, 027, 0640 },
	};
	mode_t old = umask(022);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_err err = { 0 };
		struct mb_stage *s;
		struct stat st;

		umask(cases[i].mask);
		good(mb_stage_open(&s, at, "file", cases[i].mode, &err), &err);
		good(mb_stage_replace(s, &err), &err);
		mb_stage_close(s);
		assert_int_equal(fstatat(at, "file", &st, 0), 0);
		if ((st.st_mode & 07777) != cases[i].expected)
			fail_msg("%o & ~%o: %o", cases[i].mode, cases[i].mask,
			    st.st_mode & 07777);
	}
	umask(old);
}

static void
test_stage_elsewhere(void **state)
{
	struct mb_err err = { 0 };
	struct mb_stage *s;
	char path[128];
	int tmp;

	(void)state;
	snprintf(path, sizeof path, "%s/tmp", place);
	tmp = mb_dir_open(path, 0700, &err);
	good(tmp, &err);
	for (int how = 0; how < 4; how++) {
		/* published, replaced, refused, abandoned */
		good(mb_stage_open_in(&s, tmp, at, "file", 0666, &err), &err);
		assert_null(strstr(names(at), ".mb-"));
		assert_int_equal(strncmp(names(tmp), ".mb-", 4), 0);
		good(mb_stage_write(s, how == 0 ? "one" : "two", 3, &err),
		    &err);
		if (how == 1)
			good(mb_stage_replace(s, &err), &err);
		else if (how < 3 && (mb_stage_publish(s, &err) < 0) !=
		    (how == 2))
			fail_msg("%d: %s", how, err.msg);
		mb_stage_close(s);
		holds("file", how == 0 ? "one" : "two");
		assert_string_equal(names(tmp), "");
	}
	assert_int_equal(err.code, MB_EEXIST);
	close(tmp);
}

static int
stage_two(void)
{
	/* Their stages stay open; `two` is published. */
	struct mb_err err = { 0 };
	struct mb_stage *a, *b;

	if (mb_stage_open(&a, at, "one", 0666, &err) < 0 ||
	    mb_stage_open(&b, at, "two", 0666, &err) < 0 ||
	    mb_stage_write(a, "x", 1, &err) < 0 ||
	    mb_stage_sync(a, &err) < 0 || mb_stage_publish(b, &err) < 0)
		return -1;
	return 0;
}

static void
test_stage_sweep(void **state)
{
	static const char *const strangers[] = {
		".mb-manifest", ".mb-.tmp", "mb-0011223344556677.tmp",
		".mb-0011223344556677.tmpx", ".mb-0011223344556677",
		".other-0011223344556677.tmp", "file.tmp",
	};
	struct mb_err err = { 0 };
	struct mb_stage *s;
	char live[512];
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < COUNT(strangers); i++)
		close(openat(at, strangers[i], O_CREAT | O_WRONLY, 0600));
	pid = child(stage_two);
	s = start("mine", "whole");
	snprintf(live, sizeof live, "%s", names(at));
	good(mb_stage_sweep(at, &err), &err);
	assert_string_equal(names(at), live);	/* both writers live */
	kill_child(pid);
	assert_string_equal(names(at), live);
	good(mb_stage_sweep(at, &err), &err);
	assert_true(strlen(names(at)) < strlen(live));
	good(mb_stage_publish(s, &err), &err);
	mb_stage_close(s);
	holds("mine", "whole");
	holds("two", "");
	for (size_t i = 0; i < COUNT(strangers); i++)
		if (unlinkat(at, strangers[i], 0) < 0)
			fail_msg("%s was swept", strangers[i]);
	unlinkat(at, "two", 0);
	assert_string_equal(names(at), "mine");

	/* What is swept may be swept again. */
	good(mb_stage_sweep(at, &err), &err);
	assert_int_equal(mb_stage_sweep(-1, &err), -1);
	assert_int_equal(err.code, MB_EIO);
}

/* Whole or absent, whenever the writer is killed. */
static void
test_stage_killed(void **state)
{
	enum { LEN = 300000, ROUNDS = 40 };
	char *bytes = mb_alloc(LEN);

	(void)state;
	memset(bytes, 'x', LEN);
	for (int i = 0; i < ROUNDS; i++) {
		struct mb_err err = { 0 };
		struct stat st;
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			struct mb_stage *s;

			for (;;) {
				if (mb_stage_open(&s, at, "big", 0666, &err) <
				    0 || mb_stage_write(s, bytes, LEN, &err) <
				    0 || mb_stage_replace(s, &err) < 0)
					_exit(1);
				mb_stage_close(s);
				unlinkat(at, "big", 0);
			}
		}
		mb_clock_sleep(i * 200);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		if (fstatat(at, "big", &st, 0) == 0) {
			assert_int_equal(st.st_size, LEN);
			unlinkat(at, "big", 0);
		}
		good(mb_stage_sweep(at, &err), &err);
		assert_string_equal(names(at), "");
	}
	free(bytes);
}

static void
test_dir_open(void **state)
{
	static const struct {
		const char *path;
		mode_t mode;
		bool is_good;
	} cases[] = {
		{ "a", 0777, true }, { "a", 0777, true },
		{ "b///", 0700, true }, { "no/c", 0777, false },
		{ "file", 0777, false }, { "", 0777, false },
	};
	mode_t old = umask(027);
	int was = open(".", O_RDONLY), root;
	struct mb_err err = { 0 };

	(void)state;
	close(openat(at, "file", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(fchdir(at), 0);
	for (int is_absolute = 0; is_absolute < 2; is_absolute++)
		for (size_t i = 0; i < COUNT(cases); i++) {
			char path[128];
			struct stat st;
			int fd;

			err = (struct mb_err){ 0 };
			if (is_absolute && *cases[i].path == '\0')
				continue;
			snprintf(path, sizeof path, "%s%s%s",
			    is_absolute ? place : "", is_absolute ? "/" : "",
			    cases[i].path);
			fd = mb_dir_open(path, cases[i].mode, &err);
			if ((fd >= 0) != cases[i].is_good || (fd < 0 &&
			    err.code != MB_EIO))
				fail_msg("%s: %d, %s", path, fd, err.msg);
			if (fd < 0)
				continue;
			assert_int_equal(fstat(fd, &st), 0);
			assert_true(S_ISDIR(st.st_mode));
			assert_int_equal(st.st_mode & 0777,
			    cases[i].mode & 0750);
			close(fd);
		}
	err = (struct mb_err){ 0 };
	root = mb_dir_open("/", 0777, &err);	/* is its own parent */
	good(root, &err);
	close(root);
	assert_int_equal(fchdir(was), 0);
	close(was);
	umask(old);
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_lock_kinds),
		TEST(test_lock_change),
		TEST(test_lock_open_refused),
		TEST(test_lock_wait),
		TEST(test_sync),
		TEST(test_sync_err),
		TEST(test_stage_publish),
		TEST(test_stage_close),
		TEST(test_stage_sync_begin),
		TEST(test_stage_prepare),
		TEST(test_stage_size),
		TEST(test_stage_mode),
		TEST(test_stage_elsewhere),
		TEST(test_stage_sweep),
		TEST(test_stage_killed),
		TEST(test_dir_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
