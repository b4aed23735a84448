#!/usr/bin/env python3
"""Makes tests/golden/data/baseline.tsv: the baseline's statistics as OpenCV computes them, and its regression as scikit-learn does; test_baseline.c compares ours with them.

usage: make_baseline_golden.py [OUT]      needs opencv-python, scikit-learn, numpy

Lines, tab separated: features, width, height, thirteen numbers, for the pictures of make_resize_golden.py; fit, n, shift, then thirteen means, scales and weights, the bias, and five scores of rows behind the n it was fitted on (rows are made by
row() here and in the test)."""
import os
import sys

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from make_resize_golden import picture

SIDE, FEATURES, SCORED = 96, 13, 5
N = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)


def features(crop):
    h, w = crop.shape[:2]
    p = crop[h // 4:h - h // 4, w // 4:w - w // 4]
    p = cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA if min(p.shape[:2]) >= SIDE else cv2.INTER_CUBIC)
    y = cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)
    f = y.astype(np.float64)
    gx, gy = cv2.Sobel(y, cv2.CV_64F, 1, 0), cv2.Sobel(y, cv2.CV_64F, 0, 1)
    high = [np.log((np.mean((f - cv2.GaussianBlur(f, (k, k), 0)) ** 2) + 0.01) / (f.var() + 1)) for k in (5, 3)]
    noise = np.sqrt(np.pi / 2) / 6 * np.abs(cv2.filter2D(f, -1, N)).mean()
    c = p.reshape(-1, 3).astype(np.float64)
    s = (c.max(1) - c.min(1)) / np.maximum(c.max(1), 1)
    return [np.log(cv2.Laplacian(y, cv2.CV_64F).var() + 1), np.log(np.mean(gx * gx + gy * gy) + 1), *high, np.log(noise + 0.01), *c.mean(0), *c.std(0), s.mean(), s.std()]


def row(i, shift):
    """Numbers of row i and its label: whole-number arithmetic, so that the test makes the same. Column 5 is the same everywhere."""
    fake = i % 3 == 0
    x = [((i * 2654435761 ^ j * 40503 * (i + 7)) >> 7) % 1009 / 8 + (shift * (j % 4) if fake else 0) for j in range(FEATURES)]
    x[5] = 42.0
    return x, fake


def fit(n, shift):
    x, y = map(np.array, zip(*(row(i, shift) for i in range(n + SCORED))))
    scaler = StandardScaler().fit(x[:n])
    model = LogisticRegression(C=1, class_weight="balanced", solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(scaler.transform(x[:n]), y[:n])
    return [*scaler.mean_, *scaler.scale_, *model.coef_[0], model.intercept_[0], *model.predict_proba(scaler.transform(x[n:]))[:, 1]]


def main():
    cv2.ipp.setUseIPP(False)
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "baseline.tsv")
    with open(out, "w", encoding="ascii") as f:
        for w, h in ((192, 192), (384, 384), (400, 500), (251, 333), (200, 150), (97, 640), (64, 64), (7, 3), (1, 1)):
            print("features", w, h, *(f"{v:.12g}" for v in features(picture(w, h, 3))), sep="\t", file=f)
        for n, shift in ((300, 20), (40, 0), (12, 500)):
            print("fit", n, shift, *(f"{v:.12g}" for v in fit(n, shift)), sep="\t", file=f)


if __name__ == "__main__":
    main()
