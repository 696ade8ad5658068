/*
 * reading.h - a file in blocks, each read by the thread that needs it.
 *
 * Where the records of a block begin only the block before tells.  So there
 * are three ways of reading:
 *
 *   alone	One thread takes all blocks.  It finds the records' end itself
 *		as it goes through them, and lines that look like control, and
 *		says what it leaves for the next block.
 *   in turn	A thread tells where its records end as soon as it knows, before
 *		it goes through them.  As long as there is no quote that is
 *		behind the block's last newline; but it has to be looked for
 *		quotes, and for lines that look like control.
 *   guessed	Nobody waits: the records of a block begin behind the last
 *		newline before it.  That is wrong only where this one is inside
 *		quotes, and then the block before, which ends there, has an
 *		open quote, which is bad.  So who meets a bad record doubts,
 *		and nothing counts that came of the reading.  It takes a tenth
 *		less, and a third where there are quotes.
 *
 * One thread asks for blocks, in order, and has others take them, in order
 * too, but at the same time:
 *
 *	mb_reading_begin
 *	  mb_reading_next
 *	    mb_reading_take	in another thread
 *	mb_reading_pos		when all have been taken
 *
 * A reading stops early in front of a record that is very long, a line that
 * looks like control, and where the file is shorter than it was.
 */
#ifndef MB_AGG_READING_H
#define MB_AGG_READING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "record/format.h"

/* The bytes [pos, end) of the regular file fd (borrowed; name: for people). */
struct mb_span {
	int fd;
	const char *name;
	uint64_t pos, end;
};

struct mb_reading;

struct mb_reading *mb_reading_open(void);
void mb_reading_close(struct mb_reading *r);

enum mb_reading_way { MB_READING_ALONE, MB_READING_IN_TURN, MB_READING_GUESSED };

/* A record begins at span->pos.  The last parameters are mb_split's. */
void mb_reading_begin(struct mb_reading *r, const struct mb_span *span,
    enum mb_reading_way way, enum mb_format format, char delimiter,
    uint64_t record_limit);

/* The next block; false: that was all, or it has stopped. */
struct mb_reading_block {
	uint64_t number, pos, end;
};
bool mb_reading_next(struct mb_reading *r, struct mb_reading_block *out);

/*
 * The records that end in the block, in buf, and where they begin in the file.
 * Nothing, if there are none or the reading has stopped.  MB_EIO.  For one
 * that is alone these are all bytes from there on, and it must leave what
 * isn't whole.
 */
MB_CHECK int mb_reading_take(struct mb_reading *r,
    const struct mb_reading_block *b, struct mb_buf *buf,
    struct mb_str *records, uint64_t *pos, struct mb_err *err);

/*
 * Alone: the last `len` bytes that were taken come again with the next block;
 * or, as they begin with a record that has such a line, there will be none.
 */
void mb_reading_leave(struct mb_reading *r, size_t len, bool is_control);

/*
 * Guessed: there was a bad record, an error, or a line that looks like control.
 * There will be no more blocks; when all have been taken, is it so?
 */
void mb_reading_doubt(struct mb_reading *r);
bool mb_reading_is_doubtful(struct mb_reading *r);

/* Does a line, among these or at p, look like control? */
bool mb_reading_is_control(const char *p, size_t len);

/* Behind the last record that was taken; not of one that is doubtful. */
uint64_t mb_reading_pos(struct mb_reading *r);

#endif
