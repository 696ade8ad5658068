/*
 * new_seed.h - rand() from another seed in every run, or from MB_SEED; the log
 * says which.  After <cmocka.h>.
 */
#ifndef MB_TESTS_NEW_SEED_H
#define MB_TESTS_NEW_SEED_H

#include <stdlib.h>
#include <time.h>

static void
new_seed(void)
{
	unsigned seed = (unsigned)time(NULL);
	const char *wish = getenv("MB_SEED");

	if (wish != NULL)
		seed = (unsigned)strtoul(wish, NULL, 10);
	print_message("MB_SEED=%u\n", seed);
	srand(seed);
}

#endif
