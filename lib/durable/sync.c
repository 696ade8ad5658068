/*
 *	WAITING -> RUNNING [work: a thread; mb_sync_await: its caller]
 *	RUNNING -> ENDED
 *
 * Where no thread can be had, or all are busy, whoever awaits does it himself.
 */
#include "durable/sync.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/mem.h"

enum { MAX_THREADS = 8 };

enum phase { WAITING, RUNNING, ENDED };

struct mb_sync {
	struct mb_syncs *all;
	struct mb_sync *next;	/* of those that wait */
	int fd;
	const char *name;
	enum phase phase;
	bool has_failed;
	struct mb_err err;
};

struct mb_syncs {
	pthread_t threads[MAX_THREADS];
	unsigned n_threads, n_idle;

	pthread_mutex_t mutex;
	pthread_cond_t begun, ended;
	bool is_closing;
	struct mb_sync *first, **last;	/* that wait, in order */
	unsigned n_waiting;
};

void
mb_syncs_open(struct mb_syncs **out)
{
	struct mb_syncs *s = mb_zalloc(sizeof *s);

	s->last = &s->first;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->begun, NULL);
	pthread_cond_init(&s->ended, NULL);
	*out = s;
}

/* Take it off those that wait; the mutex is held. */
static void
unlink_waiting(struct mb_syncs *s, struct mb_sync *sync)
{
	struct mb_sync **at = &s->first;

	while (*at != sync)
		at = &(*at)->next;
	*at = sync->next;
	if (*at == NULL)
		s->last = at;
	s->n_waiting--;
	sync->phase = RUNNING;
}

static void
run(struct mb_sync *sync)
{
	sync->has_failed = mb_fsync(sync->fd, sync->name, &sync->err) < 0;
}

static void *
work(void *arg)
{
	struct mb_syncs *s = arg;

	pthread_mutex_lock(&s->mutex);
	for (;;) {
		struct mb_sync *sync = s->first;

		if (sync != NULL) {
			unlink_waiting(s, sync);
			pthread_mutex_unlock(&s->mutex);
			run(sync);
			pthread_mutex_lock(&s->mutex);
			sync->phase = ENDED;
			pthread_cond_broadcast(&s->ended);
		} else if (s->is_closing) {
			break;
		} else {
			s->n_idle++;
			pthread_cond_wait(&s->begun, &s->mutex);
			s->n_idle--;
		}
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

/* One more, if all are busy; the mutex is held. */
static void
add_thread(struct mb_syncs *s)
{
	sigset_t all, old;

	if (s->n_idle >= s->n_waiting || s->n_threads == MAX_THREADS)
		return;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&s->threads[s->n_threads], NULL, work, s) == 0)
		s->n_threads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
mb_syncs_close(struct mb_syncs *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->mutex);
	s->is_closing = true;
	pthread_cond_broadcast(&s->begun);
	pthread_mutex_unlock(&s->mutex);
	for (unsigned i = 0; i < s->n_threads; i++)
		pthread_join(s->threads[i], NULL);
	pthread_cond_destroy(&s->ended);
	pthread_cond_destroy(&s->begun);
	pthread_mutex_destroy(&s->mutex);
	free(s);
}

struct mb_sync *
mb_sync_begin(struct mb_syncs *s, int fd, const char *name)
{
	struct mb_sync *sync = mb_zalloc(sizeof *sync);

	*sync = (struct mb_sync){ .all = s, .fd = fd, .name = name };
	if (s == NULL) {
		run(sync);
		sync->phase = ENDED;
		return sync;
	}
	pthread_mutex_lock(&s->mutex);
	*s->last = sync;
	s->last = &sync->next;
	s->n_waiting++;
	add_thread(s);
	pthread_cond_signal(&s->begun);
	pthread_mutex_unlock(&s->mutex);
	return sync;
}

int
mb_sync_await(struct mb_sync **at, struct mb_err *err)
{
	struct mb_sync *sync = *at;
	struct mb_syncs *s;
	int rc = 0;

	if (sync == NULL)
		return 0;
	s = sync->all;
	if (s != NULL) {
		pthread_mutex_lock(&s->mutex);
		if (sync->phase == WAITING) {
			unlink_waiting(s, sync);
			pthread_mutex_unlock(&s->mutex);
			run(sync);
			pthread_mutex_lock(&s->mutex);
			sync->phase = ENDED;
		}
		while (sync->phase != ENDED)
			pthread_cond_wait(&s->ended, &s->mutex);
		pthread_mutex_unlock(&s->mutex);
	}
	if (sync->has_failed) {
		if (err->code == MB_OK)
			*err = sync->err;
		rc = -1;
	}
	free(sync);
	*at = NULL;
	return rc;
}

void
mb_sync_forget(struct mb_sync **sync)
{
	struct mb_err ignored = { 0 };
	int rc = mb_sync_await(sync, &ignored);

	(void)rc;
}
