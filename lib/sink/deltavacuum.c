/*
 * What is old is listed before the log is read, so that a file that a version
 * names later is not among it.
 *
 * A file is known by its name without the directories: a path in the log may
 * lead to it in many ways (absolute, with percent signs, "./"), and no two
 * data files are named alike by chance.
 */
#include "sink/deltavacuum.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "delta/checkpoint.h"
#include "delta/fields.h"
#include "delta/files.h"
#include "delta/save.h"

enum { MAX_DEPTH = 32, THIN_MS = 3600000 };

/* A logical file of the log whose data file is old. */
struct known {
	size_t name;		/* its data file's, by position in names */
	bool is_needed;
};

struct vacuum {
	struct mb_names old;	/* paths below the table, of files not of this
				   week … */
	size_t *name;		/* … and the position of the name of each */
	size_t cap_old;
	struct mb_names names;
	int64_t before_ms;	/* what was removed before this may go */
	struct mb_names keys;	/* of logical files */
	struct known *v;	/* by position */
	size_t cap;
};

/* What stands behind the last slash. */
static struct mb_str
last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return mb_str(slash == NULL ? path : slash + 1);
}

static void
add_old(struct vacuum *vac, struct mb_str path, struct mb_str name)
{
	ssize_t i = mb_names_index(&vac->names, name);

	if (i < 0) {
		i = (ssize_t)vac->names.n;
		mb_names_add(&vac->names, name);
	}
	if (vac->old.n == vac->cap_old) {
		vac->cap_old = vac->cap_old * 2 + 64;
		vac->name = mb_realloc_array(vac->name, vac->cap_old,
		    sizeof *vac->name);
	}
	vac->name[vac->old.n] = (size_t)i;
	mb_names_add(&vac->old, path);
}

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
			add_old(vac, (struct mb_str){ path->p, path->len },
			    mb_str(e->d_name));
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

/* The old name that a path of the log leads to; -1: none. */
static ssize_t
find_name(const struct vacuum *vac, const char *uri)
{
	char *path;
	ssize_t i;

	(void)mb_delta_path_decode(&path, uri);
	i = mb_names_index(&vac->names, last_name(path));
	free(path);
	/* Some engine may have written a percent sign as it is. */
	return i >= 0 ? i : mb_names_index(&vac->names, last_name(uri));
}

static void
note(struct vacuum *vac, struct mb_str key, struct known k)
{
	ssize_t i = mb_names_index(&vac->keys, key);

	if (i < 0) {
		i = (ssize_t)vac->keys.n;
		mb_names_add(&vac->keys, key);
	}
	if (vac->keys.n > vac->cap) {
		vac->cap = vac->cap * 2 + 64;
		vac->v = mb_realloc_array(vac->v, vac->cap, sizeof *vac->v);
	}
	vac->v[i] = k;
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
	char *uri = NULL;
	bool is_add;
	int64_t removed_ms = 0;
	ssize_t name = -1;
	int rc = mb_delta_file_of_line(line, &action, &is_add, err);

	if (rc <= 0)
		return rc;
	rc = mb_delta_file_key(&key, action, err);
	if (rc == 0 && mb_fields_set(&f, action) == NULL &&
	    mb_fields_dup(&f, "path", &uri)) {
		(void)mb_fields_int(&f, "deletionTimestamp", &removed_ms);
		name = find_name(vac, uri);
	}
	if (name >= 0)
		note(vac, (struct mb_str){ key.p, key.len }, (struct known){
		    (size_t)name, is_add || removed_ms >= vac->before_ms });
	free(uri);
	mb_fields_release(&f);
	mb_buf_release(&key);
	return rc;
}

