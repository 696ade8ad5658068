#include "agg/expr.h"
#include "agg/group.h"
#include "agg/keys.h"
#include "agg/query.h"
#include "record/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agg_help.h"
#include "new_seed.h"

static void
test_fields(void **state)
{
	static const struct {
		const char *in;
		const char *out;	/* [name=]<field> …; or the error */
	} cases[] = {
		{ "a", "<a>" },
		{ "a,b", "<a> <b>" },
		{ "x=a,{b c},{n,1}={d=e}", "x=<a> <b c> n,1=<d=e>" },
		{ "user.id,5,{}", "<user.id> <5> <>" },
		{ "a}b", "<a}b>" },
		{ "{a{b}", "<a{b>" },
		{ "{a", "\"{a\": no closing brace" },
		{ "a,", "a field is missing after the last comma" },
		{ ",a", "a field is missing before \",a\"" },
		{ "a b", "\" b\": expected a comma (a name with `, : = {` or "
		    "a blank stands in braces)" },
		{ "a=b=c", "\"=c\": expected a comma (a name with `, : = {` "
		    "or a blank stands in braces)" },
		{ "a=", "a field is missing before \"\"" },
		{ "a{b}", "\"{b}\": expected a comma (a name with `, : = {` "
		    "or a blank stands in braces)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_str list = mb_str(cases[i].in), name, field;
		struct mb_err err = { 0 };
		struct mb_buf b = { 0 };
		int rc;

		while ((rc = mb_field_next(&list, &name, &field, &err)) > 0) {
			if (b.len > 0)
				mb_buf_addc(&b, ' ');
			if (name.p != NULL)
				mb_buf_addf(&b, "%.*s=", (int)name.len,
				    name.p);
			mb_buf_addf(&b, "<%.*s>", (int)field.len, field.p);
		}
		if (strcmp(rc < 0 ? err.msg : mb_buf_str(&b), cases[i].out) !=
		    0)
			fail_msg("%s: got %s", cases[i].in,
			    rc < 0 ? err.msg : b.p);
		assert_true(rc == 0 || err.code == MB_EUSAGE);
		mb_buf_release(&b);
	}
}

/* A record for expressions: one value of every kind. */
static struct mb_value
value_named(struct mb_str name)
{
	static const struct {
		const char *name, *text;
		enum mb_kind kind;
	} values[] = {
		{ "n", "42", MB_PLAIN }, { "m", "42.0", MB_PLAIN },
		{ "d", "4.2e1", MB_PLAIN }, { "neg", "-7", MB_PLAIN },
		{ "s", "abc", MB_PLAIN }, { "t", "abd", MB_TEXT },
		{ "e", "", MB_PLAIN }, { "z", "", MB_NULL },
		{ "b", "true", MB_JSON }, { "a b", "x y", MB_PLAIN },
		{ "q", "it's \"\\", MB_TEXT }, { "5", "five", MB_PLAIN },
		{ "js", "12", MB_TEXT }, { "nl", "a\nb", MB_TEXT },
	};

	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		if (mb_str_eq(name, mb_str(values[i].name)))
			return (struct mb_value){ values[i].text,
				strlen(values[i].text), values[i].kind };
	fail_msg("no value %.*s", (int)name.len, name.p);
	return mb_value_null();
}

/* YES, NO or UNKNOWN; or the error. */
static void
evaluate(const char *text, char *out, size_t cap)
{
	struct mb_field_set fields = { 0 };
	struct mb_err err = { 0 };
	struct mb_value values[64];
	struct mb_expr *e;
	char *inverse;
	int yes, no;

	if (mb_expr_open(&e, text, &fields, &err) < 0) {
		assert_int_equal(err.code, MB_EUSAGE);
		snprintf(out, cap, "%s", err.msg);
		mb_field_set_release(&fields);
		return;
	}
	assert_true(fields.n <= 64);
	for (size_t i = 0; i < fields.n; i++)
		values[i] = value_named(fields.v[i]);
	yes = mb_expr_selects(e, values);
	mb_expr_close(e);
	/* What neither it nor its `not` selects is unknown. */
	inverse = mb_alloc(strlen(text) + 8);
	snprintf(inverse, strlen(text) + 8, "not (%s)", text);
	if (mb_expr_open(&e, inverse, &fields, &err) < 0)
		fail_msg("%s: %s", inverse, err.msg);
	no = mb_expr_selects(e, values);
	mb_expr_close(e);
	free(inverse);
	assert_false(yes && no);
	snprintf(out, cap, "%s", yes ? "yes" : no ? "no" : "unknown");
	mb_field_set_release(&fields);
}

static void
test_expr(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "n = 42", "yes" }, { "n == 42", "yes" }, { "n=42", "yes" },
		{ "n = 42.00", "yes" }, { "n = 4.2e1", "yes" },
		{ "n != 42", "no" }, { "n != 41", "yes" },
		{ "n < 43", "yes" }, { "n<42", "no" }, { "n <= 42", "yes" },
		{ "n > 5", "yes" }, { "n>=42", "yes" }, { "n >= 42.1", "no" },
		{ "neg < -6.5", "yes" }, { "-6.5 > neg", "yes" },
		{ "n = '42'", "yes" }, { "n = '42.0'", "no" },
		{ "n < '5'", "yes" },		/* a text by bytes */
		{ "n = m", "yes" }, { "n = d", "yes" }, { "m < d", "no" },
		{ "n < s", "yes" },		/* not both are numbers */
		{ "s < t", "yes" }, { "s = 'abc'", "yes" },
		{ "s = \"abc\"", "yes" }, { "s >= 'abcd'", "no" },
		{ "s = 5", "unknown" }, { "s < 5", "unknown" },
		{ "z = 5", "unknown" }, { "z = 'x'", "unknown" },
		{ "z != 'x'", "unknown" }, { "z = z", "unknown" },
		{ "z is null", "yes" }, { "z is not null", "no" },
		{ "s is null", "no" }, { "e is null", "no" },
		{ "e is not null", "yes" }, { "e = ''", "yes" },
		{ "e = 0", "unknown" }, { "b = 'true'", "yes" },
		{ "js = 12", "yes" }, { "js > 5", "yes" },
		{ "{a b} = 'x y'", "yes" }, { "{5} = 'five'", "yes" },
		{ "5 = {5}", "unknown" }, { "{n} = 42", "yes" },
		{ "q = 'it\\'s \"\\\\'", "yes" },
		{ "q = \"it's \\\"\\\\\"", "yes" },
		{ "nl = 'a\\nb'", "yes" }, { "s = 'a\\bc'", "no" },
		{ "n in (1, 42)", "yes" }, { "n in (1,2)", "no" },
		{ "n in(42)", "yes" }, { "n not in (1,2)", "yes" },
		{ "not n in (42)", "no" }, { "s in ('abc', 5)", "yes" },
		{ "s in (5, 'abc')", "yes" }, { "s in (5, 'x')", "unknown" },
		{ "n in ('42')", "yes" }, { "n in ('42.0', 7)", "no" },
		{ "z in (1)", "unknown" }, { "z not in (1)", "unknown" },
		{ "s ~ '^a.c$'", "yes" }, { "s ~ 'b'", "yes" },
		{ "s ~ 'B'", "no" }, { "s !~ 'b'", "no" },
		{ "s !~ 'x'", "yes" }, { "z ~ 'x'", "unknown" },
		{ "z !~ 'x'", "unknown" }, { "n ~ '^4[0-9]$'", "yes" },
		{ "s ~ '^(a|x){1}bc?$'", "yes" }, { "e ~ '^$'", "yes" },
		{ "{a b} ~ 'x\\.y'", "no" }, { "{a b} ~ 'x\\ty|x y'", "yes" },
		{ "n = 42 and s = 'abc'", "yes" },
		{ "n = 42 and s = 'x'", "no" },
		{ "n = 1 or s = 'abc'", "yes" }, { "n = 1 or s = 'x'", "no" },
		{ "z = 1 and n = 1", "no" }, { "z = 1 and n = 42", "unknown" },
		{ "z = 1 or n = 42", "yes" }, { "z = 1 or n = 1", "unknown" },
		{ "not z = 1", "unknown" }, { "not n = 1", "yes" },
		{ "not not n = 42", "yes" }, { "not not not n = 42", "no" },
		/* not, and, or in this order */
		{ "n = 42 or n = 1 and n = 2", "yes" },
		{ "(n = 42 or n = 1) and n = 2", "no" },
		{ "not n = 1 and n = 42", "yes" },
		{ "not n = 1 or n = 1", "yes" },
		{ "not (n = 42 and n = 1)", "yes" },
		{ "((n)=42)", "byte 4: expected = != < <= > >= ~ !~ in or is, "
		    "not \")\"" },
		{ "((n=42))", "yes" }, { "42 = n", "yes" },
		{ "'abc' = s", "yes" }, { "1 < 2", "yes" },
		{ "'a' = 'a'", "yes" }, { " n = 42 ", "yes" },
		{ "", "byte 1: expected a field, a number or a text, not the "
		    "end" },
		{ "n", "byte 2: expected = != < <= > >= ~ !~ in or is, not "
		    "the end" },
		{ "n =", "byte 4: expected a field, a number or a text, not "
		    "the end" },
		{ "n = 42 n", "byte 8: expected and, or or the end, not "
		    "\"n\"" },
		{ "n = 42 AND s = 1", "byte 8: \"AND\" is written in lower "
		    "case" },
		{ "(n = 42", "byte 8: expected and, or or ), not the end" },
		{ "n = 42)", "byte 7: expected and, or or the end, not "
		    "\")\"" },
		{ "n = 'x", "byte 5: no closing quote" },
		{ "n = {x", "byte 5: \"{x\": no closing brace" },
		{ "n ~ s", "byte 5: expected a regular expression in quotes, "
		    "not \"s\"" },
		{ "s ~ '('", "byte 5: Unmatched ( or \\(" },
		{ "n = null", "byte 5: nothing equals null; say `is null`" },
		{ "n is 5", "byte 6: expected null, not \"5\"" },
		{ "n in 5", "byte 6: expected ( after in, not \"5\"" },
		{ "n in ()", "byte 7: expected a text or a number, not "
		    "\")\"" },
		{ "n in (s)", "byte 7: a list holds texts and numbers (a text "
		    "stands in quotes)" },
		{ "n in (1 2)", "byte 9: expected a comma or ), not \"2\"" },
		{ "n not 5", "byte 7: expected in, not \"5\"" },
		{ "and = 5", "byte 1: expected a field, a number or a text, "
		    "not \"and\"" },
		{ "n ! 5", "byte 3: expected = != < <= > >= ~ !~ in or is, "
		    "not \"!\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char got[512];

		evaluate(cases[i].in, got, sizeof got);
		if (strcmp(got, cases[i].out) != 0)
			fail_msg("%s\n got %s\nwant %s", cases[i].in, got,
			    cases[i].out);
	}
}

