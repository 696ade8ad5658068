/*
 * cut_parts.h - what the parts of the cutter share; for nobody else.
 *
 *	cut.c		inputs into batches
 *	input.c		one input: what was read of it, and is it there still
 *	start.c		how an input begins: its format and header
 */
#ifndef MB_SOURCE_CUT_PARTS_H
#define MB_SOURCE_CUT_PARTS_H

#include "record/split.h"
#include "source/cut.h"

enum { MB_CUT_CHUNK = 128 * 1024 };	/* is read at once */

struct mb_input {
	unsigned rank;
	struct mb_content *content;
	struct mb_generation g;		/* as the journal will have it */
	bool is_known;			/* the journal has it */
	bool is_held;			/* and must not have it yet */
	bool has_start;			/* format and header are known */
	bool is_final;			/* nothing will come behind the end */
	bool is_finished;		/* and the splitter has been told */
	bool is_exhausted;		/* and the last scan found nothing */
	bool is_at_end;			/* the last read came to it */
	bool has_changed;		/* what was read isn't there any more */
	char *trouble;			/* why it can't be read; or NULL */
	uint64_t looked;		/* bytes that were too few for a start */
	char *old_fields;		/* of the generation before; or NULL */
	char *old_format;

	struct mb_split split;		/* split.off: the next byte to read */
	struct mb_buf tail;		/* bytes from split.complete on */
	struct mb_kept kept;		/* what was scanned, and not planned */
	bool has_gap;			/* it isn't all, so keeping is no use */
	char *seen;			/* the last MB_ANCHOR bytes read ... */
	size_t n_seen;			/* ... at most, before split.off */
	bool is_partial;		/* the last record had no newline */

	/* The batch in the making. */
	uint64_t start;
	uint64_t records;
	struct mb_hasher *hasher;	/* of [start, split.complete) */
	struct mb_range *ranges;	/* closed by a reject */
	size_t n_ranges;
	struct mb_reject *rejects;
	size_t n_rejects;
};

struct mb_cutter {
	struct mb_cut_options options;
	struct mb_journal *journal;
	struct mb_input **inputs;	/* by rank, then name */
	size_t n_inputs;
	const struct mb_input *header;	/* whose header the batch has */
	struct mb_input *first;		/* kept out of the last batch; or NULL */
	uint64_t records, bytes;	/* in the batch in the making */
	size_t n_rejects, n_used;	/* n_used: inputs that contribute */
	struct mb_keep *keep;
	struct mb_parcel parcel;	/* of the last batch */
	size_t at;			/* input whose turn it is in this round */
	bool has_more;			/* something was found in this round */
	char *chunk;			/* for what is not kept */
};

/*
 * start.c
 */

/* Read records from in->g.end on. */
MB_CHECK int mb_input_begin(struct mb_cutter *c, struct mb_input *in,
    struct mb_err *err);

/*
 * A new generation: learn its format and header, and begin.  1 known, 0 not
 * enough bytes yet.
 */
MB_CHECK int mb_input_find_start(struct mb_cutter *c, struct mb_input *in,
    struct mb_err *err);

/*
 * input.c
 */

void mb_input_free(struct mb_input *in);
void mb_input_free_rejects(struct mb_input *in);

/*
 * What the system doesn't let us read is not gone.  true: the error is noted,
 * and it is to be tried again.
 */
bool mb_input_note_trouble(struct mb_input *in, struct mb_err *err);
void mb_input_end_trouble(struct mb_input *in);

/* The anchors at `end`: 1, or 0 if that much isn't there any more. */
MB_CHECK int mb_input_anchors(struct mb_input *in, uint64_t end,
    struct mb_hash *head, struct mb_hash *tail, struct mb_err *err);

/*
 * Of what was read here, the last bytes: they have to be there still.  p holds
 * the bytes from `from` on; the splitter may have gone back before it.
 */
void mb_input_remember(struct mb_input *in, const char *p, uint64_t from);

/*
 * Do the bytes that were read before still stand before `off`, after more was
 * read there?  1 or 0.  A file that is truncated and written anew beyond `off`
 * goes on with bytes of another life.
 */
MB_CHECK int mb_input_follows(struct mb_input *in, struct mb_err *err);

#endif
