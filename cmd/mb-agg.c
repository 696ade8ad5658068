/*
 * mb-agg - filter, group and aggregate records, batch by batch.
 *
 * Plain streams are one batch.  Of frames each batch is one:
 *
 *	begin		remembered; records that are passed through follow it
 *			at once, as soon as their columns are known
 *	records		[mb_work_feed]
 *	end		rejects kept, durably; rows written; end passed on
 *	abort		passed on, also for what can't be aggregated
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agg/bytes.h"
#include "agg/query.h"
#include "agg/reject.h"
#include "agg/work.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/line.h"
#include "base/parse.h"
#include "base/signals.h"
#include "common.h"
#include "frame/frame.h"
#include "journal/journal.h"
#include "journal/rejects.h"
#include "record/writer.h"

enum {
	KEY_WHERE = MB_OPT_LONG, KEY_STAMP, KEY_SORT, KEY_ON_BAD, KEY_REJECTS,
	KEY_NO_HEADER, KEY_NULL, KEY_PLAIN,
	MAX_THREADS = 256,
	FLUSH = 64 * 1024,
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

enum on_bad { ON_BAD_REJECT, ON_BAD_SKIP, ON_BAD_FAIL };

struct config {
	struct mb_query query;
	bool is_stamped, is_sorted, is_plain, no_header;
	enum on_bad on_bad;
	const char *rejects;		/* NULL: only counted */
	const char *journal;
	bool has_format, has_out_format;
	enum mb_format format, out_format;
	char delimiter;			/* 0: the default */
	struct mb_str *nulls;
	size_t n_nulls;
	unsigned n_threads;
	enum mb_isa isa;		/* $MB_ISA, for tests */
	char stage[16];			/* tells one query from another */
	struct mb_common common;
	char **argv, **files;
	int n_files;
};

static const char out_name[] = "standard output";

/*
 * What the tool is doing.
 */
struct agg {
	const struct config *cfg;
	struct mb_progress *progress;
	struct mb_work *work;		/* for out_format */
	enum mb_format format;		/* of the batch in hand */
	char delimiter;			/* of csv, in and out */
	enum mb_format out_format;
	struct mb_buf out;
	bool *seen;			/* by field: some record had it, or we
					   have warned that none has */

	/* Rows without frames. */
	struct mb_names header;		/* as it was written */
	bool has_header;		/* it was, or needn't be */
	int rejects_fd;			/* --rejects, or -1 */

