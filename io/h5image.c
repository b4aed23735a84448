#include "io/h5image.h"

#include "io/vfs_table.h"

#include "src/core/crc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and written from memory as it is");

enum { MAX_OBJECTS = 1000000 }; /* of a file that is read */

struct um_h5image {
    hid_t file;
    char kind[20];
    char *what;     /* for messages */
    size_t n_bytes; /* of the file, when it was parsed */
    void *memory;   /* the core driver's buffer, ours after the close */
    size_t capacity;
    bool finished;
};

/* ---- errors ---- */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *user)
{
    (void)n;
    if (e->desc != NULL && e->desc[0] != 0) snprintf(user, 200, "%s", e->desc);
    return 0;
}

um_status um_h5_fail(um_status st, const char *what)
{
    char reason[200] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, reason); /* from the API call down: the last one is the cause */
    H5Eclear2(H5E_DEFAULT);
    return UM_FAIL(st, "%s: HDF5: %s", what, reason);
}

static void quiet(void) { H5Eset_auto2(H5E_DEFAULT, NULL, NULL); }

/* ---- the memory behind the core driver ---- */

static void *image_malloc(size_t n, H5FD_file_image_op_t op, void *user)
{
    (void)op;
    um_h5image *im = user;
    void *p = calloc(1, n); /* zeroed: unused bytes are part of the file */
    if (p != NULL) im->capacity = n;
    return p;
}

static void *image_memcpy(void *to, const void *from, size_t n, H5FD_file_image_op_t op, void *user)
{
    (void)op;
    (void)user;
    return memcpy(to, from, n);
}

static void *image_realloc(void *p, size_t n, H5FD_file_image_op_t op, void *user)
{
    (void)op;
    um_h5image *im = user;
    size_t old = p != NULL ? im->capacity : 0;
    char *q = realloc(p, n);
    if (q == NULL) return NULL;
    if (n > old) memset(q + old, 0, n - old);
    im->capacity = n;
    return q;
}

static herr_t image_free(void *p, H5FD_file_image_op_t op, void *user)
{
    um_h5image *im = user;
    if (op == H5FD_FILE_IMAGE_OP_FILE_CLOSE && im->memory == NULL)
        im->memory = p; /* the finished file: we write it */
    else
        free(p);
    return 0;
}

static void *user_copy(void *user) { return user; }
static herr_t user_free(void *user)
{
    (void)user;
    return 0;
}

