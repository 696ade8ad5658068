#include "parquet/bounds.h"

#include <math.h>

#include "parquet/writer.h"

enum mb_order
mb_order_of(struct mb_parquet_type type)
{
	switch (type.kind) {
	case MB_PARQUET_FLOAT:
		return MB_ORDER_FLOAT;
	case MB_PARQUET_DOUBLE:
		return MB_ORDER_DOUBLE;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
	case MB_PARQUET_OTHER:
		return MB_ORDER_BYTES;
	case MB_PARQUET_DECIMAL:
		return type.precision > 18 ? MB_ORDER_WIDE : MB_ORDER_INT;
	default:
		return MB_ORDER_INT;
	}
}

int
mb_bound_compare(enum mb_order order, const union mb_parquet_value *a,
    const union mb_parquet_value *b)
{
	size_t len;
	int rc = 0;

	switch (order) {
	case MB_ORDER_INT:
		return (a->i > b->i) - (a->i < b->i);
	case MB_ORDER_FLOAT:
	case MB_ORDER_DOUBLE:
		return (a->d > b->d) - (a->d < b->d);
	case MB_ORDER_WIDE:
		return (a->decimal > b->decimal) - (a->decimal < b->decimal);
	case MB_ORDER_BYTES:
		break;
	}
	len = a->bytes.len < b->bytes.len ? a->bytes.len : b->bytes.len;
	if (len > 0)
		rc = memcmp(a->bytes.p, b->bytes.p, len);
	if (rc != 0)
		return rc < 0 ? -1 : 1;
	return (a->bytes.len > b->bytes.len) - (a->bytes.len < b->bytes.len);
}

void
mb_bounds_add(struct mb_bounds *b, enum mb_order order,
    const union mb_parquet_value *v)
{
	if (!b->has) {
		b->has = true;
		b->min = b->max = *v;
	} else if (mb_bound_compare(order, v, &b->min) < 0) {
		b->min = *v;
	} else if (mb_bound_compare(order, v, &b->max) > 0) {
		b->max = *v;
	}
}

static void
merge(struct mb_bounds *into, enum mb_order order,
    const struct mb_bounds *from)
{
	if (!from->has)
		return;
	mb_bounds_add(into, order, &from->min);
	mb_bounds_add(into, order, &from->max);
}

bool
mb_slot_value(union mb_parquet_value *out, enum mb_order order,
    const uint64_t *slot)
{
	uint32_t half;
	float f;

	switch (order) {
	case MB_ORDER_FLOAT:
		half = (uint32_t)*slot;
		memcpy(&f, &half, sizeof f);
		out->d = f;
		return !isnan(f);
	case MB_ORDER_DOUBLE:
		memcpy(&out->d, slot, sizeof out->d);
		return !isnan(out->d);
	case MB_ORDER_WIDE:
		out->decimal = (mb_int128)((mb_uint128)slot[1] << 64 |
		    slot[0]);
		return true;
	default:
		out->i = (int64_t)*slot;
		return true;
	}
}

/* The frequent case in a loop of its own. */
static void
add_ints(struct mb_bounds *b, const uint64_t *slots, size_t n)
{
	int64_t v, min = (int64_t)slots[0], max = min;

	for (size_t i = 1; i < n; i++) {
		v = (int64_t)slots[i];
		min = v < min ? v : min;
		max = v > max ? v : max;
	}
	mb_bounds_add(b, MB_ORDER_INT, &(union mb_parquet_value){ .i = min });
	mb_bounds_add(b, MB_ORDER_INT, &(union mb_parquet_value){ .i = max });
}

size_t
mb_bounds_add_slots(struct mb_bounds *b, enum mb_order order,
    const uint64_t *slots, size_t n)
{
	size_t each = order == MB_ORDER_WIDE ? 2 : 1, n_nans = 0;
	union mb_parquet_value v;

	if (n > 0 && order == MB_ORDER_INT) {
		add_ints(b, slots, n);
		return 0;
	}
	for (size_t i = 0; i < n; i += each) {
		if (mb_slot_value(&v, order, slots + i))
			mb_bounds_add(b, order, &v);
		else
			n_nans++;
	}
	return n_nans;
}

