/*
 * frame.h - how batches travel through a pipe (mb-frame(5)).
 *
 * A control line is the byte 0x1E (RS) and one checked JSON line; every other
 * line is a record, as it is.  A line is a control line only if it carries
 * the stream's tag, 64 random bits, so nothing is escaped and no record can
 * forge control.
 *
 *	hello (begin records… (end | abort))* done
 */
#ifndef MB_FRAME_FRAME_H
#define MB_FRAME_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/mem.h"

enum { MB_TAG_LEN = 16, MB_RS = 0x1e };

struct mb_hello {
	char tag[MB_TAG_LEN + 1];
	const char *journal;	/* absolute path */
	const char *id;		/* the journal's */
	uint64_t run;		/* of the tool that began the stream */
	bool is_replay;
};

/* A column.  type and agg are NULL where not known. */
struct mb_field {
	const char *name;
	const char *type;	/* as in --schema */
	const char *agg;	/* the aggregate that mb-agg computed over one
				   batch: "count", "sum", … */
};

/* Where records come from; start and end are offsets in the source. */
struct mb_extent {
	const char *source;
	uint64_t generation;
	uint64_t start, end;
	uint64_t records;
	bool is_partial;	/* a newline was added after its last byte */
};

struct mb_begin {
	uint64_t batch;
	struct mb_hash digest;
	int64_t time_ms;
	uint64_t settled;		/* MB_NONE: no batch yet */
	const struct mb_extent *ranges;	/* only while the records are what
					   mb-collect wrote */
	size_t n_ranges;
	const char *format;		/* csv, tsv, ndjson, lines */
	char delimiter;
	bool has_fields;		/* false: no header (or ndjson, lines) */
	const struct mb_field *fields;
	size_t n_fields;
	uint64_t record_limit;
	uint64_t records;		/* that mb-collect read for it */
};

/*
 * Writing: each appends one control line to `out`.
 */
void mb_frame_put_hello(struct mb_buf *out, const struct mb_hello *h);
void mb_frame_put_begin(struct mb_buf *out, const char *tag,
    const struct mb_begin *b);
void mb_frame_put_end(struct mb_buf *out, const char *tag, uint64_t batch,
    uint64_t records);
void mb_frame_put_abort(struct mb_buf *out, const char *tag, uint64_t batch,
    int status, const char *error);
void mb_frame_put_done(struct mb_buf *out, const char *tag, int status);

/*
 * Reading.
 */
enum mb_frame_kind {
	MB_FRAME_HELLO,		/* hello */
	MB_FRAME_BEGIN,		/* begin */
	MB_FRAME_DATA,		/* data, is_last */
	MB_FRAME_END,		/* batch, records */
	MB_FRAME_ABORT,		/* batch, status, error */
	MB_FRAME_DONE,		/* status */
};

struct mb_frame_event {
	enum mb_frame_kind kind;
	const struct mb_hello *hello;
	const struct mb_begin *begin;
	struct mb_str data;
	bool is_last;		/* no data of this batch (or of a plain
				   stream) follows */
	uint64_t batch, records;
	int status;
	const char *error;
};

struct mb_frame_reader;

/*
 * Read from fd (borrowed).  `name` is for messages and borrowed too.
 * `watched` is our output, or -1: while we wait for input we notice that its
 * reader has gone, and the call fails with MB_EPIPE.  Returns after the first
 * bytes have arrived, so that is_framed can be asked.
 */
MB_CHECK int mb_frame_open(struct mb_frame_reader **out, int fd,
    const char *name, int watched, struct mb_err *err);
void mb_frame_close(struct mb_frame_reader *r);

/* Are these the first bytes of a stream of frames? */
bool mb_frame_begins(struct mb_str bytes);

/* Frames, or a plain stream?  A plain stream gives DATA events only. */
bool mb_frame_is_framed(const struct mb_frame_reader *r);
/* Not a byte came: neither, and most likely what is upstream has died. */
bool mb_frame_is_empty(const struct mb_frame_reader *r);

/*
 * The next event: 1, or 0 at the end, -1 on an error.  What it points to is
 * borrowed until the next call.
 *
 * DATA holds all bytes that are here and not yet consumed; say with
 * mb_frame_consume how many you are done with.  The rest comes again, with
 * more behind it; after is_last it is dropped.
 *
 * Errors: MB_EDATA, naming the line: a filter took or changed control lines.
 * MB_EBUSY: the stream ends without `done`, something upstream has died.
 */
MB_CHECK int mb_frame_next(struct mb_frame_reader *r,
    struct mb_frame_event *ev, struct mb_err *err);
void mb_frame_consume(struct mb_frame_reader *r, size_t len);

/* Between two batches: does nothing come for `ms` milliseconds? */
bool mb_frame_is_idle(const struct mb_frame_reader *r, int ms);

/*
 * A plain stream that is a regular file can be read by others instead: where
 * in it does the first byte not consumed stand?  False: it isn't one.  Skip
 * then goes on at `pos`, a line's start or behind it.  MB_EIO.
 */
bool mb_frame_file(const struct mb_frame_reader *r, int *fd, uint64_t *pos);
MB_CHECK int mb_frame_skip(struct mb_frame_reader *r, uint64_t pos,
    struct mb_err *err);

/* A copy that outlives the event; its memory is the arena's. */
struct mb_hello *mb_hello_copy(const struct mb_hello *h, struct mb_arena *a);
struct mb_begin *mb_begin_copy(const struct mb_begin *b, struct mb_arena *a);

#endif
