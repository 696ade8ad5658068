/*
 * meta.h - what the actions `protocol` and `metaData` of a Delta table say.
 *
 * Both are kept as the text that stands in the log, since whoever writes them
 * again (in a checkpoint, a checksum, a changed schema) must not lose what he
 * doesn't know.
 */
#ifndef MB_DELTA_META_H
#define MB_DELTA_META_H

#include <stdbool.h>
#include <stdint.h>

#include "record/names.h"

struct mb_delta_protocol {
	char *text;		/* the object, as in the log; NULL: none */
	int64_t min_reader, min_writer;
	struct mb_names reader_features, writer_features;
};

struct mb_delta_meta {
	char *text;		/* likewise */
	char *id;
	char *provider;		/* of the data files: "parquet" */
	char *schema;		/* schemaString */
	struct mb_names partition_columns;
	struct mb_names keys;	/* of the configuration … */
	struct mb_names values;	/* … and what stands there, by position */
};

/* The object of the action.  MB_ECORRUPT: a member that must be there isn't. */
MB_CHECK int mb_delta_protocol_parse(struct mb_delta_protocol *out,
    struct mb_str text, struct mb_err *err);
void mb_delta_protocol_release(struct mb_delta_protocol *p);
MB_CHECK int mb_delta_meta_parse(struct mb_delta_meta *out,
    struct mb_str text, struct mb_err *err);
void mb_delta_meta_release(struct mb_delta_meta *m);

/* A property of the table; NULL: it isn't set. */
const char *mb_delta_property(const struct mb_delta_meta *m,
    const char *name);
bool mb_delta_property_is_true(const struct mb_delta_meta *m,
    const char *name);

/* Is the feature listed, or implied by the writer version? */
bool mb_delta_has_feature(const struct mb_delta_protocol *p,
    const char *name);

#endif
