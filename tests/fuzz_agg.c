/*
 * fuzz_agg.c - the fast path against the definition.
 *
 * The same bytes go through lib/agg record by record (MB_ISA_NONE) and many
 * at once, with every set of instructions, in one piece and in several, with
 * one thread and with more.  Rows, rejects, counts and warnings must be the
 * same, byte for byte.
 *
 * Built with -fsanitize=fuzzer -DMB_LIBFUZZER it is a libFuzzer target, for
 * one format if $FUZZ_FORMAT says so.  An input is a few bytes of choices and
 * then text:
 *
 *	0	format, and which query
 *	1	how large the pieces are
 *	2, 3	how many bytes of ordinary records stand in front
 *
 * By itself it makes up records, ordinary and odd ones:
 *
 *	fuzz_agg [-s SECONDS] [-n INPUTS] [-r SEED] [csv|tsv|ndjson|lines ...]
 *	fuzz_agg -c DIR		write some as a corpus
 *
 * It prints the seed; the same seed makes the same inputs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agg/work.h"
#include "record/marks.h"
#include "record/writer.h"

/* A megabyte an input is nothing for libFuzzer. */
#if defined(MB_LIBFUZZER)
enum { HAS_TIME = 0 };
#else
enum { HAS_TIME = 1 };
#endif

struct choice {
	const char *keys, *aggs, *where;
};

static const struct choice choices[] = {
	{ "a", "count,sum:b,avg:b,min:b,max:b", NULL },
	{ "a,c", "count,count:b,sum:b,sum:d,max:d,first:c,last:b", NULL },
	{ NULL, "count,var:b,stddev:d,min:b,max:d,distinct:a", NULL },
	{ "c", "count,sum:b", "b > 10 and (a = 'x' or d is not null)" },
	{ "d", NULL, "not (a in ('x', 'y', 3) or b <= 2.5) or c ~ '^a'" },
	{ "e", "distinct:a,sum:d,count:d", "a = c or b < d" },
	{ "b,a,d", "first:a,last:a,distinct:c,min:d", NULL },
	{ "a,a2=a,c", "avg:d,count", "{d} != 0 and {e} is not null" },
};

enum { N_CHOICES = sizeof choices / sizeof *choices };

static const char *const paths[][2] = {
	/* What c and e are called in ndjson: a path, and a path of two. */
	{ "c", "o.c" }, { "e", "l.1.e" },
};

struct input {
	enum mb_format format;
	const struct choice *choice;
	bool has_nulls, is_nested;
	size_t piece;		/* 0: all at once */
	unsigned n_threads;
	enum mb_isa isa;
	struct mb_str text;
	uint64_t record_limit;
};

static void
die(const char *what, const struct mb_err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->msg);
	abort();
}

/* A list with c and e as paths. */
static char *
nest(const char *list)
{
	struct mb_buf b = { 0 };

	for (const char *p = list; *p != '\0'; p++) {
		bool is_alone = (p == list || strchr("=:, ({", p[-1]) != NULL) &&
		    strchr(", )}=~", p[1]) != NULL;
		const char *path = NULL;

		for (size_t i = 0; i < 2 && is_alone; i++)
			if (*p == paths[i][0][0] && p[1] != '=')
				path = paths[i][1];
		if (path != NULL)
			mb_buf_adds(&b, path);
		else
			mb_buf_addc(&b, *p);
	}
	return mb_buf_take(&b);
}

static void
make_query(struct mb_query *q, const struct input *in, char *texts[3])
{
	const char *const parts[] = { in->choice->keys, in->choice->aggs,
		in->choice->where };
	struct mb_err err = { 0 };

	for (int i = 0; i < 3; i++)
		texts[i] = parts[i] == NULL ? NULL : in->is_nested && i < 2 ?
		    nest(parts[i]) : mb_strdup(parts[i]);
	*q = (struct mb_query){ 0 };
	if ((texts[0] != NULL && mb_query_add_keys(q, texts[0], &err) < 0) ||
	    (texts[1] != NULL &&
	    mb_query_add_aggregates(q, texts[1], &err) < 0) ||
	    (texts[2] != NULL && mb_query_set_where(q, texts[2], &err) < 0) ||
	    mb_query_finish(q, NULL, 0, &err) < 0)
		die("query", &err);
}

