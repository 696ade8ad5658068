#include "parquet/chunk.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/load.h"
#include "parquet/bits.h"
#include "parquet/thrift.h"

enum {
	DECIDE = 1 << 17,	/* values that tell whether a dictionary pays … */
	DECIDE_EARLY = 1 << 14,	/* … unless so many tell that it can't */
	BOUND_BYTES = 64,	/* longer bounds of bytes are cut */
	VALUE_BYTES = 1 << 30,	/* what a page can hold for certain */
};

void
mb_chunk_tools_release(struct mb_chunk_tools *t)
{
	mb_press_close(t->press);
	mb_buf_release(&t->raw);
	mb_buf_release(&t->packed);
	mb_buf_release(&t->bound);
	free(t->seen);
	*t = (struct mb_chunk_tools){ 0 };
}

static bool
is_bytes(const struct mb_chunk *c)
{
	return c->order == MB_ORDER_BYTES;
}

/* Slots per value. */
static size_t
width_of(const struct mb_chunk *c)
{
	return c->order == MB_ORDER_WIDE ? 2 : 1;
}

void
mb_chunk_open(struct mb_chunk *c, uint64_t seed)
{
	c->order = mb_order_of(c->type);
	c->physical = mb_physical_of(c->type, &c->fixed_len);
	c->dictionary = (struct mb_dictionary){ .seed = seed,
		.shape = is_bytes(c) ? MB_SHAPE_BYTES :
		    c->order == MB_ORDER_WIDE ? MB_SHAPE_WIDE :
		    MB_SHAPE_SLOT };
	mb_chunk_reset(c);
}

void
mb_chunk_reset(struct mb_chunk *c)
{
	mb_buf_reset(&c->dictionary_page);
	mb_buf_reset(&c->data);
	mb_buf_reset(&c->index_bytes);
	mb_buf_reset(&c->levels);
	mb_buf_reset(&c->bytes);
	mb_dictionary_reset(&c->dictionary);
	mb_kept_bounds_reset(&c->bounds);
	c->n_pages = c->half_values = 0;
	c->half_size = c->plain_bytes = 0;
	c->raw_size = c->n_entries = c->n_rows = c->n_nulls = c->n_nans = 0;
	c->code_pages = c->value_pages = 0;
	c->held_entries = c->held_values = 0;
	c->value_encoding = is_bytes(c) ? MB_DELTA_LENGTH_BYTE_ARRAY :
	    MB_PLAIN;
	/* Two values need no dictionary. */
	c->mode = c->physical == MB_BOOLEAN ? MB_CHUNK_VALUES :
	    MB_CHUNK_UNDECIDED;
}

void
mb_chunk_release(struct mb_chunk *c)
{
	mb_buf_release(&c->dictionary_page);
	mb_buf_release(&c->data);
	mb_buf_release(&c->index_bytes);
	mb_buf_release(&c->levels);
	mb_buf_release(&c->bytes);
	mb_dictionary_release(&c->dictionary);
	mb_kept_bounds_release(&c->bounds);
	free(c->pages);
	free(c->codes);
	free(c->slots);
	*c = (struct mb_chunk){ 0 };
}

/* What n values take when they are written out. */
static uint64_t
plain_size(const struct mb_chunk *c, size_t n, size_t bytes)
{
	switch (c->physical) {
	case MB_BOOLEAN:
		return n / 8 + 1;
	case MB_INT32:
	case MB_FLOAT:
		return (uint64_t)n * 4;
	case MB_BYTE_ARRAY:
		return (uint64_t)n * 4 + bytes;
	case MB_FIXED:
		return (uint64_t)n * c->fixed_len;
	default:
		return (uint64_t)n * 8;
	}
}

static uint64_t
dictionary_size(const struct mb_chunk *c)
{
	return plain_size(c, c->dictionary.n, c->dictionary.bytes.len);
}

/*
 * Pages
 */

/* Some of what is held, from the first on. */
struct slice {
	size_t entry, n_entries;
	size_t value, n_values;
	size_t byte, n_bytes;		/* of values of bytes */
	size_t n_rows;
};

