#include "source/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "durable/stage.h"

enum { SEGMENT = 16 << 20 };	/* a new one begins after so many bytes */

struct segment {
	uint64_t start, end;	/* offsets in the run */
	uint64_t head;		/* length of the first line */
	int fd;			/* -1: not open */
};

struct mb_spool {
	struct mb_journal *journal;
	uint64_t run;
	int dirfd;
	uint64_t origin;		/* where it begins if it has none */
	struct segment *segments;	/* rising */
	size_t n_segments;
	bool has_new_name;	/* a segment whose name isn't synced */
	bool begins_segment;	/* the last one is of another start of the
				   machine: append to a new one */
	char boot[64];
};

static void
segment_name(char name[64], uint64_t run, uint64_t start)
{
	snprintf(name, 64, "%010" PRIu64 "-%020" PRIu64, run, start);
}

/* Changes whenever the machine starts; "" if the system doesn't tell. */
static void
read_boot_id(char boot[64])
{
	int fd = mb_openat(AT_FDCWD, "/proc/sys/kernel/random/boot_id",
	    O_RDONLY, 0);
	ssize_t n = fd < 0 ? -1 : read(fd, boot, 63);

	if (fd >= 0)
		close(fd);
	boot[n > 0 ? n : 0] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
}

/* Read and check a segment's first line. */
static int
read_head(struct mb_spool *s, struct segment *g, char boot[64],
    struct mb_err *err)
{
	char name[64], text[512], *newline = NULL;
	const char *id = "", *where = "";
	struct mb_doc *doc;
	ssize_t n;

	segment_name(name, s->run, g->start);
	n = mb_pread_full(g->fd, text, sizeof text, 0, name, err);
	if (n < 0)
		return -1;
	if (n > 0)
		newline = memchr(text, '\n', (size_t)n);
	if (newline == NULL ||
	    !mb_line_check((struct mb_str){ text, (size_t)(newline - text) }))
		return 0;
	if (mb_doc_parse(&doc, (struct mb_str){ text,
	    (size_t)(newline - text) }, err) < 0)
		return -1;
	(void)mb_node_str(mb_doc_root(doc), "journal", &id);
	(void)mb_node_str(mb_doc_root(doc), "boot", &where);
	snprintf(boot, 64, "%s", where);
	g->head = (uint64_t)(newline + 1 - text);
	if (strcmp(id, mb_journal_state(s->journal)->id) != 0)
		mb_fail(err, MB_ECORRUPT, "%s.d/spool/%s: belongs to journal "
		    "%.8s", mb_journal_path(s->journal), name, id);
	mb_doc_close(doc);
	return err->code == MB_OK ? 1 : -1;
}

static int
compare_segments(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* The starts of all segments of the run, unsorted. */
static int
list_segments(struct mb_spool *s, struct mb_err *err)
{
	uint64_t run, start;
	struct dirent *e;
	int fd = mb_openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL)
		return mb_fail_sys(err, "read the spool");
	while ((e = readdir(d)) != NULL) {
		if (sscanf(e->d_name, "%" SCNu64 "-%" SCNu64, &run,
		    &start) != 2 || run != s->run)
			continue;
		s->segments = mb_realloc_array(s->segments, s->n_segments + 1,
		    sizeof *s->segments);
		s->segments[s->n_segments++] = (struct segment){
			.start = start, .fd = -1
		};
	}
	closedir(d);
	return 0;
}

static int
open_segment(struct mb_spool *s, struct segment *g, struct mb_err *err)
{
	char name[64];

	if (g->fd >= 0)
		return 0;
	segment_name(name, s->run, g->start);
	g->fd = mb_openat(s->dirfd, name, O_RDWR | O_NOFOLLOW, 0);
	if (g->fd < 0)
		return mb_fail_sys(err, "open %s.d/spool/%s",
		    mb_journal_path(s->journal), name);
	return 0;
}

static int
remove_segment(struct mb_spool *s, struct segment *g, struct mb_err *err)
{
	char name[64];

	segment_name(name, s->run, g->start);
	if (g->fd >= 0)
		close(g->fd);
	g->fd = -1;
	if (unlinkat(s->dirfd, name, 0) < 0 && errno != ENOENT)
		return mb_fail_sys(err, "remove %s.d/spool/%s",
		    mb_journal_path(s->journal), name);
	return 0;
}

/*
 * Open the segments.  One without a whole first line was never synced, so
 * nothing planned is in it: it counts as not there.
 */
static int
open_segments(struct mb_spool *s, enum mb_spool_use use, char boot[64],
    struct mb_err *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_segments; i++) {
		struct segment g = s->segments[i];
		struct stat st;
		int rc = open_segment(s, &g, err);

		if (rc == 0)
			rc = read_head(s, &g, boot, err);
		if (rc > 0 && fstat(g.fd, &st) < 0)
			rc = mb_fail_sys(err, "the spool");
		if (rc < 0) {
			if (g.fd >= 0)
				close(g.fd);
			s->n_segments = kept;
			return -1;
		}
		if (rc > 0) {
			g.end = g.start + (uint64_t)st.st_size - g.head;
			s->segments[kept++] = g;
		} else if (use == MB_SPOOL_READ) {
			close(g.fd);
		} else if (remove_segment(s, &g, err) < 0) {
			s->n_segments = kept;
			return -1;
		}
	}
	s->n_segments = kept;
	return 0;
}

