/* What a training step needs beside its layers, in the emulator: the stem's windows, drop-path, the head, the loss, the optimiser, rewritten weights, running statistics; against um_train_ref and src/train.
 *
 * usage: test_emu_step input|head|loss|optim|weights */
#include "src/models/efficientnet.h"
#include "src/train/loss.h"
#include "src/train/optim.h"
#include "tests/emu/train_check.h"

static const um_train_ops *const ref = &um_train_ref;

/* ---- the stem ---- */

static void check_patches(int n, int h, int w, int r, int stride, int row, um_dtype type)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    int p = (h + stride - 1) / stride, q = (w + stride - 1) / stride, pad_h = (p - 1) * stride + r - h, pad_w = (q - 1) * stride + r - w, k = 5;
    um_window v = {h, w, 3, p, q, k, r, r, stride, pad_h > 0 ? pad_h / 2 : 0, pad_w > 0 ? pad_w / 2 : 0};
    size_t bytes = (size_t)n * (size_t)h * (size_t)w * 3, rows = (size_t)n * (size_t)p * (size_t)q;
    uint8_t *in = host_block(bytes);
    um_rng g = um_rng_stream(3, 0, 0, UM_RNG_TEST);
    for (size_t i = 0; i < bytes; i++) in[i] = (uint8_t)um_rng_below(&g, 256);
    float *x = host_floats(bytes), *weight = host_random((size_t)(k * 3 * r * r), -0.5, 0.5), *want = host_floats(rows * (size_t)k), *got = host_floats(rows * (size_t)k);
    ref->convert(in, bytes / 3, 3, mean, std, x);
    for (size_t i = 0; i < bytes && type == UM_BF16; i++) x[i] = um_bf16_to_f32(um_bf16_from_f32(x[i]));
    ref->conv(&v, n, x, weight, NULL, want, NULL);
    um_gpu_patches_args a = {n, h, w, 3, p, q, r, r, stride, v.pad_top, v.pad_left, row, type, device_copy(in, bytes), {mean[0], mean[1], mean[2]}, {std[0], std[1], std[2]}, device_block(rows * (size_t)row * um_dtype_bytes(type))};
    RUN(um_gpu_patches(&a, NULL));
    float *patch = back_map(a.out, rows * (size_t)row, type);
    for (size_t i = 0; i < rows; i++)
        for (int j = 0; j < k; j++) {
            double sum = 0;
            for (int t = 0; t < row; t++) {
                double value = (double)patch[i * (size_t)row + (size_t)t];
                if (t >= 3 * r * r) CHECK(value == 0);
                else sum += value * (double)weight[(j * 3 + t % 3) * r * r + t / 3];
            }
            got[i * (size_t)k + (size_t)j] = (float)sum;
        }
    NEAR(got, want, rows * (size_t)k, type == UM_F32 ? 1e-6 : 0x1p-8, "patches");
    check_release();
}

/* ---- drop-path and head ---- */

static float drawn(uint64_t seed, int64_t step, int64_t picture, int node, int index, float rate)
{
    um_rng r = um_rng_stream(seed, (uint64_t)step << 24 ^ (uint64_t)picture, (uint32_t)node, UM_RNG_DROPOUT);
    for (int i = 0; i < index; i++) um_rng_u32(&r);
    return um_rng_uniform(&r, 0, 1) < (double)rate ? 0 : 1 / (1 - rate);
}

