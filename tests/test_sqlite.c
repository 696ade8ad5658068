#include "sink/sink.h"
#include "sink/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "place.h"

/* ---- types: no SQLite in these ---- */

static struct mb_value
plain(const char *text)
{
	return (struct mb_value){ text, strlen(text), MB_PLAIN };
}

static void
test_type_names(void **state)
{
	static const struct {
		const char *in;
		bool is_one;
		struct mb_type out;
	} cases[] = {
		{ "int", true, { .kind = MB_TYPE_INT } },
		{ "int32", true, { .kind = MB_TYPE_INT32 } },
		{ "text", true, { .kind = MB_TYPE_TEXT } },
		{ "timestamp_ntz", true, { .kind = MB_TYPE_TIMESTAMP_NTZ } },
		{ "decimal", true, { .kind = MB_TYPE_DECIMAL } },
		{ "decimal(10,2)", true, { MB_TYPE_DECIMAL, 10, 2 } },
		{ "decimal(38,38)", true, { MB_TYPE_DECIMAL, 38, 38 } },
		{ "decimal(39,2)", .is_one = false },
		{ "decimal(5,6)", .is_one = false },
		{ "decimal(5,2)x", .is_one = false },
		{ "decimal(5", .is_one = false },
		{ "INT", .is_one = false }, { "any", .is_one = false },
		{ "", .is_one = false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		struct mb_type t = { 0 };
		int rc = mb_type_parse(&t, cases[i].in, &err);

		if (cases[i].is_one ? rc < 0 || !mb_type_eq(t, cases[i].out) :
		    err.code != MB_EUSAGE)
			fail_msg("%s: %d, kind %d (%u,%u)", cases[i].in, rc,
			    t.kind, t.precision, t.scale);
	}
}

static void
test_cells(void **state)
{
	static const struct {
		const char *type, *in;
		int64_t i;
		bool fits;
	} cases[] = {
		{ "int", "9223372036854775807", INT64_MAX, true },
		{ "int", "-9223372036854775808", INT64_MIN, true },
		{ "int", "9223372036854775808", 0, false },
		{ "int", "3.00", 3, true }, { "int", "3.5", 0, false },
		{ "int", "-123456789012345", -123456789012345, true },
		{ "int", "-1234567890123456", -1234567890123456, true },
		{ "int", "-", 0, false }, { "int", "1.2.3", 0, false },
		{ "int", "--1", 0, false }, { "int", "-0", 0, true },
		{ "int", " 7", 7, true }, { "int", "7.", 7, true },
		{ "int", "+7", 7, true }, { "int", "1_000", 0, false },
		{ "int", "1e3", 1000, true }, { "int", "1e19", 0, false },
		{ "int", "abc", 0, false }, { "int", "0x10", 0, false },
		{ "int32", "2147483648", 0, false },
		{ "int32", "-2147483648", INT32_MIN, true },
		{ "bool", "TRUE", 1, true }, { "bool", "0", 0, true },
		{ "bool", "yes", 0, false },
		{ "date", "1970-01-01", 0, true },
		{ "date", "1969-12-31", -1, true },
		{ "date", "2000-02-29", 11016, true },
		{ "date", "1900-02-29", 0, false },
		{ "date", "2026-11-23", 20780, true },
		{ "date", "2026-11-31", 0, false },
		{ "date", "2026-11-23 ", 0, false },
		{ "date", "0001-01-01", -719162, true },
		{ "timestamp", "1970-01-01T00:00:01.5Z", 1500000, true },
		{ "timestamp", "2026-11-23T12:34:56.789Z", 1795437296789000,
		    true },
		{ "timestamp", "1969-12-31T23:59:59.999Z", -1000, true },
		{ "timestamp", "2026-11-23T12:34:60.789Z", 0, false },
		{ "timestamp", "2026-11-31T12:34:56.789Z", 0, false },
		{ "timestamp", "2026-11-23T12:34:5:.789Z", 0, false },
		{ "timestamp", "2026-11-23T12:34:56.78/Z", 0, false },
		{ "timestamp_ntz", "2026-11-23T12:34:56.789Z", 0, false },
		{ "timestamp", "1970-01-01 00:00", 0, true },
		{ "timestamp", "1970-01-01T01:00:00+01:00", 0, true },
		{ "timestamp", "1970-01-01T01:00:00.000001-0030",
		    5400000001, true },
		{ "timestamp", "1970-01-01T00:00:00.0000001Z", 0, false },
		{ "timestamp", "1970-01-01T00:00:00.0000010Z", 1, true },
		{ "timestamp", "1970-01-01T24:00:00Z", 0, false },
		{ "timestamp", "1970-01-01T00:00:00Zx", 0, false },
		{ "timestamp", "1970-01-01T00:00:00+", 0, false },
		{ "timestamp", "1970-01-01", 0, false },
		{ "timestamp_ntz", "1970-01-01T00:00:00Z", 0, false },
		{ "timestamp_ntz", "1970-01-01T00:00:00", 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		struct mb_type t;
		struct mb_cell cell;
		const char *why;

		assert_int_equal(mb_type_parse(&t, cases[i].type, &err), 0);
		why = mb_cell_set(&cell, t, plain(cases[i].in));
		if ((why == NULL) != cases[i].fits || (why == NULL &&
		    (cell.kind != MB_CELL_INT || cell.i != cases[i].i)))
			fail_msg("%s \"%s\": %s, %lld", cases[i].type,
			    cases[i].in, why == NULL ? "fits" : why,
			    (long long)cell.i);
	}
}

/* However it is written and read, a double is the nearest. */
static void
test_doubles_are_nearest(void **state)
{
	static const struct mb_type type = { .kind = MB_TYPE_DOUBLE };
	uint64_t seed = 88172645463325252u;
	char text[64];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct mb_cell cell;
		int places;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		places = (int)(seed % 17);
		snprintf(text, sizeof text, "%s%llu", seed >> 40 & 1 ? "-" :
		    "", (unsigned long long)(seed >> seed % 50));
		if (places > 0 && strlen(text) > (size_t)places) {
			char *at = text + strlen(text) - places;

			memmove(at + 1, at, strlen(at) + 1);
			*at = '.';
		}
		if (mb_cell_set(&cell, type, plain(text)) != NULL)
			continue;	/* "-.5" */
		if (cell.kind != MB_CELL_REAL || cell.d != strtod(text, NULL))
			fail_msg("%s: %.17g", text, cell.d);
	}
}

static void
test_decimals_fit(void **state)
{
	static const struct {
		const char *type, *in;
		bool fits;
	} cases[] = {
		{ "decimal(5,2)", "123.45", true },
		{ "decimal(5,2)", "123.450", true },
		{ "decimal(5,2)", "123.456", false },
		{ "decimal(5,2)", "1234.5", false },
		{ "decimal(5,2)", "-999.99", true },
		{ "decimal(5,2)", "1.5e2", true },
		{ "decimal(5,2)", "0.000", true },
		{ "decimal(2,2)", "0.99", true },
		{ "decimal(2,2)", "1", false },
		{ "decimal", "12345678901234567890.123", true },
		{ "decimal", "1e300", false },
		{ "decimal", "x", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_err err = { 0 };
		struct mb_type t;
		struct mb_cell cell;

		assert_int_equal(mb_type_parse(&t, cases[i].type, &err), 0);
		if ((mb_cell_set(&cell, t, plain(cases[i].in)) == NULL) !=
		    cases[i].fits)
			fail_msg("%s \"%s\"", cases[i].type, cases[i].in);
	}
}

static void
test_guess(void **state)
{
	static const struct {
		const char *in[3];
		enum mb_type_kind type;
		enum mb_kind kind;
	} cases[] = {
		{ { "1", "-2", "9223372036854775807" }, MB_TYPE_INT, MB_PLAIN },
		{ { "1", "2.50" }, MB_TYPE_DECIMAL, MB_PLAIN },
		{ { "9223372036854775807", "2.5" }, MB_TYPE_DECIMAL, MB_PLAIN },
		{ { "1", "1e3" }, MB_TYPE_DOUBLE, MB_PLAIN },
		{ { "0.30000000000000004", "1" }, MB_TYPE_DOUBLE, MB_PLAIN },
		{ { "9007199254740993", "1e3" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "9223372036854775808" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "9223372036854775809" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "123456789012345678.9" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "01234", "1" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "+1" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "0", "0.5", "-0.5" }, MB_TYPE_DECIMAL, MB_PLAIN },
		{ { "1", "x" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "1", "" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "true" }, MB_TYPE_TEXT, MB_PLAIN },
		{ { "true", "false" }, MB_TYPE_BOOL, MB_JSON },
		{ { "{}", "true" }, MB_TYPE_TEXT, MB_JSON },
		{ { "1" }, MB_TYPE_TEXT, MB_TEXT },
		{ { "1", "2.5" }, MB_TYPE_DECIMAL, MB_NUMBER },
		{ { NULL }, MB_TYPE_TEXT, MB_PLAIN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_guess g = { 0 };

		mb_guess_add(&g, mb_value_null());
		for (int k = 0; k < 3 && cases[i].in[k] != NULL; k++) {
			struct mb_value v = plain(cases[i].in[k]);

			v.kind = cases[i].kind;
			mb_guess_add(&g, v);
		}
		if (mb_guess_type(&g).kind != cases[i].type)
			fail_msg("case %zu (%s): kind %d", i, cases[i].in[0],
			    mb_guess_type(&g).kind);
	}
}

static void
test_merge_check(void **state)
{
	static const struct mb_field fields[] = {
		{ .name = "k" }, { .name = "n", .agg = "count" },
		{ .name = "a", .agg = "avg" },
	};
	static const struct mb_merge_column full[] = {
		{ "n", MB_MERGE_SUM }, { "a", MB_MERGE_REPLACE } };
	static const struct mb_merge_column sums_avg[] = {
		{ "n", MB_MERGE_SUM }, { "a", MB_MERGE_SUM } };
	static const struct mb_merge_column on_key[] = {
		{ "k", MB_MERGE_MAX }, { "n", MB_MERGE_SUM },
		{ "a", MB_MERGE_MAX } };
	static const struct {
		const char *key;
		const struct mb_merge_column *merge;
		size_t n;
		bool is_ok;
	} cases[] = {
		{ "k", full, 2, true }, { "1", full, 2, true },
		{ "k", full, 1, false }, { "k", sums_avg, 2, false },
		{ "k", on_key, 3, false }, { "x", full, 2, false },
		{ "4", full, 2, false }, { NULL, full, 2, false },
		{ NULL, NULL, 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_sink_options o = { .merge_on = &cases[i].key,
			.n_merge_on = cases[i].key != NULL,
			.merge = cases[i].merge, .n_merge = cases[i].n };
		struct mb_begin b = { .has_fields = true, .fields = fields,
			.n_fields = 3, .format = "csv" };
		struct mb_err err = { 0 };
		int rc = mb_merge_check(&o, &b, &err);

		if (cases[i].is_ok ? rc < 0 : err.code != MB_EUSAGE)
			fail_msg("case %zu: %d %s", i, rc, err.msg);
	}
}

#ifndef MB_NO_SQLITE

#include <sqlite3.h>

/* ---- a place, a stream, a look ---- */

enum { MAX_FIELDS = 8 };

struct stream {
	struct mb_sink_options o;
	struct mb_sink *sink;
	struct mb_marker marker;
	const char *format;
	struct mb_field fields[MAX_FIELDS];
	size_t n_fields;
	uint64_t next;
	int n_rejects;
	char reason[256];
};

static char db_path[128], target[160];

static int
setup(void **state)
{
	if (set_up_place(state) < 0)
		return -1;
	snprintf(db_path, sizeof db_path, "%s/x#y.db", place);
	snprintf(target, sizeof target, "%s#t", db_path);
	return 0;
}

static int
on_reject(void *arg, uint64_t n, struct mb_str record, const char *reason,
    struct mb_err *err)
{
	struct stream *s = arg;

	(void)err;
	(void)record;
	s->n_rejects++;
	snprintf(s->reason, sizeof s->reason, "%d: %s", (int)n, reason);
	return 0;
}

static void
open_stream(struct stream *s)
{
	struct mb_err err = { 0 };

	if (s->o.journal == NULL)
		s->o.journal = "11111111111111111111111111111111";
	if (s->o.journal_path == NULL)
		s->o.journal_path = "/j/web.mbj";
	if (s->format == NULL)
		s->format = "csv";
	s->o.reject = on_reject;
	s->o.reject_arg = s;
	if (mb_sink_open_sqlite(&s->sink, target, &s->o, &err) < 0)
		fail_msg("open: %s", err.msg);
	if (mb_sink_lookup(s->sink, &s->marker, &err) < 0)
		fail_msg("lookup: %s", err.msg);
	if (s->marker.exists)
		s->next = s->marker.last + 1;
}

static void
close_stream(struct stream *s)
{
	mb_sink_close(s->sink);
	s->sink = NULL;
	mb_marker_release(&s->marker);
}

/* "a,b:int,c" */
static void
set_fields(struct stream *s, char *names, const char *const *aggs)
{
	char *save = NULL;

	s->n_fields = 0;
	for (char *p = strtok_r(names, ",", &save); p != NULL;
	    p = strtok_r(NULL, ",", &save)) {
		char *type = strchr(p, ':');

		if (type != NULL)
			*type++ = '\0';
		s->fields[s->n_fields] = (struct mb_field){ .name = p,
			.type = type,
			.agg = aggs == NULL ? NULL : aggs[s->n_fields] };
		s->n_fields++;
	}
}

static int
stage_batch(struct stream *s, const char *data, size_t len, uint64_t *rows,
    struct mb_err *err)
{
	struct mb_begin b = { .batch = s->next, .format = s->format,
		.has_fields = s->n_fields > 0, .fields = s->fields,
		.n_fields = s->n_fields, .delimiter = ',',
		.record_limit = 1 << 20 };

	if (mb_sink_begin(s->sink, &b, err) < 0 ||
	    mb_sink_add(s->sink, (struct mb_str){ data, len }, 1, err) < 0)
		return -1;
	return mb_sink_stage(s->sink, rows, err);
}

static struct mb_marker
marker_after(struct stream *s)
{
	struct mb_marker m;

	mb_marker_copy(&m, &s->marker);
	if (!m.exists)
		m.first = s->next;
	m.exists = true;
	m.last = s->next;
	m.digest = mb_hash_bytes(&s->next, sizeof s->next);
	return m;
}

static int
commit_batch(struct stream *s, struct mb_err *err)
{
	struct mb_marker now = marker_after(s);

	if (mb_sink_commit(s->sink, &s->marker, &now, NULL, err) < 0) {
		mb_marker_release(&now);
		return -1;
	}
	mb_sink_abort(s->sink);
	mb_marker_release(&s->marker);
	s->marker = now;
	s->next++;
	return 0;
}

static enum mb_code
try_bytes(struct stream *s, const char *fields, const char *data, size_t len,
    char *msg)
{
	char names[256];
	uint64_t rows;
	struct mb_err err = { 0 };

	snprintf(names, sizeof names, "%s", fields);
	set_fields(s, names, NULL);
	if (stage_batch(s, data, len, &rows, &err) == 0 && rows > 0)
		(void)!commit_batch(s, &err);
	if (msg != NULL)
		snprintf(msg, sizeof err.msg, "%s", err.msg);
	else if (err.code != MB_OK)
		print_message("%s\n", err.msg);
	return err.code;
}

static void
put(struct stream *s, const char *fields, const char *data)
{
	assert_int_equal(try_bytes(s, fields, data, strlen(data), NULL),
	    MB_OK);
}

/* One batch by a stream of its own that is closed again. */
static void
put_alone(struct stream *s, const char *fields, const char *data)
{
	open_stream(s);
	put(s, fields, data);
	close_stream(s);
}

static void
sql(const char *text)
{
	sqlite3 *db;
	char *msg = NULL;

	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &msg) != SQLITE_OK)
		fail_msg("%s: %s", text, msg);
	sqlite3_close(db);
}

/* The rows as SQL literals: "1 'a' NULL\n…"; to be freed by the next call. */
static const char *
query(const char *text)
{
	static struct mb_buf out;
	sqlite3 *db;
	sqlite3_stmt *st;

	mb_buf_reset(&out);
	if (text == NULL) {
		mb_buf_release(&out);
		return NULL;
	}
	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	if (sqlite3_prepare_v2(db, text, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	while (sqlite3_step(st) == SQLITE_ROW)
		for (int i = 0, n = sqlite3_column_count(st); i < n; i++) {
			const unsigned char *p = sqlite3_column_blob(st, i);
			int len = sqlite3_column_bytes(st, i);

			switch (sqlite3_column_type(st, i)) {
			case SQLITE_NULL:
				mb_buf_adds(&out, "NULL");
				break;
			case SQLITE_INTEGER:
				mb_buf_addf(&out, "%lld",
				    sqlite3_column_int64(st, i));
				break;
			case SQLITE_FLOAT:
				mb_double_format(&out,
				    sqlite3_column_double(st, i));
				mb_buf_addc(&out, 'f');
				break;
			case SQLITE_TEXT:
				mb_buf_addf(&out, "'%.*s'", len, p);
				break;
			default:
				mb_buf_addc(&out, 'x');
				for (int k = 0; k < len; k++)
					mb_buf_addf(&out, "%02x", p[k]);
			}
			mb_buf_addc(&out, i + 1 < n ? ' ' : '\n');
		}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return mb_buf_str(&out);
}

static void
expect(const char *text, const char *want)
{
	const char *got = query(text);

	if (strcmp(got, want) != 0)
		fail_msg("%s:\ngot  %swant %s", text, got, want);
}

/* ---- append ---- */

static void
test_append(void **state)
{
	struct stream s = { 0 };

	(void)state;
	open_stream(&s);
	assert_false(s.marker.exists);
	assert_null(mb_sink_target_id(s.sink));
	put(&s, "status,n,x,d,note",
	    "200,1,1e3,0.10,hello\n404,-7,2.5,2,\"\"\n500,9,0.5,,\n");
	expect("PRAGMA journal_mode", "'wal'\n");
	expect("SELECT name, type FROM pragma_table_info('t')",
	    "'status' 'INTEGER'\n'n' 'INTEGER'\n'x' 'REAL'\n'd' 'NUMERIC'\n"
	    "'note' 'TEXT'\n");
	put(&s, "n,status", "10,301\n");
	close_stream(&s);
	expect("SELECT * FROM t", "200 1 1000f 0.1f 'hello'\n"
	    "404 -7 2.5f 2 ''\n500 9 0.5f NULL NULL\n"
	    "301 10 NULL NULL NULL\n");
	expect("SELECT first, last, holes, times_checked FROM mb_commits",
	    "0 1 '' 0\n");
}

static void
test_target_string(void **state)
{
	struct stream s = { 0 };
	char want[256];

	(void)state;
	put_alone(&s, "A,b", "1,2\n");
	/* Another spelling is the same table, and the same marker. */
	snprintf(target, sizeof target, "%s#T", db_path);
	open_stream(&s);
	snprintf(want, sizeof want, "sqlite:%s#t", db_path);
	assert_string_equal(mb_sink_target(s.sink), want);
	assert_true(s.marker.exists);
	put(&s, "A,b", "3,4\n");
	close_stream(&s);
	expect("SELECT * FROM t", "1 2\n3 4\n");
}

static void
test_unusable_targets(void **state)
{
	static const char *const bad[] = { "/x.db", "/x.db#", "#t",
		"/x.db#sqlite_t", "/x.db#mb_commits", "/none/x.db#t", "/#t" };
	struct mb_sink_options o = { .journal = "1", .journal_path = "/j" };
	struct mb_sink *sink;
	char path[256];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct mb_err err = { 0 };

		snprintf(path, sizeof path, "%s%s", bad[i][0] == '#' ? "" :
		    place, bad[i]);
		if (mb_sink_open_sqlite(&sink, path, &o, &err) == 0 ||
		    err.code != MB_EUSAGE)
			fail_msg("%s: %d %s", path, err.code, err.msg);
	}
	sql("CREATE VIEW t AS SELECT 1");
	for (int k = 0; k < 2; k++) {
		struct mb_err err = { 0 };
		FILE *f;

		assert_int_equal(mb_sink_open_sqlite(&sink, target, &o, &err),
		    -1);
		assert_int_equal(err.code, k == 0 ? MB_EUSAGE : MB_ECORRUPT);
		f = fopen(db_path, "w");
		for (int i = 0; i < 1000; i++)
			fputs("not a database", f);
		fclose(f);
	}
}

static void
test_bytes_are_kept(void **state)
{
	static const char bytes[] = "a\0b\nz\xff\nsch\xc3\xb6n\n\xed\xa0\x80\n";
	struct stream s = { .format = "lines" };

	(void)state;
	open_stream(&s);
	assert_int_equal(try_bytes(&s, "", bytes, sizeof bytes - 1, NULL),
	    MB_OK);
	assert_int_equal(try_bytes(&s, "", bytes, sizeof bytes - 1, NULL),
	    MB_OK);
	close_stream(&s);
	expect("SELECT line FROM t WHERE rowid <= 4",
	    "x610062\nx7aff\n'sch\xc3\xb6n'\nxeda080\n");
	expect("SELECT count(*), count(DISTINCT line) FROM t", "8 4\n");
}

static void
test_hostile_names(void **state)
{
	static const struct mb_schema_column schema[] = {
		{ "b\"; DROP TABLE t; --", "int" } };
	const char *key = "/* mb 00000000000000000000000000000000 */";
	struct stream s = { .o = { .schema = schema, .n_schema = 1,
		.merge_on = &key, .n_merge_on = 1 } };
	const char *id;

	(void)state;
	snprintf(target, sizeof target, "%s#a\"b (/* mb ", db_path);
	open_stream(&s);
	put(&s, "b\"; DROP TABLE t; --,"
	    "/* mb 00000000000000000000000000000000 */", "1,x\n2,x\n");
	id = mb_sink_target_id(s.sink);
	assert_int_equal(strlen(id), 32);
	assert_string_not_equal(id, "00000000000000000000000000000000");
	close_stream(&s);
	open_stream(&s);
	assert_true(s.marker.exists);
	close_stream(&s);
	expect("SELECT * FROM \"a\"\"b (/* mb \"", "2 'x'\n");
}

static void
test_headless_and_ndjson(void **state)
{
	struct stream s = { 0 }, j = { .format = "ndjson",
		.o.journal = "22222222222222222222222222222222" };

	(void)state;
	open_stream(&s);
	put(&s, "", "a,1\nb,2\nc\n");
	expect("SELECT * FROM t", "'a' 1\n'b' 2\n");
	assert_int_equal(s.n_rejects, 1);
	close_stream(&s);
	snprintf(target, sizeof target, "%s#j", db_path);
	open_stream(&j);
	put(&j, "", "{\"a\":1,\"b\":true}\n"
	    "{\"c\":[1, {\"x\": 2}],\"a\":2.5,\"d\":\"007\"}\n"
	    "{\"a\":null,\"A\":1}\n"			/* A would be a */
	    "[1]\n{}\n{\"d\":\"x\\u0000y\",\"e\":0.30000000000000004}\n");
	assert_int_equal(j.n_rejects, 2);
	expect("SELECT name, type FROM pragma_table_info('j')",
	    "'a' 'NUMERIC'\n'b' 'BOOLEAN'\n'c' 'TEXT'\n'd' 'TEXT'\n"
	    "'e' 'REAL'\n");
	expect("SELECT * FROM j", "1 1 NULL NULL NULL\n"
	    "2.5f NULL '[1,{\"x\":2}]' '007' NULL\n"
	    "NULL NULL NULL NULL NULL\n"
	    "NULL NULL NULL x780079 0.30000000000000004f\n");
	put(&j, "", "{\"b\":false,\"new\":1}\n{\"b\":false}\n{\"a\":\"x\"}\n"
	    "{\"b\":\"maybe\"}\n");
	assert_int_equal(j.n_rejects, 5);
	assert_string_equal(j.reason,
	    "4: column b: neither true nor false: \"maybe\"");
	expect("SELECT b FROM j WHERE rowid > 4", "0\n");
	close_stream(&j);
}

static void
test_schema(void **state)
{
	static const struct mb_schema_column schema[] = {
		{ "zip", "text" }, { "price", "decimal(7,2)" },
		{ "day", "date" }, { "at", "timestamp" }, { "raw", "binary" },
		{ "small", "int32" }, { "later", "double" },
	};
	struct stream s = { .o = { .schema = schema, .n_schema = 7 } };

	(void)state;
	open_stream(&s);
	put(&s, "zip,price,day,at,raw,small",
	    "01234,10.50,2026-11-23,2026-11-23T12:00:02.000Z,xyz,7\n"
	    "1,10.505,2026-11-23,,,\n1,1,2026-11-24x,,,\n"
	    "1,1,,,,2147483648\n");
	assert_int_equal(s.n_rejects, 3);
	assert_string_equal(s.reason,
	    "4: column small: out of range: \"2147483648\"");
	expect("SELECT name, type FROM pragma_table_info('t')",
	    "'zip' 'TEXT'\n'price' 'DECIMAL(7,2)'\n'day' 'DATE'\n"
	    "'at' 'TIMESTAMP'\n'raw' 'BLOB'\n'small' 'INT32'\n"
	    "'later' 'REAL'\n");
	/* The same holds when the types are read back from the table. */
	put(&s, "zip,price,day,at,raw,small",
	    "2,0.5,2026-11-23,2026-11-23T12:00:02Z,a,-1\n"
	    "1,10.505,2026-11-23,,,\n1,1,x,,,\n1,1,,,,2147483648\n");
	assert_int_equal(s.n_rejects, 6);
	close_stream(&s);
	expect("SELECT * FROM t", "'01234' 10.5f '2026-11-23' "
	    "'2026-11-23T12:00:02.000Z' x78797a 7 NULL\n'2' 0.5f "
	    "'2026-11-23' '2026-11-23T12:00:02Z' x61 -1 NULL\n");
}

static void
test_on_bad(void **state)
{
	static const char *const aggs[] = { NULL, "count" };
	struct stream s = { 0 };
	char msg[512], names[] = "a,n";
	struct mb_err err = { 0 };
	uint64_t rows;

	(void)state;
	open_stream(&s);
	put(&s, "a,n", "1,1\n");
	assert_int_equal(try_bytes(&s, "a,x", "1,2\n", 4, msg), MB_EUSAGE);
	assert_non_null(strstr(msg, "#t: no column \"x\"; there are: a, n"));
	assert_int_equal(try_bytes(&s, "a,a", "1,2\n", 4, msg), MB_EUSAGE);
	put(&s, "a,n", "2,2\n3,x\n4\n5,5\n");
	assert_int_equal(s.n_rejects, 2);
	s.o.on_bad = MB_BAD_SKIP;
	put(&s, "a,n", "6,x\n7,7\n");
	assert_int_equal(s.n_rejects, 3);	/* told, too */
	set_fields(&s, names, aggs);
	assert_int_equal(stage_batch(&s, "8,8\n9,x\n", 8, &rows, &err), -1);
	assert_int_equal(err.code, MB_EDATA);
	s.o.on_bad = MB_BAD_FAIL;
	assert_int_equal(try_bytes(&s, "a,n", "8,8\n9,x\n", 8, msg),
	    MB_EDATA);
	assert_non_null(strstr(msg, "record 2 of the batch: column n: not a "
	    "number: \"x\""));
	close_stream(&s);
	expect("SELECT a FROM t", "1\n2\n5\n7\n");
}

static void
test_aggregates_have_room(void **state)
{
	static const char *const aggs[] = { NULL, "count", "sum", "avg" };
	struct stream s = { 0 };
	char names[] = "k,n:int,s,a";
	struct mb_err err = { 0 };
	uint64_t rows;

	(void)state;
	open_stream(&s);
	set_fields(&s, names, aggs);
	assert_int_equal(stage_batch(&s, "1,1,5,2\n", 8, &rows, &err), 0);
	assert_int_equal(commit_batch(&s, &err), 0);
	assert_int_equal(stage_batch(&s, "1,1,5.5,0.3333333333333333\n", 27,
	    &rows, &err), 0);
	assert_int_equal(commit_batch(&s, &err), 0);
	close_stream(&s);
	expect("SELECT type FROM pragma_table_info('t')",
	    "'INTEGER'\n'INTEGER'\n'NUMERIC'\n'REAL'\n");
	expect("SELECT * FROM t", "1 1 5 2f\n1 1 5.5f 0.3333333333333333f\n");
}

static void
test_fifteen_digits(void **state)
{
	struct stream s = { 0 };

	(void)state;
	open_stream(&s);
	put(&s, "d", "0.5\n");
	put(&s, "d", "12345678901234.5\n123456789012345.6\n"
	    "9223372036854775807\n1e2\n1e300\n");
	assert_int_equal(s.n_rejects, 2);
	close_stream(&s);
	expect("SELECT d FROM t",
	    "0.5f\n12345678901234.5f\n9223372036854775807\n100\n");
}

static void
test_tables_of_others(void **state)
{
	struct stream s = { 0 };
	char msg[512], id[64];

	(void)state;
	sql("CREATE TABLE t(id INTEGER PRIMARY KEY, a VARCHAR(9) NOT NULL, "
	    "n NUMERIC NOT NULL DEFAULT 7, dbl AS (n * 2), free, when_ "
	    "DATETIME, b TEXT DEFAULT 'x'); PRAGMA user_version = 3");
	open_stream(&s);
	assert_false(s.marker.exists);
	expect("SELECT count(*) FROM sqlite_master WHERE name = 'mb_commits'",
	    "0\n");
	put(&s, "a,free,when_", "x,1,2026\n,2,\ny,z,2026-11-23 10:00\n");
	assert_int_equal(s.n_rejects, 1);
	snprintf(id, sizeof id, "%s", mb_sink_target_id(s.sink));
	assert_int_equal(try_bytes(&s, "n", "1\n", 2, msg), MB_EUSAGE);
	assert_int_equal(try_bytes(&s, "a,dbl", "1,2\n", 4, msg), MB_EUSAGE);
	close_stream(&s);
	expect("SELECT * FROM t", "1 'x' 7 14 1 2026 NULL\n"
	    "2 'y' 7 14 'z' '2026-11-23 10:00' NULL\n");
	expect("PRAGMA journal_mode", "'delete'\n");
	open_stream(&s);
	assert_string_equal(mb_sink_target_id(s.sink), id);
	close_stream(&s);
	/* Another journal gives it no other id. */
	s = (struct stream){ .o = { .journal_path = "/j/2.mbj",
		.journal = "22222222222222222222222222222222" } };
	open_stream(&s);
	assert_string_equal(mb_sink_target_id(s.sink), id);
	put(&s, "a", "w\n");
	close_stream(&s);
	expect("SELECT count(DISTINCT target_id), count(*) FROM mb_commits",
	    "1 2\n");
}

static void
test_constraints_of_others(void **state)
{
	struct stream s = { 0 };
	char msg[512];

	(void)state;
	sql("CREATE TABLE t(a TEXT UNIQUE, n INT CHECK (n > 0)) STRICT");
	open_stream(&s);
	put(&s, "a,n", "x,1\ny\xff,2\n");
	assert_int_equal(s.n_rejects, 1);	/* STRICT has no bytes in TEXT */
	assert_int_equal(try_bytes(&s, "a,n", "z,1\nx,1\n", 8, msg),
	    MB_EDATA);
	assert_non_null(strstr(msg, "UNIQUE constraint failed"));
	assert_int_equal(try_bytes(&s, "a,n", "z,-1\n", 5, msg), MB_EDATA);
	put(&s, "a,n", "z,1\n");
	close_stream(&s);
	expect("SELECT * FROM t", "'x' 1\n'z' 1\n");
}

static void
test_plain_stream(void **state)
{
	struct stream s = { 0 };
	struct mb_marker none = { 0 };
	struct mb_err err = { 0 };
	char names[] = "x";
	uint64_t rows;

	(void)state;
	assert_int_equal(mb_sink_open_sqlite(&s.sink, target, &s.o, &err), 0);
	assert_int_equal(mb_sink_lookup(s.sink, &none, &err), 0);
	assert_false(none.exists);
	s.format = "csv";
	set_fields(&s, names, NULL);
	assert_int_equal(stage_batch(&s, "1\n", 2, &rows, &err), 0);
	assert_int_equal(mb_sink_commit(s.sink, &none, &none, NULL, &err), 0);
	assert_int_equal(stage_batch(&s, "2\n", 2, &rows, &err), 0);
	assert_int_equal(mb_sink_commit(s.sink, &none, &none, NULL, &err), 0);
	close_stream(&s);
	expect("SELECT * FROM t", "1\n2\n");
	expect("SELECT count(*) FROM sqlite_master", "1\n");
}

/* ---- merge ---- */

static void
test_merge(void **state)
{
	static const char *const keys[] = { "day", "k" };
	static const struct mb_merge_column rules[] = {
		{ "n", MB_MERGE_SUM }, { "d", MB_MERGE_SUM },
		{ "lo", MB_MERGE_MIN }, { "hi", MB_MERGE_MAX },
		{ "born", MB_MERGE_KEEP } };
	struct stream s = { .o = { .merge_on = keys, .n_merge_on = 2,
		.merge = rules, .n_merge = 5 } };
	static const char fields[] = "day,k,n,d,lo,hi,born,last";

	(void)state;
	open_stream(&s);
	put(&s, fields, "mon,1,1,0.1,5,b,x,x\n"
	    "mon,1,2,0.2,3,a,y,y\n"		/* the same, in one batch */
	    ",1,1,0.5,1,q,q,q\n"		/* null is a key */
	    ",1,1,,,,,\n"			/* and equal to itself */
	    "\"\",1,7,0.7,1,e,e,e\n"		/* empty text is another */
	    "mon,,8,0.8,1,m,m,m\n");
	expect("SELECT * FROM t", "'mon' 1 3 0.3f 3 'b' 'x' 'y'\n"
	    "NULL 1 2 0.5f 1 'q' 'q' NULL\n"
	    "'' 1 7 0.7f 1 'e' 'e' 'e'\n"
	    "'mon' NULL 8 0.8f 1 'm' 'm' 'm'\n");
	put(&s, fields, "mon,1,1,0.1,2,z,n,n\n,1,,0.25,9,,n,\n"
	    "mon,,-8,-0.8,,a,,\ntue,2,1,1,1,1,1,1\n");
	expect("SELECT * FROM t", "'mon' 1 4 0.4f 2 'z' 'x' 'n'\n"
	    "NULL 1 2 0.75f 1 'q' 'q' NULL\n"
	    "'' 1 7 0.7f 1 'e' 'e' 'e'\n"
	    "'mon' NULL 0 0 1 'm' 'm' NULL\n"
	    "'tue' 2 1 1 1 '1' '1' '1'\n");
	/* Columns that the batch doesn't have stay as they are. */
	put(&s, "k,day,n", "2,tue,5\n3,wed,1\n");
	close_stream(&s);
	expect("SELECT * FROM t WHERE rowid >= 5",
	    "'tue' 2 6 1 1 '1' '1' '1'\n'wed' 3 1 NULL NULL NULL NULL NULL\n");
	assert_non_null(strstr(query("EXPLAIN QUERY PLAN UPDATE t SET n = 1 "
	    "WHERE day IS 1 AND k IS 2"), "USING INDEX mb_key t day k"));
}

static void
test_merge_sums(void **state)
{
	static const char *const keys[] = { "k" };
	static const struct mb_merge_column rules[] = {
		{ "v", MB_MERGE_SUM } };
	static const struct {
		const char *type, *data, *want;	/* NULL: the batch fails */
	} cases[] = {
		{ "decimal", "0.1\n0.2\n", "0.3f\n" },
		{ "decimal", "1.10\n2.90\n", "4\n" },
		{ "decimal", "99999999999999.9\n0.1\n", "100000000000000\n" },
		{ "decimal", "99999999999999.9\n0.05\n", NULL },
		{ "decimal", "0.00000000001\n0.00000000002\n",
		    "3e-11f\n" },
		{ "decimal", "-5.5\n5.5\n", "0\n" },
		{ "decimal", "9223372036854775806\n1\n",
		    "9223372036854775807\n" },
		{ "decimal", "9223372036854775807\n1\n", NULL },
		{ "int", "9223372036854775806\n1\n",
		    "9223372036854775807\n" },
		{ "int", "9223372036854775807\n1\n", NULL },
		{ "double", "0.1\n0.2\n", "0.30000000000000004f\n" },
		{ "double", "1\n2\n", "3f\n" },
		{ "double", "1.7e308\n1e308\n", NULL },
		{ "decimal", "123456.7890123\n0.0000001\n",
		    "123456.7890124f\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct stream s = { .o = { .merge_on = keys, .n_merge_on = 1,
			.merge = rules, .n_merge = 1 } };
		char fields[64], data[128], msg[512], first[64];
		enum mb_code code;
		int n = (int)strcspn(cases[i].data, "\n");

		snprintf(target, sizeof target, "%s#t%zu", db_path, i);
		snprintf(fields, sizeof fields, "k,v:%s", cases[i].type);
		snprintf(first, sizeof first, "a,%.*s\n", n, cases[i].data);
		snprintf(data, sizeof data, "a,%s", cases[i].data + n + 1);
		open_stream(&s);
		put(&s, fields, first);
		code = try_bytes(&s, fields, data, strlen(data), msg);
		close_stream(&s);
		snprintf(fields, sizeof fields, "SELECT v FROM t%zu", i);
		if (cases[i].want != NULL)
			expect(fields, cases[i].want);
		if (code != (cases[i].want == NULL ? MB_EDATA : MB_OK))
			fail_msg("%zu: %d %s", i, code, msg);
	}
}

static void
test_merge_into_others(void **state)
{
	const char *key = "k";
	static const struct mb_merge_column rules[] = {
		{ "v", MB_MERGE_SUM } };
	struct stream s = { .o = { .merge_on = &key, .n_merge_on = 1,
		.merge = rules, .n_merge = 1 } };
	char msg[512];

	(void)state;
	sql("CREATE TABLE t(k TEXT, v INT, u DEFAULT 5);"
	    "INSERT INTO t VALUES ('a', 1, 1), ('b', 1, 1), ('b', 2, 2)");
	open_stream(&s);
	put(&s, "k,v", "a,2\nc,3\n");
	assert_int_equal(try_bytes(&s, "k,v", "c,1\nb,1\n", 8, msg),
	    MB_EDATA);
	assert_non_null(strstr(msg, "the key k \"b\" is there 2 times"));
	close_stream(&s);
	expect("SELECT * FROM t", "'a' 3 1\n'b' 1 1\n'b' 2 2\n'c' 3 NULL\n");

	/* What others may have put there. */
	sql("DROP TABLE mb_commits; DROP TABLE t; CREATE TABLE t(k, v NUMERIC);"
	    "INSERT INTO t VALUES ('inf', 9e999), ('text', 'x'), ('0', 0.5)");
	s.next = 0;
	open_stream(&s);
	assert_int_equal(try_bytes(&s, "k,v", "inf,1\n", 6, msg), MB_EDATA);
	assert_non_null(strstr(msg, "sum of column v"));
	assert_int_equal(try_bytes(&s, "k,v", "text,1\n", 7, msg), MB_EDATA);
	close_stream(&s);

	/* A primary key needs no index of ours, WITHOUT ROWID or not. */
	sql("DROP TABLE IF EXISTS mb_commits; DROP TABLE t; "
	    "CREATE TABLE t(k TEXT PRIMARY KEY, v INT) WITHOUT ROWID");
	s.next = 0;
	open_stream(&s);
	put(&s, "k,v", "a,2\nc,3\na,5\n,9\n");
	assert_int_equal(s.n_rejects, 1);	/* NOT NULL, without saying so */
	close_stream(&s);
	expect("SELECT * FROM t", "'a' 7\n'c' 3\n");
	sql("DROP TABLE mb_commits; DROP TABLE t; "
	    "CREATE TABLE t(k INTEGER PRIMARY KEY, v INT)");
	s.next = 0;
	open_stream(&s);
	put(&s, "k,v", "1,2\n2,3\n1,5\n,9\n");
	assert_int_equal(s.n_rejects, 2);
	close_stream(&s);
	expect("SELECT * FROM t", "1 7\n2 3\n");
	expect("SELECT name FROM sqlite_master WHERE name LIKE 'mb_key%'", "");
}

static void
test_merge_refusals(void **state)
{
	static const struct mb_merge_column sum_text[] = {
		{ "v", MB_MERGE_SUM } };
	static const struct mb_merge_column no_column[] = {
		{ "w", MB_MERGE_MAX } };
	const char *key = "k", *other = "zz";
	struct stream s = { .o = { .merge_on = &key, .n_merge_on = 1,
		.merge = sum_text, .n_merge = 1 } };
	char msg[512];

	(void)state;
	open_stream(&s);
	assert_int_equal(try_bytes(&s, "k,v", "a,x\n", 4, msg), MB_EUSAGE);
	assert_non_null(strstr(msg, "isn't a number"));
	s.o.merge = no_column;
	assert_int_equal(try_bytes(&s, "k,v", "a,x\n", 4, msg), MB_EUSAGE);
	assert_non_null(strstr(msg, "--merge: no column \"w\""));
	s.o.n_merge = 0;
	s.format = "ndjson";
	s.o.merge_on = &other;
	assert_int_equal(try_bytes(&s, "", "{\"k\":1}\n", 8, msg), MB_EUSAGE);
	s.o.merge_on = &key;
	assert_int_equal(try_bytes(&s, "", "{\"v\":0}\n{\"k\":1,\"v\":2}\n"
	    "{\"k\":1,\"v\":3}\n{\"v\":5}\n", 45, msg), MB_OK);
	close_stream(&s);
	expect("SELECT * FROM t", "5 NULL\n3 1\n");
}

/* ---- the marker ---- */

static void
test_marker_moves_by_compare_and_swap(void **state)
{
	struct stream a = { 0 }, b = { 0 };
	struct mb_err err = { 0 };
	char names[] = "x", names2[] = "x";
	uint64_t rows;

	(void)state;
	open_stream(&a);
	open_stream(&b);
	set_fields(&a, names, NULL);
	set_fields(&b, names2, NULL);
	assert_int_equal(stage_batch(&a, "1\n", 2, &rows, &err), 0);
	assert_int_equal(stage_batch(&b, "1\n", 2, &rows, &err), 0);
	assert_int_equal(commit_batch(&a, &err), 0);
	assert_int_equal(commit_batch(&b, &err), -1);
	assert_int_equal(err.code, MB_EEXIST);
	expect("SELECT * FROM t", "1\n");
	/* Another number: it is the marker that counts. */
	put(&a, "x", "2\n");
	mb_marker_release(&b.marker);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_sink_lookup(b.sink, &b.marker, &err), 0);
	assert_int_equal(b.marker.last, 1);
	assert_true(mb_marker_eq(&a.marker, &b.marker));
	close_stream(&a);
	close_stream(&b);
}

static void
test_marker_keeps_holes(void **state)
{
	struct stream s = { 0 };
	uint64_t holes[] = { 3, 5, 6, 7 };

	(void)state;
	put_alone(&s, "x", "1\n");
	open_stream(&s);
	s.next = 9;
	s.marker.holes = mb_realloc_array(NULL, 4, sizeof *holes);
	memcpy(s.marker.holes, holes, sizeof holes);
	s.marker.n_holes = 4;
	/* What is there has none, so this must be refused. */
	assert_int_equal(try_bytes(&s, "x", "2\n", 2, target), MB_EEXIST);
	snprintf(target, sizeof target, "%s#t", db_path);
	close_stream(&s);
	sql("UPDATE mb_commits SET last = 9, holes = '3,5-7'");
	open_stream(&s);
	assert_int_equal(s.marker.n_holes, 4);
	assert_memory_equal(s.marker.holes, holes, sizeof holes);
	put(&s, "x", "2\n");
	close_stream(&s);
	expect("SELECT first, last, holes FROM mb_commits", "0 10 '3,5-7'\n");
}

static void
test_damaged_marker(void **state)
{
	static const char *const damage[] = { "digest = 'x'", "holes = '3,'",
		"holes = '99'", "first = 7" };
	struct stream s = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
		char text[128];
		struct mb_err err = { 0 };
		struct mb_marker m;
		struct mb_sink *sink;

		put_alone(&s, "x", "1\n");
		snprintf(text, sizeof text, "UPDATE mb_commits SET %s",
		    damage[i]);
		sql(text);
		assert_int_equal(mb_sink_open_sqlite(&sink, target, &s.o,
		    &err), 0);
		assert_int_equal(mb_sink_lookup(sink, &m, &err), -1);
		assert_int_equal(err.code, MB_ECORRUPT);
		mb_sink_close(sink);
		sql("DELETE FROM mb_commits");
		s.next = 0;
	}
}

