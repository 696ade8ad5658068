#include "journal/lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Writing.
 */

/* The members of an object that are a generation's. */
static void
put_generation(struct mb_buf *out, const struct mb_generation *g)
{
	char delimiter[2] = { g->delimiter, '\0' };
	char inode[64];

	mb_line_u64(out, "generation", g->id);
	mb_line_bytes(out, "source", mb_str(g->source));
	if (g->spool != MB_NONE)
		mb_line_u64(out, "spool", g->spool);
	snprintf(inode, sizeof inode, "%" PRIx64 ":%" PRIx64, g->dev, g->ino);
	mb_line_str(out, "inode", inode);
	if (g->born_ns > 0)
		mb_line_u64(out, "born", g->born_ns);
	if (g->target != NULL)
		mb_line_bytes(out, "target", mb_str(g->target));
	mb_line_str(out, "format", g->format);
	mb_line_str(out, "delimiter", delimiter);
	mb_line_raw(out, "fields", g->fields != NULL ? g->fields : "null");
	mb_line_u64(out, "start", g->start);
}

void
mb_put_position(struct mb_buf *out, const struct mb_generation *g)
{
	put_generation(out, g);
	mb_line_u64(out, "end", g->end);
	if (g->anchored > 0) {
		mb_line_u64(out, "anchored", g->anchored);
		mb_line_str(out, "head", mb_hash_unpack(&g->head).hex);
		mb_line_str(out, "tail", mb_hash_unpack(&g->tail).hex);
		mb_line_time(out, "planned", g->time_ms);
	}
	mb_line_bool(out, "final", g->is_final);
	if (g->is_forgotten)
		mb_line_bool(out, "forgotten", true);
}

