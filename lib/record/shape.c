#include "record/shape.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/load.h"
#include "record/bare.h"
#include "record/json.h"
#include "record/skeleton.h"

/*
 * A joint is the text from the end of one scalar to the beginning of the
 * next, or to the end of the record: blanks, commas, keys, brackets, and
 * whole empty objects and arrays.
 *
 * Joints lead from state to state.  A state is behind a scalar, and is what
 * matters of the objects and arrays around it: which they are, and which
 * fields may still be found in them.  So each joint that was good in a state
 * once is good in it always.  State 0 is between records.
 */
enum {
	MAX_STATES = 128, MAX_JOINTS = 1024,
	MAX_LEN = 48,		/* of a joint; less than the slack of marks */
	NONE = 0xffff,
	NO_FIELD = 0xff,
	MAX_FIELDS = 64,	/* a bit for each */
};

_Static_assert((int)MAX_LEN + 16 <= (int)MB_MARKS_SLACK, "can be read");

struct joint {
	uint64_t word[2], mask[2];	/* of the first 16 bytes */
	uint64_t resets;	/* fields under a key that comes again */
	uint16_t to;		/* state */
	uint16_t guess;		/* the joint that last came behind it */
	uint16_t sibling;	/* another one out of the same state, no longer */
	uint8_t len, n_marks;
	uint8_t field;		/* that the scalar behind it is */
	bool is_end;		/* behind it comes the next record */
	bool is_prefix;		/* of one of its siblings */
	char text[MAX_LEN];
};

/* An object or array around a scalar. */
struct level {
	bool is_object;
	uint64_t fields;	/* whose path leads here … */
	uint64_t index;		/* … in an array then by index */
};

struct state {
	uint16_t joint;		/* the first one out of it */
	uint8_t depth;
	struct level level[MB_JSON_DEPTH];
};

struct mb_shape {
	const struct mb_str *fields;
	size_t n_fields;
	struct joint *joints;
	struct state *states;
	size_t n_joints, n_states;
	struct mb_skeletons *skeletons;
	uint64_t n_ordinary, n_learned;
};

void
mb_shape_open(struct mb_shape **out, const struct mb_str *fields,
    size_t n_fields)
{
	struct mb_shape *s = mb_zalloc(sizeof *s);

	*s = (struct mb_shape){ .fields = fields, .n_fields = n_fields };
	mb_skeletons_open(&s->skeletons, n_fields);
	*out = s;
}

void
mb_shape_close(struct mb_shape *s)
{
	if (s == NULL)
		return;
	mb_skeletons_close(s->skeletons);
	free(s->joints);
	free(s->states);
	free(s);
}

/*
 * Finding.
 */

#define INLINE static inline __attribute__((always_inline))

INLINE bool
is_at(const struct joint *j, const char *p)
{
	uint64_t differs = ((mb_load_8(p) & j->mask[0]) ^ j->word[0]) |
	    ((mb_load_8(p + 8) & j->mask[1]) ^ j->word[1]);

	return differs == 0 && (j->len <= 16 ||
	    memcmp(p + 16, j->text + 16, j->len - 16u) == 0);
}

/* A record in the making. */
struct walk {
	const struct mb_marks *m;
	const char *p;
	const uint16_t *mark;
	uint32_t at, n_marks;
	struct mb_view *view;	/* of the row */
	uint64_t seen;
	/* Its joints, each twice and 1 more if a string is behind it. */
	uint16_t trail[MB_BONES];
	unsigned n_joints;
	uint64_t key;		/* a hash of them */
};

/* A number with an exponent, true, false or null: behind it, or NULL. */
static const char *
skip_odd_value(const struct walk *w, const char *p, enum mb_kind *kind)
{
	struct mb_json value;

	p = mb_json_scalar(&value, p, w->p + w->mark[w->n_marks - 1]);
	*kind = value.kind;
	return p;
}

