/* core: errors, buffers, frames, checksums, random numbers. */
#include "src/core/buf.h"
#include "src/core/crc.h"
#include "src/core/frames.h"
#include "src/core/hash.h"
#include "src/core/rng.h"
#include "tests/unit/test.h"

static um_status inner(void) { return UM_FAIL(UM_IO, "cannot open %s: no", um_quote("a\nb")); }

static um_status outer(void)
{
    UM_TRY(inner(), "cannot seal the shard");
    return UM_OK;
}

static void errors(void)
{
    CHECK_INT(outer(), UM_IO);
    CHECK_STR(um_err_text(), "cannot seal the shard: cannot open 'a\\x0ab': no");
    CHECK(strstr(um_err_where(), "test_core.c") != NULL);
    CHECK_STR(um_quote("caf\xc3\xa9 \xff"), "'caf\xc3\xa9 \\xff'");
    CHECK_STR(um_status_name(UM_NO_FACE), "NO_FACE");
    CHECK_INT(um_status_from_name("POISON"), UM_POISON);
    CHECK_INT(um_status_exit(UM_STOPPED), 75);
    for (int i = 0; i < 20; i++) um_err_note(UM_IO, "line %d", i); /* more than fit */
    CHECK(strstr(um_err_text(), "more lines") != NULL);
}

static void buffers(void)
{
    um_buf b = {0};
    CHECK_OK(um_buf_add_json(&b, "a\"\\\n\xff\xc3\xa9"));
    CHECK_STR((char *)b.data, "\"a\\\"\\\\\\u000a\\udcff\xc3\xa9\"");
    um_buf_clear(&b);
    CHECK_OK(um_buf_add_csv(&b, "a,\"b\"\n"));
    CHECK_STR((char *)b.data, "\"a,\"\"b\"\"\n\"");
    um_buf_clear(&b);
    for (int i = 0; i < 1000; i++) CHECK_OK(um_buf_printf(&b, "%d,", i % 10));
    CHECK_INT(b.len, 2000);
    um_buf_release(&b);
}

static void frames(void)
{
    um_frames f;
    char text[64];
    const char *const good[] = {"every:10", "every:10:320", "spread:32", "all"};
    for (int k = 0; k < 4; k++) {
        CHECK_OK(um_frames_parse(good[k], &f));
        um_frames_format(&f, text);
        CHECK_STR(text, good[k]);
        for (int64_t n = 0; n <= 400; n += n < 70 ? 1 : 37) { /* count, wants and end tell the same story for every length */
            int64_t count = 0, last = -1;
            for (int64_t i = 0; i < n + 5; i++)
                if (um_frames_wants(&f, i, n)) {
                    count++;
                    last = i;
                }
            CHECK_INT(um_frames_count(&f, n), count);
            CHECK(um_frames_end(&f, n) >= last + 1 && (n == 0 || um_frames_end(&f, n) <= n));
        }
    }
    CHECK_OK(um_frames_parse("every:10:320", &f));
    CHECK_INT(um_frames_count(&f, 300), 30);
    CHECK_INT(um_frames_count(&f, 1000), 32);
    CHECK_INT(um_frames_end(&f, -1), 311);
    CHECK_OK(um_frames_parse("spread:3", &f)); /* linspace(0, 9, 3) = 0, 4.5, 9 */
    CHECK(um_frames_wants(&f, 0, 10) && um_frames_wants(&f, 4, 10) && um_frames_wants(&f, 9, 10) && !um_frames_wants(&f, 5, 10));
    const char *const bad[] = {"", "every", "every:", "every:0", "every:-1", "every:10:", "every:10:0", "spread:0", "spread:x", "all ", "every:10:320:1", "every: 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK_INT(um_frames_parse(bad[i], &f), UM_USAGE);
}

static void checksums(void)
{
    CHECK_INT(um_crc32c(0, "123456789", 9), 0xe3069283u);
    CHECK_INT(um_crc32c(um_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
    CHECK(um_hash64(UM_HASH64_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
}

static void random_numbers(void)
{
    /* Known-answer vectors of Random123's kat_vectors for philox4x32 with 10 rounds. */
    uint32_t zero[4] = {0}, ones[4] = {~0u, ~0u, ~0u, ~0u}, out[4];
    um_philox(zero, zero, out);
    CHECK(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d && out[2] == 0xbc57ac4c && out[3] == 0x9b00dbd8);
    um_philox(ones, ones, out);
    CHECK(out[0] == 0x408f276d && out[1] == 0x41c83b0e && out[2] == 0xa20bc7c6 && out[3] == 0x6d5451fd);
    um_rng a = um_rng_stream(1, 2, 3, UM_RNG_TEST), b = um_rng_stream(1, 2, 3, UM_RNG_TEST), c = um_rng_stream(1, 2, 4, UM_RNG_TEST);
    double sum = 0, squares = 0;
    int differ = 0;
    for (int i = 0; i < 10000; i++) {
        uint32_t x = um_rng_u32(&a);
        CHECK(x == um_rng_u32(&b));
        differ += x != um_rng_u32(&c);
    }
    CHECK(differ > 9990);
    for (int i = 0; i < 10000; i++) {
        double x = um_rng_normal(&a);
        sum += x;
        squares += x * x;
    }
    CHECK_NEAR(sum / 10000, 0, 0.05);
    CHECK_NEAR(squares / 10000, 1, 0.06);
    for (int i = 0; i < 1000; i++) CHECK(um_rng_below(&a, 7) < 7);
}

int main(void)
{
    errors();
    buffers();
    frames();
    checksums();
    random_numbers();
    return TEST_END();
}
