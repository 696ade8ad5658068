#include "parquet/dictionary.h"

#include <stdlib.h>

#include "base/load.h"

enum { PIECE = 256 };	/* values whose hashes are known before the look-up */

void
mb_dictionary_reset(struct mb_dictionary *d)
{
	d->n = 0;
	mb_buf_reset(&d->bytes);
	if (d->table_size > 0)
		memset(d->table, 0, d->table_size * sizeof *d->table);
}

void
mb_dictionary_release(struct mb_dictionary *d)
{
	free(d->v);
	free(d->table);
	mb_buf_release(&d->bytes);
	*d = (struct mb_dictionary){ .shape = d->shape, .seed = d->seed };
}

/* The two halves of a product, folded: each bit of it depends on all. */
static inline uint64_t
mix(uint64_t a, uint64_t b)
{
	mb_uint128 m = (mb_uint128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t
hash_pair(uint64_t seed, uint64_t a, uint64_t b)
{
	return mix(a ^ seed ^ 0x9e3779b97f4a7c15u,
	    b ^ (seed << 32 | seed >> 32) ^ 0xd1b54a32d192ed03u);
}

/* The first 16 bytes, zeros where there are fewer; 16 can be read. */
static inline void
head(struct mb_dictionary_entry *e, const char *p, size_t len)
{
	e->a = mb_load_8(p);
	e->b = mb_load_8(p + 8);
	if (len < 8) {
		e->a &= ((uint64_t)1 << len * 8) - 1;
		e->b = 0;
	} else if (len < 16) {
		e->b &= ((uint64_t)1 << (len - 8) * 8) - 1;
	}
}

static uint64_t
hash_long(uint64_t h, const char *p, size_t len)
{
	size_t at = 16;

	for (; at + 16 <= len; at += 16)
		h = hash_pair(h, mb_load_8(p + at), mb_load_8(p + at + 8));
	/* The last 16 bytes, some of them for the second time. */
	return hash_pair(h, mb_load_8(p + len - 16), mb_load_8(p + len - 8));
}

static void
grow_table(struct mb_dictionary *d)
{
	size_t size = d->table_size == 0 ? 1024 : d->table_size * 4, at;
	uint64_t *table = mb_zalloc(size * sizeof *table);

	/* The place comes from the hash's high half, so that is enough. */
	for (size_t i = 0; i < d->table_size; i++) {
		uint64_t word = d->table[i];

		if (word == 0)
			continue;
		for (at = (size_t)(word >> 32) & (size - 1); table[at] != 0;
		    at = (at + 1) & (size - 1))
			;
		table[at] = word;
	}
	free(d->table);
	d->table = table;
	d->table_size = size;
}

static uint32_t
add_value(struct mb_dictionary *d, size_t at, uint64_t hash,
    const struct mb_dictionary_entry *e, const char *p)
{
	uint32_t code = (uint32_t)d->n;

	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 256 : d->cap * 2;
		d->v = mb_realloc_array(d->v, d->cap, sizeof *d->v);
	}
	d->v[d->n] = *e;
	if (d->shape == MB_SHAPE_BYTES) {
		d->v[d->n].off = (uint32_t)d->bytes.len;
		mb_buf_add(&d->bytes, p, e->len);
	}
	d->n++;
	d->table[at] = (hash & ~(uint64_t)UINT32_MAX) | (code + 1);
	return code;
}

/* Of more than 16 bytes, of which the first are the same. */
static inline bool
is_same_tail(const char *a, const char *b, size_t len)
{
	if (len > 32)
		return memcmp(a + 16, b + 16, len - 16) == 0;
	return mb_load_8(a + len - 16) == mb_load_8(b + len - 16) &&
	    mb_load_8(a + len - 8) == mb_load_8(b + len - 8);
}

/*
 * A table beyond the caches is waited for twice: for its word and for the
 * entry that this names.  So a piece's words are asked for together, then
 * its entries.
 */
static inline void
prefetch_word(const struct mb_dictionary *d, uint64_t hash)
{
	__builtin_prefetch(&d->table[(size_t)(hash >> 32) &
	    (d->table_size - 1)]);
}

static void
prefetch_entries(const struct mb_dictionary *d, const uint64_t *hashes,
    size_t n)
{
	uint32_t code;

	for (size_t i = 0; i < n; i++) {
		code = (uint32_t)d->table[(size_t)(hashes[i] >> 32) &
		    (d->table_size - 1)];
		__builtin_prefetch(&d->v[code > 0 ? code - 1 : 0]);
	}
}

static inline __attribute__((always_inline)) uint32_t
find(struct mb_dictionary *d, uint64_t hash,
    const struct mb_dictionary_entry *e, const char *p, enum mb_shape shape)
{
	size_t mask = d->table_size - 1, at = (size_t)(hash >> 32) & mask;
	uint64_t word;

	for (; (word = d->table[at]) != 0; at = (at + 1) & mask) {
		uint32_t code = (uint32_t)word - 1;
		const struct mb_dictionary_entry *had = &d->v[code];

		if ((word ^ hash) >> 32 != 0 || had->a != e->a)
			continue;
		if (shape == MB_SHAPE_SLOT)
			return code;
		if (had->b != e->b)
			continue;
		if (shape == MB_SHAPE_WIDE)
			return code;
		if (had->len == e->len && (e->len <= 16 ||
		    is_same_tail(d->bytes.p + had->off, p, e->len)))
			return code;
	}
	return add_value(d, at, hash, e, p);
}

static void
slot_codes(struct mb_dictionary *d, uint32_t *codes, const uint64_t *slots,
    size_t n)
{
	uint64_t hashes[PIECE];
	struct mb_dictionary_entry e = { 0 };

	for (size_t i = 0; i < n; i++) {
		hashes[i] = hash_pair(d->seed, slots[i], 0);
		prefetch_word(d, hashes[i]);
	}
	prefetch_entries(d, hashes, n);
	for (size_t i = 0; i < n; i++) {
		e.a = slots[i];
		codes[i] = find(d, hashes[i], &e, NULL, MB_SHAPE_SLOT);
	}
}

static void
wide_codes(struct mb_dictionary *d, uint32_t *codes, const uint64_t *slots,
    size_t n)
{
	struct mb_dictionary_entry e = { 0 };

	for (size_t i = 0; i < n; i++) {
		e.a = slots[2 * i];
		e.b = slots[2 * i + 1];
		codes[i] = find(d, hash_pair(d->seed, e.a, e.b), &e, NULL,
		    MB_SHAPE_WIDE);
	}
}

static size_t
bytes_codes(struct mb_dictionary *d, uint32_t *codes, const uint64_t *lens,
    const char *bytes, size_t n)
{
	struct mb_dictionary_entry entries[PIECE];
	uint64_t hashes[PIECE];
	const char *p = bytes;

	for (size_t i = 0; i < n; i++) {
		struct mb_dictionary_entry *e = &entries[i];

		e->len = (uint32_t)lens[i];
		head(e, p, e->len);
		hashes[i] = hash_pair(d->seed + e->len, e->a, e->b);
		if (e->len > 16)
			hashes[i] = hash_long(hashes[i], p, e->len);
		prefetch_word(d, hashes[i]);
		p += e->len;
	}
	prefetch_entries(d, hashes, n);
	p = bytes;
	for (size_t i = 0; i < n; i++) {
		codes[i] = find(d, hashes[i], &entries[i], p,
		    MB_SHAPE_BYTES);
		p += entries[i].len;
	}
	return (size_t)(p - bytes);
}

void
mb_dictionary_codes(struct mb_dictionary *d, uint32_t *codes,
    const uint64_t *slots, const char *bytes, size_t n)
{
	size_t len;

	for (; n > 0; n -= len, codes += len) {
		len = n < PIECE ? n : PIECE;
		/* At most half full, also after these. */
		if ((d->n + len) * 2 > d->table_size)
			grow_table(d);
		switch (d->shape) {
		case MB_SHAPE_SLOT:
			slot_codes(d, codes, slots, len);
			slots += len;
			break;
		case MB_SHAPE_WIDE:
			wide_codes(d, codes, slots, len);
			slots += 2 * len;
			break;
		case MB_SHAPE_BYTES:
			bytes += bytes_codes(d, codes, slots, bytes, len);
			slots += len;
			break;
		}
	}
}
