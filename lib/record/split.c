#include "record/split.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/isa.h"
#include "base/load.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * One machine, byte by byte (scan_bytes), is the definition.  A second one
 * takes 64 bytes at a time as bit masks (scan_blocks); it begins only in the
 * states up to QUOTED, leaves every block it finds odd to the first, and must
 * never differ from it.  A third (scan_lines) takes 256 bytes at a time of
 * lines without anything to see in them, and leaves the rest to the second.
 */
enum state {
	BEGIN,		/* between records, at a line's first byte */
	LINE,		/* in a line; in csv in or behind an unquoted text */
	FIELD,		/* csv: at the first byte of a later field */
	QUOTED,		/* csv: inside quotes */

	QUOTE,		/* csv: behind a quote that closes or is doubled */
	QUOTED_CR,	/* csv: inside quotes, behind a CR */
	CR,		/* csv: behind a CR that ends the record */
	BLANK_CR,	/* csv: behind a CR that is a blank line */
	BLANK,		/* tsv: behind a line's first byte, a CR; ndjson: in
			   a line that has been blank up to here */
	BAD,		/* csv: in a line with a quote out of place */
	SKIP,		/* in a line that is too long */
	SKIP_CR,	/* csv: likewise, behind a CR */
};

enum {
	BLOCK = 64,
	STRIDE = 4 * BLOCK,
	BESIDE = 4096,	/* so much goes by blocks before lines are tried again */
};

static const char too_long[] = "longer than the record limit";
static const char open_quote[] = "a quote is opened and not closed";

void
mb_split_init(struct mb_split *s, enum mb_format format, char delimiter,
    uint64_t record_limit, uint64_t off)
{
	*s = (struct mb_split){
		.format = format, .delimiter = delimiter, .state = BEGIN,
		.limit = record_limit != 0 ? record_limit : MB_RECORD_LIMIT,
		.off = off, .complete = off, .start = off,
	};
#if defined(__x86_64__)
	s->is_wide = __builtin_cpu_supports("avx2") != 0;
	s->is_widest = mb_isa_is_there(MB_ISA_AVX512);
#endif
}

uint64_t
mb_split_keep(const struct mb_split *s)
{
	return s->state == SKIP || s->state == SKIP_CR ? s->off : s->complete;
}

/* The record or blank line that ends at `end` is settled. */
static void
settle(struct mb_split *s, uint64_t end)
{
	s->off = s->complete = end;
	s->state = BEGIN;
	s->n_lines = 0;
	s->line_end = 0;
}

static enum mb_split_result
reject(struct mb_split *s, uint64_t line_end, const char *why)
{
	settle(s, line_end);
	s->why = why;
	return MB_SPLIT_REJECT;
}

/*
 * The first line of a record whose quote leads nowhere.  Where it leads isn't
 * said: a shorter look, which is as right, doesn't get there.
 */
static enum mb_split_result
reject_open(struct mb_split *s)
{
	return reject(s, s->line_end, open_quote);
}

/* A line ended inside quotes, before `end`. */
static void
count_line(struct mb_split *s, uint64_t end)
{
	if (s->n_lines++ == 0)
		s->line_end = end;
}

/* The first byte that may end a line, or len. */
static size_t
find_line_end(const struct mb_split *s, const unsigned char *p, size_t len)
{
	const unsigned char *end = memchr(p, '\n', len);

	if (end != NULL)
		len = (size_t)(end - p);
	if (s->format == MB_CSV && (end = memchr(p, '\r', len)) != NULL)
		len = (size_t)(end - p);
	return len;
}

/* What a byte did. */
enum step { GO_ON, BLANK_LINE, BLANK_BEFORE, RECORD, RECORD_BEFORE, OUT_OF_PLACE };

static enum step
step_begin(struct mb_split *s, unsigned char c)
{
	s->start = s->off;
	s->state = LINE;
	switch (s->format) {
	case MB_CSV:
		if (c == '\n')
			return BLANK_LINE;
		if (c == '\r')
			s->state = BLANK_CR;
		else if (c == '"')
			s->state = QUOTED;
		else if (c == (unsigned char)s->delimiter)
			s->state = FIELD;
		return GO_ON;
	case MB_TSV:
		if (c == '\n')
			return BLANK_LINE;
		if (c == '\r')
			s->state = BLANK;
		return GO_ON;
	case MB_NDJSON:
		if (c == '\n')
			return BLANK_LINE;
		if (c == ' ' || c == '\t' || c == '\r')
			s->state = BLANK;
		return GO_ON;
	case MB_LINES:
		break;
	}
	return c == '\n' ? RECORD : GO_ON;
}