static void
test_lookup_makes_durable(void **state)
{
	struct stream s = { 0 };
	sqlite3 *reader;
	struct mb_err err = { 0 };

	(void)state;
	put_alone(&s, "x", "1\n");
	open_stream(&s);
	put(&s, "x", "2\n");
	/* A checkpoint does it … */
	mb_marker_release(&s.marker);
	assert_int_equal(mb_sink_lookup(s.sink, &s.marker, &err), 0);
	expect("SELECT times_checked FROM mb_commits", "0\n");
	/* … but not past a reader; then a page is changed and synced. */
	assert_int_equal(sqlite3_open(db_path, &reader), SQLITE_OK);
	sqlite3_exec(reader, "BEGIN; SELECT * FROM t", NULL, NULL, NULL);
	put(&s, "x", "3\n");
	mb_marker_release(&s.marker);
	assert_int_equal(mb_sink_lookup(s.sink, &s.marker, &err), 0);
	expect("SELECT times_checked FROM mb_commits", "1\n");
	sqlite3_close(reader);
	close_stream(&s);
	/* So it does without a WAL. */
	sql("PRAGMA journal_mode = DELETE");
	open_stream(&s);
	close_stream(&s);
	expect("SELECT times_checked FROM mb_commits", "2\n");
}

static void
test_target_id_survives(void **state)
{
	struct stream s = { 0 };
	char id[64];

	(void)state;
	put_alone(&s, "x,y", "1,2\n");
	open_stream(&s);
	snprintf(id, sizeof id, "%s", mb_sink_target_id(s.sink));
	close_stream(&s);
	sql("ALTER TABLE t ADD COLUMN z TEXT; VACUUM; "
	    "ALTER TABLE t RENAME COLUMN x TO xx; ALTER TABLE t DROP COLUMN y;"
	    "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t");
	open_stream(&s);
	assert_string_equal(mb_sink_target_id(s.sink), id);
	put(&s, "xx,z", "5,z\n");
	close_stream(&s);

	/* By another hand, so that the comment is missing. */
	sql("DROP TABLE t; CREATE TABLE t(x)");
	open_stream(&s);
	assert_true(s.marker.exists);
	assert_non_null(mb_sink_target_id(s.sink));
	assert_string_not_equal(mb_sink_target_id(s.sink), id);
	close_stream(&s);
	sql("DROP TABLE t");
	open_stream(&s);
	assert_true(s.marker.exists);
	assert_null(mb_sink_target_id(s.sink));
	put(&s, "x", "1\n");	/* --new-target, to mb-commit */
	assert_string_not_equal(mb_sink_target_id(s.sink), id);
	close_stream(&s);
}

