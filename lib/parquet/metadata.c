#include "parquet/metadata.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/load.h"
#include "parquet/thrift.h"

enum {
	MAX_PATH = 32,		/* nodes from the root to a leaf */
	MAX_LEVEL = 127,
};

/* A SchemaElement. */
struct element {
	bool has_type, has_children, has_name;
	int64_t type, fixed_len, repetition, n_children, converted;
	int64_t scale, precision, field_id;
	struct mb_str name;
	enum mb_logical logical;
	int64_t logical_scale, logical_precision, bits;
	int64_t unit;			/* 1 ms, 2 us, 3 ns */
	bool is_utc, is_signed;
};

/*
 * Reading
 */

static void
read_unit(struct mb_thrift_in *in, struct mb_thrift_field f,
    struct element *e)
{
	struct mb_thrift_field unit;

	if (f.type != MB_THRIFT_STRUCT) {
		mb_thrift_skip(in, f);
		return;
	}
	mb_thrift_enter(in);
	while (mb_thrift_next(in, &unit)) {
		e->unit = unit.id;
		mb_thrift_skip(in, unit);
	}
}

/* One of the union's members, whose fields have different meanings. */
static void
read_logical_type(struct mb_thrift_in *in, struct element *e)
{
	struct mb_thrift_field f;

	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f)) {
		if (e->logical == MB_LOGICAL_DECIMAL && f.id == 1)
			e->logical_scale = mb_thrift_int(in, f);
		else if (e->logical == MB_LOGICAL_DECIMAL && f.id == 2)
			e->logical_precision = mb_thrift_int(in, f);
		else if (e->logical == MB_LOGICAL_TIMESTAMP && f.id == 1)
			e->is_utc = mb_thrift_bool(in, f);
		else if (e->logical == MB_LOGICAL_TIMESTAMP && f.id == 2)
			read_unit(in, f, e);
		else if (e->logical == MB_LOGICAL_INTEGER && f.id == 1)
			e->bits = mb_thrift_int(in, f);
		else if (e->logical == MB_LOGICAL_INTEGER && f.id == 2)
			e->is_signed = mb_thrift_bool(in, f);
		else
			mb_thrift_skip(in, f);
	}
}

static void
read_logical(struct mb_thrift_in *in, struct mb_thrift_field f,
    struct element *e)
{
	if (f.type != MB_THRIFT_STRUCT) {
		mb_thrift_skip(in, f);
		return;
	}
	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f)) {
		e->logical = (enum mb_logical)f.id;
		if (f.type == MB_THRIFT_STRUCT)
			read_logical_type(in, e);
		else
			mb_thrift_skip(in, f);
	}
}

static void
read_element(struct mb_thrift_in *in, struct element *e)
{
	struct mb_thrift_field f;

	*e = (struct element){ .converted = MB_NO_CONVERTED, .field_id = -1 };
	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f))
		switch (f.id) {
		case 1:
			e->type = mb_thrift_int(in, f);
			e->has_type = true;
			break;
		case 2:
			e->fixed_len = mb_thrift_int(in, f);
			break;
		case 3:
			e->repetition = mb_thrift_int(in, f);
			break;
		case 4:
			e->name = mb_thrift_bytes(in, f);
			e->has_name = true;
			break;
		case 5:
			e->n_children = mb_thrift_int(in, f);
			e->has_children = e->n_children > 0;
			break;
		case 6:
			e->converted = mb_thrift_int(in, f);
			break;
		case 7:
			e->scale = mb_thrift_int(in, f);
			break;
		case 8:
			e->precision = mb_thrift_int(in, f);
			break;
		case 9:
			e->field_id = mb_thrift_int(in, f);
			break;
		case 10:
			read_logical(in, f, e);
			break;
		default:
			mb_thrift_skip(in, f);
			break;
		}
}

/*
 * Types
 */

static bool
is_integer(const struct element *e)
{
	return e->type == MB_INT32 || e->type == MB_INT64;
}

/* A decimal that we can hold? */
static bool
take_decimal(const struct element *e, struct mb_parquet_type *t)
{
	int64_t precision = e->logical == MB_LOGICAL_DECIMAL ?
	    e->logical_precision : e->precision;
	int64_t scale = e->logical == MB_LOGICAL_DECIMAL ? e->logical_scale :
	    e->scale;

	if (precision < 1 || precision > MB_DIGITS || scale < 0 ||
	    scale > precision || !(is_integer(e) ||
	    e->type == MB_BYTE_ARRAY || e->type == MB_FIXED))
		return false;
	t->kind = MB_PARQUET_DECIMAL;
	t->precision = (uint8_t)precision;
	t->scale = (uint8_t)scale;
	return true;
}

