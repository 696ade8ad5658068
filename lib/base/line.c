#include "base/line.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/load.h"
#include "base/parse.h"

size_t
mb_utf8_length(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (len < n)
		return 0;
	/* The second byte excludes overlong forms and surrogates. */
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

/* Eight bytes at once tell. */
bool
mb_is_ascii(struct mb_str s)
{
	uint64_t any = 0;
	size_t i = 0;

	for (; i + 8 <= s.len; i += 8)
		any |= mb_load_8(s.p + i);
	for (; i < s.len; i++)
		any |= (unsigned char)s.p[i];
	return (any & 0x8080808080808080u) == 0;
}

bool
mb_is_utf8(struct mb_str s)
{
	size_t n;

	if (mb_is_ascii(s))		/* most text is */
		return true;
	for (size_t i = 0; i < s.len; i += n)
		if ((n = mb_utf8_length(s.p + i, s.len - i)) == 0)
			return false;
	return true;
}

void
mb_json_quote(struct mb_buf *b, struct mb_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n;

	mb_buf_addc(b, '"');
	for (size_t i = 0; i < s.len; i += n) {
		/* Mostly there is nothing to do. */
		for (n = 0; i + n < s.len && p[i + n] >= 0x20 &&
		    p[i + n] < 0x7f && p[i + n] != '"' && p[i + n] != '\\';
		    n++)
			;
		if (n > 0) {
			mb_buf_add(b, p + i, n);
			continue;
		}
		n = mb_utf8_length(s.p + i, s.len - i);
		if (n == 0) {
			mb_buf_adds(b, "\xef\xbf\xbd");
			n = 1;
		} else if (p[i] == '"' || p[i] == '\\') {
			mb_buf_addc(b, '\\');
			mb_buf_addc(b, (char)p[i]);
		} else if (p[i] == '\n') {
			mb_buf_adds(b, "\\n");
		} else if (p[i] == '\t') {
			mb_buf_adds(b, "\\t");
		} else if (p[i] == '\r') {
			mb_buf_adds(b, "\\r");
		} else if (p[i] < 0x20 || p[i] == 0x7f) {
			mb_buf_addf(b, "\\u%04x", p[i]);
		} else {
			mb_buf_add(b, p + i, n);
		}
	}
	mb_buf_addc(b, '"');
}

static void
put_name(struct mb_buf *b, const char *name)
{
	char last = b->len > 0 ? b->p[b->len - 1] : '{';

	if (last != '{' && last != '[' && last != '\n' && last != ':')
		mb_buf_addc(b, ',');
	if (name != NULL) {
		mb_json_quote(b, mb_str(name));
		mb_buf_addc(b, ':');
	}
}

void
mb_line_begin(struct mb_buf *b, const char *verb)
{
	mb_buf_addc(b, '{');
	mb_line_str(b, "mb", verb);
}

void
mb_line_str(struct mb_buf *b, const char *name, const char *value)
{
	put_name(b, name);
	mb_json_quote(b, mb_str(value));
}

void
mb_line_bytes(struct mb_buf *b, const char *name, struct mb_str value)
{
	char hex_name[64];

	if (mb_is_utf8(value)) {
		put_name(b, name);
		mb_json_quote(b, value);
		return;
	}
	snprintf(hex_name, sizeof hex_name, "%s_hex", name);
	put_name(b, hex_name);
	mb_buf_addc(b, '"');
	for (size_t i = 0; i < value.len; i++)
		mb_buf_addf(b, "%02x", (unsigned char)value.p[i]);
	mb_buf_addc(b, '"');
}

void
mb_line_u64(struct mb_buf *b, const char *name, uint64_t value)
{
	put_name(b, name);
	mb_buf_addf(b, "%" PRIu64, value);
}

void
mb_line_i64(struct mb_buf *b, const char *name, int64_t value)
{
	put_name(b, name);
	mb_buf_addf(b, "%" PRId64, value);
}

void
mb_line_bool(struct mb_buf *b, const char *name, bool value)
{
	put_name(b, name);
	mb_buf_adds(b, value ? "true" : "false");
}

void
mb_line_raw(struct mb_buf *b, const char *name, const char *json)
{
	put_name(b, name);
	mb_buf_adds(b, json);
}

void
mb_line_time(struct mb_buf *b, const char *name, int64_t time_ms)
{
	char text[MB_TIME_LEN + 1];

	mb_format_time(text, time_ms);
	mb_line_str(b, name, text);
}

void
mb_line_open(struct mb_buf *b, const char *name, char bracket)
{
	put_name(b, name);
	mb_buf_addc(b, bracket);
}

void
mb_line_close(struct mb_buf *b, char bracket)
{
	mb_buf_addc(b, bracket);
}

/* What stands before and after the checksum itself. */
#define CRC_OPEN ",\"crc\":\""
#define CRC_CLOSE "\"}"
enum {
	CRC_DIGITS = 8,
	CRC_LEN = sizeof CRC_OPEN - 1 + CRC_DIGITS + sizeof CRC_CLOSE - 1,
};

void
mb_line_seal(struct mb_buf *b, size_t start)
{
	uint32_t crc = mb_crc32c(0, b->p + start, b->len - start);

	mb_buf_addf(b, CRC_OPEN "%08" PRIx32 CRC_CLOSE "\n", crc);
}

bool
mb_line_check(struct mb_str line)
{
	char expected[CRC_LEN + 1];
	size_t body;

	if (line.len <= CRC_LEN || line.p[0] != '{')
		return false;
	body = line.len - CRC_LEN;
	snprintf(expected, sizeof expected, CRC_OPEN "%08" PRIx32 CRC_CLOSE,
	    mb_crc32c(0, line.p, body));
	return memcmp(line.p + body, expected, CRC_LEN) == 0;
}

/* Do two texts differ in one bit? */
static bool
differ_in_a_bit(const char *a, const char *b, size_t len, size_t *byte,
    unsigned *bit)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned x = (unsigned char)(a[i] ^ b[i]);

		if (x == 0)
			continue;
		if (++n > 1 || (x & (x - 1)) != 0)
			return false;
		*byte = i;
		*bit = (unsigned)__builtin_ctz(x);
	}
	return n == 1;
}

