/*
 * agg_help.h - what the tests of groups and of mb_work share.  After
 * <cmocka.h>.
 */
#ifndef MB_TESTS_AGG_HELP_H
#define MB_TESTS_AGG_HELP_H

#include "agg/query.h"

#include <stdio.h>
#include <stdlib.h>

static inline void
make_query(struct mb_query *q, const char *keys, const char *aggs,
    const char *where)
{
	struct mb_err err = { 0 };

	if ((keys != NULL && mb_query_add_keys(q, keys, &err) < 0) ||
	    (aggs != NULL && mb_query_add_aggregates(q, aggs, &err) < 0) ||
	    (where != NULL && mb_query_set_where(q, where, &err) < 0) ||
	    mb_query_finish(q, NULL, 0, &err) < 0)
		fail_msg("-k %s -a %s: %s", keys != NULL ? keys : "",
		    aggs != NULL ? aggs : "", err.msg);
}

static inline const char *
random_number(char *out, size_t cap)
{
	switch (rand() % 8) {
	case 0:
		snprintf(out, cap, "%d.%02d", rand() % 100 - 50, rand() % 100);
		break;
	case 1:
		snprintf(out, cap, "%de%d", rand() % 1000 - 500,
		    rand() % 40 - 20);
		break;
	case 2:
		snprintf(out, cap, "%d%09d%09d%09d", rand() % 100 - 50, rand() %
		    1000000000, rand() % 1000000000, rand() % 1000000000);
		break;
	default:
		snprintf(out, cap, "%d", rand() % 2000 - 1000);
	}
	return out;
}

static inline void
assert_same(const struct mb_buf *got, const struct mb_buf *want,
    const char *what)
{
	size_t at = 0, from;

	while (at < got->len && at < want->len && got->p[at] == want->p[at])
		at++;
	if (at == got->len && at == want->len)
		return;
	from = at > 200 ? at - 200 : 0;
	fail_msg("%s: at %zu of %zu (not %zu) bytes\n got …%.*s\nwant …%.*s",
	    what, at, got->len, want->len,
	    (int)(got->len - from < 400 ? got->len - from : 400),
	    got->p + from,
	    (int)(want->len - from < 400 ? want->len - from : 400),
	    want->p + from);
}

#endif
