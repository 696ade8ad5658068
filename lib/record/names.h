/*
 * names.h - the names of fields, in order: a header.
 *
 * Found by name in constant time; the names may come from hostile input.
 * {0} is a valid empty one.
 */
#ifndef MB_RECORD_NAMES_H
#define MB_RECORD_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "record/format.h"

struct mb_names {
	struct mb_str *v;	/* v[0] … v[n - 1]; owned, NUL-terminated */
	size_t n;

	/* private */
	size_t cap;
	struct mb_arena arena;
	uint32_t *table;	/* position + 1 by hash; 0 is free */
	size_t table_size;
};

void mb_names_add(struct mb_names *names, struct mb_str name);	/* copied */
void mb_names_copy(struct mb_names *to, const struct mb_names *from);
void mb_names_number(struct mb_names *names, size_t n);	/* "1" … "n" */
void mb_names_reset(struct mb_names *names);
void mb_names_release(struct mb_names *names);

/*
 * Set to the fields of a csv or tsv header (with or without its line end).
 * False if it is a bad record; *why is a constant text.
 */
MB_CHECK bool mb_names_parse(struct mb_names *names, enum mb_format format,
    char delimiter, struct mb_str record, const char **why);

/* The position, from 0, of exactly this name (the first of equal ones); -1. */
ssize_t mb_names_index(const struct mb_names *names, struct mb_str name);

/* The same by FIELD of cli.md: a name, else digits are the position from 1. */
ssize_t mb_names_find(const struct mb_names *names, struct mb_str field);

/* Equal in number, order and text?  Is one name in both? */
bool mb_names_equal(const struct mb_names *a, const struct mb_names *b);
bool mb_names_share(const struct mb_names *a, const struct mb_names *b);

/* "a, b, c" for a message, cut where it gets long. */
void mb_names_show(struct mb_buf *out, const struct mb_names *names);

#endif
