/* The baseline beside OpenCV's and scikit-learn's numbers (make_baseline_golden.py). usage: test_baseline DATA/baseline.tsv */
#include "src/train/baseline.h"
#include "tests/golden/picture.h"
#include "tests/unit/test.h"

enum { N = UM_BASELINE_FEATURES, SCORED = 5, MOST = 512 };

static void check_features(um_cvresize *r, int w, int h, FILE *f)
{
    double got[N], want;
    um_image crop;
    picture(w, h, 3, 5, &crop);
    CHECK_OK(um_baseline_features(r, &crop, got));
    for (int i = 0; i < N; i++) {
        CHECK(fscanf(f, "%lf", &want) == 1);
        if (fabs(got[i] - want) > 1e-9 * (1 + fabs(want))) fprintf(stderr, "statistic %d of %dx%d:\n", i, w, h);
        CHECK_NEAR(got[i], want, 1e-9 * (1 + fabs(want)));
    }
    free(crop.data);
}

/* row() of the script. */
static void row(int64_t i, int shift, double *x, uint8_t *fake)
{
    *fake = i % 3 == 0;
    for (int64_t j = 0; j < N; j++) x[j] = (double)(((i * 2654435761 ^ j * 40503 * (i + 7)) >> 7) % 1009) / 8 + (*fake ? (double)shift * (double)(j % 4) : 0);
    x[5] = 42;
}

static void check_fit(int n, int shift, FILE *f)
{
    static double x[MOST][N];
    static uint8_t fake[MOST];
    um_baseline b, again;
    double want[3 * N + 1 + SCORED];
    for (int i = 0; i < n + SCORED; i++) row(i, shift, x[i], &fake[i]);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) CHECK(fscanf(f, "%lf", &want[i]) == 1);
    CHECK_OK(um_baseline_fit(x[0], fake, (size_t)n, &b));
    for (int i = 0; i < N; i++) {
        CHECK_NEAR(b.mean[i], want[i], 1e-9 * (1 + fabs(want[i])));
        CHECK_NEAR(b.scale[i], want[N + i], 1e-9 * (1 + fabs(want[N + i])));
        CHECK_NEAR(b.weight[i], want[2 * N + i], 1e-7);
    }
    CHECK_NEAR(b.bias, want[3 * N], 1e-7);
    CHECK(b.weight[5] == 0); /* what is the same everywhere */
    for (int i = 0; i < SCORED; i++) CHECK_NEAR(um_baseline_score(&b, x[n + i]), want[3 * N + 1 + i], 1e-7);
    CHECK_OK(um_baseline_fit(x[0], fake, (size_t)n, &again));
    CHECK(memcmp(&b, &again, sizeof b) == 0);
    CHECK(b.n_steps < 30);
}

static void refusals(um_cvresize *r)
{
    double x[4][N] = {{0}};
    uint8_t fake[4] = {1, 1, 1, 1};
    um_baseline b;
    um_image grey;
    CHECK_INT(um_baseline_fit(x[0], fake, 4, &b), UM_DATA);
    CHECK_INT(um_baseline_fit(x[0], fake, 0, &b), UM_DATA);
    fake[2] = 0;
    CHECK_OK(um_baseline_fit(x[0], fake, 4, &b)); /* nothing to tell them by: even, since the classes weigh the same */
    CHECK_NEAR(um_baseline_score(&b, x[0]), 0.5, 1e-9);
    x[1][3] = NAN;
    CHECK_INT(um_baseline_fit(x[0], fake, 4, &b), UM_DATA);
    CHECK_OK(um_image_new(8, 8, 1, &grey));
    CHECK_INT(um_baseline_features(r, &grey, x[0]), UM_USAGE);
    um_image_free(&grey);
}

int main(int argc, char **argv)
{
    um_cvresize *r = NULL;
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    char kind[16];
    int a, b, n_features = 0, n_fits = 0;
    if (f == NULL) return 2;
    CHECK_OK(um_cvresize_new(&r));
    while (fscanf(f, "%15s %d %d", kind, &a, &b) == 3) {
        if (strcmp(kind, "fit") == 0) {
            check_fit(a, b, f);
            n_fits++;
        } else {
            check_features(r, a, b, f);
            n_features++;
        }
    }
    CHECK_INT(n_features, 9);
    CHECK_INT(n_fits, 3);
    refusals(r);
    fclose(f);
    um_cvresize_free(r);
    return TEST_END();
}
