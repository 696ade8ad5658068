#include "agg/group_parts.h"

#include <stdlib.h>

#include "agg/accum.h"
#include "agg/crew.h"

/* Fewer groups are united before a thread has begun. */
enum { MANY = 64 * 1024 };

struct uniting {
	struct mb_groups *const *parts;
	size_t n_parts;
	struct mb_keys **tables;	/* of the parts */
	unsigned n_shares;		/* at most n_parts */
	size_t *n_gone;			/* by share */
};

struct share {
	const struct uniting *u;
	struct mb_arena *arena;
};

static void
unite_states(void *context, struct mb_group_ref stays,
    struct mb_group_ref goes)
{
	const struct share *share = context;
	const struct mb_groups *to = share->u->parts[stays.table];
	const struct mb_groups *from = share->u->parts[goes.table];
	struct mb_group_key *group = mb_keys_group(to->keys, stays.number);
	struct mb_group_key *other = mb_keys_group(from->keys, goes.number);

	for (size_t i = 0; i < to->q->n_slots; i++)
		mb_accum_merge(to->q->slots[i].kind, state_of(to, group, i),
		    state_of(from, other, i), share->arena);
}

/* Runs in a thread of its own, whose states are in the arena of a part. */
static void
unite_share(void *context, unsigned worker, unsigned number)
{
	struct uniting *u = context;
	struct share share = { u, &u->parts[number]->arena };

	(void)worker;
	u->n_gone[number] = mb_keys_unite(u->tables, u->n_parts, number,
	    u->n_shares, unite_states, &share);
}

static int
unite_side_by_side(struct uniting *u, struct mb_err *err)
{
	struct mb_crew *crew;

	if (mb_crew_open(&crew, u->n_shares, u->n_shares, unite_share, u,
	    err) < 0)
		return -1;
	for (unsigned i = 0; i < u->n_shares; i++)
		mb_crew_post(crew);
	while (mb_crew_wait(crew) >= 0)
		;
	mb_crew_close(crew);
	return 0;
}

/* What those that are gone have seen, those that stayed have seen, too. */
static void
unite_seen(const struct uniting *u, uint32_t table)
{
	const struct mb_distinct *d = &u->parts[table]->distinct;

	for (size_t i = 0; i < d->n; i++) {
		const struct mb_seen *s = d->seen[i];
		struct mb_group_ref heir = mb_keys_heir(u->tables,
		    (struct mb_group_ref){ table, s->group });

		if (heir.table != table)
			mb_groups_see(u->parts[heir.table], heir.number,
			    s->slot, s->text, s->len);
	}
}

int
mb_groups_unite(struct mb_groups *g, struct mb_err *err)
{
	const size_t n = g->n_parts;
	struct uniting u = { .parts = g->parts, .n_parts = n };
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		mb_groups_settle(g->parts[i]);
	if (n == 1)
		return 0;
	u.tables = mb_realloc_array(NULL, n, sizeof *u.tables);
	u.n_gone = mb_zalloc(n * sizeof *u.n_gone);
	for (size_t i = 0; i < n; i++) {
		u.tables[i] = g->parts[i]->keys;
		mb_keys_settle(u.tables[i]);
	}
	if (mb_groups_count(g) < MANY) {
		u.n_shares = 1;
		unite_share(&u, 0, 0);
	} else {
		u.n_shares = (unsigned)n;
		rc = unite_side_by_side(&u, err);
	}
	for (size_t i = 0; i < n; i++)
		g->n_gone += u.n_gone[i];
	for (uint32_t i = 0; i < n && g->n_gone > 0; i++)
		unite_seen(&u, i);
	free(u.tables);
	free(u.n_gone);
	return rc;
}
