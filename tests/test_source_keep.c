/*
 * source/: what was scanned is kept, lent and emitted.  The keep against a
 * model, pages in the hands of a reader who takes his time, the outlet, and
 * the whole way of random files through cutter and emitter.
 */
#include "source/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cmocka.h>

#include "base/hash.h"
#include "journal/lines.h"
#include "place.h"
#include "source/cut.h"
#include "source/emit.h"
#include "source/outlet.h"

enum { MIB = 1 << 20 };

static uint64_t seed, first;

/* xorshift64: the same numbers for the same seed. */
static uint64_t
below(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

static void
good(int64_t rc, const struct mb_err *err)
{
	if (rc < 0)
		fail_msg("code %d: %s", err->code, err->msg);
}

/* The byte of an input at an offset. */
static char
byte_of(unsigned input, uint64_t off)
{
	return (char)(off * 7 + off / 251 * 3 + input * 89);
}

static void
fill(char *p, size_t len, unsigned input, uint64_t off)
{
	for (size_t i = 0; i < len; i++)
		p[i] = byte_of(input, off + i);
}

static bool
is_right(struct mb_str s, unsigned input, uint64_t off)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] != byte_of(input, off + i))
			return false;
	return true;
}

/* Take all before `end`, and compare it. */
static void
take_before(struct mb_kept *kept, uint64_t end, unsigned input)
{
	uint64_t off = kept->start;
	struct mb_str piece;
	bool may_lend;

	while (mb_kept_next(kept, end, &piece, &may_lend)) {
		if (!is_right(piece, input, off))
			fail_msg("input %u, bytes %" PRIu64 " to %" PRIu64
			    " are not what they were", input, off,
			    off + piece.len);
		off += piece.len;
	}
	if (off < end)
		fail_msg("input %u: ends at %" PRIu64 ", not at %" PRIu64,
		    input, off, end);
}

/*
 * Inputs grow, are cut back, go away, and go into parcels, in any order; what
 * is kept is always what was added.
 */
static void
test_random_use(void **state)
{
	enum { INPUTS = 5, STEPS = 20000 };

	(void)state;
	for (int round = 0; round < 4; round++) {
		struct mb_keep *k = mb_keep_open((size_t)round * 3 * MIB);
		struct mb_kept kept[INPUTS] = { 0 };
		uint64_t at[INPUTS] = { 0 };
		struct mb_parcel parcel = { 0 };
		uint64_t starts[INPUTS], ends[INPUTS];

		for (int n = 0; n < STEPS; n++) {
			unsigned i = (unsigned)below(INPUTS);
			size_t len = below(8) == 0 ? 128 * 1024 :
			    (size_t)below(below(4) > 0 ? 2000 : 160 * 1024) + 1;
			char *p = mb_keep_room(k, len);

			if (p == NULL) {
				/* Only what is in use can be in the way. */
				assert_true(mb_keep_used(k) > 0);
				mb_kept_release(&kept[i]);
			} else if (below(100) < 80) {
				size_t n_read = len == 128 * 1024 ? len :
				    (size_t)below(len) + 1;

				/* A gap: what was kept is forgotten. */
				at[i] += below(100) == 0;
				fill(p, n_read, i, at[i]);
				mb_kept_add(&kept[i], k, n_read, at[i]);
				at[i] += n_read;
				assert_int_equal(kept[i].end, at[i]);
			}
			if (below(10) == 0 && kept[i].end > kept[i].start) {
				at[i] -= below(kept[i].end - kept[i].start);
				mb_kept_cut(&kept[i], at[i]);
			}
			if (below(50) == 0)
				take_before(&kept[i], kept[i].start +
				    below(kept[i].end - kept[i].start + 1),
				    i);
			if (below(200) > 0)
				continue;
			/* A batch: some of each, perhaps with a gap before. */
			for (unsigned j = 0; j < INPUTS; j++) {
				uint64_t n_kept = kept[j].end - kept[j].start;

				starts[j] = kept[j].start + below(n_kept + 1);
				ends[j] = starts[j] + below(kept[j].end -
				    starts[j] + 1);
				mb_parcel_add(&parcel, j, &kept[j], ends[j]);
			}
			for (unsigned j = 0; j < INPUTS; j++) {
				struct mb_kept *found = mb_parcel_find(&parcel,
				    j, starts[j], ends[j]);

				assert_non_null(found);
				assert_null(mb_parcel_find(&parcel, j,
				    starts[j], ends[j] + 1));
				assert_null(mb_parcel_find(&parcel, INPUTS,
				    0, 1));
				if (below(3) > 0)
					take_before(found, ends[j], j);
			}
			mb_parcel_reset(&parcel);
		}
		for (unsigned i = 0; i < INPUTS; i++)
			mb_kept_release(&kept[i]);
		mb_parcel_release(&parcel);
		if (mb_keep_used(k) != 0)
			fail_msg("seed %" PRIu64 ": %zu bytes in use after "
			    "all", first, mb_keep_used(k));
		mb_keep_close(k);
	}
}

