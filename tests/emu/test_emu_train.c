/* The kernels of training in the emulator, against the plain operators (um_train_ref), composed where a kernel does several: every depthwise and batch-norm shape of B0 and B7, planes cut; odd shapes; no pictures.
 *
 * usage: test_emu_train norm|depthwise|squeeze b0|b7|odd */
#include "src/models/efficientnet.h"
#include "tests/emu/train_check.h"

static const um_train_ops *const ref = &um_train_ref;
static int n_cases;

/* ---- batch norm ---- */

static void check_stats(int n, int area, int c, um_dtype type)
{
    size_t all = (size_t)n * (size_t)area * (size_t)c, channels = (size_t)c;
    float *z = host_map(all, type, -2, 2), *about = host_random(channels, -0.5, 0.5), *var = host_random(channels, 0.5, 1.5), *weight = host_random(channels, 0.5, 1.5), *bias = host_random(channels, -1, 1);
    double *want = host_doubles(2 * channels);
    float *running_mean = device_floats(about, channels), *running_var = device_floats(var, channels);
    double *message = device_block((1 + 2 * channels) * sizeof *message);
    um_gpu_norm norm = norm_random(c).device;
    um_gpu_norm_stats_args s = {n, area, c, type, device_map(z, all, type), running_mean, message + 1, NULL};
    s.scratch = device_block(um_gpu_norm_stats_scratch(&s));
    RUN(um_gpu_norm_stats(&s, NULL));
    RUN(um_gpu_norm_count(message, (double)n * area, NULL));
    ref->norm_sums((size_t)n * (size_t)area, c, z, about, want);
    double *got = back(message, (1 + 2 * channels) * sizeof *got);
    CHECK(got[0] == (double)n * area);
    NEAR_F64(got + 1, want, 2 * channels, sum_limit, "statistics");

    um_gpu_norm_finish_args f = {c, 1e-3f, 0.1f, message, device_floats(weight, channels), device_floats(bias, channels), running_mean, running_var, norm};
    float *m = host_floats(channels), *r = host_floats(channels), *k = host_floats(channels), *rm = host_floats(channels), *rv = host_floats(channels);
    for (int when = 0; when < 2; when++) { /* running values, as they are before they move; then the batch's */
        double count = (double)n * area;
        for (int i = 0; i < c; i++) {
            double shift = want[i] / count, v = want[c + i] / count - shift * shift, mean = (double)about[i] + shift;
            if (when == 0) mean = (double)about[i], v = (double)var[i];
            m[i] = (float)mean;
            r[i] = (float)(1 / sqrt(v + (double)1e-3f));
            k[i] = (float)((double)weight[i] / sqrt(v + (double)1e-3f));
            rm[i] = when == 0 ? about[i] : (float)(0.9 * (double)about[i] + 0.1 * mean);
            rv[i] = when == 0 ? var[i] : (float)(0.9 * (double)var[i] + 0.1 * v * (count / (count - 1)));
        }
        RUN(when == 0 ? um_gpu_norm_running(&f, NULL) : um_gpu_norm_finish(&f, NULL));
        if (when == 1 && count < 2) {
            CHECK(isnan(back_floats(norm.scale, channels)[0]));
            break;
        }
        NEAR(back_floats(norm.mean, channels), m, channels, sum_limit, "mean");
        NEAR(back_floats(norm.rstd, channels), r, channels, sum_limit, "rstd");
        NEAR(back_floats(norm.scale, channels), k, channels, sum_limit, "scale");
        NEAR(back_floats(norm.bias, channels), bias, channels, 0, "bias");
        NEAR(back_floats(running_mean, channels), rm, channels, sum_limit, "running mean");
        NEAR(back_floats(running_var, channels), rv, channels, sum_limit, "running variance");
    }
    check_release();
}

