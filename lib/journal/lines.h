/*
 * lines.h - the lines of a journal as text, and back (mb-journal(5)).
 *
 * mb_put_* appends one sealed line.  mb_get_* reads what stands in several
 * kinds of lines; what a line does to the state is in state.c.
 */
#ifndef MB_JOURNAL_LINES_H
#define MB_JOURNAL_LINES_H

#include "journal/state.h"

void mb_put_source(struct mb_buf *out, const struct mb_generation *g);
void mb_put_final(struct mb_buf *out, uint64_t generation);
void mb_put_forget(struct mb_buf *out, const uint64_t *generations, size_t n);

/* Bytes that are gone and were not planned. */
struct mb_lost {
	uint64_t generation;
	uint64_t start, end;	/* end MB_NONE: not known */
	int64_t time_ms;
	const char *reason;
};
void mb_put_lost(struct mb_buf *out, const struct mb_lost *l);

void mb_put_plan(struct mb_buf *out, const struct mb_batch *b,
    uint64_t synced);

/*
 * A checkpoint is one line.  With more generations than `most` these stand in
 * lines of their own before it, `most` in each, so that nobody needs memory
 * for a line that grows with the number of files.
 */
struct mb_checkpoint {
	size_t most;		/* 0: MB_PART */
	/* Private; zero at first. */
	size_t done;
	uint64_t n_parts;
	struct mb_hash parts;
};

enum { MB_PART = 2000 };

/*
 * Append the next line of it; true: there are more.  They must follow one
 * another, from the logical offset `synced` on.
 */
bool mb_put_checkpoint_line(struct mb_buf *out, const struct mb_state *s,
    uint64_t synced, struct mb_checkpoint *c);

/* All of it. */
void mb_put_checkpoint(struct mb_buf *out, const struct mb_state *s,
    uint64_t synced);

/* What is known of the parts when there is this one (a sealed line), too. */
struct mb_hash mb_hash_part(const struct mb_hash *before, struct mb_str line);

struct mb_commit {
	uint64_t batch, run;
	int64_t time_ms;
	bool was_found;		/* the sink had it already; rows isn't known */
	const uint64_t *as;	/* found under this earlier number; NULL */
	uint64_t rows;		/* 0: the sink wasn't touched */
	uint64_t records;	/* that mb-collect wrote */
	uint64_t held;		/* mb_marker_count of the sink's marker after
				   it; 0: not known, or no rows */
	bool is_emptied;	/* of a redo: mb_marker_is_emptied, and so
				   `held` is one less than before */
	const char *target, *target_id;	/* count only where there are rows */
};
void mb_put_commit(struct mb_buf *out, const struct mb_commit *c);

/*
 * The rows of a committed batch were written again (mb-commit --redo); as,
 * was_found: without meaning.  The digest is the batch's.
 */
void mb_put_redo(struct mb_buf *out, const struct mb_commit *c,
    const struct mb_hash *digest);

/* status: the exit status that it comes to. */
void mb_put_fail(struct mb_buf *out, uint64_t batch, uint64_t run,
    int64_t time_ms, int status, const char *reason);
/* The reason may be NULL. */
void mb_put_park(struct mb_buf *out, uint64_t batch, uint64_t run,
    int64_t time_ms, const char *reason);
void mb_put_unpark(struct mb_buf *out, uint64_t batch, uint64_t run,
    int64_t time_ms);

/* The members that are a generation's, with its position, as in a checkpoint. */
void mb_put_position(struct mb_buf *out, const struct mb_generation *g);
/* The members that are a batch's, as in plan and checkpoint. */
void mb_put_batch(struct mb_buf *out, const struct mb_batch *b);

/*
 * False: something is missing or wrong.  What was read until then is to be
 * released in any case.  The first leaves the position at `start`.
 */
bool mb_get_generation(const struct mb_node *n, struct mb_generation *g);
bool mb_get_position(const struct mb_node *n, struct mb_generation *g);
bool mb_get_batch(const struct mb_node *n, struct mb_batch *b);

/* The counterpart of mb_line_bytes for what is text; the caller frees. */
bool mb_get_text(const struct mb_node *n, const char *name, char **out);

#endif
