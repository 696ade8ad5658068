#include "delta/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "durable/stage.h"

enum {
	CHUNK = 256 * 1024,
	MAX_LINE = 1024 * 1024 * 1024,
	MAX_SMALL = 64 * 1024 * 1024,
	DIGITS = 20,			/* of a version in a name */
	PART_DIGITS = 10,
};

void
mb_delta_commit_name(char name[MB_DELTA_NAME], int64_t version)
{
	snprintf(name, MB_DELTA_NAME, "%020" PRId64 ".json", version);
}

void
mb_delta_checkpoint_name(char name[MB_DELTA_NAME],
    const struct mb_delta_checkpoint *c, uint32_t part)
{
	if (c->parts > 0)
		snprintf(name, MB_DELTA_NAME, "%020" PRId64
		    ".checkpoint.%010" PRIu32 ".%010" PRIu32 ".parquet",
		    c->version, part, c->parts);
	else if (c->uuid[0] != '\0')
		snprintf(name, MB_DELTA_NAME, "%020" PRId64
		    ".checkpoint.%s.%s", c->version, c->uuid,
		    c->is_json ? "json" : "parquet");
	else
		snprintf(name, MB_DELTA_NAME, "%020" PRId64
		    ".checkpoint.parquet", c->version);
}

/* 1 open, 0 not there, -1. */
static int
open_file(const struct mb_delta_log *l, const char *name, int *fd,
    struct mb_delta_file_id *id, struct mb_err *err)
{
	struct stat st;

	*fd = mb_openat(l->dirfd, name, O_RDONLY, 0);
	if (*fd < 0 && errno == ENOENT)
		return 0;
	if (*fd < 0)
		return mb_fail_sys(err, "%s: _delta_log/%s", l->place, name);
	if (fstat(*fd, &st) < 0) {
		mb_fail_sys(err, "%s: _delta_log/%s", l->place, name);
		close(*fd);
		return -1;
	}
	if (id != NULL)
		*id = (struct mb_delta_file_id){ st.st_dev, st.st_ino,
			(uint64_t)st.st_size };
	return 1;
}

int
mb_delta_log_has(const struct mb_delta_log *l, int64_t version,
    struct mb_delta_file_id *id, struct mb_err *err)
{
	char name[MB_DELTA_NAME];
	struct stat st;

	mb_delta_commit_name(name, version);
	if (fstatat(l->dirfd, name, &st, 0) < 0) {
		if (errno == ENOENT)
			return 0;
		return mb_fail_sys(err, "%s: _delta_log/%s", l->place, name);
	}
	if (id != NULL)
		*id = (struct mb_delta_file_id){ st.st_dev, st.st_ino,
			(uint64_t)st.st_size };
	return 1;
}

static int
give_line(mb_delta_line_fn *fn, void *arg, const char *p, size_t len,
    struct mb_err *err)
{
	while (len > 0 && (p[len - 1] == '\r' || p[len - 1] == ' '))
		len--;
	return len == 0 ? 0 : fn(arg, (struct mb_str){ p, len }, err);
}

static int
give_lines(int fd, const char *name, mb_delta_line_fn *fn, void *arg,
    struct mb_buf *buf, struct mb_err *err)
{
	size_t start, searched = 0;
	uint64_t off = 0;
	const char *newline;
	ssize_t n;

	for (;;) {
		mb_buf_reserve(buf, CHUNK);
		n = mb_pread_full(fd, buf->p + buf->len, CHUNK, off, name,
		    err);
		if (n < 0)
			return -1;
		off += (uint64_t)n;
		buf->len += (size_t)n;
		for (start = 0; buf->len > searched && (newline = memchr(
		    buf->p + searched, '\n', buf->len - searched)) != NULL;
		    searched = start) {
			size_t end = (size_t)(newline - buf->p);

			if (give_line(fn, arg, buf->p + start, end - start,
			    err) < 0)
				return -1;
			start = end + 1;
		}
		/* A last line without its newline is a line. */
		if (n < CHUNK)
			return buf->len > start ? give_line(fn, arg,
			    buf->p + start, buf->len - start, err) : 0;
		memmove(buf->p, buf->p + start, buf->len - start);
		buf->len -= start;
		searched = buf->len;
		if (buf->len > MAX_LINE)
			return mb_fail(err, MB_EDATA, "a line of over %d "
			    "bytes", MAX_LINE);
	}
}

