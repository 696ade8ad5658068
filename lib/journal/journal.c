/*
 * I1. A line is appended under the append lock, by somebody who has read
 *     every line before it.
 * I2. A bad line is a torn tail, and is cut with all that follows, unless a
 *     good line behind it says that the file was synced beyond its place;
 *     then the file is damaged and nothing is cut.
 * I3. A checkpoint is appended only where everything before it is synced, so
 *     reading may begin at the last one: no torn line can stand before it.
 * I4. A rewrite (retain.c) replaces a prefix by the checkpoint of its state
 *     and keeps the rest byte for byte, under the collector and the append
 *     lock.
 */
#include "journal/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

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

uint64_t
mb_journal_place(const struct mb_journal *j, uint64_t logical)
{
	return j->head_len + (logical - j->base);
}

int
mb_journal_fold(const struct mb_scan *r, struct mb_state *s, struct mb_err *err)
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
read_head(struct mb_journal *j, struct mb_scan *r, struct mb_err *err)
{
	struct mb_doc *doc;
	int rc;

	mb_state_release(&j->state);
	mb_state_init(&j->state, j->flags & MB_JOURNAL_ALL);
	mb_scan_seek(r, 0);
	rc = mb_scan_next(r, err);
	if (rc < 0)
		return -1;
	if (rc == 0 || !r->is_good || !mb_scan_is(r->line, "open"))
		return mb_fail(err, MB_ECORRUPT,
		    "%s: damaged at byte 0: no journal begins like this",
		    j->path);
	if (mb_journal_fold(r, &j->state, err) < 0 ||
	    mb_doc_parse(&doc, r->line, err) < 0)
		return -1;
	j->base = 0;
	(void)mb_node_u64(mb_doc_root(doc), "base", &j->base);
	mb_doc_close(doc);
	for (bool is_part = j->base > 0; is_part; ) {
		rc = mb_scan_next(r, err);
		if (rc < 0)
			return -1;
		is_part = rc > 0 && r->is_good && mb_scan_is(r->line, "part");
		if (rc == 0 || !r->is_good ||
		    (!is_part && !mb_scan_is(r->line, "checkpoint")))
			return mb_fail(err, MB_ECORRUPT,
			    "%s: damaged at byte %" PRIu64 ": no checkpoint",
			    j->path, r->off);
		if (mb_journal_fold(r, &j->state, err) < 0)
			return -1;
	}
	j->head_len = r->end;
	j->first_batch = j->state.next_batch;
	j->pos = j->checkpoint_pos = j->base;
	j->checkpoint_len = r->end;
	return 0;
}

/*
 * The reader stands on a checkpoint line.  Fold it into an empty state, with
 * the parts that stand before it, from the place on that it vouches for.  1,
 * or 0: it won't do.
 */
static int
fold_checkpoint(struct mb_journal *j, struct mb_scan *r, struct mb_state *s,
    struct mb_err *err)
{
	uint64_t last = r->off, first, synced;
	int rc;

	if (!r->is_good || !mb_scan_synced(r->line, &synced) ||
	    synced < j->base)
		return 0;
	first = mb_journal_place(j, synced);
	if (first > last)
		return 0;
	mb_scan_seek(r, first);
	while ((rc = mb_scan_next(r, err)) > 0 && r->off < last)
		if (!r->is_good || !mb_scan_is(r->line, "part"))
			return 0;
		else if (mb_journal_fold(r, s, err) < 0)
			return -1;
	if (rc <= 0 || r->off > last)
		return rc < 0 ? -1 : 0;
	return mb_journal_fold(r, s, err) < 0 ? -1 : 1;
}

/*
 * Look for the last checkpoint line from the end backwards, and begin there
 * (I3).  Where there is none that will do, reading begins after the head.
 */