/*
 * The checksum is linear: what a wrong bit changes in it depends on how many
 * bits follow, and running the register backwards tells how many.
 */
static bool
find_in_body(uint32_t difference, size_t body, size_t *byte, unsigned *bit)
{
	for (size_t i = body; i-- > 0;)
		for (unsigned k = 8; k-- > 0;) {
			if (difference & 0x80000000u)
				difference = (difference ^ 0x82f63b78u) << 1 |
				    1;
			else
				difference <<= 1;
			if (difference == 1) {
				*byte = i;
				*bit = k;
				return true;
			}
		}
	return false;
}

bool
mb_line_find_flip(struct mb_str line, size_t *byte, unsigned *bit)
{
	char expected[CRC_LEN + 1], told[CRC_DIGITS + 1];
	size_t body;
	uint32_t crc;
	const char *end;

	if (line.len <= CRC_LEN)
		return false;
	body = line.len - CRC_LEN;
	end = line.p + body;
	crc = mb_crc32c(0, line.p, body);
	snprintf(expected, sizeof expected, CRC_OPEN "%08" PRIx32 CRC_CLOSE,
	    crc);
	if (line.p[0] == '{' &&
	    differ_in_a_bit(end, expected, CRC_LEN, byte, bit)) {
		*byte += body;
		return true;
	}
	memcpy(told, end + sizeof CRC_OPEN - 1, CRC_DIGITS);
	told[CRC_DIGITS] = '\0';
	if (memcmp(end, CRC_OPEN, sizeof CRC_OPEN - 1) != 0 ||
	    memcmp(end + CRC_LEN - (sizeof CRC_CLOSE - 1), CRC_CLOSE,
	    sizeof CRC_CLOSE - 1) != 0 ||
	    !mb_is_hex((struct mb_str){ told, CRC_DIGITS }, CRC_DIGITS))
		return false;
	if (!find_in_body(crc ^ (uint32_t)strtoul(told, NULL, 16), body, byte,
	    bit))
		return false;
	/* The line that it makes has to begin like one. */
	return *byte == 0 ? (char)(line.p[0] ^ 1 << *bit) == '{' :
	    line.p[0] == '{';
}

