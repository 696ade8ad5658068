/*
 * stats.h - values of a table as text: the statistics of a file, by which
 * readers pass it over, and partition values.
 *
 * A wrong bound loses rows silently, so a bound is written only where every
 * engine reads it as one: the least is never above a value of the file, the
 * greatest never below, also for readers that take them as they stand.
 */
#ifndef MB_DELTA_STATS_H
#define MB_DELTA_STATS_H

#include "delta/schema.h"
#include "parquet/writer.h"

/* A column of a data file, in the order of the file. */
struct mb_delta_stat {
	const char *name;	/* the physical one, if there is one */
	struct mb_parquet_type type;
	const struct mb_parquet_stats *stats;
};

/*
 * Append the statistics of a file as JSON text: for the columns that the
 * table's properties select (delta.dataSkippingStatsColumns, or the first
 * delta.dataSkippingNumIndexedCols, of which there are 32 by default).
 */
void mb_delta_stats_put(struct mb_buf *out, uint64_t rows,
    const struct mb_delta_stat *columns, size_t n,
    const struct mb_delta_meta *m);

/*
 * Append a partition value as it stands in partitionValues.  False: it can't
 * be written (a time before the year 1 or after 9999).
 */
bool mb_delta_partition_value(struct mb_buf *out, struct mb_parquet_type type,
    union mb_parquet_value v);

#endif
