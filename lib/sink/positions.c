#include "sink/positions.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/lines.h"

enum { MAX_TEXT = 32 << 20 };	/* of positions in a line */

/* What is kept under one key: a file's generation; of pipes the last one. */
static uint64_t
key_of(const struct mb_generation *g)
{
	return g->spool != MB_NONE ? MB_NONE : g->id;
}

/*
 * The generations that a batch moves, and where to: open addressing by key,
 * in a table that is never more than half full.  Texts are borrowed from the
 * state.
 */
struct moved {
	struct mb_generation *v;	/* source NULL: free */
	size_t mask;
};

/* NULL: a later pipe counts. */
static struct mb_generation *
move(struct moved *m, const struct mb_state *s, uint64_t generation)
{
	const struct mb_generation *g = mb_state_generation(s, generation);
	struct mb_generation *slot;
	uint64_t key;

	if (g == NULL)
		return NULL;
	key = key_of(g);
	for (size_t i = (size_t)mb_hash64(&key, sizeof key, 0) & m->mask;;
	    i = (i + 1) & m->mask) {
		slot = &m->v[i];
		if (slot->source == NULL || key_of(slot) == key)
			break;
	}
	if (slot->source != NULL && slot->id > g->id)
		return NULL;
	if (slot->source == NULL || slot->id < g->id) {
		*slot = *g;
		slot->end = slot->anchored = 0;
	}
	return slot;
}

static void
moved_by(struct moved *m, const struct mb_state *s, const struct mb_batch *b)
{
	struct mb_generation *g;

	m->mask = 15;
	while (m->mask < 2 * (b->n_ranges + b->n_rejects))
		m->mask = m->mask * 2 + 1;
	m->v = mb_realloc_array(NULL, m->mask + 1, sizeof *m->v);
	memset(m->v, 0, (m->mask + 1) * sizeof *m->v);
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *r = &b->ranges[i];

		g = move(m, s, r->generation);
		if (g == NULL)
			continue;
		g->end = g->anchored = r->end;
		g->head = mb_hash_pack(&r->head);
		g->tail = mb_hash_pack(&r->tail);
		g->time_ms = b->time_ms;
	}
	for (size_t i = 0; i < b->n_rejects; i++) {
		g = move(m, s, b->rejects[i].generation);
		if (g != NULL && b->rejects[i].end > g->end)
			g->end = b->rejects[i].end;
	}
}

static void
tell_moved(struct mb_position_list *l, const struct mb_state *s,
    const struct mb_batch *b)
{
	size_t n = b->n_ranges + b->n_rejects;
	struct mb_buf text = { 0 };
	struct moved m;

	moved_by(&m, s, b);
	if (l->cap < n) {
		l->cap = n;
		l->v = mb_realloc_array(l->v, l->cap, sizeof *l->v);
	}
	for (size_t i = 0; i <= m.mask; i++) {
		const struct mb_generation *g = &m.v[i];
		char key[24] = "-";

		if (g->source == NULL)
			continue;
		mb_buf_reset(&text);
		mb_line_open(&text, NULL, '{');
		mb_put_position(&text, g);
		mb_line_close(&text, '}');
		if (g->spool == MB_NONE)
			snprintf(key, sizeof key, "%" PRIu64, g->id);
		l->v[l->positions.n++] = (struct mb_position){
			.key = mb_arena_dup(&l->arena, key, strlen(key)),
			.json = mb_arena_dup(&l->arena, text.p, text.len),
		};
	}
	mb_buf_release(&text);
	free(m.v);
}

/* The batch as the one it was when the marker passed it; false: it didn't. */
static bool
as_passed(struct mb_batch *out, const struct mb_batch *b,
    const struct mb_marker *now)
{
	*out = *b;
	for (size_t i = 0; out->number > now->last && i < b->n_from; i++) {
		out->number = b->from[i];
		out->from = b->from + i + 1;
		out->n_from = b->n_from - i - 1;
	}
	return out->number < now->last;
}

