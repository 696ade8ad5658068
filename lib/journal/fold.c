/*
 * What each kind of line does to a state (mb-journal(5)), and what can't
 * follow.
 */
#include "journal/lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int
corrupt(struct mb_err *err, const char *verb, const char *what)
{
	return mb_fail(err, MB_ECORRUPT, "%s: %s", verb, what);
}

static int
apply_open(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	const char *id;
	uint64_t version;

	if (s->id[0] != '\0')
		return corrupt(err, "open", "a second one");
	if (!mb_node_u64(n, "version", &version) || version != 1)
		return corrupt(err, "open",
		    "a version of the format that this mb doesn't know");
	if (!mb_node_str(n, "id", &id) || !mb_is_hex(mb_str(id), MB_ID_LEN))
		return corrupt(err, "open", "no id");
	memcpy(s->id, id, MB_ID_LEN + 1);
	s->digest = mb_hash_bytes(id, MB_ID_LEN);
	return 0;
}

static int
apply_run(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	const char *role;
	uint64_t run, pid, of;

	if (!mb_node_u64(n, "run", &run) || run < s->next_run ||
	    !mb_node_str(n, "role", &role) || !mb_node_u64(n, "pid", &pid))
		return corrupt(err, "run", "out of order or incomplete");
	s->next_run = run + 1;
	if (strcmp(role, "collect") == 0) {
		free(s->collector_host);
		s->collector_host = NULL;
		s->collector_run = run;
		s->collector_pid = (int64_t)pid;
		if (!mb_get_text(n, "host", &s->collector_host) ||
		    !mb_node_time(n, "time", &s->collector_ms))
			return corrupt(err, "run", "incomplete");
	} else if (strcmp(role, "commit") == 0 && mb_node_u64(n, "of", &of) &&
	    of == s->collector_run) {
		s->committer_of = of;
	}
	return 0;
}

static int
apply_source(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_generation g = { 0 };
	struct mb_generation *before;

	if (!mb_get_generation(n, &g) || g.id < s->next_generation) {
		mb_generation_release(&g);
		return corrupt(err, "source", "out of order or incomplete");
	}
	/* A pipe has ended when the next one comes. */
	before = g.spool == MB_NONE ? NULL : mb_state_newest(s, g.source);
	if (before != NULL)
		mb_state_mark(s, before, true, false);
	mb_state_add_generation(s, &g);
	mb_state_drop_generations(s);
	return 0;
}

static int
apply_final(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_generation *g;
	uint64_t id;

	if (!mb_node_u64(n, "generation", &id) || id >= s->next_generation)
		return corrupt(err, "final", "names no generation");
	g = mb_state_generation(s, id);
	if (g != NULL)
		mb_state_mark(s, g, true, g->is_forgotten);
	return 0;
}

static int
apply_forget(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	const struct mb_node *ids = mb_node_member(n, "generations");
	struct mb_generation *g;
	uint64_t id;

	for (size_t i = 0; i < mb_node_length(ids); i++) {
		if (!mb_node_number(mb_node_at(ids, i), &id) ||
		    id >= s->next_generation)
			return corrupt(err, "forget", "names no generation");
		g = mb_state_generation(s, id);
		if (g != NULL)
			mb_state_mark(s, g, true, true);
	}
	mb_state_drop_generations(s);
	return 0;
}

static int
apply_lost(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	uint64_t id, start, end;

	if (!mb_node_u64(n, "generation", &id) || id >= s->next_generation ||
	    !mb_node_u64(n, "start", &start))
		return corrupt(err, "lost", "names no bytes");
	s->n_lost++;
	if (!mb_node_u64(n, "end", &end))
		s->n_lost_unknown++;
	else if (end < start)
		return corrupt(err, "lost", "names no bytes");
	else
		s->lost_bytes += end - start;
	return 0;
}

/* The generations of a new plan have been read so far. */
static int
advance(struct mb_state *s, const struct mb_batch *b, struct mb_err *err)
{
	struct mb_generation *g;

	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *r = &b->ranges[i];

		g = mb_state_generation(s, r->generation);
		if (g == NULL || r->start < g->end)
			return corrupt(err, "plan",
			    "a range that doesn't follow its generation");
		g->end = r->end;
		g->anchored = r->end;
		g->head = mb_hash_pack(&r->head);
		g->tail = mb_hash_pack(&r->tail);
		g->time_ms = b->time_ms;
		/* It has come back. */
		if (g->spool == MB_NONE)
			mb_state_mark(s, g, false, false);
	}
	for (size_t i = 0; i < b->n_rejects; i++) {
		g = mb_state_generation(s, b->rejects[i].generation);
		if (g != NULL && b->rejects[i].end > g->end)
			g->end = b->rejects[i].end;
	}
	s->total_records += mb_batch_records(b);
	s->total_bytes += mb_batch_bytes(b);
	s->total_rejects += b->n_rejects;
	return 0;
}

