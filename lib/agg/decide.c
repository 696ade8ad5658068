#include "agg/expr.h"

#include <stdlib.h>

#include "agg/column.h"
#include "agg/expr_node.h"

/*
 * In this order `and` is the least of several, `or` the greatest, and `not`
 * turns it round.
 */
enum truth { NO, UNKNOWN, YES };

static enum truth
truth_of(bool is_true)
{
	return is_true ? YES : NO;
}

/*
 * One record.
 */

/* What an operand is in this record.  False: null. */
static bool
text_of(const struct operand *o, const struct mb_value *values,
    struct mb_str *out)
{
	*out = o->text;
	if (o->kind != FIELD)
		return true;
	*out = mb_value_str(values[o->field]);
	return values[o->field].kind != MB_NULL;
}

static bool
number_of(const struct operand *o, struct mb_str text, struct mb_number *out)
{
	if (o->kind != NUMBER)
		return mb_number_parse(out, text);
	*out = o->number;
	return true;
}

static int
compare_text(struct mb_str a, struct mb_str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static enum truth
compare(enum op op, const struct operand *left, const struct operand *right,
    const struct mb_value *values)
{
	struct mb_str a, b;
	struct mb_number x, y;
	bool by_number, both;
	int c;

	if (!text_of(left, values, &a) || !text_of(right, values, &b))
		return UNKNOWN;
	by_number = left->kind == NUMBER || right->kind == NUMBER ||
	    (left->kind == FIELD && right->kind == FIELD);
	if (by_number) {
		both = number_of(left, a, &x) && number_of(right, b, &y);
		if (!both && (left->kind != FIELD || right->kind != FIELD))
			return UNKNOWN;
		by_number = both;
	}
	c = by_number ? mb_number_compare(&x, &y) : compare_text(a, b);
	switch (op) {
	case EQ:
		return truth_of(c == 0);
	case NE:
		return truth_of(c != 0);
	case LT:
		return truth_of(c < 0);
	case LE:
		return truth_of(c <= 0);
	case GT:
		return truth_of(c > 0);
	default:
		return truth_of(c >= 0);
	}
}

static enum truth
match(struct mb_expr *e, const struct node *n, const struct mb_value *values)
{
	struct mb_str text;
	regmatch_t where;

	if (!text_of(n->left, values, &text))
		return UNKNOWN;
	/*
	 * The length is told, so that a NUL is a byte like another; but to
	 * look beyond it for a NUL is regexec's right.
	 */
	mb_buf_reset(&e->text);
	mb_buf_add(&e->text, text.p, text.len);
	text.p = mb_buf_str(&e->text);
	where = (regmatch_t){ .rm_so = 0, .rm_eo = (regoff_t)text.len };
	return truth_of(regexec(n->regex, text.p, 1, &where, REG_STARTEND) ==
	    0);
}

static enum truth
decide(struct mb_expr *e, const struct node *n,
    const struct mb_value *values)
{
	enum truth t, all;
	struct mb_str text;

	switch (n->op) {
	case AND:
	case OR:
		all = n->op == AND ? YES : NO;
		for (const struct node *c = n->child; c != NULL; c = c->next) {
			t = decide(e, c, values);
			if (n->op == AND ? t < all : t > all)
				all = t;
			if (all == (n->op == AND ? NO : YES))
				break;
		}
		return all;
	case NOT:
		return YES - decide(e, n->child, values);
	case IN:
		all = NO;
		for (const struct operand *o = n->right; o != NULL;
		    o = o->next) {
			t = compare(EQ, n->left, o, values);
			if (t == YES)
				return YES;
			if (t == UNKNOWN)
				all = UNKNOWN;
		}
		return all;
	case MATCH:
		return match(e, n, values);
	case IS_NULL:
		return truth_of(!text_of(n->left, values, &text));
	default:
		return compare(n->op, n->left, n->right, values);
	}
}

bool
mb_expr_selects(struct mb_expr *e, const struct mb_value *values)
{
	return decide(e, e->root, values) == YES;
}

/*
 * Rows.
 */

/* A field of the rows that is compared, and its numbers, once they are read. */
struct side {
	const struct mb_rows *rows;
	const struct mb_view *view;
	struct mb_column column;
	bool has_column, odd[MB_ROWS];
};

/* What a node says of each row; *values has room for a record. */
struct rows_in_hand {
	struct mb_expr *e;
	const struct mb_rows *rows;
	struct mb_value *values;
	size_t n_fields;
};

/* The truths of less, equal and greater. */
static void
set_truths(unsigned char truths[3], enum op op)
{
	truths[0] = (unsigned char)truth_of(op == NE || op == LT || op == LE);
	truths[1] = (unsigned char)truth_of(op == EQ || op == LE || op == GE);
	truths[2] = (unsigned char)truth_of(op == NE || op == GT || op == GE);
}

static enum truth
compare_one(enum op op, const struct side *s, size_t i,
    const struct operand *right)
{
	struct mb_value value = mb_view_value(s->rows, &s->view[i]);
	struct operand left = { .kind = FIELD, .field = 0 };

	return compare(op, &left, right, &value);
}

static void
compare_units(unsigned char *out, const struct mb_column *c, size_t n,
    int64_t factor, mb_int128 limit, const unsigned char truths[3])
{
	for (size_t i = 0; i < n; i++) {
		mb_int128 units = (mb_int128)c->units[i] * factor;

		out[i] = c->places[i] == MB_COLUMN_NULL ? UNKNOWN :
		    truths[(units > limit) - (units < limit) + 1];
	}
}

/* As it nearly always is: in units of the column, in one word. */
static void
compare_words(unsigned char *out, const struct mb_column *c, size_t n,
    int64_t limit, const unsigned char truths[3])
{
	for (size_t i = 0; i < n; i++) {
		int64_t units = c->units[i];

		/* Not by ?:, which becomes a branch that nothing foresees. */
		out[i] = c->places[i] == MB_COLUMN_NULL ? UNKNOWN :
		    truths[(units > limit) - (units < limit) + 1];
	}
}

static void
compare_numbers(unsigned char *out, enum op op, struct side *s,
    const struct operand *right)
{
	struct mb_column *c = &s->column;
	mb_int128 limit = right->number.units;
	int64_t factor = 1;
	unsigned char truths[3];

	if (!s->has_column) {
		memset(s->odd, 0, sizeof s->odd);
		(void)mb_column_read(c, s->rows, s->view, s->odd);
		s->has_column = true;
	}
	set_truths(truths, op);
	/* Both in the finer units of the two. */
	if (right->number.places <= c->scale)
		limit *= (mb_int128)mb_power_of_ten(c->scale -
		    right->number.places);
	else
		factor = (int64_t)mb_power_of_ten(right->number.places -
		    c->scale);
	if (factor == 1 && limit == (int64_t)limit)
		compare_words(out, c, s->rows->n, (int64_t)limit, truths);
	else
		compare_units(out, c, s->rows->n, factor, limit, truths);
	for (size_t i = 0; i < s->rows->n; i++)
		if (s->odd[i])
			out[i] = (unsigned char)compare_one(op, s, i, right);
}

static void
compare_rows(unsigned char *out, enum op op, struct side *s,
    const struct operand *right)
{
	struct mb_str text = right->text;

	/* Neither side leaves 64 bits when it is brought to the other's. */
	if (right->kind == NUMBER && !right->number.is_double &&
	    right->number.places <= 18 &&
	    right->number.units == (int64_t)right->number.units) {
		compare_numbers(out, op, s, right);
		return;
	}
	for (size_t i = 0; i < s->rows->n; i++) {
		const struct mb_view *v = &s->view[i];

		if (right->kind != TEXT || (op != EQ && op != NE))
			out[i] = (unsigned char)compare_one(op, s, i, right);
		else if (v->kind == MB_NULL)
			out[i] = UNKNOWN;
		else
			out[i] = (unsigned char)truth_of((v->len == text.len &&
			    memcmp(s->rows->p + v->start, text.p, text.len) ==
			    0) == (op == EQ));
	}
}

static void
decide_rows(unsigned char *out, struct rows_in_hand *r, const struct node *n)
{
	const struct mb_rows *rows = r->rows;
	unsigned char other[MB_ROWS];
	struct side side;

	if (n->op == AND || n->op == OR) {
		decide_rows(out, r, n->child);
		for (const struct node *c = n->child->next; c != NULL;
		    c = c->next) {
			decide_rows(other, r, c);
			for (size_t i = 0; i < rows->n; i++)
				if (n->op == AND ? other[i] < out[i] :
				    other[i] > out[i])
					out[i] = other[i];
		}
		return;
	}
	if (n->op == NOT) {
		decide_rows(out, r, n->child);
		for (size_t i = 0; i < rows->n; i++)
			out[i] = (unsigned char)(YES - out[i]);
		return;
	}
	if (n->left->kind != FIELD || n->op == MATCH ||
	    (n->right != NULL && n->right->kind == FIELD)) {
		for (size_t i = 0; i < rows->n; i++) {
			for (size_t f = 0; f < r->n_fields; f++)
				r->values[f] = mb_view_value(rows,
				    &rows->view[f * MB_ROWS + i]);
			out[i] = (unsigned char)decide(r->e, n, r->values);
		}
		return;
	}
	side.rows = rows;
	side.view = rows->view + n->left->field * MB_ROWS;
	side.has_column = false;
	if (n->op == IS_NULL) {
		for (size_t i = 0; i < rows->n; i++)
			out[i] = (unsigned char)truth_of(side.view[i].kind ==
			    MB_NULL);
	} else if (n->op == IN) {
		memset(out, NO, rows->n);
		for (const struct operand *o = n->right; o != NULL;
		    o = o->next) {
			compare_rows(other, EQ, &side, o);
			for (size_t i = 0; i < rows->n; i++)
				if (other[i] > out[i])
					out[i] = other[i];
		}
	} else {
		compare_rows(out, n->op, &side, n->right);
	}
}

void
mb_expr_select(struct mb_expr *e, struct mb_rows *rows, size_t n_fields)
{
	struct rows_in_hand r = { .e = e, .rows = rows, .n_fields = n_fields,
		.values = mb_realloc_array(NULL, n_fields,
		    sizeof *r.values) };
	unsigned char truths[MB_ROWS];
	bool out[MB_ROWS], any = false;

	decide_rows(truths, &r, e->root);
	for (size_t i = 0; i < rows->n; i++)
		any |= out[i] = truths[i] != YES;
	if (any)
		mb_rows_drop(rows, n_fields, out, false);
	free(r.values);
}
