/*
 * I1. A line is left out only if every later line can follow without it, and
 *     every later checkpoint is what it would be without it.  Then no plan is
 *     missing, and the target's marker knows of the rest.
 * I2. Offsets stay: what is put in the place of damaged bytes has as many of
 *     them, so that `synced` vouches for what it vouched for.  Only where the
 *     beginning goes as a whole does the head say so (base).
 */
#include "journal/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"
#include "journal/lines.h"
#include "journal/private.h"

enum {
	SHORT_LINE = 47,	/* no line is shorter: a `final` */
	SHORT_RUN = 80,		/* no `run` line is shorter */
};

enum piece_kind {
	GOOD, BAD,
	FLIPPED,		/* one bit was put back */
	MADE,			/* the `open` line, anew */
	LEFT_OUT,
};

/* A line, or several that are bad. */
struct piece {
	size_t start, end;	/* with its newline, if it has one */
	size_t line, n_lines;	/* from 1 */
	enum piece_kind kind;
	size_t byte;		/* FLIPPED: which */
	char was;
	size_t second;		/* where a second line begins in it; or 0 */
};

struct repair {
	struct mb_str file;
	struct mb_buf bytes;	/* of the same length, as mended so far */
	const char *id;
	struct piece *pieces;
	size_t n, cap;
	size_t n_whole;		/* then follows a torn tail */
	uint64_t base;
	size_t head_len;
	struct mb_buf *says;
	/* The first line that can't follow. */
	size_t wrong;		/* its piece; n: none */
	struct mb_err why;
};

static bool
is_bad(const struct piece *p)
{
	return p->kind == BAD || p->kind == LEFT_OUT;
}

/* Without its newline. */
static struct mb_str
line_at(const struct repair *r, size_t start, size_t end)
{
	return (struct mb_str){ r->bytes.p + start, end - start - 1 };
}

static struct mb_str
line_of(const struct repair *r, const struct piece *p)
{
	return line_at(r, p->start, p->end);
}

static bool
is_good(const struct repair *r, size_t i, const char *verb)
{
	return !is_bad(&r->pieces[i]) &&
	    mb_scan_is(line_of(r, &r->pieces[i]), verb);
}

static void
add_piece(struct repair *r, struct piece p)
{
	if (r->n == r->cap) {
		r->cap = r->cap * 2 + 64;
		r->pieces = mb_realloc_array(r->pieces, r->cap,
		    sizeof *r->pieces);
	}
	r->pieces[r->n++] = p;
}

static void
split(struct repair *r)
{
	size_t line = 1;

	for (size_t start = 0, end; start < r->file.len; start = end) {
		const char *newline = memchr(r->bytes.p + start, '\n',
		    r->file.len - start);

		end = newline == NULL ? r->file.len :
		    (size_t)(newline - r->bytes.p) + 1;
		add_piece(r, (struct piece){
			.start = start, .end = end, .line = line++,
			.n_lines = 1, .kind = newline != NULL &&
			    mb_line_check(line_at(r, start, end)) ? GOOD : BAD,
		});
	}
}

/*
 * One wrong bit.
 */

static void
flip(struct repair *r, struct piece *p, size_t byte, unsigned bit)
{
	p->kind = FLIPPED;
	p->byte = byte;
	p->was = r->bytes.p[byte];
	r->bytes.p[byte] ^= (char)(1 << bit);
}

/* A newline that became another byte: two lines look like one. */
static bool
flip_into_newline(struct repair *r, struct piece *p)
{
	const char *b = r->bytes.p;

	for (size_t i = p->start + 1; i + 2 < p->end; i++) {
		unsigned x = (unsigned char)(b[i] ^ '\n');

		if (b[i - 1] != '}' || b[i + 1] != '{' || (x & (x - 1)) != 0 ||
		    !mb_line_check(line_at(r, p->start, i + 1)) ||
		    !mb_line_check(line_at(r, i + 1, p->end)))
			continue;
		flip(r, p, i, (unsigned)__builtin_ctz(x));
		p->second = i + 1;
		return true;
	}
	return false;
}