static um_status image_alloc(const char *kind, const char *what, um_h5image **out)
{
    quiet();
    *out = NULL;
    um_h5image *im = calloc(1, sizeof *im);
    if (im == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for an HDF5 file");
    im->file = -1;
    snprintf(im->kind, sizeof im->kind, "%s", kind);
    im->what = strdup(what);
    if (im->what == NULL) {
        free(im);
        return UM_FAIL(UM_NO_MEMORY, "no memory for an HDF5 file");
    }
    *out = im;
    return UM_OK;
}

/* A name no other open file has: HDF5 takes two core files of one name for the same file. */
static void unique_name(char out[48])
{
    static atomic_ulong next;
    snprintf(out, 48, "unmask-%lu", (unsigned long)atomic_fetch_add(&next, 1));
}

/* ---- writing ---- */

um_status um_h5image_new(const char *kind, um_h5image **out)
{
    um_h5image *im;
    char name[48];
    UM_PASS(image_alloc(kind, kind, &im));
    H5FD_file_image_callbacks_t calls = {image_malloc, image_memcpy, image_realloc, image_free, user_copy, user_free, im};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = H5Pcreate(H5P_FILE_CREATE);
    bool ok = access >= 0 && create >= 0;
    /* The buffer grows in steps of 1 MiB: the C library moves large blocks by remapping pages. */
    ok = ok && H5Pset_fapl_core(access, 1 << 20, 0) >= 0 && H5Pset_file_image_callbacks(access, &calls) >= 0;
    ok = ok && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0;
    ok = ok && H5Pset_userblock(create, UM_H5IMAGE_BLOCK_BYTES) >= 0;
    unique_name(name);
    if (ok) im->file = H5Fcreate(name, H5F_ACC_TRUNC, create, access);
    um_status st = im->file >= 0 ? UM_OK : um_h5_fail(UM_NO_MEMORY, "cannot make an HDF5 file in memory");
    if (access >= 0) H5Pclose(access);
    if (create >= 0) H5Pclose(create);
    if (st != UM_OK) {
        um_h5image_free(im);
        return st;
    }
    *out = im;
    return UM_OK;
}

static um_status check_writable(const um_h5image *im)
{
    return im->finished || im->file < 0 ? UM_FAIL(UM_INTERNAL, "the HDF5 file is finished already") : UM_OK;
}

um_status um_h5image_add(um_h5image *im, const char *name, hid_t type, int rank, const hsize_t *dims, const void *data)
{
    UM_PASS(check_writable(im));
    hid_t space = H5Screate_simple(rank, dims, NULL), create = H5Pcreate(H5P_DATASET_CREATE), link = H5Pcreate(H5P_LINK_CREATE), set = -1;
    bool ok = space >= 0 && create >= 0 && link >= 0;
    ok = ok && H5Pset_layout(create, H5D_CONTIGUOUS) >= 0 && H5Pset_obj_track_times(create, 0) >= 0;
    ok = ok && H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY) >= 0 && H5Pset_fill_time(create, H5D_FILL_TIME_NEVER) >= 0;
    ok = ok && H5Pset_create_intermediate_group(link, 1) >= 0;
    if (ok) set = H5Dcreate2(im->file, name, type, space, link, create, H5P_DEFAULT);
    ok = ok && set >= 0;
    if (ok && data != NULL && H5Sget_simple_extent_npoints(space) > 0) ok = H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    um_status st = UM_OK;
    if (!ok) {
        um_h5_fail(UM_NO_MEMORY, "cannot add it");
        st = um_err_note(UM_NO_MEMORY, "dataset %s", um_quote(name));
    }
    if (set >= 0 && H5Dclose(set) < 0 && st == UM_OK) st = um_h5_fail(UM_INTERNAL, "cannot close a dataset");
    if (space >= 0) H5Sclose(space);
    if (create >= 0) H5Pclose(create);
    if (link >= 0) H5Pclose(link);
    return st;
}

um_status um_h5image_put(um_h5image *im, const char *name, hid_t type, hsize_t first, hsize_t n, const void *data)
{
    UM_PASS(check_writable(im));
    if (n == 0) return UM_OK;
    hsize_t dims[UM_H5IMAGE_MAX_RANK], start[UM_H5IMAGE_MAX_RANK] = {first};
    int rank;
    UM_PASS(um_h5image_shape(im, name, &rank, dims));
    dims[0] = n;
    hid_t set = H5Dopen2(im->file, name, H5P_DEFAULT), space = -1, memory = -1;
    if (set >= 0) space = H5Dget_space(set);
    if (space >= 0) memory = H5Screate_simple(rank, dims, NULL);
    bool ok = memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, dims, NULL) >= 0;
    ok = ok && H5Dwrite(set, type, memory, space, H5P_DEFAULT, data) >= 0;
    um_status st = ok ? UM_OK : um_h5_fail(UM_INTERNAL, "cannot fill a dataset");
    if (memory >= 0) H5Sclose(memory);
    if (space >= 0) H5Sclose(space);
    if (set >= 0) H5Dclose(set);
    return st;
}

