#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/line.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/parse.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- parse ---- */

static void
test_units(void **state)
{
	enum { TIME, SIZE, NUMBER };
	static const struct {
		int what;
		const char *in;
		int64_t out;	/* -1: refused */
	} cases[] = {
		{ TIME, "0", 0 }, { TIME, "0s", 0 }, { TIME, "00", 0 },
		{ TIME, "7us", 7 }, { TIME, "500ms", 500000 },
		{ TIME, "10s", 10000000 }, { TIME, "5m", 300000000 },
		{ TIME, "2h", 7200000000 }, { TIME, "1d", 86400000000 },
		{ TIME, "010s", 10000000 },
		{ TIME, "9223372036854775807us", INT64_MAX },
		{ TIME, "9223372036854775808us", -1 },
		{ TIME, "106751991d", 9223372022400000000 },
		{ TIME, "106751992d", -1 },
		{ TIME, "9223372036854775807h", -1 },
		{ TIME, "18446744073709551616us", -1 },
		{ TIME, "10", -1 }, { TIME, "", -1 }, { TIME, "s", -1 },
		{ TIME, "-1s", -1 }, { TIME, "+1s", -1 }, { TIME, " 1s", -1 },
		{ TIME, "1 s", -1 }, { TIME, "1s ", -1 }, { TIME, "1.5s", -1 },
		{ TIME, "1S", -1 }, { TIME, "1sec", -1 }, { TIME, "1K", -1 },
		{ TIME, "0x", -1 }, { TIME, "1h30m", -1 },
		{ SIZE, "0", 0 }, { SIZE, "100B", 100 }, { SIZE, "64K", 65536 },
		{ SIZE, "16M", 16 << 20 }, { SIZE, "3G", (int64_t)3 << 30 },
		{ SIZE, "2T", (int64_t)2 << 40 },
		{ SIZE, "8388607T", INT64_MAX - ((int64_t)1 << 40) + 1 },
		{ SIZE, "8388608T", -1 }, { SIZE, "16777216T", -1 },
		{ SIZE, "64", -1 }, { SIZE, "64k", -1 }, { SIZE, "64KB", -1 },
		{ SIZE, "K", -1 }, { SIZE, "1s", -1 },
		{ NUMBER, "0", 0 }, { NUMBER, "42", 42 },
		{ NUMBER, "9223372036854775807", INT64_MAX },
		{ NUMBER, "9223372036854775808", -1 },
		{ NUMBER, "18446744073709551615", -1 },
		{ NUMBER, "99999999999999999999", -1 },
		{ NUMBER, "", -1 }, { NUMBER, "-1", -1 }, { NUMBER, "1K", -1 },
		{ NUMBER, "4 ", -1 }, { NUMBER, "0x4", -1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *in = cases[i].in;
		struct mb_err err = { 0 };
		int64_t us = -7;
		uint64_t n = 0;
		int rc = cases[i].what == TIME ?
		    mb_parse_duration(&us, in, &err) :
		    cases[i].what == SIZE ? mb_parse_size(&n, in, &err) :
		    mb_parse_count(&n, in, &err);

		if (cases[i].what != TIME)
			us = (int64_t)n;
		if (cases[i].out < 0 ? rc != -1 || err.code != MB_EUSAGE ||
		    strstr(err.msg, in) == NULL : rc != 0 ||
		    us != cases[i].out)
			fail_msg("\"%s\" (%d): %d, %" PRId64 ", %s", in,
			    cases[i].what, rc, us, err.msg);
	}
}

static void
test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
		bool is_good;
	} cases[] = {
		{ "1970-01-01T00:00:00.000Z", 0, true },
		{ "1970-01-01T00:00:00.001Z", 1, true },
		{ "1969-12-31T23:59:59.999Z", -1, true },
		{ "1969-12-31T23:59:59.000Z", -1000, true },
		{ "2026-11-23T12:00:02.345Z", 1795435202345, true },
		{ "2024-02-29T00:00:00.000Z", 1709164800000, true },
		{ "9999-12-31T23:59:59.999Z", 253402300799999, true },
		{ "0001-01-01T00:00:00.000Z", -62135596800000, true },
		{ .text = "2023-02-29T00:00:00.000Z" },
		{ .text = "2026-13-01T00:00:00.000Z" },
		{ .text = "2026-00-01T00:00:00.000Z" },
		{ .text = "2026-11-00T00:00:00.000Z" },
		{ .text = "2026-11-23T24:00:00.000Z" },
		{ .text = "2026-11-23T12:60:00.000Z" },
		{ .text = "2016-12-31T23:59:60.000Z" },
		{ .text = "2026-11-23 12:00:02.345Z" },
		{ .text = "2026-11-23T12:00:02.345z" },
		{ .text = "2026-11-23T12:00:02,345Z" },
		{ .text = "2026-11-23T12:00:02Z" },
		{ .text = "2026-11-23T12:00:02.345Z " },
		{ .text = "2026-11-2xT12:00:02.345Z" },
		{ .text = "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_err err = { 0 };
		char again[MB_TIME_LEN + 1] = "";
		int64_t ms = 0;
		int rc = mb_parse_time(&ms, cases[i].text, &err);

		if (rc == 0)
			mb_format_time(again, ms);
		if (cases[i].is_good ? rc != 0 || ms != cases[i].ms ||
		    strcmp(again, cases[i].text) != 0 :
		    err.code != MB_EDATA)
			fail_msg("\"%s\": %d, %" PRId64 ", \"%s\"",
			    cases[i].text, rc, ms, again);
	}
}

