/* lib/source: where batches are cut, what a pipe leaves and repeats; neither
 * depends on how the bytes came. */
#include "source/cut.h"
#include "source/emit.h"
#include "source/pipe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/lines.h"
#include "place.h"

static uint64_t rng;
static char path[128];

static unsigned
pick(unsigned n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(rng >> 33) % n;
}

static int
set_up(void **state)
{
	if (set_up_place_in_memory(state) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/j.mbj", place);
	return 0;
}

static void
ok(int rc, const struct mb_err *err)
{
	if (rc < 0)
		fail_msg("code %d: %s", err->code, err->msg);
}

static struct mb_journal *
open_journal(uint64_t *run)
{
	char *args[] = { (char *)"test", NULL };
	struct mb_journal *j;
	struct mb_err err = { 0 };

	ok(mb_journal_open(&j, path, MB_JOURNAL_CREATE, &err), &err);
	ok(mb_journal_run(j, run, "collect", MB_NONE, args, 1000, &err), &err);
	return j;
}

/* As mb-collect does it. */
static void
plan(struct mb_journal *j, struct mb_cutter *c, struct mb_batch *b)
{
	struct mb_err err = { 0 };
	struct mb_buf lines = { 0 };
	struct mb_input *changed;
	const struct mb_state *s = mb_journal_state(j);

	ok(mb_cut_take(c, b, &lines, &changed, &err), &err);
	assert_null(changed);
	ok(mb_journal_enter(j, &err), &err);
	b->number = s->next_batch;
	b->run = s->collector_run;
	b->settled = s->settled;
	b->time_ms = 1000;
	b->digest = mb_state_digest(s, b);
	mb_put_plan(&lines, b, mb_journal_synced(j));
	ok(mb_journal_write(j, &lines, &err), &err);
	mb_journal_leave(j);
	mb_cut_planned(c);
	mb_buf_release(&lines);
}

static void
commit(struct mb_journal *j, uint64_t batch)
{
	struct mb_commit line = {
		.batch = batch, .time_ms = 1000, .rows = 1, .target = "t",
		.target_id = "i",
	};
	struct mb_buf out = { 0 };
	struct mb_err err = { 0 };

	mb_put_commit(&out, &line);
	ok(mb_journal_append(j, &out, &err), &err);
	mb_buf_release(&out);
}

/* "[0-4 4-9] x9-12 ..." with the input's letter: a batch as text. */
static void
note_batch(struct mb_buf *out, struct mb_journal *j, const struct mb_batch *b)
{
	mb_buf_addc(out, '[');
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *r = &b->ranges[i];
		const struct mb_generation *g = mb_state_generation(
		    mb_journal_state(j), r->generation);

		mb_buf_addf(out, "%s%s%" PRIu64 "-%" PRIu64 ":%" PRIu64 "%s",
		    i > 0 ? " " : "", g->source, r->start, r->end, r->records,
		    r->is_partial ? "p" : "");
	}
	for (size_t i = 0; i < b->n_rejects; i++)
		mb_buf_addf(out, " x%" PRIu64 "-%" PRIu64,
		    b->rejects[i].start, b->rejects[i].end);
	mb_buf_addc(out, ']');
	mb_buf_str(out);
}

