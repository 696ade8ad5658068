/*
 * source/: cutter and emitter over a journal of their own.  Batches go the
 * whole way: scanned, taken, planned in the journal, emitted, read back.
 */
#include "source/cut.h"

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

#include "journal/lines.h"
#include "place.h"

#include "source/emit.h"

enum { LOTS = 64 << 20 };

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

/*
 * The cutter.  A world has up to three files, each an input.
 */
enum { INPUTS = 3 };

static struct world {
	struct mb_cutter *cutter;
	struct mb_emitter *emitter;
	struct mb_content *content[INPUTS];
	struct mb_input *in[INPUTS];
	int fd[INPUTS], out;
	struct mb_buf said;
} w;

/* With NULS, @ stands for a NUL byte. */
enum { NULS = 1 << 30 };

static void
spew(const char *name, const char *text, int flags)
{
	char path[128], bytes[256];
	int fd;

	snprintf(path, sizeof path, "%s/%s", place, name);
	snprintf(bytes, sizeof bytes, "%s", text);
	for (char *p = bytes; flags & NULS && *p != '\0'; p++)
		*p = *p == '@' ? '\0' : *p;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (flags & ~NULS),
	    0600);
	if (fd < 0 || write(fd, bytes, strlen(text)) != (ssize_t)strlen(text))
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

/* known: go on with the generation that the journal has. */
static void
add_input(int i, const char *name, bool is_known)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", place, name);
	w.fd[i] = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(w.fd[i] >= 0);
	w.content[i] = mb_content_take(dup(w.fd[i]), path, journal);
	w.in[i] = mb_input_add(w.cutter, (unsigned)i, path, MB_NONE,
	    w.content[i], is_known ?
	    mb_state_newest(mb_journal_state(journal), path) : NULL);
}

static void
drop_input(int i)
{
	if (w.in[i] == NULL)
		return;
	mb_input_remove(w.cutter, w.in[i]);
	mb_content_close(w.content[i]);
	close(w.fd[i]);
	w.in[i] = NULL;
}

static void
open_world(const struct mb_cut_options *options)
{
	struct mb_err err = { 0 };
	char path[128];

	snprintf(path, sizeof path, "%s/out", place);
	w = (struct world){
		.cutter = mb_cut_open(options, journal),
		.out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
	};
	good(mb_emitter_open(&w.emitter, journal, w.out, false, 1000, &err),
	    &err);
	good(mb_emit_hello(w.emitter, 1, false, &err), &err);
}

static void
close_world(void)
{
	for (int i = 0; i < INPUTS; i++)
		drop_input(i);
	mb_cut_close(w.cutter);
	mb_emitter_close(w.emitter);
	mb_buf_release(&w.said);
	close(w.out);
}

/* Take what was scanned and plan it: 1, or 0 and *changed. */
static int
take(struct mb_input **changed)
{
	const struct mb_state *s = mb_journal_state(journal);
	struct mb_batch b = { 0 };
	struct mb_buf lines = { 0 };
	struct mb_err err = { 0 };
	int rc = mb_cut_take(w.cutter, &b, &lines, changed, &err);

	good(rc, &err);
	if (rc > 0) {
		b.number = s->next_batch;
		b.run = 1;
		b.settled = s->settled;
		b.time_ms = 1795435200123;
		b.digest = mb_state_digest(s, &b);
		mb_put_plan(&lines, &b, mb_journal_synced(journal));
		good(mb_journal_append(journal, &lines, &err), &err);
		mb_cut_planned(w.cutter);
	}
	mb_batch_release(&b);
	mb_buf_release(&lines);
	return rc;
}

static enum mb_emit_result
emit(uint64_t number)
{
	struct mb_err err = { 0 };
	enum mb_emit_result result;
	const char *why;

	good(mb_emit_batch(w.emitter, mb_state_batch(mb_journal_state(journal),
	    number), &result, &why, &err), &err);
	if (result != MB_EMIT_WHOLE)
		assert_non_null(strstr(why, place));
	return result;
}

/*
 * Scan and take all that is there.  What the batches hold, as text: the names
 * of files are their letters; a range is "a4-12:2" (~: partial), a reject
 * "a!4-12", a batch ends in ";".
 */