/* Another byte that became a newline: one line looks like two. */
static bool
flip_newline(struct repair *r, struct piece *p, const struct piece *next)
{
	for (unsigned bit = 0; bit < 8; bit++) {
		r->bytes.p[p->end - 1] = (char)('\n' ^ 1 << bit);
		if (mb_line_check(line_at(r, p->start, next->end))) {
			r->bytes.p[p->end - 1] = '\n';
			flip(r, p, p->end - 1, bit);
			p->end = next->end;
			return true;
		}
	}
	r->bytes.p[p->end - 1] = '\n';
	return false;
}

/* What looked like one line and is two becomes two pieces. */
static void
split_second(struct repair *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct piece p = r->pieces[i];

		if (p.second == 0)
			continue;
		add_piece(r, p);	/* for the room */
		memmove(r->pieces + i + 1, r->pieces + i, (r->n - 1 - i) *
		    sizeof *r->pieces);
		r->pieces[i].end = r->pieces[i + 1].start = p.second;
		r->pieces[i].second = r->pieces[i + 1].second = 0;
		r->pieces[i + 1].kind = GOOD;
	}
}

/* The last newline. */
static void
flip_last(struct repair *r, struct piece *p)
{
	unsigned x = (unsigned char)(r->bytes.p[p->end - 1] ^ '\n');

	if ((x & (x - 1)) == 0 && mb_line_check(line_of(r, p)))
		flip(r, p, p->end - 1, (unsigned)__builtin_ctz(x));
}

static void
find_flips(struct repair *r)
{
	size_t kept = 0, byte;
	unsigned bit;

	for (size_t i = 0; i < r->n; i++) {
		struct piece *p = &r->pieces[i];

		if (p->kind != BAD)
			continue;
		if (r->bytes.p[p->end - 1] != '\n')
			flip_last(r, p);
		else if (mb_line_find_flip(line_of(r, p), &byte, &bit))
			flip(r, p, p->start + byte, bit);
		else
			(void)flip_into_newline(r, p);
	}
	for (size_t i = 0; i < r->n; i++) {
		struct piece p = r->pieces[i];

		if (p.kind == BAD && i + 1 < r->n &&
		    r->pieces[i + 1].kind == BAD &&
		    r->bytes.p[r->pieces[i + 1].end - 1] == '\n' &&
		    flip_newline(r, &p, &r->pieces[i + 1]))
			i++;
		/* Bad lines side by side are one place. */
		if (p.kind == BAD && kept > 0 &&
		    r->pieces[kept - 1].kind == BAD) {
			r->pieces[kept - 1].end = p.end;
			r->pieces[kept - 1].n_lines++;
		} else {
			r->pieces[kept++] = p;
		}
	}
	r->n = kept;
	split_second(r);
}

/*
 * The head, and with it what offsets mean.
 */

/*
 * The `open` line that must have stood here: all that it says is known from
 * elsewhere.  The digests of the plans are chained to the id, so a wrong one
 * would be noticed.
 */
static void
make_open(struct repair *r)
{
	struct piece *first = &r->pieces[0], rest = *first;
	struct mb_buf line = { 0 };
	uint64_t base = 0, synced;

	if (r->id == NULL || r->n < 2)
		return;
	/* The checkpoint of a head tells the base; another one doesn't fit. */
	for (int i = 0; i < 2; i++) {
		mb_buf_reset(&line);
		mb_journal_put_open(&line, r->id, base);
		if (line.len == first->end)
			break;
		if (!mb_scan_synced(line_of(r, &r->pieces[1]), &synced))
			break;
		base = synced;
	}
	if (line.len != first->end && first->end > line.len + SHORT_LINE) {
		/* More than the first line is bad. */
		mb_buf_reset(&line);
		mb_journal_put_open(&line, r->id, 0);
		rest.start = line.len;
		rest.line++;
		rest.n_lines -= rest.n_lines > 1;
		add_piece(r, rest);
		memmove(r->pieces + 2, r->pieces + 1, (r->n - 2) *
		    sizeof *r->pieces);
		r->pieces[1] = rest;
		first = &r->pieces[0];
		first->end = line.len;
		first->n_lines = 1;
	}
	if (line.len == first->end) {
		first->kind = MADE;
		memcpy(r->bytes.p, line.p, line.len);
	}
	mb_buf_release(&line);
}

