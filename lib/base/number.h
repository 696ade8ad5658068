/*
 * number.h - what a number is, how it compares and how it is written.
 *
 * A text is a number by its looks alone: an optional sign, digits with an
 * optional point, an optional exponent, blanks around.  Without an exponent
 * and up to 38 digits it is exact, an integer of units / 10^places; otherwise
 * it is a double, the nearest.  All else is text: NaN, Inf, hexadecimal, and
 * what is beyond the range of a double.  The locale changes nothing.
 *
 * Zeros in front are no digits; zeros behind the point are: 0.10 has two
 * places.  There is no negative zero.
 */
#ifndef MB_BASE_NUMBER_H
#define MB_BASE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

__extension__ typedef __int128 mb_int128;
__extension__ typedef unsigned __int128 mb_uint128;

enum { MB_DIGITS = 38 };	/* of an exact number: 10^38 < 2^127 */

struct mb_number {
	bool is_double;
	uint8_t places;		/* exact: 0 … 38 */
	union {
		mb_int128 units;	/* exact: |units| < 10^38 */
		double real;		/* finite */
	};
};

/* True, and *out, if the text is a number. */
bool mb_number_parse(struct mb_number *out, struct mb_str text);

/* Append the text of the number; see mb_double_format for doubles. */
void mb_number_format(struct mb_buf *out, const struct mb_number *n);

/*
 * Write units / 10^places, at most 18 of them, as mb_number_format does, to
 * where there is room for MB_DECIMAL_TEXT bytes; where the text ends.
 */
enum { MB_DECIMAL_TEXT = 32 };
char *mb_decimal_put(char *to, int64_t units, unsigned places);

/*
 * Append the shortest text that reads back as `d`, which is finite.  Without
 * ".0"; with an exponent only below 1e-6 and from 1e21 on.
 */
void mb_double_format(struct mb_buf *out, double d);

/* -1, 0 or 1, by value, exactly: 0.1 and 1e-1 differ. */
int mb_number_compare(const struct mb_number *a, const struct mb_number *b);

/* The nearest double. */
double mb_number_double(const struct mb_number *n);

/* Write an exact number with more places, as far as its digits allow. */
void mb_number_widen(struct mb_number *n, unsigned places);

/* 10^n, n <= 38. */
mb_uint128 mb_power_of_ten(unsigned n);

#endif