/* A chain may be long, parentheses may not be deep. */
static void
test_expr_size(void **state)
{
	struct mb_buf b = { 0 };
	char got[512];

	(void)state;
	for (int i = 0; i < 100000; i++)
		mb_buf_adds(&b, i % 2 ? "n = 42 and " : "not n = 1 and ");
	mb_buf_adds(&b, "n = 42");
	evaluate(mb_buf_str(&b), got, sizeof got);
	assert_string_equal(got, "yes");
	mb_buf_reset(&b);
	for (int i = 0; i < 100000; i++)
		mb_buf_adds(&b, "not ");
	mb_buf_adds(&b, "n = 42");
	evaluate(mb_buf_str(&b), got, sizeof got);
	assert_string_equal(got, "yes");
	mb_buf_reset(&b);
	for (int i = 0; i < 10 * MB_EXPR_DEPTH; i++)
		mb_buf_adds(&b, "(n = 42) and ");
	mb_buf_adds(&b, "n = 42");
	evaluate(mb_buf_str(&b), got, sizeof got);
	assert_string_equal(got, "yes");
	mb_buf_reset(&b);
	for (int i = 0; i < MB_EXPR_DEPTH - 1; i++)
		mb_buf_addc(&b, '(');
	mb_buf_adds(&b, "n = 42");
	for (int i = 0; i < MB_EXPR_DEPTH - 1; i++)
		mb_buf_addc(&b, ')');
	evaluate(mb_buf_str(&b), got, sizeof got);
	assert_string_equal(got, "yes");
	mb_buf_reset(&b);
	for (int i = 0; i < 1000000; i++)
		mb_buf_adds(&b, "(");
	evaluate(mb_buf_str(&b), got, sizeof got);
	assert_string_equal(got, "byte 101: parentheses nested too deep");
	mb_buf_release(&b);
}

