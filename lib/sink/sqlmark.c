#include "sink/sqlmark.h"

#include "sink/positions.h"

/*
 * journal	id of the journal
 * table	where its batches are
 * journal_path	where the journal was; NULL once another one took its place
 * target_id	id of the table: the one in its CREATE TABLE, or one that we
 *		gave a table that others made
 * first, last	batches of this journal that are here, but for the holes
 * digest	of batch `last`
 * holes	"3,5-7"
 * times_checked	writing it is how a marker of unknown durability is
 *		made durable; without meaning
 *
 * Not STRICT: one such table and no SQLite before 3.37 opens the file.
 */
static const char create_commits[] =
	"CREATE TABLE IF NOT EXISTS main.mb_commits ("
	"journal TEXT NOT NULL, "
	"\"table\" TEXT NOT NULL COLLATE NOCASE, "
	"journal_path TEXT, "
	"target_id TEXT NOT NULL, "
	"first INTEGER NOT NULL, "
	"last INTEGER NOT NULL, "
	"digest TEXT NOT NULL, "
	"holes TEXT NOT NULL, "
	"times_checked INTEGER NOT NULL DEFAULT 0, "
	"PRIMARY KEY (journal, \"table\"))";

/* '' as key has what is open. */
static const char create_positions[] =
	"CREATE TABLE IF NOT EXISTS main.mb_positions ("
	"journal TEXT NOT NULL, "
	"\"table\" TEXT NOT NULL COLLATE NOCASE, "
	"key TEXT NOT NULL, "
	"position TEXT NOT NULL, "
	"run INTEGER NOT NULL, "
	"PRIMARY KEY (journal, \"table\", key)) WITHOUT ROWID";

static int
has_table(const struct mb_sqlmark *m, const char *name, struct mb_err *err)
{
	return mb_sqldb_ask(m->db, "SELECT 1 FROM main.sqlite_master WHERE "
	    "type = 'table' AND name = ?1", name, err);
}

static int
has_commits(const struct mb_sqlmark *m, struct mb_err *err)
{
	return has_table(m, "mb_commits", err);
}

int
mb_sqlmark_foreign_id(char **out, const struct mb_sqlmark *m,
    struct mb_err *err)
{
	struct mb_statement *st;
	int rc = has_commits(m, err);

	if (rc <= 0)
		return rc;
	if (mb_statement_open(&st, m->db, "SELECT target_id FROM "
	    "main.mb_commits WHERE \"table\" = ?1 AND target_id LIKE '"
	    MB_SQLMARK_FOREIGN "%'", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, m->table);
	rc = mb_statement_next(st, err);
	if (rc > 0)
		*out = mb_strdup(mb_statement_text(st, 0));
	mb_statement_close(st);
	return rc;
}

static int
set_marker(struct mb_marker *out, const struct mb_sqlmark *m,
    struct mb_statement *row, struct mb_err *err)
{
	const char *digest = mb_statement_text(row, 2);

	out->exists = true;
	out->first = (uint64_t)mb_statement_number(row, 0);
	out->last = (uint64_t)mb_statement_number(row, 1);
	if (out->first > out->last || !mb_is_hex(mb_str(digest), MB_HASH_LEN))
		return mb_fail(err, MB_ECORRUPT, "%s: damaged marker in "
		    "mb_commits", m->place);
	memcpy(out->digest.hex, digest, MB_HASH_LEN);
	if (mb_marker_parse_holes(out, mb_statement_text(row, 3), err) < 0)
		return mb_wrap(err, "%s", m->place);
	return 0;
}

int
mb_sqlmark_read(struct mb_marker *out, const struct mb_sqlmark *m,
    struct mb_err *err)
{
	struct mb_statement *st;
	int rc = has_commits(m, err);

