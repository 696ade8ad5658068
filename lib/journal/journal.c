/*
 * I1. A line is appended under the append lock, by somebody who has read
 *     every line before it.
 * I2. A bad line is a torn tail, and is cut with all that follows, unless a
 *     good line behind it says that the file was synced beyond its place;
 *     then the file is damaged and nothing is cut.
 * I3. A checkpoint is appended only where everything before it is synced, so
 *     reading may begin at the last one: no torn line can stand before it.
 * I4. A rewrite replaces a prefix by the checkpoint of its state and keeps
 *     the rest byte for byte, under the collector and the append lock.
 */
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "durable/lock.h"
#include "durable/stage.h"
#include "journal/lines.h"

enum {
	CHUNK = 256 * 1024,
	CHECKPOINT_EVERY = 256 * 1024,	/* bytes of lines, at least */
	REWRITE_FROM = 64 * 1024,	/* bytes of file, at least */
	MAX_LINE = 1 << 30,
};

struct mb_journal {
	char *path;		/* absolute */
	char *name;		/* in dirfd */
	int dirfd;		/* where the journal stands */
	int dfd;		/* <journal>.d */
	int fd;
	dev_t dev;
	ino_t ino;
	struct mb_lock *lock;
	struct mb_state state;
	int flags;
	uint64_t base;		/* logical offset of ... */
	uint64_t head_len;	/* ... this place in the file */
	uint64_t first_batch;	/* planned in this file or later */
	uint64_t pos;		/* logical: read up to here */
	uint64_t synced;	/* logical: known to be durable */
	uint64_t checkpoint_pos;	/* logical end of the last checkpoint */
	uint64_t checkpoint_len;
	bool has_entered;
	bool has_synced_names;	/* in <journal>.d, by this process */
	struct mb_buf notice;
	struct mb_buf read_buf;
};

const struct mb_state *
mb_journal_state(const struct mb_journal *j)
{
	return &j->state;
}

const char *
mb_journal_path(const struct mb_journal *j)
{
	return j->path;
}

uint64_t
mb_journal_synced(const struct mb_journal *j)
{
	return j->synced;
}

const char *
mb_journal_notice(struct mb_journal *j)
{
	if (j->notice.len == 0)
		return NULL;
	mb_buf_str(&j->notice);
	mb_buf_reset(&j->notice);
	return j->notice.p;
}

static uint64_t
physical(const struct mb_journal *j, uint64_t logical)
{
	return j->head_len + (logical - j->base);
}

/*
 * Lines of the file, read in chunks.  After `next` has returned 1, line is
 * good or bad as is_good says, and off and end are its place.
 */
struct reader {
	int fd;
	const char *name;
	uint64_t off, end;	/* physical */
	struct mb_buf buf;	/* what was read from `from` on */
	uint64_t from;
	bool at_end;		/* the file has no more than that */
	struct mb_str line;	/* without the newline */
	bool has_newline, is_good;
};

static int
reader_next(struct reader *r, struct mb_err *err)
{
	size_t start, scanned = 0;
	char *newline;
	ssize_t n;

	r->off = r->end;
	start = (size_t)(r->off - r->from);
	while ((newline = r->buf.len > start + scanned ?
	    memchr(r->buf.p + start + scanned, '\n',
	    r->buf.len - start - scanned) : NULL) == NULL) {
		scanned = r->buf.len - start;
		if (start > 0) {
			/* Keep what belongs to this line only. */
			memmove(r->buf.p, r->buf.p + start, scanned);
			r->buf.len = scanned;
			r->from = r->off;
			start = 0;
		}
		if (r->at_end)
			break;
		if (scanned > MAX_LINE)
			return mb_fail(err, MB_ECORRUPT,
			    "%s: no end of line after byte %" PRIu64, r->name,
			    r->off);
		mb_buf_reserve(&r->buf, CHUNK);
		n = mb_pread_full(r->fd, r->buf.p + r->buf.len, CHUNK,
		    r->from + r->buf.len, r->name, err);
		if (n < 0)
			return -1;
		r->buf.len += (size_t)n;
		r->at_end = n < CHUNK;
	}
	scanned = r->buf.len - start;
	if (newline == NULL && scanned == 0)
		return 0;
	r->has_newline = newline != NULL;
	r->line.p = r->buf.p + start;
	r->line.len = r->has_newline ? (size_t)(newline - r->line.p) : scanned;
	r->end = r->off + r->line.len + r->has_newline;
	r->is_good = r->has_newline && mb_line_check(r->line);
	return 1;
}

