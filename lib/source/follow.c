#include "source/follow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/parse.h"

struct file {
	char *path;		/* absolute; its name in the journal */
	unsigned rank;
	int fd;
	int watch;		/* of inotify; -1 */
	dev_t dev;
	ino_t ino;
	struct mb_content *content;
	struct mb_input *input;
	bool is_in_use;		/* the emitter reads from our content */
	bool was_damaged;	/* and the user was told */
};

struct operand {
	char *text;		/* absolute, may be a pattern */
	unsigned rank;
	bool was_refused;	/* and the user was told */
};

struct mb_follow {
	struct mb_follow_options options;
	struct mb_journal *journal;
	struct mb_cutter *cutter;
	struct mb_emitter *emitter;
	struct operand *operands;
	size_t n_operands;
	struct file *files;
	size_t n_files;
	int inotify;
	char **notices;
	size_t n_notices;
	char *shown;
};

struct mb_follow *
mb_follow_open(const struct mb_follow_options *options, struct mb_journal *j,
    struct mb_cutter *c, struct mb_emitter *e)
{
	struct mb_follow *f = mb_alloc(sizeof *f);

	*f = (struct mb_follow){
		.options = *options, .journal = j, .cutter = c, .emitter = e,
		.inotify = -1,
	};
	if (options->follows)
		f->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return f;
}

static void
close_file(struct mb_follow *f, struct file *file)
{
	if (file->is_in_use)
		mb_emitter_use(f->emitter, mb_input_generation(file->input),
		    NULL);
	if (file->input != NULL)
		mb_input_remove(f->cutter, file->input);
	mb_content_close(file->content);
	if (file->watch >= 0)
		inotify_rm_watch(f->inotify, file->watch);
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
}

void
mb_follow_close(struct mb_follow *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n_files; i++)
		close_file(f, &f->files[i]);
	for (size_t i = 0; i < f->n_operands; i++)
		free(f->operands[i].text);
	for (size_t i = 0; i < f->n_notices; i++)
		free(f->notices[i]);
	if (f->inotify >= 0)
		close(f->inotify);
	free(f->files);
	free(f->operands);
	free(f->notices);
	free(f->shown);
	free(f);
}

static void
tell(struct mb_follow *f, const char *path, const char *what)
{
	struct mb_buf text = { 0 };

	mb_show(&text, mb_str(path));
	mb_buf_addf(&text, ": %s", what);
	f->notices = mb_realloc_array(f->notices, f->n_notices + 1,
	    sizeof *f->notices);
	f->notices[f->n_notices++] = mb_buf_take(&text);
}

/* Damage is told as soon as it is met; an end that is cut off may grow. */
static void
tell_damage(struct mb_follow *f)
{
	struct mb_buf text = { 0 };
	const char *why;

	for (size_t i = 0; i < f->n_files; i++) {
		struct file *file = &f->files[i];
		bool is_damaged = mb_content_trouble(file->content, &why) ==
		    MB_GZ_DAMAGED;

		if (is_damaged && !file->was_damaged && f->options.follows) {
			mb_buf_reset(&text);
			mb_buf_addf(&text, "%s; what stands before it is "
			    "taken", why);
			tell(f, file->path, mb_buf_str(&text));
		}
		file->was_damaged = is_damaged;
	}
	mb_buf_release(&text);
}

int
mb_follow_trouble(struct mb_follow *f, struct mb_err *err)
{
	const char *why;

	for (size_t i = 0; i < f->n_files && !f->options.follows; i++) {
		struct file *file = &f->files[i];
		enum mb_gz_trouble t = mb_content_trouble(file->content, &why);

		if (t != MB_GZ_FINE && err->code != MB_OK)
			tell(f, file->path, why);
		else if (t != MB_GZ_FINE)
			mb_fail(err, t == MB_GZ_CUT ? MB_EBUSY : MB_EDATA,
			    "%s: %s", file->path, why);
	}
	return err->code == MB_OK ? 0 : -1;
}

