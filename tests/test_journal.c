#include "journal/journal.h"

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

#include "journal_help.h"

/* What is derived must be the same for those who keep all batches. */
static void
same_sums(const struct mb_state *a, const struct mb_state *b)
{
	assert_int_equal(a->next_batch, b->next_batch);
	assert_int_equal(a->settled, b->settled);
	assert_int_equal(a->last_commit, b->last_commit);
	assert_int_equal(a->rows_batch, b->rows_batch);
	assert_int_equal(a->told_batch, b->told_batch);
	assert_int_equal(a->held, b->held);
	assert_string_equal(a->digest.hex, b->digest.hex);
	for (uint64_t k = 0; k < a->next_batch; k++) {
		struct mb_batch *x = mb_state_batch(a, k);
		struct mb_batch *y = mb_state_batch(b, k);

		assert_int_equal(mb_state_may_commit(a, k, false),
		    mb_state_may_commit(b, k, false));
		assert_int_equal(mb_state_may_commit(a, k, true),
		    mb_state_may_commit(b, k, true));
		assert_non_null(y);
		if (x != NULL)
			assert_int_equal(x->state, y->state);
		else
			assert_true(y->state == MB_COMMITTED ||
			    (y->state == MB_VOID && k <= a->rows_batch));
	}
}

/* Folding may begin at any checkpoint. */
static void
test_checkpoints(void **state)
{
	enum { HISTORIES = 400, LINES = 60, STATES = 6 };

	(void)state;
	for (unsigned h = 1; h <= HISTORIES; h++) {
		unsigned seed = h;
		struct mb_state s[STATES], all;
		struct mb_buf line = { 0 };
		int n = 1;

		mb_state_init(&s[0], false);
		mb_state_init(&all, true);
		put_open(&line);
		fold(&s[0], &line);
		fold(&all, &line);
		for (int i = 0; i < LINES; i++) {
			if (!put_any(&line, &s[0], &seed, 0))
				continue;
			for (int k = 0; k < n; k++)
				fold(&s[k], &line);
			fold(&all, &line);
			if (n < STATES && rand_r(&seed) % 10 == 0) {
				mb_state_init(&s[n], false);
				mb_buf_reset(&line);
				put_open(&line);
				put_any_checkpoint(&line, &s[0], 0, &seed,
				    true);
				fold(&s[n++], &line);
			}
			for (int k = 1; k < n && (i % 8 == 0 ||
			    i > LINES - 4); k++) {
				char what[64];

				snprintf(what, sizeof what, "seed %u, line %d, "
				    "checkpoint %d", h, i, k);
				same(&s[0], &s[k], what);
			}
		}
		same_sums(&s[0], &all);
		for (int k = 0; k < n; k++)
			mb_state_release(&s[k]);
		mb_state_release(&all);
		mb_buf_release(&line);
	}
}

/* Which generations a state knows, and when it forgets them. */
static void
test_generations(void **state)
{
	enum { SOURCES = 200 };
	struct mb_state s, all;
	struct mb_buf line = { 0 };
	char name[32];

	(void)state;
	mb_state_init(&s, false);
	mb_state_init(&all, true);
	put_open(&line);
	/* Three of each source, in turn. */
	for (int i = 0; i < 3 * SOURCES; i++) {
		fold(&s, &line);
		fold(&all, &line);
		mb_buf_reset(&line);
		snprintf(name, sizeof name, "/f%d", i % SOURCES);
		put_new_source(&line, &s, name);
	}
	fold(&s, &line);
	fold(&all, &line);
	for (uint64_t i = 0; i < SOURCES; i++) {
		const struct mb_generation *g;

		snprintf(name, sizeof name, "/f%d", (int)i);
		g = mb_state_newest(&s, name);
		assert_int_equal(g->id, i + 2 * SOURCES);
		g = mb_state_elder(&s, g);
		assert_int_equal(g->id, i + SOURCES);
		g = mb_state_elder(&s, mb_state_elder(&s, g));
		assert_null(g);
		/* Final ones stay, forgotten ones go, also the newest. */
		mb_buf_reset(&line);
		mb_put_final(&line, i);
		mb_put_forget(&line, (uint64_t[]){ i + SOURCES,
		    i + 2 * SOURCES }, i % 2 == 0 ? 1 : 2);
		fold(&s, &line);
		fold(&all, &line);
		assert_int_equal(mb_state_newest(&s, name)->id,
		    i % 2 == 0 ? i + 2 * SOURCES : i);
		assert_int_equal(mb_state_newest(&all, name)->id,
		    i + 2 * SOURCES);
	}
	assert_null(mb_state_newest(&s, "/f"));
	assert_int_equal(s.n_generations, 3 * SOURCES / 2);
	assert_true(mb_state_generation(&s, 0)->is_final);
	mb_state_release(&s);
	mb_state_release(&all);
	mb_buf_release(&line);
}

