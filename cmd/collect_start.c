#include "collect.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/signals.h"
#include "sink/positions.h"

/*
 * How many files may be open: a rotated file and its successor are two, and
 * some descriptors are for everything else.
 */
size_t
collect_allow_many_files(void)
{
	enum { OTHERS = 32, LEAST = 4, MOST = 500 };
	struct rlimit limit;
	size_t n;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return LEAST;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max > 2 * MOST + OTHERS)
		return MOST;
	n = limit.rlim_max > OTHERS ? (size_t)(limit.rlim_max - OTHERS) / 2 :
	    0;
	return n > LEAST ? n : LEAST;
}

/* No such target, or it knows nothing.  If the journal is there, who cares. */
static int
do_without(struct collector *c, const char *path, int flags,
    struct mb_err *err)
{
	struct mb_err trouble = { 0 };

	if (mb_journal_open(&c->journal, path, flags & ~MB_JOURNAL_CREATE,
	    &trouble) == 0) {
		*err = (struct mb_err){ 0 };
		return 0;
	}
	if (trouble.code != MB_EUSAGE)	/* it is there, and damaged, say */
		*err = trouble;
	return -1;
}

/* --adopt: the journal was lost, and the target knows how far it had come. */
static int
adopt(struct collector *c, int flags, struct mb_err *err)
{
	static const struct mb_sink_options none = { 0 };
	struct mb_buf text = { 0 };
	struct mb_found found = { 0 };
	struct mb_state s = { 0 };
	char *path = NULL;
	int rc = -1;

	if (mb_sink_check(c->cfg->adopt, &none, err) < 0 ||
	    mb_journal_absolute(&path, c->cfg->journal, err) < 0)
		goto out;
	if (mb_sink_find(&found, c->cfg->adopt, path, err) < 0 ||
	    mb_positions_adopt(&s, &found, mb_clock_wall_ms(), err) < 0) {
		rc = do_without(c, path, flags, err);
		goto out;
	}
	mb_buf_addf(&text, "%s: journal %.8s, by what %s has: batches up to %"
	    PRIu64 ", %zu of them not there and parked", path, s.id,
	    found.target, found.marker.last, s.n_batches);
	rc = mb_journal_adopt(&c->journal, path, flags, &s, err);
	if (rc > 0)
		mb_progress_say(c->progress, mb_buf_str(&text));
out:
	mb_buf_release(&text);
	mb_found_release(&found);
	mb_state_release(&s);
	free(path);
	return rc < 0 ? mb_wrap(err, "--adopt") : 0;
}

int
collect_open_journal(struct collector *c, struct mb_err *err)
{
	int flags = MB_JOURNAL_CREATE |
	    (c->cfg->is_shared ? MB_JOURNAL_SHARED : 0);

	if (c->cfg->adopt != NULL)
		return adopt(c, flags, err);
	return mb_progress_open_journal(c->progress, &c->journal,
	    c->cfg->journal, flags, err);
}

/* One collector at a time. */
static int
lock_journal(struct collector *c, struct mb_err *err)
{
	const struct mb_state *s = mb_journal_state(c->journal);
	char since[MB_TIME_LEN + 1];
	int rc = mb_journal_lock(c->journal, MB_LOCK_COLLECTOR, false,
	    c->cfg->wait_us, err);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (mb_journal_refresh(c->journal, err) < 0)
		return -1;
	if (s->collector_run == MB_NONE)
		return mb_fail(err, MB_EBUSY, "%s: in use",
		    mb_journal_path(c->journal));
	mb_format_time(since, s->collector_ms);
	return mb_fail(err, MB_EBUSY, "%s: in use by process %" PRId64
	    " on %s, since %s", mb_journal_path(c->journal),
	    s->collector_pid, s->collector_host, since);
}

/* The tools of a former pipeline see our run and leave. */
static int
wait_for_former_pipeline(struct collector *c, struct mb_err *err)
{
	bool was_told = false;
	int rc;

	while ((rc = mb_journal_lock(c->journal, MB_LOCK_PIPELINE, false,
	    was_told ? 200000 : 100000, err)) == 0) {
		if (!was_told)
			mb_progress_say(c->progress, "waiting for the former "
			    "pipeline, which still drains");
		was_told = true;
		if (mb_signal_count() > 0)
			return mb_fail(err, MB_EBUSY,
			    "ended while waiting for the former pipeline");
	}
	if (rc < 0)
		return -1;
	mb_journal_unlock(c->journal, MB_LOCK_PIPELINE);
	return 0;
}

int
collect_recover(struct collector *c, char **argv, struct mb_err *err)
{
	/*
	 * What the former pipeline appends while it drains is hardened too,
	 * so that comes after the wait.
	 */
	if (lock_journal(c, err) < 0 ||
	    mb_journal_run(c->journal, &c->run, "collect", MB_NONE, argv,
	    mb_clock_wall_ms(), err) < 0 ||
	    mb_journal_sync(c->journal, err) < 0 ||
	    wait_for_former_pipeline(c, err) < 0 ||
	    mb_journal_harden(c->journal, err) < 0)
		return -1;
	collect_pass_notices(c);
	return 0;
}

static int
add_file(struct collector *c, unsigned rank, const char *name,
    struct mb_err *err)
{
	c->follows = c->cfg->follow.follows;
	return mb_follow_add(c->follow, rank, name, err);
}

/*
 * Standard input that is a regular file is that file.  One that has no name
 * any more, as a shell's here-document, can only be read like a pipe.
 */
static int
add_stdin(struct collector *c, unsigned rank, struct mb_err *err)
{
	char path[PATH_MAX];
	struct stat st, named;
	ssize_t n;

	if (c->pipe != NULL)
		return mb_fail(err, MB_EUSAGE, "-: named twice");
	if (fstat(STDIN_FILENO, &st) < 0)
		return mb_fail_sys(err, "standard input");
	if (S_ISREG(st.st_mode)) {
		n = readlink("/proc/self/fd/0", path, sizeof path - 1);
		if (n < 0)
			return mb_fail_sys(err, "standard input");
		path[n] = '\0';
		if (stat(path, &named) == 0 && named.st_dev == st.st_dev &&
		    named.st_ino == st.st_ino)
			return add_file(c, rank, path, err);
	}
	return mb_pipe_open(&c->pipe, STDIN_FILENO, rank, c->run,
	    c->cfg->again, c->journal, c->cutter, c->emitter, err);
}

int
collect_add_sources(struct collector *c, struct mb_err *err)
{
	const struct config *cfg = c->cfg;

	if (cfg->n_files == 0)
		return add_stdin(c, 0, err);
	for (int i = 0; i < cfg->n_files; i++)
		if (strcmp(cfg->files[i], "-") == 0) {
			if (add_stdin(c, (unsigned)i, err) < 0)
				return -1;
		} else if (add_file(c, (unsigned)i, cfg->files[i], err) < 0) {
			return -1;
		}
	return 0;
}
