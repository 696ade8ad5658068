#include "record/csv.h"

#include <stdlib.h>
#include <string.h>

static struct mb_csv_field *
add_field(struct mb_csv_fields *f)
{
	if (f->n == f->cap) {
		f->cap = f->cap == 0 ? 16 : f->cap * 2;
		f->v = mb_realloc_array(f->v, f->cap, sizeof *f->v);
	}
	return &f->v[f->n++];
}

void
mb_csv_fields_release(struct mb_csv_fields *f)
{
	free(f->v);
	*f = (struct mb_csv_fields){ 0 };
}

struct mb_str
mb_record_body(enum mb_format format, struct mb_str record)
{
	size_t len = record.len;

	if (len > 0 && record.p[len - 1] == '\n') {
		len--;
		if (len > 0 && record.p[len - 1] == '\r')
			len--;
	} else if (format == MB_CSV && len > 0 && record.p[len - 1] == '\r') {
		len--;
	}
	return (struct mb_str){ record.p, len };
}

/*
 * A quoted field, p behind its opening quote.  Returns where it goes on behind
 * the closing quote, NULL if there is none.
 */
static const char *
take_quoted(struct mb_csv_field *field, const char *p, const char *end)
{
	const char *start = p, *quote;

	field->has_escapes = false;
	field->is_quoted = true;
	for (;;) {
		quote = memchr(p, '"', (size_t)(end - p));
		if (quote == NULL)
			return NULL;
		if (quote + 1 == end || quote[1] != '"')
			break;
		field->has_escapes = true;
		p = quote + 2;
	}
	field->text = (struct mb_str){ start, (size_t)(quote - start) };
	return quote + 1;
}

/* The first delimiter, or end; NULL if a byte that must not be comes first. */
static const char *
take_unquoted(struct mb_csv_field *field, const char *p, const char *end,
    char delimiter, char odd)
{
	const char *start = p;
	bool has_odd = false;

	/* Fields are short: a loop beats memchr. */
	for (; p < end && *p != delimiter; p++)
		has_odd |= *p == odd;
	*field = (struct mb_csv_field){
		.text = { start, (size_t)(p - start) },
		.has_escapes = has_odd,
	};
	return p;
}

const char *
mb_csv_split(struct mb_csv_fields *out, enum mb_format format, char delimiter,
    struct mb_str record)
{
	struct mb_str body = mb_record_body(format, record);
	const char *p = body.p, *end = body.p + body.len;
	char odd = format == MB_CSV ? '"' : '\\';
	struct mb_csv_field *field;

	out->n = 0;
	for (;; p++) {
		if (out->n == MB_MAX_FIELDS)
			return "more than 65536 fields";
		field = add_field(out);
		if (format == MB_CSV && p < end && *p == '"') {
			p = take_quoted(field, p + 1, end);
			if (p == NULL)
				return "a quote is opened and not closed";
			if (p < end && *p != delimiter)
				return "text behind a closing quote";
		} else {
			p = take_unquoted(field, p, end, delimiter, odd);
			if (format == MB_CSV && field->has_escapes)
				return "a quote inside an unquoted field";
		}
		if (p == end)
			return NULL;
	}
}

static void
decode_tsv(struct mb_buf *out, struct mb_str s)
{
	static const char letters[] = "tnr\\", bytes[] = "\t\n\r\\";
	const char *letter;

	for (size_t i = 0; i < s.len; i++) {
		letter = s.p[i] == '\\' && i + 1 < s.len && s.p[i + 1] != '\0' ?
		    strchr(letters, s.p[i + 1]) : NULL;
		/* What is no escape stands for itself, such as \N. */
		mb_buf_addc(out,
		    letter != NULL ? bytes[letter - letters] : s.p[i]);
		i += letter != NULL;
	}
}

/* Fields are short, and what is in them has many quotes: no memchr here. */
static void
decode_csv(struct mb_buf *out, struct mb_str s)
{
	bool is_second = false;
	char *to;

	mb_buf_reserve(out, s.len);
	to = out->p + out->len;
	for (size_t i = 0; i < s.len; i++) {
		bool is_quote = s.p[i] == '"';

		*to = s.p[i];
		to += !(is_quote & is_second);
		is_second = is_quote & !is_second;
	}
	out->len = (size_t)(to - out->p);
}

void
mb_csv_decode(struct mb_buf *out, enum mb_format format, struct mb_str s)
{
	if (format == MB_TSV)
		decode_tsv(out, s);
	else
		decode_csv(out, s);
}
