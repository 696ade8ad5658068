#include "sink/sqlstage.h"

#include "sink/sqltext.h"

/*
 * While a column's type is being inferred its values are staged as a byte
 * that tells their kind and the bytes; mb_typed makes values of them.
 */
static char
tag_of(enum mb_kind kind)
{
	return (char)('0' + (int)kind);
}

/* mb_typed(tagged, column) */
static int
call_typed(void *arg, struct mb_sqlvalue *out, const struct mb_sqlvalue *args,
    struct mb_err *err)
{
	const struct mb_sqlstage *s = arg;
	const struct mb_column *c = &s->columns->v[args[1].i];
	struct mb_str tagged = args[0].bytes;
	struct mb_value v = mb_value_null();
	const char *why;

	if (args[0].kind != MB_SQL_NULL)
		v = (struct mb_value){ .p = tagged.p + 1,
			.len = tagged.len - 1,
			.kind = (enum mb_kind)(*tagged.p - '0') };
	why = mb_sqlvalue_set(out, c, s->table->is_strict, v);
	return why == NULL ? 0 : mb_fail(err, MB_EDATA, "%s", why);
}

/*
 * mb_sum_int, mb_sum_real and mb_sum_decimal(there, added, column).  Null is
 * skipped.
 */
static int
call_sum(const struct mb_sqlstage *s, struct mb_sqlvalue *out,
    const struct mb_sqlvalue *args, mb_sqlvalue_sum_fn *add_up,
    struct mb_err *err)
{
	for (int i = 0; i < 2; i++)
		if (args[i].kind == MB_SQL_NULL) {
			*out = args[1 - i];
			return 0;
		}
	if (add_up(out, &args[0], &args[1], err) < 0)
		return mb_wrap(err, "sum of column %.100s",
		    s->columns->v[args[2].i].name);
	return 0;
}

static int
call_sum_int(void *arg, struct mb_sqlvalue *out,
    const struct mb_sqlvalue *args, struct mb_err *err)
{
	return call_sum(arg, out, args, mb_sqlvalue_sum_int, err);
}

static int
call_sum_real(void *arg, struct mb_sqlvalue *out,
    const struct mb_sqlvalue *args, struct mb_err *err)
{
	return call_sum(arg, out, args, mb_sqlvalue_sum_real, err);
}

static int
call_sum_decimal(void *arg, struct mb_sqlvalue *out,
    const struct mb_sqlvalue *args, struct mb_err *err)
{
	return call_sum(arg, out, args, mb_sqlvalue_sum_decimal, err);
}

int
mb_sqlstage_open(struct mb_sqlstage *s, struct mb_sqldb *db,
    struct mb_err *err)
{
	static const struct mb_sqldb_function functions[] = {
		{ "mb_typed", 2, call_typed },
		{ "mb_sum_int", 3, call_sum_int },
		{ "mb_sum_real", 3, call_sum_real },
		{ "mb_sum_decimal", 3, call_sum_decimal },
	};

	s->db = db;
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		if (mb_sqldb_define(db, &functions[i], s, err) < 0)
			return -1;
	return 0;
}

static void
close_insert(struct mb_sqlstage *s)
{
	mb_statement_close(s->insert);
	s->insert = NULL;
}

void
mb_sqlstage_release(struct mb_sqlstage *s)
{
	close_insert(s);
	mb_buf_release(&s->tagged);
}

/*
 * Staging.
 */

/* An empty temp.mb_stage as wide as the columns. */
static int
clear(struct mb_sqlstage *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };

	if (s->n_columns == s->columns->n && s->n_columns > 0)
		return mb_sqldb_run(s->db, "DELETE FROM temp.mb_stage", err);
	close_insert(s);
	s->n_columns = 0;
	if (mb_sqldb_run(s->db, "DROP TABLE IF EXISTS temp.mb_stage",
	    err) < 0)
		return -1;
	mb_sqltext_put_create_stage(&sql, s->columns);
	if (mb_sqldb_run_text(s->db, &sql, err) < 0)
		return -1;
	s->n_columns = s->columns->n;
	return 0;
}

