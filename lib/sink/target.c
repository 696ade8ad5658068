#include "sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kind {
	const char *prefix;
	int (*open)(struct mb_sink **, const char *,
	    const struct mb_sink_options *, struct mb_err *);
	int (*find)(struct mb_found *, const char *, const char *,
	    struct mb_err *);
	bool writes_text, compresses, merges, has_types, deletes,
	    partitions, can_be_dry, is_lake;
};

/* An option that the kind of target can't follow is refused, not ignored. */
static int
check_options(const struct kind *k, const struct mb_sink_options *o,
    struct mb_err *err)
{
	const char *option = NULL;

	if (o->format != NULL && !k->writes_text)
		option = "--output";
	else if (o->gzip && !k->compresses)
		option = "--gzip";
	else if (o->n_merge_on > 0 && !k->merges)
		option = "--merge-on";
	else if (o->n_partition_by > 0 && !k->partitions)
		option = "--partition-by";
	else if (o->is_dry && !k->can_be_dry)
		option = "--dry-run";
	else if (o->n_schema > 0 && !k->has_types)
		option = "--schema";
	else if (o->delete_when != NULL && !k->deletes)
		option = "--delete-when";
	else if (o->codec != NULL && !k->is_lake)
		option = "--codec";
	else if (o->evolves && !k->is_lake)
		option = "--evolve";
	else if (o->compact_to > 0 && !k->is_lake)
		option = "--compact-to";
	else if (o->vacuums && !k->is_lake)
		option = "--vacuum";
	if (option == NULL)
		return 0;
	return mb_fail(err, MB_EUSAGE, "%s: not for %s", option, k->prefix);
}

/* What stands before the place; *place is what follows it. */
static int
find_kind(const struct kind **out, const char **place, const char *target,
    struct mb_err *err)
{
	static const struct kind kinds[] = {
		{ .prefix = "dir:", .open = mb_sink_open_dir,
		    .find = mb_sink_find_dir, .writes_text = true,
		    .compresses = true, .partitions = true },
		{ .prefix = "sqlite:", .open = mb_sink_open_sqlite,
		    .find = mb_sink_find_sqlite, .merges = true,
		    .has_types = true, .deletes = true },
		{ .prefix = "delta:", .open = mb_sink_open_delta,
		    .find = mb_sink_find_delta, .has_types = true,
		    .partitions = true, .can_be_dry = true, .is_lake = true },
		{ .prefix = "-", .open = mb_sink_open_stdout,
		    .writes_text = true },
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct kind *k = &kinds[i];

		*place = target + strlen(k->prefix);
		if (strncmp(target, k->prefix, strlen(k->prefix)) != 0 ||
		    (k->open == mb_sink_open_stdout && **place != '\0'))
			continue;
		if (k->open != mb_sink_open_stdout && **place == '\0')
			return mb_fail(err, MB_EUSAGE, "%s: names no place",
			    target);
		*out = k;
		return 0;
	}
	return mb_fail(err, MB_EUSAGE, "%s: not a target (dir:PATH, "
	    "sqlite:FILE#TABLE, delta:PATH, or -)", target);
}

int
mb_sink_check(const char *target, const struct mb_sink_options *options,
    struct mb_err *err)
{
	const struct kind *k;
	const char *place;

	return find_kind(&k, &place, target, err) < 0 ? -1 :
	    check_options(k, options, err);
}

int
mb_sink_open(struct mb_sink **out, const char *target,
    const struct mb_sink_options *options, struct mb_err *err)
{
	const struct kind *k;
	const char *place;

	*out = NULL;
	if (find_kind(&k, &place, target, err) < 0 ||
	    check_options(k, options, err) < 0)
		return -1;
	return k->open(out, place, options, err);
}

void
mb_sink_close(struct mb_sink *s)
{
	char *target, *id;

	if (s == NULL)
		return;
	target = s->target;
	id = s->target_id;
	s->ops->close(s);
	free(target);
	free(id);
}

const char *
mb_sink_target(const struct mb_sink *s)
{
	return s->target;
}

const char *
mb_sink_target_id(const struct mb_sink *s)
{
	return s->target_id;
}

int
mb_sink_lookup(struct mb_sink *s, struct mb_marker *out, struct mb_err *err)
{
	*out = (struct mb_marker){ 0 };
	if (s->ops->lookup(s, out, err) == 0)
		return 0;
	mb_marker_release(out);
	return -1;
}

