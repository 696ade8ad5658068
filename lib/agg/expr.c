#include "agg/expr.h"

#include <stdlib.h>

#include "agg/expr_node.h"

/*
 * Reading it: words, and a descent that MB_EXPR_DEPTH keeps shallow.
 */

enum token { END, WORD, QUOTED, BRACED, SYMBOL };

struct parser {
	struct mb_expr *e;
	struct mb_field_set *fields;
	const char *text;
	const char *p;		/* behind the token */
	struct mb_err *err;
	unsigned depth;

	enum token token;
	const char *at;		/* where the token begins */
	struct mb_str value;	/* of the token: without quotes or braces */
};

static int
bad(struct parser *ps, const char *at, const char *what)
{
	return mb_fail(ps->err, MB_EUSAGE, "byte %zu: %s",
	    (size_t)(at - ps->text) + 1, what);
}

static int
take_quoted(struct parser *ps)
{
	char quote = *ps->p++;
	char *out = mb_arena_alloc(&ps->e->arena, strlen(ps->p) + 1);
	size_t n = 0;

	for (; *ps->p != quote; ps->p++) {
		char next = ps->p[0] == '\\' ? ps->p[1] : '\0';

		if (*ps->p == '\0')
			return bad(ps, ps->at, "no closing quote");
		if (next == '\'' || next == '"' || next == '\\')
			out[n++] = *++ps->p;
		else if (next == 'n' || next == 'r' || next == 't')
			out[n++] = *++ps->p == 'n' ? '\n' :
			    next == 'r' ? '\r' : '\t';
		else
			out[n++] = *ps->p;
	}
	ps->p++;
	out[n] = '\0';
	ps->value = (struct mb_str){ out, n };
	ps->token = QUOTED;
	return 0;
}

/* Read the next token. */
static int
advance(struct parser *ps)
{
	static const char symbols[] = "()=!<>~,:}";
	size_t n;

	while (*ps->p != '\0' && strchr(" \t\r\n", *ps->p) != NULL)
		ps->p++;
	ps->at = ps->p;
	if (*ps->p == '\0') {
		ps->token = END;
		ps->value = MB_STR("the end");
	} else if (*ps->p == '\'' || *ps->p == '"') {
		return take_quoted(ps);
	} else if (*ps->p == '{') {
		struct mb_str rest = mb_str(ps->p);

		if (mb_field_take(&rest, &ps->value, ps->err) < 0)
			return mb_wrap(ps->err, "byte %zu",
			    (size_t)(ps->at - ps->text) + 1);
		ps->p = rest.p;
		ps->token = BRACED;
	} else if (strchr(symbols, *ps->p) != NULL) {
		n = 1;
		if (strchr("=!<>", *ps->p) != NULL &&
		    (ps->p[1] == '=' || (*ps->p == '!' && ps->p[1] == '~')))
			n = 2;
		ps->value = (struct mb_str){ ps->p, n };
		ps->p += n;
		ps->token = SYMBOL;
	} else {
		n = strcspn(ps->p, " \t\r\n'\"{()=!<>~,:}");
		ps->value = (struct mb_str){ ps->p, n };
		ps->p += n;
		ps->token = WORD;
	}
	return 0;
}

static bool
is(const struct parser *ps, enum token token, const char *text)
{
	return ps->token == token && mb_str_eq(ps->value, mb_str(text));
}

static int
expected(struct parser *ps, const char *what)
{
	struct mb_str found = ps->token == END ? MB_STR("the end") :
	    (struct mb_str){ ps->at, (size_t)(ps->p - ps->at) };

	if (is(ps, WORD, "AND") || is(ps, WORD, "OR") || is(ps, WORD, "NOT") ||
	    is(ps, WORD, "IN") || is(ps, WORD, "IS"))
		return mb_fail(ps->err, MB_EUSAGE, "byte %zu: \"%.*s\" is "
		    "written in lower case", (size_t)(ps->at - ps->text) + 1,
		    (int)found.len, found.p);
	return mb_fail(ps->err, MB_EUSAGE, "byte %zu: expected %s, not %s%.*s%s",
	    (size_t)(ps->at - ps->text) + 1, what,
	    ps->token == END ? "" : "\"", (int)found.len, found.p,
	    ps->token == END ? "" : "\"");
}

