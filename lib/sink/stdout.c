/*
 * stdout.c - the sink "-": rows to standard output, at least once.
 *
 * A batch is held in memory until it is whole (--max-bytes bounds it), so that
 * nothing of a batch that is aborted is ever seen.  The header is written
 * once, and again where it changes.
 */
#include "sink/sink.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "sink/convert.h"

struct stdout_sink {
	struct mb_sink base;
	struct mb_convert *convert;
	struct mb_buf rows;
	struct mb_buf header;	/* written last */
};

static void
stdout_abort(struct mb_sink *base)
{
	struct stdout_sink *s = (struct stdout_sink *)base;

	mb_convert_close(s->convert);
	s->convert = NULL;
	mb_buf_reset(&s->rows);
}

static void
stdout_close(struct mb_sink *base)
{
	struct stdout_sink *s = (struct stdout_sink *)base;

	stdout_abort(base);
	mb_buf_release(&s->rows);
	mb_buf_release(&s->header);
	free(s);
}

static int
stdout_lookup(struct mb_sink *base, struct mb_marker *out, struct mb_err *err)
{
	(void)base;
	(void)out;
	(void)err;
	return 0;
}

static int
stdout_begin(struct mb_sink *base, const struct mb_begin *b,
    struct mb_err *err)
{
	struct stdout_sink *s = (struct stdout_sink *)base;

	stdout_abort(base);
	return mb_convert_open(&s->convert, base->options, b, &s->rows, err);
}

static int
stdout_add(struct mb_sink *base, struct mb_str records, struct mb_err *err)
{
	struct stdout_sink *s = (struct stdout_sink *)base;

	return mb_convert_add(s->convert, records, base->adding, &s->rows,
	    err);
}

static int
stdout_stage(struct mb_sink *base, uint64_t *rows, struct mb_err *err)
{
	struct stdout_sink *s = (struct stdout_sink *)base;

	(void)err;
	*rows = mb_convert_rows(s->convert);
	return 0;
}

static int
stdout_commit(struct mb_sink *base, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	struct stdout_sink *s = (struct stdout_sink *)base;
	size_t len = mb_convert_header(s->convert);
	bool is_known = len == s->header.len && (len == 0 ||
	    memcmp(s->rows.p, s->header.p, len) == 0);
	size_t skip = is_known ? len : 0;

	(void)was;
	(void)now;
	if (mb_write_all(STDOUT_FILENO, s->rows.p + skip, s->rows.len - skip,
	    "standard output", err) < 0)
		return -1;
	mb_buf_reset(&s->header);
	mb_buf_add(&s->header, s->rows.p, len);
	return 0;
}

int
mb_sink_open_stdout(struct mb_sink **out, const char *nothing,
    const struct mb_sink_options *options, struct mb_err *err)
{
	static const struct mb_sink_ops ops = {
		.close = stdout_close, .lookup = stdout_lookup,
		.begin = stdout_begin, .add = stdout_add,
		.stage = stdout_stage, .commit = stdout_commit,
		.abort = stdout_abort,
	};
	struct stdout_sink *s = mb_alloc(sizeof *s);

	(void)nothing;
	(void)err;
	*s = (struct stdout_sink){
		.base = {
			.ops = &ops, .options = options,
			.target = mb_strdup("-"), .target_id = mb_strdup("-"),
		},
	};
	*out = &s->base;
	return 0;
}
