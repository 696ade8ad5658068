#include "sink/deltasmall.h"

#include <stdio.h>
#include <stdlib.h>

#include "delta/fields.h"
#include "delta/files.h"

enum { MAX_LEVEL = 15 };

struct small {
	char *action, *partition;	/* NULL: it has gone */
	size_t len;			/* of the action */
	uint64_t size;
	unsigned level;
};

struct mb_deltasmall {
	char prefix[48];	/* of our tags: "ID/" */
	uint64_t target;
	struct mb_delta_observer observer;
	struct mb_names keys;
	struct small *v;	/* by position in keys */
	size_t cap, n_live;
};

static void
forget(struct mb_deltasmall *s, size_t i)
{
	if (s->v[i].action == NULL)
		return;
	free(s->v[i].action);
	free(s->v[i].partition);
	s->v[i] = (struct small){ 0 };
	s->n_live--;
}

static void
reset(void *arg)
{
	struct mb_deltasmall *s = arg;

	for (size_t i = 0; i < s->keys.n; i++)
		forget(s, i);
	mb_names_reset(&s->keys);
}

static char *
copy(struct mb_str s)
{
	struct mb_buf b = { 0 };

	mb_buf_add(&b, s.p, s.len);
	return mb_buf_take(&b);
}

/*
 * Is it one of ours, and of which level?  A tag that isn't quite as we write
 * it is somebody else's.
 */
static bool
parse_tags(const struct mb_deltasmall *s, struct mb_str object,
    unsigned *level)
{
	struct mb_fields f = { 0 };
	struct mb_buf text = { 0 };
	size_t n = strlen(s->prefix);
	bool ok = false;

	if (mb_fields_set(&f, object) == NULL) {
		if (mb_fields_text(&f, "mb.joined", &text))
			ok = strncmp(mb_buf_str(&text), s->prefix,
			    n) == 0 && sscanf(text.p + n, "%2u", level) == 1 &&
			    *level > 0 && *level <= MAX_LEVEL;
		else if (mb_fields_text(&f, "mb.batch", &text))
			ok = strncmp(mb_buf_str(&text), s->prefix,
			    n) == 0;
	}
	mb_fields_release(&f);
	mb_buf_release(&text);
	return ok;
}

static bool
is_small(const struct mb_deltasmall *s, struct mb_str action,
    struct small *out)
{
	struct mb_fields f = { 0 };
	struct mb_json ignored;
	struct mb_str tags, partition;
	unsigned level = 0;
	int64_t size;
	bool ok = mb_fields_set(&f, action) == NULL &&
	    mb_fields_raw(&f, "tags", '{', &tags) &&
	    mb_fields_raw(&f, "partitionValues", '{', &partition) &&
	    mb_fields_int(&f, "size", &size) && size > 0 &&
	    (uint64_t)size < s->target / 2 &&
	    !mb_fields_get(&f, "deletionVector", &ignored) &&
	    parse_tags(s, tags, &level);

	if (ok)
		*out = (struct small){ .action = copy(action),
			.len = action.len, .partition = copy(partition),
			.size = (uint64_t)size, .level = level };
	mb_fields_release(&f);
	return ok;
}

/* Names that have gone are kept till they are most of them. */
static void
shrink(struct mb_deltasmall *s)
{
	struct mb_names kept = { 0 };
	size_t n = 0;

	if (s->keys.n < 1024 || s->n_live > s->keys.n / 2)
		return;
	for (size_t i = 0; i < s->keys.n; i++)
		if (s->v[i].action != NULL) {
			mb_names_add(&kept, s->keys.v[i]);
			s->v[n++] = s->v[i];
		}
	mb_names_release(&s->keys);
	s->keys = kept;
}

