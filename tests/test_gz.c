/* source/gz.h and gzindex.h: any offset of a gzip file, wherever it was cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/mem.h"
#include "place.h"
#include "source/content.h"
#include "source/gz.h"

enum { TEXT = 40 << 20 };	/* ten places at least */

static struct mb_journal *journal;
static struct mb_buf text;	/* what the file holds */
static struct mb_buf packed;

static uint64_t
next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* Append one member. */
static void
put_member(struct mb_buf *out, const char *p, size_t len)
{
	z_stream z = { 0 };

	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8,
	    Z_DEFAULT_STRATEGY), Z_OK);
	mb_buf_reserve(out, deflateBound(&z, len) + 64);
	z.next_in = (Bytef *)(uintptr_t)p;
	z.avail_in = (uInt)len;
	z.next_out = (Bytef *)out->p + out->len;
	z.avail_out = (uInt)(out->cap - out->len);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += z.total_out;
	deflateEnd(&z);
}

static char *
path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", place, name);
	return path;
}

static int
write_file(const char *name, const char *p, size_t len)
{
	int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0600);

	assert_true(fd >= 0);
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		assert_true(n > 0);
		p += n;
		len -= (size_t)n;
	}
	return fd;
}

static int
set_up(void **state)
{
	struct mb_err err = { 0 };
	uint64_t random = 42;

	(void)state;
	if (make_place(false) < 0)
		return -1;
	assert_int_equal(mb_journal_open(&journal, path_of("j.mbj"),
	    MB_JOURNAL_CREATE, &err), 0);
	while (text.len < TEXT)
		mb_buf_addf(&text, "%zu,%u,some words that come again\n",
		    text.len, (unsigned)next_random(&random));
	/* a long member or two, many short ones, an empty one, a long one */
	put_member(&packed, text.p, 100000);
	put_member(&packed, text.p + 100000, (15 << 20) - 100000);
	for (size_t at = 15 << 20; at < (size_t)25 << 20; at += 1 << 16)
		put_member(&packed, text.p + at, 1 << 16);
	put_member(&packed, "", 0);
	put_member(&packed, text.p + (25 << 20), text.len - (25 << 20));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	mb_journal_close(journal);
	mb_buf_release(&text);
	mb_buf_release(&packed);
	remove_place();
	return 0;
}

/* The only index there is; its path, and its size. */
static off_t
find_index(char *path, size_t cap)
{
	char dir[160];
	struct stat st = { 0 };
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof dir, "%s", path_of("j.mbj.d/gz"));
	*path = '\0';
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') {
			snprintf(path, cap, "%s/%s", dir, e->d_name);
			assert_int_equal(stat(path, &st), 0);
		}
	if (d != NULL)
		closedir(d);
	return st.st_size;
}

static void
forget_index(void)
{
	clear_directory(path_of("j.mbj.d/gz"));
	rmdir(path_of("j.mbj.d/gz"));
}

/* Is what is read at `off` what stands in `t` there? */
static void
check_read(struct mb_gz *z, const struct mb_buf *t, size_t off, size_t len)
{
	static char got[256 * 1024];
	struct mb_err err = { 0 };
	size_t want = off > t->len ? 0 : t->len - off < len ? t->len - off :
	    len;
	ssize_t n = mb_gz_read(z, got, len, off, &err);

	if (n != (ssize_t)want || (want > 0 &&
	    memcmp(got, t->p + off, want) != 0))
		fail_msg("%zu bytes at %zu: %zd, \"%s\"", len, off, n,
		    err.msg);
}

