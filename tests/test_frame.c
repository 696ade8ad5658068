/* frame/frame.h: what is written comes back, wherever the stream is split;
 * what isn't whole or was touched is refused, with the line. */
#include "frame/frame.h"
#include "base/line.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TAG "0123456789abcdef"

static uint64_t rng;

static unsigned
pick(unsigned n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(rng >> 33) % n;
}

static void
put_hello(struct mb_buf *out)
{
	struct mb_hello h = {
		.tag = TAG, .journal = "/tmp/\xff j.mbj",
		.id = "00112233445566778899aabbccddeeff", .run = 7,
		.is_replay = true,
	};

	mb_frame_put_hello(out, &h);
}

static void
put_begin(struct mb_buf *out, uint64_t batch)
{
	struct mb_extent ranges[] = {
		{ "/a\n", 0, 5, 25, 2, false },
		{ "-", 3, 0, INT64_MAX, 1, true },
	};
	struct mb_field fields[] = {
		{ "a", NULL, NULL }, { "b\xff", "int", NULL },
		{ "n", "int", "count" },
	};
	struct mb_begin b = {
		.batch = batch, .digest = mb_hash_bytes("x", 1),
		.time_ms = 1795435200123, .settled = batch > 0 ? batch - 1 :
		UINT64_MAX, .ranges = ranges, .n_ranges = 2, .format = "csv",
		.delimiter = '\t', .has_fields = true, .fields = fields,
		.n_fields = 3, .record_limit = 1000, .records = 3,
	};

	mb_frame_put_begin(out, TAG, &b);
}

/* Events as text, one a line; data of a batch is joined. */
struct reading {
	struct mb_buf said;
	struct mb_buf data;
	enum mb_code code;
	char msg[512];
};

static void
reading_release(struct reading *r)
{
	mb_buf_release(&r->said);
	mb_buf_release(&r->data);
}

static void
flush_data(struct reading *r)
{
	if (r->data.len > 0) {
		mb_buf_adds(&r->said, "data ");
		mb_buf_add(&r->said, r->data.p, r->data.len);
		mb_buf_addc(&r->said, '\n');
	}
	mb_buf_reset(&r->data);
}

static void
note_begin(struct reading *r, const struct mb_begin *b)
{
	mb_buf_addf(&r->said, "begin %llu %s %lld %llu %s %d %d %llu %llu",
	    (unsigned long long)b->batch, b->digest.hex,
	    (long long)b->time_ms, (unsigned long long)b->settled, b->format,
	    b->delimiter, b->has_fields, (unsigned long long)b->record_limit,
	    (unsigned long long)b->records);
	for (size_t i = 0; i < b->n_ranges; i++)
		mb_buf_addf(&r->said, " [%s %llu %llu %llu %llu %d]",
		    b->ranges[i].source,
		    (unsigned long long)b->ranges[i].generation,
		    (unsigned long long)b->ranges[i].start,
		    (unsigned long long)b->ranges[i].end,
		    (unsigned long long)b->ranges[i].records,
		    b->ranges[i].is_partial);
	for (size_t i = 0; i < b->n_fields; i++)
		mb_buf_addf(&r->said, " %s:%s:%s", b->fields[i].name,
		    b->fields[i].type != NULL ? b->fields[i].type : "",
		    b->fields[i].agg != NULL ? b->fields[i].agg : "");
	mb_buf_addc(&r->said, '\n');
}

/* How much of a DATA event is consumed: all, none but the last, or a part. */
enum greed { ALL, LAZY, SOME };

static size_t
appetite(enum greed greed, size_t len, bool is_last)
{
	if (greed == ALL || is_last)
		return len;
	return greed == LAZY ? 0 : pick((unsigned)len + 1);
}

