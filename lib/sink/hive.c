#include "sink/hive.h"

static void
put_escaped(struct mb_buf *out, struct mb_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x80 || (c >= '0' && c <= '9') ||
		    ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
		    c == '.' || c == '-')
			mb_buf_addc(out, (char)c);
		else
			mb_buf_addf(out, "%%%02X", c);
	}
}

void
mb_hive_put(struct mb_buf *out, struct mb_str name, struct mb_str value)
{
	put_escaped(out, name);
	mb_buf_addc(out, '=');
	if (value.len == 0)
		mb_buf_adds(out, "__HIVE_DEFAULT_PARTITION__");
	else
		put_escaped(out, value);
	mb_buf_addc(out, '/');
}
