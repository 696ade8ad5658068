#include "record/marks.h"

#include <string.h>

#include "base/line.h"
#include "record/marks_ways.h"
#include "record/split.h"

/*
 * Csv, tsv and lines.
 */

/* How far a look has come. */
struct walk {
	size_t at;
	uint32_t n_marks, n_ends;
	uint64_t crs, watched;

	/* 1: the byte before is … */
	uint64_t after_end;		/* the last of a record, … */
	uint64_t after_special;		/* … one that the masks have, … */
	uint64_t after_close;		/* … a quote that closes, … */
	uint64_t after_close_cr;	/* … and then a CR before a LF */

	uint64_t inside;	/* ones: the byte before is inside quotes */
	unsigned n_inner;	/* line ends there */
	uint64_t is_coded;	/* 1: the field we are in is */
	uint64_t codes;		/* not 0: there were any */
};

/* What a step holds. */
struct block {
	uint64_t ends;		/* the last bytes of records */
	uint64_t marks;		/* … and of fields */
	uint64_t behind;	/* is between a closing quote and here nothing,
				   or a CR that belongs to a LF? */
	uint64_t codes;		/* the second bytes of `""`; backslashes */
};

/* A blank line is odd, and in tsv one of a CR, too. */
INLINE uint64_t
find_blank(const struct walk *w, const struct masks *m, uint64_t ends)
{
	return (ends << 1 | w->after_end) & (m->lf | m->cr);
}

/*
 * Csv with quotes or a CR, and the step behind.  False: it is odd.
 *
 * As little as possible is done with each step: a quote opens where outside is
 * the byte before, so that this need not be asked of a delimiter, nor of what
 * is behind an end.  The byte behind a closing quote at a step's end is judged
 * with the next step, as the record goes on there; but whether a CR is an end
 * must be known, and there may be few of them.
 */
INLINE bool
judge_quotes(struct block *b, struct walk *w, const struct masks *m,
    const struct masks *next)
{
	const uint64_t special = m->delimiter | m->lf | m->cr | m->quote;
	const uint64_t inside = m->is_odd ^ w->inside;
	const uint64_t opens = m->quote & inside, closes = m->quote & ~inside;
	const uint64_t after_close = closes << 1 | w->after_close;
	uint64_t ends = m->lf, odd;

	b->behind = after_close;
	if ((m->cr | w->after_close_cr) != 0) {
		uint64_t lf_next = m->lf >> 1 | next->lf << (STEP - 1);
		uint64_t close_cr = after_close & m->cr & lf_next;

		ends |= m->cr & ~lf_next;
		b->behind |= close_cr << 1 | w->after_close_cr;
		w->after_close_cr = close_cr >> (STEP - 1);
		w->crs |= m->cr;
	}
	b->ends = ends & ~inside;
	b->marks = b->ends | (m->delimiter & ~inside);
	b->codes = after_close & opens;
	odd = (opens & ~(special << 1 | w->after_special)) |
	    (after_close & ~special) | find_blank(w, m, b->ends);
	w->after_special = special >> (STEP - 1);
	w->after_close = closes >> (STEP - 1);
	w->inside = 0 - (inside >> (STEP - 1));
	if ((odd | (ends & inside)) == 0)
		return true;
	w->n_inner += (unsigned)__builtin_popcountll(ends & inside);
	return odd == 0 && w->n_inner < MB_LINE_LIMIT;
}

INLINE bool
judge_slashes(struct block *b, struct walk *w, const struct masks *m)
{
	b->ends = m->lf;
	b->marks = m->lf | m->delimiter;
	b->behind = 0;
	b->codes = m->quote;
	w->crs |= m->cr;
	return find_blank(w, m, m->lf) == 0;
}

/* Of the marks those that end a field with one of the codes. */
INLINE uint64_t
find_coded(struct walk *w, uint64_t codes, uint64_t marks)
{
	uint64_t sum;
	bool carry;

	/*
	 * What is between two marks are ones: a code that is added carries to
	 * the mark behind it.
	 */
	carry = __builtin_add_overflow(~marks, codes, &sum);
	carry |= __builtin_add_overflow(sum, w->is_coded, &sum);
	w->is_coded = carry;
	return sum & marks;
}

INLINE void
pass(struct walk *w, struct mb_marks *out, uint64_t ends, uint64_t marks)
{
	out->ends[w->at / STEP] = ends;
	w->n_ends += (uint32_t)__builtin_popcountll(ends);
	w->n_marks += (uint32_t)__builtin_popcountll(marks);
	w->after_end = ends >> (STEP - 1);
	w->at += STEP;
}

