#include "source/known.h"

#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

enum { FAMILY = 16 };

/*
 * Generations that began under a rotated name, by the name before rotation:
 * app.log.1 may turn up as app.log.2.gz.  The newest few.
 */
struct family {
	uint64_t hash;
	size_t n;		/* so many were added; 0: free */
	uint64_t ids[FAMILY];
};

/* Ids by inode number: open addressing; several may have the same. */
struct mb_known {
	struct mb_journal *journal;
	struct slot {
		uint64_t ino, id;	/* id MB_NONE: free */
	} *slots;
	size_t n, cap;
	struct family *families;	/* open addressing */
	size_t n_families, cap_families;
};

/* The family of a path; 0: none. */
static uint64_t
family_hash(const char *path)
{
	const char *name = mb_base_name(path);
	size_t len = mb_rotated_base(name);

	return len == 0 ? 0 : mb_hash64(path, (size_t)(name - path) + len, 0)
	    | 1;
}

static struct family *
family_of(struct mb_known *k, uint64_t hash)
{
	size_t i = (size_t)(hash >> 1) & (k->cap_families - 1);

	while (k->families[i].n > 0 && k->families[i].hash != hash)
		i = (i + 1) & (k->cap_families - 1);
	return &k->families[i];
}

static void
add_family(struct mb_known *k, const struct mb_generation *g)
{
	uint64_t hash = family_hash(g->source);
	struct family *f, *old = k->families;
	size_t cap = k->cap_families;

	if (hash == 0)
		return;
	if (2 * (k->n_families + 1) > cap) {
		k->cap_families = cap == 0 ? 16 : 2 * cap;
		k->families = mb_zalloc(k->cap_families * sizeof *old);
		for (size_t i = 0; i < cap; i++)
			if (old[i].n > 0)
				*family_of(k, old[i].hash) = old[i];
		free(old);
	}
	f = family_of(k, hash);
	k->n_families += f->n == 0;
	f->hash = hash;
	f->ids[f->n++ % FAMILY] = g->id;
}

static size_t
start(const struct mb_known *k, uint64_t ino)
{
	return (size_t)mb_hash64(&ino, sizeof ino, 0) & (k->cap - 1);
}

static void
insert(struct mb_known *k, uint64_t ino, uint64_t id)
{
	size_t i = start(k, ino);

	while (k->slots[i].id != MB_NONE)
		i = (i + 1) & (k->cap - 1);
	k->slots[i] = (struct slot){ ino, id };
	k->n++;
}

/* Anew, with what is still in the state. */
static void
rebuild(struct mb_known *k)
{
	const struct mb_state *s = mb_journal_state(k->journal);

	k->cap = 64;
	while (4 * k->cap < 5 * (s->n_generations + 2))
		k->cap *= 2;
	k->slots = mb_realloc_array(k->slots, k->cap, sizeof *k->slots);
	for (size_t i = 0; i < k->cap; i++)
		k->slots[i].id = MB_NONE;
	k->n = 0;
	for (size_t i = 0; i < s->n_generations; i++)
		if (s->generations[i].spool == MB_NONE)
			insert(k, s->generations[i].ino,
			    s->generations[i].id);
}

struct mb_known *
mb_known_open(struct mb_journal *j)
{
	const struct mb_state *s = mb_journal_state(j);
	struct mb_known *k = mb_alloc(sizeof *k);

	*k = (struct mb_known){ .journal = j };
	rebuild(k);
	for (size_t i = 0; i < s->n_generations; i++)
		if (s->generations[i].spool == MB_NONE)
			add_family(k, &s->generations[i]);
	return k;
}

void
mb_known_close(struct mb_known *k)
{
	if (k == NULL)
		return;
	free(k->slots);
	free(k->families);
	free(k);
}

void
mb_known_add(struct mb_known *k, const struct mb_generation *g)
{
	add_family(k, g);
	if (5 * (k->n + 1) > 4 * k->cap)
		rebuild(k);	/* it has g already */
	else
		insert(k, g->ino, g->id);
}

struct match {
	struct mb_known *known;
	const struct mb_located *file;
	int64_t now_ns;
	const struct mb_generation *found, *perhaps;
	bool was_hidden;
	struct mb_buf *why;
};

/*
 * cp and gzip are seen in the middle: it begins as the generation does, and is
 * shorter.  If it stays so, it is something else.  Less than 4 KiB they write
 * at once.
 */
static bool
is_being_copied(const struct match *m, const struct mb_generation *g)
{
	int64_t age_ns = m->now_ns - mb_look_latest_ns(&m->file->look);
	struct mb_err ignored = { 0 };
	struct mb_hash head, tail;

	return age_ns < (int64_t)MB_COPYING_S * 1000000000 &&
	    g->anchored >= MB_ANCHOR &&
	    mb_content_reaches(m->file->content, g->end, &ignored) == 0 &&
	    mb_content_anchors(m->file->content, MB_ANCHOR, &head, &tail,
	    &ignored) > 0 &&
	    strcmp(head.hex, mb_hash_unpack(&g->head).hex) == 0;
}

