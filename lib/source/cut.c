#include "source/cut.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal/lines.h"
#include "record/names.h"
#include "record/split.h"

enum {
	CHUNK = 128 * 1024,
	MAX_HEADER = 1 << 20,
	MAX_REJECTS = 1000,	/* in one batch: a plan has to stay small */
	MAX_INPUTS = 1000,	/* likewise */
	MAX_RESTING = 3 << 20,	/* kept while nothing happens */
};

struct mb_input {
	unsigned rank;
	struct mb_content *content;
	struct mb_generation g;		/* as the journal will have it */
	bool is_known;			/* the journal has it */
	bool is_held;			/* and must not have it yet */
	bool has_start;			/* format and header are known */
	bool is_final;			/* nothing will come behind the end */
	bool is_finished;		/* and the splitter has been told */
	bool is_exhausted;		/* and the last scan found nothing */
	bool is_at_end;			/* the last read came to it */
	bool has_changed;		/* what was read isn't there any more */
	char *trouble;			/* why it can't be read; or NULL */
	uint64_t looked;		/* bytes that were too few for a start */
	char *old_fields;		/* of the generation before; or NULL */
	char *old_format;

	struct mb_split split;		/* split.off: the next byte to read */
	struct mb_buf tail;		/* bytes from split.complete on */
	struct mb_kept kept;		/* what was scanned, and not planned */
	bool has_gap;			/* it isn't all, so keeping is no use */
	char *seen;			/* the last MB_ANCHOR bytes read ... */
	size_t n_seen;			/* ... at most, before split.off */
	bool is_partial;		/* the last record had no newline */

	/* The batch in the making. */
	uint64_t start;
	uint64_t records;
	struct mb_hasher *hasher;	/* of [start, split.complete) */
	struct mb_range *ranges;	/* closed by a reject */
	size_t n_ranges;
	struct mb_reject *rejects;
	size_t n_rejects;
};

struct mb_cutter {
	struct mb_cut_options options;
	struct mb_journal *journal;
	struct mb_input **inputs;	/* by rank, then name */
	size_t n_inputs;
	const struct mb_input *header;	/* whose header the batch has */
	struct mb_input *first;		/* kept out of the last batch; or NULL */
	uint64_t records, bytes;	/* in the batch in the making */
	size_t n_rejects, n_used;	/* n_used: inputs that contribute */
	struct mb_keep *keep;
	struct mb_parcel parcel;	/* of the last batch */
	size_t at;			/* input whose turn it is in this round */
	bool has_more;			/* something was found in this round */
	char *chunk;			/* for what is not kept */
};

struct mb_cutter *
mb_cut_open(const struct mb_cut_options *options, struct mb_journal *j)
{
	struct mb_cutter *c = mb_alloc(sizeof *c);

	*c = (struct mb_cutter){
		.options = *options, .journal = j, .chunk = mb_alloc(CHUNK),
		.keep = mb_keep_open(options->keep),
	};
	return c;
}

static void
free_rejects(struct mb_input *in)
{
	for (size_t i = 0; i < in->n_rejects; i++)
		free(in->rejects[i].reason);
	in->n_rejects = 0;
}

static void
free_input(struct mb_input *in)
{
	free_rejects(in);
	free(in->rejects);
	free(in->ranges);
	free(in->old_fields);
	free(in->old_format);
	free(in->trouble);
	mb_generation_release(&in->g);
	mb_hasher_close(in->hasher);
	mb_buf_release(&in->tail);
	mb_kept_release(&in->kept);
	free(in->seen);
	free(in);
}

void
mb_cut_close(struct mb_cutter *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n_inputs; i++)
		free_input(c->inputs[i]);
	mb_parcel_release(&c->parcel);
	mb_keep_close(c->keep);
	free(c->inputs);
	free(c->chunk);
	free(c);
}

static char *
dup_or_null(const char *s)
{
	return s != NULL ? mb_strdup(s) : NULL;
}

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

/* Read records from in->g.end on. */
static int
begin_split(struct mb_cutter *c, struct mb_input *in, struct mb_err *err)
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

