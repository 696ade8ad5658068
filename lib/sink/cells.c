#include "sink/cells.h"

#include "agg/column.h"
#include "base/line.h"
#include "base/load.h"

/* Whole numbers up to here are doubles. */
static const int64_t max_exact = (int64_t)1 << 53;

static bool
ask(struct mb_cell *cell, struct mb_type type, struct mb_views s, size_t i)
{
	const struct mb_view *v = &s.v[i];

	return mb_cell_set(cell, type, (struct mb_value){ s.base + v->start,
	    v->len, (enum mb_kind)v->kind }) == NULL;
}

/* The i-th, which isn't ordinary. */
static bool
set_one(struct mb_cells *out, struct mb_type type, struct mb_views s,
    size_t i)
{
	struct mb_cell cell;

	if (!ask(&cell, type, s, i))
		return false;
	out->is_null[i] = cell.kind == MB_CELL_NULL;
	out->has_null |= out->is_null[i];
	switch (cell.kind) {
	case MB_CELL_INT:
		out->i[i] = cell.i;
		break;
	case MB_CELL_REAL:
		out->d[i] = cell.d;
		break;
	case MB_CELL_DECIMAL:
		mb_number_widen(&cell.n, type.scale);
		out->n[i] = cell.n.units;
		break;
	default:
		break;
	}
	return true;
}

static bool
set_each(struct mb_cells *out, struct mb_type type, struct mb_views s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!set_one(out, type, s, i))
			return false;
	return true;
}

/* Numbers: mark as odd what the type doesn't take as it was read. */

static void
set_ints(struct mb_cells *out, struct mb_type type, const struct mb_column *c,
    size_t n, bool *odd)
{
	bool is_32 = type.kind == MB_TYPE_INT32;

	for (size_t i = 0; i < n; i++) {
		out->i[i] = c->units[i];
		odd[i] |= is_32 && c->units[i] != (int32_t)c->units[i];
	}
}

static void
set_reals(struct mb_cells *out, struct mb_type type,
    const struct mb_column *c, size_t n, bool *odd)
{
	double unit = (double)(int64_t)mb_power_of_ten(c->scale);

	/* Both are exact, so their quotient is rounded once. */
	for (size_t i = 0; i < n; i++) {
		odd[i] |= c->units[i] > max_exact || c->units[i] < -max_exact;
		out->d[i] = (double)c->units[i] / unit;
	}
	for (size_t i = 0; type.kind == MB_TYPE_FLOAT && i < n; i++)
		out->d[i] = (float)out->d[i];
}

static void
set_decimals(struct mb_cells *out, struct mb_type type,
    const struct mb_column *c, size_t n, bool *odd)
{
	mb_int128 limit = (mb_int128)mb_power_of_ten(type.precision), v;
	/* Units are below 10^18, and so are those that can be multiplied. */
	mb_int128 unit = (mb_int128)mb_power_of_ten(type.scale - c->scale);
	bool is_wide = type.scale - c->scale > 18;

	for (size_t i = 0; i < n; i++) {
		v = is_wide ? limit : c->units[i] * unit;
		odd[i] |= v >= limit || v <= -limit;
		out->n[i] = v;
	}
}

static bool
set_numbers(struct mb_cells *out, struct mb_type type, struct mb_views s)
{
	struct mb_column c;
	bool odd[MB_ROWS] = { false };

	(void)mb_column_read_views(&c, s.isa, s.base, s.v, s.n, odd);
	/* 1.0 may be an int, 0.10 a decimal of one place. */
	if ((out->kind == MB_CELL_INT && c.scale > 0) ||
	    (out->kind == MB_CELL_DECIMAL && c.scale > type.scale))
		return set_each(out, type, s);
	for (size_t i = 0; i < s.n; i++)
		out->is_null[i] = c.places[i] == MB_COLUMN_NULL;
	out->has_null = c.n_values < s.n;
	if (out->kind == MB_CELL_INT)
		set_ints(out, type, &c, s.n, odd);
	else if (out->kind == MB_CELL_REAL)
		set_reals(out, type, &c, s.n, odd);
	else
		set_decimals(out, type, &c, s.n, odd);
	for (size_t i = 0; i < s.n; i++)
		if (odd[i] && !set_one(out, type, s, i))
			return false;
	return true;
}

/* "12:00:02" as seconds; -1: it isn't that. */
static inline int32_t
read_clock(const char *p)
{
	const uint64_t ones = 0x0101010101010101, colons = 0x0000ff0000ff0000;
	uint64_t t = mb_load_8(p) ^ ones * '0', pairs;
	int32_t hour, minute, second;

	/* ':' follows '9' */
	if ((t & colons) != (colons & ones * 10) ||
	    (((t & ~colons) + ones * 0x76) & ones * 0x80) != 0 ||
	    (t & ones * 0x80) != 0)
		return -1;
	pairs = t * 10 + (t >> 8);
	hour = pairs & 0xff;
	minute = pairs >> 24 & 0xff;
	second = pairs >> 48 & 0xff;
	return hour > 23 || minute > 59 || second > 59 ? -1 :
	    (hour * 60 + minute) * 60 + second;
}

