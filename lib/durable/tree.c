/*
 *	WRITING -> SYNCED [mb_tree_sync] -> VISIBLE [mb_tree_publish, _replace]
 *
 * I1 to I3 of stage.c hold for each file and each directory in it.
 */
#include "durable/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"

struct mb_tree {
	int dirfd;
	char *name;
	char tmp[64];
	int fd;			/* of the directory that is made */
	char **made;		/* directories in it, to be synced */
	size_t n, cap;
	uint64_t size;
	unsigned n_appends;
	bool is_synced, is_visible, is_poisoned;
};

/*
 * So many appends are synced one by one; of more the whole file system is,
 * once: 10,000 files took 33 s one by one, and 8 s so, on a busy disk.  It
 * tells of every write that failed since the directory was opened (Linux 5.8).
 */
enum { SYNC_SINGLY = 64 };

/* 1 made and locked, 0 a sweeper was faster, -1 error. */
static int
create_tmp(struct mb_tree *t, struct mb_err *err)
{
	char random[17];
	struct stat st;

	if (mb_random_hex(random, 8, err) < 0)
		return -1;
	snprintf(t->tmp, sizeof t->tmp, ".mb-%s.tmp", random);
	if (mkdirat(t->dirfd, t->tmp, 0777) < 0)
		return mb_fail_sys(err, "make %s for %s", t->tmp, t->name);
	t->fd = mb_openat(t->dirfd, t->tmp, O_RDONLY | O_DIRECTORY |
	    O_NOFOLLOW, 0);
	if (t->fd < 0 && errno != ENOENT)
		return mb_fail_sys(err, "open %s", t->tmp);
	if (t->fd >= 0 && flock(t->fd, LOCK_EX | LOCK_NB) == 0 &&
	    fstat(t->fd, &st) == 0 && st.st_nlink > 0)
		return 1;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	return 0;
}

int
mb_tree_open(struct mb_tree **out, int dirfd, const char *name,
    struct mb_err *err)
{
	struct mb_tree *t = mb_zalloc(sizeof *t);
	int rc;

	*out = NULL;
	*t = (struct mb_tree){
		.dirfd = dirfd, .name = mb_strdup(name), .fd = -1
	};
	while ((rc = create_tmp(t, err)) == 0)
		;
	if (rc < 0) {
		mb_tree_close(t);
		return -1;
	}
	*out = t;
	return 0;
}

