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
	s->there = mb_realloc_array(s->there, table->schema.n + 1,
	    sizeof *s->there);
	for (size_t i = 0; i < table->schema.n; i++) {
		const struct mb_delta_column *there = &table->schema.v[i];
		struct mb_column *c;

		if (!there->is_flat)
			continue;
		s->there[columns->n] = there;
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

/* The column that a field of --partition-by leads to, or NULL. */
static const struct mb_column *
find_field(const struct mb_columns *given, const char *field)
{
	ssize_t i = given->is_mapped ? mb_names_find(&given->header,
	    mb_str(field)) : -1;

	return i >= 0 ? &given->v[given->column_of[i]] :
	    mb_columns_find(given, field);
}

/*
 * --partition-by, as names of columns: of a new table they may be any, of one
 * that is there they are the table's.
 */
static int
resolve_partitions(const char **names, const struct mb_columns *given,
    const struct mb_delta_state *table, struct mb_err *err)
{
	const struct mb_sink_options *o = given->options;
	const struct mb_names *there = &table->meta.partition_columns;
	struct mb_buf list = { 0 };
	bool is_same = true;

	for (size_t i = 0; i < o->n_partition_by; i++) {
		const struct mb_column *c = find_field(given,
		    o->partition_by[i]);

		if (c == NULL) {
			mb_names_show(&list, &given->names);
			mb_fail(err, MB_EUSAGE, "%s: --partition-by: no column "
			    "\"%s\"; there are: %s", given->place,
			    o->partition_by[i], mb_buf_str(&list));
			mb_buf_release(&list);
			return -1;
		}
		if (c->type.kind == MB_TYPE_BINARY && !has_table(table))
			return mb_fail(err, MB_EUSAGE, "%s: --partition-by: "
			    "column \"%s\" is binary, and the names of "
			    "directories are text", given->place, c->name);
		for (size_t k = 0; k < i; k++)
			if (names[k] == c->name)
				return mb_fail(err, MB_EUSAGE, "%s: "
				    "--partition-by: \"%s\" twice",
				    given->place, c->name);
		names[i] = c->name;
		is_same &= i < there->n && strcmp(there->v[i].p, c->name) == 0;
	}
	if (!has_table(table) && o->n_partition_by == given->n)
		return mb_fail(err, MB_EUSAGE, "%s: --partition-by: one "
		    "column at least must be none", given->place);
	if (!has_table(table) || o->n_partition_by == 0 ||
	    (is_same && there->n == o->n_partition_by))
		return 0;
	mb_names_show(&list, there);
	mb_fail(err, MB_EUSAGE, "%s: --partition-by: the table has other "
	    "partition columns: %s", given->place, there->n == 0 ? "none" :
	    mb_buf_str(&list));
	mb_buf_release(&list);
	return -1;
}

/* Nothing of the batch is new to the table. */
static int
keep_table(struct mb_deltashape *s, const struct mb_delta_state *table,
    struct mb_err *err)
{
	return mb_delta_meta_parse(&s->meta, mb_str(table->meta.text), err);
}

/* A table that is to be made, or one that gets columns: the lines for it. */
static int
change_table(struct mb_deltashape *s,
    const struct mb_delta_new_column *columns, size_t n,
    const char *const *partition_by, size_t n_partition_by,
    const struct mb_delta_state *table, int64_t now_ms, struct mb_err *err)
{
	/* {"metaData":{…}} and a newline */
	static const size_t before = sizeof "{\"metaData\":" - 1;
	struct mb_buf schema = { 0 }, line = { 0 };
	char id[MB_UUID_LEN + 1];
	int rc = 0;

	mb_delta_schema_put(&schema, has_table(table) ? table->meta.schema :
	    NULL, columns, n);
	if (has_table(table)) {
		mb_delta_put_schema(&line, &table->meta, mb_buf_str(&schema));
	} else {
		rc = mb_delta_uuid(id, err);
		mb_delta_put_protocol(&s->creation, columns, n);
		mb_delta_put_meta(&line, id, mb_buf_str(&schema), partition_by,
		    n_partition_by, now_ms);
	}
	mb_buf_add(&s->creation, line.p, line.len);
	if (rc == 0)
		rc = mb_delta_meta_parse(&s->meta, (struct mb_str){
		    line.p + before, line.len - before - 2 }, err);
	mb_buf_release(&schema);
	mb_buf_release(&line);
	return rc;
}

int
mb_deltashape_settle(struct mb_deltashape *s, const struct mb_columns *given,
    const struct mb_delta_state *table, int64_t now_ms, struct mb_err *err)
{
	size_t n = given->n - s->n_there;
	size_t n_partition_by = given->options->n_partition_by;
	struct mb_delta_new_column *columns = mb_realloc_array(NULL, n + 1,
	    sizeof *columns);
	const char **partition_by = mb_realloc_array(NULL, n_partition_by + 1,
	    sizeof *partition_by);
	int rc = resolve_partitions(partition_by, given, table, err);

	mb_buf_reset(&s->creation);
	s->n_added = n;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct mb_column *c = &given->v[s->n_there + i];

		rc = check_new_column(c, table, given->place, err);
		columns[i] = (struct mb_delta_new_column){ c->name,
			parquet_type_of(c->type) };
	}
	if (rc == 0)
		rc = n == 0 ? keep_table(s, table, err) : change_table(s,
		    columns, n, partition_by, n_partition_by, table, now_ms,
		    err);
	if (rc == 0)
		rc = mb_delta_schema_parse(&s->schema, &s->meta, err);
	free(columns);
	free(partition_by);
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
mb_deltashape_explain(struct mb_buf *out, const struct mb_deltashape *s,
    bool there)
{
	struct mb_buf list = { 0 };
	size_t first = there ? s->schema.n - s->n_added : 0;

	if (s->creation.len == 0)
		return;
	mb_buf_adds(out, there ? "; columns added: " : "; the table is made: ");
	for (size_t i = first; i < s->schema.n; i++) {
		mb_buf_addf(out, "%s%s ", i > first ? ", " : "",
		    s->schema.v[i].name);
		mb_delta_type_format(out, s->schema.v[i].type);
	}
	if (!there && s->meta.partition_columns.n > 0) {
		mb_names_show(&list, &s->meta.partition_columns);
		mb_buf_addf(out, "; partitioned by %s", mb_buf_str(&list));
	}
	mb_buf_release(&list);
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
	free(s->there);
}