static void
put_sized_levels(struct mb_buf *out, const uint8_t *v, size_t n,
    unsigned width)
{
	size_t at = out->len;
	uint32_t len = 0;

	mb_buf_add(out, &len, 4);
	mb_hybrid_put_bytes(out, v, n, width);
	len = (uint32_t)(out->len - at - 4);
	memcpy(out->p + at, &len, 4);
}

static void
put_levels(struct mb_chunk *c, const struct slice *s, struct mb_buf *out)
{
	uint8_t *levels = (uint8_t *)c->levels.p + s->entry;
	uint8_t *repeats;

	if (c->has_repeats) {
		repeats = mb_alloc(s->n_entries);
		for (size_t i = 0; i < s->n_entries; i++) {
			repeats[i] = levels[i] >> 7;
			levels[i] &= 0x7f;
		}
		put_sized_levels(out, repeats, s->n_entries, 1);
		free(repeats);
	}
	if (c->top > 0)
		put_sized_levels(out, levels, s->n_entries,
		    mb_bit_width(c->top));
}

static void
put_bools(struct mb_buf *out, const uint64_t *slots, size_t n)
{
	char byte = 0;

	for (size_t i = 0; i < n; i++) {
		byte = (char)(byte | (slots[i] != 0) << i % 8);
		if (i % 8 == 7 || i + 1 == n) {
			mb_buf_addc(out, byte);
			byte = 0;
		}
	}
}

static void
put_fixed(struct mb_chunk *c, struct mb_buf *out, const uint64_t *slots,
    size_t n)
{
	union mb_parquet_value v;

	for (size_t i = 0; i < n; i++) {
		mb_slot_value(&v, c->order, slots + 2 * i);
		mb_plain_put(out, c->type, &v);
	}
}

static void
put_words(struct mb_buf *out, const uint64_t *slots, size_t n)
{
	uint32_t *to;

	mb_buf_reserve(out, n * sizeof *to);
	for (size_t i = 0; i < n; i++) {
		uint32_t word = (uint32_t)slots[i];

		memcpy(out->p + out->len + i * sizeof word, &word,
		    sizeof word);
	}
	out->len += n * sizeof *to;
}

static void
put_values(struct mb_chunk *c, const struct slice *s, struct mb_buf *out)
{
	const uint64_t *slots = c->slots + s->value * width_of(c);
	bool is_32 = c->physical == MB_INT32;

	if (c->value_encoding == MB_DELTA_BINARY_PACKED) {
		mb_delta_put(out, slots, s->n_values, is_32);
		return;
	}
	switch (c->physical) {
	case MB_BOOLEAN:
		put_bools(out, slots, s->n_values);
		break;
	case MB_INT32:
	case MB_FLOAT:
		put_words(out, slots, s->n_values);
		break;
	case MB_BYTE_ARRAY:
		mb_delta_put(out, slots, s->n_values, true);
		mb_buf_add(out, c->bytes.p + s->byte, s->n_bytes);
		break;
	case MB_FIXED:
		put_fixed(c, out, slots, s->n_values);
		break;
	default:
		mb_buf_add(out, slots, s->n_values * sizeof *slots);
		break;
	}
}

static void
entry_value(const struct mb_dictionary *d, size_t code, enum mb_order order,
    union mb_parquet_value *v, bool *is_nan)
{
	uint64_t slot[2] = { d->v[code].a, d->v[code].b };

	*is_nan = false;
	if (order == MB_ORDER_BYTES)
		v->bytes = (struct mb_str){ d->bytes.p + d->v[code].off,
			d->v[code].len };
	else
		*is_nan = !mb_slot_value(v, order, slot);
}

/* The first eight, as a number that compares as they do, unless equal. */
static inline uint64_t
first_bytes(const char *p, size_t len)
{
	uint64_t v = 0;

	if (len >= sizeof v)
		v = mb_load_8(p);
	else if (len > 0)
		memcpy(&v, p, len);
	return __builtin_bswap64(v);
}