const char *
mb_follow_notice(struct mb_follow *f)
{
	tell_damage(f);
	free(f->shown);
	f->shown = NULL;
	if (f->n_notices == 0)
		return NULL;
	f->shown = f->notices[0];
	f->n_notices--;
	memmove(f->notices, f->notices + 1, f->n_notices * sizeof *f->notices);
	return f->shown;
}

static bool
is_pattern(const char *s)
{
	return strpbrk(s, "*?[") != NULL;
}

/* Where the file ends for us: now, unless it is followed. */
static int
set_end(struct mb_follow *f, struct file *file, struct mb_err *err)
{
	if (f->options.follows)
		return 0;
	mb_input_final(file->input, f->options.is_final);
	return mb_content_seal(file->content, UINT64_MAX, err);
}

/*
 * A file that is there but can't be opened: without -f that is an error, or
 * its records would be passed over in silence.
 */
static int
refuse(struct mb_follow *f, const char *path, bool *was_refused,
    struct mb_err *err)
{
	if (!f->options.follows)
		return mb_fail_sys(err, "open %s", path);
	if (!*was_refused)
		tell(f, path, strerror(errno));
	*was_refused = true;
	return 0;
}

/* Make the file an input: the known generation goes on, or a new one. */
static int
begin_input(struct mb_follow *f, struct file *file, bool may_continue,
    struct mb_err *err)
{
	const struct mb_generation *known = may_continue ? mb_state_newest(
	    mb_journal_state(f->journal), file->path) : NULL;
	int rc;

	if (known != NULL && (known->is_final || known->spool != MB_NONE))
		known = NULL;
	file->input = mb_input_add(f->cutter, file->rank, file->path, MB_NONE,
	    file->content, known);
	mb_input_locate(file->input, file->dev, file->ino, 0, NULL);
	if (known != NULL) {
		rc = mb_input_check(file->input, err);
		if (rc < 0)
			return -1;
		if (rc == 0) {
			tell(f, file->path, "was replaced or truncated; it is "
			    "read anew from its start");
			mb_input_remove(f->cutter, file->input);
			return begin_input(f, file, false, err);
		}
	}
	return set_end(f, file, err);
}

static struct file *
find_file(struct mb_follow *f, const char *path, const struct stat *st)
{
	for (size_t i = 0; i < f->n_files; i++)
		if (strcmp(f->files[i].path, path) == 0 || (st != NULL &&
		    f->files[i].dev == st->st_dev &&
		    f->files[i].ino == st->st_ino))
			return &f->files[i];
	return NULL;
}

static void
watch(struct mb_follow *f, struct file *file)
{
	file->watch = f->inotify < 0 ? -1 : inotify_add_watch(f->inotify,
	    file->path, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF |
	    IN_DELETE_SELF);
}

/* Open a file that is there: 1, 0 if it isn't (errno says why), -1. */
static int
open_path(struct mb_follow *f, const char *path, unsigned rank,
    struct mb_err *err)
{
	struct file file = { .rank = rank, .fd = -1, .watch = -1 };
	struct stat st;

	if (find_file(f, path, NULL) != NULL)
		return 1;
	file.fd = mb_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
	if (file.fd < 0)
		return 0;
	if (fstat(file.fd, &st) < 0) {
		close(file.fd);
		return mb_fail_sys(err, "%s", path);
	}
	if (find_file(f, path, &st) != NULL) {
		close(file.fd);		/* the same file by another name */
		return 1;
	}
	if (!S_ISREG(st.st_mode)) {
		close(file.fd);
		return mb_fail(err, MB_EUSAGE, "%s: not a regular file", path);
	}
	file.path = mb_strdup(path);
	file.dev = st.st_dev;
	file.ino = st.st_ino;
	file.content = mb_content_of_fd(file.fd, file.path,
	    f->journal);
	watch(f, &file);
	f->files = mb_realloc_array(f->files, f->n_files + 1,
	    sizeof *f->files);
	f->files[f->n_files++] = file;
	return begin_input(f, &f->files[f->n_files - 1], true, err) < 0 ? -1 :
	    1;
}