	*out = (struct mb_marker){ 0 };
	if (rc <= 0)
		return rc;
	if (mb_statement_open(&st, m->db, "SELECT first, last, digest, holes "
	    "FROM main.mb_commits WHERE journal = ?1 AND \"table\" = ?2",
	    err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, m->journal);
	mb_statement_bind_text(st, 2, m->table);
	rc = mb_statement_next(st, err);
	if (rc > 0)
		rc = set_marker(out, m, st, err);
	mb_statement_close(st);
	if (rc < 0)
		mb_marker_release(out);
	return rc;
}

int
mb_sqlmark_check_journal(const struct mb_sqlmark *m, struct mb_err *err)
{
	struct mb_statement *st;
	int rc;

	if (m->journal_path == NULL)
		return 0;	/* a plain stream */
	rc = has_commits(m, err);
	if (rc <= 0)
		return rc;
	if (mb_statement_open(&st, m->db, "SELECT first, last, journal "
	    "FROM main.mb_commits WHERE \"table\" = ?1 AND "
	    "journal_path = ?2 AND journal <> ?3", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, m->table);
	mb_statement_bind_text(st, 2, m->journal_path);
	mb_statement_bind_text(st, 3, m->journal);
	rc = mb_statement_next(st, err);
	if (rc > 0)
		rc = mb_fail(err, MB_ECORRUPT, "%s: has batches %s-%s of "
		    "another journal that was at %s (id %s): it was lost or "
		    "made anew; --new-target begins a new stream", m->place,
		    mb_statement_text(st, 0), mb_statement_text(st, 1),
		    m->journal_path, mb_statement_text(st, 2));
	mb_statement_close(st);
	return rc;
}

int
mb_sqlmark_touch(const struct mb_sqlmark *m, struct mb_err *err)
{
	struct mb_statement *st;
	int rc;

	if (mb_statement_open(&st, m->db, "UPDATE main.mb_commits SET "
	    "times_checked = times_checked + 1 WHERE journal = ?1 AND "
	    "\"table\" = ?2", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, m->journal);
	mb_statement_bind_text(st, 2, m->table);
	rc = mb_statement_next(st, err);
	mb_statement_close(st);
	return rc;
}

/* Whoever else was at our path is no longer looked for there. */
static int
take_over_path(const struct mb_sqlmark *m, struct mb_err *err)
{
	struct mb_statement *st;
	int rc;

	if (mb_statement_open(&st, m->db, "UPDATE main.mb_commits SET "
	    "journal_path = NULL WHERE \"table\" = ?1 AND journal_path = ?2 "
	    "AND journal <> ?3", err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, m->table);
	mb_statement_bind_text(st, 2, m->journal_path);
	mb_statement_bind_text(st, 3, m->journal);
	rc = mb_statement_next(st, err);
	mb_statement_close(st);
	return rc;
}

int
mb_sqlmark_write(const struct mb_sqlmark *m, const struct mb_marker *marker,
    const char *target_id, struct mb_err *err)
{
	struct mb_buf holes = { 0 };
	struct mb_statement *st;
	int rc;

	if (m->journal == NULL || !marker->exists)
		return 0;	/* a plain stream */
	if (mb_sqldb_run(m->db, create_commits, err) < 0 ||
	    take_over_path(m, err) < 0)
		return -1;
	if (mb_statement_open(&st, m->db, "INSERT INTO main.mb_commits "
	    "(journal, \"table\", journal_path, target_id, first, last, "
	    "digest, holes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
	    "ON CONFLICT (journal, \"table\") DO UPDATE SET "
	    "journal_path = ?3, target_id = ?4, first = ?5, last = ?6, "
	    "digest = ?7, holes = ?8", err) < 0)
		return -1;
	mb_marker_put_holes(&holes, marker);
	mb_statement_bind_text(st, 1, m->journal);
	mb_statement_bind_text(st, 2, m->table);
	mb_statement_bind_text(st, 3, m->journal_path);
	mb_statement_bind_text(st, 4, target_id);
	mb_statement_bind_number(st, 5, marker->first);
	mb_statement_bind_number(st, 6, marker->last);
	mb_statement_bind_text(st, 7, marker->digest.hex);
	mb_statement_bind_text(st, 8, mb_buf_str(&holes));
	rc = mb_statement_next(st, err);
	mb_statement_close(st);
	mb_buf_release(&holes);
	return rc;
}

static int
write_position(struct mb_statement *st, const char *key, const char *text,
    uint64_t run, struct mb_err *err)
{
	int rc;

	mb_statement_bind_text(st, 3, key);
	mb_statement_bind_text(st, 4, text);
	mb_statement_bind_number(st, 5, run);
	rc = mb_statement_next(st, err);
	mb_statement_reset(st);
	return rc;
}

/* Is there one under the key that is further?  1, 0, -1. */
static int
is_position_kept(struct mb_statement *kept, const struct mb_position *p,
    struct mb_err *err)
{
	int rc;

	mb_statement_bind_text(kept, 3, p->key);
	rc = mb_statement_next(kept, err);
	if (rc > 0)
		rc = !mb_position_is_further(p->json,
		    mb_statement_text(kept, 0));
	mb_statement_reset(kept);
	return rc;
}

int
mb_sqlmark_write_positions(const struct mb_sqlmark *m,
    const struct mb_positions *positions, struct mb_err *err)
{
	const struct mb_positions *p = positions;
	struct mb_statement *st = NULL, *kept = NULL;
	int rc = -1;

	if (p == NULL)
		return 0;
	if (mb_sqldb_run(m->db, create_positions, err) < 0)
		return -1;
	if (mb_statement_open(&st, m->db, "INSERT OR REPLACE INTO "
	    "main.mb_positions (journal, \"table\", key, position, run) "
	    "VALUES (?1, ?2, ?3, ?4, ?5)", err) < 0 ||
	    mb_statement_open(&kept, m->db, "SELECT position FROM "
	    "main.mb_positions WHERE journal = ?1 AND \"table\" = ?2 AND "
	    "key = ?3", err) < 0)
		goto out;
	mb_statement_bind_text(st, 1, m->journal);
	mb_statement_bind_text(st, 2, m->table);
	mb_statement_bind_text(kept, 1, m->journal);
	mb_statement_bind_text(kept, 2, m->table);
	rc = write_position(st, "", p->open, p->run, err);
	for (size_t i = 0; i < p->n && rc == 0; i++) {
		rc = is_position_kept(kept, &p->v[i], err);
		if (rc == 0)
			rc = write_position(st, p->v[i].key, p->v[i].json,
			    p->run, err);
		else if (rc > 0)
			rc = 0;
	}
out:
	mb_statement_close(st);
	mb_statement_close(kept);
	return rc;
}

int
mb_sqlmark_is_shared(const struct mb_sqlmark *m, struct mb_err *err)
{
	return mb_sqldb_ask(m->db, "SELECT 1 FROM main.mb_commits WHERE "
	    "\"table\" = ?1 AND journal <> (SELECT max(journal) FROM "
	    "main.mb_commits WHERE \"table\" = ?1)", m->table, err);
}

int
mb_sqlmark_find_journal(struct mb_found *out, const struct mb_sqlmark *m,
    struct mb_err *err)
{
	struct mb_statement *st;
	int rc = has_commits(m, err);

	if (rc < 0)
		return -1;
	if (rc == 0)
		return mb_fail(err, MB_EUSAGE, "%s: no journal has committed "
		    "there", m->place);
	if (mb_statement_open(&st, m->db, "SELECT journal FROM "
	    "main.mb_commits WHERE \"table\" = ?1 AND journal_path = ?2",
	    err) < 0)
		return -1;
	mb_statement_bind_text(st, 1, m->table);
	mb_statement_bind_text(st, 2, m->journal_path);
	rc = mb_statement_next(st, err);
	if (rc > 0 && mb_is_hex(mb_str(mb_statement_text(st, 0)),
	    MB_ID_LEN)) {
		memcpy(out->journal, mb_statement_text(st, 0), MB_ID_LEN);
		rc = mb_statement_next(st, err);
		if (rc > 0)
			rc = mb_fail(err, MB_EUSAGE, "%s: several journals "
			    "have been at %s", m->place, m->journal_path);
	} else if (rc >= 0) {
		rc = mb_fail(err, MB_EUSAGE, "%s: has no batches of a journal "
		    "at %s", m->place, m->journal_path);
	}
	mb_statement_close(st);
	return rc;
}

int
mb_sqlmark_find_positions(struct mb_found *out, const struct mb_sqlmark *m,
    struct mb_err *err)
{
	struct mb_statement *st;
	bool has_open = false;
	int rc = has_table(m, "mb_positions", err);

	if (rc < 0)
		return -1;
	mb_buf_addc(&out->positions, '[');
	if (rc > 0) {
		if (mb_statement_open(&st, m->db, "SELECT key = '', "
		    "position, run FROM main.mb_positions WHERE "
		    "journal = ?1 AND \"table\" = ?2", err) < 0)
			return -1;
		mb_statement_bind_text(st, 1, m->journal);
		mb_statement_bind_text(st, 2, m->table);
		while ((rc = mb_statement_next(st, err)) > 0) {
			uint64_t used = (uint64_t)mb_statement_number(st, 2);

			if (used > out->run)
				out->run = used;
			if (mb_statement_number(st, 0) != 0) {
				mb_buf_adds(&out->open,
				    mb_statement_text(st, 1));
				has_open = true;
				continue;
			}
			if (out->positions.len > 1)
				mb_buf_addc(&out->positions, ',');
			mb_buf_adds(&out->positions, mb_statement_text(st, 1));
		}
		mb_statement_close(st);
		if (rc < 0)
			return -1;
	}
	mb_buf_addc(&out->positions, ']');
	return has_open ? 0 : mb_fail(err, MB_EUSAGE, "%s: has batches of "
	    "which it isn't known how far the sources were read", m->place);
}