static void check_head(int n, int c, float rate)
{
    um_gpu_moment moment = {.seed = 0x123456789abcdefull, .step = 70000000000, .first = 37};
    const um_gpu_moment *m = device_copy(&moment, sizeof moment);
    um_window v = {1, 1, c, 1, 1, 1, 1, 1, 1, 0, 0};
    size_t all = (size_t)n * (size_t)c, channels = (size_t)c;
    float *means = host_random(all, -1, 1), *weight = host_random(channels, -0.5, 0.5), *bias = host_random(1, -1, 1), *d = host_random((size_t)n, -1, 1), *keep = host_floats(all), *dropped = host_floats(all), *logit = host_floats((size_t)n),
          *dmeans = host_floats(all), *dweight = host_floats(channels), dbias;
    for (size_t i = 0; i < all; i++) {
        keep[i] = rate > 0 ? drawn(moment.seed, moment.step, moment.first + (int64_t)(i / channels), 411, (int)(i % channels), rate) : 1;
        dropped[i] = means[i] * keep[i];
    }
    ref->conv(&v, n, dropped, weight, bias, logit, NULL);
    ref->conv_weight(&v, n, dropped, d, dweight, &dbias, NULL);
    ref->conv_data(&v, n, d, weight, dmeans, false, NULL);
    for (size_t i = 0; i < all; i++) dmeans[i] *= keep[i];
    um_gpu_head_args a = {n, c, 411, rate, m, device_floats(means, all), device_floats(weight, channels), device_floats(bias, 1), device_block((size_t)n * sizeof(float)), device_floats(d, (size_t)n), device_block(all * sizeof(float)),
                          device_block(channels * sizeof(float)), device_block(sizeof(float))};
    RUN(um_gpu_head_fwd(&a, NULL));
    RUN(um_gpu_head_bwd(&a, NULL));
    NEAR(back_floats(a.logit, (size_t)n), logit, (size_t)n, sum_limit, "logit");
    NEAR(back_floats(a.d_means, all), dmeans, all, sum_limit, "derivative by the means");
    NEAR(back_floats(a.dweight, channels), dweight, channels, sum_limit, "gradient of fc.weight");
    NEAR(back_floats(a.dbias, 1), &dbias, 1, sum_limit, "gradient of fc.bias");

    int nodes[3] = {12, 90, 411};
    float rates[3] = {0, 0.2f, 0.5f};
    um_gpu_keep_args k = {3, n, device_copy(nodes, sizeof nodes), device_floats(rates, 3), m, device_block(3 * (size_t)n * sizeof(float))};
    RUN(um_gpu_keep(&k, NULL));
    float *got = back_floats(k.keep, 3 * (size_t)n);
    for (int i = 0; i < 3 * n; i++) CHECK(got[i] == (rates[i / n] > 0 ? drawn(moment.seed, moment.step, moment.first + i % n, nodes[i / n], 0, rates[i / n]) : 1));
    check_release();
}

/* ---- loss ---- */

static void check_loss(int n, const um_loss_options *o, bool broken)
{
    size_t count = (size_t)n;
    float *logit = host_random(count, -4, 4), *target = host_random(count, 0, 1), *d = host_floats(count);
    uint8_t *weight = host_block(count);
    for (int i = 0; i < n; i++) {
        weight[i] = i % 5 != 3;
        if (i % 3 != 0) target[i] = target[i] > 0.5f ? 1 : 0;
        if (i % 7 == 6) logit[i] = logit[i - 1], target[i] = target[i - 1]; /* equal losses */
    }
    if (broken) logit[n / 2] = NAN, weight[n / 2] = 1;
    um_loss want = um_loss_batch(o, count, logit, target, weight, d, host_doubles(count));
    um_gpu_loss_args a = {n, o->bce_weight, o->focal_weight, o->focal_gamma, o->smoothing, o->ohem_k, device_floats(logit, count), device_floats(target, count), device_copy(weight, count), device_block(count * sizeof(float)), device_block(sizeof(um_gpu_loss_result)), NULL, NULL};
    a.scratch = device_block(um_gpu_loss_scratch(&a));
    RUN(um_gpu_loss(&a, NULL));
    const um_gpu_loss_result *got = back(a.result, sizeof *got);
    if (broken) CHECK(isnan(got->loss) && isnan(got->fake) && isnan(got->real));
    else {
        CHECK_NEAR(got->loss, want.loss, 1e-12);
        CHECK_NEAR(got->fake, want.fake, 1e-12);
        CHECK_NEAR(got->real, want.real, 1e-12);
    }
    CHECK_INT(got->n_fake, want.n_fake);
    CHECK_INT(got->n_real, want.n_real);
    NEAR(back_floats(a.d_logit, count), d, count, 1e-6, "derivative by the logits");
    check_release();
}

