#include "sink/deltaplace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/line.h"
#include "durable/stage.h"
#include "sink/positions.h"

enum {
	KEPT = 128 * 1024,	/* bytes of lines that stay as they are */
	LEAST = 512 * 1024,	/* a file that is smaller is left alone */
};

struct mb_deltaplace {
	int dirfd, fd;		/* fd -1: not open yet */
	char *journal;
	char name[48];
	uint64_t shrink_at;	/* size from which on it is written anew */
};

static void
make_name(char name[48], const char *journal)
{
	snprintf(name, 48, "%.32s.places", journal);
}

void
mb_deltaplace_open(struct mb_deltaplace **out, int dirfd, const char *journal)
{
	struct mb_deltaplace *p = mb_zalloc(sizeof *p);

	*p = (struct mb_deltaplace){ .dirfd = dirfd, .fd = -1,
		.journal = mb_strdup(journal), .shrink_at = LEAST };
	make_name(p->name, journal);
	*out = p;
}

void
mb_deltaplace_close(struct mb_deltaplace *p)
{
	if (p == NULL)
		return;
	if (p->fd >= 0)
		close(p->fd);
	free(p->journal);
	free(p);
}

static void
put_head(const struct mb_deltaplace *p, struct mb_buf *out)
{
	size_t start = out->len;

	mb_line_begin(out, "places");
	mb_line_u64(out, "version", 1);
	mb_line_str(out, "journal", p->journal);
	mb_line_seal(out, start);
}

/* The file with its first line, durable under its name. */
static int
create(struct mb_deltaplace *p, struct mb_err *err)
{
	struct mb_stage *stage = NULL;
	struct mb_buf line = { 0 };
	int rc;

	put_head(p, &line);
	rc = mb_stage_open(&stage, p->dirfd, p->name, 0666, err);
	if (rc == 0)
		rc = mb_stage_write(stage, line.p, line.len, err);
	if (rc == 0 && mb_stage_publish(stage, err) < 0) {
		rc = err->code == MB_EEXIST ? 0 : -1;
		if (rc == 0)
			*err = (struct mb_err){ 0 };	/* as good */
	}
	mb_stage_close(stage);
	mb_buf_release(&line);
	return rc;
}

