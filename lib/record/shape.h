/*
 * shape.h - ndjson records that look like others before.
 *
 * What stands between two values, such as `,"bytes":`, repeats from record to
 * record.  A shape knows such texts and which may follow on which, from
 * records that json.h has found to be good; whatever it then puts together
 * from them, with values that it checks, is a good record, too, and it knows
 * which of its values are the wanted ones.  Anything else it leaves to json.h.
 */
#ifndef MB_RECORD_SHAPE_H
#define MB_RECORD_SHAPE_H

#include <stdbool.h>

#include "record/marks.h"
#include "record/rows.h"

struct mb_shape;

/*
 * The fields are wanted as mb_reader finds them: a key of exactly this name,
 * else a path.  They are borrowed.
 */
void mb_shape_open(struct mb_shape **out, const struct mb_str *fields,
    size_t n_fields);
void mb_shape_close(struct mb_shape *s);

/*
 * Fill the rows with records from p + rows->start[0] on, the marks being
 * those of p; mark *at is the first that isn't before it, and is moved on.
 * Ends at what isn't whole, and at blank lines.  *seen gets a bit for each
 * field that an ordinary row had.
 */
void mb_shape_rows(struct mb_shape *s, const struct mb_marks *m,
    uint32_t *at, const char *p, struct mb_rows *rows, uint64_t *seen);

/* A good record that was odd for a text that isn't known. */
void mb_shape_learn(struct mb_shape *s, struct mb_str record);

#endif