/* Place the reader; the buffer is kept. */
static void
reader_seek(struct reader *r, uint64_t off)
{
	r->off = r->end = r->from = off;
	r->buf.len = 0;
	r->at_end = false;
}

static bool
has_verb(struct mb_str line, const char *verb)
{
	char start[64];
	size_t len = (size_t)snprintf(start, sizeof start, "{\"mb\":\"%s\"",
	    verb);

	return line.len > len && memcmp(line.p, start, len) == 0;
}

static bool
line_synced(struct mb_str line, uint64_t *synced)
{
	struct mb_err ignored = { 0 };
	struct mb_doc *doc;
	bool found;

	if (!has_verb(line, "plan") && !has_verb(line, "checkpoint"))
		return false;
	if (mb_doc_parse(&doc, line, &ignored) < 0)
		return false;
	found = mb_node_u64(mb_doc_root(doc), "synced", synced);
	mb_doc_close(doc);
	return found;
}

/* Apply the reader's line, which is good, to a state. */
static int
apply_line(const struct reader *r, struct mb_state *s, struct mb_err *err)
{
	if (mb_state_apply(s, r->line, err) < 0)
		return mb_wrap(err, "%s: at byte %" PRIu64, r->name, r->off);
	return 0;
}

/*
 * Read the head of the open file: the `open` line and, after a rewrite, the
 * checkpoint.  Sets up j->state, base, head_len and pos.
 */
static int
read_head(struct mb_journal *j, struct reader *r, struct mb_err *err)
{
	struct mb_doc *doc;
	int rc;

	mb_state_release(&j->state);
	mb_state_init(&j->state, j->flags & MB_JOURNAL_ALL);
	reader_seek(r, 0);
	rc = reader_next(r, err);
	if (rc < 0)
		return -1;
	if (rc == 0 || !r->is_good || !has_verb(r->line, "open"))
		return mb_fail(err, MB_ECORRUPT,
		    "%s: damaged at byte 0: no journal begins like this",
		    j->path);
	if (apply_line(r, &j->state, err) < 0 ||
	    mb_doc_parse(&doc, r->line, err) < 0)
		return -1;
	j->base = 0;
	(void)mb_node_u64(mb_doc_root(doc), "base", &j->base);
	mb_doc_close(doc);
	if (j->base > 0) {
		rc = reader_next(r, err);
		if (rc < 0)
			return -1;
		if (rc == 0 || !r->is_good || !has_verb(r->line, "checkpoint"))
			return mb_fail(err, MB_ECORRUPT,
			    "%s: damaged at byte %" PRIu64 ": no checkpoint",
			    j->path, r->off);
		if (apply_line(r, &j->state, err) < 0)
			return -1;
	}
	j->head_len = r->end;
	j->first_batch = j->state.next_batch;
	j->pos = j->checkpoint_pos = j->base;
	j->checkpoint_len = r->end;
	return 0;
}

/*
 * Look for the last checkpoint line from the end backwards, and begin there
 * (I3).  Where there is none that will do, reading begins after the head.
 */
static int
seek_checkpoint(struct mb_journal *j, struct reader *r, struct mb_err *err)
{
	static const char mark[] = "\n{\"mb\":\"checkpoint\",";
	enum { MARK = sizeof mark - 1 };
	struct mb_state state;
	struct mb_buf open = { 0 }, buf = { 0 };
	struct stat st;
	uint64_t high, low, synced;
	int rc = -1;

	if (fstat(j->fd, &st) < 0)
		return mb_fail_sys(err, "%s", j->path);
	reader_seek(r, 0);
	if (reader_next(r, err) < 0)
		return -1;
	mb_buf_add(&open, r->line.p, r->line.len);
	mb_buf_reserve(&buf, CHUNK);
	for (high = (uint64_t)st.st_size; high > j->head_len; high = low) {
		ssize_t n;

		low = high > j->head_len + CHUNK / 2 ? high - CHUNK / 2 :
		    j->head_len;
		/* The mark's newline may be the head's last byte. */
		n = mb_pread_full(j->fd, buf.p,
		    (size_t)(high - low) + MARK, low - 1, j->path, err);
		if (n < 0)
			goto out;
		for (ssize_t i = n - MARK; i >= 0; i--) {
			if (memcmp(buf.p + i, mark, MARK) != 0)
				continue;
			reader_seek(r, low + (uint64_t)i);
			if (reader_next(r, err) < 0)
				goto out;
			if (!r->is_good || !line_synced(r->line, &synced) ||
			    physical(j, synced) != r->off)
				continue;
			mb_state_init(&state, false);
			if (mb_state_apply(&state, (struct mb_str){ open.p,
			    open.len }, err) < 0 ||
			    apply_line(r, &state, err) < 0) {
				mb_state_release(&state);
				goto out;
			}
			mb_state_release(&j->state);
			j->state = state;
			j->pos = j->base + (r->end - j->head_len);
			j->checkpoint_pos = j->pos;
			j->checkpoint_len = r->line.len;
			rc = 0;
			goto out;
		}
	}
	rc = 0;
out:
	mb_buf_release(&open);
	mb_buf_release(&buf);
	return rc;
}

