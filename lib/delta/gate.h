/*
 * gate.h - which Delta tables we append to, and which we leave alone.
 *
 * A writer must know every feature that a table asks for.  What we don't is
 * refused before anything is written, with one line that names it.
 *
 * Pure functions; what they allow is listed in mb-delta(5).
 */
#ifndef MB_DELTA_GATE_H
#define MB_DELTA_GATE_H

#include "delta/schema.h"

/* May rows be appended?  MB_EDATA, naming what forbids it. */
MB_CHECK int mb_delta_gate_append(const struct mb_delta_protocol *p,
    const struct mb_delta_meta *m, const struct mb_delta_schema *s,
    struct mb_err *err);

/*
 * May we write a checkpoint?  One that the table's properties ask more of
 * than we write is left to others: false.
 */
bool mb_delta_gate_checkpoint(const struct mb_delta_meta *m,
    const struct mb_delta_schema *s);

#endif
