/*
 * cut.h - decide what the next batch is.
 *
 * An input is a source that grows; a cutter reads what its inputs have,
 * counts records, and makes a batch of it when it is told to or when the
 * batch is full.  Bytes are scanned once, as they come; what was scanned and
 * not yet taken lives only here and is scanned again after a crash.
 *
 * Order of calls: mb_cut_scan until it says FULL or nothing new, then
 * mb_cut_take, which gives the plan.  A plan is nothing until the journal has
 * it; mb_cut_planned then tells the cutter so.
 */
#ifndef MB_SOURCE_CUT_H
#define MB_SOURCE_CUT_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"
#include "source/content.h"
#include "source/keep.h"

struct mb_cut_options {
	const char *format;	/* -F; NULL: by name or by content */
	char delimiter;		/* of csv */
	bool has_header;	/* csv and tsv; false: --no-header */
	uint64_t max_bytes;
	uint64_t max_records;	/* 0: none */
	uint64_t record_limit;
	size_t keep;		/* memory for what was scanned; 0: a little */
};

struct mb_cutter;
struct mb_input;

struct mb_cutter *mb_cut_open(const struct mb_cut_options *options,
    struct mb_journal *j);
void mb_cut_close(struct mb_cutter *c);

/*
 * Add an input; inputs stand in their batches in the order of `rank`, those
 * of one rank by name.  `source` is its name in the journal, `spool` the run
 * in whose spool it is, or MB_NONE.  `content` is borrowed until
 * mb_input_replace or mb_input_remove.  `known` is the generation that it
 * continues, or NULL: a new one begins.
 */
struct mb_input *mb_input_add(struct mb_cutter *c, unsigned rank,
    const char *source, uint64_t spool, struct mb_content *content,
    const struct mb_generation *known);
void mb_input_remove(struct mb_cutter *c, struct mb_input *in);

/*
 * Read from other content from now on, the same bytes in another place; what
 * was scanned counts.
 */
void mb_input_replace(struct mb_input *in, struct mb_content *content);

/* Where it was found, for the journal.  target: of a symbolic link, or NULL. */
void mb_input_locate(struct mb_input *in, uint64_t dev, uint64_t ino,
    uint64_t born_ns, const char *target);

/*
 * A new generation of which it isn't certain that it comes next: what is read
 * of it stays out of batches as long as it is held.
 */
void mb_input_hold(struct mb_input *in, bool is_held);
bool mb_input_is_held(const struct mb_input *in);

/*
 * What its content, which is sealed or has ended, has is all there will ever
 * be: a last line without newline is a record.
 */
void mb_input_final(struct mb_input *in, bool is_final);

/* It is final, and everything is in batches or can't be. */
bool mb_input_is_done(const struct mb_input *in);

const char *mb_input_source(const struct mb_input *in);
uint64_t mb_input_generation(const struct mb_input *in);
uint64_t mb_input_planned(const struct mb_input *in);	/* offset */
bool mb_input_is_read(const struct mb_input *in);	/* to the end, for now */
uint64_t mb_input_read(const struct mb_input *in);	/* offset */
/* Has it something for the batch in the making? */
bool mb_input_contributes(const struct mb_input *in);
/* Bytes behind the last whole record, not in a batch. */
uint64_t mb_input_rest(const struct mb_input *in);

/*
 * Does `c` hold what was read of the input?  It must have as many bytes, the
 * anchors that the journal knows, and the last MB_ANCHOR bytes that were read
 * in this process.  1 or 0; also 0 where nothing was read yet.
 */
MB_CHECK int mb_input_matches(struct mb_input *in, struct mb_content *c,
    struct mb_err *err);
/* By how many bytes that is known, MB_ANCHOR at most. */
uint64_t mb_input_evidence(const struct mb_input *in);

/*
 * The same for its own content: 1, or 0: it has become another generation.
 * Where nothing was read yet it hasn't.
 */
MB_CHECK int mb_input_check(struct mb_input *in, struct mb_err *err);

/*
 * What was scanned of it can't be verified: the batch in the making goes
 * without it, and it is scanned again.  One that isn't in the journal is held.
 */
void mb_input_unscan(struct mb_cutter *c, struct mb_input *in);

/*
 * Why it couldn't be read when that was tried last; NULL: it could.  It is
 * tried again at each scan.
 */
const char *mb_input_trouble(const struct mb_input *in);

/*
 * The same as the scan sees it: it has met bytes that don't follow those that
 * were read before, and waits for mb_input_replace.
 */
bool mb_input_has_changed(const struct mb_input *in);

enum mb_cut_result {
	MB_CUT_NOTHING,		/* no bytes that were not scanned */
	MB_CUT_MORE,		/* scanned some; there may be more */
	MB_CUT_FULL,		/* the batch is full: take it */
};

/* Scan up to a chunk of each input.  A result, or -1. */
MB_CHECK int mb_cut_scan(struct mb_cutter *c, struct mb_err *err);

/*
 * A small step of it, up to a chunk of one input, for who has a moment: the
 * batches come out the same.  NOTHING also where no more can be kept for now.
 */
MB_CHECK int mb_cut_step(struct mb_cutter *c, struct mb_err *err);

/* Is there anything to make a batch of? */
bool mb_cut_has_batch(const struct mb_cutter *c);

/* Is there room in the batch in the making for more of this input? */
bool mb_cut_wants(const struct mb_cutter *c, const struct mb_input *in);

/*
 * Make a batch of what was scanned: ranges and rejects (owned by *out), and
 * the `source` lines of generations that the journal doesn't know yet.
 * Anchors are verified after the bytes were read.  Returns 1, or 0: an input
 * has become another generation, is held, or can't be read now (*changed), and
 * nothing was taken.
 */
MB_CHECK int mb_cut_take(struct mb_cutter *c, struct mb_batch *out,
    struct mb_buf *source_lines, struct mb_input **changed,
    struct mb_err *err);

/*
 * The batch that was taken is in the journal: go on behind it.  Its bytes, as
 * far as they were kept, are then in the parcel, which stays the cutter's.
 */
void mb_cut_planned(struct mb_cutter *c);
struct mb_parcel *mb_cut_parcel(struct mb_cutter *c);

/* Nothing happens for a while: what was kept gives way if it is much. */
void mb_cut_rest(struct mb_cutter *c);

#endif
