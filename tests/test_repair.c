#include "journal/repair.h"

#include "journal_help.h"

/*
 * Journals as text: any lines, checkpoints among them, and `synced` now and
 * then where the line stands.
 */
enum { LINES = 60, MOST = 5000 };

struct text {
	struct mb_buf bytes;
	size_t head;		/* length of the `open` line */
	size_t starts[MOST];	/* of lines, and the end */
	size_t n;
	struct mb_state state;	/* after all of them */
};

static const char id[] = "0123456789abcdef0123456789abcdef";

static void
add_lines(struct text *t, const struct mb_buf *lines)
{
	fold(&t->state, lines);
	for (size_t i = 0; i < lines->len; i++) {
		mb_buf_addc(&t->bytes, lines->p[i]);
		if (lines->p[i] == '\n')
			t->starts[++t->n] = t->bytes.len;
	}
}

static void
make_text(struct text *t, size_t n, unsigned seed, bool has_checkpoints)
{
	struct mb_buf line = { 0 };
	uint64_t synced = 0;

	*t = (struct text){ .n = 0 };
	mb_state_init(&t->state, false);
	put_open(&line);
	add_lines(t, &line);
	t->head = line.len;
	while (t->n < n) {
		if (rand_r(&seed) % 2 == 0)
			synced = t->bytes.len - t->head;
		mb_buf_reset(&line);
		if (has_checkpoints && rand_r(&seed) % 12 == 0)
			put_any_checkpoint(&line, &t->state, t->bytes.len -
			    t->head, &seed, true);
		else if (!put_any(&line, &t->state, &seed, synced))
			continue;
		add_lines(t, &line);
	}
	mb_buf_release(&line);
}

static void
release_text(struct text *t)
{
	mb_state_release(&t->state);
	mb_buf_release(&t->bytes);
}

static bool
is_kind(const struct text *t, size_t line, const char *kind)
{
	char start[64];
	size_t len = (size_t)snprintf(start, sizeof start, "{\"mb\":\"%s\"",
	    kind);

	return memcmp(t->bytes.p + t->starts[line], start, len) == 0;
}

/* Does a line from `behind` on say that this one was synced? */
static bool
is_vouched(const struct text *t, size_t line, size_t behind)
{
	struct mb_buf text = { 0 };
	bool is = false;

	for (size_t i = behind; i < t->n && !is; i++) {
		const char *synced = NULL;

		if (!is_kind(t, i, "plan") && !is_kind(t, i, "part") &&
		    !is_kind(t, i, "checkpoint"))
			continue;
		mb_buf_reset(&text);
		mb_buf_add(&text, t->bytes.p + t->starts[i],
		    t->starts[i + 1] - t->starts[i]);
		/* The last such member is the line's own. */
		for (const char *p = mb_buf_str(&text); (p = strstr(p,
		    "\"synced\":")) != NULL; p++)
			synced = p + 9;
		assert_non_null(synced);
		is = strtoull(synced, NULL, 10) + t->head > t->starts[line];
	}
	mb_buf_release(&text);
	return is;
}

/* Each bit of a line: the checksum tells which. */
static void
test_find_flip(void **state)
{
	char text[] = "{\"mb\":\"final\",\"generation\":0,\"crc\":\"00000000\"}";
	struct mb_buf line = { 0 };
	size_t byte, len;
	unsigned bit;

	(void)state;
	mb_put_final(&line, 7);
	len = line.len - 1;
	for (size_t i = 0; i < len; i++)
		for (unsigned k = 0; k < 8; k++) {
			line.p[i] ^= (char)(1 << k);
			if (!mb_line_find_flip((struct mb_str){ line.p, len },
			    &byte, &bit) || byte != i || bit != k)
				fail_msg("byte %zu, bit %u", i, k);
			/* Two are not one. */
			for (size_t m = i + 1; m < len - 18; m++) {
				line.p[m] ^= 1;
				if (mb_line_find_flip((struct mb_str){
				    line.p, len }, &byte, &bit))
					fail_msg("bytes %zu, %zu", i, m);
				line.p[m] ^= 1;
			}
			line.p[i] ^= (char)(1 << k);
		}
	assert_true(mb_line_check((struct mb_str){ line.p, len }));
	assert_false(mb_line_find_flip(mb_str(text), &byte, &bit));
	assert_false(mb_line_find_flip(mb_str(""), &byte, &bit));
	assert_false(mb_line_find_flip(mb_str("{}"), &byte, &bit));
	mb_buf_release(&line);
}

