#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/line.h"
#include "base/parse.h"

struct mb_progress {
	struct mb_common common;
	const char *name;
	bool is_terminal;
	bool has_line;		/* a progress line stands on the terminal */
	int64_t started_us, last_us;
	uint64_t records, bytes;
};

/* The wrong way round, so that using it fails as the closed one would. */
void
mb_common_start(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
	signal(SIGXFSZ, SIG_IGN);
}

int
mb_common_options(struct mb_common *common, const struct mb_cmd *cmd,
    int *argc, char ***argv,
    int (*take)(void *to, int key, const char *arg, struct mb_err *err),
    void *to, struct mb_err *err)
{
	const char *arg;
	int key, rc;

	while ((key = mb_opt_next(cmd, argc, argv, &arg, err)) > 0)
		switch (key) {
		case 'v':
			common->is_verbose = true;
			break;
		case MB_OPT_PROGRESS:
			if (strcmp(arg, "json") != 0)
				return mb_fail(err, MB_EUSAGE,
				    "--progress: json, not \"%s\"", arg);
			common->is_json = true;
			break;
		case 'h':
			mb_opt_help(cmd, stdout);
			return 1;
		case 'V':
			printf("%s %s\n", cmd->name, MB_VERSION);
			return 1;
		default:
			rc = take(to, key, arg, err);
			if (rc > 0)
				return mb_fail(err, MB_EBUG,
				    "an option without a case: %d", key);
			if (rc < 0)
				return -1;
		}
	return key;
}

struct mb_progress *
mb_progress_open(const struct mb_common *common, const char *name)
{
	struct mb_progress *p = mb_alloc(sizeof *p);

	*p = (struct mb_progress){
		.common = *common, .name = name,
		.is_terminal = isatty(STDERR_FILENO),
		.started_us = mb_clock_steady_us(),
	};
	p->last_us = p->started_us;
	return p;
}

static void
clear_line(struct mb_progress *p)
{
	if (p->has_line)
		fputs("\r\033[K", stderr);
	p->has_line = false;
}

void
mb_progress_close(struct mb_progress *p)
{
	if (p != NULL && p->has_line)
		fputc('\n', stderr);
	free(p);
}

void
mb_progress_say(struct mb_progress *p, const char *text)
{
	clear_line(p);
	fprintf(stderr, "%s: %s\n", p->name, text);
}

static void
say_waiting(void *arg, const char *path)
{
	struct mb_buf text = { 0 };

	mb_show(&text, mb_str(path));
	mb_buf_addf(&text, ": waiting for another process that writes there, "
	    "or was stopped while it did; fuser %s.d/lock names them", path);
	mb_progress_say(arg, mb_buf_str(&text));
	mb_buf_release(&text);
}

int
mb_progress_open_journal(struct mb_progress *p, struct mb_journal **out,
    const char *path, int flags, struct mb_err *err)
{
	return mb_journal_open_telling(out, path, flags, say_waiting, p, err);
}

/* The first batch that isn't settled; MB_NONE. */
static uint64_t
oldest_uncommitted(const struct mb_state *s)
{
	for (size_t i = 0; i < s->n_batches; i++)
		if (s->batches[i].state == MB_PLANNED)
			return s->batches[i].number;
	return MB_NONE;
}

static void
put_line(struct mb_progress *p, const struct mb_state *s,
    const struct mb_batch *b, const struct mb_report *r, int64_t now)
{
	double seconds = (double)(now - p->started_us) / 1e6;
	double lag = (double)(mb_clock_wall_ms() - b->time_ms) / 1e3;
	uint64_t oldest = oldest_uncommitted(s);
	char wait[64] = "", rate[40] = "";

	if (seconds <= 0)
		seconds = 1e-6;
	if (oldest != MB_NONE && oldest != b->number)
		snprintf(wait, sizeof wait, ", oldest uncommitted %" PRIu64,
		    oldest);
	clear_line(p);
	/* After a filter that changed them nobody knows the source's bytes. */
	if (p->bytes > 0)
		snprintf(rate, sizeof rate, "%.1f MB/s, ",
		    (double)p->bytes / 1e6 / seconds);
	fprintf(stderr, "%s: %s %" PRIu64 ": %.0f records/s, %slag %.1fs%s%s",
	    p->name, r->is_commit ? "committed" : "batch", b->number,
	    (double)p->records / seconds, rate, lag < 0 ? 0 : lag, wait,
	    p->is_terminal ? "" : "\n");
	p->has_line = p->is_terminal;
	fflush(stderr);
}

