#include "record/rows.h"

#include <string.h>

/* Two lists of records, each in order, into one. */
static void
merge_odd(struct mb_rows *rows, const uint16_t *more, size_t n_more)
{
	uint16_t old[MB_ROWS];
	size_t n_old = rows->n_odd, i = 0, k = 0, n = 0;

	memcpy(old, rows->odd, n_old * sizeof *old);
	while (i < n_old || k < n_more)
		rows->odd[n++] = k == n_more || (i < n_old &&
		    old[i] < more[k]) ? old[i++] : more[k++];
	rows->n_odd = n;
}

void
mb_rows_drop(struct mb_rows *rows, size_t n_fields, const bool *out,
    bool is_odd)
{
	uint16_t dropped[MB_ROWS], kept[MB_ROWS];
	size_t n_dropped = 0, n = 0;

	for (size_t i = 0; i < rows->n; i++) {
		dropped[n_dropped] = rows->record[i];
		n_dropped += out[i];
		kept[n] = (uint16_t)i;
		n += !out[i];
	}
	for (size_t i = 0; i < n; i++)
		rows->record[i] = rows->record[kept[i]];
	for (size_t f = 0; f < n_fields; f++) {
		struct mb_view *view = rows->view + f * MB_ROWS;

		for (size_t i = 0; i < n; i++)
			view[i] = view[kept[i]];
	}
	rows->n = n;
	if (is_odd)
		merge_odd(rows, dropped, n_dropped);
}
