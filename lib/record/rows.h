/*
 * rows.h - many ordinary records at once, and where their fields stand.
 *
 * mb_reader_ahead fills it.  A record is ordinary if its wanted fields are
 * found in the usual way; those that aren't are listed, to be read one by one.
 * What isn't as it stands, such as a quote that is doubled, was decoded.
 */
#ifndef MB_RECORD_ROWS_H
#define MB_RECORD_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "base/isa.h"
#include "record/value.h"

enum { MB_ROWS = 256 };

/* A value: so many bytes behind mb_rows.p. */
struct mb_view {
	uint32_t start;
	uint16_t len;
	uint8_t kind;		/* enum mb_kind; MB_NULL has len 0 */
};

struct mb_rows {
	enum mb_isa isa;	/* to be used by who works on them */
	/*
	 * The records, as they came.  MB_VIEW_SLACK bytes behind the start of
	 * any value can be read, whatever they are.
	 */
	const char *p;
	size_t n_records;	/* looked at: ordinary and odd ones */
	/*
	 * Of ndjson: where each begins, from p on, and where the last ends.
	 * mb_reader_raw tells it of all formats.
	 */
	uint32_t start[MB_ROWS + 1];
	size_t n;		/* ordinary ones */
	uint16_t record[MB_ROWS];	/* which record row i is, from 0 */
	size_t n_odd;
	uint16_t odd[MB_ROWS];	/* which records these are */
	/* Field i of row k is view[i * MB_ROWS + k]. */
	struct mb_view *view;
};

enum { MB_VIEW_SLACK = 32 };

/*
 * Take out the rows for which `out` is set, of `n_fields` fields: into the odd
 * ones, or altogether.
 */
void mb_rows_drop(struct mb_rows *rows, size_t n_fields, const bool *out,
    bool is_odd);

static inline struct mb_value
mb_view_value(const struct mb_rows *rows, const struct mb_view *v)
{
	return (struct mb_value){ rows->p + v->start, v->len,
		(enum mb_kind)v->kind };
}

#endif