/* False: no journal begins like this. */
static bool
read_head(struct repair *r)
{
	struct mb_err ignored = { 0 };
	struct mb_doc *doc;
	size_t last = 0;	/* piece of the head */

	if (r->n > 0 && r->pieces[0].kind == BAD)
		make_open(r);
	if (r->n == 0 || is_bad(&r->pieces[0]) ||
	    !mb_scan_is(line_of(r, &r->pieces[0]), "open") ||
	    mb_doc_parse(&doc, line_of(r, &r->pieces[0]), &ignored) < 0)
		return false;
	(void)mb_node_u64(mb_doc_root(doc), "base", &r->base);
	mb_doc_close(doc);
	if (r->base > 0)
		while (last + 1 < r->n && !is_good(r, last, "checkpoint") &&
		    (is_bad(&r->pieces[last + 1]) ||
		    is_good(r, last + 1, "part") ||
		    is_good(r, last + 1, "checkpoint")))
			last++;
	r->head_len = r->pieces[last].end;
	return true;
}

static uint64_t
logical(const struct repair *r, size_t place)
{
	return place < r->head_len ? 0 : r->base + (place - r->head_len);
}

/*
 * Where does the file end, as every tool sees it (I2 of journal.c)?  A bad
 * line for which no later one vouches is a torn tail.
 */
static void
find_end(struct repair *r)
{
	uint64_t vouched = 0, synced;

	r->n_whole = r->n;
	for (size_t i = r->n; i-- > 0;) {
		const struct piece *p = &r->pieces[i];

		if (p->kind == BAD) {
			if (p->start >= r->head_len &&
			    vouched <= logical(r, p->start))
				r->n_whole = i;
		} else if (mb_scan_synced(line_of(r, p), &synced) &&
		    synced > vouched) {
			vouched = synced;
		}
	}
}

/*
 * Folding.
 */

static int
fold_piece(const struct repair *r, struct mb_state *s, const struct piece *p,
    struct mb_err *err)
{
	size_t start = p->start;

	for (size_t i = start; i < p->end; i++)
		if (r->bytes.p[i] == '\n') {
			if (mb_state_apply(s, line_at(r, start, i + 1), err) <
			    0)
				return -1;
			start = i + 1;
		}
	return 0;
}

/*
 * Is the checkpoint the state's?  Its last line tells, which has a hash of its
 * parts.
 */
static bool
is_checkpoint_of(const struct repair *r, const struct piece *p,
    const struct mb_state *s)
{
	struct mb_checkpoint c = { 0 };
	struct mb_buf text = { 0 };
	uint64_t synced = 0;
	bool is_same;

	(void)mb_scan_synced(line_of(r, p), &synced);
	while (mb_put_checkpoint_line(&text, s, synced, &c))
		mb_buf_reset(&text);
	is_same = text.len == p->end - p->start &&
	    memcmp(text.p, r->bytes.p + p->start, text.len) == 0;
	mb_buf_release(&text);
	return is_same;
}

/*
 * Fold the pieces from `from` on.  What is bad is left out; then what follows
 * has to prove that it may (I1).  On failure r->wrong and r->why say what
 * can't follow.
 */
