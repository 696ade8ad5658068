/*
 * private.h - a journal from within, for the files of this room.
 */
#ifndef MB_JOURNAL_PRIVATE_H
#define MB_JOURNAL_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "durable/lock.h"
#include "durable/stage.h"
#include "journal/journal.h"
#include "journal/scan.h"

struct mb_journal {
	char *path;		/* absolute */
	char *name;		/* in dirfd */
	int dirfd;		/* where the journal stands */
	int dfd;		/* <journal>.d */
	int fd;
	dev_t dev;
	ino_t ino;
	struct mb_lock *lock;
	struct mb_state state;
	int flags;
	uint64_t base;		/* logical offset of ... */
	uint64_t head_len;	/* ... this place in the file */
	uint64_t first_batch;	/* planned in this file or later */
	uint64_t pos;		/* logical: read up to here */
	uint64_t synced;	/* logical: known to be durable */
	uint64_t checkpoint_pos;	/* logical end of the last checkpoint */
	uint64_t checkpoint_len;
	bool is_new;		/* made by us, now */
	bool has_entered;
	bool has_synced_names;	/* in <journal>.d, by this process */
	struct mb_buf notice;
	struct mb_buf read_buf;
};

/* As mb_journal_open, but nothing is read yet, and no lock is taken. */
MB_CHECK int mb_journal_reach(struct mb_journal **out, const char *path,
    int flags, struct mb_err *err);

/* Whose <journal>.d is: 1; 0: the lock file doesn't say. */
MB_CHECK int mb_journal_owner(const struct mb_journal *j,
    char id[MB_ID_LEN + 1], struct mb_err *err);

/* Where in the file a logical offset is. */
uint64_t mb_journal_place(const struct mb_journal *j, uint64_t logical);

/* Fold the line, a good one, into a state. */
MB_CHECK int mb_journal_fold(const struct mb_scan *r, struct mb_state *s,
    struct mb_err *err);

/* Append the bytes [from, to) of the file to a stage. */
MB_CHECK int mb_journal_copy(struct mb_journal *j, struct mb_stage *stage,
    uint64_t from, uint64_t to, struct mb_err *err);

/*
 * Read what is new; also from another file that has taken the place of this
 * one.  Under the append lock a torn tail is cut.
 */
MB_CHECK int mb_journal_catch_up(struct mb_journal *j, struct mb_err *err);

/* The line `open`; base 0: of a new journal. */
void mb_journal_put_open(struct mb_buf *out, const char *id, uint64_t base);

#endif
