#include "sink/columns.h"

#include <stdlib.h>
#include <strings.h>

struct mb_column *
mb_columns_add(struct mb_columns *s, const char *name)
{
	struct mb_column *c;

	s->v = mb_realloc_array(s->v, s->n + 1, sizeof *s->v);
	c = &s->v[s->n++];
	*c = (struct mb_column){ .name = mb_strdup(name) };
	mb_names_add(&s->names, mb_str(name));
	return c;
}

struct mb_column *
mb_columns_find(const struct mb_columns *s, const char *name)
{
	ssize_t i = mb_names_index(&s->names, mb_str(name));

	return i < 0 ? NULL : &s->v[i];
}

bool
mb_columns_can_add(const struct mb_columns *s)
{
	return !s->had_table || s->can_grow;
}

static int
fail_no_column(const struct mb_columns *s, const char *what, const char *name,
    struct mb_err *err)
{
	struct mb_buf list = { 0 };

	mb_names_show(&list, &s->names);
	mb_fail(err, MB_EUSAGE, "%s: %s\"%s\"; there are: %s", s->place, what,
	    name, mb_buf_str(&list));
	mb_buf_release(&list);
	return -1;
}

static int
add_new_column(struct mb_columns *s, const char *name,
    const struct mb_field *field, struct mb_err *err)
{
	struct mb_type type = { .kind = MB_TYPE_TEXT };
	struct mb_column *c;
	bool is_given;

	if (s->n == s->limit)
		return mb_fail(err, MB_EUSAGE, "%s: more than %zu fields, "
		    "which is %s's limit", s->place, s->n, s->limit_of);
	for (size_t i = 0; i < s->n; i++)
		if (strcasecmp(s->v[i].name, name) == 0)
			return mb_fail(err, MB_EUSAGE, "%s: fields \"%s\" and "
			    "\"%s\" would be one column", s->place,
			    s->v[i].name, name);
	if (mb_column_type(&type, &is_given, name, field, s->options,
	    err) < 0)
		return -1;
	c = mb_columns_add(s, name);
	c->type = type;
	c->is_guessed = !is_given;
	c->is_aggregate = field != NULL && field->agg != NULL;
	c->is_in_batch = true;
	return 0;
}

/* --schema may name columns that the batch doesn't have. */
static int
add_schema_columns(struct mb_columns *s, struct mb_err *err)
{
	const struct mb_sink_options *o = s->options;

	for (size_t i = 0; i < o->n_schema; i++) {
		if (mb_columns_find(s, o->schema[i].name) != NULL)
			continue;
		if (add_new_column(s, o->schema[i].name, NULL, err) < 0)
			return -1;
		s->v[s->n - 1].is_in_batch = s->format == MB_NDJSON;
	}
	return 0;
}

/* Which columns are keys, and what becomes of the others. */
static int
resolve_merge(struct mb_columns *s, struct mb_err *err)
{
	const struct mb_sink_options *o = s->options;
	struct mb_column *c;

	for (size_t k = 0; k < o->n_merge_on; k++) {
		ssize_t f = mb_names_find(&s->header, mb_str(o->merge_on[k]));

		c = f >= 0 ? &s->v[s->column_of[f]] :
		    mb_columns_find(s, o->merge_on[k]);
		if (c == NULL || !c->is_in_batch)
			return fail_no_column(s, "--merge-on: no field ",
			    o->merge_on[k], err);
		c->is_key = true;
		c->is_not_null |= c->is_rowid;
	}
	for (size_t k = 0; k < o->n_merge; k++) {
		c = mb_columns_find(s, o->merge[k].name);
		if (c == NULL)
			return fail_no_column(s, "--merge: no column ",
			    o->merge[k].name, err);
		if (c->is_key)
			return mb_fail(err, MB_EUSAGE, "%s: --merge: %s is "
			    "one of the keys", s->place, c->name);
		c->has_rule = true;
		c->how = o->merge[k].how;
	}
	return 0;
}

/* Bring the fields of s->header to columns, by name. */
static int
map_fields(struct mb_columns *s, const struct mb_field *fields,
    struct mb_err *err)
{
	struct mb_column *c;

