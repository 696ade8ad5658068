/*
 * An entry is a level and, if the level is the highest, a value.  Runs are
 * decoded from the page at hand; a row of a list may take several runs, and
 * go on in the next page.
 */
#include "parquet/cursor.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/load.h"
#include "parquet/pages.h"
#include "parquet/values.h"

enum {
	RUN = 1024,
	MAX_ROW = 1 << 20,	/* entries: elements of a list */
};

struct mb_parquet_cursor {
	const char *name;
	char *path;
	const struct mb_meta_leaf *leaf;
	uint64_t rows, seen_rows, left;		/* rows; entries to come */
	struct mb_pages pages;

	uint64_t page_off;
	uint32_t page_left;			/* entries */
	bool has_page;
	struct mb_hybrid repeats, levels;
	struct mb_values values;
	union mb_parquet_value *dictionary;
	struct mb_buf dictionary_bytes;

	/*
	 * A run: n_levels of it have levels, of these run_len have values,
	 * of these run_at were handed out.
	 */
	uint32_t codes[RUN];
	union mb_parquet_value decoded[RUN];
	struct mb_parquet_entry run[RUN];
	size_t n_levels, run_len, run_at;

	/* A row that is in more than one run. */
	struct mb_parquet_entry *row;
	size_t row_len, row_cap;
	struct mb_arena row_bytes;
};

struct mb_parquet_cursor *
mb_cursor_make(int fd, const char *name, struct mb_buf *path,
    const struct mb_meta_leaf *leaf, const struct mb_meta_chunk *chunk,
    uint64_t rows)
{
	struct mb_parquet_cursor *c = mb_zalloc(sizeof *c);

	c->name = name;
	c->path = mb_buf_take(path);
	c->leaf = leaf;
	c->rows = rows;
	c->left = chunk->n_entries;
	c->pages = (struct mb_pages){ .fd = fd, .name = name,
		.chunk = chunk, .off = chunk->start };
	c->values.leaf = leaf;
	return c;
}

void
mb_parquet_cursor_close(struct mb_parquet_cursor *c)
{
	if (c == NULL)
		return;
	mb_pages_release(&c->pages);
	mb_values_release(&c->values);
	mb_buf_release(&c->dictionary_bytes);
	mb_arena_release(&c->row_bytes);
	free(c->dictionary);
	free(c->row);
	free(c->path);
	free(c);
}

static int
complain(const struct mb_parquet_cursor *c, const char *why,
    struct mb_err *err)
{
	return mb_fail(err, MB_EDATA, "%s: column %s: at byte %" PRIu64 ": %s",
	    c->name, c->path, c->page_off, why);
}

static int
take_dictionary(struct mb_parquet_cursor *c, const struct mb_page *page,
    struct mb_err *err)
{
	uint32_t width = mb_meta_width(c->leaf);
	const char *why;

	if (c->dictionary != NULL)
		return complain(c, "a second dictionary", err);
	if (page->encoding != MB_PLAIN && page->encoding !=
	    MB_PLAIN_DICTIONARY)
		return complain(c, "a dictionary of an unknown encoding",
		    err);
	/* Each takes its bytes, or a length, so this bounds the memory. */
	if (c->leaf->physical == MB_BOOLEAN ||
	    page->n_entries > page->body.len / (width == 0 ? 4 : width))
		return complain(c, "a dictionary that is cut short", err);
	mb_buf_add(&c->dictionary_bytes, page->body.p, page->body.len);
	c->dictionary = mb_realloc_array(NULL, page->n_entries,
	    sizeof *c->dictionary);
	why = mb_values_dictionary(c->leaf, (struct mb_str){
	    c->dictionary_bytes.p, c->dictionary_bytes.len }, c->dictionary,
	    page->n_entries);
	c->values.dictionary = c->dictionary;
	c->values.n_dictionary = page->n_entries;
	return why != NULL ? complain(c, why, err) : 0;
}

/* Version 1: levels with their length in front of the values. */
static bool
take_levels(struct mb_str *body, struct mb_str *out)
{
	uint32_t len;

	if (body->len < 4)
		return false;
	len = mb_load_4(body->p);
	if (len > body->len - 4)
		return false;
	*out = (struct mb_str){ body->p + 4, len };
	body->p += 4 + len;
	body->len -= 4 + len;
	return true;
}

static int
begin_page(struct mb_parquet_cursor *c, struct mb_page *page,
    struct mb_err *err)
{
	const struct mb_parquet_leaf *l = &c->leaf->leaf;
	struct mb_str repeats = page->repeats, levels = page->levels;
	const char *why;

	if (page->n_entries > c->left)
		return complain(c, "more values than the column has", err);
	if (!page->is_v2 && ((l->repeated > 0 && !take_levels(&page->body,
	    &repeats)) || (l->top > 0 && !take_levels(&page->body, &levels))))
		return complain(c, "levels that don't fit the page", err);
	mb_hybrid_begin(&c->repeats, repeats, 1);
	mb_hybrid_begin(&c->levels, levels, mb_bit_width(l->top));
	why = mb_values_begin(&c->values, page->encoding, page->body);
	if (why != NULL)
		return complain(c, why, err);
	c->page_left = page->n_entries;
	c->left -= page->n_entries;
	return 0;
}