static void check_losses(void)
{
    static const um_loss_options options[] = {{.bce_weight = 1}, {.bce_weight = 1, .smoothing = 0.01}, {.focal_weight = 1, .focal_gamma = 2}, {.bce_weight = 0.5, .focal_weight = 2, .focal_gamma = 1.5, .smoothing = 0.05, .ohem_k = 5}, {.bce_weight = 1, .ohem_k = 1000}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        check_loss(0, &options[i], false);
        check_loss(1, &options[i], false);
        check_loss(48, &options[i], false);
        check_loss(48, &options[i], true);
        check_loss(300, &options[i], false);
    }
}

/* ---- optimiser ---- */

static int differ(const float *a, const float *b, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) count += memcmp(&a[i], &b[i], sizeof a[i]) != 0;
    return count;
}

static void check_optim(const um_graph *g, um_gpu_rule rule, bool nesterov, double momentum, double max_norm)
{
    um_optim_options o = {.type = (um_optim_type)rule, .nesterov = nesterov, .momentum = momentum, .weight_decay = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .alpha = 0.99, .eps = 1e-8};
    um_optim *host = NULL;
    size_t n = (size_t)g->param_count;
    CHECK_OK(um_optim_new(g, &o, NULL, &host));
    if (host == NULL) return;
    float *params = host_random(n, -1, 1), *average = host_random(n, -1, 1);
    int64_t n_pieces = um_gpu_pieces(g, NULL);
    um_gpu_piece *piece = host_block((size_t)n_pieces * sizeof *piece);
    int64_t *saved_at = host_block((size_t)n_pieces * sizeof *saved_at), covered = 0;
    CHECK_INT(um_gpu_pieces(g, piece), n_pieces);
    for (int64_t i = 0; i < n_pieces; i++) covered += piece[i].n;
    CHECK_INT(covered, g->param_count);
    int64_t n_saved = um_gpu_running_plan(piece, n_pieces, saved_at);
    um_optim_state *state = um_optim_get_state(host);
    um_gpu_opt_state zero = {0};
    um_gpu_opt_args a = {.rule = rule, .nesterov = nesterov, .momentum = momentum, .weight_decay = o.weight_decay, .beta1 = o.beta1, .beta2 = o.beta2, .alpha = o.alpha, .eps = o.eps, .average_decay = 0.99, .param_count = g->param_count, .n_pieces = n_pieces, .n_losses = 2};
    float *zeros = host_floats(n);
    a.piece = device_copy(piece, (size_t)n_pieces * sizeof *piece);
    a.params = device_floats(params, n);
    for (int i = 0; i < 2; i++) a.slot[i] = state->slot[i] != NULL ? device_floats(zeros, n) : NULL;
    float *grads = device_block(n * sizeof *grads), *part = device_block(n * sizeof *part);
    a.grads = grads;
    a.average = device_floats(average, n);
    a.state = device_copy(&zero, sizeof zero);
    a.scratch = device_block(um_gpu_opt_scratch(&a));
    um_gpu_moment *moment = device_block(sizeof *moment);
    um_gpu_loss_result *loss = device_block(2 * sizeof *loss);
    a.moment = moment;
    a.loss = loss;
    um_gpu_running_args save = {n_pieces, a.piece, device_copy(saved_at, (size_t)n_pieces * sizeof *saved_at), a.params, device_block((size_t)n_saved * sizeof(float)), NULL}, restore = save;
    restore.state = a.state;

    enum { STEPS = 7 };
    int64_t averaged = 0, skipped = 0;
    for (int step = 0; step < STEPS; step++) {
        float *d = host_random(n, -0.1, 0.1);
        um_gpu_moment m = {.rate = 0.01 * (step + 1), .scale = 0.5, .max_norm = max_norm, .max_loss = step == 5 ? 2 : 0, .head_only = step == 2};
        um_gpu_loss_result l[2] = {{.loss = 1.5}, {.loss = step == 4 ? NAN : step == 5 ? 2.5 : 99}};
        bool bad = step == 3 || step == 4 || step == 5;
        for (int i = 0; i < g->n_params; i++)
            if (g->param[i].kind == UM_PARAM_BN_MEAN || g->param[i].kind == UM_PARAM_BN_VAR) memset(d + g->param[i].offset, 0, (size_t)g->param[i].count * sizeof *d);
        if (step == 3) d[g->param_count / 2 - g->param[2].count] = d[1] = NAN;
        RUN(cudaMemcpy(moment, &m, sizeof m, cudaMemcpyHostToDevice));
        RUN(cudaMemcpy(loss, l, sizeof l, cudaMemcpyHostToDevice));
        RUN(um_gpu_running(&save, NULL));
        float *moved = back_floats(a.params, n); /* as a pass forward would */
        for (int i = 0; i < g->n_params; i++)
            for (int64_t j = 0; j < g->param[i].count && (g->param[i].kind == UM_PARAM_BN_MEAN || g->param[i].kind == UM_PARAM_BN_VAR); j++) {
                moved[g->param[i].offset + j] += 0.125f;
                if (!bad) params[g->param[i].offset + j] += 0.125f;
            }
        RUN(cudaMemcpy(a.params, moved, n * sizeof *moved, cudaMemcpyHostToDevice));
        for (size_t i = 0; i < n; i++) zeros[i] = 0;
        RUN(cudaMemcpy(part, d, n * sizeof *d, cudaMemcpyHostToDevice));
        RUN(um_gpu_accumulate(grads, part, g->param_count, true, NULL));
        RUN(cudaDeviceSynchronize());
        RUN(cudaMemcpy(part, zeros, n * sizeof *d, cudaMemcpyHostToDevice));
        RUN(um_gpu_accumulate(grads, part, g->param_count, false, NULL));
        RUN(um_gpu_opt(&a, NULL));
        RUN(um_gpu_running(&restore, NULL));
        const um_gpu_opt_state *s = back(a.state, sizeof *s);
        CHECK_INT(s->ok, !bad);
        skipped += bad;
        if (!bad) {
            double norm = m.scale * um_optim_norm(host, d, m.head_only != 0);
            CHECK_NEAR(s->norm / norm, 1, 1e-12);
            um_optim_step(host, params, d, m.scale * um_optim_clip(norm, max_norm), m.rate, m.head_only != 0);
            um_optim_average(host, average, params, 0.99, averaged++);
        }
        CHECK_INT(s->n_head, state->n_head);
        CHECK_INT(s->n_encoder, state->n_encoder);
        CHECK_INT(s->n_average, averaged);
        CHECK_INT(s->n_skipped, skipped);
        /* The same formulas rounded at the same places: the processor's bits, but where the scale differs in its last. */
        double limit = max_norm > 0 ? 1e-6 : 0;
        NEAR(back_floats(a.params, n), params, n, limit, "parameters");
        NEAR(back_floats(a.average, n), average, n, limit, "average");
        for (int i = 0; i < 2; i++)
            if (a.slot[i] != NULL) NEAR(back_floats(a.slot[i], n), state->slot[i], n, limit, "what is remembered");
        if (max_norm == 0) CHECK_INT(differ(back_floats(a.params, n), params, n), 0);
    }
    um_optim_free(host);
    check_release();
}