static int
read_needed(struct vacuum *vac, const struct mb_deltavacuum *t,
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
vacuum_files(const struct mb_deltavacuum *t, int64_t now_ms, uint64_t *n,
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
	is_needed = mb_zalloc(vac.names.n + 1);
	for (size_t i = 0; i < vac.keys.n; i++)
		is_needed[vac.v[i].name] |= vac.v[i].is_needed;
	for (size_t i = 0; rc == 0 && i < vac.old.n; i++)
		if (!is_needed[vac.name[i]] &&
		    unlinkat(t->rootfd, vac.old.v[i].p, 0) == 0)
			++*n;
	free(is_needed);
	free(vac.v);
	mb_names_release(&vac.keys);
	mb_names_release(&vac.old);
	mb_names_release(&vac.names);
	free(vac.name);
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

/* Which kinds of actions that every checkpoint has are there? */
enum { HAS_PROTOCOL = 1, HAS_META = 2 };

static int
note_kind(void *arg, struct mb_str line, struct mb_err *err)
{
	struct mb_fields f = { 0 };
	struct mb_json v;
	unsigned *has = arg;

	(void)err;
	if (mb_fields_set(&f, line) == NULL) {
		if (mb_fields_get(&f, "protocol", &v))
			*has |= HAS_PROTOCOL;
		if (mb_fields_get(&f, "metaData", &v))
			*has |= HAS_META;
	}
	mb_fields_release(&f);
	return 0;
}

/*
 * Can all of it be read?  Others don't sync, and a power cut leaves what looks
 * like a checkpoint; what it covers is all that there is then.
 */
static bool
is_whole(const struct mb_delta_log *l, const struct mb_delta_checkpoint *c)
{
	struct mb_err ignored = { 0 };
	unsigned has = 0;

	return mb_delta_checkpoint_read(l, c, MB_DELTA_WANTS_STATE |
	    MB_DELTA_WANTS_FILES, note_kind, &has, &ignored) == 1 &&
	    has == (HAS_PROTOCOL | HAS_META);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names that nobody needs who begins at this version. */
static void
list_covered(struct mb_names *out, DIR *d, int64_t version)
{
	struct dirent *e;

	mb_names_reset(out);
	rewinddir(d);
	/* The commit of the checkpoint itself stays. */
	while ((e = readdir(d)) != NULL) {
		int64_t v = version_of(e->d_name);

		if (v >= 0 && (v < version ||
		    (v == version && is_compacted(e->d_name))))
			mb_names_add(out, mb_str(e->d_name));
	}
}

/*
 * From the oldest on, so that whoever finds a version can rely on those behind
 * it (log.h, L2), also if we die on the way.
 */
static void
remove_names(int fd, const struct mb_names *names, uint64_t *n)
{
	const char **sorted = mb_realloc_array(NULL, names->n + 1,
	    sizeof *sorted);

	for (size_t i = 0; i < names->n; i++)
		sorted[i] = names->v[i].p;
	qsort(sorted, names->n, sizeof *sorted, compare_names);
	for (size_t i = 0; i < names->n; i++)
		*n += unlinkat(fd, sorted[i], 0) == 0;
	free(sorted);
}

/* What the newest whole checkpoint covers that is old itself, by its commit. */
static int
vacuum_log(const struct mb_deltavacuum *t, int64_t now_ms, uint64_t *n,
    struct mb_err *err)
{
	const char *enabled = mb_delta_property(&t->state->meta,
	    "delta.enableExpiredLogCleanup");
	int64_t before_ms = now_ms - retention(&t->state->meta,
	    "delta.logRetentionDuration", INT64_C(2592000000));
	struct mb_delta_listing list;
	struct mb_names names = { 0 };
	char name[MB_DELTA_NAME];
	int fd;
	DIR *d;

	if (enabled != NULL && strcasecmp(enabled, "true") != 0)
		return 0;
	if (mb_delta_log_list(&list, t->log, err) < 0)
		return -1;
	fd = mb_openat(t->log->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		mb_fail_sys(err, "%s: _delta_log", t->log->place);
		if (fd >= 0)
			close(fd);
		mb_delta_listing_release(&list);
		return -1;
	}
	for (size_t i = list.n; i > 0; i--) {
		mb_delta_commit_name(name, list.v[i - 1].version);
		if (!is_older(t->log, name, before_ms))
			continue;
		list_covered(&names, d, list.v[i - 1].version);
		if (names.n > 0 && !is_whole(t->log, &list.v[i - 1]))
			continue;
		remove_names(fd, &names, n);
		break;
	}
	mb_names_release(&names);
	closedir(d);
	mb_delta_listing_release(&list);
	return 0;
}

/*
 * Where batches are small and many, checkpoints come by the hundred, and each
 * has all tombstones of a week.  Of those that are older than an hour one an
 * hour is kept: whoever goes back in time reads the commits from there on.
 * The newest stays, and so does what others need to be whole.
 */
static int
thin_checkpoints(const struct mb_deltavacuum *t, int64_t now_ms, uint64_t *n,
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
mb_deltavacuum_run(const struct mb_deltavacuum *t, int64_t now_ms,
    uint64_t *n_files, struct mb_err *err)
{
	*n_files = 0;
	if (vacuum_files(t, now_ms, n_files, err) < 0)
		return mb_wrap(err, "%s: vacuum", t->log->place);
	if (vacuum_log(t, now_ms, n_files, err) < 0)
		return -1;
	return thin_checkpoints(t, now_ms, n_files, err);
}