um_status um_h5image_add_text(um_h5image *im, const char *name, const char *value)
{
    UM_PASS(check_writable(im));
    size_t n = strlen(value);
    hid_t space = H5Screate(H5S_SCALAR), type = H5Tcopy(H5T_C_S1), attribute = -1;
    /* 60,000 bytes: an attribute lives in an object header message, which cannot hold 64 KiB. */
    bool ok = n <= 60000 && space >= 0 && type >= 0 && H5Tset_size(type, n > 0 ? n : 1) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0;
    ok = ok && H5Tset_cset(type, H5T_CSET_UTF8) >= 0;
    if (ok) attribute = H5Acreate2(im->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    ok = ok && attribute >= 0 && H5Awrite(attribute, type, value) >= 0;
    um_status st = ok ? UM_OK : um_h5_fail(UM_INTERNAL, "cannot add a text attribute");
    if (attribute >= 0) H5Aclose(attribute);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    return st;
}

um_status um_h5image_offset(um_h5image *im, const char *name, int64_t *at)
{
    *at = 0;
    hid_t set = H5Dopen2(im->file, name, H5P_DEFAULT), space = set >= 0 ? H5Dget_space(set) : -1;
    um_status st = UM_OK;
    if (space < 0) {
        st = um_h5_fail(UM_DATA, "cannot open a dataset");
    } else if (H5Sget_simple_extent_npoints(space) > 0) {
        haddr_t where = H5Dget_offset(set);
        if (where == HADDR_UNDEF)
            st = um_h5_fail(UM_DATA, "a dataset has no place in the file");
        else
            *at = (int64_t)where;
    }
    if (space >= 0) H5Sclose(space);
    if (set >= 0) H5Dclose(set);
    return st;
}

hid_t um_h5image_id(um_h5image *im) { return im->file; }

/* The user block of a file of n bytes. */
static void block_text(const char *kind, size_t n, uint32_t crc, char out[UM_H5IMAGE_BLOCK_BYTES])
{
    memset(out, 0, UM_H5IMAGE_BLOCK_BYTES);
    snprintf(out, UM_H5IMAGE_BLOCK_BYTES,
             "unmask-h5 1\nkind %s\nbytes %zu\ncrc32c %08x\n"
             "An HDF5 file with this text before it. The checksum is of all bytes from 512 on; a file that does not match is damaged.\n",
             kind, n, crc);
}

/* Bytes the file takes, from its superblock (versions 0 to 3: HDF5 file format specification, section II.A). 0: not to be found. */
static size_t end_of_file(const uint8_t *p, size_t n)
{
    static const uint8_t signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    if (n < UM_H5IMAGE_BLOCK_BYTES + 96 || memcmp(p + UM_H5IMAGE_BLOCK_BYTES, signature, 8) != 0) return 0;
    p += UM_H5IMAGE_BLOCK_BYTES;
    uint64_t end;
    memcpy(&end, p + (p[8] < 2 ? 40 : 28), 8);
    return end <= SIZE_MAX ? (size_t)end : 0;
}

um_status um_h5image_finish(um_h5image *im, const void **bytes, size_t *n)
{
    if (!im->finished) {
        UM_PASS(check_writable(im));
        hid_t file = im->file;
        im->file = -1;
        if (H5Fclose(file) < 0 || im->memory == NULL) return um_h5_fail(UM_NO_MEMORY, "cannot finish an HDF5 file in memory");
        im->finished = true;
        im->n_bytes = end_of_file(im->memory, im->capacity);
        if (im->n_bytes < UM_H5IMAGE_BLOCK_BYTES || im->n_bytes > im->capacity)
            return UM_FAIL(UM_INTERNAL, "an HDF5 file in memory has no end: %zu of %zu bytes", im->n_bytes, im->capacity);
        uint32_t crc = um_crc32c(0, (char *)im->memory + UM_H5IMAGE_BLOCK_BYTES, im->n_bytes - UM_H5IMAGE_BLOCK_BYTES);
        block_text(im->kind, im->n_bytes, crc, im->memory);
    }
    *bytes = im->memory;
    *n = im->n_bytes;
    return UM_OK;
}

um_status um_h5image_write(um_h5image *im, um_vfs *vfs, const char *path)
{
    const void *bytes = NULL;
    size_t n = 0;
    UM_PASS(um_h5image_finish(im, &bytes, &n));
    return um_vfs_write_whole(vfs, path, bytes, n);
}

void um_h5image_free(um_h5image *im)
{
    if (im == NULL) return;
    quiet();
    if (im->file >= 0) H5Fclose(im->file);
    free(im->memory);
    free(im->what);
    free(im);
}

/* ---- reading ---- */

/* Looks at one object; names what we never write. */
static um_status check_dataset(const um_h5image *im, hid_t set, const char *name)
{
    um_status st = UM_OK;
    const char *bad = NULL;
    hid_t create = H5Dget_create_plist(set), type = H5Dget_type(set), space = H5Dget_space(set);
    if (create < 0 || type < 0 || space < 0) {
        bad = "cannot be described";
    } else if (H5Pget_external_count(create) != 0) {
        bad = "keeps its data in another file";
    } else if (H5Pget_layout(create) == H5D_VIRTUAL) {
        bad = "is made of other files";
    } else if (H5Pget_layout(create) != H5D_CONTIGUOUS || H5Pget_nfilters(create) != 0) {
        bad = "is not stored in one plain piece";
    } else if (H5Tdetect_class(type, H5T_VLEN) != 0 || H5Tdetect_class(type, H5T_REFERENCE) != 0 || H5Tis_variable_str(type) > 0) {
        bad = "has elements of variable length";
    } else {
        /* A shape may promise more than the file holds (a ten-line file has asked for all memory): what is promised must lie inside. */
        hssize_t points = H5Sget_simple_extent_npoints(space);
        size_t size = H5Tget_size(type);
        int rank = H5Sget_simple_extent_ndims(space);
        uint64_t bytes;
        if (rank < 1 || rank > UM_H5IMAGE_MAX_RANK || points < 0 || size == 0 || __builtin_mul_overflow((uint64_t)points, (uint64_t)size, &bytes)) {
            bad = "has a shape that cannot be";
        } else if (bytes > 0) {
            haddr_t at = H5Dget_offset(set);
            if (at == HADDR_UNDEF || bytes > im->n_bytes || at > im->n_bytes - bytes) bad = "reaches beyond the file";
        }
    }
    if (bad != NULL) {
        H5Eclear2(H5E_DEFAULT);
        st = UM_FAIL(UM_DATA, "%s: dataset %s %s", um_quote(im->what), um_quote(name), bad);
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (create >= 0) H5Pclose(create);
    return st;
}

typedef struct walk {
    um_h5image *im;
    um_names *names; /* NULL: check only */
    um_status st;
    int n;
} walk;

static herr_t walk_link(hid_t group, const char *name, const H5L_info_t *info, void *user)
{
    walk *w = user;
    if (++w->n > MAX_OBJECTS) {
        w->st = UM_FAIL(UM_DATA, "%s holds more than %d objects", um_quote(w->im->what), MAX_OBJECTS);
        return 1;
    }
    if (info->type != H5L_TYPE_HARD) {
        w->st = UM_FAIL(UM_DATA, "%s: %s is a link to elsewhere", um_quote(w->im->what), um_quote(name));
        return 1;
    }
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    H5I_type_t type = object >= 0 ? H5Iget_type(object) : H5I_BADID;
    if (type == H5I_DATASET) {
        if (w->names == NULL)
            w->st = check_dataset(w->im, object, name);
        else if (um_names_add(w->names, name) < 0)
            w->st = UM_FAIL(UM_NO_MEMORY, "no memory for names");
    } else if (type != H5I_GROUP) {
        w->st = UM_FAIL(UM_DATA, "%s: %s is neither a dataset nor a group", um_quote(w->im->what), um_quote(name));
    }
    if (object >= 0) H5Oclose(object);
    return w->st == UM_OK ? 0 : 1;
}

static um_status walk_all(um_h5image *im, um_names *names)
{
    walk w = {.im = im, .names = names};
    herr_t r = H5Lvisit(im->file, H5_INDEX_NAME, H5_ITER_INC, walk_link, &w);
    if (w.st != UM_OK) {
        H5Eclear2(H5E_DEFAULT);
        return w.st;
    }
    return r < 0 ? um_h5_fail(UM_DATA, "cannot walk an HDF5 file") : UM_OK;
}

/* The first 512 bytes say what the rest must be. */
static um_status check_block(const uint8_t *p, size_t n, const char *kind, const char *what)
{
    char text[UM_H5IMAGE_BLOCK_BYTES + 1], want[UM_H5IMAGE_BLOCK_BYTES], is[20];
    unsigned long long bytes;
    unsigned crc;
    if (n < UM_H5IMAGE_BLOCK_BYTES || memcmp(p, "unmask-h5 ", 10) != 0) return UM_FAIL(UM_DATA, "%s is not a file made by unmask", um_quote(what));
    memcpy(text, p, UM_H5IMAGE_BLOCK_BYTES);
    text[UM_H5IMAGE_BLOCK_BYTES] = 0;
    if (strncmp(text, "unmask-h5 1\n", 12) != 0) return UM_FAIL(UM_DATA, "%s was made by another version of unmask", um_quote(what));
    if (sscanf(text + 12, "kind %19s\nbytes %19llu\ncrc32c %8x\n", is, &bytes, &crc) != 3) return UM_FAIL(UM_DATA, "%s is damaged: its first lines", um_quote(what));
    if (strcmp(is, kind) != 0) return UM_FAIL(UM_DATA, "%s is a %s file, not a %s file", um_quote(what), um_quote(is), kind);
    if (bytes != n) return UM_FAIL(UM_DATA, "%s is damaged: it has %zu bytes instead of %llu", um_quote(what), n, bytes);
    block_text(kind, n, crc, want);
    if (memcmp(want, p, sizeof want) != 0) return UM_FAIL(UM_DATA, "%s is damaged: its first lines", um_quote(what));
    uint32_t is_crc = um_crc32c(0, p + UM_H5IMAGE_BLOCK_BYTES, n - UM_H5IMAGE_BLOCK_BYTES);
    if (is_crc != crc) return UM_FAIL(UM_DATA, "%s is damaged: its checksum is %08x instead of %08x", um_quote(what), is_crc, crc);
    return UM_OK;
}

/* The core driver copies an image twice, into the property list and into the file; for 255 MB of weights that is the peak of the process. So it is
 * given our one copy each time: it is opened for reading, and ours until um_h5image_free. */
static void *lend_malloc(size_t n, H5FD_file_image_op_t op, void *user)
{
    (void)op;
    const um_h5image *im = user;
    return n == im->n_bytes ? im->memory : NULL;
}

static void *lend_memcpy(void *to, const void *from, size_t n, H5FD_file_image_op_t op, void *user)
{
    (void)op;
    (void)user;
    return to == from ? to : memcpy(to, from, n);
}

static herr_t lend_free(void *p, H5FD_file_image_op_t op, void *user)
{
    (void)p;
    (void)op;
    (void)user;
    return 0;
}

/* Takes over `bytes`, whose block was checked, when it succeeds. */
static um_status parse_checked(void *bytes, size_t n, const char *kind, const char *what, um_h5image **out)
{
    *out = NULL;
    if (end_of_file(bytes, n) != n) return UM_FAIL(UM_DATA, "%s is damaged: its HDF5 part does not end where the file ends", um_quote(what));
    um_h5image *im;
    char name[48];
    UM_PASS(image_alloc(kind, what, &im));
    im->n_bytes = n;
    im->memory = bytes;
    im->finished = true;
    unique_name(name);
    H5FD_file_image_callbacks_t calls = {lend_malloc, lend_memcpy, NULL, lend_free, user_copy, user_free, im};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    bool ok = access >= 0 && H5Pset_fapl_core(access, 1 << 20, 0) >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0;
    ok = ok && H5Pset_file_image_callbacks(access, &calls) >= 0 && H5Pset_file_image(access, bytes, n) >= 0;
    if (ok) im->file = H5Fopen(name, H5F_ACC_RDONLY, access);
    um_status st = im->file >= 0 ? UM_OK : um_h5_fail(UM_DATA, "cannot parse an HDF5 file");
    if (access >= 0) H5Pclose(access);
    if (st == UM_OK) st = walk_all(im, NULL);
    if (st != UM_OK) {
        if (im->file >= 0) H5Fclose(im->file);
        im->file = -1;
        im->memory = NULL; /* still the caller's */
        um_h5image_free(im);
        return um_err_note(st, "cannot use %s", um_quote(what));
    }
    *out = im;
    return UM_OK;
}

um_status um_h5image_parse(const void *bytes, size_t n, const char *kind, const char *what, um_h5image **out)
{
    *out = NULL;
    UM_PASS(check_block(bytes, n, kind, what)); /* before a copy is made */
    void *copy = malloc(n);
    if (copy == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for the %zu bytes of %s", n, um_quote(what));
    memcpy(copy, bytes, n);
    um_status st = parse_checked(copy, n, kind, what, out);
    if (st != UM_OK) free(copy);
    return st;
}

um_status um_h5image_read(um_vfs *vfs, const char *path, const char *kind, size_t max_bytes, um_h5image **out)
{
    void *bytes;
    size_t n;
    *out = NULL;
    UM_PASS(um_vfs_read_whole(vfs, path, max_bytes, &bytes, &n));
    um_status st = check_block(bytes, n, kind, path);
    if (st == UM_OK) st = parse_checked(bytes, n, kind, path, out);
    if (st != UM_OK) free(bytes);
    return st;
}

bool um_h5image_has(um_h5image *im, const char *name)
{
    hid_t set = H5Dopen2(im->file, name, H5P_DEFAULT);
    H5Eclear2(H5E_DEFAULT);
    if (set >= 0) H5Dclose(set);
    return set >= 0;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

um_status um_h5image_list(um_h5image *im, um_names *out)
{
    *out = (um_names){0};
    um_status st = walk_all(im, out);
    if (st != UM_OK) um_names_release(out);
    if (out->n > 0) qsort(out->name, (size_t)out->n, sizeof *out->name, by_bytes);
    return st;
}

um_status um_h5image_shape(um_h5image *im, const char *name, int *rank, hsize_t *dims)
{
    hid_t set = H5Dopen2(im->file, name, H5P_DEFAULT), space = set >= 0 ? H5Dget_space(set) : -1;
    um_status st = UM_OK;
    if (space < 0) {
        H5Eclear2(H5E_DEFAULT);
        st = UM_FAIL(UM_DATA, "%s has no dataset %s", um_quote(im->what), um_quote(name));
    } else {
        *rank = H5Sget_simple_extent_ndims(space);
        if (*rank < 1 || *rank > UM_H5IMAGE_MAX_RANK || H5Sget_simple_extent_dims(space, dims, NULL) < 0)
            st = UM_FAIL(UM_DATA, "%s: dataset %s has %d dimensions", um_quote(im->what), um_quote(name), *rank);
    }
    if (space >= 0) H5Sclose(space);
    if (set >= 0) H5Dclose(set);
    return st;
}

um_status um_h5image_get(um_h5image *im, const char *name, hid_t type, int rank, const hsize_t *dims, void *out)
{
    hsize_t is[UM_H5IMAGE_MAX_RANK];
    int is_rank;
    UM_PASS(um_h5image_shape(im, name, &is_rank, is));
    bool same = is_rank == rank, empty = false;
    for (int i = 0; same && i < rank; i++) {
        same = is[i] == dims[i];
        empty = empty || dims[i] == 0;
    }
    if (!same) return UM_FAIL(UM_DATA, "%s: dataset %s has another shape than expected", um_quote(im->what), um_quote(name));
    hid_t set = H5Dopen2(im->file, name, H5P_DEFAULT), is_type = set >= 0 ? H5Dget_type(set) : -1;
    um_status st = UM_OK;
    if (is_type < 0)
        st = um_h5_fail(UM_DATA, "cannot open a dataset");
    else if (H5Tequal(is_type, type) <= 0)
        st = UM_FAIL(UM_DATA, "%s: dataset %s has another type than expected", um_quote(im->what), um_quote(name));
    else if (!empty && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
        st = um_h5_fail(UM_DATA, "cannot read a dataset");
    if (is_type >= 0) H5Tclose(is_type);
    if (set >= 0) H5Dclose(set);
    return st;
}

um_status um_h5image_get_text(um_h5image *im, const char *name, char *out, size_t size)
{
    hid_t attribute = H5Aexists(im->file, name) > 0 ? H5Aopen(im->file, name, H5P_DEFAULT) : -1, type = -1, space = -1, memory = -1;
    um_status st = UM_OK;
    out[0] = 0;
    if (attribute >= 0) type = H5Aget_type(attribute);
    if (attribute >= 0) space = H5Aget_space(attribute);
    if (type < 0 || space < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 || H5Sget_simple_extent_npoints(space) != 1) {
        H5Eclear2(H5E_DEFAULT);
        st = UM_FAIL(UM_DATA, "%s has no text attribute %s", um_quote(im->what), um_quote(name));
    } else if (H5Tget_size(type) >= size) {
        st = UM_FAIL(UM_DATA, "%s: attribute %s is too long", um_quote(im->what), um_quote(name));
    } else {
        memset(out, 0, size);
        memory = H5Tcopy(H5T_C_S1);
        bool ok = memory >= 0 && H5Tset_size(memory, H5Tget_size(type)) >= 0 && H5Tset_strpad(memory, H5T_STR_NULLPAD) >= 0;
        ok = ok && H5Tset_cset(memory, H5Tget_cset(type)) >= 0 && H5Aread(attribute, memory, out) >= 0;
        if (!ok) st = um_h5_fail(UM_DATA, "cannot read a text attribute");
    }
    if (memory >= 0) H5Tclose(memory);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return st;
}
