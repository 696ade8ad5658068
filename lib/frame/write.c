#include "frame/frame.h"

#include "base/line.h"

/* "␞{"mb":verb,"tag":tag": every control line begins so. */
static size_t
begin_line(struct mb_buf *out, const char *verb, const char *tag)
{
	size_t start;

	mb_buf_addc(out, MB_RS);
	start = out->len;
	mb_line_begin(out, verb);
	mb_line_str(out, "tag", tag);
	return start;
}

void
mb_frame_put_hello(struct mb_buf *out, const struct mb_hello *h)
{
	size_t start = begin_line(out, "hello", h->tag);

	mb_line_u64(out, "version", 1);
	mb_line_bytes(out, "journal", mb_str(h->journal));
	mb_line_str(out, "id", h->id);
	mb_line_u64(out, "run", h->run);
	mb_line_bool(out, "replay", h->is_replay);
	mb_line_seal(out, start);
}

static void
put_ranges(struct mb_buf *out, const struct mb_begin *b)
{
	mb_line_open(out, "ranges", '[');
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_extent *r = &b->ranges[i];

		mb_line_open(out, NULL, '{');
		mb_line_bytes(out, "source", mb_str(r->source));
		mb_line_u64(out, "generation", r->generation);
		mb_line_u64(out, "start", r->start);
		mb_line_u64(out, "end", r->end);
		mb_line_u64(out, "records", r->records);
		if (r->is_partial)
			mb_line_bool(out, "partial", true);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
}

static void
put_fields(struct mb_buf *out, const struct mb_begin *b)
{
	mb_line_open(out, "fields", '[');
	for (size_t i = 0; i < b->n_fields; i++) {
		const struct mb_field *f = &b->fields[i];

		mb_line_open(out, NULL, '{');
		mb_line_bytes(out, "name", mb_str(f->name));
		if (f->type != NULL)
			mb_line_str(out, "type", f->type);
		if (f->agg != NULL)
			mb_line_str(out, "agg", f->agg);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
}

void
mb_frame_put_begin(struct mb_buf *out, const char *tag,
    const struct mb_begin *b)
{
	size_t start = begin_line(out, "begin", tag);
	char delimiter[2] = { b->delimiter, '\0' };

	mb_line_u64(out, "batch", b->batch);
	mb_line_str(out, "digest", b->digest.hex);
	mb_line_time(out, "time", b->time_ms);
	if (b->settled != UINT64_MAX)
		mb_line_u64(out, "settled", b->settled);
	mb_line_u64(out, "records", b->records);
	mb_line_u64(out, "record_limit", b->record_limit);
	if (b->n_ranges > 0)
		put_ranges(out, b);
	mb_line_str(out, "format", b->format);
	mb_line_str(out, "delimiter", delimiter);
	if (b->has_fields)
		put_fields(out, b);
	mb_line_seal(out, start);
}

void
mb_frame_put_end(struct mb_buf *out, const char *tag, uint64_t batch,
    uint64_t records)
{
	size_t start = begin_line(out, "end", tag);

	mb_line_u64(out, "batch", batch);
	mb_line_u64(out, "records", records);
	mb_line_seal(out, start);
}

void
mb_frame_put_abort(struct mb_buf *out, const char *tag, uint64_t batch,
    int status, const char *error)
{
	size_t start = begin_line(out, "abort", tag);

	mb_line_u64(out, "batch", batch);
	mb_line_i64(out, "status", status);
	mb_line_bytes(out, "error", mb_str(error));
	mb_line_seal(out, start);
}

void
mb_frame_put_done(struct mb_buf *out, const char *tag, int status)
{
	size_t start = begin_line(out, "done", tag);

	mb_line_i64(out, "status", status);
	mb_line_seal(out, start);
}
