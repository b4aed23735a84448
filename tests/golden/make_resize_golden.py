#!/usr/bin/env python3
"""Makes tests/golden/data/resize.tsv: CRC-32 of what Pillow's bicubic resize makes, which test_resize.c compares ours with.

usage: make_resize_golden.py [OUT]      needs Pillow (10.2, which facenet-pytorch 2.6 asks for; 12.0 gives the same), numpy

Pillow 13.0 resamples columns first for some odd pairs of sizes (33x200 to 16x100; none of the detector's usual frames), and its bytes differ
there in rounding. Ours resamples rows first always, as all before it.

The pictures are made by a formula (picture() here and in test_resize.c). Lines: channels, width, height, new width, new height, CRC-32 (zlib's) of the result.
"""
import os
import sys
import zlib

import numpy as np
import PIL
from PIL import Image


def picture(w, h, channels):
    """A byte that looks random in the upper part, waves of hard edges below: rounding and clamping both happen."""
    y, x, c = np.meshgrid(np.arange(h, dtype=np.uint64), np.arange(w, dtype=np.uint64), np.arange(channels, dtype=np.uint64), indexing="ij")
    m = np.uint64(0xFFFFFFFF)
    v = (x * np.uint64(73856093) ^ y * np.uint64(19349663) ^ c * np.uint64(83492791)) & m
    v ^= v >> np.uint64(15)
    v = v * np.uint64(0x2C1B3C6D) & m
    noise = v >> np.uint64(13) & np.uint64(255)
    edges = np.where((x // np.uint64(3) + y // np.uint64(2) + c) % np.uint64(3) == 0, 255, 0).astype(np.uint64)
    return np.where(y * np.uint64(2) < np.uint64(h), noise, edges).astype(np.uint8)


def cases():
    for channels in (1, 3):
        for w, h in ((64, 48), (101, 77), (33, 200), (250, 31)):
            yield channels, w, h, w // 2, h // 2
            yield channels, w, h, max(1, int(w * 0.33)), max(1, int(h * 0.33))
            yield channels, w, h, w * 2, h * 2
            yield channels, w, h, w * 2 + 1, h // 3 + 1
            yield channels, w, h, w // 5 + 1, h * 2 - 1
            yield channels, w, h, w, h + 7
            yield channels, w, h, w - 5, h
            yield channels, w, h, w, h
            yield channels, w, h, 1, 1
        for w in range(1, 6):
            for h in range(1, 6):
                yield channels, w, h, 2 * w, 2 * h
                yield channels, w, h, max(1, w // 2), max(1, h // 2)
                yield channels, w, h, 7, 3
        yield channels, 1, 1, 40, 30
        yield channels, 640, 3, 37, 300


def main():
    if int(PIL.__version__.split(".")[0]) >= 13:
        sys.exit("Pillow before 13 is wanted: see above")
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "resize.tsv")
    with open(out, "w", encoding="ascii") as f:
        for channels, w, h, to_w, to_h in cases():
            p = picture(w, h, channels)
            image = Image.fromarray(p if channels == 3 else p[..., 0])
            crc = zlib.crc32(image.resize((to_w, to_h), Image.BICUBIC).tobytes())
            f.write(f"{channels}\t{w}\t{h}\t{to_w}\t{to_h}\t{crc:08x}\n")


if __name__ == "__main__":
    main()
