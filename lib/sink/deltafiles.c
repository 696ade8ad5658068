#include "sink/deltafiles.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/line.h"
#include "delta/fields.h"
#include "delta/stats.h"
#include "sink/apart.h"
#include "sink/datafile.h"
#include "sink/hive.h"

enum {
	MAX_PARTITIONS = 100000,	/* of one batch */
	/*
	 * The first partitions are written as their rows come; rows of
	 * further ones wait, since each file that is written takes memory.
	 */
	AT_ONCE = 8,
	/* So many files are open until the commit, their syncs under way. */
	UNSETTLED = 64,
};

/* What a file takes when others are written beside it. */
static const struct mb_datafile_size shared = {
	.group_bytes = MB_DATAFILE_GROUP / AT_ONCE, .page_bytes = 128 * 1024,
};
static const struct mb_datafile_size alone = {
	.group_bytes = MB_DATAFILE_GROUP,
};

/* A column of the table: where its value is, and where it goes. */
struct route {
	const struct mb_delta_column *to;
	struct mb_type type;
	size_t from;		/* in the columns of the batch */
	bool is_absent;		/* not in the batch: null */
};

/* The file of a partition. */
struct file {
	bool is_begun;		/* else its rows wait */
	struct mb_datafile data;
	int dirfd;		/* where it is; -1: not open, the table's own
				   is borrowed */
	char *dir;		/* below the table, with a slash at its end */
	char *path;		/* as it stands in the log */
	char *partition;
};

struct mb_deltafiles {
	struct mb_deltafiles_options o;
	struct route *data, *partition;
	size_t n_data, n_partition;
	struct file *v;
	size_t n, cap;
	struct mb_names keys;	/* of the files: their partition objects */
	struct mb_apart *waiting;	/* rows of files not begun; NULL: none */
	struct mb_value *row;	/* [n_data] */
	struct mb_buf key, value;
	/* The directory of the partition in hand, as in Hive; with a slash. */
	struct mb_buf dir;
};

static struct route
make_route(const struct mb_deltafiles *f, const struct mb_delta_column *to)
{
	const struct mb_column *c = mb_columns_find(f->o.columns, to->name);

	if (c == NULL)
		return (struct route){ .to = to, .is_absent = true };
	return (struct route){ .to = to, .type = c->type,
		.from = (size_t)(c - f->o.columns->v),
		.is_absent = !c->is_in_batch };
}

static void
make_routes(struct mb_deltafiles *f)
{
	const struct mb_delta_schema *s = f->o.schema;
	const struct mb_names *partitions = &f->o.meta->partition_columns;
	const struct mb_delta_column *spare = NULL;

	f->data = mb_realloc_array(NULL, s->n + 1, sizeof *f->data);
	f->partition = mb_realloc_array(NULL, partitions->n + 1,
	    sizeof *f->partition);
	/* In their own order, which is that of the directories. */
	for (size_t i = 0; i < partitions->n; i++)
		f->partition[f->n_partition++] = make_route(f,
		    mb_delta_schema_find(s, partitions->v[i].p));
	for (size_t i = 0; i < s->n; i++) {
		struct route r = make_route(f, &s->v[i]);

		if (r.to->is_partition)
			continue;
		if (!r.is_absent)
			f->data[f->n_data++] = r;
		else if (r.to->is_flat && spare == NULL)
			spare = r.to;
	}
	/* There are no files without columns. */
	if (f->n_data == 0 && spare != NULL)
		f->data[f->n_data++] = make_route(f, spare);
}

int
mb_deltafiles_open(struct mb_deltafiles **out,
    const struct mb_deltafiles_options *options, struct mb_err *err)
{
	struct mb_deltafiles *f = mb_zalloc(sizeof *f);

	f->o = *options;
	make_routes(f);
	f->row = mb_realloc_array(NULL, f->n_data + 1, sizeof *f->row);
	*out = f;
	if (f->n_data > 0)
		return 0;
	mb_deltafiles_close(f);
	*out = NULL;
	return mb_fail(err, MB_EUSAGE, "%s: has no column that could be "
	    "written", options->home->log.place);
}

/* In the log the path is a URI, so what was escaped is escaped once more. */
static void
put_uri(struct mb_buf *out, struct mb_str path)
{
	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.p[i];

		if (c >= 0x80 || c == '%')
			mb_buf_addf(out, "%%%02X", c);
		else
			mb_buf_addc(out, (char)c);
	}
}