/* Feed it in pieces; what isn't taken comes again. */
static void
feed(struct mb_work *w, const struct input *in, struct mb_buf *out)
{
	struct mb_buf b = { 0 };
	struct mb_err err = { 0 };
	struct mb_str data;
	size_t at = 0, n, len;

	do {
		n = in->text.len - at;
		if (in->piece > 0 && n > in->piece)
			n = in->piece;
		/* Memory of exactly this length, for sanitizers to see. */
		len = b.len + n;
		char *p = mb_alloc(len);

		if (b.len > 0)
			memcpy(p, b.p, b.len);
		if (n > 0)
			memcpy(p + b.len, in->text.p + at, n);
		mb_buf_release(&b);
		b = (struct mb_buf){ p, len, len };
		at += n;
		data = (struct mb_str){ b.p, b.len };
		if (mb_work_feed(w, &data, at == in->text.len, &err) < 0) {
			mb_buf_addf(out, "error %s\n", err.msg);
			break;
		}
		memmove(b.p, data.p, data.len);
		b.len = data.len;
	} while (at < in->text.len);
	mb_buf_release(&b);
}

/* Everything that can be seen of it, as text. */
static void
run(struct mb_buf *out, const struct input *in)
{
	static const struct mb_str nulls[] = { { "NA", 2 }, { "7", 1 } };
	struct mb_query q;
	struct mb_names header = { 0 };
	struct mb_stream stream = { .format = in->format, .delimiter =
		mb_delimiter_of(in->format), .off = 1000,
		.record_limit = in->record_limit };
	struct mb_work_config cfg = { .query = &q, .out_format = MB_NDJSON,
		.nulls = nulls, .n_nulls = in->has_nulls ? 2 : 0,
		.n_threads = in->n_threads, .keeps_rejects = true,
		.isa = in->isa };
	const struct mb_row_reject *rejects;
	struct mb_value values[32 * MB_ROWS];
	struct mb_str names[32];
	struct mb_work_counts counts;
	struct mb_err err = { 0 };
	struct mb_work *w;
	char *texts[3];
	size_t n;
	int rc;

	make_query(&q, in, texts);
	if (in->format == MB_LINES) {
		/* There is but one field. */
		mb_query_release(&q);
		q = (struct mb_query){ 0 };
		if (mb_query_add_keys(&q, "line", &err) < 0 ||
		    mb_query_add_aggregates(&q, "count,first:line", &err) < 0 ||
		    mb_query_finish(&q, NULL, 0, &err) < 0)
			die("query", &err);
	}
	for (const char *p = "abcde"; *p != '\0'; p++)
		mb_names_add(&header, (struct mb_str){ p, 1 });
	if (mb_format_has_header(in->format))
		stream.header = &header;
	if (mb_work_open(&w, &cfg, &err) < 0)
		die("open", &err);
	mb_work_reset(w);
	if (mb_work_begin(w, &stream, &err) < 0)
		die("begin", &err);
	feed(w, in, out);
	if (mb_work_finish(w, false, &err) < 0)
		mb_buf_addf(out, "error %s\n", err.msg);
	for (size_t i = 0; i < q.n_keys; i++)
		names[i] = mb_str(q.keys[i].name);
	for (size_t i = 0; i < q.n_aggs; i++)
		names[q.n_keys + i] = mb_str(q.aggs[i].name);
	while ((rc = mb_work_next(w, values, q.n_keys + q.n_aggs, &err)) > 0)
		for (size_t i = 0; i < (size_t)rc; i++)
			mb_write_row(out, MB_NDJSON, ',', names, values +
			    i * (q.n_keys + q.n_aggs), q.n_keys + q.n_aggs);
	if (rc < 0)
		mb_buf_addf(out, "error %s\n", err.msg);
	counts = mb_work_counts(w);
	mb_buf_addf(out, "%" PRIu64 " records, %" PRIu64 " rejects\n",
	    counts.n_records, counts.n_rejects);
	rejects = mb_work_rejects(w, &n);
	for (size_t i = 0; i < n; i++) {
		mb_buf_addf(out, "reject %" PRIu64 " %" PRIu64 " %" PRIu64
		    " %s: ", rejects[i].number, rejects[i].off, rejects[i].end,
		    rejects[i].reason);
		mb_buf_add(out, rejects[i].data.p, rejects[i].data.len);
		mb_buf_addc(out, '\n');
	}
	for (size_t i = 0; i < q.fields.n && in->format == MB_NDJSON; i++)
		mb_buf_addf(out, "saw %zu %d\n", i, mb_work_saw(w, i));
	for (size_t i = 0; i < q.n_numbers; i++)
		mb_buf_addf(out, "lacks %zu %d\n", i,
		    mb_work_lacks_numbers(w, i));
	mb_work_close(w);
	mb_names_release(&header);
	mb_query_release(&q);
	for (int i = 0; i < 3; i++)
		free(texts[i]);
}

