#include "delta/fields.h"

#include <inttypes.h>

#include "base/line.h"

const char *
mb_fields_set(struct mb_fields *f, struct mb_str text)
{
	return mb_json_object(&f->m, text);
}

void
mb_fields_release(struct mb_fields *f)
{
	mb_json_members_release(&f->m);
}

/* Of equal names the last counts. */
bool
mb_fields_get(const struct mb_fields *f, const char *name,
    struct mb_json *out)
{
	struct mb_str key = mb_str(name);

	for (size_t i = f->m.n; i > 0; i--)
		if (mb_str_eq(f->m.v[i - 1].key, key)) {
			*out = f->m.v[i - 1].value;
			return out->kind != MB_NULL;
		}
	return false;
}

bool
mb_json_text(const struct mb_json *v, struct mb_buf *out)
{
	if (v->kind != MB_TEXT)
		return false;
	mb_buf_reset(out);
	mb_json_unescape(out, v->text);
	return true;
}

bool
mb_json_int(const struct mb_json *v, int64_t *out)
{
	const char *p = v->text.p, *end = p + v->text.len;
	bool is_negative;
	int64_t n = 0;

	if (v->kind != MB_NUMBER || p == end)
		return false;
	is_negative = *p == '-';
	p += is_negative;
	if (p == end)
		return false;
	for (; p < end; p++) {
		int64_t digit = *p - '0';

		if (digit < 0 || digit > 9 ||
		    __builtin_mul_overflow(n, (int64_t)10, &n) ||
		    __builtin_add_overflow(n, is_negative ? -digit : digit,
		    &n))
			return false;
	}
	*out = n;
	return true;
}

bool
mb_fields_text(const struct mb_fields *f, const char *name,
    struct mb_buf *out)
{
	struct mb_json v;

	return mb_fields_get(f, name, &v) && mb_json_text(&v, out);
}

bool
mb_fields_dup(const struct mb_fields *f, const char *name, char **out)
{
	struct mb_buf text = { 0 };

	if (!mb_fields_text(f, name, &text))
		return false;
	*out = mb_buf_take(&text);
	return true;
}

bool
mb_fields_int(const struct mb_fields *f, const char *name, int64_t *out)
{
	struct mb_json v;

	return mb_fields_get(f, name, &v) && mb_json_int(&v, out);
}

bool
mb_fields_bool(const struct mb_fields *f, const char *name, bool *out)
{
	struct mb_json v;

	if (!mb_fields_get(f, name, &v) || v.kind != MB_JSON ||
	    (v.text.p[0] != 't' && v.text.p[0] != 'f'))
		return false;
	*out = v.text.p[0] == 't';
	return true;
}

bool
mb_fields_raw(const struct mb_fields *f, const char *name, char open,
    struct mb_str *out)
{
	struct mb_json v;

	if (!mb_fields_get(f, name, &v) || v.kind != MB_JSON ||
	    v.text.p[0] != open)
		return false;
	*out = v.text;
	return true;
}

void
mb_put_name(struct mb_buf *b, const char *name)
{
	char last = b->len > 0 ? b->p[b->len - 1] : '{';

	if (last != '{' && last != '[')
		mb_buf_addc(b, ',');
	mb_json_quote(b, mb_str(name));
	mb_buf_addc(b, ':');
}

void
mb_put_text(struct mb_buf *b, const char *name, struct mb_str value)
{
	mb_put_name(b, name);
	mb_json_quote(b, value);
}

void
mb_put_int(struct mb_buf *b, const char *name, int64_t value)
{
	mb_put_name(b, name);
	mb_buf_addf(b, "%" PRId64, value);
}

void
mb_put_bool(struct mb_buf *b, const char *name, bool value)
{
	mb_put_name(b, name);
	mb_buf_adds(b, value ? "true" : "false");
}