static void
test_show(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain name.csv", "plain name.csv" }, { "", "" },
		{ "a\nb\x1b[2J\x7f", "a\\x0ab\\x1b[2J\\x7f" },
		{ "Stra\xc3\x9f" "e", "Stra\xc3\x9f" "e" },
		{ "caf\xe9", "caf\\xe9" },
	};
	struct mb_buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		mb_buf_reset(&b);
		mb_show(&b, mb_str(cases[i].in));
		assert_string_equal(mb_buf_str(&b), cases[i].out);
	}
	mb_buf_release(&b);
}

/* ---- opt ---- */

static const struct mb_opt opts[] = {
	{ 'j', "journal", "FILE", "log offset ranges in FILE" },
	{ 'i', "interval", "TIME", "cut a batch every TIME, which is said in "
	    "so many words that the help has to go on in another line, and "
	    "even in a third one" },
	{ MB_OPT_LONG, "interrupt", NULL, "only long" },
	{ MB_OPT_LONG + 1, "a-name-that-needs-room", "ARGUMENT", "so: below" },
	{ 'q', NULL, NULL, "only short" },
	MB_OPT_COMMON,
	{ 0 }
};
static const struct mb_cmd cmd = {
	.name = "mb-test", .usage = "[-q] FILE ...",
	.summary = "Do nothing, at length, so that this sentence is wider "
	    "than a line of a terminal may be.",
	.opts = opts,
};

