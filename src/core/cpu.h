#pragma once
/* cpu.h: which of our instruction-set levels this processor runs (src/nn/cpu/isa.h, cmake/um_isa.cmake). */

typedef enum um_cpu_level { UM_CPU_BASE, UM_CPU_AVX2, UM_CPU_AVX512 } um_cpu_level;

/* The highest level of the processor, lowered by UNMASK_ISA=base|avx2 in the environment (for tests; results do not depend on it). Any thread. */
um_cpu_level um_cpu_level_get(void);
/* "base", "avx2", "avx512". */
const char *um_cpu_level_name(um_cpu_level level);
