#include "record/skeleton.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/load.h"
#include "record/bare.h"
#include "record/json.h"

enum {
	MAX_SKELETONS = 32,
	MAX_PIECES = 96,
	MAX_SHIFT = 48,		/* a piece begins at most so far from a mark */
	MAX_FIELDS = 64,
	GUESS_BITS = 8,
	PIECE = 16,
	RUN = 16,		/* records that are taken at once */
	STREAK = 8,		/* after so many that were alike */
	TRIAL = 1024,		/* records that tell if it is worth it */
	MAX_IDLE = 1024,
};

_Static_assert((int)MAX_SHIFT + PIECE <= (int)MB_MARKS_SLACK, "can be read");

typedef uint64_t piece_bytes __attribute__((vector_size(PIECE)));

/*
 * Some of the text, at a mark that is the record's own: counted from its
 * first one.
 */
struct piece {
	piece_bytes text, mask;
	int16_t shift;		/* bytes from the mark to the piece */
	uint16_t mark;
};

/* A place of the record. */
struct place {
	uint16_t mark;
	int16_t shift;
};

/*
 * A value that must be looked at; other strings are good as they are.  It
 * stands between two marks that follow each other.
 */
struct bone {
	uint16_t mark;		/* the first of the two */
	int16_t start, end;	/* bytes behind the first, and the second */
	uint8_t field;		/* NO_FIELD: it must only be good */
	bool is_string;
};

enum { NO_FIELD = 0xff };

struct skeleton {
	piece_bytes text, mask;	/* of the record's first bytes */
	struct piece pieces[MAX_PIECES];
	struct bone bones[MB_BONES];
	unsigned n_pieces, n_bones;
	uint32_t n_marks;
	uint64_t seen;
	uint64_t key;
	unsigned last;
};

struct mb_skeletons {
	uint64_t fields;	/* bits of those that are wanted */
	struct skeleton *v[MAX_SKELETONS];
	unsigned n, next_victim;
	uint8_t guess[1 << GUESS_BITS];	/* a number from 1; 0: none */
	uint8_t *guessed;	/* where the record in hand has its guess */
	uint8_t before;		/* the skeleton of the record before … */
	unsigned streak;	/* … and of so many */
	uint64_t once[256];	/* keys that were seen, by their last bits */
	uint64_t n_rows, n_made;
	/* Since the trial began; what has no skeleton has missed. */
	unsigned n_taken, n_missed;
	unsigned n_idle, next_idle;	/* times that nothing is looked for */
};

void
mb_skeletons_open(struct mb_skeletons **out, size_t n_fields)
{
	struct mb_skeletons *s = mb_zalloc(sizeof *s);

	s->fields = n_fields < MAX_FIELDS ? ((uint64_t)1 << n_fields) - 1 :
	    ~(uint64_t)0;
	s->next_idle = 1;
	*out = s;
}

void
mb_skeletons_close(struct mb_skeletons *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s);
}

/*
 * Finding.
 */

static inline piece_bytes
load_piece(const char *p)
{
	piece_bytes bytes;

	memcpy(&bytes, p, sizeof bytes);
	return bytes;
}

/* Is all the text there?  Nothing here waits for anything before it. */
static inline bool
has_text(const struct skeleton *k, const char *begin, const char *base,
    const uint16_t *mark)
{
	piece_bytes differs = (load_piece(begin) ^ k->text) & k->mask;

	for (unsigned i = 0; i < k->n_pieces; i++) {
		const struct piece *piece = &k->pieces[i];
		const char *p = base + mark[piece->mark] + piece->shift;

		differs |= (load_piece(p) ^ piece->text) & piece->mask;
	}
	return (differs[0] | differs[1]) == 0;
}

/* What mb_bare_number does, also for true, false and null. */
static inline const char *
bare_value(const char *p, enum mb_kind *kind)
{
	const char *end = mb_bare_number(p);

	if (end != NULL) {
		*kind = MB_NUMBER;
		return end;
	}
	*kind = *p == 'n' ? MB_NULL : MB_JSON;
	if (memcmp(p, "true", 4) == 0 || memcmp(p, "null", 4) == 0)
		return p + 4;
	return memcmp(p, "false", 5) == 0 ? p + 5 : NULL;
}

