/* Our side of bench_ssim.py: masks of pairs of pictures in a loop. usage: bench_ssim PAIRS OUT ROUNDS
 * PAIRS: n, width, height as little-endian u32, then for each pair two RGB pictures. Writes all masks to OUT once, then for each "go" line on stdin runs all pairs ROUNDS times and prints the seconds of one pass over them. */
#include "src/core/clock.h"
#include "src/image/ssim.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    uint32_t head[3];
    FILE *f = argc == 4 ? fopen(argv[1], "rb") : NULL, *out = f != NULL ? fopen(argv[2], "wb") : NULL;
    um_ssim *s = um_ssim_new();
    if (out == NULL || s == NULL || fread(head, sizeof head, 1, f) != 1) {
        fprintf(stderr, "usage: bench_ssim PAIRS OUT ROUNDS\n");
        return 2;
    }
    int n = (int)head[0], w = (int)head[1], h = (int)head[2], rounds = atoi(argv[3]);
    size_t bytes = (size_t)w * (size_t)h * 3;
    uint8_t *pixels = malloc(2 * (size_t)n * bytes);
    um_image mask;
    if (pixels == NULL || fread(pixels, bytes, 2 * (size_t)n, f) != 2 * (size_t)n || um_image_new(w, h, 1, &mask) != UM_OK) return 1;
    fclose(f);
    char line[64];
    for (bool first = true; first || fgets(line, sizeof line, stdin) != NULL; first = false) {
        double start = um_clock_s();
        for (int r = 0; r < (first ? 1 : rounds); r++)
            for (int i = 0; i < n; i++) {
                um_image a = {pixels + 2 * (size_t)i * bytes, w, h, 3, (size_t)w * 3}, b = a;
                b.data += bytes;
                if (um_ssim_mask(s, &a, &b, &mask) != UM_OK) {
                    fprintf(stderr, "%s\n", um_err_text());
                    return 1;
                }
                if (first) fwrite(mask.data, 1, bytes / 3, out);
            }
        if (first)
            fclose(out);
        else
            printf("%.9f\n", (um_clock_s() - start) / rounds);
        if (first) puts("ready");
        fflush(stdout);
    }
    um_image_free(&mask);
    um_ssim_free(s);
    free(pixels);
    return 0;
}
