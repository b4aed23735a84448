#pragma once
/* job.h: what a job is. jobs/main.c holds the table of them and the only exit; each job_<name>.c is policy, wiring and words for
 * the user: everything else is in src, io and mpi.
 *
 * A job has a table of options (src/core/opt.h) over a struct of its own, and a function that runs with the parsed struct. main has
 * parsed the command line, started the decoder (UM_JOB_DECODES) and MPI (UM_JOB_MPI), in that order, before it calls run; it prints
 * the error chain, ends MPI and turns the status into the exit code afterwards. With UM_JOB_MPI run is called on all ranks and must
 * return the same status on all (um_agree).
 */
#include "io/vfs.h"
#include "io/video.h"
#include "mpi/world.h"
#include "src/core/opt.h"

enum { UM_JOB_MPI = 1, UM_JOB_DECODES = 2, UM_JOB_PROBES = 4 };
enum { UM_JOB_MAX_PROBERS = 16 };

/* Limits of the decoder's child processes. The options struct of a job with UM_JOB_DECODES begins with this, its table with
 * UM_DECODER_ROWS. */
typedef struct um_decoder_options {
    int64_t cpu_s, memory_mb, megapixels;
} um_decoder_options;

#define UM_DECODER_ROWS                                                                                                            \
    {"decoder.cpu_s",                                                                                                              \
     0,                                                                                                                            \
     UM_OPT_INT,                                                                                                                   \
     offsetof(um_decoder_options, cpu_s),                                                                                          \
     "120",                                                                                                                        \
     "SECONDS",                                                                                                                    \
     1,                                                                                                                            \
     1e6,                                                                                                                          \
     .flags = UM_OPT_SET_ONLY,                                                                                                     \
     .help = "processor time that decoding one video may take"},                                                                   \
        {"decoder.memory_mb",                                                                                                      \
         0,                                                                                                                        \
         UM_OPT_INT,                                                                                                               \
         offsetof(um_decoder_options, memory_mb),                                                                                  \
         "2048",                                                                                                                   \
         "MB",                                                                                                                     \
         64,                                                                                                                       \
         1e6,                                                                                                                      \
         .flags = UM_OPT_SET_ONLY,                                                                                                 \
         .help = "address space that decoding one video may take"},                                                                \
    {                                                                                                                              \
        "decoder.megapixels", 0, UM_OPT_INT, offsetof(um_decoder_options, megapixels), "16", "N", 1, 1024,                         \
            .flags = UM_OPT_SET_ONLY, .help = "largest frame that is decoded, in units of 1024x1024 pixels"                        \
    }

typedef struct um_job_context {
    const char *program; /* argv[0] */
    um_texts operands;   /* what was not an option */
    um_opt_common common;
    const um_opt *table; /* the options of the job that runs */
    um_vfs *vfs;
    um_world world;      /* size 1 without UM_JOB_MPI */
    um_decoder *decoder; /* NULL without UM_JOB_DECODES */
    um_decoder *prober[UM_JOB_MAX_PROBERS]; /* UM_JOB_PROBES, on rank 0: a decoder for each thread that reads headers */
    int n_probers;
    um_names settings;   /* what um_job.complete read: values of options may point into it; main releases it */
} um_job_context;

typedef struct um_job {
    const char *name;    /* one word, or two: "plan score" */
    const char *usage;   /* one line after "unmask ": "detect PATH... [options] -o faces.jsonl" */
    const char *summary; /* one line for the list of jobs */
    const char *details; /* paragraphs for --help, may be NULL */
    const um_opt *options;
    const um_opt *(*make_options)(void); /* instead of `options`, where a table is put together of others; the same each time */
    size_t options_size;            /* of the struct the table fills */
    int min_operands, max_operands; /* -1: any number */
    unsigned flags;
    /* NULL, or: fills in what the command line left open (a configuration file), before --print-config and before MPI. argv as it was parsed. */
    um_status (*complete)(um_job_context *ctx, int argc, const char *const *argv, void *options);
    um_status (*run)(um_job_context *ctx, void *options);
} um_job;

extern const um_job um_job_detect, um_job_doctor, um_job_evaluate, um_job_export, um_job_folds, um_job_import, um_job_inspect, um_job_preprocess,
    um_job_score, um_job_synth, um_job_train, um_job_plan_preprocess, um_job_plan_score, um_job_plan_train;

/* The first of `names` that is there, seen from the folder of the program; where none is, the path of the first. NULL ends the names. Local. path is overwritten. */
um_status um_job_beside(const char *const *names, um_buf *path);
/* The file called `name` that set-up provides (mtcnn.h5): `given` where it is not NULL, else $UNMASK_HOME/name, else
 * name in the share folder: share/unmask beside the program (a build tree), or beside the folder bin that it is installed in. UM_MISSING says where it was looked for and what to run. Local. path is overwritten. */
um_status um_job_find(const um_job_context *ctx, const char *given, const char *name, um_buf *path);
/* Paths of the classifiers in $UNMASK_HOME and then in the share folder, by name in each; um_names_release. A folder
 * that is not there holds none. */
um_status um_job_models(const um_job_context *ctx, um_names *out);
/* Results go to stdout only through this, so that a closed pipe or full disk is noticed (UM_IO). Rank 0 only. */
um_status um_job_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
