#pragma once
/* device_detect.h: faces of many frames at once, on a device: what detect.h does with one frame on a processor.
 *
 * Frames are scaled on the processors (the same bits as there), then searched on the device. A detector of the device is made for a size of frames and kept: the last few sizes. What it has no room for, frames with very many candidates, or a size
 * whose memory is not to be had, is searched on the processors instead, and counted: which frames these are depends on the frame and the device's memory alone.
 */
#include "src/core/pool.h"
#include "src/detect/detect.h"

typedef struct um_device_detector um_device_detector;
/* scale as um_detector_new's. At most max_frames are searched at once, fewer of large ones. w and ops are borrowed. Errors: UM_NO_MEMORY. */
um_status um_device_detector_new(const um_gpu_detector_ops *ops, const um_mtcnn_weights *w, double scale, int max_frames, const um_thresholds *t, int n_threads, um_device_detector **out);
void um_device_detector_free(um_device_detector *d); /* before the device is closed; NULL is fine */
/* faces[i] as um_detector_run gives them for frame[i], which are of one size. pool has at most n_threads; fallback: [its threads]. Errors: UM_NO_MEMORY; a device's. */
um_status um_device_detector_run(um_device_detector *d, um_pool *pool, um_detector *const *fallback, const um_image *const *frame, int n, um_faces *const *faces);
/* Frames so far that were searched on the processors. */
int64_t um_device_detector_fallbacks(const um_device_detector *d);
