/* The networks against timm's: names and shapes of all parameters, and logits (numbers made by make_classifier_golden.py). usage: test_classifier DATA_DIR ref|cpu */
#include "src/core/hash.h"
#include "src/models/classifier.h"
#include "tests/golden/classifier_golden.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { SEED = 3, MOST_PICTURES = 8 };

static void check_names(const char *arch, long long count, int tensors, const char *hash)
{
    um_efficientnet net;
    um_graph *g = NULL;
    char got[17];
    uint64_t h = UM_HASH64_START;
    CHECK_OK(um_efficientnet_parse(arch, &net));
    CHECK_OK(um_efficientnet_graph(&net, 380, true, 0.2f, 0, &g));
    if (g == NULL) return;
    for (int i = 0; i < g->n_params; i++) {
        char line[160];
        int at = snprintf(line, sizeof line, "%s", g->param[i].name);
        for (int d = 0; d < g->param[i].n_dims; d++) at += snprintf(line + at, sizeof line - (size_t)at, " %d", g->param[i].dims[d]);
        at += snprintf(line + at, sizeof line - (size_t)at, "\n");
        h = um_hash64(h, line, (size_t)at);
    }
    snprintf(got, sizeof got, "%016llx", (unsigned long long)h);
    CHECK_INT(g->param_count, count);
    CHECK_INT(g->n_params, tensors);
    CHECK_STR(got, hash);
    um_graph_free(g);
}

static void run(const um_graph *g, const um_backend *b, um_dtype precision, int batch, const float *params, const uint8_t *images, float *logits)
{
    um_plan_options o = {.batch = batch, .precision = precision, .mean = {um_imagenet_mean[0], um_imagenet_mean[1], um_imagenet_mean[2]}};
    um_plan *p = NULL;
    um_run *r = NULL;
    void *constants = NULL;
    memcpy(o.std, um_imagenet_std, sizeof o.std);
    CHECK_OK(um_plan_new(g, b, &o, &p));
    if (p == NULL) return;
    constants = aligned_alloc(64, um_plan_constant_bytes(p));
    CHECK_OK(um_plan_pack(p, params, constants));
    CHECK_OK(um_plan_attach(p, constants));
    CHECK_OK(um_run_new(p, &r));
    if (r != NULL) CHECK_OK(um_run_forward(r, images, batch, logits));
    um_run_free(r);
    um_plan_free(p);
    free(constants);
}

static void check_logits(const um_backend *b, const char *arch, int size, uint32_t first, int n, const double *want)
{
    um_efficientnet net;
    um_graph *g = NULL;
    size_t each = (size_t)size * (size_t)size * 3;
    uint8_t *images = malloc(each * MOST_PICTURES);
    float *params = NULL, got[MOST_PICTURES] = {0}, alone = 0, half[MOST_PICTURES] = {0};
    CHECK_OK(um_efficientnet_parse(arch, &net));
    CHECK_OK(um_efficientnet_graph(&net, size, true, 0, 0, &g));
    if (g == NULL || images == NULL) goto done;
    params = malloc((size_t)g->param_count * sizeof *params);
    if (params == NULL) goto done;
    golden_params(g, SEED, params);
    for (int i = 0; i < n; i++) golden_picture(first + (uint32_t)i, size, images + (size_t)i * each);
    run(g, b, UM_F32, n, params, images, got);
    for (int i = 0; i < n; i++) CHECK_NEAR((double)got[i], want[i], 1e-5);
    if (n > 1) { /* the same bits alone and in company */
        run(g, b, UM_F32, 1, params, images + 3 * each, &alone);
        CHECK(memcmp(&alone, &got[3], sizeof alone) == 0);
    }
    if (n > 1 && b->has(UM_BF16)) {
        run(g, b, UM_BF16, n, params, images, half);
        for (int i = 0; i < n; i++) CHECK_NEAR((double)half[i], want[i], 0.05);
        CHECK(memcmp(half, got, (size_t)n * sizeof *half) != 0);
    }
done:
    free(images);
    free(params);
    um_graph_free(g);
}

static FILE *open_data(const char *folder, const char *name)
{
    char path[4096];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "r");
    CHECK(f != NULL);
    return f;
}

int main(int argc, char **argv)
{
    char line[512], arch[16], hash[17];
    const um_backend *b = argc > 2 && strcmp(argv[2], "cpu") == 0 ? &um_backend_cpu : &um_backend_ref;
    FILE *f;
    int lines = 0;
    if (argc != 3) return 2;
    if ((f = open_data(argv[1], "efficientnet.tsv")) != NULL) {
        long long count;
        int tensors;
        for (; fgets(line, sizeof line, f) != NULL; lines++) {
            CHECK_INT(sscanf(line, "%15s %lld %d %16s", arch, &count, &tensors, hash), 4);
            check_names(arch, count, tensors, hash);
        }
        fclose(f);
    }
    if ((f = open_data(argv[1], "classifier.tsv")) != NULL) {
        for (; fgets(line, sizeof line, f) != NULL; lines++) {
            double want[MOST_PICTURES];
            int size = 0, at = 0, n = 0, more;
            unsigned first = 0;
            CHECK_INT(sscanf(line, "%15s %d %u%n", arch, &size, &first, &at), 3);
            for (; n < MOST_PICTURES && sscanf(line + at, "%lf%n", &want[n], &more) == 1; n++) at += more;
            CHECK(n > 0);
            check_logits(b, arch, size, first, n, want);
        }
        fclose(f);
    }
    CHECK(lines >= 20);
    return TEST_END();
}