struct mb_input *
mb_input_add(struct mb_cutter *c, unsigned rank, const char *source,
    uint64_t spool, struct mb_content *content,
    const struct mb_generation *known)
{
	const struct mb_generation *before = mb_state_newest(
	    mb_journal_state(c->journal), source);
	struct mb_input *in = mb_alloc(sizeof *in);
	size_t at = c->n_inputs;

	*in = (struct mb_input){
		.rank = rank, .content = content,
		.is_known = known != NULL, .hasher = mb_hasher_open(),
	};
	if (known != NULL) {
		in->g = *known;
		in->g.source = mb_strdup(known->source);
		in->g.target = dup_or_null(known->target);
		in->g.fields = dup_or_null(known->fields);
	} else {
		in->g.source = mb_strdup(source);
		in->g.spool = spool;
		if (before != NULL) {
			in->old_fields = dup_or_null(before->fields);
			in->old_format = mb_strdup(before->format);
		}
	}
	c->inputs = mb_realloc_array(c->inputs, c->n_inputs + 1,
	    sizeof *c->inputs);
	while (at > 0 && (c->inputs[at - 1]->rank > rank ||
	    (c->inputs[at - 1]->rank == rank &&
	    strcmp(c->inputs[at - 1]->g.source, source) > 0))) {
		c->inputs[at] = c->inputs[at - 1];
		at--;
	}
	c->inputs[at] = in;
	c->n_inputs++;
	c->at += at < c->at;
	return in;
}

/* What was scanned of the batch in the making counts no more. */
static void
forget_scan(struct mb_cutter *c, struct mb_input *in)
{
	c->records -= in->records;
	for (size_t i = 0; i < in->n_ranges; i++)
		c->records -= in->ranges[i].records;
	c->n_rejects -= in->n_rejects;
	c->n_used -= mb_input_contributes(in);
	if (in->has_start && in->split.complete > in->g.end)
		c->bytes -= in->split.complete - in->g.end;
	if (c->first == in)
		c->first = NULL;
	if (c->header != in)
		return;
	/* The header of all that is in the batch. */
	c->header = NULL;
	for (size_t i = 0; i < c->n_inputs && c->header == NULL; i++)
		if (c->inputs[i] != in && mb_input_contributes(c->inputs[i]))
			c->header = c->inputs[i];
}

/*
 * What the system doesn't let us read is not gone.  true: the error is noted,
 * and it is to be tried again.
 */
static bool
note_trouble(struct mb_input *in, struct mb_err *err)
{
	if (err->code != MB_EIO || in->g.spool != MB_NONE)
		return false;
	free(in->trouble);
	in->trouble = mb_strdup(err->msg);
	*err = (struct mb_err){ 0 };
	return true;
}

static void
end_trouble(struct mb_input *in)
{
	free(in->trouble);
	in->trouble = NULL;
}

const char *
mb_input_trouble(const struct mb_input *in)
{
	return in->trouble;
}

void
mb_input_unscan(struct mb_cutter *c, struct mb_input *in)
{
	forget_scan(c, in);
	free_rejects(in);
	in->n_ranges = 0;
	in->records = 0;
	mb_hasher_reset(in->hasher);
	mb_kept_cut(&in->kept, 0);
	mb_buf_reset(&in->tail);
	in->n_seen = 0;
	in->looked = 0;
	in->has_start = in->has_gap = in->is_partial = false;
	in->is_finished = in->is_exhausted = in->is_at_end = false;
	if (!in->is_known) {
		in->g.start = in->g.end = 0;
		in->is_held = true;
	}
}

void
mb_input_remove(struct mb_cutter *c, struct mb_input *in)
{
	size_t i = 0;

	forget_scan(c, in);
	while (c->inputs[i] != in)
		i++;
	c->n_inputs--;
	c->at -= i < c->at;
	memmove(c->inputs + i, c->inputs + i + 1,
	    (c->n_inputs - i) * sizeof *c->inputs);
	free_input(in);
}

void
mb_input_replace(struct mb_input *in, struct mb_content *content)
{
	in->content = content;
	in->has_changed = false;
}

void
mb_input_locate(struct mb_input *in, uint64_t dev, uint64_t ino,
    uint64_t born_ns, const char *target)
{
	in->g.dev = dev;
	in->g.ino = ino;
	in->g.born_ns = born_ns;
	free(in->g.target);
	in->g.target = dup_or_null(target);
}

void
mb_input_hold(struct mb_input *in, bool is_held)
{
	in->is_held = is_held;
}