static void
compare(const struct mb_buf *want, struct input *in)
{
	struct mb_buf got = { 0 };

	run(&got, in);
	if (got.len == want->len && memcmp(got.p, want->p, got.len) == 0) {
		mb_buf_release(&got);
		return;
	}
	fprintf(stderr, "format %s, query %td, pieces of %zu, %u threads, "
	    "instructions %d, nulls %d, nested %d, limit %" PRIu64 "\n"
	    "input of %zu bytes:\n",
	    mb_format_name(in->format), in->choice - choices, in->piece,
	    in->n_threads, (int)in->isa, in->has_nulls, in->is_nested,
	    in->record_limit, in->text.len);
	fwrite(in->text.p, 1, in->text.len, stderr);
	fprintf(stderr, "\nwant:\n%.*s\ngot:\n%.*s\n", (int)want->len,
	    want->p, (int)got.len, got.p);
	abort();
}

/* Ordinary records, exactly so many bytes of them. */
static void
put_filler(struct mb_buf *out, enum mb_format format, size_t n)
{
	static const char *const records[] = {
		[MB_CSV] = "x,1,y,2.5,z\n", [MB_TSV] = "x\t1\ty\t2.5\tz\n",
		[MB_NDJSON] = "{\"a\":\"x\",\"b\":1,\"c\":\"y\",\"d\":2.5}\n",
		[MB_LINES] = "some line\n",
	};
	const char *record = records[format];
	size_t len = strlen(record), end = out->len + n;

	while (end - out->len >= 2 * len)
		mb_buf_add(out, record, len);
	if (end - out->len < len)
		return;
	/* The last one is longer. */
	n = end - out->len - len;
	if (format == MB_NDJSON) {
		mb_buf_adds(out, "{\"a\":\"x");
		while (n-- > 0)
			mb_buf_addc(out, 'x');
		mb_buf_adds(out, record + 7);
	} else {
		while (n-- > 0)
			mb_buf_addc(out, 'x');
		mb_buf_add(out, record, len);
	}
}

static void
check_input(const uint8_t *data, size_t size)
{
	static const size_t pieces[] = { 0, 1000, 64, 17, 5000, 129 };
	struct mb_buf text = { 0 }, want = { 0 };
	struct input in = { 0 };
	size_t filler;

	if (size < 4)
		return;
	in.format = (enum mb_format)(data[0] % 4);
	in.choice = &choices[data[0] / 4 % N_CHOICES];
	in.is_nested = in.format == MB_NDJSON && data[0] / 32 % 2 != 0;
	in.has_nulls = data[0] / 64 % 4 == 3;
	in.record_limit = data[1] / 16 == 1 ? 100 : data[1] / 16 == 2 ? 40000 :
	    0;
	filler = data[2] % 160;
	if (data[3] % 16 == 0)
		filler += MB_MARKS_REACH - 200;
	else if (data[3] % 16 == 1)
		filler += 256 * 12;
	put_filler(&text, in.format, filler);
	mb_buf_add(&text, data + 4, size - 4);
	in.text = (struct mb_str){ text.p != NULL ? text.p : "", text.len };
	in.isa = MB_ISA_NONE;
	in.n_threads = 1;
	run(&want, &in);
	for (in.isa = MB_ISA_PORTABLE; in.isa <= mb_isa_best(); in.isa++)
		if (mb_isa_is_there(in.isa))
			compare(&want, &in);
	in.isa = mb_isa_best();
	in.piece = pieces[data[1] % 6];
	if (in.piece > 0 && in.piece < text.len / 40)
		in.piece = text.len / 40;	/* not too many */
	compare(&want, &in);
	if (HAS_TIME && data[3] % 64 == 1 && text.len > 0) {
		/* Threads begin to help with the second megabyte. */
		struct mb_buf large = { 0 };

		while (large.len < 1300000) {
			mb_buf_add(&large, text.p, text.len);
			if (text.p[text.len - 1] != '\n')
				mb_buf_addc(&large, '\n');
		}
		in.text = (struct mb_str){ large.p, large.len };
		in.piece = 0;
		in.isa = MB_ISA_NONE;
		mb_buf_reset(&want);
		run(&want, &in);
		in.isa = mb_isa_best();
		in.n_threads = 1 + data[3] / 64 * 2;
		in.piece = 100000 + data[1] * 977u;
		compare(&want, &in);
		mb_buf_release(&large);
	}
	mb_buf_release(&text);
	mb_buf_release(&want);
}

