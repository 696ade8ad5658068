#include "source/content.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "record/gunzip.h"

struct mb_content {
	char *name;
	struct mb_journal *journal;
	int fd;				/* -1: a spool */
	struct mb_spool *spool;
	bool is_spool_borrowed, was_seen;
	uint64_t seal;			/* size of the file; UINT64_MAX: none */
	struct mb_gz *gz;		/* NULL: not gzip, or not known to be */
};

static struct mb_content *
new_content(const char *name, int fd, struct mb_spool *spool,
    bool is_spool_borrowed, struct mb_journal *j)
{
	struct mb_content *c = mb_alloc(sizeof *c);

	*c = (struct mb_content){
		.name = mb_strdup(name), .journal = j, .fd = fd,
		.spool = spool, .is_spool_borrowed = is_spool_borrowed,
		.seal = UINT64_MAX,
	};
	return c;
}

struct mb_content *
mb_content_take(int fd, const char *name, struct mb_journal *j)
{
	return new_content(name, fd, NULL, false, j);
}

struct mb_content *
mb_content_of_spool(struct mb_spool *s)
{
	return new_content("the spool", -1, s, true, NULL);
}

struct mb_content *
mb_content_take_spool(struct mb_spool *s)
{
	return new_content("the spool", -1, s, false, NULL);
}

/* Is it gzip?  Looked at again, because files are written anew. */
static int
look(struct mb_content *c, struct mb_err *err)
{
	char head[3];
	ssize_t n = mb_pread_full(c->fd, head, sizeof head, 0, c->name, err);

	if (n < 0)
		return -1;
	if (c->gz != NULL && mb_is_gzip((struct mb_str){ head, (size_t)n }))
		return mb_gz_refresh(c->gz, err);
	mb_gz_close(c->gz);
	c->gz = NULL;
	if (mb_is_gzip((struct mb_str){ head, (size_t)n })) {
		c->gz = mb_gz_open(c->fd, c->name, c->journal);
		mb_gz_limit(c->gz, c->seal);
	}
	return 0;
}

ssize_t
mb_content_read(struct mb_content *c, void *p, size_t len, uint64_t off,
    struct mb_err *err)
{
	if (c->fd < 0)
		return mb_spool_read(c->spool, p, len, off, err);
	if ((off == 0 || !c->was_seen) && look(c, err) < 0)
		return -1;
	c->was_seen = true;
	if (c->gz != NULL)
		return mb_gz_read(c->gz, p, len, off, err);
	if (off >= c->seal)
		return 0;
	if (len > c->seal - off)
		len = (size_t)(c->seal - off);
	return mb_pread_full(c->fd, p, len, off, c->name, err);
}

static int
file_size(struct mb_content *c, uint64_t *size, struct mb_err *err)
{
	struct stat st;

	if (fstat(c->fd, &st) < 0)
		return mb_fail_sys(err, "%s", c->name);
	*size = (uint64_t)st.st_size;
	return 0;
}

bool
mb_content_is_plain(const struct mb_content *c)
{
	return c->gz == NULL;
}

int
mb_content_reaches(struct mb_content *c, uint64_t len, struct mb_err *err)
{
	uint64_t size;

	if (c->fd < 0)
		return len <= mb_spool_end(c->spool);
	if (!c->was_seen && look(c, err) < 0)
		return -1;
	c->was_seen = true;
	if (c->gz != NULL)
		return mb_gz_reaches(c->gz, len, err);
	if (len > c->seal)
		return 0;
	return file_size(c, &size, err) < 0 ? -1 : len <= size;
}

int
mb_content_seal(struct mb_content *c, uint64_t size, struct mb_err *err)
{
	if (c->fd < 0)
		return 0;
	c->seal = size;
	if (size == UINT64_MAX && file_size(c, &c->seal, err) < 0)
		return -1;
	if (c->gz != NULL)
		mb_gz_limit(c->gz, c->seal);
	return 0;
}

void
mb_content_unseal(struct mb_content *c)
{
	c->seal = UINT64_MAX;
	if (c->gz != NULL)
		mb_gz_limit(c->gz, c->seal);
}

enum mb_gz_trouble
mb_content_trouble(const struct mb_content *c, const char **why)
{
	return c->gz != NULL ? mb_gz_trouble(c->gz, why) : MB_GZ_FINE;
}

/* The anchor that ends at `end`: 1, or 0 if it isn't all there. */
static int
anchor(struct mb_content *c, uint64_t end, size_t len, struct mb_hash *out,
    struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	ssize_t n = mb_content_read(c, bytes, len, end - len, err);

	if (n < 0)
		return -1;
	*out = mb_hash_bytes(bytes, (size_t)n);
	return (size_t)n == len;
}

static size_t
anchor_length(uint64_t end)
{
	return end < MB_ANCHOR ? (size_t)end : MB_ANCHOR;
}

int
mb_content_anchors(struct mb_content *c, uint64_t end, struct mb_hash *head,
    struct mb_hash *tail, struct mb_err *err)
{
	size_t len = anchor_length(end);
	int rc = anchor(c, len, len, head, err);

	return rc <= 0 ? rc : anchor(c, end, len, tail, err);
}

int
mb_content_matches(struct mb_content *c, uint64_t end,
    const struct mb_hash *head, const struct mb_hash *tail,
    struct mb_err *err)
{
	size_t len = anchor_length(end);
	struct mb_hash found;
	int rc = anchor(c, len, len, &found, err);

	if (rc <= 0 || strcmp(found.hex, head->hex) != 0)
		return rc < 0 ? -1 : 0;
	rc = anchor(c, end, len, &found, err);
	return rc <= 0 ? rc : strcmp(found.hex, tail->hex) == 0;
}

/* How many bytes are there, read if there is no other way. */
static int
length(struct mb_content *c, uint64_t *len, struct mb_err *err)
{
	char bytes[16384];
	ssize_t n;

	if (c->gz == NULL) {
		if (file_size(c, len, err) < 0)
			return -1;
		if (*len > c->seal)
			*len = c->seal;
		return 0;
	}
	for (*len = 0; (n = mb_content_read(c, bytes, sizeof bytes, *len,
	    err)) > 0; )
		*len += (uint64_t)n;
	return (int)n;
}

int
mb_content_begins(struct mb_content *a, struct mb_content *b, uint64_t *len,
    struct mb_err *err)
{
	char x[MB_ANCHOR], y[MB_ANCHOR];
	ssize_t n = mb_content_read(a, x, sizeof x, 0, err), m;
	int rc;

	if (n < 0)
		return -1;
	*len = (uint64_t)n;
	m = mb_content_read(b, y, (size_t)n, 0, err);
	if (m < n || memcmp(x, y, (size_t)n) != 0)
		return m < 0 ? -1 : 0;
	if (n < MB_ANCHOR)
		return 1;
	if (length(a, len, err) < 0)
		return -1;
	rc = mb_content_reaches(b, *len, err);
	if (rc <= 0 || *len < MB_ANCHOR)
		return rc < 0 ? -1 : 0;
	n = mb_content_read(a, x, sizeof x, *len - sizeof x, err);
	m = n < 0 ? -1 : mb_content_read(b, y, sizeof y, *len - sizeof y, err);
	return m < 0 ? -1 : n == m && memcmp(x, y, (size_t)n) == 0;
}

void
mb_content_close(struct mb_content *c)
{
	if (c == NULL)
		return;
	mb_gz_close(c->gz);
	if (c->fd >= 0)
		close(c->fd);
	if (!c->is_spool_borrowed)
		mb_spool_close(c->spool);
	free(c->name);
	free(c);
}
