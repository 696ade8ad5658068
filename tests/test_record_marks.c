/*
 * record/marks.h: where strings of ndjson end, and which are good by json.h;
 * where the fields of csv and tsv are, and which records are odd by csv.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "record/csv.h"
#include "record/json.h"
#include "record/marks.h"
#include "random.h"

enum { ROOM = 512 };

/*
 * The string at p + at is good by json.h if and only if its quotes are the
 * only marks up to the closing one; and backslashes are known.
 */
static void
check_string(enum mb_isa isa, const char *p, size_t at, const char *what)
{
	static struct mb_marks m;
	const uint16_t *mark = m.mark + MB_MARKS_FIRST;
	const char *end;
	struct mb_json value;
	uint32_t i = 0;
	bool is_good;

	mb_marks_look(&m, isa, MB_NDJSON, '\0', 0, p, ROOM);
	while (i < m.n_marks && mark[i] < at)
		i++;
	end = mb_json_scalar(&value, p + at, p + ROOM);
	is_good = i + 1 < m.n_marks && mark[i] == at &&
	    p[mark[i + 1]] == '"';
	if (is_good != (end != NULL) ||
	    (is_good && p + mark[i + 1] + 1 != end))
		fail_msg("isa %d, offset %zu, %s: %s, but %s", (int)isa, at,
		    what, is_good ? "good" : "bad", end != NULL ? "good, or "
		    "not so long" : "bad");
	if (is_good && mb_marks_has_slash(&m, at + 1, value.text.len) !=
	    value.has_escapes)
		fail_msg("isa %d, offset %zu, %s: escapes", (int)isa, at,
		    what);
}

static void
check_body(const char *body, size_t len)
{
	char p[ROOM], what[256];
	size_t n = 0;

	for (size_t i = 0; i < len && n < sizeof what - 5; i++)
		n += (size_t)snprintf(what + n, sizeof what - n, "%02x ",
		    (unsigned char)body[i]);
	for (enum mb_isa isa = MB_ISA_PORTABLE; isa <= mb_isa_best(); isa++) {
		if (!mb_isa_is_there(isa))
			continue;
		/* So that each byte of it comes to each end of a step. */
		for (size_t at = 2; at < 132; at++) {
			memset(p, '.', sizeof p);
			p[at - 1] = '\n';
			p[at] = '"';
			memcpy(p + at + 1, body, len);
			p[at + 1 + len] = '"';
			p[at + 2 + len] = '\n';
			check_string(isa, p, at, what);
		}
	}
}

static void
each_byte_behind_a_backslash(void **test)
{
	(void)test;
	for (unsigned c = 0; c < 256; c++) {
		const char body[] = { 'x', '\\', (char)c, 'y' };

		check_body(body, sizeof body);
		check_body(body + 2, 2);
	}
}

static void
strings_of_all_kinds(void **test)
{
	static const char *const parts[] = { "a", "bc", "\\\\", "\\\"", "\\n",
		"\\u00e9", "\\uD83D\\ude00", "\xc3\xa9", "\xe2\x82\xac",
		"\xf0\x9f\x98\x80", "\\", "\\u", "\\u12g4", "\\ud83d",
		"\\ude00", "\\ud83dx", "\\ud83d\\u0041", "\\uD83D\\uD83D\\uDE00",
		"\xc3", "\xa9", "\xe2\x82", "\xed\xa0\x80", "\xc0\x80",
		"\xf4\x90\x80\x80", "\xff", "\"", "\n", "\t", "\x7f", "{" };
	enum { N_PARTS = sizeof parts / sizeof *parts, N_GOOD = 10 };

	(void)test;
	for (int i = 0; i < 1500; i++) {
		char body[128];
		size_t len = 0;

		for (uint64_t n = random_bits() % 6; n > 0; n--) {
			const char *part = parts[random_bits() %
			    (i % 2 == 0 ? N_GOOD : N_PARTS)];

			memcpy(body + len, part, strlen(part));
			len += strlen(part);
		}
		check_body(body, len);
	}
}

/*
 * A record at p + at, and one in front of it.  If it is good by csv.h, so are
 * its marks; if not, the look has stopped in front of it, or earlier.
 */
static void
check_record(enum mb_isa isa, enum mb_format format, const char *p, size_t at,
    size_t len, size_t width)
{
	static struct mb_marks m;
	struct mb_csv_fields fields = { 0 };
	struct mb_str record = { p + at, len };
	bool is_good = mb_csv_split(&fields, format, mb_delimiter_of(format),
	    record) == NULL && p[at] != '\n' && p[at] != '\r';
	uint32_t first, last;

	memset(m.is_coded, 1, sizeof m.is_coded);
	mb_marks_look(&m, isa, format, mb_delimiter_of(format), width, p, ROOM);
	if (is_good != (m.n_ends >= 2))
		fail_msg("isa %d, offset %zu, %.*s: %u records", (int)isa, at,
		    (int)len, p + at, m.n_ends);
	if (!is_good) {
		mb_csv_fields_release(&fields);
		return;
	}
	first = mb_marks_end(&m, 0) + 1;
	last = mb_marks_end(&m, 1);
	assert_int_equal(mb_marks_place(&m, first - 1) + 1, at);
	assert_int_equal(mb_marks_place(&m, last) + 1, at + len);
	assert_int_equal(last - first + 1, fields.n);
	assert_true(m.width == 0 || m.width == fields.n);
	for (uint32_t i = 0; i < fields.n; i++) {
		const struct mb_csv_field *f = &fields.v[i];
		uint32_t start = mb_marks_place(&m, first + i - 1) + 1;
		uint32_t end = mb_marks_place(&m, first + i);
		bool is_quoted = (m.mark[MB_MARKS_FIRST + first + i] &
		    MB_MARK_QUOTED) != 0;
		bool has_cr = p[end] == '\n' && p[end - 1] == '\r';

		if (is_quoted != f->is_quoted || f->has_escapes !=
		    (m.has_codes && m.is_coded[first + i]) ||
		    p + start + is_quoted != f->text.p ||
		    p + end - has_cr - is_quoted != f->text.p + f->text.len ||
		    (has_cr && !m.has_cr))
			fail_msg("isa %d, offset %zu, %.*s: field %u", (int)isa,
			    at, (int)len, p + at, i);
	}
	mb_csv_fields_release(&fields);
}