/* ndjson: columns turn up as records come. */
static int
widen(struct mb_sqlstage *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };

	close_insert(s);
	for (; s->n_columns < s->columns->n; s->n_columns++) {
		mb_sqltext_put_widen_stage(&sql, s->n_columns);
		if (mb_sqldb_run_text(s->db, &sql, err) < 0)
			return -1;
	}
	return 0;
}

int
mb_sqlstage_begin(struct mb_sqlstage *s, struct mb_err *err)
{
	s->n_rows = 0;
	if (clear(s, err) < 0)
		return -1;
	return mb_sqldb_run(s->db, "BEGIN", err);
}

static int
prepare_insert(struct mb_sqlstage *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };

	mb_sqltext_put_insert_stage(&sql, s->columns);
	return mb_statement_open_text(&s->insert, s->db, &sql, err);
}

static bool
bind_tagged(struct mb_sqlstage *s, int i, struct mb_value v)
{
	struct mb_sqlvalue out = { .kind = MB_SQL_NULL };

	if (v.kind != MB_NULL) {
		mb_buf_reset(&s->tagged);
		mb_buf_addc(&s->tagged, tag_of(v.kind));
		mb_buf_add(&s->tagged, v.p, v.len);
		out.kind = MB_SQL_BLOB;
		out.bytes = (struct mb_str){ s->tagged.p, s->tagged.len };
	}
	return mb_statement_bind_copy(s->insert, i, &out);
}

/* NULL, or why not. */
static const char *
bind_value(struct mb_sqlstage *s, int i, const struct mb_column *c,
    struct mb_value v)
{
	struct mb_sqlvalue out = { .kind = MB_SQL_NULL };
	const char *why;
	bool fits;

	if (!c->is_in_batch) {
		fits = mb_statement_bind(s->insert, i, &out);
	} else if (c->is_guessed) {
		fits = bind_tagged(s, i, v);
	} else {
		why = mb_sqlvalue_set(&out, c, s->table->is_strict, v);
		if (why != NULL)
			return why;
		fits = mb_statement_bind(s->insert, i, &out);
	}
	return fits ? NULL : "too long";
}

