#pragma once
/* selftest.h: does a backend compute what it should on this machine? Its kernels against the plain backend (src/nn/ref), on every kind of layer and every layer shape of EfficientNets and MTCNN, alone and merged as a plan merges them.
 *
 *     um_selftest t = {.backend = b, .side_px = 9, .each = show};
 *     UM_PASS(um_selftest_layers(&t)); UM_PASS(um_selftest_net(&t, &um_efficientnets[0]));
 *     if (t.n_failed > 0) ...
 *
 * The error is the root mean square of the difference over that of the plain backend's output. Limits: f32: sums in another order than the oracle's f64. bf16: half a unit in the last place is up to 2^-9 = 0.002, for each map or weight
 * that a kernel rounds in another place than the oracle (raw sums handed from one step to the next, gated weights, a bias).
 */
#include "src/models/efficientnet.h"
#include "src/nn/backend.h"

typedef struct um_selftest_case {
    const um_step *step; /* [n_steps], computed as one kernel; n is the batch */
    int n_steps;
    um_dtype precision;
    double error, limit;
} um_selftest_case;

typedef struct um_selftest {
    const um_backend *backend;
    int side_px; /* planes are cut to this side, channels stay; 0: as they are */
    void (*each)(void *user, const um_selftest_case *c); /* may be NULL */
    void *user;
    int n_cases, n_failed;
    double worst[2]; /* error, f32 and bf16 */
} um_selftest;

/* MTCNN's layers and odd shapes: channels that are no multiple of 8, planes of one pixel. In f32, and in bf16 where the backend has it. Errors: UM_NO_MEMORY, a device's. */
um_status um_selftest_layers(um_selftest *t);
/* Each kernel that a plan of the net at 380 px makes, once. */
um_status um_selftest_net(um_selftest *t, const um_efficientnet *net);
