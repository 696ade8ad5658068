/*
 * repair.h - a damaged journal: what is wrong with it, and what can be done.
 *
 * What may be left out, and why nothing is lost or doubled by it, is told in
 * mb-journal(5), "Repairing".
 */
#ifndef MB_JOURNAL_REPAIR_H
#define MB_JOURNAL_REPAIR_H

#include "journal/journal.h"

enum mb_repair_verdict {
	MB_REPAIR_NEEDLESS,	/* nothing is wrong */
	MB_REPAIR_POSSIBLE,
	MB_REPAIR_HOPELESS,	/* the target has to tell: --adopt */
};

struct mb_repair {
	enum mb_repair_verdict verdict;
	struct mb_buf says;	/* lines for a person */
	struct mb_buf file;	/* POSSIBLE: the journal as it would be */
};

/*
 * Judge the bytes of a journal.  `id` is what the directory beside it says,
 * NULL if it says nothing.  *out is to be released.  Pure.
 *
 * The longest way of three that gives a whole journal is taken: wrong bits put
 * back and all else kept; damaged lines left out; the beginning left out, up
 * to a checkpoint.
 */
void mb_repair_decide(struct mb_repair *out, struct mb_str file,
    const char *id);
void mb_repair_release(struct mb_repair *r);

/*
 * Judge the journal at `path`, and change nothing: not even a torn tail is
 * cut.  Errors: those of mb_journal_open but for damage.
 */
MB_CHECK int mb_repair_look(struct mb_repair *out, const char *path,
    int flags, struct mb_err *err);

/*
 * The same under all locks; and where it is possible, keep the file as it was
 * under the name *kept (absolute; the caller frees), and replace it, both
 * durable.  *kept is NULL if nothing was changed; that is durable then.  MB_EBUSY: a tool is at
 * work.
 */
MB_CHECK int mb_repair_mend(struct mb_repair *out, char **kept,
    const char *path, int flags, struct mb_err *err);

#endif
