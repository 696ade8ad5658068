#include "delta/meta.h"

#include <stdlib.h>
#include <strings.h>

#include "delta/fields.h"

static char *
copy(struct mb_str s)
{
	struct mb_buf b = { 0 };

	mb_buf_add(&b, s.p, s.len);
	return mb_buf_take(&b);
}

/* Strings of an array; what isn't one is passed over. */
static void
add_texts(struct mb_names *names, struct mb_str array)
{
	struct mb_buf text = { 0 };
	struct mb_json v;

	while (mb_json_next(&array, &v))
		if (mb_json_text(&v, &text))
			mb_names_add(names, (struct mb_str){ text.p,
			    text.len });
	mb_buf_release(&text);
}

int
mb_delta_protocol_parse(struct mb_delta_protocol *out, struct mb_str text,
    struct mb_err *err)
{
	struct mb_fields f = { 0 };
	struct mb_str list;
	bool ok;

	mb_delta_protocol_release(out);
	ok = mb_fields_set(&f, text) == NULL &&
	    mb_fields_int(&f, "minReaderVersion", &out->min_reader) &&
	    mb_fields_int(&f, "minWriterVersion", &out->min_writer);
	if (ok && mb_fields_raw(&f, "readerFeatures", '[', &list))
		add_texts(&out->reader_features, list);
	if (ok && mb_fields_raw(&f, "writerFeatures", '[', &list))
		add_texts(&out->writer_features, list);
	mb_fields_release(&f);
	out->text = copy(text);
	return ok ? 0 : mb_fail(err, MB_ECORRUPT, "a protocol action without "
	    "its versions");
}

void
mb_delta_protocol_release(struct mb_delta_protocol *p)
{
	free(p->text);
	mb_names_release(&p->reader_features);
	mb_names_release(&p->writer_features);
	*p = (struct mb_delta_protocol){ 0 };
}

static void
add_properties(struct mb_delta_meta *m, struct mb_str object)
{
	struct mb_fields f = { 0 };
	struct mb_buf key = { 0 }, value = { 0 };

	if (mb_fields_set(&f, object) != NULL)
		object.len = 0;		/* it was an object a moment ago */
	for (size_t i = 0; i < f.m.n; i++) {
		const struct mb_json_member *at = &f.m.v[i];

		mb_buf_reset(&key);
		mb_json_unescape(&key, at->key);
		if (!mb_json_text(&at->value, &value)) {
			if (at->value.kind == MB_NULL)
				continue;
			mb_buf_reset(&value);
			mb_buf_add(&value, at->value.text.p,
			    at->value.text.len);
		}
		mb_names_add(&m->keys, (struct mb_str){ key.p, key.len });
		mb_names_add(&m->values, (struct mb_str){ value.p == NULL ?
		    "" : value.p, value.len });
	}
	mb_fields_release(&f);
	mb_buf_release(&key);
	mb_buf_release(&value);
}

int
mb_delta_meta_parse(struct mb_delta_meta *out, struct mb_str text,
    struct mb_err *err)
{
	struct mb_fields f = { 0 }, format = { 0 };
	struct mb_str part;
	bool ok;

	mb_delta_meta_release(out);
	ok = mb_fields_set(&f, text) == NULL &&
	    mb_fields_dup(&f, "id", &out->id) &&
	    mb_fields_dup(&f, "schemaString", &out->schema);
	if (ok && mb_fields_raw(&f, "format", '{', &part) &&
	    mb_fields_set(&format, part) == NULL)
		(void)mb_fields_dup(&format, "provider", &out->provider);
	if (ok && mb_fields_raw(&f, "partitionColumns", '[', &part))
		add_texts(&out->partition_columns, part);
	if (ok && mb_fields_raw(&f, "configuration", '{', &part))
		add_properties(out, part);
	mb_fields_release(&f);
	mb_fields_release(&format);
	out->text = copy(text);
	return ok ? 0 : mb_fail(err, MB_ECORRUPT, "a metaData action without "
	    "id or schema");
}

void
mb_delta_meta_release(struct mb_delta_meta *m)
{
	free(m->text);
	free(m->id);
	free(m->provider);
	free(m->schema);
	mb_names_release(&m->partition_columns);
	mb_names_release(&m->keys);
	mb_names_release(&m->values);
	*m = (struct mb_delta_meta){ 0 };
}

const char *
mb_delta_property(const struct mb_delta_meta *m, const char *name)
{
	ssize_t i = mb_names_index(&m->keys, mb_str(name));

	return i < 0 ? NULL : m->values.v[i].p;
}

bool
mb_delta_property_is_true(const struct mb_delta_meta *m, const char *name)
{
	const char *value = mb_delta_property(m, name);

	return value != NULL && strcasecmp(value, "true") == 0;
}

bool
mb_delta_has_feature(const struct mb_delta_protocol *p, const char *name)
{
	return mb_names_index(&p->writer_features, mb_str(name)) >= 0 ||
	    mb_names_index(&p->reader_features, mb_str(name)) >= 0;
}
