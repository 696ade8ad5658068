/*
 * A row is a 32-bit length of what follows, then for each column a byte that
 * tells the kind, a 32-bit length and the bytes.  It never leaves the process,
 * so the order of bytes is the machine's.
 */
#include "sink/held.h"

#include <unistd.h>

#include "base/io.h"

enum { CHUNK = 1024 * 1024 };

void
mb_held_init(struct mb_held *h)
{
	*h = (struct mb_held){ .fd = -1 };
}

static void
put_u32(struct mb_buf *b, size_t n)
{
	uint32_t v = (uint32_t)n;

	mb_buf_add(b, &v, sizeof v);
}

void
mb_held_add(struct mb_held *h, const struct mb_value *values, size_t n)
{
	size_t start = h->memory.len;
	uint32_t len;

	put_u32(&h->memory, 0);
	for (size_t i = 0; i < n; i++) {
		mb_buf_addc(&h->memory, (char)values[i].kind);
		put_u32(&h->memory, values[i].len);
		mb_buf_add(&h->memory, values[i].p, values[i].len);
	}
	len = (uint32_t)(h->memory.len - start - sizeof len);
	memcpy(h->memory.p + start, &len, sizeof len);
}

bool
mb_held_is_full(const struct mb_held *h)
{
	return h->memory.len >= MB_HELD_MEMORY;
}

int
mb_held_spill(struct mb_held *h, int fd, struct mb_err *err)
{
	if (fd >= 0)
		h->fd = fd;
	if (mb_pwrite_all(h->fd, h->memory.p, h->memory.len, h->size,
	    "rows that wait", err) < 0)
		return -1;
	h->size += h->memory.len;
	mb_buf_reset(&h->memory);
	return 0;
}

int
mb_held_rewind(struct mb_held *h, struct mb_err *err)
{
	if (h->fd >= 0 && h->memory.len > 0 && mb_held_spill(h, -1, err) < 0)
		return -1;
	h->off = 0;
	h->at = 0;
	return 0;
}

/* At least so many bytes at h->at; 1, 0 at the end, -1. */
static int
fill(struct mb_held *h, size_t need, struct mb_err *err)
{
	size_t have = h->memory.len - h->at, want;
	ssize_t n;

	if (have >= need)
		return 1;
	if (h->fd < 0 || h->off == h->size)
		return have == 0 ? 0 : mb_fail(err, MB_EBUG, "half a row is "
		    "held");
	memmove(h->memory.p, h->memory.p + h->at, have);
	h->memory.len = have;
	h->at = 0;
	want = need > CHUNK ? need : CHUNK;
	mb_buf_reserve(&h->memory, want);
	n = mb_pread_full(h->fd, h->memory.p + have, want, h->off,
	    "rows that wait", err);
	if (n < 0)
		return -1;
	h->off += (uint64_t)n;
	h->memory.len += (size_t)n;
	return fill(h, need, err);
}

int
mb_held_next(struct mb_held *h, struct mb_value *values, size_t n,
    struct mb_err *err)
{
	uint32_t row, len;
	size_t i = 0, end;
	int rc = fill(h, sizeof row, err);

	if (rc <= 0)
		return rc;
	memcpy(&row, h->memory.p + h->at, sizeof row);
	if (fill(h, sizeof row + row, err) < 0)
		return -1;
	h->at += sizeof row;
	end = h->at + row;
	for (; h->at < end && i < n; i++) {
		const char *p = h->memory.p + h->at;

		memcpy(&len, p + 1, sizeof len);
		values[i] = (struct mb_value){ p + 1 + sizeof len, len,
			(enum mb_kind)*p };
		h->at += 1 + sizeof len + len;
	}
	for (; i < n; i++)
		values[i] = mb_value_null();
	h->at = end;
	return 1;
}

void
mb_held_reset(struct mb_held *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->size = 0;
	h->off = 0;
	h->at = 0;
	mb_buf_reset(&h->memory);
}

void
mb_held_release(struct mb_held *h)
{
	mb_held_reset(h);
	mb_buf_release(&h->memory);
}
