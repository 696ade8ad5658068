/*
 * All parts of a state but its files are in memory.  The files of the
 * checkpoint before stream past those of the commits since: what a commit has
 * touched is left out, and what the commits say is put behind it.
 */
#include "delta/save.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "delta/checkpoint.h"
#include "delta/commit.h"
#include "delta/fields.h"
#include "delta/files.h"
#include "delta/gate.h"
#include "delta/rows.h"
#include "durable/stage.h"

enum { INTERVAL = 10, MANY = 100, MOST = 1000 };

static const int64_t week_ms = INT64_C(7) * 86400000;

bool
mb_delta_parse_interval(const char *text, int64_t *ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {
		{ "week", INT64_C(604800000) }, { "day", 86400000 },
		{ "hour", 3600000 }, { "minute", 60000 }, { "second", 1000 },
		{ "millisecond", 1 },
	};
	char unit[16];
	long long n;
	size_t len;
	int end = -1;

	if (strncasecmp(text, "interval ", 9) == 0)
		text += 9;
	if (sscanf(text, "%9lld %15[a-zA-Z]%n", &n, unit, &end) != 2 ||
	    end < 0 || text[end] != '\0' || n < 0)
		return false;
	len = strlen(unit);
	if (len > 1 && (unit[len - 1] == 's' || unit[len - 1] == 'S'))
		unit[len - 1] = '\0';
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strcasecmp(unit, units[i].unit) == 0) {
			*ms = n * units[i].ms;
			return true;
		}
	return false;
}

bool
mb_delta_save_is_due(const struct mb_delta_state *s)
{
	const char *text = mb_delta_property(&s->meta,
	    "delta.checkpointInterval");
	long interval = text == NULL ? 0 : strtol(text, NULL, 10);
	int64_t n = s->version - s->checkpoint.version;

	if (!mb_delta_gate_checkpoint(&s->meta, &s->schema))
		return false;
	if (interval > 0)
		return n >= interval;
	return n >= MOST ||
	    (n >= MANY && s->tail_bytes >= s->checkpoint.size / 8) ||
	    (n >= INTERVAL && s->tail_bytes / 2 >= s->checkpoint.size);
}

struct saving {
	struct mb_delta_rows *rows;
	struct mb_delta_files tail;
	int64_t expired_ms;	/* tombstones before this are left out */
	struct mb_delta_totals adds;
};

static int
write_stage(void *arg, const void *p, size_t len, struct mb_err *err)
{
	return mb_stage_write(arg, p, len, err);
}

static int
put_file(struct saving *s, struct mb_str action, bool is_add,
    struct mb_err *err)
{
	struct mb_fields f = { 0 };
	int64_t removed = 0, size = -1;

	if (mb_fields_set(&f, action) == NULL) {
		(void)mb_fields_int(&f, "deletionTimestamp", &removed);
		(void)mb_fields_int(&f, "size", &size);
	}
	mb_fields_release(&f);
	if (!is_add && removed < s->expired_ms)
		return 0;
	if (is_add && !mb_delta_totals_move(&s->adds, size, true))
		s->adds.is_known = false;
	return mb_delta_rows_put(s->rows, is_add ? "add" : "remove", action,
	    err);
}

/* A file of the checkpoint before. */
static int
pass_line(void *arg, struct mb_str line, struct mb_err *err)
{
	struct saving *s = arg;
	struct mb_str action;
	bool is_add, is_newer;
	int rc = mb_delta_file_of_line(line, &action, &is_add, err);

	if (rc <= 0)
		return rc;
	if (mb_delta_files_has(&s->tail, action, &is_newer, err) < 0)
		return -1;
	return is_newer ? 0 : put_file(s, action, is_add, err);
}

static int
put_state(struct saving *s, const struct mb_delta_state *state,
    struct mb_err *err)
{
	struct mb_buf object = { 0 };
	int rc;

