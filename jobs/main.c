/* main: the table of jobs, the order in which things start and end, and the only exit. */
#include "io/model.h"
#include "jobs/console.h"
#include "jobs/job.h"
#include "jobs/manual.h"
#include "src/core/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const um_job *const jobs[] = {&um_job_doctor,  &um_job_import,     &um_job_synth,
                                     &um_job_detect,  &um_job_preprocess, &um_job_folds,
                                     &um_job_inspect, &um_job_export,     &um_job_score,
                                     &um_job_train, &um_job_evaluate,
                                     &um_job_plan_preprocess, &um_job_plan_train, &um_job_plan_score,
                                     NULL};

static void help_all(void)
{
    printf("unmask %s: finds deepfakes in video\n\nusage: unmask JOB [options]\n\njobs:\n", UNMASK_VERSION);
    for (int i = 0; jobs[i] != NULL; i++) printf("  %-15s %s\n", jobs[i]->name, jobs[i]->summary);
    printf("\nunmask JOB --help tells all of a job; unmask version prints the version,\n"
           "unmask manual man the manual page, unmask manual bash the shell's completion.\n"
           "Jobs marked MPI share their work among ranks: mpirun -n N unmask JOB ..., or srun in a Slurm job.\n"
           "Exit codes: 0 complete, 2 usage, 3 too many bad inputs, 65 data mismatch, 70 internal, 74 input/output, 75 stopped "
           "early (run again to continue), 78 configuration.\n");
}

static const um_opt *options_of(const um_job *job) { return job->make_options != NULL ? job->make_options() : job->options; }

static um_status help_job(const um_job *job)
{
    um_buf b = {0};
    um_status st = um_opt_help(options_of(job), &b);
    if (st == UM_OK) {
        printf("usage: %sunmask %s\n\n%s.\n%s%s\noptions:\n%s", (job->flags & UM_JOB_MPI) != 0 ? "[mpirun -n N] " : "", job->usage,
               job->summary, job->details != NULL ? "\n" : "", job->details != NULL ? job->details : "", (char *)b.data);
    }
    um_buf_release(&b);
    return st;
}

static um_status print_manual(const char *format)
{
    um_buf b = {0};
    um_status st = UM_OK;
    if (format != NULL && strcmp(format, "man") == 0) st = um_manual_man(jobs, &b);
    else if (format != NULL && strcmp(format, "bash") == 0) st = um_manual_bash(jobs, &b);
    else st = UM_FAIL(UM_USAGE, "unmask manual man prints the manual page, unmask manual bash the shell's completion");
    if (st == UM_OK) st = um_job_print("%s", (char *)b.data);
    else fprintf(stderr, "unmask: error: %s\n", um_err_text());
    um_buf_release(&b);
    return st;
}

/* Names have one word, or two. *n_words: how many of the words it took. */
static const um_job *find_job(int n, char *const *word, int *n_words)
{
    for (int i = 0; jobs[i] != NULL; i++) {
        size_t first = strcspn(jobs[i]->name, " ");
        const char *second = jobs[i]->name[first] != 0 ? jobs[i]->name + first + 1 : NULL;
        if (n < 1 || strncmp(jobs[i]->name, word[0], first) != 0 || word[0][first] != 0) continue;
        *n_words = second != NULL ? 2 : 1;
        if (second == NULL || (n > 1 && strcmp(second, word[1]) == 0)) return jobs[i];
    }
    return NULL;
}

/* plan alone: the jobs whose names begin with it. */
static um_status half_a_name(const char *name)
{
    char text[256];
    int n = 0;
    for (int i = 0; jobs[i] != NULL; i++) {
        size_t first = strcspn(jobs[i]->name, " ");
        if (jobs[i]->name[first] == 0 || strncmp(jobs[i]->name, name, first) != 0 || name[first] != 0) continue;
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", n > 0 ? ", " : "", jobs[i]->name);
        if (n >= (int)sizeof text) n = (int)sizeof text - 1;
    }
    return n > 0 ? UM_FAIL(UM_USAGE, "%s what? There are: %s", name, text) : UM_OK;
}

static um_status unknown_job(const char *name)
{
    const char *names[sizeof jobs / sizeof jobs[0]];
    int n = 0;
    UM_PASS(half_a_name(name));
    for (; jobs[n] != NULL; n++) names[n] = jobs[n]->name;
    names[n] = NULL;
    const char *near = um_nearest(name, names);
    if (near != NULL) return UM_FAIL(UM_USAGE, "unknown job %s; did you mean %s?", um_quote(name), near);
    return UM_FAIL(UM_USAGE, "unknown job %s; unmask --help lists them", um_quote(name));
}

