#pragma once
/* plan.h: what `unmask plan STAGE` works with: inputs looked at by their headers, a sample measured, the whole reckoned from it.
 *
 * The queue's units (preprocess: an original with its fakes; score: a video) have amounts: what their parts are reckoned from, videos, megapixels, frames. A sample of units is worked as the stage itself works them, and the seconds of
 * each part over its amount are its rate; the seconds of any unit are the sum of rate x amount. src/cluster/queue_model.h then plays the queue through. Training has no queue: its steps are measured.
 */
#include "jobs/job.h"

#include <jansson.h>

enum { UM_JOB_PLAN_PARTS = 5, UM_JOB_PLAN_MAX_SAMPLE = 4096, UM_JOB_PLAN_MAX_POINTS = 32 };

typedef struct um_job_plan_options { /* the plan's own rows; they follow those of the stage in the struct that main fills */
    const char *json, *costs, *ranks;
    int64_t nodes, ranks_per_node, gpus_per_node, headers, sample;
    double sample_s, network_gbit, latency_us;
    bool no_measure, simulate;
} um_job_plan_options;

typedef struct um_job_plan_video {
    char *path;           /* to open; owned */
    int64_t size_bytes, mtime_ns;
    bool read, failed;    /* its header was read; could not be */
    um_video_info info;   /* of itself, or of one that is taken to be like it */
} um_job_plan_video;

typedef struct um_job_plan_unit {
    int64_t key;          /* what the queue sorts by */
    int64_t first, n;     /* its videos: member[first .. first + n) */
    int64_t number;       /* the stage's own */
    double amount[UM_JOB_PLAN_PARTS];
} um_job_plan_unit;

typedef struct um_job_plan_part {
    const char *name, *per; /* "decode", "megapixel" */
    double s, amount;       /* of the sample */
    double rate;            /* s / amount */
} um_job_plan_part;

typedef struct um_job_plan um_job_plan;
typedef struct um_job_plan_stage {
    const um_job *job;
    const char *script;     /* of slurm/ */
    size_t work_bytes;      /* of the stage's own struct, um_job_plan.work */
    um_job_plan_part part[UM_JOB_PLAN_PARTS];
    int n_parts;
    int bytes_part;         /* what is written is reckoned from this part's amount; -1: bytes_video */
    double bytes_video;
    int64_t (*threads)(const um_job_plan *p, int processors, int ranks_per_node); /* of a rank */
    um_status (*list)(um_job_plan *p);                       /* rank 0: videos, units; `text` for the others */
    um_status (*take)(um_job_plan *p);                       /* other ranks: from `text` */
    void (*reckon)(um_job_plan *p, um_job_plan_unit *u);         /* rank 0: amounts from headers */
    um_status (*open)(um_job_plan *p);                       /* collective */
    um_status (*work)(um_job_plan *p, int64_t number, double *part_s); /* one unit, really; [n_parts] what each part took, the first the rest. Local */
    um_status (*end)(um_job_plan *p, double *late_s, int64_t *bytes);  /* what a rank does after its last unit: seconds for the last part, bytes written. Local */
    um_status (*finish)(um_job_plan *p, int64_t n_videos, double *video_s); /* rank 0, alone: what making the result costs for each video */
    void (*close)(um_job_plan *p);                           /* collective; also after a failure */
} um_job_plan_stage;

typedef struct um_job_plan_point { /* one line of the table of ranks */
    int ranks;
    double wall_s, efficiency, bound_s, largest_s;
    int64_t messages, moved;
} um_job_plan_point;

struct um_job_plan {
    um_job_context *ctx;
    const um_job_plan_stage *stage;
    const void *planned;       /* the stage's own options */
    const um_job_plan_options *o;
    void *work;                /* the stage's */
    um_buf text;
    int nodes, ranks_per_node, n_threads;
    /* inputs: rank 0 */
    um_job_plan_video *video;
    int64_t n_videos, n_read, n_failed, bytes;
    int64_t *member;
    um_job_plan_unit *unit;        /* what is to be done */
    int64_t n_units, n_units_all;
    double frames, looked, hours;
    /* costs */
    um_job_plan_part part[UM_JOB_PLAN_PARTS];
    bool have_costs, measured;
    int64_t n_sample;
    int sample_ranks;
    double sample_wall_s, spread;
    double start_s, list_s, finish_video_s;
    double bytes_per_amount;
    double rank_bytes, decoder_bytes, machine_bytes;
    /* the whole */
    double total_s, wall_s, error, result_bytes;
    um_job_plan_point forecast, point[UM_JOB_PLAN_MAX_POINTS];
    int n_points;
    json_t *assumption;        /* texts */
};

/* ---- job_plan.c ---- */
/* The plan's options behind those of a stage of `size` bytes. */
static inline size_t um_job_plan_offset(size_t size) { return (size + 15) / 16 * 16; }
um_status um_job_plan_assume(um_job_plan *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Checks the plan's own options and fills in nodes, ranks and threads. Local. Errors: UM_USAGE, UM_CONFIG (GPUs). */
um_status um_job_plan_begin(um_job_plan *p);
/* The words of sbatch for this plan; operands first, then the options that are not the defaults. */
um_status um_job_plan_command(um_job_plan *p, const char *result_key, const char *result, bool result_first, um_buf *out);
/* Sums memory of this process and of the decoders it has started (high-water marks) into the plan, the largest over the ranks. Collective. */
void um_job_plan_memory(um_job_plan *p);
/* Seconds since this process was started. */
double um_job_plan_age_s(void);

/* ---- plan_headers.c: rank 0 ---- */
/* Reads headers, of all videos or of a draw, on threads; fills in read, failed, info, and the plan's counts. */
um_status um_job_plan_headers(um_job_plan *p);
/* Frames and rate of a video, with what is usual where its header does not say. */
int64_t um_job_plan_frames(const um_job_plan_video *v);
double um_job_plan_fps(const um_job_plan_video *v);
double um_job_plan_duration_s(const um_job_plan_video *v);
static inline double um_job_plan_megapixels(const um_job_plan_video *v) { return 1e-6 * v->info.width_px * v->info.height_px; }

/* ---- plan_queue.c ---- */
/* Costs: the sample, or a file. Collective. */
um_status um_job_plan_measure(um_job_plan *p);
um_status um_job_plan_read_costs(um_job_plan *p);
/* Wall time for the ranks asked for and the table of ranks. Rank 0. */
um_status um_job_plan_forecast(um_job_plan *p);
/* "1,2,4,...,4096". Errors: UM_USAGE. */
um_status um_job_plan_ranks(const char *text, int *out, int *n);

/* ---- plan_report.c: rank 0 ---- */
um_status um_job_plan_report(um_job_plan *p, const char *command);
/* Writes json to --json, or text to the standard output. */
um_status um_job_plan_write(um_job_plan *p, json_t *json, const um_buf *text);

/* ---- plan_train.c ---- */
struct um_train_options;
um_status um_job_plan_train_run(um_job_context *ctx, const struct um_train_options *o, const um_job_plan_options *own);

extern const um_job_plan_stage um_job_plan_stage_preprocess, um_job_plan_stage_score;
