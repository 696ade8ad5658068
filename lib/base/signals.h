/*
 * signals.h - SIGINT and SIGTERM ask for an orderly end; the second one ends
 * at once, as by the system's default.  SIGPIPE is an error of write, EPIPE.
 */
#ifndef MB_BASE_SIGNALS_H
#define MB_BASE_SIGNALS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Install the handlers; once, from main. */
MB_CHECK int mb_signals_open(struct mb_err *err);

/*
 * The second one is sent to this process group, too, before it ends us; 0:
 * there is none.
 */
void mb_signals_lead(pid_t group);

/* How many have come. */
int mb_signal_count(void);

/* Readable once one has come: for poll, so that none is missed. */
int mb_signal_fd(void);

/* Has the reader of this pipe or socket gone? */
bool mb_reader_has_gone(int fd);

#endif
