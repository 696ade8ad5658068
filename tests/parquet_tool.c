/*
 * parquet write OUT [codec=NAME] [level=N] [page=BYTES] [group=BYTES]
 *
 * Makes a Parquet file of text on standard input, for tests/parquet-interop.
 * The first line is the schema: NAME:TYPE[!] separated by tabs, ! for
 * required, TYPE as in mb's --schema, and int8, int16.  Each further line is a
 * row: values separated by tabs.  \N is null; integers, decimals and what is
 * counted (dates, times) are plain integers; doubles are what strtod reads;
 * text and binary are hexadecimal.  The statistics come out as JSON.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
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

int
main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "write") == 0)
		return write_file(argv[2], argv + 3);
	fprintf(stderr, "usage: parquet write OUT [OPTION=VALUE ...]\n");
	return 64;
}