/* A byte of csv outside quotes, behind a field's first one. */
static enum step
step_unquoted(struct mb_split *s, unsigned char c)
{
	if (c == '\n')
		return RECORD;
	if (c == '\r')
		s->state = CR;
	else if (c == (unsigned char)s->delimiter)
		s->state = FIELD;
	else if (c == '"' || s->state == QUOTE)
		return OUT_OF_PLACE;
	else
		s->state = LINE;
	return GO_ON;
}

static enum step
step(struct mb_split *s, unsigned char c)
{
	switch ((enum state)s->state) {
	case BEGIN:
		return step_begin(s, c);
	case LINE:
		if (s->format == MB_CSV)
			return step_unquoted(s, c);
		return c == '\n' ? RECORD : GO_ON;
	case FIELD:
		if (c != '"')
			return step_unquoted(s, c);
		s->state = QUOTED;
		return GO_ON;
	case QUOTED_CR:
		s->state = QUOTED;
		count_line(s, s->off + (c == '\n'));
		if (c == '\n')
			return GO_ON;
		/* fall through */
	case QUOTED:
		if (c == '"')
			s->state = QUOTE;
		else if (c == '\r')
			s->state = QUOTED_CR;
		else if (c == '\n')
			count_line(s, s->off + 1);
		return GO_ON;
	case QUOTE:
		if (c != '"')
			return step_unquoted(s, c);
		s->state = QUOTED;
		return GO_ON;
	case CR:
		return c == '\n' ? RECORD : RECORD_BEFORE;
	case BLANK_CR:
		return c == '\n' ? BLANK_LINE : BLANK_BEFORE;
	case BLANK:
		if (c == '\n')
			return BLANK_LINE;
		if (s->format != MB_NDJSON ||
		    (c != ' ' && c != '\t' && c != '\r'))
			s->state = LINE;
		return GO_ON;
	case BAD:
		if (c == '\r')
			s->state = CR;
		return c == '\n' ? RECORD : GO_ON;
	case SKIP:
		if (c == '\r' && s->format == MB_CSV)
			s->state = SKIP_CR;
		return c == '\n' ? RECORD : GO_ON;
	case SKIP_CR:
		return c == '\n' ? RECORD : RECORD_BEFORE;
	}
	return GO_ON;
}

/* Consume up to len bytes; ends early only with FULL or REJECT. */
static enum mb_split_result
scan_bytes(struct mb_split *s, const unsigned char *p, size_t len,
    uint64_t max_records, uint64_t *n_records)
{
	const uint64_t base = s->off;
	bool was_cr;

	while (s->off - base < len) {
		if (s->state == SKIP || s->state == BAD) {
			size_t left = len - (size_t)(s->off - base);
			size_t n = find_line_end(s, p + (s->off - base), left);

			/* BAD must still be seen to become too long. */
			if (s->state == BAD && n > s->start + s->limit - s->off)
				n = (size_t)(s->start + s->limit - s->off);
			s->off += n;
			if (n == left)
				break;
		}
		was_cr = s->state == SKIP_CR;
		switch (step(s, p[s->off - base])) {
		case BLANK_LINE:
			settle(s, s->off + 1);
			continue;
		case BLANK_BEFORE:
			settle(s, s->off);
			continue;
		case RECORD_BEFORE:
			if (was_cr)
				return reject(s, s->off, too_long);
			settle(s, s->off);
			if (++*n_records == max_records)
				return MB_SPLIT_FULL;
			continue;
		case RECORD:
			s->off++;
			if (s->off - s->start > s->limit)
				return s->n_lines > 0 ? reject_open(s) :
				    reject(s, s->off, too_long);
			settle(s, s->off);
			if (++*n_records == max_records)
				return MB_SPLIT_FULL;
			continue;
		case OUT_OF_PLACE:
			if (s->n_lines > 0)
				return reject_open(s);
			s->state = BAD;
			break;
		case GO_ON:
			break;
		}
		s->off++;
		if (s->n_lines >= MB_LINE_LIMIT)
			return reject_open(s);
		if (s->off - s->start > s->limit && s->state != SKIP &&
		    s->state != SKIP_CR) {
			if (s->n_lines > 0)
				return reject_open(s);
			s->state = s->state == CR || s->state == QUOTED_CR ||
			    s->state == BLANK_CR ? SKIP_CR : SKIP;
		}
	}
	return MB_SPLIT_MORE;
}

