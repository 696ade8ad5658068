/*
 * session.h - one stream of batches, from a journal into a sink.
 *
 *	staged -> commit lock -> journal and marker compared -> journal says
 *	that it may -> sink step, with marker [mb_sink_commit] -> `commit`
 *	appended
 *
 * Only the sink's marker decides what is committed; the journal follows.
 *
 * Interleavings.  What can come between the steps, and what then holds the
 * promise (tests/model runs all of them; R: its rule that breaks it):
 *
 *  a. We die between the sink's step and the `commit`.  The next session finds
 *     the batch in the marker, made durable before it is believed [found,
 *     marker-sync].
 *  b. The same, and before the next session the batch is parked by hand: mb-replay
 *     doesn't know the sink.  A parked batch that the marker has is committed
 *     all the same.
 *  c. The same, and then it is requeued: it is void, its ranges have another
 *     number, and the marker has the first.  So each batch is looked up under
 *     all its numbers [requeue-former], its `commit` says under which it was
 *     found, and not the new number but that one is what the sink must have
 *     from then on [requeue-as].  The void batch's digest is kept until then,
 *     since it may be the marker's last.
 *  d. A void or parked number is passed over by a later one: it becomes a hole
 *     [holes].  To know that it is void and not a batch without rows, void
 *     batches are kept beyond the last commit with rows [void-kept].
 *  e. A committer with the old number in hand goes on after the requeue (a
 *     zombie, or where locks don't hold): either its step comes first, then
 *     (c), because the other's compare and swap fails and it looks again; or
 *     the other's comes first, and then its own fails, and it finds the batch
 *     void [cas].
 *  f. A batch is parked by its committer after an error of unknown outcome,
 *     and it is in the sink.  As (b).
 *  g. A batch is unparked after a plan has said `settled` beyond it: what it
 *     needs is still there, since parked batches keep what they need
 *     [spool-parked], and so do planned ones, whatever their number.
 *  h. A requeue is journalled by a process that dies before its sync, and a live
 *     collector sees the plan.  It makes it durable before it sends its frame
 *     [requeue-harden].
 *  i. A batch is copied into another target, then requeued and copied again
 *     under the new number: copies look under all numbers, too, and a void
 *     batch is copied no more [copy-former].
 *  j. Two requeues of the same batch: the second finds it void, under the
 *     append lock.
 */
#ifndef MB_SINK_SESSION_H
#define MB_SINK_SESSION_H

#include "journal/outcome.h"
#include "sink/sink.h"

struct mb_session_options {
	/*
	 * NULL: at-least-once, a plain stream.  For a replay it must have been
	 * opened with MB_JOURNAL_ALL.
	 */
	struct mb_journal *journal;
	struct mb_sink *sink;
	uint64_t run;			/* ours */
	uint64_t hello_run;		/* the stream's */
	bool is_replay;
	bool is_copy;			/* inside mb-collect -- CMD: CMD's
					   status settles the batch */
	bool has_no_marker;		/* standard output */
	bool accepts_new;		/* --new-target */
	bool redoes;			/* --redo: replays write committed
					   batches again */
	bool is_dry;			/* nothing is written: neither lock nor
					   line in the journal */
	bool is_ordered;
	uint64_t park_after;		/* failed attempts; 0: never */
	int64_t retry_us;
	/* Told of batches that are dropped or parked, and why. */
	void (*say)(void *arg, uint64_t batch, const char *what);
	void *arg;
};

struct mb_session;

/*
 * Compare journal and sink, and settle what is found.  All is borrowed.
 *
 * Errors: MB_ECORRUPT, with a line that says which of the two was lost,
 * copied or restored; those of the sink and the journal.
 */
MB_CHECK int mb_session_open(struct mb_session **out,
    const struct mb_session_options *options, struct mb_err *err);
void mb_session_close(struct mb_session *s);

/* As last read or moved; borrowed until the next call. */
const struct mb_marker *mb_session_marker(const struct mb_session *s);

/* Is the batch to be read at all?  1; 0: it is to be dropped, as was said. */
MB_CHECK int mb_session_wants(struct mb_session *s, const struct mb_begin *b,
    struct mb_err *err);

/*
 * Commit the batch that is staged in the sink; tries again with back-off
 * while that can help.  1 committed; 0 dropped, as was said.
 */
MB_CHECK int mb_session_commit(struct mb_session *s, const struct mb_begin *b,
    uint64_t rows, struct mb_err *err);

/*
 * The batch has failed, for `why`: write that down.  1: it is set aside, so
 * the stream can go on; 0: it can't.  What goes wrong here is only said: the
 * cause matters more.
 */
int mb_session_fail(struct mb_session *s, const struct mb_begin *b,
    const struct mb_err *why);

#endif