static void
test_dropped_under_way(void **state)
{
	struct stream s = { 0 };
	char names[] = "x", msg[512];
	struct mb_err err = { 0 };
	uint64_t rows;

	(void)state;
	open_stream(&s);
	put(&s, "x", "1\n");
	set_fields(&s, names, NULL);
	assert_int_equal(stage_batch(&s, "2\n", 2, &rows, &err), 0);
	sql("DROP TABLE t; CREATE TABLE t(x)");
	assert_int_equal(commit_batch(&s, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	assert_int_equal(try_bytes(&s, "x", "2\n", 2, msg), MB_ECORRUPT);
	sql("DROP TABLE t");
	assert_int_equal(try_bytes(&s, "x", "2\n", 2, msg), MB_ECORRUPT);
	close_stream(&s);
	expect("SELECT count(*) FROM sqlite_master WHERE name = 't'", "0\n");
}

static void
test_made_by_two_at_once(void **state)
{
	struct stream a = { 0 }, b = { .o = { .journal_path = "/j/2.mbj",
		.journal = "22222222222222222222222222222222" } }, c = b;
	char names[] = "x", names2[] = "x", names3[] = "x";
	struct mb_err err = { 0 };
	uint64_t rows;

	(void)state;
	c.o.journal = "33333333333333333333333333333333";
	c.o.journal_path = "/j/3.mbj";
	open_stream(&a);
	open_stream(&b);
	open_stream(&c);
	set_fields(&a, names, NULL);
	set_fields(&b, names2, NULL);
	set_fields(&c, names3, NULL);
	assert_int_equal(stage_batch(&a, "1\n", 2, &rows, &err), 0);
	assert_int_equal(stage_batch(&b, "2\n", 2, &rows, &err), 0);
	assert_int_equal(stage_batch(&c, "x\n", 2, &rows, &err), 0);
	assert_int_equal(commit_batch(&a, &err), 0);
	assert_int_equal(commit_batch(&b, &err), 0);
	assert_int_equal(commit_batch(&c, &err), -1);
	assert_int_equal(err.code, MB_EBUSY);
	assert_string_equal(mb_sink_target_id(a.sink),
	    mb_sink_target_id(b.sink));
	close_stream(&a);
	close_stream(&b);
	close_stream(&c);
	expect("SELECT * FROM t", "1\n2\n");
}

static void
test_lost_journal(void **state)
{
	struct stream s = { 0 }, other = { .o.journal =
	    "22222222222222222222222222222222" };
	struct mb_err err = { 0 };
	struct mb_sink *sink;

	(void)state;
	put_alone(&s, "x", "1\n");
	put_alone(&s, "x", "2\n");
	other.o.journal_path = s.o.journal_path;
	assert_int_equal(mb_sink_open_sqlite(&sink, target, &other.o, &err),
	    -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	assert_non_null(strstr(err.msg, "has batches 0-1 of another journal "
	    "that was at /j/web.mbj (id 1111"));
	other.o.accepts_new = true;
	put_alone(&other, "x", "3\n");
	/* From then on nothing needs to be said. */
	other.o.accepts_new = false;
	put_alone(&other, "x", "4\n");
	/* And the old one, if it comes back, is the stranger. */
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_sink_open_sqlite(&sink, target, &s.o, &err), -1);
	expect("SELECT journal_path FROM mb_commits ORDER BY journal",
	    "NULL\n'/j/web.mbj'\n");
	expect("SELECT * FROM t", "1\n2\n3\n4\n");
}

/* ---- others at the same time ---- */

static void
test_busy(void **state)
{
	struct stream s = { 0 };
	char names[] = "x";
	struct mb_err err = { 0 };
	sqlite3 *db;
	uint64_t rows;

	(void)state;
	open_stream(&s);
	put(&s, "x", "1\n");
	set_fields(&s, names, NULL);
	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	sqlite3_exec(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES (7)", NULL,
	    NULL, NULL);
	/* Staging needs no lock. */
	assert_int_equal(stage_batch(&s, "2\n3\n", 4, &rows, &err), 0);
	assert_int_equal(rows, 2);
	assert_int_equal(commit_batch(&s, &err), -1);
	assert_int_equal(err.code, MB_EBUSY);
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_close(db);
	err = (struct mb_err){ 0 };
	assert_int_equal(commit_batch(&s, &err), 0);
	close_stream(&s);
	expect("SELECT x FROM t", "1\n7\n2\n3\n");
}

static void
test_reader_is_not_blocked(void **state)
{
	struct stream s = { 0 };
	sqlite3_stmt *st;
	sqlite3 *db;

	(void)state;
	open_stream(&s);
	put(&s, "x", "1\n");
	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
	sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &st, NULL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(sqlite3_step(st), SQLITE_ROW);
		assert_int_equal(sqlite3_column_int(st, 0), 1);
		sqlite3_reset(st);
		put(&s, "x", "2\n");
	}
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(st, 0), 4);
	sqlite3_finalize(st);
	sqlite3_close(db);
	close_stream(&s);
}

