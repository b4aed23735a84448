#pragma once
/* infer_kernels.h: the kernels of inference (infer.cu), queued from C. For files of src/nn/cuda only.
 *
 * Maps are (N,H,W,C), contiguous, f32 or bf16 as the arguments say, in memory of the device, 16-byte aligned with 64 bytes of it behind the last number. Weights, biases, gates and means are f32, arithmetic is f32.
 * A map may be handed over raw: as its producer summed it, without bias and activation. Its reader then adds pre_bias (C) and applies pre_act as it loads: a pass over the map less (NULL and UM_ACT_NONE: the map is ready).
 * `count`, where there is one: of the device, how many of the n images there are; NULL: all. The others are neither read nor written.
 * Each launcher queues on the stream and returns what cudaLaunchKernel said. Sums are made in an order that depends on the shape alone.
 */
#include "src/nn/graph.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* out = act(conv(in) + bias): a direct convolution, for few input channels (the stem: 3). in: U8 (then (x/255 - mean) / std is taken as it is loaded; padding is 0 behind that), or `type`. weight: (R,S,C,K). */
typedef struct um_gpu_conv_args {
    int n, h, w, c, p, q, k, r, s, stride, pad_top, pad_left;
    um_dtype in_type, out_type;
    const void *in;
    float mean[3], std[3];
    const float *weight, *bias, *slope; /* bias NULL: raw; slope (K): PReLU */
    um_act act;
    void *out;
    const int *count;
} um_gpu_conv_args;
cudaError_t um_gpu_conv(const um_gpu_conv_args *a, cudaStream_t stream);

/* out = act(depthwise(pre(in)) + bias), and means over (P,Q) of what is written. weight: (R,S,C), R = S = 1, 3 or 5. partial: scratch of um_gpu_depthwise_partial_bytes where means are wanted. */
typedef struct um_gpu_depthwise_args {
    int n, h, w, c, p, q, r, stride, pad_top, pad_left;
    um_dtype type;
    const void *in;
    const float *pre_bias; /* NULL: none */
    um_act pre_act;
    const float *weight, *bias;
    um_act act;
    void *out;
    float *means, *partial; /* (N,C); NULL: not wanted */
} um_gpu_depthwise_args;
size_t um_gpu_depthwise_partial_bytes(const um_gpu_depthwise_args *a);
cudaError_t um_gpu_depthwise(const um_gpu_depthwise_args *a, cudaStream_t stream);

/* out(n,k) = act(sum over c of in(n,c) weight(k,c) + bias(k)), all f32. */
typedef struct um_gpu_dense_args {
    int n, c, k;
    const float *in, *weight, *bias, *slope;
    um_act act;
    float *out;
    const int *count;
} um_gpu_dense_args;
cudaError_t um_gpu_dense(const um_gpu_dense_args *a, cudaStream_t stream);

/* out(n,k,c) = weight(k,c) * gate(n,c): the gate of squeeze-and-excite moved into the weights of the 1 x 1 convolution behind it, a set an image. */
typedef struct um_gpu_gate_weights_args {
    int n, k, c;
    um_dtype type; /* of out */
    const float *weight, *gate;
    void *out;
} um_gpu_gate_weights_args;
cudaError_t um_gpu_gate_weights(const um_gpu_gate_weights_args *a, cudaStream_t stream);

/* out(n,c) f32 = mean over the area of pre(in). */
typedef struct um_gpu_mean_args {
    int n, area, c;
    um_dtype type;
    const void *in;
    const float *pre_bias;
    um_act pre_act;
    float *out;
} um_gpu_mean_args;
cudaError_t um_gpu_mean(const um_gpu_mean_args *a, cudaStream_t stream);

/* out = act(in * gate(n,c) + bias(c) + residual); in and out may be the same memory if they have the same type. */
typedef struct um_gpu_elements_args {
    int n, area, c;
    um_dtype in_type, out_type;
    const void *in, *residual; /* residual: out_type; NULL: none */
    const float *gate, *bias, *slope;
    um_act act;
    void *out;
} um_gpu_elements_args;
cudaError_t um_gpu_elements(const um_gpu_elements_args *a, cudaStream_t stream);

/* As UM_STEP_MAX_POOL: windows cut at the edge. */
typedef struct um_gpu_max_pool_args {
    int n, h, w, c, p, q, r, s, stride;
    um_dtype type;
    const void *in;
    void *out;
    const int *count;
} um_gpu_max_pool_args;
cudaError_t um_gpu_max_pool(const um_gpu_max_pool_args *a, cudaStream_t stream);

/* out = (in / 255 - mean) / std. in: U8, c <= 3. */
typedef struct um_gpu_convert_args {
    size_t pixels;
    int c;
    um_dtype out_type;
    const uint8_t *in;
    float mean[3], std[3];
    void *out;
} um_gpu_convert_args;
cudaError_t um_gpu_convert(const um_gpu_convert_args *a, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