/* What a batch needs is known as long as it does; what comes back stays. */
static void
test_forgotten_and_needed(void **state)
{
	struct mb_state s;
	struct mb_buf line = { 0 };
	unsigned seed = 5;

	(void)state;
	mb_state_init(&s, false);
	put_open(&line);
	fold(&s, &line);
	mb_buf_reset(&line);
	put_new_source(&line, &s, "/x");
	fold(&s, &line);
	for (int i = 0; i < 2; i++) {
		mb_buf_reset(&line);
		put_new_plan(&line, &s, &seed, 0);
		mb_put_forget(&line, (uint64_t[]){ 0 }, 1);
		fold(&s, &line);
		assert_true(mb_state_generation(&s, 0)->is_forgotten);
		if (i == 0) {
			/* As if it had turned up again. */
			s.generations[0].is_final = false;
			mb_buf_reset(&line);
			put_new_plan(&line, &s, &seed, 0);
			fold(&s, &line);
			assert_false(s.generations[0].is_forgotten);
			assert_int_equal(s.generations[0].time_ms,
			    1700000000001);
		}
	}
	for (uint64_t b = 0; b < 3; b++) {
		assert_int_equal(s.n_generations, 1);
		mb_buf_reset(&line);
		put_new_commit(&line, b, 5, NULL);
		fold(&s, &line);
	}
	assert_int_equal(s.n_generations, 0);
	assert_null(mb_state_newest(&s, "/x"));
	mb_state_release(&s);
	mb_buf_release(&line);
}

