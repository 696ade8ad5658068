#include "source/gzindex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

enum {
	VERSION = 1,
	DISTANCE = 4 << 20,	/* of two places at least; */
	PART = 128,		/* and this part of their offset */
	LINE = 1024,		/* longer than any of our lines */
};

static const uint64_t ALL_FILES = 256 << 20;	/* what they take together */

struct place {
	struct mb_gunzip_point point;	/* without its window */
	struct mb_hash before;	/* of the MB_GZ_HEAD bytes before it */
	struct mb_hash hash;	/* of the window */
	uint64_t at;		/* where the window is in our file */
	size_t window;
};

struct mb_gzindex {
	struct mb_journal *journal;
	char name[MB_HASH_LEN + 1];
	int dirfd, fd;		/* -1 */
	bool is_ours;		/* we have the lock: we may write */
	uint64_t end;		/* of what is good in the file */
	struct place *places;	/* rising */
	size_t n_places;
};

uint64_t
mb_gzindex_next(const struct mb_gzindex *x)
{
	uint64_t last = x->n_places > 0 ?
	    x->places[x->n_places - 1].point.out : 0;
	uint64_t part = last / PART;

	return last + (part > DISTANCE ? part : DISTANCE);
}

static bool
parse_head(const struct mb_gzindex *x, const struct mb_node *line)
{
	const char *kind, *id;
	uint64_t version;

	return mb_node_str(line, "mb", &kind) && strcmp(kind, "gz") == 0 &&
	    mb_node_u64(line, "version", &version) && version == VERSION &&
	    mb_node_str(line, "journal", &id) &&
	    strcmp(id, mb_journal_state(x->journal)->id) == 0;
}

static bool
parse_place(struct place *p, const struct mb_node *line)
{
	uint64_t bits, byte, check, length, window;
	const char *kind;

	if (!mb_node_str(line, "mb", &kind) || strcmp(kind, "place") != 0 ||
	    !mb_node_u64(line, "in", &p->point.in) ||
	    !mb_node_u64(line, "out", &p->point.out) ||
	    !mb_node_bool(line, "inside", &p->point.is_inside) ||
	    !mb_node_u64(line, "bits", &bits) || bits > 7 ||
	    !mb_node_u64(line, "byte", &byte) || byte > UINT8_MAX ||
	    !mb_node_u64(line, "check", &check) || check > UINT32_MAX ||
	    !mb_node_u64(line, "length", &length) || length > UINT32_MAX ||
	    !mb_node_hash(line, "before", &p->before) ||
	    !mb_node_u64(line, "window", &window) ||
	    window > MB_GUNZIP_WINDOW || p->point.in < MB_GZ_HEAD ||
	    !mb_node_hash(line, "hash", &p->hash))
		return false;
	p->point.bits = (unsigned)bits;
	p->point.byte = (unsigned char)byte;
	p->point.crc = (uint32_t)check;
	p->point.len = (uint32_t)length;
	p->window = (size_t)window;
	return true;
}

/* The line at x->end, which moves behind it; NULL: there is no good one. */
static struct mb_doc *
read_line(struct mb_gzindex *x)
{
	struct mb_err ignored = { 0 };
	struct mb_doc *doc;
	char text[LINE];
	ssize_t n = mb_pread_full(x->fd, text, sizeof text, x->end, x->name,
	    &ignored);
	const char *newline = n > 0 ? memchr(text, '\n', (size_t)n) : NULL;
	struct mb_str line = { text, 0 };

	if (newline == NULL)
		return NULL;
	line.len = (size_t)(newline - text);
	if (!mb_line_check(line) || mb_doc_parse(&doc, line, &ignored) < 0)
		return NULL;
	x->end += line.len + 1;
	return doc;
}

