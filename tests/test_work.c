#include "agg/query.h"
#include "agg/reject.h"
#include "agg/work.h"
#include "base/io.h"
#include "record/marks.h"
#include "record/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agg_help.h"
#include "new_seed.h"

/* The piece that says: from a file, as far as the threads may read it. */
enum { FROM_FILE = 2 };

/* Let the threads read what follows *rest; where they came to. */
static void
read_work(struct mb_buf *out, struct mb_work *w, struct mb_str data, int fd,
    struct mb_str *rest)
{
	struct mb_span span = { .fd = fd, .name = "file",
		.pos = (uint64_t)(rest->p - data.p), .end = data.len };
	struct mb_err err = { 0 };
	const char *control;
	int rc;

	do {
		rc = mb_work_read(w, &span, &err);
		if (rc < 0)
			fail_msg("%s", err.msg);
		mb_buf_add(out, mb_work_rows(w)->p, mb_work_rows(w)->len);
		mb_buf_reset(mb_work_rows(w));
	} while (rc > 0);
	/* It is for others to say what such a line is. */
	control = memmem(rest->p, data.len - (size_t)(rest->p - data.p),
	    "\n\x1e{\"mb\":", 8);
	assert_true(span.pos <= (control == NULL ? data.len :
	    (size_t)(control + 1 - data.p)));
	*rest = (struct mb_str){ data.p + span.pos, 0 };
}

static int
file_of(struct mb_str data)
{
	struct mb_err err = { 0 };
	int fd = memfd_create("test_agg", MFD_CLOEXEC);

	if (fd < 0 || mb_write_all(fd, data.p, data.len, "memfd", &err) < 0)
		fail_msg("memfd: %s", err.msg);
	return fd;
}

/* What a query makes of bytes that come in pieces, by n threads. */
static void
run_work(struct mb_buf *out, const struct mb_query *q,
    const struct mb_work_config *base, const struct mb_stream *s,
    struct mb_str data, unsigned n_threads, size_t piece)
{
	struct mb_work_config cfg = *base;
	const struct mb_row_reject *rejects;
	struct mb_err err = { 0 };
	struct mb_value values[32 * MB_ROWS];
	struct mb_str names[32], rest = { data.p, 0 };
	struct mb_work_counts counts;
	const char *end = data.p + data.len;
	struct mb_work *w;
	size_t n;
	int rc, fd = piece == FROM_FILE ? file_of(data) : -1;

	cfg.query = q;
	cfg.n_threads = n_threads;
	cfg.keeps_rejects = true;
	if (mb_work_open(&w, &cfg, &err) < 0)
		fail_msg("%s", err.msg);
	/* A batch before it must leave no trace. */
	for (int round = n_threads == 2; round < 2; round++) {
		mb_buf_reset(out);
		mb_work_reset(w);
		rest = (struct mb_str){ data.p, 0 };
		if (mb_work_begin(w, s, &err) < 0)
			fail_msg("%s", err.msg);
		for (;;) {
			bool is_last;

			n = piece > FROM_FILE ? piece :
			    (size_t)rand() % 700000;
			if (n > (size_t)(end - rest.p) - rest.len)
				n = (size_t)(end - rest.p) - rest.len;
			rest.len += n;
			is_last = rest.p + rest.len == end;
			if (mb_work_feed(w, &rest, is_last, &err) < 0)
				fail_msg("%s", err.msg);
			/* Beyond the limit nothing is kept. */
			assert_true(rest.len <= MB_RECORD_LIMIT + 1000000);
			mb_buf_add(out, mb_work_rows(w)->p,
			    mb_work_rows(w)->len);
			mb_buf_reset(mb_work_rows(w));
			if (is_last)
				break;
			if (fd >= 0 && mb_work_may_read(w))
				read_work(out, w, data, fd, &rest);
		}
		assert_int_equal(rest.len, 0);
		if (mb_work_finish(w, false, &err) < 0)
			fail_msg("%s", err.msg);
		for (size_t i = 0; i < 32; i++)
			names[i] = MB_STR("x");
		if (mb_query_aggregates(q)) {
			while ((rc = mb_work_next(w, values, q->n_keys +
			    q->n_aggs, &err)) > 0)
				for (size_t i = 0; i < (size_t)rc; i++)
					mb_write_row(out, cfg.out_format, ',',
					    names, values + i * (q->n_keys +
					    q->n_aggs), q->n_keys + q->n_aggs);
			if (rc < 0)
				fail_msg("%s", err.msg);
		}
		rejects = mb_work_rejects(w, &n);
		for (size_t i = 0; i < n; i++)
			mb_buf_addf(out, "reject %llu at %llu to %llu: %s: "
			    "%.*s\n", (unsigned long long)rejects[i].number,
			    (unsigned long long)rejects[i].off,
			    (unsigned long long)rejects[i].end,
			    rejects[i].reason,
			    (int)rejects[i].data.len, rejects[i].data.p);
		counts = mb_work_counts(w);
		assert_int_equal(counts.n_rejects, n);
		mb_buf_addf(out, "%llu records, %llu passed; saw",
		    (unsigned long long)counts.n_records,
		    (unsigned long long)counts.n_passed);
		for (size_t i = 0; i < q->fields.n; i++)
			mb_buf_adds(out, mb_work_saw(w, i) ? " 1" : " 0");
		mb_buf_addc(out, '\n');
	}
	mb_work_close(w);
	if (fd >= 0)
		close(fd);
}