static int
seek_checkpoint(struct mb_journal *j, struct mb_scan *r, struct mb_err *err)
{
	static const char mark[] = "\n{\"mb\":\"checkpoint\",";
	enum { MARK = sizeof mark - 1 };
	struct mb_state state;
	struct mb_buf open = { 0 }, buf = { 0 };
	struct stat st;
	uint64_t high, low;
	int rc = -1, found;

	if (fstat(j->fd, &st) < 0)
		return mb_fail_sys(err, "%s", j->path);
	mb_scan_seek(r, 0);
	if (mb_scan_next(r, err) < 0)
		return -1;
	mb_buf_add(&open, r->line.p, r->line.len);
	mb_buf_reserve(&buf, MB_SCAN_CHUNK);
	for (high = (uint64_t)st.st_size; high > j->head_len; high = low) {
		ssize_t n;

		low = high > j->head_len + MB_SCAN_CHUNK / 2 ? high - MB_SCAN_CHUNK / 2 :
		    j->head_len;
		/* The mark's newline may be the head's last byte. */
		n = mb_pread_full(j->fd, buf.p,
		    (size_t)(high - low) + MARK, low - 1, j->path, err);
		if (n < 0)
			goto out;
		for (ssize_t i = n - MARK; i >= 0; i--) {
			if (memcmp(buf.p + i, mark, MARK) != 0)
				continue;
			mb_scan_seek(r, low + (uint64_t)i);
			if (mb_scan_next(r, err) < 0)
				goto out;
			mb_state_init(&state, false);
			found = mb_state_apply(&state, (struct mb_str){
			    open.p, open.len }, err) < 0 ? -1 :
			    fold_checkpoint(j, r, &state, err);
			if (found <= 0)
				mb_state_release(&state);
			if (found < 0)
				goto out;
			if (found == 0)
				continue;
			mb_state_release(&j->state);
			j->state = state;
			j->pos = j->base + (r->end - j->head_len);
			j->checkpoint_pos = j->pos;
			j->checkpoint_len = j->pos - state.synced;
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

int
mb_journal_copy(struct mb_journal *j, struct mb_stage *stage, uint64_t from,
    uint64_t to, struct mb_err *err)
{
	char *bytes = mb_alloc(MB_SCAN_CHUNK);
	int rc = 0;

	while (rc == 0 && from < to) {
		size_t want = to - from < MB_SCAN_CHUNK ? (size_t)(to - from) : MB_SCAN_CHUNK;
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
	if (mb_journal_copy(j, stage, from, to, err) < 0)
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
judge_bad_line(struct mb_journal *j, struct mb_scan *r, struct mb_err *err)
{
	uint64_t bad = r->off, synced, end;
	int rc;

	if (!j->has_entered)
		return 1;
	while ((rc = mb_scan_next(r, err)) > 0)
		if (r->is_good && mb_scan_synced(r->line, &synced) &&
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
read_lines(struct mb_journal *j, struct mb_scan *r, struct mb_err *err)
{
	int rc;

	mb_scan_seek(r, mb_journal_place(j, j->pos));
	while ((rc = mb_scan_next(r, err)) > 0) {
		if (!r->is_good) {
			rc = judge_bad_line(j, r, err);
			break;
		}
		if (mb_journal_fold(r, &j->state, err) < 0)
			return -1;
		j->pos += r->line.len + 1;
		if (mb_scan_is(r->line, "checkpoint")) {
			j->checkpoint_pos = j->pos;
			j->checkpoint_len = j->pos - j->state.synced;
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
int
mb_journal_catch_up(struct mb_journal *j, struct mb_err *err)
{
	struct mb_scan r = { .name = j->path, .buf = j->read_buf };
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
		if ((uint64_t)st.st_size == mb_journal_place(j, j->pos))
			rc = 0;
		else if ((uint64_t)st.st_size < mb_journal_place(j, j->pos))
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
		if ((uint64_t)st.st_size < mb_journal_place(j, j->pos)) {
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
	if (r.buf.cap > 2 * MB_SCAN_CHUNK)
		mb_buf_release(&r.buf);
	j->read_buf = r.buf;
	return rc;
}

int
mb_journal_refresh(struct mb_journal *j, struct mb_err *err)
{
	return mb_journal_catch_up(j, err);
}

int
mb_journal_enter(struct mb_journal *j, struct mb_err *err)
{
	if (mb_lock_take(j->lock, MB_LOCK_APPEND, false, -1, err) < 0)
		return mb_wrap(err, "%s.d/lock", j->path);
	j->has_entered = true;
	if (mb_journal_catch_up(j, err) < 0) {
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
	if (mb_pwrite_all(j->fd, lines->p, lines->len, mb_journal_place(j, j->pos),
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
	uint64_t from;
	char *bytes;
	int rc = 0;

	if (mb_journal_enter(j, err) < 0)
		return -1;
	from = j->state.synced > j->base ? j->state.synced : j->base;
	bytes = mb_alloc(MB_SCAN_CHUNK);
	/*
	 * A sync that failed for another process may have marked its pages
	 * clean; a sync of ours would then say that all is well.  Writing
	 * them makes them dirty again.
	 */
	while (rc == 0 && from < j->pos) {
		size_t len = j->pos - from < MB_SCAN_CHUNK ?
		    (size_t)(j->pos - from) : MB_SCAN_CHUNK;
		uint64_t place = mb_journal_place(j, from);
		ssize_t n = mb_pread_full(j->fd, bytes, len, place, j->path,
		    err);

		if (n >= 0 && (size_t)n != len)
			mb_fail(err, MB_ECORRUPT, "%s: is shorter than it was",
			    j->path);
		rc = n != (ssize_t)len ? -1 :
		    mb_pwrite_all(j->fd, bytes, len, place, j->path, err);
		from += len;
	}
	if (rc == 0)
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
mb_journal_lend_pipeline(struct mb_journal *j, struct mb_lock **out,
    struct mb_err *err)
{
	int rc;

	if (mb_lock_open(out, j->dfd, "lock", err) < 0)
		return mb_wrap(err, "%s.d", j->path);
	rc = mb_lock_take(*out, MB_LOCK_PIPELINE, true, -1, err);
	if (rc > 0)
		return 0;
	mb_lock_close(*out);
	*out = NULL;
	return mb_wrap(err, "%s.d/lock", j->path);
}

int
mb_journal_dirfd(const struct mb_journal *j)
{
	return j->dfd;
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
