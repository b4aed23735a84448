#pragma once
/* train_source.h: the pictures of batches: which crop has which number in an epoch, read from the store, decoded, augmented. What src/train/loader.h calls on its threads.
 *
 * A picture is a pure function of (store, options, seed, epoch, number): not of ranks, threads, or what was loaded before.
 *
 * With pairs the numbers 2i and 2i + 1 are a real and one of its fakes, augmented alike; where a mixture was drawn (--set mixup), the fake's place has real and fake mixed, and the share of the fake for a target.
 *
 * A damaged crop (its checksum or its decoder says so): in training the next crop of the same label takes its place, in the order of the samples, the first after the last; after UM_TRAIN_MAX_REPLACED such in a row the picture fails
 * (UM_DATA). In validation it does not count. Each is counted where it is used; the first few are named in the log. A read error is no damage: it ends the job (UM_IO).
 */
#include "jobs/train_data.h"
#include "src/train/loader.h"

enum { UM_TRAIN_MAX_REPLACED = 16 };
enum { UM_PICTURE_COUNTS = 1, UM_PICTURE_REPLACED = 2 }; /* bits of a weight */

typedef struct um_train_source um_train_source;
/* batch: pictures of a micro-batch of all ranks. Where um_train_data_check fails the source validates only: no um_train_source_epoch. Errors: UM_CONFIG (an odd batch with pairs; augmentation that makes no sense), UM_DATA (no pair), UM_NO_MEMORY. */
um_status um_train_source_open(const um_train_data *d, const um_train_options *o, uint64_t seed, int64_t batch, int n_threads, um_train_source **out);
void um_train_source_close(um_train_source *s);
/* Makes the order of an epoch; no loader may be at work. *n: pictures of the epoch. */
um_status um_train_source_epoch(um_train_source *s, int64_t epoch, int64_t *n);
/* What an epoch is drawn from, for the log: "54 pairs of 108 crops ...". Borrowed. */
const char *um_train_source_words(const um_train_source *s);
/* um_loader_make; user: the source. */
um_status um_train_source_train(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight);
um_status um_train_source_validate(void *user, int64_t number, int thread, uint8_t *image, float *target, uint8_t *weight);
/* The crop of a sample of either list as the store has it; um_image_free. *damaged: it has none, and that was named in the log. The caller's thread is thread 0. */
um_status um_train_source_crop(um_train_source *s, const um_sample *sample, um_image *out, bool *damaged);
/* A contact sheet of the first pictures of the epoch at hand, plain and as its next epochs show them, for people; RGB, um_image_free. */
um_status um_train_source_preview(um_train_source *s, um_image *out);
