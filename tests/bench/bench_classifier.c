/* bench_classifier.c: what bench_classifier.py runs. Parameters are raw f32 in the graph's order, pictures raw u8 (N,size,size,3).
 * usage: bench_classifier ARCH SIZE f32|bf16 THREADS PARAMS IMAGES
 * For each line on stdin: "logits": those of all pictures on one line; "time": seconds and processor seconds of one pass over all pictures. */
#include "src/core/clock.h"
#include "src/models/classifier.h"
#include "tests/golden/read_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    um_model m = {.has_head = true};
    um_classifier *c = NULL;
    um_pool *pool = NULL;
    size_t params_bytes = 0, images_bytes = 0;
    char line[16];
    if (argc != 7) return fprintf(stderr, "usage: see tests/bench/bench_classifier.c\n"), 2;
    um_classifier_options o = {.precision = strcmp(argv[3], "bf16") == 0 ? UM_BF16 : UM_F32, .n_threads = atoi(argv[4])};
    m.size_px = atoi(argv[2]);
    memcpy(m.mean, um_imagenet_mean, sizeof m.mean);
    memcpy(m.std, um_imagenet_std, sizeof m.std);
    m.params = read_all(argv[5], &params_bytes);
    m.param_count = (int64_t)(params_bytes / sizeof(float));
    uint8_t *images = read_all(argv[6], &images_bytes);
    if (um_efficientnet_parse(argv[1], &m.net) != UM_OK || m.params == NULL || images == NULL || um_classifier_new(&m, &o, &c) != UM_OK || um_pool_new(o.n_threads, &pool) != UM_OK)
        return fprintf(stderr, "bench_classifier: %s\n", um_err_text()), 1;
    void *constants = aligned_alloc(64, (um_classifier_constant_bytes(c) + 63) / 64 * 64);
    int n = (int)(images_bytes / ((size_t)m.size_px * (size_t)m.size_px * 3));
    float *logits = calloc((size_t)n + 1, sizeof *logits);
    if (constants == NULL || logits == NULL || um_classifier_pack(c, &m, constants) != UM_OK) return fprintf(stderr, "bench_classifier: %s\n", um_err_text()), 1;
    um_classifier_attach(c, constants);
    while (fgets(line, sizeof line, stdin) != NULL) {
        double start = um_clock_s(), cpu = um_clock_cpu_s();
        if (um_classifier_run(c, pool, images, n, logits) != UM_OK) return 1;
        double s = um_clock_s() - start, cpu_s = um_clock_cpu_s() - cpu;
        if (line[0] == 't') printf("%.6f %.6f\n", s, cpu_s);
        else {
            for (int i = 0; i < n; i++) printf("%.9g ", (double)logits[i]);
            printf("\n");
        }
        fflush(stdout);
    }
    um_pool_free(pool);
    um_classifier_free(c);
    um_model_release(&m);
    free(constants);
    free(logits);
    free(images);
    return 0;
}
