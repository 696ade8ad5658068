/*
 * I1. A byte that was added is not written again before its block is empty.
 * I2. A large block that is empty is given back to the system, so what reads
 *     into it next goes to other pages.
 */
#include "source/keep.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum {
	/* Small batches stay here: a large block costs 2 MiB at once. */
	N_SMALL = 2,
	SMALL = 256 * 1024,
	/*
	 * Of the size of a huge page.  Clearing one costs a tenth of what 512
	 * faults of small pages do.
	 */
	LARGE = 2 << 20,
	MAX_FAULTS = 64,	/* for a large block; else it isn't one page */
};

struct block {
	char *p;
	size_t size, fill;
	unsigned n_pieces;
};

struct mb_keep {
	struct block *blocks;	/* the small ones first */
	unsigned n_blocks;
	unsigned n_used;	/* large ones with pieces */
	unsigned current;	/* n_blocks: none */
	unsigned waiting;	/* empty, not yet given back; n_blocks: none */
	char *small;
	bool is_slow;		/* there are no huge pages: large ones don't pay */
	long faults;		/* when the current large block was begun */
};

/* Of little address space (ulimit -v) we take little. */
static unsigned
count_large(size_t max)
{
	struct rlimit space;

	if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur / 4 < max)
		max = (size_t)space.rlim_cur / 4;
	return (unsigned)(max / LARGE);
}

struct mb_keep *
mb_keep_open(size_t max)
{
	struct mb_keep *k = mb_alloc(sizeof *k);
	unsigned n_large = count_large(max);

	*k = (struct mb_keep){
		.small = mb_alloc(N_SMALL * SMALL), .is_slow = n_large == 0,
	};
	k->current = k->waiting = k->n_blocks = N_SMALL + n_large;
	k->blocks = mb_realloc_array(NULL, k->n_blocks, sizeof *k->blocks);
	for (unsigned i = 0; i < k->n_blocks; i++)
		k->blocks[i] = i < N_SMALL ?
		    (struct block){ k->small + i * SMALL, SMALL, 0, 0 } :
		    (struct block){ NULL, LARGE, 0, 0 };
	return k;
}

void
mb_keep_close(struct mb_keep *k)
{
	if (k == NULL)
		return;
	for (unsigned i = N_SMALL; i < k->n_blocks; i++)
		if (k->blocks[i].p != NULL)
			munmap(k->blocks[i].p, LARGE);
	free(k->small);
	free(k->blocks);
	free(k);
}

/* The address of a large block, aligned; NULL if there is none. */
static char *
map_large(void)
{
	char *p = mmap(NULL, 2 * LARGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = (LARGE - (uintptr_t)p % LARGE) % LARGE;
	if (before > 0)
		munmap(p, before);
	munmap(p + before + LARGE, LARGE - before);
	(void)madvise(p + before, LARGE, MADV_HUGEPAGE);
	return p + before;
}

static long
count_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) < 0 ? 0 : usage.ru_minflt;
}

static bool
has_room(const struct mb_keep *k, size_t len)
{
	const struct block *b = &k->blocks[k->current];

	return k->current < k->n_blocks && b->size - b->fill >= len;
}

/* I2; what can't be given back (false) is not used again. */
static bool
free_waiting(struct mb_keep *k)
{
	struct block *b = &k->blocks[k->waiting];

	k->n_used--;
	b->n_pieces = madvise(b->p, b->size, MADV_DONTNEED) < 0;
	k->waiting = k->n_blocks;
	return b->n_pieces == 0;
}

/*
 * An empty block: a large one while large ones are in use, or if it has to
 * be, and the one that waits only if there is no other.  n_blocks: none.
 */
static unsigned
find_block(const struct mb_keep *k, size_t len)
{
	unsigned i = k->n_used > 0 ? N_SMALL : 0;

	while (i < k->n_blocks && (k->blocks[i].n_pieces > 0 ||
	    k->blocks[i].size < len || (i >= N_SMALL && k->is_slow)))
		i++;
	if (i == k->n_blocks && !k->is_slow && len <= LARGE)
		return k->waiting;
	return i;
}