/* Behind a value without quotes that begins at p, or NULL. */
static inline const char *
find_end(const char *p, const char *limit, enum mb_kind *kind)
{
	struct mb_json value;
	const char *end = bare_value(p, kind);

	if (end != NULL)
		return end;
	/* A number with an exponent, or what isn't good. */
	end = mb_json_scalar(&value, p, limit);
	*kind = value.kind;
	return end;
}

/* The values into a row, unless it is odd. */
static inline bool
take_values(const struct skeleton *k, const struct mb_marks *m,
    const char *base, const uint16_t *mark, struct mb_view *row)
{
	for (unsigned i = 0; i < k->n_bones; i++) {
		const struct bone *bone = &k->bones[i];
		const char *p = base + mark[bone->mark] + bone->start;
		const char *end = base + mark[bone->mark + 1] + bone->end;
		enum mb_kind kind = MB_TEXT;
		struct mb_view *view;

		if (!bone->is_string &&
		    (p >= end || find_end(p, end, &kind) != end))
			return false;
		if (bone->field == NO_FIELD)
			continue;
		if (bone->is_string && mb_marks_has_slash(m,
		    (size_t)(p - base), (size_t)(end - p)))
			return false;
		view = &row[bone->field * MB_ROWS];
		*view = kind == MB_NULL ? (struct mb_view){ .start = 0 } :
		    (struct mb_view){
			.start = (uint32_t)(p - base),
			.len = (uint16_t)(end - p),
			.kind = (uint8_t)kind };
	}
	return true;
}

/* The fields that none of its values is, in n rows. */
static inline void
clear_others(const struct skeleton *k, uint64_t fields, struct mb_view *row,
    size_t n)
{
	for (fields &= ~k->seen; fields != 0; fields &= fields - 1)
		memset(&row[__builtin_ctzll(fields) * MB_ROWS], 0,
		    n * sizeof *row);
}

/*
 * The same for RUN records at once that may all have one skeleton: text by
 * text and value by value, each of all records.
 */

#define INLINE static inline __attribute__((always_inline))

/* Is the text of all of them there? */
INLINE bool
have_text(const struct skeleton *k, const char *base, const uint16_t *mark)
{
	const size_t width = k->n_marks;
	piece_bytes differs = { 0 };

	for (unsigned i = 0; i <= k->n_pieces; i++) {
		/* The first bytes are behind the last mark before. */
		const struct piece *piece = i > 0 ? &k->pieces[i - 1] : NULL;
		const piece_bytes text = i > 0 ? piece->text : k->text;
		const piece_bytes mask = i > 0 ? piece->mask : k->mask;
		const char *p = base + (i > 0 ? piece->shift : 1);
		const uint16_t *at = i > 0 ? mark + piece->mark : mark - 1;
		piece_bytes other = { 0 };

		for (unsigned n = 0; n < RUN; n += 4, at += 4 * width) {
			differs |= (load_piece(p + at[0]) ^ text) & mask;
			other |= (load_piece(p + at[width]) ^ text) & mask;
			differs |= (load_piece(p + at[2 * width]) ^ text) &
			    mask;
			other |= (load_piece(p + at[3 * width]) ^ text) &
			    mask;
		}
		differs |= other;
	}
	return (differs[0] | differs[1]) == 0;
}

/* Where a value of all of them is. */
INLINE void
set_views(const struct bone *bone, const uint16_t *mark, size_t width,
    struct mb_view *view)
{
	mark += bone->mark;
	for (unsigned n = 0; n < RUN; n++, mark += width) {
		uint32_t start = (uint32_t)(mark[0] + bone->start);

		view[n] = (struct mb_view){ .start = start,
			.len = (uint16_t)((uint32_t)(mark[1] + bone->end) -
			    start),
			.kind = bone->is_string ? MB_TEXT : MB_NUMBER };
	}
}

/* A bit for each that is surely a number. */
INLINE uint32_t
find_numbers(const char *base, const struct mb_view *view)
{
	uint32_t good = 0;

	for (unsigned n = 0; n < RUN; n++) {
		const char *p = base + view[n].start;

		good |= (uint32_t)(view[n].len > 0 &&
		    mb_bare_number(p) == p + view[n].len) << n;
	}
	return good;
}

