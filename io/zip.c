#include "io/zip.h"

#include "src/core/search.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

typedef struct member {
    const char *name; /* libzip's */
    uint64_t size;
    int index; /* in the archive */
    bool stored;
} member;

struct um_zip {
    zip_t *archive;
    member *member; /* [n], in the archive's order */
    int *by_name;   /* [n], sorted */
    int n;
};

bool um_zip_is(const void *bytes, size_t n) { return n >= 4 && memcmp(bytes, "PK\3\4", 4) == 0; }

static um_status check_name(const char *name)
{
    bool bad = name[0] == 0 || name[0] == '/' || strchr(name, '\\') != NULL;
    for (const char *part = name; !bad && part != NULL;) {
        const char *slash = strchr(part, '/');
        size_t len = slash != NULL ? (size_t)(slash - part) : strlen(part);
        bad = len == 2 && memcmp(part, "..", 2) == 0;
        part = slash != NULL ? slash + 1 : NULL;
    }
    return bad ? UM_FAIL(UM_DATA, "the archive has a member of the name %s, which no program that means well writes",
                         um_quote(name))
               : UM_OK;
}

static int compare(const void *a, const void *b, void *context)
{
    const um_zip *z = context;
    return strcmp(z->member[*(const int *)a].name, z->member[*(const int *)b].name);
}

static um_status read_directory(um_zip *z, size_t n_bytes)
{
    uint64_t total = 0;
    for (int i = 0; i < z->n; i++) {
        zip_stat_t s;
        member *m = &z->member[i];
        if (zip_stat_index(z->archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW, &s) != 0)
            return UM_FAIL(UM_DATA, "member %d of the archive is damaged: %s", i, zip_strerror(z->archive));
        const uint64_t need =
            ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
        if ((s.valid & need) != need) return UM_FAIL(UM_DATA, "member %d of the archive lacks a size or a name", i);
        UM_PASS(check_name(s.name));
        *m = (member){.name = s.name, .size = s.size, .index = i, .stored = s.comp_method == ZIP_CM_STORE};
        z->by_name[i] = i;
        if (s.encryption_method != ZIP_EM_NONE) return UM_FAIL(UM_DATA, "the member %s is encrypted", um_quote(s.name));
        if (!m->stored && s.comp_method != ZIP_CM_DEFLATE)
            return UM_FAIL(UM_DATA, "the member %s has compression method %d; stored and deflate are read", um_quote(s.name),
                           s.comp_method);
        /* Compressed sizes that add up to more than the file: members that lie over each other (the way to a small file with much
         * content). */
        if (s.comp_size > n_bytes - total || (m->stored && s.size != s.comp_size))
            return UM_FAIL(UM_DATA, "the member %s claims %" PRIu64 " bytes, %" PRIu64 " of them stored; the archive has %zu",
                           um_quote(s.name), s.size, s.comp_size, n_bytes);
        total += s.comp_size;
        /* Deflate expands at most 1032 times. */
        if (!m->stored && s.size / 1032 > s.comp_size)
            return UM_FAIL(UM_DATA, "the member %s claims to expand from %" PRIu64 " to %" PRIu64 " bytes", um_quote(s.name),
                           s.comp_size, s.size);
    }
    qsort_r(z->by_name, (size_t)z->n, sizeof *z->by_name, compare, z);
    for (int i = 1; i < z->n; i++) {
        if (compare(&z->by_name[i - 1], &z->by_name[i], z) == 0)
            return UM_FAIL(UM_DATA, "the archive has two members of the name %s", um_quote(z->member[z->by_name[i]].name));
    }
    return UM_OK;
}

