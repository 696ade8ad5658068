/*
 * field.h - FIELD on the command line, and the set of fields that are wanted.
 *
 * FIELD is a name, in braces if it holds `, : = {` or a blank (cli.md).  What
 * comes out is without braces; whether it is a name, a path or a position is
 * decided by the reader, who knows the header.
 */
#ifndef MB_RECORD_FIELD_H
#define MB_RECORD_FIELD_H

#include <stdbool.h>

#include "base/mem.h"

/*
 * Take a FIELD from the front of *text.  MB_EUSAGE: there is none; what is
 * wrong is told, and where is left to the caller.
 */
MB_CHECK int mb_field_take(struct mb_str *text, struct mb_str *out,
    struct mb_err *err);

/*
 * The next item of a comma-joined list of `[NAME=]FIELD`; name.p is NULL
 * where there is none.  1 an item, 0 the end.
 */
MB_CHECK int mb_field_next(struct mb_str *list, struct mb_str *name,
    struct mb_str *field, struct mb_err *err);

/* Fields, each once; {0} is empty.  The texts are borrowed. */
struct mb_field_set {
	struct mb_str *v;
	size_t n, cap;
};

size_t mb_field_set_add(struct mb_field_set *set, struct mb_str field);
void mb_field_set_release(struct mb_field_set *set);

#endif
