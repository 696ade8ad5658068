/*
 * The files of a repair.  The journal as it was is durable under another name
 * before it is replaced.
 */
#include "journal/repair.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "journal/private.h"

enum { MAX_FILE = 1 << 30 };

/* Read the whole file and judge it. */
static int
judge(struct mb_repair *out, struct mb_journal *j, struct mb_buf *file,
    struct mb_err *err)
{
	char id[MB_ID_LEN + 1];
	int fd = mb_openat(j->dirfd, j->name, O_RDONLY, 0), rc;
	ssize_t n;

	if (fd < 0)
		return mb_fail_sys(err, "open %s", j->path);
	do {
		mb_buf_reserve(file, MB_SCAN_CHUNK);
		n = mb_pread_full(fd, file->p + file->len, MB_SCAN_CHUNK,
		    file->len, j->path, err);
		file->len += n > 0 ? (size_t)n : 0;
	} while (n == MB_SCAN_CHUNK && file->len <= MAX_FILE);
	close(fd);
	if (n < 0)
		return -1;
	if (file->len > MAX_FILE)
		return mb_fail(err, MB_EDATA, "%s: longer than 1 GiB",
		    j->path);
	rc = mb_journal_owner(j, id, err);
	if (rc < 0)
		return -1;
	mb_repair_decide(out, (struct mb_str){ file->p, file->len },
	    rc > 0 ? id : NULL);
	return 0;
}

int
mb_repair_look(struct mb_repair *out, const char *path, int flags,
    struct mb_err *err)
{
	struct mb_buf file = { 0 };
	struct mb_journal *j;
	int rc;

	*out = (struct mb_repair){ .verdict = MB_REPAIR_NEEDLESS };
	if (mb_journal_reach(&j, path, flags, err) < 0)
		return -1;
	rc = judge(out, j, &file, err);
	mb_buf_release(&file);
	mb_journal_close(j);
	return rc;
}

static int
put_file(struct mb_journal *j, const char *name, const struct mb_buf *bytes,
    bool replaces, struct mb_err *err)
{
	struct mb_stage *stage;
	int rc;

	if (mb_stage_open_in(&stage, j->dfd, j->dirfd, name, 0600, err) < 0)
		return -1;
	rc = mb_stage_write(stage, bytes->p, bytes->len, err);
	if (rc == 0)
		rc = replaces ? mb_stage_replace(stage, err) :
		    mb_stage_publish(stage, err);
	mb_stage_close(stage);
	return rc;
}

static int
replace(struct mb_repair *out, struct mb_journal *j, const struct mb_buf *was,
    char **kept, struct mb_err *err)
{
	struct mb_hash hash = mb_hash_bytes(was->p, was->len);
	struct mb_buf name = { 0 }, path = { 0 };
	struct mb_err first = { 0 };
	int rc;

	/* By its content: whoever dies here and starts again makes no other. */
	mb_buf_addf(&name, "%s.damaged-%.8s", j->name, hash.hex);
	mb_buf_addf(&path, "%s.damaged-%.8s", j->path, hash.hex);
	rc = put_file(j, mb_buf_str(&name), was, false, &first);
	if (rc < 0 && first.code == MB_EEXIST)
		rc = 0;
	if (rc < 0)
		*err = first;
	else
		rc = put_file(j, j->name, &out->file, true, err);
	*kept = mb_buf_take(&path);
	mb_buf_release(&name);
	return rc;
}

int
mb_repair_mend(struct mb_repair *out, char **kept, const char *path, int flags,
    struct mb_err *err)
{
	static const enum mb_journal_lock locks[] = {
		MB_LOCK_COLLECTOR, MB_LOCK_PIPELINE, MB_LOCK_COMMIT,
		MB_LOCK_APPEND,
	};
	struct mb_buf file = { 0 };
	struct mb_journal *j;
	int rc = 1;

	*out = (struct mb_repair){ .verdict = MB_REPAIR_NEEDLESS };
	*kept = NULL;
	if (mb_journal_reach(&j, path, flags, err) < 0)
		return -1;
	for (size_t i = 0; i < sizeof locks / sizeof *locks && rc > 0; i++)
		rc = mb_journal_lock(j, locks[i], false, i < 2 ? 0 : -1, err);
	if (rc == 0)
		rc = mb_fail(err, MB_EBUSY, "%s: in use by another tool",
		    j->path);
	else if (rc > 0)
		rc = judge(out, j, &file, err);
	/* Another may have mended it and died before it was durable. */
	if (rc == 0 && out->verdict == MB_REPAIR_NEEDLESS)
		rc = mb_fsync(j->dirfd, "the journal's directory", err);
	if (rc == 0 && out->verdict == MB_REPAIR_POSSIBLE)
		rc = replace(out, j, &file, kept, err);
	mb_buf_release(&file);
	mb_journal_close(j);
	return rc < 0 ? -1 : 0;
}
