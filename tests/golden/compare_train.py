#!/usr/bin/env python3
"""compare_train.py [--arch b0] [--size 128] [--batch 4] [--lanes 1] [--backend cpu] [--steps 100] [--driver build/release/tests/golden/train_dump]

Training against PyTorch and timm, from the same parameters on the same pictures (classifier_peer.py):
- gradients: of every tensor, ||ours - theirs|| / ||theirs|| against PyTorch in f64, at most 1e-3. A tensor whose gradient is below 1e-4 of the whole net's (a bias that the next batch norm takes away again has none but rounding
  errors) is measured against that instead. PyTorch's own f32 stands beside;
- running values after that step, the same way;
- --steps steps with SGD and AdamW: the losses differ from PyTorch's by at most twice what PyTorch with 1 thread and with 2 differ by, plus 1e-3.
Exits 1 if a bound is broken. Needs torch, timm, numpy."""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import classifier_peer as peer  # noqa: E402
import train_peer  # noqa: E402


class Driver:
    def __init__(self, *words):
        self.process = subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        out = self.process.stdout.readline()
        if not out:
            sys.exit("train_dump stopped")
        return np.array([float(v) for v in out.split()])


def write(net, images, folder):
    """Files of parameters and pictures for train_dump."""
    params, raw = os.path.join(folder, "params"), os.path.join(folder, "images")
    with open(params, "wb") as f:
        for _, t in peer.parameters(net):
            f.write(t.numpy().astype(np.float32).tobytes())
    images.tofile(raw)
    return params, raw


def tensors(net, flat):
    at = 0
    for name, t in peer.parameters(net):
        yield name, flat[at:at + t.numel()].reshape(tuple(t.shape)).astype(np.float64)
        at += t.numel()


def worst(pairs, floor, label):
    """Prints and returns the largest relative difference of (name, got, want)."""
    off = sorted(((np.linalg.norm(got - want) / max(np.linalg.norm(want), floor), name) for name, got, want in pairs), reverse=True)
    print(f"{label}: {len(off)} tensors, largest {off[0][0]:.2e} ({off[0][1]}), median {off[len(off) // 2][0]:.2e}")
    return off[0][0]


def compare_gradients(a, driver, folder):
    images = peer.pictures(a.batch, a.size)
    exact = train_peer.build(a.arch, a.seed).double()
    loss64, _ = train_peer.step(exact, train_peer.to_batch(images, torch.float64))
    want = train_peer.grads(exact)
    floor = 1e-4 * np.sqrt(sum(np.sum(g * g) for _, g in want if g is not None))
    single = train_peer.build(a.arch, a.seed)
    loss32, _ = train_peer.step(single, train_peer.to_batch(images))
    out = os.path.join(folder, "grads")
    loss = driver.ask("grads " + out)[0]
    flat = np.fromfile(out, np.float32)
    ours, moved = flat[:len(flat) // 2], flat[len(flat) // 2:]
    print(f"loss: ours {loss:.8f}, PyTorch f32 {loss32:.8f}, f64 {loss64:.8f}")
    theirs = [(n, g, w) for (n, g), (_, w) in zip(train_peer.grads(single), want) if w is not None]
    worst(theirs, floor, "gradients, PyTorch f32 against f64")
    mine = [(n, g, w) for (n, g), (_, w) in zip(tensors(exact, ours), want) if w is not None]
    bad = worst(mine, floor, "gradients, ours against PyTorch f64") > 1e-3
    for (n, g), (_, w) in zip(tensors(exact, ours), want):
        if w is None and np.any(g != 0):
            print(f"{n}: a gradient of a running value")
            bad = True
    running = [(n, g, t.numpy()) for (n, g), (_, t) in zip(tensors(exact, moved), peer.parameters(exact)) if ".running_" in n]
    bad |= worst(running, 0.0, "running values after one step") > 1e-4
    return bad


def compare_training(a, driver, kind, lr):
    images = peer.pictures(a.pictures, a.size)
    ours, curves = driver.ask(f"train {a.steps} {kind} {lr}"), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        curves.append(train_peer.train(train_peer.build(a.arch, a.seed), images, a.batch, a.steps, kind, lr))
    own = np.abs(curves[0] - curves[1]).max()
    off = max(np.abs(ours - c).max() for c in curves)
    print(f"{kind}, {a.steps} steps: loss {ours[0]:.4f} -> {ours[-1]:.4f}; ours off by {off:.2e}, PyTorch's 1 and 2 threads by {own:.2e}, bound {2 * own + 1e-3:.2e}", flush=True)
    return bool(off > 2 * own + 1e-3)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--arch", default="b0")
    p.add_argument("--size", type=int, default=128)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--lanes", type=int, default=1)
    p.add_argument("--backend", default="cpu", choices=("cpu", "ref"))
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--pictures", type=int, default=32)
    p.add_argument("--seed", type=int, default=3)
    p.add_argument("--sgd", type=float, default=0.001)
    p.add_argument("--adamw", type=float, default=1e-4)
    p.add_argument("--driver", default=os.path.join("build", "release", "tests", "golden", "train_dump"))
    a = p.parse_args()
    torch.set_num_threads(2)
    print("batch-norm momentum of timm's", a.arch, train_peer.momentum(peer.build(a.arch)))
    with tempfile.TemporaryDirectory() as folder:
        params, raw = write(train_peer.build(a.arch, a.seed), peer.pictures(a.pictures, a.size), folder)
        driver = Driver(a.driver, a.arch, a.size, a.batch, a.lanes, min(a.lanes, 2), a.backend, params, raw)
        bad = compare_gradients(a, driver, folder)
        if a.steps > 0:
            bad |= compare_training(a, driver, "sgd", a.sgd)
            bad |= compare_training(a, driver, "adamw", a.adamw)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
