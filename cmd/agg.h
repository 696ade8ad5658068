/*
 * agg.h - mb-agg's parts: what they share.
 *
 *	mb-agg.c	the options
 *	agg_output.c	rows, headers, formats
 *	agg_plain.c	plain streams: all of them are one batch
 *	agg_frames.c	frames: each batch by itself
 */
#ifndef MB_CMD_AGG_H
#define MB_CMD_AGG_H

#include "agg/query.h"
#include "agg/work.h"
#include "common.h"
#include "frame/frame.h"
#include "journal/journal.h"

enum on_bad { ON_BAD_REJECT, ON_BAD_SKIP, ON_BAD_FAIL };

struct config {
	struct mb_query query;
	bool is_stamped, is_sorted, is_plain, no_header;
	enum on_bad on_bad;
	const char *rejects;		/* NULL: only counted */
	const char *journal;
	bool has_format, has_out_format;
	enum mb_format format, out_format;
	char delimiter;			/* 0: the default */
	struct mb_str *nulls;
	size_t n_nulls;
	unsigned n_threads;
	enum mb_isa isa;		/* $MB_ISA, for tests */
	char stage[16];			/* tells one query from another */
	struct mb_common common;
	char **argv, **files;
	int n_files;
};

/*
 * What the tool is doing.
 */
struct agg {
	const struct config *cfg;
	struct mb_progress *progress;
	struct mb_work *work;		/* for out_format */
	enum mb_format format;		/* of the batch in hand */
	char delimiter;			/* of csv, in and out */
	enum mb_format out_format;
	struct mb_buf out;
	bool *seen;			/* by field: some record had it, or we
					   have warned that none has */

	/* Rows without frames. */
	struct mb_names header;		/* as it was written */
	bool has_header;		/* it was, or needn't be */
	int rejects_fd;			/* --rejects, or -1 */

	/* Frames. */
	struct mb_journal *journal;	/* NULL: none is at hand */
	struct mb_hello *hello;
	struct mb_arena stream_arena, batch_arena;
	bool is_framed_out;
	bool has_hello;			/* ours is written */
	int status;			/* of batches that we aborted */
};

/*
 * agg_output.c
 */

enum { AGG_FLUSH = 64 * 1024 };	/* so much is written at once */

bool agg_aggregates(const struct agg *a);

/* What stands between fields: -d is for csv. */
char agg_delimiter_of(const struct agg *a, enum mb_format format);

/* Choose the output's format, and open the work for it. */
MB_CHECK int agg_set_formats(struct agg *a, enum mb_format format,
    char delimiter, struct mb_err *err);

/* Do the records have one of --stamp's columns already?  MB_EUSAGE. */
MB_CHECK int agg_check_stamps(const struct agg *a,
    const struct mb_names *header, struct mb_err *err);

/* The columns of what we write; false: they aren't known (yet). */
bool agg_list_columns(const struct agg *a, struct mb_names *out);

/*
 * The header of plain rows, once, as soon as it is known.  Later batches and
 * files (`name`) must have the same columns: MB_EDATA.
 */
MB_CHECK int agg_put_header(struct agg *a, const char *name,
    struct mb_err *err);

/* Rows of records passed through, and of groups. */
MB_CHECK int agg_put_passed(struct agg *a, struct mb_err *err);
MB_CHECK int agg_put_groups(struct agg *a, const char *batch,
    const char *batch_time, uint64_t *n_rows, struct mb_err *err);

/* Write what has been put; who has another error already may ignore this. */
int agg_flush(struct agg *a, struct mb_err *err);

/* `no record has the field "x"`, once each. */
void agg_warn_missing(struct agg *a);

/*
 * agg_plain.c, agg_frames.c
 */

/* All the files, or standard input.  What went wrong is in err. */
int agg_run(struct agg *a, struct mb_err *err);

/* A stream of frames, to its end. */
MB_CHECK int agg_run_frames(struct agg *a, struct mb_frame_reader *reader,
    struct mb_err *err);

#endif
