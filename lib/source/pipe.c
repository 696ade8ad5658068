#include "source/pipe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "frame/frame.h"
#include "source/spool.h"

#define SOURCE "-"

enum {
	CHUNK = 256 * 1024,
	AHEAD = 64 << 20,	/* spooled and not planned, at most */
};

/* A planned range that a repeated stream has to match. */
struct check {
	uint64_t start, end;
	struct mb_hash hash;
};

struct mb_pipe {
	int fd;
	unsigned rank;
	uint64_t run;
	bool again, has_begun, has_ended;
	struct mb_journal *journal;
	struct mb_cutter *cutter;
	struct mb_emitter *emitter;
	char *chunk;

	/* Spools that earlier runs have left, oldest first. */
	uint64_t *left;
	size_t n_left, next_left;
	bool is_left;		/* the current one is such */

	struct mb_spool *spool;
	struct mb_content *content;
	struct mb_input *input;
	bool is_in_use;
	uint64_t spare;		/* what is before it may go, by the last plan */

	/* Repeated bytes: [0, skip) has to be what it was. */
	uint64_t skip, seen;
	struct mb_hash head, tail;	/* of the generation, at skip */
	struct mb_buf head_bytes, tail_bytes;
	struct check *checks;		/* rising */
	size_t n_checks, next_check;
	struct mb_hasher *hasher;	/* of checks[next_check] */
};

static const struct mb_generation *
generation_of(const struct mb_pipe *p, uint64_t spool)
{
	const struct mb_state *s = mb_journal_state(p->journal);

	for (size_t i = 0; i < s->n_generations; i++)
		if (s->generations[i].spool == spool)
			return &s->generations[i];
	return NULL;
}

/*
 * The offset from which on batches beyond `settled` or parked need it, by the
 * state that said `settled`: what is unparked later was parked then.
 */
static uint64_t
needed_from(const struct mb_pipe *p, const struct mb_generation *g,
    uint64_t settled)
{
	const struct mb_state *s = mb_journal_state(p->journal);
	uint64_t from = g->end;

	for (size_t i = 0; i < s->n_batches; i++) {
		const struct mb_batch *b = &s->batches[i];

		if (settled != MB_NONE && b->number <= settled &&
		    (b->state == MB_COMMITTED || b->state == MB_VOID))
			continue;
		for (size_t k = 0; k < b->n_ranges; k++)
			if (b->ranges[k].generation == g->id &&
			    b->ranges[k].start < from)
				from = b->ranges[k].start;
	}
	return from;
}

static void
close_input(struct mb_pipe *p)
{
	if (p->is_in_use)
		mb_emitter_use(p->emitter, mb_input_generation(p->input), NULL);
	if (p->input != NULL)
		mb_input_remove(p->cutter, p->input);
	mb_content_close(p->content);
	mb_spool_close(p->spool);
	p->is_in_use = false;
	p->spare = 0;
	p->input = NULL;
	p->content = NULL;
	p->spool = NULL;
}

static int
open_input(struct mb_pipe *p, uint64_t spool, enum mb_spool_use use,
    struct mb_err *err)
{
	const struct mb_generation *g = generation_of(p, spool);

	if (mb_spool_open(&p->spool, p->journal, spool,
	    g != NULL ? g->end : 0, use, err) < 0)
		return -1;
	p->content = mb_content_of_spool(p->spool);
	p->input = mb_input_add(p->cutter, p->rank, SOURCE, spool, p->content,
	    g);
	return 0;
}

/*
 * The stream will be repeated: remember what has to come again.  Our state
 * forgets what is settled, so the journal is read once more, whole; what it
 * has dropped itself (--retain) is known by its anchors only.
 */
static int
expect_again(struct mb_pipe *p, const struct mb_generation *g,
    struct mb_err *err)
{
	const struct mb_state *s;
	struct mb_journal *all;