/* Is each range of `old` kept as it is, or lost? */
static bool
has_same_ranges(const struct mb_batch *b, const struct mb_batch *old)
{
	size_t kept = 0, lost = 0;

	for (size_t i = 0; i < old->n_ranges; i++) {
		const struct mb_range *r = &old->ranges[i];
		const struct mb_range *k = &b->ranges[kept];
		const struct mb_gone *l = &b->lost[lost];

		if (kept < b->n_ranges && k->generation == r->generation &&
		    k->start == r->start && k->end == r->end &&
		    k->records == r->records &&
		    k->is_partial == r->is_partial &&
		    strcmp(k->hash.hex, r->hash.hex) == 0)
			kept++;
		else if (lost < b->n_lost && l->generation == r->generation &&
		    l->start == r->start && l->end == r->end &&
		    l->records == r->records)
			lost++;
		else
			return false;
	}
	return kept == b->n_ranges && lost == b->n_lost &&
	    b->n_rejects == old->n_rejects;
}

/* The ranges of a parked batch get a new number; the old one is void. */
static int
requeue(struct mb_state *s, const struct mb_batch *b, struct mb_err *err)
{
	struct mb_batch *old = mb_state_batch(s, b->from[0]);

	if (old == NULL || old->state != MB_PARKED)
		return corrupt(err, "plan", "from a batch that isn't parked");
	if (b->n_from != old->n_from + 1 || (old->n_from > 0 &&
	    memcmp(b->from + 1, old->from, old->n_from * sizeof *b->from) !=
	    0) || !has_same_ranges(b, old))
		return corrupt(err, "plan", "not what the batch was that it is "
		    "from");
	old->state = MB_VOID;
	old->requeued_as = b->number;
	s->n_lost += b->n_lost;
	for (size_t i = 0; i < b->n_lost; i++) {
		s->lost_records += b->lost[i].records;
		s->lost_bytes += b->lost[i].end - b->lost[i].start;
	}
	return 0;
}

static int
apply_plan(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_batch b = { .requeued_as = MB_NONE };
	struct mb_hash digest;
	bool is_requeued;

	if (!mb_get_batch(n, &b) || b.number != s->next_batch) {
		mb_batch_release(&b);
		return corrupt(err, "plan", "out of order or incomplete");
	}
	digest = mb_state_digest(s, &b);
	if (strcmp(digest.hex, b.digest.hex) != 0) {
		mb_batch_release(&b);
		return corrupt(err, "plan", "its digest isn't that of its "
		    "ranges and of the plan before");
	}
	if ((b.n_from > 0 ? requeue : advance)(s, &b, err) < 0) {
		mb_batch_release(&b);
		return -1;
	}
	s->next_batch = b.number + 1;
	s->digest = b.digest;
	s->time_ms = b.time_ms;
	is_requeued = b.n_from > 0;
	mb_state_add_batch(s, &b);
	if (is_requeued)
		mb_state_advance_settled(s);
	return 0;
}

/* The batch that a line speaks of; NULL with *is_old: settled long ago. */
static struct mb_batch *
named_batch(struct mb_state *s, const struct mb_node *n, const char *verb,
    struct mb_err *err)
{
	struct mb_batch *b;
	uint64_t number;

	if (!mb_node_u64(n, "batch", &number) || number >= s->next_batch) {
		corrupt(err, verb, "names a batch that isn't planned");
		return NULL;
	}
	b = mb_state_batch(s, number);
	if (b == NULL)
		corrupt(err, verb, "names a batch that is settled");
	return b;
}

/* Rows are in the sink: what does that say of it? */
static int
take_target(struct mb_state *s, const struct mb_node *n, const char *verb,
    struct mb_err *err)
{
	char *target;
	const char *id;

	if (!mb_node_str(n, "target_id", &id) ||
	    !mb_get_text(n, "target", &target))
		return corrupt(err, verb, "incomplete");
	free(s->target);
	free(s->target_id);
	s->target = target;
	s->target_id = mb_strdup(id);
	return 0;
}