static bool
take_time(const struct element *e, struct mb_meta_leaf *l)
{
	int64_t unit = e->logical == MB_LOGICAL_TIMESTAMP ? e->unit :
	    e->converted == MB_TIMESTAMP_MILLIS ? 1 : 2;

	if (e->type != MB_INT64 || unit < 1 || unit > 3)
		return false;
	l->leaf.type.kind = e->logical == MB_LOGICAL_TIMESTAMP &&
	    !e->is_utc ? MB_PARQUET_TIMESTAMP_NTZ : MB_PARQUET_TIMESTAMP;
	l->scale = unit == 1 ? 1000 : unit == 2 ? 1 : -1000;
	return true;
}

static bool
take_int(const struct element *e, struct mb_meta_leaf *l)
{
	static const uint8_t bits_of[] = { 8, 16, 32, 64, 8, 16, 32, 64 };
	int64_t bits = e->bits;
	bool is_signed = e->is_signed;

	if (e->logical != MB_LOGICAL_INTEGER) {
		if (e->converted < MB_UINT_8 || e->converted > MB_INT_64)
			return false;
		bits = bits_of[e->converted - MB_UINT_8];
		is_signed = e->converted >= MB_INT_8;
	}
	if (e->type == MB_INT64) {
		l->leaf.type.kind = is_signed ? MB_PARQUET_INT64 :
		    MB_PARQUET_OTHER;
		return true;
	}
	if (e->type != MB_INT32)
		return false;
	l->is_unsigned = !is_signed;
	l->leaf.type.kind = !is_signed ? MB_PARQUET_INT64 : bits == 8 ?
	    MB_PARQUET_INT8 : bits == 16 ? MB_PARQUET_INT16 :
	    MB_PARQUET_INT32;
	return true;
}

static enum mb_parquet_kind
plain_kind(enum mb_physical p)
{
	switch (p) {
	case MB_BOOLEAN:
		return MB_PARQUET_BOOL;
	case MB_INT32:
		return MB_PARQUET_INT32;
	case MB_INT64:
		return MB_PARQUET_INT64;
	case MB_INT96:		/* nothing else was ever put into it */
		return MB_PARQUET_TIMESTAMP;
	case MB_FLOAT:
		return MB_PARQUET_FLOAT;
	case MB_DOUBLE:
		return MB_PARQUET_DOUBLE;
	default:
		return MB_PARQUET_BINARY;
	}
}

/* The type that an element says, or, where that makes no sense, OTHER. */
static void
set_type(struct mb_meta_leaf *l, const struct element *e)
{
	struct mb_parquet_type *t = &l->leaf.type;
	bool is_text = e->logical == MB_LOGICAL_STRING ||
	    e->logical == MB_LOGICAL_ENUM || e->logical == MB_LOGICAL_JSON ||
	    (e->logical == MB_NO_LOGICAL && (e->converted == MB_UTF8 ||
	    e->converted == MB_ENUM || e->converted == MB_CONVERTED_JSON));

	l->scale = 1;
	l->has_order = e->type != MB_INT96;
	t->kind = plain_kind(l->physical);
	if (e->logical == MB_NO_LOGICAL &&
	    e->converted == MB_NO_CONVERTED)
		return;
	if (is_text && e->type == MB_BYTE_ARRAY)
		t->kind = MB_PARQUET_TEXT;
	else if ((e->logical == MB_LOGICAL_DECIMAL || (e->logical ==
	    MB_NO_LOGICAL && e->converted == MB_CONVERTED_DECIMAL)) &&
	    take_decimal(e, t))
		;
	else if ((e->logical == MB_LOGICAL_DATE || e->converted ==
	    MB_CONVERTED_DATE) && e->type == MB_INT32)
		t->kind = MB_PARQUET_DATE;
	else if ((e->logical == MB_LOGICAL_TIMESTAMP || (e->logical ==
	    MB_NO_LOGICAL && (e->converted == MB_TIMESTAMP_MILLIS ||
	    e->converted == MB_TIMESTAMP_MICROS))) && take_time(e, l))
		;
	else if (take_int(e, l))
		;
	else if (e->logical == MB_LOGICAL_BSON ||
	    (e->logical == MB_NO_LOGICAL &&
	    e->converted == MB_CONVERTED_BSON))
		;	/* bytes */
	else
		t->kind = MB_PARQUET_OTHER;
}

