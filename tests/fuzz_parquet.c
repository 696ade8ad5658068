/*
 * fuzz_parquet - any bytes as a Parquet file, for libFuzzer.
 *
 *	make CC=clang BUILD=build/fuzz FUZZ=1 build/fuzz/tests/fuzz_parquet
 *	build/fuzz/tests/fuzz_parquet -max_total_time=20 -malloc_limit_mb=2500 \
 *	    CORPUS tests/vectors/parquet
 *
 * (A page may claim 1 GiB, which is asked for and then not touched.)
 *
 * Every leaf of every row group is read.  What comes out must keep what
 * reader.h says: levels that can be, bytes that can be read, errors that are
 * MB_EDATA and name the file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "parquet/reader.h"

enum { MOST = 20000 };		/* entries of a leaf: more are more of the same */

static void
require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_parquet: %s\n", what);
	abort();
}

/* The bytes in a file, which is the next one's, too. */
static int
put_file(const uint8_t *p, size_t len)
{
	static int fd = -1;
	struct mb_err err = { 0 };

	if (fd < 0)
		fd = memfd_create("fuzz_parquet", MFD_CLOEXEC);
	require(fd >= 0 && ftruncate(fd, 0) == 0 &&
	    lseek(fd, 0, SEEK_SET) == 0 &&
	    mb_write_all(fd, p, len, "memfd", &err) == 0, "no file");
	return fd;
}

static bool
has_bytes(const struct mb_parquet_leaf *l)
{
	return l->type.kind == MB_PARQUET_TEXT ||
	    l->type.kind == MB_PARQUET_BINARY ||
	    (l->type.kind == MB_PARQUET_OTHER &&
	    l->physical >= MB_PARQUET_P_BYTES);
}

static void
look_at(const struct mb_parquet_leaf *l, const struct mb_parquet_entry *e)
{
	require(e->level <= l->top, "a level above the highest");
	require(!e->is_repeated || l->repeated > 0, "a row of two entries");
	/* For ASan: each of them can be read. */
	if (e->level == l->top && has_bytes(l))
		(void)mb_hash64(e->value.bytes.p, e->value.bytes.len, 1);
}

static void
check_error(const struct mb_err *err)
{
	require(err->code == MB_EDATA, "an error that isn't MB_EDATA");
	require(strncmp(err->msg, "fuzz: ", 6) == 0,
	    "an error that doesn't name the file");
	require(strstr(err->msg, "has become shorter") == NULL,
	    "read beyond the file");
}

static void
read_leaf(struct mb_parquet_reader *r, size_t leaf, size_t group)
{
	const struct mb_parquet_leaf *l = mb_parquet_leaf(r, leaf);
	struct mb_err err = { 0 };
	struct mb_parquet_cursor *c;
	struct mb_parquet_entries e;
	uint64_t rows = 0;
	size_t n = 0;
	int rc = 1;

	if (mb_parquet_cursor_open(&c, r, leaf, group, &err) < 0) {
		check_error(&err);
		return;
	}
	while (n < MOST && (rc = mb_parquet_cursor_row(c, &e, &err)) > 0) {
		require(e.n > 0, "nothing was found");
		rows++;
		for (size_t i = 0; i < e.n && n < MOST; i++, n++) {
			require(e.v[i].is_repeated == (i > 0), i > 0 ?
			    "two rows for one" :
			    "a row that begins in the middle");
			look_at(l, &e.v[i]);
		}
	}
	if (rc < 0)
		check_error(&err);
	if (rc == 0)
		require(rows == mb_parquet_group_rows(r, group),
		    "not as many rows as it says");
	mb_parquet_cursor_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct mb_err err = { 0 };
	struct mb_parquet_reader *r;
	struct mb_parquet_claims claims;

	if (mb_parquet_reader_open(&r, put_file(p, len), "fuzz", &err) < 0) {
		check_error(&err);
		return 0;
	}
	for (size_t g = 0; g < mb_parquet_n_groups(r) && g < 4; g++)
		for (size_t i = 0; i < mb_parquet_n_leaves(r) && i < 40;
		    i++) {
			mb_parquet_claims(r, i, g, &claims);
			read_leaf(r, i, g);
		}
	mb_parquet_reader_close(r);
	return 0;
}
