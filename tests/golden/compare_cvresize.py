#!/usr/bin/env python3
"""compare_cvresize.py TEST_CVRESIZE SECONDS [SEED] [PICTURE...]: our INTER_AREA, INTER_CUBIC, INTER_LINEAR and letterbox against OpenCV's on random sizes: noise, hard edges, and
random cuts of the pictures and videos named. Needs opencv-python 4.10, numpy. TEST_CVRESIZE is the program built from test_cvresize.c. Exits 1 if a byte differs.
"""
import subprocess
import sys
import time

import cv2
import numpy as np

from make_cvresize_golden import KIND, isotropically_resize_image, put_to_center

cv2.setNumThreads(1)
cv2.ipp.setUseIPP(False)


def pictures(paths):
    for path in paths:
        if path.lower().endswith((".jpg", ".png", ".jpeg")):
            yield cv2.imread(path)
        else:
            video = cv2.VideoCapture(path)
            for _ in range(3):
                ok, frame = video.read()
                if ok:
                    yield frame


def source(rng, real, w, h):
    how = int(rng.integers(3 if real else 2))
    if how == 2:
        p = real[int(rng.integers(len(real)))]
        h, w = min(h, p.shape[0]), min(w, p.shape[1])
        y, x = int(rng.integers(p.shape[0] - h + 1)), int(rng.integers(p.shape[1] - w + 1))
        return np.ascontiguousarray(p[y:y + h, x:x + w])
    noise = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    return noise if how == 0 else (noise > 128).astype(np.uint8) * 255


def main():
    program, seconds = sys.argv[1], float(sys.argv[2])
    rng = np.random.default_rng(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    real = list(pictures(sys.argv[4:]))
    ours = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    end, count, bad = time.time() + seconds, {}, 0
    while time.time() < end:
        hi = (20, 200, 900)[int(rng.integers(3))]
        p = source(rng, real, int(rng.integers(1, hi)), int(rng.integers(1, hi)))
        h, w = p.shape[:2]
        kind = ("area", "whole", "cubic", "linear", "letter")[int(rng.integers(5))]
        if kind == "whole":
            fx, fy = int(rng.integers(1, min(w, 6) + 1)), int(rng.integers(1, min(h, 6) + 1))
            p = np.ascontiguousarray(p[:h // fy * fy, :w // fx * fx])
            h, w = p.shape[:2]
            to = w // fx, h // fy
        elif kind == "area":
            to = int(rng.integers(1, w + 1)), int(rng.integers(1, h + 1))
        elif kind in ("cubic", "linear"):
            to = int(rng.integers(1, 2 * hi)), int(rng.integers(1, 2 * hi))
        else:
            to = (380, 380)
        want = put_to_center(isotropically_resize_image(p, 380), 380) if kind == "letter" else cv2.resize(p, to, interpolation=KIND[kind if kind in KIND else "area"])
        ours.stdin.write(f"{'area' if kind == 'whole' else kind} {w} {h} {to[0]} {to[1]}\n".encode() + p.tobytes())
        ours.stdin.flush()
        got = np.frombuffer(ours.stdout.read(to[0] * to[1] * 3), np.uint8).reshape(to[1], to[0], 3)
        count[kind] = count.get(kind, 0) + 1
        if not np.array_equal(got, want):
            bad += 1
            print(f"DIFFERS: {kind} {w}x{h} to {to[0]}x{to[1]}: {(got != want).sum()} numbers")
    ours.stdin.close()
    print(f"{sum(count.values())} pictures {dict(sorted(count.items()))}, {bad} differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