um_status um_zip_open(const void *bytes, size_t n, um_zip **out)
{
    um_status st = UM_OK;
    zip_error_t error;
    zip_source_t *source = NULL;
    um_zip *z = calloc(1, sizeof *z);
    *out = NULL;
    zip_error_init(&error);
    if (z == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for an archive");
        goto done;
    }
    source = zip_source_buffer_create(bytes, n, 0, &error);
    if (source != NULL) z->archive = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (z->archive == NULL) {
        if (source != NULL) zip_source_free(source);
        int code = zip_error_code_zip(&error);
        /* Some versions of libzip find a repeated name themselves, and say "File already exists". */
        st = UM_FAIL(code == ZIP_ER_MEMORY ? UM_NO_MEMORY : UM_DATA, "not a sound zip archive: %s",
                     code == ZIP_ER_EXISTS ? "two members of one name" : zip_error_strerror(&error));
        goto done;
    }
    zip_int64_t count = zip_get_num_entries(z->archive, 0);
    if (count < 0 || count > UM_ZIP_MAX_MEMBERS) {
        st = UM_FAIL(UM_DATA, "the archive has %" PRId64 " members; the limit is %d", (int64_t)count, UM_ZIP_MAX_MEMBERS);
        goto done;
    }
    z->n = (int)count;
    z->member = calloc((size_t)z->n + 1, sizeof *z->member);
    z->by_name = calloc((size_t)z->n + 1, sizeof *z->by_name);
    if (z->member == NULL || z->by_name == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for %d members", z->n);
        goto done;
    }
    UM_GOTO_PASS(st, read_directory(z, n));
    *out = z;
    z = NULL;
done:
    zip_error_fini(&error);
    um_zip_close(z);
    return st;
}

void um_zip_close(um_zip *z)
{
    if (z == NULL) return;
    if (z->archive != NULL) zip_discard(z->archive); /* frees the source too */
    free(z->member);
    free(z->by_name);
    free(z);
}

int um_zip_count(const um_zip *z) { return z->n; }
const char *um_zip_name(const um_zip *z, int i) { return z->member[i].name; }
uint64_t um_zip_size(const um_zip *z, int i) { return z->member[i].size; }
bool um_zip_stored(const um_zip *z, int i) { return z->member[i].stored; }

static const char *sorted_name(const void *of, int i)
{
    const um_zip *z = of;
    return z->member[z->by_name[i]].name;
}

int um_zip_find(const um_zip *z, const char *name)
{
    int i = um_search_name(sorted_name, z, z->n, name);
    return i < 0 ? -1 : z->by_name[i];
}

um_status um_zip_read(um_zip *z, int i, uint64_t max_bytes, uint8_t **out, size_t *n)
{
    um_status st = UM_OK;
    const member *m = &z->member[i];
    uint8_t *data = NULL;
    zip_file_t *file = NULL;
    uint64_t at = 0;
    *out = NULL;
    if (m->size > max_bytes)
        return UM_FAIL(UM_TOO_LARGE, "the member %s has %" PRIu64 " bytes; at most %" PRIu64 " are expected", um_quote(m->name),
                       m->size, max_bytes);
    data = malloc((size_t)m->size + 1);
    if (data == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the member %s of %" PRIu64 " bytes", um_quote(m->name), m->size);
    file = zip_fopen_index(z->archive, (zip_uint64_t)m->index, 0);
    if (file == NULL) {
        st = UM_FAIL(UM_DATA, "cannot open the member %s: %s", um_quote(m->name), zip_strerror(z->archive));
        goto done;
    }
    /* One byte more is asked for: libzip checks the CRC when it meets the end, and a member longer than it says is noticed. */
    while (at <= m->size) {
        zip_int64_t got = zip_fread(file, data + at, m->size + 1 - at);
        if (got < 0) {
            st = UM_FAIL(UM_DATA, "the member %s is damaged: %s", um_quote(m->name), zip_file_strerror(file));
            goto done;
        }
        if (got == 0) break;
        at += (uint64_t)got;
    }
    if (at != m->size) {
        st = UM_FAIL(UM_DATA, "the member %s is %s than the %" PRIu64 " bytes it claims", um_quote(m->name),
                     at < m->size ? "shorter" : "longer", m->size);
        goto done;
    }
    *out = data;
    data = NULL;
    if (n != NULL) *n = (size_t)m->size;
done:
    if (file != NULL) zip_fclose(file);
    free(data);
    return st;
}
