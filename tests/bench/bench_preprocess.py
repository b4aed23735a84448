#!/usr/bin/env python3
"""Preprocessing beside the reference's five passes, on the same tree.

    bench_preprocess.py [--data ROOT | --videos DIR] [--unmask PROGRAM] [--detector FILE] [--ranks N] [--rounds 3] [--originals 11] [--seconds 3]

First tests/golden/compare_preprocess.py must find boxes, crops, landmarks and masks of both equal; only then are they timed, in turns. Ours is `mpirun -n N unmask preprocess --scale 0.5` (half size, as the
reference's code does) and `unmask folds`, everything from typing the command; the peer is reference_passes.py, whose imports and start-up are left out of `peer_s` and counted in `peer_with_start_up_s`. Also timed in the
same turns: ours with --scale auto. Each round starts with empty output folders; the videos are in the page cache for both.

Without --data a tree of --originals with 2 fakes each, --seconds long, is made by `unmask synth`: from the videos in DIR, else from the pictures that set-up fetched. One JSON line.
Needs what reference_passes.py needs.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import peer  # noqa: E402
import reference_passes  # noqa: E402

GOAL, STRETCH = 12, 17


def make_tree(o, root):
    if o.videos:
        source = ["--from", o.videos]
    else:
        source = ["--portraits", *sorted(glob.glob(os.path.join(here, "..", "..", "share", "unmask", "portraits", "*.*")))]
        if len(source) == 1:
            sys.exit("no pictures in share/unmask/portraits: run scripts/setup, or name --data or --videos")
    peer.run([o.unmask, "synth", "--quiet", *source, "-o", root, "--parts", "1", "--originals", str(o.originals), "--fakes", "2", "--seconds", str(o.seconds), "--size", "960x540", "--seed", "7", *weights(o)])


def weights(o):
    return ["--detector", o.detector] if o.detector else []


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", metavar="ROOT", help="a tree of parts")
    p.add_argument("--videos", metavar="DIR", help="real videos to cut a tree from")
    p.add_argument("--unmask", default=peer.unmask_default())
    p.add_argument("--detector", help="mtcnn.h5 (default: where the program looks)")
    p.add_argument("--ranks", type=int, default=peer.cores())
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--originals", type=int, default=11, help="of the tree that is made; 5 at least, one for each fold")
    p.add_argument("--seconds", type=float, default=3, help="of each of its videos")
    o = p.parse_args()
    if o.originals < 5:
        p.error("--originals: 5 at least, one for each fold")
    with tempfile.TemporaryDirectory(prefix="bench_preprocess.") as work:
        root = o.data or os.path.join(work, "root")
        if not o.data:
            make_tree(o, root)
        compared = subprocess.run([sys.executable, os.path.join(here, "..", "golden", "compare_preprocess.py"), root, "--unmask", o.unmask, *weights(o)], stdout=subprocess.PIPE, check=False)
        if compared.returncode != 0:
            sys.exit(f"not timed: the results differ:\n{compared.stdout.decode()[-3000:]}")
        compared = json.loads(compared.stdout)
        passes, auto = [], []
        store, reference = os.path.join(work, "store"), os.path.join(work, "reference")

        def empty(folder):
            shutil.rmtree(folder, ignore_errors=True)
            return folder

        def theirs():
            os.makedirs(empty(reference))
            passes.append(reference_passes.run_passes(root, reference))
            return passes[-1]["sum"]

        def preprocess(scale):
            peer.run([*peer.mpirun(o.ranks), o.unmask, "preprocess", root, "--store", store, "--scale", scale, "--quiet", *weights(o)])
            peer.run([o.unmask, "folds", "--store", store, "-o", os.path.join(work, "folds.csv"), "--by", "group", "--splits", "5"])

        def ours():
            empty(store)
            half = peer.seconds(lambda: preprocess("0.5"))
            empty(store)
            auto.append(peer.seconds(lambda: preprocess("auto")))
            return half

        times = peer.interleaved(theirs, ours, o.rounds)
        middle = {name: round(statistics.median(r[name] for r in passes), 3) for name in passes[0]}
        peer.report({"bench": "preprocess", "clips": compared["originals"] + compared["fakes"], "crops": compared["crops"], "masks": compared["masks"], "ranks": o.ranks, **times, "goal": GOAL, "stretch": STRETCH,
                     "peer_with_start_up_s": middle.pop("with_start_up"), "peer_passes_s": middle, "ours_scale_auto_s": round(statistics.median(auto), 3)})


if __name__ == "__main__":
    main()