static bool
fold_all(struct repair *r, struct mb_state *s, size_t from)
{
	bool has_gap = false;

	r->wrong = r->n;
	r->why = (struct mb_err){ 0 };
	for (size_t i = from; i < r->n_whole; i++) {
		const struct piece *p = &r->pieces[i];

		r->wrong = i;
		if (is_bad(p)) {
			has_gap = true;
			if (p->start < r->head_len)
				mb_fail(&r->why, MB_ECORRUPT, "is where the "
				    "journal begins");
			else if (p->end - p->start < SHORT_LINE)
				mb_fail(&r->why, MB_ECORRUPT, "less than a "
				    "line: bytes were taken out");	/* I2 */
			if (r->why.code != MB_OK)
				return false;
			continue;
		}
		if (has_gap && mb_scan_is(line_of(r, p), "checkpoint") &&
		    !is_checkpoint_of(r, p, s)) {
			mb_fail(&r->why, MB_ECORRUPT, "checkpoint: what it "
			    "has isn't what the lines before it say");
			return false;
		}
		if (fold_piece(r, s, p, &r->why) < 0)
			return false;
		/* Where nothing is damaged, this is no tool's concern. */
		if (has_gap && s->synced > logical(r, p->start) &&
		    p->start >= r->head_len) {
			mb_fail(&r->why, MB_ECORRUPT, "stands before the "
			    "place that it vouches for: bytes were taken out");
			return false;
		}
	}
	r->wrong = r->n;
	return true;
}

/* The first part of the checkpoint at `at`, or `at`; n: not all are there. */
static size_t
first_part(const struct repair *r, size_t at)
{
	struct mb_str line = line_of(r, &r->pieces[at]);
	struct mb_err ignored = { 0 };
	struct mb_doc *doc;
	uint64_t n = 0;

	if (!mb_scan_is(line, "checkpoint") ||
	    mb_doc_parse(&doc, line, &ignored) < 0)
		return r->n;
	(void)mb_node_u64(mb_doc_root(doc), "parts", &n);
	mb_doc_close(doc);
	return n < at ? at - (size_t)n : r->n;
}

/*
 * A journal that begins at a checkpoint behind all that is bad.  Its piece,
 * or n: there is none.
 */
static size_t
find_beginning(struct repair *r, struct mb_state *s)
{
	size_t after = 1, wrong = r->wrong;
	struct mb_err why = r->why, ignored = { 0 };
	uint64_t synced;

	for (size_t i = 1; i < r->n_whole; i++)
		if (is_bad(&r->pieces[i]))
			after = i + 1;
	for (size_t i = after; i < r->n_whole; i++) {
		size_t first = first_part(r, i);

		if (first < after || first == r->n ||
		    !mb_scan_synced(line_of(r, &r->pieces[i]), &synced) ||
		    synced != logical(r, r->pieces[first].start))
			continue;
		mb_state_release(s);
		mb_state_init(s, false);
		if (fold_piece(r, s, &r->pieces[0], &ignored) == 0 &&
		    fold_all(r, s, first))
			return i;
	}
	r->wrong = wrong;
	r->why = why;
	return r->n;
}

/*
 * What is said.
 */

static void
put_place(struct mb_buf *out, const struct piece *p)
{
	if (p->n_lines > 1)
		mb_buf_addf(out, "lines %zu to %zu, bytes %zu to %zu: ",
		    p->line, p->line + p->n_lines - 1, p->start, p->end);
	else
		mb_buf_addf(out, "line %zu at byte %zu: ", p->line, p->start);
}

/* Which kinds of lines can still be made out? */
static void
put_kinds(struct repair *r, const struct piece *p)
{
	static const char *const kinds[] = {
		"open", "run", "source", "final", "forget", "lost", "plan",
		"commit", "fail", "park", "unpark", "redo", "part",
		"checkpoint",
	};
	struct mb_str rest = { r->bytes.p + p->start, 0 };
	bool has_any = false;

	for (size_t i = p->start; i < p->end; i++) {
		rest.p = r->bytes.p + i;
		rest.len = p->end - i;
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
			if (mb_scan_is(rest, kinds[k])) {
				mb_buf_addf(r->says, "%s%s", has_any ? ", " :
				    " (", kinds[k]);
				has_any = true;
			}
	}
	mb_buf_adds(r->says, has_any ? ")\n" : "\n");
}