/* One of an operand's files; it may have gone since it was found. */
static int
open_found(struct mb_follow *f, struct operand *o, const char *path,
    struct mb_err *err)
{
	int rc = open_path(f, path, o->rank, err);

	return rc == 0 && errno != ENOENT ?
	    refuse(f, path, &o->was_refused, err) : rc;
}

static int
open_matches(struct mb_follow *f, struct operand *o, struct mb_err *err)
{
	glob_t found;
	struct stat st;
	int rc = glob(o->text, 0, NULL, &found);

	if (rc == GLOB_NOMATCH)
		return 0;
	if (rc != 0)
		return mb_fail(err, MB_EIO, "%s: can't list it", o->text);
	rc = 0;
	for (size_t i = 0; i < found.gl_pathc && rc >= 0; i++)
		if (stat(found.gl_pathv[i], &st) == 0 && S_ISREG(st.st_mode))
			rc = open_found(f, o, found.gl_pathv[i], err);
	globfree(&found);
	return rc < 0 ? -1 : 0;
}

static int
open_directory(struct mb_follow *f, struct operand *o, struct mb_err *err)
{
	struct mb_buf path = { 0 };
	struct dirent **entries;
	struct stat st;
	int n = scandir(o->text, &entries, NULL, NULL), rc = 0;

	if (n < 0)
		return mb_fail_sys(err, "read %s", o->text);
	for (int i = 0; i < n; i++) {
		mb_buf_reset(&path);
		mb_buf_addf(&path, "%s/%s", o->text, entries[i]->d_name);
		if (rc >= 0 && entries[i]->d_name[0] != '.' &&
		    stat(mb_buf_str(&path), &st) == 0 && S_ISREG(st.st_mode))
			rc = open_found(f, o, path.p, err);
		free(entries[i]);
	}
	free(entries);
	mb_buf_release(&path);
	return rc < 0 ? -1 : 0;
}

