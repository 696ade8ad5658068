/*
 * opt.h - one option table feeds getopt_long, --help and the test that holds
 * the help to the manual.
 *
 * Every tool has -h, -V, -v and --progress; list them with MB_OPT_COMMON.
 */
#ifndef MB_BASE_OPT_H
#define MB_BASE_OPT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

struct mb_opt {
	int key;		/* the letter, or a value from MB_OPT_LONG up */
	const char *name;	/* the long name; NULL: only the letter */
	const char *arg;	/* what --help calls the argument; NULL: none */
	const char *help;
};

enum { MB_OPT_LONG = 256, MB_OPT_PROGRESS = 1000 };

#define MB_OPT_COMMON \
	{ 'v', NULL, NULL, "show progress, redrawn in place on a terminal" }, \
	{ MB_OPT_PROGRESS, "progress", "json", \
	    "one JSON object per batch on standard error" }, \
	{ 'h', "help", NULL, "print this help" }, \
	{ 'V', "version", NULL, "print the version" }

struct mb_cmd {
	const char *name;	/* "mb-collect" */
	const char *usage;	/* what follows the name, a line each */
	const char *summary;	/* one sentence */
	const struct mb_opt *opts;	/* ends with { 0 } */
};

/*
 * The next option: its key, with *arg set (NULL if it takes none); 0 at the
 * end, and then *argc and *argv hold the operands; -1 with MB_EUSAGE.  An
 * option after an operand is found too; "--" ends the options.
 */
MB_CHECK int mb_opt_next(const struct mb_cmd *cmd, int *argc, char ***argv,
    const char **arg, struct mb_err *err);

void mb_opt_help(const struct mb_cmd *cmd, FILE *out);

/*
 * Print the error, if there is one, as "name: message" on standard error,
 * flush standard output and check it, and return the exit status.  A reader
 * that has gone is reported by the status alone.
 */
int mb_finish(const char *name, struct mb_err *err);

#define MB_VERSION "0.1.0"

#endif
