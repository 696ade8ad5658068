#include "delta/parsed.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "base/calendar.h"
#include "base/line.h"

/* How much of a column's path is there (writer.h). */
enum { NO_ADD, IN_ADD, IN_GROUP, IN_INNER };

struct leaf {
	const char *name;
	struct mb_parquet_type type;
	struct mb_parquet_column *to;
};

struct leaves {
	const char *name;	/* of the group, in stats */
	struct leaf *v;
	size_t n;
};

enum { MIN, MAX, NULLS, N_INNER };

struct mb_delta_parsed {
	struct mb_parquet_node *nodes;
	size_t n_nodes;
	uint32_t n_children;
	struct leaf records, is_tight;
	struct leaves inner[N_INNER], partition;
	struct mb_fields stats, object;
	struct mb_buf text;
};

static bool
has_bounds(const struct mb_delta_column *c)
{
	return c->type.kind != MB_PARQUET_BOOL &&
	    c->type.kind != MB_PARQUET_BINARY;
}

bool
mb_delta_parsed_fits(const struct mb_delta_schema *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->v[i].is_flat || (s->v[i].is_partition &&
		    s->v[i].type.kind == MB_PARQUET_BINARY))
			return false;
	return true;
}

static void
add_leaf(struct leaves *l, const struct mb_delta_column *c,
    struct mb_parquet_type type)
{
	l->v = mb_realloc_array(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = (struct leaf){ .type = type,
		.name = c->physical != NULL ? c->physical : c->name };
}

static void
add_node(struct mb_delta_parsed *p, struct mb_parquet_node node)
{
	node.repetition = MB_PARQUET_OPTIONAL;
	p->nodes = mb_realloc_array(p->nodes, p->n_nodes + 1,
	    sizeof *p->nodes);
	p->nodes[p->n_nodes++] = node;
}

static void
add_leaf_node(struct mb_delta_parsed *p, const struct leaf *leaf)
{
	add_node(p, (struct mb_parquet_node){ .name = leaf->name,
		.type = leaf->type });
}

static void
add_group(struct mb_delta_parsed *p, const char *name,
    const struct leaves *l)
{
	if (l->n == 0)		/* there are no empty ones in Parquet */
		return;
	add_node(p, (struct mb_parquet_node){ .name = name,
		.n_children = (uint32_t)l->n });
	for (size_t i = 0; i < l->n; i++)
		add_leaf_node(p, &l->v[i]);
}

static void
make_nodes(struct mb_delta_parsed *p)
{
	uint32_t n_inner = 0;

	for (size_t i = 0; i < N_INNER; i++)
		n_inner += p->inner[i].n > 0;
	add_node(p, (struct mb_parquet_node){ .name = "stats_parsed",
		.n_children = n_inner + 2 });
	add_leaf_node(p, &p->records);
	for (size_t i = 0; i < N_INNER; i++)
		add_group(p, p->inner[i].name, &p->inner[i]);
	add_leaf_node(p, &p->is_tight);
	add_group(p, p->partition.name, &p->partition);
	p->n_children = 1 + (p->partition.n > 0);
}

void
mb_delta_parsed_open(struct mb_delta_parsed **out,
    const struct mb_delta_schema *s)
{
	const struct mb_parquet_type count = { .kind = MB_PARQUET_INT64 };
	struct mb_delta_parsed *p = mb_zalloc(sizeof *p);

	*p = (struct mb_delta_parsed){
		.records = { .name = "numRecords", .type = count },
		.is_tight = { .name = "tightBounds",
			.type = { .kind = MB_PARQUET_BOOL } },
		.inner = { [MIN] = { .name = "minValues" },
			[MAX] = { .name = "maxValues" },
			[NULLS] = { .name = "nullCount" } },
		.partition = { .name = "partitionValues_parsed" },
	};
	for (size_t i = 0; i < s->n; i++) {
		const struct mb_delta_column *c = &s->v[i];

		if (c->is_partition) {
			add_leaf(&p->partition, c, c->type);
			continue;
		}
		if (has_bounds(c)) {
			add_leaf(&p->inner[MIN], c, c->type);
			add_leaf(&p->inner[MAX], c, c->type);
		}
		add_leaf(&p->inner[NULLS], c, count);
	}
	make_nodes(p);
	*out = p;
}

void
mb_delta_parsed_close(struct mb_delta_parsed *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < N_INNER; i++)
		free(p->inner[i].v);
	free(p->partition.v);
	free(p->nodes);
	mb_fields_release(&p->stats);
	mb_fields_release(&p->object);
	mb_buf_release(&p->text);
	free(p);
}

