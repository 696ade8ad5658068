#include "source/cut_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal/lines.h"
#include "record/names.h"

enum { MAX_HEADER = 1 << 20 };

/*
 * The bytes before in->g.end, as if they had been read here; what the journal
 * knows of them proves them.
 */
static int
recall(struct mb_input *in, struct mb_err *err)
{
	size_t len = in->g.end < MB_ANCHOR ? (size_t)in->g.end : MB_ANCHOR;
	ssize_t n;

	if (in->g.spool != MB_NONE)
		return 0;
	in->seen = mb_realloc(in->seen, MB_ANCHOR);
	n = mb_content_read(in->content, in->seen, len, in->g.end - len, err);
	if (n < 0)
		return -1;
	in->n_seen = (size_t)n == len ? len : 0;
	in->has_changed = (size_t)n < len ||
	    (in->g.anchored == in->g.end && len > 0 &&
	    strcmp(mb_hash_bytes(in->seen, len).hex,
	    mb_hash_unpack(&in->g.tail).hex) != 0);
	if (in->has_changed)
		in->n_seen = 0;
	return 0;
}

int
mb_input_begin(struct mb_cutter *c, struct mb_input *in, struct mb_err *err)
{
	enum mb_format format;

	if (mb_format_parse(&format, in->g.format, err) < 0)
		return -1;
	mb_split_init(&in->split, format, in->g.delimiter,
	    c->options.record_limit, in->g.end);
	in->start = in->g.end;
	in->has_start = recall(in, err) == 0;
	return in->has_start ? 0 : -1;
}

static int
parse_fields(struct mb_names *names, const char *fields, struct mb_err *err)
{
	struct mb_buf text = { 0 };
	const struct mb_node *array;
	struct mb_doc *doc;

	mb_buf_addf(&text, "{\"fields\":%s}", fields);
	if (mb_doc_parse(&doc, (struct mb_str){ text.p, text.len }, err) < 0) {
		mb_buf_release(&text);
		return -1;
	}
	array = mb_node_member(mb_doc_root(doc), "fields");
	for (size_t i = 0; i < mb_node_length(array); i++) {
		char *name;
		size_t len;

		if (!mb_node_bytes(mb_node_at(array, i), "name", &name, &len))
			continue;
		mb_names_add(names, (struct mb_str){ name, len });
		free(name);
	}
	mb_doc_close(doc);
	mb_buf_release(&text);
	return 0;
}

static char *
format_fields(const struct mb_names *names)
{
	struct mb_buf out = { 0 };

	mb_buf_addc(&out, '[');
	for (size_t i = 0; i < names->n; i++) {
		mb_line_open(&out, NULL, '{');
		mb_line_bytes(&out, "name", names->v[i]);
		mb_line_close(&out, '}');
	}
	mb_buf_addc(&out, ']');
	return mb_buf_take(&out);
}

/*
 * Is the first record a header?  Of the first generation it is; of a later
 * one only if it shares a name with the last header.
 */
static int
take_header(struct mb_input *in, enum mb_format format, struct mb_str record,
    bool *is_header, struct mb_err *err)
{
	struct mb_names names = { 0 }, old = { 0 };
	const char *why;
	int rc = 0;

	*is_header = true;
	if (!mb_names_parse(&names, format, in->g.delimiter, record, &why))
		rc = mb_fail(err, MB_EDATA, "%s: the header: %s",
		    in->g.source, why);
	if (rc == 0 && in->old_fields != NULL) {
		rc = parse_fields(&old, in->old_fields, err);
		*is_header = mb_names_equal(&names, &old) ||
		    mb_names_share(&names, &old);
	}
	free(in->g.fields);
	in->g.fields = NULL;
	if (rc == 0)
		in->g.fields = *is_header ? format_fields(&names) :
		    mb_strdup(in->old_fields);
	mb_names_release(&names);
	mb_names_release(&old);
	return rc;
}

/*
 * A writer that doesn't append goes on at its old offset after a truncation,
 * and leaves NUL bytes before it.  *end gets where they end: 1, or 0: so far
 * there is nothing else.
 */
