/*
 * writer.h - rows into bytes.
 *
 * csv is quoted only where needed: the delimiter, a quote, CR, LF, and empty
 * text as `""` to tell it from null.  In tsv, and in lines of several values,
 * the two look alike.  A csv row that is one null is written `""` too, since
 * a blank line would be none; tsv has no way to say it.
 *
 * ndjson: MB_PLAIN stays bare if it is exactly a JSON number, else it is
 * text; bytes that aren't UTF-8 become U+FFFD.
 *
 * lines: one value as it is, but LF as `\n`; several as in tsv.
 */
#ifndef MB_RECORD_WRITER_H
#define MB_RECORD_WRITER_H

#include <stdint.h>

#include "record/names.h"
#include "record/value.h"

/* The header line; nothing for ndjson and lines. */
void mb_write_header(struct mb_buf *out, enum mb_format format,
    char delimiter, const struct mb_str *names, size_t n);

/* One row.  names are needed for ndjson only. */
void mb_write_row(struct mb_buf *out, enum mb_format format, char delimiter,
    const struct mb_str *names, const struct mb_value *values, size_t n);

/*
 * One field of a csv row of several, as mb_write_row writes it, to where there
 * is room for so many bytes; where it ends.
 */
#define MB_CSV_ROOM(len) (2 * (len) + 2)
char *mb_csv_put(char *to, struct mb_value value, char delimiter);

/* Can it happen that a number needs quotes? */
bool mb_csv_may_split_numbers(char delimiter);

/*
 * Of the bytes of two words, is there none that a field is quoted for?  Zeros
 * are none, if the delimiter isn't.
 */
static inline bool
mb_csv_is_bare(uint64_t a, uint64_t b, char delimiter)
{
	/* A vector of the compiler's: SSE2, NEON, or words. */
	typedef uint8_t bytes __attribute__((vector_size(16)));
	typedef uint64_t words __attribute__((vector_size(16)));
	const bytes v = (bytes)(words){ a, b };
	const words special = (words)(bytes)((v == (uint8_t)delimiter) |
	    (v == '"') | (v == '\n') | (v == '\r'));

	return (special[0] | special[1]) == 0;
}

/*
 * Put the values of a row (names, values, n) in the order of `columns`, into
 * out[0 … columns->n - 1]; what is absent is null.  False if a name is not
 * among the columns: then *stranger is its position.
 */
MB_CHECK bool mb_row_align(struct mb_value *out,
    const struct mb_names *columns, const struct mb_str *names,
    const struct mb_value *values, size_t n, size_t *stranger);

#endif
