/*
 * parquet write OUT [codec=NAME] [level=N] [page=BYTES] [group=BYTES]
 *     [seed=N]
 *
 * Makes a Parquet file of text on standard input, for tests/parquet-interop.
 * The first line is the schema: NAME:TYPE[!] separated by tabs, ! for
 * required, TYPE as in mb's --schema, and int8, int16.  Each further line is a
 * row: values separated by tabs.  \N is null; integers, decimals and what is
 * counted (dates, times) are plain integers; doubles are what strtod reads;
 * text and binary are hexadecimal.  The statistics come out as JSON.
 *
 * parquet nested OUT ROWS
 *
 * Makes a file with a struct, a map and a list in it; see nested().
 *
 * parquet dump FILE
 *
 * Prints the leaves, a line of JSON each, an empty line, and the rows in the
 * same form.  Of a list each entry is LEVEL:VALUE, joined by commas; \N is
 * the null of a flat column.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
#include "parquet/reader.h"
#include "parquet/writer.h"

#include <fcntl.h>
#include <unistd.h>

static struct mb_err err;

static void
die(void)
{
	fprintf(stderr, "parquet: %s\n", err.msg);
	exit(mb_exit_status(err.code));
}

static const struct {
	const char *name;
	enum mb_parquet_kind kind;
} kinds[] = {
	{ "bool", MB_PARQUET_BOOL }, { "int8", MB_PARQUET_INT8 },
	{ "int16", MB_PARQUET_INT16 }, { "int32", MB_PARQUET_INT32 },
	{ "int", MB_PARQUET_INT64 }, { "float", MB_PARQUET_FLOAT },
	{ "double", MB_PARQUET_DOUBLE }, { "text", MB_PARQUET_TEXT },
	{ "binary", MB_PARQUET_BINARY }, { "date", MB_PARQUET_DATE },
	{ "timestamp", MB_PARQUET_TIMESTAMP },
	{ "timestamp_ntz", MB_PARQUET_TIMESTAMP_NTZ },
	{ "decimal", MB_PARQUET_DECIMAL },
};

static void
parse_column(struct mb_parquet_node *n, char *text)
{
	char *type = strrchr(text, ':');
	unsigned precision = 0, scale = 0;
	size_t len;

	if (type == NULL)
		goto bad;
	*type++ = '\0';
	len = strlen(type);
	n->name = text;
	n->repetition = MB_PARQUET_OPTIONAL;
	if (len > 0 && type[len - 1] == '!') {
		type[len - 1] = '\0';
		n->repetition = MB_PARQUET_REQUIRED;
	}
	if (sscanf(type, "decimal(%u,%u)", &precision, &scale) == 2)
		type[strlen("decimal")] = '\0';
	n->type.precision = (uint8_t)precision;
	n->type.scale = (uint8_t)scale;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].name, type) == 0) {
			n->type.kind = kinds[i].kind;
			return;
		}
bad:
	fprintf(stderr, "parquet: not a column: %s\n", text);
	exit(64);
}

static mb_int128
parse_int(const char *s)
{
	mb_uint128 v = 0;
	bool is_negative = *s == '-';

	for (s += is_negative; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (unsigned)(*s - '0');
	return (mb_int128)(is_negative ? 0 - v : v);
}

static unsigned
digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

static void
put_hex(struct mb_parquet_column *c, char *s)
{
	size_t n = 0;

	for (; s[2 * n] != '\0'; n++)
		s[n] = (char)(digit(s[2 * n]) << 4 | digit(s[2 * n + 1]));
	mb_parquet_put_bytes(c, s, n);
}

static void
put(struct mb_parquet_column *c, enum mb_parquet_kind kind, char *s)
{
	if (strcmp(s, "\\N") == 0) {
		mb_parquet_put_null(c);
		return;
	}
	switch (kind) {
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		mb_parquet_put_double(c, strtod(s, NULL));
		break;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
		put_hex(c, s);
		break;
	case MB_PARQUET_DECIMAL:
		mb_parquet_put_decimal(c, parse_int(s));
		break;
	default:
		mb_parquet_put_int(c, (int64_t)parse_int(s));
		break;
	}
}

/* The text up to the next tab; NULL: there is none. */
static char *
cut(char **line)
{
	char *start = *line, *end;

	if (start == NULL)
		return NULL;
	end = strchr(start, '\t');
	if (end != NULL)
		*end++ = '\0';
	*line = end;
	return start;
}

