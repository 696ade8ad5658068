#include "world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/scan.h"

enum { DIRTY = 1, LOST = 2 };

static uint64_t
next_random(struct world *w)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

unsigned
pick(struct world *w, unsigned n)
{
	return (unsigned)((next_random(w) >> 32) * n >> 32);
}

bool
chance(struct world *w, unsigned per_1000)
{
	return pick(w, 1000) < per_1000;
}

bool
breaks(const struct world *w, enum rule r)
{
	return w->broken >> r & 1;
}

void
fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failure[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(w->failure, sizeof w->failure, fmt, ap);
	va_end(ap);
	trace(w, "FAILED: %s", w->failure);
}

void
trace(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->is_traced)
		return;
	printf("%4" PRIu64 "  ", w->now);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/*
 * Disks.
 */

static size_t
sector_of(size_t off)
{
	return off / SECTOR;
}

static size_t
n_sectors(size_t len)
{
	return (len + SECTOR - 1) / SECTOR;
}

static void
grow(struct disk *d, size_t len)
{
	size_t cap = d->cap;

	if (len <= cap)
		return;
	while (cap < len)
		cap = cap * 2 + 4096;
	d->dur = mb_realloc(d->dur, cap);
	memset(d->dur + d->cap, 0, cap - d->cap);
	d->flags = mb_realloc(d->flags, n_sectors(cap));
	memset(d->flags + n_sectors(d->cap), 0,
	    n_sectors(cap) - n_sectors(d->cap));
	d->cap = cap;
}

void
disk_set(struct disk *d, const char *p, size_t len)
{
	grow(d, len);
	if (p != d->vol.p) {
		mb_buf_reset(&d->vol);
		mb_buf_add(&d->vol, p, len);
	}
	memset(d->dur, 0, d->cap);
	memset(d->flags, 0, n_sectors(d->cap));
	memcpy(d->dur, d->vol.p, len);
	d->dur_len = d->low = d->synced = len;
}

void
disk_release(struct disk *d)
{
	mb_buf_release(&d->vol);
	free(d->dur);
	free(d->flags);
	*d = (struct disk){ 0 };
}

static size_t
sector_len(const struct disk *d, size_t s)
{
	size_t len = d->vol.len - s * SECTOR;

	return len < SECTOR ? len : SECTOR;
}

static void
save_sector(struct disk *d, size_t s)
{
	size_t len = sector_len(d, s);

	memcpy(d->dur + s * SECTOR, d->vol.p + s * SECTOR, len);
	memset(d->dur + s * SECTOR + len, 0, SECTOR - len);
	d->flags[s] &= (unsigned char)~DIRTY;
}

/* Overwrite or append at `off`. */
static void
disk_write(struct world *w, struct disk *d, size_t off, const char *p,
    size_t len)
{
	if (len == 0)
		return;
	grow(d, n_sectors(off + len) * SECTOR);
	if (off + len > d->vol.len) {
		mb_buf_reserve(&d->vol, off + len - d->vol.len);
		d->vol.len = off + len;
	}
	memmove(d->vol.p + off, p, len);
	for (size_t s = sector_of(off); s <= sector_of(off + len - 1); s++)
		d->flags[s] = DIRTY;
	if (off < d->low)
		d->low = off;
	/* The kernel writes back what it likes, when it likes. */
	if (w != NULL && chance(w, 150)) {
		size_t s = sector_of(off);

		s += pick(w, (unsigned)(n_sectors(off + len) - s));
		save_sector(d, s);
	}
}

static void
disk_truncate(struct disk *d, size_t len)
{
	for (size_t s = n_sectors(len); s < n_sectors(d->vol.len); s++)
		d->flags[s] = 0;
	if (len % SECTOR != 0)
		d->flags[sector_of(len)] = DIRTY;
	d->vol.len = len;
	if (d->synced > len)
		d->synced = len;
	if (d->low > len)
		d->low = len;
}

void
disk_sync(struct disk *d)
{
	size_t s;

	d->synced = d->vol.len;
	for (s = n_sectors(d->vol.len); s-- > sector_of(d->low);) {
		if (d->flags[s] & DIRTY)
			save_sector(d, s);
		if (d->flags[s] & LOST)
			d->synced = s * SECTOR;
	}
	d->dur_len = d->vol.len;
	d->low = d->synced;
}

void
disk_sync_fails(struct world *w, struct disk *d)
{
	for (size_t s = sector_of(d->low); s < n_sectors(d->vol.len); s++) {
		if (!(d->flags[s] & DIRTY))
			continue;
		if (chance(w, 500))
			save_sector(d, s);
		else
			d->flags[s] = LOST;
	}
}

void
disk_rewrite(struct disk *d, size_t from)
{
	if (from < d->vol.len)
		disk_write(NULL, d, from, d->vol.p + from, d->vol.len - from);
}

