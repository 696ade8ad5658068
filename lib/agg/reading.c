#include "agg/reading.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "frame/frame.h"
#include "record/split.h"

enum {
	BLOCK = 256 * 1024,	/* it stays in the second-level cache */
	LEAD = 1024,		/* so much is read before it, at a guess, … */
	ROOM = 64 * 1024,	/* … and so much more if need be */
	MAX_RECORD = 1 << 20,
	ALIKE = 4096,
};

struct mb_reading {
	struct mb_span span;
	enum mb_reading_way way;
	enum mb_format format;
	char delimiter;
	uint64_t record_limit;
	struct mb_reading_block next;

	pthread_mutex_t mutex;
	pthread_cond_t passed;
	uint64_t turn;		/* of the block with this number */
	uint64_t pos;		/* where its records begin; guessed: the end
				   of the last ones so far */
	bool has_stopped;	/* guessed: it is doubtful */
};

struct mb_reading *
mb_reading_open(void)
{
	struct mb_reading *r = mb_zalloc(sizeof *r);

	pthread_mutex_init(&r->mutex, NULL);
	pthread_cond_init(&r->passed, NULL);
	return r;
}

void
mb_reading_close(struct mb_reading *r)
{
	if (r == NULL)
		return;
	pthread_cond_destroy(&r->passed);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}

void
mb_reading_begin(struct mb_reading *r, const struct mb_span *span,
    enum mb_reading_way way, enum mb_format format, char delimiter,
    uint64_t record_limit)
{
	r->span = *span;
	r->way = way;
	r->format = format;
	r->delimiter = delimiter;
	r->record_limit = record_limit;
	r->next = (struct mb_reading_block){ .end = span->pos };
	r->turn = 0;
	r->pos = span->pos;
	r->has_stopped = false;
}

bool
mb_reading_next(struct mb_reading *r, struct mb_reading_block *out)
{
	bool has_stopped;

	pthread_mutex_lock(&r->mutex);
	has_stopped = r->has_stopped;
	pthread_mutex_unlock(&r->mutex);
	if (has_stopped || r->next.end >= r->span.end)
		return false;
	r->next.pos = r->next.end;
	r->next.end = (r->next.pos / BLOCK + 1) * BLOCK;
	if (r->next.end > r->span.end)
		r->next.end = r->span.end;
	*out = r->next;
	r->next.number++;
	return true;
}

/* The bytes [pos, end) of the file, at p; in front is room for more. */
struct piece {
	char *p;
	uint64_t pos, end;
	size_t room;
};

/*
 * Read a piece into buf: 1, or 0: its bytes aren't all there.  They stand as
 * they do in the page cache, from which they are copied a fifth faster so.
 */
static int
read_piece(const struct mb_reading *r, struct mb_buf *buf, uint64_t pos,
    uint64_t end, struct piece *piece, struct mb_err *err)
{
	size_t len = (size_t)(end - pos);
	ssize_t n;
	char *p;

	mb_buf_reset(buf);
	mb_buf_reserve(buf, ROOM + ALIKE + len);
	p = buf->p + ROOM;
	p += ((size_t)pos - (uintptr_t)p) % ALIKE;
	*piece = (struct piece){ p, pos, end, ROOM };
	n = mb_pread_full(r->span.fd, p, len, pos, r->span.name, err);
	return n < 0 ? -1 : (size_t)n == len;
}

/* So many more bytes in front of a piece, which has the room. */
static int
read_before(const struct mb_reading *r, struct piece *piece, size_t len,
    struct mb_err *err)
{
	ssize_t n;

	piece->p -= len;
	piece->pos -= len;
	piece->room -= len;
	n = mb_pread_full(r->span.fd, piece->p, len, piece->pos, r->span.name,
	    err);
	return n < 0 ? -1 : (size_t)n == len;
}

/* What must be known of bytes before another thread may go on behind them. */
struct signs {
	bool has_quotes;	/* a record could be more than its line */
	bool has_rs;		/* a line could be control */
};