const struct mb_parquet_node *
mb_delta_parsed_nodes(const struct mb_delta_parsed *p, size_t *n,
    uint32_t *n_children)
{
	*n = p->n_nodes;
	*n_children = p->n_children;
	return p->nodes;
}

static void
bind(struct leaf *v, size_t n, struct mb_parquet_writer *w, size_t *at)
{
	for (size_t i = 0; i < n; i++)
		v[i].to = mb_parquet_column(w, (*at)++);
}

void
mb_delta_parsed_bind(struct mb_delta_parsed *p, struct mb_parquet_writer *w,
    size_t *leaf)
{
	bind(&p->records, 1, w, leaf);
	for (size_t i = 0; i < N_INNER; i++)
		bind(p->inner[i].v, p->inner[i].n, w, leaf);
	bind(&p->is_tight, 1, w, leaf);
	bind(p->partition.v, p->partition.n, w, leaf);
}

static void
put_absent(const struct leaf *v, size_t n, unsigned level)
{
	for (size_t i = 0; i < n; i++)
		mb_parquet_put_absent(v[i].to, level);
}

static void
put_no_stats(const struct mb_delta_parsed *p, unsigned level)
{
	put_absent(&p->records, 1, level);
	for (size_t i = 0; i < N_INNER; i++)
		put_absent(p->inner[i].v, p->inner[i].n, level);
	put_absent(&p->is_tight, 1, level);
}

/*
 * Values from texts.  Each puts the value and says so, or puts nothing.
 */
static bool
put_int(const struct leaf *l, struct mb_str text)
{
	static const int64_t most[] = { [MB_PARQUET_INT8] = INT8_MAX,
		[MB_PARQUET_INT16] = INT16_MAX, [MB_PARQUET_INT32] = INT32_MAX,
		[MB_PARQUET_INT64] = INT64_MAX };
	int64_t n, top = most[l->type.kind];

	if (!mb_json_int(&(struct mb_json){ .text = text, .kind = MB_NUMBER },
	    &n) || n > top || n < -top - 1)
		return false;
	mb_parquet_put_int(l->to, n);
	return true;
}

/* Exactly rounded; "NaN" and "Infinity", too, which partitions can be. */
static bool
put_real(const struct leaf *l, const char *text)
{
	char *end;
	double d = strtod(text, &end);

	if (end == text || *end != '\0')
		return false;
	if (l->type.kind == MB_PARQUET_FLOAT)
		d = strtof(text, NULL);
	mb_parquet_put_double(l->to, d);
	return true;
}

static bool
put_decimal(const struct leaf *l, struct mb_str text)
{
	struct mb_number n;

	if (!mb_number_parse(&n, text) || n.is_double)
		return false;
	while (n.places > l->type.scale && n.units % 10 == 0) {
		n.units /= 10;
		n.places--;
	}
	if (n.places > l->type.scale)
		return false;
	mb_number_widen(&n, l->type.scale);
	if (n.places != l->type.scale || (n.units < 0 ? -n.units : n.units) >=
	    (mb_int128)mb_power_of_ten(l->type.precision))
		return false;
	mb_parquet_put_decimal(l->to, n.units);
	return true;
}

/* A time zone is part of it, or else nobody knows when it was. */
static bool
has_zone(struct mb_str text)
{
	for (size_t i = 10; i < text.len; i++)
		if (strchr("Zz+-", text.p[i]) != NULL)
			return true;
	return false;
}

static bool
put_time(const struct leaf *l, struct mb_str text)
{
	bool is_ntz = l->type.kind == MB_PARQUET_TIMESTAMP_NTZ;
	int64_t us;

	if (mb_micros_parse(&us, text, is_ntz) != NULL ||
	    (!is_ntz && !has_zone(text)))
		return false;
	mb_parquet_put_int(l->to, us);
	return true;
}

