/* What compare_classifier.py runs; not a test by itself. Needs no model file: parameters are raw f32 in the graph's order, pictures raw u8 (N,size,size,3), logits one a line.
 * usage: classifier_dump names ARCH SIZE
 *        classifier_dump logits ARCH SIZE BATCH ref|cpu f32|bf16 PARAMS IMAGES          the time of each pass in ms goes to stderr */
#include "src/core/clock.h"
#include "src/models/classifier.h"
#include "tests/golden/read_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "classifier_dump: %s: %s\n", what, um_err_text());
    return 1;
}

static int dump_names(const um_graph *g)
{
    for (int i = 0; i < g->n_params; i++) {
        printf("%s", g->param[i].name);
        for (int d = 0; d < g->param[i].n_dims; d++) printf(" %d", g->param[i].dims[d]);
        printf("\n");
    }
    return 0;
}

static int dump_logits(const um_graph *g, int size, char **argv)
{
    int batch = atoi(argv[0]), rc = 1;
    const um_backend *b = strcmp(argv[1], "ref") == 0 ? &um_backend_ref : strcmp(argv[1], "cpu") == 0 ? &um_backend_cpu : NULL;
    um_plan_options o = {.batch = batch, .precision = strcmp(argv[2], "bf16") == 0 ? UM_BF16 : UM_F32};
    size_t params_bytes = 0, images_bytes = 0, each = (size_t)size * (size_t)size * 3, n;
    float *params = read_all(argv[3], &params_bytes), *logits = NULL;
    uint8_t *images = read_all(argv[4], &images_bytes);
    um_plan *p = NULL;
    um_run *r = NULL;
    void *constants = NULL;
    memcpy(o.mean, um_imagenet_mean, sizeof o.mean);
    memcpy(o.std, um_imagenet_std, sizeof o.std);
    n = images_bytes / each;
    if (b == NULL || params == NULL || images == NULL || params_bytes != (size_t)g->param_count * sizeof *params || n * each != images_bytes || batch < 1 ||
        n % (size_t)batch != 0) {
        fprintf(stderr, "classifier_dump: backend, parameters or pictures do not fit: %zu bytes of parameters, %lld wanted\n", params_bytes, (long long)g->param_count * 4);
        goto done;
    }
    logits = calloc(n, sizeof *logits);
    if (logits == NULL || um_plan_new(g, b, &o, &p) != UM_OK || (constants = aligned_alloc(64, um_plan_constant_bytes(p))) == NULL ||
        um_plan_pack(p, params, constants) != UM_OK || um_plan_attach(p, constants) != UM_OK || um_run_new(p, &r) != UM_OK) {
        fail("cannot make the plan");
        goto done;
    }
    fprintf(stderr, "constants %zu bytes, run %zu bytes\n", um_plan_constant_bytes(p), um_plan_run_bytes(p));
    for (size_t i = 0; i < n; i += (size_t)batch) {
        double begin = um_clock_s();
        if (um_run_forward(r, images + i * each, batch, logits + i) != UM_OK) {
            fail("cannot run the plan");
            goto done;
        }
        fprintf(stderr, "%.2f ms\n", (um_clock_s() - begin) * 1e3);
    }
    for (size_t i = 0; i < n; i++) printf("%.9g\n", (double)logits[i]);
    rc = 0;
done:
    um_run_free(r);
    um_plan_free(p);
    free(constants);
    free(logits);
    free(params);
    free(images);
    return rc;
}

int main(int argc, char **argv)
{
    um_efficientnet net;
    um_graph *g;
    int rc, size;
    if (!(argc == 4 && strcmp(argv[1], "names") == 0) && !(argc == 9 && strcmp(argv[1], "logits") == 0)) return fprintf(stderr, "usage: see tests/golden/classifier_dump.c\n"), 2;
    size = atoi(argv[3]);
    if (um_efficientnet_parse(argv[2], &net) != UM_OK || um_efficientnet_graph(&net, size, true, 0, 0, &g) != UM_OK) return fail(argv[2]);
    rc = strcmp(argv[1], "names") == 0 ? dump_names(g) : dump_logits(g, size, argv + 4);
    um_graph_free(g);
    return rc;
}
