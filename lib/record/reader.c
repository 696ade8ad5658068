#include "record/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/load.h"
#include "base/parse.h"
#include "record/csv.h"
#include "record/json.h"
#include "record/marks.h"
#include "record/shape.h"

enum {
	MAX_KNOWN = 4096,	/* keys of ndjson, from record to record */
	MAX_VIEWS = 1024,	/* fields of many records at once */
	MOST_PARTS = 8,		/* vectors of marks of sixteen records */
};

static const size_t NOWHERE = SIZE_MAX;

/* A field that is wanted. */
struct wanted {
	struct mb_str field;
	size_t column;		/* csv, tsv, lines */

	/* ndjson */
	struct mb_str head, rest;	/* a path: "user" and "id" */
	size_t as_key, as_head;	/* the member it is, or begins with */
	bool was_seen;
};

/* A key of ndjson, beside its name in `known`. */
struct key {
	uint32_t first_use, n_uses;	/* in `uses` */
	uint64_t row;		/* the last one it was in … */
	size_t position;	/* … as which value (wants_all) */
};

/* The i-th wanted field is this key, or a path that begins with it. */
struct use {
	uint32_t i;
	bool is_head;
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
static void *
make_room(void *p, size_t *cap, size_t n, size_t size)
{
	if (n <= *cap)
		return p;
	*cap = *cap * 2 > n ? *cap * 2 : n;
	return mb_realloc_array(p, *cap, size);
}

static void
make_room_for_values(struct mb_reader *r, size_t n)
{
	size_t cap = r->cap_values;

	r->values = make_room(r->values, &r->cap_values, n,
	    sizeof *r->values);
	r->decoded_at = make_room(r->decoded_at, &cap, n,
	    sizeof *r->decoded_at);
}

void
mb_reader_open(struct mb_reader **out, const struct mb_reader_config *config)
{
	struct mb_reader *r = mb_zalloc(sizeof *r);

	r->format = config->format;
	r->delimiter = config->delimiter != '\0' && config->format == MB_CSV ?
	    config->delimiter : mb_delimiter_of(config->format);
	r->record_limit = config->record_limit;
	r->wants_all = config->wants_all;
	r->isa = config->isa != MB_ISA_BEST ? config->isa : mb_isa_best();
	r->n_nulls = config->n_nulls;
	r->nulls = mb_zalloc((r->n_nulls + 1) * sizeof *r->nulls);
	for (size_t i = 0; i < r->n_nulls; i++)
		r->nulls[i] = (struct mb_str){ mb_arena_dup(&r->arena,
		    config->nulls[i].p, config->nulls[i].len),
		    config->nulls[i].len };
	r->n_wanted = r->wants_all ? 0 : config->n_fields;
	r->wanted = mb_zalloc((r->n_wanted + 1) * sizeof *r->wanted);
	for (size_t i = 0; i < r->n_wanted; i++) {
		struct wanted *w = &r->wanted[i];
		size_t len = config->fields[i].len;
		const char *dot;

		w->field = (struct mb_str){ mb_arena_dup(&r->arena,
		    config->fields[i].p, len), len };
		dot = memchr(w->field.p, '.', len);
		if (dot == NULL)
			continue;
		w->head = (struct mb_str){ w->field.p,
		    (size_t)(dot - w->field.p) };
		w->rest = (struct mb_str){ dot + 1, len - w->head.len - 1 };
	}
	r->field_list = mb_zalloc((r->n_wanted + 1) * sizeof *r->field_list);
	for (size_t i = 0; i < r->n_wanted; i++)
		r->field_list[i] = r->wanted[i].field;
	make_room_for_values(r, r->n_wanted + 1);
	for (unsigned i = 0; i < MB_ROWS; i++)
		r->in_order[i] = (uint16_t)i;
	*out = r;
}

void
mb_reader_close(struct mb_reader *r)
{
	if (r == NULL)
		return;
	free(r->nulls);
	free(r->wanted);
	mb_arena_release(&r->arena);
	free(r->values);
	mb_buf_release(&r->decoded);
	free(r->decoded_at);
	mb_csv_fields_release(&r->fields);
	mb_json_members_release(&r->members);
	mb_names_release(&r->known);
	free(r->keys);
	free(r->uses);
	free(r->expected);
	free(r->names);
	mb_buf_release(&r->key);
	free(r->marks);
	free(r->rows.view);
	mb_buf_release(&r->apart);
	free(r->field_list);
	mb_shape_close(r->shape);
	free(r);
}

/* "no field "x"; there are a, b, c" */
static int
fail_missing(struct mb_str field, const struct mb_names *names,
    struct mb_err *err)
{
	struct mb_buf text = { 0 };

