/*
 * rejects.h - the records of a batch that could not be taken.
 *
 * They are kept in <journal>.d/rejects/, a file per stage and batch:
 * "collect-000000017.ndjson".  Its first line is a checked line that names
 * the journal; each other line is one record, with its place and the reason
 * (mb-journal(5)).  The file is replaced whole, so a batch that is processed
 * again writes the same file again.
 */
#ifndef MB_JOURNAL_REJECTS_H
#define MB_JOURNAL_REJECTS_H

#include <stdint.h>

#include "journal/journal.h"

struct mb_rejects;

struct mb_rejected {
	const char *source;	/* NULL: not known any more; then: */
	uint64_t offset;	/* in the source; or MB_NONE */
	uint64_t record;	/* number in the batch, from 1; or MB_NONE */
	uint64_t length;	/* of the whole record */
	struct mb_str data;	/* all of it or its beginning */
	const char *reason;
};

/* Collect for `batch`; nothing is written yet.  Journal and name borrowed. */
struct mb_rejects *mb_rejects_open(struct mb_journal *j, const char *stage,
    uint64_t batch);

/*
 * Of a record longer than 1 MiB the beginning is kept.  (Of one that came
 * through a pipe nothing else is left once its batch is settled.)
 */
void mb_rejects_add(struct mb_rejects *r, const struct mb_rejected *x);
uint64_t mb_rejects_count(const struct mb_rejects *r);

/*
 * Write the file, durable.  Without rejects a file of an earlier attempt is
 * removed.  Call it before the batch's `end` is passed on.
 */
MB_CHECK int mb_rejects_publish(struct mb_rejects *r, struct mb_err *err);
void mb_rejects_close(struct mb_rejects *r);

#endif
