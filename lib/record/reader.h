/*
 * reader.h - records and their fields, out of bytes.
 *
 * A reader knows the format and which fields are wanted, so that it need not
 * decode the others.  It is begun once per batch (or plain stream), then asked
 * for row after row.  It finds the records with mb_split and judges each:
 *
 *   csv, tsv	fewer or more fields than the header: bad.  csv also: a quote
 *		out of place
 *   ndjson	not exactly one JSON object in valid UTF-8, or nested deeper
 *		than MB_JSON_DEPTH: bad.  Of equal keys the last counts
 *   lines	never bad
 *
 * Nulls follow cli.md.  Readers share nothing: one per thread.
 */
#ifndef MB_RECORD_READER_H
#define MB_RECORD_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/isa.h"
#include "record/names.h"
#include "record/rows.h"
#include "record/split.h"
#include "record/value.h"

struct mb_reader_config {
	enum mb_format format;
	char delimiter;			/* csv; 0 is the format's own */
	uint64_t record_limit;		/* 0 is the default */
	const struct mb_str *nulls;	/* each --null; of text and numbers */
	size_t n_nulls;
	const struct mb_str *fields;	/* each a FIELD (without braces) */
	size_t n_fields;
	bool wants_all;			/* every field instead of `fields` */
	enum mb_isa isa;
};

struct mb_row {
	/*
	 * Where the record stands: absolute offsets from what mb_reader_begin
	 * was told.  raw is the record with its line end (the last may have
	 * none).  Of a rejected line that was longer than the record limit
	 * raw is empty.
	 */
	uint64_t off, end;
	struct mb_str raw;

	const char *bad;	/* NULL: good; else why not, for a person */

	/*
	 * values[i] is fields[i]; with wants_all the record's fields in order,
	 * named by names.  Not set where the record is bad.  Valid until the
	 * next call and while the caller's bytes are.
	 */
	const struct mb_value *values;
	const struct mb_str *names;	/* wants_all only; NULL in csv and tsv
					   without header */
	size_t n;
};

struct mb_reader;

/* The config is copied. */
void mb_reader_open(struct mb_reader **out, const struct mb_reader_config *);
void mb_reader_close(struct mb_reader *r);

/*
 * Begin a batch whose first byte has the offset `off`, between two records
 * and behind BOM and header.  `header` (borrowed until the next begin) for csv
 * and tsv; NULL there means --no-header: the first record that is whole gives
 * the number of fields.  Ignored for ndjson and lines.
 *
 * MB_EUSAGE: a field is not in the header; the message lists what is.
 */
MB_CHECK int mb_reader_begin(struct mb_reader *r,
    const struct mb_names *header, uint64_t off, struct mb_err *err);

/*
 * The next record in *data: 1, good or bad; *data is advanced behind it.
 *
 * 0: no whole record is left, or with is_last none at all.  *data is then
 * what must come again, at the front of the next call's data, with more
 * behind it; work already done on it is not done again.
 *
 * -1: MB_EUSAGE, without header only: a position beyond the first record.
 */
MB_CHECK int mb_reader_next(struct mb_reader *r, struct mb_str *data,
    bool is_last, struct mb_row *row, struct mb_err *err);

/*
 * The next records of *data, many at once, where they are ordinary: or NULL,
 * and mb_reader_next has to take the next one.  View i is fields[i]; with
 * wants_all (never in ndjson) the record's i-th field.
 *
 * Borrowed, and the caller's to drop rows from, until mb_reader_pass moves on
 * behind all of them.  Until then mb_reader_read reads one of the records (from
 * 0), whatever it is, and mb_reader_raw is the bytes of n of them, n > 0, from
 * record i on.
 */
struct mb_rows *mb_reader_ahead(struct mb_reader *r, struct mb_str data);
/* Is MB_MARKS_WATCHED among their bytes?  false is sure. */
bool mb_reader_may_have_control(const struct mb_reader *r);
MB_CHECK int mb_reader_read(struct mb_reader *r, size_t i,
    struct mb_row *row, struct mb_err *err);
struct mb_str mb_reader_raw(const struct mb_reader *r, size_t i, size_t n);
void mb_reader_pass(struct mb_reader *r, struct mb_str *data);

/* The offset of the first byte of data that is to come. */
uint64_t mb_reader_off(const struct mb_reader *r);

/*
 * The number of fields of a record without header, 0 before the first.  To
 * cut one batch for several readers, let one read the first record and give
 * the others mb_names_number of this as header.
 */
size_t mb_reader_width(const struct mb_reader *r);

/*
 * Was there a record in which the i-th field (ndjson) was present, null or
 * not, since begin?  A field in no record deserves a warning.
 */
bool mb_reader_saw(const struct mb_reader *r, size_t i);

#endif
