/*
 * mb-agg - filter, group and aggregate records, batch by batch.
 */
#include "agg.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

enum {
	KEY_WHERE = MB_OPT_LONG, KEY_STAMP, KEY_SORT, KEY_ON_BAD, KEY_REJECTS,
	KEY_NO_HEADER, KEY_NULL, KEY_PLAIN,
	MAX_THREADS = 256,
};

static const struct mb_opt opts[] = {
	{ 'k', "key", "[NAME=]FIELD,...", "group by these fields; alone it "
	    "means -a count" },
	{ 'a', "agg", "[NAME=]AGG,...", "count, count:F, distinct:F, first:F, "
	    "last:F, sum:F, avg:F, min:F, max:F, var:F, stddev:F" },
	{ KEY_WHERE, "where", "EXPR", "only records for which EXPR is true" },
	{ KEY_STAMP, "stamp", NULL, "first columns batch and batch_time; of "
	    "records passed through also source and offset" },
	{ KEY_SORT, "sort", NULL, "sort by keys: numbers, then text, then "
	    "null (default: first appearance)" },
	{ KEY_ON_BAD, "on-bad", "reject|skip|fail", "what to do with a bad "
	    "record (default reject)" },
	{ KEY_REJECTS, "rejects", "FILE", "keep the rejects of a plain stream "
	    "in FILE" },
	{ 'F', "format", "FORMAT", "of the input: csv, tsv, ndjson or lines "
	    "(default: the frame's, by name, by content)" },
	{ 'o', "output", "FORMAT", "of the output (default: the input's; "
	    "lines become csv when aggregated)" },
	{ 'd', "delimiter", "CHAR", "between the fields of csv (default ,)" },
	{ KEY_NO_HEADER, "no-header", NULL, "csv and tsv begin without a "
	    "header; fields are 1, 2, 3 ..." },
	{ KEY_NULL, "null", "TEXT", "TEXT is null too; may be repeated" },
	{ KEY_PLAIN, "plain", NULL, "write rows without frames" },
	{ 'j', "journal", "FILE", "the journal (default $MB_JOURNAL, then the "
	    "frame's)" },
	{ 'T', "threads", "N", "how many threads (default: all cores)" },
	MB_OPT_COMMON,
	{ 0 }
};

static const struct mb_cmd cmd = {
	.name = "mb-agg",
	.usage = "[options] [FILE ...]",
	.summary = "Filter, group and aggregate records: of frames batch by "
	    "batch, of any other csv, tsv, ndjson or lines all together.",
	.opts = opts,
};

static int
parse_threads(unsigned *out, const char *arg, struct mb_err *err)
{
	uint64_t n;

	if (mb_parse_count(&n, arg, err) < 0)
		return mb_wrap(err, "-T");
	if (n < 1 || n > MAX_THREADS)
		return mb_fail(err, MB_EUSAGE, "-T: from 1 to %d, not %s",
		    MAX_THREADS, arg);
	*out = (unsigned)n;
	return 0;
}

static int
parse_on_bad(enum on_bad *out, const char *arg, struct mb_err *err)
{
	static const char *const names[] = { "reject", "skip", "fail" };

	for (int i = 0; i < 3; i++)
		if (strcmp(arg, names[i]) == 0) {
			*out = (enum on_bad)i;
			return 0;
		}
	return mb_fail(err, MB_EUSAGE,
	    "--on-bad: reject, skip or fail, not \"%s\"", arg);
}

static unsigned
count_cores(void)
{
	cpu_set_t set;
	int n = 1;

	if (sched_getaffinity(0, sizeof set, &set) == 0)
		n = CPU_COUNT(&set);
	return n > MAX_THREADS ? MAX_THREADS : n < 1 ? 1 : (unsigned)n;
}

/* Two stages of a pipeline keep their rejects apart by their queries. */
static void
name_stage(struct config *cfg, const struct mb_buf *query)
{
	struct mb_hash h = mb_hash_bytes(query->p, query->len);

	snprintf(cfg->stage, sizeof cfg->stage, "agg-%.8s", h.hex);
}

struct line {
	struct config *cfg;
	struct mb_buf query;	/* the options that make it, as they stand */
};