	if (mb_journal_open(&all, mb_journal_path(p->journal), MB_JOURNAL_ALL |
	    MB_JOURNAL_SHARED, err) < 0)
		return -1;
	s = mb_journal_state(all);
	p->skip = g->anchored;
	p->head = mb_hash_unpack(&g->head);
	p->tail = mb_hash_unpack(&g->tail);
	p->hasher = mb_hasher_open();
	for (size_t i = 0; i < s->n_batches; i++)
		/* Those of a requeued batch have been here before. */
		for (size_t k = 0; s->batches[i].n_from == 0 &&
		    k < s->batches[i].n_ranges; k++) {
			const struct mb_range *r = &s->batches[i].ranges[k];

			if (r->generation != g->id)
				continue;
			p->checks = mb_realloc_array(p->checks,
			    p->n_checks + 1, sizeof *p->checks);
			p->checks[p->n_checks++] = (struct check){
				r->start, r->end, r->hash
			};
		}
	mb_journal_close(all);
	return 0;
}

/* Begin the pipe that is there now. */
static int
begin_live(struct mb_pipe *p, struct mb_err *err)
{
	const struct mb_generation *g = mb_state_newest(
	    mb_journal_state(p->journal), SOURCE);

	p->is_left = false;
	if (!p->again || g == NULL || g->spool == MB_NONE)
		return open_input(p, p->run, MB_SPOOL_RESUME, err);
	if (expect_again(p, g, err) < 0)
		return -1;
	/* A reject behind the last range was seen too. */
	if (g->end > p->skip)
		p->skip = g->end;
	return open_input(p, g->spool, MB_SPOOL_AGAIN, err);
}

/*
 * Has the journal forgotten the generation of this spool?  Spools are planned
 * in the order of their runs, so one before the newest was planned to its
 * end, and a generation is forgotten only when all of it is settled.
 */
static bool
is_forgotten(const struct mb_generation *g, uint64_t spool,
    const struct mb_generation *newest)
{
	return g == NULL && newest != NULL && newest->spool != MB_NONE &&
	    spool < newest->spool;
}

/*
 * Which spools of earlier runs still hold something new?  The others are
 * removed once nothing needs them.
 */
