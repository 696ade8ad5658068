#include "source/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

enum {
	SWEEP = 300,			/* paths looked at in turn, at most, */
	SWEEP_EVERY = 100000,		/* each so many us */
	MANY_NAMES = 32,		/* of a directory: watch it instead */
	READ_EVERY = 1000000,		/* us: a directory, with hints */
	READ_BLIND = 200000,		/* without */
	READ_SHARE = 200,		/* and at most 1/READ_SHARE of the time, */
	BLIND_SHARE = 50,
	READ_LEAST = 10000000,		/* but so often in any case */
};

#define DIRECTORY_EVENTS (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | \
	IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define FILE_EVENTS (IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)

enum kind {
	NAME,
	LISTING,	/* the files of one directory, or those that match */
	SEARCH,		/* a glob with wildcards among its directories */
};

struct operand {
	enum kind kind;
	unsigned rank;
	char *text;		/* absolute; LISTING: the directory */
	char *pattern;		/* LISTING: of the names; NULL: all */
	int wd;			/* LISTING: -1: not watched */
	int64_t next_us;	/* read it again */
	bool was_refused;	/* and the user was told */
};

/* A directory with named files. */
struct parent {
	char *dir;
	size_t n_names;
	bool is_watched;
};

/* What an inotify descriptor is about. */
struct watched {
	char *dir;		/* or NULL: */
	struct mb_path *path;
};

struct mb_watch {
	struct mb_watch_options options;
	struct operand *operands;
	size_t n_operands;
	struct parent *parents;
	size_t n_parents;
	struct mb_path **paths;		/* in no order */
	size_t n_paths, cap_paths;
	struct mb_path **table;		/* open addressing, by name */
	size_t cap_table, n_table;	/* n_table: with the removed ones */
	struct mb_path **queue;		/* dirty, to be looked at */
	size_t n_queue, cap_queue;
	struct mb_path **changed;	/* to be reported: [next, n) */
	size_t n_changed, next_changed, cap_changed;
	size_t sweep_at;
	int64_t swept_us;
	uint32_t stamp;
	int inotify;
	struct watched *watched;	/* by descriptor */
	size_t n_watched;
	bool has_overflowed;
};

static struct mb_path removed;		/* its address marks a hole */

struct mb_watch *
mb_watch_open(const struct mb_watch_options *options)
{
	struct mb_watch *w = mb_alloc(sizeof *w);

	*w = (struct mb_watch){ .options = *options, .inotify = -1 };
	if (options->follows)
		w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return w;
}

void
mb_watch_close(struct mb_watch *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->n_operands; i++) {
		free(w->operands[i].text);
		free(w->operands[i].pattern);
	}
	for (size_t i = 0; i < w->n_parents; i++)
		free(w->parents[i].dir);
	for (size_t i = 0; i < w->n_paths; i++)
		free(w->paths[i]);
	for (size_t i = 0; i < w->n_watched; i++)
		free(w->watched[i].dir);
	if (w->inotify >= 0)
		close(w->inotify);
	free(w->operands);
	free(w->parents);
	free(w->paths);
	free(w->table);
	free(w->queue);
	free(w->changed);
	free(w->watched);
	free(w);
}

/*
 * The paths, by name.
 */

static struct mb_path **
slot_of(const struct mb_watch *w, const char *name)
{
	size_t mask = w->cap_table - 1;
	size_t i = (size_t)mb_hash64(name, strlen(name), 0) & mask;

	while (w->table[i] != NULL && (w->table[i] == &removed ||
	    strcmp(w->table[i]->name, name) != 0))
		i = (i + 1) & mask;
	return &w->table[i];
}

struct mb_path *
mb_watch_find(const struct mb_watch *w, const char *name)
{
	return w->cap_table == 0 ? NULL : *slot_of(w, name);
}

size_t
mb_watch_count(const struct mb_watch *w)
{
	return w->n_paths;
}

struct mb_path *
mb_watch_at(const struct mb_watch *w, size_t i)
{
	return w->paths[i];
}

static void
grow_table(struct mb_watch *w)
{
	if (2 * (w->n_table + 1) <= w->cap_table)
		return;
	w->cap_table = 64;
	while (w->cap_table < 5 * (w->n_paths + 2) / 2)
		w->cap_table *= 2;
	free(w->table);
	w->table = mb_zalloc(w->cap_table * sizeof *w->table);
	for (size_t i = 0; i < w->n_paths; i++)
		*slot_of(w, w->paths[i]->name) = w->paths[i];
	w->n_table = w->n_paths;
}