/* Append the bytes [from, to) of the file to a stage. */
static int
copy_bytes(struct mb_journal *j, struct mb_stage *stage, uint64_t from,
    uint64_t to, struct mb_err *err)
{
	char *bytes = mb_alloc(CHUNK);
	int rc = 0;

	while (rc == 0 && from < to) {
		size_t want = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
		ssize_t n = mb_pread_full(j->fd, bytes, want, from, j->path,
		    err);

		if (n == 0)
			mb_fail(err, MB_ECORRUPT, "%s: is shorter than it was",
			    j->path);
		rc = n <= 0 ? -1 : mb_stage_write(stage, bytes, (size_t)n,
		    err);
		from += (uint64_t)n;
	}
	free(bytes);
	return rc;
}

/* Keep the bytes of a torn tail in <journal>.d/cut/, for a person. */
static int
keep_cut(struct mb_journal *j, uint64_t from, uint64_t to, struct mb_err *err)
{
	struct mb_stage *stage = NULL;
	struct mb_buf head = { 0 };
	char name[64];
	int dirfd = mb_journal_subdir(j, "cut", err), rc = -1;
	uint64_t logical = j->base + (from - j->head_len);

	if (dirfd < 0)
		return -1;
	mb_line_begin(&head, "cut");
	mb_line_str(&head, "journal", j->state.id);
	mb_line_u64(&head, "offset", logical);
	mb_line_seal(&head, 0);
	snprintf(name, sizeof name, "%020" PRIu64, logical);
	if (mb_stage_open(&stage, dirfd, name, 0600, err) < 0 ||
	    mb_stage_write(stage, head.p, head.len, err) < 0)
		goto out;
	if (copy_bytes(j, stage, from, to, err) < 0)
		goto out;
	rc = mb_stage_replace(stage, err);
out:
	mb_stage_close(stage);
	mb_buf_release(&head);
	close(dirfd);
	return rc;
}

/*
 * The reader stands on a bad line.  Torn or damaged (I2)?  1: torn, and the
 * file ends there; it is cut.  -1: damaged.
 *
 * Without the append lock another may be writing the line at this moment, and
 * vouch for it before we have read on: then it is only the end for now.
 */
static int
judge_bad_line(struct mb_journal *j, struct reader *r, struct mb_err *err)
{
	uint64_t bad = r->off, synced, end;
	int rc;

	if (!j->has_entered)
		return 1;
	while ((rc = reader_next(r, err)) > 0)
		if (r->is_good && line_synced(r->line, &synced) &&
		    synced > j->base + (bad - j->head_len))
			return mb_fail(err, MB_ECORRUPT, "%s: damaged at byte "
			    "%" PRIu64 ": a line that was synced is not what "
			    "was written", j->path, bad);
	if (rc < 0)
		return -1;
	end = r->end;
	if (keep_cut(j, bad, end, err) < 0)
		return -1;
	do
		rc = ftruncate(j->fd, (off_t)bad);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return mb_fail_sys(err, "cut the torn tail of %s", j->path);
	/*
	 * Before anything is written there: a power cut could keep the new
	 * line, but lose the cut, and old good lines would follow it again.
	 */
	if (mb_fdatasync(j->fd, j->path, err) < 0)
		return -1;
	mb_buf_addf(&j->notice, "%s: cut a torn tail of %" PRIu64 " bytes at "
	    "byte %" PRIu64 " (kept in %s.d/cut)", j->path, end - bad, bad,
	    j->path);
	return 1;
}

