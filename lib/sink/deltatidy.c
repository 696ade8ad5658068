/*
 * Joining.  The new file is written first; then, as with any commit, the log
 * is read on and every file that is to be removed must still be there: what
 * somebody else has rewritten, deleted from or removed would come back to life
 * otherwise.
 *
 * Vacuum.  What is old is listed before the log is read, so that a file that
 * a version names later is not among it.
 */
#include "sink/deltatidy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/opt.h"
#include "delta/checkpoint.h"
#include "delta/commit.h"
#include "delta/fields.h"
#include "delta/files.h"
#include "delta/gate.h"
#include "delta/save.h"
#include "sink/deltajoin.h"

enum { MAX_RACES = 5, MAX_DEPTH = 32, THIN_MS = 3600000 };

static void
put_join(const struct mb_deltatidy *t, struct mb_buf *out,
    const struct mb_deltasmall_file *v, size_t n,
    const struct mb_deltajoin *j, const char *txn_id, int64_t now_ms)
{
	char tag[48];

	mb_delta_put_info(out, &(struct mb_delta_info){
		.time_ms = now_ms, .operation = "OPTIMIZE",
		.in_commit_ms = mb_delta_state_next_time(t->state, now_ms),
		.txn_id = txn_id, .version = MB_VERSION,
	});
	for (size_t i = 0; i < n; i++)
		mb_delta_put_remove(out, v[i].action, false, now_ms);
	snprintf(tag, sizeof tag, "%.32s/%u", t->journal, v[0].level + 1);
	mb_delta_put_add(out, &(struct mb_delta_add){
		.path = j->path, .partition = v[0].partition,
		.size = j->file.size, .time_ms = now_ms,
		.stats = j->file.stats, .n_tags = 1,
		.tags = &(struct mb_delta_tag){ "mb.joined", tag },
	});
}

/* Is everything as it was when the files were read? */
static bool
is_as_before(const struct mb_deltatidy *t, const struct mb_deltasmall_file *v,
    size_t n, const char *meta)
{
	struct mb_err ignored = { 0 };

	if (strcmp(meta, t->state->meta.text) != 0 || mb_delta_gate_append(
	    &t->state->protocol, &t->state->meta, &t->state->schema,
	    &ignored) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!mb_deltasmall_has(t->small, v[i].action))
			return false;
	return true;
}

static int
commit_join(struct mb_deltatidy *t, const struct mb_deltasmall_file *v,
    size_t n, struct mb_deltajoin *j, const char *meta, int64_t now_ms,
    struct mb_err *err)
{
	char txn_id[MB_UUID_LEN + 1];
	struct mb_buf text = { 0 };
	int rc = 0;

	if (mb_delta_uuid(txn_id, err) < 0)
		return -1;
	for (int i = 0; rc == 0 && i < MAX_RACES; i++) {
		struct mb_err why = { 0 };
		struct mb_stage *stage;

		t->state->awaits = txn_id;
		t->state->has_seen = false;
		rc = mb_delta_state_advance(t->state, t->log, err);
		if (rc == 0 && t->state->has_seen)
			rc = 1;
		else if (rc == 0 && !is_as_before(t, v, n, meta))
			break;
		if (rc == 0)
			rc = mb_datafile_name(&j->file, err);
		if (rc != 0)
			break;
		mb_buf_reset(&text);
		put_join(t, &text, v, n, j, txn_id, now_ms);
		rc = mb_delta_log_stage(&stage, t->log, t->state->version + 1,
		    (struct mb_str){ text.p, text.len }, err);
		if (rc == 0 && mb_datafile_settle(&j->file, err) < 0) {
			mb_stage_close(stage);
			rc = -1;
		}
		if (rc < 0)
			break;
		if (mb_delta_log_add(t->log, stage, &why) == 0) {
			rc = mb_delta_state_apply(t->state, t->log,
			    (struct mb_str){ text.p, text.len }, err) < 0 ?
			    -1 : 1;
			t->is_unknown = rc < 0;
		} else if (why.code != MB_EEXIST) {
			*err = why;
			t->is_unknown = true;
			rc = -1;
		}
	}
	t->state->awaits = NULL;
	t->state->has_seen = false;
	mb_buf_release(&text);
	return rc;
}

