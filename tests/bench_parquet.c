/*
 * bench_parquet CSV OUT CODEC [LEVEL [raw]]
 *
 * A csv file into one Parquet file, as mb-commit does it, but without journal
 * and table: columns are inferred from the first record's fields (bench_data
 * log).  Prints processor time, speed and size.  With `raw` all columns are
 * text, which is what the writer itself costs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"
#include "parquet/writer.h"
#include "record/reader.h"
#include "sink/rows.h"

enum { PIECE = 4 << 20, MAX = 64 };

static struct mb_err err;

static void
die(void)
{
	fprintf(stderr, "bench_parquet: %s\n", err.msg);
	exit(mb_exit_status(err.code));
}

static int
write_fd(void *arg, const void *p, size_t len, struct mb_err *e)
{
	return mb_write_all(*(int *)arg, p, len, "output", e);
}

static struct mb_type
guess(struct mb_value v)
{
	struct mb_cell cell;
	struct mb_type type = { .kind = MB_TYPE_TIMESTAMP };
	struct mb_guess g = { 0 };

	if (mb_cell_set(&cell, type, v) == NULL)
		return type;
	mb_guess_add(&g, v);
	type = mb_guess_type(&g);
	if (type.kind == MB_TYPE_DECIMAL)
		type.kind = MB_TYPE_DOUBLE;
	return type;
}

static enum mb_parquet_kind
kind_of(struct mb_type t)
{
	return t.kind == MB_TYPE_TIMESTAMP ? MB_PARQUET_TIMESTAMP :
	    t.kind == MB_TYPE_INT ? MB_PARQUET_INT64 :
	    t.kind == MB_TYPE_DOUBLE ? MB_PARQUET_DOUBLE : MB_PARQUET_TEXT;
}

static void
put(struct mb_parquet_column *c, struct mb_type type, struct mb_value v)
{
	struct mb_cell cell;

	if (mb_cell_set(&cell, type, v) != NULL ||
	    cell.kind == MB_CELL_NULL)
		mb_parquet_put_null(c);
	else if (cell.kind == MB_CELL_INT)
		mb_parquet_put_int(c, cell.i);
	else if (cell.kind == MB_CELL_REAL)
		mb_parquet_put_double(c, cell.d);
	else
		mb_parquet_put_bytes(c, cell.text.p, cell.text.len);
}

int
main(int argc, char **argv)
{
	struct mb_reader_config config = { .format = MB_CSV,
		.wants_all = true };
	struct mb_parquet_node nodes[MAX] = { 0 };
	struct mb_parquet_options o = { .schema = nodes, .version = "0.0.0" };
	struct mb_parquet_column *columns[MAX];
	struct mb_parquet_writer *w = NULL;
	struct mb_parquet_file file;
	struct mb_type types[MAX];
	struct mb_names names = { 0 };
	struct mb_reader *r;
	struct mb_row row;
	struct mb_buf in = { 0 };
	struct mb_str records;
	struct rusage use;
	const char *why;
	double total = 0, seconds;
	bool is_end = false, is_raw;
	ssize_t n;
	int rc, fd, out;

	if (argc < 4 || mb_parquet_codec_parse(&o.codec, argv[3], &err) < 0)
		return 64;
	o.level = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0;
	is_raw = argc > 5;
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || out < 0)
		return 75;
	mb_reader_open(&r, &config);
	while (!is_end) {
		mb_buf_reserve(&in, PIECE);
		n = mb_read_some(fd, in.p + in.len, PIECE, argv[1], &err);
		if (n < 0)
			die();
		is_end = n == 0;
		in.len += (size_t)n;
		total += (double)n;
		records = (struct mb_str){ in.p, in.len };
		if (names.n == 0) {
			char *end = memchr(in.p, '\n', in.len);

			if (end == NULL || !mb_names_parse(&names, MB_CSV, ',',
			    (struct mb_str){ in.p, (size_t)(end - in.p) },
			    &why) || mb_reader_begin(r, &names, 0, &err) < 0)
				die();
			records.p = end + 1;
			records.len -= (size_t)(end + 1 - in.p);
		}
		while ((rc = mb_reader_next(r, &records, is_end, &row,
		    &err)) > 0) {
			if (row.bad != NULL || row.n != names.n)
				continue;
			if (w == NULL) {
				for (size_t i = 0; i < row.n; i++) {
					types[i] = guess(row.values[i]);
					if (is_raw)
						types[i].kind = MB_TYPE_TEXT;
					nodes[i].name = names.v[i].p;
					nodes[i].repetition =
					    MB_PARQUET_OPTIONAL;
					nodes[i].type.kind =
					    kind_of(types[i]);
				}
				o.n_schema = row.n;
				if (mb_parquet_writer_open(&w, &o, write_fd,
				    &out, &err) < 0)
					die();
				for (size_t i = 0; i < row.n; i++)
					columns[i] = mb_parquet_column(w, i);
			}
			for (size_t i = 0; i < row.n; i++)
				put(columns[i], types[i], row.values[i]);
			if (mb_parquet_end_row(w, &err) < 0)
				die();
		}
		if (rc < 0)
			die();
		memmove(in.p, records.p, records.len);
		in.len = records.len;
	}
	if (w == NULL || mb_parquet_finish(w, &file, &err) < 0)
		die();
	getrusage(RUSAGE_SELF, &use);
	seconds = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	    (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
	printf("%.2f processor seconds, %.0f MB a second, %.1f MB, memory "
	    "%ld MiB\n", seconds, total / 1e6 / seconds,
	    (double)file.size / 1e6, use.ru_maxrss / 1024);
	mb_parquet_writer_close(w);
	mb_reader_close(r);
	mb_names_release(&names);
	mb_buf_release(&in);
	return 0;
}
