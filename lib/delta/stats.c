#include "delta/stats.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/line.h"
#include "base/parse.h"
#include "delta/fields.h"

enum {
	INDEXED = 32,		/* columns, unless a property says more */
	MAX_CHARS = 32, MAX_BYTES = 128,	/* of text: as others do */
};

/* 0001-01-01 … 9999-12-31 in days and microseconds since 1970. */
static const int64_t first_day = -719162, last_day = 2932896;
static const int64_t us_per_day = INT64_C(86400000000);

static bool
put_date(struct mb_buf *out, int64_t day)
{
	char text[MB_TIME_LEN + 1];

	if (day < first_day || day > last_day)
		return false;
	mb_format_time(text, day * 86400000);
	mb_buf_add(out, text, 10);
	return true;
}

static bool
is_writable_time(int64_t us)
{
	return us >= first_day * us_per_day &&
	    us < (last_day + 1) * us_per_day;
}

/* Milliseconds, rounded down for the least and up for the greatest. */
static bool
put_time(struct mb_buf *out, int64_t us, bool is_max, bool has_zone)
{
	char text[MB_TIME_LEN + 1];
	int64_t ms;

	if (!is_writable_time(us) || !is_writable_time(us + 999))
		return false;
	ms = us / 1000 - (us % 1000 < 0);
	if (is_max && us % 1000 != 0)
		ms++;
	mb_format_time(text, ms);
	mb_buf_add(out, text, has_zone ? MB_TIME_LEN : MB_TIME_LEN - 1);
	return true;
}

static void
put_decimal(struct mb_buf *out, mb_int128 units, unsigned scale)
{
	struct mb_number n = { .places = (uint8_t)scale };

	n.units = units;
	mb_number_format(out, &n);
}

static bool
put_real(struct mb_buf *out, double d)
{
	if (!isfinite(d))
		return false;
	if (d == 0 && signbit(d))
		mb_buf_adds(out, "-0.0");
	else
		mb_double_format(out, d);
	return true;
}

static bool
put_text(struct mb_buf *out, struct mb_str text, bool is_max)
{
	struct mb_buf cut = { 0 };
	bool ok = true;

	if (is_max) {
		(void)mb_parquet_cut_max(&cut, &ok, text, true, MAX_CHARS,
		    MAX_BYTES);
		if (ok)
			mb_json_quote(out, (struct mb_str){ cut.p == NULL ?
			    "" : cut.p, cut.len });
		mb_buf_release(&cut);
		return ok;
	}
	(void)mb_parquet_cut_min(&text, true, MAX_CHARS, MAX_BYTES);
	mb_json_quote(out, text);
	return true;
}

/* Append the bound as JSON; false: there can be none, and nothing was put. */
static bool
put_bound(struct mb_buf *out, const struct mb_delta_stat *c, bool is_max)
{
	const struct mb_parquet_stats *s = c->stats;
	union mb_parquet_value v = is_max ? s->max : s->min;
	size_t before = out->len;
	bool ok = true;

	/* To most engines NaN is the greatest: there is no bound above. */
	if (!s->has_bounds || (is_max && s->n_nans > 0))
		return false;
	switch (c->type.kind) {
	case MB_PARQUET_BOOL:
		mb_buf_adds(out, v.i != 0 ? "true" : "false");
		break;
	case MB_PARQUET_INT8:
	case MB_PARQUET_INT16:
	case MB_PARQUET_INT32:
	case MB_PARQUET_INT64:
		mb_buf_addf(out, "%" PRId64, v.i);
		break;
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		ok = put_real(out, v.d);
		break;
	case MB_PARQUET_TEXT:
		ok = put_text(out, v.bytes, is_max);
		break;
	case MB_PARQUET_DATE:
	case MB_PARQUET_TIMESTAMP:
	case MB_PARQUET_TIMESTAMP_NTZ:
		mb_buf_addc(out, '"');
		ok = c->type.kind == MB_PARQUET_DATE ? put_date(out, v.i) :
		    put_time(out, v.i, is_max,
		    c->type.kind == MB_PARQUET_TIMESTAMP);
		mb_buf_addc(out, '"');
		break;
	case MB_PARQUET_DECIMAL:
		put_decimal(out, v.decimal, c->type.scale);
		break;
	default:	/* of binary nobody writes any */
		ok = false;
		break;
	}
	if (!ok)
		out->len = before;
	return ok;
}