static int
skip_hole(struct mb_cutter *c, struct mb_input *in, uint64_t *end,
    struct mb_err *err)
{
	for (*end = 0;; *end += MB_CUT_CHUNK) {
		ssize_t n = mb_content_read(in->content, c->chunk, MB_CUT_CHUNK,
		    *end, err);

		if (n < 0)
			return -1;
		for (ssize_t i = 0; i < n; i++)
			if (c->chunk[i] != '\0') {
				*end += (uint64_t)i;
				return 1;
			}
		if (n < MB_CUT_CHUNK) {
			*end += (uint64_t)n;
			return 0;
		}
	}
}

static void
reject_hole(struct mb_cutter *c, struct mb_input *in, uint64_t end)
{
	struct mb_buf why = { 0 };

	mb_buf_addf(&why, "a hole: %" PRIu64 " NUL bytes", end);
	in->rejects = mb_realloc_array(in->rejects, in->n_rejects + 1,
	    sizeof *in->rejects);
	in->rejects[in->n_rejects++] = (struct mb_reject){
		.end = end, .reason = mb_buf_take(&why),
	};
	c->n_rejects++;
	c->n_used++;
	if (c->header == NULL)
		c->header = in;
}

int
mb_input_find_start(struct mb_cutter *c, struct mb_input *in,
    struct mb_err *err)
{
	const struct mb_cut_options *o = &c->options;
	struct mb_buf head = { 0 };
	enum mb_format format;
	bool is_header = false;
	struct mb_split split;
	uint64_t n_records = 0, hole = 0;
	enum mb_split_result found;
	size_t bom;
	ssize_t n;
	int rc = -1;

	mb_buf_reserve(&head, MAX_HEADER);
	n = mb_content_read(in->content, head.p, MAX_HEADER, 0, err);
	if (n > 0 && head.p[0] == '\0') {
		rc = skip_hole(c, in, &hole, err);
		in->looked = hole;
		if (rc <= 0)
			goto out;
		n = mb_content_read(in->content, head.p, MAX_HEADER, hole,
		    err);
		rc = -1;
	}
	if (n < 0)
		goto out;
	head.len = (size_t)n;
	in->looked = hole + (uint64_t)n;
	rc = 0;
	if (n == 0 || (n < 3 && !in->is_final && head.p[n - 1] != '\n'))
		goto out;
	rc = -1;
	if ((unsigned char)head.p[0] == 0x1f && n > 1 &&
	    (unsigned char)head.p[1] == 0x8b) {
		mb_fail(err, MB_EDATA, "%s: is compressed: put zcat in "
		    "front", in->g.source);
		goto out;
	}
	bom = mb_bom_len((struct mb_str){ head.p, head.len });
	if (o->format != NULL) {
		if (mb_format_parse(&format, o->format, err) < 0)
			goto out;
	} else if (in->old_format != NULL) {
		if (mb_format_parse(&format, in->old_format, err) < 0)
			goto out;
	} else if (!mb_format_of_name(&format, in->g.source)) {
		format = mb_format_of_content((struct mb_str){ head.p,
		    head.len });
	}
	if (!mb_generation_set_format(&in->g, mb_format_name(format))) {
		mb_fail(err, MB_EBUG, "a format's name is too long");
		goto out;
	}
	in->g.delimiter = format == MB_CSV && o->delimiter != '\0' ?
	    o->delimiter : mb_delimiter_of(format);
	in->g.start = in->g.end = hole + bom;
	if (o->has_header && mb_format_has_header(format)) {
		mb_split_init(&split, format, in->g.delimiter, MAX_HEADER,
		    bom);
		found = mb_split_scan(&split, head.p + bom, head.len - bom, 1,
		    &n_records);
		if (found == MB_SPLIT_MORE && in->is_final &&
		    n < MAX_HEADER)
			found = mb_split_finish(&split, &n_records);
		if (found == MB_SPLIT_REJECT || (n_records == 0 &&
		    head.len >= MAX_HEADER)) {
			mb_fail(err, MB_EDATA, "%s: the header: %s",
			    in->g.source, found == MB_SPLIT_REJECT ?
			    split.why : "too long");
			goto out;
		}
		if (n_records == 0) {
			rc = 0;
			goto out;
		}
		if (take_header(in, format, (struct mb_str){ head.p +
		    split.start, (size_t)(split.complete - split.start) },
		    &is_header, err) < 0)
			goto out;
		if (is_header)
			in->g.start = in->g.end = hole + split.complete;
	}
	rc = mb_input_begin(c, in, err) < 0 ? -1 : 1;
	if (rc > 0 && hole > 0)
		reject_hole(c, in, hole);
out:
	mb_buf_release(&head);
	return rc;
}
