/*
 * files.h - the file actions of commits, reconciled: of each logical file the
 * newest.
 *
 * Memory is in proportion to the commits that are read, not to the table, as
 * long as a checkpoint's files are streamed past what is here.
 */
#ifndef MB_DELTA_FILES_H
#define MB_DELTA_FILES_H

#include "delta/state.h"

struct mb_delta_file_action {
	char *text;		/* the object */
	bool is_add;
};

struct mb_delta_files {
	struct mb_names keys;
	struct mb_delta_file_action *v;		/* by position */
	size_t cap;
};

/*
 * A line of a commit, later than all before it; other actions are passed
 * over.  MB_ECORRUPT: it can't be read.
 */
MB_CHECK int mb_delta_files_apply(struct mb_delta_files *f,
    struct mb_str line, struct mb_err *err);

/* Is there an action for the logical file of this one? */
MB_CHECK int mb_delta_files_has(const struct mb_delta_files *f,
    struct mb_str action, bool *has, struct mb_err *err);

/*
 * The action of a line: its object and whether it is an add.  1, or 0 if the
 * line is none of a file.
 */
MB_CHECK int mb_delta_file_of_line(struct mb_str line, struct mb_str *action,
    bool *is_add, struct mb_err *err);

/* Apply the commits behind the state's checkpoint. */
MB_CHECK int mb_delta_files_read_tail(struct mb_delta_files *f,
    const struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err);

/*
 * Append what identifies the logical file of an action.
 */
MB_CHECK int mb_delta_file_key(struct mb_buf *out, struct mb_str action,
    struct mb_err *err);

/*
 * The path of an action is a URI: *out, which the caller frees, is where the
 * file is below the table.  False: it leads out of the table, or elsewhere;
 * *out is what it says nevertheless.
 */
bool mb_delta_path_decode(char **out, const char *uri);

void mb_delta_files_release(struct mb_delta_files *f);

#endif
