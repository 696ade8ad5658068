/*
 * column.h - a field of many rows, as numbers.
 *
 * What is a number, and which, is mb_number_parse's to say (number.h); here
 * are read the short ones, which are nearly all, and what is left over is
 * odd.
 */
#ifndef MB_AGG_COLUMN_H
#define MB_AGG_COLUMN_H

#include <stdbool.h>

#include "record/rows.h"

enum { MB_COLUMN_NULL = 255 };

struct mb_column {
	int64_t units[MB_ROWS];		/* of 10^-scale */
	uint8_t places[MB_ROWS];	/* as written, at most scale; or
					   MB_COLUMN_NULL */
	unsigned scale;			/* at most 18 */
	bool is_uniform;		/* none is null, all of scale places */
	size_t n_values;		/* that aren't null */
	uint64_t limit;			/* no value has more units */
};

/*
 * Read a field of the rows.  Sets odd[i] of those that are left to
 * mb_number_parse, whether they are numbers or not; true if there are any.
 */
bool mb_column_read(struct mb_column *c, const struct mb_rows *rows,
    const struct mb_view *view, bool *odd);

/* The same of n <= MB_ROWS views, which count from p as in rows.h. */
bool mb_column_read_views(struct mb_column *c, enum mb_isa isa, const char *p,
    const struct mb_view *view, size_t n, bool *odd);

#endif