void
mb_bounds_settle(struct mb_bounds *b, enum mb_order order)
{
	if (!b->has || (order != MB_ORDER_FLOAT && order != MB_ORDER_DOUBLE))
		return;
	if (b->min.d == 0)
		b->min.d = -0.0;
	if (b->max.d == 0)
		b->max.d = 0.0;
}

static void
keep(struct mb_buf *buf, union mb_parquet_value *v)
{
	mb_buf_reset(buf);
	mb_buf_add(buf, v->bytes.p, v->bytes.len);
	v->bytes.p = mb_buf_str(buf);
}

void
mb_kept_bounds_merge(struct mb_kept_bounds *into, enum mb_order order,
    const struct mb_bounds *from)
{
	struct mb_bounds was = into->b;

	merge(&into->b, order, from);
	if (order != MB_ORDER_BYTES || !into->b.has)
		return;
	if (!was.has || into->b.min.bytes.p != was.min.bytes.p)
		keep(&into->min, &into->b.min);
	if (!was.has || into->b.max.bytes.p != was.max.bytes.p)
		keep(&into->max, &into->b.max);
}

void
mb_kept_bounds_reset(struct mb_kept_bounds *k)
{
	k->b = (struct mb_bounds){ 0 };
}

void
mb_kept_bounds_release(struct mb_kept_bounds *k)
{
	mb_buf_release(&k->min);
	mb_buf_release(&k->max);
	mb_kept_bounds_reset(k);
}

/*
 * Cutting.  A code point's bytes behind the first are 10xxxxxx.
 */

static bool
is_inside(char c)
{
	return ((uint8_t)c & 0xc0) == 0x80;
}

/* How many bytes of the bound are within both limits. */
static size_t
cut_length(struct mb_str s, bool is_text, size_t max_chars, size_t max_bytes)
{
	size_t len = 0, chars = 0, next;

	if (!is_text) {
		next = max_chars < max_bytes ? max_chars : max_bytes;
		return next < s.len ? next : s.len;
	}
	while (len < s.len && chars < max_chars) {
		for (next = len + 1; next < s.len && is_inside(s.p[next]);)
			next++;
		if (next > max_bytes)
			break;
		len = next;
		chars++;
	}
	return len;
}

bool
mb_parquet_cut_min(struct mb_str *bound, bool is_text, size_t max_chars,
    size_t max_bytes)
{
	size_t len = cut_length(*bound, is_text, max_chars, max_bytes);
	bool is_cut = len < bound->len;

	bound->len = len;
	return is_cut;
}

/* The next code point behind that of n bytes; 0: there is none. */
static size_t
next_char(char *out, const char *p, size_t n)
{
	const uint8_t *u = (const uint8_t *)p;
	uint32_t c = n == 1 ? u[0] : n == 2 ? u[0] & 0x1fu : n == 3 ?
	    u[0] & 0xfu : u[0] & 0x7u;

	if (n > 4)
		return 0;
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (u[i] & 0x3f);
	c++;
	if (c == 0xd800)
		c = 0xe000;	/* what lies between are no characters */
	if (c > 0x10ffff)
		return 0;
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Make the last character that has a next one that; drop those behind it. */
static bool
increment(struct mb_buf *b, bool is_text)
{
	char next[4];
	size_t start, n;

	while (b->len > 0) {
		start = b->len - 1;
		while (is_text && start > 0 && is_inside(b->p[start]))
			start--;
		n = 0;
		if (is_text) {
			n = next_char(next, b->p + start, b->len - start);
		} else if ((uint8_t)b->p[start] != 0xff) {
			next[0] = (char)(b->p[start] + 1);
			n = 1;
		}
		b->len = start;
		if (n > 0) {
			mb_buf_add(b, next, n);
			return true;
		}
	}
	return false;
}

bool
mb_parquet_cut_max(struct mb_buf *out, bool *has_bound, struct mb_str bound,
    bool is_text, size_t max_chars, size_t max_bytes)
{
	size_t len = cut_length(bound, is_text, max_chars, max_bytes);

	mb_buf_reset(out);
	mb_buf_add(out, bound.p, len);
	*has_bound = true;
	if (len == bound.len)
		return false;
	*has_bound = increment(out, is_text);
	return true;
}
