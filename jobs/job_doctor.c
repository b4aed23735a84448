/* doctor: what this machine has, what will be used, and what is missing with its remedy. */
#include "io/model.h"
#include "io/weights.h"
#include "jobs/device.h"
#include "jobs/versions.h"
#include "src/models/selftest.h"
#include "src/nn/backend.h"
#include "src/train/trainer_check.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct doctor_options {
    const char *detector;
    bool selftest;
} doctor_options;

static const um_opt options[] = {
    {"detector", 0, UM_OPT_TEXT, offsetof(doctor_options, detector), NULL, "FILE",
     .help = "weights to look at (default: mtcnn.h5 in $UNMASK_HOME or share/unmask)"},
    {"selftest", 0, UM_OPT_FLAG, offsetof(doctor_options, selftest), NULL, NULL,
     .help = "compute every kind and shape of layer of the networks, on each GPU, or on the processor where there is none, and compare with plain code; train B0 for ten steps on each GPU, and compare with the processor (a minute)"},
    {NULL},
};

/* The value of a line "key : value" of a /proc file; "" when there is none. */
static void proc_line(const char *path, const char *key, char *out, size_t size)
{
    char line[4096];
    FILE *f = fopen(path, "re");
    out[0] = 0;
    if (f == NULL) return;
    while (out[0] == 0 && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        char *value = strchr(line, ':');
        if (value == NULL) continue;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = 0;
        snprintf(out, size, "%s", value);
    }
    fclose(f);
}

/* The classifiers that scoring would take by itself. None is not a problem yet: preprocessing needs none. */
static um_status list_models(um_job_context *ctx, int *problems)
{
    um_names names;
    um_status st;
    UM_PASS(um_job_models(ctx, &names));
    for (int i = 0; i < names.n; i++) {
        um_model m;
        if (um_model_read(ctx->vfs, names.name[i], &m) != UM_OK) {
            ++*problems;
            UM_GOTO_PASS(st, um_job_print("model      DAMAGED: %s\n           remedy: import it again, or remove it\n", um_err_text()));
            continue;
        }
        st = um_job_print("model      %s, %s-%s at %d px, fingerprint %s\n", um_quote(names.name[i]), m.has_head ? "classifier EfficientNet" : "encoder EfficientNet",
                          m.net.name, m.size_px, m.fingerprint);
        um_model_release(&m);
        if (st != UM_OK) goto done;
    }
    st = names.n > 0 ? UM_OK
                     : um_job_print("models     none in $UNMASK_HOME or share/unmask: bring weights and run unmask import classifier FILE -o model.h5\n");
done:
    um_names_release(&names);
    return st;
}

/* ---- GPUs, and the self-test ---- */

static void show_failure(void *user, const um_selftest_case *c)
{
    static const char *const kind[] = {"conversion", "convolution", "depthwise convolution", "mean", "max pool", "pass over elements"};
    const um_step *s = c->step;
    (void)user;
    if (c->error <= c->limit) return;
    (void)um_job_print("           WRONG: %s %dx%d, stride %d, %d to %d channels, %d x %d, %s, %d steps at once: error %.1e, at most %.1e is right\n", kind[s->kind], s->r, s->s, s->stride, s->c, c->step[c->n_steps - 1].k, s->h, s->w,
                       c->precision == UM_BF16 ? "bf16" : "f32", c->n_steps, c->error, c->limit);
}

/* Planes are cut to what the slowest backend does in a minute; every kernel and every number of channels has its turn. */
static um_status selftest(const um_backend *b, int *problems)
{
    enum { SIDE_PX = 24 };
    um_selftest t = {.backend = b, .side_px = SIDE_PX, .each = show_failure};
    UM_PASS(um_selftest_layers(&t));
    UM_PASS(um_selftest_net(&t, &um_efficientnets[0]));
    UM_PASS(um_selftest_net(&t, &um_efficientnets[7]));
    *problems += t.n_failed > 0;
    return um_job_print("self-test  %s: %d kernels of MTCNN, B0 and B7 compared with plain code, %d wrong; largest error f32 %.1e, bf16 %.1e\n", b->name, t.n_cases, t.n_failed, t.worst[0], t.worst[1]);
}