static int
open_operand(struct mb_follow *f, struct operand *o, struct mb_err *err)
{
	struct stat st;
	int rc;

	if (stat(o->text, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return open_directory(f, o, err);
		rc = open_path(f, o->text, o->rank, err);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	} else if (errno == ENOENT && is_pattern(o->text)) {
		return open_matches(f, o, err);
	}
	/* Not there, or not to be opened: that is not the same as empty. */
	if (errno == ENOENT && mb_state_newest(mb_journal_state(f->journal),
	    o->text) != NULL) {
		if (!f->options.follows && !o->was_refused)
			tell(f, o->text, "is not there now; nothing new");
		o->was_refused = true;
		return 0;
	}
	if (errno == ENOENT && !f->options.follows)
		return mb_fail(err, MB_EUSAGE, "%s: no such file", o->text);
	if (errno == ENOENT)
		return 0;
	return refuse(f, o->text, &o->was_refused, err);
}

/*
 * The name is the identity: however the way to it is written, "./a", "../d/a",
 * it has to come out the same.  Absolute, as far as there are directories
 * these are resolved, and a link at its end isn't followed.
 */
static int
make_absolute(char **out, const char *path, struct mb_err *err)
{
	struct mb_buf joined = { 0 };
	char *way, *slash, *real = NULL;
	const char *rest = path;
	struct stat st;

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
	return 0;
}

int
mb_follow_add(struct mb_follow *f, unsigned rank, const char *operand,
    struct mb_err *err)
{
	struct operand o = { .rank = rank };

	if (make_absolute(&o.text, operand, err) < 0)
		return -1;
	while (strlen(o.text) > 1 && o.text[strlen(o.text) - 1] == '/')
		o.text[strlen(o.text) - 1] = '\0';
	f->operands = mb_realloc_array(f->operands, f->n_operands + 1,
	    sizeof *f->operands);
	f->operands[f->n_operands++] = o;
	return open_operand(f, &f->operands[f->n_operands - 1], err);
}

static struct file *
file_of(struct mb_follow *f, const struct mb_input *in)
{
	for (size_t i = 0; i < f->n_files; i++)
		if (f->files[i].input == in)
			return &f->files[i];
	return NULL;
}

static int
renew(struct mb_follow *f, struct file *file, struct mb_err *err)
{
	tell(f, file->path, "was replaced or truncated; it is read anew from "
	    "its start");
	if (file->is_in_use)
		mb_emitter_use(f->emitter, mb_input_generation(file->input),
		    NULL);
	file->is_in_use = false;
	mb_input_remove(f->cutter, file->input);
	return begin_input(f, file, false, err);
}

int
mb_follow_renew(struct mb_follow *f, struct mb_input *in, struct mb_err *err)
{
	struct file *file = file_of(f, in);

	if (file == NULL)
		return mb_fail(err, MB_EBUG, "%s: an input without a file",
		    mb_input_source(in));
	return renew(f, file, err);
}

/*
 * The name leads to another file now.  What we hold open is read to its end
 * first; then the next one's turn comes.
 */
static int
move_on(struct mb_follow *f, size_t i, struct mb_err *err)
{
	struct file *file = &f->files[i];

	if (mb_content_seal(file->content, UINT64_MAX, err) < 0)
		return -1;
	mb_input_final(file->input, true);
	if (!mb_input_is_done(file->input))
		return 0;
	close_file(f, file);
	f->n_files--;
	memmove(f->files + i, f->files + i + 1,
	    (f->n_files - i) * sizeof *f->files);
	return 1;
}

static int
refresh_file(struct mb_follow *f, size_t i, struct mb_err *err)
{
	struct file *file = &f->files[i];
	struct stat st;
	int rc = mb_content_reaches(file->content, mb_input_planned(
	    file->input) + mb_input_rest(file->input), err);

	if (rc <= 0)
		return rc < 0 ? -1 : renew(f, file, err);
	if (stat(file->path, &st) == 0 && (st.st_dev != file->dev ||
	    st.st_ino != file->ino))
		return move_on(f, i, err);
	return 0;
}

int
mb_follow_refresh(struct mb_follow *f, struct mb_err *err)
{
	if (!f->options.follows)
		return 0;
	for (size_t i = 0; i < f->n_files; ) {
		int rc = refresh_file(f, i, err);

		if (rc < 0)
			return -1;
		i += rc == 0;
	}
	for (size_t i = 0; i < f->n_operands; i++)
		if (open_operand(f, &f->operands[i], err) < 0)
			return -1;
	return 0;
}

void
mb_follow_planned(struct mb_follow *f)
{
	for (size_t i = 0; i < f->n_files; i++) {
		struct file *file = &f->files[i];
		uint64_t id = mb_input_generation(file->input);

		if (!file->is_in_use && id != MB_NONE) {
			mb_emitter_use(f->emitter, id, file->content);
			file->is_in_use = true;
		}
	}
}

int
mb_follow_fd(const struct mb_follow *f)
{
	return f->inotify;
}

void
mb_follow_drain(struct mb_follow *f)
{
	char events[4096];

	while (f->inotify >= 0 && read(f->inotify, events, sizeof events) > 0)
		;
}

uint64_t
mb_follow_rest(const struct mb_follow *f, const char **name)
{
	for (size_t i = 0; i < f->n_files; i++) {
		uint64_t rest = mb_input_rest(f->files[i].input);

		if (rest > 0 && mb_input_is_read(f->files[i].input)) {
			*name = f->files[i].path;
			return rest;
		}
	}
	return 0;
}
