/* unmask_train_still: unmask whose training pictures are made once and shown again and again: what a training step costs without reading, decoding and augmenting. bench_train.py runs it beside unmask. */
#include "jobs/train_source.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 256 };

um_status __real_um_train_source_train(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight);
um_status __wrap_um_train_source_train(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight);

/* A picture is made by whoever needs it first. */
um_status __wrap_um_train_source_train(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        uint8_t *image, weight;
        float target;
    } kept[KEPT];
    const char *text = getenv("STILL_PX");
    size_t px = text != NULL ? (size_t)atoi(text) : 0, bytes = px * px * 3;
    um_status st = UM_OK;
    int i = (int)(number % KEPT);
    if (px == 0) return UM_FAIL(UM_USAGE, "STILL_PX says how wide pictures are");
    pthread_mutex_lock(&lock);
    if (kept[i].image == NULL) {
        kept[i].image = malloc(bytes);
        if (kept[i].image == NULL) st = UM_FAIL(UM_NO_MEMORY, "no memory");
        if (st == UM_OK) st = __real_um_train_source_train(user, number, thread, kept[i].image, &kept[i].target, &kept[i].weight);
    }
    pthread_mutex_unlock(&lock);
    if (st != UM_OK) return st;
    memcpy(image, kept[i].image, bytes);
    *target = kept[i].target;
    *weight = kept[i].weight;
    return UM_OK;
}
