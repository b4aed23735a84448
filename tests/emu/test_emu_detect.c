/* Face detection on the emulated GPU (um_gpu_detector_ops) against the processor's (src/models/mtcnn.h): the same faces, boxes, landmarks and probabilities, for many frames at once and for one.
 *
 * usage: test_emu_detect MTCNN.h5 WIDTH HEIGHT PICTURE...      pictures are brought to the size */
#include "io/codec.h"
#include "io/vfs.h"
#include "io/weights.h"
#include "src/image/resize.h"
#include "src/nn/cuda/detect.h"
#include "src/nn/cuda/device.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MAX_FRAMES = 8 };

static um_image read_picture(const char *path, int width_px, int height_px)
{
    um_codec *codec = um_codec_new();
    um_resize *r = um_resize_new();
    um_image picture = {0}, out = {0};
    void *bytes = NULL;
    size_t n = 0;
    CHECK_OK(um_vfs_read_whole(um_vfs_real(), path, 1 << 26, &bytes, &n));
    CHECK_OK(um_codec_decode(codec, bytes, n, 3, 100000000, &picture));
    CHECK_OK(um_image_new(width_px, height_px, 3, &out));
    CHECK_OK(um_resize_bicubic(r, &picture, &out));
    um_image_free(&picture);
    um_resize_free(r);
    um_codec_free(codec);
    free(bytes);
    return out;
}

static double far_of(const um_face *a, const um_face *b)
{
    double far = 0;
    for (int k = 0; k < 4; k++) far = fmax(far, fabs((double)a->box[k] - (double)b->box[k]));
    for (int k = 0; k < 10; k++) far = fmax(far, fabs((double)a->landmarks[k / 2][k % 2] - (double)b->landmarks[k / 2][k % 2]));
    return far;
}

int main(int argc, char **argv)
{
    um_mtcnn_weights w = {0};
    um_mtcnn *net = NULL;
    um_gpu *gpu = NULL;
    um_gpu_detector *d = NULL;
    char fingerprint[17];
    if (argc < 5) return 2;
    int width_px = atoi(argv[2]), height_px = atoi(argv[3]), n = argc - 4 < MAX_FRAMES ? argc - 4 : MAX_FRAMES, found = 0;
    um_image image[MAX_FRAMES];
    const uint8_t *frame[MAX_FRAMES];
    um_faces faces[MAX_FRAMES] = {0}, alone = {0}, want = {0};
    bool over[MAX_FRAMES];
    double far = 0, off = 0;
    const um_thresholds t = {0.65, 0.75, 0.75};
    CHECK_OK(um_weights_read_mtcnn(um_vfs_real(), argv[1], &w, fingerprint));
    CHECK_OK(um_gpu_open(0, &gpu));
    CHECK_OK(um_mtcnn_new(&w, &net));
    CHECK_OK(um_gpu_mtcnn.open(&w, width_px, height_px, n, &t, &d));
    if (test_failures > 0) return TEST_END();
    for (int i = 0; i < n; i++) {
        image[i] = read_picture(argv[4 + i], width_px, height_px);
        frame[i] = image[i].data;
        CHECK_INT(image[i].stride, width_px * 3);
    }
    CHECK_OK(um_gpu_mtcnn.run(d, frame, n, faces, over));
    for (int i = 0; i < n; i++) {
        CHECK_OK(um_mtcnn_detect(net, &image[i], &t, &want));
        CHECK_INT(over[i], false);
        CHECK_INT(faces[i].n, want.n);
        found += want.n;
        for (int j = 0; j < want.n && j < faces[i].n; j++) {
            far = fmax(far, far_of(&faces[i].face[j], &want.face[j]));
            off = fmax(off, fabs((double)faces[i].face[j].probability - (double)want.face[j].probability));
        }
    }
    /* A frame's faces do not depend on its company, nor on its place. */
    CHECK_OK(um_gpu_mtcnn.run(d, &frame[n - 1], 1, &alone, over));
    CHECK_INT(alone.n, faces[n - 1].n);
    CHECK(alone.n != faces[n - 1].n || memcmp(alone.face, faces[n - 1].face, (size_t)alone.n * sizeof *alone.face) == 0);
    printf("%d pictures of %dx%d, %d faces: coordinates off by at most %.1e px, probabilities by %.1e; %.1f MB\n", n, width_px, height_px, found, far, off, (double)um_gpu_mtcnn.bytes(d) / 1e6);
    CHECK(found > 0);
    CHECK(far <= 1e-2);
    CHECK(off <= 1e-5);
    um_gpu_mtcnn.close(d);
    um_mtcnn_free(net);
    um_mtcnn_weights_release(&w);
    for (int i = 0; i < n; i++) {
        um_image_free(&image[i]);
        um_faces_release(&faces[i]);
    }
    um_faces_release(&alone);
    um_faces_release(&want);
    um_gpu_close();
    return TEST_END();
}
