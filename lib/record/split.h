/*
 * split.h - where records end.
 *
 * mb-collect cuts and counts with it, mb-agg parses what it finds, so the two
 * always agree.  The bytes of a source are fed in order, in pieces of any
 * size, and the pieces change nothing.  Nothing is kept of them: a record of
 * any length needs no memory here.
 *
 * Records end with LF or CRLF, in csv also with a CR alone; the line end
 * belongs to the record.  A CR at the end of the bytes that are there is no
 * end yet.  Blank lines are no records, but in `lines`: empty ones, and in
 * ndjson also such of blanks alone.
 *
 * csv: a newline inside quotes belongs to the record.  A quote opens only at
 * a field's first byte.  A line with a quote elsewhere, or with text after a
 * closing quote, is a record of its own, ends where it ends, and mb_reader
 * will call it bad.
 *
 * A line is rejected (MB_SPLIT_REJECT), and belongs to no record, if it is
 * the first line of a record
 *
 *   - that is longer than the record limit (line end included),
 *   - that has more than 1,000 lines (csv),
 *   - whose open quote leads to a later line with a quote out of place, or to
 *     the end of the input (csv).
 *
 * Reading goes on with the next line, so one bad quote costs one line.  What
 * is rejected depends only on the bytes from there on, and a shorter look
 * (a batch cut behind the line) rejects it too, at its end, for the same
 * reason: of a record that has more lines it is that a quote isn't closed.
 */
#ifndef MB_RECORD_SPLIT_H
#define MB_RECORD_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/format.h"

enum { MB_LINE_LIMIT = 1000 };
#define MB_RECORD_LIMIT ((uint64_t)16 << 20)	/* the default */

enum mb_split_result {
	MB_SPLIT_MORE,		/* all bytes are consumed */
	MB_SPLIT_FULL,		/* max_records are complete */
	MB_SPLIT_REJECT,	/* [start, complete) is rejected; `why` */
};

/*
 * A csv batch that is cut behind a CR alone ends without LF; who frames it adds
 * one, and the two bytes are one line end.
 *
 * Read-only for the caller.  Offsets are absolute: the first byte after init
 * is the one at `off` given there.
 */
struct mb_split {
	uint64_t off;		/* the next byte wanted */
	uint64_t complete;	/* end of the last complete record, rejected
				   or blank line: here a batch may be cut */
	uint64_t start;		/* of the last complete record, if
				   max_records was 1; after REJECT of the line */
	const char *why;	/* after REJECT, for a person */

	/* private */
	enum mb_format format;
	char delimiter;
	unsigned char state;
	bool is_wide, is_widest;	/* the processor has AVX2, AVX-512 */
	uint32_t n_lines;	/* line ends inside the current record */
	uint64_t limit;
	uint64_t line_end;	/* of its first line, once known */
};

/*
 * Begin at `off`, which must be between two records.  record_limit 0 is the
 * default.  To begin anew elsewhere, init again.
 */
void mb_split_init(struct mb_split *s, enum mb_format format, char delimiter,
    uint64_t record_limit, uint64_t off);

/*
 * Feed the bytes at s->off.  *n_records is set to the number of records that
 * became complete in this call, at most max_records (> 0).
 *
 * MORE: feed what follows.  FULL: s->off == s->complete, the end of the last
 * record; feed again from there.  REJECT: n_records were complete before it;
 * s->off == s->complete, the end of the rejected line, which may lie before
 * the bytes of this call: feed again from there.
 *
 * So whoever can't read a second time keeps the bytes from mb_split_keep on.
 */
enum mb_split_result mb_split_scan(struct mb_split *s, const void *p,
    size_t len, uint64_t max_records, uint64_t *n_records);

/*
 * The input ends at s->off.  MORE: done; an unterminated last record was
 * complete (*n_records is 1) or there was none (0).  REJECT: as above; feed
 * again from s->off, if bytes are left, and finish again.
 */
enum mb_split_result mb_split_finish(struct mb_split *s, uint64_t *n_records);

/*
 * The earliest byte that a later REJECT may ask for again, or that belongs to
 * a record not yet complete.  Equals s->complete, but inside a line that is
 * already too long, where no byte is needed any more.
 */
uint64_t mb_split_keep(const struct mb_split *s);

/* Move on to `end`, the end of a record that was found by mb_marks_look. */
void mb_split_pass(struct mb_split *s, uint64_t end);

#endif
