#pragma once
/* metrics.h: how good probabilities of a fake are, against the truth: of videos, or of single frames.
 *
 *     um_scored *s: one a video; um_scored_sort(s, n);
 *     um_metrics m = um_metrics_of(s, n, NULL);
 *     UM_PASS(um_metrics_intervals(s, n, 1000, &low, &high, &used));
 *
 * Fakes are the positive class. A number that is not defined (a class is missing, or nothing is there) is NaN. Pure; any thread.
 *
 *   fake, real     mean of um_log_loss (src/train/loss.h: p clipped to [1e-7, 1 - 1e-7]) over the fakes, over the reals; mean: (fake + real) / 2; weighted: (1.4 fake + real) / 2, by which the reference chooses checkpoints; where one
 *                  class is missing, mean and weighted are those of the other as in training
 *   log_loss       over all (sklearn.metrics.log_loss; what the challenge counted)
 *   auc            area under the ROC curve = P(fake above real) + P(equal) / 2 (Hanley, McNeil, Radiology 143, 1982)
 *   eer            where false positive and false negative rate are equal, on the ROC curve with straight lines between its points
 *   average_precision   sum over thresholds of (recall - recall before) x precision (sklearn.metrics.average_precision_score)
 *   accuracy       share of right answers, fake where p >= 0.5, as verdicts are given
 *   balanced       mean of the shares of right answers of both classes
 */
#include "src/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct um_scored {
    double p;      /* probability of a fake */
    bool fake;
    int32_t group; /* 0 ..: an original and its fakes; drawn together */
} um_scored;

typedef struct um_metrics {
    int64_t n_fake, n_real;
    double fake, real, mean, weighted, log_loss, auc, eer, average_precision, accuracy, balanced;
} um_metrics;

/* Descending by p, as the functions below want it. */
void um_scored_sort(um_scored *s, size_t n);
/* times: [n], how often each counts; NULL: once. */
um_metrics um_metrics_of(const um_scored *s, size_t n, const int32_t *times);

/* 95 % percentile bootstrap (Efron, Tibshirani 1993, 13.3): `rounds` times as many groups as there are, drawn with replacement by a fixed seed; a group's videos go together, for they are not independent. A round in which a class is
 * missing does not count: *used says how many did. low, high: bounds of each double of um_metrics, NaN where *used is below 20. Errors: UM_NO_MEMORY. */
um_status um_metrics_intervals(const um_scored *s, size_t n, int rounds, um_metrics *low, um_metrics *high, int *used);

/* Points of the ROC curve from (0,0) to (1,1), one a distinct p and the first; fpr, tpr: [n + 1]. Returns their number, 0 where a class is missing. */
size_t um_roc(const um_scored *s, size_t n, double *fpr, double *tpr);

/* Bins of equal width over p; the last one holds 1 too. error: expected calibration error, the mean over all of |mean p - share of fakes| of their bin (Guo et al., ICML 2017). */
enum { UM_RELIABILITY_BINS = 10 };
typedef struct um_reliability {
    struct {
        int64_t n;
        double mean_p, fakes; /* fakes: their share; NaN where n is 0 */
    } bin[UM_RELIABILITY_BINS];
    double error;
} um_reliability;
um_reliability um_reliability_of(const um_scored *s, size_t n);

/* p' = sigmoid(scale logit(p) + offset), logit of p clipped to [1e-6, 1 - 1e-6] (Platt 1999). */
typedef struct um_calibration {
    double scale, offset;
} um_calibration;
double um_calibrate(const um_calibration *c, double p);
/* Maximum likelihood with Platt's targets ((n_fake + 1) / (n_fake + 2) and 1 / (n_real + 2)), both classes of equal weight; by Newton's method, steps halved where the sum would grow. Errors: UM_DATA (a class is missing, or a larger p
 * does not mean a fake: scale <= 0). */
um_status um_calibration_fit(const um_scored *s, size_t n, um_calibration *out);