/* Fold every line from j->pos on into the state. */
static int
read_lines(struct mb_journal *j, struct reader *r, struct mb_err *err)
{
	int rc;

	reader_seek(r, physical(j, j->pos));
	while ((rc = reader_next(r, err)) > 0) {
		if (!r->is_good) {
			rc = judge_bad_line(j, r, err);
			break;
		}
		if (apply_line(r, &j->state, err) < 0)
			return -1;
		j->pos += r->line.len + 1;
		if (has_verb(r->line, "checkpoint")) {
			j->checkpoint_pos = j->pos;
			j->checkpoint_len = r->line.len;
		}
	}
	return rc < 0 ? -1 : 0;
}

static int
open_file(struct mb_journal *j, struct mb_err *err)
{
	struct stat st;
	int fd = mb_openat(j->dirfd, j->name, O_RDWR, 0);

	if (fd < 0)
		return mb_fail_sys(err, "open %s", j->path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return mb_fail(err, MB_EUSAGE, "%s: not a regular file",
		    j->path);
	}
	if (j->fd >= 0)
		close(j->fd);
	j->fd = fd;
	j->dev = st.st_dev;
	j->ino = st.st_ino;
	return 0;
}

/*
 * Read what is new.  After a rewrite (I4) the path leads to another inode;
 * our place in it is known by the logical offset, unless it was cut away.
 */
static int
catch_up(struct mb_journal *j, struct mb_err *err)
{
	struct reader r = { .name = j->path, .buf = j->read_buf };
	struct mb_state kept = { 0 };
	struct stat st;
	uint64_t pos = j->pos, checkpoint_pos = j->checkpoint_pos;
	int rc = -1;

	/* Kept from one time to the next: it happens for every batch. */
	j->read_buf = (struct mb_buf){ 0 };
	if (fstatat(j->dirfd, j->name, &st, 0) < 0) {
		mb_fail_sys(err, "%s", j->path);
		goto out;
	}
	if (j->fd >= 0 && st.st_dev == j->dev && st.st_ino == j->ino) {
		r.fd = j->fd;
		if ((uint64_t)st.st_size == physical(j, j->pos))
			rc = 0;
		else if ((uint64_t)st.st_size < physical(j, j->pos))
			mb_fail(err, MB_ECORRUPT,
			    "%s: is shorter than it was", j->path);
		else
			rc = read_lines(j, &r, err);
		goto out;
	}
	if (open_file(j, err) < 0)
		goto out;
	r.fd = j->fd;
	kept = j->state;
	mb_state_init(&j->state, false);
	if (read_head(j, &r, err) < 0)
		goto out;
	if (kept.id[0] != '\0' && strcmp(kept.id, j->state.id) != 0) {
		mb_fail(err, MB_ECORRUPT, "%s: became another journal",
		    j->path);
		goto out;
	}
	if (kept.id[0] != '\0' && pos >= j->base) {
		mb_state_release(&j->state);
		j->state = kept;
		kept = (struct mb_state){ 0 };
		j->pos = pos;
		if (checkpoint_pos > j->base)
			j->checkpoint_pos = checkpoint_pos;
		if (fstat(j->fd, &st) < 0) {
			mb_fail_sys(err, "%s", j->path);
			goto out;
		}
		if ((uint64_t)st.st_size < physical(j, j->pos)) {
			mb_fail(err, MB_ECORRUPT, "%s: is shorter than it "
			    "was", j->path);
			goto out;
		}
	} else if (!(j->flags & MB_JOURNAL_ALL) &&
	    seek_checkpoint(j, &r, err) < 0) {
		goto out;
	}
	rc = read_lines(j, &r, err);
out:
	mb_state_release(&kept);
	if (r.buf.cap > 2 * CHUNK)
		mb_buf_release(&r.buf);
	j->read_buf = r.buf;
	return rc;
}

int
mb_journal_refresh(struct mb_journal *j, struct mb_err *err)
{
	return catch_up(j, err);
}

int
mb_journal_enter(struct mb_journal *j, struct mb_err *err)
{
	if (mb_lock_take(j->lock, MB_LOCK_APPEND, false, -1, err) < 0)
		return mb_wrap(err, "%s.d/lock", j->path);
	j->has_entered = true;
	if (catch_up(j, err) < 0) {
		mb_journal_leave(j);
		return -1;
	}
	return 0;
}

void
mb_journal_leave(struct mb_journal *j)
{
	j->has_entered = false;
	mb_lock_drop(j->lock, MB_LOCK_APPEND);
}

int
mb_journal_write(struct mb_journal *j, const struct mb_buf *lines,
    struct mb_err *err)
{
	const char *p = lines->p, *end = lines->p + lines->len, *newline;

