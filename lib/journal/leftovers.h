/*
 * leftovers.h - what lies beside a journal and belongs to what the journal no
 * longer has.
 */
#ifndef MB_JOURNAL_LEFTOVERS_H
#define MB_JOURNAL_LEFTOVERS_H

#include "journal/journal.h"

/*
 * Remove the rejects of batches that are neither in the file nor needed, and
 * the torn tails that were cut from before its beginning.  *n gets how many
 * files that were.  The journal was opened with MB_JOURNAL_ALL, and the
 * collector lock is held.
 */
MB_CHECK int mb_leftovers_remove(struct mb_journal *j, uint64_t *n,
    struct mb_err *err);

#endif