um_status um_job_print(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vprintf(fmt, ap);
    va_end(ap);
    if (n < 0) return UM_FAIL(UM_IO, "cannot write to the standard output");
    return UM_OK;
}

um_status um_job_beside(const char *const *names, um_buf *path)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) n = 0;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash != NULL) *slash = 0;
    int folder = (int)strlen(self), above;
    slash = strrchr(self, '/');
    above = slash != NULL ? (int)(slash - self) : 0;
    for (int i = 0; names[i] != NULL; i++) {
        bool up = strncmp(names[i], "../", 3) == 0;
        um_buf_clear(path);
        UM_PASS(um_buf_printf(path, "%.*s/%s", up ? above : folder, self, up ? names[i] + 3 : names[i]));
        if (access((char *)path->data, F_OK) == 0) return UM_OK;
    }
    um_buf_clear(path);
    return um_buf_printf(path, "%.*s/%s", folder, self, names[0]);
}

/* Of a build tree, or installed. */
static um_status share_folder(um_buf *path)
{
    static const char *const places[] = {"share/unmask", "../share/unmask", NULL};
    return um_job_beside(places, path);
}

um_status um_job_find(const um_job_context *ctx, const char *given, const char *name, um_buf *path)
{
    um_buf_clear(path);
    if (given != NULL) return um_buf_add_str(path, given);
    const char *home = getenv("UNMASK_HOME");
    if (home != NULL && *home != 0) {
        UM_PASS(um_buf_printf(path, "%s/%s", home, name));
        if (access((char *)path->data, F_OK) == 0) return UM_OK;
    }
    UM_PASS(share_folder(path));
    UM_PASS(um_buf_printf(path, "/%s", name));
    if (access((char *)path->data, F_OK) == 0) return UM_OK;
    (void)ctx;
    return UM_FAIL(UM_MISSING,
                   "%s was found neither in $UNMASK_HOME nor at %s; scripts/build puts it there in a source tree; or make one with: unmask import "
                   "mtcnn SOURCE -o %s, in $UNMASK_HOME",
                   name, um_quote((char *)path->data), name);
}

um_status um_job_models(const um_job_context *ctx, um_names *out)
{
    um_buf share = {0};
    um_status st;
    *out = (um_names){0};
    UM_GOTO_PASS(st, share_folder(&share));
    const char *const folder[2] = {getenv("UNMASK_HOME"), (char *)share.data};
    for (int k = 0; k < 2; k++) {
        if (folder[k] == NULL || *folder[k] == 0) continue;
        um_names there;
        st = um_model_list(ctx->vfs, folder[k], &there);
        if (st == UM_MISSING) { /* no such folder: nothing in it */
            um_err_clear();
            st = UM_OK;
            continue;
        }
        if (st != UM_OK) goto done;
        char **all = realloc(out->name, (size_t)(out->n + there.n + 1) * sizeof *all);
        if (all == NULL) {
            um_names_release(&there);
            UM_GOTO_PASS(st, UM_FAIL(UM_NO_MEMORY, "no memory for names"));
        }
        out->name = all;
        for (int i = 0; i < there.n; i++) out->name[out->n++] = there.name[i]; /* the texts change hands */
        free(there.name);
    }
done:
    um_buf_release(&share);
    if (st != UM_OK) um_names_release(out);
    return st;
}

/* A missing file that a job cannot do without is a configuration error of the run, not a result of an input. */
static int exit_code(um_status st)
{
    if (um_status_class_of(st) != UM_CLASS_ITEM) return um_status_exit(st);
    return st == UM_MISSING || st == UM_UNREADABLE ? 74 : 65;
}

static um_status start_decoders(um_job_context *ctx, const um_job *job, const um_decoder_options *d)
{
    um_video_limits limits = um_video_limits_default;
    limits.max_cpu_s = d->cpu_s;
    limits.memory_bytes = d->memory_mb << 20;
    limits.max_pixels = d->megapixels << 20;
    UM_PASS(um_decoder_start(&limits, &ctx->decoder));
    if ((job->flags & UM_JOB_PROBES) == 0 || um_world_env_rank() > 0) return UM_OK;
    int n = um_processors() < UM_JOB_MAX_PROBERS ? um_processors() : UM_JOB_MAX_PROBERS;
    for (; ctx->n_probers < n; ctx->n_probers++) UM_PASS(um_decoder_start(&limits, &ctx->prober[ctx->n_probers]));
    return UM_OK;
}

