/*
 *	START -> OUTSIDE [hello] -> INSIDE [begin] -> OUTSIDE [end, abort]
 *	OUTSIDE -> DONE [done];  START -> PLAIN [anything but hello]
 */
#include "frame/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/count.h"
#include "base/io.h"
#include "base/line.h"

enum {
	CHUNK = 256 * 1024,
	MAX_CONTROL = 256 << 20,	/* a `begin` may name many sources */
	TAG_REACH = 64,		/* RS to the end of the tag, at most */
};

enum where { START, OUTSIDE, INSIDE, DONE, PLAIN };

struct mb_frame_reader {
	int fd, watched;
	const char *name;
	enum where where;
	struct mb_buf buf;
	size_t start;		/* of what is not consumed, in buf */
	size_t given;		/* bytes of the last DATA event, if inside */
	bool gave_last;
	bool has_ended;		/* read returned 0 */
	char before;		/* the byte before `start` */
	uint64_t line;		/* of the byte at `start`, from 1 */
	bool has_skipped;	/* so `line` isn't; the first one is at … */
	uint64_t origin;	/* … this position in the file */
	char tag[MB_TAG_LEN + 1];
	struct mb_doc *doc;	/* of the last control line */
	struct mb_arena arena;
	struct mb_hello hello;
	struct mb_begin begin;
	uint64_t batch;
};

/* Wait until there is input; notice meanwhile that our reader has gone. */
static int
wait_for_input(const struct mb_frame_reader *r, struct mb_err *err)
{
	struct pollfd fds[2] = {
		{ .fd = r->fd, .events = POLLIN },
		{ .fd = r->watched, .events = 0 },
	};

	if (r->watched < 0)
		return 0;
	for (;;) {
		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return mb_fail_sys(err, "poll %s", r->name);
		}
		if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) {
			errno = EPIPE;
			return mb_fail_sys(err, "standard output");
		}
		if (fds[0].revents != 0)
			return 0;
	}
}

/* Read more behind what is there: 1, or 0 at the end. */
static int
fill(struct mb_frame_reader *r, struct mb_err *err)
{
	ssize_t n;

	if (r->has_ended)
		return 0;
	if (r->start > 0) {
		memmove(r->buf.p, r->buf.p + r->start, r->buf.len - r->start);
		r->buf.len -= r->start;
		r->start = 0;
	}
	mb_buf_reserve(&r->buf, r->buf.len < CHUNK ? CHUNK - r->buf.len : CHUNK);
	if (wait_for_input(r, err) < 0)
		return -1;
	n = mb_read_some(r->fd, r->buf.p + r->buf.len, r->buf.cap - r->buf.len,
	    r->name, err);
	if (n < 0)
		return -1;
	r->buf.len += (size_t)n;
	r->has_ended = n == 0;
	return n > 0;
}

static void
advance(struct mb_frame_reader *r, size_t len)
{
	if (len == 0)
		return;
	r->line += mb_count_newlines(r->buf.p + r->start, len);
	r->start += len;
	r->before = r->buf.p[r->start - 1];
}

static const char hello_start[] = "\x1e{\"mb\":\"hello\"";
static const char control_start[] = "\x1e{\"mb\":";

bool
mb_frame_begins(struct mb_str bytes)
{
	return bytes.len >= sizeof hello_start - 1 &&
	    memcmp(bytes.p, hello_start, sizeof hello_start - 1) == 0;
}

