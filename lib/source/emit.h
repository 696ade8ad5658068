/*
 * emit.h - write a planned batch, as it was planned or not at all.
 *
 * `end` is written only if the bytes that were written have the checksums of
 * the plan; otherwise the frame ends in `abort`.  Bytes that were kept since
 * the plan was made have them; others are read, and summed up as they leave.
 */
#ifndef MB_SOURCE_EMIT_H
#define MB_SOURCE_EMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "journal/journal.h"
#include "source/content.h"
#include "source/keep.h"

struct mb_emitter;

/*
 * Frames go to fd (borrowed); with is_plain only the records do, after a
 * header line where there is one.  The journal is borrowed.
 */
MB_CHECK int mb_emitter_open(struct mb_emitter **out, struct mb_journal *j,
    int fd, bool is_plain, uint64_t record_limit, struct mb_err *err);
void mb_emitter_close(struct mb_emitter *e);

/*
 * Write to fd (borrowed, as its name for messages) from now on, as to a new
 * reader: with is_plain the header comes again.
 */
void mb_emitter_to(struct mb_emitter *e, int fd, const char *name);

/* The header that was written last, with is_plain; empty: none. */
struct mb_str mb_emitter_header(const struct mb_emitter *e);

/* The stream's first and last line. */
MB_CHECK int mb_emit_hello(struct mb_emitter *e, uint64_t run, bool is_replay,
    struct mb_err *err);
MB_CHECK int mb_emit_done(struct mb_emitter *e, int status,
    struct mb_err *err);

/*
 * Read generation `id` from `c` (borrowed, NULL: no longer) instead of
 * opening it.
 */
void mb_emitter_use(struct mb_emitter *e, uint64_t id, struct mb_content *c);

/*
 * Emit what is in the parcel (borrowed) instead of reading it; mb_emit_batch
 * empties it.  The bytes in it are the ones that the plan's checksums were
 * made of.
 */
void mb_emitter_bring(struct mb_emitter *e, struct mb_parcel *parcel);

/*
 * While the reader is slow, call this; it does a little and returns true, or
 * false if there is nothing to do.
 */
void mb_emitter_meanwhile(struct mb_emitter *e, bool (*work)(void *arg),
    void *arg);

/*
 * Unobservable is not gone: where reading fails with *err (MB_EIO), also in the
 * middle of a frame, wait() is asked.  It says 1 after a while, *err cleared:
 * read again; 0: let the batch be (LEFT); -1: this is the end, *err the reason.
 * It may read the journal: what was borrowed from its state is then to be
 * looked up again.  NULL, the default: it is the end.
 */
void mb_emitter_wait(struct mb_emitter *e,
    int (*wait)(void *arg, uint64_t batch, struct mb_err *err), void *arg);

enum mb_emit_result {
	MB_EMIT_WHOLE,
	MB_EMIT_GONE,		/* bytes are not there any more */
	MB_EMIT_DIFFERS,	/* they are not what was planned */
	MB_EMIT_LEFT,		/* they can't be read now: see above */
};

/*
 * Write the batch, which the journal's state holds with its generations.
 * *why (borrowed until the next call) explains what isn't WHOLE.
 */
MB_CHECK int mb_emit_batch(struct mb_emitter *e, const struct mb_batch *b,
    enum mb_emit_result *result, const char **why, struct mb_err *err);

/* The same without writing: only read and compare. */
MB_CHECK int mb_verify_batch(struct mb_emitter *e, const struct mb_batch *b,
    enum mb_emit_result *result, const char **why, struct mb_err *err);
/* One of its ranges alone. */
MB_CHECK int mb_verify_range(struct mb_emitter *e, const struct mb_range *r,
    enum mb_emit_result *result, const char **why, struct mb_err *err);

#endif
