#!/usr/bin/env python3
"""bench_detector.py --data DIR [--driver build/release/tests/bench/bench_detector] [--thresholds .85,.95,.95] [--threads 2] [--rounds 5] [--frames 60]

Frames per second of the face detector beside facenet-pytorch on the same frames, both with the same number of threads, in turns. Every 10th
frame of the videos and all pictures under DIR, at most --frames of them, evenly chosen. Nothing is timed before the faces were found equal
(tests/golden/mtcnn_peer.py). Prints one JSON line; times are the medians of the rounds. Needs torch, facenet-pytorch, opencv-python, numpy."""
import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import mtcnn_peer  # noqa: E402


class Driver:
    def __init__(self, program, weights, frames):
        self.process = subprocess.Popen([program, weights, frames], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line, n):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        out = [self.process.stdout.readline() for _ in range(n)]
        if not out[-1]:
            sys.exit("bench_detector stopped")
        return out


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True)
    a.add_argument("--driver", default=os.path.join("build", "release", "tests", "bench", "bench_detector"))
    a.add_argument("--thresholds", default=".85,.95,.95")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--frames", type=int, default=60)
    a = a.parse_args()
    thresholds = [float(v) for v in a.thresholds.split(",")]
    torch.set_num_threads(a.threads)
    frames = list(mtcnn_peer.frames(a.data))
    if not frames:
        sys.exit(f"no videos or pictures in {a.data}")
    keep = np.unique(np.linspace(0, len(frames) - 1, min(a.frames, len(frames))).astype(int))
    frames = [frames[i] for i in keep]
    peer = mtcnn_peer.Peer()
    with tempfile.TemporaryDirectory() as folder:
        weights, raw = os.path.join(folder, "weights"), os.path.join(folder, "frames")
        peer.write_weights(weights)
        with open(raw, "wb") as f:
            for _, _, frame in frames:
                f.write(struct.pack("<ii", frame.shape[1], frame.shape[0]) + frame.tobytes())
        driver = Driver(a.driver, weights, raw)
        words = " ".join(map(str, thresholds))
        tally = mtcnn_peer.Tally(peer)
        for (name, index, frame), line in zip(frames, driver.ask(f"faces {words}", len(frames))):
            tally.add(name, index, frame, thresholds, np.array(line.split()[1:], float).reshape(-1, 15))
        if tally.wrong:
            sys.exit("not equal, so not timed: " + tally.text())
        ours, theirs = [], []
        driver.ask(f"time {words} {a.threads}", 1)
        for _ in range(a.rounds):
            start = time.perf_counter()
            for _, _, frame in frames:
                peer.detect(frame, thresholds)
            theirs.append(time.perf_counter() - start)
            ours.append(float(driver.ask(f"time {words} {a.threads}", 1)[0]))
        driver.process.stdin.close()
        driver.process.wait()
    o, p = statistics.median(ours), statistics.median(theirs)
    print(json.dumps({"bench": "detector", "frames": len(frames), "faces": tally.faces, "thresholds": thresholds, "threads": a.threads, "rounds": a.rounds,
                      "marginal": len(tally.marginal), "max_px": float(f"{tally.px:.2g}"), "unmask_s": round(o, 4), "peer_s": round(p, 4),
                      "peer": "facenet-pytorch", "torch": torch.__version__, "unmask_fps": round(len(frames) / o, 1),
                      "peer_fps": round(len(frames) / p, 1), "ratio": round(p / o, 2),
                      "ratios": [round(t / u, 2) for t, u in zip(theirs, ours)]}))


if __name__ == "__main__":
    main()
