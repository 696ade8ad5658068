/*
 * dir.c - the sink dir:PATH: a file per batch, or with --partition-by a
 * directory, of which all that is said of the file holds as well.
 *
 *	STAGED -> INTENDED [line appended to the manifest, synced]
 *	-> VISIBLE [renameat2 without replacing] -> DURABLE [directory synced]
 *
 * The manifest, PATH/.mb-manifest, is a file of checked lines.  The first
 * names the owning journal.  Every other is an intent: the marker before a
 * batch, the marker behind it, and the batch's file.  The marker is therefore
 * told by the newest line alone: the one behind, if its file is there, else
 * the one before.
 *
 * I1. An intent is durable before its file appears.
 * I2. An intent is written only where the newest line's outcome is known and
 *     durable, under the lock on the manifest.
 * I3. A file never replaces another: one that the manifest doesn't know is
 *     damage, and is left alone.  But for --redo, which replaces the file of
 *     a batch that is there by one of the same name, or gives it again if it
 *     was taken away; the marker is told as before.
 *
 * So whoever consumes the files may take away any but the one of the newest
 * line.
 */
#include "sink/sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/io.h"
#include "base/line.h"
#include "durable/stage.h"
#include "durable/tree.h"
#include "sink/convert.h"
#include "sink/positions.h"

#define MANIFEST ".mb-manifest"

enum {
	TAIL = 4 * 1024,	/* an intent is shorter, but for its holes */
	FLUSH = 64 * 1024,	/* rows that go to the stage together */
	MAX_LINE = 64 << 20,
};

struct dir_sink {
	struct mb_sink base;
	char *path;		/* absolute */
	int dirfd;		/* -1: not there yet */
	int fd;			/* the manifest; -1 */
	bool is_poisoned;	/* a sync failed */
	uint64_t batch;
	struct mb_convert *convert;
	struct mb_stage *stage;
	struct mb_stage *spare;	/* for the next batch; or NULL */
	char name[64];
	/* With --partition-by, instead of the stage. */
	struct mb_parts *parts;
	struct mb_tree *tree;
	char part_name[64];
	struct mb_buf rows;	/* not yet in the stage */
	bool has_z;
	z_stream z;
};

/* The newest intent, and where good lines end. */
struct newest {
	struct mb_marker was, now;
	char *name;		/* NULL: no intent yet */
	uint64_t start, end;	/* of the line; end: of the good lines */
};

static void
newest_release(struct newest *n)
{
	mb_marker_release(&n->was);
	mb_marker_release(&n->now);
	free(n->name);
	*n = (struct newest){ 0 };
}

static int
damaged(const struct dir_sink *s, uint64_t off, struct mb_err *err)
{
	return mb_fail(err, MB_ECORRUPT, "dir:%s: " MANIFEST
	    " is damaged at byte %" PRIu64, s->path, off);
}

static bool
get_marker(const struct mb_node *n, struct mb_marker *m)
{
	struct mb_err ignored = { 0 };
	const char *holes;

	if (n == NULL)
		return true;	/* there was none */
	m->exists = true;
	return mb_node_u64(n, "first", &m->first) &&
	    mb_node_u64(n, "last", &m->last) && m->first <= m->last &&
	    mb_node_hash(n, "digest", &m->digest) &&
	    mb_node_str(n, "holes", &holes) &&
	    mb_marker_parse_holes(m, holes, &ignored) == 0;
}

static void
put_marker(struct mb_buf *out, const char *name, const struct mb_marker *m)
{
	struct mb_buf holes = { 0 };

	if (!m->exists)
		return;
	mb_marker_put_holes(&holes, m);
	mb_line_open(out, name, '{');
	mb_line_u64(out, "first", m->first);
	mb_line_u64(out, "last", m->last);
	mb_line_str(out, "digest", m->digest.hex);
	mb_line_str(out, "holes", mb_buf_str(&holes));
	mb_line_close(out, '}');
	mb_buf_release(&holes);
}

static int
parse_intent(const struct dir_sink *s, struct mb_str line, struct newest *n,
    struct mb_err *err)
{
	const struct mb_node *root;
	const char *name = NULL;
	struct mb_doc *doc;
	bool ok;