uint32_t
mb_meta_width(const struct mb_meta_leaf *l)
{
	static const uint8_t widths[] = { 0, 4, 8, 12, 4, 8, 0 };

	return l->physical == MB_FIXED ? l->leaf.fixed_len :
	    widths[l->physical];
}

/* Big-endian, two's complement; longer ones only if nothing is lost. */
static bool
take_big_endian(struct mb_str s, mb_int128 *out)
{
	mb_uint128 v = 0;
	uint8_t fill;

	if (s.len == 0)
		return false;
	fill = (uint8_t)s.p[0] >= 0x80 ? 0xff : 0;
	if (fill != 0)
		v = ~v;
	for (size_t i = 0; i < s.len; i++) {
		if (i + 16 < s.len && (uint8_t)s.p[i] != fill)
			return false;
		v = v << 8 | (uint8_t)s.p[i];
	}
	*out = (mb_int128)v;
	return s.len <= 16 || (v >> 127 != 0) == (fill != 0);
}

/* Spark's own times beyond the range wrap around; it reads them back so. */
static int64_t
take_int96(const char *p)
{
	enum { EPOCH = 2440588 };	/* the Julian day of 1970-01-01 */
	int64_t nanos = (int64_t)mb_load_8(p);
	int32_t day = (int32_t)mb_load_4(p + 8);

	return (int64_t)((uint64_t)((int64_t)day - EPOCH) * 86400000000u +
	    (uint64_t)(nanos / 1000 - (nanos % 1000 < 0)));
}

bool
mb_meta_int(const struct mb_meta_leaf *l, int64_t v,
    union mb_parquet_value *out)
{
	if (l->is_unsigned)
		v = (uint32_t)v;
	if (l->leaf.type.kind == MB_PARQUET_DECIMAL) {
		out->decimal = v;
		return true;
	}
	if (l->scale < 0) {
		out->i = v / 1000 - (v % 1000 < 0);
		return true;
	}
	return !__builtin_mul_overflow(v, l->scale, &out->i);
}

bool
mb_meta_value(const struct mb_meta_leaf *l, struct mb_str plain,
    union mb_parquet_value *out)
{
	int32_t i32;
	int64_t i64;
	float f;

	switch (l->physical) {
	case MB_BOOLEAN:
		out->i = plain.p[0] & 1;
		return true;
	case MB_INT32:
		memcpy(&i32, plain.p, sizeof i32);
		return mb_meta_int(l, i32, out);
	case MB_INT64:
		memcpy(&i64, plain.p, sizeof i64);
		return mb_meta_int(l, i64, out);
	case MB_INT96:
		out->i = take_int96(plain.p);
		return true;
	case MB_FLOAT:
		memcpy(&f, plain.p, sizeof f);
		out->d = f;
		return true;
	case MB_DOUBLE:
		memcpy(&out->d, plain.p, sizeof out->d);
		return true;
	default:
		if (l->leaf.type.kind == MB_PARQUET_DECIMAL)
			return take_big_endian(plain, &out->decimal);
		out->bytes = plain;
		return true;
	}
}

/*
 * The schema
 */

static void
add_leaf(struct mb_metadata *m, const struct element *const *path, size_t n)
{
	struct mb_meta_leaf *l = &m->leaves[m->n_leaves++];
	struct mb_str *names = mb_arena_alloc(&m->arena, n * sizeof *names);
	const struct element *e = path[n - 1];
	unsigned top = 0, repeats = 0;

	*l = (struct mb_meta_leaf){ .physical = (enum mb_physical)e->type };
	l->leaf = (struct mb_parquet_leaf){ .path = names, .n_path = n,
		.physical = (enum mb_parquet_physical)e->type,
		.fixed_len = (uint32_t)e->fixed_len,
		.field_id = (int32_t)e->field_id };
	for (size_t i = 0; i < n; i++) {
		names[i] = path[i]->name;
		top += path[i]->repetition != MB_PARQUET_REQUIRED;
		if (path[i]->repetition == MB_PARQUET_REPEATED) {
			repeats++;
			l->leaf.repeated = (uint8_t)top;
		}
	}
	l->leaf.top = (uint8_t)top;
	set_type(l, e);
	if (repeats > 1)
		l->leaf.refusal = "lists in lists are not read";
}

