#pragma once
/* loss.h: the loss of one batch of all ranks, fakes and reals apart, and its derivative by each logit.
 *
 * Every rank calls it with the logits of the whole batch (gathered first: a few kilobytes), in the batch's order, and so every rank finds the same numbers, whatever the number of ranks.
 *
 * Of one picture with logit x and target y (after smoothing: y clipped to [s, 1 - s]):
 *     BCE(x, y)   = max(x, 0) - x y + log(1 + exp(-|x|))                  d = sigmoid(x) - y              (torch.nn.BCEWithLogitsLoss)
 *     focal(x, y) = -(1 - q)^g log q, q = y p + (1 - y) (1 - p), p = sigmoid(x), clipped to [1e-8, 1 - 1e-8]      (the reference's FocalLoss, g = 2; Lin et al., ICCV 2017)
 *     l = bce_weight BCE + focal_weight focal
 * A picture is a fake where its target before smoothing is above 0.5. The loss of a class is the mean of l over its pictures; of those that take part only (weight[i] != 0); with ohem_k > 0 over the k with the largest l (fewer
 * where there are fewer; of equals the first). The loss is (fake + real) / 2; a class without pictures counts 0. The derivative follows with the choice and the counts held fixed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct um_loss_options {
    double bce_weight, focal_weight, focal_gamma;
    double smoothing; /* s: 0 .. 0.5 */
    int64_t ohem_k;   /* 0: off */
} um_loss_options;

typedef struct um_loss {
    double loss, fake, real;   /* NaN or infinite where a logit that takes part is not finite */
    int64_t n_fake, n_real;    /* pictures that counted */
} um_loss;

/* logit, target, weight: [n]; weight 0: does not take part. d_logit: [n], d loss / d logit. scratch: [n], for ohem_k > 0. Allocates nothing. Any thread. */
um_loss um_loss_batch(const um_loss_options *o, size_t n, const float *logit, const float *target, const uint8_t *weight, float *d_logit, double *scratch);
/* 1 / (1 + exp(-x)), without overflow. */
double um_sigmoid(double x);
/* The log-loss of a probability: -log p for a fake, -log(1 - p) for a real, p clipped to [1e-7, 1 - 1e-7]. */
double um_log_loss(double p, bool fake);
