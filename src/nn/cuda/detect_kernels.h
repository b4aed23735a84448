#pragma once
/* detect_kernels.h: the kernels of face detection beside its convolutions (infer_kernels.h), queued from C. For files of src/nn/cuda only.
 *
 * What src/models/mtcnn.c and mtcnn_boxes.c do with pictures and boxes, for many frames of one size at once: the same f32 operations in the same order (the file is compiled without fused multiply-add), the same ties. Lists have fixed room; what does
 * not fit makes the frame's `overflow` 1, and its result is then worth nothing. Blocks write lists in the order of their elements: results are a function of the arguments.
 */
#include "src/models/mtcnn_boxes.h"
#include "src/models/mtcnn.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { UM_GPU_LIST_CAP = 1024 }; /* boxes that one block sorts */

/* out(n,p,q,c) = (mean of the window - 127.5) / 128, windows as um_area_windows: one level of the pyramid. */
typedef struct um_gpu_area_args {
    int n, h, w, p, q;
    const uint8_t *in; /* (N,H,W,3) */
    float *out;        /* (N,P,Q,3) */
    const int *count;  /* frames that there are */
} um_gpu_area_args;
cudaError_t um_gpu_area(const um_gpu_area_args *a, cudaStream_t stream);

/* Candidates of one level: where face probability is at least the threshold; sorted, thinned out by NMS 0.5. */
typedef struct um_gpu_candidates_args {
    int n, h, w;              /* frames; of P-net's output */
    int level, n_levels, width; /* width: of the level's picture, which numbers places */
    float scale, least;       /* least: a logit below which the probability is surely under the threshold */
    float threshold;
    const float *map;         /* (N,h,w,5): logit of a face less that of none; box */
    um_box *found;            /* (N,CAP): scratch */
    um_box *out;              /* (N,n_levels,CAP) */
    int *count;               /* (N,n_levels) */
    int *overflow;            /* (N) */
    const int *there;         /* frames that there are: the others have no candidates */
} um_gpu_candidates_args;
cudaError_t um_gpu_candidates(const um_gpu_candidates_args *a, cudaStream_t stream);

/* Between the nets: what a stage does with each frame's boxes. */
typedef struct um_gpu_boxes_args {
    int n, h, w, n_levels;    /* frames, their size */
    float threshold;          /* of R- or O-net */
    const um_box *in;         /* first: (N,n_levels,CAP); else (N,CAP) */
    const int *in_count;      /* first: (N,n_levels); else (N) */
    const float *head;        /* (cap, heads) of R- or O-net, row first[n] + i for box i */
    const int *first;         /* (N) */
    um_box *list;             /* (N,CAP): scratch */
    um_box *out;              /* (N,CAP): boxes whose crop holds pixels */
    int *out_count;           /* (N) */
    um_face *faces;           /* last stage: (N,faces_each), largest first; in_count is at most so many */
    int faces_each;
    int *overflow;            /* (N) */
} um_gpu_boxes_args;
/* All levels together: NMS 0.7, regression, squares. */
cudaError_t um_gpu_boxes_first(const um_gpu_boxes_args *a, cudaStream_t stream);
/* After R-net (heads of 6): the threshold, NMS 0.7, regression, squares. */
cudaError_t um_gpu_boxes_second(const um_gpu_boxes_args *a, cudaStream_t stream);
/* After O-net (heads of 16): the threshold, landmarks, regression, NMS "Min" 0.7. */
cudaError_t um_gpu_boxes_last(const um_gpu_boxes_args *a, cudaStream_t stream);

/* One list of all frames' boxes: first(n) = sum of the counts before; entry (frame, box). A frame with more than `each` overflows, whatever the others have. */
typedef struct um_gpu_entries_args {
    int n, each;
    const int *count; /* (N) */
    int *first;       /* (N + 1) */
    int *entry;       /* (N each,2); frame -1: none */
    int *overflow;    /* (N) */
} um_gpu_entries_args;
cudaError_t um_gpu_entries(const um_gpu_entries_args *a, cudaStream_t stream);

/* out(i) = the pixels of entry i's box, resampled to side x side; nothing where there is no entry. */
typedef struct um_gpu_crops_args {
    int cap, h, w, side;
    const uint8_t *in; /* (N,H,W,3) */
    const int *entry;
    const um_box *box; /* (N,CAP) */
    float *out;        /* (cap,side,side,3) */
} um_gpu_crops_args;
cudaError_t um_gpu_crops(const um_gpu_crops_args *a, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