int
mb_frame_open(struct mb_frame_reader **out, int fd, const char *name,
    int watched, struct mb_err *err)
{
	struct mb_frame_reader *r = mb_zalloc(sizeof *r);
	size_t want = sizeof hello_start - 1, n;
	off_t at;
	int rc;

	*out = NULL;
	*r = (struct mb_frame_reader){
		.fd = fd, .watched = watched, .name = name, .line = 1,
		.before = '\n'
	};
	if ((at = lseek(fd, 0, SEEK_CUR)) > 0)
		r->origin = (uint64_t)at;
	/* Read on only as long as it may still become a hello. */
	for (;;) {
		n = r->buf.len < want ? r->buf.len : want;
		if (n == want || (n > 0 && memcmp(r->buf.p, hello_start, n) != 0))
			break;
		rc = fill(r, err);
		if (rc < 0) {
			mb_frame_close(r);
			return -1;
		}
		if (rc == 0)
			break;
	}
	/* The beginning of a hello and no more: its writer has died. */
	if (n == 0 || memcmp(r->buf.p, hello_start, n) != 0)
		r->where = PLAIN;
	*out = r;
	return 0;
}

void
mb_frame_close(struct mb_frame_reader *r)
{
	if (r == NULL)
		return;
	mb_doc_close(r->doc);
	mb_arena_release(&r->arena);
	mb_buf_release(&r->buf);
	free(r);
}

bool
mb_frame_is_framed(const struct mb_frame_reader *r)
{
	return r->where != PLAIN;
}

bool
mb_frame_is_empty(const struct mb_frame_reader *r)
{
	return r->where == PLAIN && r->has_ended && r->buf.len == 0;
}

static int
bad_line(const struct mb_frame_reader *r, const char *what,
    struct mb_err *err)
{
	return mb_fail(err, MB_EDATA, "%s: line %" PRIu64 ": %s: a filter "
	    "took or changed control lines", r->name, r->line, what);
}

static const char *
copy_text(struct mb_frame_reader *r, const struct mb_node *n,
    const char *name)
{
	char *text = NULL, *copy;
	size_t len;

	if (!mb_node_bytes(n, name, &text, &len))
		return NULL;
	copy = mb_arena_dup(&r->arena, text, len);
	free(text);
	return copy;
}

static bool
parse_hello(struct mb_frame_reader *r, const struct mb_node *n)
{
	struct mb_hello *h = &r->hello;
	const char *tag;

	*h = (struct mb_hello){ 0 };
	if (!mb_node_str(n, "tag", &tag) ||
	    !mb_is_hex(mb_str(tag), MB_TAG_LEN) ||
	    !mb_node_str(n, "id", &h->id) || !mb_node_u64(n, "run", &h->run) ||
	    !mb_node_bool(n, "replay", &h->is_replay) ||
	    (h->journal = copy_text(r, n, "journal")) == NULL)
		return false;
	h->id = mb_arena_dup(&r->arena, h->id, strlen(h->id));
	memcpy(h->tag, tag, MB_TAG_LEN + 1);
	memcpy(r->tag, tag, MB_TAG_LEN + 1);
	return true;
}

static bool
parse_ranges(struct mb_frame_reader *r, const struct mb_node *ranges,
    struct mb_begin *b)
{
	size_t n = mb_node_length(ranges);
	struct mb_extent *e = mb_arena_alloc(&r->arena, n * sizeof *e);

	for (size_t i = 0; i < n; i++) {
		const struct mb_node *node = mb_node_at(ranges, i);

		e[i] = (struct mb_extent){ 0 };
		e[i].source = copy_text(r, node, "source");
		(void)mb_node_bool(node, "partial", &e[i].is_partial);
		if (e[i].source == NULL ||
		    !mb_node_u64(node, "generation", &e[i].generation) ||
		    !mb_node_u64(node, "start", &e[i].start) ||
		    !mb_node_u64(node, "end", &e[i].end) ||
		    !mb_node_u64(node, "records", &e[i].records))
			return false;
	}
	b->ranges = e;
	b->n_ranges = n;
	return true;
}

static bool
parse_fields(struct mb_frame_reader *r, const struct mb_node *fields,
    struct mb_begin *b)
{
	size_t n = mb_node_length(fields);
	struct mb_field *f = mb_arena_alloc(&r->arena, n * sizeof *f);