static void
test_pieces_and_repeats(void **state)
{
	static const char data[] = "a,1\n\"b\n\"\"\",2\n,3\nlast,4";
	struct stream s = { 0 };
	char names[] = "k,v";
	struct mb_begin b = { .format = "csv", .has_fields = true,
		.delimiter = ',', .record_limit = 1 << 20 };
	struct mb_err err = { 0 };
	uint64_t rows;

	(void)state;
	open_stream(&s);
	set_fields(&s, names, NULL);
	b.fields = s.fields;
	b.n_fields = s.n_fields;
	/* An abandoned batch leaves nothing. */
	assert_int_equal(stage_batch(&s, "zzz,9\n", 6, &rows, &err), 0);
	assert_int_equal(mb_sink_begin(s.sink, &b, &err), 0);
	for (size_t i = 0; i < sizeof data - 1; i++)
		assert_int_equal(mb_sink_add(s.sink,
		    (struct mb_str){ data + i, 1 }, 0, &err), 0);
	assert_int_equal(mb_sink_stage(s.sink, &rows, &err), 0);
	assert_int_equal(rows, 4);
	assert_int_equal(commit_batch(&s, &err), 0);
	/* No rows: mb-commit doesn't commit, and nothing was made. */
	assert_int_equal(stage_batch(&s, "x,x\n", 4, &rows, &err), 0);
	assert_int_equal(rows, 0);
	mb_sink_abort(s.sink);
	mb_sink_abort(s.sink);
	close_stream(&s);
	expect("SELECT * FROM t", "'a' 1\n'b\n\"' 2\nNULL 3\n'last' 4\n");
}

