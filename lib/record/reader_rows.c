#include "record/reader_parts.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/load.h"

enum {
	MAX_VIEWS = 1024,	/* fields of many records at once */
	MOST_PARTS = 8,		/* vectors of marks of sixteen records */
};

/*
 * Most csv and tsv records are found many at once, with their fields.  False
 * if the next one isn't such.
 */
static bool
look(struct mb_reader *r, struct mb_str data)
{
	uint64_t looked;

	if (r->format == MB_NDJSON) {
		/* Other records were read since. */
		looked = r->base - r->marks_off;
		while (r->n_used < r->marks->n_marks &&
		    r->marks->mark[MB_MARKS_FIRST + r->n_used] < looked)
			r->n_used++;
		if (r->n_used < r->marks->n_marks)
			return true;
	} else if (r->n_used < r->marks->n_ends) {
		return true;
	}
	/* Between two records, none of which can be too long. */
	if (r->split.off != r->split.complete ||
	    r->split.limit < MB_MARKS_REACH)
		return false;
	mb_marks_look(r->marks, r->isa, r->format, r->delimiter, r->width,
	    data.p, data.len);
	r->marks_off = r->base;
	r->n_used = 0;
	return r->format == MB_NDJSON ? r->marks->n_marks > 0 :
	    r->marks->n_ends > 0;
}

/* The i-th record of the marks; at p is the byte of the offset `off`. */
static void
set_marked(struct mb_reader *r, const char *p, uint64_t off, uint32_t i,
    struct mb_row *row)
{
	const struct mb_marks *m = r->marks;
	uint32_t first = i > 0 ? mb_marks_end(m, i - 1) + 1 : 0;
	uint32_t start = first > 0 ? mb_marks_place(m, first - 1) + 1 : 0;
	uint32_t last = mb_marks_end(m, i), end = mb_marks_place(m, last) + 1;

	p += r->marks_off + start - off;
	*row = (struct mb_row){
		.off = r->marks_off + start,
		.end = r->marks_off + end,
		.raw = { p, end - start },
	};
	r->marked = (struct marked){ .p = p, .off = start,
		.mark = m->mark + MB_MARKS_FIRST + first,
		.n = last - first + 1 };
}

bool
mb_reader_next_marked(struct mb_reader *r, struct mb_str *data,
    struct mb_row *row)
{
	r->marked.p = NULL;
	if (!mb_format_has_header(r->format) || r->isa == MB_ISA_NONE ||
	    !look(r, *data))
		return false;
	set_marked(r, data->p, r->base, r->n_used++, row);
	mb_split_pass(&r->split, row->end);
	advance(r, data, row->end);
	return true;
}

/*
 * Many at once.
 */

/*
 * Where record i of the rows begins, from rows->p on; of n_records, where the
 * last ends.
 */
static uint32_t
begin_of(const struct mb_reader *r, size_t i)
{
	if (r->format == MB_NDJSON)
		return r->rows.start[i];
	return i == 0 ? 0 : (uint32_t)(r->marks_off - r->base) +
	    mb_marks_place(r->marks, mb_marks_end(r->marks, r->n_used +
	    (uint32_t)i - 1)) + 1;
}

/*
 * The text of a view is to be decoded.  As there is no room for that where it
 * stands, the rows move: to a copy, with what is decoded behind it.
 */
static void
decode_view(struct mb_reader *r, struct mb_view *v)
{
	const struct mb_rows *rows = &r->rows;
	struct mb_str text = { rows->p + v->start, v->len };

	if (r->apart.len == 0)
		mb_buf_add(&r->apart, rows->p,
		    begin_of(r, rows->n_records));
	v->start = (uint32_t)r->apart.len;
	mb_csv_decode(&r->apart, r->format, text);
	v->len = (uint16_t)(r->apart.len - v->start);
}

/*
 * Take the CR off the last field of a record; then it may be null.  A quoted
 * one is without its first byte and as many at its end, the CR among them.
 */
static void
chomp_views(const char *base, struct mb_view *view, size_t n,
    enum mb_format format)
{
	for (size_t i = 0; i < n; i++) {
		struct mb_view *v = &view[i];
		const char *end = base + v->start + v->len;

		if (v->len == 0)
			continue;
		if (format == MB_CSV && end[0] == '\r' && end[-1] == '"')
			v->len--;
		else if (end[0] == '\n' && end[-1] == '\r' &&
		    --v->len == 0 && format != MB_LINES)
			v->kind = MB_NULL;
	}
}

