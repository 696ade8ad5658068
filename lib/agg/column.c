#include "agg/column.h"

#include <string.h>

#include "base/number.h"

enum { ODD = 254, MAX_DIGITS = 18 };

static const uint64_t ones = 0x0101010101010101;

/* Eight digits, as numbers, the first in the lowest byte. */
static inline uint64_t
join_digits(uint64_t t)
{
	t = t * 2561 >> 8;
	t = (t & 0x00ff00ff00ff00ff) * 6553601 >> 16;
	return (t & 0x0000ffff0000ffff) * 42949672960001 >> 32;
}

/* From 1 to 8 bytes without sign: the places, or ODD. */
static inline unsigned
read_word(uint64_t *units, const char *p, size_t len)
{
	unsigned shift = (unsigned)(64 - 8 * len), point;
	uint64_t t, bad;

	memcpy(&t, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	t = __builtin_bswap64(t);
#endif
	/* The last byte on top, and zeros in front of the first. */
	t = (t ^ ones * '0') << shift;
	bad = ((t + ones * 0x76) | t) & ones * 0x80;
	if (bad == 0) {
		*units = join_digits(t);
		return 0;
	}
	/* One point, but not behind the last digit: close the gap. */
	point = (unsigned)__builtin_ctzll(bad) & ~7u;
	if (point == 56 || (bad & (bad - 1)) != 0 ||
	    (t >> point & 0xff) != ('.' ^ '0'))
		return ODD;
	*units = join_digits((t & ~(uint64_t)0 << point << 8) |
	    (t & (((uint64_t)1 << point) - 1)) << 8);
	return 7 - point / 8;
}

static unsigned
read_long(uint64_t *units, const char *p, size_t len)
{
	const char *end = p + len, *point = NULL;
	uint64_t v = 0;

	if (len > MAX_DIGITS + 1)
		return ODD;
	for (; p < end; p++) {
		unsigned digit = (unsigned char)*p - (unsigned)'0';

		if (digit < 10)
			v = v * 10 + digit;
		else if (*p == '.' && point == NULL)
			point = p;
		else
			return ODD;
	}
	if ((point == NULL && len > MAX_DIGITS) || point == end - 1)
		return ODD;
	*units = v;
	return point != NULL ? (unsigned)(end - point) - 1 : 0;
}

/* Bring all values to the scale; what then is too large is odd. */
static bool
widen(struct mb_column *c, size_t n, bool *odd)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (c->places[i] >= c->scale)
			continue;	/* or null */
		if (__builtin_mul_overflow(c->units[i], (int64_t)
		    mb_power_of_ten(c->scale - c->places[i]), &c->units[i]))
			any = odd[i] = true;
	}
	return any;
}

bool
mb_column_read(struct mb_column *c, const char *base,
    const struct mb_view *view, size_t n, bool *odd)
{
	unsigned least = MB_COLUMN_NULL, most = 0;
	size_t n_values = n;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		const char *p = base + view[i].start;
		size_t len = view[i].len;
		uint64_t units = 0;
		unsigned places;

		if (len == 0) {
			n_values--;
			c->units[i] = 0;
			c->places[i] = MB_COLUMN_NULL;
			continue;
		}
		bool is_negative = *p == '-';

		p += is_negative;
		len -= is_negative;
		places = len - 1 < 8 ? read_word(&units, p, len) :
		    len == 0 ? ODD : read_long(&units, p, len);
		c->units[i] = is_negative ? -(int64_t)units : (int64_t)units;
		c->places[i] = (uint8_t)places;
		if (places == ODD) {
			any = odd[i] = true;
			c->places[i] = MB_COLUMN_NULL;
			continue;
		}
		most = places > most ? places : most;
		least = places < least ? places : least;
	}
	c->scale = most;
	c->n_values = n_values;
	if (least < most)
		any |= widen(c, n, odd);
	return any;
}