/* ---- broken calls ---- */

/*
 * A VFS in front of the default one whose files fail at the Nth sync, write
 * or truncation; each kind of file gets a patched copy of its methods.
 */
static int fault_countdown;	/* 0: none */
static sqlite3_vfs *real_vfs;
static struct {
	const sqlite3_io_methods *real;
	sqlite3_io_methods patched;
} methods[8];

static bool
breaks(void)
{
	return fault_countdown > 0 && --fault_countdown == 0;
}

static const sqlite3_io_methods *
real_of(sqlite3_file *f)
{
	for (size_t i = 0; i < 8; i++)
		if (f->pMethods == &methods[i].patched)
			return methods[i].real;
	abort();
}

static int
fault_sync(sqlite3_file *f, int flags)
{
	return breaks() ? SQLITE_IOERR_FSYNC : real_of(f)->xSync(f, flags);
}

static int
fault_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 off)
{
	return breaks() ? SQLITE_IOERR_WRITE :
	    real_of(f)->xWrite(f, p, n, off);
}

static int
fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return breaks() ? SQLITE_IOERR_TRUNCATE :
	    real_of(f)->xTruncate(f, size);
}

static int
fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
    int *out)
{
	int rc = real_vfs->xOpen(vfs, name, f, flags, out);

	if (rc != SQLITE_OK || f->pMethods == NULL ||
	    (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL |
	    SQLITE_OPEN_MAIN_JOURNAL)) == 0)
		return rc;
	for (size_t i = 0; i < 8; i++) {
		if (methods[i].real != NULL && methods[i].real != f->pMethods)
			continue;
		methods[i].real = f->pMethods;
		methods[i].patched = *f->pMethods;
		methods[i].patched.xSync = fault_sync;
		methods[i].patched.xWrite = fault_write;
		methods[i].patched.xTruncate = fault_truncate;
		f->pMethods = &methods[i].patched;
		break;
	}
	return rc;
}