static um_status run(const um_job *job, int argc, char **argv, um_job_context *ctx)
{
    bool world = false;
    um_buf config = {0};
    void *options = calloc(1, job->options_size + 1);
    ctx->table = options_of(job);
    um_status st = options == NULL
                       ? UM_FAIL(UM_NO_MEMORY, "no memory")
                       : um_opt_parse(ctx->table, argc, (const char *const *)argv, options, &ctx->operands, &ctx->common);
    if (st != UM_OK) goto done;
    if (ctx->common.help) {
        if (um_world_env_rank() == 0) st = help_job(job);
        goto done;
    }
    if (job->complete != NULL) st = job->complete(ctx, argc, (const char *const *)argv, options);
    if (st != UM_OK) goto done;
    if (ctx->common.print_config) {
        st = um_opt_config(ctx->table, options, 0, false, &config);
        if (st == UM_OK && um_world_env_rank() == 0) st = um_job_print("%s", (char *)config.data);
        goto done;
    }
    if (ctx->operands.n < job->min_operands || (job->max_operands >= 0 && ctx->operands.n > job->max_operands)) {
        st = UM_FAIL(UM_USAGE, "usage: unmask %s (--help tells more)", job->usage);
        goto done;
    }
    if ((job->flags & UM_JOB_DECODES) != 0) st = start_decoders(ctx, job, options);
    if (st == UM_OK && (job->flags & UM_JOB_MPI) != 0) {
        st = um_world_open(&ctx->world);
        world = st == UM_OK;
    } else if ((job->flags & UM_JOB_MPI) == 0 && um_world_env_size() > 1 && um_world_env_rank() > 0) {
        goto done; /* a job for one process, started on many: rank 0 does it */
    }
    um_console_open(ctx->world.rank, ctx->world.size, ctx->common.quiet, ctx->common.verbose);
    if (st == UM_OK) st = job->run(ctx, options);
done:
    /* One voice: the agreed error is the same on all ranks, a usage error too. */
    if (st != UM_OK && um_world_env_rank() == 0) {
        fflush(stdout);
        if (st == UM_STOPPED)
            fprintf(stderr, "unmask %s: %s\n", job->name, um_err_text());
        else
            fprintf(stderr, "unmask %s: error: %s\n", job->name, um_err_text());
        if (um_status_exit(st) == 70) fprintf(stderr, "unmask %s: detected at %s\n", job->name, um_err_where());
    }
    /* What is wrong with the command line is wrong on all ranks: rank 0 gives the exit code. Another rank that ended with it first
     * would have rank 0 killed before it can speak. */
    if ((st == UM_USAGE || st == UM_CONFIG) && !world && um_world_env_rank() > 0) st = UM_OK;
    um_decoder_stop(ctx->decoder);
    while (ctx->n_probers > 0) um_decoder_stop(ctx->prober[--ctx->n_probers]);
    um_console_close();
    if (options != NULL) um_opt_release(ctx->table, options);
    um_texts_release(&ctx->operands);
    um_names_release(&ctx->settings);
    um_buf_release(&config);
    free(options);
    if (world) um_world_close(&ctx->world);
    return st;
}

int main(int argc, char **argv)
{
    um_job_context ctx = {
        .program = argv[0], .vfs = um_vfs_real(), .world = {.comm = MPI_COMM_NULL, .size = 1, .node_size = 1, .n_nodes = 1}};
    um_status st = UM_OK;
    const char *word = argc > 1 ? argv[1] : "";
    if (argc < 2 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (strcmp(word, "help") == 0 && argc == 2)) {
        help_all();
        if (argc < 2) st = UM_USAGE;
    } else if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0) {
        printf("unmask %s\n", UNMASK_VERSION);
    } else if (strcmp(word, "manual") == 0) {
        st = print_manual(argc == 3 ? argv[2] : NULL);
    } else {
        int help = strcmp(word, "help") == 0, n_words = 0;
        const um_job *job = find_job(argc - 1 - help, argv + 1 + help, &n_words);
        if (job == NULL) {
            st = unknown_job(argv[1 + help]);
            if (um_world_env_rank() == 0) fprintf(stderr, "unmask: error: %s\n", um_err_text());
        } else if (help) {
            st = help_job(job);
        } else {
            st = run(job, argc - 1 - n_words, argv + 1 + n_words, &ctx);
        }
    }
    if (fflush(stdout) != 0 && st == UM_OK) {
        fprintf(stderr, "unmask: error: cannot write to the standard output\n");
        st = UM_IO;
    }
    return exit_code(st);
}
