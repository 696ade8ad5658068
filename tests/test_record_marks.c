/* record/marks.h: where strings of ndjson end, and which are good by json.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

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

	mb_marks_look(&m, isa, MB_NDJSON, '\0', p, ROOM);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_byte_behind_a_backslash),
		cmocka_unit_test(strings_of_all_kinds),
	};

	return cmocka_run_group_tests(tests, random_seed, NULL);
}
