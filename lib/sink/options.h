/*
 * options.h - the grammars of mb-commit's options (cli.md): what they say,
 * as the sinks want it.  Pure functions.
 *
 * Each appends to *o what the argument lists; the texts are copied into the
 * arena.  The lists are freed by mb_sink_options_release.  MB_EUSAGE.
 */
#ifndef MB_SINK_OPTIONS_H
#define MB_SINK_OPTIONS_H

#include "sink/sink.h"

/* FIELD,… */
MB_CHECK int mb_sink_parse_merge_on(struct mb_sink_options *o,
    struct mb_arena *a, const char *arg, struct mb_err *err);
/* FIELD,… */
MB_CHECK int mb_sink_parse_partition_by(struct mb_sink_options *o,
    struct mb_arena *a, const char *arg, struct mb_err *err);
/* FIELD:HOW,… */
MB_CHECK int mb_sink_parse_merge(struct mb_sink_options *o,
    struct mb_arena *a, const char *arg, struct mb_err *err);
/* FIELD:TYPE,… */
MB_CHECK int mb_sink_parse_schema(struct mb_sink_options *o,
    struct mb_arena *a, const char *arg, struct mb_err *err);
/* reject, skip or fail */
MB_CHECK int mb_sink_parse_on_bad(enum mb_on_bad *out, const char *arg,
    struct mb_err *err);

/* One more text that means null; borrowed. */
void mb_sink_add_null(struct mb_sink_options *o, const char *text);

void mb_sink_options_release(struct mb_sink_options *o);

#endif
