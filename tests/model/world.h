/*
 * world.h - what the model's processes act on: disks, journals, sinks, pipes.
 *
 * A history is a pure function of its seed and of the rules that are broken.
 * Nothing here touches the system.
 */
#ifndef MB_MODEL_WORLD_H
#define MB_MODEL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal/lines.h"
#include "sink/marker.h"

enum {
	SECTOR = 64,
	MAX_BATCHES = 64,
	MAX_RECORDS = 32,
	MAX_PROCS = 16,
	MAX_VERSIONS = 8,
	PIPE_SIZE = 3,
	N_JOURNALS = 2,		/* the second is a copy of the first */
	N_SINKS = 2,		/* the journal's own, and another */
};

/* The rules that can be broken on purpose; bits of world.broken. */
enum rule {
	R_MARKER_SYNC, R_PLAN_SYNC, R_CAS, R_HOLES, R_SPOOL_AT_COMMIT,
	R_SPOOL_AT_PLAN, R_SPOOL_PARKED, R_REPLAY_HARDEN, R_HARDEN, R_REGREET,
	R_DIGEST, R_GREET_LAST, R_GREET_HELD, R_GREET_LOCK, R_COMMIT_EARLY,
	R_COPY_SETTLES, R_ORDER, R_CUT, R_FOUND,
	R_CHECKPOINT_SYNC, R_FORGOTTEN,
	R_GREET_EACH, R_REQUEUE_FORMER, R_REQUEUE_AS,
	R_REQUEUE_VOID, R_REQUEUE_SYNC, R_VOID_KEPT, R_PARK_ORDERED,
	R_TELL_LAST, R_COPY_FORMER, R_REDO_THERE, R_REDO_ORDER, R_REDO_SYNC,
	R_REDO_HELD, R_REDO_NEW, R_ADOPT_OPEN, R_ADOPT_HARDEN, N_RULES
};

struct rule_text {
	const char *name, *what;
};
extern const struct rule_text rules[N_RULES];

/*
 * A file.  Programs see `vol`; `dur` is what the disk holds.  A dirty sector
 * may or may not have reached it; a lost one never does, although a sync says
 * so, because a sync has failed on it before (write it again to save it).
 */
struct disk {
	struct mb_buf vol;
	char *dur;
	size_t dur_len, cap;
	unsigned char *flags;		/* by sector */
	size_t low;			/* no dirty or lost sector before */
	size_t synced;			/* safe up to here */
};

/* What a pipe carries: hello, frames (begin, records, end as one), done. */
enum verb { HELLO, FRAME, ABORT, DONE };

struct msg {
	enum verb verb;
	uint64_t batch, run, rows;
	struct mb_hash digest;
	bool is_replay;
};

struct pipe {
	struct msg queue[PIPE_SIZE];
	unsigned n;
	bool has_writer, has_reader;
};

struct journal {
	struct disk disk;
	struct mb_state state;		/* of the lines before pos */
	size_t pos, open_len;
	bool is_damaged;
	uint32_t spool, spool_safe;	/* records whose bytes are there */
	uint32_t plan[MAX_BATCHES];	/* records of each batch, */
	struct mb_hash digest[MAX_BATCHES];	/* its digest, */
	bool was_requeued[MAX_BATCHES];	/* was that ever asked for, */
	bool is_emitted[MAX_BATCHES];	/* was it ever on a pipe, */
	unsigned refused_runs;		/* pipelines refused in a row */
	bool is_lost;			/* no file is there */
	bool was_cut;			/* a power cut took something of it */
	bool had_survivors;		/* who knew the one before --adopt */
};

/* One state of a sink. */
struct version {
	uint64_t id;			/* 0: not there */
	struct mb_marker marker;
	uint32_t rows;			/* records that are in it */
	uint64_t content[MAX_BATCHES];	/* digest of each batch's rows, or 0 */
	struct mb_buf places;		/* lines: how far the source was read */
};

/* The last version is seen; the first is safe; a power cut picks one. */
struct sink {
	const char *target;
	struct version v[MAX_VERSIONS];
	unsigned n;
};

enum kind { COLLECTOR, COMMITTER, REPLAYER, ADMIN };
enum admin { PARK, UNPARK, REQUEUE };

struct proc {
	enum kind kind;
	int pc;
	bool is_alive, is_stopped, was_overtaken, sees_error;
	struct journal *j;
	struct pipe *in, *out;
	bool holds_collector, holds_pipeline, holds_commit;
	uint64_t run, told;

	/* collector */
	uint64_t synced;
	uint32_t spare;		/* records that nothing needs, by our last plan */
	uint64_t next_emit;	/* the first batch that we haven't emitted */
	uint64_t hardened;	/* foreign plans below it are durable */
	uint64_t todo[MAX_BATCHES];
	unsigned n_todo, at;
	unsigned end;			/* records to read up to */
	unsigned count;			/* of the next batch */
	bool has_generation;

