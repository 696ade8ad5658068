/*
 * What is a file to the journal?  Tables of values.
 */
#include "source/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* An inode as text: "dev:ino:born". */
static struct mb_inode
inode(const char *text)
{
	return (struct mb_inode){
		(uint64_t)(text[0] - '0'), (uint64_t)(text[2] - '0'),
		(uint64_t)(text[4] - '0'),
	};
}

static void
test_judge(void **state)
{
	enum { NAME = MB_PLACE_NAME, SIBLING = MB_PLACE_SIBLING,
		ELSEWHERE = MB_PLACE_ELSEWHERE };
	enum { EQUAL = MB_CONTENT_EQUAL, DIFFERS = MB_CONTENT_DIFFERS,
		NOTHING = MB_CONTENT_NOTHING, HIDDEN = MB_CONTENT_HIDDEN };
	enum { SAME = MB_IDENTITY_SAME, PERHAPS = MB_IDENTITY_PERHAPS,
		OTHER = MB_IDENTITY_OTHER, UNSURE = MB_IDENTITY_UNSURE };
	static const struct {
		const char *known, *file;
		int place, content;
		uint64_t evidence;
		int answer;
	} cases[] = {
		/* the common case, and a short file that grows */
		{ "1:5:7", "1:5:7", NAME, EQUAL, 4096, SAME },
		{ "1:5:7", "1:5:7", NAME, EQUAL, 3, SAME },
		/* truncated or written anew: whatever the inode says */
		{ "1:5:7", "1:5:7", NAME, DIFFERS, 4096, OTHER },
		{ "1:5:0", "1:5:0", SIBLING, DIFFERS, 4096, OTHER },
		{ "1:5:0", "1:5:0", ELSEWHERE, DIFFERS, 4096, OTHER },
		/* moved to another file system under the same name */
		{ "1:5:7", "2:6:8", NAME, EQUAL, 4096, SAME },
		{ "1:5:7", "2:6:8", NAME, EQUAL, 100, PERHAPS },
		/* rebooted: the device has another number */
		{ "1:5:7", "2:5:7", NAME, EQUAL, 100, SAME },
		{ "1:5:7", "2:5:7", ELSEWHERE, EQUAL, 100, SAME },
		{ "1:5:0", "2:5:0", NAME, EQUAL, 4096, SAME },
		{ "1:5:0", "2:5:0", NAME, EQUAL, 100, PERHAPS },
		/* rotated: renamed, copied, compressed */
		{ "1:5:7", "1:5:7", SIBLING, EQUAL, 100, SAME },
		{ "1:5:7", "1:6:8", SIBLING, EQUAL, 1024, SAME },
		{ "1:5:7", "1:6:8", SIBLING, EQUAL, 1023, PERHAPS },
		/* renamed to anything; but a copy there is another file */
		{ "1:5:7", "1:5:7", ELSEWHERE, EQUAL, 100, SAME },
		{ "1:5:0", "1:5:9", ELSEWHERE, EQUAL, 100, SAME },
		{ "1:5:7", "1:6:8", ELSEWHERE, EQUAL, 4096, OTHER },
		/* the inode number was used again */
		{ "1:5:7", "1:5:8", NAME, DIFFERS, 4096, OTHER },
		{ "1:5:7", "1:5:8", NAME, EQUAL, 100, OTHER },
		{ "1:5:7", "1:5:8", NAME, EQUAL, 4096, SAME },
		{ "1:5:7", "1:5:8", SIBLING, EQUAL, 100, OTHER },
		{ "1:5:7", "1:5:8", ELSEWHERE, EQUAL, 4096, OTHER },
		/* nothing was planned: only the inode can tell */
		{ "1:5:7", "1:5:7", NAME, NOTHING, 0, SAME },
		{ "1:5:7", "1:5:8", NAME, NOTHING, 0, OTHER },
		{ "1:5:7", "1:6:7", SIBLING, NOTHING, 0, OTHER },
		/* unobservable is not gone */
		{ "1:5:7", "1:5:7", NAME, HIDDEN, 0, UNSURE },
		{ "1:5:7", "1:6:8", SIBLING, HIDDEN, 0, UNSURE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_inode known = inode(cases[i].known);
		struct mb_inode file = inode(cases[i].file);
		int answer = (int)mb_identity_judge(&known, &file,
		    (enum mb_place)cases[i].place,
		    (enum mb_content_says)cases[i].content,
		    cases[i].evidence);

		if (answer != cases[i].answer)
			fail_msg("case %zu: %s and %s, place %d, content %d: "
			    "%d", i, cases[i].known, cases[i].file,
			    cases[i].place, cases[i].content, answer);
	}
}

static void
test_turn(void **state)
{
	enum { FILE_ = MB_PATH_FILE, ABSENT = MB_PATH_ABSENT,
		HIDDEN = MB_PATH_HIDDEN };
	enum { EQUAL = MB_CONTENT_EQUAL, DIFFERS = MB_CONTENT_DIFFERS,
		NOTHING = MB_CONTENT_NOTHING, UNREAD = MB_CONTENT_HIDDEN };
	enum { STAY = MB_TURN_STAY, WAIT = MB_TURN_WAIT, LOST = MB_TURN_LOST,
		MOVED = MB_TURN_MOVED, ROTATED = MB_TURN_ROTATED,
		LEFT = MB_TURN_LEFT };
	enum { WHOLE = 1, UNLINKED = 2 };
	static const struct {
		const char *held;
		int flags, path;
		const char *now;
		int content;
		uint64_t evidence;
		int turn;
	} cases[] = {
		{ "1:5:7", WHOLE, FILE_, "1:5:7", NOTHING, 0, STAY },
		/* truncated, whatever the path leads to */
		{ "1:5:7", 0, FILE_, "1:5:7", NOTHING, 0, LOST },
		{ "1:5:7", 0, ABSENT, "0:0:0", NOTHING, 0, LOST },
		/* renamed, deleted */
		{ "1:5:7", WHOLE, ABSENT, "0:0:0", NOTHING, 0, LEFT },
		{ "1:5:7", WHOLE | UNLINKED, ABSENT, "0:0:0", NOTHING, 0, LEFT },
		/* renamed, and a new file is there */
		{ "1:5:7", WHOLE, FILE_, "1:6:8", DIFFERS, 4096, ROTATED },
		{ "1:5:7", WHOLE, FILE_, "1:6:8", NOTHING, 0, ROTATED },
		{ "1:5:7", WHOLE | UNLINKED, FILE_, "1:6:8", DIFFERS, 10,
		    ROTATED },
		/* ... which begins with the same few lines */
		{ "1:5:7", WHOLE, FILE_, "1:6:8", EQUAL, 100, ROTATED },
		/* the same content in another place */
		{ "1:5:7", WHOLE, FILE_, "1:6:8", EQUAL, 1024, MOVED },
		{ "1:5:7", WHOLE | UNLINKED, FILE_, "1:6:8", EQUAL, 10, MOVED },
		{ "1:5:7", WHOLE, FILE_, "2:6:8", EQUAL, 10, MOVED },
		/* not to be observed: neither gone nor replaced */
		{ "1:5:7", WHOLE, HIDDEN, "0:0:0", NOTHING, 0, WAIT },
		{ "1:5:7", WHOLE, FILE_, "1:6:8", UNREAD, 0, WAIT },
		{ "1:5:7", 0, HIDDEN, "0:0:0", NOTHING, 0, LOST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_held held = {
			.inode = inode(cases[i].held),
			.is_whole = cases[i].flags & WHOLE,
			.is_unlinked = cases[i].flags & UNLINKED,
		};
		struct mb_at_path now = {
			.state = (enum mb_path_state)cases[i].path,
			.inode = inode(cases[i].now),
			.content = (enum mb_content_says)cases[i].content,
			.evidence = cases[i].evidence,
		};
		int turn = (int)mb_identity_turn(&held, &now);

		if (turn != cases[i].turn)
			fail_msg("case %zu: %d, not %d", i, turn,
			    cases[i].turn);
	}
}

static void
test_names(void **state)
{
	static const struct {
		const char *name;
		bool is_sibling, looks_rotated;
	} cases[] = {
		{ "app.log", false, false },
		{ "app.log.1", true, true },
		{ "app.log.1.gz", true, true },
		{ "app.log-20261123", true, true },
		{ "app.log-20261123.gz", true, true },
		{ "app.log.2026-11-23T10:00:00Z", true, true },
		{ "app.log-20261123-1795435200", true, true },
		{ "app.log.old", true, true },
		{ "app.log.", false, false },
		{ "app.log.bak", true, false },
		{ "app.log.gz", true, false },
		{ "app.log-errors", true, false },
		{ "app.log.1.bak", true, false },
		{ "app.logs", false, false },
		{ "app.lo", false, false },
		{ "xapp.log.1", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (mb_is_sibling("app.log", cases[i].name) !=
		    cases[i].is_sibling || mb_looks_rotated("app.log",
		    cases[i].name) != cases[i].looks_rotated)
			fail_msg("%s", cases[i].name);
}

static void
test_base(void **state)
{
	static const struct {
		const char *name;
		size_t len;
	} cases[] = {
		{ "app.log.2.gz", 7 }, { "app.log.1", 7 }, { "app.log", 0 },
		{ "app.log-2026-11-23", 7 }, { "app.log-20261123.gz", 7 },
		{ "chunk-000001", 5 }, { "chunk-000001.csv", 0 },
		{ ".1", 0 }, { "", 0 }, { "a.old", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (mb_rotated_base(cases[i].name) != cases[i].len)
			fail_msg("%s: %zu", cases[i].name,
			    mb_rotated_base(cases[i].name));
}

static void
test_order(void **state)
{
	static const struct {
		const char *a, *b;
		int64_t time_a, time_b;
		bool is_successor;
	} cases[] = {
		{ "l.2", "l.1", 10, 20, true },
		{ "l.1", "l.2", 20, 10, false },
		/* written within one tick of the clock */
		{ "l.2", "l.1", 10, 10, true },
		{ "l.1", "l.2", 10, 10, false },
		{ "l.10", "l.9", 10, 10, true },
		{ "l.9", "l.10", 10, 10, false },
		{ "l.010", "l.009", 10, 10, true },
		{ "l.2.gz", "l.1", 10, 10, true },
		{ "l-20261122", "l-20261123", 10, 10, true },
		{ "l-20261123", "l-20261122", 10, 10, false },
		{ "l-20261123", "l-20261123", 10, 10, false },
		/* an old one that somebody has touched or compressed anew */
		{ "l.2", "l.3.gz", 10, 20, false },
		{ "l-20261123", "l-20261122.gz", 10, 20, false },
		/* a compressor that didn't keep the time */
		{ "l.3.gz", "l.2", 20, 10, true },
		{ "l.2", "l.3.gz", 20, 30, false },
		{ "l-20261122.gz", "l-20261123", 20, 10, true },
		{ "l.2.gz", "l.3", 20, 10, false },
		{ "l.3.gz", "l.2.gz", 20, 10, true },
		/* a writer who was slow to leave the old one */
		{ "l.2", "l.1", 20, 10, true },
		{ "l.1", "l.2", 10, 20, false },
		{ "l-20261122", "l-20261123", 20, 10, true },
		/* dates in many spellings */
		{ "l-2026-11-22", "l-2026-11-23", 20, 10, true },
		{ "l-2026112209", "l-2026112210", 20, 10, true },
		{ "l-20261122-1", "l-20261122-2", 20, 10, true },
		{ "l.20261122T235959Z", "l.20261123T000000Z", 20, 10, true },
		{ "l.1795643982", "l.1795643983", 20, 10, true },
		{ "l.1795643982994330663", "l.1795643983994330663", 20, 10,
		    true },
		/* names that don't say */
		{ "l.1009962", "l.1009961", 10, 20, true },
		{ "l.1009961", "l.1009962", 10, 20, true },
		{ "l.2025", "l.2026", 10, 20, true },
		{ "l.2026", "l.2025", 10, 20, true },
		{ "l.30112026", "l.01122026", 10, 20, true },
		{ "l.old", "l.1009962", 10, 10, true },
		{ "l.1009962", "l.old", 10, 10, true },
		{ "l-20261122", "l-20261122-2", 10, 20, true },
		{ "l-20261122-2", "l-20261122", 10, 20, true },
		{ "l.2", "l.old", 10, 20, true },
		{ "l.old", "l.1", 10, 20, true },
		{ "l.old", "l.1", 20, 10, false },
		{ "l.1", "l-20261123", 10, 20, true },
		{ NULL, "l.1", 10, 20, true },
		{ NULL, "l.1", 20, 10, false },
		{ NULL, "l.1", 10, 10, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_rotated a = { cases[i].a, cases[i].time_a };
		struct mb_rotated b = { cases[i].b, cases[i].time_b };

		if (mb_is_successor("l", &a, &b) != cases[i].is_successor)
			fail_msg("%s, %s", cases[i].a, cases[i].b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_turn),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
