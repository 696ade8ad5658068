#include "sink/deltamark.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "delta/commit.h"

#define PREFIX "mb:"

enum { APP_LEN = 80 };

/* What the txn of a batch says. */
enum { HOLE = 0, NO_HOLE = 1, EMPTY = 2 };

static void
app_name(char out[APP_LEN], const char *journal, const char *part)
{
	snprintf(out, APP_LEN, PREFIX "%.32s%s", journal, part);
}

static bool
get(const struct mb_delta_state *s, const char *journal, const char *part,
    int64_t *out)
{
	char app[APP_LEN];

	app_name(app, journal, part);
	return mb_delta_state_txn(s, app, out);
}

/* The batch of "mb:ID/17"; false if it isn't one of this journal. */
static bool
parse_hole(const char *app, const char *journal, uint64_t *batch)
{
	char prefix[APP_LEN];
	uint64_t n = 0;
	const char *p;

	app_name(prefix, journal, "/");
	if (strncmp(app, prefix, strlen(prefix)) != 0)
		return false;
	p = app + strlen(prefix);
	if (*p == '\0')
		return false;
	for (; *p != '\0'; p++)
		if (*p < '0' || *p > '9' ||
		    __builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	*batch = n;
	return true;
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int
mb_deltamark_read(struct mb_marker *out, const struct mb_delta_state *s,
    const char *journal, struct mb_err *err)
{
	int64_t last, first, high, low;
	uint64_t batch;

	*out = (struct mb_marker){ 0 };
	if (!get(s, journal, "", &last))
		return 0;
	if (!get(s, journal, "#first", &first) ||
	    !get(s, journal, "#digest", &high) ||
	    !get(s, journal, "#digest2", &low) || first < 0 || last < first)
		return mb_fail(err, MB_ECORRUPT, "its marker (txn " PREFIX
		    "%s) is not whole: did somebody expire transactions?",
		    journal);
	out->exists = true;
	out->first = (uint64_t)first;
	out->last = (uint64_t)last;
	snprintf(out->digest.hex, sizeof out->digest.hex, "%016" PRIx64 "%016"
	    PRIx64, (uint64_t)high, (uint64_t)low);
	for (size_t i = 0; i < s->apps.n; i++) {
		if (s->txns[i].version != HOLE ||
		    !parse_hole(s->apps.v[i].p, journal, &batch))
			continue;
		if (batch <= out->first || batch >= out->last) {
			mb_marker_release(out);
			return mb_fail(err, MB_ECORRUPT, "its marker has a "
			    "hole beyond its ends: %s", s->apps.v[i].p);
		}
		out->holes = mb_realloc_array(out->holes, out->n_holes + 1,
		    sizeof *out->holes);
		out->holes[out->n_holes++] = batch;
	}
	if (out->n_holes > 1)
		qsort(out->holes, out->n_holes, sizeof *out->holes, compare);
	return 0;
}

/* Above 0, which means none. */
static int64_t
path_number(const char *path)
{
	struct mb_hash h = mb_hash_bytes(path, strlen(path));

	h.hex[15] = '\0';
	return (int64_t)strtoull(h.hex, NULL, 16) + 1;
}

static int64_t
half(const struct mb_hash *digest, size_t from)
{
	char text[17];

	memcpy(text, digest->hex + from, 16);
	text[16] = '\0';
	return (int64_t)strtoull(text, NULL, 16);
}

static void
put_batch(struct mb_buf *out, const char *journal, uint64_t batch,
    int64_t what, int64_t time_ms)
{
	char part[32], app[APP_LEN];

	snprintf(part, sizeof part, "/%" PRIu64, batch);
	app_name(app, journal, part);
	mb_delta_put_txn(out, app, what, time_ms);
}

bool
mb_deltamark_is_empty(const struct mb_delta_state *s, const char *journal,
    uint64_t batch)
{
	char part[32];
	int64_t what;

	snprintf(part, sizeof part, "/%" PRIu64, batch);
	return get(s, journal, part, &what) && what == EMPTY;
}

void
mb_deltamark_put_empty(struct mb_buf *out, const struct mb_delta_state *s,
    const char *journal, uint64_t batch, bool is_empty, int64_t time_ms)
{
	if (is_empty != mb_deltamark_is_empty(s, journal, batch))
		put_batch(out, journal, batch, is_empty ? EMPTY : NO_HOLE,
		    time_ms);
}

/* Both are sorted: what is in one of them alone has changed. */
static void
put_holes(struct mb_buf *out, const char *journal,
    const struct mb_marker *was, const struct mb_marker *now, int64_t time_ms)
{
	size_t i = 0, k = 0;

	while (i < was->n_holes || k < now->n_holes)
		if (k == now->n_holes || (i < was->n_holes &&
		    was->holes[i] < now->holes[k]))
			put_batch(out, journal, was->holes[i++], NO_HOLE,
			    time_ms);
		else if (i == was->n_holes || now->holes[k] < was->holes[i])
			put_batch(out, journal, now->holes[k++], HOLE,
			    time_ms);
		else
			i++, k++;
}

void
mb_deltamark_put(struct mb_buf *out, const struct mb_delta_state *s,
    const char *journal, const char *path, const struct mb_marker *was,
    const struct mb_marker *now, int64_t time_ms)
{
	const char *other = mb_deltamark_other(s, journal, path);
	int64_t number = path_number(path), known;
	char app[APP_LEN];

	app_name(app, journal, "");
	mb_delta_put_txn(out, app, (int64_t)now->last, time_ms);
	if (!was->exists || was->first != now->first) {
		app_name(app, journal, "#first");
		mb_delta_put_txn(out, app, (int64_t)now->first, time_ms);
	}
	if (!was->exists || strcmp(was->digest.hex, now->digest.hex) != 0) {
		app_name(app, journal, "#digest");
		mb_delta_put_txn(out, app, half(&now->digest, 0), time_ms);
		app_name(app, journal, "#digest2");
		mb_delta_put_txn(out, app, half(&now->digest, 16), time_ms);
	}
	if (!get(s, journal, "#path", &known) || known != number) {
		app_name(app, journal, "#path");
		mb_delta_put_txn(out, app, number, time_ms);
	}
	if (other != NULL) {	/* has been accepted as lost */
		app_name(app, other, "#path");
		mb_delta_put_txn(out, app, 0, time_ms);
	}
	put_holes(out, journal, was, now, time_ms);
}

const char *
mb_deltamark_other(const struct mb_delta_state *s, const char *journal,
    const char *path)
{
	int64_t number = path_number(path);

	for (size_t i = 0; i < s->apps.n; i++) {
		const char *app = s->apps.v[i].p;

		if (s->txns[i].version == number &&
		    strncmp(app, PREFIX, strlen(PREFIX)) == 0 &&
		    strlen(app) == strlen(PREFIX) + 32 + strlen("#path") &&
		    strcmp(app + strlen(PREFIX) + 32, "#path") == 0 &&
		    strncmp(app + strlen(PREFIX), journal, 32) != 0)
			return app + strlen(PREFIX);
	}
	return NULL;
}