static bool
is_keyword(struct mb_str word)
{
	static const char *const words[] = { "and", "or", "not", "in", "is",
		"null" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (mb_str_eq(word, mb_str(words[i])))
			return true;
	return false;
}

static int
parse_operand(struct parser *ps, struct operand **out, const char *what)
{
	struct operand *o = mb_arena_alloc(&ps->e->arena, sizeof *o);

	*o = (struct operand){ .text = ps->value };
	if (ps->token == QUOTED)
		o->kind = TEXT;
	else if (ps->token == WORD && mb_number_parse(&o->number, ps->value))
		o->kind = NUMBER;
	else if (is(ps, WORD, "null"))
		return bad(ps, ps->at, "nothing equals null; say `is null`");
	else if (ps->token == BRACED ||
	    (ps->token == WORD && !is_keyword(ps->value)))
		o->kind = FIELD;
	else
		return expected(ps, what);
	if (o->kind == FIELD)
		o->field = mb_field_set_add(ps->fields, o->text);
	*out = o;
	return advance(ps);
}

static struct node *
new_node(struct parser *ps, enum op op)
{
	struct node *n = mb_arena_alloc(&ps->e->arena, sizeof *n);

	*n = (struct node){ .op = op };
	return n;
}

static struct node *
negate(struct parser *ps, struct node *child)
{
	struct node *n = new_node(ps, NOT);

	n->child = child;
	return n;
}

/* literal {"," literal} ")", behind "in". */
static int
parse_list(struct parser *ps, struct node *n)
{
	struct operand **last = &n->right;

	if (!is(ps, SYMBOL, "("))
		return expected(ps, "( after in");
	do {
		if (advance(ps) < 0 ||
		    parse_operand(ps, last, "a text or a number") < 0)
			return -1;
		if ((*last)->kind == FIELD)
			return bad(ps, (*last)->text.p, "a list holds texts "
			    "and numbers (a text stands in quotes)");
		last = &(*last)->next;
	} while (is(ps, SYMBOL, ","));
	if (!is(ps, SYMBOL, ")"))
		return expected(ps, "a comma or )");
	return advance(ps);
}

static int
parse_regex(struct parser *ps, struct node *n)
{
	struct mb_expr *e = ps->e;
	char why[200];
	regex_t *re;
	int code;

	if (ps->token != QUOTED)
		return expected(ps, "a regular expression in quotes");
	re = mb_arena_alloc(&e->arena, sizeof *re);
	code = regcomp(re, ps->value.p, REG_EXTENDED | REG_NOSUB);
	if (code != 0) {
		regerror(code, re, why, sizeof why);
		return bad(ps, ps->at, why);
	}
	e->regexes = mb_realloc_array(e->regexes, e->n_regexes + 1,
	    sizeof *e->regexes);
	e->regexes[e->n_regexes++] = re;
	n->regex = re;
	return advance(ps);
}

static int
parse_comparison(struct parser *ps, struct node **out)
{
	static const struct {
		const char *text;
		enum op op;
	} ops[] = {
		{ "=", EQ }, { "==", EQ }, { "!=", NE }, { "<", LT },
		{ "<=", LE }, { ">", GT }, { ">=", GE }, { "~", MATCH },
		{ "!~", MATCH },
	};
	struct node *n = new_node(ps, EQ);
	bool is_negated = false;
	size_t i;

	if (parse_operand(ps, &n->left, "a field, a number or a text") < 0)
		return -1;
	*out = n;
	if (is(ps, WORD, "is")) {
		n->op = IS_NULL;
		if (advance(ps) < 0)
			return -1;
		if (is(ps, WORD, "not")) {
			is_negated = true;
			if (advance(ps) < 0)
				return -1;
		}
		if (!is(ps, WORD, "null"))
			return expected(ps, "null");
		if (is_negated)
			*out = negate(ps, n);
		return advance(ps);
	}
	if (is(ps, WORD, "not")) {
		is_negated = true;
		if (advance(ps) < 0)
			return -1;
		if (!is(ps, WORD, "in"))
			return expected(ps, "in");
	}
	if (is(ps, WORD, "in")) {
		n->op = IN;
		if (is_negated)
			*out = negate(ps, n);
		return advance(ps) < 0 ? -1 : parse_list(ps, n);
	}
	for (i = 0; i < sizeof ops / sizeof *ops; i++)
		if (is(ps, SYMBOL, ops[i].text))
			break;
	if (i == sizeof ops / sizeof *ops)
		return expected(ps, "= != < <= > >= ~ !~ in or is");
	n->op = ops[i].op;
	if (n->op == MATCH && ps->value.len == 2)
		*out = negate(ps, n);
	if (advance(ps) < 0)
		return -1;
	return n->op == MATCH ? parse_regex(ps, n) :
	    parse_operand(ps, &n->right, "a field, a number or a text");
}

static int parse_or(struct parser *ps, struct node **out);

static int
parse_not(struct parser *ps, struct node **out)
{
	bool is_negated = false;

	while (is(ps, WORD, "not")) {
		is_negated = !is_negated;
		if (advance(ps) < 0)
			return -1;
	}
	if (is(ps, SYMBOL, "(")) {
		if (++ps->depth > MB_EXPR_DEPTH)
			return bad(ps, ps->at, "parentheses nested too deep");
		if (advance(ps) < 0 || parse_or(ps, out) < 0)
			return -1;
		if (!is(ps, SYMBOL, ")"))
			return expected(ps, "and, or or )");
		ps->depth--;
		if (advance(ps) < 0)
			return -1;
	} else if (parse_comparison(ps, out) < 0) {
		return -1;
	}
	if (is_negated)
		*out = negate(ps, *out);
	return 0;
}

/* Children of one node, so that a long chain is wide and not deep. */
static int
parse_chain(struct parser *ps, struct node **out, enum op op)
{
	struct node *n = new_node(ps, op), **last = &n->child;

	for (;;) {
		if ((op == OR ? parse_chain(ps, last, AND) :
		    parse_not(ps, last)) < 0)
			return -1;
		last = &(*last)->next;
		if (!is(ps, WORD, op == OR ? "or" : "and"))
			break;
		if (advance(ps) < 0)
			return -1;
	}
	*out = n->child->next == NULL ? n->child : n;
	return 0;
}

static int
parse_or(struct parser *ps, struct node **out)
{
	return parse_chain(ps, out, OR);
}

int
mb_expr_open(struct mb_expr **out, const char *text,
    struct mb_field_set *fields, struct mb_err *err)
{
	struct mb_expr *e = mb_zalloc(sizeof *e);
	struct parser ps = { .e = e, .fields = fields, .text = text,
		.p = text, .err = err };

	*out = NULL;
	if (advance(&ps) < 0 || parse_or(&ps, &e->root) < 0)
		goto fail;
	if (ps.token != END) {
		expected(&ps, "and, or or the end");
		goto fail;
	}
	*out = e;
	return 0;
fail:
	mb_expr_close(e);
	return -1;
}

void
mb_expr_close(struct mb_expr *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < e->n_regexes; i++)
		regfree(e->regexes[i]);
	free(e->regexes);
	mb_buf_release(&e->text);
	mb_arena_release(&e->arena);
	free(e);
}
