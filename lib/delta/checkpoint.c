/*
 * A checkpoint in Parquet has a column for each member of each action, and a
 * row for each action.  The columns of the actions that are wanted are read
 * side by side, and each row is written out as JSON: members by their path,
 * lists and maps as arrays and objects.  What a newer writer has added comes
 * through like everything else.
 */
#include "delta/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/line.h"
#include "delta/fields.h"
#include "parquet/reader.h"
#include "record/names.h"

/* A column that is wanted. */
struct column {
	const struct mb_parquet_leaf *leaf;
	size_t index;
	struct mb_parquet_cursor *cursor;
	struct mb_parquet_entries entries;	/* of the row in hand */
	bool is_map_value;	/* goes with the keys, the column before */
	bool is_map_key;
	size_t n_names;		/* of the path, that are members */
};

struct reading {
	const struct mb_delta_log *log;
	unsigned wants;
	mb_delta_line_fn *fn;
	void *arg;

	struct column *v;
	size_t n;
	struct mb_buf line;

	/* Sidecars that a top file has named. */
	struct mb_names sidecars;
	bool is_sidecar;
};

static bool
is_file_action(struct mb_str name)
{
	return mb_str_eq(name, MB_STR("add")) ||
	    mb_str_eq(name, MB_STR("remove"));
}

static bool
is_state_action(struct mb_str name)
{
	return mb_str_eq(name, MB_STR("protocol")) ||
	    mb_str_eq(name, MB_STR("metaData")) ||
	    mb_str_eq(name, MB_STR("txn")) ||
	    mb_str_eq(name, MB_STR("domainMetadata"));
}

/* Does fn want it?  Sidecars are wanted by us. */
static bool
is_wanted(const struct reading *r, struct mb_str name)
{
	if (is_file_action(name))
		return (r->wants & MB_DELTA_WANTS_FILES) != 0;
	if (mb_str_eq(name, MB_STR("sidecar")))
		return (r->wants & MB_DELTA_WANTS_FILES) != 0;
	return is_state_action(name) && !r->is_sidecar &&
	    (r->wants & MB_DELTA_WANTS_STATE) != 0;
}

/* A typed copy of what stands as text beside it. */
static bool
is_copy(const struct mb_parquet_leaf *leaf)
{
	return leaf->n_path > 2 && is_file_action(leaf->path[0]) &&
	    (mb_str_eq(leaf->path[1], MB_STR("stats_parsed")) ||
	    mb_str_eq(leaf->path[1], MB_STR("partitionValues_parsed")));
}

static bool
is_sibling(const struct mb_parquet_leaf *a, const struct mb_parquet_leaf *b)
{
	if (a->n_path != b->n_path)
		return false;
	for (size_t i = 0; i + 1 < a->n_path; i++)
		if (!mb_str_eq(a->path[i], b->path[i]))
			return false;
	return true;
}

/* What the names at the end of a list's or map's path stand for. */
static void
find_shape(struct reading *r, struct column *c)
{
	const struct mb_parquet_leaf *leaf = c->leaf;
	struct mb_str last = leaf->path[leaf->n_path - 1];
	struct column *before = c > r->v ? c - 1 : NULL;

	c->n_names = leaf->n_path;
	if (leaf->repeated == 0)
		return;
	/* A key that is no text is no member's name. */
	if (before != NULL && before->leaf->repeated > 0 &&
	    before->leaf->physical == MB_PARQUET_P_BYTES &&
	    mb_str_eq(last, MB_STR("value")) &&
	    is_sibling(before->leaf, leaf)) {
		before->is_map_key = true;
		c->is_map_value = true;
	}
	/* name.key_value.key, name.list.element, or of old name.array */
	c->n_names -= leaf->n_path > 3 || c->is_map_value ? 2 : 1;
	if (c->n_names < 2)
		c->n_names = 2;
}

static int
choose_columns(struct reading *r, struct mb_parquet_reader *p,
    struct mb_err *err)
{
	size_t n = mb_parquet_n_leaves(p);

	r->v = mb_realloc_array(r->v, n + 1, sizeof *r->v);
	r->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct mb_parquet_leaf *leaf = mb_parquet_leaf(p, i);

		if (leaf->n_path < 2 || !is_wanted(r, leaf->path[0]) ||
		    is_copy(leaf))
			continue;
		if (leaf->refusal != NULL)
			return mb_fail(err, MB_EDATA, "column %.*s.%.*s: %s",
			    (int)leaf->path[0].len, leaf->path[0].p,
			    (int)leaf->path[1].len, leaf->path[1].p,
			    leaf->refusal);
		r->v[r->n] = (struct column){ .leaf = leaf, .index = i };
		find_shape(r, &r->v[r->n]);
		r->n++;
	}
	return 0;
}