int
mb_delta_log_lines(const struct mb_delta_log *l, const char *name,
    mb_delta_line_fn *fn, void *arg, struct mb_delta_file_id *id,
    struct mb_err *err)
{
	struct mb_buf buf = { 0 };
	int fd, rc = open_file(l, name, &fd, id, err);

	if (rc <= 0)
		return rc;
	rc = give_lines(fd, name, fn, arg, &buf, err);
	/*
	 * Other engines don't sync.  What comes after this version must not
	 * outlive it, so it is synced before it is relied on.
	 */
	if (rc == 0)
		rc = mb_fsync(fd, name, err);
	close(fd);
	mb_buf_release(&buf);
	return rc < 0 ? mb_wrap(err, "%s: _delta_log/%s", l->place, name) : 1;
}

int
mb_delta_log_read(const struct mb_delta_log *l, const char *name,
    struct mb_buf *out, struct mb_err *err)
{
	struct mb_delta_file_id id;
	int fd, rc = open_file(l, name, &fd, &id, err);
	ssize_t n;

	if (rc <= 0)
		return rc;
	mb_buf_reset(out);
	if (id.size > MAX_SMALL) {
		rc = mb_fail(err, MB_EDATA, "too large");
	} else {
		mb_buf_reserve(out, (size_t)id.size + 1);
		n = mb_pread_full(fd, out->p, (size_t)id.size, 0, name, err);
		rc = n < 0 ? -1 : 1;
		out->len = n < 0 ? 0 : (size_t)n;
	}
	close(fd);
	return rc < 0 ? mb_wrap(err, "%s: _delta_log/%s", l->place, name) : 1;
}

/*
 * The listing.
 */

/* Exactly so many digits; false if it isn't that or too large. */
static bool
take_number(const char **p, int n_digits, int64_t *out)
{
	int64_t n = 0;

	for (int i = 0; i < n_digits; i++, (*p)++)
		if (**p < '0' || **p > '9' ||
		    __builtin_mul_overflow(n, (int64_t)10, &n) ||
		    __builtin_add_overflow(n, (int64_t)(**p - '0'), &n))
			return false;
	*out = n;
	return true;
}

static bool
take_word(const char **p, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*p, word, len) != 0)
		return false;
	*p += len;
	return true;
}

enum name_kind { OTHER, COMMIT, CHECKPOINT };

static enum name_kind
parse_name(const char *name, struct mb_delta_checkpoint *c)
{
	const char *p = name, *dot;
	int64_t part, parts;

	*c = (struct mb_delta_checkpoint){ 0 };
	if (!take_number(&p, DIGITS, &c->version) ||
	    c->version > MB_DELTA_LAST_VERSION)
		return OTHER;
	if (strcmp(p, ".json") == 0)
		return COMMIT;
	if (!take_word(&p, ".checkpoint."))
		return OTHER;
	if (strcmp(p, "parquet") == 0)
		return CHECKPOINT;
	dot = strchr(p, '.');
	if (dot == NULL)
		return OTHER;
	if (dot - p == PART_DIGITS && take_number(&p, PART_DIGITS, &part) &&
	    take_word(&p, ".") && take_number(&p, PART_DIGITS, &parts) &&
	    strcmp(p, ".parquet") == 0 && part >= 1 && part <= parts &&
	    parts <= UINT32_MAX) {
		c->parts = (uint32_t)parts;
		return CHECKPOINT;
	}
	if (p > dot || (size_t)(dot - p) >= sizeof c->uuid || dot == p)
		return OTHER;
	memcpy(c->uuid, p, (size_t)(dot - p));
	c->is_json = strcmp(dot, ".json") == 0;
	return c->is_json || strcmp(dot, ".parquet") == 0 ? CHECKPOINT : OTHER;
}

/* By version; of one version the classic one last, which is tried first. */
static int
compare_checkpoints(const void *a, const void *b)
{
	const struct mb_delta_checkpoint *x = a, *y = b;

	if (x->version != y->version)
		return x->version < y->version ? -1 : 1;
	if (x->parts != y->parts)
		return x->parts > y->parts ? -1 : 1;
	return -strcmp(x->uuid, y->uuid);
}

static void
add_checkpoint(struct mb_delta_listing *out,
    const struct mb_delta_checkpoint *c)
{
	if (c->parts > 0)
		for (size_t i = 0; i < out->n; i++)
			if (out->v[i].version == c->version &&
			    out->v[i].parts == c->parts) {
				out->v[i].have++;
				out->v[i].size += c->size;
				return;
			}
	out->v = mb_realloc_array(out->v, out->n + 1, sizeof *out->v);
	out->v[out->n] = *c;
	out->v[out->n++].have = 1;
}

