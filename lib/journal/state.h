/*
 * state.h - what the lines of a journal say, taken together.
 *
 * The state is a pure function of the lines: mb_state_apply (fold.c) folds one
 * line into it and touches nothing else.  A `checkpoint` line holds a whole state,
 * so that folding may begin there; for every journal and every checkpoint in
 * it the two ways give the same state (tests/test_journal.c).
 *
 *	(none) -> PLANNED	[plan]
 *	PLANNED -> COMMITTED	[commit]
 *	PLANNED -> PARKED	[park]
 *	PARKED -> PLANNED	[unpark]
 *	PARKED -> COMMITTED	[commit, from a replay]
 *	PARKED -> VOID		[plan, with `from`: its ranges under a new number]
 *
 * The format of the lines is mb-journal(5).
 */
#ifndef MB_JOURNAL_STATE_H
#define MB_JOURNAL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/line.h"
#include "base/mem.h"

enum { MB_ID_LEN = 32, MB_ANCHOR = 4096 };

#define MB_NONE UINT64_MAX	/* no batch, no run, no generation */

enum mb_batch_state { MB_PLANNED, MB_COMMITTED, MB_PARKED, MB_VOID };

/* "planned", "committed", … */
const char *mb_batch_state_name(enum mb_batch_state s);

/*
 * One life of one source's content.  There may be 100,000 of them in memory,
 * so it is laid out to be small.
 */
struct mb_generation {
	uint64_t id;		/* counts from 0 in each journal */
	char *source;		/* absolute path; "-" for standard input */
	uint64_t spool;		/* the run in whose spool its bytes are;
				   MB_NONE: they are in the file */
	uint64_t dev, ino;	/* where it was found */
	uint64_t born_ns;	/* that file's birth time; 0: not known */
	char *target;		/* what the path led to, if it is a symbolic
				   link; NULL */
	char format[8];		/* csv, tsv, ndjson, lines */
	char *fields;		/* JSON array of {"name":…}; NULL: no header */
	uint64_t start;		/* where data begins, after the header */
	uint64_t end;		/* planned up to here */
	uint64_t anchored;	/* the end of its last range; 0: none */
	struct mb_packed_hash head;	/* of the first min(MB_ANCHOR,
					   anchored) bytes */
	struct mb_packed_hash tail;	/* of so many before `anchored` */
	int64_t time_ms;	/* of the last plan that has a range of it; or 0 */
	uint64_t elder;		/* the generation before of the same source
				   that the state knows; MB_NONE */
	char delimiter;
	bool is_final;		/* nothing is expected of it any more */
	bool is_forgotten;	/* and no file has it: it is kept only as long
				   as a batch needs it */
};

/* [start, end) of one generation, cut after a record. */
struct mb_range {
	uint64_t generation;
	uint64_t start, end;
	uint64_t records;
	struct mb_hash hash;	/* XXH3-128 of the bytes */
	struct mb_hash head, tail;	/* the generation's anchors at end */
	bool is_partial;	/* the last record has no newline */
};

/* A record that could not be taken, with its place. */
struct mb_reject {
	uint64_t generation;
	uint64_t start, end;
	char *reason;
};

/* A range of a requeued batch that was gone. */
struct mb_gone {
	uint64_t generation;
	uint64_t start, end;
	uint64_t records;
};

struct mb_batch {
	uint64_t number;
	enum mb_batch_state state;
	bool was_parked;
	int64_t time_ms;
	struct mb_hash digest;
	uint64_t run;			/* the collector's */
	uint64_t settled;		/* MB_NONE: none yet */
	struct mb_range *ranges;
	size_t n_ranges;
	struct mb_reject *rejects;
	size_t n_rejects;
	/* The numbers that its ranges had before, the latest first. */
	uint64_t *from;
	size_t n_from;
	struct mb_gone *lost;
	size_t n_lost;
	uint64_t requeued_as;		/* VOID: as which; MB_NONE: not known */
	uint64_t n_fails;		/* attempts that failed */
	uint64_t n_attempts;		/* those that count (mb_fail_counts),
					   since it was last unparked */
	char *reason;			/* of the last failure or parking */
	int64_t commit_ms;
	uint64_t rows;			/* written to the sink */
	bool was_found;			/* it was there: rows isn't known */
};

uint64_t mb_batch_records(const struct mb_batch *b);
uint64_t mb_batch_bytes(const struct mb_batch *b);
/* Is it committed, and did it have rows? */
bool mb_batch_has_rows(const struct mb_batch *b);

struct mb_state {
	char id[MB_ID_LEN + 1];
	uint64_t next_run;
	uint64_t collector_run;		/* the last collector's; MB_NONE */
	int64_t collector_pid;
	char *collector_host;
	int64_t collector_ms;		/* since when */
	uint64_t committer_of;		/* the collector run that the last committer
					   belongs to; MB_NONE */
	uint64_t next_batch;
	struct mb_hash digest;		/* of the last plan; of the id before */
	int64_t time_ms;		/* of the last plan */
	uint64_t settled;		/* as the next plan will say; MB_NONE */
	uint64_t last_commit;		/* highest; MB_NONE */