static void
test_query(void **state)
{
	static const struct {
		const char *keys, *aggs;
		const char *out;	/* columns, or the error */
	} cases[] = {
		{ "a", NULL, "a count" },
		{ NULL, "count", "count" },
		{ "a,b", "count,sum:x", "a b count x_sum" },
		{ "k=a", "n=count,min:2,{my max}=max:{x y}",
		    "k n 2_min my max" },
		{ "user.id", "count:f,distinct:f,first:f,last:f,avg:f,var:f,"
		    "stddev:f", "user.id f_count f_distinct f_first f_last "
		    "f_avg f_var f_stddev" },
		{ NULL, "sum:{x y}", "x y_sum" },
		{ "a,a", NULL, "two columns are called \"a\" (name one: "
		    "NAME=…)" },
		{ "count", "count", "two columns are called \"count\" (name "
		    "one: NAME=…)" },
		{ "a=b,b=a", NULL, "a b count" },
		{ NULL, "sum:x,x_sum=avg:x", "two columns are called "
		    "\"x_sum\" (name one: NAME=…)" },
		{ NULL, "sum", "sum: of which field? (sum:FIELD)" },
		{ NULL, "p99:x", "\"p99\": no such aggregate (there are count "
		    "distinct first last sum avg min max var stddev)" },
		{ NULL, "sum:", "a field is missing before \"\"" },
		{ NULL, "", "a field is missing before \"\"" },
		{ "", NULL, "a field is missing" },
		{ NULL, "sum:x:y", "\":y\": expected a comma (a name with "
		    "`, : = {` or a blank stands in braces)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_query q = { 0 };
		struct mb_err err = { 0 };
		struct mb_buf b = { 0 };

		if ((cases[i].keys == NULL ||
		    mb_query_add_keys(&q, cases[i].keys, &err) == 0) &&
		    (cases[i].aggs == NULL ||
		    mb_query_add_aggregates(&q, cases[i].aggs, &err) == 0) &&
		    mb_query_finish(&q, NULL, 0, &err) == 0) {
			for (size_t k = 0; k < q.n_keys; k++)
				mb_buf_addf(&b, "%s ", q.keys[k].name);
			for (size_t k = 0; k < q.n_aggs; k++)
				mb_buf_addf(&b, "%s ", q.aggs[k].name);
			b.len--;
		} else {
			assert_int_equal(err.code, MB_EUSAGE);
			mb_buf_adds(&b, err.msg);
		}
		if (strcmp(mb_buf_str(&b), cases[i].out) != 0)
			fail_msg("-k %s -a %s\n got %s\nwant %s",
			    cases[i].keys, cases[i].aggs, b.p, cases[i].out);
		mb_buf_release(&b);
		mb_query_release(&q);
	}

	/* One state for all that it can answer. */
	struct mb_query q = { 0 };

	make_query(&q, NULL, "sum:x,avg:x,min:x,max:x,stddev:x,sum:y,var:x,"
	    "count,count:x", NULL);
	assert_int_equal(q.n_slots, 5);
	assert_int_equal(q.n_numbers, 2);
	mb_query_release(&q);
}

/* Rows of groups as text, a line each. */
static void
put_rows(struct mb_buf *out, struct mb_groups *g, const struct mb_query *q)
{
	struct mb_value values[32 * MB_ROWS];
	struct mb_err err = { 0 };
	struct mb_str names[32] = { { "x", 1 } };
	size_t n = q->n_keys + q->n_aggs;
	int rc;

	assert_true(n <= 32);
	while ((rc = mb_groups_next(g, values, n, &err)) > 0)
		for (size_t i = 0; i < (size_t)rc; i++)
			mb_write_row(out, MB_CSV, ',', names, values + i * n,
			    n);
	if (rc < 0) {
		assert_int_equal(err.code, MB_EDATA);
		mb_buf_addf(out, "%s\n", err.msg);
	}
}

static void
finish(struct mb_groups *g, bool is_sorted)
{
	struct mb_err err = { 0 };

	if (mb_groups_finish(g, is_sorted, &err) < 0)
		fail_msg("%s", err.msg);
}

static struct mb_value
plain(const char *text)
{
	return (struct mb_value){ text, strlen(text), MB_PLAIN };
}

static void
test_groups(void **state)
{
	struct mb_query q = { 0 };
	struct mb_groups *g;
	struct mb_buf b = { 0 };
	struct mb_value json_number = { "1", 1, MB_NUMBER };
	struct mb_value json_text = { "1", 1, MB_TEXT };
	size_t culprit = 99;
	struct {
		struct mb_value k, x;
	} rows[] = {
		{ plain("b"), plain("1") },
		{ mb_value_null(), plain("2") },
		{ plain(""), plain("0.50") },
		{ json_number, plain("4") },
		{ json_text, mb_value_null() },
		{ plain("1.0"), plain("1e0") },
		{ plain("b"), plain("0.25") },
		{ mb_value_null(), plain("") },		/* as good as null */
		{ plain("10"), mb_value_null() },
	};

	(void)state;
	make_query(&q, "k", "count,count:x,sum:x,min:x,max:x,first:x,last:x,"
	    "distinct:x,var:x", NULL);
	for (int sorted = 0; sorted < 2; sorted++) {
		mb_groups_open(&g, &q, (uint64_t)rand());
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct mb_value v[] = { rows[i].k, rows[i].x };

			assert_true(mb_groups_add(g, v, i, &culprit));
		}
		/* A record with a bad number counts nowhere. */
		assert_false(mb_groups_add(g, (struct mb_value[]){
		    plain("new"), plain("x") }, 100, &culprit));
		assert_int_equal(culprit, 1);
		assert_int_equal(mb_groups_numbers(g, 0).n_values, 7);
		assert_int_equal(mb_groups_numbers(g, 0).n_numbers, 6);
		finish(g, sorted);
		mb_buf_reset(&b);
		put_rows(&b, g, &q);
		assert_string_equal(mb_buf_str(&b), sorted ?
		    "1,2,1,4,4,4,4,4,1,\n"
		    "1.0,1,1,1,1,1,1e0,1e0,1,\n"
		    "10,1,0,,,,,,0,\n"
		    "\"\",1,1,0.50,0.50,0.50,0.50,0.50,1,\n"
		    "b,2,2,1.25,0.25,1.00,1,0.25,2,0.28125\n"
		    ",2,2,2,2,2,2,\"\",2,\n" :
		    "b,2,2,1.25,0.25,1.00,1,0.25,2,0.28125\n"
		    ",2,2,2,2,2,2,\"\",2,\n"
		    "\"\",1,1,0.50,0.50,0.50,0.50,0.50,1,\n"
		    "1,2,1,4,4,4,4,4,1,\n"
		    "1.0,1,1,1,1,1,1e0,1e0,1,\n"
		    "10,1,0,,,,,,0,\n");
		mb_groups_close(g);
	}
	mb_query_release(&q);

	/* Without keys there is always a row. */
	make_query(&q, NULL, "count,count:x,distinct:x,sum:x,avg:x,min:x,"
	    "first:x,stddev:x", NULL);
	mb_groups_open(&g, &q, 1);
	for (int round = 0; round < 2; round++) {
		finish(g, round);
		mb_buf_reset(&b);
		put_rows(&b, g, &q);
		assert_string_equal(mb_buf_str(&b), "0,0,0,,,,,\n");
		mb_groups_reset(g);
	}
	mb_groups_close(g);
	mb_query_release(&q);

	/* Of equal values the exact one is shown, whatever came first. */
	make_query(&q, NULL, "min:x,max:x", NULL);
	for (int first = 0; first < 2; first++) {
		static const char *const texts[] = { "1e0", "1.00" };

		mb_groups_open(&g, &q, 1);
		assert_true(mb_groups_add(g, (struct mb_value[]){
		    plain(texts[first]) }, 0, &culprit));
		assert_true(mb_groups_add(g, (struct mb_value[]){
		    plain(texts[1 - first]) }, 1, &culprit));
		finish(g, false);
		mb_buf_reset(&b);
		put_rows(&b, g, &q);
		assert_string_equal(mb_buf_str(&b), "1.00,1.00\n");
		mb_groups_close(g);
	}
	mb_query_release(&q);

	/* Beyond 38 digits the group is named. */
	make_query(&q, "k", "sum:x", NULL);
	mb_groups_open(&g, &q, 1);
	for (int i = 0; i < 2; i++)
		assert_true(mb_groups_add(g, (struct mb_value[]){
		    plain("de"),
		    plain("99999999999999999999999999999999999999") },
		    (uint64_t)i, &culprit));
	finish(g, false);
	mb_buf_reset(&b);
	put_rows(&b, g, &q);
	assert_string_equal(mb_buf_str(&b), "x_sum of k=de: the sum has more "
	    "than 38 digits\n");
	mb_groups_close(g);
	mb_query_release(&q);
	mb_buf_release(&b);
}

