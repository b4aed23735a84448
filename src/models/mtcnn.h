#pragma once
/* mtcnn.h: the face detector of Zhang, Zhang, Li, Qiao, "Joint face detection and alignment using multi-task cascaded convolutional networks",
 * IEEE SPL 23(10), 2016, with the network shapes, the weights and the rules of facenet-pytorch 2.5/2.6.
 *
 *     um_mtcnn_weights w;                       // filled by io/weights from mtcnn.h5, or by a test
 *     um_mtcnn *net; UM_PASS(um_mtcnn_new(&w, &net));
 *     um_faces faces = {0};
 *     UM_PASS(um_mtcnn_detect(net, &rgb, &thresholds, &faces));
 *     ...
 *     um_faces_release(&faces); um_mtcnn_free(net);
 *
 * Pixels come in as 8-bit RGB and are taken as (x - 127.5) / 128. The same bits come out at every instruction-set level and for every number of threads.
 */
#include "src/image/image.h"

/* One named weight: the names, shapes and order of facenet-pytorch's state dicts, in PyTorch's layouts: convolution (K,C,R,S), dense (K,C). */
typedef struct um_mtcnn_tensor {
    const char *name; /* "pnet.conv1.weight" */
    int dims[4];      /* unused trailing dimensions are 0 */
} um_mtcnn_tensor;

enum { UM_MTCNN_TENSORS = 50 };
extern const um_mtcnn_tensor um_mtcnn_tensors[UM_MTCNN_TENSORS];

typedef struct um_mtcnn_weights {
    float *data[UM_MTCNN_TENSORS]; /* in the order of um_mtcnn_tensors; owned: um_mtcnn_weights_release */
} um_mtcnn_weights;
/* Number of elements of tensor i. */
size_t um_mtcnn_tensor_count(int i);
void um_mtcnn_weights_release(um_mtcnn_weights *w);

typedef struct um_thresholds {
    double p, r, o; /* least probability after P-, R- and O-net, 0..1 */
} um_thresholds;

typedef struct um_face {
    float box[4];          /* x0, y0, x1, y1 in pixels of the picture given; may lie outside it */
    float probability;
    float landmarks[5][2]; /* x, y: left eye, right eye, nose, left and right corner of the mouth (as seen in the picture) */
} um_face;

typedef struct um_faces {
    um_face *face; /* largest box first */
    int n, cap;
} um_faces;
void um_faces_release(um_faces *f);

typedef struct um_mtcnn um_mtcnn;

/* Packs the weights for this processor. Copies what it needs of `w`. Errors: UM_NO_MEMORY. */
um_status um_mtcnn_new(const um_mtcnn_weights *w, um_mtcnn **out);
void um_mtcnn_free(um_mtcnn *net);
/* Faces of an RGB picture of any size (smaller than 12 px a side after scaling: none). Minimum face 20 px, pyramid factor 0.709. Local; one thread per um_mtcnn.
 * `out` is overwritten, its memory reused. Errors: UM_NO_MEMORY, UM_TOO_LARGE (more than 16.8 Mpx: the area sums are 32 bits). */
um_status um_mtcnn_detect(um_mtcnn *net, const um_image *rgb, const um_thresholds *t, um_faces *out);
/* "avx512", "avx2" or "base": the instruction-set level in use. UNMASK_ISA=base|avx2 in the environment lowers it (tests). */
const char *um_mtcnn_isa(void);

/* The same on a GPU, many frames of one size at once: a table that its module fills in (src/nn/gpu_module.h). All calls are of one thread at a time. */
typedef struct um_gpu_detector um_gpu_detector;
typedef struct um_gpu_detector_ops {
    /* Frames of width x height px, at most max_frames at once. Copies what it needs of w. Errors: UM_NO_MEMORY, UM_TOO_LARGE (as um_mtcnn_detect), UM_INTERNAL. */
    um_status (*open)(const um_mtcnn_weights *w, int width_px, int height_px, int max_frames, const um_thresholds *t, um_gpu_detector **out);
    void (*close)(um_gpu_detector *d); /* NULL is fine */
    /* frames: n, (H,W,3) U8 each, contiguous. faces: [n], their memory is reused; largest first. *overflown: [n], true: there was no room for what was found, and faces[i] is empty. Waits. Errors: UM_NO_MEMORY; a device's. */
    um_status (*run)(um_gpu_detector *d, const uint8_t *const *frames, int n, um_faces *faces, bool *overflown);
    size_t (*bytes)(const um_gpu_detector *d); /* of the device */
} um_gpu_detector_ops;