static void
records_of_all_kinds(void **test)
{
	static const struct {
		enum mb_format format;
		const char *record;
		size_t width;
	} cases[] = {
		{ MB_CSV, "a,b,c\n", 3 }, { MB_CSV, ",,\r\n", 3 },
		{ MB_CSV, "\"a\",\"b\",\"\"\n", 3 },
		{ MB_CSV, "\"a\",b,\"c\"\r\n", 3 },
		{ MB_CSV, "\"a\",b,\"c\"\r", 3 },
		{ MB_CSV, "\"a,\n\r\n\",\",\"\n", 2 },
		{ MB_CSV, "\"\"\"\",x,\"y\"\"\",\"z\"\n", 4 },
		{ MB_CSV, "x,\"a\"\",\"\",\"\"\"\"\"\"\",\"\"\r\n", 3 },
		{ MB_CSV, "x\r", 1 }, { MB_CSV, "\"\"\n", 1 },
		{ MB_CSV, "\"\"\r\n", 1 }, { MB_CSV, "\"\"\"\"\r", 1 },
		{ MB_TSV, "a\\tb\tc\t\\\\\r\n", 3 },
		{ MB_TSV, "\t\"\"\t\\N\n", 3 }, { MB_TSV, "\t\r\n", 2 },
		/* odd */
		{ MB_CSV, "a\"b\",c\n", 2 }, { MB_CSV, "a\"\",c\n", 2 },
		{ MB_CSV, "a\",b\n", 2 }, { MB_CSV, "\"a\"b,c\n", 2 },
		{ MB_CSV, "\"a\" ,c\n", 2 }, { MB_CSV, "\"a\"\"b\n", 1 },
		{ MB_CSV, "a, \"b\"\n", 2 }, { MB_CSV, "\n", 1 },
		{ MB_CSV, "\r\n", 1 }, { MB_CSV, "\r", 1 },
		{ MB_TSV, "\n", 1 }, { MB_TSV, "\r\n", 1 },
	};
	char p[ROOM];

	(void)test;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char delimiter = mb_delimiter_of(cases[i].format);
		size_t len = strlen(cases[i].record);

		for (size_t k = 2 * (cases[i].width + 1); k < 280; k++) {
			size_t at = k / 2;

			memset(p, 'z', sizeof p);
			memset(p, delimiter, cases[i].width - 1);
			p[at - 1] = '\n';
			/* Then there was a quote before, or none. */
			if (k % 2 == 1 && at > cases[i].width + 2)
				p[cases[i].width - 1] = p[at - 2] = '"';
			memcpy(p + at, cases[i].record, len);
			p[ROOM - 130] = '\n';
			for (enum mb_isa isa = MB_ISA_PORTABLE;
			    isa <= mb_isa_best(); isa++)
				for (size_t n = 0; n < 3; n++)
					if (mb_isa_is_there(isa))
						check_record(isa,
						    cases[i].format, p, at,
						    len, n * cases[i].width);
		}
	}
}

/* A byte that begins control lines, wherever it is, is noticed. */
static void
a_byte_to_be_watched_for(void **test)
{
	static const struct {
		enum mb_format format;
		const char *record;
	} cases[] = {
		{ MB_CSV, "abc,de\n" }, { MB_CSV, "\"ab\",de\n" },
		{ MB_TSV, "abc\tde\n" }, { MB_TSV, "a\\b\tde\n" },
		{ MB_LINES, "abcdefg\n" }, { MB_NDJSON, "{\"a\":1}\n" },
	};
	enum { LOOKED_AT = ROOM - MB_MARKS_SLACK };
	static struct mb_marks m;
	char p[ROOM];

	(void)test;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = strlen(cases[i].record);

		for (size_t k = 0; k < ROOM; k++)
			p[k] = cases[i].record[k % len];
		for (enum mb_isa isa = MB_ISA_PORTABLE; isa <= mb_isa_best();
		    isa++) {
			if (!mb_isa_is_there(isa))
				continue;
			for (size_t k = 0; k < LOOKED_AT; k++) {
				char was = p[k];

				p[k] = MB_MARKS_WATCHED;
				mb_marks_look(&m, isa, cases[i].format,
				    mb_delimiter_of(cases[i].format), 2, p,
				    ROOM);
				/* Or it has stopped in front of it. */
				if (!m.has_watched && (cases[i].format ==
				    MB_NDJSON || (m.n_ends > 0 && k <=
				    mb_marks_place(&m, mb_marks_end(&m,
				    m.n_ends - 1)))))
					fail_msg("isa %d, %s, offset %zu",
					    (int)isa, cases[i].record, k);
				p[k] = was;
			}
			mb_marks_look(&m, isa, cases[i].format,
			    mb_delimiter_of(cases[i].format), 2, p, ROOM);
			assert_false(m.has_watched);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_of_all_kinds),
		cmocka_unit_test(a_byte_to_be_watched_for),
		cmocka_unit_test(each_byte_behind_a_backslash),
		cmocka_unit_test(strings_of_all_kinds),
	};

	return cmocka_run_group_tests(tests, random_seed, NULL);
}