/* Full is full until something has left. */
static void
test_limit(void **state)
{
	enum { SIZE = 128 * 1024 };	/* fills a block to its last byte */
	struct mb_keep *k = mb_keep_open(4 * MIB);
	struct mb_kept kept = { 0 };
	char *p;

	(void)state;
	while ((p = mb_keep_room(k, SIZE)) != NULL) {
		fill(p, SIZE, 1, kept.end);
		mb_kept_add(&kept, k, SIZE, kept.end);
		assert_true(kept.end <= 5 * MIB);
	}
	if (kept.end > MIB) {		/* there are huge pages here */
		assert_true(kept.end >= 4 * MIB);
		assert_true(mb_keep_is_full(k, SIZE));
		take_before(&kept, kept.start + 3 * MIB, 1);
		assert_false(mb_keep_is_full(k, SIZE));
	}
	mb_kept_release(&kept);
	assert_int_equal(mb_keep_used(k), 0);
	mb_keep_close(k);
}

/* ---- the outlet ---- */

/* Read from `from` until the end or `limit`, into memory. */
struct reader {
	pthread_t thread;
	int fd;
	size_t limit;
	unsigned pause_us;	/* before each read */
	struct mb_buf got;
};

static void *
read_all(void *arg)
{
	struct reader *r = arg;
	ssize_t n = 1;

	while (n > 0 && r->got.len < r->limit) {
		if (r->pause_us > 0)
			nanosleep(&(struct timespec){ .tv_nsec =
			    r->pause_us * 1000 }, NULL);
		mb_buf_reserve(&r->got, 100000);
		n = read(r->fd, r->got.p + r->got.len, 100000);
		if (n > 0)
			r->got.len += (size_t)n;
	}
	return NULL;
}

static void
start_reader(struct reader *r, int fd, unsigned pause_us)
{
	*r = (struct reader){
		.fd = fd, .limit = SIZE_MAX, .pause_us = pause_us
	};
	assert_int_equal(pthread_create(&r->thread, NULL, read_all, r), 0);
}

/*
 * A reader who moves the pages on, without copying them, and keeps them: they
 * must not change whatever is read into the keep from then on.
 */
static void
test_lent_pages_stay(void **state)
{
	enum { LENT = 640 * 1024, READ = 128 * 1024 };
	struct mb_keep *k = mb_keep_open(4 * MIB);
	struct mb_kept kept = { 0 };
	struct reader r;
	struct mb_outlet o;
	struct mb_err err = { 0 };
	struct mb_str piece;
	int to[2], held[2];
	bool may_lend, was_lent = false;
	size_t n_held = 0;

	(void)state;
	assert_int_equal(pipe2(to, O_CLOEXEC) | pipe2(held, O_CLOEXEC), 0);
	assert_true(fcntl(to[1], F_SETPIPE_SZ, MIB) >= MIB);
	assert_true(fcntl(held[1], F_SETPIPE_SZ, MIB) >= MIB);
	mb_outlet_init(&o, to[1]);
	for (unsigned round = 0; round < 40; round++) {
		/* The first rounds fill what is not lent. */
		while (kept.end - kept.start < LENT) {
			char *p = mb_keep_room(k, READ);

			if (p == NULL)
				break;
			fill(p, READ, round, kept.end);
			mb_kept_add(&kept, k, READ, kept.end);
		}
		if (round > 0)
			mb_kept_release(&kept);
		while (round == 0 && mb_kept_next(&kept, kept.end, &piece,
		    &may_lend)) {
			if (!may_lend) {
				n_held = kept.start + piece.len;
				continue;
			}
			was_lent = true;
			good(mb_outlet_lend(&o, piece.p, piece.len, &err),
			    &err);
			assert_int_equal(splice(to[0], NULL, held[1], NULL,
			    piece.len, SPLICE_F_MOVE), piece.len);
		}
	}
	close(held[1]);
	start_reader(&r, held[0], 0);
	pthread_join(r.thread, NULL);
	if (was_lent && (r.got.len == 0 || !is_right((struct mb_str){
	    r.got.p, r.got.len }, 0, n_held)))
		fail_msg("%zu bytes were held and have changed", r.got.len);
	mb_buf_release(&r.got);
	mb_outlet_release(&o);
	mb_kept_release(&kept);
	mb_keep_close(k);
	close(held[0]);
	close(to[0]);
	close(to[1]);
}