	if (mb_doc_parse(&doc, line, err) < 0)
		return -1;
	root = mb_doc_root(doc);
	ok = get_marker(mb_node_member(root, "was"), &n->was) &&
	    get_marker(mb_node_member(root, "now"), &n->now) &&
	    n->now.exists && mb_node_str(root, "name", &name) &&
	    strchr(name, '/') == NULL;
	if (ok)
		n->name = mb_strdup(name);
	mb_doc_close(doc);
	return ok ? 0 : damaged(s, n->start, err);
}

/*
 * Find the last good line, reading from the end.  What follows it is a torn
 * intent, whose file can't be there (I1), and counts as nothing.
 */
static int
read_newest(struct dir_sink *s, struct newest *n, struct mb_err *err)
{
	struct mb_buf buf = { 0 };
	struct stat st;
	size_t want = TAIL;
	int rc = -1;

	*n = (struct newest){ 0 };
	if (fstat(s->fd, &st) < 0)
		return mb_fail_sys(err, "dir:%s: " MANIFEST, s->path);
	for (;; want *= 2) {
		uint64_t size = (uint64_t)st.st_size;
		uint64_t from = size > want ? size - want : 0;
		size_t end;
		ssize_t got;

		mb_buf_reset(&buf);
		mb_buf_reserve(&buf, want);
		got = mb_pread_full(s->fd, buf.p, want, from, MANIFEST, err);
		if (got < 0)
			goto out;
		end = (size_t)got;
		while (end > 0) {
			size_t start = end - 1;	/* of its newline, if any */
			struct mb_str line;

			while (start > 0 && buf.p[start - 1] != '\n')
				start--;
			if (start == 0 && from > 0)
				break;	/* the line begins before: read more */
			line = (struct mb_str){ buf.p + start,
			    end - 1 - start };
			if (buf.p[end - 1] == '\n' && mb_line_check(line)) {
				n->start = from + start;
				n->end = from + end;
				rc = n->start == 0 ? 0 :
				    parse_intent(s, line, n, err);
				goto out;
			}
			end = start;
		}
		if (from == 0 || want > MAX_LINE)
			break;
	}
	damaged(s, 0, err);
out:
	mb_buf_release(&buf);
	if (rc < 0)
		newest_release(n);
	return rc;
}