static void
test_everywhere(void **state)
{
	int fd = write_file("a.gz", packed.p, packed.len);
	struct mb_gz *z = mb_gz_open(fd, "a.gz", journal);
	struct mb_err err = { 0 };
	uint64_t random = 7;
	char path[500];
	const char *why;
	size_t behind = 0;
	off_t size;

	(void)state;
	/* As the cutter and the emitter do: one ahead, one behind, anchors. */
	for (size_t at = 0; at < text.len + 1; at += 128 * 1024) {
		check_read(z, &text, at, 128 * 1024);
		check_read(z, &text, 0, 4096);
		if (at > 4096)
			check_read(z, &text, at - 4096, 4096);
		if (at % (10 << 20) != 0)
			continue;
		for (; behind < at; behind += 128 * 1024)
			check_read(z, &text, behind, 128 * 1024);
		assert_int_equal(mb_gz_refresh(z, &err), 0);
	}
	check_read(z, &text, text.len, 1);
	assert_int_equal(mb_gz_trouble(z, &why), MB_GZ_FINE);
	assert_int_equal(mb_gz_reaches(z, text.len, &err), 1);
	assert_int_equal(mb_gz_reaches(z, text.len + 1, &err), 0);
	size = find_index(path, sizeof path);
	assert_in_range(size, 5 * 32 * 1024, 12 * 34 * 1024);
	for (int i = 0; i < 30; i++)
		check_read(z, &text, next_random(&random) % text.len,
		    1 + next_random(&random) % (200 * 1024));
	mb_gz_close(z);
	/* Another process; nothing new comes into the index. */
	z = mb_gz_open(fd, "a.gz", journal);
	for (int i = 0; i < 30; i++)
		check_read(z, &text, next_random(&random) % text.len, 5000);
	mb_gz_close(z);
	assert_int_equal(find_index(path, sizeof path), size);
	close(fd);
}

/* The proof that it begins in the middle: what stands before is destroyed. */
static void
test_begins_in_the_middle(void **state)
{
	static const char zeros[200000];
	int fd = write_file("b.gz", packed.p, packed.len);
	struct mb_gz *z;
	const char *why;
	char byte;
	struct mb_err err = { 0 };

	(void)state;
	assert_int_equal(pwrite(fd, zeros, sizeof zeros, 5000),
	    (ssize_t)sizeof zeros);
	z = mb_gz_open(fd, "b.gz", journal);
	for (size_t off = 5 << 20; off < text.len; off += 3000000)
		check_read(z, &text, off, 100000);
	assert_int_equal(mb_gz_trouble(z, &why), MB_GZ_FINE);
	mb_gz_close(z);
	/* Without the index the damage is in the way, and is told. */
	forget_index();
	z = mb_gz_open(fd, "b.gz", journal);
	assert_int_equal(mb_gz_read(z, &byte, 1, 5 << 20, &err), 0);
	assert_int_equal(mb_gz_trouble(z, &why), MB_GZ_DAMAGED);
	assert_memory_equal(why, "at byte ", 8);
	/* What stands before it is good; and mended it is all there. */
	check_read(z, &text, 0, 4000);
	assert_int_equal(pwrite(fd, packed.p + 5000, sizeof zeros, 5000),
	    (ssize_t)sizeof zeros);
	check_read(z, &text, 5 << 20, 10000);
	check_read(z, &text, text.len, 1);
	assert_int_equal(mb_gz_trouble(z, &why), MB_GZ_FINE);
	mb_gz_close(z);
	close(fd);
}

/* Whatever is done to the index: what is read is right, and it is made anew. */
static void
test_damaged_index(void **state)
{
	int fd = write_file("a.gz", packed.p, packed.len);
	struct mb_gz *z;
	uint64_t random = 3;
	char path[500];
	off_t size;

	(void)state;
	for (int i = 0; i < 12; i++) {
		int index;

		z = mb_gz_open(fd, "a.gz", journal);
		check_read(z, &text, text.len - 1000, 2000);
		mb_gz_close(z);
		size = find_index(path, sizeof path);
		assert_in_range(size, 100000, 400000);
		index = open(path, O_RDWR | O_CLOEXEC);
		assert_true(index >= 0);
		if (i % 4 == 3) {
			assert_int_equal(ftruncate(index, (off_t)(
			    next_random(&random) % (uint64_t)size)), 0);
		} else if (i % 4 == 2) {
			/* of another journal */
			assert_int_equal(pwrite(index, "0000", 4, 35), 4);
		} else {
			off_t at = (off_t)(next_random(&random) %
			    (uint64_t)size);
			char byte;

			assert_int_equal(pread(index, &byte, 1, at), 1);
			byte ^= 4;
			assert_int_equal(pwrite(index, &byte, 1, at), 1);
		}
		close(index);
		z = mb_gz_open(fd, "a.gz", journal);
		for (int k = 0; k < 10; k++)
			check_read(z, &text, next_random(&random) % text.len,
			    3000);
		mb_gz_close(z);
	}
	close(fd);
}