/* ---- weights ---- */

static void check_weights(void)
{
    enum { K = 37, C = 130, TAPS = 9 };
    size_t stem = (size_t)K * 3 * TAPS, depth = (size_t)C * TAPS, dense = (size_t)K * C;
    float *params = host_random(stem + depth + dense, -1, 1);
    float *to_stem = device_block(stem * sizeof(float)), *to_depth = device_block(depth * sizeof(float));
    uint16_t *to_dense = device_block(dense * sizeof(uint16_t));
    um_gpu_segment s[3] = {{.from = 0, .to = to_stem, .type = UM_F32, .dims = {K, 3, TAPS}, .step = {3 * TAPS, 1, 3}},
                           {.from = (int64_t)stem, .to = to_depth, .type = UM_F32, .dims = {1, C, TAPS}, .step = {0, 1, C}},
                           {.from = (int64_t)(stem + depth), .to = to_dense, .type = UM_BF16, .dims = {1, 1, K * C}, .step = {0, 0, 1}}};
    int64_t blocks = um_gpu_segments_plan(s, 3);
    CHECK_INT(um_gpu_weights_bytes(s, 3), stem * 8 + depth * 8 + dense * 6);
    um_gpu_weights_args a = {device_floats(params, stem + depth + dense), device_copy(s, sizeof s), 3, blocks};
    RUN(um_gpu_weights(&a, NULL));
    const float *got_stem = back_floats(to_stem, stem), *got_depth = back_floats(to_depth, depth), *got_dense = back_map(to_dense, dense, UM_BF16);
    for (size_t k = 0; k < K; k++)
        for (size_t c = 0; c < 3; c++)
            for (size_t t = 0; t < TAPS; t++) CHECK(got_stem[(k * TAPS + t) * 3 + c] == params[(k * 3 + c) * TAPS + t]);
    for (size_t c = 0; c < C; c++)
        for (size_t t = 0; t < TAPS; t++) CHECK(got_depth[t * C + c] == params[stem + c * TAPS + t]);
    for (size_t i = 0; i < dense; i++) CHECK(got_dense[i] == um_bf16_to_f32(um_bf16_from_f32(params[stem + depth + i])));
    check_release();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "input") == 0) {
        for (int t = 0; t < 2; t++) {
            um_dtype type = t == 0 ? UM_F32 : UM_BF16;
            check_patches(2, 20, 20, 3, 2, 32, type);
            check_patches(1, 7, 11, 3, 2, 27, type);
            check_patches(3, 1, 1, 3, 2, 32, type);
            check_patches(2, 5, 4, 1, 1, 3, type);
            check_patches(0, 8, 8, 3, 2, 32, type);
        }
    } else if (strcmp(what, "head") == 0) {
        check_head(3, 1280, 0.2f);
        check_head(5, 2560, 0.5f);
        check_head(2, 37, 0.3f);
        check_head(4, 8, 0);
        check_head(0, 12, 0.5f);
    } else if (strcmp(what, "loss") == 0) check_losses();
    else if (strcmp(what, "weights") == 0) check_weights();
    else if (strcmp(what, "optim") == 0) {
        um_efficientnet net;
        um_graph *g = NULL;
        CHECK_OK(um_efficientnet_parse("w0.25d0.5", &net));
        CHECK_OK(um_efficientnet_graph(&net, 64, true, 0.2f, 0.2f, &g));
        if (g != NULL) {
            check_optim(g, UM_GPU_SGD, true, 0.9, 0);
            check_optim(g, UM_GPU_SGD, false, 0.9, 1);
            check_optim(g, UM_GPU_SGD, false, 0, 0);
            check_optim(g, UM_GPU_ADAMW, false, 0, 0);
            check_optim(g, UM_GPU_ADAMW, false, 0, 1);
            check_optim(g, UM_GPU_RMSPROP, false, 0.9, 0);
            check_optim(g, UM_GPU_RMSPROP, false, 0, 0);
        }
        um_graph_free(g);
    } else return 2;
    printf("%s: the farthest off by %.1e, of bf16 by %.1e\n", what, check_worst[0], check_worst[1]);
    return TEST_END();
}
