#include "source/cut_parts.h"

#include <stdlib.h>
#include <string.h>

#include "journal/lines.h"

enum {
	MAX_REJECTS = 1000,	/* in one batch: a plan has to stay small */
	MAX_INPUTS = 1000,	/* likewise */
	MAX_RESTING = 3 << 20,	/* kept while nothing happens */
};

struct mb_cutter *
mb_cut_open(const struct mb_cut_options *options, struct mb_journal *j)
{
	struct mb_cutter *c = mb_alloc(sizeof *c);

	*c = (struct mb_cutter){
		.options = *options, .journal = j, .chunk = mb_alloc(MB_CUT_CHUNK),
		.keep = mb_keep_open(options->keep),
	};
	return c;
}

void
mb_cut_close(struct mb_cutter *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n_inputs; i++)
		mb_input_free(c->inputs[i]);
	mb_parcel_release(&c->parcel);
	mb_keep_close(c->keep);
	free(c->inputs);
	free(c->chunk);
	free(c);
}

static char *
dup_or_null(const char *s)
{
	return s != NULL ? mb_strdup(s) : NULL;
}

struct mb_input *
mb_input_add(struct mb_cutter *c, unsigned rank, const char *source,
    uint64_t spool, struct mb_content *content,
    const struct mb_generation *known)
{
	const struct mb_generation *before = mb_state_newest(
	    mb_journal_state(c->journal), source);
	struct mb_input *in = mb_alloc(sizeof *in);
	size_t at = c->n_inputs;

	*in = (struct mb_input){
		.rank = rank, .content = content,
		.is_known = known != NULL, .hasher = mb_hasher_open(),
	};
	if (known != NULL) {
		in->g = *known;
		in->g.source = mb_strdup(known->source);
		in->g.target = dup_or_null(known->target);
		in->g.fields = dup_or_null(known->fields);
	} else {
		in->g.source = mb_strdup(source);
		in->g.spool = spool;
		if (before != NULL) {
			in->old_fields = dup_or_null(before->fields);
			in->old_format = mb_strdup(before->format);
		}
	}
	c->inputs = mb_realloc_array(c->inputs, c->n_inputs + 1,
	    sizeof *c->inputs);
	while (at > 0 && (c->inputs[at - 1]->rank > rank ||
	    (c->inputs[at - 1]->rank == rank &&
	    strcmp(c->inputs[at - 1]->g.source, source) > 0))) {
		c->inputs[at] = c->inputs[at - 1];
		at--;
	}
	c->inputs[at] = in;
	c->n_inputs++;
	c->at += at < c->at;
	return in;
}

void
mb_input_locate(struct mb_input *in, uint64_t dev, uint64_t ino,
    uint64_t born_ns, const char *target)
{
	in->g.dev = dev;
	in->g.ino = ino;
	in->g.born_ns = born_ns;
	free(in->g.target);
	in->g.target = dup_or_null(target);
}

/* What was scanned of the batch in the making counts no more. */
static void
forget_scan(struct mb_cutter *c, struct mb_input *in)
{
	c->records -= in->records;
	for (size_t i = 0; i < in->n_ranges; i++)
		c->records -= in->ranges[i].records;
	c->n_rejects -= in->n_rejects;
	c->n_used -= mb_input_contributes(in);
	if (in->has_start && in->split.complete > in->g.end)
		c->bytes -= in->split.complete - in->g.end;
	if (c->first == in)
		c->first = NULL;
	if (c->header != in)
		return;
	/* The header of all that is in the batch. */
	c->header = NULL;
	for (size_t i = 0; i < c->n_inputs && c->header == NULL; i++)
		if (c->inputs[i] != in && mb_input_contributes(c->inputs[i]))
			c->header = c->inputs[i];
}

