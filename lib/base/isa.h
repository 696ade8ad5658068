/*
 * isa.h - which of its instructions the processor lends us.
 *
 * What runs 64 bytes at a time is written once, compiled for each of these,
 * and gives the same results with all of them; only the time differs.  Tests
 * ask for one by name.
 */
#ifndef MB_BASE_ISA_H
#define MB_BASE_ISA_H

#include <stdbool.h>

#include "base/err.h"

enum mb_isa {
	MB_ISA_BEST,		/* whatever mb_isa_best says */
	MB_ISA_NONE,		/* none: record by record, the definition */
	MB_ISA_PORTABLE,	/* C, eight bytes at a time */
	MB_ISA_NEON,		/* every arm64 */
	MB_ISA_AVX2,		/* with bmi, bmi2, lzcnt, popcnt, pclmul */
	MB_ISA_AVX512,		/* f, bw, dq, vl, vbmi2 */
};

bool mb_isa_is_there(enum mb_isa isa);

/* The best one of this processor. */
enum mb_isa mb_isa_best(void);

/*
 * "none", "portable", "neon", "avx2", "avx512".  MB_EUSAGE: there is no such, or not
 * in this processor.
 */
MB_CHECK int mb_isa_parse(enum mb_isa *out, const char *name,
    struct mb_err *err);

#endif