/* A file with what text says; the descriptor is for reading. */
static int
make_file(const char *name, const char *text, size_t len)
{
	char full[256];
	int fd;

	snprintf(full, sizeof full, "%s/%s", place, name);
	fd = open(full, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	return fd;
}

/* Scan to the end of everything, cutting where the cutter says so. */
static void
cut_all(struct mb_buf *out, struct mb_journal *j, struct mb_cutter *c)
{
	struct mb_err err = { 0 };
	int rc;

	for (;;) {
		struct mb_batch b = { 0 };

		while ((rc = mb_cut_scan(c, &err)) == MB_CUT_MORE)
			;
		ok(rc, &err);
		if (!mb_cut_has_batch(c))
			return;
		plan(j, c, &b);
		note_batch(out, j, &b);
		mb_batch_release(&b);
	}
}

static struct mb_cut_options
options(const char *format)
{
	return (struct mb_cut_options){
		.format = format, .has_header = true,
		.max_bytes = 1 << 20, .record_limit = 1 << 20,
	};
}

/* One input, whole: what are the batches? */
static void
test_cuts(void **state)
{
	static const struct {
		const char *text, *format;
		uint64_t max_records, max_bytes, limit;
		bool is_final, no_header;
		const char *batches;
	} cases[] = {
		{ "1\n2\n3\n", "lines", 0, 0, 0, 0, 0, "[a0-6:3]" },
		{ "1\n2\n3\n", "lines", 2, 0, 0, 0, 0, "[a0-4:2][a4-6:1]" },
		{ "1\n2\n3", "lines", 2, 0, 0, 0, 0, "[a0-4:2]" },
		{ "1\n2\n3", "lines", 2, 0, 0, 1, 0, "[a0-4:2][a4-5:1p]" },
		{ "1\n2\n3", "lines", 3, 0, 0, 1, 0, "[a0-5:3p]" },
		/* max-bytes: never beyond, but for a single record. */
		{ "1\n22\n3\n", "lines", 0, 5, 0, 0, 0, "[a0-5:2][a5-7:1]" },
		{ "1\n22\n3\n", "lines", 0, 4, 0, 0, 0,
		    "[a0-2:1][a2-5:1][a5-7:1]" },
		{ "1\n22\n3\n", "lines", 0, 1, 0, 0, 0,
		    "[a0-2:1][a2-5:1][a5-7:1]" },
		{ "4444\n1\n1\n", "lines", 0, 4, 0, 0, 0,
		    "[a0-5:1][a5-9:2]" },
		{ "1\n2\n3\n4\n5\n", "lines", 3, 4, 0, 0, 0,
		    "[a0-4:2][a4-8:2][a8-10:1]" },
		/* Headers, BOM, blank lines. */
		{ "a,b\n1,2\n", "csv", 0, 0, 0, 0, 0, "[a4-8:1]" },
		{ "a,b\n1,2\n", "csv", 0, 0, 0, 0, 1, "[a0-8:2]" },
		{ "\xef\xbb\xbf" "a\r\n1\r\n", "csv", 0, 0, 0, 0, 0, "[a6-9:1]" },
		{ "\xef\xbb\xbf" "1\n", "lines", 0, 0, 0, 0, 0, "[a3-5:1]" },
		{ "a\n", "csv", 0, 0, 0, 1, 0, "" },
		{ "a", "csv", 0, 0, 0, 1, 0, "" },
		{ "", "csv", 0, 0, 0, 1, 0, "" },
		{ "a\n\n1\n\n\n2\n\n", "csv", 1, 0, 0, 0, 0,
		    "[a2-5:1][a5-9:1]" },
		/* Quoted newlines, CR alone. */
		{ "a\n\"1\n1\"\n2\n", "csv", 1, 0, 0, 0, 0,
		    "[a2-8:1][a8-10:1]" },
		{ "a\n1\r2\n", "csv", 1, 0, 0, 0, 0, "[a2-4:1][a4-6:1]" },
		/* Rejects: too long, a quote left open. */
		{ "1\n55555\n2\n", "lines", 0, 0, 5, 0, 0,
		    "[a0-2:1 a8-10:1 x2-8]" },
		{ "55555\n", "lines", 0, 0, 5, 0, 0, "[ x0-6]" },
		{ "4444\n", "lines", 0, 0, 5, 0, 0, "[a0-5:1]" },
		{ "55555\n1\n", "lines", 1, 0, 5, 0, 0, "[a6-8:1 x0-6]" },
		{ "1\n55555\n2\n", "lines", 1, 0, 5, 0, 0,
		    "[a0-2:1][a8-10:1 x2-8]" },
		{ "a\n1\n\"2\n3\n", "csv", 0, 0, 0, 1, 0,
		    "[a2-4:1 a7-9:1 x4-7]" },
		{ "a\n1\n\"2\n3\n", "csv", 0, 0, 0, 0, 0, "[a2-4:1]" },
		{ "a\n\"1\n\"2\n\"3", "csv", 0, 0, 0, 1, 0,
		    "[ x2-5 x5-8 x8-10]" },
		{ "{\"a\":1}\n \n{}", NULL, 0, 0, 0, 1, 0, "[a0-12:2p]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = strlen(cases[i].text);
		struct mb_cut_options o = options(cases[i].format);
		/* At once, and growing byte by byte. */
		for (int grows = 0; grows < 2; grows++) {
			struct mb_buf got = { 0 };
			struct mb_content *content;
			struct mb_cutter *c;
			struct mb_input *in;
			struct mb_err err = { 0 };
			struct mb_journal *j;
			uint64_t run;
			int fd, rc;

			clear_directory(place);
			j = open_journal(&run);
			o.has_header = !cases[i].no_header;
			o.max_records = cases[i].max_records;
			if (cases[i].max_bytes > 0)
				o.max_bytes = cases[i].max_bytes;
			if (cases[i].limit > 0)
				o.record_limit = cases[i].limit;
			c = mb_cut_open(&o, j);
			fd = make_file("f", cases[i].text, len);
			content = mb_content_take(dup(fd), "f", j);
			in = mb_input_add(c, 0, "a", MB_NONE, content, NULL);
			for (size_t at = 1; grows && at < len; at++) {
				ok(mb_content_seal(content, at, &err), &err);
				while ((rc = mb_cut_scan(c, &err)) ==
				    MB_CUT_MORE)
					;
				ok(rc, &err);
				while (rc == MB_CUT_FULL) {
					struct mb_batch b = { 0 };

					plan(j, c, &b);
					note_batch(&got, j, &b);
					mb_batch_release(&b);
					while ((rc = mb_cut_scan(c, &err)) ==
					    MB_CUT_MORE)
						;
				}
			}
			ok(mb_content_seal(content, len, &err), &err);
			mb_input_final(in, cases[i].is_final);
			cut_all(&got, j, c);
			if (strcmp(mb_buf_str(&got), cases[i].batches) != 0)
				fail_msg("case %zu, %s: got %s, expected %s", i,
				    grows ? "growing" : "whole", got.p,
				    cases[i].batches);
			mb_cut_close(c);
			mb_content_close(content);
			close(fd);
			mb_journal_close(j);
			mb_buf_release(&got);
		}
	}
}

/* Several inputs: by rank, then name; a header each batch. */
static void
test_inputs(void **state)
{
	static const struct {
		const char *name, *text;
		unsigned rank;
	} files[] = {
		{ "b", "h\n1\n", 1 }, { "a", "h\n2\n", 1 }, { "c", "h\n3\n", 0 },
		{ "d", "x\n4\n", 0 }, { "e", "x\n5\n", 2 },
	};
	enum { N = sizeof files / sizeof *files };
	struct mb_cut_options o = options("csv");
	struct mb_content *contents[N];
	struct mb_input *inputs[N];
	struct mb_buf got = { 0 };
	struct mb_journal *j;
	struct mb_cutter *c;
	uint64_t run;
	int fds[N];

	(void)state;
	clear_directory(place);
	j = open_journal(&run);
	c = mb_cut_open(&o, j);
	for (size_t i = 0; i < N; i++) {
		fds[i] = make_file(files[i].name, files[i].text,
		    strlen(files[i].text));
		contents[i] = mb_content_take(dup(fds[i]), files[i].name,
		    j);
		inputs[i] = mb_input_add(c, files[i].rank, files[i].name,
		    MB_NONE, contents[i], NULL);
		mb_input_final(inputs[i], true);
	}
	assert_false(mb_input_is_done(inputs[3]));
	cut_all(&got, j, c);
	assert_string_equal(mb_buf_str(&got),
	    "[c2-4:1 a2-4:1 b2-4:1][d2-4:1 e2-4:1]");
	for (size_t i = 0; i < N; i++)
		assert_true(mb_input_is_done(inputs[i]));
	mb_cut_close(c);
	for (size_t i = 0; i < N; i++) {
		mb_content_close(contents[i]);
		close(fds[i]);
	}
	mb_journal_close(j);
	mb_buf_release(&got);
}

/* With another header than the batch in the making it isn't done, and each
 * of those that are kept out has its turn. */
static void
test_turns(void **state)
{
	struct mb_cut_options o = options("csv");
	struct mb_content *contents[3];
	struct mb_input *in[3];
	struct mb_buf got = { 0 };
	struct mb_err err = { 0 };
	struct mb_journal *j;
	struct mb_cutter *c;
	uint64_t run;
	char name[2] = "a", text[4] = "0\n";
	int fds[3], rc;

	(void)state;
	clear_directory(place);
	j = open_journal(&run);
	c = mb_cut_open(&o, j);
	for (int i = 0; i < 3; i++) {
		name[0] = (char)('a' + i);
		text[0] = name[0];
		fds[i] = make_file(name, text, 2);
		contents[i] = mb_content_take(dup(fds[i]), name, j);
		in[i] = mb_input_add(c, 0, name, MB_NONE, contents[i], NULL);
	}
	/* All of them always have something new. */
	for (int round = 0; round < 7; round++) {
		struct mb_batch b = { 0 };

		for (int i = 0; i < 3; i++)
			assert_int_equal(write(fds[i], "1\n", 2), 2);
		while ((rc = mb_cut_scan(c, &err)) == MB_CUT_MORE)
			;
		ok(rc, &err);
		if (round == 0) {
			ok(mb_content_seal(contents[2], 4, &err), &err);
			mb_input_final(in[2], true);
			ok(mb_cut_scan(c, &err), &err);
			assert_false(mb_input_is_done(in[2]));
			mb_content_unseal(contents[2]);
			mb_input_final(in[2], false);
		}
		plan(j, c, &b);
		note_batch(&got, j, &b);
		mb_batch_release(&b);
	}
	assert_string_equal(mb_buf_str(&got), "[a2-4:1][b2-6:2][c2-8:3]"
	    "[a4-10:3][b6-12:3][c8-14:3][a10-16:3]");
	mb_cut_close(c);
	for (int i = 0; i < 3; i++) {
		mb_content_close(contents[i]);
		close(fds[i]);
	}
	mb_journal_close(j);
	mb_buf_release(&got);
}

/* A source that changes under us is noticed when the batch is taken. */
static void
test_changed(void **state)
{
	static const struct {
		const char *now;
		int rc;
	} cases[] = {
		{ "1\n2\n3\n4\n", 1 }, { "1\n2\n3\n4\n5\n", 1 },
		{ "1\n9\n3\n4\n", 0 },	/* before the planned end */
		{ "1\n2\n3\n", 0 },	/* shorter than what was scanned */
		{ "1\n", 0 }, { "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_cut_options o = options("lines");
		struct mb_buf got = { 0 }, lines = { 0 };
		struct mb_batch b = { 0 };
		struct mb_input *in, *changed;
		struct mb_content *content;
		struct mb_err err = { 0 };
		struct mb_journal *j;
		struct mb_cutter *c;
		uint64_t run;
		int fd, rc;

		clear_directory(place);
		j = open_journal(&run);
		c = mb_cut_open(&o, j);
		fd = make_file("f", "1\n2\n", 4);
		content = mb_content_take(dup(fd), "f", j);
		in = mb_input_add(c, 0, "f", MB_NONE, content, NULL);
		cut_all(&got, j, c);
		assert_int_equal(write(fd, "3\n4\n", 4), 4);
		while ((rc = mb_cut_scan(c, &err)) == MB_CUT_MORE)
			;
		ok(rc, &err);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, cases[i].now,
		    strlen(cases[i].now), 0), (ssize_t)strlen(cases[i].now));
		rc = mb_cut_take(c, &b, &lines, &changed, &err);
		ok(rc, &err);
		if (rc != cases[i].rc || (rc == 0) != (changed == in))
			fail_msg("case %zu: %d", i, rc);
		mb_batch_release(&b);
		mb_buf_release(&lines);
		mb_buf_release(&got);
		mb_cut_close(c);
		mb_content_close(content);
		close(fd);
		mb_journal_close(j);
	}
}

/*
 * Pipes.
 */

static char *
numbers(unsigned from, unsigned to, size_t *len)
{
	struct mb_buf b = { 0 };

	for (; from < to; from++)
		mb_buf_addf(&b, "%u\n", from);
	*len = b.len;
	return mb_buf_take(&b);
}

struct run {
	struct mb_journal *journal;
	struct mb_cutter *cutter;
	struct mb_emitter *emitter;
	struct mb_pipe *pipe;
	int ends[2], out;
};

static void
begin_run(struct run *r, const struct mb_cut_options *o, bool again)
{
	struct mb_err err = { 0 };
	uint64_t run;

	r->journal = open_journal(&run);
	r->out = open("/dev/null", O_WRONLY);
	assert_int_equal(pipe(r->ends), 0);
	r->cutter = mb_cut_open(o, r->journal);
	ok(mb_emitter_open(&r->emitter, r->journal, r->out, false, 0, &err),
	    &err);
	ok(mb_pipe_open(&r->pipe, r->ends[0], 0, run, again, r->journal,
	    r->cutter, r->emitter, &err), &err);
}

static void
end_run(struct run *r)
{
	mb_pipe_close(r->pipe);
	mb_cut_close(r->cutter);
	mb_emitter_close(r->emitter);
	close(r->ends[0]);
	if (r->ends[1] >= 0)
		close(r->ends[1]);
	close(r->out);
	mb_journal_close(r->journal);
}

/* Cut what is there, and say what; -1 with err. */
static int
cut_pipe(struct run *r, struct mb_buf *got, bool commits, struct mb_err *err)
{
	int rc;

	for (;;) {
		struct mb_batch b = { 0 };

		if (mb_pipe_refresh(r->pipe, err) < 0)
			return -1;
		while ((rc = mb_cut_scan(r->cutter, err)) == MB_CUT_MORE)
			if (mb_pipe_refresh(r->pipe, err) < 0)
				return -1;
		if (rc < 0)
			return -1;
		if (!mb_cut_has_batch(r->cutter))
			return 0;
		ok(mb_pipe_sync(r->pipe, err), err);
		plan(r->journal, r->cutter, &b);
		note_batch(got, r->journal, &b);
		mb_pipe_planned(r->pipe, b.settled);
		{
			enum mb_emit_result result;
			const char *why;

			ok(mb_emit_batch(r->emitter, mb_state_batch(
			    mb_journal_state(r->journal), b.number), &result,
			    &why, err), err);
			if (result != MB_EMIT_WHOLE)
				fail_msg("batch %" PRIu64 ": %s", b.number,
				    why);
		}
		if (commits)
			commit(r->journal, b.number);
		ok(mb_pipe_release(r->pipe, err), err);
		mb_batch_release(&b);
	}
}

/* Send text in pieces; ends: and the end. */
static int
send_text(struct run *r, const char *text, size_t len, size_t piece, bool ends,
    struct mb_buf *got, struct mb_err *err)
{
	while (len > 0) {
		size_t n = piece == 0 ? 1 + pick(2000) : piece;

		if (n > len)
			n = len;
		assert_int_equal(write(r->ends[1], text, n), (ssize_t)n);
		if (mb_pipe_read(r->pipe, err) < 0 ||
		    cut_pipe(r, got, true, err) < 0)
			return -1;
		text += n;
		len -= n;
	}
	if (!ends)
		return 0;
	close(r->ends[1]);
	r->ends[1] = -1;
	if (mb_pipe_read(r->pipe, err) < 0)
		return -1;
	assert_true(mb_pipe_has_ended(r->pipe) || cut_pipe(r, got, true, err) ==
	    0);
	return cut_pipe(r, got, true, err);
}

static void
test_pipe_runs(void **state)
{
	struct mb_cut_options o = options(NULL);
	struct mb_buf got = { 0 };
	struct mb_err err = { 0 };
	struct run r;

	(void)state;
	clear_directory(place);
	begin_run(&r, &o, false);
	ok(send_text(&r, "1\n2", 3, 3, true, &got, &err), &err);
	end_run(&r);
	begin_run(&r, &o, false);
	ok(send_text(&r, "3\n", 2, 2, true, &got, &err), &err);
	end_run(&r);
	assert_string_equal(mb_buf_str(&got), "[-0-2:1][-2-3:1p][-0-2:1]");
	mb_buf_release(&got);
}

/* What one run has spooled, and not planned, the next one plans, once. */
static void
test_pipe_left(void **state)
{
	struct mb_cut_options o = options(NULL);
	struct mb_buf got = { 0 };
	struct mb_err err = { 0 };
	struct run r;

	(void)state;
	clear_directory(place);
	for (int i = 0; i < 2; i++) {
		begin_run(&r, &o, false);
		assert_int_equal(write(r.ends[1], "1\n2", 3), 3);
		/* What is left goes first; so long nothing is read. */
		assert_int_equal(mb_pipe_wants(r.pipe), i == 0);
		if (i > 0)
			ok(cut_pipe(&r, &got, true, &err), &err);
		assert_true(mb_pipe_wants(r.pipe));
		ok(mb_pipe_read(r.pipe, &err), &err);
		end_run(&r);		/* killed */
	}
	for (int i = 0; i < 4; i++) {
		begin_run(&r, &o, false);
		ok(cut_pipe(&r, &got, true, &err), &err);
		ok(send_text(&r, "3\n", i == 0 ? 2 : 0, 2, true, &got, &err),
		    &err);
		end_run(&r);
		mb_buf_adds(&got, ";");
	}
	assert_string_equal(mb_buf_str(&got),
	    "[-0-3:2p][-0-3:2p][-0-2:1];;;;");
	mb_buf_release(&got);
}

/*
 * A sender that starts over: any pieces, any number of runs, each cut off
 * anywhere; every record once, in order.
 */
static void
test_pipe_again(void **state)
{
	struct mb_cut_options o = options(NULL);
	size_t len;
	char *text = numbers(0, 4000, &len);

	(void)state;
	o.max_records = 100;
	for (int i = 0; i < 30; i++) {
		uint64_t seed = rng, planned = 0;
		struct mb_err err = { 0 };
		struct mb_buf got = { 0 };
		struct run r;

		clear_directory(place);
		for (int k = 0; k < 4; k++) {
			size_t part = k == 3 ? len : pick((unsigned)len);

			/* What is repeated reaches as far as what was planned. */
			if (part < planned)
				part = planned;
			begin_run(&r, &o, true);
			if (send_text(&r, text, part, i % 2 ? 0 : 3000,
			    k == 3, &got, &err) < 0)
				fail_msg("MB_SEED=%" PRIu64 ": %s", seed,
				    err.msg);
			planned = mb_state_newest(mb_journal_state(r.journal),
			    "-") == NULL ? 0 : mb_state_newest(
			    mb_journal_state(r.journal), "-")->end;
			if (k == 3 && mb_journal_state(r.journal)->
			    total_records != 4000)
				fail_msg("MB_SEED=%" PRIu64 ": %" PRIu64
				    " records", seed, mb_journal_state(
				    r.journal)->total_records);
			if (k == 3)
				assert_int_equal(planned, len);
			end_run(&r);
		}
		mb_buf_release(&got);
	}
	free(text);
}

static void
test_pipe_differs(void **state)
{
	struct mb_cut_options o = options(NULL);
	size_t len;
	char *text = numbers(0, 3000, &len);
	static const struct {
		const char *what;
		size_t at;
	} cases[] = {
		{ "the first byte", 0 }, { "the head", 4000 },
		{ "the tail", 13889 }, { "near the end", 13000 },
	};

	(void)state;
	assert_int_equal(len, 13890);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		struct mb_buf got = { 0 };
		struct run r;

		clear_directory(place);
		begin_run(&r, &o, true);
		ok(send_text(&r, text, len, 4096, true, &got, &err), &err);
		end_run(&r);
		text[cases[i].at] ^= 1;
		begin_run(&r, &o, true);
		if (send_text(&r, text, len, 4096, true, &got, &err) == 0 ||
		    err.code != MB_EDATA)
			fail_msg("%s: not noticed (%d)", cases[i].what,
			    err.code);
		assert_non_null(strstr(err.msg, "is not what it was before "
		    "byte "));
		end_run(&r);
		text[cases[i].at] ^= 1;
		/* And one that ends too early. */
		err = (struct mb_err){ 0 };
		begin_run(&r, &o, true);
		assert_int_equal(send_text(&r, text, len - 1, 4096, true, &got,
		    &err), -1);
		assert_int_equal(err.code, MB_EDATA);
		assert_non_null(strstr(err.msg, "ends too early"));
		end_run(&r);
		mb_buf_release(&got);
	}
	free(text);
}