static void
read_all(struct reading *r, struct mb_frame_reader *in, enum greed greed)
{
	struct mb_frame_event ev;
	struct mb_err err = { 0 };
	size_t n;
	int rc;

	while ((rc = mb_frame_next(in, &ev, &err)) > 0) {
		if (ev.kind != MB_FRAME_DATA)
			flush_data(r);
		switch (ev.kind) {
		case MB_FRAME_HELLO:
			mb_buf_addf(&r->said, "hello %s %s %s %llu %d\n",
			    ev.hello->tag, ev.hello->journal, ev.hello->id,
			    (unsigned long long)ev.hello->run,
			    ev.hello->is_replay);
			break;
		case MB_FRAME_BEGIN:
			note_begin(r, ev.begin);
			break;
		case MB_FRAME_DATA:
			n = appetite(greed, ev.data.len, ev.is_last);
			mb_buf_add(&r->data, ev.data.p, n);
			mb_frame_consume(in, n);
			break;
		case MB_FRAME_END:
			mb_buf_addf(&r->said, "end %llu %llu\n",
			    (unsigned long long)ev.batch,
			    (unsigned long long)ev.records);
			break;
		case MB_FRAME_ABORT:
			mb_buf_addf(&r->said, "abort %llu %d %s\n",
			    (unsigned long long)ev.batch, ev.status, ev.error);
			break;
		case MB_FRAME_DONE:
			mb_buf_addf(&r->said, "done %d\n", ev.status);
			break;
		}
	}
	if (rc == 0)
		flush_data(r);
	r->code = err.code;
	snprintf(r->msg, sizeof r->msg, "%s", err.msg);
	mb_buf_str(&r->said);
}

/*
 * Feed a pipe in pieces; O_DIRECT makes it keep them apart, but drops what a
 * short read leaves of one, so only where everything fits the reader.
 */
struct feed {
	int fd;
	const char *p;
	size_t len, at;
	uint64_t rng;
};

static void *
feed(void *arg)
{
	struct feed *f = arg;
	size_t done = 0;

	while (done < f->len) {
		size_t n = f->len - done;
		ssize_t rc;

		if (f->at == 0) {
			f->rng = f->rng * 6364136223846793005u + 1;
			n = 1 + (f->rng >> 33) % 7;
		} else if (done == 0) {
			n = f->at;
		}
		if (n > f->len - done)
			n = f->len - done;
		rc = write(f->fd, f->p + done, n);
		if (rc < 0)
			break;		/* the reader has seen enough */
		done += (size_t)rc;
	}
	close(f->fd);
	return NULL;
}

/*
 * Read `len` bytes split at `at` (0: in random small pieces; len: at once).
 */
static void
read_pieces(struct reading *r, const char *p, size_t len, size_t at,
    enum greed greed)
{
	struct mb_frame_reader *in;
	struct mb_err err = { 0 };
	struct feed f = { .p = p, .len = len, .at = at, .rng = rng };
	pthread_t thread;
	int ends[2];

	*r = (struct reading){ 0 };
	assert_int_equal(pipe2(ends, len < 60000 ? O_DIRECT : 0), 0);
	f.fd = ends[1];
	(void)pick(2);
	assert_int_equal(pthread_create(&thread, NULL, feed, &f), 0);
	if (mb_frame_open(&in, ends[0], "input", -1, &err) < 0)
		fail_msg("open: %s", err.msg);
	read_all(r, in, greed);
	mb_frame_close(in);
	close(ends[0]);
	pthread_join(thread, NULL);
}

static void
put_stream(struct mb_buf *out)
{
	put_hello(out);
	put_begin(out, 0);
	mb_buf_adds(out, "1,2\n\x1e\n\x1e{\"mb\":\n"
	    "\x1e{\"mb\":\"end\",\"tag\":\"0123456789abcdee\",\"batch\":0}\n"
	    "\"x\n\x1e{\"mb\":\"done\",\"tag\":\"fedcba9876543210\"}\"\n");
	mb_frame_put_end(out, TAG, 0, 5);
	put_begin(out, 1);
	mb_frame_put_end(out, TAG, 1, 0);
	put_begin(out, 2);
	mb_buf_adds(out, "half\n");
	mb_frame_put_abort(out, TAG, 2, 65, "gone: \"\xff\"\n");
	mb_frame_put_done(out, TAG, 65);
}

