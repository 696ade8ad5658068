/*
 * format.h - which format an input has: by its name, else by its first bytes.
 *
 * Pure functions.  The order of -F, frame, name and content is the caller's
 * (cli.md, "Formats").
 */
#ifndef MB_RECORD_FORMAT_H
#define MB_RECORD_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

enum mb_format { MB_CSV, MB_TSV, MB_NDJSON, MB_LINES };

/* "csv", "tsv", "ndjson", "lines", as in -F and in frames; and back. */
const char *mb_format_name(enum mb_format f);
MB_CHECK int mb_format_parse(enum mb_format *out, const char *name,
    struct mb_err *err);

/* By the end of a file's name, also before ".gz"; false: it tells nothing. */
bool mb_format_of_name(enum mb_format *out, const char *path);

/*
 * By the first bytes (not compressed; a BOM is looked past): ndjson if the
 * first is `{`, else lines.  Of no bytes: lines.
 */
enum mb_format mb_format_of_content(struct mb_str head);

/* csv and tsv have a header, unless --no-header; the others never. */
bool mb_format_has_header(enum mb_format f);

/* -d CHAR: one byte or `\t`; not a quote, CR, LF.  MB_EUSAGE. */
MB_CHECK int mb_delimiter_parse(char *out, const char *arg,
    struct mb_err *err);

/* What stands between fields where -d is not given: `,`, in tsv a tab. */
char mb_delimiter_of(enum mb_format f);

/*
 * How many bytes of a byte order mark a stream begins with: 3 or 0.  Ask with
 * at least 3 bytes or the whole stream.  It belongs to no record: start the
 * splitter behind it.
 */
size_t mb_bom_len(struct mb_str head);

#endif
