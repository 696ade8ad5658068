/*
 * source/spool.h: what was appended is read back, over segments, openings and
 * deaths on the way.
 */
#include "source/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "place.h"

enum { SEGMENT = 16 << 20 };

static struct mb_journal *journal;

static struct mb_journal *
open_journal(const char *name)
{
	struct mb_err err = { 0 };
	struct mb_journal *j;
	char path[128];

	snprintf(path, sizeof path, "%s/%s", place, name);
	if (mb_journal_open(&j, path, MB_JOURNAL_CREATE | MB_JOURNAL_ALL,
	    &err) < 0)
		fail_msg("%s", err.msg);
	return j;
}

static int
set_up(void **state)
{
	(void)state;
	if (make_place(true) < 0)
		return -1;
	journal = open_journal("j.mbj");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	mb_journal_close(journal);
	return remove_place();
}

static void
good(int64_t rc, const struct mb_err *err)
{
	if (rc < 0)
		fail_msg("code %d: %s", err->code, err->msg);
}

static struct mb_spool *
open_spool(uint64_t run, uint64_t planned, enum mb_spool_use use)
{
	struct mb_err err = { 0 };
	struct mb_spool *s;

	good(mb_spool_open(&s, journal, run, planned, use, &err), &err);
	return s;
}

/* What stands at an offset; differs at every one of them. */
static void
pattern(char *p, size_t len, uint64_t off)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (char)((off + i) * 0x9e3779b97f4a7c15 >> 56);
}

static void
append(struct mb_spool *s, size_t len)
{
	struct mb_err err = { 0 };
	char *p = mb_alloc(len);

	pattern(p, len, mb_spool_end(s));
	good(mb_spool_append(s, p, len, &err), &err);
	good(mb_spool_sync(s, &err), &err);
	free(p);
}

/* There are exactly the bytes from `start` to `end`. */
static void
holds(struct mb_spool *s, uint64_t start, uint64_t end)
{
	size_t len = (size_t)(end - start);
	char *p = mb_alloc(len + 1), *want = mb_alloc(len + 1);
	struct mb_err err = { 0 };

	assert_int_equal(mb_spool_end(s), end);
	assert_int_equal(mb_spool_read(s, p, len + 1, start, &err), len);
	pattern(want, len, start);
	assert_true(memcmp(p, want, len) == 0);
	if (start > 0)
		assert_int_equal(mb_spool_read(s, p, 1, start - 1, &err), 0);
	free(p);
	free(want);
}

static int
open_segment(uint64_t run, uint64_t start, int flags)
{
	char name[256];

	snprintf(name, sizeof name, "%s/j.mbj.d/spool/%010" PRIu64 "-%020"
	    PRIu64, place, run, start);
	return open(name, flags | O_CLOEXEC, 0600);
}

static void
test_spool(void **state)
{
	struct mb_err err = { 0 };
	struct mb_spool *s = open_spool(3, 0, MB_SPOOL_RESUME);
	uint64_t *runs;
	size_t n;
	static const struct {
		enum mb_spool_use use;
		uint64_t planned, end;
	} cases[] = {
		{ MB_SPOOL_READ, 0, 7000 },
		{ MB_SPOOL_RESUME, 1000, 7000 },	/* the same boot */
		{ MB_SPOOL_AGAIN, 7000, 7000 },
		{ MB_SPOOL_AGAIN, 6999, 6999 },
		{ MB_SPOOL_AGAIN, 5000, 5000 },
		{ MB_SPOOL_READ, 1, 5000 },
		{ MB_SPOOL_AGAIN, 1, 1 },
	};

	(void)state;
	holds(s, 0, 0);
	append(s, 2000);
	append(s, 3000);
	holds(s, 0, 5000);
	mb_spool_close(s);
	/* Whoever appends after an opening begins a segment. */
	s = open_spool(3, 0, MB_SPOOL_RESUME);
	append(s, 2000);
	mb_spool_close(s);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		s = open_spool(3, cases[i].planned, cases[i].use);
		holds(s, 0, cases[i].end);
		mb_spool_close(s);
	}
	/* Nothing is there: where the next anchors need it to begin. */
	s = open_spool(4, 10000, MB_SPOOL_AGAIN);
	assert_int_equal(mb_spool_end(s), 10000 - MB_ANCHOR);
	append(s, 5000);
	holds(s, 10000 - MB_ANCHOR, 15000 - MB_ANCHOR);
	mb_spool_close(s);
	good(mb_spool_list(journal, &runs, &n, &err), &err);
	assert_int_equal(n, 2);
	assert_true(runs[0] == 3 && runs[1] == 4);
	free(runs);
	good(mb_spool_remove(journal, 4, &err), &err);
	good(mb_spool_list(journal, &runs, &n, &err), &err);
	assert_true(n == 1 && runs[0] == 3);
	free(runs);
}

