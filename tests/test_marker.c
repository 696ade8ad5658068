#include "sink/marker.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A state by hand: batches as a word, one letter each. */
struct world {
	struct mb_state state;
	struct mb_batch batches[16];
};

/*
 * "pPcCx.": planned, parked, committed, committed and forgotten (.), void
 * (x), u: unparked, f: found under another number.  The number of letters is the next batch.
 */
static void
set_up(struct world *w, const char *letters, uint64_t rows_batch)
{
	*w = (struct world){ 0 };
	mb_state_init(&w->state, false);
	w->state.batches = w->batches;
	w->state.next_batch = strlen(letters);
	w->state.rows_batch = rows_batch;
	w->state.told_batch = MB_NONE;
	snprintf(w->state.rows_digest.hex, sizeof w->state.rows_digest.hex,
	    "%032" PRIx64, rows_batch);
	for (uint64_t i = 0; letters[i] != '\0'; i++) {
		struct mb_batch *b;

		if (letters[i] == '.')
			continue;
		b = &w->batches[w->state.n_batches++];
		b->number = i;
		b->state = letters[i] == 'P' ? MB_PARKED :
		    letters[i] == 'c' || letters[i] == 'f' ? MB_COMMITTED :
		    letters[i] == 'x' ? MB_VOID : MB_PLANNED;
		b->was_parked = strchr("Pux", letters[i]) != NULL;
		b->was_found = letters[i] == 'f';
		/* Up to the last commit with rows all had some. */
		b->rows = b->state == MB_COMMITTED && !b->was_found &&
		    rows_batch != MB_NONE && i <= rows_batch;
		snprintf(b->digest.hex, sizeof b->digest.hex, "%032" PRIx64,
		    i);
	}
}

static struct mb_hash
digest(uint64_t batch)
{
	struct mb_hash h;

	snprintf(h.hex, sizeof h.hex, "%032" PRIx64, batch);
	return h;
}

/* "first-last holes", "" where there is none. */
static const char *
show(const struct mb_marker *m)
{
	static char text[256];
	struct mb_buf holes = { 0 };

	if (!m->exists)
		return "";
	mb_marker_put_holes(&holes, m);
	snprintf(text, sizeof text, "%" PRIu64 "-%" PRIu64 "%s%s", m->first,
	    m->last, holes.len > 0 ? " " : "", mb_buf_str(&holes));
	mb_buf_release(&holes);
	return text;
}

static void
parse(struct mb_marker *m, const char *text)
{
	struct mb_err err = { 0 };
	char *end;

	*m = (struct mb_marker){ 0 };
	if (*text == '\0')
		return;
	m->exists = true;
	m->first = strtoull(text, &end, 10);
	m->last = strtoull(end + 1, &end, 10);
	m->digest = digest(m->last);
	if (*end == ' ' && mb_marker_parse_holes(m, end + 1, &err) < 0)
		fail_msg("\"%s\": %s", text, err.msg);
}

