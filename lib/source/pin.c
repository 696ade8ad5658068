#include "source/pin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"

enum { NAME_LEN = 48 };

static void
pin_name(char out[NAME_LEN], const struct mb_inode *inode)
{
	snprintf(out, NAME_LEN, "%" PRIx64 "-%" PRIx64, inode->dev,
	    inode->ino);
}

void
mb_pin_path(struct mb_buf *out, struct mb_journal *j,
    const struct mb_inode *inode)
{
	char name[NAME_LEN];

	pin_name(name, inode);
	mb_buf_addf(out, "%s.d/pins/%s", mb_journal_path(j), name);
}

/*
 * By the descriptor: the path may lead to another file by now.
 */
static int
link_fd(int fd, int dirfd, const char *name)
{
	char self[64];

	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, self, dirfd, name, AT_SYMLINK_FOLLOW);
}

int
mb_pin_add(struct mb_journal *j, int fd, const char *name,
    const struct mb_inode *inode, struct mb_err *err)
{
	int dirfd = mb_journal_subdir(j, "pins", err), rc;
	char pin[NAME_LEN];

	if (dirfd < 0)
		return -1;
	pin_name(pin, inode);
	rc = link_fd(fd, dirfd, pin) == 0 || errno == EEXIST ? 0 : -1;
	if (rc == 0)
		rc = mb_fsync(dirfd, "pins", err);
	else if (errno == ENOENT)
		rc = 0;		/* deleted before: only fd has it */
	else if (errno == EXDEV || errno == EPERM || errno == EMLINK)
		mb_fail(err, MB_EUSAGE, "--pin: %s can't be linked into "
		    "%s.d/pins: %s", name, mb_journal_path(j),
		    strerror(errno));
	else
		mb_fail_sys(err, "pin %s", name);
	close(dirfd);
	return rc;
}

int
mb_pin_remove(struct mb_journal *j, const struct mb_inode *inode,
    struct mb_err *err)
{
	int dirfd = mb_journal_subdir(j, "pins", err), rc;
	char pin[NAME_LEN];

	if (dirfd < 0)
		return -1;
	pin_name(pin, inode);
	rc = unlinkat(dirfd, pin, 0);
	if (rc < 0 && errno != ENOENT)
		mb_fail_sys(err, "remove %s.d/pins/%s", mb_journal_path(j),
		    pin);
	else
		rc = 0;
	close(dirfd);
	return rc;
}

int
mb_pin_sweep(struct mb_journal *j,
    bool (*is_needed)(void *arg, const struct mb_inode *inode), void *arg,
    struct mb_err *err)
{
	int dirfd = mb_journal_subdir(j, "pins", err), rc = 0;
	struct dirent *e;
	DIR *d;

	if (dirfd < 0)
		return -1;
	d = fdopendir(dirfd);
	if (d == NULL) {
		close(dirfd);
		return mb_fail_sys(err, "read %s.d/pins", mb_journal_path(j));
	}
	while (rc == 0 && (e = readdir(d)) != NULL) {
		struct mb_inode inode = { 0 };
		char end;

		if (sscanf(e->d_name, "%" SCNx64 "-%" SCNx64 "%c", &inode.dev,
		    &inode.ino, &end) != 2 || is_needed(arg, &inode))
			continue;
		if (unlinkat(dirfd, e->d_name, 0) < 0 && errno != ENOENT)
			rc = mb_fail_sys(err, "remove %s.d/pins/%s",
			    mb_journal_path(j), e->d_name);
	}
	closedir(d);
	return rc;
}