/* Behind the joint at p: where the scalar begins and goes on; NULL. */
INLINE const char *
take_value(struct walk *w, const char *p, unsigned field)
{
	const char *start = p, *end;
	enum mb_kind kind;

	if (*p == '"') {
		kind = MB_TEXT;
		start++;
		end = w->p + w->mark[w->at + 1];
		if (*end != '"')
			return NULL;
		p = end + 1;
		w->at += 2;
	} else {
		kind = MB_NUMBER;
		p = mb_bare_number(start);
		if (p == NULL && (p = skip_odd_value(w, start, &kind)) == NULL)
			return NULL;
		end = p;
	}
	if (field == NO_FIELD)
		return p;
	if (kind == MB_TEXT && mb_marks_has_slash(w->m,
	    (size_t)(start - w->p), (size_t)(end - start)))
		return NULL;
	w->view[field * MB_ROWS] = kind == MB_NULL ?
	    (struct mb_view){ .start = 0 } : (struct mb_view){
		.start = (uint32_t)(start - w->p),
		.len = (uint16_t)(end - start),
		.kind = (uint8_t)kind };
	w->seen |= (uint64_t)1 << field;
	return p;
}

/* What the fields were isn't so any more. */
static void
reset_fields(struct walk *w, uint64_t fields)
{
	w->seen &= ~fields;
	for (; fields != 0; fields &= fields - 1)
		w->view[__builtin_ctzll(fields) * MB_ROWS] =
		    (struct mb_view){ .start = 0 };
}

INLINE void
leave_trail(struct walk *w, unsigned joint, bool is_string)
{
	unsigned step = joint * 2 + is_string;

	if (w->n_joints < MB_BONES)
		w->trail[w->n_joints] = (uint16_t)step;
	w->n_joints++;
	w->key = (w->key ^ step) * 0x9e3779b97f4a7c15u;
	w->key ^= w->key >> 32;
}

enum outcome { ORDINARY, ODD, PARTIAL };

/* The record at *p; if it is ordinary, *p moves behind it. */
INLINE enum outcome
walk(struct mb_shape *s, struct walk *w, const char **begin, uint16_t *last,
    const bool leaves_trail)
{
	struct joint *joints = s->joints, *j;
	const char *p = *begin;
	uint16_t before = *last, at;

	w->seen = 0;
	for (size_t f = 0; f < s->n_fields; f++)
		w->view[f * MB_ROWS] = (struct mb_view){ .start = 0 };
	for (;;) {
		/*
		 * The same as last time, mostly.  But behind `"a":[` there may
		 * be more, such as `],"b":`.
		 */
		at = joints[before].guess;
		j = &joints[at];
		if (!is_at(j, p) || j->is_prefix) {
			at = s->states[joints[before].to].joint;
			while (at != NONE && !is_at(&joints[at], p))
				at = joints[at].sibling;
			if (at == NONE)
				return ODD;
			joints[before].guess = at;
			j = &joints[at];
		}
		before = at;
		p += j->len;
		w->at += j->n_marks;
		if (j->resets != 0)
			reset_fields(w, j->resets);
		if (j->is_end) {
			if (w->at > w->n_marks)
				return PARTIAL;
			if (leaves_trail)
				leave_trail(w, at, false);
			*last = before;
			*begin = p;
			return ORDINARY;
		}
		/* A whole record has two more: a string's, or its end. */
		if (w->at + 1 >= w->n_marks && (w->at >= w->n_marks ||
		    *p == '"'))
			return PARTIAL;
		if (leaves_trail)
			leave_trail(w, at, *p == '"');
		p = take_value(w, p, j->field);
		if (p == NULL)
			return ODD;
	}
}

static enum outcome
walk_record(struct mb_shape *s, struct walk *w, const char **begin,
    uint16_t *last)
{
	return walk(s, w, begin, last, false);
}

static enum outcome
walk_with_trail(struct mb_shape *s, struct walk *w, const char **begin,
    uint16_t *last)
{
	w->n_joints = 0;
	w->key = 0;
	return walk(s, w, begin, last, true);
}