static void
test_splits(void **state)
{
	struct mb_buf stream = { 0 };
	struct reading whole, r;

	(void)state;
	put_stream(&stream);
	read_pieces(&whole, stream.p, stream.len, stream.len, ALL);
	assert_int_equal(whole.code, MB_OK);
	assert_non_null(strstr(whole.said.p, "hello 0123456789abcdef "
	    "/tmp/\xff j.mbj 00112233445566778899aabbccddeeff 7 1\n"));
	assert_non_null(strstr(whole.said.p, " 1795435200123 "
	    "18446744073709551615 csv 9 1 1000 3 [/a\n 0 5 25 2 0] "
	    "[- 3 0 9223372036854775807 1 1] a:: b\xff:int: n:int:count\n"));
	assert_non_null(strstr(whole.said.p, "data 1,2\n\x1e\n\x1e{\"mb\":\n"
	    "\x1e{\"mb\":\"end\",\"tag\":\"0123456789abcdee\",\"batch\":0}\n"
	    "\"x\n\x1e{\"mb\":\"done\",\"tag\":\"fedcba9876543210\"}\"\n\n"
	    "end 0 5\nbegin 1"));
	assert_non_null(strstr(whole.said.p, "data half\n\nabort 2 65 gone: "));
	assert_non_null(strstr(whole.said.p, "\ndone 65\n"));
	for (size_t at = 1; at < stream.len; at++)
		for (enum greed greed = ALL; greed <= SOME; greed++) {
			read_pieces(&r, stream.p, stream.len, at, greed);
			if (r.code != MB_OK || strcmp(r.said.p, whole.said.p) !=
			    0)
				fail_msg("split at %zu, greed %d: code %d %s\n"
				    "%s", at, greed, r.code, r.msg, r.said.p);
			reading_release(&r);
		}
	for (int i = 0; i < 50; i++) {
		uint64_t seed = rng;

		read_pieces(&r, stream.p, stream.len, 0,
		    (enum greed)(i % 3));
		if (r.code != MB_OK || strcmp(r.said.p, whole.said.p) != 0)
			fail_msg("MB_SEED=%llu: code %d %s\n%s",
			    (unsigned long long)seed, r.code, r.msg, r.said.p);
		reading_release(&r);
	}
	reading_release(&whole);
	mb_buf_release(&stream);
}

/* A stream that ends anywhere before its last byte is never a whole one. */
static void
test_cut_off(void **state)
{
	struct mb_buf stream = { 0 };
	struct reading r;

	(void)state;
	put_stream(&stream);
	for (size_t len = strlen("\x1e{\"mb\":\"hello\""); len < stream.len;
	    len++) {
		read_pieces(&r, stream.p, len, len, ALL);
		if (r.code != MB_EBUSY)
			fail_msg("cut off at %zu: code %d %s", len, r.code,
			    r.msg);
		reading_release(&r);
	}
	mb_buf_release(&stream);
}

/* One byte of a control line changed: never taken for what it was. */
static void
test_changed_bytes(void **state)
{
	struct mb_buf stream = { 0 };
	struct reading r;
	size_t hello;

	(void)state;
	put_hello(&stream);
	hello = stream.len;
	put_begin(&stream, 0);
	mb_frame_put_end(&stream, TAG, 0, 0);
	mb_frame_put_done(&stream, TAG, 0);
	for (size_t i = 0; i < stream.len; i++)
		for (int bit = 0; bit < 8; bit += 3) {
			stream.p[i] ^= (char)(1 << bit);
			read_pieces(&r, stream.p, stream.len, stream.len, ALL);
			/* A hello that isn't one is a plain stream: there
			 * a control line is an error as well. */
			if (r.code != MB_EDATA && r.code != MB_EBUSY)
				fail_msg("byte %zu of %zu, bit %d: code %d "
				    "%s\n%s", i, hello, bit, r.code, r.msg,
				    r.said.p);
			reading_release(&r);
			stream.p[i] ^= (char)(1 << bit);
		}
	mb_buf_release(&stream);
}