/* Each code counts when the page has it for the first time. */
static size_t
bound_codes(struct mb_chunk *c, const struct slice *s,
    struct mb_chunk_tools *t, struct mb_bounds *b)
{
	const uint32_t *codes = c->codes + s->value;
	union mb_parquet_value v;
	size_t n_nans = 0, n = c->dictionary.n;
	uint64_t head, low = 0, high = 0;
	bool is_nan, has_nan = false;

	if (t->n_seen < n || t->page == UINT32_MAX) {
		t->n_seen = n > t->n_seen ? 2 * n : t->n_seen;
		free(t->seen);
		t->seen = mb_zalloc(t->n_seen * sizeof *t->seen);
		t->page = 0;
	}
	t->page++;
	for (size_t i = 0; i < s->n_values; i++) {
		if (t->seen[codes[i]] == t->page)
			continue;
		t->seen[codes[i]] = t->page;
		head = __builtin_bswap64(c->dictionary.v[codes[i]].a);
		if (is_bytes(c) && b->has && head > low && head < high)
			continue;	/* most */
		entry_value(&c->dictionary, codes[i], c->order, &v, &is_nan);
		if (is_nan)
			has_nan = true;
		else
			mb_bounds_add(b, c->order, &v);
		if (is_bytes(c)) {
			low = first_bytes(b->min.bytes.p, b->min.bytes.len);
			high = first_bytes(b->max.bytes.p, b->max.bytes.len);
		}
	}
	for (size_t i = 0; has_nan && i < s->n_values; i++) {
		entry_value(&c->dictionary, codes[i], c->order, &v, &is_nan);
		n_nans += is_nan;
	}
	return n_nans;
}

static size_t
bound_values(struct mb_chunk *c, const struct slice *s, struct mb_bounds *b)
{
	const uint64_t *slots = c->slots + s->value * width_of(c);
	union mb_parquet_value v;
	uint64_t head, low = 0, high = 0;
	const char *p;

	if (!is_bytes(c))
		return mb_bounds_add_slots(b, c->order, slots,
		    s->n_values * width_of(c));
	p = c->bytes.p + s->byte;
	for (size_t i = 0; i < s->n_values; i++, p += v.bytes.len) {
		v.bytes = (struct mb_str){ p, slots[i] };
		head = first_bytes(p, slots[i]);
		if (i > 0 && head > low && head < high)
			continue;	/* most */
		mb_bounds_add(b, c->order, &v);
		low = first_bytes(b->min.bytes.p, b->min.bytes.len);
		high = first_bytes(b->max.bytes.p, b->max.bytes.len);
	}
	return 0;
}

/* Keep the page's bounds, short, for the index. */
static void
keep_bounds(struct mb_chunk *c, struct mb_chunk_page *page,
    const struct mb_bounds *b, struct mb_chunk_tools *t)
{
	bool is_text = c->type.kind == MB_PARQUET_TEXT, has_max;
	struct mb_str s;

	page->has_bounds = b->has;
	page->bounds = *b;
	if (!b->has || !is_bytes(c))
		return;
	s = b->min.bytes;
	page->min_is_cut = mb_parquet_cut_min(&s, is_text, BOUND_BYTES,
	    BOUND_BYTES);
	page->min_off = c->index_bytes.len;
	page->min_len = (uint32_t)s.len;
	mb_buf_add(&c->index_bytes, s.p, s.len);
	page->max_is_cut = mb_parquet_cut_max(&t->bound, &has_max,
	    b->max.bytes, is_text, BOUND_BYTES, BOUND_BYTES);
	if (!has_max) {		/* nothing shorter is greater */
		page->max_is_cut = false;
		mb_buf_reset(&t->bound);
		mb_buf_add(&t->bound, b->max.bytes.p, b->max.bytes.len);
	}
	page->max_off = c->index_bytes.len;
	page->max_len = (uint32_t)t->bound.len;
	mb_buf_add(&c->index_bytes, t->bound.p, t->bound.len);
}

