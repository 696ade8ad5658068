#include "record/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/line.h"
#include "base/load.h"

/*
 * Each of the functions below takes a pointer into the text and returns where
 * it goes on; NULL, with c->why set, where the text is bad.
 */
struct cursor {
	const char *end;
	const char *why;
};

static const char *
bad(struct cursor *c, const char *why)
{
	c->why = why;
	return NULL;
}

static const char *
skip_blanks(const struct cursor *c, const char *p)
{
	while (p < c->end &&
	    (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The number in four hexadecimal digits, -1 if they aren't there. */
static int
hex4(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(p[i]);

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

/* p is behind the backslash. */
static const char *
take_escape(struct cursor *c, const char *p)
{
	int code;

	if (p == c->end)
		return bad(c, "a string is not closed");
	if (*p != 'u')
		return memchr("\"\\/bfnrt", *p, 8) != NULL ? p + 1 :
		    bad(c, "no such escape in a string");
	code = hex4(p + 1, c->end);
	if (code < 0)
		return bad(c, "\\u without four hexadecimal digits");
	p += 5;
	if (code < 0xd800 || code > 0xdfff)
		return p;
	if (code > 0xdbff || c->end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return bad(c, "half a surrogate pair");
	code = hex4(p + 2, c->end);
	if (code < 0xdc00 || code > 0xdfff)
		return bad(c, "half a surrogate pair");
	return p + 6;
}

/* Bytes of a string that are as ordinary as most: eight at a time. */
static const char *
skip_ordinary(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101, tops = ones << 7;
	uint64_t w, quote, slash, found;

	for (; end - p >= 8; p += 8) {
		w = mb_load_8(p);
		quote = w ^ ones * '"';
		slash = w ^ ones * '\\';
		/* The first byte found is one; those behind it may not be. */
		found = ((w - ones * 0x20) | (quote - ones) | (slash - ones) |
		    w) & tops;
		if (found != 0)
			return p + __builtin_ctzll(found) / 8;
	}
	return p;
}

/* p is behind the opening quote; *close is where the closing one stands. */
static const char *
take_string(struct cursor *c, const char *p, const char **close,
    bool *has_escapes)
{
	const char *start = p;
	bool is_ascii = true;

	for (;;) {
		unsigned char byte;

		p = skip_ordinary(p, c->end);
		if (p == c->end)
			return bad(c, "a string is not closed");
		byte = (unsigned char)*p++;
		if (byte == '"')
			break;
		if (byte < 0x20)
			return bad(c, "a control character in a string");
		if (byte == '\\') {
			*has_escapes = true;
			if ((p = take_escape(c, p)) == NULL)
				return NULL;
		} else if (byte >= 0x80) {
			is_ascii = false;
		}
	}
	*close = p - 1;
	if (!is_ascii &&
	    !mb_is_utf8((struct mb_str){ start, (size_t)(p - 1 - start) }))
		return bad(c, "not UTF-8");
	return p;
}

static const char *
take_digits(const struct cursor *c, const char *p)
{
	const char *start = p;

	while (p < c->end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

static const char *
take_number(struct cursor *c, const char *p)
{
	static const char why[] = "not a JSON value";

	if (p < c->end && *p == '-')
		p++;
	if (p < c->end && *p == '0')
		p++;
	else if ((p = take_digits(c, p)) == NULL)
		return bad(c, why);
	if (p < c->end && *p == '.' && (p = take_digits(c, p + 1)) == NULL)
		return bad(c, why);
	if (p < c->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < c->end && (*p == '+' || *p == '-'))
			p++;
		if ((p = take_digits(c, p)) == NULL)
			return bad(c, why);
	}
	return p;
}

static const char *
take_word(struct cursor *c, const char *p, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(c->end - p) < len || memcmp(p, word, len) != 0)
		return bad(c, "not a JSON value");
	return p + len;
}

/* A value that is neither an object nor an array. */
static const char *
take_scalar(struct cursor *c, const char *p, struct mb_json *out)
{
	const char *start = p, *close;

	*out = (struct mb_json){ .kind = MB_JSON };
	switch (p < c->end ? *p : '\0') {
	case '"':
		out->kind = MB_TEXT;
		p = take_string(c, p + 1, &close, &out->has_escapes);
		if (p != NULL)
			out->text = (struct mb_str){ start + 1,
			    (size_t)(close - start) - 1 };
		return p;
	case 't':
		p = take_word(c, p, "true");
		break;
	case 'f':
		p = take_word(c, p, "false");
		break;
	case 'n':
		out->kind = MB_NULL;
		p = take_word(c, p, "null");
		break;
	default:
		out->kind = MB_NUMBER;
		p = take_number(c, p);
	}
	if (p != NULL)
		out->text = (struct mb_str){ start, (size_t)(p - start) };
	return p;
}

const char *
mb_json_scalar(struct mb_json *out, const char *p, const char *end)
{
	struct cursor c = { end, NULL };

	return take_scalar(&c, p, out);
}

/* `"key" :` and the blanks around. */
static const char *
take_key(struct cursor *c, const char *p, struct mb_json_member *member)
{
	const char *close;

	p = skip_blanks(c, p);
	if (p == c->end || *p != '"')
		return bad(c, "no key in quotes where one must be");
	member->key.p = p + 1;
	member->key_has_escapes = false;
	p = take_string(c, p + 1, &close, &member->key_has_escapes);
	if (p == NULL)
		return NULL;
	member->key.len = (size_t)(close - member->key.p);
	p = skip_blanks(c, p);
	if (p == c->end || *p != ':')
		return bad(c, "no colon behind a key");
	return skip_blanks(c, p + 1);
}

static char
closer(uint64_t is_object)
{
	return (is_object & 1) != 0 ? '}' : ']';
}

/*
 * An object or array inside `base` others.  Levels are bits instead of calls:
 * the lowest of is_object says whether the innermost one is an object.
 */
static const char *
take_nested(struct cursor *c, const char *p, struct mb_json *out,
    unsigned base)
{
	const char *start = p;
	uint64_t is_object = 0;
	unsigned depth = base;
	struct mb_json_member key;
	struct mb_json value;

	_Static_assert(MB_JSON_DEPTH <= 64, "a bit per level");
	for (;;) {
		if (p < c->end && (*p == '{' || *p == '[')) {
			if (depth++ == MB_JSON_DEPTH)
				return bad(c, "nested too deep");
			is_object = is_object << 1 | (*p == '{');
			p = skip_blanks(c, p + 1);
			if (p == c->end || *p != closer(is_object)) {
				if ((is_object & 1) != 0 &&
				    (p = take_key(c, p, &key)) == NULL)
					return NULL;
				continue;
			}
		} else if ((p = take_scalar(c, p, &value)) == NULL) {
			return NULL;
		}
		/* Behind a value, or at the bracket that closes an empty one. */
		p = skip_blanks(c, p);
		while (p < c->end && *p == closer(is_object)) {
			p++;
			is_object >>= 1;
			if (--depth == base) {
				*out = (struct mb_json){
					.text = { start, (size_t)(p - start) },
					.kind = MB_JSON,
				};
				return p;
			}
			p = skip_blanks(c, p);
		}
		if (p == c->end)
			return bad(c, "an object or array is not closed");
		if (*p != ',')
			return bad(c, "no comma between two values");
		p = skip_blanks(c, p + 1);
		if ((is_object & 1) != 0 &&
		    (p = take_key(c, p, &key)) == NULL)
			return NULL;
	}
}

static const char *
take_value(struct cursor *c, const char *p, struct mb_json *out,
    unsigned base)
{
	return p < c->end && (*p == '{' || *p == '[') ?
	    take_nested(c, p, out, base) : take_scalar(c, p, out);
}

static struct mb_json_member *
add_member(struct mb_json_members *m)
{
	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 16 : m->cap * 2;
		m->v = mb_realloc_array(m->v, m->cap, sizeof *m->v);
	}
	return &m->v[m->n++];
}

void
mb_json_members_release(struct mb_json_members *m)
{
	free(m->v);
	*m = (struct mb_json_members){ 0 };
}

const char *
mb_json_object(struct mb_json_members *out, struct mb_str text)
{
	struct cursor c = { text.p + text.len, NULL };
	const char *p = skip_blanks(&c, text.p);
	struct mb_json_member *member;

	out->n = 0;
	if (p == c.end || *p != '{')
		return "not a JSON object";
	p = skip_blanks(&c, p + 1);
	if (p < c.end && *p == '}') {
		p++;
	} else {
		for (;; p++) {
			if (out->n == MB_MAX_FIELDS)
				return "more than 65536 keys";
			member = add_member(out);
			if ((p = take_key(&c, p, member)) == NULL ||
			    (p = take_value(&c, p, &member->value, 1)) == NULL)
				return c.why;
			p = skip_blanks(&c, p);
			if (p == c.end)
				return "the object is not closed";
			if (*p == '}')
				break;
			if (*p != ',')
				return "no comma between two values";
		}
		p++;
	}
	return skip_blanks(&c, p) == c.end ? NULL : "text behind the object";
}

/* Is this key, decoded, the name? */
static bool
key_is(const struct mb_json_member *m, struct mb_str name)
{
	struct mb_buf decoded = { 0 };
	bool is_equal;

	if (!m->key_has_escapes)
		return mb_str_eq(m->key, name);
	mb_json_unescape(&decoded, m->key);
	is_equal = mb_str_eq((struct mb_str){ decoded.p, decoded.len }, name);
	mb_buf_release(&decoded);
	return is_equal;
}

/* Is it the number of the i-th element, without needless zeros? */
static bool
is_index(struct mb_str digits, size_t i)
{
	if (digits.len > 1 && digits.p[0] == '0')
		return false;
	for (size_t at = digits.len; at > 0; at--, i /= 10)
		if (digits.p[at - 1] != (char)('0' + i % 10))
			return false;
	return digits.len > 0 && i == 0;
}

/* One step of a path, into an object or array. */
static bool
step_into(struct mb_json *out, struct mb_str in, struct mb_str name)
{
	struct cursor c = { in.p + in.len, NULL };
	const char *p = in.p;
	bool is_object = *p == '{', is_found = false;
	struct mb_json_member m;

	p = skip_blanks(&c, p + 1);
	for (size_t i = 0; p < c.end && *p != closer(is_object); i++) {
		if (is_object)
			p = take_key(&c, p, &m);
		if (p == NULL || (p = take_value(&c, p, &m.value, 0)) == NULL)
			return false;
		if (is_object ? key_is(&m, name) : is_index(name, i)) {
			*out = m.value;
			is_found = true;
			if (!is_object)
				return true;
		}
		p = skip_blanks(&c, p);
		if (p < c.end && *p == ',')
			p = skip_blanks(&c, p + 1);
	}
	return is_found;
}

bool
mb_json_path(struct mb_json *out, const struct mb_json *in, struct mb_str path)
{
	struct mb_json at = *in;

	for (;;) {
		const char *dot = memchr(path.p, '.', path.len);
		size_t len = dot != NULL ? (size_t)(dot - path.p) : path.len;

		if (at.kind != MB_JSON ||
		    (at.text.p[0] != '{' && at.text.p[0] != '[') ||
		    !step_into(&at, at.text, (struct mb_str){ path.p, len }))
			return false;
		if (dot == NULL)
			break;
		path.p += len + 1;
		path.len -= len + 1;
	}
	*out = at;
	return true;
}

bool
mb_json_next(struct mb_str *rest, struct mb_json *out)
{
	struct cursor c = { rest->p + rest->len, NULL };
	const char *p = skip_blanks(&c, rest->p);

	if (p < c.end && (*p == '[' || *p == ','))
		p = skip_blanks(&c, p + 1);
	if (p >= c.end || *p == ']' || (p = take_value(&c, p, out, 0)) == NULL)
		return false;
	*rest = (struct mb_str){ p, (size_t)(c.end - p) };
	return true;
}

static void
put_utf8(struct mb_buf *out, unsigned code)
{
	if (code < 0x80) {
		mb_buf_addc(out, (char)code);
		return;
	}
	if (code < 0x800) {
		mb_buf_addc(out, (char)(0xc0 | code >> 6));
	} else {
		if (code < 0x10000) {
			mb_buf_addc(out, (char)(0xe0 | code >> 12));
		} else {
			mb_buf_addc(out, (char)(0xf0 | code >> 18));
			mb_buf_addc(out, (char)(0x80 | (code >> 12 & 0x3f)));
		}
		mb_buf_addc(out, (char)(0x80 | (code >> 6 & 0x3f)));
	}
	mb_buf_addc(out, (char)(0x80 | (code & 0x3f)));
}

void
mb_json_unescape(struct mb_buf *out, struct mb_str text)
{
	static const char letters[] = "bfnrt", bytes[] = "\b\f\n\r\t";
	const char *p = text.p, *end = text.p + text.len, *slash, *letter;
	unsigned code;

	while ((slash = memchr(p, '\\', (size_t)(end - p))) != NULL) {
		mb_buf_add(out, p, (size_t)(slash - p));
		p = slash + 2;
		if (slash[1] != 'u') {
			letter = strchr(letters, slash[1]);
			mb_buf_addc(out, letter != NULL ?
			    bytes[letter - letters] : slash[1]);
			continue;
		}
		code = (unsigned)hex4(p, end);
		p += 4;
		if (code >= 0xd800 && code <= 0xdbff) {
			code = 0x10000 + ((code & 0x3ff) << 10) +
			    ((unsigned)hex4(p + 2, end) & 0x3ff);
			p += 6;
		}
		put_utf8(out, code);
	}
	mb_buf_add(out, p, (size_t)(end - p));
}

void
mb_json_compact(struct mb_buf *out, struct mb_str text)
{
	struct cursor c = { text.p + text.len, NULL };
	const char *p = text.p, *start;

	while ((p = skip_blanks(&c, p)) < c.end) {
		start = p;
		if (*p++ == '"') {
			while (*p != '"')
				p += *p == '\\' ? 2 : 1;
			p++;
		}
		mb_buf_add(out, start, (size_t)(p - start));
	}
}

bool
mb_json_is_number(struct mb_str s)
{
	struct cursor c = { s.p + s.len, NULL };

	return s.len > 0 && take_number(&c, s.p) == c.end;
}