bool
mb_input_is_held(const struct mb_input *in)
{
	return in->is_held;
}

void
mb_input_final(struct mb_input *in, bool is_final)
{
	in->is_final = is_final;
}

bool
mb_input_contributes(const struct mb_input *in)
{
	return in->records > 0 || in->n_ranges > 0 || in->n_rejects > 0;
}

bool
mb_input_is_done(const struct mb_input *in)
{
	return in->is_exhausted && !in->has_changed &&
	    !mb_input_contributes(in);
}

const char *
mb_input_source(const struct mb_input *in)
{
	return in->g.source;
}

uint64_t
mb_input_generation(const struct mb_input *in)
{
	return in->is_known ? in->g.id : MB_NONE;
}

uint64_t
mb_input_planned(const struct mb_input *in)
{
	return in->g.end;
}

bool
mb_input_is_read(const struct mb_input *in)
{
	return in->is_at_end;
}

uint64_t
mb_input_read(const struct mb_input *in)
{
	return in->has_start ? in->split.off : in->g.end + in->looked;
}

uint64_t
mb_input_rest(const struct mb_input *in)
{
	return in->has_start ? in->split.off - in->split.complete :
	    in->looked;
}

/*
 * The anchors at `end`.  A spool's first bytes may have been removed; they
 * are ours and do not change, so the head is the one before.
 */
static int
anchors_at(struct mb_input *in, uint64_t end, struct mb_hash *head,
    struct mb_hash *tail, struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	ssize_t n;

	if (in->g.spool == MB_NONE || in->g.anchored < MB_ANCHOR)
		return mb_content_anchors(in->content, end, head, tail, err);
	n = mb_content_read(in->content, bytes, sizeof bytes,
	    end - sizeof bytes, err);
	if (n < 0)
		return -1;
	*head = mb_hash_unpack(&in->g.head);
	*tail = mb_hash_bytes(bytes, sizeof bytes);
	return n == (ssize_t)sizeof bytes;
}

/*
 * Of what was read here, the last bytes: they have to be there still.  p holds
 * the bytes from `from` on; the splitter may have gone back before it.
 */
static void
remember(struct mb_input *in, const char *p, uint64_t from)
{
	size_t len, keep;

	if (in->split.off <= from) {
		uint64_t back = from - in->split.off;

		in->n_seen -= back < in->n_seen ? (size_t)back : in->n_seen;
		return;
	}
	len = (size_t)(in->split.off - from);
	keep = len < MB_ANCHOR ? MB_ANCHOR - len : 0;
	if (in->seen == NULL)
		in->seen = mb_alloc(MB_ANCHOR);
	if (keep > in->n_seen)
		keep = in->n_seen;
	memmove(in->seen, in->seen + in->n_seen - keep, keep);
	if (len > MB_ANCHOR) {
		p += len - MB_ANCHOR;
		len = MB_ANCHOR;
	}
	memcpy(in->seen + keep, p, len);
	in->n_seen = keep + len;
}

/*
 * Do the bytes that were read before still stand before `off`, after more was
 * read there?  A file that is truncated and written anew beyond `off` goes on
 * with bytes of another life.
 */
static int
follows(struct mb_input *in, struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	ssize_t n;

	if (in->n_seen == 0 || in->g.spool != MB_NONE ||
	    !mb_content_is_plain(in->content))
		return 1;
	n = mb_content_read(in->content, bytes, in->n_seen, in->split.off -
	    in->n_seen, err);
	return n < 0 ? -1 : (size_t)n == in->n_seen &&
	    memcmp(bytes, in->seen, in->n_seen) == 0;
}

bool
mb_input_has_changed(const struct mb_input *in)
{
	return in->has_changed;
}

uint64_t
mb_input_evidence(const struct mb_input *in)
{
	uint64_t n = in->g.anchored > in->n_seen ? in->g.anchored : in->n_seen;

	return n < MB_ANCHOR ? n : MB_ANCHOR;
}

/*
 * A file that was truncated and written anew may have grown beyond what was
 * read of it, so that only these comparisons tell: that of the journal's
 * anchors, and, since what was scanned is not yet in the journal, that of the
 * bytes themselves.
 */
