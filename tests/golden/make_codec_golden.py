#!/usr/bin/env python3
"""make_codec_golden.py REPOSITORY: JPEGs of the usual kinds with what OpenCV and Pillow see in them, and bad pictures with their status.

Writes tests/fuzz/corpus/codec/* (the pictures; the fuzzer starts from them, too) and tests/golden/data/codec.tsv: name, expected status, width,
height, CRC-32 of the RGB bytes. Both peers must agree on a picture that has pixels. Needs numpy, opencv-python-headless, Pillow.
"""
import io
import os
import struct
import sys
import zlib

import cv2
import numpy as np
from PIL import Image

W, H = 13, 9
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(extra=(), width=W, height=H, colour=2):
    """Samples without filter, in two pieces, with chunks before them and any size claimed."""
    body = b"".join(b"\0" + row.tobytes() for row in picture())
    packed = zlib.compress(body, 9)
    half = len(packed) // 2
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)), *extra, (b"IDAT", packed[:half]), (b"IDAT", packed[half:]), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(k, d) for k, d in chunks)


def picture():
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([x * 19, y * 27, (x * y * 5) % 256], axis=2).astype(np.uint8)


def saved(kind, image=None, mode=None, **options):
    f = io.BytesIO()
    p = Image.fromarray(picture() if image is None else image)
    (p.convert(mode) if mode else p).save(f, kind, **options)
    return f.getvalue()


def main(root):
    files = {}
    files["png_pillow"] = ("OK", saved("PNG"))
    files["png_text_gamma"] = ("OK", png(extra=[(b"gAMA", struct.pack(">I", 45455)), (b"tEXt", b"Title\0x")]))
    for name, options in {"444": {"subsampling": 0}, "420": {"subsampling": 2}, "422": {"subsampling": 1}, "progressive": {"progressive": True}}.items():
        files[f"jpeg_{name}"] = ("OK", saved("JPEG", quality=90, **options))
    files["jpeg_grey"] = ("OK", saved("JPEG", mode="L", quality=80))
    exif = Image.Exif()
    exif[0x0112] = 6
    files["jpeg_exif_rotated"] = ("OK", saved("JPEG", quality=90, exif=exif))
    raw = b"UMRW" + struct.pack("<HHB3x", W, H, 3) + picture().tobytes()

    whole, jpeg = files["png_pillow"][1], files["jpeg_420"][1]
    files["bad_cmyk"] = ("UNSUPPORTED_CODEC", saved("JPEG", mode="CMYK", quality=80))
    files["bad_gif"] = ("UNSUPPORTED_FORMAT", saved("GIF"))
    files["bad_empty"] = ("UNSUPPORTED_FORMAT", b"")
    files["bad_png_header_bomb"] = ("TOO_LARGE", png(width=30000, height=30000))
    files["bad_png_wide"] = ("TOO_LARGE", png(width=2000000, height=1))
    files["bad_png_no_width"] = ("CORRUPT", png(width=0))
    files["bad_png_more_rows"] = ("CORRUPT", png(height=H + 4))
    files["bad_png_no_palette"] = ("CORRUPT", png(colour=3))
    files["bad_png_checksum"] = ("CORRUPT", whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    # 40 MB of zeros as a comment: what a reader would unpack before it sees a pixel.
    files["bad_png_text_bomb"] = ("TOO_LARGE", png(extra=[(b"zTXt", b"a\0\0" + zlib.compress(bytes(40 << 20), 9))]))
    files["bad_png_cut"] = ("CORRUPT", whole[:len(whole) // 2])
    files["bad_png_no_end"] = ("CORRUPT", whole[:-12])
    # The data before the last checksum are sound for the inflater, only their checksum tells.
    files["bad_png_last_checksum"] = ("CORRUPT", whole[:-16] + b"\0\0\0\0" + whole[-12:])
    files["bad_jpeg_cut"] = ("CORRUPT", jpeg[:-30])
    files["bad_jpeg_tables_only"] = ("CORRUPT", jpeg[:20] + b"\xff\xd9")
    files["bad_jpeg_head"] = ("CORRUPT", jpeg[:40])
    files["bad_raw_short"] = ("CORRUPT", raw[:-1])
    files["bad_raw_channels"] = ("CORRUPT", b"UMRW" + struct.pack("<HHB3x", W, H, 2) + bytes(W * H * 2))
    files["bad_raw_huge"] = ("TOO_LARGE", b"UMRW" + struct.pack("<HHB3x", 32000, 32000, 3))

    corpus = os.path.join(root, "tests", "fuzz", "corpus", "codec")
    os.makedirs(corpus, exist_ok=True)
    with open(os.path.join(root, "tests", "golden", "data", "codec.tsv"), "w", encoding="ascii") as table:
        for name in sorted(files):
            status, data = files[name]
            with open(os.path.join(corpus, name), "wb") as f:
                f.write(data)
            w = h = crc = 0
            if status == "OK":
                bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
                rgb = np.ascontiguousarray(bgr[:, :, ::-1])
                theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
                if not np.array_equal(theirs, rgb):
                    sys.exit(f"{name}: OpenCV and Pillow differ by up to {np.abs(theirs.astype(int) - rgb).max()}")
                h, w = rgb.shape[:2]
                crc = zlib.crc32(rgb.tobytes())
            table.write(f"{name}\t{status}\t{w}\t{h}\t{crc:08x}\n")
    print(f"{len(files)} files")


main(sys.argv[1])