static void
raise_rows(struct mb_state *s, uint64_t number, const struct mb_hash *digest)
{
	if (s->rows_batch != MB_NONE && number <= s->rows_batch)
		return;
	s->rows_batch = number;
	s->rows_digest = *digest;
}

/*
 * A requeued batch was found under a number that it had before: that one is
 * in the sink.
 */
static int
take_former(struct mb_state *s, const struct mb_batch *b, uint64_t as,
    struct mb_err *err)
{
	const struct mb_batch *former = mb_state_batch(s, as);
	size_t i = 0;

	while (i < b->n_from && b->from[i] != as)
		i++;
	if (i == b->n_from)
		return corrupt(err, "commit", "found as what it never was");
	if (former != NULL)
		raise_rows(s, as, &former->digest);
	else if (s->rows_batch == MB_NONE || as > s->rows_batch)
		return corrupt(err, "commit", "found as an unknown batch");
	return 0;
}

static int
apply_commit(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_batch *b = named_batch(s, n, "commit", err);
	bool was_found = false;
	uint64_t as;

	if (b == NULL)
		return -1;
	if (b->state != MB_PLANNED && b->state != MB_PARKED)
		return corrupt(err, "commit", "of a batch that is settled");
	(void)mb_node_bool(n, "found", &was_found);
	if (!mb_node_time(n, "time", &b->commit_ms) ||
	    (!was_found && !mb_node_u64(n, "rows", &b->rows)))
		return corrupt(err, "commit", "incomplete");
	b->state = MB_COMMITTED;
	b->was_found = was_found;
	/* Without rows it touched no sink, which may not even be there yet. */
	if (b->rows > 0 || was_found) {
		if (take_target(s, n, "commit", err) < 0)
			return -1;
		(void)mb_node_u64(n, "held", &s->held);
		if (was_found && mb_node_u64(n, "as", &as)) {
			if (take_former(s, b, as, err) < 0)
				return -1;
			s->told_batch = as;
		} else {
			raise_rows(s, b->number, &b->digest);
			s->told_batch = b->number;
		}
	}
	if (s->last_commit == MB_NONE || b->number > s->last_commit)
		s->last_commit = b->number;
	mb_state_advance_settled(s);
	return 0;
}

/* The rows of a committed batch, which may be forgotten, were put back. */
static int
apply_redo(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_hash digest;
	struct mb_batch *b;
	uint64_t number, rows, held;
	bool is_emptied = false;

	if (!mb_node_u64(n, "batch", &number) || number >= s->next_batch)
		return corrupt(err, "redo", "names a batch that isn't planned");
	if (!mb_node_u64(n, "rows", &rows) ||
	    !mb_node_hash(n, "digest", &digest))
		return corrupt(err, "redo", "incomplete");
	b = mb_state_batch(s, number);
	if (b != NULL && (b->state != MB_COMMITTED ||
	    strcmp(b->digest.hex, digest.hex) != 0))
		return corrupt(err, "redo", "of a batch that isn't committed");
	(void)mb_node_bool(n, "emptied", &is_emptied);
	if (b != NULL) {
		b->rows = rows;
		b->was_found = false;
	}
	if (rows == 0) {
		if (is_emptied && mb_node_u64(n, "held", &held) &&
		    held + 1 == s->held)
			s->held = held;
		return 0;
	}
	if (take_target(s, n, "redo", err) < 0)
		return -1;
	/* What is still to be put back is still missing. */
	if (mb_node_u64(n, "held", &held) && held > s->held)
		s->held = held;
	raise_rows(s, number, &digest);
	mb_state_advance_settled(s);
	return 0;
}

static void
set_reason(struct mb_batch *b, const struct mb_node *n)
{
	const char *reason;

	if (mb_node_str(n, "reason", &reason)) {
		free(b->reason);
		b->reason = mb_strdup(reason);
	}
}

static int
apply_fail(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_batch *b = named_batch(s, n, "fail", err);
	uint64_t status;

	if (b == NULL)
		return -1;
	if (!mb_node_u64(n, "status", &status) || mb_fail_counts((int)status))
		b->n_attempts++;
	b->n_fails++;
	set_reason(b, n);
	return 0;
}

