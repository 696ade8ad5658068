#include "agg/query.h"

#include <stdlib.h>

#include "agg/accum.h"
#include "agg/expr.h"

static const char *const op_names[] = {
	[MB_COUNT] = "count", [MB_DISTINCT] = "distinct", [MB_FIRST] = "first",
	[MB_LAST] = "last", [MB_SUM] = "sum", [MB_AVG] = "avg",
	[MB_MIN] = "min", [MB_MAX] = "max", [MB_VAR] = "var",
	[MB_STDDEV] = "stddev",
};

enum { N_OPS = sizeof op_names / sizeof *op_names };

const char *
mb_agg_op_name(enum mb_agg_op op)
{
	return op_names[op];
}

bool
mb_query_aggregates(const struct mb_query *q)
{
	return q->n_aggs > 0 || q->n_keys > 0;
}

static const char *
keep(struct mb_query *q, struct mb_str s)
{
	return mb_arena_dup(&q->arena, s.p, s.len);
}

int
mb_query_add_keys(struct mb_query *q, const char *list, struct mb_err *err)
{
	struct mb_str rest = mb_str(list), name, field;
	const char *text;
	int rc;

	while ((rc = mb_field_next(&rest, &name, &field, err)) > 0) {
		text = keep(q, field);
		q->keys = mb_realloc_array(q->keys, q->n_keys + 1,
		    sizeof *q->keys);
		q->keys[q->n_keys++] = (struct mb_key){
			.name = name.p != NULL ? keep(q, name) : text,
			.field = mb_field_set_add(&q->fields,
			    (struct mb_str){ text, field.len }),
		};
	}
	if (rc == 0 && *list == '\0')
		return mb_fail(err, MB_EUSAGE, "a field is missing");
	return rc;
}

static int
find_op(enum mb_agg_op *out, struct mb_str name, struct mb_err *err)
{
	for (int i = 0; i < N_OPS; i++)
		if (mb_str_eq(name, mb_str(op_names[i]))) {
			*out = (enum mb_agg_op)i;
			return 0;
		}
	return mb_fail(err, MB_EUSAGE, "\"%.*s\": no such aggregate (there "
	    "are count distinct first last sum avg min max var stddev)",
	    (int)name.len, name.p);
}

static enum mb_slot_kind
slot_kind(enum mb_agg_op op, bool has_field)
{
	switch (op) {
	case MB_COUNT:
		return has_field ? MB_SLOT_VALUES : MB_SLOT_RECORDS;
	case MB_DISTINCT:
		return MB_SLOT_DISTINCT;
	case MB_FIRST:
		return MB_SLOT_FIRST;
	case MB_LAST:
		return MB_SLOT_LAST;
	case MB_SUM:
	case MB_AVG:
		return MB_SLOT_SUM;
	case MB_VAR:
	case MB_STDDEV:
		return MB_SLOT_MOMENTS;
	case MB_MIN:
	case MB_MAX:
		break;
	}
	return MB_SLOT_RANGE;
}

static bool
is_of_numbers(enum mb_slot_kind kind)
{
	return kind >= MB_SLOT_SUM;
}

/* The slot of this kind and field, made if it isn't there. */
static size_t
find_slot(struct mb_query *q, enum mb_slot_kind kind, size_t field)
{
	struct mb_slot *s;
	size_t i;

	for (i = 0; i < q->n_slots; i++) {
		s = &q->slots[i];
		if (s->field != field)
			continue;
		if (s->kind == kind ||
		    (s->kind == MB_SLOT_MOMENTS && kind == MB_SLOT_SUM))
			return i;
		/* Moments contain the sum. */
		if (s->kind == MB_SLOT_SUM && kind == MB_SLOT_MOMENTS) {
			s->kind = kind;
			return i;
		}
	}
	q->slots = mb_realloc_array(q->slots, q->n_slots + 1,
	    sizeof *q->slots);
	s = &q->slots[q->n_slots];
	*s = (struct mb_slot){ .kind = kind, .field = field };
	if (is_of_numbers(kind)) {
		for (i = 0; i < q->n_numbers && q->numbers[i] != field; i++)
			;
		if (i == q->n_numbers) {
			q->numbers = mb_realloc_array(q->numbers,
			    q->n_numbers + 1, sizeof *q->numbers);
			q->numbers[q->n_numbers++] = field;
		}
		s->number = i;
	}
	return q->n_slots++;
}

static int
add_aggregate(struct mb_query *q, struct mb_str name, struct mb_str op_name,
    struct mb_str field, struct mb_err *err)
{
	struct mb_aggregate agg = { 0 };
	struct mb_buf column = { 0 };
	size_t index = SIZE_MAX;
	bool has_field = field.p != NULL;

