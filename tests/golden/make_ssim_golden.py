#!/usr/bin/env python3
"""Makes tests/golden/data/ssim.bin: difference masks by scikit-image and OpenCV, which test_ssim.c compares ours with.

usage: make_ssim_golden.py [OUT]        needs numpy, scikit-image (0.26), opencv-python-headless (4.11)

The pictures are made by a formula (picture() here and in test_ssim.c), so only masks are stored: for each case "w h kind" as three
little-endian u16, then w * h bytes. Where the similarity is negative the usual script wraps around at 256; here, as in ours, it ends at 255.
"""
import os
import struct
import sys

import cv2
import numpy as np
from skimage.metrics import structural_similarity

CASES = [(7, 7, 0), (7, 7, 1), (8, 31, 0), (33, 29, 0), (33, 29, 1), (29, 7, 2), (64, 48, 0), (40, 40, 1), (40, 24, 2), (24, 20, 3), (24, 20, 4), (24, 20, 5), (35, 22, 6)]


def scatter(x, y, c, seed):
    """A byte that looks random."""
    v = (x * 73856093 ^ y * 19349663 ^ c * 83492791 ^ seed * 2654435761) & 0xFFFFFFFF
    v ^= v >> 15
    v = v * 0x2C1B3C6D & 0xFFFFFFFF
    return v >> 13 & 255


def picture(w, h, kind, second):
    """Kinds: 0 a small change everywhere, 1 noise against other noise, 2 a changed patch, 3 equal, 4 black against white, 5 a negative, 6 nearly flat."""
    p = np.zeros((h, w, 3), np.uint8)
    for y in range(h):
        for x in range(w):
            for c in range(3):
                smooth = (x * 5 + y * 3 + c * 40 + (x * y) // 16) & 255
                if kind == 0:
                    v = smooth + (scatter(x, y, c, 1) % 9 if second else 0)
                elif kind == 1:
                    v = scatter(x, y, c, 2 if second else 1)
                elif kind == 2:
                    v = smooth // 2 + scatter(x, y, c, 3) % 32 + (60 if second and 8 <= x < 20 and 2 <= y < 12 else 0)
                elif kind == 3:
                    v = smooth
                elif kind == 4:
                    v = 255 if second else 0
                elif kind == 5:
                    v = 255 - scatter(x, y, c, 4) if second else scatter(x, y, c, 4)
                else:
                    v = 100 + c + (scatter(x, y, c, 5) % 2 if second else 0)
                p[y, x, c] = min(v, 255)
    return p


def mask(a, b):
    """a and b in OpenCV's order of channels."""
    _, s = structural_similarity(a, b, channel_axis=2, full=True)
    levels = np.clip((1 - s) * 255, 0, 255).astype(np.uint8)
    return cv2.cvtColor(levels, cv2.COLOR_BGR2GRAY)


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "ssim.bin")
    with open(out, "wb") as f:
        for w, h, kind in CASES:
            a, b = picture(w, h, kind, False), picture(w, h, kind, True)
            f.write(struct.pack("<3H", w, h, kind))
            f.write(mask(np.ascontiguousarray(a[..., ::-1]), np.ascontiguousarray(b[..., ::-1])).tobytes())


if __name__ == "__main__":
    main()
