/* bench_store_read STORE [READS] [ROUNDS]: crops read in random order through um_store_read (open shard, checked against its CRC), and the same bytes with bare pread from the same files, in turns.
 *
 * Both read what the page cache holds (a first pass, not timed, fills it), into the same buffer, in the same order. Prints one JSON line: microseconds of processor time of one read, medians over the rounds, and `ratio`, the
 * bare read's time over ours, so 1 is as fast; the goal is 0.8. crc_us: the checksum alone, of a hot buffer: the same bytes again and again, which lie in the first caches. It is less than what the checksum
 * costs in a read, where it is the first to touch bytes that the kernel has just copied.
 *
 * `ratio_with_reader`: the same with one pass over the bytes behind each read, on both sides (ours_with_reader_us, pread_with_reader_us). A decoder makes such a pass at least; behind a bare read it pays for
 * the first touch, behind ours the checksum has paid already. The pass is the cheapest there is, an xor of the bytes as words. */
#include "io/store.h"
#include "io/store_files.h" /* names of the shards: private to io, but the bare reads must go to the same files */
#include "src/core/crc.h"
#include "src/core/rng.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ROUNDS = 101 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

/* Processor time of this thread, kernel included: nothing here waits, and other work on the machine moves the wall clock by more than the two sides differ. */
static double spent_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A reader of n bytes that does as little as a reader can. */
__attribute__((noinline)) static uint64_t look(const unsigned char *bytes, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0, w[4];
    for (size_t i = 0; i + 32 <= n; i += 32) {
        memcpy(w, bytes + i, 32);
        a ^= w[0];
        b ^= w[1];
        c ^= w[2];
        d ^= w[3];
    }
    return a ^ b ^ c ^ d;
}

static int die(const char *what)
{
    fprintf(stderr, "bench_store_read: %s: %s\n", what, um_err_text());
    return 1;
}

int main(int argc, char **argv)
{
    um_store_content c;
    int64_t n = argc > 2 ? strtoll(argv[2], NULL, 10) : 20000, n_crops = 0, bytes = 0, most = 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 9;
    double ours[MAX_ROUNDS], bare[MAX_ROUNDS], sums[MAX_ROUNDS], ratio[MAX_ROUNDS], ours_look[MAX_ROUNDS], bare_look[MAX_ROUNDS], ratio_look[MAX_ROUNDS];
    uint32_t crc = 0;
    uint64_t seen[2] = {0, 0};
    if (argc < 2 || n < 1 || rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_store_read STORE [READS] [ROUNDS]\n");
        return 64;
    }
    if (um_store_load(um_vfs_real(), argv[1], true, &c) != UM_OK) return die("the store");
    const um_store_ref **crop = malloc((size_t)(c.n_entries + 1) * sizeof *crop), **pick = malloc((size_t)n * sizeof *pick);
    int *fd = malloc((size_t)(c.files->n + 1) * sizeof *fd);
    if (crop == NULL || pick == NULL || fd == NULL) return die("memory");
    for (int64_t i = 0; i < c.n_entries; i++) {
        const um_store_ref *ref = &c.entry[i].image;
        if (ref->shard < 0) continue;
        crop[n_crops++] = ref;
        if (ref->bytes > most) most = ref->bytes;
    }
    if (n_crops == 0) return die("the store holds no crops");
    for (int i = 0; i < c.files->n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/shards/%s", argv[1], c.files->shard[i].file);
        fd[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (fd[i] < 0) return die(path);
    }
    unsigned char *buffer = malloc((size_t)most + 1);
    if (buffer == NULL) return die("memory");
    um_rng r = um_rng_stream(1, 0, 0, UM_RNG_TEST);
    for (int64_t i = 0; i < n; i++) {
        pick[i] = crop[um_rng_below(&r, (uint32_t)n_crops)];
        bytes += pick[i]->bytes;
    }
    for (int k = -1; k < rounds; k++) { /* round -1 warms up */
        double at = spent_s();
        for (int64_t i = 0; i < n; i++)
            if (um_store_read(&c, pick[i], buffer) != UM_OK) return die("reading");
        double a = spent_s() - at;
        at = spent_s();
        for (int64_t i = 0; i < n; i++)
            if (pread(fd[pick[i]->shard], buffer, pick[i]->bytes, (off_t)pick[i]->at) != (ssize_t)pick[i]->bytes) return die("pread");
        double b = spent_s() - at;
        at = spent_s();
        for (int64_t i = 0; i < n; i++) crc += um_crc32c(0, buffer, pick[i]->bytes);
        double s = spent_s() - at;
        at = spent_s();
        for (int64_t i = 0; i < n; i++) {
            if (um_store_read(&c, pick[i], buffer) != UM_OK) return die("reading");
            seen[0] ^= look(buffer, pick[i]->bytes) + (uint64_t)i;
        }
        double al = spent_s() - at;
        at = spent_s();
        for (int64_t i = 0; i < n; i++) {
            if (pread(fd[pick[i]->shard], buffer, pick[i]->bytes, (off_t)pick[i]->at) != (ssize_t)pick[i]->bytes) return die("pread");
            seen[1] ^= look(buffer, pick[i]->bytes) + (uint64_t)i;
        }
        double bl = spent_s() - at;
        if (seen[0] != seen[1]) return die("both sides must see the same bytes");
        if (k < 0) continue;
        ours[k] = a / (double)n * 1e6;
        bare[k] = b / (double)n * 1e6;
        sums[k] = s / (double)n * 1e6;
        ratio[k] = b / a;
        ours_look[k] = al / (double)n * 1e6;
        bare_look[k] = bl / (double)n * 1e6;
        ratio_look[k] = bl / al;
    }
    double middle = median(ratio, rounds), middle_look = median(ratio_look, rounds);
    printf("{\"bench\": \"store_read\", \"crops\": %" PRId64 ", \"reads\": %" PRId64 ", \"mean_bytes\": %.0f, \"rounds\": %d, \"ours_us\": %.3f, \"pread_us\": %.3f, \"crc_us\": %.3f, \"ratio\": %.3f, "
           "\"ratio_min\": %.3f, \"ratio_max\": %.3f, \"goal\": 0.8, \"ours_with_reader_us\": %.3f, \"pread_with_reader_us\": %.3f, \"ratio_with_reader\": %.3f, \"ratio_with_reader_min\": %.3f, "
           "\"ratio_with_reader_max\": %.3f, \"check\": %u}\n",
           n_crops, n, (double)bytes / (double)n, rounds, median(ours, rounds), median(bare, rounds), median(sums, rounds), middle, ratio[0], ratio[rounds - 1],
           median(ours_look, rounds), median(bare_look, rounds), middle_look, ratio_look[0], ratio_look[rounds - 1], crc);
    for (int i = 0; i < c.files->n; i++) close(fd[i]);
    free(buffer);
    free(fd);
    free(pick);
    free(crop);
    um_store_content_release(&c);
    return 0;
}