/* I2: what is passed over is a hole, unless its commit had no rows. */
static void
test_add(void **state)
{
	static const struct {
		const char *before;
		uint64_t batch;
		const char *letters;
		uint64_t rows_batch;
		bool is_copy;
		const char *after;
	} cases[] = {
		{ "", 0, "p", MB_NONE, false, "0-0" },
		{ "", 3, "PP.p", MB_NONE, false, "3-3" },
		{ "0-0", 1, ".p", 0, false, "0-1" },
		{ "0-4", 5, ".....p", 4, false, "0-5" },
		/* parked, once parked, void: holes */
		{ "0-0", 2, ".Pp", 0, false, "0-2 1" },
		{ "0-0", 2, ".up", 0, false, "0-2 1" },
		{ "0-0", 2, ".xp", 0, false, "0-2 1" },
		{ "0-0", 4, ".PPPp", 0, false, "0-4 1-3" },
		/* committed without rows, kept or forgotten: no hole */
		{ "0-0", 2, ".cp", 0, false, "0-2" },
		{ "0-0", 2, "..p", 0, false, "0-2" },
		{ "0-0", 5, "..P.cp", 0, false, "0-5 2" },
		/* found as another one: not here under this number */
		{ "0-1", 5, "...f.p", 1, false, "0-5 3" },
		/* with rows, but not here (--new-target): holes */
		{ "0-1", 5, ".....p", 4, false, "0-5 2-4" },
		{ "0-1", 5, "..ccPp", 3, false, "0-5 2-4" },
		/* in a copy everything that is passed over */
		{ "0-0", 3, "..cp", 0, true, "0-3 1-2" },
		{ "0-0", 3, "...p", MB_NONE, true, "0-3 1-2" },
		/* a replay fills a hole; last and its digest stay */
		{ "0-4 1-3", 2, ".PPP.", 4, false, "0-4 1,3" },
		{ "0-4 1,3", 1, ".P.P.", 4, false, "0-4 3" },
		{ "0-4 3", 3, "...P.", 4, false, "0-4" },
		{ "0-9 1-3,5,7-8", 5, ".PPP.P.PP.", 9, false, "0-9 1-3,7-8" },
		/* before the first: what lies between isn't here */
		{ "3-3", 0, "P...", 3, false, "0-3 1-2" },
		{ "3-4", 2, "PPP..", 4, false, "2-4" },
		{ "5-9 7", 2, "..P..P.P..", 9, false, "2-9 3-4,7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_hash d = digest(cases[i].batch);
		struct mb_marker m, was;
		struct world w;
		uint64_t count;

		set_up(&w, cases[i].letters, cases[i].rows_batch);
		parse(&m, cases[i].before);
		mb_marker_copy(&was, &m);
		count = mb_marker_count(&m);
		if (mb_marker_has(&m, cases[i].batch))
			fail_msg("case %zu: has it already", i);
		mb_marker_add(&m, cases[i].batch, &d, &w.state,
		    cases[i].is_copy);
		if (strcmp(show(&m), cases[i].after) != 0)
			fail_msg("\"%s\" + %" PRIu64 " of \"%s\": \"%s\", not "
			    "\"%s\"", cases[i].before, cases[i].batch,
			    cases[i].letters, show(&m), cases[i].after);
		assert_true(mb_marker_has(&m, cases[i].batch));
		assert_string_equal(m.digest.hex, digest(m.last).hex);
		assert_false(mb_marker_eq(&m, &was));
		/* Every move raises it. */
		assert_true(mb_marker_count(&m) > count);
		mb_marker_release(&m);
		mb_marker_release(&was);
	}
}

/* Against a plain set, in random order, as replays of parked batches do. */
static void
test_add_at_random(void **state)
{
	unsigned seed = 20261123;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct mb_marker m = { 0 }, copy;
		struct mb_hash d;
		struct world w;
		bool is_in[15] = { false };

		set_up(&w, "PPPPPPPPPPPPPPP", MB_NONE);
		for (uint64_t n = 1; n <= 15; n++) {
			uint64_t k = (uint64_t)rand_r(&seed) % 15;

			while (is_in[k])
				k = (k + 1) % 15;
			is_in[k] = true;
			d = digest(k);
			mb_marker_add(&m, k, &d, &w.state, false);
			for (uint64_t i = 0; i < 15; i++)
				if (mb_marker_has(&m, i) != is_in[i])
					fail_msg("round %d: %" PRIu64 " in \"%s\"",
					    round, i, show(&m));
			assert_int_equal(mb_marker_count(&m), n);
			assert_string_equal(m.digest.hex, digest(m.last).hex);
			parse(&copy, show(&m));
			assert_true(mb_marker_eq(&m, &copy));
			mb_marker_release(&copy);
		}
		assert_string_equal(show(&m), "0-14");
		mb_marker_release(&m);
	}
}