int
mb_deltatidy_join(struct mb_deltatidy *t, uint64_t budget, int64_t now_ms,
    struct mb_err *err)
{
	struct mb_deltasmall_file v[MB_DELTA_JOIN];
	struct mb_deltajoin j = { .dirfd = t->rootfd,
		.tmpfd = t->log->tmpfd, .syncs = t->syncs, .codec = t->codec,
		.schema = &t->state->schema, .meta = &t->state->meta };
	struct mb_arena arena = { 0 };
	size_t n = mb_deltasmall_choose(t->small, budget, v);
	char *meta;
	int rc;

	t->is_unknown = false;
	t->joined_bytes = 0;
	if (n == 0)
		return 0;
	/* What was chosen goes as soon as the log is read on. */
	for (size_t i = 0; i < n; i++) {
		t->joined_bytes += v[i].size;
		v[i].action.p = mb_arena_dup(&arena, v[i].action.p,
		    v[i].action.len);
		v[i].partition = mb_arena_dup(&arena, v[i].partition,
		    strlen(v[i].partition));
	}
	meta = mb_strdup(t->state->meta.text);
	rc = mb_deltajoin_run(&j, v, n, err);
	if (rc > 0) {
		rc = commit_join(t, v, n, &j, meta, now_ms, err);
		if (rc <= 0 && !t->is_unknown)
			mb_datafile_unname(&j.file);
	} else if (rc == 0) {
		rc = mb_fail(err, MB_EDATA, "%s: its small files can't be "
		    "joined: their columns aren't the table's", t->log->place);
	}
	mb_deltajoin_release(&j);
	mb_arena_release(&arena);
	free(meta);
	return rc;
}

/*
 * Vacuum.
 */
/* A logical file of the log whose data file is old. */
struct known {
	size_t old;		/* which */
	bool is_needed;
};

struct vacuum {
	struct mb_names old;	/* paths below the table, of files not of this
				   week */
	int64_t before_ms;	/* what was removed before this may go */
	struct mb_names keys;	/* of logical files */
	struct known *v;	/* by position */
	size_t cap;
};

static bool
is_data_file(const char *name)
{
	size_t len = strlen(name);

	return len > 13 && strncmp(name, "part-", 5) == 0 &&
	    strcmp(name + len - 8, ".parquet") == 0;
}

/* Old files of the directory and those below; `path` ends with a slash. */
static int
list_old(struct vacuum *vac, int atfd, const char *name, struct mb_buf *path,
    int depth, struct mb_err *err)
{
	int fd = mb_openat(atfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
	    0), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t len = path->len;
	struct dirent *e;
	struct stat st;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return mb_fail_sys(err, "%s", name);
	}
	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || e->d_name[0] == '_' ||
		    fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		path->len = len;
		mb_buf_adds(path, e->d_name);
		if (S_ISREG(st.st_mode) && is_data_file(e->d_name) &&
		    (int64_t)st.st_mtim.tv_sec * 1000 < vac->before_ms) {
			mb_names_add(&vac->old, (struct mb_str){ path->p,
			    path->len });
		} else if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH &&
		    strchr(e->d_name, '=') != NULL) {
			mb_buf_addc(path, '/');
			rc = list_old(vac, fd, e->d_name, path, depth + 1,
			    err);
		}
	}
	path->len = len;
	closedir(d);
	return rc;
}

/*
 * An action of a file: the last one of a logical file counts.  One data file
 * may be several, with deletion vectors, and is needed if one of them is.
 */
static int
note_needed(void *arg, struct mb_str line, struct mb_err *err)
{
	struct vacuum *vac = arg;
	struct mb_fields f = { 0 };
	struct mb_buf key = { 0 };
	struct mb_str action;
	char *uri = NULL, *path = NULL;
	bool is_add;
	int64_t removed_ms = 0;
	ssize_t old = -1, i;
	int rc = mb_delta_file_of_line(line, &action, &is_add, err);

	if (rc <= 0)
		return rc;
	rc = mb_delta_file_key(&key, action, err);
	if (rc == 0 && mb_fields_set(&f, action) == NULL &&
	    mb_fields_dup(&f, "path", &uri)) {
		(void)mb_fields_int(&f, "deletionTimestamp", &removed_ms);
		if (mb_delta_path_decode(&path, uri))
			old = mb_names_index(&vac->old, mb_str(path));
	}
	if (old >= 0) {
		i = mb_names_index(&vac->keys, (struct mb_str){ key.p,
		    key.len });
		if (i < 0) {
			i = (ssize_t)vac->keys.n;
			mb_names_add(&vac->keys, (struct mb_str){ key.p,
			    key.len });
		}
		if (vac->keys.n > vac->cap) {
			vac->cap = vac->cap * 2 + 64;
			vac->v = mb_realloc_array(vac->v, vac->cap,
			    sizeof *vac->v);
		}
		vac->v[i] = (struct known){ (size_t)old,
			is_add || removed_ms >= vac->before_ms };
	}
	free(uri);
	free(path);
	mb_fields_release(&f);
	mb_buf_release(&key);
	return rc;
}