static void check_norm_fwd(int n, int area, int c, um_dtype type, um_act act, bool beside)
{
    size_t pixels = (size_t)n * (size_t)area, all = pixels * (size_t)c, each = (size_t)n * (size_t)c;
    float *z = host_map(all, type, -2, 2), *x = host_map(all, type, -1, 1), *gate = host_random(each, 0, 1), *keep = host_random((size_t)n, 0, 2), *want = host_floats(all), *factor = host_floats(each), *mean = host_floats(each);
    check_norm b = norm_random(c);
    ref->norm(pixels, c, z, &b.host, want);
    ref->act(act, pixels, c, want, NULL, want);
    ref->mean(n, area, c, want, mean);
    for (size_t i = 0; i < each; i++) factor[i] = gate[i] * keep[i / (size_t)c];
    if (beside) {
        ref->scale(n, area, c, want, factor, want);
        ref->sum(all, want, x, want);
    }
    void *dz = device_map(z, all, type), *out = device_block(all * um_dtype_bytes(type));
    um_gpu_norm_fwd_args a = {n, area, c, type, act, dz, b.device, NULL, NULL, NULL, out};
    if (beside) a.gate = device_floats(gate, each), a.keep = device_floats(keep, (size_t)n), a.residual = device_map(x, all, type);
    RUN(um_gpu_norm_fwd(&a, NULL));
    NEAR(back_map(out, all, type), want, all, map_limit(type), beside ? "norm, gate, keep, residual" : "norm");
    um_gpu_norm_means_args m = {n, area, c, type, act, dz, b.device, device_block(each * sizeof(float)), NULL};
    m.scratch = device_block(um_gpu_norm_means_scratch(&m));
    RUN(um_gpu_norm_means(&m, NULL));
    NEAR(back_floats(m.means, each), mean, each, sum_limit, "means");
    size_t map = all * um_dtype_bytes(type);
    CHECK_INT(um_gpu_norm_fwd_bytes(&a), (beside ? 3 * map + (each + (size_t)n) * 4 : 2 * map) + 3 * (size_t)c * 4);
    check_release();
}

static void check_norm_bwd(int n, int area, int c, um_dtype type, um_act act, bool spread)
{
    size_t pixels = (size_t)n * (size_t)area, all = pixels * (size_t)c, each = (size_t)n * (size_t)c, channels = (size_t)c;
    float *z = host_map(all, type, -2, 2), *e = host_map(all, type, -1, 1), *e_mean = host_random(each, -1, 1), *keep = host_random((size_t)n, 0, 2), *du = host_floats(all), *u = host_floats(all), *want = host_floats(all), *factor = host_floats(each);
    double *want_sums = host_doubles(2 * channels);
    check_norm b = norm_random(c);
    if (spread) ref->mean_data(n, area, c, e_mean, e, false);
    for (size_t i = 0; i < each; i++) factor[i] = spread ? 1 : keep[i / channels];
    ref->scale_data(n, area, c, factor, e, du, false);
    ref->norm(pixels, c, z, &b.host, u);
    ref->act_data(act, pixels, c, u, NULL, du, du, false, NULL);
    ref->norm_data_sums(pixels, c, z, du, &b.host, want_sums);

    double *sums = device_block(2 * channels * sizeof *sums), count = (double)pixels;
    void *de = spread ? NULL : device_map(e, all, type);
    um_gpu_norm_bwd_args a = {.n = n, .area = area, .c = c, .type = type, .act = act, .z = device_map(z, all, type), .norm = b.device, .e = de, .sums = sums};
    if (spread) a.e_mean = device_floats(e_mean, each);
    else a.keep = device_floats(keep, (size_t)n);
    a.scratch = device_block(um_gpu_norm_bwd_sums_scratch(&a));
    RUN(um_gpu_norm_bwd_sums(&a, NULL));
    NEAR_F64((double *)back(sums, 2 * channels * sizeof(double)), want_sums, 2 * channels, sum_limit, "sums of the way back");

    float *dweight = device_block(channels * sizeof(float)), *dbias = device_block(channels * sizeof(float)), *wb = host_floats(channels), *wc = host_floats(channels), *ws = host_floats(channels), *wm = host_floats(channels);
    for (int first = 0; first < 2 && n > 0; first++) {
        um_gpu_norm_data_finish_args f = {c, first == 1, device_copy(&count, sizeof count), sums, b.device, dweight, dbias};
        RUN(um_gpu_norm_data_finish(&f, NULL));
        for (size_t i = 0; i < channels; i++) {
            double scale = (double)b.host.scale[i];
            wb[i] = (float)(-scale * want_sums[channels + i] / count * (double)b.host.rstd[i]);
            wc[i] = (float)(-scale * want_sums[i] / count);
            ws[i] = first == 1 ? (float)want_sums[channels + i] : 0;
            wm[i] = first == 1 ? (float)want_sums[i] : 0;
        }
        NEAR(back_floats(b.device.b, channels), wb, channels, sum_limit, "b");
        NEAR(back_floats(b.device.c, channels), wc, channels, sum_limit, "c");
        NEAR(back_floats(dweight, channels), ws, channels, sum_limit, "gradient of the weight");
        NEAR(back_floats(dbias, channels), wm, channels, sum_limit, "gradient of the bias");
    }
    um_norm with = b.host;
    if (n > 0) with.b = back_floats(b.device.b, channels), with.c = back_floats(b.device.c, channels);
    ref->norm_data(pixels, c, z, du, &with, want, false);
    a.dz = n % 2 == 0 && de != NULL ? de : device_block(all * um_dtype_bytes(type)); /* in place, too */
    RUN(um_gpu_norm_bwd(&a, NULL));
    NEAR(back_map(a.dz, all, type), want, all, map_limit(type), "dz");
    check_release();
}