/* The mark that ends the first field of the next record. */
static uint32_t
first_mark(const struct mb_reader *r)
{
	return r->n_used > 0 ? mb_marks_end(r->marks, r->n_used - 1) + 1 : 0;
}

/*
 * Decode what must be: the field of row i ends with mark at[i] + column.  Which
 * they are can't be foreseen.
 */
static void
decode_views(struct mb_reader *r, struct mb_view *view, const uint16_t *at,
    size_t column)
{
	const unsigned char *is_coded = r->marks->is_coded + column;
	uint16_t coded[MB_ROWS];
	unsigned char any = 0;
	size_t n = 0;

	for (size_t i = 0; i < r->rows.n; i++)
		any |= is_coded[at[i]];
	for (size_t i = 0; i < r->rows.n && any != 0; i++) {
		coded[n] = (uint16_t)i;
		n += is_coded[at[i]] & 1;
	}
	for (size_t k = 0; k < n; k++)
		decode_view(r, &view[coded[k]]);
}

/* Those that are null by --null. */
static void
null_views(const struct mb_reader *r, struct mb_view *view)
{
	for (size_t i = 0; i < r->rows.n; i++) {
		struct mb_view *v = &view[i];

		if (v->kind != MB_NULL && v->kind != MB_JSON && is_null(r,
		    (struct mb_str){ r->rows.p + v->start, v->len })) {
			v->kind = MB_NULL;
			v->len = 0;
		}
	}
}

/* How many fields are viewed. */
static size_t
n_views(const struct mb_reader *r)
{
	return r->wants_all ? r->width : r->n_wanted;
}

/* Which records are ordinary, and with which mark each of these begins. */
static void
find_ordinary(struct mb_reader *r, uint16_t first[MB_ROWS])
{
	const struct mb_marks *m = r->marks;
	struct mb_rows *rows = &r->rows;
	uint32_t at = first_mark(r);
	size_t n = 0, n_odd = 0;

	for (size_t i = 0; i < rows->n_records; i++) {
		uint32_t end = mb_marks_end(m, r->n_used + (uint32_t)i);
		bool is_ordinary = end + 1 - at == r->width;

		first[n] = (uint16_t)at;
		rows->record[n] = (uint16_t)i;
		n += is_ordinary;
		rows->odd[n_odd] = (uint16_t)i;
		n_odd += !is_ordinary;
		at = end + 1;
	}
	rows->n = n;
	rows->n_odd = n_odd;
}

/* The same where all are. */
static void
take_all(struct mb_reader *r)
{
	struct mb_rows *rows = &r->rows;

	rows->n = rows->n_records;
	rows->n_odd = 0;
	memcpy(rows->record, r->in_order, rows->n * sizeof *rows->record);
}

/*
 * The field that ends with a mark, the one before being where it begins,
 * without its quotes.  In the fewest steps, and in words where words stand that
 * way: this is done for each field of each record.
 */
static inline void
set_view(struct mb_view *view, const uint16_t *end, uint32_t delta)
{
	uint32_t both = mb_load_4(end - 1), start, len, is_quoted;
	uint64_t word;

	_Static_assert(sizeof *view == 8 && offsetof(struct mb_view, len) ==
	    4 && offsetof(struct mb_view, kind) == 6 && MB_NULL == 0 &&
	    MB_PLAIN == 1, "a word");
	/* In 15 bits, so that what is before mark 0 fits. */
	start = (both + 1) & MB_MARK_PLACE;
	len = ((both >> 16) - start) & MB_MARK_PLACE;
	is_quoted = both >> 31;
	word = (len | ((len + 0xffff) & 0x10000)) - 2 * is_quoted;
	word = word << 32 | (uint32_t)(start + is_quoted - delta);
	memcpy(view, &word, sizeof word);
}

/* The views of a field of n records that are all as wide. */
static void
set_column(struct mb_view *view, const uint16_t *end, size_t width, size_t n,
    uint32_t delta)
{
	for (size_t i = 0; i < n; i++)
		set_view(&view[i], end + i * width, delta);
}

#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2")))