/* What the arguments give: "j=x q | operand", or the message. */
static void
test_opt_next(void **state)
{
	static const struct {
		const char *argv[6];
		const char *out;
		bool is_good;
	} cases[] = {
		{ { "-j", "x", "-q" }, "j=x q |", true },
		{ { "-jx", "-qh" }, "j=x q h |", true },
		{ { "--journal=x", "a" }, "j=x | a", true },
		{ { "--journal", "x", "a", "-q", "b" }, "j=x q | a b", true },
		{ { "--jour", "x" }, "j=x |", true },
		{ { "--interv=1s", "--interr" }, "i=1s 256 |", true },
		{ { "--progress=json" }, "1000=json |", true },
		{ { "-q", "--", "-h", "a" }, "q | -h a", true },
		{ { "-" }, "| -", true },
		{ { NULL }, "|", true },
		{ { "-x" }, "-x: no such option", false },
		{ { "-qx" }, "-x: no such option", false },
		{ { "--help", "-xq" }, "-x: no such option", false },
		{ { "--nonsense" }, "--nonsense: no such option", false },
		{ { "a", "--nonsense" }, "--nonsense: no such option", false },
		{ { "a", "--nonsense=3", "b" }, "--nonsense=3: no such", false },
		{ { "--inter", "1s" }, "--inter: no such option, or not the "
		    "only one that begins so", false },
		{ { "-j" }, "-j: needs an argument", false },
		{ { "a", "-q", "--journal" }, "--journal: needs an argument", false },
		{ { "--interrupt=1" }, "--interrupt=1: takes no argument", false },
		{ { "--help=1" }, "--help=1: takes no argument", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *all[8] = { (char *)(uintptr_t)"mb-test" }, **argv = all;
		struct mb_err err = { 0 };
		struct mb_buf b = { 0 };
		const char *arg;
		int argc = 1, key;

		for (; cases[i].argv[argc - 1] != NULL; argc++)
			all[argc] = (char *)(uintptr_t)cases[i].argv[argc - 1];
		optind = 0;	/* start anew */
		while ((key = mb_opt_next(&cmd, &argc, &argv, &arg, &err)) > 0)
			if (key < MB_OPT_LONG)
				mb_buf_addf(&b, "%c%s%s ", key,
				    arg ? "=" : "", arg ? arg : "");
			else
				mb_buf_addf(&b, "%d%s%s ", key,
				    arg ? "=" : "", arg ? arg : "");
		mb_buf_addc(&b, '|');
		for (int k = 0; key == 0 && k < argc; k++)
			mb_buf_addf(&b, " %s", argv[k]);
		if (cases[i].is_good ? key != 0 ||
		    strcmp(mb_buf_str(&b), cases[i].out) != 0 :
		    key != -1 || err.code != MB_EUSAGE ||
		    strncmp(err.msg, cases[i].out, strlen(cases[i].out)) != 0)
			fail_msg("case %zu (%s): %d, \"%s\", %s", i,
			    cases[i].out, key, mb_buf_str(&b), err.msg);
		mb_buf_release(&b);
	}
}

static void
test_opt_help(void **state)
{
	char text[4096], line[256];
	FILE *f = tmpfile();
	size_t n;

	(void)state;
	assert_non_null(f);
	mb_opt_help(&cmd, f);
	rewind(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	rewind(f);
	while (fgets(line, sizeof line, f) != NULL) {
		if (strlen(line) - 1 >= 80)
			fail_msg("%zu columns: %s", strlen(line) - 1, line);
		if (strlen(line) > 1)
			assert_true(line[strlen(line) - 2] != ' ');
	}
	fclose(f);
	for (const struct mb_opt *o = opts; o->key != 0; o++)
		if (o->name != NULL && strstr(text, o->name) == NULL)
			fail_msg("no --%s", o->name);
	assert_memory_equal(text, "usage: mb-test [-q] FILE ...\n", 29);
	assert_non_null(strstr(text, "\n  -j, --journal FILE      log "));
	assert_non_null(strstr(text, "\n      --interrupt         only "));
	assert_non_null(strstr(text, "\n  -q                      only "));
	assert_non_null(strstr(text, "\n      --a-name-that-needs-room ARGUMENT"
	    "\n                          so: below\n"));
}

/* ---- line ---- */

static void
test_line_values(void **state)
{
	static const char expected[] =
	    "{\"mb\":\"test\",\"s\":\"a\\\"b\\\\c\\n\\u0001\\u007f\xc3\xa4\","
	    "\"u\":9223372036854775807,\"i\":-3,\"yes\":true,\"no\":false,"
	    "\"raw\":[1,{}],\"at\":\"1970-01-01T00:00:00.001Z\","
	    "\"list\":[{\"x\":1},{\"x\":2},\"y\",[]],\"empty\":{},"
	    "\"hash\":\"00112233445566778899aabbccddeeff\",\"crc\":\"";
	const struct mb_node *root, *list;
	struct mb_buf b = { 0 };
	struct mb_err err = { 0 };
	struct mb_doc *doc;
	struct mb_hash hash;
	const char *s;
	char *dump;
	uint64_t u;
	int64_t ms;
	bool is;

	(void)state;
	mb_buf_adds(&b, "the line before\n");
	mb_line_begin(&b, "test");
	mb_line_str(&b, "s", "a\"b\\c\n\x01\x7f\xc3\xa4");
	mb_line_u64(&b, "u", INT64_MAX);
	mb_line_i64(&b, "i", -3);
	mb_line_bool(&b, "yes", true);
	mb_line_bool(&b, "no", false);
	mb_line_raw(&b, "raw", "[1,{}]");
	mb_line_time(&b, "at", 1);
	mb_line_open(&b, "list", '[');
	for (uint64_t x = 1; x <= 2; x++) {
		mb_line_open(&b, NULL, '{');
		mb_line_u64(&b, "x", x);
		mb_line_close(&b, '}');
	}
	mb_line_str(&b, NULL, "y");
	mb_line_open(&b, NULL, '[');
	mb_line_close(&b, ']');
	mb_line_close(&b, ']');
	mb_line_open(&b, "empty", '{');
	mb_line_close(&b, '}');
	mb_line_str(&b, "hash", "00112233445566778899aabbccddeeff");
	mb_line_seal(&b, 16);
	assert_int_equal(strncmp(mb_buf_str(&b) + 16, expected,
	    sizeof expected - 1), 0);
	assert_true(mb_line_check((struct mb_str){ b.p + 16, b.len - 17 }));

	if (mb_doc_parse(&doc, (struct mb_str){ b.p + 16, b.len - 17 },
	    &err) < 0)
		fail_msg("%s", err.msg);
	root = mb_doc_root(doc);
	assert_true(mb_node_str(root, "s", &s));
	assert_string_equal(s, "a\"b\\c\n\x01\x7f\xc3\xa4");
	assert_true(mb_node_u64(root, "u", &u) && u == INT64_MAX);
	assert_true(mb_node_bool(root, "yes", &is) && is);
	assert_true(mb_node_bool(root, "no", &is) && !is);
	assert_true(mb_node_time(root, "at", &ms) && ms == 1);
	assert_true(mb_node_hash(root, "hash", &hash));
	list = mb_node_member(root, "list");
	assert_int_equal(mb_node_length(list), 4);
	assert_true(mb_node_u64(mb_node_at(list, 1), "x", &u) && u == 2);
	assert_null(mb_node_at(list, 4));
	dump = mb_node_dump(list);
	assert_string_equal(dump, "[{\"x\":1},{\"x\":2},\"y\",[]]");
	free(dump);

	/* Absent, or of another type: false, and *out stays. */
	s = "before";
	u = 77;
	assert_false(mb_node_str(root, "u", &s) ||
	    mb_node_str(root, "nothing", &s) || mb_node_str(NULL, "s", &s) ||
	    mb_node_str(list, "s", &s));
	assert_string_equal(s, "before");
	assert_false(mb_node_u64(root, "i", &u) ||
	    mb_node_u64(root, "s", &u) || mb_node_u64(root, "yes", &u) ||
	    mb_node_u64(root, "nothing", &u));
	assert_int_equal(u, 77);
	assert_false(mb_node_bool(root, "u", &is) ||
	    mb_node_bool(root, "at", &is));
	assert_false(mb_node_time(root, "s", &ms) ||
	    mb_node_time(root, "u", &ms));
	assert_false(mb_node_hash(root, "at", &hash) ||
	    mb_node_hash(root, "u", &hash));
	assert_null(mb_node_member(root, "nothing"));
	assert_int_equal(mb_node_length(NULL) + mb_node_length(root), 0);
	mb_doc_close(doc);
	mb_buf_release(&b);
}

/* Any byte changed to any other, taken away or doubled. */
static void
test_line_check(void **state)
{
	struct mb_buf b = { 0 };
	char copy[256];

	(void)state;
	mb_line_begin(&b, "commit");
	mb_line_u64(&b, "batch", 17);
	mb_line_seal(&b, 0);
	b.len--;	/* the newline */
	for (size_t i = 0; i < b.len; i++) {
		memcpy(copy, b.p, b.len);
		for (int c = 0; c < 256; c++) {
			copy[i] = (char)c;
			if (mb_line_check((struct mb_str){ copy, b.len }) !=
			    (copy[i] == b.p[i]))
				fail_msg("byte %zu as %d", i, c);
		}
		memcpy(copy, b.p, i);
		memcpy(copy + i, b.p + i + 1, b.len - i - 1);
		assert_false(mb_line_check((struct mb_str){ copy, b.len - 1 }));
		memcpy(copy, b.p, i + 1);
		memcpy(copy + i + 1, b.p + i, b.len - i);
		assert_false(mb_line_check((struct mb_str){ copy, b.len + 1 }));
		assert_false(mb_line_check((struct mb_str){ b.p, i }));
		if (i > 0)
			assert_false(mb_line_check((struct mb_str){ b.p + i,
			    b.len - i }));
	}
	/* Only an object is a line, whatever its checksum. */
	mb_buf_reset(&b);
	mb_buf_adds(&b, "[\"mb\":\"commit\"");
	mb_line_seal(&b, 0);
	assert_false(mb_line_check((struct mb_str){ b.p, b.len - 1 }));
	mb_buf_release(&b);
}

static void
test_line_bytes(void **state)
{
	static const struct {
		const char *in, *line;
	} cases[] = {
		{ "/tmp/a b", "{\"mb\":\"t\",\"p\":\"/tmp/a b\"}" },
		{ "", "{\"mb\":\"t\",\"p\":\"\"}" },
		{ "\xc3\xa4", "{\"mb\":\"t\",\"p\":\"\xc3\xa4\"}" },
		{ "caf\xe9", "{\"mb\":\"t\",\"p_hex\":\"636166e9\"}" },
		{ "\xff\x0a\x01", "{\"mb\":\"t\",\"p_hex\":\"ff0a01\"}" },
		{ NULL, "{\"p_hex\":\"ABCD\"}" },
		{ NULL, "{\"p_hex\":\"abc\"}" },
		{ NULL, "{\"p_hex\":7}" }, { NULL, "{\"p\":7}" },
		{ NULL, "{}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *in = cases[i].in;
		struct mb_err err = { 0 };
		struct mb_buf b = { 0 };
		struct mb_doc *doc;
		char *out = NULL;
		size_t len = 0;
		bool is_there;

		if (in != NULL) {
			mb_line_begin(&b, "t");
			mb_line_bytes(&b, "p", mb_str(in));
			mb_buf_addc(&b, '}');
			assert_string_equal(mb_buf_str(&b), cases[i].line);
		}
		assert_int_equal(mb_doc_parse(&doc, mb_str(cases[i].line),
		    &err), 0);
		is_there = mb_node_bytes(mb_doc_root(doc), "p", &out, &len);
		if (is_there != (in != NULL) || (in != NULL &&
		    (len != strlen(in) || strcmp(out, in) != 0)))
			fail_msg("%s: %d, \"%s\"", cases[i].line, is_there,
			    out != NULL ? out : "");
		free(out);
		mb_doc_close(doc);
		mb_buf_release(&b);
	}
}

static void
test_utf8(void **state)
{
	static const struct {
		const char *in;
		const char *quoted;	/* NULL: as it is */
		bool is_utf8;
	} cases[] = {
		{ "", NULL, true }, { "abc", NULL, true },
		{ "\xc2\x80\xdf\xbf", NULL, true },
		{ "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", NULL, true },
		{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", NULL, true },
		{ "\t\r", "\"\\t\\r\"", true },
		{ "a\x80", "\"a\xef\xbf\xbd\"", false },
		{ "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"", false },
		{ "\xc3", "\"\xef\xbf\xbd\"", false },
		{ "\xc3z", "\"\xef\xbf\xbdz\"", false },
		{ "\xe0\x9f\x80", NULL, false },	/* overlong */
		{ "\xed\xa0\x80", NULL, false },	/* surrogate */
		{ "\xf0\x8f\x80\x80", NULL, false },
		{ "\xf4\x90\x80\x80", NULL, false },
		{ "\xf5\x80\x80\x80", NULL, false },
		{ "\xe2\x82", NULL, false }, { "\xff", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_str in = mb_str(cases[i].in);
		struct mb_buf b = { 0 };

		if (mb_is_utf8(in) != cases[i].is_utf8)
			fail_msg("case %zu", i);
		mb_json_quote(&b, in);
		assert_true(mb_is_utf8((struct mb_str){ b.p, b.len }));
		if (cases[i].quoted != NULL)
			assert_string_equal(mb_buf_str(&b), cases[i].quoted);
		else if (cases[i].is_utf8)
			assert_memory_equal(b.p + 1, in.p, in.len);
		mb_buf_release(&b);
	}
}

static void
test_doc_refused(void **state)
{
	static const char *const cases[] = {
		"", "{", "[1]", "7", "{\"a\":1}x", "{\"a\":1,}", "{a:1}",
		"{\"a\":99999999999999999999}", "{\"a\":\"\xff\"}",
		"{\"a\":\"\\u0000\"}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_err err = { 0 };
		struct mb_doc *doc;

		if (mb_doc_parse(&doc, mb_str(cases[i]), &err) != -1 ||
		    err.code != MB_ECORRUPT || doc != NULL)
			fail_msg("%s", cases[i]);
		mb_doc_close(doc);
	}
}

/* ---- hash ---- */

static void
test_crc32c(void **state)
{
	char zeros[32] = { 0 }, ones[32], rising[32];

	(void)state;
	memset(ones, 0xff, sizeof ones);
	for (int i = 0; i < 32; i++)
		rising[i] = (char)i;
	/* RFC 3720, B.4 */
	assert_int_equal(mb_crc32c(0, zeros, 32), 0x8a9136aa);
	assert_int_equal(mb_crc32c(0, ones, 32), 0x62a8ab43);
	assert_int_equal(mb_crc32c(0, rising, 32), 0x46dd794e);
	assert_int_equal(mb_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(mb_crc32c(0, "", 0), 0);
	for (size_t i = 0; i <= 32; i++)
		assert_int_equal(mb_crc32c(mb_crc32c(0, rising, i),
		    rising + i, 32 - i), 0x46dd794e);
}

static void
test_hash(void **state)
{
	enum { LEN = 700 };	/* past the library's buffer and its limits */
	struct mb_hasher *h = mb_hasher_open();
	struct mb_err err = { 0 };
	char bytes[LEN], id[33], other[33];

	(void)state;
	for (int i = 0; i < LEN; i++)
		bytes[i] = (char)(i * i + 7);
	assert_string_equal(mb_hash_bytes("", 0).hex,
	    "99aa06d3014798d86001c324468d497f");
	assert_string_equal(mb_hasher_value(h).hex,
	    mb_hash_bytes("", 0).hex);
	for (size_t len = 0; len <= LEN; len += len < 20 ? 1 : 97) {
		struct mb_hash whole = mb_hash_bytes(bytes, len);

		assert_true(mb_is_hex(mb_str(whole.hex), MB_HASH_LEN));
		for (size_t i = 0; i <= len; i++) {
			mb_hasher_reset(h);
			mb_hasher_add(h, bytes, i);
			(void)mb_hasher_value(h);	/* changes nothing */
			mb_hasher_add(h, bytes + i, len - i);
			if (strcmp(mb_hasher_value(h).hex, whole.hex) != 0)
				fail_msg("%zu of %zu", i, len);
		}
	}
	mb_hasher_close(h);
	assert_true(mb_hash64("a", 1, 0) != mb_hash64("a", 1, 1));

	assert_true(mb_is_hex(MB_STR("09af"), 4) && mb_is_hex(MB_STR(""), 0));
	assert_false(mb_is_hex(MB_STR("09af"), 3) ||
	    mb_is_hex(MB_STR("09aF"), 4) || mb_is_hex(MB_STR("09ag"), 4) ||
	    mb_is_hex(MB_STR("/:`g"), 4));
	assert_int_equal(mb_random_hex(id, 16, &err), 0);
	assert_int_equal(mb_random_hex(other, 16, &err), 0);
	assert_true(mb_is_hex(mb_str(id), 32) && strcmp(id, other) != 0);
}

/* ---- mem ---- */

static void
test_buf(void **state)
{
	struct mb_buf b = { 0 };
	char *kept;
	size_t cap;

	(void)state;
	mb_buf_add(&b, NULL, 0);
	assert_int_equal(b.len, 0);
	for (int i = 0; i < 1000; i++) {
		mb_buf_addc(&b, 'x');
		mb_buf_addf(&b, "%03d", i);
		mb_buf_adds(&b, "--");
		mb_buf_add(&b, "\0y", 2);
		assert_true(b.len <= b.cap);
	}
	assert_int_equal(b.len, 8000);
	for (int i = 0; i < 1000; i++) {
		char one[16];

		snprintf(one, sizeof one, "x%03d--", i);
		assert_memory_equal(b.p + 8 * i, one, 7);	/* and NUL */
	}
	assert_int_equal(mb_buf_str(&b)[8000], '\0');
	assert_int_equal(b.len, 8000);
	cap = b.cap;
	kept = b.p;
	mb_buf_reset(&b);
	mb_buf_adds(&b, "anew");
	assert_true(b.p == kept && b.cap == cap);
	kept = mb_buf_take(&b);
	assert_string_equal(kept, "anew");
	assert_true(b.p == NULL && b.len == 0 && b.cap == 0);
	free(kept);
	kept = mb_buf_take(&b);
	assert_string_equal(kept, "");
	free(kept);
	mb_buf_release(&b);
	assert_true(mb_str_eq(MB_STR(""), (struct mb_str){ NULL, 0 }));
	assert_false(mb_str_eq(MB_STR("a"), MB_STR("ab")));
}

static void
test_arena(void **state)
{
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 4096, 5000, 3 << 20 };
	struct mb_arena a = { 0 };
	char *at[400], *first;

	(void)state;
	mb_arena_reset(&a);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT(at); i++) {
			size_t size = sizes[i % (i % 50 == 0 ? 8 : 6)];

			at[i] = mb_arena_alloc(&a, size);
			assert_int_equal((uintptr_t)at[i] % 16, 0);
			memset(at[i], (int)i, size);
		}
		for (size_t i = 0; i < COUNT(at); i++) {
			size_t size = sizes[i % (i % 50 == 0 ? 8 : 6)];

			for (size_t k = 0; k < size; k += 5)
				assert_int_equal((unsigned char)at[i][k],
				    i & 255);
		}
		mb_arena_reset(&a);
	}
	first = mb_arena_alloc(&a, 1);
	mb_arena_reset(&a);
	assert_ptr_equal(mb_arena_alloc(&a, 1), first);
	assert_string_equal(mb_arena_dup(&a, "abcdef", 3), "abc");
	assert_string_equal(mb_arena_dup(&a, NULL, 0), "");
	mb_arena_release(&a);
	assert_null(a.head);
}

/* Of two arenas what was in both stays; the other is empty. */
static void
test_arena_join(void **state)
{
	(void)state;
	for (int sizes = 0; sizes < 9; sizes++) {
		struct mb_arena a = { 0 }, from = { 0 };
		char text[3000] = "ours", *ours[3], *theirs[3], *next;
		int n[] = { sizes % 3, sizes / 3 };

		for (int i = 0; i < n[0]; i++)
			ours[i] = mb_arena_dup(&a, text, sizeof text);
		memcpy(text, "theirs", 7);
		for (int i = 0; i < n[1]; i++)
			theirs[i] = mb_arena_dup(&from, text, sizeof text);
		mb_arena_join(&a, &from);
		assert_null(from.head);
		next = mb_arena_dup(&a, "next", 4);
		mb_arena_release(&from);
		for (int i = 0; i < n[0]; i++)
			assert_string_equal(ours[i], "ours");
		for (int i = 0; i < n[1]; i++)
			assert_string_equal(theirs[i], "theirs");
		assert_string_equal(next, "next");
		mb_arena_release(&a);
	}
}

/* Touched memory is there, and as it was; growing moves it, new is zero. */
static void
test_region(void **state)
{
	enum { LAST = 6 };
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct mb_region r = { 0 };
	unsigned char in_memory[64];

	(void)state;
	mb_region_grow(&r, 64 * 1024);
	for (size_t i = 0; i < r.size; i++)
		r.p[i] = (char)(i % 251);
	mb_region_touch(&r, 3, r.size - 5);
	mb_region_populate(&r, 5, r.size);
	mb_region_grow(&r, 2 * 64 * 1024);
	mb_region_populate(&r, 64 * 1024 - 7, r.size - 1);
	for (size_t i = 0; i < r.size; i++)
		assert_int_equal((unsigned char)r.p[i],
		    i < 64 * 1024 ? i % 251 : 0);
	mb_region_release(&r);

	/* Of the first and the last page a byte. */
	mb_region_grow(&r, 64 * page);
	mb_region_touch(&r, 2 * page - 1, LAST * page + 1);
	assert_int_equal(mincore(r.p, 64 * page, in_memory), 0);
	for (size_t i = 1; i <= LAST; i++)
		assert_int_equal(in_memory[i] & 1, 1);
	/* From here on the kernel need not be able to. */
	mb_region_populate(&r, 10 * page + 1, 12 * page + 1);
	assert_int_equal(mincore(r.p, 64 * page, in_memory), 0);
	assert_int_equal(in_memory[10] & 1, in_memory[12] & 1);
	mb_region_release(&r);
}

/* No memory, and sizes that overflow: one line and status 75. */
static void
test_no_memory(void **state)
{
	(void)state;
	for (int how = 0; how < 2; how++) {
		int status, out[2];
		char line[64] = "";
		pid_t pid;

		assert_int_equal(pipe(out), 0);
		pid = fork();
		if (pid == 0) {
			struct mb_buf b = { .len = 10 };

			dup2(out[1], 2);
			if (how == 0)
				b.p = mb_realloc_array(NULL, SIZE_MAX / 2, 3);
			else
				mb_buf_reserve(&b, SIZE_MAX - 5);
			_exit(0);
		}
		close(out[1]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(read(out[0], line, sizeof line - 1) > 0);
		close(out[0]);
		assert_int_equal(WEXITSTATUS(status), 75);
		assert_string_equal(line, "mb: out of memory\n");
	}
}

/* ---- err ---- */

static void
test_err(void **state)
{
	struct mb_err err = { 0 };
	char wide[2000];

	(void)state;
	assert_int_equal(mb_fail(&err, MB_EDATA, "line %d: \x1b[2J\n\x7f\xc3\xa4",
	    7), -1);
	assert_string_equal(err.msg, "line 7: ?[2J??\xc3\xa4");
	/* The first failure wins. */
	assert_int_equal(mb_fail(&err, MB_EBUG, "later"), -1);
	errno = ENOSPC;
	assert_int_equal(mb_fail_sys(&err, "later"), -1);
	assert_int_equal(err.code, MB_EDATA);
	assert_int_equal(mb_wrap(&err, "a\tb"), -1);
	assert_string_equal(err.msg, "a?b: line 7: ?[2J??\xc3\xa4");

	err = (struct mb_err){ 0 };
	errno = ENOSPC;
	assert_int_equal(mb_fail_sys(&err, "write %s", "x"), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(err.code, MB_EIO);
	assert_string_equal(err.msg, "write x: No space left on device");
	err = (struct mb_err){ 0 };
	errno = EPIPE;
	mb_fail_sys(&err, "write");
	assert_int_equal(err.code, MB_EPIPE);

	/* Too long: cut, and still one string. */
	memset(wide, 'w', sizeof wide - 1);
	wide[sizeof wide - 1] = '\0';
	for (int how = 0; how < 3; how++) {
		err = (struct mb_err){ 0 };
		errno = EIO;
		if (how == 1)
			mb_fail_sys(&err, "%s", wide);
		else
			mb_fail(&err, MB_EIO, "%s", how == 0 ? wide : "cause");
		if (how == 2)
			mb_wrap(&err, "%s", wide);
		assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
		assert_int_equal(err.code, MB_EIO);
	}
}

static void
test_exit_status(void **state)
{
	static const int expected[] = {
		[MB_OK] = 0, [MB_EUSAGE] = 64, [MB_EDATA] = 65,
		[MB_ECORRUPT] = 65, [MB_EBUG] = 70, [MB_EBUSY] = 75,
		[MB_EIO] = 75, [MB_EEXIST] = 75, [MB_EPIPE] = 75,
	};

	(void)state;
	for (size_t i = 0; i < COUNT(expected); i++)
		assert_int_equal(mb_exit_status((enum mb_code)i), expected[i]);
}

/* ---- io ---- */

static void
on_alarm(int sig)
{
	(void)sig;
}

/*
 * A pipe takes 64 KiB at a time, and signals interrupt both ends: the counts
 * are short, the bytes whole.
 */
static void
test_pipe(void **state)
{
	enum { LEN = 1 << 20 };
	struct sigaction sa = { .sa_handler = on_alarm };
	char *bytes = mb_alloc(LEN), *got = mb_alloc(LEN + 1);
	struct mb_err err = { 0 };
	size_t n = 0;
	int fd[2], status;
	ssize_t k;
	pid_t pid;

	(void)state;
	for (int i = 0; i < LEN; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	assert_int_equal(pipe(fd), 0);
	sigaction(SIGUSR1, &sa, NULL);	/* no SA_RESTART */
	pid = fork();
	if (pid == 0) {
		close(fd[0]);
		_exit(mb_write_all(fd[1], bytes, LEN, "pipe", &err) < 0);
	}
	close(fd[1]);
	/* The first ends a write with a short count, the second with EINTR. */
	for (int i = 0; i < 3; i++) {
		mb_clock_sleep(20000);
		kill(pid, SIGUSR1);
	}
	while ((k = mb_read_some(fd[0], got + n, n < LEN ? LEN - n : 1,
	    "pipe", &err)) > 0) {
		n += (size_t)k;
		kill(pid, SIGUSR1);
		if (n < LEN / 2)
			mb_clock_sleep(500);
	}
	assert_int_equal(k, 0);
	assert_int_equal(n, LEN);
	assert_memory_equal(bytes, got, LEN);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd[0]);

	/* The reader has gone. */
	assert_int_equal(pipe(fd), 0);
	close(fd[0]);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(mb_write_all(fd[1], bytes, LEN, "the pipe", &err), -1);
	assert_int_equal(err.code, MB_EPIPE);
	assert_non_null(strstr(err.msg, "write the pipe: "));
	close(fd[1]);
	free(bytes);
	free(got);
}

static void
test_positions(void **state)
{
	FILE *f = tmpfile();
	int fd = fileno(f);
	struct mb_err err = { 0 };
	char got[16];

	(void)state;
	assert_int_equal(mb_pwrite_all(fd, "world", 5, 6, "f", &err), 0);
	assert_int_equal(mb_pwrite_all(fd, "hello ", 6, 0, "f", &err), 0);
	assert_int_equal(mb_pread_full(fd, got, 16, 0, "f", &err), 11);
	assert_memory_equal(got, "hello world", 11);
	assert_int_equal(mb_pread_full(fd, got, 3, 6, "f", &err), 3);
	assert_memory_equal(got, "wor", 3);
	assert_int_equal(mb_pread_full(fd, got, 3, 99, "f", &err), 0);
	assert_int_equal(mb_fsync(fd, "f", &err), 0);
	assert_int_equal(mb_fdatasync(fd, "f", &err), 0);
	fclose(f);
	assert_int_equal(mb_pread_full(-1, got, 3, 0, "f", &err), -1);
	assert_int_equal(err.code, MB_EIO);
	assert_string_equal(err.msg, "read f: Bad file descriptor");
}

/* ---- count ---- */

/* At every offset, of every length around the steps of the wide paths. */
static void
test_newlines(void **state)
{
	enum { SPAN = 3 * 255 * 8 + 64 * 128 + 200 };
	static const unsigned odds[] = { 1, 2, 40, 5000 };
	char *bytes = mb_alloc(SPAN);
	unsigned random = 1;

	(void)state;
	for (size_t k = 0; k < COUNT(odds); k++) {
		for (size_t i = 0; i < SPAN; i++) {
			random = random * 1103515245 + 12345;
			bytes[i] = (random >> 16) % odds[k] == 0 ? '\n' :
			    (char)(random >> 8);
		}
		for (size_t from = 0; from < 40; from += 3)
			for (size_t len = 0; from + len <= SPAN;
			    len += len < 600 ? 1 : 509) {
				uint64_t n = 0;

				for (size_t i = 0; i < len; i++)
					n += bytes[from + i] == '\n';
				if (mb_count_newlines(bytes + from, len) != n ||
				    mb_count_newlines_portable(bytes + from,
				    len) != n)
					fail_msg("one in %u, %zu bytes at %zu",
					    odds[k], len, from);
			}
	}
	free(bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_newlines),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_opt_next),
		cmocka_unit_test(test_opt_help),
		cmocka_unit_test(test_line_values),
		cmocka_unit_test(test_line_check),
		cmocka_unit_test(test_line_bytes),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_doc_refused),
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_arena_join),
		cmocka_unit_test(test_region),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_exit_status),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_positions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