	if (!j->has_entered)
		return mb_fail(err, MB_EBUG, "%s: written without the lock",
		    j->path);
	/* First the state: what it refuses must not get into the file. */
	for (; p < end; p = newline + 1) {
		newline = memchr(p, '\n', (size_t)(end - p));
		if (newline == NULL)
			return mb_fail(err, MB_EBUG, "an unsealed line");
		if (mb_state_apply(&j->state, (struct mb_str){ p,
		    (size_t)(newline - p) }, err) < 0) {
			err->code = MB_EBUG;
			return mb_wrap(err, "%s: not written", j->path);
		}
	}
	if (mb_pwrite_all(j->fd, lines->p, lines->len, physical(j, j->pos),
	    j->path, err) < 0)
		return -1;
	j->pos += lines->len;
	return 0;
}

int
mb_journal_append(struct mb_journal *j, const struct mb_buf *lines,
    struct mb_err *err)
{
	int rc;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	rc = mb_journal_write(j, lines, err);
	mb_journal_leave(j);
	return rc;
}

int
mb_journal_sync(struct mb_journal *j, struct mb_err *err)
{
	uint64_t pos = j->pos;

	if (mb_fdatasync(j->fd, j->path, err) < 0)
		return -1;
	j->synced = pos;
	return 0;
}

int
mb_journal_harden(struct mb_journal *j, struct mb_err *err)
{
	uint64_t from, to;
	size_t len;
	char *bytes;
	ssize_t n;
	int rc = -1;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	from = j->state.synced > j->base ? j->state.synced : j->base;
	to = j->pos;
	len = (size_t)(to - from);
	bytes = mb_alloc(len);
	/*
	 * A sync that failed for another process may have marked its pages
	 * clean; a sync of ours would then say that all is well.  Writing
	 * them makes them dirty again.
	 */
	n = mb_pread_full(j->fd, bytes, len, physical(j, from), j->path, err);
	if (n >= 0 && (size_t)n != len)
		mb_fail(err, MB_ECORRUPT, "%s: is shorter than it was",
		    j->path);
	else if (n >= 0 && mb_pwrite_all(j->fd, bytes, len, physical(j, from),
	    j->path, err) == 0)
		rc = mb_journal_sync(j, err);
	free(bytes);
	mb_journal_leave(j);
	return rc;
}

int
mb_journal_run(struct mb_journal *j, uint64_t *run, const char *role,
    uint64_t of, char *const argv[], int64_t time_ms, struct mb_err *err)
{
	char host[HOST_NAME_MAX + 1] = "";
	struct mb_buf line = { 0 };
	int rc;

	(void)gethostname(host, sizeof host - 1);
	if (mb_journal_enter(j, err) < 0)
		return -1;
	*run = j->state.next_run;
	mb_line_begin(&line, "run");
	mb_line_u64(&line, "run", *run);
	mb_line_str(&line, "role", role);
	if (of != MB_NONE)
		mb_line_u64(&line, "of", of);
	mb_line_i64(&line, "pid", getpid());
	mb_line_bytes(&line, "host", mb_str(host));
	mb_line_time(&line, "time", time_ms);
	mb_line_open(&line, "args", '[');
	for (size_t i = 0; argv[i] != NULL; i++)
		mb_line_str(&line, NULL, argv[i]);
	mb_line_close(&line, ']');
	mb_line_seal(&line, 0);
	rc = mb_journal_write(j, &line, err);
	mb_journal_leave(j);
	mb_buf_release(&line);
	return rc;
}

/* Append a checkpoint; the append lock is held, and all before is synced. */
static int
put_checkpoint(struct mb_journal *j, struct mb_err *err)
{
	struct mb_buf line = { 0 };
	int rc;

	if (mb_journal_sync(j, err) < 0)
		return -1;
	mb_put_checkpoint(&line, &j->state, j->pos);
	rc = mb_journal_write(j, &line, err);
	j->checkpoint_pos = j->pos;
	j->checkpoint_len = line.len;
	mb_buf_release(&line);
	return rc;
}

/*
 * The state just before the plan of batch `keep`, and the logical offset of
 * that plan.  1 found, 0 not.
 */