/* A reader who begins only when there is nothing else to do. */
struct late {
	int calls, until;
	struct reader r;
	int fd;
};

static bool
work(void *arg)
{
	struct late *l = arg;

	if (++l->calls == l->until)
		start_reader(&l->r, l->fd, 0);
	return l->calls < l->until;
}

enum kind { PIPE, NONBLOCKING, SOCKET, AS_FILE };

static void
test_outlet(void **state)
{
	static const struct {
		enum kind kind;
		int until;		/* calls of work; 0: no such thing */
		unsigned pause_us;
	} cases[] = {
		{ PIPE, 0, 0 }, { PIPE, 0, 100 }, { PIPE, 1, 0 },
		{ PIPE, 1000, 0 }, { NONBLOCKING, 0, 100 },
		{ NONBLOCKING, 7, 0 }, { SOCKET, 0, 0 }, { AS_FILE, 0, 0 },
	};
	(void)state;
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		enum { TOTAL = 4 * MIB };
		struct late l = { .until = cases[c].until };
		struct mb_err err = { 0 };
		struct mb_outlet o;
		FILE *file = NULL;
		int fds[2];
		/* Once written it stays: so it may be lent. */
		char *bytes = aligned_alloc(4096, TOTAL);

		assert_non_null(bytes);
		fill(bytes, TOTAL, 3, 0);
		if (cases[c].kind == AS_FILE) {
			file = tmpfile();
			assert_non_null(file);
			fds[0] = fds[1] = fileno(file);
		} else if (cases[c].kind == SOCKET) {
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0,
			    fds), 0);
		} else {
			assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
			if (cases[c].kind == NONBLOCKING)
				assert_int_equal(fcntl(fds[1], F_SETFL,
				    O_NONBLOCK), 0);
		}
		l.fd = fds[0];
		mb_outlet_init(&o, fds[1]);
		if (l.until > 0) {
			o.meanwhile = work;
			o.arg = &l;
		} else if (file == NULL) {
			start_reader(&l.r, fds[0], cases[c].pause_us);
		}
		for (size_t at = 0; at < TOTAL; ) {
			size_t len = (size_t)below(below(2) > 0 ? 300 :
			    500 * 1024);

			if (len > TOTAL - at)
				len = TOTAL - at;
			good(below(2) > 0 ? mb_outlet_put(&o, bytes + at, len,
			    &err) : mb_outlet_lend(&o, bytes + at, len, &err),
			    &err);
			if (below(9) == 0)
				good(mb_outlet_flush(&o, &err), &err);
			at += len;
		}
		good(mb_outlet_flush(&o, &err), &err);
		if (file != NULL) {
			assert_int_equal(lseek(fds[0], 0, SEEK_SET), 0);
			start_reader(&l.r, fds[0], 0);
		} else {
			close(fds[1]);
		}
		mb_outlet_release(&o);
		pthread_join(l.r.thread, NULL);
		if (l.r.got.len != TOTAL ||
		    memcmp(l.r.got.p, bytes, TOTAL) != 0 ||
		    l.calls < l.until)
			fail_msg("case %zu, seed %" PRIu64 ": %zu bytes, %d "
			    "calls", c, first, l.r.got.len, l.calls);
		mb_buf_release(&l.r.got);
		if (file != NULL)
			fclose(file);
		else
			close(fds[0]);
		free(bytes);
	}
}

