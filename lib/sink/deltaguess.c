#include "sink/deltaguess.h"

#include "sink/cells.h"
#include "sink/deltafiles.h"

/* Only types that are given can be checked; text is UTF-8 in any case. */
static const char *
check(const struct mb_columns *columns, const struct mb_deltashape *shape,
    size_t i, struct mb_value v)
{
	const struct mb_column *c = &columns->v[i];
	struct mb_cell cell;
	const char *why = NULL;

	if (i < shape->n_there)
		return mb_deltafiles_check(shape->there[i], c->type, v);
	if (!c->is_guessed)
		why = mb_cell_set(&cell, c->type, v);
	if (why == NULL && c->type.kind != MB_TYPE_BINARY &&
	    !mb_is_utf8(mb_value_str(v)))
		why = "not UTF-8";
	return why;
}

const char *
mb_deltaguess_row(struct mb_columns *columns,
    const struct mb_deltashape *shape, const struct mb_value *values,
    size_t *column)
{
	struct mb_column *c = columns->v;
	const char *why;

	for (size_t i = 0; i < columns->n; i++) {
		if (!c[i].is_in_batch)
			continue;
		why = check(columns, shape, i, values[i]);
		if (why != NULL) {
			*column = i;
			return why;
		}
	}
	for (size_t i = 0; i < columns->n; i++)
		if (c[i].is_guessed && c[i].is_in_batch)
			mb_guess_add(&c[i].guess, values[i]);
	return NULL;
}

bool
mb_deltaguess_rows(struct mb_columns *columns,
    const struct mb_deltashape *shape, const struct mb_intake_rows *rows)
{
	struct mb_views v = { .isa = rows->isa, .base = rows->base,
		.n = rows->n, .is_ascii = mb_is_ascii(rows->raw) };
	struct mb_column *c = columns->v;
	struct mb_cells cells;

	for (size_t i = 0; i < columns->n; i++) {
		struct mb_type type = c[i].type;

		v.v = rows->view[i];
		if (v.v == NULL)
			continue;
		if (c[i].is_guessed)
			type.kind = MB_TYPE_TEXT;
		if (i < shape->n_there ? !mb_deltafiles_check_views(
		    shape->there[i], type, v) : !mb_cells_set(&cells, type, v))
			return false;
	}
	for (size_t i = 0; i < columns->n; i++) {
		v.v = rows->view[i];
		if (v.v != NULL && c[i].is_guessed)
			mb_guess_add_views(&c[i].guess, v);
	}
	return true;
}