/* What the newest line and its file tell: 1 the file is there, 0 not. */
static int
is_visible(const struct dir_sink *s, const char *name, struct mb_err *err)
{
	struct stat st;

	if (fstatat(s->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	if (errno == ENOENT)
		return 0;
	return mb_fail_sys(err, "dir:%s/%s", s->path, name);
}

static int
current_marker(struct dir_sink *s, struct newest *n, struct mb_marker *out,
    struct mb_err *err)
{
	int rc;

	if (read_newest(s, n, err) < 0)
		return -1;
	rc = n->name == NULL ? 0 : is_visible(s, n->name, err);
	if (rc < 0)
		return -1;
	mb_marker_copy(out, rc > 0 ? &n->now : &n->was);
	return 0;
}

static int
lock_manifest(const struct dir_sink *s, struct mb_err *err)
{
	int rc;

	do
		rc = flock(s->fd, LOCK_EX);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? mb_fail_sys(err, "dir:%s: lock", s->path) : 0;
}

static void
unlock_manifest(const struct dir_sink *s)
{
	(void)flock(s->fd, LOCK_UN);
}

static int
poison(struct dir_sink *s)
{
	s->is_poisoned = true;
	return -1;
}

static int
dir_lookup(struct mb_sink *base, struct mb_marker *out, struct mb_err *err)
{
	struct dir_sink *s = (struct dir_sink *)base;
	struct newest n = { 0 };
	struct mb_buf line = { 0 };
	int rc = -1;

	if (s->is_poisoned)
		return mb_fail(err, MB_EIO, "dir:%s: a sync has failed before",
		    s->path);
	if (s->fd < 0)	/* its maker may have died before the manifest */
		return s->dirfd < 0 ? 0 : mb_stage_sweep(s->dirfd, err);
	if (lock_manifest(s, err) < 0)
		return -1;
	if (current_marker(s, &n, out, err) < 0)
		goto out;
	/*
	 * Write the line again before the sync: one that failed for another
	 * process may have left its page clean and lost.
	 */
	mb_buf_reserve(&line, (size_t)(n.end - n.start));
	line.len = (size_t)(n.end - n.start);
	if (mb_pread_full(s->fd, line.p, line.len, n.start, MANIFEST, err) <
	    0 || mb_pwrite_all(s->fd, line.p, line.len, n.start, MANIFEST,
	    err) < 0)
		goto out;
	if (mb_fdatasync(s->fd, MANIFEST, err) < 0 ||
	    mb_fsync(s->dirfd, s->path, err) < 0)
		rc = poison(s);
	else
		rc = mb_stage_sweep(s->dirfd, err);
out:
	unlock_manifest(s);
	mb_buf_release(&line);
	newest_release(&n);
	return rc < 0 ? mb_wrap(err, "dir:%s", s->path) : 0;
}

/* Line 1: whose directory it is, and its id. */
struct owner {
	char journal[MB_ID_LEN + 1];
	char *journal_path;
};

static int
parse_owner(struct dir_sink *s, struct owner *out, struct mb_err *err)
{
	const char *journal = "", *id = "";
	char *newline, text[PATH_MAX * 2 + 512];
	struct mb_str line = { text, 0 };
	struct mb_doc *doc;
	size_t len;
	ssize_t n = mb_pread_full(s->fd, text, sizeof text, 0, MANIFEST, err);

	if (n < 0)
		return -1;
	newline = n > 0 ? memchr(text, '\n', (size_t)n) : NULL;
	if (newline == NULL)
		return damaged(s, 0, err);
	line.len = (size_t)(newline - text);
	if (!mb_line_check(line))
		return damaged(s, 0, err);
	if (mb_doc_parse(&doc, line, err) < 0)
		return -1;
	(void)mb_node_str(mb_doc_root(doc), "journal", &journal);
	(void)mb_node_str(mb_doc_root(doc), "id", &id);
	snprintf(out->journal, sizeof out->journal, "%s", journal);
	if (!mb_node_bytes(mb_doc_root(doc), "journal_path",
	    &out->journal_path, &len))
		out->journal_path = mb_strdup("?");
	free(s->base.target_id);
	s->base.target_id = mb_strdup(id);
	mb_doc_close(doc);
	return 0;
}

/* It must be ours. */
static int
read_owner(struct dir_sink *s, struct mb_err *err)
{
	struct owner owner;
	int rc = parse_owner(s, &owner, err);

	if (rc < 0)
		return -1;
	if (strcmp(owner.journal, s->base.options->journal) != 0)
		rc = mb_fail(err, MB_ECORRUPT, "dir:%s: belongs to another "
		    "journal, %.8s, that was at %s: a directory holds the "
		    "batches of one journal", s->path, owner.journal,
		    owner.journal_path);
	free(owner.journal_path);
	return rc;
}

/* Batches without a manifest: it was lost, and nobody knows what is here. */
static int
refuse_batches(const struct dir_sink *s, struct mb_err *err)
{
	int fd = mb_openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		mb_fail_sys(err, "dir:%s", s->path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((e = readdir(d)) != NULL)
		if (strncmp(e->d_name, "batch-", 6) == 0 ||
		    strncmp(e->d_name, "batch=", 6) == 0) {
			mb_fail(err, MB_ECORRUPT, "dir:%s: has batches but no "
			    MANIFEST, s->path);
			break;
		}
	closedir(d);
	return err->code == MB_OK ? 0 : -1;
}

/* Open what is there; absence is fine. */
static int
open_existing(struct dir_sink *s, struct mb_err *err)
{
	s->dirfd = mb_openat(AT_FDCWD, s->path, O_RDONLY | O_DIRECTORY, 0);
	if (s->dirfd < 0 && errno == ENOENT)
		return 0;
	if (s->dirfd < 0)
		return mb_fail(err, MB_EUSAGE, "dir:%s: %s", s->path,
		    strerror(errno));
	s->fd = mb_openat(s->dirfd, MANIFEST, O_RDWR | O_NOFOLLOW, 0);
	if (s->fd < 0 && errno != ENOENT)
		return mb_fail_sys(err, "dir:%s: " MANIFEST, s->path);
	if (s->fd >= 0)
		return read_owner(s, err);
	return refuse_batches(s, err);
}

static int
create(struct dir_sink *s, struct mb_err *err)
{
	const struct mb_sink_options *o = s->base.options;
	struct mb_stage *stage = NULL;
	struct mb_buf line = { 0 };
	char id[33];
	int rc = -1, fd;

	/* Also one that is there: its maker may have got no further. */
	fd = mb_dir_open(s->path, 0777, err);
	if (fd < 0)
		return mb_wrap(err, "dir");
	if (s->dirfd >= 0)
		close(s->dirfd);
	s->dirfd = fd;
	if (mb_random_hex(id, 16, err) < 0 ||
	    mb_stage_open(&stage, s->dirfd, MANIFEST, 0666, err) < 0)
		goto out;
	mb_line_begin(&line, "manifest");
	mb_line_u64(&line, "version", 1);
	mb_line_str(&line, "id", id);
	mb_line_str(&line, "journal", o->journal);
	mb_line_bytes(&line, "journal_path",
	    mb_str(o->journal_path != NULL ? o->journal_path : ""));
	mb_line_seal(&line, 0);
	if (mb_stage_write(stage, line.p, line.len, err) < 0)
		goto out;
	if (mb_stage_publish(stage, err) < 0) {
		if (err->code != MB_EEXIST)
			goto out;
		*err = (struct mb_err){ 0 };	/* somebody was faster */
	}
	s->fd = mb_openat(s->dirfd, MANIFEST, O_RDWR | O_NOFOLLOW, 0);
	rc = s->fd < 0 ? mb_fail_sys(err, "open " MANIFEST) :
	    read_owner(s, err);
out:
	mb_stage_close(stage);
	mb_buf_release(&line);
	return rc < 0 ? mb_wrap(err, "dir:%s", s->path) : 0;
}

static void
dir_abort(struct mb_sink *base)
{
	struct dir_sink *s = (struct dir_sink *)base;

	mb_convert_close(s->convert);
	s->convert = NULL;
	mb_stage_close(s->stage);
	s->stage = NULL;
	mb_parts_close(s->parts);
	s->parts = NULL;
	mb_tree_close(s->tree);
	s->tree = NULL;
	if (s->has_z)
		deflateEnd(&s->z);
	s->has_z = false;
	mb_buf_reset(&s->rows);
}

static void
dir_close(struct mb_sink *base)
{
	struct dir_sink *s = (struct dir_sink *)base;

	dir_abort(base);
	mb_stage_close(s->spare);
	mb_buf_release(&s->rows);
	if (s->fd >= 0)
		close(s->fd);
	if (s->dirfd >= 0)
		close(s->dirfd);
	free(s->path);
	free(s);
}

static const char *
ending(const char *format)
{
	return strcmp(format, "lines") == 0 ? "txt" : format;
}

static int
dir_begin(struct mb_sink *base, const struct mb_begin *b, struct mb_err *err)
{
	struct dir_sink *s = (struct dir_sink *)base;
	const struct mb_sink_options *o = base->options;
	const char *format;

	dir_abort(base);
	s->batch = b->batch;
	if (mb_convert_open(&s->convert, o, b, &s->rows, err) < 0)
		return -1;
	format = ending(mb_convert_format(s->convert));
	if (o->n_partition_by > 0) {
		snprintf(s->name, sizeof s->name, "batch=%09" PRIu64,
		    b->batch);
		snprintf(s->part_name, sizeof s->part_name, "part.%s%s",
		    format, o->gzip ? ".gz" : "");
		mb_parts_open(&s->parts, s->part_name, o->gzip);
		mb_convert_spread(s->convert, s->parts);
		return 0;
	}
	snprintf(s->name, sizeof s->name, "batch-%09" PRIu64 ".%s%s", b->batch,
	    format, o->gzip ? ".gz" : "");
	if (o->gzip) {
		/* 31: a gzip header, which zlib writes without a time. */
		if (deflateInit2(&s->z, 6, Z_DEFLATED, 31, 8,
		    Z_DEFAULT_STRATEGY) != Z_OK)
			return mb_fail(err, MB_EBUG, "zlib");
		s->has_z = true;
	}
	return 0;
}

/* Making a file durable that is new takes longer than all the rest. */
static void
dir_rest(struct mb_sink *base)
{
	struct dir_sink *s = (struct dir_sink *)base;
	struct mb_err ignored = { 0 };

	if (s->fd >= 0 && s->spare == NULL && !s->is_poisoned &&
	    base->options->n_partition_by == 0 &&
	    mb_stage_prepare(&s->spare, s->dirfd, 0666, &ignored) < 0)
		s->spare = NULL;
}

static int
open_stage(struct dir_sink *s, struct mb_err *err)
{
	s->stage = s->spare;
	s->spare = NULL;
	/* Whoever consumes the directory may have taken it for a leftover. */
	if (s->stage != NULL && mb_stage_name(s->stage, s->name))
		return 0;
	mb_stage_close(s->stage);
	return mb_stage_open(&s->stage, s->dirfd, s->name, 0666, err);
}

/* Move what waits in s->parts to the tree. */
static int
flush_parts(struct dir_sink *s, struct mb_err *err)
{
	if (s->tree == NULL) {
		if (s->fd < 0 && create(s, err) < 0)
			return -1;
		if (mb_tree_open(&s->tree, s->dirfd, s->name, err) < 0)
			return mb_wrap(err, "dir:%s", s->path);
	}
	return mb_parts_flush(s->parts, s->tree, err) < 0 ?
	    mb_wrap(err, "dir:%s", s->path) : 0;
}

/* Move s->rows to the stage, compressed where asked for. */
static int
flush_rows(struct dir_sink *s, bool is_last, struct mb_err *err)
{
	unsigned char out[16 * 1024];
	int rc;

	if (s->stage == NULL) {
		if (s->fd < 0 && create(s, err) < 0)
			return -1;
		if (open_stage(s, err) < 0)
			return mb_wrap(err, "dir:%s", s->path);
	}
	if (!s->has_z) {
		rc = mb_stage_write(s->stage, s->rows.p, s->rows.len, err);
		mb_buf_reset(&s->rows);
		return rc < 0 ? mb_wrap(err, "dir:%s", s->path) : 0;
	}
	s->z.next_in = (unsigned char *)s->rows.p;
	s->z.avail_in = (unsigned)s->rows.len;
	do {
		s->z.next_out = out;
		s->z.avail_out = sizeof out;
		rc = deflate(&s->z, is_last ? Z_FINISH : Z_NO_FLUSH);
		if (rc == Z_STREAM_ERROR)
			return mb_fail(err, MB_EBUG, "zlib");
		if (mb_stage_write(s->stage, out, sizeof out -
		    s->z.avail_out, err) < 0)
			return mb_wrap(err, "dir:%s", s->path);
	} while (s->z.avail_out == 0);
	mb_buf_reset(&s->rows);
	return 0;
}

static int
dir_add(struct mb_sink *base, struct mb_str records, struct mb_err *err)
{
	struct dir_sink *s = (struct dir_sink *)base;

	if (mb_convert_add(s->convert, records, base->adding, &s->rows, err) <
	    0)
		return mb_wrap(err, "dir:%s", s->path);
	if (s->parts != NULL)
		return mb_parts_is_full(s->parts) ? flush_parts(s, err) : 0;
	return s->rows.len >= FLUSH ? flush_rows(s, false, err) : 0;
}

static int
dir_stage(struct mb_sink *base, uint64_t *rows, struct mb_err *err)
{
	struct dir_sink *s = (struct dir_sink *)base;

	*rows = mb_convert_rows(s->convert);
	if (*rows == 0)
		return 0;
	if ((s->parts != NULL ? flush_parts(s, err) :
	    flush_rows(s, true, err)) < 0)
		return -1;
	return (s->parts != NULL ? mb_tree_sync(s->tree, err) :
	    mb_stage_sync(s->stage, err)) < 0 ?
	    mb_wrap(err, "dir:%s", s->path) : 0;
}

/* I1: the intent, durable. */
static int
append_intent(struct dir_sink *s, const struct newest *n,
    const struct mb_marker *was, const struct mb_marker *now,
    struct mb_err *err)
{
	struct mb_buf line = { 0 };
	struct stat st;
	int rc = -1;

	mb_line_begin(&line, "intent");
	mb_line_u64(&line, "batch", s->batch);
	mb_line_str(&line, "name", s->name);
	mb_line_u64(&line, "rows", mb_convert_rows(s->convert));
	mb_line_u64(&line, "bytes", s->tree != NULL ? mb_tree_size(s->tree) :
	    mb_stage_size(s->stage));
	put_marker(&line, "was", was);
	put_marker(&line, "now", now);
	if (s->base.positions != NULL)
		mb_positions_put(&line, s->base.positions);
	mb_line_seal(&line, 0);
	if (fstat(s->fd, &st) < 0) {
		mb_fail_sys(err, MANIFEST);
		goto out;
	}
	if ((uint64_t)st.st_size > n->end &&
	    ftruncate(s->fd, (off_t)n->end) < 0) {
		mb_fail_sys(err, "cut " MANIFEST);
		goto out;
	}
	if (mb_pwrite_all(s->fd, line.p, line.len, n->end, MANIFEST, err) < 0)
		goto out;
	rc = mb_fdatasync(s->fd, MANIFEST, err);
out:
	mb_buf_release(&line);
	return rc < 0 ? poison(s) : 0;
}

/*
 * Is the batch there in another format?  Then replacing would make two of it.
 * 0 no, -1 yes, or that can't be told.
 */
static int
has_other_name(const struct dir_sink *s, struct mb_err *err)
{
	char stem[64], directory[64];
	int fd = mb_openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	size_t len = (size_t)snprintf(stem, sizeof stem, "batch-%09" PRIu64
	    ".", s->batch);

	snprintf(directory, sizeof directory, "batch=%09" PRIu64, s->batch);

	if (d == NULL) {
		mb_fail_sys(err, "read the directory");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((e = readdir(d)) != NULL)
		if ((strncmp(e->d_name, stem, len) == 0 ||
		    strcmp(e->d_name, directory) == 0) &&
		    strcmp(e->d_name, s->name) != 0)
			mb_fail(err, MB_EUSAGE, "--redo: the batch is there as "
			    "%s, not %s: give the same --output, --gzip and "
			    "--partition-by", e->d_name, s->name);
	closedir(d);
	return err->code == MB_OK ? 0 : -1;
}

static int
dir_commit(struct mb_sink *base, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	struct dir_sink *s = (struct dir_sink *)base;
	struct mb_marker current = { 0 };
	struct newest n = { 0 };
	int rc = -1;

	if (s->is_poisoned)
		return mb_fail(err, MB_EIO, "dir:%s: a sync has failed before",
		    s->path);
	if (lock_manifest(s, err) < 0)
		return -1;
	if (current_marker(s, &n, &current, err) < 0)
		goto out;
	if (!mb_marker_eq(&current, was)) {
		mb_fail(err, MB_EEXIST, "its marker has moved");
		goto out;
	}
	rc = is_visible(s, s->name, err);
	if (rc > 0)
		rc = mb_fail(err, MB_ECORRUPT, "%s is there, but the manifest "
		    "doesn't know it", s->name);		/* I3 */
	if (rc < 0 || append_intent(s, &n, was, now, err) < 0) {
		rc = -1;
		goto out;
	}
	rc = s->tree != NULL ? mb_tree_publish(s->tree, err) :
	    mb_stage_publish(s->stage, err);
	if (rc < 0) {
		poison(s);
		if (err->code == MB_EEXIST)
			err->code = MB_ECORRUPT;
	}
out:
	unlock_manifest(s);
	mb_marker_release(&current);
	newest_release(&n);
	return rc < 0 ? mb_wrap(err, "dir:%s", s->path) : 0;
}

/*
 * The file of a batch that is there, anew.  Without rows it becomes an empty
 * one: were the newest line's taken away, the marker would fall back.
 */
static int
dir_redo(struct mb_sink *base, const struct mb_marker *was,
    struct mb_err *err)
{
	struct dir_sink *s = (struct dir_sink *)base;
	struct mb_marker current = { 0 };
	struct newest n = { 0 };
	int rc = -1;

	if (s->is_poisoned)
		return mb_fail(err, MB_EIO, "dir:%s: a sync has failed before",
		    s->path);
	if (s->parts != NULL && s->tree == NULL && flush_parts(s, err) < 0)
		return -1;
	if (s->parts == NULL && s->stage == NULL &&
	    flush_rows(s, true, err) < 0)
		return -1;
	if (lock_manifest(s, err) < 0)
		return -1;
	if (current_marker(s, &n, &current, err) < 0)
		goto out;
	if (!mb_marker_eq(&current, was)) {
		mb_fail(err, MB_EEXIST, "its marker has moved");
		goto out;
	}
	if (has_other_name(s, err) != 0)
		goto out;
	rc = s->tree != NULL ? mb_tree_replace(s->tree, err) :
	    mb_stage_replace(s->stage, err);
	if (rc < 0)
		poison(s);
out:
	unlock_manifest(s);
	mb_marker_release(&current);
	newest_release(&n);
	return rc < 0 ? mb_wrap(err, "dir:%s", s->path) : 0;
}

int
mb_sink_open_dir(struct mb_sink **out, const char *path,
    const struct mb_sink_options *options, struct mb_err *err)
{
	static const struct mb_sink_ops ops = {
		.close = dir_close, .lookup = dir_lookup, .begin = dir_begin,
		.add = dir_add, .stage = dir_stage, .commit = dir_commit,
		.redo = dir_redo, .abort = dir_abort, .rest = dir_rest,
	};
	struct dir_sink *s = mb_zalloc(sizeof *s);
	struct mb_buf target = { 0 };

	*s = (struct dir_sink){
		.base = { .ops = &ops, .options = options },
		.dirfd = -1, .fd = -1,
	};
	if (mb_sink_resolve(&s->path, "dir", path, err) < 0)
		goto fail;
	mb_buf_addf(&target, "dir:%s", s->path);
	s->base.target = mb_buf_take(&target);
	if (mb_sink_may_write(s->path, true, s->base.target, err) < 0 ||
	    open_existing(s, err) < 0)
		goto fail;
	*out = &s->base;
	return 0;
fail:
	mb_sink_close(&s->base);
	return -1;
}

int
mb_sink_find_dir(struct mb_found *out, const char *path,
    const char *journal_path, struct mb_err *err)
{
	struct dir_sink s = { .dirfd = -1, .fd = -1 };
	struct mb_buf target = { 0 };
	struct owner owner = { 0 };
	struct newest n = { 0 };
	int rc = -1;

	if (mb_sink_resolve(&s.path, "dir", path, err) < 0)
		goto out;
	s.dirfd = mb_openat(AT_FDCWD, s.path, O_RDONLY | O_DIRECTORY, 0);
	if (s.dirfd >= 0)
		s.fd = mb_openat(s.dirfd, MANIFEST, O_RDONLY | O_NOFOLLOW, 0);
	if (s.fd < 0) {
		mb_fail(err, MB_EUSAGE, "dir:%s: no journal has committed "
		    "there: %s", s.path, strerror(errno));
		goto out;
	}
	if (parse_owner(&s, &owner, err) < 0 ||
	    current_marker(&s, &n, &out->marker, err) < 0)
		goto out;
	if (strcmp(owner.journal_path, journal_path) != 0) {
		mb_fail(err, MB_EUSAGE, "dir:%s: has no batches of a journal "
		    "at %s, but of one at %s", s.path, journal_path,
		    owner.journal_path);
		goto out;
	}
	if (!out->marker.exists) {
		mb_fail(err, MB_EUSAGE, "dir:%s: has no batch yet of the "
		    "journal at %s: remove its " MANIFEST ", and start "
		    "without --adopt", s.path, journal_path);
		goto out;
	}
	memcpy(out->journal, owner.journal, sizeof out->journal);
	mb_buf_addf(&target, "dir:%s", s.path);
	out->target = mb_buf_take(&target);
	out->target_id = mb_strdup(s.base.target_id);
	rc = mb_positions_gather(out, s.fd, out->target, err);
out:
	newest_release(&n);
	free(owner.journal_path);
	free(s.base.target_id);
	free(s.path);
	if (s.fd >= 0)
		close(s.fd);
	if (s.dirfd >= 0)
		close(s.dirfd);
	return rc;
}
