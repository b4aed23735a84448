#!/usr/bin/env python3
"""Makes tests/golden/data/cvresize.tsv: CRC-32 of what OpenCV's INTER_AREA, INTER_CUBIC and INTER_LINEAR make, and the reference's letterbox with them, which
test_cvresize.c compares ours with. compare_cvresize.py does the same on random sizes and pictures.

usage: make_cvresize_golden.py [OUT]      needs opencv-python 4.10, numpy

OpenCV is asked for its own arithmetic (cv2.ipp.setUseIPP(False)). With Intel's IPP, which the x86 wheels hold, INTER_CUBIC differs by 1 in about 4 % of the
numbers, and from one instruction set to the next: docs/numerics.md. INTER_AREA is the same either way.

The pictures are those of make_resize_golden.py. Lines: area|cubic|linear, width, height, new width, new height, CRC-32 (zlib's) of the result; or letter, width, height, size, size, CRC-32.
"""
import os
import sys
import zlib

import cv2
import numpy as np

from make_resize_golden import picture

KIND = {"area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR}


def isotropically_resize_image(img, size, interpolation_down=cv2.INTER_AREA, interpolation_up=cv2.INTER_CUBIC):
    """The reference's rule; a side of nothing becomes 1 as ours does (there it is an error)."""
    h, w = img.shape[:2]
    if max(w, h) == size:
        return img
    if w > h:
        scale = size / w
        h = h * scale
        w = size
    else:
        scale = size / h
        w = w * scale
        h = size
    return cv2.resize(img, (max(1, int(w)), max(1, int(h))), interpolation=interpolation_up if scale > 1 else interpolation_down)


def put_to_center(img, size):
    out = np.zeros((size, size, 3), np.uint8)
    y, x = (size - img.shape[0]) // 2, (size - img.shape[1]) // 2
    out[y:y + img.shape[0], x:x + img.shape[1]] = img
    return out


def cases():
    sizes = ((64, 48), (101, 77), (33, 200), (250, 31), (7, 5), (120, 121))
    for w, h in sizes:
        for to in ((w // 2, h // 2), (w - 1, h - 1), (w, h - 1), (w - 1, h), (w * 2 // 3, h * 3 // 5), (w // 3, h), (1, 1), (1, h), (w, 1), (w, h), (2, 3), (w // 5 + 1, h // 7 + 1)):
            if min(to) > 0:
                yield "area", w, h, *to
        for to in ((w + 1, h + 1), (w * 2, h * 2), (w * 3, h * 3), (w * 7 + 3, h * 4 + 1), (w, h + 1), (w + 1, h), (w, h), (w // 2 + 1, h * 2), (w // 3 + 1, h // 3 + 1), (1, 1), (380, 380)):
            yield "cubic", w, h, *to
    for fx in range(1, 6):
        for fy in range(1, 6):
            for w, h in ((1, 1), (5, 4), (33, 7), (49, 3)):
                yield "area", w * fx, h * fy, w, h
    for n in range(2, 30):  # 1 / (1 / n) is not always n
        yield "area", 49 * n, n, 49, 1
    for w in range(1, 5):
        for h in range(1, 5):
            yield "cubic", w, h, 9, 11
            yield "cubic", w, h, w + 1, h * 40
    yield "area", 1500, 3, 7, 2
    yield "area", 3, 1500, 2, 380
    for w, h in ((380, 380), (380, 200), (200, 380), (379, 380), (381, 379), (500, 400), (400, 500), (760, 760), (760, 501), (1140, 700), (300, 300), (299, 120), (61, 240), (20, 31), (1, 1), (2, 379),
                 (900, 2), (2, 900), (1217, 1), (1, 761)):
        yield "letter", w, h, 380, 380
    for w, h in sizes:
        for to in ((w * 2, h * 2), (w // 2, h // 2), (w + 1, h + 1), (w - 1, h - 1), (w * 3, h * 3), (w // 3, h // 3), (w * 7 + 3, h // 4 + 1), (w, h + 1), (w + 1, h), (1, 1), (w, h), (380, 380)):
            if min(to) > 0:
                yield "linear", w, h, *to
    for w in range(1, 5):
        for h in range(1, 5):
            yield "linear", w, h, 9, 11
    for w, h in ((2, 2), (50, 60), (760, 10)):  # halves take the mean
        yield "linear", w, h, w // 2, h // 2
    for w, h in ((50, 60), (300, 224), (224, 10), (225, 224)):
        yield "letter", w, h, 224, 224


def main():
    cv2.ipp.setUseIPP(False)
    if not cv2.__version__.startswith("4.10."):
        sys.exit("OpenCV 4.10 is wanted")
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "cvresize.tsv")
    with open(out, "w", encoding="ascii") as f:
        for kind, w, h, to_w, to_h in cases():
            p = picture(w, h, 3)
            made = put_to_center(isotropically_resize_image(p, to_w), to_w) if kind == "letter" else cv2.resize(p, (to_w, to_h), interpolation=KIND[kind])
            f.write(f"{kind}\t{w}\t{h}\t{to_w}\t{to_h}\t{zlib.crc32(np.ascontiguousarray(made).tobytes()):08x}\n")


if __name__ == "__main__":
    main()
