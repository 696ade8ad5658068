/*
 * mb-replay - the batches of a journal: list, show, verify, and send again.
 *
 * A replay is frames like those of mb-collect, marked as such.  What becomes
 * of them is mb-commit's to decide: a batch that is committed already changes
 * nothing.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/signals.h"
#include "common.h"
#include "journal/leftovers.h"
#include "journal/outcome.h"
#include "journal/repair.h"
#include "record/split.h"
#include "source/emit.h"

enum {
	KEY_JSON = MB_OPT_LONG, KEY_FAILED, KEY_SHOW, KEY_VERIFY, KEY_PLAIN,
	KEY_SHARED, KEY_PARK, KEY_UNPARK, KEY_REQUEUE, KEY_PRUNE,
	KEY_REPAIR, KEY_YES,
};

static const struct mb_opt opts[] = {
	{ 'j', "journal", "FILE", "the journal (default $MB_JOURNAL)" },
	{ KEY_JSON, "json", NULL, "the table of batches as JSON, one object a "
	    "line" },
	{ KEY_FAILED, "failed", NULL, "replay the failed and parked batches" },
	{ KEY_SHOW, "show", "N", "everything the journal knows of batch N" },
	{ KEY_VERIFY, "verify", NULL, "per batch: ok, differs or gone" },
	{ KEY_PARK, "park", "N", "set batch N, or N-M, aside" },
	{ KEY_UNPARK, "unpark", "N", "send batch N, or N-M, that is parked with "
	    "the next start again" },
	{ KEY_REQUEUE, "requeue", "N", "put what is left of batch N, or N-M, "
	    "that is parked under a new number" },
	{ KEY_PLAIN, "plain", NULL, "records without frames" },
	{ KEY_PRUNE, "prune", NULL, "drop from the journal what is settled, "
	    "now" },
	{ KEY_REPAIR, "repair", NULL, "explain what is wrong with the "
	    "journal, and what can be done" },
	{ KEY_YES, "yes", NULL, "with --repair: do it" },
	{ KEY_SHARED, "shared", NULL, "insist on a journal on a network file "
	    "system" },
	MB_OPT_COMMON,
	{ 0 }
};

static const struct mb_cmd cmd = {
	.name = "mb-replay",
	.usage = "-j FILE [options] [N | N-M ...]",
	.summary = "List the batches of a journal; with numbers, write them "
	    "as frames again, for mb-agg and mb-commit.",
	.opts = opts,
};

/* What becomes of batches by hand; an index of `verbs`. */
enum verb { NO_VERB, PARK, UNPARK, REQUEUE };

struct config {
	const char *journal, *show;
	enum verb verb;
	bool prunes, repairs, says_yes;
	const char *verb_arg;
	bool json, failed, verify, is_plain, is_shared;
	struct mb_common common;
	char **numbers;
	int n_numbers;
};

struct replay {
	const struct config *cfg;
	struct mb_journal *journal;
	const struct mb_state *state;
	struct mb_emitter *emitter;
	struct mb_progress *progress;
	uint64_t *numbers;	/* asked for, rising in each operand */
	size_t n_numbers;
};

static int
take_option(void *to, int key, const char *arg, struct mb_err *err)
{
	struct config *cfg = to;

	switch (key) {
	case 'j':
		cfg->journal = arg;
		break;
	case KEY_JSON:
		cfg->json = true;
		break;
	case KEY_FAILED:
		cfg->failed = true;
		break;
	case KEY_SHOW:
		cfg->show = arg;
		break;
	case KEY_VERIFY:
		cfg->verify = true;
		break;
	case KEY_PARK:
	case KEY_UNPARK:
	case KEY_REQUEUE:
		if (cfg->verb != NO_VERB)
			return mb_fail(err, MB_EUSAGE, "--park, --unpark, "
			    "--requeue: one at a time");
		cfg->verb = PARK + (enum verb)(key - KEY_PARK);
		cfg->verb_arg = arg;
		break;
	case KEY_PLAIN:
		cfg->is_plain = true;
		break;
	case KEY_PRUNE:
		cfg->prunes = true;
		break;
	case KEY_REPAIR:
		cfg->repairs = true;
		break;
	case KEY_YES:
		cfg->says_yes = true;
		break;
	case KEY_SHARED:
		cfg->is_shared = true;
		break;
	default:
		return 1;
	}
	return 0;
}

