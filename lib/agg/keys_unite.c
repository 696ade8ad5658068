#include "agg/keys_parts.h"

/* Groups that have the same tag. */
struct pair {
	struct mb_group_ref first, second;	/* by table */
	uint32_t tag;
};

struct uniting {
	struct mb_keys *const *tables;
	uint64_t begin, end;		/* of the share's tags */
	void (*unite)(void *, struct mb_group_ref stays,
	    struct mb_group_ref goes);
	void *context;
	size_t n_gone;

	/* Cells in hand, of one table … */
	struct mb_cell cells[MB_ROWS];
	size_t n_cells;
	/* … and what they lead to, to be looked at when it is here. */
	struct pair pairs[2 * MB_ROWS];
	size_t n_pairs;
};

void
mb_keys_settle(struct mb_keys *t)
{
	mb_ordinals_settle(&t->ordinals);
}

static struct mb_group_key *
group_of(struct mb_keys *const *tables, struct mb_group_ref ref)
{
	return group_at(tables[ref.table], ref.number);
}

struct mb_group_ref
mb_keys_heir(struct mb_keys *const *tables, struct mb_group_ref ref)
{
	const struct mb_group_key *group;

	while (mb_group_is_gone(group = group_of(tables, ref))) {
		memcpy(&ref.table, group->text, sizeof ref.table);
		memcpy(&ref.number, group->rest, sizeof ref.number);
	}
	return ref;
}

static void
leave_to(struct mb_group_key *group, struct mb_group_ref heir)
{
	_Static_assert(sizeof heir.table <= sizeof group->text &&
	    sizeof heir.number <= sizeof group->rest, "an heir in a key");
	mb_group_key_set_kind(group, (enum mb_kind)MB_KEY_GONE);
	memcpy(group->text, &heir.table, sizeof heir.table);
	memcpy(group->rest, &heir.number, sizeof heir.number);
}

static uint64_t
ordinal_of(const struct uniting *u, struct mb_group_ref ref)
{
	return mb_ordinals_at(&u->tables[ref.table]->ordinals, ref.number);
}

/* They have the same keys, and are there. */
static void
unite(struct uniting *u, struct mb_group_ref a, struct mb_group_ref b)
{
	bool is_first = ordinal_of(u, a) < ordinal_of(u, b);
	struct mb_group_ref stays = is_first ? a : b, goes = is_first ? b : a;

	u->unite(u->context, stays, goes);
	leave_to(group_of(u->tables, goes), stays);
	u->n_gone++;
}

/* If the first one, or what it was left to, has the keys of the second. */
static bool
unite_if_equal(struct uniting *u, struct mb_group_ref first,
    struct mb_group_ref second)
{
	first = mb_keys_heir(u->tables, first);
	if (!have_same_keys(u->tables[0], group_of(u->tables, first),
	    group_of(u->tables, second)))
		return false;
	unite(u, first, second);
	return true;
}

/* The same with all that have its tag, in the tables before its own. */
static void
unite_with_any(struct uniting *u, struct mb_group_ref ref, uint32_t tag)
{
	for (uint32_t k = 0; k < ref.table; k++) {
		const struct mb_cells *t = &u->tables[k]->cells;
		const struct mb_cell *cells = mb_cells_of(t);
		size_t at;

		if (u->tables[k]->n == 0)
			continue;
		at = mb_cells_begin(t, (uint64_t)tag << 32);
		for (; cells[at].entry != 0; at = (at + 1) & (t->size - 1))
			if (cells[at].tag == tag && unite_if_equal(u,
			    (struct mb_group_ref){ k, cells[at].entry - 1 },
			    ref))
				return;
	}
}

/*
 * Groups are anywhere: load what will be looked at, and don't wait.  One after
 * the other that goes on side by side; to prefetch each where it is found took
 * 40 % of all time, on a processor that is slow to do so where the address is
 * in no cache, either.
 */
static inline void
touch(const struct uniting *u, struct mb_group_ref ref)
{
	enum { LINE = 64 };
	const struct mb_keys *t = u->tables[ref.table];
	const volatile char *group = (const void *)group_at(t, ref.number);

	for (size_t i = 0; i < t->group_size; i += LINE)
		(void)group[i];
	(void)group[t->group_size - 1];
	mb_ordinals_touch(&t->ordinals, ref.number);
}

static void
look_at_pairs(struct uniting *u)
{
	for (size_t i = 0; i < u->n_pairs; i++) {
		touch(u, u->pairs[i].first);
		touch(u, u->pairs[i].second);
	}
	for (size_t i = 0; i < u->n_pairs; i++) {
		const struct pair *p = &u->pairs[i];

		if (!unite_if_equal(u, p->first, p->second))
			unite_with_any(u, p->second, p->tag);
	}
	u->n_pairs = 0;
}

