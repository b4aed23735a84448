#include "jobs/train_options.h"

#include "jobs/device.h"

#include "io/settings.h"
#include "src/core/log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(um_train_options, name)
#define KEY         UM_OPT_SET_ONLY | UM_OPT_FROZEN

static const um_opt rows[] = {
    {"store", 0, UM_OPT_TEXT, FIELD(store), NULL, "DIR", .flags = UM_OPT_REQUIRED, .help = "the store made by unmask preprocess"},
    {"folds", 0, UM_OPT_TEXT, FIELD(folds), NULL, "FILE", .flags = UM_OPT_REQUIRED, .help = "folds.csv made by unmask folds"},
    {"config", 0, UM_OPT_TEXT, FIELD(config), NULL, "FILE", .help = "JSON: network, optimiser, schedule; files of the reference work unchanged (configs/b7.json, configs/b5.json)"},
    {"output", 'o', UM_OPT_TEXT, FIELD(output), NULL, "DIR", .help = "the folder to make or to continue: the best model of each member, and beside it its checkpoints, epochs and log"},
    {"seed", 0, UM_OPT_INT, FIELD(seed), "777", "X", 0, 1e15, .help = "of everything that is drawn by lot"},
    {"seeds", 0, UM_OPT_TEXT, FIELD(seeds), NULL, "X,Y,...", .help = "train one member with each seed: at the same time, ranks split evenly, or in turn where there are fewer ranks"},
    {"fold", 0, UM_OPT_INT, FIELD(fold), "0", "N", 0, 1e6, .flags = UM_OPT_FROZEN, .help = "the fold that is held out: it is never trained on, and validated on unless --val-list says otherwise"},
    {"val-videos", 0, UM_OPT_INT, FIELD(val_videos), "0", "N", 0, 1e9, .flags = UM_OPT_FROZEN, .help = "validate on so many videos of the held-out fold, drawn by lot; 0: all"},
    {"val-list", 0, UM_OPT_TEXT, FIELD(val_list), NULL, "FILE",
     .help = "validate on the videos that this file names, one a line (path, file name or stem): they, their originals and all fakes of these are not trained on"},
    {"init", 0, UM_OPT_TEXT, FIELD(init), NULL, "FILE",
     .help = "begin with these weights: a model or an encoder (unmask import classifier; the reference begins with timm's tf_efficientnet_b7_ns) instead of random ones"},
    UM_DEVICE_ROWS(um_train_options),
    {"gpu.in_order", 0, UM_OPT_FLAG, FIELD(in_order), NULL, NULL, .flags = UM_OPT_SET_ONLY, .help = "GPUs sum gradients over ranks on the communicator of batch norm, not beside it: slower; for where the two stop each other"},
    {"patience", 0, UM_OPT_REAL, FIELD(patience_s), "600", "SECONDS", 0, 1e9, .flags = UM_OPT_SET_ONLY, .help = "how long a rank waits for others before the job ends (75), to be continued; 0: for ever. On processors not within a step"},
    {"deterministic", 0, UM_OPT_FLAG, FIELD(deterministic), NULL, NULL, .flags = UM_OPT_FROZEN, .help = "four virtual ranks, shared out among 1, 2 or 4: the same bits for each; on processors only"},
    {"keep", 0, UM_OPT_TEXT, FIELD(keep), "all", "all|last:N", .help = "which epochs' models stay; the best one always does"},
    {"checkpoint-steps", 0, UM_OPT_INT, FIELD(checkpoint_steps), "0", "N", 0, 1e9, .help = "also write a checkpoint every N steps; 0: at the end of each epoch, and when stopped"},
    {"preview", 0, UM_OPT_TEXT, FIELD(preview), NULL, "FILE.png", .help = "write a sheet of pictures as the network will see them; without -o that is all"},
    {"prefix", 0, UM_OPT_TEXT, FIELD(prefix), "", "TEXT", .help = "begins the names of what is written"},
    {"fresh", 0, UM_OPT_FLAG, FIELD(fresh), NULL, NULL, .help = "start over: remove what an earlier run of the same members left"},
    {"threads", 0, UM_OPT_INT, FIELD(threads), "0", "N", 0, 64, .help = "threads of each rank; 0: its fair share of the processors"},
    {"freeze-epochs", 0, UM_OPT_INT, FIELD(freeze_epochs), "0", "N", 0, 1e6, .flags = UM_OPT_FROZEN, .help = "train only the head in the first N epochs"},
    {"padding-part", 0, UM_OPT_INT, FIELD(padding_part), "3", "P", 3, 1000, .flags = UM_OPT_FROZEN, .help = "above 3: cut the crop's margin to a P-th of the face before training on it"},
    {"no-oversample", 0, UM_OPT_FLAG, FIELD(no_oversample), NULL, NULL, .flags = UM_OPT_FROZEN, .help = "all fakes each epoch, not as many as there are reals"},
    {"no-hardcore", 0, UM_OPT_FLAG, FIELD(no_hardcore), NULL, NULL, .flags = UM_OPT_FROZEN, .help = "do not remove parts of faces"},
    {"only-changed-frames", 0, UM_OPT_FLAG, FIELD(only_changed_frames), NULL, NULL, .flags = UM_OPT_FROZEN, .help = "the loss counts only fakes whose mask shows a change"},
    {"label-smoothing", 0, UM_OPT_REAL, FIELD(label_smoothing), "0.01", "S", 0, 0.5, .flags = UM_OPT_FROZEN, .help = "labels are clipped to [S, 1 - S]"},

    {"network", 0, UM_OPT_CHOICE, FIELD(network), "DeepFakeClassifier", NULL, .choices = "DeepFakeClassifier", .flags = KEY, .help = "the reference's name of what there is"},
    {"encoder", 0, UM_OPT_TEXT, FIELD(encoder), "tf_efficientnet_b7_ns", "NAME", .flags = KEY, .help = "b0..b7, tf_efficientnet_b7_ns, or w<width>d<depth>"},
    {"size", 0, UM_OPT_INT, FIELD(size_px), "380", "PX", 32, 2048, .flags = KEY, .help = "pictures are so wide and high"},
    {"batches_per_epoch", 0, UM_OPT_INT, FIELD(batches_per_epoch), "2500", "N", 0, 1e9, .flags = KEY, .help = "steps of an epoch at most; 0: all that its crops give"},
    {"fp16", 0, UM_OPT_FLAG, FIELD(fp16), NULL, NULL, .flags = UM_OPT_SET_ONLY, .help = "bf16 where the backend has it, else f32"},
    {"normalize.mean", 0, UM_OPT_REALS3, FIELD(mean), "0.485,0.456,0.406", "R,G,B", -10, 10, .flags = KEY, .help = "of pictures from 0 to 1"},
    {"normalize.std", 0, UM_OPT_REALS3, FIELD(std), "0.229,0.224,0.225", "R,G,B", 1e-3, 10, .flags = KEY, .help = "of pictures from 0 to 1"},
    {"losses.BinaryCrossentropy", 0, UM_OPT_REAL, FIELD(bce), "0", "WEIGHT", 0, 1000, .flags = KEY, .help = "weight of the cross-entropy (1 where no loss has a weight)"},
    {"losses.FocalLoss", 0, UM_OPT_REAL, FIELD(focal), "0", "WEIGHT", 0, 1000, .flags = KEY, .help = "weight of the focal loss"},
    {"optimizer.batch_size", 0, UM_OPT_INT, FIELD(batch_size), "12", "N", 1, 4096, .flags = KEY, .help = "pictures of a rank in one batch; with --deterministic of a virtual rank"},
    {"optimizer.type", 0, UM_OPT_CHOICE, FIELD(optimizer), "SGD", NULL, .choices = UM_OPTIM_NAMES, .flags = KEY, .help = "the optimiser"},
    {"optimizer.momentum", 0, UM_OPT_REAL, FIELD(momentum), "0.9", "M", 0, 1, .flags = KEY, .help = "of SGD and RMSprop"},
    {"optimizer.weight_decay", 0, UM_OPT_REAL, FIELD(weight_decay), "0.0001", "W", 0, 10, .flags = KEY, .help = "of all parameters"},
    {"optimizer.learning_rate", 0, UM_OPT_REAL, FIELD(learning_rate), "0.01", "RATE", 0, 1e30, .flags = KEY, .help = "before the schedule"},
    {"optimizer.nesterov", 0, UM_OPT_FLAG, FIELD(nesterov), NULL, NULL, .flags = KEY, .help = "SGD with Nesterov's rule"},
    {"optimizer.beta1", 0, UM_OPT_REAL, FIELD(beta1), "0.9", "B", 0, 0.999999, .flags = KEY, .help = "of AdamW"},
    {"optimizer.beta2", 0, UM_OPT_REAL, FIELD(beta2), "0.999", "B", 0, 0.999999, .flags = KEY, .help = "of AdamW"},
    {"optimizer.alpha", 0, UM_OPT_REAL, FIELD(rms_alpha), "0.99", "A", 0, 0.999999, .flags = KEY, .help = "of RMSprop"},
    {"optimizer.eps", 0, UM_OPT_REAL, FIELD(eps), "1e-8", "E", 1e-30, 1, .flags = KEY, .help = "of AdamW and RMSprop"},
    {"optimizer.clip", 0, UM_OPT_REAL, FIELD(clip), "1", "NORM", 0, 1e30, .flags = KEY, .help = "the gradient is scaled down to this norm; 0: never"},
    {"optimizer.schedule.type", 0, UM_OPT_CHOICE, FIELD(schedule), "poly", NULL, .choices = UM_SCHEDULE_NAMES, .flags = KEY, .help = "how the learning rate moves"},
    {"optimizer.schedule.mode", 0, UM_OPT_CHOICE, FIELD(schedule_mode), "step", NULL, .choices = "step|epoch", .flags = KEY, .help = "what the schedule counts"},
    {"optimizer.schedule.epochs", 0, UM_OPT_INT, FIELD(epochs), "40", "N", 1, 1e6, .flags = UM_OPT_SET_ONLY, .help = "epochs to train"},
    {"optimizer.schedule.params.max_iter", 0, UM_OPT_REAL, FIELD(max_iter), "100500", "N", 1, 1e12, .flags = KEY, .help = "poly: where the rate becomes 0"},
    {"optimizer.schedule.params.power", 0, UM_OPT_REAL, FIELD(power), "0.9", "P", 0, 100, .flags = KEY, .help = "poly"},
    {"optimizer.schedule.params.gamma", 0, UM_OPT_REAL, FIELD(gamma), "0.1", "G", 0, 1, .flags = KEY, .help = "step, multistep, exponential: factor"},
    {"optimizer.schedule.params.step_size", 0, UM_OPT_INT, FIELD(step_size), "30", "N", 1, 1e12, .flags = KEY, .help = "step: the factor counts every N"},
    {"optimizer.schedule.params.steps", 0, UM_OPT_TEXT, FIELD(schedule_steps), "", "N:RATE,...", .flags = KEY, .help = "step: rates from given steps on, instead of step_size"},
    {"optimizer.schedule.params.milestones", 0, UM_OPT_TEXT, FIELD(schedule_milestones), "", "N,...", .flags = KEY, .help = "multistep: where the factor counts"},
    {"optimizer.schedule.params.T_max", 0, UM_OPT_REAL, FIELD(cosine_steps), "0", "N", 0, 1e12, .flags = KEY, .help = "cosine: where it ends; 0: at the end of the last epoch"},
    {"optimizer.schedule.params.eta_min", 0, UM_OPT_REAL, FIELD(cosine_min), "0", "RATE", 0, 1e30, .flags = KEY, .help = "cosine: rate at the end"},
    {"optimizer.schedule.params.alpha", 0, UM_OPT_REAL, FIELD(alpha), "0", "A", -1e6, 1e6, .flags = KEY, .help = "linear: rate times (alpha t + beta)"},
    {"optimizer.schedule.params.beta", 0, UM_OPT_REAL, FIELD(beta), "1", "B", -1e6, 1e6, .flags = KEY, .help = "linear"},
    {"optimizer.schedule.warmup", 0, UM_OPT_INT, FIELD(warmup), "0", "STEPS", 0, 1e9, .flags = KEY, .help = "the rate rises to the schedule's in so many steps"},

    {"precision", 0, UM_OPT_CHOICE, FIELD(precision), "auto", NULL, .choices = "auto|f32|bf16", .flags = UM_OPT_SET_ONLY, .help = "what maps are kept in; auto: what fp16 says"},
    {"accumulate", 0, UM_OPT_INT, FIELD(accumulate), "1", "N", 1, 4096, .flags = KEY, .help = "batches of a step: their gradients are averaged; batch norm and hard examples see one batch at a time"},
    {"ohem_samples", 0, UM_OPT_INT, FIELD(ohem_samples), "0", "K", 0, 4096, .flags = KEY, .help = "only the K hardest of each class count, for each batch_size pictures; 0: all"},
    {"focal_gamma", 0, UM_OPT_REAL, FIELD(focal_gamma), "2", "G", 1, 10, .flags = KEY, .help = "of the focal loss"},
    {"ema", 0, UM_OPT_REAL, FIELD(ema), "0", "DECAY", 0, 0.999999, .flags = KEY, .help = "validate and keep a moving average of the weights; 0: the weights themselves"},
    {"mixup", 0, UM_OPT_REAL, FIELD(mixup), "0", "P", 0, 1, .flags = KEY, .help = "pairs: mix a real with its fake with this probability"},
    {"pairs", 0, UM_OPT_FLAG, FIELD(pairs), NULL, NULL, .flags = KEY, .help = "batches of aligned pairs: a real crop and the same frame of one of its fakes, augmented alike"},
    {"drop_path", 0, UM_OPT_REAL, FIELD(drop_path), "0.2", "RATE", 0, 0.9, .flags = KEY, .help = "of the last block; the first has none"},
    {"dropout", 0, UM_OPT_REAL, FIELD(dropout), "0", "RATE", 0, 0.9, .flags = KEY, .help = "before the head"},
    {"bn_momentum", 0, UM_OPT_REAL, FIELD(bn_momentum), "0.1", "M", 0.0001, 1, .flags = KEY, .help = "of the running statistics"},
    {"max_loss", 0, UM_OPT_REAL, FIELD(max_loss), "100", "LOSS", 0, 1e30, .flags = KEY, .help = "a step whose loss is above this (0: no limit), or not a number, is left out"},
    {"max_skipped", 0, UM_OPT_INT, FIELD(max_skipped), "50", "N", 1, 1e9, .flags = UM_OPT_SET_ONLY, .help = "give up after so many steps left out in a row"},
    {"loader.ahead", 0, UM_OPT_INT, FIELD(ahead), "4", "BATCHES", 1, 64, .flags = UM_OPT_SET_ONLY, .help = "batches that are made ready while one is computed"},
    {NULL},
};

