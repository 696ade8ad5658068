/*
 * calendar.h - dates and times that stand in data, in the proleptic Gregorian
 * calendar, years 1 to 9999.
 *
 * Each returns NULL, or why the text is none (a constant).
 */
#ifndef MB_BASE_CALENDAR_H
#define MB_BASE_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* YYYY-MM-DD as days since 1970-01-01. */
MB_CHECK const char *mb_date_parse(int64_t *days, struct mb_str s);

/*
 * A date, `T` or a blank, and HH:MM[:SS[.ffffff]][Z|+HH:MM|+HHMM] as
 * microseconds since the epoch; without a zone it is UTC.  is_ntz: of no zone,
 * and it must have none.
 */
MB_CHECK const char *mb_micros_parse(int64_t *micros, struct mb_str s,
    bool is_ntz);

#endif