int
mb_input_matches(struct mb_input *in, struct mb_content *c,
    struct mb_err *err)
{
	char bytes[MB_ANCHOR];
	ssize_t n;
	int rc;

	if (mb_input_evidence(in) == 0)
		return 0;
	rc = mb_content_reaches(c, mb_input_read(in), err);
	if (rc > 0 && in->g.anchored > 0) {
		struct mb_hash head = mb_hash_unpack(&in->g.head);
		struct mb_hash tail = mb_hash_unpack(&in->g.tail);

		rc = mb_content_matches(c, in->g.anchored, &head, &tail, err);
	}
	if (rc <= 0 || in->n_seen == 0)
		return rc;
	n = mb_content_read(c, bytes, in->n_seen, in->split.off - in->n_seen,
	    err);
	if (n < 0)
		return -1;
	return (size_t)n == in->n_seen &&
	    memcmp(bytes, in->seen, in->n_seen) == 0;
}

int
mb_input_check(struct mb_input *in, struct mb_err *err)
{
	if (in->g.spool != MB_NONE)
		return 1;
	if (in->has_changed)
		return 0;
	if (mb_input_evidence(in) == 0)
		return mb_content_reaches(in->content, mb_input_read(in), err);
	return mb_input_matches(in, in->content, err);
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
	for (*end = 0;; *end += CHUNK) {
		ssize_t n = mb_content_read(in->content, c->chunk, CHUNK,
		    *end, err);

		if (n < 0)
			return -1;
		for (ssize_t i = 0; i < n; i++)
			if (c->chunk[i] != '\0') {
				*end += (uint64_t)i;
				return 1;
			}
		if (n < CHUNK) {
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

/*
 * A new generation: learn its format and its header.  1 known, 0 not enough
 * bytes yet.
 */
static int
find_start(struct mb_cutter *c, struct mb_input *in, struct mb_err *err)
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
	rc = begin_split(c, in, err) < 0 ? -1 : 1;
	if (rc > 0 && hole > 0)
		reject_hole(c, in, hole);
out:
	mb_buf_release(&head);
	return rc;
}

/* One batch has one header. */
static bool
fits_batch(const struct mb_cutter *c, const struct mb_input *in)
{
	const struct mb_generation *a, *b;

	if (c->header == NULL || c->header == in)
		return true;
	a = &c->header->g;
	b = &in->g;
	if (strcmp(a->format, b->format) != 0 || a->delimiter != b->delimiter)
		return false;
	if (a->fields == NULL || b->fields == NULL)
		return a->fields == b->fields;
	return strcmp(a->fields, b->fields) == 0;
}

/* Has it to wait for a batch with another header? */
static bool
is_kept_out(const struct mb_cutter *c, const struct mb_input *in)
{
	return in->has_start && !in->is_finished && !fits_batch(c, in);
}

/*
 * Of the inputs that were kept out, each has its turn, or one that grows fast
 * could keep the others out for ever.
 */
static struct mb_input *
find_next(const struct mb_cutter *c)
{
	struct mb_err ignored = { 0 };
	size_t at = 0;

	while (at < c->n_inputs && c->inputs[at] != c->header)
		at++;
	for (size_t k = 1; k < c->n_inputs && at < c->n_inputs; k++) {
		struct mb_input *in = c->inputs[(at + k) % c->n_inputs];

		if (is_kept_out(c, in) && mb_content_reaches(in->content,
		    in->split.off + 1, &ignored) > 0)
			return in;
	}
	return NULL;
}

/* The range from in->start to `end`, which the hasher has seen. */
static void
close_range(struct mb_input *in, uint64_t end)
{
	if (in->records > 0) {
		in->ranges = mb_realloc_array(in->ranges, in->n_ranges + 1,
		    sizeof *in->ranges);
		in->ranges[in->n_ranges++] = (struct mb_range){
			.start = in->start, .end = end,
			.records = in->records,
			.hash = mb_hasher_value(in->hasher),
		};
	}
	in->records = 0;
	mb_hasher_reset(in->hasher);
}

static void
add_reject(struct mb_cutter *c, struct mb_input *in)
{
	in->rejects = mb_realloc_array(in->rejects, in->n_rejects + 1,
	    sizeof *in->rejects);
	in->rejects[in->n_rejects++] = (struct mb_reject){
		.start = in->split.start, .end = in->split.complete,
		.reason = mb_strdup(in->split.why),
	};
	c->n_rejects++;
	if (c->header == NULL)
		c->header = in;
}

/*
 * Account for what the splitter has made of p[0, len), the bytes from `from`
 * on: hash what is complete, keep the rest.
 */
static void
account(struct mb_cutter *c, struct mb_input *in, uint64_t complete_before,
    enum mb_split_result found, uint64_t n_records, const char *p,
    uint64_t from)
{
	uint64_t complete = in->split.complete, records_end = complete;

	if (n_records > 0 && c->header == NULL)
		c->header = in;
	in->records += n_records;
	c->records += n_records;
	if (found == MB_SPLIT_REJECT)
		records_end = in->split.start;
	if (records_end > complete_before) {
		/*
		 * The tail holds the bytes from complete_before to `from`;
		 * after a reject that went back it may hold more.
		 */
		size_t old = in->tail.len;

		if (records_end < complete_before + old)
			old = (size_t)(records_end - complete_before);
		mb_hasher_add(in->hasher, in->tail.p, old);
		if (records_end > from)
			mb_hasher_add(in->hasher, p,
			    (size_t)(records_end - from));
		mb_buf_reset(&in->tail);
	}
	c->bytes += complete - complete_before;
	if (found == MB_SPLIT_REJECT) {
		close_range(in, records_end);
		add_reject(c, in);
		in->start = complete;
		mb_buf_reset(&in->tail);
		return;
	}
	if (mb_split_keep(&in->split) > complete) {
		mb_buf_reset(&in->tail);	/* a line that is too long */
		return;
	}
	if (complete > from)
		mb_buf_add(&in->tail, p + (complete - from),
		    (size_t)(in->split.off - complete));
	else
		mb_buf_add(&in->tail, p, (size_t)(in->split.off - from));
}

/* Nothing of the batch in the making is kept from now on. */
static void
stop_keeping(struct mb_input *in)
{
	mb_kept_cut(&in->kept, 0);
	in->has_gap = true;
}

/* Where to read len bytes to: in the keep, as long as all fits. */
static char *
find_room(struct mb_cutter *c, struct mb_input *in, size_t len)
{
	char *p;

	if (in->has_gap)
		return c->chunk;
	if (mb_split_keep(&in->split) > in->split.complete) {
		/* Of a line that is too long nothing is emitted. */
		mb_kept_cut(&in->kept, in->split.complete);
		return c->chunk;
	}
	if (in->kept.end != in->split.off && in->tail.len > 0) {
		/* The batch begins with bytes that were not kept. */
		p = mb_keep_room(c->keep, in->tail.len);
		if (p == NULL) {
			stop_keeping(in);
			return c->chunk;
		}
		memcpy(p, in->tail.p, in->tail.len);
		mb_kept_add(&in->kept, c->keep, in->tail.len,
		    in->split.complete);
	}
	p = mb_keep_room(c->keep, len);
	if (p != NULL)
		return p;
	stop_keeping(in);
	return c->chunk;
}

/* The end of a final input. */
static int
finish(struct mb_cutter *c, struct mb_input *in)
{
	uint64_t before = in->split.complete, off = in->split.off;
	uint64_t n_records;
	enum mb_split_result found = mb_split_finish(&in->split, &n_records);

	remember(in, "", off);
	account(c, in, before, found, n_records, "", off);
	mb_kept_cut(&in->kept, in->split.off);
	if (found == MB_SPLIT_REJECT)
		return MB_CUT_MORE;
	in->is_finished = true;
	in->is_partial = n_records > 0;
	return n_records > 0 ? MB_CUT_MORE : MB_CUT_NOTHING;
}

bool
mb_cut_has_batch(const struct mb_cutter *c)
{
	return c->records > 0 || c->n_rejects > 0;
}

static bool
is_full(const struct mb_cutter *c)
{
	const struct mb_cut_options *o = &c->options;

	return (c->bytes >= o->max_bytes && mb_cut_has_batch(c)) ||
	    (o->max_records > 0 && c->records >= o->max_records) ||
	    c->n_rejects >= MAX_REJECTS || c->n_used >= MAX_INPUTS;
}

bool
mb_cut_wants(const struct mb_cutter *c, const struct mb_input *in)
{
	return !is_full(c) && !is_kept_out(c, in);
}

static int
scan_input(struct mb_cutter *c, struct mb_input *in, struct mb_err *err)
{
	const struct mb_cut_options *o = &c->options;
	uint64_t max_records, n_records, before, from, room;
	enum mb_split_result found;
	const char *why;
	size_t want = CHUNK;
	char *p;
	bool needs_one = false, contributed = mb_input_contributes(in);
	ssize_t n;
	int rc;

	if (!in->has_start) {
		rc = in->is_known ? begin_split(c, in, err) :
		    find_start(c, in, err);
		if (rc < 0)
			return -1;
		end_trouble(in);
		if (!in->has_start) {
			in->is_at_end = true;
			return MB_CUT_NOTHING;
		}
	}
	if (in->is_finished || in->has_changed || !fits_batch(c, in))
		return MB_CUT_NOTHING;
	max_records = o->max_records > 0 ? o->max_records - c->records :
	    UINT64_MAX;
	/* A record may end beyond max_bytes only if it is the batch's first. */
	room = c->bytes < o->max_bytes ? o->max_bytes - c->bytes : 0;
	if (in->split.off - in->split.complete >= room) {
		if (c->records + c->n_rejects > 0)
			return MB_CUT_FULL;
		needs_one = true;
		max_records = 1;
	} else if (want > room - (in->split.off - in->split.complete)) {
		want = (size_t)(room - (in->split.off - in->split.complete));
	}
	from = in->split.off;
	p = find_room(c, in, want);
	n = mb_content_read(in->content, p, want, from, err);
	if (n < 0)
		return -1;
	end_trouble(in);
	in->is_at_end = (size_t)n < want;
	/* Half a line where a gzip file is cut off is no record. */
	if (n == 0)
		return in->is_final && mb_content_trouble(in->content, &why) ==
		    MB_GZ_FINE ? finish(c, in) : MB_CUT_NOTHING;
	rc = follows(in, err);
	in->has_changed = rc == 0;
	if (rc <= 0)
		return rc < 0 ? -1 : MB_CUT_NOTHING;
	if (p != c->chunk)
		mb_kept_add(&in->kept, c->keep, (size_t)n, from);
	before = in->split.complete;
	found = mb_split_scan(&in->split, p, (size_t)n, max_records,
	    &n_records);
	remember(in, p, from);
	account(c, in, before, found, n_records, p, from);
	mb_kept_cut(&in->kept, in->split.off);	/* the rest is read again */
	c->n_used += !contributed && mb_input_contributes(in);
	return is_full(c) || (needs_one && c->records > 0) ? MB_CUT_FULL :
	    MB_CUT_MORE;
}

/* The same for one that may not be readable now. */
static int
try_input(struct mb_cutter *c, struct mb_input *in, struct mb_err *err)
{
	int rc = scan_input(c, in, err);

	if (rc >= 0 || !note_trouble(in, err))
		return rc;
	in->is_at_end = false;
	return MB_CUT_NOTHING;
}

/*
 * The next step of the round over all inputs; *is_last: the round ends with
 * it.  One that was kept out of the last batch for its header goes first.
 */
static int
step(struct mb_cutter *c, bool *is_last, struct mb_err *err)
{
	struct mb_input *in;
	int rc;

	*is_last = true;
	if (is_full(c))
		return MB_CUT_FULL;
	if (c->at == 0) {
		c->has_more = false;
		if (c->first != NULL && c->header == NULL) {
			rc = try_input(c, c->first, err);
			if (rc != MB_CUT_NOTHING)
				return rc;
		}
	}
	if (c->at < c->n_inputs) {
		in = c->inputs[c->at];
		rc = try_input(c, in, err);
		if (rc < 0 || rc == MB_CUT_FULL)
			return rc;
		in->is_exhausted = rc == MB_CUT_NOTHING && in->is_final &&
		    in->trouble == NULL && !is_kept_out(c, in);
		c->has_more |= rc == MB_CUT_MORE;
		c->at++;
	}
	*is_last = c->at >= c->n_inputs;
	if (*is_last)
		c->at = 0;
	return c->has_more ? MB_CUT_MORE : MB_CUT_NOTHING;
}

int
mb_cut_scan(struct mb_cutter *c, struct mb_err *err)
{
	bool is_last;
	int rc;

	do
		rc = step(c, &is_last, err);
	while (!is_last);
	return rc;
}

int
mb_cut_step(struct mb_cutter *c, struct mb_err *err)
{
	bool is_last;
	int rc;

	if (mb_keep_is_full(c->keep, CHUNK))
		return MB_CUT_NOTHING;
	rc = step(c, &is_last, err);
	return rc == MB_CUT_NOTHING && !is_last ? MB_CUT_MORE : rc;
}

/* The ranges of one input, with their anchors.  1, or 0: it has changed. */
static int
take_input(struct mb_input *in, struct mb_batch *out, struct mb_err *err)
{
	int rc = mb_input_check(in, err);

	if (rc <= 0)
		return rc;
	for (size_t i = 0; i <= in->n_ranges; i++) {
		struct mb_range r = { 0 };

		if (i < in->n_ranges) {
			r = in->ranges[i];
		} else if (in->records > 0) {
			r.start = in->start;
			r.end = in->split.complete;
			r.records = in->records;
			r.hash = mb_hasher_value(in->hasher);
			r.is_partial = in->is_partial;
		} else {
			continue;
		}
		r.generation = in->g.id;
		rc = anchors_at(in, r.end, &r.head, &r.tail, err);
		if (rc <= 0)
			return rc;
		mb_batch_add_range(out, &r);
	}
	for (size_t i = 0; i < in->n_rejects; i++) {
		struct mb_reject r = in->rejects[i];

		r.generation = in->g.id;
		r.reason = mb_strdup(r.reason);
		out->rejects = mb_realloc_array(out->rejects,
		    out->n_rejects + 1, sizeof *out->rejects);
		out->rejects[out->n_rejects++] = r;
	}
	return 1;
}

int
mb_cut_take(struct mb_cutter *c, struct mb_batch *out,
    struct mb_buf *source_lines, struct mb_input **changed,
    struct mb_err *err)
{
	uint64_t next = mb_journal_state(c->journal)->next_generation;
	int rc;

	*changed = NULL;
	for (size_t i = 0; i < c->n_inputs; i++) {
		struct mb_input *in = c->inputs[i];

		if (!mb_input_contributes(in))
			continue;
		if (in->is_held) {
			*changed = in;
			return 0;
		}
		if (!in->is_known) {
			in->g.id = next++;
			mb_put_source(source_lines, &in->g);
		}
		rc = take_input(in, out, err);
		if (rc < 0 && note_trouble(in, err)) {
			mb_input_unscan(c, in);
			rc = 0;
		}
		if (rc <= 0) {
			*changed = in;
			return rc;
		}
	}
	return 1;
}

void
mb_cut_planned(struct mb_cutter *c)
{
	const struct mb_state *s = mb_journal_state(c->journal);

	c->records = c->bytes = 0;
	c->n_rejects = c->n_used = 0;
	c->first = find_next(c);
	c->header = NULL;
	c->at = 0;
	mb_parcel_reset(&c->parcel);
	for (size_t i = 0; i < c->n_inputs; i++) {
		struct mb_input *in = c->inputs[i];
		const struct mb_generation *g;

		if (!mb_input_contributes(in)) {
			/* Blank lines, which go with the next record. */
			if (in->has_start)
				c->bytes += in->split.complete - in->g.end;
			continue;
		}
		g = mb_state_generation(s, in->g.id);
		if (g != NULL) {
			in->g.anchored = g->anchored;
			in->g.head = g->head;
			in->g.tail = g->tail;
		}
		mb_parcel_add(&c->parcel, in->g.id, &in->kept,
		    in->split.complete);
		in->has_gap = false;
		in->is_known = true;
		in->g.end = in->start = in->split.complete;
		in->records = 0;
		in->n_ranges = 0;
		free_rejects(in);
		mb_hasher_reset(in->hasher);
	}
}

struct mb_parcel *
mb_cut_parcel(struct mb_cutter *c)
{
	return &c->parcel;
}

void
mb_cut_rest(struct mb_cutter *c)
{
	if (mb_keep_used(c->keep) <= MAX_RESTING)
		return;
	for (size_t i = 0; i < c->n_inputs; i++)
		if (c->inputs[i]->kept.n > 0)
			stop_keeping(c->inputs[i]);
}