static bool
has_value(const struct column *c)
{
	/* An empty list or map is there as well. */
	return c->entries.n > 0 && c->entries.v[0].level >= (c->leaf->repeated
	    == 0 ? c->leaf->top : c->leaf->repeated - 1);
}

static void
put_value(struct mb_buf *out, const struct mb_parquet_leaf *leaf,
    const struct mb_parquet_entry *e)
{
	if (e->level < leaf->top) {
		mb_buf_adds(out, "null");
		return;
	}
	switch (leaf->physical) {
	case MB_PARQUET_P_BOOLEAN:
		mb_buf_adds(out, e->value.i != 0 ? "true" : "false");
		break;
	case MB_PARQUET_P_INT32:
	case MB_PARQUET_P_INT64:
		mb_buf_addf(out, "%" PRId64, e->value.i);
		break;
	case MB_PARQUET_P_BYTES:
		mb_json_quote(out, e->value.bytes);
		break;
	default:	/* nothing of the kind is in an action */
		mb_buf_adds(out, "null");
		break;
	}
}

static void
put_key(struct mb_buf *out, struct mb_str name)
{
	char last = out->p[out->len - 1];

	if (last != '{')
		mb_buf_addc(out, ',');
	mb_json_quote(out, name);
	mb_buf_addc(out, ':');
}

static void
put_map(struct mb_buf *out, const struct column *keys,
    const struct column *values)
{
	mb_buf_addc(out, '{');
	for (size_t i = 0; i < keys->entries.n; i++) {
		const struct mb_parquet_entry *key = &keys->entries.v[i];

		if (key->level < keys->leaf->top)
			continue;
		put_key(out, key->value.bytes);
		if (values != NULL && i < values->entries.n)
			put_value(out, values->leaf, &values->entries.v[i]);
		else
			mb_buf_adds(out, "null");
	}
	mb_buf_addc(out, '}');
}

static void
put_list(struct mb_buf *out, const struct column *c)
{
	mb_buf_addc(out, '[');
	for (size_t i = 0; i < c->entries.n; i++)
		if (c->entries.v[i].level >= c->leaf->repeated) {
			if (out->p[out->len - 1] != '[')
				mb_buf_addc(out, ',');
			put_value(out, c->leaf, &c->entries.v[i]);
		}
	mb_buf_addc(out, ']');
}

/* The members of one action; its columns are [from, to). */
static void
put_action(struct reading *r, size_t from, size_t to)
{
	struct mb_buf *out = &r->line;
	const struct mb_parquet_leaf *open = NULL;
	size_t depth = 1;	/* names of `open` that have a brace */

	mb_buf_reset(out);
	mb_buf_addc(out, '{');
	put_key(out, r->v[from].leaf->path[0]);
	mb_buf_addc(out, '{');
	for (size_t i = from; i < to; i++) {
		const struct column *c = &r->v[i];
		size_t common = 1;

		if (c->is_map_value || !has_value(c))
			continue;
		/* Leave the objects that it isn't in, enter its own. */
		while (open != NULL && common < depth &&
		    common + 1 < c->n_names && mb_str_eq(open->path[common],
		    c->leaf->path[common]))
			common++;
		for (; depth > common; depth--)
			mb_buf_addc(out, '}');
		for (; depth + 1 < c->n_names; depth++) {
			put_key(out, c->leaf->path[depth]);
			mb_buf_addc(out, '{');
		}
		open = c->leaf;
		put_key(out, c->leaf->path[c->n_names - 1]);
		if (c->is_map_key)
			put_map(out, c, i + 1 < to ? &r->v[i + 1] : NULL);
		else if (c->leaf->repeated > 0)
			put_list(out, c);
		else
			put_value(out, c->leaf, &c->entries.v[0]);
	}
	for (; depth > 0; depth--)
		mb_buf_addc(out, '}');
	mb_buf_addc(out, '}');
}

/* Remember a sidecar's name; other actions go to fn. */
static int
take_line(void *arg, struct mb_str line, struct mb_err *err)
{
	struct reading *r = arg;
	struct mb_json_members m = { 0 };
	struct mb_fields f = { 0 };
	struct mb_buf path = { 0 };
	const char *why = mb_json_object(&m, line);
	bool is_mine = false, is_known = false;
	int rc = 0;

	if (why != NULL)
		rc = mb_fail(err, MB_EDATA, "not an action: %s", why);
	for (size_t i = 0; rc == 0 && i < m.n; i++) {
		if (m.v[i].value.kind == MB_NULL ||
		    !is_wanted(r, m.v[i].key))
			continue;
		is_known = true;
		if (!mb_str_eq(m.v[i].key, MB_STR("sidecar")))
			continue;
		is_mine = true;
		if (mb_fields_set(&f, m.v[i].value.text) == NULL &&
		    mb_fields_text(&f, "path", &path))
			mb_names_add(&r->sidecars, (struct mb_str){ path.p,
			    path.len });
		else
			rc = mb_fail(err, MB_EDATA, "a sidecar without path");
	}
	if (rc == 0 && is_known && !is_mine)
		rc = r->fn(r->arg, line, err);
	mb_json_members_release(&m);
	mb_fields_release(&f);
	mb_buf_release(&path);
	return rc;
}