static void
push(struct mb_path ***v, size_t *n, size_t *cap, struct mb_path *p)
{
	if (*n == *cap) {
		*cap = *cap * 2 + 16;
		*v = mb_realloc_array(*v, *cap, sizeof **v);
	}
	(*v)[(*n)++] = p;
}

/* An empty list that was long once, at the start mostly. */
static void
give_back(struct mb_path ***v, size_t *cap)
{
	enum { USUAL = 4096 };

	if (*cap <= USUAL)
		return;
	free(*v);
	*v = NULL;
	*cap = 0;
}

static void
mark_dirty(struct mb_watch *w, struct mb_path *p)
{
	if (p->is_dirty)
		return;
	p->is_dirty = true;
	push(&w->queue, &w->n_queue, &w->cap_queue, p);
}

static struct mb_path *
add_path(struct mb_watch *w, const char *name, unsigned rank)
{
	size_t len = strlen(name);
	struct mb_path *p = mb_watch_find(w, name);

	if (p != NULL || (w->options.except != NULL &&
	    strcmp(name, w->options.except) == 0))
		return p;
	p = mb_alloc(sizeof *p + len + 1);
	*p = (struct mb_path){
		.rank = rank, .generation = UINT64_MAX, .stamp = w->stamp,
	};
	memcpy(p->name, name, len + 1);
	grow_table(w);
	*slot_of(w, name) = p;
	w->n_table++;
	p->at = (uint32_t)w->n_paths;
	push(&w->paths, &w->n_paths, &w->cap_paths, p);
	mark_dirty(w, p);
	return p;
}

static void
take_out(struct mb_path **v, size_t *n, struct mb_path *p)
{
	for (size_t i = 0; i < *n; i++)
		if (v[i] == p) {
			*n -= 1;
			memmove(v + i, v + i + 1, (*n - i) * sizeof *v);
			return;
		}
}

void
mb_watch_drop(struct mb_watch *w, struct mb_path *p)
{
	for (size_t i = 0; i < w->n_watched; i++)
		if (w->watched[i].path == p)
			w->watched[i].path = NULL;
	*slot_of(w, p->name) = &removed;
	if (p->is_dirty)
		take_out(w->queue, &w->n_queue, p);
	w->paths[p->at] = w->paths[--w->n_paths];
	w->paths[p->at]->at = p->at;
	for (size_t i = w->next_changed; i < w->n_changed; i++)
		if (w->changed[i] == p)
			take_out(w->changed, &w->n_changed, p);
	free(p);
}

/*
 * Hints.
 */

static int
add_hint(struct mb_watch *w, const char *name, uint32_t events,
    struct watched about)
{
	int wd = w->inotify < 0 ? -1 : inotify_add_watch(w->inotify, name,
	    events);

	if (wd < 0) {
		free(about.dir);
		return -1;
	}
	if ((size_t)wd >= w->n_watched) {
		size_t n = (size_t)wd + 16;

		w->watched = mb_realloc_array(w->watched, n,
		    sizeof *w->watched);
		memset(w->watched + w->n_watched, 0, (n - w->n_watched) *
		    sizeof *w->watched);
		w->n_watched = n;
	}
	free(w->watched[wd].dir);
	w->watched[wd] = about;
	return wd;
}