/* Whatever bit is wrong, it is put back, and no other. */
static void
test_each_bit(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 1; seed++) {
		struct text t;
		unsigned dice = seed;

		make_text(&t, 25, seed, true);
		for (size_t off = 0; off < t.bytes.len; off++) {
			unsigned bit = (unsigned)rand_r(&dice) % 8;
			struct mb_repair r;

			t.bytes.p[off] ^= (char)(1 << bit);
			mb_repair_decide(&r, (struct mb_str){ t.bytes.p,
			    t.bytes.len }, id);
			t.bytes.p[off] ^= (char)(1 << bit);
			if (r.verdict != MB_REPAIR_POSSIBLE ||
			    r.file.len != t.bytes.len ||
			    memcmp(r.file.p, t.bytes.p, r.file.len) != 0)
				fail_msg("seed %u, byte %zu, bit %u: %d, %s",
				    seed, off, bit, (int)r.verdict,
				    mb_buf_str(&r.says));
			mb_repair_release(&r);
		}
		release_text(&t);
	}
}

/*
 * May `is` be what was made of a damaged journal whose state was `was`?  All
 * plans are there, and with them all ranges; and nothing is settled that
 * wasn't, but that what was unparked may be parked.
 */
static const char *
compare(const struct mb_state *was, const struct mb_state *is)
{
	if (was->next_batch != is->next_batch ||
	    strcmp(was->digest.hex, is->digest.hex) != 0)
		return "other plans";
	if (is->next_run < was->next_run)
		return "a run's number would come twice";
	for (size_t i = 0; i < was->n_batches; i++) {
		const struct mb_batch *a = &was->batches[i];
		const struct mb_batch *b = mb_state_batch(is, a->number);

		if (a->state == MB_COMMITTED || a->state == MB_VOID)
			continue;
		if (b == NULL || (b->state != MB_PLANNED &&
		    b->state != MB_PARKED))
			return "a batch that isn't committed is settled";
	}
	for (size_t i = 0; i < was->n_generations; i++) {
		const struct mb_generation *a = &was->generations[i];
		const struct mb_generation *b = mb_state_generation(is, a->id);

		if (a->anchored > 0 && (b == NULL || b->end != a->end))
			return "another position";
	}
	return NULL;
}

/* The file that was made, read from its head. */
static void
check_mended(const struct text *t, const struct mb_repair *r, const char *what)
{
	const char *wrong;
	struct mb_state s;

	mb_state_init(&s, false);
	fold(&s, &r->file);
	wrong = compare(&t->state, &s);
	if (wrong != NULL)
		fail_msg("%s: %s\n%s", what, wrong, r->says.p);
	mb_state_release(&s);
}

/* Zeros, or any bytes, in the place of [from, to). */
static void
smash(struct mb_buf *bytes, size_t from, size_t to, unsigned *seed)
{
	bool is_zero = rand_r(seed) % 2;

	for (size_t i = from; i < to; i++)
		bytes->p[i] = is_zero ? '\0' : (char)rand_r(seed);
}

static void
copy(struct mb_buf *out, const struct text *t)
{
	mb_buf_reset(out);
	mb_buf_add(out, t->bytes.p, t->bytes.len);
}

/*
 * Each line made unreadable, alone and with those behind it.  Without plans
 * and sources it can be left out; with them the target has to tell, or, where
 * there is one, a checkpoint.
 */