static void
random_csv(struct mb_buf *out, int n)
{
	for (int i = 0; i < n; i++) {
		char x[64];
		int kind = rand() % 200;

		mb_buf_addf(out, "%d,", rand() % 50);
		if (kind < 20)
			mb_buf_addf(out, "\"a\nb %d, \"\"c\"\"\"",
			    rand() % 3);
		else if (kind == 20)
			mb_buf_adds(out, "stray \" quote");
		else
			mb_buf_addf(out, "text %d", rand() % 10);
		mb_buf_addc(out, ',');
		if (kind == 21)
			mb_buf_adds(out, "NA");
		else if (kind == 22)
			mb_buf_adds(out, "1,2");
		else if (kind > 25)
			mb_buf_adds(out, random_number(x, sizeof x));
		mb_buf_adds(out, kind % 7 == 0 ? "\r\n" : "\n");
		if (kind == 23)
			mb_buf_adds(out, "\n\n");
		if (kind == 24 && i % 3 == 0)
			for (int k = 0; k < 9000; k++)
				mb_buf_addc(out, 'L');
	}
	mb_buf_adds(out, "7,last without newline,1");
}

static void
random_ndjson(struct mb_buf *out, int n)
{
	for (int i = 0; i < n; i++) {
		char x[64];

		if (rand() % 100 == 0)
			mb_buf_adds(out, "{\"k\":1,");
		else
			mb_buf_addf(out, "{\"k\":%d,\"s\":\"text %d\\n\","
			    "\"x\":%s,\"o\":{\"p\":[1, 2]}}", rand() % 50,
			    rand() % 10,
			    rand() % 50 ? random_number(x, sizeof x) :
			    "\"NA\"");
		mb_buf_addc(out, '\n');
	}
}

/*
 * The same bytes for every number of threads and set of instructions, however
 * the input comes, as record by record.
 */