static void
say_what_is_wrong(struct repair *r)
{
	for (size_t i = 0; i < r->n_whole; i++) {
		const struct piece *p = &r->pieces[i];

		if (p->kind == GOOD)
			continue;
		put_place(r->says, p);
		if (p->kind == FLIPPED) {
			mb_buf_addf(r->says, "one bit is wrong: byte %zu is "
			    "0x%02x, was 0x%02x\n", p->byte,
			    (unsigned char)p->was,
			    (unsigned char)r->bytes.p[p->byte]);
		} else if (p->kind == MADE) {
			mb_buf_adds(r->says, "damaged (open); all that it "
			    "said is known\n");
		} else {
			mb_buf_adds(r->says, "damaged");
			put_kinds(r, p);
		}
	}
	if (r->n_whole < r->n) {
		put_place(r->says, &r->pieces[r->n_whole]);
		mb_buf_adds(r->says, "an unfinished end, which was never "
		    "synced; the next tool cuts it off\n");
	}
}

/* The batches that have to be looked for in the target. */
static void
say_what_is_open(struct repair *r, const struct mb_state *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_batches; i++) {
		const struct mb_batch *b = &s->batches[i];

		if (b->state != MB_PLANNED && b->state != MB_PARKED)
			continue;
		if (n++ < 10)
			mb_buf_addf(r->says, "%s%" PRIu64, n == 1 ?
			    "not settled by what is left: batch " : ", ",
			    b->number);
	}
	if (n > 10)
		mb_buf_addf(r->says, " and %zu more", n - 10);
	if (n > 0)
		mb_buf_adds(r->says, "; those that the target has, mb-commit "
		    "finds there\n");
}

/* The target that the journal last committed to; the caller frees; NULL. */
static char *
find_target(const struct repair *r)
{
	struct mb_err ignored = { 0 };
	char *target = NULL;
	struct mb_doc *doc;

	for (size_t i = r->n_whole; i-- > 0 && target == NULL;) {
		struct mb_str line = line_of(r, &r->pieces[i]);

		if (is_bad(&r->pieces[i]) || (!mb_scan_is(line, "commit") &&
		    !mb_scan_is(line, "redo") &&
		    !mb_scan_is(line, "checkpoint")) ||
		    mb_doc_parse(&doc, line, &ignored) < 0)
			continue;
		if (mb_get_text(mb_doc_root(doc), "target", &target) &&
		    *target == '\0') {
			free(target);
			target = NULL;
		}
		mb_doc_close(doc);
	}
	return target;
}

static void
say_adopt(struct repair *r, const char *why)
{
	char *target = find_target(r);

	mb_buf_addf(r->says, "%s\nwhat was planned can't be known, but the "
	    "target knows what it has: move the journal away, keep its "
	    "directory, and start the pipeline once with mb-collect --adopt ",
	    why);
	if (target != NULL)
		mb_show(r->says, mb_str(target));
	else
		mb_buf_adds(r->says, "TARGET");
	mb_buf_addc(r->says, '\n');
	free(target);
}

/*
 * What is made.
 */

/* The number of every run that bad lines may have named is below this. */
static uint64_t
free_run(const struct repair *r, const struct mb_state *s,
    const struct piece *gap)
{
	uint64_t run = s->next_run;

	for (const struct piece *p = gap + 1; p < r->pieces + r->n_whole; p++) {
		struct mb_err ignored = { 0 };
		struct mb_doc *doc;
		uint64_t named;

		if (is_bad(p) || mb_doc_parse(&doc, line_of(r, p),
		    &ignored) < 0)
			continue;
		if (mb_node_u64(mb_doc_root(doc), "run", &named) ||
		    mb_node_u64(mb_doc_root(doc), "spool", &named))
			run = named >= run ? named + 1 : run;
		mb_doc_close(doc);
	}
	return run + (gap->end - gap->start) / SHORT_LINE;
}

static bool
has_later_run(const struct repair *r, const struct piece *gap)
{
	for (const struct piece *p = gap + 1; p < r->pieces + r->n_whole; p++)
		if (!is_bad(p) && mb_scan_is(line_of(r, p), "run"))
			return true;
	return false;
}

