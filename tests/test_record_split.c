/* record/split.h: where records end, whatever the pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/parse.h"
#include "record/split.h"

static uint64_t rng;

static unsigned
pick(unsigned n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(rng >> 33) % n;
}

static uint64_t
seed_random(void)
{
	const char *given = getenv("MB_SEED");

	rng = given != NULL ? strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	printf("MB_SEED=%llu\n", (unsigned long long)rng);
	return rng;
}

/*
 * What a splitter found: per record or rejected line a letter, r or x, and
 * its extent: "r0-4 x4-9".
 */
static void
note(struct mb_buf *found, char letter, uint64_t start, uint64_t end)
{
	mb_buf_addf(found, "%s%c%llu-%llu", found->len > 0 ? " " : "", letter,
	    (unsigned long long)start, (unsigned long long)end);
}

static const char *
show(struct mb_str s)
{
	static struct mb_buf b;

	mb_buf_reset(&b);
	mb_show(&b, s);
	return mb_buf_str(&b);
}

/* Split record by record, fed in pieces: `piece` bytes, or 0 for random. */
static void
split_each(struct mb_buf *found, struct mb_str in, enum mb_format format,
    uint64_t limit, size_t piece)
{
	const uint64_t base = 7000;
	enum mb_split_result rc;
	struct mb_split s;
	uint64_t n, keep = base;

	mb_buf_reset(found);
	mb_split_init(&s, format, mb_delimiter_of(format), limit, base);
	for (;;) {
		size_t at = (size_t)(s.off - base), len = in.len - at;
		size_t want = piece != 0 ? piece : 1 + pick(100);
		char *copy;

		/* never backwards beyond what had to be kept */
		assert_true(s.off >= keep);
		if (at == in.len) {
			rc = mb_split_finish(&s, &n);
			assert_true(n <= 1);
			if (rc == MB_SPLIT_MORE && n == 0)
				break;
			if (rc == MB_SPLIT_REJECT)
				assert_int_equal(n, 0);
		} else {
			if (len > want)
				len = want;
			/* a block of its own, so that no byte behind is read */
			copy = mb_alloc(len);
			memcpy(copy, in.p + at, len);
			rc = mb_split_scan(&s, copy, len, 1, &n);
			free(copy);
			assert_int_equal(n, rc == MB_SPLIT_FULL);
		}
		if (rc == MB_SPLIT_REJECT)
			assert_non_null(s.why);
		if (rc == MB_SPLIT_REJECT || n == 1) {
			note(found, n == 1 ? 'r' : 'x', s.start - base,
			    s.complete - base);
			assert_true(s.off == s.complete);
		}
		keep = mb_split_keep(&s);
		assert_true(keep >= s.complete && keep <= s.off);
	}
	assert_true(s.off == base + in.len && s.complete == s.off);
}

/* Split many at a time: only counts and rejected lines are known. */
static void
split_many(struct mb_buf *found, struct mb_str in, enum mb_format format,
    uint64_t limit, bool in_pieces)
{
	enum mb_split_result rc = MB_SPLIT_MORE;
	uint64_t n, total = 0, max;
	struct mb_split s;

	mb_buf_reset(found);
	mb_split_init(&s, format, mb_delimiter_of(format), limit, 0);
	while (rc != MB_SPLIT_MORE || s.off < in.len) {
		size_t at = (size_t)s.off, len = in.len - at;

		if (in_pieces && len > 1)
			len = 1 + pick((unsigned)len);
		max = in_pieces ? 1 + pick(40) : UINT64_MAX;
		rc = len > 0 ? mb_split_scan(&s, in.p + at, len, max, &n) :
		    mb_split_finish(&s, &n);
		assert_true(n <= max);
		assert_int_equal(rc == MB_SPLIT_FULL, n == max);
		assert_true(rc != MB_SPLIT_FULL || s.off == s.complete);
		total += n;
		if (rc == MB_SPLIT_REJECT)
			note(found, 'x', s.start, s.complete);
	}
	while ((rc = mb_split_finish(&s, &n)) != MB_SPLIT_MORE || n > 0) {
		total += n;
		if (rc == MB_SPLIT_REJECT)
			note(found, 'x', s.start, s.complete);
		while (s.off < in.len) {
			rc = mb_split_scan(&s, in.p + s.off,
			    in.len - (size_t)s.off, UINT64_MAX, &n);
			total += n;
			if (rc == MB_SPLIT_REJECT)
				note(found, 'x', s.start, s.complete);
		}
	}
	mb_buf_addf(found, "%s%llu", found->len > 0 ? " " : "",
	    (unsigned long long)total);
}

