/*
 * reader_parts.h - what the parts of mb_reader share; for nobody else.
 *
 *	reader.c	records one by one, taken apart
 *	reader_rows.c	records that the marks have found, one or many at once
 */
#ifndef MB_RECORD_READER_PARTS_H
#define MB_RECORD_READER_PARTS_H

#include "record/csv.h"
#include "record/json.h"
#include "record/marks.h"
#include "record/reader.h"
#include "record/shape.h"

struct key;	/* reader.c */
struct use;

/* A field that is wanted. */
struct wanted {
	struct mb_str field;
	size_t column;		/* csv, tsv, lines */

	/* ndjson */
	struct mb_str head, rest;	/* a path: "user" and "id" */
	size_t as_key, as_head;	/* the member it is, or begins with */
	bool was_seen;
};

struct mb_reader {
	enum mb_format format;
	char delimiter;
	uint64_t record_limit;
	bool wants_all;
	enum mb_isa isa;
	struct mb_str *nulls;
	size_t n_nulls;
	struct wanted *wanted;
	size_t n_wanted;
	struct mb_arena arena;	/* what is copied from the config */

	struct mb_split split;
	uint64_t base;		/* the offset of the first byte of data */

	const struct mb_names *header;
	size_t width;		/* number of fields; 0: not known yet */
	char reason[80];

	struct mb_value *values;
	size_t cap_values;
	struct mb_buf decoded;	/* the texts that had to be decoded … */
	size_t *decoded_at;	/* … of value i behind so many bytes, + 1 */
	bool has_decoded;

	/* csv, tsv: where the fields of the record are … */
	struct mb_csv_fields fields;
	/* … or, if the record was seen by looking ahead */
	struct mb_marks *marks;
	uint64_t marks_off;	/* what the marks count from */
	uint32_t n_used;	/* records of these that were read */
	struct marked {
		const char *p;		/* the record; NULL: see `fields` */
		uint32_t off;		/* of p, as the marks count */
		const uint16_t *mark;	/* the end of field 0 */
		size_t n;		/* fields */
	} marked;
	struct mb_rows rows;	/* many of them */
	size_t cap_views;
	uint16_t in_order[MB_ROWS];	/* 0, 1, 2 … */
	struct mb_buf apart;	/* empty; or these, and decoded texts behind */
	struct mb_shape *shape;	/* ndjson */
	struct mb_str *field_list;	/* of `wanted`, for it */

	/* ndjson: keys as they were seen, and which was at which place */
	struct mb_json_members members;
	struct mb_names known;
	struct key *keys;
	size_t cap_keys;
	struct use *uses;
	size_t n_uses, cap_uses;
	uint32_t *expected;	/* position in `known` of the i-th member */
	size_t n_expected, cap_expected;
	struct mb_str *names;
	size_t cap_names;
	struct mb_buf key;
	uint64_t row;
};

/* The array `p` of *cap elements, with room for n. */
static inline void *
make_room(void *p, size_t *cap, size_t n, size_t size)
{
	if (n <= *cap)
		return p;
	*cap = *cap * 2 > n ? *cap * 2 : n;
	return mb_realloc_array(p, *cap, size);
}

static inline bool
is_null(const struct mb_reader *r, struct mb_str text)
{
	for (size_t i = 0; i < r->n_nulls; i++)
		if (mb_str_eq(r->nulls[i], text))
			return true;
	return false;
}

/* *data is read up to the offset `end`. */
static inline void
advance(struct mb_reader *r, struct mb_str *data, uint64_t end)
{
	size_t n = (size_t)(end - r->base);

	data->p += n;
	data->len -= n;
	r->base = end;
}

/*
 * reader.c
 */

/* Judge the record in row->raw, or in r->marked, and take it apart: 1 or -1. */
int mb_reader_read_row(struct mb_reader *r, struct mb_row *row,
    struct mb_err *err);

/*
 * reader_rows.c
 */

/* The next record, if the marks have found it: into r->marked. */
bool mb_reader_next_marked(struct mb_reader *r, struct mb_str *data,
    struct mb_row *row);

#endif
