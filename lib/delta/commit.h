/*
 * commit.h - the lines of a commit that we write.
 *
 * Each function appends one action and its newline.  Time, ids and names are
 * arguments, so that the same arguments make the same bytes.
 */
#ifndef MB_DELTA_COMMIT_H
#define MB_DELTA_COMMIT_H

#include "delta/schema.h"

enum { MB_UUID_LEN = 36 };

/* A random UUID (version 4). */
MB_CHECK int mb_delta_uuid(char out[MB_UUID_LEN + 1], struct mb_err *err);

struct mb_delta_info {
	int64_t time_ms;
	int64_t in_commit_ms;	/* inCommitTimestamp; -1: the table has none */
	const char *operation;	/* "WRITE", "CREATE TABLE", "OPTIMIZE" */
	bool is_append;		/* adds rows and has read none */
	const char *txn_id;	/* by which the commit is known again */
	const char *version;	/* of mb */
	/* What mb says for people who audit: a batch; NULL: nothing. */
	const char *journal, *digest;
	uint64_t batch;
};

void mb_delta_put_info(struct mb_buf *out, const struct mb_delta_info *info);

/* The least protocol for a table with these columns. */
void mb_delta_put_protocol(struct mb_buf *out,
    const struct mb_delta_new_column *columns, size_t n);

/* A new table's, and the one that is there with another schema. */
void mb_delta_put_meta(struct mb_buf *out, const char *id,
    const char *schema, const char *const *partition_by, size_t n_partition_by,
    int64_t time_ms);
void mb_delta_put_schema(struct mb_buf *out, const struct mb_delta_meta *m,
    const char *schema);

void mb_delta_put_txn(struct mb_buf *out, const char *app, int64_t version,
    int64_t time_ms);

struct mb_delta_tag {
	const char *name, *value;
};

struct mb_delta_add {
	const char *path;	/* a URI, relative to the table */
	const char *partition;	/* the object partitionValues */
	uint64_t size;
	int64_t time_ms;
	bool is_change;		/* dataChange */
	const char *stats;	/* JSON; NULL: none */
	const struct mb_delta_tag *tags;
	size_t n_tags;
};

void mb_delta_put_add(struct mb_buf *out, const struct mb_delta_add *add);

/*
 * Remove the file that the object of an add names; is_change: its rows are
 * gone, not elsewhere.
 */
void mb_delta_put_remove(struct mb_buf *out, struct mb_str add,
    bool is_change, int64_t time_ms);

#endif