static const char *
cut_all(void)
{
	const struct mb_state *s = mb_journal_state(journal);
	struct mb_input *changed;
	struct mb_err err = { 0 };
	int rc;

	mb_buf_reset(&w.said);
	for (;;) {
		uint64_t n = s->next_batch;
		const struct mb_batch *b;

		while ((rc = mb_cut_scan(w.cutter, &err)) == MB_CUT_MORE)
			;
		good(rc, &err);
		if (!mb_cut_has_batch(w.cutter))
			return mb_buf_str(&w.said);
		if (take(&changed) == 0) {
			mb_buf_adds(&w.said, "changed");
			return mb_buf_str(&w.said);
		}
		b = mb_state_batch(s, n);
		for (size_t i = 0; i < b->n_ranges; i++) {
			const struct mb_range *r = &b->ranges[i];

			mb_buf_addf(&w.said, "%c%" PRIu64 "-%" PRIu64 ":%"
			    PRIu64 "%s ", strrchr(mb_state_generation(s,
			    r->generation)->source, '/')[1], r->start, r->end,
			    r->records, r->is_partial ? "~" : "");
		}
		for (size_t i = 0; i < b->n_rejects; i++)
			mb_buf_addf(&w.said, "%c!%" PRIu64 "-%" PRIu64 " ",
			    strrchr(mb_state_generation(s,
			    b->rejects[i].generation)->source, '/')[1],
			    b->rejects[i].start, b->rejects[i].end);
		w.said.len--;
		mb_buf_addc(&w.said, ';');
		assert_int_equal(emit(n), MB_EMIT_WHOLE);
	}
}

/* Read the frames back: the records of each whole batch, with "|" behind. */
static const char *
emitted(struct mb_buf *text)
{
	struct mb_frame_reader *r;
	struct mb_frame_event ev;
	struct mb_err err = { 0 };
	int rc;

	good(mb_emit_done(w.emitter, 0, &err), &err);
	assert_int_equal(lseek(w.out, 0, SEEK_SET), 0);
	good(mb_frame_open(&r, w.out, "out", -1, &err), &err);
	while ((rc = mb_frame_next(r, &ev, &err)) > 0) {
		if (ev.kind == MB_FRAME_BEGIN)
			for (size_t i = 0; i < ev.begin->n_fields; i++)
				mb_buf_addf(text, "<%s>",
				    ev.begin->fields[i].name);
		if (ev.kind == MB_FRAME_DATA) {
			for (size_t i = 0; i < ev.data.len; i++)
				mb_buf_addc(text, ev.data.p[i] != '\0' ?
				    ev.data.p[i] : '@');
			mb_frame_consume(r, ev.data.len);
		}
		if (ev.kind == MB_FRAME_END || ev.kind == MB_FRAME_ABORT)
			mb_buf_addc(text, ev.kind == MB_FRAME_END ? '|' : '#');
	}
	good(rc, &err);
	mb_frame_close(r);
	return mb_buf_str(text);
}