/* Rows of csv are what mb_write_row makes of the values. */
static void
test_csv_rows(void **state)
{
	static const char delimiters[] = ",;1.-e\t\xff";
	static const char *const texts[] = { "", "a", "a,b", ";", "\"", "x\n",
		"\r", "12345678", "1234567,", "exactly12byt", "exactly12by\"",
		"longer than sixteen bytes", "longer than sixteen\r",
		"\xff\xfe", "{}" };
	static const char *const numbers[] = { "0", "-1", "1.5", "42e30",
		"12345678901234567890", "-0.00000001", "123456789", "12345678",
		"1234567", "-12345.678", "0.333333333333333" };
	static const char *const aggs[] = { "count,sum:x", "count:x,avg:x,max:x",
		"first:x,last:y,distinct:y", "min:x,first:y,stddev:x,sum:x" };
	struct mb_buf rows = { 0 }, csv = { 0 };

	(void)state;
	for (int round = 0; round < 400; round++) {
		char delimiter = delimiters[rand() % 8];
		struct mb_str prefix = rand() % 2 > 0 ? MB_STR("7;now;") :
		    MB_STR("");
		struct mb_groups *g[2];
		struct mb_query q = { 0 };
		struct mb_value values[8 * MB_ROWS];
		struct mb_str names[8] = { { 0 } };
		struct mb_err err = { 0 };
		size_t n, culprit;
		int rc, n_records = rand() % 700;

		make_query(&q, rand() % 2 > 0 ? "y" : "y,z", aggs[rand() % 4],
		    NULL);
		n = q.n_keys + q.n_aggs;
		assert_true(n <= 8 && q.fields.n <= 8);
		for (int i = 0; i < 2; i++)
			mb_groups_open(&g[i], &q, 1);
		for (int i = 0; i < n_records; i++) {
			char number[16];

			for (size_t k = 0; k < q.fields.n; k++)
				values[k] = *q.fields.v[k].p == 'x' ?
				    plain(numbers[rand() % 11]) :
				    plain(texts[rand() % 15]);
			/* More of them than come out at once. */
			snprintf(number, sizeof number, "%d", i / 2);
			if (rand() % 2 > 0)
				values[0] = plain(number);
			if (rand() % 8 == 0)
				values[rand() % (int)q.fields.n] =
				    mb_value_null();
			for (int k = 0; k < 2; k++)
				assert_true(mb_groups_add(g[k], values,
				    (uint64_t)i, &culprit));
		}
		mb_buf_reset(&rows);
		mb_buf_reset(&csv);
		for (int i = 0; i < 2; i++)
			finish(g[i], round % 2);
		while ((rc = mb_groups_next(g[0], values, n, &err)) > 0)
			for (size_t i = 0; i < (size_t)rc; i++) {
				mb_buf_add(&rows, prefix.p, prefix.len);
				mb_write_row(&rows, MB_CSV, delimiter, names,
				    values + i * n, n);
			}
		assert_int_equal(mb_groups_next_csv(g[1], &csv, prefix,
		    delimiter, &err), mb_groups_count(g[1]) < MB_ROWS ?
		    mb_groups_count(g[1]) : MB_ROWS);
		while (rc == 0 && (rc = mb_groups_next_csv(g[1], &csv, prefix,
		    delimiter, &err)) > 0)
			rc = 0;
		assert_int_equal(rc, 0);
		if (strcmp(mb_buf_str(&csv), mb_buf_str(&rows)) != 0)
			fail_msg("delimiter '%c': %s\nis not %s", delimiter,
			    mb_buf_str(&csv), mb_buf_str(&rows));
		for (int i = 0; i < 2; i++)
			mb_groups_close(g[i]);
		mb_query_release(&q);
	}
	mb_buf_release(&rows);
	mb_buf_release(&csv);
}