static int
state_before(struct mb_journal *j, struct mb_state *s, uint64_t keep,
    uint64_t *where, struct mb_buf *open, struct mb_err *err)
{
	struct reader r = { .name = j->path, .fd = j->fd };
	int rc;

	mb_state_init(s, false);
	while ((rc = reader_next(&r, err)) > 0) {
		if (!r.is_good) {
			rc = mb_fail(err, MB_ECORRUPT, "%s: damaged at byte %"
			    PRIu64, j->path, r.off);
			break;
		}
		if (open->len == 0)
			mb_buf_add(open, r.line.p, r.line.len);
		if (has_verb(r.line, "plan") && s->next_batch == keep) {
			*where = j->base + (r.off - j->head_len);
			break;
		}
		if (apply_line(&r, s, err) < 0) {
			rc = -1;
			break;
		}
	}
	mb_buf_release(&r.buf);
	return rc;
}

/* The `open` line of a rewritten file. */
static void
put_open(struct mb_buf *out, const char *id, uint64_t base)
{
	size_t start = out->len;

	mb_line_begin(out, "open");
	mb_line_u64(out, "version", 1);
	mb_line_str(out, "id", id);
	mb_line_u64(out, "base", base);
	mb_line_seal(out, start);
}

static int
rewrite(struct mb_journal *j, uint64_t keep, struct mb_err *err)
{
	struct mb_stage *stage = NULL;
	struct mb_buf head = { 0 }, open = { 0 };
	struct mb_state before;
	uint64_t where = 0;
	int rc = state_before(j, &before, keep, &where, &open, err);

	if (rc <= 0)
		goto out;
	rc = -1;
	put_open(&head, j->state.id, where);
	mb_put_checkpoint(&head, &before, where);
	if (mb_stage_open_in(&stage, j->dfd, j->dirfd, j->name, 0600, err) < 0 ||
	    mb_stage_write(stage, head.p, head.len, err) < 0 ||
	    copy_bytes(j, stage, physical(j, where), physical(j, j->pos),
	    err) < 0)
		goto out;
	if (mb_stage_replace(stage, err) < 0)
		goto out;
	rc = catch_up(j, err);
	if (rc == 0) {
		j->synced = j->pos;
		j->first_batch = before.next_batch;
	}
out:
	mb_stage_close(stage);
	mb_state_release(&before);
	mb_buf_release(&head);
	mb_buf_release(&open);
	return rc;
}

int
mb_journal_tidy(struct mb_journal *j, uint64_t retain, struct mb_err *err)
{
	uint64_t since = j->pos - j->checkpoint_pos, settled;
	bool wants_checkpoint = since >= CHECKPOINT_EVERY &&
	    since >= 2 * j->checkpoint_len;
	bool wants_rewrite;
	int rc = 0;

	settled = j->state.settled == MB_NONE ? 0 : j->state.settled + 1;
	if (retain == 0)
		retain = 1;	/* the rewrite begins at a plan */
	wants_rewrite = retain != MB_NONE && settled > j->first_batch &&
	    (settled - j->first_batch) / 2 > retain &&
	    j->pos - j->base >= REWRITE_FROM;
	if (!wants_checkpoint && !wants_rewrite)
		return 0;
	if (mb_journal_enter(j, err) < 0)
		return -1;
	if (wants_checkpoint)
		rc = put_checkpoint(j, err);
	if (rc == 0 && wants_rewrite)
		rc = rewrite(j, settled - retain, err);
	mb_journal_leave(j);
	return rc;
}

int
mb_journal_lock(struct mb_journal *j, enum mb_journal_lock byte,
    bool is_shared, int64_t wait_us, struct mb_err *err)
{
	int rc = mb_lock_take(j->lock, byte, is_shared, wait_us, err);

	return rc < 0 ? mb_wrap(err, "%s.d/lock", j->path) : rc;
}

void
mb_journal_unlock(struct mb_journal *j, enum mb_journal_lock byte)
{
	mb_lock_drop(j->lock, byte);
}