	mb_buf_adds(&text, "no field \"");
	mb_show(&text, field);
	mb_buf_adds(&text, "\"; the header has ");
	mb_names_show(&text, names);
	mb_fail(err, MB_EUSAGE, "%s", mb_buf_str(&text));
	mb_buf_release(&text);
	return -1;
}

static int
resolve(struct mb_reader *r, const struct mb_names *names,
    struct mb_err *err)
{
	for (size_t i = 0; i < r->n_wanted; i++) {
		ssize_t found = mb_names_find(names, r->wanted[i].field);

		if (found < 0)
			return fail_missing(r->wanted[i].field, names, err);
		r->wanted[i].column = (size_t)found;
	}
	return 0;
}

/* Positions, in a record whose width isn't known yet. */
static int
resolve_positions(struct mb_reader *r, struct mb_err *err)
{
	for (size_t i = 0; i < r->n_wanted; i++) {
		struct mb_str field = r->wanted[i].field;
		size_t position = 0;

		for (size_t k = 0; k < field.len; k++) {
			if (field.p[k] < '0' || field.p[k] > '9') {
				position = 0;
				break;
			}
			if (position <= MB_MAX_FIELDS)
				position = position * 10 +
				    (size_t)(field.p[k] - '0');
		}
		if (position == 0)
			return mb_fail(err, MB_EUSAGE, "no field \"%.*s\"; "
			    "without header the fields are 1, 2, 3 …",
			    (int)(field.len < 200 ? field.len : 200), field.p);
		r->wanted[i].column = position - 1;
	}
	return 0;
}

int
mb_reader_begin(struct mb_reader *r, const struct mb_names *header,
    uint64_t off, struct mb_err *err)
{
	struct mb_names line = { 0 };
	int rc;

	mb_split_init(&r->split, r->format, r->delimiter, r->record_limit,
	    off);
	r->base = off;
	r->header = NULL;
	r->width = 0;
	if (r->marks == NULL)
		r->marks = mb_alloc(sizeof *r->marks);
	r->n_used = r->marks->n_ends = r->marks->n_marks = 0;
	for (size_t i = 0; i < r->n_wanted; i++)
		r->wanted[i].was_seen = false;
	switch (r->format) {
	case MB_NDJSON:
		return 0;
	case MB_LINES:
		mb_names_add(&line, MB_STR("line"));
		r->width = 1;
		rc = resolve(r, &line, err);
		mb_names_release(&line);
		return rc;
	default:
		break;
	}
	if (header == NULL)
		return resolve_positions(r, err);
	r->header = header;
	r->width = header->n;
	return resolve(r, header, err);
}

static inline bool
is_null(const struct mb_reader *r, struct mb_str text)
{
	for (size_t i = 0; i < r->n_nulls; i++)
		if (mb_str_eq(r->nulls[i], text))
			return true;
	return false;
}

/*
 * The value i is what was appended to r->decoded behind `start`.  Until the
 * row is done the bytes may move, so the place is noted.
 */
static void
set_decoded(struct mb_reader *r, size_t i, size_t start, enum mb_kind kind)
{
	struct mb_str text = { r->decoded.p + start, r->decoded.len - start };

	r->decoded_at[i] = 0;
	if (kind != MB_JSON && is_null(r, text)) {
		r->values[i] = mb_value_null();
		return;
	}
	r->values[i] = (struct mb_value){ "", text.len, kind };
	r->decoded_at[i] = start + 1;
	r->has_decoded = true;
}

static inline void
set_text(struct mb_reader *r, size_t i, struct mb_str text,
    enum mb_kind kind)
{
	r->decoded_at[i] = 0;
	if (kind != MB_JSON && is_null(r, text))
		r->values[i] = mb_value_null();
	else
		r->values[i] = (struct mb_value){ text.p, text.len, kind };
}

static inline void
set_null(struct mb_reader *r, size_t i)
{
	r->decoded_at[i] = 0;
	r->values[i] = mb_value_null();
}

static inline void
set_csv(struct mb_reader *r, size_t i, const struct mb_csv_field *f)
{
	size_t start = r->decoded.len;

	if (f->has_escapes) {
		mb_csv_decode(&r->decoded, r->format, f->text);
		set_decoded(r, i, start, MB_PLAIN);
	} else if (f->text.len == 0 && !f->is_quoted) {
		set_null(r, i);
	} else {
		set_text(r, i, f->text, MB_PLAIN);
	}
}

static void
set_json(struct mb_reader *r, size_t i, const struct mb_json *v)
{
	size_t start = r->decoded.len;

	if (v->kind == MB_NULL) {
		set_null(r, i);
	} else if (v->has_escapes) {
		mb_json_unescape(&r->decoded, v->text);
		set_decoded(r, i, start, MB_TEXT);
	} else if (v->text.len > 0 && v->kind == MB_JSON &&
	    (v->text.p[0] == '{' || v->text.p[0] == '[')) {
		mb_json_compact(&r->decoded, v->text);
		set_decoded(r, i, start, MB_JSON);
	} else {
		set_text(r, i, v->text, v->kind);
	}
}

/* The i-th field of a csv or tsv record. */
static inline struct mb_csv_field
field_at(const struct mb_reader *r, size_t i)
{
	const struct marked *m = &r->marked;
	const char *start, *end;
	struct mb_csv_field f = { .is_quoted = false };

	if (m->p == NULL)
		return r->fields.v[i];
	start = i == 0 ? m->p : m->p + ((m->mark[i - 1] & MB_MARK_PLACE) + 1 -
	    m->off);
	end = m->p + ((m->mark[i] & MB_MARK_PLACE) - m->off);
	if (i == m->n - 1 && end > start && end[0] == '\n' && end[-1] == '\r')
		end--;
	if (r->format == MB_CSV && start < end && *start == '"') {
		f.is_quoted = true;
		start++;
		end--;
	}
	f.text = (struct mb_str){ start, (size_t)(end - start) };
	f.has_escapes = (f.is_quoted || r->format == MB_TSV) &&
	    f.text.len > 0 && memchr(start, f.is_quoted ? '"' : '\\',
	    f.text.len) != NULL;
	return f;
}

/*
 * Judging and taking apart a record: 0, with row->bad set where it is bad.
 */
static int
read_csv(struct mb_reader *r, struct mb_row *row, struct mb_err *err)
{
	struct mb_csv_field f;
	size_t n = r->marked.n;

	if (r->marked.p == NULL) {
		row->bad = mb_csv_split(&r->fields, r->format, r->delimiter,
		    row->raw);
		if (row->bad != NULL)
			return 0;
		n = r->fields.n;
	}
	if (r->width == 0) {
		for (size_t i = 0; i < r->n_wanted; i++)
			if (r->wanted[i].column >= n)
				return mb_fail(err, MB_EUSAGE,
				    "no field %zu; the first record has %zu",
				    r->wanted[i].column + 1, n);
		r->width = n;
	}
	if (n != r->width) {
		snprintf(r->reason, sizeof r->reason,
		    "%zu field%s, the %s has %zu", n, n == 1 ? "" : "s",
		    r->header != NULL ? "header" : "first record", r->width);
		row->bad = r->reason;
		return 0;
	}
	if (!r->wants_all) {
		for (size_t i = 0; i < r->n_wanted; i++) {
			f = field_at(r, r->wanted[i].column);
			set_csv(r, i, &f);
		}
		row->n = r->n_wanted;
		return 0;
	}
	make_room_for_values(r, n);
	for (size_t i = 0; i < n; i++) {
		f = field_at(r, i);
		set_csv(r, i, &f);
	}
	row->n = n;
	row->names = r->header != NULL ? r->header->v : NULL;
	return 0;
}

static void
read_line(struct mb_reader *r, struct mb_row *row)
{
	static const struct mb_str name = { "line", 4 };
	struct mb_str body = mb_record_body(MB_LINES, row->raw);

	row->n = r->wants_all ? 1 : r->n_wanted;
	for (size_t i = 0; i < row->n; i++)
		set_text(r, i, body, MB_TEXT);
	if (r->wants_all)
		row->names = &name;
}

/* Remember a new key, and which wanted fields it is or begins. */
static size_t
learn_key(struct mb_reader *r, struct mb_str name)
{
	size_t at = r->known.n;

	mb_names_add(&r->known, name);
	r->keys = make_room(r->keys, &r->cap_keys, at + 1, sizeof *r->keys);
	r->keys[at] = (struct key){ .first_use = (uint32_t)r->n_uses };
	for (size_t i = 0; i < r->n_wanted; i++) {
		bool is_head = !mb_str_eq(r->wanted[i].field, name);

		if (is_head && (r->wanted[i].head.p == NULL ||
		    !mb_str_eq(r->wanted[i].head, name)))
			continue;
		r->uses = make_room(r->uses, &r->cap_uses, r->n_uses + 1,
		    sizeof *r->uses);
		r->uses[r->n_uses++] = (struct use){ (uint32_t)i, is_head };
		r->keys[at].n_uses++;
	}
	return at;
}

/*
 * The key of the i-th member in `known`.  Records mostly have the keys of the
 * one before, in its order.
 */
static struct key *
find_key(struct mb_reader *r, size_t i, const struct mb_json_member *m)
{
	struct mb_str name = m->key;
	ssize_t at;

	if (m->key_has_escapes) {
		mb_buf_reset(&r->key);
		mb_json_unescape(&r->key, m->key);
		name = (struct mb_str){ r->key.p, r->key.len };
	}
	if (i < r->n_expected &&
	    mb_str_eq(r->known.v[r->expected[i]], name))
		return &r->keys[r->expected[i]];
	at = mb_names_index(&r->known, name);
	if (at < 0)
		at = (ssize_t)learn_key(r, name);
	if (i <= r->n_expected) {
		r->expected = make_room(r->expected, &r->cap_expected, i + 1,
		    sizeof *r->expected);
		r->expected[i] = (uint32_t)at;
		r->n_expected += i == r->n_expected;
	}
	return &r->keys[at];
}

static void
read_all_members(struct mb_reader *r, struct mb_row *row)
{
	make_room_for_values(r, r->members.n);
	r->names = make_room(r->names, &r->cap_names, r->members.n,
	    sizeof *r->names);
	for (size_t i = 0; i < r->members.n; i++) {
		struct key *key = find_key(r, i, &r->members.v[i]);

		if (key->row != r->row) {
			key->row = r->row;
			key->position = row->n;
			r->names[row->n++] = r->known.v[key - r->keys];
		}
		set_json(r, key->position, &r->members.v[i].value);
	}
	row->names = r->names;
}

static void
read_wanted_members(struct mb_reader *r, struct mb_row *row)
{
	struct wanted *w;
	struct mb_json value;

	for (size_t i = 0; i < r->n_wanted; i++)
		r->wanted[i].as_key = r->wanted[i].as_head = NOWHERE;
	for (size_t i = 0; i < r->members.n; i++) {
		const struct key *key = find_key(r, i, &r->members.v[i]);

		for (uint32_t k = 0; k < key->n_uses; k++) {
			const struct use *use = &r->uses[key->first_use + k];

			if (use->is_head)
				r->wanted[use->i].as_head = i;
			else
				r->wanted[use->i].as_key = i;
		}
	}
	for (size_t i = 0; i < r->n_wanted; i++) {
		w = &r->wanted[i];
		if (w->as_key != NOWHERE) {
			value = r->members.v[w->as_key].value;
		} else if (w->as_head == NOWHERE || !mb_json_path(&value,
		    &r->members.v[w->as_head].value, w->rest)) {
			set_null(r, i);
			continue;
		}
		w->was_seen = true;
		set_json(r, i, &value);
	}
	row->n = r->n_wanted;
}

static void
read_json(struct mb_reader *r, struct mb_row *row)
{
	row->bad = mb_json_object(&r->members, row->raw);
	if (row->bad != NULL)
		return;
	if (r->known.n > MAX_KNOWN) {
		mb_names_reset(&r->known);
		r->n_uses = r->n_expected = 0;
	}
	r->row++;
	if (r->wants_all)
		read_all_members(r, row);
	else
		read_wanted_members(r, row);
}

static int
read_row(struct mb_reader *r, struct mb_row *row, struct mb_err *err)
{
	mb_buf_reset(&r->decoded);
	r->has_decoded = false;
	switch (r->format) {
	case MB_CSV:
	case MB_TSV:
		if (read_csv(r, row, err) < 0)
			return -1;
		break;
	case MB_NDJSON:
		read_json(r, row);
		break;
	case MB_LINES:
		read_line(r, row);
		break;
	}
	row->values = r->values;
	for (size_t i = 0; r->has_decoded && i < row->n; i++)
		if (r->decoded_at[i] != 0)
			r->values[i].p = r->decoded.p + r->decoded_at[i] - 1;
	return 1;
}

/* *data is read up to the offset `end`. */
static void
advance(struct mb_reader *r, struct mb_str *data, uint64_t end)
{
	size_t n = (size_t)(end - r->base);

	data->p += n;
	data->len -= n;
	r->base = end;
}

/*
 * Most csv and tsv records are found many at once, with their fields.  False
 * if the next one isn't such.
 */
static bool
look(struct mb_reader *r, struct mb_str data)
{
	uint64_t looked;

	if (r->format == MB_NDJSON) {
		/* Other records were read since. */
		looked = r->base - r->marks_off;
		while (r->n_used < r->marks->n_marks &&
		    r->marks->mark[MB_MARKS_FIRST + r->n_used] < looked)
			r->n_used++;
		if (r->n_used < r->marks->n_marks)
			return true;
	} else if (r->n_used < r->marks->n_ends) {
		return true;
	}
	/* Between two records, none of which can be too long. */
	if (r->split.off != r->split.complete ||
	    r->split.limit < MB_MARKS_REACH)
		return false;
	mb_marks_look(r->marks, r->isa, r->format, r->delimiter, r->width,
	    data.p, data.len);
	r->marks_off = r->base;
	r->n_used = 0;
	return r->format == MB_NDJSON ? r->marks->n_marks > 0 :
	    r->marks->n_ends > 0;
}

/* The i-th record of the marks; at p is the byte of the offset `off`. */
static void
set_marked(struct mb_reader *r, const char *p, uint64_t off, uint32_t i,
    struct mb_row *row)
{
	const struct mb_marks *m = r->marks;
	uint32_t first = i > 0 ? mb_marks_end(m, i - 1) + 1 : 0;
	uint32_t start = first > 0 ? mb_marks_place(m, first - 1) + 1 : 0;
	uint32_t last = mb_marks_end(m, i), end = mb_marks_place(m, last) + 1;