/* However records are dealt out to groups that merge, the rows are the same. */
static void
test_merge(void **state)
{
	struct mb_query q = { 0 };

	(void)state;
	new_seed();
	make_query(&q, "k,l", "count,sum:x,avg:x,min:x,max:x,var:x,stddev:x,"
	    "first:s,last:s,distinct:s,distinct:x,count:s", NULL);
	for (int round = 0; round < 100; round++) {
		struct mb_groups *g[6];
		struct mb_buf whole = { 0 }, merged = { 0 };
		int n_parts = 2 + rand() % 4;
		bool sorted = rand() % 2, includes = rand() % 2;
		bool is_included[6] = { false };
		int n_keys = 1 + rand() % 60;

		for (int i = 0; i <= n_parts; i++)
			mb_groups_open(&g[i], &q,
			    includes ? 0 : (uint64_t)(rand() % 2));
		for (int i = 0; i < 500; i++) {
			char k[20], l[30], x[64], s[20];
			struct mb_value v[4];
			size_t culprit;

			snprintf(k, sizeof k, "%d", rand() % n_keys);
			snprintf(l, sizeof l, "%s%c", rand() % 2 ? "" :
			    "not short at all: ", 'a' + rand() % 2);
			snprintf(s, sizeof s, "%.*s%d", rand() % 9, "longtext",
			    rand() % 5);
			v[0] = plain(k);
			v[1] = plain(l);
			v[2] = plain(random_number(x, sizeof x));
			v[3] = plain(s);
			v[rand() % 4].kind = rand() % 2 ? MB_PLAIN : MB_TEXT;
			if (rand() % 4 == 0)
				v[rand() % 4] = mb_value_null();
			assert_true(mb_groups_add(g[n_parts], v, (uint64_t)i,
			    &culprit));
			assert_true(mb_groups_add(g[rand() % n_parts], v,
			    (uint64_t)i, &culprit));
			/* One that was merged begins anew. */
			if (rand() % 100 == 0) {
				mb_groups_merge(g[0], g[n_parts - 1]);
				mb_groups_reset(g[n_parts - 1]);
			}
		}
		for (int n = n_parts; n > 1; n--)
			if (includes && rand() % 4 > 0) {
				mb_groups_include(g[0], g[n - 1]);
				is_included[n - 1] = true;
			} else {
				mb_groups_merge(g[rand() % (n - 1)], g[n - 1]);
				mb_groups_close(g[n - 1]);
			}
		finish(g[0], sorted);
		finish(g[n_parts], sorted);
		put_rows(&merged, g[0], &q);
		put_rows(&whole, g[n_parts], &q);
		assert_same(&merged, &whole, "merged");
		assert_true(whole.len > 100);
		for (int i = 0; i <= n_parts; i++)
			if (i == 0 || i == n_parts || is_included[i])
				mb_groups_close(g[i]);
		mb_buf_release(&merged);
		mb_buf_release(&whole);
	}
	mb_query_release(&q);
}

