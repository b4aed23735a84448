#include "io/journal.h"
#include "io/jsontext.h"
#include "store_world.h"

static char *base;

typedef struct log_of {
    char text[64][128];
    int n;
} log_of;

static um_status take(void *user, const char *payload, size_t n, int64_t at)
{
    log_of *l = user;
    (void)at;
    if (l->n == 64 || n >= 128) return UM_FAIL(UM_INTERNAL, "too much");
    memcpy(l->text[l->n], payload, n);
    l->text[l->n++][n] = 0;
    return UM_OK;
}

static void journal(void)
{
    char path[4096], other[4096];
    um_journal *j;
    log_of whole = {.n = 0}, part;
    bool damaged;
    void *bytes;
    size_t n;
    world_path(path, base, "a.jnl");
    world_path(other, base, "b.jnl");
    CHECK_OK(um_journal_create(um_vfs_real(), path, &j));
    um_journal *again;
    CHECK_INT(um_journal_create(um_vfs_real(), path, &again), UM_IO); /* nobody else's */
    CHECK_OK(um_journal_append(j, "{\"t\":\"start\"}", 13, false));
    um_journal_arm(j, UINT64_C(0x0123456789abcdef));
    um_journal_last_words(6);
    CHECK_OK(um_journal_append(j, "", 0, true));
    um_journal_arm(j, 1);
    um_journal_last_words(64);
    um_journal_arm(j, 2);
    um_journal_disarm();
    um_journal_last_words(9);
    CHECK_OK(um_journal_append(j, "last", 4, true));
    CHECK_OK(um_journal_close(j));
    CHECK_OK(um_journal_read(um_vfs_real(), path, take, &whole, &damaged));
    CHECK(!damaged);
    CHECK_INT(whole.n, 5);
    CHECK_STR(whole.text[1], "{\"t\":\"strike\",\"unit\":\"0123456789abcdef\",\"signal\":6   }");
    CHECK_STR(whole.text[2], "");
    CHECK_STR(whole.text[3], "{\"t\":\"strike\",\"unit\":\"0000000000000001\",\"signal\":64  }");
    CHECK_STR(whole.text[4], "last");

    /* Whatever bit changes, wherever it is cut: what is read is a leading part of what was written, and the rest is told. */
    int wrong = 0;
    CHECK_OK(um_vfs_read_whole(um_vfs_real(), path, 10000, &bytes, &n));
    uint8_t *b = bytes;
    for (size_t i = 0; i < n * 8 + n; i++) {
        size_t len = i < n * 8 ? n : i - n * 8;
        if (i < n * 8) b[i / 8] ^= (uint8_t)(1u << (i % 8));
        FILE *f = fopen(other, "w");
        CHECK(f != NULL && fwrite(b, 1, len, f) == len);
        fclose(f);
        if (i < n * 8) b[i / 8] ^= (uint8_t)(1u << (i % 8));
        part.n = 0;
        CHECK_OK(um_journal_read(um_vfs_real(), other, take, &part, &damaged));
        for (int k = 0; k < part.n; k++) wrong += strcmp(part.text[k], whole.text[k]) != 0;
        wrong += part.n >= whole.n;
        if (i < n * 8) wrong += !damaged;
    }
    CHECK_INT(wrong, 0);
    free(bytes);
}

static void json_text(void)
{
    /* All bytes but 0 survive um_buf_add_json and back. */
    char name[512];
    um_buf json = {0}, back = {0};
    int at = 0;
    for (int c = 1; c < 256; c++) {
        name[at++] = (char)c;
        if (c % 3 == 0) name[at++] = 'x';
    }
    name[at] = 0;
    CHECK_OK(um_buf_add_json(&json, name));
    um_jsontext t = {(char *)json.data, (char *)json.data + json.len};
    CHECK(um_jsontext_string(&t, &back) && t.p == t.end);
    CHECK_STR((char *)back.data, name);
    const char *bad[] = {"\"a", "\"\\u12\"", "\"\\u0000\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\q\"", "\"\n\"", "\"\xff\"", "a\"", "\"\\"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        um_jsontext s = {bad[i], bad[i] + strlen(bad[i])};
        CHECK(!um_jsontext_string(&s, &back));
    }
    const struct {
        const char *text;
        bool ok;
        int64_t value;
    } numbers[] = {{"0", true, 0}, {"-1", true, -1}, {"9223372036854775807", true, INT64_MAX}, {"-9223372036854775808", true, INT64_MIN}, {"9223372036854775808", false, 0},
                   {"-9223372036854775809", false, 0}, {"", false, 0}, {"-", false, 0}, {"01", false, 0}, {"99999999999999999999", false, 0}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        um_jsontext s = {numbers[i].text, numbers[i].text + strlen(numbers[i].text)};
        int64_t v = 0;
        bool ok = um_jsontext_int(&s, &v);
        CHECK_INT(ok, numbers[i].ok);
        if (ok) CHECK_INT(v, numbers[i].value);
    }
    um_buf_release(&json);
    um_buf_release(&back);
}

int main(void)
{
    base = world_dir();
    journal();
    json_text();
    world_remove(base);
    free(base);
    return TEST_END();
}