	p += r->marks_off + start - off;
	*row = (struct mb_row){
		.off = r->marks_off + start,
		.end = r->marks_off + end,
		.raw = { p, end - start },
	};
	r->marked = (struct marked){ .p = p, .off = start,
		.mark = m->mark + MB_MARKS_FIRST + first,
		.n = last - first + 1 };
}

static bool
next_marked(struct mb_reader *r, struct mb_str *data, struct mb_row *row)
{
	r->marked.p = NULL;
	if (!mb_format_has_header(r->format) || r->isa == MB_ISA_NONE ||
	    !look(r, *data))
		return false;
	set_marked(r, data->p, r->base, r->n_used++, row);
	mb_split_pass(&r->split, row->end);
	advance(r, data, row->end);
	return true;
}

/*
 * Many at once.
 */

/*
 * Where record i of the rows begins, from rows->p on; of n_records, where the
 * last ends.
 */
static uint32_t
begin_of(const struct mb_reader *r, size_t i)
{
	if (r->format == MB_NDJSON)
		return r->rows.start[i];
	return i == 0 ? 0 : (uint32_t)(r->marks_off - r->base) +
	    mb_marks_place(r->marks, mb_marks_end(r->marks, r->n_used +
	    (uint32_t)i - 1)) + 1;
}

/*
 * The text of a view is to be decoded.  As there is no room for that where it
 * stands, the rows move: to a copy, with what is decoded behind it.
 */
static void
decode_view(struct mb_reader *r, struct mb_view *v)
{
	const struct mb_rows *rows = &r->rows;
	struct mb_str text = { rows->p + v->start, v->len };

	if (r->apart.len == 0)
		mb_buf_add(&r->apart, rows->p,
		    begin_of(r, rows->n_records));
	v->start = (uint32_t)r->apart.len;
	mb_csv_decode(&r->apart, r->format, text);
	v->len = (uint16_t)(r->apart.len - v->start);
}

/*
 * Take the CR off the last field of a record; then it may be null.  A quoted
 * one is without its first byte and as many at its end, the CR among them.
 */
static void
chomp_views(const char *base, struct mb_view *view, size_t n,
    enum mb_format format)
{
	for (size_t i = 0; i < n; i++) {
		struct mb_view *v = &view[i];
		const char *end = base + v->start + v->len;

		if (v->len == 0)
			continue;
		if (format == MB_CSV && end[0] == '\r' && end[-1] == '"')
			v->len--;
		else if (end[0] == '\n' && end[-1] == '\r' &&
		    --v->len == 0 && format != MB_LINES)
			v->kind = MB_NULL;
	}
}

/* The mark that ends the first field of the next record. */
static uint32_t
first_mark(const struct mb_reader *r)
{
	return r->n_used > 0 ? mb_marks_end(r->marks, r->n_used - 1) + 1 : 0;
}

/*
 * Decode what must be: the field of row i ends with mark at[i] + column.  Which
 * they are can't be foreseen.
 */
static void
decode_views(struct mb_reader *r, struct mb_view *view, const uint16_t *at,
    size_t column)
{
	const unsigned char *is_coded = r->marks->is_coded + column;
	uint16_t coded[MB_ROWS];
	unsigned char any = 0;
	size_t n = 0;

	for (size_t i = 0; i < r->rows.n; i++)
		any |= is_coded[at[i]];
	for (size_t i = 0; i < r->rows.n && any != 0; i++) {
		coded[n] = (uint16_t)i;
		n += is_coded[at[i]] & 1;
	}
	for (size_t k = 0; k < n; k++)
		decode_view(r, &view[coded[k]]);
}

/* Those that are null by --null. */
static void
null_views(const struct mb_reader *r, struct mb_view *view)
{
	for (size_t i = 0; i < r->rows.n; i++) {
		struct mb_view *v = &view[i];

		if (v->kind != MB_NULL && v->kind != MB_JSON && is_null(r,
		    (struct mb_str){ r->rows.p + v->start, v->len })) {
			v->kind = MB_NULL;
			v->len = 0;
		}
	}
}

/* How many fields are viewed. */
static size_t
n_views(const struct mb_reader *r)
{
	return r->wants_all ? r->width : r->n_wanted;
}

/* Which records are ordinary, and with which mark each of these begins. */
static void
find_ordinary(struct mb_reader *r, uint16_t first[MB_ROWS])
{
	const struct mb_marks *m = r->marks;
	struct mb_rows *rows = &r->rows;
	uint32_t at = first_mark(r);
	size_t n = 0, n_odd = 0;

	for (size_t i = 0; i < rows->n_records; i++) {
		uint32_t end = mb_marks_end(m, r->n_used + (uint32_t)i);
		bool is_ordinary = end + 1 - at == r->width;

		first[n] = (uint16_t)at;
		rows->record[n] = (uint16_t)i;
		n += is_ordinary;
		rows->odd[n_odd] = (uint16_t)i;
		n_odd += !is_ordinary;
		at = end + 1;
	}
	rows->n = n;
	rows->n_odd = n_odd;
}

/* The same where all are. */
static void
take_all(struct mb_reader *r)
{
	struct mb_rows *rows = &r->rows;

	rows->n = rows->n_records;
	rows->n_odd = 0;
	memcpy(rows->record, r->in_order, rows->n * sizeof *rows->record);
}

/*
 * The field that ends with a mark, the one before being where it begins,
 * without its quotes.  In the fewest steps, and in words where words stand that
 * way: this is done for each field of each record.
 */
static inline void
set_view(struct mb_view *view, const uint16_t *end, uint32_t delta)
{
	uint32_t both = mb_load_4(end - 1), start, len, is_quoted;
	uint64_t word;

	_Static_assert(sizeof *view == 8 && offsetof(struct mb_view, len) ==
	    4 && offsetof(struct mb_view, kind) == 6 && MB_NULL == 0 &&
	    MB_PLAIN == 1, "a word");
	/* In 15 bits, so that what is before mark 0 fits. */
	start = (both + 1) & MB_MARK_PLACE;
	len = ((both >> 16) - start) & MB_MARK_PLACE;
	is_quoted = both >> 31;
	word = (len | ((len + 0xffff) & 0x10000)) - 2 * is_quoted;
	word = word << 32 | (uint32_t)(start + is_quoted - delta);
	memcpy(view, &word, sizeof word);
}

/* The views of a field of n records that are all as wide. */
static void
set_column(struct mb_view *view, const uint16_t *end, size_t width, size_t n,
    uint32_t delta)
{
	for (size_t i = 0; i < n; i++)
		set_view(&view[i], end + i * width, delta);
}

#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2")))

/* Sixteen views of a field, of the marks before and at its end, each. */
AVX512 static inline __attribute__((always_inline)) void
put_views(struct mb_view *view, __m512i both, uint32_t delta)
{
	const __m512i low = _mm512_set1_epi32(0xffff);
	const __m512i place = _mm512_set1_epi32(MB_MARK_PLACE);
	const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
	const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
	__m512i start = _mm512_and_epi32(place, _mm512_add_epi32(both,
	    _mm512_set1_epi32(1)));
	__m512i len = _mm512_and_epi32(place, _mm512_sub_epi32(
	    _mm512_srli_epi32(both, 16), start));
	__m512i quoted = _mm512_srli_epi32(both, 31);
	__m512i a, b;

	len = _mm512_or_epi32(len, _mm512_and_epi32(
	    _mm512_set1_epi32(0x10000), _mm512_add_epi32(len, low)));
	len = _mm512_sub_epi32(len, _mm512_slli_epi32(quoted, 1));
	start = _mm512_add_epi32(start, _mm512_sub_epi32(quoted,
	    _mm512_set1_epi32((int)delta)));
	a = _mm512_unpacklo_epi32(start, len);
	b = _mm512_unpackhi_epi32(start, len);
	_mm512_storeu_si512(&view[0], _mm512_permutex2var_epi64(a, first, b));
	_mm512_storeu_si512(&view[8], _mm512_permutex2var_epi64(a, second, b));
}

/* The same as set_column; behind the n-th there may be anything then. */
AVX512 static void
gather_column(struct mb_view *view, const uint16_t *end, size_t width,
    size_t n, uint32_t delta)
{
	const __m512i at = _mm512_mullo_epi32(_mm512_set1_epi32((int)width),
	    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
	    26, 28, 30));

