#include "sink/options.h"

#include <stdlib.h>

#include "record/field.h"
#include "sink/rows.h"

static const char *
keep(struct mb_arena *a, struct mb_str s)
{
	return mb_arena_dup(a, s.p, s.len);
}

/* A list of fields takes the place of the former one, if there was one. */
static int
parse_fields(const char *const **out, size_t *n_out, struct mb_arena *a,
    const char *arg, struct mb_err *err)
{
	struct mb_str list = mb_str(arg), name, field;
	const char **fields = NULL;
	size_t n = 0;
	int rc;

	while ((rc = mb_field_next(&list, &name, &field, err)) > 0) {
		if (name.p != NULL) {
			rc = mb_fail(err, MB_EUSAGE, "takes no NAME=");
			break;
		}
		fields = mb_realloc_array(fields, n + 1, sizeof *fields);
		fields[n++] = keep(a, field);
	}
	if (rc == 0 && n == 0)
		rc = mb_fail(err, MB_EUSAGE, "names no field");
	free((void *)*out);
	*out = fields;
	*n_out = n;
	return rc < 0 ? -1 : 0;
}

int
mb_sink_parse_merge_on(struct mb_sink_options *o, struct mb_arena *a,
    const char *arg, struct mb_err *err)
{
	return parse_fields(&o->merge_on, &o->n_merge_on, a, arg, err);
}

int
mb_sink_parse_partition_by(struct mb_sink_options *o, struct mb_arena *a,
    const char *arg, struct mb_err *err)
{
	return parse_fields(&o->partition_by, &o->n_partition_by, a, arg, err);
}

/*
 * The next "FIELD:WHAT" of a list; a comma in parentheses belongs to WHAT.
 * 1 an item, 0 the end.
 */
static int
next_pair(struct mb_str *list, struct mb_str *field, struct mb_str *what,
    struct mb_err *err)
{
	size_t n = 0;
	bool is_inside = false;

	if (list->len == 0)
		return 0;
	if (mb_field_take(list, field, err) < 0)
		return -1;
	if (list->len == 0 || list->p[0] != ':')
		return mb_fail(err, MB_EUSAGE, "%.*s: not COLUMN:WHAT",
		    (int)field->len, field->p);
	list->p++;
	list->len--;
	for (; n < list->len && (is_inside || list->p[n] != ','); n++)
		if (list->p[n] == '(')
			is_inside = true;
		else if (list->p[n] == ')')
			is_inside = false;
	*what = (struct mb_str){ list->p, n };
	if (n < list->len)
		n++;	/* the comma */
	list->p += n;
	list->len -= n;
	return 1;
}

int
mb_sink_parse_merge(struct mb_sink_options *o, struct mb_arena *a,
    const char *arg, struct mb_err *err)
{
	static const char *const hows[] = {
		[MB_MERGE_REPLACE] = "replace", [MB_MERGE_SUM] = "sum",
		[MB_MERGE_MIN] = "min", [MB_MERGE_MAX] = "max",
		[MB_MERGE_KEEP] = "keep",
	};
	enum { HOWS = sizeof hows / sizeof *hows };
	struct mb_str list = mb_str(arg), field, how;
	struct mb_merge_column *columns = NULL;
	size_t n = 0, k;
	int rc;

	while ((rc = next_pair(&list, &field, &how, err)) > 0) {
		for (k = 0; k < HOWS; k++)
			if (mb_str_eq(mb_str(hows[k]), how))
				break;
		if (k == HOWS) {
			rc = mb_fail(err, MB_EUSAGE, "%.*s: replace, sum, "
			    "min, max or keep, not \"%.*s\"", (int)field.len,
			    field.p, (int)how.len, how.p);
			break;
		}
		columns = mb_realloc_array(columns, n + 1, sizeof *columns);
		columns[n++] = (struct mb_merge_column){
			keep(a, field), (enum mb_merge_how)k
		};
	}
	free((void *)o->merge);
	o->merge = columns;
	o->n_merge = n;
	return rc < 0 ? -1 : 0;
}

int
mb_sink_parse_schema(struct mb_sink_options *o, struct mb_arena *a,
    const char *arg, struct mb_err *err)
{
	struct mb_str list = mb_str(arg), field, type;
	struct mb_schema_column *columns = NULL;
	struct mb_type parsed;
	size_t n = 0;
	int rc;

	while ((rc = next_pair(&list, &field, &type, err)) > 0) {
		struct mb_schema_column column = {
			keep(a, field), keep(a, type)
		};

		if (mb_type_parse(&parsed, column.type, err) < 0) {
			rc = mb_wrap(err, "%s", column.name);
			break;
		}
		columns = mb_realloc_array(columns, n + 1, sizeof *columns);
		columns[n++] = column;
	}
	free((void *)o->schema);
	o->schema = columns;
	o->n_schema = n;
	return rc < 0 ? -1 : 0;
}

int
mb_sink_parse_on_bad(enum mb_on_bad *out, const char *arg, struct mb_err *err)
{
	if (strcmp(arg, "reject") == 0)
		*out = MB_BAD_REJECT;
	else if (strcmp(arg, "skip") == 0)
		*out = MB_BAD_SKIP;
	else if (strcmp(arg, "fail") == 0)
		*out = MB_BAD_FAIL;
	else
		return mb_fail(err, MB_EUSAGE,
		    "reject, skip or fail, not \"%s\"", arg);
	return 0;
}

void
mb_sink_add_null(struct mb_sink_options *o, const char *text)
{
	const char **nulls = mb_realloc_array((void *)o->nulls,
	    o->n_nulls + 1, sizeof *nulls);

	nulls[o->n_nulls++] = text;
	o->nulls = nulls;
}

void
mb_sink_options_release(struct mb_sink_options *o)
{
	free((void *)o->merge_on);
	free((void *)o->partition_by);
	free((void *)o->merge);
	free((void *)o->schema);
	free((void *)o->nulls);
	*o = (struct mb_sink_options){ 0 };
}