static void check_norms(int n, int area, int c)
{
    for (int t = 0; t < 2; t++) {
        um_dtype type = t == 0 ? UM_F32 : UM_BF16;
        check_stats(n, area, c, type);
        check_norm_fwd(n, area, c, type, UM_ACT_SWISH, true);
        check_norm_fwd(n, area, c, type, UM_ACT_NONE, true);
        check_norm_fwd(n, area, c, type, UM_ACT_SWISH, false);
        check_norm_bwd(n, area, c, type, UM_ACT_NONE, false);
        check_norm_bwd(n, area, c, type, UM_ACT_SWISH, false);
        check_norm_bwd(n, area, c, type, UM_ACT_SWISH, true);
        n_cases += 7;
    }
}

/* ---- depthwise ---- */

static um_window window_of(int side, int c, int r, int stride)
{
    int out = (side + stride - 1) / stride, pad = (out - 1) * stride + r - side;
    pad = pad > 0 ? pad / 2 : 0;
    return (um_window){side, side, c, out, out, c, r, r, stride, pad, pad};
}

/* (C,1,R,S) -> (R,S,C) */
static float *taps_of(const float *w, int c, int taps)
{
    float *t = host_floats((size_t)c * (size_t)taps);
    for (int i = 0; i < c; i++)
        for (int j = 0; j < taps; j++) t[j * c + i] = w[i * taps + j];
    return t;
}

