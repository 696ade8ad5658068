/* lib/parquet: whole files, written and read; damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "parquet/reader.h"
#include "parquet/writer.h"
#include "random.h"

static int
keep(void *arg, const void *p, size_t len, struct mb_err *err)
{
	(void)err;
	mb_buf_add(arg, p, len);
	return 0;
}

/* One reader at a time: the descriptor is the next one's, too. */
static int
put_file(const struct mb_buf *file)
{
	static int fd = -1;
	struct mb_err err = { 0 };

	if (fd < 0)
		fd = memfd_create("test_parquet_file", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    mb_write_all(fd, file->p, file->len, "memfd", &err) < 0)
		fail_msg("memfd: %s", err.msg);
	return fd;
}

static struct mb_parquet_reader *
open_reader(const struct mb_buf *file)
{
	struct mb_parquet_reader *r;
	struct mb_err err = { 0 };

	if (mb_parquet_reader_open(&r, put_file(file), "file", &err) < 0)
		fail_msg("%s", err.msg);
	return r;
}

/*
 * Every kind, optional and required, in rows that are told by their number.
 */
static const struct mb_parquet_type types[] = {
	{ MB_PARQUET_BOOL, 0, 0 }, { MB_PARQUET_INT8, 0, 0 },
	{ MB_PARQUET_INT16, 0, 0 }, { MB_PARQUET_INT32, 0, 0 },
	{ MB_PARQUET_INT64, 0, 0 }, { MB_PARQUET_FLOAT, 0, 0 },
	{ MB_PARQUET_DOUBLE, 0, 0 }, { MB_PARQUET_TEXT, 0, 0 },
	{ MB_PARQUET_BINARY, 0, 0 }, { MB_PARQUET_DATE, 0, 0 },
	{ MB_PARQUET_TIMESTAMP, 0, 0 }, { MB_PARQUET_TIMESTAMP_NTZ, 0, 0 },
	{ MB_PARQUET_DECIMAL, 9, 2 }, { MB_PARQUET_DECIMAL, 18, 0 },
	{ MB_PARQUET_DECIMAL, 38, 38 },
};

enum { N_TYPES = sizeof types / sizeof *types, N_COLUMNS = 2 * N_TYPES };

/* Row i's value of a column; false: null.  `text` holds bytes. */
static bool
make_value(size_t column, uint64_t i, union mb_parquet_value *v, char *text)
{
	struct mb_parquet_type t = types[column % N_TYPES];
	uint64_t h = (i * 2654435761u + column) % 1000;
	int64_t n = (int64_t)(h % 100) - 50;

	if (column < N_TYPES && h % 7 == 0)
		return false;
	switch (t.kind) {
	case MB_PARQUET_BOOL:
		v->i = n > 0;
		break;
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		v->d = (double)n / 4;
		break;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
		v->bytes.p = text;
		v->bytes.len = (size_t)snprintf(text, 100, "%0*d",
		    (int)(h % 90), (int)n);
		break;
	case MB_PARQUET_DECIMAL:
		v->decimal = (mb_int128)n * (mb_int128)mb_power_of_ten(
		    t.precision - 2u);
		break;
	case MB_PARQUET_INT64:
		v->i = (int64_t)(i * 3) - 100;
		break;
	default:
		v->i = n;
		break;
	}
	return true;
}

static void
make_schema(struct mb_parquet_node *nodes, char names[][16])
{
	for (size_t c = 0; c < N_COLUMNS; c++) {
		snprintf(names[c], sizeof names[c], "c%zu", c);
		nodes[c] = (struct mb_parquet_node){ .name = names[c],
			.repetition = c < N_TYPES ? MB_PARQUET_OPTIONAL :
			    MB_PARQUET_REQUIRED,
			.type = types[c % N_TYPES],
			.field_id = (int32_t)c + 1 };
	}
}