/* The directories above the file. */
static int
make_directories(struct mb_tree *t, const char *path, struct mb_err *err)
{
	char *copy = mb_strdup(path);
	int rc = 0;

	for (char *slash = copy; rc == 0 &&
	    (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = '\0';
		if (mkdirat(t->fd, copy, 0777) == 0) {
			if (t->n == t->cap) {
				t->cap = t->cap * 2 + 16;
				t->made = mb_realloc_array(t->made, t->cap,
				    sizeof *t->made);
			}
			t->made[t->n++] = mb_strdup(copy);
		} else if (errno != EEXIST) {
			rc = mb_fail_sys(err, "make %s/%s", t->name, copy);
		}
	}
	free(copy);
	return rc;
}

int
mb_tree_append(struct mb_tree *t, const char *path, const void *p, size_t len,
    struct mb_err *err)
{
	enum { FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW };
	int fd, rc;

	if (t->is_synced || t->is_poisoned)
		return mb_fail(err, MB_EBUG, "%s: write after sync", t->name);
	/* Mostly its directory is there. */
	fd = mb_openat(t->fd, path, FLAGS, 0666);
	if (fd < 0 && errno == ENOENT) {
		if (make_directories(t, path, err) < 0)
			return -1;
		fd = mb_openat(t->fd, path, FLAGS, 0666);
	}
	if (fd < 0)
		return mb_fail_sys(err, "create %s/%s", t->name, path);
	rc = mb_write_all(fd, p, len, path, err);
	if (rc == 0 && ++t->n_appends <= SYNC_SINGLY)
		rc = mb_fsync(fd, path, err);
	close(fd);
	t->size += len;
	t->is_poisoned = rc < 0;
	return rc;
}

uint64_t
mb_tree_size(const struct mb_tree *t)
{
	return t->size;
}

static int
sync_all(struct mb_tree *t, struct mb_err *err)
{
	int rc;

	do
		rc = syncfs(t->fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? mb_fail_sys(err, "sync the file system of %s",
	    t->name) : 0;
}

static int
sync_directories(struct mb_tree *t, struct mb_err *err)
{
	int rc = mb_fsync(t->fd, t->name, err);

	for (size_t i = 0; i < t->n && rc == 0; i++) {
		int fd = mb_openat(t->fd, t->made[i], O_RDONLY | O_DIRECTORY |
		    O_NOFOLLOW, 0);

		rc = fd < 0 ? mb_fail_sys(err, "open %s/%s", t->name,
		    t->made[i]) : mb_fsync(fd, t->made[i], err);
		if (fd >= 0)
			close(fd);
	}
	return rc;
}

int
mb_tree_sync(struct mb_tree *t, struct mb_err *err)
{
	int rc;

	if (t->is_poisoned)
		return mb_fail(err, MB_EBUG, "%s: sync after a failure",
		    t->name);
	if (t->is_synced)
		return 0;
	rc = t->n_appends > SYNC_SINGLY ? sync_all(t, err) :
	    sync_directories(t, err);
	t->is_synced = rc == 0;
	t->is_poisoned = rc < 0;
	return rc;
}

static int
rename_tree(const struct mb_tree *t, unsigned flags)
{
	int rc;

	do
		rc = renameat2(t->dirfd, t->tmp, t->dirfd, t->name, flags);
	while (rc < 0 && errno == EINTR);
	return rc;
}

/*
 * Some file systems know no flags.  rename(2) replaces a directory only if
 * that is empty, and whoever is in the way here holds no lock of ours.
 */
static int
rename_noreplace(const struct mb_tree *t)
{
	struct stat st;
	int rc = rename_tree(t, RENAME_NOREPLACE);

	if (rc == 0 || (errno != EINVAL && errno != ENOSYS))
		return rc;
	if (fstatat(t->dirfd, t->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return rename_tree(t, 0);
}

int
mb_tree_publish(struct mb_tree *t, struct mb_err *err)
{
	bool exists;
	int rc;

	if (mb_tree_sync(t, err) < 0)
		return -1;
	rc = rename_noreplace(t);
	exists = rc < 0 && (errno == EEXIST || errno == ENOTEMPTY);
	if (rc < 0 && !exists)
		return mb_fail_sys(err, "publish %s", t->name);
	t->is_visible = !exists;
	if (mb_fsync(t->dirfd, "the directory", err) < 0)
		return mb_wrap(err, "publish %s", t->name);
	if (exists)
		return mb_fail(err, MB_EEXIST, "%s: already there", t->name);
	return 0;
}

int
mb_tree_replace(struct mb_tree *t, struct mb_err *err)
{
	if (mb_tree_sync(t, err) < 0)
		return -1;
	if (rename_tree(t, RENAME_EXCHANGE) < 0) {
		if (errno == ENOENT)
			return mb_tree_publish(t, err);
		return mb_fail_sys(err, "replace %s", t->name);
	}
	t->is_visible = true;
	if (mb_fsync(t->dirfd, "the directory", err) < 0)
		return mb_wrap(err, "replace %s", t->name);
	/* Whoever dies here leaves it to the next sweep. */
	mb_tree_remove(t->dirfd, t->tmp);
	return 0;
}

void
mb_tree_close(struct mb_tree *t)
{
	if (t == NULL)
		return;
	/* Remove before close: the flock guards the name until it is gone. */
	if (t->fd >= 0 && !t->is_visible)
		mb_tree_remove(t->dirfd, t->tmp);
	if (t->fd >= 0)
		close(t->fd);
	for (size_t i = 0; i < t->n; i++)
		free(t->made[i]);
	free(t->made);
	free(t->name);
	free(t);
}

/*
 * What is in a directory.  Our own are as deep as there are partition fields;
 * what is deeper is not ours, and stays.
 */
static void
remove_content(int dirfd, const char *name, int depth)
{
	int fd = mb_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
	    0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0 ||
		    unlinkat(fd, e->d_name, 0) == 0)
			continue;
		if (depth > 0)
			remove_content(fd, e->d_name, depth - 1);
		(void)unlinkat(fd, e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
}

void
mb_tree_remove(int dirfd, const char *name)
{
	enum { DEPTH = 64 };

	remove_content(dirfd, name, DEPTH);
	(void)unlinkat(dirfd, name, AT_REMOVEDIR);
}
