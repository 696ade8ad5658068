#include "source/look.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int64_t
nanoseconds(const struct statx_timestamp *t)
{
	return t->tv_sec * 1000000000 + t->tv_nsec;
}

static struct mb_look
look(int dirfd, const char *name, int flags)
{
	struct statx st;
	struct mb_look l = { .state = MB_PATH_FILE };
	int rc;

	do
		rc = statx(dirfd, name, flags, STATX_BASIC_STATS |
		    STATX_BTIME, &st);
	while (rc < 0 && errno == EINTR);
	if (rc < 0) {
		l.error = errno;
		l.state = errno == ENOENT || errno == ENOTDIR ?
		    MB_PATH_ABSENT : MB_PATH_HIDDEN;
		return l;
	}
	l.is_regular = S_ISREG(st.stx_mode);
	l.is_directory = S_ISDIR(st.stx_mode);
	l.inode = (struct mb_inode){
		.dev = makedev(st.stx_dev_major, st.stx_dev_minor),
		.ino = st.stx_ino,
		.born_ns = st.stx_mask & STATX_BTIME ?
		    (uint64_t)nanoseconds(&st.stx_btime) : 0,
	};
	l.size = st.stx_size;
	l.n_links = st.stx_nlink;
	l.mtime_ns = nanoseconds(&st.stx_mtime);
	l.ctime_ns = nanoseconds(&st.stx_ctime);
	return l;
}

struct mb_look
mb_look_at(const char *path)
{
	return look(AT_FDCWD, path, 0);
}

struct mb_look
mb_look_fd(int fd)
{
	return look(fd, "", AT_EMPTY_PATH);
}

bool
mb_look_equal(const struct mb_look *a, const struct mb_look *b)
{
	return a->state == b->state && a->error == b->error &&
	    a->inode.dev == b->inode.dev && a->inode.ino == b->inode.ino &&
	    a->inode.born_ns == b->inode.born_ns && a->size == b->size &&
	    a->mtime_ns == b->mtime_ns;
}

int64_t
mb_look_latest_ns(const struct mb_look *look)
{
	return look->mtime_ns > look->ctime_ns ? look->mtime_ns :
	    look->ctime_ns;
}
