#!/usr/bin/env python3
"""compare_classifier.py [--arch b0,b7] [--sizes 128,224,380] [--backend cpu] [--precision f32,bf16] [--batch 1,5] [--faces DIR] [--dump PROGRAM]: logits against timm's.

For each architecture a network with seeded random weights is made (make_checkpoints.py tells how it is kept tame), its logits of five pictures are computed by PyTorch in f32 and by
classifier_dump, and the largest difference is reported; beside bf16 stands what PyTorch's own bf16 differs by. With --faces the pictures are crops of that folder, else patterns. Exit code 0 when names and shapes are
equal, no f32 logit differs by more than 1e-3 and no bf16 logit by more than 0.5.
Needs torch, timm, numpy; with --faces opencv-python, for videos facenet-pytorch."""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import classifier_peer as peer  # noqa: E402
import make_checkpoints  # noqa: E402


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--arch", default=",".join(peer.ARCHS))
    a.add_argument("--sizes", default="128,224,380")
    a.add_argument("--backend", default="cpu")
    a.add_argument("--precision", default="f32,bf16")
    a.add_argument("--batch", default="1,5")
    a.add_argument("--faces", metavar="DIR")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--dump", default=os.path.join("build", "release", "tests", "golden", "classifier_dump"))
    a = a.parse_args()
    worst, limit = {"f32": 0.0, "bf16": 0.0}, {"f32": 1e-3, "bf16": 0.5}
    print("arch\tsize\tlogits' deviation\tf32 against f64 in PyTorch\t" + "\t".join(f"{p} batch {b}" for p in a.precision.split(",") for b in a.batch.split(",")) + "\tPyTorch's bf16")
    with tempfile.TemporaryDirectory() as folder:
        params, raw = os.path.join(folder, "params"), os.path.join(folder, "images")
        pictures = {}
        for size in map(int, a.sizes.split(",")):
            pictures[size] = make_checkpoints.faces(a.faces, size, 16) if a.faces else peer.pictures(16, size, a.seed)
        for arch in a.arch.split(","):
            names = "".join(name + "".join(f" {d}" for d in t.shape) + "\n" for name, t in peer.parameters(peer.build(arch)))
            ours = subprocess.run([a.dump, "names", arch, "380"], check=True, capture_output=True, text=True).stdout
            if ours != names:
                sys.exit(f"{arch}: names or shapes differ from timm's")
            for size, images in pictures.items():
                net = make_checkpoints.tame(peer.build(arch), a.seed, images)
                images = np.ascontiguousarray(images[:5])
                with open(params, "wb") as f:
                    for _, t in peer.parameters(net):
                        f.write(t.numpy().tobytes())
                images.tofile(raw)
                z = peer.logits(net, images)
                with torch.no_grad():
                    chaos = np.abs(net.double()(peer.to_input(images).double()).numpy()[:, 0] - z).max()
                row = []
                for precision in a.precision.split(","):
                    for batch in a.batch.split(","):
                        out = subprocess.run([a.dump, "logits", arch, str(size), batch, a.backend, precision, params, raw], check=True, capture_output=True, text=True)
                        difference = np.abs(np.array(out.stdout.split(), float) - z).max()
                        worst[precision] = max(worst[precision], difference)
                        row.append(f"{difference:.2e}")
                if "bf16" in a.precision:
                    with torch.no_grad():
                        half = net.to(torch.bfloat16)(peer.to_input(images).to(torch.bfloat16)).float().numpy()[:, 0]
                    row.append(f"{np.abs(half - z).max():.2e}")
                print(f"{arch}\t{size}\t{z.std():.3f}\t{chaos:.1e}\t" + "\t".join(row), flush=True)
    print("largest difference: " + ", ".join(f"{p} {v:.2e}" for p, v in worst.items() if p in a.precision.split(",")))
    return 0 if all(worst[p] <= limit[p] for p in worst) else 1


if __name__ == "__main__":
    sys.exit(main())