static int
give_row(struct reading *r, struct mb_err *err)
{
	for (size_t from = 0, to; from < r->n; from = to) {
		bool is_there = false;

		for (to = from; to < r->n && mb_str_eq(r->v[to].leaf->path[0],
		    r->v[from].leaf->path[0]); to++)
			is_there |= has_value(&r->v[to]);
		if (!is_there)
			continue;
		put_action(r, from, to);
		if (take_line(r, (struct mb_str){ r->line.p, r->line.len },
		    err) < 0)
			return -1;
	}
	return 0;
}

static void
close_cursors(struct reading *r)
{
	for (size_t i = 0; i < r->n; i++) {
		mb_parquet_cursor_close(r->v[i].cursor);
		r->v[i].cursor = NULL;
	}
}

static int
read_group(struct reading *r, struct mb_parquet_reader *p, size_t group,
    struct mb_err *err)
{
	uint64_t rows = mb_parquet_group_rows(p, group);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->n; i++)
		rc = mb_parquet_cursor_open(&r->v[i].cursor, p, r->v[i].index,
		    group, err);
	for (uint64_t row = 0; rc == 0 && row < rows; row++) {
		for (size_t i = 0; rc == 0 && i < r->n; i++) {
			rc = mb_parquet_cursor_row(r->v[i].cursor,
			    &r->v[i].entries, err);
			if (rc == 0)
				rc = mb_fail(err, MB_EDATA, "a column ends "
				    "before its row group");
			rc = rc < 0 ? -1 : 0;
		}
		if (rc == 0)
			rc = give_row(r, err);
	}
	close_cursors(r);
	return rc;
}

/* 1, 0 not there, -1. */
static int
read_parquet(struct reading *r, const char *name, struct mb_err *err)
{
	struct mb_parquet_reader *p = NULL;
	int fd = mb_openat(r->log->dirfd, name, O_RDONLY, 0), rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : mb_fail_sys(err,
		    "%s: _delta_log/%s", r->log->place, name);
	rc = mb_parquet_reader_open(&p, fd, name, err);
	if (rc == 0)
		rc = choose_columns(r, p, err);
	for (size_t g = 0; rc == 0 && r->n > 0 && g < mb_parquet_n_groups(p);
	    g++)
		rc = read_group(r, p, g, err);
	/* Others don't sync, and what is seen will be relied on. */
	if (rc == 0)
		rc = mb_fsync(fd, name, err);
	mb_parquet_reader_close(p);
	close(fd);
	return rc < 0 ? mb_wrap(err, "%s: _delta_log", r->log->place) : 1;
}

/* A name in _sidecars; nothing leads out of it. */
static int
read_sidecar(struct reading *r, const char *path, struct mb_err *err)
{
	const char *slash = strrchr(path, '/');
	struct mb_buf name = { 0 };
	int rc;

	mb_buf_addf(&name, "_sidecars/%s", slash != NULL ? slash + 1 : path);
	rc = read_parquet(r, mb_buf_str(&name), err);
	if (rc == 0)
		rc = mb_fail(err, MB_EDATA, "%s: _delta_log/%s: is missing",
		    r->log->place, mb_buf_str(&name));
	mb_buf_release(&name);
	return rc;
}

int
mb_delta_checkpoint_read(const struct mb_delta_log *l,
    const struct mb_delta_checkpoint *c, unsigned wants,
    mb_delta_line_fn *fn, void *arg, struct mb_err *err)
{
	struct reading r = { .log = l, .wants = wants, .fn = fn, .arg = arg };
	char name[MB_DELTA_NAME];
	uint32_t part = c->parts > 0 ? 1 : 0;
	int rc;

	do {
		mb_delta_checkpoint_name(name, c, part);
		rc = c->is_json ? mb_delta_log_lines(l, name, take_line, &r,
		    NULL, err) : read_parquet(&r, name, err);
	} while (rc > 0 && ++part <= c->parts);
	r.is_sidecar = true;
	for (size_t i = 0; rc > 0 && i < r.sidecars.n; i++)
		rc = read_sidecar(&r, r.sidecars.v[i].p, err);
	free(r.v);
	mb_buf_release(&r.line);
	mb_names_release(&r.sidecars);
	return rc;
}
