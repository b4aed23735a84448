/* A whole network in training, in the emulator, against the processor's (src/nn/net.h): logits, gradients, running statistics, with drop-path and dropout.
 *
 * usage: test_emu_net tiny|b0|frozen|bf16 */
#include "src/models/efficientnet.h"
#include "src/nn/init.h"
#include "src/nn/net.h"
#include "src/nn/cuda/train_net.h"
#include "tests/emu/train_check.h"

static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};

typedef struct told {
    int64_t from;
    int calls;
} told;
static um_status ready(void *user, float *grads, int64_t from, int64_t to, cudaStream_t stream)
{
    told *t = user;
    (void)grads;
    (void)stream;
    CHECK_INT(to, t->from); /* from the end to the beginning, without a gap */
    CHECK(from < to);
    t->from = from;
    t->calls++;
    return UM_OK;
}

/* Parameters in the device's layout and back. */
static float *spread(const um_graph *g, const um_graph *padded, const float *params)
{
    float *out = host_floats((size_t)padded->param_count);
    for (int i = 0; i < g->n_params; i++) memcpy(out + padded->param[i].offset, params + g->param[i].offset, (size_t)g->param[i].count * sizeof *out);
    return out;
}

/* As NEAR; `least`: what a difference is measured by at least. */
static double far_apart_from(const float *got, const float *want, size_t n, double least)
{
    double square = 0, worst = 0;
    for (size_t i = 0; i < n; i++) square += (double)want[i] * (double)want[i];
    double by = fmax(least, sqrt(square / (double)n));
    for (size_t i = 0; i < n; i++) {
        double e = fabs((double)got[i] - (double)want[i]) / by;
        if (!(e <= worst)) worst = isnan(e) ? INFINITY : e;
    }
    return worst;
}

static bool is_running(const um_param *p) { return p->kind == UM_PARAM_BN_MEAN || p->kind == UM_PARAM_BN_VAR; }

