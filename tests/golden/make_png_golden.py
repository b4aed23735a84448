#!/usr/bin/env python3
"""Makes tests/golden/data/png: small PNGs of all kinds and pixels.tsv with what Pillow reads from them, for test_codec.c.

usage: make_png_golden.py [FOLDER]      needs Pillow, numpy

Lines of pixels.tsv: file, width, height, CRC-32 of the RGB samples. Alpha is dropped, palettes are expanded, of 16 bits the upper eight are kept. Pillow cannot write interlaced or 16-bit colour PNGs: those are put together here.
"""
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image

W, H = 13, 11


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def by_hand(samples, colour_type, depth, interlaced):
    """samples: (H, W, C), big-endian bytes of them are written, rows unfiltered."""
    h, w = samples.shape[:2]
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for y0, x0, dy, dx in passes:
        part = samples[y0::dy, x0::dx]
        if part.shape[0] and part.shape[1]:
            raw += b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in part)
    head = struct.pack(">IIBBBBB", w, h, depth, colour_type, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "png")
    os.makedirs(out, exist_ok=True)
    y, x = np.mgrid[0:H, 0:W]
    rgb = np.stack([x * 19, y * 23, (x * y) * 2 % 256], axis=2).astype(np.uint8)
    grey = (x * 11 + y * 9).astype(np.uint8)
    alpha = (255 - x * 19).astype(np.uint8)
    wide = rgb.astype(np.uint16) * 257 ^ 3
    colour = Image.fromarray(rgb)
    colour.save(os.path.join(out, "rgb.png"))
    Image.fromarray(np.dstack([rgb, alpha])).save(os.path.join(out, "rgba.png"))
    Image.fromarray(grey).save(os.path.join(out, "grey.png"))
    Image.fromarray(np.dstack([grey, alpha])).save(os.path.join(out, "grey_alpha.png"))
    Image.fromarray(grey > 100).save(os.path.join(out, "one_bit.png"))
    colour.quantize(16).save(os.path.join(out, "palette4.png"), bits=4)
    colour.quantize(100).save(os.path.join(out, "palette8.png"), transparency=3)
    for name, data in (("rgb16", by_hand(wide, 2, 16, False)), ("grey16", by_hand(wide[..., :1], 0, 16, False)), ("rgb_interlaced", by_hand(rgb, 2, 8, True)),
                       ("grey_interlaced", by_hand(grey[..., None], 0, 8, True)), ("rgb_interlaced_thin", by_hand(rgb[:, :1], 2, 8, True))):
        with open(os.path.join(out, name + ".png"), "wb") as f:
            f.write(data)
    with open(os.path.join(out, "pixels.tsv"), "w", encoding="ascii") as f:
        for name in sorted(os.listdir(out)):
            if not name.endswith(".png"):
                continue
            image = Image.open(os.path.join(out, name))
            pixels = np.array(image)
            if pixels.dtype in (np.uint16, np.int32):
                pixels = np.dstack([(pixels >> 8).astype(np.uint8)] * 3)
            else:
                pixels = np.array(image.convert("RGB"))
            f.write(f"{name}\t{pixels.shape[1]}\t{pixels.shape[0]}\t{zlib.crc32(pixels.tobytes()):08x}\n")


if __name__ == "__main__":
    main()