static void
test_threads(void **state)
{
	static const struct {
		const char *keys, *aggs, *where;
	} queries[] = {
		{ "k", "count,sum:x,avg:x,min:x,max:x,var:x,distinct:s,"
		    "first:s,last:s", NULL },
		{ "s", "count,sum:x", "k > 10 and s !~ '3'" },
		{ NULL, "count,stddev:x", NULL },
		{ NULL, NULL, "k in (3, 4, 5) or x is null" },
		{ NULL, NULL, NULL },
	};
	static const struct {
		unsigned n_threads;
		enum mb_isa isa;
		size_t piece;		/* 0: random, 1: all at once */
	} ways[] = {
		{ 1, MB_ISA_PORTABLE, 0 }, { 2, MB_ISA_BEST, 300000 },
		{ 7, MB_ISA_AVX2, 1 }, { 7, MB_ISA_BEST, FROM_FILE },
		{ 7, MB_ISA_NEON, 0 },
		{ 1, MB_ISA_AVX512, 70000 }, { 2, MB_ISA_NONE, 0 },
		{ 1, MB_ISA_BEST, FROM_FILE }, { 2, MB_ISA_BEST, FROM_FILE },
	};
	static const struct {
		enum mb_format in, out;
		bool has_header, is_stamped;
	} shapes[] = {
		{ MB_CSV, MB_CSV, true, false },
		{ MB_CSV, MB_NDJSON, true, true },
		{ MB_CSV, MB_CSV, true, true },
		{ MB_NDJSON, MB_NDJSON, false, false },
		{ MB_NDJSON, MB_CSV, false, false },
		{ MB_NDJSON, MB_NDJSON, false, true },
	};
	struct mb_buf csv = { 0 }, ndjson = { 0 }, want = { 0 }, got = { 0 };
	struct mb_names header = { 0 };
	struct mb_place place = { .from = 0, .source = "in", .start = 0 };

	(void)state;
	new_seed();
	mb_names_add(&header, MB_STR("k"));
	mb_names_add(&header, MB_STR("s"));
	mb_names_add(&header, MB_STR("x"));
	random_csv(&csv, 100000);
	random_ndjson(&ndjson, 40000);
	assert_true(csv.len > 5 << 18 && ndjson.len > 9 << 17);
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		for (size_t k = 0; k < sizeof queries / sizeof *queries; k++) {
			struct mb_query q = { 0 };
			struct mb_stream s = { .format = shapes[i].in,
				.delimiter = ',', .record_limit = 8192,
				.places = &place, .n_places = 1,
				.batch = "3", .batch_time = "T" };
			struct mb_work_config cfg = {
				.out_format = shapes[i].out,
				.out_delimiter = ',',
				.is_stamped = shapes[i].is_stamped };
			struct mb_buf *in = shapes[i].in == MB_CSV ? &csv :
			    &ndjson;
			struct mb_str data = { in->p, in->len };
			char what[80];

			/* Groups don't depend on what rows would look like. */
			if (i > 0 && i != 3 && queries[k].aggs != NULL)
				continue;
			if (shapes[i].has_header)
				s.header = &header;
			make_query(&q, queries[k].keys, queries[k].aggs,
			    queries[k].where);
			/* Below the reach nobody looks ahead. */
			if (k % 2 == 0)
				s.record_limit = MB_MARKS_REACH;
			cfg.isa = MB_ISA_NONE;
			run_work(&want, &q, &cfg, &s, data, 1, data.len);
			assert_true(want.len > 1000 || k == 2);
			for (size_t n = 0; n < sizeof ways / sizeof *ways;
			    n++) {
				/* Records passed through know no sets. */
				if (!mb_isa_is_there(ways[n].isa) ||
				    (n > 3 && queries[k].aggs == NULL))
					continue;
				cfg.isa = ways[n].isa;
				run_work(&got, &q, &cfg, &s, data,
				    ways[n].n_threads, ways[n].piece == 1 ?
				    data.len : ways[n].piece);
				snprintf(what, sizeof what, "shape %zu, query "
				    "%zu, way %zu", i, k, n);
				assert_same(&got, &want, what);
			}
			mb_query_release(&q);
		}
	mb_buf_release(&csv);
	mb_buf_release(&ndjson);
	mb_buf_release(&want);
	mb_buf_release(&got);
	mb_names_release(&header);
}