/* Cut everything off that lies beyond the last plan. */
static int
drop_tail(struct mb_spool *s, uint64_t planned, struct mb_err *err)
{
	while (s->n_segments > 0) {
		struct segment *g = &s->segments[s->n_segments - 1];
		int rc;

		if (g->start < planned && g->end <= planned)
			return 0;
		if (g->start < planned) {
			do
				rc = ftruncate(g->fd, (off_t)(g->head +
				    (planned - g->start)));
			while (rc < 0 && errno == EINTR);
			if (rc < 0)
				return mb_fail_sys(err, "cut the spool");
			g->end = planned;
			return 0;
		}
		s->n_segments--;
		if (remove_segment(s, g, err) < 0)
			return -1;
	}
	return 0;
}

/*
 * Find where the spool ends.  What was planned has been synced; what lies
 * beyond may be holes after a power cut.
 */
static int
load(struct mb_spool *s, uint64_t planned, enum mb_spool_use use,
    struct mb_err *err)
{
	char boot[64] = "";
	struct segment *last;

	if (open_segments(s, use, boot, err) < 0)
		return -1;
	if (use == MB_SPOOL_AGAIN ||
	    (use == MB_SPOOL_RESUME && strcmp(boot, s->boot) != 0)) {
		if (drop_tail(s, planned, err) < 0)
			return -1;
	} else if (s->n_segments > 1) {
		last = &s->segments[s->n_segments - 1];
		if (last[-1].end > last->end) {
			/* mb_spool_cut died while it moved bytes: undo it. */
			s->n_segments--;
			if (use != MB_SPOOL_READ &&
			    remove_segment(s, last, err) < 0)
				return -1;
		}
	}
	/* Bytes that mb_spool_cut has moved stand in both. */
	for (size_t i = 0; i + 1 < s->n_segments; i++)
		if (s->segments[i].end > s->segments[i + 1].start)
			s->segments[i].end = s->segments[i + 1].start;
	return 0;
}

int
mb_spool_open(struct mb_spool **out, struct mb_journal *j,
    uint64_t run, uint64_t planned, enum mb_spool_use use,
    struct mb_err *err)
{
	struct mb_spool *s = mb_zalloc(sizeof *s);

	*out = NULL;
	*s = (struct mb_spool){
		.journal = j, .run = run, .dirfd = -1,
		.origin = planned < MB_ANCHOR ? 0 : planned - MB_ANCHOR,
	};
	read_boot_id(s->boot);
	s->dirfd = mb_journal_subdir(j, "spool", err);
	if (s->dirfd < 0 || list_segments(s, err) < 0)
		goto fail;
	if (s->n_segments > 0)
		qsort(s->segments, s->n_segments, sizeof *s->segments,
		    compare_segments);
	if (load(s, planned, use, err) < 0)
		goto fail;
	s->begins_segment = true;
	/* Seen is not durable: who made the last one may have died before
	 * it synced the name. */
	s->has_new_name = true;
	*out = s;
	return 0;
fail:
	mb_spool_close(s);
	return -1;
}

void
mb_spool_close(struct mb_spool *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n_segments; i++)
		if (s->segments[i].fd >= 0)
			close(s->segments[i].fd);
	if (s->dirfd >= 0)
		close(s->dirfd);
	free(s->segments);
	free(s);
}

uint64_t
mb_spool_end(const struct mb_spool *s)
{
	return s->n_segments == 0 ? s->origin :
	    s->segments[s->n_segments - 1].end;
}

static int
add_segment(struct mb_spool *s, uint64_t start, struct mb_err *err)
{
	struct segment g = { .start = start, .end = start };
	struct mb_buf head = { 0 };
	char name[64];
	int rc;

	segment_name(name, s->run, start);
	mb_line_begin(&head, "spool");
	mb_line_str(&head, "journal", mb_journal_state(s->journal)->id);
	mb_line_u64(&head, "run", s->run);
	mb_line_u64(&head, "offset", start);
	mb_line_str(&head, "boot", s->boot);
	mb_line_seal(&head, 0);
	g.head = head.len;
	g.fd = mb_openat(s->dirfd, name, O_RDWR | O_CREAT | O_TRUNC |
	    O_NOFOLLOW, 0600);
	if (g.fd < 0) {
		mb_buf_release(&head);
		return mb_fail_sys(err, "create %s.d/spool/%s",
		    mb_journal_path(s->journal), name);
	}
	s->segments = mb_realloc_array(s->segments, s->n_segments + 1,
	    sizeof *s->segments);
	s->segments[s->n_segments++] = g;
	s->has_new_name = true;
	s->begins_segment = false;	/* it has begun: mb_spool_cut appends */
	rc = mb_pwrite_all(g.fd, head.p, head.len, 0, name, err);
	mb_buf_release(&head);
	return rc;
}