static int
watch(void *arg, struct mb_str line, struct mb_err *err)
{
	struct mb_deltasmall *s = arg;
	struct mb_buf key = { 0 };
	struct mb_str action;
	struct small small;
	bool is_add;
	ssize_t i;
	int rc = mb_delta_file_of_line(line, &action, &is_add, err);

	if (rc <= 0)
		return rc;
	if (mb_delta_file_key(&key, action, err) < 0) {
		mb_buf_release(&key);
		return -1;
	}
	i = mb_names_index(&s->keys, (struct mb_str){ key.p, key.len });
	if (i >= 0)
		forget(s, (size_t)i);
	if (is_add && is_small(s, action, &small)) {
		/* One that was there and is added again comes last. */
		if (i < 0) {
			i = (ssize_t)s->keys.n;
			mb_names_add(&s->keys, (struct mb_str){ key.p,
			    key.len });
		}
		if (s->keys.n > s->cap) {
			s->cap = s->cap * 2 + 64;
			s->v = mb_realloc_array(s->v, s->cap, sizeof *s->v);
		}
		s->v[i] = small;
		s->n_live++;
	} else {
		shrink(s);
	}
	mb_buf_release(&key);
	return 0;
}

void
mb_deltasmall_open(struct mb_deltasmall **out, const char *journal,
    uint64_t target)
{
	struct mb_deltasmall *s = mb_zalloc(sizeof *s);

	s->target = target;
	snprintf(s->prefix, sizeof s->prefix, "%.32s/", journal);
	s->observer = (struct mb_delta_observer){ reset, watch, s };
	*out = s;
}

void
mb_deltasmall_close(struct mb_deltasmall *s)
{
	if (s == NULL)
		return;
	reset(s);
	mb_names_release(&s->keys);
	free(s->v);
	free(s);
}

struct mb_delta_observer *
mb_deltasmall_observer(struct mb_deltasmall *s)
{
	return &s->observer;
}

/* Files of the level and partition of v[first], from there on. */
static size_t
gather(const struct mb_deltasmall *s, size_t first, uint64_t budget,
    struct mb_deltasmall_file *v)
{
	const struct small *head = &s->v[first];
	uint64_t size = 0;
	size_t n = 0;

	for (size_t i = first; i < s->keys.n && n < MB_DELTA_JOIN &&
	    size < s->target; i++) {
		const struct small *f = &s->v[i];

		if (f->action == NULL || f->level != head->level ||
		    strcmp(f->partition, head->partition) != 0)
			continue;
		if (size + f->size > budget)
			return n >= MB_DELTA_JOIN / 4 ? n : 0;
		size += f->size;
		v[n++] = (struct mb_deltasmall_file){
			.action = { f->action, f->len },
			.partition = f->partition, .size = f->size,
			.level = f->level,
		};
	}
	return n == MB_DELTA_JOIN || (n > 1 && size >= s->target) ? n : 0;
}


size_t
mb_deltasmall_choose(const struct mb_deltasmall *s, uint64_t budget,
    struct mb_deltasmall_file *v)
{
	struct mb_names groups = { 0 };
	struct mb_buf key = { 0 };
	size_t n = 0;

	if (s->n_live < 2)
		return 0;
	/* The first of each group is where gathering begins. */
	for (size_t i = 0; n == 0 && i < s->keys.n; i++) {
		const struct small *f = &s->v[i];

		if (f->action == NULL)
			continue;
		mb_buf_reset(&key);
		mb_buf_addf(&key, "%u%s", f->level, f->partition);
		if (mb_names_index(&groups, (struct mb_str){ key.p,
		    key.len }) >= 0)
			continue;
		mb_names_add(&groups, (struct mb_str){ key.p, key.len });
		n = gather(s, i, budget, v);
	}
	mb_names_release(&groups);
	mb_buf_release(&key);
	return n;
}

bool
mb_deltasmall_has(const struct mb_deltasmall *s, struct mb_str action)
{
	struct mb_err ignored = { 0 };
	struct mb_buf key = { 0 };
	ssize_t i = -1;

	if (mb_delta_file_key(&key, action, &ignored) == 0)
		i = mb_names_index(&s->keys, (struct mb_str){ key.p,
		    key.len });
	mb_buf_release(&key);
	return i >= 0 && s->v[i].action != NULL;
}
