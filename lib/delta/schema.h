/*
 * schema.h - the columns of a Delta table, out of its schemaString.
 *
 * The string is never made anew: columns are added to the text that is there,
 * because the metadata of the others must not be lost.
 */
#ifndef MB_DELTA_SCHEMA_H
#define MB_DELTA_SCHEMA_H

#include <stdbool.h>

#include "delta/meta.h"
#include "parquet/types.h"

struct mb_delta_column {
	char *name;
	struct mb_parquet_type type;
	bool is_flat;		/* of a type that we write; else `type` means
				   nothing, and the column gets nulls */
	bool is_nullable;
	bool is_partition;
	/* Metadata keys that ask something of a writer. */
	bool has_invariant, has_generation, has_identity, has_default;
	char *physical;		/* with column mapping; else NULL … */
	int32_t field_id;	/* … and 0 */
};

struct mb_delta_schema {
	struct mb_delta_column *v;
	size_t n;
};

/* MB_ECORRUPT: not a schema, or a partition column is not in it. */
MB_CHECK int mb_delta_schema_parse(struct mb_delta_schema *out,
    const struct mb_delta_meta *m, struct mb_err *err);
void mb_delta_schema_release(struct mb_delta_schema *s);

/* By exactly this name; NULL: there is none. */
const struct mb_delta_column *mb_delta_schema_find(
    const struct mb_delta_schema *s, const char *name);

/* "decimal(10,2)"; *out only if it is a flat type. */
bool mb_delta_type_parse(struct mb_parquet_type *out, const char *text);
void mb_delta_type_format(struct mb_buf *out, struct mb_parquet_type t);

/* Columns, nullable, for a new table or one that is there. */
struct mb_delta_new_column {
	const char *name;
	struct mb_parquet_type type;
};

/*
 * Append the schemaString with n more columns at its end; `old` is the one
 * that is there, parsed before, or NULL.
 */
void mb_delta_schema_put(struct mb_buf *out, const char *old,
    const struct mb_delta_new_column *columns, size_t n);

#endif
