#include "base/parse.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/line.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Digits, then one of the units; false if it isn't that or doesn't fit. */
static bool
parse_with_unit(uint64_t *out, const char *text, const struct unit *units,
    uint64_t max)
{
	const char *p = text;
	uint64_t value = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return false;
	if (*p == '\0' && value == 0) {
		*out = 0;
		return true;
	}
	for (; units->name != NULL; units++)
		if (strcmp(p, units->name) == 0)
			return !__builtin_mul_overflow(value, units->factor,
			    out) && *out <= max;
	return false;
}

int
mb_parse_duration(int64_t *out_us, const char *text, struct mb_err *err)
{
	static const struct unit units[] = {
		{ "us", 1 }, { "ms", 1000 }, { "s", 1000000 },
		{ "m", 60000000 }, { "h", 3600000000 },
		{ "d", 86400000000 }, { NULL, 0 },
	};
	uint64_t us;

	if (!parse_with_unit(&us, text, units, INT64_MAX))
		return mb_fail(err, MB_EUSAGE,
		    "not a duration: \"%s\" (try 500ms, 10s, 5m)", text);
	*out_us = (int64_t)us;
	return 0;
}

int
mb_parse_size(uint64_t *out, const char *text, struct mb_err *err)
{
	static const struct unit units[] = {
		{ "B", 1 }, { "K", 1024 }, { "M", 1 << 20 }, { "G", 1 << 30 },
		{ "T", (uint64_t)1 << 40 }, { NULL, 0 },
	};

	if (!parse_with_unit(out, text, units, INT64_MAX))
		return mb_fail(err, MB_EUSAGE,
		    "not a size: \"%s\" (try 100B, 64K, 16M)", text);
	return 0;
}

int
mb_parse_count(uint64_t *out, const char *text, struct mb_err *err)
{
	static const struct unit units[] = { { "", 1 }, { NULL, 0 } };

	if (!parse_with_unit(out, text, units, INT64_MAX))
		return mb_fail(err, MB_EUSAGE, "not a number: \"%s\"", text);
	return 0;
}

void
mb_format_time(char *out, int64_t time_ms)
{
	int64_t ms = time_ms % 1000;
	time_t s = (time_t)(time_ms / 1000);
	struct tm tm;
	char text[64];

	if (ms < 0) {
		ms += 1000;
		s--;
	}
	if (gmtime_r(&s, &tm) == NULL || tm.tm_year + 1900 < 0 ||
	    tm.tm_year + 1900 > 9999)
		memset(&tm, 0, sizeof tm);
	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec, (int)ms);
	memcpy(out, text, MB_TIME_LEN);
	out[MB_TIME_LEN] = '\0';
}

static bool
parse_digits(const char *p, int n, int *out)
{
	*out = 0;
	for (int i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		*out = *out * 10 + (p[i] - '0');
	}
	return true;
}

int
mb_parse_time(int64_t *out_ms, const char *text, struct mb_err *err)
{
	struct tm tm = { 0 };
	int year, month, ms;
	char again[MB_TIME_LEN + 1];

	if (strlen(text) != MB_TIME_LEN || !parse_digits(text, 4, &year) ||
	    !parse_digits(text + 5, 2, &month) ||
	    !parse_digits(text + 8, 2, &tm.tm_mday) ||
	    !parse_digits(text + 11, 2, &tm.tm_hour) ||
	    !parse_digits(text + 14, 2, &tm.tm_min) ||
	    !parse_digits(text + 17, 2, &tm.tm_sec) ||
	    !parse_digits(text + 20, 3, &ms))
		return mb_fail(err, MB_EDATA, "not a time: \"%s\"", text);
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	*out_ms = (int64_t)timegm(&tm) * 1000 + ms;
	mb_format_time(again, *out_ms);
	if (strcmp(again, text) != 0)
		return mb_fail(err, MB_EDATA, "not a time: \"%s\"", text);
	return 0;
}

void
mb_show(struct mb_buf *out, struct mb_str s)
{
	bool is_utf8 = mb_is_utf8(s);

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_utf8))
			mb_buf_addf(out, "\\x%02x", c);
		else
			mb_buf_addc(out, (char)c);
	}
}
