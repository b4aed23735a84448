#include "io/jpeg_pass.h"

#include <stdlib.h>
#include <turbojpeg.h>

struct um_jpeg_pass {
    tjhandle encode, decode;
    unsigned char *bytes;
    unsigned long room;
};

um_status um_jpeg_pass_new(um_jpeg_pass **out)
{
    um_jpeg_pass *p = calloc(1, sizeof *p);
    *out = NULL;
    if (p != NULL) {
        p->encode = tjInitCompress();
        p->decode = tjInitDecompress();
    }
    if (p == NULL || p->encode == NULL || p->decode == NULL) {
        um_jpeg_pass_free(p);
        return UM_FAIL(UM_NO_MEMORY, "no memory for JPEG");
    }
    *out = p;
    return UM_OK;
}

void um_jpeg_pass_free(um_jpeg_pass *p)
{
    if (p == NULL) return;
    if (p->encode != NULL) tjDestroy(p->encode);
    if (p->decode != NULL) tjDestroy(p->decode);
    free(p->bytes);
    free(p);
}

um_status um_jpeg_pass_run(void *self, int quality, const um_image *in, const um_image *out)
{
    um_jpeg_pass *p = self;
    unsigned long room = tjBufSize(in->width_px, in->height_px, TJSAMP_420), n;
    if (room > p->room) {
        free(p->bytes);
        p->bytes = malloc(room);
        p->room = p->bytes != NULL ? room : 0;
        if (p->bytes == NULL) return UM_FAIL(UM_NO_MEMORY, "no memory for a JPEG of %lu bytes", room);
    }
    n = p->room;
    if (tjCompress2(p->encode, in->data, in->width_px, (int)in->stride, in->height_px, TJPF_BGR, &p->bytes, &n, TJSAMP_420, quality, TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT) != 0)
        return UM_FAIL(UM_INTERNAL, "cannot encode a JPEG: %s", tjGetErrorStr2(p->encode));
    if (tjDecompress2(p->decode, p->bytes, n, out->data, out->width_px, (int)out->stride, out->height_px, TJPF_BGR, TJFLAG_ACCURATEDCT) != 0)
        return UM_FAIL(UM_INTERNAL, "cannot decode a JPEG of our own: %s", tjGetErrorStr2(p->decode));
    return UM_OK;
}
