/*
 * positions.h - how far the sources have been read, as of one batch, told from
 * the journal's state (sink.h says what for).
 *
 * Everything here decides and touches nothing.
 */
#ifndef MB_SINK_POSITIONS_H
#define MB_SINK_POSITIONS_H

#include "sink/marker.h"
#include "sink/sink.h"

/* {0} is empty; reset keeps the memory. */
struct mb_position_list {
	struct mb_positions positions;	/* into what follows */
	struct mb_position *v;
	size_t cap;
	struct mb_arena arena;
	struct mb_buf open;
};

/*
 * The positions that go with `batch`, by which the marker moves to `now`.  Of
 * one that fills a hole or was requeued they are often behind what is kept, but
 * not where nothing else of the same source has come in since.
 */
void mb_positions_tell(struct mb_position_list *out, const struct mb_state *s,
    uint64_t batch, const struct mb_marker *now);
void mb_positions_release(struct mb_position_list *l);

/* Does this position take the place of what is kept under the same key? */
bool mb_position_is_further(const char *json, const char *kept);

/*
 * The same as members of a checked line: `run` (whose commit it is), and
 * `positions` and `open`, arrays.  Where there is more than a line can hold
 * `positions` is null; nothing can be adopted from there.
 */
void mb_positions_put(struct mb_buf *line, const struct mb_positions *p);

/*
 * Gather what the lines of a file say, which have these members and `batch`,
 * in the order in which they were written.  Lines of a batch that the marker
 * hasn't do not count, and of several of one batch the last does.
 * *out has the marker; it gets run, positions and open.  MB_EUSAGE: there are
 * batches without positions.
 */
MB_CHECK int mb_positions_gather(struct mb_found *out, int fd,
    const char *name, struct mb_err *err);

/*
 * The same of the lines before byte `end`, as the members of one line that can
 * take their place: `batch` (the last of those that count), run, positions,
 * open.  1; 0: there is none that counts, or too much for a line.
 */
MB_CHECK int mb_positions_merge(struct mb_buf *line,
    const struct mb_marker *marker, int fd, uint64_t end, const char *name,
    struct mb_err *err);

/*
 * The state of the journal that was lost, as far as the sink knows: number and
 * digest from the marker, sources from the positions, and what is open is
 * parked.  *s is to be released in any case.  MB_ECORRUPT.
 */
MB_CHECK int mb_positions_adopt(struct mb_state *s, const struct mb_found *f,
    int64_t time_ms, struct mb_err *err);

#endif
