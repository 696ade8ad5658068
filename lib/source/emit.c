#include "source/emit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/line.h"
#include "base/parse.h"
#include "journal/rejects.h"
#include "record/writer.h"
#include "source/outlet.h"

enum { CHUNK = 128 * 1024 };

struct used {
	uint64_t generation;
	struct mb_content *content;
};

struct mb_emitter {
	struct mb_journal *journal;
	struct mb_outlet out;
	bool is_plain;
	struct mb_buf header;		/* written last, if is_plain */
	uint64_t record_limit;
	char tag[MB_TAG_LEN + 1];
	struct used *used;
	size_t n_used;
	uint64_t opened;		/* the generation of `content` */
	struct mb_content *content;	/* opened last, kept for the next */
	struct mb_hasher *hasher;
	struct mb_parcel *parcel;	/* what was kept of the batch, or NULL */
	int (*wait)(void *arg, uint64_t batch, struct mb_err *err);
	void *wait_arg;
	char *chunk;
	bool has_waited, is_left;	/* since the batch was begun */
	struct mb_buf line, why, trouble;
	struct mb_arena arena;
};

int
mb_emitter_open(struct mb_emitter **out, struct mb_journal *j, int fd,
    bool is_plain, uint64_t record_limit, struct mb_err *err)
{
	struct mb_emitter *e = mb_zalloc(sizeof *e);

	*e = (struct mb_emitter){
		.journal = j, .is_plain = is_plain,
		.record_limit = record_limit, .opened = MB_NONE,
		.hasher = mb_hasher_open(), .chunk = mb_alloc(CHUNK),
	};
	mb_outlet_init(&e->out, fd);
	*out = e;
	if (mb_random_hex(e->tag, MB_TAG_LEN / 2, err) < 0) {
		mb_emitter_close(e);
		*out = NULL;
		return -1;
	}
	return 0;
}

void
mb_emitter_close(struct mb_emitter *e)
{
	if (e == NULL)
		return;
	mb_content_close(e->content);
	mb_hasher_close(e->hasher);
	mb_buf_release(&e->line);
	mb_outlet_release(&e->out);
	mb_buf_release(&e->header);
	mb_buf_release(&e->why);
	mb_buf_release(&e->trouble);
	mb_arena_release(&e->arena);
	free(e->used);
	free(e->chunk);
	free(e);
}

void
mb_emitter_use(struct mb_emitter *e, uint64_t id, struct mb_content *c)
{
	for (size_t i = 0; i < e->n_used; i++)
		if (e->used[i].generation == id) {
			if (c != NULL)
				e->used[i].content = c;
			else
				e->used[i] = e->used[--e->n_used];
			return;
		}
	if (c == NULL)
		return;
	e->used = mb_realloc_array(e->used, e->n_used + 1, sizeof *e->used);
	e->used[e->n_used++] = (struct used){ id, c };
}

void
mb_emitter_to(struct mb_emitter *e, int fd, const char *name)
{
	struct mb_outlet old = e->out;

	mb_outlet_release(&e->out);
	mb_outlet_init(&e->out, fd);
	e->out.meanwhile = old.meanwhile;
	e->out.arg = old.arg;
	e->out.name = name;
	mb_buf_reset(&e->header);
}

struct mb_str
mb_emitter_header(const struct mb_emitter *e)
{
	return (struct mb_str){ e->header.p, e->header.len };
}

void
mb_emitter_bring(struct mb_emitter *e, struct mb_parcel *parcel)
{
	e->parcel = parcel;
}

void
mb_emitter_meanwhile(struct mb_emitter *e, bool (*work)(void *arg), void *arg)
{
	e->out.meanwhile = work;
	e->out.arg = arg;
}

void
mb_emitter_wait(struct mb_emitter *e,
    int (*wait)(void *arg, uint64_t batch, struct mb_err *err), void *arg)
{
	e->wait = wait;
	e->wait_arg = arg;
}

static int
put(struct mb_emitter *e, const void *p, size_t len, struct mb_err *err)
{
	return mb_outlet_put(&e->out, p, len, err);
}

