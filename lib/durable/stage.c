/*
 *	WRITING -> SYNCING [mb_stage_sync_begin] -> SYNCED
 *	WRITING -> SYNCED [mb_stage_sync] -> VISIBLE [mb_stage_publish]
 *	any -> VISIBLE [mb_stage_offer]
 *
 * I1. The name never leads to missing bytes: data is synced before the name;
 *     but for offer, where the name alone tells nobody anything.
 * I2. A visible name is durable before anyone is told: the directory is
 *     synced before publish returns.
 * I3. After a failed sync the descriptor is poisoned: the kernel may have
 *     dropped the dirty pages, and trying again would only seem to succeed.
 */
#include "durable/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include "durable/tree.h"

#define TMP_PREFIX ".mb-"
#define TMP_SUFFIX ".tmp"

enum { BUFFER = 64 * 1024 };

struct mb_stage {
	int tmp_dirfd, dirfd;
	char *name;
	char tmp[64];
	int fd;
	struct mb_buf pending;
	uint64_t size;
	struct mb_sync *sync;	/* that was begun */
	bool is_synced, is_visible, is_poisoned;
};

/* 1 created and locked, 0 a sweeper was faster, -1 error. */
static int
create_tmp(struct mb_stage *s, mode_t mode, struct mb_err *err)
{
	char random[17];
	struct stat st;

	if (mb_random_hex(random, 8, err) < 0)
		return -1;
	snprintf(s->tmp, sizeof s->tmp, TMP_PREFIX "%s" TMP_SUFFIX, random);
	s->fd = mb_openat(s->tmp_dirfd, s->tmp, O_RDWR | O_CREAT | O_EXCL, mode);
	if (s->fd < 0)
		return mb_fail_sys(err, "create %s for %s", s->tmp, s->name);
	/*
	 * Between open and flock a sweeper may have taken it for a dead
	 * writer's; then it has no name any more, and we take another.
	 */
	if (flock(s->fd, LOCK_EX | LOCK_NB) == 0 && fstat(s->fd, &st) == 0 &&
	    st.st_nlink > 0)
		return 1;
	close(s->fd);
	s->fd = -1;
	return 0;
}

int
mb_stage_open(struct mb_stage **out, int dirfd, const char *name, mode_t mode,
    struct mb_err *err)
{
	return mb_stage_open_in(out, dirfd, dirfd, name, mode, err);
}

