/*
 * lib/sink/cells.h against rows.h, and a Delta table whose rows came many at
 * once against one whose rows came one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/line.h"
#include "place.h"
#include "random.h"
#include "sink/cells.h"
#include "sink/sink.h"

/* What is ordinary to a column of one type or another, then what isn't. */
static const char *const words[] = {
	"0", "1", "-1", "7", "42", "-200", "255", "65536", "99999999",
	"123456789", "-2147483648", "2147483647", "1.5", "-0.25", "3.14159",
	"100.00", "0.10", "true", "false", "2026-11-23", "1999-12-31",
	"2026-11-23T12:00:02.000Z", "2026-11-23T23:59:59.999Z",
	"2026-11-24T00:00:00.001Z", "2026-11-23 12:00:02",
	"2026-11-23T12:00:02Z", "2026-11-23T12:00:02", "2026-11-23 01:02:03.004",
	"GET", "/api/v1/items", "a longer text, of more than 32 bytes",
	/* odd */
	"", "-", "+1", "--1", ".", ".5", "5.", "1.2.3", "01", "-007", "0.0",
	"00.5", "3.0", "-3.00", " 1", "1 ", "1e3", "-1.5E-2", "1e400", "NaN",
	"9007199254740993", "-9007199254740993", "123456789012345678",
	"999999999999999999", "1234567890123456789", "9223372036854775807",
	"9223372036854775808", "-9223372036854775808", "0.1234567890123456789",
	"0.123456789012345678", "1775496784127846.9",
	"934175759880205.7", "1308716916710505.1",
	"12345678901234567890123456789012345678",
	"99999999999999999999999999999999999999",
	"123456789012345678901234567890123456789", "-0", "-0.0",
	"2026-02-29", "2024-02-29", "0000-01-01", "2026-13-01", "2026-11-23 ",
	"2026-11-23T24:00:00.000Z", "2026-11-23T12:60:00Z",
	"2026-11-23T12:00:60", "2026-11-23T12:0a:00", "2026-11-23T1::00:00",
	"2026-11-23T12.00:02", "2026-11-23x12:00:02", "2026-11-23t12:00:02",
	"2026-11-23T12:00:02.1", "2026-11-23T12:00:02.123456",
	"2026-11-23T12:00:02.1234567", "2026-11-23T12:00:02.000z",
	"2026-11-23T12:00:02+02:00", "2026-11-23T12:00:02.00aZ",
	"2026-11-23T12:00:02,000Z", "2026-11-23T12:00Z", "2026-11-23T12:00",
	"2026-02-30T12:00:02.000Z", "2026-11-23T\xb1\xb2:00:02.000Z",
	"True", "2", "\xc3\xa9t\xc3\xa9", "\xff", "caf\xc3", "\xc3\xa9",
};

enum { N_WORDS = sizeof words / sizeof *words, N_SMALL = 5 };

static const char *const type_names[] = {
	"bool", "int", "int32", "float", "double", "text", "binary", "date",
	"timestamp", "timestamp_ntz", "decimal(5,2)", "decimal(18,0)",
	"decimal(18,18)", "decimal(20,2)", "decimal(38,0)", "decimal(38,20)",
	"decimal(38,38)",
};

enum { N_TYPES = sizeof type_names / sizeof *type_names };

struct made {
	struct mb_buf bytes;
	struct mb_view view[MB_ROWS];
	struct mb_views views;
};

static struct mb_value
value_at(const struct made *m, size_t i)
{
	const struct mb_view *v = &m->view[i];

	return (struct mb_value){ m->views.base + v->start, v->len,
		(enum mb_kind)v->kind };
}

/* The answer of rows.h. */
static bool
fits(struct mb_cell *cell, struct mb_type type, struct mb_value v)
{
	if (mb_cell_set(cell, type, v) != NULL)
		return false;
	if (cell->kind == MB_CELL_DECIMAL)
		mb_number_widen(&cell->n, type.scale);
	return type.kind != MB_TYPE_TEXT || mb_is_utf8(mb_value_str(v));
}

static const char *
word_of(struct mb_type type)
{
	struct mb_cell cell;
	const char *word;

	do
		word = words[random_bits() % N_WORDS];
	while (!fits(&cell, type, (struct mb_value){ word, strlen(word),
	    MB_PLAIN }));
	return word;
}