/* Up to where it is what it was. */
static size_t
disk_power_cut(struct world *w, struct disk *d)
{
	static const unsigned odds[] = { 0, 200, 500, 800, 950, 1000 };
	unsigned kept = odds[pick(w, 6)];
	size_t len = d->vol.len, low = sector_of(d->low);
	size_t same = low * SECTOR;

	if (d->dur_len != len && chance(w, 500))
		len = d->dur_len;
	grow(d, n_sectors(len) * SECTOR);
	for (size_t s = low; s < n_sectors(d->vol.len); s++)
		if ((d->flags[s] & DIRTY) && chance(w, kept))
			save_sector(d, s);
	while (same < len && same < d->vol.len &&
	    d->vol.p[same] == d->dur[same])
		same++;
	mb_buf_reserve(&d->vol, len);
	d->vol.len = len;
	if (len > low * SECTOR)
		memcpy(d->vol.p + low * SECTOR, d->dur + low * SECTOR,
		    len - low * SECTOR);
	disk_set(d, d->vol.p, len);
	return same;
}

/*
 * Journals.  What is cut and what is damage repeats what journal.c does on a
 * real file (its I1 to I3); tests/test_journal.c holds that one to the same
 * rules.
 */

void
journal_create(struct journal *j)
{
	mb_state_init(&j->state, false);
	journal_adopt(j, NULL);
}

void
journal_adopt(struct journal *j, const struct mb_state *s)
{
	struct mb_buf line = { 0 };
	char id[MB_ID_LEN + 1];

	memset(id, 'a', MB_ID_LEN);
	id[MB_ID_LEN] = '\0';
	mb_line_begin(&line, "open");
	mb_line_u64(&line, "version", 1);
	mb_line_str(&line, "id", id);
	mb_line_u64(&line, "base", 0);
	mb_line_seal(&line, 0);
	j->open_len = line.len;
	if (s != NULL)
		mb_put_checkpoint(&line, s, 0);
	journal_restore(j, &line);
	j->is_lost = false;
	mb_buf_release(&line);
}

/* A checkpoint counts the records since it; a file's generation knows. */
unsigned
journal_position(const struct journal *j)
{
	const struct mb_state *s = &j->state;
	const struct mb_generation *g = s->next_generation == 0 ? NULL :
	    mb_state_generation(s, s->next_generation - 1);

	return (unsigned)(g == NULL ? 0 : g->end > s->total_records ? g->end :
	    s->total_records);
}

void
journal_release(struct journal *j)
{
	disk_release(&j->disk);
	mb_state_release(&j->state);
	*j = (struct journal){ 0 };
}

static bool
next_line(const struct journal *j, size_t off, struct mb_str *line)
{
	const char *p = j->disk.vol.p + off, *newline;

	newline = memchr(p, '\n', j->disk.vol.len - off);
	*line = (struct mb_str){ p, newline == NULL ?
	    j->disk.vol.len - off : (size_t)(newline - p) };
	return newline != NULL;
}

/* Offsets in `synced` count from behind the open line. */
static bool
is_vouched_for(const struct journal *j, size_t bad)
{
	struct mb_str line;
	uint64_t synced;
	size_t off = bad;

	while (off < j->disk.vol.len && next_line(j, off, &line)) {
		if (mb_line_check(line) && mb_scan_synced(line, &synced) &&
		    synced + j->open_len > bad)
			return true;
		off += line.len + 1;
	}
	return false;
}

static bool
apply(struct world *w, struct journal *j, struct mb_str line)
{
	struct mb_err err = { 0 };

	if (mb_state_apply(&j->state, line, &err) == 0)
		return true;
	trace(w, "journal: %s", err.msg);
	j->is_damaged = true;
	return false;
}

/* Begin at the last checkpoint, if there is one. */
static void
begin_reading(struct world *w, struct journal *j)
{
	static const char mark[] = "\n{\"mb\":\"checkpoint\",";
	struct mb_str line;
	const char *base = j->disk.vol.p;
	uint64_t synced;
	bool is_full = chance(w, 200);	/* as --retain and listings do */

	mb_state_release(&j->state);
	mb_state_init(&j->state, false);
	if (!next_line(j, 0, &line) || !apply(w, j, line))
		return;
	j->pos = line.len + 1;
	for (size_t off = j->disk.vol.len; !is_full && off-- > j->pos;) {
		if (base[off] != '\n' || j->disk.vol.len - off < sizeof mark ||
		    memcmp(base + off, mark, sizeof mark - 1) != 0)
			continue;
		if (!next_line(j, off + 1, &line) || !mb_line_check(line) ||
		    !mb_scan_synced(line, &synced) ||
		    synced + j->open_len != off + 1)
			continue;
		if (apply(w, j, line))
			j->pos = off + 1 + line.len + 1;
		return;
	}
}

