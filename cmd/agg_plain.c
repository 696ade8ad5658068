#include "agg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agg/bytes.h"
#include "agg/reject.h"
#include "base/io.h"
#include "base/parse.h"
#include "record/writer.h"

enum { MIN_SPAN = 1 << 20 };

struct input {
	const char *name, *path;	/* for people; as it is in records */
	struct mb_bytes *bytes;
	bool is_guess;			/* that it is lines */
	struct mb_names header;
	bool has_header;
	struct mb_buf raw_header;
	struct mb_place place;
};

/* Fields of lines that were only guessed to be lines. */
static int
explain_lines(int rc, bool is_guess, const char *name, struct mb_err *err)
{
	if (rc < 0 && is_guess && err->code == MB_EUSAGE)
		return mb_wrap(err, "%s: read as lines (for csv give -F csv)",
		    name);
	return rc < 0 ? mb_wrap(err, "%s", name) : rc;
}

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
	if (agg_aggregates(a) || a->cfg->is_stamped || a->has_header ||
	    !in->has_header || a->format != a->out_format)
		return agg_put_header(a, in->name, err);
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
	if (agg_set_formats(a, format, cfg->delimiter != '\0' ? cfg->delimiter :
	    ',', err) < 0)
		return mb_wrap(err, "%s", in->name);
	if (is_first)
		mb_work_reset(a->work);
	return 0;
}

/* What has come out since the last time. */
static int
take_results(struct agg *a, const struct input *in, struct mb_buf *first,
    struct mb_err *err)
{
	if (take_rejects(a, in, first, err) < 0)
		return -1;
	if (agg_aggregates(a) || mb_work_rows(a->work)->len == 0)
		return 0;
	if (!a->has_header && agg_put_header(a, in->name, err) < 0)
		return -1;
	return agg_put_passed(a, err);
}

/* A file's bytes are read where they are needed; see mb_work_read. */
static int
read_file(struct agg *a, struct input *in, struct mb_buf *first_reject,
    struct mb_err *err)
{
	struct mb_span span = { .name = in->name };
	struct stat st;
	int rc;

	if (!mb_work_may_read(a->work) ||
	    !mb_bytes_file(in->bytes, &span.fd, &span.pos) ||
	    fstat(span.fd, &st) < 0 ||
	    (uint64_t)st.st_size < span.pos + MIN_SPAN)
		return 0;
	span.end = (uint64_t)st.st_size;
	do {
		rc = mb_work_read(a->work, &span, err);
		if (rc < 0)	/* what it reads it names */
			return err->code == MB_EIO ? -1 :
			    mb_wrap(err, "%s", in->name);
		if (take_results(a, in, first_reject, err) < 0)
			return -1;
	} while (rc > 0);
	return mb_bytes_skip(in->bytes, span.pos, err);
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
	stream.delimiter = agg_delimiter_of(a, a->format);
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
	if (agg_check_stamps(a, stream.header, err) < 0 ||
	    explain_lines(mb_work_begin(a->work, &stream, err),
	    in->is_guess, in->name, err) < 0)
		return -1;
	if (!agg_aggregates(a) && put_plain_header(a, in, err) < 0)
		return -1;
	for (;;) {
		all = data;
		if (mb_work_feed(a->work, &data, is_last, err) < 0)
			return mb_wrap(err, "%s", in->name);
		mb_bytes_consume(in->bytes, (size_t)(data.p - all.p));
		if (take_results(a, in, first_reject, err) < 0)
			return -1;
		if (is_last)
			return 0;
		if (read_file(a, in, first_reject, err) < 0 ||
		    mb_bytes_next(in->bytes, &data, &is_last, err) < 0)
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
	agg_warn_missing(a);
	if (check_numbers(a, err) < 0)
		return -1;
	if (agg_aggregates(a) && (agg_put_header(a, "standard output", err) < 0 ||
	    agg_put_groups(a, getenv("MB_BATCH"), getenv("MB_TIME"), &n_rows,
	    err) < 0))
		return -1;
	return agg_flush(a, err);
}

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
	if (fd < 0 && errno == EACCES)
		return mb_fail(err, MB_EUSAGE, "%s: %s", path, strerror(errno));
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
		rc = agg_run_frames(a, reader, err) < 0 ? -1 : 1;
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
	/* Threads that were ahead still look at the header and the file. */
	if (rc < 0) {
		mb_work_close(a->work);
		a->work = NULL;
	}
	mb_bytes_close(in.bytes);
out:
	mb_frame_close(reader);
	mb_names_release(&in.header);
	mb_buf_release(&in.raw_header);
	if (fd != STDIN_FILENO)
		close(fd);
	return rc;
}

int
agg_run(struct agg *a, struct mb_err *err)
{
	const struct config *cfg = a->cfg;
	struct mb_buf first_reject = { 0 };
	int rc = 0;

	if (cfg->rejects != NULL) {
		a->rejects_fd = mb_openat(AT_FDCWD, cfg->rejects,
		    O_WRONLY | O_CREAT | O_TRUNC, 0666);
		if (a->rejects_fd < 0 && (errno == ENOENT || errno == ENOTDIR ||
		    errno == EISDIR || errno == EACCES || errno == EROFS))
			return mb_fail(err, MB_EUSAGE, "--rejects: %s: %s",
			    cfg->rejects, strerror(errno));
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
