#include "sink/datafile.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/opt.h"
#include "delta/commit.h"
#include "delta/stats.h"

static int
write_stage(void *arg, const void *p, size_t len, struct mb_err *err)
{
	return mb_stage_write(arg, p, len, err);
}

static int
write_nowhere(void *arg, const void *p, size_t len, struct mb_err *err)
{
	(void)arg, (void)p, (void)len, (void)err;
	return 0;
}

static int
open_writer(struct mb_datafile *f, enum mb_parquet_codec codec,
    const struct mb_datafile_size *size, struct mb_err *err)
{
	struct mb_parquet_options o = { .codec = codec,
		.group_bytes = size->group_bytes,
		.page_bytes = size->page_bytes, .version = MB_VERSION,
		.n_schema = f->n_columns };
	struct mb_parquet_node *nodes;
	int rc;

	if (mb_random(&o.seed, sizeof o.seed, err) < 0)
		return -1;
	nodes = mb_realloc_array(NULL, f->n_columns, sizeof *nodes);
	for (size_t i = 0; i < f->n_columns; i++)
		nodes[i] = (struct mb_parquet_node){
			.name = f->shape[i].name,
			.repetition = MB_PARQUET_OPTIONAL,
			.type = f->shape[i].type,
		};
	o.schema = nodes;
	rc = mb_parquet_writer_open(&f->writer, &o, f->stage == NULL ?
	    write_nowhere : write_stage, f->stage, err);
	free(nodes);
	for (size_t i = 0; rc == 0 && i < f->n_columns; i++)
		f->columns[i] = mb_parquet_column(f->writer, i);
	return rc;
}

int
mb_datafile_open(struct mb_datafile *f, int dirfd, int tmpfd,
    unsigned number, const struct mb_datafile_column *columns, size_t n,
    enum mb_parquet_codec codec, const struct mb_datafile_size *size,
    struct mb_syncs *syncs, struct mb_err *err)
{
	static const char *const endings[] = {
		[MB_PARQUET_CODEC_NONE] = "", [MB_PARQUET_CODEC_SNAPPY] =
		    ".snappy", [MB_PARQUET_CODEC_GZIP] = ".gz",
		[MB_PARQUET_CODEC_ZSTD] = ".zstd",
	};
	char uuid[MB_UUID_LEN + 1];

	*f = (struct mb_datafile){ .dirfd = dirfd, .n_columns = n,
		.syncs = syncs };
	f->shape = mb_realloc_array(NULL, n, sizeof *f->shape);
	memcpy(f->shape, columns, n * sizeof *columns);
	f->columns = mb_realloc_array(NULL, n,
	    sizeof (struct mb_parquet_column *));
	if (mb_delta_uuid(uuid, err) < 0)
		return -1;
	snprintf(f->name, sizeof f->name, "part-%05u-%s-c000%s.parquet",
	    number, uuid, endings[codec]);
	if (dirfd != MB_DATAFILE_NOWHERE && mb_stage_open_in(&f->stage, tmpfd,
	    dirfd, f->name, 0666, err) < 0)
		return -1;
	return open_writer(f, codec, size, err);
}

int
mb_datafile_finish(struct mb_datafile *f, const struct mb_delta_meta *m,
    struct mb_err *err)
{
	struct mb_delta_stat *columns;
	struct mb_parquet_file done;
	struct mb_buf stats = { 0 };

	if (mb_parquet_finish(f->writer, &done, err) < 0)
		return -1;
	columns = mb_realloc_array(NULL, f->n_columns, sizeof *columns);
	for (size_t i = 0; i < f->n_columns; i++)
		columns[i] = (struct mb_delta_stat){ .name = f->shape[i].name,
			.type = f->shape[i].type, .stats = &done.stats[i] };
	mb_delta_stats_put(&stats, done.rows, columns, f->n_columns, m);
	f->stats = mb_buf_take(&stats);
	f->size = done.size;
	free(columns);
	mb_parquet_writer_close(f->writer);
	f->writer = NULL;
	return f->stage == NULL ? 0 : mb_stage_sync_begin(f->stage, f->syncs,
	    err);
}

int
mb_datafile_name(struct mb_datafile *f, struct mb_err *err)
{
	if (f->is_named || f->stage == NULL)
		return 0;
	if (mb_stage_offer(f->stage, err) < 0)
		return -1;
	f->is_named = true;
	f->of_directory = mb_sync_begin(f->syncs, f->dirfd, "the directory");
	return 0;
}

int
mb_datafile_settle(struct mb_datafile *f, struct mb_err *err)
{
	if (f->is_durable || f->stage == NULL)
		return 0;
	if (f->is_poisoned)
		return mb_fail(err, MB_EBUG, "%s: sync after a failure",
		    f->name);
	f->is_poisoned = mb_sync_await(&f->of_directory, err) < 0 ||
	    mb_stage_sync(f->stage, err) < 0;
	f->is_durable = !f->is_poisoned;
	return f->is_poisoned ? mb_wrap(err, "publish %s", f->name) : 0;
}

void
mb_datafile_unname(struct mb_datafile *f)
{
	if (f->is_named)
		unlinkat(f->dirfd, f->name, 0);
	f->is_named = false;
}

void
mb_datafile_let_go(struct mb_datafile *f)
{
	mb_sync_forget(&f->of_directory);
	mb_stage_close(f->stage);
	f->stage = NULL;
	f->dirfd = -1;
}

void
mb_datafile_close(struct mb_datafile *f)
{
	mb_parquet_writer_close(f->writer);
	mb_sync_forget(&f->of_directory);
	mb_stage_close(f->stage);
	free(f->columns);
	free(f->shape);
	free(f->stats);
	*f = (struct mb_datafile){ 0 };
}

void
mb_datafile_put(struct mb_parquet_column *c, enum mb_parquet_kind kind,
    const union mb_parquet_value *v)
{
	switch (kind) {
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		mb_parquet_put_double(c, v->d);
		break;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
		mb_parquet_put_bytes(c, v->bytes.p, v->bytes.len);
		break;
	case MB_PARQUET_DECIMAL:
		mb_parquet_put_decimal(c, v->decimal);
		break;
	default:
		mb_parquet_put_int(c, v->i);
		break;
	}
}