static int
read_needed(struct vacuum *vac, const struct mb_deltatidy *t,
    struct mb_err *err)
{
	const struct mb_delta_state *s = t->state;
	char name[MB_DELTA_NAME];
	int rc = 1;

	if (s->checkpoint.version >= 0)
		rc = mb_delta_checkpoint_read(t->log, &s->checkpoint,
		    MB_DELTA_WANTS_FILES, note_needed, vac, err);
	for (int64_t v = s->checkpoint.version + 1; rc > 0 && v <= s->version;
	    v++) {
		mb_delta_commit_name(name, v);
		rc = mb_delta_log_lines(t->log, name, note_needed, vac, NULL,
		    err);
	}
	if (rc == 0)
		return mb_fail(err, MB_EIO, "%s: its log was trimmed "
		    "meanwhile", t->log->place);
	return rc < 0 ? -1 : 0;
}

static int64_t
retention(const struct mb_delta_meta *m, const char *property, int64_t ms)
{
	const char *text = mb_delta_property(m, property);
	int64_t given;

	if (text == NULL)
		return ms;
	/* One that we don't understand keeps everything. */
	return mb_delta_parse_interval(text, &given) ? given : INT64_MAX / 4;
}

static int
vacuum_files(struct mb_deltatidy *t, int64_t now_ms, uint64_t *n,
    struct mb_err *err)
{
	struct vacuum vac = { .before_ms = now_ms - retention(&t->state->meta,
	    "delta.deletedFileRetentionDuration", INT64_C(604800000)) };
	struct mb_buf path = { 0 };
	bool *is_needed;
	int rc;

	rc = list_old(&vac, t->rootfd, ".", &path, 0, err);
	if (rc == 0 && vac.old.n > 0)
		rc = mb_delta_state_advance(t->state, t->log, err);
	if (rc == 0 && vac.old.n > 0)
		rc = read_needed(&vac, t, err);
	is_needed = mb_zalloc(vac.old.n + 1);
	for (size_t i = 0; i < vac.keys.n; i++)
		is_needed[vac.v[i].old] |= vac.v[i].is_needed;
	for (size_t i = 0; rc == 0 && i < vac.old.n; i++)
		if (!is_needed[i] &&
		    unlinkat(t->rootfd, vac.old.v[i].p, 0) == 0)
			++*n;
	free(is_needed);
	free(vac.v);
	mb_names_release(&vac.keys);
	mb_names_release(&vac.old);
	mb_buf_release(&path);
	return rc;
}

/* The version that a name in the log begins with; -1: none. */
static int64_t
version_of(const char *name)
{
	int64_t v = 0;

	for (int i = 0; i < 20; i++)
		if (name[i] < '0' || name[i] > '9' ||
		    __builtin_mul_overflow(v, (int64_t)10, &v) ||
		    __builtin_add_overflow(v, (int64_t)(name[i] - '0'), &v))
			return -1;
	return name[20] == '.' ? v : -1;
}

/* X.Y.compacted.json: whoever begins at X needs it no more. */
static bool
is_compacted(const char *name)
{
	return version_of(name) >= 0 && version_of(name + 21) >= 0 &&
	    strcmp(name + 41, ".compacted.json") == 0;
}

static bool
is_older(const struct mb_delta_log *l, const char *name, int64_t before_ms)
{
	struct stat st;

	return fstatat(l->dirfd, name, &st, 0) == 0 &&
	    (int64_t)st.st_mtim.tv_sec * 1000 < before_ms;
}