static void check_net(const char *name, int px, int count, um_dtype type, bool frozen)
{
    /* bf16: each map is rounded to 2^-9 of itself, 40 of them one after the other, and batch norm of few numbers makes more of it: the gradient's direction is what training needs. */
    double limit = type == UM_F32 ? 1e-3 : 0.1, length_limit = type == UM_F32 ? 1e-4 : 0.15;
    um_efficientnet net;
    um_graph *g = NULL;
    um_net *host = NULL;
    um_gpu_net *n = NULL;
    CHECK_OK(um_efficientnet_parse(name, &net));
    CHECK_OK(um_efficientnet_graph(&net, px, true, 0.2f, 0.3f, &g));
    if (g == NULL) return;
    size_t all = (size_t)g->param_count, image_bytes = (size_t)count * (size_t)px * (size_t)px * 3;
    float *params = host_floats(all), *logits = host_floats((size_t)count), *d = host_random((size_t)count, -0.5, 0.5), *grads = host_floats(all);
    uint8_t *images = host_block(image_bytes);
    um_rng r = um_rng_stream(5, 0, 0, UM_RNG_TEST);
    for (size_t i = 0; i < image_bytes; i++) images[i] = (uint8_t)um_rng_below(&r, 256);
    um_graph_init(g, 3, params);
    um_gpu_moment moment = {.seed = 11, .step = 5, .first = 0, .head_only = frozen};
    told t = {0};
    um_gpu_net_options o = {.precision = type, .n = count, .batch = count, .bn_momentum = 0.1f, .bucket_bytes = 100000, .ready = ready, .user = &t};
    um_net_options h = {.backend = "cpu", .max_batch = count, .n_lanes = 1, .precision = UM_F32, .bn_momentum = 0.1f};
    for (int i = 0; i < 3; i++) {
        o.mean[i] = h.mean[i] = mean[i];
        o.std[i] = h.std[i] = std[i];
    }
    CHECK_OK(um_gpu_net_new(g, &o, &n));
    CHECK_OK(um_net_new(g, &h, &host));
    if (n == NULL || host == NULL) return;
    const um_graph *padded = um_gpu_net_graph(n);
    size_t room = (size_t)padded->param_count;
    float *on_device = device_floats(spread(g, padded, params), room), *d_grads = device_floats(host_floats(room), room), *d_logits = device_block((size_t)count * sizeof(float));
    CHECK_OK(um_gpu_net_place(n, device_block(um_gpu_net_bytes(n)), d_grads, device_copy(&moment, sizeof moment)));
    CHECK_OK(um_gpu_net_weights(n, on_device, NULL));
    uint8_t *d_images = device_copy(images, image_bytes);
    CHECK_OK(um_gpu_net_forward(n, on_device, d_images, d_logits, true, NULL));
    t.from = padded->param_count;
    CHECK_OK(um_gpu_net_backward(n, on_device, device_floats(d, (size_t)count), frozen, NULL));
    if (!frozen) CHECK_INT(t.from, 0);
    CHECK(t.calls > 0);
    um_net_batch batch = {.images = images, .lane_count = &count, .seed = 11, .step = 5, .freeze_encoder = frozen};
    CHECK_OK(um_net_forward(host, params, &batch, logits));
    CHECK_OK(um_net_backward(host, params, &batch, d, grads));
    NEAR(back_floats(d_logits, (size_t)count), logits, (size_t)count, limit, "logits");
    const float *got = back_floats(d_grads, room), *moved = back_floats(on_device, room);
    double worst = 0, rms = 0;
    for (size_t i = 0; i < all; i++) rms += (double)grads[i] * (double)grads[i];
    rms = sqrt(rms / (double)all);
    for (int i = 0; i < g->n_params; i++) {
        const um_param *p = &g->param[i];
        size_t k = (size_t)p->count;
        const float *a = is_running(p) ? moved + padded->param[i].offset : got + padded->param[i].offset, *b = (is_running(p) ? params : grads) + p->offset;
        /* Sums that cancel, means of maps that were centred, and the gradient of a shift that the next norm takes away, are as far off as what was summed. */
        double far = far_apart_from(a, b, k, p->kind == UM_PARAM_BN_MEAN ? 1 : is_running(p) ? 0 : rms);
        if (far > worst) worst = far;
        if (type == UM_F32 && !(far <= limit)) printf("%s is off by %.1e, limit %.1e\n", p->name, far, limit), test_failures++;
    }
    double apart = 0;
    for (int i = 0; i < g->n_params; i++)
        for (int64_t j = 0; j < g->param[i].count && !is_running(&g->param[i]); j++) {
            double e = (double)got[padded->param[i].offset + j] - (double)grads[g->param[i].offset + j];
            apart += e * e;
        }
    apart = sqrt(apart / (double)all) / rms;
    CHECK(apart <= length_limit);
    printf("%s at %d px, %d pictures, %s: gradient off by %.1e of its length, one number by %.1e; %.1f MB\n", name, px, count, type == UM_F32 ? "f32" : "bf16", apart, worst, (double)um_gpu_net_bytes(n) / 1e6);
    /* With running statistics. */
    CHECK_OK(um_net_evaluate(host, params, &batch, logits));
    RUN(cudaMemcpy(on_device, spread(g, padded, params), room * sizeof(float), cudaMemcpyHostToDevice));
    CHECK_OK(um_gpu_net_weights(n, on_device, NULL));
    CHECK_OK(um_gpu_net_forward(n, on_device, d_images, d_logits, false, NULL));
    NEAR(back_floats(d_logits, (size_t)count), logits, (size_t)count, limit, "logits, evaluated");
    um_gpu_net_free(n);
    um_net_free(host);
    um_graph_free(g);
    check_release();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    um_gpu *gpu = NULL;
    CHECK_OK(um_gpu_open(0, &gpu));
    if (strcmp(what, "tiny") == 0) check_net("w0.25d0.5", 40, 3, UM_F32, false);
    else if (strcmp(what, "b0") == 0) check_net("b0", 64, 2, UM_F32, false);
    else if (strcmp(what, "frozen") == 0) check_net("w0.25d0.5", 40, 3, UM_F32, true);
    else if (strcmp(what, "bf16") == 0) check_net("w0.25d0.5", 64, 8, UM_BF16, false);
    else return 2;
    um_gpu_close();
    return TEST_END();
}
