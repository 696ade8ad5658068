/*
 * deltaplace.h - how far a journal's sources have been read, beside a Delta
 * table: what `mb-collect --adopt` makes a lost journal anew from.
 *
 * A transaction can hold no text, and commitInfo goes when the log is cleaned
 * up.  So it is a file of checked lines in the table's directory _mb, ID.places
 * for each journal.  A line is durable before the version is added; it counts
 * only if the marker has its batch (positions.h), so that it may be there
 * without one.
 *
 * The newest lines are kept as they are, so that the table can be put back to
 * an older version; of those before one line says what they come to.  The file
 * is written anew for that, whenever it has got twice as large, and takes the
 * place of the old one.
 *
 *	{"mb":"places","version":1,"journal":ID,"crc":…}
 *	{"mb":"place","batch":17,"run":…,"positions":[…],"open":[…],"crc":…}
 */
#ifndef MB_SINK_DELTAPLACE_H
#define MB_SINK_DELTAPLACE_H

#include "durable/sync.h"
#include "sink/sink.h"

struct mb_deltaplace;

/* dirfd: of _mb; borrowed.  The file is made at the first put. */
void mb_deltaplace_open(struct mb_deltaplace **out, int dirfd,
    const char *journal);
void mb_deltaplace_close(struct mb_deltaplace *p);

/*
 * Append a line, and begin to sync it: *sync is to be awaited before anything
 * else is done here.  From some size on, lines but the newest are made one, by
 * the marker as it is before the batch.
 */
MB_CHECK int mb_deltaplace_put(struct mb_deltaplace *p, uint64_t batch,
    const struct mb_positions *positions, const struct mb_marker *marker,
    struct mb_syncs *syncs, struct mb_sync **sync, struct mb_err *err);

/*
 * Gather what the file of this journal says, by out->marker.  MB_EUSAGE: it
 * isn't there.
 */
MB_CHECK int mb_deltaplace_gather(struct mb_found *out, int dirfd,
    const char *journal, struct mb_err *err);

#endif