/* The current block has had its faults: is a large one a single page? */
static void
judge_pages(struct mb_keep *k)
{
	if (k->current >= N_SMALL && k->current < k->n_blocks &&
	    count_faults() - k->faults > MAX_FAULTS)
		k->is_slow = true;
}

/* Go on in another block; false: there is none. */
static bool
change_block(struct mb_keep *k, size_t len)
{
	struct block *b;

	judge_pages(k);
	k->current = find_block(k, len);
	if (k->current < k->n_blocks && k->current == k->waiting &&
	    !free_waiting(k))
		k->current = k->n_blocks;
	if (k->current == k->n_blocks)
		return false;
	b = &k->blocks[k->current];
	if (b->p == NULL && (b->p = map_large()) == NULL) {
		k->is_slow = true;
		k->current = k->n_blocks;
		return false;
	}
	if (k->current >= N_SMALL)
		k->faults = count_faults();
	return true;
}

char *
mb_keep_room(struct mb_keep *k, size_t len)
{
	if (!has_room(k, len) && !change_block(k, len))
		return NULL;
	return k->blocks[k->current].p + k->blocks[k->current].fill;
}

bool
mb_keep_is_full(const struct mb_keep *k, size_t len)
{
	return !k->is_slow && !has_room(k, len) &&
	    find_block(k, len) == k->n_blocks;
}

size_t
mb_keep_used(const struct mb_keep *k)
{
	size_t used = (size_t)k->n_used * LARGE;

	for (unsigned i = 0; i < N_SMALL; i++)
		used += k->blocks[i].fill;
	return used;
}

/*
 * A large block waits for the next one to be empty too: what was lent of it
 * has left the pipe by then, so its page is free at once, and is the next one
 * that this process gets.  Else its reader frees it, and the system gives us
 * another, which is not in the cache, and in a virtual machine perhaps not
 * even there: clearing that one takes ten times as long.
 */
static void
give_back(struct mb_keep *k, unsigned i)
{
	struct block *b = &k->blocks[i];

	if (--b->n_pieces > 0)
		return;
	b->fill = 0;
	if (i < N_SMALL)
		return;
	if (k->current == i)
		k->current = k->n_blocks;
	b->n_pieces = 1;
	if (k->waiting < k->n_blocks)
		(void)free_waiting(k);
	k->waiting = i;
	if (k->n_used == 1)
		(void)free_waiting(k);
}

static struct mb_piece *
add_piece(struct mb_kept *kept, struct mb_piece piece)
{
	if (kept->first > 0 && kept->first == kept->n)
		kept->first = kept->n = 0;
	kept->pieces = mb_realloc_array(kept->pieces, kept->n + 1,
	    sizeof *kept->pieces);
	kept->pieces[kept->n] = piece;
	return &kept->pieces[kept->n++];
}

static void
hold(struct mb_keep *k, unsigned i)
{
	if (k->blocks[i].n_pieces++ == 0 && i >= N_SMALL)
		k->n_used++;
}

/* Give back the first len bytes of the first piece. */
static void
drop_front(struct mb_kept *kept, size_t len)
{
	struct mb_piece *piece = &kept->pieces[kept->first];

	piece->p += len;
	piece->len -= len;
	kept->start += len;
	if (piece->len == 0) {
		kept->first++;
		give_back(kept->keep, piece->block);
	}
}

void
mb_kept_add(struct mb_kept *kept, struct mb_keep *k, size_t len, uint64_t off)
{
	struct block *b = &k->blocks[k->current];
	struct mb_piece *last;

	/* First hold the block: the room must outlive what is forgotten. */
	hold(k, k->current);
	if (kept->n == kept->first || off != kept->end) {
		while (kept->first < kept->n)
			drop_front(kept, kept->pieces[kept->first].len);
		kept->keep = k;
		kept->start = kept->end = off;
	}
	last = kept->n > kept->first ? &kept->pieces[kept->n - 1] : NULL;
	/* Blocks may stand side by side, but each piece is of one. */
	if (last != NULL && last->block == k->current &&
	    last->p + last->len == b->p + b->fill) {
		last->len += len;
		give_back(k, k->current);
	} else {
		add_piece(kept, (struct mb_piece){ b->p + b->fill, len,
		    k->current });
	}
	b->fill += len;
	kept->end += len;
}

