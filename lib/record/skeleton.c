#include "record/skeleton.h"

#include <stdlib.h>
#include <string.h>

#include "record/bare.h"
#include "record/json.h"

enum {
	MAX_SKELETONS = 32,
	MAX_PIECES = 96,
	MAX_SHIFT = 48,		/* a piece begins at most so far from a mark */
	MAX_FIELDS = 64,
	GUESS_BITS = 8,
	PIECE = 16,
};

_Static_assert((int)MAX_SHIFT + PIECE <= (int)MB_MARKS_SLACK, "can be read");

typedef uint64_t piece_bytes __attribute__((vector_size(PIECE)));

/*
 * Some of the text, at a mark that is the record's own: counted from its
 * first one.
 */
struct piece {
	piece_bytes text, mask;
	int16_t shift;		/* bytes from the mark to the piece */
	uint16_t mark;
};

/* A place of the record. */
struct place {
	uint16_t mark;
	int16_t shift;
};

/* A value that must be looked at; other strings are good as they are. */
struct bone {
	struct place start, end;
	uint8_t field;		/* NO_FIELD: it must only be good */
	bool is_string;
};

enum { NO_FIELD = 0xff };

struct skeleton {
	piece_bytes text, mask;	/* of the record's first bytes */
	struct piece pieces[MAX_PIECES];
	struct bone bones[MB_BONES];
	unsigned n_pieces, n_bones;
	uint32_t n_marks;
	uint64_t seen;
	uint64_t key;
	unsigned last;
};

struct mb_skeletons {
	struct skeleton *v[MAX_SKELETONS];
	unsigned n, next_victim;
	uint8_t guess[1 << GUESS_BITS];	/* a number from 1; 0: none */
	uint8_t *guessed;	/* where the record in hand has its guess */
	uint8_t before;		/* the skeleton of the record before */
	uint64_t once[256];	/* keys that were seen, by their last bits */
	uint64_t n_rows, n_made;
};

void
mb_skeletons_open(struct mb_skeletons **out)
{
	*out = mb_zalloc(sizeof **out);
}

void
mb_skeletons_close(struct mb_skeletons *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s);
}

/*
 * Finding.
 */

static inline piece_bytes
load_piece(const char *p)
{
	piece_bytes bytes;

	memcpy(&bytes, p, sizeof bytes);
	return bytes;
}

/* Is all the text there?  Nothing here waits for anything before it. */
static inline bool
has_text(const struct skeleton *k, const char *begin, const char *base,
    const uint16_t *mark)
{
	piece_bytes differs = (load_piece(begin) ^ k->text) & k->mask;

	for (unsigned i = 0; i < k->n_pieces; i++) {
		const struct piece *piece = &k->pieces[i];
		const char *p = base + mark[piece->mark] + piece->shift;

		differs |= (load_piece(p) ^ piece->text) & piece->mask;
	}
	return (differs[0] | differs[1]) == 0;
}

static inline const char *
find_place(struct place place, const char *base, const uint16_t *mark)
{
	return base + mark[place.mark] + place.shift;
}

/* A number with an exponent, or what isn't good.  False: look closer. */
static bool
take_odd_value(const char *p, const char *end, enum mb_kind *kind)
{
	struct mb_json value;

	if (mb_json_scalar(&value, p, end) != end)
		return false;
	*kind = value.kind;
	return true;
}

/* The values into a row, unless it is odd. */
static inline bool
take_values(const struct skeleton *k, const struct mb_marks *m,
    const char *base, const uint16_t *mark, struct mb_view *row)
{
	for (unsigned i = 0; i < k->n_bones; i++) {
		const struct bone *bone = &k->bones[i];
		const char *p = find_place(bone->start, base, mark);
		const char *end = find_place(bone->end, base, mark);
		enum mb_kind kind = MB_TEXT;
		struct mb_view *view;

		if (!bone->is_string && (p >= end ||
		    (mb_bare_value(p, &kind) != end &&
		    !take_odd_value(p, end, &kind))))
			return false;
		if (bone->field == NO_FIELD)
			continue;
		if (bone->is_string && mb_marks_has_slash(m,
		    (size_t)(p - base), (size_t)(end - p)))
			return false;
		view = &row[bone->field * MB_ROWS];
		*view = kind == MB_NULL ? (struct mb_view){ .start = 0 } :
		    (struct mb_view){
			.start = (uint32_t)(p - base),
			.len = (uint16_t)(end - p),
			.kind = (uint8_t)kind };
	}
	return true;
}

