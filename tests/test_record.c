/* record/: formats, names, the fields of records, rows written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <csv.h>

#include "base/parse.h"
#include "record/csv.h"
#include "record/reader.h"
#include "record/writer.h"

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

/* "a|b|c" as names or fields; NULL is none. */
static size_t
cut_bars(struct mb_str *out, const char *text)
{
	size_t n = 0;

	while (text != NULL) {
		size_t len = strcspn(text, "|");

		out[n++] = (struct mb_str){ text, len };
		text = text[len] == '|' ? text + len + 1 : NULL;
	}
	return n;
}

static void
a_name_or_the_first_byte_tells_the_format(void **state)
{
	static const struct {
		const char *name;
		int format;		/* -1: it tells nothing */
	} names[] = {
		{ "a.csv", MB_CSV }, { "/x/a.b.tsv", MB_TSV },
		{ "a.ndjson", MB_NDJSON }, { "a.jsonl", MB_NDJSON },
		{ "a.json", MB_NDJSON }, { "a.csv.gz", MB_CSV },
		{ "a.json.gz", MB_NDJSON }, { "a.log", -1 }, { "csv", -1 },
		{ "a.csv.1", -1 }, { "a.gz", -1 }, { "", -1 },
		{ "dir/.csv", -1 }, { ".csv", -1 }, { "a.csv/b", -1 },
	};
	static const struct {
		const char *head;
		enum mb_format format;
	} heads[] = {
		{ "{\"a\":1}", MB_NDJSON }, { "\xef\xbb\xbf{", MB_NDJSON },
		{ "", MB_LINES }, { " {", MB_LINES }, { "a,b\n", MB_LINES },
		{ "\xef\xbb\xbf", MB_LINES },
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		enum mb_format f;
		bool told = mb_format_of_name(&f, names[i].name);

		if ((told ? (int)f : -1) != names[i].format)
			fail_msg("%s: got %d", names[i].name,
			    told ? (int)f : -1);
	}
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		assert_int_equal(mb_format_of_content(mb_str(heads[i].head)),
		    heads[i].format);
	for (int f = MB_CSV; f <= MB_LINES; f++) {
		struct mb_err err = { 0 };
		enum mb_format again;

		assert_int_equal(mb_format_parse(&again, mb_format_name(f),
		    &err), 0);
		assert_int_equal(again, f);
	}
}

static void
a_delimiter_is_one_byte_that_ends_no_line(void **state)
{
	static const struct {
		const char *arg;
		char c;			/* 0: refused */
	} cases[] = {
		{ ";", ';' }, { "\\t", '\t' }, { "\t", '\t' }, { "|", '|' },
		{ "\\", '\\' }, { "", 0 }, { ",,", 0 }, { "\"", 0 },
		{ "\n", 0 }, { "\r", 0 }, { "\\n", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		char c = 0;
		int rc = mb_delimiter_parse(&c, cases[i].arg, &err);

		if (c != cases[i].c || (rc < 0) != (cases[i].c == 0) ||
		    (err.code == MB_EUSAGE) != (rc < 0))
			fail_msg("\"%s\": got %d, code %d", cases[i].arg, c,
			    err.code);
	}
}

static void
a_field_is_found_by_name_then_by_position(void **state)
{
	static const struct {
		const char *names, *field;
		ssize_t index, find;
	} cases[] = {
		{ "a|b|c", "b", 1, 1 }, { "a|b|c", "2", -1, 1 },
		{ "a|b|c", "4", -1, -1 }, { "a|b|c", "0", -1, -1 },
		{ "a|2|3|1", "1", 3, 3 }, { "a|2|3|1", "4", -1, 3 },
		{ "a|b|a", "a", 0, 0 }, { "a||b", "", 1, 1 },
		{ "a|b", "", -1, -1 }, { "a|b", "1x", -1, -1 },
		{ "a|b", "02", -1, 1 },
		{ "a|b", "99999999999999999999999999", -1, -1 },
		{ "a|b|c|d|e|f|g|h|i|j|k|e", "e", 4, 4 },
		{ "a|b|c|d|e|f|g|h|i|j|k|e", "l", -1, -1 },
		{ "a|b|c|d|e|f|g|h|i|j|k|e", "12", -1, 11 },
	};
	struct mb_names names = { 0 };
	struct mb_str v[20];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_str field = mb_str(cases[i].field);
		size_t n = cut_bars(v, cases[i].names);

		mb_names_reset(&names);
		for (size_t k = 0; k < n; k++)
			mb_names_add(&names, v[k]);
		assert_int_equal(names.n, n);
		if (mb_names_index(&names, field) != cases[i].index ||
		    mb_names_find(&names, field) != cases[i].find)
			fail_msg("\"%s\" in %s: got %zd, %zd", cases[i].field,
			    cases[i].names, mb_names_index(&names, field),
			    mb_names_find(&names, field));
	}
	mb_names_number(&names, 3000);
	assert_int_equal(mb_names_index(&names, MB_STR("1")), 0);
	assert_int_equal(mb_names_index(&names, MB_STR("2999")), 2998);
	assert_int_equal(mb_names_index(&names, MB_STR("3001")), -1);
	mb_names_release(&names);
}

static void
headers_are_read_compared_and_written_back(void **state)
{
	static const struct {
		const char *record;
		enum mb_format format;
		const char *names;	/* NULL: bad */
	} cases[] = {
		{ "a,b\r\n", MB_CSV, "a|b" },
		{ "\"a,b\",\"c\"\"d\",,e\n", MB_CSV, "a,b|c\"d||e" },
		{ "a", MB_CSV, "a" },
		{ "a,\"b", MB_CSV, NULL },
		{ "a\\tb\tc,d\n", MB_TSV, "a\tb|c,d" },
	};
	struct mb_names names = { 0 }, other = { 0 };
	struct mb_buf text = { 0 };
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool ok = mb_names_parse(&names, cases[i].format,
		    mb_delimiter_of(cases[i].format), mb_str(cases[i].record),
		    &why);

		assert_int_equal(ok, cases[i].names != NULL);
		if (!ok) {
			assert_non_null(why);
			continue;
		}
		mb_buf_reset(&text);
		for (size_t k = 0; k < names.n; k++) {
			mb_buf_adds(&text, k > 0 ? "|" : "");
			mb_buf_add(&text, names.v[k].p, names.v[k].len);
		}
		assert_string_equal(mb_buf_str(&text), cases[i].names);
		mb_buf_reset(&text);
		mb_write_header(&text, cases[i].format,
		    mb_delimiter_of(cases[i].format), names.v, names.n);
		assert_true(mb_names_parse(&other, cases[i].format,
		    mb_delimiter_of(cases[i].format),
		    (struct mb_str){ text.p, text.len }, &why));
		assert_true(mb_names_equal(&names, &other));
		assert_true(mb_names_share(&names, &other));
	}
	mb_names_number(&other, 3);
	assert_false(mb_names_equal(&names, &other));
	assert_false(mb_names_share(&names, &other));
	mb_names_add(&other, names.v[1]);
	assert_true(mb_names_share(&names, &other));
	mb_names_copy(&names, &other);
	assert_true(mb_names_equal(&names, &other));
	mb_names_release(&names);
	mb_names_release(&other);
	mb_buf_release(&text);
}

