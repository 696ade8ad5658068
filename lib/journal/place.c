/*
 * Where a journal stands: its path, its directory, whose that is; making it,
 * opening it.
 */
#include "journal/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "journal/lines.h"

/* Write the whole file anew, and replace it: then it is surely durable. */
static int
copy_file(struct mb_journal *j, struct mb_err *err)
{
	uint64_t end = mb_journal_place(j, j->pos);
	struct mb_stage *stage;
	int rc;

	if (mb_stage_open_in(&stage, j->dfd, j->dirfd, j->name, 0600, err) < 0)
		return -1;
	rc = mb_journal_copy(j, stage, 0, end, err);
	if (rc == 0)
		rc = mb_stage_replace(stage, err);
	mb_stage_close(stage);
	return rc < 0 ? -1 : mb_journal_catch_up(j, err);
}

int
mb_journal_owner(const struct mb_journal *j, char id[MB_ID_LEN + 1],
    struct mb_err *err)
{
	struct mb_doc *doc;
	const char *text = "";
	char bytes[256];
	ssize_t n = mb_pread_full(mb_lock_fd(j->lock), bytes, sizeof bytes, 0,
	    "lock", err);
	struct mb_str line = { bytes, n > 0 ? (size_t)n - 1 : 0 };

	if (n < 0)
		return mb_wrap(err, "%s.d", j->path);
	if (n == 0 || bytes[n - 1] != '\n' || !mb_line_check(line))
		return 0;
	if (mb_doc_parse(&doc, line, err) < 0)
		return -1;
	(void)mb_node_str(mb_doc_root(doc), "journal", &text);
	snprintf(id, MB_ID_LEN + 1, "%s", text);
	mb_doc_close(doc);
	return 1;
}

/*
 * The lock file names the journal.  An id that isn't the journal's means that
 * the journal was lost, or that a directory was copied.
 */
static int
check_owner(struct mb_journal *j, bool exists, const struct mb_state *adopted,
    struct mb_err *err)
{
	int fd = mb_lock_fd(j->lock);
	struct mb_buf line = { 0 };
	char id[MB_ID_LEN + 1];
	int rc = mb_journal_owner(j, id, err);

