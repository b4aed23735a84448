#!/usr/bin/env python3
"""bench_train_step.py [--arch b7] [--size 380] [--batch 2] [--cores 2] [--rounds 5] [--driver build/release/tests/golden/train_dump]

One training step (forward with batch statistics, loss, backward) beside PyTorch's (channels_last, f32), from the same parameters on the same pictures, both with --cores threads, in turns. Ours has one lane a core. Loss and gradients
are found equal first: the loss within 1e-3, the gradients of at least nine tensors of ten within 1e-2 of PyTorch's (a net this deep amplifies rounding, PyTorch's too). Prints one JSON line: wall seconds (medians of the
rounds), processor seconds (least of the rounds: what is left of the ratio when the machine has other work), ratios per round, and the memory of our net. Needs torch, timm, numpy."""
import argparse
import os
import statistics
import sys
import tempfile
import time

import numpy as np
import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "golden"), here]
import classifier_peer as peer  # noqa: E402
import compare_train  # noqa: E402
import peer as bench  # noqa: E402
import train_peer  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--arch", default="b7")
    p.add_argument("--size", type=int, default=380)
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--cores", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seed", type=int, default=3)
    p.add_argument("--driver", default=os.path.join("build", "release", "tests", "golden", "train_dump"))
    a = p.parse_args()
    torch.set_num_threads(a.cores)
    net, images = train_peer.build(a.arch, a.seed), peer.pictures(a.batch, a.size)
    x = train_peer.to_batch(images)
    with tempfile.TemporaryDirectory() as folder:
        params, raw = compare_train.write(net, images, folder)
        driver = compare_train.Driver(a.driver, a.arch, a.size, a.batch, a.cores, a.cores, "cpu", params, raw)
        loss, _ = train_peer.step(net, x)
        out = os.path.join(folder, "grads")
        ours = driver.ask("grads " + out)[0]
        flat = np.fromfile(out, np.float32)
        want = train_peer.grads(net)
        floor = 1e-4 * np.sqrt(sum(np.sum(g * g) for _, g in want if g is not None))
        off = sorted(np.linalg.norm(g - w) / max(np.linalg.norm(w), floor) for (_, g), (_, w) in zip(compare_train.tensors(net, flat[:len(flat) // 2]), want) if w is not None)
        if abs(ours - loss) > 1e-3 or off[len(off) * 9 // 10] > 1e-2:
            sys.exit(f"not equal, so not timed: loss {ours:.6f} and {loss:.6f}, gradients off by {off[len(off) // 2]:.2e} (median), {off[-1]:.2e} (largest)")
        memory = driver.ask("bytes")[0]
        cpu = {"ours": [], "torch": []}

        def mine():
            wall, processor = driver.ask("time")
            cpu["ours"].append(processor)
            return float(wall)

        def theirs():
            start = time.process_time()
            begin = time.perf_counter()
            train_peer.step(net, x)
            wall = time.perf_counter() - begin
            cpu["torch"].append(time.process_time() - start)
            return wall

        mine()
        t = bench.interleaved(theirs, mine, a.rounds)
        driver.process.stdin.close()
        driver.process.wait()
    bench.report({"bench": "train_step", "arch": a.arch, "size": a.size, "batch": a.batch, "torch": torch.__version__, **t, "ms_an_image": {k: round(t[k + "_s"] / a.batch * 1e3, 1) for k in ("ours", "peer")},
                  "cpu_s": {k: round(min(v), 3) for k, v in cpu.items()}, "cpu_ratio": round(min(cpu["torch"]) / min(cpu["ours"]), 2), "net_gb": round(memory / 1e9, 3),
                  "loss_off": float(f"{abs(ours - loss):.2g}"), "gradients_off": {"median": float(f"{off[len(off) // 2]:.2g}"), "largest": float(f"{off[-1]:.2g}")}})


if __name__ == "__main__":
    main()