static bool
put_value(const struct leaf *l, const char *text, size_t len)
{
	const struct mb_str s = { text, len };
	int64_t days;

	switch (l->type.kind) {
	case MB_PARQUET_INT8:
	case MB_PARQUET_INT16:
	case MB_PARQUET_INT32:
	case MB_PARQUET_INT64:
		return put_int(l, s);
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		return put_real(l, text);
	case MB_PARQUET_DECIMAL:
		return put_decimal(l, s);
	case MB_PARQUET_TIMESTAMP:
	case MB_PARQUET_TIMESTAMP_NTZ:
		return put_time(l, s);
	case MB_PARQUET_DATE:
		if (mb_date_parse(&days, s) != NULL)
			return false;
		mb_parquet_put_int(l->to, days);
		return true;
	case MB_PARQUET_BOOL:
		if (strcasecmp(text, "true") != 0 &&
		    strcasecmp(text, "false") != 0)
			return false;
		mb_parquet_put_int(l->to, strcasecmp(text, "true") == 0);
		return true;
	case MB_PARQUET_TEXT:
		if (!mb_is_utf8(s))
			return false;
		mb_parquet_put_bytes(l->to, text, len);
		return true;
	default:
		return false;
	}
}

/* Text and times are JSON strings, all else are numbers. */
static bool
is_text(enum mb_parquet_kind kind)
{
	return kind == MB_PARQUET_TEXT || kind == MB_PARQUET_DATE ||
	    kind == MB_PARQUET_TIMESTAMP || kind == MB_PARQUET_TIMESTAMP_NTZ;
}

static bool
put_json(struct mb_delta_parsed *p, const struct leaf *l,
    const struct mb_fields *f)
{
	struct mb_json v;

	if (!mb_fields_get(f, l->name, &v) ||
	    v.kind != (is_text(l->type.kind) ? MB_TEXT : MB_NUMBER))
		return false;
	mb_buf_reset(&p->text);
	if (v.kind == MB_TEXT)
		mb_json_unescape(&p->text, v.text);
	else
		mb_buf_add(&p->text, v.text.p, v.text.len);
	return put_value(l, mb_buf_str(&p->text), p->text.len);
}

static void
put_inner(struct mb_delta_parsed *p, const struct leaves *l)
{
	struct mb_str object;

	if (!mb_fields_raw(&p->stats, l->name, '{', &object) ||
	    mb_fields_set(&p->object, object) != NULL) {
		put_absent(l->v, l->n, IN_GROUP);
		return;
	}
	for (size_t i = 0; i < l->n; i++)
		if (!put_json(p, &l->v[i], &p->object))
			put_absent(&l->v[i], 1, IN_INNER);
}

static void
put_stats(struct mb_delta_parsed *p, const struct mb_fields *add)
{
	struct mb_buf text = { 0 };
	bool is_tight;

	if (!mb_fields_text(add, "stats", &text) || mb_fields_set(&p->stats,
	    (struct mb_str){ text.p, text.len }) != NULL) {
		put_no_stats(p, IN_ADD);
	} else {
		if (!put_json(p, &p->records, &p->stats))
			put_absent(&p->records, 1, IN_GROUP);
		for (size_t i = 0; i < N_INNER; i++)
			put_inner(p, &p->inner[i]);
		if (mb_fields_bool(&p->stats, "tightBounds", &is_tight))
			mb_parquet_put_int(p->is_tight.to, is_tight);
		else
			put_absent(&p->is_tight, 1, IN_GROUP);
	}
	mb_buf_release(&text);
}

/* Text in every type; empty text is null. */
static int
put_partition(struct mb_delta_parsed *p, const struct mb_fields *add,
    struct mb_err *err)
{
	const struct leaves *l = &p->partition;
	struct mb_str object;

	if (!mb_fields_raw(add, "partitionValues", '{', &object) ||
	    mb_fields_set(&p->object, object) != NULL) {
		put_absent(l->v, l->n, IN_ADD);
		return 0;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (!mb_fields_text(&p->object, l->v[i].name, &p->text) ||
		    p->text.len == 0)
			put_absent(&l->v[i], 1, IN_GROUP);
		else if (!put_value(&l->v[i], mb_buf_str(&p->text),
		    p->text.len))
			return mb_fail(err, MB_EDATA, "the value of partition "
			    "column \"%s\" is not of its type", l->v[i].name);
	}
	return 0;
}

int
mb_delta_parsed_put(struct mb_delta_parsed *p, const struct mb_fields *add,
    struct mb_err *err)
{
	if (add == NULL) {
		put_no_stats(p, NO_ADD);
		put_absent(p->partition.v, p->partition.n, NO_ADD);
		return 0;
	}
	put_stats(p, add);
	return put_partition(p, add, err);
}