	if (rc < 0)
		return -1;
	if (rc > 0) {
		rc = 0;
		if (!exists && adopted != NULL)
			rc = strcmp(id, adopted->id) == 0 ? 0 :
			    mb_fail(err, MB_EUSAGE, "%s: the target is of "
			    "journal %.8s, but %s.d of %.8s", j->path,
			    adopted->id, j->path, id);
		else if (!exists)
			rc = mb_fail(err, MB_ECORRUPT, "%s: the journal is "
			    "gone, but %s.d of journal %.8s is there; restore "
			    "it, make it anew from the target (mb-collect "
			    "--adopt), or remove %s.d to begin a new stream",
			    j->path, j->path, id, j->path);
		else if (strcmp(id, j->state.id) != 0)
			rc = mb_fail(err, MB_ECORRUPT, "%s.d belongs to "
			    "journal %.8s, but %s is journal %.8s", j->path,
			    id, j->path, j->state.id);
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
create(struct mb_journal *j, const struct mb_state *adopted,
    struct mb_err *err)
{
	struct mb_stage *stage;
	struct mb_buf line = { 0 };
	char id[MB_ID_LEN + 1];
	uint64_t base = 0;
	int rc = -1;

	if (check_owner(j, false, adopted, err) < 0 ||
	    mb_random_hex(id, MB_ID_LEN / 2, err) < 0 ||
	    mb_stage_open_in(&stage, j->dfd, j->dirfd, j->name, 0600, err) < 0)
		return -1;
	if (adopted != NULL) {
		/*
		 * Whoever still has the lost one open must not take its
		 * offsets for this one's: milliseconds since the epoch are
		 * more than it can have had bytes.
		 */
		memcpy(id, adopted->id, sizeof id);
		base = (uint64_t)adopted->time_ms;
	}
	mb_journal_put_open(&line, id, base);
	if (adopted != NULL)
		mb_put_checkpoint(&line, adopted, base);
	if (mb_stage_write(stage, line.p, line.len, err) == 0)
		rc = mb_stage_publish(stage, err);
	j->is_new = rc == 0;
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

	if (*path == '\0')
		return mb_fail(err, MB_EUSAGE, "the journal's name is empty");
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

/*
 * Who may not write there gets no further by trying again.  What works all the
 * same is not asked for.
 */
static int
refuse_unwritable(const struct mb_journal *j, const char *parent,
    struct mb_err *err)
{
	struct mb_buf d = { 0 };
	bool is_made;
	int rc = 0;

	mb_buf_addf(&d, "%s.d", j->path);
	is_made = access(mb_buf_str(&d), F_OK) == 0 &&
	    access(j->path, F_OK) == 0;
	if ((is_made ? access(d.p, W_OK | X_OK) < 0 ||
	    access(j->path, R_OK | W_OK) < 0 :
	    access(parent, W_OK | X_OK) < 0) &&
	    (errno == EACCES || errno == EPERM || errno == EROFS))
		rc = mb_fail(err, MB_EUSAGE, "%s: may not be written to: %s",
		    j->path, strerror(errno));
	mb_buf_release(&d);
	return rc;
}

/*
 * A file that never was a journal, perhaps the input: nothing is made beside
 * it.  One that has its directory was one, and is damaged.
 */
static int
refuse_stranger(const struct mb_journal *j, const char *directory,
    struct mb_err *err)
{
	static const char start[] = "{\"mb\":\"open\"";
	char bytes[sizeof start - 1];
	struct stat st;
	ssize_t n;
	int fd;

	if (stat(directory, &st) == 0)
		return 0;
	fd = mb_openat(j->dirfd, j->name, O_RDONLY, 0);
	if (fd < 0)
		return mb_fail_sys(err, "open %s", j->path);
	n = mb_pread_full(fd, bytes, sizeof bytes, 0, j->path, err);
	close(fd);
	if (n < 0)
		return -1;
	if ((size_t)n < sizeof bytes || memcmp(bytes, start, sizeof bytes) != 0)
		return mb_fail(err, MB_EUSAGE, "%s: is not a journal", j->path);
	return 0;
}

int
mb_journal_reach(struct mb_journal **out, const char *path, int flags,
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
	if (exists && !S_ISREG(st.st_mode)) {
		mb_fail(err, MB_EUSAGE, "%s: not a regular file", j->path);
		goto fail;
	}
	if (refuse_unwritable(j, mb_buf_str(&d), err) < 0 ||
	    (!(flags & MB_JOURNAL_SHARED) && refuse_network(j, err) < 0))
		goto fail;
	mb_buf_reset(&d);
	mb_buf_addf(&d, "%s.d", j->path);
	if (exists && refuse_stranger(j, mb_buf_str(&d), err) < 0)
		goto fail;
	/* Only the creator has to sync what it finds there. */
	if (!(flags & MB_JOURNAL_CREATE))
		j->dfd = mb_openat(AT_FDCWD, mb_buf_str(&d),
		    O_RDONLY | O_DIRECTORY, 0);
	if (j->dfd < 0)
		j->dfd = mb_dir_open(mb_buf_str(&d), 0700, err);
	if (j->dfd < 0 || mb_lock_open(&j->lock, j->dfd, "lock", err) < 0)
		goto fail;
	mb_buf_release(&d);
	*out = j;
	return 0;
fail:
	mb_buf_release(&d);
	mb_journal_close(j);
	return -1;
}

/* Who is told that we wait for another process; {0}: nobody. */
struct waiting {
	void (*tell)(void *arg, const char *path);
	void *arg;
};

static int
enter(struct mb_journal *j, const char *path, const struct waiting *w,
    struct mb_err *err)
{
	enum { TELL_AFTER_US = 2000000 };
	int rc = 0;

	if (w->tell != NULL)
		rc = mb_lock_take(j->lock, MB_LOCK_APPEND, false,
		    TELL_AFTER_US, err);
	if (rc == 0) {
		if (w->tell != NULL)
			w->tell(w->arg, path);
		rc = mb_lock_take(j->lock, MB_LOCK_APPEND, false, -1, err);
	}
	if (rc < 0)
		return -1;
	j->has_entered = true;
	return 0;
}

static int
open_journal(struct mb_journal **out, const char *path, int flags,
    const struct mb_state *adopted, const struct waiting *w,
    struct mb_err *err)
{
	struct mb_journal *j;
	struct stat st;

	*out = NULL;
	if (mb_journal_reach(&j, path, flags, err) < 0)
		return -1;
	if (enter(j, path, w, err) < 0)
		goto fail;
	if ((flags & MB_JOURNAL_CREATE) && mb_stage_sweep(j->dfd, err) < 0)
		goto fail;
	if (fstatat(j->dirfd, j->name, &st, 0) < 0 &&
	    create(j, adopted, err) < 0)
		goto fail;
	if (mb_journal_catch_up(j, err) < 0 ||
	    check_owner(j, true, NULL, err) < 0)
		goto fail;
	mb_journal_leave(j);
	*out = j;
	return 0;
fail:
	mb_journal_close(j);
	return -1;
}

int
mb_journal_open(struct mb_journal **out, const char *path, int flags,
    struct mb_err *err)
{
	return open_journal(out, path, flags, NULL, &(struct waiting){ 0 },
	    err);
}

int
mb_journal_open_telling(struct mb_journal **out, const char *path, int flags,
    void (*waits)(void *arg, const char *path), void *arg, struct mb_err *err)
{
	return open_journal(out, path, flags, NULL,
	    &(struct waiting){ waits, arg }, err);
}

int
mb_journal_adopt(struct mb_journal **out, const char *path, int flags,
    const struct mb_state *s, struct mb_err *err)
{
	if (open_journal(out, path, flags | MB_JOURNAL_CREATE, s,
	    &(struct waiting){ 0 }, err) < 0)
		return -1;
	if (strcmp((*out)->state.id, s->id) == 0)
		return (*out)->is_new;
	mb_fail(err, MB_EUSAGE, "%s: is there, journal %.8s: nothing to adopt",
	    (*out)->path, (*out)->state.id);
	mb_journal_close(*out);
	*out = NULL;
	return -1;
}

int
mb_journal_absolute(char **out, const char *path, struct mb_err *err)
{
	struct mb_journal j = { 0 };
	int rc = resolve(&j, path, err);

	free(j.name);
	*out = j.path;
	return rc;
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
