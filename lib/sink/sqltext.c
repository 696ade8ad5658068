#include "sink/sqltext.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static void
put_name(struct mb_buf *sql, const char *name)
{
	mb_buf_addc(sql, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"')
			mb_buf_addc(sql, '"');
		mb_buf_addc(sql, *name);
	}
	mb_buf_addc(sql, '"');
}

static void
put_target(struct mb_buf *sql, const char *table)
{
	mb_buf_adds(sql, "main.");
	put_name(sql, table);
}

/* What --schema's types are called in CREATE TABLE. */
static void
put_declared(struct mb_buf *sql, struct mb_type t)
{
	static const char *const names[] = {
		[MB_TYPE_BOOL] = "BOOLEAN", [MB_TYPE_INT] = "INTEGER",
		[MB_TYPE_INT32] = "INT32", [MB_TYPE_FLOAT] = "REAL",
		[MB_TYPE_DOUBLE] = "REAL", [MB_TYPE_TEXT] = "TEXT",
		[MB_TYPE_BINARY] = "BLOB", [MB_TYPE_DATE] = "DATE",
		[MB_TYPE_TIMESTAMP] = "TIMESTAMP",
		[MB_TYPE_TIMESTAMP_NTZ] = "TIMESTAMP_NTZ",
		[MB_TYPE_DECIMAL] = "NUMERIC", [MB_TYPE_ANY] = "",
	};

	if (t.kind == MB_TYPE_DECIMAL && t.precision > 0)
		mb_buf_addf(sql, "DECIMAL(%u,%u)", t.precision, t.scale);
	else
		mb_buf_adds(sql, names[t.kind]);
}

static bool
contains(const char *upper, const char *word)
{
	return strstr(upper, word) != NULL;
}

/*
 * And back, for tables of any origin: the names above, else what SQLite's
 * rules of affinity make of the declared type.
 */
struct mb_type
mb_sqltext_type(const char *declared)
{
	struct mb_type t = { .kind = MB_TYPE_DECIMAL };
	unsigned precision, scale = 0;
	char upper[64], *paren;
	size_t n = 0;

	for (; declared[n] != '\0' && n < sizeof upper - 1; n++)
		upper[n] = declared[n] >= 'a' && declared[n] <= 'z' ?
		    (char)(declared[n] - 'a' + 'A') : declared[n];
	upper[n] = '\0';
	if (strcmp(upper, "BOOLEAN") == 0 || strcmp(upper, "BOOL") == 0)
		t.kind = MB_TYPE_BOOL;
	else if (strcmp(upper, "DATE") == 0)
		t.kind = MB_TYPE_DATE;
	else if (strcmp(upper, "TIMESTAMP") == 0)
		t.kind = MB_TYPE_TIMESTAMP;
	else if (strcmp(upper, "TIMESTAMP_NTZ") == 0)
		t.kind = MB_TYPE_TIMESTAMP_NTZ;
	else if (strcmp(upper, "INT32") == 0)
		t.kind = MB_TYPE_INT32;
	else if (contains(upper, "INT"))
		t.kind = MB_TYPE_INT;
	else if (contains(upper, "CHAR") || contains(upper, "CLOB") ||
	    contains(upper, "TEXT"))
		t.kind = MB_TYPE_TEXT;
	else if (contains(upper, "BLOB"))
		t.kind = MB_TYPE_BINARY;
	else if (upper[0] == '\0' || strcmp(upper, "ANY") == 0)
		t.kind = MB_TYPE_ANY;
	else if (contains(upper, "REAL") || contains(upper, "FLOA") ||
	    contains(upper, "DOUB"))
		t.kind = MB_TYPE_DOUBLE;
	else if (strncmp(upper, "NUMERIC", 7) != 0 &&
	    strncmp(upper, "DECIMAL", 7) != 0)
		t.kind = MB_TYPE_ANY;	/* DATETIME, MONEY, … */
	else if ((paren = strchr(upper, '(')) != NULL &&
	    sscanf(paren, "(%2u,%2u", &precision, &scale) >= 1 &&
	    precision >= 1 && precision <= MB_DIGITS && scale <= precision) {
		t.precision = (uint8_t)precision;
		t.scale = (uint8_t)scale;
	}
	return t;
}