/*
 * A row as text: P(a) T(a) N(1) J({}) ~, separated by blanks; with all fields
 * the name and a colon before each.
 */
static void
put_row(struct mb_buf *out, const struct mb_row *row)
{
	static const char letters[] = {
		[MB_NULL] = '~', [MB_PLAIN] = 'P', [MB_TEXT] = 'T',
		[MB_NUMBER] = 'N', [MB_JSON] = 'J',
	};

	for (size_t i = 0; row->bad == NULL && i < row->n; i++) {
		const struct mb_value *v = &row->values[i];

		mb_buf_adds(out, i > 0 ? " " : "");
		if (row->names != NULL) {
			mb_show(out, row->names[i]);
			mb_buf_addc(out, ':');
		}
		mb_buf_addc(out, letters[v->kind]);
		if (v->kind == MB_NULL) {
			assert_int_equal(v->len, 0);
			continue;
		}
		mb_buf_addc(out, '(');
		mb_show(out, mb_value_str(*v));
		mb_buf_addc(out, ')');
	}
	if (row->bad != NULL)
		mb_buf_addf(out, "!%s", row->bad);
	mb_buf_addc(out, '\n');
}

struct query {
	enum mb_format format;
	const char *header;	/* "a|b"; NULL: none */
	const char *fields;	/* "a|b"; NULL: all */
	const char *nulls;
	uint64_t limit;
};

/* Read it in pieces, as a stream would come; what is dropped is gone. */
static void
read_in_pieces(struct mb_buf *out, const struct query *q, struct mb_str in,
    size_t piece, struct mb_err *err)
{
	struct mb_str fields[20], nulls[20], names[20];
	struct mb_reader_config config = {
		.format = q->format, .record_limit = q->limit,
		.fields = fields, .n_fields = cut_bars(fields, q->fields),
		.nulls = nulls, .n_nulls = cut_bars(nulls, q->nulls),
		.wants_all = q->fields == NULL,
	};
	struct mb_names header = { 0 };
	struct mb_reader *r;
	size_t n_names = cut_bars(names, q->header), had = 0, kept = 0;
	uint64_t end = 1000;
	int rc;

	for (size_t i = 0; i < n_names; i++)
		mb_names_add(&header, names[i]);
	mb_buf_reset(out);
	mb_reader_open(&r, &config);
	rc = mb_reader_begin(r, n_names > 0 ? &header : NULL, 1000, err);
	while (rc == 0) {
		size_t more = in.len - had < piece ? in.len - had : piece;
		char *copy = mb_alloc(kept + more);
		struct mb_str data = { copy, kept + more };
		bool is_last = had + more == in.len && (more == 0 || pick(2));
		struct mb_row row;

		memcpy(copy, in.p + had - kept, kept + more);
		while ((rc = mb_reader_next(r, &data, is_last, &row, err)) > 0) {
			assert_true(row.off >= end && row.end > row.off);
			end = row.end;
			if (row.raw.len > 0)
				assert_memory_equal(row.raw.p, in.p +
				    (row.off - 1000), row.end - row.off);
			else
				assert_true(row.end - row.off > q->limit);
			put_row(out, &row);
		}
		had += more;
		kept = data.len;
		free(copy);
		if (is_last)
			break;
	}
	mb_buf_str(out);
	mb_reader_close(r);
	mb_names_release(&header);
}

