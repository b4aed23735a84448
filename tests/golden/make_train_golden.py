#!/usr/bin/env python3
"""Makes tests/golden/data/train.tsv: what test_train.c compares a training step of B0 with. Needs torch, timm, numpy.

usage: make_train_golden.py [OUTDIR]

Parameters (seed 3) and pictures are integer arithmetic, made on both sides (classifier_peer.py, classifier_golden.h); picture i has label i % 2. One step of PyTorch and timm in f64. First line: architecture, size, pictures, loss. Then a
line a tensor: name, norm of its gradient and the gradient's product with the tensor's direction, which is golden_uniform(99, tensor, element) - 1/2; of running values, the values after the step instead of a gradient."""
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import classifier_peer as peer  # noqa: E402
import train_peer  # noqa: E402

ARCH, SIZE, PICTURES, SEED, DIRECTION = "b0", 64, 4, 3, 99


def direction(tensor, count):
    base = int(peer._mix(np.array([(DIRECTION * 0x9E3779B1 + tensor) & 0xFFFFFFFF], np.uint64))[0])
    return (peer._mix(np.uint64(base) + np.arange(count, dtype=np.uint64) * np.uint64(0x85EBCA77)) >> np.uint64(8)).astype(np.float64) / 16777216.0 - 0.5


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
    net = train_peer.build(ARCH, SEED).double()
    loss, _ = train_peer.step(net, train_peer.to_batch(peer.pictures(PICTURES, SIZE), torch.float64))
    with open(os.path.join(out, "train.tsv"), "w", encoding="ascii") as f:
        f.write(f"{ARCH}\t{SIZE}\t{PICTURES}\t{loss:.9g}\n")
        for t, ((name, grad), (_, value)) in enumerate(zip(train_peer.grads(net), peer.parameters(net))):
            v = (value.numpy() if grad is None else grad).reshape(-1).astype(np.float64)
            f.write(f"{name}\t{np.linalg.norm(v):.7g}\t{v @ direction(t, len(v)):.7g}\n")


if __name__ == "__main__":
    main()