static struct signs
find_signs(const struct mb_reading *r, const struct piece *piece)
{
	enum { NEAR = 8192 };	/* it stays in the first-level cache */
	size_t len = (size_t)(piece->end - piece->pos);
	const char *p = piece->p;
	struct signs signs = { 0 };

	for (size_t n; len > 0; p += n, len -= n) {
		n = len < NEAR ? len : NEAR;
		if (r->format == MB_CSV && !signs.has_quotes)
			signs.has_quotes = memchr(p, '"', n) != NULL;
		if (!signs.has_rs)
			signs.has_rs = memchr(p, MB_RS, n) != NULL;
	}
	return signs;
}

/* How many of the bytes are whole records; a record begins at p. */
static size_t
whole_records(const struct mb_reading *r, bool has_quotes, const char *p,
    size_t len)
{
	struct mb_split split;
	const char *newline;
	uint64_t n;

	if (!has_quotes) {
		newline = memrchr(p, '\n', len);
		return newline == NULL ? 0 : (size_t)(newline - p) + 1;
	}
	mb_split_init(&split, r->format, r->delimiter, r->record_limit, 0);
	while (split.off < len)
		(void)mb_split_scan(&split, p + split.off,
		    len - (size_t)split.off, UINT64_MAX, &n);
	return (size_t)split.complete;
}

bool
mb_reading_is_control(const char *p, size_t len)
{
	static const char control[] = { MB_RS, '{', '"', 'm', 'b', '"', ':' };
	const char *start = p, *end = p + len;

	while (p < end && (p = memchr(p, MB_RS, (size_t)(end - p))) != NULL) {
		if ((size_t)(end - p) >= sizeof control &&
		    memcmp(p, control, sizeof control) == 0 &&
		    (p == start || p[-1] == '\n'))
			return true;
		p++;
	}
	return false;
}

/*
 * Wait for the turn of a block: where its records begin; false: it has
 * stopped before.
 */
static bool
wait_for_turn(struct mb_reading *r, uint64_t number, uint64_t *pos)
{
	bool has_stopped;

	pthread_mutex_lock(&r->mutex);
	while (r->turn != number)
		pthread_cond_wait(&r->passed, &r->mutex);
	*pos = r->pos;
	has_stopped = r->has_stopped;
	pthread_mutex_unlock(&r->mutex);
	return !has_stopped;
}

/* The next block's records begin at pos, or there will be none. */
static void
pass_turn(struct mb_reading *r, uint64_t pos, bool has_stopped)
{
	pthread_mutex_lock(&r->mutex);
	r->turn++;
	if (r->way != MB_READING_GUESSED || pos > r->pos)
		r->pos = pos;
	r->has_stopped |= has_stopped;
	pthread_cond_broadcast(&r->passed);
	pthread_mutex_unlock(&r->mutex);
}

/* All bytes up to the block's end: 1, or 0: stop here. */
static int
take_alone(struct mb_reading *r, const struct mb_reading_block *b,
    struct mb_buf *buf, struct mb_str *records, uint64_t *pos,
    struct mb_err *err)
{
	struct piece piece;
	int rc;

	if (!wait_for_turn(r, b->number, pos) ||
	    b->end - *pos > MAX_RECORD + BLOCK)
		return 0;
	rc = read_piece(r, buf, *pos, b->end, &piece, err);
	*records = (struct mb_str){ piece.p, (size_t)(b->end - *pos) };
	return rc;
}

/* A block, and what is before it, where its records should begin. */
static int
read_block(const struct mb_reading *r, const struct mb_reading_block *b,
    struct mb_buf *buf, struct piece *piece, struct mb_err *err)
{
	uint64_t lead = b->pos - r->span.pos;

	return read_piece(r, buf, b->pos - (lead < LEAD ? lead : LEAD), b->end,
	    piece, err);
}

/*
 * Find the records of a block whose turn it is, in a piece up to its end: 1
 * found, 0 stop here.
 */
static int
find_records(const struct mb_reading *r, struct mb_buf *buf,
    struct piece *piece, struct signs signs, uint64_t pos,
    struct mb_str *records, struct mb_err *err)
{
	int rc;