/* Read what is there, up to the first thing that isn't right. */
static bool
load(struct mb_gzindex *x)
{
	struct mb_doc *doc;
	struct stat st;
	bool is_good;

	x->end = 0;
	doc = read_line(x);
	is_good = doc != NULL && parse_head(x, mb_doc_root(doc));
	mb_doc_close(doc);
	if (!is_good || fstat(x->fd, &st) < 0)
		return false;
	for (;;) {
		struct place p = { 0 };
		uint64_t before = x->end;

		doc = read_line(x);
		is_good = doc != NULL && parse_place(&p, mb_doc_root(doc)) &&
		    p.point.out >= mb_gzindex_next(x);
		mb_doc_close(doc);
		p.at = x->end;
		x->end += p.window + 1;
		if (!is_good || x->end > (uint64_t)st.st_size) {
			x->end = before;
			return true;
		}
		x->places = mb_realloc_array(x->places, x->n_places + 1,
		    sizeof *x->places);
		x->places[x->n_places++] = p;
	}
}

/* It is of no use: make another when there is something to put into it. */
static void
drop(struct mb_gzindex *x)
{
	if (x->is_ours)
		unlinkat(x->dirfd, x->name, 0);
	if (x->fd >= 0)
		close(x->fd);
	x->fd = -1;
	x->is_ours = false;
	x->n_places = 0;
	x->end = 0;
}

struct mb_gzindex *
mb_gzindex_open(struct mb_journal *j, const struct mb_hash *head)
{
	struct mb_gzindex *x = mb_alloc(sizeof *x);
	struct mb_err ignored = { 0 };

	*x = (struct mb_gzindex){
		.journal = j, .fd = -1,
		.dirfd = mb_journal_subdir(j, "gz", &ignored),
	};
	memcpy(x->name, head->hex, sizeof x->name);
	if (x->dirfd < 0)
		return x;
	x->fd = mb_openat(x->dirfd, x->name, O_RDWR | O_NOFOLLOW, 0);
	if (x->fd < 0)
		return x;
	x->is_ours = flock(x->fd, LOCK_EX | LOCK_NB) == 0;
	if (!load(x))
		drop(x);
	return x;
}

void
mb_gzindex_close(struct mb_gzindex *x)
{
	if (x == NULL)
		return;
	if (x->fd >= 0)
		close(x->fd);
	if (x->dirfd >= 0)
		close(x->dirfd);
	free(x->places);
	free(x);
}

/* Hash what stands before a place, by which it is known to be one of `fd`. */
static bool
hash_before(int fd, uint64_t in, struct mb_hash *out)
{
	struct mb_err ignored = { 0 };
	char bytes[MB_GZ_HEAD];
	ssize_t n = mb_pread_full(fd, bytes, sizeof bytes, in - sizeof bytes,
	    "gzip", &ignored);

	*out = mb_hash_bytes(bytes, n > 0 ? (size_t)n : 0);
	return n == sizeof bytes;
}

static bool
read_place(struct mb_gzindex *x, int fd, const struct place *p,
    struct mb_gunzip_point *out, struct mb_buf *window)
{
	struct mb_err ignored = { 0 };
	struct mb_hash before;

	mb_buf_reset(window);
	mb_buf_reserve(window, p->window + 1);
	if (mb_pread_full(x->fd, window->p, p->window, p->at, x->name,
	    &ignored) != (ssize_t)p->window)
		return false;
	window->len = p->window;
	*out = p->point;
	out->window = (struct mb_str){ window->p, window->len };
	return strcmp(mb_hash_bytes(window->p, window->len).hex,
	    p->hash.hex) == 0 && hash_before(fd, p->point.in, &before) &&
	    strcmp(before.hex, p->before.hex) == 0;
}

bool
mb_gzindex_find(struct mb_gzindex *x, int fd, uint64_t off,
    struct mb_gunzip_point *out, struct mb_buf *window)
{
	size_t low = 0, high = x->n_places;	/* low: how many are <= off */

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (x->places[mid].point.out <= off)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return false;
	if (read_place(x, fd, &x->places[low - 1], out, window))
		return true;
	drop(x);
	return false;
}

