#include "agg/crew.h"
#include "agg/reading.h"
#include "base/io.h"
#include "frame/frame.h"
#include "record/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "new_seed.h"

enum { BLOCKS = 64, SLOTS = 5 };

/* What the threads took, block by block. */
struct taken {
	struct mb_reading *reading;
	enum mb_format format;
	enum mb_reading_way way;
	bool is_doubtful;
	struct mb_reading_block slot[SLOTS];
	struct mb_buf records[BLOCKS];
	uint64_t pos[BLOCKS], end[BLOCKS];	/* end: of the block */
	size_t n;
};

/* What one that is alone has to find out: how many bytes are whole records. */
static size_t
whole(enum mb_format format, struct mb_str bytes)
{
	struct mb_split split;
	uint64_t n;

	mb_split_init(&split, format, ',', 0, 0);
	while (split.off < bytes.len)
		(void)mb_split_scan(&split, bytes.p + split.off,
		    bytes.len - (size_t)split.off, UINT64_MAX, &n);
	return (size_t)split.complete;
}

/* What one that guesses has to find out: is a record bad? */
static bool
has_bad(enum mb_format format, struct mb_str bytes)
{
	struct mb_split split;
	uint64_t n;

	mb_split_init(&split, format, ',', 0, 0);
	while (split.off < bytes.len)
		if (mb_split_scan(&split, bytes.p + split.off,
		    bytes.len - (size_t)split.off, UINT64_MAX, &n) ==
		    MB_SPLIT_REJECT)
			return true;
	return mb_split_finish(&split, &n) == MB_SPLIT_REJECT;
}

static void
take(void *context, unsigned worker, unsigned job)
{
	struct taken *t = context;
	const struct mb_reading_block *b = &t->slot[job];
	struct mb_buf buf = { 0 };
	struct mb_str records;
	struct mb_err err = { 0 };

	(void)worker;
	if (mb_reading_take(t->reading, b, &buf, &records,
	    &t->pos[b->number], &err) < 0)
		abort();
	if (t->way == MB_READING_GUESSED) {
		if (has_bad(t->format, records) ||
		    mb_reading_is_control(records.p, records.len))
			mb_reading_doubt(t->reading);
	} else if (t->way == MB_READING_ALONE) {
		size_t len = whole(t->format, records);
		bool is_control = mb_reading_is_control(records.p, len);

		if (is_control)
			len = 0;
		mb_reading_leave(t->reading, records.len - len, is_control);
		records.len = len;
	}
	mb_buf_add(&t->records[b->number], records.p, records.len);
	mb_buf_release(&buf);
}

/* Read [pos, end) of data as a file; where it ended. */
static uint64_t
read_all(struct taken *t, enum mb_reading_way way, struct mb_str data,
    enum mb_format format, uint64_t pos, uint64_t end)
{
	struct mb_span span = { .name = "x", .pos = pos, .end = end };
	struct mb_reading_block b;
	struct mb_err err = { 0 };
	struct mb_crew *crew;

	*t = (struct taken){ .reading = mb_reading_open(), .format = format,
		.way = way };
	span.fd = memfd_create("test_reading", MFD_CLOEXEC);
	if (span.fd < 0 ||
	    mb_write_all(span.fd, data.p, data.len, "memfd", &err) < 0 ||
	    mb_crew_open(&crew, way == MB_READING_ALONE ? 1 : 3, SLOTS, take, t,
	    &err) < 0)
		fail_msg("%s", err.msg);
	mb_reading_begin(t->reading, &span, way, format, ',', 0);
	while (mb_reading_next(t->reading, &b)) {
		assert_int_equal(b.number, t->n);
		assert_in_range(t->n, 0, BLOCKS - 1);
		if (mb_crew_is_full(crew))
			assert_true(mb_crew_wait(crew) >= 0);
		t->slot[mb_crew_next(crew)] = b;
		t->end[t->n] = b.end;
		t->n++;
		mb_crew_post(crew);
	}
	while (mb_crew_wait(crew) >= 0)
		;
	mb_crew_close(crew);
	pos = mb_reading_pos(t->reading);
	t->is_doubtful = way == MB_READING_GUESSED &&
	    mb_reading_is_doubtful(t->reading);
	mb_reading_close(t->reading);
	close(span.fd);
	return pos;
}

