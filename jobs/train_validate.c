/* How good a member is on videos it was not trained on: per video the mean probability of its crops, then the log-loss of fakes and of reals. Exact for any number of ranks: each crop's probability is gathered, the means are made in
 * one order. */
#include "jobs/train_member.h"

#include "jobs/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From probabilities (-: damaged) to the score. */
static void score_of(const um_train_member *m, const double *probability, const double *looked, um_train_score *out)
{
    const um_sample *s = m->data->val;
    double sum[2] = {0, 0};
    int64_t n[2] = {0, 0};
    for (int64_t i = 0, j; i < m->data->n_val; i = j) {
        double p = 0;
        int64_t crops = 0;
        for (j = i; j < m->data->n_val && s[j].video == s[i].video; j++) {
            out->crops++;
            out->damaged += looked[j] == 0;
            if (looked[j] == 0) continue;
            p += probability[j];
            crops++;
        }
        if (crops == 0) continue;
        sum[s[i].fake] += um_log_loss(p / (double)crops, s[i].fake);
        n[s[i].fake]++;
    }
    out->videos = n[0] + n[1];
    out->fake = n[1] > 0 ? sum[1] / (double)n[1] : NAN;
    out->real = n[0] > 0 ? sum[0] / (double)n[0] : NAN;
    /* A side that is missing cannot choose: the other one does. */
    double fake = n[1] > 0 ? out->fake : out->real, real = n[0] > 0 ? out->real : out->fake;
    out->mean = (fake + real) / 2;
    out->weighted = (1.4 * fake + real) / 2;
}

um_status um_train_member_validate(um_train_member *m, um_train_score *out)
{
    int64_t n = m->data->n_val, batches = (n + m->batch - 1) / m->batch;
    um_loader_run run = {.make = um_train_source_validate, .user = m->source, .end_batch = batches, .stride = m->batch, .offset = m->first, .end = n, .n = m->n};
    double *probability = calloc(2 * (size_t)n + 1, sizeof *probability), *looked = probability != NULL ? probability + n : NULL;
    um_status st = probability == NULL ? UM_FAIL(UM_NO_MEMORY, "no memory for %lld crops", (long long)n) : UM_OK;
    bool stopped = false;
    *out = (um_train_score){0};
    if (st == UM_OK) st = um_loader_begin(m->loader, &run);
    UM_GOTO_PASS(st, um_agree(m->w, st, "validating"));
    /* A rank that failed goes on to the next sum, where all learn of it. */
    for (int64_t k = 0; k <= batches; k++) {
        double flag[2] = {st != UM_OK, *um_stop_flag() != 0};
        um_loader_batch b;
        um_world_total(m->w, flag, 2);
        stopped = flag[1] > 0;
        if (flag[0] > 0 || stopped || k == batches) break;
        st = um_loader_next(m->loader, &b);
        if (st != UM_OK || b.n == 0) continue;
        st = m->ops->evaluate(m->trainer, b.images, b.n, m->logit);
        for (int i = 0; i < b.n && st == UM_OK; i++) {
            if ((b.weight[i] & UM_PICTURE_COUNTS) == 0) continue;
            probability[b.first + i] = um_sigmoid((double)m->logit[i]);
            looked[b.first + i] = 1;
        }
    }
    um_loader_stop(m->loader);
    if (st == UM_OK && stopped) st = UM_FAIL(UM_STOPPED, "a signal asked to stop");
    UM_GOTO_PASS(st, um_agree(m->w, st, "validating"));
    um_world_total(m->w, probability, 2 * (size_t)n);
    score_of(m, probability, looked, out);
done:
    free(probability);
    return st;
}