/* struct mb_doc and struct mb_node are jansson's json_t under our names. */
static json_t *
to_json(const struct mb_node *n)
{
	return (json_t *)(uintptr_t)n;
}

int
mb_doc_parse(struct mb_doc **out, struct mb_str line, struct mb_err *err)
{
	json_error_t why;
	json_t *root = json_loadb(line.p, line.len, 0, &why);

	*out = NULL;
	if (root == NULL)
		return mb_fail(err, MB_ECORRUPT, "not JSON: %s", why.text);
	if (!json_is_object(root)) {
		json_decref(root);
		return mb_fail(err, MB_ECORRUPT, "not a JSON object");
	}
	*out = (struct mb_doc *)root;
	return 0;
}

const struct mb_node *
mb_doc_root(const struct mb_doc *doc)
{
	return (const struct mb_node *)doc;
}

void
mb_doc_close(struct mb_doc *doc)
{
	json_decref((json_t *)doc);
}

const struct mb_node *
mb_node_member(const struct mb_node *n, const char *name)
{
	return (const struct mb_node *)json_object_get(to_json(n), name);
}

bool
mb_node_str(const struct mb_node *n, const char *name, const char **out)
{
	const char *s = json_string_value(json_object_get(to_json(n), name));

	if (s != NULL)
		*out = s;
	return s != NULL;
}

bool
mb_node_number(const struct mb_node *n, uint64_t *out)
{
	const json_t *v = to_json(n);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

bool
mb_node_u64(const struct mb_node *n, const char *name, uint64_t *out)
{
	return mb_node_number(mb_node_member(n, name), out);
}

bool
mb_node_bool(const struct mb_node *n, const char *name, bool *out)
{
	json_t *v = json_object_get(to_json(n), name);

	if (!json_is_boolean(v))
		return false;
	*out = json_is_true(v);
	return true;
}

bool
mb_node_time(const struct mb_node *n, const char *name, int64_t *out_ms)
{
	struct mb_err ignored = { 0 };
	const char *text;

	return mb_node_str(n, name, &text) &&
	    mb_parse_time(out_ms, text, &ignored) == 0;
}

bool
mb_node_hash(const struct mb_node *n, const char *name, struct mb_hash *out)
{
	const char *text;

	if (!mb_node_str(n, name, &text) ||
	    !mb_is_hex(mb_str(text), MB_HASH_LEN))
		return false;
	memcpy(out->hex, text, MB_HASH_LEN + 1);
	return true;
}

static int
hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

bool
mb_node_bytes(const struct mb_node *n, const char *name, char **out,
    size_t *len)
{
	char hex_name[64];
	const char *text;

	if (mb_node_str(n, name, &text)) {
		*len = strlen(text);
		*out = mb_strdup(text);
		return true;
	}
	snprintf(hex_name, sizeof hex_name, "%s_hex", name);
	if (!mb_node_str(n, hex_name, &text) ||
	    !mb_is_hex(mb_str(text), strlen(text)) || strlen(text) % 2 != 0)
		return false;
	*len = strlen(text) / 2;
	*out = mb_zalloc(*len + 1);
	for (size_t i = 0; i < *len; i++)
		(*out)[i] = (char)(hex_digit(text[2 * i]) << 4 |
		    hex_digit(text[2 * i + 1]));
	return true;
}

size_t
mb_node_length(const struct mb_node *array)
{
	return json_array_size(to_json(array));
}

const struct mb_node *
mb_node_at(const struct mb_node *array, size_t i)
{
	return (const struct mb_node *)json_array_get(to_json(array), i);
}

char *
mb_node_dump(const struct mb_node *n)
{
	char *text = json_dumps(to_json(n), JSON_COMPACT | JSON_ENCODE_ANY);
	char *copy = mb_strdup(text != NULL ? text : "null");

	free(text);
	return copy;
}
