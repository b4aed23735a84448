#pragma once
/* trainer_check.h: does a trainer learn what the processor's learns? A network a few steps long on drawn pictures, both side by side: for unmask doctor --selftest and the tests. */
#include "src/train/trainer.h"

typedef struct um_trainer_check {
    /* in */
    const um_trainer_ops *ops;
    um_dtype precision;
    int n_steps;             /* at most UM_TRAINER_CHECK_MAX_STEPS */
    /* out */
    double loss, norm;       /* the largest relative difference of any step's loss; of its gradient's norm */
    double limit;            /* of both: of f32 and bf16 */
    double weights;          /* root mean square of the difference over that of what training changed */
    bool right;
} um_trainer_check;

enum { UM_TRAINER_CHECK_MAX_STEPS = 16 };

/* EfficientNet-B0 at 64 px, 4 pictures a step, SGD with Nesterov's momentum, drop-path and dropout. Some seconds on a processor. Errors: those of ops; a difference is none. */
um_status um_trainer_check_run(um_trainer_check *c);
