/*
 * hive.h - directories for the rows that have a value in a column, as Hive has
 * them: NAME=VALUE/.
 *
 * Nothing but letters, digits, _ . - and what isn't ASCII stands for itself,
 * all else is %XX; so no value leads anywhere, and every one has a directory
 * of its own.  Null is __HIVE_DEFAULT_PARTITION__, and so is empty text, which
 * Hive doesn't tell from it.
 */
#ifndef MB_SINK_HIVE_H
#define MB_SINK_HIVE_H

#include "base/mem.h"

/* Append NAME=VALUE/; a value of length 0 is null. */
void mb_hive_put(struct mb_buf *out, struct mb_str name, struct mb_str value);

#endif