void
mb_input_unscan(struct mb_cutter *c, struct mb_input *in)
{
	forget_scan(c, in);
	mb_input_free_rejects(in);
	in->n_ranges = 0;
	in->records = 0;
	mb_hasher_reset(in->hasher);
	mb_kept_cut(&in->kept, 0);
	mb_buf_reset(&in->tail);
	in->n_seen = 0;
	in->looked = 0;
	in->has_start = in->has_gap = in->is_partial = false;
	in->is_finished = in->is_exhausted = in->is_at_end = false;
	if (!in->is_known) {
		in->g.start = in->g.end = 0;
		in->is_held = true;
	}
}

void
mb_input_remove(struct mb_cutter *c, struct mb_input *in)
{
	size_t i = 0;

	forget_scan(c, in);
	while (c->inputs[i] != in)
		i++;
	c->n_inputs--;
	c->at -= i < c->at;
	memmove(c->inputs + i, c->inputs + i + 1,
	    (c->n_inputs - i) * sizeof *c->inputs);
	mb_input_free(in);
}

/* One batch has one header. */
static bool
fits_batch(const struct mb_cutter *c, const struct mb_input *in)
{
	const struct mb_generation *a, *b;

	if (c->header == NULL || c->header == in)
		return true;
	a = &c->header->g;
	b = &in->g;
	if (strcmp(a->format, b->format) != 0 || a->delimiter != b->delimiter)
		return false;
	if (a->fields == NULL || b->fields == NULL)
		return a->fields == b->fields;
	return strcmp(a->fields, b->fields) == 0;
}

/* Has it to wait for a batch with another header? */
static bool
is_kept_out(const struct mb_cutter *c, const struct mb_input *in)
{
	return in->has_start && !in->is_finished && !fits_batch(c, in);
}

/*
 * Of the inputs that were kept out, each has its turn, or one that grows fast
 * could keep the others out for ever.
 */
static struct mb_input *
find_next(const struct mb_cutter *c)
{
	struct mb_err ignored = { 0 };
	size_t at = 0;

	while (at < c->n_inputs && c->inputs[at] != c->header)
		at++;
	for (size_t k = 1; k < c->n_inputs && at < c->n_inputs; k++) {
		struct mb_input *in = c->inputs[(at + k) % c->n_inputs];

		if (is_kept_out(c, in) && mb_content_reaches(in->content,
		    in->split.off + 1, &ignored) > 0)
			return in;
	}
	return NULL;
}

/* The range from in->start to `end`, which the hasher has seen. */
static void
close_range(struct mb_input *in, uint64_t end)
{
	if (in->records > 0) {
		in->ranges = mb_realloc_array(in->ranges, in->n_ranges + 1,
		    sizeof *in->ranges);
		in->ranges[in->n_ranges++] = (struct mb_range){
			.start = in->start, .end = end,
			.records = in->records,
			.hash = mb_hasher_value(in->hasher),
		};
	}
	in->records = 0;
	mb_hasher_reset(in->hasher);
}

static void
add_reject(struct mb_cutter *c, struct mb_input *in)
{
	in->rejects = mb_realloc_array(in->rejects, in->n_rejects + 1,
	    sizeof *in->rejects);
	in->rejects[in->n_rejects++] = (struct mb_reject){
		.start = in->split.start, .end = in->split.complete,
		.reason = mb_strdup(in->split.why),
	};
	c->n_rejects++;
	if (c->header == NULL)
		c->header = in;
}

/*
 * Account for what the splitter has made of p[0, len), the bytes from `from`
 * on: hash what is complete, keep the rest.
 */