/* Lines that can't follow are refused, and say why. */
static void
test_lines_that_cannot_follow(void **state)
{
	static const struct {
		const char *line;	/* behind open, source, plan 0 and 1,
					   commit 0 */
		const char *says;
	} cases[] = {
		{ "\"mb\":\"open\",\"version\":1", "second" },
		{ "\"mb\":\"plan\",\"batch\":1", "plan" },
		{ "\"mb\":\"plan\",\"batch\":3", "plan" },
		{ "\"mb\":\"commit\",\"batch\":0", "settled" },
		{ "\"mb\":\"commit\",\"batch\":1", "incomplete" },
		{ "\"mb\":\"commit\",\"batch\":2", "isn't planned" },
		{ "\"mb\":\"commit\"", "isn't planned" },
		{ "\"mb\":\"unpark\",\"batch\":1", "isn't parked" },
		{ "\"mb\":\"park\",\"batch\":9", "isn't planned" },
		{ "\"mb\":\"run\",\"run\":0,\"role\":\"x\"", "run" },
		{ "\"mb\":\"source\",\"generation\":0", "source" },
		{ "\"mb\":\"final\",\"generation\":1", "final" },
		{ "\"mb\":\"forget\",\"generations\":[1]", "forget" },
		{ "\"mb\":\"forget\",\"generations\":[\"x\"]", "forget" },
		{ "\"mb\":\"lost\",\"generation\":0", "lost" },
		{ "\"mb\":\"lost\",\"generation\":0,\"start\":5,\"end\":4",
		    "lost" },
		{ "\"mb\":\"dance\"", "dance" },
		{ "\"no\":1", "kind" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		struct mb_state s;
		struct mb_buf line = { 0 };
		unsigned seed = 5;

		mb_state_init(&s, false);
		put_open(&line);
		fold(&s, &line);
		mb_buf_reset(&line);
		put_new_source(&line, &s, "/x");
		fold(&s, &line);
		for (int k = 0; k < 2; k++) {
			mb_buf_reset(&line);
			put_new_plan(&line, &s, &seed, 0);
			fold(&s, &line);
		}
		mb_buf_reset(&line);
		put_new_commit(&line, 0, 5, NULL);
		fold(&s, &line);
		mb_buf_reset(&line);
		mb_buf_addf(&line, "{%s}", cases[i].line);
		if (mb_state_apply(&s, (struct mb_str){ line.p, line.len },
		    &err) == 0 || err.code != MB_ECORRUPT ||
		    strstr(err.msg, cases[i].says) == NULL)
			fail_msg("%s: %s", cases[i].line, err.msg);
		mb_state_release(&s);
		mb_buf_release(&line);
	}
}

/*
 * Real files.
 */

static void
test_create_and_open(void **state)
{
	struct mb_err err = { 0 };
	struct mb_journal *j;
	struct stat st;
	char first[MB_ID_LEN + 1];

	(void)state;
	assert_int_equal(mb_journal_open(&j, path, 0, &err), -1);
	assert_int_equal(err.code, MB_EUSAGE);
	assert_int_equal(access(path, F_OK), -1);
	j = open_journal(MB_JOURNAL_CREATE);
	memcpy(first, mb_journal_state(j)->id, sizeof first);
	assert_true(mb_is_hex(mb_str(first), MB_ID_LEN));
	assert_string_equal(mb_journal_path(j), path);
	assert_null(mb_journal_notice(j));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	add_run(j, "collect", MB_NONE);
	for (int i = 0; i < 5; i++)
		add_batch(j, i == 3 ? MB_NONE : (uint64_t)i, true);
	add_run(j, "commit", 0);
	assert_int_equal(mb_journal_state(j)->settled, 2);
	assert_int_equal(mb_journal_state(j)->committer_of, 0);
	same_as_file(j, "written");
	mb_journal_close(j);
	/* Again, made or not. */
	for (int flags = 0; flags <= MB_JOURNAL_CREATE; flags++) {
		j = open_journal(flags);
		assert_string_equal(mb_journal_state(j)->id, first);
		assert_int_equal(mb_journal_state(j)->n_batches, 2);
		same_as_file(j, "opened");
		mb_journal_close(j);
	}
	j = open_journal(MB_JOURNAL_ALL);
	assert_int_equal(mb_journal_state(j)->n_batches, 5);
	mb_journal_close(j);
}

/* Each decides on everything that stands before its line. */
static void
test_two_writers(void **state)
{
	struct mb_journal *j[3];
	struct mb_buf line = { 0 };
	unsigned seed = 20261123;

	(void)state;
	for (int i = 0; i < 3; i++)
		j[i] = open_journal(MB_JOURNAL_CREATE);
	for (int i = 0; i < 400; i++) {
		struct mb_journal *one = j[rand_r(&seed) % 3];
		struct mb_err err = { 0 };

		good(mb_journal_enter(one, &err), &err);
		if (put_any(&line, mb_journal_state(one), &seed,
		    mb_journal_synced(one)))
			good(mb_journal_write(one, &line, &err), &err);
		mb_journal_leave(one);
		if (rand_r(&seed) % 8 == 0)
			good(mb_journal_sync(one, &err), &err);
	}
	for (int i = 0; i < 3; i++) {
		struct mb_err err = { 0 };

		good(mb_journal_refresh(j[i], &err), &err);
		same_as_file(j[i], "one of three");
		assert_null(mb_journal_notice(j[i]));
		mb_journal_close(j[i]);
	}
	mb_buf_release(&line);
}

static void
test_locks(void **state)
{
	struct mb_journal *a = open_journal(MB_JOURNAL_CREATE);
	struct mb_journal *b = open_journal(0);
	struct mb_err err = { 0 };

	(void)state;
	assert_int_equal(mb_journal_lock(a, MB_LOCK_COLLECTOR, false, 0, &err),
	    1);
	assert_int_equal(mb_journal_lock(b, MB_LOCK_COLLECTOR, false, 0, &err),
	    0);
	assert_int_equal(mb_journal_lock(b, MB_LOCK_COLLECTOR, false, 3000,
	    &err), 0);
	assert_int_equal(mb_journal_lock(a, MB_LOCK_PIPELINE, true, 0, &err),
	    1);
	assert_int_equal(mb_journal_lock(b, MB_LOCK_PIPELINE, true, 0, &err),
	    1);
	mb_journal_unlock(b, MB_LOCK_PIPELINE);
	assert_int_equal(mb_journal_lock(b, MB_LOCK_PIPELINE, false, 0, &err),
	    0);
	/* Closing lets go of all. */
	mb_journal_close(a);
	assert_int_equal(mb_journal_lock(b, MB_LOCK_COLLECTOR, false, 0, &err),
	    1);
	assert_int_equal(mb_journal_lock(b, MB_LOCK_PIPELINE, false, 0, &err),
	    1);
	mb_journal_close(b);
}

/* J8: what a writer that died has left is cut by the next, and kept. */
static void
test_torn_tail(void **state)
{
	static const char *const tails[] = {
		"{\"mb\":\"commit\",\"batch\":2,\"ru", "\n", "\n\n", "x",
		"{\"mb\":\"fail\",\"batch\":2,\"crc\":\"00000000\"}\n",
	};
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE), *other;
	char *before, *now, name[256];

	(void)state;
	for (int i = 0; i < 3; i++)
		add_batch(j, MB_NONE, true);
	other = open_journal(0);
	before = say(mb_journal_state(j));
	for (size_t i = 0; i <= sizeof tails / sizeof *tails; i++) {
		struct mb_buf whole = slurp(path), left, kept;
		struct mb_buf tail = { 0 };
		struct mb_err err = { 0 };
		const char *notice;
		FILE *f;

		if (i < sizeof tails / sizeof *tails) {
			mb_buf_adds(&tail, tails[i]);
		} else {
			/* A hole, and a good later line behind it. */
			mb_buf_reserve(&tail, 100);
			memset(tail.p, 0, 100);
			tail.len = 100;
			mb_buf_addc(&tail, '\n');
			put_new_commit(&tail, 0, 5, NULL);
		}
		f = fopen(path, "a");
		fwrite(tail.p, 1, tail.len, f);
		fclose(f);
		/* Without the lock nothing is cut, and nothing believed. */
		good(mb_journal_refresh(other, &err), &err);
		assert_null(mb_journal_notice(other));
		left = slurp(path);
		assert_int_equal(left.len, whole.len + tail.len);
		mb_buf_release(&left);
		/* With it, it is cut. */
		good(mb_journal_enter(i % 2 ? j : other, &err), &err);
		mb_journal_leave(i % 2 ? j : other);
		notice = mb_journal_notice(i % 2 ? j : other);
		assert_non_null(notice);
		snprintf(name, sizeof name, "byte %zu", whole.len);
		if (strstr(notice, name) == NULL)
			fail_msg("%s", notice);
		assert_null(mb_journal_notice(i % 2 ? j : other));
		left = slurp(path);
		assert_int_equal(left.len, whole.len);
		assert_memory_equal(left.p, whole.p, whole.len);
		good(mb_journal_refresh(j, &err), &err);
		same_as_file(j, "after the cut");
		/* Kept with a line that names the journal; offsets are
		 * logical, from behind the open line. */
		snprintf(name, sizeof name, "%s.d/cut/%020zu", path,
		    whole.len - (size_t)((char *)memchr(whole.p, '\n',
		    whole.len) + 1 - whole.p));
		kept = slurp(name);
		assert_non_null(strstr(mb_buf_str(&kept),
		    mb_journal_state(j)->id));
		assert_true(kept.len > tail.len);
		assert_memory_equal(kept.p + kept.len - tail.len, tail.p,
		    tail.len);
		mb_buf_release(&kept);
		mb_buf_release(&left);
		mb_buf_release(&whole);
		mb_buf_release(&tail);
	}
	now = say(mb_journal_state(j));
	assert_string_equal(before, now);
	free(now);
	/* And one goes on. */
	add_batch(other, 5, true);
	add_batch(j, 5, true);
	same_as_file(j, "in the end");
	free(before);
	mb_journal_close(other);
	mb_journal_close(j);
}