void
mb_sqltext_put_create(struct mb_buf *sql, const char *table, const char *id,
    const struct mb_columns *columns)
{
	mb_buf_adds(sql, "CREATE TABLE ");
	put_target(sql, table);
	mb_buf_addf(sql, " (/* mb %s */ ", id);
	for (size_t i = 0; i < columns->n; i++) {
		if (i > 0)
			mb_buf_adds(sql, ", ");
		put_name(sql, columns->v[i].name);
		mb_buf_addc(sql, ' ');
		put_declared(sql, columns->v[i].type);
	}
	mb_buf_addc(sql, ')');
}

/* The schema has it without the database's name. */
bool
mb_sqltext_id(char *id, const char *table, const char *schema)
{
	struct mb_buf head = { 0 };
	bool found;

	mb_buf_adds(&head, "CREATE TABLE ");
	put_name(&head, table);
	mb_buf_adds(&head, " (/* mb ");
	found = strncmp(schema, head.p, head.len) == 0 &&
	    strnlen(schema + head.len, MB_HASH_LEN) == MB_HASH_LEN &&
	    mb_is_hex((struct mb_str){ schema + head.len, MB_HASH_LEN },
	    MB_HASH_LEN);
	if (found) {
		memcpy(id, schema + head.len, MB_HASH_LEN);
		id[MB_HASH_LEN] = '\0';
	}
	mb_buf_release(&head);
	return found;
}

void
mb_sqltext_put_key_index(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns)
{
	struct mb_buf name = { 0 }, keys = { 0 };

	mb_buf_addf(&name, "mb_key %s", table);
	for (size_t i = 0; i < columns->n; i++) {
		if (!columns->v[i].is_key)
			continue;
		mb_buf_addf(&name, " %s", columns->v[i].name);
		if (keys.len > 0)
			mb_buf_adds(&keys, ", ");
		put_name(&keys, columns->v[i].name);
	}
	mb_buf_adds(sql, "CREATE INDEX IF NOT EXISTS main.");
	put_name(sql, mb_buf_str(&name));
	mb_buf_adds(sql, " ON ");
	put_name(sql, table);
	mb_buf_addf(sql, " (%s)", mb_buf_str(&keys));
	mb_buf_release(&name);
	mb_buf_release(&keys);
}

void
mb_sqltext_put_create_stage(struct mb_buf *sql,
    const struct mb_columns *columns)
{
	mb_buf_adds(sql, "CREATE TABLE temp.mb_stage (n INTEGER PRIMARY KEY, d");
	for (size_t i = 0; i < columns->n; i++)
		mb_buf_addf(sql, ", c%zu", i);
	mb_buf_addc(sql, ')');
}

void
mb_sqltext_put_widen_stage(struct mb_buf *sql, size_t i)
{
	mb_buf_addf(sql, "ALTER TABLE temp.mb_stage ADD COLUMN c%zu", i);
}

void
mb_sqltext_put_insert_stage(struct mb_buf *sql,
    const struct mb_columns *columns)
{
	mb_buf_adds(sql, "INSERT INTO temp.mb_stage VALUES (NULL");
	mb_buf_addf(sql, ", ?%zu", columns->n + 1);
	for (size_t i = 0; i < columns->n; i++)
		mb_buf_addf(sql, ", ?%zu", i + 1);
	mb_buf_addc(sql, ')');
}

void
mb_sqltext_put_select(struct mb_buf *sql, const struct mb_columns *columns,
    bool with_deletes)
{
	bool is_first = true;

	mb_buf_adds(sql, "SELECT ");
	for (size_t i = 0; i < columns->n; i++) {
		if (!mb_column_is_inserted(&columns->v[i]))
			continue;
		if (!is_first)
			mb_buf_adds(sql, ", ");
		is_first = false;
		mb_buf_addf(sql, columns->v[i].is_guessed ?
		    "mb_typed(c%zu, %zu)" : "c%zu", i, i);
	}
	mb_buf_adds(sql, with_deletes ? ", d FROM temp.mb_stage ORDER BY n" :
	    " FROM temp.mb_stage ORDER BY n");
}

/* INSERT INTO the target and the names of its columns. */
static void
put_insert_into(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns)
{
	bool is_first = true;

	mb_buf_adds(sql, "INSERT INTO ");
	put_target(sql, table);
	mb_buf_adds(sql, " (");
	for (size_t i = 0; i < columns->n; i++) {
		if (!mb_column_is_inserted(&columns->v[i]))
			continue;
		if (!is_first)
			mb_buf_adds(sql, ", ");
		is_first = false;
		put_name(sql, columns->v[i].name);
	}
	mb_buf_adds(sql, ") ");
}