static bool
try_generation(struct match *m, const struct mb_generation *g,
    enum mb_place place)
{
	struct mb_sought what = mb_sought_generation(g);
	enum mb_identity is = mb_locate_judge(&what, m->file, place, m->why);

	if (is == MB_IDENTITY_SAME)
		m->found = g;
	if (is == MB_IDENTITY_PERHAPS && m->perhaps == NULL)
		m->perhaps = g;
	if (is == MB_IDENTITY_OTHER && place == MB_PLACE_SIBLING &&
	    is_being_copied(m, g)) {
		is = MB_IDENTITY_UNSURE;
		mb_buf_reset(m->why);
		mb_show(m->why, mb_str(m->file->path));
		mb_buf_adds(m->why, ": a copy in the making?");
	}
	m->was_hidden |= is == MB_IDENTITY_UNSURE;
	return m->found != NULL;
}

/* All of one source, the newest first. */
static int
try_source(struct match *m, const char *source, enum mb_place place)
{
	const struct mb_state *s = mb_journal_state(m->known->journal);
	const struct mb_generation *g = mb_state_newest(s, source);

	for (; g != NULL; g = mb_state_elder(s, g))
		if (!g->is_forgotten && try_generation(m, g, place))
			return 1;
	return 0;
}

static void
try_family(struct match *m, const char *path)
{
	const struct mb_state *s = mb_journal_state(m->known->journal);
	uint64_t hash = family_hash(path);
	const struct family *f;

	if (hash == 0 || m->known->cap_families == 0)
		return;
	f = family_of(m->known, hash);
	for (size_t i = 0; i < f->n && i < FAMILY && m->found == NULL; i++) {
		const struct mb_generation *g = mb_state_generation(s,
		    f->ids[(f->n - 1 - i) % FAMILY]);

		if (g != NULL && !g->is_forgotten)
			(void)try_generation(m, g, MB_PLACE_SIBLING);
	}
}

static int
try_base(void *arg, const char *base)
{
	return try_source(arg, base, MB_PLACE_SIBLING);
}

int
mb_known_bases(const char *path, int (*each)(void *arg, const char *base),
    void *arg)
{
	char *base = mb_strdup(path);
	size_t first = (size_t)(mb_base_name(base) - base) + 1;
	int rc = 0;

	for (size_t i = strlen(base); rc == 0 && i-- > first; )
		if ((base[i] == '.' || base[i] == '-') && path[i + 1] != '\0') {
			base[i] = '\0';
			rc = each(arg, base);
		}
	free(base);
	return rc;
}

/*
 * A few equal bytes, and a name that rotation could have given: it is that
 * generation only if no other file is.  A compressed one may stand beside its
 * original.
 */
static bool
is_nowhere_else(const struct match *m, const struct mb_generation *g)
{
	struct mb_sought what = mb_sought_generation(g);
	struct mb_located l;
	bool is;

	if (mb_locate(&l, m->known->journal, &what, false, m->why) !=
	    MB_LOCATE_FOUND)
		return true;
	is = mb_inode_equal(&l.look.inode, &m->file->look.inode);
	mb_located_release(&l);
	return is;
}

int
mb_known_find(struct mb_known *k, const char *path,
    const struct mb_located *l, int64_t now_ns,
    const struct mb_generation **out, struct mb_buf *why)
{
	const struct mb_state *s = mb_journal_state(k->journal);
	struct match m = {
		.known = k, .file = l, .why = why, .now_ns = now_ns
	};
	uint64_t ino = l->look.inode.ino;

	*out = NULL;
	(void)try_source(&m, path, MB_PLACE_NAME);
	for (size_t i = start(k, ino); m.found == NULL &&
	    k->slots[i].id != MB_NONE; i = (i + 1) & (k->cap - 1)) {
		const struct mb_generation *g;

		if (k->slots[i].ino != ino)
			continue;
		g = mb_state_generation(s, k->slots[i].id);
		if (g != NULL && !g->is_forgotten)
			(void)try_generation(&m, g, MB_PLACE_ELSEWHERE);
	}
	if (m.found == NULL)
		(void)mb_known_bases(path, try_base, &m);
	if (m.found == NULL)
		try_family(&m, path);
	*out = m.found;
	if (m.found == NULL && m.perhaps != NULL && !m.was_hidden &&
	    (!mb_content_is_plain(l->content) ||
	    is_nowhere_else(&m, m.perhaps)))
		*out = m.perhaps;
	return *out != NULL ? 1 : m.was_hidden ? -1 : 0;
}
