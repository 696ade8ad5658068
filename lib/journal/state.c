#include "journal/lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
mb_batch_state_name(enum mb_batch_state s)
{
	static const char *const names[] = {
		[MB_PLANNED] = "planned", [MB_COMMITTED] = "committed",
		[MB_PARKED] = "parked", [MB_VOID] = "void",
	};

	return names[s];
}

void
mb_state_init(struct mb_state *s, bool keeps_all)
{
	*s = (struct mb_state){
		.keeps_all = keeps_all,
		.collector_run = MB_NONE,
		.committer_of = MB_NONE,
		.settled = MB_NONE,
		.last_commit = MB_NONE,
		.rows_batch = MB_NONE, .told_batch = MB_NONE,
	};
}

void
mb_batch_release(struct mb_batch *b)
{
	for (size_t i = 0; i < b->n_rejects; i++)
		free(b->rejects[i].reason);
	free(b->rejects);
	free(b->ranges);
	free(b->from);
	free(b->lost);
	free(b->reason);
	*b = (struct mb_batch){ 0 };
}

void
mb_generation_release(struct mb_generation *g)
{
	free(g->source);
	free(g->target);
	free(g->fields);
	*g = (struct mb_generation){ 0 };
}

bool
mb_generation_set_format(struct mb_generation *g, const char *format)
{
	size_t len = strlen(format);

	if (len >= sizeof g->format)
		return false;
	memcpy(g->format, format, len + 1);
	return true;
}

void
mb_state_release(struct mb_state *s)
{
	for (size_t i = 0; i < s->n_batches; i++)
		mb_batch_release(&s->batches[i]);
	for (size_t i = 0; i < s->n_generations; i++)
		mb_generation_release(&s->generations[i]);
	free(s->batches);
	free(s->generations);
	free(s->newest);
	free(s->collector_host);
	free(s->target);
	free(s->target_id);
	*s = (struct mb_state){ 0 };
}

uint64_t
mb_batch_records(const struct mb_batch *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < b->n_ranges; i++)
		n += b->ranges[i].records;
	return n;
}

uint64_t
mb_batch_bytes(const struct mb_batch *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < b->n_ranges; i++)
		n += b->ranges[i].end - b->ranges[i].start;
	return n;
}

bool
mb_batch_has_rows(const struct mb_batch *b)
{
	return b->state == MB_COMMITTED && (b->rows > 0 || b->was_found);
}

void
mb_batch_add_range(struct mb_batch *b, const struct mb_range *r)
{
	b->ranges = mb_realloc_array(b->ranges, b->n_ranges + 1,
	    sizeof *b->ranges);
	b->ranges[b->n_ranges++] = *r;
}