static void
fields_are_read_as_the_rules_say(void **state)
{
	static const struct {
		struct query q;
		const char *in;
		const char *rows;
	} cases[] = {
		/* csv: text, null, empty text */
		{ { MB_CSV, "a|b|c", "c|a", 0, 0 },
		  "1,2,3\n,\"\",\"\"\n\"x,y\", z ,\"\"\"q\"\"\"\r\n4,5,",
		  "P(3) P(1)\nP() ~\nP(\"q\") P(x,y)\n~ P(4)\n" },
		{ { MB_CSV, "a|b", "b|b|2|a", 0, 0 }, "\"x\"\"y\",z\"\n1,\"\"\"\"\n",
		  "!a quote inside an unquoted field\n"
		  "P(\") P(\") P(\") P(1)\n" },
		{ { MB_CSV, "a|b", "a", 0, 0 }, "1\n1,2,3\n\n1,2\n",
		  "!1 field, the header has 2\n!3 fields, the header has 2\n"
		  "P(1)\n" },
		{ { MB_CSV, "a|b", NULL, 0, 0 }, "x,\"1\n2\"\r\"a\"b,c\n",
		  "a:P(x) b:P(1\\x0a2)\n!text behind a closing quote\n" },
		{ { MB_CSV, "a", NULL, 0, 0 }, "1,\"2\n3\n",
		  "!a quote is opened and not closed\na:P(3)\n" },
		/* without header the first whole record gives the number */
		{ { MB_CSV, NULL, "2|1", 0, 0 }, "a\"\n1,2\n1\n3,4\n",
		  "!a quote inside an unquoted field\nP(2) P(1)\n"
		  "!1 field, the first record has 2\nP(4) P(3)\n" },
		{ { MB_CSV, NULL, NULL, 0, 0 }, "1,2", "P(1) P(2)\n" },
		/* --null */
		{ { MB_CSV, "a|b", NULL, "NA|\\N|-", 0 }, "NA,\"NA\"\n\\N,--\n\"-\",\"\"\n",
		  "a:~ b:~\na:~ b:P(--)\na:~ b:P()\n" },
		{ { MB_CSV, "a|b", NULL, "|x\"", 0 }, "\"\",\"x\"\"\"\n",
		  "a:~ b:~\n" },
		/* tsv */
		{ { MB_TSV, "a|b", NULL, "\\N|p\tq", 0 },
		  "\"x\tc:\\\\d\\te\\nf\\rg\n\t\n\\N\tp\\tq\r\n\\\\N\tx\\\n",
		  "a:P(\"x) b:P(c:\\d\\x09e\\x0af\\x0dg)\na:~ b:~\na:~ b:~\n"
		  "a:~ b:P(x\\)\n" },
		{ { MB_TSV, "a|b", "b", 0, 0 }, "1\n1\t2\n1\t2\t3\n\\q\t\\q\n",
		  "!1 field, the header has 2\nP(2)\n"
		  "!3 fields, the header has 2\nP(\\q)\n" },
		/* lines */
		{ { MB_LINES, NULL, "line|1", "-", 0 }, "a,b\r\n\n-\n\r\n c",
		  "T(a,b) T(a,b)\nT() T()\n~ ~\nT() T()\nT( c) T( c)\n" },
		{ { MB_LINES, NULL, NULL, 0, 0 }, "\x1e{\"mb\":\n",
		  "line:T(\\x1e{\"mb\":)\n" },
		/* ndjson: kinds, escapes, compact nested values */
		{ { MB_NDJSON, NULL, NULL, 0, 0 },
		  "{\"a\":1,\"b\":\"x\",\"c\":null,\"d\":true,\"e\":{ \"f\" : [1, 2] } }\n",
		  "a:N(1) b:T(x) c:~ d:J(true) e:J({\"f\":[1,2]})\n" },
		{ { MB_NDJSON, NULL, "a", 0, 0 },
		  "{\"a\":\"\\u00e9\\n\\ud83d\\ude00\\u0000\\/\"}\n{\"a\":\"\"}\n{}\n"
		  "{\"a\":12345678901234567890123456789.0123e+400}\n",
		  "T(\xc3\xa9\\x0a\xf0\x9f\x98\x80\\x00/)\nT()\n~\n"
		  "N(12345678901234567890123456789.0123e+400)\n" },
		/* of equal keys the last counts */
		{ { MB_NDJSON, NULL, NULL, 0, 0 },
		  "{\"a\":1,\"b\":2,\"\\u0061\":3}\n{\"b\":4,\"b\":null}\n",
		  "a:N(3) b:N(2)\nb:~\n" },
		{ { MB_NDJSON, NULL, "a|u.x", 0, 0 },
		  "{\"a\":1,\"a\":\"2\",\"u\":{\"x\":1},\"u\":{}}\n"
		  "{\"u\":{\"x\":1,\"\\u0078\":2}}\n", "T(2) ~\n~ N(2)\n" },
		/* paths: a key of exactly this name first */
		{ { MB_NDJSON, NULL, "u.id|t.0|t.1.x|t.01|2", 0, 0 },
		  "{\"u\":{\"id\":7},\"t\":[\"p\",{\"x\":\"q\"}],\"2\":3}\n"
		  "{\"u.id\":null,\"u\":{\"id\":7},\"t\":{\"0\":1,\"01\":2}}\n"
		  "{\"u\":[],\"t\":\"0\"}\n{\"u\":1,\"t\":[[],[]],\"u.id\":[ ]}\n",
		  "N(7) T(p) T(q) ~ N(3)\n~ N(1) ~ N(2) ~\n~ ~ ~ ~ ~\n"
		  "J([]) J([]) ~ ~ ~\n" },
		{ { MB_NDJSON, NULL, ".|a.|.a||a..b", 0, 0 },
		  "{\"\":{\"\":1,\"a\":2},\"a\":{\"\":{\"b\":3}}}",
		  "N(1) J({\"b\":3}) N(2) J({\"\":1,\"a\":2}) N(3)\n" },
		/* --null is of texts and numbers */
		{ { MB_NDJSON, NULL, "a", "-1|x\"|true", 0 },
		  "{\"a\":-1}\n{\"a\":\"-1\"}\n{\"a\":\"x\\\"\"}\n{\"a\":true}\n",
		  "~\n~\n~\nJ(true)\n" },
		/* bad ones leave the others alone */
		{ { MB_NDJSON, NULL, "a", 0, 0 },
		  "[]\n{\"a\":1}x\n{\"a\":1\n \n{\"a\":2}\r\n{\"a\":tru}\n",
		  "!not a JSON object\n!text behind the object\n"
		  "!the object is not closed\nN(2)\n!not a JSON value\n" },
		/* keys in another order, new ones, fewer */
		{ { MB_NDJSON, NULL, "b|a", 0, 0 },
		  "{\"a\":1,\"b\":2}\n{\"b\":3,\"a\":4}\n{\"c\":0,\"a\":5}\n"
		  "{}\n{\"a\":6,\"b\":7,\"c\":8}\n",
		  "N(2) N(1)\nN(3) N(4)\n~ N(5)\n~ ~\nN(7) N(6)\n" },
		/* the record limit */
		{ { MB_LINES, NULL, NULL, 0, 4 }, "abc\nabcdefgh\nx\n",
		  "line:T(abc)\n!longer than the record limit\nline:T(x)\n" },
		{ { MB_CSV, NULL, NULL, 0, 5 }, "\"\nabc\"\n1\n",
		  "!a quote is opened and not closed\n"
		  "!a quote inside an unquoted field\nP(1)\n" },
	};
	struct mb_buf rows = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t piece = 1; piece < 200; piece += 1 + piece / 4) {
			struct mb_err err = { 0 };

			read_in_pieces(&rows, &cases[i].q,
			    mb_str(cases[i].in), piece, &err);
			if (err.code != MB_OK ||
			    strcmp(rows.p, cases[i].rows) != 0)
				fail_msg("\"%s\" in pieces of %zu: got\n%s%s, "
				    "not\n%s", show(mb_str(cases[i].in)),
				    piece, rows.p, err.msg, cases[i].rows);
		}
	mb_buf_release(&rows);
}

