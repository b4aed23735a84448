#!/usr/bin/env python3
"""compare_opencv.py VIDEO_DUMP FRAMES FILE...: our decoder's pixels and frame numbers against OpenCV's VideoCapture (FFmpeg backend).

Needs numpy and opencv-python. VIDEO_DUMP is the program built from video_dump.c. Prints one line a file; exits 1 if any differs.
"""
import subprocess
import sys

import cv2
import numpy as np


def ours(program, spec, path):
    p = subprocess.run([program, path, spec], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    data, at, frames = p.stdout, 0, []
    while at < len(data):
        end = data.index(b"\n", at)
        index, time_s, w, h = data[at:end].split()
        n = int(w) * int(h) * 3
        frames.append((int(index), float(time_s), np.frombuffer(data, np.uint8, n, end + 1).reshape(int(h), int(w), 3)))
        at = end + 1 + n
    return frames, p.stderr.decode(errors="replace").strip()


def wanted(spec, path):
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    i = 0
    while True:
        ok, frame = capture.read()
        if not ok:
            return
        yield i, frame[:, :, ::-1]
        i += 1


bad = 0
program, spec = sys.argv[1], sys.argv[2]
for path in sys.argv[3:]:
    frames, said = ours(program, spec, path)
    mine = {i: f for i, _, f in frames}
    n = differ = missing = worst = 0
    where = ""
    for i, theirs in wanted(spec, path):
        n += 1
        if i not in mine:
            continue
        f = mine.pop(i)
        if f.shape != theirs.shape:
            differ += 1
            where = f" size {f.shape} against {theirs.shape}"
        elif not np.array_equal(f, theirs):
            d = np.abs(f.astype(int) - theirs)
            differ += 1
            worst = max(worst, int(d.max()))
            ys, xs = np.nonzero(d.max(axis=2))
            where = f" frame {i}: {len(ys)} pixels in rows {ys.min()}-{ys.max()}, columns {xs.min()}-{xs.max()}"
    ok = differ == 0 and not mine and len(frames) > 0
    bad += not ok
    print(f"{'equal' if ok else 'DIFFERS'}: {path}: opencv {n} frames, ours {len(frames)}, different {differ} (by up to {worst}){where}, only ours {sorted(mine)[:5]} | {said}")
sys.exit(bad > 0)
