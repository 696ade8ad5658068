#include "sink/sink.h"

#include <stdlib.h>
#include <string.h>

int
mb_sink_open(struct mb_sink **out, const char *target,
    const struct mb_sink_options *options, struct mb_err *err)
{
	static const struct {
		const char *kind;
		int (*open)(struct mb_sink **, const char *,
		    const struct mb_sink_options *, struct mb_err *);
	} kinds[] = {
		{ "dir:", mb_sink_open_dir },
		{ "sqlite:", mb_sink_open_sqlite },
	};

	*out = NULL;
	if (strcmp(target, "-") == 0)
		return mb_sink_open_stdout(out, options, err);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		size_t len = strlen(kinds[i].kind);

		if (strncmp(target, kinds[i].kind, len) != 0)
			continue;
		if (target[len] == '\0')
			return mb_fail(err, MB_EUSAGE, "%s: names no place",
			    target);
		return kinds[i].open(out, target + len, options, err);
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