static void
a_field_that_is_not_there_is_a_usage_error(void **state)
{
	static const struct {
		struct query q;
		const char *message;
	} cases[] = {
		{ { MB_CSV, "a|b c", "a|x", 0, 0 },
		  "no field \"x\"; the header has a, b c" },
		{ { MB_CSV, "a|b", "3", 0, 0 },
		  "no field \"3\"; the header has a, b" },
		{ { MB_CSV, NULL, "3", 0, 0 },
		  "no field 3; the first record has 2" },
		{ { MB_CSV, NULL, "a", 0, 0 },
		  "no field \"a\"; without header the fields are 1, 2, 3 …" },
		{ { MB_TSV, NULL, "0", 0, 0 },
		  "no field \"0\"; without header the fields are 1, 2, 3 …" },
		{ { MB_LINES, NULL, "2", 0, 0 },
		  "no field \"2\"; the header has line" },
	};
	struct mb_buf rows = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };

		read_in_pieces(&rows, &cases[i].q, MB_STR("1,2\n"), 100, &err);
		assert_int_equal(err.code, MB_EUSAGE);
		assert_string_equal(err.msg, cases[i].message);
	}
	mb_buf_release(&rows);
}

static void
a_reader_begins_anew_and_tells_what_it_saw(void **state)
{
	struct mb_str fields[2];
	struct mb_reader_config config = { .format = MB_NDJSON,
		.fields = fields, .n_fields = cut_bars(fields, "a|u.x") };
	struct mb_err err = { 0 };
	struct mb_reader *r;
	struct mb_row row;

	(void)state;
	mb_reader_open(&r, &config);
	for (int i = 0; i < 3; i++) {
		struct mb_str data = i == 1 ? MB_STR("{\"u\":{\"x\":null}}\n{") :
		    MB_STR("{\"a\":1}\n{\"a\"");

		assert_int_equal(mb_reader_begin(r, NULL, 50, &err), 0);
		assert_false(mb_reader_saw(r, 0) || mb_reader_saw(r, 1));
		assert_int_equal(mb_reader_next(r, &data, false, &row, &err), 1);
		assert_true(row.off == 50 && row.bad == NULL);
		assert_int_equal(mb_reader_next(r, &data, false, &row, &err), 0);
		assert_true(data.len > 0 && data.p[0] == '{');
		assert_int_equal(mb_reader_saw(r, 0), i != 1);
		assert_int_equal(mb_reader_saw(r, 1), i == 1);
	}
	mb_reader_close(r);

	/* the width of one reader makes the header of others */
	config = (struct mb_reader_config){ .format = MB_CSV,
		.wants_all = true };
	mb_reader_open(&r, &config);
	assert_int_equal(mb_reader_begin(r, NULL, 0, &err), 0);
	assert_int_equal(mb_reader_width(r), 0);
	struct mb_str data = MB_STR("a,b,c\n");
	assert_int_equal(mb_reader_next(r, &data, true, &row, &err), 1);
	assert_int_equal(mb_reader_width(r), 3);
	assert_int_equal(mb_reader_next(r, &data, true, &row, &err), 0);
	mb_reader_close(r);
}

static void
hostile_records_cost_no_more_than_others(void **state)
{
	struct query q = { MB_NDJSON, NULL, NULL, 0, 0 };
	struct mb_buf in = { 0 }, rows = { 0 };
	struct mb_err err = { 0 };

	(void)state;
	/* many keys: all different, then all different again */
	for (int i = 0; i < 4; i++) {
		mb_buf_addc(&in, '{');
		for (int k = 0; k < 60000; k++)
			mb_buf_addf(&in, "%s\"%d\":1", k > 0 ? "," : "",
			    k + i % 2 * 60000);
		mb_buf_adds(&in, "}\n");
	}
	read_in_pieces(&rows, &q, (struct mb_str){ in.p, in.len }, in.len,
	    &err);
	assert_null(strchr(rows.p, '!'));

	/* too many keys, too many fields, nested too deep */
	mb_buf_reset(&in);
	for (int k = 0; k < 70000; k++)
		mb_buf_addf(&in, "%c\"\":1", k > 0 ? ',' : '{');
	mb_buf_adds(&in, "}\n{\"\":");
	for (int k = 0; k < 1000000; k++)
		mb_buf_addc(&in, '[');
	read_in_pieces(&rows, &q, (struct mb_str){ in.p, in.len }, in.len,
	    &err);
	assert_string_equal(rows.p,
	    "!more than 65536 keys\n!nested too deep\n");
	mb_buf_reset(&in);
	for (int k = 0; k < 70000; k++)
		mb_buf_addc(&in, ',');
	q.format = MB_CSV;
	read_in_pieces(&rows, &q, (struct mb_str){ in.p, in.len }, in.len,
	    &err);
	assert_string_equal(rows.p, "!more than 65536 fields\n");

	/* a short record of too many lines */
	mb_buf_reset(&in);
	mb_buf_addc(&in, '"');
	for (int k = 0; k < 1000; k++)
		mb_buf_addc(&in, '\n');
	mb_buf_adds(&in, "\"\n");
	for (int k = 0; k < 100; k++)
		mb_buf_adds(&in, "x\n");
	read_in_pieces(&rows, &q, (struct mb_str){ in.p, in.len }, in.len,
	    &err);
	rows.p[strcspn(rows.p, "\n")] = '\0';
	assert_string_equal(rows.p,
	    "!a quote is opened and not closed");

	/* a record in many pieces is not scanned again with each */
	mb_buf_reset(&in);
	for (int k = 0; k < 3000000; k++)
		mb_buf_addc(&in, 'x');
	read_in_pieces(&rows, &q, (struct mb_str){ in.p, in.len }, 200000,
	    &err);
	assert_int_equal(rows.len, 3000000 + 4);
	mb_buf_release(&in);
	mb_buf_release(&rows);
}

/*
 * A reader looks ahead where it has enough bytes; a few at a time it can't.
 */