/*
 * The first group with the tag of each of the table's cells in hand, in the
 * tables before.  Mostly it has the same keys; and whichever that is, if it is
 * gone it tells of the one that stays.
 */
MB_KEY_INLINE void
find_pairs(struct uniting *u, uint32_t table, bool (*look)(
    const struct mb_cell *cells, size_t last, size_t *at, uint32_t tag))
{
	for (uint32_t k = 0; k < table; k++) {
		const struct mb_cells *t = &u->tables[k]->cells;
		const struct mb_cell *cells = mb_cells_of(t);
		size_t n_left = 0;

		for (size_t i = 0; t->size > 0 && i < u->n_cells; i++) {
			struct mb_cell cell = u->cells[i];
			size_t at = mb_cells_begin(t,
			    (uint64_t)cell.tag << 32);
			bool is_free;

			while (!look(cells, t->size - 1, &at, cell.tag))
				;
			is_free = cells[at].entry == 0;
			/* What nothing foresees is no branch. */
			u->pairs[u->n_pairs] = (struct pair){
				{ k, cells[at].entry - 1 },
				{ table, cell.entry - 1 }, cell.tag };
			u->n_pairs += !is_free;
			u->cells[n_left] = cell;
			n_left += is_free;
		}
		if (t->size > 0)
			u->n_cells = n_left;
	}
	u->n_cells = 0;
	if (u->n_pairs >= MB_ROWS)
		look_at_pairs(u);
}

#if defined(__x86_64__)
MB_AVX512 static void
find_by_lines(struct uniting *u, uint32_t table)
{
	find_pairs(u, table, look_at_line);
}

/* Are the tables before this one large? */
static bool
are_large(const struct uniting *u, uint32_t table)
{
	bool are = true;

	for (uint32_t k = 0; k < table; k++)
		are &= u->tables[k]->cells.size == 0 ||
		    u->tables[k]->cells.mask != SIZE_MAX;
	return are;
}
#endif

static void
find(struct uniting *u, uint32_t table)
{
#if defined(__x86_64__)
	if (u->tables[table]->isa == MB_ISA_AVX512 && are_large(u, table)) {
		find_by_lines(u, table);
		return;
	}
#endif
	find_pairs(u, table, look_at_cells);
}

/* Take a cell of the share in hand, if it is one, and stands as is said. */
static inline void
take_cell(struct uniting *u, uint32_t table, size_t at, bool is_behind)
{
	const struct mb_cells *t = &u->tables[table]->cells;
	struct mb_cell cell = mb_cells_of(t)[at];

	u->cells[u->n_cells] = cell;
	u->n_cells += (cell.entry != 0) & (cell.tag >= u->begin) &
	    (cell.tag < u->end) &
	    ((mb_cells_begin(t, (uint64_t)cell.tag << 32) > at) == is_behind);
	if (u->n_cells == MB_ROWS)
		find(u, table);
}

/*
 * The share's groups of a table, in the order of its cells: that is nearly the
 * order of the others' cells, so that looking them up there goes from one end
 * to the other, too.
 */
static void
unite_table(struct uniting *u, uint32_t table)
{
	const struct mb_cells *t = &u->tables[table]->cells;
	size_t begin, end, at;

	if (t->size == 0)
		return;
	begin = mb_cells_begin(t, u->begin << 32);
	end = u->end > UINT32_MAX ? t->size :
	    mb_cells_begin(t, u->end << 32);
	for (at = begin; at < end; at++)
		take_cell(u, table, at, false);
	/* What begins before the end stands before a free one; … */
	for (; at < t->size && mb_cells_of(t)[at].entry != 0; at++)
		take_cell(u, table, at, false);
	/* … from the table's end it goes on at its begin. */
	if (at == t->size)
		for (at = 0; mb_cells_of(t)[at].entry != 0; at++)
			take_cell(u, table, at, true);
	find(u, table);
	look_at_pairs(u);
}

size_t
mb_keys_unite(struct mb_keys *const *tables, size_t n_tables, unsigned share,
    unsigned n_shares, void (*unite_groups)(void *, struct mb_group_ref,
    struct mb_group_ref), void *context)
{
	struct uniting u = { .tables = tables, .unite = unite_groups,
		.context = context,
		.begin = ((uint64_t)share << 32) / n_shares,
		.end = ((uint64_t)(share + 1) << 32) / n_shares };

	for (size_t i = 1; i < n_tables; i++)
		unite_table(&u, (uint32_t)i);
	return u.n_gone;
}