bool
journal_enter(struct world *w, struct journal *j)
{
	struct mb_str line;

	if (j->is_damaged)
		return false;
	if (j->pos == 0)
		begin_reading(w, j);
	while (!j->is_damaged && j->pos < j->disk.vol.len) {
		if (!next_line(j, j->pos, &line) || !mb_line_check(line)) {
			if (is_vouched_for(j, j->pos)) {
				trace(w, "journal: damaged at %zu", j->pos);
				j->is_damaged = true;
				break;
			}
			if (breaks(w, R_CUT)) {
				j->pos = j->disk.vol.len;
				break;
			}
			trace(w, "journal: cut from %zu to %zu", j->disk.vol.len,
			    j->pos);
			disk_truncate(&j->disk, j->pos);
			disk_sync(&j->disk);
			break;
		}
		if (apply(w, j, line))
			j->pos += line.len + 1;
	}
	if (j->is_damaged && !w->is_tampered)
		fail(w, "a journal that nobody harmed is taken for damaged");
	return !j->is_damaged;
}

void
journal_read_all(struct journal *j, struct mb_state *s)
{
	struct mb_err ignored = { 0 };
	struct mb_str line;

	mb_state_init(s, true);
	for (size_t off = 0; off < j->pos; off += line.len + 1)
		if (!next_line(j, off, &line) ||
		    mb_state_apply(s, line, &ignored) < 0)
			break;
}

bool
journal_write(struct world *w, struct journal *j)
{
	size_t len = w->line.len;
	bool is_whole = !w->is_dying;

	if (!is_whole) {
		len = pick(w, (unsigned)len);
		w->c->torn++;
	}
	trace(w, "    %s%.*s", is_whole ? "" : "torn: ", (int)(len > 0 &&
	    w->line.p[len - 1] == '\n' ? len - 1 : len), w->line.p);
	disk_write(w, &j->disk, j->disk.vol.len, w->line.p, len);
	if (!is_whole)
		return false;
	/* The next to enter folds it in; there is no one in between. */
	if (!journal_enter(w, j))
		fail(w, "a line that we wrote can't be read");
	return true;
}

void
journal_power_cut(struct world *w, struct journal *j)
{
	size_t len = j->disk.vol.len, same = disk_power_cut(w, &j->disk);

	j->was_cut |= same < len;
	/* Read it again, unless nothing of what was read is lost. */
	if (same < j->pos || chance(w, 200))
		j->pos = 0;
	j->spool &= j->spool_safe |
	    (chance(w, 500) ? (uint32_t)pick(w, 1u << 31) : 0);
	j->spool_safe = j->spool;
}

void
journal_restore(struct journal *j, const struct mb_buf *bytes)
{
	disk_set(&j->disk, bytes->p, bytes->len);
	j->pos = 0;
	j->is_damaged = false;
}

/*
 * Sinks.
 */

struct version *
sink_seen(struct sink *s)
{
	return &s->v[s->n - 1];
}

void
version_copy(struct version *to, const struct version *from)
{
	*to = *from;
	mb_marker_copy(&to->marker, &from->marker);
	to->places = (struct mb_buf){ 0 };
	if (from->places.len > 0)
		mb_buf_add(&to->places, from->places.p, from->places.len);
}

void
version_release(struct version *v)
{
	mb_marker_release(&v->marker);
	mb_buf_release(&v->places);
	*v = (struct version){ 0 };
}

static void
drop_versions(struct sink *s, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		version_release(&s->v[i]);
	memmove(&s->v[from], &s->v[to], (s->n - to) * sizeof s->v[0]);
	s->n -= to - from;
}

void
sink_sync(struct sink *s)
{
	drop_versions(s, 0, s->n - 1);
}

struct version *
sink_push(struct sink *s)
{
	if (s->n == MAX_VERSIONS)
		drop_versions(s, 0, 1);
	version_copy(&s->v[s->n], &s->v[s->n - 1]);
	return &s->v[s->n++];
}

void
sink_power_cut(struct world *w, struct sink *s)
{
	unsigned kept = pick(w, s->n);

	drop_versions(s, kept + 1, s->n);
	drop_versions(s, 0, kept);
}

void
sink_set(struct sink *s, const struct version *v)
{
	struct version *last = sink_push(s);

	version_release(last);
	version_copy(last, v);
	sink_sync(s);
}

/* Had this batch no rows, in one of the journals? */
static bool
had_no_rows(const struct world *w, uint64_t batch)
{
	for (unsigned i = 0; i < w->n_journals; i++)
		if ((w->journals[i].plan[batch] & ~w->blank) == 0)
			return true;
	return false;
}

void
sink_check(struct world *w, struct sink *s)
{
	const struct version *v = sink_seen(s);

	for (uint64_t k = 0; k < MAX_BATCHES; k++) {
		bool has = mb_marker_has(&v->marker, k);

		if (v->content[k] != 0 && !has)
			fail(w, "%s holds batch %" PRIu64 ", but its marker "
			    "denies it", s->target, k);
		if (v->content[k] == 0 && has && !w->is_tampered &&
		    !had_no_rows(w, k))
			fail(w, "%s lacks batch %" PRIu64 ", but its marker "
			    "has it", s->target, k);
	}
}
