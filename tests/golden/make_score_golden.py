#!/usr/bin/env python3
"""Makes tests/golden/data/score.tsv: the reference's choice of frames and its averages, in its own words and numpy's arithmetic, which test_score.c compares ours with.

usage: make_score_golden.py [OUT]      needs numpy

Lines: frames, frames in the video, frames wanted, those that survive; confident, kind, n, bits of the f32 average; faces, kind, n, models, bits of the f32 score.
The predictions are made by a formula (prediction() here and in test_score.c).
"""
import os
import sys

import numpy as np


def read_frames(n_frames, wanted):
    """What the reference's reader keeps of a video whose frames all decode."""
    frame_idxs = np.linspace(0, n_frames - 1, wanted, endpoint=True, dtype=int)
    kept = []
    for frame_idx in range(frame_idxs[0], frame_idxs[-1] + 1):
        current = len(kept)
        if frame_idx == frame_idxs[current]:
            kept.append(frame_idx)
    return kept


def confident_strategy(pred, t=0.8):
    pred = np.array(pred)
    sz = len(pred)
    fakes = np.count_nonzero(pred > t)
    if fakes > sz // 2.5 and fakes > 11:
        return np.mean(pred[pred > t])
    elif np.count_nonzero(pred < 0.2) > 0.9 * sz:
        return np.mean(pred[pred < 0.2])
    else:
        return np.mean(pred)


def score_faces(pred):
    """pred: (models, faces) f32. The reference's batch of 32 * 4 rows, its squeezed output and its `except`."""
    batch_size = 32 * 4
    n = 0
    for _ in range(pred.shape[1]):
        if n + 1 < batch_size:
            n += 1
    if n > 0:
        try:
            preds = []
            for model in pred:
                y_pred = model[:n].reshape(n, 1).squeeze()
                preds.append(confident_strategy(y_pred[:n]))
            return np.mean(preds)
        except IndexError:  # of one face, a number is left, which has no slices
            pass
    return np.float32(0.5)


def prediction(kind, i):
    """f32 in 0..1: kind % 4: 0 anything, 1 mostly high, 2 mostly low, 3 by halves; the last also meets 0.8 and 0.2."""
    h = (i * 2654435761 + kind * 40503 + 12345) & 0xFFFFFFFF
    h ^= h >> 15
    h = h * 0x2C1B3C6D & 0xFFFFFFFF
    h ^= h >> 12
    u = np.float32((h >> 8) / 16777216)
    if kind % 4 == 1:
        return np.float32(1) - u * np.float32(0.25)
    if kind % 4 == 2:
        return u * np.float32(0.21)
    if kind % 4 == 3:
        return np.float32((0.8, 0.2, 0.95, 0.05)[h >> 4 & 3])
    return u


def bits(x):
    return f"{int(np.float32(x).view(np.uint32)):08x}"


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "score.tsv")
    with open(out, "w", encoding="ascii") as f:
        for n in [*range(1, 41), 47, 62, 63, 64, 93, 94, 100, 299, 300, 301, 471, 1000, 9999, 123456]:
            for wanted in (32, 5, 1):
                f.write("\t".join(map(str, ("frames", n, wanted, *read_frames(n, wanted)))) + "\n")
        for kind in range(8):
            for n in [*range(1, 34), 50, 100, 127, 128, 129, 136, 137, 200, 256, 257, 300, 1000]:
                f.write(f"confident\t{kind}\t{n}\t{bits(confident_strategy([prediction(kind, i) for i in range(n)]))}\n")
        for kind in range(4):
            for n in (0, 1, 2, 31, 32, 126, 127, 128, 129, 300):
                for models in (1, 2, 7, 9):
                    p = np.array([[prediction(kind + m, i) for i in range(n)] for m in range(models)], np.float32).reshape(models, n)
                    f.write(f"faces\t{kind}\t{n}\t{models}\t{bits(score_faces(p))}\n")


if __name__ == "__main__":
    main()
