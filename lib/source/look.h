/*
 * look.h - what the system says of a path or a descriptor, in one call.
 */
#ifndef MB_SOURCE_LOOK_H
#define MB_SOURCE_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "source/identity.h"

struct mb_look {
	enum mb_path_state state;
	int error;		/* errno, where it isn't MB_PATH_FILE */
	struct mb_inode inode;
	uint64_t size;
	int64_t mtime_ns, ctime_ns;
	uint32_t n_links;
	bool is_regular, is_directory;
};

/*
 * ENOENT and ENOTDIR are MB_PATH_ABSENT; any other error is MB_PATH_HIDDEN.
 * Symbolic links are followed; one that leads nowhere is absent.
 */
struct mb_look mb_look_at(const char *path);
struct mb_look mb_look_fd(int fd);

/* Is the same content still to be expected: no change of inode, size, times? */
bool mb_look_equal(const struct mb_look *a, const struct mb_look *b);

/* When it was last changed, in content or otherwise. */
int64_t mb_look_latest_ns(const struct mb_look *look);

#endif