/* No such call, says the system from now on. */
static void
refuse_vmsplice(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_vmsplice, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {
		sizeof code / sizeof *code, code
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(77);
}

/* An old kernel, or a sandbox: everything leaves by plain writes. */
static void
test_refused(void **state)
{
	struct reader r;
	struct mb_outlet o;
	struct mb_err err = { 0 };
	struct late l = { 0 };
	int fds[2], status;
	char *bytes = aligned_alloc(4096, MIB);
	pid_t child;

	(void)state;
	assert_non_null(bytes);
	fill(bytes, MIB, 5, 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		close(fds[0]);
		refuse_vmsplice();
		mb_outlet_init(&o, fds[1]);
		o.meanwhile = work;
		o.arg = &l;
		_exit(mb_outlet_put(&o, bytes, 300, &err) < 0 ||
		    mb_outlet_lend(&o, bytes + 300, MIB - 300, &err) < 0 ||
		    mb_outlet_flush(&o, &err) < 0);
	}
	close(fds[1]);
	start_reader(&r, fds[0], 0);
	pthread_join(r.thread, NULL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(r.got.len, MIB);
	assert_memory_equal(r.got.p, bytes, MIB);
	mb_buf_release(&r.got);
	close(fds[0]);
	free(bytes);
}

/* The reader has gone: an error, and no signal's death. */
static void
test_no_reader(void **state)
{
	struct mb_err err = { 0 };
	struct mb_outlet o;
	int fds[2];
	char *bytes = aligned_alloc(4096, MIB);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', MIB);
	for (int lends = 0; lends < 2; lends++) {
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		close(fds[0]);
		mb_outlet_init(&o, fds[1]);
		err = (struct mb_err){ 0 };
		assert_int_equal(lends ? mb_outlet_lend(&o, bytes, MIB, &err) :
		    mb_outlet_put(&o, bytes, MIB, &err), -1);
		assert_int_equal(err.code, MB_EPIPE);
		mb_outlet_release(&o);
		close(fds[1]);
	}
	free(bytes);
}

/* ---- cutter and emitter ---- */

enum { FILES = 3, RECORD_LIMIT = 5000 };


static struct world {
	struct mb_journal *journal;
	struct mb_cutter *cutter;
	struct mb_emitter *emitter;
	int fd[FILES];
	struct mb_content *content[FILES];
	struct mb_input *in[FILES];
	struct mb_buf text[FILES];	/* what the files will be */
	size_t written[FILES];
	int out;
	struct reader r;
	struct mb_buf expected, ranges;
	bool goes_ahead;
	bool is_odd;	/* there are lines that are not kept */
} w;

static void
put_record(struct mb_buf *out)
{
	switch (below(60)) {
	case 0:
		mb_buf_addc(out, '\n');
		return;
	case 1:			/* too long, sometimes by far */
		w.is_odd = true;
		for (size_t n = RECORD_LIMIT + below(300000) / (1 +
		    below(100)); n > 0; n--)
			mb_buf_addc(out, 'l');
		mb_buf_addc(out, '\n');
		return;
	case 2:
		mb_buf_adds(out, "1,\"a\nb\",\"\"\"\"\r\n");
		return;
	case 3:
		mb_buf_adds(out, "out \"of\" place,1\n");
		return;
	case 4:			/* opened, and never closed */
		mb_buf_adds(out, "2,\"open\n3,4\n5,x\"y\n");
		return;
	case 5:
		mb_buf_adds(out, "a,b\r");
		return;
	}
	for (size_t n = below(150); n > 0; n--)
		mb_buf_addc(out, (char)('a' + n % 26));
	mb_buf_addf(out, ",%" PRIu64 "\n", below(1000000));
}

static void
grow(int i, size_t len)
{
	if (len > w.text[i].len - w.written[i])
		len = w.text[i].len - w.written[i];
	assert_int_equal(pwrite(w.fd[i], w.text[i].p + w.written[i], len,
	    (off_t)w.written[i]), (ssize_t)len);
	w.written[i] += len;
}

static bool
step_ahead(void *arg)
{
	struct mb_err err = { 0 };
	int rc = MB_CUT_NOTHING;

	(void)arg;
	for (uint64_t n = below(4); n > 0 && rc != MB_CUT_FULL; n--)
		rc = mb_cut_step(w.cutter, &err);
	good(rc, &err);
	return rc == MB_CUT_MORE;
}

static void
open_world(int n, const struct mb_cut_options *o, unsigned pause_us)
{
	struct mb_err err = { 0 };
	char path[128];
	int fds[2];

	w.ranges.len = w.expected.len = 0;
	snprintf(path, sizeof path, "%s/%d.mbj", place, n);
	good(mb_journal_open(&w.journal, path, MB_JOURNAL_CREATE |
	    MB_JOURNAL_ALL, &err), &err);
	w.cutter = mb_cut_open(o, w.journal);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	w.out = fds[1];
	start_reader(&w.r, fds[0], pause_us);
	good(mb_emitter_open(&w.emitter, w.journal, w.out, true, RECORD_LIMIT,
	    &err), &err);
	mb_emitter_bring(w.emitter, mb_cut_parcel(w.cutter));
	if (w.goes_ahead)
		mb_emitter_meanwhile(w.emitter, step_ahead, NULL);
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "%s/%c", place, 'a' + i);
		w.fd[i] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		    0600);
		assert_true(w.fd[i] >= 0);
		w.written[i] = 0;
		w.content[i] = mb_content_take(dup(w.fd[i]), path, w.journal);
		w.in[i] = mb_input_add(w.cutter, (unsigned)i, path, MB_NONE,
		    w.content[i], NULL);
	}
}

