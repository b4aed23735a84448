/* metrics beside scikit-learn's numbers (make_metrics_golden.py), and what it does not answer: counts of a resample, missing classes, intervals. usage: test_metrics metrics.tsv */
#include "src/train/metrics.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MOST = 200 };
static FILE *in;
static char name[32];

/* The numbers of the next line, whose name is put into `name`; how many. */
static int next(double *v)
{
    static char line[16384];
    int n = 0;
    if (fgets(line, sizeof line, in) == NULL) line[0] = 0;
    size_t length = strcspn(line, "\t");
    snprintf(name, sizeof name, "%.*s", (int)length, line);
    for (char *at = strchr(line, '\t'); at != NULL && n < MOST; at = strchr(at + 1, '\t')) v[n++] = strtod(at + 1, NULL);
    return n;
}

static void check_all(const um_metrics *m, const double *want, double tolerance)
{
    const double got[10] = {m->fake, m->real, m->mean, m->weighted, m->log_loss, m->auc, m->eer, m->average_precision, m->accuracy, m->balanced};
    for (int i = 0; i < 10; i++) CHECK_NEAR(got[i], want[i], tolerance);
}

static void golden(void)
{
    static double p[MOST], y[MOST], want[MOST], fpr[MOST], tpr[MOST];
    int n, cases = 0;
    while ((n = next(p)) > 0) {
        um_scored s[MOST];
        CHECK_INT(next(y), n);
        for (int i = 0; i < n; i++) s[i] = (um_scored){p[i], y[i] != 0, i};
        um_scored_sort(s, (size_t)n);
        um_metrics m = um_metrics_of(s, (size_t)n, NULL);
        CHECK_INT(next(want), 10);
        check_all(&m, want, 1e-9);
        int points = next(want) / 2;
        CHECK_INT(um_roc(s, (size_t)n, fpr, tpr), points);
        for (int i = 0; i < points; i++) {
            CHECK_NEAR(fpr[i], want[i], 1e-12);
            CHECK_NEAR(tpr[i], want[points + i], 1e-12);
        }
        CHECK_INT(next(want), 1);
        CHECK_NEAR(um_reliability_of(s, (size_t)n).error, want[0], 1e-9);
        um_calibration c;
        bool fitted = next(want) == 2;
        if (fitted) {
            CHECK_INT(um_calibration_fit(s, (size_t)n, &c), UM_OK);
            CHECK_NEAR(c.scale, want[0], 2e-5 * (1 + fabs(want[0])));
            CHECK_NEAR(c.offset, want[1], 2e-5 * (1 + fabs(want[1])));
        } else {
            CHECK(strcmp(name, "none") == 0);
        }
        cases++;
    }
    CHECK_INT(cases, 6);
}

/* A video that counts twice is two videos. */
static void counted(void)
{
    const um_scored s[5] = {{0.9, true, 0}, {0.7, false, 1}, {0.7, true, 2}, {0.4, false, 3}, {0.2, true, 4}};
    const um_scored t[7] = {{0.9, true, 0}, {0.9, true, 0}, {0.7, false, 1}, {0.7, true, 2}, {0.2, true, 4}, {0.2, true, 4}, {0.2, true, 4}};
    const int32_t times[5] = {2, 1, 1, 0, 3};
    um_metrics a = um_metrics_of(s, 5, times), b = um_metrics_of(t, 7, NULL);
    const double want[10] = {b.fake, b.real, b.mean, b.weighted, b.log_loss, b.auc, b.eer, b.average_precision, b.accuracy, b.balanced};
    CHECK_INT(a.n_fake, 6);
    CHECK_INT(a.n_real, 1);
    check_all(&a, want, 1e-12);
}

static void missing_classes(void)
{
    const um_scored s[2] = {{0.9, true, 0}, {0.4, true, 1}};
    double fpr[3], tpr[3];
    um_calibration c;
    um_metrics m = um_metrics_of(s, 2, NULL), none = um_metrics_of(s, 0, NULL);
    CHECK(isnan(m.real) && isnan(m.auc) && isnan(m.eer) && isnan(m.average_precision) && isnan(m.balanced));
    CHECK_NEAR(m.mean, m.fake, 0);
    CHECK_NEAR(m.weighted, 1.2 * m.fake, 1e-15);
    CHECK_NEAR(m.accuracy, 0.5, 0);
    CHECK(isnan(none.log_loss) && isnan(none.accuracy) && isnan(none.weighted));
    CHECK_INT(um_roc(s, 2, fpr, tpr), 0);
    CHECK_INT(um_calibration_fit(s, 2, &c), UM_DATA);
    const um_scored wrong[4] = {{0.9, false, 0}, {0.8, false, 1}, {0.2, true, 2}, {0.1, true, 3}};
    CHECK_INT(um_calibration_fit(wrong, 4, &c), UM_DATA);
}

/* Intervals hold the number itself, repeat, narrow with more videos, and widen where videos hang together. */
static void intervals(void)
{
    static um_scored few[40], many[640], grouped[640];
    um_metrics low, high, low2, high2;
    int used;
    for (int i = 0; i < 640; i++) {
        double noise = (double)((unsigned)i * 2654435761u % 1000) / 1000;
        many[i] = (um_scored){.p = 0.25 * (i % 2) + 0.75 * noise, .fake = i % 2, .group = i};
        if (i < 40) few[i] = many[i];
    }
    for (int i = 0; i < 640; i++) { /* 40 different videos, each 16 times */
        grouped[i] = few[i % 40];
        grouped[i].group = i % 40;
    }
    um_scored_sort(few, 40);
    um_scored_sort(many, 640);
    um_scored_sort(grouped, 640);
    CHECK_INT(um_metrics_intervals(many, 640, 300, &low, &high, &used), UM_OK);
    CHECK_INT(used, 300);
    um_metrics m = um_metrics_of(many, 640, NULL);
    CHECK(low.auc < m.auc && m.auc < high.auc && low.log_loss < m.log_loss && m.log_loss < high.log_loss);
    double width = high.auc - low.auc;
    CHECK(width > 0.02 && width < 0.12); /* the standard error of this AUC is about 0.018 (Hanley, McNeil) */
    CHECK_INT(um_metrics_intervals(many, 640, 300, &low2, &high2, &used), UM_OK);
    CHECK(low2.auc == low.auc && high2.weighted == high.weighted);
    CHECK_INT(um_metrics_intervals(few, 40, 300, &low, &high, &used), UM_OK);
    CHECK(high.auc - low.auc > 2 * width);
    CHECK_INT(um_metrics_intervals(grouped, 640, 300, &low2, &high2, &used), UM_OK);
    CHECK(high2.auc - low2.auc > 2 * width);
    CHECK_INT(um_metrics_intervals(few, 1, 300, &low, &high, &used), UM_OK);
    CHECK_INT(used, 0);
    CHECK(isnan(low.auc) && isnan(high.fake));
}

int main(int argc, char **argv)
{
    in = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (in == NULL) {
        fprintf(stderr, "usage: test_metrics metrics.tsv\n");
        return 2;
    }
    golden();
    counted();
    missing_classes();
    intervals();
    fclose(in);
    return test_failures != 0;
}
