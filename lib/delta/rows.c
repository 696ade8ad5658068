#include "delta/rows.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/opt.h"
#include "delta/fields.h"
#include "delta/parsed.h"

/* MAP and LIST are of text; a map is two columns. */
enum kind { TEXT, INT, INT32, BOOL, MAP, LIST };

/* A member of an action, in the order of the schema. */
static const struct member {
	const char *action, *parent, *name;
	enum kind kind;
} members[] = {
	{ "txn", NULL, "appId", TEXT },
	{ "txn", NULL, "version", INT },
	{ "txn", NULL, "lastUpdated", INT },
	{ "add", NULL, "path", TEXT },
	{ "add", NULL, "partitionValues", MAP },
	{ "add", NULL, "size", INT },
	{ "add", NULL, "modificationTime", INT },
	{ "add", NULL, "dataChange", BOOL },
	{ "add", NULL, "stats", TEXT },
	{ "add", NULL, "tags", MAP },
	{ "add", "deletionVector", "storageType", TEXT },
	{ "add", "deletionVector", "pathOrInlineDv", TEXT },
	{ "add", "deletionVector", "offset", INT32 },
	{ "add", "deletionVector", "sizeInBytes", INT32 },
	{ "add", "deletionVector", "cardinality", INT },
	{ "add", NULL, "baseRowId", INT },
	{ "add", NULL, "defaultRowCommitVersion", INT },
	{ "add", NULL, "clusteringProvider", TEXT },
	{ "remove", NULL, "path", TEXT },
	{ "remove", NULL, "deletionTimestamp", INT },
	{ "remove", NULL, "dataChange", BOOL },
	{ "remove", NULL, "extendedFileMetadata", BOOL },
	{ "remove", NULL, "partitionValues", MAP },
	{ "remove", NULL, "size", INT },
	{ "remove", "deletionVector", "storageType", TEXT },
	{ "remove", "deletionVector", "pathOrInlineDv", TEXT },
	{ "remove", "deletionVector", "offset", INT32 },
	{ "remove", "deletionVector", "sizeInBytes", INT32 },
	{ "remove", "deletionVector", "cardinality", INT },
	{ "remove", NULL, "baseRowId", INT },
	{ "remove", NULL, "defaultRowCommitVersion", INT },
	{ "metaData", NULL, "id", TEXT },
	{ "metaData", NULL, "name", TEXT },
	{ "metaData", NULL, "description", TEXT },
	{ "metaData", "format", "provider", TEXT },
	{ "metaData", "format", "options", MAP },
	{ "metaData", NULL, "schemaString", TEXT },
	{ "metaData", NULL, "partitionColumns", LIST },
	{ "metaData", NULL, "configuration", MAP },
	{ "metaData", NULL, "createdTime", INT },
	{ "protocol", NULL, "minReaderVersion", INT32 },
	{ "protocol", NULL, "minWriterVersion", INT32 },
	{ "protocol", NULL, "readerFeatures", LIST },
	{ "protocol", NULL, "writerFeatures", LIST },
	{ "domainMetadata", NULL, "domain", TEXT },
	{ "domainMetadata", NULL, "configuration", TEXT },
	{ "domainMetadata", NULL, "removed", BOOL },
};

enum {
	N_MEMBERS = sizeof members / sizeof *members,
	GROUP_BYTES = 32 * 1024 * 1024,
};

struct mb_delta_rows {
	struct mb_parquet_writer *writer;
	struct mb_delta_parsed *parsed;		/* NULL: without */
	/* The column of a member, the keys' of a map, whose values follow. */
	struct mb_parquet_column *columns[N_MEMBERS], *values[N_MEMBERS];
	uint64_t n;
	struct mb_fields fields, inner;
	struct mb_buf text;
};

static bool
is_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/*
 * The schema as nodes.
 */
struct tree {
	struct mb_parquet_node *v;
	size_t n, cap;
};

static struct mb_parquet_node *
add_node(struct tree *t, const char *name,
    enum mb_parquet_repetition repetition)
{
	struct mb_parquet_node *node;

	if (t->n == t->cap) {
		t->cap = t->cap * 2 + 64;
		t->v = mb_realloc_array(t->v, t->cap, sizeof *t->v);
	}
	node = &t->v[t->n++];
	*node = (struct mb_parquet_node){ .name = name,
		.repetition = repetition };
	return node;
}

static void
add_group(struct tree *t, const char *name,
    enum mb_parquet_repetition repetition, enum mb_parquet_group group,
    uint32_t n_children)
{
	struct mb_parquet_node *node = add_node(t, name, repetition);

	node->group = group;
	node->n_children = n_children;
}

static void
add_leaf(struct tree *t, const char *name,
    enum mb_parquet_repetition repetition, enum mb_parquet_kind kind)
{
	add_node(t, name, repetition)->type.kind = kind;
}