/* Among ordinary lines, and often enough to be learned: as one by one. */
static void
test_odd_lines(void **state)
{
	static const char *const lines[] = {
		/* libFuzzer found that this was taken for a record */
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"{}", " {}", "{\"x\":1}\r", "{\"x\":1} ", "{\"x\":01}",
		"{\"x\":1.}", "{\"x\":-}", "{\"x\":tru}", "{\"x\":12345678}",
		"{\"x\":1,\"x\":2}", "{\"x\":1,\"x\":null}", "{\"x\":\"\"}",
		"{\"o\":{\"p\":1},\"o\":{\"q\":2},\"x\":3}",
		"{\"o\":{\"p\":1},\"o\":4,\"x\":3}",
		"{\"o.p\":5,\"o\":{\"p\":1}}", "{\"o\":{\"p\":1},\"o.p\":5}",
		"{\"o\":[{\"p\":1}]}", "{\"o\":{\"p\":{}}}", "{\"o\":{\"p\":[]}}",
		"{\"o\":{\"p\":\"a\\\"b\"}}", "{\"\\u006f\":{\"p\":1}}",
		"{\"o\":{\"p\":\"\xc3\xa9\"}}", "{\"o\":{\"p\":\"\xc3\"}}",
		"{\"o\":{\"p\":1}}}", "{\"o\":{\"p\":1}", "{\"x\":1},",
		"[{\"x\":1}]", "{\"o\":{\"p\":\"tab\there\"}}",
		"{\"a key of more than sixteen bytes, and more\":1,\"x\":2}",
	};
	struct mb_buf in = { 0 }, want = { 0 }, got = { 0 };
	struct mb_query q = { 0 };
	struct mb_stream s = { .format = MB_NDJSON };
	struct mb_work_config cfg = { .out_format = MB_NDJSON };

	(void)state;
	make_query(&q, "o.p", "count,sum:x,last:x", NULL);
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		mb_buf_reset(&in);
		for (int n = 0; n < 300; n++) {
			mb_buf_adds(&in, "{\"o\":{\"p\":1},\"x\":2.5}\n");
			if (n % 60 != 59)
				continue;
			mb_buf_adds(&in, lines[i]);
			mb_buf_addc(&in, '\n');
		}
		cfg.isa = MB_ISA_NONE;
		run_work(&want, &q, &cfg, &s, (struct mb_str){ in.p, in.len },
		    1, in.len);
		cfg.isa = MB_ISA_BEST;
		run_work(&got, &q, &cfg, &s, (struct mb_str){ in.p, in.len },
		    1, in.len);
		assert_same(&got, &want, lines[i]);
	}
	mb_query_release(&q);
	mb_buf_release(&in);
	mb_buf_release(&want);
	mb_buf_release(&got);
}

/* What there may be in a file, once, where threads have guessed. */
struct oddity {
	enum mb_format format;
	const char *text;	/* with so many bytes in the place of a ~ */
	size_t padding;
};

static void
put_oddity(struct mb_buf *out, const struct oddity *o)
{
	for (const char *c = o->text; *c != '\0'; c++)
		for (size_t n = *c == '~' ? o->padding : 1; n > 0; n--)
			mb_buf_addc(out, *c);
}

static void
put_clean(struct mb_buf *out, enum mb_format format)
{
	mb_buf_addf(out, format == MB_NDJSON ?
	    "{\"k\":%d,\"s\":\"text %d\",\"x\":%d}\n" : "%d,text %d,%d\n", rand() % 50,
	    rand() % 10, rand() % 100000);
}

/*
 * Clean records but for one that may stand anywhere, by preference where blocks
 * end; guessing or not, it is the same.
 */
