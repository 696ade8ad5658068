/* record/json.h: what is JSON, held to jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/parse.h"
#include "record/json.h"
#include "record/reader.h"

static uint64_t rng;

static unsigned
pick(unsigned n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(rng >> 33) % n;
}

static void
seed_random(void)
{
	const char *given = getenv("MB_SEED");

	rng = given != NULL ? strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	printf("MB_SEED=%llu\n", (unsigned long long)rng);
}

static const char *
show(struct mb_str s)
{
	static struct mb_buf b;

	mb_buf_reset(&b);
	mb_show(&b, s);
	return mb_buf_str(&b);
}

static void
an_object_is_good_or_bad_for_a_reason(void **state)
{
	static const struct {
		const char *text;
		const char *why;	/* NULL: good */
	} cases[] = {
		{ "{}", NULL }, { " \t\r\n{ } \n", NULL },
		{ "{\"a\":[],\"b\":{},\"c\":[[],{}]}", NULL },
		{ "{\"a\" : -0.5e+10 , \"b\":[ 1 , 2 ] }", NULL },
		{ "{\"a\":0,\"b\":-0,\"c\":1E400,\"d\":1e-999}", NULL },
		{ "{\"a\":99999999999999999999999999999999999999999}", NULL },
		{ "{\"\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"}", NULL },
		{ "{\"a\":\"\\u0000\",\"\\u0000\":1}", NULL },
		{ "{\"a\":\"\\ud83d\\ude00\x7f\xf4\x8f\xbf\xbf\"}", NULL },
		{ "", "not a JSON object" }, { "1", "not a JSON object" },
		{ "[]", "not a JSON object" },
		{ "\xef\xbb\xbf{}", "not a JSON object" },
		{ "{", "no key in quotes where one must be" },
		{ "{a:1}", "no key in quotes where one must be" },
		{ "{'a':1}", "no key in quotes where one must be" },
		{ "{\"a\":1,}", "no key in quotes where one must be" },
		{ "{,}", "no key in quotes where one must be" },
		{ "{\"a\":{\"b\":1,}}", "no key in quotes where one must be" },
		{ "{\"a\"}", "no colon behind a key" },
		{ "{\"a\"", "no colon behind a key" },
		{ "{\"a\":", "not a JSON value" },
		{ "{\"a\":}", "not a JSON value" },
		{ "{\"a\":nul}", "not a JSON value" },
		{ "{\"a\":True}", "not a JSON value" },
		{ "{\"a\":NaN}", "not a JSON value" },
		{ "{\"a\":+1}", "not a JSON value" },
		{ "{\"a\":.5}", "not a JSON value" },
		{ "{\"a\":1.}", "not a JSON value" },
		{ "{\"a\":1e}", "not a JSON value" },
		{ "{\"a\":1e+}", "not a JSON value" },
		{ "{\"a\":-}", "not a JSON value" },
		{ "{\"a\":[1,]}", "not a JSON value" },
		{ "{\"a\":[,1]}", "not a JSON value" },
		{ "{\"a\":01}", "no comma between two values" },
		{ "{\"a\":0x1}", "no comma between two values" },
		{ "{\"a\":1 2}", "no comma between two values" },
		{ "{\"a\":truex}", "no comma between two values" },
		{ "{\"a\":[1}", "no comma between two values" },
		{ "{\"a\":[1 2]}", "no comma between two values" },
		{ "{\"a\":{\"b\":1]}", "no comma between two values" },
		{ "{\"a\":1", "the object is not closed" },
		{ "{\"a\":[1", "an object or array is not closed" },
		{ "{\"a\":[", "not a JSON value" },
		{ "{}x", "text behind the object" },
		{ "{}{}", "text behind the object" },
		{ "{\"a\":1}]", "text behind the object" },
		{ "{\"a", "a string is not closed" },
		{ "{\"a\":\"b", "a string is not closed" },
		{ "{\"a\":\"b\\", "a string is not closed" },
		{ "{\"a\":\"b\\\"", "a string is not closed" },
		{ "{\"a\":\"\t\"}", "a control character in a string" },
		{ "{\"a\n\":1}", "a control character in a string" },
		{ "{\"a\":\"\\x41\"}", "no such escape in a string" },
		{ "{\"a\":\"\\u12g4\"}", "\\u without four hexadecimal digits" },
		{ "{\"a\":\"\\u12\"}", "\\u without four hexadecimal digits" },
		{ "{\"a\":\"\\ud800\"}", "half a surrogate pair" },
		{ "{\"a\":\"\\udc00\"}", "half a surrogate pair" },
		{ "{\"a\":\"\\ud800\\u0041\"}", "half a surrogate pair" },
		{ "{\"a\":\"\\ud800\\ud800\"}", "half a surrogate pair" },
		{ "{\"a\":\"\xff\"}", "not UTF-8" },
		{ "{\"a\":\"\xc0\x80\"}", "not UTF-8" },
		{ "{\"a\":\"\xed\xa0\x80\"}", "not UTF-8" },
		{ "{\"a\":\"12345678\xe2\x82\"}", "not UTF-8" },
		{ "{\"\xc3\":1}", "not UTF-8" },
	};
	struct mb_json_members m = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_str text = mb_str(cases[i].text);
		/* no byte behind it may be looked at */
		char *copy = mb_alloc(text.len);
		const char *why;

		memcpy(copy, text.p, text.len);
		why = mb_json_object(&m, (struct mb_str){ copy, text.len });
		if ((why == NULL) != (cases[i].why == NULL) ||
		    (why != NULL && strcmp(why, cases[i].why) != 0))
			fail_msg("\"%s\": got %s", show(text),
			    why != NULL ? why : "good");
		free(copy);
	}
	/* a NUL is no blank */
	assert_non_null(mb_json_object(&m, (struct mb_str){ "{}\0", 3 }));
	assert_non_null(mb_json_object(&m,
	    (struct mb_str){ "{\"a\0\":1}", 8 }));
	mb_json_members_release(&m);
}

