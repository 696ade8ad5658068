#include "parquet/footer.h"

#include <limits.h>
#include <stdlib.h>
#include <strings.h>

#include "parquet/thrift.h"

enum { MAX_PATH = 8 };		/* nodes from the root to a leaf */

/* A column's place in a row group; bytes stand in the footer's arena. */
struct mb_footer_chunk {
	uint64_t dictionary_off, data_off;	/* dictionary: 0 is none */
	uint64_t size, raw_size, n_entries, n_nulls;
	uint32_t code_pages, value_pages;
	enum mb_encoding value_encoding;
	bool has_bounds, min_is_cut, max_is_cut;
	struct mb_str min, max;
	size_t column_index, offset_index;	/* in the buffers */
	size_t column_index_len, offset_index_len;	/* 0: none */
};

/*
 * The schema
 */

static int
check_type(const struct mb_parquet_node *n, struct mb_err *err)
{
	struct mb_parquet_type t = n->type;

	if (t.kind == MB_PARQUET_OTHER || (t.kind == MB_PARQUET_DECIMAL &&
	    (t.precision < 1 || t.precision > MB_DIGITS ||
	    t.scale > t.precision)))
		return mb_fail(err, MB_EUSAGE, "column %s: there is no such "
		    "type", n->name);
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* Spark can't tell names apart that differ in case only. */
static int
check_roots(const char **names, size_t n, struct mb_err *err)
{
	qsort(names, n, sizeof *names, compare_names);
	for (size_t i = 1; i < n; i++)
		if (strcasecmp(names[i - 1], names[i]) == 0)
			return mb_fail(err, MB_EUSAGE, "two columns of one "
			    "name: %s and %s", names[i - 1], names[i]);
	return 0;
}

static void
add_leaf(struct mb_footer *f, const struct mb_parquet_node *const *path,
    size_t n)
{
	struct mb_footer_leaf *leaf = &f->leaves[f->n_leaves++];
	struct mb_buf name = { 0 };

	leaf->path = mb_arena_alloc(&f->arena, n * sizeof *leaf->path);
	leaf->n_path = n;
	leaf->type = path[n - 1]->type;
	for (size_t i = 0; i < n; i++) {
		leaf->path[i] = mb_str(path[i]->name);
		if (i > 0)
			mb_buf_addc(&name, '.');
		mb_buf_adds(&name, path[i]->name);
		leaf->top += path[i]->repetition != MB_PARQUET_REQUIRED;
		if (path[i]->repetition == MB_PARQUET_REPEATED)
			leaf->has_repeats = true;
	}
	leaf->name = mb_arena_dup(&f->arena, name.p, name.len);
	mb_buf_release(&name);
}

/* Walk the tree; `left` counts what each level still lacks. */
static int
walk_schema(struct mb_footer *f, struct mb_err *err)
{
	const struct mb_parquet_node *path[MAX_PATH];
	uint32_t left[MAX_PATH];
	const char **roots = mb_realloc_array(NULL, f->n_schema,
	    sizeof *roots);
	size_t depth = 0, n_roots = 0, repeats;
	int rc = -1;

	for (size_t i = 0; i < f->n_schema; i++) {
		const struct mb_parquet_node *n = &f->schema[i];

		if (depth == MAX_PATH) {
			mb_fail(err, MB_EUSAGE, "column %s: too deep", n->name);
			goto out;
		}
		if (depth == 0)
			roots[n_roots++] = n->name;
		path[depth] = n;
		repeats = 0;
		for (size_t k = 0; k <= depth; k++)
			repeats += path[k]->repetition == MB_PARQUET_REPEATED;
		if (repeats > 1) {
			mb_fail(err, MB_EUSAGE, "column %s: a list in a list",
			    n->name);
			goto out;
		}
		if (n->n_children > 0) {
			left[depth++] = n->n_children;
			continue;
		}
		if (check_type(n, err) < 0)
			goto out;
		add_leaf(f, path, depth + 1);
		while (depth > 0 && --left[depth - 1] == 0)
			depth--;
	}
	if (depth > 0)
		mb_fail(err, MB_EBUG, "schema: a group lacks children");
	else
		rc = check_roots(roots, n_roots, err);
out:
	free(roots);
	return rc;
}

int
mb_footer_open(struct mb_footer *f, const struct mb_parquet_options *o,
    struct mb_err *err)
{
	if (o->n_schema == 0)
		return mb_fail(err, MB_EUSAGE, "a table needs a column");
	f->codec = o->codec;
	f->version = mb_arena_dup(&f->arena, o->version, strlen(o->version));
	f->n_schema = o->n_schema;
	f->schema = mb_arena_alloc(&f->arena, o->n_schema *
	    sizeof *f->schema);
	memcpy(f->schema, o->schema, o->n_schema * sizeof *f->schema);
	for (size_t i = 0; i < o->n_schema; i++)
		f->schema[i].name = mb_arena_dup(&f->arena,
		    o->schema[i].name, strlen(o->schema[i].name));
	f->leaves = mb_zalloc(o->n_schema * sizeof *f->leaves);
	return walk_schema(f, err);
}

void
mb_footer_release(struct mb_footer *f)
{
	for (size_t i = 0; i < f->n_groups; i++)
		free(f->groups[i].chunks);
	free(f->groups);
	free(f->leaves);
	mb_arena_release(&f->arena);
	mb_buf_release(&f->column_indexes);
	mb_buf_release(&f->offset_indexes);
	*f = (struct mb_footer){ 0 };
}

static void
put_empty(struct mb_thrift_out *o, int id)
{
	mb_thrift_begin(o, id);
	mb_thrift_end(o);
}

/* ConvertedType and what belongs to it, for readers that know nothing newer. */
static enum mb_converted
converted(struct mb_parquet_type t)
{
	switch (t.kind) {
	case MB_PARQUET_INT8:
		return MB_INT_8;
	case MB_PARQUET_INT16:
		return MB_INT_16;
	case MB_PARQUET_TEXT:
		return MB_UTF8;
	case MB_PARQUET_DATE:
		return MB_CONVERTED_DATE;
	case MB_PARQUET_TIMESTAMP:
		return MB_TIMESTAMP_MICROS;
	case MB_PARQUET_DECIMAL:
		return MB_CONVERTED_DECIMAL;
	default:	/* it would make local times of timestamp_ntz */
		return MB_NO_CONVERTED;
	}
}

static void
put_logical(struct mb_thrift_out *o, struct mb_parquet_type t)
{
	enum mb_logical id = t.kind == MB_PARQUET_TEXT ? MB_LOGICAL_STRING :
	    t.kind == MB_PARQUET_DATE ? MB_LOGICAL_DATE :
	    t.kind == MB_PARQUET_DECIMAL ? MB_LOGICAL_DECIMAL :
	    t.kind == MB_PARQUET_TIMESTAMP ||
	    t.kind == MB_PARQUET_TIMESTAMP_NTZ ? MB_LOGICAL_TIMESTAMP :
	    t.kind == MB_PARQUET_INT8 || t.kind == MB_PARQUET_INT16 ?
	    MB_LOGICAL_INTEGER : MB_NO_LOGICAL;

	if (id == MB_NO_LOGICAL)
		return;
	mb_thrift_begin(o, 10);
	mb_thrift_begin(o, id);
	if (id == MB_LOGICAL_DECIMAL) {
		mb_thrift_put_i32(o, 1, t.scale);
		mb_thrift_put_i32(o, 2, t.precision);
	} else if (id == MB_LOGICAL_TIMESTAMP) {
		mb_thrift_put_bool(o, 1, t.kind == MB_PARQUET_TIMESTAMP);
		mb_thrift_begin(o, 2);
		put_empty(o, 2);	/* microseconds */
		mb_thrift_end(o);
	} else if (id == MB_LOGICAL_INTEGER) {
		mb_thrift_put_i8(o, 1, t.kind == MB_PARQUET_INT8 ? 8 : 16);
		mb_thrift_put_bool(o, 2, true);
	}
	mb_thrift_end(o);
	mb_thrift_end(o);
}

static void
put_node(struct mb_thrift_out *o, const struct mb_parquet_node *n)
{
	enum mb_converted conv = n->n_children == 0 ? converted(n->type) :
	    n->group == MB_PARQUET_MAP ? MB_MAP :
	    n->group == MB_PARQUET_LIST ? MB_LIST : MB_NO_CONVERTED;
	uint32_t fixed_len;

	mb_thrift_begin_element(o);
	if (n->n_children == 0) {
		mb_thrift_put_i32(o, 1, mb_physical_of(n->type, &fixed_len));
		if (fixed_len > 0)
			mb_thrift_put_i32(o, 2, (int32_t)fixed_len);
	}
	mb_thrift_put_i32(o, 3, n->repetition);
	mb_thrift_put_bytes(o, 4, mb_str(n->name));
	if (n->n_children > 0)
		mb_thrift_put_i32(o, 5, (int32_t)n->n_children);
	if (conv != MB_NO_CONVERTED)
		mb_thrift_put_i32(o, 6, conv);
	if (conv == MB_CONVERTED_DECIMAL) {
		mb_thrift_put_i32(o, 7, n->type.scale);
		mb_thrift_put_i32(o, 8, n->type.precision);
	}
	if (n->field_id != 0)
		mb_thrift_put_i32(o, 9, n->field_id);
	if (n->n_children == 0) {
		put_logical(o, n->type);
	} else if (conv != MB_NO_CONVERTED) {
		mb_thrift_begin(o, 10);
		put_empty(o, conv == MB_MAP ? MB_LOGICAL_MAP :
		    MB_LOGICAL_LIST);
		mb_thrift_end(o);
	}
	mb_thrift_end(o);
}

static void
put_schema(const struct mb_footer *f, struct mb_thrift_out *o)
{
	uint32_t roots = 0, skip;

	for (size_t i = 0; i < f->n_schema; roots++)
		for (skip = 1; skip > 0; i++)
			skip += f->schema[i].n_children - 1;
	mb_thrift_put_list(o, 2, MB_THRIFT_STRUCT, f->n_schema + 1);
	mb_thrift_begin_element(o);
	mb_thrift_put_bytes(o, 4, MB_STR("schema"));
	mb_thrift_put_i32(o, 5, (int32_t)roots);
	mb_thrift_end(o);
	for (size_t i = 0; i < f->n_schema; i++)
		put_node(o, &f->schema[i]);
}

/*
 * Page indexes
 */

static void
put_bound(const struct mb_chunk *c, struct mb_buf *out,
    const struct mb_chunk_page *p, bool is_max)
{
	if (c->order != MB_ORDER_BYTES)
		mb_plain_put(out, c->type, is_max ? &p->bounds.max :
		    &p->bounds.min);
	else if (is_max)
		mb_buf_add(out, c->index_bytes.p + p->max_off, p->max_len);
	else
		mb_buf_add(out, c->index_bytes.p + p->min_off, p->min_len);
}

static void
put_bounds_list(const struct mb_chunk *c, struct mb_thrift_out *o, int id,
    bool is_max)
{
	struct mb_buf bound = { 0 };

	mb_thrift_put_list(o, id, MB_THRIFT_BINARY, c->n_pages);
	for (size_t i = 0; i < c->n_pages; i++) {
		mb_buf_reset(&bound);
		if (c->pages[i].has_values)
			put_bound(c, &bound, &c->pages[i], is_max);
		mb_thrift_add_bytes(o, (struct mb_str){ bound.p, bound.len });
	}
	mb_buf_release(&bound);
}

/* A page's shortened bound as a value. */
static union mb_parquet_value
short_bound(const struct mb_chunk *c, const struct mb_chunk_page *p,
    bool is_max)
{
	union mb_parquet_value v = is_max ? p->bounds.max : p->bounds.min;

	if (c->order == MB_ORDER_BYTES)
		v.bytes = (struct mb_str){ c->index_bytes.p +
		    (is_max ? p->max_off : p->min_off),
		    is_max ? p->max_len : p->min_len };
	return v;
}

/* 0 unordered, 1 ascending, 2 descending: minima and maxima alike. */
static int32_t
boundary_order(const struct mb_chunk *c)
{
	const struct mb_chunk_page *last = NULL;
	bool rises = true, falls = true;

	for (size_t i = 0; i < c->n_pages; i++) {
		const struct mb_chunk_page *p = &c->pages[i];

		if (!p->has_values)
			continue;
		for (int is_max = 0; last != NULL && is_max < 2; is_max++) {
			union mb_parquet_value a = short_bound(c, last,
			    is_max), b = short_bound(c, p, is_max);
			int rc = mb_bound_compare(c->order, &a, &b);

			rises = rises && rc <= 0;
			falls = falls && rc >= 0;
		}
		last = p;
	}
	return rises ? 1 : falls ? 2 : 0;
}

/*
 * Only where a page has something to be told from others, and where each page
 * has bounds: one of NaN alone has none, and the index can't say so.
 */
static void
put_indexes(struct mb_footer *f, struct mb_footer_chunk *m,
    const struct mb_chunk *c, uint64_t data_off)
{
	struct mb_thrift_out ci = { .buf = &f->column_indexes };
	struct mb_thrift_out oi = { .buf = &f->offset_indexes };

	if (c->n_pages < 2)
		return;
	m->offset_index = f->offset_indexes.len;
	mb_thrift_put_list(&oi, 1, MB_THRIFT_STRUCT, c->n_pages);
	for (size_t i = 0; i < c->n_pages; i++) {
		mb_thrift_begin_element(&oi);
		mb_thrift_put_i64(&oi, 1, (int64_t)(data_off +
		    c->pages[i].off));
		mb_thrift_put_i32(&oi, 2, (int32_t)c->pages[i].len);
		mb_thrift_put_i64(&oi, 3, (int64_t)c->pages[i].first_row);
		mb_thrift_end(&oi);
	}
	mb_thrift_end(&oi);
	m->offset_index_len = f->offset_indexes.len - m->offset_index;

	for (size_t i = 0; i < c->n_pages; i++)
		if (c->pages[i].has_values && !c->pages[i].has_bounds)
			return;
	m->column_index = f->column_indexes.len;
	mb_thrift_put_list(&ci, 1, MB_THRIFT_TRUE, c->n_pages);
	for (size_t i = 0; i < c->n_pages; i++)
		mb_thrift_add_bool(&ci, !c->pages[i].has_values);
	put_bounds_list(c, &ci, 2, false);
	put_bounds_list(c, &ci, 3, true);
	mb_thrift_put_i32(&ci, 4, boundary_order(c));
	mb_thrift_put_list(&ci, 5, MB_THRIFT_I64, c->n_pages);
	for (size_t i = 0; i < c->n_pages; i++)
		mb_thrift_add_i64(&ci, (int64_t)c->pages[i].n_nulls);
	mb_thrift_end(&ci);
	m->column_index_len = f->column_indexes.len - m->column_index;
}

/*
 * Row groups
 */

void
mb_footer_begin_group(struct mb_footer *f, uint64_t off, uint64_t rows)
{
	if (f->n_groups == f->cap_groups) {
		f->cap_groups = f->cap_groups == 0 ? 4 : 2 * f->cap_groups;
		f->groups = mb_realloc_array(f->groups, f->cap_groups,
		    sizeof *f->groups);
	}
	f->groups[f->n_groups++] = (struct mb_footer_group){ .off = off,
		.rows = rows, .chunks = mb_zalloc(f->n_leaves *
		    sizeof(struct mb_footer_chunk)) };
}

/* The chunk's bounds are the least and greatest of its pages' short ones. */
static void
keep_bounds(struct mb_footer *f, struct mb_footer_chunk *m,
    const struct mb_chunk *c)
{
	const struct mb_chunk_page *min = NULL, *max = NULL;
	struct mb_buf text = { 0 };

	for (size_t i = 0; i < c->n_pages; i++) {
		const struct mb_chunk_page *p = &c->pages[i];

		if (!p->has_bounds)
			continue;
		for (int is_max = 0; is_max < 2; is_max++) {
			const struct mb_chunk_page **best = is_max ? &max :
			    &min;
			union mb_parquet_value a = short_bound(c, p, is_max),
			    b = { 0 };

			if (*best != NULL)
				b = short_bound(c, *best, is_max);
			if (*best == NULL || (mb_bound_compare(c->order, &a,
			    &b) < 0) == !is_max)
				*best = p;
		}
	}
	if (min == NULL)
		return;
	m->has_bounds = true;
	put_bound(c, &text, min, false);
	m->min = (struct mb_str){ mb_arena_dup(&f->arena, text.p, text.len),
		text.len };
	mb_buf_reset(&text);
	put_bound(c, &text, max, true);
	m->max = (struct mb_str){ mb_arena_dup(&f->arena, text.p, text.len),
		text.len };
	mb_buf_release(&text);
	m->min_is_cut = min->min_is_cut;
	m->max_is_cut = max->max_is_cut;
}

void
mb_footer_add_chunk(struct mb_footer *f, size_t leaf,
    const struct mb_chunk *c, uint64_t off)
{
	struct mb_footer_chunk *m = &f->groups[f->n_groups - 1].chunks[leaf];
	uint64_t data_off = off + c->dictionary_page.len;

	*m = (struct mb_footer_chunk){
		.dictionary_off = c->dictionary_page.len > 0 ? off : 0,
		.data_off = data_off,
		.size = c->dictionary_page.len + c->data.len,
		.raw_size = c->raw_size, .n_entries = c->n_entries,
		.n_nulls = c->n_nulls, .code_pages = c->code_pages,
		.value_pages = c->value_pages,
		.value_encoding = c->value_encoding,
	};
	keep_bounds(f, m, c);
	put_indexes(f, m, c, data_off);
}

static void
put_page_count(struct mb_thrift_out *o, enum mb_page_type type,
    enum mb_encoding encoding, uint32_t count)
{
	mb_thrift_begin_element(o);
	mb_thrift_put_i32(o, 1, type);
	mb_thrift_put_i32(o, 2, encoding);
	mb_thrift_put_i32(o, 3, (int32_t)count);
	mb_thrift_end(o);
}

static void
put_statistics(struct mb_thrift_out *o, const struct mb_footer_chunk *m)
{
	mb_thrift_begin(o, 12);
	mb_thrift_put_i64(o, 3, (int64_t)m->n_nulls);
	if (m->has_bounds) {
		mb_thrift_put_bytes(o, 5, m->max);
		mb_thrift_put_bytes(o, 6, m->min);
		mb_thrift_put_bool(o, 7, !m->max_is_cut);
		mb_thrift_put_bool(o, 8, !m->min_is_cut);
	}
	mb_thrift_end(o);
}

static void
put_chunk_metadata(const struct mb_footer *f, struct mb_thrift_out *o,
    const struct mb_footer_leaf *leaf, const struct mb_footer_chunk *m)
{
	bool has_codes = m->code_pages > 0, has_values = m->value_pages > 0;
	bool has_plain = has_codes || m->value_encoding == MB_PLAIN;
	uint32_t fixed_len;

	mb_thrift_begin(o, 3);
	mb_thrift_put_i32(o, 1, mb_physical_of(leaf->type, &fixed_len));
	mb_thrift_put_list(o, 2, MB_THRIFT_I32, (leaf->top > 0) + has_plain +
	    has_codes + (has_values && m->value_encoding != MB_PLAIN));
	if (leaf->top > 0)
		mb_thrift_add_i32(o, MB_RLE);
	if (has_plain)
		mb_thrift_add_i32(o, MB_PLAIN);
	if (has_codes)
		mb_thrift_add_i32(o, MB_RLE_DICTIONARY);
	if (has_values && m->value_encoding != MB_PLAIN)
		mb_thrift_add_i32(o, m->value_encoding);
	mb_thrift_put_list(o, 3, MB_THRIFT_BINARY, leaf->n_path);
	for (size_t i = 0; i < leaf->n_path; i++)
		mb_thrift_add_bytes(o, leaf->path[i]);
	mb_thrift_put_i32(o, 4, (int32_t)f->codec);
	mb_thrift_put_i64(o, 5, (int64_t)m->n_entries);
	mb_thrift_put_i64(o, 6, (int64_t)m->raw_size);
	mb_thrift_put_i64(o, 7, (int64_t)m->size);
	mb_thrift_put_i64(o, 9, (int64_t)m->data_off);
	if (m->dictionary_off > 0)
		mb_thrift_put_i64(o, 11, (int64_t)m->dictionary_off);
	put_statistics(o, m);
	mb_thrift_put_list(o, 13, MB_THRIFT_STRUCT, 2u * has_codes +
	    has_values);
	if (has_codes) {
		put_page_count(o, MB_DICTIONARY_PAGE, MB_PLAIN, 1);
		put_page_count(o, MB_DATA_PAGE, MB_RLE_DICTIONARY,
		    m->code_pages);
	}
	if (has_values)
		put_page_count(o, MB_DATA_PAGE, m->value_encoding,
		    m->value_pages);
	mb_thrift_end(o);
}

static void
put_chunk(const struct mb_footer *f, struct mb_thrift_out *o,
    const struct mb_footer_leaf *leaf, const struct mb_footer_chunk *m,
    uint64_t columns_off, uint64_t offsets_off)
{
	mb_thrift_begin_element(o);
	mb_thrift_put_i64(o, 2, 0);
	put_chunk_metadata(f, o, leaf, m);
	if (m->offset_index_len > 0) {
		mb_thrift_put_i64(o, 4, (int64_t)(offsets_off +
		    m->offset_index));
		mb_thrift_put_i32(o, 5, (int32_t)m->offset_index_len);
	}
	if (m->column_index_len > 0) {
		mb_thrift_put_i64(o, 6, (int64_t)(columns_off +
		    m->column_index));
		mb_thrift_put_i32(o, 7, (int32_t)m->column_index_len);
	}
	mb_thrift_end(o);
}

static void
put_groups(const struct mb_footer *f, struct mb_thrift_out *o,
    uint64_t columns_off, uint64_t offsets_off)
{
	mb_thrift_put_list(o, 4, MB_THRIFT_STRUCT, f->n_groups);
	for (size_t g = 0; g < f->n_groups; g++) {
		const struct mb_footer_group *group = &f->groups[g];
		uint64_t size = 0, raw_size = 0;

		mb_thrift_begin_element(o);
		mb_thrift_put_list(o, 1, MB_THRIFT_STRUCT, f->n_leaves);
		for (size_t i = 0; i < f->n_leaves; i++) {
			put_chunk(f, o, &f->leaves[i], &group->chunks[i],
			    columns_off, offsets_off);
			size += group->chunks[i].size;
			raw_size += group->chunks[i].raw_size;
		}
		mb_thrift_put_i64(o, 2, (int64_t)raw_size);
		mb_thrift_put_i64(o, 3, (int64_t)group->rows);
		mb_thrift_put_i64(o, 5, (int64_t)group->off);
		mb_thrift_put_i64(o, 6, (int64_t)size);
		if (g <= INT16_MAX)
			mb_thrift_put_i16(o, 7, (int16_t)g);
		mb_thrift_end(o);
	}
}

int
mb_footer_put(struct mb_footer *f, struct mb_buf *out, uint64_t off,
    uint64_t rows, struct mb_err *err)
{
	struct mb_thrift_out o = { .buf = out };
	struct mb_buf text = { 0 };
	uint64_t columns_off = off;
	uint64_t offsets_off = off + f->column_indexes.len;
	size_t start;
	uint32_t len;

	mb_buf_add(out, f->column_indexes.p, f->column_indexes.len);
	mb_buf_add(out, f->offset_indexes.p, f->offset_indexes.len);
	start = out->len;
	mb_thrift_put_i32(&o, 1, 1);
	put_schema(f, &o);
	mb_thrift_put_i64(&o, 3, (int64_t)rows);
	put_groups(f, &o, columns_off, offsets_off);
	/* The shape that readers take apart: NAME version N (build N). */
	mb_buf_addf(&text, "mb version %s (build 0)", f->version);
	mb_thrift_put_bytes(&o, 6, (struct mb_str){ text.p, text.len });
	mb_buf_release(&text);
	/* Without these, bounds are ignored. */
	mb_thrift_put_list(&o, 7, MB_THRIFT_STRUCT, f->n_leaves);
	for (size_t i = 0; i < f->n_leaves; i++) {
		mb_thrift_begin_element(&o);
		put_empty(&o, 1);
		mb_thrift_end(&o);
	}
	mb_thrift_end(&o);
	if (out->len - start > INT32_MAX)
		return mb_fail(err, MB_EUSAGE, "too many columns and row "
		    "groups: the footer would have over 2 GiB");
	len = (uint32_t)(out->len - start);
	mb_buf_add(out, &len, 4);
	mb_buf_adds(out, MB_PARQUET_MAGIC);
	return 0;
}
