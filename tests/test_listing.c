/*
 * listing: the names in a directory, read once for many who ask.
 */
#include "source/listing.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "place.h"

static char path[128];

static const char *
at(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", place, name);
	return path;
}

static uint64_t
put(const char *name)
{
	struct stat st;
	int fd = open(at(name), O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_ino;
}

static void
each(void *arg, const struct mb_listed *e)
{
	struct mb_buf *out = arg;

	mb_buf_addf(out, "%s%s ", e->name, e->is_directory ? "/" : "");
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each name once, in any order. */
static void
finds(struct mb_listing *l, const char *base, uint64_t ino, const char *want)
{
	struct mb_buf got = { 0 }, sorted = { 0 };
	char *names[100], *next;
	size_t n = 0;

	mb_listing_search(l, base, ino, each, &got);
	mb_buf_str(&got);
	for (char *p = got.p; *p != '\0'; p = next) {
		names[n++] = p;
		next = strchr(p, ' ');
		*next++ = '\0';
	}
	if (n > 0)
		qsort(names, n, sizeof *names, compare);
	for (size_t i = 0; i < n; i++)
		mb_buf_addf(&sorted, "%s ", names[i]);
	if (strcmp(mb_buf_str(&sorted), want) != 0)
		fail_msg("\"%s\", %llu: got %s", base, (unsigned long long)ino,
		    mb_buf_str(&sorted));
	mb_buf_release(&got);
	mb_buf_release(&sorted);
}

static void
read_it(struct mb_listing *l, int64_t since_us)
{
	struct mb_err err = { 0 };

	if (mb_listing_read(l, at("app.log"), since_us, &err) < 0)
		fail_msg("%s", err.msg);
}

/* Until nothing has changed for a while, as the clock of files has it. */
static void
read_still(struct mb_listing *l)
{
	do {
		mb_listing_pause();
		read_it(l, MB_LISTING_ANEW);
	} while (!mb_listing_was_still(l));
}

static void
test_search(void **state)
{
	struct mb_listing *l = mb_listing_open();
	uint64_t other, inode;

	(void)state;
	inode = put("app.log");
	put("app.log.1");
	put("app.logs");
	put("zzz");
	put("app.lo");
	other = put("other");
	assert_int_equal(mkdir(at("app.log.d"), 0700), 0);
	/* The first search goes through all, later ones through an index. */
	for (int i = 0; i < 3; i++) {
		if (i < 2)
			read_still(l);
		finds(l, "app.log", 0, "app.log app.log.1 app.log.d/ app.logs ");
		finds(l, "app.log", other,
		    "app.log app.log.1 app.log.d/ app.logs other ");
		finds(l, "app.log.1", inode, "app.log app.log.1 ");
		finds(l, "app.log", inode,
		    "app.log app.log.1 app.log.d/ app.logs ");
		finds(l, "none", 0, "");
		finds(l, "zzzz", other, "other ");
	}
	mb_listing_close(l);
}

static void
test_read_again(void **state)
{
	struct mb_listing *l = mb_listing_open();
	struct mb_err err = { 0 };
	int64_t before, after;

	(void)state;
	put("app.log.1");
	before = mb_clock_steady_us();
	read_still(l);
	after = mb_clock_steady_us() + 1;
	assert_true(mb_listing_is_still(l));
	put("app.log.2");
	assert_false(mb_listing_is_still(l));
	/* What was there at that time is known. */
	read_it(l, before);
	finds(l, "app", 0, "app.log.1 ");
	read_it(l, after);
	finds(l, "app", 0, "app.log.1 app.log.2 ");
	/* What was read while something changed is no answer for later. */
	put("app.log.3");
	read_it(l, MB_LISTING_ANEW);
	assert_false(mb_listing_was_still(l));
	put("app.log.4");
	read_it(l, before);
	finds(l, "app", 0, "app.log.1 app.log.2 app.log.3 app.log.4 ");
	/* Another directory, and one that isn't there. */
	read_still(l);
	if (mb_listing_read(l, "/app.log", before, &err) < 0)
		fail_msg("%s", err.msg);
	finds(l, "app.log", 0, "");
	if (mb_listing_read(l, at("none/app.log"), before, &err) < 0)
		fail_msg("%s", err.msg);
	finds(l, "", 0, "");
	mb_listing_close(l);
}

/* Unobservable is not empty. */
static void
test_hidden(void **state)
{
	struct mb_listing *l = mb_listing_open();
	struct mb_err err = { 0 };
	char name[300];

	(void)state;
	memset(name, 'x', sizeof name);
	name[0] = '/';
	memcpy(name + 290, "/a", 3);
	assert_int_equal(mb_listing_read(l, name, 0, &err), -1);
	assert_int_equal(err.code, MB_EIO);
	assert_non_null(strstr(err.msg, "too long"));
	mb_listing_close(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_search, set_up_place,
		    tear_down_place),
		cmocka_unit_test_setup_teardown(test_read_again, set_up_place,
		    tear_down_place),
		cmocka_unit_test(test_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