static void
test_each_line(void **state)
{
	unsigned n_mended = 0, n_hopeless = 0, n_begun = 0;

	(void)state;
	for (unsigned seed = 1; seed <= 24; seed++) {
		struct mb_buf bytes = { 0 };
		struct text t;
		unsigned dice = seed;

		make_text(&t, LINES, seed, seed % 2 == 0);
		for (size_t i = 1; i < t.n; i++) {
			size_t k = i + 1 + (unsigned)rand_r(&dice) % 3;
			bool has_plan = false;
			struct mb_repair r;
			char what[128];

			k = k > t.n ? t.n : k;
			if (!is_vouched(&t, i, k))
				break;
			for (size_t m = i; m < k; m++)
				has_plan = has_plan || is_kind(&t, m, "plan");
			snprintf(what, sizeof what, "seed %u, lines %zu to %zu",
			    seed, i, k);
			copy(&bytes, &t);
			smash(&bytes, t.starts[i] + 1, t.starts[k] - 2, &dice);
			mb_repair_decide(&r, (struct mb_str){ bytes.p,
			    bytes.len }, id);
			(void)mb_buf_str(&r.says);
			if (r.verdict == MB_REPAIR_NEEDLESS)
				fail_msg("%s: not noticed", what);
			n_hopeless += r.verdict == MB_REPAIR_HOPELESS;
			if (r.verdict == MB_REPAIR_POSSIBLE) {
				check_mended(&t, &r, what);
				n_mended += r.file.len == t.bytes.len;
				n_begun += r.file.len != t.bytes.len;
				if (has_plan && r.file.len == t.bytes.len)
					fail_msg("%s: a plan was left out",
					    what);
			} else if (strstr(r.says.p, "--adopt") == NULL) {
				fail_msg("%s: %s", what, r.says.p);
			}
			mb_repair_release(&r);
		}
		mb_buf_release(&bytes);
		release_text(&t);
	}
	/* Each way was gone. */
	assert_true(n_mended > 100 && n_hopeless > 50 && n_begun > 20);
}

/* Any bytes anywhere: mended rightly, or said to be hopeless. */
static void
test_any_damage(void **state)
{
	struct mb_buf bytes = { 0 };
	const char *wish = getenv("MB_SEED");
	unsigned begin = wish != NULL ? (unsigned)strtoul(wish, NULL, 10) : 1;

	(void)state;
	for (unsigned h = 0; h < 50; h++) {
		unsigned seed = begin + h;
		struct text t;

		make_text(&t, LINES, seed, h % 3 != 0);
		for (int i = 0; i < 20; i++) {
			size_t from = (size_t)rand_r(&seed) % t.bytes.len;
			size_t len = 1 + (size_t)rand_r(&seed) % 600;
			struct mb_repair r;
			char what[64];

			copy(&bytes, &t);
			smash(&bytes, from, from + len < bytes.len ?
			    from + len : bytes.len, &seed);
			mb_repair_decide(&r, (struct mb_str){ bytes.p,
			    bytes.len }, id);
			snprintf(what, sizeof what, "seed %u, bytes %zu to "
			    "%zu", begin + h, from, from + len);
			(void)mb_buf_str(&r.says);
			if (r.verdict == MB_REPAIR_POSSIBLE &&
			    r.says.len > 0 && strstr(r.says.p,
			    "unfinished end") == NULL)
				check_mended(&t, &r, what);
			mb_repair_release(&r);
		}
		release_text(&t);
	}
	mb_buf_release(&bytes);
}

/* Lines that are whole, but don't follow: not ours to decide. */
static void
test_missing_lines(void **state)
{
	struct mb_buf bytes = { 0 };
	struct text t;
	struct mb_repair r;
	size_t i = 1;

	(void)state;
	make_text(&t, LINES, 5, false);
	while (!is_kind(&t, i, "plan"))
		i++;
	mb_buf_add(&bytes, t.bytes.p, t.starts[i]);
	mb_buf_add(&bytes, t.bytes.p + t.starts[i + 1], t.bytes.len -
	    t.starts[i + 1]);
	mb_repair_decide(&r, (struct mb_str){ bytes.p, bytes.len }, id);
	assert_int_equal(r.verdict, MB_REPAIR_HOPELESS);
	mb_repair_release(&r);
	/* One that nothing needs is not missed, as by the tools. */
	for (i = t.n - 1; !is_kind(&t, i, "run"); i--)
		;
	mb_buf_reset(&bytes);
	mb_buf_add(&bytes, t.bytes.p, t.starts[i]);
	mb_buf_add(&bytes, t.bytes.p + t.starts[i + 1], t.bytes.len -
	    t.starts[i + 1]);
	mb_repair_decide(&r, (struct mb_str){ bytes.p, bytes.len }, id);
	assert_int_equal(r.verdict, MB_REPAIR_NEEDLESS);
	mb_repair_release(&r);
	mb_repair_decide(&r, (struct mb_str){ t.bytes.p, t.bytes.len }, id);
	assert_int_equal(r.verdict, MB_REPAIR_NEEDLESS);
	assert_int_equal(r.says.len, 0);
	mb_repair_release(&r);
	mb_repair_decide(&r, (struct mb_str){ "", 0 }, id);
	assert_int_equal(r.verdict, MB_REPAIR_HOPELESS);
	mb_repair_release(&r);
	mb_buf_release(&bytes);
	release_text(&t);
}

