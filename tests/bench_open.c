/*
 * bench_open.c - make a journal of N committed batches, and time its opening.
 *
 *	bench_open DIRECTORY N
 *
 * Prints "lines bytes milliseconds" (the median of nine openings).
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "journal/journal.h"
#include "journal/lines.h"

static void
check(int rc, const struct mb_err *err)
{
	if (rc < 0) {
		fprintf(stderr, "bench_open: %s\n", err->msg);
		exit(1);
	}
}

static void
put_batch(struct mb_journal *j, uint64_t n, struct mb_buf *lines,
    struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(j);
	struct mb_hash hash = mb_hash_bytes(&n, sizeof n);
	struct mb_range r = {
		.start = n * 100, .end = n * 100 + 100, .records = 10,
		.hash = hash, .head = hash, .tail = hash,
	};
	struct mb_batch b = {
		.number = n, .settled = s->settled, .ranges = &r,
		.n_ranges = 1,
	};
	struct mb_commit c = {
		.batch = n, .rows = 10, .records = 10, .held = n + 1,
		.target = "dir:/srv/out", .target_id = s->id,
	};
	char source[] = "/srv/access.csv";
	struct mb_generation g = {
		.source = source, .spool = MB_NONE, .format = "csv",
		.delimiter = ',',
	};

	check(mb_journal_enter(j, err), err);
	mb_buf_reset(lines);
	if (n == 0)
		mb_put_source(lines, &g);
	b.digest = mb_state_digest(s, &b);
	mb_put_plan(lines, &b, mb_journal_synced(j));
	mb_put_commit(lines, &c);
	check(mb_journal_write(j, lines, err), err);
	mb_journal_leave(j);
	check(mb_journal_tidy(j, MB_NONE, err), err);
}

static int
compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int
main(int argc, char **argv)
{
	struct mb_err err = { 0 };
	struct mb_buf lines = { 0 }, path = { 0 };
	uint64_t n = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	struct mb_journal *j;
	struct stat st;
	int64_t us[9];

	if (n == 0) {
		fprintf(stderr, "usage: bench_open DIRECTORY N\n");
		return 64;
	}
	mb_buf_addf(&path, "%s/bench.mbj", argv[1]);
	check(mb_journal_open(&j, mb_buf_str(&path), MB_JOURNAL_CREATE, &err),
	    &err);
	for (uint64_t i = 0; i < n; i++)
		put_batch(j, i, &lines, &err);
	mb_journal_close(j);
	for (size_t i = 0; i < 9; i++) {
		us[i] = mb_clock_steady_us();
		check(mb_journal_open(&j, path.p, 0, &err), &err);
		us[i] = mb_clock_steady_us() - us[i];
		if (mb_journal_state(j)->next_batch != n)
			return 1;
		mb_journal_close(j);
	}
	qsort(us, 9, sizeof *us, compare);
	stat(path.p, &st);
	printf("%llu %lld %.2f\n", (unsigned long long)n * 2,
	    (long long)st.st_size, (double)us[4] / 1000);
	mb_buf_release(&lines);
	mb_buf_release(&path);
	return 0;
}