#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f," \
    "avx512bw,avx512vl,avx512vbmi2")))

AVX512 INLINE void
set_views_avx512(const struct bone *bone, const uint16_t *mark, size_t width,
    struct mb_view *view)
{
	const __m512i low = _mm512_set1_epi32(0xffff);
	const __m512i step = _mm512_mullo_epi32(_mm512_set1_epi32((int)width),
	    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
	    26, 28, 30));
	__m512i both = _mm512_i32gather_epi32(step, mark + bone->mark, 1);
	__m512i start = _mm512_add_epi32(_mm512_and_epi32(both, low),
	    _mm512_set1_epi32(bone->start));
	__m512i end = _mm512_add_epi32(_mm512_srli_epi32(both, 16),
	    _mm512_set1_epi32(bone->end));
	__m512i len = _mm512_or_epi32(_mm512_and_epi32(low,
	    _mm512_sub_epi32(end, start)), _mm512_set1_epi32(
	    (bone->is_string ? MB_TEXT : MB_NUMBER) << 16));
	__m512i a = _mm512_unpacklo_epi32(start, len);
	__m512i b = _mm512_unpackhi_epi32(start, len);

	_mm512_storeu_si512(view, _mm512_permutex2var_epi64(a,
	    _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), b));
	_mm512_storeu_si512(view + 8, _mm512_permutex2var_epi64(a,
	    _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), b));
}

/* Of eight, and of up to eight bytes. */
AVX512 INLINE __mmask8
find_short_numbers(const char *base, const struct mb_view *view)
{
	const __m512i zero = _mm512_setzero_si512();
	const __m512i one = _mm512_set1_epi64(1);
	const __m512i eight = _mm512_set1_epi64(8);
	const __m512i byte = _mm512_set1_epi64(0xff);
	__m512i v = _mm512_loadu_si512(view);
	__m512i len = _mm512_and_epi64(_mm512_srli_epi64(v, 32),
	    _mm512_set1_epi64(0xffff));
	__mmask8 good = _mm512_cmple_epu64_mask(len, eight), negative, bad,
	    is_zero;
	/* What is longer may have its first byte where none can be read. */
	__m512i t = _mm512_mask_i64gather_epi64(zero, good,
	    _mm512_and_epi64(v, _mm512_set1_epi64(0xffffffff)), base, 1);
	__m512i other, other_byte, left;

	negative = _mm512_cmpeq_epi64_mask(_mm512_and_epi64(t, byte),
	    _mm512_set1_epi64('-'));
	t = _mm512_mask_srli_epi64(t, negative, t, 8);
	len = _mm512_mask_sub_epi64(len, negative, len, one);
	good &= _mm512_test_epi64_mask(len, len);
	/* Zeros behind the last byte. */
	left = _mm512_slli_epi64(_mm512_sub_epi64(eight, len), 3);
	t = _mm512_srlv_epi64(_mm512_sllv_epi64(_mm512_xor_epi64(t,
	    _mm512_set1_epi8('0')), left), left);
	/* 0x80 where there is no digit. */
	other = _mm512_and_epi64(_mm512_or_epi64(t, _mm512_add_epi8(t,
	    _mm512_set1_epi8(0x76))), _mm512_set1_epi8((char)0x80));
	/* At most one, which is a point, and neither first nor last. */
	bad = _mm512_test_epi64_mask(other, _mm512_sub_epi64(other, one)) |
	    _mm512_test_epi64_mask(other, byte) | _mm512_test_epi64_mask(
	    _mm512_sllv_epi64(other, left), _mm512_set1_epi64(INT64_MIN));
	other_byte = _mm512_sub_epi64(_mm512_slli_epi64(other, 1),
	    _mm512_srli_epi64(other, 7));
	bad |= _mm512_cmpneq_epi64_mask(_mm512_and_epi64(t, other_byte),
	    _mm512_and_epi64(_mm512_set1_epi8('.' ^ '0'), other_byte));
	/* No zero in front of another digit. */
	is_zero = _mm512_testn_epi64_mask(t, byte);
	bad |= _mm512_mask_testn_epi64_mask(is_zero & _mm512_cmpgt_epu64_mask(
	    len, one), other, _mm512_set1_epi64(0x8000));
	return good & (__mmask8)~bad;
}

