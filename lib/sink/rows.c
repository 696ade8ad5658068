#include "sink/rows.h"

#include <math.h>
#include <stdio.h>
#include <strings.h>

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

void
mb_type_format(struct mb_buf *out, struct mb_type t)
{
	if (t.kind == MB_TYPE_ANY)
		mb_buf_adds(out, "any");
	for (size_t i = 0; i < N_TYPES; i++)
		if (types[i].kind == t.kind)
			mb_buf_adds(out, types[i].name);
	if (t.kind == MB_TYPE_DECIMAL && t.precision > 0)
		mb_buf_addf(out, "(%u,%u)", t.precision, t.scale);
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

/* Two or four digits. */
static bool
take_digits(struct mb_str *s, size_t n, int *out)
{
	*out = 0;
	if (s->len < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		*out = *out * 10 + (s->p[i] - '0');
	}
	s->p += n;
	s->len -= n;
	return true;
}

static bool
take_char(struct mb_str *s, char a, char b)
{
	if (s->len == 0 || (*s->p != a && *s->p != b))
		return false;
	s->p++;
	s->len--;
	return true;
}

/* YYYY-MM-DD as days since 1970-01-01, in the proleptic calendar. */
static bool
take_date(struct mb_str *s, int64_t *days)
{
	static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31,
		30, 31 };
	int y, m, d;
	bool is_leap;

	if (!take_digits(s, 4, &y) || !take_char(s, '-', '-') ||
	    !take_digits(s, 2, &m) || !take_char(s, '-', '-') ||
	    !take_digits(s, 2, &d))
		return false;
	is_leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
	if (y < 1 || m < 1 || m > 12 || d < 1 ||
	    d > lengths[m - 1] + (m == 2 && is_leap))
		return false;
	/* Count from March, so that the leap day is the last of its year. */
	if (m <= 2)
		y--;
	m = (m + 9) % 12;
	*days = (int64_t)y * 365 + y / 4 - y / 100 + y / 400 +
	    (m * 306 + 5) / 10 + d - 1 - 719468;
	return true;
}

/* Two digits; what isn't one shows in *bad. */
static inline int
pair(const char *p, unsigned *bad)
{
	unsigned a = (unsigned)(uint8_t)p[0] - '0';
	unsigned b = (unsigned)(uint8_t)p[1] - '0';

	*bad |= (a > 9) | (b > 9);
	return (int)(a * 10 + b);
}

/* 2026-11-23T12:00:02.000Z, as we write it, and valid; else false. */
static bool
take_usual_time(int64_t *micros, struct mb_str s)
{
	const char *p = s.p;
	unsigned bad = 0, last;
	int hour, minute, second, hundredths;
	int64_t days;

	if (s.len != 24 || p[10] != 'T' || p[13] != ':' || p[16] != ':' ||
	    p[19] != '.' || p[23] != 'Z')
		return false;
	hour = pair(p + 11, &bad);
	minute = pair(p + 14, &bad);
	second = pair(p + 17, &bad);
	hundredths = pair(p + 20, &bad);
	last = (unsigned)(uint8_t)p[22] - '0';
	s.len = 10;
	if (bad != 0 || last > 9 || hour > 23 || minute > 59 || second > 59 ||
	    !take_date(&s, &days))
		return false;
	*micros = (((days * 24 + hour) * 60 + minute) * 60 + second) *
	    1000000 + hundredths * 10000 + (int64_t)last * 1000;
	return true;
}

/* HH:MM[:SS[.ffffff]][Z|+HH:MM|+HHMM] behind a date. */
static const char *
set_time(int64_t *micros, struct mb_str s, bool is_ntz)
{
	static const char bad[] = "not a time such as 2026-11-23T12:00:02.000Z";
	int hour, minute, second = 0, zone_hour = 0, zone_minute = 0, sign = 1;
	int64_t days, fraction = 0, unit = 100000;
	bool has_zone;

	if (!is_ntz && take_usual_time(micros, s))
		return NULL;
	if (!take_date(&s, &days) || !take_char(&s, 'T', ' ') ||
	    !take_digits(&s, 2, &hour) || !take_char(&s, ':', ':') ||
	    !take_digits(&s, 2, &minute))
		return bad;
	if (take_char(&s, ':', ':')) {
		if (!take_digits(&s, 2, &second))
			return bad;
		if (take_char(&s, '.', '.')) {
			if (s.len == 0 || *s.p < '0' || *s.p > '9')
				return bad;
			for (; s.len > 0 && *s.p >= '0' && *s.p <= '9';
			    s.p++, s.len--, unit /= 10) {
				if (unit == 0 && *s.p != '0')
					return "finer than a microsecond";
				fraction += (*s.p - '0') * unit;
			}
		}
	}
	if (hour > 23 || minute > 59 || second > 59)
		return bad;
	has_zone = s.len > 0;
	if (has_zone && !take_char(&s, 'Z', 'z')) {
		sign = *s.p == '-' ? -1 : 1;
		if (!take_char(&s, '+', '-') ||
		    !take_digits(&s, 2, &zone_hour))
			return bad;
		(void)take_char(&s, ':', ':');
		if (!take_digits(&s, 2, &zone_minute) || zone_hour > 23 ||
		    zone_minute > 59)
			return bad;
	}
	if (s.len > 0)
		return bad;
	if (is_ntz && has_zone)
		return "has a time zone";
	*micros = ((days * 24 + hour) * 60 + minute) * 60 + second;
	*micros -= sign * (zone_hour * 60 + zone_minute) * 60;
	*micros = *micros * 1000000 + fraction;
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
	struct mb_str rest;

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
		rest = mb_value_str(v);
		if (!take_date(&rest, &out->i) || rest.len > 0)
			return "not a date such as 2026-11-23";
		return NULL;
	case MB_TYPE_TIMESTAMP:
	case MB_TYPE_TIMESTAMP_NTZ:
		out->kind = MB_CELL_INT;
		return set_time(&out->i, mb_value_str(v),
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