	rc = mb_delta_rows_put(s->rows, "protocol",
	    mb_str(state->protocol.text), err);
	if (rc == 0)
		rc = mb_delta_rows_put(s->rows, "metaData",
		    mb_str(state->meta.text), err);
	for (size_t i = 0; rc == 0 && i < state->apps.n; i++) {
		const struct mb_delta_txn *t = &state->txns[i];

		mb_buf_reset(&object);
		mb_buf_addc(&object, '{');
		mb_put_text(&object, "appId", state->apps.v[i]);
		mb_put_int(&object, "version", t->version);
		if (t->updated_ms >= 0)
			mb_put_int(&object, "lastUpdated", t->updated_ms);
		mb_buf_addc(&object, '}');
		rc = mb_delta_rows_put(s->rows, "txn", (struct mb_str){
		    object.p, object.len }, err);
	}
	for (size_t i = 0; rc == 0 && i < state->domains.n; i++)
		if (state->domain_texts[i] != NULL)
			rc = mb_delta_rows_put(s->rows, "domainMetadata",
			    mb_str(state->domain_texts[i]), err);
	mb_buf_release(&object);
	return rc;
}

static int
put_former(struct saving *s, const struct mb_delta_state *state,
    const struct mb_delta_log *l, struct mb_err *err)
{
	int rc;

	if (state->checkpoint.version < 0)
		return 0;
	rc = mb_delta_checkpoint_read(l, &state->checkpoint,
	    MB_DELTA_WANTS_FILES, pass_line, s, err);
	if (rc == 0)
		return mb_fail(err, MB_EIO, "%s: the checkpoint of version %"
		    PRId64 " has gone", l->place, state->checkpoint.version);
	return rc < 0 ? -1 : 0;
}

static int
put_tail(struct saving *s, struct mb_err *err)
{
	for (size_t i = 0; i < s->tail.keys.n; i++)
		if (put_file(s, mb_str(s->tail.v[i].text),
		    s->tail.v[i].is_add, err) < 0)
			return -1;
	return 0;
}

static int
write_hint(const struct mb_delta_log *l, int64_t version, uint64_t rows,
    uint64_t bytes, uint64_t adds, struct mb_err *err)
{
	struct mb_buf text = { 0 };
	int rc;

	mb_buf_addc(&text, '{');
	mb_put_int(&text, "version", version);
	mb_put_int(&text, "size", (int64_t)rows);
	mb_put_int(&text, "sizeInBytes", (int64_t)bytes);
	mb_put_int(&text, "numOfAddFiles", (int64_t)adds);
	mb_buf_addc(&text, '}');
	rc = mb_delta_log_replace(l, "_last_checkpoint", (struct mb_str){
	    text.p, text.len }, err);
	mb_buf_release(&text);
	return rc;
}

int
mb_delta_save(struct mb_delta_state *state, const struct mb_delta_log *l,
    int64_t now_ms, struct mb_err *err)
{
	const char *text = mb_delta_property(&state->meta,
	    "delta.deletedFileRetentionDuration");
	int64_t retention = week_ms;
	struct saving s = { .adds.is_known = true };
	struct mb_stage *stage = NULL;
	char name[MB_DELTA_NAME];
	uint64_t bytes = 0;
	int rc = -1;

	/* One that we don't understand keeps them all. */
	if (text != NULL && !mb_delta_parse_interval(text, &retention))
		retention = now_ms;
	s.expired_ms = now_ms - retention;
	mb_delta_checkpoint_name(name, &(struct mb_delta_checkpoint){
	    .version = state->version }, 0);
	if (mb_delta_files_read_tail(&s.tail, state, l, err) < 0 ||
	    mb_stage_open_in(&stage, l->tmpfd, l->dirfd, name, 0666, err) < 0
	    || mb_delta_rows_open(&s.rows, mb_delta_property_is_true(
	    &state->meta, "delta.checkpoint.writeStatsAsStruct") ?
	    &state->schema : NULL, write_stage, stage, err) < 0)
		goto out;
	if (put_state(&s, state, err) < 0 ||
	    put_former(&s, state, l, err) < 0 || put_tail(&s, err) < 0 ||
	    mb_delta_rows_finish(s.rows, &bytes, err) < 0)
		goto out;
	/* Whole and durable first: a torn one would hide the table. */
	if (mb_stage_replace(stage, err) < 0)
		goto out;
	rc = write_hint(l, state->version, mb_delta_rows_n(s.rows), bytes,
	    (uint64_t)s.adds.files, err);
	state->totals = s.adds;
	state->checkpoint = (struct mb_delta_checkpoint){
		.version = state->version, .size = bytes };
	state->tail_bytes = 0;
out:
	mb_delta_rows_close(s.rows);
	mb_stage_close(stage);
	mb_delta_files_release(&s.tail);
	return rc < 0 ? mb_wrap(err, "%s: checkpoint", l->place) : 0;
}