/*
 * Compress what is in t->raw and append it with a header.  The checksum is
 * over what stands in the file.
 */
static int
put_page(struct mb_chunk *c, struct mb_buf *out, enum mb_page_type type,
    size_t n, enum mb_encoding encoding, struct mb_chunk_tools *t,
    struct mb_err *err)
{
	struct mb_thrift_out o = { .buf = out };
	size_t start = out->len;
	uint32_t crc;

	mb_buf_reset(&t->packed);
	mb_press_put(t->press, &t->packed, (struct mb_str){ t->raw.p,
	    t->raw.len });
	if (t->raw.len > INT32_MAX || t->packed.len > INT32_MAX)
		return mb_fail(err, MB_EDATA,
		    "a page of more than 2 GiB: values are too long");
	crc = (uint32_t)crc32_z(0, (const Bytef *)t->packed.p, t->packed.len);
	mb_thrift_put_i32(&o, 1, type);
	mb_thrift_put_i32(&o, 2, (int32_t)t->raw.len);
	mb_thrift_put_i32(&o, 3, (int32_t)t->packed.len);
	mb_thrift_put_i32(&o, 4, (int32_t)crc);
	mb_thrift_begin(&o, type == MB_DATA_PAGE ? 5 : 7);
	mb_thrift_put_i32(&o, 1, (int32_t)n);
	mb_thrift_put_i32(&o, 2, encoding);
	if (type == MB_DATA_PAGE) {
		mb_thrift_put_i32(&o, 3, MB_RLE);
		mb_thrift_put_i32(&o, 4, MB_RLE);
	}
	mb_thrift_end(&o);
	mb_thrift_end(&o);
	c->raw_size += out->len - start + t->raw.len;
	mb_buf_add(out, t->packed.p, t->packed.len);
	return 0;
}

static int
put_data_page(struct mb_chunk *c, const struct slice *s,
    struct mb_chunk_tools *t, struct mb_err *err)
{
	bool has_codes = c->mode == MB_CHUNK_CODES;
	unsigned width = mb_bit_width(c->dictionary.n == 0 ? 0 :
	    c->dictionary.n - 1);
	struct mb_bounds bounds = { 0 };
	struct mb_chunk_page *page;

	if (c->n_pages == c->cap_pages) {
		c->cap_pages = c->cap_pages == 0 ? 4 : 2 * c->cap_pages;
		c->pages = mb_realloc_array(c->pages, c->cap_pages,
		    sizeof *c->pages);
	}
	page = &c->pages[c->n_pages++];
	*page = (struct mb_chunk_page){ .off = c->data.len,
		.first_row = c->n_rows, .has_values = s->n_values > 0,
		.n_nulls = s->n_entries - s->n_values };
	c->n_nans += has_codes ? bound_codes(c, s, t, &bounds) :
	    bound_values(c, s, &bounds);
	mb_bounds_settle(&bounds, c->order);
	keep_bounds(c, page, &bounds, t);
	mb_kept_bounds_merge(&c->bounds, c->order, &bounds);

	mb_buf_reset(&t->raw);
	put_levels(c, s, &t->raw);
	if (has_codes) {
		mb_buf_addc(&t->raw, (char)width);
		mb_hybrid_put(&t->raw, c->codes + s->value, s->n_values,
		    width);
		c->code_pages++;
	} else {
		put_values(c, s, &t->raw);
		c->value_pages++;
	}
	if (put_page(c, &c->data, MB_DATA_PAGE, s->n_entries, has_codes ?
	    MB_RLE_DICTIONARY : c->value_encoding, t, err) < 0)
		return -1;
	page->len = (uint32_t)(c->data.len - page->off);
	c->n_entries += s->n_entries;
	c->n_nulls += page->n_nulls;
	c->n_rows += s->n_rows;
	return 0;
}

