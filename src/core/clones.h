#pragma once
/* clones.h: plain loops compiled for several instruction sets.
 *
 * A function marked UM_CLONES is compiled for x86-64-v4, x86-64-v3 and the base, and the loader picks one. For loops whose result does not depend on the vector width: integers, or floats without a sum across lanes
 * (no contraction to fused operations happens: -ffp-contract=off). Kernels that want fused operations or registers of their own use cmake/um_isa.cmake instead.
 * Sanitizers instrument the picking itself and crash in it, so there is one version under them.
 */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(UNMASK_SANITIZED) && !defined(__clang__)
#define UM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define UM_CLONES
#endif
