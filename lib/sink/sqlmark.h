/*
 * sqlmark.h - what an SQLite database knows of the journals that commit to its
 * tables: the tables mb_commits (markers) and mb_positions (how far the sources
 * have been read; sink.h says what for).
 *
 * Every function is part of a transaction of the caller's; it neither begins
 * nor ends one.  Errors are those of sqldb.h and what is said here.
 */
#ifndef MB_SINK_SQLMARK_H
#define MB_SINK_SQLMARK_H

#include "sink/sink.h"
#include "sink/sqldb.h"

/* Whose marker, and of which table; all borrowed. */
struct mb_sqlmark {
	struct mb_sqldb *db;
	const char *place;		/* for messages */
	const char *table;
	const char *journal;		/* its id; NULL: a plain stream */
	const char *journal_path;
};

/* What the id of a table begins with that we haven't made. */
#define MB_SQLMARK_FOREIGN "foreign:"

/*
 * The id that the first journal gave to a table that others made.  1; 0: no
 * journal did.  *out is the caller's to free.
 */
MB_CHECK int mb_sqlmark_foreign_id(char **out, const struct mb_sqlmark *m,
    struct mb_err *err);

/* MB_ECORRUPT: it is damaged. */
MB_CHECK int mb_sqlmark_read(struct mb_marker *out,
    const struct mb_sqlmark *m, struct mb_err *err);

/*
 * Has another journal been where ours is, and left its batches here?  Then it
 * was lost, and to begin anew would double what it had committed: MB_ECORRUPT.
 */
MB_CHECK int mb_sqlmark_check_journal(const struct mb_sqlmark *m,
    struct mb_err *err);

/* Write the marker as it is, so that the transaction is synced. */
MB_CHECK int mb_sqlmark_touch(const struct mb_sqlmark *m, struct mb_err *err);

/*
 * The marker, and the id of the table that it is of.  Another journal that was
 * where ours is has been accepted as lost.
 */
MB_CHECK int mb_sqlmark_write(const struct mb_sqlmark *m,
    const struct mb_marker *marker, const char *target_id,
    struct mb_err *err);

/* Those that take the place of what is kept; NULL: none. */
MB_CHECK int mb_sqlmark_write_positions(const struct mb_sqlmark *m,
    const struct mb_positions *positions, struct mb_err *err);

/* Do several journals commit to the table?  1 or 0. */
MB_CHECK int mb_sqlmark_is_shared(const struct mb_sqlmark *m,
    struct mb_err *err);

/*
 * For mb_sink_find: the journal that was at m->journal_path, into
 * out->journal.  MB_EUSAGE: there is none, or several.
 */
MB_CHECK int mb_sqlmark_find_journal(struct mb_found *out,
    const struct mb_sqlmark *m, struct mb_err *err);
/* And m->journal's run, positions and open.  MB_EUSAGE: it left none. */
MB_CHECK int mb_sqlmark_find_positions(struct mb_found *out,
    const struct mb_sqlmark *m, struct mb_err *err);

#endif
