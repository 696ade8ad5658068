#include "replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/line.h"
#include "base/parse.h"

static const char *
state_of(const struct mb_batch *b)
{
	return b->state == MB_PLANNED && b->n_fails > 0 ? "failed" :
	    mb_batch_state_name(b->state);
}

/* How long after its cut it was committed; of the others, how old it is. */
static int64_t
lag_ms(const struct mb_batch *b)
{
	int64_t until = b->state == MB_COMMITTED ? b->commit_ms :
	    mb_clock_wall_ms();

	return until > b->time_ms ? until - b->time_ms : 0;
}

/* Of UTF-8, as far as it is: a column each, though some of it is wider. */
static size_t
count_columns(const char *p, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)p[i] & 0xc0) != 0x80;
	return n;
}

/* The end of a name tells it from others: "~cess.csv.1". */
static void
put_name(struct mb_buf *out, const char *source, size_t columns)
{
	const char *slash = strrchr(source, '/'), *p;
	struct mb_buf name = { 0 };
	size_t n;

	mb_show(&name, mb_str(slash != NULL ? slash + 1 : source));
	p = mb_buf_str(&name);
	n = count_columns(p, name.len);
	if (n > columns) {
		mb_buf_addc(out, '~');
		for (n++; n > columns; n--)
			do
				p++;
			while (((unsigned char)*p & 0xc0) == 0x80);
	}
	mb_buf_adds(out, p);
	mb_buf_release(&name);
}

/*
 * One range in so many columns, of which its name gets what the offsets leave.
 * Where that is too little the end is left out: the bytes tell it.
 */
static void
put_one_range(struct replay *r, struct mb_buf *out, const struct mb_range *x,
    size_t columns)
{
	enum { NAME = 8 };	/* should be left for it */
	const struct mb_generation *g = mb_state_generation(r->state,
	    x->generation);
	char place[64];
	size_t len = (size_t)snprintf(place, sizeof place, ":%" PRIu64 "-%"
	    PRIu64, x->start, x->end);

	if (len + NAME > columns)
		len = (size_t)snprintf(place, sizeof place, ":%" PRIu64 "-",
		    x->start);
	put_name(out, g != NULL ? g->source : "?", columns > len ?
	    columns - len : 1);
	mb_buf_adds(out, place);
}

/* As many ranges as there is room for, and how many there are beside them. */
static void
put_ranges(struct replay *r, struct mb_buf *out, const struct mb_batch *b,
    size_t columns)
{
	struct mb_buf range = { 0 };
	size_t i, used = 0;

	for (i = 0; i < b->n_ranges; i++) {
		size_t rest = 0, width;
		char more[32];

		if (i + 1 < b->n_ranges)
			rest = (size_t)snprintf(more, sizeof more, " +%zu",
			    b->n_ranges - i - 1);
		mb_buf_reset(&range);
		put_one_range(r, &range, &b->ranges[i], i > 0 ? SIZE_MAX :
		    columns > rest ? columns - rest : 1);
		width = count_columns(range.p, range.len) + (i > 0);
		if (i > 0 && used + width + rest > columns)
			break;
		mb_buf_addf(out, "%s%s", i > 0 ? " " : "",
		    mb_buf_str(&range));
		used += width;
	}
	if (i < b->n_ranges)
		mb_buf_addf(out, " +%zu", b->n_ranges - i);
	mb_buf_release(&range);
}

/* In at most five characters: "999", "1.5K", "64M". */
static void
put_size(char text[16], uint64_t size)
{
	static const char units[] = "BKMGTPE";
	double v = (double)size;
	int u = 0;

	for (; v >= 999.5 && u < 6; u++)
		v /= 1024;
	snprintf(text, 16, u > 0 && v < 9.95 ? "%.1f%c" : "%.0f%c", v,
	    units[u]);
}

/* The same: "0.1s", "12s", "90m", "48h", "365d". */
static void
put_lag(char text[16], int64_t ms)
{
	if (ms < 10000)
		snprintf(text, 16, "%.1fs", (double)ms / 1000);
	else if (ms < 600000)
		snprintf(text, 16, "%.0fs", (double)ms / 1000);
	else if (ms < 36000000)
		snprintf(text, 16, "%.0fm", (double)ms / 60000);
	else if (ms < 864000000)
		snprintf(text, 16, "%.0fh", (double)ms / 3600000);
	else
		snprintf(text, 16, "%.0fd", (double)ms / 86400000);
}