/* From "r0-4 x4-9 r9-12" what split_many says: "x4-9 2". */
static void
summarize(struct mb_buf *out, struct mb_buf *found)
{
	unsigned long long n = 0;
	const char *p = mb_buf_str(found);

	mb_buf_reset(out);
	while (*p != '\0') {
		size_t len = strcspn(p, " ");

		n += *p == 'r';
		if (*p == 'x') {
			if (out->len > 0)
				mb_buf_addc(out, ' ');
			mb_buf_add(out, p, len);
		}
		p += len + (p[len] == ' ');
	}
	mb_buf_addf(out, "%s%llu", out->len > 0 ? " " : "", n);
}

/*
 * The rules once more, over a whole input at once and without any state.
 */
static size_t
line_end(struct mb_str in, size_t at, bool is_csv)
{
	for (; at < in.len; at++) {
		if (in.p[at] == '\n')
			return at + 1;
		if (in.p[at] == '\r' && is_csv)
			return at + 1 + (at + 1 < in.len &&
			    in.p[at + 1] == '\n');
	}
	return in.len;
}

/* The end of a csv record; 0: its first line is rejected. */
static size_t
csv_end(struct mb_str in, size_t start)
{
	size_t i = start, lines = 1;

	for (;;) {
		if (i < in.len && in.p[i] == '"') {
			for (i++;; i++) {
				if (i == in.len)
					return 0;
				if (in.p[i] == '"') {
					if (i + 1 == in.len ||
					    in.p[i + 1] != '"')
						break;
					i++;
				} else if (in.p[i] == '\n' ||
				    (in.p[i] == '\r' && (i + 1 == in.len ||
				    in.p[i + 1] != '\n'))) {
					if (++lines > MB_LINE_LIMIT)
						return 0;
				}
			}
			i++;
			if (i < in.len && in.p[i] != ',' && in.p[i] != '\r' &&
			    in.p[i] != '\n')
				return lines > 1 ? 0 : line_end(in, i, true);
		}
		while (i < in.len && strchr(",\r\n\"", in.p[i]) == NULL)
			i++;
		if (i < in.len && in.p[i] == '"')
			return lines > 1 ? 0 : line_end(in, i, true);
		if (i == in.len || in.p[i] != ',')
			return line_end(in, i, true);
		i++;
	}
}

static bool
is_blank(struct mb_str line, enum mb_format format)
{
	const char *blanks = format == MB_NDJSON ? " \t\r\n" : "\r\n";

	if (format == MB_LINES)
		return false;
	for (size_t i = 0; i < line.len; i++)
		if (memchr(blanks, line.p[i], strlen(blanks)) == NULL)
			return false;
	/* in tsv a CR is only the first half of a line end */
	return format != MB_TSV || line.len < 2 ||
	    memcmp(line.p, "\r\n", 2) == 0;
}

static void
oracle(struct mb_buf *found, struct mb_str in, enum mb_format format,
    uint64_t limit)
{
	mb_buf_reset(found);
	for (size_t at = 0, end; at < in.len; at = end) {
		size_t first = line_end(in, at, format == MB_CSV);
		struct mb_str line = { in.p + at, first - at };

		end = first;
		if (is_blank(line, format)) {
			if (format == MB_NDJSON && line.len > limit)
				note(found, 'x', at, end);
			continue;
		}
		if (format == MB_CSV)
			end = csv_end(in, at);
		if (end == 0 || end - at > limit) {
			end = first;
			note(found, 'x', at, end);
		} else {
			note(found, 'r', at, end);
		}
	}
}

