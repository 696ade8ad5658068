/*
 * identity.h - what a file is to the journal, decided by values alone.
 *
 * A generation is known by where it was found and by what it holds.  Neither
 * is enough: an inode number is used again at once, a copy has the content of
 * its original, and two new logs may begin with the same lines.  Nothing here
 * touches the system; tests/test_identity.c holds the tables.
 */
#ifndef MB_SOURCE_IDENTITY_H
#define MB_SOURCE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With less to compare, equal content alone proves nothing. */
enum { MB_IDENTITY_STRONG = 1024 };

struct mb_inode {
	uint64_t dev, ino;
	uint64_t born_ns;	/* 0: not known */
};

/*
 * The same inode?  Where both birth times are known they decide together with
 * the number: devices are numbered anew by a reboot.
 */
bool mb_inode_equal(const struct mb_inode *a, const struct mb_inode *b);

enum mb_place {
	MB_PLACE_NAME,		/* the name that the generation has */
	MB_PLACE_SIBLING,	/* NAME.* or NAME-*, where rotation puts it */
	MB_PLACE_ELSEWHERE,
};

enum mb_content_says {
	MB_CONTENT_EQUAL,	/* to what was planned, as far as anchors tell */
	MB_CONTENT_DIFFERS,	/* or is shorter */
	MB_CONTENT_NOTHING,	/* nothing was planned: nothing to compare */
	MB_CONTENT_HIDDEN,	/* it can't be read now */
};

enum mb_identity {
	MB_IDENTITY_SAME,
	MB_IDENTITY_PERHAPS,	/* if none is found that is SAME */
	MB_IDENTITY_OTHER,
	MB_IDENTITY_UNSURE,	/* unobservable is not gone: ask again */
};

/*
 * Is the file at this place the generation that was found at `known`?
 * evidence: how many bytes were compared.
 */
enum mb_identity mb_identity_judge(const struct mb_inode *known,
    const struct mb_inode *file, enum mb_place place,
    enum mb_content_says content, uint64_t evidence);

/*
 * What has become of a file that we hold open, and of the path that led to
 * it?
 */
struct mb_held {
	struct mb_inode inode;
	bool is_whole;		/* it holds what was read of it */
	bool is_unlinked;	/* it has no name any more */
};

enum mb_path_state { MB_PATH_FILE, MB_PATH_ABSENT, MB_PATH_HIDDEN };

struct mb_at_path {
	enum mb_path_state state;
	struct mb_inode inode;		/* FILE */
	enum mb_content_says content;	/* FILE with another inode: compared
					   with all that we hold */
	uint64_t evidence;
};

enum mb_turn {
	MB_TURN_STAY,
	MB_TURN_WAIT,		/* the path can't be observed */
	MB_TURN_LOST,		/* what was read is not in it any more */
	MB_TURN_MOVED,		/* the same content stands in the new file */
	MB_TURN_ROTATED,	/* the path leads to a successor */
	MB_TURN_LEFT,		/* the path leads nowhere (yet) */
};

enum mb_turn mb_identity_turn(const struct mb_held *held,
    const struct mb_at_path *now);

/* Is `name` the name of a rotated `base`: base.* or base-*? */
bool mb_is_sibling(const char *base, const char *name);

/*
 * Does it look like what rotation makes: .1 .2.gz -20261123 .old?  Only such
 * are read that were never seen before.
 */
bool mb_looks_rotated(const char *base, const char *name);

/*
 * How long is the beginning of `name` that was there before rotation added to
 * it: 7 of app.log.2.gz.  0: it doesn't look rotated.
 */
size_t mb_rotated_base(const char *name);

/* A rotated file, for its place in the order. */
struct mb_rotated {
	const char *name;	/* NULL: not known */
	int64_t mtime_ns;	/* when it was last written */
};

/*
 * Was `b` the live file after `a`?  By the names, where both are spelled alike:
 * counters fall (.2 .1), dates rise.  Else by the times, which may be those of
 * a compression, or of a writer who was slow to leave an old file.
 * Of two that are equal in all that is known, either may have been.
 */
bool mb_is_successor(const char *base, const struct mb_rotated *a,
    const struct mb_rotated *b);

#endif
