#include "agg/reject.h"

#include <inttypes.h>

#include "base/line.h"
#include "base/parse.h"

size_t
mb_places_make(struct mb_place *out, const struct mb_extent *ranges,
    size_t n, uint64_t total)
{
	uint64_t at = 0;

	for (size_t i = 0; i < n; i++) {
		out[i] = (struct mb_place){ .from = at,
			.source = ranges[i].source,
			.start = ranges[i].start };
		/* A partial last line was given its newline. */
		at += ranges[i].end - ranges[i].start + ranges[i].is_partial;
	}
	return at == total ? n : 0;
}

void
mb_reject_put(struct mb_buf *out, const struct mb_row_reject *r,
    const struct mb_place *place)
{
	mb_buf_addc(out, '{');
	mb_line_bytes(out, "source", mb_str(place->source));
	mb_line_u64(out, "offset", place->start + (r->off - place->from));
	mb_line_u64(out, "record", r->number);
	mb_line_u64(out, "length", r->end - r->off);
	mb_line_str(out, "reason", r->reason);
	mb_line_bytes(out, "data", r->data);
	mb_buf_adds(out, "}\n");
}

void
mb_reject_say(struct mb_buf *out, const struct mb_row_reject *r,
    const struct mb_place *place)
{
	if (place != NULL) {
		mb_show(out, mb_str(place->source));
		mb_buf_addf(out, ": byte %" PRIu64 ": ",
		    place->start + (r->off - place->from));
	} else {
		mb_buf_addf(out, "record %" PRIu64 ": ", r->number);
	}
	mb_buf_adds(out, r->reason);
}
