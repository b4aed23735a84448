#!/usr/bin/env python3
"""bench_classifier.py [--arch b7] [--size 380] [--precision f32|bf16] [--cores 2] [--images 4] [--rounds 5] [--driver build/release/tests/bench/bench_classifier]

Pictures per second of a classifier with random weights beside ONNX Runtime (f32) and PyTorch (channels_last; in bf16 its bf16) on the same pictures. All use --cores threads in one process, each picture by
itself: ours one picture a thread; each peer in two ways, one network with all threads, or one network a core that does its own pictures with one thread, and the better of the two counts. All take turns,
picture set by picture set. Logits are found equal first: f32 within 1e-3 of PyTorch's f32; bf16 within 0.3 of it, where the logits of the pictures spread by about 1, and the peer's deviation stands beside. Prints
one JSON line: wall seconds (medians of the rounds), processor seconds (least of the rounds: what is left of the ratio when the machine has other work), ratios per round. Needs torch, timm, onnx, onnxruntime,
numpy."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import classifier_peer as peer  # noqa: E402
import make_checkpoints  # noqa: E402


class Driver:
    def __init__(self, *words):
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        out = self.process.stdout.readline()
        if not out:
            sys.exit("bench_classifier stopped")
        return [float(v) for v in out.split()]


def spread(call, inputs, workers):
    """call(worker, input) for all inputs, one thread a worker; results in order."""
    if workers == 1:
        return [call(0, x) for x in inputs]
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(lambda w: [call(w, x) for x in inputs[w::workers]], range(workers)))
    return [parts[i % workers][i // workers] for i in range(len(inputs))]


def onnx_ways(net, size, cores, folder):
    path = os.path.join(folder, "net.onnx")
    torch.onnx.export(net, torch.zeros(1, 3, size, size), path, dynamo=False, opset_version=17)
    for workers in sorted({1, cores}):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores // workers
        options.inter_op_num_threads = 1
        sessions = [onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for _ in range(workers)]
        name = sessions[0].get_inputs()[0].name
        yield "onnxruntime", workers, lambda w, x, s=sessions, n=name: float(s[w].run(None, {n: x.numpy()})[0][0, 0])


def torch_ways(net, bf16, cores):
    import copy
    net = copy.deepcopy(net).to(memory_format=torch.channels_last)
    net = net.bfloat16() if bf16 else net

    def one(threads):
        def call(_, x):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                x = x.to(memory_format=torch.channels_last)
                return float(net(x.bfloat16() if bf16 else x)[0, 0])
        return call
    for workers in sorted({1, cores}):
        yield "torch", workers, one(cores // workers)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--arch", default="b7")
    a.add_argument("--size", type=int, default=380)
    a.add_argument("--precision", default="f32", choices=("f32", "bf16"))
    a.add_argument("--cores", type=int, default=2)
    a.add_argument("--images", type=int, default=4)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--driver", default=os.path.join("build", "release", "tests", "bench", "bench_classifier"))
    a = a.parse_args()
    torch.set_num_threads(a.cores)
    net, images = make_checkpoints.make(a.arch, a.seed, a.size, None)
    net.eval()
    images = np.ascontiguousarray(images[:a.images])
    inputs = [peer.to_input(images[i:i + 1]) for i in range(len(images))]
    want = peer.logits(net, images, 1)
    with tempfile.TemporaryDirectory() as folder:
        params, raw = os.path.join(folder, "params"), os.path.join(folder, "images")
        with open(params, "wb") as f:
            for _, t in peer.parameters(net):
                f.write(t.numpy().tobytes())
        images.tofile(raw)
        driver = Driver(a.driver, a.arch, str(a.size), a.precision, str(a.cores), params, raw)
        bf16 = a.precision == "bf16"
        ways = list(onnx_ways(net, a.size, a.cores, folder)) + list(torch_ways(net, bf16, a.cores))
        off = {"unmask": float(np.abs(np.array(driver.ask("logits")) - want).max())}
        for name, workers, call in ways:
            off[f"{name}/{workers}"] = float(np.abs(np.array(spread(call, inputs, workers)) - want).max())
        for key, value in off.items():
            if value > (0.3 if bf16 and not key.startswith("onnx") else 1e-3):
                sys.exit(f"not equal, so not timed: {key} is off by {value:.2g}")
        wall = {key: [] for key in off}
        cpu = {key: [] for key in off}
        for _ in range(a.rounds):
            s, c = driver.ask("time")
            wall["unmask"].append(s)
            cpu["unmask"].append(c)
            for name, workers, call in ways:
                start, start_cpu = time.perf_counter(), time.process_time()
                spread(call, inputs, workers)
                wall[f"{name}/{workers}"].append(time.perf_counter() - start)
                cpu[f"{name}/{workers}"].append(time.process_time() - start_cpu)
        driver.process.stdin.close()
        driver.process.wait()
    n = len(images)
    out = {"bench": "classifier", "arch": a.arch, "size": a.size, "precision": a.precision, "cores": a.cores, "images": n, "rounds": a.rounds, "onnxruntime": onnxruntime.__version__, "torch": torch.__version__,
           "ms_an_image": {k: round(statistics.median(v) / n * 1e3, 1) for k, v in wall.items()}, "cpu_ms_an_image": {k: round(min(v) / n * 1e3, 1) for k, v in cpu.items()},
           "logits_off": {k: float(f"{v:.2g}") for k, v in off.items()}}
    for name in ("onnxruntime", "torch"):
        best = min((k for k in wall if k.startswith(name)), key=lambda k: statistics.median(wall[k]))
        ratios = [p / u for p, u in zip(wall[best], wall["unmask"])]
        out[f"ratio_{name}"] = {"best": best, "ratio": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in ratios],
                                "cpu_ratio": round(min(min(v) for k, v in cpu.items() if k.startswith(name)) / min(cpu["unmask"]), 2)}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
