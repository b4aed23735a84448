/* Inference of the GPU backend in the emulator: the program's own self-test (src/models/selftest.h) of every step kind and every layer shape of B0 and B7, planes cut; then whole networks against the CPU backend, and a classifier whose
 * pictures do not fill its batches.
 *
 * usage: test_emu_infer layers|b0|b7|classifier */
#include "src/models/classifier.h"
#include "src/models/selftest.h"
#include "src/nn/cuda/device.h"
#include "tests/emu/emu.h"
#include "tests/golden/classifier_golden.h"
#include "tests/unit/test.h"

#include <stdlib.h>

extern const um_backend um_backend_cuda;

enum { PIXELS_CUT = 9 };

static void show(void *user, const um_selftest_case *c)
{
    static const char *const kind_names[] = {"convert", "conv", "depthwise", "mean", "max pool", "act"};
    const um_step *s = c->step;
    (void)user;
    printf("%-9s %s %3dx%-3d %4d -> %4d %dx%d/%d steps %d error %.1e%s\n", kind_names[s->kind], c->precision == UM_BF16 ? "bf16" : "f32 ", s->h, s->w, s->c, c->step[c->n_steps - 1].k, s->r, s->s, s->stride, c->n_steps, c->error,
           c->error <= c->limit ? "" : " TOO LARGE");
}

/* ---- whole networks ---- */

static void classify(const um_model *m, const um_backend *b, um_dtype precision, int batch, const uint8_t *images, int n, float *logits)
{
    um_classifier_options o = {.precision = precision, .n_threads = 1, .backend = b, .batch = batch};
    um_classifier *c = NULL;
    CHECK_OK(um_classifier_new(m, &o, &c));
    if (c == NULL) return;
    void *constants = aligned_alloc(64, (um_classifier_constant_bytes(c) + 63) / 64 * 64);
    CHECK_OK(um_classifier_pack(c, m, constants));
    CHECK_OK(um_classifier_attach(c, constants));
    emu_count = (emu_counters){0};
    CHECK_OK(um_classifier_run(c, NULL, images, n, logits));
    if (b->device != NULL) { /* of a batch: one graph and one wait, and nothing else that the host asks for */
        long batches = (n + batch - 1) / batch;
        CHECK_INT(emu_count.graph_launches, batches);
        CHECK_INT(emu_count.host_waits, batches);
        CHECK_INT(emu_count.allocations + emu_count.launches + emu_count.copies + emu_count.products, 0);
    }
    um_classifier_free(c);
    free(constants);
}

static void check_classifier(const char *arch, int size_px, int n, int batch)
{
    um_model m = {.size_px = size_px, .has_head = true};
    um_graph *g = NULL;
    size_t each = (size_t)size_px * (size_t)size_px * 3;
    CHECK_OK(um_efficientnet_parse(arch, &m.net));
    memcpy(m.mean, um_imagenet_mean, sizeof m.mean);
    memcpy(m.std, um_imagenet_std, sizeof m.std);
    CHECK_OK(um_efficientnet_graph(&m.net, size_px, true, 0, 0, &g));
    if (g == NULL) return;
    m.param_count = g->param_count;
    m.params = calloc((size_t)g->param_count, sizeof *m.params);
    golden_params(g, 1, m.params);
    uint8_t *images = malloc((size_t)n * each);
    for (int i = 0; i < n; i++) golden_picture((uint32_t)i, size_px, images + (size_t)i * each);
    float *want = calloc((size_t)n, sizeof *want), *got = calloc((size_t)n, sizeof *got), alone;
    for (int t = 0; t < 2; t++) {
        um_dtype precision = t == 0 ? UM_F32 : UM_BF16;
        classify(&m, &um_backend_cpu, UM_F32, 1, images, n, want);
        classify(&m, &um_backend_cuda, precision, batch, images, n, got);
        double off = 0;
        for (int i = 0; i < n; i++) {
            double d = fabs((double)got[i] - (double)want[i]);
            if (!(d <= off)) off = d;
        }
        printf("%s at %d px, %d pictures, %s: logits differ from the processor's in f32 by at most %.1e\n", arch, size_px, n, t == 0 ? "f32" : "bf16", off);
        CHECK(off <= (t == 0 ? 1e-4 : 0.2));
        /* A logit does not depend on its place or company. */
        classify(&m, &um_backend_cuda, precision, batch, images + (size_t)(n - 1) * each, 1, &alone);
        CHECK(memcmp(&alone, &got[n - 1], sizeof alone) == 0);
    }
    free(images), free(want), free(got);
    um_model_release(&m);
    um_graph_free(g);
}

int main(int argc, char **argv)
{
    um_gpu *gpu = NULL;
    const char *what = argc > 1 ? argv[1] : "";
    CHECK_OK(um_gpu_open(0, &gpu));
    if (gpu == NULL) return TEST_END();
    um_selftest t = {.backend = &um_backend_cuda, .side_px = PIXELS_CUT, .each = show};
    if (strcmp(what, "classifier") == 0) {
        check_classifier("b0", 64, 3, 2);
        check_classifier("w0.25d0.5", 32, 11, 4);
    } else {
        if (strcmp(what, "layers") == 0) CHECK_OK(um_selftest_layers(&t));
        if (strcmp(what, "b0") == 0) CHECK_OK(um_selftest_net(&t, &um_efficientnets[0]));
        if (strcmp(what, "b7") == 0) CHECK_OK(um_selftest_net(&t, &um_efficientnets[7]));
        CHECK(t.n_cases > 0);
        CHECK_INT(t.n_failed, 0);
        printf("%d cases, largest error: f32 %.1e, bf16 %.1e\n", t.n_cases, t.worst[0], t.worst[1]);
    }
    um_gpu_close();
    return TEST_END();
}
