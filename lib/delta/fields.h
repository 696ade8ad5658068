/*
 * fields.h - a JSON object of the log: its members by name.
 *
 * The log is written by many engines, so nothing of it is believed: a member
 * that is absent, null or of another type than is asked for is simply not
 * there, and what is not asked for is ignored.  Values keep their text; a
 * number is never too long, and what is copied is copied as it stands.
 */
#ifndef MB_DELTA_FIELDS_H
#define MB_DELTA_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "record/json.h"

struct mb_fields {
	struct mb_json_members m;
};

/*
 * The text must be one object; it is borrowed.  May be set again.  NULL, or
 * why it is none (a constant).
 */
MB_CHECK const char *mb_fields_set(struct mb_fields *f, struct mb_str text);
void mb_fields_release(struct mb_fields *f);

/* The value as it stands; false if it is absent or null. */
bool mb_fields_get(const struct mb_fields *f, const char *name,
    struct mb_json *out);

/* A string, decoded; *out is replaced. */
bool mb_fields_text(const struct mb_fields *f, const char *name,
    struct mb_buf *out);
/* A string as a new NUL-terminated one, which the caller frees. */
bool mb_fields_dup(const struct mb_fields *f, const char *name, char **out);
/* A whole number of 64 bits. */
bool mb_fields_int(const struct mb_fields *f, const char *name, int64_t *out);
bool mb_fields_bool(const struct mb_fields *f, const char *name, bool *out);
/* An object or array, as text. */
bool mb_fields_raw(const struct mb_fields *f, const char *name, char open,
    struct mb_str *out);

/* The same of a value that is at hand. */
bool mb_json_text(const struct mb_json *v, struct mb_buf *out);
bool mb_json_int(const struct mb_json *v, int64_t *out);

/* Append `"name":`, with a comma before it unless it is the first. */
void mb_put_name(struct mb_buf *b, const char *name);
void mb_put_text(struct mb_buf *b, const char *name, struct mb_str value);
void mb_put_int(struct mb_buf *b, const char *name, int64_t value);
void mb_put_bool(struct mb_buf *b, const char *name, bool value);

#endif
