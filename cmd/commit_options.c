#include "commit.h"

#include "base/parse.h"
#include "record/format.h"

enum {
	KEY_GZIP = MB_OPT_LONG, KEY_MERGE_ON, KEY_MERGE, KEY_SCHEMA,
	KEY_ON_BAD, KEY_RETRY_FOR, KEY_PLAIN, KEY_NEW_TARGET, KEY_NULL,
	KEY_NO_HEADER, KEY_PARK_AFTER, KEY_ORDERED, KEY_REDO,
	KEY_DELETE_WHEN, KEY_CODEC, KEY_PARTITION_BY, KEY_EVOLVE,
	KEY_COMPACT_TO, KEY_VACUUM, KEY_DRY_RUN,
};

static const struct mb_opt opts[] = {
	{ 'j', "journal", "FILE", "the journal (default $MB_JOURNAL, else the "
	    "frames')" },
	{ 'o', "output", "FORMAT", "csv, tsv, ndjson or lines, for dir: and - "
	    "(default: as it comes)" },
	{ KEY_GZIP, "gzip", NULL, "compress the files of dir:" },
	{ KEY_MERGE_ON, "merge-on", "FIELDS", "update rows with these keys, "
	    "insert new ones; null equals null (sqlite:)" },
	{ KEY_MERGE, "merge", "COL:HOW,...", "replace, sum, min, max or keep "
	    "(default replace)" },
	{ KEY_DELETE_WHEN, "delete-when", "EXPR", "rows of a merge that delete "
	    "their key, as in mb-agg --where (sqlite:)" },
	{ KEY_PARTITION_BY, "partition-by", "FIELDS", "a directory for each "
	    "value of these fields (dir:, delta:)" },
	{ KEY_SCHEMA, "schema", "COL:TYPE,...", "types of a table that is made "
	    "(default: inferred from the first batch)" },
	{ KEY_EVOLVE, "evolve", NULL, "add the batch's new columns to a table "
	    "that is there (delta:)" },
	{ KEY_CODEC, "codec", "CODEC", "zstd, gzip, snappy or none, for the "
	    "files of delta: (default: the table's, else zstd)" },
	{ KEY_COMPACT_TO, "compact-to", "SIZE", "join small files of this "
	    "pipeline up to about SIZE (delta:)" },
	{ KEY_VACUUM, "vacuum", NULL, "remove files and log that no version "
	    "needs any more (delta:)" },
	{ KEY_ON_BAD, "on-bad", "reject|skip|fail", "records that don't fit "
	    "(default reject)" },
	{ KEY_NULL, "null", "TEXT", "a field that is TEXT is null; may be "
	    "repeated" },
	{ KEY_RETRY_FOR, "retry-for", "TIME", "try again, with back-off, while "
	    "that can help (default 30s)" },
	{ KEY_PLAIN, "plain", NULL, "take a stream without frames: one batch, "
	    "at-least-once" },
	{ 'F', "format", "FORMAT", "of a plain stream: csv, tsv, ndjson, "
	    "lines" },
	{ 'd', "delimiter", "CHAR", "of a plain csv stream (default ,)" },
	{ KEY_NO_HEADER, "no-header", NULL, "a plain csv or tsv stream has no "
	    "header" },
	{ KEY_NEW_TARGET, "new-target", NULL, "go on although the target isn't "
	    "the one, or lacks what, the journal knows" },
	{ KEY_PARK_AFTER, "park-after", "N", "set a batch aside when it has "
	    "failed N times, and go on (default: stop)" },
	{ KEY_ORDERED, "ordered", NULL, "commit in order: a batch that fails "
	    "or is parked holds up the later ones, as always with --merge-on" },
	{ KEY_REDO, "redo", NULL, "write replayed batches again: put back what "
	    "the target lacks, replace what it has" },
	{ KEY_DRY_RUN, "dry-run", NULL, "say what would be done with each "
	    "batch, and write nothing (delta:)" },
	MB_OPT_COMMON,
	{ 0 }
};

const struct mb_cmd commit_cmd = {
	.name = "mb-commit",
	.usage = "[options] TARGET",
	.summary = "Commit each batch to dir:PATH, sqlite:FILE#TABLE, "
	    "delta:PATH or - (standard output), atomically and exactly once.",
	.opts = opts,
};

