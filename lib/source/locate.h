/*
 * locate.h - find the file that holds a generation now.
 *
 * It may stand under its name, under a rotated one, compressed, behind a pin
 * of ours, or anywhere in its directory if the inode is the same.  Candidates
 * are found by name and inode and decided by content (identity.h).
 */
#ifndef MB_SOURCE_LOCATE_H
#define MB_SOURCE_LOCATE_H

#include "journal/journal.h"
#include "source/content.h"
#include "source/identity.h"
#include "source/listing.h"
#include "source/look.h"

/* A file that is open.  The content owns fd. */
struct mb_located {
	int fd;
	char *path;
	struct mb_look look;
	struct mb_content *content;
};

void mb_located_release(struct mb_located *l);

/* What is looked for. */
struct mb_sought {
	const char *path;
	const char *target;	/* what path led to, if it was a link; NULL */
	struct mb_inode inode;
	uint64_t evidence;	/* how many bytes `matches` compares; 0: none */
	/* 1, 0, -1 as mb_content_matches. */
	int (*matches)(const struct mb_sought *what, struct mb_content *c,
	    struct mb_err *err);
	void *arg;
	/*
	 * For who seeks many: a reading of the directory that began at since_us
	 * or later will do.  NULL: it is read.
	 */
	struct mb_listing *listing;
	int64_t since_us;
};

/* A generation, by its anchors.  Borrowed. */
struct mb_sought mb_sought_generation(const struct mb_generation *g);

enum mb_locate_result {
	MB_LOCATE_GONE,
	MB_LOCATE_FOUND,
	MB_LOCATE_UNSURE,	/* a candidate could not be looked at */
};

/*
 * Open the regular file at `path`.  `why` (reset first) gets what UNSURE is
 * about: "/var/log/a.1: Permission denied".
 */
enum mb_locate_result mb_locate_open(struct mb_located *out,
    struct mb_journal *j, const char *path, struct mb_buf *why);

/* Is the file that is open what is sought?  UNSURE fills `why` likewise. */
enum mb_identity mb_locate_judge(const struct mb_sought *what,
    const struct mb_located *l, enum mb_place place, struct mb_buf *why);

/* Find it; elsewhere: not under its own name. */
enum mb_locate_result mb_locate(struct mb_located *out, struct mb_journal *j,
    const struct mb_sought *what, bool elsewhere, struct mb_buf *why);

/*
 * Is there a file beside its path of which mb_locate would have to see what it
 * holds, as far as what->listing can say?  Without one it is gone from there.
 */
bool mb_locate_has_candidates(const struct mb_sought *what,
    struct mb_err *err);

/*
 * The oldest rotated sibling of `path` that was live after the file with this
 * inode (NULL: not known which), last written at mtime_ns, and that `is_known`
 * (1, 0; -1 can't say) doesn't know: it was never read.  2 from is_known: this
 * one is where the search ends, GONE.
 */
enum mb_locate_result mb_locate_next(struct mb_located *out,
    struct mb_journal *j, const char *path, const struct mb_inode *inode,
    int64_t mtime_ns, int (*is_known)(void *arg, const struct mb_located *l),
    void *arg, struct mb_buf *why);

/* The name in `path`, behind the last slash. */
const char *mb_base_name(const char *path);

#endif