static void
test_guesses(void **state)
{
	enum { SIZE = 5 << 19, BLOCK = 256 * 1024 };
	static const struct oddity oddities[] = {
		{ MB_CSV, "", 0 },
		{ MB_CSV, "1,\"a\nb\",3\n", 0 },
		{ MB_CSV, "1,\"\n7,x,8\n9,y,\",3\n", 0 },
		{ MB_CSV, "1,\"\n7,x,8\n9,y~,\",3\n", 2000 },
		{ MB_CSV, "1,\"\n7,x,8\n9,y~,\",3\n", BLOCK },
		{ MB_CSV, "1,x\"y,3\n", 0 },
		{ MB_CSV, "1,\"never closed,3\n", 0 },
		{ MB_CSV, "1,text,3\r\n", 0 },
		{ MB_CSV, "1,text,3\r", 0 },
		{ MB_CSV, "1,text~,3\n", 2000 },
		{ MB_CSV, "1,text~,3\n", BLOCK },
		{ MB_CSV, "1,text\n", 0 },
		{ MB_CSV, "1,text,NA\n", 0 },
		{ MB_CSV, "\n\n", 0 },
		{ MB_CSV, "\x1e{\"mb\":1}\n", 0 },
		{ MB_CSV, "1,\x1etext,3\n", 0 },
		{ MB_LINES, "", 0 },
		{ MB_LINES, "\x1e{\"mb\":1}\n", 0 },
		{ MB_LINES, "\x1e{\"mb\":1}\n", 0 },
		{ MB_LINES, "~\n", 2 * BLOCK },
		{ MB_NDJSON, "", 0 },
		{ MB_NDJSON, "{\"k\":1,\"s\":\"a\\nb\",\"x\":2}\n", 0 },
		{ MB_NDJSON, "{\"k\":1,\"s\":\"~\"}\n", 2000 },
		{ MB_NDJSON, "{\"k\":1,\"s\":\"~\"}\n", 40000 },
		{ MB_NDJSON, "{\"k\":1,\"s\":\"~\"}\n", 2 * BLOCK },
		{ MB_NDJSON, "{\"k\":1\n", 0 },
		{ MB_NDJSON, "\x1e{\"mb\":1}\n{\"late\":1}\n", 0 },
		{ MB_NDJSON, "{\"late\":1}\n", 0 },
	};
	struct mb_buf in = { 0 }, want = { 0 }, got = { 0 };
	struct mb_names header = { 0 };

	(void)state;
	new_seed();
	mb_names_add(&header, MB_STR("k"));
	mb_names_add(&header, MB_STR("s"));
	mb_names_add(&header, MB_STR("x"));
	for (size_t i = 0; i < 2 * sizeof oddities / sizeof *oddities; i++) {
		const struct oddity *o = &oddities[i / 2];
		struct mb_query q = { 0 };
		struct mb_stream s = { .format = o->format, .delimiter = ',',
			.header = o->format == MB_CSV ? &header : NULL };
		struct mb_work_config cfg = { .out_format = MB_NDJSON };
		size_t at = BLOCK * (size_t)(5 + rand() % 5), end;

		at += (size_t)(rand() % (i % 2 ? BLOCK : 60));
		at -= (size_t)(rand() % 60);
		mb_buf_reset(&in);
		while (in.len < at)
			put_clean(&in, o->format);
		put_oddity(&in, o);
		end = in.len < SIZE ? SIZE : in.len + BLOCK;
		while (in.len < end)
			put_clean(&in, o->format);
		if (o->format == MB_LINES && i % 2 == 0)
			make_query(&q, NULL, "count,distinct:line", NULL);
		else if (o->format == MB_LINES)
			make_query(&q, NULL, "count,last:line", "line !~ ','");
		else
			make_query(&q, "s", o->format == MB_CSV ?
			    "count,sum:x,last:k" :
			    "count,sum:x,last:k,count:late", NULL);
		run_work(&want, &q, &cfg, &s, (struct mb_str){ in.p, in.len },
		    1, in.len);
		for (unsigned n = 2; n < 5; n++) {
			run_work(&got, &q, &cfg, &s, (struct mb_str){ in.p,
			    in.len }, n, FROM_FILE);
			assert_same(&got, &want, o->text);
		}
		mb_query_release(&q);
	}
	mb_buf_release(&in);
	mb_buf_release(&want);
	mb_buf_release(&got);
	mb_names_release(&header);
}