static void
test_cut(void **state)
{
	enum { FINAL = 1, NO_HEADER = 2 };
	static const struct {
		const char *format;
		const char *files[INPUTS];
		uint64_t max_bytes, max_records;
		int flags;
		const char *batches, *frames;
	} cases[] = {
		/* counted, and bytes: one record at least */
		{ "lines", { "1\n2\n3\n" }, LOTS, 0, 0, "a0-6:3;",
		    "1\n2\n3\n|" },
		{ "lines", { "1\n2\n3\n" }, LOTS, 2, 0, "a0-4:2;a4-6:1;",
		    "1\n2\n|3\n|" },
		{ "lines", { "1\n2\n3\n" }, 4, 0, 0, "a0-4:2;a4-6:1;",
		    "1\n2\n|3\n|" },
		{ "lines", { "1\n2\n3\n" }, 5, 0, 0, "a0-4:2;a4-6:1;",
		    "1\n2\n|3\n|" },
		{ "lines", { "1\nlonger\n3\n" }, 3, 0, 0,
		    "a0-2:1;a2-9:1;a9-11:1;", "1\n|longer\n|3\n|" },
		{ "lines", { "longer\n" }, 1, 0, 0, "a0-7:1;", "longer\n|" },
		/* in the order of the operands */
		{ "lines", { "1\n", "2\n", "3\n" }, LOTS, 0, 0,
		    "a0-2:1 b0-2:1 c0-2:1;", "1\n2\n3\n|" },
		{ "lines", { "1\n2\n", "3\n4\n" }, LOTS, 3, 0,
		    "a0-4:2 b0-2:1;b2-4:1;", "1\n2\n3\n|4\n|" },
		/* headers: one a batch */
		{ "csv", { "x,y\n1,2\n", "x,y\n3,4\n" }, LOTS, 0, 0,
		    "a4-8:1 b4-8:1;", "<x><y>1,2\n3,4\n|" },
		{ "csv", { "x,y\n1,2\n", "y,x\n3,4\n", "x,y\n5,6\n" }, LOTS, 0,
		    0, "a4-8:1 c4-8:1;b4-8:1;",
		    "<x><y>1,2\n5,6\n|<y><x>3,4\n|" },
		{ "csv", { "x,y\n1,2\n", "z\n3\n" }, LOTS, 0, NO_HEADER,
		    "a0-8:2 b0-4:2;", "x,y\n1,2\nz\n3\n|" },
		{ "csv", { "x,y\n" }, LOTS, 0, FINAL, "", "" },
		{ "csv", { "x,y" }, LOTS, 0, FINAL, "", "" },
		{ "csv", { "", "x\n1\n" }, LOTS, 0, FINAL, "b2-4:1;",
		    "<x>1\n|" },
		{ "csv", { "\"x\ny\",z\n1,2\n" }, LOTS, 0, 0, "a8-12:1;",
		    "<x\ny><z>1,2\n|" },
		/* the byte order mark, line ends, blank lines */
		{ "csv", { "\xef\xbb\xbfx,y\r\n1,2\r\n" }, LOTS, 0, 0,
		    "a8-13:1;", "<x><y>1,2\r\n|" },
		{ "lines", { "\xef\xbb\xbf" "1\n" }, LOTS, 0, 0, "a3-5:1;",
		    "1\n|" },
		{ "csv", { "x\n\n1\n\n\n2\n" }, LOTS, 0, 0, "a2-9:2;",
		    "<x>\n1\n\n\n2\n|" },
		{ "csv", { "x\n\n\n" }, LOTS, 0, FINAL, "", "" },
		{ "csv", { "x\n1\n\n" }, LOTS, 0, FINAL, "a2-5:1;",
		    "<x>1\n\n|" },
		{ "lines", { "\n\n" }, LOTS, 0, 0, "a0-2:2;", "\n\n|" },
		{ "csv", { "x\n\"a\nb\"\nc\n" }, LOTS, 1, 0, "a2-8:1;a8-10:1;",
		    "<x>\"a\nb\"\n|<x>c\n|" },
		/* a hole that a truncation has left is no record */
		{ "lines", { "@@@@1\n2\n" }, LOTS, 0, 0, "a4-8:2 a!0-4;",
		    "1\n2\n|" },
		{ "csv", { "@@x\n1@\n" }, LOTS, 0, 0, "a4-7:1 a!0-2;",
		    "<x>1@\n|" },
		{ "lines", { "@@@@" }, LOTS, 0, 0, "", "" },
		{ "lines", { "@@@@" }, LOTS, 0, FINAL, "", "" },
		/* half a line */
		{ "lines", { "1\n2" }, LOTS, 0, 0, "a0-2:1;", "1\n|" },
		{ "lines", { "1\n2", "3\n" }, LOTS, 0, FINAL,
		    "a0-3:2~ b0-2:1;", "1\n2\n3\n|" },
		{ "lines", { "12" }, 1, 0, FINAL, "a0-2:1~;", "12\n|" },
		{ "csv", { "x\n1\r" }, LOTS, 0, 0, "", "" },
		{ "csv", { "x\n1\r" }, LOTS, 0, FINAL, "a2-4:1~;",
		    "<x>1\r\n|" },
		/* rejected, and reading goes on (the limit is 20) */
		{ "lines", { "1\n12345678901234567890\n3\n" }, LOTS, 0, 0,
		    "a0-2:1 a23-25:1 a!2-23;", "1\n3\n|" },
		{ "lines", { "1234567890123456789\n3\n" }, LOTS, 0, 0,
		    "a0-22:2;", "1234567890123456789\n3\n|" },
		{ "csv", { "x\n1\n\"2\n3\n" }, LOTS, 0, FINAL,
		    "a2-4:1 a7-9:1 a!4-7;", "<x>1\n3\n|" },
		{ "csv", { "x\n1\n\"2\n3\n" }, LOTS, 0, 0, "a2-4:1;",
		    "<x>1\n|" },
		{ "csv", { "x\n\"2\n3\n4\"5\n6\n" }, LOTS, 0, 0,
		    "a5-13:3 a!2-5;", "<x>3\n4\"5\n6\n|" },
		{ "csv", { "x\n\"2" }, LOTS, 0, FINAL, "a!2-4;", "<x>|" },
		{ "lines", { "123456789012345678901\n" }, 1, 0, 0, "a!0-22;",
		    "|" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_cut_options options = {
			.format = cases[i].format, .delimiter = ',',
			.has_header = !(cases[i].flags & NO_HEADER),
			.max_bytes = cases[i].max_bytes,
			.max_records = cases[i].max_records,
			.record_limit = 20,
		};
		struct mb_buf text = { 0 };

		tear_down(NULL);
		set_up(NULL);
		open_world(&options);
		for (int k = 0; k < INPUTS && cases[i].files[k] != NULL; k++) {
			char name[] = { (char)('a' + k), '\0' };

			spew(name, cases[i].files[k], NULS);
			add_input(k, name, false);
			if (cases[i].flags & FINAL)
				mb_input_final(w.in[k], true);
		}
		if (strcmp(cut_all(), cases[i].batches) != 0)
			fail_msg("case %zu: \"%s\", not \"%s\"", i, w.said.p,
			    cases[i].batches);
		if (strcmp(emitted(&text), cases[i].frames) != 0)
			fail_msg("case %zu: \"%s\", not \"%s\"", i, text.p,
			    cases[i].frames);
		for (int k = 0; k < INPUTS && w.in[k] != NULL; k++)
			assert_int_equal(mb_input_is_done(w.in[k]),
			    (cases[i].flags & FINAL) != 0);
		mb_buf_release(&text);
		close_world();
	}
}

static const struct mb_cut_options csv = {
	.format = "csv", .delimiter = ',', .has_header = true,
	.max_bytes = LOTS, .record_limit = 1000,
};

static void
says(const char *got, const char *want)
{
	if (strcmp(got, want) != 0)
		fail_msg("\"%s\", not \"%s\"", got, want);
}

/* A file that grows, also by a part of a header or of a record. */
static void
test_growing(void **state)
{
	struct mb_err err = { 0 };

	(void)state;
	open_world(&csv);
	spew("a", "x,", 0);
	add_input(0, "a", false);
	says(cut_all(), "");
	spew("a", "y\n1,", O_APPEND);
	says(cut_all(), "");
	assert_int_equal(mb_input_rest(w.in[0]), 2);
	spew("a", "2\n3,\"\n", O_APPEND);
	says(cut_all(), "a4-8:1;");
	spew("a", "4\"\n5", O_APPEND);
	says(cut_all(), "a8-15:1;");
	/* Where the journal says that it was. */
	drop_input(0);
	add_input(0, "a", true);
	assert_int_equal(mb_input_planned(w.in[0]), 15);
	spew("a", ",6\n7,8", O_APPEND);
	says(cut_all(), "a15-19:1;");
	assert_int_equal(mb_input_check(w.in[0], &err), 1);
	assert_int_equal(mb_content_seal(w.content[0], UINT64_MAX, &err), 0);
	mb_input_final(w.in[0], true);
	says(cut_all(), "a19-22:1~;");
	assert_true(mb_input_is_done(w.in[0]));
	close_world();
}

/* Bytes that were planned, or only scanned, are not there any more. */
static void
test_changed(void **state)
{
	static const struct {
		const char *after;
		int flags;			/* O_TRUNC: in place */
		int answer;			/* of check */
		const char *batches;
	} cases[] = {
		{ "3\n", O_APPEND, 1, "a6-8:1;" },
		{ "", O_TRUNC, 0, "" },
		{ "x\n1\n", O_TRUNC, 0, "" },
		{ "x\n1\n3\n", 0, 0, "" },
		{ "y\n1\n2\n", 0, 0, "" },
		{ "x\n1\n4\n5\n6\n", O_TRUNC, 0, "" },
		{ "x\n1\n2\n9\n", O_TRUNC, 1, "a6-8:1;" },
	};
	struct mb_err err = { 0 };
	struct mb_input *changed;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		tear_down(NULL);
		set_up(NULL);
		open_world(&csv);
		spew("a", "x\n1\n2\n", 0);
		add_input(0, "a", false);
		says(cut_all(), "a2-6:2;");
		spew("a", cases[i].after, cases[i].flags);
		if (mb_input_check(w.in[0], &err) != cases[i].answer)
			fail_msg("case %zu: not %d", i, cases[i].answer);
		says(cut_all(), cases[i].batches);
		close_world();
	}
	/* Not even planned, and written anew while it is scanned. */
	tear_down(NULL);
	set_up(NULL);
	open_world(&csv);
	spew("a", "x\n1\n", 0);
	add_input(0, "a", false);
	while (mb_cut_scan(w.cutter, &err) == MB_CUT_MORE)
		;
	spew("a", "x\n2\n3\n", 0);
	assert_int_equal(take(&changed), 0);
	assert_ptr_equal(changed, w.in[0]);
	close_world();
	/* Between the scan and the taking. */
	for (int how = 0; how < 2; how++) {
		tear_down(NULL);
		set_up(NULL);
		open_world(&csv);
		spew("a", "x\n1\n", 0);
		spew("b", "x\n7\n", 0);
		add_input(0, "a", false);
		add_input(1, "b", false);
		says(cut_all(), "a2-4:1 b2-4:1;");
		spew("a", "2\n", O_APPEND);
		spew("b", "8\n", O_APPEND);
		while (mb_cut_scan(w.cutter, &err) == MB_CUT_MORE)
			;
		spew("b", how == 0 ? "x\n" : "x\n6\n8\n", O_TRUNC);
		assert_int_equal(take(&changed), 0);
		assert_ptr_equal(changed, w.in[1]);
		/* Nothing was taken; without it all goes on. */
		drop_input(1);
		says(cut_all(), "a4-6:1;");
		close_world();
	}
}

