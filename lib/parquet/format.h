/*
 * format.h - the numbers of parquet.thrift, and how types are stored.
 */
#ifndef MB_PARQUET_FORMAT_H
#define MB_PARQUET_FORMAT_H

#include "parquet/types.h"

#define MB_PARQUET_MAGIC "PAR1"

enum mb_physical {
	MB_BOOLEAN, MB_INT32, MB_INT64, MB_INT96, MB_FLOAT, MB_DOUBLE,
	MB_BYTE_ARRAY, MB_FIXED,
};

enum mb_encoding {
	MB_PLAIN = 0, MB_PLAIN_DICTIONARY = 2, MB_RLE = 3, MB_BIT_PACKED = 4,
	MB_DELTA_BINARY_PACKED = 5, MB_DELTA_LENGTH_BYTE_ARRAY = 6,
	MB_DELTA_BYTE_ARRAY = 7, MB_RLE_DICTIONARY = 8,
	MB_BYTE_STREAM_SPLIT = 9,
};

enum mb_page_type { MB_DATA_PAGE, MB_INDEX_PAGE, MB_DICTIONARY_PAGE,
	MB_DATA_PAGE_V2 };

/* ConvertedType; MB_NO_CONVERTED is none. */
enum mb_converted {
	MB_NO_CONVERTED = -1,
	MB_UTF8 = 0, MB_MAP = 1, MB_MAP_KEY_VALUE = 2, MB_LIST = 3,
	MB_ENUM = 4, MB_CONVERTED_DECIMAL = 5, MB_CONVERTED_DATE = 6,
	MB_TIME_MILLIS = 7, MB_TIME_MICROS = 8, MB_TIMESTAMP_MILLIS = 9,
	MB_TIMESTAMP_MICROS = 10, MB_UINT_8 = 11, MB_UINT_16 = 12,
	MB_UINT_32 = 13, MB_UINT_64 = 14, MB_INT_8 = 15, MB_INT_16 = 16,
	MB_INT_32 = 17, MB_INT_64 = 18, MB_CONVERTED_JSON = 19,
	MB_CONVERTED_BSON = 20, MB_INTERVAL = 21,
};

/* Fields of the union LogicalType. */
enum mb_logical {
	MB_NO_LOGICAL = 0,
	MB_LOGICAL_STRING = 1, MB_LOGICAL_MAP = 2, MB_LOGICAL_LIST = 3,
	MB_LOGICAL_ENUM = 4, MB_LOGICAL_DECIMAL = 5, MB_LOGICAL_DATE = 6,
	MB_LOGICAL_TIME = 7, MB_LOGICAL_TIMESTAMP = 8,
	MB_LOGICAL_INTEGER = 10, MB_LOGICAL_NULL = 11, MB_LOGICAL_JSON = 12,
	MB_LOGICAL_BSON = 13, MB_LOGICAL_UUID = 14, MB_LOGICAL_FLOAT16 = 15,
};

/* How a type is stored by us; *fixed_len of MB_FIXED. */
enum mb_physical mb_physical_of(struct mb_parquet_type type,
    uint32_t *fixed_len);

/* How many bytes a decimal of so many digits needs. */
uint32_t mb_decimal_len(unsigned precision);

/* Append a value as PLAIN has it, bytes without their length. */
void mb_plain_put(struct mb_buf *out, struct mb_parquet_type type,
    const union mb_parquet_value *v);

#endif