AVX512 INLINE uint32_t
find_numbers_avx512(const char *base, const struct mb_view *view)
{
	return find_short_numbers(base, view) |
	    (uint32_t)find_short_numbers(base, view + 8) << 8;
}
#endif

/* How one set of instructions does it. */
struct way {
	void (*set_views)(const struct bone *, const uint16_t *, size_t,
	    struct mb_view *);
	uint32_t (*find_numbers)(const char *, const struct mb_view *);
};

INLINE bool
take_run(const struct skeleton *k, const struct mb_marks *m,
    const char *base, const uint16_t *mark, struct mb_view *row,
    const struct way way)
{
	struct mb_view others[RUN];

	if (!have_text(k, base, mark))
		return false;
	for (unsigned i = 0; i < k->n_bones; i++) {
		const struct bone *bone = &k->bones[i];
		struct mb_view *view = bone->field == NO_FIELD ? others :
		    &row[bone->field * MB_ROWS];
		uint32_t odd;

		way.set_views(bone, mark, k->n_marks, view);
		for (unsigned n = 0; bone->is_string && m->has_escapes &&
		    n < RUN; n++)
			if (mb_marks_has_slash(m, view[n].start, view[n].len))
				return false;
		odd = bone->is_string ? 0 : way.find_numbers(base, view) ^
		    ((1u << RUN) - 1);
		for (; odd != 0; odd &= odd - 1) {
			struct mb_view *v = &view[__builtin_ctz(odd)];
			const char *p = base + v->start;
			enum mb_kind kind;

			/* Below 0 it is a large number. */
			if (v->len == 0 || v->len > MB_MARKS_REACH ||
			    find_end(p, p + v->len, &kind) != p + v->len)
				return false;
			v->kind = (uint8_t)kind;
			if (kind == MB_NULL)
				*v = (struct mb_view){ .start = 0 };
		}
	}
	return true;
}

static bool
run_plain(const struct skeleton *k, const struct mb_marks *m,
    const char *base, const uint16_t *mark, struct mb_view *row)
{
	return take_run(k, m, base, mark, row, (struct way){ set_views,
	    find_numbers });
}

#if defined(__x86_64__)
AVX512 static bool
run_avx512(const struct skeleton *k, const struct mb_marks *m,
    const char *base, const uint16_t *mark, struct mb_view *row)
{
	return take_run(k, m, base, mark, row, (struct way){
	    set_views_avx512, find_numbers_avx512 });
}
#endif

/* RUN rows, if the records are all as the one before. */
static bool
add_run(struct mb_skeletons *s, const struct mb_marks *m, uint32_t at,
    const char *base, struct mb_rows *rows)
{
	const uint16_t *mark = m->mark + MB_MARKS_FIRST + at;
	const struct skeleton *k = s->v[s->before - 1];
	struct mb_view *row = rows->view + rows->n;
	bool (*run)(const struct skeleton *, const struct mb_marks *,
	    const char *, const uint16_t *, struct mb_view *) = run_plain;

#if defined(__x86_64__)
	if (rows->isa == MB_ISA_AVX512)
		run = run_avx512;
#endif
	if (!run(k, m, base, mark, row))
		return false;
	clear_others(k, s->fields, row, RUN);
	for (unsigned i = 0; i < RUN; i++) {
		rows->record[rows->n++] = (uint16_t)rows->n_records++;
		mark += k->n_marks;
		rows->start[rows->n_records] = mark[-1] + 1u;
	}
	return true;
}

/* Could the next RUN records be as the one before? */
static inline bool
may_run(const struct mb_skeletons *s, const struct mb_marks *m, uint32_t at,
    const struct mb_rows *rows)
{
	return s->streak >= STREAK && rows->n_records <= MB_ROWS - RUN &&
	    at > 0 && m->mark[MB_MARKS_FIRST + at - 1] + 1u ==
	    rows->start[rows->n_records] &&
	    (m->n_marks - at) / RUN >= s->v[s->before - 1]->n_marks;
}

