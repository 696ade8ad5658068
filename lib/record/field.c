#include "record/field.h"

#include <stdlib.h>

int
mb_field_take(struct mb_str *text, struct mb_str *out, struct mb_err *err)
{
	const char *p = text->p, *end = text->p + text->len;

	if (p < end && *p == '{') {
		out->p = ++p;
		while (p < end && *p != '}')
			p++;
		if (p == end)
			return mb_fail(err, MB_EUSAGE, "\"{%.*s\": no closing "
			    "brace", (int)(end - out->p), out->p);
		out->len = (size_t)(p - out->p);
		p++;
	} else {
		out->p = p;
		while (p < end && strchr(",:={ \t", *p) == NULL)
			p++;
		out->len = (size_t)(p - out->p);
		if (out->len == 0)
			return mb_fail(err, MB_EUSAGE, "a field is missing "
			    "before \"%.*s\"", (int)text->len, text->p);
	}
	text->len -= (size_t)(p - text->p);
	text->p = p;
	return 0;
}

int
mb_field_next(struct mb_str *list, struct mb_str *name, struct mb_str *field,
    struct mb_err *err)
{
	*name = (struct mb_str){ 0 };
	if (list->len == 0)
		return 0;
	if (mb_field_take(list, field, err) < 0)
		return -1;
	if (list->len > 0 && *list->p == '=') {
		list->p++;
		list->len--;
		*name = *field;
		if (mb_field_take(list, field, err) < 0)
			return -1;
	}
	if (list->len == 0)
		return 1;
	if (*list->p != ',')
		return mb_fail(err, MB_EUSAGE, "\"%.*s\": expected a comma "
		    "(a name with `, : = {` or a blank stands in braces)",
		    (int)list->len, list->p);
	list->p++;
	list->len--;
	if (list->len == 0)
		return mb_fail(err, MB_EUSAGE, "a field is missing after the "
		    "last comma");
	return 1;
}

size_t
mb_field_set_add(struct mb_field_set *set, struct mb_str field)
{
	for (size_t i = 0; i < set->n; i++)
		if (mb_str_eq(set->v[i], field))
			return i;
	if (set->n == set->cap) {
		set->cap = set->cap == 0 ? 8 : set->cap * 2;
		set->v = mb_realloc_array(set->v, set->cap, sizeof *set->v);
	}
	set->v[set->n] = field;
	return set->n++;
}

void
mb_field_set_release(struct mb_field_set *set)
{
	free(set->v);
	*set = (struct mb_field_set){ 0 };
}
