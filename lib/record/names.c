#include "record/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/parse.h"
#include "record/csv.h"

/* From so many names on a table is worth its memory. */
enum { FEW = 8 };

/* Where it lies in memory differs from run to run, and that is enough. */
static size_t
slot_of(const struct mb_names *names, struct mb_str name)
{
	uint64_t seed = (uint64_t)(uintptr_t)names->table;

	return mb_hash64(name.p, name.len, seed) & (names->table_size - 1);
}

/* The slot of an equal name, or the free one where it would go. */
static uint32_t *
look_up(const struct mb_names *names, struct mb_str name)
{
	size_t i = slot_of(names, name);

	while (names->table[i] != 0 &&
	    !mb_str_eq(names->v[names->table[i] - 1], name))
		i = (i + 1) & (names->table_size - 1);
	return &names->table[i];
}

static void
put_in_table(struct mb_names *names, size_t position)
{
	uint32_t *slot = look_up(names, names->v[position]);

	if (*slot == 0)		/* of equal names the first is found */
		*slot = (uint32_t)position + 1;
}

static void
grow_table(struct mb_names *names)
{
	free(names->table);
	names->table_size = names->table_size == 0 ? 4 * FEW :
	    2 * names->table_size;
	names->table = mb_zalloc(names->table_size * sizeof *names->table);
	for (size_t i = 0; i < names->n; i++)
		put_in_table(names, i);
}

void
mb_names_add(struct mb_names *names, struct mb_str name)
{
	if (names->n == names->cap) {
		names->cap = names->cap == 0 ? FEW : 2 * names->cap;
		names->v = mb_realloc_array(names->v, names->cap,
		    sizeof *names->v);
	}
	names->v[names->n++] = (struct mb_str){
		mb_arena_dup(&names->arena, name.p, name.len), name.len };
	if (names->n <= FEW)
		return;
	if (names->n == FEW + 1 || 2 * names->n > names->table_size)
		grow_table(names);
	else
		put_in_table(names, names->n - 1);
}

void
mb_names_copy(struct mb_names *to, const struct mb_names *from)
{
	mb_names_reset(to);
	for (size_t i = 0; i < from->n; i++)
		mb_names_add(to, from->v[i]);
}

void
mb_names_number(struct mb_names *names, size_t n)
{
	char digits[24];

	mb_names_reset(names);
	for (size_t i = 1; i <= n; i++) {
		size_t at = sizeof digits;

		for (size_t rest = i; rest > 0; rest /= 10)
			digits[--at] = (char)('0' + rest % 10);
		mb_names_add(names, (struct mb_str){ digits + at,
		    sizeof digits - at });
	}
}

void
mb_names_reset(struct mb_names *names)
{
	free(names->table);
	names->table = NULL;
	names->table_size = 0;
	names->n = 0;
	mb_arena_reset(&names->arena);
}

void
mb_names_release(struct mb_names *names)
{
	free(names->table);
	free(names->v);
	mb_arena_release(&names->arena);
	*names = (struct mb_names){ 0 };
}

bool
mb_names_parse(struct mb_names *names, enum mb_format format, char delimiter,
    struct mb_str record, const char **why)
{
	struct mb_csv_fields fields = { 0 };
	struct mb_buf text = { 0 };

	mb_names_reset(names);
	*why = mb_csv_split(&fields, format, delimiter, record);
	for (size_t i = 0; *why == NULL && i < fields.n; i++) {
		mb_buf_reset(&text);
		mb_csv_decode(&text, format, fields.v[i].text);
		mb_names_add(names, (struct mb_str){ text.p, text.len });
	}
	mb_buf_release(&text);
	mb_csv_fields_release(&fields);
	return *why == NULL;
}

ssize_t
mb_names_index(const struct mb_names *names, struct mb_str name)
{
	if (names->table != NULL)
		return (ssize_t)*look_up(names, name) - 1;
	for (size_t i = 0; i < names->n; i++)
		if (mb_str_eq(names->v[i], name))
			return (ssize_t)i;
	return -1;
}

ssize_t
mb_names_find(const struct mb_names *names, struct mb_str field)
{
	ssize_t found = mb_names_index(names, field);
	size_t position = 0;

	if (found >= 0 || field.len == 0)
		return found;
	for (size_t i = 0; i < field.len; i++) {
		if (field.p[i] < '0' || field.p[i] > '9')
			return -1;
		position = position * 10 + (size_t)(field.p[i] - '0');
		if (position > names->n)
			return -1;
	}
	return (ssize_t)position - 1;
}

bool
mb_names_equal(const struct mb_names *a, const struct mb_names *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!mb_str_eq(a->v[i], b->v[i]))
			return false;
	return true;
}

bool
mb_names_share(const struct mb_names *a, const struct mb_names *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (mb_names_index(b, a->v[i]) >= 0)
			return true;
	return false;
}

void
mb_names_show(struct mb_buf *out, const struct mb_names *names)
{
	enum { LONG = 300, LONG_NAME = 60 };
	size_t start = out->len;

	for (size_t i = 0; i < names->n; i++) {
		struct mb_str name = names->v[i];

		if (out->len - start > LONG) {
			mb_buf_adds(out, ", …");
			return;
		}
		mb_buf_adds(out, i > 0 ? ", " : "");
		if (name.len > LONG_NAME)
			name.len = LONG_NAME;
		mb_show(out, name);
	}
}