/*
 * Open the directory `dir` below the table, made and durable; *fd is the
 * caller's.
 */
static int
open_directory(const struct mb_deltafiles *f, char *dir, int *fd,
    struct mb_err *err)
{
	char *p = dir, *slash;
	int at = f->o.home->rootfd, next, rc = 0;

	for (; rc == 0 && (slash = strchr(p, '/')) != NULL; p = slash + 1) {
		*slash = '\0';
		next = -1;
		if (strlen(p) > NAME_MAX)
			rc = mb_fail(err, MB_EDATA, "partition %.60s…: too "
			    "long for a directory's name", p);
		else if (mkdirat(at, p, 0777) < 0 && errno != EEXIST)
			rc = mb_fail_sys(err, "make directory %s", p);
		else if ((next = mb_openat(at, p, O_RDONLY | O_DIRECTORY |
		    O_NOFOLLOW, 0)) < 0)
			rc = mb_fail_sys(err, "open directory %s", p);
		else
			rc = mb_fsync(at, "the directory above", err);
		*slash = '/';
		if (at != f->o.home->rootfd)
			close(at);
		at = next;
	}
	*fd = at;
	if (rc == 0)
		return 0;
	if (at != f->o.home->rootfd && at >= 0)
		close(at);
	*fd = f->o.home->rootfd;
	return -1;
}

static int
begin_file(struct mb_deltafiles *f, size_t i,
    const struct mb_datafile_size *size, struct mb_err *err)
{
	struct file *file = &f->v[i];
	struct mb_datafile_column *columns = mb_realloc_array(NULL, f->n_data,
	    sizeof *columns);
	int rc = 0;

	file->is_begun = true;
	for (size_t k = 0; k < f->n_data; k++)
		columns[k] = (struct mb_datafile_column){
			f->data[k].to->name, f->data[k].to->type
		};
	if (f->o.home->is_dry)
		file->dirfd = MB_DATAFILE_NOWHERE;
	else
		rc = open_directory(f, file->dir, &file->dirfd, err);
	if (rc == 0)
		rc = mb_datafile_open(&file->data, file->dirfd, f->o.home->log.tmpfd,
		    (unsigned)i, columns, f->n_data, f->o.codec, size,
		    f->o.home->syncs, err);
	free(columns);
	mb_buf_reset(&f->value);
	put_uri(&f->value, mb_str(file->dir));
	mb_buf_adds(&f->value, file->data.name);
	file->path = mb_strdup(mb_buf_str(&f->value));
	return rc < 0 ? mb_wrap(err, "%s", f->o.home->log.place) : 0;
}

/* The bounds of the narrow integers, for which mb_type has no kind. */
static const char *
check_width(enum mb_parquet_kind kind, int64_t i)
{
	if ((kind == MB_PARQUET_INT8 && (i < INT8_MIN || i > INT8_MAX)) ||
	    (kind == MB_PARQUET_INT16 && (i < INT16_MIN || i > INT16_MAX)))
		return "out of range";
	return NULL;
}

/* The value as one of the column's type; NULL, or why it doesn't fit. */
static const char *
convert(const struct route *r, struct mb_value v, union mb_parquet_value *out,
    bool *is_null)
{
	struct mb_cell cell;
	const char *why = mb_cell_set(&cell, r->type, v);

	if (why != NULL)
		return why;
	*is_null = cell.kind == MB_CELL_NULL;
	switch (cell.kind) {
	case MB_CELL_NULL:
		return r->to->is_nullable ? NULL :
		    "null, which the table forbids";
	case MB_CELL_INT:
		out->i = cell.i;
		return check_width(r->to->type.kind, cell.i);
	case MB_CELL_REAL:
		out->d = cell.d;
		return NULL;
	case MB_CELL_DECIMAL:
		mb_number_widen(&cell.n, r->to->type.scale);
		out->decimal = cell.n.units;
		return NULL;
	case MB_CELL_BYTES:
		out->bytes = cell.text;
		return r->to->type.kind != MB_PARQUET_TEXT ||
		    mb_is_utf8(cell.text) ? NULL : "not UTF-8";
	}
	return "of no kind";
}

