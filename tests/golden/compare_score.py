#!/usr/bin/env python3
"""compare_score.py DIR [--arch b0 --arch b0 --arch b7] [--models FILE.pth...] [--unmask PROGRAM] [--work FOLDER]: `unmask score --pool faces` against the reference's rules (score_reference.py).

Checkpoints in the reference's format are made with make_checkpoints.py from the faces of the videos under DIR (or given), imported with `unmask import classifier`, and all videos are scored both ways, by each model alone and by the
ensemble. Demands |difference| <= 1e-3. Exit code 0 when all hold. Needs torch, timm, facenet-pytorch, Pillow, numpy, opencv-python-headless 4.10."""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import cv2
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import score_reference as reference  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
MOST = 1e-3


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("data", metavar="DIR")
    a.add_argument("--arch", action="append")
    a.add_argument("--models", nargs="*")
    a.add_argument("--unmask", default=os.path.join("build", "release", "unmask"))
    a.add_argument("--detector")
    a.add_argument("--work", help="where checkpoints, models and results go and are found again")
    a = a.parse_args()
    cv2.ipp.setUseIPP(False)
    work = a.work or tempfile.mkdtemp()
    os.makedirs(work, exist_ok=True)
    paths = a.models or []
    if not paths:
        for seed, arch in enumerate(a.arch or ["b0", "b0", "b7"], 1):
            paths.append(os.path.join(work, f"{arch}_{seed}.pth"))
            if not os.path.exists(paths[-1]):
                subprocess.run([sys.executable, os.path.join(HERE, "make_checkpoints.py"), "--arch", arch, "--seed", str(seed), "--faces", a.data, "-o", paths[-1]], check=True)
    options = []
    for path in paths:
        model = os.path.join(work, os.path.splitext(os.path.basename(path))[0] + ".h5")
        subprocess.run([a.unmask, "import", "classifier", path, "-o", model], check=True)
        options += ["-m", model]
    rows, details = os.path.join(work, "scores.csv"), os.path.join(work, "details.jsonl")
    command = [a.unmask, "score", a.data, *options, "--pool", "faces", "-o", rows, "--details", details, "--fresh"]
    subprocess.run(command + (["--detector", a.detector] if a.detector else []), check=True)
    with open(details) as f:
        ours = {row["path"]: row for row in map(json.loads, f)}
    with open(rows, newline="") as f:
        table = {row["path"]: row for row in csv.DictReader(f)}
    models, detector = [reference.load(path) for path in paths], reference.make_detector()
    bad, worst = 0, 0.0
    for path, row in sorted(table.items()):
        want, z = reference.score(path, models, detector)
        singles = [reference.confident((1 / (1 + np.exp(-v))).astype(np.float32)) if len(v) > 1 else None for v in z]
        pairs = [(float(row["score"]), want)]
        pairs += [(m, s) for m, s in zip(ours[path]["model_scores"], singles) if s is not None]
        differences = [abs(x - y) for x, y in pairs]
        worst = max(worst, *differences)
        ok = max(differences) <= MOST
        bad += not ok
        print(f"{'ok ' if ok else 'BAD'} {row['score']} {want:.6f} faces {z.shape[1]:3d} models {' '.join(f'{x:.4f}/{y:.4f}' for x, y in pairs[1:])} {path}", flush=True)
    print(f"{len(table)} videos, {bad} differ by more than {MOST}; largest difference {worst:.2g}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