static void
release(struct taken *t)
{
	for (size_t i = 0; i < t->n; i++)
		mb_buf_release(&t->records[i]);
}

/*
 * All bytes before `end` are there, and each block ends where one splitter
 * for all of them finds an end.
 */
static void
check(const struct taken *t, struct mb_str data, enum mb_format format,
    uint64_t pos, uint64_t end)
{
	struct mb_split split;
	uint64_t n;

	mb_split_init(&split, format, ',', 0, pos);
	for (size_t i = 0; i < t->n; i++) {
		size_t len = t->records[i].len;

		if (len == 0)
			continue;
		assert_int_equal(t->pos[i], pos);
		assert_true(pos + len <= end);
		assert_memory_equal(t->records[i].p, data.p + pos, len);
		pos += len;
		while (split.off < t->end[i])
			(void)mb_split_scan(&split, data.p + split.off,
			    (size_t)(t->end[i] - split.off), UINT64_MAX, &n);
		assert_int_equal(split.complete, pos);
	}
	assert_int_equal(pos, end);
}

static void
add_many(struct mb_buf *b, char c, size_t n)
{
	mb_buf_reserve(b, n + 1);
	memset(b->p + b->len, c, n);
	b->len += n;
}

/* Lines of any length; in csv some with quotes, in order and not. */
static void
random_lines(struct mb_buf *b, size_t len, bool has_quotes)
{
	while (b->len < len) {
		int kind = rand() % 1000;

		add_many(b, 'x', (size_t)(kind == 0 ? rand() % 300000 :
		    kind < 20 ? rand() % 9000 : rand() % 150));
		if (has_quotes && kind % 3 == 1)
			mb_buf_adds(b, ",\"a\n\"\"b\n\"");
		if (has_quotes && kind == 500)
			mb_buf_adds(b, "a stray \" quote");
		if (has_quotes && kind == 501)
			mb_buf_adds(b, ",\"an open quote");
		mb_buf_adds(b, kind % 5 == 0 ? "\r\n" : kind == 502 ? "\n\n" :
		    "\n");
	}
}

static void
test_blocks(void **state)
{
	static const struct {
		enum mb_format format;
		bool has_quotes;
	} cases[] = {
		{ MB_CSV, false }, { MB_CSV, true }, { MB_TSV, true },
		{ MB_NDJSON, true }, { MB_LINES, true },
	};

	(void)state;
	new_seed();
	for (size_t i = 0; i < 6 * sizeof cases / sizeof *cases; i++) {
		enum mb_format format = cases[i / 6].format;
		enum mb_reading_way way = (enum mb_reading_way)(i / 2 % 3);
		struct mb_buf b = { 0 };
		struct mb_str data;
		struct taken t;
		uint64_t first, end;

		random_lines(&b, 3 << 20, cases[i / 6].has_quotes);
		data = (struct mb_str){ b.p, b.len };
		/* From the start, or from the middle of a block. */
		first = i % 2 == 0 ? 0 : (uint64_t)(strstr(b.p, "\nx") + 1 -
		    b.p);
		end = read_all(&t, way, data, format, first, data.len);
		if (!t.is_doubtful) {
			/* Behind the end may be half a line, or an open
			   quote. */
			assert_true(end + 1000000 > data.len);
			assert_true(t.n >= 12);
			check(&t, data, format, first, end);
		}
		release(&t);
		mb_buf_release(&b);
	}
}