	for (size_t i = 0; i < n; i += 16) {
		__mmask16 there = n - i < 16 ?
		    (__mmask16)((1u << (n - i)) - 1) : 0xffff;

		put_views(view + i, _mm512_mask_i32gather_epi32(
		    _mm512_setzero_si512(), there, at, end - 1 + i * width,
		    1), delta);
	}
}

/*
 * In records of few fields the marks of sixteen are few vectors, n_parts, from
 * each of which is taken what it has: half the time of gathering them.
 */
AVX512 static inline __attribute__((always_inline)) void
pick_column(struct mb_view *view, const uint16_t *end, size_t width,
    size_t n, uint32_t delta, const unsigned n_parts)
{
	/* Of row k the marks k * width and the next. */
	const __m512i at = _mm512_add_epi16(_mm512_set1_epi32(1 << 16),
	    _mm512_mullo_epi16(_mm512_set1_epi16((short)width),
	    _mm512_setr_epi32(0, 0x10001, 0x20002, 0x30003, 0x40004, 0x50005,
	    0x60006, 0x70007, 0x80008, 0x90009, 0xa000a, 0xb000b, 0xc000c,
	    0xd000d, 0xe000e, 0xf000f)));
	__mmask32 has[MOST_PARTS];

	for (unsigned k = 0; k < n_parts; k++)
		has[k] = _mm512_cmpeq_epi16_mask(_mm512_srli_epi16(at, 5),
		    _mm512_set1_epi16((short)k));
	for (size_t i = 0; i < n; i += 16) {
		const uint16_t *mark = end - 1 + i * width;
		__m512i both = _mm512_permutexvar_epi16(at,
		    _mm512_loadu_si512(mark));

#pragma GCC unroll 8
		for (unsigned k = 1; k < n_parts; k++)
			both = _mm512_mask_permutexvar_epi16(both, has[k], at,
			    _mm512_loadu_si512(mark + 32 * k));
		put_views(view + i, both, delta);
	}
}

