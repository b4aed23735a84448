#!/usr/bin/env python3
"""Makes tests/golden/data/cvresize.tsv: CRC-32 of what OpenCV's resize makes, which test_cvresize.c compares ours with.

usage: make_cvresize_golden.py [OUT] [--random N --seed S]      needs opencv-python-headless 4.10, numpy

Intel's IPP is switched off: with it INTER_CUBIC is another program (it differs by 1 in about 5 % of the values), which OpenCV on other processors does
not have. --random N writes N cases of random sizes instead of the fixed ones, for `test_cvresize OUT`. The pictures are make_resize_golden.py's.
Lines: area, cubic or letterbox; width, height, new width, new height, CRC-32 (zlib's) of the result."""
import argparse
import os
import random
import sys
import zlib

import cv2
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from make_resize_golden import picture  # noqa: E402

cv2.ipp.setUseIPP(False)


def isotropically_resize_image(img, size):
    """The reference's (pipeline: crops to the network)."""
    h, w = img.shape[:2]
    if max(w, h) == size:
        return img
    if w > h:
        scale = size / w
        h, w = h * scale, size
    else:
        scale = size / h
        w, h = w * scale, size
    return cv2.resize(img, (max(1, int(w)), max(1, int(h))), interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)


def letterbox(img, size):
    img = isotropically_resize_image(img, size)
    out = np.zeros((size, size, 3), np.uint8)
    x, y = (size - img.shape[1]) // 2, (size - img.shape[0]) // 2
    out[y:y + img.shape[0], x:x + img.shape[1]] = img
    return out


def cases():
    for w, h in ((64, 48), (101, 77), (33, 200), (250, 31), (380, 380)):
        yield "area", w, h, w // 2, h // 2
        yield "area", w, h, max(1, w // 3), max(1, h // 2)
        yield "area", w, h, w - 1, h
        yield "area", w, h, w, h - 1
        yield "area", w, h, max(1, int(w * 0.77)), max(1, int(h * 0.77))
        yield "area", w, h, 1, 1
        yield "cubic", w, h, w + 1, h + 1
        yield "cubic", w, h, int(w * 1.37), int(h * 1.37)
        yield "cubic", w, h, 3 * w, 2 * h
    for f in (2, 3, 4, 5, 8):
        yield "area", 40 * f, 30 * f, 40, 30
        yield "area", 40 * f, 60, 40, 30
    for w, h in ((1, 1), (1, 9), (2, 3), (5, 1)):
        yield "cubic", w, h, 40, 37
    for w, h in ((380, 380), (380, 200), (111, 380), (381, 379), (190, 95), (760, 760), (760, 570), (300, 420), (97, 83), (20, 26), (600, 999), (1000, 2), (1, 700), (379, 300)):
        yield "letterbox", w, h, 380, 380
        yield "letterbox", w, h, 128, 128


def random_cases(n, seed):
    r = random.Random(seed)
    for _ in range(n):
        w, h = r.randint(1, 900), r.randint(1, 900)
        kind = r.choice(("area", "cubic", "letterbox", "letterbox"))
        if kind == "area":
            yield kind, w, h, r.randint(1, w), r.randint(1, h)
        elif kind == "cubic":
            yield kind, w, h, r.randint(1, 600), r.randint(1, 600)
        else:
            size = r.choice((380, 380, 224, r.randint(8, 500)))
            yield kind, w, h, size, size


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("out", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "cvresize.tsv"))
    a.add_argument("--random", type=int, default=0)
    a.add_argument("--seed", type=int, default=1)
    a = a.parse_args()
    with open(a.out, "w") as f:
        for kind, w, h, to_w, to_h in random_cases(a.random, a.seed) if a.random else cases():
            img = picture(w, h, 3)
            if kind == "letterbox":
                out = letterbox(img, to_w)
            else:
                out = cv2.resize(img, (to_w, to_h), interpolation=cv2.INTER_AREA if kind == "area" else cv2.INTER_CUBIC)
            f.write(f"{kind}\t{w}\t{h}\t{to_w}\t{to_h}\t{zlib.crc32(out.tobytes()):08x}\n")
    print(f"OpenCV {cv2.__version__}: wrote {a.out}")


if __name__ == "__main__":
    main()