static int
take_option(void *to, int key, const char *arg, struct mb_err *err)
{
	struct line *line = to;
	struct config *cfg = line->cfg;

	if (key == 'k' || key == 'a' || key == KEY_WHERE || key == KEY_NULL ||
	    key == 'F') {
		mb_buf_addf(&line->query, "%d ", key);
		mb_buf_add(&line->query, arg, strlen(arg) + 1);
	}
	switch (key) {
	case 'k':
		if (mb_query_add_keys(&cfg->query, arg, err) < 0)
			return mb_wrap(err, "-k");
		return 0;
	case 'a':
		if (mb_query_add_aggregates(&cfg->query, arg, err) < 0)
			return mb_wrap(err, "-a");
		return 0;
	case KEY_WHERE:
		if (mb_query_set_where(&cfg->query, arg, err) < 0)
			return mb_wrap(err, "--where");
		return 0;
	case KEY_STAMP:
		cfg->is_stamped = true;
		return 0;
	case KEY_SORT:
		cfg->is_sorted = true;
		return 0;
	case KEY_ON_BAD:
		return parse_on_bad(&cfg->on_bad, arg, err);
	case KEY_REJECTS:
		cfg->rejects = arg;
		return 0;
	case 'F':
		cfg->has_format = true;
		if (mb_format_parse(&cfg->format, arg, err) < 0)
			return mb_wrap(err, "-F");
		return 0;
	case 'o':
		cfg->has_out_format = true;
		if (mb_format_parse(&cfg->out_format, arg, err) < 0)
			return mb_wrap(err, "-o");
		return 0;
	case 'd':
		if (mb_delimiter_parse(&cfg->delimiter, arg, err) < 0)
			return mb_wrap(err, "-d");
		return 0;
	case KEY_NO_HEADER:
		cfg->no_header = true;
		return 0;
	case KEY_NULL:
		cfg->nulls = mb_realloc_array(cfg->nulls, cfg->n_nulls + 1,
		    sizeof *cfg->nulls);
		cfg->nulls[cfg->n_nulls++] = mb_str(arg);
		return 0;
	case KEY_PLAIN:
		cfg->is_plain = true;
		return 0;
	case 'j':
		cfg->journal = arg;
		return 0;
	case 'T':
		return parse_threads(&cfg->n_threads, arg, err);
	}
	return 1;
}

static int
parse_args(struct config *cfg, int argc, char **argv, struct mb_err *err)
{
	struct line line = { .cfg = cfg };
	int rc;

	cfg->argv = argv;
	if (getenv("MB_ISA") != NULL &&
	    mb_isa_parse(&cfg->isa, getenv("MB_ISA"), err) < 0)
		return mb_wrap(err, "MB_ISA");
	rc = mb_common_options(&cfg->common, &cmd, &argc, &argv, take_option,
	    &line, err);
	name_stage(cfg, &line.query);
	mb_buf_release(&line.query);
	if (rc != 0)
		return rc;
	if (cfg->rejects != NULL && cfg->on_bad != ON_BAD_REJECT)
		return mb_fail(err, MB_EUSAGE,
		    "--rejects: goes with --on-bad reject only");
	if (cfg->is_sorted && cfg->query.n_keys == 0)
		return mb_fail(err, MB_EUSAGE, "--sort: sorts by keys; give "
		    "-k");
	cfg->files = argv;
	cfg->n_files = argc;
	return mb_query_finish(&cfg->query, mb_stamp_names,
	    cfg->is_stamped ? MB_STAMPS : 0, err);
}

int
main(int argc, char **argv)
{
	struct config cfg = { .n_threads = 0 };
	struct agg a = { .cfg = &cfg, .rejects_fd = -1 };
	struct mb_err err = { 0 };
	int status;

	mb_common_start();
	signal(SIGPIPE, SIG_IGN);	/* an error of write */
	if (parse_args(&cfg, argc, argv, &err) == 0) {
		if (cfg.n_threads == 0)
			cfg.n_threads = count_cores();
		a.seen = mb_zalloc(cfg.query.fields.n * sizeof *a.seen);
		a.progress = mb_progress_open(&cfg.common, cmd.name);
		(void)agg_run(&a, &err);
		mb_progress_close(a.progress);
	}
	mb_work_close(a.work);
	mb_journal_close(a.journal);
	mb_names_release(&a.header);
	mb_arena_release(&a.stream_arena);
	mb_arena_release(&a.batch_arena);
	mb_buf_release(&a.out);
	mb_query_release(&cfg.query);
	free(a.seen);
	free(cfg.nulls);
	status = mb_finish(cmd.name, &err);
	return status != 0 ? status : a.status;
}