/* The generations that it needs, with the places behind it. */
static void
put_sources(struct mb_buf *out, const struct mb_state *s,
    const struct mb_batch *b)
{
	struct moved m;

	moved_by(&m, s, b);
	mb_line_open(out, "sources", '[');
	for (size_t i = 0; i <= m.mask; i++) {
		if (m.v[i].source == NULL)
			continue;
		mb_line_open(out, NULL, '{');
		mb_put_position(out, &m.v[i]);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
	free(m.v);
}

static void
put_open(struct mb_buf *out, const struct mb_state *s, uint64_t batch,
    const struct mb_marker *now)
{
	mb_buf_addc(out, '[');
	for (size_t i = 0; i < s->n_batches; i++) {
		const struct mb_batch *b = &s->batches[i];
		struct mb_batch passed;

		if ((b->state != MB_PLANNED && b->state != MB_PARKED) ||
		    b->number == batch || mb_marker_has(now, b->number) ||
		    !as_passed(&passed, b, now))
			continue;
		mb_line_open(out, NULL, '{');
		mb_put_batch(out, &passed);
		put_sources(out, s, b);
		mb_line_u64(out, "fails", b->n_fails);
		if (b->reason != NULL)
			mb_line_str(out, "reason", b->reason);
		mb_line_close(out, '}');
	}
	mb_buf_addc(out, ']');
}

void
mb_positions_tell(struct mb_position_list *l, const struct mb_state *s,
    uint64_t batch, const struct mb_marker *now)
{
	const struct mb_batch *b = mb_state_batch(s, batch);

	mb_arena_reset(&l->arena);
	mb_buf_reset(&l->open);
	l->positions = (struct mb_positions){ .run = s->next_run };
	if (b != NULL)
		tell_moved(l, s, b);
	put_open(&l->open, s, batch, now);
	l->positions.v = l->v;
	l->positions.open = mb_buf_str(&l->open);
}

void
mb_positions_release(struct mb_position_list *l)
{
	free(l->v);
	mb_arena_release(&l->arena);
	mb_buf_release(&l->open);
	*l = (struct mb_position_list){ 0 };
}

/* Generation and place in it; false: it is damaged. */
static bool
parse_place(const char *json, uint64_t place[2])
{
	struct mb_generation g = { 0 };
	struct mb_err ignored = { 0 };
	struct mb_doc *doc;
	bool is_good;

	if (mb_doc_parse(&doc, mb_str(json), &ignored) < 0)
		return false;
	is_good = mb_get_position(mb_doc_root(doc), &g);
	place[0] = g.id;
	place[1] = g.end;
	mb_generation_release(&g);
	mb_doc_close(doc);
	return is_good;
}

static bool
is_further(const uint64_t place[2], const uint64_t kept[2])
{
	return place[0] != kept[0] ? place[0] > kept[0] : place[1] >= kept[1];
}

bool
mb_position_is_further(const char *json, const char *kept)
{
	uint64_t a[2], b[2];

	return !parse_place(kept, b) || (parse_place(json, a) &&
	    is_further(a, b));
}

/*
 * In files of lines.
 */

void
mb_positions_put(struct mb_buf *line, const struct mb_positions *p)
{
	size_t len = strlen(p->open);

	mb_line_u64(line, "run", p->run);
	for (size_t i = 0; i < p->n; i++)
		len += strlen(p->v[i].json) + 1;
	if (len > MAX_TEXT) {
		mb_line_raw(line, "positions", "null");
		return;
	}
	mb_line_open(line, "positions", '[');
	for (size_t i = 0; i < p->n; i++)
		mb_line_raw(line, NULL, p->v[i].json);
	mb_line_close(line, ']');
	mb_line_raw(line, "open", p->open);
}

/* The furthest object of each key: open addressing over an array. */
struct gathered {
	uint64_t key, place[2];
	char *json;
};

struct gathering {
	struct gathered *v;
	size_t n, cap;
	uint64_t *index;	/* into v, + 1; 0: free */
	size_t mask;
	bool has_line;
	uint64_t batch;		/* the last that has one */
};

static void
gathering_release(struct gathering *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->v[i].json);
	free(g->v);
	free(g->index);
}

