#include "src/core/crc.h"

#include <string.h>

static uint32_t table_crc(uint32_t c, const uint8_t *p, size_t n)
{
    static const uint32_t POLYNOMIAL = 0x82f63b78u; /* reflected 1edc6f41 */
    /* Four bits at a time: the table is small enough to be made on the fly and the path is only for processors without SSE 4.2. */
    uint32_t t[16];
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t v = i;
        for (int k = 0; k < 4; k++) v = (v >> 1) ^ ((v & 1) ? POLYNOMIAL : 0);
        t[i] = v;
    }
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        c = (c >> 4) ^ t[c & 15];
        c = (c >> 4) ^ t[c & 15];
    }
    return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t hw_crc(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t c = crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        c = __builtin_ia32_crc32di(c, v);
    }
    uint32_t r = (uint32_t)c;
    for (; n > 0; p++, n--) r = __builtin_ia32_crc32qi(r, *p);
    return r;
}
#endif

uint32_t um_crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return ~hw_crc(~crc, p, n);
#endif
    return ~table_crc(~crc, p, n);
}
