#include "sink/held.h"

#include <unistd.h>

#include "base/io.h"

/* Once there is a file: what the processor's caches hold. */
enum { PIECE = 512 * 1024 };

void
mb_held_init(struct mb_held *h)
{
	*h = (struct mb_held){ .fd = -1 };
}

void
mb_held_add(struct mb_held *h, struct mb_str records)
{
	mb_buf_add(&h->memory, records.p, records.len);
}

bool
mb_held_is_full(const struct mb_held *h)
{
	return h->memory.len >= (h->fd < 0 ? MB_HELD_MEMORY : PIECE);
}

int
mb_held_spill(struct mb_held *h, int fd, struct mb_err *err)
{
	if (fd >= 0)
		h->fd = fd;
	if (mb_pwrite_all(h->fd, h->memory.p, h->memory.len, h->size,
	    "records that wait", err) < 0)
		return -1;
	h->size += h->memory.len;
	mb_buf_reset(&h->memory);
	/* From now on little is held. */
	if (h->memory.cap > 2 * PIECE)
		mb_buf_release(&h->memory);
	return 0;
}

int
mb_held_rewind(struct mb_held *h, struct mb_err *err)
{
	if (h->fd >= 0 && h->memory.len > 0 && mb_held_spill(h, -1, err) < 0)
		return -1;
	h->off = 0;
	h->gave_memory = false;
	return 0;
}

int
mb_held_next(struct mb_held *h, struct mb_str *out, struct mb_err *err)
{
	ssize_t n;

	if (h->fd < 0) {
		*out = (struct mb_str){ h->memory.p, h->memory.len };
		if (h->gave_memory || out->len == 0)
			return 0;
		h->gave_memory = true;
		return 1;
	}
	if (h->off == h->size)
		return 0;
	mb_buf_reset(&h->memory);
	mb_buf_reserve(&h->memory, PIECE);
	n = mb_pread_full(h->fd, h->memory.p, PIECE, h->off,
	    "records that wait", err);
	if (n < 0)
		return -1;
	if (n == 0)
		return mb_fail(err, MB_EIO, "records that wait: their file "
		    "ends early");
	h->off += (uint64_t)n;
	*out = (struct mb_str){ h->memory.p, (size_t)n };
	return 1;
}

void
mb_held_reset(struct mb_held *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->size = h->off = 0;
	h->gave_memory = false;
	mb_buf_reset(&h->memory);
}

void
mb_held_release(struct mb_held *h)
{
	mb_held_reset(h);
	mb_buf_release(&h->memory);
}
