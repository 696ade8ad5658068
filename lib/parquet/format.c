#include "parquet/format.h"

uint32_t
mb_decimal_len(unsigned precision)
{
	mb_uint128 most = mb_power_of_ten(precision) - 1;
	uint32_t len = 1;

	while (most >> (8 * len - 1) != 0)
		len++;
	return len;
}

enum mb_physical
mb_physical_of(struct mb_parquet_type type, uint32_t *fixed_len)
{
	*fixed_len = 0;
	switch (type.kind) {
	case MB_PARQUET_BOOL:
		return MB_BOOLEAN;
	case MB_PARQUET_INT8:
	case MB_PARQUET_INT16:
	case MB_PARQUET_INT32:
	case MB_PARQUET_DATE:
		return MB_INT32;
	case MB_PARQUET_FLOAT:
		return MB_FLOAT;
	case MB_PARQUET_DOUBLE:
		return MB_DOUBLE;
	case MB_PARQUET_TEXT:
	case MB_PARQUET_BINARY:
	case MB_PARQUET_OTHER:
		return MB_BYTE_ARRAY;
	case MB_PARQUET_DECIMAL:
		if (type.precision <= 9)
			return MB_INT32;
		if (type.precision <= 18)
			return MB_INT64;
		*fixed_len = mb_decimal_len(type.precision);
		return MB_FIXED;
	default:
		return MB_INT64;
	}
}

void
mb_plain_put(struct mb_buf *out, struct mb_parquet_type type,
    const union mb_parquet_value *v)
{
	uint32_t fixed_len;
	float f;

	switch (mb_physical_of(type, &fixed_len)) {
	case MB_BOOLEAN:
		mb_buf_addc(out, v->i != 0);
		break;
	case MB_INT32:
		mb_buf_add(out, &v->i, 4);	/* little-endian, as we are */
		break;
	case MB_FLOAT:
		f = (float)v->d;
		mb_buf_add(out, &f, 4);
		break;
	case MB_DOUBLE:
		mb_buf_add(out, &v->d, 8);
		break;
	case MB_BYTE_ARRAY:
		mb_buf_add(out, v->bytes.p, v->bytes.len);
		break;
	case MB_FIXED:
		while (fixed_len-- > 0)
			mb_buf_addc(out, (char)(v->decimal >> 8 * fixed_len));
		break;
	default:
		mb_buf_add(out, &v->i, 8);
		break;
	}
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
    "values are copied into pages as they stand in memory");