static void
add_member(struct tree *t, const struct member *m)
{
	static const enum mb_parquet_kind kinds[] = {
		[TEXT] = MB_PARQUET_TEXT, [INT] = MB_PARQUET_INT64,
		[INT32] = MB_PARQUET_INT32, [BOOL] = MB_PARQUET_BOOL,
	};

	if (m->kind == MAP) {
		add_group(t, m->name, MB_PARQUET_OPTIONAL, MB_PARQUET_MAP, 1);
		add_group(t, "key_value", MB_PARQUET_REPEATED,
		    MB_PARQUET_STRUCT, 2);
		add_leaf(t, "key", MB_PARQUET_REQUIRED, MB_PARQUET_TEXT);
		add_leaf(t, "value", MB_PARQUET_OPTIONAL, MB_PARQUET_TEXT);
	} else if (m->kind == LIST) {
		add_group(t, m->name, MB_PARQUET_OPTIONAL, MB_PARQUET_LIST, 1);
		add_group(t, "list", MB_PARQUET_REPEATED, MB_PARQUET_STRUCT,
		    1);
		add_leaf(t, "element", MB_PARQUET_OPTIONAL, MB_PARQUET_TEXT);
	} else {
		add_leaf(t, m->name, MB_PARQUET_OPTIONAL, kinds[m->kind]);
	}
}

/* How many of the members from i on are in the same group of its parent? */
static size_t
count_inner(size_t i)
{
	size_t n = 1;

	while (i + n < N_MEMBERS &&
	    is_same(members[i].action, members[i + n].action) &&
	    is_same(members[i].parent, members[i + n].parent))
		n++;
	return n;
}

/* Is member i the last of the adds?  What is parsed comes behind it. */
static bool
ends_add(size_t i)
{
	return strcmp(members[i].action, "add") == 0 &&
	    !is_same(members[i].action, members[i + 1].action);
}

static void
add_parsed(struct tree *t, size_t top, const struct mb_delta_parsed *p)
{
	uint32_t n_children;
	size_t n;
	const struct mb_parquet_node *v = mb_delta_parsed_nodes(p, &n,
	    &n_children);

	for (size_t i = 0; i < n; i++)
		*add_node(t, v[i].name, v[i].repetition) = v[i];
	t->v[top].n_children += n_children;
}

static void
make_tree(struct tree *t, const struct mb_delta_parsed *parsed)
{
	size_t top = 0, inner;

	for (size_t i = 0; i < N_MEMBERS; i++) {
		if (i == 0 || !is_same(members[i].action,
		    members[i - 1].action)) {
			top = t->n;
			add_group(t, members[i].action, MB_PARQUET_OPTIONAL,
			    MB_PARQUET_STRUCT, 0);
		}
		t->v[top].n_children++;
		if (members[i].parent == NULL) {
			add_member(t, &members[i]);
			if (parsed != NULL && ends_add(i))
				add_parsed(t, top, parsed);
			continue;
		}
		inner = count_inner(i);
		add_group(t, members[i].parent, MB_PARQUET_OPTIONAL,
		    MB_PARQUET_STRUCT, (uint32_t)inner);
		for (size_t k = 0; k < inner; k++)
			add_member(t, &members[i + k]);
		i += inner - 1;
	}
}

int
mb_delta_rows_open(struct mb_delta_rows **out,
    const struct mb_delta_schema *parsed, mb_parquet_write_fn *write,
    void *arg, struct mb_err *err)
{
	struct mb_delta_rows *r = mb_zalloc(sizeof *r);
	struct tree t = { 0 };
	struct mb_parquet_options o = { .codec = mb_parquet_best_codec(),
		.group_bytes = GROUP_BYTES, .version = MB_VERSION };
	size_t leaf = 0;
	int rc;

	if (parsed != NULL)
		mb_delta_parsed_open(&r->parsed, parsed);
	make_tree(&t, r->parsed);
	o.schema = t.v;
	o.n_schema = t.n;
	rc = mb_random(&o.seed, sizeof o.seed, err);
	if (rc == 0)
		rc = mb_parquet_writer_open(&r->writer, &o, write, arg, err);
	free(t.v);
	if (rc < 0) {
		mb_delta_rows_close(r);
		return -1;
	}
	for (size_t i = 0; i < N_MEMBERS; i++) {
		r->columns[i] = mb_parquet_column(r->writer, leaf++);
		if (members[i].kind == MAP)
			r->values[i] = mb_parquet_column(r->writer, leaf++);
		if (r->parsed != NULL && ends_add(i))
			mb_delta_parsed_bind(r->parsed, r->writer, &leaf);
	}
	*out = r;
	return 0;
}

void
mb_delta_rows_close(struct mb_delta_rows *r)
{
	if (r == NULL)
		return;
	mb_parquet_writer_close(r->writer);
	mb_delta_parsed_close(r->parsed);
	mb_fields_release(&r->fields);
	mb_fields_release(&r->inner);
	mb_buf_release(&r->text);
	free(r);
}

/* The path of member i ends at this level. */
static void
put_absent(struct mb_delta_rows *r, size_t i, unsigned level)
{
	mb_parquet_put_absent(r->columns[i], level);
	if (r->values[i] != NULL)
		mb_parquet_put_absent(r->values[i], level);
}

