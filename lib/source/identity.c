#include "source/identity.h"

#include <ctype.h>
#include <string.h>

bool
mb_inode_equal(const struct mb_inode *a, const struct mb_inode *b)
{
	if (a->ino != b->ino)
		return false;
	if (a->born_ns != 0 && b->born_ns != 0)
		return a->born_ns == b->born_ns;
	return a->dev == b->dev;
}

/* The number was given to a new file after ours was deleted. */
static bool
is_used_again(const struct mb_inode *known, const struct mb_inode *file)
{
	return known->ino == file->ino && known->dev == file->dev &&
	    !mb_inode_equal(known, file);
}

enum mb_identity
mb_identity_judge(const struct mb_inode *known, const struct mb_inode *file,
    enum mb_place place, enum mb_content_says content, uint64_t evidence)
{
	bool is_equal = mb_inode_equal(known, file);

	switch (content) {
	case MB_CONTENT_HIDDEN:
		return MB_IDENTITY_UNSURE;
	case MB_CONTENT_DIFFERS:
		return MB_IDENTITY_OTHER;
	case MB_CONTENT_NOTHING:
		return is_equal ? MB_IDENTITY_SAME : MB_IDENTITY_OTHER;
	case MB_CONTENT_EQUAL:
		break;
	}
	if (is_equal)
		return MB_IDENTITY_SAME;
	if (place == MB_PLACE_ELSEWHERE)
		return MB_IDENTITY_OTHER;
	if (evidence >= MB_IDENTITY_STRONG)
		return MB_IDENTITY_SAME;
	return is_used_again(known, file) ? MB_IDENTITY_OTHER :
	    MB_IDENTITY_PERHAPS;
}

enum mb_turn
mb_identity_turn(const struct mb_held *held, const struct mb_at_path *now)
{
	if (!held->is_whole)
		return MB_TURN_LOST;
	if (now->state == MB_PATH_HIDDEN)
		return MB_TURN_WAIT;
	if (now->state == MB_PATH_ABSENT)
		return MB_TURN_LEFT;
	if (now->inode.dev == held->inode.dev &&
	    now->inode.ino == held->inode.ino)
		return MB_TURN_STAY;
	if (now->content == MB_CONTENT_HIDDEN)
		return MB_TURN_WAIT;
	if (now->content != MB_CONTENT_EQUAL)
		return MB_TURN_ROTATED;
	/*
	 * Copied there, as mv does between file systems and an editor when it
	 * saves; or a new log that begins as the old one did, which still has
	 * a name.
	 */
	if (now->evidence >= MB_IDENTITY_STRONG || held->is_unlinked ||
	    now->inode.dev != held->inode.dev)
		return MB_TURN_MOVED;
	return MB_TURN_ROTATED;
}

bool
mb_is_sibling(const char *base, const char *name)
{
	size_t len = strlen(base);

	return strncmp(name, base, len) == 0 &&
	    (name[len] == '.' || name[len] == '-') && name[len + 1] != '\0';
}

static size_t
digits(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]))
		n++;
	return n;
}

/* The rotation's own part of a name, without .gz: "1", "20261123". */
static bool
rotation_part(const char *base, const char *name, const char **part,
    size_t *len)
{
	if (!mb_is_sibling(base, name))
		return false;
	*part = name + strlen(base) + 1;
	*len = strlen(*part);
	if (*len > 3 && strcmp(*part + *len - 3, ".gz") == 0)
		*len -= 3;
	return true;
}

bool
mb_looks_rotated(const char *base, const char *name)
{
	const char *part;
	size_t len;

	if (!rotation_part(base, name, &part, &len))
		return false;
	if (len == 3 && memcmp(part, "old", 3) == 0)
		return true;
	if (digits(part) == 0)
		return false;
	/* A counter, a date, a time, in any of their spellings. */
	return strspn(part, "0123456789-_.:TZ") >= len;
}

size_t
mb_rotated_base(const char *name)
{
	char base[256];

	/* The shortest one: a date may have dashes in it. */
	for (size_t i = 1; i < sizeof base && i < strlen(name); i++) {
		if (name[i] != '.' && name[i] != '-')
			continue;
		memcpy(base, name, i);
		base[i] = '\0';
		if (mb_looks_rotated(base, name))
			return i;
	}
	return 0;
}

enum spelling {
	SAYS_NOTHING,
	COUNTER,	/* falls from one file to the next: .2 .1 */
	DATE,		/* rises */
};

static unsigned
number(const char *s, size_t n)
{
	unsigned v = 0;

	while (n-- > 0)
		v = 10 * v + (unsigned)(*s++ - '0');
	return v;
}

/*
 * What the rotation's own part is.  A year alone, days before months, or a
 * number of no known length say nothing: only the times do.
 */
static enum spelling
spelling(const char *part, size_t len)
{
	enum { MAX_COUNTER = 3, YEAR = 4, DAY = 8 };	/* digits */
	size_t n = digits(part), month = n == YEAR ? YEAR + 1 : YEAR;

	if (n > 0 && n <= MAX_COUNTER)
		return n == len ? COUNTER : SAYS_NOTHING;
	/* Seconds, and thousandths of them, since 1970. */
	if (n == len && (n == 10 || n == 13 || n == 16 || n == 19))
		return DATE;
	/* 20261123, 20261123120000, 2026-11-23, and whatever follows. */
	if (n != DAY && n != 10 && n != 12 && n != 14 &&
	    (n != YEAR || len < YEAR + 3 || digits(part + YEAR + 1) != 2))
		return SAYS_NOTHING;
	return number(part, YEAR) >= 1900 && number(part, YEAR) < 2200 &&
	    number(part + month, 2) >= 1 && number(part + month, 2) <= 12 ?
	    DATE : SAYS_NOTHING;
}

/* -1: by its name a was live before b, 1: after it, 0: the names don't say. */
static int
compare_names(const char *base, const char *a, const char *b)
{
	enum spelling how;
	const char *x, *y;
	size_t m, n;

	if (a == NULL || b == NULL || !rotation_part(base, a, &x, &m) ||
	    !rotation_part(base, b, &y, &n) || x[-1] != y[-1])
		return 0;
	how = spelling(x, m);
	if (how == SAYS_NOTHING || how != spelling(y, n))
		return 0;
	if (how == COUNTER)
		return (number(x, m) < number(y, n)) -
		    (number(x, m) > number(y, n));
	return m != n ? 0 : memcmp(x, y, n);
}

bool
mb_is_successor(const char *base, const struct mb_rotated *a,
    const struct mb_rotated *b)
{
	int by_name = compare_names(base, a->name, b->name);

	if (by_name != 0)
		return by_name < 0;
	return b->mtime_ns > a->mtime_ns ||
	    (b->mtime_ns == a->mtime_ns && (a->name == NULL ||
	    b->name == NULL || strcmp(a->name, b->name) != 0));
}