/* Changes that others make over the network give no hints here. */
static bool
gives_hints(const char *dir)
{
	static const uint32_t blind[] = {
		0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x5346414f,
		0x00c36400, 0x73757245, 0x65735546 /* FUSE */, 0x01021997,
	};
	struct statfs fs;

	if (statfs(dir, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof blind / sizeof *blind; i++)
		if ((uint32_t)fs.f_type == blind[i])
			return false;
	return true;
}

/*
 * A name is watched by itself; of many in one directory, the directory.  With
 * a new file under the name the hint is renewed.
 */
static void
hint_name(struct mb_watch *w, struct mb_path *p)
{
	const char *slash = strrchr(p->name, '/');
	size_t len = slash == p->name ? 1 : (size_t)(slash - p->name), i = 0;
	struct parent *parent;

	if (w->inotify < 0)
		return;
	while (i < w->n_parents && (strncmp(w->parents[i].dir, p->name,
	    len) != 0 || w->parents[i].dir[len] != '\0'))
		i++;
	if (i == w->n_parents) {
		struct mb_buf dir = { 0 };

		mb_buf_add(&dir, p->name, len);
		w->parents = mb_realloc_array(w->parents, w->n_parents + 1,
		    sizeof *w->parents);
		w->parents[w->n_parents++] = (struct parent){
			.dir = mb_buf_take(&dir)
		};
	}
	parent = &w->parents[i];
	if (!parent->is_watched && ++parent->n_names >= MANY_NAMES &&
	    add_hint(w, parent->dir, DIRECTORY_EVENTS,
	    (struct watched){ .dir = mb_strdup(parent->dir) }) >= 0)
		parent->is_watched = true;
	if (!parent->is_watched)
		(void)add_hint(w, p->name, FILE_EVENTS,
		    (struct watched){ .path = p });
}

int
mb_watch_fd(const struct mb_watch *w)
{
	return w->inotify;
}

/* Does a listing have files of this name? */
static bool
lists(const struct operand *o, const char *name)
{
	return o->pattern == NULL ? name[0] != '.' :
	    fnmatch(o->pattern, name, FNM_PERIOD) == 0;
}

static struct operand *
listing_of(struct mb_watch *w, const char *dir, const char *name)
{
	for (size_t i = 0; i < w->n_operands; i++) {
		struct operand *o = &w->operands[i];

		if (o->kind == LISTING && strcmp(o->text, dir) == 0 &&
		    lists(o, name))
			return o;
	}
	return NULL;
}

bool
mb_watch_would_find(const struct mb_watch *w, const char *name)
{
	const char *base = strrchr(name, '/');
	size_t dir_len = base == NULL ? 0 : (size_t)(base - name);

	for (size_t i = 0; i < w->n_operands && base != NULL; i++) {
		const struct operand *o = &w->operands[i];
		size_t len = strlen(o->text);

		/* The root's text ends with the slash. */
		len -= o->kind == LISTING && len == 1;
		if (o->kind == SEARCH && fnmatch(o->text, name,
		    FNM_PATHNAME | FNM_PERIOD) == 0)
			return true;
		if (o->kind == LISTING && len == dir_len &&
		    memcmp(o->text, name, len) == 0 && lists(o, base + 1))
			return true;
	}
	return false;
}

static void
join(struct mb_buf *out, const char *dir, const char *name)
{
	mb_buf_reset(out);
	mb_buf_addf(out, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
	mb_buf_str(out);
}

static void
read_everything_again(struct mb_watch *w)
{
	w->has_overflowed = true;
	for (size_t i = 0; i < w->n_operands; i++)
		w->operands[i].next_us = 0;
}

static void
take_hint(struct mb_watch *w, const struct inotify_event *e)
{
	struct watched *about;
	struct mb_buf name = { 0 };
	struct mb_path *p;
	struct operand *o;

	if (e->mask & IN_Q_OVERFLOW) {
		read_everything_again(w);
		return;
	}
	if (e->wd < 0 || (size_t)e->wd >= w->n_watched)
		return;
	about = &w->watched[e->wd];
	if (about->path != NULL)
		mark_dirty(w, about->path);
	if (about->dir == NULL)
		return;
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) {
		read_everything_again(w);
		return;
	}
	if (e->len == 0 || (e->mask & IN_ISDIR))
		return;
	join(&name, about->dir, e->name);
	p = mb_watch_find(w, name.p);
	if (p != NULL)
		mark_dirty(w, p);
	else if ((o = listing_of(w, about->dir, e->name)) != NULL)
		(void)add_path(w, name.p, o->rank);
	mb_buf_release(&name);
}

void
mb_watch_drain(struct mb_watch *w)
{
	char events[16384] __attribute__((aligned(8)));
	ssize_t n;

	while (w->inotify >= 0 &&
	    (n = read(w->inotify, events, sizeof events)) > 0)
		for (ssize_t i = 0; i < n; ) {
			const struct inotify_event *e =
			    (const struct inotify_event *)(void *)(events + i);

			take_hint(w, e);
			i += (ssize_t)(sizeof *e + e->len);
		}
}

/*
 * Finding files.
 */

static int
refuse(struct mb_watch *w, struct operand *o, struct mb_err *err)
{
	if (!w->options.follows)
		return mb_fail_sys(err, "read %s", o->text);
	if (!o->was_refused)
		w->options.tell(w->options.arg, o->text, strerror(errno));
	o->was_refused = true;
	return 0;
}

/* Paths of this operand that were not found any more: look at them. */
static void
doubt_others(struct mb_watch *w, const struct operand *o)
{
	for (size_t i = 0; i < w->n_paths; i++)
		if (w->paths[i]->rank == o->rank &&
		    w->paths[i]->stamp != w->stamp)
			mark_dirty(w, w->paths[i]);
}

static void
found(struct mb_watch *w, const struct operand *o, const char *name)
{
	struct mb_path *p = add_path(w, name, o->rank);

	if (p != NULL)
		p->stamp = w->stamp;
}

static int
read_listing(struct mb_watch *w, struct operand *o, struct mb_err *err)
{
	struct mb_buf name = { 0 };
	struct dirent *e;
	DIR *d;

	/* The hint first: what comes while we read is told. */
	if (w->inotify >= 0 && gives_hints(o->text))
		o->wd = add_hint(w, o->text, DIRECTORY_EVENTS,
		    (struct watched){ .dir = mb_strdup(o->text) });
	else
		o->wd = -1;
	d = opendir(o->text);
	if (d == NULL && errno != ENOENT && errno != ENOTDIR)
		return refuse(w, o, err);
	o->was_refused = false;
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_type != DT_REG && e->d_type != DT_LNK &&
		    e->d_type != DT_UNKNOWN)
			continue;
		if (!lists(o, e->d_name))
			continue;
		join(&name, o->text, e->d_name);
		found(w, o, name.p);
	}
	if (d != NULL)
		closedir(d);
	mb_buf_release(&name);
	return 0;
}

