#include "journal/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"

enum { MAX_LINE = 1 << 30 };

int
mb_scan_next(struct mb_scan *r, struct mb_err *err)
{
	size_t start, scanned = 0;
	char *newline;
	ssize_t n;

	r->off = r->end;
	start = (size_t)(r->off - r->from);
	while ((newline = r->buf.len > start + scanned ?
	    memchr(r->buf.p + start + scanned, '\n',
	    r->buf.len - start - scanned) : NULL) == NULL) {
		scanned = r->buf.len - start;
		if (start > 0) {
			/* Keep what belongs to this line only. */
			memmove(r->buf.p, r->buf.p + start, scanned);
			r->buf.len = scanned;
			r->from = r->off;
			start = 0;
		}
		if (r->at_end)
			break;
		if (scanned > MAX_LINE)
			return mb_fail(err, MB_ECORRUPT,
			    "%s: no end of line after byte %" PRIu64, r->name,
			    r->off);
		mb_buf_reserve(&r->buf, MB_SCAN_CHUNK);
		n = mb_pread_full(r->fd, r->buf.p + r->buf.len, MB_SCAN_CHUNK,
		    r->from + r->buf.len, r->name, err);
		if (n < 0)
			return -1;
		r->buf.len += (size_t)n;
		r->at_end = n < MB_SCAN_CHUNK;
	}
	scanned = r->buf.len - start;
	if (newline == NULL && scanned == 0)
		return 0;
	r->has_newline = newline != NULL;
	r->line.p = r->buf.p + start;
	r->line.len = r->has_newline ? (size_t)(newline - r->line.p) : scanned;
	r->end = r->off + r->line.len + r->has_newline;
	r->is_good = r->has_newline && mb_line_check(r->line);
	return 1;
}

void
mb_scan_seek(struct mb_scan *r, uint64_t off)
{
	r->off = r->end = r->from = off;
	r->buf.len = 0;
	r->at_end = false;
}

bool
mb_scan_is(struct mb_str line, const char *verb)
{
	char start[64];
	size_t len = (size_t)snprintf(start, sizeof start, "{\"mb\":\"%s\"",
	    verb);

	return line.len > len && memcmp(line.p, start, len) == 0;
}

bool
mb_scan_synced(struct mb_str line, uint64_t *synced)
{
	struct mb_err ignored = { 0 };
	struct mb_doc *doc;
	bool found;

	if (!mb_scan_is(line, "plan") && !mb_scan_is(line, "checkpoint") &&
	    !mb_scan_is(line, "part"))
		return false;
	if (mb_doc_parse(&doc, line, &ignored) < 0)
		return false;
	found = mb_node_u64(mb_doc_root(doc), "synced", synced);
	mb_doc_close(doc);
	return found;
}