/* A row has at most 80 columns, unless its numbers are enormous. */
static void
put_row(struct replay *r, struct mb_buf *out, const struct mb_batch *b)
{
	enum { WIDTH = 80 };
	char time[MB_TIME_LEN + 1], size[16], lag[16];
	size_t start = out->len, used;

	mb_format_time(time, b->time_ms);
	time[19] = '\0';
	put_size(size, mb_batch_bytes(b));
	put_lag(lag, lag_ms(b));
	mb_buf_addf(out, "%5" PRIu64 "  %-9s  %s  %7" PRIu64 "  %5s  %5s  ",
	    b->number, state_of(b), time, mb_batch_records(b), size, lag);
	used = out->len - start;
	put_ranges(r, out, b, used < WIDTH ? WIDTH - used : 0);
	mb_buf_addc(out, '\n');
}

/* Of a requeued batch. */
static uint64_t
lost_records(const struct mb_batch *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < b->n_lost; i++)
		n += b->lost[i].records;
	return n;
}

static void
put_object(struct replay *r, struct mb_buf *out, const struct mb_batch *b)
{
	mb_line_open(out, NULL, '{');
	mb_line_u64(out, "batch", b->number);
	mb_line_str(out, "state", state_of(b));
	mb_line_time(out, "time", b->time_ms);
	mb_line_u64(out, "records", mb_batch_records(b));
	mb_line_u64(out, "bytes", mb_batch_bytes(b));
	mb_line_i64(out, "lag_ms", lag_ms(b));
	mb_line_str(out, "digest", b->digest.hex);
	mb_line_u64(out, "run", b->run);
	mb_line_open(out, "ranges", '[');
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *x = &b->ranges[i];
		const struct mb_generation *g = mb_state_generation(r->state,
		    x->generation);

		mb_line_open(out, NULL, '{');
		mb_line_bytes(out, "source",
		    mb_str(g != NULL ? g->source : "?"));
		mb_line_u64(out, "generation", x->generation);
		mb_line_u64(out, "start", x->start);
		mb_line_u64(out, "end", x->end);
		mb_line_u64(out, "records", x->records);
		mb_line_str(out, "hash", x->hash.hex);
		mb_line_close(out, '}');
	}
	mb_line_close(out, ']');
	mb_line_u64(out, "rejects", b->n_rejects);
	if (b->state == MB_COMMITTED) {
		mb_line_time(out, "committed", b->commit_ms);
		mb_line_u64(out, "rows", b->rows);
	}
	if (b->n_from > 0)
		mb_line_u64(out, "requeued_from", b->from[0]);
	if (b->requeued_as != MB_NONE)
		mb_line_u64(out, "requeued_as", b->requeued_as);
	if (b->n_lost > 0)
		mb_line_u64(out, "lost", lost_records(b));
	if (b->n_fails > 0)
		mb_line_u64(out, "fails", b->n_fails);
	if (b->reason != NULL)
		mb_line_bytes(out, "reason", mb_str(b->reason));
	mb_line_close(out, '}');
	mb_buf_addc(out, '\n');
}

static int
flush(struct mb_buf *out, struct mb_err *err)
{
	if (out->len > 0 && fwrite(out->p, 1, out->len, stdout) < out->len)
		return mb_fail_sys(err, "standard output");
	mb_buf_reset(out);
	return 0;
}

/* What never came into a batch, because it was gone before. */
static void
put_lost(struct replay *r, struct mb_buf *out)
{
	const struct mb_state *s = r->state;

	if (s->n_lost == 0)
		return;
	if (r->cfg->json) {
		mb_line_open(out, NULL, '{');
		mb_line_u64(out, "lost_places", s->n_lost);
		mb_line_u64(out, "lost_unknown", s->n_lost_unknown);
		mb_line_u64(out, "lost_bytes", s->lost_bytes);
		mb_line_close(out, '}');
		mb_buf_addc(out, '\n');
		return;
	}
	mb_buf_addf(out, "lost: %" PRIu64 " bytes in %" PRIu64 " places",
	    s->lost_bytes, s->n_lost - s->n_lost_unknown);
	if (s->n_lost_unknown > 0)
		mb_buf_addf(out, ", and an unknown number in %" PRIu64,
		    s->n_lost_unknown);
	mb_buf_addc(out, '\n');
}

