/* bench_detector WEIGHTS FRAMES: the detector alone, driven by lines on standard input, for bench_detector.py and for profiling.
 *
 *   faces P R O        for every frame a line: the number of faces, then 15 numbers each (box, probability, landmarks)
 *   time P R O N       seconds of wall time to detect on all frames once with N threads
 *
 * WEIGHTS: f32 little-endian tensors in the order of um_mtcnn_tensors. FRAMES: per frame width and height as int32, then its RGB bytes. */
#include "src/core/clock.h"
#include "src/models/mtcnn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_THREADS = 64 };
static um_image *frames;
static int n_frames;
static atomic_int next_frame;
static um_thresholds thresholds;
static um_mtcnn *nets[MAX_THREADS];
static um_faces found[MAX_THREADS];
static atomic_int failed;

static void die(const char *what)
{
    fprintf(stderr, "bench_detector: %s: %s\n", what, um_err_text());
    exit(1);
}

static void read_weights(const char *path, um_mtcnn_weights *w)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) die("cannot open the weights");
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        size_t n = um_mtcnn_tensor_count(i);
        w->data[i] = malloc(n * sizeof(float));
        if (w->data[i] == NULL || fread(w->data[i], sizeof(float), n, f) != n) die("cannot read the weights");
    }
    fclose(f);
}

static void read_frames(const char *path)
{
    FILE *f = fopen(path, "rb");
    int32_t size[2];
    if (f == NULL) die("cannot open the frames");
    while (fread(size, sizeof size[0], 2, f) == 2) {
        frames = realloc(frames, (size_t)(n_frames + 1) * sizeof *frames);
        if (frames == NULL || um_image_new(size[0], size[1], 3, &frames[n_frames]) != UM_OK) die("cannot hold the frames");
        size_t bytes = frames[n_frames].stride * (size_t)size[1];
        if (fread(frames[n_frames].data, 1, bytes, f) != bytes) die("cannot read the frames");
        n_frames++;
    }
    fclose(f);
}

static void *work(void *arg)
{
    int t = *(int *)arg;
    for (int i; (i = atomic_fetch_add(&next_frame, 1)) < n_frames;)
        if (um_mtcnn_detect(nets[t], &frames[i], &thresholds, &found[t]) != UM_OK) atomic_store(&failed, 1);
    return NULL;
}

int main(int argc, char **argv)
{
    um_mtcnn_weights w = {0};
    char line[256];
    if (argc != 3) {
        fprintf(stderr, "usage: bench_detector WEIGHTS FRAMES\n");
        return 2;
    }
    read_weights(argv[1], &w);
    read_frames(argv[2]);
    while (fgets(line, sizeof line, stdin) != NULL) {
        um_thresholds *t = &thresholds;
        int n = 1;
        if (sscanf(line, "faces %lf %lf %lf", &t->p, &t->r, &t->o) == 3) {
            if (nets[0] == NULL && um_mtcnn_new(&w, &nets[0]) != UM_OK) die("no detector");
            for (int i = 0; i < n_frames; i++) {
                if (um_mtcnn_detect(nets[0], &frames[i], t, &found[0]) != UM_OK) die("cannot detect");
                printf("%d", found[0].n);
                for (int k = 0; k < found[0].n; k++) {
                    const um_face *f = &found[0].face[k];
                    for (int c = 0; c < 4; c++) printf(" %.9g", (double)f->box[c]);
                    printf(" %.9g", (double)f->probability);
                    for (int c = 0; c < 10; c++) printf(" %.9g", (double)f->landmarks[c / 2][c % 2]);
                }
                printf("\n");
            }
        } else if (sscanf(line, "time %lf %lf %lf %d", &t->p, &t->r, &t->o, &n) == 4 && n >= 1 && n <= MAX_THREADS) {
            pthread_t thread[MAX_THREADS];
            int index[MAX_THREADS];
            for (int i = 0; i < n; i++)
                if (nets[i] == NULL && um_mtcnn_new(&w, &nets[i]) != UM_OK) die("no detector");
            atomic_store(&next_frame, 0);
            double start = um_clock_s();
            for (int i = 0; i < n; i++) {
                index[i] = i;
                if (pthread_create(&thread[i], NULL, work, &index[i]) != 0) die("no thread");
            }
            for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
            if (atomic_load(&failed)) die("cannot detect");
            printf("%.6f\n", um_clock_s() - start);
        } else {
            fprintf(stderr, "bench_detector: unknown line: %s", line);
            return 2;
        }
        fflush(stdout);
    }
    for (int i = 0; i < MAX_THREADS; i++) {
        um_mtcnn_free(nets[i]);
        um_faces_release(&found[i]);
    }
    for (int i = 0; i < n_frames; i++) um_image_free(&frames[i]);
    free(frames);
    um_mtcnn_weights_release(&w);
    return 0;
}
