#!/usr/bin/env python3
"""Makes data/metrics.tsv: metrics as scikit-learn and SciPy compute them. Needs scikit-learn. usage: make_metrics_golden.py [OUT]

Lines: a name, then numbers, tab separated, in the order in which test_metrics.c reads them. Cases: separable, mixed, many ties, all equal, one of each, certain and wrong."""
import pathlib, sys
import numpy as np
from scipy.interpolate import interp1d
from scipy.optimize import brentq, minimize
from sklearn import metrics as m

rng = np.random.default_rng(7)
out = open(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "data/metrics.tsv", "w")


def line(name, *values):
    print(name, *(f"{float(v):.12g}" for x in values for v in np.ravel(x)), sep="\t", file=out)


def cases():
    y = rng.integers(0, 2, 60)
    yield y, np.clip(0.5 + 0.3 * (y - 0.5) + rng.normal(0, 0.2, 60), 0.001, 0.999)
    yield y, np.round(np.clip(0.5 + 0.4 * (y - 0.5) + rng.normal(0, 0.25, 60), 0, 1), 1)
    y = np.array([0] * 7 + [1] * 12)
    yield y, np.where(y, 0.8, 0.1) + rng.uniform(0, 0.1, 19)
    yield y, np.full(19, 0.5)
    yield np.array([1, 0]), np.array([0.4, 0.6])
    yield np.array([1, 0, 1, 0, 1]), np.array([0.0, 1.0, 1.0, 0.0, 0.3])


def calibration(y, p):
    """Platt's targets, classes of equal weight."""
    x = np.log(np.clip(p, 1e-6, 1 - 1e-6)) - np.log1p(-np.clip(p, 1e-6, 1 - 1e-6))
    n1, n0 = y.sum(), (1 - y).sum()
    t, w = np.where(y, (n1 + 1) / (n1 + 2), 1 / (n0 + 2)), np.where(y, 1 / n1, 1 / n0)

    def loss(c):
        z = c[0] * x + c[1]
        return (w * (np.logaddexp(0, z) - t * z)).sum()

    return minimize(loss, [1, 0], method="Nelder-Mead", options=dict(xatol=1e-10, fatol=1e-15, maxiter=10000)).x


for y, p in cases():
    c = np.clip(p, 1e-7, 1 - 1e-7)
    fake, real = -np.log(c[y == 1]).mean(), -np.log(1 - c[y == 0]).mean()
    fpr, tpr, _ = m.roc_curve(y, p, drop_intermediate=False)
    eer = brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0, 1) if len(np.unique(fpr)) == len(fpr) else None
    if eer is None:  # interp1d takes one value where the curve rises: walk it
        k = next(i for i in range(len(fpr)) if fpr[i] >= 1 - tpr[i])
        a, b = fpr[k - 1] - (1 - tpr[k - 1]), fpr[k] - (1 - tpr[k])
        eer = fpr[k - 1] + (fpr[k] - fpr[k - 1]) * a / (a - b)
    line("scores", p)
    line("labels", y)
    line("metrics", fake, real, (fake + real) / 2, (1.4 * fake + real) / 2, m.log_loss(y, np.stack([1 - c, c], 1), labels=[0, 1]), m.roc_auc_score(y, p), eer, m.average_precision_score(y, p), m.accuracy_score(y, p >= 0.5), m.balanced_accuracy_score(y, p >= 0.5))
    line("roc", fpr, tpr)
    bins = np.minimum((p * 10).astype(int), 9)
    line("ece", sum(abs(p[bins == b].sum() - y[bins == b].sum()) for b in range(10)) / len(p))
    if np.corrcoef(y, p)[0, 1] > 0.1 and len(y) > 5:
        line("calibration", calibration(y, p))
    else:
        line("none", 0)