	for (size_t i = 0; i < n; i++) {
		const struct mb_node *node = mb_node_at(fields, i);

		f[i] = (struct mb_field){ 0 };
		f[i].name = copy_text(r, node, "name");
		f[i].type = copy_text(r, node, "type");
		f[i].agg = copy_text(r, node, "agg");
		if (f[i].name == NULL)
			return false;
	}
	b->has_fields = fields != NULL;
	b->fields = f;
	b->n_fields = n;
	return true;
}

static bool
parse_begin(struct mb_frame_reader *r, const struct mb_node *n)
{
	struct mb_begin *b = &r->begin;
	const char *delimiter;

	*b = (struct mb_begin){ .settled = UINT64_MAX };
	if (!mb_node_u64(n, "batch", &b->batch) ||
	    !mb_node_hash(n, "digest", &b->digest) ||
	    !mb_node_time(n, "time", &b->time_ms) ||
	    !mb_node_u64(n, "records", &b->records) ||
	    !mb_node_u64(n, "record_limit", &b->record_limit) ||
	    (b->format = copy_text(r, n, "format")) == NULL ||
	    !mb_node_str(n, "delimiter", &delimiter) ||
	    strlen(delimiter) != 1)
		return false;
	b->delimiter = delimiter[0];
	(void)mb_node_u64(n, "settled", &b->settled);
	return parse_ranges(r, mb_node_member(n, "ranges"), b) &&
	    parse_fields(r, mb_node_member(n, "fields"), b);
}

static bool
get_status(const struct mb_node *n, int *status)
{
	uint64_t v;

	if (!mb_node_u64(n, "status", &v) || v > 255)
		return false;
	*status = (int)v;
	return true;
}

/* A whole control line, from RS to before the newline. */
static int
control(struct mb_frame_reader *r, struct mb_str line,
    struct mb_frame_event *ev, struct mb_err *err)
{
	struct mb_err ignored = { 0 };
	const struct mb_node *n;
	const char *verb = "";
	uint64_t version;
	bool ok = false;

	line.p++;
	line.len--;
	if (!mb_line_check(line))
		return bad_line(r, "a control line with a wrong checksum", err);
	mb_doc_close(r->doc);
	r->doc = NULL;
	mb_arena_reset(&r->arena);
	if (mb_doc_parse(&r->doc, line, &ignored) < 0)
		return bad_line(r, "a control line that isn't JSON", err);
	n = mb_doc_root(r->doc);
	(void)mb_node_str(n, "mb", &verb);
	*ev = (struct mb_frame_event){ 0 };
	if (strcmp(verb, "hello") == 0) {
		if (r->where != START)
			return bad_line(r, "a second hello", err);
		if (!mb_node_u64(n, "version", &version) || version != 1)
			return mb_fail(err, MB_EDATA, "%s: frames of a version "
			    "that this mb doesn't know", r->name);
		ok = parse_hello(r, n);
		ev->kind = MB_FRAME_HELLO;
		ev->hello = mb_hello_copy(&r->hello, &r->arena);
		r->where = OUTSIDE;
	} else if (strcmp(verb, "begin") == 0) {
		if (r->where != OUTSIDE)
			return bad_line(r, "a begin inside a batch", err);
		ok = parse_begin(r, n);
		ev->kind = MB_FRAME_BEGIN;
		ev->begin = &r->begin;
		r->batch = r->begin.batch;
		r->where = INSIDE;
		r->given = 0;
		r->gave_last = false;
	} else if (strcmp(verb, "end") == 0 || strcmp(verb, "abort") == 0) {
		if (r->where != INSIDE)
			return bad_line(r, "an end outside a batch", err);
		ok = mb_node_u64(n, "batch", &ev->batch) &&
		    ev->batch == r->batch;
		if (verb[0] == 'e') {
			ev->kind = MB_FRAME_END;
			ok = ok && mb_node_u64(n, "records", &ev->records);
		} else {
			ev->kind = MB_FRAME_ABORT;
			ev->error = copy_text(r, n, "error");
			ok = ok && ev->error != NULL &&
			    get_status(n, &ev->status);
		}
		r->where = OUTSIDE;
	} else if (strcmp(verb, "done") == 0) {
		if (r->where != OUTSIDE)
			return bad_line(r, "a done inside a batch", err);
		ok = get_status(n, &ev->status);
		ev->kind = MB_FRAME_DONE;
		r->where = DONE;
	}
	if (!ok)
		return bad_line(r, "a control line that isn't complete", err);
	return 1;
}