static void
test_has(void **state)
{
	static const struct {
		const char *marker;
		const char *has;	/* by batch, from 0 */
	} cases[] = {
		{ "", "000000" },
		{ "0-0", "100000" },
		{ "2-3", "001100" },
		{ "1-4 2", "010110" },
		{ "0-5 1-2,4", "100101" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_marker m;

		parse(&m, cases[i].marker);
		for (uint64_t k = 0; cases[i].has[k] != '\0'; k++)
			if (mb_marker_has(&m, k) != (cases[i].has[k] == '1'))
				fail_msg("\"%s\": %" PRIu64, cases[i].marker, k);
		assert_false(mb_marker_has(&m, UINT64_MAX));
		mb_marker_release(&m);
	}
}

static void
test_eq(void **state)
{
	static const char *const all[] = {
		"", "0-0", "0-5", "1-5", "0-5 2", "0-5 3", "0-5 2-3", "0-6 2",
	};
	struct mb_marker a, b;

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
			parse(&a, all[i]);
			parse(&b, all[k]);
			if (mb_marker_eq(&a, &b) != (i == k))
				fail_msg("\"%s\", \"%s\"", all[i], all[k]);
			mb_marker_release(&a);
			mb_marker_release(&b);
		}
	parse(&a, "0-5");
	parse(&b, "0-5");
	b.digest = digest(77);
	assert_false(mb_marker_eq(&a, &b));
}

static void
test_holes_text(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		bool is_good;
	} cases[] = {
		{ "", 0, true }, { "3", 1, true }, { "3,5-7", 4, true },
		{ "11-19", 9, true }, { "1-19", 19, true },
		{ "3,4", 2, true },			/* read, not written */
		{ "0", 0, false }, { "20", 0, false },	/* first, last */
		{ "5,3", 0, false }, { "3,3", 0, false },
		{ "7-5", 0, false }, { "5-20", 0, false },
		{ "3,", 0, false }, { ",3", 0, false }, { "3-", 0, false },
		{ "-3", 0, false }, { "3,,5", 0, false }, { "3 5", 0, false },
		{ "+3", 0, false }, { "3x", 0, false }, { " 3", 0, false },
		{ "5-7,7", 0, false }, { "5-7,6-9", 0, false },
		{ "18446744073709551616", 0, false },
		{ "1-18446744073709551615", 0, false },
		{ "1-18446744073709551616", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_marker m = { .exists = true, .first = 0, .last = 20 };
		struct mb_err err = { 0 };
		int rc = mb_marker_parse_holes(&m, cases[i].in, &err);

		if ((rc == 0) != cases[i].is_good || (rc < 0 &&
		    (err.code != MB_ECORRUPT ||
		    strstr(err.msg, cases[i].in) == NULL)))
			fail_msg("\"%s\": %d, %s", cases[i].in, rc, err.msg);
		if (rc == 0)
			assert_int_equal(m.n_holes, cases[i].n);
		mb_marker_release(&m);
	}
}

enum { REPLAY = 1, NEW = 2, STDOUT = 4 };

