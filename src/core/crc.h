#pragma once
/* crc.h: CRC-32C (Castagnoli, RFC 3720 section 12.1), the checksum of everything we write. Check value: "123456789" gives e3069283. */
#include <stddef.h>
#include <stdint.h>

/* CRC of n bytes continuing from `crc`; start with 0. The processor's instruction where it has one, a table otherwise. Any thread. */
uint32_t um_crc32c(uint32_t crc, const void *p, size_t n);