static int
apply_park(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_batch *b = named_batch(s, n, "park", err);

	if (b == NULL)
		return -1;
	if (b->state != MB_PLANNED)
		return corrupt(err, "park", "of a batch that isn't planned");
	b->state = MB_PARKED;
	b->was_parked = true;
	set_reason(b, n);
	mb_state_advance_settled(s);
	return 0;
}

static int
apply_unpark(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	struct mb_batch *b = named_batch(s, n, "unpark", err);

	if (b == NULL)
		return -1;
	if (b->state != MB_PARKED)
		return corrupt(err, "unpark", "of a batch that isn't parked");
	b->state = MB_PLANNED;
	b->n_attempts = 0;
	if (s->settled != MB_NONE && s->settled >= b->number)
		s->settled = b->number == 0 ? MB_NONE : b->number - 1;
	return 0;
}

static int
add_positions(struct mb_state *s, const struct mb_node *n, const char *verb,
    struct mb_err *err)
{
	const struct mb_node *generations = mb_node_member(n, "generations");

	if (generations == NULL)
		return corrupt(err, verb, "incomplete");
	for (size_t i = 0; i < mb_node_length(generations); i++) {
		const struct mb_node *e = mb_node_at(generations, i);
		struct mb_generation g = { 0 };

		if (!mb_get_position(e, &g) || g.id < s->next_generation) {
			mb_generation_release(&g);
			return corrupt(err, verb, "a generation");
		}
		mb_state_add_generation(s, &g);
	}
	return 0;
}

/* The first lines of a checkpoint that comes first. */
static int
apply_part(struct mb_state *s, const struct mb_node *n, struct mb_str line,
    struct mb_err *err)
{
	uint64_t number;

	if (!mb_node_u64(n, "part", &number) || number != s->n_parts)
		return corrupt(err, "part", "not the next one");
	s->parts = mb_hash_part(&s->parts, line);
	s->n_parts++;
	return add_positions(s, n, "part", err);
}

/* Have all its parts come?  Then they are done with. */
static bool
has_parts(struct mb_state *s, const struct mb_node *n)
{
	uint64_t n_parts = 0;
	struct mb_hash parts = { "" };

	(void)mb_node_u64(n, "parts", &n_parts);
	(void)mb_node_hash(n, "parts_hash", &parts);
	if (n_parts != s->n_parts || strcmp(parts.hex, s->parts.hex) != 0)
		return false;
	s->n_parts = 0;
	s->parts = (struct mb_hash){ "" };
	return true;
}

static int
apply_checkpoint(struct mb_state *s, const struct mb_node *n,
    struct mb_err *err)
{
	const struct mb_node *batches = mb_node_member(n, "batches");

	if (!has_parts(s, n))
		return corrupt(err, "checkpoint", "lacks parts");
	if (!mb_node_u64(n, "next_run", &s->next_run) ||
	    !mb_node_u64(n, "next_batch", &s->next_batch) ||
	    !mb_node_hash(n, "digest", &s->digest) ||
	    !mb_node_time(n, "time", &s->time_ms) ||
	    !mb_node_u64(n, "total_records", &s->total_records) ||
	    !mb_node_u64(n, "total_bytes", &s->total_bytes) ||
	    !mb_node_u64(n, "total_rejects", &s->total_rejects) ||
	    batches == NULL)
		return corrupt(err, "checkpoint", "incomplete");
	(void)mb_node_u64(n, "lost", &s->n_lost);
	(void)mb_node_u64(n, "lost_unknown", &s->n_lost_unknown);
	(void)mb_node_u64(n, "lost_bytes", &s->lost_bytes);
	(void)mb_node_u64(n, "lost_records", &s->lost_records);
	(void)mb_node_u64(n, "settled", &s->settled);
	(void)mb_node_u64(n, "last_commit", &s->last_commit);
	(void)mb_node_u64(n, "committer_of", &s->committer_of);
	(void)mb_node_u64(n, "held", &s->held);
	if (mb_node_u64(n, "collector_run", &s->collector_run)) {
		uint64_t pid = 0;

		(void)mb_node_u64(n, "collector_pid", &pid);
		s->collector_pid = (int64_t)pid;
		(void)mb_node_time(n, "collector_since", &s->collector_ms);
		if (!mb_get_text(n, "collector_host", &s->collector_host))
			return corrupt(err, "checkpoint", "incomplete");
	}
	(void)mb_node_u64(n, "told_batch", &s->told_batch);
	if (mb_node_u64(n, "rows_batch", &s->rows_batch) &&
	    !mb_node_hash(n, "rows_digest", &s->rows_digest))
		return corrupt(err, "checkpoint", "incomplete");
	if (mb_get_text(n, "target", &s->target) &&
	    !mb_get_text(n, "target_id", &s->target_id))
		return corrupt(err, "checkpoint", "incomplete");
	if (add_positions(s, n, "checkpoint", err) < 0)
		return -1;
	if (!mb_node_u64(n, "next_generation", &s->next_generation))
		return corrupt(err, "checkpoint", "incomplete");
	for (size_t i = 0; i < mb_node_length(batches); i++) {
		const struct mb_node *e = mb_node_at(batches, i);
		struct mb_batch b = { .requeued_as = MB_NONE };
		const char *state = "";
		enum mb_batch_state k = MB_PLANNED;

		(void)mb_node_str(e, "state", &state);
		while (k <= MB_VOID && strcmp(mb_batch_state_name(k), state) != 0)
			k++;
		if (!mb_get_batch(e, &b) || k > MB_VOID) {
			mb_batch_release(&b);
			return corrupt(err, "checkpoint", "a batch");
		}
		b.state = k;
		(void)mb_node_bool(e, "was_parked", &b.was_parked);
		(void)mb_node_u64(e, "fails", &b.n_fails);
		b.n_attempts = b.n_fails;
		(void)mb_node_u64(e, "attempts", &b.n_attempts);
		(void)mb_node_bool(e, "found", &b.was_found);
		(void)mb_node_u64(e, "as", &b.requeued_as);
		(void)mb_node_time(e, "committed", &b.commit_ms);
		(void)mb_node_u64(e, "rows", &b.rows);
		set_reason(&b, e);
		mb_state_add_batch(s, &b);
	}
	return 0;
}