/* Lines not too long, or clean records of some: there is nothing to doubt. */
static void
test_guesses(void **state)
{
	(void)state;
	new_seed();
	for (int i = 0; i < 10; i++) {
		bool has_quotes = i % 2;
		struct mb_buf b = { 0 };
		struct mb_str data;
		struct taken t;
		uint64_t end;

		while (b.len < 3 << 20) {
			add_many(&b, 'x', (size_t)(rand() % (rand() % 20 == 0 ?
			    50000 : 900)));
			/* Never where a block ends. */
			if (has_quotes && b.len % (256 * 1024) < 200000)
				mb_buf_adds(&b, ",\"a\n\"\"b\n\"");
			mb_buf_adds(&b, "\n");
		}
		data = (struct mb_str){ b.p, b.len };
		end = read_all(&t, MB_READING_GUESSED, data, MB_CSV, 0,
		    data.len);
		assert_false(t.is_doubtful);
		assert_int_equal(end, data.len);
		check(&t, data, MB_CSV, 0, end);
		release(&t);
		mb_buf_release(&b);
	}
}

/* A record of many lines that nothing near a block's begin gives away. */
static void
test_long_quotes(void **state)
{
	(void)state;
	new_seed();
	for (int i = 0; i < 12; i++) {
		enum mb_reading_way way = (enum mb_reading_way)(i % 3);
		size_t len = 1 << 20;
		struct mb_buf b = { 0 };
		struct mb_str data;
		struct taken t;
		uint64_t end;

		random_lines(&b, len + (size_t)rand() % len, false);
		mb_buf_adds(&b, "\"");
		for (int n = 200 + rand() % 700; n > 0; n--) {
			add_many(&b, 'x', 999);
			mb_buf_addc(&b, '\n');
		}
		mb_buf_adds(&b, "\"\n");
		for (size_t all = b.len + len; b.len < all; )
			mb_buf_adds(&b, "short\n");
		data = (struct mb_str){ b.p, b.len };
		end = read_all(&t, way, data, MB_CSV, 0, data.len);
		if (!t.is_doubtful) {
			assert_int_equal(end, data.len);
			check(&t, data, MB_CSV, 0, end);
		}
		release(&t);
		mb_buf_release(&b);
	}
}

/* It stops in front of what isn't ordinary, and takes all before it. */
static void
test_stops(void **state)
{
	static const struct {
		const char *odd;
		size_t n_long;		/* behind it */
		size_t missing;		/* bytes of the file's end */
		bool stops;
	} cases[] = {
		{ "y\n", 0, 0, false },
		{ "\x1e{\"mb\":\"hello\"}\n", 0, 0, true },
		{ "\x1e{\"mb\n", 0, 0, false },
		{ "y\x1e{\"mb\":\"hello\"}\n", 0, 0, false },
		{ "", 900000, 0, false },
		{ "", 3 << 20, 0, true },
		{ "y\n", 0, 1, true },
		{ "y\n", 0, 1 << 20, true },
	};

	(void)state;
	new_seed();
	for (size_t k = 0; k < 3 * sizeof cases / sizeof *cases; k++) {
		const size_t i = k / 3;
		enum mb_reading_way way = (enum mb_reading_way)(k % 3);
		struct mb_buf b = { 0 };
		struct taken t;
		size_t odd, all;
		uint64_t end;

		random_lines(&b, 2000000 + (size_t)rand() % 300000, false);
		odd = b.len;
		mb_buf_adds(&b, cases[i].odd);
		add_many(&b, 'y', cases[i].n_long);
		mb_buf_addc(&b, '\n');
		random_lines(&b, b.len + (2 << 20), false);
		all = b.len - cases[i].missing;
		end = read_all(&t, way, (struct mb_str){ b.p, all }, MB_CSV, 0,
		    b.len);
		if (!t.is_doubtful)
			check(&t, (struct mb_str){ b.p, b.len }, MB_CSV, 0,
			    end);
		if (way == MB_READING_GUESSED)
			assert_true(t.is_doubtful || !cases[i].stops);
		else if (!cases[i].stops)
			assert_int_equal(end, all);
		else if (cases[i].missing == 0)
			assert_in_range(end, odd - (5 << 18), odd);
		else
			assert_in_range(end, all - (5 << 18), all);
		release(&t);
		mb_buf_release(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_guesses),
		cmocka_unit_test(test_long_quotes),
		cmocka_unit_test(test_stops),
	};

	return cmocka_run_group_tests_name("reading", tests, NULL, NULL);
}