void
mb_kept_cut(struct mb_kept *kept, uint64_t off)
{
	while (kept->n > kept->first && kept->end > off) {
		struct mb_piece *last = &kept->pieces[kept->n - 1];
		struct block *b = &kept->keep->blocks[last->block];
		size_t len = kept->end - off < last->len ?
		    (size_t)(kept->end - off) : last->len;

		/* Nothing of it has left yet, so it is room again. */
		if (last->p + last->len == b->p + b->fill)
			b->fill -= len;
		last->len -= len;
		kept->end -= len;
		if (last->len == 0) {
			kept->n--;
			give_back(kept->keep, last->block);
		}
	}
	if (kept->end > off)
		kept->start = kept->end = off;
}

/* Move the bytes before `off` to *out, which is empty. */
static void
move(struct mb_kept *kept, uint64_t off, struct mb_kept *out)
{
	*out = (struct mb_kept){
		.keep = kept->keep, .start = kept->start, .end = kept->start,
	};
	while (kept->first < kept->n && kept->start < off) {
		struct mb_piece piece = kept->pieces[kept->first];

		if (piece.len <= off - kept->start) {
			kept->first++;
		} else {
			piece.len = (size_t)(off - kept->start);
			hold(kept->keep, piece.block);
			kept->pieces[kept->first].p += piece.len;
			kept->pieces[kept->first].len -= piece.len;
		}
		add_piece(out, piece);
		out->end += piece.len;
		kept->start += piece.len;
	}
}

void
mb_kept_release(struct mb_kept *kept)
{
	while (kept->first < kept->n)
		drop_front(kept, kept->pieces[kept->first].len);
	free(kept->pieces);
	*kept = (struct mb_kept){ 0 };
}

bool
mb_kept_next(struct mb_kept *kept, uint64_t end, struct mb_str *out,
    bool *may_lend)
{
	const struct mb_piece *piece;

	if (kept->given > 0)
		drop_front(kept, kept->given);
	kept->given = 0;
	if (kept->first == kept->n || kept->start >= end)
		return false;
	piece = &kept->pieces[kept->first];
	kept->given = end - kept->start < piece->len ?
	    (size_t)(end - kept->start) : piece->len;
	*out = (struct mb_str){ piece->p, kept->given };
	*may_lend = piece->block >= N_SMALL;
	return true;
}

void
mb_parcel_add(struct mb_parcel *parcel, uint64_t generation,
    struct mb_kept *kept, uint64_t off)
{
	parcel->v = mb_realloc_array(parcel->v, parcel->n + 1,
	    sizeof *parcel->v);
	parcel->v[parcel->n].generation = generation;
	move(kept, off, &parcel->v[parcel->n].kept);
	parcel->n++;
}

struct mb_kept *
mb_parcel_find(struct mb_parcel *parcel, uint64_t generation, uint64_t start,
    uint64_t end)
{
	struct mb_kept *kept = NULL;
	struct mb_str skipped;
	bool may_lend;
	size_t i = parcel->first;

	while (i < parcel->n && parcel->v[i].generation != generation)
		i++;
	if (i < parcel->n)
		kept = &parcel->v[i].kept;
	if (kept == NULL || kept->start > start || kept->end < end)
		return NULL;
	while (parcel->first < i)
		mb_kept_release(&parcel->v[parcel->first++].kept);
	while (mb_kept_next(kept, start, &skipped, &may_lend))
		;
	return kept;
}

void
mb_parcel_reset(struct mb_parcel *parcel)
{
	while (parcel->first < parcel->n)
		mb_kept_release(&parcel->v[parcel->first++].kept);
	parcel->first = parcel->n = 0;
}

void
mb_parcel_release(struct mb_parcel *parcel)
{
	mb_parcel_reset(parcel);
	free(parcel->v);
	*parcel = (struct mb_parcel){ 0 };
}