static void
check_all_ways(struct mb_str in, enum mb_format format, uint64_t limit,
    const char *expected)
{
	static struct mb_buf found, summary;

	for (size_t piece = 0; piece < 70; piece = piece == 8 ? 63 : piece + 1) {
		split_each(&found, in, format, limit, piece);
		if (strcmp(mb_buf_str(&found), expected) != 0)
			fail_msg("\"%s\" as %s, limit %llu, in pieces of %zu: "
			    "got %s, not %s", show(in),
			    mb_format_name(format), (unsigned long long)limit,
			    piece, found.p, expected);
	}
	split_each(&found, in, format, limit, in.len + 1);
	if (strcmp(mb_buf_str(&found), expected) != 0)
		fail_msg("\"%s\" as %s, limit %llu, whole: got %s, not %s",
		    show(in), mb_format_name(format),
		    (unsigned long long)limit, found.p, expected);
	summarize(&summary, &found);
	for (int i = 0; i < 3; i++) {
		split_many(&found, in, format, limit, i > 0);
		if (strcmp(mb_buf_str(&found), mb_buf_str(&summary)) != 0)
			fail_msg("\"%s\" as %s, limit %llu, many: "
			    "got %s, not %s", show(in),
			    mb_format_name(format), (unsigned long long)limit,
			    found.p, summary.p);
	}
}