/*
 * Does a line that begins with RS at p carry the stream's tag?  1 yes, 0 no,
 * -1: more bytes are needed to tell.
 */
static int
has_tag(const struct mb_frame_reader *r, const char *p, size_t len)
{
	size_t n = sizeof control_start - 1;
	const char *quote;

	if (memcmp(p, control_start, len < n ? len : n) != 0)
		return 0;
	if (r->where == START)
		return len < n ? -1 : 1;
	if (len < TAG_REACH && memchr(p, '\n', len) == NULL && !r->has_ended)
		return -1;
	if (len < n || p[n] != '"')
		return 0;
	/* "verb","tag":"0123456789abcdef" */
	quote = memchr(p + n + 1, '"', len - n - 1 < 8 ? len - n - 1 : 8);
	if (quote == NULL)
		return 0;
	len -= (size_t)(quote - p);
	return len >= 9 + MB_TAG_LEN + 1 && memcmp(quote, "\",\"tag\":\"", 9) == 0 &&
	    memcmp(quote + 9, r->tag, MB_TAG_LEN) == 0 &&
	    quote[9 + MB_TAG_LEN] == '"';
}

/*
 * The next control line from `from` on (an offset into buf).  1 found at *at;
 * 0 none, and *at is up to where there surely is none.
 */
static int
find_control(struct mb_frame_reader *r, size_t from, size_t *at)
{
	const char *base = r->buf.p, *end = base + r->buf.len;
	const char *p = base + from;

	while (p < end && (p = memchr(p, MB_RS, (size_t)(end - p))) != NULL) {
		if ((p == base + r->start ? r->before : p[-1]) == '\n') {
			int rc = has_tag(r, p, (size_t)(end - p));

			*at = (size_t)(p - base);
			if (rc > 0)
				return 1;
			if (rc < 0)
				return 0;
		}
		p++;
	}
	*at = r->buf.len;
	return 0;
}

/* The control line at r->start, whole. */
static int
take_control(struct mb_frame_reader *r, struct mb_frame_event *ev,
    struct mb_err *err)
{
	struct mb_str line;
	size_t scanned = 0;
	char *newline;
	int rc;

	while ((newline = memchr(r->buf.p + r->start + scanned, '\n',
	    r->buf.len - r->start - scanned)) == NULL) {
		scanned = r->buf.len - r->start;
		if (scanned > MAX_CONTROL)
			return bad_line(r, "a control line without end", err);
		rc = fill(r, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return mb_fail(err, MB_EBUSY, "%s: ends in the middle "
			    "of a control line: what is upstream has died",
			    r->name);
	}
	line.p = r->buf.p + r->start;
	line.len = (size_t)(newline - line.p);
	if (control(r, line, ev, err) < 0)
		return -1;
	r->start += line.len + 1;
	r->before = '\n';
	r->line++;
	return 1;
}

/* After `done` nothing may come. */
static int
expect_end(struct mb_frame_reader *r, struct mb_err *err)
{
	int rc;

	if (r->start < r->buf.len)
		return bad_line(r, "something after done", err);
	rc = fill(r, err);
	if (rc <= 0)
		return rc;
	return bad_line(r, "something after done", err);
}

/* START and OUTSIDE: only a control line may stand here. */
static int
next_outside(struct mb_frame_reader *r, struct mb_frame_event *ev,
    struct mb_err *err)
{
	int rc;