/* What was guessed rightly counts, when later it turns out to be wrong. */
static void
test_guesses_of_parts(void **state)
{
	enum { PART = 256 << 20, BLOCK = 256 * 1024 };
	struct mb_buf piece = { 0 }, in = { 0 }, want = { 0 }, got = { 0 };
	struct mb_names header = { 0 };
	struct mb_query q = { 0 };
	struct mb_stream s = { .format = MB_CSV, .delimiter = ',',
		.header = &header };
	struct mb_work_config cfg = { .out_format = MB_NDJSON };

	(void)state;
	new_seed();
	mb_names_add(&header, MB_STR("k"));
	mb_names_add(&header, MB_STR("s"));
	mb_names_add(&header, MB_STR("x"));
	make_query(&q, "s", "count,sum:x,last:k,distinct:k", NULL);
	while (piece.len < 1 << 20)
		put_clean(&piece, MB_CSV);
	while (in.len < PART + 8 * BLOCK)
		mb_buf_add(&in, piece.p, piece.len);
	for (int is_clean = 0; is_clean < 2; is_clean++) {
		mb_buf_adds(&in, is_clean ? "" : "1,\"");
		for (size_t i = 0; !is_clean && i < BLOCK; i += 6)
			mb_buf_adds(&in, "\n2,3,4");
		mb_buf_adds(&in, is_clean ? "" : "\",5\n");
		mb_buf_add(&in, piece.p, piece.len);
		run_work(&want, &q, &cfg, &s, (struct mb_str){ in.p, in.len },
		    1, in.len);
		run_work(&got, &q, &cfg, &s, (struct mb_str){ in.p, in.len },
		    2, FROM_FILE);
		assert_same(&got, &want, is_clean ? "clean" : "quotes");
		in.len = PART + 8 * BLOCK;
		while (in.p[in.len - 1] != '\n')
			in.len--;
	}
	mb_query_release(&q);
	mb_buf_release(&piece);
	mb_buf_release(&in);
	mb_buf_release(&want);
	mb_buf_release(&got);
	mb_names_release(&header);
}

/* Without header the width is the first record's, for every block. */
static void
test_threads_no_header(void **state)
{
	struct mb_buf csv = { 0 }, want = { 0 }, got = { 0 };
	struct mb_query q = { 0 };
	struct mb_stream s = { .format = MB_CSV, .delimiter = ',' };
	struct mb_work_config cfg = { .out_format = MB_CSV,
		.out_delimiter = ',' };

	(void)state;
	new_seed();
	random_csv(&csv, 60000);
	make_query(&q, "1", "count,sum:3", NULL);
	run_work(&want, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 1,
	    csv.len);
	assert_non_null(strstr(mb_buf_str(&want), "reject"));
	run_work(&got, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 3, 0);
	assert_same(&got, &want, q.n_keys > 0 ? "groups" : "records");
	run_work(&got, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 3,
	    FROM_FILE);
	assert_same(&got, &want, "from a file");
	mb_query_release(&q);

	/* Into ndjson the columns are their positions. */
	make_query(&q, NULL, NULL, "3 > 900");
	mb_query_release(&q);
	make_query(&q, NULL, NULL, "{3} > 900");
	cfg.out_format = MB_NDJSON;
	run_work(&want, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 1,
	    csv.len);
	run_work(&got, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 3, 0);
	assert_same(&got, &want, q.n_keys > 0 ? "groups" : "records");
	assert_non_null(strstr(mb_buf_str(&got), "\"2\":\"text "));
	mb_query_release(&q);
	mb_buf_release(&csv);
	mb_buf_release(&want);
	mb_buf_release(&got);
}