static void
put_dictionary(struct mb_chunk *c, struct mb_buf *out)
{
	const struct mb_dictionary *d = &c->dictionary;
	union mb_parquet_value v;
	bool is_nan;
	uint32_t len;

	for (size_t i = 0; i < d->n; i++) {
		if (is_bytes(c)) {
			len = d->v[i].len;
			mb_buf_add(out, &len, 4);
		}
		if (c->order == MB_ORDER_FLOAT || c->order == MB_ORDER_DOUBLE) {
			/* as the bits are: of NaN, too */
			mb_buf_add(out, &d->v[i].a,
			    c->order == MB_ORDER_FLOAT ? 4 : 8);
			continue;
		}
		entry_value(d, i, c->order, &v, &is_nan);
		mb_plain_put(out, c->type, &v);
	}
}

/*
 * What is held
 */

/* The entries from s->entry on that fill a page; false: not a whole one. */
static bool
find_slice(const struct mb_chunk *c, struct slice *s)
{
	const uint8_t *levels = (const uint8_t *)c->levels.p;
	size_t max_bytes = c->mode == MB_CHUNK_VALUES && is_bytes(c) ?
	    c->page_bytes : SIZE_MAX;
	size_t i = s->entry;

	s->n_values = s->n_bytes = s->n_rows = 0;
	if (!c->has_repeats && max_bytes == SIZE_MAX) {
		i += c->page_rows < c->held_entries - i ? c->page_rows :
		    c->held_entries - i;
		s->n_entries = s->n_rows = s->n_values = i - s->entry;
		if (c->held_values == c->held_entries)	/* no nulls */
			return s->n_rows == c->page_rows;
		for (size_t k = s->entry; c->top > 0 && k < i; k++)
			s->n_values -= levels[k] != c->top;
		return s->n_rows == c->page_rows;
	}
	for (; i < c->held_entries; i++) {
		bool starts = !c->has_repeats || levels[i] < 0x80;

		/* Pages begin with a row, as the index requires. */
		if (starts && (s->n_rows >= c->page_rows ||
		    s->n_bytes >= max_bytes || (c->has_repeats &&
		    i - s->entry >= 2 * c->page_rows)))
			break;
		s->n_rows += starts;
		if (c->top > 0 && (levels[i] & 0x7f) != c->top)
			continue;
		if (max_bytes != SIZE_MAX)
			s->n_bytes += c->slots[s->value + s->n_values];
		s->n_values++;
	}
	s->n_entries = i - s->entry;
	return i < c->held_entries;
}

/* Write full pages, or with `all` everything that is held. */
static int
put_held(struct mb_chunk *c, bool all, struct mb_chunk_tools *t,
    struct mb_err *err)
{
	struct slice s = { 0 };
	size_t each = width_of(c);
	bool is_full;

	if (!all && c->held_entries < c->page_rows && (!is_bytes(c) ||
	    c->mode != MB_CHUNK_VALUES || c->bytes.len < c->page_bytes))
		return 0;
	for (;;) {
		is_full = find_slice(c, &s);
		if (s.n_entries == 0 || (!is_full && !all))
			break;
		if (put_data_page(c, &s, t, err) < 0)
			return -1;
		s.entry += s.n_entries;
		s.value += s.n_values;
		s.byte += s.n_bytes;
	}
	/* Move the rest to the front. */
	c->held_entries -= s.entry;
	c->held_values -= s.value;
	if (c->levels.len > 0) {
		c->levels.len -= s.entry;
		memmove(c->levels.p, c->levels.p + s.entry, c->levels.len);
	}
	if (c->mode != MB_CHUNK_VALUES) {
		if (c->held_values > 0)
			memmove(c->codes, c->codes + s.value,
			    c->held_values * sizeof *c->codes);
		return 0;
	}
	if (c->held_values > 0)
		memmove(c->slots, c->slots + s.value * each,
		    c->held_values * each * sizeof *c->slots);
	c->bytes.len -= s.byte;
	if (c->bytes.len > 0)
		memmove(c->bytes.p, c->bytes.p + s.byte, c->bytes.len);
	return 0;
}

static void
reserve_slots(struct mb_chunk *c, size_t n)
{
	if (n <= c->cap_slots)
		return;
	c->cap_slots = n + n / 2;
	c->slots = mb_realloc_array(c->slots, c->cap_slots,
	    sizeof *c->slots);
}