AVX512 static void
set_column_avx512(struct mb_view *view, const uint16_t *end, size_t width,
    size_t n, uint32_t delta)
{
	/* What is behind the last mark can be read, but not much. */
	size_t whole = n / 16 * 16;

	switch ((15 * width + 2 + 31) / 32) {
#define CASE(n_parts) \
	case n_parts: \
		pick_column(view, end, width, whole, delta, n_parts); \
		break
	CASE(1);
	CASE(2);
	CASE(3);
	CASE(4);
	CASE(5);
	CASE(6);
	CASE(7);
	CASE(8);
#undef CASE
	default:
		whole = 0;
	}
	gather_column(view + whole, end + whole * width, width, n - whole,
	    delta);
}
#endif

static void
set_views(struct mb_reader *r)
{
	const struct mb_marks *m = r->marks;
	const uint16_t *mark = m->mark + MB_MARKS_FIRST;
	const uint32_t delta = (uint32_t)(r->base - r->marks_off);
	const size_t width = r->width;
	struct mb_rows *rows = &r->rows;
	const bool is_regular = m->width == width;
	uint16_t first[MB_ROWS];
	size_t n;

	first[0] = (uint16_t)first_mark(r);
	if (is_regular)
		take_all(r);
	else
		find_ordinary(r, first);
	n = rows->n;
	for (size_t i = 1; i < n && is_regular && m->has_codes; i++)
		first[i] = (uint16_t)(first[0] + i * width);
	for (size_t f = 0; f < n_views(r); f++) {
		struct mb_view *view = rows->view + f * MB_ROWS;
		size_t column = r->wants_all ? f : r->wanted[f].column;

#if defined(__x86_64__)
		if (is_regular && r->isa == MB_ISA_AVX512)
			set_column_avx512(view, mark + first[0] + column,
			    width, n, delta);
		else
#endif
		if (is_regular)
			set_column(view, mark + first[0] + column, width, n,
			    delta);
		else
			for (size_t i = 0; i < n; i++)
				set_view(&view[i], mark + first[i] + column,
				    delta);
		/* An empty line is a text, too. */
		for (size_t i = 0; i < n && r->format == MB_LINES; i++)
			view[i].kind = MB_TEXT;
		if (m->has_cr && column == width - 1)
			chomp_views(rows->p, view, n, r->format);
		if (m->has_codes)
			decode_views(r, view, first, column);
	}
	if (r->apart.len > 0) {
		mb_buf_reserve(&r->apart, MB_VIEW_SLACK);
		rows->p = r->apart.p;
	}
	for (size_t f = 0; f < n_views(r) && r->n_nulls > 0; f++)
		null_views(r, rows->view + f * MB_ROWS);
}

