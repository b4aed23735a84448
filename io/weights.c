#include "io/weights.h"

#include "io/h5image.h"
#include "io/torch_file.h"
#include "io/zip.h"
#include "src/core/buf.h"
#include "src/core/hash.h"
#include "src/core/sha256.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The largest of the three (O-net) has 1.6 MB, the wheel 1.9 MB, mtcnn.h5 2 MB. */
enum { NETS = 3, MAX_TORCH_FILE_BYTES = 16 << 20, MAX_WHEEL_BYTES = 128 << 20, MAX_OURS_BYTES = 16 << 20 };
static const char *const net_file[NETS] = {"pnet.pt", "rnet.pt", "onet.pt"};
static const char *const net_prefix[NETS] = {"pnet.", "rnet.", "onet."};
static const char wheel_folder[] = "facenet_pytorch/data/";

#define KIND   "detector"
#define FORMAT "unmask-mtcnn 1"

/* The three files in memory, in the order p, r, o. */
typedef struct net_files {
    void *bytes[NETS];
    size_t n[NETS];
} net_files;

/* ---- finding the files ---- */

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool is_there(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

static um_status from_folder(um_vfs *vfs, const char *folder, net_files *out)
{
    um_status st = UM_OK;
    um_buf path = {0};
    const char *inside = "";
    UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s%s", folder, wheel_folder, net_file[0]));
    if (is_there((const char *)path.data)) inside = wheel_folder; /* site-packages, or a wheel that was unpacked */
    for (int i = 0; i < NETS; i++) {
        um_buf_clear(&path);
        UM_GOTO_PASS(st, um_buf_printf(&path, "%s/%s%s", folder, inside, net_file[i]));
        UM_GOTO(st, um_vfs_read_whole(vfs, (const char *)path.data, MAX_TORCH_FILE_BYTES, &out->bytes[i], &out->n[i]),
                "the folder %s must hold pnet.pt, rnet.pt and onet.pt", um_quote(folder));
    }
done:
    um_buf_release(&path);
    return st;
}

static um_status from_wheel(um_vfs *vfs, const char *path, net_files *out)
{
    um_status st = UM_OK;
    void *bytes = NULL;
    size_t n;
    um_zip *zip = NULL;
    UM_GOTO_PASS(st, um_vfs_read_whole(vfs, path, MAX_WHEEL_BYTES, &bytes, &n));
    if (!um_zip_is(bytes, n)) {
        st = UM_FAIL(UM_DATA,
                     "%s is neither the wheel of facenet-pytorch nor a folder with its pnet.pt, rnet.pt and onet.pt; fetch the "
                     "wheel with: pip download --no-deps facenet-pytorch",
                     um_quote(path));
        goto done;
    }
    UM_GOTO(st, um_zip_open(bytes, n, &zip), "cannot read %s", um_quote(path));
    for (int i = 0; i < NETS; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", wheel_folder, net_file[i]);
        int member = um_zip_find(zip, name);
        if (member < 0) {
            st = UM_FAIL(UM_DATA, "%s has no member %s: it is not the wheel of facenet-pytorch", um_quote(path), name);
            goto done;
        }
        uint8_t *data;
        UM_GOTO(st, um_zip_read(zip, member, MAX_TORCH_FILE_BYTES, &data, &out->n[i]), "cannot read %s", um_quote(path));
        out->bytes[i] = data;
    }
done:
    um_zip_close(zip);
    free(bytes);
    return st;
}

static um_status from_files(um_vfs *vfs, const char *const *paths, net_files *out)
{
    for (int i = 0; i < NETS; i++) {
        const char *slash = strrchr(paths[i], '/'), *base = slash != NULL ? slash + 1 : paths[i];
        int net = 0;
        while (net < NETS && strcmp(base, net_file[net]) != 0) net++;
        if (net == NETS)
            return UM_FAIL(UM_USAGE,
                           "%s is called neither pnet.pt nor rnet.pt nor onet.pt: which network it holds is told by its name",
                           um_quote(paths[i]));
        if (out->bytes[net] != NULL) return UM_FAIL(UM_USAGE, "two files called %s", net_file[net]);
        UM_PASS(um_vfs_read_whole(vfs, paths[i], MAX_TORCH_FILE_BYTES, &out->bytes[net], &out->n[net]));
    }
    return UM_OK;
}

/* ---- tensors ---- */

static bool in_net(int i, int net) { return strncmp(um_mtcnn_tensors[i].name, net_prefix[net], strlen(net_prefix[net])) == 0; }

static um_status check_finite(int i, const float *x)
{
    for (size_t k = 0; k < um_mtcnn_tensor_count(i); k++) {
        if (!isfinite(x[k])) return UM_FAIL(UM_DATA, "the tensor %s holds a number that is not finite", um_mtcnn_tensors[i].name);
    }
    return UM_OK;
}

static int n_dims(int i)
{
    int n = 0;
    while (n < 4 && um_mtcnn_tensors[i].dims[n] > 0) n++;
    return n;
}

static um_status allocate(int i, um_mtcnn_weights *out)
{
    size_t count = um_mtcnn_tensor_count(i);
    out->data[i] = malloc(count * sizeof(float));
    return out->data[i] != NULL ? UM_OK : UM_FAIL(UM_NO_MEMORY, "no memory for the tensor %s", um_mtcnn_tensors[i].name);
}

static um_status import_tensor(um_torch_file *f, int i, const char *name, um_mtcnn_weights *out)
{
    const um_mtcnn_tensor *want = &um_mtcnn_tensors[i];
    int at = um_torch_file_find(f, name);
    if (at < 0) return UM_FAIL(UM_DATA, "the tensor %s is missing", um_quote(name));
    const um_torch_tensor *t = um_torch_file_get(f, at);
    bool same = t->n_dims == n_dims(i);
    for (int d = 0; same && d < t->n_dims; d++) same = t->dims[d] == want->dims[d];
    if (!same) {
        um_torch_tensor wanted = {.n_dims = n_dims(i)};
        char text[64];
        for (int d = 0; d < wanted.n_dims; d++) wanted.dims[d] = want->dims[d];
        snprintf(text, sizeof text, "%s", um_torch_tensor_shape(&wanted));
        return UM_FAIL(UM_DATA, "the tensor %s has the shape %s; this network has %s there", um_quote(name),
                       um_torch_tensor_shape(t), text);
    }
    if (t->dtype != UM_TORCH_F32)
        return UM_FAIL(UM_DATA, "the tensor %s holds %s; these networks are f32", um_quote(name), um_torch_dtype_name(t->dtype));
    UM_PASS(allocate(i, out));
    UM_PASS(um_torch_file_read_f32(f, at, out->data[i], t->count));
    return check_finite(i, out->data[i]);
}

static um_status import_net(int net, const void *bytes, size_t n, um_mtcnn_weights *out)
{
    um_status st;
    um_torch_file *f = NULL;
    const size_t n_prefix = strlen(net_prefix[net]);
    UM_GOTO_PASS(st, um_torch_file_open(bytes, n, &f));
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        if (in_net(i, net)) UM_GOTO_PASS(st, import_tensor(f, i, um_mtcnn_tensors[i].name + n_prefix, out));
    }
    for (int k = 0; k < um_torch_file_count(f); k++) {
        const char *name = um_torch_file_get(f, k)->name;
        int i = 0;
        while (i < UM_MTCNN_TENSORS && !(in_net(i, net) && strcmp(um_mtcnn_tensors[i].name + n_prefix, name) == 0)) i++;
        if (i < UM_MTCNN_TENSORS) continue;
        st = UM_FAIL(UM_DATA, "the tensor %s does not belong to this network", um_quote(name));
        goto done;
    }
    if (um_torch_file_scalar_count(f) > 0)
        st = UM_FAIL(UM_DATA, "the entry %s does not belong to this network", um_quote(um_torch_file_scalar(f, 0)->name));
done:
    um_torch_file_close(f);
    return st;
}

