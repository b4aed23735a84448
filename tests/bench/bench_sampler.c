/* Times the sampler on a list of N crops, one in six of them real, and says what memory it takes. usage: bench_sampler N */
#include "src/core/clock.h"
#include "src/train/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static long peak_kb(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void measure(const char *name, const um_sample *samples, int64_t n, um_sampler_config c)
{
    const long before = peak_kb();
    um_sampler *s;
    const double start = um_clock_s();
    if (um_sampler_new(samples, n, &c, &s) != UM_OK) {
        fprintf(stderr, "%s\n", um_err_text());
        exit(1);
    }
    const double made = um_clock_s();
    const int32_t *order;
    int64_t len = 0;
    for (int e = 0; e < 3; e++) um_sampler_epoch(s, 111, e, &order, &len);
    printf("%-44s new %.3f s, epoch %.3f s, %lld crops, peak memory + %ld MB\n", name, made - start, (um_clock_s() - made) / 3, (long long)len, (peak_kb() - before) / 1024);
    um_sampler_free(s);
}

int main(int argc, char **argv)
{
    enum { PER_ORIGINAL = 6, FRAMES = 32 };
    const int64_t n = argc == 2 ? atoll(argv[1]) : 0;
    um_sample *samples = n > 0 ? malloc((size_t)n * sizeof *samples) : NULL;
    if (samples == NULL) {
        fprintf(stderr, "usage: bench_sampler N\n");
        return 2;
    }
    for (int64_t i = 0; i < n; i++) {
        const int32_t video = (int32_t)(i / FRAMES), original = video / PER_ORIGINAL * PER_ORIGINAL;
        samples[i] = (um_sample){.entry = (int32_t)i, .video = video, .original = original, .frame = (int32_t)(i % FRAMES) * 10, .fake = video != original, .valid = true};
    }
    printf("the list itself: %zu bytes a crop\n", sizeof *samples);
    measure("2,500 batches of 48", samples, n, (um_sampler_config){.batch = 48, .batches_per_epoch = 2500});
    measure("the whole list", samples, n, (um_sampler_config){.batch = 48});
    measure("the whole list, no oversampling", samples, n, (um_sampler_config){.batch = 48, .no_oversample = true});
    measure("pairs, the whole list", samples, n, (um_sampler_config){.batch = 48, .pairs = true});
    free(samples);
    return 0;
}
