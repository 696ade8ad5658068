/*
 * csv.h - the fields of one csv or tsv record.
 *
 * libcsv is the definition, in strict mode and with no byte a blank; a test
 * holds this to it.
 */
#ifndef MB_RECORD_CSV_H
#define MB_RECORD_CSV_H

#include <stdbool.h>

#include "record/format.h"
#include "record/value.h"

/* A field where it stands in the record. */
struct mb_csv_field {
	struct mb_str text;	/* without its quotes, not decoded */
	bool is_quoted;
	bool has_escapes;	/* `""`; in tsv a backslash */
};

struct mb_csv_fields {	/* {0} is empty */
	struct mb_csv_field *v;
	size_t n, cap;
};

/*
 * Take apart a record, with or without its line end.  NULL, or why it is bad
 * (a constant): a quote out of place, more than MB_MAX_FIELDS.  The fields are
 * borrowed from the record.
 */
MB_CHECK const char *mb_csv_split(struct mb_csv_fields *out,
    enum mb_format format, char delimiter, struct mb_str record);
void mb_csv_fields_release(struct mb_csv_fields *f);

/* Append the decoded field: `""` is a quote; in tsv \t \n \r \\. */
void mb_csv_decode(struct mb_buf *out, enum mb_format format,
    struct mb_str text);

/* The record without its line end. */
struct mb_str mb_record_body(enum mb_format format, struct mb_str record);

#endif
