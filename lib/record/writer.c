#include "record/writer.h"

#include <string.h>

#include "base/line.h"
#include "base/load.h"
#include "record/json.h"

/* Room for so many more bytes. */
static inline void
make_room(struct mb_buf *out, size_t n)
{
	if (out->cap - out->len < n)
		mb_buf_reserve(out, n);
}

/* Most fields are short, and a call costs more than the copying. */
static inline char *
copy(char *to, const char *p, size_t len)
{
	if (len > 16 || len < 4) {
		if (len > 16)
			memcpy(to, p, len);
		else
			for (size_t i = 0; i < len; i++)
				to[i] = p[i];
	} else if (len >= 8) {
		uint64_t head = mb_load_8(p), tail = mb_load_8(p + len - 8);

		memcpy(to, &head, 8);
		memcpy(to + len - 8, &tail, 8);
	} else {
		uint32_t head = mb_load_4(p), tail = mb_load_4(p + len - 4);

		memcpy(to, &head, 4);
		memcpy(to + len - 4, &tail, 4);
	}
	return to + len;
}

static inline uint64_t
repeat(char c)
{
	return (uint64_t)0x0101010101010101 * (unsigned char)c;
}

/* Something, if the word has such a byte. */
static inline uint64_t
find(uint64_t word, char c)
{
	uint64_t x = word ^ repeat(c);

	return (x - repeat(1)) & ~x & repeat((char)0x80);
}

static inline bool
is_special(char c, char delimiter)
{
	return c == delimiter || c == '"' || c == '\n' || c == '\r';
}

static inline bool
has_special(const char *p, char delimiter)
{
	uint64_t word = mb_load_8(p);

	return (find(word, delimiter) | find(word, '"') | find(word, '\n') |
	    find(word, '\r')) != 0;
}

static inline bool
needs_quotes(struct mb_str s, char delimiter)
{
	if (s.len < 8) {
		for (size_t i = 0; i < s.len; i++)
			if (is_special(s.p[i], delimiter))
				return true;
		return false;
	}
	for (size_t i = 0; i + 8 < s.len; i += 8)
		if (has_special(s.p + i, delimiter))
			return true;
	return has_special(s.p + s.len - 8, delimiter);
}

static char *
put_quoted(char *to, struct mb_str s)
{
	const char *quote;

	*to++ = '"';
	while ((quote = memchr(s.p, '"', s.len)) != NULL) {
		size_t n = (size_t)(quote - s.p) + 1;

		to = copy(to, s.p, n);
		*to++ = '"';
		s.p += n;
		s.len -= n;
	}
	to = copy(to, s.p, s.len);
	*to++ = '"';
	return to;
}

char *
mb_csv_put(char *to, struct mb_value value, char delimiter)
{
	struct mb_str s = mb_value_str(value);

	if (value.kind == MB_NULL || (s.len > 0 && !needs_quotes(s, delimiter)))
		return copy(to, s.p, s.len);
	return put_quoted(to, s);
}

static void
put_csv(struct mb_buf *out, struct mb_value value, char delimiter)
{
	make_room(out, MB_CSV_ROOM(value.len));
	out->len = (size_t)(mb_csv_put(out->p + out->len, value, delimiter) -
	    out->p);
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
		else
			put_csv(out, (struct mb_value){ names[i].p,
			    names[i].len, names[i].len == 0 && n > 1 ?
			    MB_NULL : MB_TEXT }, delimiter);
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
			if (n == 1 && s.len == 0)
				mb_buf_add(out, "\"\"", 2);
			else
				put_csv(out, values[i], delimiter);
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
mb_csv_may_split_numbers(char delimiter)
{
	return delimiter == '\0' ||
	    strchr("0123456789+-.eE \t", delimiter) != NULL;
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
