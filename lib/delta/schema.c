#include "delta/schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "delta/fields.h"

enum { MAX_COLUMNS = 65536 };

static const struct {
	const char *name;
	enum mb_parquet_kind kind;
} types[] = {
	{ "boolean", MB_PARQUET_BOOL },
	{ "byte", MB_PARQUET_INT8 },
	{ "short", MB_PARQUET_INT16 },
	{ "integer", MB_PARQUET_INT32 },
	{ "long", MB_PARQUET_INT64 },
	{ "float", MB_PARQUET_FLOAT },
	{ "double", MB_PARQUET_DOUBLE },
	{ "string", MB_PARQUET_TEXT },
	{ "binary", MB_PARQUET_BINARY },
	{ "date", MB_PARQUET_DATE },
	{ "timestamp", MB_PARQUET_TIMESTAMP },
	{ "timestamp_ntz", MB_PARQUET_TIMESTAMP_NTZ },
};

enum { N_TYPES = sizeof types / sizeof *types };

bool
mb_delta_type_parse(struct mb_parquet_type *out, const char *text)
{
	unsigned precision = 10, scale = 0;
	int end = -1;

	for (size_t i = 0; i < N_TYPES; i++)
		if (strcmp(types[i].name, text) == 0) {
			*out = (struct mb_parquet_type){
				.kind = types[i].kind
			};
			return true;
		}
	/* Two digits each, so that nothing can overflow. */
	if (strcmp(text, "decimal") != 0 &&
	    (sscanf(text, "decimal(%2u,%2u)%n", &precision, &scale, &end) != 2
	    || end < 0 || text[end] != '\0'))
		return false;
	if (precision < 1 || precision > MB_DIGITS || scale > precision)
		return false;
	*out = (struct mb_parquet_type){ .kind = MB_PARQUET_DECIMAL,
		.precision = (uint8_t)precision, .scale = (uint8_t)scale };
	return true;
}

void
mb_delta_type_format(struct mb_buf *out, struct mb_parquet_type t)
{
	if (t.kind == MB_PARQUET_DECIMAL)
		mb_buf_addf(out, "decimal(%u,%u)", t.precision, t.scale);
	for (size_t i = 0; i < N_TYPES; i++)
		if (types[i].kind == t.kind)
			mb_buf_adds(out, types[i].name);
}

static void
parse_metadata(struct mb_delta_column *c, struct mb_str object)
{
	static const char identity[] = "delta.identity.";
	struct mb_fields f = { 0 };
	struct mb_json v;
	int64_t id = 0;

	if (mb_fields_set(&f, object) == NULL) {
		c->has_invariant = mb_fields_get(&f, "delta.invariants", &v);
		c->has_generation = mb_fields_get(&f,
		    "delta.generationExpression", &v);
		c->has_default = mb_fields_get(&f, "CURRENT_DEFAULT", &v);
		for (size_t i = 0; i < f.m.n; i++)
			c->has_identity |= f.m.v[i].key.len >
			    sizeof identity - 1 && memcmp(f.m.v[i].key.p,
			    identity, sizeof identity - 1) == 0;
		(void)mb_fields_dup(&f, "delta.columnMapping.physicalName",
		    &c->physical);
		if (mb_fields_int(&f, "delta.columnMapping.id", &id) &&
		    id > 0 && id <= INT32_MAX)
			c->field_id = (int32_t)id;
	}
	mb_fields_release(&f);
}

static int
parse_column(struct mb_delta_column *c, const struct mb_json *field,
    struct mb_err *err)
{
	struct mb_fields f = { 0 };
	struct mb_buf type = { 0 };
	struct mb_str metadata;
	bool ok;

	*c = (struct mb_delta_column){ .is_nullable = true };
	ok = field->kind == MB_JSON && mb_fields_set(&f, field->text) == NULL &&
	    mb_fields_dup(&f, "name", &c->name);
	if (ok) {
		/* A nested type is an object. */
		if (mb_fields_text(&f, "type", &type))
			c->is_flat = mb_delta_type_parse(&c->type,
			    mb_buf_str(&type));
		(void)mb_fields_bool(&f, "nullable", &c->is_nullable);
		if (mb_fields_raw(&f, "metadata", '{', &metadata))
			parse_metadata(c, metadata);
	}
	mb_fields_release(&f);
	mb_buf_release(&type);
	return ok ? 0 : mb_fail(err, MB_ECORRUPT, "schemaString: a field "
	    "without a name");
}