static void
put_row(struct mb_parquet_writer *w, uint64_t i)
{
	char text[128];

	for (size_t k = 0; k < N_COLUMNS; k++) {
		struct mb_parquet_column *c = mb_parquet_column(w, k);
		union mb_parquet_value v;

		if (!make_value(k, i, &v, text)) {
			mb_parquet_put_null(c);
			continue;
		}
		switch (types[k % N_TYPES].kind) {
		case MB_PARQUET_FLOAT:
		case MB_PARQUET_DOUBLE:
			mb_parquet_put_double(c, v.d);
			break;
		case MB_PARQUET_TEXT:
		case MB_PARQUET_BINARY:
			mb_parquet_put_bytes(c, v.bytes.p, v.bytes.len);
			break;
		case MB_PARQUET_DECIMAL:
			mb_parquet_put_decimal(c, v.decimal);
			break;
		default:
			mb_parquet_put_int(c, v.i);
			break;
		}
	}
}

static void
write_rows(struct mb_buf *file, struct mb_parquet_options *o, uint64_t rows,
    struct mb_parquet_stats *stats)
{
	struct mb_parquet_node nodes[N_COLUMNS];
	struct mb_parquet_writer *w;
	struct mb_parquet_file done;
	struct mb_err err = { 0 };
	char names[N_COLUMNS][16];

