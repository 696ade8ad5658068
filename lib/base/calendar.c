#include "base/calendar.h"

/* Two or four digits. */
static bool
take_digits(struct mb_str *s, size_t n, int *out)
{
	*out = 0;
	if (s->len < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		*out = *out * 10 + (s->p[i] - '0');
	}
	s->p += n;
	s->len -= n;
	return true;
}

static bool
take_char(struct mb_str *s, char a, char b)
{
	if (s->len == 0 || (*s->p != a && *s->p != b))
		return false;
	s->p++;
	s->len--;
	return true;
}

/* YYYY-MM-DD as days since 1970-01-01, in the proleptic calendar. */
static bool
take_date(struct mb_str *s, int64_t *days)
{
	static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31,
		30, 31 };
	int y, m, d;
	bool is_leap;

	if (!take_digits(s, 4, &y) || !take_char(s, '-', '-') ||
	    !take_digits(s, 2, &m) || !take_char(s, '-', '-') ||
	    !take_digits(s, 2, &d))
		return false;
	is_leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
	if (y < 1 || m < 1 || m > 12 || d < 1 ||
	    d > lengths[m - 1] + (m == 2 && is_leap))
		return false;
	/* Count from March, so that the leap day is the last of its year. */
	if (m <= 2)
		y--;
	m = (m + 9) % 12;
	*days = (int64_t)y * 365 + y / 4 - y / 100 + y / 400 +
	    (m * 306 + 5) / 10 + d - 1 - 719468;
	return true;
}

/* Two digits; what isn't one shows in *bad. */
static inline int
pair(const char *p, unsigned *bad)
{
	unsigned a = (unsigned)(uint8_t)p[0] - '0';
	unsigned b = (unsigned)(uint8_t)p[1] - '0';

	*bad |= (a > 9) | (b > 9);
	return (int)(a * 10 + b);
}

/* 2026-11-23T12:00:02.000Z, as we write it, and valid; else false. */
static bool
take_usual_time(int64_t *micros, struct mb_str s)
{
	const char *p = s.p;
	unsigned bad = 0, last;
	int hour, minute, second, hundredths;
	int64_t days;

	if (s.len != 24 || p[10] != 'T' || p[13] != ':' || p[16] != ':' ||
	    p[19] != '.' || p[23] != 'Z')
		return false;
	hour = pair(p + 11, &bad);
	minute = pair(p + 14, &bad);
	second = pair(p + 17, &bad);
	hundredths = pair(p + 20, &bad);
	last = (unsigned)(uint8_t)p[22] - '0';
	s.len = 10;
	if (bad != 0 || last > 9 || hour > 23 || minute > 59 || second > 59 ||
	    !take_date(&s, &days))
		return false;
	*micros = (((days * 24 + hour) * 60 + minute) * 60 + second) *
	    1000000 + hundredths * 10000 + (int64_t)last * 1000;
	return true;
}

const char *
mb_micros_parse(int64_t *micros, struct mb_str s, bool is_ntz)
{
	static const char bad[] = "not a time such as 2026-11-23T12:00:02.000Z";
	int hour, minute, second = 0, zone_hour = 0, zone_minute = 0, sign = 1;
	int64_t days, fraction = 0, unit = 100000;
	bool has_zone;

	if (!is_ntz && take_usual_time(micros, s))
		return NULL;
	if (!take_date(&s, &days) || !take_char(&s, 'T', ' ') ||
	    !take_digits(&s, 2, &hour) || !take_char(&s, ':', ':') ||
	    !take_digits(&s, 2, &minute))
		return bad;
	if (take_char(&s, ':', ':')) {
		if (!take_digits(&s, 2, &second))
			return bad;
		if (take_char(&s, '.', '.')) {
			if (s.len == 0 || *s.p < '0' || *s.p > '9')
				return bad;
			for (; s.len > 0 && *s.p >= '0' && *s.p <= '9';
			    s.p++, s.len--, unit /= 10) {
				if (unit == 0 && *s.p != '0')
					return "finer than a microsecond";
				fraction += (*s.p - '0') * unit;
			}
		}
	}
	if (hour > 23 || minute > 59 || second > 59)
		return bad;
	has_zone = s.len > 0;
	if (has_zone && !take_char(&s, 'Z', 'z')) {
		sign = *s.p == '-' ? -1 : 1;
		if (!take_char(&s, '+', '-') ||
		    !take_digits(&s, 2, &zone_hour))
			return bad;
		(void)take_char(&s, ':', ':');
		if (!take_digits(&s, 2, &zone_minute) || zone_hour > 23 ||
		    zone_minute > 59)
			return bad;
	}
	if (s.len > 0)
		return bad;
	if (is_ntz && has_zone)
		return "has a time zone";
	*micros = ((days * 24 + hour) * 60 + minute) * 60 + second;
	*micros -= sign * (zone_hour * 60 + zone_minute) * 60;
	*micros = *micros * 1000000 + fraction;
	return NULL;
}

const char *
mb_date_parse(int64_t *days, struct mb_str s)
{
	return take_date(&s, days) && s.len == 0 ? NULL :
	    "not a date such as 2026-11-23";
}