static int
write_fd(void *arg, const void *p, size_t len, struct mb_err *e)
{
	return mb_write_all(*(int *)arg, p, len, "output", e);
}

static void
print_int(mb_int128 v)
{
	char text[48], *p = text + sizeof text;
	mb_uint128 u = v < 0 ? 0 - (mb_uint128)v : (mb_uint128)v;

	*--p = '\0';
	do
		*--p = (char)('0' + (int)(u % 10));
	while ((u /= 10) != 0);
	printf("\"%s%s\"", v < 0 ? "-" : "", p);
}

static void
print_value(const union mb_parquet_value *v, enum mb_parquet_kind kind)
{
	switch (kind) {
	case MB_PARQUET_FLOAT:
	case MB_PARQUET_DOUBLE:
		printf("\"%a\"", v->d);
		break;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
	case MB_PARQUET_OTHER:
		putchar('"');
		for (size_t i = 0; i < v->bytes.len; i++)
			printf("%02x", (uint8_t)v->bytes.p[i]);
		putchar('"');
		break;
	case MB_PARQUET_DECIMAL:
		print_int(v->decimal);
		break;
	default:
		printf("\"%" PRId64 "\"", v->i);
		break;
	}
}

static void
option(struct mb_parquet_options *o, const char *text)
{
	const char *value = strchr(text, '=');

	if (value == NULL)
		goto bad;
	value++;
	if (strncmp(text, "codec=", 6) == 0) {
		if (mb_parquet_codec_parse(&o->codec, value, &err) < 0)
			die();
	} else if (strncmp(text, "level=", 6) == 0) {
		o->level = (int)strtol(value, NULL, 10);
	} else if (strncmp(text, "seed=", 5) == 0) {
		o->seed = strtoull(value, NULL, 10);
	} else if (strncmp(text, "page=", 5) == 0) {
		o->page_bytes = strtoul(value, NULL, 10);
	} else if (strncmp(text, "group=", 6) == 0) {
		o->group_bytes = strtoul(value, NULL, 10);
	} else {
		goto bad;
	}
	return;
bad:
	fprintf(stderr, "parquet: unknown option %s\n", text);
	exit(64);
}

static int
write_file(const char *path, char **options)
{
	struct mb_parquet_node nodes[256] = { 0 };
	struct mb_parquet_options o = { .schema = nodes, .version = "0.0.0",
		.codec = mb_parquet_best_codec() };
	struct mb_parquet_writer *w;
	struct mb_parquet_file file;
	char *line = NULL, *rest, *text, *schema;
	size_t cap = 0;
	ssize_t len;
	int fd;

	for (; *options != NULL; options++)
		option(&o, *options);
	len = getline(&line, &cap, stdin);
	if (len < 1)
		return 65;
	line[len - 1] = '\0';
	rest = schema = mb_strdup(line);
	while ((text = cut(&rest)) != NULL)
		parse_column(&nodes[o.n_schema++], text);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		mb_fail_sys(&err, "%s", path);
		die();
	}
	if (mb_parquet_writer_open(&w, &o, write_fd, &fd, &err) < 0)
		die();
	while ((len = getline(&line, &cap, stdin)) > 0) {
		line[len - 1] = '\0';
		rest = line;
		for (size_t i = 0; i < o.n_schema; i++)
			if ((text = cut(&rest)) != NULL)
				put(mb_parquet_column(w, i),
				    nodes[i].type.kind, text);
		if (mb_parquet_end_row(w, &err) < 0)
			die();
	}
	if (mb_parquet_finish(w, &file, &err) < 0)
		die();
	printf("{\"rows\":%" PRIu64 ",\"size\":%" PRIu64 ",\"columns\":[",
	    file.rows, file.size);
	for (size_t i = 0; i < file.n_stats; i++) {
		const struct mb_parquet_stats *s = &file.stats[i];

		printf("%s{\"nulls\":%" PRIu64 ",\"nans\":%" PRIu64, i > 0 ?
		    "," : "", s->n_nulls, s->n_nans);
		if (s->has_bounds) {
			printf(",\"min\":");
			print_value(&s->min, nodes[i].type.kind);
			printf(",\"max\":");
			print_value(&s->max, nodes[i].type.kind);
		}
		printf("}");
	}
	printf("]}\n");
	mb_parquet_writer_close(w);
	free(line);
	free(schema);
	if (close(fd) < 0) {
		mb_fail_sys(&err, "%s", path);
		die();
	}
	return 0;
}