/* More than two segments: what is settled goes, what isn't stays. */
static void
test_spool_segments(void **state)
{
	struct mb_cut_options o = options("lines");
	struct mb_buf line = { 0 }, got = { 0 };
	struct mb_err err = { 0 };
	struct run r;
	uint64_t *runs;
	size_t n;

	(void)state;
	clear_directory(place);
	o.max_bytes = 8 << 20;
	for (int i = 0; i < 60000; i++)
		mb_buf_addc(&line, 'x');
	mb_buf_addc(&line, '\n');
	begin_run(&r, &o, false);
	/* 48 MB: an uncommitted reader keeps everything. */
	for (int i = 0; i < 800; i++) {
		assert_int_equal(write(r.ends[1], line.p, line.len),
		    (ssize_t)line.len);
		ok(mb_pipe_read(r.pipe, &err), &err);
		ok(cut_pipe(&r, &got, i < 400, &err), &err);
	}
	close(r.ends[1]);
	r.ends[1] = -1;
	ok(mb_pipe_read(r.pipe, &err), &err);
	ok(cut_pipe(&r, &got, true, &err), &err);
	assert_int_equal(mb_journal_state(r.journal)->total_records, 800);
	/* Every batch that isn't settled can be read again. */
	for (size_t i = 0; i < mb_journal_state(r.journal)->n_batches; i++) {
		enum mb_emit_result result;
		const char *why;

		ok(mb_verify_batch(r.emitter, &mb_journal_state(r.journal)->
		    batches[i], &result, &why, &err), &err);
		if (result != MB_EMIT_WHOLE)
			fail_msg("batch %zu: %s", i, why);
	}
	for (size_t i = mb_journal_state(r.journal)->n_batches; i-- > 0;)
		commit(r.journal, mb_journal_state(r.journal)->
		    batches[i].number);
	end_run(&r);
	/* All is settled: the next start removes it. */
	begin_run(&r, &o, false);
	ok(mb_spool_list(r.journal, &runs, &n, &err), &err);
	assert_int_equal(n, 0);
	free(runs);
	end_run(&r);
	mb_buf_release(&line);
	mb_buf_release(&got);
}

