/*
 * delta_dump [--state] TABLE
 *
 * The rows of a Delta table as NDJSON, for the tests: all of its files, read
 * through the log and whatever checkpoint there is.  --state: instead, its
 * version, where reading began, and its transactions, one a line.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/line.h"
#include "base/parse.h"
#include "delta/checkpoint.h"
#include "delta/fields.h"
#include "delta/files.h"
#include "parquet/reader.h"

static struct mb_err err;

static void
die(void)
{
	fprintf(stderr, "delta_dump: %s\n", err.msg);
	exit(mb_exit_status(err.code));
}

static void
put_time(struct mb_buf *out, int64_t us)
{
	char text[MB_TIME_LEN + 1];
	int64_t rest = us % 1000000;

	if (rest < 0)
		rest += 1000000;
	mb_format_time(text, (us - rest) / 1000);
	mb_buf_addf(out, "\"%.19s.%06" PRId64 "\"", text, rest);
}

static void
put_value(struct mb_buf *out, const struct mb_parquet_leaf *leaf,
    const struct mb_parquet_entry *e)
{
	struct mb_number n = { .places = leaf->type.scale };
	char text[MB_TIME_LEN + 1];

	if (e->level < leaf->top) {
		mb_buf_adds(out, "null");
		return;
	}
	switch (leaf->type.kind) {
	case MB_PARQUET_BOOL:
		mb_buf_adds(out, e->value.i != 0 ? "true" : "false");
		break;
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		if (isfinite(e->value.d))
			mb_double_format(out, e->value.d);
		else
			mb_buf_addf(out, "\"%f\"", e->value.d);
		break;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
		mb_json_quote(out, e->value.bytes);
		break;
	case MB_PARQUET_DATE:
		mb_format_time(text, e->value.i * 86400000);
		mb_buf_addf(out, "\"%.10s\"", text);
		break;
	case MB_PARQUET_TIMESTAMP:
	case MB_PARQUET_TIMESTAMP_NTZ:
		put_time(out, e->value.i);
		break;
	case MB_PARQUET_DECIMAL:
		n.units = e->value.decimal;
		mb_number_format(out, &n);
		break;
	default:
		mb_buf_addf(out, "%" PRId64, e->value.i);
		break;
	}
}

/* The value of a partition column, as text. */
static void
put_partition(struct mb_buf *out, const struct mb_fields *values,
    const char *name)
{
	struct mb_buf text = { 0 };

	if (mb_fields_text(values, name, &text))
		mb_json_quote(out, (struct mb_str){ text.p, text.len });
	else
		mb_buf_adds(out, "null");
	mb_buf_release(&text);
}

static void
dump_group(struct mb_parquet_reader *r, size_t group,
    const struct mb_delta_schema *s, const struct mb_fields *partition)
{
	struct mb_parquet_cursor **cursors = mb_zalloc(s->n * sizeof *cursors);
	ssize_t *leaves = mb_zalloc(s->n * sizeof *leaves);
	struct mb_parquet_entries e;
	struct mb_buf out = { 0 };

	for (size_t i = 0; i < s->n; i++) {
		const char *path[] = { s->v[i].name };

		leaves[i] = mb_parquet_find(r, path, 1);
		if (leaves[i] >= 0 && mb_parquet_cursor_open(&cursors[i], r,
		    (size_t)leaves[i], group, &err) < 0)
			die();
	}
	for (uint64_t row = 0; row < mb_parquet_group_rows(r, group); row++) {
		mb_buf_reset(&out);
		mb_buf_addc(&out, '{');
		for (size_t i = 0; i < s->n; i++) {
			mb_put_name(&out, s->v[i].name);
			if (s->v[i].is_partition)
				put_partition(&out, partition, s->v[i].name);
			else if (leaves[i] < 0)
				mb_buf_adds(&out, "null");
			else if (mb_parquet_cursor_row(cursors[i], &e,
			    &err) < 0)
				die();
			else
				put_value(&out, mb_parquet_leaf(r,
				    (size_t)leaves[i]), &e.v[0]);
		}
		mb_buf_adds(&out, "}\n");
		fwrite(out.p, 1, out.len, stdout);
	}
	for (size_t i = 0; i < s->n; i++)
		mb_parquet_cursor_close(cursors[i]);
	free(cursors);
	free(leaves);
	mb_buf_release(&out);
}