static void
account(struct mb_cutter *c, struct mb_input *in, uint64_t complete_before,
    enum mb_split_result found, uint64_t n_records, const char *p,
    uint64_t from)
{
	uint64_t complete = in->split.complete, records_end = complete;

	if (n_records > 0 && c->header == NULL)
		c->header = in;
	in->records += n_records;
	c->records += n_records;
	if (found == MB_SPLIT_REJECT)
		records_end = in->split.start;
	if (records_end > complete_before) {
		/*
		 * The tail holds the bytes from complete_before to `from`;
		 * after a reject that went back it may hold more.
		 */
		size_t old = in->tail.len;

		if (records_end < complete_before + old)
			old = (size_t)(records_end - complete_before);
		mb_hasher_add(in->hasher, in->tail.p, old);
		if (records_end > from)
			mb_hasher_add(in->hasher, p,
			    (size_t)(records_end - from));
		mb_buf_reset(&in->tail);
	}
	c->bytes += complete - complete_before;
	if (found == MB_SPLIT_REJECT) {
		close_range(in, records_end);
		add_reject(c, in);
		in->start = complete;
		mb_buf_reset(&in->tail);
		return;
	}
	if (mb_split_keep(&in->split) > complete) {
		mb_buf_reset(&in->tail);	/* a line that is too long */
		return;
	}
	if (complete > from)
		mb_buf_add(&in->tail, p + (complete - from),
		    (size_t)(in->split.off - complete));
	else
		mb_buf_add(&in->tail, p, (size_t)(in->split.off - from));
}

/* Nothing of the batch in the making is kept from now on. */
static void
stop_keeping(struct mb_input *in)
{
	mb_kept_cut(&in->kept, 0);
	in->has_gap = true;
}

/* Where to read len bytes to: in the keep, as long as all fits. */
static char *
find_room(struct mb_cutter *c, struct mb_input *in, size_t len)
{
	char *p;

	if (in->has_gap)
		return c->chunk;
	if (mb_split_keep(&in->split) > in->split.complete) {
		/* Of a line that is too long nothing is emitted. */
		mb_kept_cut(&in->kept, in->split.complete);
		return c->chunk;
	}
	if (in->kept.end != in->split.off && in->tail.len > 0) {
		/* The batch begins with bytes that were not kept. */
		p = mb_keep_room(c->keep, in->tail.len);
		if (p == NULL) {
			stop_keeping(in);
			return c->chunk;
		}
		memcpy(p, in->tail.p, in->tail.len);
		mb_kept_add(&in->kept, c->keep, in->tail.len,
		    in->split.complete);
	}
	p = mb_keep_room(c->keep, len);
	if (p != NULL)
		return p;
	stop_keeping(in);
	return c->chunk;
}

/* The end of a final input. */
static int
finish(struct mb_cutter *c, struct mb_input *in)
{
	uint64_t before = in->split.complete, off = in->split.off;
	uint64_t n_records;
	enum mb_split_result found = mb_split_finish(&in->split, &n_records);

	mb_input_remember(in, "", off);
	account(c, in, before, found, n_records, "", off);
	mb_kept_cut(&in->kept, in->split.off);
	if (found == MB_SPLIT_REJECT)
		return MB_CUT_MORE;
	in->is_finished = true;
	in->is_partial = n_records > 0;
	return n_records > 0 ? MB_CUT_MORE : MB_CUT_NOTHING;
}

bool
mb_cut_has_batch(const struct mb_cutter *c)
{
	return c->records > 0 || c->n_rejects > 0;
}

static bool
is_full(const struct mb_cutter *c)
{
	const struct mb_cut_options *o = &c->options;

	return (c->bytes >= o->max_bytes && mb_cut_has_batch(c)) ||
	    (o->max_records > 0 && c->records >= o->max_records) ||
	    c->n_rejects >= MAX_REJECTS || c->n_used >= MAX_INPUTS;
}

bool
mb_cut_wants(const struct mb_cutter *c, const struct mb_input *in)
{
	return !is_full(c) && !is_kept_out(c, in);
}