const um_opt *um_train_table(void)
{
    enum { MAX_ROWS = 160 };
    static um_opt table[MAX_ROWS]; /* put together once, by the main thread */
    int n = 0;
    if (table[0].key != NULL) return table;
    for (const um_opt *o = rows; o->key != NULL && n < MAX_ROWS - 1; o++) table[n++] = *o;
    for (const um_opt *o = um_augment_options; o->key != NULL && n < MAX_ROWS - 1; o++) {
        table[n] = *o;
        table[n].offset += FIELD(augment);
        table[n++].flags |= KEY;
    }
    return table;
}

/* ---- file under command line ---- */

um_status um_train_complete(um_job_context *ctx, int argc, const char *const *argv, void *options)
{
    um_train_options *o = options, file = {0};
    um_names *settings = &ctx->settings;
    um_opt_common none = {.print_config = true}; /* nothing is required of a file */
    um_texts operands = {0};
    const char **args = NULL;
    um_status st = UM_OK;
    if (o->config == NULL) return UM_OK;
    UM_GOTO_PASS(st, um_settings_read(ctx->vfs, o->config, settings));
    args = malloc((2 * (size_t)settings->n + (size_t)argc + 1) * sizeof *args);
    if (args == NULL) UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for options"));
    for (int i = 0; i < settings->n; i++) {
        args[2 * i] = "--set";
        args[2 * i + 1] = settings->name[i];
    }
    /* Alone first: an error in it is the file's, not the command line's. */
    st = um_opt_parse(um_train_table(), 2 * settings->n, args, &file, &operands, &none);
    um_opt_release(um_train_table(), &file);
    um_texts_release(&operands);
    if (st == UM_USAGE) st = UM_CONFIG;
    if (st != UM_OK) {
        um_err_note(st, "the configuration %s", um_quote(o->config));
        goto done;
    }
    for (int i = 0; i < argc; i++) args[2 * settings->n + i] = argv[i];
    um_opt_release(ctx->table, o);
    *o = (um_train_options){0};
    none.print_config = ctx->common.print_config;
    st = um_opt_parse(ctx->table, 2 * settings->n + argc, args, o, &operands, &none);
    um_texts_release(&operands);
done:
    free(args);
    return st;
}

