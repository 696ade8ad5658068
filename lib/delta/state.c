/*
 * Loading begins at the newest checkpoint.  _last_checkpoint says where it
 * should be; if that one is there, with its commit, the versions behind it
 * are looked for one by one (L2), and the directory, which may hold hundreds
 * of thousands of names, needn't be listed.  In every other case it is.
 */
#include "delta/state.h"

#include <inttypes.h>
#include <stdlib.h>

#include "delta/checkpoint.h"
#include "delta/fields.h"

static void
set_txn(struct mb_delta_state *s, struct mb_str app, int64_t version,
    int64_t updated_ms)
{
	ssize_t i = mb_names_index(&s->apps, app);

	if (i < 0) {
		i = (ssize_t)s->apps.n;
		mb_names_add(&s->apps, app);
		if (s->apps.n > s->cap_txns) {
			s->cap_txns = s->cap_txns * 2 + 16;
			s->txns = mb_realloc_array(s->txns, s->cap_txns,
			    sizeof *s->txns);
		}
	}
	s->txns[i] = (struct mb_delta_txn){ version, updated_ms };
}

static int
apply_txn(struct mb_delta_state *s, const struct mb_fields *f,
    struct mb_err *err)
{
	struct mb_buf app = { 0 };
	int64_t version, updated = -1;
	bool ok = mb_fields_text(f, "appId", &app) &&
	    mb_fields_int(f, "version", &version);

	if (ok) {
		(void)mb_fields_int(f, "lastUpdated", &updated);
		set_txn(s, (struct mb_str){ app.p, app.len }, version,
		    updated);
	}
	mb_buf_release(&app);
	return ok ? 0 : mb_fail(err, MB_ECORRUPT, "a txn action without appId "
	    "or version");
}

static int
apply_domain(struct mb_delta_state *s, const struct mb_fields *f,
    struct mb_str text, struct mb_err *err)
{
	struct mb_buf name = { 0 }, copy = { 0 };
	bool is_removed = false;
	ssize_t i;

	if (!mb_fields_text(f, "domain", &name))
		return mb_fail(err, MB_ECORRUPT, "a domainMetadata action "
		    "without a domain");
	(void)mb_fields_bool(f, "removed", &is_removed);
	i = mb_names_index(&s->domains, (struct mb_str){ name.p, name.len });
	if (i < 0) {
		i = (ssize_t)s->domains.n;
		mb_names_add(&s->domains, (struct mb_str){ name.p, name.len });
		s->domain_texts = mb_realloc_array(s->domain_texts,
		    s->domains.n, sizeof *s->domain_texts);
		s->domain_texts[i] = NULL;
	}
	free(s->domain_texts[i]);
	s->domain_texts[i] = NULL;
	if (!is_removed) {
		mb_buf_add(&copy, text.p, text.len);
		s->domain_texts[i] = mb_buf_take(&copy);
	}
	mb_buf_release(&name);
	return 0;
}

static void
apply_info(struct mb_delta_state *s, const struct mb_fields *f)
{
	struct mb_buf engine = { 0 };

	free(s->txn_id);
	s->txn_id = NULL;
	if (mb_fields_dup(f, "txnId", &s->txn_id) && s->awaits != NULL &&
	    strcmp(s->txn_id, s->awaits) == 0)
		s->has_seen = true;
	(void)mb_fields_int(f, "inCommitTimestamp", &s->time_ms);
	s->is_ours = mb_fields_text(f, "engineInfo", &engine) &&
	    strncmp(mb_buf_str(&engine), "mb/", 3) == 0;
	mb_buf_release(&engine);
}

bool
mb_delta_totals_move(struct mb_delta_totals *t, int64_t size, bool is_add)
{
	if (size < 0)
		return false;
	return is_add ? !__builtin_add_overflow(t->files, 1, &t->files) &&
	    !__builtin_add_overflow(t->bytes, size, &t->bytes) :
	    !__builtin_sub_overflow(t->files, 1, &t->files) &&
	    !__builtin_sub_overflow(t->bytes, size, &t->bytes);
}

/*
 * A file of a commit.  We never add one that is there, nor remove one that
 * isn't; of others that is certain only where a file is added with new rows.
 */
static void
count_file(struct mb_delta_state *s, const struct mb_fields *f, bool is_add)
{
	bool is_change = false;
	int64_t size;

	(void)mb_fields_bool(f, "dataChange", &is_change);
	if (!mb_fields_int(f, "size", &size) ||
	    !mb_delta_totals_move(&s->totals, size, is_add) ||
	    (!s->is_ours && !(is_add && is_change)))
		s->is_uncountable = true;
}

