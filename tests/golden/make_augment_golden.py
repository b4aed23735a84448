#!/usr/bin/env python3
"""Makes tests/golden/data/augment.tsv: CRC-32 of what OpenCV, SciPy and albumentations 0.4.6 make of the augmentations' single operations, which test_augment.c compares ours with.
compare_augment.py does the same on random sizes, pictures and numbers.

usage: make_augment_golden.py [--albumentations DIR] [OUT]      needs opencv-python 4.10, numpy, scipy; DIR as in compare_augment.py

The pictures are those of make_resize_golden.py. Lines: operation, width, height, how many numbers, the numbers, CRC-32 (zlib's) of the result.
"""
import os
import sys
import zlib

import cv2
import numpy as np

from compare_augment import LANES, Restated, ambiguous, draw, load, reference
from make_resize_golden import picture


def main():
    cv2.ipp.setUseIPP(False)
    if not cv2.__version__.startswith("4.10."):
        sys.exit("OpenCV 4.10 is wanted")
    args, F = sys.argv[1:], Restated
    if args[:1] == ["--albumentations"]:
        F, args = load(args[1]), args[2:]
    out = args[0] if args else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "augment.tsv")
    rng, count = np.random.default_rng(5), {}
    with open(out, "w", encoding="ascii") as f:
        while min(count.values(), default=0) < 20 or len(count) < 12:
            w, h = (int(rng.integers(1, 160)) for _ in range(2))
            name, v = draw(rng, w, h)
            w = -(-w // LANES) * LANES if name == "hsv" else w
            p = picture(w, h, 3)
            if count.get(name, 0) == 30 or (name == "pca" and (w * h < 100 or ambiguous(p))):
                continue
            count[name] = count.get(name, 0) + 1
            made = reference(F, name, p, v)
            numbers = "\t".join(repr(float(x)) for x in v)
            f.write("\t".join([name, str(w), str(h), str(len(v)), *([numbers] if v else []), f"{zlib.crc32(np.ascontiguousarray(made).tobytes()):08x}"]) + "\n")


if __name__ == "__main__":
    main()