static void
nesting_has_a_limit(void **state)
{
	struct mb_json_members m = { 0 };
	struct mb_buf text = { 0 };

	(void)state;
	for (int depth = MB_JSON_DEPTH - 1; depth < MB_JSON_DEPTH + 2; depth++)
		for (int kind = 0; kind < 2; kind++) {
			const char *why;

			mb_buf_reset(&text);
			mb_buf_adds(&text, "{\"a\":");
			for (int i = 1; i < depth; i++)
				mb_buf_adds(&text, kind ? "{\"a\":" : "[");
			mb_buf_addc(&text, '1');
			for (int i = 1; i < depth; i++)
				mb_buf_addc(&text, kind ? '}' : ']');
			mb_buf_addc(&text, '}');
			why = mb_json_object(&m, (struct mb_str){ text.p,
			    text.len });
			if (depth <= MB_JSON_DEPTH)
				assert_null(why);
			else
				assert_string_equal(why, "nested too deep");
		}
	mb_buf_release(&text);
	mb_json_members_release(&m);
}

static void
a_number_is_exactly_one(void **state)
{
	static const struct {
		const char *text;
		bool is_number;
	} cases[] = {
		{ "0", true }, { "-0", true }, { "10.50", true },
		{ "1e5", true }, { "1E-5", true }, { "-1.5e+05", true },
		{ "", false }, { "-", false }, { "01", false },
		{ "+1", false }, { "1.", false }, { ".1", false },
		{ "1 ", false }, { " 1", false }, { "1e", false },
		{ "0x10", false }, { "NaN", false }, { "1,2", false },
		{ "--1", false }, { "1.2.3", false }, { "Infinity", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (mb_json_is_number(mb_str(cases[i].text)) !=
		    cases[i].is_number)
			fail_msg("\"%s\"", cases[i].text);
}

/*
 * Random text that is mostly JSON, and an odd byte now and then.
 */
static void
put_random_string(struct mb_buf *b)
{
	static const char *const parts[] = {
		"a", "bc", "long enough to be skipped in words", "\\n",
		"\\u00e9", "\\\"", "\\\\", "\xc3\xa9", "\\ud83d\\ude00",
		"\xf0\x9f\x98\x80", " ", "\\/", "\\u0041", "{", "]", ",",
		"\x7f",
		/* odd */
		"\\u0000", "\\ud83d", "\x01", "\xff", "\\x", "\\u12", "\"",
	};
	enum { N = sizeof parts / sizeof *parts };

	mb_buf_addc(b, '"');
	for (unsigned n = pick(4); n > 0; n--)
		mb_buf_adds(b, parts[pick(pick(15) == 0 ? N : N - 7)]);
	mb_buf_addc(b, '"');
}

static void
put_random_blank(struct mb_buf *b)
{
	if (pick(4) == 0)
		mb_buf_addc(b, " \t\n\r"[pick(4)]);
}

static void
put_random_value(struct mb_buf *b, int depth)
{
	static const char *const scalars[] = {
		"0", "-1", "12.50", "1e5", "-0.0", "1234567890123", "true",
		"false", "null", "2E-3",
		"01", "1.", "tru", "-", "", "0x", "nulll", "+1",
	};
	enum { N = sizeof scalars / sizeof *scalars };
	unsigned kind = pick(depth > 3 ? 2 : 4);

	put_random_blank(b);
	if (kind == 0) {
		mb_buf_adds(b, scalars[pick(pick(40) == 0 ? N : N - 8)]);
	} else if (kind == 1) {
		put_random_string(b);
	} else {
		mb_buf_addc(b, "[{"[kind - 2]);
		for (unsigned i = 0, n = pick(4); i < n; i++) {
			if (i > 0)
				mb_buf_addc(b, ',');
			if (kind == 3) {
				put_random_blank(b);
				/* few names, so that keys are often equal */
				if (pick(2) == 0)
					mb_buf_addf(b, "\"%c\"", 'a' + pick(3));
				else
					put_random_string(b);
				put_random_blank(b);
				mb_buf_addc(b, ':');
			}
			put_random_value(b, depth + 1);
		}
		put_random_blank(b);
		mb_buf_addc(b, "]}"[kind - 2]);
	}
	put_random_blank(b);
}

static void
put_random_object(struct mb_buf *b)
{
	mb_buf_addc(b, '{');
	for (unsigned i = 0, n = pick(6); i < n; i++) {
		mb_buf_adds(b, i > 0 ? "," : "");
		if (pick(3) == 0)
			put_random_string(b);
		else
			mb_buf_addf(b, "\"%s%c\"", pick(2) ? "" : "\\u0061",
			    'a' + pick(4));
		mb_buf_addc(b, ':');
		put_random_value(b, 0);
	}
	mb_buf_addc(b, '}');
	/* rarely break it */
	if (pick(8) == 0)
		b->p[pick((unsigned)b->len)] = ",:{}[]\"\\1 n\xc3"[pick(12)];
	if (pick(30) == 0)
		b->len -= pick((unsigned)b->len);
}

/* jansson's number as it would stand in a text, and ours. */
static bool
is_same_number(json_t *j, struct mb_str ours)
{
	char text[64];

	assert_true(ours.len < sizeof text);
	memcpy(text, ours.p, ours.len);
	text[ours.len] = '\0';
	return json_number_value(j) == strtod(text, NULL);
}

static bool
is_same_value(json_t *j, struct mb_value v)
{
	json_t *again;
	bool is_same;

	switch (v.kind) {
	case MB_NULL:
		return json_is_null(j);
	case MB_TEXT:
		return json_is_string(j) && mb_str_eq(mb_value_str(v),
		    (struct mb_str){ json_string_value(j),
		    json_string_length(j) });
	case MB_NUMBER:
		return json_is_number(j) && is_same_number(j, mb_value_str(v));
	case MB_JSON:
		again = json_loadb(v.p, v.len, JSON_DECODE_ANY |
		    JSON_ALLOW_NUL, NULL);
		is_same = again != NULL && json_equal(again, j) &&
		    (json_is_true(j) || json_is_false(j)) ==
		    mb_value_is_bool(v);
		json_decref(again);
		return is_same;
	case MB_PLAIN:
		break;
	}
	return false;
}

static void
objects_are_what_jansson_says(void **state)
{
	const struct mb_reader_config config = { .format = MB_NDJSON,
		.wants_all = true };
	struct mb_json_members m = { 0 };
	struct mb_buf in = { 0 };
	struct mb_err err = { 0 };
	struct mb_reader *r;
	int n_good = 0, n_bad = 0;

	(void)state;
	seed_random();
	mb_reader_open(&r, &config);
	assert_int_equal(mb_reader_begin(r, NULL, 0, &err), 0);
	for (int i = 0; i < 40000; i++) {
		struct mb_str text, data;
		const char *why;
		json_error_t theirs;
		json_t *root;
		struct mb_row row;

		mb_buf_reset(&in);
		put_random_object(&in);
		text = (struct mb_str){ in.p, in.len };
		why = mb_json_object(&m, text);
		root = json_loadb(text.p, text.len, JSON_ALLOW_NUL, &theirs);
		if (root == NULL && strstr(theirs.text,
		    "NUL byte in object key") != NULL)
			continue;	/* we allow it */
		if (root != NULL && !json_is_object(root)) {
			json_decref(root);
			root = NULL;
		}
		if ((root != NULL) != (why == NULL))
			fail_msg("\"%s\": got %s, jansson says %s", show(text),
			    why != NULL ? why : "good",
			    root != NULL ? "good" : theirs.text);
		*(root != NULL ? &n_good : &n_bad) += 1;
		/* as a record it must stand on one line */
		for (size_t k = 0; k < in.len; k++)
			if (in.p[k] == '\n')
				in.p[k] = ' ';
		mb_buf_addc(&in, '\n');
		data = (struct mb_str){ in.p, in.len };
		if (root == NULL || memchr(in.p, '\n', in.len - 1) != NULL) {
			json_decref(root);
			continue;
		}
		assert_int_equal(mb_reader_next(r, &data, false, &row, &err),
		    1);
		assert_null(row.bad);
		assert_int_equal(row.n, json_object_size(root));
		for (size_t k = 0; k < row.n; k++) {
			json_t *j = json_object_get(root, row.names[k].p);

			if (j == NULL || !is_same_value(j, row.values[k]))
				fail_msg("\"%s\": \"%s\" differs", show(text),
				    show(row.names[k]));
		}
		json_decref(root);
	}
	assert_true(n_good > 5000 && n_bad > 5000);
	mb_reader_close(r);
	mb_json_members_release(&m);
	mb_buf_release(&in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object_is_good_or_bad_for_a_reason),
		cmocka_unit_test(nesting_has_a_limit),
		cmocka_unit_test(a_number_is_exactly_one),
		cmocka_unit_test(objects_are_what_jansson_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