#if defined(MB_LIBFUZZER)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* $FUZZ_FORMAT, whatever the input says. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *name = getenv("FUZZ_FORMAT");
	struct mb_err err = { 0 };
	enum mb_format format;
	uint8_t *copy;

	if (size < 4)
		return 0;
	copy = mb_alloc(size);
	memcpy(copy, data, size);
	if (name != NULL && mb_format_parse(&format, name, &err) == 0)
		copy[0] = (uint8_t)((copy[0] & ~3) | (int)format);
	check_input(copy, size);
	free(copy);
	return 0;
}

#else

static uint64_t state;

static unsigned
draw_from(uint64_t *from, unsigned below)
{
	uint64_t z = *from += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (unsigned)((z ^ z >> 31) % below);
}

static unsigned
draw(unsigned below)
{
	return draw_from(&state, below);
}

/* Now and then, and in some inputs hardly ever. */
static unsigned rarity = 1;
static bool is_fancy;		/* strings of ndjson */

static bool
is_rare(unsigned one_in)
{
	return draw(one_in * rarity) == 0;
}

static const char *
pick(const char *const *texts, unsigned n)
{
	return texts[draw(n)];
}

#define PICK(texts) pick(texts, sizeof texts / sizeof *texts)

static void
put_number(struct mb_buf *out, bool is_json)
{
	static const char *const odd[] = { "1e3", "-1.5E-2",
		"1234567890123456789", "99999999999999999999999999999999999999", "+5", " 7", "8 ",
		"12.", ".5", "0x10", "NaN", "--1", "1.2.3", "-", ".", "-0",
		"-0.0", "123456789012345678.5", "00012", "0.000000000000000001",
		"0.8444218515250481", "1e400", "9223372036854775807",
		"999999999999999999" };
	static const char *const odd_json[] = { "1e3", "-1.5E-2", "-0",
		"12345678901234567890", "0.8444218515250481", "true", "false",
		"null", "01", "1.", "-", ".5", "-.5", "1.2.3", "1-2", "12345678.12345678", "\"7\"", "\"\"",
		"1E+2", "0e1", "tru", "nul", "-01", "123456789" };

	switch (draw(rarity > 1 ? 48 : 12)) {
	case 0:
		mb_buf_adds(out, is_json ? PICK(odd_json) : PICK(odd));
		break;
	case 1:
	case 2:
		mb_buf_addf(out, "%s%u.%0*u", draw(4) == 0 ? "-" : "",
		    draw(1000), (int)(1 + draw(9)), draw(10));
		break;
	case 3:
		mb_buf_addf(out, "%u%09u", draw(1000000000),
		    draw(1000000000));
		break;
	case 4:
		mb_buf_addf(out, "-%u", draw(1000));
		break;
	default:
		mb_buf_addf(out, "%u", draw(draw(2) == 0 ? 20 : 200000));
	}
}

static void
put_text(struct mb_buf *out)
{
	static const char *const texts[] = { "x", "y", "", "abc",
		"longer than twelve", "exactly12byt", "thirteenbytes", "a b", "\xc3\xa9",
		"NA", "7", "7.0", "a", "sixteen bytes!!!", "0" };
	unsigned n;

	if (draw(20) == 0)
		for (n = draw(100); n > 0; n--)
			mb_buf_addc(out, (char)('a' + draw(26)));
	else if (draw(3) == 0)
		mb_buf_addf(out, "k%u", draw(300));
	else
		mb_buf_adds(out, PICK(texts));
}

static void
put_csv_field(struct mb_buf *out, enum mb_format format, bool is_number)
{
	static const char *const odd[] = { "\"a\"\"b\"", "\"\"", "\"x,y\"",
		"\"l\nm\"", "a\"b", "\"a\"b", "\"open", "\r", "a\rb", "\"\r\n\"",
		"\"12\"", "\"", "\"\"\"\"", "\xff", "a\\tb", "\\N" };

	if (draw(30) == 0) {
		mb_buf_adds(out, PICK(odd));
		return;
	}
	if (format == MB_CSV && draw(4) == 0) {
		mb_buf_addc(out, '"');
		is_number ? put_number(out, false) : put_text(out);
		mb_buf_addc(out, '"');
	} else if (draw(15) > 0) {
		is_number ? put_number(out, false) : put_text(out);
	}
}

