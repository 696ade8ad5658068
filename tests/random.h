/*
 * random.h - the same random bits in every run, or others by MB_SEED.
 *
 * Give random_seed to cmocka as the group's set-up.
 */
#ifndef MB_TESTS_RANDOM_H
#define MB_TESTS_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t random_state = 1;

static inline int
random_seed(void **state)
{
	const char *text = getenv("MB_SEED");

	(void)state;
	if (text != NULL)
		random_state = strtoull(text, NULL, 10) | 1;
	printf("# MB_SEED=%llu\n", (unsigned long long)random_state);
	return 0;
}

/* xorshift: enough to mix cases. */
static inline uint64_t
random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

#endif