static void
close_world(void)
{
	for (int i = 0; i < FILES; i++) {
		mb_input_remove(w.cutter, w.in[i]);
		mb_content_close(w.content[i]);
		close(w.fd[i]);
	}
	mb_cut_close(w.cutter);
	mb_journal_close(w.journal);
	mb_buf_release(&w.r.got);
}

/* What the batch is to be, by the text of the files. */
static void
expect(const struct mb_batch *b)
{
	const struct mb_state *s = mb_journal_state(w.journal);

	for (size_t k = 0; k < b->n_ranges; k++) {
		const struct mb_range *r = &b->ranges[k];
		int i = strrchr(mb_state_generation(s, r->generation)->source,
		    '/')[1] - 'a';

		mb_buf_addf(&w.ranges, "%d:%" PRIu64 "-%" PRIu64 "=%" PRIu64
		    "%s ", i, r->start, r->end, r->records,
		    r->is_partial ? "~" : "");
		mb_buf_add(&w.expected, w.text[i].p + r->start,
		    (size_t)(r->end - r->start));
		if (w.text[i].p[r->end - 1] != '\n')
			mb_buf_addc(&w.expected, '\n');
	}
	mb_buf_addf(&w.ranges, "%zu rejects; ", b->n_rejects);
}

/* With hides, the files hold something else while the batch is emitted. */
static void
plan_and_emit(bool hides)
{
	const struct mb_state *s = mb_journal_state(w.journal);
	struct mb_batch b = { 0 };
	struct mb_buf lines = { 0 };
	struct mb_input *changed;
	struct mb_err err = { 0 };
	enum mb_emit_result result;
	const char *why;

	good(mb_cut_take(w.cutter, &b, &lines, &changed, &err), &err);
	assert_null(changed);
	b.number = s->next_batch;
	b.run = 1;
	b.settled = s->settled;
	b.digest = mb_state_digest(s, &b);
	mb_put_plan(&lines, &b, mb_journal_synced(w.journal));
	good(mb_journal_append(w.journal, &lines, &err), &err);
	mb_cut_planned(w.cutter);
	expect(&b);
	for (int i = 0; hides && i < FILES; i++)
		for (size_t at = 0; at < w.written[i]; at += 4)
			assert_int_equal(pwrite(w.fd[i], "gone", 4,
			    (off_t)at), 4);
	good(mb_emit_batch(w.emitter, mb_state_batch(s, b.number), &result,
	    &why, &err), &err);
	if (result != MB_EMIT_WHOLE)
		fail_msg("batch %" PRIu64 ": %s", b.number, why);
	for (int i = 0; hides && i < FILES; i++) {
		size_t len = w.written[i];

		w.written[i] = 0;
		grow(i, len);
		assert_int_equal(ftruncate(w.fd[i], (off_t)len), 0);
	}
	mb_batch_release(&b);
	mb_buf_release(&lines);
}

static void
run(uint64_t growth, bool hides)
{
	struct mb_err err = { 0 };
	bool is_final = false;
	int rc;

	for (;;) {
		for (int i = 0; i < FILES; i++)
			grow(i, growth == 0 ? SIZE_MAX : below(growth));
		if (w.written[0] == w.text[0].len &&
		    w.written[1] == w.text[1].len &&
		    w.written[2] == w.text[2].len) {
			is_final = true;
			for (int i = 0; i < FILES; i++)
				mb_input_final(w.in[i], true);
		}
		while ((rc = mb_cut_scan(w.cutter, &err)) == MB_CUT_MORE)
			;
		good(rc, &err);
		if (rc == MB_CUT_FULL || (mb_cut_has_batch(w.cutter) &&
		    (is_final || below(3) == 0)))
			plan_and_emit(hides);
		else if (is_final)
			break;
		if (below(20) == 0)
			mb_cut_rest(w.cutter);
	}
	mb_emitter_close(w.emitter);
	close(w.out);
	pthread_join(w.r.thread, NULL);
	close(w.r.fd);
}