static void
looking_ahead_changes_nothing(void **state)
{
	static const char *const fields[] = {
		"a", "bcd", "1234567", "", "\"q\"", "\"x,y\"", "\"\"",
		"\\t\\n", "\"d\"\"e\"", " f ", "ghi\xff",
		/* odd */
		"\"l\nm\"", "n\"", "\"o\"p", "\"q", "r,s", "t\tu", "\r",
	};
	static const char *const ends[] = {
		"\n", "\n", "\n", "\n", "\r\n", "\r\n", "\r", "\n\n", "\n\r\n",
	};
	enum { N = sizeof fields / sizeof *fields };
	struct query q = { MB_CSV, "k|l|m", NULL, "bcd", 0 };
	struct mb_buf in = { 0 }, whole = { 0 }, rows = { 0 };
	int n_good = 0, n_bad = 0;

	(void)state;
	seed_random();
	for (int i = 0; i < 300; i++) {
		unsigned n = pick(i % 10 == 0 ? 1200 : 60);
		unsigned n_fields = pick(8) == 0 ? N : N - 7;
		unsigned n_ends = pick(3) == 0 ? 9 : pick(2) == 0 ? 6 : 4;
		struct mb_err err = { 0 };

		q.format = i % 3 == 0 ? MB_TSV : MB_CSV;
		q.fields = i % 2 == 0 ? NULL : "m|k";
		mb_buf_reset(&in);
		for (unsigned k = 0; k < n; k++) {
			for (int f = 0; f < 3; f++) {
				if (f > 0)
					mb_buf_addc(&in,
					    mb_delimiter_of(q.format));
				mb_buf_adds(&in, fields[pick(n_fields)]);
			}
			mb_buf_adds(&in, ends[pick(n_ends)]);
		}
		read_in_pieces(&whole, &q, (struct mb_str){ in.p, in.len },
		    in.len + 1, &err);
		read_in_pieces(&rows, &q, (struct mb_str){ in.p, in.len },
		    1 + pick(30), &err);
		if (strcmp(whole.p, rows.p) != 0) {
			size_t at = 0;

			while (whole.p[at] == rows.p[at])
				at++;
			at -= at < 100 ? at : 100;
			fail_msg("got %.200s, not %.200s", whole.p + at,
			    rows.p + at);
		}
		for (const char *p = rows.p; *p != '\0'; p++)
			*(*p == '!' ? &n_bad : &n_good) +=
			    *p == '!' || *p == '\n';
	}
	/* About 27,000, and from 500 to 5,000: odd fields come in few texts. */
	assert_true(n_good > 5000 && n_bad > 100);
	mb_buf_release(&in);
	mb_buf_release(&whole);
	mb_buf_release(&rows);
}

/* Records of `width` fields, each named after its place, as they are written. */
static void
make_wide(struct mb_buf *in, struct mb_names *header, unsigned width,
    unsigned n_records)
{
	char name[12];

	mb_names_reset(header);
	mb_buf_reset(in);
	for (unsigned f = 0; f < width; f++) {
		snprintf(name, sizeof name, "f%u", f);
		mb_names_add(header, mb_str(name));
	}
	for (unsigned i = 0; i < n_records; i++)
		for (unsigned f = 0; f < width; f++) {
			/* No blank line. */
			for (unsigned n = pick(6) + (width == 1); n > 0; n--)
				mb_buf_addc(in, "abcdefgh"[pick(8)]);
			mb_buf_addc(in, f + 1 < width ? ',' : '\n');
		}
}

/* Each field of each record that is found by looking ahead. */
static void
check_wide(struct mb_str data, const struct mb_names *header, enum mb_isa isa)
{
	const struct mb_reader_config config = { .format = MB_CSV,
		.fields = header->v, .n_fields = header->n, .isa = isa };
	struct mb_err err = { 0 };
	const char *p = data.p;
	struct mb_reader *r;
	struct mb_rows *rows;
	struct mb_str raw;
	size_t n_rows = 0;

	mb_reader_open(&r, &config);
	assert_int_equal(mb_reader_begin(r, header, 0, &err), 0);
	while ((rows = mb_reader_ahead(r, data)) != NULL) {
		assert_int_equal(rows->n, rows->n_records);
		raw = mb_reader_raw(r, 0, rows->n);
		assert_ptr_equal(raw.p, p);
		for (size_t i = 0; i < rows->n; i++) {
			assert_ptr_equal(mb_reader_raw(r, i, 1).p, p);
			assert_ptr_equal(mb_reader_raw(r, i, rows->n - i).p, p);
			for (size_t f = 0; f < header->n; f++) {
				const struct mb_view *v = &rows->view[f *
				    MB_ROWS + i];
				const char *end = strpbrk(p, ",\n");

				if (rows->p + v->start != p || v->len !=
				    (size_t)(end - p) || (v->kind == MB_NULL) !=
				    (v->len == 0))
					fail_msg("isa %d, %zu fields: field %zu "
					    "of record %zu: \"%.*s\"", (int)isa,
					    header->n, f, i, (int)v->len,
					    rows->p + v->start);
				p = end + 1;
			}
			assert_int_equal(mb_reader_raw(r, 0, i + 1).len,
			    p - raw.p);
		}
		assert_ptr_equal(raw.p + raw.len, p);
		n_rows += rows->n;
		mb_reader_pass(r, &data);
	}
	assert_true(n_rows > 0);
	mb_reader_close(r);
}

static void
records_may_have_any_number_of_fields(void **state)
{
	struct mb_names header = { 0 };
	struct mb_buf in = { 0 };

	(void)state;
	seed_random();
	for (unsigned width = 1; width <= 40; width++) {
		make_wide(&in, &header, width, 260 + pick(30));
		for (enum mb_isa isa = MB_ISA_PORTABLE; isa <= MB_ISA_AVX512;
		    isa++)
			if (mb_isa_is_there(isa))
				check_wide((struct mb_str){ in.p, in.len },
				    &header, isa);
	}
	mb_names_release(&header);
	mb_buf_release(&in);
}