/* Spool that many bytes, in lines. */
static void
spool_lines(struct run *r, size_t bytes)
{
	struct mb_buf line = { 0 };
	struct mb_err err = { 0 };

	for (int i = 0; i < 60000; i++)
		mb_buf_addc(&line, 'x');
	mb_buf_addc(&line, '\n');
	for (; bytes >= line.len; bytes -= line.len) {
		assert_int_equal(write(r->ends[1], line.p, line.len),
		    (ssize_t)line.len);
		ok(mb_pipe_read(r->pipe, &err), &err);
	}
	mb_buf_release(&line);
}

/* What was committed since the plan may be planned again by a power cut. */
static void
test_spool_commit(void **state)
{
	struct mb_cut_options o = options("lines");
	struct mb_err err = { 0 };
	struct mb_batch b[2] = { 0 };
	enum mb_emit_result result;
	const char *why;
	struct run r;

	(void)state;
	clear_directory(place);
	o.max_bytes = 1 << 30;
	begin_run(&r, &o, false);
	for (int i = 0; i < 2; i++) {
		spool_lines(&r, 20 << 20);
		ok(mb_pipe_sync(r.pipe, &err), &err);
		ok(mb_pipe_refresh(r.pipe, &err), &err);
		while (mb_cut_scan(r.cutter, &err) == MB_CUT_MORE)
			;
		plan(r.journal, r.cutter, &b[i]);
		mb_pipe_planned(r.pipe, b[i].settled);
		if (i == 1) {
			commit(r.journal, 0);
			commit(r.journal, 1);
		}
		ok(mb_pipe_release(r.pipe, &err), &err);
	}
	for (int i = 0; i < 2; i++) {
		ok(mb_verify_batch(r.emitter, &b[i], &result, &why, &err),
		    &err);
		if (result != MB_EMIT_WHOLE)
			fail_msg("batch %d: %s", i, why);
		mb_batch_release(&b[i]);
	}
	end_run(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_inputs),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_pipe_runs),
		cmocka_unit_test(test_pipe_left),
		cmocka_unit_test(test_pipe_again),
		cmocka_unit_test(test_pipe_differs),
		cmocka_unit_test(test_spool_segments),
		cmocka_unit_test(test_spool_commit),
	};
	const char *given = getenv("MB_SEED");

	signal(SIGPIPE, SIG_IGN);
	rng = given != NULL ? strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	printf("MB_SEED=%llu\n", (unsigned long long)rng);
	return cmocka_run_group_tests(tests, set_up, tear_down_place);
}
