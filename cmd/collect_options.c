#include "collect.h"

#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "record/split.h"

enum {
	KEY_MAX_BYTES = MB_OPT_LONG, KEY_MAX_RECORDS, KEY_ONCE, KEY_FINAL,
	KEY_RECORD_LIMIT, KEY_STDIN, KEY_RETAIN, KEY_WAIT, KEY_SHARED,
	KEY_NO_HEADER, KEY_TIMEOUT, KEY_MAX_RETRIES, KEY_PARK_AFTER,
	KEY_ROTATE_WAIT, KEY_PIN, KEY_STRICT, KEY_ADOPT,
};

/*
 * A batch of the default --max-bytes, and something of the next one, which is
 * read while the reader is slow.
 */
enum { KEEP = 80 << 20 };

static const struct mb_opt opts[] = {
	{ 'j', "journal", "FILE", "the journal (default $MB_JOURNAL)" },
	{ 'f', "follow", NULL, "go on as the files grow; wait for a FILE that "
	    "is not there yet" },
	{ 'i', "interval", "TIME", "cut a batch every TIME; 0: as soon as "
	    "there is something (default 2s)" },
	{ KEY_MAX_BYTES, "max-bytes", "SIZE", "cut earlier, at SIZE (default "
	    "64M)" },
	{ KEY_MAX_RECORDS, "max-records", "N", "cut earlier, at N records" },
	{ KEY_ONCE, "once", NULL, "what is uncommitted, then at most one new "
	    "batch" },
	{ KEY_FINAL, "final", NULL, "a last line without newline counts" },
	{ 'F', "format", "FORMAT", "csv, tsv, ndjson or lines (default: by "
	    "name, then by content)" },
	{ 'd', "delimiter", "CHAR", "between the fields of csv (default ,)" },
	{ KEY_NO_HEADER, "no-header", NULL, "csv and tsv begin without a "
	    "header; fields are 1, 2, 3 ..." },
	{ KEY_RECORD_LIMIT, "record-limit", "SIZE", "reject longer records "
	    "(default 16M)" },
	{ KEY_STDIN, "stdin", "more|again", "a pipe continues, or repeats "
	    "everything: verify and skip (default more)" },
	{ KEY_RETAIN, "retain", "N", "committed batches kept in the journal; "
	    "off: all (default 10000)" },
	{ KEY_WAIT, "wait", "TIME", "for another live mb-collect (default "
	    "2s)" },
	{ KEY_TIMEOUT, "timeout", "TIME", "end a CMD that takes longer; 0: "
	    "never (default 0)" },
	{ KEY_MAX_RETRIES, "max-retries", "N", "run a CMD that fails so often "
	    "again, then stop (default 3)" },
	{ KEY_PARK_AFTER, "park-after", "N", "park a batch that CMD has failed "
	    "N times, and go on; 0: never (default 0)" },
	{ KEY_ROTATE_WAIT, "rotate-wait", "TIME", "how long a file that was "
	    "rotated away may be silent before it is final (default 5s)" },
	{ KEY_PIN, "pin", NULL, "link files into FILE.d/pins, so that "
	    "deleting them loses nothing" },
	{ KEY_STRICT, "strict", NULL, "stop where bytes are lost" },
	{ KEY_ADOPT, "adopt", "TARGET", "the journal was lost: make it from "
	    "what TARGET knows of it" },
	{ KEY_SHARED, "shared", NULL, "insist on a journal on a network file "
	    "system" },
	MB_OPT_COMMON,
	{ 0 }
};

const struct mb_cmd collect_cmd = {
	.name = "mb-collect",
	.usage = "-j FILE [options] [FILE ...] [-- CMD ARG ...]",
	.summary = "Cut records into batches, log the exact range of each in "
	    "the journal, and write them as frames, or run CMD for each.",
	.opts = opts,
};