static int
parse_args(struct config *cfg, int argc, char **argv, struct mb_err *err)
{
	int rc = mb_common_options(&cfg->common, &cmd, &argc, &argv,
	    take_option, cfg, err);

	if (rc != 0)
		return rc;
	cfg->numbers = argv;
	cfg->n_numbers = argc;
	if (cfg->failed && argc > 0)
		return mb_fail(err, MB_EUSAGE,
		    "--failed: takes no batch numbers");
	if (cfg->json && (argc > 0 || cfg->failed || cfg->verify))
		return mb_fail(err, MB_EUSAGE, "--json: is for the table, and "
		    "for --show");
	if (cfg->show != NULL && (argc > 0 || cfg->failed || cfg->verify))
		return mb_fail(err, MB_EUSAGE, "--show: one batch, alone");
	if (cfg->verb != NO_VERB && (argc > 0 || cfg->failed || cfg->verify ||
	    cfg->json || cfg->show != NULL))
		return mb_fail(err, MB_EUSAGE, "--park, --unpark, --requeue: "
		    "alone, with one batch or range");
	if (cfg->prunes && (argc > 0 || cfg->failed || cfg->verify ||
	    cfg->json || cfg->show != NULL || cfg->verb != NO_VERB))
		return mb_fail(err, MB_EUSAGE, "--prune: alone");
	if (cfg->repairs && (argc > 0 || cfg->failed || cfg->verify ||
	    cfg->json || cfg->show != NULL || cfg->verb != NO_VERB ||
	    cfg->prunes))
		return mb_fail(err, MB_EUSAGE, "--repair: alone, or with "
		    "--yes");
	if (cfg->says_yes && !cfg->repairs)
		return mb_fail(err, MB_EUSAGE, "--yes: is for --repair");
	cfg->journal = mb_journal_choose(cfg->journal, getenv("MB_JOURNAL"),
	    NULL);
	if (cfg->journal == NULL)
		return mb_fail(err, MB_EUSAGE,
		    "no journal: give -j FILE or set MB_JOURNAL");
	return 0;
}

/* "17" or "17-20". */
static int
parse_range(const char *text, uint64_t *from, uint64_t *to,
    struct mb_err *err)
{
	struct mb_err ignored = { 0 };
	char copy[64], *dash;

	if (strlen(text) < sizeof copy) {
		memcpy(copy, text, strlen(text) + 1);
		dash = strchr(copy, '-');
		if (dash != NULL)
			*dash = '\0';
		if (mb_parse_count(from, copy, &ignored) == 0 &&
		    mb_parse_count(to, dash != NULL ? dash + 1 : copy,
		    &ignored) == 0 && *from <= *to)
			return 0;
	}
	return mb_fail(err, MB_EUSAGE,
	    "not a batch number or a range of them: \"%s\"", text);
}

static void
add_number(struct replay *r, uint64_t number)
{
	r->numbers = mb_realloc_array(r->numbers, r->n_numbers + 1,
	    sizeof *r->numbers);
	r->numbers[r->n_numbers++] = number;
}

static int
find_batch(const struct replay *r, uint64_t number,
    const struct mb_batch **out, struct mb_err *err)
{
	*out = mb_state_batch(r->state, number);
	if (*out != NULL)
		return 0;
	if (number >= r->state->next_batch)
		return mb_fail(err, MB_EUSAGE, "batch %" PRIu64 ": not "
		    "planned yet; the next will be %" PRIu64, number,
		    r->state->next_batch);
	return mb_fail(err, MB_EUSAGE, "batch %" PRIu64 ": is not in the "
	    "journal any more (mb-collect --retain)", number);
}

/* Which batches are asked for. */
static int
choose(struct replay *r, struct mb_err *err)
{
	const struct config *cfg = r->cfg;
	const struct mb_batch *b;
	uint64_t from, to;

	for (int i = 0; i < cfg->n_numbers; i++) {
		if (parse_range(cfg->numbers[i], &from, &to, err) < 0)
			return -1;
		for (; from <= to; from++) {
			if (find_batch(r, from, &b, err) < 0)
				return -1;
			add_number(r, from);
		}
	}
	if (cfg->n_numbers > 0)
		return 0;
	for (size_t i = 0; i < r->state->n_batches; i++) {
		b = &r->state->batches[i];
		if (!cfg->failed || b->state == MB_PARKED ||
		    (b->state == MB_PLANNED && b->n_fails > 0))
			add_number(r, b->number);
	}
	return 0;
}

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