	for (;;) {
		size_t len = r->buf.len - r->start;

		rc = len == 0 ? -1 : r->buf.p[r->start] != MB_RS ? 0 :
		    has_tag(r, r->buf.p + r->start, len);
		/* A line that its writer did not finish tells nothing. */
		if (rc == 0 && len > 0 && r->buf.p[r->start] == MB_RS &&
		    memchr(r->buf.p + r->start, '\n', len) == NULL)
			rc = -1;
		if (rc > 0)
			return take_control(r, ev, err);
		if (rc == 0)
			return bad_line(r, "a record outside a batch", err);
		rc = fill(r, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return mb_fail(err, MB_EBUSY, "%s: ends without its "
			    "done line: what is upstream has died", r->name);
	}
}

/* INSIDE: records up to the next control line. */
static int
next_inside(struct mb_frame_reader *r, struct mb_frame_event *ev,
    struct mb_err *err)
{
	size_t at, scanned = 0;
	int rc;

	if (r->gave_last)
		advance(r, r->given);
	else
		scanned = r->given;	/* seen before: no control line in it */
	r->given = 0;
	for (;;) {
		rc = find_control(r, r->start + scanned, &at);
		if (rc > 0 && at == r->start)
			return take_control(r, ev, err);
		if (r->gave_last)
			return mb_fail(err, MB_EBUG, "a control line vanished");
		if (rc > 0 || at > r->start + scanned) {
			*ev = (struct mb_frame_event){
				.kind = MB_FRAME_DATA,
				.data = { r->buf.p + r->start, at - r->start },
				.is_last = rc > 0,
			};
			r->given = at - r->start;
			r->gave_last = rc > 0;
			return 1;
		}
		scanned = at - r->start;
		rc = fill(r, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return mb_fail(err, MB_EBUSY, "%s: ends in the middle "
			    "of batch %" PRIu64 ": what is upstream has died",
			    r->name, r->batch);
	}
}

bool
mb_frame_is_idle(const struct mb_frame_reader *r, int ms)
{
	struct pollfd fd = { .fd = r->fd, .events = POLLIN };

	return r->where == OUTSIDE && r->start == r->buf.len &&
	    poll(&fd, 1, ms) == 0;
}

bool
mb_frame_file(const struct mb_frame_reader *r, int *fd, uint64_t *pos)
{
	struct stat st;
	off_t at;

	if (r->where != PLAIN || fstat(r->fd, &st) < 0 ||
	    !S_ISREG(st.st_mode) || (at = lseek(r->fd, 0, SEEK_CUR)) < 0)
		return false;
	*fd = r->fd;
	*pos = (uint64_t)at - (r->buf.len - r->start);
	return true;
}

int
mb_frame_skip(struct mb_frame_reader *r, uint64_t pos, struct mb_err *err)
{
	if (mb_pread_full(r->fd, &r->before, 1, pos - 1, r->name, err) < 0)
		return -1;
	if (lseek(r->fd, (off_t)pos, SEEK_SET) < 0)
		return mb_fail_sys(err, "seek in %s", r->name);
	r->has_skipped = true;
	r->start = r->buf.len = r->given = 0;
	r->gave_last = r->has_ended = false;
	return 0;
}

/* The line of the byte at p, which is in the buffer. */
static int
find_line(struct mb_frame_reader *r, const char *p, struct mb_err *err)
{
	uint64_t at = r->origin, end;
	char *chunk;
	ssize_t n = 1;
	int fd;

	if (!r->has_skipped) {
		r->line += mb_count_newlines(r->buf.p + r->start,
		    (size_t)(p - r->buf.p) - r->start);
		return 0;
	}
	if (!mb_frame_file(r, &fd, &end))
		return mb_fail(err, MB_EBUG, "%s is no file any more", r->name);
	end += (size_t)(p - r->buf.p) - r->start;
	chunk = mb_alloc(CHUNK);
	for (r->line = 1; at < end && n > 0; at += (uint64_t)n) {
		n = mb_pread_full(fd, chunk, end - at < CHUNK ?
		    (size_t)(end - at) : CHUNK, at, r->name, err);
		if (n > 0)
			r->line += mb_count_newlines(chunk, (size_t)n);
	}
	free(chunk);
	return n < 0 ? -1 : 0;
}

/* A plain stream: everything is data, but no line may look like control. */
static int
next_plain(struct mb_frame_reader *r, struct mb_frame_event *ev,
    struct mb_err *err)
{
	size_t before = r->given;
	const char *p, *end;
	int rc = 1;

