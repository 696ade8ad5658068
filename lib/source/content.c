#include "source/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

struct mb_content {
	char *name;
	int fd;				/* -1: a spool */
	struct mb_spool *spool;
	bool is_borrowed;
};

static struct mb_content *
new_content(const char *name, int fd, struct mb_spool *spool, bool is_borrowed)
{
	struct mb_content *c = mb_alloc(sizeof *c);

	*c = (struct mb_content){
		.name = mb_strdup(name), .fd = fd, .spool = spool,
		.is_borrowed = is_borrowed,
	};
	return c;
}

struct mb_content *
mb_content_of_fd(int fd, const char *name)
{
	return new_content(name, fd, NULL, true);
}

struct mb_content *
mb_content_of_spool(struct mb_spool *s)
{
	return new_content("the spool", -1, s, true);
}

int
mb_content_open(struct mb_content **out, struct mb_journal *j,
    const struct mb_generation *g, const char **gone, struct mb_err *err)
{
	struct mb_spool *spool;
	int fd;

	*out = NULL;
	if (g->spool != MB_NONE) {
		if (mb_spool_open(&spool, j, g->spool, g->end, MB_SPOOL_READ,
		    err) < 0)
			return -1;
		*out = new_content("the spool", -1, spool, false);
		return 1;
	}
	fd = mb_openat(AT_FDCWD, g->source, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0 && errno == ENOENT) {
		*gone = "is gone";
		return 0;
	}
	if (fd < 0)
		return mb_fail_sys(err, "open %s", g->source);
	*out = new_content(g->source, fd, NULL, false);
	return 1;
}

ssize_t
mb_content_read(struct mb_content *c, void *p, size_t len, uint64_t off,
    struct mb_err *err)
{
	if (c->fd < 0)
		return mb_spool_read(c->spool, p, len, off, err);
	return mb_pread_full(c->fd, p, len, off, c->name, err);
}

int
mb_content_size(struct mb_content *c, uint64_t *size, struct mb_err *err)
{
	struct stat st;

	if (c->fd < 0) {
		*size = mb_spool_end(c->spool);
		return 0;
	}
	if (fstat(c->fd, &st) < 0)
		return mb_fail_sys(err, "%s", c->name);
	*size = (uint64_t)st.st_size;
	return 0;
}

int
mb_content_anchors(struct mb_content *c, uint64_t end, struct mb_hash *head,
    struct mb_hash *tail, struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	size_t len = end < MB_ANCHOR ? (size_t)end : MB_ANCHOR;
	ssize_t n = mb_content_read(c, bytes, len, 0, err);

	if (n < 0)
		return -1;
	if ((size_t)n < len)
		return 0;
	*head = mb_hash_bytes(bytes, len);
	n = mb_content_read(c, bytes, len, end - len, err);
	if (n < 0)
		return -1;
	if ((size_t)n < len)
		return 0;
	*tail = mb_hash_bytes(bytes, len);
	return 1;
}

void
mb_content_close(struct mb_content *c)
{
	if (c == NULL)
		return;
	if (!c->is_borrowed && c->fd >= 0)
		close(c->fd);
	if (!c->is_borrowed)
		mb_spool_close(c->spool);
	free(c->name);
	free(c);
}