static int
take_option(void *to, int key, const char *arg, struct mb_err *err)
{
	struct config *cfg = to;
	enum mb_format format;

	switch (key) {
	case 'j':
		cfg->journal = arg;
		break;
	case 'o':
		if (mb_format_parse(&format, arg, err) < 0)
			return mb_wrap(err, "--output");
		cfg->sink.format = arg;
		break;
	case KEY_GZIP:
		cfg->sink.gzip = true;
		break;
	case KEY_MERGE_ON:
		if (mb_sink_parse_merge_on(&cfg->sink, &cfg->arena, arg,
		    err) < 0)
			return mb_wrap(err, "--merge-on");
		break;
	case KEY_MERGE:
		if (mb_sink_parse_merge(&cfg->sink, &cfg->arena, arg, err) < 0)
			return mb_wrap(err, "--merge");
		break;
	case KEY_DELETE_WHEN:
		cfg->sink.delete_when = arg;
		break;
	case KEY_PARTITION_BY:
		if (mb_sink_parse_partition_by(&cfg->sink, &cfg->arena, arg,
		    err) < 0)
			return mb_wrap(err, "--partition-by");
		break;
	case KEY_SCHEMA:
		if (mb_sink_parse_schema(&cfg->sink, &cfg->arena, arg, err) < 0)
			return mb_wrap(err, "--schema");
		break;
	case KEY_EVOLVE:
		cfg->sink.evolves = true;
		break;
	case KEY_CODEC:
		cfg->sink.codec = arg;
		break;
	case KEY_COMPACT_TO:
		if (mb_parse_size(&cfg->sink.compact_to, arg, err) < 0)
			return mb_wrap(err, "--compact-to");
		break;
	case KEY_VACUUM:
		cfg->sink.vacuums = true;
		break;
	case KEY_DRY_RUN:
		cfg->sink.is_dry = true;
		break;
	case KEY_ON_BAD:
		if (mb_sink_parse_on_bad(&cfg->sink.on_bad, arg, err) < 0)
			return mb_wrap(err, "--on-bad");
		break;
	case KEY_NULL:
		mb_sink_add_null(&cfg->sink, arg);
		break;
	case KEY_RETRY_FOR:
		if (mb_parse_duration(&cfg->retry_us, arg, err) < 0)
			return mb_wrap(err, "--retry-for");
		break;
	case KEY_PLAIN:
		cfg->is_plain = true;
		break;
	case 'F':
		if (mb_format_parse(&format, arg, err) < 0)
			return mb_wrap(err, "--format");
		cfg->format = arg;
		break;
	case 'd':
		if (mb_delimiter_parse(&cfg->delimiter, arg, err) < 0)
			return mb_wrap(err, "--delimiter");
		break;
	case KEY_NO_HEADER:
		cfg->has_header = false;
		break;
	case KEY_NEW_TARGET:
		cfg->sink.accepts_new = true;
		break;
	case KEY_PARK_AFTER:
		if (mb_parse_count(&cfg->park_after, arg, err) < 0)
			return mb_wrap(err, "--park-after");
		if (cfg->park_after == 0)
			return mb_fail(err, MB_EUSAGE, "--park-after: 0 would "
			    "park what was never tried");
		break;
	case KEY_ORDERED:
		cfg->is_ordered = true;
		break;
	case KEY_REDO:
		cfg->redoes = true;
		break;
	default:
		return 1;
	}
	return 0;
}

int
commit_parse(struct config *cfg, int argc, char **argv, struct mb_err *err)
{
	int rc;

	*cfg = (struct config){ .retry_us = 30000000, .has_header = true };
	rc = mb_common_options(&cfg->common, &commit_cmd, &argc, &argv,
	    take_option, cfg, err);
	if (rc != 0)
		return rc;
	if (argc != 1)
		return mb_fail(err, MB_EUSAGE, argc == 0 ? "no TARGET: give "
		    "dir:PATH, sqlite:FILE#TABLE, delta:PATH or -" :
		    "more than one TARGET");
	if (cfg->sink.n_merge > 0 && cfg->sink.n_merge_on == 0)
		return mb_fail(err, MB_EUSAGE, "--merge: needs --merge-on");
	if (cfg->sink.delete_when != NULL && cfg->sink.n_merge_on == 0)
		return mb_fail(err, MB_EUSAGE,
		    "--delete-when: needs --merge-on");
	cfg->target = argv[0];
	return mb_sink_check(cfg->target, &cfg->sink, err);
}
