#include "src/core/cpu.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>

/* clang 14 does not know this one by name. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

um_cpu_level um_cpu_level_get(void)
{
    um_cpu_level level = UM_CPU_BASE;
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* Every extension that cmake/um_isa.cmake lets the compiler use. */
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && has_f16c())
        level = UM_CPU_AVX2;
    if (level == UM_CPU_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        level = UM_CPU_AVX512;
#endif
    const char *wish = getenv("UNMASK_ISA");
    if (wish != NULL && strcmp(wish, "base") == 0) level = UM_CPU_BASE;
    if (wish != NULL && strcmp(wish, "avx2") == 0 && level > UM_CPU_AVX2) level = UM_CPU_AVX2;
    return level;
}

const char *um_cpu_level_name(um_cpu_level level) { return level == UM_CPU_AVX512 ? "avx512" : level == UM_CPU_AVX2 ? "avx2" : "base"; }