/* Two files that begin alike are not taken for one another. */
static void
test_equal_heads(void **state)
{
	struct mb_buf other = { 0 }, other_packed = { 0 };
	struct mb_gz *z;
	int fd;

	(void)state;
	mb_buf_add(&other, text.p, 20 << 20);
	for (size_t i = 100000; i < other.len; i += 50)
		other.p[i] ^= 1;
	put_member(&other_packed, other.p, 100000);
	put_member(&other_packed, other.p + 100000, other.len - 100000);
	assert_memory_equal(packed.p, other_packed.p, 4096);
	for (int i = 0; i < 2; i++) {
		const struct mb_buf *t = i == 0 ? &text : &other;
		const struct mb_buf *p = i == 0 ? &packed : &other_packed;

		fd = write_file("a.gz", p->p, p->len);
		z = mb_gz_open(fd, "a.gz", journal);
		check_read(z, t, 19 << 20, 1000);
		check_read(z, t, 10 << 20, 1000);
		mb_gz_close(z);
		close(fd);
	}
	mb_buf_release(&other);
	mb_buf_release(&other_packed);
}

/* A file that grows, cut anywhere: nothing is missing and nothing is wrong. */
static void
test_growing(void **state)
{
	struct mb_buf t = { 0 }, p = { 0 };
	uint64_t random = 11;
	struct mb_gz *z;
	const char *why;
	size_t size = 0;
	struct stat st;
	int fd;

	(void)state;
	mb_buf_add(&t, text.p, 3 << 20);
	put_member(&p, t.p, 1 << 20);
	put_member(&p, t.p + (1 << 20), 2 << 20);
	fd = write_file("g.gz", "", 0);
	z = mb_gz_open(fd, "g.gz", journal);
	while (size < p.len) {
		struct mb_err err = { 0 };
		size_t more = 1 + next_random(&random) % 60000;
		static char got[4 << 20];
		ssize_t n;

		if (more > p.len - size)
			more = p.len - size;
		assert_int_equal(pwrite(fd, p.p + size, more, (off_t)size),
		    (ssize_t)more);
		size += more;
		n = mb_gz_read(z, got, sizeof got, 0, &err);
		assert_true(n >= 0);
		assert_memory_equal(got, t.p, (size_t)n);
		/* at most what one block of zlib holds back */
		assert_in_range(n, (size_t)(size * (t.len / p.len)) / 2,
		    t.len);
		assert_int_equal(mb_gz_trouble(z, &why), size == p.len ?
		    MB_GZ_FINE : MB_GZ_CUT);
		assert_int_equal(mb_gz_refresh(z, &err), 0);
	}
	check_read(z, &t, 0, 256 * 1024);
	check_read(z, &t, t.len - 10, 20);
	/* No more than the limit counts. */
	mb_gz_close(z);
	z = mb_gz_open(fd, "g.gz", journal);
	mb_gz_limit(z, p.len / 2);
	assert_int_equal(mb_gz_reaches(z, t.len, &(struct mb_err){ 0 }), 0);
	assert_int_equal(mb_gz_trouble(z, &why), MB_GZ_CUT);
	mb_gz_limit(z, UINT64_MAX);
	check_read(z, &t, t.len - 10, 20);
	/* Written anew in its place. */
	assert_int_equal(ftruncate(fd, 0), 0);
	mb_buf_reset(&p);
	put_member(&p, t.p + 12345, 1 << 20);
	assert_int_equal(pwrite(fd, p.p, p.len, 0), (ssize_t)p.len);
	assert_int_equal(mb_gz_refresh(z, &(struct mb_err){ 0 }), 0);
	mb_buf_reset(&t);
	mb_buf_add(&t, text.p + 12345, 1 << 20);
	check_read(z, &t, t.len - 10, 20);
	check_read(z, &t, 0, 10000);
	mb_gz_close(z);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	mb_buf_release(&t);
	mb_buf_release(&p);
}

