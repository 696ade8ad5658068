/*
 * listing.h - the names in a directory, as they were all at one moment.
 *
 * While a directory changes, reading it may pass over a file that is renamed,
 * and a name that was read may lead to another file.  So a reading says whether
 * anything has changed meanwhile, as far as the clock of the file system can
 * tell.  Where many files have gone, one reading answers for all of them.
 */
#ifndef MB_SOURCE_LISTING_H
#define MB_SOURCE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mb_listing;

struct mb_listing *mb_listing_open(void);
void mb_listing_close(struct mb_listing *l);

#define MB_LISTING_ANEW INT64_MAX

/*
 * Read the directory of `path`, which is what stands before its last slash;
 * one that isn't there has no names.  Where it was this one that was read last,
 * from since_us on (steady time), and nothing changed meanwhile, it isn't read
 * again.  Errors: MB_EIO: it can't be read now.
 */
MB_CHECK int mb_listing_read(struct mb_listing *l, const char *path,
    int64_t since_us, struct mb_err *err);

/* Did nothing change while it was read? */
bool mb_listing_was_still(const struct mb_listing *l);

/* Nor since then? */
bool mb_listing_is_still(const struct mb_listing *l);

/* How long a directory is left to come to rest. */
void mb_listing_pause(void);

struct mb_listed {
	const char *name;
	uint64_t ino;
	bool is_directory;
};

/*
 * Names that begin with `base`, and those with this inode number; 0: none.  In
 * no order; `each` gets what it said lives until the next reading.
 */
void mb_listing_search(struct mb_listing *l, const char *base, uint64_t ino,
    void (*each)(void *arg, const struct mb_listed *e), void *arg);

#endif