static void
clear_row(const struct skeleton *k, struct mb_view *row)
{
	for (unsigned i = 0; i < k->n_bones; i++)
		if (k->bones[i].field != NO_FIELD)
			row[k->bones[i].field * MB_ROWS] = (struct mb_view){
				.start = 0 };
}

unsigned
mb_skeletons_rows(struct mb_skeletons *s, const struct mb_marks *m,
    uint32_t *at, const char *base, struct mb_rows *rows, uint64_t *seen,
    unsigned before)
{
	const uint16_t *marks = m->mark + MB_MARKS_FIRST;

	s->guessed = NULL;
	while (rows->n_records < MB_ROWS && *at < m->n_marks) {
		const char *begin = base + rows->start[rows->n_records];
		const uint16_t *mark = marks + *at;
		struct mb_view *row = rows->view + rows->n;
		const struct skeleton *k;

		s->guessed = &s->guess[(mb_bare_load(begin) ^ s->before) *
		    0x9e3779b97f4a7c15u >> (64 - GUESS_BITS)];
		if (*s->guessed == 0)
			break;
		k = s->v[*s->guessed - 1];
		if (m->n_marks - *at < k->n_marks ||
		    !has_text(k, begin, base, mark))
			break;
		if (!take_values(k, m, base, mark, row)) {
			clear_row(k, row);
			break;
		}
		s->before = *s->guessed;
		*at += k->n_marks;
		*seen |= k->seen;
		before = k->last;
		s->n_rows++;
		rows->record[rows->n++] = (uint16_t)rows->n_records;
		rows->start[++rows->n_records] = mark[k->n_marks - 1] + 1u;
	}
	return before;
}

/*
 * Learning.
 */

/* A text where it stands in a record; false if it can't be. */
static bool
put_text(struct skeleton *k, struct mb_str text, const struct place *place)
{
	size_t done = 0;

	for (; done < text.len; done += PIECE) {
		struct piece *piece = &k->pieces[k->n_pieces];
		size_t n = text.len - done < PIECE ? text.len - done : PIECE;
		int shift = place->shift + (int)done;

		/*
		 * In front of a mark there are as many bytes of the record
		 * as there are marks, at least.
		 */
		if (k->n_pieces == MAX_PIECES || shift > MAX_SHIFT ||
		    shift < -(int)place->mark)
			return false;
		*piece = (struct piece){ .shift = (int16_t)shift,
			.mark = place->mark };
		memcpy(&piece->text, text.p + done, n);
		memset(&piece->mask, 0xff, n);
		k->n_pieces++;
	}
	return true;
}

/* So many bytes in front of the first mark; -1: there is none. */
static int
find_mark(struct mb_str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.p[i] == '"' || (unsigned char)text.p[i] < 0x20)
			return (int)i;
	return -1;
}

static unsigned
count_marks(struct mb_str text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.len; i++)
		n += text.p[i] == '"' || (unsigned char)text.p[i] < 0x20;
	return n;
}

/*
 * The text of bone i, with the quotes of the strings around it, stands at
 * the mark `at`.  Sets where it begins and ends.
 */