/* A content is what its bytes say, also when they are written anew. */
static void
test_content(void **state)
{
	struct mb_err err = { 0 };
	struct mb_buf p = { 0 };
	struct mb_content *c;
	struct mb_hash head, tail, want;
	char got[100];
	int fd = write_file("c", "", 0);

	(void)state;
	c = mb_content_take(dup(fd), "c", journal);
	assert_int_equal(mb_content_read(c, got, 100, 0, &err), 0);
	put_member(&p, "hello\nworld\n", 12);
	assert_int_equal(pwrite(fd, p.p, p.len, 0), (ssize_t)p.len);
	assert_int_equal(mb_content_read(c, got, 100, 0, &err), 12);
	assert_memory_equal(got, "hello\nworld\n", 12);
	assert_int_equal(mb_content_reaches(c, 12, &err), 1);
	assert_int_equal(mb_content_reaches(c, 13, &err), 0);
	want = mb_hash_bytes("hello\n", 6);
	assert_int_equal(mb_content_anchors(c, 6, &head, &tail, &err), 1);
	assert_string_equal(head.hex, want.hex);
	assert_int_equal(mb_content_matches(c, 6, &want, &want, &err), 1);
	/* The same, as it was before it was compressed. */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, "hello\nyou\n", 10, 0), 10);
	assert_int_equal(mb_content_matches(c, 6, &want, &want, &err), 1);
	assert_int_equal(mb_content_read(c, got, 100, 6, &err), 4);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, p.p, p.len, 0), (ssize_t)p.len);
	assert_int_equal(mb_content_matches(c, 6, &want, &want, &err), 1);
	assert_int_equal(mb_content_read(c, got, 100, 6, &err), 6);
	mb_content_close(c);
	close(fd);
	mb_buf_release(&p);
}

/* A prefix, packed or not; what differs, differs at `changed`. */
static void
test_begins(void **state)
{
	static const struct {
		size_t a, b, changed;
		int begins;
	} cases[] = {
		{ 0, 0, SIZE_MAX, 1 },
		{ 0, 10, SIZE_MAX, 1 },
		{ 10, 0, SIZE_MAX, 0 },
		{ 10, 10, SIZE_MAX, 1 },
		{ 10, 10, 9, 0 },
		{ 10, 11, SIZE_MAX, 1 },
		{ 11, 10, SIZE_MAX, 0 },
		{ 4096, 4096, SIZE_MAX, 1 },
		{ 4096, 5000, 0, 0 },
		{ 4097, 5000, SIZE_MAX, 1 },
		{ 4097, 4096, SIZE_MAX, 0 },
		{ 5000, 90000, 4999, 0 },
		{ 40000, 90000, SIZE_MAX, 1 },
		{ 40000, 90000, 39999, 0 },
		{ 40000, 90000, 40000, 1 },	/* behind the prefix */
		{ 90000, 40000, SIZE_MAX, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int packing = 0; packing < 4; packing++) {
			struct mb_buf p = { 0 }, q = { 0 }, bytes = { 0 };
			struct mb_content *a, *b;
			struct mb_err err = { 0 };
			uint64_t len = 0;
			int fd, other, rc;

			mb_buf_add(&bytes, text.p, cases[i].b);
			if (cases[i].changed < cases[i].b)
				bytes.p[cases[i].changed] ^= 1;
			if (packing & 1)
				put_member(&p, text.p, cases[i].a);
			else
				mb_buf_add(&p, text.p, cases[i].a);
			if (packing & 2)
				put_member(&q, bytes.p, cases[i].b);
			else
				mb_buf_add(&q, bytes.p, cases[i].b);
			fd = write_file("a", p.p, p.len);
			other = write_file("b", q.p, q.len);
			a = mb_content_take(dup(fd), "a", journal);
			b = mb_content_take(dup(other), "b", journal);
			rc = mb_content_begins(a, b, &len, &err);
			if (rc != cases[i].begins || (rc > 0 &&
			    len != cases[i].a))
				fail_msg("case %zu, packing %d: %d, %" PRIu64
				    ": %s", i, packing, rc, len, err.msg);
			mb_content_close(a);
			mb_content_close(b);
			close(fd);
			close(other);
			mb_buf_release(&p);
			mb_buf_release(&q);
			mb_buf_release(&bytes);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everywhere),
		cmocka_unit_test(test_begins_in_the_middle),
		cmocka_unit_test(test_damaged_index),
		cmocka_unit_test(test_equal_heads),
		cmocka_unit_test(test_growing),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_begins),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