/* f->key: the partition of the row.  Empty text is null there. */
static const char *
make_key(struct mb_deltafiles *f, const struct mb_value *values,
    size_t *column)
{
	mb_buf_reset(&f->key);
	mb_buf_reset(&f->dir);
	mb_buf_addc(&f->key, '{');
	for (size_t i = 0; i < f->n_partition; i++) {
		const struct route *r = &f->partition[i];
		union mb_parquet_value v;
		bool is_null = true;
		const char *why = NULL;

		*column = r->from;
		mb_buf_reset(&f->value);
		if (!r->is_absent)
			why = convert(r, values[r->from], &v, &is_null);
		if (why == NULL && !is_null && !mb_delta_partition_value(
		    &f->value, r->to->type, v))
			why = "out of range";
		if (why == NULL && !is_null && !mb_is_utf8((struct mb_str){
		    f->value.p == NULL ? "" : f->value.p, f->value.len }))
			why = "not UTF-8, and partition values are text";
		if (why != NULL)
			return why;
		mb_hive_put(&f->dir, mb_str(r->to->name), (struct mb_str){
		    f->value.p == NULL ? "" : f->value.p, f->value.len });
		if (f->value.len == 0) {
			mb_put_name(&f->key, r->to->name);
			mb_buf_adds(&f->key, "null");
		} else {
			mb_put_text(&f->key, r->to->name, (struct mb_str){
			    f->value.p, f->value.len });
		}
	}
	mb_buf_addc(&f->key, '}');
	return NULL;
}

/* The file of the partition in f->key. */
static int
find_file(struct mb_deltafiles *f, size_t *out, struct mb_err *err)
{
	struct mb_str key = { f->key.p, f->key.len };
	ssize_t i = f->n_partition == 0 && f->n > 0 ? 0 :
	    mb_names_index(&f->keys, key);

	*out = (size_t)i;
	if (i >= 0)
		return 0;
	if (f->n == MAX_PARTITIONS)
		return mb_fail(err, MB_EDATA, "%s: rows of more than %d "
		    "partitions in one batch: cut smaller ones", f->o.home->log.place,
		    MAX_PARTITIONS);
	mb_names_add(&f->keys, key);
	if (f->n == f->cap) {
		f->cap = f->cap * 2 + AT_ONCE;
		f->v = mb_realloc_array(f->v, f->cap, sizeof *f->v);
	}
	*out = f->n++;
	f->v[*out] = (struct file){ .dirfd = -1,
		.dir = mb_strdup(mb_buf_str(&f->dir)),
		.partition = mb_strdup(mb_buf_str(&f->key)) };
	return *out < AT_ONCE ? begin_file(f, *out, f->n_partition == 0 ?
	    &alone : &shared, err) : 0;
}

/* Put the row in f->row: 1, or 0 and nothing was put. */
static int
put_row(struct mb_deltafiles *f, struct file *file, size_t *column,
    const char **why, struct mb_err *err)
{
	union mb_parquet_value v;
	bool is_null;

	for (size_t i = 0; i < f->n_data; i++) {
		const struct route *r = &f->data[i];

		*why = convert(r, f->row[i], &v, &is_null);
		if (*why != NULL) {
			*column = r->from;
			mb_parquet_drop_row(file->data.writer);
			return 0;
		}
		if (is_null)
			mb_parquet_put_null(file->data.columns[i]);
		else
			mb_datafile_put(file->data.columns[i],
			    r->to->type.kind, &v);
	}
	if (mb_parquet_end_row(file->data.writer, err) < 0)
		return mb_wrap(err, "%s", f->o.home->log.place);
	file->data.rows++;
	return 1;
}

/* The row in f->row waits, if its values fit: what waits is good. */
static int
keep_row(struct mb_deltafiles *f, size_t file, size_t *column,
    const char **why, struct mb_err *err)
{
	union mb_parquet_value ignored;
	bool is_null;
	int fd = -1;

	for (size_t i = 0; i < f->n_data; i++) {
		*why = convert(&f->data[i], f->row[i], &ignored, &is_null);
		if (*why != NULL) {
			*column = f->data[i].from;
			return 0;
		}
	}
	if (f->waiting == NULL)
		mb_apart_open(&f->waiting, f->n_data);
	mb_apart_add(f->waiting, file, f->row);
	if (!mb_apart_is_full(f->waiting))
		return 1;
	if (mb_apart_needs_file(f->waiting) &&
	    mb_deltahome_scratch(f->o.home, &fd, err) < 0)
		return -1;
	return mb_apart_spill(f->waiting, fd, err) < 0 ? -1 : 1;
}