/* All rows as csv; or why there are none. */
static void
put_csv(struct mb_buf *out, struct mb_groups *g)
{
	struct mb_err err = { 0 };
	size_t n_rows = 0;
	int n;

	while ((n = mb_groups_next_csv(g, out, MB_STR("7,"), ',', &err)) > 0)
		n_rows += (size_t)n;
	if (n == 0) {
		assert_int_equal(n_rows, mb_groups_count(g));
		return;
	}
	mb_buf_reset(out);
	mb_buf_adds(out, err.msg);
}

/*
 * The same with so many groups that threads put them together, and that some
 * of different parts have the same tag: blocks of records, as threads take
 * them, with records that come late.
 */
static void
test_merge_many(void **state)
{
	enum { BLOCK = 1000 };
	static const struct {
		int n_parts, n_used, n_records, n_keys;
	} cases[] = {
		{ 2, 2, 300000, 1 << 30 },
		{ 2, 2, 300000, 150000 },
		{ 7, 7, 300000, 1 << 30 },
		{ 7, 7, 300000, 70000 },
		{ 4, 2, 150000, 1 << 30 },	/* two have nothing to do */
		{ 3, 1, 70000, 1 << 30 },
		{ 3, 3, 100000, 1 << 30 },	/* a sum is out of range */
	};
	const size_t last = sizeof cases / sizeof *cases - 1;
	struct mb_query q = { 0 };

	(void)state;
	new_seed();
	make_query(&q, "k,l", "count,sum:x,avg:x,max:x,first:s,last:s,"
	    "distinct:s,stddev:x", NULL);
	for (size_t c = 0; c <= last; c++) {
		int n_parts = cases[c].n_parts, part = 0;
		struct mb_buf whole = { 0 }, merged = { 0 };
		struct mb_groups *g[8];
		uint64_t seed = (uint64_t)rand();

		for (int i = 0; i <= n_parts; i++)
			mb_groups_open(&g[i], &q, seed);
		for (int i = 0; i < cases[c].n_records; i++) {
			char k[64], x[64], s[20];
			uint64_t ordinal = (uint64_t)(c % 2 > 0 &&
			    i / 8 % 100 == 0 ? i ^ 7 : i);
			struct mb_value v[4];
			size_t culprit;

			if (i % BLOCK == 0)
				part = rand() % cases[c].n_used;
			snprintf(k, sizeof k, "%s%d", rand() % 3 == 0 ?
			    "a key that is too long to be held in words, " :
			    "", rand() % cases[c].n_keys);
			snprintf(s, sizeof s, "%d", rand() % 3);
			v[0] = plain(k);
			v[1] = rand() % 4 > 0 ? plain("l") : mb_value_null();
			v[2] = plain(random_number(x, sizeof x));
			v[3] = plain(s);
			if (c == last && i % 50000 > 49990) {
				v[0] = plain("out of range");
				v[2] = plain("9999999999999999999"
				    "9999999999999999999");
			}
			assert_true(mb_groups_add(g[n_parts], v, ordinal,
			    &culprit));
			assert_true(mb_groups_add(g[part], v, ordinal,
			    &culprit));
		}
		for (int i = 1; i < n_parts; i++)
			mb_groups_include(g[0], g[i]);
		finish(g[0], c == 3);
		finish(g[n_parts], c == 3);
		assert_int_equal(mb_groups_count(g[0]),
		    mb_groups_count(g[n_parts]));
		put_csv(&merged, g[0]);
		put_csv(&whole, g[n_parts]);
		assert_same(&merged, &whole, "merged");
		for (int i = 0; i <= n_parts; i++)
			mb_groups_close(g[i]);
		mb_buf_release(&merged);
		mb_buf_release(&whole);
	}
	mb_query_release(&q);
}

