/*
 * bare.h - private to shape.c and skeleton.c: numbers of JSON, as most are
 * written.
 */
#ifndef MB_RECORD_BARE_H
#define MB_RECORD_BARE_H

#include <stddef.h>

#include "base/load.h"

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

#endif
