#include "sink/deltajoin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "delta/fields.h"
#include "delta/files.h"
#include "parquet/reader.h"
#include "sink/datafile.h"

/* A file that is read. */
struct source {
	int fd;
	struct mb_parquet_reader *reader;
	char *path;		/* on disk */
};

struct joining {
	struct mb_deltajoin *j;
	struct source *v;
	size_t n;
	const struct mb_delta_column **columns;	/* of the new file */
	size_t n_columns;
};

static int
open_source(struct joining *g, struct source *s, struct mb_str action,
    struct mb_err *err)
{
	struct mb_fields f = { 0 };
	struct mb_buf path = { 0 };
	bool ok;

	*s = (struct source){ .fd = -1 };
	ok = mb_fields_set(&f, action) == NULL &&
	    mb_fields_text(&f, "path", &path) &&
	    mb_delta_path_decode(&s->path, mb_buf_str(&path));
	if (ok && g->j->path == NULL) {
		/* The new one is beside the first. */
		const char *slash = strrchr(path.p, '/');

		path.len = slash == NULL ? 0 : (size_t)(slash + 1 - path.p);
		g->j->path = mb_strdup(mb_buf_str(&path));
	}
	mb_fields_release(&f);
	mb_buf_release(&path);
	if (!ok)
		return mb_fail(err, MB_EDATA, "a path that isn't ours");
	s->fd = mb_openat(g->j->dirfd, s->path, O_RDONLY, 0);
	if (s->fd < 0)
		return mb_fail_sys(err, "%s", s->path);
	return mb_parquet_reader_open(&s->reader, s->fd, s->path, err);
}

static ssize_t
find_leaf(const struct source *s, const struct mb_delta_column *c)
{
	const char *path[] = { c->name };

	return mb_parquet_find(s->reader, path, 1);
}

/* Which columns has the new file?  1; 0: a type differs. */
static int
choose_columns(struct joining *g)
{
	const struct mb_delta_schema *schema = g->j->schema;

	g->columns = mb_realloc_array(NULL, schema->n + 1,
	    sizeof *g->columns);
	for (size_t i = 0; i < schema->n; i++) {
		const struct mb_delta_column *c = &schema->v[i];
		bool is_there = false;

		for (size_t k = 0; k < g->n; k++) {
			ssize_t at = find_leaf(&g->v[k], c);
			const struct mb_parquet_leaf *leaf = at < 0 ? NULL :
			    mb_parquet_leaf(g->v[k].reader, (size_t)at);

			if (leaf == NULL)
				continue;
			if (!c->is_flat || c->is_partition ||
			    leaf->refusal != NULL || leaf->repeated > 0 ||
			    leaf->type.kind != c->type.kind ||
			    leaf->type.precision != c->type.precision ||
			    leaf->type.scale != c->type.scale)
				return 0;
			is_there = true;
		}
		if (is_there)
			g->columns[g->n_columns++] = c;
	}
	/* A column that isn't the table's any more would be lost. */
	for (size_t k = 0; k < g->n; k++) {
		size_t n = 0;

		for (size_t i = 0; i < g->n_columns; i++)
			n += find_leaf(&g->v[k], g->columns[i]) >= 0;
		if (n != mb_parquet_n_leaves(g->v[k].reader))
			return 0;
	}
	return g->n_columns > 0;
}

static int
open_target(struct joining *g, struct mb_err *err)
{
	struct mb_deltajoin *j = g->j;
	struct mb_datafile_column *columns = mb_realloc_array(NULL,
	    g->n_columns, sizeof *columns);
	struct mb_buf path = { 0 };
	char *slash = strrchr(g->v[0].path, '/');
	int rc = 0;

	for (size_t i = 0; i < g->n_columns; i++)
		columns[i] = (struct mb_datafile_column){
			g->columns[i]->name, g->columns[i]->type
		};
	if (slash != NULL) {
		*slash = '\0';
		j->file_dirfd = mb_openat(j->dirfd, g->v[0].path,
		    O_RDONLY | O_DIRECTORY, 0);
		*slash = '/';
		if (j->file_dirfd < 0) {
			j->file_dirfd = j->dirfd;
			rc = mb_fail_sys(err, "%s", g->v[0].path);
		}
	}
	if (rc == 0)
		rc = mb_datafile_open(&j->file, j->file_dirfd, j->tmpfd, 0,
		    columns, g->n_columns, j->codec,
		    &(struct mb_datafile_size){ MB_DATAFILE_GROUP, 0 },
		    j->syncs, err);
	free(columns);
	mb_buf_addf(&path, "%s%s", j->path, j->file.name);
	free(j->path);
	j->path = mb_buf_take(&path);
	return rc;
}