/* The first line says nothing that isn't known from elsewhere. */
static void
test_open_line(void **state)
{
	struct mb_buf bytes = { 0 };
	struct mb_repair r;
	struct text t;

	(void)state;
	make_text(&t, LINES, 3, false);
	copy(&bytes, &t);
	memset(bytes.p + 3, 'x', t.head - 5);
	mb_repair_decide(&r, (struct mb_str){ bytes.p, bytes.len }, id);
	assert_int_equal(r.verdict, MB_REPAIR_POSSIBLE);
	assert_int_equal(r.file.len, t.bytes.len);
	assert_memory_equal(r.file.p, t.bytes.p, t.bytes.len);
	mb_repair_release(&r);
	/* Another journal's id: the digests don't fit. */
	mb_repair_decide(&r, (struct mb_str){ bytes.p, bytes.len },
	    "fedcba9876543210fedcba9876543210");
	assert_int_equal(r.verdict, MB_REPAIR_HOPELESS);
	mb_repair_release(&r);
	mb_repair_decide(&r, (struct mb_str){ bytes.p, bytes.len }, NULL);
	assert_int_equal(r.verdict, MB_REPAIR_HOPELESS);
	mb_repair_release(&r);
	mb_buf_release(&bytes);
	release_text(&t);
}

/* More generations than one line of a checkpoint takes. */
enum { MANY = 2 * MB_PART + 100 };

static void
add_checkpoint(struct text *t)
{
	struct mb_buf lines = { 0 };

	mb_put_checkpoint(&lines, &t->state, t->bytes.len - t->head);
	add_lines(t, &lines);
	mb_buf_release(&lines);
}

/* Files, a checkpoint in parts, and a plan that vouches for it; twice. */
static void
make_long_text(struct text *t)
{
	struct mb_buf line = { 0 };
	unsigned seed = 1;

	*t = (struct text){ .n = 0 };
	mb_state_init(&t->state, false);
	put_open(&line);
	add_lines(t, &line);
	t->head = line.len;
	for (int i = 0; i < MANY; i++) {
		char name[32];

		snprintf(name, sizeof name, "/log/%d", i);
		mb_buf_reset(&line);
		put_new_source(&line, &t->state, name);
		add_lines(t, &line);
	}
	for (int i = 0; i < 2; i++) {
		add_checkpoint(t);
		mb_buf_reset(&line);
		assert_true(put_new_plan(&line, &t->state, &seed,
		    t->bytes.len - t->head));
		add_lines(t, &line);
	}
	mb_buf_release(&line);
}

static void
repair_smashed(struct mb_repair *r, const struct mb_buf *whole, size_t from,
    size_t to)
{
	struct mb_buf bytes = { 0 };
	unsigned seed = 3;

	mb_buf_add(&bytes, whole->p, whole->len);
	smash(&bytes, from, to, &seed);
	mb_repair_decide(r, (struct mb_str){ bytes.p, bytes.len }, id);
	(void)mb_buf_str(&r->says);
	mb_buf_release(&bytes);
}

static void
test_parts(void **state)
{
	enum { FIRST = 1 + MANY, PART = FIRST + 1 };
	struct mb_repair r, again;
	struct text t;
	size_t start, end;

	(void)state;
	make_long_text(&t);
	assert_true(is_kind(&t, FIRST, "part"));
	assert_true(is_kind(&t, FIRST + 3, "checkpoint"));
	/* Of a checkpoint in the middle nothing is missed. */
	repair_smashed(&r, &t.bytes, t.starts[PART] + 9,
	    t.starts[PART + 1] - 9);
	assert_int_equal(r.verdict, MB_REPAIR_POSSIBLE);
	assert_int_equal(r.file.len, t.bytes.len);
	assert_non_null(strstr(r.says.p, "left out"));
	check_mended(&t, &r, "a part");
	mb_repair_release(&r);
	/* A file that a checkpoint has: begin at the first of its parts. */
	repair_smashed(&r, &t.bytes, t.starts[7] + 9, t.starts[8] - 9);
	assert_int_equal(r.verdict, MB_REPAIR_POSSIBLE);
	assert_true(r.file.len < t.bytes.len);
	check_mended(&t, &r, "a source");
	/* The head of that one; the checkpoint behind it has all. */
	start = (size_t)(strstr(mb_buf_str(&r.file), "\n{\"mb\":\"part\"") -
	    r.file.p) + 1;
	end = (size_t)(strchr(r.file.p + start, '\n') - r.file.p);
	repair_smashed(&again, &r.file, start + 9, end - 9);
	if (again.verdict != MB_REPAIR_POSSIBLE)
		fail_msg("a part of the head: %s", again.says.p);
	check_mended(&t, &again, "a part of the head");
	mb_repair_release(&again);
	start = (size_t)(strstr(r.file.p, "\n{\"mb\":\"checkpoint\"") -
	    r.file.p) + 1;
	end = (size_t)(strchr(r.file.p + start, '\n') - r.file.p);
	repair_smashed(&again, &r.file, start + 9, end - 9);
	if (again.verdict != MB_REPAIR_POSSIBLE)
		fail_msg("the head's last line: %s", again.says.p);
	check_mended(&t, &again, "the head's last line");
	mb_repair_release(&again);
	mb_repair_release(&r);
	release_text(&t);
}