static bool
set_json_views(struct mb_reader *r, struct mb_str data)
{
	struct mb_rows *rows = &r->rows;
	uint32_t delta = (uint32_t)(r->base - r->marks_off);
	uint64_t seen = 0;

	if (r->shape == NULL)
		mb_shape_open(&r->shape, r->field_list, r->n_wanted);
	/* What counts from the marks' beginning; nothing before is read. */
	rows->p = data.p - delta;
	rows->start[0] = delta;
	mb_shape_rows(r->shape, r->marks, &r->n_used, rows->p, rows, &seen);
	for (; seen != 0; seen &= seen - 1)
		r->wanted[__builtin_ctzll(seen)].was_seen = true;
	for (size_t f = 0; f < r->n_wanted && r->n_nulls > 0; f++)
		null_views(r, rows->view + f * MB_ROWS);
	return rows->n_records > 0;
}

struct mb_rows *
mb_reader_ahead(struct mb_reader *r, struct mb_str data)
{
	struct mb_rows *rows = &r->rows;

	if (r->isa == MB_ISA_NONE || (r->format == MB_NDJSON ? r->wants_all :
	    r->width == 0 || n_views(r) > MAX_VIEWS) || !look(r, data))
		return NULL;
	rows->view = make_room(rows->view, &r->cap_views,
	    (n_views(r) + 1) * MB_ROWS, sizeof *rows->view);
	rows->isa = r->isa;
	if (r->format == MB_NDJSON)
		return set_json_views(r, data) ? rows : NULL;
	rows->p = data.p;
	mb_buf_reset(&r->apart);
	rows->n_records = r->marks->n_ends - r->n_used;
	if (rows->n_records > MB_ROWS)
		rows->n_records = MB_ROWS;
	set_views(r);
	return rows;
}