	make_schema(nodes, names);
	o->schema = nodes;
	o->n_schema = N_COLUMNS;
	o->version = "1.2.3";
	mb_buf_reset(file);
	assert_int_equal(mb_parquet_writer_open(&w, o, keep, file, &err), 0);
	for (uint64_t i = 0; i < rows; i++) {
		if (i % 10 == 3) {	/* half a row, and another one */
			mb_parquet_put_int(mb_parquet_column(w, 0), 1);
			mb_parquet_put_bytes(mb_parquet_column(w, 7), "x", 1);
			mb_parquet_put_decimal(mb_parquet_column(w, 14), 1);
			mb_parquet_drop_row(w);
			put_row(w, i + 1);
			mb_parquet_drop_row(w);
		}
		put_row(w, i);
		if (mb_parquet_end_row(w, &err) < 0)
			fail_msg("%s", err.msg);
	}
	if (mb_parquet_finish(w, &done, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(done.size, file->len);
	assert_int_equal(done.rows, rows);
	assert_int_equal(done.n_stats, N_COLUMNS);
	for (size_t i = 0; stats != NULL && i < N_COLUMNS; i++)
		stats[i] = done.stats[i];
	mb_parquet_writer_close(w);
}

/*
 * n rows at once, from the i-th on; the values of a column in its own array,
 * nulls among them.
 */
static void
put_many(struct mb_parquet_writer *w, uint64_t i, size_t n, size_t n_columns,
    bool make(size_t column, uint64_t i, union mb_parquet_value *v,
    char *text))
{
	enum { TEXT = 8192 };
	union mb_parquet_value v;
	struct mb_str *texts = mb_zalloc(n * sizeof *texts);
	int64_t *ints = mb_zalloc(n * sizeof *ints);
	double *doubles = mb_zalloc(n * sizeof *doubles);
	mb_int128 *decimals = mb_zalloc(n * sizeof *decimals);
	bool *is_null = mb_zalloc(n * sizeof *is_null);
	char *text = mb_alloc(n * TEXT + MB_PARQUET_SLACK);

	for (size_t k = 0; k < n_columns; k++) {
		struct mb_parquet_column *c = mb_parquet_column(w, k);
		enum mb_parquet_kind kind = types[k % N_TYPES].kind;
		const bool *nulls = is_null;
		bool any = false;

		for (size_t r = 0; r < n; r++) {
			any |= is_null[r] = !make(k, i + r, &v,
			    text + r * TEXT);
			texts[r] = is_null[r] ? (struct mb_str){ text, 9 } :
			    v.bytes;
			ints[r] = is_null[r] ? 77 : v.i;
			doubles[r] = is_null[r] ? 77 : v.d;
			decimals[r] = is_null[r] ? 77 : v.decimal;
		}
		if (!any)
			nulls = NULL;
		if (kind == MB_PARQUET_FLOAT || kind == MB_PARQUET_DOUBLE)
			mb_parquet_put_doubles(c, doubles, nulls, n);
		else if (kind == MB_PARQUET_TEXT || kind == MB_PARQUET_BINARY)
			mb_parquet_put_texts(c, texts, nulls, n);
		else if (kind == MB_PARQUET_DECIMAL)
			mb_parquet_put_decimals(c, decimals, nulls, n);
		else
			mb_parquet_put_ints(c, ints, nulls, n);
	}
	free(texts);
	free(ints);
	free(doubles);
	free(decimals);
	free(is_null);
	free(text);
}

static bool
is_equal(struct mb_parquet_type t, const union mb_parquet_value *a,
    const union mb_parquet_value *b)
{
	switch (t.kind) {
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		return a->d == b->d;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
		return mb_str_eq(a->bytes, b->bytes);
	case MB_PARQUET_DECIMAL:
		return a->decimal == b->decimal;
	default:
		return a->i == b->i;
	}
}

/* Long texts in the last column, so that few rows fill a vector. */
static bool
make_long(size_t column, uint64_t i, union mb_parquet_value *v, char *text)
{
	bool has = make_value(column, i, v, text);

	if (column == 7 && has && i / 1500 % 2 == 1) {
		memset(text, 'a' + (int)(i % 7), 5000);
		v->bytes.len = i % 5000;
	}
	return has;
}

static void
rows_at_once_make_the_same_file(void **state)
{
	enum { ROWS = 5000 };
	struct mb_parquet_options o = { .group_bytes = 200000,
		.page_bytes = 20000, .version = "1.2.3",
		.codec = MB_PARQUET_CODEC_SNAPPY };
	struct mb_parquet_node nodes[N_COLUMNS];
	struct mb_buf file[2] = { { 0 } };
	struct mb_parquet_file done;
	struct mb_err err = { 0 };
	char names[N_COLUMNS][16];

	(void)state;
	make_schema(nodes, names);
	o.schema = nodes;
	o.n_schema = N_COLUMNS;
	for (int many = 0; many < 2; many++) {
		struct mb_parquet_writer *w;

		assert_int_equal(mb_parquet_writer_open(&w, &o, keep,
		    &file[many], &err), 0);
		for (uint64_t i = 0, n; i < ROWS; i += n) {
			n = many ? 1 + random_bits() % 300 : 1;
			n = n < ROWS - i ? n : ROWS - i;
			if (random_bits() % 10 == 0) {
				put_many(w, i, n, N_COLUMNS / 2, make_value);
				mb_parquet_drop_row(w);
			}
			put_many(w, i, n, N_COLUMNS, make_long);
			/* alone or together: both end rows */
			if (n == 1 ? mb_parquet_end_row(w, &err) < 0 :
			    mb_parquet_end_rows(w, n, &err) < 0)
				fail_msg("%s", err.msg);
		}
		assert_int_equal(mb_parquet_finish(w, &done, &err), 0);
		assert_true(done.n_groups > 3);
		mb_parquet_writer_close(w);
	}
	assert_int_equal(file[0].len, file[1].len);
	assert_memory_equal(file[0].p, file[1].p, file[0].len);
	mb_buf_release(&file[0]);
	mb_buf_release(&file[1]);
}

/*
 * Whether a dictionary pays shows in the size: n values of which so many are
 * different.
 */
static void
a_dictionary_is_there_where_it_pays(void **state)
{
	static const struct {
		uint32_t n, distinct;
		size_t least, most;	/* bytes of the file */
	} cases[] = {
		{ 600000, 1000, 700000, 850000 },	/* 10 bits each */
		{ 600000, 100000, 2000000, 2200000 },	/* 17 and 800 kB */
		{ 600000, 600000, 4800000, 4900000 },	/* as they are */
		{ 20000, 20000, 160000, 161000 },
		{ 20000, 5000, 70000, 76000 },
	};
	struct mb_parquet_node node = { .name = "c",
		.type = { MB_PARQUET_INT64, 0, 0 } };
	struct mb_parquet_options o = { .schema = &node, .n_schema = 1,
		.version = "1.2.3", .codec = MB_PARQUET_CODEC_NONE };
	struct mb_buf file = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_parquet_writer *w;
		struct mb_parquet_file done;
		struct mb_err err = { 0 };

		mb_buf_reset(&file);
		assert_int_equal(mb_parquet_writer_open(&w, &o, keep, &file,
		    &err), 0);
		for (uint32_t k = 0; k < cases[i].n; k++) {
			/* all of them in the end, none in order */
			uint64_t v = cases[i].n == cases[i].distinct ? k :
			    random_bits() % cases[i].distinct;

			v *= 0x9e3779b97f4a7c15u;
			v = (v ^ v >> 32) * 0x9e3779b97f4a7c15u;
			mb_parquet_put_int(mb_parquet_column(w, 0),
			    (int64_t)v);
			assert_int_equal(mb_parquet_end_row(w, &err), 0);
		}
		assert_int_equal(mb_parquet_finish(w, &done, &err), 0);
		mb_parquet_writer_close(w);
		if (file.len < cases[i].least || file.len > cases[i].most)
			fail_msg("%u of %u: %zu bytes", cases[i].distinct,
			    cases[i].n, file.len);
	}
	mb_buf_release(&file);
}

static uint64_t
count_rows(const struct mb_parquet_reader *r)
{
	uint64_t n = 0;

	for (size_t g = 0; g < mb_parquet_n_groups(r); g++)
		n += mb_parquet_group_rows(r, g);
	return n;
}

static void
check_column(struct mb_parquet_reader *r, size_t column)
{
	struct mb_parquet_type t = types[column % N_TYPES];
	uint64_t i = 0;
	char text[128];

	for (size_t g = 0; g < mb_parquet_n_groups(r); g++) {
		struct mb_parquet_cursor *c;
		struct mb_parquet_entries e;
		struct mb_err err = { 0 };
		int rc;

		assert_int_equal(mb_parquet_cursor_open(&c, r, column, g,
		    &err), 0);
		for (; (rc = mb_parquet_cursor_row(c, &e, &err)) > 0; i++) {
			union mb_parquet_value v;
			bool has = make_value(column, i, &v, text);

			assert_int_equal(e.n, 1);
			if (has != (e.v->level == (column < N_TYPES)) ||
			    (has && !is_equal(t, &v, &e.v->value)))
				fail_msg("column %zu, row %llu", column,
				    (unsigned long long)i);
		}
		if (rc < 0)
			fail_msg("%s", err.msg);
		mb_parquet_cursor_close(c);
	}
	assert_int_equal(i, count_rows(r));
}

static void
what_is_written_is_read(void **state)
{
	static const struct {
		uint64_t rows;
		size_t page, group;
	} cases[] = {
		{ 0, 0, 0 }, { 1, 0, 0 }, { 999, 0, 0 }, { 1024, 0, 0 },
		{ 5000, 1000, 0 }, { 9000, 3000, 400000 }, { 150000, 0, 0 },
	};
	static const enum mb_parquet_codec codecs[] = {
		MB_PARQUET_CODEC_NONE, MB_PARQUET_CODEC_SNAPPY,
		MB_PARQUET_CODEC_GZIP,
	};
	struct mb_buf file = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_parquet_options o = { .codec = i % 2 == 0 ?
			mb_parquet_best_codec() : codecs[i / 2 % 3],
			.page_bytes = cases[i].page,
			.group_bytes = cases[i].group };
		struct mb_parquet_reader *r;

		write_rows(&file, &o, cases[i].rows, NULL);
		r = open_reader(&file);
		assert_int_equal(count_rows(r), cases[i].rows);
		assert_int_equal(mb_parquet_n_leaves(r), N_COLUMNS);
		if (cases[i].group > 0)
			assert_true(mb_parquet_n_groups(r) > 2);
		assert_non_null(memmem(file.p, file.len,
		    "mb version 1.2.3 (build 0)", 26));
		for (size_t c = 0; c < N_COLUMNS; c++) {
			const struct mb_parquet_leaf *l = mb_parquet_leaf(r,
			    c);

			assert_int_equal(l->type.kind,
			    types[c % N_TYPES].kind);
			assert_int_equal(l->type.precision,
			    types[c % N_TYPES].precision);
			assert_int_equal(l->type.scale,
			    types[c % N_TYPES].scale);
			assert_int_equal(l->field_id, c + 1);
			assert_int_equal(l->top, c < N_TYPES);
			check_column(r, c);
		}
		mb_parquet_reader_close(r);
	}
	mb_buf_release(&file);
}