int
mb_journal_subdir(struct mb_journal *j, const char *name, struct mb_err *err)
{
	int fd;

	if (mkdirat(j->dfd, name, 0700) == 0)
		j->has_synced_names = false;
	else if (errno != EEXIST)
		return mb_fail_sys(err, "make %s.d/%s", j->path, name);
	/* Also if it was there: its maker may have died before this line. */
	if (!j->has_synced_names && mb_fsync(j->dfd, "the directory", err) < 0)
		return mb_wrap(err, "%s.d", j->path);
	j->has_synced_names = true;
	fd = mb_openat(j->dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return mb_fail_sys(err, "open %s.d/%s", j->path, name);
	return fd;
}

/* Write the whole file anew, and replace it: then it is surely durable. */
static int
copy_file(struct mb_journal *j, struct mb_err *err)
{
	uint64_t end = physical(j, j->pos);
	struct mb_stage *stage;
	int rc;

	if (mb_stage_open_in(&stage, j->dfd, j->dirfd, j->name, 0600, err) < 0)
		return -1;
	rc = copy_bytes(j, stage, 0, end, err);
	if (rc == 0)
		rc = mb_stage_replace(stage, err);
	mb_stage_close(stage);
	return rc < 0 ? -1 : catch_up(j, err);
}

/*
 * The lock file names the journal.  An id that isn't the journal's means that
 * the journal was lost, or that a directory was copied.
 */
static int
check_owner(struct mb_journal *j, bool exists, struct mb_err *err)
{
	int fd = mb_lock_fd(j->lock);
	struct mb_buf line = { 0 };
	struct mb_doc *doc;
	const char *id = "";
	char text[256];
	ssize_t n = mb_pread_full(fd, text, sizeof text, 0, "lock", err);
	int rc = 0;

	if (n < 0)
		return mb_wrap(err, "%s.d", j->path);
	if (n > 0 && text[n - 1] == '\n' &&
	    mb_line_check((struct mb_str){ text, (size_t)n - 1 })) {
		if (mb_doc_parse(&doc, (struct mb_str){ text, (size_t)n - 1 },
		    err) < 0)
			return -1;
		(void)mb_node_str(mb_doc_root(doc), "journal", &id);
		if (!exists)
			rc = mb_fail(err, MB_ECORRUPT, "%s: the journal is "
			    "gone, but %s.d of journal %.8s is there; restore "
			    "it, or remove %s.d to begin a new stream",
			    j->path, j->path, id, j->path);
		else if (strcmp(id, j->state.id) != 0)
			rc = mb_fail(err, MB_ECORRUPT, "%s.d belongs to "
			    "journal %.8s, but %s is journal %.8s", j->path,
			    id, j->path, j->state.id);
		mb_doc_close(doc);
		return rc;
	}
	if (!exists)
		return 0;
	/*
	 * Empty, or torn by a crash of the journal's first start.  The lock
	 * must not name a journal that a power cut can still take away, and a
	 * failed sync may have lost its name: give it again.
	 */
	if (copy_file(j, err) < 0)
		return -1;
	mb_line_begin(&line, "lock");
	mb_line_str(&line, "journal", j->state.id);
	mb_line_seal(&line, 0);
	rc = mb_pwrite_all(fd, line.p, line.len, 0, "lock", err);
	if (rc == 0)
		rc = mb_fsync(fd, "lock", err);
	if (rc == 0)
		rc = mb_fsync(j->dfd, "the directory", err);
	mb_buf_release(&line);
	return rc < 0 ? mb_wrap(err, "%s.d", j->path) : 0;
}

static int
create(struct mb_journal *j, struct mb_err *err)
{
	struct mb_stage *stage;
	struct mb_buf line = { 0 };
	char id[MB_ID_LEN + 1];
	int rc = -1;

	if (check_owner(j, false, err) < 0 ||
	    mb_random_hex(id, MB_ID_LEN / 2, err) < 0 ||
	    mb_stage_open_in(&stage, j->dfd, j->dirfd, j->name, 0600, err) < 0)
		return -1;
	put_open(&line, id, 0);
	if (mb_stage_write(stage, line.p, line.len, err) == 0)
		rc = mb_stage_publish(stage, err);
	mb_stage_close(stage);
	mb_buf_release(&line);
	return rc < 0 ? mb_wrap(err, "%s", j->path) : 0;
}

static int
refuse_network(const struct mb_journal *j, struct mb_err *err)
{
	static const struct {
		uint32_t magic;
		const char *name;
	} kinds[] = {
		{ 0x6969, "NFS" }, { 0x517b, "SMB" }, { 0xff534d42, "CIFS" },
		{ 0xfe534d42, "SMB" }, { 0x5346414f, "AFS" },
		{ 0x00c36400, "Ceph" }, { 0x73757245, "Coda" },
	};
	struct statfs fs;

	if (fstatfs(j->dirfd, &fs) < 0)
		return mb_fail_sys(err, "%s", j->path);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if ((uint32_t)fs.f_type == kinds[i].magic)
			return mb_fail(err, MB_EUSAGE, "%s: on a network file "
			    "system (%s), where locks can vanish; --shared "
			    "insists", j->path, kinds[i].name);
	return 0;
}

/* The absolute path of a journal that need not exist. */
static int
resolve(struct mb_journal *j, const char *path, struct mb_err *err)
{
	struct mb_buf joined = { 0 };
	char *copy, *slash, *dir;
	const char *name = path;

	if ((j->path = realpath(path, NULL)) != NULL) {
		slash = strrchr(j->path, '/');
		j->name = mb_strdup(slash + 1);
		return 0;
	}
	if (errno != ENOENT)
		return mb_fail(err, MB_EUSAGE, "%s: %s", path,
		    strerror(errno));
	copy = mb_strdup(path);
	slash = strrchr(copy, '/');
	if (slash != NULL) {
		name = path + (slash + 1 - copy);
		slash[slash == copy] = '\0';
	}
	dir = realpath(slash != NULL ? copy : ".", NULL);
	free(copy);
	if (dir == NULL || *name == '\0') {
		free(dir);
		return mb_fail(err, MB_EUSAGE, "%s: %s", path,
		    *name == '\0' ? "names a directory" : "no such directory");
	}
	j->name = mb_strdup(name);
	mb_buf_addf(&joined, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
	j->path = mb_buf_take(&joined);
	free(dir);
	return 0;
}

int
mb_journal_open(struct mb_journal **out, const char *path, int flags,
    struct mb_err *err)
{
	struct mb_journal *j = mb_zalloc(sizeof *j);
	struct mb_buf d = { 0 };
	struct stat st;
	bool exists;

	*out = NULL;
	*j = (struct mb_journal){
		.dirfd = -1, .dfd = -1, .fd = -1, .flags = flags
	};
	if (resolve(j, path, err) < 0)
		goto fail;
	mb_buf_add(&d, j->path, strlen(j->path) - strlen(j->name));
	j->dirfd = mb_openat(AT_FDCWD, mb_buf_str(&d),
	    O_RDONLY | O_DIRECTORY, 0);
	if (j->dirfd < 0) {
		mb_fail_sys(err, "open %s", d.p);
		goto fail;
	}
	exists = fstatat(j->dirfd, j->name, &st, 0) == 0;
	if (!exists && !(flags & MB_JOURNAL_CREATE)) {
		mb_fail(err, MB_EUSAGE, "%s: no such journal", j->path);
		goto fail;
	}
	if (!(flags & MB_JOURNAL_SHARED) && refuse_network(j, err) < 0)
		goto fail;
	mb_buf_reset(&d);
	mb_buf_addf(&d, "%s.d", j->path);
	/* Only the creator has to sync what it finds there. */
	if (!(flags & MB_JOURNAL_CREATE))
		j->dfd = mb_openat(AT_FDCWD, mb_buf_str(&d),
		    O_RDONLY | O_DIRECTORY, 0);
	if (j->dfd < 0)
		j->dfd = mb_dir_open(mb_buf_str(&d), 0700, err);
	if (j->dfd < 0 || mb_lock_open(&j->lock, j->dfd, "lock", err) < 0)
		goto fail;
	if (mb_lock_take(j->lock, MB_LOCK_APPEND, false, -1, err) < 0)
		goto fail;
	j->has_entered = true;
	if ((flags & MB_JOURNAL_CREATE) && mb_stage_sweep(j->dfd, err) < 0)
		goto fail;
	if (fstatat(j->dirfd, j->name, &st, 0) < 0 && create(j, err) < 0)
		goto fail;
	if (catch_up(j, err) < 0 || check_owner(j, true, err) < 0)
		goto fail;
	mb_journal_leave(j);
	mb_buf_release(&d);
	*out = j;
	return 0;
fail:
	mb_buf_release(&d);
	mb_journal_close(j);
	return -1;
}

void
mb_journal_close(struct mb_journal *j)
{
	if (j == NULL)
		return;
	mb_lock_close(j->lock);
	if (j->fd >= 0)
		close(j->fd);
	if (j->dfd >= 0)
		close(j->dfd);
	if (j->dirfd >= 0)
		close(j->dirfd);
	mb_state_release(&j->state);
	mb_buf_release(&j->notice);
	mb_buf_release(&j->read_buf);
	free(j->path);
	free(j->name);
	free(j);
}

const char *
mb_journal_choose(const char *option, const char *environment,
    const char *frame)
{
	struct stat st;

	if (option != NULL)
		return option;
	if (environment != NULL && *environment != '\0')
		return environment;
	if (frame != NULL && stat(frame, &st) == 0 && st.st_uid == geteuid())
		return frame;
	return NULL;
}
