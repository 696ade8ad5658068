/*
 * value.h - one field of a record: borrowed bytes and what they are.
 */
#ifndef MB_RECORD_VALUE_H
#define MB_RECORD_VALUE_H

#include <stdbool.h>

#include "base/mem.h"

/* A record of more fields, a header of more names, is bad. */
enum { MB_MAX_FIELDS = 65536 };

enum mb_kind {
	MB_NULL,	/* len 0: unquoted empty, JSON null, absent, --null */
	MB_PLAIN,	/* a csv or tsv field, unquoted and unescaped: a number
			   if it reads as one */
	MB_TEXT,	/* a JSON string, decoded; a line */
	MB_NUMBER,	/* a JSON number, as it is written */
	MB_JSON,	/* true, false, an object or array: compact JSON */
};

/* MB_PLAIN or MB_TEXT of len 0 is empty text: null where a number is needed. */
struct mb_value {
	const char *p;		/* not NUL-terminated; never NULL */
	size_t len;
	enum mb_kind kind;
};

static inline struct mb_str
mb_value_str(struct mb_value v)
{
	return (struct mb_str){ v.p, v.len };
}

static inline struct mb_value
mb_value_null(void)
{
	return (struct mb_value){ "", 0, MB_NULL };
}

/* JSON true or false? */
static inline bool
mb_value_is_bool(struct mb_value v)
{
	return v.kind == MB_JSON && (v.p[0] == 't' || v.p[0] == 'f');
}

#endif