/* Codes become values again. */
static void
spell_out(struct mb_chunk *c)
{
	const struct mb_dictionary *d = &c->dictionary;
	size_t each = width_of(c);

	reserve_slots(c, c->held_values * each);
	for (size_t i = 0; i < c->held_values; i++) {
		const struct mb_dictionary_entry *e = &d->v[c->codes[i]];

		if (is_bytes(c)) {
			c->slots[i] = e->len;
			mb_buf_add(&c->bytes, d->bytes.p + e->off, e->len);
		} else {
			c->slots[i * each] = e->a;
			if (each == 2)
				c->slots[i * each + 1] = e->b;
		}
	}
}

/* Integers: are differences shorter?  Judged by what is held as slots. */
static void
choose_encoding(struct mb_chunk *c)
{
	bool is_32 = c->physical == MB_INT32;
	size_t n = c->held_values;

	if ((!is_32 && c->physical != MB_INT64) || n == 0)
		return;
	c->value_encoding = mb_delta_size(c->slots, n, is_32) <
	    plain_size(c, n, 0) * 9 / 10 ? MB_DELTA_BINARY_PACKED : MB_PLAIN;
}

/*
 * Does a dictionary pay?  Each value costs its code and, as often as the
 * later ones of them were new, an entry.  At the end of a chunk it is simply
 * what there is.  A dictionary must win clearly, because codecs find
 * repetitions as well.
 */
static void
decide(struct mb_chunk *c, bool is_end)
{
	size_t n = c->held_values, later = n - c->half_values;
	uint64_t coded = dictionary_size(c), plain, delta = UINT64_MAX;

	if (n == 0)
		return;
	if (!is_end && later > n / 4)
		coded = (coded - c->half_size) * n / later;
	coded += (uint64_t)n * mb_bit_width(c->dictionary.n) / 8 + 1;
	plain = plain_size(c, n, 0);
	if (is_bytes(c)) {
		plain = n;
		for (size_t i = 0; i < n; i++)
			plain += c->dictionary.v[c->codes[i]].len;
	} else {
		spell_out(c);
		choose_encoding(c);
		if (c->value_encoding == MB_DELTA_BINARY_PACKED)
			delta = mb_delta_size(c->slots, n,
			    c->physical == MB_INT32);
	}
	c->mode = coded < plain - plain / 4 && coded <= delta ?
	    MB_CHUNK_CODES : MB_CHUNK_VALUES;
	if (c->mode == MB_CHUNK_CODES)
		return;
	if (is_bytes(c))
		spell_out(c);
	mb_dictionary_reset(&c->dictionary);
}

/* Values that the column can't hold would make wrong bounds. */
static int
check_values(const struct mb_chunk *c, const struct mb_parquet_column *column,
    struct mb_err *err)
{
	uint64_t bias = 0, outside = 0, any = 0;

	switch (c->type.kind) {
	case MB_PARQUET_BOOL:
		outside = ~(uint64_t)1;
		break;
	case MB_PARQUET_INT8:
		bias = 1u << 7;
		outside = ~(uint64_t)UINT8_MAX;
		break;
	case MB_PARQUET_INT16:
		bias = 1u << 15;
		outside = ~(uint64_t)UINT16_MAX;
		break;
	default:
		if (c->physical == MB_BYTE_ARRAY) {
			outside = ~(uint64_t)(VALUE_BYTES - 1);
		} else if (c->physical == MB_INT32) {
			bias = 1u << 31;
			outside = ~(uint64_t)UINT32_MAX;
		}
		break;
	}
	if (outside == 0)
		return 0;
	for (size_t i = 0; i < column->n_slots; i++)
		any |= column->slots[i] + bias;
	if ((any & outside) == 0)
		return 0;
	if (c->physical == MB_BYTE_ARRAY)
		return mb_fail(err, MB_EDATA, "a value of 1 GiB or more");
	return mb_fail(err, MB_EBUG, "a value beyond the column's type");
}

