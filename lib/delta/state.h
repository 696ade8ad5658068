/*
 * state.h - what the log says of a table as a whole: everything but its files.
 *
 * That is all that an append needs to know, so opening costs what was written
 * since the last checkpoint, and a commit costs what is new, however large
 * the table and long its history.
 *
 *	mb_delta_state_load	the newest version, from the log
 *	mb_delta_state_advance	what others have added since
 *	mb_delta_state_apply	what we have added ourselves
 */
#ifndef MB_DELTA_STATE_H
#define MB_DELTA_STATE_H

#include "delta/log.h"
#include "delta/schema.h"

/* The last `txn` of an application. */
struct mb_delta_txn {
	int64_t version;
	int64_t updated_ms;	/* lastUpdated; -1: not said */
};

/* Of the live files, as far as it is known without reading them (crc.h). */
struct mb_delta_totals {
	bool is_known;
	int64_t files, bytes;
};

/* One more file, or one less.  False: they can't be that any more. */
bool mb_delta_totals_move(struct mb_delta_totals *t, int64_t size,
    bool is_add);

/* Of what a table consists, for somebody who wants to know. */
struct mb_delta_observer {
	void (*reset)(void *arg);	/* reading begins anew */
	mb_delta_line_fn *line;		/* a line of a checkpoint or commit */
	void *arg;
};

struct mb_delta_state {
	int64_t version;	/* -1: there is no table */
	struct mb_delta_file_id id;	/* of its commit */

	struct mb_delta_protocol protocol;
	struct mb_delta_meta meta;
	struct mb_delta_schema schema;
	/* How often protocol or meta were replaced: the gate asks again. */
	uint64_t n_changes;

	struct mb_names apps;		/* application ids … */
	struct mb_delta_txn *txns;	/* … and their txn, by position */
	size_t cap_txns;
	struct mb_names domains;
	char **domain_texts;		/* the objects; NULL: removed */

	/* Where reading begins; version -1: at version 0. */
	struct mb_delta_checkpoint checkpoint;
	uint64_t tail_bytes;	/* of the commits behind it */

	struct mb_delta_totals totals;
	char *txn_id;		/* of the commit; NULL: it has none */
	int64_t time_ms;	/* its inCommitTimestamp, where the table has
				   them; else -1 */
	/* What the commit in hand is like, for the totals. */
	bool is_begun, is_ours, is_uncountable;

	/* Set by the caller: who is told of every line that is read, those of
	   files, too. */
	struct mb_delta_observer *observer;

	/* Set by the caller: was a commit with this txnId among those read? */
	const char *awaits;
	bool has_seen;
};

/*
 * Read the log; *s is replaced.  Without a log, or an empty one, version is
 * -1.
 *
 * MB_ECORRUPT: versions are missing, an action can't be read.
 */
MB_CHECK int mb_delta_state_load(struct mb_delta_state *s,
    const struct mb_delta_log *l, struct mb_err *err);

/*
 * Read the versions that came since.  MB_ECORRUPT also where the version that
 * was read last isn't there any more, or is another file: the table was
 * dropped, or made anew.  After an error *s is of no use but to be loaded
 * again or released.
 */
MB_CHECK int mb_delta_state_advance(struct mb_delta_state *s,
    const struct mb_delta_log *l, struct mb_err *err);

/* The next version is `text`, which has just been added. */
MB_CHECK int mb_delta_state_apply(struct mb_delta_state *s,
    const struct mb_delta_log *l, struct mb_str text, struct mb_err *err);

/* The same, although it was not: what would the table be? */
MB_CHECK int mb_delta_state_suppose(struct mb_delta_state *s,
    const struct mb_delta_log *l, struct mb_str text, struct mb_err *err);

/*
 * The inCommitTimestamp of the next commit: now, but later than that of the
 * last; -1: the table has none.
 */
int64_t mb_delta_state_next_time(const struct mb_delta_state *s,
    int64_t now_ms);

void mb_delta_state_release(struct mb_delta_state *s);

/* The application's txn; false: it has none. */
bool mb_delta_state_txn(const struct mb_delta_state *s, const char *app,
    int64_t *version);

#endif