/* Put a control line, the last for now. */
static int
put_line(struct mb_emitter *e, struct mb_err *err)
{
	int rc = e->is_plain ? 0 : put(e, e->line.p, e->line.len, err);

	mb_buf_reset(&e->line);
	return rc < 0 ? -1 : mb_outlet_flush(&e->out, err);
}

int
mb_emit_hello(struct mb_emitter *e, uint64_t run, bool is_replay,
    struct mb_err *err)
{
	struct mb_hello h = {
		.journal = mb_journal_path(e->journal),
		.id = mb_journal_state(e->journal)->id,
		.run = run,
		.is_replay = is_replay,
	};

	memcpy(h.tag, e->tag, sizeof h.tag);
	mb_frame_put_hello(&e->line, &h);
	return put_line(e, err);
}

int
mb_emit_done(struct mb_emitter *e, int status, struct mb_err *err)
{
	mb_frame_put_done(&e->line, e->tag, status);
	return put_line(e, err);
}

/*
 * Open the content of a generation: 1, or 0 with *why if it is gone.  What the
 * state knows of it is looked up here, each time: wait() may have moved it.
 */
static int
open_content(struct mb_emitter *e, uint64_t generation, const char **why,
    struct mb_err *err)
{
	const struct mb_generation *g = mb_state_generation(
	    mb_journal_state(e->journal), generation);
	int rc;

	if (g == NULL)
		return mb_fail(err, MB_ECORRUPT, "generation %" PRIu64
		    " is not in the journal", generation);
	mb_content_close(e->content);
	e->content = NULL;
	e->opened = MB_NONE;
	rc = mb_content_open(&e->content, e->journal, g, why, err);
	if (rc > 0)
		e->opened = generation;
	return rc;
}

/* The content of a generation, opened where it isn't: 1, 0, -1 as above. */
static int
find_content(struct mb_emitter *e, uint64_t generation,
    struct mb_content **out, const char **why, struct mb_err *err)
{
	int rc = 1;

	for (size_t i = 0; i < e->n_used; i++)
		if (e->used[i].generation == generation) {
			*out = e->used[i].content;
			return 1;
		}
	if (e->opened != generation)
		rc = open_content(e, generation, why, err);
	*out = e->content;
	return rc;
}

/*
 * Up to `want` bytes at `off` of a generation into the chunk: how many, or -1.
 * Fewer, and *why: the rest can't be had.
 */
static ssize_t
read_once(struct mb_emitter *e, uint64_t generation, uint64_t off, size_t want,
    const char **why, struct mb_err *err)
{
	struct mb_content *c;
	ssize_t n;
	int rc = find_content(e, generation, &c, why, err);

	if (rc <= 0)
		return rc;
	n = mb_content_read(c, e->chunk, want, off, err);
	if (n >= 0 && (size_t)n < want &&
	    mb_content_trouble(c, why) == MB_GZ_FINE)
		*why = "it is shorter now";
	return n;
}

/* The same; what can't be read is asked for again, if wait() says so. */
static ssize_t
read_bytes(struct mb_emitter *e, uint64_t batch, uint64_t generation,
    uint64_t off, size_t want, const char **why, struct mb_err *err)
{
	ssize_t n;
	int rc;

	for (;;) {
		if (e->is_left) {
			*err = (struct mb_err){ 0 };
			*why = mb_buf_str(&e->trouble);
			return 0;
		}
		n = read_once(e, generation, off, want, why, err);
		if (n >= 0 || err->code != MB_EIO || e->wait == NULL)
			return n;
		e->has_waited = true;
		mb_buf_reset(&e->trouble);
		mb_buf_adds(&e->trouble, err->msg);
		rc = e->wait(e->wait_arg, batch, err);
		if (rc < 0)
			return -1;
		e->is_left = rc == 0;
	}
}

