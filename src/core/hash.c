#include "src/core/hash.h"

uint64_t um_hash64(uint64_t h, const void *p, size_t n)
{
    static const uint64_t PRIME = UINT64_C(0x100000001b3);
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * PRIME;
    return h;
}