/* With its first line: the last one stands until there is another. */
static void
begin_commit(struct mb_delta_state *s)
{
	s->is_begun = true;
	s->is_ours = s->is_uncountable = false;
	s->time_ms = -1;
	free(s->txn_id);
	s->txn_id = NULL;
}

static void
end_commit(struct mb_delta_state *s)
{
	if (s->is_uncountable)
		s->totals.is_known = false;
}

static int
apply_action(struct mb_delta_state *s, const struct mb_json_member *m,
    struct mb_err *err)
{
	struct mb_fields f = { 0 };
	struct mb_str name = m->key, text = m->value.text;
	bool is_info = mb_str_eq(name, MB_STR("commitInfo")),
	    is_txn = mb_str_eq(name, MB_STR("txn")),
	    is_domain = mb_str_eq(name, MB_STR("domainMetadata")),
	    is_protocol = mb_str_eq(name, MB_STR("protocol")),
	    is_meta = mb_str_eq(name, MB_STR("metaData")),
	    is_add = mb_str_eq(name, MB_STR("add")),
	    is_file = is_add || mb_str_eq(name, MB_STR("remove"));
	int rc = 0;

	/* What only newer readers know is passed over. */
	if (!is_info && !is_txn && !is_domain && !is_protocol && !is_meta &&
	    !(is_file && s->totals.is_known))
		return 0;
	if (m->value.kind != MB_JSON || mb_fields_set(&f, text) != NULL) {
		rc = m->value.kind == MB_NULL ? 0 : mb_fail(err, MB_ECORRUPT,
		    "an action that is no object");
	} else if (is_info) {
		apply_info(s, &f);
	} else if (is_file) {
		count_file(s, &f, is_add);
	} else if (is_txn) {
		rc = apply_txn(s, &f, err);
	} else if (is_domain) {
		rc = apply_domain(s, &f, text, err);
	} else if (is_protocol) {
		s->n_changes++;
		rc = mb_delta_protocol_parse(&s->protocol, text, err);
	} else {
		s->n_changes++;
		rc = mb_delta_meta_parse(&s->meta, text, err);
	}
	mb_fields_release(&f);
	return rc;
}

static int
apply_line(void *arg, struct mb_str line, struct mb_err *err)
{
	struct mb_delta_state *s = arg;
	struct mb_json_members m = { 0 };
	const char *why = mb_json_object(&m, line);
	int rc = 0;

	if (why != NULL)
		rc = mb_fail(err, MB_ECORRUPT, "not an action: %s", why);
	if (!s->is_begun)
		begin_commit(s);
	for (size_t i = 0; rc == 0 && i < m.n; i++)
		rc = apply_action(s, &m.v[i], err);
	if (rc == 0 && s->observer != NULL)
		rc = s->observer->line(s->observer->arg, line, err);
	mb_json_members_release(&m);
	return rc;
}

/* The schema follows the metadata. */
static int
settle(struct mb_delta_state *s, const struct mb_delta_log *l,
    uint64_t n_changes, struct mb_err *err)
{
	if (s->version < 0 || (s->n_changes == n_changes &&
	    s->schema.v != NULL))
		return 0;
	if (s->protocol.text == NULL || s->meta.text == NULL)
		return mb_fail(err, MB_ECORRUPT, "%s: no protocol or metaData "
		    "action in its log", l->place);
	mb_delta_schema_release(&s->schema);
	if (mb_delta_schema_parse(&s->schema, &s->meta, err) < 0)
		return mb_wrap(err, "%s", l->place);
	return 0;
}

/* Read the commit of this version: 1, 0 it isn't there, -1. */
static int
read_commit(struct mb_delta_state *s, const struct mb_delta_log *l,
    int64_t version, struct mb_err *err)
{
	char name[MB_DELTA_NAME];
	struct mb_delta_file_id id;
	int rc;

	mb_delta_commit_name(name, version);
	s->is_begun = false;
	rc = mb_delta_log_lines(l, name, apply_line, s, &id, err);
	if (rc > 0) {
		end_commit(s);
		s->version = version;
		s->id = id;
		s->tail_bytes += id.size;
	}
	return rc;
}

/*
 * All versions behind the one that we are at.  A version that is missing
 * although the one behind it is there must not be taken for the end, and
 * least of all be written.
 */
static int
read_on(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	int rc, beyond = 0;

	for (;;) {
		while ((rc = read_commit(s, l, s->version + 1, err)) > 0)
			;
		if (rc < 0)
			return -1;
		if (beyond > 0)
			return mb_fail(err, MB_ECORRUPT, "%s: version %"
			    PRId64 " is missing in its log, which goes on",
			    l->place, s->version + 1);
		/* If it is there, ours may have come in the meantime. */
		beyond = mb_delta_log_has(l, s->version + 2, NULL, err);
		if (beyond <= 0)
			return beyond;
	}
}

