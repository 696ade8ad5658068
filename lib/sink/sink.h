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

/*
 * Told of every record that the sink can't take and leaves out (MB_BAD_REJECT
 * and MB_BAD_SKIP); `record` is its bytes.
 */
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
	const char *const *partition_by;	/* fields; n_partition_by 0: none */
	size_t n_partition_by;
	const struct mb_schema_column *schema;
	size_t n_schema;
	const char *const *nulls;	/* --null */
	size_t n_nulls;
	const char *codec;		/* --codec; NULL: the table's, or the
					   best there is */
	bool evolves;			/* --evolve */
	uint64_t compact_to;		/* --compact-to; 0: no file is joined */
	bool vacuums;			/* --vacuum */
	enum mb_on_bad on_bad;
	bool is_dry;			/* --dry-run: see mb_sink_outlook */
	bool accepts_new;		/* --new-target */
	const char *delete_when;	/* EXPR, with merge_on; NULL */
	mb_sink_reject_fn *reject;
	void *reject_arg;
	/* Told of what went wrong beside the batches; NULL: nobody is. */
	void (*notice)(void *arg, const char *text);
	void *notice_arg;
};

struct mb_sink;

/*
 * How far the sources have been read, as of a batch: what a journal that was
 * lost is made anew from (mb-collect --adopt).  A sink keeps it for each
 * journal, in the same atomic step as the marker; or before it, where it can
 * tell by the marker whether it counts.
 *
 * v has the generations that this batch has moved, not all of them: 100,000
 * files that nothing is appended to cost nothing.  Each takes the place of
 * what is kept under the same key, if mb_position_is_further.  `open` takes the place of the former one.
 */
struct mb_position {
	const char *key;	/* the generation's number; "-" for pipes, of
				   which only the last counts */
	const char *json;	/* an object: a generation, as in checkpoints */
};

struct mb_positions {
	uint64_t run;		/* every run so far was lower */
	const struct mb_position *v;
	size_t n;
	const char *open;	/* an array: plans of batches that are not here
				   although later ones are (parked) */
};

/*
 * Could this be opened, by what is written?  Touches nothing; for commands
 * that are wrong whatever comes.  MB_EUSAGE.
 */
MB_CHECK int mb_sink_check(const char *target,
    const struct mb_sink_options *options, struct mb_err *err);

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
 * Make the staged rows, of which there must be some, visible, move the marker
 * from `was` to `now`, and keep the positions (NULL: none), in one durable
 * step.
 *
 * Errors: MB_EEXIST if the marker is no longer `was`; MB_EBUSY, nothing has
 * happened and trying again can help; MB_EIO, outcome unknown: look up.
 */
MB_CHECK int mb_sink_commit(struct mb_sink *s, const struct mb_marker *was,
    const struct mb_marker *now, const struct mb_positions *positions,
    struct mb_err *err);

/*
 * Put the staged rows, or none if none were staged, in the place of those of
 * a batch that the marker has, in one durable step.  The marker, which must
 * be `was`, does not move.
 *
 * Errors: MB_EUSAGE (this target, or this way of writing to it, can't tell
 * which rows were the batch's), and those of mb_sink_commit.
 */
MB_CHECK int mb_sink_redo(struct mb_sink *s, const struct mb_marker *was,
    struct mb_err *err);
void mb_sink_abort(struct mb_sink *s);

/*
 * There is nothing to do for now, so the next batch may be made ready for.
 * What goes wrong is left for the batch to find.
 */
void mb_sink_rest(struct mb_sink *s);

/*
 * With is_dry a sink does all that it does, but writes nothing: a commit
 * checks what it would check, and goes on as if it had happened.  What would
 * have been done by the last one: one line without its end, for people.
 */
const char *mb_sink_outlook(struct mb_sink *s);

/* A journal that has been at a target, by what the target knows of it. */
struct mb_found {
	char journal[MB_ID_LEN + 1];
	struct mb_marker marker;
	uint64_t run;		/* at least this one was in use */
	char *target, *target_id;
	struct mb_buf positions;	/* array of objects; "" if the target
					   has none */
	struct mb_buf open;		/* array of objects */
};

/*
 * Which journal was at `journal_path` (absolute) and committed to the target?
 * Nothing is changed.  *out is to be released in any case.
 *
 * Errors: MB_EUSAGE: none was, or more than one, or the target doesn't keep
 * positions.
 */
MB_CHECK int mb_sink_find(struct mb_found *out, const char *target,
    const char *journal_path, struct mb_err *err);
void mb_found_release(struct mb_found *f);

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
	/* NULL: it can't. */
	int (*redo)(struct mb_sink *s, const struct mb_marker *was,
	    struct mb_err *err);
	void (*abort)(struct mb_sink *s);
	/* NULL: it has nothing to make ready. */
	void (*rest)(struct mb_sink *s);
	/* NULL: it can't be dry. */
	const char *(*outlook)(struct mb_sink *s);
};

/* The head of every sink's own struct; target is freed by mb_sink_close. */
struct mb_sink {
	const struct mb_sink_ops *ops;
	const struct mb_sink_options *options;
	char *target;
	char *target_id;
	uint64_t adding;	/* records in this call of add */
	const struct mb_positions *positions;	/* of this commit; NULL */
};

/*
 * The absolute path of a directory that need not exist, if only the one above
 * it does; the caller frees *out.
 * `kind` ("dir") is for messages.
 */
MB_CHECK int mb_sink_resolve(char **out, const char *kind, const char *path,
    struct mb_err *err);

/*
 * May we write the file, or into the directory?  Where it isn't there, into
 * the one that it will be in.  MB_EUSAGE: no.  It is asked before the first
 * batch, because trying again doesn't help; what is refused later is no reason
 * to count a batch as failed.
 */
MB_CHECK int mb_sink_may_write(const char *path, bool is_directory,
    const char *place, struct mb_err *err);
/* Is it such an error? */
bool mb_sink_is_refused(int error);

int mb_sink_open_dir(struct mb_sink **out, const char *path,
    const struct mb_sink_options *options, struct mb_err *err);
int mb_sink_open_sqlite(struct mb_sink **out, const char *file_and_table,
    const struct mb_sink_options *options, struct mb_err *err);
int mb_sink_open_delta(struct mb_sink **out, const char *path,
    const struct mb_sink_options *options, struct mb_err *err);
int mb_sink_open_stdout(struct mb_sink **out, const char *nothing,
    const struct mb_sink_options *options, struct mb_err *err);

int mb_sink_find_dir(struct mb_found *out, const char *path,
    const char *journal_path, struct mb_err *err);
int mb_sink_find_delta(struct mb_found *out, const char *path,
    const char *journal_path, struct mb_err *err);
int mb_sink_find_sqlite(struct mb_found *out, const char *file_and_table,
    const char *journal_path, struct mb_err *err);

#endif
