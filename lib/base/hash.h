/*
 * hash.h - checksums, digests and random bits.
 *
 * CRC-32C guards lines (frames, journal); XXH3-128 guards contents (ranges,
 * anchors, digests).  Neither resists an attacker; both find accidents.
 */
#ifndef MB_BASE_HASH_H
#define MB_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* CRC-32C (Castagnoli, RFC 3720), reflected, of `p` continued from `crc`. */
uint32_t mb_crc32c(uint32_t crc, const void *p, size_t len);

/* A 128-bit hash as text: 32 lower-case hexadecimal digits. */
enum { MB_HASH_LEN = 32 };

struct mb_hash {
	char hex[MB_HASH_LEN + 1];
};

/* Streaming XXH3-128, seed 0.  Opaque; `open` may be repeated to start anew. */
struct mb_hasher;
struct mb_hasher *mb_hasher_open(void);
void mb_hasher_reset(struct mb_hasher *h);
void mb_hasher_add(struct mb_hasher *h, const void *p, size_t len);
struct mb_hash mb_hasher_value(const struct mb_hasher *h);
void mb_hasher_close(struct mb_hasher *h);

struct mb_hash mb_hash_bytes(const void *p, size_t len);

/* The same in half the room, where there are 100,000 of them. */
struct mb_packed_hash {
	unsigned char bytes[MB_HASH_LEN / 2];
};
struct mb_packed_hash mb_hash_pack(const struct mb_hash *h);
struct mb_hash mb_hash_unpack(const struct mb_packed_hash *p);

/* Seeded 64-bit hash for tables in memory. */
uint64_t mb_hash64(const void *p, size_t len, uint64_t seed);

/* Is it 32 (n) lower-case hexadecimal digits? */
bool mb_is_hex(struct mb_str s, size_t n);

/* Fill with random bytes from the kernel. */
MB_CHECK int mb_random(void *p, size_t len, struct mb_err *err);

/* A fresh id of 2 * n_bytes hexadecimal digits and a NUL. */
MB_CHECK int mb_random_hex(char *out, size_t n_bytes, struct mb_err *err);

#endif
