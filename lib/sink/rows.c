#include "sink/rows.h"

#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "base/calendar.h"
#include "record/names.h"

static const struct {
	const char *name;
	enum mb_type_kind kind;
} types[] = {
	{ "bool", MB_TYPE_BOOL },
	{ "int", MB_TYPE_INT },
	{ "int32", MB_TYPE_INT32 },
	{ "float", MB_TYPE_FLOAT },
	{ "double", MB_TYPE_DOUBLE },
	{ "text", MB_TYPE_TEXT },
	{ "binary", MB_TYPE_BINARY },
	{ "date", MB_TYPE_DATE },
	{ "timestamp", MB_TYPE_TIMESTAMP },
	{ "timestamp_ntz", MB_TYPE_TIMESTAMP_NTZ },
	{ "decimal", MB_TYPE_DECIMAL },
};

enum { N_TYPES = sizeof types / sizeof *types };

bool
mb_type_eq(struct mb_type a, struct mb_type b)
{
	return a.kind == b.kind && a.precision == b.precision &&
	    a.scale == b.scale;
}

bool
mb_type_is_number(struct mb_type t)
{
	switch (t.kind) {
	case MB_TYPE_INT:
	case MB_TYPE_INT32:
	case MB_TYPE_FLOAT:
	case MB_TYPE_DOUBLE:
	case MB_TYPE_DECIMAL:
	case MB_TYPE_ANY:
		return true;
	default:
		return false;
	}
}

int
mb_type_parse(struct mb_type *out, const char *text, struct mb_err *err)
{
	unsigned precision, scale;
	int end = -1;

	for (size_t i = 0; i < N_TYPES; i++)
		if (strcmp(types[i].name, text) == 0) {
			*out = (struct mb_type){ .kind = types[i].kind };
			return 0;
		}
	/* Two digits each, so that nothing can overflow. */
	if (sscanf(text, "decimal(%2u,%2u)%n", &precision, &scale, &end) == 2 &&
	    end >= 0 && text[end] == '\0' && precision >= 1 &&
	    precision <= MB_DIGITS && scale <= precision) {
		*out = (struct mb_type){ .kind = MB_TYPE_DECIMAL,
			.precision = (uint8_t)precision,
			.scale = (uint8_t)scale };
		return 0;
	}
	return mb_fail(err, MB_EUSAGE, "not a type: \"%s\" (there are bool int "
	    "int32 float double text binary date timestamp timestamp_ntz "
	    "decimal(p,s))", text);
}

unsigned
mb_number_trim(struct mb_number *n)
{
	mb_int128 u = n->units;
	unsigned digits = 0;

	while (n->places > 0 && u % 10 == 0) {
		u /= 10;
		n->places--;
	}
	n->units = u;
	for (; u != 0; u /= 10)
		digits++;
	return digits;
}

/* The whole number that it is, of so many bits. */
static const char *
set_int(int64_t *out, struct mb_number n, int64_t low, int64_t high)
{
	if (n.is_double) {
		if (trunc(n.real) != n.real)
			return "not a whole number";
		/* 2^63 is a double, INT64_MAX is none. */
		if (n.real < -0x1p63 || n.real >= 0x1p63)
			return "out of range";
		n = (struct mb_number){ .units = (int64_t)n.real };
	}
	mb_number_trim(&n);
	if (n.places > 0)
		return "not a whole number";
	if (n.units < low || n.units > high)
		return "out of range";
	*out = (int64_t)n.units;
	return NULL;
}

static const char *
set_decimal(struct mb_number *out, struct mb_number n, struct mb_type type)
{
	struct mb_buf text = { 0 };
	unsigned digits;
	bool is_exact;

	if (n.is_double) {
		/* 1.5e3: what it says, if that can be written out. */
		mb_double_format(&text, n.real);
		is_exact = mb_number_parse(&n, (struct mb_str){ text.p,
		    text.len }) && !n.is_double;
		mb_buf_release(&text);
		if (!is_exact)
			return "not a decimal";
	}
	digits = mb_number_trim(&n);
	if (type.precision > 0 && (n.places > type.scale ||
	    digits + type.scale - n.places > type.precision) && digits > 0)
		return "too many digits";
	*out = n;
	return NULL;
}