/* The index of the first batch that isn't below `number`. */
static size_t
batch_index(const struct mb_state *s, uint64_t number)
{
	size_t low = 0, high = s->n_batches;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->batches[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct mb_batch *
mb_state_batch(const struct mb_state *s, uint64_t number)
{
	size_t i = batch_index(s, number);

	if (i == s->n_batches || s->batches[i].number != number)
		return NULL;
	return &s->batches[i];
}

struct mb_generation *
mb_state_generation(const struct mb_state *s, uint64_t id)
{
	size_t low = 0, high = s->n_generations;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->generations[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == s->n_generations || s->generations[low].id != id)
		return NULL;
	return &s->generations[low];
}

/*
 * The newest generation of each source: open addressing, never more than four
 * fifths full.  What is removed is removed by building the table anew;
 * otherwise a generation keeps its place among the others.
 */
struct mb_newest {
	uint32_t hash;		/* part of it */
	uint32_t place;		/* from 1 in the array; 0: free */
};

static struct mb_newest *
newest_slot(const struct mb_state *s, const char *source, uint64_t hash)
{
	size_t mask = s->cap_newest - 1;

	for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
		struct mb_newest *slot = &s->newest[i];

		if (slot->place == 0 || (slot->hash == hash >> 32 && strcmp(
		    s->generations[slot->place - 1].source, source) == 0))
			return slot;
	}
}

/* The one at this place is its source's newest now. */
static void
set_newest(struct mb_state *s, size_t place)
{
	struct mb_generation *g = &s->generations[place];
	uint64_t hash = mb_hash64(g->source, strlen(g->source), 0);
	struct mb_newest *slot = newest_slot(s, g->source, hash);

	g->elder = slot->place == 0 ? MB_NONE :
	    s->generations[slot->place - 1].id;
	slot->hash = (uint32_t)(hash >> 32);
	slot->place = (uint32_t)place + 1;
}

static void
index_newest(struct mb_state *s)
{
	s->cap_newest = 16;
	while (4 * s->cap_newest < 5 * (s->n_generations + 1))
		s->cap_newest *= 2;
	free(s->newest);
	s->newest = mb_zalloc(s->cap_newest * sizeof *s->newest);
	for (size_t i = 0; i < s->n_generations; i++)
		set_newest(s, i);
}

struct mb_generation *
mb_state_newest(const struct mb_state *s, const char *source)
{
	const struct mb_newest *slot;

	if (s->n_generations == 0)
		return NULL;
	slot = newest_slot(s, source, mb_hash64(source, strlen(source), 0));
	return slot->place == 0 ? NULL : &s->generations[slot->place - 1];
}

struct mb_generation *
mb_state_elder(const struct mb_state *s, const struct mb_generation *g)
{
	return mb_state_generation(s, g->elder);
}

bool
mb_state_may_commit(const struct mb_state *s, uint64_t number, bool is_ordered)
{
	const struct mb_batch *b = s->batches;

	for (; b < s->batches + s->n_batches && b->number < number; b++) {
		if (b->state == MB_COMMITTED || b->state == MB_VOID)
			continue;
		if (is_ordered || !b->was_parked)
			return false;
	}
	return true;
}

bool
mb_state_needs(const struct mb_state *s, const struct mb_batch *b)
{
	if (s->settled == MB_NONE || b->number > s->settled ||
	    b->state == MB_PARKED)
		return true;
	if (s->rows_batch != MB_NONE && b->number <= s->rows_batch)
		return false;
	/* With rows and beyond the last with rows: found as another one. */
	return b->state == MB_VOID || mb_batch_has_rows(b);
}

bool
mb_fail_counts(int status)
{
	return status != 75;
}

struct mb_hash
mb_state_digest(const struct mb_state *s, const struct mb_batch *b)
{
	struct mb_buf text = { 0 };
	struct mb_hash digest;

	mb_buf_addf(&text, "mb1 %s %" PRIu64 " %s\n", s->id, b->number,
	    s->digest.hex);
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *r = &b->ranges[i];

		mb_buf_addf(&text, "range %" PRIu64 " %" PRIu64 " %" PRIu64
		    " %" PRIu64 " %s %d\n", r->generation, r->start, r->end,
		    r->records, r->hash.hex, r->is_partial);
	}
	for (size_t i = 0; i < b->n_rejects; i++)
		mb_buf_addf(&text, "reject %" PRIu64 " %" PRIu64 " %" PRIu64
		    "\n", b->rejects[i].generation, b->rejects[i].start,
		    b->rejects[i].end);
	for (size_t i = 0; i < b->n_from; i++)
		mb_buf_addf(&text, "from %" PRIu64 "\n", b->from[i]);
	for (size_t i = 0; i < b->n_lost; i++)
		mb_buf_addf(&text, "lost %" PRIu64 " %" PRIu64 " %" PRIu64
		    " %" PRIu64 "\n", b->lost[i].generation, b->lost[i].start,
		    b->lost[i].end, b->lost[i].records);
	digest = mb_hash_bytes(text.p, text.len);
	mb_buf_release(&text);
	return digest;
}

void
mb_state_requeue(const struct mb_state *s, const struct mb_batch *old,
    const bool *is_gone, struct mb_batch *out)
{
	*out = (struct mb_batch){
		.number = s->next_batch, .settled = s->settled,
		.requeued_as = MB_NONE, .n_from = old->n_from + 1,
		.n_rejects = old->n_rejects,
	};
	out->from = mb_realloc_array(NULL, out->n_from, sizeof *out->from);
	out->from[0] = old->number;
	for (size_t i = 0; i < old->n_from; i++)
		out->from[i + 1] = old->from[i];
	out->lost = mb_realloc_array(NULL, old->n_ranges, sizeof *out->lost);
	for (size_t i = 0; i < old->n_ranges; i++) {
		const struct mb_range *r = &old->ranges[i];

		if (is_gone[i])
			out->lost[out->n_lost++] = (struct mb_gone){
				r->generation, r->start, r->end, r->records
			};
		else
			mb_batch_add_range(out, r);
	}
	out->rejects = mb_realloc_array(NULL, old->n_rejects,
	    sizeof *out->rejects);
	for (size_t i = 0; i < old->n_rejects; i++) {
		out->rejects[i] = old->rejects[i];
		out->rejects[i].reason = mb_strdup(old->rejects[i].reason);
	}
	out->digest = mb_state_digest(s, out);
}

