/* record/gunzip.h: gzip in pieces, of several members, cut or damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <zlib.h>

#include "record/gunzip.h"

/* Append one gzip member. */
static void
put_gzip(struct mb_buf *out, struct mb_str text)
{
	z_stream z = { 0 };

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8,
	    Z_DEFAULT_STRATEGY), Z_OK);
	mb_buf_reserve(out, deflateBound(&z, text.len) + 64);
	z.next_in = (Bytef *)(uintptr_t)text.p;
	z.avail_in = (uInt)text.len;
	z.next_out = (Bytef *)out->p + out->len;
	z.avail_out = (uInt)(out->cap - out->len);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += z.total_out;
	deflateEnd(&z);
}

/* Everything; pieces of `piece` in, `room` out.  False: an error. */
static bool
gunzip_all(struct mb_buf *out, struct mb_str in, size_t piece, size_t room,
    struct mb_err *err)
{
	struct mb_gunzip *g;
	char *block = mb_alloc(room);
	ssize_t n = 0;

	mb_buf_reset(out);
	assert_int_equal(mb_gunzip_open(&g, err), 0);
	while (n >= 0 && in.len > 0) {
		size_t len = in.len < piece ? in.len : piece;
		char *copy = mb_alloc(len);
		struct mb_str data = { copy, len };

		memcpy(copy, in.p, len);
		while ((n = mb_gunzip_read(g, &data, block, room, err)) > 0)
			mb_buf_add(out, block, (size_t)n);
		assert_true(n < 0 || data.len == 0);
		free(copy);
		in.p += len;
		in.len -= len;
	}
	if (n == 0)
		n = mb_gunzip_finish(g, err);
	mb_gunzip_close(g);
	free(block);
	return n == 0;
}

static void
gzip_is_read_whole_or_said_to_be_cut(void **state)
{
	struct mb_buf text = { 0 }, gz = { 0 }, out = { 0 };
	size_t first;

	(void)state;
	for (int i = 0; i < 3000; i++)
		mb_buf_addf(&text, "line %d\n", i);
	put_gzip(&gz, (struct mb_str){ text.p, 10000 });
	first = gz.len;
	assert_true(mb_is_gzip((struct mb_str){ gz.p, gz.len }));
	assert_false(mb_is_gzip((struct mb_str){ gz.p, 2 }));
	assert_false(mb_is_gzip(MB_STR("a,b\n")));
	put_gzip(&gz, (struct mb_str){ text.p, 0 });	/* an empty member */
	put_gzip(&gz, (struct mb_str){ text.p + 10000, text.len - 10000 });
	for (size_t piece = 1; piece < 2 * gz.len; piece = piece * 7 + 1)
		for (size_t room = 1; room < 2 * text.len; room *= 40) {
			struct mb_err err = { 0 };

			assert_true(gunzip_all(&out, (struct mb_str){ gz.p,
			    gz.len }, piece, room, &err));
			assert_int_equal(out.len, text.len);
			assert_memory_equal(out.p, text.p, text.len);
		}
	/* cut anywhere: what is there is good, and an error unless between */
	for (size_t len = 0; len < gz.len; len += 1 + len / 50) {
		struct mb_err err = { 0 };
		bool ok = gunzip_all(&out, (struct mb_str){ gz.p, len }, 100,
		    1000, &err);

		assert_int_equal(ok, len == 0 || len == first ||
		    len == first + 20);
		assert_int_equal(err.code, ok ? MB_OK : MB_EDATA);
		if (out.len > 0)
			assert_memory_equal(out.p, text.p, out.len);
		/* all of it comes, however little room there is */
		if (len < 2000) {
			struct mb_err same = { 0 };
			size_t had = out.len;

			gunzip_all(&out, (struct mb_str){ gz.p, len }, len, 1,
			    &same);
			assert_int_equal(out.len, had);
		}
		if (!ok)
			assert_string_equal(err.msg, "gzip: the file ends in "
			    "the middle of its data");
	}
	mb_buf_release(&text);
	mb_buf_release(&gz);
	mb_buf_release(&out);
}