int
mb_deltafiles_put(struct mb_deltafiles *f, const struct mb_value *values,
    size_t *column, const char **why, struct mb_err *err)
{
	size_t i;

	*why = make_key(f, values, column);
	if (*why != NULL)
		return 0;
	if (find_file(f, &i, err) < 0)
		return -1;
	for (size_t k = 0; k < f->n_data; k++)
		f->row[k] = f->data[k].is_absent ? mb_value_null() :
		    values[f->data[k].from];
	return f->v[i].is_begun ? put_row(f, &f->v[i], column, why, err) :
	    keep_row(f, i, column, why, err);
}

const char *
mb_deltafiles_check(const struct mb_delta_column *to, struct mb_type type,
    struct mb_value v)
{
	struct route r = { .to = to, .type = type };
	union mb_parquet_value value;
	bool is_null;

	return convert(&r, v, &value, &is_null);
}

/* Many values of a column; false: not all of them fit. */
static bool
convert_views(struct mb_cells *out, const struct mb_delta_column *to,
    struct mb_type type, struct mb_views views)
{
	enum mb_parquet_kind kind = to->type.kind;

	if (!mb_cells_set(out, type, views) ||
	    (out->has_null && !to->is_nullable))
		return false;
	if (kind == MB_PARQUET_INT8 || kind == MB_PARQUET_INT16)
		for (size_t i = 0; i < views.n; i++)
			if (!out->is_null[i] &&
			    check_width(kind, out->i[i]) != NULL)
				return false;
	return true;
}

bool
mb_deltafiles_check_views(const struct mb_delta_column *to,
    struct mb_type type, struct mb_views views)
{
	struct mb_cells cells;

	return convert_views(&cells, to, type, views);
}

static bool
put_cells(struct mb_parquet_column *c, const struct route *r,
    struct mb_views views)
{
	struct mb_cells cells;
	const bool *is_null;

	if (!convert_views(&cells, r->to, r->type, views))
		return false;
	is_null = cells.has_null ? cells.is_null : NULL;
	switch (cells.kind) {
	case MB_CELL_INT:
		mb_parquet_put_ints(c, cells.i, is_null, views.n);
		return true;
	case MB_CELL_REAL:
		mb_parquet_put_doubles(c, cells.d, is_null, views.n);
		return true;
	case MB_CELL_DECIMAL:
		mb_parquet_put_decimals(c, cells.n, is_null, views.n);
		return true;
	default:
		mb_parquet_put_texts(c, cells.text, is_null, views.n);
		return true;
	}
}

int
mb_deltafiles_put_rows(struct mb_deltafiles *f,
    const struct mb_intake_rows *rows, struct mb_err *err)
{
	struct mb_views views = { .isa = rows->isa, .base = rows->base, .n = rows->n,
		.is_ascii = mb_is_ascii(rows->raw) };
	struct file *file;
	size_t i, column;

	if (f->n_partition > 0)
		return 0;
	if (f->n == 0)
		(void)make_key(f, NULL, &column);
	if (find_file(f, &i, err) < 0)
		return -1;
	file = &f->v[i];
	for (i = 0; i < f->n_data; i++) {
		const struct route *r = &f->data[i];

		for (size_t k = 0; r->is_absent && k < rows->n; k++)
			mb_parquet_put_null(file->data.columns[i]);
		if (r->is_absent)
			continue;
		views.v = rows->view[r->from];
		if (!put_cells(file->data.columns[i], r, views)) {
			mb_parquet_drop_row(file->data.writer);
			return 0;
		}
	}
	if (mb_parquet_end_rows(file->data.writer, rows->n, err) < 0)
		return mb_wrap(err, "%s", f->o.home->log.place);
	file->data.rows += rows->n;
	return 1;
}

/* Descriptors of a file that is durable: there may be many such. */
static void
let_go(const struct mb_deltafiles *f, struct file *file)
{
	mb_datafile_let_go(&file->data);
	if (file->dirfd >= 0 && file->dirfd != f->o.home->rootfd)
		close(file->dirfd);
	file->dirfd = -1;
}