/* A few words over and over, so that each meets many others or none. */
static void
make(struct made *m, struct mb_type type, bool has_any)
{
	enum { MOST = 6 };
	const char *list[MOST];
	size_t n = 1 + random_bits() % MOST;
	unsigned one_null_in = random_bits() % 2 ? 10 : 1000000;
	unsigned one_text_in = random_bits() % 8 ? 1000000 : 10;

	for (size_t i = 0; i < n; i++)
		list[i] = word_of(type);
	if (has_any)
		list[0] = words[random_bits() % N_WORDS];
	mb_buf_reset(&m->bytes);
	m->views.n = 1 + random_bits() % MB_ROWS;
	for (size_t i = 0; i < m->views.n; i++) {
		const char *word = list[random_bits() % n];
		bool is_null = random_bits() % one_null_in == 0;

		if (is_null)
			word = "";
		m->view[i] = (struct mb_view){
			.start = (uint32_t)m->bytes.len,
			.len = (uint16_t)strlen(word),
			.kind = is_null ? MB_NULL :
			    random_bits() % one_text_in == 0 ? MB_TEXT :
			    MB_PLAIN };
		mb_buf_adds(&m->bytes, word);
		mb_buf_addc(&m->bytes, random_bits() % 2 ? ',' : '7');
	}
	m->views.is_ascii = mb_is_ascii((struct mb_str){ m->bytes.p,
	    m->bytes.len });
	mb_buf_reserve(&m->bytes, MB_VIEW_SLACK);
	memset(m->bytes.p + m->bytes.len, '3', MB_VIEW_SLACK);
	m->views.isa = random_bits() % 2 ? mb_isa_best() : MB_ISA_PORTABLE;
	m->views.base = m->bytes.p;
	m->views.v = m->view;
}

static void
check_cell(const struct mb_cells *cells, size_t i, const struct mb_cell *cell,
    struct mb_value v, const char *type)
{
	bool is_null = cell->kind == MB_CELL_NULL, same = true;

	if (cells->is_null[i] != is_null || (is_null && !cells->has_null))
		fail_msg("%s: \"%.*s\": null %d", type, (int)v.len, v.p,
		    cells->is_null[i]);
	if (is_null)
		return;
	if (cells->kind != cell->kind)
		fail_msg("%s: \"%.*s\": kind", type, (int)v.len, v.p);
	switch (cell->kind) {
	case MB_CELL_INT:
		same = cells->i[i] == cell->i;
		break;
	case MB_CELL_REAL:
		same = memcmp(&cells->d[i], &cell->d, sizeof cell->d) == 0;
		break;
	case MB_CELL_DECIMAL:
		same = cells->n[i] == cell->n.units;
		break;
	default:
		same = mb_str_eq(cells->text[i], cell->text);
		break;
	}
	if (!same)
		fail_msg("%s: \"%.*s\": another value (%lld)", type,
		    (int)v.len, v.p, (long long)cells->i[i]);
}

static void
cells_are_those_of_rows(void **state)
{
	static struct mb_cells cells;
	static struct made m;
	size_t n_fit = 0, n_not = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		const char *name = type_names[round % N_TYPES];
		struct mb_cell cell;
		struct mb_type type;
		struct mb_err err = { 0 };
		bool all = true;

		assert_int_equal(mb_type_parse(&type, name, &err), 0);
		make(&m, type, round % 2 == 0);
		for (size_t i = 0; i < m.views.n; i++)
			all &= fits(&cell, type, value_at(&m, i));
		if (mb_cells_set(&cells, type, m.views) != all)
			fail_msg("%s: round %d: fits? %d", name, round, all);
		*(all ? &n_fit : &n_not) += 1;
		for (size_t i = 0; all && i < m.views.n; i++) {
			assert_true(fits(&cell, type, value_at(&m, i)));
			check_cell(&cells, i, &cell, value_at(&m, i), name);
		}
	}
	assert_true(n_fit > 1000 && n_not > 300);
	mb_buf_release(&m.bytes);
}

static void
guesses_are_those_of_rows(void **state)
{
	static struct made m;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct mb_guess many = { 0 }, single = { 0 };
		struct mb_type type, got, want;
		struct mb_err err = { 0 };

		assert_int_equal(mb_type_parse(&type,
		    type_names[round % N_TYPES], &err), 0);
		for (int k = 0; k < 2; k++) {
			make(&m, type, random_bits() % 4 == 0);
			mb_guess_add_views(&many, m.views);
			for (size_t i = 0; i < m.views.n; i++)
				mb_guess_add(&single, value_at(&m, i));
		}
		got = mb_guess_type(&many);
		want = mb_guess_type(&single);
		if (!mb_type_eq(got, want) ||
		    many.has_value != single.has_value)
			fail_msg("round %d: %d, not %d", round, got.kind,
			    want.kind);
	}
	mb_buf_release(&m.bytes);
}

/*
 * Tables.
 */

struct rejects {
	struct mb_buf text;
};