/* The path of an add is a URI. */
static char *
decode(const char *uri)
{
	struct mb_buf out = { 0 };
	unsigned c;

	for (; *uri != '\0'; uri++)
		if (*uri == '%' && sscanf(uri + 1, "%2x", &c) == 1) {
			mb_buf_addc(&out, (char)c);
			uri += 2;
		} else {
			mb_buf_addc(&out, *uri);
		}
	return mb_buf_take(&out);
}

static void
dump_file(int rootfd, const struct mb_delta_schema *s, const char *action)
{
	struct mb_fields f = { 0 }, partition = { 0 };
	struct mb_parquet_reader *r;
	struct mb_buf path = { 0 };
	struct mb_str values;
	int64_t size = -1;
	char *name;
	int fd;

	if (mb_fields_set(&f, mb_str(action)) != NULL ||
	    !mb_fields_text(&f, "path", &path) ||
	    !mb_fields_int(&f, "size", &size) ||
	    !mb_fields_raw(&f, "partitionValues", '{', &values) ||
	    mb_fields_set(&partition, values) != NULL) {
		mb_fail(&err, MB_ECORRUPT, "bad add: %s", action);
		die();
	}
	name = decode(mb_buf_str(&path));
	fd = openat(rootfd, name, O_RDONLY);
	if (fd < 0 || lseek(fd, 0, SEEK_END) != size) {
		mb_fail_sys(&err, "%s: missing, or not of %lld bytes",
		    name, (long long)size);
		die();
	}
	if (mb_parquet_reader_open(&r, fd, mb_buf_str(&path), &err) < 0)
		die();
	for (size_t g = 0; g < mb_parquet_n_groups(r); g++)
		dump_group(r, g, s, &partition);
	mb_parquet_reader_close(r);
	close(fd);
	free(name);
	mb_fields_release(&f);
	mb_fields_release(&partition);
	mb_buf_release(&path);
}

static int
apply_line(void *arg, struct mb_str line, struct mb_err *why)
{
	return mb_delta_files_apply(arg, line, why);
}

/* What remains as an add is what the table consists of. */
static void
load_files(struct mb_delta_files *files, const struct mb_delta_state *s,
    const struct mb_delta_log *l)
{
	if (s->checkpoint.version >= 0 && mb_delta_checkpoint_read(l,
	    &s->checkpoint, MB_DELTA_WANTS_FILES, apply_line, files,
	    &err) <= 0) {
		mb_fail(&err, MB_EIO, "the checkpoint has gone");
		die();
	}
	if (mb_delta_files_read_tail(files, s, l, &err) < 0)
		die();
}

int
main(int argc, char **argv)
{
	bool wants_state = argc == 3 && strcmp(argv[1], "--state") == 0;
	struct mb_delta_state s = { .version = -1 };
	struct mb_delta_files files = { 0 };
	struct mb_delta_log log = { .place = argv[argc - 1], .tmpfd = -1 };
	int rootfd;

	if (argc != 2 + wants_state) {
		fprintf(stderr, "usage: delta_dump [--state] TABLE\n");
		return 64;
	}
	rootfd = open(argv[argc - 1], O_RDONLY | O_DIRECTORY);
	log.dirfd = openat(rootfd, "_delta_log", O_RDONLY | O_DIRECTORY);
	if (log.dirfd < 0)
		return 0;	/* no table, no rows */
	if (mb_delta_state_load(&s, &log, &err) < 0)
		die();
	load_files(&files, &s, &log);
	if (wants_state) {
		printf("version %" PRId64 " from %" PRId64 "\n", s.version,
		    s.checkpoint.version);
		for (size_t i = 0; i < s.apps.n; i++)
			printf("%s %" PRId64 "\n", s.apps.v[i].p,
			    s.txns[i].version);
	}
	for (size_t i = 0; !wants_state && i < files.keys.n; i++)
		if (files.v[i].is_add)
			dump_file(rootfd, &s.schema, files.v[i].text);
	mb_delta_files_release(&files);
	mb_delta_state_release(&s);
	close(log.dirfd);
	close(rootfd);
	return 0;
}