/*
 * A group has no result: the groups are reset, and filled anew, while threads
 * still make rows of others.
 */
static void
test_reset_amid_rows(void **state)
{
	enum { PARTS = 3, RECORDS = 100000, LARGE = 10000,
		ROUNDS = 20 };
	struct mb_query q = { 0 };
	struct mb_groups *g[PARTS];
	struct mb_buf rows = { 0 };

	(void)state;
	make_query(&q, "k", "sum:x,avg:x,var:x", NULL);
	for (int i = 0; i < PARTS; i++)
		mb_groups_open(&g[i], &q, 0);
	for (int round = 0; round < ROUNDS; round++) {
		bool is_good = round == ROUNDS - 1;

		for (int i = 0; i < RECORDS; i++) {
			bool is_large = i / 2 == LARGE / 2 && !is_good;
			struct mb_value v[2];
			size_t culprit;
			char k[20];

			snprintf(k, sizeof k, "%d", is_large ? LARGE : i);
			v[0] = plain(k);
			v[1] = plain(is_large ? "1e308" : "1");
			assert_true(mb_groups_add(g[i / 2 % PARTS], v,
			    (uint64_t)i, &culprit));
		}
		for (int i = 1; i < PARTS; i++)
			mb_groups_include(g[0], g[i]);
		finish(g[0], false);
		mb_buf_reset(&rows);
		put_csv(&rows, g[0]);
		if (is_good)
			assert_memory_equal(rows.p, "7,0,1,1,\n7,1,1,1,\n", 18);
		else
			assert_string_equal(mb_buf_str(&rows), "x_sum of "
			    "k=10000: the sum is beyond the range of a double");
		for (int i = 0; i < PARTS; i++)
			mb_groups_reset(g[i]);
	}
	for (int i = 0; i < PARTS; i++)
		mb_groups_close(g[i]);
	mb_buf_release(&rows);
	mb_query_release(&q);
}