/*
 * What was read from a pipe is forgotten when it is settled; a file is known
 * as long as it may turn up again.
 */
static bool
is_droppable(const struct mb_generation *g)
{
	return g->is_forgotten || (g->is_final && g->spool != MB_NONE);
}

void
mb_state_add_generation(struct mb_state *s, struct mb_generation *g)
{
	if (s->n_generations == s->cap_generations) {
		s->cap_generations = s->cap_generations * 2 + 4;
		s->generations = mb_realloc_array(s->generations,
		    s->cap_generations, sizeof *s->generations);
	}
	s->generations[s->n_generations++] = *g;
	s->next_generation = g->id + 1;
	s->n_droppable += is_droppable(g);
	*g = (struct mb_generation){ 0 };
	if (5 * s->n_generations > 4 * s->cap_newest)
		index_newest(s);
	else
		set_newest(s, s->n_generations - 1);
}

void
mb_state_add_batch(struct mb_state *s, struct mb_batch *b)
{
	if (s->n_batches == s->cap_batches) {
		s->cap_batches = s->cap_batches * 2 + 4;
		s->batches = mb_realloc_array(s->batches, s->cap_batches,
		    sizeof *s->batches);
	}
	s->batches[s->n_batches++] = *b;
	*b = (struct mb_batch){ 0 };
}

static bool
is_settled(const struct mb_batch *b)
{
	return b->state != MB_PLANNED;
}

/* Does an unsettled or parked batch need this generation? */
static bool
is_needed(const struct mb_state *s, const struct mb_generation *g)
{
	for (size_t i = 0; i < s->n_batches; i++) {
		const struct mb_batch *b = &s->batches[i];

		if (b->state != MB_PLANNED && b->state != MB_PARKED)
			continue;
		for (size_t k = 0; k < b->n_ranges; k++)
			if (b->ranges[k].generation == g->id)
				return true;
		/* Of one that is all lost it tells the fields. */
		for (size_t k = 0; k < b->n_lost; k++)
			if (b->lost[k].generation == g->id)
				return true;
	}
	return false;
}

void
mb_state_drop_generations(struct mb_state *s)
{
	size_t kept = 0, n = s->n_generations;

	if (s->keeps_all || s->n_droppable == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct mb_generation *g = &s->generations[i];

		if (is_droppable(g) && !is_needed(s, g)) {
			mb_generation_release(g);
			s->n_droppable--;
		} else {
			s->generations[kept++] = *g;
		}
	}
	s->n_generations = kept;
	if (kept < n)
		index_newest(s);
}

void
mb_state_mark(struct mb_state *s, struct mb_generation *g, bool is_final,
    bool is_forgotten)
{
	s->n_droppable -= is_droppable(g);
	g->is_final = is_final;
	g->is_forgotten = is_forgotten;
	s->n_droppable += is_droppable(g);
}

void
mb_state_advance_settled(struct mb_state *s)
{
	size_t kept = 0;
	uint64_t next = s->settled == MB_NONE ? 0 : s->settled + 1;
	const struct mb_batch *b;

	for (; next < s->next_batch; next++) {
		b = mb_state_batch(s, next);
		if (b != NULL && !is_settled(b))
			break;
	}
	s->settled = next == 0 ? MB_NONE : next - 1;
	if (s->keeps_all || s->n_batches == 0 || s->settled == MB_NONE)
		return;
	for (size_t i = 0; i < s->n_batches; i++) {
		struct mb_batch *old = &s->batches[i];

		if (!mb_state_needs(s, old))
			mb_batch_release(old);
		else
			s->batches[kept++] = *old;
	}
	s->n_batches = kept;
	mb_state_drop_generations(s);
}
