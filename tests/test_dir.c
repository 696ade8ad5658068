#include "sink/options.h"
#include "sink/sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/line.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define JOURNAL "0123456789abcdef0123456789abcdef"

static const struct mb_sink_options plain = {
	.journal = JOURNAL, .journal_path = "/somewhere/j.mbj",
};
static const struct mb_sink_options gzipped = {
	.journal = JOURNAL, .journal_path = "/somewhere/j.mbj", .gzip = true,
};

/* The target "dir:<place>/out", which isn't there at first. */
static char place[64], out[96], target[128];

static int
set_up(void **state)
{
	(void)state;
	snprintf(place, sizeof place, "/tmp/mb-dir.XXXXXX");
	if (mkdtemp(place) == NULL)
		return -1;
	snprintf(out, sizeof out, "%s/out", place);
	snprintf(target, sizeof target, "dir:%s", out);
	return 0;
}

static const char *
at(const char *name)
{
	static char paths[4][256];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof *paths, "%s/%s", out, name);
	return path;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is in the directory, sorted; "-" where there is none. */
static const char *
names(void)
{
	static char text[1024];
	char *all[64];
	struct dirent *e;
	size_t n = 0, len = 0;
	DIR *d = opendir(out);

	if (d == NULL)
		return "-";
	while ((e = readdir(d)) != NULL && n < COUNT(all))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			all[n++] = mb_strdup(e->d_name);
	closedir(d);
	qsort(all, n, sizeof *all, by_name);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s",
		    i > 0 ? " " : "", all[i]);
		free(all[i]);
	}
	return text;
}

static int
tear_down(void **state)
{
	char all[1024], *save, *name;

	(void)state;
	snprintf(all, sizeof all, "%s", names());
	for (name = strtok_r(all, " ", &save); name != NULL;
	    name = strtok_r(NULL, " ", &save))
		unlink(at(name));
	rmdir(out);
	return rmdir(place);
}

static struct mb_buf
slurp(const char *name)
{
	struct mb_buf b = { 0 };
	FILE *f = fopen(at(name), "r");
	char bytes[4096];
	size_t n;

	if (f == NULL)
		fail_msg("%s: %s", name, strerror(errno));
	while ((n = fread(bytes, 1, sizeof bytes, f)) > 0)
		mb_buf_add(&b, bytes, n);
	fclose(f);
	mb_buf_str(&b);
	return b;
}

static void
spew(const char *name, const void *p, size_t len)
{
	FILE *f = fopen(at(name), "w");

	if (f == NULL || fwrite(p, 1, len, f) != len || fclose(f) != 0)
		fail_msg("%s: %s", name, strerror(errno));
}

static void
holds(const char *name, const char *text)
{
	struct mb_buf b = slurp(name);

	if (strcmp(b.p, text) != 0)
		fail_msg("%s: \"%s\"", name, b.p);
	mb_buf_release(&b);
}

static void
good(int rc, const struct mb_err *err)
{
	if (rc < 0)
		fail_msg("%s", err->msg);
}

static struct mb_sink *
open_sink(const struct mb_sink_options *o)
{
	struct mb_err err = { 0 };
	struct mb_sink *s;

	good(mb_sink_open(&s, target, o, &err), &err);
	return s;
}

/* "first-last holes"; last tells the digest. */
static struct mb_marker
marker(const char *text)
{
	struct mb_marker m = { 0 };
	struct mb_err err = { 0 };
	char *end;

	if (*text == '\0')
		return m;
	m.exists = true;
	m.first = strtoull(text, &end, 10);
	m.last = strtoull(end + 1, &end, 10);
	snprintf(m.digest.hex, sizeof m.digest.hex, "%032llx",
	    (unsigned long long)m.last + 10);
	good(mb_marker_parse_holes(&m, end + (*end == ' '), &err), &err);
	return m;
}

static void
knows(struct mb_sink *s, const char *text)
{
	struct mb_marker expected = marker(text), got;
	struct mb_err err = { 0 };

	good(mb_sink_lookup(s, &got, &err), &err);
	if (!mb_marker_eq(&got, &expected))
		fail_msg("not \"%s\" but %d, %d-%d", text, got.exists,
		    (int)got.first, (int)got.last);
	mb_marker_release(&expected);
	mb_marker_release(&got);
}

static const struct mb_field a_and_b[] = { { .name = "a" }, { .name = "b" } };

