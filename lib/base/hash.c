#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/load.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#if __has_include(<xxh_x86dispatch.h>)
/* The library's choice of AVX2 or AVX-512 at run time: twice as fast. */
#include <xxh_x86dispatch.h>
#endif
#endif

/* Bit by bit over the reflected polynomial: lines are short. */
static uint32_t
crc32c_portable(uint32_t crc, const unsigned char *p, size_t len)
{
	while (len-- > 0) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t c = crc;

	for (; len >= 8; p += 8, len -= 8)
		c = _mm_crc32_u64(c, mb_load_8(p));
	for (; len > 0; p++, len--)
		c = _mm_crc32_u8((uint32_t)c, *p);
	return (uint32_t)c;
}
#endif

uint32_t
mb_crc32c(uint32_t crc, const void *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(~crc, p, len);
#endif
	return ~crc32c_portable(~crc, p, len);
}

static const char digits[] = "0123456789abcdef";

static struct mb_hash
to_hex(XXH128_hash_t h)
{
	struct mb_hash out;
	uint64_t half[2] = { h.high64, h.low64 };

	for (int i = 0; i < MB_HASH_LEN; i++)
		out.hex[i] = digits[half[i / 16] >> (60 - i % 16 * 4) & 15];
	out.hex[MB_HASH_LEN] = '\0';
	return out;
}

struct mb_hasher *
mb_hasher_open(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (state == NULL)
		abort();
	XXH3_128bits_reset(state);
	return (struct mb_hasher *)state;
}

void
mb_hasher_reset(struct mb_hasher *h)
{
	XXH3_128bits_reset((XXH3_state_t *)h);
}

void
mb_hasher_add(struct mb_hasher *h, const void *p, size_t len)
{
	XXH3_128bits_update((XXH3_state_t *)h, p, len);
}

struct mb_hash
mb_hasher_value(const struct mb_hasher *h)
{
	return to_hex(XXH3_128bits_digest((const XXH3_state_t *)h));
}

void
mb_hasher_close(struct mb_hasher *h)
{
	XXH3_freeState((XXH3_state_t *)h);
}

struct mb_hash
mb_hash_bytes(const void *p, size_t len)
{
	return to_hex(XXH3_128bits(p, len));
}

static unsigned
value_of(char digit)
{
	return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10) & 15;
}

struct mb_packed_hash
mb_hash_pack(const struct mb_hash *h)
{
	struct mb_packed_hash out;

	for (size_t i = 0; i < sizeof out.bytes; i++)
		out.bytes[i] = (unsigned char)(value_of(h->hex[2 * i]) << 4 |
		    value_of(h->hex[2 * i + 1]));
	return out;
}

struct mb_hash
mb_hash_unpack(const struct mb_packed_hash *p)
{
	struct mb_hash out;

	for (size_t i = 0; i < sizeof p->bytes; i++) {
		out.hex[2 * i] = digits[p->bytes[i] >> 4];
		out.hex[2 * i + 1] = digits[p->bytes[i] & 15];
	}
	out.hex[MB_HASH_LEN] = '\0';
	return out;
}

uint64_t
mb_hash64(const void *p, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, len, seed);
}

bool
mb_is_hex(struct mb_str s, size_t n)
{
	if (s.len != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') ||
		    (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

int
mb_random(void *p, size_t len, struct mb_err *err)
{
	char *to = p;
	ssize_t n;

	while (len > 0) {
		n = getrandom(to, len, 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return mb_fail_sys(err, "getrandom");
		}
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

int
mb_random_hex(char *out, size_t n_bytes, struct mb_err *err)
{
	unsigned char *bytes = (unsigned char *)out + n_bytes;

	/* In the back half, which is read before it is overwritten. */
	if (mb_random(bytes, n_bytes, err) < 0)
		return -1;
	for (size_t i = 0; i < n_bytes; i++) {
		unsigned char byte = bytes[i];

		out[2 * i] = digits[byte >> 4];
		out[2 * i + 1] = digits[byte & 15];
	}
	out[2 * n_bytes] = '\0';
	return 0;
}