/* Many at once: also what must be decoded, and that twice if wanted twice. */
static void
texts_to_decode_do_not_make_a_record_odd(void **state)
{
	static const struct {
		enum mb_format format;
		const char *record, *first, *second, *null;
	} cases[] = {
		{ MB_CSV, "\"a\"\"b\",\"\"\"\"\n", "a\"b", "\"", "0" },
		{ MB_CSV, "\"\"\"\"\"\",x\r\n", "\"\"", "x", "0" },
		{ MB_CSV, "x,\"y\"\"\"\r\n", "x", "y\"", "0" },
		{ MB_CSV, "\"\",\"n\"\"\"\n", "", NULL, "n\"" },
		{ MB_TSV, "a\\tb\t\\\\t\n", "a\tb", "\\t", "0" },
		{ MB_TSV, "\\N\t\\n\r\n", "\\N", NULL, "\n" },
	};
	enum { TIMES = 100 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_str null = mb_str(cases[i].null);
		struct mb_str fields[] = { MB_STR("k"), MB_STR("l"),
			MB_STR("k") };
		struct mb_reader_config config = { .format = cases[i].format,
			.fields = fields, .n_fields = 3,
			.nulls = &null, .n_nulls = 1 };
		size_t len = strlen(cases[i].record), n_rows = 0;
		struct mb_names header = { 0 };
		struct mb_err err = { 0 };
		struct mb_buf in = { 0 };
		struct mb_reader *r;
		struct mb_rows *rows;
		struct mb_str data;

		for (int k = 0; k < TIMES; k++)
			mb_buf_adds(&in, cases[i].record);
		mb_names_add(&header, fields[0]);
		mb_names_add(&header, fields[1]);
		mb_reader_open(&r, &config);
		assert_int_equal(mb_reader_begin(r, &header, 0, &err), 0);
		data = (struct mb_str){ in.p, in.len };
		while ((rows = mb_reader_ahead(r, data)) != NULL) {
			const char *text[] = { cases[i].first,
				cases[i].second, cases[i].first };

			assert_int_equal(rows->n, rows->n_records);
			for (size_t k = 0; k < rows->n; k++) {
				struct mb_str raw = mb_reader_raw(r, k, 1);

				assert_int_equal(raw.len, len);
				assert_memory_equal(raw.p, cases[i].record,
				    len);
				for (size_t f = 0; f < 3; f++) {
					struct mb_value v = mb_view_value(rows,
					    &rows->view[f * MB_ROWS + k]);
					size_t n = text[f] == NULL ? 0 :
					    strlen(text[f]);

					if ((v.kind == MB_NULL) !=
					    (text[f] == NULL) || v.len != n ||
					    memcmp(v.p, text[f] != NULL ?
					    text[f] : "", n) != 0)
						fail_msg("%s field %zu: "
						    "\"%.*s\"", show(mb_str(
						    cases[i].record)), f,
						    (int)v.len, v.p);
				}
			}
			n_rows += rows->n;
			mb_reader_pass(r, &data);
		}
		/* Or the processor can't. */
		assert_true(n_rows > TIMES / 4 || mb_isa_best() == MB_ISA_NONE);
		mb_reader_close(r);
		mb_names_release(&header);
		mb_buf_release(&in);
	}
}

/* What libcsv says of a record: its fields as put_row writes them. */
struct by_libcsv {
	struct mb_buf row;
	int n_fields, n_rows;
};

static void
end_field(void *text, size_t len, void *data)
{
	struct by_libcsv *l = data;

	mb_buf_adds(&l->row, l->n_fields++ > 0 ? " " : "");
	if (text == NULL) {
		mb_buf_addc(&l->row, '~');
		return;
	}
	mb_buf_adds(&l->row, "P(");
	mb_show(&l->row, (struct mb_str){ text, len });
	mb_buf_addc(&l->row, ')');
}

static void
end_row(int c, void *data)
{
	(void)c;
	((struct by_libcsv *)data)->n_rows++;
}

static int
no_blank(unsigned char c)
{
	(void)c;
	return 0;
}

/* False: libcsv calls it bad. */
static bool
ask_libcsv(struct by_libcsv *l, struct mb_str record)
{
	struct csv_parser p;
	bool ok;

	mb_buf_reset(&l->row);
	l->n_fields = l->n_rows = 0;
	assert_int_equal(csv_init(&p,
	    CSV_STRICT | CSV_STRICT_FINI | CSV_EMPTY_IS_NULL), 0);
	csv_set_space_func(&p, no_blank);
	ok = csv_parse(&p, record.p, record.len, end_field, end_row, l) ==
	    record.len && csv_fini(&p, end_field, end_row, l) == 0;
	csv_free(&p);
	mb_buf_addc(&l->row, '\n');
	mb_buf_str(&l->row);
	return ok;
}

static void
csv_records_are_what_libcsv_says(void **state)
{
	static const char *const words[] = {
		"a", ",", "\"", "\"", "\"\"", "\n", "\r\n", "\r", " ", "\t",
		"bcd", ",\"", "\",", "\\", "\xff",
	};
	const struct mb_reader_config config = { .format = MB_CSV,
		.wants_all = true };
	struct by_libcsv l = { 0 };
	struct mb_buf in = { 0 }, row_text = { 0 };
	struct mb_err err = { 0 };
	struct mb_row row;
	struct mb_reader *r;
	int n_good = 0, n_bad = 0;

	(void)state;
	seed_random();
	mb_reader_open(&r, &config);
	for (int i = 0; i < 30000; i++) {
		struct mb_str data;
		unsigned n = pick(15);

		mb_buf_reset(&in);
		for (unsigned k = 0; k < n; k++)
			mb_buf_adds(&in, words[pick(sizeof words /
			    sizeof *words)]);
		if (i % 3 == 0)		/* something that often is good */
			mb_buf_addf(&in, "\n\"x%s\",y%s\r\n",
			    i % 2 ? "\"\"" : "\n", i % 5 ? "z" : ",,\"\"");
		data = (struct mb_str){ in.p, in.len };
		while (data.len > 0) {
			struct mb_str before = data;
			uint64_t off;
			int rc;

			/* each record by itself, whatever its width */
			assert_int_equal(mb_reader_begin(r, NULL, 0, &err), 0);
			rc = mb_reader_next(r, &data, true, &row, &err);
			if (rc == 0)
				break;
			off = row.off;
			before.p += off;
			before.len = row.end - off;
			mb_buf_reset(&row_text);
			put_row(&row_text, &row);
			if (ask_libcsv(&l, before) != (row.bad == NULL) ||
			    (row.bad == NULL && (l.n_rows != 1 ||
			    strcmp(l.row.p, mb_buf_str(&row_text)) != 0)))
				fail_msg("\"%s\": got %s, libcsv says %s",
				    show(before), mb_buf_str(&row_text),
				    l.row.p);
			*(row.bad == NULL ? &n_good : &n_bad) += 1;
		}
	}
	assert_true(n_good > 1000 && n_bad > 1000);
	mb_reader_close(r);
	mb_buf_release(&in);
	mb_buf_release(&row_text);
	mb_buf_release(&l.row);
}