static void
gzip_may_be_padded_but_not_followed_or_damaged(void **state)
{
	static const struct {
		const char *tail;
		size_t len;
		bool ok;
	} cases[] = {
		{ "\0\0\0\0\0", 5, true }, { "\0\0x", 3, false },
		{ "hello", 5, false }, { "\x1f\x8b\x08", 3, false },
		{ "\0\x1f\x8b\x08", 4, false },
	};
	struct mb_buf gz = { 0 }, out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t piece = 1; piece < 100; piece += 33) {
			struct mb_err err = { 0 };

			mb_buf_reset(&gz);
			put_gzip(&gz, MB_STR("good"));
			mb_buf_add(&gz, cases[i].tail, cases[i].len);
			assert_int_equal(gunzip_all(&out, (struct mb_str){
			    gz.p, gz.len }, piece, 100, &err), cases[i].ok);
			assert_int_equal(err.code,
			    cases[i].ok ? MB_OK : MB_EDATA);
			assert_int_equal(out.len, 4);
		}
	for (size_t i = 0; i < 24; i++) {
		struct mb_err err = { 0 };

		mb_buf_reset(&gz);
		put_gzip(&gz, MB_STR("good"));
		gz.p[i] ^= 0x20;
		/* magic and method, or checksum and length */
		if (i > 2 && i < 16)
			continue;
		assert_false(gunzip_all(&out, (struct mb_str){ gz.p, gz.len },
		    100, 100, &err));
		assert_int_equal(err.code, MB_EDATA);
	}
	mb_buf_release(&gz);
	mb_buf_release(&out);
}

/*
 * From a point on, everything that comes is what would have come, and a wrong
 * checksum is still noticed.
 */
static void
check_point(const struct mb_gunzip_point *p, struct mb_str gz,
    struct mb_str text)
{
	struct mb_gunzip *g;
	struct mb_err err = { 0 };
	struct mb_buf out = { 0 };
	char block[700];
	ssize_t n;

	assert_int_equal(mb_gunzip_open(&g, &err), 0);
	for (int is_damaged = 0; is_damaged < 2; is_damaged++) {
		char *copy = mb_alloc(gz.len);
		struct mb_str rest = { copy + p->in, gz.len - p->in };

		memcpy(copy, gz.p, gz.len);
		copy[gz.len - 5] ^= is_damaged;		/* the checksum */
		mb_buf_reset(&out);
		assert_int_equal(mb_gunzip_resume(g, p, &err), 0);
		while ((n = mb_gunzip_read(g, &rest, block, sizeof block,
		    &err)) > 0)
			mb_buf_add(&out, block, (size_t)n);
		assert_int_equal(out.len, text.len - p->out);
		assert_memory_equal(out.p, text.p + p->out, out.len);
		if (is_damaged) {
			assert_int_equal(n, -1);
			assert_string_equal(err.msg,
			    "gzip: incorrect data check");
		} else {
			assert_int_equal(n, 0);
			assert_int_equal(mb_gunzip_finish(g, &err), 0);
			assert_int_equal(mb_gunzip_in(g), gz.len);
		}
		free(copy);
	}
	mb_gunzip_close(g);
	mb_buf_release(&out);
}

static void
gzip_goes_on_from_any_point(void **state)
{
	struct mb_buf text = { 0 }, gz = { 0 };
	uint64_t random = 1, before = 0;
	size_t n_points = 0, n_bits = 0, n_starts = 0;

	(void)state;
	for (int i = 0; i < 60000; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		mb_buf_addf(&text, "%d %u\n", i, (unsigned)(random >> 40));
	}
	put_gzip(&gz, (struct mb_str){ text.p, 300000 });
	put_gzip(&gz, (struct mb_str){ text.p + 300000, 10 });
	put_gzip(&gz, (struct mb_str){ text.p + 300010, text.len - 300010 });
	for (uint64_t want = 0; want < text.len; want += 40000) {
		struct mb_str in = { gz.p, 0 };
		struct mb_err err = { 0 };
		struct mb_gunzip *g;
		char block[5000];
		size_t given = 0;
		ssize_t n;

		assert_int_equal(mb_gunzip_open(&g, &err), 0);
		mb_gunzip_want_point(g, want);
		/* in small pieces: the byte before a point may be one's last */
		while (mb_gunzip_point(g) == NULL && given < gz.len) {
			in.len = gz.len - given < 100 ? gz.len - given : 100;
			given += in.len;
			while ((n = mb_gunzip_read(g, &in, block,
			    sizeof block, &err)) > 0)
				;
			assert_int_equal(n, 0);
		}
		if (mb_gunzip_point(g) != NULL) {
			const struct mb_gunzip_point *p = mb_gunzip_point(g);

			assert_in_range(p->out, want, text.len);
			assert_in_range(p->out, before, text.len);
			before = p->out;
			n_points++;
			n_bits += p->bits > 0;
			n_starts += !p->is_inside;
			check_point(p, (struct mb_str){ gz.p, gz.len },
			    (struct mb_str){ text.p, text.len });
		}
		mb_gunzip_close(g);
	}
	/* some of each kind */
	assert_in_range(n_points, 10, 1000);
	assert_in_range(n_bits, 5, n_points);
	assert_in_range(n_starts, 1, n_points - n_bits);
	mb_buf_release(&text);
	mb_buf_release(&gz);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gzip_is_read_whole_or_said_to_be_cut),
		cmocka_unit_test(
		    gzip_may_be_padded_but_not_followed_or_damaged),
		cmocka_unit_test(gzip_goes_on_from_any_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