/* Of UTF-8, as far as it is: what isn't ASCII may be wider, and mostly isn't. */
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

static int
list(struct replay *r, struct mb_err *err)
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

static int
show(struct replay *r, struct mb_err *err)
{
	const struct mb_batch *b;
	struct mb_buf out = { 0 };
	char time[MB_TIME_LEN + 1];
	uint64_t number;
	int rc;

	if (mb_parse_count(&number, r->cfg->show, err) < 0)
		return mb_wrap(err, "--show");
	if (find_batch(r, number, &b, err) < 0)
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

/* 0 all is well, 1 something differs. */
static int
verify(struct replay *r, struct mb_err *err)
{
	static const char *const words[] = {
		[MB_EMIT_WHOLE] = "ok", [MB_EMIT_GONE] = "gone",
		[MB_EMIT_DIFFERS] = "differs",
	};
	enum mb_emit_result result;
	const struct mb_batch *b;
	const char *why;
	bool differs = false;

	for (size_t i = 0; i < r->n_numbers; i++) {
		if (find_batch(r, r->numbers[i], &b, err) < 0 ||
		    mb_verify_batch(r->emitter, b, &result, &why, err) < 0)
			return -1;
		differs = differs || result == MB_EMIT_DIFFERS;
		if (printf("%" PRIu64 " %s%s%s\n", b->number, words[result],
		    why != NULL ? ": " : "", why != NULL ? why : "") < 0)
			return mb_fail_sys(err, "standard output");
	}
	return differs;
}

static int
replay(struct replay *r, char **argv, struct mb_err *err)
{
	struct mb_report report = { 0 };
	struct mb_err lost = { 0 };	/* the first batch that was not whole */
	enum mb_emit_result result;
	const struct mb_batch *b;
	const char *why;
	uint64_t run;
	int64_t started;

	/* Seen is not durable, also for us. */
	if (mb_journal_harden(r->journal, err) < 0 ||
	    mb_journal_run(r->journal, &run, "replay", MB_NONE, argv,
	    mb_clock_wall_ms(), err) < 0 ||
	    mb_emit_hello(r->emitter, run, true, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_numbers; i++) {
		started = mb_clock_steady_us();
		if (find_batch(r, r->numbers[i], &b, err) < 0 ||
		    mb_emit_batch(r->emitter, b, &result, &why, err) < 0)
			return -1;
		report.emit_us = mb_clock_steady_us() - started;
		mb_progress_batch(r->progress, r->state, b, &report);
		if (result != MB_EMIT_WHOLE)
			mb_fail(&lost, MB_EDATA, "batch %" PRIu64 ": %s",
			    b->number, why);
		if (mb_signal_count() > 0)
			break;
	}
	if (mb_emit_done(r->emitter, mb_exit_status(lost.code), err) < 0)
		return -1;
	*err = lost;
	return lost.code == MB_OK ? 0 : -1;
}

static int MB_PRINTF(2, 3)
print(struct mb_err *err, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vprintf(fmt, ap);
	va_end(ap);
	return rc < 0 ? mb_fail_sys(err, "standard output") : 0;
}

static int
print_requeued(uint64_t number, const char *was, uint64_t as, uint64_t n_lost,
    struct mb_err *err)
{
	return n_lost > 0 ? print(err, "batch %" PRIu64 ": %srequeued as %"
	    PRIu64 ", without %" PRIu64 " records\n", number, was, as, n_lost) :
	    print(err, "batch %" PRIu64 ": %srequeued as %" PRIu64 "\n",
	    number, was, as);
}

/*
 * Requeue: first see what is left, without any lock; a range that goes after
 * that makes the new batch fail like any other.
 */
static int
requeue(struct replay *r, uint64_t run, uint64_t number, struct mb_err *err)
{
	enum mb_emit_result result;
	const struct mb_batch *b;
	bool *is_gone;
	const char *why;
	uint64_t as, n_lost = 0;
	int rc = 0;

	if (find_batch(r, number, &b, err) < 0)
		return -1;
	if (b->requeued_as != MB_NONE)
		return print_requeued(number, "was ", b->requeued_as, 0, err);
	is_gone = mb_realloc_array(NULL, b->n_ranges, sizeof *is_gone);
	for (size_t i = 0; i < b->n_ranges && rc == 0; i++) {
		rc = mb_verify_range(r->emitter, &b->ranges[i], &result, &why,
		    err);
		is_gone[i] = result != MB_EMIT_WHOLE;
		if (rc < 0 || !is_gone[i])
			continue;
		n_lost += b->ranges[i].records;
		rc = print(err, "batch %" PRIu64 ": lost %" PRIu64
		    " records: %s\n", number, b->ranges[i].records, why);
	}
	if (rc == 0 && mb_journal_lock(r->journal, MB_LOCK_COMMIT, false, -1,
	    err) < 0)
		rc = -1;
	if (rc == 0) {
		rc = mb_outcome_requeue(r->journal, number, is_gone, run,
		    mb_clock_wall_ms(), &as, err);
		mb_journal_unlock(r->journal, MB_LOCK_COMMIT);
	}
	free(is_gone);
	if (rc < 0)
		return -1;
	return print_requeued(number, rc > 0 ? "" : "was ", as, n_lost, err);
}

static int
park_or_unpark(struct replay *r, uint64_t run, uint64_t number,
    struct mb_err *err)
{
	bool parks = r->cfg->verb == PARK;
	int rc;

	if (mb_journal_lock(r->journal, MB_LOCK_COMMIT, false, -1, err) < 0)
		return -1;
	rc = parks ? mb_outcome_park(r->journal, number, run,
	    mb_clock_wall_ms(), "by hand", err) :
	    mb_outcome_unpark(r->journal, number, run, mb_clock_wall_ms(),
	    err);
	mb_journal_unlock(r->journal, MB_LOCK_COMMIT);
	if (rc < 0)
		return -1;
	return print(err, "batch %" PRIu64 ": %s%s\n", number,
	    rc > 0 ? "" : "was ", parks ? "parked" : "planned");
}

/* --park, --unpark and --requeue. */
static int
change(struct replay *r, char **argv, struct mb_err *err)
{
	static const char *const names[] = {
		[PARK] = "--park", [UNPARK] = "--unpark",
		[REQUEUE] = "--requeue",
	};
	const struct config *cfg = r->cfg;
	uint64_t from, to, run;

	if (parse_range(cfg->verb_arg, &from, &to, err) < 0)
		return mb_wrap(err, "%s", names[cfg->verb]);
	/* Seen is not durable, also for us. */
	if (mb_journal_harden(r->journal, err) < 0 ||
	    mb_journal_run(r->journal, &run, "replay", MB_NONE, argv,
	    mb_clock_wall_ms(), err) < 0)
		return -1;
	for (; from <= to; from++)
		if ((cfg->verb == REQUEUE ? requeue : park_or_unpark)(r, run,
		    from, err) < 0)
			return mb_wrap(err, "%s", names[cfg->verb]);
	return mb_journal_sync(r->journal, err);
}

/* No collector may be there: it decides what is kept. */
static int
prune(struct replay *r, char **argv, struct mb_err *err)
{
	uint64_t before = r->state->n_batches, run, n_files;
	int rc = mb_journal_lock(r->journal, MB_LOCK_COLLECTOR, false, 0,
	    err);

	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EBUSY, "--prune: %s: in use by "
		    "mb-collect", mb_journal_path(r->journal));
	if (mb_journal_harden(r->journal, err) < 0 ||
	    mb_journal_run(r->journal, &run, "replay", MB_NONE, argv,
	    mb_clock_wall_ms(), err) < 0)
		return -1;
	rc = mb_journal_prune(r->journal, err);
	if (rc < 0 || mb_leftovers_remove(r->journal, &n_files, err) < 0)
		return mb_wrap(err, "--prune");
	if (rc == 0 && n_files == 0)
		return print(err, "nothing to drop\n");
	if (rc > 0 && print(err, "dropped what is settled of %" PRIu64
	    " batches\n", before) < 0)
		return -1;
	return n_files == 0 ? 0 : print(err, "removed %" PRIu64 " files with "
	    "rejected records or torn tails of what was dropped\n", n_files);
}

/* That the journal was mended stands in it, and that it is whole is seen. */
static int
note_repair(const struct config *cfg, int flags, char **argv,
    struct mb_err *err)
{
	struct mb_journal *j;
	uint64_t number;
	int rc;

	if (mb_journal_open(&j, cfg->journal, flags | MB_JOURNAL_ALL, err) < 0)
		return -1;
	rc = mb_journal_run(j, &number, "replay", MB_NONE, argv,
	    mb_clock_wall_ms(), err);
	if (rc == 0)
		rc = mb_journal_sync(j, err);
	mb_journal_close(j);
	return rc;
}

static int
repair(const struct config *cfg, char **argv, struct mb_err *err)
{
	int flags = cfg->is_shared ? MB_JOURNAL_SHARED : 0, rc;
	struct mb_repair r = { 0 };
	char *kept = NULL;

	rc = cfg->says_yes ?
	    mb_repair_mend(&r, &kept, cfg->journal, flags, err) :
	    mb_repair_look(&r, cfg->journal, flags, err);
	if (rc == 0)
		rc = print(err, "%s", mb_buf_str(&r.says));
	if (rc == 0 && kept != NULL)
		rc = note_repair(cfg, flags, argv, err) < 0 ? -1 :
		    print(err, "mended; the journal as it was is %s\n", kept);
	else if (rc == 0 && r.verdict == MB_REPAIR_NEEDLESS)
		rc = print(err, "nothing to mend\n");
	else if (rc == 0)
		rc = mb_fail(err, MB_ECORRUPT, "%s: is damaged, and %s",
		    cfg->journal, r.verdict == MB_REPAIR_HOPELESS ?
		    "can't be mended; nothing was changed" : "nothing was "
		    "changed: --repair --yes mends it, and keeps a copy");
	mb_repair_release(&r);
	free(kept);
	return rc;
}

static int
run(const struct config *cfg, char **argv, struct mb_err *err)
{
	int flags = MB_JOURNAL_ALL | (cfg->is_shared ? MB_JOURNAL_SHARED : 0);
	struct replay r = { .cfg = cfg };
	const char *notice;
	int rc = -1;

	if (cfg->repairs)
		return repair(cfg, argv, err);
	r.progress = mb_progress_open(&cfg->common, cmd.name);
	if (mb_progress_open_journal(r.progress, &r.journal, cfg->journal,
	    flags, err) < 0)
		goto out;
	while ((notice = mb_journal_notice(r.journal)) != NULL)
		mb_progress_say(r.progress, notice);
	r.state = mb_journal_state(r.journal);
	if (mb_emitter_open(&r.emitter, r.journal, STDOUT_FILENO,
	    cfg->is_plain || isatty(STDOUT_FILENO), MB_RECORD_LIMIT, err) < 0)
		goto out;
	if (cfg->prunes)
		rc = prune(&r, argv, err);
	else if (cfg->verb != NO_VERB)
		rc = change(&r, argv, err);
	else if (cfg->show != NULL)
		rc = show(&r, err);
	else if (cfg->verify)
		rc = choose(&r, err) < 0 ? -1 : verify(&r, err);
	else if (cfg->failed || cfg->n_numbers > 0)
		rc = choose(&r, err) < 0 ? -1 : replay(&r, argv, err);
	else
		rc = list(&r, err);
out:
	mb_emitter_close(r.emitter);
	mb_journal_close(r.journal);
	mb_progress_close(r.progress);
	free(r.numbers);
	return rc;
}

int
main(int argc, char **argv)
{
	struct config cfg = { 0 };
	struct mb_err err = { 0 };
	char **args = mb_realloc_array(NULL, (size_t)argc + 1, sizeof *args);
	int rc = 0, status;

	mb_common_start();
	memcpy(args, argv, ((size_t)argc + 1) * sizeof *args);
	if (mb_signals_open(&err) == 0 &&
	    parse_args(&cfg, argc, argv, &err) == 0)
		rc = run(&cfg, args, &err);
	free(args);
	status = mb_finish(cmd.name, &err);
	return status == 0 && rc > 0 ? 1 : status;
}
