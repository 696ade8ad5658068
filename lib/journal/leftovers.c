#include "journal/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/parse.h"
#include "journal/private.h"

/* Is the file of this number, and so of its batch or offset, wanted still? */
typedef bool is_wanted_fn(const struct mb_journal *j, uint64_t number);

static bool
is_batch_wanted(const struct mb_journal *j, uint64_t number)
{
	const struct mb_batch *b = mb_state_batch(&j->state, number);

	return number >= j->first_batch ||
	    (b != NULL && mb_state_needs(&j->state, b));
}

static bool
is_cut_wanted(const struct mb_journal *j, uint64_t offset)
{
	return offset >= j->base;
}

/* "collect-000000017.ndjson", "00000000000000001234": the last number. */
static bool
parse_name(const char *name, const char *ending, uint64_t *number)
{
	size_t len = strlen(name), tail = strlen(ending);
	struct mb_err ignored = { 0 };
	const char *dash;
	char *digits;
	bool is_one;

	if (len <= tail || strcmp(name + len - tail, ending) != 0)
		return false;
	digits = mb_strdup(name);
	digits[len - tail] = '\0';
	dash = strrchr(digits, '-');
	is_one = mb_parse_count(number, dash != NULL ? dash + 1 : digits,
	    &ignored) == 0;
	free(digits);
	return is_one;
}

static int
remove_unwanted(struct mb_journal *j, const char *subdir, const char *ending,
    is_wanted_fn *is_wanted, uint64_t *n, struct mb_err *err)
{
	int fd = mb_openat(j->dfd, subdir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
	    0);
	struct dirent *e;
	uint64_t number;
	DIR *d;

	if (fd < 0 && errno == ENOENT)
		return 0;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		mb_fail_sys(err, "open %s.d/%s", j->path, subdir);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((e = readdir(d)) != NULL) {
		if (!parse_name(e->d_name, ending, &number) ||
		    is_wanted(j, number))
			continue;
		if (unlinkat(fd, e->d_name, 0) == 0)
			++*n;
		else if (errno != ENOENT)
			mb_fail_sys(err, "remove %s.d/%s/%s", j->path, subdir,
			    e->d_name);
	}
	closedir(d);
	return err->code == MB_OK ? 0 : -1;
}

int
mb_leftovers_remove(struct mb_journal *j, uint64_t *n, struct mb_err *err)
{
	*n = 0;
	return remove_unwanted(j, "rejects", ".ndjson", is_batch_wanted, n,
	    err) < 0 ? -1 : remove_unwanted(j, "cut", "", is_cut_wanted, n,
	    err);
}