/* A line as long as what it stands for (I2). */
static void
fill_gap(struct repair *r, const struct mb_state *s, const struct piece *gap)
{
	struct mb_buf line = { 0 }, pad = { 0 };
	size_t want = gap->end - gap->start, len;

	for (int i = 0; i < 2; i++) {
		mb_buf_reset(&line);
		mb_line_begin(&line, "mended");
		if (want >= SHORT_RUN && !has_later_run(r, gap))
			mb_line_u64(&line, "next_run", free_run(r, s, gap));
		mb_line_str(&line, "pad", mb_buf_str(&pad));
		mb_line_seal(&line, 0);
		len = line.len;
		while (i == 0 && len++ < want)
			mb_buf_addc(&pad, '.');
	}
	memcpy(r->bytes.p + gap->start, line.p, want);
	mb_buf_release(&pad);
	mb_buf_release(&line);
}

static void
begin_at(struct repair *r, size_t at, struct mb_buf *out)
{
	const struct piece *p = &r->pieces[at];
	struct mb_err ignored = { 0 };
	struct mb_state s;
	uint64_t base = logical(r, p->end);
	bool is_whole;

	mb_state_init(&s, false);
	is_whole = fold_piece(r, &s, &r->pieces[0], &ignored) == 0;
	for (size_t i = first_part(r, at); is_whole && i <= at; i++)
		is_whole = fold_piece(r, &s, &r->pieces[i], &ignored) == 0;
	if (is_whole) {
		mb_journal_put_open(out, s.id, base);
		mb_put_checkpoint(out, &s, base);
		mb_buf_add(out, r->bytes.p + p->end, r->file.len - p->end);
	}
	mb_state_release(&s);
}

/* Of the three ways the longest that gives a whole journal. */
static enum mb_repair_verdict
choose(struct repair *r, struct mb_state *s, struct mb_buf *out)
{
	struct mb_buf why = { 0 };
	bool is_whole = true, has_gap = false;
	size_t at;

	if (fold_all(r, s, 0)) {
		for (size_t i = 0; i < r->n_whole; i++) {
			is_whole = is_whole && r->pieces[i].kind == GOOD;
			if (r->pieces[i].kind != BAD)
				continue;
			has_gap = true;
			r->pieces[i].kind = LEFT_OUT;
			fill_gap(r, s, &r->pieces[i]);
		}
		if (is_whole)
			return MB_REPAIR_NEEDLESS;
		if (has_gap) {
			mb_buf_adds(r->says, "what is damaged is left out: no "
			    "plan is missing, as the later lines prove\n");
			say_what_is_open(r, s);
		}
		mb_buf_add(out, r->bytes.p, r->bytes.len);
		return MB_REPAIR_POSSIBLE;
	}
	put_place(&why, &r->pieces[r->wrong]);
	mb_buf_adds(&why, r->why.msg);
	at = find_beginning(r, s);
	if (at < r->n) {
		mb_buf_addf(r->says, "%s\nthe journal begins at the checkpoint "
		    "in line %zu at byte %zu, which has all that counts; "
		    "settled batches before it are no longer listed\n",
		    mb_buf_str(&why), r->pieces[at].line, r->pieces[at].start);
		begin_at(r, at, out);
	} else {
		say_adopt(r, mb_buf_str(&why));
	}
	mb_buf_release(&why);
	return at < r->n ? MB_REPAIR_POSSIBLE : MB_REPAIR_HOPELESS;
}

void
mb_repair_decide(struct mb_repair *out, struct mb_str file, const char *id)
{
	struct repair r = { .file = file, .id = id, .says = &out->says };
	struct mb_state s;

	*out = (struct mb_repair){ .verdict = MB_REPAIR_HOPELESS };
	mb_buf_add(&r.bytes, file.p, file.len);
	mb_state_init(&s, false);
	split(&r);
	find_flips(&r);
	if (read_head(&r)) {
		find_end(&r);
		say_what_is_wrong(&r);
		out->verdict = choose(&r, &s, &out->file);
	} else {
		r.n_whole = r.n;
		say_adopt(&r, "line 1 at byte 0: no journal begins like this");
	}
	mb_state_release(&s);
	mb_buf_release(&r.bytes);
	free(r.pieces);
}

void
mb_repair_release(struct mb_repair *r)
{
	mb_buf_release(&r->says);
	mb_buf_release(&r->file);
}