um_status um_weights_import_mtcnn(um_vfs *vfs, const char *const *sources, int n_sources, um_mtcnn_weights *out,
                                  char source_sha256[65])
{
    um_status st;
    net_files files = {0};
    *out = (um_mtcnn_weights){0};
    if (n_sources == 1 && is_folder(sources[0])) {
        UM_GOTO_PASS(st, from_folder(vfs, sources[0], &files));
    } else if (n_sources == 1) {
        UM_GOTO_PASS(st, from_wheel(vfs, sources[0], &files));
    } else if (n_sources == NETS) {
        UM_GOTO_PASS(st, from_files(vfs, sources, &files));
    } else {
        st =
            UM_FAIL(UM_USAGE, "%d sources: the wheel of facenet-pytorch, a folder, or the three files pnet.pt, rnet.pt and onet.pt",
                    n_sources);
        goto done;
    }
    um_sha256 sha;
    um_sha256_init(&sha);
    for (int net = 0; net < NETS; net++) {
        UM_GOTO(st, import_net(net, files.bytes[net], files.n[net], out), "cannot import %s", net_file[net]);
        um_sha256_add(&sha, files.bytes[net], files.n[net]);
    }
    um_sha256_hex(&sha, source_sha256);
done:
    if (st != UM_OK) um_mtcnn_weights_release(out);
    for (int net = 0; net < NETS; net++) free(files.bytes[net]);
    return st;
}