static void
test_greet(void **state)
{
	enum { OWN = MB_OWN, COPY = MB_COPY, NO = -1 };
	static const struct {
		const char *letters;
		uint64_t rows_batch, held;
		const char *target, *target_id;	/* the journal's; NULL */
		const char *marker;
		uint64_t digest;		/* of its last */
		const char *given, *given_id;
		int flags, answer;
		const char *says;
	} cases[] = {
		/* a beginning */
		{ "", MB_NONE, 0, NULL, NULL, "", 0, "dir:/a", NULL, 0, OWN,
		    NULL },
		{ "pp", MB_NONE, 0, NULL, NULL, "", 0, "dir:/a", "A", 0, OWN,
		    NULL },
		{ "pp", MB_NONE, 0, NULL, NULL, "0-0", 0, "dir:/a", "A", 0,
		    OWN, NULL },
		/* the commit was not written, or lost */
		{ ".pp", 0, 1, "dir:/a", "A", "0-1", 1, "dir:/a", "A", 0, OWN,
		    NULL },
		{ ".P.p", 2, 2, "dir:/a", "A", "0-3 1", 3, "dir:/a", "A", 0,
		    OWN, NULL },
		/* all in order */
		{ "..", 1, 2, "dir:/a", "A", "0-1", 1, "dir:/a", "A", 0, OWN,
		    NULL },
		{ "..c", 1, 2, "dir:/a", "A", "0-1", 1, "dir:/a", "A", 0, OWN,
		    NULL },
		/* moved with its id */
		{ "..", 1, 2, "dir:/a", "A", "0-1", 1, "dir:/b", "A", 0, OWN,
		    NULL },
		/* the journal is older, or another */
		{ "..", 1, 2, "dir:/a", "A", "0-2", 2, "dir:/a", "A", 0, NO,
		    "has batch 2, which the journal has not planned" },
		{ "..", 1, 2, "dir:/a", "A", "0-2", 2, "dir:/a", "A", NEW, NO,
		    "has batch 2" },
		{ "..", 1, 2, "dir:/a", "A", "0-1", 9, "dir:/a", "A", 0, NO,
		    "its batch 1 is not the journal's" },
		{ ".p", 0, 1, "dir:/a", "A", "0-1", 9, "dir:/a", "A", 0, NO,
		    "its batch 1 is not the journal's" },
		{ "pp", MB_NONE, 0, NULL, NULL, "0-1", 9, "dir:/a", "A", 0,
		    NO, "its batch 1 is not the journal's" },
		{ "...", 0, 1, "dir:/a", "A", "0-2", 9, "dir:/a", "A", 0, NO,
		    "has rows of batch 2, which had none" },
		{ "..", MB_NONE, 0, NULL, NULL, "0-0", 9, "dir:/a", "A", 0, NO,
		    "has rows of batch 0, which had none" },
		/* the sink is older, another, or gone */
		{ "...", 2, 3, "dir:/a", "A", "0-1", 1, "dir:/a", "A", 0, NO,
		    "lacks batch 2, which was committed" },
		{ "...", 2, 0, "dir:/a", "A", "", 0, "dir:/a", "A", 0, NO,
		    "lacks batch 2, which was committed" },
		{ "...", 2, 3, "dir:/a", "A", "0-2 1", 2, "dir:/a", "A", 0, NO,
		    "holds 2 batches, but held 3" },
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/a", NULL, 0, NO,
		    "it was removed" },
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/a", "B", 0, NO,
		    "dropped and made anew" },
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/b", "B", 0, NO,
		    "commits to dir:/a" },
		/* --new-target */
		{ "...", 2, 3, "dir:/a", "A", "0-1", 1, "dir:/a", "A", NEW,
		    OWN, NULL },
		{ "...", 2, 3, "dir:/a", "A", "0-2 1", 2, "dir:/a", "A", NEW,
		    OWN, NULL },
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/b", "B", NEW, OWN,
		    NULL },
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/a", NULL, NEW, OWN,
		    NULL },
		/* a replay elsewhere is a copy; in place it isn't */
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/b", "B", REPLAY,
		    COPY, NULL },
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/b", NULL, REPLAY,
		    COPY, NULL },
		{ "..", 1, 2, "dir:/a", "A", "0-0", 0, "dir:/b", "B", REPLAY,
		    COPY, NULL },
		{ ".P.", 2, 2, "dir:/a", "A", "0-2 1", 2, "dir:/a", "A",
		    REPLAY, OWN, NULL },
		{ "..", 1, 2, "dir:/a", "A", "", 0, "dir:/a", "B", REPLAY, NO,
		    "dropped and made anew" },
		{ "..", 1, 2, "dir:/a", "A", "0-5", 5, "dir:/b", "B", REPLAY,
		    NO, "has batch 5" },
		/* standard output has nothing to compare */
		{ "..", 1, 2, "-", "-", "", 0, "-", "-", STDOUT, OWN, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		struct mb_marker m;
		struct world w;
		struct mb_greeting g = {
			.state = &w.state, .marker = &m,
			.target = cases[i].given,
			.target_id = cases[i].given_id,
			.is_replay = cases[i].flags & REPLAY,
			.accepts_new = cases[i].flags & NEW,
			.has_no_marker = cases[i].flags & STDOUT,
		};
		char target[32], id[32];
		int rc;

		set_up(&w, cases[i].letters, cases[i].rows_batch);
		w.state.held = cases[i].held;
		if (cases[i].target != NULL) {
			snprintf(target, sizeof target, "%s", cases[i].target);
			snprintf(id, sizeof id, "%s", cases[i].target_id);
			w.state.target = target;
			w.state.target_id = id;
		}
		parse(&m, cases[i].marker);
		m.digest = digest(cases[i].digest);
		rc = mb_marker_greet(&g, &err);
		if (rc != cases[i].answer || (rc < 0 &&
		    (err.code != MB_ECORRUPT ||
		    strstr(err.msg, cases[i].says) == NULL ||
		    strstr(err.msg, cases[i].given) == NULL)))
			fail_msg("case %zu (\"%s\", marker \"%s\"): %d, %s", i,
			    cases[i].letters, cases[i].marker, rc, err.msg);
		mb_marker_release(&m);
	}
}

