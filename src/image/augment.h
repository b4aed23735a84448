#pragma once
/* augment.h: what is done to a crop before the network sees it in training (pipeline: training), as pure functions of fixed parameters, and the drawing of these parameters as a pure function of (seed, epoch, sample).
 *
 * um_augment_draw names every decision and number in one struct; um_augment_apply does what the struct says and draws nothing. So a test fixes parameters, a preview prints them, and a sample looks the same on any rank and after any
 * resume. See the parts below for each operation alone: they are what is compared with OpenCV and albumentations.
 */
#include "src/core/rng.h"
#include "src/train/sample.h"