/* A bit for each byte of a block that is … */
struct masks {
	uint64_t lf;
	uint64_t cr;	/* csv, tsv */
	uint64_t quote;	/* csv */
	uint64_t blank;	/* ndjson: at most 0x20, so perhaps a blank */
};

#define INLINE static inline __attribute__((always_inline))

/* The same, eight bytes at a time, for any processor. */
INLINE uint64_t
word_mask(uint64_t word, unsigned char c)
{
	const uint64_t low = 0x7f7f7f7f7f7f7f7f;
	uint64_t x = word ^ 0x0101010101010101 * c;

	/* 0x80 in each byte of x that is zero, then gathered */
	x = ~(((x & low) + low) | x | low);
	return (x >> 7) * 0x0102040810204080 >> 56;
}

INLINE uint64_t
equal_narrow(const unsigned char *p, unsigned char c)
{
	uint64_t mask = 0;

	for (int i = 0; i < 8; i++)
		mask |= word_mask(mb_load_8(p + 8 * i), c) << 8 * i;
	return mask;
}

INLINE void
masks_narrow(struct masks *m, const unsigned char *p, enum mb_format format)
{
	m->lf = equal_narrow(p, '\n');
	m->cr = format == MB_LINES ? 0 : equal_narrow(p, '\r');
	m->quote = format == MB_CSV ? equal_narrow(p, '"') : 0;
	m->blank = format != MB_NDJSON ? 0 : m->cr | equal_narrow(p, ' ') |
	    equal_narrow(p, '\t') | m->lf;
}

#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))