/* Ten steps of B0, in every precision that the GPU trains in. */
static um_status selftest_training(const um_trainer_ops *ops, int *problems)
{
    for (int p = 0; p < 2; p++) {
        um_trainer_check c = {.ops = ops, .precision = p == 0 ? UM_F32 : UM_BF16, .n_steps = 10};
        if (!ops->has(c.precision)) continue;
        UM_PASS(um_trainer_check_run(&c));
        *problems += !c.right;
        UM_PASS(um_job_print("self-test  %s: ten steps of training B0 in %s beside the processor's in f32: losses off by %.1e, norms of gradients by %.1e, weights by %.1e of what was learned%s\n", ops->name, p == 0 ? "f32" : "bf16", c.loss, c.norm,
                             c.weights, c.right ? "" : ": WRONG"));
    }
    return UM_OK;
}

static um_status list_gpus(const um_gpu_module *m, const um_gpu_list *l)
{
    char nccl[96] = "no NCCL: several GPUs cannot train one network (install libnccl2)";
    int v = m->comm_version();
    if (v > 0) snprintf(nccl, sizeof nccl, "NCCL %d.%d.%d", v / 10000, v % 10000 / 100, v % 100);
    UM_PASS(um_job_print("cuda       driver for %d.%d, run time %d.%d, cuBLASLt %zu, %s%s\n", l->driver / 1000, l->driver % 1000 / 10, l->runtime / 1000, l->runtime % 1000 / 10, l->cublaslt, nccl, m->emulated ? ", EMULATED" : ""));
    for (int i = 0; i < l->n; i++) {
        const um_gpu_device *d = &l->device[i];
        UM_PASS(um_job_print("gpu        %d: %s, sm_%d, %.0f GB, at %s; trains and scores in %s\n", i, d->name, d->sm, (double)d->memory_bytes / 1e9, d->bus, d->sm >= 80 ? "f32 and bf16" : "f32 only (bf16 from sm_80 on)"));
    }
    return um_job_print("backend    GPU for the networks of train, score and evaluate and the face detection of score and detect (--device cpu for the processor); all else on the processor: mpirun -n %d is the natural number of ranks here\n", l->n);
}

static um_status show_gpus(bool test, int *problems)
{
    const um_gpu_module *m = NULL;
    um_gpu_list l = {0};
    um_status st = um_device_module(&m);
    if (st == UM_OK) st = m->list(&l);
    if (st != UM_OK) {
        UM_PASS(um_job_print("gpu        none is used: %s\nbackend    CPU\n", um_err_text()));
        um_err_clear();
        return test ? selftest(&um_backend_cpu, problems) : UM_OK;
    }
    UM_PASS(list_gpus(m, &l));
    for (int i = 0; test && i < l.n; i++) {
        UM_PASS(m->open(i));
        st = selftest(m->backend, problems);
        if (st == UM_OK) st = selftest_training(m->trainer, problems);
        m->close();
        UM_PASS(st);
    }
    return UM_OK;
}