static int
read_search(struct mb_watch *w, struct operand *o, struct mb_err *err)
{
	glob_t names = { 0 };
	int rc = glob(o->text, GLOB_NOSORT, NULL, &names);

	if (rc != 0 && rc != GLOB_NOMATCH) {
		globfree(&names);
		return refuse(w, o, err);
	}
	o->was_refused = false;
	for (size_t i = 0; rc == 0 && i < names.gl_pathc; i++)
		found(w, o, names.gl_pathv[i]);
	globfree(&names);
	return 0;
}

/* A directory is read again later the longer it takes. */
static int
read_operand(struct mb_watch *w, struct operand *o, int64_t now_us,
    struct mb_err *err)
{
	int64_t began = mb_clock_steady_us(), least, took;
	bool has_hints;
	int rc;

	if (o->kind == NAME)
		return 0;
	w->stamp++;
	rc = o->kind == LISTING ? read_listing(w, o, err) :
	    read_search(w, o, err);
	if (rc < 0)
		return -1;
	if (!o->was_refused)
		doubt_others(w, o);
	has_hints = o->kind == LISTING && o->wd >= 0;
	least = has_hints ? READ_EVERY : READ_BLIND;
	took = (mb_clock_steady_us() - began) * (has_hints ? READ_SHARE :
	    BLIND_SHARE);
	took = took < least ? least : took > READ_LEAST ? READ_LEAST : took;
	o->next_us = now_us + took;
	return 0;
}

/*
 * Looking.
 */

void
mb_watch_look(struct mb_path *p)
{
	p->look = mb_look_at(p->name);
}

void
mb_watch_again(struct mb_watch *w, struct mb_path *p)
{
	p->is_reported = false;
	mark_dirty(w, p);
}

static int
compare_paths(const void *a, const void *b)
{
	const struct mb_path *x = *(struct mb_path *const *)a;
	const struct mb_path *y = *(struct mb_path *const *)b;

	return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1) :
	    strcmp(x->name, y->name);
}

/* A name can turn out to be a directory's, later too. */
static bool
became_directory(struct mb_watch *w, struct mb_path *p)
{
	if (!p->is_named || !p->look.is_directory)
		return false;
	for (size_t i = 0; i < w->n_operands; i++) {
		struct operand *o = &w->operands[i];

		if (o->kind == NAME && strcmp(o->text, p->name) == 0) {
			o->kind = LISTING;
			o->next_us = 0;
		}
	}
	p->is_named = false;
	return true;
}

static void
look_at_queue(struct mb_watch *w)
{
	size_t n = w->n_queue;

	if (n > 1)
		qsort(w->queue, n, sizeof *w->queue, compare_paths);
	w->n_queue = 0;
	for (size_t i = 0; i < n; i++) {
		struct mb_path *p = w->queue[i];
		struct mb_look before = p->look;

		p->is_dirty = false;
		mb_watch_look(p);
		if (p->is_named && p->look.state == MB_PATH_FILE &&
		    (before.state != MB_PATH_FILE ||
		    before.inode.ino != p->look.inode.ino ||
		    !p->is_reported))
			hint_name(w, p);
		if (became_directory(w, p) || (p->is_reported &&
		    mb_look_equal(&before, &p->look)))
			continue;
		p->is_reported = true;
		push(&w->changed, &w->n_changed, &w->cap_changed, p);
	}
}

