#include "record/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "record/reader_parts.h"

enum { MAX_KNOWN = 4096 };	/* keys of ndjson, from record to record */

static const size_t NOWHERE = SIZE_MAX;

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

int
mb_reader_read_row(struct mb_reader *r, struct mb_row *row, struct mb_err *err)
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

int
mb_reader_next(struct mb_reader *r, struct mb_str *data, bool is_last,
    struct mb_row *row, struct mb_err *err)
{
	struct mb_split *s = &r->split;
	size_t ahead = (size_t)(s->off - r->base);
	enum mb_split_result rc;
	uint64_t n;

	if (mb_reader_next_marked(r, data, row))
		return mb_reader_read_row(r, row, err);
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
		return mb_reader_read_row(r, row, err);
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