static const struct mb_value some_values[] = {
	{ "a,b", 3, MB_PLAIN }, { "x\"y", 3, MB_PLAIN },
	{ "1\n2", 3, MB_PLAIN }, { "r\r", 2, MB_TEXT },
	{ "", 0, MB_NULL }, { "", 0, MB_PLAIN }, { "-1.50", 5, MB_PLAIN },
	{ "-1.50", 5, MB_TEXT }, { "1e5", 3, MB_NUMBER },
	{ "{\"k\":[1,2]}", 11, MB_JSON }, { "true", 4, MB_JSON },
	{ "01", 2, MB_PLAIN }, { "\xff\xc3\xa9", 3, MB_PLAIN },
	{ "t\t\\", 3, MB_TEXT }, { "a\0b", 3, MB_TEXT },
	{ " p ", 3, MB_PLAIN }, { "NaN", 3, MB_PLAIN },
};
enum { N_SOME = sizeof some_values / sizeof *some_values };

static void
rows_are_written_with_as_little_quoting_as_needed(void **state)
{
	static const struct {
		enum mb_format format;
		const char *text;	/* "\0" is shown */
	} cases[] = {
		{ MB_CSV, "\"a,b\",\"x\"\"y\",\"1\n2\",\"r\r\",,\"\",-1.50,"
		  "-1.50,1e5,\"{\"\"k\"\":[1,2]}\",true,01,\xff\xc3\xa9,t\t\\,"
		  "a\\x00b, p ,NaN\n" },
		{ MB_TSV, "a,b\tx\"y\t1\\n2\tr\\r\t\t\t-1.50\t-1.50\t1e5\t"
		  "{\"k\":[1,2]}\ttrue\t01\t\xff\xc3\xa9\tt\\t\\\\\ta\\x00b\t p \t"
		  "NaN\n" },
		{ MB_NDJSON, "{\"1\":\"a,b\",\"2\":\"x\\\"y\",\"3\":\"1\\n2\","
		  "\"4\":\"r\\r\",\"5\":null,\"6\":\"\",\"7\":-1.50,"
		  "\"8\":\"-1.50\",\"9\":1e5,\"10\":{\"k\":[1,2]},\"11\":true,"
		  "\"12\":\"01\",\"13\":\"\xef\xbf\xbd\xc3\xa9\","
		  "\"14\":\"t\\t\\\\\",\"15\":\"a\\u0000b\",\"16\":\" p \","
		  "\"17\":\"NaN\"}\n" },
	};
	struct mb_names names = { 0 };
	struct mb_buf out = { 0 }, shown = { 0 };

	(void)state;
	mb_names_number(&names, N_SOME);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mb_buf_reset(&out);
		mb_buf_reset(&shown);
		mb_write_row(&out, cases[i].format,
		    mb_delimiter_of(cases[i].format), names.v, some_values,
		    N_SOME);
		for (size_t k = 0; k < out.len; k++)
			mb_buf_adds(&shown, out.p[k] == '\0' ? "\\x00" :
			    (char[]){ out.p[k], '\0' });
		assert_string_equal(mb_buf_str(&shown), cases[i].text);
	}
	mb_names_release(&names);
	mb_buf_release(&out);
	mb_buf_release(&shown);
}

static void
a_row_of_one_value_is_still_a_record(void **state)
{
	static const struct {
		enum mb_format format;
		struct mb_value value;
		const char *text;
	} cases[] = {
		{ MB_CSV, { "", 0, MB_NULL }, "\"\"\n" },
		{ MB_CSV, { "", 0, MB_TEXT }, "\"\"\n" },
		{ MB_CSV, { "\x1e{\"mb\":", 7, MB_TEXT },
		  "\"\x1e{\"\"mb\"\":\"\n" },
		{ MB_LINES, { "a\tb\\", 4, MB_TEXT }, "a\tb\\\n" },
		{ MB_LINES, { "a\nb", 3, MB_TEXT }, "a\\nb\n" },
		{ MB_LINES, { "", 0, MB_NULL }, "\n" },
		{ MB_NDJSON, { "", 0, MB_NULL }, "{\"n\":null}\n" },
	};
	struct mb_str name = MB_STR("n"), empty = MB_STR("");
	struct mb_buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mb_buf_reset(&out);
		mb_write_row(&out, cases[i].format, ',', &name,
		    &cases[i].value, 1);
		assert_string_equal(mb_buf_str(&out), cases[i].text);
	}
	mb_buf_reset(&out);
	mb_write_header(&out, MB_CSV, ';', &empty, 1);
	mb_write_header(&out, MB_CSV, ';', &name, 1);
	mb_write_header(&out, MB_NDJSON, ',', &name, 1);
	mb_write_header(&out, MB_LINES, ',', &name, 1);
	assert_string_equal(mb_buf_str(&out), "\"\"\nn\n");
	mb_buf_release(&out);
}