INLINE const struct odd *
odd_of(enum mb_format format)
{
	return format == MB_CSV ? &odd_csv : format == MB_TSV ? &odd_tsv :
	    &odd_line;
}

/* Put down the marks of a step that is plain. */
INLINE void
put_plain(struct walk *w, struct mb_marks *out, const struct plain_masks *m,
    const enum mb_format format, const struct way way)
{
	uint64_t marks = format == MB_LINES ? m->lf : m->marks;

	if (format != MB_CSV)
		w->crs |= m->cr;
	way.put(out->mark + MB_MARKS_FIRST + w->n_marks, marks,
	    (unsigned)w->at);
	pass(w, out, m->lf, marks);
}

/* Blank lines in a step that is plain. */
INLINE uint64_t
find_blank_plain(const struct plain_masks *m, uint64_t after_end,
    const enum mb_format format)
{
	uint64_t is_first = m->lf << 1 | after_end;

	return format == MB_LINES ? 0 : is_first &
	    (format == MB_TSV ? m->lf | m->cr : m->lf);
}

/*
 * As long as there is nothing but delimiters and LF.  Two steps at a time take
 * a fifth less than one by one.
 */
INLINE void
walk_plain(struct walk *w, struct mb_marks *out, const char *p, size_t len,
    const enum mb_format format, char delimiter, const struct way way)
{
	const struct odd *odd = odd_of(format);
	struct plain_masks a, b;

	for (; len - w->at >= 2 * STEP; ) {
		bool is_odd = way.plain_two(&a, &b, p + w->at, delimiter, odd);

		if (format == MB_LINES)
			w->watched |= is_odd;
		else if (is_odd)
			break;
		if ((find_blank_plain(&a, w->after_end, format) |
		    find_blank_plain(&b, a.lf >> (STEP - 1), format)) != 0)
			break;
		put_plain(w, out, &a, format, way);
		put_plain(w, out, &b, format, way);
	}
	for (; len - w->at >= STEP; ) {
		bool is_odd = way.plain(&a, p + w->at, delimiter, odd);

		if (format == MB_LINES)
			w->watched |= is_odd;
		else if (is_odd)
			break;
		if (find_blank_plain(&a, w->after_end, format) != 0)
			break;
		put_plain(w, out, &a, format, way);
	}
	if (w->at > 0)
		w->after_special = w->after_end | (p[w->at - 1] == delimiter);
}

INLINE void
see(struct masks *m, const char *p, const enum mb_format format,
    char delimiter, const struct way way)
{
	way.masks(m, p, delimiter, format == MB_CSV ? '"' : '\\');
	if (format == MB_CSV)
		m->is_odd = way.xor_before(m->quote);
}

/*
 * Whatever there is, up to the first that is odd.  What the next step holds is
 * seen before this one is judged: the processor would get to it too late.
 */
INLINE void
walk_coded(struct walk *w, struct mb_marks *out, const char *p, size_t len,
    const enum mb_format format, char delimiter, const struct way way)
{
	uint16_t *mark = out->mark + MB_MARKS_FIRST;
	struct masks m, next;
	struct block b;

	memset(out->is_coded, 0, w->n_marks);
	see(&next, p + w->at, format, delimiter, way);
	while (len - w->at >= STEP) {
		uint64_t coded;

		m = next;
		see(&next, p + w->at + STEP, format, delimiter, way);
		if (!(format == MB_CSV ? judge_quotes(&b, w, &m, &next) :
		    judge_slashes(&b, w, &m)))
			break;
		w->codes |= b.codes;
		w->watched |= m.watched;
		coded = find_coded(w, b.codes, b.marks);
		way.put_quoted(mark + w->n_marks, b.marks,
		    way.extract(b.behind, b.marks), (unsigned)w->at);
		way.put_flags(out->is_coded + w->n_marks,
		    way.extract(coded, b.marks),
		    (unsigned)__builtin_popcountll(b.marks));
		pass(w, out, b.ends, b.marks);
	}
}

INLINE bool
is_end(const struct mb_marks *m, uint32_t i)
{
	uint32_t place = mb_marks_place(m, i);

	return m->ends[place / STEP] >> place % STEP & 1;
}

/*
 * Do all records have the width?  Plain marks are either delimiters or LF,
 * which is quicker to see than whether they are ends.
 */