static const char *
set_bool(int64_t *out, struct mb_value v)
{
	if ((v.len == 4 && strncasecmp(v.p, "true", 4) == 0) ||
	    (v.len == 1 && *v.p == '1'))
		*out = 1;
	else if ((v.len == 5 && strncasecmp(v.p, "false", 5) == 0) ||
	    (v.len == 1 && *v.p == '0'))
		*out = 0;
	else
		return "neither true nor false";
	return NULL;
}

/* By its looks alone.  A leading zero or plus is worth keeping. */
static bool
looks_like_number(struct mb_number *out, struct mb_value v)
{
	const char *p = v.p, *end = v.p + v.len;

	if (v.kind == MB_NUMBER)
		return mb_number_parse(out, mb_value_str(v));
	if (v.kind != MB_PLAIN)
		return false;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if (p < end && *p == '+')
		return false;
	if (p < end && *p == '-')
		p++;
	if (end - p > 1 && p[0] == '0' && p[1] >= '0' && p[1] <= '9')
		return false;
	return mb_number_parse(out, mb_value_str(v));
}

static void
set_any(struct mb_cell *out, struct mb_value v)
{
	struct mb_number n;

	out->kind = MB_CELL_BYTES;
	if (mb_value_is_bool(v)) {
		out->kind = MB_CELL_INT;
		out->i = v.p[0] == 't';
	} else if (looks_like_number(&n, v)) {
		if (n.is_double) {
			out->kind = MB_CELL_REAL;
			out->d = n.real;
		} else {
			mb_number_trim(&n);
			out->kind = MB_CELL_DECIMAL;
			out->n = n;
		}
	}
}

/*
 * Most numbers: an optional minus, up to 15 digits, a point among them
 * perhaps.  So many digits and such a power of ten are doubles, and their
 * quotient is rounded once.
 */
static bool
take_short_number(struct mb_number *out, struct mb_str s)
{
	const char *p = s.p, *end = s.p + s.len, *point = NULL;
	int64_t units = 0;
	unsigned digit;
	bool is_negative;

	if (s.len > 16)
		return false;
	is_negative = s.len > 0 && *p == '-';
	p += is_negative;
	s.len -= is_negative;
	if (s.len == 0 || *p == '.' || s.len > 15 || end[-1] == '.')
		return false;
	for (; p < end; p++) {
		digit = (unsigned)(uint8_t)*p - '0';
		if (digit > 9) {
			if (*p != '.' || point != NULL)
				return false;
			point = p;
			continue;
		}
		units = units * 10 + (int64_t)digit;
	}
	*out = (struct mb_number){ .units = is_negative ? -units : units,
		.places = point != NULL ? (uint8_t)(end - point - 1) : 0 };
	return true;
}

static double
short_double(const struct mb_number *n)
{
	static const double tens[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7,
		1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14 };

	return (double)(int64_t)n->units / tens[n->places];
}

