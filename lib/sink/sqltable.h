/*
 * sqltable.h - the table that batches go to: is it there, which one is it,
 * what columns has it.
 *
 * A table that we make has an id, as a comment in its CREATE TABLE (sqltext.h).
 * One that others made has the id that the first journal gave it (sqlmark.h).
 *
 * Every function is part of a transaction of the caller's.  Errors are those
 * of sqldb.h and what is said here.
 */
#ifndef MB_SINK_SQLTABLE_H
#define MB_SINK_SQLTABLE_H

#include "sink/columns.h"
#include "sink/sqldb.h"

/* What is known of it; {0}: nothing. */
struct mb_sqltable_seen {
	bool is_there;
	char *id;		/* NULL: it isn't there */
	bool id_is_fresh;	/* made up by us, not yet in the database */
};

struct mb_sqltable {
	struct mb_sqldb *db;	/* borrowed */
	const char *place;	/* for messages; borrowed */
	char *name;		/* owned; as it is spelt there, once it is */
	struct mb_sqltable_seen seen;
	bool is_strict;
};

/*
 * Look for it.  If it is there, name, seen and is_strict are what it is; its
 * id may change by that.  MB_EUSAGE: it is a view, or virtual.
 */
MB_CHECK int mb_sqltable_read(struct mb_sqltable *t, struct mb_err *err);

/*
 * Look again: it must still be the one that was seen, if one was; that it has
 * come to be since is fine, as far as its columns are (below).  MB_ECORRUPT:
 * it is another one, and `seen` stays as it was.
 */
MB_CHECK int mb_sqltable_reread(struct mb_sqltable *t, struct mb_err *err);

/* What is known now, to be put back if the transaction fails, or released. */
struct mb_sqltable_seen mb_sqltable_keep(const struct mb_sqltable *t);
void mb_sqltable_put_back(struct mb_sqltable *t,
    struct mb_sqltable_seen *kept);
void mb_sqltable_seen_release(struct mb_sqltable_seen *kept);

/* Add the columns of the table, which is there. */
MB_CHECK int mb_sqltable_read_columns(struct mb_sqltable *t,
    struct mb_columns *columns, struct mb_err *err);

/*
 * The table wasn't there when the batch was staged, and now it is: another
 * journal began at the same time.  Had it been there, would the rows be the
 * same?  MB_EBUSY: they would not.
 */
MB_CHECK int mb_sqltable_compare_columns(const struct mb_sqltable *t,
    const struct mb_columns *columns, struct mb_err *err);

/* Make the table, which isn't there, with an id of its own. */
MB_CHECK int mb_sqltable_create(struct mb_sqltable *t,
    const struct mb_columns *columns, struct mb_err *err);

/* Have an index that begins with the keys, one of ours or of others. */
MB_CHECK int mb_sqltable_have_key_index(const struct mb_sqltable *t,
    const struct mb_columns *columns, struct mb_err *err);

void mb_sqltable_release(struct mb_sqltable *t);

#endif
