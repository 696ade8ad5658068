/*
 * The Delta log: names, actions, schemas, the gate, states from logs of many
 * kinds, statistics, the marker in transactions, rows that wait.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "delta/checkpoint.h"
#include "delta/commit.h"
#include "delta/files.h"
#include "delta/gate.h"
#include "delta/save.h"
#include "delta/state.h"
#include "delta/stats.h"
#include "place.h"
#include "sink/deltamark.h"
#include "sink/deltasmall.h"
#include "sink/held.h"

#define SCHEMA(fields) "{\\\"type\\\":\\\"struct\\\",\\\"fields\\\":[" fields \
	"]}"
#define FIELD(name, type) "{\\\"name\\\":\\\"" name "\\\",\\\"type\\\":\\\"" \
	type "\\\",\\\"nullable\\\":true,\\\"metadata\\\":{}}"
#define META(schema, more) "{\"metaData\":{\"id\":\"m1\",\"format\":" \
	"{\"provider\":\"parquet\",\"options\":{}},\"schemaString\":\"" \
	schema "\",\"partitionColumns\":[],\"configuration\":{" more "}}}\n"
#define PROTOCOL "{\"protocol\":{\"minReaderVersion\":1," \
	"\"minWriterVersion\":2}}\n"
#define PLAIN META(SCHEMA(FIELD("id", "long")), "")

/* A table's log in a directory of its own. */
struct world {
	struct mb_delta_log log;
};

static void
make_world(struct world *w)
{
	assert_int_equal(make_place(false), 0);
	w->log = (struct mb_delta_log){ .place = "t",
		.dirfd = open(place, O_RDONLY | O_DIRECTORY),
		.tmpfd = open(place, O_RDONLY | O_DIRECTORY) };
	assert_true(w->log.dirfd >= 0 && w->log.tmpfd >= 0);
}

static void
end_world(struct world *w)
{
	close(w->log.dirfd);
	close(w->log.tmpfd);
	assert_int_equal(remove_place(), 0);
}

static void
put_file(struct world *w, const char *name, const char *text)
{
	struct mb_err err = { 0 };
	int fd = openat(w->log.dirfd, name, O_WRONLY | O_CREAT | O_TRUNC,
	    0600);

	assert_true(fd >= 0);
	assert_int_equal(mb_write_all(fd, text, strlen(text), name, &err), 0);
	close(fd);
}

static void
put_version(struct world *w, int64_t version, const char *text)
{
	char name[MB_DELTA_NAME];

	mb_delta_commit_name(name, version);
	put_file(w, name, text);
}

static void
remove_version(struct world *w, int64_t version)
{
	char name[MB_DELTA_NAME];

	mb_delta_commit_name(name, version);
	assert_int_equal(unlinkat(w->log.dirfd, name, 0), 0);
}

static void
test_log_names(void **state)
{
	struct mb_delta_listing list;
	struct mb_err err = { 0 };
	struct world w;
	static const char *const names[] = {
		"00000000000000000003.json", "00000000000000000004.json",
		"00000000000000000006.json",
		"00000000000000000004.checkpoint.parquet",
		"00000000000000000003.checkpoint.0000000001.0000000002.parquet",
		"00000000000000000003.checkpoint.0000000002.0000000002.parquet",
		"00000000000000000006.checkpoint.0000000001.0000000002.parquet",
		("00000000000000000004.checkpoint.80a083e8-7026-4e79-81be-"
		    "64bd76c43a11.json"),
		/* none of these */
		"0000000000000000007.json", "00000000000000000004.json.tmp",
		"00000000000000000004.00000000000000000006.compacted.json",
		"00000000000000000004.crc", "_last_checkpoint", "x.json",
		"99999999999999999999.json",
		"00000000000000000009.checkpoint.0000000003.0000000002.parquet",
	};

	(void)state;
	make_world(&w);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		put_file(&w, names[i], "x");
	put_file(&w, "00000000000000000008.checkpoint.parquet", "");
	assert_int_equal(mb_delta_log_list(&list, &w.log, &err), 0);
	assert_int_equal(list.first, 3);
	assert_int_equal(list.last, 6);
	/* Parts are missing of one, another is empty. */
	assert_int_equal(list.n, 3);
	assert_int_equal(list.v[0].version, 3);
	assert_int_equal(list.v[0].parts, 2);
	assert_int_equal(list.v[1].version, 4);
	assert_string_equal(list.v[1].uuid,
	    "80a083e8-7026-4e79-81be-64bd76c43a11");
	assert_true(list.v[1].is_json);
	assert_string_equal(list.v[2].uuid, "");
	mb_delta_listing_release(&list);
	end_world(&w);
}

static void
test_a_version_is_written_once(void **state)
{
	struct mb_err err = { 0 };
	struct mb_buf text = { 0 };
	struct mb_stage *one, *two;
	struct world w;

	(void)state;
	make_world(&w);
	assert_int_equal(mb_delta_log_stage(&one, &w.log, 0, MB_STR("one\n"),
	    &err), 0);
	assert_int_equal(mb_delta_log_stage(&two, &w.log, 0, MB_STR("two\n"),
	    &err), 0);
	assert_int_equal(mb_delta_log_has(&w.log, 0, NULL, &err), 0);
	assert_int_equal(mb_delta_log_add(&w.log, one, &err), 0);
	assert_int_equal(mb_delta_log_add(&w.log, two, &err), -1);
	assert_int_equal(err.code, MB_EEXIST);
	err = (struct mb_err){ 0 };
	assert_int_equal(mb_delta_log_read(&w.log, "00000000000000000000.json",
	    &text, &err), 1);
	assert_string_equal(mb_buf_str(&text), "one\n");
	mb_buf_release(&text);
	end_world(&w);
}

/* Loads and says: the version, or -2 and the error. */
static int64_t
load(struct world *w, struct mb_delta_state *s, struct mb_err *err)
{
	*err = (struct mb_err){ 0 };
	return mb_delta_state_load(s, &w->log, err) < 0 ? -2 : s->version;
}