WIDE INLINE uint64_t
equal_wide(const unsigned char *p, unsigned char c)
{
	__m256i want = _mm256_set1_epi8((char)c);
	__m256i a = _mm256_loadu_si256((const __m256i *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(p + 32));
	uint32_t low = (uint32_t)_mm256_movemask_epi8(
	    _mm256_cmpeq_epi8(a, want));
	uint32_t high = (uint32_t)_mm256_movemask_epi8(
	    _mm256_cmpeq_epi8(b, want));

	return (uint64_t)high << 32 | low;
}

WIDE INLINE uint64_t
at_most_wide(const unsigned char *p, unsigned char c)
{
	__m256i most = _mm256_set1_epi8((char)c);
	__m256i a = _mm256_loadu_si256((const __m256i *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(p + 32));
	uint32_t low = (uint32_t)_mm256_movemask_epi8(
	    _mm256_cmpeq_epi8(_mm256_min_epu8(a, most), a));
	uint32_t high = (uint32_t)_mm256_movemask_epi8(
	    _mm256_cmpeq_epi8(_mm256_min_epu8(b, most), b));

	return (uint64_t)high << 32 | low;
}

WIDE INLINE bool
has_either_wide(const unsigned char *p, unsigned char c, unsigned char d)
{
	__m256i one = _mm256_set1_epi8((char)c), other =
	    _mm256_set1_epi8((char)d);
	__m256i a = _mm256_loadu_si256((const __m256i *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(p + 32));
	__m256i found = _mm256_or_si256(
	    _mm256_or_si256(_mm256_cmpeq_epi8(a, one),
	    _mm256_cmpeq_epi8(a, other)),
	    _mm256_or_si256(_mm256_cmpeq_epi8(b, one),
	    _mm256_cmpeq_epi8(b, other)));

	return !_mm256_testz_si256(found, found);
}

WIDE INLINE void
masks_wide(struct masks *m, const unsigned char *p, enum mb_format format)
{
	*m = (struct masks){ .lf = equal_wide(p, '\n') };
	if (format == MB_CSV && has_either_wide(p, '"', '\r')) {
		m->cr = equal_wide(p, '\r');
		m->quote = equal_wide(p, '"');
	} else if (format == MB_TSV) {
		m->cr = equal_wide(p, '\r');
	} else if (format == MB_NDJSON) {
		m->blank = at_most_wide(p, ' ');
	}
}
#endif

/* Bit i: the exclusive or of bits 0 … i. */
INLINE uint64_t
prefix_xor(uint64_t x)
{
	for (int i = 1; i < BLOCK; i *= 2)
		x ^= x << i;
	return x;
}

/* What a block holds. */
struct block {
	unsigned width;		/* so many of its bytes are judged */
	uint64_t ends;		/* the last bytes of records */
	uint64_t inner;		/* of lines inside quotes */
	enum state state;	/* behind it, at most QUOTED */
};

/*
 * A csv block must not end with a quote or a CR, which the next byte decides:
 * leave such to the next block.  False if nothing else is there.
 */
INLINE bool
trim(struct block *b, struct masks *m)
{
	uint64_t open = m->quote | m->cr;

	b->width = BLOCK;
	if (open >> (BLOCK - 1) == 0)
		return true;
	if (~open == 0)
		return false;
	b->width = BLOCK - (unsigned)__builtin_clzll(~open);
	m->quote &= ((uint64_t)1 << b->width) - 1;
	m->cr &= ((uint64_t)1 << b->width) - 1;
	return true;
}

/* Judge a csv block that holds quotes, or begins inside them. */
INLINE bool
judge_quotes(struct block *b, const struct masks *m, uint64_t delims,
    enum state state)
{
	const uint64_t last = (uint64_t)1 << (b->width - 1);
	uint64_t ends = m->lf | m->cr;
	uint64_t inside = prefix_xor(m->quote) ^
	    (state == QUOTED ? ~(uint64_t)0 : 0);
	uint64_t opens = m->quote & inside, closes = m->quote & ~inside;
	uint64_t may_open = ((delims | ends) & ~inside) | closes;

	may_open = may_open << 1 | (state == BEGIN || state == FIELD);
	if ((opens & ~may_open) != 0 ||
	    (closes & ~((delims | ends | m->quote) >> 1)) != 0)
		return false;
	/* A blank line is odd. */
	ends = m->lf | (m->cr & ~(m->lf >> 1));
	b->ends = ends & ~inside;
	b->inner = ends & inside;
	if (((b->ends << 1 | (state == BEGIN)) & (m->lf | m->cr) & ~inside) !=
	    0)
		return false;
	b->state = (inside & last) != 0 ? QUOTED :
	    (b->ends & last) != 0 ? BEGIN :
	    (delims & ~inside & last) != 0 ? FIELD : LINE;
	return true;
}

INLINE bool
judge_plain(struct block *b, const struct masks *m, bool is_field,
    enum mb_format format, enum state state)
{
	const uint64_t last = (uint64_t)1 << (b->width - 1);
	uint64_t starts;

	b->inner = 0;
	b->ends = m->lf;
	if (format == MB_CSV)
		b->ends |= m->cr & ~(m->lf >> 1);
	/* A blank line is odd. */
	starts = b->ends << 1 | (state == BEGIN);
	if ((format == MB_NDJSON && (starts & m->blank) != 0) ||
	    ((format == MB_CSV || format == MB_TSV) &&
	    (starts & (m->lf | m->cr)) != 0))
		return false;
	b->state = (b->ends & last) != 0 ? BEGIN : is_field ? FIELD : LINE;
	return true;
}

/*
 * Judge the block at p.  False if it is odd: it has a quote out of place or a
 * blank line, and is left to scan_bytes.
 */
INLINE bool
judge(struct block *b, const unsigned char *p, enum mb_format format,
    unsigned char delimiter, enum state state,
    void (*get_masks)(struct masks *, const unsigned char *, enum mb_format),
    uint64_t (*equal)(const unsigned char *, unsigned char))
{
	struct masks m;

	get_masks(&m, p, format);
	b->width = BLOCK;
	if (format == MB_CSV && (m.quote | m.cr) != 0 && !trim(b, &m))
		return false;
	if (format == MB_CSV && (m.quote != 0 || state == QUOTED))
		return judge_quotes(b, &m, equal(p, delimiter), state);
	return judge_plain(b, &m, format == MB_CSV &&
	    p[b->width - 1] == delimiter, format, state);
}

/*
 * Consume whole blocks while they are in order; returns how many bytes.  Also
 * stops behind the record that makes *n_records max_records.
 */
INLINE size_t
scan_blocks(struct mb_split *s, const unsigned char *p, size_t len,
    uint64_t max_records, uint64_t *n_records, const enum mb_format format,
    void (*get_masks)(struct masks *, const unsigned char *, enum mb_format),
    uint64_t (*equal)(const unsigned char *, unsigned char))
{
	const unsigned char delimiter = (unsigned char)s->delimiter;
	const uint64_t base = s->off;
	enum state state = s->state;
	uint64_t n = *n_records;
	size_t at = 0;

	while (len - at >= BLOCK) {
		struct block b;
		unsigned last;

		if (state == BEGIN)
			s->start = base + at;
		/* The first record could become too long; later ones can't. */
		if (base + at + BLOCK - s->start > s->limit ||
		    (format == MB_CSV && s->n_lines + BLOCK >= MB_LINE_LIMIT) ||
		    !judge(&b, p + at, format, delimiter, state, get_masks,
		    equal))
			break;
		if (b.ends != 0) {
			unsigned count = (unsigned)__builtin_popcountll(b.ends);

			if (max_records - n <= count) {
				while (n + 1 < max_records) {
					b.ends &= b.ends - 1;
					n++;
				}
				*n_records = n + 1;
				at += (size_t)__builtin_ctzll(b.ends) + 1;
				settle(s, base + at);
				return at;
			}
			n += count;
			last = BLOCK - 1 - (unsigned)__builtin_clzll(b.ends);
			s->complete = s->start = base + at + last + 1;
			s->n_lines = 0;
			/* twice, as a shift by 64 is undefined */
			b.inner &= ~(uint64_t)0 << last << 1;
		}
		if (b.inner != 0) {
			if (s->n_lines == 0)
				s->line_end = base + at + 1 +
				    (uint64_t)__builtin_ctzll(b.inner);
			s->n_lines +=
			    (uint32_t)__builtin_popcountll(b.inner);
		}
		state = b.state;
		at += b.width;
	}
	s->state = (unsigned char)state;
	s->off = base + at;
	*n_records = n;
	return at;
}

#if defined(__x86_64__)
#define WIDEST __attribute__((target("avx512f,avx512bw,avx512vl,bmi,lzcnt,popcnt")))

/*
 * A bit for each byte at which a line must be looked at more closely; m are
 * the line ends, and `begins` is 1 if a line begins with the first byte.
 */
WIDEST INLINE uint64_t
find_odd(__m512i x, uint64_t m, uint64_t begins, const enum mb_format format)
{
	uint64_t starts = m << 1 | begins;
	uint64_t crs = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('\r'));

	switch (format) {
	case MB_CSV:
		return _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('"')) | crs |
		    (starts & m);
	case MB_TSV:
		return starts & (crs | m);
	case MB_NDJSON:
		return starts &
		    _mm512_cmple_epu8_mask(x, _mm512_set1_epi8(' '));
	case MB_LINES:
		break;
	}
	return 0;
}

/*
 * Consume whole strides as long as there is nothing odd in them, the first
 * record surely isn't too long, and the last isn't that of max_records;
 * returns how many bytes.
 */
WIDEST INLINE size_t
scan_lines(struct mb_split *s, const unsigned char *p, size_t len,
    uint64_t max_records, uint64_t *n_records, const enum mb_format format)
{
	const __m512i lf = _mm512_set1_epi8('\n');
	const uint64_t base = s->off;
	uint64_t n = *n_records, begins = s->state == BEGIN;
	size_t at;

	for (at = 0; len - at >= STRIDE; at += STRIDE) {
		uint64_t m[4], odd = 0, count = 0, first = begins;

		for (int k = 0; k < 4; k++) {
			__m512i x = _mm512_loadu_si512(p + at + k * BLOCK);

			m[k] = _mm512_cmpeq_epi8_mask(x, lf);
			odd |= find_odd(x, m[k], first, format);
			count += (uint64_t)__builtin_popcountll(m[k]);
			first = m[k] >> (BLOCK - 1);
		}
		if (begins)
			s->start = base + at;
		if (odd != 0 || base + at + STRIDE - s->start > s->limit ||
		    max_records - n <= count)
			break;
		if (count > 0) {
			int k = 3;

			while (m[k] == 0)
				k--;
			s->complete = s->start = base + at +
			    (uint64_t)k * BLOCK + BLOCK -
			    (uint64_t)__builtin_clzll(m[k]);
			s->n_lines = 0;
			s->line_end = 0;
			n += count;
		}
		begins = first;
	}
	if (at == 0)
		return 0;
	s->state = begins ? BEGIN : format == MB_CSV &&
	    p[at - 1] == (unsigned char)s->delimiter ? FIELD : LINE;
	s->off = base + at;
	*n_records = n;
	return at;
}

WIDEST static size_t
lines_widest(struct mb_split *s, const unsigned char *p, size_t len,
    uint64_t max_records, uint64_t *n_records)
{
	switch (s->format) {
	case MB_CSV:
		return scan_lines(s, p, len, max_records, n_records, MB_CSV);
	case MB_TSV:
		return scan_lines(s, p, len, max_records, n_records, MB_TSV);
	case MB_NDJSON:
		return scan_lines(s, p, len, max_records, n_records,
		    MB_NDJSON);
	case MB_LINES:
		return scan_lines(s, p, len, max_records, n_records,
		    MB_LINES);
	}
	return 0;
}
#endif

/* One copy per format, so that each looks only for what it needs. */
#define SCAN_BLOCKS(masks, equal) \
	switch (s->format) { \
	case MB_CSV: \
		return scan_blocks(s, p, len, max_records, n_records, MB_CSV, \
		    masks, equal); \
	case MB_TSV: \
		return scan_blocks(s, p, len, max_records, n_records, MB_TSV, \
		    masks, equal); \
	case MB_NDJSON: \
		return scan_blocks(s, p, len, max_records, n_records, \
		    MB_NDJSON, masks, equal); \
	case MB_LINES: \
		return scan_blocks(s, p, len, max_records, n_records, \
		    MB_LINES, masks, equal); \
	} \
	return 0

#if defined(__x86_64__)
WIDE static size_t
blocks_wide(struct mb_split *s, const unsigned char *p, size_t len,
    uint64_t max_records, uint64_t *n_records)
{
	SCAN_BLOCKS(masks_wide, equal_wide);
}
#endif

static size_t
blocks_narrow(struct mb_split *s, const unsigned char *p, size_t len,
    uint64_t max_records, uint64_t *n_records)
{
	SCAN_BLOCKS(masks_narrow, equal_narrow);
}

enum mb_split_result
mb_split_scan(struct mb_split *s, const void *bytes, size_t len,
    uint64_t max_records, uint64_t *n_records)
{
	const unsigned char *p = bytes;
	enum mb_split_result rc;
	uint64_t from;
	size_t n;

	*n_records = 0;
	while (len > 0) {
		/* Records that begin in a block are then never too long. */
		if (len >= BLOCK && s->state <= QUOTED && s->limit >= BLOCK) {
			size_t most = len;

#if defined(__x86_64__)
			if (s->is_widest && s->state < QUOTED) {
				n = lines_widest(s, p, len, max_records,
				    n_records);
				p += n;
				len -= n;
				most = len < BESIDE ? len : BESIDE;
			}
			if (s->is_wide)
				n = blocks_wide(s, p, most, max_records,
				    n_records);
			else
#endif
				n = blocks_narrow(s, p, most, max_records,
				    n_records);
			if (*n_records == max_records)
				return MB_SPLIT_FULL;
			p += n;
			len -= n;
			if (len >= BLOCK && most - n < BLOCK)
				continue;	/* nothing was odd */
		}
		/* A byte settles a CR or a quote; an odd block is left whole. */
		n = s->state > QUOTED && s->state < BLANK ? 1 : BLOCK;
		if (s->state == SKIP || s->state == BAD || n > len)
			n = len;
		from = s->off;
		rc = scan_bytes(s, p, n, max_records, n_records);
		if (rc != MB_SPLIT_MORE)
			return rc;
		p += s->off - from;
		len -= (size_t)(s->off - from);
	}
	return MB_SPLIT_MORE;
}

enum mb_split_result
mb_split_finish(struct mb_split *s, uint64_t *n_records)
{
	*n_records = 0;
	switch ((enum state)s->state) {
	case BEGIN:
		break;
	case BLANK_CR:
	case BLANK:
		settle(s, s->off);
		break;
	case LINE:
	case FIELD:
	case QUOTE:
	case CR:
	case BAD:
		settle(s, s->off);
		*n_records = 1;
		break;
	case QUOTED:
	case QUOTED_CR:
		return reject(s, s->n_lines > 0 ? s->line_end : s->off,
		    open_quote);
	case SKIP:
	case SKIP_CR:
		return reject(s, s->off, too_long);
	}
	return MB_SPLIT_MORE;
}

void
mb_split_pass(struct mb_split *s, uint64_t end)
{
	settle(s, end);
}