static uint64_t *
gathered_slot(struct gathering *g, uint64_t key)
{
	size_t i = (size_t)mb_hash64(&key, sizeof key, 0) & g->mask;

	while (g->index[i] != 0 && g->v[g->index[i] - 1].key != key)
		i = (i + 1) & g->mask;
	return &g->index[i];
}

/* json is taken. */
static void
gather(struct gathering *g, uint64_t key, const uint64_t place[2], char *json)
{
	uint64_t *slot;

	if (2 * (g->n + 1) > g->mask) {
		g->mask = g->mask == 0 ? 63 : g->mask * 2 + 1;
		free(g->index);
		g->index = mb_realloc_array(NULL, g->mask + 1,
		    sizeof *g->index);
		memset(g->index, 0, (g->mask + 1) * sizeof *g->index);
		for (size_t i = 0; i < g->n; i++)
			*gathered_slot(g, g->v[i].key) = i + 1;
	}
	slot = gathered_slot(g, key);
	if (*slot != 0) {
		struct gathered *kept = &g->v[*slot - 1];

		if (is_further(place, kept->place)) {
			free(kept->json);
			*kept = (struct gathered){ key, { place[0], place[1] },
			    json };
		} else {
			free(json);
		}
		return;
	}
	if (g->n == g->cap) {
		g->cap = g->cap * 2 + 16;
		g->v = mb_realloc_array(g->v, g->cap, sizeof *g->v);
	}
	g->v[g->n++] = (struct gathered){ key, { place[0], place[1] }, json };
	*slot = g->n;
}

static int
gather_line(struct gathering *g, struct mb_found *out,
    const struct mb_node *root, const char *name, struct mb_err *err)
{
	const struct mb_node *positions = mb_node_member(root, "positions");
	uint64_t run;

	if (mb_node_u64(root, "run", &run) && run > out->run)
		out->run = run;
	if (mb_node_member(root, "open") == NULL)
		return mb_fail(err, MB_EUSAGE, "%s: has batches of which it "
		    "isn't known how far the sources were read", name);
	for (size_t i = 0; i < mb_node_length(positions); i++) {
		const struct mb_node *n = mb_node_at(positions, i);
		struct mb_generation at = { 0 };
		bool is_good = mb_get_position(n, &at);
		uint64_t key = is_good ? key_of(&at) : 0;
		uint64_t place[2] = { at.id, at.end };

		mb_generation_release(&at);
		if (!is_good)
			return mb_fail(err, MB_ECORRUPT, "%s: a position of "
			    "the sources is damaged", name);
		gather(g, key, place, mb_node_dump(n));
	}
	mb_buf_release(&out->open);
	out->open.p = mb_node_dump(mb_node_member(root, "open"));
	out->open.len = strlen(out->open.p);
	return 0;
}

/*
 * Read the lines; the first time to see where the last line of each batch is,
 * the second time to gather what these say.
 */
static int
read_lines(struct gathering *g, struct mb_found *out, uint64_t *last,
    bool gathers, FILE *f, uint64_t end, const char *name,
    struct mb_err *err)
{
	char *text = NULL;
	size_t cap = 0;
	uint64_t off = 0;
	ssize_t len;
	int rc = 0;

	while (rc == 0 && off < end &&
	    (len = getline(&text, &cap, f)) > 0) {
		struct mb_str line = { text, (size_t)len - 1 };
		struct mb_doc *doc;
		uint64_t batch;

		if (text[len - 1] != '\n' || !mb_line_check(line) ||
		    mb_doc_parse(&doc, line, err) < 0) {
			off += (uint64_t)len;
			*err = (struct mb_err){ 0 };
			continue;
		}
		if (mb_node_u64(mb_doc_root(doc), "batch", &batch) &&
		    mb_marker_has(&out->marker, batch)) {
			if (!gathers)
				last[batch] = off;
			else if (last[batch] == off)
				rc = gather_line(g, out, mb_doc_root(doc),
				    name, err);
			if (!g->has_line || batch > g->batch)
				g->batch = batch;
			g->has_line = true;
		}
		off += (uint64_t)len;
		mb_doc_close(doc);
	}
	if (rc == 0 && ferror(f))
		rc = mb_fail_sys(err, "%s", name);
	free(text);
	return rc;
}