/*
 * Times as most programs write them: 2026-11-23T12:00:02, with three digits
 * more or none, with Z or not.
 */
static bool
set_times(struct mb_cells *out, struct mb_type type, struct mb_views s)
{
	static const char none[10] = "";
	const char *date = none;
	int64_t midnight = 0;		/* of `date`, in seconds */
	struct mb_cell day;

	for (size_t i = 0; i < s.n; i++) {
		const char *p = s.base + s.v[i].start;
		size_t len = s.v[i].len;
		bool has_zone = len > 0 && p[len - 1] == 'Z', is_usual;
		unsigned a, b, c, ms = 0;
		int32_t clock;

		len -= has_zone;
		is_usual = (len == 19 || len == 23) &&
		    (p[10] == 'T' || p[10] == ' ') &&
		    (!has_zone || type.kind == MB_TYPE_TIMESTAMP);
		if (is_usual && memcmp(p, date, sizeof none) != 0) {
			is_usual = mb_cell_set(&day, (struct mb_type){
			    .kind = MB_TYPE_DATE }, (struct mb_value){ p,
			    sizeof none, MB_PLAIN }) == NULL;
			if (is_usual) {
				date = p;
				midnight = day.i * 86400;
			}
		}
		clock = is_usual ? read_clock(p + 11) : -1;
		if (clock >= 0 && len == 23) {
			a = (unsigned char)p[20] - (unsigned)'0';
			b = (unsigned char)p[21] - (unsigned)'0';
			c = (unsigned char)p[22] - (unsigned)'0';
			ms = (a * 10 + b) * 10 + c;
			if (a > 9 || b > 9 || c > 9 || p[19] != '.')
				clock = -1;
		}
		if (clock < 0) {
			if (!set_one(out, type, s, i))
				return false;
			continue;
		}
		out->is_null[i] = false;
		out->i[i] = (midnight + clock) * 1000000 + ms * 1000;
	}
	return true;
}

static bool
set_texts(struct mb_cells *out, struct mb_type type, struct mb_views s)
{
	bool any = false;

	for (size_t i = 0; i < s.n; i++) {
		out->text[i] = (struct mb_str){ s.base + s.v[i].start,
			s.v[i].len };
		any |= out->is_null[i] = s.v[i].kind == MB_NULL;
	}
	out->has_null = any;
	for (size_t i = 0; !s.is_ascii && type.kind == MB_TYPE_TEXT &&
	    i < s.n; i++)
		if (!mb_is_utf8(out->text[i]))
			return false;
	return true;
}

bool
mb_cells_set(struct mb_cells *out, struct mb_type type, struct mb_views s)
{
	out->has_null = false;
	out->kind = MB_CELL_INT;
	switch (type.kind) {
	case MB_TYPE_TEXT:
	case MB_TYPE_BINARY:
		out->kind = MB_CELL_BYTES;
		return set_texts(out, type, s);
	case MB_TYPE_TIMESTAMP:
	case MB_TYPE_TIMESTAMP_NTZ:
		return set_times(out, type, s);
	case MB_TYPE_FLOAT:
	case MB_TYPE_DOUBLE:
		out->kind = MB_CELL_REAL;
		return set_numbers(out, type, s);
	case MB_TYPE_DECIMAL:
		out->kind = MB_CELL_DECIMAL;
		return set_numbers(out, type, s);
	case MB_TYPE_INT:
	case MB_TYPE_INT32:
		return set_numbers(out, type, s);
	default:
		return set_each(out, type, s);
	}
}

void
mb_guess_add_views(struct mb_guess *g, struct mb_views s)
{
	/* Beyond MB_GUESS_DIGITS digits it matters how many there are. */
	static const int64_t limit = 1000000000000000;
	struct mb_column c;
	bool odd[MB_ROWS] = { false };

	if (g->has_text)
		return;		/* nothing changes that */
	(void)mb_column_read_views(&c, s.isa, s.base, s.v, s.n, odd);
	for (size_t i = 0; i < s.n; i++) {
		const struct mb_view *v = &s.v[i];
		const char *p = s.base + v->start;

		if (v->kind == MB_NULL)
			continue;
		p += v->len > 0 && *p == '-';
		if (v->kind != MB_PLAIN || v->len == 0 || odd[i] ||
		    c.units[i] >= limit || c.units[i] <= -limit ||
		    (p[0] == '0' && p[1] >= '0' && p[1] <= '9' &&
		    s.base + v->start + v->len - p > 1)) {
			mb_guess_add(g, (struct mb_value){ s.base + v->start,
			    v->len, (enum mb_kind)v->kind });
			continue;
		}
		g->has_value = g->has_number = true;
		g->beyond_int |= c.places[i] > 0;
	}
}
