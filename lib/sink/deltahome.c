#include "sink/deltahome.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "durable/stage.h"

#define LOG_DIR "_delta_log"
#define TMP_DIR "_mb"		/* readers and VACUUM pass over _ names */

void
mb_deltahome_init(struct mb_deltahome *h, char *path, const char *place)
{
	*h = (struct mb_deltahome){ .path = path, .rootfd = -1,
		.log = { .dirfd = -1, .tmpfd = -1, .place = place } };
}

/* A directory without a log must be empty, but for hidden names. */
static int
refuse_files(const struct mb_deltahome *h, struct mb_err *err)
{
	int fd = mb_openat(h->rootfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		mb_fail_sys(err, "%s", h->log.place);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (err->code == MB_OK && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && e->d_name[0] != '_')
			mb_fail(err, MB_EUSAGE, "%s: is not a Delta table, "
			    "but has files", h->log.place);
	closedir(d);
	return err->code == MB_OK ? 0 : -1;
}

static int
open_inside(const struct mb_deltahome *h, const char *name, int *fd,
    struct mb_err *err)
{
	if (*fd >= 0)
		return 1;
	*fd = mb_openat(h->rootfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
	    0);
	if (*fd >= 0)
		return 1;
	return errno == ENOENT ? 0 : mb_fail_sys(err, "%s: %s", h->log.place,
	    name);
}

int
mb_deltahome_open(struct mb_deltahome *h, struct mb_err *err)
{
	int rc;

	if (h->rootfd < 0) {
		h->rootfd = mb_openat(AT_FDCWD, h->path,
		    O_RDONLY | O_DIRECTORY, 0);
		if (h->rootfd < 0 && errno == ENOENT)
			return 0;
		if (h->rootfd < 0)
			return mb_fail(err, MB_EUSAGE, "%s: %s", h->log.place,
			    strerror(errno));
	}
	rc = open_inside(h, LOG_DIR, &h->log.dirfd, err);
	if (rc == 0)
		return refuse_files(h, err);
	if (rc < 0 || open_inside(h, TMP_DIR, &h->log.tmpfd, err) < 0)
		return -1;
	return 1;
}

static int
make_inside(const struct mb_deltahome *h, const char *name, int *fd,
    struct mb_err *err)
{
	struct mb_buf path = { 0 };

	if (*fd >= 0)
		return 0;
	mb_buf_addf(&path, "%s/%s", h->path, name);
	*fd = mb_dir_open(mb_buf_str(&path), 0777, err);
	mb_buf_release(&path);
	return *fd < 0 ? -1 : 0;
}

int
mb_deltahome_make(struct mb_deltahome *h, struct mb_err *err)
{
	if (h->is_dry)
		return 0;
	if (h->syncs == NULL)
		mb_syncs_open(&h->syncs);
	if (h->rootfd < 0)
		h->rootfd = mb_dir_open(h->path, 0777, err);
	if (h->rootfd < 0 ||
	    make_inside(h, TMP_DIR, &h->log.tmpfd, err) < 0 ||
	    make_inside(h, LOG_DIR, &h->log.dirfd, err) < 0)
		return mb_wrap(err, "delta");
	return 0;
}

int
mb_deltahome_scratch(struct mb_deltahome *h, int *fd, struct mb_err *err)
{
	if (mb_deltahome_make(h, err) < 0)
		return -1;
	*fd = h->is_dry ? memfd_create("mb", MFD_CLOEXEC) :
	    mb_openat(h->log.tmpfd, ".", O_RDWR | O_TMPFILE, 0600);
	return *fd < 0 ? mb_fail_sys(err, "%s: a temporary file",
	    h->log.place) : 0;
}

void
mb_deltahome_close(struct mb_deltahome *h)
{
	if (h->log.dirfd >= 0)
		close(h->log.dirfd);
	if (h->log.tmpfd >= 0)
		close(h->log.tmpfd);
	if (h->rootfd >= 0)
		close(h->rootfd);
	mb_syncs_close(h->syncs);
	free(h->path);
	mb_deltahome_init(h, NULL, NULL);
}