static int
reject(void *arg, uint64_t number, struct mb_str record, const char *why,
    struct mb_err *err)
{
	struct rejects *r = arg;

	(void)err;
	mb_buf_addf(&r->text, "%llu %s: ", (unsigned long long)number, why);
	mb_buf_add(&r->text, record.p, record.len);
	return 0;
}

static void
read_data_file(struct mb_buf *out, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct mb_err err = { 0 };
	char path[512];
	ssize_t n;
	int fd;

	mb_buf_reset(out);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, "part-", 5) != 0)
			continue;
		assert_int_equal(out->len, 0);	/* one file */
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		do {
			mb_buf_reserve(out, 65536);
			n = mb_read_some(fd, out->p + out->len, 65536, path,
			    &err);
			assert_true(n >= 0);
			out->len += (size_t)n;
		} while (n > 0);
		close(fd);
	}
	closedir(d);
}

/* The records as one batch, `piece` bytes at a time; *text: the data file. */
static void
commit(struct mb_buf *file, struct rejects *rejects, struct mb_str records,
    const struct mb_schema_column *schema, size_t n_schema, bool in_pieces,
    bool evolves, const char *dir)
{
	static const struct mb_field fields[] = {
		{ .name = "a" }, { .name = "b" }, { .name = "c" },
	};
	struct mb_begin b = { .format = "csv", .delimiter = ',',
		.has_fields = true, .fields = fields, .n_fields = 3,
		.time_ms = 1000 };
	struct mb_sink_options o = {
		.journal = "0123456789abcdef0123456789abcdef",
		.schema = schema, .n_schema = n_schema, .reject = reject,
		.reject_arg = rejects, .codec = "none", .evolves = evolves };
	struct mb_marker was = { 0 }, now = { .exists = true };
	struct mb_sink *sink;
	struct mb_err err = { 0 };
	char target[512];
	uint64_t rows;

	memset(b.digest.hex, '7', sizeof b.digest.hex - 1);
	memcpy(now.digest.hex, b.digest.hex, sizeof now.digest.hex);
	snprintf(target, sizeof target, "delta:%s", dir);
	if (mb_sink_open(&sink, target, &o, &err) < 0 ||
	    mb_sink_begin(sink, &b, &err) < 0)
		fail_msg("%s", err.msg);
	while (records.len > 0) {
		size_t n = records.len;
		const char *end;

		/* Whole lines, too few bytes to look ahead. */
		if (in_pieces) {
			end = memchr(records.p, '\n', records.len);
			n = (size_t)(end + 1 - records.p);
		}
		if (mb_sink_add(sink, (struct mb_str){ records.p, n }, 1,
		    &err) < 0)
			fail_msg("%s", err.msg);
		records.p += n;
		records.len -= n;
	}
	if (mb_sink_stage(sink, &rows, &err) < 0 ||
	    mb_sink_commit(sink, &was, &now, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	mb_sink_close(sink);
	read_data_file(file, dir);
}

static void
add_field(struct mb_buf *out, const char *type, unsigned one_odd_in)
{
	const char *word;
	struct mb_type t;
	struct mb_err err = { 0 };

	if (random_bits() % one_odd_in == 0) {
		word = words[random_bits() % N_WORDS];
	} else if (strcmp(type, "small") == 0) {
		word = words[random_bits() % N_SMALL];
	} else {
		assert_int_equal(mb_type_parse(&t, type, &err), 0);
		word = word_of(t);
	}
	if (random_bits() % (20 * one_odd_in) == 0)
		return;
	if (strchr(word, ',') != NULL || random_bits() % 100 == 0)
		mb_buf_addf(out, "\"%s\"", word);
	else if (random_bits() % 300 == 0)
		mb_buf_addf(out, "\"a\"\"b%s\"", word);
	else
		mb_buf_adds(out, word);
}

/* A table that another has made, with a narrow column and one never null. */
static void
make_table(const char *dir, bool has_c)
{
	static const char schema[] = "{'type':'struct','fields':["
	    "{'name':'a','type':'byte','nullable':true,'metadata':{}},"
	    "{'name':'b','type':'string','nullable':false,'metadata':{}}";
	static const char c[] =
	    ",{'name':'c','type':'short','nullable':true,'metadata':{}}";
	struct mb_buf json = { 0 }, quoted = { 0 };
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/_delta_log", dir);
	assert_int_equal(mkdir(dir, 0777), 0);
	assert_int_equal(mkdir(path, 0777), 0);
	snprintf(path, sizeof path, "%s/_delta_log/%020d.json", dir, 0);
	f = fopen(path, "w");
	assert_non_null(f);
	mb_buf_addf(&json, "%s%s]}", schema, has_c ? c : "");
	for (size_t i = 0; i < json.len; i++)
		if (json.p[i] == '\'')
			json.p[i] = '"';
	mb_json_quote(&quoted, (struct mb_str){ json.p, json.len });
	fprintf(f, "{\"protocol\":{\"minReaderVersion\":1,"
	    "\"minWriterVersion\":2}}\n{\"metaData\":{\"id\":\"x\","
	    "\"format\":{\"provider\":\"parquet\",\"options\":{}},"
	    "\"schemaString\":%s,\"partitionColumns\":[],"
	    "\"configuration\":{},\"createdTime\":1}}\n",
	    mb_buf_str(&quoted));
	mb_buf_release(&json);
	mb_buf_release(&quoted);
	assert_int_equal(fclose(f), 0);
}

/* Rows many at once, and one by one: the same files, the same rejects. */
static void
tables_are_the_same(void **state)
{
	static const struct {
		const char *types[3];	/* of what comes */
		bool is_given[3];
		bool is_there;	/* the table: see make_table */
		bool evolves;
	} cases[] = {
		{ { "small", "text", "small" }, { false }, true, false },
		{ { "small", "text", "int" }, { false }, true, true },
		{ { "int", "text", "double" }, { true, true, true }, false, false },
		{ { "timestamp", "decimal(20,2)", "binary" },
		    { true, true, true }, false, false },
		{ { "bool", "date", "timestamp_ntz" }, { true, true, true }, false, false },
		{ { "int", "text", "double" }, { false, false, false }, false, false },
		{ { "int32", "timestamp", "float" }, { true, false, false }, false, false },
		{ { "date", "int", "text" }, { true, false, true }, false, false },
		{ { "int", "int", "int" }, { false, false, false }, false, false },
	};
	enum { N = sizeof cases / sizeof *cases };
	static const char *const names[] = { "a", "b", "c" };
	char path[2][128];
	struct mb_buf records = { 0 }, file[2] = { { 0 } };
	size_t n_rejects = 0;

	(void)state;
	assert_int_equal(make_place(false), 0);
	for (size_t i = 0; i < 27; i++) {
		const char *const *types = cases[i % N].types;
		unsigned one_odd_in = i % 3 == 0 ? 1000 : i % 3 == 1 ? 50 :
		    1000000;
		struct mb_schema_column schema[3];
		struct rejects rejects[2] = { { { 0 } } };
		size_t n = 0;

		for (size_t k = 0; k < 3; k++)
			if (cases[i % N].is_given[k])
				schema[n++] = (struct mb_schema_column){
					names[k], types[k] };
		mb_buf_reset(&records);
		for (size_t r = 0; r < 3000; r++) {
			for (int k = 0; k < 3; k++) {
				if (k > 0)
					mb_buf_addc(&records, ',');
				add_field(&records, types[k], one_odd_in);
			}
			mb_buf_adds(&records, random_bits() % 200 == 0 ?
			    ",x\n" : random_bits() % 100 == 0 ? "\r\n" :
			    random_bits() % 100 == 0 ? "\n\n" : "\n");
		}
		for (int k = 0; k < 2; k++) {
			snprintf(path[k], sizeof path[k], "%s/%zu.%d", place, i,
			    k);
			if (cases[i % N].is_there)
				make_table(path[k], !cases[i % N].evolves);
			commit(&file[k], &rejects[k], (struct mb_str){
			    records.p, records.len }, schema, n, k == 1,
			    cases[i % N].evolves, path[k]);
		}
		if (strcmp(mb_buf_str(&rejects[0].text),
		    mb_buf_str(&rejects[1].text)) != 0)
			fail_msg("case %zu: rejects:\n%s\nand one by one:\n"
			    "%s", i, mb_buf_str(&rejects[0].text),
			    mb_buf_str(&rejects[1].text));
		if (file[0].len != file[1].len ||
		    memcmp(file[0].p, file[1].p, file[0].len) != 0)
			fail_msg("case %zu: the files differ", i);
		n_rejects += rejects[0].text.len;
		mb_buf_release(&rejects[0].text);
		mb_buf_release(&rejects[1].text);
	}
	assert_true(n_rejects > 0);
	assert_int_equal(remove_place(), 0);
	mb_buf_release(&records);
	mb_buf_release(&file[0]);
	mb_buf_release(&file[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cells_are_those_of_rows),
		cmocka_unit_test(guesses_are_those_of_rows),
		cmocka_unit_test(tables_are_the_same),
	};

	return cmocka_run_group_tests(tests, random_seed, NULL);
}