/* The first record that passes gives the columns, and may come late. */
static void
test_late_columns(void **state)
{
	struct mb_buf in = { 0 }, want = { 0 }, got = { 0 };
	struct mb_query q = { 0 };
	struct mb_stream s = { .format = MB_NDJSON };
	struct mb_work_config cfg = { .out_format = MB_CSV,
		.out_delimiter = ',' };

	(void)state;
	for (int i = 0; i < 60000; i++)
		mb_buf_addf(&in, "{\"i\":%d,\"%c\":\"%040d\"}\n", i,
		    i % 3 == 1 ? 'b' : 'a', i);
	make_query(&q, NULL, NULL, "i >= 40000");
	run_work(&want, &q, &cfg, &s, (struct mb_str){ in.p, in.len }, 1,
	    in.len);
	/* 40000 is 1 of 3, so column b; the others are bad. */
	assert_non_null(strstr(mb_buf_str(&want), "40000,000"));
	assert_non_null(strstr(mb_buf_str(&want), "has no \"a\""));
	assert_null(strstr(mb_buf_str(&want), "has no \"b\""));
	for (int round = 0; round < 5; round++) {
		run_work(&got, &q, &cfg, &s, (struct mb_str){ in.p, in.len },
		    4, round * 200000u);
		assert_same(&got, &want, "late columns");
	}
	mb_query_release(&q);
	mb_buf_release(&in);
	mb_buf_release(&want);
	mb_buf_release(&got);
}

static void
add_long_line(struct mb_buf *b, size_t len)
{
	mb_buf_reserve(b, len);
	memset(b->p + b->len, 'y', len);
	b->len += len;
	mb_buf_addc(b, '\n');
}

/* A line beyond the limit costs no memory and no record, wherever it is. */
static void
test_long_line(void **state)
{
	struct mb_buf csv = { 0 }, want = { 0 }, got = { 0 };
	struct mb_query q = { 0 };
	struct mb_stream s = { .format = MB_CSV, .delimiter = ',' };
	struct mb_work_config cfg = { .out_format = MB_CSV,
		.out_delimiter = ',' };

	(void)state;
	mb_buf_adds(&csv, "1,2,3\n");
	add_long_line(&csv, 17 << 20);
	random_csv(&csv, 40000);
	mb_buf_addc(&csv, '\n');
	add_long_line(&csv, 20 << 20);
	random_csv(&csv, 40000);
	make_query(&q, "1", "count,sum:3", NULL);
	run_work(&want, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 1,
	    1 << 18);
	assert_non_null(strstr(mb_buf_str(&want), "80005 records"));
	run_work(&got, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 3,
	    1 << 18);
	assert_same(&got, &want, "long lines");
	run_work(&got, &q, &cfg, &s, (struct mb_str){ csv.p, csv.len }, 3,
	    FROM_FILE);
	assert_same(&got, &want, "long lines of a file");
	mb_query_release(&q);
	mb_buf_release(&csv);
	mb_buf_release(&want);
	mb_buf_release(&got);
}

static void
test_places(void **state)
{
	const struct mb_extent ranges[] = {
		{ .source = "a", .start = 100, .end = 150 },
		{ .source = "b", .start = 0, .end = 9, .is_partial = true },
		{ .source = "a", .start = 150, .end = 160 },
	};
	static const struct {
		uint64_t off;
		const char *source;
		uint64_t at;
	} cases[] = {
		{ 0, "a", 100 }, { 49, "a", 149 }, { 50, "b", 0 },
		{ 59, "b", 9 }, { 60, "a", 150 }, { 69, "a", 159 },
	};
	struct mb_place places[3];

	(void)state;
	assert_int_equal(mb_places_make(places, ranges, 3, 69), 0);
	assert_int_equal(mb_places_make(places, ranges, 3, 71), 0);
	assert_int_equal(mb_places_make(places, NULL, 0, 5), 0);
	assert_int_equal(mb_places_make(places, ranges, 3, 70), 3);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct mb_place *p = mb_places_find(places, 3,
		    cases[i].off);

		assert_string_equal(p->source, cases[i].source);
		assert_int_equal(p->start + (cases[i].off - p->from),
		    cases[i].at);
	}
	assert_null(mb_places_find(places, 0, 5));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_odd_lines),
		cmocka_unit_test(test_guesses),
		cmocka_unit_test(test_guesses_of_parts),
		cmocka_unit_test(test_threads_no_header),
		cmocka_unit_test(test_late_columns),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