/* The bounds of the footer, those given back and the truth. */
static void
bounds_are_the_least_and_greatest(void **state)
{
	enum { ROWS = 6000 };
	struct mb_parquet_options o = { .page_bytes = 4000,
		.codec = MB_PARQUET_CODEC_NONE };
	struct mb_parquet_stats stats[N_COLUMNS];
	struct mb_buf file = { 0 };
	struct mb_parquet_reader *r;

	(void)state;
	write_rows(&file, &o, ROWS, stats);
	r = open_reader(&file);
	assert_int_equal(mb_parquet_n_groups(r), 1);
	for (size_t c = 0; c < N_COLUMNS; c++) {
		struct mb_parquet_claims claims;
		union mb_parquet_value v;
		uint64_t nulls = 0;
		char text[128];
		bool is_bytes = types[c % N_TYPES].kind == MB_PARQUET_TEXT ||
		    types[c % N_TYPES].kind == MB_PARQUET_BINARY;

		mb_parquet_claims(r, c, 0, &claims);
		for (uint64_t i = 0; i < ROWS; i++)
			nulls += !make_value(c, i, &v, text);
		assert_true(claims.has_null_count && claims.has_bounds);
		assert_int_equal(claims.null_count, nulls);
		assert_int_equal(stats[c].n_nulls, nulls);
		assert_int_equal(stats[c].n_entries, ROWS);
		assert_true(stats[c].has_bounds);
		/* Stats of bytes went with the writer. */
		if (!is_bytes) {
			assert_true(is_equal(types[c % N_TYPES],
			    &claims.min, &stats[c].min));
			assert_true(is_equal(types[c % N_TYPES],
			    &claims.max, &stats[c].max));
		}
		for (uint64_t i = 0; i < ROWS; i++) {
			bool bound = true;

			if (!make_value(c, i, &v, text))
				continue;
			if (types[c % N_TYPES].kind == MB_PARQUET_DECIMAL)
				bound = claims.min.decimal <= v.decimal &&
				    v.decimal <= claims.max.decimal;
			else if (types[c % N_TYPES].kind == MB_PARQUET_FLOAT ||
			    types[c % N_TYPES].kind == MB_PARQUET_DOUBLE)
				bound = claims.min.d <= v.d &&
				    v.d <= claims.max.d;
			else if (!is_bytes)
				bound = claims.min.i <= v.i &&
				    v.i <= claims.max.i;
			assert_true(bound);
		}
	}
	mb_parquet_reader_close(r);
	mb_buf_release(&file);
}

