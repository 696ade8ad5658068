/*
 * stream.h - the files that a chain has open, and what chain.c, stream.c and
 * successor.c share; nothing else includes it.
 *
 * A stream is one file that is read: the live one, which the path leads to, or
 * one that has left it (chain.h has the states).  A chain has its streams in
 * order, the eldest first; only the last can be live.  Whatever ends a stream
 * takes it out of the array, so whoever walks there looks at `n` again.
 *
 * Unobservable is not gone.  What can't be looked at now is said once (hide),
 * stays as it is, and is tried again; without -f it is an error, MB_EIO, or
 * records would be passed over in silence.
 */
#ifndef MB_SOURCE_STREAM_H
#define MB_SOURCE_STREAM_H

#include "source/chain.h"

struct mb_stream {
	struct mb_located file;
	struct mb_input *input;
	struct mb_look seen;	/* of file.fd, before the last scan */
	int64_t whole_ns;	/* last written, while it was whole */
	int64_t grown_us;	/* steady time of the last growth */
	bool is_live, is_ending;
	bool is_broken;		/* it doesn't hold what was read of it, and
				   what does can't be found out now */
	bool is_in_use;		/* the emitter reads from our content */
	bool was_damaged;	/* and the user was told */
};

struct mb_chain {
	struct mb_chain_world *w;
	struct mb_path *path;
	struct mb_stream **streams;	/* the eldest first */
	size_t n;
	/*
	 * Where the last stream has been closed, or there was none: what the
	 * next file has to be younger than.
	 */
	bool has_after;
	struct mb_inode after;		/* ino 0: not known */
	int64_t after_ns;		/* INT64_MAX: only the path counts */
	uint64_t born_ns;		/* and a rotated one that it was born
					   since then; 0 */
	struct mb_look tried;		/* of the path, when the next file was */
	int64_t tried_us;		/* looked for in vain; and when */
	bool is_waiting, was_waiting;	/* was: when that was tried */
	bool is_hidden, was_hidden;	/* something can't be observed */
	struct mb_buf why;		/* what, and the reason: for hide */
};

static inline const struct mb_state *
mb_chain_state(const struct mb_chain *c)
{
	return mb_journal_state(c->w->journal);
}

/* c->why is "path: what errno means". */
void mb_chain_explain(struct mb_chain *c, const char *path, int error);
/*
 * Something can't be observed, c->why says what: MB_CHAIN_AGAIN, -1.  What is
 * open stays so, as it may have no name any more.
 */
MB_CHECK int mb_chain_hide(struct mb_chain *c, struct mb_err *err);
/* The same for this reason: 0, -1. */
MB_CHECK int mb_chain_hide_for(struct mb_chain *c, const char *why,
    struct mb_err *err);
/*
 * An error that says only that something couldn't be looked at is forgotten,
 * after the same: 0.  Any other stays: -1.
 */
MB_CHECK int mb_chain_excuse(struct mb_chain *c, struct mb_err *err);

/*
 * Bytes are gone, and what stands there is read from its start: tell, and
 * journal it.  `end` MB_NONE: nobody knows how many.  `generation` MB_NONE:
 * nothing of it was planned.  MB_EDATA: --strict.
 */
MB_CHECK int mb_chain_lose(struct mb_chain *c, uint64_t generation,
    uint64_t start, uint64_t end, struct mb_err *err);

/*
 * Read a file as the last stream, from where the journal knows it; NULL: a new
 * generation.  The file is taken, also on failure.
 */
MB_CHECK int mb_stream_open(struct mb_chain *c, struct mb_located *file,
    const struct mb_generation *known, bool is_live, struct mb_err *err);
/* The i-th goes; `after` is it, if it had its turn. */
void mb_stream_close(struct mb_chain *c, size_t i);

/*
 * The i-th doesn't hold any more what was read of it.  It may have been copied
 * before it was truncated; then what is left is in the copy, and it goes on
 * there.  Else it is closed, and what is lost is told.
 */
MB_CHECK int mb_stream_find_copy(struct mb_chain *c, size_t i,
    struct mb_err *err);

/* Has the i-th grown, or changed?  It may be closed by that. */
MB_CHECK int mb_stream_check(struct mb_chain *c, size_t i,
    struct mb_err *err);
/* Does the path still lead to the live one? */
MB_CHECK int mb_stream_turn(struct mb_chain *c, struct mb_stream *t,
    struct mb_err *err);
/* The i-th isn't live: it ends once it is quiet, and is closed when done. */
MB_CHECK int mb_stream_leave(struct mb_chain *c, size_t i,
    struct mb_err *err);

/* Has everything been read that is there now?  If nobody knows, it hasn't. */
bool mb_stream_is_drained(const struct mb_stream *t);

#endif
