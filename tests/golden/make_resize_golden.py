#!/usr/bin/env python3
"""Writes data/resize.csv: checksums of pictures resampled by Pillow (Image.resize, BICUBIC). Needs Pillow, numpy.

Each line: width, height, channels, new width, new height, CRC-32C of the result's bytes. The input is the byte stream of a linear
congruential generator (x = x * 1664525 + 1013904223 mod 2^32, started with 1, top byte of each x), row by row; test_resize.c makes the same.
Every fourth input has each byte pushed to 0 or 255, so that the result overshoots and is clipped.
"""
import os

import numpy as np
import PIL
from PIL import Image

SIZES = [(1920, 1080, 3, 960, 540), (1920, 1080, 3, 633, 356), (240, 180, 3, 480, 360), (641, 363, 3, 320, 181), (64, 48, 1, 21, 15), (17, 5, 3, 33, 5),
         (5, 17, 3, 5, 33), (1, 1, 3, 7, 9), (100, 3, 1, 1, 1), (2, 300, 3, 3, 99), (1001, 40, 3, 500, 20), (33, 33, 3, 33, 33), (1280, 720, 3, 1279, 719)]


def crc32c(data):
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    c = 0xFFFFFFFF
    for b in data:
        c = (c >> 8) ^ table[(c ^ b) & 255]
    return c ^ 0xFFFFFFFF


def stream(n):
    """n bytes of the generator, by doubling: x[i + k] = A_k * x[i] + C_k."""
    x = np.array([(1 * 1664525 + 1013904223) % 2**32], dtype=np.uint64)
    a, c = 1664525, 1013904223
    while len(x) < n:
        x = np.concatenate([x, (x * np.uint64(a) + np.uint64(c)) & np.uint64(0xFFFFFFFF)])
        a, c = a * a % 2**32, (a * c + c) % 2**32
    return (x[:n] >> np.uint64(24)).astype(np.uint8)


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "resize.csv")
    with open(path, "w") as f:
        f.write(f"# Pillow {PIL.__version__}, make_resize_golden.py: width,height,channels,new_width,new_height,crc32c\n")
        for i, (w, h, c, w2, h2) in enumerate(SIZES):
            a = stream(w * h * c).reshape(h, w, c)
            if i % 4 == 3:
                a = np.where(a >= 128, 255, 0).astype(np.uint8)
            image = Image.fromarray(a[:, :, 0] if c == 1 else a)
            # Width first, then height, as one call did up to Pillow 12. Pillow 13 turns the passes round where the height shrinks much more than
            # the width; with one factor for both, which is all the detector asks for, it does not (checked here).
            out = image.resize((w2, h), Image.BICUBIC).resize((w2, h2), Image.BICUBIC)
            if abs(w2 / w - h2 / h) < 0.02 and out.tobytes() != image.resize((w2, h2), Image.BICUBIC).tobytes():
                raise SystemExit(f"{w}x{h} to {w2}x{h2}: one call differs from two passes")
            f.write(f"{w},{h},{c},{w2},{h2},{crc32c(out.tobytes()):08x}\n")


if __name__ == "__main__":
    main()
