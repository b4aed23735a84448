#!/usr/bin/env python3
"""bench_preprocess.py [--data ROOT] [--unmask PROGRAM] [--ranks N] [--rounds 3]: preprocessing beside the reference's five passes, on the same tree.

First both run once and tests/golden/compare_preprocess.py must find their boxes, crops, landmarks and masks equal; only then are they timed, in turns. Ours is `mpirun -n N unmask preprocess --scale 0.5` (half size, as the
reference's code does) and `unmask folds`; the peer is reference_passes.py, its imports and start-up not counted. Also timed: ours with --scale auto. Without --data a tree is made with `unmask synth` from the pictures that
set-up fetched: 11 originals, 2 fakes each, 3 s. Needs torch, facenet-pytorch, opencv-python, scikit-image, numpy. One JSON line."""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(here, "..", "golden")]
import peer  # noqa: E402
import reference_passes  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", metavar="ROOT")
    p.add_argument("--unmask", default=peer.unmask_default())
    p.add_argument("--ranks", type=int, default=peer.cores())
    p.add_argument("--rounds", type=int, default=3)
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as work:
        root = o.data or os.path.join(work, "root")
        if not o.data:
            pictures = sorted(glob.glob(os.path.join(here, "..", "..", "share", "unmask", "portraits", "*.*")))
            peer.run([o.unmask, "synth", "--quiet", "--portraits", *pictures, "-o", root, "--parts", "1", "--originals", "11", "--fakes", "2", "--seconds", "3", "--size", "960x540", "--strength", "visible", "--seed", "7"])
        compared = subprocess.run([sys.executable, os.path.join(here, "..", "golden", "compare_preprocess.py"), root, "--unmask", o.unmask], stdout=subprocess.PIPE, check=False)
        if compared.returncode != 0:
            sys.exit(f"not timed: the results differ:\n{compared.stdout.decode()[-3000:]}")
        passes = []

        def theirs():
            out = os.path.join(work, "theirs")
            shutil.rmtree(out, ignore_errors=True)
            os.makedirs(out)
            passes.append(reference_passes.run_passes(root, out))
            return passes[-1]["sum"]

        def ours(scale):
            store = os.path.join(work, "store")
            shutil.rmtree(store, ignore_errors=True)
            peer.run(peer.mpirun(o.ranks) + [o.unmask, "preprocess", root, "--store", store, "--scale", scale, "--quiet"])
            peer.run([o.unmask, "folds", "--store", store, "-o", os.path.join(work, "folds.csv"), "--by", "group", "--splits", "5"])

        times = peer.interleaved(theirs, lambda: ours("0.5"), o.rounds)
        auto = [peer.seconds(lambda: ours("auto")) for _ in range(o.rounds)]
        videos = len(glob.glob(os.path.join(root, "*", "*.mp4")))
        peer.report({"bench": "preprocess", "videos": videos, "ranks": o.ranks, **times, "peer_passes_s": passes[-1], "ours_scale_auto_s": round(sorted(auto)[len(auto) // 2], 3)})


if __name__ == "__main__":
    main()
