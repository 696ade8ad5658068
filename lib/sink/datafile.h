/*
 * datafile.h - one Parquet file of a Delta table, from its first row to its
 * name.
 *
 *	WRITING -> FINISHED [finish: whole, without a name; its sync is begun]
 *	FINISHED -> NAMED [name: the sync of its directory is begun]
 *	NAMED -> DURABLE [settle: both have ended]
 *
 * Its name is random and leads nowhere until a commit names it, so that it may
 * be given before the bytes are durable.
 */
#ifndef MB_SINK_DATAFILE_H
#define MB_SINK_DATAFILE_H

#include "delta/meta.h"
#include "durable/stage.h"
#include "parquet/writer.h"

struct mb_datafile_column {
	const char *name;	/* borrowed until finish */
	struct mb_parquet_type type;
};

enum { MB_DATAFILE_GROUP = 64 * 1024 * 1024 };

/* What it may take in memory, raw; page_bytes 0: the writer's own choice. */
struct mb_datafile_size {
	uint64_t group_bytes;	/* of a row group, MB_DATAFILE_GROUP at most */
	size_t page_bytes;
};

/* {0} is one that isn't open. */
struct mb_datafile {
	char name[96];
	int dirfd;		/* where it is; borrowed */
	struct mb_stage *stage;
	struct mb_syncs *syncs;	/* borrowed */
	struct mb_sync *of_directory;
	struct mb_parquet_writer *writer;
	struct mb_parquet_column **columns;	/* to put values into */
	struct mb_datafile_column *shape;
	size_t n_columns;
	uint64_t rows;		/* counted by whoever puts them */

	/* Once it is finished. */
	char *stats;		/* JSON, for the log */
	uint64_t size;
	bool is_named, is_durable, is_poisoned;
};

/*
 * tmpfd: for files without a name; number: of the file in its batch; syncs may
 * be NULL.  dirfd MB_DATAFILE_NOWHERE: nothing is written, all else is as if.
 */
enum { MB_DATAFILE_NOWHERE = -2 };
MB_CHECK int mb_datafile_open(struct mb_datafile *f, int dirfd, int tmpfd,
    unsigned number, const struct mb_datafile_column *columns, size_t n,
    enum mb_parquet_codec codec, const struct mb_datafile_size *size,
    struct mb_syncs *syncs, struct mb_err *err);

/* m: the table's properties choose the columns of the statistics. */
MB_CHECK int mb_datafile_finish(struct mb_datafile *f,
    const struct mb_delta_meta *m, struct mb_err *err);

/* Give it its name, unless it has it. */
MB_CHECK int mb_datafile_name(struct mb_datafile *f, struct mb_err *err);

/* Bytes and name are durable.  A failure is final: only close may follow. */
MB_CHECK int mb_datafile_settle(struct mb_datafile *f, struct mb_err *err);

/* Take the name back: no commit leads to it, for certain. */
void mb_datafile_unname(struct mb_datafile *f);

/*
 * It is durable: what was open for that is closed, and dirfd isn't needed any
 * more.  There is no taking back then.
 */
void mb_datafile_let_go(struct mb_datafile *f);

/* What has no name is removed. */
void mb_datafile_close(struct mb_datafile *f);

/* Add a value that is not null, of the column's kind. */
void mb_datafile_put(struct mb_parquet_column *c, enum mb_parquet_kind kind,
    const union mb_parquet_value *v);

#endif