	/* Frames. */
	struct mb_journal *journal;	/* NULL: none is at hand */
	struct mb_hello *hello;
	struct mb_arena stream_arena, batch_arena;
	bool is_framed_out;
	bool has_hello;			/* ours is written */
	int status;			/* of batches that we aborted */
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

static int
parse_option(struct config *cfg, int key, const char *arg,
    struct mb_err *err)
{
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
	return mb_common_option(&cfg->common, &cmd, key, arg, err);
}

static int
parse_args(struct config *cfg, int argc, char **argv, struct mb_err *err)
{
	struct mb_buf query = { 0 };
	const char *arg;
	int key, rc;

	cfg->argv = argv;
	if (getenv("MB_ISA") != NULL &&
	    mb_isa_parse(&cfg->isa, getenv("MB_ISA"), err) < 0)
		return mb_wrap(err, "MB_ISA");
	while ((key = mb_opt_next(&cmd, &argc, &argv, &arg, err)) > 0) {
		rc = parse_option(cfg, key, arg, err);
		if (rc != 0) {
			mb_buf_release(&query);
			return rc;
		}
		if (key == 'k' || key == 'a' || key == KEY_WHERE ||
		    key == KEY_NULL || key == 'F') {
			mb_buf_addf(&query, "%d ", key);
			mb_buf_add(&query, arg, strlen(arg) + 1);
		}
	}
	name_stage(cfg, &query);
	mb_buf_release(&query);
	if (key < 0)
		return -1;
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

static bool
aggregates(const struct agg *a)
{
	return mb_query_aggregates(&a->cfg->query);
}

/*
 * Output.
 */

static int
flush(struct agg *a, struct mb_err *err)
{
	int rc = mb_write_all(STDOUT_FILENO, a->out.p, a->out.len, out_name,
	    err);

	mb_buf_reset(&a->out);
	return rc;
}

/* What stands between fields: -d is for csv. */
static char
delimiter_of(const struct agg *a, enum mb_format format)
{
	return format == MB_CSV ? a->delimiter : mb_delimiter_of(format);
}

static int
flush_if_full(struct agg *a, struct mb_err *err)
{
	return a->out.len < FLUSH ? 0 : flush(a, err);
}

/* The columns of what we write; false: they aren't known (yet). */
static bool
list_columns(const struct agg *a, struct mb_names *out)
{
	const struct mb_query *q = &a->cfg->query;
	const struct mb_names *passed = mb_work_columns(a->work);
	int n_stamps = !a->cfg->is_stamped ? 0 : aggregates(a) ? MB_STAMPS :
	    MB_STAMPS_PASSED;

	mb_names_reset(out);
	if (!aggregates(a) && passed == NULL)
		return false;
	for (int i = 0; i < n_stamps; i++)
		mb_names_add(out, mb_str(mb_stamp_names[i]));
	for (size_t i = 0; i < q->n_keys; i++)
		mb_names_add(out, mb_str(q->keys[i].name));
	for (size_t i = 0; i < q->n_aggs; i++)
		mb_names_add(out, mb_str(q->aggs[i].name));
	for (size_t i = 0; !aggregates(a) && i < passed->n; i++)
		mb_names_add(out, passed->v[i]);
	return true;
}

static int
check_stamps(const struct agg *a, const struct mb_names *header,
    struct mb_err *err)
{
	if (aggregates(a) || !a->cfg->is_stamped || header == NULL)
		return 0;
	for (int i = 0; i < MB_STAMPS_PASSED; i++)
		if (mb_names_index(header, mb_str(mb_stamp_names[i])) >= 0)
			return mb_fail(err, MB_EUSAGE, "--stamp: the records "
			    "have a column \"%s\" already", mb_stamp_names[i]);
	return 0;
}

/*
 * The header of plain rows, once, as soon as it is known.  Later batches and
 * files must have the same columns.
 */
static int
put_header(struct agg *a, const char *name, struct mb_err *err)
{
	struct mb_names columns = { 0 };
	int rc = 0;

	if (list_columns(a, &columns)) {
		if (!a->has_header) {
			mb_names_copy(&a->header, &columns);
			mb_write_header(&a->out, a->out_format,
			    delimiter_of(a, a->out_format), columns.v,
			    columns.n);
			a->has_header = true;
		} else if (mb_format_has_header(a->out_format) &&
		    !mb_names_equal(&a->header, &columns)) {
			rc = mb_fail(err, MB_EDATA, "%s: other columns than "
			    "what came before", name);
		}
	}
	mb_names_release(&columns);
	return rc;
}

/* Rows of records passed through. */
static int
put_passed(struct agg *a, struct mb_err *err)
{
	struct mb_buf *rows = mb_work_rows(a->work);

	mb_buf_add(&a->out, rows->p, rows->len);
	mb_buf_reset(rows);
	return flush_if_full(a, err);
}

/* Rows of groups. */
static int
put_groups(struct agg *a, const char *batch, const char *batch_time,
    uint64_t *n_rows, struct mb_err *err)
{
	const struct mb_query *q = &a->cfg->query;
	struct mb_names columns = { 0 };
	struct mb_value *values;
	size_t n_stamps = a->cfg->is_stamped ? MB_STAMPS : 0;
	size_t n = n_stamps + q->n_keys + q->n_aggs;
	int rc;

	(void)list_columns(a, &columns);
	values = mb_realloc_array(NULL, n, sizeof *values);
	*n_rows = 0;
	while ((rc = mb_work_next(a->work, values + n_stamps, err)) > 0) {
		if (n_stamps > 0) {
			values[0] = batch == NULL ? mb_value_null() :
			    (struct mb_value){ batch, strlen(batch),
				MB_NUMBER };
			values[1] = batch_time == NULL ? mb_value_null() :
			    (struct mb_value){ batch_time, strlen(batch_time),
				MB_TEXT };
		}
		mb_write_row(&a->out, a->out_format,
		    delimiter_of(a, a->out_format), columns.v, values, n);
		++*n_rows;
		/* Frames wait: a later group may still fail the batch. */
		if (!a->is_framed_out && flush_if_full(a, err) < 0) {
			rc = -1;
			break;
		}
	}
	free(values);
	mb_names_release(&columns);
	return rc;
}

/* `no record has the field "x"`, once each. */
static void
warn_missing(struct agg *a)
{
	const struct mb_query *q = &a->cfg->query;
	struct mb_work_counts counts = mb_work_counts(a->work);

	if (a->format != MB_NDJSON || counts.n_records == counts.n_rejects)
		return;
	for (size_t i = 0; i < q->fields.n; i++) {
		struct mb_buf text = { 0 };

		if (a->seen[i])
			continue;
		a->seen[i] = true;
		if (mb_work_saw(a->work, i))
			continue;
		mb_buf_adds(&text, "warning: no record has the field \"");
		mb_show(&text, q->fields.v[i]);
		mb_buf_addc(&text, '"');
		mb_progress_say(a->progress, mb_buf_str(&text));
		mb_buf_release(&text);
	}
}

/* Choose the output's format, and open the work for it. */
static int
set_formats(struct agg *a, enum mb_format format, char delimiter,
    struct mb_err *err)
{
	const struct config *cfg = a->cfg;
	enum mb_format out = cfg->has_out_format ? cfg->out_format : format;
	struct mb_work_config work = {
		.query = &cfg->query, .nulls = cfg->nulls,
		.n_nulls = cfg->n_nulls, .n_threads = cfg->n_threads,
		.is_stamped = cfg->is_stamped,
		.keeps_rejects = cfg->on_bad == ON_BAD_REJECT &&
		    (a->hello != NULL || cfg->rejects != NULL),
		.stops_at_reject = cfg->on_bad == ON_BAD_FAIL,
		.isa = cfg->isa,
	};

	if (!cfg->has_out_format && out == MB_LINES &&
	    (aggregates(a) || cfg->is_stamped))
		out = MB_CSV;
	/* The header was written in the first format. */
	if (a->work != NULL && !a->is_framed_out && (out != a->out_format ||
	    (!cfg->has_out_format && format != a->format)))
		return mb_fail(err, MB_EUSAGE, "%s behind %s; give -F or -o",
		    mb_format_name(format), mb_format_name(a->format));
	a->format = format;
	if (a->work != NULL && out == a->out_format &&
	    delimiter == a->delimiter)
		return 0;
	mb_work_close(a->work);
	a->out_format = out;
	a->delimiter = delimiter;
	work.out_format = out;
	work.out_delimiter = delimiter_of(a, out);
	return mb_work_open(&a->work, &work, err);
}

/* Fields of lines that were only guessed to be lines. */
static int
explain_lines(int rc, bool is_guess, const char *name, struct mb_err *err)
{
	if (rc < 0 && is_guess && err->code == MB_EUSAGE)
		return mb_wrap(err, "%s: read as lines (for csv give -F csv)",
		    name);
	return rc < 0 ? mb_wrap(err, "%s", name) : rc;
}

/*
 * Plain streams.
 */

struct input {
	const char *name, *path;	/* for people; as it is in records */
	struct mb_bytes *bytes;
	bool is_guess;			/* that it is lines */
	struct mb_names header;
	bool has_header;
	struct mb_buf raw_header;
	struct mb_place place;
};

/* Name what is bad in a plain stream. */
static void
describe_reject(struct mb_buf *out, const struct input *in,
    const struct mb_row_reject *r)
{
	mb_buf_adds(out, in->name);
	mb_buf_addf(out, ": record %" PRIu64 ", byte %" PRIu64 ": %s",
	    r->number, r->off, r->reason);
}

/* The rejects since the last time. */
static int
take_rejects(struct agg *a, const struct input *in, struct mb_buf *first,
    struct mb_err *err)
{
	const struct mb_row_reject *rejects;
	struct mb_buf line = { 0 };
	size_t n;
	int rc = 0;

	rejects = mb_work_rejects(a->work, &n);
	if (n > 0 && first->len == 0)
		describe_reject(first, in, &rejects[0]);
	if (n > 0 && a->cfg->on_bad == ON_BAD_FAIL)
		return mb_fail(err, MB_EDATA, "%s", mb_buf_str(first));
	for (size_t i = 0; i < n && a->rejects_fd >= 0 && rc == 0; i++) {
		mb_buf_reset(&line);
		mb_reject_put(&line, &rejects[i], &in->place);
		rc = mb_write_all(a->rejects_fd, line.p, line.len,
		    a->cfg->rejects, err);
	}
	mb_buf_release(&line);
	mb_work_forget_rejects(a->work);
	return rc;
}

/* Of csv and tsv the first record; of an empty stream there is none. */
static int
read_header(struct input *in, enum mb_format format, char delimiter,
    struct mb_str *data, bool *is_last, struct mb_err *err)
{
	struct mb_split split;
	const char *why = NULL;
	uint64_t n = 0, base = mb_bytes_off(in->bytes);
	enum mb_split_result rc;
	size_t len;

	mb_split_init(&split, format, delimiter, 0, base);
	for (;;) {
		len = (size_t)(split.off - base);
		rc = mb_split_scan(&split, data->p + len, data->len - len, 1,
		    &n);
		if (rc == MB_SPLIT_MORE && *is_last)
			rc = mb_split_finish(&split, &n);
		if (rc != MB_SPLIT_MORE || *is_last)
			break;
		if (mb_bytes_next(in->bytes, data, is_last, err) < 0)
			return -1;
	}
	if (rc == MB_SPLIT_REJECT)
		return mb_fail(err, MB_EDATA, "%s: byte %" PRIu64 ": a bad "
		    "header: %s", in->name, split.start, split.why);
	if (n > 0) {
		struct mb_str record = { data->p + (split.start - base),
			(size_t)(split.complete - split.start) };

		if (!mb_names_parse(&in->header, format, delimiter, record,
		    &why))
			return mb_fail(err, MB_EDATA, "%s: byte %" PRIu64
			    ": a bad header: %s", in->name, split.start, why);
		in->has_header = true;
		mb_buf_add(&in->raw_header, record.p, record.len);
	}
	len = (size_t)(split.complete - base);
	mb_bytes_consume(in->bytes, len);
	data->p += len;
	data->len -= len;
	return 0;
}

/* Records that keep their bytes keep those of the header too. */
static int
put_plain_header(struct agg *a, struct input *in, struct mb_err *err)
{
	struct mb_buf *raw = &in->raw_header;
	const struct mb_names *columns = mb_work_columns(a->work);

	/* The rows of all files stand under the header of the first. */
	if (in->has_header && columns != NULL &&
	    !mb_names_equal(columns, &in->header))
		return mb_fail(err, MB_EDATA, "%s: other columns than what "
		    "came before", in->name);
	if (aggregates(a) || a->cfg->is_stamped || a->has_header ||
	    !in->has_header || a->format != a->out_format)
		return put_header(a, in->name, err);
	mb_buf_add(&a->out, raw->p, raw->len);
	if (raw->p[raw->len - 1] != '\n' && raw->p[raw->len - 1] != '\r')
		mb_buf_addc(&a->out, '\n');
	mb_names_copy(&a->header, &in->header);
	a->has_header = true;
	return 0;
}

/* -F, else the name, else the first bytes: the input's and our formats. */
static int
choose_formats(struct agg *a, struct input *in, struct mb_str head,
    struct mb_err *err)
{
	const struct config *cfg = a->cfg;
	enum mb_format format = cfg->format;
	bool is_first = a->work == NULL;

	if (!cfg->has_format && !mb_format_of_name(&format, in->path)) {
		format = mb_format_of_content(head);
		in->is_guess = format == MB_LINES;
	}
	if (set_formats(a, format, cfg->delimiter != '\0' ? cfg->delimiter :
	    ',', err) < 0)
		return mb_wrap(err, "%s", in->name);
	if (is_first)
		mb_work_reset(a->work);
	return 0;
}

/* All records of one input go into the one batch. */
static int
read_input(struct agg *a, struct input *in, struct mb_buf *first_reject,
    struct mb_err *err)
{
	bool has_header;
	struct mb_stream stream = { .batch = getenv("MB_BATCH"),
		.batch_time = getenv("MB_TIME") };
	struct mb_str data, all;
	bool is_last;

	if (mb_bytes_next(in->bytes, &data, &is_last, err) < 0 ||
	    choose_formats(a, in, data, err) < 0)
		return -1;
	has_header = mb_format_has_header(a->format) && !a->cfg->no_header;
	stream.delimiter = delimiter_of(a, a->format);
	if (has_header && read_header(in, a->format, stream.delimiter, &data,
	    &is_last, err) < 0)
		return -1;
	if (has_header && !in->has_header && data.len == 0)
		return 0;	/* empty: no header, no records */
	in->place = (struct mb_place){ .source = in->path };
	stream.format = a->format;
	stream.header = in->has_header ? &in->header : NULL;
	stream.off = mb_bytes_off(in->bytes);
	stream.places = &in->place;
	stream.n_places = 1;
	if (!in->has_header && data.len == 0 && is_last)
		return 0;	/* empty: no field is missing from no header */
	if (check_stamps(a, stream.header, err) < 0 ||
	    explain_lines(mb_work_begin(a->work, &stream, err),
	    in->is_guess, in->name, err) < 0)
		return -1;
	if (!aggregates(a) && put_plain_header(a, in, err) < 0)
		return -1;
	for (;;) {
		all = data;
		if (mb_work_feed(a->work, &data, is_last, err) < 0)
			return mb_wrap(err, "%s", in->name);
		mb_bytes_consume(in->bytes, (size_t)(data.p - all.p));
		if (take_rejects(a, in, first_reject, err) < 0)
			return -1;
		if (!aggregates(a) && mb_work_rows(a->work)->len > 0 &&
		    ((!a->has_header && put_header(a, in->name, err) < 0) ||
		    put_passed(a, err) < 0))
			return -1;
		if (is_last)
			return 0;
		if (mb_bytes_next(in->bytes, &data, &is_last, err) < 0)
			return -1;
	}
}

/* A field of which nothing could be added is the wrong field. */
static int
check_numbers(const struct agg *a, struct mb_err *err)
{
	const struct mb_query *q = &a->cfg->query;
	struct mb_buf text = { 0 };

	for (size_t i = 0; i < q->n_numbers; i++)
		if (mb_work_lacks_numbers(a->work, i)) {
			mb_show(&text, q->fields.v[q->numbers[i]]);
			mb_fail(err, MB_EDATA, "%s: there were values, but "
			    "none is a number", mb_buf_str(&text));
			mb_buf_release(&text);
			return -1;
		}
	return 0;
}

static void
report_rejects(struct agg *a, struct mb_buf *first)
{
	struct mb_work_counts counts = mb_work_counts(a->work);
	struct mb_buf text = { 0 };

	if (counts.n_rejects == 0 || a->rejects_fd >= 0)
		return;
	mb_buf_addf(&text, "%" PRIu64 " bad record%s %s; the first: %s",
	    counts.n_rejects, counts.n_rejects == 1 ? "" : "s",
	    a->cfg->on_bad == ON_BAD_SKIP ? "skipped" : "rejected",
	    mb_buf_str(first));
	mb_progress_say(a->progress, mb_buf_str(&text));
	mb_buf_release(&text);
}

static int
finish_plain(struct agg *a, struct mb_buf *first_reject, struct mb_err *err)
{
	uint64_t n_rows;

	if (mb_work_finish(a->work, a->cfg->is_sorted, err) < 0)
		return -1;
	report_rejects(a, first_reject);
	warn_missing(a);
	if (check_numbers(a, err) < 0)
		return -1;
	if (aggregates(a) && (put_header(a, out_name, err) < 0 ||
	    put_groups(a, getenv("MB_BATCH"), getenv("MB_TIME"), &n_rows,
	    err) < 0))
		return -1;
	return flush(a, err);
}

static int run_frames(struct agg *a, struct mb_frame_reader *reader,
    struct mb_err *err);

static int
open_file(const char *path, struct mb_err *err)
{
	struct stat st;
	int fd;

	if (strcmp(path, "-") == 0)
		return STDIN_FILENO;
	fd = mb_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return mb_fail(err, MB_EUSAGE, "%s: no such file", path);
	if (fd < 0)
		return mb_fail_sys(err, "open %s", path);
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		return mb_fail(err, MB_EUSAGE, "%s: a directory", path);
	}
	return fd;
}

static bool
is_pipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 &&
	    (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

/* One input: 1 if it was the stream of frames, which is all there is. */
static int
run_input(struct agg *a, const char *path, struct mb_buf *first_reject,
    struct mb_err *err)
{
	struct input in = {
		.name = strcmp(path, "-") == 0 ? "standard input" : path,
		.path = path,
	};
	struct mb_frame_reader *reader = NULL;
	int fd, rc = -1;

	fd = open_file(path, err);
	if (fd < 0)
		return -1;
	if (mb_frame_open(&reader, fd, in.name, STDOUT_FILENO, err) < 0)
		goto out;
	if (mb_frame_is_framed(reader)) {
		if (a->cfg->n_files > 1) {
			mb_fail(err, MB_EUSAGE, "%s: frames are not joined "
			    "with other input", in.name);
			goto out;
		}
		rc = run_frames(a, reader, err) < 0 ? -1 : 1;
		goto out;
	}
	/*
	 * A pipe that never said a word: nobody can tell an empty input from
	 * a mb-collect that died before its hello.  -F says that it is one.
	 */
	if (mb_frame_is_empty(reader) && !a->cfg->has_format && is_pipe(fd)) {
		mb_fail(err, MB_EBUSY, "%s is empty: what is upstream has "
		    "died; if not, give -F", in.name);
		goto out;
	}
	mb_bytes_open(&in.bytes, reader, in.name);
	rc = read_input(a, &in, first_reject, err);
	mb_bytes_close(in.bytes);
out:
	mb_frame_close(reader);
	mb_names_release(&in.header);
	mb_buf_release(&in.raw_header);
	if (fd != STDIN_FILENO)
		close(fd);
	return rc;
}

static int
run(struct agg *a, struct mb_err *err)
{
	const struct config *cfg = a->cfg;
	struct mb_buf first_reject = { 0 };
	int rc = 0;

	if (cfg->rejects != NULL) {
		a->rejects_fd = mb_openat(AT_FDCWD, cfg->rejects,
		    O_WRONLY | O_CREAT | O_TRUNC, 0666);
		if (a->rejects_fd < 0)
			return mb_fail_sys(err, "--rejects: %s", cfg->rejects);
	}
	if (cfg->n_files == 0)
		rc = run_input(a, "-", &first_reject, err);
	for (int i = 0; i < cfg->n_files && rc == 0; i++)
		rc = run_input(a, cfg->files[i], &first_reject, err);
	if (rc == 0)
		rc = finish_plain(a, &first_reject, err);
	mb_buf_release(&first_reject);
	return rc < 0 ? -1 : 0;
}

/*
 * Frames.
 */

struct batch {
	const struct mb_begin *begin;
	struct mb_names header;
	char number[24], time[MB_TIME_LEN + 1];
	struct mb_stream stream;
	bool has_begun;			/* our begin is written, no end yet */
	uint64_t n_bytes;		/* of records that arrived */
	uint64_t n_rows;		/* written */
	struct mb_buf kept;		/* all of it, for --stamp */
	struct mb_err failed;		/* why it will be aborted */
	int64_t started_us;
};

/* The journal of the stream: its lock, and where rejects go. */
static int
join_pipeline(struct agg *a, struct mb_err *err)
{
	const struct mb_hello *h = a->hello;
	const char *path = mb_journal_choose(a->cfg->journal,
	    getenv("MB_JOURNAL"), h->journal);
	uint64_t run_number;
	int rc;

	if (path == NULL)
		return 0;	/* rejects will miss it */
	if (mb_journal_open(&a->journal, path, 0, err) < 0)
		return -1;
	if (strcmp(mb_journal_state(a->journal)->id, h->id) != 0)
		return mb_fail(err, MB_EUSAGE, "%s: not the journal of these "
		    "frames, which is %s", path, h->journal);
	if (h->is_replay)
		return 0;
	rc = mb_journal_lock(a->journal, MB_LOCK_PIPELINE, true, 10000000,
	    err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EBUSY, "%s: another mb-collect has "
		    "begun", path);
	return mb_journal_run(a->journal, &run_number, "agg", h->run,
	    a->cfg->argv, mb_clock_wall_ms(), err);
}

/*
 * A later mb-collect sends its batches again, and waits for us to go: between
 * two batches we do.
 */
static int
check_collector(struct agg *a, struct mb_err *err)
{
	const struct mb_state *s;

	if (a->journal == NULL || a->hello->is_replay)
		return 0;
	if (mb_journal_refresh(a->journal, err) < 0)
		return -1;
	s = mb_journal_state(a->journal);
	if (s->collector_run == MB_NONE || s->collector_run <= a->hello->run)
		return 0;
	return mb_fail(err, MB_EBUSY, "%s: a later mb-collect has begun; "
	    "leaving the batches to it", mb_journal_path(a->journal));
}

static int
take_hello(struct agg *a, const struct mb_hello *h, struct mb_err *err)
{
	if (a->cfg->rejects != NULL)
		return mb_fail(err, MB_EUSAGE, "--rejects: for plain streams; "
		    "those of frames are kept beside the journal");
	/* From here on a signal lets the stream run out. */
	if (mb_signals_open(err) < 0)
		return -1;
	a->hello = mb_hello_copy(h, &a->stream_arena);
	a->is_framed_out = !a->cfg->is_plain && !isatty(STDOUT_FILENO);
	if (join_pipeline(a, err) < 0)
		return -1;
	if (!a->is_framed_out)
		return 0;
	mb_frame_put_hello(&a->out, a->hello);
	a->has_hello = true;
	return flush(a, err);
}

/* What is known of an input field, by the name that it has there. */
static const struct mb_field *
find_field(const struct mb_begin *b, struct mb_str name)
{
	for (size_t i = 0; i < b->n_fields; i++)
		if (mb_str_eq(mb_str(b->fields[i].name), name))
			return &b->fields[i];
	return NULL;
}

static const char *
type_of_op(enum mb_agg_op op)
{
	switch (op) {
	case MB_COUNT:
	case MB_DISTINCT:
		return "int";
	case MB_AVG:
	case MB_VAR:
	case MB_STDDEV:
		return "double";
	default:
		return NULL;	/* as the values are */
	}
}

/* The fields of what we write; false: not known. */
static bool
fill_fields(struct agg *a, const struct mb_begin *in, struct mb_begin *out)
{
	static const char *const stamp_types[] = { "int", "timestamp", "text",
		"int" };
	const struct mb_query *q = &a->cfg->query;
	struct mb_names columns = { 0 };
	size_t n_stamps = !a->cfg->is_stamped ? 0 : aggregates(a) ? MB_STAMPS :
	    MB_STAMPS_PASSED;
	struct mb_field *fields;
	bool ok = list_columns(a, &columns);

	out->has_fields = ok;
	out->n_fields = columns.n;
	fields = mb_arena_alloc(&a->batch_arena,
	    (columns.n + 1) * sizeof *fields);
	for (size_t i = 0; i < columns.n; i++) {
		const struct mb_field *same = NULL;

		fields[i] = (struct mb_field){
			.name = mb_arena_dup(&a->batch_arena, columns.v[i].p,
			    columns.v[i].len) };
		if (i < n_stamps) {
			fields[i].type = stamp_types[i];
			continue;
		}
		if (!aggregates(a))
			same = find_field(in, columns.v[i]);
		else if (i < n_stamps + q->n_keys)
			same = find_field(in,
			    q->fields.v[q->keys[i - n_stamps].field]);
		else
			fields[i].type = type_of_op(
			    q->aggs[i - n_stamps - q->n_keys].op);
		if (same != NULL) {
			fields[i].type = same->type;
			fields[i].agg = same->agg;
		}
		if (aggregates(a) && i >= n_stamps + q->n_keys)
			fields[i].agg = mb_agg_op_name(
			    q->aggs[i - n_stamps - q->n_keys].op);
	}
	out->fields = fields;
	mb_names_release(&columns);
	return ok;
}

/* Our begin, once: the ranges end here, since the bytes are others now. */
static int
put_begin(struct agg *a, struct batch *b, struct mb_err *err)
{
	struct mb_begin out = *b->begin;
	char name[40];

	if (b->has_begun)
		return 0;
	b->has_begun = true;
	if (!a->is_framed_out) {
		snprintf(name, sizeof name, "batch %s", b->number);
		return put_header(a, name, err);
	}
	out.ranges = NULL;
	out.n_ranges = 0;
	out.format = mb_format_name(a->out_format);
	out.delimiter = delimiter_of(a, a->out_format);
	(void)fill_fields(a, b->begin, &out);
	mb_frame_put_begin(&a->out, a->hello->tag, &out);
	return 0;
}

/* What goes before the records of a batch, and isn't the batch's fault. */
static int
begin_batch(struct agg *a, struct batch *b, const struct mb_begin *begin,
    struct mb_err *err)
{
	const struct config *cfg = a->cfg;
	enum mb_format format = cfg->format;
	char delimiter = cfg->delimiter;

	mb_arena_reset(&a->batch_arena);
	b->begin = begin = mb_begin_copy(begin, &a->batch_arena);
	b->has_begun = false;
	b->n_bytes = b->n_rows = 0;
	b->failed = (struct mb_err){ 0 };
	b->started_us = mb_clock_steady_us();
	mb_buf_reset(&b->kept);
	mb_names_reset(&b->header);
	snprintf(b->number, sizeof b->number, "%" PRIu64, begin->batch);
	mb_format_time(b->time, begin->time_ms);
	if (!cfg->has_format && mb_format_parse(&format, begin->format, err) <
	    0)
		return -1;
	if (delimiter == '\0')
		delimiter = strcmp(begin->format, "csv") == 0 ?
		    begin->delimiter : ',';
	if (set_formats(a, format, delimiter, err) < 0)
		return -1;
	for (size_t i = 0; i < begin->n_fields; i++)
		mb_names_add(&b->header, mb_str(begin->fields[i].name));
	b->stream = (struct mb_stream){
		.format = format, .delimiter = delimiter_of(a, format),
		.record_limit = begin->record_limit,
		.header = begin->has_fields && !cfg->no_header &&
		    mb_format_has_header(format) ? &b->header : NULL,
		.batch = b->number, .batch_time = b->time,
	};
	mb_work_reset(a->work);
	if (check_stamps(a, b->stream.header, err) < 0 ||
	    mb_work_begin(a->work, &b->stream, err) < 0)
		return mb_wrap(err, "batch %s", b->number);
	return 0;
}

/* --stamp of records passed through has to see the whole batch first. */
static bool
keeps_batch(const struct agg *a)
{
	return a->cfg->is_stamped && !aggregates(a);
}

static int
feed_batch(struct agg *a, struct batch *b, struct mb_str *data, bool is_last,
    struct mb_err *err)
{
	const char *start = data->p;
	size_t n;

	if (b->failed.code != MB_OK) {
		data->p += data->len;
		data->len = 0;
	} else if (mb_work_feed(a->work, data, is_last, err) < 0) {
		return mb_wrap(err, "batch %s", b->number);
	}
	b->n_bytes += (size_t)(data->p - start);
	(void)mb_work_rejects(a->work, &n);
	if (n > 0 && a->cfg->on_bad == ON_BAD_FAIL &&
	    b->failed.code == MB_OK) {
		/* Which source it was is known at the batch's end. */
		b->failed.code = MB_EDATA;
		b->n_bytes += data->len;
		data->p += data->len;
		data->len = 0;
	}
	if (b->failed.code == MB_OK && mb_work_rows(a->work)->len > 0) {
		if (put_begin(a, b, err) < 0 || put_passed(a, err) < 0)
			return -1;
	}
	return 0;
}

static int
put_abort(struct agg *a, struct batch *b, int status, const char *why,
    struct mb_err *err)
{
	if (!a->is_framed_out) {
		/* Rows without frames can't be taken back. */
		a->status = status;
		return 0;
	}
	if (put_begin(a, b, err) < 0)
		return -1;
	mb_frame_put_abort(&a->out, a->hello->tag, b->begin->batch, status,
	    why);
	b->has_begun = false;
	return flush(a, err);
}

static void
say_failed(struct agg *a, const struct batch *b, const char *why)
{
	struct mb_buf text = { 0 };

	mb_buf_addf(&text, "batch %s failed: ", b->number);
	mb_show(&text, mb_str(why));
	mb_progress_say(a->progress, mb_buf_str(&text));
	mb_buf_release(&text);
}

/* The batch can't be aggregated: somebody has to look at it. */
static int
fail_batch(struct agg *a, struct batch *b, struct mb_err *err)
{
	int status = mb_exit_status(b->failed.code);

	say_failed(a, b, b->failed.msg);
	a->status = status;
	return put_abort(a, b, status, b->failed.msg, err);
}

/* Keep the rejects of the batch; a file of an earlier attempt is replaced. */
static int
publish_rejects(struct agg *a, struct batch *b, const struct mb_place *places,
    size_t n_places, struct mb_err *err)
{
	const struct mb_row_reject *r;
	struct mb_rejects *file;
	size_t n;
	int rc;

	r = mb_work_rejects(a->work, &n);
	if (a->journal == NULL && n > 0)
		return mb_fail(err, MB_EUSAGE, "batch %s: no journal at hand "
		    "to keep rejects beside; give -j, or --on-bad skip or "
		    "fail", b->number);
	if (a->journal == NULL)
		return 0;
	file = mb_rejects_open(a->journal, a->cfg->stage, b->begin->batch);
	for (size_t i = 0; i < n; i++) {
		const struct mb_place *p = mb_places_find(places, n_places,
		    r[i].off);

		mb_rejects_add(file, &(struct mb_rejected){
		    .source = p != NULL ? p->source : NULL,
		    .offset = p != NULL ? p->start + (r[i].off - p->from) :
		    MB_NONE,
		    .record = r[i].number, .length = r[i].end - r[i].off,
		    .data = r[i].data, .reason = r[i].reason });
	}
	rc = mb_rejects_publish(file, err);
	mb_rejects_close(file);
	return rc;
}

/* Keep the rejects, or let them fail the batch. */
static int
settle_rejects(struct agg *a, struct batch *b, const struct mb_place *places,
    size_t n_places, struct mb_err *err)
{
	struct mb_work_counts counts = mb_work_counts(a->work);
	const struct mb_row_reject *r;
	struct mb_buf first = { 0 }, line = { 0 };
	size_t n;

	if (a->cfg->on_bad == ON_BAD_REJECT &&
	    publish_rejects(a, b, places, n_places, err) < 0)
		return -1;
	r = mb_work_rejects(a->work, &n);
	if (n == 0)
		return 0;
	mb_reject_say(&first, r, mb_places_find(places, n_places, r->off));
	if (a->cfg->on_bad == ON_BAD_FAIL) {
		b->failed = (struct mb_err){ 0 };
		mb_fail(&b->failed, MB_EDATA, "%s", mb_buf_str(&first));
	} else {
		mb_buf_addf(&line, "batch %s: %" PRIu64 " bad record%s %s; "
		    "the first: %s", b->number, counts.n_rejects,
		    counts.n_rejects == 1 ? "" : "s",
		    a->cfg->on_bad == ON_BAD_SKIP ? "skipped" : "rejected",
		    mb_buf_str(&first));
		mb_progress_say(a->progress, mb_buf_str(&line));
	}
	mb_buf_release(&first);
	mb_buf_release(&line);
	return 0;
}

/* -v and --progress: what the journal knows of the batch. */
static int
report_batch(struct agg *a, const struct batch *b, struct mb_err *err)
{
	const struct mb_batch *batch;
	struct mb_report report = {
		.emit_us = mb_clock_steady_us() - b->started_us,
	};

	if (a->journal == NULL ||
	    (!a->cfg->common.is_verbose && !a->cfg->common.is_json))
		return 0;
	if (mb_journal_refresh(a->journal, err) < 0)
		return -1;
	batch = mb_state_batch(mb_journal_state(a->journal), b->begin->batch);
	if (batch != NULL)
		mb_progress_batch(a->progress, mb_journal_state(a->journal),
		    batch, &report);
	return 0;
}

static int
end_batch(struct agg *a, struct batch *b, struct mb_err *err)
{
	const struct mb_begin *begin = b->begin;
	struct mb_place *places = mb_arena_alloc(&a->batch_arena,
	    (begin->n_ranges + 1) * sizeof *places);
	size_t n_places, mark;
	struct mb_str nothing = MB_STR("");

	if (keeps_batch(a)) {
		struct mb_str all = { b->kept.p, b->kept.len };

		n_places = mb_places_make(places, begin->ranges,
		    begin->n_ranges, all.len);
		b->stream.places = places;
		b->stream.n_places = n_places;
		if (mb_work_begin(a->work, &b->stream, err) < 0 ||
		    feed_batch(a, b, all.len > 0 ? &all : &nothing, true,
		    err) < 0)
			return -1;
		if (b->kept.cap > FLUSH)
			mb_buf_release(&b->kept);
	} else {
		if (feed_batch(a, b, &nothing, true, err) < 0)
			return -1;
		n_places = mb_places_make(places, begin->ranges,
		    begin->n_ranges, b->n_bytes);
	}
	if (mb_work_finish(a->work, a->cfg->is_sorted, err) < 0 ||
	    settle_rejects(a, b, places, n_places, err) < 0)
		return -1;
	if (b->failed.code != MB_OK)
		return fail_batch(a, b, err);
	warn_missing(a);
	mark = a->out.len;
	if (put_begin(a, b, err) < 0)
		return -1;
	b->n_rows = mb_work_counts(a->work).n_passed;
	if (aggregates(a) && put_groups(a, b->number, b->time, &b->n_rows,
	    err) < 0) {
		if (err->code != MB_EDATA)
			return -1;
		/* The batch's fault: take its rows back, and say so. */
		b->failed = *err;
		*err = (struct mb_err){ 0 };
		if (a->is_framed_out) {
			a->out.len = mark;
			b->has_begun = false;
		}
		return fail_batch(a, b, err);
	}
	if (a->is_framed_out)
		mb_frame_put_end(&a->out, a->hello->tag, begin->batch,
		    b->n_rows);
	b->has_begun = false;
	if (flush(a, err) < 0)
		return -1;
	return report_batch(a, b, err);
}

/* One event; 1: the stream is done, with *status. */
static int
take_event(struct agg *a, struct batch *b, struct mb_frame_reader *reader,
    const struct mb_frame_event *ev, int *status, struct mb_err *err)
{
	struct mb_str data = ev->data;

	switch (ev->kind) {
	case MB_FRAME_HELLO:
		return take_hello(a, ev->hello, err);
	case MB_FRAME_BEGIN:
		return check_collector(a, err) < 0 ? -1 :
		    begin_batch(a, b, ev->begin, err);
	case MB_FRAME_DATA:
		if (keeps_batch(a)) {
			mb_buf_add(&b->kept, data.p, data.len);
			data.p += data.len;
		} else if (feed_batch(a, b, &data, ev->is_last, err) < 0) {
			return -1;
		}
		mb_frame_consume(reader, (size_t)(data.p - ev->data.p));
		return 0;
	case MB_FRAME_END:
		return end_batch(a, b, err);
	case MB_FRAME_ABORT:
		b->failed = (struct mb_err){ .code = MB_EDATA };
		if (!a->is_framed_out)
			say_failed(a, b, ev->error);
		return put_abort(a, b, ev->status, ev->error, err);
	case MB_FRAME_DONE:
		*status = ev->status;
		if (a->is_framed_out)
			mb_frame_put_done(&a->out, a->hello->tag, ev->status);
		return flush(a, err) < 0 ? -1 : 1;
	}
	return mb_fail(err, MB_EBUG, "an event without a case");
}

static int
run_frames(struct agg *a, struct mb_frame_reader *reader, struct mb_err *err)
{
	struct batch b = { 0 };
	struct mb_frame_event ev;
	struct mb_err ignored = { 0 };
	int rc, status = 0;

	while ((rc = mb_frame_next(reader, &ev, err)) > 0) {
		rc = take_event(a, &b, reader, &ev, &status, err);
		if (rc < 0)
			break;
	}
	/*
	 * What can't be right by trying again is passed on, if no batch of
	 * ours is open; for everything else the missing done speaks.
	 */
	if (rc < 0 && a->has_hello && !b.has_begun &&
	    (err->code == MB_EUSAGE || err->code == MB_EDATA)) {
		mb_buf_reset(&a->out);
		mb_frame_put_done(&a->out, a->hello->tag,
		    mb_exit_status(err->code));
		(void)flush(a, &ignored);
	}
	if (rc == 0 && status != 0)
		a->status = status;
	mb_names_release(&b.header);
	mb_buf_release(&b.kept);
	return rc;
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
		(void)run(&a, &err);
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