static void check_depthwise(const um_window *v, int n, um_dtype type, bool normed)
{
    size_t in_pixels = (size_t)n * (size_t)v->h * (size_t)v->w, out_pixels = (size_t)n * (size_t)v->p * (size_t)v->q, c = (size_t)v->c, in_all = in_pixels * c, out_all = out_pixels * c, each = (size_t)n * c, taps = (size_t)(v->r * v->s);
    char what[96];
    snprintf(what, sizeof what, "%dx%d %d channels %dx%d/%d, n %d, %s%s", v->h, v->w, v->c, v->r, v->s, v->stride, n, type == UM_F32 ? "f32" : "bf16", normed ? "" : ", plain");
    float *x = host_map(in_all, type, -2, 2), *w = host_random(taps * c, -0.5, 0.5), *about = host_random(c, -0.2, 0.2), *u1 = host_floats(in_all), *a1 = host_floats(in_all), *want = host_floats(out_all);
    check_norm b1 = norm_random(v->c), b2 = norm_random(v->c);
    double *sums = host_doubles(2 * c);
    ref->norm(in_pixels, v->c, x, &b1.host, u1);
    ref->act(UM_ACT_SWISH, in_pixels, v->c, u1, NULL, a1);
    if (!normed) memcpy(a1, x, in_all * sizeof *x);
    float *kept = host_floats(in_all); /* the way forward keeps what it multiplies in the map's type */
    for (size_t i = 0; i < in_all; i++) kept[i] = type == UM_BF16 ? um_bf16_to_f32(um_bf16_from_f32(a1[i])) : a1[i];
    ref->depthwise(v, n, kept, w, NULL, want, NULL);

    um_gpu_depthwise_train_args a = {.n = n, .h = v->h, .w = v->w, .c = v->c, .p = v->p, .q = v->q, .r = v->r, .stride = v->stride, .pad_top = v->pad_top, .pad_left = v->pad_left, .type = type, .normed = normed, .in_norm = b1.device};
    a.in = device_map(x, in_all, type);
    a.weight = device_floats(taps_of(w, v->c, (int)taps), taps * c);
    a.out = device_block(out_all * um_dtype_bytes(type));
    a.about = device_floats(about, c);
    a.sums = device_block(2 * c * sizeof(double));
    a.scratch = device_block(um_gpu_depthwise_fwd_scratch(&a));
    RUN(um_gpu_depthwise_fwd(&a, NULL));
    float *out = back_map(a.out, out_all, type);
    NEAR(out, want, out_all, 2 * map_limit(type), what);
    ref->norm_sums(out_pixels, v->c, out, about, sums); /* of what is kept */
    double *got_sums = back(a.sums, 2 * c * sizeof(double));
    NEAR_F64(got_sums, sums, 2 * c, sum_limit, what);
    RUN(um_gpu_depthwise_fwd(&a, NULL)); /* in another order of threads and blocks */
    CHECK(memcmp(got_sums, back(a.sums, 2 * c * sizeof(double)), 2 * c * sizeof(double)) == 0);

    float *z2 = host_map(out_all, type, -2, 2), *e = host_map(out_all, type, -1, 1), *gate = host_random(each, 0, 1), *m = host_random(each, -0.1, 0.1), *add = host_map(in_all, type, -1, 1), *u2 = host_floats(out_all), *d = host_floats(out_all),
          *dx = host_floats(in_all), *dw = host_floats(taps * c);
    ref->norm(out_pixels, v->c, z2, &b2.host, u2);
    ref->scale_data(n, v->p * v->q, v->c, gate, e, d, false);
    for (size_t i = 0; i < out_all; i++) d[i] += m[i / ((size_t)v->p * (size_t)v->q * c) * c + i % c];
    ref->act_data(UM_ACT_SWISH, out_pixels, v->c, u2, NULL, d, d, false, NULL);
    ref->norm_data(out_pixels, v->c, z2, d, &b2.host, d, false);
    ref->depthwise_weight(v, n, a1, d, dw, NULL, NULL);
    ref->depthwise_data(v, n, d, w, dx, false, NULL);
    if (normed) ref->act_data(UM_ACT_SWISH, in_pixels, v->c, u1, NULL, dx, dx, false, NULL);
    else ref->sum(in_all, dx, add, dx);

    a.out = device_map(z2, out_all, type);
    a.e = device_map(e, out_all, type);
    a.out_norm = b2.device;
    a.gate = device_floats(gate, each);
    a.m = device_floats(m, each);
    a.add = normed ? NULL : device_map(add, in_all, type);
    a.dx = normed || n % 2 == 1 ? device_block(in_all * um_dtype_bytes(type)) : (void *)(uintptr_t)a.add;
    a.dweight = device_block(taps * c * sizeof(float));
    a.scratch = device_block(um_gpu_depthwise_bwd_scratch(&a));
    RUN(um_gpu_depthwise_bwd(&a, NULL));
    float *got = back_map(a.dx, in_all, type);
    NEAR(got, dx, in_all, map_limit(type), what);
    float *got_dw = back_floats(a.dweight, taps * c);
    NEAR(got_dw, dw, taps * c, sum_limit, what);
    if (a.dx != a.add) {
        RUN(um_gpu_depthwise_bwd(&a, NULL));
        CHECK(memcmp(got_dw, back_floats(a.dweight, taps * c), taps * c * sizeof(float)) == 0 && memcmp(got, back_map(a.dx, in_all, type), in_all * sizeof(float)) == 0);
    }
    if (normed) {
        ref->norm_data_sums(in_pixels, v->c, x, got, &b1.host, sums);
        NEAR_F64((double *)back(a.sums, 2 * c * sizeof(double)), sums, 2 * c, sum_limit, what);
    }
    check_release();
    n_cases += 2;
}

static void check_depthwises(const um_window *v, int n)
{
    for (int t = 0; t < 2; t++)
        for (int normed = 0; normed < 2; normed++) check_depthwise(v, n, t == 0 ? UM_F32 : UM_BF16, normed == 1);
}

/* ---- squeeze and excite ---- */