static void
put_number(struct mb_buf *out, const char *name, double v)
{
	char text[64];

	snprintf(text, sizeof text, "%.1f", v);
	mb_line_raw(out, name, text);
}

/* The fields of Spark's StreamingQueryProgress, where they make sense. */
static void
put_json(struct mb_progress *p, const struct mb_state *s,
    const struct mb_batch *b, const struct mb_report *r, int64_t now)
{
	int64_t total = r->take_us + r->plan_us + r->emit_us + r->stage_us +
	    r->commit_us;
	double since = (double)(now - p->last_us) / 1e6;
	uint64_t records = mb_batch_records(b);
	struct mb_buf out = { 0 };

	mb_buf_addc(&out, '{');
	mb_line_str(&out, "id", s->id);
	mb_line_u64(&out, "runId", b->run);
	mb_line_str(&out, "name", p->name);
	mb_line_time(&out, "timestamp", b->time_ms);
	mb_line_u64(&out, "batchId", b->number);
	mb_line_i64(&out, "batchDuration", total / 1000);
	mb_line_u64(&out, "numInputRows", records);
	put_number(&out, "inputRowsPerSecond",
	    since > 0 ? (double)records / since : 0);
	put_number(&out, "processedRowsPerSecond",
	    total > 0 ? (double)records / ((double)total / 1e6) : 0);
	mb_line_open(&out, "durationMs", '{');
	if (!r->is_commit) {
		mb_line_i64(&out, "getBatch", r->take_us / 1000);
		mb_line_i64(&out, "walCommit", r->plan_us / 1000);
		mb_line_i64(&out, "addBatch", r->emit_us / 1000);
	} else {
		mb_line_i64(&out, "addBatch", r->stage_us / 1000);
		mb_line_i64(&out, "commitBatch", r->commit_us / 1000);
	}
	mb_line_i64(&out, "triggerExecution", total / 1000);
	mb_line_close(&out, '}');
	mb_line_open(&out, "sources", '[');
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct mb_range *range = &b->ranges[i];
		const struct mb_generation *g = mb_state_generation(s,
		    range->generation);

		mb_line_open(&out, NULL, '{');
		mb_line_bytes(&out, "description",
		    mb_str(g != NULL ? g->source : ""));
		mb_line_u64(&out, "startOffset", range->start);
		mb_line_u64(&out, "endOffset", range->end);
		mb_line_u64(&out, "numInputRows", range->records);
		mb_line_close(&out, '}');
	}
	mb_line_close(&out, ']');
	if (r->is_commit) {
		mb_line_open(&out, "sink", '{');
		mb_line_bytes(&out, "description", mb_str(r->target));
		mb_line_u64(&out, "numOutputRows", r->rows);
		mb_line_close(&out, '}');
	}
	mb_line_close(&out, '}');
	mb_buf_addc(&out, '\n');
	clear_line(p);
	fwrite(out.p, 1, out.len, stderr);
	fflush(stderr);
	mb_buf_release(&out);
}

void
mb_progress_batch(struct mb_progress *p, const struct mb_state *s,
    const struct mb_batch *b, const struct mb_report *r)
{
	int64_t now = mb_clock_steady_us();

	p->records += mb_batch_records(b);
	p->bytes += mb_batch_bytes(b);
	if (p->common.is_json)
		put_json(p, s, b, r, now);
	else if (p->common.is_verbose)
		put_line(p, s, b, r, now);
	p->last_us = now;
}