static int
gather_lines(struct gathering *g, struct mb_found *out, int fd, uint64_t end,
    const char *name, struct mb_err *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), rc;
	FILE *f = copy < 0 ? NULL : fdopen(copy, "r");
	uint64_t *last;

	if (f == NULL) {
		if (copy >= 0)
			close(copy);
		return mb_fail_sys(err, "%s", name);
	}
	last = mb_realloc_array(NULL, out->marker.last + 1, sizeof *last);
	rewind(f);
	rc = read_lines(g, out, last, false, f, end, name, err);
	if (rc == 0) {
		rewind(f);
		rc = read_lines(g, out, last, true, f, end, name, err);
	}
	fclose(f);
	free(last);
	mb_buf_addc(&out->positions, '[');
	for (size_t i = 0; i < g->n; i++) {
		mb_buf_adds(&out->positions, i > 0 ? "," : "");
		mb_buf_adds(&out->positions, g->v[i].json);
	}
	mb_buf_addc(&out->positions, ']');
	return rc;
}

int
mb_positions_gather(struct mb_found *out, int fd, const char *name,
    struct mb_err *err)
{
	struct gathering g = { 0 };
	int rc = gather_lines(&g, out, fd, UINT64_MAX, name, err);

	if (rc == 0 && !g.has_line)
		rc = mb_fail(err, MB_EUSAGE, "%s: has nothing of the batches "
		    "that are there: nobody knows how far the sources were "
		    "read", name);
	gathering_release(&g);
	return rc;
}

int
mb_positions_merge(struct mb_buf *line, const struct mb_marker *marker,
    int fd, uint64_t end, const char *name, struct mb_err *err)
{
	struct mb_found found = { .marker = *marker };	/* borrowed */
	struct gathering g = { 0 };
	int rc = gather_lines(&g, &found, fd, end, name, err);

	if (rc == 0 && g.has_line &&
	    found.positions.len + found.open.len <= MAX_TEXT) {
		mb_line_u64(line, "batch", g.batch);
		mb_line_u64(line, "run", found.run);
		mb_line_raw(line, "positions", mb_buf_str(&found.positions));
		mb_line_raw(line, "open", mb_buf_str(&found.open));
		rc = 1;
	}
	gathering_release(&g);
	mb_buf_release(&found.positions);
	mb_buf_release(&found.open);
	return rc;
}

/*
 * Adopting.
 */

struct adoption {
	const struct mb_marker *marker;
	struct mb_generation *generations;
	size_t n_generations;
	struct mb_batch *batches;
	size_t n_batches;
};

static void
adoption_release(struct adoption *a)
{
	for (size_t i = 0; i < a->n_generations; i++)
		mb_generation_release(&a->generations[i]);
	for (size_t i = 0; i < a->n_batches; i++)
		mb_batch_release(&a->batches[i]);
	free(a->generations);
	free(a->batches);
}

static int
read_positions(struct adoption *a, const struct mb_node *positions,
    struct mb_err *err)
{
	size_t n = mb_node_length(positions);

	a->generations = mb_realloc_array(a->generations,
	    a->n_generations + n, sizeof *a->generations);
	for (size_t i = 0; i < n; i++) {
		struct mb_generation *g = &a->generations[a->n_generations++];

		*g = (struct mb_generation){ 0 };
		if (!mb_get_position(mb_node_at(positions, i), g))
			return mb_fail(err, MB_ECORRUPT, "a position of the "
			    "sources is damaged");
	}
	return 0;
}

