#include "parquet/thrift.h"

#include <assert.h>

static void
put_varint(struct mb_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		mb_buf_addc(b, (char)(v | 0x80));
	mb_buf_addc(b, (char)v);
}

static uint64_t
zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static void
put_field(struct mb_thrift_out *o, int id, enum mb_thrift_type type)
{
	int delta = id - o->last[o->depth];

	if (delta > 0 && delta < 16) {
		mb_buf_addc(o->buf, (char)(delta << 4 | (int)type));
	} else {
		mb_buf_addc(o->buf, (char)type);
		put_varint(o->buf, zigzag(id));
	}
	o->last[o->depth] = id;
}

void
mb_thrift_put_bool(struct mb_thrift_out *o, int id, bool v)
{
	put_field(o, id, v ? MB_THRIFT_TRUE : MB_THRIFT_FALSE);
}

void
mb_thrift_put_i8(struct mb_thrift_out *o, int id, int8_t v)
{
	put_field(o, id, MB_THRIFT_I8);
	mb_buf_addc(o->buf, (char)v);
}

void
mb_thrift_put_i16(struct mb_thrift_out *o, int id, int16_t v)
{
	put_field(o, id, MB_THRIFT_I16);
	put_varint(o->buf, zigzag(v));
}

void
mb_thrift_put_i32(struct mb_thrift_out *o, int id, int32_t v)
{
	put_field(o, id, MB_THRIFT_I32);
	put_varint(o->buf, zigzag(v));
}

void
mb_thrift_put_i64(struct mb_thrift_out *o, int id, int64_t v)
{
	put_field(o, id, MB_THRIFT_I64);
	put_varint(o->buf, zigzag(v));
}

void
mb_thrift_put_bytes(struct mb_thrift_out *o, int id, struct mb_str v)
{
	put_field(o, id, MB_THRIFT_BINARY);
	mb_thrift_add_bytes(o, v);
}

void
mb_thrift_begin(struct mb_thrift_out *o, int id)
{
	put_field(o, id, MB_THRIFT_STRUCT);
	mb_thrift_begin_element(o);
}

void
mb_thrift_begin_element(struct mb_thrift_out *o)
{
	assert(o->depth + 1 < MB_THRIFT_DEPTH);
	o->last[++o->depth] = 0;
}

void
mb_thrift_end(struct mb_thrift_out *o)
{
	mb_buf_addc(o->buf, MB_THRIFT_STOP);
	if (o->depth > 0)
		o->depth--;
}

void
mb_thrift_put_list(struct mb_thrift_out *o, int id,
    enum mb_thrift_type element, size_t n)
{
	put_field(o, id, MB_THRIFT_LIST);
	if (n < 15) {
		mb_buf_addc(o->buf, (char)(n << 4 | element));
	} else {
		mb_buf_addc(o->buf, (char)(0xf0 | element));
		put_varint(o->buf, n);
	}
}

void
mb_thrift_add_bool(struct mb_thrift_out *o, bool v)
{
	mb_buf_addc(o->buf, v ? MB_THRIFT_TRUE : MB_THRIFT_FALSE);
}

void
mb_thrift_add_i32(struct mb_thrift_out *o, int32_t v)
{
	put_varint(o->buf, zigzag(v));
}

void
mb_thrift_add_i64(struct mb_thrift_out *o, int64_t v)
{
	put_varint(o->buf, zigzag(v));
}

void
mb_thrift_add_bytes(struct mb_thrift_out *o, struct mb_str v)
{
	put_varint(o->buf, v.len);
	mb_buf_add(o->buf, v.p, v.len);
}

void
mb_thrift_fail(struct mb_thrift_in *in, const char *why)
{
	if (in->bad != NULL)
		return;
	in->bad = why;
	in->bad_off = (size_t)(in->p - in->start);
	in->p = in->end;	/* nothing more is read */
}

static uint8_t
take_byte(struct mb_thrift_in *in)
{
	if (in->p == in->end) {
		mb_thrift_fail(in, "metadata is cut short");
		return 0;
	}
	return *in->p++;
}

static uint64_t
take_varint(struct mb_thrift_in *in)
{
	uint64_t v = 0;
	uint8_t byte;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		byte = take_byte(in);
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return in->bad != NULL ? 0 : v;
	}
	mb_thrift_fail(in, "a number of more than 64 bits in the metadata");
	return 0;
}