int
mb_delta_schema_parse(struct mb_delta_schema *out,
    const struct mb_delta_meta *m, struct mb_err *err)
{
	struct mb_fields f = { 0 };
	struct mb_json field;
	struct mb_str list;
	int rc = -1;

	*out = (struct mb_delta_schema){ 0 };
	if (mb_fields_set(&f, mb_str(m->schema)) != NULL ||
	    !mb_fields_raw(&f, "fields", '[', &list)) {
		mb_fail(err, MB_ECORRUPT, "schemaString: not a struct");
		goto out;
	}
	while (mb_json_next(&list, &field)) {
		if (out->n == MAX_COLUMNS) {
			mb_fail(err, MB_EDATA, "more than %d columns",
			    MAX_COLUMNS);
			goto out;
		}
		out->v = mb_realloc_array(out->v, out->n + 1, sizeof *out->v);
		if (parse_column(&out->v[out->n++], &field, err) < 0)
			goto out;
		out->v[out->n - 1].is_partition = mb_names_index(
		    &m->partition_columns,
		    mb_str(out->v[out->n - 1].name)) >= 0;
	}
	for (size_t i = 0; i < m->partition_columns.n; i++)
		if (mb_delta_schema_find(out, m->partition_columns.v[i].p) ==
		    NULL) {
			mb_fail(err, MB_ECORRUPT, "the partition column "
			    "\"%s\" is not in the schema",
			    m->partition_columns.v[i].p);
			goto out;
		}
	rc = 0;
out:
	mb_fields_release(&f);
	if (rc < 0)
		mb_delta_schema_release(out);
	return rc;
}

void
mb_delta_schema_release(struct mb_delta_schema *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].name);
		free(s->v[i].physical);
	}
	free(s->v);
	*s = (struct mb_delta_schema){ 0 };
}

const struct mb_delta_column *
mb_delta_schema_find(const struct mb_delta_schema *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].name, name) == 0)
			return &s->v[i];
	return NULL;
}

static void
put_columns(struct mb_buf *out, const struct mb_delta_new_column *columns,
    size_t n)
{
	struct mb_buf type = { 0 };

	for (size_t i = 0; i < n; i++) {
		mb_buf_adds(out, i > 0 ? ",{" : "{");
		mb_put_text(out, "name", mb_str(columns[i].name));
		mb_buf_reset(&type);
		mb_delta_type_format(&type, columns[i].type);
		mb_put_text(out, "type", (struct mb_str){ type.p, type.len });
		mb_put_bool(out, "nullable", true);
		mb_buf_adds(out, ",\"metadata\":{}}");
	}
	mb_buf_release(&type);
}

void
mb_delta_schema_put(struct mb_buf *out, const char *old,
    const struct mb_delta_new_column *columns, size_t n)
{
	struct mb_fields f = { 0 };
	struct mb_str list;
	struct mb_json field;
	size_t upto;

	if (old == NULL) {
		mb_buf_adds(out, "{\"type\":\"struct\",\"fields\":[");
		put_columns(out, columns, n);
		mb_buf_adds(out, "]}");
		return;
	}
	if (mb_fields_set(&f, mb_str(old)) != NULL ||
	    !mb_fields_raw(&f, "fields", '[', &list))
		list = (struct mb_str){ old, 0 };	/* was parsed before */
	upto = (size_t)(list.p - old) + list.len;
	mb_buf_add(out, old, upto == 0 ? 0 : upto - 1);
	if (mb_json_next(&list, &field))
		mb_buf_addc(out, ',');
	put_columns(out, columns, n);
	mb_buf_adds(out, old + (upto == 0 ? 0 : upto - 1));
	mb_fields_release(&f);
}