static int
fault_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	return breaks() ? SQLITE_IOERR_DELETE :
	    real_vfs->xDelete(vfs, name, sync_dir);
}

/* Break the Nth call of a commit; look up; commit again if need be. */
static void
one_fault(struct stream *s, int n, bool *fired)
{
	char names[] = "k,v", msg[512];
	struct mb_err err = { 0 };
	struct mb_marker seen, now;
	uint64_t rows;

	set_fields(s, names, NULL);
	assert_int_equal(stage_batch(s, "a,1\nb,2\na,0.5\n", 14, &rows, &err),
	    0);
	fault_countdown = n;
	(void)!commit_batch(s, &err);
	*fired = fault_countdown == 0;
	fault_countdown = 0;
	snprintf(msg, sizeof msg, "%s", err.msg);
	if (err.code == MB_OK)
		return;
	if (err.code != MB_EIO)
		fail_msg("fault %d: %s", n, msg);
	now = marker_after(s);
	err = (struct mb_err){ 0 };
	if (mb_sink_lookup(s->sink, &seen, &err) < 0)
		fail_msg("fault %d: lookup: %s", n, err.msg);
	if (mb_marker_eq(&seen, &now)) {
		mb_marker_release(&s->marker);
		s->marker = now;
		s->next++;
	} else {
		mb_marker_release(&now);
		if (!mb_marker_eq(&seen, &s->marker))
			fail_msg("fault %d: an impossible marker", n);
		if (commit_batch(s, &err) < 0)
			fail_msg("fault %d: again: %s", n, err.msg);
	}
	mb_marker_release(&seen);
}

