/*
 * work.h - a query at work: bytes of records in, rows out.
 *
 * A batch is one stream or several, one after the other (a frame's data; the
 * files of a plain run).  Calls for a batch:
 *
 *	mb_work_reset
 *	  mb_work_begin	per stream: its format and header
 *	    mb_work_feed	its bytes, until is_last, or …
 *	    mb_work_read	… where they may be read
 *	mb_work_finish
 *	  mb_work_next	rows of groups, if the query aggregates; or …
 *	  mb_work_next_csv	… as csv
 *
 * A query that doesn't aggregate passes records through: selected records
 * gather in mb_work_rows, for the caller to take away after each call.  In
 * their own format they keep their bytes.
 *
 * Large batches are cut into blocks for several threads, whose results are
 * put together in the order of the records: the bytes that come out are the
 * same for every number of threads.
 */
#ifndef MB_AGG_WORK_H
#define MB_AGG_WORK_H

#include "agg/query.h"
#include "agg/reading.h"
#include "record/reader.h"

struct mb_work_config {
	const struct mb_query *query;	/* borrowed, finished */
	enum mb_format out_format;	/* of records passed through */
	char out_delimiter;
	const struct mb_str *nulls;	/* borrowed */
	size_t n_nulls;
	unsigned n_threads;
	bool is_stamped;		/* records passed through get columns
					   in front: see mb_stamp_names */
	bool keeps_rejects;		/* all of them, not only the first */
	bool stops_at_reject;		/* what comes after it is not needed */
	enum mb_isa isa;
};

/* From the stream's offset `from` on, `source` at the offset `start`. */
struct mb_place {
	uint64_t from;
	const char *source;
	uint64_t start;
};

/* The place of an offset, or NULL; places are in order. */
const struct mb_place *mb_places_find(const struct mb_place *places,
    size_t n, uint64_t off);

/* All borrowed until the next begin. */
struct mb_stream {
	enum mb_format format;
	char delimiter;
	uint64_t record_limit;		/* 0: the default */
	const struct mb_names *header;	/* csv, tsv; NULL: none */
	uint64_t off;			/* of its first byte */

	/* For --stamp.  NULL is null; no places: the record's number. */
	const char *batch, *batch_time;
	const struct mb_place *places;
	size_t n_places;
};

/* batch, batch_time; of records passed through also source, offset. */
extern const char *const mb_stamp_names[];
enum { MB_STAMPS = 2, MB_STAMPS_PASSED = 4 };

struct mb_row_reject {
	uint64_t number;	/* of the record in the batch, from 1 */
	uint64_t off, end;	/* in the stream */
	struct mb_str data;	/* the record; empty where it was too long */
	const char *reason;
};

struct mb_work;

MB_CHECK int mb_work_open(struct mb_work **out, const struct mb_work_config *,
    struct mb_err *err);
void mb_work_close(struct mb_work *w);

void mb_work_reset(struct mb_work *w);

/* Errors are those of mb_reader_begin: a field isn't in the header. */
MB_CHECK int mb_work_begin(struct mb_work *w, const struct mb_stream *s,
    struct mb_err *err);

/*
 * *data holds all bytes not yet consumed, and is advanced over what was; the
 * rest must come again with more behind it.  After is_last nothing is left.
 */
MB_CHECK int mb_work_feed(struct mb_work *w, struct mb_str *data,
    bool is_last, struct mb_err *err);

/*
 * Instead of being fed: the threads read for themselves the stream's next
 * bytes, which are those of the span.  To be asked for, before each first
 * call, is whether they can from here.
 *
 * 1: call again, with the rows and rejects taken away; 0: for now that was
 * all, and span->pos has moved behind what was taken in.  Feed goes on from
 * there, be it to the end, be it over what isn't ordinary or no longer there.
 */
bool mb_work_may_read(const struct mb_work *w);
MB_CHECK int mb_work_read(struct mb_work *w, struct mb_span *span,
    struct mb_err *err);

MB_CHECK int mb_work_finish(struct mb_work *w, bool is_sorted,
    struct mb_err *err);

/* As mb_groups_next: rows of keys, then aggregates. */
MB_CHECK int mb_work_next(struct mb_work *w, struct mb_value *values,
    size_t stride, struct mb_err *err);

/* As mb_groups_next_csv. */
MB_CHECK int mb_work_next_csv(struct mb_work *w, struct mb_buf *out,
    struct mb_str prefix, char delimiter, struct mb_err *err);

/* Rows of records passed through, to be written and reset by the caller. */
struct mb_buf *mb_work_rows(struct mb_work *w);

/*
 * The columns of records passed through.  NULL: there are none (no header),
 * or they aren't known before the first record (ndjson into csv or tsv).
 */
const struct mb_names *mb_work_columns(const struct mb_work *w);

/* Since reset. */
struct mb_work_counts {
	uint64_t n_records;	/* found, good or bad */
	uint64_t n_rejects;
	uint64_t n_passed;	/* rows passed through */
};
struct mb_work_counts mb_work_counts(const struct mb_work *w);

/* The rejects since the last forget; without keeps_rejects the first only. */
const struct mb_row_reject *mb_work_rejects(const struct mb_work *w, size_t *n);
void mb_work_forget_rejects(struct mb_work *w);

/* Was the query's i-th field present in any record since reset? */
bool mb_work_saw(const struct mb_work *w, size_t i);

/* The query's i-th field of numbers had values, and none was a number. */
bool mb_work_lacks_numbers(const struct mb_work *w, size_t i);

#endif