const char *
mb_cell_set(struct mb_cell *out, struct mb_type type, struct mb_value v)
{
	struct mb_number n = { 0 };
	const char *why = NULL;

	out->kind = MB_CELL_NULL;
	out->text = mb_value_str(v);
	if (v.kind == MB_NULL)
		return NULL;
	switch (type.kind) {
	case MB_TYPE_TEXT:
	case MB_TYPE_BINARY:
		out->kind = MB_CELL_BYTES;
		return NULL;
	case MB_TYPE_ANY:
		set_any(out, v);
		return NULL;
	case MB_TYPE_BOOL:
		out->kind = MB_CELL_INT;
		return set_bool(&out->i, v);
	case MB_TYPE_DATE:
		out->kind = MB_CELL_INT;
		return mb_date_parse(&out->i, mb_value_str(v));
	case MB_TYPE_TIMESTAMP:
	case MB_TYPE_TIMESTAMP_NTZ:
		out->kind = MB_CELL_INT;
		return mb_micros_parse(&out->i, mb_value_str(v),
		    type.kind == MB_TYPE_TIMESTAMP_NTZ);
	default:
		break;
	}
	if (v.len == 0)
		return NULL;
	if (take_short_number(&n, mb_value_str(v))) {
		if (type.kind == MB_TYPE_INT && n.places == 0) {
			out->kind = MB_CELL_INT;
			out->i = (int64_t)n.units;
			return NULL;
		}
		if (type.kind == MB_TYPE_DOUBLE) {
			out->kind = MB_CELL_REAL;
			out->d = short_double(&n);
			return NULL;
		}
	} else if (!mb_number_parse(&n, mb_value_str(v))) {
		return "not a number";
	}
	switch (type.kind) {
	case MB_TYPE_INT:
		out->kind = MB_CELL_INT;
		why = set_int(&out->i, n, INT64_MIN, INT64_MAX);
		break;
	case MB_TYPE_INT32:
		out->kind = MB_CELL_INT;
		why = set_int(&out->i, n, INT32_MIN, INT32_MAX);
		break;
	case MB_TYPE_DECIMAL:
		out->kind = MB_CELL_DECIMAL;
		why = set_decimal(&out->n, n, type);
		break;
	case MB_TYPE_FLOAT:
		out->kind = MB_CELL_REAL;
		out->d = (float)mb_number_double(&n);
		if (isinf(out->d))
			why = "out of range";
		break;
	default:
		out->kind = MB_CELL_REAL;
		out->d = mb_number_double(&n);
		break;
	}
	return why;
}

/* Does a double read back with all these digits? */
static bool
survives_double(const struct mb_number *n)
{
	struct mb_buf text = { 0 };
	struct mb_number back;
	bool same;

	mb_double_format(&text, mb_number_double(n));
	same = mb_number_parse(&back, (struct mb_str){ text.p, text.len }) &&
	    !back.is_double && mb_number_compare(n, &back) == 0;
	mb_buf_release(&text);
	return same;
}

void
mb_guess_add(struct mb_guess *g, struct mb_value v)
{
	struct mb_number n;
	bool is_int;

	if (v.kind == MB_NULL)
		return;
	g->has_value = true;
	if (mb_value_is_bool(v)) {
		g->has_bool = true;
		return;
	}
	if (g->has_text || !looks_like_number(&n, v)) {
		g->has_text = true;
		return;
	}
	g->has_number = true;
	if (n.is_double) {
		g->beyond_int = g->beyond_decimal = true;
		return;
	}
	is_int = n.places == 0 && n.units >= INT64_MIN && n.units <= INT64_MAX;
	if (!is_int)
		g->beyond_int = true;
	/* The frequent case: 15 digits fit any of the types. */
	if (mb_number_trim(&n) <= MB_GUESS_DIGITS)
		return;
	if (!is_int)
		g->beyond_decimal = true;
	if (!g->beyond_double && !survives_double(&n))
		g->beyond_double = true;
}

struct mb_type
mb_guess_type(const struct mb_guess *g)
{
	struct mb_type t = { .kind = MB_TYPE_TEXT };

	if (g->has_text || (g->has_bool && g->has_number))
		return t;
	if (g->has_bool)
		t.kind = MB_TYPE_BOOL;
	else if (!g->has_number)
		t.kind = MB_TYPE_TEXT;
	else if (!g->beyond_int)
		t.kind = MB_TYPE_INT;
	else if (!g->beyond_decimal)
		t.kind = MB_TYPE_DECIMAL;
	else if (!g->beyond_double)
		t.kind = MB_TYPE_DOUBLE;
	return t;
}