static int
check_element(const struct element *e, size_t depth, struct mb_err *err)
{
	if (!e->has_name)
		return mb_fail(err, MB_EDATA, "a column without a name");
	if (depth == MAX_PATH)
		return mb_fail(err, MB_EDATA, "columns nested too deep");
	if (e->repetition < 0 || e->repetition > MB_PARQUET_REPEATED)
		return mb_fail(err, MB_EDATA, "a column neither required, "
		    "optional nor repeated");
	if (e->has_children)
		return 0;
	if (!e->has_type || e->type < 0 || e->type > MB_FIXED)
		return mb_fail(err, MB_EDATA, "a column of no known type");
	if (e->type == MB_FIXED && (e->fixed_len < 1 ||
	    e->fixed_len > 1 << 20))
		return mb_fail(err, MB_EDATA, "a column of fixed length, "
		    "which is %" PRId64, e->fixed_len);
	return 0;
}

/* Walk the tree; `left` counts what each level still lacks. */
static int
walk_schema(struct mb_metadata *m, const struct element *v, size_t n,
    struct mb_err *err)
{
	const struct element *path[MAX_PATH];
	int64_t left[MAX_PATH + 1];
	size_t depth = 0;

	if (n == 0 || !v[0].has_children)
		return n == 1 && v[0].n_children == 0 ? 0 :
		    mb_fail(err, MB_EDATA, "no schema");
	left[0] = v[0].n_children;
	for (size_t i = 1; i < n; i++) {
		if (check_element(&v[i], depth, err) < 0)
			return -1;
		if (left[depth] == 0)
			return mb_fail(err, MB_EDATA,
			    "more columns than the schema says");
		path[depth] = &v[i];
		left[depth]--;
		if (v[i].has_children) {
			left[++depth] = v[i].n_children;
			continue;
		}
		add_leaf(m, path, depth + 1);
		while (depth > 0 && left[depth] == 0)
			depth--;
	}
	if (depth > 0 || left[0] > 0)
		return mb_fail(err, MB_EDATA,
		    "fewer columns than the schema says");
	return 0;
}

static int
read_schema(struct mb_metadata *m, struct mb_thrift_in *in,
    struct mb_thrift_field f, struct mb_err *err)
{
	struct element *v;
	size_t n;
	int rc = 0;

	if (m->leaves != NULL) {
		mb_thrift_fail(in, "two schemas");
		return 0;
	}
	mb_thrift_list(in, f, MB_THRIFT_STRUCT, &n);
	v = mb_realloc_array(NULL, n, sizeof *v);
	for (size_t i = 0; i < n; i++)
		read_element(in, &v[i]);
	m->leaves = mb_realloc_array(NULL, n, sizeof *m->leaves);
	if (in->bad == NULL)
		rc = walk_schema(m, v, n, err);
	free(v);
	return rc;
}

/*
 * Row groups
 */

static void
read_statistics(struct mb_thrift_in *in, struct mb_thrift_field f,
    struct mb_meta_chunk *c)
{
	if (f.type != MB_THRIFT_STRUCT) {
		mb_thrift_skip(in, f);
		return;
	}
	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f)) {
		if (f.id == 3) {
			int64_t n = mb_thrift_int(in, f);

			c->has_null_count = n >= 0;
			c->null_count = (uint64_t)n;
		} else if (f.id == 5) {
			c->max = mb_thrift_bytes(in, f);
			c->has_max = f.type == MB_THRIFT_BINARY;
		} else if (f.id == 6) {
			c->min = mb_thrift_bytes(in, f);
			c->has_min = f.type == MB_THRIFT_BINARY;
		} else {
			/* 1 and 2 were written in several orders. */
			mb_thrift_skip(in, f);
		}
	}
}

/* What ColumnMetaData says of where the pages are. */
struct place {
	int64_t data_off, dictionary_off, size, n_entries, codec, type;
};