static void
run_faults(bool has_wal, bool is_first, bool is_merge)
{
	const char *key = "k";
	static const struct mb_merge_column rules[] = {
		{ "v", MB_MERGE_SUM } };
	bool fired = true;
	int n;

	for (n = 1; fired; n++) {
		struct stream s = { .o = { .merge_on = &key,
			.n_merge_on = is_merge, .merge = rules,
			.n_merge = is_merge } };

		unlink(db_path);
		if (!has_wal)
			sql("CREATE TABLE other(x)");
		open_stream(&s);
		if (!is_first)
			put(&s, "k,v", "a,1.5\n");
		one_fault(&s, n, &fired);
		put(&s, "k,v", "b,7\n");
		close_stream(&s);
		expect("PRAGMA integrity_check", "'ok'\n");
		if (is_merge)
			expect("SELECT * FROM t", is_first ?
			    "'a' 1.5f\n'b' 9\n" : "'a' 3\n'b' 9\n");
		else
			expect("SELECT * FROM t", is_first ?
			    "'a' 1\n'b' 2\n'a' 0.5f\n'b' 7\n" :
			    "'a' 1.5f\n'a' 1\n'b' 2\n'a' 0.5f\n'b' 7\n");
	}
	print_message("%d faults in a commit (%s, %s, %s)\n", n - 2,
	    has_wal ? "wal" : "rollback", is_first ? "first" : "later",
	    is_merge ? "merge" : "append");
	assert_true(n > 4);
}

