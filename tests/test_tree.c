#include "durable/tree.h"

#include "base/clock.h"
#include "durable/stage.h"

#include "journal_help.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* The files below a directory, with what is in them, in order. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
list(struct mb_buf *out, const char *dir, size_t skip)
{
	struct dirent **v;
	int n = scandir(dir, &v, NULL, by_name);

	for (int i = 0; i < n; i++) {
		struct mb_buf name = { 0 }, bytes;
		struct stat st;

		mb_buf_addf(&name, "%s/%s", dir, v[i]->d_name);
		if (strcmp(v[i]->d_name, ".") == 0 ||
		    strcmp(v[i]->d_name, "..") == 0) {
			;
		} else if (lstat(mb_buf_str(&name), &st) == 0 &&
		    S_ISDIR(st.st_mode)) {
			list(out, name.p, skip);
		} else {
			bytes = slurp(name.p);
			mb_buf_addf(out, "%s:%.*s ", name.p + skip,
			    (int)bytes.len, bytes.p);
			mb_buf_release(&bytes);
		}
		mb_buf_release(&name);
		free(v[i]);
	}
	if (n >= 0)
		free(v);
}

static void
holds(const char *expected)
{
	struct mb_buf text = { 0 };

	list(&text, place, strlen(place) + 1);
	assert_string_equal(mb_buf_str(&text), expected);
	mb_buf_release(&text);
}

static int
open_place(void)
{
	int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static struct mb_tree *
start(int at, const char *name, const char *text)
{
	struct mb_err err = { 0 };
	struct mb_tree *t;

	good(mb_tree_open(&t, at, name, &err), &err);
	good(mb_tree_append(t, "d=1/e=2/part", text, strlen(text), &err),
	    &err);
	good(mb_tree_append(t, "d=2/e=2/part", "x", 1, &err), &err);
	good(mb_tree_append(t, "d=1/e=2/part", "+", 1, &err), &err);
	assert_int_equal(mb_tree_size(t), strlen(text) + 2);
	return t;
}

static void
test_publish(void **state)
{
	struct mb_err err = { 0 };
	int at = open_place();
	struct mb_tree *t = start(at, "b", "one"), *u = start(at, "b", "two");
	struct stat st;

	(void)state;
	assert_int_not_equal(fstatat(at, "b", &st, 0), 0);
	good(mb_tree_publish(t, &err), &err);
	mb_tree_close(t);
	assert_int_equal(mb_tree_publish(u, &err), -1);
	assert_int_equal(err.code, MB_EEXIST);
	assert_int_equal(mb_tree_append(u, "x", "x", 1, &err), -1);
	mb_tree_close(u);
	holds("b/d=1/e=2/part:one+ b/d=2/e=2/part:x ");
	/* In its place, and where nothing was. */
	err = (struct mb_err){ 0 };
	t = start(at, "b", "three");
	good(mb_tree_replace(t, &err), &err);
	mb_tree_close(t);
	t = start(at, "c", "four");
	good(mb_tree_replace(t, &err), &err);
	mb_tree_close(t);
	holds("b/d=1/e=2/part:three+ b/d=2/e=2/part:x "
	    "c/d=1/e=2/part:four+ c/d=2/e=2/part:x ");
	/* What was not published leaves nothing. */
	t = start(at, "d", "five");
	mb_tree_close(t);
	mb_tree_close(NULL);
	mb_tree_remove(at, "b");
	mb_tree_remove(at, "c");
	mb_tree_remove(at, "nothing");
	holds("");
	close(at);
}

static void
test_many(void **state)
{
	struct mb_err err = { 0 };
	struct mb_buf expected = { 0 };
	int at = open_place();
	struct mb_tree *t;
	char name[64];

	(void)state;
	good(mb_tree_open(&t, at, "b", &err), &err);
	for (int i = 100; i < 300; i++) {
		snprintf(name, sizeof name, "d=%d/part", i);
		good(mb_tree_append(t, name, "x", 1, &err), &err);
		mb_buf_addf(&expected, "b/%s:x ", name);
	}
	good(mb_tree_publish(t, &err), &err);
	mb_tree_close(t);
	holds(mb_buf_str(&expected));
	mb_buf_release(&expected);
	close(at);
}

/* A file in the way, and a symbolic link, are not followed. */
static void
test_in_the_way(void **state)
{
	struct mb_err err = { 0 };
	int at = open_place();
	struct mb_tree *t = start(at, "b", "one");

	(void)state;
	close(openat(at, "b", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(mb_tree_publish(t, &err), -1);
	assert_int_equal(err.code, MB_EEXIST);
	mb_tree_close(t);
	holds("b: ");
	err = (struct mb_err){ 0 };
	good(mb_tree_open(&t, at, "c", &err), &err);
	assert_int_equal(mb_tree_append(t, "a", "x", 1, &err), 0);
	assert_int_equal(mb_tree_append(t, "a/b", "x", 1, &err), -1);
	mb_tree_close(t);
	close(at);
}

/* What a dead writer has left is swept, what a live one has isn't. */
static void
test_killed(void **state)
{
	struct mb_err err = { 0 };
	int at = open_place();
	struct mb_tree *live = start(at, "live", "one");

	(void)state;
	for (int i = 0; i < 30; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			for (;;) {
				struct mb_tree *t = start(at, "b", "one");

				if (mb_tree_replace(t, &err) < 0)
					_exit(1);
				mb_tree_close(t);
			}
		mb_clock_sleep(i * 200);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		good(mb_stage_sweep(at, &err), &err);
		if (faccessat(at, "b", F_OK, 0) == 0) {
			struct stat st;

			assert_int_equal(fstatat(at, "b/d=1/e=2/part", &st, 0),
			    0);
			assert_int_equal(st.st_size, 4);
			mb_tree_remove(at, "b");
		}
	}
	good(mb_tree_publish(live, &err), &err);
	mb_tree_close(live);
	holds("live/d=1/e=2/part:one+ live/d=2/e=2/part:x ");
	close(at);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_publish, begin_anew),
		cmocka_unit_test_setup(test_many, begin_anew),
		cmocka_unit_test_setup(test_in_the_way, begin_anew),
		cmocka_unit_test_setup(test_killed, begin_anew),
	};

	return cmocka_run_group_tests(tests, set_up_path, tear_down_place);
}