/* Lines of a stream are named by letters; the message names the bad one. */
static void
test_wrong_streams(void **state)
{
	static const struct {
		const char *stream;
		enum mb_code code;
		const char *part;
	} cases[] = {
		{ "hB1EBed", MB_OK, "" },
		{ "hd", MB_OK, "" },
		{ "h", MB_EBUSY, "ends without its done line" },
		{ "hBrE", MB_EBUSY, "ends without its done line" },
		{ "hBrrr", MB_EBUSY, "ends in the middle of batch 0" },
		{ "hhd", MB_EDATA, "line 2: a second hello" },
		{ "hBhEd", MB_EDATA, "line 3: a second hello" },
		{ "hBEhd", MB_EDATA, "line 4: a second hello" },
		{ "hrBEd", MB_EDATA, "line 2: a record outside a batch" },
		{ "hBErd", MB_EDATA, "line 4: a record outside a batch" },
		{ "hBrrErd", MB_EDATA, "line 6: a record outside a batch" },
		{ "hBBEd", MB_EDATA, "line 3: a begin inside a batch" },
		{ "hEd", MB_EDATA, "line 2: an end outside a batch" },
		{ "had", MB_EDATA, "line 2: an end outside a batch" },
		{ "hBEEd", MB_EDATA, "line 4: an end outside a batch" },
		{ "hBd", MB_EDATA, "line 3: a done inside a batch" },
		{ "hBed", MB_EDATA, "line 3: a control line that isn't" },
		{ "hdr", MB_EDATA, "line 3: something after done" },
		{ "hdd", MB_EDATA, "line 3: something after done" },
		{ "hdh", MB_EDATA, "line 3: something after done" },
		{ "hxd", MB_EDATA, "line 2: a control line with a wrong" },
		{ "hBrxEd", MB_EDATA, "line 4: a control line with a wrong" },
		{ "hBrud", MB_EDATA, "line 4: a control line that isn't" },
		{ "hnd", MB_EDATA, "line 2: a record outside a batch" },
		/* Plain, without its hello. */
		{ "rBrEd", MB_EDATA, "line 2: a control line in a plain" },
		{ "rrrh", MB_EDATA, "line 4: a control line in a plain" },
		{ "BrEd", MB_EDATA, "line 1: a control line in a plain" },
		{ "rn", MB_EDATA, "line 2: a control line in a plain" },
		{ "rr", MB_OK, "" },
		{ "", MB_OK, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_buf stream = { 0 };
		struct reading r;
		size_t before;

		mb_buf_str(&stream);
		for (const char *p = cases[i].stream; *p != '\0'; p++)
			switch (*p) {
			case 'h':
				put_hello(&stream);
				break;
			case 'B':
				put_begin(&stream, p > cases[i].stream + 1 &&
				    strchr(cases[i].stream, 'B') != p);
				break;
			case 'E':
				mb_frame_put_end(&stream, TAG, 0, 1);
				break;
			case 'e':
				mb_frame_put_end(&stream, TAG, 1, 1);
				break;
			case 'a':
				mb_frame_put_abort(&stream, TAG, 0, 65, "x");
				break;
			case 'd':
				mb_frame_put_done(&stream, TAG, 0);
				break;
			case 'x':	/* a wrong CRC */
				before = stream.len;
				mb_frame_put_end(&stream, TAG, 0, 1);
				stream.p[before + 40] ^= 1;
				break;
			case 'u':	/* good CRC, unknown verb */
				before = stream.len + 1;
				mb_buf_adds(&stream, "\x1e{\"mb\":\"fin\","
				    "\"tag\":\"" TAG "\"");
				mb_line_seal(&stream, before);
				break;
			case 'n':	/* another stream's */
				mb_frame_put_done(&stream, "ffffffffffffffff",
				    0);
				break;
			default:
				mb_buf_addf(&stream, "record %c\n", *p);
			}
		for (size_t at = 1; at < stream.len + 1; at += 1 + at / 9) {
			read_pieces(&r, stream.p, stream.len, at, LAZY);
			if (r.code != cases[i].code ||
			    strstr(r.msg, cases[i].part) == NULL)
				fail_msg("\"%s\" split at %zu: code %d \"%s\"",
				    cases[i].stream, at, r.code, r.msg);
			reading_release(&r);
		}
		mb_buf_release(&stream);
	}
}

static void
test_plain(void **state)
{
	static const char text[] = "1\n\x1e\n\x1e{\"mb\"\nx\x1e{\"mb\":1}\nlast";
	struct reading r;

	(void)state;
	for (size_t at = 1; at <= sizeof text - 1; at++)
		for (enum greed greed = ALL; greed <= SOME; greed++) {
			read_pieces(&r, text, sizeof text - 1, at, greed);
			if (r.code != MB_OK || r.said.len != sizeof text + 5 ||
			    memcmp(r.said.p + 5, text, sizeof text - 1) != 0)
				fail_msg("split at %zu, greed %d: %d %s\n%s",
				    at, greed, r.code, r.msg, r.said.p);
			reading_release(&r);
		}
}

/* A record that is longer than every buffer, and control right behind it. */
static void
test_long_record(void **state)
{
	struct mb_buf stream = { 0 };
	struct reading r;

	(void)state;
	put_hello(&stream);
	put_begin(&stream, 0);
	for (int i = 0; i < 300000; i++)
		mb_buf_adds(&stream, "\x1e{\"mb\"");
	mb_buf_addc(&stream, '\n');
	mb_frame_put_end(&stream, TAG, 0, 1);
	mb_frame_put_done(&stream, TAG, 0);
	for (enum greed greed = ALL; greed <= SOME; greed++) {
		read_pieces(&r, stream.p, stream.len, 4000, greed);
		assert_int_equal(r.code, MB_OK);
		if (r.said.len < 1800000)
			fail_msg("greed %d: only %zu bytes", greed, r.said.len);
		assert_non_null(strstr(r.said.p + 1800000,
		    "{\"mb\"\n\nend 0 1\ndone 0\n"));
		reading_release(&r);
	}
	mb_buf_release(&stream);
}

static void
test_watched_output(void **state)
{
	struct mb_frame_reader *in;
	struct mb_frame_event ev;
	struct mb_buf stream = { 0 };
	struct mb_err err = { 0 };
	int ends[2], out[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pipe(out), 0);
	put_hello(&stream);
	assert_int_equal(write(ends[1], stream.p, stream.len),
	    (ssize_t)stream.len);
	assert_int_equal(mb_frame_open(&in, ends[0], "input", out[1], &err), 0);
	assert_int_equal(mb_frame_next(in, &ev, &err), 1);
	close(out[0]);		/* our reader goes, while we wait */
	assert_int_equal(mb_frame_next(in, &ev, &err), -1);
	assert_int_equal(err.code, MB_EPIPE);
	mb_frame_close(in);
	mb_buf_release(&stream);
	close(ends[0]);
	close(ends[1]);
	close(out[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_changed_bytes),
		cmocka_unit_test(test_wrong_streams),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_long_record),
		cmocka_unit_test(test_watched_output),
	};
	const char *given = getenv("MB_SEED");

	signal(SIGPIPE, SIG_IGN);
	rng = given != NULL ? strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	printf("MB_SEED=%llu\n", (unsigned long long)rng);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
