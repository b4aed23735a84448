/* SHA-256: the vectors of FIPS 180-2, appendix B, and that pieces of any size give the digest of the whole. */
#include "src/core/sha256.h"
#include "tests/unit/test.h"

#include <stdlib.h>

int main(void)
{
    um_sha256 h;
    char hex[65], whole[65];
    um_sha256_init(&h);
    um_sha256_hex(&h, hex);
    CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    um_sha256_init(&h);
    um_sha256_add(&h, "abc", 3);
    um_sha256_hex(&h, hex);
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    um_sha256_init(&h);
    um_sha256_add(&h, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    um_sha256_hex(&h, hex);
    CHECK_STR(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *a = malloc(1000000);
    memset(a, 'a', 1000000);
    um_sha256_init(&h);
    um_sha256_add(&h, a, 1000000);
    um_sha256_hex(&h, whole);
    CHECK_STR(whole, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    um_sha256_init(&h);
    for (size_t at = 0, n = 1; at < 1000000; at += n, n = n * 7 % 211) um_sha256_add(&h, a + at, n < 1000000 - at ? n : 1000000 - at);
    um_sha256_hex(&h, hex);
    CHECK_STR(hex, whole);
    free(a);
    return TEST_END();
}