static int
scan_input(struct mb_cutter *c, struct mb_input *in, struct mb_err *err)
{
	const struct mb_cut_options *o = &c->options;
	uint64_t max_records, n_records, before, from, room;
	enum mb_split_result found;
	const char *why;
	size_t want = MB_CUT_CHUNK;
	char *p;
	bool needs_one = false, contributed = mb_input_contributes(in);
	ssize_t n;
	int rc;

	if (!in->has_start) {
		rc = in->is_known ? mb_input_begin(c, in, err) :
		    mb_input_find_start(c, in, err);
		if (rc < 0)
			return -1;
		mb_input_end_trouble(in);
		if (!in->has_start) {
			in->is_at_end = true;
			return MB_CUT_NOTHING;
		}
	}
	if (in->is_finished || in->has_changed || !fits_batch(c, in))
		return MB_CUT_NOTHING;
	max_records = o->max_records > 0 ? o->max_records - c->records :
	    UINT64_MAX;
	/* A record may end beyond max_bytes only if it is the batch's first. */
	room = c->bytes < o->max_bytes ? o->max_bytes - c->bytes : 0;
	if (in->split.off - in->split.complete >= room) {
		if (c->records + c->n_rejects > 0)
			return MB_CUT_FULL;
		needs_one = true;
		max_records = 1;
	} else if (want > room - (in->split.off - in->split.complete)) {
		want = (size_t)(room - (in->split.off - in->split.complete));
	}
	from = in->split.off;
	p = find_room(c, in, want);
	n = mb_content_read(in->content, p, want, from, err);
	if (n < 0)
		return -1;
	mb_input_end_trouble(in);
	in->is_at_end = (size_t)n < want;
	/* Half a line where a gzip file is cut off is no record. */
	if (n == 0)
		return in->is_final && mb_content_trouble(in->content, &why) ==
		    MB_GZ_FINE ? finish(c, in) : MB_CUT_NOTHING;
	rc = mb_input_follows(in, err);
	in->has_changed = rc == 0;
	if (rc <= 0)
		return rc < 0 ? -1 : MB_CUT_NOTHING;
	if (p != c->chunk)
		mb_kept_add(&in->kept, c->keep, (size_t)n, from);
	before = in->split.complete;
	found = mb_split_scan(&in->split, p, (size_t)n, max_records,
	    &n_records);
	mb_input_remember(in, p, from);
	account(c, in, before, found, n_records, p, from);
	mb_kept_cut(&in->kept, in->split.off);	/* the rest is read again */
	c->n_used += !contributed && mb_input_contributes(in);
	return is_full(c) || (needs_one && c->records > 0) ? MB_CUT_FULL :
	    MB_CUT_MORE;
}

/* The same for one that may not be readable now. */
static int
try_input(struct mb_cutter *c, struct mb_input *in, struct mb_err *err)
{
	int rc = scan_input(c, in, err);

	if (rc >= 0 || !mb_input_note_trouble(in, err))
		return rc;
	in->is_at_end = false;
	return MB_CUT_NOTHING;
}

/*
 * The next step of the round over all inputs; *is_last: the round ends with
 * it.  One that was kept out of the last batch for its header goes first.
 */
static int
step(struct mb_cutter *c, bool *is_last, struct mb_err *err)
{
	struct mb_input *in;
	int rc;

	*is_last = true;
	if (is_full(c))
		return MB_CUT_FULL;
	if (c->at == 0) {
		c->has_more = false;
		if (c->first != NULL && c->header == NULL) {
			rc = try_input(c, c->first, err);
			if (rc != MB_CUT_NOTHING)
				return rc;
		}
	}
	if (c->at < c->n_inputs) {
		in = c->inputs[c->at];
		rc = try_input(c, in, err);
		if (rc < 0 || rc == MB_CUT_FULL)
			return rc;
		in->is_exhausted = rc == MB_CUT_NOTHING && in->is_final &&
		    in->trouble == NULL && !is_kept_out(c, in);
		c->has_more |= rc == MB_CUT_MORE;
		c->at++;
	}
	*is_last = c->at >= c->n_inputs;
	if (*is_last)
		c->at = 0;
	return c->has_more ? MB_CUT_MORE : MB_CUT_NOTHING;
}

int
mb_cut_scan(struct mb_cutter *c, struct mb_err *err)
{
	bool is_last;
	int rc;

	do
		rc = step(c, &is_last, err);
	while (!is_last);
	return rc;
}

int
mb_cut_step(struct mb_cutter *c, struct mb_err *err)
{
	bool is_last;
	int rc;

	if (mb_keep_is_full(c->keep, MB_CUT_CHUNK))
		return MB_CUT_NOTHING;
	rc = step(c, &is_last, err);
	return rc == MB_CUT_NOTHING && !is_last ? MB_CUT_MORE : rc;
}