static void
sweep(struct mb_watch *w, int64_t now_us)
{
	size_t n = w->has_overflowed || w->n_paths < SWEEP ? w->n_paths :
	    SWEEP;

	if (now_us - w->swept_us < SWEEP_EVERY && !w->has_overflowed)
		return;
	w->swept_us = now_us;
	w->has_overflowed = false;
	for (size_t i = 0; i < n; i++) {
		w->sweep_at = w->sweep_at + 1 < w->n_paths ?
		    w->sweep_at + 1 : 0;
		mark_dirty(w, w->paths[w->sweep_at]);
	}
}

int
mb_watch_refresh(struct mb_watch *w, int64_t now_us, struct mb_err *err)
{
	if (w->next_changed == w->n_changed) {
		w->next_changed = w->n_changed = 0;
		give_back(&w->changed, &w->cap_changed);
	}
	if (w->options.follows) {
		mb_watch_drain(w);
		for (size_t i = 0; i < w->n_operands; i++)
			if (w->operands[i].kind != NAME &&
			    now_us >= w->operands[i].next_us &&
			    read_operand(w, &w->operands[i], now_us, err) < 0)
				return -1;
		sweep(w, now_us);
	}
	look_at_queue(w);
	give_back(&w->queue, &w->cap_queue);
	return 0;
}

struct mb_path *
mb_watch_next(struct mb_watch *w)
{
	return w->next_changed < w->n_changed ?
	    w->changed[w->next_changed++] : NULL;
}

/*
 * Operands.
 */

int
mb_watch_absolute(char **out, const char *path, struct mb_err *err)
{
	struct mb_buf joined = { 0 };
	char *way, *slash, *real = NULL;
	const char *rest = path;
	struct stat st;
	size_t len;

	if (*path == '\0')
		return mb_fail(err, MB_EUSAGE, "an empty file name");
	/* A directory is only the way to its files. */
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
	    (*out = realpath(path, NULL)) != NULL)
		return 0;
	way = mb_strdup(path);
	while (real == NULL && (slash = strrchr(way, '/')) != NULL) {
		*slash = '\0';
		rest = path + (slash + 1 - way);
		real = realpath(slash == way ? "/" : way, NULL);
	}
	free(way);
	if (real == NULL) {
		rest = path;
		real = realpath(".", NULL);
	}
	if (real == NULL)
		return mb_fail_sys(err, "the working directory");
	mb_buf_addf(&joined, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
	    rest);
	free(real);
	*out = mb_buf_take(&joined);
	for (slash = *out; (slash = strstr(slash, "//")) != NULL; )
		memmove(slash, slash + 1, strlen(slash));
	for (len = strlen(*out); len > 1 && (*out)[len - 1] == '/'; len--)
		(*out)[len - 1] = '\0';
	return 0;
}

static bool
is_pattern(const char *s)
{
	return strpbrk(s, "*?[") != NULL;
}

/* A glob whose directory is plain is that directory's listing. */
static void
set_kind(struct operand *o)
{
	struct mb_look look = mb_look_at(o->text);
	char *slash = strrchr(o->text, '/');

	o->kind = NAME;
	if (look.state == MB_PATH_FILE && look.is_directory)
		o->kind = LISTING;
	if (look.state != MB_PATH_ABSENT || !is_pattern(o->text))
		return;
	*slash = '\0';
	if (strpbrk(o->text, "*?[\\") != NULL) {
		*slash = '/';
		o->kind = SEARCH;
		return;
	}
	o->kind = LISTING;
	o->pattern = mb_strdup(slash + 1);
	if (slash == o->text)
		memcpy(o->text, "/", 2);
}

int
mb_watch_add(struct mb_watch *w, unsigned rank, const char *operand,
    struct mb_path **named, struct mb_err *err)
{
	struct operand o = { .rank = rank, .wd = -1 };

	*named = NULL;
	if (mb_watch_absolute(&o.text, operand, err) < 0)
		return -1;
	set_kind(&o);
	w->operands = mb_realloc_array(w->operands, w->n_operands + 1,
	    sizeof *w->operands);
	w->operands[w->n_operands++] = o;
	if (o.kind != NAME)
		return read_operand(w, &w->operands[w->n_operands - 1], 0,
		    err);
	*named = add_path(w, o.text, rank);
	if (*named != NULL)
		(*named)->is_named = true;
	return 0;
}
