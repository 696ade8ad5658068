/*
 * json.h - JSON as text: valid or not, and where things are.
 *
 * RFC 8259 as jansson reads it: strict UTF-8, no lone surrogates, no bare
 * control characters.  Unlike jansson numbers stay text, so none is too long
 * or too precise, and \u0000 is a byte like another.  Nothing recurses.
 */
#ifndef MB_RECORD_JSON_H
#define MB_RECORD_JSON_H

#include <stdbool.h>

#include "record/value.h"

enum { MB_JSON_DEPTH = 64 };	/* an object in an object is 2 deep */

/*
 * A value where it stands in valid JSON.
 */
struct mb_json {
	struct mb_str text;	/* a string without its quotes */
	enum mb_kind kind;	/* never MB_PLAIN */
	bool has_escapes;	/* a string with a backslash in it */
};

struct mb_json_member {
	struct mb_str key;	/* without quotes, not decoded */
	bool key_has_escapes;
	struct mb_json value;
};

/* The members of an object in order, equal keys and all; {0} is empty. */
struct mb_json_members {
	struct mb_json_member *v;
	size_t n, cap;
};

/*
 * Take apart a text that must be one object, blanks around it allowed.  NULL,
 * or why it is bad (a constant).  The members are borrowed from the text.
 */
MB_CHECK const char *mb_json_object(struct mb_json_members *out,
    struct mb_str text);
void mb_json_members_release(struct mb_json_members *m);

/*
 * Take a value that is neither an object nor an array from the front of
 * [p, end): where it goes on, or NULL if it is bad.
 */
const char *mb_json_scalar(struct mb_json *out, const char *p,
    const char *end);

/*
 * Follow a path such as "id" or "tags.0" into an object or array; the last of
 * equal keys counts.  False: there is no such thing.
 */
bool mb_json_path(struct mb_json *out, const struct mb_json *in,
    struct mb_str path);

/*
 * The next element of a valid array, whose text *rest is at first.  False:
 * there is none left.
 */
bool mb_json_next(struct mb_str *rest, struct mb_json *out);

/* Append a valid string decoded; a valid value without its blanks. */
void mb_json_unescape(struct mb_buf *out, struct mb_str text);
void mb_json_compact(struct mb_buf *out, struct mb_str text);

/* Exactly a JSON number, nothing around it? */
bool mb_json_is_number(struct mb_str s);

#endif
