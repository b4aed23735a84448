#!/usr/bin/env python3
"""bench_score.py --data DIR [--model CHECKPOINT.pth ...] [--arch b0 --arch b0] [--ranks 2] [--rounds 3] [--unmask PROGRAM] [--work FOLDER] [--scaling]

A folder of videos scored by `mpirun -n RANKS unmask score --pool faces` beside the reference's scoring (tests/golden/score_reference.py: cv2, Pillow, facenet-pytorch, timm with as many threads as there are ranks), in turns, both with the
same checkpoints. Nothing is timed before all scores were found equal within 1e-3. Ours is timed as a whole command, with starting MPI and reading models; the peer without loading Python and models. Checkpoints that are not named are made
with make_checkpoints.py. --scaling times one rank on one processor beside two on two, a thread each, and reports their efficiency (a rank's decoder works beside it: left to use both processors, one rank would have more than one). Prints one JSON line.
Needs torch, timm, facenet-pytorch, Pillow, numpy, opencv-python-headless 4.10."""
import argparse
import csv
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import peer  # noqa: E402


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True)
    a.add_argument("--model", action="append")
    a.add_argument("--arch", action="append")
    a.add_argument("--ranks", type=int, default=2)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--unmask", default=peer.unmask_default())
    a.add_argument("--work")
    a.add_argument("--scaling", action="store_true")
    a = a.parse_args()
    work = a.work or tempfile.mkdtemp()
    os.makedirs(work, exist_ok=True)
    checkpoints, models = a.model or [], []
    if not checkpoints:
        for seed, arch in enumerate(a.arch or ["b0", "b0"], 1):
            checkpoints.append(os.path.join(work, f"{arch}_{seed}.pth"))
            if not os.path.exists(checkpoints[-1]):
                peer.run([sys.executable, os.path.join(HERE, "..", "golden", "make_checkpoints.py"), "--arch", arch, "--seed", str(seed), "--faces", a.data, "-o", checkpoints[-1]])
    for path in checkpoints:
        models += ["-m", os.path.join(work, os.path.splitext(os.path.basename(path))[0] + ".h5")]
        peer.run([a.unmask, "import", "classifier", path, "-o", models[-1]])
    out = os.path.join(work, "scores.csv")

    def ours(ranks):
        on = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:ranks]))] if a.scaling else []
        start = time.perf_counter()
        peer.run([*on, *peer.mpirun(ranks), a.unmask, "score", a.data, *models, "--pool", "faces", "--threads", "1", "--fresh", "-o", out])
        return time.perf_counter() - start

    if a.scaling:
        ours(2)
        t = peer.interleaved(lambda: ours(1), lambda: ours(2), a.rounds)
        peer.report({"bench": "score_scaling", "one_rank_s": t["peer_s"], "two_ranks_s": t["ours_s"], "ratio": t["ratio"], "efficiency": round(t["ratio"] / 2, 3),
                     "efficiency_min": round(t["ratio_min"] / 2, 3), "efficiency_max": round(t["ratio_max"] / 2, 3), "rounds": a.rounds})
        return

    import cv2
    import score_reference as reference
    import torch

    cv2.ipp.setUseIPP(False)
    cv2.setNumThreads(a.ranks)
    torch.set_num_threads(a.ranks)
    nets, detector = [reference.load(path) for path in checkpoints], reference.make_detector()
    ours(a.ranks)
    with open(out, newline="", encoding="utf-8", errors="surrogateescape") as f:
        rows = {row["path"]: float(row["score"]) for row in csv.DictReader(f)}
    faces = 0
    for path, score in rows.items():
        want, z = reference.score(path, nets, detector)
        faces += z.shape[1]
        if abs(score - want) > 1e-3:
            sys.exit(f"not equal, so not timed: {path}: {score} and {want}")

    def theirs():
        start = time.perf_counter()
        for path in rows:
            reference.score(path, nets, detector)
        return time.perf_counter() - start

    t = peer.interleaved(theirs, lambda: ours(a.ranks), a.rounds)
    peer.report({"bench": "score", "videos": len(rows), "faces": faces, "models": [os.path.basename(path) for path in checkpoints], "ranks": a.ranks, "torch": torch.__version__, **t})


if __name__ == "__main__":
    main()
