#include "agg/group_parts.h"

#include <stdlib.h>

#include "agg/accum.h"
#include "agg/crew.h"

/* Fewer groups, and values seen, are united before a thread has begun. */
enum { MANY = 64 * 1024 };

/* Of one part, before it grows: what it has seen, of groups that are gone. */
struct inheritance {
	struct mb_seen **seen;
	struct mb_group_ref *heirs;
	size_t n;
};

struct uniting {
	struct mb_groups *const *parts;
	size_t n;			/* parts; and steps that each goes in */
	struct mb_keys **tables;	/* of the parts */
	size_t *n_gone;			/* by step */
	struct inheritance *left;	/* by part */

	void (*step)(struct uniting *, unsigned number);
	struct mb_crew *crew;		/* NULL: no others are worth it */
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

/* A share of the keys; what states need is in the arena of one of the parts. */
static void
unite_keys(struct uniting *u, unsigned number)
{
	struct share share = { u, &u->parts[number]->arena };

	u->n_gone[number] = mb_keys_unite(u->tables, u->n, number,
	    (unsigned)u->n, unite_states, &share);
}

/* What has been seen by those groups of a part that are gone. */
static void
list_seen(struct uniting *u, unsigned number)
{
	const struct mb_distinct *d = &u->parts[number]->distinct;
	struct inheritance *left = &u->left[number];
	size_t n_groups = mb_keys_count(u->tables[number]);
	struct mb_group_ref *heirs;

	if (d->n == 0)
		return;
	/* By group first: values come in the order of records. */
	heirs = mb_realloc_array(NULL, n_groups, sizeof *heirs);
	for (uint32_t i = 0; i < n_groups; i++)
		heirs[i] = mb_keys_heir(u->tables,
		    (struct mb_group_ref){ number, i });
	left->seen = mb_realloc_array(NULL, d->n, sizeof *left->seen);
	left->heirs = mb_realloc_array(NULL, d->n, sizeof *left->heirs);
	for (size_t i = 0; i < d->n; i++) {
		struct mb_group_ref heir = heirs[d->seen[i]->group];

		left->heirs[left->n] = heir;
		left->seen[left->n] = d->seen[i];
		left->n += heir.table != number;
	}
	free(heirs);
}

/* Of groups of one part. */
struct values {
	const struct mb_seen *seen[MB_ROWS];
	uint32_t groups[MB_ROWS];
	size_t n;
};

static void
see_values(struct mb_groups *g, struct values *v)
{
	bool is_new[MB_ROWS];

	mb_distinct_see_others(&g->distinct, v->seen, v->groups, v->n,
	    is_new);
	for (size_t i = 0; i < v->n; i++)
		if (is_new[i])
			mb_accum_add_distinct(state_of(g, mb_keys_group(
			    g->keys, v->groups[i]), v->seen[i]->slot));
	v->n = 0;
}

/* What was left to a part by the others. */
static void
take_seen(struct uniting *u, unsigned number)
{
	struct values v = { .n = 0 };

	for (size_t p = 0; p < u->n; p++)
		for (size_t i = 0; i < u->left[p].n; i++) {
			struct mb_group_ref heir = u->left[p].heirs[i];

			if (heir.table != number)
				continue;
			v.seen[v.n] = u->left[p].seen[i];
			v.groups[v.n++] = heir.number;
			if (v.n == MB_ROWS)
				see_values(u->parts[number], &v);
		}
	see_values(u->parts[number], &v);
}

static void
run_step(void *context, unsigned worker, unsigned number)
{
	struct uniting *u = context;

	(void)worker;
	u->step(u, number);
}

/* A step of each number, side by side if there is a crew. */
static void
run(struct uniting *u, void (*step)(struct uniting *, unsigned))
{
	u->step = step;
	for (unsigned i = 0; i < u->n; i++)
		if (u->crew != NULL)
			mb_crew_post(u->crew);
		else
			step(u, i);
	while (u->crew != NULL && mb_crew_wait(u->crew) >= 0)
		;
}

static void
unite_seen(struct uniting *u)
{
	u->left = mb_zalloc(u->n * sizeof *u->left);
	run(u, list_seen);
	run(u, take_seen);
	for (size_t i = 0; i < u->n; i++) {
		free(u->left[i].seen);
		free(u->left[i].heirs);
	}
	free(u->left);
}

int
mb_groups_unite(struct mb_groups *g, struct mb_err *err)
{
	const size_t n = g->n_parts;
	struct uniting u = { .parts = g->parts, .n = n };
	size_t n_seen = 0;
	int rc = -1;

	for (size_t i = 0; i < n; i++)
		mb_groups_settle(g->parts[i]);
	if (n == 1)
		return 0;
	u.tables = mb_realloc_array(NULL, n, sizeof *u.tables);
	u.n_gone = mb_zalloc(n * sizeof *u.n_gone);
	for (size_t i = 0; i < n; i++) {
		u.tables[i] = g->parts[i]->keys;
		mb_keys_settle(u.tables[i]);
		n_seen += g->parts[i]->distinct.n;
	}
	if (mb_groups_count(g) + n_seen >= MANY && mb_crew_open(&u.crew,
	    (unsigned)n, (unsigned)n, run_step, &u, err) < 0)
		goto out;
	run(&u, unite_keys);
	for (size_t i = 0; i < n; i++)
		g->n_gone += u.n_gone[i];
	if (g->n_gone > 0 && n_seen > 0)
		unite_seen(&u);
	rc = 0;
out:
	mb_crew_close(u.crew);
	free(u.tables);
	free(u.n_gone);
	return rc;
}
