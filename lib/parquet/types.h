/*
 * types.h - what a Parquet column holds, for the writer and the reader.
 */
#ifndef MB_PARQUET_TYPES_H
#define MB_PARQUET_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/number.h"

enum mb_parquet_kind {
	MB_PARQUET_BOOL,		/* int: 0, 1 */
	MB_PARQUET_INT8, MB_PARQUET_INT16, MB_PARQUET_INT32,
	MB_PARQUET_INT64,		/* int */
	MB_PARQUET_FLOAT,		/* real */
	MB_PARQUET_DOUBLE,		/* real */
	MB_PARQUET_TEXT,		/* bytes, UTF-8 */
	MB_PARQUET_BINARY,		/* bytes */
	MB_PARQUET_DATE,		/* int: days since 1970-01-01 */
	MB_PARQUET_TIMESTAMP,		/* int: microseconds since the epoch */
	MB_PARQUET_TIMESTAMP_NTZ,	/* likewise, of no time zone */
	MB_PARQUET_DECIMAL,		/* decimal: value * 10^scale */
	MB_PARQUET_OTHER,		/* only read: a type that we don't know,
					   as int or bytes; see `physical` */
};

struct mb_parquet_type {
	enum mb_parquet_kind kind;
	uint8_t precision, scale;	/* decimal: 1 … 38, 0 … precision */
};

/* Which member counts is told by the kind. */
union mb_parquet_value {
	int64_t i;
	double d;
	mb_int128 decimal;
	struct mb_str bytes;
};

/* How a node may occur in its parent. */
enum mb_parquet_repetition {
	MB_PARQUET_REQUIRED, MB_PARQUET_OPTIONAL, MB_PARQUET_REPEATED,
};

/* A group's meaning. */
enum mb_parquet_group { MB_PARQUET_STRUCT, MB_PARQUET_LIST, MB_PARQUET_MAP };

/*
 * A schema is a tree, written as an array of its nodes, each before its
 * children (the root is left out).  A flat schema is simply its columns.
 * Levels: see writer.h.
 */
struct mb_parquet_node {
	const char *name;
	enum mb_parquet_repetition repetition;
	uint32_t n_children;		/* 0: a leaf, which is a column */
	enum mb_parquet_group group;	/* of a node with children */
	struct mb_parquet_type type;	/* of a leaf */
	int32_t field_id;		/* 0: none */
};

enum mb_parquet_codec {
	MB_PARQUET_CODEC_NONE = 0,
	MB_PARQUET_CODEC_SNAPPY = 1,
	MB_PARQUET_CODEC_GZIP = 2,
	MB_PARQUET_CODEC_LZ4_RAW = 7,
	MB_PARQUET_CODEC_ZSTD = 6,
};

#endif