bool
mb_reader_may_have_control(const struct mb_reader *r)
{
	return r->marks->has_watched;
}

struct mb_str
mb_reader_raw(const struct mb_reader *r, size_t i, size_t n)
{
	uint32_t begin = begin_of(r, i);

	return (struct mb_str){ r->rows.p + begin, begin_of(r, i + n) - begin };
}

/* Record i of the rows, whatever it is. */
int
mb_reader_read(struct mb_reader *r, size_t i, struct mb_row *row,
    struct mb_err *err)
{
	int rc;

	if (r->format != MB_NDJSON) {
		set_marked(r, r->rows.p, r->base, r->n_used + (uint32_t)i, row);
		return read_row(r, row, err);
	}
	*row = (struct mb_row){ .raw = mb_reader_raw(r, i, 1) };
	row->off = r->base + begin_of(r, i) - begin_of(r, 0);
	row->end = row->off + row->raw.len;
	rc = read_row(r, row, err);
	if (row->bad == NULL)
		mb_shape_learn(r->shape, row->raw);
	return rc;
}

void
mb_reader_pass(struct mb_reader *r, struct mb_str *data)
{
	const struct mb_rows *rows = &r->rows;
	uint64_t end = r->base + begin_of(r, rows->n_records) - begin_of(r, 0);

	if (r->format != MB_NDJSON)
		r->n_used += (uint32_t)rows->n_records;
	mb_split_pass(&r->split, end);
	advance(r, data, end);
}