/* Have a page with entries; 0: there is none any more. */
static int
find_page(struct mb_parquet_cursor *c, struct mb_err *err)
{
	struct mb_page page;
	int rc;

	while (c->page_left == 0) {
		if (c->left == 0)
			return 0;
		rc = mb_pages_next(&c->pages, &page, err);
		if (rc < 0)
			return mb_wrap(err, "%s: column %s", c->name,
			    c->path);
		c->page_off = rc > 0 ? page.off : c->pages.off;
		if (rc == 0)
			return complain(c, "pages are missing", err);
		rc = page.type == MB_DICTIONARY_PAGE ?
		    take_dictionary(c, &page, err) :
		    begin_page(c, &page, err);
		if (rc < 0)
			return -1;
	}
	return 1;
}

/* A run's levels. */
static const char *
decode_levels(struct mb_parquet_cursor *c)
{
	const struct mb_parquet_leaf *l = &c->leaf->leaf;
	size_t n = c->page_left < RUN ? c->page_left : RUN;

	c->run_at = c->run_len = 0;
	c->page_left -= (uint32_t)n;
	c->n_levels = n;
	if (l->top > 0 && !mb_hybrid_take(&c->levels, c->codes, n))
		return "levels that end too early";
	for (size_t i = 0; i < n; i++) {
		c->run[i].level = l->top > 0 ? (uint8_t)c->codes[i] : 0;
		c->run[i].is_repeated = false;
		if (l->top > 0 && c->codes[i] > l->top)
			return "a level that can't be";
	}
	if (l->repeated == 0)
		return NULL;
	if (!mb_hybrid_take(&c->repeats, c->codes, n))
		return "levels that end too early";
	for (size_t i = 0; i < n; i++)
		c->run[i].is_repeated = c->codes[i] != 0;
	return NULL;
}

/* As many of its values as come at once, and the nulls among them. */
static const char *
decode_values(struct mb_parquet_cursor *c)
{
	uint8_t top = c->leaf->leaf.top;
	size_t n = 0, next = 0, i = c->run_len;
	const char *why;

	for (size_t k = i; k < c->n_levels; k++)
		n += c->run[k].level == top;
	why = mb_values_take(&c->values, c->decoded, &n);
	if (why != NULL)
		return why;
	for (; i < c->n_levels; i++) {
		if (c->run[i].level == top) {
			if (next == n)
				break;
			c->run[i].value = c->decoded[next++];
		}
		c->seen_rows += !c->run[i].is_repeated;
		if (c->seen_rows == 0)
			return "a row that begins in the middle";
	}
	c->run_len = i;
	return c->seen_rows > c->rows ? "more rows than the row group has" :
	    NULL;
}

/* Have entries in the run; 0: there are none any more. */
static int
find_run(struct mb_parquet_cursor *c, struct mb_err *err)
{
	const char *why = NULL;
	int rc;

	if (c->run_at < c->run_len)
		return 1;
	if (c->run_len == c->n_levels) {
		rc = find_page(c, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return c->seen_rows == c->rows ? 0 : complain(c,
			    "fewer rows than the row group has", err);
		why = decode_levels(c);
	}
	if (why == NULL)
		why = decode_values(c);
	return why != NULL ? complain(c, why, err) : 1;
}

static bool
has_bytes(const struct mb_parquet_cursor *c)
{
	return c->leaf->leaf.type.kind != MB_PARQUET_DECIMAL &&
	    (c->leaf->physical == MB_BYTE_ARRAY ||
	    c->leaf->physical == MB_FIXED);
}

/* Keep the n entries at hand: their bytes go with the page. */
static int
keep_entries(struct mb_parquet_cursor *c, size_t n, struct mb_err *err)
{
	if (n > MAX_ROW - c->row_len)
		return complain(c, "a row of more than a million elements",
		    err);
	if (c->row_len + n > c->row_cap) {
		c->row_cap = 2 * (c->row_len + n);
		c->row = mb_realloc_array(c->row, c->row_cap,
		    sizeof *c->row);
	}
	for (size_t i = 0; i < n; i++) {
		struct mb_parquet_entry *e = &c->row[c->row_len++];

		*e = c->run[c->run_at++];
		if (has_bytes(c) && e->level == c->leaf->leaf.top)
			e->value.bytes.p = mb_arena_dup(&c->row_bytes,
			    e->value.bytes.p, e->value.bytes.len);
	}
	return 0;
}

int
mb_parquet_cursor_row(struct mb_parquet_cursor *c,
    struct mb_parquet_entries *out, struct mb_err *err)
{
	size_t end;
	int rc = find_run(c, err);

	if (rc <= 0)
		return rc;
	c->row_len = 0;
	mb_arena_reset(&c->row_bytes);
	for (;;) {
		end = c->run_at + (c->row_len == 0);
		while (end < c->run_len && c->run[end].is_repeated)
			end++;
		if (c->leaf->leaf.repeated == 0 || (c->row_len == 0 &&
		    end < c->run_len)) {
			*out = (struct mb_parquet_entries){ c->run +
				c->run_at, end - c->run_at };
			c->run_at = end;
			return 1;
		}
		if (keep_entries(c, end - c->run_at, err) < 0)
			return -1;
		if (c->run_at < c->run_len)
			break;
		rc = find_run(c, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			break;
	}
	*out = (struct mb_parquet_entries){ c->row, c->row_len };
	return 1;
}
