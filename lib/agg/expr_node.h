/*
 * expr_node.h - what --where has been read into; for expr.c and decide.c.
 */
#ifndef MB_AGG_EXPR_NODE_H
#define MB_AGG_EXPR_NODE_H

#include <regex.h>

#include "agg/expr.h"
#include "base/number.h"

enum op { AND, OR, NOT, EQ, NE, LT, LE, GT, GE, IN, MATCH, IS_NULL };

enum operand_kind { FIELD, NUMBER, TEXT };

struct operand {
	enum operand_kind kind;
	size_t field;		/* FIELD: which */
	struct mb_number number;
	struct mb_str text;
	struct operand *next;	/* of a list */
};

struct node {
	enum op op;
	struct node *child;	/* AND, OR: the first of several; NOT */
	struct node *next;	/* the next child of the same parent */
	struct operand *left, *right;	/* IN: right begins a list */
	regex_t *regex;
};

struct mb_expr {
	struct mb_arena arena;
	struct node *root;
	regex_t **regexes;	/* all of them, to free what they hold */
	size_t n_regexes;
	struct mb_buf text;	/* of the value that is matched */
};

#endif
