#!/bin/bash
# The emulator's own declarations against NVIDIA's: every number that is named, and the type of every function, as a compiler sees them. Skipped where the tool kit is not. (That the module's sources compile with NVIDIA's headers too is shown by
# building it.)
# shellcheck source=tests/job/common.sh
. "$UNMASK_SOURCE/tests/job/common.sh"
for cuda in "${CUDA_HOME:-}" /usr/local/cuda; do [ ! -e "$cuda/include/cublasLt.h" ] || break; done
[ -e "$cuda/include/cublasLt.h" ] || skip "no CUDA tool kit (cuda_runtime_api.h, cublasLt.h)"
ours=$UNMASK_SOURCE/tests/emu/include
cd "$work"
headers=("$ours/cuda_runtime_api.h" "$ours/cublasLt.h")
includes='#include <cuda_runtime_api.h>\n#include <cublasLt.h>\n'
if [ -e "$cuda/include/nccl.h" ]; then
    headers+=("$ours/nccl.h")
    includes+='#include <nccl.h>\n'
else
    echo "no nccl.h: NCCL's names are not compared"
fi

mapfile -t names < <(grep -hoE '\b(cuda|CUDA|CUBLAS|nccl)[A-Za-z0-9_]+ = [0-9]+' "${headers[@]}" | cut -d' ' -f1; sed -nE 's/^#define (cuda[A-Za-z]+|NCCL_UNIQUE[A-Z_]+|NCCL_CONFIG_UNDEF_INT) .*/\1/p' "${headers[@]}")
[ "${#names[@]}" -gt 50 ] || fail "only ${#names[@]} names were found in the headers"
{
    printf '%b#include <stdio.h>\nint main(void)\n{\n' "$includes"
    for n in "${names[@]}"; do printf '    printf("%s %%lld\\n", (long long)%s);\n' "$n" "$n"; done
    printf '    return 0;\n}\n'
} >numbers.c
gcc -w -I"$ours" numbers.c -o ours && ./ours >ours.txt
gcc -w -I"$cuda/include" numbers.c -o theirs && ./theirs >theirs.txt
diff ours.txt theirs.txt || fail "numbers differ (< ours, > NVIDIA's)"

# Functions: NVIDIA's header, then our prototype of the same name. Types that are only named differently (enums, handles) are the same to a compiler after ours are renamed to theirs.
mapfile -t functions < <(sed -e 's://.*::' "${headers[@]}" | tr '\n' ' ' | grep -oE '(cudaError_t|cublasStatus_t|ncclResult_t|const char \*|size_t) ?(cuda|cublas|nccl)[A-Za-z]+\([^()]*\);')
[ "${#functions[@]}" -gt 50 ] || fail "only ${#functions[@]} functions were found in the headers"
{
    printf '%b' "$includes"
    printf '%s\n' "${functions[@]}"
} >functions.c
gcc -w -fsyntax-only -I"$cuda/include" functions.c || fail "a function has another type than NVIDIA's"
echo "${#names[@]} numbers and ${#functions[@]} functions are NVIDIA's"
