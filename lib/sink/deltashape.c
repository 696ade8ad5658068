#include "sink/deltashape.h"

#include <stdlib.h>
#include <strings.h>

#include "delta/commit.h"

static struct mb_type
type_of(struct mb_parquet_type t)
{
	static const enum mb_type_kind kinds[] = {
		[MB_PARQUET_BOOL] = MB_TYPE_BOOL,
		[MB_PARQUET_INT8] = MB_TYPE_INT32,
		[MB_PARQUET_INT16] = MB_TYPE_INT32,
		[MB_PARQUET_INT32] = MB_TYPE_INT32,
		[MB_PARQUET_INT64] = MB_TYPE_INT,
		[MB_PARQUET_FLOAT] = MB_TYPE_FLOAT,
		[MB_PARQUET_DOUBLE] = MB_TYPE_DOUBLE,
		[MB_PARQUET_TEXT] = MB_TYPE_TEXT,
		[MB_PARQUET_BINARY] = MB_TYPE_BINARY,
		[MB_PARQUET_DATE] = MB_TYPE_DATE,
		[MB_PARQUET_TIMESTAMP] = MB_TYPE_TIMESTAMP,
		[MB_PARQUET_TIMESTAMP_NTZ] = MB_TYPE_TIMESTAMP_NTZ,
		[MB_PARQUET_DECIMAL] = MB_TYPE_DECIMAL,
	};

	return (struct mb_type){ .kind = kinds[t.kind],
		.precision = t.precision, .scale = t.scale };
}

static struct mb_parquet_type
parquet_type_of(struct mb_type t)
{
	static const enum mb_parquet_kind kinds[] = {
		[MB_TYPE_BOOL] = MB_PARQUET_BOOL,
		[MB_TYPE_INT] = MB_PARQUET_INT64,
		[MB_TYPE_INT32] = MB_PARQUET_INT32,
		[MB_TYPE_FLOAT] = MB_PARQUET_FLOAT,
		[MB_TYPE_DOUBLE] = MB_PARQUET_DOUBLE,
		[MB_TYPE_TEXT] = MB_PARQUET_TEXT,
		[MB_TYPE_BINARY] = MB_PARQUET_BINARY,
		[MB_TYPE_DATE] = MB_PARQUET_DATE,
		[MB_TYPE_TIMESTAMP] = MB_PARQUET_TIMESTAMP,
		[MB_TYPE_TIMESTAMP_NTZ] = MB_PARQUET_TIMESTAMP_NTZ,
		[MB_TYPE_DECIMAL] = MB_PARQUET_DECIMAL,
		[MB_TYPE_ANY] = MB_PARQUET_TEXT,
	};

	return (struct mb_parquet_type){ .kind = kinds[t.kind],
		.precision = t.precision, .scale = t.scale };
}

void
mb_deltashape_begin(struct mb_deltashape *s, struct mb_columns *columns,
    const struct mb_delta_state *table)
{
	for (size_t i = 0; i < table->schema.n; i++) {
		const struct mb_delta_column *there = &table->schema.v[i];
		struct mb_column *c;

		if (!there->is_flat)
			continue;
		c = mb_columns_add(columns, there->name);
		c->type = type_of(there->type);
		c->is_not_null = !there->is_nullable;
	}
	s->n_there = columns->n;
}

static bool
has_table(const struct mb_delta_state *s)
{
	return s->version >= 0;
}

/* A column that the batch brings. */
static int
check_new_column(const struct mb_column *c,
    const struct mb_delta_state *table, const char *place, struct mb_err *err)
{
	static const char forbidden[] = " ,;{}()\n\t=";
	size_t at = strcspn(c->name, forbidden);

	for (size_t i = 0; i < table->schema.n; i++)
		if (strcasecmp(table->schema.v[i].name, c->name) == 0)
			return mb_fail(err, MB_EUSAGE, "%s: column \"%s\": its "
			    "type is one that we don't write", place,
			    c->name);
	if (c->name[0] == '\0')
		return mb_fail(err, MB_EUSAGE, "%s: a column needs a name",
		    place);
	if (c->name[at] != '\0')
		return mb_fail(err, MB_EUSAGE, "%s: column \"%s\": Delta "
		    "forbids blanks and , ; { } ( ) = in names", place,
		    c->name);
	if (c->type.kind == MB_TYPE_DECIMAL && c->type.precision == 0)
		return mb_fail(err, MB_EUSAGE, "%s: column \"%s\": say how "
		    "many digits a decimal has: decimal(p,s)", place,
		    c->name);
	if (c->type.kind == MB_TYPE_TIMESTAMP_NTZ && has_table(table) &&
	    !mb_delta_has_feature(&table->protocol, "timestampNtz"))
		return mb_fail(err, MB_EUSAGE, "%s: column \"%s\": the table "
		    "lacks the feature timestampNtz", place, c->name);
	return 0;
}