/* Sixteen views of a field, of the marks before and at its end, each. */
AVX512 static inline __attribute__((always_inline)) void
put_views(struct mb_view *view, __m512i both, uint32_t delta)
{
	const __m512i low = _mm512_set1_epi32(0xffff);
	const __m512i place = _mm512_set1_epi32(MB_MARK_PLACE);
	const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
	const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
	__m512i start = _mm512_and_epi32(place, _mm512_add_epi32(both,
	    _mm512_set1_epi32(1)));
	__m512i len = _mm512_and_epi32(place, _mm512_sub_epi32(
	    _mm512_srli_epi32(both, 16), start));
	__m512i quoted = _mm512_srli_epi32(both, 31);
	__m512i a, b;

	len = _mm512_or_epi32(len, _mm512_and_epi32(
	    _mm512_set1_epi32(0x10000), _mm512_add_epi32(len, low)));
	len = _mm512_sub_epi32(len, _mm512_slli_epi32(quoted, 1));
	start = _mm512_add_epi32(start, _mm512_sub_epi32(quoted,
	    _mm512_set1_epi32((int)delta)));
	a = _mm512_unpacklo_epi32(start, len);
	b = _mm512_unpackhi_epi32(start, len);
	_mm512_storeu_si512(&view[0], _mm512_permutex2var_epi64(a, first, b));
	_mm512_storeu_si512(&view[8], _mm512_permutex2var_epi64(a, second, b));
}

/* The same as set_column; behind the n-th there may be anything then. */
AVX512 static void
gather_column(struct mb_view *view, const uint16_t *end, size_t width,
    size_t n, uint32_t delta)
{
	const __m512i at = _mm512_mullo_epi32(_mm512_set1_epi32((int)width),
	    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
	    26, 28, 30));

	for (size_t i = 0; i < n; i += 16) {
		__mmask16 there = n - i < 16 ?
		    (__mmask16)((1u << (n - i)) - 1) : 0xffff;

		put_views(view + i, _mm512_mask_i32gather_epi32(
		    _mm512_setzero_si512(), there, at, end - 1 + i * width,
		    1), delta);
	}
}

/*
 * In records of few fields the marks of sixteen are few vectors, n_parts, from
 * each of which is taken what it has: half the time of gathering them.
 */
AVX512 static inline __attribute__((always_inline)) void
pick_column(struct mb_view *view, const uint16_t *end, size_t width,
    size_t n, uint32_t delta, const unsigned n_parts)
{
	/* Of row k the marks k * width and the next. */
	const __m512i at = _mm512_add_epi16(_mm512_set1_epi32(1 << 16),
	    _mm512_mullo_epi16(_mm512_set1_epi16((short)width),
	    _mm512_setr_epi32(0, 0x10001, 0x20002, 0x30003, 0x40004, 0x50005,
	    0x60006, 0x70007, 0x80008, 0x90009, 0xa000a, 0xb000b, 0xc000c,
	    0xd000d, 0xe000e, 0xf000f)));
	__mmask32 has[MOST_PARTS];

	for (unsigned k = 0; k < n_parts; k++)
		has[k] = _mm512_cmpeq_epi16_mask(_mm512_srli_epi16(at, 5),
		    _mm512_set1_epi16((short)k));
	for (size_t i = 0; i < n; i += 16) {
		const uint16_t *mark = end - 1 + i * width;
		__m512i both = _mm512_permutexvar_epi16(at,
		    _mm512_loadu_si512(mark));

#pragma GCC unroll 8
		for (unsigned k = 1; k < n_parts; k++)
			both = _mm512_mask_permutexvar_epi16(both, has[k], at,
			    _mm512_loadu_si512(mark + 32 * k));
		put_views(view + i, both, delta);
	}
}

AVX512 static void
set_column_avx512(struct mb_view *view, const uint16_t *end, size_t width,
    size_t n, uint32_t delta)
{
	/* What is behind the last mark can be read, but not much. */
	size_t whole = n / 16 * 16;

	switch ((15 * width + 2 + 31) / 32) {
#define CASE(n_parts) \
	case n_parts: \
		pick_column(view, end, width, whole, delta, n_parts); \
		break
	CASE(1);
	CASE(2);
	CASE(3);
	CASE(4);
	CASE(5);
	CASE(6);
	CASE(7);
	CASE(8);
#undef CASE
	default:
		whole = 0;
	}
	gather_column(view + whole, end + whole * width, width, n - whole,
	    delta);
}
#endif

