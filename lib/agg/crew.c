#include "agg/crew.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"

struct worker {
	struct mb_crew *crew;
	pthread_t thread;
	unsigned number;
};

struct mb_crew {
	void (*work)(void *, unsigned, unsigned);
	void *context;
	struct worker *workers;	/* 1 …; 0 needs no thread */
	unsigned n_threads, n_jobs;
	bool *is_done;		/* per slot */

	pthread_mutex_t mutex;
	pthread_cond_t posted, finished;
	bool is_closing;
	/* Counted for ever: n_waited <= n_begun <= n_posted. */
	unsigned long n_posted, n_begun, n_waited;
};

/* Begin the next job, which is there, and do it; the mutex is held. */
static void
work_on(struct mb_crew *c, unsigned worker)
{
	unsigned job = (unsigned)(c->n_begun++ % c->n_jobs);

	pthread_mutex_unlock(&c->mutex);
	c->work(c->context, worker, job);
	pthread_mutex_lock(&c->mutex);
	c->is_done[job] = true;
}

static void *
run(void *arg)
{
	struct worker *w = arg;
	struct mb_crew *c = w->crew;

	pthread_mutex_lock(&c->mutex);
	for (;;) {
		while (!c->is_closing && c->n_begun == c->n_posted)
			pthread_cond_wait(&c->posted, &c->mutex);
		if (c->is_closing)
			break;
		work_on(c, w->number);
		pthread_cond_signal(&c->finished);
	}
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

int
mb_crew_open(struct mb_crew **out, unsigned n_threads, unsigned n_jobs,
    void (*work)(void *, unsigned, unsigned), void *context,
    struct mb_err *err)
{
	struct mb_crew *c = mb_zalloc(sizeof *c);
	sigset_t all, old;
	int rc = 0;

	*c = (struct mb_crew){ .work = work, .context = context,
		.n_threads = 1, .n_jobs = n_jobs };
	c->workers = mb_zalloc(n_threads * sizeof *c->workers);
	c->is_done = mb_zalloc(n_jobs * sizeof *c->is_done);
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->posted, NULL);
	pthread_cond_init(&c->finished, NULL);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (c->n_threads < n_threads && rc == 0) {
		struct worker *w = &c->workers[c->n_threads];

		*w = (struct worker){ .crew = c, .number = c->n_threads };
		rc = pthread_create(&w->thread, NULL, run, w);
		c->n_threads += rc == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		mb_crew_close(c);
		errno = rc;
		return mb_fail_sys(err, "start %u threads", n_threads);
	}
	*out = c;
	return 0;
}

void
mb_crew_close(struct mb_crew *c)
{
	if (c == NULL)
		return;
	pthread_mutex_lock(&c->mutex);
	c->is_closing = true;
	pthread_cond_broadcast(&c->posted);
	pthread_mutex_unlock(&c->mutex);
	for (unsigned i = 1; i < c->n_threads; i++)
		pthread_join(c->workers[i].thread, NULL);
	pthread_cond_destroy(&c->finished);
	pthread_cond_destroy(&c->posted);
	pthread_mutex_destroy(&c->mutex);
	free(c->is_done);
	free(c->workers);
	free(c);
}

bool
mb_crew_is_full(const struct mb_crew *c)
{
	return c->n_posted - c->n_waited == c->n_jobs;
}

unsigned
mb_crew_next(const struct mb_crew *c)
{
	return (unsigned)(c->n_posted % c->n_jobs);
}

void
mb_crew_post(struct mb_crew *c)
{
	pthread_mutex_lock(&c->mutex);
	c->is_done[mb_crew_next(c)] = false;
	c->n_posted++;
	pthread_cond_signal(&c->posted);
	pthread_mutex_unlock(&c->mutex);
}

int
mb_crew_wait(struct mb_crew *c)
{
	unsigned job = (unsigned)(c->n_waited % c->n_jobs);

	if (c->n_waited == c->n_posted)
		return -1;
	pthread_mutex_lock(&c->mutex);
	while (!c->is_done[job])
		if (c->n_begun < c->n_posted)
			work_on(c, 0);
		else
			pthread_cond_wait(&c->finished, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
	c->n_waited++;
	return (int)job;
}