static int
copy_row(struct joining *g, struct mb_parquet_cursor *const *cursors,
    const uint8_t *tops, struct mb_err *err)
{
	struct mb_parquet_entries e;

	for (size_t i = 0; i < g->n_columns; i++) {
		struct mb_parquet_column *to = g->j->file.columns[i];
		int rc = cursors[i] == NULL ? 1 :
		    mb_parquet_cursor_row(cursors[i], &e, err);

		if (rc <= 0)
			return rc < 0 ? -1 : mb_fail(err, MB_EDATA, "a column "
			    "ends before its row group");
		if (cursors[i] == NULL || e.v[0].level < tops[i])
			mb_parquet_put_null(to);
		else
			mb_datafile_put(to, g->columns[i]->type.kind, &e.v[0].value);
	}
	g->j->file.rows++;
	return mb_parquet_end_row(g->j->file.writer, err);
}

static int
copy_group(struct joining *g, const struct source *s, size_t group,
    struct mb_err *err)
{
	struct mb_parquet_cursor **cursors = mb_zalloc((g->n_columns + 1) *
	    sizeof (struct mb_parquet_cursor *));
	uint8_t *tops = mb_zalloc(g->n_columns + 1);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < g->n_columns; i++) {
		ssize_t at = find_leaf(s, g->columns[i]);

		if (at < 0)
			continue;
		tops[i] = mb_parquet_leaf(s->reader, (size_t)at)->top;
		rc = mb_parquet_cursor_open(&cursors[i], s->reader,
		    (size_t)at, group, err);
	}
	for (uint64_t row = 0; rc == 0 &&
	    row < mb_parquet_group_rows(s->reader, group); row++)
		rc = copy_row(g, cursors, tops, err);
	for (size_t i = 0; i < g->n_columns; i++)
		mb_parquet_cursor_close(cursors[i]);
	free(cursors);
	free(tops);
	return rc;
}

static int
join(struct joining *g, const struct mb_deltasmall_file *v, struct mb_err *err)
{
	int rc;

	for (size_t i = 0; i < g->n; i++)
		if (open_source(g, &g->v[i], v[i].action, err) < 0)
			return -1;
	rc = choose_columns(g);
	if (rc <= 0)
		return rc;
	if (open_target(g, err) < 0)
		return -1;
	for (size_t i = 0; i < g->n; i++)
		for (size_t k = 0; k < mb_parquet_n_groups(g->v[i].reader);
		    k++)
			if (copy_group(g, &g->v[i], k, err) < 0)
				return -1;
	return mb_datafile_finish(&g->j->file, g->j->meta, err) < 0 ? -1 : 1;
}

int
mb_deltajoin_run(struct mb_deltajoin *j, const struct mb_deltasmall_file *v,
    size_t n, struct mb_err *err)
{
	struct joining g = { .j = j, .n = n };
	int rc;

	j->file = (struct mb_datafile){ 0 };
	j->file_dirfd = j->dirfd;
	j->path = NULL;
	g.v = mb_realloc_array(NULL, n, sizeof *g.v);
	for (size_t i = 0; i < n; i++)
		g.v[i] = (struct source){ .fd = -1 };
	rc = join(&g, v, err);
	for (size_t i = 0; i < n; i++) {
		mb_parquet_reader_close(g.v[i].reader);
		if (g.v[i].fd >= 0)
			close(g.v[i].fd);
		free(g.v[i].path);
	}
	free(g.v);
	free(g.columns);
	return rc;
}

void
mb_deltajoin_release(struct mb_deltajoin *j)
{
	mb_datafile_close(&j->file);
	if (j->file_dirfd != j->dirfd)
		close(j->file_dirfd);
	free(j->path);
	j->path = NULL;
	j->file_dirfd = j->dirfd;
}
