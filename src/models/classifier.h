#pragma once
/* classifier.h: face crops in, logits out: a model (what a model file holds) and the network made ready to run it.
 *
 *     um_classifier *c; UM_PASS(um_classifier_new(&model, &options, &c));
 *     void *constants = ...um_classifier_constant_bytes(c)...;                  // shared between the ranks of a node
 *     UM_PASS(um_classifier_pack(c, &model, constants));                        // by one rank of the node
 *     UM_PASS(um_classifier_attach(c, constants));                              // by all; model.params may be released now
 *     UM_PASS(um_classifier_run(c, pool, images, n, logits));
 *
 * On a CPU one image is one run of a plan with batch 1 (the fastest there), and threads share out the images. On a device batches have one size, padded, and the next is copied while one computes. Either way a logit depends on nothing but
 * its image, the model and the backend.
 */
#include "src/core/pool.h"
#include "src/models/efficientnet.h"
#include "src/nn/plan.h"

typedef struct um_model {
    um_efficientnet net;
    int size_px;           /* pictures are size_px x size_px */
    bool has_head;         /* false: an encoder, to train from */
    float mean[3], std[3]; /* of the input, ImageNet's unless the file says otherwise */
    float *params;         /* [param_count], in the order of um_efficientnet_graph's parameters; owned: um_model_release */
    int64_t param_count;
    char source[256];      /* file name it was imported from */
    char source_sha256[65];
    char fingerprint[17];  /* hex of um_hash64 over net, size, mean, std and params: what scores freeze */
} um_model;
extern const float um_imagenet_mean[3], um_imagenet_std[3];
void um_model_release(um_model *m);
/* Fills m->fingerprint from the rest. */
void um_model_seal(um_model *m);

typedef struct um_classifier_options {
    um_dtype precision;
    int n_threads; /* on a CPU: runs that are kept ready: at least the pool's threads */
    const um_backend *backend; /* NULL: cpu */
    int batch;                 /* on a device: images at once; 0: what the backend likes */
} um_classifier_options;

typedef struct um_classifier um_classifier;
/* Uses net, size, mean, std of the model, not its parameters. Errors: UM_DATA (an encoder without head), UM_CONFIG (precision), UM_NO_MEMORY. */
um_status um_classifier_new(const um_model *m, const um_classifier_options *o, um_classifier **out);
void um_classifier_free(um_classifier *c);
size_t um_classifier_constant_bytes(const um_classifier *c);
size_t um_classifier_run_bytes(const um_classifier *c); /* activations of all threads; with a device: there */
int um_classifier_batch(const um_classifier *c);        /* images that are best given at once: 1 on a CPU */
um_status um_classifier_pack(um_classifier *c, const um_model *m, void *constants);
/* constants: as um_plan_attach. Errors: UM_NO_MEMORY. */
um_status um_classifier_attach(um_classifier *c, const void *constants);
/* images: (n,size,size,3) U8 RGB; logits: [n]. Local; one caller at a time. Errors: UM_NO_MEMORY; a device's. */
um_status um_classifier_run(um_classifier *c, um_pool *pool, const uint8_t *images, int n, float *logits);