/*
 * One column of one row group: what its statistics say.
 */
static void
bounds_of_hard_values(void **state)
{
	static const struct {
		double v[4];
		size_t n;
		uint64_t nans;
		bool has;
		double min, max;
	} cases[] = {
		{ { NAN, NAN }, 2, 2, false, 0, 0 },
		{ { NAN, 1, NAN, -1 }, 4, 2, true, -1, 1 },
		{ { 0.0, 0.0 }, 2, 0, true, -0.0, 0.0 },
		{ { -0.0, -0.0 }, 2, 0, true, -0.0, 0.0 },
		{ { -0.0, 0.0, 3 }, 3, 0, true, -0.0, 3 },
		{ { -5, -0.0 }, 2, 0, true, -5, 0.0 },
		{ { INFINITY, -INFINITY, NAN }, 3, 1, true, -INFINITY,
		    INFINITY },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int kind = 0; kind < 4; kind++) {
			struct mb_parquet_node node = { .name = "d",
				.type = { kind % 2 == 0 ?
				    MB_PARQUET_DOUBLE : MB_PARQUET_FLOAT,
				    0, 0 } };
			/* in one page, or in several */
			struct mb_parquet_options o = { .schema = &node,
				.n_schema = 1, .version = "0",
				.page_bytes = kind < 2 ? 0 : 8 };
			struct mb_parquet_claims claims;
			struct mb_parquet_writer *w;
			struct mb_parquet_reader *r;
			struct mb_parquet_file done;
			struct mb_buf file = { 0 };
			struct mb_err err = { 0 };

			assert_int_equal(mb_parquet_writer_open(&w, &o, keep,
			    &file, &err), 0);
			for (size_t k = 0; k < cases[i].n; k++) {
				mb_parquet_put_double(mb_parquet_column(w,
				    0), cases[i].v[k]);
				assert_int_equal(mb_parquet_end_row(w, &err),
				    0);
			}
			assert_int_equal(mb_parquet_finish(w, &done, &err),
			    0);
			r = open_reader(&file);
			mb_parquet_claims(r, 0, 0, &claims);
			assert_int_equal(done.stats[0].n_nans, cases[i].nans);
			assert_int_equal(done.stats[0].has_bounds,
			    cases[i].has);
			assert_int_equal(claims.has_bounds, cases[i].has);
			if (cases[i].has) {
				assert_memory_equal(&done.stats[0].min.d,
				    &cases[i].min, sizeof(double));
				assert_memory_equal(&done.stats[0].max.d,
				    &cases[i].max, sizeof(double));
				assert_memory_equal(&claims.min.d,
				    &cases[i].min, sizeof(double));
				assert_memory_equal(&claims.max.d,
				    &cases[i].max, sizeof(double));
			}
			mb_parquet_reader_close(r);
			mb_parquet_writer_close(w);
			mb_buf_release(&file);
		}
}

