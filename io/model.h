#pragma once
/* model.h: classifiers in files: ours (model.h5), and what they are imported from and exported to.
 *
 * model.h5 is HDF5 with our 512-byte user block (io/h5image.h): damage is found before HDF5 parses a byte. One contiguous little-endian f32 dataset a parameter, called like the parameter with '.' kept
 * ("encoder.conv_stem.weight"); attributes of the root: format "unmask-model 1", arch, width, depth, size, head, mean, std, source, source_sha256, created_by.
 */
#include "io/vfs.h"
#include "src/models/classifier.h"

typedef struct um_model_import {
    const char *arch; /* NULL: recognised from the shapes */
    int size_px;      /* 0: 380 */
} um_model_import;

/* Counts of what an import dropped by name. */
typedef struct um_model_dropped {
    int classifier, counters, scalars; /* encoder.classifier.*, num_batches_tracked, epoch and the like */
} um_model_dropped;

/* A .pth (zip or legacy), a .safetensors file: told apart by content. A checkpoint of the reference ({epoch, state_dict, ...}, "module." prefix), a bare state dict of it, or timm's own (without "encoder." prefix, with its
 * 1000-class classifier, which is dropped): the last becomes an encoder (has_head false). Strict: a missing, extra or misshapen tensor is named (UM_DATA). */
um_status um_model_import_file(um_vfs *vfs, const char *path, const um_model_import *o, um_model *out, um_model_dropped *dropped);
um_status um_model_write(um_vfs *vfs, const char *path, const um_model *m);
/* UM_MISSING, UM_DATA (damaged, not ours, a tensor named). */
um_status um_model_read(um_vfs *vfs, const char *path, um_model *out);
/* Writes safetensors with the parameter names as they are and metadata {format: "pt", arch, size}. */
um_status um_model_export(um_vfs *vfs, const char *path, const um_model *m);
/* Is the file at `path` one of our models (by its first bytes)? */
bool um_model_is(um_vfs *vfs, const char *path);