static void
read_chunk_metadata(struct mb_thrift_in *in, struct mb_thrift_field f,
    struct mb_meta_chunk *c, struct place *p)
{
	if (f.type != MB_THRIFT_STRUCT) {
		mb_thrift_skip(in, f);
		return;
	}
	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f))
		switch (f.id) {
		case 1:
			p->type = mb_thrift_int(in, f);
			break;
		case 4:
			p->codec = mb_thrift_int(in, f);
			break;
		case 5:
			p->n_entries = mb_thrift_int(in, f);
			break;
		case 7:
			p->size = mb_thrift_int(in, f);
			break;
		case 9:
			p->data_off = mb_thrift_int(in, f);
			break;
		case 11:
			p->dictionary_off = mb_thrift_int(in, f);
			break;
		case 12:
			read_statistics(in, f, c);
			break;
		default:
			mb_thrift_skip(in, f);
			break;
		}
}

static const char *
codec_refusal(int64_t codec)
{
	switch (codec) {
	case MB_PARQUET_CODEC_NONE:
	case MB_PARQUET_CODEC_SNAPPY:
	case MB_PARQUET_CODEC_GZIP:
	case MB_PARQUET_CODEC_ZSTD:
	case MB_PARQUET_CODEC_LZ4_RAW:
		return NULL;
	case 3:
		return "compressed by LZO, which isn't read";
	case 4:
		return "compressed by brotli, which isn't read";
	case 5:
		return "compressed by Hadoop's LZ4, which isn't read";
	default:
		return "compressed by an unknown codec";
	}
}

/* Pages lie between the file's magic and its footer. */
static int
place_chunk(struct mb_meta_chunk *c, const struct place *p,
    const struct mb_meta_leaf *l, uint64_t limit, struct mb_err *err)
{
	int64_t start = p->data_off;

	if (p->type != (int64_t)l->physical)
		return mb_fail(err, MB_EDATA,
		    "a column of another type than the schema says");
	if (p->n_entries == 0)		/* wherever that is */
		return 0;
	/* Some writers say 0 for none. */
	if (p->dictionary_off > 0 && p->dictionary_off < start)
		start = p->dictionary_off;
	if (start < 4 || p->size < 0 || p->n_entries < 0 ||
	    (uint64_t)start > limit ||
	    (uint64_t)p->size > limit - (uint64_t)start)
		return mb_fail(err, MB_EDATA, "a column that isn't in the "
		    "file: %" PRId64 " bytes at %" PRId64, p->size, start);
	c->start = (uint64_t)start;
	c->end = (uint64_t)start + (uint64_t)p->size;
	c->n_entries = (uint64_t)p->n_entries;
	c->codec = (enum mb_parquet_codec)p->codec;
	if (c->refusal == NULL)
		c->refusal = codec_refusal(p->codec);
	return 0;
}

static int
read_chunk(struct mb_thrift_in *in, struct mb_meta_chunk *c,
    const struct mb_meta_leaf *l, uint64_t limit, struct mb_err *err)
{
	struct mb_thrift_field f;
	struct place p = { .type = -1 };
	bool has_metadata = false;

	*c = (struct mb_meta_chunk){ 0 };
	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f)) {
		if (f.id == 3) {
			read_chunk_metadata(in, f, c, &p);
			has_metadata = true;
		} else {
			if (f.id == 1)
				c->refusal = "in another file";
			else if (f.id == 8 || f.id == 9)
				c->refusal = "encrypted";
			mb_thrift_skip(in, f);
		}
	}
	if (in->bad != NULL)
		return 0;
	if (!has_metadata && c->refusal == NULL)
		return mb_fail(err, MB_EDATA, "a column without metadata");
	if (!has_metadata)
		return 0;
	return place_chunk(c, &p, l, limit, err);
}

static int
read_group(struct mb_metadata *m, struct mb_thrift_in *in,
    struct mb_meta_group *g, uint64_t limit, struct mb_err *err)
{
	struct mb_thrift_field f;
	int64_t rows = -1;
	size_t n;

	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f)) {
		if (f.id == 3) {
			rows = mb_thrift_int(in, f);
		} else if (f.id == 1 && g->chunks == NULL) {
			mb_thrift_list(in, f, MB_THRIFT_STRUCT, &n);
			if (in->bad == NULL && n != m->n_leaves)
				return mb_fail(err, MB_EDATA, "a row group "
				    "of %zu columns, where the schema has "
				    "%zu", n, m->n_leaves);
			g->chunks = mb_realloc_array(NULL, n,
			    sizeof *g->chunks);
			for (size_t i = 0; i < n; i++)
				if (read_chunk(in, &g->chunks[i],
				    &m->leaves[i], limit, err) < 0)
					return -1;
		} else {
			mb_thrift_skip(in, f);
		}
	}
	if (in->bad == NULL && (rows < 0 || g->chunks == NULL))
		return mb_fail(err, MB_EDATA, "a row group that lacks %s",
		    rows < 0 ? "its number of rows" : "columns");
	g->rows = (uint64_t)rows;
	return 0;
}

