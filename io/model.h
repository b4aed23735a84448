#pragma once
/* model.h: classifiers in files: ours (model.h5), and what they are imported from and exported to.
 *
 * model.h5 is HDF5 with our 512-byte user block (io/h5image.h): damage is found before HDF5 parses a byte. One contiguous little-endian f32 dataset a parameter, called like the parameter with '.' kept
 * ("encoder.conv_stem.weight"); attributes of the root, texts: format "unmask-model 1", arch, width, depth, size, head ("true", "false"), mean and std (three numbers), source, source_sha256, created_by.
 *
 * Every number is finite and no variance negative in a model that was imported or read. Memory held, beside the model's own parameters: to import, the file, and of a zip its largest tensor; to write and to read, the file.
 * Any thread, but reading and writing model.h5 only one at a time (HDF5).
 */
#include "io/vfs.h"
#include "src/models/classifier.h"

enum { UM_MODEL_MAX_BYTES = 1 << 30 }; /* of model.h5; the largest, B7, has 255 MB */

typedef struct um_model_import {
    const char *arch; /* NULL: recognised from the shapes */
    int size_px;      /* 0: what a file that we exported says, else 380 */
} um_model_import;

/* Counts of what an import dropped by name. */
typedef struct um_model_dropped {
    int classifier, counters, scalars; /* encoder.classifier.*, num_batches_tracked, epoch and the like */
} um_model_dropped;

/* A .pth (zip or legacy), a .safetensors file: told apart by content. A checkpoint of the reference ({epoch, state_dict, ...}, "module." prefix), a bare state dict of it, or timm's own (without "encoder." prefix, with its
 * 1000-class classifier, which is dropped): the last becomes an encoder (has_head false), as does a file of ours without head. Strict (UM_DATA): missing, extra and misshapen tensors are counted and the first of each named, as are
 * numbers that are not finite and negative variances. Other errors: UM_USAGE (arch, size), UM_MISSING, UM_TOO_LARGE (more than 2 GiB), UM_IO, UM_NO_MEMORY. */
um_status um_model_import_file(um_vfs *vfs, const char *path, const um_model_import *o, um_model *out, um_model_dropped *dropped);
/* The same for a file in memory; out->source and source_sha256 stay empty. */
um_status um_model_import_bytes(const void *bytes, size_t n, const um_model_import *o, um_model *out, um_model_dropped *dropped);
um_status um_model_write(um_vfs *vfs, const char *path, const um_model *m);
/* UM_MISSING, UM_DATA (damaged, not ours, a tensor named). */
um_status um_model_read(um_vfs *vfs, const char *path, um_model *out);
/* Writes safetensors with the parameter names as they are and metadata {format: "pt", arch, size}. */
um_status um_model_export(um_vfs *vfs, const char *path, const um_model *m);
/* Is the file at `path` one of our models (by its first bytes)? */
bool um_model_is(um_vfs *vfs, const char *path);
/* Paths of all models in a folder: files called *.h5 for which um_model_is. Sorted by bytes; um_names_release. UM_MISSING, UM_IO. */
um_status um_model_list(um_vfs *vfs, const char *folder, um_names *out);