static void
compare(void)
{
	if (!mb_str_eq((struct mb_str){ w.r.got.p, w.r.got.len },
	    (struct mb_str){ w.expected.p, w.expected.len }))
	{
		size_t at = 0;

		while (at < w.r.got.len && at < w.expected.len &&
		    w.r.got.p[at] == w.expected.p[at])
			at++;
		fail_msg("seed %" PRIu64 ": %zu bytes came out instead of "
		    "%zu, differing from %zu on; batches %s", first,
		    w.r.got.len, w.expected.len, at, mb_buf_str(&w.ranges));
	}
}

/*
 * Whatever is kept and whenever is scanned: what comes out are the bytes of
 * the plans, and the plans depend on the files alone.
 */
static void
test_files(void **state)
{
	static const size_t sizes[] = { 0, 300, 60000, 700000, 4 * MIB };
	static const size_t keeps[] = { 0, 4 * MIB, 80 * MIB };
	const char *rounds = getenv("MB_ROUNDS");
	int n_rounds = rounds != NULL ? (int)strtol(rounds, NULL, 10) : 40;
	struct mb_buf before = { 0 };

	(void)state;
	for (int n = 0; n < n_rounds; n++) {
		size_t most = sizes[below(5)];
		struct mb_cut_options o = {
			.format = below(2) > 0 ? "csv" : "lines",
			.delimiter = ',', .record_limit = RECORD_LIMIT,
			.max_bytes = below(2) > 0 ? below(2 * MIB) + 1 :
			    64 * MIB,
			.max_records = below(3) > 0 ? 0 : below(3000) + 500,
		};
		bool hides;

		if (most > 100000 && o.max_bytes < 100000)
			o.max_bytes += 100000;
		w.is_odd = false;
		for (int i = 0; i < FILES; i++) {
			mb_buf_reset(&w.text[i]);
			while (w.text[i].len < most && (most > 100000 ||
			    below(1000) > 0))
				put_record(&w.text[i]);
			if (below(3) == 0 && w.text[i].len > 0)
				w.text[i].len--;
		}
		/* What fits the small part is never read again. */
		hides = !w.is_odd && w.text[0].len + w.text[1].len + w.text[2].len <
		    200000;
		o.keep = keeps[below(3)];
		w.goes_ahead = below(3) > 0 && !hides;
		open_world(3 * n, &o, below(3) > 0 ? 0 : 50);
		run(most / 3 + 1, hides);
		compare();
		close_world();
		/* The same batches with and without looking ahead. */
		for (int goes = 0; goes < 2; goes++) {
			w.goes_ahead = goes > 0;
			open_world(3 * n + 1 + goes, &o, 50);
			run(0, false);
			compare();
			if (goes > 0 && !mb_str_eq((struct mb_str){ before.p,
			    before.len }, (struct mb_str){ w.ranges.p,
			    w.ranges.len }))
				fail_msg("seed %" PRIu64 ": %s\nand ahead: "
				    "%s", first, mb_buf_str(&before),
				    mb_buf_str(&w.ranges));
			mb_buf_reset(&before);
			mb_buf_add(&before, w.ranges.p, w.ranges.len);
			close_world();
		}
	}
	for (int i = 0; i < FILES; i++)
		mb_buf_release(&w.text[i]);
	mb_buf_release(&w.ranges);
	mb_buf_release(&w.expected);
	mb_buf_release(&before);
}

static int
set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	return set_up_place_in_memory(state);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_use),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_lent_pages_stay),
		cmocka_unit_test(test_outlet),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_reader),
		cmocka_unit_test(test_files),
	};
	const char *given = getenv("MB_SEED");

	first = given != NULL ? (uint64_t)strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL);
	seed = first * 2654435761 + 1;
	fprintf(stderr, "MB_SEED=%" PRIu64 "\n", first);
	return cmocka_run_group_tests(tests, set_up, tear_down_place);
}
