/*
 * bounds.h - the least and greatest value: of a page, a chunk, a file.
 *
 * Readers skip what a bound excludes, so a wrong one loses rows silently.
 * NaN never counts.  Zeros: the least becomes -0.0, the greatest +0.0, as
 * readers may compare either way.
 */
#ifndef MB_PARQUET_BOUNDS_H
#define MB_PARQUET_BOUNDS_H

#include "parquet/types.h"

/* How values compare. */
enum mb_order {
	MB_ORDER_INT, MB_ORDER_FLOAT, MB_ORDER_DOUBLE, MB_ORDER_WIDE,
	MB_ORDER_BYTES,
};

enum mb_order mb_order_of(struct mb_parquet_type type);

/* {0} is that of no value.  Bytes are borrowed. */
struct mb_bounds {
	bool has;
	union mb_parquet_value min, max;
};

/* -1, 0 or 1; neither is NaN.  Bytes compare unsigned. */
int mb_bound_compare(enum mb_order order, const union mb_parquet_value *a,
    const union mb_parquet_value *b);

/* Widen by one value, which isn't NaN. */
void mb_bounds_add(struct mb_bounds *b, enum mb_order order,
    const union mb_parquet_value *v);

/* Widen by n slots (writer.h), not of bytes; returns how many are NaN. */
size_t mb_bounds_add_slots(struct mb_bounds *b, enum mb_order order,
    const uint64_t *slots, size_t n);

/* One slot, or two, as a value; false if it is NaN. */
bool mb_slot_value(union mb_parquet_value *out, enum mb_order order,
    const uint64_t *slot);

/* All values are in: settle the sign of zeros. */
void mb_bounds_settle(struct mb_bounds *b, enum mb_order order);

/* Bounds whose bytes are owned. */
struct mb_kept_bounds {
	struct mb_bounds b;
	struct mb_buf min, max;
};
void mb_kept_bounds_merge(struct mb_kept_bounds *into, enum mb_order order,
    const struct mb_bounds *from);
void mb_kept_bounds_reset(struct mb_kept_bounds *k);
void mb_kept_bounds_release(struct mb_kept_bounds *k);

#endif
