/*
 * parsed.h - the statistics and partition values of a file in their own types,
 * as checkpoints have them beside the texts where the property
 * delta.checkpoint.writeStatsAsStruct asks for it:
 *
 *	stats_parsed { numRecords; minValues { COLUMN ... }; maxValues { ... };
 *	    nullCount { ... }; tightBounds }
 *	partitionValues_parsed { COLUMN ... }
 *
 * Bounds are of the types that every engine compares alike: all but bool and
 * binary.
 */
#ifndef MB_DELTA_PARSED_H
#define MB_DELTA_PARSED_H

#include "delta/fields.h"
#include "delta/schema.h"
#include "parquet/writer.h"

struct mb_delta_parsed;

/* Can they be written, for a table of these columns? */
bool mb_delta_parsed_fits(const struct mb_delta_schema *s);

/* The schema is borrowed, and must fit. */
void mb_delta_parsed_open(struct mb_delta_parsed **out,
    const struct mb_delta_schema *s);
void mb_delta_parsed_close(struct mb_delta_parsed *p);

/*
 * The nodes, which are the last children of `add`; how many there are; how
 * many of them are children of it themselves.  Borrowed.
 */
const struct mb_parquet_node *mb_delta_parsed_nodes(
    const struct mb_delta_parsed *p, size_t *n, uint32_t *n_children);

/* Their columns, from *leaf on; *leaf moves behind them. */
void mb_delta_parsed_bind(struct mb_delta_parsed *p,
    struct mb_parquet_writer *w, size_t *leaf);

/*
 * The entries of a row: of an add, or of none (NULL).  A bound that isn't of
 * the column's type is none.  MB_EDATA: a partition value that isn't; it must
 * not be taken for null.
 */
MB_CHECK int mb_delta_parsed_put(struct mb_delta_parsed *p,
    const struct mb_fields *add, struct mb_err *err);

#endif