/* A later generation begins with a header, or doesn't. */
static void
test_second_generation(void **state)
{
	static const struct {
		const char *text, *batches, *frames;
	} cases[] = {
		{ "x,y\n3,4\n", "a4-8:1;", "<x><y>1,2\n|<x><y>3,4\n|" },
		{ "x,z\n3,4\n", "a4-8:1;", "<x><y>1,2\n|<x><z>3,4\n|" },
		{ "5,6\n3,4\n", "a0-8:2;", "<x><y>1,2\n|<x><y>5,6\n3,4\n|" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_buf text = { 0 };

		tear_down(NULL);
		set_up(NULL);
		open_world(&csv);
		spew("a", "x,y\n1,2\n", 0);
		add_input(0, "a", false);
		says(cut_all(), "a4-8:1;");
		assert_int_equal(mb_input_generation(w.in[0]), 0);
		drop_input(0);
		spew("a", cases[i].text, O_TRUNC);
		add_input(0, "a", false);
		assert_int_equal(mb_input_generation(w.in[0]), MB_NONE);
		says(cut_all(), cases[i].batches);
		assert_int_equal(mb_input_generation(w.in[0]), 1);
		says(emitted(&text), cases[i].frames);
		mb_buf_release(&text);
		close_world();
	}
}

/* Not what was planned: never an `end`. */
static void
test_emit(void **state)
{
	static const struct {
		const char *text;
		int flags;
		enum mb_emit_result result;
		const char *frame;
	} cases[] = {
		{ "x\n1\n2\n", 0, MB_EMIT_WHOLE, "<x>1\n2\n|" },
		{ "3\n", O_APPEND, MB_EMIT_WHOLE, "<x>1\n2\n|" },
		{ "x\n1\n3\n", 0, MB_EMIT_DIFFERS, "<x>1\n3\n\n#" },
		{ "y\n1\n2\n", 0, MB_EMIT_WHOLE, "<x>1\n2\n|" },
		{ "x\n1\n2", O_TRUNC, MB_EMIT_GONE, "<x>\n#" },
		{ "", O_TRUNC, MB_EMIT_GONE, "<x>\n#" },
		{ NULL, 0, MB_EMIT_GONE, "<x>\n#" },
	};
	struct mb_err err = { 0 };
	enum mb_emit_result result;
	struct mb_buf text = { 0 };
	const char *why;
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		tear_down(NULL);
		set_up(NULL);
		open_world(&csv);
		spew("a", "x\n1\n2\n", 0);
		add_input(0, "a", false);
		says(cut_all(), "a2-6:2;");
		close_world();
		open_world(&csv);
		snprintf(path, sizeof path, "%s/a", place);
		if (cases[i].text != NULL)
			spew("a", cases[i].text, cases[i].flags);
		else
			assert_int_equal(unlink(path), 0);
		good(mb_verify_batch(w.emitter, mb_state_batch(
		    mb_journal_state(journal), 0), &result, &why, &err), &err);
		assert_int_equal(result, cases[i].result);
		assert_int_equal(emit(0), cases[i].result);
		mb_buf_reset(&text);
		if (strcmp(emitted(&text), cases[i].frame) != 0)
			fail_msg("case %zu: \"%s\"", i, text.p);
		close_world();
	}
	mb_buf_release(&text);
}