int
mb_sqlstage_set(struct mb_sqlstage *s, const struct mb_value *values,
    size_t *column, const char **why, struct mb_err *err)
{
	if (s->n_columns < s->columns->n && widen(s, err) < 0)
		return -1;
	if (s->insert == NULL && prepare_insert(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->columns->n; i++) {
		*why = bind_value(s, (int)i + 1, &s->columns->v[i], values[i]);
		if (*why != NULL) {
			*column = i;
			return 0;
		}
	}
	return 1;
}

int
mb_sqlstage_add(struct mb_sqlstage *s, bool deletes, struct mb_err *err)
{
	mb_statement_bind_number(s->insert, (int)s->columns->n + 1, deletes);
	if (mb_statement_next(s->insert, err) < 0)
		return -1;
	mb_statement_reset(s->insert);
	s->n_rows++;
	return 0;
}

int
mb_sqlstage_end(struct mb_sqlstage *s, struct mb_err *err)
{
	mb_statement_reset(s->insert);
	if (mb_sqldb_is_in_transaction(s->db))
		return mb_sqldb_run(s->db, "COMMIT", err);
	return 0;
}

void
mb_sqlstage_abort(struct mb_sqlstage *s)
{
	struct mb_err err = { 0 };

	mb_statement_reset(s->insert);
	mb_sqldb_rollback(s->db);
	s->n_rows = 0;
	/* Rows that can't be deleted now are, or fail, at the next begin. */
	if (s->n_columns > 0 &&
	    mb_sqldb_run(s->db, "DELETE FROM temp.mb_stage", &err) < 0)
		return;
}

int
mb_sqlstage_is_all(struct mb_sqlstage *s, size_t column, uint64_t number,
    struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	struct mb_statement *st;
	int rc;

	mb_buf_addf(&sql, "SELECT 1 FROM temp.mb_stage WHERE c%zu IS NOT ?1",
	    column);
	if (mb_statement_open_text(&st, s->db, &sql, err) < 0)
		return -1;
	mb_statement_bind_number(st, 1, number);
	rc = mb_statement_next(st, err);
	mb_statement_close(st);
	return rc < 0 ? -1 : rc == 0;
}

/*
 * Into the table.
 */
int
mb_sqlstage_append(struct mb_sqlstage *s, struct mb_err *err)
{
	struct mb_buf sql = { 0 };

	mb_sqltext_put_append(&sql, s->table->name, s->columns);
	return mb_sqldb_run_text(s->db, &sql, err);
}

/* The statements that rows are merged by. */
struct merge {
	struct mb_statement *row, *update, *insert, *delete;
};

static int
open_merge(struct merge *m, struct mb_sqlstage *s, struct mb_err *err)
{
	const char *table = s->table->name;
	struct mb_buf sql = { 0 };

	mb_sqltext_put_select(&sql, s->columns, true);
	if (mb_statement_open_text(&m->row, s->db, &sql, err) < 0)
		return -1;
	mb_sqltext_put_update(&sql, table, s->columns);
	if (mb_statement_open_text(&m->update, s->db, &sql, err) < 0)
		return -1;
	mb_sqltext_put_insert(&sql, table, s->columns);
	if (mb_statement_open_text(&m->insert, s->db, &sql, err) < 0)
		return -1;
	mb_sqltext_put_delete(&sql, table, s->columns);
	return mb_statement_open_text(&m->delete, s->db, &sql, err);
}

static void
close_merge(struct merge *m)
{
	mb_statement_close(m->row);
	mb_statement_close(m->update);
	mb_statement_close(m->insert);
	mb_statement_close(m->delete);
}

/* How many rows it has changed, or -1. */
static int
run_with(struct mb_sqlstage *s, struct mb_statement *st,
    struct mb_statement *row, struct mb_err *err)
{
	int rc;

	mb_statement_bind_row(st, row);
	rc = mb_statement_next(st, err);
	mb_statement_reset(st);
	return rc < 0 ? -1 : mb_sqldb_n_changes(s->db);
}

static int
fail_twice(const struct mb_sqlstage *s, struct mb_statement *row, int times,
    struct mb_err *err)
{
	struct mb_buf keys = { 0 };
	int i = 0;

	for (size_t c = 0; c < s->columns->n; c++) {
		int k = i;

		i += mb_column_is_inserted(&s->columns->v[c]);
		if (!s->columns->v[c].is_key)
			continue;
		mb_buf_addf(&keys, "%s%s ", keys.len > 0 ? ", " : "",
		    s->columns->v[c].name);
		if (mb_statement_is_null(row, k))
			mb_buf_adds(&keys, "null");
		else
			mb_buf_addf(&keys, "\"%.60s\"",
			    mb_statement_text(row, k));
	}
	mb_fail(err, MB_EDATA, "%s: can't merge into it: the key %s is there "
	    "%d times", s->table->place, mb_buf_str(&keys), times);
	mb_buf_release(&keys);
	return -1;
}

static int
merge_row(struct mb_sqlstage *s, const struct merge *m, struct mb_err *err)
{
	bool deletes = mb_statement_number(m->row,
	    mb_statement_width(m->row) - 1) != 0;
	int n = run_with(s, deletes ? m->delete : m->update, m->row, err);

	if (n > 1)
		return fail_twice(s, m->row, n, err);
	if (n == 0 && !deletes)
		n = run_with(s, m->insert, m->row, err);
	return n < 0 ? -1 : 0;
}

int
mb_sqlstage_merge(struct mb_sqlstage *s, struct mb_err *err)
{
	struct merge m = { 0 };
	int rc = open_merge(&m, s, err);

	while (rc == 0 && (rc = mb_statement_next(m.row, err)) > 0)
		rc = merge_row(s, &m, err);
	close_merge(&m);
	return rc;
}