/* J3.  The line is bad, and a later one says that it was synced. */
static void
test_damage(void **state)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE);
	struct mb_err err = { 0 };
	struct mb_buf bytes, after;
	char expected[64];
	size_t bad;

	(void)state;
	for (int i = 0; i < 4; i++)
		add_batch(j, 5, true);
	mb_journal_close(j);
	bytes = slurp(path);
	bad = (size_t)(strstr(mb_buf_str(&bytes), "{\"mb\":\"commit\"") -
	    bytes.p);
	bytes.p[bad + 20] ^= 1;
	spew(path, bytes.p, bytes.len);
	assert_int_equal(mb_journal_open(&j, path, 0, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	snprintf(expected, sizeof expected, "damaged at byte %zu:", bad);
	if (strstr(err.msg, expected) == NULL || strstr(err.msg, path) == NULL)
		fail_msg("%s (not %s)", err.msg, expected);
	after = slurp(path);
	assert_int_equal(after.len, bytes.len);
	assert_memory_equal(after.p, bytes.p, bytes.len);
	mb_buf_release(&after);
	mb_buf_release(&bytes);
}

/*
 * Each byte of a journal of three batches flipped in each bit, and each
 * truncation.  Acceptable is
 *
 *  - the journal is refused, MB_ECORRUPT, naming the byte at which the
 *    damaged line begins, and the file is left alone: always where a later
 *    line vouches for this one, and in the first line;
 *  - or the state is that of the lines before the damage, the rest was cut
 *    and kept, and said: it may as well have been torn by a power cut.
 *
 * Anything else, above all another state, is not.
 */
struct original {
	struct mb_buf bytes;
	size_t starts[64];		/* of lines, and the end */
	char *states[64];		/* after so many lines */
	size_t n;
	size_t vouched;			/* up to here, by its last plan */
};

static void
make_original(struct original *o)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE);
	const char *p, *plan = NULL;
	struct mb_state s;
	uint64_t synced;

	add_run(j, "collect", MB_NONE);
	for (int i = 0; i < 3; i++)
		add_batch(j, 5, true);
	mb_journal_close(j);
	*o = (struct original){ .bytes = slurp(path) };
	mb_state_init(&s, false);
	for (p = mb_buf_str(&o->bytes); *p != '\0'; o->n++) {
		size_t len = strcspn(p, "\n") + 1;
		struct mb_buf line = { .p = (char *)(uintptr_t)p, .len = len };

		if (strncmp(p, "{\"mb\":\"plan\"", 12) == 0)
			plan = p;
		o->starts[o->n] = (size_t)(p - o->bytes.p);
		fold(&s, &line);
		o->states[o->n + 1] = say(&s);
		p += len;
	}
	o->starts[o->n] = o->bytes.len;
	synced = strtoull(strstr(plan, "\"synced\":") + 9, NULL, 10);
	o->vouched = o->starts[1] + (size_t)synced;
	assert_true(o->vouched > o->starts[4]);
	mb_state_release(&s);
}

