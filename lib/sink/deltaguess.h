/*
 * deltaguess.h - rows for a Delta table while types of its columns are open.
 *
 * They wait (held.h), but not all of them: what can be no value of its column,
 * whatever the open types become, is found here.  Each row that may wait is
 * what the open types are guessed by.
 */
#ifndef MB_SINK_DELTAGUESS_H
#define MB_SINK_DELTAGUESS_H

#include "sink/deltashape.h"
#include "sink/intake.h"

/*
 * A row: a value for each column.  NULL: it may wait.  Else why not, which is
 * a constant text, and for which column.
 */
const char *mb_deltaguess_row(struct mb_columns *columns,
    const struct mb_deltashape *shape, const struct mb_value *values,
    size_t *column);

/* Many at once.  False: not all of them may, and none was looked at. */
bool mb_deltaguess_rows(struct mb_columns *columns,
    const struct mb_deltashape *shape, const struct mb_intake_rows *rows);

#endif