static void
close_file(struct mb_deltafiles *f, struct file *file)
{
	let_go(f, file);
	mb_datafile_close(&file->data);
	free(file->dir);
	free(file->path);
	free(file->partition);
}

/* Rows that have waited. */
static int
write_waiting(struct mb_deltafiles *f, size_t i, struct mb_err *err)
{
	const char *why;
	size_t column;
	int rc;

	if (begin_file(f, i, &alone, err) < 0)
		return -1;
	mb_apart_begin(f->waiting, i);
	while ((rc = mb_apart_next(f->waiting, f->row, err)) > 0) {
		rc = put_row(f, &f->v[i], &column, &why, err);
		if (rc == 0)
			rc = mb_fail(err, MB_EBUG, "%s: %s", f->o.home->log.place, why);
		if (rc < 0)
			break;
	}
	return rc;
}

/* One of more files than can be open until the commit. */
static int
settle_early(struct mb_deltafiles *f, struct file *file, struct mb_err *err)
{
	if (mb_datafile_name(&file->data, err) < 0 ||
	    mb_datafile_settle(&file->data, err) < 0)
		return mb_wrap(err, "%s", f->o.home->log.place);
	let_go(f, file);
	return 0;
}

static int
finish_file(struct mb_deltafiles *f, size_t i, struct mb_err *err)
{
	struct file *file = &f->v[i];

	if (!file->is_begun && write_waiting(f, i, err) < 0)
		return -1;
	if (mb_datafile_finish(&file->data, f->o.meta, err) < 0)
		return mb_wrap(err, "%s", f->o.home->log.place);
	return i < UNSETTLED ? 0 : settle_early(f, &f->v[i - UNSETTLED], err);
}

static bool
has_rows(const struct mb_deltafiles *f, size_t i)
{
	return f->v[i].is_begun ? f->v[i].data.rows > 0 :
	    f->waiting != NULL && mb_apart_has(f->waiting, i);
}

int
mb_deltafiles_finish(struct mb_deltafiles *f, struct mb_err *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->n; i++) {
		struct file *file = &f->v[i];

		/* A partition of which all rows were rejected is none. */
		if (has_rows(f, i)) {
			if (finish_file(f, i, err) < 0)
				return -1;
		} else {
			close_file(f, file);
			*file = (struct file){ .dirfd = -1 };
		}
	}
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].partition != NULL)
			f->v[kept++] = f->v[i];
	f->n = kept;
	mb_apart_close(f->waiting);
	f->waiting = NULL;
	return 0;
}

int
mb_deltafiles_name(struct mb_deltafiles *f, struct mb_err *err)
{
	for (size_t i = 0; i < f->n; i++)
		if (mb_datafile_name(&f->v[i].data, err) < 0)
			return mb_wrap(err, "%s", f->o.home->log.place);
	return 0;
}

int
mb_deltafiles_settle(struct mb_deltafiles *f, struct mb_err *err)
{
	for (size_t i = 0; i < f->n; i++)
		if (mb_datafile_settle(&f->v[i].data, err) < 0)
			return mb_wrap(err, "%s", f->o.home->log.place);
	return 0;
}

void
mb_deltafiles_unname(struct mb_deltafiles *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct file *file = &f->v[i];

		if (file->data.is_named && file->dirfd < 0) {
			mb_buf_reset(&f->value);
			mb_buf_addf(&f->value, "%s%s", file->dir,
			    file->data.name);
			unlinkat(f->o.home->rootfd, mb_buf_str(&f->value), 0);
		} else {
			mb_datafile_unname(&file->data);
		}
	}
}

size_t
mb_deltafiles_n(const struct mb_deltafiles *f)
{
	return f->n;
}

struct mb_deltafile
mb_deltafiles_at(const struct mb_deltafiles *f, size_t i)
{
	const struct file *file = &f->v[i];

	return (struct mb_deltafile){ .path = file->path,
		.partition = file->partition, .stats = file->data.stats,
		.size = file->data.size, .rows = file->data.rows };
}

void
mb_deltafiles_close(struct mb_deltafiles *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n; i++)
		close_file(f, &f->v[i]);
	free(f->v);
	free(f->data);
	free(f->partition);
	free(f->row);
	mb_apart_close(f->waiting);
	mb_names_release(&f->keys);
	mb_buf_release(&f->key);
	mb_buf_release(&f->value);
	mb_buf_release(&f->dir);
	free(f);
}
