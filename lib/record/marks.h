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
	MB_MARKS_REACH = 32768,	/* a look goes so far, and fits 15 bits */
	MB_MARKS_SLACK = 64,	/* bytes behind the last mark that are there */
	MB_MARKS_FIRST = 32,
	MB_MARKS_WATCHED = 0x1e,	/* of interest to who looks for control
					   lines, which begin with it */

	/* csv, tsv, lines: what a mark holds */
	MB_MARK_PLACE = 0x7fff,
	MB_MARK_QUOTED = 0x8000,	/* the field that ends here is */
};

struct mb_marks {
	uint32_t n_marks, n_ends;
	/*
	 * csv, tsv, lines: all records have so many fields, and so record i
	 * ends with mark (i + 1) * width - 1; or 0, and it ends with mark
	 * end[i].
	 */
	uint32_t width;
	/* Of any record looked at; false is sure. */
	bool has_cr;		/* csv, tsv, lines: before a line's LF */
	bool has_codes;		/* csv, tsv */
	bool has_escapes;	/* ndjson: a backslash */
	/* Among the bytes looked at; false is sure. */
	bool has_watched;

	/*
	 * Offsets from p, from MB_MARKS_FIRST on; the one before is one less
	 * than 0.
	 *
	 * csv, tsv, lines: delimiters and record ends (the LF, or the CR
	 * alone), with MB_MARK_QUOTED; all n_ends records are whole.
	 *
	 * ndjson: quotes that no backslash is in front of, all bytes below
	 * 0x20 (the LF among them), and one or more in each escape that no
	 * string can have and in what isn't UTF-8; there are no ends.  So
	 * between two marks that are quotes, with none between them, there
	 * is a good string, if it began with the first.
	 */
	uint16_t mark[MB_MARKS_FIRST + MB_MARKS_REACH + MB_MARKS_SLACK];
	uint16_t end[MB_MARKS_REACH + MB_MARKS_SLACK];
	/*
	 * has_codes: whether the field that ends with mark i, from 0, must be
	 * decoded, having `""` or a backslash.
	 */
	unsigned char is_coded[MB_MARKS_REACH + MB_MARKS_SLACK];
	/* A bit for each byte that is … */
	union {
		uint64_t slashes[MB_MARKS_REACH / 64 + 1];	/* ndjson */
		uint64_t ends[MB_MARKS_REACH / 64 + 1];	/* a record's last */
	};
};

/*
 * Look at the bytes p, which begin between two records.  In csv and tsv it
 * stops in front of blank lines, quotes out of place and what isn't whole;
 * nothing found is no answer.  The last MB_MARKS_SLACK bytes are not looked
 * at, so that from any mark on so many can be read.
 *
 * width: how many fields a record has, at a guess; 0 is none.
 */
void mb_marks_look(struct mb_marks *m, enum mb_isa isa,
    enum mb_format format, char delimiter, size_t width, const char *p,
    size_t len);

/* Not in ndjson: with which mark record i ends. */
static inline uint32_t
mb_marks_end(const struct mb_marks *m, uint32_t i)
{
	return m->width > 0 ? (i + 1) * m->width - 1 : m->end[i];
}

/* Not in ndjson: where mark i is. */
static inline uint32_t
mb_marks_place(const struct mb_marks *m, uint32_t i)
{
	return m->mark[MB_MARKS_FIRST + i] & MB_MARK_PLACE;
}

/* ndjson: is one of the bytes from `start` on a backslash? */
static inline bool
mb_marks_has_slash(const struct mb_marks *m, size_t start, size_t len)
{
	size_t i = start / 64, end = start + len;
	uint64_t bits = ~(uint64_t)0 << start % 64, any = 0;

	if (!m->has_escapes)
		return false;
	for (; i < end / 64; i++, bits = ~(uint64_t)0)
		any |= m->slashes[i] & bits;
	/* Of the last word those before `end`, if any. */
	return (any | (m->slashes[i] & bits &
	    (((uint64_t)1 << end % 64) - 1))) != 0;
}

#endif