static void
put_row(struct mb_buf *out, enum mb_format format)
{
	unsigned n = draw(40) == 0 ? draw(8) : 5;

	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			mb_buf_addc(out, format == MB_CSV ? ',' : '\t');
		put_csv_field(out, format, i == 1 || i == 3);
	}
	if (draw(50) == 0)
		mb_buf_adds(out, "\n");
	mb_buf_adds(out, draw(20) == 0 ? "\r\n" : draw(60) == 0 ? "\r" : "\n");
}

static void
put_json_value(struct mb_buf *out, bool is_number)
{
	static const char *const odd[] = { "{\"id\":1}", "[]", "{}", "[1,2]",
		"[{\"e\":1},{\"e\":\"z\"}]", "\"\\u0041\"", "\"\\\"\"",
		"\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\t\"", "\"\xff\"",
		"\"\xc3\xa9\"", "\"\x7f\"", "\"a\\\\\"", "[[[]]]", "nan", "",
		"{\"c\":{\"c\":1}}", "\"\\/\"", "\"unclosed", "\"\\udE00\"", "\"\\\\\\u00e9\\\\\"",
		"\"\xe2\x82\"", "\"\\x\"", "\"\\u12g4\"" };
	static const char *const fancy[] = { "\"say \\\"hi\\\"\"", "\"\\\\\"",
		"\"caf\\u00e9\"", "\"\\/x\"", "\"\\uD83D\\ude00\"", "null",
		"\"\xe2\x82\xac\xf0\x9f\x98\x80\"", "true" };

	if (is_rare(25)) {
		mb_buf_adds(out, PICK(odd));
	} else if (is_fancy && !is_number && draw(20) == 0) {
		mb_buf_adds(out, PICK(fancy));
	} else if (is_number && !is_rare(10)) {
		put_number(out, true);
	} else {
		mb_buf_addc(out, '"');
		put_text(out);
		mb_buf_addc(out, '"');
	}
}

/*
 * What there is beside values depends on `form` alone, so that records repeat
 * it.
 */
static void
put_json_row(struct mb_buf *out, uint64_t form)
{
	static const char *const blanks[] = { "", "", "", "", "", " ", "\t",
		"  " };
	static const char *const keys[] = { "a", "b", "c", "d", "e", "o", "l",
		"f", "long_key_of_more_than_16_bytes", "\xc3\xa9", "o.c",
		"\\u0061", "a key that is longer than any joint could ever be" };
	enum { N_BLANKS = sizeof blanks / sizeof *blanks,
		N_KEYS = sizeof keys / sizeof *keys };
	const char *blank = draw_from(&form, 10) == 0 ?
	    blanks[draw_from(&form, N_BLANKS)] : "";
	unsigned n = draw_from(&form, 10) == 0 ? draw_from(&form, 12) : 5,
	    first = draw_from(&form, 10) == 0 ? draw_from(&form, 5) : 0;

	if (draw_from(&form, 60) == 0)
		mb_buf_adds(out, blanks[draw_from(&form, N_BLANKS)]);
	mb_buf_addf(out, "{%s", blank);
	for (unsigned i = 0; i < n; i++) {
		const char *key = draw_from(&form, 20) == 0 ?
		    keys[draw_from(&form, N_KEYS)] : keys[(i + first) % 8];

		if (i > 0)
			mb_buf_addf(out, ",%s", blank);
		if (is_rare(200))
			mb_buf_adds(out, PICK(blanks));
		mb_buf_addf(out, "\"%s\":%s", key, blank);
		if (*key == 'o' && draw_from(&form, 3) > 0) {
			if (draw_from(&form, 8) == 0) {
				mb_buf_adds(out, "{}");
				continue;
			}
			mb_buf_adds(out, "{\"c\":");
			put_json_value(out, false);
			mb_buf_adds(out, draw_from(&form, 3) == 0 ?
			    ",\"x\":[1,[]]}" : "}");
		} else if (*key == 'l' && draw_from(&form, 3) > 0) {
			mb_buf_adds(out, draw_from(&form, 3) == 0 ?
			    "[{},{\"e\":" : "[null,{\"e\":");
			put_json_value(out, false);
			mb_buf_adds(out, draw_from(&form, 2) == 0 ? "}]" :
			    "},true]");
		} else {
			put_json_value(out, *key == 'b' || *key == 'd');
		}
	}
	mb_buf_addf(out, "%s}", is_rare(100) ? "," : "");
	if (is_rare(80))
		mb_buf_adds(out, draw(2) == 0 ? " x" : "\n \t");
	mb_buf_adds(out, is_rare(20) ? "\r\n" : "\n");
}