static void
what_is_written_reads_back(void **state)
{
	static const char bytes[] = "a,\"\r\n\t\\ \xc3{";
	struct mb_buf texts[4] = { { 0 } }, out = { 0 };
	struct mb_names names = { 0 };
	struct mb_value values[4];
	struct mb_reader *readers[3];
	struct mb_err err = { 0 };
	struct mb_row row;

	(void)state;
	seed_random();
	mb_names_number(&names, 4);
	for (int f = MB_CSV; f <= MB_NDJSON; f++)
		mb_reader_open(&readers[f], &(struct mb_reader_config){
			.format = f, .wants_all = true });
	for (int i = 0; i < 20000; i++) {
		enum mb_format f = pick(3);
		struct mb_str data;
		size_t n = 1 + pick(4);

		mb_names_number(&names, n);
		for (size_t k = 0; k < n; k++) {
			mb_buf_reset(&texts[k]);
			for (unsigned len = pick(6); len > 0; len--)
				mb_buf_addc(&texts[k],
				    bytes[pick(f == MB_NDJSON ? 8 : 10)]);
			values[k] = (struct mb_value){ mb_buf_str(&texts[k]),
				texts[k].len, f == MB_NDJSON ? MB_TEXT :
				MB_PLAIN };
			/* where null and empty text look alike */
			if (pick(4) == 0 || (f == MB_TSV && values[k].len == 0))
				values[k] = mb_value_null();
		}
		if (n == 1 && values[0].kind == MB_NULL)
			continue;
		mb_buf_reset(&out);
		mb_write_row(&out, f, mb_delimiter_of(f), names.v, values, n);
		data = (struct mb_str){ out.p, out.len };
		assert_int_equal(mb_reader_begin(readers[f], &names, 0, &err),
		    0);
		if (mb_reader_next(readers[f], &data, true, &row, &err) != 1 ||
		    row.bad != NULL || row.n != n || data.len != 0)
			fail_msg("%s: \"%s\": %s", mb_format_name(f),
			    show((struct mb_str){ out.p, out.len }),
			    row.bad != NULL ? row.bad : "no record");
		for (size_t k = 0; k < n; k++)
			if (row.values[k].kind != values[k].kind ||
			    !mb_str_eq(mb_value_str(row.values[k]),
			    mb_value_str(values[k])))
				fail_msg("%s: \"%s\": value %zu differs",
				    mb_format_name(f), show((struct mb_str){
				    out.p, out.len }), k);
	}
	for (int f = MB_CSV; f <= MB_NDJSON; f++)
		mb_reader_close(readers[f]);
	for (int k = 0; k < 4; k++)
		mb_buf_release(&texts[k]);
	mb_names_release(&names);
	mb_buf_release(&out);
}

static void
keys_are_put_in_the_order_of_the_columns(void **state)
{
	struct mb_names columns = { 0 };
	struct mb_str names[4];
	struct mb_value values[4] = { { "1", 1, MB_TEXT }, { "2", 1, MB_TEXT },
		{ "3", 1, MB_TEXT } }, out[3];
	size_t stranger = 0;

	(void)state;
	cut_bars(names, "a|b|c");
	for (int i = 0; i < 3; i++)
		mb_names_add(&columns, names[i]);
	cut_bars(names, "c|a");
	assert_true(mb_row_align(out, &columns, names, values, 2, &stranger));
	assert_true(out[0].p[0] == '2' && out[1].kind == MB_NULL &&
	    out[2].p[0] == '1');
	cut_bars(names, "a|x|b");
	assert_false(mb_row_align(out, &columns, names, values, 3, &stranger));
	assert_int_equal(stranger, 1);
	mb_names_release(&columns);
}

/*
 * Objects and arrays that are sometimes empty: once they were seen either way,
 * first one and then the other, no record is odd.
 */
static void
what_is_sometimes_empty_makes_no_record_odd(void **state)
{
	enum { TIMES = 2000 };
	static const char *const pairs[][2] = {
		{ "{\"a\":1,\"t\":[\"x\"],\"b\":2}\n",
		    "{\"a\":1,\"t\":[],\"b\":2}\n" },
		{ "{\"a\":1,\"t\":{\"x\":3},\"b\":2}\n",
		    "{\"a\":1,\"t\":{},\"b\":2}\n" },
		{ "{\"a\":1,\"t\":[[3],4],\"b\":2}\n",
		    "{\"a\":1,\"t\":[[],4],\"b\":2}\n" },
		{ "{\"a\":\"1\",\"b\":2,\"t\":[true]}\n",
		    "{\"a\":\"1\",\"b\":2,\"t\":[]}\n" },
	};
	const struct mb_str fields[] = { MB_STR("a"), MB_STR("b") };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof pairs / sizeof *pairs; i++) {
		const struct mb_reader_config config = { .format = MB_NDJSON,
			.fields = fields, .n_fields = 2 };
		struct mb_err err = { 0 };
		struct mb_buf in = { 0 };
		struct mb_reader *r;
		struct mb_rows *rows;
		struct mb_row row;
		struct mb_str data;
		size_t n = 0, n_odd = 0, last_odd = 0;

		for (int k = 0; k < TIMES; k++)
			mb_buf_adds(&in, pairs[i / 2][k < 2 * MB_ROWS ?
			    (i + (size_t)k / MB_ROWS) % 2 : rand() % 2u]);
		data = (struct mb_str){ in.p, in.len };
		mb_reader_open(&r, &config);
		assert_int_equal(mb_reader_begin(r, NULL, 0, &err), 0);
		while (data.len > 0) {
			if ((rows = mb_reader_ahead(r, data)) == NULL) {
				/* It isn't whole, or the last one. */
				assert_int_equal(mb_reader_next(r, &data, true,
				    &row, &err), 1);
				n++;
				continue;
			}
			for (size_t k = 0; k < rows->n_odd; k++, n_odd++) {
				last_odd = n + rows->odd[k];
				assert_int_equal(mb_reader_read(r,
				    rows->odd[k], &row, &err), 1);
				assert_null(row.bad);
			}
			n += rows->n_records;
			mb_reader_pass(r, &data);
		}
		assert_int_equal(n, TIMES);
		if (last_odd >= 3 * MB_ROWS)
			fail_msg("pair %zu: %zu odd ones, the last is %zu",
			    i, n_odd, last_odd);
		mb_reader_close(r);
		mb_buf_release(&in);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_or_the_first_byte_tells_the_format),
		cmocka_unit_test(a_delimiter_is_one_byte_that_ends_no_line),
		cmocka_unit_test(a_field_is_found_by_name_then_by_position),
		cmocka_unit_test(headers_are_read_compared_and_written_back),
		cmocka_unit_test(fields_are_read_as_the_rules_say),
		cmocka_unit_test(a_field_that_is_not_there_is_a_usage_error),
		cmocka_unit_test(a_reader_begins_anew_and_tells_what_it_saw),
		cmocka_unit_test(hostile_records_cost_no_more_than_others),
		cmocka_unit_test(looking_ahead_changes_nothing),
		cmocka_unit_test(records_may_have_any_number_of_fields),
		cmocka_unit_test(texts_to_decode_do_not_make_a_record_odd),
		cmocka_unit_test(csv_records_are_what_libcsv_says),
		cmocka_unit_test(
		    rows_are_written_with_as_little_quoting_as_needed),
		cmocka_unit_test(a_row_of_one_value_is_still_a_record),
		cmocka_unit_test(what_is_written_reads_back),
		cmocka_unit_test(keys_are_put_in_the_order_of_the_columns),
		cmocka_unit_test(what_is_sometimes_empty_makes_no_record_odd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