/* The end of the line with the mark *at, which moves behind it; NULL. */
static const char *
end_line(struct walk *w)
{
	for (; w->at < w->n_marks; w->at++)
		if (w->p[w->mark[w->at]] == '\n')
			return w->p + w->mark[w->at++] + 1;
	return NULL;
}

/* The record that was walked could be one of many. */
static void
offer_skeleton(struct mb_shape *s, const struct walk *w, uint16_t last)
{
	struct mb_bone bones[MB_BONES];

	if (!mb_skeletons_wants(s->skeletons, w->key) ||
	    w->n_joints > MB_BONES)
		return;
	for (unsigned i = 0; i < w->n_joints; i++) {
		const struct joint *j = &s->joints[w->trail[i] / 2];

		bones[i] = (struct mb_bone){ .text = { j->text, j->len },
			.is_string = w->trail[i] % 2 != 0,
			.field = j->field != NO_FIELD ? j->field : -1,
			.resets = j->resets };
	}
	mb_skeletons_learn(s->skeletons, w->key, bones, w->n_joints, last);
}

void
mb_shape_rows(struct mb_shape *s, const struct mb_marks *m, uint32_t *at,
    const char *base, struct mb_rows *rows, uint64_t *seen)
{
	struct walk w = { .m = m, .p = base,
		.mark = m->mark + MB_MARKS_FIRST, .at = *at,
		.n_marks = m->n_marks };
	const bool has_skeletons = mb_skeletons_begin(s->skeletons);
	const char *p;
	uint16_t last = 0;	/* joint 0 ends in state 0 */

	rows->n = rows->n_odd = rows->n_records = 0;
	for (;;) {
		uint32_t begin;
		enum outcome outcome;

		if (has_skeletons)
			last = (uint16_t)mb_skeletons_rows(s->skeletons, m,
			    &w.at, base, rows, seen, last);
		if (rows->n_records == MB_ROWS || w.at == w.n_marks)
			break;
		begin = w.at;
		p = base + rows->start[rows->n_records];
		w.view = rows->view + rows->n;
		outcome = s->n_joints == 0 ? ODD :
		    has_skeletons ? walk_with_trail(s, &w, &p, &last) :
		    walk_record(s, &w, &p, &last);
		if (outcome == ORDINARY) {
			rows->record[rows->n++] = (uint16_t)rows->n_records;
			*seen |= w.seen;
			if (has_skeletons)
				offer_skeleton(s, &w, last);
		} else {
			w.at = begin;
			if (outcome == PARTIAL || *p == '\n' || *p == ' ' ||
			    *p == '\t' || *p == '\r')
				break;
			const char *end = end_line(&w);

			if (end == NULL) {
				w.at = begin;
				break;
			}
			rows->odd[rows->n_odd++] = (uint16_t)rows->n_records;
			p = end;
			last = 0;
		}
		rows->start[++rows->n_records] = (uint32_t)(p - base);
	}
	s->n_ordinary += rows->n;
	*at = w.at;
}

/*
 * Learning.
 */

/* Does the path of the field have this step at this depth?  Is it the last? */
static bool
has_step(struct mb_str path, unsigned depth, struct mb_str step,
    bool *is_last)
{
	const char *dot;

	for (; depth > 0; depth--) {
		dot = memchr(path.p, '.', path.len);
		if (dot == NULL)
			return false;
		path.len -= (size_t)(dot + 1 - path.p);
		path.p = dot + 1;
	}
	dot = memchr(path.p, '.', path.len);
	*is_last = dot == NULL;
	if (dot != NULL)
		path.len = (size_t)(dot - path.p);
	return mb_str_eq(path, step);
}

/* What is being learned. */
struct lesson {
	struct mb_shape *s;
	const char *end;	/* of the record */
	struct state now;	/* without its joint */
	uint64_t under;		/* fields whose path leads to the next value */
	uint64_t at;		/* fields that the next value is */
	uint64_t resets;
	bool is_refused;
};

