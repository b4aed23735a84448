#!/usr/bin/env python3
"""bench_gpu.py train|infer [--arch b7] [--size 380] [--batch 48] [--rounds 5] [--steps 20] [--modes a,b,...] [--build build/release] [--module FILE]

The networks on one GPU beside PyTorch's, the same parameters and pictures, in turns. Equal first: losses of three steps (2 %) or logits (0.3, as they spread by about 1) in bf16, else nothing is timed.
Modes of PyTorch, the best of which counts:
    train   reference  NCHW, float16 autocast with a gradient scaler: what the reference does (there through apex)
            eager      channels_last, bf16 autocast
            compiled   the same through torch.compile(mode="max-autotune")
    infer   reference  .half(), NCHW: what the reference does
            eager      channels_last, bf16
            compiled   the same through torch.compile(mode="max-autotune")
A step of ours takes bytes from the host's memory, as a job does; PyTorch's pictures already lie on the GPU as it wants them, so that it is not charged for a loader.
Prints one JSON line: pictures per second (medians), ratios per round, memory. Needs torch with CUDA, timm, numpy, and a GPU."""
import argparse
import os
import statistics
import subprocess
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


def torch_train(arch, images, mode):
    net = peer.fill(peer.build(arch), 3).train()
    x, y = peer.to_input(images).cuda(), ((torch.arange(len(images)) % 2).float()).cuda()
    if mode != "reference":
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    net = net.cuda()
    optimiser = torch.optim.SGD([p for n, p in net.named_parameters() if not n.startswith("encoder.classifier.")], lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    called = torch.compile(net, mode="max-autotune") if mode == "compiled" else net
    kind = torch.float16 if mode == "reference" else torch.bfloat16
    scaler = torch.amp.GradScaler("cuda", enabled=mode == "reference")

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", kind):
            z = called(x)[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z.float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        return loss.detach()
    return step


def torch_infer(arch, images, mode):
    net = peer.fill(peer.build(arch), 3).eval().cuda()
    x = peer.to_input(images).cuda()
    if mode == "reference":
        net, x = net.half(), x.half()
    else:
        net, x = net.to(memory_format=torch.channels_last).bfloat16(), x.bfloat16().contiguous(memory_format=torch.channels_last)
    called = torch.compile(net, mode="max-autotune") if mode == "compiled" else net

    def run():
        with torch.inference_mode():
            return called(x)[:, 0]
    return run


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["train", "infer"])
    p.add_argument("--arch", default="b7")
    p.add_argument("--size", type=int, default=380)
    p.add_argument("--batch", type=int, default=48)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--modes", default="reference,eager,compiled")
    p.add_argument("--build", default="build/release")
    p.add_argument("--module", default="")
    a = p.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    images = peer.pictures(a.batch, a.size)
    with tempfile.TemporaryDirectory() as folder:
        params, raw = compare_train.write(train_peer.build(a.arch, 3), images, folder)
        ours = compare_train.Driver(os.path.join(a.build, "tests", "bench", "bench_gpu"), a.module or os.path.join(a.build, "libunmask_cuda.so"), a.what, a.arch, a.size, "bf16", a.batch, params, raw)
        values = ours.ask("values")
        rows, memory = {}, {}
        for mode in a.modes.split(","):
            torch.cuda.reset_peak_memory_stats()
            call = (torch_train if a.what == "train" else torch_infer)(a.arch, images, mode)
            theirs = np.array([float(call()) for _ in range(3)]) if a.what == "train" else call().float().cpu().numpy()
            off = float(np.max(np.abs(values - theirs) / (np.abs(theirs) if a.what == "train" else 1)))
            if mode == "eager" and not off <= (0.02 if a.what == "train" else 0.3):
                sys.exit(f"not equal, so not timed: ours {values[:4]}, PyTorch's {theirs[:4]}, off by {off:.2e}")

            def timed(call=call):
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(a.steps):
                    call()
                torch.cuda.synchronize()
                return time.perf_counter() - start
            timed()
            ours.ask(f"time {a.steps}")
            t = bench.interleaved(timed, lambda: float(ours.ask(f"time {a.steps}")[0]), a.rounds)
            memory[mode] = torch.cuda.max_memory_allocated()
            rows[mode] = {**t, "peer_images_per_s": a.batch * a.steps / t["peer_s"], "ours_images_per_s": a.batch * a.steps / t["ours_s"], "off": off}
            del call
            torch.compiler.reset()
            torch.cuda.empty_cache()
        best = max(rows, key=lambda m: rows[m]["peer_images_per_s"])
        gpu = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=False).stdout.strip()
        bench.report({"bench": f"gpu {a.what}", "gpu": gpu, "torch": torch.__version__, "arch": a.arch, "size": a.size, "batch": a.batch, "best": best, "ours_images_per_s": statistics.median(r["ours_images_per_s"] for r in rows.values()),
                      "against_best": rows[best]["ratio"], "modes": rows, "memory_bytes": {"ours": int(ours.ask("bytes")[0]), **memory}})


if __name__ == "__main__":
    main()
