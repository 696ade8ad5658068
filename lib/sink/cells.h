/*
 * cells.h - a field of many records at once, as values of a target's type.
 *
 * The answers are those of rows.h, value by value.  Here they are found for
 * ordinary values without asking for each; the others are asked for.
 */
#ifndef MB_SINK_CELLS_H
#define MB_SINK_CELLS_H

#include "record/rows.h"
#include "sink/rows.h"

/* Where the field stands in n <= MB_ROWS records. */
struct mb_views {
	enum mb_isa isa;	/* to be used */
	const char *base;	/* MB_VIEW_SLACK bytes can be read, see rows.h */
	const struct mb_view *v;
	size_t n;
	bool is_ascii;		/* for sure: no byte is above 0x7f */
};

/* Their values; the member is told by the type. */
struct mb_cells {
	enum mb_cell_kind kind;	/* of those that aren't null */
	union {
		int64_t i[MB_ROWS];
		double d[MB_ROWS];
		mb_int128 n[MB_ROWS];	/* of 10^-scale, the type's */
		struct mb_str text[MB_ROWS];	/* borrowed */
	};
	bool is_null[MB_ROWS];
	bool has_null;
};

/*
 * False: a value doesn't fit, by mb_cell_set, or is text that isn't UTF-8.
 * For all types that --schema has but a decimal of as many digits as come.
 */
MB_CHECK bool mb_cells_set(struct mb_cells *out, struct mb_type type,
    struct mb_views views);

/* mb_guess_add of each. */
void mb_guess_add_views(struct mb_guess *g, struct mb_views views);

#endif