static void
test_commit_after_io_errors(void **state)
{
	static sqlite3_vfs vfs;

	(void)state;
	sqlite3_initialize();
	real_vfs = sqlite3_vfs_find(NULL);
	vfs = *real_vfs;
	vfs.zName = "fault";
	vfs.xOpen = fault_open;
	vfs.xDelete = fault_delete;
	sqlite3_vfs_register(&vfs, 1);
	for (int i = 0; i < 8; i++)
		run_faults(i & 1, i & 2, i & 4);
	sqlite3_vfs_unregister(&vfs);
}

static int
release(void **state)
{
	(void)state;
	query(NULL);
	return 0;
}

#define T(f) \
	cmocka_unit_test_setup_teardown(f, setup, tear_down_place)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_type_names),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_doubles_are_nearest),
		cmocka_unit_test(test_decimals_fit),
		cmocka_unit_test(test_guess),
		cmocka_unit_test(test_merge_check),
		T(test_append), T(test_target_string),
		T(test_unusable_targets), T(test_bytes_are_kept),
		T(test_hostile_names), T(test_headless_and_ndjson),
		T(test_schema), T(test_on_bad), T(test_aggregates_have_room),
		T(test_fifteen_digits),
		T(test_tables_of_others), T(test_constraints_of_others),
		T(test_plain_stream), T(test_merge), T(test_merge_sums), T(test_merge_into_others),
		T(test_merge_refusals),
		T(test_marker_moves_by_compare_and_swap),
		T(test_marker_keeps_holes), T(test_damaged_marker),
		T(test_lookup_makes_durable), T(test_target_id_survives),
		T(test_dropped_under_way), T(test_made_by_two_at_once),
		T(test_lost_journal), T(test_busy),
		T(test_reader_is_not_blocked), T(test_pieces_and_repeats),
		T(test_commit_after_io_errors),
	};

	return cmocka_run_group_tests(tests, NULL, release);
}

#else

static void
test_says_so(void **state)
{
	struct mb_sink_options o = { 0 };
	struct mb_err err = { 0 };
	struct mb_sink *sink;

	(void)state;
	assert_int_equal(mb_sink_open_sqlite(&sink, "x#t", &o, &err), -1);
	assert_int_equal(err.code, MB_EUSAGE);
	assert_non_null(strstr(err.msg, "built without SQLite"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_type_names),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_doubles_are_nearest),
		cmocka_unit_test(test_decimals_fit),
		cmocka_unit_test(test_guess),
		cmocka_unit_test(test_merge_check),
		cmocka_unit_test(test_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
