/*
 * marks.h - where the fields of ordinary records are, many records at once.
 *
 * A look takes 64 bytes at a step and moves nothing.  It finds what the
 * scanner of split.h and the readers of csv.h and json.h would find, as long
 * as records are ordinary, and stops in front of the first that isn't; who
 * looked then takes that one the slow way.  A look never decides that a
 * record is bad.
 */
#ifndef MB_RECORD_MARKS_H
#define MB_RECORD_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/isa.h"
#include "record/format.h"

enum {
	MB_MARKS_REACH = 32768,	/* a look goes so far, and fits 16 bits */
	MB_MARKS_SLACK = 64,	/* bytes behind the last mark that are there */
	MB_MARKS_FIRST = 32,
};

struct mb_marks {
	uint32_t n_marks, n_ends;
	/* Of any record looked at; false is sure. */
	bool has_quotes;	/* csv */
	bool has_cr;		/* csv, tsv, lines: before a line's LF */
	bool has_escapes;	/* tsv: a backslash */

	/*
	 * Offsets from p, from MB_MARKS_FIRST on; the one before is one less
	 * than 0 in 16 bits.
	 *
	 * csv, tsv, lines: delimiters and record ends (the LF, or the CR
	 * alone); end[i] says which mark, from 0, ends record i, and all
	 * n_ends records are whole.
	 *
	 * ndjson: quotes, backslashes, and all bytes that aren't from 0x20 to
	 * 0x7f, the LF among them; there are no ends.
	 */
	uint16_t mark[MB_MARKS_FIRST + MB_MARKS_REACH + MB_MARKS_SLACK];
	uint16_t end[MB_MARKS_REACH + MB_MARKS_SLACK];
};

/*
 * Look at the bytes p, which begin between two records.  In csv and tsv it
 * stops in front of blank lines, quotes out of place and what isn't whole;
 * nothing found is no answer.  The last MB_MARKS_SLACK bytes are not looked
 * at, so that from any mark on so many can be read.
 */
void mb_marks_look(struct mb_marks *m, enum mb_isa isa,
    enum mb_format format, char delimiter, const char *p, size_t len);

#endif
