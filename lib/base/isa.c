#include "base/isa.h"

#include <string.h>

bool
mb_isa_is_there(enum mb_isa isa)
{
	switch (isa) {
	case MB_ISA_BEST:
	case MB_ISA_NONE:
	case MB_ISA_PORTABLE:
		return true;
	case MB_ISA_NEON:
#if defined(__aarch64__)
		return true;
#else
		return false;
#endif
	case MB_ISA_AVX2:
#if defined(__x86_64__)
		return __builtin_cpu_supports("avx2") &&
		    __builtin_cpu_supports("bmi") &&
		    __builtin_cpu_supports("bmi2") &&
		    __builtin_cpu_supports("pclmul");
#else
		return false;
#endif
	case MB_ISA_AVX512:
#if defined(__x86_64__)
		return mb_isa_is_there(MB_ISA_AVX2) &&
		    __builtin_cpu_supports("avx512f") &&
		    __builtin_cpu_supports("avx512bw") &&
		    __builtin_cpu_supports("avx512dq") &&
		    __builtin_cpu_supports("avx512vl") &&
		    __builtin_cpu_supports("avx512vbmi2");
#else
		return false;
#endif
	}
	return false;
}

enum mb_isa
mb_isa_best(void)
{
	enum mb_isa isa = MB_ISA_AVX512;

	while (!mb_isa_is_there(isa))
		isa--;
	return isa;
}

int
mb_isa_parse(enum mb_isa *out, const char *name, struct mb_err *err)
{
	static const char *const names[] = {
		[MB_ISA_NONE] = "none", [MB_ISA_PORTABLE] = "portable", [MB_ISA_NEON] = "neon",
		[MB_ISA_AVX2] = "avx2", [MB_ISA_AVX512] = "avx512",
	};

	for (int i = MB_ISA_NONE; i <= MB_ISA_AVX512; i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		if (!mb_isa_is_there((enum mb_isa)i))
			return mb_fail(err, MB_EUSAGE,
			    "\"%s\": not in this processor", name);
		*out = (enum mb_isa)i;
		return 0;
	}
	return mb_fail(err, MB_EUSAGE, "\"%s\": no such instructions (there "
	    "are none portable neon avx2 avx512)", name);
}