	s->column_of = mb_realloc_array(s->column_of, s->header.n,
	    sizeof *s->column_of);
	for (size_t i = 0; i < s->header.n; i++) {
		const char *name = s->header.v[i].p;

		c = mb_columns_find(s, name);
		if (c == NULL && mb_columns_can_add(s)) {
			if (add_new_column(s, name,
			    fields == NULL ? NULL : &fields[i], err) < 0)
				return -1;
			c = &s->v[s->n - 1];
			c->is_in_batch = false;
		}
		if (c == NULL)
			return fail_no_column(s, "no column ", name, err);
		if (c->is_in_batch)
			return mb_fail(err, MB_EUSAGE, "%s: two fields \"%s\"",
			    s->place, name);
		c->is_in_batch = true;
		s->column_of[i] = (size_t)(c - s->v);
	}
	if (mb_columns_can_add(s) && add_schema_columns(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->n; i++) {
		c = &s->v[i];
		if (!c->is_in_batch && c->is_not_null && !c->has_default)
			return mb_fail(err, MB_EUSAGE, "%s: the batch has no "
			    "field \"%s\", which must not be null", s->place,
			    c->name);
	}
	if (resolve_merge(s, err) < 0)
		return -1;
	s->is_mapped = true;
	return 0;
}

static int
settle_types(struct mb_columns *s, struct mb_err *err)
{
	for (size_t i = 0; i < s->n; i++) {
		struct mb_column *c = &s->v[i];
		bool is_sum = c->has_rule && c->how == MB_MERGE_SUM;

		if (c->is_guessed) {
			c->type = mb_guess_type(&c->guess);
			/*
			 * A sum (min, max, …) that is whole in the first
			 * batch need not stay so, and an aggregate that
			 * doesn't fit stops the stream.
			 */
			if ((is_sum && !c->guess.has_value) ||
			    (c->is_aggregate && c->type.kind == MB_TYPE_INT))
				c->type.kind = MB_TYPE_DECIMAL;
			if (s->needs_digits &&
			    c->type.kind == MB_TYPE_DECIMAL)
				c->type.kind = c->guess.beyond_int ?
				    MB_TYPE_DOUBLE : MB_TYPE_INT;
		}
		if (is_sum && !mb_type_is_number(c->type))
			return mb_fail(err, MB_EUSAGE, "%s: --merge %s:sum: "
			    "the column isn't a number", s->place, c->name);
	}
	return 0;
}

bool
mb_column_is_inserted(const struct mb_column *c)
{
	return c->is_in_batch || !c->is_not_null;
}

int
mb_columns_begin(struct mb_columns *s, enum mb_format format,
    const struct mb_begin *b, struct mb_err *err)
{
	s->format = format;
	if (s->format == MB_NDJSON) {
		for (size_t i = 0; i < s->n; i++)
			s->v[i].is_in_batch = true;
		if (!mb_columns_can_add(s))
			return resolve_merge(s, err);
		for (size_t i = 0; i < b->n_fields; i++)
			if (mb_columns_find(s, b->fields[i].name) == NULL &&
			    add_new_column(s, b->fields[i].name, &b->fields[i],
			    err) < 0)
				return -1;
		return add_schema_columns(s, err);
	}
	if (s->format == MB_LINES)
		mb_names_number(&s->header, 0);
	if (s->format == MB_LINES)
		mb_names_add(&s->header, MB_STR("line"));
	else if (b->has_fields)
		for (size_t i = 0; i < b->n_fields; i++)
			mb_names_add(&s->header, mb_str(b->fields[i].name));
	if (s->header.n == 0)
		return 0;	/* by its first record */
	return map_fields(s, s->header.n == b->n_fields ? b->fields : NULL,
	    err);
}

int
mb_columns_number(struct mb_columns *s, size_t n, struct mb_err *err)
{
	mb_names_number(&s->header, n);
	return map_fields(s, NULL, err);
}

int
mb_columns_new(struct mb_columns *s, const char *name, struct mb_err *err)
{
	return add_new_column(s, name, NULL, err);
}

int
mb_columns_settle(struct mb_columns *s, struct mb_err *err)
{
	if (s->n == 0)
		return mb_fail(err, MB_EDATA, "%s: no record has a field: a "
		    "table can't be made of that", s->place);
	if (s->format == MB_NDJSON && mb_columns_can_add(s) &&
	    resolve_merge(s, err) < 0)
		return -1;
	return settle_types(s, err);
}

void
mb_columns_reset(struct mb_columns *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i].name);
	s->n = 0;
	mb_names_reset(&s->names);
	mb_names_reset(&s->header);
	s->is_mapped = false;
}

void
mb_columns_release(struct mb_columns *s)
{
	mb_columns_reset(s);
	free(s->v);
	free(s->column_of);
	mb_names_release(&s->names);
	mb_names_release(&s->header);
}