static void
test_state_of_commits(void **state)
{
	struct mb_delta_state s = { .version = -1 };
	struct mb_err err;
	struct world w;
	int64_t version;

	(void)state;
	make_world(&w);
	assert_int_equal(load(&w, &s, &err), -1);
	put_version(&w, 0, "{\"commitInfo\":{\"x\":123456789012345678901234}}"
	    "\n{\"future\":{\"a\":[1,{}]}}\n" PROTOCOL PLAIN
	    "{\"txn\":{\"appId\":\"a\",\"version\":7}}\n"
	    "{\"add\":{\"path\":\"f\",\"new\":1}}");
	put_version(&w, 1, "\n{\"txn\":{\"appId\":\"a\",\"version\":-3,"
	    "\"lastUpdated\":9}}\r\n{\"domainMetadata\":{\"domain\":\"d\","
	    "\"configuration\":\"c\",\"removed\":false}}\n");
	assert_int_equal(load(&w, &s, &err), 1);
	assert_int_equal(s.schema.n, 1);
	assert_string_equal(s.meta.id, "m1");
	assert_true(mb_delta_state_txn(&s, "a", &version));
	assert_int_equal(version, -3);
	assert_int_equal(s.txns[0].updated_ms, 9);
	assert_int_equal(s.domains.n, 1);
	assert_non_null(s.domain_texts[0]);
	/* What comes is read; a removed domain is none. */
	put_version(&w, 2, "{\"domainMetadata\":{\"domain\":\"d\","
	    "\"configuration\":\"\",\"removed\":true}}\n");
	put_version(&w, 3, "{\"commitInfo\":{\"txnId\":\"mine\"}}\n"
	    META(SCHEMA(FIELD("id", "long") "," FIELD("n", "decimal(5,2)")),
	    "\"a\":\"b\""));
	s.awaits = "mine";
	assert_int_equal(mb_delta_state_advance(&s, &w.log, &err), 0);
	assert_int_equal(s.version, 3);
	assert_true(s.has_seen);
	assert_null(s.domain_texts[0]);
	assert_int_equal(s.schema.n, 2);
	assert_string_equal(mb_delta_property(&s.meta, "a"), "b");
	mb_delta_state_release(&s);
	end_world(&w);
}