static void
put_text(struct mb_parquet_column *c, const char *fmt, int n)
{
	struct mb_buf text = { 0 };

	mb_buf_addf(&text, fmt[0] == 'f' ? "file-%d" : fmt[0] == 'k' ? "k%d" :
	    fmt[0] == 'v' ? "v%d" : "t%d", n);
	mb_parquet_put_bytes(c, text.p, text.len);
	mb_buf_release(&text);
}

/*
 * Row i: no `add` if i % 5 is 0; else its parts are null if i % 5 is 1, else
 * i % 5 - 2 pairs, of which the third has no value (and 70 if i % 100 is 0);
 * and i % 4 tags.
 */
static void
nested_row(struct mb_parquet_writer *w, int i)
{
	struct mb_parquet_column *c[5];
	int n_parts = i % 100 == 0 ? 70 : i % 5 - 2;

	for (size_t k = 0; k < 5; k++)
		c[k] = mb_parquet_column(w, k);
	mb_parquet_put_int(c[0], i);
	if (i % 5 == 0) {
		for (size_t k = 1; k < 5; k++)
			mb_parquet_put_absent(c[k], 0);
		return;
	}
	put_text(c[1], "f", i);
	if (i % 5 == 1 || n_parts == 0)
		for (size_t k = 2; k < 4; k++)
			mb_parquet_put_absent(c[k], i % 5 == 1 ? 1 : 2);
	for (int k = 0; i % 5 != 1 && k < n_parts; k++) {
		if (k > 0) {
			mb_parquet_repeat(c[2]);
			mb_parquet_repeat(c[3]);
		}
		put_text(c[2], "k", k);
		if (k == 2)
			mb_parquet_put_null(c[3]);
		else
			put_text(c[3], "v", i);
	}
	if (i % 4 == 0)
		mb_parquet_put_absent(c[4], 2);
	for (int k = 0; k < i % 4; k++) {
		if (k > 0)
			mb_parquet_repeat(c[4]);
		put_text(c[4], "t", k);
	}
}

static int
nested(const char *path, int rows)
{
	static const struct mb_parquet_node nodes[] = {
		{ .name = "id", .type = { MB_PARQUET_INT64, 0, 0 } },
		{ .name = "add", .repetition = MB_PARQUET_OPTIONAL,
		    .n_children = 3 },
		{ .name = "path", .type = { MB_PARQUET_TEXT, 0, 0 } },
		{ .name = "parts", .repetition = MB_PARQUET_OPTIONAL,
		    .n_children = 1, .group = MB_PARQUET_MAP },
		{ .name = "key_value", .repetition = MB_PARQUET_REPEATED,
		    .n_children = 2 },
		{ .name = "key", .type = { MB_PARQUET_TEXT, 0, 0 } },
		{ .name = "value", .repetition = MB_PARQUET_OPTIONAL,
		    .type = { MB_PARQUET_TEXT, 0, 0 } },
		{ .name = "tags", .repetition = MB_PARQUET_OPTIONAL,
		    .n_children = 1, .group = MB_PARQUET_LIST },
		{ .name = "list", .repetition = MB_PARQUET_REPEATED,
		    .n_children = 1 },
		{ .name = "element", .type = { MB_PARQUET_TEXT, 0, 0 } },
	};
	struct mb_parquet_options o = { .schema = nodes, .version = "0.0.0",
		.n_schema = sizeof nodes / sizeof *nodes, .page_bytes = 2000,
		.codec = mb_parquet_best_codec() };
	struct mb_parquet_writer *w;
	struct mb_parquet_file file;
	int fd = mb_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

	if (fd < 0) {
		mb_fail_sys(&err, "%s", path);
		die();
	}
	if (mb_parquet_writer_open(&w, &o, write_fd, &fd, &err) < 0)
		die();
	for (int i = 0; i < rows; i++) {
		/* Half of it, then not. */
		if (i % 7 == 0) {
			mb_parquet_put_int(mb_parquet_column(w, 0), -1);
			put_text(mb_parquet_column(w, 1), "f", -1);
			put_text(mb_parquet_column(w, 4), "t", -1);
			mb_parquet_repeat(mb_parquet_column(w, 4));
			put_text(mb_parquet_column(w, 4), "t", -1);
			mb_parquet_put_absent(mb_parquet_column(w, 2), 1);
			mb_parquet_drop_row(w);
		}
		nested_row(w, i);
		if (mb_parquet_end_row(w, &err) < 0)
			die();
	}
	if (mb_parquet_finish(w, &file, &err) < 0)
		die();
	mb_parquet_writer_close(w);
	close(fd);
	return 0;
}