/* The next value of the innermost object or array is known by this step. */
static void
enter_step(struct lesson *l, struct mb_str step)
{
	const struct level *level = &l->now.level[l->now.depth - 1];
	bool is_last;

	l->under = l->at = 0;
	for (size_t f = 0; f < l->s->n_fields; f++) {
		struct mb_str field = l->s->fields[f];

		if ((level->fields >> f & 1) == 0)
			continue;
		/* A key that looks like a path comes before the path. */
		if (l->now.depth == 1 && mb_str_eq(field, step) &&
		    memchr(step.p, '.', step.len) != NULL)
			l->is_refused = true;
		if (!has_step(field, l->now.depth - 1u, step, &is_last))
			continue;
		if (is_last)
			l->at |= (uint64_t)1 << f;
		else
			l->under |= (uint64_t)1 << f;
	}
	l->resets |= l->under;
}

static void
enter_index(struct lesson *l)
{
	struct level *level = &l->now.level[l->now.depth - 1];
	char digits[24];
	size_t i = sizeof digits;
	uint64_t n = level->index;

	if (level->fields == 0) {
		l->under = l->at = 0;
		return;
	}
	do
		digits[--i] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	enter_step(l, (struct mb_str){ digits + i, sizeof digits - i });
	level->index++;
}

