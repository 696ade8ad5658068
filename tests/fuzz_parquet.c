/*
 * fuzz_parquet - any bytes as a Parquet file, for libFuzzer.
 *
 *	make CC=clang BUILD=build/fuzz FUZZ=1 build/fuzz/tests/fuzz_parquet
 *	build/fuzz/tests/fuzz_parquet -max_total_time=20 -malloc_limit_mb=2500 \
 *	    CORPUS tests/vectors/parquet
 *
 * (A page may claim 1 GiB, which is asked for and then not touched.)
 *
 * Every leaf of every row group is read, by rows and by runs.  What comes out
 * must keep what reader.h says: levels that can be, bytes that can be read,
 * errors that are MB_EDATA and name the file, and the same by either way.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "parquet/reader.h"

enum { MOST = 20000 };		/* entries of a leaf: more are more of the same */

struct bytes {
	const uint8_t *p;
	size_t len;
};

static void
require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_parquet: %s\n", what);
	abort();
}

static int
read_bytes(void *arg, void *p, size_t len, uint64_t off, struct mb_err *err)
{
	const struct bytes *b = arg;

	(void)err;
	require(off <= b->len && len <= b->len - off, "read beyond the file");
	if (len > 0)
		memcpy(p, b->p + off, len);
	return 0;
}

static bool
has_bytes(const struct mb_parquet_leaf *l)
{
	return l->type.kind == MB_PARQUET_TEXT ||
	    l->type.kind == MB_PARQUET_BINARY ||
	    (l->type.kind == MB_PARQUET_OTHER &&
	    l->physical >= MB_PARQUET_P_BYTES);
}

static uint64_t
look_at(const struct mb_parquet_leaf *l, const struct mb_parquet_entry *e)
{
	require(e->level <= l->top, "a level above the highest");
	require(!e->is_repeated || l->repeated > 0, "a row of two entries");
	if (e->level < l->top)
		return e->level;
	if (has_bytes(l))
		return mb_hash64(e->value.bytes.p, e->value.bytes.len, 1);
	return (uint64_t)e->value.i;
}

static void
check_error(const struct mb_err *err)
{
	require(err->code == MB_EDATA, "an error that isn't MB_EDATA");
	require(strncmp(err->msg, "fuzz: ", 6) == 0,
	    "an error that doesn't name the file");
}

/* The sum over the entries; the number of them in *n. */
static uint64_t
read_leaf(struct mb_parquet_reader *r, size_t leaf, size_t group,
    bool by_rows, size_t *n)
{
	const struct mb_parquet_leaf *l = mb_parquet_leaf(r, leaf);
	struct mb_err err = { 0 };
	struct mb_parquet_cursor *c;
	struct mb_parquet_entries e;
	uint64_t sum = 0, rows = 0;
	int rc = 1;

	*n = 0;
	if (mb_parquet_cursor_open(&c, r, leaf, group, &err) < 0) {
		check_error(&err);
		return 0;
	}
	while (*n < MOST) {
		rc = by_rows ? mb_parquet_cursor_row(c, &e, &err) :
		    mb_parquet_cursor_run(c, &e, &err);
		if (rc <= 0)
			break;
		require(e.n > 0, "nothing was found");
		require(!by_rows || !e.v[0].is_repeated,
		    "a row that begins in the middle");
		for (size_t i = 0; i < e.n && *n < MOST; i++, ++*n) {
			require(!by_rows || i == 0 || e.v[i].is_repeated,
			    "two rows for one");
			rows += !e.v[i].is_repeated;
			sum = sum * 31 + look_at(l, &e.v[i]);
		}
	}
	if (rc < 0)
		check_error(&err);
	if (rc == 0)
		require(rows == mb_parquet_group_rows(r, group),
		    "not as many rows as it says");
	mb_parquet_cursor_close(c);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct bytes bytes = { p, len };
	struct mb_err err = { 0 };
	struct mb_parquet_reader *r;
	struct mb_parquet_claims claims;
	size_t n_rows, n_runs;
	uint64_t by_rows, by_runs;

	if (mb_parquet_reader_open(&r, read_bytes, &bytes, len, "fuzz",
	    &err) < 0) {
		check_error(&err);
		return 0;
	}
	for (size_t g = 0; g < mb_parquet_n_groups(r) && g < 4; g++)
		for (size_t i = 0; i < mb_parquet_n_leaves(r) && i < 40;
		    i++) {
			mb_parquet_claims(r, i, g, &claims);
			by_rows = read_leaf(r, i, g, true, &n_rows);
			by_runs = read_leaf(r, i, g, false, &n_runs);
			/* A row that isn't whole comes only in runs. */
			require(n_rows > n_runs || n_rows < n_runs ||
			    by_rows == by_runs, "rows and runs differ");
		}
	mb_parquet_reader_close(r);
	return 0;
}