	if (piece->end - pos > MAX_RECORD + BLOCK)
		return 0;
	if (pos < piece->pos) {
		rc = piece->pos - pos <= piece->room ?
		    read_before(r, piece, (size_t)(piece->pos - pos), err) :
		    read_piece(r, buf, pos, piece->end, piece, err);
		if (rc <= 0)
			return rc;
		signs = find_signs(r, piece);
	}
	records->p = piece->p + (pos - piece->pos);
	records->len = whole_records(r, signs.has_quotes, records->p,
	    (size_t)(piece->end - pos));
	return !signs.has_rs ||
	    !mb_reading_is_control(records->p, records->len);
}

/* The records only, as others wait for where they end. */
static int
take_in_turn(struct mb_reading *r, const struct mb_reading_block *b,
    struct mb_buf *buf, struct mb_str *records, uint64_t *pos,
    struct mb_err *err)
{
	struct signs signs = { 0 };
	struct piece piece;
	int rc;

	/* All that can be done before the turn is done before. */
	rc = read_block(r, b, buf, &piece, err);
	if (rc > 0)
		signs = find_signs(r, &piece);
	if (!wait_for_turn(r, b->number, pos))
		return 0;
	return rc <= 0 ? rc : find_records(r, buf, &piece, signs, *pos, records,
	    err);
}

/* What is between the last newlines before the block and before its end. */
static int
take_guessed(struct mb_reading *r, const struct mb_reading_block *b,
    struct mb_buf *buf, struct mb_str *records, uint64_t *pos,
    struct mb_err *err)
{
	const char *begin, *end;
	struct piece piece;
	int rc;

	rc = read_block(r, b, buf, &piece, err);
	while (rc > 0 && (begin = memrchr(piece.p, '\n',
	    (size_t)(b->pos - piece.pos))) == NULL &&
	    piece.pos > r->span.pos) {
		/* Twice as far back. */
		uint64_t more = b->pos - piece.pos;

		if (more > piece.pos - r->span.pos)
			more = piece.pos - r->span.pos;
		if (more > piece.room)
			return 0;
		rc = read_before(r, &piece, (size_t)more, err);
	}
	if (rc <= 0)
		return rc;
	begin = begin == NULL ? piece.p : begin + 1;
	*pos = piece.pos + (uint64_t)(begin - piece.p);
	end = memrchr(begin, '\n', (size_t)(piece.end - *pos));
	*records = (struct mb_str){ begin,
		end == NULL ? 0 : (size_t)(end + 1 - begin) };
	return 1;
}

static int
take_some(struct mb_reading *r, const struct mb_reading_block *b,
    struct mb_buf *buf, struct mb_str *records, uint64_t *pos,
    struct mb_err *err)
{
	switch (r->way) {
	case MB_READING_ALONE:
		return take_alone(r, b, buf, records, pos, err);
	case MB_READING_IN_TURN:
		return take_in_turn(r, b, buf, records, pos, err);
	case MB_READING_GUESSED:
		break;
	}
	return take_guessed(r, b, buf, records, pos, err);
}

int
mb_reading_take(struct mb_reading *r, const struct mb_reading_block *b,
    struct mb_buf *buf, struct mb_str *records, uint64_t *pos,
    struct mb_err *err)
{
	int rc;

	*pos = b->pos;
	rc = take_some(r, b, buf, records, pos, err);
	if (rc <= 0)
		*records = MB_STR("");
	pass_turn(r, *pos + records->len, rc <= 0);
	return rc < 0 ? -1 : 0;
}

void
mb_reading_leave(struct mb_reading *r, size_t len, bool is_control)
{
	pthread_mutex_lock(&r->mutex);
	r->pos -= len;
	r->has_stopped |= is_control;
	pthread_mutex_unlock(&r->mutex);
}

void
mb_reading_doubt(struct mb_reading *r)
{
	pthread_mutex_lock(&r->mutex);
	r->has_stopped = true;
	pthread_mutex_unlock(&r->mutex);
}

bool
mb_reading_is_doubtful(struct mb_reading *r)
{
	bool has_stopped;

	pthread_mutex_lock(&r->mutex);
	has_stopped = r->has_stopped;
	pthread_mutex_unlock(&r->mutex);
	return has_stopped;
}

uint64_t
mb_reading_pos(struct mb_reading *r)
{
	uint64_t pos;

	pthread_mutex_lock(&r->mutex);
	pos = r->pos;
	pthread_mutex_unlock(&r->mutex);
	return pos;
}
