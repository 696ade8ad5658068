#include "sink/sqltable.h"

#include <stdlib.h>
#include <strings.h>

#include "sink/sqlmark.h"
#include "sink/sqltext.h"

static void
set_id(struct mb_sqltable *t, const char *id, bool is_fresh)
{
	free(t->seen.id);
	t->seen.id = id == NULL ? NULL : mb_strdup(id);
	t->seen.id_is_fresh = is_fresh;
}

/*
 * A table that others made.  One that we made has lost its comment only if it
 * was dropped and made anew by others; a fresh id says that.
 */
static int
find_foreign_id(struct mb_sqltable *t, struct mb_err *err)
{
	struct mb_sqlmark m = { .db = t->db, .place = t->place,
		.table = t->name };
	char fresh[sizeof MB_SQLMARK_FOREIGN + MB_HASH_LEN] =
	    MB_SQLMARK_FOREIGN;
	char *id;
	int rc = mb_sqlmark_foreign_id(&id, &m, err);

	if (rc < 0)
		return -1;
	if (rc > 0) {
		set_id(t, id, false);
		free(id);
		return 0;
	}
	if (t->seen.id_is_fresh)
		return 0;
	if (mb_random_hex(fresh + strlen(MB_SQLMARK_FOREIGN), MB_HASH_LEN / 2,
	    err) < 0)
		return -1;
	set_id(t, fresh, true);
	return 0;
}