bool
mb_skeletons_begin(struct mb_skeletons *s)
{
	if (s->n_idle > 0) {
		s->n_idle--;
		return false;
	}
	if (s->n_taken + s->n_missed < TRIAL)
		return true;
	/* One that is missed costs about as much as one saves. */
	if (s->n_missed <= s->n_taken) {
		s->next_idle = 1;
	} else {
		s->n_idle = s->next_idle;
		if (s->next_idle < MAX_IDLE)
			s->next_idle *= 2;
		s->streak = 0;
	}
	s->n_taken = s->n_missed = 0;
	return true;
}

unsigned
mb_skeletons_rows(struct mb_skeletons *s, const struct mb_marks *m,
    uint32_t *at, const char *base, struct mb_rows *rows, uint64_t *seen,
    unsigned before)
{
	const uint16_t *marks = m->mark + MB_MARKS_FIRST;
	const struct skeleton *k;

	s->guessed = NULL;
	while (rows->n_records < MB_ROWS && *at < m->n_marks) {
		const char *begin = base + rows->start[rows->n_records];
		const uint16_t *mark = marks + *at;
		struct mb_view *row = rows->view + rows->n;

		if (may_run(s, m, *at, rows)) {
			k = s->v[s->before - 1];
			if (add_run(s, m, *at, base, rows)) {
				*at += RUN * k->n_marks;
				*seen |= k->seen;
				before = k->last;
				s->n_rows += RUN;
				s->n_taken += RUN;
				continue;
			}
			s->streak = 0;
		}
		s->guessed = &s->guess[(mb_load_8(begin) ^ s->before) *
		    0x9e3779b97f4a7c15u >> (64 - GUESS_BITS)];
		if (*s->guessed == 0)
			break;
		k = s->v[*s->guessed - 1];
		if (m->n_marks - *at < k->n_marks ||
		    !has_text(k, begin, base, mark) ||
		    !take_values(k, m, base, mark, row))
			break;
		clear_others(k, s->fields, row, 1);
		s->streak = s->before == *s->guessed ? s->streak + 1 : 0;
		s->before = *s->guessed;
		*at += k->n_marks;
		*seen |= k->seen;
		before = k->last;
		s->n_rows++;
		s->n_taken++;
		rows->record[rows->n++] = (uint16_t)rows->n_records;
		rows->start[++rows->n_records] = mark[k->n_marks - 1] + 1u;
	}
	return before;
}

/*
 * Learning.
 */

/* A text where it stands in a record; false if it can't be. */
static bool
put_text(struct skeleton *k, struct mb_str text, const struct place *place)
{
	size_t done = 0;

	for (; done < text.len; done += PIECE) {
		struct piece *piece = &k->pieces[k->n_pieces];
		size_t n = text.len - done < PIECE ? text.len - done : PIECE;
		int shift = place->shift + (int)done;

		/*
		 * In front of a mark there are as many bytes of the record
		 * as there are marks, at least.
		 */
		if (k->n_pieces == MAX_PIECES || shift > MAX_SHIFT ||
		    shift < -(int)place->mark)
			return false;
		*piece = (struct piece){ .shift = (int16_t)shift,
			.mark = place->mark };
		memcpy(&piece->text, text.p + done, n);
		memset(&piece->mask, 0xff, n);
		k->n_pieces++;
	}
	return true;
}

static bool
is_mark(char c)
{
	return c == '"' || (unsigned char)c < 0x20;
}

/*
 * The text of bone i, with the quotes of the strings around it: all in front
 * of its first mark is less than 0 bytes behind it, the value before ends
 * `before` bytes behind it, and the next begins `behind` bytes behind the last
 * mark.
 */