static int64_t
take_zigzag(struct mb_thrift_in *in)
{
	uint64_t v = take_varint(in);

	return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

static struct mb_str
take_bytes(struct mb_thrift_in *in, uint64_t len)
{
	struct mb_str s = { "", 0 };

	if (len > (uint64_t)(in->end - in->p)) {
		mb_thrift_fail(in, "metadata is cut short");
		return s;
	}
	s.p = (const char *)in->p;
	s.len = (size_t)len;
	in->p += len;
	return s;
}

void
mb_thrift_enter(struct mb_thrift_in *in)
{
	if (in->depth + 1 == MB_THRIFT_DEPTH) {
		mb_thrift_fail(in, "metadata is nested too deep");
		return;
	}
	in->last[++in->depth] = 0;
}

bool
mb_thrift_next(struct mb_thrift_in *in, struct mb_thrift_field *f)
{
	uint8_t head = take_byte(in);
	int64_t id;

	if (in->bad != NULL)
		return false;
	f->type = head & 15;
	if (f->type == MB_THRIFT_STOP) {
		in->depth--;
		return false;
	}
	id = head >> 4 != 0 ? in->last[in->depth] + (head >> 4) :
	    take_zigzag(in);
	if (id < INT16_MIN || id > INT16_MAX || f->type > MB_THRIFT_UUID) {
		mb_thrift_fail(in, "not a field of metadata");
		return false;
	}
	f->id = in->last[in->depth] = (int)id;
	return in->bad == NULL;
}

static void
take_list(struct mb_thrift_in *in, enum mb_thrift_type *type, uint64_t *n)
{
	uint8_t head = take_byte(in);

	*type = head & 15;
	*n = head >> 4;
	if (*n == 15)
		*n = take_varint(in);
	if (*n > (uint64_t)(in->end - in->p)) {	/* each takes a byte */
		mb_thrift_fail(in, "a list is longer than the metadata");
		*n = 0;
	}
}

static void skip(struct mb_thrift_in *in, enum mb_thrift_type type,
    bool is_element);

static void
skip_struct(struct mb_thrift_in *in)
{
	struct mb_thrift_field f;

	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f))
		skip(in, f.type, false);
}

/* Lists of lists count as depth, too: input can't make us recurse far. */
static void
skip_list(struct mb_thrift_in *in)
{
	enum mb_thrift_type type;
	uint64_t n;

	take_list(in, &type, &n);
	mb_thrift_enter(in);
	while (n-- > 0 && in->bad == NULL)
		skip(in, type, true);
	in->depth--;
}

static void
skip_map(struct mb_thrift_in *in)
{
	uint64_t n = take_varint(in);
	uint8_t types;

	if (n == 0)
		return;
	types = take_byte(in);
	mb_thrift_enter(in);
	while (n-- > 0 && in->bad == NULL) {
		skip(in, types >> 4, true);
		skip(in, types & 15, true);
	}
	in->depth--;
}

static void
skip(struct mb_thrift_in *in, enum mb_thrift_type type, bool is_element)
{
	if (in->bad != NULL)
		return;
	switch (type) {
	case MB_THRIFT_TRUE:
	case MB_THRIFT_FALSE:
		if (is_element)
			take_byte(in);
		break;
	case MB_THRIFT_I8:
		take_byte(in);
		break;
	case MB_THRIFT_I16:
	case MB_THRIFT_I32:
	case MB_THRIFT_I64:
		take_varint(in);
		break;
	case MB_THRIFT_DOUBLE:
		take_bytes(in, 8);
		break;
	case MB_THRIFT_BINARY:
		take_bytes(in, take_varint(in));
		break;
	case MB_THRIFT_LIST:
	case MB_THRIFT_SET:
		skip_list(in);
		break;
	case MB_THRIFT_MAP:
		skip_map(in);
		break;
	case MB_THRIFT_STRUCT:
		skip_struct(in);
		break;
	case MB_THRIFT_UUID:
		take_bytes(in, 16);
		break;
	default:
		mb_thrift_fail(in, "not a type of metadata");
		break;
	}
}

void
mb_thrift_skip(struct mb_thrift_in *in, struct mb_thrift_field f)
{
	skip(in, f.type, false);
}

int64_t
mb_thrift_int(struct mb_thrift_in *in, struct mb_thrift_field f)
{
	if (f.type == MB_THRIFT_I8)
		return (int8_t)take_byte(in);
	if (f.type == MB_THRIFT_I16 || f.type == MB_THRIFT_I32 ||
	    f.type == MB_THRIFT_I64)
		return take_zigzag(in);
	mb_thrift_skip(in, f);
	return 0;
}

bool
mb_thrift_bool(struct mb_thrift_in *in, struct mb_thrift_field f)
{
	mb_thrift_skip(in, f);
	return f.type == MB_THRIFT_TRUE;
}

struct mb_str
mb_thrift_bytes(struct mb_thrift_in *in, struct mb_thrift_field f)
{
	if (f.type == MB_THRIFT_BINARY)
		return take_bytes(in, take_varint(in));
	mb_thrift_skip(in, f);
	return (struct mb_str){ "", 0 };
}

void
mb_thrift_list(struct mb_thrift_in *in, struct mb_thrift_field f,
    enum mb_thrift_type element, size_t *n)
{
	enum mb_thrift_type type;
	uint64_t count;

	*n = 0;
	if (f.type != MB_THRIFT_LIST) {
		mb_thrift_skip(in, f);
		return;
	}
	take_list(in, &type, &count);
	if (count > 0 && type != element)
		mb_thrift_fail(in, "a list of another type than expected");
	if (in->bad == NULL)
		*n = (size_t)count;
}
