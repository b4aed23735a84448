#!/usr/bin/env python3
"""Difference masks: scikit-image and OpenCV, as the usual preparation scripts call them, beside ours, in turns on one core.

usage: bench_ssim.py [--data DIR] [--size 400] [--pairs 8] [--rounds 7] [--program build/release/tests/bench/bench_ssim]

--data: a folder of videos; a pair is the middle of a frame and the same after a JPEG of quality 60 with a smoothed ellipse, about what a
face swap leaves. Without it the frames are generated. Masks are compared first, and the run fails where one differs. Prints one JSON line:
seconds of one mask on each side and the ratio.

needs numpy, scikit-image, opencv-python-headless
"""
import argparse
import glob
import os
import struct
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
from skimage.metrics import structural_similarity

import peer


def generated(n, size):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    for i in range(n):
        waves = [127 + 60 * np.sin(x / (9 + c + i) + i) + 50 * np.cos(y / (17 + c) - x / 40) for c in range(3)]
        yield np.clip(np.stack(waves, axis=2) + rng.normal(0, 6, (size, size, 3)), 0, 255).astype(np.uint8)


def from_videos(folder, n, size):
    names = sorted(p for p in glob.glob(os.path.join(folder, "*")) if p.lower().endswith((".mp4", ".avi", ".mov", ".webm", ".mkv")))
    found = 0
    while found < n:
        before = found
        for k, name in enumerate(names):
            video = cv2.VideoCapture(name)
            video.set(cv2.CAP_PROP_POS_FRAMES, 20 + 13 * (found // len(names)) + k)
            ok, frame = video.read()
            video.release()
            if not ok or found == n:
                continue
            h, w = frame.shape[:2]
            side = min(h, w, size)
            frame = frame[(h - side) // 2:(h + side) // 2, (w - side) // 2:(w + side) // 2]
            yield frame if side == size else cv2.resize(frame, (size, size), interpolation=cv2.INTER_CUBIC)
            found += 1
        if found == before:
            sys.exit(f"no video in {folder} can be read")


def altered(frame):
    out = cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    h, w = frame.shape[:2]
    where = np.zeros((h, w), np.float32)
    cv2.ellipse(where, (w // 2, h // 2), (w // 4, h // 3), 0, 0, 360, 1.0, -1)
    where = cv2.GaussianBlur(where, (31, 31), 0)[..., None]
    return np.clip(out * (1 - where) + (cv2.GaussianBlur(out, (9, 9), 0) * 0.9 + 12) * where, 0, 255).astype(np.uint8)


def their_mask(a, b):
    _, s = structural_similarity(a, b, channel_axis=2, full=True)
    return cv2.cvtColor(np.clip((1 - s) * 255, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data")
    ap.add_argument("--size", type=int, default=400)
    ap.add_argument("--pairs", type=int, default=8)
    ap.add_argument("--rounds", type=int, default=7)
    here = os.path.dirname(os.path.abspath(__file__))
    ap.add_argument("--program", default=os.path.join(here, "..", "..", "build", "release", "tests", "bench", "bench_ssim"))
    opt = ap.parse_args()
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    pairs = [(f, altered(f)) for f in (from_videos(opt.data, opt.pairs, opt.size) if opt.data else generated(opt.pairs, opt.size))]
    wanted = [their_mask(a, b) for a, b in pairs]
    with tempfile.TemporaryDirectory() as tmp:
        given, made = os.path.join(tmp, "pairs"), os.path.join(tmp, "masks")
        with open(given, "wb") as f:
            f.write(struct.pack("<3I", len(pairs), opt.size, opt.size))
            for a, b in pairs:
                f.write(np.ascontiguousarray(a[..., ::-1]).tobytes() + np.ascontiguousarray(b[..., ::-1]).tobytes())
        with subprocess.Popen([opt.program, given, made, "5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ours:
            if ours.stdout.readline() != "ready\n":
                sys.exit("bench_ssim failed")
            masks = np.fromfile(made, np.uint8).reshape(len(pairs), opt.size, opt.size)
            off = max(int(np.abs(m.astype(int) - w).max()) for m, w in zip(masks, wanted))
            different = sum(int((m != w).sum()) for m, w in zip(masks, wanted))
            if off > 1:
                sys.exit(f"masks differ by {off} levels")

            def theirs():
                start = time.perf_counter()
                for a, b in pairs:
                    their_mask(a, b)
                return (time.perf_counter() - start) / len(pairs)

            def our_turn():
                ours.stdin.write("go\n")
                ours.stdin.flush()
                return float(ours.stdout.readline()) / len(pairs)

            t = peer.interleaved(theirs, our_turn, opt.rounds)
            ours.stdin.close()
    peer.report({"bench": "ssim", "size": opt.size, "pairs": len(pairs), "data": "videos" if opt.data else "generated", "pixels_different": different, "most_levels_off": off,
                 "mean_mask": round(float(np.mean(wanted)), 2), **t})


if __name__ == "__main__":
    main()