INLINE bool
are_as_wide(const struct mb_marks *m, size_t width, const char *p,
    bool is_plain)
{
	const uint16_t *end = m->mark + MB_MARKS_FIRST + width - 1;
	unsigned char differs = 0;
	bool ok = true;

	if (width == 0 || m->n_ends * width > m->n_marks)
		return false;
	/* If so many marks are ends, there are no others. */
	for (size_t i = 0; i < m->n_ends && is_plain; i++)
		differs |= (unsigned char)(p[end[i * width]] ^ '\n');
	for (size_t i = 0; i < m->n_ends && !is_plain; i++)
		ok &= is_end(m, (uint32_t)((i + 1) * width - 1));
	return ok && differs == 0;
}

INLINE void
list_ends(struct mb_marks *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->n_marks; i++) {
		m->end[n] = (uint16_t)i;
		n += is_end(m, i);
	}
}

INLINE void
look_rows(struct mb_marks *out, const char *p, size_t len, size_t width,
    const enum mb_format format, char delimiter, const struct way way)
{
	struct walk w = { .after_end = 1, .after_special = 1 };

	bool is_plain;

	walk_plain(&w, out, p, len, format, delimiter, way);
	is_plain = format == MB_LINES || len - w.at < STEP;
	if (!is_plain)
		walk_coded(&w, out, p, len, format, delimiter, way);
	out->n_marks = w.n_marks;
	out->n_ends = w.n_ends;
	out->has_cr = w.crs != 0;
	out->has_codes = w.codes != 0;
	out->has_watched = w.watched != 0;
	if (format == MB_LINES || are_as_wide(out, width, p, is_plain))
		out->width = format == MB_LINES ? 1 : (uint32_t)width;
	else
		list_ends(out);
}

/*
 * Strings of ndjson.
 */

/* What goes on from step to step. */
struct strings {
	uint64_t is_escaped;	/* 1: the first byte, by one before */
	unsigned n_inside;	/* bytes of a sequence that was judged */
	const char *pair;	/* the `u` of the second half of a pair */
};

/* The bytes behind a backslash that is none itself, and so on. */
INLINE uint64_t
find_escaped(struct strings *s, uint64_t slash)
{
	const uint64_t odd = 0xaaaaaaaaaaaaaaaau;
	uint64_t begins = slash & ~s->is_escaped, ends, escaped;

	/*
	 * A run of them that begins at an even place is carried by the
	 * subtraction to where it ends; one at an odd place likewise from the
	 * ones in between.
	 */
	ends = ((begins << 1 | odd) - begins) ^ odd;
	escaped = ends ^ (slash | s->is_escaped);
	s->is_escaped = (ends & slash) >> (STEP - 1);
	return escaped;
}

INLINE int
hex_4(const char *p)
{
	int value = 0;

	for (int i = 0; i < 4; i++) {
		unsigned digit = (unsigned char)p[i] - (unsigned)'0';

		if (digit > 9) {
			digit = ((unsigned char)p[i] | 0x20) - (unsigned)'a';
			if (digit > 5)
				return -1;
			digit += 10;
		}
		value = value * 16 + (int)digit;
	}
	return value;
}

/* Is the escape good whose `u` is here?  So much can be read. */
static bool
is_good_unicode(struct strings *s, const char *p)
{
	int code, other;

	if (p == s->pair)
		return true;
	code = hex_4(p + 1);
	if (code < 0xd800 || code > 0xdfff)
		return code >= 0;
	if (code > 0xdbff || p[5] != '\\' || p[6] != 'u')
		return false;
	other = hex_4(p + 7);
	s->pair = p + 6;
	return other >= 0xdc00 && other <= 0xdfff;
}

static uint64_t
find_bad_escapes(struct strings *s, const char *p, uint64_t escaped)
{
	uint64_t bad = 0;

	for (; escaped != 0; escaped &= escaped - 1) {
		const char *c = p + __builtin_ctzll(escaped);
		bool is_good;

		switch (*c) {
		case '"':
		case '\\':
		case '/':
		case 'b':
		case 'f':
		case 'n':
		case 'r':
		case 't':
			is_good = true;
			break;
		case 'u':
			is_good = is_good_unicode(s, c);
			break;
		default:
			is_good = false;
		}
		if (!is_good)
			bad |= escaped & -escaped;
	}
	return bad;
}

static uint64_t
find_bad_utf8(struct strings *s, const char *p, uint64_t high)
{
	uint64_t bad = 0;

	high &= ~(((uint64_t)1 << s->n_inside) - 1);
	s->n_inside = 0;
	while (high != 0) {
		unsigned i = (unsigned)__builtin_ctzll(high);
		size_t n = mb_utf8_length(p + i, 4);

		if (n == 0) {
			bad |= (uint64_t)1 << i;
			n = 1;
		}
		if (i + n >= STEP) {
			s->n_inside = i + (unsigned)n - STEP;
			break;
		}
		high &= ~(uint64_t)0 << (i + n);
	}
	return bad;
}

