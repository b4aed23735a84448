#include "src/core/crc.h"
#include "src/core/rng.h"
#include "test.h"

/* The definition, a bit at a time. */
static uint32_t slow(uint32_t crc, const unsigned char *p, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0);
    }
    return ~crc;
}

int main(void)
{
    static unsigned char bytes[5000];
    um_rng r = um_rng_stream(1, 0, 0, UM_RNG_TEST);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)um_rng_u32(&r);
    CHECK_INT(um_crc32c(0, "123456789", 9), 0xe3069283u);
    /* Every length on both sides of every block size, aligned or not, from the start or continued. */
    for (size_t n = 0; n < 1200; n++) {
        size_t at = n % 67;
        CHECK_INT(um_crc32c(0, bytes + at, n), slow(0, bytes + at, n));
        CHECK_INT(um_crc32c(0x12345678, bytes + at, n), slow(0x12345678, bytes + at, n));
    }
    for (size_t cut = 0; cut < sizeof bytes; cut += 111) CHECK_INT(um_crc32c(um_crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut), slow(0, bytes, sizeof bytes));
    return TEST_END();
}