struct waiting {
	int says, asked;
};

/* The second time it is asked the file can be read again. */
static int
wait_for_bytes(void *arg, uint64_t batch, struct mb_err *err)
{
	struct waiting *waiting = arg;

	assert_int_equal(batch, 0);
	assert_int_equal(err->code, MB_EIO);
	if (++waiting->asked == 2)
		mb_emitter_use(w.emitter, 1, NULL);
	if (waiting->says > 0)
		*err = (struct mb_err){ 0 };
	/* It reads the journal, and what was borrowed from it moves. */
	good(mb_journal_refresh(journal, &(struct mb_err){ 0 }), err);
	return waiting->says;
}

static void
test_waiting(void **state)
{
	static const struct {
		int says, asked;
		enum mb_emit_result result;
		const char *frame;
	} cases[] = {
		{ 1, 2, MB_EMIT_WHOLE, "<x>1\n2\n3\n|" },
		{ 0, 1, MB_EMIT_LEFT, "<x>1\n2\n\n#" },
		{ -1, 1, MB_EMIT_GONE, "<x>1\n2\n\n#" },
	};
	struct mb_content *broken;
	struct mb_buf text = { 0 };
	const char *why;
	char path[128];
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct waiting waiting = { .says = cases[i].says };
		enum mb_emit_result result = MB_EMIT_GONE;
		struct mb_err err = { 0 };
		int rc;

		tear_down(NULL);
		set_up(NULL);
		open_world(&csv);
		spew("a", "x\n1\n2\n", 0);
		spew("b", "x\n3\n", 0);
		add_input(0, "a", false);
		add_input(1, "b", false);
		says(cut_all(), "a2-6:2 b2-4:1;");
		close_world();
		open_world(&csv);
		snprintf(path, sizeof path, "%s/b", place);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		broken = mb_content_take(fd, "b", journal);
		mb_emitter_use(w.emitter, 1, broken);
		mb_emitter_wait(w.emitter, wait_for_bytes, &waiting);
		rc = mb_emit_batch(w.emitter, mb_state_batch(
		    mb_journal_state(journal), 0), &result, &why, &err);
		assert_int_equal(rc, cases[i].says < 0 ? -1 : 0);
		assert_int_equal(err.code, rc < 0 ? MB_EIO : MB_OK);
		if (rc == 0)
			assert_int_equal(result, cases[i].result);
		if (result == MB_EMIT_LEFT)
			assert_non_null(strstr(why, "Bad file descriptor"));
		assert_int_equal(waiting.asked, cases[i].asked);
		mb_buf_reset(&text);
		if (strcmp(emitted(&text), cases[i].frame) != 0)
			fail_msg("case %zu: \"%s\"", i, text.p);
		close_world();
		mb_content_close(broken);
	}
	mb_buf_release(&text);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_cut),
		TEST(test_growing),
		TEST(test_changed),
		TEST(test_second_generation),
		TEST(test_emit),
		TEST(test_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
