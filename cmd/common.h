/*
 * common.h - what every tool has: -h, -V, -v, --progress, and how it speaks
 * to a person.
 */
#ifndef MB_CMD_COMMON_H
#define MB_CMD_COMMON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/opt.h"
#include "journal/journal.h"

struct mb_common {
	bool is_verbose;	/* -v */
	bool is_json;		/* --progress json */
};

/*
 * Before anything is opened: a standard stream that is closed would be given
 * to the first file that we open, and what we print would go into it.  And a
 * limit on the size of files (ulimit -f) is an error of write, EFBIG, that is
 * told like a full disk.
 */
void mb_common_start(void);

/*
 * Read the options of a line: those of MB_OPT_COMMON go into `common`, each
 * other one with its argument (NULL: none) to take(), which says 0; 1: there is
 * no case for it; -1 with MB_EUSAGE.  In the end argc and argv are those of the
 * operands: 0; or the line was answered, as by --help: 1, the tool ends; -1.
 */
MB_CHECK int mb_common_options(struct mb_common *common,
    const struct mb_cmd *cmd, int *argc, char ***argv,
    int (*take)(void *to, int key, const char *arg, struct mb_err *err),
    void *to, struct mb_err *err);

/* What a batch has cost, and what became of it; 0 where a tool has no part. */
struct mb_report {
	int64_t take_us;	/* read and cut		(getBatch) */
	int64_t plan_us;	/* plan, synced		(walCommit) */
	int64_t emit_us;	/* frame written	(addBatch, collect) */
	int64_t stage_us;	/* rows staged		(addBatch, commit) */
	int64_t commit_us;	/* sink step		(commitBatch) */
	bool is_commit;
	uint64_t rows;		/* in the sink */
	const char *target;
};

struct mb_progress;

/* `name` of the tool is borrowed. */
struct mb_progress *mb_progress_open(const struct mb_common *common,
    const char *name);
void mb_progress_close(struct mb_progress *p);

/* One line to the user, "name: text". */
void mb_progress_say(struct mb_progress *p, const char *text);

/*
 * mb_journal_open.  Another process, perhaps one that was stopped, may be in
 * the middle of a line there; this says so if it takes long.
 */
MB_CHECK int mb_progress_open_journal(struct mb_progress *p,
    struct mb_journal **out, const char *path, int flags, struct mb_err *err);

/* A batch has gone through this tool. */
void mb_progress_batch(struct mb_progress *p, const struct mb_state *s,
    const struct mb_batch *b, const struct mb_report *r);

#endif