/* Only where locks don't hold can somebody else have written it anew. */
static bool
is_current(const struct mb_deltaplace *p)
{
	struct stat there, ours;

	return fstat(p->fd, &ours) == 0 && fstatat(p->dirfd, p->name, &there,
	    AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == ours.st_ino &&
	    there.st_dev == ours.st_dev;
}

static int
open_file(struct mb_deltaplace *p, struct mb_err *err)
{
	if (p->fd >= 0 && !is_current(p)) {
		close(p->fd);
		p->fd = -1;
	}
	for (int i = 0; p->fd < 0 && i < 2; i++) {
		p->fd = mb_openat(p->dirfd, p->name, O_RDWR | O_NOFOLLOW, 0);
		if (p->fd < 0 && (errno != ENOENT || i > 0))
			return mb_fail_sys(err, "open");
		if (p->fd < 0 && create(p, err) < 0)
			return -1;
		/* A name that is there need not be durable yet. */
		if (p->fd >= 0 && mb_fsync(p->dirfd, "_mb", err) < 0) {
			close(p->fd);
			p->fd = -1;
			return -1;
		}
	}
	return 0;
}

/*
 * Behind the last byte.  A torn line that a dead writer has left gets an end,
 * so that it is one bad line and the next is whole.
 */
static int
find_end(const struct mb_deltaplace *p, struct mb_buf *line, uint64_t *end,
    struct mb_err *err)
{
	struct stat st;
	char last;

	if (fstat(p->fd, &st) < 0)
		return mb_fail_sys(err, "stat");
	*end = (uint64_t)st.st_size;
	if (*end == 0)
		return 0;
	if (mb_pread_full(p->fd, &last, 1, *end - 1, p->name, err) < 0)
		return -1;
	if (last != '\n')
		mb_buf_addc(line, '\n');
	return 0;
}

/* Where the newest lines begin that are kept; 0: it can't be told. */
static uint64_t
find_kept(const struct mb_deltaplace *p, uint64_t end)
{
	struct mb_err ignored = { 0 };
	struct mb_buf tail = { 0 };
	const char *newline = NULL;
	uint64_t from = end - KEPT;

	mb_buf_reserve(&tail, KEPT);
	if (mb_pread_full(p->fd, tail.p, KEPT, from, p->name, &ignored) ==
	    KEPT)
		newline = memchr(tail.p, '\n', KEPT);
	if (newline != NULL)
		from += (uint64_t)(newline + 1 - tail.p);
	mb_buf_release(&tail);
	return newline != NULL ? from : 0;
}

/* What follows byte `from`, behind what is there. */
static int
copy_kept(const struct mb_deltaplace *p, struct mb_buf *out, uint64_t from,
    uint64_t end, struct mb_err *err)
{
	size_t len = (size_t)(end - from);
	ssize_t n;

	mb_buf_reserve(out, len);
	n = mb_pread_full(p->fd, out->p + out->len, len, from, p->name, err);
	if (n < 0)
		return -1;
	out->len += (size_t)n;
	return 0;
}

/*
 * Make one line of those that aren't kept, in a new file that takes this one's
 * place.  Nobody else writes to it: the commit lock is held.
 */
static void
shrink(struct mb_deltaplace *p, const struct mb_marker *marker, uint64_t end)
{
	uint64_t from = find_kept(p, end);
	struct mb_stage *stage = NULL;
	struct mb_buf out = { 0 };
	struct mb_err why = { 0 };
	size_t start = 0;
	int rc = 0;

	if (from > 0) {
		put_head(p, &out);
		start = out.len;
		mb_line_begin(&out, "place");
		rc = mb_positions_merge(&out, marker, p->fd, from, p->name,
		    &why);
	}
	if (rc > 0) {
		mb_line_seal(&out, start);
		rc = copy_kept(p, &out, from, end, &why);
		if (rc == 0)
			rc = mb_stage_open(&stage, p->dirfd, p->name, 0666,
			    &why);
		if (rc == 0)
			rc = mb_stage_write(stage, out.p, out.len, &why);
		if (rc == 0)
			rc = mb_stage_replace(stage, &why);
		mb_stage_close(stage);
		end = out.len;
		/* Whatever came of it, the name tells. */
		close(p->fd);
		p->fd = -1;
	}
	p->shrink_at = 2 * end > LEAST ? 2 * end : LEAST;
	mb_buf_release(&out);
}

int
mb_deltaplace_put(struct mb_deltaplace *p, uint64_t batch,
    const struct mb_positions *positions, const struct mb_marker *marker,
    struct mb_syncs *syncs, struct mb_sync **sync, struct mb_err *err)
{
	struct mb_buf line = { 0 };
	uint64_t end = 0;
	size_t start;
	int rc = -1;

	if (open_file(p, err) < 0 || find_end(p, &line, &end, err) < 0)
		goto out;
	if (end >= p->shrink_at && marker->exists) {
		/* What can't be done now stays as it is, and is as good. */
		shrink(p, marker, end);
		mb_buf_reset(&line);
		if (open_file(p, err) < 0 || find_end(p, &line, &end, err) < 0)
			goto out;
	}
	start = line.len;
	mb_line_begin(&line, "place");
	mb_line_u64(&line, "batch", batch);
	mb_positions_put(&line, positions);
	mb_line_seal(&line, start);
	rc = mb_pwrite_all(p->fd, line.p, line.len, end, p->name, err);
	if (rc == 0)
		*sync = mb_sync_begin(syncs, p->fd, p->name);
out:
	mb_buf_release(&line);
	return rc < 0 ? mb_wrap(err, "_mb/%s", p->name) : 0;
}

int
mb_deltaplace_gather(struct mb_found *out, int dirfd, const char *journal,
    struct mb_err *err)
{
	char name[48];
	int fd, rc;

	make_name(name, journal);
	fd = mb_openat(dirfd, name, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0 && errno == ENOENT)
		return mb_fail(err, MB_EUSAGE, "_mb/%s is missing: nobody "
		    "knows how far the sources were read", name);
	if (fd < 0)
		return mb_fail_sys(err, "_mb/%s", name);
	rc = mb_positions_gather(out, fd, name, err);
	close(fd);
	return rc;
}