static int
apply_nothing(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	(void)s;
	(void)n;
	(void)err;
	return 0;
}

/* Lines are missing here, which may have had runs. */
static int
apply_mended(struct mb_state *s, const struct mb_node *n, struct mb_err *err)
{
	uint64_t next;

	(void)err;
	if (mb_node_u64(n, "next_run", &next) && next > s->next_run)
		s->next_run = next;
	return 0;
}

static bool
is_first(const struct mb_state *s)
{
	return s->n_parts > 0 || (s->next_run == 0 && s->next_batch == 0 &&
	    s->next_generation == 0);
}

int
mb_state_apply(struct mb_state *s, struct mb_str line, struct mb_err *err)
{
	static const struct {
		const char *verb;
		int (*apply)(struct mb_state *, const struct mb_node *,
		    struct mb_err *);
	} verbs[] = {
		{ "open", apply_open }, { "run", apply_run },
		{ "source", apply_source }, { "plan", apply_plan },
		{ "commit", apply_commit }, { "fail", apply_fail },
		{ "park", apply_park }, { "unpark", apply_unpark },
		{ "redo", apply_redo },
		{ "final", apply_final }, { "forget", apply_forget },
		{ "lost", apply_lost }, { "mended", apply_mended },
		{ "part", apply_nothing }, { "checkpoint", apply_nothing },
	};
	const struct mb_node *root;
	struct mb_doc *doc;
	const char *verb = "";
	uint64_t synced;
	int rc = -1;

	if (mb_doc_parse(&doc, line, err) < 0)
		return -1;
	root = mb_doc_root(doc);
	(void)mb_node_str(root, "mb", &verb);
	if (s->id[0] == '\0' && strcmp(verb, "open") != 0) {
		corrupt(err, verb, "before the journal's first line");
	} else if (strcmp(verb, "checkpoint") == 0 && is_first(s)) {
		rc = apply_checkpoint(s, root, err);
	} else if (strcmp(verb, "part") == 0 && is_first(s)) {
		rc = apply_part(s, root, line, err);
	} else if (s->n_parts > 0) {
		corrupt(err, verb, "in the middle of a checkpoint");
	} else {
		size_t i = 0, n = sizeof verbs / sizeof *verbs;

		while (i < n && strcmp(verbs[i].verb, verb) != 0)
			i++;
		if (i == n)
			corrupt(err, "a line of a kind that this mb doesn't "
			    "know", verb);
		else
			rc = verbs[i].apply(s, root, err);
	}
	if (rc == 0 && mb_node_u64(root, "synced", &synced) &&
	    synced > s->synced)
		s->synced = synced;
	mb_doc_close(doc);
	return rc;
}