static const char *
kind_name(enum mb_parquet_kind kind)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	return "other";
}

static void
print_leaf(const struct mb_parquet_leaf *l)
{
	printf("{\"path\":[");
	for (size_t i = 0; i < l->n_path; i++)
		printf("%s\"%.*s\"", i > 0 ? "," : "", (int)l->path[i].len,
		    l->path[i].p);
	printf("],\"type\":\"%s\",\"precision\":%u,\"scale\":%u,"
	    "\"field_id\":%d,\"top\":%u,\"repeated\":%u}\n",
	    kind_name(l->type.kind), l->type.precision, l->type.scale,
	    (int)l->field_id, l->top, l->repeated);
}

static void
show_value(const union mb_parquet_value *v, const struct mb_parquet_leaf *l)
{
	bool is_bytes = l->physical == MB_PARQUET_P_BYTES ||
	    l->physical == MB_PARQUET_P_FIXED;

	print_value(v, l->type.kind != MB_PARQUET_OTHER || is_bytes ?
	    l->type.kind : MB_PARQUET_INT64);
}

static void
print_entries(const struct mb_parquet_entries *e,
    const struct mb_parquet_leaf *l)
{
	for (size_t i = 0; i < e->n; i++) {
		if (i > 0)
			putchar(',');
		if (l->repeated > 0)
			printf("%u:", e->v[i].level);
		if (e->v[i].level == l->top)
			show_value(&e->v[i].value, l);
		else if (l->repeated == 0)
			printf("\\N");
	}
}

static int
dump_group(struct mb_parquet_reader *r, size_t group)
{
	size_t n = mb_parquet_n_leaves(r);
	struct mb_parquet_cursor **c = mb_realloc_array(NULL, n, sizeof *c);
	struct mb_parquet_entries e;
	int rc = 1;

	for (size_t i = 0; i < n; i++)
		if (mb_parquet_cursor_open(&c[i], r, i, group, &err) < 0)
			die();
	while (rc > 0)
		for (size_t i = 0; i < n; i++) {
			rc = mb_parquet_cursor_row(c[i], &e, &err);
			if (rc < 0) {
				fflush(stdout);
				die();
			}
			if (rc == 0)
				continue;
			print_entries(&e, mb_parquet_leaf(r, i));
			putchar(i + 1 < n ? '\t' : '\n');
		}
	for (size_t i = 0; i < n; i++)
		mb_parquet_cursor_close(c[i]);
	free(c);
	return 0;
}

static int
dump(const char *path)
{
	struct mb_parquet_reader *r;
	int fd = mb_openat(AT_FDCWD, path, O_RDONLY, 0);

	if (fd < 0) {
		mb_fail_sys(&err, "%s", path);
		die();
	}
	if (mb_parquet_reader_open(&r, fd, path, &err) < 0)
		die();
	for (size_t i = 0; i < mb_parquet_n_leaves(r); i++)
		print_leaf(mb_parquet_leaf(r, i));
	putchar('\n');
	for (size_t g = 0; g < mb_parquet_n_groups(r); g++)
		dump_group(r, g);
	mb_parquet_reader_close(r);
	close(fd);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "write") == 0)
		return write_file(argv[2], argv + 3);
	if (argc == 4 && strcmp(argv[1], "nested") == 0)
		return nested(argv[2], (int)strtol(argv[3], NULL, 10));
	if (argc == 3 && strcmp(argv[1], "dump") == 0)
		return dump(argv[2]);
	fprintf(stderr, "usage: parquet dump FILE\n"
	    "       parquet write OUT [OPTION=VALUE ...]\n");
	return 64;
}
