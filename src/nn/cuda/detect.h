#pragma once
/* detect.h: faces of many frames at once on the GPU: src/models/mtcnn.h, with all its stages on the device and one wait at the end. For files of src/nn/cuda; the program sees it as um_gpu_module.detector.
 *
 * Frames of one size share a detector; all it does with a batch is one recorded graph. Nets are in f32, sums in another order than the processor's: probabilities differ in the last digits, and boxes where one is next to a threshold.
 * Lists have fixed room: 1,024 candidates a level and a frame, 512 and 128 boxes a frame for R- and O-net. A frame that needs more is told, and is the caller's to look at otherwise.
 */
#include "src/models/mtcnn.h"

extern const um_gpu_detector_ops um_gpu_mtcnn;
