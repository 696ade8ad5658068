/*
 * fuzz_delta - any bytes as the log of a Delta table, for libFuzzer.
 *
 *	make CC=clang BUILD=build/fuzz FUZZ=1 build/fuzz/tests/fuzz_delta
 *	build/fuzz/tests/fuzz_delta -max_total_time=20 -malloc_limit_mb=2500 \
 *	    CORPUS tests/vectors/delta
 *
 * Bytes that begin as Parquet does are the checkpoint of version 0; others are
 * commits, parted by lines "---".  What can be read of them is looked at as a
 * commit looks at it, and saved as a checkpoint, which must then say the same
 * as the commits did.  Errors blame the log.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "delta/crc.h"
#include "delta/files.h"
#include "delta/gate.h"
#include "delta/save.h"
#include "delta/state.h"
#include "place.h"
#include "sink/deltamark.h"
#include "sink/deltasmall.h"

enum { MOST_VERSIONS = 8 };

static const char journal[] = "0123456789abcdef0123456789abcdef";
static const int64_t now_ms = INT64_C(1790000000000);

static struct mb_delta_log log_dir = { .place = "fuzz", .dirfd = -1 };

static void
require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_delta: %s\n", what);
	abort();
}

static void
check_error(const struct mb_err *err)
{
	if (err->code == MB_EDATA || err->code == MB_ECORRUPT)
		return;
	fprintf(stderr, "%s\n", err->msg);
	require(false, "an error that doesn't blame the log");
}

static void
leave(void)
{
	(void)remove_place();
}

static void
open_place(void)
{
	require(make_place(true) == 0, "no directory");
	atexit(leave);
	log_dir.dirfd = log_dir.tmpfd = open(place, O_RDONLY | O_DIRECTORY);
	require(log_dir.dirfd >= 0, "no directory");
}

static void
put_file(const char *name, const void *p, size_t len)
{
	struct mb_err err = { 0 };
	int fd = openat(log_dir.dirfd, name, O_WRONLY | O_CREAT | O_TRUNC,
	    0600);

	require(fd >= 0 && mb_write_all(fd, p, len, name, &err) == 0,
	    "a file can't be written");
	close(fd);
}

static void
put_log(const char *p, size_t len)
{
	struct mb_delta_checkpoint c = { 0 };
	char name[MB_DELTA_NAME];
	const char *end;

	mb_delta_commit_name(name, 0);
	if (len >= 4 && memcmp(p, "PAR1", 4) == 0) {
		put_file(name, "", 0);
		mb_delta_checkpoint_name(name, &c, 0);
		put_file(name, p, len);
		return;
	}
	for (int64_t v = 0; v < MOST_VERSIONS; v++) {
		end = memmem(p, len, "---\n", 4);
		mb_delta_commit_name(name, v);
		put_file(name, p, end == NULL ? len : (size_t)(end - p));
		if (end == NULL)
			return;
		len -= (size_t)(end + 4 - p);
		p = end + 4;
	}
}

/*
 * The files of a table: of each logical file the newest action.
 */
static void
reset_files(void *arg)
{
	mb_delta_files_release(arg);
}

static int
add_file(void *arg, struct mb_str line, struct mb_err *err)
{
	return mb_delta_files_apply(arg, line, err);
}

/* A table, and its files. */
struct table {
	struct mb_delta_state state;
	struct mb_delta_files files;
	struct mb_delta_observer observer;
};

static int
load(struct table *t)
{
	struct mb_err err = { 0 };

	*t = (struct table){ .observer = { reset_files, add_file, &t->files } };
	mb_delta_state_release(&t->state);
	t->state.observer = &t->observer;
	if (mb_delta_state_load(&t->state, &log_dir, &err) == 0)
		return 0;
	check_error(&err);
	return -1;
}

static void
release(struct table *t)
{
	mb_delta_state_release(&t->state);
	mb_delta_files_release(&t->files);
}