/* Begin, add and stage; how many rows. */
static uint64_t
stage(struct mb_sink *s, uint64_t batch, const char *format, const char *text)
{
	struct mb_begin b = {
		.batch = batch, .format = format, .delimiter = ',',
		.fields = a_and_b, .record_limit = 1 << 20,
	};
	struct mb_err err = { 0 };
	uint64_t n = 0, rows = 77;

	if (strcmp(format, "csv") == 0) {
		b.has_fields = true;
		b.n_fields = 2;
	}
	for (const char *p = text; *p != '\0'; p++)
		n += *p == '\n';
	good(mb_sink_begin(s, &b, &err), &err);
	/* The first record alone, then half of the rest, and so on. */
	for (const char *p = text, *end; *p != '\0'; p = end) {
		uint64_t k = p == text ? 1 : n > 3 ? n / 2 : n;
		uint64_t taken = k;

		n -= k;
		for (end = p; k > 0; k--)
			end = strchr(end, '\n') + 1;
		good(mb_sink_add(s, (struct mb_str){ p, (size_t)(end - p) },
		    taken, &err), &err);
	}
	good(mb_sink_stage(s, &rows, &err), &err);
	return rows;
}

static enum mb_code
commit(struct mb_sink *s, const char *was, const char *now, struct mb_err *err)
{
	struct mb_marker from = marker(was), to = marker(now);

	*err = (struct mb_err){ 0 };
	if ((mb_sink_commit(s, &from, &to, NULL, err) < 0) != (err->code != MB_OK))
		fail_msg("code %d", err->code);
	mb_marker_release(&from);
	mb_marker_release(&to);
	return err->code;
}

static void
add(struct mb_sink *s, uint64_t batch, const char *was, const char *now)
{
	struct mb_err err;
	char row[64];

	snprintf(row, sizeof row, "%d,x\n", (int)batch);
	assert_int_equal(stage(s, batch, "csv", row), 1);
	if (commit(s, was, now, &err) != MB_OK)
		fail_msg("batch %d: %s", (int)batch, err.msg);
}

/* ---- the life of a batch ---- */

static void
test_commit(void **state)
{
	struct mb_sink *s = open_sink(&plain);
	struct mb_buf b;
	struct mb_err err;
	char id[33];

	(void)state;
	assert_string_equal(mb_sink_target(s), target);
	assert_null(mb_sink_target_id(s));
	knows(s, "");
	assert_string_equal(names(), "-");	/* asking makes nothing */

	assert_int_equal(stage(s, 3, "csv", "1,x\n2,y\n"), 2);
	assert_null(strstr(names(), "batch"));
	knows(s, "");
	assert_int_equal(commit(s, "", "3-3", &err), MB_OK);
	assert_string_equal(names(), ".mb-manifest batch-000000003.csv");
	holds("batch-000000003.csv", "a,b\n1,x\n2,y\n");
	knows(s, "3-3");
	mb_sink_abort(s);		/* after a commit: nothing */
	knows(s, "3-3");
	snprintf(id, sizeof id, "%s", mb_sink_target_id(s));
	assert_true(mb_is_hex(mb_str(id), 32));
	mb_sink_close(s);

	s = open_sink(&plain);
	assert_string_equal(mb_sink_target_id(s), id);
	knows(s, "3-3");
	add(s, 7, "3-3", "3-7 4-6");
	knows(s, "3-7 4-6");
	add(s, 5, "3-7 4-6", "3-7 4,6");	/* a hole is filled */
	knows(s, "3-7 4,6");
	mb_sink_close(s);
	assert_string_equal(names(), ".mb-manifest batch-000000003.csv "
	    "batch-000000005.csv batch-000000007.csv");

	/* The manifest: an owner, and an intent a batch. */
	b = slurp(".mb-manifest");
	for (char *line = b.p, *end; *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		assert_true(mb_line_check((struct mb_str){ line,
		    (size_t)(end - line) }));
	}
	assert_memory_equal(b.p, "{\"mb\":\"manifest\",\"version\":1,\"id\":\"",
	    35);
	assert_memory_equal(b.p + 35, id, 32);
	assert_non_null(strstr(b.p, ",\"journal\":\"" JOURNAL "\","
	    "\"journal_path\":\"/somewhere/j.mbj\",\"crc\":"));
	assert_non_null(strstr(b.p, "\n{\"mb\":\"intent\",\"batch\":3,"
	    "\"name\":\"batch-000000003.csv\",\"rows\":2,\"bytes\":12,"
	    "\"now\":{\"first\":3,\"last\":3,"
	    "\"digest\":\"0000000000000000000000000000000d\",\"holes\":\"\"},"
	    "\"crc\":"));
	assert_non_null(strstr(b.p, "\"was\":{\"first\":3,\"last\":7,"
	    "\"digest\":\"00000000000000000000000000000011\","
	    "\"holes\":\"4-6\"},\"now\":{\"first\":3,\"last\":7,"
	    "\"digest\":\"00000000000000000000000000000011\","
	    "\"holes\":\"4,6\"},\"crc\":"));
	mb_buf_release(&b);
}