int
mb_reader_next(struct mb_reader *r, struct mb_str *data, bool is_last,
    struct mb_row *row, struct mb_err *err)
{
	struct mb_split *s = &r->split;
	size_t ahead = (size_t)(s->off - r->base);
	enum mb_split_result rc;
	uint64_t n;

	if (next_marked(r, data, row))
		return read_row(r, row, err);
	rc = mb_split_scan(s, data->p + ahead, data->len - ahead, 1, &n);
	if (rc == MB_SPLIT_MORE && is_last)
		rc = mb_split_finish(s, &n);
	if (rc == MB_SPLIT_MORE && n == 0) {
		advance(r, data, mb_split_keep(s));
		return 0;
	}
	*row = (struct mb_row){ .off = s->start, .end = s->complete };
	/* What is too long may not be here any more. */
	if (s->complete - s->start <= s->limit)
		row->raw = (struct mb_str){ data->p + (s->start - r->base),
		    (size_t)(s->complete - s->start) };
	advance(r, data, s->complete);
	if (rc != MB_SPLIT_REJECT)
		return read_row(r, row, err);
	row->bad = s->why;
	return 1;
}

uint64_t
mb_reader_off(const struct mb_reader *r)
{
	return r->base;
}

size_t
mb_reader_width(const struct mb_reader *r)
{
	return r->width;
}

bool
mb_reader_saw(const struct mb_reader *r, size_t i)
{
	return r->wanted[i].was_seen;
}