static int
read_names(DIR *d, struct mb_delta_listing *out, struct mb_err *err)
{
	struct mb_delta_checkpoint c;
	struct dirent *e;
	struct stat st;

	while ((errno = 0, e = readdir(d)) != NULL)
		switch (parse_name(e->d_name, &c)) {
		case COMMIT:
			if (out->first < 0 || c.version < out->first)
				out->first = c.version;
			if (c.version > out->last)
				out->last = c.version;
			break;
		case CHECKPOINT:
			/* An empty one is what a writer's death has left. */
			if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
			    S_ISREG(st.st_mode) && st.st_size > 0) {
				c.size = (uint64_t)st.st_size;
				add_checkpoint(out, &c);
			}
			break;
		case OTHER:
			break;
		}
	return errno != 0 ? mb_fail_sys(err, "read") : 0;
}

/* Leave out what is incomplete, and sort. */
static void
order(struct mb_delta_listing *out)
{
	size_t kept = 0;

	for (size_t i = 0; i < out->n; i++)
		if (out->v[i].parts == 0 || out->v[i].have == out->v[i].parts)
			out->v[kept++] = out->v[i];
	out->n = kept;
	if (kept > 0)
		qsort(out->v, kept, sizeof *out->v, compare_checkpoints);
}

int
mb_delta_log_list(struct mb_delta_listing *out, const struct mb_delta_log *l,
    struct mb_err *err)
{
	int fd = mb_openat(l->dirfd, ".", O_RDONLY | O_DIRECTORY, 0), rc;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	*out = (struct mb_delta_listing){ .first = -1, .last = -1 };
	if (d == NULL) {
		mb_fail_sys(err, "%s: _delta_log", l->place);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	rc = read_names(d, out, err);
	closedir(d);
	if (rc == 0)
		order(out);
	else
		mb_wrap(err, "%s: _delta_log", l->place);
	return rc;
}

void
mb_delta_listing_release(struct mb_delta_listing *l)
{
	free(l->v);
	*l = (struct mb_delta_listing){ 0 };
}

/*
 * Writing.
 */
static int
write_file(struct mb_stage **out, const struct mb_delta_log *l,
    const char *name, struct mb_str text, struct mb_err *err)
{
	*out = NULL;
	if (mb_stage_open_in(out, l->tmpfd, l->dirfd, name, 0666, err) < 0)
		return -1;
	return mb_stage_write(*out, text.p, text.len, err);
}

/* The end of every way to write: nothing is left open. */
static int
end(const struct mb_delta_log *l, struct mb_stage *stage, int rc,
    struct mb_err *err)
{
	mb_stage_close(stage);
	return rc < 0 ? mb_wrap(err, "%s: _delta_log", l->place) : 0;
}

int
mb_delta_log_stage(struct mb_stage **out, const struct mb_delta_log *l,
    int64_t version, struct mb_str text, struct mb_err *err)
{
	char name[MB_DELTA_NAME];

	mb_delta_commit_name(name, version);
	if (write_file(out, l, name, text, err) == 0 &&
	    mb_stage_sync(*out, err) == 0)
		return 0;
	(void)end(l, *out, -1, err);
	*out = NULL;
	return -1;
}

int
mb_delta_log_add(const struct mb_delta_log *l, struct mb_stage *stage,
    struct mb_err *err)
{
	return end(l, stage, mb_stage_publish(stage, err), err);
}

int
mb_delta_log_offer(const struct mb_delta_log *l, const char *name,
    struct mb_str text, struct mb_err *err)
{
	struct mb_stage *stage;
	int rc = write_file(&stage, l, name, text, err);

	if (rc == 0 && mb_stage_offer(stage, err) < 0) {
		rc = err->code == MB_EEXIST ? 0 : -1;
		if (rc == 0)
			*err = (struct mb_err){ 0 };
	}
	return end(l, stage, rc, err);
}

int
mb_delta_log_replace(const struct mb_delta_log *l, const char *name,
    struct mb_str text, struct mb_err *err)
{
	struct mb_stage *stage;
	int rc = write_file(&stage, l, name, text, err);

	if (rc == 0)
		rc = mb_stage_replace(stage, err);
	return end(l, stage, rc, err);
}