static void
add_key(struct mb_keys *t, const char *key)
{
	static const size_t field = 0;

	mb_keys_find(t, &(struct mb_value){ key, strlen(key), MB_PLAIN },
	    &field, 0);
}

/* Cells looked at for a key, on average. */
static double
probes_of(uint64_t seed, char (*keys)[24], size_t n)
{
	struct mb_keys *t;
	double probes;

	mb_keys_open(&t, 1, 8, seed);
	for (size_t i = 0; i < n; i++)
		add_key(t, keys[i]);
	assert_int_equal(mb_keys_count(t), n);
	probes = (double)mb_keys_probes(t) / (double)n;
	mb_keys_close(t);
	return probes;
}

/*
 * Keys that collide under one seed, and keys that have little in them, are
 * found as fast as any under another seed.
 */
static void
test_hostile_keys(void **state)
{
	enum { N = 1000 };
	static const struct {
		const char *before;
		int width;
		const char *behind;
	} patterns[] = {
		{ "", 1, "" }, { "", 8, "" }, { "k", 5, "000000" },
		{ "", 1, "00000000" }, { "a long prefix ", 1, "" },
		{ "", 10, " long end" }, { "  ", 1, "" },
	};
	static char keys[N][24], key[24];
	struct mb_keys *t;
	double usual;
	size_t n = 0;

	(void)state;
	new_seed();
	for (int i = 0; i < N; i++)
		snprintf(keys[i], sizeof keys[i], "%d-%d-%d", rand() % 1000,
		    rand() % 1000, i);
	usual = probes_of((uint64_t)rand(), keys, N);
	assert_true(usual < 3);
	for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
		for (int i = 0; i < N; i++)
			snprintf(keys[i], sizeof keys[i], "%s%0*d%s",
			    patterns[p].before, patterns[p].width, i,
			    patterns[p].behind);
		/* Not even under one seed in a hundred. */
		for (int i = 0; i < 300; i++)
			assert_true(probes_of((uint64_t)rand(), keys, N) <
			    2 * usual);
	}
	/* In an empty table of 64: those that find the first one's cell full. */
	mb_keys_open(&t, 1, 8, 0);
	for (int i = 0; n < N; i++) {
		snprintf(key, sizeof key, "%d", i);
		mb_keys_reset(t);
		add_key(t, n > 0 ? keys[0] : key);
		if (n > 0)
			add_key(t, key);
		if (n == 0 || mb_keys_probes(t) == 3)
			memcpy(keys[n++], key, sizeof key);
	}
	mb_keys_close(t);
	assert_true(probes_of(0, keys, N) > 5 * usual);
	for (int i = 0; i < 10; i++)
		assert_true(probes_of(1 + (uint64_t)rand(), keys, N) <
		    3 * usual);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_expr),
		cmocka_unit_test(test_expr_size),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_csv_rows),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_merge_many),
		cmocka_unit_test(test_reset_amid_rows),
		cmocka_unit_test(test_hostile_keys),
	};

	return cmocka_run_group_tests_name("agg", tests, NULL, NULL);
}
