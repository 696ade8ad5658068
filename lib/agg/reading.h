/*
 * reading.h - a file in blocks, each read by the thread that needs it.
 *
 * Where the records of a block begin only the block before tells; its thread
 * does so as soon as it knows, before it goes through the records.  As long as
 * there is no quote that is behind the block's last newline, which is cheap.
 *
 * One thread asks for blocks, in order, and has others take them, in order
 * too, but at the same time:
 *
 *	mb_reading_begin
 *	  mb_reading_next
 *	    mb_reading_take	in another thread
 *	mb_reading_pos		when all have been taken
 *
 * A thread that takes them all finds the records' end itself, as it goes
 * through them, and lines that look like control; it says what it leaves for
 * the next block.
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

/*
 * A record begins at span->pos; one thread alone takes the blocks, or several.
 * The other parameters are mb_split's.
 */
void mb_reading_begin(struct mb_reading *r, const struct mb_span *span,
    bool is_alone, enum mb_format format, char delimiter,
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
 * The last `len` bytes that were taken come again with the next block; or, as
 * they begin with a record that has such a line, there will be none.
 */
void mb_reading_leave(struct mb_reading *r, size_t len, bool is_control);

/* Does a line, among these or at p, look like control? */
bool mb_reading_is_control(const char *p, size_t len);

/* Behind the last record that was taken. */
uint64_t mb_reading_pos(struct mb_reading *r);

#endif
