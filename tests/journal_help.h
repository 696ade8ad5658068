/*
 * journal_help.h - what the tests of journals share: a place for one, lines
 * that may follow a state, and states compared.
 */
#ifndef MB_TESTS_JOURNAL_HELP_H
#define MB_TESTS_JOURNAL_HELP_H

#include <errno.h>
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

#include "journal/journal.h"
#include "journal/lines.h"
#include "place.h"

static char path[128];

static int
set_up_path(void **state)
{
	/* Thousands of journals are opened, and each opening syncs. */
	if (set_up_place_in_memory(state) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/j.mbj", place);
	return 0;
}

static int
begin_anew(void **state)
{
	(void)state;
	clear_directory(place);
	return 0;
}

static struct mb_buf
slurp(const char *name)
{
	struct mb_buf out = { 0 };
	FILE *f = fopen(name, "r");
	char bytes[65536];
	size_t n;

	if (f == NULL)
		fail_msg("%s: %s", name, strerror(errno));
	while ((n = fread(bytes, 1, sizeof bytes, f)) > 0)
		mb_buf_add(&out, bytes, n);
	fclose(f);
	return out;
}

/* In place: the inode stays. */
static void
spew(const char *name, const void *p, size_t len)
{
	FILE *f = fopen(name, "w");

	if (f == NULL || (len > 0 && fwrite(p, 1, len, f) != len) ||
	    fclose(f) != 0)
		fail_msg("%s: %s", name, strerror(errno));
}

static struct mb_journal *
open_journal(int flags)
{
	struct mb_err err = { 0 };
	struct mb_journal *j;

	if (mb_journal_open(&j, path, flags, &err) < 0)
		fail_msg("open: %s", err.msg);
	return j;
}

/* Two states are the same if they say the same. */
static char *
say(const struct mb_state *s)
{
	struct mb_buf out = { 0 };

	mb_put_checkpoint(&out, s, 0);
	return mb_buf_take(&out);
}

static void
same(const struct mb_state *a, const struct mb_state *b, const char *what)
{
	char *x = say(a), *y = say(b);

	assert_string_equal(a->id, b->id);
	if (strcmp(x, y) != 0)
		fail_msg("%s:\n%s%s", what, x, y);
	free(x);
	free(y);
}

static void
good(int rc, const struct mb_err *err)
{
	if (rc < 0)
		fail_msg("%s", err->msg);
}

/*
 * Lines that may follow a state.
 */

static void
put_run(struct mb_buf *out, const struct mb_state *s, const char *role,
    uint64_t of)
{
	size_t start = out->len;

	mb_line_begin(out, "run");
	mb_line_u64(out, "run", s->next_run);
	mb_line_str(out, "role", role);
	if (of != MB_NONE)
		mb_line_u64(out, "of", of);
	mb_line_i64(out, "pid", 4711);
	mb_line_str(out, "host", "here");
	mb_line_time(out, "time", 1700000000000);
	mb_line_seal(out, start);
}

static void
put_word(struct mb_buf *out, const char *verb, uint64_t batch)
{
	size_t start = out->len;

	mb_line_begin(out, verb);
	mb_line_u64(out, "batch", batch);
	mb_line_str(out, "reason", "said so");
	mb_line_seal(out, start);
}

static void
put_new_source(struct mb_buf *out, const struct mb_state *s,
    const char *source)
{
	char *name = mb_strdup(source), *target = mb_strdup("/log/a");
	char *fields = mb_strdup("[{\"name\":\"a\"},{\"name\":\"b\"}]");

	mb_put_source(out, &(struct mb_generation){
		.id = s->next_generation, .source = name,
		.spool = strcmp(source, "-") == 0 ? s->next_run : MB_NONE,
		.dev = 64, .ino = 1000 + s->next_generation, .format = "csv",
		.delimiter = ',', .fields = fields, .start = 4,
		.born_ns = s->next_generation % 2 == 0 ? 0 : 1700000000123456789,
		.target = s->next_generation % 3 == 0 ? target : NULL,
	});
	free(name);
	free(target);
	free(fields);
}

/* Of up to three generations that still grow. */
static bool
put_new_plan(struct mb_buf *out, const struct mb_state *s, unsigned *seed,
    uint64_t synced)
{
	struct mb_reject reject = { .reason = NULL };
	struct mb_batch b = {
		.number = s->next_batch, .run = 1, .settled = s->settled,
		.time_ms = 1700000000000 + (int64_t)s->next_batch,
	};

	for (size_t i = 0; i < s->n_generations && b.n_ranges < 3; i++) {
		const struct mb_generation *g = &s->generations[i];
		struct mb_range r = {
			.generation = g->id, .start = g->end,
			.end = g->end + 1 + (uint64_t)rand_r(seed) % 5000,
			.records = 1 + (uint64_t)rand_r(seed) % 50,
			.is_partial = rand_r(seed) % 20 == 0,
		};

		if (g->is_final || (b.n_ranges > 0 && rand_r(seed) % 2 == 0))
			continue;
		r.hash = mb_hash_bytes(&r, sizeof r.generation * 4);
		r.head = mb_hash_bytes(&r.start, sizeof r.start);
		r.tail = mb_hash_bytes(&r.end, sizeof r.end);
		mb_batch_add_range(&b, &r);
	}
	if (b.n_ranges > 0 && rand_r(seed) % 8 == 0) {
		reject = (struct mb_reject){
			.generation = b.ranges[0].generation,
			.start = b.ranges[0].end, .end = b.ranges[0].end + 9,
			.reason = mb_strdup("too \"long\""),
		};
		b.rejects = mb_alloc(sizeof reject);
		b.rejects[0] = reject;
		b.n_rejects = 1;
	}
	b.digest = mb_state_digest(s, &b);
	if (b.n_ranges > 0)
		mb_put_plan(out, &b, synced);
	mb_batch_release(&b);
	return out->len > 0;
}

static void
put_new_commit(struct mb_buf *out, uint64_t batch, uint64_t rows,
    const uint64_t *as)
{
	mb_put_commit(out, &(struct mb_commit){
		.batch = batch, .run = 2, .time_ms = 1700000001000,
		.was_found = rows == 99, .rows = rows, .records = 7, .as = as,
		.held = rows > 0 ? batch + 1 : 0,
		.target = "dir:/out \xff", .target_id = rows > 0 ? "abc" : "",
	});
}

static void
put_new_redo(struct mb_buf *out, const struct mb_batch *b)
{
	mb_put_redo(out, &(struct mb_commit){
		.batch = b->number, .run = 5, .time_ms = 1700000003000,
		.rows = b->number % 3, .records = 7, .held = b->number,
		.target = "dir:/new", .target_id = "def",
	}, &b->digest);
}

/* The batch again, under another number; some of its ranges may be gone. */
static bool
put_new_requeue(struct mb_buf *out, const struct mb_state *s,
    const struct mb_batch *old, unsigned *seed, uint64_t synced)
{
	bool is_gone[3] = { false };
	struct mb_batch b;

	if (old->state != MB_PARKED)
		return false;
	for (int i = 0; i < 3; i++)
		is_gone[i] = rand_r(seed) % 4 == 0;
	mb_state_requeue(s, old, is_gone, &b);
	b.run = 4;
	b.time_ms = s->time_ms;
	mb_put_plan(out, &b, synced);
	mb_batch_release(&b);
	return true;
}

/* Any line that may follow; false if the dice fell badly. */
static bool
put_any(struct mb_buf *out, const struct mb_state *s, unsigned *seed,
    uint64_t synced)
{
	static const char *const sources[] = { "/var/log/a", "/b \xfe", "-" };
	const struct mb_batch *b = s->n_batches == 0 ? NULL :
	    &s->batches[(size_t)rand_r(seed) % s->n_batches];

	const struct mb_generation *g = s->n_generations == 0 ? NULL :
	    &s->generations[(size_t)rand_r(seed) % s->n_generations];

	mb_buf_reset(out);
	switch (rand_r(seed) % 17) {
	case 0:
		put_run(out, s, "collect", MB_NONE);
		return true;
	case 1:
		put_run(out, s, rand_r(seed) % 2 ? "commit" : "replay",
		    s->collector_run);
		return true;
	case 2:
		put_new_source(out, s, sources[rand_r(seed) % 3]);
		return true;
	case 3: case 4: case 5: case 6:
		return put_new_plan(out, s, seed, synced);
	case 7: case 8: case 9:
		if (b == NULL || b->state == MB_COMMITTED ||
		    b->state == MB_VOID)
			return false;
		put_new_commit(out, b->number, (uint64_t[]){ 0, 5, 99 }
		    [rand_r(seed) % 3], b->n_from > 0 && rand_r(seed) % 2 ?
		    &b->from[0] : NULL);
		return true;
	case 10:
		if (g != NULL)
			mb_put_final(out, g->id);
		return g != NULL;
	case 11:
		if (g != NULL)
			mb_put_forget(out, (uint64_t[]){ g->id, 0 }, 2);
		return g != NULL;
	case 12:
		if (g == NULL)
			return false;
		mb_put_lost(out, &(struct mb_lost){
			.generation = g->id, .start = g->end,
			.end = rand_r(seed) % 2 ? MB_NONE : g->end + 100,
			.time_ms = 1700000003000, .reason = "a \"cat\"",
		});
		return true;
	case 13:
		if (b == NULL)
			return false;
		mb_put_fail(out, b->number, 3, 1700000002000,
		    rand_r(seed) % 2 ? 65 : 75, "no \"room\"");
		return true;
	case 14:
		return b != NULL && put_new_requeue(out, s, b, seed, synced);
	case 15:
		if (b == NULL || b->state != MB_COMMITTED)
			return false;
		put_new_redo(out, b);
		return true;
	default:
		if (b == NULL || (b->state != MB_PLANNED &&
		    b->state != MB_PARKED))
			return false;
		put_word(out, b->state == MB_PLANNED ? "park" : "unpark",
		    b->number);
		return true;
	}
}

static void
put_open(struct mb_buf *out)
{
	size_t start = out->len;

	mb_line_begin(out, "open");
	mb_line_u64(out, "version", 1);
	mb_line_str(out, "id", "0123456789abcdef0123456789abcdef");
	mb_line_u64(out, "base", 0);
	mb_line_seal(out, start);
}

static void
fold(struct mb_state *s, const struct mb_buf *lines)
{
	const char *p = lines->p, *end = p + lines->len, *newline;
	struct mb_err err = { 0 };

	for (; p < end; p = newline + 1) {
		newline = memchr(p, '\n', (size_t)(end - p));
		if (mb_state_apply(s, (struct mb_str){ p,
		    (size_t)(newline - p) }, &err) < 0)
			fail_msg("%s\n%.*s", err.msg, (int)(newline - p), p);
	}
}

static void
append(struct mb_journal *j, const struct mb_buf *line)
{
	struct mb_err err = { 0 };

	good(mb_journal_append(j, line, &err), &err);
}

/*
 * A checkpoint in one line or in several; with is_whole unset its maker may
 * have died before the last one.
 */
static void
put_any_checkpoint(struct mb_buf *out, const struct mb_state *s,
    uint64_t synced, unsigned *seed, bool is_whole)
{
	struct mb_checkpoint c = { .most = (size_t)rand_r(seed) % 4 };

	while (mb_put_checkpoint_line(out, s, synced, &c))
		if (!is_whole && rand_r(seed) % 4 == 0)
			return;
}

/* Plan a batch, and commit it unless rows is MB_NONE. */
static void
add_batch(struct mb_journal *j, uint64_t rows, bool is_synced)
{
	const struct mb_state *s = mb_journal_state(j);
	struct mb_buf line = { 0 };
	struct mb_err err = { 0 };
	unsigned seed = (unsigned)s->next_batch + 1;

	good(mb_journal_enter(j, &err), &err);
	if (s->n_generations == 0) {
		put_new_source(&line, s, "/in.csv");
		good(mb_journal_write(j, &line, &err), &err);
		mb_buf_reset(&line);
	}
	put_new_plan(&line, s, &seed, mb_journal_synced(j));
	good(mb_journal_write(j, &line, &err), &err);
	mb_journal_leave(j);
	if (is_synced)
		good(mb_journal_sync(j, &err), &err);
	mb_buf_reset(&line);
	if (rows != MB_NONE) {
		put_new_commit(&line, s->next_batch - 1, rows, NULL);
		append(j, &line);
	}
	mb_buf_release(&line);
}

static void
add_run(struct mb_journal *j, const char *role, uint64_t of)
{
	char *argv[] = { (char[]){ "mb-x" }, (char[]){ "a \"b\"" }, NULL };
	struct mb_err err = { 0 };
	uint64_t run, expected = mb_journal_state(j)->next_run;

	good(mb_journal_run(j, &run, role, of, argv, 1700000000000, &err),
	    &err);
	assert_true(run >= expected);
}

/* What stands in the file, folded from its start, in a state of its own. */
static void
same_as_file(struct mb_journal *j, const char *what)
{
	struct mb_buf bytes = slurp(path);
	struct mb_state s;

	mb_state_init(&s, false);
	fold(&s, &bytes);
	same(mb_journal_state(j), &s, what);
	mb_state_release(&s);
	mb_buf_release(&bytes);
}

#endif
