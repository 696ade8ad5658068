#include "delta/commit.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/line.h"
#include "delta/fields.h"

int
mb_delta_uuid(char out[MB_UUID_LEN + 1], struct mb_err *err)
{
	unsigned char b[16];

	if (mb_random(b, sizeof b, err) < 0)
		return -1;
	b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	snprintf(out, MB_UUID_LEN + 1, "%02x%02x%02x%02x-%02x%02x-%02x%02x-"
	    "%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
	    b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
	    b[15]);
	return 0;
}

static void
begin(struct mb_buf *out, const char *action)
{
	mb_buf_addf(out, "{\"%s\":{", action);
}

static void
end(struct mb_buf *out)
{
	mb_buf_adds(out, "}}\n");
}

void
mb_delta_put_info(struct mb_buf *out, const struct mb_delta_info *info)
{
	struct mb_buf engine = { 0 };

	begin(out, "commitInfo");
	if (info->in_commit_ms >= 0)
		mb_put_int(out, "inCommitTimestamp", info->in_commit_ms);
	mb_put_int(out, "timestamp", info->time_ms);
	mb_put_text(out, "operation", mb_str(info->operation));
	mb_put_name(out, "operationParameters");
	mb_buf_adds(out, info->is_append ?
	    "{\"mode\":\"Append\",\"partitionBy\":\"[]\"}" : "{}");
	mb_put_bool(out, "isBlindAppend", info->is_append);
	mb_buf_addf(&engine, "mb/%s", info->version);
	mb_put_text(out, "engineInfo", mb_str(mb_buf_str(&engine)));
	mb_put_text(out, "txnId", mb_str(info->txn_id));
	if (info->journal != NULL) {
		mb_put_name(out, "mb");
		mb_buf_addc(out, '{');
		mb_put_text(out, "journal", mb_str(info->journal));
		mb_put_int(out, "batch", (int64_t)info->batch);
		mb_put_text(out, "digest", mb_str(info->digest));
		mb_buf_addc(out, '}');
	}
	end(out);
	mb_buf_release(&engine);
}

void
mb_delta_put_protocol(struct mb_buf *out,
    const struct mb_delta_new_column *columns, size_t n)
{
	bool needs_ntz = false;

	for (size_t i = 0; i < n; i++)
		needs_ntz |= columns[i].type.kind == MB_PARQUET_TIMESTAMP_NTZ;
	begin(out, "protocol");
	mb_buf_adds(out, needs_ntz ? "\"minReaderVersion\":3,"
	    "\"minWriterVersion\":7,\"readerFeatures\":[\"timestampNtz\"],"
	    "\"writerFeatures\":[\"timestampNtz\"]" :
	    "\"minReaderVersion\":1,\"minWriterVersion\":2");
	end(out);
}

void
mb_delta_put_meta(struct mb_buf *out, const char *id, const char *schema,
    const char *const *partition_by, size_t n_partition_by, int64_t time_ms)
{
	begin(out, "metaData");
	mb_put_text(out, "id", mb_str(id));
	mb_buf_adds(out, ",\"format\":{\"provider\":\"parquet\","
	    "\"options\":{}}");
	mb_put_text(out, "schemaString", mb_str(schema));
	mb_put_name(out, "partitionColumns");
	mb_buf_addc(out, '[');
	for (size_t i = 0; i < n_partition_by; i++) {
		mb_buf_adds(out, i > 0 ? "," : "");
		mb_json_quote(out, mb_str(partition_by[i]));
	}
	mb_buf_adds(out, "],\"configuration\":{}");
	mb_put_int(out, "createdTime", time_ms);
	end(out);
}

void
mb_delta_put_schema(struct mb_buf *out, const struct mb_delta_meta *m,
    const char *schema)
{
	struct mb_fields f = { 0 };

	begin(out, "metaData");
	if (mb_fields_set(&f, mb_str(m->text)) != NULL)
		f.m.n = 0;	/* was parsed before */
	for (size_t i = 0; i < f.m.n; i++) {
		const struct mb_json_member *at = &f.m.v[i];
		bool is_text = at->value.kind == MB_TEXT;

		if (mb_str_eq(at->key, MB_STR("schemaString")))
			continue;
		mb_buf_addf(out, "%s\"", i > 0 && out->p[out->len - 1] != '{' ?
		    "," : "");
		mb_buf_add(out, at->key.p, at->key.len);
		mb_buf_adds(out, is_text ? "\":\"" : "\":");
		if (at->value.kind == MB_NULL)
			mb_buf_adds(out, "null");
		else
			mb_buf_add(out, at->value.text.p, at->value.text.len);
		if (is_text)
			mb_buf_addc(out, '"');
	}
	mb_put_text(out, "schemaString", mb_str(schema));
	end(out);
	mb_fields_release(&f);
}

void
mb_delta_put_txn(struct mb_buf *out, const char *app, int64_t version,
    int64_t time_ms)
{
	begin(out, "txn");
	mb_put_text(out, "appId", mb_str(app));
	mb_put_int(out, "version", version);
	mb_put_int(out, "lastUpdated", time_ms);
	end(out);
}

void
mb_delta_put_add(struct mb_buf *out, const struct mb_delta_add *add)
{
	begin(out, "add");
	mb_put_text(out, "path", mb_str(add->path));
	mb_put_name(out, "partitionValues");
	mb_buf_adds(out, add->partition);
	mb_put_int(out, "size", (int64_t)add->size);
	mb_put_int(out, "modificationTime", add->time_ms);
	mb_put_bool(out, "dataChange", add->is_change);
	if (add->stats != NULL)
		mb_put_text(out, "stats", mb_str(add->stats));
	if (add->n_tags > 0) {
		mb_put_name(out, "tags");
		mb_buf_addc(out, '{');
		for (size_t i = 0; i < add->n_tags; i++)
			mb_put_text(out, add->tags[i].name,
			    mb_str(add->tags[i].value));
		mb_buf_addc(out, '}');
	}
	end(out);
}

void
mb_delta_put_remove(struct mb_buf *out, struct mb_str add, bool is_change,
    int64_t time_ms)
{
	static const char *const kept[] = { "partitionValues", "size",
		"deletionVector", "baseRowId", "defaultRowCommitVersion" };
	struct mb_fields f = { 0 };
	struct mb_buf path = { 0 };
	struct mb_json v;

	if (mb_fields_set(&f, add) != NULL)
		f.m.n = 0;	/* was parsed before */
	(void)mb_fields_text(&f, "path", &path);
	begin(out, "remove");
	mb_put_text(out, "path", (struct mb_str){ path.p == NULL ? "" : path.p,
	    path.len });
	mb_put_int(out, "deletionTimestamp", time_ms);
	mb_put_bool(out, "dataChange", is_change);
	mb_put_bool(out, "extendedFileMetadata", true);
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (mb_fields_get(&f, kept[i], &v)) {
			mb_put_name(out, kept[i]);
			mb_buf_add(out, v.text.p, v.text.len);
		}
	end(out);
	mb_fields_release(&f);
	mb_buf_release(&path);
}