int
mb_deltashape_settle(struct mb_deltashape *s, const struct mb_columns *given,
    const struct mb_delta_state *table, int64_t now_ms, struct mb_err *err)
{
	size_t n = given->n - s->n_there;
	struct mb_delta_new_column *columns = mb_realloc_array(NULL, n + 1,
	    sizeof *columns);
	struct mb_buf schema = { 0 }, line = { 0 };
	char id[MB_UUID_LEN + 1];
	int rc = -1;

	mb_buf_reset(&s->creation);
	for (size_t i = 0; i < n; i++) {
		const struct mb_column *c = &given->v[s->n_there + i];

		if (check_new_column(c, table, given->place, err) < 0)
			goto out;
		columns[i] = (struct mb_delta_new_column){ c->name,
			parquet_type_of(c->type) };
	}
	if (n == 0) {
		mb_buf_adds(&line, table->meta.text);
		rc = mb_delta_meta_parse(&s->meta, (struct mb_str){ line.p,
		    line.len }, err);
	} else {
		/* {"metaData":{…}} and a newline */
		static const size_t before = sizeof "{\"metaData\":" - 1;

		mb_delta_schema_put(&schema, has_table(table) ?
		    table->meta.schema : NULL, columns, n);
		if (has_table(table)) {
			mb_delta_put_schema(&line, &table->meta,
			    mb_buf_str(&schema));
		} else {
			if (mb_delta_uuid(id, err) < 0)
				goto out;
			mb_delta_put_protocol(&s->creation, columns, n);
			mb_delta_put_meta(&line, id, mb_buf_str(&schema),
			    now_ms);
		}
		mb_buf_add(&s->creation, line.p, line.len);
		rc = mb_delta_meta_parse(&s->meta, (struct mb_str){
		    line.p + before, line.len - before - 2 }, err);
	}
	if (rc == 0)
		rc = mb_delta_schema_parse(&s->schema, &s->meta, err);
out:
	free(columns);
	mb_buf_release(&schema);
	mb_buf_release(&line);
	return rc;
}

int
mb_deltashape_compare(const struct mb_deltashape *s,
    const struct mb_columns *columns, const struct mb_delta_state *table,
    struct mb_err *err)
{
	for (size_t i = 0; i < s->schema.n; i++) {
		const struct mb_delta_column *ours = &s->schema.v[i], *theirs;
		const struct mb_column *c = mb_columns_find(columns,
		    ours->name);

		if (c == NULL || !c->is_in_batch)
			continue;
		theirs = mb_delta_schema_find(&table->schema, ours->name);
		if (theirs == NULL || !theirs->is_flat ||
		    theirs->type.kind != ours->type.kind ||
		    theirs->type.precision != ours->type.precision ||
		    theirs->type.scale != ours->type.scale ||
		    theirs->is_partition != ours->is_partition ||
		    theirs->is_nullable < ours->is_nullable)
			return mb_fail(err, MB_EBUSY, "%s: its column \"%s\" "
			    "was changed while we were at work; start again",
			    columns->place, ours->name);
	}
	for (size_t i = 0; i < table->schema.n; i++) {
		const struct mb_delta_column *theirs = &table->schema.v[i];
		const struct mb_delta_column *ours = mb_delta_schema_find(
		    &s->schema, theirs->name);

		if ((theirs->is_partition || !theirs->is_nullable) &&
		    (ours == NULL || ours->is_partition !=
		    theirs->is_partition))
			return mb_fail(err, MB_EBUSY, "%s: its column \"%s\" "
			    "was changed while we were at work; start again",
			    columns->place, theirs->name);
	}
	return 0;
}

void
mb_deltashape_reset(struct mb_deltashape *s)
{
	mb_delta_meta_release(&s->meta);
	mb_delta_schema_release(&s->schema);
	mb_buf_reset(&s->creation);
	s->n_there = 0;
}

void
mb_deltashape_release(struct mb_deltashape *s)
{
	mb_deltashape_reset(s);
	mb_buf_release(&s->creation);
}