static int
list_left(struct mb_pipe *p, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(p->journal);
	const struct mb_generation *newest = mb_state_newest(s, SOURCE);
	uint64_t *runs;
	size_t n;
	int rc = 0;

	if (mb_spool_list(p->journal, &runs, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct mb_generation *g = generation_of(p, runs[i]);
		struct mb_spool *spool;
		uint64_t end;

		if ((p->again && g == NULL) ||
		    is_forgotten(g, runs[i], newest)) {
			rc = mb_spool_remove(p->journal, runs[i], err);
			continue;
		}
		if (p->again && g == newest) {
			/* It goes on, but what is settled may go. */
			if (needed_from(p, g, s->settled) == g->end)
				rc = mb_spool_remove(p->journal, runs[i], err);
			continue;
		}
		rc = mb_spool_open(&spool, p->journal, runs[i],
		    g != NULL ? g->end : 0, MB_SPOOL_RESUME, err);
		if (rc < 0)
			break;
		end = mb_spool_end(spool);
		mb_spool_close(spool);
		if (end > (g != NULL ? g->end : 0))
			p->left[p->n_left++] = runs[i];
		else if (g == NULL || needed_from(p, g, s->settled) == g->end)
			rc = mb_spool_remove(p->journal, runs[i], err);
	}
	free(runs);
	return rc;
}

int
mb_pipe_open(struct mb_pipe **out, int fd, unsigned rank, uint64_t run,
    bool again, struct mb_journal *j, struct mb_cutter *c,
    struct mb_emitter *e, struct mb_err *err)
{
	struct mb_pipe *p = mb_alloc(sizeof *p);
	uint64_t *runs;
	size_t n;

	*out = NULL;
	*p = (struct mb_pipe){
		.fd = fd, .rank = rank, .run = run, .again = again,
		.journal = j, .cutter = c, .emitter = e,
		.chunk = mb_alloc(CHUNK),
	};
	if (mb_spool_list(j, &runs, &n, err) < 0)
		goto fail;
	free(runs);
	p->left = mb_realloc_array(NULL, n, sizeof *p->left);
	if (list_left(p, err) < 0 || mb_pipe_refresh(p, err) < 0)
		goto fail;
	*out = p;
	return 0;
fail:
	mb_pipe_close(p);
	return -1;
}

void
mb_pipe_close(struct mb_pipe *p)
{
	if (p == NULL)
		return;
	close_input(p);
	if (p->hasher != NULL)
		mb_hasher_close(p->hasher);
	mb_buf_release(&p->head_bytes);
	mb_buf_release(&p->tail_bytes);
	free(p->checks);
	free(p->left);
	free(p->chunk);
	free(p);
}

int
mb_pipe_refresh(struct mb_pipe *p, struct mb_err *err)
{
	if (p->input != NULL && !(p->is_left && mb_input_is_done(p->input)))
		return 0;
	if (p->input != NULL)
		close_input(p);
	if (p->next_left == p->n_left)
		return begin_live(p, err);
	p->is_left = true;
	if (open_input(p, p->left[p->next_left++], MB_SPOOL_RESUME, err) < 0)
		return -1;
	mb_input_final(p->input, true);
	return 0;
}

bool
mb_pipe_wants(const struct mb_pipe *p)
{
	/* What a batch lacks, or a record, can be longer than AHEAD. */
	return !p->has_ended && !p->is_left && (mb_spool_end(p->spool) <
	    mb_input_planned(p->input) + AHEAD ||
	    mb_cut_wants(p->cutter, p->input));
}

static int
not_the_same(const struct mb_pipe *p, uint64_t off, struct mb_err *err)
{
	return mb_fail(err, MB_EDATA, "standard input: is not what it was "
	    "before byte %" PRIu64 " (--stdin again)%s", off,
	    p->has_ended ? ": it ends too early" : "");
}

/* Compare what comes again with what the journal knows of it. */
static int
verify(struct mb_pipe *p, const char *bytes, size_t len, struct mb_err *err)
{
	uint64_t from = p->seen, to = p->seen + len;
	size_t keep;

	if (p->head_bytes.len < MB_ANCHOR) {
		keep = MB_ANCHOR - p->head_bytes.len;
		mb_buf_add(&p->head_bytes, bytes, keep < len ? keep : len);
	}
	mb_buf_add(&p->tail_bytes, bytes, len);
	if (p->tail_bytes.len > MB_ANCHOR && p->skip > to) {
		keep = p->tail_bytes.len - MB_ANCHOR;
		memmove(p->tail_bytes.p, p->tail_bytes.p + keep, MB_ANCHOR);
		p->tail_bytes.len = MB_ANCHOR;
	}
	while (p->next_check < p->n_checks) {
		struct check *c = &p->checks[p->next_check];
		uint64_t a = c->start > from ? c->start : from;
		uint64_t b = c->end < to ? c->end : to;

		if (a < b)
			mb_hasher_add(p->hasher, bytes + (a - from),
			    (size_t)(b - a));
		if (c->end > to)
			break;
		if (strcmp(mb_hasher_value(p->hasher).hex, c->hash.hex) != 0)
			return not_the_same(p, c->end, err);
		mb_hasher_reset(p->hasher);
		p->next_check++;
	}
	p->seen = to;
	return 0;
}

/* The anchors of the bytes that were skipped. */
static int
verify_anchors(struct mb_pipe *p, uint64_t anchored, struct mb_err *err)
{
	size_t len = anchored < MB_ANCHOR ? (size_t)anchored : MB_ANCHOR;
	uint64_t behind = p->skip - anchored;
	const char *tail;

	if (anchored == 0)
		return 0;
	if (p->head_bytes.len < len || strcmp(mb_hash_bytes(p->head_bytes.p,
	    len).hex, p->head.hex) != 0)
		return not_the_same(p, len, err);
	if (behind > 0)
		return 0;	/* rejects behind the last range: no tail */
	tail = p->tail_bytes.p + p->tail_bytes.len - len;
	if (strcmp(mb_hash_bytes(tail, len).hex, p->tail.hex) != 0)
		return not_the_same(p, anchored, err);
	return 0;
}

static int
skip(struct mb_pipe *p, const char **bytes, size_t *len, struct mb_err *err)
{
	const struct mb_generation *g;
	size_t part = *len;

	if (p->seen >= p->skip)
		return 0;
	if (part > p->skip - p->seen)
		part = (size_t)(p->skip - p->seen);
	if (verify(p, *bytes, part, err) < 0)
		return -1;
	*bytes += part;
	*len -= part;
	if (p->seen < p->skip)
		return 0;
	g = mb_state_newest(mb_journal_state(p->journal), SOURCE);
	if (g != NULL && verify_anchors(p, g->anchored, err) < 0)
		return -1;
	return 0;
}

/*
 * Spool what is new.  A spool that was removed begins anew, a little before,
 * with bytes that have been verified.
 */
static int
spool(struct mb_pipe *p, const char *bytes, size_t len, struct mb_err *err)
{
	uint64_t end = mb_spool_end(p->spool);

	if (len == 0)
		return 0;
	if (end < p->skip) {
		size_t back = (size_t)(p->skip - end);

		if (mb_spool_append(p->spool, p->tail_bytes.p +
		    p->tail_bytes.len - back, back, err) < 0)
			return -1;
	}
	mb_buf_release(&p->head_bytes);
	mb_buf_release(&p->tail_bytes);
	return mb_spool_append(p->spool, bytes, len, err);
}

int
mb_pipe_read(struct mb_pipe *p, struct mb_err *err)
{
	const char *bytes = p->chunk;
	ssize_t n = mb_read_some(p->fd, p->chunk, CHUNK, "standard input",
	    err);
	size_t len = (size_t)n;

	if (n < 0)
		return -1;
	if (n == 0) {
		p->has_ended = true;
		if (p->seen < p->skip)
			return not_the_same(p, p->skip, err);
		mb_input_final(p->input, true);
		return 0;
	}
	if (!p->has_begun && mb_frame_begins((struct mb_str){ bytes, len }))
		return mb_fail(err, MB_EUSAGE, "standard input: is frames, of "
		    "a pipeline that another tool has begun");
	p->has_begun = true;
	if (skip(p, &bytes, &len, err) < 0)
		return -1;
	return spool(p, bytes, len, err);
}

bool
mb_pipe_has_ended(const struct mb_pipe *p)
{
	return p->has_ended && !p->is_left;
}

bool
mb_pipe_is_left(const struct mb_pipe *p)
{
	return p->is_left;
}

int
mb_pipe_sync(struct mb_pipe *p, struct mb_err *err)
{
	return p->spool != NULL ? mb_spool_sync(p->spool, err) : 0;
}

void
mb_pipe_planned(struct mb_pipe *p, uint64_t settled)
{
	uint64_t id = mb_input_generation(p->input), from;
	const struct mb_generation *g;

	if (id == MB_NONE)
		return;
	g = mb_state_generation(mb_journal_state(p->journal), id);
	if (g != NULL) {
		/* The anchors of the next plan reach back, the first to 0. */
		from = needed_from(p, g, settled);
		p->spare = from > MB_ANCHOR && g->anchored >= MB_ANCHOR ?
		    from - MB_ANCHOR : 0;
	}
	if (p->is_in_use)
		return;
	mb_emitter_use(p->emitter, id, p->content);
	p->is_in_use = true;
}

int
mb_pipe_release(struct mb_pipe *p, struct mb_err *err)
{
	uint64_t id = mb_input_generation(p->input);
	const struct mb_generation *g;

	if (id == MB_NONE)
		return 0;
	g = mb_state_generation(mb_journal_state(p->journal), id);
	if (g == NULL)
		return 0;
	if (mb_spool_cut(p->spool, g->end, err) < 0)
		return -1;
	return mb_spool_release(p->spool, p->spare, err);
}
