/* Bytes of a store change, vanish or are cut off: what is read is either right or refused, and nothing crashes. */
#include "tests/unit/store_world.h"

enum { N_UNITS = 6, MAX_FILES = 64, MAX_BYTES = 1 << 20 };
static char *base;
static um_manifest m;
static uint32_t want[N_UNITS];

typedef struct file {
    char path[4096]; /* in the store */
    void *bytes;
    size_t n;
} file;
static file files[MAX_FILES];
static int n_files;

static void collect(const char *dir, const char *below)
{
    um_names names;
    char path[4096];
    world_path(path, dir, below);
    CHECK_OK(um_vfs_list(um_vfs_real(), path, &names));
    for (int i = 0; i < names.n && n_files < MAX_FILES; i++) {
        char whole[4096];
        world_path(whole, path, names.name[i]);
        if (um_vfs_read_whole(um_vfs_real(), whole, MAX_BYTES, &files[n_files].bytes, &files[n_files].n) != UM_OK) continue;
        memcpy(files[n_files++].path, whole, sizeof whole);
    }
    um_names_release(&names);
}

static void put(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && (n == 0 || fwrite(bytes, 1, n, f) == n));
    if (f != NULL) fclose(f);
}

static um_status unit_sum(const um_store_content *c, int unit, uint32_t *out)
{
    uint32_t sum = 0;
    *out = 0;
    for (int k = 0; k < c->manifest.unit[unit].n; k++) {
        int v = c->manifest.unit_video[c->manifest.unit[unit].first + k];
        UM_PASS(world_sum_of(c, v, v + 1, &sum));
        *out = *out * 31 + sum;
    }
    return UM_OK;
}

/* What a change may do. */
static size_t change(um_rng *r, const file *f, uint8_t *out)
{
    size_t n = f->n;
    memcpy(out, f->bytes, n);
    if (n == 0) return n;
    switch (um_rng_below(r, 5)) {
    case 0: /* a bit */
        out[um_rng_below(r, (uint32_t)n)] ^= (uint8_t)(1u << um_rng_below(r, 8));
        break;
    case 1: /* a few bytes */
        for (int i = 0; i < 4; i++) out[um_rng_below(r, (uint32_t)n)] = (uint8_t)um_rng_u32(r);
        break;
    case 2: /* the end is cut off */
        n = um_rng_below(r, (uint32_t)n);
        break;
    case 3: { /* a block of zeros */
        size_t at = um_rng_below(r, (uint32_t)n) / 512 * 512;
        memset(out + at, 0, n - at < 512 ? n - at : 512);
        break;
    }
    default: { /* a piece is copied to elsewhere */
        size_t len = um_rng_below(r, 200) + 1, from = um_rng_below(r, (uint32_t)n), to = um_rng_below(r, (uint32_t)n);
        if (len > n - from) len = n - from;
        if (len > n - to) len = n - to;
        memmove(out + to, out + from, len);
    }
    }
    return n;
}

int main(int argc, char **argv)
{
    uint64_t count = 1000, first = 0, refused = 0, same = 0, less = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--count") == 0) count = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) first = strtoull(argv[i + 1], NULL, 10);
    }
    char root[4096], dir[4096];
    um_store_content c;
    base = world_dir();
    world_path(root, base, "data");
    world_path(dir, base, "store");
    world_root(root, N_UNITS);
    CHECK_OK(um_manifest_scan(root, 0, &m));
    CHECK_OK(world_run(um_vfs_real(), dir, &m, 0, N_UNITS, 2, false, NULL, NULL));
    CHECK_OK(um_store_load(um_vfs_real(), dir, true, &c));
    for (int u = 0; u < N_UNITS; u++) CHECK_OK(unit_sum(&c, u, &want[u]));
    um_store_content_release(&c);
    collect(dir, "journal");
    collect(dir, "shards");
    collect(dir, ".");
    CHECK(n_files == 1 + 12 + 3);
    uint8_t *out = malloc(MAX_BYTES);

    for (uint64_t i = 0; i < count && test_failures < 20; i++) {
        um_rng r = um_rng_stream(first + i, 1, 0, UM_RNG_CRASH);
        const file *f = &files[um_rng_below(&r, 2) == 0 ? 0 : um_rng_below(&r, (uint32_t)n_files)];
        size_t n = change(&r, f, out);
        int failed = test_failures;
        put(f->path, out, n);
        um_status st = um_store_load(um_vfs_real(), dir, true, &c);
        if (st == UM_OK) {
            bool whole = true;
            for (int u = 0; u < N_UNITS && st == UM_OK; u++) {
                uint32_t sum;
                CHECK(c.state[u].stages == 15 || c.state[u].stages == 0);
                whole = whole && c.state[u].stages == 15;
                st = unit_sum(&c, u, &sum);
                if (st == UM_OK && c.state[u].stages == 15) CHECK_INT(sum, want[u]);
                if (c.state[u].stages == 0) CHECK_INT(c.video[c.manifest.unit_video[c.manifest.unit[u].first]].status, UM_PENDING);
            }
            um_store_content_release(&c);
            if (st == UM_OK && whole) same++;
            if (st == UM_OK && !whole) less++;
        }
        if (st != UM_OK) refused++;
        CHECK(st == UM_OK || st == UM_DATA);
        if (failed != test_failures) fprintf(stderr, "seed %llu, file %s: %s\n", (unsigned long long)(first + i), f->path, um_err_text());
        put(f->path, f->bytes, f->n);
    }
    printf("%llu changes: %llu refused, %llu without effect, %llu cost units that count as not done\n", (unsigned long long)count, (unsigned long long)refused,
           (unsigned long long)same, (unsigned long long)less);
    CHECK(refused > 0 && less > 0);
    for (int i = 0; i < n_files; i++) free(files[i].bytes);
    free(out);
    um_manifest_release(&m);
    world_remove(base);
    free(base);
    return TEST_END();
}