static void
records_end_where_the_rules_say(void **state)
{
	static const struct {
		const char *in;
		enum mb_format format;
		const char *found;
	} cases[] = {
		{ "", MB_CSV, "" },
		{ "a,b\nc,d\n", MB_CSV, "r0-4 r4-8" },
		{ "a,b\nc,d", MB_CSV, "r0-4 r4-7" },
		{ "a\r\nb\r\n", MB_CSV, "r0-3 r3-6" },
		{ "a\rb\rc", MB_CSV, "r0-2 r2-4 r4-5" },
		{ "a\r", MB_CSV, "r0-2" },
		{ "a\r\r\nb\r\r\r", MB_CSV, "r0-2 r4-6" },
		/* blank lines: only truly empty ones */
		{ "\n\na\n\n\r\n\rb\n", MB_CSV, "r2-4 r8-10" },
		{ " \n\t\n", MB_CSV, "r0-2 r2-4" },
		{ ",\n", MB_CSV, "r0-2" },
		{ "\"\"\n", MB_CSV, "r0-3" },
		/* quotes */
		{ "\"a\nb\",c\nd\n", MB_CSV, "r0-8 r8-10" },
		{ "x,\"a\r\nb\r\"\r\nd\n", MB_CSV, "r0-11 r11-13" },
		{ "\"a\"\"\n\"\"\"\nb\n", MB_CSV, "r0-9 r9-11" },
		{ "\"\"\"\",\"\"\nb\n", MB_CSV, "r0-8 r8-10" },
		{ "\"a\"\rb\n", MB_CSV, "r0-4 r4-6" },
		{ "\"a\"", MB_CSV, "r0-3" },
		{ "\n\"\n\"\n", MB_CSV, "r1-5" },
		/* a quote out of place is bad for this line alone */
		{ "a\"b\n\"c\n\"\n", MB_CSV, "r0-4 r4-9" },
		{ "a,b\"\nc\n", MB_CSV, "r0-5 r5-7" },
		{ " \"a\n\nb\"\n", MB_CSV, "r0-4 r5-8" },
		{ "\"a\"b\"\nc\n", MB_CSV, "r0-6 r6-8" },
		{ "\"a\" ,\"\nc\n", MB_CSV, "r0-7 r7-9" },
		{ "\"a\"b\"\rc\n", MB_CSV, "r0-6 r6-8" },
		/* an open quote costs its first line, no other */
		{ "1,\"foo\n2,\"bar\"\n3,x\n", MB_CSV, "x0-7 r7-15 r15-19" },
		{ "1,\"foo\n2,bar\n3,x\n", MB_CSV, "x0-7 r7-13 r13-17" },
		{ "1,\"foo\r2,bar\r\n3,x", MB_CSV, "x0-7 r7-14 r14-17" },
		{ "1,\"foo\r\n\n3,x", MB_CSV, "x0-8 r9-12" },
		{ "\"", MB_CSV, "x0-1" },
		{ "\"a\n\"b\n\"c\nd\n", MB_CSV, "x0-3 x3-6 x6-9 r9-11" },
		{ "\"\r", MB_CSV, "x0-2" },
		/* the others know no quotes */
		{ "a\"\t\"b\n\"\n", MB_TSV, "r0-6 r6-8" },
		{ "a\rb\r\nc\n", MB_TSV, "r0-5 r5-7" },
		{ "\n\r\n\t\n\r\r\n\r", MB_TSV, "r3-5 r5-8" },
		{ "\ra\n", MB_TSV, "r0-3" },
		{ "{}\n \t\r\n\n{}\r\n  {}", MB_NDJSON, "r0-3 r8-12 r12-16" },
		{ "{}\n \t", MB_NDJSON, "r0-3" },
		{ "\x1e{\n\x1e\n", MB_NDJSON, "r0-3 r3-5" },
		{ "\n\na\r\n \r\r\n\n", MB_LINES, "r0-1 r1-2 r2-5 r5-9 r9-10" },
		{ "a\"\n\"", MB_LINES, "r0-3 r3-4" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_all_ways(mb_str(cases[i].in), cases[i].format, 0,
		    cases[i].found);
}

static void
bytes_of_any_value_belong_to_records(void **state)
{
	(void)state;
	check_all_ways((struct mb_str){ "a\0b\n\0\n\xff\n", 8 }, MB_LINES, 0,
	    "r0-4 r4-6 r6-8");
	check_all_ways((struct mb_str){ "\0\n\"\0\n\"\n", 7 }, MB_CSV, 0,
	    "r0-2 r2-7");
	check_all_ways((struct mb_str){ "\x1e{\"mb\"}\na\n", 10 }, MB_LINES, 0,
	    "r0-8 r8-10");
}

static void
what_exceeds_the_record_limit_costs_one_line(void **state)
{
	static const struct {
		const char *in;
		enum mb_format format;
		const char *found;	/* with a limit of 6 bytes */
	} cases[] = {
		{ "12345\n12345\n", MB_LINES, "r0-6 r6-12" },
		{ "123456\nab\n", MB_LINES, "x0-7 r7-10" },
		{ "123456789", MB_LINES, "x0-9" },
		{ "1234\r\n12345\r\nab\n", MB_LINES, "r0-6 x6-13 r13-16" },
		{ "       \n{}\n", MB_NDJSON, "x0-8 r8-11" },
		{ "1234\r\n12345\r\nab\r", MB_CSV, "r0-6 x6-13 r13-16" },
		{ "123456\rab\r", MB_CSV, "x0-7 r7-10" },
		{ "1234567\r\nab", MB_CSV, "x0-9 r9-11" },
		{ "\"\n34\"\n\"\n345\"\nx\n", MB_CSV, "r0-6 x6-8 r8-13 r13-15" },
		{ "\"\r34\"\r\"\r345\"\rx\n", MB_CSV, "r0-6 x6-8 r8-13 r13-15" },
		{ "\"234567\"\nx\n", MB_CSV, "x0-9 r9-11" },
		{ "\"2345\r\n\"\nx\n", MB_CSV, "x0-7 x7-9 r9-11" },
		{ "\"2345\r7\"\nx\n", MB_CSV, "x0-6 r6-9 r9-11" },
		{ "a\"cdefgh\nx\n", MB_CSV, "x0-9 r9-11" },
		{ "a\"cde\nx\n", MB_CSV, "r0-6 r6-8" },
		{ "\"2345", MB_CSV, "x0-5" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_all_ways(mb_str(cases[i].in), cases[i].format, 6,
		    cases[i].found);
}

static void
a_long_line_needs_no_byte_kept(void **state)
{
	struct mb_split s;
	char a[4096];
	uint64_t n;

	(void)state;
	memset(a, 'a', sizeof a);
	mb_split_init(&s, MB_CSV, ',', 10000, 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(mb_split_scan(&s, a, sizeof a, 1, &n),
		    MB_SPLIT_MORE);
	assert_true(mb_split_keep(&s) == s.off);
	a[9] = '\n';
	assert_int_equal(mb_split_scan(&s, a, sizeof a, 1, &n),
	    MB_SPLIT_REJECT);
	assert_true(s.start == 0 && s.off == 10 * sizeof a + 10);
	assert_string_equal(s.why, "longer than the record limit");
}

/* A quoted field of `lines` lines, then a record of one. */
static void
put_long_record(struct mb_buf *b, size_t lines, const char *newline)
{
	mb_buf_reset(b);
	mb_buf_addc(b, '"');
	for (size_t i = 1; i < lines; i++) {
		mb_buf_add(b, "abcdefghi", pick(10));
		mb_buf_adds(b, newline);
	}
	mb_buf_adds(b, "\"\nx\n");
}

static void
a_csv_record_has_at_most_1000_lines(void **state)
{
	static const char *const newlines[] = { "\n", "\r\n", "\r" };
	struct mb_buf in = { 0 }, found = { 0 }, expected = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		for (size_t lines = 998; lines < 1003; lines++) {
			put_long_record(&in, lines, newlines[i]);
			oracle(&expected, (struct mb_str){ in.p, in.len },
			    MB_CSV, MB_RECORD_LIMIT);
			assert_int_equal(mb_buf_str(&expected)[0],
			    lines <= 1000 ? 'r' : 'x');
			for (size_t piece = 1; piece < 20000; piece *= 7) {
				split_each(&found, (struct mb_str){ in.p,
				    in.len }, MB_CSV, 0, piece);
				if (strcmp(mb_buf_str(&found), expected.p) != 0)
					fail_msg("%zu lines, newline %d, in "
					    "pieces of %zu: got %.60s, "
					    "not %.60s", lines, i, piece,
					    found.p, expected.p);
			}
		}
	mb_buf_release(&in);
	mb_buf_release(&found);
	mb_buf_release(&expected);
}

/*
 * Every short text of the bytes that matter, across the border of two blocks
 * and alone.
 */
static void
every_text_across_a_border_is_split_right(void **state)
{
	static const char bytes[] = "a,\"\r\n";
	enum { LEN = 5, N = 5 * 5 * 5 * 5 * 5, BEFORE = 61, AFTER = 70 };
	static const char *const befores[] = { "a", "\"", "\n" };
	struct mb_buf found = { 0 }, expected = { 0 };
	char in[BEFORE + LEN + AFTER];

	(void)state;
	for (int k = 0; k < 3 * N; k++) {
		struct mb_str s = { in, sizeof in };
		int code = k;

		memset(in, 'b', sizeof in);
		for (int i = 0; i < LEN; i++, code /= 5)
			in[BEFORE + i] = bytes[code % 5];
		in[0] = befores[k / N][0];
		in[sizeof in - 1] = '"';
		for (int whole = 0; whole < 2; whole++) {
			if (!whole)
				s = (struct mb_str){ in + BEFORE, LEN };
			else
				s = (struct mb_str){ in, sizeof in };
			oracle(&expected, s, MB_CSV, 1000);
			split_each(&found, s, MB_CSV, 1000, s.len);
			if (strcmp(mb_buf_str(&found),
			    mb_buf_str(&expected)) != 0)
				fail_msg("\"%s\": got %s, not %s", show(s),
				    found.p, expected.p);
		}
	}
	mb_buf_release(&found);
	mb_buf_release(&expected);
}

/* The same among ordinary lines, many of which are taken at once. */
static void
every_text_among_lines_is_counted_right(void **state)
{
	static const char bytes[] = "a\n\r\" ";
	static const int borders[] = { 3, 64, 192, 256, 512, 1024 };
	enum { LEN = 3, N = 5 * 5 * 5, SIZE = 1100 };
	struct mb_buf found = { 0 }, expected = { 0 }, each = { 0 };
	char in[SIZE];

	(void)state;
	for (size_t k = 0; k < 6 * 4 * 4 * N; k++) {
		enum mb_format format = (enum mb_format)(k / N % 4);
		size_t at = (size_t)borders[k / N / 16] - k / N / 4 % 4 + 3;
		size_t code = k % N;

		for (size_t i = 0; i < SIZE; i++)
			in[i] = "bbbbbbbbbbbbbb,\n"[(i + k) % 16];
		for (size_t i = 0; i < LEN; i++, code /= 5)
			in[at - 3 + i] = bytes[code % 5];
		oracle(&each, (struct mb_str){ in, SIZE }, format, 1000);
		summarize(&expected, &each);
		split_many(&found, (struct mb_str){ in, SIZE }, format, 1000,
		    false);
		if (strcmp(mb_buf_str(&found), mb_buf_str(&expected)) != 0)
			fail_msg("\"%.*s\" at %zu as %s: got %s, not %s", LEN,
			    in + at - 3, at - 3, mb_format_name(format),
			    found.p, expected.p);
	}
	mb_buf_release(&found);
	mb_buf_release(&expected);
	mb_buf_release(&each);
}

/*
 * Whatever is cut off after a record, a rejected or a blank line, what stands
 * before is found again: mb-agg sees a batch, mb-collect saw the file.
 */
static void
check_cuts(struct mb_str in, enum mb_format format, uint64_t limit)
{
	static struct mb_buf whole, part;
	const char *p;
	char *next;

	oracle(&whole, in, format, limit);
	for (p = mb_buf_str(&whole); *p != '\0'; p = next) {
		size_t end;

		p += *p == ' ';
		strtoull(p + 1, &next, 10);
		end = (size_t)strtoull(next + 1, &next, 10);
		split_each(&part, (struct mb_str){ in.p, end }, format, limit,
		    end);
		if (part.len != (size_t)(next - whole.p) ||
		    memcmp(part.p, whole.p, part.len) != 0)
			fail_msg("\"%s\" as %s, limit %llu, cut at %zu: "
			    "got %s of %s", show(in), mb_format_name(format),
			    (unsigned long long)limit, end, mb_buf_str(&part),
			    whole.p);
	}
}

static void
random_input_gives_the_same_in_any_pieces(void **state)
{
	/* ordinary to odd: what a random input is made of */
	static const char *const words[] = {
		"abcdefghijklmnopqrstuvwxyz0123456789", "a", ",", "\n",
		"\"b\"", "\"c,d\"", "\r\n", "\"\"", "\"e\nf\"", "\"", "\t",
		" ", "\r", "{\"x\":1}", "\"g\"\"h\"", "\"\r\n\"", "\xff",
	};
	struct mb_buf in = { 0 }, expected = { 0 };
	static const uint64_t limits[] = { 5, 64, 65, 100, 300, 1 << 20 };

	(void)state;
	seed_random();
	for (int i = 0; i < 1600; i++) {
		enum mb_format format = i % 2 == 0 ? MB_CSV : pick(4);
		unsigned odd = 1 + pick(sizeof words / sizeof *words);
		uint64_t limit = limits[pick(6)];
		bool is_plain = i % 8 > 5;	/* but for one word */
		unsigned n = pick(is_plain ? 500 : i % 10 == 0 ? 200 : 30);

		mb_buf_reset(&in);
		for (unsigned k = 0; k < n && is_plain; k++) {
			mb_buf_adds(&in, words[k == n / 2 ? pick(17) :
			    pick(3)]);
			mb_buf_adds(&in, pick(5) == 0 ? "\n" : "x");
		}
		for (unsigned k = 0; k < n && !is_plain; k++) {
			/* mostly valid csv, so that quotes go on for long */
			mb_buf_adds(&in, words[pick(4) > 0 ? pick(8) %
			    odd : pick(odd)]);
			if (pick(3) == 0)
				mb_buf_addc(&in, ",\n"[pick(2)]);
		}
		mb_buf_str(&in);
		oracle(&expected, (struct mb_str){ in.p, in.len }, format,
		    limit);
		check_all_ways((struct mb_str){ in.p, in.len }, format, limit,
		    mb_buf_str(&expected));
		if (i % 4 == 0)
			check_cuts((struct mb_str){ in.p, in.len }, format,
			    limit);
	}
	mb_buf_release(&in);
	mb_buf_release(&expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_end_where_the_rules_say),
		cmocka_unit_test(bytes_of_any_value_belong_to_records),
		cmocka_unit_test(what_exceeds_the_record_limit_costs_one_line),
		cmocka_unit_test(a_long_line_needs_no_byte_kept),
		cmocka_unit_test(a_csv_record_has_at_most_1000_lines),
		cmocka_unit_test(every_text_across_a_border_is_split_right),
		cmocka_unit_test(every_text_among_lines_is_counted_right),
		cmocka_unit_test(random_input_gives_the_same_in_any_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