/* The ranges of one input, with their anchors.  1, or 0: it has changed. */
static int
take_input(struct mb_input *in, struct mb_batch *out, struct mb_err *err)
{
	int rc = mb_input_check(in, err);

	if (rc <= 0)
		return rc;
	for (size_t i = 0; i <= in->n_ranges; i++) {
		struct mb_range r = { 0 };

		if (i < in->n_ranges) {
			r = in->ranges[i];
		} else if (in->records > 0) {
			r.start = in->start;
			r.end = in->split.complete;
			r.records = in->records;
			r.hash = mb_hasher_value(in->hasher);
			r.is_partial = in->is_partial;
		} else {
			continue;
		}
		r.generation = in->g.id;
		rc = mb_input_anchors(in, r.end, &r.head, &r.tail, err);
		if (rc <= 0)
			return rc;
		mb_batch_add_range(out, &r);
	}
	for (size_t i = 0; i < in->n_rejects; i++) {
		struct mb_reject r = in->rejects[i];

		r.generation = in->g.id;
		r.reason = mb_strdup(r.reason);
		out->rejects = mb_realloc_array(out->rejects,
		    out->n_rejects + 1, sizeof *out->rejects);
		out->rejects[out->n_rejects++] = r;
	}
	return 1;
}

int
mb_cut_take(struct mb_cutter *c, struct mb_batch *out,
    struct mb_buf *source_lines, struct mb_input **changed,
    struct mb_err *err)
{
	uint64_t next = mb_journal_state(c->journal)->next_generation;
	int rc;

	*changed = NULL;
	for (size_t i = 0; i < c->n_inputs; i++) {
		struct mb_input *in = c->inputs[i];

		if (!mb_input_contributes(in))
			continue;
		if (in->is_held) {
			*changed = in;
			return 0;
		}
		if (!in->is_known) {
			in->g.id = next++;
			mb_put_source(source_lines, &in->g);
		}
		rc = take_input(in, out, err);
		if (rc < 0 && mb_input_note_trouble(in, err)) {
			mb_input_unscan(c, in);
			rc = 0;
		}
		if (rc <= 0) {
			*changed = in;
			return rc;
		}
	}
	return 1;
}

void
mb_cut_planned(struct mb_cutter *c)
{
	const struct mb_state *s = mb_journal_state(c->journal);

	c->records = c->bytes = 0;
	c->n_rejects = c->n_used = 0;
	c->first = find_next(c);
	c->header = NULL;
	c->at = 0;
	mb_parcel_reset(&c->parcel);
	for (size_t i = 0; i < c->n_inputs; i++) {
		struct mb_input *in = c->inputs[i];
		const struct mb_generation *g;

		if (!mb_input_contributes(in)) {
			/* Blank lines, which go with the next record. */
			if (in->has_start)
				c->bytes += in->split.complete - in->g.end;
			continue;
		}
		g = mb_state_generation(s, in->g.id);
		if (g != NULL) {
			in->g.anchored = g->anchored;
			in->g.head = g->head;
			in->g.tail = g->tail;
		}
		mb_parcel_add(&c->parcel, in->g.id, &in->kept,
		    in->split.complete);
		in->has_gap = false;
		in->is_known = true;
		in->g.end = in->start = in->split.complete;
		in->records = 0;
		in->n_ranges = 0;
		mb_input_free_rejects(in);
		mb_hasher_reset(in->hasher);
	}
}

struct mb_parcel *
mb_cut_parcel(struct mb_cutter *c)
{
	return &c->parcel;
}

void
mb_cut_rest(struct mb_cutter *c)
{
	if (mb_keep_used(c->keep) <= MAX_RESTING)
		return;
	for (size_t i = 0; i < c->n_inputs; i++)
		if (c->inputs[i]->kept.n > 0)
			stop_keeping(c->inputs[i]);
}
