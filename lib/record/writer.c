#include "record/writer.h"

#include <string.h>

#include "base/line.h"
#include "record/json.h"

static bool
needs_quotes(struct mb_str s, char delimiter)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == delimiter || s.p[i] == '"' || s.p[i] == '\n' ||
		    s.p[i] == '\r')
			return true;
	return false;
}

static void
put_csv(struct mb_buf *out, struct mb_str s, char delimiter)
{
	const char *quote;

	if (!needs_quotes(s, delimiter)) {
		mb_buf_add(out, s.p, s.len);
		return;
	}
	mb_buf_addc(out, '"');
	while ((quote = memchr(s.p, '"', s.len)) != NULL) {
		size_t n = (size_t)(quote - s.p) + 1;

		mb_buf_add(out, s.p, n);
		mb_buf_addc(out, '"');
		s.p += n;
		s.len -= n;
	}
	mb_buf_add(out, s.p, s.len);
	mb_buf_addc(out, '"');
}

static void
put_tsv(struct mb_buf *out, struct mb_str s)
{
	for (size_t i = 0; i < s.len; i++)
		switch (s.p[i]) {
		case '\t':
			mb_buf_add(out, "\\t", 2);
			break;
		case '\n':
			mb_buf_add(out, "\\n", 2);
			break;
		case '\r':
			mb_buf_add(out, "\\r", 2);
			break;
		case '\\':
			mb_buf_add(out, "\\\\", 2);
			break;
		default:
			mb_buf_addc(out, s.p[i]);
		}
}

static void
put_string(struct mb_buf *out, struct mb_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '"' ||
		    s.p[i] == '\\') {
			mb_json_quote(out, s);
			return;
		}
	mb_buf_addc(out, '"');
	mb_buf_add(out, s.p, s.len);
	mb_buf_addc(out, '"');
}

static void
put_json(struct mb_buf *out, struct mb_value v)
{
	struct mb_str s = mb_value_str(v);

	switch (v.kind) {
	case MB_NULL:
		mb_buf_add(out, "null", 4);
		return;
	case MB_PLAIN:
		if (!mb_json_is_number(s))
			break;
		/* fall through */
	case MB_NUMBER:
	case MB_JSON:
		mb_buf_add(out, s.p, s.len);
		return;
	case MB_TEXT:
		break;
	}
	put_string(out, s);
}

static void
put_line(struct mb_buf *out, struct mb_str s)
{
	const char *newline;

	while ((newline = memchr(s.p, '\n', s.len)) != NULL) {
		size_t n = (size_t)(newline - s.p);

		mb_buf_add(out, s.p, n);
		mb_buf_add(out, "\\n", 2);
		s.p += n + 1;
		s.len -= n + 1;
	}
	mb_buf_add(out, s.p, s.len);
}

void
mb_write_header(struct mb_buf *out, enum mb_format format, char delimiter,
    const struct mb_str *names, size_t n)
{
	if (!mb_format_has_header(format))
		return;
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			mb_buf_addc(out, delimiter);
		if (format == MB_TSV)
			put_tsv(out, names[i]);
		else if (n == 1 && names[i].len == 0)
			mb_buf_add(out, "\"\"", 2);
		else
			put_csv(out, names[i], delimiter);
	}
	mb_buf_addc(out, '\n');
}

void
mb_write_row(struct mb_buf *out, enum mb_format format, char delimiter,
    const struct mb_str *names, const struct mb_value *values, size_t n)
{
	if (format == MB_LINES && n != 1) {
		format = MB_TSV;
		delimiter = '\t';
	}
	if (format == MB_NDJSON)
		mb_buf_addc(out, '{');
	for (size_t i = 0; i < n; i++) {
		struct mb_str s = mb_value_str(values[i]);

		if (i > 0)
			mb_buf_addc(out, format == MB_NDJSON ? ',' :
			    delimiter);
		switch (format) {
		case MB_CSV:
			if (s.len == 0 && (values[i].kind != MB_NULL || n == 1))
				mb_buf_add(out, "\"\"", 2);
			else
				put_csv(out, s, delimiter);
			break;
		case MB_TSV:
			put_tsv(out, s);
			break;
		case MB_NDJSON:
			put_string(out, names[i]);
			mb_buf_addc(out, ':');
			put_json(out, values[i]);
			break;
		case MB_LINES:
			put_line(out, s);
			break;
		}
	}
	if (format == MB_NDJSON)
		mb_buf_addc(out, '}');
	mb_buf_addc(out, '\n');
}

bool
mb_row_align(struct mb_value *out, const struct mb_names *columns,
    const struct mb_str *names, const struct mb_value *values, size_t n,
    size_t *stranger)
{
	for (size_t i = 0; i < columns->n; i++)
		out[i] = mb_value_null();
	for (size_t i = 0; i < n; i++) {
		/* Mostly the keys come in the order of the columns. */
		ssize_t at = i < columns->n &&
		    mb_str_eq(columns->v[i], names[i]) ? (ssize_t)i :
		    mb_names_index(columns, names[i]);

		if (at < 0) {
			*stranger = i;
			return false;
		}
		out[at] = values[i];
	}
	return true;
}
