#include "record/format.h"

#include <string.h>

static const char *const names[] = {
	[MB_CSV] = "csv", [MB_TSV] = "tsv",
	[MB_NDJSON] = "ndjson", [MB_LINES] = "lines",
};

const char *
mb_format_name(enum mb_format f)
{
	return names[f];
}

int
mb_format_parse(enum mb_format *out, const char *name, struct mb_err *err)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(names[i], name) == 0) {
			*out = (enum mb_format)i;
			return 0;
		}
	return mb_fail(err, MB_EUSAGE,
	    "not a format: \"%s\" (csv, tsv, ndjson or lines)", name);
}

static bool
ends_with(struct mb_str s, const char *suffix)
{
	size_t len = strlen(suffix);

	/* A file that is only called ".csv" has no such ending. */
	return s.len > len && s.p[s.len - len - 1] != '/' &&
	    memcmp(s.p + s.len - len, suffix, len) == 0;
}

bool
mb_format_of_name(enum mb_format *out, const char *path)
{
	static const struct {
		const char *suffix;
		enum mb_format format;
	} endings[] = {
		{ ".csv", MB_CSV }, { ".tsv", MB_TSV },
		{ ".ndjson", MB_NDJSON }, { ".jsonl", MB_NDJSON },
		{ ".json", MB_NDJSON },
	};
	struct mb_str s = mb_str(path);

	if (ends_with(s, ".gz"))
		s.len -= 3;
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		if (ends_with(s, endings[i].suffix)) {
			*out = endings[i].format;
			return true;
		}
	return false;
}

enum mb_format
mb_format_of_content(struct mb_str head)
{
	size_t bom = mb_bom_len(head);

	return head.len > bom && head.p[bom] == '{' ? MB_NDJSON : MB_LINES;
}

bool
mb_format_has_header(enum mb_format f)
{
	return f == MB_CSV || f == MB_TSV;
}

int
mb_delimiter_parse(char *out, const char *arg, struct mb_err *err)
{
	char c = arg[0];

	if (strcmp(arg, "\\t") == 0)
		c = '\t';
	else if (strlen(arg) != 1)
		return mb_fail(err, MB_EUSAGE,
		    "not one byte: \"%s\" (try ';' or '\\t')", arg);
	if ((unsigned char)c >= 0x80)
		return mb_fail(err, MB_EUSAGE, "not an ASCII character");
	if (c == '"' || c == '\r' || c == '\n')
		return mb_fail(err, MB_EUSAGE,
		    "a quote or a line end can't be the delimiter");
	*out = c;
	return 0;
}

char
mb_delimiter_of(enum mb_format f)
{
	return f == MB_CSV ? ',' : '\t';
}

size_t
mb_bom_len(struct mb_str head)
{
	return head.len >= 3 && memcmp(head.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}
