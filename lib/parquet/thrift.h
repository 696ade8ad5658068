/*
 * thrift.h - the compact protocol of Thrift, as far as Parquet uses it.
 *
 * Writing goes into a buffer and can't fail.  Reading goes over hostile
 * bytes: the first mistake is kept in `bad`, with its place, and from then on
 * every field is the last and every value nothing, so that a caller asks once,
 * at the end.  What is read is borrowed from the input.
 */
#ifndef MB_PARQUET_THRIFT_H
#define MB_PARQUET_THRIFT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

enum mb_thrift_type {
	MB_THRIFT_STOP = 0, MB_THRIFT_TRUE = 1, MB_THRIFT_FALSE = 2,
	MB_THRIFT_I8 = 3, MB_THRIFT_I16 = 4, MB_THRIFT_I32 = 5,
	MB_THRIFT_I64 = 6, MB_THRIFT_DOUBLE = 7, MB_THRIFT_BINARY = 8,
	MB_THRIFT_LIST = 9, MB_THRIFT_SET = 10, MB_THRIFT_MAP = 11,
	MB_THRIFT_STRUCT = 12, MB_THRIFT_UUID = 13,
};

enum { MB_THRIFT_DEPTH = 16 };	/* structs in structs */

/* {.buf = …} writes a struct's fields, in the order of their ids. */
struct mb_thrift_out {
	struct mb_buf *buf;
	unsigned depth;
	int last[MB_THRIFT_DEPTH];	/* field id, by depth */
};

void mb_thrift_put_bool(struct mb_thrift_out *o, int id, bool v);
void mb_thrift_put_i8(struct mb_thrift_out *o, int id, int8_t v);
void mb_thrift_put_i16(struct mb_thrift_out *o, int id, int16_t v);
void mb_thrift_put_i32(struct mb_thrift_out *o, int id, int32_t v);
void mb_thrift_put_i64(struct mb_thrift_out *o, int id, int64_t v);
void mb_thrift_put_bytes(struct mb_thrift_out *o, int id, struct mb_str v);

/* A field that is a struct, up to its mb_thrift_end. */
void mb_thrift_begin(struct mb_thrift_out *o, int id);
/* The same for an element of a list. */
void mb_thrift_begin_element(struct mb_thrift_out *o);
/* Also ends the outermost struct. */
void mb_thrift_end(struct mb_thrift_out *o);

/* A field that is a list; n elements follow. */
void mb_thrift_put_list(struct mb_thrift_out *o, int id,
    enum mb_thrift_type element, size_t n);
void mb_thrift_add_bool(struct mb_thrift_out *o, bool v);
void mb_thrift_add_i32(struct mb_thrift_out *o, int32_t v);
void mb_thrift_add_i64(struct mb_thrift_out *o, int64_t v);
void mb_thrift_add_bytes(struct mb_thrift_out *o, struct mb_str v);

/* {.start = p, .p = p, .end = …} */
struct mb_thrift_in {
	const uint8_t *start, *p, *end;
	const char *bad;	/* what is wrong; NULL: nothing */
	size_t bad_off;		/* from start */
	unsigned depth;
	int last[MB_THRIFT_DEPTH];
};

struct mb_thrift_field {
	int id;
	enum mb_thrift_type type;
};

/* Enter a struct: the outermost one, a field's or an element's. */
void mb_thrift_enter(struct mb_thrift_in *in);

/*
 * The struct's next field; false at its end, which leaves it.  Each field
 * must be read by one of the functions below.
 */
bool mb_thrift_next(struct mb_thrift_in *in, struct mb_thrift_field *f);

/*
 * The value of a field, if it is of the type; else it is skipped, and they
 * return 0 or what was there before.
 */
int64_t mb_thrift_int(struct mb_thrift_in *in, struct mb_thrift_field f);
bool mb_thrift_bool(struct mb_thrift_in *in, struct mb_thrift_field f);
struct mb_str mb_thrift_bytes(struct mb_thrift_in *in,
    struct mb_thrift_field f);
void mb_thrift_skip(struct mb_thrift_in *in, struct mb_thrift_field f);

/*
 * Open a list: *n elements of this type follow, not more than bytes are left.
 * Anything else is skipped, and *n is 0.
 */
void mb_thrift_list(struct mb_thrift_in *in, struct mb_thrift_field f,
    enum mb_thrift_type element, size_t *n);

/* Note a mistake at the place that was reached. */
void mb_thrift_fail(struct mb_thrift_in *in, const char *why);

#endif