/*
 * Begin with the checkpoint: 1, or 0 if it isn't there or can't be read, and
 * another should be tried.
 */
static int
begin_at(struct mb_delta_state *s, const struct mb_delta_log *l,
    const struct mb_delta_checkpoint *c, struct mb_err *err)
{
	struct mb_err why = { 0 };
	int rc;

	mb_delta_state_release(s);
	s->totals.is_known = false;
	rc = mb_delta_checkpoint_read(l, c, MB_DELTA_WANTS_STATE |
	    (s->observer != NULL ? MB_DELTA_WANTS_FILES : 0), apply_line, s,
	    &why);
	if (rc > 0 && (s->protocol.text == NULL || s->meta.text == NULL))
		rc = mb_fail(&why, MB_ECORRUPT, "%s: the checkpoint of "
		    "version %" PRId64 " has no protocol or metaData action",
		    l->place, c->version);
	if (rc > 0) {
		s->version = c->version;
		s->checkpoint = *c;
		return 1;
	}
	mb_delta_state_release(s);
	if (rc < 0) {
		*err = why;
		return why.code == MB_EDATA || why.code == MB_ECORRUPT ? 0 :
		    -1;
	}
	return 0;
}

/* By _last_checkpoint alone: 1, 0 if that doesn't lead to the end. */
static int
load_by_hint(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	struct mb_delta_checkpoint c = { 0 };
	struct mb_err ignored = { 0 };
	struct mb_buf text = { 0 };
	struct mb_fields f = { 0 };
	struct mb_delta_file_id id;
	int64_t parts = 0;
	bool ok;
	int rc;

	rc = mb_delta_log_read(l, "_last_checkpoint", &text, &ignored);
	ok = rc > 0 && mb_fields_set(&f, (struct mb_str){ text.p,
	    text.len }) == NULL &&
	    mb_fields_int(&f, "version", &c.version) && c.version >= 0 &&
	    c.version <= MB_DELTA_LAST_VERSION;
	if (ok && mb_fields_int(&f, "parts", &parts))
		ok = parts > 0 && parts <= UINT32_MAX;
	if (ok) {
		int64_t bytes = 0;

		c.parts = (uint32_t)parts;
		(void)mb_fields_int(&f, "sizeInBytes", &bytes);
		c.size = bytes < 0 ? 0 : (uint64_t)bytes;
	}
	mb_fields_release(&f);
	mb_buf_release(&text);
	if (!ok)
		return 0;
	rc = mb_delta_log_has(l, c.version, &id, &ignored);
	if (rc > 0)
		rc = begin_at(s, l, &c, &ignored);
	if (rc <= 0)
		return 0;	/* the listing knows more, or what is wrong */
	s->id = id;
	if (read_on(s, l, err) < 0)
		return -1;
	return mb_delta_log_has(l, s->version, NULL, err);	/* L2 */
}

static int
load_by_listing(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	struct mb_delta_listing list;
	struct mb_err why = { 0 };
	int64_t last;
	int rc = 0;

	if (mb_delta_log_list(&list, l, err) < 0)
		return -1;
	for (size_t i = list.n; rc == 0 && i > 0; i--)
		rc = begin_at(s, l, &list.v[i - 1], &why);
	if (rc < 0) {
		*err = why;
		goto out;
	}
	last = list.last > s->version ? list.last : s->version;
	if (rc == 0 && list.first > 0) {
		rc = why.code != MB_OK ? (*err = why, -1) :
		    mb_fail(err, MB_ECORRUPT, "%s: its log begins with "
		    "version %" PRId64 " and has no checkpoint for it",
		    l->place, list.first);
		goto out;
	}
	if (rc > 0) {
		/* Clean-up keeps a checkpoint's own commit. */
		rc = mb_delta_log_has(l, s->version, &s->id, err);
		if (rc == 0)
			rc = mb_fail(err, MB_ECORRUPT, "%s: version %" PRId64
			    " is missing in its log", l->place, s->version);
	}
	if (rc >= 0)
		rc = read_on(s, l, err);
	if (rc == 0 && s->version < last)
		rc = mb_fail(err, MB_ECORRUPT, "%s: version %" PRId64 " is "
		    "missing in its log, which goes on to %" PRId64, l->place,
		    s->version + 1, last);
out:
	mb_delta_listing_release(&list);
	return rc < 0 ? -1 : 0;
}

