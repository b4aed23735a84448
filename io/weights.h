#pragma once
/* weights.h: named tensors in a file of ours (mtcnn.h5), and the torch files they are imported from.
 *
 * Our file is HDF5 (h5py reads it) with a 512-byte user block that carries the CRC-32C of the rest: damage is found before HDF5 parses a byte. Datasets are contiguous little-endian f32, named as in
 * src/models/mtcnn.h; attributes of the root: format, source (file name and SHA-256), created_by.
 */
#include "io/vfs.h"
#include "src/models/mtcnn.h"

/* Reads SOURCE: the facenet-pytorch wheel, a folder that holds pnet.pt, rnet.pt, onet.pt (or facenet_pytorch/data/), or via the three files. Strict: a missing, extra or misshapen tensor is named
 * (UM_DATA); a pickle opcode or global outside the subset of tensors is UM_DATA with its name; nothing is executed. source_sha256[65]: of the three .pt files' bytes, in the order p, r, o. */
um_status um_weights_import_mtcnn(um_vfs *vfs, const char *const *sources, int n_sources, um_mtcnn_weights *out, char source_sha256[65]);
um_status um_weights_write_mtcnn(um_vfs *vfs, const char *path, const um_mtcnn_weights *w, const char *source_name, const char *source_sha256);
/* UM_MISSING, UM_DATA (damaged, not ours, a tensor named). fingerprint[17]: hex of um_hash64 over the tensors' bytes: what stores freeze. */
um_status um_weights_read_mtcnn(um_vfs *vfs, const char *path, um_mtcnn_weights *out, char fingerprint[17]);