static um_status run(um_job_context *ctx, void *values)
{
    const doctor_options *o = values;
    char text[4096];
    um_buf path = {0};
    um_mtcnn_weights w = {0};
    char fingerprint[17];
    cpu_set_t cpus;
    int problems = 0;
    um_status st;

    proc_line("/proc/cpuinfo", "model name", text, sizeof text);
    UM_GOTO_PASS(st, um_job_print("unmask     %s\nprocessor  %s\n", UNMASK_VERSION, text[0] != 0 ? text : "unknown"));
#if defined(__x86_64__)
    __builtin_cpu_init();
    UM_GOTO_PASS(st, um_job_print("features   sse4.2 %s, avx2 %s, fma %s, avx512f %s, avx512bf16 %s\n",
                                  __builtin_cpu_supports("sse4.2") ? "yes" : "no", __builtin_cpu_supports("avx2") ? "yes" : "no",
                                  __builtin_cpu_supports("fma") ? "yes" : "no", __builtin_cpu_supports("avx512f") ? "yes" : "no",
                                  __builtin_cpu_supports("avx512bf16") ? "yes" : "no"));
#endif
    UM_GOTO_PASS(st, um_job_print("kernels    %s will be used (UNMASK_ISA=base|avx2 lowers it; results in f32 are the same bits), bf16 by way of %s\n", um_mtcnn_isa(),
                                  um_backend_cpu_arithmetic(UM_BF16)));
    CPU_ZERO(&cpus);
    int usable = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    UM_GOTO_PASS(st, um_job_print("cores      %ld, %d usable by this process: mpirun -n %d is the natural number of ranks here\n",
                                  sysconf(_SC_NPROCESSORS_ONLN), usable, usable));
    proc_line("/proc/meminfo", "MemTotal", text, sizeof text);
    UM_GOTO_PASS(st, um_job_print("memory     %s in all", text));
    proc_line("/proc/meminfo", "MemAvailable", text, sizeof text);
    UM_GOTO_PASS(st, um_job_print(", %s free\n", text));
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        UM_GOTO_PASS(st, um_job_print("files      %llu may be open at once\n", (unsigned long long)files.rlim_cur));
    um_versions(text, sizeof text);
    UM_GOTO_PASS(st, um_job_print("%s", text));
    UM_GOTO_PASS(st, show_gpus(o->selftest, &problems));

    st = um_job_find(ctx, o->detector, "mtcnn.h5", &path);
    if (st == UM_OK) st = um_weights_read_mtcnn(ctx->vfs, (char *)path.data, &w, fingerprint);
    if (st == UM_OK) {
        UM_GOTO_PASS(st, um_job_print("detector   %s, fingerprint %s\n", um_quote((char *)path.data), fingerprint));
    } else {
        problems++;
        UM_GOTO_PASS(st, um_job_print("detector   MISSING: %s\n", um_err_text()));
        UM_GOTO_PASS(
            st, um_job_print(
                    "           remedy: in a source tree scripts/setup and scripts/build make it; else bring the facenet-pytorch wheel\n"
                    "           (pip download --no-deps facenet-pytorch==2.6.0) and run\n"
                    "           unmask import mtcnn facenet_pytorch-*.whl -o mtcnn.h5, then put mtcnn.h5 into $UNMASK_HOME\n"));
    }
    UM_GOTO_PASS(st, list_models(ctx, &problems));
    um_status decoder = um_decoder_start(&um_video_limits_default, &ctx->decoder);
    if (decoder == UM_OK) {
        UM_GOTO_PASS(st, um_job_print("decoder    runs in a child process, at most %lld s of processor time and %lld MB a video\n",
                                      (long long)um_video_limits_default.max_cpu_s,
                                      (long long)(um_video_limits_default.memory_bytes >> 20)));
    } else {
        problems++;
        UM_GOTO_PASS(st, um_job_print("decoder    MISSING: %s\n", um_err_text()));
    }
    st = problems == 0 ? um_job_print("everything that preprocessing needs is here\n")
                       : UM_FAIL(UM_CONFIG, "%d of the things that are needed are missing or damaged (see above)", problems);
done:
    um_mtcnn_weights_release(&w);
    um_buf_release(&path);
    return st;
}

const um_job um_job_doctor = {
    .name = "doctor",
    .usage = "doctor",
    .summary = "say what this machine has, what will be used and what is missing",
    .details = "Exits with 0 when nothing is missing, with 78 otherwise.\n",
    .options = options,
    .options_size = sizeof(doctor_options),
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
