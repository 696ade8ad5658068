#include "replay.h"

#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

enum {
	KEY_JSON = MB_OPT_LONG, KEY_FAILED, KEY_SHOW, KEY_VERIFY, KEY_PLAIN,
	KEY_SHARED, KEY_PARK, KEY_UNPARK, KEY_REQUEUE, KEY_PRUNE,
	KEY_REPAIR, KEY_YES,
};

static const struct mb_opt opts[] = {
	{ 'j', "journal", "FILE", "the journal (default $MB_JOURNAL)" },
	{ KEY_JSON, "json", NULL, "the table of batches as JSON, one object a "
	    "line" },
	{ KEY_FAILED, "failed", NULL, "replay the failed and parked batches" },
	{ KEY_SHOW, "show", "N", "everything the journal knows of batch N" },
	{ KEY_VERIFY, "verify", NULL, "per batch: ok, differs or gone" },
	{ KEY_PARK, "park", "N", "set batch N, or N-M, aside" },
	{ KEY_UNPARK, "unpark", "N", "send batch N, or N-M, that is parked with "
	    "the next start again" },
	{ KEY_REQUEUE, "requeue", "N", "put what is left of batch N, or N-M, "
	    "that is parked under a new number" },
	{ KEY_PLAIN, "plain", NULL, "records without frames" },
	{ KEY_PRUNE, "prune", NULL, "drop from the journal what is settled, "
	    "now" },
	{ KEY_REPAIR, "repair", NULL, "explain what is wrong with the "
	    "journal, and what can be done" },
	{ KEY_YES, "yes", NULL, "with --repair: do it" },
	{ KEY_SHARED, "shared", NULL, "insist on a journal on a network file "
	    "system" },
	MB_OPT_COMMON,
	{ 0 }
};

const struct mb_cmd replay_cmd = {
	.name = "mb-replay",
	.usage = "-j FILE [options] [N | N-M ...]",
	.summary = "List the batches of a journal; with numbers, write them "
	    "as frames again, for mb-agg and mb-commit.",
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
	case KEY_JSON:
		cfg->json = true;
		break;
	case KEY_FAILED:
		cfg->failed = true;
		break;
	case KEY_SHOW:
		cfg->show = arg;
		break;
	case KEY_VERIFY:
		cfg->verify = true;
		break;
	case KEY_PARK:
	case KEY_UNPARK:
	case KEY_REQUEUE:
		if (cfg->verb != NO_VERB)
			return mb_fail(err, MB_EUSAGE, "--park, --unpark, "
			    "--requeue: one at a time");
		cfg->verb = PARK + (enum verb)(key - KEY_PARK);
		cfg->verb_arg = arg;
		break;
	case KEY_PLAIN:
		cfg->is_plain = true;
		break;
	case KEY_PRUNE:
		cfg->prunes = true;
		break;
	case KEY_REPAIR:
		cfg->repairs = true;
		break;
	case KEY_YES:
		cfg->says_yes = true;
		break;
	case KEY_SHARED:
		cfg->is_shared = true;
		break;
	default:
		return 1;
	}
	return 0;
}

int
replay_parse(struct config *cfg, int argc, char **argv, struct mb_err *err)
{
	int rc;

	*cfg = (struct config){ 0 };
	rc = mb_common_options(&cfg->common, &replay_cmd, &argc, &argv,
	    take_option, cfg, err);
	if (rc != 0)
		return rc;
	cfg->numbers = argv;
	cfg->n_numbers = argc;
	if (cfg->failed && argc > 0)
		return mb_fail(err, MB_EUSAGE,
		    "--failed: takes no batch numbers");
	if (cfg->json && (argc > 0 || cfg->failed || cfg->verify))
		return mb_fail(err, MB_EUSAGE, "--json: is for the table, and "
		    "for --show");
	if (cfg->show != NULL && (argc > 0 || cfg->failed || cfg->verify))
		return mb_fail(err, MB_EUSAGE, "--show: one batch, alone");
	if (cfg->verb != NO_VERB && (argc > 0 || cfg->failed || cfg->verify ||
	    cfg->json || cfg->show != NULL))
		return mb_fail(err, MB_EUSAGE, "--park, --unpark, --requeue: "
		    "alone, with one batch or range");
	if (cfg->prunes && (argc > 0 || cfg->failed || cfg->verify ||
	    cfg->json || cfg->show != NULL || cfg->verb != NO_VERB))
		return mb_fail(err, MB_EUSAGE, "--prune: alone");
	if (cfg->repairs && (argc > 0 || cfg->failed || cfg->verify ||
	    cfg->json || cfg->show != NULL || cfg->verb != NO_VERB ||
	    cfg->prunes))
		return mb_fail(err, MB_EUSAGE, "--repair: alone, or with "
		    "--yes");
	if (cfg->says_yes && !cfg->repairs)
		return mb_fail(err, MB_EUSAGE, "--yes: is for --repair");
	cfg->journal = mb_journal_choose(cfg->journal, getenv("MB_JOURNAL"),
	    NULL);
	if (cfg->journal == NULL)
		return mb_fail(err, MB_EUSAGE,
		    "no journal: give -j FILE or set MB_JOURNAL");
	return 0;
}

int
replay_parse_range(const char *text, uint64_t *from, uint64_t *to,
    struct mb_err *err)
{
	struct mb_err ignored = { 0 };
	char copy[64], *dash;

	if (strlen(text) < sizeof copy) {
		memcpy(copy, text, strlen(text) + 1);
		dash = strchr(copy, '-');
		if (dash != NULL)
			*dash = '\0';
		if (mb_parse_count(from, copy, &ignored) == 0 &&
		    mb_parse_count(to, dash != NULL ? dash + 1 : copy,
		    &ignored) == 0 && *from <= *to)
			return 0;
	}
	return mb_fail(err, MB_EUSAGE,
	    "not a batch number or a range of them: \"%s\"", text);
}