/*
 * Text as it was; what is no text (a property that is a number) as it stands.
 */
static struct mb_str
text_of(struct mb_delta_rows *r, const struct mb_json *v)
{
	mb_buf_reset(&r->text);
	if (v->kind == MB_TEXT)
		mb_json_unescape(&r->text, v->text);
	else
		mb_buf_add(&r->text, v->text.p, v->text.len);
	return (struct mb_str){ r->text.p == NULL ? "" : r->text.p,
		r->text.len };
}

static void
put_text(struct mb_delta_rows *r, struct mb_parquet_column *c,
    const struct mb_json *v)
{
	struct mb_str text;

	if (v->kind == MB_NULL) {
		mb_parquet_put_null(c);
		return;
	}
	text = text_of(r, v);
	mb_parquet_put_bytes(c, text.p, text.len);
}

/* `level`: that of a map or list that is there and empty. */
static void
put_map(struct mb_delta_rows *r, size_t i, struct mb_str object,
    unsigned level)
{
	struct mb_fields f = { 0 };
	size_t n = 0;

	if (mb_fields_set(&f, object) != NULL)
		f.m.n = 0;	/* it is part of a valid object */
	for (size_t k = 0; k < f.m.n; k++, n++) {
		if (n > 0) {
			mb_parquet_repeat(r->columns[i]);
			mb_parquet_repeat(r->values[i]);
		}
		mb_buf_reset(&r->text);
		mb_json_unescape(&r->text, f.m.v[k].key);
		mb_parquet_put_bytes(r->columns[i], r->text.p, r->text.len);
		put_text(r, r->values[i], &f.m.v[k].value);
	}
	if (n == 0)
		put_absent(r, i, level);
	mb_fields_release(&f);
}

static void
put_list(struct mb_delta_rows *r, size_t i, struct mb_str array,
    unsigned level)
{
	struct mb_json v;
	size_t n = 0;

	while (mb_json_next(&array, &v)) {
		/* What is no name was passed over when it was read, too. */
		if (v.kind != MB_TEXT)
			continue;
		if (n++ > 0)
			mb_parquet_repeat(r->columns[i]);
		put_text(r, r->columns[i], &v);
	}
	if (n == 0)
		put_absent(r, i, level);
}

/* Member i, whose own path is there up to `level`. */
static void
put_member(struct mb_delta_rows *r, size_t i, const struct mb_fields *f,
    unsigned level)
{
	const struct member *m = &members[i];
	struct mb_json v;
	int64_t number;
	bool yes;

	if (mb_fields_get(f, m->name, &v))
		switch (m->kind) {
		case TEXT:
			put_text(r, r->columns[i], &v);
			return;
		case INT:
		case INT32:
			if (!mb_json_int(&v, &number))
				break;
			mb_parquet_put_int(r->columns[i], number);
			return;
		case BOOL:
			if (!mb_fields_bool(f, m->name, &yes))
				break;
			/* In a checkpoint nothing is a change. */
			if (strcmp(m->name, "dataChange") == 0)
				yes = false;
			mb_parquet_put_int(r->columns[i], yes);
			return;
		case MAP:
			if (v.kind != MB_JSON || v.text.p[0] != '{')
				break;
			put_map(r, i, v.text, level + 1);
			return;
		case LIST:
			if (v.kind != MB_JSON || v.text.p[0] != '[')
				break;
			put_list(r, i, v.text, level + 1);
			return;
		}
	put_absent(r, i, level);
}

int
mb_delta_rows_put(struct mb_delta_rows *r, const char *name,
    struct mb_str object, struct mb_err *err)
{
	const char *why = mb_fields_set(&r->fields, object);
	bool has_inner = false;
	struct mb_str inner;

	if (why != NULL)
		return mb_fail(err, MB_ECORRUPT, "%s: %s", name, why);
	for (size_t i = 0; i < N_MEMBERS; i++) {
		const struct member *m = &members[i];

		if (strcmp(m->action, name) != 0) {
			put_absent(r, i, 0);
			continue;
		}
		if (m->parent == NULL) {
			put_member(r, i, &r->fields, 1);
			continue;
		}
		if (i == 0 || !is_same(m->parent, members[i - 1].parent))
			has_inner = mb_fields_raw(&r->fields, m->parent, '{',
			    &inner) && mb_fields_set(&r->inner, inner) == NULL;
		if (has_inner)
			put_member(r, i, &r->inner, 2);
		else
			put_absent(r, i, 1);
	}
	if (r->parsed != NULL && mb_delta_parsed_put(r->parsed,
	    strcmp(name, "add") == 0 ? &r->fields : NULL, err) < 0)
		return -1;
	r->n++;
	return mb_parquet_end_row(r->writer, err);
}

uint64_t
mb_delta_rows_n(const struct mb_delta_rows *r)
{
	return r->n;
}

int
mb_delta_rows_finish(struct mb_delta_rows *r, uint64_t *size,
    struct mb_err *err)
{
	struct mb_parquet_file file;

	if (mb_parquet_finish(r->writer, &file, err) < 0)
		return -1;
	*size = file.size;
	return 0;
}