static bool
add_text(struct skeleton *k, struct mb_buf *text, const struct mb_bone *bones,
    size_t i, int *before, int *behind)
{
	bool is_first = i == 0;
	struct place begin;
	struct mb_str all;
	int first = -1;

	mb_buf_reset(text);
	if (!is_first && bones[i - 1].is_string)
		mb_buf_addc(text, '"');
	mb_buf_add(text, bones[i].text.p, bones[i].text.len);
	if (bones[i].is_string)
		mb_buf_addc(text, '"');
	all = (struct mb_str){ text->p, text->len };
	begin.mark = (uint16_t)k->n_marks;
	for (size_t n = 0; n < all.len; n++) {
		if (!is_mark(all.p[n]))
			continue;
		if (first < 0)
			first = (int)n;
		*behind = (int)(all.len - n);
		k->n_marks++;
	}
	/* Between two numbers there may be none, and no way to tell them. */
	if (first < 0)
		return false;
	*before = -first;
	begin.shift = (int16_t)-first;
	if (!is_first)
		return put_text(k, all, &begin);
	memcpy(&k->text, all.p, all.len < PIECE ? all.len : PIECE);
	memset(&k->mask, 0xff, all.len < PIECE ? all.len : PIECE);
	if (all.len <= PIECE)
		return true;
	begin.shift = (int16_t)(PIECE - first);
	return put_text(k, (struct mb_str){ all.p + PIECE, all.len - PIECE },
	    &begin);
}

static bool
make_skeleton(struct skeleton *k, const struct mb_bone *bones, size_t n)
{
	int owner[MAX_FIELDS];	/* which value a field is, at last */
	struct bone all[MB_BONES];
	struct mb_buf text = { 0 };
	bool is_possible = n <= MB_BONES;
	int before, behind;

	for (int f = 0; f < MAX_FIELDS; f++)
		owner[f] = -1;
	for (size_t i = 0; i < n && is_possible; i++) {
		uint64_t r = bones[i].resets;

		is_possible = add_text(k, &text, bones, i, &before, &behind);
		if (!is_possible)
			break;
		if (i > 0)
			all[i - 1].end = (int16_t)before;
		all[i] = (struct bone){ .mark = (uint16_t)(k->n_marks - 1),
			.start = (int16_t)behind, .field = NO_FIELD,
			.is_string = bones[i].is_string };
		for (; r != 0; r &= r - 1)
			owner[__builtin_ctzll(r)] = -1;
		if (bones[i].field >= 0)
			owner[bones[i].field] = (int)i;
	}
	mb_buf_release(&text);
	for (size_t i = 0; i + 1 < n && is_possible; i++) {
		int field = bones[i].field;

		if (field >= 0 && owner[field] == (int)i) {
			all[i].field = (uint8_t)field;
			k->seen |= (uint64_t)1 << field;
		} else if (bones[i].is_string) {
			continue;
		}
		k->bones[k->n_bones++] = all[i];
	}
	return is_possible;
}

/* The number of the skeleton with this key, from 1; 0. */
static uint8_t
find_skeleton(const struct mb_skeletons *s, uint64_t key)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->v[i]->key == key)
			return (uint8_t)(i + 1);
	return 0;
}

bool
mb_skeletons_wants(struct mb_skeletons *s, uint64_t key)
{
	uint8_t i = find_skeleton(s, key);
	uint64_t *once = &s->once[key % 256];

	s->n_missed++;
	s->before = i;
	s->streak = 0;
	if (i > 0) {
		if (s->guessed != NULL)
			*s->guessed = i;
		return false;
	}
	/* Where nothing repeats there is nothing to be learned. */
	if (*once == key && s->n_made <= 64 + s->n_rows / 64)
		return true;
	*once = key;
	return false;
}

void
mb_skeletons_learn(struct mb_skeletons *s, uint64_t key,
    const struct mb_bone *bones, size_t n_bones, unsigned last)
{
	unsigned i = s->n < MAX_SKELETONS ? s->n : s->next_victim;

	if (i == s->n)
		s->v[s->n++] = mb_alloc(sizeof **s->v);
	else
		s->next_victim = (i + 1) % MAX_SKELETONS;
	s->n_made++;
	*s->v[i] = (struct skeleton){ .key = key, .last = last };
	/* One that can't be has more marks than any look finds. */
	if (!make_skeleton(s->v[i], bones, n_bones))
		s->v[i]->n_marks = UINT32_MAX;
	if (s->guessed != NULL)
		*s->guessed = (uint8_t)(i + 1);
	s->before = (uint8_t)(i + 1);
}
