#include "base/clock.h"

#include <time.h>

static int64_t
now_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
mb_clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME);
}

int64_t
mb_clock_wall_ms(void)
{
	return now_us(CLOCK_REALTIME) / 1000;
}

int64_t
mb_clock_steady_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

void
mb_clock_sleep(int64_t us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}
