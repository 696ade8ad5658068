/*
 * pages.h - the pages of a column chunk, one after the other, decompressed.
 */
#ifndef MB_PARQUET_PAGES_H
#define MB_PARQUET_PAGES_H

#include "parquet/metadata.h"

struct mb_pages {
	/* Set by the opener. */
	int fd;
	const char *name;		/* of the file */
	const struct mb_meta_chunk *chunk;
	uint64_t off;			/* of the next page */

	/* private */
	struct mb_buf window;		/* bytes of the file from window_off on */
	uint64_t window_off;
	struct mb_buf raw;
};

/* Borrowed until the next call. */
struct mb_page {
	enum mb_page_type type;		/* data (of either version), dictionary */
	uint64_t off;			/* in the file, for messages */
	uint32_t n_entries;
	int64_t encoding;
	bool is_v2;
	struct mb_str repeats, levels;	/* of version 2 */
	struct mb_str body;		/* what else there is */
};

/*
 * Exactly len bytes at off, which were in the file when it was opened: else
 * MB_EDATA.
 */
MB_CHECK int mb_pages_read(int fd, const char *name, void *p, size_t len,
    uint64_t off, struct mb_err *err);

/*
 * Returns 1, 0 at the end of the chunk.  MB_EDATA: damaged, or a checksum
 * that is wrong.
 */
MB_CHECK int mb_pages_next(struct mb_pages *p, struct mb_page *out,
    struct mb_err *err);
void mb_pages_release(struct mb_pages *p);

#endif