static void
release_original(struct original *o)
{
	for (size_t i = 1; i <= o->n; i++)
		free(o->states[i]);
	mb_buf_release(&o->bytes);
}

/* The file was damaged in the line `bad`. */
static void
check_damaged(const struct original *o, size_t bad, bool must_refuse,
    size_t len, const char *what)
{
	struct mb_err err = { 0 };
	struct mb_journal *j;
	char expected[64], *is;
	struct stat st;

	if (mb_journal_open(&j, path, 0, &err) < 0) {
		snprintf(expected, sizeof expected, "at byte %zu:",
		    o->starts[bad]);
		if (err.code != MB_ECORRUPT ||
		    strstr(err.msg, expected) == NULL)
			fail_msg("%s: %s, not %s", what, err.msg, expected);
		if (!must_refuse)
			fail_msg("%s: refused, but may be torn: %s", what,
			    err.msg);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, len);
		return;
	}
	is = say(mb_journal_state(j));
	if (must_refuse)
		fail_msg("%s: taken", what);
	if (strcmp(is, o->states[bad]) != 0)
		fail_msg("%s: another state:\n%s%s", what, is, o->states[bad]);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, o->starts[bad]);
	if (len > o->starts[bad])
		assert_non_null(mb_journal_notice(j));
	free(is);
	mb_journal_close(j);
}

static size_t
line_at(const struct original *o, size_t off)
{
	size_t line = 0;

	while (line < o->n && o->starts[line + 1] <= off)
		line++;
	return line;
}

static void
test_each_bit(void **state)
{
	struct original o;
	char what[64];

	(void)state;
	make_original(&o);
	for (size_t off = 0; off < o.bytes.len; off++)
		for (int bit = 0; bit < 8; bit++) {
			size_t line = line_at(&o, off);

			o.bytes.p[off] ^= (char)(1 << bit);
			spew(path, o.bytes.p, o.bytes.len);
			o.bytes.p[off] ^= (char)(1 << bit);
			snprintf(what, sizeof what, "byte %zu, bit %d", off,
			    bit);
			check_damaged(&o, line, line == 0 ||
			    o.starts[line] < o.vouched, o.bytes.len, what);
		}
	release_original(&o);
}

static void
test_each_truncation(void **state)
{
	struct original o;
	char what[64];

	(void)state;
	make_original(&o);
	for (size_t len = 0; len <= o.bytes.len; len++) {
		size_t line = line_at(&o, len);

		spew(path, o.bytes.p, len);
		snprintf(what, sizeof what, "%zu bytes", len);
		check_damaged(&o, line, line == 0, len, what);
	}
	release_original(&o);
}

/* Seen is not durable. */
static void
test_harden(void **state)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE), *other;
	struct mb_err err = { 0 };
	struct mb_buf before, after;

	(void)state;
	for (int i = 0; i < 6; i++)
		add_batch(j, 5, i < 3);
	other = open_journal(0);
	before = slurp(path);
	assert_true(mb_journal_synced(other) <
	    before.len - (size_t)((char *)memchr(before.p, '\n', before.len) +
	    1 - before.p));
	good(mb_journal_harden(other, &err), &err);
	after = slurp(path);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.p, after.p, after.len);
	assert_int_equal(mb_journal_synced(other),
	    before.len - (size_t)((char *)memchr(before.p, '\n', before.len) +
	    1 - before.p));
	add_batch(j, 5, false);
	good(mb_journal_harden(other, &err), &err);
	good(mb_journal_harden(other, &err), &err);
	same_as_file(other, "hardened");
	mb_buf_release(&before);
	mb_buf_release(&after);
	mb_journal_close(other);
	mb_journal_close(j);
}