void
mb_sqltext_put_append(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns)
{
	put_insert_into(sql, table, columns);
	mb_sqltext_put_select(sql, columns, false);
}

void
mb_sqltext_put_delete_batch(struct mb_buf *sql, const char *table)
{
	mb_buf_adds(sql, "DELETE FROM ");
	put_target(sql, table);
	mb_buf_adds(sql, " WHERE \"batch\" = ?1");
}

void
mb_sqltext_put_insert(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns)
{
	int n = 0;

	put_insert_into(sql, table, columns);
	mb_buf_adds(sql, "VALUES (");
	for (size_t i = 0; i < columns->n; i++)
		if (mb_column_is_inserted(&columns->v[i])) {
			mb_buf_addf(sql, n > 0 ? ", ?%d" : "?%d", n + 1);
			n++;
		}
	mb_buf_addc(sql, ')');
}

/* What becomes of a column of a row that is there; ?N is the new value. */
static void
put_rule(struct mb_buf *sql, const struct mb_column *c, size_t index, int n)
{
	static const char *const sums[] = {
		[MB_TYPE_INT] = "int", [MB_TYPE_INT32] = "int",
		[MB_TYPE_FLOAT] = "real", [MB_TYPE_DOUBLE] = "real",
		[MB_TYPE_DECIMAL] = "decimal", [MB_TYPE_ANY] = "decimal",
	};
	struct mb_buf name = { 0 };
	const char *q;

	put_name(&name, c->name);
	q = mb_buf_str(&name);
	mb_buf_addf(sql, "%s = ", q);
	switch (c->how) {
	case MB_MERGE_SUM:
		mb_buf_addf(sql, "mb_sum_%s(%s, ?%d, %zu)",
		    sums[c->type.kind], q, n, index);
		break;
	case MB_MERGE_MIN:
	case MB_MERGE_MAX:
		mb_buf_addf(sql, "CASE WHEN ?%d IS NULL OR %s %s ?%d "
		    "THEN %s ELSE ?%d END", n, q,
		    c->how == MB_MERGE_MIN ? "<=" : ">=", n, q, n);
		break;
	default:
		mb_buf_addf(sql, "?%d", n);
		break;
	}
	mb_buf_release(&name);
}

/* The rows with the keys of the values; null is null. */
static void
put_where_keys(struct mb_buf *sql, const struct mb_columns *columns)
{
	const char *sep = " WHERE ";
	int n = 0;

	for (size_t i = 0; i < columns->n; i++) {
		n += mb_column_is_inserted(&columns->v[i]);
		if (!columns->v[i].is_key)
			continue;
		mb_buf_adds(sql, sep);
		put_name(sql, columns->v[i].name);
		mb_buf_addf(sql, " IS ?%d", n);
		sep = " AND ";
	}
}

void
mb_sqltext_put_delete(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns)
{
	mb_buf_adds(sql, "DELETE FROM ");
	put_target(sql, table);
	put_where_keys(sql, columns);
}

void
mb_sqltext_put_update(struct mb_buf *sql, const char *table,
    const struct mb_columns *columns)
{
	size_t n_set = 0;
	int n;

	mb_buf_adds(sql, "UPDATE ");
	put_target(sql, table);
	mb_buf_adds(sql, " SET ");
	n = 0;
	for (size_t i = 0; i < columns->n; i++) {
		const struct mb_column *c = &columns->v[i];

		n += mb_column_is_inserted(c);
		if (!c->is_in_batch || c->is_key || c->how == MB_MERGE_KEEP)
			continue;
		if (n_set++ > 0)
			mb_buf_adds(sql, ", ");
		put_rule(sql, c, i, n);
	}
	/* Nothing to change: but the row must be found. */
	for (size_t i = 0; i < columns->n && n_set == 0; i++)
		if (columns->v[i].is_key) {
			put_name(sql, columns->v[i].name);
			mb_buf_adds(sql, " = ");
			put_name(sql, columns->v[i].name);
			n_set++;
		}
	put_where_keys(sql, columns);
}
