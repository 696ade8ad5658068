/*
 * bare.h - private to shape.c and skeleton.c: values of JSON without quotes or
 * brackets, as most are.
 */
#ifndef MB_RECORD_BARE_H
#define MB_RECORD_BARE_H

#include <string.h>

#include "base/load.h"
#include "record/value.h"

/* Behind the digits from p on. */
static inline const char *
mb_bare_digits(const char *p)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t t, other;

	for (;; p += 8) {
		t = mb_load_8(p) ^ ones * '0';
		other = ((t + ones * 0x76) | t) & ones * 0x80;
		if (other != 0)
			return p + __builtin_ctzll(other) / 8;
	}
}

/*
 * Behind a number without exponent that begins at p; NULL: look closer.  Up
 * to 8 bytes behind the first that is no digit are read.
 */
static inline const char *
mb_bare_number(const char *p)
{
	const char *start;

	p += *p == '-';
	start = p;
	p = mb_bare_digits(p);
	if (p == start || (*start == '0' && p - start > 1))
		return NULL;
	if (*p == '.') {
		start = p + 1;
		p = mb_bare_digits(start);
		if (p == start)
			return NULL;
	}
	return (*p | 0x20) == 'e' ? NULL : p;
}

/* The same, also for true, false and null. */
static inline const char *
mb_bare_value(const char *p, enum mb_kind *kind)
{
	const char *end = mb_bare_number(p);

	if (end != NULL) {
		*kind = MB_NUMBER;
		return end;
	}
	*kind = *p == 'n' ? MB_NULL : MB_JSON;
	if (memcmp(p, "true", 4) == 0 || memcmp(p, "null", 4) == 0)
		return p + 4;
	return memcmp(p, "false", 5) == 0 ? p + 5 : NULL;
}

#endif