/* ---- what follows ---- */

static int choice(const char *text, const char *choices)
{
    int i = 0;
    size_t n = strlen(text);
    for (const char *at = choices;; at++, i++) {
        size_t m = strcspn(at, "|");
        if (m == n && strncmp(at, text, n) == 0) return i;
        at += m;
        if (*at == 0) return -1;
    }
}

static um_status read_seeds(const um_train_options *o, um_train_plan *p)
{
    p->seed[0] = o->seed;
    p->n_seeds = 1;
    if (o->seeds == NULL) return UM_OK;
    p->n_seeds = 0;
    for (const char *at = o->seeds;; at++) {
        char *end;
        errno = 0;
        long long v = strtoll(at, &end, 10);
        if (end == at || errno != 0 || v < 0 || v > 1000000000000000 || (*end != 0 && *end != ','))
            return UM_FAIL(UM_USAGE, "--seeds %s: whole numbers with commas between them are wanted, such as 111,555,777,888,999", um_quote(o->seeds));
        for (int i = 0; i < p->n_seeds; i++)
            if (p->seed[i] == v) return UM_FAIL(UM_USAGE, "--seeds: %lld stands there twice", v);
        if (p->n_seeds == UM_TRAIN_MAX_SEEDS) return UM_FAIL(UM_USAGE, "--seeds: more than %d", UM_TRAIN_MAX_SEEDS);
        p->seed[p->n_seeds++] = v;
        if (*end == 0) return UM_OK;
        at = end;
    }
}