int
mb_sqltable_read(struct mb_sqltable *t, struct mb_err *err)
{
	char id[MB_HASH_LEN + 1], *asked = t->name;
	struct mb_statement *st;
	int rc;

	if (mb_statement_open(&st, t->db, "SELECT type, name, sql FROM "
	    "main.sqlite_master WHERE type IN ('table', 'view') AND "
	    "name = ?1 COLLATE NOCASE", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, asked);
	rc = mb_statement_next(st, err);
	if (rc < 0)
		goto out;
	t->seen.is_there = rc > 0;
	if (!t->seen.is_there) {
		set_id(t, NULL, false);
		goto out;
	}
	if (strcmp(mb_statement_text(st, 0), "view") == 0 ||
	    strncasecmp(mb_statement_text(st, 2), "CREATE VIRTUAL", 14) == 0) {
		rc = mb_fail(err, MB_EUSAGE, "%s: is not an ordinary table",
		    t->place);
		goto out;
	}
	t->name = mb_strdup(mb_statement_text(st, 1));
	if (mb_sqltext_id(id, t->name, mb_statement_text(st, 2)))
		set_id(t, id, false);
	else
		rc = find_foreign_id(t, err);
out:
	mb_statement_close(st);
	if (asked != t->name)
		free(asked);
	return rc < 0 ? -1 : 0;
}

int
mb_sqltable_reread(struct mb_sqltable *t, struct mb_err *err)
{
	struct mb_sqltable_seen was = mb_sqltable_keep(t);
	bool was_known = was.id != NULL && !was.id_is_fresh;
	int rc = mb_sqltable_read(t, err);

	if (rc == 0 && was_known && (t->seen.id == NULL ||
	    strcmp(t->seen.id, was.id) != 0)) {
		mb_sqltable_put_back(t, &was);
		return mb_fail(err, MB_ECORRUPT, "%s: was dropped or made "
		    "anew while we were at work", t->place);
	}
	mb_sqltable_seen_release(&was);
	return rc;
}

struct mb_sqltable_seen
mb_sqltable_keep(const struct mb_sqltable *t)
{
	struct mb_sqltable_seen kept = t->seen;

	if (kept.id != NULL)
		kept.id = mb_strdup(kept.id);
	return kept;
}

void
mb_sqltable_put_back(struct mb_sqltable *t, struct mb_sqltable_seen *kept)
{
	free(t->seen.id);
	t->seen = *kept;
	*kept = (struct mb_sqltable_seen){ 0 };
}

void
mb_sqltable_seen_release(struct mb_sqltable_seen *kept)
{
	free(kept->id);
	*kept = (struct mb_sqltable_seen){ 0 };
}

/*
 * Columns.
 */
static int
read_strict(struct mb_sqltable *t, struct mb_err *err)
{
	int rc;

	t->is_strict = false;
	/* Else there is no such pragma either. */
	if (!mb_sqldb_knows_strict())
		return 0;
	rc = mb_sqldb_ask(t->db, "SELECT 1 FROM pragma_table_list "
	    "WHERE schema = 'main' AND name = ?1 AND strict", t->name, err);
	t->is_strict = rc > 0;
	return rc < 0 ? -1 : 0;
}

int
mb_sqltable_read_columns(struct mb_sqltable *t, struct mb_columns *columns,
    struct mb_err *err)
{
	struct mb_column *c;
	size_t pk = SIZE_MAX;
	struct mb_statement *st;
	int n_pk = 0, rc;

	if (mb_statement_open(&st, t->db, "SELECT name, type, \"notnull\", "
	    "dflt_value, pk, hidden FROM pragma_table_xinfo(?1, 'main') "
	    "ORDER BY cid", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, t->name);
	while ((rc = mb_statement_next(st, err)) > 0) {
		const char *type = mb_statement_text(st, 1);

		if (mb_statement_number(st, 5) != 0)
			continue;	/* generated */
		c = mb_columns_add(columns, mb_statement_text(st, 0));
		c->type = mb_sqltext_type(type);
		c->is_not_null = mb_statement_number(st, 2) != 0;
		c->has_default = !mb_statement_is_null(st, 3);
		if (mb_statement_number(st, 4) != 0 && n_pk++ == 0 &&
		    strcasecmp(type, "INTEGER") == 0)
			pk = columns->n - 1;
	}
	mb_statement_close(st);
	if (rc < 0)
		return -1;
	/* The key is the rowid itself if no index had to be made for it. */
	if (pk != SIZE_MAX && n_pk == 1) {
		rc = mb_sqldb_ask(t->db, "SELECT 1 FROM "
		    "pragma_index_list(?1, 'main') WHERE origin = 'pk'",
		    t->name, err);
		if (rc < 0)
			return -1;
		c = &columns->v[pk];
		c->is_rowid = rc == 0;
		c->is_not_null &= !c->is_rowid;
	}
	return read_strict(t, err);
}

int
mb_sqltable_compare_columns(const struct mb_sqltable *t,
    const struct mb_columns *columns, struct mb_err *err)
{
	const struct mb_column *c;
	struct mb_statement *st;
	size_t n = 0;
	int rc;

	if (mb_statement_open(&st, t->db, "SELECT name, type FROM "
	    "pragma_table_xinfo(?1, 'main')", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, t->name);
	while ((rc = mb_statement_next(st, err)) > 0) {
		c = mb_columns_find(columns, mb_statement_text(st, 0));
		n += c != NULL && mb_type_eq(c->type,
		    mb_sqltext_type(mb_statement_text(st, 1)));
	}
	mb_statement_close(st);
	if (rc == 0 && n < columns->n)
		rc = mb_fail(err, MB_EBUSY, "%s: was just made by another, "
		    "with other columns than this batch has; start again",
		    t->place);
	return rc;
}

int
mb_sqltable_create(struct mb_sqltable *t, const struct mb_columns *columns,
    struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	char id[MB_HASH_LEN + 1];

	if (mb_random_hex(id, MB_HASH_LEN / 2, err) < 0)
		return -1;
	mb_sqltext_put_create(&sql, t->name, id, columns);
	if (mb_sqldb_run_text(t->db, &sql, err) < 0)
		return -1;
	t->seen.is_there = true;
	set_id(t, id, false);
	return 0;
}

/* Is there a plain index that begins with the keys?  1, 0, -1. */
static int
has_key_index(const struct mb_sqltable *t, const struct mb_columns *columns,
    struct mb_err *err)
{
	const struct mb_column *c;
	struct mb_statement *st;
	size_t n_keys = 0, n_found = 0;
	int64_t index = -1;
	bool found = false;
	int rc;

	for (size_t i = 0; i < columns->n; i++) {
		n_keys += columns->v[i].is_key;
		if (columns->v[i].is_key && columns->v[i].is_rowid)
			return 1;
	}
	if (mb_statement_open(&st, t->db, "SELECT l.seq, x.name FROM "
	    "pragma_index_list(?1, 'main') l, "
	    "pragma_index_xinfo(l.name, 'main') x "
	    "WHERE NOT l.partial AND x.key AND x.seqno < ?2 "
	    "ORDER BY l.seq", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, t->name);
	mb_statement_bind_number(st, 2, n_keys);
	while ((rc = mb_statement_next(st, err)) > 0) {
		c = mb_columns_find(columns, mb_statement_text(st, 1));
		if (index != mb_statement_number(st, 0))
			n_found = 0;
		index = mb_statement_number(st, 0);
		n_found += c != NULL && c->is_key;
		found |= n_found == n_keys;
	}
	mb_statement_close(st);
	return rc < 0 ? -1 : found;
}

int
mb_sqltable_have_key_index(const struct mb_sqltable *t,
    const struct mb_columns *columns, struct mb_err *err)
{
	struct mb_buf sql = { 0 };
	int rc = has_key_index(t, columns, err);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	mb_sqltext_put_key_index(&sql, t->name, columns);
	return mb_sqldb_run_text(t->db, &sql, err);
}

void
mb_sqltable_release(struct mb_sqltable *t)
{
	free(t->name);
	mb_sqltable_seen_release(&t->seen);
	*t = (struct mb_sqltable){ 0 };
}
