#include "agg/bytes.h"

#include <stdlib.h>

#include "record/format.h"
#include "record/gunzip.h"

enum { CHUNK = 256 * 1024, HEAD = 3 };

struct mb_bytes {
	struct mb_frame_reader *reader;
	const char *name;
	struct mb_gunzip *gunzip;	/* NULL: the bytes are as they come */
	struct mb_buf plain;		/* gunzip'ed; consumed up to start */
	size_t start;
	struct mb_str packed;		/* of the reader's last event */
	bool packed_is_last;
	bool has_begun;
	uint64_t off;
};

void
mb_bytes_open(struct mb_bytes **out, struct mb_frame_reader *r,
    const char *name)
{
	struct mb_bytes *b = mb_zalloc(sizeof *b);

	*b = (struct mb_bytes){ .reader = r, .name = name };
	*out = b;
}

void
mb_bytes_close(struct mb_bytes *b)
{
	if (b == NULL)
		return;
	mb_gunzip_close(b->gunzip);
	mb_buf_release(&b->plain);
	free(b);
}

/* The next event; after the last one nothing. */
static int
next_event(struct mb_bytes *b, struct mb_str *data, bool *is_last,
    struct mb_err *err)
{
	struct mb_frame_event ev;
	int rc = mb_frame_next(b->reader, &ev, err);

	if (rc < 0)
		return -1;
	*data = rc > 0 ? ev.data : MB_STR("");
	*is_last = rc == 0 || ev.is_last;
	return 0;
}

static int
unpack(struct mb_bytes *b, struct mb_str *data, bool *is_last,
    struct mb_err *err)
{
	size_t before = b->plain.len - b->start;
	struct mb_str in;
	ssize_t n;

	if (b->start > 0) {
		memmove(b->plain.p, b->plain.p + b->start, before);
		b->plain.len = before;
		b->start = 0;
	}
	for (;;) {
		mb_buf_reserve(&b->plain, CHUNK);
		in = b->packed;
		n = mb_gunzip_read(b->gunzip, &b->packed,
		    b->plain.p + b->plain.len, CHUNK, err);
		if (n < 0)
			return mb_wrap(err, "%s", b->name);
		mb_frame_consume(b->reader, in.len - b->packed.len);
		b->plain.len += (size_t)n;
		if (n > 0)
			break;
		if (b->packed_is_last) {
			if (mb_gunzip_finish(b->gunzip, err) < 0)
				return mb_wrap(err, "%s", b->name);
			*is_last = true;
			break;
		}
		if (next_event(b, &b->packed, &b->packed_is_last, err) < 0)
			return -1;
	}
	*data = (struct mb_str){ b->plain.p, b->plain.len };
	return 0;
}

static int
next_bytes(struct mb_bytes *b, struct mb_str *data, bool *is_last,
    struct mb_err *err)
{
	*is_last = false;
	if (b->gunzip != NULL)
		return unpack(b, data, is_last, err);
	return next_event(b, data, is_last, err);
}

/* Enough of the stream's head to know gzip and byte order mark. */
static int
read_head(struct mb_bytes *b, struct mb_str *data, bool *is_last,
    struct mb_err *err)
{
	do {
		if (next_bytes(b, data, is_last, err) < 0)
			return -1;
	} while (data->len < HEAD && !*is_last);
	return 0;
}

int
mb_bytes_next(struct mb_bytes *b, struct mb_str *data, bool *is_last,
    struct mb_err *err)
{
	size_t bom;

	if (b->has_begun)
		return next_bytes(b, data, is_last, err);
	b->has_begun = true;
	if (read_head(b, data, is_last, err) < 0)
		return -1;
	if (mb_is_gzip(*data)) {
		if (mb_gunzip_open(&b->gunzip, err) < 0)
			return -1;
		b->packed = *data;
		b->packed_is_last = *is_last;
		if (read_head(b, data, is_last, err) < 0)
			return -1;
	}
	bom = mb_bom_len(*data);
	if (bom > 0) {
		mb_bytes_consume(b, bom);
		data->p += bom;
		data->len -= bom;
	}
	return 0;
}

void
mb_bytes_consume(struct mb_bytes *b, size_t len)
{
	b->off += len;
	if (b->gunzip != NULL)
		b->start += len;
	else
		mb_frame_consume(b->reader, len);
}

bool
mb_bytes_file(const struct mb_bytes *b, int *fd, uint64_t *pos)
{
	return b->gunzip == NULL && mb_frame_file(b->reader, fd, pos);
}

int
mb_bytes_skip(struct mb_bytes *b, uint64_t pos, struct mb_err *err)
{
	uint64_t before;
	int fd;

	if (!mb_frame_file(b->reader, &fd, &before))
		return mb_fail(err, MB_EBUG, "%s is no file any more", b->name);
	b->off += pos - before;
	return mb_frame_skip(b->reader, pos, err);
}

uint64_t
mb_bytes_off(const struct mb_bytes *b)
{
	return b->off;
}