static um_status read_keep(const um_train_options *o, um_train_plan *p)
{
    char *end;
    if (strcmp(o->keep, "all") == 0) return UM_OK;
    long n = strncmp(o->keep, "last:", 5) == 0 ? strtol(o->keep + 5, &end, 10) : 0;
    if (n < 1 || n > 1000000 || *end != 0) return UM_FAIL(UM_USAGE, "--keep %s: all or last:N, such as last:3", um_quote(o->keep));
    p->keep_last = (int)n;
    return UM_OK;
}

static um_status read_schedule(const um_train_options *o, um_schedule *s)
{
    *s = (um_schedule){.type = (um_schedule_type)choice(o->schedule, UM_SCHEDULE_NAMES), .per_epoch = strcmp(o->schedule_mode, "epoch") == 0, .rate = o->learning_rate, .max_iter = o->max_iter,
                       .power = o->power, .gamma = o->gamma, .alpha = o->alpha, .beta = o->beta, .min_rate = o->cosine_min, .step_size = (double)o->step_size, .warmup = o->warmup};
    if (s->type == UM_SCHEDULE_STEP) UM_TRY(um_schedule_points(s, o->schedule_steps, true), "optimizer.schedule.params.steps");
    if (s->type == UM_SCHEDULE_MULTISTEP) {
        UM_TRY(um_schedule_points(s, o->schedule_milestones, false), "optimizer.schedule.params.milestones");
        if (s->n_points == 0) return UM_FAIL(UM_CONFIG, "optimizer.schedule.type multistep: optimizer.schedule.params.milestones is missing");
    }
    if (s->type == UM_SCHEDULE_COSINE) s->max_iter = o->cosine_steps; /* 0: the job knows how long the training is */
    return UM_OK;
}