/* What has come in since is not open any more. */
static int
read_open(struct adoption *a, const struct mb_node *open, struct mb_err *err)
{
	size_t n = mb_node_length(open);

	a->batches = mb_realloc_array(NULL, n, sizeof *a->batches);
	for (size_t i = 0; i < n; i++) {
		const struct mb_node *node = mb_node_at(open, i);
		struct mb_batch *b = &a->batches[a->n_batches++];
		const char *reason;

		*b = (struct mb_batch){ .requeued_as = MB_NONE };
		if (!mb_get_batch(node, b) || b->number >= a->marker->last)
			return mb_fail(err, MB_ECORRUPT, "a batch that is "
			    "open is damaged");
		if (mb_marker_has(a->marker, b->number)) {
			mb_batch_release(b);
			a->n_batches--;
			continue;
		}
		b->state = MB_PARKED;
		b->was_parked = true;
		(void)mb_node_u64(node, "fails", &b->n_fails);
		if (mb_node_str(node, "reason", &reason))
			b->reason = mb_strdup(reason);
		if (read_positions(a, mb_node_member(node, "sources"), err) <
		    0)
			return -1;
	}
	return 0;
}

static int
by_id(const void *x, const void *y)
{
	const struct mb_generation *a = x, *b = y;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	/* What was read furthest, by a batch that is there or is parked. */
	return a->end < b->end ? 1 : a->end > b->end ? -1 : 0;
}

static int
by_number(const void *x, const void *y)
{
	const struct mb_batch *a = x, *b = y;

	return a->number < b->number ? -1 : a->number > b->number;
}

static void
move_to_state(struct adoption *a, struct mb_state *s)
{
	if (a->n_generations > 0)
		qsort(a->generations, a->n_generations,
		    sizeof *a->generations, by_id);
	for (size_t i = 0; i < a->n_generations; i++) {
		struct mb_generation *g = &a->generations[i];

		if (g->id >= s->next_generation)	/* each once */
			mb_state_add_generation(s, g);
	}
	if (a->n_batches > 0)
		qsort(a->batches, a->n_batches, sizeof *a->batches,
		    by_number);
	for (size_t i = 0; i < a->n_batches; i++)
		mb_state_add_batch(s, &a->batches[i]);
}

int
mb_positions_adopt(struct mb_state *s, const struct mb_found *f,
    int64_t time_ms, struct mb_err *err)
{
	struct adoption a = { .marker = &f->marker };
	struct mb_buf text = { 0 };
	const struct mb_node *root;
	struct mb_doc *doc;
	int rc = -1;

	mb_state_init(s, false);
	memcpy(s->id, f->journal, sizeof s->id);
	mb_buf_addf(&text, "{\"positions\":%.*s,\"open\":%.*s}",
	    (int)f->positions.len, f->positions.p, (int)f->open.len,
	    f->open.p);
	if (mb_doc_parse(&doc, (struct mb_str){ text.p, text.len }, err) < 0)
		goto out;
	root = mb_doc_root(doc);
	/*
	 * The runs of the lost journal are not known, but whoever is left of
	 * them must find a later one.
	 */
	s->next_run = (uint64_t)(time_ms / 1000);
	if (s->next_run <= f->run)
		s->next_run = f->run + 1;
	s->next_batch = f->marker.last + 1;
	s->digest = s->rows_digest = f->marker.digest;
	s->time_ms = time_ms;
	s->settled = s->last_commit = s->rows_batch = f->marker.last;
	s->held = mb_marker_count(&f->marker);
	s->target = mb_strdup(f->target);
	s->target_id = mb_strdup(f->target_id);
	rc = read_positions(&a, mb_node_member(root, "positions"), err);
	if (rc == 0)
		rc = read_open(&a, mb_node_member(root, "open"), err);
	if (rc == 0)
		move_to_state(&a, s);
	adoption_release(&a);
	mb_doc_close(doc);
out:
	mb_buf_release(&text);
	return rc < 0 ? mb_wrap(err, "%s", f->target) : 0;
}