int
mb_spool_append(struct mb_spool *s, const void *p, size_t len,
    struct mb_err *err)
{
	struct segment *g;

	if ((s->n_segments == 0 || s->begins_segment) &&
	    add_segment(s, mb_spool_end(s), err) < 0)
		return -1;
	g = &s->segments[s->n_segments - 1];
	if (mb_pwrite_all(g->fd, p, len, g->head + (g->end - g->start),
	    "the spool", err) < 0)
		return -1;
	g->end += len;
	return 0;
}

int
mb_spool_sync(struct mb_spool *s, struct mb_err *err)
{
	if (s->n_segments == 0)
		return 0;
	if (mb_fdatasync(s->segments[s->n_segments - 1].fd, "the spool",
	    err) < 0)
		return -1;
	if (!s->has_new_name)
		return 0;
	/* Data before name: the segment leads to synced bytes. */
	s->has_new_name = false;
	return mb_fsync(s->dirfd, "the spool's directory", err);
}

ssize_t
mb_spool_read(struct mb_spool *s, void *p, size_t len, uint64_t off,
    struct mb_err *err)
{
	char *to = p;
	size_t done = 0;

	for (size_t i = 0; i < s->n_segments && done < len; i++) {
		struct segment *g = &s->segments[i];
		uint64_t at = off + done;
		size_t want = len - done;
		ssize_t n;

		if (at < g->start)
			break;
		if (at >= g->end)
			continue;
		if (want > g->end - at)
			want = (size_t)(g->end - at);
		if (open_segment(s, g, err) < 0)
			return -1;
		n = mb_pread_full(g->fd, to + done, want,
		    g->head + (at - g->start), "the spool", err);
		if (n < 0)
			return -1;
		done += (size_t)n;
		if ((size_t)n < want)
			break;
	}
	return (ssize_t)done;
}

int
mb_spool_cut(struct mb_spool *s, uint64_t off, struct mb_err *err)
{
	struct segment *last;
	char bytes[16 * 1024];
	uint64_t end, at;

	if (s->n_segments == 0)
		return 0;
	last = &s->segments[s->n_segments - 1];
	if (off - last->start < SEGMENT)
		return 0;
	/* The bytes behind the cut move to the new segment. */
	end = last->end;
	if (add_segment(s, off, err) < 0)
		return -1;
	last = &s->segments[s->n_segments - 2];
	for (at = off; at < end; ) {
		ssize_t n = mb_pread_full(last->fd, bytes, sizeof bytes,
		    last->head + (at - last->start), "the spool", err);

		if (n < 0)
			return -1;
		if (n == 0)
			return mb_fail(err, MB_ECORRUPT,
			    "the spool is shorter than it was");
		if (mb_spool_append(s, bytes, (size_t)n, err) < 0)
			return -1;
		at += (uint64_t)n;
	}
	last->end = off;
	return 0;
}

int
mb_spool_release(struct mb_spool *s, uint64_t off, struct mb_err *err)
{
	size_t n = 0;

	/* The last segment stays: it says where the run ends. */
	while (n + 1 < s->n_segments && s->segments[n].end <= off) {
		if (remove_segment(s, &s->segments[n], err) < 0)
			return -1;
		n++;
	}
	if (n == 0)
		return 0;
	s->n_segments -= n;
	memmove(s->segments, s->segments + n,
	    s->n_segments * sizeof *s->segments);
	return 0;
}

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int
mb_spool_list(struct mb_journal *j, uint64_t **runs, size_t *n,
    struct mb_err *err)
{
	int fd = mb_journal_subdir(j, "spool", err);
	uint64_t run, start;
	struct dirent *e;
	size_t kept = 0;
	DIR *d;

	*runs = NULL;
	*n = 0;
	if (fd < 0)
		return -1;
	d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return mb_fail_sys(err, "read %s.d/spool", mb_journal_path(j));
	}
	while ((e = readdir(d)) != NULL) {
		if (sscanf(e->d_name, "%" SCNu64 "-%" SCNu64, &run, &start) !=
		    2)
			continue;
		*runs = mb_realloc_array(*runs, *n + 1, sizeof **runs);
		(*runs)[(*n)++] = run;
	}
	closedir(d);
	if (*n > 0)
		qsort(*runs, *n, sizeof **runs, compare_u64);
	for (size_t i = 0; i < *n; i++)
		if (i == 0 || (*runs)[i] != (*runs)[i - 1])
			(*runs)[kept++] = (*runs)[i];
	*n = kept;
	return 0;
}

int
mb_spool_remove(struct mb_journal *j, uint64_t run, struct mb_err *err)
{
	struct mb_spool *s;

	/* A spool of which nothing is planned and everything comes again. */
	if (mb_spool_open(&s, j, run, 0, MB_SPOOL_AGAIN, err) < 0)
		return -1;
	mb_spool_close(s);
	return 0;
}