/* Append the column's entries to what is held. */
static void
hold(struct mb_chunk *c, struct mb_parquet_column *column)
{
	size_t n = column->n_slots / width_of(c), need;

	if (c->top > 0)
		mb_buf_add(&c->levels, column->levels, column->n_levels);
	if (c->mode == MB_CHUNK_VALUES) {
		need = c->held_values * width_of(c) + column->n_slots;
		reserve_slots(c, need);
		if (n > 0)
			memcpy(c->slots + c->held_values * width_of(c),
			    column->slots, column->n_slots *
			    sizeof *column->slots);
		mb_buf_add(&c->bytes, column->bytes.p, column->bytes.len);
	} else {
		if (c->held_values + n > c->cap_codes) {
			c->cap_codes = (c->held_values + n) * 3 / 2;
			c->codes = mb_realloc_array(c->codes, c->cap_codes,
			    sizeof *c->codes);
		}
		mb_buf_reserve(&column->bytes, MB_DICTIONARY_SLACK);
		mb_dictionary_codes(&c->dictionary, c->codes +
		    c->held_values, column->slots, column->bytes.p, n);
	}
	c->plain_bytes += plain_size(c, n, column->bytes.len);
	c->held_entries += column->n_levels;
	c->held_values += n;
	column->n_levels = column->n_slots = 0;
	mb_buf_reset(&column->bytes);
}

/*
 * A dictionary is to fit caches, here and in readers; a larger one must save
 * the more.
 */
static bool
is_dictionary_full(const struct mb_chunk *c)
{
	uint64_t size;

	if (c->mode == MB_CHUNK_VALUES)
		return false;
	size = dictionary_size(c);
	return size > c->page_bytes && (size > 4 * (uint64_t)c->page_bytes ||
	    size > c->plain_bytes / 8);
}

/*
 * Nearly all of the first values differ: of so many the dictionary would be
 * full before it paid, and what is put into it is for nothing.
 */
static bool
is_hopeless(const struct mb_chunk *c)
{
	return c->held_values >= DECIDE_EARLY && c->held_values <
	    2 * DECIDE_EARLY && c->dictionary.n > c->held_values / 32 * 31;
}

int
mb_chunk_add(struct mb_chunk *c, struct mb_parquet_column *column,
    struct mb_chunk_tools *t, struct mb_err *err)
{
	bool is_full;

	if (check_values(c, column, err) < 0)
		return -1;
	hold(c, column);
	is_full = is_dictionary_full(c);
	if (c->mode == MB_CHUNK_UNDECIDED) {
		if (c->held_values <= DECIDE / 2) {
			c->half_values = c->held_values;
			c->half_size = dictionary_size(c);
		}
		if (c->held_values >= DECIDE || is_full ||
		    is_hopeless(c))
			decide(c, false);
		is_full = is_full && c->mode == MB_CHUNK_CODES;
	}
	if (c->mode == MB_CHUNK_UNDECIDED)
		return 0;
	if (put_held(c, is_full, t, err) < 0)
		return -1;
	if (is_full) {
		c->mode = MB_CHUNK_VALUES;
		c->value_encoding = is_bytes(c) ? MB_DELTA_LENGTH_BYTE_ARRAY :
		    MB_PLAIN;
	}
	return 0;
}

int
mb_chunk_end(struct mb_chunk *c, struct mb_chunk_tools *t, struct mb_err *err)
{
	if (c->mode == MB_CHUNK_UNDECIDED)
		decide(c, true);
	if (c->mode == MB_CHUNK_UNDECIDED)	/* of nothing but nulls */
		c->mode = MB_CHUNK_VALUES;
	if (put_held(c, true, t, err) < 0)
		return -1;
	if (c->code_pages == 0)
		return 0;
	mb_buf_reset(&t->raw);
	put_dictionary(c, &t->raw);
	return put_page(c, &c->dictionary_page, MB_DICTIONARY_PAGE,
	    c->dictionary.n, MB_PLAIN, t, err);
}