static int
take_option(void *to, int key, const char *arg, struct mb_err *err)
{
	struct config *cfg = to;

	switch (key) {
	case 'j':
		cfg->journal = arg;
		break;
	case 'f':
		cfg->follow.follows = true;
		break;
	case 'i':
		if (mb_parse_duration(&cfg->interval_us, arg, err) < 0)
			return mb_wrap(err, "--interval");
		break;
	case KEY_MAX_BYTES:
		if (mb_parse_size(&cfg->cut.max_bytes, arg, err) < 0)
			return mb_wrap(err, "--max-bytes");
		if (cfg->cut.max_bytes == 0)
			return mb_fail(err, MB_EUSAGE,
			    "--max-bytes: 0 would cut nothing");
		break;
	case KEY_MAX_RECORDS:
		if (mb_parse_count(&cfg->cut.max_records, arg, err) < 0)
			return mb_wrap(err, "--max-records");
		if (cfg->cut.max_records == 0)
			return mb_fail(err, MB_EUSAGE,
			    "--max-records: 0 would cut nothing");
		break;
	case KEY_ONCE:
		cfg->once = true;
		break;
	case KEY_FINAL:
		cfg->follow.is_final = true;
		break;
	case 'F':
		if (mb_format_parse(&(enum mb_format){ 0 }, arg, err) < 0)
			return mb_wrap(err, "--format");
		cfg->cut.format = arg;
		break;
	case 'd':
		if (mb_delimiter_parse(&cfg->cut.delimiter, arg, err) < 0)
			return mb_wrap(err, "--delimiter");
		break;
	case KEY_NO_HEADER:
		cfg->cut.has_header = false;
		break;
	case KEY_RECORD_LIMIT:
		if (mb_parse_size(&cfg->cut.record_limit, arg, err) < 0)
			return mb_wrap(err, "--record-limit");
		if (cfg->cut.record_limit == 0)
			return mb_fail(err, MB_EUSAGE,
			    "--record-limit: 0 would reject all");
		break;
	case KEY_STDIN:
		if (strcmp(arg, "more") != 0 && strcmp(arg, "again") != 0)
			return mb_fail(err, MB_EUSAGE,
			    "--stdin: more or again, not \"%s\"", arg);
		cfg->again = arg[0] == 'a';
		break;
	case KEY_RETAIN:
		if (strcmp(arg, "off") == 0)
			cfg->retain = MB_NONE;
		else if (mb_parse_count(&cfg->retain, arg, err) < 0)
			return mb_wrap(err, "--retain");
		break;
	case KEY_WAIT:
		if (mb_parse_duration(&cfg->wait_us, arg, err) < 0)
			return mb_wrap(err, "--wait");
		break;
	case KEY_ROTATE_WAIT:
		if (mb_parse_duration(&cfg->follow.rotate_wait_us, arg,
		    err) < 0)
			return mb_wrap(err, "--rotate-wait");
		break;
	case KEY_PIN:
		cfg->follow.pins = true;
		break;
	case KEY_STRICT:
		cfg->follow.is_strict = true;
		break;
	case KEY_ADOPT:
		cfg->adopt = arg;
		break;
	case KEY_SHARED:
		cfg->is_shared = true;
		break;
	case KEY_TIMEOUT:
		cfg->command_option = "--timeout";
		if (mb_parse_duration(&cfg->timeout_us, arg, err) < 0)
			return mb_wrap(err, "--timeout");
		break;
	case KEY_MAX_RETRIES:
		cfg->command_option = "--max-retries";
		if (mb_parse_count(&cfg->max_retries, arg, err) < 0)
			return mb_wrap(err, "--max-retries");
		break;
	case KEY_PARK_AFTER:
		cfg->command_option = "--park-after";
		if (mb_parse_count(&cfg->park_after, arg, err) < 0)
			return mb_wrap(err, "--park-after");
		break;
	default:
		return 1;
	}
	return 0;
}

int
collect_parse(struct config *cfg, int argc, char **argv, struct mb_err *err)
{
	int rc;

	*cfg = (struct config){
		.interval_us = 2000000, .wait_us = 2000000, .retain = 10000,
		.max_retries = 3,
		.follow = { .rotate_wait_us = 5000000 },
		.cut = {
			.max_bytes = 64 << 20, .has_header = true,
			.record_limit = MB_RECORD_LIMIT, .keep = KEEP,
		},
	};
	/* What is behind belongs to CMD, whatever it looks like. */
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--") == 0) {
			if (argv[i + 1] == NULL)
				return mb_fail(err, MB_EUSAGE,
				    "--: no command behind it");
			cfg->command = argv + i + 1;
			argv[i] = NULL;
			argc = i;
		}
	rc = mb_common_options(&cfg->common, &collect_cmd, &argc, &argv,
	    take_option, cfg, err);
	if (rc != 0)
		return rc;
	if (cfg->command == NULL && cfg->command_option != NULL)
		return mb_fail(err, MB_EUSAGE, "%s: needs -- CMD",
		    cfg->command_option);
	cfg->files = argv;
	cfg->n_files = argc;
	cfg->journal = mb_journal_choose(cfg->journal, getenv("MB_JOURNAL"),
	    NULL);
	if (cfg->journal == NULL)
		return mb_fail(err, MB_EUSAGE,
		    "no journal: give -j FILE or set MB_JOURNAL");
	return 0;
}