static bool
add_text(struct skeleton *k, struct mb_buf *text, const struct mb_bone *bones,
    size_t i, struct place *begin, struct place *end)
{
	bool is_first = i == 0;
	int first;
	struct mb_str all;

	mb_buf_reset(text);
	if (!is_first && bones[i - 1].is_string)
		mb_buf_addc(text, '"');
	mb_buf_add(text, bones[i].text.p, bones[i].text.len);
	if (bones[i].is_string)
		mb_buf_addc(text, '"');
	all = (struct mb_str){ text->p, text->len };
	/* A value before it that is no string ends where a mark says so. */
	first = find_mark(all);
	if (first < 0 || first > MAX_SHIFT || all.len > MAX_SHIFT)
		return false;
	*begin = (struct place){ (uint16_t)k->n_marks, (int16_t)-first };
	*end = (struct place){ (uint16_t)k->n_marks,
		(int16_t)((int)all.len - first) };
	k->n_marks += count_marks(all);
	if (!is_first)
		return put_text(k, all, begin);
	memcpy(&k->text, all.p, all.len < PIECE ? all.len : PIECE);
	memset(&k->mask, 0xff, all.len < PIECE ? all.len : PIECE);
	if (all.len <= PIECE)
		return true;
	begin->shift = (int16_t)(PIECE - first);
	return put_text(k, (struct mb_str){ all.p + PIECE, all.len - PIECE },
	    begin);
}

static bool
make_skeleton(struct skeleton *k, const struct mb_bone *bones, size_t n)
{
	int owner[MAX_FIELDS];	/* which value a field is, at last */
	struct place start[MB_BONES], end[MB_BONES], behind[MB_BONES];
	struct mb_buf text = { 0 };
	bool is_possible = n <= MB_BONES;

	for (int f = 0; f < MAX_FIELDS; f++)
		owner[f] = -1;
	for (size_t i = 0; i < n && is_possible; i++) {
		uint64_t r = bones[i].resets;

		/* The value i ends where the text i + 1 begins. */
		is_possible = add_text(k, &text, bones, i, &behind[i],
		    &start[i]);
		if (i > 0)
			end[i - 1] = behind[i];
		for (; r != 0; r &= r - 1)
			owner[__builtin_ctzll(r)] = -1;
		if (bones[i].field >= 0)
			owner[bones[i].field] = (int)i;
	}
	mb_buf_release(&text);
	for (size_t i = 0; i + 1 < n && is_possible; i++) {
		int field = bones[i].field;
		bool is_wanted = field >= 0 && owner[field] == (int)i;

		if (bones[i].is_string && !is_wanted)
			continue;
		if (is_wanted)
			k->seen |= (uint64_t)1 << field;
		k->bones[k->n_bones++] = (struct bone){
			.start = start[i], .end = end[i],
			.is_string = bones[i].is_string,
			.field = is_wanted ? (uint8_t)field : NO_FIELD,
		};
	}
	return is_possible;
}

/* The number of the skeleton with this key, from 1; 0. */
static uint8_t
find_skeleton(const struct mb_skeletons *s, uint64_t key)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->v[i]->key == key)
			return (uint8_t)(i + 1);
	return 0;
}

bool
mb_skeletons_wants(struct mb_skeletons *s, uint64_t key)
{
	uint8_t i = find_skeleton(s, key);
	uint64_t *once = &s->once[key % 256];

	s->before = i;
	if (i > 0) {
		if (s->guessed != NULL)
			*s->guessed = i;
		return false;
	}
	/* Where nothing repeats there is nothing to be learned. */
	if (*once == key && s->n_made <= 64 + s->n_rows / 64)
		return true;
	*once = key;
	return false;
}

void
mb_skeletons_learn(struct mb_skeletons *s, uint64_t key,
    const struct mb_bone *bones, size_t n_bones, unsigned last)
{
	unsigned i = s->n < MAX_SKELETONS ? s->n : s->next_victim;

	if (i == s->n)
		s->v[s->n++] = mb_alloc(sizeof **s->v);
	else
		s->next_victim = (i + 1) % MAX_SKELETONS;
	s->n_made++;
	*s->v[i] = (struct skeleton){ .key = key, .last = last };
	/* One that can't be has more marks than any look finds. */
	if (!make_skeleton(s->v[i], bones, n_bones))
		s->v[i]->n_marks = UINT32_MAX;
	if (s->guessed != NULL)
		*s->guessed = (uint8_t)(i + 1);
	s->before = (uint8_t)(i + 1);
}
