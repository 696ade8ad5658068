#include "parquet/reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/load.h"
#include "parquet/bounds.h"
#include "parquet/cursor.h"
#include "parquet/pages.h"

struct mb_parquet_reader {
	int fd;
	char *name;
	struct mb_buf footer;
	struct mb_metadata meta;
};

static int
read_footer(struct mb_parquet_reader *r, uint64_t size, struct mb_err *err)
{
	char head[4], tail[8];
	uint32_t len;

	if (size < 12)
		return mb_fail(err, MB_EDATA, "not a Parquet file: it has "
		    "%" PRIu64 " bytes", size);
	if (mb_pages_read(r->fd, r->name, head, 4, 0, err) < 0 ||
	    mb_pages_read(r->fd, r->name, tail, 8, size - 8, err) < 0)
		return -1;
	if (memcmp(tail + 4, "PARE", 4) == 0)
		return mb_fail(err, MB_EDATA, "encrypted");
	if (memcmp(head, MB_PARQUET_MAGIC, 4) != 0 ||
	    memcmp(tail + 4, MB_PARQUET_MAGIC, 4) != 0)
		return mb_fail(err, MB_EDATA, "not a Parquet file: at byte "
		    "%" PRIu64 " there is no PAR1", memcmp(head,
		    MB_PARQUET_MAGIC, 4) != 0 ? 0 : size - 4);
	len = mb_load_4(tail);
	if (len > size - 12)
		return mb_fail(err, MB_EDATA, "at byte %" PRIu64 ": a footer "
		    "of %" PRIu32 " bytes doesn't fit", size - 8, len);
	mb_buf_reserve(&r->footer, len + 1u);	/* never NULL */
	if (mb_pages_read(r->fd, r->name, r->footer.p, len, size - 8 - len,
	    err) < 0)
		return -1;
	r->footer.len = len;
	return mb_metadata_read(&r->meta, (struct mb_str){ r->footer.p, len },
	    size - 8 - len, err);
}

int
mb_parquet_reader_open(struct mb_parquet_reader **out, int fd,
    const char *name, struct mb_err *err)
{
	struct mb_parquet_reader *r = mb_zalloc(sizeof *r);
	struct stat st;

	*out = NULL;
	*r = (struct mb_parquet_reader){ .fd = fd, .name = mb_strdup(name) };
	if (fstat(fd, &st) < 0) {
		mb_fail_sys(err, "%s", name);
		goto fail;
	}
	if (read_footer(r, (uint64_t)st.st_size, err) < 0) {
		mb_wrap(err, "%s", name);
		goto fail;
	}
	*out = r;
	return 0;
fail:
	mb_parquet_reader_close(r);
	return -1;
}

void
mb_parquet_reader_close(struct mb_parquet_reader *r)
{
	if (r == NULL)
		return;
	mb_metadata_release(&r->meta);
	mb_buf_release(&r->footer);
	free(r->name);
	free(r);
}

size_t
mb_parquet_n_leaves(const struct mb_parquet_reader *r)
{
	return r->meta.n_leaves;
}

const struct mb_parquet_leaf *
mb_parquet_leaf(const struct mb_parquet_reader *r, size_t i)
{
	return &r->meta.leaves[i].leaf;
}

static bool
is_path(const struct mb_parquet_leaf *l, const char *const *path, size_t n)
{
	if (l->n_path != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(path[i], "*") != 0 &&
		    !mb_str_eq(l->path[i], mb_str(path[i])))
			return false;
	return true;
}

ssize_t
mb_parquet_find(const struct mb_parquet_reader *r, const char *const *path,
    size_t n)
{
	for (size_t i = 0; i < r->meta.n_leaves; i++)
		if (is_path(&r->meta.leaves[i].leaf, path, n))
			return (ssize_t)i;
	return -1;
}

size_t
mb_parquet_n_groups(const struct mb_parquet_reader *r)
{
	return r->meta.n_groups;
}

uint64_t
mb_parquet_group_rows(const struct mb_parquet_reader *r, size_t group)
{
	return r->meta.groups[group].rows;
}

static bool
take_claim(const struct mb_meta_leaf *l, struct mb_str s,
    union mb_parquet_value *out)
{
	uint32_t width = l->physical == MB_BOOLEAN ? 1 : mb_meta_width(l);

	return (width == 0 || s.len == width) && mb_meta_value(l, s, out);
}

void
mb_parquet_claims(const struct mb_parquet_reader *r, size_t leaf,
    size_t group, struct mb_parquet_claims *out)
{
	const struct mb_meta_leaf *l = &r->meta.leaves[leaf];
	const struct mb_meta_chunk *c = &r->meta.groups[group].chunks[leaf];
	enum mb_order order = mb_order_of(l->leaf.type);
	struct mb_bounds b = { .has = true };

	*out = (struct mb_parquet_claims){
		.has_null_count = c->has_null_count,
		.null_count = c->null_count };
	if (l->leaf.type.kind == MB_PARQUET_DECIMAL)
		order = MB_ORDER_WIDE;		/* here all are */
	if (!l->has_order || l->leaf.type.kind == MB_PARQUET_OTHER ||
	    !c->has_min || !c->has_max || !take_claim(l, c->min, &b.min) ||
	    !take_claim(l, c->max, &b.max))
		return;
	if ((order == MB_ORDER_FLOAT || order == MB_ORDER_DOUBLE) &&
	    (isnan(b.min.d) || isnan(b.max.d)))
		return;
	mb_bounds_settle(&b, order);
	out->has_bounds = mb_bound_compare(order, &b.min, &b.max) <= 0;
	out->min = b.min;
	out->max = b.max;
}

int
mb_parquet_cursor_open(struct mb_parquet_cursor **out,
    struct mb_parquet_reader *r, size_t leaf, size_t group,
    struct mb_err *err)
{
	const struct mb_meta_leaf *l = &r->meta.leaves[leaf];
	const struct mb_meta_chunk *c = &r->meta.groups[group].chunks[leaf];
	const char *why = l->leaf.refusal != NULL ? l->leaf.refusal :
	    c->refusal;
	struct mb_buf path = { 0 };

	*out = NULL;
	for (size_t i = 0; i < l->leaf.n_path; i++) {
		if (i > 0)
			mb_buf_addc(&path, '.');
		mb_buf_add(&path, l->leaf.path[i].p, l->leaf.path[i].len);
	}
	if (why != NULL) {
		mb_fail(err, MB_EDATA, "%s: column %s: %s", r->name,
		    mb_buf_str(&path), why);
		mb_buf_release(&path);
		return -1;
	}
	*out = mb_cursor_make(r->fd, r->name, &path, l, c,
	    r->meta.groups[group].rows);
	return 0;
}