int
replay_list(struct replay *r, struct mb_err *err)
{
	struct mb_buf out = { 0 };
	int rc = 0;

	if (!r->cfg->json && r->state->n_batches > 0)
		mb_buf_addf(&out, "%5s  %-9s  %-19s  %7s  %5s  %5s  %s\n",
		    "batch", "state", "time (UTC)", "records", "bytes", "lag",
		    "range");
	for (size_t i = 0; i < r->state->n_batches && rc == 0; i++) {
		const struct mb_batch *b = &r->state->batches[i];

		if (r->cfg->json)
			put_object(r, &out, b);
		else
			put_row(r, &out, b);
		if (out.len > 64 * 1024)
			rc = flush(&out, err);
	}
	put_lost(r, &out);
	if (rc == 0)
		rc = flush(&out, err);
	mb_buf_release(&out);
	return rc;
}

int
replay_show(struct replay *r, struct mb_err *err)
{
	const struct mb_batch *b;
	struct mb_buf out = { 0 };
	char time[MB_TIME_LEN + 1];
	uint64_t number;
	int rc;

	if (mb_parse_count(&number, r->cfg->show, err) < 0)
		return mb_wrap(err, "--show");
	if (replay_find(r, number, &b, err) < 0)
		return -1;
	if (r->cfg->json) {
		put_object(r, &out, b);
		rc = flush(&out, err);
		mb_buf_release(&out);
		return rc;
	}
	mb_format_time(time, b->time_ms);
	mb_buf_addf(&out, "batch     %" PRIu64 "\nstate     %s\ntime      %s\n"
	    "run       %" PRIu64 "\ndigest    %s\nrecords   %" PRIu64
	    "\nbytes     %" PRIu64 "\n", b->number, state_of(b), time, b->run,
	    b->digest.hex, mb_batch_records(b), mb_batch_bytes(b));
	if (b->state == MB_COMMITTED) {
		mb_format_time(time, b->commit_ms);
		mb_buf_addf(&out, "committed %s\nrows      %" PRIu64 "\n",
		    time, b->rows);
	}
	if (b->n_from > 0)
		mb_buf_addf(&out, "requeued  from batch %" PRIu64 "\n",
		    b->from[0]);
	if (b->requeued_as != MB_NONE)
		mb_buf_addf(&out, "requeued  as batch %" PRIu64 "\n",
		    b->requeued_as);
	if (b->reason != NULL && b->n_fails == 0) {
		mb_buf_adds(&out, "parked    ");
		mb_show(&out, mb_str(b->reason));
		mb_buf_addc(&out, '\n');
	} else if (b->reason != NULL) {
		mb_buf_addf(&out, "attempts  %" PRIu64 " failed, the last: ",
		    b->n_fails);
		mb_show(&out, mb_str(b->reason));
		mb_buf_addc(&out, '\n');
	}
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *x = &b->ranges[i];
		const struct mb_generation *g = mb_state_generation(r->state,
		    x->generation);

		mb_buf_adds(&out, "range     ");
		mb_show(&out, mb_str(g != NULL ? g->source : "?"));
		mb_buf_addf(&out, " bytes %" PRIu64 " to %" PRIu64 ", %" PRIu64
		    " records%s\n", x->start, x->end, x->records,
		    x->is_partial ? ", the last without newline" : "");
	}
	for (size_t i = 0; i < b->n_lost; i++)
		mb_buf_addf(&out, "lost      %" PRIu64 " records in %" PRIu64
		    " bytes\n", b->lost[i].records, b->lost[i].end -
		    b->lost[i].start);
	for (size_t i = 0; i < b->n_rejects; i++)
		mb_buf_addf(&out, "reject    bytes %" PRIu64 " to %" PRIu64
		    ": %s\n", b->rejects[i].start, b->rejects[i].end,
		    b->rejects[i].reason);
	rc = flush(&out, err);
	mb_buf_release(&out);
	return rc;
}
