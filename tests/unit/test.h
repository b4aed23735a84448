#pragma once
/* test.h: what every test program uses. CHECK goes on after a failure, so one run shows all of them; the process exits 1 if any failed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

static int test_failures;

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
            test_failures++;                                                   \
        }                                                                      \
    } while (0)
#define CHECK_INT(got, want)                                                                                                       \
    do {                                                                                                                           \
        long long g_ = (long long)(got), w_ = (long long)(want);                                                                   \
        if (g_ != w_) {                                                                                                            \
            fprintf(stderr, "%s:%d: failed: %s is %lld, want %lld\n", __FILE__, __LINE__, #got, g_, w_);                           \
            test_failures++;                                                                                                       \
        }                                                                                                                          \
    } while (0)
#define CHECK_STR(got, want)                                                                                                       \
    do {                                                                                                                           \
        const char *g_ = (got), *w_ = (want);                                                                                      \
        if (strcmp(g_, w_) != 0) {                                                                                                 \
            fprintf(stderr, "%s:%d: failed: %s is \"%s\", want \"%s\"\n", __FILE__, __LINE__, #got, g_, w_);                       \
            test_failures++;                                                                                                       \
        }                                                                                                                          \
    } while (0)
#define CHECK_NEAR(got, want, tolerance)                                                                                           \
    do {                                                                                                                           \
        double g_ = (got), w_ = (want), t_ = (tolerance);                                                                          \
        if (!(fabs(g_ - w_) <= t_)) {                                                                                              \
            fprintf(stderr, "%s:%d: failed: %s is %.9g, want %.9g +- %g\n", __FILE__, __LINE__, #got, g_, w_, t_);                 \
            test_failures++;                                                                                                       \
        }                                                                                                                          \
    } while (0)
/* A call that must succeed; shows the error chain when it does not (include src/core/err.h). */
#define CHECK_OK(call)                                                                                                             \
    do {                                                                                                                           \
        um_status s_ = (call);                                                                                                     \
        if (s_ != UM_OK) {                                                                                                         \
            fprintf(stderr, "%s:%d: failed: %s: %s: %s\n", __FILE__, __LINE__, #call, um_status_name(s_), um_err_text());          \
            test_failures++;                                                                                                       \
        }                                                                                                                          \
    } while (0)
#define TEST_END() (test_failures == 0 ? 0 : (fprintf(stderr, "%d checks failed\n", test_failures), 1))