static void
put_rejects(struct mb_buf *out, const struct mb_batch *b)
{
	if (b->n_rejects == 0)
		return;
	mb_line_open(out, "rejects", '[');
	for (size_t i = 0; i < b->n_rejects; i++) {
		const struct mb_reject *r = &b->rejects[i];

		mb_line_open(out, NULL, '{');
		mb_line_u64(out, "generation", r->generation);
		mb_line_u64(out, "start", r->start);
		mb_line_u64(out, "end", r->end);
		mb_line_str(out, "reason", r->reason);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
}

/* Of a requeued batch: what it was, and what of that is gone. */
static void
put_origin(struct mb_buf *out, const struct mb_batch *b)
{
	if (b->n_from == 0)
		return;
	mb_line_open(out, "from", '[');
	for (size_t i = 0; i < b->n_from; i++)
		mb_line_u64(out, NULL, b->from[i]);
	mb_line_close(out, ']');
	if (b->n_lost == 0)
		return;
	mb_line_open(out, "lost", '[');
	for (size_t i = 0; i < b->n_lost; i++) {
		const struct mb_gone *l = &b->lost[i];

		mb_line_open(out, NULL, '{');
		mb_line_u64(out, "generation", l->generation);
		mb_line_u64(out, "start", l->start);
		mb_line_u64(out, "end", l->end);
		mb_line_u64(out, "records", l->records);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
}

void
mb_put_batch(struct mb_buf *out, const struct mb_batch *b)
{
	mb_line_u64(out, "batch", b->number);
	mb_line_time(out, "time", b->time_ms);
	mb_line_str(out, "digest", b->digest.hex);
	mb_line_u64(out, "run", b->run);
	if (b->settled != MB_NONE)
		mb_line_u64(out, "settled", b->settled);
	mb_line_open(out, "ranges", '[');
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *r = &b->ranges[i];

		mb_line_open(out, NULL, '{');
		mb_line_u64(out, "generation", r->generation);
		mb_line_u64(out, "start", r->start);
		mb_line_u64(out, "end", r->end);
		mb_line_u64(out, "records", r->records);
		mb_line_str(out, "hash", r->hash.hex);
		mb_line_str(out, "head", r->head.hex);
		mb_line_str(out, "tail", r->tail.hex);
		if (r->is_partial)
			mb_line_bool(out, "partial", true);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
	put_rejects(out, b);
	put_origin(out, b);
}

void
mb_put_source(struct mb_buf *out, const struct mb_generation *g)
{
	size_t start = out->len;

	mb_line_begin(out, "source");
	put_generation(out, g);
	mb_line_seal(out, start);
}

void
mb_put_final(struct mb_buf *out, uint64_t generation)
{
	size_t start = out->len;

	mb_line_begin(out, "final");
	mb_line_u64(out, "generation", generation);
	mb_line_seal(out, start);
}

void
mb_put_forget(struct mb_buf *out, const uint64_t *generations, size_t n)
{
	size_t start = out->len;

	mb_line_begin(out, "forget");
	mb_line_open(out, "generations", '[');
	for (size_t i = 0; i < n; i++)
		mb_line_u64(out, NULL, generations[i]);
	mb_line_close(out, ']');
	mb_line_seal(out, start);
}

void
mb_put_lost(struct mb_buf *out, const struct mb_lost *l)
{
	size_t start = out->len;

	mb_line_begin(out, "lost");
	mb_line_u64(out, "generation", l->generation);
	mb_line_u64(out, "start", l->start);
	if (l->end != MB_NONE)
		mb_line_u64(out, "end", l->end);
	mb_line_time(out, "time", l->time_ms);
	mb_line_str(out, "reason", l->reason);
	mb_line_seal(out, start);
}

void
mb_put_plan(struct mb_buf *out, const struct mb_batch *b, uint64_t synced)
{
	size_t start = out->len;

	mb_line_begin(out, "plan");
	mb_put_batch(out, b);
	mb_line_u64(out, "synced", synced);
	mb_line_seal(out, start);
}

/* What all lines begin with that say what became of a batch. */
static void
put_outcome(struct mb_buf *out, const char *verb, uint64_t batch, uint64_t run,
    int64_t time_ms)
{
	mb_line_begin(out, verb);
	mb_line_u64(out, "batch", batch);
	mb_line_u64(out, "run", run);
	mb_line_time(out, "time", time_ms);
}

static void
put_target(struct mb_buf *out, const struct mb_commit *c)
{
	if (c->held > 0)
		mb_line_u64(out, "held", c->held);
	mb_line_bytes(out, "target", mb_str(c->target));
	mb_line_str(out, "target_id", c->target_id);
}

void
mb_put_commit(struct mb_buf *out, const struct mb_commit *c)
{
	size_t start = out->len;

	put_outcome(out, "commit", c->batch, c->run, c->time_ms);
	mb_line_u64(out, "records", c->records);
	if (c->was_found)
		mb_line_bool(out, "found", true);
	else
		mb_line_u64(out, "rows", c->rows);
	if (c->was_found && c->as != NULL)
		mb_line_u64(out, "as", *c->as);
	put_target(out, c);
	mb_line_seal(out, start);
}

void
mb_put_redo(struct mb_buf *out, const struct mb_commit *c,
    const struct mb_hash *digest)
{
	size_t start = out->len;

	put_outcome(out, "redo", c->batch, c->run, c->time_ms);
	mb_line_u64(out, "records", c->records);
	mb_line_u64(out, "rows", c->rows);
	mb_line_str(out, "digest", digest->hex);
	if (c->is_emptied)
		mb_line_bool(out, "emptied", true);
	put_target(out, c);
	mb_line_seal(out, start);
}

void
mb_put_fail(struct mb_buf *out, uint64_t batch, uint64_t run, int64_t time_ms,
    int status, const char *reason)
{
	size_t start = out->len;

	put_outcome(out, "fail", batch, run, time_ms);
	mb_line_u64(out, "status", (uint64_t)status);
	mb_line_str(out, "reason", reason);
	mb_line_seal(out, start);
}

void
mb_put_park(struct mb_buf *out, uint64_t batch, uint64_t run, int64_t time_ms,
    const char *reason)
{
	size_t start = out->len;

	put_outcome(out, "park", batch, run, time_ms);
	if (reason != NULL)
		mb_line_str(out, "reason", reason);
	mb_line_seal(out, start);
}

void
mb_put_unpark(struct mb_buf *out, uint64_t batch, uint64_t run,
    int64_t time_ms)
{
	size_t start = out->len;

	put_outcome(out, "unpark", batch, run, time_ms);
	mb_line_seal(out, start);
}

static void
put_u64_unless_none(struct mb_buf *out, const char *name, uint64_t v)
{
	if (v != MB_NONE)
		mb_line_u64(out, name, v);
}

struct mb_hash
mb_hash_part(const struct mb_hash *before, struct mb_str line)
{
	struct mb_hash both[2] = { *before, mb_hash_bytes(line.p, line.len) };

	return mb_hash_bytes(both, sizeof both);
}

static void
put_positions(struct mb_buf *out, const struct mb_generation *g, size_t n)
{
	mb_line_open(out, "generations", '[');
	for (size_t i = 0; i < n; i++) {
		mb_line_open(out, NULL, '{');
		mb_put_position(out, &g[i]);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
}

static void
put_part(struct mb_buf *out, const struct mb_state *s, uint64_t synced,
    struct mb_checkpoint *c, size_t n)
{
	size_t start = out->len;

	mb_line_begin(out, "part");
	mb_line_u64(out, "part", c->n_parts++);
	put_positions(out, s->generations + c->done, n);
	mb_line_u64(out, "synced", synced);
	mb_line_seal(out, start);
	c->done += n;
	c->parts = mb_hash_part(&c->parts, (struct mb_str){ out->p + start,
	    out->len - start - 1 });
}

bool
mb_put_checkpoint_line(struct mb_buf *out, const struct mb_state *s,
    uint64_t synced, struct mb_checkpoint *c)
{
	size_t start = out->len, left = s->n_generations - c->done;
	size_t most = c->most > 0 ? c->most : MB_PART;

	if (s->n_generations > most && left > 0) {
		put_part(out, s, synced, c, left < most ? left : most);
		return true;
	}
	mb_line_begin(out, "checkpoint");
	if (c->n_parts > 0) {
		mb_line_u64(out, "parts", c->n_parts);
		mb_line_str(out, "parts_hash", c->parts.hex);
	}
	mb_line_u64(out, "next_run", s->next_run);
	if (s->collector_run != MB_NONE) {
		mb_line_u64(out, "collector_run", s->collector_run);
		mb_line_i64(out, "collector_pid", s->collector_pid);
		mb_line_bytes(out, "collector_host",
		    mb_str(s->collector_host));
		mb_line_time(out, "collector_since", s->collector_ms);
	}
	put_u64_unless_none(out, "committer_of", s->committer_of);
	mb_line_u64(out, "next_batch", s->next_batch);
	mb_line_str(out, "digest", s->digest.hex);
	mb_line_time(out, "time", s->time_ms);
	put_u64_unless_none(out, "settled", s->settled);
	put_u64_unless_none(out, "last_commit", s->last_commit);
	if (s->rows_batch != MB_NONE) {
		mb_line_u64(out, "rows_batch", s->rows_batch);
		mb_line_str(out, "rows_digest", s->rows_digest.hex);
	}
	put_u64_unless_none(out, "told_batch", s->told_batch);
	if (s->held > 0)
		mb_line_u64(out, "held", s->held);
	if (s->target != NULL) {
		mb_line_bytes(out, "target", mb_str(s->target));
		mb_line_str(out, "target_id", s->target_id);
	}
	mb_line_u64(out, "total_records", s->total_records);
	mb_line_u64(out, "total_bytes", s->total_bytes);
	mb_line_u64(out, "total_rejects", s->total_rejects);
	if (s->n_lost > 0) {
		mb_line_u64(out, "lost", s->n_lost);
		mb_line_u64(out, "lost_unknown", s->n_lost_unknown);
		mb_line_u64(out, "lost_bytes", s->lost_bytes);
		mb_line_u64(out, "lost_records", s->lost_records);
	}
	mb_line_u64(out, "next_generation", s->next_generation);
	put_positions(out, s->generations + c->done, left);
	mb_line_open(out, "batches", '[');
	for (size_t i = 0; i < s->n_batches; i++) {
		const struct mb_batch *b = &s->batches[i];

		if (!mb_state_needs(s, b))
			continue;	/* kept for a listing only */
		mb_line_open(out, NULL, '{');
		mb_put_batch(out, b);
		mb_line_str(out, "state", mb_batch_state_name(b->state));
		mb_line_bool(out, "was_parked", b->was_parked);
		mb_line_u64(out, "fails", b->n_fails);
		mb_line_u64(out, "attempts", b->n_attempts);
		if (b->reason != NULL)
			mb_line_str(out, "reason", b->reason);
		if (b->state == MB_COMMITTED) {
			mb_line_time(out, "committed", b->commit_ms);
			mb_line_u64(out, "rows", b->rows);
			if (b->was_found)
				mb_line_bool(out, "found", true);
		}
		if (b->state == MB_VOID)
			put_u64_unless_none(out, "as", b->requeued_as);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
	mb_line_u64(out, "synced", synced);
	mb_line_seal(out, start);
	return false;
}

void
mb_put_checkpoint(struct mb_buf *out, const struct mb_state *s,
    uint64_t synced)
{
	struct mb_checkpoint c = { 0 };

	while (mb_put_checkpoint_line(out, s, synced, &c))
		continue;
}

/*
 * Reading.
 */

bool
mb_get_text(const struct mb_node *n, const char *name, char **out)
{
	size_t len;

	return mb_node_bytes(n, name, out, &len);
}

/* What is true of every complete generation, wherever it stands. */
bool
mb_get_generation(const struct mb_node *n, struct mb_generation *g)
{
	const struct mb_node *fields = mb_node_member(n, "fields");
	const char *text;

	if (!mb_node_u64(n, "generation", &g->id) ||
	    !mb_get_text(n, "source", &g->source) ||
	    !mb_node_str(n, "inode", &text) ||
	    sscanf(text, "%" SCNx64 ":%" SCNx64, &g->dev, &g->ino) != 2 ||
	    !mb_node_str(n, "format", &text))
		return false;
	(void)mb_node_u64(n, "born", &g->born_ns);
	(void)mb_get_text(n, "target", &g->target);
	if (!mb_generation_set_format(g, text) ||
	    !mb_node_str(n, "delimiter", &text) || strlen(text) != 1 ||
	    !mb_node_u64(n, "start", &g->start))
		return false;
	g->delimiter = text[0];
	if (!mb_node_u64(n, "spool", &g->spool))
		g->spool = MB_NONE;
	if (mb_node_length(fields) > 0)
		g->fields = mb_node_dump(fields);
	g->end = g->start;
	return true;
}

bool
mb_get_position(const struct mb_node *n, struct mb_generation *g)
{
	struct mb_hash head, tail;

	if (!mb_get_generation(n, g) || !mb_node_u64(n, "end", &g->end) ||
	    !mb_node_bool(n, "final", &g->is_final))
		return false;
	(void)mb_node_time(n, "planned", &g->time_ms);
	(void)mb_node_bool(n, "forgotten", &g->is_forgotten);
	if (!mb_node_u64(n, "anchored", &g->anchored))
		return true;
	if (!mb_node_hash(n, "head", &head) || !mb_node_hash(n, "tail", &tail))
		return false;
	g->head = mb_hash_pack(&head);
	g->tail = mb_hash_pack(&tail);
	return true;
}

static bool
get_range(const struct mb_node *n, struct mb_range *r)
{
	(void)mb_node_bool(n, "partial", &r->is_partial);
	return mb_node_u64(n, "generation", &r->generation) &&
	    mb_node_u64(n, "start", &r->start) &&
	    mb_node_u64(n, "end", &r->end) && r->start <= r->end &&
	    mb_node_u64(n, "records", &r->records) &&
	    mb_node_hash(n, "hash", &r->hash) &&
	    mb_node_hash(n, "head", &r->head) &&
	    mb_node_hash(n, "tail", &r->tail);
}

static bool
get_reject(const struct mb_node *n, struct mb_reject *r)
{
	const char *reason;

	if (!mb_node_u64(n, "generation", &r->generation) ||
	    !mb_node_u64(n, "start", &r->start) ||
	    !mb_node_u64(n, "end", &r->end) || r->start > r->end ||
	    !mb_node_str(n, "reason", &reason))
		return false;
	r->reason = mb_strdup(reason);
	return true;
}

static bool
get_lost(const struct mb_node *n, struct mb_gone *l)
{
	return mb_node_u64(n, "generation", &l->generation) &&
	    mb_node_u64(n, "start", &l->start) &&
	    mb_node_u64(n, "end", &l->end) && l->start <= l->end &&
	    mb_node_u64(n, "records", &l->records);
}

static bool
get_origin(const struct mb_node *n, struct mb_batch *b)
{
	const struct mb_node *from = mb_node_member(n, "from");
	const struct mb_node *lost = mb_node_member(n, "lost");
	size_t n_from = mb_node_length(from), n_lost = mb_node_length(lost);

	b->from = mb_realloc_array(NULL, n_from, sizeof *b->from);
	for (; b->n_from < n_from; b->n_from++)
		if (!mb_node_number(mb_node_at(from, b->n_from),
		    &b->from[b->n_from]))
			return false;
	b->lost = mb_realloc_array(NULL, n_lost, sizeof *b->lost);
	for (; b->n_lost < n_lost; b->n_lost++)
		if (!get_lost(mb_node_at(lost, b->n_lost),
		    &b->lost[b->n_lost]))
			return false;
	return true;
}

bool
mb_get_batch(const struct mb_node *n, struct mb_batch *b)
{
	const struct mb_node *ranges = mb_node_member(n, "ranges");
	const struct mb_node *rejects = mb_node_member(n, "rejects");
	size_t n_ranges = mb_node_length(ranges);
	size_t n_rejects = mb_node_length(rejects);

	if (!mb_node_u64(n, "batch", &b->number) ||
	    !mb_node_time(n, "time", &b->time_ms) ||
	    !mb_node_hash(n, "digest", &b->digest) ||
	    !mb_node_u64(n, "run", &b->run) || ranges == NULL)
		return false;
	if (!mb_node_u64(n, "settled", &b->settled))
		b->settled = MB_NONE;
	b->ranges = mb_realloc_array(NULL, n_ranges, sizeof *b->ranges);
	for (; b->n_ranges < n_ranges; b->n_ranges++) {
		b->ranges[b->n_ranges] = (struct mb_range){ 0 };
		if (!get_range(mb_node_at(ranges, b->n_ranges),
		    &b->ranges[b->n_ranges]))
			return false;
	}
	b->rejects = mb_realloc_array(NULL, n_rejects, sizeof *b->rejects);
	for (; b->n_rejects < n_rejects; b->n_rejects++) {
		b->rejects[b->n_rejects] = (struct mb_reject){ 0 };
		if (!get_reject(mb_node_at(rejects, b->n_rejects),
		    &b->rejects[b->n_rejects]))
			return false;
	}
	return get_origin(n, b);
}