/* Compare and swap: also between two that found nothing. */
static void
test_two_sinks(void **state)
{
	struct mb_sink *a = open_sink(&plain), *b = open_sink(&plain);
	struct mb_err err;
	char id[33];

	(void)state;
	assert_int_equal(stage(a, 0, "csv", "1,a\n"), 1);
	assert_int_equal(stage(b, 0, "csv", "1,b\n"), 1);
	assert_int_equal(commit(a, "", "0-0", &err), MB_OK);
	assert_int_equal(commit(b, "", "0-0", &err), MB_EEXIST);
	assert_non_null(strstr(err.msg, "its marker has moved"));
	assert_non_null(strstr(err.msg, out));
	holds("batch-000000000.csv", "a,b\n1,a\n");
	snprintf(id, sizeof id, "%s", mb_sink_target_id(a));
	assert_string_equal(mb_sink_target_id(b), id);
	knows(b, "0-0");

	/* They take turns; one that is behind is refused each time. */
	add(b, 1, "0-0", "0-1");
	stage(a, 1, "csv", "1,a\n");
	assert_int_equal(commit(a, "0-0", "0-1", &err), MB_EEXIST);
	assert_int_equal(commit(a, "0-1", "0-2", &err), MB_ECORRUPT);
	stage(a, 2, "csv", "2,a\n");
	assert_int_equal(commit(a, "", "2-2", &err), MB_EEXIST);
	assert_int_equal(commit(a, "0-1", "0-2", &err), MB_OK);
	holds("batch-000000001.csv", "a,b\n1,x\n");
	holds("batch-000000002.csv", "a,b\n2,a\n");
	knows(a, "0-2");
	knows(b, "0-2");
	mb_sink_close(a);
	mb_sink_close(b);
	assert_null(strstr(names(), ".tmp"));
}

/* I1: an intent whose file never came tells the marker before it. */
static void
test_intent_alone(void **state)
{
	struct mb_sink *s = open_sink(&plain);

	(void)state;
	add(s, 0, "", "0-0");
	unlink(at("batch-000000000.csv"));
	knows(s, "");
	add(s, 0, "", "0-0");
	add(s, 1, "0-0", "0-1");
	unlink(at("batch-000000001.csv"));
	knows(s, "0-0");
	mb_sink_close(s);
	s = open_sink(&plain);
	knows(s, "0-0");
	add(s, 2, "0-0", "0-2 1");	/* over the intent that failed */
	knows(s, "0-2 1");
	mb_sink_close(s);
}

/* Whoever consumes the files takes any but the newest. */
static void
test_consumer(void **state)
{
	struct mb_sink *s = open_sink(&plain);

	(void)state;
	add(s, 0, "", "0-0");
	add(s, 1, "0-0", "0-1");
	add(s, 2, "0-1", "0-2");
	unlink(at("batch-000000000.csv"));
	unlink(at("batch-000000001.csv"));
	knows(s, "0-2");
	add(s, 3, "0-2", "0-3");
	mb_sink_close(s);
	s = open_sink(&plain);
	knows(s, "0-3");
	mb_sink_close(s);
}

