/*
 * place.h - a directory of the test's own.
 */
#ifndef MB_TESTS_PLACE_H
#define MB_TESTS_PLACE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No test needs all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

static char place[64];

/*
 * In memory, where that can be: where thousands of files are synced and none
 * has to survive.  0 or -1.
 */
static int
make_place(bool in_memory)
{
	snprintf(place, sizeof place, "%s/mb-test.XXXXXX",
	    in_memory ? "/dev/shm" : "/tmp");
	if (mkdtemp(place) != NULL)
		return 0;
	return in_memory ? make_place(false) : -1;
}

/* Everything in a directory of the test's, at any depth. */
static void
clear_directory(const char *path)
{
	char name[512];
	struct dirent *e;
	DIR *d = opendir(path);

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof name, "%s/%s", path, e->d_name);
		if (unlink(name) < 0) {
			clear_directory(name);
			rmdir(name);
		}
	}
	if (d != NULL)
		closedir(d);
}

static int
remove_place(void)
{
	clear_directory(place);
	return rmdir(place);
}

/* The same as fixtures of cmocka. */
static int
set_up_place(void **state)
{
	(void)state;
	return make_place(false);
}

static int
set_up_place_in_memory(void **state)
{
	(void)state;
	return make_place(true);
}

static int
tear_down_place(void **state)
{
	(void)state;
	return remove_place();
}

#endif
