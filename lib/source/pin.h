/*
 * pin.h - second names for files that are read, so that rotation and deletion
 * can't take unread bytes away, nor give their inode number to another file.
 *
 * A pin is a hard link, <journal>.d/pins/<device>-<inode>.  What it leads to
 * is proved by content like any other candidate (locate.h).  A file that is
 * truncated is truncated behind its pin, too.
 */
#ifndef MB_SOURCE_PIN_H
#define MB_SOURCE_PIN_H

#include "journal/journal.h"
#include "source/identity.h"

/* Append the path of the pin of this inode, there or not. */
void mb_pin_path(struct mb_buf *out, struct mb_journal *j,
    const struct mb_inode *inode);

/*
 * Pin the file that fd has open; durable on success.  That it is pinned
 * already is fine.  MB_EUSAGE where links can't be made: another file system,
 * or another owner's file (fs.protected_hardlinks).
 */
MB_CHECK int mb_pin_add(struct mb_journal *j, int fd, const char *name,
    const struct mb_inode *inode, struct mb_err *err);

/* Remove it; that it isn't there is fine. */
MB_CHECK int mb_pin_remove(struct mb_journal *j, const struct mb_inode *inode,
    struct mb_err *err);

/*
 * Remove the pins that `is_needed` doesn't claim.  For the start, when
 * nothing is open yet.
 */
MB_CHECK int mb_pin_sweep(struct mb_journal *j,
    bool (*is_needed)(void *arg, const struct mb_inode *inode), void *arg,
    struct mb_err *err);

#endif