	if (find_op(&agg.op, op_name, err) < 0)
		return -1;
	if (!has_field && agg.op != MB_COUNT)
		return mb_fail(err, MB_EUSAGE, "%s: of which field? (%s:FIELD)",
		    op_names[agg.op], op_names[agg.op]);
	if (has_field) {
		agg.field_name = keep(q, field);
		index = mb_field_set_add(&q->fields,
		    (struct mb_str){ agg.field_name, field.len });
	}
	if (name.p != NULL) {
		agg.name = keep(q, name);
	} else if (!has_field) {
		agg.name = op_names[agg.op];
	} else {
		mb_buf_add(&column, field.p, field.len);
		mb_buf_addc(&column, '_');
		mb_buf_adds(&column, op_names[agg.op]);
		agg.name = keep(q, (struct mb_str){ column.p, column.len });
		mb_buf_release(&column);
	}
	agg.slot = find_slot(q, slot_kind(agg.op, has_field), index);
	q->aggs = mb_realloc_array(q->aggs, q->n_aggs + 1, sizeof *q->aggs);
	q->aggs[q->n_aggs++] = agg;
	return 0;
}

/* [NAME=]OP[:FIELD], joined by commas. */
int
mb_query_add_aggregates(struct mb_query *q, const char *list,
    struct mb_err *err)
{
	struct mb_str rest = mb_str(list), name, op, field;

	for (;;) {
		name = field = (struct mb_str){ 0 };
		if (mb_field_take(&rest, &op, err) < 0)
			return -1;
		if (rest.len > 0 && *rest.p == '=') {
			name = op;
			rest = (struct mb_str){ rest.p + 1, rest.len - 1 };
			if (mb_field_take(&rest, &op, err) < 0)
				return -1;
		}
		if (rest.len > 0 && *rest.p == ':') {
			rest = (struct mb_str){ rest.p + 1, rest.len - 1 };
			if (mb_field_take(&rest, &field, err) < 0)
				return -1;
		}
		if (add_aggregate(q, name, op, field, err) < 0)
			return -1;
		if (rest.len == 0)
			return 0;
		if (*rest.p != ',')
			return mb_fail(err, MB_EUSAGE, "\"%.*s\": expected a "
			    "comma (a name with `, : = {` or a blank stands "
			    "in braces)", (int)rest.len, rest.p);
		rest = (struct mb_str){ rest.p + 1, rest.len - 1 };
	}
}

int
mb_query_set_where(struct mb_query *q, const char *text, struct mb_err *err)
{
	struct mb_expr *e;

	if (q->where != NULL)
		return mb_fail(err, MB_EUSAGE, "given twice (join them with "
		    "and)");
	/* Each thread opens its own later; here it is checked. */
	if (mb_expr_open(&e, text, &q->fields, err) < 0)
		return -1;
	mb_expr_close(e);
	q->where = text;
	return 0;
}

static int
check_names(const struct mb_query *q, const char *const *stamps,
    size_t n_stamps, struct mb_err *err)
{
	size_t n = n_stamps + q->n_keys + q->n_aggs;
	const char **names = mb_realloc_array(NULL, n, sizeof *names);
	int rc = 0;

	n = 0;
	for (size_t i = 0; i < n_stamps; i++)
		names[n++] = stamps[i];
	for (size_t i = 0; i < q->n_keys; i++)
		names[n++] = q->keys[i].name;
	for (size_t i = 0; i < q->n_aggs; i++)
		names[n++] = q->aggs[i].name;
	for (size_t i = 0; i < n && rc == 0; i++)
		for (size_t k = 0; k < i && rc == 0; k++)
			if (strcmp(names[i], names[k]) == 0)
				rc = mb_fail(err, MB_EUSAGE, "two columns "
				    "are called \"%s\" (name one: NAME=…)",
				    names[i]);
	free(names);
	return rc;
}

int
mb_query_finish(struct mb_query *q, const char *const *stamps,
    size_t n_stamps, struct mb_err *err)
{
	if (q->n_keys > 0 && q->n_aggs == 0 &&
	    mb_query_add_aggregates(q, "count", err) < 0)
		return -1;
	if (mb_query_aggregates(q) &&
	    check_names(q, stamps, n_stamps, err) < 0)
		return -1;
	for (size_t i = 0; i < q->n_slots; i++) {
		q->slots[i].off = q->state_size;
		q->state_size += mb_accum_size(q->slots[i].kind);
	}
	return 0;
}

void
mb_query_release(struct mb_query *q)
{
	mb_field_set_release(&q->fields);
	free(q->keys);
	free(q->aggs);
	free(q->slots);
	free(q->numbers);
	mb_arena_release(&q->arena);
	*q = (struct mb_query){ 0 };
}
