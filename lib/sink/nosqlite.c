/*
 * nosqlite.c - what stands in for sqlite.c where SQLite is left out.
 */
#include "sink/sink.h"

static int
refuse(const char *file_and_table, struct mb_err *err)
{
	return mb_fail(err, MB_EUSAGE, "sqlite:%s: this mb was built without "
	    "SQLite (make SQLITE=yes)", file_and_table);
}

int
mb_sink_open_sqlite(struct mb_sink **out, const char *file_and_table,
    const struct mb_sink_options *options, struct mb_err *err)
{
	(void)out;
	(void)options;
	return refuse(file_and_table, err);
}

int
mb_sink_find_sqlite(struct mb_found *out, const char *file_and_table,
    const char *journal_path, struct mb_err *err)
{
	(void)out;
	(void)journal_path;
	return refuse(file_and_table, err);
}
