/*
 * watch: which files there are, and which look different now.
 */
#include "source/watch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "place.h"

static struct mb_watch *w;
static int64_t now_us;
static struct mb_buf said;

static void
tell(void *arg, const char *path, const char *what)
{
	(void)arg;
	fail_msg("%s: %s", path, what);
}

static void
begin(const char *operand)
{
	struct mb_watch_options options = { .follows = true, .tell = tell };
	struct mb_err err = { 0 };
	struct mb_path *named;
	char path[128];

	assert_int_equal(make_place(false), 0);
	now_us = 1;
	w = mb_watch_open(&options);
	snprintf(path, sizeof path, "%s%s", place, operand);
	if (mb_watch_add(w, 0, path, &named, &err) < 0)
		fail_msg("%s", err.msg);
}

static void
end(void)
{
	mb_watch_close(w);
	mb_buf_release(&said);
	assert_int_equal(remove_place(), 0);
}

static void
put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", place, name);
	f = fopen(path, "a");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
drop(const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", place, name);
	assert_int_equal(unlink(path), 0);
}

/* What is reported, "a:2 b:-", much later than the last time. */
static const char *
report(void)
{
	struct mb_err err = { 0 };
	struct mb_path *p;

	now_us += 60000000;
	if (mb_watch_refresh(w, now_us, &err) < 0)
		fail_msg("%s", err.msg);
	mb_buf_reset(&said);
	while ((p = mb_watch_next(w)) != NULL) {
		const char *name = strrchr(p->name, '/') + 1;

		if (p->look.state == MB_PATH_FILE)
			mb_buf_addf(&said, "%s:%d ", name,
			    (int)p->look.size);
		else
			mb_buf_addf(&said, "%s:- ", name);
		if (p->look.state == MB_PATH_ABSENT && !p->is_named)
			mb_watch_drop(w, p);
	}
	return mb_buf_str(&said);
}

static void
test_directory(void **state)
{
	(void)state;
	begin("");
	assert_string_equal(report(), "");
	put("b", "x");
	put("a", "xx");
	put(".hidden", "x");
	assert_string_equal(report(), "a:2 b:1 ");
	assert_string_equal(report(), "");
	put("a", "yy");
	assert_string_equal(report(), "a:4 ");
	drop("b");
	assert_string_equal(report(), "b:- ");
	assert_int_equal(mb_watch_count(w), 1);
	put("b", "z");
	assert_string_equal(report(), "b:1 ");
	/* Asked for, though it looks the same. */
	mb_watch_again(w, mb_watch_at(w, 0));
	assert_int_equal(strlen(report()) > 0, 1);
	assert_string_equal(report(), "");
	end();
}

static void
test_glob(void **state)
{
	(void)state;
	begin("/*.log");
	put("a.log", "x");
	put("a.txt", "x");
	assert_string_equal(report(), "a.log:1 ");
	put("b.log", "x");
	put("a.txt", "x");
	assert_string_equal(report(), "b.log:1 ");
	end();
}

static void
test_name(void **state)
{
	(void)state;
	begin("/a");
	assert_string_equal(report(), "a:- ");
	put("b", "x");
	assert_string_equal(report(), "");
	put("a", "x");
	assert_string_equal(report(), "a:1 ");
	drop("a");
	assert_string_equal(report(), "a:- ");
	put("a", "");
	assert_string_equal(report(), "a:0 ");
	end();
}

/* Many come, change and go; each is reported, and the rest is not. */
static void
test_many(void **state)
{
	enum { MANY = 3000 };
	char name[16];
	size_t n;

	(void)state;
	begin("");
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "f%d", i);
		put(name, "x");
	}
	report();
	assert_int_equal(mb_watch_count(w), MANY);
	assert_string_equal(report(), "");
	for (int i = 0; i < MANY; i += 3) {
		snprintf(name, sizeof name, "f%d", i);
		drop(name);
	}
	n = 0;
	for (const char *p = report(); (p = strstr(p, ":- ")) != NULL; p++)
		n++;
	assert_int_equal(n, MANY / 3);
	assert_int_equal(mb_watch_count(w), MANY - MANY / 3);
	for (int i = 0; i < MANY; i++) {
		struct mb_path *p;
		char path[128];

		snprintf(path, sizeof path, "%s/f%d", place, i);
		p = mb_watch_find(w, path);
		assert_int_equal(p != NULL, i % 3 != 0);
	}
	put("f1", "y");
	assert_string_equal(report(), "f1:2 ");
	end();
}

static void
test_absolute(void **state)
{
	struct mb_err err = { 0 };
	char *a, *b;

	(void)state;
	assert_int_equal(chdir("/usr"), 0);
	assert_int_equal(mb_watch_absolute(&a, "./lib/../nosuch//x/", &err), 0);
	assert_int_equal(mb_watch_absolute(&b, "/usr/nosuch/x", &err), 0);
	assert_string_equal(a, b);
	free(a);
	free(b);
	assert_int_equal(mb_watch_absolute(&a, "", &err), -1);
	assert_int_equal(err.code, MB_EUSAGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directory), cmocka_unit_test(test_glob),
		cmocka_unit_test(test_name), cmocka_unit_test(test_many),
		cmocka_unit_test(test_absolute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