static void
test_bad_logs(void **state)
{
	static const struct {
		const char *v0, *v1, *v3, *message;
	} cases[] = {
		{ PROTOCOL, "", NULL, "no protocol or metaData" },
		{ PLAIN, "", NULL, "no protocol or metaData" },
		{ PROTOCOL PLAIN, "{\"txn\":{}}", NULL, "without appId" },
		{ PROTOCOL PLAIN, "{\"txn\":", NULL, "not an action" },
		{ PROTOCOL PLAIN, "[]", NULL, "not an action" },
		{ PROTOCOL PLAIN, "{\"protocol\":{\"minReaderVersion\":\"1\"}}",
		    NULL, "without its versions" },
		{ PROTOCOL PLAIN, "{\"metaData\":{\"id\":\"x\"}}", NULL,
		    "without id or schema" },
		{ PROTOCOL PLAIN, META("[]", ""), NULL, "not a struct" },
		{ PROTOCOL PLAIN, META(SCHEMA("{}"), ""), NULL,
		    "without a name" },
		{ PROTOCOL PLAIN, "", PROTOCOL, "version 2 is missing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_delta_state s = { .version = -1 };
		struct mb_err err;
		struct world w;

		make_world(&w);
		put_version(&w, 0, cases[i].v0);
		put_version(&w, 1, cases[i].v1);
		if (cases[i].v3 != NULL)
			put_version(&w, 3, cases[i].v3);
		if (load(&w, &s, &err) != -2 || err.code != MB_ECORRUPT ||
		    strstr(err.msg, cases[i].message) == NULL)
			fail_msg("case %zu: %s", i, err.msg);
		mb_delta_state_release(&s);
		end_world(&w);
	}
}

static void
test_a_log_is_watched(void **state)
{
	struct mb_delta_state s = { .version = -1 };
	struct mb_err err;
	struct world w;

	(void)state;
	make_world(&w);
	put_version(&w, 0, PROTOCOL PLAIN);
	put_version(&w, 1, "");
	assert_int_equal(load(&w, &s, &err), 1);
	/* A gap that opens must not be written into. */
	put_version(&w, 3, "");
	assert_int_equal(mb_delta_state_advance(&s, &w.log, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	put_version(&w, 2, "");
	assert_int_equal(load(&w, &s, &err), 3);
	/* Dropped and made anew, with more versions than before. */
	for (int i = 0; i < 4; i++)
		remove_version(&w, i);
	for (int i = 0; i < 6; i++)
		put_version(&w, i, i == 0 ? PROTOCOL PLAIN : "\n");
	assert_int_equal(mb_delta_state_advance(&s, &w.log, &err), -1);
	assert_int_equal(err.code, MB_ECORRUPT);
	assert_non_null(strstr(err.msg, "dropped"));
	/* A log that begins later, without a checkpoint. */
	remove_version(&w, 0);
	assert_int_equal(load(&w, &s, &err), -2);
	assert_non_null(strstr(err.msg, "begins with version 1"));
	mb_delta_state_release(&s);
	end_world(&w);
}

/* What others may write, and what nobody should. */
static void
test_odd_logs(void **state)
{
	struct mb_delta_state s = { .version = -1 };
	struct mb_delta_files files = { 0 };
	struct mb_err err;
	struct world w;
	int64_t version;

	(void)state;
	make_world(&w);
	put_version(&w, 0, "{\"commitInfo\":null,\"protocol\":null}\n"
	    "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,"
	    "\"readerFeatures\":[\"deletionVectors\",null,7],"
	    "\"writerFeatures\":[\"deletionVectors\"],\"newer\":{}}}\n"
	    "{\"metaData\":{\"id\":\"m1\",\"name\":null,\"newer\":[null,"
	    "{\"x\":[]}],\"format\":{\"provider\":\"parquet\",\"options\":"
	    "null},\"schemaString\":\"" SCHEMA(FIELD("id", "long"))
	    "\",\"partitionColumns\":[],\"configuration\":{\"a\":null,"
	    "\"b\":7},\"createdTime\":null}}\n");
	/* A commit of nothing; one of an engine that doesn't say who it is. */
	put_version(&w, 1, "");
	put_version(&w, 2, "{\"add\":{\"path\":\"f\",\"partitionValues\":{},"
	    "\"size\":1,\"modificationTime\":1,\"dataChange\":true,\"stats\":"
	    "null,\"tags\":null,\"deletionVector\":null,\"baseRowId\":null}}"
	    "\n{\"add\":{\"path\":\"g\",\"deletionVector\":{\"storageType\":"
	    "\"i\",\"pathOrInlineDv\":\"xx\"}}}\n{\"remove\":{\"path\":\"g\""
	    "}}\n{\"cdc\":{\"path\":\"f\"}}\n{\"txn\":null}\n{\"txn\":{"
	    "\"appId\":\"a\",\"version\":0,\"lastUpdated\":null}}\n");
	assert_int_equal(load(&w, &s, &err), 2);
	assert_int_equal(mb_delta_gate_append(&s.protocol, &s.meta, &s.schema,
	    &err), 0);
	assert_null(mb_delta_property(&s.meta, "a"));
	assert_string_equal(mb_delta_property(&s.meta, "b"), "7");
	assert_true(mb_delta_state_txn(&s, "a", &version));
	assert_int_equal(s.txns[0].updated_ms, -1);
	assert_false(s.totals.is_known);
	/* With a deletion vector and without it are two files. */
	assert_int_equal(mb_delta_files_read_tail(&files, &s, &w.log, &err),
	    0);
	assert_int_equal(files.keys.n, 3);
	mb_delta_files_release(&files);
	/* No number can grow beyond what there is. */
	put_version(&w, 3, "{\"metaData\":{\"id\":\"m1\",\"schemaString\":\""
	    SCHEMA(FIELD("id", "long")) "\",\"configuration\":{"
	    "\"delta.enableInCommitTimestamps\":\"true\","
	    "\"delta.checkpointInterval\":\"99999999999999999999\"}}}\n"
	    "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":7,"
	    "\"writerFeatures\":[7,\"inCommitTimestamp\",null]}}\n"
	    "{\"commitInfo\":{\"inCommitTimestamp\":9223372036854775807}}\n");
	put_version(&w, 4, "{\"commitInfo\":{\"engineInfo\":\"mb/1\","
	    "\"inCommitTimestamp\":9223372036854775807}}\n"
	    "{\"add\":{\"path\":\"h\",\"size\":9223372036854775807}}\n"
	    "{\"add\":{\"path\":\"i\",\"size\":9223372036854775807}}\n"
	    "{\"remove\":{\"path\":\"k\",\"size\":-9223372036854775808}}\n");
	/* These are no versions. */
	put_file(&w, "09223372036854775807.json", "");
	put_file(&w, "04611686018427387904.json", "");
	s.totals = (struct mb_delta_totals){ .is_known = true };
	assert_int_equal(mb_delta_state_advance(&s, &w.log, &err), 0);
	assert_int_equal(s.version, 4);
	assert_false(s.totals.is_known);
	assert_false(mb_delta_save_is_due(&s));
	assert_int_equal(mb_delta_state_next_time(&s, 5), INT64_MAX);
	assert_int_equal(load(&w, &s, &err), 4);
	/* Of such sizes a checkpoint has no sum. */
	assert_int_equal(mb_delta_save(&s, &w.log, 5000, &err), 0);
	assert_false(s.totals.is_known);
	assert_int_equal(load(&w, &s, &err), 4);
	assert_int_equal(s.checkpoint.version, 4);
	assert_int_equal(s.protocol.writer_features.n, 1);
	mb_delta_state_release(&s);
	end_world(&w);
}

/* _last_checkpoint is a hint, and a checkpoint may be torn. */
static void
test_hints_that_lie(void **state)
{
	static const char *const hints[] = {
		"", "{", "[]", "null", "{}", "{\"version\":\"3\"}",
		"{\"version\":3}", ("{\"version\":3,\"newer\":{},\"size\":-1,"
		    "\"sizeInBytes\":-9223372036854775808}"),
		"{\"version\":3,\"parts\":1}", "{\"version\":3,\"parts\":0}",
		"{\"version\":3,\"parts\":4294967296}",
		"{\"version\":3,\"parts\":null}",
		"{\"version\":2}", "{\"version\":4}", "{\"version\":99}",
		"{\"version\":-1}", "{\"version\":9223372036854775807}",
		"{\"version\":9223372036854775806,\"parts\":4294967295}",
	};
	struct mb_delta_state s = { .version = -1 };
	struct mb_err err;
	struct world w;
	int64_t version;

	(void)state;
	make_world(&w);
	put_version(&w, 0, PROTOCOL PLAIN "{\"txn\":{\"appId\":\"a\","
	    "\"version\":1}}\n");
	for (int i = 1; i < 4; i++)
		put_version(&w, i, "");
	assert_int_equal(load(&w, &s, &err), 3);
	assert_int_equal(mb_delta_save(&s, &w.log, 0, &err), 0);
	put_version(&w, 4, "{\"txn\":{\"appId\":\"b\",\"version\":2}}\n");
	for (size_t torn = 0; torn < 2; torn++) {
		for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
			put_file(&w, "_last_checkpoint", hints[i]);
			if (load(&w, &s, &err) != 4 ||
			    s.checkpoint.version != (torn ? -1 : 3) ||
			    !mb_delta_state_txn(&s, "a", &version) ||
			    !mb_delta_state_txn(&s, "b", &version))
				fail_msg("%s: %s", hints[i], err.msg);
		}
		put_file(&w, "00000000000000000003.checkpoint.parquet",
		    "PAR1 and no more");
	}
	/* Nothing else knows what was before it: then it is an error. */
	for (int i = 0; i < 3; i++)
		remove_version(&w, i);
	assert_int_equal(load(&w, &s, &err), -2);
	mb_delta_state_release(&s);
	end_world(&w);
}

/* Gives what it is told to a buffer. */
static int
collect(void *arg, struct mb_str line, struct mb_err *err)
{
	(void)err;
	mb_buf_add(arg, line.p, line.len);
	mb_buf_addc(arg, '\n');
	return 0;
}

/* Everything that a checkpoint must keep, through one and back. */
static void
test_checkpoints_keep_everything(void **state)
{
	static const char v1[] =
	    "{\"add\":{\"path\":\"a b%20\",\"partitionValues\":{\"p\":\"x\","
	    "\"q\":null},\"size\":5,\"modificationTime\":6,\"dataChange\":"
	    "true,\"stats\":\"{\\\"numRecords\\\":1}\",\"tags\":{\"t\":"
	    "\"u\"},\"deletionVector\":{\"storageType\":\"u\","
	    "\"pathOrInlineDv\":\"vv\",\"offset\":1,\"sizeInBytes\":36,"
	    "\"cardinality\":2},\"baseRowId\":3,\"defaultRowCommitVersion\":4,"
	    "\"clusteringProvider\":\"c\"}}\n"
	    "{\"add\":{\"path\":\"gone\",\"partitionValues\":{},\"size\":1,"
	    "\"modificationTime\":1,\"dataChange\":true}}\n"
	    "{\"add\":{\"path\":\"plain\",\"partitionValues\":{},\"size\":1,"
	    "\"modificationTime\":1,\"dataChange\":true}}\n"
	    "{\"txn\":{\"appId\":\"a\",\"version\":-7,\"lastUpdated\":8}}\n"
	    "{\"txn\":{\"appId\":\"b\",\"version\":1}}\n"
	    "{\"domainMetadata\":{\"domain\":\"d\",\"configuration\":\"{}\","
	    "\"removed\":false}}\n";
	static const char v2[] =
	    "{\"remove\":{\"path\":\"gone\",\"deletionTimestamp\":1000,"
	    "\"dataChange\":true}}\n"
	    "{\"remove\":{\"path\":\"old\",\"deletionTimestamp\":10,"
	    "\"dataChange\":true}}\n";
	static const char *const kept[] = {
		"{\"add\":{\"path\":\"a b%20\",\"partitionValues\":{\"p\":"
		    "\"x\",\"q\":null},\"size\":5,\"modificationTime\":6,"
		    "\"dataChange\":false,\"stats\":\"{\\\"numRecords\\\":1}\","
		    "\"tags\":{\"t\":\"u\"},\"deletionVector\":{"
		    "\"storageType\":\"u\",\"pathOrInlineDv\":\"vv\","
		    "\"offset\":1,\"sizeInBytes\":36,\"cardinality\":2},"
		    "\"baseRowId\":3,\"defaultRowCommitVersion\":4,"
		    "\"clusteringProvider\":\"c\"}}\n",
		"{\"add\":{\"path\":\"plain\",\"partitionValues\":{},"
		    "\"size\":1,\"modificationTime\":1,\"dataChange\":"
		    "false}}\n",
		"{\"remove\":{\"path\":\"gone\",\"deletionTimestamp\":1000,"
		    "\"dataChange\":false}}\n",
		"{\"txn\":{\"appId\":\"a\",\"version\":-7,\"lastUpdated\":8}}"
		    "\n",
		"{\"txn\":{\"appId\":\"b\",\"version\":1}}\n",
		"{\"domainMetadata\":{\"domain\":\"d\",\"configuration\":"
		    "\"{}\",\"removed\":false}}\n",
	};
	const int64_t now = INT64_C(7) * 86400000 + 500;
	struct mb_delta_state s = { .version = -1 };
	struct mb_buf text = { 0 };
	struct mb_err err;
	struct world w;
	int64_t version;

	(void)state;
	make_world(&w);
	put_version(&w, 0, PROTOCOL PLAIN);
	put_version(&w, 1, v1);
	put_version(&w, 2, v2);
	assert_int_equal(load(&w, &s, &err), 2);
	/* The second from the first: a file that streams past. */
	for (int i = 0; i < 2; i++) {
		if (mb_delta_save(&s, &w.log, now, &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(s.checkpoint.version, 2 + i);
		mb_buf_reset(&text);
		if (mb_delta_checkpoint_read(&w.log, &s.checkpoint,
		    MB_DELTA_WANTS_STATE | MB_DELTA_WANTS_FILES, collect,
		    &text, &err) != 1)
			fail_msg("%s", err.msg);
		for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
			if (strstr(mb_buf_str(&text), kept[k]) == NULL)
				fail_msg("%d: lacks %s in\n%s", i, kept[k],
				    mb_buf_str(&text));
		assert_null(strstr(text.p, "\"path\":\"old\""));
		assert_null(strstr(text.p, "{\"add\":{\"path\":\"gone\""));
		put_version(&w, 3, "{\"txn\":{\"appId\":\"c\",\"version\":0}}"
		    "\n");
		if (i == 0)
			assert_int_equal(mb_delta_state_advance(&s, &w.log,
			    &err), 0);
	}
	/* By the hint, and without it, from a log that was trimmed. */
	for (int i = 0; i < 3; i++)
		remove_version(&w, i);
	for (int i = 0; i < 2; i++) {
		if (load(&w, &s, &err) != 3)
			fail_msg("%s", err.msg);
		assert_true(mb_delta_state_txn(&s, "a", &version));
		assert_int_equal(version, -7);
		assert_true(mb_delta_state_txn(&s, "c", &version));
		assert_int_equal(s.schema.n, 1);
		unlinkat(w.log.dirfd, "_last_checkpoint", 0);
	}
	/* A damaged one is no reason to give up, if there is another way. */
	put_file(&w, "00000000000000000003.checkpoint.parquet", "PAR1 damaged");
	assert_int_equal(load(&w, &s, &err), -2);
	put_version(&w, 2, v2);
	assert_int_equal(load(&w, &s, &err), 3);
	assert_int_equal(s.checkpoint.version, 2);
	/* Its own commit must be there. */
	unlinkat(w.log.dirfd, "00000000000000000003.checkpoint.parquet", 0);
	remove_version(&w, 2);
	assert_int_equal(load(&w, &s, &err), -2);
	mb_buf_release(&text);
	mb_delta_state_release(&s);
	end_world(&w);
}

static void
test_when_a_checkpoint_is_due(void **state)
{
	static const struct {
		const char *properties;
		int64_t version, checkpoint;
		uint64_t size, tail;
		bool is_due;
	} cases[] = {
		{ "", 8, -1, 0, 1000, false },
		{ "", 9, -1, 0, 1000, true },
		{ "", 20, 10, 1000, 1999, false },
		{ "", 20, 10, 1000, 2000, true },
		{ "", 109, 10, 1000, 125, false },
		{ "", 110, 10, 1000, 124, false },
		{ "", 110, 10, 1000, 125, true },
		{ "", 1009, 10, 1000, 1, false },
		{ "", 1010, 10, 1000, 1, true },
		{ "\"delta.checkpointInterval\":\"3\"", 12, 10, 9, 99, false },
		{ "\"delta.checkpointInterval\":\"3\"", 13, 10, 9, 0, true },
		{ "\"delta.checkpoint.writeStatsAsStruct\":\"true\"", 999, -1,
		    0, 99, true },
		{ "\"delta.checkpoint.writeStatsAsJson\":\"false\"", 999, -1,
		    0, 99, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_delta_state s = { .version = cases[i].version,
			.checkpoint = { .version = cases[i].checkpoint,
			.size = cases[i].size }, .tail_bytes = cases[i].tail };
		struct mb_buf text = { 0 };
		struct mb_err err = { 0 };

		mb_buf_addf(&text, "{\"id\":\"x\",\"schemaString\":\"\","
		    "\"configuration\":{%s}}", cases[i].properties);
		assert_int_equal(mb_delta_meta_parse(&s.meta, (struct mb_str){
		    text.p, text.len }, &err), 0);
		if (mb_delta_save_is_due(&s) != cases[i].is_due)
			fail_msg("case %zu", i);
		mb_delta_meta_release(&s.meta);
		mb_buf_release(&text);
	}
}

static void
test_intervals(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{ "interval 1 week", 604800000 }, { "interval 30 days",
		    INT64_C(2592000000) }, { "1 HOUR", 3600000 },
		{ "interval 5 minutes", 300000 }, { "interval 0 seconds", 0 },
		{ "interval 1 month", -1 }, { "week", -1 }, { "", -1 },
		{ "interval -1 week", -1 }, { "interval 1 week 2 days", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int64_t ms = -1;

		if (mb_delta_parse_interval(cases[i].text, &ms) !=
		    (cases[i].ms >= 0) || ms != cases[i].ms)
			fail_msg("\"%s\": %lld", cases[i].text, (long long)ms);
	}
}

static void
test_gate(void **state)
{
#define P(r, w, more) "{\"minReaderVersion\":" #r ",\"minWriterVersion\":" #w \
	more "}"
#define COLUMN(more) "{\"name\":\"c\",\"type\":\"long\",\"nullable\":true," \
	"\"metadata\":{" more "}}"
	static const struct {
		const char *protocol, *properties, *columns, *refusal;
	} cases[] = {
		{ P(1, 2, ""), "", COLUMN(""), NULL },
		{ P(2, 6, ""), "\"delta.enableChangeDataFeed\":\"true\","
		    "\"delta.appendOnly\":\"true\"", COLUMN(""), NULL },
		{ P(3, 7, ",\"readerFeatures\":[\"deletionVectors\"],"
		    "\"writerFeatures\":[\"deletionVectors\",\"invariants\","
		    "\"columnMapping\",\"v2Checkpoint\",\"rowTracking\"]"), "",
		    COLUMN("\"comment\":\"x\""), NULL },
		{ P(3, 7, ",\"readerFeatures\":[\"catalogManaged\"],"
		    "\"writerFeatures\":[]"), "", COLUMN(""),
		    "catalogManaged" },
		{ P(1, 7, ",\"writerFeatures\":[\"appendOnly\",\"clustering\"]"
		    ), "", COLUMN(""), "clustering" },
		{ P(4, 7, ""), "", COLUMN(""), "reader of version 4" },
		{ P(1, 8, ""), "", COLUMN(""), "writer of version 8" },
		{ P(2, 5, ""), "\"delta.columnMapping.mode\":\"name\"",
		    COLUMN(""), "delta.columnMapping.mode" },
		{ P(2, 5, ""), "\"delta.columnMapping.mode\":\"none\"",
		    COLUMN(""), NULL },
		{ P(1, 3, ""), "\"delta.constraints.pos\":\"c > 0\"",
		    COLUMN(""), "delta.constraints.pos" },
		{ P(1, 7, ""), "\"delta.enableRowTracking\":\"true\"",
		    COLUMN(""), "delta.enableRowTracking" },
		{ P(1, 7, ""), "\"delta.enableInCommitTimestamps\":\"true\"",
		    COLUMN(""), NULL },
		{ P(1, 2, ""), "\"delta.setTransactionRetentionDuration\":"
		    "\"interval 1 week\"", COLUMN(""),
		    "delta.setTransactionRetentionDuration" },
		{ P(1, 2, ""), "", COLUMN("\"delta.invariants\":\"x\""),
		    "an invariant" },
		{ P(1, 4, ""), "",
		    COLUMN("\"delta.generationExpression\":\"x\""),
		    "a generation expression" },
		{ P(1, 6, ""), "", COLUMN("\"delta.identity.start\":1"),
		    "identity values" },
		{ P(1, 7, ""), "", COLUMN("\"CURRENT_DEFAULT\":\"1\""),
		    "a default value" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_delta_protocol p = { 0 };
		struct mb_delta_meta m = { 0 };
		struct mb_delta_schema s = { 0 };
		struct mb_buf text = { 0 }, schema = { 0 };
		struct mb_err err = { 0 };
		int rc;

		mb_buf_addf(&schema, "{\"type\":\"struct\",\"fields\":[%s]}",
		    cases[i].columns);
		mb_buf_addf(&text, "{\"id\":\"x\",\"schemaString\":\"\","
		    "\"format\":{\"provider\":\"parquet\"},"
		    "\"configuration\":{%s}}", cases[i].properties);
		assert_int_equal(mb_delta_protocol_parse(&p,
		    mb_str(cases[i].protocol), &err), 0);
		assert_int_equal(mb_delta_meta_parse(&m, (struct mb_str){
		    text.p, text.len }, &err), 0);
		free(m.schema);
		m.schema = mb_buf_take(&schema);
		assert_int_equal(mb_delta_schema_parse(&s, &m, &err), 0);
		rc = mb_delta_gate_append(&p, &m, &s, &err);
		if ((rc == 0) != (cases[i].refusal == NULL) || (rc < 0 &&
		    (err.code != MB_EDATA ||
		    strstr(err.msg, cases[i].refusal) == NULL)))
			fail_msg("case %zu: %s", i, err.msg);
		mb_delta_schema_release(&s);
		mb_delta_meta_release(&m);
		mb_delta_protocol_release(&p);
		mb_buf_release(&text);
	}
}

static void
test_schemas_are_edited_as_text(void **state)
{
	static const struct mb_delta_new_column more[] = {
		{ "é\"", { .kind = MB_PARQUET_DECIMAL, .precision = 38,
		    .scale = 2 } },
		{ "n", { .kind = MB_PARQUET_TIMESTAMP_NTZ } },
	};
	static const char added[] = "{\"name\":\"é\\\"\",\"type\":"
	    "\"decimal(38,2)\",\"nullable\":true,\"metadata\":{}},"
	    "{\"name\":\"n\",\"type\":\"timestamp_ntz\",\"nullable\":true,"
	    "\"metadata\":{}}";
	static const struct {
		const char *old, *before, *after;
	} cases[] = {
		{ NULL, "{\"type\":\"struct\",\"fields\":[", "]}" },
		{ "{ \"type\":\"struct\", \"fields\": [ ] , \"x\":1}",
		    "{ \"type\":\"struct\", \"fields\": [ ", "] , \"x\":1}" },
		{ "{\"fields\":[{\"name\":\"a\",\"type\":\"long\",\"metadata\":"
		    "{\"k\":[1,\"]\"]}}],\"type\":\"struct\"}",
		    "{\"fields\":[{\"name\":\"a\",\"type\":\"long\","
		    "\"metadata\":{\"k\":[1,\"]\"]}},", "],\"type\":\"struct\"}"
		},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_buf out = { 0 }, expected = { 0 };

		mb_delta_schema_put(&out, cases[i].old, more, 2);
		mb_buf_addf(&expected, "%s%s%s", cases[i].before, added,
		    cases[i].after);
		assert_string_equal(mb_buf_str(&out), mb_buf_str(&expected));
		mb_buf_release(&out);
		mb_buf_release(&expected);
	}
}

static void
test_types(void **state)
{
	static const struct {
		const char *text;
		bool is_flat;
	} cases[] = {
		{ "boolean", true }, { "byte", true }, { "short", true },
		{ "integer", true }, { "long", true }, { "float", true },
		{ "double", true }, { "string", true }, { "binary", true },
		{ "date", true }, { "timestamp", true },
		{ "timestamp_ntz", true }, { "decimal(38,38)", true },
		{ "decimal(10,0)", true }, { "decimal(39,0)", false },
		{ "decimal(5,6)", false }, { "decimal(0,0)", false },
		{ "void", false }, { "variant", false },
		{ "interval day", false }, { "decimal(5,2) ", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_parquet_type t;
		struct mb_buf out = { 0 };

		if (mb_delta_type_parse(&t, cases[i].text) != cases[i].is_flat)
			fail_msg("%s", cases[i].text);
		if (cases[i].is_flat) {
			mb_delta_type_format(&out, t);
			assert_string_equal(mb_buf_str(&out), cases[i].text);
		}
		mb_buf_release(&out);
	}
}

static void
test_stats(void **state)
{
	static const char long_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct mb_parquet_stats v[] = {
		{ .n_nulls = 1, .has_bounds = true, .min.i = INT64_MIN,
		    .max.i = INT64_MAX },
		{ .has_bounds = true, .min.d = -0.0, .max.d = 1e300 },
		{ .has_bounds = true, .n_nans = 1, .min.d = 1.5, .max.d = 2 },
		{ .has_bounds = true, .min.bytes = MB_STR("\"\\\n"),
		    .max.bytes = { long_a, sizeof long_a - 1 } },
		{ .has_bounds = true, .min.i = -1, .max.i = 20780 },
		{ .has_bounds = true, .min.i = -1, .max.i = 1 },
		{ .has_bounds = true, .min.i = 1999, .max.i = 2000 },
		{ .has_bounds = true, .min.decimal = -5, .max.decimal = 12345 },
		{ .n_nulls = 3 },
		{ .has_bounds = true, .min.i = 0, .max.i = 1 },
		{ .has_bounds = true, .min.bytes = MB_STR("a"),
		    .max.bytes = MB_STR("b") },
	};
	static const struct mb_parquet_type types[] = {
		{ .kind = MB_PARQUET_INT64 }, { .kind = MB_PARQUET_DOUBLE },
		{ .kind = MB_PARQUET_FLOAT }, { .kind = MB_PARQUET_TEXT },
		{ .kind = MB_PARQUET_DATE }, { .kind = MB_PARQUET_TIMESTAMP },
		{ .kind = MB_PARQUET_TIMESTAMP_NTZ },
		{ .kind = MB_PARQUET_DECIMAL, .precision = 9, .scale = 2 },
		{ .kind = MB_PARQUET_INT32 }, { .kind = MB_PARQUET_BOOL },
		{ .kind = MB_PARQUET_BINARY },
	};
	static const char *const names[] = { "i", "d", "f", "s", "day", "t",
		"n", "c", "null", "b", "x" };
	enum { N = sizeof names / sizeof *names };
	struct mb_delta_stat columns[N];
	struct mb_delta_meta m = { 0 };
	struct mb_buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < N; i++)
		columns[i] = (struct mb_delta_stat){ names[i], types[i],
			&v[i] };
	mb_delta_stats_put(&out, 3, columns, N, &m);
	assert_string_equal(mb_buf_str(&out), "{\"numRecords\":3,"
	    "\"minValues\":{\"i\":-9223372036854775808,\"d\":-0.0,\"f\":1.5,"
	    "\"s\":\"\\\"\\\\\\n\",\"day\":\"1969-12-31\","
	    "\"t\":\"1969-12-31T23:59:59.999Z\","
	    "\"n\":\"1970-01-01T00:00:00.001\",\"c\":-0.05,\"b\":false},"
	    "\"maxValues\":{\"i\":9223372036854775807,\"d\":1e300,"
	    "\"s\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\",\"day\":\"2026-11-23\","
	    "\"t\":\"1970-01-01T00:00:00.001Z\","
	    "\"n\":\"1970-01-01T00:00:00.002\",\"c\":123.45,\"b\":true},"
	    "\"nullCount\":{\"i\":1,\"d\":0,\"f\":0,\"s\":0,\"day\":0,\"t\":0,"
	    "\"n\":0,\"c\":0,\"null\":3,\"b\":0,\"x\":0},\"tightBounds\":true}");
	/* Properties choose the columns. */
	mb_names_add(&m.keys, MB_STR("delta.dataSkippingNumIndexedCols"));
	mb_names_add(&m.values, MB_STR("1"));
	mb_buf_reset(&out);
	mb_delta_stats_put(&out, 3, columns, N, &m);
	assert_string_equal(mb_buf_str(&out), "{\"numRecords\":3,"
	    "\"minValues\":{\"i\":-9223372036854775808},\"maxValues\":{\"i\":"
	    "9223372036854775807},\"nullCount\":{\"i\":1},\"tightBounds\":"
	    "true}");
	mb_names_add(&m.keys, MB_STR("delta.dataSkippingStatsColumns"));
	mb_names_add(&m.values, MB_STR("x, `c`"));
	mb_buf_reset(&out);
	mb_delta_stats_put(&out, 3, columns, N, &m);
	assert_string_equal(mb_buf_str(&out), "{\"numRecords\":3,"
	    "\"minValues\":{\"c\":-0.05},\"maxValues\":{\"c\":123.45},"
	    "\"nullCount\":{\"c\":0,\"x\":0},\"tightBounds\":true}");
	mb_delta_meta_release(&m);
	mb_buf_release(&out);
}

static void
test_partition_values(void **state)
{
	static const struct {
		struct mb_parquet_type type;
		union mb_parquet_value v;
		const char *text;	/* NULL: can't be written */
	} cases[] = {
		{ { .kind = MB_PARQUET_INT8 }, { .i = -128 }, "-128" },
		{ { .kind = MB_PARQUET_BOOL }, { .i = 1 }, "true" },
		{ { .kind = MB_PARQUET_DATE }, { .i = -1 }, "1969-12-31" },
		{ { .kind = MB_PARQUET_DATE }, { .i = 99999999 }, NULL },
		{ { .kind = MB_PARQUET_TIMESTAMP }, { .i = -1 },
		    "1969-12-31T23:59:59.999999Z" },
		{ { .kind = MB_PARQUET_TIMESTAMP_NTZ }, { .i = 1000001 },
		    "1970-01-01 00:00:01.000001" },
		{ { .kind = MB_PARQUET_DECIMAL, .precision = 5, .scale = 3 },
		    { .decimal = -1 }, "-0.001" },
		{ { .kind = MB_PARQUET_DOUBLE }, { .d = 0.1 }, "0.1" },
		{ { .kind = MB_PARQUET_TEXT }, { .bytes = MB_STR("a=/ %") },
		    "a=/ %" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mb_buf out = { 0 };

		if (mb_delta_partition_value(&out, cases[i].type,
		    cases[i].v) != (cases[i].text != NULL) ||
		    (cases[i].text != NULL && strcmp(mb_buf_str(&out),
		    cases[i].text) != 0))
			fail_msg("case %zu: %s", i, mb_buf_str(&out));
		mb_buf_release(&out);
	}
}

/* The marker through a log and back, over a history. */
static void
test_marker_in_transactions(void **state)
{
	static const char id[] = "0123456789abcdef0123456789abcdef";
	static const struct {
		uint64_t first, last, holes[3];
		size_t n_holes;
	} steps[] = {
		{ 3, 3, { 0 }, 0 }, { 3, 7, { 5, 6 }, 2 },
		{ 3, 7, { 6 }, 1 }, { 1, 7, { 2, 6 }, 2 },
		{ 1, 12, { 2, 6, 11 }, 3 }, { 1, 12, { 6, 11 }, 2 },
		{ 1, 12, { 0 }, 0 },
	};
	struct mb_delta_state s = { .version = -1 };
	struct mb_marker was = { 0 }, now, back;
	struct mb_buf text = { 0 };
	struct mb_err err = { 0 };
	struct world w;

	(void)state;
	make_world(&w);
	put_version(&w, 0, PROTOCOL PLAIN);
	assert_int_equal(load(&w, &s, &err), 0);
	assert_int_equal(mb_deltamark_read(&back, &s, id, &err), 0);
	assert_false(back.exists);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct mb_marker m = { .exists = true,
			.first = steps[i].first, .last = steps[i].last,
			.digest = mb_hash_bytes(&i, sizeof i),
			.holes = (uint64_t *)steps[i].holes,
			.n_holes = steps[i].n_holes };

		mb_marker_copy(&now, &m);
		mb_buf_reset(&text);
		mb_deltamark_put(&text, &s, id, "/a/j.mbj", &was, &now, 99);
		/* The path stands there once. */
		assert_int_equal(strstr(mb_buf_str(&text), "#path") != NULL,
		    i == 0);
		put_version(&w, s.version + 1, mb_buf_str(&text));
		assert_int_equal(mb_delta_state_advance(&s, &w.log, &err), 0);
		assert_int_equal(mb_deltamark_read(&back, &s, id, &err), 0);
		if (!mb_marker_eq(&back, &now))
			fail_msg("step %zu: %s", i, mb_buf_str(&text));
		mb_marker_release(&back);
		mb_marker_release(&was);
		was = now;
	}
	/* Others see whose place they take. */
	assert_null(mb_deltamark_other(&s, id, "/a/j.mbj"));
	assert_null(mb_deltamark_other(&s, "fedcba", "/a/k.mbj"));
	assert_memory_equal(mb_deltamark_other(&s,
	    "fedcba9876543210fedcba9876543210", "/a/j.mbj"), id, 32);
	mb_marker_release(&was);
	mb_buf_release(&text);
	mb_delta_state_release(&s);
	end_world(&w);
}

static void
test_marker_that_is_not_whole(void **state)
{
	static const char *const lines[] = {
		"{\"txn\":{\"appId\":\"mb:%s\",\"version\":5}}\n",
		"{\"txn\":{\"appId\":\"mb:%s\",\"version\":5}}\n"
		    "{\"txn\":{\"appId\":\"mb:%1$s#first\",\"version\":6}}\n"
		    "{\"txn\":{\"appId\":\"mb:%1$s#digest\",\"version\":1}}\n"
		    "{\"txn\":{\"appId\":\"mb:%1$s#digest2\",\"version\":1}}\n",
		"{\"txn\":{\"appId\":\"mb:%s\",\"version\":5}}\n"
		    "{\"txn\":{\"appId\":\"mb:%1$s#first\",\"version\":3}}\n"
		    "{\"txn\":{\"appId\":\"mb:%1$s#digest\",\"version\":1}}\n"
		    "{\"txn\":{\"appId\":\"mb:%1$s#digest2\",\"version\":1}}\n"
		    "{\"txn\":{\"appId\":\"mb:%1$s/5\",\"version\":0}}\n",
	};
	static const char id[] = "0123456789abcdef0123456789abcdef";

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct mb_delta_state s = { .version = -1 };
		struct mb_marker m;
		struct mb_err err;
		struct world w;
		struct mb_buf text = { 0 };

		make_world(&w);
		for (const char *p = lines[i]; *p != '\0'; p++)
			if (strncmp(p, "%1$s", 4) == 0) {
				mb_buf_adds(&text, id);
				p += 3;
			} else if (strncmp(p, "%s", 2) == 0) {
				mb_buf_adds(&text, id);
				p++;
			} else {
				mb_buf_addc(&text, *p);
			}
		put_version(&w, 0, PROTOCOL PLAIN);
		put_version(&w, 1, mb_buf_str(&text));
		assert_int_equal(load(&w, &s, &err), 1);
		if (mb_deltamark_read(&m, &s, id, &err) == 0 ||
		    err.code != MB_ECORRUPT)
			fail_msg("case %zu: %s", i, err.msg);
		mb_buf_release(&text);
		mb_delta_state_release(&s);
		end_world(&w);
	}
}

/* Add or remove file `n` of a level; more is put into the object. */
static void
tell(struct mb_deltasmall *s, const char *verb, int n, const char *size,
    const char *more)
{
	struct mb_delta_observer *o = mb_deltasmall_observer(s);
	struct mb_buf line = { 0 };
	struct mb_err err = { 0 };

	mb_buf_addf(&line, "{\"%s\":{\"path\":\"f%d\",\"size\":%s,"
	    "\"partitionValues\":{}%s}}", verb, n, size, more);
	assert_int_equal(o->line(o->arg, (struct mb_str){ line.p, line.len },
	    &err), 0);
	mb_buf_release(&line);
}

static void
test_small_files(void **state)
{
	static const char batch[] = ",\"tags\":{\"mb.batch\":"
	    "\"0123456789abcdef0123456789abcdef/7\"}";
	static const char joined[] = ",\"tags\":{\"mb.joined\":"
	    "\"0123456789abcdef0123456789abcdef/1\"}";
	struct mb_deltasmall_file v[MB_DELTA_JOIN];
	struct mb_deltasmall *s;

	(void)state;
	mb_deltasmall_open(&s, "0123456789abcdef0123456789abcdef", 1000);
	for (int i = 0; i < 15; i++)
		tell(s, "add", i, "10", batch);
	/* None of these counts. */
	tell(s, "add", 100, "500", batch);	/* large enough */
	tell(s, "add", 101, "10", "");
	tell(s, "add", 102, "10", ",\"tags\":{\"mb.batch\":"
	    "\"0123456789abcdef0123456789abcdee/7\"}");
	tell(s, "add", 103, "10", ",\"deletionVector\":{\"storageType\":"
	    "\"u\"},\"tags\":{\"mb.batch\":"
	    "\"0123456789abcdef0123456789abcdef/7\"}");
	tell(s, "add", 104, "10", joined);	/* of another level */
	assert_int_equal(mb_deltasmall_choose(s, 1000, v), 0);
	tell(s, "add", 15, "10", batch);
	assert_int_equal(mb_deltasmall_choose(s, 1000, v), 16);
	assert_int_equal(v[0].level, 0);
	assert_non_null(strstr(v[0].action.p, "\"f0\""));
	assert_non_null(strstr(v[15].action.p, "\"f15\""));
	/* What the budget allows, if that is worth it. */
	assert_int_equal(mb_deltasmall_choose(s, 45, v), 4);
	assert_int_equal(mb_deltasmall_choose(s, 35, v), 0);
	/* One that has gone is not joined; one that comes again comes last. */
	assert_true(mb_deltasmall_has(s, MB_STR("{\"path\":\"f3\"}")));
	tell(s, "remove", 3, "10", "");
	assert_false(mb_deltasmall_has(s, MB_STR("{\"path\":\"f3\"}")));
	assert_int_equal(mb_deltasmall_choose(s, 1000, v), 0);
	tell(s, "add", 3, "10", batch);
	assert_int_equal(mb_deltasmall_choose(s, 1000, v), 16);
	/* Few large ones are enough. */
	for (int i = 200; i < 203; i++)
		tell(s, "add", i, "400", ",\"tags\":{\"mb.joined\":"
		    "\"0123456789abcdef0123456789abcdef/2\"}");
	for (int i = 0; i < 16; i++)
		tell(s, "remove", i, "10", "");
	assert_int_equal(mb_deltasmall_choose(s, 2000, v), 3);
	assert_int_equal(v[0].level, 2);
	/* Many come and go, and change nothing. */
	for (int i = 1000; i < 9000; i++) {
		tell(s, "add", i, "10", batch);
		tell(s, "remove", i, "10", "");
	}
	assert_int_equal(mb_deltasmall_choose(s, 2000, v), 3);
	mb_deltasmall_close(s);
}

static void
test_paths(void **state)
{
	static const struct {
		const char *uri, *path;
	} cases[] = {
		{ "part-1.parquet", "part-1.parquet" },
		{ "p=a%2520b/f", "p=a%20b/f" }, { "p=%C3%A9/f", "p=\303\251/f" },
		{ "a%2", "a%2" }, { "/abs", NULL }, { "", NULL },
		{ "s3://b/f", NULL }, { "file:/t/f", NULL },
		{ "p=a:b/f", "p=a:b/f" }, { "../f", NULL }, { "a/../f", NULL },
		{ "%2e%2e/f", NULL }, { "a%00b", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *path;
		bool ok = mb_delta_path_decode(&path, cases[i].uri);

		if (ok != (cases[i].path != NULL) ||
		    (ok && strcmp(path, cases[i].path) != 0))
			fail_msg("%s: %s", cases[i].uri, path);
		free(path);
	}
}

static void
test_held_records(void **state)
{
	struct mb_buf all = { 0 }, back = { 0 };
	struct mb_str piece;
	struct mb_held h;
	struct mb_err err = { 0 };
	char text[32];

	(void)state;
	mb_held_init(&h);
	for (int round = 0; round < 3; round++) {	/* it can be used again */
		bool spills = round != 1;

		mb_buf_reset(&all);
		mb_buf_reset(&back);
		for (int i = 0; i < 200000; i++) {
			snprintf(text, sizeof text, "value %d\n", i);
			mb_buf_adds(&all, text);
			mb_held_add(&h, mb_str(text));
			if (spills && (i == 300 || i == 70000))
				assert_int_equal(mb_held_spill(&h, i == 300 ?
				    open("/tmp", O_RDWR | O_TMPFILE, 0600) :
				    -1, &err), 0);
		}
		assert_int_equal(mb_held_rewind(&h, &err), 0);
		while (mb_held_next(&h, &piece, &err) > 0)
			mb_buf_add(&back, piece.p, piece.len);
		assert_int_equal(err.code, MB_OK);
		assert_int_equal(back.len, all.len);
		assert_memory_equal(back.p, all.p, all.len);
		mb_held_reset(&h);
	}
	mb_held_release(&h);
	mb_buf_release(&all);
	mb_buf_release(&back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_names),
		cmocka_unit_test(test_a_version_is_written_once),
		cmocka_unit_test(test_state_of_commits),
		cmocka_unit_test(test_bad_logs),
		cmocka_unit_test(test_a_log_is_watched),
		cmocka_unit_test(test_odd_logs),
		cmocka_unit_test(test_hints_that_lie),
		cmocka_unit_test(test_checkpoints_keep_everything),
		cmocka_unit_test(test_when_a_checkpoint_is_due),
		cmocka_unit_test(test_intervals),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_schemas_are_edited_as_text),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_partition_values),
		cmocka_unit_test(test_marker_in_transactions),
		cmocka_unit_test(test_marker_that_is_not_whole),
		cmocka_unit_test(test_small_files),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_held_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
