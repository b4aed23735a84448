#include "src/image/image.h"

#include <stdlib.h>
#include <string.h>

um_status um_image_new(int width_px, int height_px, int channels, um_image *out)
{
    *out = (um_image){0};
    if (width_px < 1 || height_px < 1 || width_px > UM_IMAGE_MAX_SIDE || height_px > UM_IMAGE_MAX_SIDE)
        return UM_FAIL(UM_TOO_LARGE, "a picture of %dx%d is outside 1..%d a side", width_px, height_px, UM_IMAGE_MAX_SIDE);
    size_t stride = (size_t)width_px * (size_t)channels, bytes = stride * (size_t)height_px;
    uint8_t *p = malloc(bytes);
    if (p == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a picture of %dx%d", width_px, height_px);
    *out = (um_image){.data = p, .width_px = width_px, .height_px = height_px, .channels = channels, .stride = stride};
    return UM_OK;
}

void um_image_free(um_image *img)
{
    free(img->data);
    *img = (um_image){0};
}

um_image um_image_crop(const um_image *img, um_rect r)
{
    um_image v = *img;
    v.data += (size_t)r.y0 * img->stride + (size_t)r.x0 * (size_t)img->channels;
    v.width_px = r.x1 - r.x0;
    v.height_px = r.y1 - r.y0;
    return v;
}

static void copy_rows(const um_image *img, um_image *out)
{
    for (int y = 0; y < img->height_px; y++)
        memcpy(out->data + (size_t)y * out->stride, img->data + (size_t)y * img->stride, out->stride);
}

um_status um_image_copy(const um_image *img, um_image *out)
{
    UM_PASS(um_image_new(img->width_px, img->height_px, img->channels, out));
    copy_rows(img, out);
    return UM_OK;
}

um_status um_image_fit(um_image *kept, int width_px, int height_px, int channels)
{
    if (kept->data != NULL && kept->width_px == width_px && kept->height_px == height_px && kept->channels == channels) return UM_OK;
    um_image_free(kept);
    return um_image_new(width_px, height_px, channels, kept);
}

um_status um_image_keep(um_image *kept, const um_image *img)
{
    UM_PASS(um_image_fit(kept, img->width_px, img->height_px, img->channels));
    copy_rows(img, kept);
    return UM_OK;
}