/* Remove the oldest files until there is room for more. */
static void
make_room(struct mb_gzindex *x)
{
	for (uint64_t total = UINT64_MAX; total > ALL_FILES; ) {
		int fd = mb_openat(x->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
		DIR *d = fd < 0 ? NULL : fdopendir(fd);
		char oldest[MB_HASH_LEN + 1] = "";
		struct timespec when = { 0 };
		struct dirent *e;
		struct stat st;

		if (d == NULL)
			return;
		total = 0;
		while ((e = readdir(d)) != NULL) {
			if (!mb_is_hex(mb_str(e->d_name), MB_HASH_LEN) ||
			    fstatat(x->dirfd, e->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) < 0)
				continue;
			total += (uint64_t)st.st_size;
			if (oldest[0] != '\0' && (st.st_mtim.tv_sec >
			    when.tv_sec || (st.st_mtim.tv_sec == when.tv_sec &&
			    st.st_mtim.tv_nsec >= when.tv_nsec)))
				continue;
			when = st.st_mtim;
			memcpy(oldest, e->d_name, sizeof oldest);
		}
		closedir(d);
		if (oldest[0] == '\0' || (total > ALL_FILES &&
		    unlinkat(x->dirfd, oldest, 0) < 0))
			return;
	}
}

static bool
append(struct mb_gzindex *x, const struct mb_buf *b)
{
	struct mb_err ignored = { 0 };

	if (mb_pwrite_all(x->fd, b->p, b->len, x->end, x->name,
	    &ignored) < 0)
		return false;
	x->end += b->len;
	return true;
}

static bool
create(struct mb_gzindex *x)
{
	struct mb_buf line = { 0 };
	bool is_good;

	if (x->dirfd < 0)
		return false;
	make_room(x);
	x->fd = mb_openat(x->dirfd, x->name, O_RDWR | O_CREAT | O_NOFOLLOW,
	    0600);
	if (x->fd < 0)
		return false;
	/* Another may have begun it meanwhile: then it is his. */
	x->is_ours = flock(x->fd, LOCK_EX | LOCK_NB) == 0;
	mb_line_begin(&line, "gz");
	mb_line_u64(&line, "version", VERSION);
	mb_line_str(&line, "journal", mb_journal_state(x->journal)->id);
	mb_line_seal(&line, 0);
	is_good = x->is_ours && append(x, &line);
	mb_buf_release(&line);
	return is_good;
}

static void
put_place(struct mb_buf *out, const struct mb_gunzip_point *p,
    const struct mb_hash *before)
{
	mb_line_begin(out, "place");
	mb_line_u64(out, "in", p->in);
	mb_line_u64(out, "out", p->out);
	mb_line_bool(out, "inside", p->is_inside);
	mb_line_u64(out, "bits", p->bits);
	mb_line_u64(out, "byte", p->byte);
	mb_line_u64(out, "check", p->crc);
	mb_line_u64(out, "length", p->len);
	mb_line_str(out, "before", before->hex);
	mb_line_u64(out, "window", p->window.len);
	mb_line_str(out, "hash",
	    mb_hash_bytes(p->window.p, p->window.len).hex);
	mb_line_seal(out, 0);
	mb_buf_add(out, p->window.p, p->window.len);
	mb_buf_addc(out, '\n');
}

void
mb_gzindex_add(struct mb_gzindex *x, int fd, const struct mb_gunzip_point *p)
{
	struct place place = { .point = *p, .window = p->window.len };
	struct mb_buf bytes = { 0 };

	if (p->out < mb_gzindex_next(x) || p->in < MB_GZ_HEAD ||
	    (x->fd >= 0 && !x->is_ours) ||
	    !hash_before(fd, p->in, &place.before) ||
	    (x->fd < 0 && !create(x)))
		return;
	place.point.window = (struct mb_str){ 0 };
	place.hash = mb_hash_bytes(p->window.p, p->window.len);
	put_place(&bytes, p, &place.before);
	place.at = x->end + bytes.len - p->window.len - 1;
	/* Whatever a writer that died has left there goes. */
	if (append(x, &bytes) && ftruncate(x->fd, (off_t)x->end) == 0) {
		x->places = mb_realloc_array(x->places, x->n_places + 1,
		    sizeof *x->places);
		x->places[x->n_places++] = place;
	} else {
		x->is_ours = false;	/* no room: this many must do */
	}
	mb_buf_release(&bytes);
}