/*
 * Nothing is called in the inner loop: the constants in its registers would
 * have to be made anew with each step.
 */
INLINE void
look_json(struct mb_marks *out, const char *p, size_t len,
    const struct way way)
{
	struct strings s = { 0 };
	uint64_t slashes = 0, watched = 0, marks = 0, doubtful = 0;
	uint16_t *to = out->mark + MB_MARKS_FIRST;
	struct json_masks m = { 0 };

	for (size_t at = 0; len - at >= STEP; at += STEP) {
		for (; len - at >= STEP; at += STEP) {
			way.json(&m, p + at);
			slashes |= out->slashes[at / STEP] = m.slash;
			watched |= m.watched;
			marks = m.quote | m.control;
			doubtful = 0;
			/* Which steps have some can't be foreseen. */
			if (slashes != 0) {
				uint64_t escaped = find_escaped(&s, m.slash);

				marks &= ~(escaped & m.quote);
				doubtful = escaped & ~way.escapes(p + at);
			}
			if ((doubtful | m.high | s.n_inside) != 0)
				break;
			way.put(to, marks, (unsigned)at);
			to += __builtin_popcountll(marks);
		}
		if (len - at < STEP)
			break;
		if (doubtful != 0)
			marks |= find_bad_escapes(&s, p + at, doubtful);
		if ((m.high | s.n_inside) != 0)
			marks |= find_bad_utf8(&s, p + at, m.high);
		way.put(to, marks, (unsigned)at);
		to += __builtin_popcountll(marks);
	}
	out->n_marks = (uint32_t)(to - out->mark) - MB_MARKS_FIRST;
	out->has_escapes = slashes != 0;
	out->has_watched = watched != 0;
}

/* A copy for each format, so that each does only what it needs. */
INLINE void
look(struct mb_marks *out, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len, const struct way way)
{
	switch (format) {
	case MB_CSV:
		look_rows(out, p, len, width, MB_CSV, delimiter, way);
		break;
	case MB_TSV:
		look_rows(out, p, len, width, MB_TSV, delimiter, way);
		break;
	case MB_LINES:
		look_rows(out, p, len, width, MB_LINES, delimiter, way);
		break;
	case MB_NDJSON:
		look_json(out, p, len, way);
		break;
	}
}

static void
look_portable(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_portable, plain_portable, plain_two_portable,
	    json_portable, escapes_portable, put_portable, put_quoted_portable,
	    put_flags_portable, extract_portable, xor_before_portable });
}

#if defined(__x86_64__)
AVX2 static void
look_avx2(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_avx2, plain_avx2, plain_two_avx2, json_avx2, escapes_avx2,
	    put_avx2, put_quoted_avx2, put_flags_portable, extract_avx2,
	    xor_before_avx2 });
}

AVX512 static void
look_avx512(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_avx512, plain_avx512, plain_two_avx512, json_avx512,
	    escapes_avx512, put_avx512, put_quoted_avx512, put_flags_avx512,
	    extract_avx2, xor_before_avx2 });
}
#elif defined(__aarch64__)
static void
look_neon(struct mb_marks *m, enum mb_format format, char delimiter,
    size_t width, const char *p, size_t len)
{
	look(m, format, delimiter, width, p, len, (struct way){
	    masks_neon, plain_neon, plain_two_neon, json_neon,
	    escapes_portable, put_portable, put_quoted_portable,
	    put_flags_portable, extract_portable, xor_before_portable });
}
#endif

void
mb_marks_look(struct mb_marks *m, enum mb_isa isa, enum mb_format format,
    char delimiter, size_t width, const char *p, size_t len)
{
	m->n_marks = m->n_ends = m->width = 0;
	m->has_cr = m->has_codes = m->has_escapes = m->has_watched = false;
	m->mark[MB_MARKS_FIRST - 1] = UINT16_MAX;
	if (len < STEP + MB_MARKS_SLACK)
		return;
	len -= MB_MARKS_SLACK;
	if (len > MB_MARKS_REACH)
		len = MB_MARKS_REACH;
	switch (isa) {
#if defined(__x86_64__)
	case MB_ISA_AVX512:
		look_avx512(m, format, delimiter, width, p, len);
		return;
	case MB_ISA_AVX2:
		look_avx2(m, format, delimiter, width, p, len);
		return;
#elif defined(__aarch64__)
	case MB_ISA_NEON:
		look_neon(m, format, delimiter, width, p, len);
		return;
#endif
	default:
		look_portable(m, format, delimiter, width, p, len);
	}
}
