/*
 * sink.h - where batches are committed; one file per sink behind it.
 *
 * The life of a batch in a sink:
 *
 *	mb_sink_begin	the batch's format and fields
 *	mb_sink_add	records, any number of times
 *	mb_sink_stage	all are here; nothing is visible yet
 *	mb_sink_commit	the atomic step: rows and marker together
 *	mb_sink_abort	instead, or after a commit (then it does nothing)
 *
 * What was staged stays staged until abort or the next begin, so a commit
 * that failed with MB_EBUSY (nothing happened) may be tried again, and one
 * that failed with MB_EIO (unknown outcome) after mb_sink_lookup has told
 * what did happen.
 */
#ifndef MB_SINK_SINK_H
#define MB_SINK_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "sink/marker.h"

enum mb_merge_how {
	MB_MERGE_REPLACE, MB_MERGE_SUM, MB_MERGE_MIN, MB_MERGE_MAX,
	MB_MERGE_KEEP,
};

struct mb_merge_column {
	const char *name;
	enum mb_merge_how how;
};

struct mb_schema_column {
	const char *name;
	const char *type;	/* bool int int32 … decimal(p,s), as in cli.md */
};

enum mb_on_bad { MB_BAD_REJECT, MB_BAD_SKIP, MB_BAD_FAIL };

/* Told of every record that the sink can't take; `record` is its bytes. */
typedef int mb_sink_reject_fn(void *arg, uint64_t record_number,
    struct mb_str record, const char *reason, struct mb_err *err);

struct mb_sink_options {
	const char *journal;		/* id of the journal, for the marker */
	const char *journal_path;	/* its path, so that a journal made anew
					   under the same name is noticed */
	const char *format;		/* -o; NULL: the frame's */
	bool gzip;
	const char *const *merge_on;	/* fields; n_merge_on 0: append */
	size_t n_merge_on;
	const struct mb_merge_column *merge;
	size_t n_merge;
	const struct mb_schema_column *schema;
	size_t n_schema;
	const char *const *nulls;	/* --null */
	size_t n_nulls;
	enum mb_on_bad on_bad;
	bool accepts_new;		/* --new-target */
	mb_sink_reject_fn *reject;
	void *reject_arg;
};

struct mb_sink;

/*
 * Open the target "KIND:PLACE" or "-".  What is there is checked; what isn't
 * there is made at the first commit, or now.  The options are borrowed and
 * must outlive the sink.
 *
 * Errors: MB_EUSAGE (no such kind, not built in), MB_ECORRUPT (belongs to
 * another journal), MB_EIO, MB_EBUSY.
 */
MB_CHECK int mb_sink_open(struct mb_sink **out, const char *target,
    const struct mb_sink_options *options, struct mb_err *err);
void mb_sink_close(struct mb_sink *s);

/* The target with its absolute path, as it stands in the journal. */
const char *mb_sink_target(const struct mb_sink *s);
/* Its own id; NULL while it isn't there.  Borrowed until the next call. */
const char *mb_sink_target_id(const struct mb_sink *s);

/*
 * Read the marker and make it durable: whoever moved it may have died before
 * the sync of its step.
 */
MB_CHECK int mb_sink_lookup(struct mb_sink *s, struct mb_marker *out,
    struct mb_err *err);

MB_CHECK int mb_sink_begin(struct mb_sink *s, const struct mb_begin *b,
    struct mb_err *err);
/* n whole records, in the format and with the fields that begin named. */
MB_CHECK int mb_sink_add(struct mb_sink *s, struct mb_str records, uint64_t n,
    struct mb_err *err);
/* *rows: how many rows are staged, rejects excluded. */
MB_CHECK int mb_sink_stage(struct mb_sink *s, uint64_t *rows,
    struct mb_err *err);
/*
 * Make the staged rows, of which there must be some, visible and move the marker from `was` to `now`, in
 * one durable step.
 *
 * Errors: MB_EEXIST if the marker is no longer `was`; MB_EBUSY, nothing has
 * happened and trying again can help; MB_EIO, outcome unknown: look up.
 */
MB_CHECK int mb_sink_commit(struct mb_sink *s, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err);
void mb_sink_abort(struct mb_sink *s);

/*
 * For the files behind the interface.
 */
struct mb_sink_ops {
	void (*close)(struct mb_sink *s);
	int (*lookup)(struct mb_sink *s, struct mb_marker *out,
	    struct mb_err *err);
	int (*begin)(struct mb_sink *s, const struct mb_begin *b,
	    struct mb_err *err);
	int (*add)(struct mb_sink *s, struct mb_str records,
	    struct mb_err *err);
	int (*stage)(struct mb_sink *s, uint64_t *rows, struct mb_err *err);
	int (*commit)(struct mb_sink *s, const struct mb_marker *was,
	    const struct mb_marker *now, struct mb_err *err);
	void (*abort)(struct mb_sink *s);
};

/* The head of every sink's own struct; target is freed by mb_sink_close. */
struct mb_sink {
	const struct mb_sink_ops *ops;
	const struct mb_sink_options *options;
	char *target;
	char *target_id;
	uint64_t adding;	/* records in this call of add */
};

int mb_sink_open_dir(struct mb_sink **out, const char *path,
    const struct mb_sink_options *options, struct mb_err *err);
int mb_sink_open_sqlite(struct mb_sink **out, const char *file_and_table,
    const struct mb_sink_options *options, struct mb_err *err);
int mb_sink_open_stdout(struct mb_sink **out, const char *nothing,
    const struct mb_sink_options *options, struct mb_err *err);

#endif
