/*
 * deltashape.h - the columns of a batch and those of its Delta table, and the
 * table as it is to be with the batch.
 *
 * Decides, and touches nothing.
 *
 *	mb_deltashape_begin	the table's columns stand
 *	mb_deltashape_settle	the batch's are final: the table's metadata
 *	mb_deltashape_compare	it was changed meanwhile: would the files be
 *				the same?
 */
#ifndef MB_SINK_DELTASHAPE_H
#define MB_SINK_DELTASHAPE_H

#include "delta/state.h"
#include "sink/columns.h"

/* {0} is empty. */
struct mb_deltashape {
	struct mb_delta_meta meta;
	struct mb_delta_schema schema;
	struct mb_buf creation;	/* protocol and metaData to write, as lines;
				   empty: the table's stand */
	size_t n_there;		/* columns of the batch that are the table's … */
	const struct mb_delta_column **there;	/* … (which: borrowed) … */
	size_t n_added;		/* … and those that are new to it */
};

/* Add the columns of the table, if there is one (version >= 0). */
void mb_deltashape_begin(struct mb_deltashape *s, struct mb_columns *columns,
    const struct mb_delta_state *table);

/*
 * The columns are final.  MB_EUSAGE: one of them can't be a column of this
 * table.
 */
MB_CHECK int mb_deltashape_settle(struct mb_deltashape *s,
    const struct mb_columns *columns, const struct mb_delta_state *table,
    int64_t now_ms, struct mb_err *err);

/* MB_EBUSY: it was changed in what matters; begin anew. */
MB_CHECK int mb_deltashape_compare(const struct mb_deltashape *s,
    const struct mb_columns *columns, const struct mb_delta_state *table,
    struct mb_err *err);

/*
 * For people: append what becomes of the table, after a semicolon; nothing, if
 * it stays as it is.
 */
void mb_deltashape_explain(struct mb_buf *out, const struct mb_deltashape *s,
    bool has_table);

/* Forget the batch; some memory is kept. */
void mb_deltashape_reset(struct mb_deltashape *s);
void mb_deltashape_release(struct mb_deltashape *s);

#endif
