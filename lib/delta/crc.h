/*
 * crc.h - N.crc, the checksum of a version: what its log should come to, so
 * that a reader notices when a version was changed or lost.
 *
 * It says how many files the table has and their size, which nobody knows who
 * has not read them all.  So it is passed on: from the .crc of one version and
 * the commits since, or from a checkpoint that was written.  Where a commit of
 * another engine can't be counted for certain (it removes files, or adds some
 * that may be there already) the chain ends, until there is another .crc or
 * checkpoint.
 *
 * Nothing that we decide depends on a .crc: it may be torn, or wrong.
 */
#ifndef MB_DELTA_CRC_H
#define MB_DELTA_CRC_H

#include "delta/state.h"

/*
 * What the .crc of the state's version says of its files: s->totals, unless
 * they are known, or it isn't there or isn't this table's.
 */
void mb_delta_crc_read(struct mb_delta_state *s,
    const struct mb_delta_log *l);

/*
 * Write that of the state's version, if the totals are known and it doesn't
 * get too large; and remove ours of a hundred versions ago, which nobody needs
 * any more.  What goes wrong is of no importance.
 */
void mb_delta_crc_write(const struct mb_delta_state *s,
    const struct mb_delta_log *l);

/* Append what it says, for tests. */
void mb_delta_crc_put(struct mb_buf *out, const struct mb_delta_state *s);

#endif