static void
set_views(struct mb_reader *r)
{
	const struct mb_marks *m = r->marks;
	const uint16_t *mark = m->mark + MB_MARKS_FIRST;
	const uint32_t delta = (uint32_t)(r->base - r->marks_off);
	const size_t width = r->width;
	struct mb_rows *rows = &r->rows;
	const bool is_regular = m->width == width;
	uint16_t first[MB_ROWS];
	size_t n;

	first[0] = (uint16_t)first_mark(r);
	if (is_regular)
		take_all(r);
	else
		find_ordinary(r, first);
	n = rows->n;
	for (size_t i = 1; i < n && is_regular && m->has_codes; i++)
		first[i] = (uint16_t)(first[0] + i * width);
	for (size_t f = 0; f < n_views(r); f++) {
		struct mb_view *view = rows->view + f * MB_ROWS;
		size_t column = r->wants_all ? f : r->wanted[f].column;

#if defined(__x86_64__)
		if (is_regular && r->isa == MB_ISA_AVX512)
			set_column_avx512(view, mark + first[0] + column,
			    width, n, delta);
		else
#endif
		if (is_regular)
			set_column(view, mark + first[0] + column, width, n,
			    delta);
		else
			for (size_t i = 0; i < n; i++)
				set_view(&view[i], mark + first[i] + column,
				    delta);
		/* An empty line is a text, too. */
		for (size_t i = 0; i < n && r->format == MB_LINES; i++)
			view[i].kind = MB_TEXT;
		if (m->has_cr && column == width - 1)
			chomp_views(rows->p, view, n, r->format);
		if (m->has_codes)
			decode_views(r, view, first, column);
	}
	if (r->apart.len > 0) {
		mb_buf_reserve(&r->apart, MB_VIEW_SLACK);
		rows->p = r->apart.p;
	}
	for (size_t f = 0; f < n_views(r) && r->n_nulls > 0; f++)
		null_views(r, rows->view + f * MB_ROWS);
}

static bool
set_json_views(struct mb_reader *r, struct mb_str data)
{
	struct mb_rows *rows = &r->rows;
	uint32_t delta = (uint32_t)(r->base - r->marks_off);
	uint64_t seen = 0;

	if (r->shape == NULL)
		mb_shape_open(&r->shape, r->field_list, r->n_wanted);
	/* What counts from the marks' beginning; nothing before is read. */
	rows->p = data.p - delta;
	rows->start[0] = delta;
	mb_shape_rows(r->shape, r->marks, &r->n_used, rows->p, rows, &seen);
	for (; seen != 0; seen &= seen - 1)
		r->wanted[__builtin_ctzll(seen)].was_seen = true;
	for (size_t f = 0; f < r->n_wanted && r->n_nulls > 0; f++)
		null_views(r, rows->view + f * MB_ROWS);
	return rows->n_records > 0;
}

struct mb_rows *
mb_reader_ahead(struct mb_reader *r, struct mb_str data)
{
	struct mb_rows *rows = &r->rows;

	if (r->isa == MB_ISA_NONE || (r->format == MB_NDJSON ? r->wants_all :
	    r->width == 0 || n_views(r) > MAX_VIEWS) || !look(r, data))
		return NULL;
	rows->view = make_room(rows->view, &r->cap_views,
	    (n_views(r) + 1) * MB_ROWS, sizeof *rows->view);
	rows->isa = r->isa;
	if (r->format == MB_NDJSON)
		return set_json_views(r, data) ? rows : NULL;
	rows->p = data.p;
	mb_buf_reset(&r->apart);
	rows->n_records = r->marks->n_ends - r->n_used;
	if (rows->n_records > MB_ROWS)
		rows->n_records = MB_ROWS;
	set_views(r);
	return rows;
}

bool
mb_reader_may_have_control(const struct mb_reader *r)
{
	return r->marks->has_watched;
}

struct mb_str
mb_reader_raw(const struct mb_reader *r, size_t i, size_t n)
{
	uint32_t begin = begin_of(r, i);

	return (struct mb_str){ r->rows.p + begin, begin_of(r, i + n) - begin };
}

/* Record i of the rows, whatever it is. */
int
mb_reader_read(struct mb_reader *r, size_t i, struct mb_row *row,
    struct mb_err *err)
{
	int rc;

	if (r->format != MB_NDJSON) {
		set_marked(r, r->rows.p, r->base, r->n_used + (uint32_t)i, row);
		return mb_reader_read_row(r, row, err);
	}
	*row = (struct mb_row){ .raw = mb_reader_raw(r, i, 1) };
	row->off = r->base + begin_of(r, i) - begin_of(r, 0);
	row->end = row->off + row->raw.len;
	rc = mb_reader_read_row(r, row, err);
	if (row->bad == NULL)
		mb_shape_learn(r->shape, row->raw);
	return rc;
}

void
mb_reader_pass(struct mb_reader *r, struct mb_str *data)
{
	const struct mb_rows *rows = &r->rows;
	uint64_t end = r->base + begin_of(r, rows->n_records) - begin_of(r, 0);

	if (r->format != MB_NDJSON)
		r->n_used += (uint32_t)rows->n_records;
	mb_split_pass(&r->split, end);
	advance(r, data, end);
}