	if (r->gave_last)
		return 0;
	if (r->buf.len - r->start == before)
		rc = fill(r, err);
	if (rc < 0)
		return -1;
	/* Lines that were not looked at yet; the mark may straddle reads. */
	p = r->buf.p + r->start;
	end = r->buf.p + r->buf.len;
	p += before > sizeof control_start ? before - sizeof control_start : 0;
	while (p < end && (p = memchr(p, MB_RS, (size_t)(end - p))) != NULL) {
		size_t n = sizeof control_start - 1;

		if ((size_t)(end - p) >= n &&
		    memcmp(p, control_start, n) == 0 &&
		    (p == r->buf.p + r->start ? r->before : p[-1]) == '\n') {
			if (find_line(r, p, err) < 0)
				return -1;
			return bad_line(r, "a control line in a plain stream",
			    err);
		}
		p++;
	}
	*ev = (struct mb_frame_event){
		.kind = MB_FRAME_DATA,
		.data = { r->buf.p + r->start, r->buf.len - r->start },
		.is_last = rc == 0,
	};
	r->given = ev->data.len;
	r->gave_last = rc == 0;
	return 1;
}

int
mb_frame_next(struct mb_frame_reader *r, struct mb_frame_event *ev,
    struct mb_err *err)
{
	switch (r->where) {
	case START:
	case OUTSIDE:
		return next_outside(r, ev, err);
	case INSIDE:
		return next_inside(r, ev, err);
	case DONE:
		return expect_end(r, err);
	case PLAIN:
		break;
	}
	return next_plain(r, ev, err);
}

void
mb_frame_consume(struct mb_frame_reader *r, size_t len)
{
	advance(r, len);
	r->given -= len;
}

struct mb_hello *
mb_hello_copy(const struct mb_hello *h, struct mb_arena *a)
{
	struct mb_hello *copy = mb_arena_alloc(a, sizeof *copy);

	*copy = *h;
	if (h->journal != NULL)
		copy->journal = mb_arena_dup(a, h->journal, strlen(h->journal));
	if (h->id != NULL)
		copy->id = mb_arena_dup(a, h->id, strlen(h->id));
	return copy;
}

static const char *
dup_or_null(struct mb_arena *a, const char *s)
{
	return s != NULL ? mb_arena_dup(a, s, strlen(s)) : NULL;
}

struct mb_begin *
mb_begin_copy(const struct mb_begin *b, struct mb_arena *a)
{
	struct mb_begin *copy = mb_arena_alloc(a, sizeof *copy);
	struct mb_extent *ranges;
	struct mb_field *fields;

	*copy = *b;
	ranges = mb_arena_alloc(a, b->n_ranges * sizeof *ranges);
	for (size_t i = 0; i < b->n_ranges; i++) {
		ranges[i] = b->ranges[i];
		ranges[i].source = dup_or_null(a, b->ranges[i].source);
	}
	fields = mb_arena_alloc(a, b->n_fields * sizeof *fields);
	for (size_t i = 0; i < b->n_fields; i++)
		fields[i] = (struct mb_field){
			.name = dup_or_null(a, b->fields[i].name),
			.type = dup_or_null(a, b->fields[i].type),
			.agg = dup_or_null(a, b->fields[i].agg),
		};
	copy->ranges = ranges;
	copy->fields = fields;
	copy->format = dup_or_null(a, b->format);
	return copy;
}
