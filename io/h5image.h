#pragma once
/* h5image.h: HDF5 files of ours, built and parsed in memory.
 *
 * HDF5 never touches the disk: on a full one its writes and its close have reported success, and damaged metadata makes it loop or crash (reliability 1-4, 18). So a file is built in memory,
 * gets a checksum, and is written by our own layer; it is read whole, checked, and only then parsed.
 *
 *     um_h5image *im;                                             um_h5image *im;
 *     um_h5image_new("detector", &im);                            um_h5image_read(vfs, path, "detector", 64 << 20, &im);
 *     um_h5image_add(im, "pnet/conv1.weight",                     um_h5image_get(im, "pnet/conv1.weight", H5T_IEEE_F32LE, 4, dims, w);
 *                    H5T_IEEE_F32LE, 4, dims, w);                 um_h5image_get_text(im, "format", text, sizeof text);
 *     um_h5image_add_text(im, "format", "unmask-mtcnn 1");        um_h5image_free(im);
 *     um_h5image_write(im, vfs, path);
 *     um_h5image_free(im);
 *
 * Before the HDF5 part stands a user block of 512 bytes, text: the magic line "unmask-h5 1", the kind, the bytes of the whole file and the CRC-32C of everything after the block (docs/format.md).
 * Equal content gives equal bytes: no times are recorded and unused bytes are 0. Datasets are contiguous, without filters. Local; HDF5 is not thread-safe, so one thread of the process at a time may be in
 * any of these calls. On failure of a call the image is only good for um_h5image_free.
 */
#include "io/vfs.h"

#include <hdf5.h>

#define UM_H5IMAGE_BLOCK_BYTES 512
#define UM_H5IMAGE_MAX_RANK 8

typedef struct um_h5image um_h5image;

/* An empty file of `kind` ("shard", "index", "detector", "model"; at most 16 letters). */
um_status um_h5image_new(const char *kind, um_h5image **out);
/* A dataset under `name`; groups in the name are made. data is packed, of exactly `type`, which is the type in the file too: a little-endian one. rank 1..8; dims may hold 0. data == NULL: space is set aside, to be filled by
 * um_h5image_put. */
um_status um_h5image_add(um_h5image *im, const char *name, hid_t type, int rank, const hsize_t *dims, const void *data);
/* Fills rows [first, first + n) (of the first dimension) of a dataset. */
um_status um_h5image_put(um_h5image *im, const char *name, hid_t type, hsize_t first, hsize_t n, const void *data);
/* A text attribute of the root, UTF-8. */
um_status um_h5image_add_text(um_h5image *im, const char *name, const char *value);
/* Where the data of a dataset lie in the file. 0 when it is empty. */
um_status um_h5image_offset(um_h5image *im, const char *name, int64_t *at);
/* The HDF5 file, for what the calls above do not offer. Borrowed. */
hid_t um_h5image_id(um_h5image *im);
/* Ends the file and gives its bytes, user block included: borrowed until um_h5image_free. Nothing can be added afterwards. */
um_status um_h5image_finish(um_h5image *im, const void **bytes, size_t *n);
/* um_h5image_finish and um_vfs_write_whole. */
um_status um_h5image_write(um_h5image *im, um_vfs *vfs, const char *path);
void um_h5image_free(um_h5image *im);

/* Checks bytes of a file (magic, kind, size, CRC), parses a copy, and refuses what we never write: external storage, external and soft links, virtual layouts, filters, types of variable length, shapes beyond the file.
 * `what` names it in messages. UM_DATA. */
um_status um_h5image_parse(const void *bytes, size_t n, const char *kind, const char *what, um_h5image **out);
/* The same for a file of at most max_bytes, which is held once. UM_MISSING, UM_TOO_LARGE, UM_IO, UM_DATA. */
um_status um_h5image_read(um_vfs *vfs, const char *path, const char *kind, size_t max_bytes, um_h5image **out);
/* Is there a dataset of this name? */
bool um_h5image_has(um_h5image *im, const char *name);
/* Names of all datasets, as paths without the leading '/', sorted by bytes: to find those that are not expected. um_names_release. */
um_status um_h5image_list(um_h5image *im, um_names *out);
/* rank and dims[UM_H5IMAGE_MAX_RANK] of a dataset. UM_DATA when it is not there. */
um_status um_h5image_shape(um_h5image *im, const char *name, int *rank, hsize_t *dims);
/* Reads a whole dataset, which must have exactly this type and shape (UM_DATA). */
um_status um_h5image_get(um_h5image *im, const char *name, hid_t type, int rank, const hsize_t *dims, void *out);
/* A text attribute of the root; UM_DATA when it is missing or does not fit into `size` bytes with its end. */
um_status um_h5image_get_text(um_h5image *im, const char *name, char *out, size_t size);

/* Records a failure with the innermost reason HDF5 gives, and clears HDF5's own stack. */
um_status um_h5_fail(um_status st, const char *what);
