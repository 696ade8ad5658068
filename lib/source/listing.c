#include "source/listing.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "source/look.h"

enum { TICK_US = 8000 };	/* of the clock of file systems, at most */

struct entry {
	size_t name;		/* its place in `names` */
	uint64_t ino;
	bool is_directory;
};

struct mb_listing {
	struct mb_buf dir;	/* with the slash; "" is the working one */
	struct mb_look before;	/* of it */
	int64_t read_us;	/* steady, when the reading began */
	bool was_still;
	struct mb_buf names;
	struct entry *v;	/* from the second search on by name */
	size_t n, cap;
	size_t *by_ino;
	size_t n_searches;
};

struct mb_listing *
mb_listing_open(void)
{
	return mb_zalloc(sizeof(struct mb_listing));
}

void
mb_listing_close(struct mb_listing *l)
{
	if (l == NULL)
		return;
	mb_buf_release(&l->dir);
	mb_buf_release(&l->names);
	free(l->v);
	free(l->by_ino);
	free(l);
}

static const char *
directory(const struct mb_listing *l)
{
	return l->dir.len > 0 ? l->dir.p : ".";
}

bool
mb_listing_is_still(const struct mb_listing *l)
{
	struct mb_look now = mb_look_at(directory(l));

	return now.state != MB_PATH_FILE ||
	    (now.mtime_ns == l->before.mtime_ns &&
	    mb_clock_wall_us() - now.mtime_ns / 1000 >= TICK_US);
}

bool
mb_listing_was_still(const struct mb_listing *l)
{
	return l->was_still;
}

void
mb_listing_pause(void)
{
	mb_clock_sleep(TICK_US / 4);
}

static void
add_entry(struct mb_listing *l, const struct dirent *e)
{
	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 64;
		l->v = mb_realloc_array(l->v, l->cap, sizeof *l->v);
	}
	l->v[l->n++] = (struct entry){
		l->names.len, e->d_ino, e->d_type == DT_DIR
	};
	mb_buf_add(&l->names, e->d_name, strlen(e->d_name) + 1);
}

int
mb_listing_read(struct mb_listing *l, const char *path, int64_t since_us,
    struct mb_err *err)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash + 1 - path);
	struct dirent *e;
	DIR *d;

	if (l->was_still && since_us <= l->read_us && len == l->dir.len &&
	    (len == 0 || memcmp(path, l->dir.p, len) == 0))
		return 0;
	mb_buf_reset(&l->dir);
	mb_buf_add(&l->dir, path, len);
	mb_buf_str(&l->dir);
	mb_buf_reset(&l->names);
	free(l->by_ino);
	l->by_ino = NULL;
	l->n = l->n_searches = 0;
	l->was_still = false;
	l->read_us = mb_clock_steady_us();
	l->before = mb_look_at(directory(l));
	d = opendir(directory(l));
	if (d == NULL && errno != ENOENT && errno != ENOTDIR) {
		struct mb_buf name = { 0 };
		int error = errno;

		mb_show(&name, mb_str(directory(l)));
		errno = error;
		mb_fail_sys(err, "%s", mb_buf_str(&name));
		mb_buf_release(&name);
		return -1;
	}
	while (d != NULL && (e = readdir(d)) != NULL)
		add_entry(l, e);
	if (d != NULL)
		closedir(d);
	l->was_still = mb_listing_is_still(l);
	return 0;
}

static const char *
name_of(const struct mb_listing *l, const struct entry *e)
{
	return l->names.p + e->name;
}

static int
compare_names(const void *a, const void *b, void *arg)
{
	return strcmp(name_of(arg, a), name_of(arg, b));
}

static int
compare_inodes(const void *a, const void *b, void *arg)
{
	const struct mb_listing *l = arg;
	uint64_t x = l->v[*(const size_t *)a].ino;
	uint64_t y = l->v[*(const size_t *)b].ino;

	return x < y ? -1 : x > y;
}

static void
sort(struct mb_listing *l)
{
	l->by_ino = mb_realloc_array(NULL, l->n, sizeof *l->by_ino);
	for (size_t i = 0; i < l->n; i++)
		l->by_ino[i] = i;
	if (l->n == 0)
		return;
	qsort_r(l->v, l->n, sizeof *l->v, compare_names, l);
	qsort_r(l->by_ino, l->n, sizeof *l->by_ino, compare_inodes, l);
}

/* The first whose name isn't below `base`. */
static size_t
first_name(const struct mb_listing *l, const char *base)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(name_of(l, &l->v[mid]), base) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t
first_inode(const struct mb_listing *l, uint64_t ino)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->v[l->by_ino[mid]].ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void
mb_listing_search(struct mb_listing *l, const char *base, uint64_t ino,
    void (*each)(void *arg, const struct mb_listed *e), void *arg)
{
	size_t len = strlen(base);
	bool is_first = l->n_searches++ == 0;

	if (!is_first && l->by_ino == NULL)
		sort(l);
	for (size_t i = is_first ? 0 : first_name(l, base); i < l->n; i++) {
		const struct entry *e = &l->v[i];
		const char *name = name_of(l, e);
		bool begins = strncmp(name, base, len) == 0;

		if (begins || (is_first && ino != 0 && e->ino == ino))
			each(arg, &(struct mb_listed){
				name, e->ino, e->is_directory });
		else if (!is_first)
			break;
	}
	for (size_t i = is_first || ino == 0 ? l->n : first_inode(l, ino);
	    i < l->n && l->v[l->by_ino[i]].ino == ino; i++) {
		const struct entry *e = &l->v[l->by_ino[i]];
		const char *name = name_of(l, e);

		if (strncmp(name, base, len) != 0)
			each(arg, &(struct mb_listed){
				name, e->ino, e->is_directory });
	}
}