	/* The last commit that wrote rows: what the sink must at least have. */
	uint64_t rows_batch;		/* MB_NONE: none */
	struct mb_hash rows_digest;
	uint64_t told_batch;		/* of the last such line, not the highest */
	uint64_t held;			/* batches in the sink after the last such
					   commit; 0: not known */
	char *target;			/* where, "dir:/abs/out"; NULL */
	char *target_id;

	uint64_t synced;		/* logical offset vouched for */
	uint64_t total_records, total_bytes, total_rejects;	/* planned */
	uint64_t n_lost, n_lost_unknown;	/* ranges; those of which nobody
					   knows how much */
	uint64_t lost_bytes;		/* of the others */
	uint64_t lost_records;		/* of those that were planned */

	/* What is needed (mb_state_needs) and, if all are kept, the rest. */
	struct mb_batch *batches;	/* by number */
	size_t n_batches, cap_batches;
	struct mb_generation *generations;	/* by id */
	size_t n_generations, cap_generations;
	uint64_t next_generation;
	size_t n_droppable;		/* of them, once no batch needs them */
	struct mb_newest *newest;	/* the newest of each source, a table */
	size_t cap_newest;

	bool keeps_all;			/* keep settled batches too */

	/* Of the checkpoint that is being read, if it comes first. */
	uint64_t n_parts;
	struct mb_hash parts;
};

/* Set up an empty state; keeps_all as in the field. */
void mb_state_init(struct mb_state *s, bool keeps_all);
void mb_state_release(struct mb_state *s);

/*
 * Fold a checked line in.  MB_ECORRUPT if the line can't follow what came
 * before; the state is then unusable.  A checkpoint replaces the state if it
 * comes first (before any line but `open`), with the `part` lines that belong
 * to it; otherwise only `synced` counts.
 */
MB_CHECK int mb_state_apply(struct mb_state *s, struct mb_str line,
    struct mb_err *err);

/* NULL if it isn't kept. */
struct mb_batch *mb_state_batch(const struct mb_state *s, uint64_t number);
struct mb_generation *mb_state_generation(const struct mb_state *s,
    uint64_t id);
/* The newest generation of a source, and the one before; NULL. */
struct mb_generation *mb_state_newest(const struct mb_state *s,
    const char *source);
struct mb_generation *mb_state_elder(const struct mb_state *s,
    const struct mb_generation *g);

/*
 * Is every batch below `number` settled or once parked?  With is_ordered:
 * COMMITTED or VOID.
 */
bool mb_state_may_commit(const struct mb_state *s, uint64_t number,
    bool is_ordered);

/*
 * Is the batch still needed?  Settled ones aren't, but for those that are
 * parked and, beyond the last commit with rows, void ones and those that were
 * found in the sink under another number: whoever passes over their number
 * has to know that it is a hole, and the rows of void ones may be in the sink,
 * where only their digest tells whose they are.
 */
bool mb_state_needs(const struct mb_state *s, const struct mb_batch *b);

/*
 * Does a failed attempt that ends with this status say something of the
 * batch?  What is worth trying again (75: a full disk, a lock) doesn't.
 */
bool mb_fail_counts(int status);

/*
 * The plan that puts what is left of a parked batch under the next number;
 * is_gone[i]: its i-th range is lost.  Run and time are the caller's to set.
 */
void mb_state_requeue(const struct mb_state *s, const struct mb_batch *old,
    const bool *is_gone, struct mb_batch *out);

/* What a plan's digest is, given all that defines the batch. */
struct mb_hash mb_state_digest(const struct mb_state *s,
    const struct mb_batch *b);

/* For who makes a state: ids and numbers must rise; *g and *b are taken. */
void mb_state_add_generation(struct mb_state *s, struct mb_generation *g);
void mb_state_add_batch(struct mb_state *s, struct mb_batch *b);

/*
 * For fold.c.  A generation becomes final, or forgotten; what then nothing
 * needs is to be dropped.  `settled` moves up, and drops the batches that it
 * passes; a number that isn't kept any more was settled before.
 */
void mb_state_mark(struct mb_state *s, struct mb_generation *g,
    bool is_final, bool is_forgotten);
void mb_state_drop_generations(struct mb_state *s);
void mb_state_advance_settled(struct mb_state *s);

/* False: no format has such a name. */
bool mb_generation_set_format(struct mb_generation *g, const char *format);

/* Free what a batch or generation owns (not the struct itself). */
void mb_batch_release(struct mb_batch *b);
void mb_generation_release(struct mb_generation *g);
void mb_batch_add_range(struct mb_batch *b, const struct mb_range *r);

#endif