static bool
has_times(const struct mb_delta_state *s)
{
	return s->version >= 0 && mb_delta_property_is_true(&s->meta,
	    "delta.enableInCommitTimestamps") &&
	    mb_delta_has_feature(&s->protocol, "inCommitTimestamp");
}

static int
take_time(void *arg, struct mb_str line, struct mb_err *err)
{
	struct mb_delta_state *s = arg;
	struct mb_fields f = { 0 }, info = { 0 };
	struct mb_str object;

	(void)err;
	if (mb_fields_set(&f, line) == NULL &&
	    mb_fields_raw(&f, "commitInfo", '{', &object) &&
	    mb_fields_set(&info, object) == NULL)
		(void)mb_fields_int(&info, "inCommitTimestamp", &s->time_ms);
	mb_fields_release(&f);
	mb_fields_release(&info);
	return 0;
}

/* The checkpoint is the newest version: only its commit has the time. */
static int
read_time(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	char name[MB_DELTA_NAME];

	mb_delta_commit_name(name, s->version);
	return mb_delta_log_lines(l, name, take_time, s, NULL, err) < 0 ? -1 :
	    0;
}

int
mb_delta_state_load(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	int rc;

	mb_delta_state_release(s);
	rc = load_by_hint(s, l, err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		mb_delta_state_release(s);
		if (load_by_listing(s, l, err) < 0)
			return -1;
	}
	if (settle(s, l, UINT64_MAX, err) < 0)
		return -1;
	return has_times(s) && s->time_ms < 0 ? read_time(s, l, err) : 0;
}

int64_t
mb_delta_state_next_time(const struct mb_delta_state *s, int64_t now_ms)
{
	if (!has_times(s))
		return -1;
	if (now_ms > s->time_ms)
		return now_ms;
	return s->time_ms < INT64_MAX ? s->time_ms + 1 : INT64_MAX;
}

/* Is what we have read still what is there? */
static int
check_same(const struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	struct mb_delta_file_id id;
	int rc = mb_delta_log_has(l, s->version, &id, err);

	if (rc < 0)
		return -1;
	if (rc == 0 || id.ino != s->id.ino || id.dev != s->id.dev ||
	    id.size != s->id.size)
		return mb_fail(err, MB_ECORRUPT, "%s: version %" PRId64 " of "
		    "its log was removed or replaced: was the table dropped?",
		    l->place, s->version);
	return 0;
}

int
mb_delta_state_advance(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	uint64_t n_changes = s->n_changes;

	if (s->version < 0)
		return mb_delta_state_load(s, l, err);
	/* Before, lest we follow another table; behind, for L2. */
	if (check_same(s, l, err) < 0 || read_on(s, l, err) < 0 ||
	    check_same(s, l, err) < 0)
		return -1;
	return settle(s, l, n_changes, err);
}

int
mb_delta_state_suppose(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_str text, struct mb_err *err)
{
	uint64_t n_changes = s->n_changes;
	const char *newline;

	s->tail_bytes += text.len;
	s->is_begun = false;
	while ((newline = memchr(text.p, '\n', text.len)) != NULL) {
		size_t len = (size_t)(newline - text.p);

		if (apply_line(s, (struct mb_str){ text.p, len }, err) < 0)
			return -1;
		text.p += len + 1;
		text.len -= len + 1;
	}
	end_commit(s);
	s->version++;
	return settle(s, l, n_changes, err);
}

int
mb_delta_state_apply(struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_str text, struct mb_err *err)
{
	if (mb_delta_state_suppose(s, l, text, err) < 0)
		return -1;
	return mb_delta_log_has(l, s->version, &s->id, err) < 0 ? -1 : 0;
}

void
mb_delta_state_release(struct mb_delta_state *s)
{
	struct mb_delta_observer *observer = s->observer;
	const char *awaits = s->awaits;

	if (observer != NULL)
		observer->reset(observer->arg);
	mb_delta_protocol_release(&s->protocol);
	mb_delta_meta_release(&s->meta);
	mb_delta_schema_release(&s->schema);
	for (size_t i = 0; i < s->domains.n; i++)
		free(s->domain_texts[i]);
	free(s->domain_texts);
	free(s->txns);
	free(s->txn_id);
	mb_names_release(&s->apps);
	mb_names_release(&s->domains);
	*s = (struct mb_delta_state){ .version = -1,
		.checkpoint = { .version = -1 }, .observer = observer,
		.totals.is_known = true,	/* of nothing */
		.time_ms = -1,
		.awaits = awaits };
}

bool
mb_delta_state_txn(const struct mb_delta_state *s, const char *app,
    int64_t *version)
{
	ssize_t i = mb_names_index(&s->apps, mb_str(app));

	if (i < 0)
		return false;
	*version = s->txns[i].version;
	return true;
}
