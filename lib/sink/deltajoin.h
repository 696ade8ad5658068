/*
 * deltajoin.h - the rows of several files of a Delta table in one.
 */
#ifndef MB_SINK_DELTAJOIN_H
#define MB_SINK_DELTAJOIN_H

#include "delta/schema.h"
#include "sink/datafile.h"
#include "sink/deltasmall.h"

struct mb_deltajoin {
	int dirfd;		/* of the table; borrowed, likewise below */
	int tmpfd;
	struct mb_syncs *syncs;
	enum mb_parquet_codec codec;
	const struct mb_delta_schema *schema;
	const struct mb_delta_meta *meta;

	/* The result. */
	struct mb_datafile file;	/* finished */
	int file_dirfd;		/* where it is; ours unless it is dirfd */
	char *path;		/* as it stands in the log */
};

/*
 * Read the n files, which are of one partition, and write their rows into one,
 * in order.  1; or 0: they can't be joined, and nothing is there: a file has
 * a column that isn't of the table's type.  MB_EDATA: a file is damaged;
 * MB_EIO.  Release in any case.
 */
MB_CHECK int mb_deltajoin_run(struct mb_deltajoin *j,
    const struct mb_deltasmall_file *v, size_t n, struct mb_err *err);
void mb_deltajoin_release(struct mb_deltajoin *j);

#endif