static void
explain(struct mb_emitter *e, const struct mb_range *r, const char *what)
{
	const struct mb_generation *g = mb_state_generation(
	    mb_journal_state(e->journal), r->generation);

	mb_buf_reset(&e->why);
	mb_show(&e->why, mb_str(g != NULL ? g->source : "?"));
	mb_buf_addf(&e->why, ": bytes %" PRIu64 " to %" PRIu64 ": %s", r->start,
	    r->end, what);
}

/* Put what was kept of a range, and give it back. */
static int
pass_kept(struct mb_emitter *e, const struct mb_range *r,
    struct mb_kept *kept, struct mb_err *err)
{
	struct mb_str bytes;
	char last = '\n';
	bool may_lend;

	while (mb_kept_next(kept, r->end, &bytes, &may_lend)) {
		last = bytes.p[bytes.len - 1];
		if ((may_lend ? mb_outlet_lend(&e->out, bytes.p, bytes.len,
		    err) : put(e, bytes.p, bytes.len, err)) < 0)
			return -1;
	}
	return last != '\n' ? put(e, "\n", 1, err) : 0;
}

/* Read one range, hash it, and write it if writes. */
static int
pass_range(struct mb_emitter *e, uint64_t batch, const struct mb_range *r,
    bool writes, enum mb_emit_result *result, struct mb_err *err)
{
	struct mb_kept *kept = NULL;
	const char *why = NULL;
	struct mb_hash hash;
	char last = '\n';

	if (writes && e->parcel != NULL)
		kept = mb_parcel_find(e->parcel, r->generation, r->start,
		    r->end);
	if (kept != NULL)
		return pass_kept(e, r, kept, err);
	mb_hasher_reset(e->hasher);
	for (uint64_t off = r->start; off < r->end; ) {
		size_t want = r->end - off < CHUNK ? (size_t)(r->end - off) :
		    CHUNK;
		ssize_t n = read_bytes(e, batch, r->generation, off, want,
		    &why, err);

		if (n < 0)
			return -1;
		if ((size_t)n < want && e->is_left) {
			*result = MB_EMIT_LEFT;
			mb_buf_reset(&e->why);
			mb_buf_adds(&e->why, why);	/* names the file */
			return 0;
		}
		if ((size_t)n < want) {
			*result = MB_EMIT_GONE;
			explain(e, r, why);
			return 0;
		}
		mb_hasher_add(e->hasher, e->chunk, want);
		if (writes && put(e, e->chunk, want, err) < 0)
			return -1;
		last = e->chunk[want - 1];
		off += want;
	}
	hash = mb_hasher_value(e->hasher);
	if (strcmp(hash.hex, r->hash.hex) != 0) {
		*result = MB_EMIT_DIFFERS;
		explain(e, r, "not what they were when the batch was planned");
		return 0;
	}
	/* A control line stands at a line's start only. */
	if (writes && last != '\n' && put(e, "\n", 1, err) < 0)
		return -1;
	return 0;
}

/* The fields of the batch, which all its sources share. */
static void
fill_fields(struct mb_emitter *e, struct mb_begin *begin,
    const struct mb_generation *g)
{
	struct mb_err ignored = { 0 };
	struct mb_buf text = { 0 };
	const struct mb_node *names;
	struct mb_field *fields;
	struct mb_doc *doc;

	begin->format = mb_arena_dup(&e->arena, g->format,
	    strlen(g->format));
	begin->delimiter = g->delimiter;
	if (g->fields == NULL)
		return;
	mb_buf_addf(&text, "{\"fields\":%s}", g->fields);
	if (mb_doc_parse(&doc, (struct mb_str){ text.p, text.len },
	    &ignored) == 0) {
		names = mb_node_member(mb_doc_root(doc), "fields");
		begin->n_fields = mb_node_length(names);
		fields = mb_arena_alloc(&e->arena,
		    begin->n_fields * sizeof *fields);
		for (size_t i = 0; i < begin->n_fields; i++) {
			char *name = NULL;
			size_t len = 0;

			(void)mb_node_bytes(mb_node_at(names, i), "name",
			    &name, &len);
			fields[i] = (struct mb_field){
				.name = mb_arena_dup(&e->arena, name, len),
			};
			free(name);
		}
		begin->has_fields = true;
		begin->fields = fields;
		mb_doc_close(doc);
	}
	mb_buf_release(&text);
}

