/*
 * count.h - how many newlines are in some bytes, as fast as they can be read.
 */
#ifndef MB_BASE_COUNT_H
#define MB_BASE_COUNT_H

#include <stddef.h>
#include <stdint.h>

/* With the best instructions of this processor; likewise for any processor. */
uint64_t mb_count_newlines(const char *p, size_t len);
uint64_t mb_count_newlines_portable(const char *p, size_t len);

#endif