/* A file may be made before its batch comes, and taken away before it does. */
static void
test_rest(void **state)
{
	struct mb_sink *s = open_sink(&plain);
	char name[64], *tmp;

	(void)state;
	mb_sink_rest(s);
	assert_string_equal(names(), "-");	/* before the first, nothing */
	add(s, 0, "", "0-0");
	assert_null(strstr(names(), ".tmp"));
	mb_sink_rest(s);
	mb_sink_rest(s);
	tmp = strstr(names(), ".tmp");
	assert_non_null(tmp);
	assert_null(strstr(tmp + 1, ".tmp"));
	knows(s, "0-0");			/* which sweeps */
	add(s, 1, "0-0", "0-1");
	assert_string_equal(names(), ".mb-manifest batch-000000000.csv "
	    "batch-000000001.csv");
	holds("batch-000000001.csv", "a,b\n1,x\n");
	assert_int_equal(stage(s, 2, "csv", ""), 0);
	mb_sink_rest(s);
	/* .mb-<16 digits>.tmp, sorted before .mb-manifest */
	snprintf(name, sizeof name, "%.24s", names());
	assert_string_equal(strrchr(name, '.'), ".tmp");
	assert_int_equal(unlink(at(name)), 0);
	add(s, 2, "0-1", "0-2");
	holds("batch-000000002.csv", "a,b\n2,x\n");
	mb_sink_rest(s);
	stage(s, 3, "csv", "1,x\n");
	mb_sink_abort(s);
	mb_sink_rest(s);
	mb_sink_close(s);
	assert_string_equal(names(), ".mb-manifest batch-000000000.csv "
	    "batch-000000001.csv batch-000000002.csv");
}

/* The manifest cut at every byte, with and without rubbish behind. */
static void
test_torn_tail(void **state)
{
	static const char *const rubbish[] = { "", "x", "{\"mb\":\"in", "x\n\n", };
	struct mb_sink *s = open_sink(&plain);
	struct mb_buf whole, now, text = { 0 };
	size_t start;

	(void)state;
	add(s, 0, "", "0-0");
	whole = slurp(".mb-manifest");
	start = whole.len;	/* of the second intent */
	mb_buf_release(&whole);
	add(s, 1, "0-0", "0-1");
	mb_sink_close(s);
	whole = slurp(".mb-manifest");
	unlink(at("batch-000000001.csv"));
	for (size_t len = start; len < whole.len; len += len % 40 == 0 ? 1 : 7)
		for (size_t i = 0; i < COUNT(rubbish); i++) {
			mb_buf_reset(&text);
			mb_buf_add(&text, whole.p, len);
			mb_buf_adds(&text, rubbish[i]);
			spew(".mb-manifest", text.p, text.len);
			s = open_sink(&plain);
			knows(s, "0-0");
			add(s, 1, "0-0", "0-1");
			knows(s, "0-1");
			mb_sink_close(s);
			/* What was torn is gone, byte for byte. */
			now = slurp(".mb-manifest");
			if (now.len != whole.len ||
			    memcmp(now.p, whole.p, now.len) != 0)
				fail_msg("%zu: %s", len, now.p);
			mb_buf_release(&now);
			unlink(at("batch-000000001.csv"));
		}
	mb_buf_release(&text);
	mb_buf_release(&whole);
}

/*
 * The newest line damaged while its file is there: the marker before it
 * counts, so the batch comes again, and its file must not be replaced.
 */