static void
schemas_that_cant_be_are_refused(void **state)
{
	static const struct {
		struct mb_parquet_node v[4];
		size_t n;
		enum mb_code code;
		const char *msg;
	} cases[] = {
		{ { { .name = "" } }, 0, MB_EUSAGE, "a table needs a column" },
		{ { { .name = "a" }, { .name = "b" }, { .name = "A" } }, 3,
		    MB_EUSAGE, "two columns of one name: a and A" },
		{ { { .name = "a", .type = { MB_PARQUET_DECIMAL, 39, 0 } } },
		    1, MB_EUSAGE, "column a: there is no such type" },
		{ { { .name = "a", .type = { MB_PARQUET_DECIMAL, 3, 4 } } },
		    1, MB_EUSAGE, "column a: there is no such type" },
		{ { { .name = "a", .type = { MB_PARQUET_DECIMAL, 0, 0 } } },
		    1, MB_EUSAGE, "column a: there is no such type" },
		{ { { .name = "a", .n_children = 1 } }, 1, MB_EBUG,
		    "schema: a group lacks children" },
		{ { { .name = "l", .n_children = 1,
		    .repetition = MB_PARQUET_REPEATED }, { .name = "m",
		    .repetition = MB_PARQUET_REPEATED } }, 2, MB_EUSAGE,
		    "column m: a list in a list" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_parquet_options o = { .schema = cases[i].v,
			.n_schema = cases[i].n, .version = "0" };
		struct mb_parquet_writer *w;
		struct mb_err err = { 0 };

		assert_int_equal(mb_parquet_writer_open(&w, &o, keep, NULL,
		    &err), -1);
		assert_int_equal(err.code, cases[i].code);
		/* sorting may turn the two around */
		if (strcmp(err.msg, cases[i].msg) != 0 &&
		    strcmp(err.msg, "two columns of one name: A and a") != 0)
			fail_msg("case %zu: %s", i, err.msg);
	}
}

static void
mistakes_of_the_caller_are_noticed(void **state)
{
	static const struct mb_parquet_node nodes[] = {
		{ .name = "a", .type = { MB_PARQUET_INT8, 0, 0 } },
		{ .name = "b", .repetition = MB_PARQUET_OPTIONAL,
		    .type = { MB_PARQUET_BOOL, 0, 0 } },
	};
	static const struct {
		int64_t a, b;	/* -1000: null; -2000: nothing */
		bool good;
	} cases[] = {
		{ 1, 1, true }, { -128, -1000, true }, { 127, 0, true },
		{ 128, 0, false }, { -129, 0, false }, { 0, 2, false },
		{ -1000, 0, false }, { -2000, 0, false }, { 0, -2000, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_parquet_options o = { .schema = nodes,
			.n_schema = 2, .version = "0" };
		struct mb_parquet_writer *w;
		struct mb_parquet_file done;
		struct mb_buf file = { 0 };
		struct mb_err err = { 0 };
		int rc;

		assert_int_equal(mb_parquet_writer_open(&w, &o, keep, &file,
		    &err), 0);
		for (size_t k = 0; k < 2; k++) {
			int64_t v = k == 0 ? cases[i].a : cases[i].b;

			if (v == -1000)
				mb_parquet_put_null(mb_parquet_column(w, k));
			else if (v != -2000)
				mb_parquet_put_int(mb_parquet_column(w, k),
				    v);
		}
		rc = mb_parquet_end_row(w, &err);
		if (rc == 0)
			rc = mb_parquet_finish(w, &done, &err);
		if ((rc == 0) != cases[i].good ||
		    (rc < 0 && err.code != MB_EBUG))
			fail_msg("case %zu: %s", i, err.msg);
		mb_parquet_writer_close(w);
		mb_buf_release(&file);
	}
}

static int
refuse_after(void *arg, const void *p, size_t len, struct mb_err *err)
{
	size_t *left = arg;

	(void)p;
	if (len > *left)
		return mb_fail(err, MB_EIO, "disk full");
	*left -= len;
	return 0;
}

static void
a_full_disk_is_said(void **state)
{
	static const struct mb_parquet_node node = { .name = "a",
		.type = { MB_PARQUET_INT64, 0, 0 } };
	struct mb_parquet_options o = { .schema = &node, .n_schema = 1,
		.version = "0", .group_bytes = 10000,
		.codec = MB_PARQUET_CODEC_NONE };
	size_t room = 0, left;
	bool survived = false;

	(void)state;
	for (; !survived; room += 60) {
		struct mb_parquet_writer *w;
		struct mb_parquet_file done;
		struct mb_err err = { 0 };
		int rc = 0;

		left = room;
		assert_int_equal(mb_parquet_writer_open(&w, &o, refuse_after,
		    &left, &err), 0);
		for (int i = 0; i < 5000 && rc == 0; i++) {
			mb_parquet_put_int(mb_parquet_column(w, 0), i);
			rc = mb_parquet_end_row(w, &err);
		}
		if (rc == 0)
			rc = mb_parquet_finish(w, &done, &err);
		survived = rc == 0;
		assert_int_equal(err.code, survived ? MB_OK : MB_EIO);
		mb_parquet_writer_close(w);
	}
	assert_in_range(room, 500, 5000);
}

/* Read all that can be read, and nothing behind it; 0, or the first error. */
static void
read_all(const struct mb_buf *file, struct mb_err *err)
{
	struct mb_parquet_reader *r;
	struct mb_parquet_cursor *c;
	struct mb_parquet_entries e;
	int rc = 0;

	if (mb_parquet_reader_open(&r, put_file(file), "file", err) < 0)
		return;
	for (size_t g = 0; rc == 0 && g < mb_parquet_n_groups(r); g++)
		for (size_t i = 0; rc == 0 && i < mb_parquet_n_leaves(r);
		    i++) {
			rc = mb_parquet_cursor_open(&c, r, i, g, err);
			if (rc < 0)
				break;
			while ((rc = mb_parquet_cursor_row(c, &e, err)) > 0)
				;
			mb_parquet_cursor_close(c);
		}
	mb_parquet_reader_close(r);
	assert_null(strstr(err->msg, "has become shorter"));
}

static void
damage_is_noticed_and_placed(void **state)
{
	struct mb_parquet_options o = { .codec = mb_parquet_best_codec() };
	struct mb_buf file = { 0 }, copy = { 0 };
	size_t pages_end, bits = 0, tried = 0;
	uint32_t footer;

	(void)state;
	write_rows(&file, &o, 60, NULL);
	/* cut anywhere */
	for (size_t len = 0; len < file.len; len += 1 + len / 20) {
		struct mb_err err = { 0 };

		mb_buf_reset(&copy);
		mb_buf_add(&copy, file.p, len);
		read_all(&copy, &err);
		assert_int_equal(err.code, MB_EDATA);
		assert_int_equal(strncmp(err.msg, "file: ", 6), 0);
	}
	/* any bit of a page; checksums see all but what headers don't need */
	memcpy(&footer, file.p + file.len - 8, 4);
	pages_end = file.len - 8 - footer;
	for (size_t at = 4; at < file.len; at += 1 + random_bits() % 19) {
		struct mb_err err = { 0 };

		mb_buf_reset(&copy);
		mb_buf_add(&copy, file.p, file.len);
		copy.p[at] = (char)(copy.p[at] ^ 1 << random_bits() % 8);
		read_all(&copy, &err);
		tried += at < pages_end;
		if (err.code == MB_OK)
			continue;
		/* The footer may now name a codec that we were built without. */
		if (at < pages_end || err.code != MB_EUSAGE)
			assert_int_equal(err.code, MB_EDATA);
		assert_int_equal(strncmp(err.msg, "file: ", 6), 0);
		if (at < pages_end) {
			bits++;
			assert_non_null(strstr(err.msg, "at byte "));
		}
	}
	assert_true(bits > tried * 9 / 10);
	mb_buf_release(&file);
	mb_buf_release(&copy);
}

/* All entries of all leaves, as text. */
static void
dump_file(const char *path, struct mb_buf *out)
{
	struct mb_parquet_reader *r;
	struct mb_err err = { 0 };
	int fd = mb_openat(AT_FDCWD, path, O_RDONLY, 0);

	mb_buf_reset(out);
	assert_true(fd >= 0);
	if (mb_parquet_reader_open(&r, fd, path, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < mb_parquet_n_leaves(r); i++)
		for (size_t g = 0; g < mb_parquet_n_groups(r); g++) {
			const struct mb_parquet_leaf *l = mb_parquet_leaf(r,
			    i);
			struct mb_parquet_cursor *c;
			struct mb_parquet_entries e;
			int rc;

			if (mb_parquet_cursor_open(&c, r, i, g, &err) < 0)
				fail_msg("%s", err.msg);
			while ((rc = mb_parquet_cursor_row(c, &e, &err)) > 0) {
				for (size_t k = 0; k < e.n; k++)
					if (e.v[k].level < l->top)
						mb_buf_addf(out, "%u,",
						    e.v[k].level);
					else if (l->type.kind ==
					    MB_PARQUET_TEXT)
						mb_buf_addf(out, "=%.*s,",
						    (int)e.v[k].value.bytes.len,
						    e.v[k].value.bytes.p);
					else if (l->type.kind ==
					    MB_PARQUET_DOUBLE)
						mb_buf_addf(out, "=%.17g,",
						    e.v[k].value.d);
					else
						mb_buf_addf(out, "=%lld,",
						    (long long)
						    e.v[k].value.i);
				mb_buf_addc(out, ' ');
			}
			if (rc < 0)
				fail_msg("%s", err.msg);
			mb_parquet_cursor_close(c);
		}
	mb_parquet_reader_close(r);
	close(fd);
}

/* The same table in every encoding, codec and page version. */
static void
foreign_files_say_the_same(void **state)
{
	static const char *const flat[] = { "flat-v2", "delta-v1", "delta-v2",
		"snappy", "gzip", "zstd", "lz4" };
	struct mb_buf want = { 0 }, got = { 0 }, path = { 0 };

	(void)state;
	dump_file("tests/vectors/parquet/flat-v1.parquet", &want);
	assert_int_equal(strncmp(want.p, "=-7, =993, =1993, =2993, 0, =4993, ",
	    35), 0);
	for (size_t i = 0; i < sizeof flat / sizeof *flat; i++) {
		if (strcmp(flat[i], "zstd") == 0 &&
		    mb_parquet_best_codec() != MB_PARQUET_CODEC_ZSTD)
			continue;
		mb_buf_reset(&path);
		mb_buf_addf(&path, "tests/vectors/parquet/%s.parquet",
		    flat[i]);
		dump_file(mb_buf_str(&path), &got);
		assert_string_equal(mb_buf_str(&want), mb_buf_str(&got));
	}
	dump_file("tests/vectors/parquet/nested-v1.parquet", &want);
	dump_file("tests/vectors/parquet/nested-v2.parquet", &got);
	assert_string_equal(mb_buf_str(&want), mb_buf_str(&got));
	/* l: i % 4 elements, none at all for row 3 */
	assert_int_equal(strncmp(want.p, "1, =0, =0,=1, 0, 1, =0, =0,=1, "
	    "=0,=1,=2, 1, ", 43), 0);
	mb_buf_release(&want);
	mb_buf_release(&got);
	mb_buf_release(&path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_at_once_make_the_same_file),
		cmocka_unit_test(a_dictionary_is_there_where_it_pays),
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(bounds_are_the_least_and_greatest),
		cmocka_unit_test(bounds_of_hard_values),
		cmocka_unit_test(schemas_that_cant_be_are_refused),
		cmocka_unit_test(mistakes_of_the_caller_are_noticed),
		cmocka_unit_test(a_full_disk_is_said),
		cmocka_unit_test(damage_is_noticed_and_placed),
		cmocka_unit_test(foreign_files_say_the_same),
	};

	return cmocka_run_group_tests(tests, random_seed, NULL);
}
