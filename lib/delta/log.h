/*
 * log.h - the files of a table's _delta_log: what there is, reading it line by
 * line, and adding a version.
 *
 * L1. A version is written once: its name is given in a step that refuses to
 *     replace, after its bytes are synced; the directory is synced before
 *     anyone is told.
 * L2. The newest version is the one behind which there is none, as long as it
 *     is still there itself: logs are trimmed at their beginning, so if V is
 *     there, V + 1 was not trimmed.
 */
#ifndef MB_DELTA_LOG_H
#define MB_DELTA_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"
#include "durable/stage.h"

struct mb_delta_log {
	int dirfd;		/* of _delta_log */
	int tmpfd;		/* a directory for files that have no name yet:
				   small, so that it is quickly swept */
	const char *place;	/* for messages; borrowed */
};

/* Nobody gets there; so one can count on from any version. */
#define MB_DELTA_LAST_VERSION (INT64_MAX / 2)

/* %020d.json and the like. */
enum { MB_DELTA_NAME = 96 };
void mb_delta_commit_name(char name[MB_DELTA_NAME], int64_t version);

/* Which file this is, so that another under its name is noticed. */
struct mb_delta_file_id {
	dev_t dev;
	ino_t ino;
	uint64_t size;
};

/* Each line of a file, without its end; blank ones are left out. */
typedef int mb_delta_line_fn(void *arg, struct mb_str line,
    struct mb_err *err);

/*
 * Give every line of the file to fn.  1, or 0 if there is no such file.
 * Memory is bounded by the longest line.  The file is synced, because its
 * writer may not have done so, and what follows will rely on it.
 *
 * MB_EDATA: a line of over a GiB; the errors of fn, with the name in front.
 */
MB_CHECK int mb_delta_log_lines(const struct mb_delta_log *l,
    const char *name, mb_delta_line_fn *fn, void *arg,
    struct mb_delta_file_id *id, struct mb_err *err);

/* Is the version there, and which file is it?  1, 0, -1. */
MB_CHECK int mb_delta_log_has(const struct mb_delta_log *l, int64_t version,
    struct mb_delta_file_id *id, struct mb_err *err);

/* A small file as a whole (at most 64 MiB; MB_EDATA).  1, 0, -1. */
MB_CHECK int mb_delta_log_read(const struct mb_delta_log *l, const char *name,
    struct mb_buf *out, struct mb_err *err);

/*
 * What is there.
 */
struct mb_delta_checkpoint {
	int64_t version;
	uint32_t parts;		/* 0: one file; else of so many */
	uint32_t have;		/* parts that are there */
	uint64_t size;		/* bytes, of all parts */
	char uuid[40];		/* "": the classic name; else of V2 */
	bool is_json;
};

struct mb_delta_listing {
	int64_t first, last;	/* commits; -1: none */
	struct mb_delta_checkpoint *v;	/* whole ones, rising by version */
	size_t n;
};

MB_CHECK int mb_delta_log_list(struct mb_delta_listing *out,
    const struct mb_delta_log *l, struct mb_err *err);
void mb_delta_listing_release(struct mb_delta_listing *l);

/* The names of a checkpoint's files; part from 1, or 0. */
void mb_delta_checkpoint_name(char name[MB_DELTA_NAME],
    const struct mb_delta_checkpoint *c, uint32_t part);

/*
 * Add a version (L1), in two steps: its bytes are written, and durable; it
 * gets its name, which is durable, too.  Whatever the version leads to must
 * be durable in between.  The stage is closed by the second step, or by the
 * caller instead of it.
 *
 * MB_EEXIST, of the second step: somebody was faster.  MB_EIO: it may be there
 * or not; the log must be read to know.
 */
MB_CHECK int mb_delta_log_stage(struct mb_stage **out,
    const struct mb_delta_log *l, int64_t version, struct mb_str text,
    struct mb_err *err);
MB_CHECK int mb_delta_log_add(const struct mb_delta_log *l,
    struct mb_stage *stage, struct mb_err *err);

/*
 * Add a file that others can do without, and that may be torn by a power cut:
 * it isn't synced.  One that is there already is left alone.
 */
MB_CHECK int mb_delta_log_offer(const struct mb_delta_log *l,
    const char *name, struct mb_str text, struct mb_err *err);

/* Write or replace a file that others can do without: a hint, a checkpoint. */
MB_CHECK int mb_delta_log_replace(const struct mb_delta_log *l,
    const char *name, struct mb_str text, struct mb_err *err);

#endif