static bool
is_any_of(const char *word, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strcmp(*words, word) == 0)
			return true;
	return false;
}

int
mb_column_type(struct mb_type *out, bool *is_given, const char *name,
    const struct mb_field *field, const struct mb_sink_options *options,
    struct mb_err *err)
{
	static const char *const doubles[] = { "avg", "var", "stddev", NULL };

	*is_given = true;
	for (size_t i = 0; i < options->n_schema; i++)
		if (strcmp(options->schema[i].name, name) == 0) {
			if (mb_type_parse(out, options->schema[i].type,
			    err) < 0)
				return mb_wrap(err, "--schema %s", name);
			return 0;
		}
	if (field != NULL && field->type != NULL) {
		if (mb_type_parse(out, field->type, err) < 0)
			return mb_wrap(err, "field %s", name);
		return 0;
	}
	if (field != NULL && field->agg != NULL &&
	    is_any_of(field->agg, doubles)) {
		*out = (struct mb_type){ .kind = MB_TYPE_DOUBLE };
		return 0;
	}
	*is_given = false;
	return 0;
}

static const struct mb_merge_column *
merge_rule(const struct mb_sink_options *o, const char *name)
{
	for (size_t i = 0; i < o->n_merge; i++)
		if (strcmp(o->merge[i].name, name) == 0)
			return &o->merge[i];
	return NULL;
}

static bool
is_key(const struct mb_sink_options *o, const struct mb_names *fields,
    size_t i)
{
	for (size_t k = 0; k < o->n_merge_on; k++)
		if (mb_names_find(fields, mb_str(o->merge_on[k])) ==
		    (ssize_t)i)
			return true;
	return false;
}

static int
check_rules(const struct mb_sink_options *o, const struct mb_begin *b,
    const struct mb_names *fields, struct mb_err *err)
{
	static const char *const no_sums[] = { "avg", "var", "stddev",
		"distinct", NULL };

	for (size_t i = 0; i < b->n_fields; i++) {
		const struct mb_field *f = &b->fields[i];
		const struct mb_merge_column *rule = merge_rule(o, f->name);

		if (is_key(o, fields, i)) {
			if (rule != NULL)
				return mb_fail(err, MB_EUSAGE,
				    "--merge: %s is one of the keys",
				    f->name);
			continue;
		}
		if (f->agg == NULL)
			continue;
		if (rule == NULL)
			return mb_fail(err, MB_EUSAGE, "--merge: say what "
			    "becomes of %s, which mb-agg computed for one "
			    "batch (%s:sum, %s:replace, …)", f->name, f->name,
			    f->name);
		if (rule->how == MB_MERGE_SUM && is_any_of(f->agg, no_sums))
			return mb_fail(err, MB_EUSAGE, "--merge: %s: an %s "
			    "can't be summed over batches", f->name, f->agg);
	}
	return 0;
}

int
mb_merge_check(const struct mb_sink_options *o, const struct mb_begin *b,
    struct mb_err *err)
{
	struct mb_names fields = { 0 };
	struct mb_buf list = { 0 };
	int rc = -1;

	if (o->n_merge_on == 0) {
		if (o->n_merge > 0)
			return mb_fail(err, MB_EUSAGE,
			    "--merge needs --merge-on");
		return 0;
	}
	for (size_t i = 0; i < b->n_fields; i++)
		mb_names_add(&fields, mb_str(b->fields[i].name));
	for (size_t k = 0; b->has_fields && k < o->n_merge_on; k++)
		if (mb_names_find(&fields, mb_str(o->merge_on[k])) < 0) {
			mb_names_show(&list, &fields);
			mb_fail(err, MB_EUSAGE, "--merge-on: no field \"%s\"; "
			    "there are: %s", o->merge_on[k],
			    mb_buf_str(&list));
			goto out;
		}
	rc = check_rules(o, b, &fields, err);
out:
	mb_names_release(&fields);
	mb_buf_release(&list);
	return rc;
}
