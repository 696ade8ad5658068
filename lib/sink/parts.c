#include "sink/parts.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/hash.h"
#include "sink/hive.h"

enum { MAX_NAME = 255 };

struct part {
	char *path;		/* "day=2026-11-25/" */
	uint64_t hash;
	struct mb_buf rows;
	bool has_rows;		/* some were routed here, perhaps flushed */
};

struct mb_parts {
	const char *name;
	bool gzip;
	uint64_t seed;
	struct part *v;		/* as they came */
	size_t n, cap;
	uint32_t *table;	/* position + 1 by hash; 0 is free */
	size_t table_size;
	size_t waiting;		/* bytes in all buffers but the last one's */
	size_t last;		/* the part that was routed to last */
	struct mb_buf path;
};

void
mb_parts_open(struct mb_parts **out, const char *name, bool gzip)
{
	struct mb_parts *p = mb_zalloc(sizeof *p);
	struct mb_err ignored = { 0 };

	*p = (struct mb_parts){ .name = name, .gzip = gzip };
	/* Values are hostile; the order of files doesn't depend on it. */
	(void)!mb_random(&p->seed, sizeof p->seed, &ignored);
	*out = p;
}

void
mb_parts_close(struct mb_parts *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].path);
		mb_buf_release(&p->v[i].rows);
	}
	free(p->v);
	free(p->table);
	mb_buf_release(&p->path);
	free(p);
}

static uint32_t *
find_slot(const struct mb_parts *p, struct mb_str path, uint64_t hash)
{
	size_t mask = p->table_size - 1;

	for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
		const struct part *part = &p->v[p->table[i] - 1];

		if (p->table[i] == 0 || (part->hash == hash &&
		    strcmp(part->path, path.p) == 0))
			return &p->table[i];
	}
}

static void
grow_table(struct mb_parts *p)
{
	p->table_size = p->table_size == 0 ? 64 : p->table_size * 2;
	free(p->table);
	p->table = mb_zalloc(p->table_size * sizeof *p->table);
	for (size_t i = 0; i < p->n; i++)
		*find_slot(p, mb_str(p->v[i].path), p->v[i].hash) =
		    (uint32_t)i + 1;
}

static size_t
find_part(struct mb_parts *p)
{
	struct mb_str path = { mb_buf_str(&p->path), p->path.len };
	uint64_t hash = mb_hash64(path.p, path.len, p->seed);
	uint32_t *slot;

	if (2 * (p->n + 1) > p->table_size)
		grow_table(p);
	slot = find_slot(p, path, hash);
	if (*slot == 0) {
		if (p->n == p->cap) {
			p->cap = p->cap * 2 + 16;
			p->v = mb_realloc_array(p->v, p->cap, sizeof *p->v);
		}
		p->v[p->n++] = (struct part){
			.path = mb_strdup(path.p), .hash = hash
		};
		*slot = (uint32_t)p->n;
	}
	return *slot - 1;
}

/* Count what has been appended to the last part. */
static void
settle_last(struct mb_parts *p)
{
	if (p->last < p->n)
		p->waiting += p->v[p->last].rows.len;
	p->last = SIZE_MAX;
}

int
mb_parts_route(struct mb_parts *p, const struct mb_str *names,
    const struct mb_value *values, size_t n, struct mb_buf **out,
    bool *is_new, const char **bad, struct mb_err *err)
{
	struct part *part;

	*bad = NULL;
	mb_buf_reset(&p->path);
	for (size_t i = 0; i < n; i++) {
		size_t before = p->path.len;

		mb_hive_put(&p->path, names[i], values[i].kind == MB_NULL ?
		    (struct mb_str){ "", 0 } : mb_value_str(values[i]));
		if (p->path.len - before > MAX_NAME + 1) {
			*bad = "a partition's value that is too long for the "
			    "name of a directory";
			return 0;
		}
	}
	settle_last(p);
	p->last = find_part(p);
	if (p->n > MB_PARTS_MAX)
		return mb_fail(err, MB_EDATA, "--partition-by: more than %d "
		    "partitions in a batch", MB_PARTS_MAX);
	part = &p->v[p->last];
	p->waiting -= part->rows.len;
	*is_new = !part->has_rows;
	part->has_rows = true;
	*out = &part->rows;
	return 0;
}

bool
mb_parts_is_full(const struct mb_parts *p)
{
	return p->waiting + (p->last < p->n ? p->v[p->last].rows.len : 0) >
	    MB_PARTS_MEMORY;
}

/* As a gzip member of its own. */
static int
compress_rows(const struct mb_buf *rows, struct mb_buf *out,
    struct mb_err *err)
{
	z_stream z = { 0 };
	int rc;

	/* 31: a gzip header, which zlib writes without a time. */
	if (deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return mb_fail(err, MB_EBUG, "zlib");
	mb_buf_reset(out);
	mb_buf_reserve(out, deflateBound(&z, rows->len));
	z.next_in = (unsigned char *)rows->p;
	z.avail_in = (unsigned)rows->len;
	z.next_out = (unsigned char *)out->p;
	z.avail_out = (unsigned)out->cap;
	rc = deflate(&z, Z_FINISH);
	out->len = out->cap - z.avail_out;
	deflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : mb_fail(err, MB_EBUG, "zlib");
}

int
mb_parts_flush(struct mb_parts *p, struct mb_tree *t, struct mb_err *err)
{
	struct mb_buf small = { 0 };
	int rc = 0;

	settle_last(p);
	for (size_t i = 0; i < p->n && rc == 0; i++) {
		struct part *part = &p->v[i];
		const struct mb_buf *bytes = &part->rows;

		if (part->rows.len == 0)
			continue;
		if (p->gzip) {
			rc = compress_rows(&part->rows, &small, err);
			bytes = &small;
		}
		mb_buf_reset(&p->path);
		mb_buf_adds(&p->path, part->path);
		mb_buf_adds(&p->path, p->name);
		if (rc == 0)
			rc = mb_tree_append(t, mb_buf_str(&p->path), bytes->p,
			    bytes->len, err);
		mb_buf_release(&part->rows);
	}
	p->waiting = 0;
	mb_buf_release(&small);
	return rc;
}