static void
fill_begin(struct mb_emitter *e, struct mb_begin *begin,
    const struct mb_batch *b)
{
	const struct mb_state *s = mb_journal_state(e->journal);
	const struct mb_generation *g = NULL;
	struct mb_extent *extents;

	mb_arena_reset(&e->arena);
	*begin = (struct mb_begin){
		.batch = b->number, .digest = b->digest,
		.time_ms = b->time_ms, .settled = b->settled,
		.format = "lines", .delimiter = ',',
		.record_limit = e->record_limit,
		.records = mb_batch_records(b), .n_ranges = b->n_ranges,
	};
	extents = mb_arena_alloc(&e->arena, b->n_ranges * sizeof *extents);
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *r = &b->ranges[i];

		g = mb_state_generation(s, r->generation);
		extents[i] = (struct mb_extent){
			.source = g != NULL ? g->source : "",
			.generation = r->generation, .start = r->start,
			.end = r->end, .records = r->records,
			.is_partial = r->is_partial,
		};
	}
	begin->ranges = extents;
	if (g == NULL && b->n_rejects > 0)
		g = mb_state_generation(s, b->rejects[0].generation);
	if (g == NULL && b->n_lost > 0)
		g = mb_state_generation(s, b->lost[0].generation);
	if (g != NULL)
		fill_fields(e, begin, g);
}

/* A hole (see start.c): its length says all. */
static bool
is_hole(const char *p, size_t len)
{
	return len > 0 && p[0] == '\0' && memcmp(p, p + 1, len - 1) == 0;
}

/* The batch again, which is elsewhere now if wait() has read the journal. */
static const struct mb_batch *
find_again(const struct mb_emitter *e, const struct mb_batch *b,
    uint64_t number)
{
	return e->has_waited ? mb_state_batch(mb_journal_state(e->journal),
	    number) : b;
}

/*
 * The rejects of a batch, with the beginning of each record.  Written again
 * with the same bytes whenever the batch is emitted.
 */
static int
write_rejects(struct mb_emitter *e, const struct mb_batch *b,
    struct mb_err *err)
{
	uint64_t number = b->number;
	struct mb_rejects *out;
	int rc = 0;

	if (b->n_rejects == 0)
		return 0;
	out = mb_rejects_open(e->journal, "collect", number);
	for (size_t i = 0; b != NULL && i < b->n_rejects && rc == 0; i++) {
		const struct mb_generation *g;
		const struct mb_reject *r = &b->rejects[i];
		uint64_t len = r->end - r->start;
		const char *why;
		ssize_t n = read_bytes(e, number, r->generation, r->start,
		    len < CHUNK ? (size_t)len : CHUNK, &why, err);

		rc = n < 0 ? -1 : 0;
		if (n > 0 && is_hole(e->chunk, (size_t)n))
			n = 0;
		b = find_again(e, b, number);
		if (rc < 0 || b == NULL)
			break;
		r = &b->rejects[i];
		g = mb_state_generation(mb_journal_state(e->journal),
		    r->generation);
		mb_rejects_add(out, &(struct mb_rejected){
			.source = g->source, .offset = r->start,
			.record = MB_NONE, .length = len,
			.data = { e->chunk, (size_t)n },
			.reason = r->reason,
		});
	}
	if (rc == 0)
		rc = mb_rejects_publish(out, err);
	mb_rejects_close(out);
	return rc;
}

static int
pass_ranges(struct mb_emitter *e, const struct mb_batch *b, bool writes,
    enum mb_emit_result *result, const char **why, struct mb_err *err)
{
	uint64_t number = b->number;