static void
put_line(struct mb_buf *out)
{
	put_text(out);
	mb_buf_adds(out, draw(20) == 0 ? "\r\n" : draw(40) == 0 ? "\r" : "\n");
}

/* A whole input for check_input. */
static void
make_input(struct mb_buf *out, enum mb_format format)
{
	/* Thousands, for what is only told by many. */
	unsigned n = draw(60) == 0 ? draw(6000) : draw(4) == 0 ? draw(600) :
	    draw(40);
	unsigned n_forms = draw(3) == 0 ? UINT32_MAX : 1 + draw(5);
	uint64_t forms = state;

	rarity = draw(3) == 0 ? 60 : 1;
	is_fancy = draw(3) == 0;

	mb_buf_reset(out);
	mb_buf_addc(out, (char)(draw(64) * 4 + (unsigned)format));
	for (int i = 0; i < 3; i++)
		mb_buf_addc(out, (char)draw(256));
	for (; n > 0; n--)
		switch (format) {
		case MB_CSV:
		case MB_TSV:
			put_row(out, format);
			break;
		case MB_NDJSON:
			put_json_row(out, forms + draw(n_forms) *
			    (uint64_t)0x94d049bb133111ebu);
			break;
		case MB_LINES:
			put_line(out);
			break;
		}
	/* Now and then damage a few bytes, or cut it off. */
	if (draw(3) == 0)
		for (n = draw(5); n > 0; n--)
			out->p[4 + draw((unsigned)out->len - 3) - 1 + 0] =
			    "\"\\,\n\r{}[]:\t 0.-\x00\xff"[draw(17)];
	if (draw(4) == 0 && out->len > 5)
		out->len -= draw((unsigned)(out->len - 4) < 60 ?
		    (unsigned)(out->len - 4) : 60);
}

static int
write_corpus(const char *dir)
{
	struct mb_buf b = { 0 };
	char path[4096];

	for (int i = 0; i < 400; i++) {
		FILE *f;

		make_input(&b, (enum mb_format)(i % 4));
		snprintf(path, sizeof path, "%s/%03d", dir, i);
		f = fopen(path, "wb");
		if (f == NULL || fwrite(b.p, 1, b.len, f) != b.len ||
		    fclose(f) != 0) {
			perror(path);
			return 75;
		}
	}
	mb_buf_release(&b);
	return 0;
}

int
main(int argc, char **argv)
{
	const char *seed = getenv("MB_SEED"), *corpus = NULL;
	struct mb_err err = { 0 };
	struct mb_buf b = { 0 };
	enum mb_format formats[4] = { MB_CSV, MB_TSV, MB_NDJSON, MB_LINES };
	unsigned long n_inputs = 0, most = 0;
	time_t seconds = 5, end;
	int n_formats = 4;

	state = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-' && i + 1 < argc) {
			switch (argv[i++][1]) {
			case 's':
				seconds = strtol(argv[i], NULL, 10);
				continue;
			case 'n':
				most = strtoul(argv[i], NULL, 10);
				continue;
			case 'r':
				state = strtoull(argv[i], NULL, 10);
				continue;
			case 'c':
				corpus = argv[i];
				continue;
			}
		}
		n_formats = n_formats == 4 ? 0 : n_formats;
		if (n_formats == 4 || mb_format_parse(&formats[n_formats++],
		    argv[i], &err) < 0) {
			fprintf(stderr, "fuzz_agg: %s\n", argv[i]);
			return 64;
		}
	}
	if (corpus != NULL)
		return write_corpus(corpus);
	printf("seed %" PRIu64 "\n", state);
	fflush(stdout);
	end = time(NULL) + seconds;
	for (; most > 0 ? n_inputs < most : time(NULL) < end; n_inputs++) {
		make_input(&b, formats[n_inputs % (unsigned)n_formats]);
		check_input((const uint8_t *)b.p, b.len);
	}
	printf("%lu inputs\n", n_inputs);
	mb_buf_release(&b);
	return 0;
}

#endif