/* I4: a rewrite changes what is remembered, not what is so. */
static void
test_rewrite(void **state)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE), *other, *third;
	struct mb_err err = { 0 };
	struct mb_buf line = { 0 };
	struct stat was, is;
	uint64_t synced = 0;
	int rewrites = 0;

	(void)state;
	other = open_journal(0);
	third = open_journal(0);
	for (uint64_t i = 0; i < 400; i++) {
		char *before;

		add_batch(j, i == 7 || i == 150 ? MB_NONE : i % 3, i % 10 == 0);
		if (i == 7 || i == 150) {
			mb_buf_reset(&line);
			put_word(&line, "park", i);
			append(other, &line);
		}
		good(mb_journal_refresh(j, &err), &err);
		assert_int_equal(stat(path, &was), 0);
		before = say(mb_journal_state(j));
		good(mb_journal_tidy(j, 20, &err), &err);
		assert_int_equal(stat(path, &is), 0);
		if (was.st_ino != is.st_ino) {
			char *after = say(mb_journal_state(j));

			rewrites++;
			assert_true(is.st_size < was.st_size);
			assert_string_equal(before, after);
			free(after);
			/* Offsets go on. */
			assert_true(mb_journal_synced(j) >= synced);
		}
		free(before);
		synced = mb_journal_synced(j);
		if (i % 7 == 0) {
			/* Sees it, and goes on. */
			add_run(other, "commit", 0);
			good(mb_journal_refresh(j, &err), &err);
			same(mb_journal_state(j), mb_journal_state(other),
			    "the other one");
		}
	}
	assert_true(rewrites >= 3);
	same_as_file(j, "rewritten");
	/* Was away over all of them. */
	good(mb_journal_refresh(third, &err), &err);
	same(mb_journal_state(j), mb_journal_state(third), "the third one");
	mb_journal_close(third);
	/* Of what is settled, `retain` are left, and all that is parked. */
	third = open_journal(MB_JOURNAL_ALL);
	assert_non_null(mb_state_batch(mb_journal_state(third), 7));
	assert_non_null(mb_state_batch(mb_journal_state(third), 150));
	assert_null(mb_state_batch(mb_journal_state(third), 149));
	assert_non_null(mb_state_batch(mb_journal_state(third), 399 - 20));
	mb_journal_close(third);
	/* A parked one comes back, although its plan is gone. */
	mb_buf_reset(&line);
	put_new_commit(&line, 7, 5, NULL);
	append(other, &line);
	add_batch(j, 5, true);
	same_as_file(j, "committed");
	mb_journal_close(other);
	/* A torn tail of the rewritten file, at its place in it. */
	mb_journal_close(j);
	assert_int_equal(stat(path, &was), 0);
	assert_int_equal(truncate(path, was.st_size - 3), 0);
	j = open_journal(0);
	assert_non_null(mb_journal_notice(j));
	add_batch(j, 5, true);
	same_as_file(j, "cut");
	mb_journal_close(j);
	mb_buf_release(&line);
}

/* Bytes that this process has read, by system calls. */
static uint64_t
bytes_read(void)
{
	struct mb_buf text = slurp("/proc/self/io");
	uint64_t n = strtoull(mb_buf_str(&text) + strlen("rchar: "), NULL, 10);

	mb_buf_release(&text);
	return n;
}

/* Opening costs what is live. */
static void
test_open_from_checkpoint(void **state)
{
	enum { BATCHES = 12000 };
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE);
	struct mb_err err = { 0 };
	uint64_t before, n;
	struct stat st;

	(void)state;
	for (int i = 0; i < BATCHES; i++) {
		add_batch(j, i % 100 == 99 ? MB_NONE : 5, false);
		if (i % 100 == 99) {
			struct mb_buf line = { 0 };

			put_new_commit(&line, (uint64_t)i, 5, NULL);
			append(j, &line);
			mb_buf_release(&line);
			good(mb_journal_tidy(j, MB_NONE, &err), &err);
		}
	}
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 6 << 20);
	mb_journal_close(j);
	before = bytes_read();
	j = open_journal(0);
	n = bytes_read() - before;
	if (n > 2 << 20)
		fail_msg("%" PRIu64 " of %jd bytes read", n,
		    (intmax_t)st.st_size);
	same_as_file(j, "from the checkpoint");
	/* Torn behind the checkpoint: cut; and it isn't taken for another. */
	mb_journal_close(j);
	assert_int_equal(truncate(path, st.st_size - 5), 0);
	j = open_journal(0);
	assert_non_null(mb_journal_notice(j));
	same_as_file(j, "torn");
	mb_journal_close(j);
}