static void check_squeeze(int n, int area, int c, int s, um_dtype type)
{
    size_t pixels = (size_t)n * (size_t)area, all = pixels * (size_t)c, each = (size_t)n * (size_t)c, small = (size_t)n * (size_t)s, channels = (size_t)c, matrix = channels * (size_t)s;
    um_window reduce = {1, 1, c, 1, 1, s, 1, 1, 1, 0, 0}, excite = {1, 1, s, 1, 1, c, 1, 1, 1, 0, 0};
    float *w1 = host_random(matrix, -0.3, 0.3), *b1 = host_random((size_t)s, -1, 1), *w2 = host_random(matrix, -0.3, 0.3), *b2 = host_random(channels, -1, 1), *z = host_map(all, type, -2, 2), *e = host_map(all, type, -1, 1);
    float *u = host_floats(all), *act = host_floats(all), *means = host_floats(each), *squeezed = host_floats(small), *acted = host_floats(small), *excited = host_floats(each), *gate = host_floats(each);
    check_norm b = norm_random(c);
    ref->norm(pixels, c, z, &b.host, u);
    ref->act(UM_ACT_SWISH, pixels, c, u, NULL, act);
    ref->mean(n, area, c, act, means);
    ref->conv(&reduce, n, means, w1, b1, squeezed, NULL);
    ref->act(UM_ACT_SWISH, (size_t)n, s, squeezed, NULL, acted);
    ref->conv(&excite, n, acted, w2, b2, excited, NULL);
    ref->act(UM_ACT_SIGMOID, (size_t)n, c, excited, NULL, gate);

    um_gpu_se_args a = {.n = n, .area = area, .c = c, .s = s, .type = type, .means = device_floats(means, each), .norm = b.device};
    a.w_reduce = device_floats(w1, matrix);
    a.b_reduce = device_floats(b1, (size_t)s);
    a.w_excite = device_floats(w2, matrix);
    a.b_excite = device_floats(b2, channels);
    a.squeezed = device_block(small * sizeof(float));
    a.gate = device_block(each * sizeof(float));
    RUN(um_gpu_se_fwd(&a, NULL));
    NEAR(back_floats(a.squeezed, small), squeezed, small, sum_limit, "squeezed");
    NEAR(back_floats(a.gate, each), gate, each, sum_limit, "gate");

    float *dgate = host_floats(each), *dexcited = host_floats(each), *dacted = host_floats(small), *dsqueezed = host_floats(small), *m = host_floats(each), *dw1 = host_floats(matrix), *db1 = host_floats((size_t)s), *dw2 = host_floats(matrix),
          *db2 = host_floats(channels), *du = host_floats(all);
    double *sums = host_doubles(2 * channels);
    ref->scale_gate(n, area, c, act, e, dgate, false);
    ref->act_data(UM_ACT_SIGMOID, (size_t)n, c, excited, NULL, dgate, dexcited, false, NULL);
    ref->conv_weight(&excite, n, acted, dexcited, dw2, db2, NULL);
    ref->conv_data(&excite, n, dexcited, w2, dacted, false, NULL);
    ref->act_data(UM_ACT_SWISH, (size_t)n, s, squeezed, NULL, dacted, dsqueezed, false, NULL);
    ref->conv_weight(&reduce, n, means, dsqueezed, dw1, db1, NULL);
    ref->conv_data(&reduce, n, dsqueezed, w1, m, false, NULL);
    ref->scale_data(n, area, c, gate, e, du, false);
    ref->mean_data(n, area, c, m, du, true);
    ref->act_data(UM_ACT_SWISH, pixels, c, u, NULL, du, du, false, NULL);
    ref->norm_data_sums(pixels, c, z, du, &b.host, sums);
    for (size_t i = 0; i < each; i++) m[i] /= (float)area;

    a.z = device_map(z, all, type);
    a.e = device_map(e, all, type);
    a.parts = device_block((size_t)UM_GPU_SE_SUMS * each * sizeof(float));
    a.scratch = device_block(um_gpu_se_bwd_sums_scratch(&a));
    RUN(um_gpu_se_bwd_sums(&a, NULL));
    a.m = device_block(each * sizeof(float));
    a.sums = device_block(2 * channels * sizeof(double));
    a.dw_reduce = device_block(matrix * sizeof(float));
    a.db_reduce = device_block((size_t)s * sizeof(float));
    a.dw_excite = device_block(matrix * sizeof(float));
    a.db_excite = device_block(channels * sizeof(float));
    a.scratch = device_block(um_gpu_se_bwd_scratch(&a));
    RUN(um_gpu_se_bwd(&a, NULL));
    NEAR(back_floats(a.m, each), m, each, sum_limit, "m");
    NEAR(back_floats(a.dw_reduce, matrix), dw1, matrix, sum_limit, "reduce");
    NEAR(back_floats(a.db_reduce, (size_t)s), db1, (size_t)s, sum_limit, "bias of reduce");
    NEAR(back_floats(a.dw_excite, matrix), dw2, matrix, gate_limit, "excite");
    NEAR(back_floats(a.db_excite, channels), db2, channels, gate_limit, "bias of excite");
    NEAR_F64((double *)back(a.sums, 2 * channels * sizeof(double)), sums, 2 * channels, sum_limit, "sums of du2");
    check_release();
    n_cases += 2;
}