/* The files: nothing before it is asked for, all of it then. */
static void
test_files(void **state)
{
	struct mb_journal *j = open_journal(MB_JOURNAL_CREATE);
	struct mb_err err = { 0 };
	struct mb_buf bytes, damaged, kept_bytes;
	struct mb_repair r;
	char *kept, *commit;

	(void)state;
	add_run(j, "collect", MB_NONE);
	for (int i = 0; i < 4; i++)
		add_batch(j, 5, true);
	bytes = slurp(path);
	damaged = slurp(path);
	commit = strstr(mb_buf_str(&damaged), "{\"mb\":\"commit\"");
	memset(commit + 20, '?', 30);
	spew(path, damaged.p, damaged.len);
	good(mb_repair_look(&r, path, 0, &err), &err);
	assert_int_equal(r.verdict, MB_REPAIR_POSSIBLE);
	assert_non_null(strstr(mb_buf_str(&r.says), "damaged (commit)"));
	mb_repair_release(&r);
	kept_bytes = slurp(path);
	assert_memory_equal(kept_bytes.p, damaged.p, damaged.len);
	mb_buf_release(&kept_bytes);
	/* Not while others are at work. */
	assert_int_equal(mb_journal_lock(j, MB_LOCK_COLLECTOR, false, 0, &err),
	    1);
	assert_int_equal(mb_repair_mend(&r, &kept, path, 0, &err), -1);
	assert_int_equal(err.code, MB_EBUSY);
	mb_repair_release(&r);
	free(kept);
	err = (struct mb_err){ 0 };
	mb_journal_unlock(j, MB_LOCK_COLLECTOR);
	assert_int_equal(mb_journal_lock(j, MB_LOCK_PIPELINE, true, 0, &err),
	    1);
	assert_int_equal(mb_repair_mend(&r, &kept, path, 0, &err), -1);
	assert_int_equal(err.code, MB_EBUSY);
	mb_repair_release(&r);
	free(kept);
	err = (struct mb_err){ 0 };
	mb_journal_unlock(j, MB_LOCK_PIPELINE);
	good(mb_repair_mend(&r, &kept, path, 0, &err), &err);
	assert_int_equal(r.verdict, MB_REPAIR_POSSIBLE);
	kept_bytes = slurp(kept);
	assert_int_equal(kept_bytes.len, damaged.len);
	assert_memory_equal(kept_bytes.p, damaged.p, damaged.len);
	mb_buf_release(&kept_bytes);
	mb_repair_release(&r);
	free(kept);
	/* Whoever had it open goes on; what was committed is planned again. */
	add_batch(j, 5, true);
	mb_journal_close(j);
	j = open_journal(0);
	assert_int_equal(mb_journal_state(j)->next_batch, 5);
	assert_int_equal(mb_journal_state(j)->n_batches, 5);
	assert_int_equal(mb_journal_state(j)->batches[0].state, MB_PLANNED);
	mb_journal_close(j);
	good(mb_repair_mend(&r, &kept, path, 0, &err), &err);
	assert_int_equal(r.verdict, MB_REPAIR_NEEDLESS);
	assert_null(kept);
	mb_repair_release(&r);
	mb_buf_release(&bytes);
	mb_buf_release(&damaged);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_flip),
		cmocka_unit_test(test_each_bit),
		cmocka_unit_test(test_each_line),
		cmocka_unit_test(test_any_damage),
		cmocka_unit_test(test_missing_lines),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_open_line),
		cmocka_unit_test_setup(test_files, begin_anew),
	};

	return cmocka_run_group_tests(tests, set_up_path, tear_down_place);
}
