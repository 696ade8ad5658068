/*
 * commit.h - mb-commit's parts: what they share.
 *
 *	mb-commit.c		the loop: batches come, and are committed
 *	commit_options.c	the options
 */
#ifndef MB_CMD_COMMIT_H
#define MB_CMD_COMMIT_H

#include "common.h"
#include "sink/options.h"

struct config {
	const char *journal, *target;
	struct mb_sink_options sink;
	int64_t retry_us;
	uint64_t park_after;		/* 0: never */
	bool is_plain, has_header, is_ordered, redoes;
	const char *format;
	char delimiter;
	struct mb_common common;
	struct mb_arena arena;		/* what the option lists are in */
};

extern const struct mb_cmd commit_cmd;

/*
 * The command line.  0; 1: it was answered, as by --help; -1.  Whichever it is,
 * cfg's sink and arena are to be released.
 */
MB_CHECK int commit_parse(struct config *cfg, int argc, char **argv,
    struct mb_err *err);

#endif
