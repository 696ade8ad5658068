/*
 * watch.h - which files there are, and which of them look different now.
 *
 * An operand is a name, a glob or a directory; each makes paths.  A path is
 * reported when it is new and whenever it looks different from the last time
 * (look.h): another inode, size or time, gone, hidden.  inotify only says
 * where to look first.  Where it says nothing, because it can't (a network
 * file system) or has lost count, the paths are looked at in turn, a few each
 * time, and directories are read anew at intervals that keep their cost small;
 * so 100,000 files that don't change cost next to nothing.
 */
#ifndef MB_SOURCE_WATCH_H
#define MB_SOURCE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "source/look.h"

struct mb_watch;

/* A path.  Lives until mb_watch_drop. */
struct mb_path {
	struct mb_look look;	/* as it was seen last */
	void *user;		/* the caller's; NULL at first */
	uint64_t generation;	/* the caller's; UINT64_MAX at first */
	uint32_t rank;		/* of its operand */
	uint32_t stamp;		/* private: the last reading that had it */
	uint32_t at;		/* private: its place among the paths */
	bool is_named;		/* by an operand: waited for when it's gone */
	bool is_dirty;		/* private: in the queue */
	bool is_reported;	/* private: not for the first time */
	uint8_t flags;		/* the caller's */
	char name[];		/* absolute */
};

struct mb_watch_options {
	bool follows;		/* look for changes, not only once */
	const char *except;	/* a path that is never reported; borrowed */
	/* Something to tell the user. */
	void (*tell)(void *arg, const char *path, const char *what);
	void *arg;
};

struct mb_watch *mb_watch_open(const struct mb_watch_options *options);
void mb_watch_close(struct mb_watch *w);

/*
 * Add an operand, and look for its files.  The path of a name is *named, of
 * others it is NULL.  Errors: MB_EUSAGE: an empty name; MB_EIO: a directory
 * that can't be read, unless files are followed.
 */
MB_CHECK int mb_watch_add(struct mb_watch *w, unsigned rank,
    const char *operand, struct mb_path **named, struct mb_err *err);

/* Look for changes; `now_us` is a steady clock's. */
MB_CHECK int mb_watch_refresh(struct mb_watch *w, int64_t now_us,
    struct mb_err *err);

/*
 * The next path that looks different, or NULL; of one refresh in the order of
 * operands, then names.
 */
struct mb_path *mb_watch_next(struct mb_watch *w);

/* Look at this one now. */
void mb_watch_look(struct mb_path *p);

/* Report it with the next refresh, whatever it looks like. */
void mb_watch_again(struct mb_watch *w, struct mb_path *p);

/* It is gone: no path of ours any more, unless it comes again. */
void mb_watch_drop(struct mb_watch *w, struct mb_path *p);

/* Would an operand that isn't a name find a file of this name? */
bool mb_watch_would_find(const struct mb_watch *w, const char *name);

struct mb_path *mb_watch_find(const struct mb_watch *w, const char *name);
size_t mb_watch_count(const struct mb_watch *w);
struct mb_path *mb_watch_at(const struct mb_watch *w, size_t i);

/* Readable when there may be a change; -1: never.  drain: read the hints. */
int mb_watch_fd(const struct mb_watch *w);
void mb_watch_drain(struct mb_watch *w);

/*
 * However the way to a file is written, "./a", "../d/a", its name comes out
 * the same: absolute, directories on the way resolved, a link at its end not
 * followed.  The caller frees *out.  MB_EUSAGE: empty.
 */
MB_CHECK int mb_watch_absolute(char **out, const char *path,
    struct mb_err *err);

#endif
