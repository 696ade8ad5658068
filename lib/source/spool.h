/*
 * spool.h - what was read from a pipe, kept until it is settled.
 *
 * A spool is named by the number of the run that began it.  Its bytes stand in
 * <journal>.d/spool/ as segments, "<run>-<offset>", each a checked line that
 * names the journal and then the bytes from that offset on.  A segment begins
 * only where a batch begins, so a batch lies in one segment, and segments that
 * only settled batches need can be removed whole.
 *
 * Bytes count as spooled once mb_spool_sync has returned.
 */
#ifndef MB_SOURCE_SPOOL_H
#define MB_SOURCE_SPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "journal/journal.h"

struct mb_spool;

enum mb_spool_use { MB_SPOOL_READ, MB_SPOOL_RESUME, MB_SPOOL_AGAIN };

/*
 * Open what is there of spool `run`.  If nothing is, it begins MB_ANCHOR bytes
 * before `planned` (or at 0): the next plan's anchors reach back so far, and
 * whoever appends has to begin there.  The journal is borrowed.
 *
 * READ changes nothing.  RESUME and AGAIN are for mb-collect alone: RESUME
 * cuts off bytes beyond `planned` that may have been lost in a power cut (it
 * keeps them only if the machine has not been started since they were
 * written), AGAIN cuts them in any case, because they will be sent again.
 *
 * Errors: MB_ECORRUPT: a segment belongs to another journal, or is missing.
 */
MB_CHECK int mb_spool_open(struct mb_spool **out, struct mb_journal *j,
    uint64_t run, uint64_t planned, enum mb_spool_use use,
    struct mb_err *err);
void mb_spool_close(struct mb_spool *s);

uint64_t mb_spool_end(const struct mb_spool *s);

MB_CHECK int mb_spool_append(struct mb_spool *s, const void *p, size_t len,
    struct mb_err *err);
MB_CHECK int mb_spool_sync(struct mb_spool *s, struct mb_err *err);

/* Up to len bytes from `off`; fewer at the end or where it was removed. */
MB_CHECK ssize_t mb_spool_read(struct mb_spool *s, void *p, size_t len,
    uint64_t off, struct mb_err *err);

/*
 * A batch has been cut at `off`: what lies behind may begin a new segment.
 */
MB_CHECK int mb_spool_cut(struct mb_spool *s, uint64_t off,
    struct mb_err *err);

/* Remove the segments that hold nothing from `off` on. */
MB_CHECK int mb_spool_release(struct mb_spool *s, uint64_t off,
    struct mb_err *err);

/* The runs whose spools are there, rising; the caller frees *runs. */
MB_CHECK int mb_spool_list(struct mb_journal *j, uint64_t **runs, size_t *n,
    struct mb_err *err);

/* Remove a spool, all of it. */
MB_CHECK int mb_spool_remove(struct mb_journal *j, uint64_t run,
    struct mb_err *err);

#endif