static void
test_spool_segments(void **state)
{
	enum { CUT = SEGMENT + 100, END = SEGMENT + 5000 };
	struct mb_err err = { 0 };
	struct mb_spool *s = open_spool(0, 0, MB_SPOOL_RESUME);
	int fd;

	(void)state;
	append(s, END);
	good(mb_spool_cut(s, SEGMENT - 1, &err), &err);	/* too early */
	assert_int_equal(open_segment(0, SEGMENT - 1, O_RDONLY), -1);
	/* Bytes behind the cut move, also when they weren't synced. */
	good(mb_spool_cut(s, CUT, &err), &err);
	holds(s, 0, END);
	append(s, 3000);
	holds(s, 0, END + 3000);
	mb_spool_close(s);
	/* It died while it moved them: the segment is shorter than what is
	 * before it, and goes. */
	fd = open_segment(0, CUT, O_RDWR);
	assert_int_equal(ftruncate(fd, 1000), 0);
	close(fd);
	s = open_spool(0, CUT, MB_SPOOL_READ);
	holds(s, 0, END);
	mb_spool_close(s);
	s = open_spool(0, CUT, MB_SPOOL_RESUME);
	holds(s, 0, END);
	assert_int_equal(open_segment(0, CUT, O_RDONLY), -1);
	good(mb_spool_cut(s, CUT, &err), &err);
	good(mb_spool_sync(s, &err), &err);
	mb_spool_close(s);
	s = open_spool(0, CUT, MB_SPOOL_RESUME);
	/* Released is what lies before the segment with the offset. */
	good(mb_spool_release(s, CUT - 1, &err), &err);
	holds(s, 0, END);
	good(mb_spool_release(s, CUT, &err), &err);
	holds(s, CUT, END);
	good(mb_spool_release(s, UINT64_MAX, &err), &err);
	holds(s, CUT, END);		/* the last one stays */
	mb_spool_close(s);
	s = open_spool(0, END, MB_SPOOL_RESUME);
	holds(s, CUT, END);
	mb_spool_close(s);
}

static void
test_spool_foreign(void **state)
{
	static const char torn[] = "{\"mb\":\"spool\",\"journal\":\"01";
	struct mb_err err = { 0 };
	struct mb_journal *mine = journal;
	struct mb_spool *s = open_spool(1, 0, MB_SPOOL_RESUME);
	char from[128], to[128];
	int fd;

	(void)state;
	append(s, 100);
	mb_spool_close(s);
	/* Without a whole head: as if it weren't there. */
	fd = open_segment(1, 100, O_RDWR | O_CREAT);
	assert_int_equal(write(fd, torn, sizeof torn - 1), sizeof torn - 1);
	close(fd);
	s = open_spool(1, 0, MB_SPOOL_READ);
	holds(s, 0, 100);
	mb_spool_close(s);
	fd = open_segment(1, 100, O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	s = open_spool(1, 0, MB_SPOOL_RESUME);
	assert_int_equal(open_segment(1, 100, O_RDONLY), -1);
	append(s, 50);
	holds(s, 0, 150);
	mb_spool_close(s);
	fd = open_segment(1, 100, O_RDONLY);
	assert_true(fd >= 0);		/* the old one may be another boot's */
	close(fd);
	/* Another journal's. */
	journal = open_journal("k.mbj");
	mb_spool_close(open_spool(1, 0, MB_SPOOL_RESUME));
	mb_journal_close(journal);
	journal = mine;
	snprintf(from, sizeof from, "%s/j.mbj.d/spool", place);
	snprintf(to, sizeof to, "%s/k.mbj.d/spool", place);
	assert_int_equal(rmdir(to), 0);
	assert_int_equal(rename(from, to), 0);
	journal = open_journal("k.mbj");
	assert_int_equal(mb_spool_open(&s, journal, 1, 0, MB_SPOOL_READ, &err),
	    -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	assert_non_null(strstr(err.msg, "belongs to journal"));
	mb_journal_close(journal);
	journal = mine;
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_spool),
		TEST(test_spool_segments),
		TEST(test_spool_foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