static int
read_groups(struct mb_metadata *m, struct mb_thrift_in *in,
    struct mb_thrift_field f, uint64_t limit, struct mb_err *err)
{
	size_t n;

	if (m->leaves == NULL || m->groups != NULL) {
		mb_thrift_fail(in, "row groups before the schema, or twice");
		return 0;
	}
	mb_thrift_list(in, f, MB_THRIFT_STRUCT, &n);
	m->groups = mb_realloc_array(NULL, n, sizeof *m->groups);
	for (size_t i = 0; i < n && in->bad == NULL; i++) {
		m->groups[m->n_groups++] = (struct mb_meta_group){ 0 };
		if (read_group(m, in, &m->groups[i], limit, err) < 0)
			return mb_wrap(err, "row group %zu", i);
	}
	return 0;
}

/*
 * The file
 */

/* Only an order that is TYPE_ORDER makes bounds of use. */
static void
read_orders(struct mb_metadata *m, struct mb_thrift_in *in,
    struct mb_thrift_field f, bool *has_orders)
{
	size_t n;

	mb_thrift_list(in, f, MB_THRIFT_STRUCT, &n);
	*has_orders = n == m->n_leaves;
	for (size_t i = 0; i < n; i++) {
		bool is_type_order = false;

		mb_thrift_enter(in);
		while (mb_thrift_next(in, &f)) {
			is_type_order = f.id == 1;
			mb_thrift_skip(in, f);
		}
		if (i < m->n_leaves && !is_type_order)
			m->leaves[i].has_order = false;
	}
}

static int
read_file(struct mb_metadata *m, struct mb_thrift_in *in, uint64_t limit,
    struct mb_err *err)
{
	struct mb_thrift_field f;
	bool has_orders = false;

	mb_thrift_enter(in);
	while (mb_thrift_next(in, &f))
		switch (f.id) {
		case 2:
			if (read_schema(m, in, f, err) < 0)
				return -1;
			break;
		case 4:
			if (read_groups(m, in, f, limit, err) < 0)
				return -1;
			break;
		case 7:
			read_orders(m, in, f, &has_orders);
			break;
		case 8:
			return mb_fail(err, MB_EDATA, "encrypted");
		default:
			mb_thrift_skip(in, f);
			break;
		}
	if (in->bad != NULL)
		return 0;
	if (m->leaves == NULL)
		return mb_fail(err, MB_EDATA, "no schema");
	for (size_t i = 0; i < m->n_leaves && !has_orders; i++)
		m->leaves[i].has_order = false;
	/* The sum also stands in the footer, not always rightly. */
	for (size_t i = 0; i < m->n_groups; i++)
		if (__builtin_add_overflow(m->rows, m->groups[i].rows,
		    &m->rows))
			return mb_fail(err, MB_EDATA, "too many rows");
	return 0;
}

int
mb_metadata_read(struct mb_metadata *m, struct mb_str footer, uint64_t off,
    struct mb_err *err)
{
	const uint8_t *p = (const uint8_t *)footer.p;
	struct mb_thrift_in in = { .start = p, .p = p,
		.end = p + footer.len };

	if (read_file(m, &in, off, err) < 0)
		return mb_wrap(err, "footer");
	if (in.bad != NULL)
		return mb_fail(err, MB_EDATA, "at byte %" PRIu64 ": %s",
		    off + in.bad_off, in.bad);
	return 0;
}

void
mb_metadata_release(struct mb_metadata *m)
{
	for (size_t i = 0; i < m->n_groups; i++)
		free(m->groups[i].chunks);
	free(m->groups);
	free(m->leaves);
	mb_arena_release(&m->arena);
	*m = (struct mb_metadata){ 0 };
}