/* What a commit may tell the journal, and what it says. */
static void
test_tell(void **state)
{
	static const struct {
		const char *marker;
		uint64_t batch, told, held;
		int flags;
		uint64_t says;		/* 0: refused */
		const char *why;
	} cases[] = {
		/* the first, the next, one that fills a hole */
		{ "0-0", 0, MB_NONE, 0, 0, 1, NULL },
		{ "0-3", 3, 2, 3, 0, 4, NULL },
		{ "0-3", 1, 3, 3, 0, 4, NULL },
		/* another has stepped after us, and told before us */
		{ "0-3 2", 1, 3, 3, 0, 3, NULL },
		{ "0-2", 1, 2, 3, 0, 3, NULL },
		/* our step was undone, or that of the last who told */
		{ "0-3 1", 1, 3, 3, 0, 0, "lacks batch 1" },
		{ "0-2", 3, 2, 3, 0, 0, "lacks batch 3" },
		{ "0-3 1", 2, 1, 3, 0, 0, "lacks batch 1" },
		{ "", 0, MB_NONE, 0, 0, 0, "lacks batch 0" },
		/* --new-target takes it as it is */
		{ "0-3 1", 2, 1, 5, NEW, 3, NULL },
		/* standard output has no marker */
		{ "", 2, 1, 0, STDOUT, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		struct mb_marker m;
		struct world w;
		struct mb_greeting g = {
			.state = &w.state, .marker = &m, .target = "dir:/a",
			.target_id = "A",
			.accepts_new = cases[i].flags & NEW,
			.has_no_marker = cases[i].flags & STDOUT,
		};
		uint64_t held = 99;
		int rc;

		set_up(&w, "pppp", MB_NONE);
		w.state.told_batch = cases[i].told;
		w.state.held = cases[i].held;
		parse(&m, cases[i].marker);
		rc = mb_marker_tell(&g, cases[i].batch, &held, &err);
		if (rc != (cases[i].why != NULL ? -1 : 0) ||
		    (rc == 0 && held != cases[i].says) ||
		    (rc < 0 && (err.code != MB_ECORRUPT ||
		    strstr(err.msg, cases[i].why) == NULL)))
			fail_msg("case %zu (marker \"%s\", batch %" PRIu64
			    "): %d, held %" PRIu64 ", %s", i, cases[i].marker,
			    cases[i].batch, rc, held, err.msg);
		mb_marker_release(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_add_at_random),
		cmocka_unit_test(test_has),
		cmocka_unit_test(test_eq),
		cmocka_unit_test(test_holes_text),
		cmocka_unit_test(test_greet),
		cmocka_unit_test(test_tell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
