/*
 * clock.h - the time of day, and a clock that can't be set.
 */
#ifndef MB_BASE_CLOCK_H
#define MB_BASE_CLOCK_H

#include <stdint.h>

int64_t mb_clock_wall_ms(void);		/* since the epoch */
int64_t mb_clock_wall_us(void);
int64_t mb_clock_steady_us(void);	/* since whenever */

/* Sleep; may wake early. */
void mb_clock_sleep(int64_t us);

#endif
