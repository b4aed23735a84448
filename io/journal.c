#include "io/journal.h"

#include "src/core/crc.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_PAYLOAD_BYTES = 64 << 20, /* a seal of a million units */
    HEAD_BYTES = 5 + 9 + 1 + 8 + 1, /* at most, before the payload */
    READ_BYTES = 1 << 20
};

struct um_journal {
    um_vfs_file *file;
    um_buf line;
    bool failed;
};

void um_journal_name(int rank, char out[64])
{
    time_t now = time(NULL);
    struct tm utc;
    char when[32];
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y%m%dT%H%M%S", &utc);
    snprintf(out, 64, "%s-%08x-r%d", when, (unsigned)(um_vfs_unique() & 0xffffffffu), rank);
}

bool um_journal_is_name(const char *file_name)
{
    size_t n = strlen(file_name);
    return n > 4 && strcmp(file_name + n - 4, ".jnl") == 0;
}

um_status um_journal_format(um_buf *out, const char *payload, size_t n)
{
    if (n > MAX_PAYLOAD_BYTES) return UM_FAIL(UM_INTERNAL, "a journal record of %zu bytes is too large", n);
    UM_PASS(um_buf_printf(out, "UMJ1 %zu %08x ", n, um_crc32c(0, payload, n)));
    UM_PASS(um_buf_add(out, payload, n));
    return um_buf_add_str(out, "\n");
}

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
    j->failed = true;
    um_buf_clear(&j->line);
    UM_PASS(um_journal_format(&j->line, payload, n));
    UM_PASS(um_vfs_write(j->file, j->line.data, j->line.len)); /* one call: records of a killed process are whole */
    if (durable) UM_PASS(um_vfs_sync(j->file));
    j->failed = false;
    return UM_OK;
}

um_status um_journal_sync(um_journal *j)
{
    if (j->failed) return UM_FAIL(UM_INTERNAL, "the journal failed before");
    j->failed = true;
    UM_PASS(um_vfs_sync(j->file));
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

typedef enum found { WHOLE, CUT, BAD } found; /* CUT: these bytes may be the beginning of a record */

/* The record at p: its payload, and the bytes it takes (CUT: at least so many). */
static found find_record(const char *p, size_t n, const char **payload, size_t *len, size_t *took)
{
    size_t at = 5, size = 0;
    *took = HEAD_BYTES;
    if (memcmp(p, "UMJ1 ", n < 5 ? n : 5) != 0) return BAD;
    for (; at < n && at < 14 && p[at] >= '0' && p[at] <= '9'; at++) size = size * 10 + (size_t)(p[at] - '0');
    if (at >= n) return CUT;
    if (at == 5 || size > MAX_PAYLOAD_BYTES || p[at] != ' ') return BAD;
    *took = at + 11 + size;
    if (n < *took) return CUT;
    char crc[9];
    snprintf(crc, sizeof crc, "%08x", um_crc32c(0, p + at + 10, size));
    if (p[at + 9] != ' ' || p[at + 10 + size] != '\n' || memcmp(crc, p + at + 1, 8) != 0) return BAD;
    *payload = p + at + 10;
    *len = size;
    return WHOLE;
}

um_status um_journal_scan(const char *text, size_t n, um_journal_record *record, void *user, bool *damaged)
{
    um_status st = UM_OK;
    size_t at = 0, len = 0, took;
    const char *payload = NULL;
    while (at < n && st == UM_OK && find_record(text + at, n - at, &payload, &len, &took) == WHOLE) {
        st = record(user, payload, len, payload - text);
        if (st == UM_OK) at += took;
    }
    *damaged = at < n && (st == UM_OK || st == UM_END);
    return st == UM_END ? UM_OK : st;
}

um_status um_journal_read(um_vfs *vfs, const char *path, um_journal_record *record, void *user, bool *damaged)
{
    um_vfs_file *f = NULL;
    um_buf b = {0};
    int64_t size, at = 0; /* b holds the bytes from `at` on */
    size_t used = 0;
    um_status st = um_vfs_open(vfs, path, &f, &size);
    *damaged = false;
    if (st != UM_OK) return st;
    for (;;) {
        const char *payload = NULL;
        size_t len = 0, took = HEAD_BYTES;
        found what = used < b.len ? find_record((char *)b.data + used, b.len - used, &payload, &len, &took) : CUT;
        if (what == WHOLE) {
            st = record(user, payload, len, at + (payload - (char *)b.data));
            if (st != UM_OK) break;
            used += took;
            continue;
        }
        int64_t left = size - at - (int64_t)b.len;
        if (what == BAD || left == 0) break;
        /* The rest of this record, and more: what was used goes. */
        size_t keep = b.len - used, want = took > keep + READ_BYTES ? took - keep : READ_BYTES;
        if ((int64_t)want > left) want = (size_t)left;
        if (keep > 0) memmove(b.data, b.data + used, keep);
        at += (int64_t)used;
        used = 0;
        b.len = keep;
        UM_GOTO_PASS(st, um_buf_reserve(&b, want));
        UM_GOTO_PASS(st, um_vfs_read(f, b.data + keep, want, at + (int64_t)keep));
        b.len = keep + want;
    }
    *damaged = (st == UM_OK || st == UM_END) && at + (int64_t)used < size;
    if (st == UM_END) st = UM_OK;
done:
    um_buf_release(&b);
    um_vfs_drop(f);
    return st;
}

um_status um_journal_read_folder(um_vfs *vfs, const char *folder, um_journal_begin *begin, um_journal_record *record, um_journal_end *end, void *user, int64_t *n_damaged)
{
    um_names names;
    um_buf path = {0};
    um_status st = um_vfs_list(vfs, folder, &names);
    for (int i = 0; st == UM_OK && i < names.n; i++) {
        bool damaged = false;
        if (!um_journal_is_name(names.name[i])) continue;
        um_buf_clear(&path);
        UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s", folder, names.name[i]));
        if (begin != NULL) UM_GOTO_PASS(st, begin(user, names.name[i]));
        st = um_journal_read(vfs, (char *)path.data, record, user, &damaged);
        if (st == UM_MISSING) { /* a rank that had nothing to do has just removed its own */
            um_err_clear();
            st = UM_OK;
        }
        if (end != NULL && st == UM_OK) end(user);
        *n_damaged += damaged;
    }
done:
    um_names_release(&names);
    um_buf_release(&path);
    return st;
}