static const char *
skip_blanks(const struct lesson *l, const char *p)
{
	while (p < l->end &&
	    (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p;
}

/* `"key":` of a valid record; p is at the quote. */
static const char *
take_key(struct lesson *l, const char *p)
{
	struct mb_json key;
	const char *start = p + 1;

	p = mb_json_scalar(&key, p, l->end);
	assert(p != NULL);
	if (key.has_escapes)
		l->is_refused = true;
	enter_step(l, (struct mb_str){ start, key.text.len });
	p = skip_blanks(l, p);
	return skip_blanks(l, p + 1);
}

/*
 * From p, behind a scalar or at the beginning, to the next scalar of a valid
 * record, or to its end.
 */
static const char *
take_joint(struct lesson *l, const char *p)
{
	bool is_open = l->now.depth == 0;	/* a value may begin here */

	for (;;) {
		struct level *level;

		p = skip_blanks(l, p);
		if (p == l->end) {
			l->at = 0;	/* no value comes */
			return p;
		}
		if (*p == ',') {
			p = skip_blanks(l, p + 1);
			is_open = true;
			if (l->now.level[l->now.depth - 1].is_object)
				p = take_key(l, p);
			else
				enter_index(l);
		} else if (*p == '}' || *p == ']') {
			l->now.depth--;
			is_open = false;
			p++;
		} else if (is_open && (*p == '{' || *p == '[')) {
			/* An object as a value would have to be compacted. */
			if (l->at != 0)
				l->is_refused = true;
			level = &l->now.level[l->now.depth++];
			*level = (struct level){ .is_object = *p == '{',
				.fields = l->now.depth == 1 ?
				~(uint64_t)0 : l->under };
			p = skip_blanks(l, p + 1);
			if (*p == '}' || *p == ']')
				continue;
			if (level->is_object)
				p = take_key(l, p);
			else
				enter_index(l);
		} else {
			return p;	/* a scalar */
		}
	}
}

static bool
is_same_state(const struct state *a, const struct state *b)
{
	if (a->depth != b->depth)
		return false;
	for (unsigned i = 0; i < a->depth; i++)
		if (a->level[i].is_object != b->level[i].is_object ||
		    a->level[i].fields != b->level[i].fields ||
		    a->level[i].index != b->level[i].index)
			return false;
	return true;
}

/* The number of this state, made if it isn't there; or NONE. */
static uint16_t
find_state(struct mb_shape *s, const struct state *now)
{
	size_t i;

	for (i = 0; i < s->n_states; i++)
		if (is_same_state(&s->states[i], now))
			return (uint16_t)i;
	if (i == MAX_STATES)
		return NONE;
	s->states[i] = *now;
	s->states[i].joint = NONE;
	s->n_states++;
	return (uint16_t)i;
}

static void
set_words(struct joint *j, const char *text)
{
	char bytes[16] = { 0 }, ones[16] = { 0 };
	size_t n = j->len < 16 ? j->len : 16;

	memcpy(bytes, text, n);
	memset(ones, 0xff, n);
	memcpy(j->word, bytes, 16);
	memcpy(j->mask, ones, 16);
	memcpy(j->text, text, j->len);
}

static unsigned
count_marks(const char *p, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += p[i] == '"' || (unsigned char)p[i] < 0x20;
	return n;
}

static void
put_among_siblings(struct mb_shape *s, uint16_t state, uint16_t number)
{
	struct joint *j = &s->joints[number], *other;
	uint16_t *to = &s->states[state].joint, *next;

	for (next = to; *next != NONE; next = &other->sibling) {
		other = &s->joints[*next];
		if (other->len < j->len) {
			other->is_prefix |= memcmp(other->text, j->text,
			    other->len) == 0;
			continue;
		}
		j->is_prefix |= memcmp(j->text, other->text, j->len) == 0;
		to = &other->sibling;
	}
	j->sibling = *to;
	*to = number;
}

/* The joint out of `state` with this text, made if it isn't there; or NONE. */
static uint16_t
find_joint(struct lesson *l, uint16_t state, struct mb_str text)
{
	struct mb_shape *s = l->s;
	struct joint *j;
	uint16_t to, at = s->states[state].joint;

	for (; at != NONE; at = s->joints[at].sibling)
		if (s->joints[at].len == text.len &&
		    memcmp(s->joints[at].text, text.p, text.len) == 0)
			return at;
	/* Another field than one would be new to us. */
	if (l->is_refused || text.len > MAX_LEN || s->n_joints == MAX_JOINTS ||
	    (l->at & (l->at - 1)) != 0)
		return NONE;
	to = find_state(s, &l->now);
	if (to == NONE)
		return NONE;
	j = &s->joints[s->n_joints];
	*j = (struct joint){ .to = to, .guess = 0, .len = (uint8_t)text.len,
		.n_marks = (uint8_t)count_marks(text.p, text.len),
		.field = l->at != 0 ? (uint8_t)__builtin_ctzll(l->at) :
		NO_FIELD, .is_end = l->now.depth == 0, .resets = l->resets };
	set_words(j, text.p);
	put_among_siblings(s, state, (uint16_t)s->n_joints);
	return (uint16_t)s->n_joints++;
}

/* State 0, and joint 0, which leads there and is found nowhere. */
static void
begin_learning(struct mb_shape *s)
{
	struct state start = { .depth = 0 };

	s->states = mb_realloc_array(NULL, MAX_STATES, sizeof *s->states);
	s->joints = mb_realloc_array(NULL, MAX_JOINTS, sizeof *s->joints);
	(void)find_state(s, &start);
	/* Nothing has a bit set where it isn't looked at. */
	s->joints[0] = (struct joint){ .word = { 1 }, .is_end = true,
		.field = NO_FIELD, .sibling = NONE };
	s->n_joints = 1;
}

void
mb_shape_learn(struct mb_shape *s, struct mb_str record)
{
	struct lesson l = { .s = s, .end = record.p + record.len };
	const char *p = record.p, *start;
	struct mb_json value;
	uint16_t state = 0, at;

	/* Where nothing repeats there is nothing to be learned. */
	if (s->n_fields > MAX_FIELDS || record.len == 0 || l.end[-1] != '\n' ||
	    s->n_learned > 64 + s->n_ordinary / 16)
		return;
	s->n_learned++;
	if (s->n_joints == 0)
		begin_learning(s);
	do {
		start = p;
		l.resets = 0;
		p = take_joint(&l, p);
		at = find_joint(&l, state,
		    (struct mb_str){ start, (size_t)(p - start) });
		if (at == NONE)
			return;
		state = s->joints[at].to;
		if (p < l.end)
			p = mb_json_scalar(&value, p, l.end);
		assert(p != NULL);
	} while (l.now.depth > 0);
}
