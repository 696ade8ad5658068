#include "base/opt.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_OPTS = 64 };

int
mb_opt_next(const struct mb_cmd *cmd, int *argc, char ***argv,
    const char **arg, struct mb_err *err)
{
	struct option longs[MAX_OPTS + 1] = { 0 };
	char shorts[3 * MAX_OPTS + 2] = ":";
	size_t n_longs = 0, n_shorts = 1;
	const char *bad;
	int key;

	for (const struct mb_opt *o = cmd->opts; o->key != 0; o++) {
		if (o->name != NULL && n_longs < MAX_OPTS)
			longs[n_longs++] = (struct option){ o->name,
			    o->arg != NULL, NULL, o->key };
		if (o->key < MB_OPT_LONG) {
			shorts[n_shorts++] = (char)o->key;
			if (o->arg != NULL)
				shorts[n_shorts++] = ':';
		}
	}
	opterr = 0;
	bad = (*argv)[optind];
	key = getopt_long(*argc, *argv, shorts, longs, NULL);
	*arg = optarg;
	if (key == -1) {
		*argc -= optind;
		*argv += optind;
		return 0;
	}
	if (key == ':')
		return mb_fail(err, MB_EUSAGE,
		    "%s: needs an argument (see %s --help)",
		    (*argv)[optind - 1], cmd->name);
	if (key == '?') {
		/* A key of ours comes here only for "--name=argument". */
		for (const struct mb_opt *o = cmd->opts; o->key != 0; o++)
			if (optopt == o->key)
				return mb_fail(err, MB_EUSAGE,
				    "%s: takes no argument",
				    (*argv)[optind - 1]);
		if (optopt > 0 && isprint(optopt))
			return mb_fail(err, MB_EUSAGE,
			    "-%c: no such option (see %s --help)", optopt,
			    cmd->name);
		if (optind > 0 && strncmp((*argv)[optind - 1], "--", 2) == 0)
			bad = (*argv)[optind - 1];
		return mb_fail(err, MB_EUSAGE,
		    "%s: no such option, or not the only one that begins so "
		    "(see %s --help)", bad, cmd->name);
	}
	return key;
}

/* The help text wraps at 80 columns; its column starts here. */
enum { HELP_COLUMN = 26, WIDTH = 79 };

static void
print_wrapped(FILE *out, const char *text, int column)
{
	int at = column;

	while (*text != '\0') {
		size_t word = strcspn(text, " ");

		if (at > column && at + (int)word + 1 > WIDTH) {
			fprintf(out, "\n%*s", column, "");
			at = column;
		} else if (at > column) {
			fputc(' ', out);
			at++;
		}
		fwrite(text, 1, word, out);
		at += (int)word;
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

void
mb_opt_help(const struct mb_cmd *cmd, FILE *out)
{
	char left[80];

	fprintf(out, "usage: %s %s\n", cmd->name, cmd->usage);
	print_wrapped(out, cmd->summary, 0);
	fputc('\n', out);
	for (const struct mb_opt *o = cmd->opts; o->key != 0; o++) {
		const char *arg = o->arg != NULL ? o->arg : "";
		const char *sep = o->arg != NULL ? " " : "";

		if (o->key < MB_OPT_LONG && o->name != NULL)
			snprintf(left, sizeof left, "  -%c, --%s%s%s", o->key,
			    o->name, sep, arg);
		else if (o->key < MB_OPT_LONG)
			snprintf(left, sizeof left, "  -%c%s%s", o->key, sep,
			    arg);
		else
			snprintf(left, sizeof left, "      --%s%s%s", o->name,
			    sep, arg);
		if (strlen(left) > HELP_COLUMN - 2)
			fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
		else
			fprintf(out, "%-*s", HELP_COLUMN, left);
		print_wrapped(out, o->help, HELP_COLUMN);
	}
	fprintf(out, "\nThe manual: man %s; where to start: man mb\n",
	    cmd->name);
}

int
mb_finish(const char *name, struct mb_err *err)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && err->code == MB_OK)
		mb_fail_sys(err, "standard output");
	if (err->code != MB_OK && err->code != MB_EPIPE)
		fprintf(stderr, "%s: %s\n", name, err->msg);
	return mb_exit_status(err->code);
}
