/*
 * deltahome.h - the directories of a Delta table: its own, that of its log,
 * and one for what has no name yet.
 *
 * They are opened once and used by descriptor.  What isn't there is made when
 * a batch is about to be written, not before.
 */
#ifndef MB_SINK_DELTAHOME_H
#define MB_SINK_DELTAHOME_H

#include "delta/log.h"
#include "durable/sync.h"

struct mb_deltahome {
	char *path;		/* absolute; owned */
	int rootfd;		/* -1: not there yet, likewise in the log */
	struct mb_delta_log log;
	struct mb_syncs *syncs;	/* of a batch; from make on */
	bool is_dry;		/* set by the caller: nothing is made */
};

/* Takes the path; `place` is for messages, borrowed. */
void mb_deltahome_init(struct mb_deltahome *h, char *path, const char *place);

/*
 * Open what is there.  1: there is a log; 0: there is none.  MB_EUSAGE: none,
 * but files.
 */
MB_CHECK int mb_deltahome_open(struct mb_deltahome *h, struct mb_err *err);

/* Make what isn't there; the parent of the table must be. */
MB_CHECK int mb_deltahome_make(struct mb_deltahome *h, struct mb_err *err);

/*
 * An empty file without a name, for what has to be kept for a while; the
 * caller's.  Makes the directories.
 */
MB_CHECK int mb_deltahome_scratch(struct mb_deltahome *h, int *fd,
    struct mb_err *err);

void mb_deltahome_close(struct mb_deltahome *h);

#endif
