#pragma once
/* image.h: what happens to pixels on the GPU before a network sees them (image.cu), queued from C. For files of src/nn/cuda only.
 *
 * Frames are (N,H,W,3) U8, RGB, contiguous, in memory of the device, and so are all pointers of arguments. Every kernel gives the bits of its twin on the processor, whatever the GPU: what is not integers is f32 and f64 in the twin's order, each operation
 * rounded by itself (image.cu is compiled without fused multiply-add). Launchers queue on the stream and return what cudaLaunchKernel said.
 */
#include "src/models/mtcnn.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 4:2:0, 8 bits, to RGB as io/video_convert.c has it from libswscale for planar frames: BT.601 whatever the stream says, one chroma sample for two by two pixels. The arithmetic is that of libswscale's x86 code (16-bit fixed point, products cut to
 * their upper half, sums saturated), so the bits are the same where the decoder's coded sides are even, as those of whole macroblocks are; the frame's own may be odd: chroma has (h + 1) / 2 rows of (w + 1) / 2. (For NV12 from a decoder on the
 * processor libswscale interpolates chroma instead: a decoder's choice of layout is not to change a frame here.) Then the display's quarter turn. */
typedef struct um_gpu_yuv_args {
    int n, h, w;                                   /* h, w: before the turn */
    int turn_deg;                                  /* 0, 90, 180 or 270, clockwise */
    bool full_range;                               /* luma 0..255 (a yuvj format), not 16..235 */
    int chroma_each;                               /* bytes from one sample of u to the next: 1 planar, 2 NV12 (v = u + 1) */
    const uint8_t *y, *u, *v;                      /* of frame 0 */
    size_t y_pitch, chroma_pitch;                  /* bytes from row to row */
    size_t y_step, chroma_step;                    /* from frame to frame */
    uint8_t *out;                                  /* (N,H,W,3); after a turn by 90 or 270 (N,W,H,3) */
} um_gpu_yuv_args;
cudaError_t um_gpu_yuv(const um_gpu_yuv_args *a, cudaStream_t stream);

/* One axis of um_resize_bicubic (src/image/resize_kernels.h: um_resize_axis), uploaded. */
typedef struct um_gpu_resize_axis {
    int n_in, n_out, taps;
    const int *first, *n;  /* (n_out) */
    const int32_t *weight; /* (n_out,taps) */
} um_gpu_resize_axis;
/* Pillow's bicubic: what um_detector_run does to a frame before detection. A side that stays as it is takes no pass (its axis may be empty); at least one changes. middle: (N, rows in, width out, 3), used where both change. */
typedef struct um_gpu_resize_args {
    int n;
    um_gpu_resize_axis x, y; /* n_in and n_out always set */
    const uint8_t *in;
    uint8_t *middle, *out;
} um_gpu_resize_args;
cudaError_t um_gpu_resize(const um_gpu_resize_args *a, cudaStream_t stream);

/* A rectangle of a frame; frame -1: none. */
typedef struct um_gpu_crop {
    int frame, x0, y0, x1, y1; /* half-open */
} um_gpu_crop;

/* The crops of detected faces, as um_crop_rect (src/detect/crop.h) cuts them, frame by frame, each frame's faces in their order. A face of which nothing is left keeps its place and has none. Places without a face have none either. */
typedef struct um_gpu_crops_of_faces_args {
    int n, h, w;          /* frames, their size */
    float factor;         /* by which they were scaled before detection: boxes are divided by it */
    const um_face *faces; /* (N,cap) */
    int cap;
    const int *count;     /* (N) */
    um_gpu_crop *out;     /* (room) */
    int room;
    int *left_out;        /* (1) faces that `room` did not hold */
} um_gpu_crops_of_faces_args;
cudaError_t um_gpu_crops_of_faces(const um_gpu_crops_of_faces_args *a, cudaStream_t stream);

/* The classifier's input: each crop as um_cvresize_letterbox makes it, (n,size,size,3) U8; a crop of no pixels, or of no frame, is black. scratch: um_gpu_letterbox_bytes. */
typedef struct um_gpu_letterbox_args {
    int n, size; /* crops; size at most UM_IMAGE_MAX_SIDE */
    int h, w;    /* of the frames; crops lie inside */
    const uint8_t *frames;
    const um_gpu_crop *crop; /* (n) */
    void *scratch;
    uint8_t *out;
} um_gpu_letterbox_args;
size_t um_gpu_letterbox_bytes(int n, int size);
cudaError_t um_gpu_letterbox(const um_gpu_letterbox_args *a, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