	*result = MB_EMIT_WHOLE;
	*why = NULL;
	for (size_t i = 0; b != NULL && i < b->n_ranges &&
	    *result == MB_EMIT_WHOLE; i++) {
		struct mb_range r = b->ranges[i];

		if (pass_range(e, number, &r, writes, result, err) < 0)
			return -1;
		b = find_again(e, b, number);
	}
	if (*result != MB_EMIT_WHOLE)
		*why = mb_buf_str(&e->why);
	return 0;
}

/* The names as a header line, for a terminal. */
static void
put_header(struct mb_emitter *e, const struct mb_begin *b)
{
	struct mb_str *names = mb_arena_alloc(&e->arena,
	    b->n_fields * sizeof *names);
	struct mb_err ignored = { 0 };
	enum mb_format format;

	for (size_t i = 0; i < b->n_fields; i++)
		names[i] = mb_str(b->fields[i].name);
	if (mb_format_parse(&format, b->format, &ignored) == 0)
		mb_write_header(&e->line, format, b->delimiter, names,
		    b->n_fields);
}

/* Once, and again where it changes. */
static int
put_new_header(struct mb_emitter *e, struct mb_err *err)
{
	struct mb_buf old = e->header;
	bool is_known = old.len == e->line.len && old.len > 0 &&
	    memcmp(old.p, e->line.p, old.len) == 0;

	e->header = e->line;
	e->line = old;
	mb_buf_reset(&e->line);
	return is_known ? 0 : put(e, e->header.p, e->header.len, err);
}

/* What was written of the batch may end in mid-line. */
static void
put_abort(struct mb_emitter *e, uint64_t batch, int status, const char *why)
{
	mb_buf_addc(&e->line, '\n');
	mb_frame_put_abort(&e->line, e->tag, batch, status, why);
}

static int
write_batch(struct mb_emitter *e, const struct mb_batch *b,
    enum mb_emit_result *result, const char **why, struct mb_err *err)
{
	struct mb_err ignored = { 0 };
	uint64_t number = b->number;
	struct mb_begin begin;

	if (write_rejects(e, b, err) < 0)
		return -1;
	b = find_again(e, b, number);
	if (b == NULL) {
		*result = MB_EMIT_LEFT;
		*why = mb_buf_str(&e->trouble);
		return 0;
	}
	fill_begin(e, &begin, b);
	if (e->is_plain && begin.has_fields) {
		put_header(e, &begin);
		if (put_new_header(e, err) < 0)
			return -1;
	}
	mb_frame_put_begin(&e->line, e->tag, &begin);
	if (!e->is_plain && put(e, e->line.p, e->line.len, err) < 0)
		return -1;
	mb_buf_reset(&e->line);
	if (pass_ranges(e, b, true, result, why, err) < 0) {
		put_abort(e, number, mb_exit_status(err->code), err->msg);
		(void)put_line(e, &ignored);
		return -1;
	}
	if (*result == MB_EMIT_WHOLE)
		mb_frame_put_end(&e->line, e->tag, number, begin.records);
	else
		put_abort(e, number, *result == MB_EMIT_LEFT ? 75 : 65, *why);
	return put_line(e, err);
}

int
mb_emit_batch(struct mb_emitter *e, const struct mb_batch *b,
    enum mb_emit_result *result, const char **why, struct mb_err *err)
{
	int rc;

	e->has_waited = e->is_left = false;
	rc = write_batch(e, b, result, why, err);
	if (e->parcel != NULL)
		mb_parcel_reset(e->parcel);
	return rc;
}

int
mb_verify_batch(struct mb_emitter *e, const struct mb_batch *b,
    enum mb_emit_result *result, const char **why, struct mb_err *err)
{
	e->has_waited = e->is_left = false;
	return pass_ranges(e, b, false, result, why, err);
}

int
mb_verify_range(struct mb_emitter *e, const struct mb_range *r,
    enum mb_emit_result *result, const char **why, struct mb_err *err)
{
	*result = MB_EMIT_WHOLE;
	e->has_waited = e->is_left = false;
	if (pass_range(e, MB_NONE, r, false, result, err) < 0)
		return -1;
	*why = *result == MB_EMIT_WHOLE ? NULL : mb_buf_str(&e->why);
	return 0;
}