/* ---- the layers of a network ---- */

enum { SIDE_CUT = 9, MAX_SEEN = 256 };

static void check_net(const char *what, const char *arch)
{
    um_efficientnet net;
    um_graph *g = NULL;
    int seen[MAX_SEEN][4], n_seen = 0;
    CHECK_OK(um_efficientnet_parse(arch, &net));
    CHECK_OK(um_efficientnet_graph(&net, net.native_px, true, 0.2f, 0.2f, &g));
    for (int i = 0; g != NULL && i < g->n_nodes; i++) {
        const um_node *v = &g->node[i], *in = v->in[0] >= 0 ? &g->node[v->in[0]] : v;
        bool norm = strcmp(what, "norm") == 0 && v->op == UM_OP_BATCH_NORM, depthwise = strcmp(what, "depthwise") == 0 && v->op == UM_OP_DEPTHWISE;
        bool squeeze = strcmp(what, "squeeze") == 0 && v->op == UM_OP_CONV && in->op == UM_OP_MEAN;
        if (!norm && !depthwise && !squeeze) continue;
        const um_node *map = squeeze ? &g->node[in->in[0]] : in;
        int side = map->h < SIDE_CUT ? map->h : SIDE_CUT, key[4] = {in->c, v->c, v->r, v->stride}, j;
        if (depthwise && v->stride == 2 && map->h % 2 == 0) side--; /* where the padding begins depends on that */
        for (j = 0; j < n_seen && memcmp(seen[j], key, sizeof key) != 0; j++) {}
        if (j < n_seen || n_seen == MAX_SEEN) continue;
        memcpy(seen[n_seen++], key, sizeof key);
        if (norm) check_norms(2, side * side, v->c);
        if (depthwise) {
            um_window w = window_of(side, v->c, v->r, v->stride);
            check_depthwises(&w, 1 + n_seen % 2);
        }
        for (int t = 0; squeeze && t < 2; t++) check_squeeze(2, side * side, in->c, v->c, t == 0 ? UM_F32 : UM_BF16);
    }
    um_graph_free(g);
}

static void check_odd(const char *what)
{
    static const int channels[] = {1, 3, 8, 12, 20, 33, 72};
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        int c = channels[i];
        if (strcmp(what, "norm") == 0) {
            check_norms(3, 1, c);
            check_norms(2, 35, c);
            check_norms(0, 4, c);
        }
        for (int t = 0; t < 2 && strcmp(what, "squeeze") == 0; t++) {
            um_dtype type = t == 0 ? UM_F32 : UM_BF16;
            check_squeeze(5, 1, c, 1 + c / 4, type);
            check_squeeze(9, 6, c, 1 + c / 3, type);
            check_squeeze(0, 6, c, 2, type);
        }
        for (int r = 3; r <= 5 && strcmp(what, "depthwise") == 0; r += 2)
            for (int stride = 1; stride <= 2; stride++) {
                static const int sides[] = {1, 2, 3, 7, 18};
                for (size_t j = 0; j < sizeof sides / sizeof *sides; j++) {
                    um_window w = window_of(sides[j], c, r, stride);
                    if (c == 72 || j < 3) check_depthwises(&w, 2);
                }
                um_window w = window_of(5, c, r, stride), free = {9, 14, c, 4, 7, c, r, r, stride, 1, 0}; /* windows that leave some of the input out, and padding of its own */
                check_depthwises(&w, 0);
                check_depthwises(&free, 1);
            }
    }
    if (strcmp(what, "norm") == 0) check_norms(1, 2100, 9);
    if (strcmp(what, "depthwise") == 0) {
        um_window w = window_of(70, 8, 3, 1);
        check_depthwise(&w, 30, UM_BF16, true); /* more tiles than blocks */
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    if (strcmp(argv[2], "odd") == 0) check_odd(argv[1]);
    else check_net(argv[1], argv[2]);
    CHECK(n_cases > 0);
    printf("%s of %s: %d cases, the farthest off by %.1e, of bf16 maps by %.1e\n", argv[1], argv[2], n_cases, check_worst[0], check_worst[1]);
    return TEST_END();
}