/*
 * A part that is torn or wrong is no checkpoint, and nothing is lost by it,
 * unless a later line vouches for it.
 */
static void
test_parts(void **state)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE);
	struct mb_checkpoint c = { .most = 1 };
	struct mb_buf line = { 0 }, before, with, after;
	struct mb_err err = { 0 };
	unsigned seed = 7;
	uint64_t n_lines = 1;

	(void)state;
	while (mb_journal_state(j)->n_generations < 5) {
		good(mb_journal_enter(j, &err), &err);
		mb_buf_reset(&line);
		if (!put_any(&line, mb_journal_state(j), &seed, 0))
			mb_buf_reset(&line);
		good(mb_journal_write(j, &line, &err), &err);
		mb_journal_leave(j);
	}
	before = slurp(path);
	good(mb_journal_enter(j, &err), &err);
	good(mb_journal_sync(j, &err), &err);
	mb_buf_reset(&line);
	while (mb_put_checkpoint_line(&line, mb_journal_state(j),
	    mb_journal_synced(j), &c))
		n_lines++;
	assert_int_equal(n_lines, 6);
	good(mb_journal_write(j, &line, &err), &err);
	mb_journal_leave(j);
	mb_journal_close(j);
	with = slurp(path);
	j = open_journal(0);
	same_as_file(j, "parts");
	good(mb_journal_sync(j, &err), &err);
	add_batch(j, 1, false);
	mb_journal_close(j);
	after = slurp(path);
	/* Each byte: the end of the file, wrong, or wrong and vouched for. */
	for (size_t at = before.len; at < with.len; at += 1 + at % 7) {
		for (int how = 0; how < 3; how++) {
			struct mb_buf *b = how == 2 ? &after : &with;
			FILE *f = fopen(path, "w");

			if (how > 0)
				b->p[at] ^= 1;
			assert_int_equal(fwrite(b->p, 1, how > 0 ? b->len :
			    at, f), how > 0 ? b->len : at);
			assert_int_equal(fclose(f), 0);
			if (how > 0)
				b->p[at] ^= 1;
			err = (struct mb_err){ 0 };
			if (mb_journal_open(&j, path, 0, &err) < 0) {
				if (how < 2 || err.code != MB_ECORRUPT)
					fail_msg("byte %zu, %d: %s", at, how,
					    err.msg);
				continue;
			}
			if (how == 2)
				fail_msg("byte %zu: not noticed", at);
			same_as_file(j, "wrong parts");
			assert_int_equal(mb_journal_state(j)->n_generations,
			    5);
			mb_journal_close(j);
		}
	}
	mb_buf_release(&line);
	mb_buf_release(&before);
	mb_buf_release(&with);
	mb_buf_release(&after);
}

/* In every mixture of lines and checkpoints, at every place. */
static void
test_checkpoints_in_files(void **state)
{
	(void)state;
	for (unsigned h = 1; h <= 60; h++) {
		struct mb_journal *j;
		struct mb_buf line = { 0 }, bytes;
		struct mb_err err = { 0 };
		unsigned seed = h;
		size_t open_len;

		clear_directory(place);
		j = open_journal(MB_JOURNAL_CREATE);
		bytes = slurp(path);
		open_len = bytes.len;
		mb_buf_release(&bytes);
		for (int i = 0; i < 60; i++) {
			good(mb_journal_enter(j, &err), &err);
			mb_buf_reset(&line);
			if (rand_r(&seed) % 12 == 0) {
				good(mb_journal_sync(j, &err), &err);
				put_any_checkpoint(&line,
				    mb_journal_state(j), mb_journal_synced(j),
				    &seed, false);
			} else if (!put_any(&line, mb_journal_state(j), &seed,
			    mb_journal_synced(j))) {
				mb_buf_reset(&line);
			}
			good(mb_journal_write(j, &line, &err), &err);
			mb_journal_leave(j);
		}
		mb_journal_close(j);
		j = open_journal(0);
		same_as_file(j, "some checkpoints");
		bytes = slurp(path);
		assert_true(mb_journal_state(j)->synced <= bytes.len -
		    open_len);
		mb_buf_release(&bytes);
		mb_buf_release(&line);
		mb_journal_close(j);
	}
}

/*
 * J5, J6, J9: files that don't belong together.
 */
static void
refused(int flags, enum mb_code code, const char *says)
{
	struct mb_err err = { 0 };
	struct mb_journal *j;

	if (mb_journal_open(&j, path, flags, &err) == 0)
		fail_msg("taken, not refused with \"%s\"", says);
	if (err.code != code || strstr(err.msg, says) == NULL ||
	    strstr(err.msg, path) == NULL)
		fail_msg("%d, %s, not \"%s\"", (int)err.code, err.msg, says);
}