int
mb_stage_open_in(struct mb_stage **out, int tmp_dirfd, int dirfd,
    const char *name, mode_t mode, struct mb_err *err)
{
	struct mb_stage *s = mb_zalloc(sizeof *s);
	int rc;

	*out = NULL;
	*s = (struct mb_stage){
		.tmp_dirfd = tmp_dirfd, .dirfd = dirfd,
		.name = mb_strdup(name), .fd = -1
	};
	while ((rc = create_tmp(s, mode, err)) == 0)
		;
	if (rc < 0) {
		mb_stage_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

int
mb_stage_prepare(struct mb_stage **out, int dirfd, mode_t mode,
    struct mb_err *err)
{
	if (mb_stage_open(out, dirfd, "a new file", mode, err) < 0)
		return -1;
	if (mb_fsync((*out)->fd, (*out)->name, err) == 0)
		return 0;
	mb_stage_close(*out);
	*out = NULL;
	return -1;
}

int
mb_stage_name(struct mb_stage *s, const char *name)
{
	struct stat st;

	free(s->name);
	s->name = mb_strdup(name);
	return fstat(s->fd, &st) == 0 && st.st_nlink > 0;
}

static int
flush_pending(struct mb_stage *s, struct mb_err *err)
{
	if (mb_write_all(s->fd, s->pending.p, s->pending.len, s->name,
	    err) < 0) {
		s->is_poisoned = true;
		return -1;
	}
	mb_buf_reset(&s->pending);
	return 0;
}

int
mb_stage_write(struct mb_stage *s, const void *p, size_t len,
    struct mb_err *err)
{
	if (s->is_synced || s->is_poisoned || s->sync != NULL)
		return mb_fail(err, MB_EBUG, "%s: write after sync", s->name);
	s->size += len;
	if (s->pending.len + len < BUFFER) {
		mb_buf_add(&s->pending, p, len);
		return 0;
	}
	if (flush_pending(s, err) < 0)
		return -1;
	if (len < BUFFER) {
		mb_buf_add(&s->pending, p, len);
		return 0;
	}
	if (mb_write_all(s->fd, p, len, s->name, err) < 0) {
		s->is_poisoned = true;
		return -1;
	}
	return 0;
}

uint64_t
mb_stage_size(const struct mb_stage *s)
{
	return s->size;
}

int
mb_stage_sync(struct mb_stage *s, struct mb_err *err)
{
	int rc;

	if (s->is_poisoned)
		return mb_fail(err, MB_EBUG, "%s: sync after a failure",
		    s->name);
	if (s->is_synced)
		return 0;
	if (s->sync != NULL)
		rc = mb_sync_await(&s->sync, err);
	else if (flush_pending(s, err) < 0)
		return -1;
	else
		rc = mb_fsync(s->fd, s->name, err);
	s->is_poisoned = rc < 0;	/* I3 */
	s->is_synced = rc == 0;
	return rc;
}

int
mb_stage_sync_begin(struct mb_stage *s, struct mb_syncs *syncs,
    struct mb_err *err)
{
	if (s->is_synced || s->is_poisoned || s->sync != NULL)
		return mb_fail(err, MB_EBUG, "%s: a second sync", s->name);
	if (flush_pending(s, err) < 0)
		return -1;
	s->sync = mb_sync_begin(syncs, s->fd, s->name);
	return 0;
}

/* Give the name in one step that refuses to replace; -1 with errno. */
static int
rename_noreplace(const struct mb_stage *s)
{
	int rc;

	do
		rc = renameat2(s->tmp_dirfd, s->tmp, s->dirfd, s->name,
		    RENAME_NOREPLACE);
	while (rc < 0 && errno == EINTR);
	if (rc == 0 || (errno != EINVAL && errno != ENOSYS))
		return rc;
	/* Some file systems can't; a link refuses to replace as well. */
	if (linkat(s->tmp_dirfd, s->tmp, s->dirfd, s->name, 0) < 0)
		return -1;
	return unlinkat(s->tmp_dirfd, s->tmp, 0);
}

static int
make_visible(struct mb_stage *s, bool replaces, struct mb_err *err)
{
	bool exists = false;
	int rc;

	if (mb_stage_sync(s, err) < 0)		/* I1 */
		return -1;
	if (replaces) {
		do
			rc = renameat(s->tmp_dirfd, s->tmp, s->dirfd,
			    s->name);
		while (rc < 0 && errno == EINTR);
	} else {
		rc = rename_noreplace(s);
		exists = rc < 0 && errno == EEXIST;
	}
	if (rc < 0 && !exists)
		return mb_fail_sys(err, "publish %s", s->name);
	s->is_visible = !exists;
	/* Also if it exists: its writer may have died before this line. */
	if (mb_fsync(s->dirfd, "the directory", err) < 0)	/* I2 */
		return mb_wrap(err, "publish %s", s->name);
	if (exists)
		return mb_fail(err, MB_EEXIST, "%s: already there", s->name);
	return 0;
}

int
mb_stage_publish(struct mb_stage *s, struct mb_err *err)
{
	return make_visible(s, false, err);
}

int
mb_stage_offer(struct mb_stage *s, struct mb_err *err)
{
	if (s->is_poisoned || flush_pending(s, err) < 0)
		return err->code == MB_OK ? mb_fail(err, MB_EBUG, "%s: offered "
		    "after a failure", s->name) : -1;
	if (rename_noreplace(s) < 0)
		return errno == EEXIST ? mb_fail(err, MB_EEXIST, "%s: already "
		    "there", s->name) : mb_fail_sys(err, "offer %s", s->name);
	s->is_visible = true;
	return 0;
}

int
mb_stage_replace(struct mb_stage *s, struct mb_err *err)
{
	return make_visible(s, true, err);
}

void
mb_stage_close(struct mb_stage *s)
{
	if (s == NULL)
		return;
	mb_sync_forget(&s->sync);
	/* Remove before close: the flock guards the name until it is gone. */
	if (s->fd >= 0 && !s->is_visible)
		unlinkat(s->tmp_dirfd, s->tmp, 0);
	if (s->fd >= 0)
		close(s->fd);
	mb_buf_release(&s->pending);
	free(s->name);
	free(s);
}

static int
is_tmp_name(const char *name)
{
	size_t len = strlen(name);

	return len > sizeof TMP_PREFIX + sizeof TMP_SUFFIX &&
	    strncmp(name, TMP_PREFIX, sizeof TMP_PREFIX - 1) == 0 &&
	    strcmp(name + len - (sizeof TMP_SUFFIX - 1), TMP_SUFFIX) == 0;
}

static void
sweep_one(int dirfd, const char *name)
{
	int fd = mb_openat(dirfd, name, O_RDONLY | O_NOFOLLOW, 0);
	struct stat st;

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			mb_tree_remove(dirfd, name);
		else
			unlinkat(dirfd, name, 0);
	}
	close(fd);
}

int
mb_stage_sweep(int dirfd, struct mb_err *err)
{
	int fd = mb_openat(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	struct dirent *e;
	DIR *d;

	if (fd < 0)
		return mb_fail_sys(err, "open the directory");
	d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return mb_fail_sys(err, "read the directory");
	}
	while ((e = readdir(d)) != NULL)
		if (is_tmp_name(e->d_name))
			sweep_one(dirfd, e->d_name);
	closedir(d);
	return 0;
}

int
mb_dir_open(const char *path, mode_t mode, struct mb_err *err)
{
	char *parent, *slash;
	int fd, pfd, rc = 0;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return mb_fail_sys(err, "make directory %s", path);
	fd = mb_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return mb_fail_sys(err, "open directory %s", path);
	/*
	 * Sync the parent also when the directory was there: its maker may
	 * have died before this line.
	 */
	parent = mb_strdup(path);
	for (slash = parent + strlen(parent); slash > parent + 1 &&
	    slash[-1] == '/'; slash--)
		slash[-1] = '\0';
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash[1] = '\0';
	else if (slash != NULL)
		*slash = '\0';
	pfd = mb_openat(AT_FDCWD, slash != NULL ? parent : ".",
	    O_RDONLY | O_DIRECTORY, 0);
	if (pfd < 0)
		rc = mb_fail_sys(err, "open the directory above %s", path);
	else
		rc = mb_fsync(pfd, "the directory above", err);
	if (pfd >= 0)
		close(pfd);
	free(parent);
	if (rc < 0) {
		close(fd);
		return -1;
	}
	return fd;
}