/* The newest checkpoint that is old itself, by its commit. */
static int64_t
find_cutoff(const struct mb_deltatidy *t, int64_t before_ms,
    struct mb_err *err)
{
	struct mb_delta_listing list;
	char name[MB_DELTA_NAME];
	int64_t cutoff = -1;

	if (mb_delta_log_list(&list, t->log, err) < 0)
		return -1;
	for (size_t i = list.n; cutoff < 0 && i > 0; i--) {
		mb_delta_commit_name(name, list.v[i - 1].version);
		if (is_older(t->log, name, before_ms))
			cutoff = list.v[i - 1].version;
	}
	mb_delta_listing_release(&list);
	return cutoff;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
vacuum_log(const struct mb_deltatidy *t, int64_t now_ms, uint64_t *n,
    struct mb_err *err)
{
	const char *enabled = mb_delta_property(&t->state->meta,
	    "delta.enableExpiredLogCleanup");
	struct mb_names names = { 0 };
	const char **sorted;
	struct dirent *e;
	int64_t cutoff;
	int fd;
	DIR *d;

	if (enabled != NULL && strcmp(enabled, "false") == 0)
		return 0;
	cutoff = find_cutoff(t, now_ms - retention(&t->state->meta,
	    "delta.logRetentionDuration", INT64_C(2592000000)), err);
	if (cutoff < 0)
		return err->code == MB_OK ? 0 : -1;
	fd = mb_openat(t->log->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return mb_fail_sys(err, "%s: _delta_log", t->log->place);
	}
	/* The commit of the checkpoint itself stays. */
	while ((e = readdir(d)) != NULL) {
		int64_t version = version_of(e->d_name);

		if (version >= 0 && (version < cutoff ||
		    (version == cutoff && is_compacted(e->d_name))))
			mb_names_add(&names, mb_str(e->d_name));
	}
	/*
	 * From the oldest on, so that whoever finds a version can rely on
	 * those behind it (log.h, L2), also if we die on the way.
	 */
	sorted = mb_realloc_array(NULL, names.n + 1, sizeof *sorted);
	for (size_t i = 0; i < names.n; i++)
		sorted[i] = names.v[i].p;
	qsort(sorted, names.n, sizeof *sorted, compare_names);
	for (size_t i = 0; i < names.n; i++)
		*n += unlinkat(fd, sorted[i], 0) == 0;
	free(sorted);
	mb_names_release(&names);
	closedir(d);
	return 0;
}

/*
 * Where batches are small and many, checkpoints come by the hundred, and each
 * has all tombstones of a week.  Of those that are older than an hour one an
 * hour is kept: whoever goes back in time reads the commits from there on.
 * The newest stays, and so does what others need to be whole.
 */
static int
thin_checkpoints(const struct mb_deltatidy *t, int64_t now_ms, uint64_t *n,
    struct mb_err *err)
{
	struct mb_delta_listing list;
	char name[MB_DELTA_NAME];
	int64_t kept_hour = -1;
	struct stat st;

	if (mb_delta_log_list(&list, t->log, err) < 0)
		return -1;
	for (size_t i = 0; i + 1 < list.n; i++) {
		const struct mb_delta_checkpoint *c = &list.v[i];
		int64_t ms;

		if (c->parts > 0 || c->uuid[0] != '\0')
			continue;
		mb_delta_checkpoint_name(name, c, 0);
		if (fstatat(t->log->dirfd, name, &st, 0) < 0)
			continue;
		ms = (int64_t)st.st_mtim.tv_sec * 1000;
		if (ms >= now_ms - THIN_MS)
			break;
		if (ms / THIN_MS != kept_hour)
			kept_hour = ms / THIN_MS;
		else
			*n += unlinkat(t->log->dirfd, name, 0) == 0;
	}
	mb_delta_listing_release(&list);
	return 0;
}

int
mb_deltatidy_vacuum(struct mb_deltatidy *t, int64_t now_ms,
    uint64_t *n_files, struct mb_err *err)
{
	*n_files = 0;
	if (vacuum_files(t, now_ms, n_files, err) < 0)
		return mb_wrap(err, "%s: vacuum", t->log->place);
	if (vacuum_log(t, now_ms, n_files, err) < 0)
		return -1;
	return thin_checkpoints(t, now_ms, n_files, err);
}