/* What a commit asks. */
static void
look_at(const struct mb_delta_state *s)
{
	struct mb_err err = { 0 };
	struct mb_marker marker;
	struct mb_buf text = { 0 };
	int64_t next;

	if (mb_delta_gate_append(&s->protocol, &s->meta, &s->schema, &err) < 0)
		check_error(&err);
	err = (struct mb_err){ 0 };
	if (mb_deltamark_read(&marker, s, journal, &err) < 0)
		check_error(&err);
	else
		mb_marker_release(&marker);
	(void)mb_deltamark_other(s, journal, "/j");
	next = mb_delta_state_next_time(s, now_ms);
	require(next == -1 || next >= now_ms, "a time before its time");
	(void)mb_delta_save_is_due(s);
	mb_delta_crc_put(&text, s);
	mb_buf_release(&text);
}

static void
choose_small(void)
{
	struct mb_deltasmall *small;
	struct mb_deltasmall_file v[MB_DELTA_JOIN];
	struct mb_delta_state s = { 0 };
	struct mb_err err = { 0 };

	mb_deltasmall_open(&small, journal, 1000);
	mb_delta_state_release(&s);
	s.observer = mb_deltasmall_observer(small);
	if (mb_delta_state_load(&s, &log_dir, &err) == 0)
		for (size_t n = mb_deltasmall_choose(small, 5000, v), i = 0;
		    i < n; i++)
			require(mb_deltasmall_has(small, v[i].action),
			    "a file that isn't there");
	mb_delta_state_release(&s);
	mb_deltasmall_close(small);
}

/* Every file that `a` has is one that `b` has. */
static void
compare_files(const struct mb_delta_files *a, const struct mb_delta_files *b)
{
	for (size_t i = 0; i < a->keys.n; i++) {
		ssize_t k = mb_names_index(&b->keys, a->keys.v[i]);

		if (a->v[i].is_add)
			require(k >= 0 && b->v[k].is_add, "a file was lost");
	}
}

static void
compare(const struct table *a, const struct table *b)
{
	const struct mb_delta_state *s = &a->state, *t = &b->state;

	require(s->version == t->version, "another version");
	require(strcmp(s->meta.id, t->meta.id) == 0 &&
	    strcmp(s->meta.schema, t->meta.schema) == 0, "another table");
	require(s->protocol.min_reader == t->protocol.min_reader &&
	    s->protocol.min_writer == t->protocol.min_writer &&
	    mb_names_equal(&s->protocol.writer_features,
	    &t->protocol.writer_features), "another protocol");
	for (size_t i = 0; i < s->apps.n; i++) {
		ssize_t k = mb_names_index(&t->apps, s->apps.v[i]);

		require(k >= 0 && t->txns[k].version == s->txns[i].version,
		    "a transaction was lost");
	}
	for (size_t i = 0; i < s->domains.n; i++) {
		ssize_t k = mb_names_index(&t->domains, s->domains.v[i]);

		require((k >= 0 && t->domain_texts[k] != NULL) ==
		    (s->domain_texts[i] != NULL), "a domain was lost");
	}
	compare_files(&a->files, &b->files);
	compare_files(&b->files, &a->files);
}

static void
save(const struct table *before)
{
	struct table after;
	struct mb_delta_state s = { 0 };
	struct mb_err err = { 0 };

	mb_delta_state_release(&s);
	require(mb_delta_state_load(&s, &log_dir, &err) == 0,
	    "it was read, and can't be read again");
	if (mb_delta_save(&s, &log_dir, now_ms, &err) < 0) {
		check_error(&err);
	} else {
		require(s.checkpoint.version == s.version, "no checkpoint");
		require(load(&after) == 0, "our checkpoint can't be read");
		require(after.state.checkpoint.version == s.version,
		    "our checkpoint is passed over");
		compare(before, &after);
		release(&after);
	}
	mb_delta_state_release(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct table t;

	if (log_dir.dirfd < 0)
		open_place();
	clear_directory(place);
	put_log((const char *)p, len);
	if (load(&t) == 0 && t.state.version >= 0) {
		look_at(&t.state);
		choose_small();
		if (mb_delta_gate_checkpoint(&t.state.meta, &t.state.schema))
			save(&t);
	}
	release(&t);
	return 0;
}
