#!/usr/bin/env python3
"""Makes tests/golden/data/efficientnet.tsv and classifier.tsv: what test_classifier.c compares ours with. Needs torch, timm, numpy.

usage: make_classifier_golden.py [OUTDIR]

efficientnet.tsv: architecture, number of parameters, number of tensors, FNV-1a (64 bits) over one line "name dim dim ...\\n" a tensor, of timm's state dict.
classifier.tsv: architecture, picture size, first picture, logits of the pictures from there on, computed by timm in f64. Parameters (seed 3) and pictures are integer arithmetic, made on both
sides: fill() and pictures() of classifier_peer.py, classifier_golden.h."""
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import classifier_peer as peer  # noqa: E402

SEED = 3
OWN = ["w0.5d0.5", "w0.35d0.8", "w1.1d0.7", "w1.2d1.3", "w3.3d2.15"]
CASES = [("b0", 64, 0, 5), ("b0", 75, 1, 5), ("b0", 96, 2, 5), ("b0", 33, 7, 1), ("w0.5d0.5", 101, 3, 5)] + [(f"b{i}", 64 + i, i, 1) for i in range(1, 8)]


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
    with open(os.path.join(out, "efficientnet.tsv"), "w", encoding="ascii") as f:
        for arch in list(peer.ARCHS) + OWN:
            h, count, tensors = 0xCBF29CE484222325, 0, peer.parameters(peer.build(arch))
            for name, t in tensors:
                count += t.numel()
                for b in (name + "".join(f" {d}" for d in t.shape) + "\n").encode():
                    h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
            f.write(f"{arch}\t{count}\t{len(tensors)}\t{h:016x}\n")
    with open(os.path.join(out, "classifier.tsv"), "w", encoding="ascii") as f:
        for arch, size, first, n in CASES:
            net = peer.fill(peer.build(arch), SEED).double().eval()
            with torch.no_grad():
                z = net(peer.to_input(peer.pictures(n, size, first)).double()).numpy()[:, 0]
            print(arch, size, z, flush=True)
            f.write("\t".join([arch, str(size), str(first)] + [f"{v:.9g}" for v in z]) + "\n")


if __name__ == "__main__":
    main()
