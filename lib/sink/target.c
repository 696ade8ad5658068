#include "sink/sink.h"

#include <stdlib.h>
#include <string.h>

struct kind {
	const char *prefix;
	int (*open)(struct mb_sink **, const char *,
	    const struct mb_sink_options *, struct mb_err *);
	bool writes_text, compresses, merges, has_types;
};

/* An option that the kind of target can't follow is refused, not ignored. */
static int
check_options(const struct kind *k, const struct mb_sink_options *o,
    struct mb_err *err)
{
	const char *option = NULL;

	if (o->format != NULL && !k->writes_text)
		option = "--output";
	else if (o->gzip && !k->compresses)
		option = "--gzip";
	else if (o->n_merge_on > 0 && !k->merges)
		option = "--merge-on";
	else if (o->n_schema > 0 && !k->has_types)
		option = "--schema";
	if (option == NULL)
		return 0;
	return mb_fail(err, MB_EUSAGE, "%s: not for %s", option, k->prefix);
}

int
mb_sink_open(struct mb_sink **out, const char *target,
    const struct mb_sink_options *options, struct mb_err *err)
{
	static const struct kind kinds[] = {
		{ .prefix = "dir:", .open = mb_sink_open_dir,
		    .writes_text = true, .compresses = true },
		{ .prefix = "sqlite:", .open = mb_sink_open_sqlite,
		    .merges = true, .has_types = true },
		{ .prefix = "-", .open = mb_sink_open_stdout,
		    .writes_text = true },
	};

	*out = NULL;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct kind *k = &kinds[i];
		const char *place = target + strlen(k->prefix);

		if (strncmp(target, k->prefix, strlen(k->prefix)) != 0 ||
		    (k->open == mb_sink_open_stdout && *place != '\0'))
			continue;
		if (k->open != mb_sink_open_stdout && *place == '\0')
			return mb_fail(err, MB_EUSAGE, "%s: names no place",
			    target);
		if (check_options(k, options, err) < 0)
			return -1;
		return k->open(out, place, options, err);
	}
	return mb_fail(err, MB_EUSAGE, "%s: not a target (dir:PATH, "
	    "sqlite:FILE#TABLE, or -)", target);
}

void
mb_sink_close(struct mb_sink *s)
{
	char *target, *id;

	if (s == NULL)
		return;
	target = s->target;
	id = s->target_id;
	s->ops->close(s);
	free(target);
	free(id);
}

const char *
mb_sink_target(const struct mb_sink *s)
{
	return s->target;
}

const char *
mb_sink_target_id(const struct mb_sink *s)
{
	return s->target_id;
}

int
mb_sink_lookup(struct mb_sink *s, struct mb_marker *out, struct mb_err *err)
{
	*out = (struct mb_marker){ 0 };
	if (s->ops->lookup(s, out, err) == 0)
		return 0;
	mb_marker_release(out);
	return -1;
}

int
mb_sink_begin(struct mb_sink *s, const struct mb_begin *b, struct mb_err *err)
{
	return s->ops->begin(s, b, err);
}

int
mb_sink_add(struct mb_sink *s, struct mb_str records, uint64_t n,
    struct mb_err *err)
{
	s->adding = n;
	return s->ops->add(s, records, err);
}

int
mb_sink_stage(struct mb_sink *s, uint64_t *rows, struct mb_err *err)
{
	return s->ops->stage(s, rows, err);
}

int
mb_sink_commit(struct mb_sink *s, const struct mb_marker *was,
    const struct mb_marker *now, struct mb_err *err)
{
	return s->ops->commit(s, was, now, err);
}

void
mb_sink_abort(struct mb_sink *s)
{
	s->ops->abort(s);
}
