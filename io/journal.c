#include "io/journal.h"

#include "src/core/buf.h"
#include "src/core/crc.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_JOURNAL_BYTES = 1 << 30,
    MAX_PAYLOAD_BYTES = 64 << 20 /* a seal of a million units */
};

struct um_journal {
    um_vfs_file *file;
    um_buf line;
    bool failed;
};

um_status um_journal_create(um_vfs *vfs, const char *path, um_journal **out)
{
    *out = NULL;
    const char *slash = strrchr(path, '/');
    char *folder = slash != NULL ? strndup(path, (size_t)(slash - path)) : strdup(".");
    um_journal *j = calloc(1, sizeof *j);
    um_status st = UM_OK;
    if (j == NULL || folder == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a journal");
        goto done;
    }
    UM_GOTO_PASS(st, um_vfs_create_append(vfs, path, &j->file));
    UM_GOTO_PASS(st, um_vfs_sync_dir(vfs, folder));
    *out = j;
    j = NULL;
done:
    if (j != NULL) {
        if (j->file != NULL) um_vfs_close(j->file);
        free(j);
    }
    free(folder);
    return st;
}

um_status um_journal_append(um_journal *j, const char *payload, size_t n, bool durable)
{
    if (j->failed) return UM_FAIL(UM_INTERNAL, "the journal failed before");
    if (n > MAX_PAYLOAD_BYTES) return UM_FAIL(UM_INTERNAL, "a journal record of %zu bytes is too large", n);
    j->failed = true;
    um_buf_clear(&j->line);
    UM_PASS(um_buf_printf(&j->line, "UMJ1 %zu %08x ", n, um_crc32c(0, payload, n)));
    UM_PASS(um_buf_add(&j->line, payload, n));
    UM_PASS(um_buf_add_str(&j->line, "\n"));
    UM_PASS(um_vfs_write(j->file, j->line.data, j->line.len)); /* one call: records of a killed process are whole */
    if (durable) UM_PASS(um_vfs_sync(j->file));
    j->failed = false;
    return UM_OK;
}

um_status um_journal_close(um_journal *j)
{
    if (j == NULL) return UM_OK;
    um_status st = um_vfs_close(j->file);
    j->file = NULL;
    um_journal_drop(j);
    return st;
}

void um_journal_drop(um_journal *j)
{
    if (j == NULL) return;
    um_journal_disarm();
    um_vfs_drop(j->file);
    um_buf_release(&j->line);
    free(j);
}

/* ---- last words ---- */

/* The record as it will be written, but for checksum and signal number, which the handler fills in. */
static struct {
    char text[128];
    int head, signal_at, len; /* payload starts at head; the newline is not part of it */
    int fd;
} last;
static atomic_int last_armed;

void um_journal_arm(um_journal *j, uint64_t unit)
{
    char payload[96];
    um_journal_disarm();
    int n = snprintf(payload, sizeof payload, "{\"t\":\"strike\",\"unit\":\"%016llx\",\"signal\":    }", (unsigned long long)unit);
    last.head = snprintf(last.text, sizeof last.text, "UMJ1 %d 00000000 ", n);
    last.len = last.head + snprintf(last.text + last.head, sizeof last.text - (size_t)last.head, "%s\n", payload);
    last.signal_at = last.head + n - 5;
    last.fd = um_vfs_fd(j->file);
    atomic_store(&last_armed, 1);
}

void um_journal_disarm(void) { atomic_store(&last_armed, 0); }

void um_journal_last_words(int signal_number)
{
    if (atomic_exchange(&last_armed, 0) == 0 || signal_number < 0 || signal_number > 999) return;
    char digits[3];
    int n = 0;
    do {
        digits[n++] = (char)('0' + signal_number % 10);
        signal_number /= 10;
    } while (signal_number > 0);
    for (int i = 0; i < n; i++) last.text[last.signal_at + i] = digits[n - 1 - i];
    uint32_t crc = um_crc32c(0, last.text + last.head, (size_t)(last.len - 1 - last.head));
    for (int i = 0; i < 8; i++) last.text[last.head - 2 - i] = "0123456789abcdef"[crc >> (4 * i) & 15];
    ssize_t written = write(last.fd, last.text, (size_t)last.len);
    if (written == last.len) fdatasync(last.fd);
}

/* ---- reading ---- */

/* The record at p, of at most n bytes: its payload and the bytes it takes; false when there is no whole one. */
static bool whole_record(const char *p, size_t n, const char **payload, size_t *len, size_t *took)
{
    size_t at = 5, size = 0;
    if (n < 16 || memcmp(p, "UMJ1 ", 5) != 0) return false;
    for (; at < n && at < 14 && p[at] >= '0' && p[at] <= '9'; at++) size = size * 10 + (size_t)(p[at] - '0');
    if (at == 5 || size > MAX_PAYLOAD_BYTES || n - at < size + 11 || p[at] != ' ' || p[at + 9] != ' ' || p[at + 10 + size] != '\n') return false;
    char crc[9];
    snprintf(crc, sizeof crc, "%08x", um_crc32c(0, p + at + 10, size));
    if (memcmp(crc, p + at + 1, 8) != 0) return false;
    *payload = p + at + 10;
    *len = size;
    *took = at + 11 + size;
    return true;
}

um_status um_journal_read(um_vfs *vfs, const char *path, um_journal_record *record, void *user, bool *damaged)
{
    void *bytes;
    size_t n, at = 0, took;
    um_status st = um_vfs_read_whole(vfs, path, MAX_JOURNAL_BYTES, &bytes, &n);
    *damaged = false;
    if (st == UM_TOO_LARGE) return um_err_note(UM_DATA, "cannot use a journal");
    if (st != UM_OK) return st;
    while (at < n) {
        const char *payload;
        size_t len;
        if (!whole_record((const char *)bytes + at, n - at, &payload, &len, &took)) {
            *damaged = true;
            break;
        }
        st = record(user, payload, len);
        if (st == UM_END) {
            *damaged = true;
            st = UM_OK;
            break;
        }
        if (st != UM_OK) break;
        at += took;
    }
    free(bytes);
    return st;
}
