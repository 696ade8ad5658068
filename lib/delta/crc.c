#include "delta/crc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "delta/fields.h"

enum {
	MAX_BYTES = 64 * 1024,	/* it is written with every commit */
	MAX_TXNS = 100,
	KEPT = 100,		/* versions */
};

static void
make_name(char name[MB_DELTA_NAME], int64_t version)
{
	snprintf(name, MB_DELTA_NAME, "%020" PRId64 ".crc", version);
}

void
mb_delta_crc_read(struct mb_delta_state *s, const struct mb_delta_log *l)
{
	struct mb_fields f = { 0 }, meta = { 0 };
	struct mb_err ignored = { 0 };
	struct mb_buf text = { 0 }, id = { 0 };
	char name[MB_DELTA_NAME];
	struct mb_str object;
	int64_t files, bytes;

	if (s->totals.is_known || s->version < 0)
		return;
	make_name(name, s->version);
	if (mb_delta_log_read(l, name, &text, &ignored) > 0 &&
	    mb_fields_set(&f, (struct mb_str){ text.p, text.len }) == NULL &&
	    mb_fields_int(&f, "numFiles", &files) && files >= 0 &&
	    mb_fields_int(&f, "tableSizeBytes", &bytes) && bytes >= 0 &&
	    mb_fields_raw(&f, "metadata", '{', &object) &&
	    mb_fields_set(&meta, object) == NULL &&
	    mb_fields_text(&meta, "id", &id) &&
	    strcmp(mb_buf_str(&id), s->meta.id) == 0)
		s->totals = (struct mb_delta_totals){ true, files, bytes };
	/* The table may have been dropped and made anew below it. */
	if (s->totals.is_known && s->txn_id != NULL &&
	    mb_fields_text(&f, "txnId", &id) &&
	    strcmp(mb_buf_str(&id), s->txn_id) != 0)
		s->totals.is_known = false;
	mb_fields_release(&f);
	mb_fields_release(&meta);
	mb_buf_release(&text);
	mb_buf_release(&id);
}

static void
put_txns(struct mb_buf *out, const struct mb_delta_state *s)
{
	mb_put_name(out, "setTransactions");
	mb_buf_addc(out, '[');
	for (size_t i = 0; i < s->apps.n; i++) {
		mb_buf_adds(out, i > 0 ? ",{" : "{");
		mb_put_text(out, "appId", s->apps.v[i]);
		mb_put_int(out, "version", s->txns[i].version);
		if (s->txns[i].updated_ms >= 0)
			mb_put_int(out, "lastUpdated", s->txns[i].updated_ms);
		mb_buf_addc(out, '}');
	}
	mb_buf_addc(out, ']');
}

static void
put_domains(struct mb_buf *out, const struct mb_delta_state *s)
{
	bool is_first = true;

	mb_put_name(out, "domainMetadata");
	mb_buf_addc(out, '[');
	for (size_t i = 0; i < s->domains.n; i++)
		if (s->domain_texts[i] != NULL) {
			mb_buf_addf(out, "%s%s", is_first ? "" : ",",
			    s->domain_texts[i]);
			is_first = false;
		}
	mb_buf_addc(out, ']');
}

void
mb_delta_crc_put(struct mb_buf *out, const struct mb_delta_state *s)
{
	mb_buf_addc(out, '{');
	if (s->txn_id != NULL)
		mb_put_text(out, "txnId", mb_str(s->txn_id));
	mb_put_int(out, "tableSizeBytes", s->totals.bytes);
	mb_put_int(out, "numFiles", s->totals.files);
	mb_put_int(out, "numMetadata", 1);
	mb_put_int(out, "numProtocol", 1);
	if (s->time_ms >= 0)
		mb_put_int(out, "inCommitTimestampOpt", s->time_ms);
	if (s->apps.n <= MAX_TXNS)
		put_txns(out, s);
	put_domains(out, s);
	mb_put_name(out, "metadata");
	mb_buf_adds(out, s->meta.text);
	mb_put_name(out, "protocol");
	mb_buf_adds(out, s->protocol.text);
	mb_buf_addc(out, '}');
}

void
mb_delta_crc_write(const struct mb_delta_state *s,
    const struct mb_delta_log *l)
{
	struct mb_err ignored = { 0 };
	struct mb_buf text = { 0 };
	char name[MB_DELTA_NAME];

	if (!s->totals.is_known)
		return;
	mb_delta_crc_put(&text, s);
	make_name(name, s->version);
	if (text.len <= MAX_BYTES && mb_delta_log_offer(l, name,
	    (struct mb_str){ text.p, text.len }, &ignored) == 0 &&
	    s->version >= KEPT) {
		make_name(name, s->version - KEPT);
		(void)unlinkat(l->dirfd, name, 0);
	}
	mb_buf_release(&text);
}