static void
test_strangers(void **state)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE);
	struct mb_err err = { 0 };
	struct mb_buf ours, lock, line = { 0 };
	char name[160], other[160];

	(void)state;
	snprintf(name, sizeof name, "%s.d/lock", path);
	snprintf(other, sizeof other, "%s.other", path);
	add_batch(j, 5, true);
	ours = slurp(path);
	lock = slurp(name);
	mb_journal_close(j);
	/* Another's directory. */
	mb_line_begin(&line, "lock");
	mb_line_str(&line, "journal", "ffffffffffffffffffffffffffffffff");
	mb_line_seal(&line, 0);
	spew(name, line.p, line.len);
	refused(0, MB_ECORRUPT, "belongs to journal ffffffff");
	/* Torn by a crash of the first start: ours. */
	spew(name, lock.p, lock.len / 2);
	mb_journal_close(open_journal(0));
	mb_buf_release(&line);
	line = slurp(name);
	assert_int_equal(line.len, lock.len);
	assert_memory_equal(line.p, lock.p, lock.len);
	mb_buf_release(&line);
	/* The journal is gone. */
	assert_int_equal(unlink(path), 0);
	refused(0, MB_EUSAGE, "no such journal");
	refused(MB_JOURNAL_CREATE, MB_ECORRUPT, "the journal is gone");
	assert_int_equal(access(path, F_OK), -1);
	/* Something else is there. */
	spew(path, "", 0);
	refused(MB_JOURNAL_CREATE, MB_ECORRUPT, "at byte 0");
	spew(path, "hello\n", 6);
	refused(0, MB_ECORRUPT, "at byte 0");
	/* A shorter copy takes our place while we are at it. */
	spew(path, ours.p, ours.len);
	j = open_journal(0);
	add_batch(j, 5, true);
	spew(other, ours.p, ours.len);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(mb_journal_refresh(j, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	assert_non_null(strstr(err.msg, "is shorter"));
	mb_journal_close(j);
	/* In place, too. */
	j = open_journal(0);
	spew(path, ours.p, ours.len - 10);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_journal_enter(j, &err), -1);
	assert_non_null(strstr(err.msg, "is shorter"));
	mb_journal_close(j);
	/* Or another journal. */
	spew(path, ours.p, ours.len);
	j = open_journal(0);
	mb_buf_reset(&ours);
	put_open(&ours);
	spew(other, ours.p, ours.len);
	assert_int_equal(rename(other, path), 0);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_journal_enter(j, &err), -1);
	assert_non_null(strstr(err.msg, "became another journal"));
	mb_journal_close(j);
	mb_buf_release(&ours);
	mb_buf_release(&lock);
}

static void
test_choose(void **state)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE);

	(void)state;
	mb_journal_close(j);
	assert_string_equal(mb_journal_choose("a", "b", path), "a");
	assert_string_equal(mb_journal_choose(NULL, "b", path), "b");
	assert_string_equal(mb_journal_choose(NULL, "", path), path);
	assert_string_equal(mb_journal_choose(NULL, NULL, path), path);
	assert_null(mb_journal_choose(NULL, NULL, NULL));
	assert_null(mb_journal_choose(NULL, NULL, "/nowhere/j.mbj"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checkpoints),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_forgotten_and_needed),
		cmocka_unit_test(test_lines_that_cannot_follow),
		cmocka_unit_test_setup(test_create_and_open, begin_anew),
		cmocka_unit_test_setup(test_two_writers, begin_anew),
		cmocka_unit_test_setup(test_locks, begin_anew),
		cmocka_unit_test_setup(test_torn_tail, begin_anew),
		cmocka_unit_test_setup(test_damage, begin_anew),
		cmocka_unit_test_setup(test_each_bit, begin_anew),
		cmocka_unit_test_setup(test_each_truncation, begin_anew),
		cmocka_unit_test_setup(test_harden, begin_anew),
		cmocka_unit_test_setup(test_rewrite, begin_anew),
		cmocka_unit_test_setup(test_open_from_checkpoint, begin_anew),
		cmocka_unit_test_setup(test_checkpoints_in_files, begin_anew),
		cmocka_unit_test_setup(test_parts, begin_anew),
		cmocka_unit_test_setup(test_strangers, begin_anew),
		cmocka_unit_test_setup(test_choose, begin_anew),
	};

	return cmocka_run_group_tests(tests, set_up_path, tear_down_place);
}