um_status um_train_plan_make(const um_train_options *o, um_train_plan *p)
{
    um_status st;
    *p = (um_train_plan){0};
    if (um_efficientnet_parse(o->encoder, &p->net) != UM_OK) return um_err_note(UM_CONFIG, "encoder");
    st = read_schedule(o, &p->schedule);
    if (st != UM_OK) return UM_CONFIG;
    UM_PASS(read_seeds(o, p));
    UM_PASS(read_keep(o, p));
    if (strchr(o->prefix, '/') != NULL || strlen(o->prefix) > 100) return UM_FAIL(UM_USAGE, "--prefix %s: it begins names of files", um_quote(o->prefix));
    p->optim = (um_optim_options){.type = (um_optim_type)choice(o->optimizer, UM_OPTIM_NAMES), .nesterov = o->nesterov && strcmp(o->optimizer, "SGD") == 0, .momentum = o->momentum, .weight_decay = o->weight_decay,
                                  .beta1 = o->beta1, .beta2 = o->beta2, .alpha = o->rms_alpha, .eps = o->eps};
    if (p->optim.nesterov && !(o->momentum > 0)) return UM_FAIL(UM_CONFIG, "optimizer.nesterov needs an optimizer.momentum above 0");
    p->loss = (um_loss_options){.bce_weight = o->bce, .focal_weight = o->focal, .focal_gamma = o->focal_gamma, .smoothing = o->label_smoothing, .ohem_k = o->ohem_samples};
    if (!(o->bce > 0) && !(o->focal > 0)) p->loss.bce_weight = 1;
    if ((o->mixup > 0 || o->augment.p_mixup > 0) && !o->pairs) return UM_FAIL(UM_CONFIG, "mixup mixes a real with its fake: it needs pairs");
    return UM_OK;
}