	/* committer */
	uint64_t hello_run;
	bool is_replay, is_copy, accepts_new;
	bool redoes;			/* also of the replayer */
	bool is_redo;			/* the batch in hand is committed */
	bool is_emptied;		/* and was counted, having no rows */
	struct sink *sink;
	struct mb_marker marker, next;
	struct mb_buf place;		/* goes with next */
	uint64_t target_id;
	struct msg msg;
	int after_greet;

	/* replayer, admin */
	uint64_t batch;
	enum admin admin;
};

struct counts {
	uint64_t histories, steps, crashes, torn, power_cuts, failed_syncs,
	    zombies, cas_failures, found, found_as, dropped, refusals, parked,
	    failed, requeued, replays,
	    redone, adopted, copies, commits, restored_journals, restored_sinks,
	    recreated_sinks, copied_journals, checkpoints;
};

struct world {
	uint64_t seed, rng, now;
	uint64_t broken;
	bool is_traced, is_over;
	char failure[256];

	/* What kind of history. */
	bool is_pipe;			/* source: spooled, or a file */
	bool locks_vanish;		/* all but the append lock */
	bool is_ordered;
	bool can_park, can_replay, can_copy;
	bool can_redo;			/* what a harmed sink lacks is put back */
	unsigned p_crash, p_power, p_stop, p_sync;	/* per 1000 steps */
	unsigned tamper;		/* 0: none */
	bool is_racing, is_tampered, has_accepted, is_ending, is_put_back;
	uint64_t snapshot_at, tamper_at;

	unsigned n_records, available;
	uint32_t blank;			/* records that give no row */
	uint32_t poison;		/* records that make a batch fail */
	uint64_t park_after;		/* 0: never */

	struct journal journals[N_JOURNALS];
	unsigned n_journals;
	struct sink sinks[N_SINKS];
	struct proc procs[MAX_PROCS];
	struct pipe pipes[MAX_PROCS];
	uint64_t next_sink_id;

	/* Older copies. */
	struct mb_buf old_journal;
	struct version old_sink;
	bool has_snapshot;

	bool is_dying;			/* the process of this step dies in its
					   next write */
	struct mb_buf line;
	struct counts *c;
};

/* Anything at all, below n. */
unsigned pick(struct world *w, unsigned n);
bool chance(struct world *w, unsigned per_1000);
bool breaks(const struct world *w, enum rule r);
void fail(struct world *w, const char *fmt, ...) MB_PRINTF(2, 3);
void trace(const struct world *w, const char *fmt, ...) MB_PRINTF(2, 3);

void disk_set(struct disk *d, const char *p, size_t len);
void disk_release(struct disk *d);
void disk_sync(struct disk *d);
void disk_sync_fails(struct world *w, struct disk *d);
void disk_rewrite(struct disk *d, size_t from);

void journal_create(struct journal *j);
void journal_release(struct journal *j);
/* Under the append lock: read to the end, cut a torn tail.  False: damaged. */
bool journal_enter(struct world *w, struct journal *j);
/* All of it, with what is settled; to be released. */
void journal_read_all(struct journal *j, struct mb_state *s);
/* Append w->line; false if the process dies in the middle of it. */
bool journal_write(struct world *w, struct journal *j);
void journal_power_cut(struct world *w, struct journal *j);
void journal_restore(struct journal *j, const struct mb_buf *bytes);
/* Make it anew: as the sink knows it, or from nothing (NULL). */
void journal_adopt(struct journal *j, const struct mb_state *s);
/* How many records are in batches. */
unsigned journal_position(const struct journal *j);

struct version *sink_seen(struct sink *s);
void version_copy(struct version *to, const struct version *from);
void version_release(struct version *v);
void sink_sync(struct sink *s);
/* A new version, seen but not yet safe; it starts as a copy of the last. */
struct version *sink_push(struct sink *s);
void sink_power_cut(struct world *w, struct sink *s);
void sink_set(struct sink *s, const struct version *v);
/* The marker matches the content. */
void sink_check(struct world *w, struct sink *s);

/* One step of a process; false: it has to wait. */
bool proc_step(struct world *w, struct proc *p);
void proc_kill(struct world *w, struct proc *p, const char *why);
void start_pipeline(struct world *w, struct journal *j, unsigned end,
    bool accepts_new);
void start_replay(struct world *w, struct journal *j, uint64_t batch,
    struct sink *sink);
/* mb-replay N | mb-commit --redo */
void start_redo(struct world *w, struct journal *j, uint64_t batch);
void start_admin(struct world *w, struct journal *j, uint64_t batch,
    enum admin admin);
const char *proc_name(const struct world *w, const struct proc *p);

#endif