/* ---- our file ---- */

static void dims_of(int i, hsize_t dims[4])
{
    for (int d = 0; d < n_dims(i); d++) dims[d] = (hsize_t)um_mtcnn_tensors[i].dims[d];
}

um_status um_weights_write_mtcnn(um_vfs *vfs, const char *path, const um_mtcnn_weights *w, const char *source_name,
                                 const char *source_sha256)
{
    um_status st;
    um_h5image *im = NULL;
    UM_GOTO_PASS(st, um_h5image_new(KIND, &im));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "format", FORMAT));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "source", source_name));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "source_sha256", source_sha256));
    UM_GOTO_PASS(st, um_h5image_add_text(im, "created_by", "unmask " UNMASK_VERSION));
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        hsize_t dims[4];
        UM_GOTO_PASS(st, check_finite(i, w->data[i]));
        dims_of(i, dims);
        UM_GOTO_PASS(st, um_h5image_add(im, um_mtcnn_tensors[i].name, H5T_IEEE_F32LE, n_dims(i), dims, w->data[i]));
    }
    UM_GOTO_PASS(st, um_h5image_write(im, vfs, path));
done:
    um_h5image_free(im);
    return st == UM_OK ? UM_OK : um_err_note(st, "cannot write the detector %s", um_quote(path));
}

/* A name that is not in the table: a file made by another version, or for another network. */
static um_status check_names(um_h5image *im)
{
    um_names names = {0};
    um_status st = um_h5image_list(im, &names);
    for (int k = 0; st == UM_OK && k < names.n; k++) {
        int i = 0;
        while (i < UM_MTCNN_TENSORS && strcmp(um_mtcnn_tensors[i].name, names.name[k]) != 0) i++;
        if (i == UM_MTCNN_TENSORS) st = UM_FAIL(UM_DATA, "the tensor %s does not belong to the detector", um_quote(names.name[k]));
    }
    um_names_release(&names);
    return st;
}

um_status um_weights_read_mtcnn(um_vfs *vfs, const char *path, um_mtcnn_weights *out, char fingerprint[17])
{
    um_status st;
    um_h5image *im = NULL;
    char format[32];
    uint64_t hash = UM_HASH64_START;
    *out = (um_mtcnn_weights){0};
    UM_GOTO_PASS(st, um_h5image_read(vfs, path, KIND, MAX_OURS_BYTES, &im));
    UM_GOTO_PASS(st, um_h5image_get_text(im, "format", format, sizeof format));
    if (strcmp(format, FORMAT) != 0) {
        st = UM_FAIL(UM_DATA, "its format is %s; this program reads '" FORMAT "'. Import the detector again", um_quote(format));
        goto done;
    }
    UM_GOTO_PASS(st, check_names(im));
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        hsize_t dims[4];
        if (!um_h5image_has(im, um_mtcnn_tensors[i].name)) {
            st = UM_FAIL(UM_DATA, "the tensor %s is missing", um_mtcnn_tensors[i].name);
            goto done;
        }
        dims_of(i, dims);
        UM_GOTO_PASS(st, allocate(i, out));
        UM_GOTO_PASS(st, um_h5image_get(im, um_mtcnn_tensors[i].name, H5T_IEEE_F32LE, n_dims(i), dims, out->data[i]));
        UM_GOTO_PASS(st, check_finite(i, out->data[i]));
        hash = um_hash64(hash, out->data[i], um_mtcnn_tensor_count(i) * sizeof(float));
    }
    snprintf(fingerprint, 17, "%016" PRIx64, hash);
done:
    um_h5image_free(im);
    if (st == UM_OK) return UM_OK;
    um_mtcnn_weights_release(out);
    return um_err_note(st, "cannot read the detector %s", um_quote(path));
}
