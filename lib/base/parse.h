/*
 * parse.h - the small grammars of the command line (cli.md): durations,
 * sizes, counts; and times as they stand in files.
 */
#ifndef MB_BASE_PARSE_H
#define MB_BASE_PARSE_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* An integer and one of us ms s m h d; "0" needs no unit.  MB_EUSAGE. */
MB_CHECK int mb_parse_duration(int64_t *out_us, const char *text,
    struct mb_err *err);

/* An integer and one of B K M G T, by 1024; "0" needs no unit.  MB_EUSAGE. */
MB_CHECK int mb_parse_size(uint64_t *out, const char *text,
    struct mb_err *err);

/* A plain integer, digits only.  MB_EUSAGE. */
MB_CHECK int mb_parse_count(uint64_t *out, const char *text,
    struct mb_err *err);

enum { MB_TIME_LEN = 24 };	/* 2026-11-23T12:00:02.000Z */

/* Milliseconds since the epoch as UTC text; out has MB_TIME_LEN + 1 bytes. */
void mb_format_time(char *out, int64_t time_ms);

/* The reverse; MB_EDATA if it isn't exactly of that form. */
MB_CHECK int mb_parse_time(int64_t *out_ms, const char *text,
    struct mb_err *err);

/*
 * A name for a person to read: control characters and bytes that aren't UTF-8
 * as \xHH, so that a terminal can't be made to do something.
 */
void mb_show(struct mb_buf *out, struct mb_str s);

#endif
