/*
 * chain.h - one path that is read: its generations, one after the other.
 *
 *	LIVE	the path leads to the file
 *	LEAVING	it was rotated away, or is a copy of what was: read to its end
 *	ENDING	and quiet for --rotate-wait: half a line is a record now
 *
 *	LIVE -> LEAVING		[mb_stream_turn] the path leads elsewhere
 *				[mb_stream_find_copy] truncated, and a copy is
 *				there
 *	LEAVING -> ENDING	[end_stream]
 *	ENDING -> LEAVING	[finish] it has grown all the same
 *	ENDING -> (none)	[finish] everything is in batches: `final`
 *
 * The successor begins when the last file was read to its end and no half line
 * waits there; the last file is still read beside it until it is ENDING.  So
 * every generation's records are in order, and those of a successor behind
 * what its predecessor had when it was rotated.  What came in between, and is
 * in rotated files or copies alone, is read first.
 *
 * stream.c is one file of it, successor.c what comes next.
 */
#ifndef MB_SOURCE_CHAIN_H
#define MB_SOURCE_CHAIN_H

#include "source/cut.h"
#include "source/emit.h"
#include "source/known.h"
#include "source/watch.h"

struct mb_chain;

struct mb_follow_options {
	bool follows;		/* -f: files may come and grow */
	bool is_final;		/* --final */
	bool pins;		/* --pin */
	bool is_strict;		/* --strict */
	int64_t rotate_wait_us;
	size_t max_open;	/* files, about */
};

/* What all chains share; borrowed. */
struct mb_chain_world {
	const struct mb_follow_options *options;
	struct mb_journal *journal;
	struct mb_cutter *cutter;
	struct mb_emitter *emitter;
	struct mb_known *known;
	struct mb_watch *watch;
	struct mb_buf lines;	/* for the journal */
	int64_t now_us, wall_ns;
	/* Read since all paths went that are seen to be absent: one for all. */
	struct mb_listing *listing;
	int64_t gone_us;
	int64_t began_ns;	/* wall clock of files, when we began */
	void *arg;		/* of: */
	void (*tell)(void *arg, const char *path, const char *what);
	/* Has a chain but `but` this file open? */
	bool (*is_open)(void *arg, const struct mb_inode *inode,
	    const struct mb_chain *but);
	/* Has a chain but `but` something in hand that mb_chain_may_hold? */
	bool (*is_in_hand)(void *arg, const char *path,
	    const struct mb_located *l, const struct mb_chain *but);
	/* Does a chain read this generation? */
	bool (*is_reading)(void *arg, uint64_t generation);
	/*
	 * The file of a generation (MB_NONE: it was not planned) is read to
	 * its end: its pin isn't needed much longer.
	 */
	void (*is_done)(void *arg, const struct mb_inode *inode,
	    uint64_t generation);
};

/* In mb_path.flags. */
enum {
	MB_PATH_TOLD = 1,	/* that it can't be observed */
	MB_PATH_QUEUED = 2,	/* it will be begun */
	MB_PATH_THROUGH = 4,	/* without -f: it was read */
	MB_PATH_CHANGED = 8,	/* it looks different: step its chain */
};

enum mb_chain_result {
	MB_CHAIN_IDLE,		/* nothing to read now */
	MB_CHAIN_READS,
	MB_CHAIN_AGAIN,		/* something can't be observed: try later */
	MB_CHAIN_GONE,		/* no file, and none is waited for */
};

/*
 * Begin with the path as it is now.  READS, and a chain; or another result
 * and none.  -1: MB_EDATA with --strict, MB_EUSAGE: not a regular file, MB_EIO
 * without -f where it can't be observed.
 */
MB_CHECK int mb_chain_begin(struct mb_chain **out, struct mb_chain_world *w,
    struct mb_path *p, struct mb_err *err);

/*
 * Look what has become of it.  READS: go on; other results: it may be closed.
 */
MB_CHECK int mb_chain_step(struct mb_chain *c, struct mb_err *err);

void mb_chain_close(struct mb_chain *c);

struct mb_path *mb_chain_path(const struct mb_chain *c);

/* Is it the chain of this input? */
bool mb_chain_has(const struct mb_chain *c, const struct mb_input *in);
bool mb_chain_has_file(const struct mb_chain *c, const struct mb_inode *i);
/*
 * May the file at `path` be, in another form, what the chain reads and nobody
 * has planned yet?  It may have begun with a file that was compressed since.
 */
bool mb_chain_may_hold(const struct mb_chain *c, const char *path,
    const struct mb_located *l);
bool mb_chain_has_generation(const struct mb_chain *c, uint64_t id);

/*
 * The input is held: is it its turn?  Or it doesn't hold what was read of it:
 * find where that is.  As mb_chain_step.
 */
MB_CHECK int mb_chain_renew(struct mb_chain *c, struct mb_input *in,
    struct mb_err *err);

/* Read to the end, caught up, nothing in the batch in the making? */
bool mb_chain_is_caught_up(const struct mb_chain *c);
/* Does the path lead to the file that is read? */
bool mb_chain_is_settled(const struct mb_chain *c);
/* Does it wait, for a rotated file to become quiet, say? */
bool mb_chain_waits(const struct mb_chain *c);
/* Steady time of the last growth. */
int64_t mb_chain_grown_us(const struct mb_chain *c);

/* A batch was planned: let the emitter read from what is open. */
void mb_chain_planned(struct mb_chain *c);

/* Of its files: bytes of half a line; what is wrong with a gzip file. */
uint64_t mb_chain_rest(const struct mb_chain *c);
enum mb_gz_trouble mb_chain_trouble(const struct mb_chain *c,
    const char **why);

#endif
