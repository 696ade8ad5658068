/*
 * work_parts.h - what the parts of mb_work share; for nobody else.
 *
 *	work.c		records into groups or rows
 *	blocks.c	blocks and threads
 */
#ifndef MB_AGG_WORK_PARTS_H
#define MB_AGG_WORK_PARTS_H

#include "agg/crew.h"
#include "agg/expr.h"
#include "agg/group.h"
#include "agg/work.h"

/*
 * A block is a run of whole records.  A worker has what is needed to go
 * through one; a job is a block and what came out of it.  Small batches are
 * one block after the other, in the caller's thread and bytes (worker 0);
 * what follows ALONE bytes is copied into blocks for the crew.
 */
enum {
	ALONE = 1 << 20,
	BLOCK = 256 * 1024,
	JOBS_PER_THREAD = 3,
	KEPT = 1 << 20,		/* a buffer larger than this is given back */
	LINE = 128,		/* two cache lines: some are fetched in pairs */
};

/* What records have come to. */
struct findings {
	struct mb_groups *groups;	/* NULL: there were none yet */
	bool *saw;			/* by field */
};

/*
 * All but the first are equipped by their own thread, with memory of its own:
 * side by side they would take cache lines from each other with every record
 * (-T 2 was no faster than -T 1 where records are passed through).
 */
struct worker {
	struct mb_expr *where;		/* NULL: all records */
	struct mb_reader *reader;	/* of the query's fields */
	struct mb_reader *whole;	/* of all fields; NULL: not needed */
	struct findings found;
	struct mb_buf text;		/* of a message */
	struct mb_buf block;		/* that it has read itself */
	char apart[LINE];
};

struct job {
	struct mb_buf data;		/* the block, but if … */
	bool is_read;			/* … the worker reads it: this one */
	struct mb_reading_block block;
	uint64_t off;			/* in the stream */
	uint64_t sequence;		/* of the block in the batch */
	struct mb_work_counts counts;
	struct mb_row_reject *rejects;	/* numbered within the block */
	size_t n_rejects, cap_rejects;
	struct mb_arena arena;		/* what they point to */
	struct mb_buf rows;
	uint64_t end;			/* of its last record */
	bool is_guess;			/* it stops at what is bad, and … */
	bool looks_for_control;		/* … where nobody else has, … */
	bool is_control;		/* … in front of such a line */
	struct mb_err err;
	char apart[LINE];
};

struct mb_work {
	struct mb_work_config cfg;
	struct mb_stream stream;
	uint64_t seed;
	struct worker *workers;		/* n_threads of them */
	struct job *jobs;		/* 0: the caller's thread's; then the
					   crew's */
	unsigned n_jobs;
	struct mb_crew *crew;		/* NULL until it is needed */

	enum mb_format format;		/* that the readers are open for */
	char delimiter;
	uint64_t record_limit;
	bool is_open;

	bool is_parallel;		/* this stream's blocks go to the crew */
	bool is_reading;		/* … which reads them itself */
	struct mb_reading *reading;
	enum mb_reading_way way;
	struct findings sure;		/* from before a guess */
	bool has_doubted;		/* in this batch: no more guesses */
	uint64_t shift;			/* from positions to offsets */
	uint64_t read_from;		/* not before this offset */
	struct mb_split split;
	uint64_t off;			/* of what isn't consumed */
	size_t n_seen;			/* of it, by the reader of worker 0 */
	uint64_t n_bytes;		/* since reset, up to ALONE */
	uint64_t sequence;
	struct mb_names numbered;	/* 1 … n, where there is no header */
	struct mb_names columns;	/* of records passed through */
	bool has_columns;

	struct mb_work_counts counts;
	struct mb_row_reject *rejects;
	size_t n_rejects, cap_rejects;
	struct mb_arena arena;
	struct mb_buf rows;
};

/*
 * work.c
 */

/* In the worker's thread, before its first job for a stream. */
MB_CHECK int mb_work_equip(struct mb_work *w, struct worker *worker,
    struct mb_err *err);

/* Does the query pass records through? */
bool mb_work_passes(const struct mb_work *w);
/* Rows that depend on all rows before are made by one thread. */
bool mb_work_needs_order(const struct mb_work *w);
/*
 * All records of *data, by the thread that has the worker and the job.  What
 * goes wrong is in job->err.
 */
int mb_work_take(struct mb_work *w, struct worker *worker,
    struct job *job, struct mb_str *data, bool is_last);

void mb_work_open_findings(const struct mb_work *w, struct findings *f);
/* `from` is empty then. */
void mb_work_add_findings(const struct mb_work *w, struct findings *to,
    struct findings *from);
void mb_work_forget_findings(const struct mb_work *w, struct findings *f);

/*
 * blocks.c
 */

/* After an error jobs may still be under way. */
void mb_work_drop_jobs(struct mb_work *w);

#endif