static void
test_damaged_newest(void **state)
{
	struct mb_sink *s = open_sink(&plain);
	struct mb_buf b;
	struct mb_err err;

	(void)state;
	add(s, 0, "", "0-0");
	add(s, 1, "0-0", "0-1");
	b = slurp(".mb-manifest");
	b.p[b.len - 30] ^= 1;
	spew(".mb-manifest", b.p, b.len);
	knows(s, "0-0");
	stage(s, 1, "csv", "9,z\n");
	assert_int_equal(commit(s, "0-0", "0-1", &err), MB_ECORRUPT);
	assert_non_null(strstr(err.msg, "batch-000000001.csv is there"));
	holds("batch-000000001.csv", "a,b\n1,x\n");
	mb_sink_close(s);

	/* The first line damaged: refused at once. */
	b.p[20] ^= 1;
	spew(".mb-manifest", b.p, b.len);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_sink_open(&s, target, &plain, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	assert_non_null(strstr(err.msg, ".mb-manifest is damaged at byte 0"));
	spew(".mb-manifest", "", 0);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_sink_open(&s, target, &plain, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	/* Batches, but no manifest. */
	unlink(at(".mb-manifest"));
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_sink_open(&s, target, &plain, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	/* Whatever their number and ending; one was taken away. */
	unlink(at("batch-000000000.csv"));
	spew("batch-000000007.ndjson.gz", "x", 1);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_sink_open(&s, target, &plain, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	mb_buf_release(&b);
}

static void
test_another_journal(void **state)
{
	static const struct mb_sink_options other = {
		.journal = "ffffffffffffffffffffffffffffffff",
		.journal_path = "/somewhere/j.mbj",
	};
	struct mb_sink *s = open_sink(&plain), *late = open_sink(&other);
	struct mb_begin b = { .format = "lines", .record_limit = 100 };
	struct mb_err err = { 0 };
	struct mb_sink *refused;
	uint64_t rows;

	(void)state;
	add(s, 0, "", "0-0");
	assert_int_equal(mb_sink_open(&refused, target, &other, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	assert_non_null(strstr(err.msg, "belongs to another journal, 01234567, "
	    "that was at /somewhere/j.mbj"));
	/* One that had opened before there was an owner. */
	err = (struct mb_err){ 0 };
	good(mb_sink_begin(late, &b, &err), &err);
	good(mb_sink_add(late, MB_STR("x\n"), 1, &err), &err);
	assert_int_equal(mb_sink_stage(late, &rows, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	mb_sink_close(late);
	knows(s, "0-0");
	mb_sink_close(s);
	assert_string_equal(names(), ".mb-manifest batch-000000000.csv");
}

static void
test_abort(void **state)
{
	struct mb_sink *s = open_sink(&plain);
	struct mb_err err;

	(void)state;
	/* Without rows nothing is made, not even the directory. */
	assert_int_equal(stage(s, 0, "csv", ""), 0);
	mb_sink_abort(s);
	assert_string_equal(names(), "-");

	stage(s, 0, "csv", "1,x\n");
	assert_non_null(strstr(names(), ".tmp"));
	mb_sink_abort(s);
	mb_sink_abort(s);
	assert_string_equal(names(), ".mb-manifest");
	knows(s, "");
	stage(s, 0, "csv", "1,x\n");
	stage(s, 0, "csv", "2,y\n");		/* begin aborts */
	assert_int_equal(commit(s, "", "0-0", &err), MB_OK);
	holds("batch-000000000.csv", "a,b\n2,y\n");
	stage(s, 1, "csv", "1,x\n");
	mb_sink_close(s);			/* and so does close */
	assert_string_equal(names(), ".mb-manifest batch-000000000.csv");
}

/* ---- what the files hold ---- */

/* Large enough to pass through every buffer more than once. */
static void
test_gzip(void **state)
{
	struct mb_sink *s;
	struct mb_buf rows = { 0 }, first, second;
	struct mb_err err;
	char *back;
	gzFile z;

	(void)state;
	for (int i = 0; i < 40000; i++)
		mb_buf_addf(&rows, "%d,%d\n", i, i * 7919 % 10007);
	for (int round = 0; round < 2; round++) {
		s = open_sink(&gzipped);
		stage(s, 0, "csv", mb_buf_str(&rows));
		assert_int_equal(commit(s, "", "0-0", &err), MB_OK);
		mb_sink_close(s);
		if (round == 0) {
			first = slurp("batch-000000000.csv.gz");
			unlink(at("batch-000000000.csv.gz"));
			sleep(1);	/* a time in the header would differ */
		}
	}
	second = slurp("batch-000000000.csv.gz");
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.p, second.p, first.len);
	assert_true(first.len < rows.len / 2);

	z = gzopen(at("batch-000000000.csv.gz"), "r");
	back = mb_alloc(rows.len + 100);
	assert_int_equal(gzread(z, back, (unsigned)rows.len + 100),
	    rows.len + 4);
	assert_memory_equal(back, "a,b\n", 4);
	assert_memory_equal(back + 4, rows.p, rows.len);
	assert_int_equal(gzclose(z), Z_OK);
	free(back);
	mb_buf_release(&first);
	mb_buf_release(&second);
	mb_buf_release(&rows);
}

static int
on_reject(void *arg, uint64_t number, struct mb_str record, const char *why,
    struct mb_err *err)
{
	(void)err;
	mb_buf_addf(arg, "%d:%.*s:%s;", (int)number, (int)record.len, record.p,
	    why);
	return 0;
}

static void
test_convert(void **state)
{
	static const struct {
		const char *from, *to, *in;
		uint64_t rows;
		const char *name, *out, *rejects;
	} cases[] = {
		{ "csv", NULL, "1,x\n", 1, "0.csv", "a,b\n1,x\n", "" },
		{ "csv", "csv", "\"1\",  x\n", 1, "1.csv",
		    "a,b\n\"1\",  x\n", "" },	/* bytes stay */
		{ "csv", "ndjson", "1,x\n\"2\",\"y \"\"z\"\",\"\n3,\n", 3,
		    "2.ndjson", "{\"a\":1,\"b\":\"x\"}\n"
		    "{\"a\":2,\"b\":\"y \\\"z\\\",\"}\n"
		    "{\"a\":3,\"b\":null}\n", "" },
		{ "csv", "tsv", "1,x\n", 1, "3.tsv", "a\tb\n1\tx\n", "" },
		{ "ndjson", NULL, "{\"b\": 1 }\n", 1, "4.ndjson",
		    "{\"b\": 1 }\n", "" },
		{ "ndjson", "csv", "{\"b\":1,\"a\":\"x,\\\"y\\\"\"}\n"
		    "{\"a\":2.50}\n{\"b\":null,\"a\":true}\n", 3, "5.csv",
		    "b,a\n1,\"x,\"\"y\"\"\"\n,2.50\n,true\n", "" },
		{ "ndjson", "csv", "{\"a\":1}\n{\"a\":2,\"c\":3}\n{\"a\":4}\n",
		    2, "6.csv", "a\n1\n4\n", "2:{\"a\":2,\"c\":3}" },
		{ "lines", NULL, "one\ntwo\n", 2, "7.txt", "one\ntwo\n", "" },
		{ "lines", "ndjson", "o\"ne\n", 1, "8.ndjson",
		    "{\"line\":\"o\\\"ne\"}\n", "" },
		{ "csv", "ndjson", "1,x\n1,2,3\n4\n5,y\n", 2, "9.ndjson",
		    "{\"a\":1,\"b\":\"x\"}\n{\"a\":5,\"b\":\"y\"}\n",
		    "2:1,2,3" },
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_buf rejects = { 0 };
		struct mb_sink_options o = plain;
		struct mb_err err = { 0 };
		struct mb_sink *s;
		char name[64], now[32], before[32] = "";
		uint64_t rows;

		o.format = cases[i].to;
		o.reject = on_reject;
		o.reject_arg = &rejects;
		s = open_sink(&o);
		rows = stage(s, i, cases[i].from, cases[i].in);
		snprintf(now, sizeof now, "0-%zu", i);
		if (i > 0)
			snprintf(before, sizeof before, "0-%zu", i - 1);
		if (commit(s, before, now, &err) != MB_OK)
			fail_msg("case %zu: %s", i, err.msg);
		mb_sink_close(s);
		snprintf(name, sizeof name, "batch-00000000%s", cases[i].name);
		holds(name, cases[i].out);
		if (rows != cases[i].rows ||
		    strncmp(mb_buf_str(&rejects), cases[i].rejects,
		    strlen(cases[i].rejects)) != 0 ||
		    (*cases[i].rejects == '\0') != (rejects.len == 0))
			fail_msg("case %zu: %d rows, rejects %s", i, (int)rows,
			    mb_buf_str(&rejects));
		mb_buf_release(&rejects);
	}
}

/* ---- options.h, target.c ---- */

static void
test_options(void **state)
{
	static const struct {
		char kind;	/* on: k, merge: m, schema: s, on-bad: b */
		const char *in, *out;	/* NULL: MB_EUSAGE */
	} cases[] = {
		{ 'k', "a", "a;" }, { 'k', "a,b.c,{d,e}", "a;b.c;d,e;" },
		{ 'k', "", NULL }, { 'k', "a,,b", NULL }, { 'k', "x=a", NULL },
		{ 'm', "n:sum", "n:1;" },
		{ 'm', "a:replace,b:min,c:max,d:keep",
		    "a:0;b:2;c:3;d:4;" },
		{ 'm', "{a:b}:sum", "a:b:1;" }, { 'm', "a:SUM", NULL },
		{ 'm', "a", NULL }, { 'm', "a:", NULL }, { 'm', ":sum", NULL },
		{ 'm', "a:sum,b", NULL }, { 'm', "a:avg", NULL },
		{ 's', "a:int,b:text", "a:int;b:text;" },
		{ 's', "a:decimal(10,2),b:date", "a:decimal(10,2);b:date;" },
		{ 's', "{a,b}:int32", "a,b:int32;" },
		{ 's', "a:decimal(10,2", NULL }, { 's', "a:decimal(39,2)", NULL },
		{ 's', "a:number", NULL }, { 's', "a", NULL },
		{ 'b', "reject", "0" }, { 'b', "skip", "1" },
		{ 'b', "fail", "2" }, { 'b', "Fail", NULL }, { 'b', "", NULL },
	};
	struct mb_arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_sink_options o = { 0 };
		const char *in = cases[i].in;
		struct mb_err err = { 0 };
		struct mb_buf b = { 0 };
		enum mb_on_bad bad = MB_BAD_REJECT;
		int rc = cases[i].kind == 'k' ?
		    mb_sink_parse_merge_on(&o, &a, in, &err) :
		    cases[i].kind == 'm' ?
		    mb_sink_parse_merge(&o, &a, in, &err) :
		    cases[i].kind == 's' ?
		    mb_sink_parse_schema(&o, &a, in, &err) :
		    mb_sink_parse_on_bad(&bad, in, &err);

		for (size_t k = 0; k < o.n_merge_on; k++)
			mb_buf_addf(&b, "%s;", o.merge_on[k]);
		for (size_t k = 0; k < o.n_merge; k++)
			mb_buf_addf(&b, "%s:%d;", o.merge[k].name,
			    o.merge[k].how);
		for (size_t k = 0; k < o.n_schema; k++)
			mb_buf_addf(&b, "%s:%s;", o.schema[k].name,
			    o.schema[k].type);
		if (cases[i].kind == 'b')
			mb_buf_addf(&b, "%d", bad);
		if (cases[i].out == NULL ? rc != -1 || err.code != MB_EUSAGE :
		    rc != 0 || strcmp(mb_buf_str(&b), cases[i].out) != 0)
			fail_msg("%c \"%s\": %d, \"%s\", %s", cases[i].kind,
			    in, rc, mb_buf_str(&b), err.msg);
		mb_sink_add_null(&o, "NA");
		mb_sink_add_null(&o, "");
		assert_int_equal(o.n_nulls, 2);
		assert_string_equal(o.nulls[0], "NA");
		mb_sink_options_release(&o);
		assert_null(o.nulls);
		mb_buf_release(&b);
	}
	mb_arena_release(&a);
}

static void
test_targets_refused(void **state)
{
	static const char *const key[] = { "a" };
	static const struct mb_schema_column column[] = { { "a", "int" } };
	static const struct {
		const char *target;
		struct mb_sink_options options;
		const char *says;
	} cases[] = {
		{ "nothing", { 0 }, "nothing: not a target" },
		{ "", { 0 }, ": not a target" },
		{ "dir", { 0 }, "dir: not a target" },
		{ "file:/x", { 0 }, "file:/x: not a target" },
		{ "-x", { 0 }, "-x: not a target" },
		{ "DIR:/x", { 0 }, "not a target" },
		{ "dir:", { 0 }, "dir:: names no place" },
		{ "sqlite:", { 0 }, "sqlite:: names no place" },
		{ "-", { .gzip = true }, "--gzip: not for -" },
		{ "-", { .merge_on = key, .n_merge_on = 1 },
		    "--merge-on: not for -" },
		{ "dir:/x", { .merge_on = key, .n_merge_on = 1 },
		    "--merge-on: not for dir:" },
		{ "dir:/x", { .schema = column, .n_schema = 1 },
		    "--schema: not for dir:" },
		{ "sqlite:/x#t", { .gzip = true }, "--gzip: not for sqlite:" },
		{ "sqlite:/x#t", { .format = "csv" },
		    "--output: not for sqlite:" },
		{ "dir:/dev/null", { .journal = JOURNAL }, "dir:/dev/null: " },
		{ "dir:/dev/null/x", { .journal = JOURNAL }, "dir:/dev/null/x: " },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mb_sink *s = (struct mb_sink *)place;
		struct mb_err err = { 0 };

		if (mb_sink_open(&s, cases[i].target, &cases[i].options,
		    &err) != -1 || err.code != MB_EUSAGE || s != NULL ||
		    strstr(err.msg, cases[i].says) == NULL)
			fail_msg("\"%s\": %d, %s", cases[i].target, err.code,
			    err.msg);
	}
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_commit),
		TEST(test_two_sinks),
		TEST(test_intent_alone),
		TEST(test_consumer),
		TEST(test_rest),
		TEST(test_torn_tail),
		TEST(test_damaged_newest),
		TEST(test_another_journal),
		TEST(test_abort),
		TEST(test_gzip),
		TEST(test_convert),
		TEST(test_options),
		TEST(test_targets_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
