/* evaluate: how well models tell fakes, or scores that were given. */
#include "jobs/device.h"
#include "jobs/evaluate.h"
#include "jobs/stop.h"

#define AT(name) offsetof(um_evaluate_options, name)

static const um_opt options[] = {
    {"store", 0, UM_OPT_TEXT, AT(store), NULL, "DIR", .help = "evaluate models on the crops of this store, made by unmask preprocess"},
    {"folds", 0, UM_OPT_TEXT, AT(folds), NULL, "FILE", .help = "folds.csv made by unmask folds: which crops are held out"},
    {"models", 'm', UM_OPT_TEXTS, AT(models), NULL, "PATH", .help = "a model, or a folder with models (unmask train -o, or its seed111 with a model an epoch); repeatable"},
    {"fold", 0, UM_OPT_INT, AT(fold), "0", "N", 0, 1e6, .help = "the fold that was held out: its crops are evaluated on"},
    {"val-list", 0, UM_OPT_TEXT, AT(val_list), NULL, "FILE", .help = "evaluate on the videos that this file names instead, as in unmask train"},
    {"val-videos", 0, UM_OPT_INT, AT(val_videos), "0", "N", 0, 1e9, .help = "on so many videos of the fold, drawn by lot as in unmask train; 0: all"},
    {"baseline", 0, UM_OPT_FLAG, AT(baseline), NULL, NULL, .help = "beside the models: a logistic regression on sharpness and colour, fitted to the crops that are trained on"},
    {"threads", 0, UM_OPT_INT, AT(threads), "0", "N", 0, 64, .help = "threads of each rank; 0: its fair share of the processors"},
    UM_DEVICE_ROWS(um_evaluate_options),
    {"scores", 0, UM_OPT_TEXT, AT(scores), NULL, "FILE", .help = "evaluate these scores instead: CSV with path and score (unmask score -o) or filename and label (--submission)"},
    {"labels", 0, UM_OPT_TEXTS, AT(labels), NULL, "FILE", .help = "the truth for --scores: metadata.json, a folder with one, or CSV with path and label; repeatable"},
    {"missing", 0, UM_OPT_CHOICE, AT(missing), "0.5", NULL, .choices = "0.5|skip", .help = "rows without a score: 0.5, as in the challenge, or left out"},
    {"log", 0, UM_OPT_TEXTS, AT(logs), NULL, "FILE", .help = "log.jsonl of unmask train, for loss.svg; alone, or beside the above; repeatable"},
    {"json", 0, UM_OPT_TEXT, AT(json), NULL, "FILE", .help = "all numbers as JSON; -: standard output, instead of the table"},
    {"csv", 0, UM_OPT_TEXT, AT(csv), NULL, "FILE", .help = "a row a video: path, label, what each model says; -: standard output"},
    {"svg", 0, UM_OPT_TEXT, AT(svg), NULL, "DIR", .help = "curves: roc.svg, calibration.svg, and loss.svg of --log"},
    {"fit-calibration", 0, UM_OPT_TEXT, AT(fit_calibration), NULL, "FILE", .help = "fit sigmoid(scale logit(score) + offset) to these videos and write it as JSON"},
    {"calibration", 0, UM_OPT_TEXT, AT(calibration), NULL, "FILE", .help = "apply such a file, fitted to other videos"},
    {"resamples", 0, UM_OPT_INT, AT(rounds), "1000", "N", 0, 1e6, .help = "of the bootstrap, for confidence intervals; 0: none"},
    {NULL},
};

static um_status check(const um_evaluate_options *o)
{
    if (o->store == NULL && o->scores == NULL && o->logs.n == 0) return UM_FAIL(UM_USAGE, "what is to be evaluated? Give --store DIR --folds FILE -m DIR, or --scores FILE --labels FILE, or --log FILE --svg DIR");
    if (o->store != NULL && o->scores != NULL) return UM_FAIL(UM_USAGE, "--store and --scores: one of them");
    if (o->store != NULL && o->folds == NULL) return UM_FAIL(UM_USAGE, "--folds FILE is missing: which of the store's crops were held out");
    if (o->scores != NULL && o->labels.n == 0) return UM_FAIL(UM_USAGE, "--labels FILE is missing: metadata.json, or CSV with path and label");
    if (o->scores == NULL && o->labels.n > 0) return UM_FAIL(UM_USAGE, "--labels goes with --scores; a store knows its labels");
    if (o->scores != NULL && (o->models.n > 0 || o->baseline)) return UM_FAIL(UM_USAGE, "-m and --baseline go with --store");
    if (o->logs.n > 0 && o->svg == NULL) return UM_FAIL(UM_USAGE, "--log: --svg DIR is missing, where loss.svg goes");
    if (o->calibration != NULL && o->fit_calibration != NULL) return UM_FAIL(UM_USAGE, "--calibration and --fit-calibration: one of them; a calibration is fitted to other videos than it is applied to");
    if (o->store == NULL && o->scores == NULL && (o->json != NULL || o->csv != NULL || o->calibration != NULL || o->fit_calibration != NULL))
        return UM_FAIL(UM_USAGE, "--json, --csv and calibrations go with --store or --scores");
    return UM_OK;
}

static um_status run(um_job_context *ctx, void *values)
{
    const um_evaluate_options *o = values;
    um_evaluation e = {.best = -1};
    um_status st;
    um_stop_install();
    UM_GOTO_PASS(st, um_agree(&ctx->world, check(o), "preparing"));
    if (o->store != NULL) UM_GOTO_PASS(st, um_evaluate_store(ctx, o, &e));
    if (ctx->world.rank == 0) {
        if (o->scores != NULL) st = um_evaluate_scores(ctx, o, &e);
        if (st == UM_OK) st = um_evaluate_report(ctx, o, &e);
    }
    st = um_agree(&ctx->world, st, "evaluating");
done:
    um_evaluation_release(&e);
    return st;
}

const um_job um_job_evaluate = {
    .name = "evaluate",
    .usage = "evaluate --store DIR --folds folds.csv -m DIR [--fold 0] | --scores scores.csv --labels metadata.json [options]",
    .summary = "say how well models, or scores, tell fakes (MPI)",
    .details = "Of videos: log-loss of fakes, of reals, their mean, weighted (1.4 fake + real) / 2 (the least is the best model or epoch), AUC, equal error rate, average precision, accuracy at 0.5, with 95 % intervals; of frames AUC and accuracy.\n"
               "With --store a model's number for a video is the mean over its held-out crops, the ensemble's the mean over the models; every second kept frame counts, as in training. unmask score looks at other frames, and averages\n"
               "otherwise: judge what you will publish with --scores.\n"
               "Intervals draw originals together with their fakes. A calibration belongs to the way its scores were made: fit it to scores of held-back videos, apply it to scores of others.\n",
    .options = options,
    .options_size = sizeof(um_evaluate_options),
    .min_operands = 0,
    .max_operands = 0,
    .flags = UM_JOB_MPI,
    .run = run,
};
