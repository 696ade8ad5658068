/*
 * apart.h - rows that wait for their turn, group by group.
 *
 * Where the rows of a batch go to more files than can be open at once, those
 * of the files that aren't wait here: in memory, and from some size on in a
 * file, of which each group has a few stretches.  Memory is bounded by
 * MB_APART_MEMORY and a little for each group and stretch.
 *
 *	mb_apart_add, mb_apart_spill	in this order, any number of times
 *	mb_apart_begin, mb_apart_next	the rows of a group, in order
 */
#ifndef MB_SINK_APART_H
#define MB_SINK_APART_H

#include <stdbool.h>

#include "base/err.h"
#include "record/value.h"

enum { MB_APART_MEMORY = 16 * 1024 * 1024 };

struct mb_apart;

/* Every row has so many values. */
void mb_apart_open(struct mb_apart **out, size_t n_values);
void mb_apart_close(struct mb_apart *a);

/* Groups are small numbers; the values are copied. */
void mb_apart_add(struct mb_apart *a, size_t group,
    const struct mb_value *values);

/* Has the group a row? */
bool mb_apart_has(const struct mb_apart *a, size_t group);

/* Is it time to spill?  Is there no file for it yet? */
bool mb_apart_is_full(const struct mb_apart *a);
bool mb_apart_needs_file(const struct mb_apart *a);

/*
 * Move what is in memory to the file.  `fd` is an empty one without a name,
 * which is taken over; -1: the one that there is already.
 */
MB_CHECK int mb_apart_spill(struct mb_apart *a, int fd, struct mb_err *err);

/*
 * Read a group.  The values are borrowed until the next call.  1 a row, 0 the
 * end.
 */
void mb_apart_begin(struct mb_apart *a, size_t group);
MB_CHECK int mb_apart_next(struct mb_apart *a, struct mb_value *values,
    struct mb_err *err);

#endif
