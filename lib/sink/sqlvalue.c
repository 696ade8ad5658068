#include "sink/sqlvalue.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/exact.h"
#include "base/line.h"

enum { DIGITS = 15 };	/* decimal digits that a double keeps */

/* UTF-8, and without a NUL? */
static bool
is_text(struct mb_str s)
{
	size_t i = 0;

	while (i < s.len && (signed char)s.p[i] > 0)
		i++;
	if (i == s.len)
		return true;
	return memchr(s.p + i, '\0', s.len - i) == NULL && mb_is_utf8(s);
}

/* NULL, or why not. */
static const char *
set_decimal(struct mb_sqlvalue *out, struct mb_number n)
{
	unsigned digits = mb_number_trim(&n);

	if (n.places == 0 && n.units >= INT64_MIN && n.units <= INT64_MAX) {
		out->kind = MB_SQL_INTEGER;
		out->i = (int64_t)n.units;
	} else if (digits <= DIGITS) {
		out->kind = MB_SQL_REAL;
		out->d = mb_number_double(&n);
	} else {
		return "more than 15 digits";
	}
	return NULL;
}

const char *
mb_sqlvalue_set(struct mb_sqlvalue *out, const struct mb_column *c,
    bool is_strict, struct mb_value v)
{
	struct mb_cell cell;
	const char *why = mb_cell_set(&cell, c->type, v);
	enum mb_type_kind kind = c->type.kind;

	if (why != NULL)
		return why;
	out->bytes = cell.text;
	switch (cell.kind) {
	case MB_CELL_NULL:
		out->kind = MB_SQL_NULL;
		return c->is_not_null ? "null, which it must not be" : NULL;
	case MB_CELL_INT:
		out->kind = MB_SQL_INTEGER;
		out->i = cell.i;
		/* SQLite's own functions take these as text. */
		if (kind == MB_TYPE_DATE || kind == MB_TYPE_TIMESTAMP ||
		    kind == MB_TYPE_TIMESTAMP_NTZ)
			out->kind = MB_SQL_TEXT;
		return NULL;
	case MB_CELL_REAL:
		out->kind = MB_SQL_REAL;
		out->d = cell.d;
		return NULL;
	case MB_CELL_DECIMAL:
		why = set_decimal(out, cell.n);
		if (why != NULL && kind == MB_TYPE_ANY) {
			out->kind = MB_SQL_TEXT;
			return NULL;
		}
		return why;
	default:
		out->kind = kind == MB_TYPE_BINARY || !is_text(cell.text) ?
		    MB_SQL_BLOB : MB_SQL_TEXT;
		if (is_strict && kind == MB_TYPE_TEXT &&
		    out->kind == MB_SQL_BLOB)
			return "not UTF-8, and the table is STRICT";
		return NULL;
	}
}

static bool
is_number(const struct mb_sqlvalue *v)
{
	return v->kind == MB_SQL_INTEGER ||
	    (v->kind == MB_SQL_REAL && isfinite(v->d));
}

/*
 * The decimal of up to 15 digits that a stored double stands for; itself, if
 * it stands for none.
 */
static struct mb_number
decimal_of_double(double d)
{
	struct mb_number n = { .is_double = true, .real = d }, exact = { 0 };
	char text[32];
	int places;
	double power = 1;

	/*
	 * Both sides of the division are whole and exact, so it gives the
	 * double nearest to that decimal.  Most numbers end here.
	 */
	for (unsigned p = 0; p <= 6; p++, power *= 10) {
		double units = nearbyint(d * power);

		if (fabs(units) < 1e15 && units / power == d)
			return (struct mb_number){ .places = (uint8_t)p,
			    .units = (mb_int128)units };
	}
	/* -d.dddddddddddddde-XX */
	snprintf(text, sizeof text, "%.*e", DIGITS - 1, d);
	for (const char *p = text; *p != 'e'; p++)
		if (*p >= '0' && *p <= '9')
			exact.units = exact.units * 10 + (*p - '0');
	if (text[0] == '-')
		exact.units = -exact.units;
	places = DIGITS - 1 - (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	for (; places > 0 && exact.units % 10 == 0; places--)
		exact.units /= 10;
	if (places > MB_DIGITS || places < DIGITS - MB_DIGITS)
		return n;
	if (places < 0)
		exact.units *= (mb_int128)mb_power_of_ten((unsigned)-places);
	else
		exact.places = (uint8_t)places;
	return mb_number_double(&exact) == d ? exact : n;
}

static struct mb_number
number_of(const struct mb_sqlvalue *v)
{
	if (v->kind == MB_SQL_INTEGER)
		return (struct mb_number){ .units = v->i };
	return decimal_of_double(v->d);
}

static double
real_of(const struct mb_sqlvalue *v)
{
	return v->kind == MB_SQL_INTEGER ? (double)v->i : v->d;
}

int
mb_sqlvalue_sum_int(struct mb_sqlvalue *out, const struct mb_sqlvalue *there,
    const struct mb_sqlvalue *added, struct mb_err *err)
{
	*out = (struct mb_sqlvalue){ .kind = MB_SQL_INTEGER };
	if (there->kind != MB_SQL_INTEGER || added->kind != MB_SQL_INTEGER)
		return mb_fail(err, MB_EDATA, "what is there is not a whole "
		    "number");
	if (__builtin_add_overflow(there->i, added->i, &out->i))
		return mb_fail(err, MB_EDATA, "more than 64 bits");
	return 0;
}

int
mb_sqlvalue_sum_real(struct mb_sqlvalue *out, const struct mb_sqlvalue *there,
    const struct mb_sqlvalue *added, struct mb_err *err)
{
	*out = (struct mb_sqlvalue){ .kind = MB_SQL_REAL };
	if (!is_number(there) || !is_number(added))
		return mb_fail(err, MB_EDATA, "what is there is not a number");
	out->d = real_of(there) + real_of(added);
	if (!isfinite(out->d))
		return mb_fail(err, MB_EDATA, "out of range");
	return 0;
}

int
mb_sqlvalue_sum_decimal(struct mb_sqlvalue *out,
    const struct mb_sqlvalue *there, const struct mb_sqlvalue *added,
    struct mb_err *err)
{
	struct mb_number a, b, total;
	struct mb_arena arena = { 0 };
	struct mb_sum sum = { 0 };
	const char *why;
	int rc;

	*out = (struct mb_sqlvalue){ .kind = MB_SQL_REAL };
	if (!is_number(there) || !is_number(added))
		return mb_fail(err, MB_EDATA, "what is there is not a number");
	a = number_of(there);
	b = number_of(added);
	mb_sum_add(&sum, &a, &arena);
	mb_sum_add(&sum, &b, &arena);
	rc = mb_sum_total(&sum, &total, err);
	if (rc == 0 && total.is_double)
		out->d = total.real;
	else if (rc == 0 && (why = set_decimal(out, total)) != NULL)
		rc = mb_fail(err, MB_EDATA, "%s", why);
	mb_arena_release(&arena);
	return rc;
}