static void
put_bounds(struct mb_buf *out, const char *name,
    const struct mb_delta_stat *columns, const bool *is_indexed, size_t n,
    bool is_max)
{
	struct mb_buf value = { 0 };

	mb_put_name(out, name);
	mb_buf_addc(out, '{');
	for (size_t i = 0; i < n; i++) {
		mb_buf_reset(&value);
		if (!is_indexed[i] || !put_bound(&value, &columns[i], is_max))
			continue;
		mb_put_name(out, columns[i].name);
		mb_buf_add(out, value.p, value.len);
	}
	mb_buf_addc(out, '}');
	mb_buf_release(&value);
}

/* Is the name in a list joined by commas?  Backquotes may stand around it. */
static bool
is_listed(const char *list, const char *name)
{
	size_t len = strlen(name), n;

	for (;; list += n + 1) {
		struct mb_str item;

		n = strcspn(list, ",");
		item = (struct mb_str){ list, n };
		while (item.len > 0 && (*item.p == ' ' || *item.p == '`')) {
			item.p++;
			item.len--;
		}
		while (item.len > 0 && (item.p[item.len - 1] == ' ' ||
		    item.p[item.len - 1] == '`'))
			item.len--;
		if (item.len == len && memcmp(item.p, name, len) == 0)
			return true;
		if (list[n] == '\0')
			return false;
	}
}

static bool *
select_columns(const struct mb_delta_stat *columns, size_t n,
    const struct mb_delta_meta *m)
{
	const char *list = mb_delta_property(m,
	    "delta.dataSkippingStatsColumns");
	const char *text = mb_delta_property(m,
	    "delta.dataSkippingNumIndexedCols");
	bool *is_indexed = mb_zalloc(n + 1);
	char *end;
	long most = INDEXED;

	if (text != NULL) {
		most = strtol(text, &end, 10);
		if (*end != '\0' || end == text)
			most = INDEXED;
	}
	for (size_t i = 0; i < n; i++)
		is_indexed[i] = list != NULL ?
		    is_listed(list, columns[i].name) :
		    most < 0 || i < (size_t)most;
	return is_indexed;
}

void
mb_delta_stats_put(struct mb_buf *out, uint64_t rows,
    const struct mb_delta_stat *columns, size_t n,
    const struct mb_delta_meta *m)
{
	bool *is_indexed = select_columns(columns, n, m);

	mb_buf_addc(out, '{');
	mb_put_int(out, "numRecords", (int64_t)rows);
	put_bounds(out, "minValues", columns, is_indexed, n, false);
	put_bounds(out, "maxValues", columns, is_indexed, n, true);
	mb_put_name(out, "nullCount");
	mb_buf_addc(out, '{');
	for (size_t i = 0; i < n; i++)
		if (is_indexed[i])
			mb_put_int(out, columns[i].name,
			    (int64_t)columns[i].stats->n_nulls);
	mb_buf_addc(out, '}');
	mb_put_bool(out, "tightBounds", true);
	mb_buf_addc(out, '}');
	free(is_indexed);
}

static bool
put_partition_time(struct mb_buf *out, int64_t us, bool has_zone)
{
	char text[MB_TIME_LEN + 1];
	int64_t rest = us % 1000000;

	if (!is_writable_time(us))
		return false;
	if (rest < 0)
		rest += 1000000;
	mb_format_time(text, (us - rest) / 1000);
	if (!has_zone)
		text[10] = ' ';
	mb_buf_add(out, text, 19);
	mb_buf_addf(out, ".%06" PRId64 "%s", rest, has_zone ? "Z" : "");
	return true;
}

bool
mb_delta_partition_value(struct mb_buf *out, struct mb_parquet_type type,
    union mb_parquet_value v)
{
	switch (type.kind) {
	case MB_PARQUET_BOOL:
		mb_buf_adds(out, v.i != 0 ? "true" : "false");
		return true;
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		mb_double_format(out, v.d);
		return true;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
		mb_buf_add(out, v.bytes.p, v.bytes.len);
		return true;
	case MB_PARQUET_DATE:
		return put_date(out, v.i);
	case MB_PARQUET_TIMESTAMP:
	case MB_PARQUET_TIMESTAMP_NTZ:
		return put_partition_time(out, v.i,
		    type.kind == MB_PARQUET_TIMESTAMP);
	case MB_PARQUET_DECIMAL:
		put_decimal(out, v.decimal, type.scale);
		return true;
	default:
		mb_buf_addf(out, "%" PRId64, v.i);
		return true;
	}
}