int
mb_sink_begin(struct mb_sink *s, const struct mb_begin *b, struct mb_err *err)
{
	return s->ops->begin(s, b, err);
}

int
mb_sink_add(struct mb_sink *s, struct mb_str records, uint64_t n,
    struct mb_err *err)
{
	s->adding = n;
	return s->ops->add(s, records, err);
}

int
mb_sink_stage(struct mb_sink *s, uint64_t *rows, struct mb_err *err)
{
	return s->ops->stage(s, rows, err);
}

int
mb_sink_commit(struct mb_sink *s, const struct mb_marker *was,
    const struct mb_marker *now, const struct mb_positions *positions,
    struct mb_err *err)
{
	int rc;

	s->positions = positions;
	rc = s->ops->commit(s, was, now, err);
	s->positions = NULL;
	return rc;
}

int
mb_sink_redo(struct mb_sink *s, const struct mb_marker *was,
    struct mb_err *err)
{
	if (s->ops->redo == NULL)
		return mb_fail(err, MB_EUSAGE, "--redo: not for %s",
		    s->target);
	return s->ops->redo(s, was, err);
}

int
mb_sink_find(struct mb_found *out, const char *target,
    const char *journal_path, struct mb_err *err)
{
	const struct kind *k;
	const char *place;

	*out = (struct mb_found){ 0 };
	if (find_kind(&k, &place, target, err) < 0)
		return -1;
	if (k->find == NULL)
		return mb_fail(err, MB_EUSAGE, "%s: doesn't keep how far the "
		    "sources have been read", target);
	return k->find(out, place, journal_path, err);
}

void
mb_found_release(struct mb_found *f)
{
	mb_marker_release(&f->marker);
	mb_buf_release(&f->positions);
	mb_buf_release(&f->open);
	free(f->target);
	free(f->target_id);
	*f = (struct mb_found){ 0 };
}

void
mb_sink_abort(struct mb_sink *s)
{
	s->ops->abort(s);
}

void
mb_sink_rest(struct mb_sink *s)
{
	if (s->ops->rest != NULL)
		s->ops->rest(s);
}

const char *
mb_sink_outlook(struct mb_sink *s)
{
	return s->ops->outlook(s);
}

/* It is made with its first batch, but nothing above it is. */
static bool
has_parent(const char *absolute)
{
	char *parent = mb_strdup(absolute), *slash = strrchr(parent, '/');
	bool is_there;

	slash[slash == parent] = '\0';
	is_there = access(parent, F_OK) == 0 ||
	    (errno != ENOENT && errno != ENOTDIR);
	free(parent);
	return is_there;
}

bool
mb_sink_is_refused(int error)
{
	return error == EACCES || error == EPERM || error == EROFS;
}

int
mb_sink_may_write(const char *path, bool is_directory, const char *place,
    struct mb_err *err)
{
	int mode = is_directory ? W_OK | X_OK : R_OK | W_OK;
	char *copy = mb_strdup(path), *slash;

	errno = 0;
	while (faccessat(AT_FDCWD, copy, mode, AT_EACCESS) < 0 &&
	    errno == ENOENT && (slash = strrchr(copy, '/')) != NULL &&
	    slash[1] != '\0') {
		slash[slash == copy] = '\0';
		errno = 0;
	}
	free(copy);
	return mb_sink_is_refused(errno) ? mb_fail(err, MB_EUSAGE,
	    "%s: may not be written to: %s", place, strerror(errno)) : 0;
}

int
mb_sink_resolve(char **out, const char *kind, const char *path,
    struct mb_err *err)
{
	struct mb_buf joined = { 0 };
	char cwd[PATH_MAX];

	*out = realpath(path, NULL);
	if (*out != NULL)
		return 0;
	if (errno != ENOENT)
		return mb_fail(err, MB_EUSAGE, "%s:%s: %s", kind, path,
		    strerror(errno));
	if (*path != '/') {
		if (getcwd(cwd, sizeof cwd) == NULL)
			return mb_fail_sys(err, "the working directory");
		mb_buf_addf(&joined, "%s/", strcmp(cwd, "/") == 0 ? "" : cwd);
	}
	mb_buf_adds(&joined, path);
	while (joined.len > 1 && joined.p[joined.len - 1] == '/')
		joined.len--;
	*out = mb_buf_take(&joined);
	if (!has_parent(*out)) {
		free(*out);
		*out = NULL;
		return mb_fail(err, MB_EUSAGE, "%s:%s: the directory above it "
		    "isn't there", kind, path);
	}
	return 0;
}
